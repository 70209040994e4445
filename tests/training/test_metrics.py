"""Metrics against scikit-learn, loops and closed forms; what is undefined is missing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    mean_squared_error,
    r2_score,
    roc_auc_score,
)

from vnn.training.metrics import METRIC, METRICS, class_slope, metrics, score


def pairs_won(truth: np.ndarray, values: np.ndarray) -> float:
    wins = [(p > q) + 0.5 * (p == q) for p in values[truth == 1] for q in values[truth == 0]]
    return float(np.mean(wins))


def two_classes(n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    logit = 2 * rng.standard_normal(n)
    return (rng.random(n) < expit(0.5 * logit + 0.3)).astype(int), np.stack([expit(-logit), expit(logit)], axis=1)


def three_classes(n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((n, 3))
    truth = np.array([rng.choice(3, p=p) for p in softmax(2 * logits + [0.4, 0, -0.2], axis=1)])
    return truth, softmax(logits, axis=1)


def test_scores_equal_loops() -> None:
    rng = np.random.default_rng(0)
    truth, values = rng.integers(0, 2, 40), rng.integers(0, 5, (40, 2)).astype(float)
    assert np.isclose(score("binary", truth, values), pairs_won(truth, values[:, 1]))
    three, logits = rng.integers(0, 3, 40), rng.standard_normal((40, 3))
    assert np.isclose(
        score("multiclass", three, logits), np.mean([pairs_won(three == k, logits[:, k]) for k in range(3)])
    )
    y, p = rng.standard_normal(40), rng.standard_normal((40, 1))
    assert np.isclose(score("regression", y, p), 1 - ((y - p[:, 0]) ** 2).sum() / ((y - y.mean()) ** 2).sum())
    assert np.isnan(score("binary", np.ones(4), np.ones((4, 2))))


def test_two_classes() -> None:
    truth, values = two_classes()
    found = metrics("binary", truth, values)
    logit = np.log(values[:, 1] / values[:, 0])[:, None]
    slope = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logit, truth).coef_[0, 0]
    expected = {
        "AUC": roc_auc_score(truth, values[:, 1]),
        "AUPRC": average_precision_score(truth, values[:, 1]),
        "balanced accuracy": balanced_accuracy_score(truth, values.argmax(1)),
        "Brier score": brier_score_loss(truth, values[:, 1]),
        "calibration slope": slope,
    }
    assert list(found) == list(expected)
    assert np.allclose(list(found.values()), list(expected.values()), rtol=1e-4)
    assert abs(found["calibration slope"] - 0.5) < 0.2


def test_more_classes() -> None:
    truth, values = three_classes()
    found = metrics("multiclass", truth, values)
    hot = np.eye(3)[truth]
    assert np.isclose(found["macro AUC"], roc_auc_score(truth, values, multi_class="ovr"))
    assert np.isclose(found["macro AUPRC"], average_precision_score(hot, values))
    assert np.isclose(found["balanced accuracy"], balanced_accuracy_score(truth, values.argmax(1)))
    assert np.isclose(found["Brier score"], ((values - hot) ** 2).sum(1).mean())
    assert abs(found["calibration slope"] - 2) < 0.5


def test_the_slope_of_more_classes_is_where_the_likelihood_is_highest_and_for_two_the_logistic_one() -> None:
    truth, values = three_classes()
    sharper = softmax(3 * np.log(values), axis=1)
    assert np.isclose(class_slope(truth, values), 3 * class_slope(truth, sharper), rtol=1e-5)
    two, of_two = two_classes()
    assert np.isclose(class_slope(two, of_two), metrics("binary", two, of_two)["calibration slope"])


def test_a_quantity() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((50, 1))
    truth = 2 * values[:, 0] + rng.standard_normal(50)
    found = metrics("regression", truth, values)
    assert np.isclose(found["R2"], r2_score(truth, values))
    assert np.isclose(found["correlation"], np.corrcoef(truth, values[:, 0])[0, 1])
    assert np.isclose(found["RMSE"], np.sqrt(mean_squared_error(truth, values)))
    assert np.isclose(found["calibration slope"], LinearRegression().fit(values, truth).coef_[0])


def test_survival() -> None:
    lifelines = pytest.importorskip("lifelines")
    rng = np.random.default_rng(0)
    risk = rng.standard_normal((300, 1))
    truth = np.stack([rng.exponential(np.exp(-2 * risk[:, 0])), rng.random(300) < 0.8], axis=1)
    found = metrics("cox", truth, risk)
    assert np.isclose(found["C-index"], lifelines.utils.concordance_index(truth[:, 0], -risk[:, 0], truth[:, 1]))
    assert abs(found["calibration slope"] - 2) < 0.3


@pytest.mark.parametrize("task", METRICS)
def test_the_headline_comes_first_and_nobody_to_test_means_nothing_known(task: str) -> None:
    assert METRICS[task][0] == METRIC[task]
    found = metrics(task, np.empty((0, 2)) if task == "cox" else np.empty(0), np.empty((0, 2)))
    assert list(found) == list(METRICS[task])
    assert np.isnan(list(found.values())).all()


def test_an_absent_class_leaves_the_brier_score_alone() -> None:
    for task, values in (("binary", two_classes()[1]), ("multiclass", three_classes()[1])):
        found = metrics(task, np.zeros(len(values), dtype=int), values)
        assert [name for name, value in found.items() if not np.isnan(value)] == ["Brier score"]
    nobody = metrics("cox", np.array([[1.0, 0], [2, 0]]), np.array([[0.0], [1]]))
    assert np.isnan(list(nobody.values())).all()
    alike = metrics("regression", np.ones(4), np.arange(4.0)[:, None])
    assert [name for name, value in alike.items() if not np.isnan(value)] == ["RMSE"]


def test_a_slope_that_is_infinite_is_missing() -> None:
    truth = np.repeat([0, 1], 10)
    apart = np.linspace(-1, 1, 20)
    for logit in (apart, -apart, np.zeros(20), np.where(truth, 0.0, np.minimum(apart, 0))):
        assert np.isnan(class_slope(truth, np.stack([expit(-logit), expit(logit)], axis=1)))
    mixed = apart.copy()
    mixed[[9, 10]] = mixed[[10, 9]]
    assert class_slope(truth, np.stack([expit(-mixed), expit(mixed)], axis=1)) > 1
    three = np.repeat([0, 1, 2], 5)
    certain = softmax(3 * np.eye(3)[three] + np.random.default_rng(0).random((15, 3)), axis=1)
    assert np.isnan(class_slope(three, certain))
    certain[0] = certain[0, ::-1]
    assert class_slope(three, certain) > 0

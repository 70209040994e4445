"""Scores against a loop, and a baseline that learns from the right people."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.planted import cohort, folds, wiring
from vnn.data import encode_target
from vnn.training import Training, fit
from vnn.training.performance import linear_baseline, performance, score, summary

SHORT = Training(epochs=5, batch_size=32)


def pairs_won(truth: np.ndarray, values: np.ndarray) -> float:
    wins = [(p > q) + 0.5 * (p == q) for p in values[truth == 1] for q in values[truth == 0]]
    return float(np.mean(wins))


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


@pytest.mark.parametrize(("target", "name"), [("phenotype", "logistic regression"), ("quantity", "ridge regression")])
def test_performance_per_split_on_the_test_part(target: str, name: str) -> None:
    made = fit(wiring(), cohort(), target=target, splits=folds(), n_seeds=2, training=SHORT)
    table = performance(made, cohort())
    assert table["split"].tolist() == [split.name for split in folds()]
    assert table.attrs["baseline"] == name
    prediction = made.predict(cohort()).values
    truth = dict(zip(made.ids, made.target.values, strict=True))
    split = folds()[1]
    rows = cohort().index(split.test)
    wanted = np.array([truth[i] for i in split.test])
    assert np.isclose(
        table["network"][1], np.mean([score(made.target.task, wanted, prediction[rows, r]) for r in (2, 3)])
    )
    mean, sd = summary(table)["network"]
    assert np.isclose(mean, table["network"].mean())
    assert np.isclose(sd, table["network"].std())


def test_the_baseline_finds_a_linear_signal_and_only_that() -> None:
    rng = np.random.default_rng(0)
    train, test = rng.standard_normal((200, 5)), rng.standard_normal((200, 5))
    target = encode_target(cohort().targets["phenotype"])
    found = linear_baseline(target, train, (train[:, 0] > 0).astype(int), test)
    assert roc_auc_score(test[:, 0] > 0, found[:, 0]) > 0.97
    noise = linear_baseline(target, train, rng.integers(0, 2, 200), test)
    assert abs(roc_auc_score(test[:, 0] > 0, noise[:, 0]) - 0.5) < 0.3

"""Ridge models against scikit-learn and lifelines, and the penalty they choose."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from vnn.chance import generator
from vnn.training.ridge import ridge


def data(n: int = 60, p: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Inputs on different scales, one of them constant, and a score of the first."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, p)) * np.geomspace(0.1, 10, p) + 3
    x[:, -1] = 2
    return x, 10 * x[:, 0] + 0.7 * rng.standard_normal(n) - 30


def standardised(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(0)) / np.where(x.std(0) > 1e-9, x.std(0), 1)


def fitted(task: str, x: np.ndarray, truth: np.ndarray, n_classes: int = 0, penalty: float | None = 3.0) -> np.ndarray:
    return ridge(task, n_classes, x[:50], truth[:50], x[50:], chance=generator(0, "inner folds"), penalty=penalty)


@pytest.mark.parametrize("p", [5, 200])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_classes_equal_scikit_learn(p: int, n_classes: int) -> None:
    x, score = data(p=p)
    truth = np.digitize(score, [0] if n_classes == 2 else [-0.5, 0.5])
    z = (x - x[:50].mean(0)) / np.where(x[:50].std(0) > 1e-9, x[:50].std(0), 1)
    model = LogisticRegression(C=1 / 3.0, tol=1e-10, max_iter=10_000).fit(z[:50], truth[:50])
    found = fitted("binary" if n_classes == 2 else "multiclass", x, truth, n_classes)
    assert np.allclose(found, model.predict_proba(z[50:]), atol=1e-5)


@pytest.mark.parametrize("p", [5, 200])
def test_quantities_equal_scikit_learn(p: int) -> None:
    x, score = data(p=p)
    z = (x - x[:50].mean(0)) / np.where(x[:50].std(0) > 1e-9, x[:50].std(0), 1)
    expected = Ridge(alpha=3.0).fit(z[:50], score[:50]).predict(z[50:])
    assert np.allclose(fitted("regression", x, score)[:, 0], expected, atol=1e-5)


@pytest.mark.parametrize(("p", "penalty"), [(4, 0.02), (4, 1.0), (12, 0.5)])
def test_hazards_equal_lifelines(p: int, penalty: float) -> None:
    lifelines = pytest.importorskip("lifelines")
    rng = np.random.default_rng(1)
    x = rng.standard_normal((90, p))
    truth = np.stack([np.ceil(9 * rng.exponential(np.exp(-x[:, 0]))), rng.random(90) < 0.7], axis=1)
    frame = pd.DataFrame(x / x.std(0, ddof=1)).assign(t=truth[:, 0], e=truth[:, 1])
    model = lifelines.CoxPHFitter(penalizer=penalty, l1_ratio=0).fit(frame, "t", "e", fit_options={"precision": 1e-10})
    expected = (x - x.mean(0)) / x.std(0, ddof=1) @ model.params_.to_numpy()
    found = ridge("cox", 0, x, truth, x, chance=generator(0, "inner folds"), penalty=penalty * 90 * 90 / 89)
    assert np.allclose(found[:, 0], expected, atol=1e-4)


def test_the_span_of_the_samples_holds_the_solution() -> None:
    """A wide problem in the coordinates of its samples equals the same problem solved coefficient by coefficient."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((30, 60))
    truth = np.stack([rng.permutation(30) + 1.0, rng.random(30) < 0.7], axis=1)
    wide = ridge("cox", 0, x, truth, x, chance=generator(0, "inner folds"), penalty=5.0)[:, 0]
    z, beta = standardised(x), np.zeros(60)
    for _ in range(4000):
        gradient = -5.0 * beta
        for i in np.flatnonzero(truth[:, 1]):
            at_risk = truth[:, 0] >= truth[i, 0]
            share = np.exp(z[at_risk] @ beta)
            gradient += z[i] - share @ z[at_risk] / share.sum()
        beta += 0.01 * gradient
    assert np.allclose(wide, z @ beta, atol=1e-4)


def test_the_penalty_suits_the_signal() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((150, 40))
    strong, noise = (x[:, 0] > 0).astype(int), rng.integers(0, 2, 150)
    spreads = [
        np.ptp(ridge("binary", 2, x, truth, x, chance=generator(1, "inner folds"))[:, 1]) for truth in (strong, noise)
    ]
    assert spreads[0] > 0.9
    assert spreads[1] < 0.4
    again = ridge("binary", 2, x, noise, x, chance=generator(1, "inner folds"))
    assert np.array_equal(again, ridge("binary", 2, x, noise, x, chance=generator(1, "inner folds")))


def test_hazards_of_a_planted_signal_are_found_with_many_more_inputs_than_people() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((150, 2000))
    x[:, :200] += 2 * rng.standard_normal((150, 1))
    hazard = x[:, :200].mean(1)
    truth = np.stack([rng.exponential(np.exp(-hazard)), np.ones(150)], axis=1)
    found = ridge("cox", 0, x[:100], truth[:100], x[100:], chance=generator(0, "inner folds"))[:, 0]
    assert np.corrcoef(found, hazard[100:])[0, 1] > 0.8


def test_inputs_that_never_vary_predict_the_mean() -> None:
    x = np.ones((60, 3))
    truth = np.arange(60) % 4 == 0
    assert np.allclose(fitted("binary", x, truth.astype(int), 2, None)[:, 1], truth[:50].mean(), atol=1e-4)
    assert np.allclose(fitted("regression", x, np.arange(60.0), penalty=None), 24.5)


def test_inner_folds_keep_groups_together() -> None:
    """24 donors of ten alike samples: only folds by donor see that nothing can be learnt about a new donor."""
    rng = np.random.default_rng(4)
    donor = np.repeat(np.arange(24), 10)
    x = rng.standard_normal((24, 40))[donor] + 0.1 * rng.standard_normal((240, 40))
    truth = rng.integers(0, 2, 24)[donor]
    new = rng.standard_normal((50, 40))
    torn = ridge("binary", 2, x, truth, new, chance=np.random.default_rng(0))
    kept = ridge("binary", 2, x, truth, new, chance=np.random.default_rng(0), groups=donor)
    assert np.abs(kept[:, 1] - 0.5).mean() < 0.5 * np.abs(torn[:, 1] - 0.5).mean()

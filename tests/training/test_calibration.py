"""Temperatures, curves and scores of calibration against scikit-learn, scipy, brute force and planted miscalibration."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import minimize_scalar
from scipy.special import expit, softmax
from sklearn.calibration import calibration_curve as curve_of_sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

from tests.planted import cohort, folds, wiring
from vnn.data import Split
from vnn.training import Training, fit
from vnn.training.calibration import (
    Residual,
    brier_decomposition,
    calibrate,
    calibration_curve,
    calibration_intercept,
    coverage,
    expected_calibration_error,
    reliability,
    residual_sd,
    temperature,
    validated,
    wilson,
)
from vnn.training.ensemble import ensemble
from vnn.training.metrics import metrics, score


def planted(n: int = 400, n_classes: int = 3, true: float = 2.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `true` times too large, and classes drawn from what they should be."""
    rng = np.random.default_rng(seed)
    right = 1.5 * rng.standard_normal((n, n_classes))
    return true * right, np.array([rng.choice(n_classes, p=p) for p in softmax(right, axis=1)])


def two(logits: np.ndarray) -> np.ndarray:
    return np.stack([np.zeros(len(logits)), logits], axis=1)


# Temperature.


@pytest.mark.parametrize("n_classes", [2, 3, 7])
@pytest.mark.parametrize("true", [0.3, 1.0, 4.0])
def test_the_temperature_is_where_the_log_loss_is_lowest(n_classes: int, true: float) -> None:
    z, truth = planted(n_classes=n_classes, true=true)

    def loss(t: float) -> float:
        return float(log_loss(truth, softmax(z / t, axis=1), labels=range(n_classes)))

    found = temperature(z, truth)
    best = minimize_scalar(lambda s: loss(np.exp(s)), bounds=(-2.5, 2.5), method="bounded", options={"xatol": 1e-9})
    assert np.isclose(found.value, np.exp(best.x), rtol=1e-5)
    assert np.isclose(found.before, loss(1.0))
    assert np.isclose(found.after, loss(found.value))
    assert found.after <= best.fun + 1e-12
    assert abs(np.log(found.value / true)) < 0.35
    assert (found.n_samples, found.reason) == (400, "")


def test_for_two_classes_it_is_the_logistic_regression_without_intercept() -> None:
    z, truth = planted(n_classes=2)
    logit = (z[:, 1] - z[:, 0])[:, None]
    model = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-12, max_iter=1000).fit(logit, truth)
    assert np.isclose(1 / temperature(two(logit[:, 0]), truth).value, model.coef_[0, 0], rtol=1e-6)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.floats(0.2, 5), st.integers(2, 4), st.integers(50, 90))
def test_it_scales_with_the_logits_and_never_makes_the_fit_worse(seed: int, by: float, n_classes: int, n: int) -> None:
    z, truth = planted(n, n_classes, true=1.0, seed=seed)
    found, again = temperature(z, truth), temperature(by * z + 3, truth)
    assert found.after <= found.before + 1e-12
    assert 0.05 <= found.value <= 20
    if not (found.reason or again.reason):
        assert np.isclose(again.value, by * found.value, rtol=1e-8)
        assert np.isclose(again.after, found.after)
        p = softmax(z / found.value, axis=1)
        gradient = (p * z).sum(1).mean() - z[np.arange(n), truth].mean()
        assert abs(gradient) < 1e-9, "at the minimum logits are on average as large as expected"


def test_where_samples_cannot_tell_the_temperature_is_one_and_the_reason_said() -> None:
    z, truth = planted()
    few = temperature(z[:49], truth[:49])
    assert (few.value, few.n_samples, few.before) == (1.0, 49, few.after)
    assert "49 validation samples; at least 50 are needed" in few.reason
    nobody = temperature(z[:0], truth[:0])
    assert nobody.value == 1.0
    assert np.isnan(nobody.before)
    alone = temperature(z, np.zeros(400, dtype=int))
    assert (alone.value, alone.reason) == (1.0, "all 400 validation samples are of one class")
    certain = temperature(np.eye(3)[truth] + 0.1 * z / np.abs(z).max(), truth)
    assert certain.value == 1.0
    assert "certainty has no bound" in certain.reason
    alike = temperature(np.zeros((400, 3)), truth)
    assert (alike.value, alike.reason) == (1.0, "the logits do not differ between classes")


def test_useless_logits_get_the_highest_temperature_and_tiny_ones_the_lowest() -> None:
    z, truth = planted()
    useless = temperature(-z, truth)
    assert useless.value == 20
    assert "next to nothing" in useless.reason
    assert useless.after < useless.before
    timid = temperature(0.001 * z, truth)
    assert timid.value == 0.05
    assert "timid" in timid.reason
    assert timid.after < timid.before


# Per replicate, and for the ensemble.


def replicates(seed: int = 0, n: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two splits of two seeds; logits 1, 2, 3 and 4 times too large; each split has half of the samples in validation."""
    rng = np.random.default_rng(seed)
    right = 1.5 * rng.standard_normal(n)
    truth = (rng.random(n) < expit(right)).astype(int)
    logits = (right[:, None] + 0.1 * rng.standard_normal((n, 4))) * [1, 2, 3, 4]
    half = np.arange(n) < n // 2
    return logits[:, :, None], truth, np.stack([half, half, ~half, ~half], axis=1)


def test_each_replicate_is_fitted_on_its_own_validation_part() -> None:
    logits, truth, validation = replicates()
    found = calibrate("binary", logits, truth, validation)
    for r in range(4):
        mine = validation[:, r]
        alone = temperature(two(logits[mine, r, 0]), truth[mine])
        assert found.replicates[r].n_samples == alone.n_samples == 150
        assert np.isclose(found.temperatures[r], alone.value, rtol=1e-12)
    assert np.all(np.abs(np.log(found.temperatures / [1, 2, 3, 4])) < 0.4)
    other = logits.copy()
    other[~validation] = 1e6
    changed = truth.copy()
    assert calibrate("binary", other, changed, validation) == found, "logits of other samples change nothing"
    assert calibrate("binary", logits.astype(np.float32), truth, validation).replicates[0].value == pytest.approx(
        found.replicates[0].value, rel=1e-5
    )


def test_the_ensemble_is_fitted_on_the_mean_of_its_calibrated_members() -> None:
    logits, truth, validation = replicates()
    found = calibrate("binary", logits, truth, validation)
    cooled = expit(logits[:, :, 0] / found.temperatures)
    mean = np.where(validation, cooled, 0).sum(1) / 2

    def loss(t: float) -> float:
        odds = np.exp((np.log(mean) - np.log1p(-mean)) / t)
        return float(log_loss(truth, odds / (1 + odds)))

    best = minimize_scalar(loss, bounds=(0.1, 5), method="bounded", options={"xatol": 1e-8})
    assert np.isclose(found.ensemble.value, best.x, rtol=1e-4)
    assert found.ensemble.n_samples == 300
    made = ensemble("binary", logits, validation, temperatures=found.temperatures)
    assert np.isclose(log_loss(truth, made.calibrated(found.ensemble.value)), found.ensemble.after)


def test_calibrated_means_of_networks_that_disagree_are_too_timid() -> None:
    rng = np.random.default_rng(1)
    n = 4000
    seen = rng.standard_normal((n, 5))
    truth = (rng.random(n) < expit(2 * seen.sum(1))).astype(int)
    found = calibrate("binary", 3 * seen[:, :, None], truth, np.ones((n, 5), dtype=bool))
    assert all(t.reason == "" for t in found.replicates)
    assert found.ensemble.value < 0.7


def test_diverged_replicates_and_small_parts_are_named() -> None:
    logits, truth, validation = replicates()
    logits[:, 1] = np.nan
    validation[10:, 2] = False
    validation[:140, 2], validation[:, 3] = False, validation[:, 2]
    sound = np.array([True, False, True, True])
    found = calibrate("binary", logits, truth, validation, sound=sound)
    assert found.temperatures[1:].tolist() == [1.0, 1.0, 1.0]
    assert found.replicates[1].reason == "the network diverged"
    assert "0 validation samples" in found.replicates[2].reason
    table = found.table(["a", "b", "c", "d"])
    assert table["replicate"].tolist() == ["a", "b", "c", "d", "ensemble"]
    assert list(table.columns) == ["replicate", "value", "n_samples", "before", "after", "reason"]
    assert table["n_samples"].tolist() == [150, 0, 0, 0, 150]


def test_class_weights_would_calibrate_for_another_population() -> None:
    rng = np.random.default_rng(0)
    n = 20_000
    right = 1.5 * rng.standard_normal(n) - 2.5
    truth = (rng.random(n) < expit(right)).astype(int)
    found = temperature(two(2 * right), truth)
    assert abs(found.value - 2) < 0.1, "plain samples find by how much the deployed logits are too large"
    weights = np.where(truth == 1, 0.5 / truth.mean(), 0.5 / (1 - truth.mean()))

    def weighted(t: float) -> float:
        return float(log_loss(truth, expit(2 * right / t), sample_weight=weights))

    assert minimize_scalar(weighted, bounds=(0.1, 20), method="bounded").x > 3, "weighted ones would not"


def test_trained_networks_are_better_calibrated_afterwards_and_ranks_stay() -> None:
    samples, splits = cohort(300), folds(3, 300)
    short = Training(epochs=12, batch_size=32)
    trained = fit(wiring(), samples, target="phenotype", splits=splits, n_seeds=2, training=short)
    prediction = trained.predict(samples)
    codes = dict(zip(trained.ids, prediction.target.values.tolist(), strict=True))
    truth = np.array([codes[i] for i in prediction.ids])
    validation = validated(prediction.ids, trained.splits, trained.replicates["split"].tolist())
    assert validation.sum(0).tolist() == [len(s.validation) for s in splits for _ in range(2)]
    assert not (validation & prediction.held_out).any()
    found = calibrate("binary", prediction.logits, truth, validation)
    assert all(r.reason == "" for r in found.replicates)
    plain = ensemble("binary", prediction.logits, prediction.held_out)
    cooled = ensemble("binary", prediction.logits, prediction.held_out, temperatures=found.temperatures)
    assert (found.temperatures < 1).all(), "networks stopped this early are too timid"
    assert cooled.log_loss(truth).mean() < plain.log_loss(truth).mean()
    for r in range(6):
        mine = prediction.held_out[:, r]
        z = prediction.logits[mine, r]
        both = [two(z[:, 0]), two(z[:, 0] / found.temperatures[r])]
        assert score("binary", truth[mine], both[0]) == score("binary", truth[mine], both[1])


def test_a_quantity_has_residual_standard_deviations() -> None:
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(200)
    logits = truth[:, None, None] + rng.standard_normal((200, 3, 1)) * np.array([0.5, 1, 2])[None, :, None]
    everyone = np.ones((200, 3), dtype=bool)
    found = calibrate("regression", logits, truth, everyone, sound=np.array([True, True, False]))
    for r in range(2):
        wanted = np.sqrt(((truth - logits[:, r, 0]) ** 2).sum() / 198)
        assert found.replicates[r] == Residual(pytest.approx(wanted), 198, 200)
    assert found.replicates[2].reason == "the network diverged"
    mean = logits[:, :2, 0].mean(1)
    assert np.isclose(found.ensemble.sd, np.sqrt(((truth - mean) ** 2).sum() / 198))
    assert list(found.table(["a", "b", "c"]).columns) == ["replicate", "sd", "df", "n_samples", "reason"]
    with pytest.raises(ValueError, match="no temperature"):
        _ = found.temperatures
    few = residual_sd(np.zeros(5), np.ones(5))
    assert np.isnan(few.sd)
    assert "5 validation samples; at least 20" in few.reason


def test_intervals_hold_the_share_they_promise() -> None:
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(4000)
    predicted = truth + rng.standard_normal(4000)
    found = coverage(truth[2000:], predicted[2000:], residual_sd(predicted[:2000], truth[:2000]))
    assert found["level"].tolist() == [0.5, 0.8, 0.95]
    assert np.allclose(found["observed"], found["level"], atol=0.03)
    assert ((found["low"] <= found["level"]) & (found["level"] <= found["high"])).all()
    wide = coverage(truth, predicted, Residual(2.0, 5, 7), levels=[0.9])
    within = np.abs(truth - predicted) <= 2 * stats.t.ppf(0.95, 5)
    assert np.isclose(wide["observed"][0], within.mean())


def test_validation_parts_by_name() -> None:
    splits = [Split("a", ("p",), ("q",), ("r",)), Split("b", ("q",), (), ("p",))]
    found = validated(["p", "q", "r"], splits, ["a", "b", "a"])
    assert found.astype(int).tolist() == [[0, 0, 0], [1, 0, 1], [0, 0, 0]]
    with pytest.raises(ValueError, match="split of a replicate is 'c'; known are 'a', 'b'"):
        validated(["p"], splits, ["c"])


# How well probabilities can be believed.


def believed(n: int = 1000, slope: float = 1.0, shift: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and outcomes whose log-odds are `slope` times theirs plus `shift`."""
    rng = np.random.default_rng(seed)
    z = 1.5 * rng.standard_normal(n)
    return (rng.random(n) < expit(slope * z + shift)).astype(int), expit(z)


def test_the_curve_is_that_of_scikit_learn_with_wilson_intervals() -> None:
    y, p = believed()
    found = calibration_curve(y, p)
    observed, predicted = curve_of_sklearn(y, p, n_bins=10, strategy="quantile")
    assert np.allclose(found["observed"], observed)
    assert np.allclose(found["predicted"], predicted)
    assert found["n"].tolist() == [100] * 10
    for row in found.itertuples():
        exact = stats.binomtest(round(row.observed * row.n), row.n).proportion_ci(method="wilson")
        assert np.allclose([row.low, row.high], [exact.low, exact.high])
    first = np.sort(p)[:100]
    assert np.isclose(found["sd"][0], np.sqrt((first * (1 - first)).sum()) / 100)


def test_wilson_stays_within_bounds() -> None:
    low, high = wilson(np.array([0.0, 1.0, 0.5]), np.array([1, 10, 4]))
    for i, (k, n) in enumerate([(0, 1), (10, 10), (2, 4)]):
        exact = stats.binomtest(k, n).proportion_ci(method="wilson")
        assert np.allclose([low[i], high[i]], [exact.low, exact.high])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 80), st.integers(1, 30), st.integers(1, 12), st.integers(1, 8))
def test_bins_keep_equal_probabilities_together_and_nobody_alone(
    seed: int, n: int, n_values: int, n_bins: int, least: int
) -> None:
    rng = np.random.default_rng(seed)
    p = np.round(rng.integers(0, n_values, n) / n_values, 6)
    y = rng.integers(0, 2, n)
    found = calibration_curve(y, p, n_bins=n_bins, least=least)
    assert found["n"].sum() == n
    assert len(found) <= n_bins
    assert (found["n"] >= min(least, n)).all()
    assert found["predicted"].is_monotonic_increasing
    assert np.isclose((found["n"] * found["observed"]).sum(), y.sum())
    assert np.isclose((found["n"] * found["predicted"]).sum(), p.sum())
    inside = found["predicted"]
    assert len(set(inside)) == len(inside)
    shuffled = rng.permutation(n)
    again = calibration_curve(y[shuffled], p[shuffled], n_bins=n_bins, least=least)
    pd.testing.assert_frame_equal(again, found)


def test_the_calibration_error_by_hand() -> None:
    y = np.array([0, 0, 0, 1, 1, 1, 1, 1, 1, 0])
    p = np.array([0.2] * 5 + [0.6] * 5)
    curve = calibration_curve(y, p, n_bins=2)
    error, chance = expected_calibration_error(curve)
    assert np.isclose(error, 0.5 * abs(0.4 - 0.2) + 0.5 * abs(0.8 - 0.6))
    assert np.isclose(chance, np.sqrt(2 / np.pi) * (0.5 * np.sqrt(0.16 / 5) + 0.5 * np.sqrt(0.24 / 5)))


@pytest.mark.parametrize("n", [100, 1000])
def test_probabilities_that_are_right_have_the_error_chance_makes(n: int) -> None:
    found = np.array([expected_calibration_error(calibration_curve(*believed(n, seed=seed))) for seed in range(200)])
    assert abs(found[:, 0].mean() / found[:, 1].mean() - 1) < 0.05
    wrong = expected_calibration_error(calibration_curve(*believed(n, slope=0.3)))
    assert wrong[0] > 1.3 * wrong[1]


def best_increasing(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Isotonic regression by its max-min formula over distinct values."""
    values = np.unique(p)
    first = [np.flatnonzero(p >= v) for v in values]
    last = [np.flatnonzero(p <= v) for v in values]

    def mean(a: int, b: int) -> float:
        return float(y[np.intersect1d(first[a], last[b])].mean())

    fitted = [max(min(mean(a, b) for b in range(i, len(values))) for a in range(i + 1)) for i in range(len(values))]
    return np.array(fitted)[np.searchsorted(values, p)]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 20))
def test_the_brier_score_is_the_sum_of_its_parts(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    y, p = rng.integers(0, 2, n), np.round(rng.random(n), 1)
    found = brier_decomposition(y, np.stack([1 - p, p], axis=1))
    best = best_increasing(p, y)
    of_best = np.mean((best - y) ** 2)
    assert np.isclose(found["brier"], np.mean((p - y) ** 2))
    assert np.isclose(found["miscalibration"], found["brier"] - of_best)
    assert np.isclose(found["uncertainty"], y.mean() * (1 - y.mean()))
    assert np.isclose(found["brier"], found["miscalibration"] - found["discrimination"] + found["uncertainty"])
    assert min(found["miscalibration"], found["discrimination"]) > -1e-12


def test_the_parts_tell_what_is_wrong() -> None:
    y, p = believed(4000)
    right = brier_decomposition(y, np.stack([1 - p, p], axis=1))
    assert np.isclose(right["brier"], brier_score_loss(y, p))
    sharp = expit(3 * np.log(p / (1 - p)))
    wrong = brier_decomposition(y, np.stack([1 - sharp, sharp], axis=1))
    assert np.isclose(wrong["discrimination"], right["discrimination"])
    assert wrong["miscalibration"] > 5 * right["miscalibration"]
    z, truth = planted()
    values = softmax(z, axis=1)
    many = brier_decomposition(truth, values)
    assert np.isclose(many["brier"], metrics("multiclass", truth, values)["Brier score"])
    each = [brier_decomposition((truth == k).astype(int), np.stack([1 - q, q], axis=1)) for k, q in enumerate(values.T)]
    assert np.isclose(many["discrimination"], sum(part["discrimination"] for part in each))


@pytest.mark.parametrize("shift", [-1.5, 0.0, 0.7])
def test_the_intercept_is_where_predictions_are_right_on_average(shift: float) -> None:
    y, p = believed(5000, shift=shift)
    found = calibration_intercept(y, p)
    z = np.log(p / (1 - p))
    assert np.isclose(expit(z + found).mean(), y.mean())
    assert abs(found - shift) < 0.15
    assert np.isnan(calibration_intercept(np.ones(5), np.full(5, 0.3)))
    assert np.isclose(calibration_intercept([1, 1, 1, 0], np.full(4, 0.5)), np.log(3))
    assert np.isfinite(calibration_intercept([1, 0, 1, 0], np.array([0.0, 1.0, 1.0, 0.5])))


def test_everything_together() -> None:
    y, p = believed(800, slope=0.5, shift=0.4)
    values = np.stack([1 - p, p], axis=1)
    found = reliability(y, values, ["control", "case"])
    assert set(found.curve["class"]) == {"case"}
    assert list(found.intercepts) == ["case"]
    assert np.isclose(found.slope, metrics("binary", y, values)["calibration slope"])
    assert np.isclose(found.brier, metrics("binary", y, values)["Brier score"])
    assert found.error > found.error_by_chance
    z, truth = planted()
    three = reliability(truth, softmax(z, axis=1), ["a", "b", "c"], n_bins=5)
    assert three.curve.groupby("class")["n"].agg(["size", "sum"]).to_numpy().tolist() == [[5, 400]] * 3
    assert abs(three.slope - 0.5) < 0.1
    alone = reliability(np.zeros(20, dtype=int), np.full((20, 2), 0.5), ["a", "b"])
    assert np.isnan([alone.slope, alone.intercepts["b"]]).all()
    assert alone.brier == 0.25


LOGITS, TRUTH, VALIDATION = replicates(n=120)
Y, P = believed(20)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: calibrate("cox", LOGITS, TRUTH, VALIDATION), "task is 'cox'"),
        (lambda: calibrate("binary", LOGITS, TRUTH[:3], VALIDATION), "`truth` has shape"),
        (lambda: calibrate("binary", LOGITS, TRUTH, VALIDATION[:, :2]), "needed are"),
        (lambda: calibrate("binary", LOGITS * np.nan, TRUTH, VALIDATION), "4 of 4 replicates"),
        (lambda: calibrate("binary", LOGITS, TRUTH + 1, VALIDATION), "class codes run from 1 to 2"),
        (lambda: calibrate("binary", LOGITS, TRUTH + 0.5, VALIDATION), "whole numbers from 0 to 1"),
        (lambda: calibrate("binary", LOGITS, TRUTH, VALIDATION).table(["a"]), "1 names for 4 replicates"),
        (lambda: calibration_curve(Y, P[:3]), "one of each per sample"),
        (lambda: calibration_curve(Y[:0], P[:0]), "one of each per sample"),
        (lambda: calibration_curve(Y, np.log(P)), "20 of 20 probabilities"),
        (lambda: calibration_curve(Y, np.where(Y, np.nan, P)), "missing or not between"),
        (lambda: calibration_curve(Y + 1, P), "`truth == k`"),
        (lambda: calibration_curve(Y, P, n_bins=0), "`n_bins` is 0"),
        (lambda: reliability(Y, P[:, None], ["a", "b"]), "`values` has shape"),
        (lambda: coverage(P, P, Residual(np.nan, 0, 3, "too few")), "missing .too few."),
        (lambda: coverage(P, P[:3], Residual(1.0, 3, 5)), "give one of each"),
    ],
)
def test_what_cannot_be_done_is_said(call: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()

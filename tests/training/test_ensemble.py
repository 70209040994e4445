"""Ensembles against loops and closed forms; the mean is never worse than its members on held-out data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit, softmax
from sklearn.metrics import log_loss

from tests.planted import cohort, folds, wiring
from vnn.training import Training, fit
from vnn.training.ensemble import Ensemble, ensemble, log_probabilities

SHAPES = {"binary": 1, "multiclass": 3, "regression": 1}


def made(task: str, seed: int = 0, n: int = 8, n_replicates: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Logits and which replicates count; nobody speaks of the first sample, one of the second."""
    rng = np.random.default_rng(seed)
    logits = 3 * rng.standard_normal((n, n_replicates, SHAPES[task]))
    counts = rng.random((n, n_replicates)) < 0.6
    counts[0], counts[1], counts[2:, :2] = False, np.arange(n_replicates) == 3, True
    return logits, counts


def probabilities(task: str, logits: np.ndarray) -> np.ndarray:
    if task == "binary":
        return np.stack([1 - expit(logits[0]), expit(logits[0])])
    return softmax(logits)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_classes_equal_a_loop_over_samples(task: str) -> None:
    logits, counts = made(task)
    t = np.array([0.5, 1, 2, 3, 1, 1.5])
    found = ensemble(task, logits, counts, temperatures=t)
    for i in range(2, len(logits)):
        each = np.array([probabilities(task, logits[i, r] / t[r]) for r in np.flatnonzero(counts[i])])
        mean = each.mean(0)
        assert np.allclose(found.mean[i], mean)
        assert np.allclose(found.log_mean[i], np.log(mean))
        assert np.allclose(found.spread[i], each.std(0, ddof=1))
        entropies = stats.entropy(mean), np.mean([stats.entropy(p) for p in each])
        assert np.isclose(found.entropy[i], entropies[0])
        assert np.isclose(found.expected_entropy[i], entropies[1])
        divergence = np.mean([stats.entropy(p, mean) for p in each])
        assert np.isclose(found.mutual_information[i], divergence), "disagreement is the mean divergence from the mean"
    assert found.n_replicates.tolist() == counts.sum(1).tolist()


def test_a_quantity_is_the_mean_with_its_spread() -> None:
    logits, counts = made("regression")
    found = ensemble("regression", logits, counts)
    for i in range(2, len(logits)):
        mine = logits[i, counts[i], 0]
        assert np.allclose([found.mean[i, 0], found.spread[i, 0]], [mine.mean(), mine.std(ddof=1)])
    assert found.log_mean is None
    assert found.mutual_information is None


@pytest.mark.parametrize("task", SHAPES)
def test_nobody_and_one_alone_have_missing_numbers(task: str) -> None:
    found = ensemble(task, *made(task))
    assert np.isnan(found.mean[0]).all()
    assert np.isnan(found.spread[:2]).all()
    assert np.isnan(found.between_seeds[:2]).all()
    assert not np.isnan(found.mean[1:]).any()
    if task != "regression":
        assert np.isnan(found.entropy[0])
        assert np.isclose(found.mutual_information[1], 0)


def test_the_spread_between_seeds_is_the_pooled_one_within_splits() -> None:
    splits = ["a", "a", "b", "b", "b", "c"]
    values = np.array([[[1.0], [2], [5], [7], [9], [100]]])
    everyone = np.ones((1, 6), dtype=bool)
    found = ensemble("regression", values, everyone, splits=splits)
    assert np.isclose(found.between_seeds[0, 0], np.sqrt((0.5 + 8.0) / (1 + 2)))
    assert np.isclose(found.spread[0, 0], np.std(values, ddof=1))
    same = ensemble("regression", values, everyone)
    assert np.isclose(same.between_seeds[0, 0], same.spread[0, 0]), "one split has no other spread"
    few = everyone & (np.array([1, 0, 1, 0, 0, 1]) > 0)
    assert np.isnan(ensemble("regression", values, few, splits=splits).between_seeds).all()


def test_the_split_of_the_spread_tells_seeds_from_training_samples() -> None:
    rng = np.random.default_rng(0)
    splits = np.repeat([f"repeat {i}" for i in range(10)], 4)
    effect = np.repeat(2.0 * rng.standard_normal((400, 10)), 4, axis=1)
    values = (effect + rng.standard_normal((400, 40)))[:, :, None]
    found = ensemble("regression", values, np.ones((400, 40), dtype=bool), splits=splits.tolist())
    assert abs(np.sqrt((found.between_seeds**2).mean()) - 1) < 0.03
    assert abs(np.sqrt((found.spread**2).mean()) - np.sqrt(1 + 4 * (9 / 10) * 40 / 39)) < 0.1


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.sampled_from(["binary", "multiclass"]), st.floats(0.1, 300))
def test_its_log_loss_is_never_above_that_of_its_members(seed: int, task: str, size: float) -> None:
    rng = np.random.default_rng(seed)
    logits = size * rng.standard_normal((20, 5, SHAPES[task]))
    counts = rng.random((20, 5)) < 0.7
    counts[:, 0] = True
    truth = rng.integers(0, 2 if task == "binary" else 3, 20)
    t = rng.uniform(0.2, 5, 5)
    found = ensemble(task, logits, counts, temperatures=t)
    members = -log_probabilities(task, logits, t)[np.arange(20), :, truth]
    mean = np.where(counts, members, 0).sum(1) / counts.sum(1)
    assert (found.log_loss(truth) <= mean * (1 + 1e-12) + 1e-12).all(), "in every single sample"
    assert (found.mutual_information >= 0).all()
    assert (found.entropy <= np.log(found.mean.shape[1]) + 1e-12).all()
    assert np.allclose(found.mean.sum(1), 1)


def test_trained_networks_predict_held_out_samples_better_together() -> None:
    trained = fit(
        wiring(), cohort(), target="phenotype", splits=folds(), n_seeds=3, training=Training(epochs=5, batch_size=32)
    )
    prediction = trained.predict(cohort())
    found = ensemble(prediction.target.task, prediction.logits, prediction.held_out)
    codes = dict(zip(trained.ids, prediction.target.values.tolist(), strict=True))
    truth = np.array([codes[i] for i in prediction.ids])
    known = found.n_replicates > 0
    assert known.sum() > 20
    together = log_loss(truth[known], found.mean[known], labels=[0, 1])
    assert np.isclose(together, found.log_loss(truth)[known].mean())
    own = prediction.values
    alone = [
        np.mean([-np.log(own[i, r, truth[i]]) for r in np.flatnonzero(prediction.held_out[i])])
        for i in np.flatnonzero(known)
    ]
    assert together < np.mean(alone)
    table = prediction.table(held_out=True)
    mine = found.table(prediction.ids, prediction.columns)
    for name in table.columns:
        assert np.allclose(mine[name], table[name], equal_nan=True), name


def test_one_sure_network_does_not_outvote_the_others() -> None:
    logits = np.array([[[-2.0]] * 9 + [[40.0]]]).reshape(1, 10, 1)
    found = ensemble("binary", logits, np.ones((1, 10), dtype=bool))
    assert found.mean[0, 1] < 0.25
    assert expit(logits.mean()) > 0.9


def test_probabilities_too_small_for_a_float_keep_their_logarithm() -> None:
    found = ensemble("binary", np.full((1, 2, 1), -2000.0), np.ones((1, 2), dtype=bool))
    assert np.isclose(found.log_loss(np.array([1]))[0], 2000)
    assert np.isclose(found.calibrated(4.0)[0, 1], 0)
    assert (found.entropy[0], found.mutual_information[0]) == (0, 0)


def test_the_temperature_of_the_ensemble_keeps_ranks() -> None:
    logits, counts = made("binary", n=50)
    found = ensemble("binary", logits, counts)
    cooler = found.calibrated(0.5)
    assert np.array_equal(np.argsort(cooler[1:, 1]), np.argsort(found.mean[1:, 1]))
    odds = found.mean[1:, 1] / found.mean[1:, 0]
    assert np.allclose(cooler[1:, 1] / cooler[1:, 0], odds**2)
    three = ensemble("multiclass", *made("multiclass", n=50))
    assert np.array_equal(three.calibrated(3.0)[1:].argsort(1), three.mean[1:].argsort(1))


def test_diverged_replicates_change_no_bit() -> None:
    for task in SHAPES:
        logits, counts = made(task)
        broken = logits.copy()
        broken[:, [2, 5]] = np.nan
        sound = np.array([True, True, False, True, True, False])
        found = ensemble(task, broken, counts, sound=sound)
        wanted = ensemble(task, logits[:, sound], counts[:, sound])
        assert np.array_equal(found.n_replicates, wanted.n_replicates)
        assert np.allclose(found.mean, wanted.mean, rtol=1e-14, equal_nan=True)
        assert np.allclose(found.spread, wanted.spread, equal_nan=True)


def test_the_predictive_interval_is_t_around_the_mean_and_holds_its_share() -> None:
    rng = np.random.default_rng(0)
    signal = rng.standard_normal(20_000)
    truth = signal + rng.standard_normal(20_000)
    logits = (signal[:, None] + 0.8 * rng.standard_normal((20_000, 5)))[:, :, None]
    found = ensemble("regression", logits, np.ones((20_000, 5), dtype=bool))
    sd = float(np.std((truth - found.mean[:, 0])[:10_000]))
    low, high = found.interval(sd, level=0.9)
    assert abs(((low <= truth) & (truth <= high))[10_000:].mean() - 0.9) < 0.01
    assert np.allclose(found.interval(2.0, df=7, level=0.5)[1] - found.mean[:, 0], 2 * stats.t.ppf(0.75, 7))
    single = float(np.mean([np.std((truth - logits[:, r, 0])[:10_000]) for r in range(5)]))
    assert single > sd * 1.05, "residuals of single networks would make intervals too wide"


BINARY = made("binary")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ensemble("survival", *BINARY), "task is 'survival'; known are 'binary'"),
        (lambda: ensemble("binary", BINARY[0][:, :, 0], BINARY[1]), "needed are"),
        (lambda: ensemble("binary", BINARY[0], BINARY[1][:, :3]), "needed are"),
        (lambda: ensemble("binary", *BINARY, sound=np.ones(3, dtype=bool)), "`sound` has shape"),
        (lambda: ensemble("binary", *BINARY, sound=np.zeros(6, dtype=bool)), "none of 6 replicates is sound"),
        (lambda: ensemble("binary", np.full((8, 6, 1), np.nan), BINARY[1]), "5 of 6 replicates .* not finite"),
        (lambda: ensemble("binary", *BINARY, temperatures=np.ones(2)), "`temperatures` has shape"),
        (lambda: ensemble("binary", *BINARY, temperatures=np.zeros(6)), "above 0"),
        (lambda: ensemble("regression", *BINARY, temperatures=np.ones(6)), "no temperature"),
        (lambda: ensemble("cox", *BINARY, temperatures=np.ones(6)), "no temperature"),
        (lambda: ensemble("cox", *BINARY).interval(1.0), "only a quantity"),
        (lambda: ensemble("binary", *BINARY, splits=["a"]), "`splits` has 1 names"),
        (lambda: ensemble("binary", *BINARY).interval(1.0), "only a quantity"),
        (lambda: ensemble("regression", *BINARY).interval(1.0, level=95), "`level` is 95"),
        (lambda: ensemble("regression", *BINARY).log_loss(np.zeros(8)), "no log loss"),
        (lambda: ensemble("regression", *BINARY).calibrated(1.0), "no temperature"),
        (lambda: ensemble("binary", *BINARY).calibrated(-1.0), "above 0"),
        (lambda: ensemble("binary", *BINARY).table(["a"], ["no", "yes"]), "1 ids and 2 columns"),
    ],
)
def test_what_cannot_be_done_is_said(call: Callable[[], Ensemble], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()

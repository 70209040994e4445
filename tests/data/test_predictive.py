"""Inputs made equally predictive: every feature tells the same of the label, and nothing else is left of the real ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, norm
from sklearn.metrics import roc_auc_score

from tests.planted import cohort
from vnn.data import Samples, Target, encode_survival, encode_target, equally_predictive
from vnn.data.targets import martingale_residuals


@pytest.fixture(scope="module")
def samples() -> Samples:
    return cohort(400)


@pytest.fixture(scope="module")
def target(samples: Samples) -> Target:
    return encode_target(samples.targets["phenotype"])


def links(values: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Correlation of each feature with the label."""
    return np.array([np.corrcoef(row, score)[0, 1] for row in values])


def test_every_feature_has_the_same_information(samples, target):
    drawn = [equally_predictive(samples, target, seed=0, draw=draw, r2=0.2) for draw in range(20)]
    found = np.array([links(values, target.values) for values in drawn])
    assert np.abs(np.abs(found).mean(axis=0) - np.sqrt(0.2)).max() < 0.04, "each feature, over draws"
    spread = (np.arctanh(np.abs(found)) - np.arctanh(np.sqrt(0.2))) * np.sqrt(400 - 3)
    assert 0.85 < spread.std() < 1.15, "differences are those of chance alone"
    assert abs((found < 0).mean() - 0.5) < 0.05


def test_the_auc_is_that_of_two_normal_distributions(samples, target):
    values = equally_predictive(samples, target, seed=3, r2=0.2, down=0)
    share = target.values.mean()
    distance = np.sqrt(0.2 / (share * (1 - share)) / 0.8)
    found = np.mean([roc_auc_score(target.values, row) for row in values])
    assert abs(found - norm.cdf(distance / np.sqrt(2))) < 0.01


def test_shape_scale_and_dtype_stay_and_the_real_signal_goes(samples, target):
    values = equally_predictive(samples, target, seed=0)
    assert values.shape == samples.values.shape
    assert values.dtype == samples.values.dtype
    assert np.allclose(values.mean(axis=1), samples.values.mean(axis=1), atol=4 * samples.values.std(axis=1).max() / 20)
    assert np.allclose(values.std(axis=1), samples.values.std(axis=1), rtol=0.2)
    ours = [np.corrcoef(a, b)[0, 1] for a, b in zip(values, samples.values, strict=True)]
    assert np.abs(ours).max() < 0.35, "beyond what both know of the label"
    noise = [row - np.polyval(np.polyfit(target.values, row, 1), target.values) for row in values]
    among = np.corrcoef(noise)[np.triu_indices(len(noise), 1)]
    assert kstest(among * np.sqrt(400), "norm").pvalue > 1e-3, "features have nothing in common but the label"


def test_the_label_itself(samples, target):
    values = equally_predictive(samples, target, seed=0, r2=1, down=0)
    assert np.allclose(links(values, target.values), 1)
    assert np.allclose(np.abs(links(equally_predictive(samples, target, seed=0, r2=1), target.values)), 1)


def test_names_not_order_decide(samples, target):
    order, rows = np.random.default_rng(0).permutation(400), np.random.default_rng(1).permutation(samples.n_features)
    mixed = samples.select([samples.features[row] for row in rows], [samples.ids[i] for i in order])
    other = equally_predictive(mixed, encode_target(mixed.targets["phenotype"]), seed=0, draw=1)
    real = equally_predictive(samples, target, seed=0, draw=1)
    assert np.array_equal(real[rows][:, order], other)
    assert not np.array_equal(real, equally_predictive(samples, target, seed=0, draw=2))
    assert not np.array_equal(real, equally_predictive(samples, target, seed=1, draw=1))


@pytest.mark.parametrize("name", ["quantity", "thirds"])
def test_other_labels(samples, name):
    wanted = encode_target(samples.targets[name])
    values = equally_predictive(samples, wanted, seed=0, r2=0.3)
    assert abs(np.abs(links(values, wanted.values)).mean() - np.sqrt(0.3)) < 0.03


def test_survival(samples):
    rng = np.random.default_rng(0)
    index = pd.Index(samples.ids)
    times, events = pd.Series(rng.exponential(size=400) + 0.1, index, name="t"), pd.Series(rng.random(400) < 0.7, index)
    values = equally_predictive(samples, encode_survival(times, events.rename("e")), seed=0, r2=0.3, down=0)
    died = events.to_numpy()
    early = np.array([np.corrcoef(row[died], times[died])[0, 1] for row in values])
    assert (early < -0.1).all(), "high values have the event early"


def test_missing_and_constant_features(target):
    values = np.array([[np.nan] * 400, [3.0] * 400, [np.nan, *np.arange(399.0)]])
    ids = tuple(f"p{i:03}" for i in range(400))
    nothing = pd.DataFrame(index=pd.Index(ids))
    made = equally_predictive(Samples(values, ("a", "b", "c"), ids, nothing, nothing, nothing), target, seed=0)
    assert np.isfinite(made).all()
    assert (np.abs(made.mean(axis=1) - [0, 3, 199]) < [0.2, 0.2, 25]).all()
    assert (np.abs(links(made, target.values)) > 0.1).all()


def test_bad_input(samples, target):
    for wrong in ({"r2": 0}, {"r2": 1.1}, {"down": -0.1}):
        with pytest.raises(ValueError, match="r2 must be above 0 and at most 1"):
            equally_predictive(samples, target, seed=0, **wrong)
    with pytest.raises(ValueError, match="3 labels for 400 samples"):
        equally_predictive(samples, Target("x", "regression", np.arange(3.0)), seed=0)
    with pytest.raises(ValueError, match="the label 'x' is the same in all 400 samples"):
        equally_predictive(samples, Target("x", "regression", np.ones(400)), seed=0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**16), st.integers(10, 390))
def test_what_is_learnt_from_depends_on_nobody_else(seed, n_learn):
    rng = np.random.default_rng(seed)
    samples = cohort(400)
    learn = rng.choice(samples.ids, n_learn, replace=False)
    at, others = samples.index(learn), ~np.isin(samples.ids, learn)
    wanted = encode_target(samples.targets["quantity"])
    values, labels = samples.values.copy(), wanted.values.copy()
    values[:, others] = rng.normal(50, 9, size=(len(values), others.sum()))
    labels[others] = rng.normal(-100, 30, size=others.sum())
    strange = Samples(values, samples.features, samples.ids, samples.targets, samples.covariates, samples.groups)
    mine = equally_predictive(samples, wanted, seed=1, learn=learn)
    theirs = equally_predictive(strange, Target("quantity", "regression", labels), seed=1, learn=learn)
    assert np.array_equal(mine[:, at], theirs[:, at])
    whole = equally_predictive(samples, wanted, seed=1)
    for one, other in zip(mine, whole, strict=True):
        line = np.polyfit(other[at], one[at], 1)
        assert n_learn < 60 or abs(np.corrcoef(other[at], one[at])[0, 1]) > 0.99, line


def test_hazards_of_survival_are_those_of_the_samples_learnt_from():
    times, died = np.array([1.0, 2, 3, 4, 5, 6]), np.array([1.0, 1, 0, 1, 1, 1])
    some = np.array([0, 1, 3])
    expected = died - np.array([1 / 3, 1 / 3 + 1 / 2, 5 / 6, 5 / 6 + 1, 11 / 6, 11 / 6])
    assert np.allclose(martingale_residuals(times, died, some), expected)
    assert np.array_equal(martingale_residuals(times, died, np.arange(6)), martingale_residuals(times, died))


def test_labels_that_do_not_differ_among_those_learnt_from(samples, target):
    controls = [i for i, code in zip(samples.ids, target.values, strict=True) if not code]
    with pytest.raises(ValueError, match=f"the same in all {len(controls)} samples"):
        equally_predictive(samples, target, seed=0, learn=controls)
    with pytest.raises(ValueError, match="the same in all 0 samples"):
        equally_predictive(samples, target, seed=0, learn=[])

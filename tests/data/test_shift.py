"""Shift: figures against scipy and scikit-learn; random halves are alike, planted differences are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, ks_2samp, kstwobign
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vnn.data.shift import adjusted, kolmogorov_smirnov, shifts, standardised


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def halves(n_samples: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    ours = rng(seed).random(n_samples) < 0.3
    return ours, ~ours


def test_kolmogorov_smirnov_is_that_of_scipy() -> None:
    values = np.round(rng().normal(size=(40, 90)), 1)
    values[rng(2).random(values.shape) < 0.2] = np.nan
    values[:10, :30] += 0.7
    sets = [halves(90), (np.arange(90) < 30, np.arange(90) >= 40)]
    found = kolmogorov_smirnov(values, sets)
    for number, (ours, others) in enumerate(sets):
        for feature, row in enumerate(values):
            first, second = (row[side & ~np.isnan(row)] for side in (ours, others))
            distance = ks_2samp(first, second, method="asymp").statistic
            size = len(first) * len(second) / (len(first) + len(second))
            assert found[number, feature] == pytest.approx(kstwobign.sf(distance * np.sqrt(size)), abs=1e-12)


def test_a_feature_without_values_on_a_side_has_no_p() -> None:
    values = np.array([[1.0, 2, 3, 4], [np.nan, np.nan, 3, 4], [np.nan] * 4, [5, 5, 5, 5]])
    (p,) = kolmogorov_smirnov(values, [(np.arange(4) < 2, np.arange(4) >= 2)])
    assert np.isnan(p).tolist() == [False, True, True, False]
    assert p[3] == 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_q_values_are_those_of_scipy(p: list[float]) -> None:
    np.testing.assert_allclose(adjusted(np.array(p)), false_discovery_control(p), atol=1e-12)


def test_standardised_is_that_of_scikit_learn() -> None:
    values = rng(3).normal(5, 3, size=(6, 50))
    values[0] = 7.3
    values[1, :5] = np.nan
    values[2] = np.nan
    expected = np.nan_to_num(StandardScaler().fit_transform(values[[0, 1, 3, 4, 5]].T).T)
    np.testing.assert_allclose(standardised(values)[[0, 1, 3, 4, 5]], expected, atol=1e-5)
    assert not standardised(values)[2].any()


def test_the_classifier_is_one_on_principal_components() -> None:
    ours, others = halves(300)
    values = rng(4).normal(size=(60, 300))
    values[:25] += 1.5 * ours + rng(5).normal(size=300)
    (found,) = shifts(values, [(ours, others)], seed=0)
    model = make_pipeline(StandardScaler(), PCA(20), StandardScaler(), LogisticRegression())
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    scores = cross_val_predict(model, values.T, ours, cv=folds, method="predict_proba")[:, 1]
    assert found.auc == pytest.approx(roc_auc_score(ours, scores), abs=0.04)
    assert found.auc > 0.6


def test_random_sets_are_alike_and_planted_ones_are_not() -> None:
    values = rng(6).normal(size=(200, 150)) + 2 * rng(7).normal(size=150)
    ours, others = halves(150)
    (same,) = shifts(values, [(ours, others)], seed=0)
    assert same.smallest_q > 0.001
    assert same.auc - 3 * same.error < 0.5
    moved = values.copy()
    moved[:80, ours] += 4
    (apart,) = shifts(moved, [(ours, others)], seed=0)
    assert 0.3 < apart.share < 0.5
    assert apart.smallest_q < 0.001
    assert apart.auc > 0.95


def test_sets_do_not_touch_each_other() -> None:
    values = rng(8).normal(size=(30, 80))
    one, two = halves(80, 1), halves(80, 2)
    together = shifts(values, [one, two], seed=3)
    assert together == (*shifts(values, [one], seed=3), *shifts(values, [two], seed=3))


@pytest.mark.parametrize("values", [np.zeros((3, 40)), np.ones((1, 40)), (np.arange(40) % 2.0)[None]])
def test_poor_features_do_no_harm(values: np.ndarray) -> None:
    (found,) = shifts(values, [halves(40)], seed=0)
    assert found.share == 0
    assert found.auc - 3 * found.error < 0.5


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_sparse_mutations_of_random_sets_are_alike(seed: int) -> None:
    values = (rng(seed).random((25, 60)) < 0.05).astype(np.float32)
    (found,) = shifts(values, [halves(60, seed)], seed=0)
    assert found.smallest_q > 0.001


def test_sets_must_be_large_enough_and_apart() -> None:
    few = np.arange(20) < 4
    with pytest.raises(ValueError, match="sets of 4 and 16 samples share 0"):
        shifts(np.ones((2, 20)), [(few, ~few)], seed=0)
    with pytest.raises(ValueError, match="share 20"):
        shifts(np.ones((2, 20)), [(few | True, few | True)], seed=0)

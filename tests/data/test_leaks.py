"""Leaks: figures against scikit-learn, lifelines and plain loops; nothing found where nothing is."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from vnn.data.leaks import FOLDS, auc, folds, missing_pattern, skill
from vnn.data.targets import Target, martingale_residuals


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def binary(codes: np.ndarray) -> Target:
    return Target("sick", "binary", codes, ("no", "yes"))


def test_folds_spread_every_class_evenly() -> None:
    codes = rng().integers(0, 3, 101)
    fold = folds(codes, 1)
    for code in range(3):
        held = [int((fold[codes == code] == number).sum()) for number in range(FOLDS)]
        assert max(held) - min(held) <= 1
    assert not np.array_equal(fold, folds(codes, 2))
    np.testing.assert_array_equal(fold, folds(codes, 1))


def test_auc_counts_pairs_within_folds() -> None:
    truth = rng(1).random(60) < 0.4
    scores = np.round(rng(2).normal(size=60) + truth, 1)
    fold = folds(truth.astype(int), 3)
    right = pairs = 0.0
    for i in np.flatnonzero(truth):
        for j in np.flatnonzero(~truth):
            if fold[i] == fold[j]:
                pairs += 1
                right += 1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0
    assert auc(truth, scores, fold)[0] == pytest.approx(right / pairs)
    assert auc(truth, -scores, fold)[0] == pytest.approx(1 - right / pairs)


def test_error_of_the_auc_is_its_spread_when_guessing() -> None:
    truth = np.arange(200) % 3 == 0
    found = [auc(truth, rng(seed).normal(size=200), folds(truth.astype(int), seed)) for seed in range(300)]
    assert np.mean([value for value, _ in found]) == pytest.approx(0.5, abs=0.01)
    assert found[0][1] == pytest.approx(np.std([value for value, _ in found]), rel=0.15)


@pytest.mark.parametrize("turn", [1, -1])
def test_a_telling_column_is_found_whichever_way_it_points(turn: int) -> None:
    codes = rng(4).integers(0, 2, 300)
    column = turn * codes + rng(5).normal(size=300)
    found = skill(column[:, None], binary(codes), seed=0)
    assert found is not None
    assert found.metric == "AUC"
    assert found.value == pytest.approx(roc_auc_score(codes, turn * column), abs=0.02)
    assert found.above_chance


def test_several_classes_are_told_each_against_the_rest() -> None:
    codes = rng(6).integers(0, 3, 300)
    columns = np.eye(3)[codes] + rng(7).normal(size=(300, 3)) * 0.8
    found = skill(columns, Target("kind", "multiclass", codes, ("a", "b", "c")), seed=0)
    assert found is not None
    by_column = np.mean([roc_auc_score(codes == code, columns[:, code] * 2 - columns.sum(axis=1)) for code in range(3)])
    assert found.value == pytest.approx(by_column, abs=0.03)


def test_guessing_is_rarely_above_chance() -> None:
    above = far = 0
    for seed in range(60):
        codes = rng(seed).integers(0, 2, 80)
        found = skill(rng(1000 + seed).normal(size=(80, 3)), binary(codes), seed=seed)
        assert found is not None
        above += found.above_chance
        far += found.above_chance and found.value > 0.7
    assert above <= 9
    assert far <= 2


def test_a_quantity_has_its_explained_variance() -> None:
    column = rng(8).normal(size=2000)
    target = Target("height", "regression", column + rng(9).normal(size=2000))
    found = skill(column[:, None], target, seed=0)
    assert found is not None
    assert found.metric == "R2"
    assert found.value == pytest.approx(0.5, abs=0.04)
    assert found.lower == pytest.approx(found.value, abs=0.05)
    nothing = skill(rng(10).normal(size=(2000, 5)), target, seed=0)
    assert nothing is not None
    assert not nothing.above_chance


def test_survival_has_its_concordance() -> None:
    risk = rng(11).normal(size=600)
    died, lost = rng(12).exponential(np.exp(-risk)), rng(13).exponential(2, 600)
    target = Target("years", "cox", np.minimum(died, lost), events=died <= lost)
    found = skill(risk[:, None], target, seed=0)
    assert found is not None
    right = pairs = 0.0
    for i in np.flatnonzero(target.events):
        later = target.values > target.values[i]
        pairs += later.sum()
        right += (risk[later] < risk[i]).sum()
    assert found.metric == "C-index"
    assert found.value == pytest.approx(right / pairs, abs=0.02)
    assert found.above_chance
    nothing = skill(rng(14).normal(size=(600, 2)), target, seed=0)
    assert nothing is not None
    assert not nothing.above_chance


def test_martingale_residuals_are_events_beyond_nelson_and_aalen() -> None:
    times, events = np.array([3.0, 1, 2, 2, 5, 1]), np.array([True, True, False, True, True, False])
    expected = [
        sum(
            (events & (times == moment)).sum() / (times >= moment).sum()
            for moment in sorted(set(times))
            if moment <= time
        )
        for time in times
    ]
    np.testing.assert_allclose(martingale_residuals(times, events), events - np.array(expected))


@pytest.mark.parametrize(
    "target",
    [
        binary(np.array([0, 1, 0, 1])),
        binary(np.array([0] * 30 + [1] * 4)),
        Target("kind", "multiclass", np.array([0] * 20 + [1] * 3 + [2] * 3), ("a", "b", "c")),
        Target("years", "cox", np.arange(1.0, 31), events=np.arange(30) < 9),
        Target("height", "regression", np.arange(9.0)),
    ],
)
def test_nothing_is_said_with_too_few(target: Target) -> None:
    assert skill(np.ones((len(target.values), 1)), target, seed=0) is None


def test_a_rare_class_beside_two_large_ones_does_no_harm() -> None:
    codes = np.array([0] * 30 + [1] * 30 + [2])
    found = skill(codes[:, None] + 0.0, Target("kind", "multiclass", codes, ("a", "b", "c")), seed=0)
    assert found is not None
    assert found.value > 0.9


def test_a_column_without_variation_is_chance() -> None:
    found = skill(np.ones((40, 1)), binary(np.arange(40) % 2), seed=0)
    assert found is not None
    assert found.value == pytest.approx(0.5)
    assert skill(np.empty((40, 0)), binary(np.arange(40) % 2), seed=0) is None


def test_missing_pattern_is_a_principal_component_analysis() -> None:
    values = rng(15).normal(size=(30, 40))
    groups = rng(16).integers(0, 2, 40)
    values[rng(17).random((30, 40)) < 0.1 + 0.5 * groups * (np.arange(30) < 10)[:, None]] = np.nan
    values[3] = np.nan
    values[4] = 1
    found = missing_pattern(values, seed=0)
    assert found.shape == (40, 11)
    np.testing.assert_array_equal(found[:, 0], [sum(np.isnan(value) for value in column) for column in values.T])
    expected = PCA(3).fit_transform(np.isnan(values).T.astype(float))
    assert abs(np.corrcoef(found[:, 1], expected[:, 0])[0, 1]) > 0.999


def test_nothing_missing_is_no_column() -> None:
    assert missing_pattern(np.ones((3, 5)), seed=0).shape == (5, 0)
    assert missing_pattern(np.full((3, 5), np.nan), seed=0).shape == (5, 0)


@pytest.mark.parametrize("n_samples", [2, 3, 30])
def test_one_feature_with_missing_values_is_a_pattern(n_samples: int) -> None:
    values = np.ones((1, n_samples))
    values[0, 1] = np.nan
    found = missing_pattern(values, seed=0)
    assert found.shape == (n_samples, 2)
    assert found[1, 0] == 1
    assert np.isfinite(found).all()

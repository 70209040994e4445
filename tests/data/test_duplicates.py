"""Duplicates: planted ones are found, alike ones too, empty profiles are not."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from vnn.data import duplicates as module
from vnn.data.duplicates import duplicates


def expression(n_features: int = 200, n_samples: int = 40, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_features, n_samples)) * rng.uniform(0.5, 2, (n_features, 1)) + 8


def by_loop(values: np.ndarray) -> list[list[int]]:
    """Pairs with a correlation above 0.999 over standardised, complete features."""
    scaled = StandardScaler().fit_transform(values.T)
    n = len(scaled)
    return [[a, b] for a in range(n) for b in range(a + 1, n) if np.corrcoef(scaled[a], scaled[b])[0, 1] > 0.999]


def test_identical_and_nearly_identical_samples_are_found() -> None:
    values = expression()
    values[:, 7] = values[:, 3]
    values[:, 30] = values[:, 11] + np.random.default_rng(1).normal(size=200) * 0.01
    values[:, 20] = values[:, 12] + np.random.default_rng(2).normal(size=200) * 0.4
    assert duplicates(values, seed=0).tolist() == by_loop(values) == [[3, 7], [11, 30]]


def test_a_chain_of_identical_samples_is_a_pair_each() -> None:
    values = expression()
    values[:, [5, 17, 29]] = values[:, [2]]
    assert duplicates(values, seed=0).tolist() == [[2, 5], [5, 17], [17, 29]]


def test_missing_values_are_part_of_what_is_the_same() -> None:
    values = expression(n_samples=20).astype(np.float32)
    values[np.random.default_rng(3).random(values.shape) < 0.2] = np.nan
    values[:, 9] = values[:, 4]
    assert duplicates(values, seed=0).tolist() == [[4, 9]]


def test_both_zeros_are_the_same() -> None:
    values = expression(n_samples=20)
    values[:5, 4] = 0.0
    values[:, 9] = values[:, 4]
    values[:5, 9] = -0.0
    assert duplicates(values, seed=0).tolist() == [[4, 9]]


def test_empty_profiles_are_not_taken_for_one_another() -> None:
    values = (np.random.default_rng(4).random((300, 60)) < 0.03).astype(np.float64)
    values[:, :10] = 0
    assert not len(duplicates(values, seed=0))
    values[50:90, 30] = 1
    values[:, 31] = values[:, 30]
    assert duplicates(values, seed=0).tolist() == [[30, 31]]


@pytest.mark.parametrize("shape", [(200, 1), (1, 30), (0, 5), (30, 0)])
def test_few_samples_or_features_have_none(shape: tuple[int, int]) -> None:
    assert duplicates(np.ones(shape), seed=0).shape == (0, 2)


def test_bounded_work_finds_the_same_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    values = expression(n_features=400, n_samples=90)
    values[:, 80] = values[:, 3]
    values[:, 60] = values[:, 11] + np.random.default_rng(1).normal(size=400) * 0.01
    # As close on half of the features only: the screen may take it, the check over all features does not.
    values[:, 70] = values[:, 20]
    values[:250, 70] = values[:250, 21]
    whole = duplicates(values, seed=0).tolist()
    monkeypatch.setattr(module, "MOST_WORK", 0)
    monkeypatch.setattr(module, "COLUMNS", 16)
    assert duplicates(values, seed=0).tolist() == whole == by_loop(values) == [[3, 80], [11, 60]]


def test_of_very_many_samples_the_identical_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SAMPLES", 10)
    values = expression()
    values[:, 7] = values[:, 3]
    values[:, 30] = values[:, 11] * 1.00001
    assert duplicates(values, seed=0).tolist() == [[3, 7]]

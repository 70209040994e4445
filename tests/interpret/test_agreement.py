"""Agreement of rankings against slow loops, scipy, and simulations whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vnn.interpret.agreement import (
    agreement_of_disjoint,
    agreement_of_overlapping,
    disjoint_pairs,
    jackknife,
    mean_of_known,
    members,
    overlapping_sets,
    sizes_up_to,
    standardised_ranks,
)


def noisy(n_models: int, n_nodes: int = 60, noise: float = 1.0, seed: int = 0) -> np.ndarray:
    """Models that see the same two rankings, each with noise of its own."""
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal((2, n_nodes)) * np.linspace(0.2, 2, n_nodes)
    return truth + noise * rng.standard_normal((n_models, 2, n_nodes))


def slowly(values: np.ndarray, one: list[int], other: list[int], top: int) -> tuple[float, float]:
    """Overlap and Spearman of two sets of models, a ranking at a time."""
    overlap, spearman = [], []
    for ranking in range(values.shape[1]):
        a = sum(values[m, ranking] for m in one) / len(one)
        b = sum(values[m, ranking] for m in other) / len(other)
        first = sorted(range(len(a)), key=lambda i: -abs(a[i]))[:top]
        second = sorted(range(len(b)), key=lambda i: -abs(b[i]))[:top]
        overlap.append(len(set(first) & set(second)) / top)
        spearman.append(stats.spearmanr(np.abs(a), np.abs(b)).statistic)
    return float(np.mean(overlap)), float(np.mean(spearman))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_disjoint_sets_agree_as_a_loop_says(n: int) -> None:
    values = noisy(7)
    pairs = disjoint_pairs(7, n, 4)
    found = agreement_of_disjoint(values, pairs, 5)
    expected = [slowly(values, list(one), list(other), 5) for one, other in pairs.tolist()]
    assert (found.overlap, found.spearman) == pytest.approx(tuple(np.mean(expected, axis=0)))
    assert (found.n_pairs, found.shared) == (len(pairs), 0.0)


def test_overlapping_sets_agree_as_a_loop_says() -> None:
    values = noisy(6)
    sets = overlapping_sets(6, 4, 2)
    found = agreement_of_overlapping(values, sets, 5)
    pairs = [(i, j) for i in range(len(sets)) for j in range(i)]
    expected = [slowly(values, sets[i].tolist(), sets[j].tolist(), 5) for i, j in pairs]
    assert (found.overlap, found.spearman) == pytest.approx(tuple(np.mean(expected, axis=0)))
    assert found.shared == pytest.approx(np.mean([len({*sets[i]} & {*sets[j]}) / 4 for i, j in pairs]))
    assert np.isnan(found.overlap_low)


@pytest.mark.parametrize(("n", "k"), [(1, 60), (2, 30), (7, 8), (15, 4), (30, 4)])
def test_the_number_of_overlapping_sets_is_that_of_the_paper(n: int, k: int) -> None:
    sets = overlapping_sets(40, n, 0)
    assert len(sets) == k
    assert all(len(set(chosen.tolist())) == n for chosen in sets)


@given(st.integers(2, 14), st.integers(1, 7), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_disjoint_pairs_share_no_model_and_are_different(n_models: int, n: int, seed: int) -> None:
    if 2 * n > n_models:
        with pytest.raises(ValueError, match=f"need {2 * n}; there are {n_models}"):
            disjoint_pairs(n_models, n, seed)
        return
    pairs = disjoint_pairs(n_models, n, seed)
    assert pairs.shape[1:] == (2, n)
    assert all(len(set(pair.ravel().tolist())) == 2 * n for pair in pairs)
    assert len({frozenset({frozenset(one), frozenset(other)}) for one, other in pairs.tolist()}) == len(pairs)
    if n == 1:
        assert len(pairs) == n_models * (n_models - 1) // 2


def test_sets_that_share_models_flatter() -> None:
    values = noisy(12, noise=4.0, seed=3)
    apart = agreement_of_disjoint(values, disjoint_pairs(12, 6, 0), 5)
    sharing = agreement_of_overlapping(values, overlapping_sets(12, 6, 0), 5)
    assert sharing.overlap > apart.overlap + 0.15
    assert sharing.spearman > apart.spearman + 0.15


def test_models_of_pure_noise_agree_by_chance_when_disjoint() -> None:
    values = np.random.default_rng(0).standard_normal((20, 10, 200))
    found = agreement_of_disjoint(values, disjoint_pairs(20, 5, 0), 10)
    assert found.overlap == pytest.approx(0.05, abs=0.02)
    assert found.spearman == pytest.approx(0, abs=0.03)


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_order_of_nodes_and_their_sign_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = noisy(6, seed=seed)
    order, sign = rng.permutation(values.shape[2]), rng.choice([-1, 1], values.shape[2])
    pairs = disjoint_pairs(6, 2, 0)
    one = agreement_of_disjoint(values, pairs, 6)
    other = agreement_of_disjoint((values * sign)[:, :, order], pairs, 6)
    assert vars(one) == pytest.approx(vars(other), nan_ok=True)


def test_a_node_without_score_is_never_at_the_top() -> None:
    scores = np.array([[0.0, 3.0, -5.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    assert members(scores, 3).tolist() == [[False, True, True, False], [False] * 4]
    assert np.isnan(standardised_ranks(scores)[1]).all()
    assert np.isnan(mean_of_known(np.array([np.nan, np.nan])))
    assert mean_of_known(np.array([np.nan, 2.0])) == 2


def test_the_jackknife_of_pairs_is_that_of_a_loop() -> None:
    rng = np.random.default_rng(1)
    pairs, n = disjoint_pairs(8, 1, 0), 8
    found = rng.random(len(pairs))
    without = [np.mean([v for v, pair in zip(found, pairs, strict=True) if m not in pair]) for m in range(n)]
    error = np.sqrt((n - 1) / n * sum((w - np.mean(without)) ** 2 for w in without))
    room = stats.t.ppf(0.975, n - 1) * error
    assert jackknife(found, pairs, n, -9.0) == pytest.approx((found.mean() - room, min(found.mean() + room, 1)))


@pytest.mark.parametrize(("n_models", "n"), [(4, 1), (8, 4), (6, 3)])
def test_no_interval_where_too_little_is_left_without_a_model(n_models: int, n: int) -> None:
    found = agreement_of_disjoint(noisy(n_models), disjoint_pairs(n_models, n, 0), 5)
    assert np.isnan([found.overlap_low, found.overlap_high, found.spearman_low, found.spearman_high]).all()


@pytest.mark.parametrize("n", [1, 3])
def test_the_interval_covers_what_other_models_would_give(n: int) -> None:
    """120 studies of 12 models against the mean of 240; a 95 % interval misses more than 14 of 120 in 0.1 % of cases."""
    rng = np.random.default_rng(8)
    truth = rng.standard_normal((1, 60)) * np.linspace(0.2, 2, 60)
    pairs = disjoint_pairs(12, n, 0, most=60)
    found = [agreement_of_disjoint(truth + 1.5 * rng.standard_normal((12, 1, 60)), pairs, 6) for _ in range(240)]
    expected = np.mean([one.spearman for one in found])
    covered = sum(one.spearman_low <= expected <= one.spearman_high for one in found[:120])
    assert 106 <= covered <= 120


def test_sizes_of_sets() -> None:
    assert sizes_up_to(9) == (1, 2, 3, 4, 5, 6, 8)

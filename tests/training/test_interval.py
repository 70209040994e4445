"""The interval over splits against scipy, and its ratio."""

from __future__ import annotations

import numpy as np
from scipy import stats

from vnn.data import Split, half_samples, hold_out, k_fold, leave_one_group_out
from vnn.training.interval import interval, ratio_of, repeats_of


def test_the_interval_is_that_of_t_with_the_variance_of_splits_that_share_samples() -> None:
    values = np.array([[0.7, 0.1], [0.8, np.nan], [0.75, 0.2], [0.6, np.nan]])
    mean, low, high = interval(values, 0.25)
    spread = np.sqrt((1 / 4 + 0.25) * np.var(values[:, 0], ddof=1))
    assert np.allclose([low[0], high[0]], stats.t.interval(0.95, 3, values[:, 0].mean(), spread))
    spread = np.sqrt((1 / 2 + 0.25) * np.var([0.1, 0.2], ddof=1))
    assert np.allclose([low[1], high[1]], stats.t.interval(0.95, 1, 0.15, spread))
    assert np.allclose(mean, [0.7125, 0.15])


def test_one_split_has_a_mean_and_no_interval_and_none_has_neither() -> None:
    mean, low, high = interval(np.array([[0.7, np.nan]]), 0.25)
    assert mean[0] == 0.7
    assert np.isnan([mean[1], *low, *high]).all()


def test_the_ratio_counts_validation_as_learnt_from() -> None:
    splits = [Split("a", ("p", "q"), ("r",), ("s",)), Split("b", ("p", "q"), (), ("r", "s"))]
    assert np.isclose(ratio_of(splits), (1 / 3 + 2 / 2) / 2)


def test_other_levels_and_repeats_against_scipy() -> None:
    values = np.random.default_rng(0).standard_normal((20, 2))
    mean, low, high = interval(values, 0.25, 0.8, repeats=4)
    for i in range(2):
        spread = np.sqrt((1 / 5 + 0.25) * np.var(values[:, i], ddof=1))
        assert np.allclose([low[i], high[i]], stats.t.interval(0.8, 4, mean[i], spread))
    _, low, high = interval(values[:4], 0.25, repeats=4)
    assert np.isnan([*low, *high]).all(), "four repeats of one split are one split"


def test_repeats_are_how_often_the_same_samples_were_dealt_out() -> None:
    ids = [f"p{i}" for i in range(30)]
    for repeats in (1, 3):
        assert repeats_of(k_fold(ids, k=5, repeats=repeats, seed=0)) == repeats
    assert repeats_of(half_samples(ids, pairs=4, seed=0)) == 4
    assert repeats_of([hold_out(ids, seed=0)]) == 1
    assert repeats_of(leave_one_group_out(ids, {i: i[-1] for i in ids}, seed=0)) == 1
    random = [Split(f"{j}", (), (), hold_out(ids, seed=j).test) for j in range(12)]
    assert repeats_of(random) == 1, "random hold-outs test some samples more often than others"
    same = [Split(f"{j}", (ids[j],), (), tuple(sorted(ids[20:]))) for j in range(5)]
    assert repeats_of(same) == 1, "one test part is no repeat of folds"
    assert repeats_of([Split("all", tuple(ids), (), ())]) == 1

"""Significance against loops, scipy and the exact size of every p over all orders of the rows."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.interpret.null_draws import SHAPES, TIES, rows, sizes
from vnn.chance import generator
from vnn.interpret.significance import (
    any_p,
    benjamini_hochberg,
    draws_needed,
    least_draws,
    max_t,
    own_p,
    pooled_p,
    reach,
    significance,
    standardised,
)


def study(seed: int = 0, n_draws: int = 19, n_nodes: int = 12) -> tuple[np.ndarray, np.ndarray]:
    drawn = rows(seed, "t with 3 df", "blocks of 10", n_draws + 1, n_nodes)
    drawn[0, :2] += 6
    return drawn[0], drawn[1:]


def by_hand(values: list[float], i: int) -> float:
    others = [v for k, v in enumerate(values) if k != i]
    mean = sum(others) / len(others)
    return (values[i] - mean) / math.sqrt(sum((v - mean) ** 2 for v in others) / (len(others) - 1))


@pytest.mark.parametrize("sides", ["both", "upper"])
def test_p_are_those_of_loops(sides: str) -> None:
    real, null = study()
    n, size = len(real), abs if sides == "both" else float
    draws = range(len(null))
    own = [(1 + sum(size(null[b, j]) >= size(real[j]) for b in draws)) / 20 for j in range(n)]
    assert own_p(real, null, sides=sides) == pytest.approx(own)
    z = [size(by_hand([real[j], *null[:, j]], 0)) for j in range(n)]
    pool = [size(by_hand(list(null[:, j]), b)) for j in range(n) for b in draws]
    found, nulls = standardised(real, null, sides=sides)
    assert found == pytest.approx(z)
    assert sorted(nulls.ravel()) == pytest.approx(sorted(pool))
    assert pooled_p(real, null, sides=sides) == pytest.approx(
        [(1 + sum(v >= t for v in pool)) / (19 * n + 1) for t in z]
    )
    table = [[size(by_hand([real[j], *null[:, j]], i)) for j in range(n)] for i in range(20)]
    flat = [v for row in table for v in row]
    whole = [sum(v >= t for v in flat) / len(flat) for t in table[0]]
    assert pooled_p(real, null, sides=sides, whole_row=True) == pytest.approx(whole)
    smallest = []
    for i, row in enumerate(table):
        others = [v for k, r in enumerate(table) if k != i for v in r]
        smallest.append(min((1 + sum(v >= t for v in others)) / sum(v >= t for v in row) for t in row))
    assert any_p(real, null, sides=sides) == pytest.approx(sum(s <= smallest[0] for s in smallest) / 20)


def test_max_t_is_the_closed_testing_loop() -> None:
    """Adjusted p of a node is the largest p of the maximum over all sets of nodes that hold it: 2^n sets, not a step-down."""
    real, null = study(n_nodes=6)
    table = [[abs(by_hand([real[j], *null[:, j]], i)) for j in range(6)] for i in range(20)]
    expected = np.zeros(6)
    for members in range(1, 2**6):
        nodes = [j for j in range(6) if members >> j & 1]
        largest = [max(row[j] for j in nodes) for row in table]
        p = sum(v >= largest[0] for v in largest) / 20
        expected[nodes] = np.maximum(expected[nodes], p)
    assert max_t(real, null) == pytest.approx(expected)


def test_max_t_of_levels_is_that_of_each_level() -> None:
    real, null = study()
    levels = ["a"] * 5 + ["b"] * 7
    assert max_t(real, null, levels=levels)[:5] == pytest.approx(max_t(real[:5], null[:, :5]))
    assert max_t(real, null, levels=levels)[5:] == pytest.approx(max_t(real[5:], null[:, 5:]))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_q_values_are_those_of_scipy(p: list[float]) -> None:
    given_p = np.array(p)
    assert benjamini_hochberg(given_p) == pytest.approx(stats.false_discovery_control(given_p))
    with_missing = np.insert(given_p, 0, np.nan)
    assert np.isnan(benjamini_hochberg(with_missing)[0])
    assert benjamini_hochberg(with_missing)[1:] == pytest.approx(benjamini_hochberg(given_p))


drawn_rows = st.tuples(
    st.integers(0, 10_000),
    st.sampled_from(SHAPES),
    st.sampled_from(TIES),
    st.integers(5, 16),
    st.integers(1, 15),
    st.booleans(),
)


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(drawn_rows, st.sampled_from(["both", "upper"]))
@example((0, "log-normal", "independent", 5, 2, True), "both")  # one column has one size and two signs
def test_exact_p_have_their_size_over_all_orders_of_the_rows(how: tuple, sides: str) -> None:
    """With each row as the real one in turn, no chance is left: the promise must hold to the last case, ties included."""
    seed, shape, tie, n_rows, n_nodes, rounded = how
    table = rows(seed, shape, tie, n_rows, n_nodes)
    table = np.round(table) if rounded else table
    turns = [(table[i], np.delete(table, i, axis=0)) for i in range(n_rows)]
    own, whole = (
        made[:, ~np.isnan(made[0])]
        for made in (
            np.array([own_p(*turn, sides=sides) for turn in turns]),
            np.array([pooled_p(*turn, sides=sides, whole_row=True) for turn in turns]),
        )
    )
    if not own.size:
        return
    family = np.array([np.nanmin(max_t(*turn, sides=sides)) for turn in turns])
    overall = np.array([any_p(*turn, sides=sides) for turn in turns])
    pooled = [benjamini_hochberg(pooled_p(*turn, sides=sides)) for turn in turns]
    called = np.maximum([np.nanmin(q) for q in pooled], overall)
    for a in (0.05, 0.1, 0.2, 0.5):
        slack = a + 1e-9
        assert (own <= slack).mean(0).max() <= slack
        assert (whole <= slack).mean() <= slack
        assert (family <= slack).mean() <= slack
        assert (overall <= slack).mean() <= slack
        assert (called <= slack).mean() <= slack


def test_draws_measured_with_themselves_make_p_too_small() -> None:
    """The mistake that leaving one out avoids: studies without any effect call nodes."""
    found = sizes(30, "normal", "independent", 19, 100)
    assert found["with itself"][0] > 0.07
    assert found["with itself"][3] > 0.1
    assert found["pooled"][0] == pytest.approx(0.05, abs=0.015)
    assert found["pooled and any"][3] <= 0.2


@pytest.mark.slow
@pytest.mark.parametrize("n_draws", [19, 20, 40])
@pytest.mark.parametrize(
    ("shape", "tie"), [("normal", "one factor"), ("t with 2 df", "blocks of 10"), ("log-normal", "one factor")]
)
def test_sizes_in_studies_without_any_effect(shape: str, tie: str, n_draws: int) -> None:
    found = sizes(150, shape, tie, n_draws, 150)
    least = stats.binom.ppf(0.9999, 150, 0.05) / 150
    for way in ("pooled and any", "maxT"):
        assert found[way][3] <= least
    for way in ("pooled", "whole row", "own"):
        assert found[way][0] <= 0.085


def test_nodes_in_another_order_under_other_names_have_the_same_p() -> None:
    real, null = study()
    names, levels = [f"n{i}" for i in range(12)], ["a"] * 6 + ["b"] * 6
    table = significance(real, null, nodes=names, levels=levels).set_index("node")
    order = generator(1, "order").permutation(12)
    draws = generator(2, "order").permutation(19)
    other = significance(
        real[order], null[draws][:, order], nodes=[f"x{names[i]}" for i in order], levels=[levels[i] for i in order]
    )
    other["node"] = other["node"].str[1:]
    pd.testing.assert_frame_equal(other.set_index("node").loc[table.index], table)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000))
def test_units_of_a_node_do_not_matter(seed: int) -> None:
    real, null = study(seed)
    units = np.exp(generator(seed, "units").normal(0, 3, 12))
    for p in (own_p, pooled_p, max_t):
        assert p(real * units, null * units) == pytest.approx(p(real, null))
    assert any_p(real * units, null * units) == any_p(real, null)


def test_dead_nodes_have_no_p_and_change_nothing() -> None:
    real, null = study()
    more, nulls = np.append(real, 0.0), np.column_stack([null, np.zeros(19)])
    for p in (own_p, pooled_p, max_t):
        assert np.isnan(p(more, nulls)[-1])
        assert p(more, nulls)[:-1] == pytest.approx(p(real, null))
    table = significance(more, nulls, nodes=range(13), levels=["a"] * 13)
    assert table.iloc[-1][["p", "p_max_t", "p_pooled"]].isna().all()
    assert np.isnan(table["q"].iloc[-1])
    assert table["decided"].iloc[-1] == ""
    assert any_p(np.zeros(2), np.zeros((19, 2))) == 1


def test_a_node_that_lives_in_one_row_only_is_far_out() -> None:
    real, null = np.array([1.0, 0.0]), np.zeros((19, 2))
    null[3, 1] = -1.0
    z, nulls = standardised(real, null)
    assert z[0] == np.inf
    assert nulls[3, 1] == np.inf
    assert own_p(real, null).tolist() == [0.05, 1]
    assert max_t(real, null)[0] == pytest.approx(0.1)


def test_a_value_beyond_a_great_many_digits_is_only_large() -> None:
    real, null = study()
    real[0] = 1e30
    assert own_p(real, null)[0] == 0.05
    assert pooled_p(real, null)[0] == 1 / (19 * 12 + 1)
    assert max_t(real, null)[0] == 0.05


def test_what_draws_can_reach_is_reached() -> None:
    real, null = study(n_draws=39)
    real[:] = 1e6
    found = significance(real, null, nodes=range(12), levels=["a"] * 12)
    limits = reach(39, 12)
    assert found["p"].min() == limits.own_p == 1 / 40
    assert found["p_max_t"].min() == pytest.approx(limits.max_t)
    assert found["p_pooled"].min() == limits.pooled_p
    assert found["q"].min() == limits.q
    real[1:] = 0.0
    assert np.nanmin(benjamini_hochberg(own_p(real, null))) == pytest.approx(limits.own_q)
    assert reach(least_draws(0.05), 5).q <= 0.05 < reach(least_draws(0.05) - 1, 5).q


def test_draws_needed_is_where_the_interval_of_the_rate_leaves_the_threshold() -> None:
    found = draws_needed(np.array([0, 1, 2, 40, 5]), np.array([1, 1, 1, 1, 1]), n_draws=40)
    assert found["decided"].tolist() == ["open", "open", "open", "not beyond chance", "open"]
    assert found["more"].iloc[3] == 0
    least = next(n for n in range(40, 1000) if stats.chi2.ppf(0.975, 2) / 2 / n < 0.05)
    assert least <= found["n_draws"].iloc[0] <= least * 1.07
    rate = 2 / 40
    assert np.isnan(found["n_draws"].iloc[2])
    assert rate == 0.05
    settled = next(n for n in range(40, 5000) if stats.chi2.ppf(0.025, 2 * 0.125 * n) / 2 / n > 0.05)
    assert settled <= found["n_draws"].iloc[4] <= settled * 1.07
    wider = draws_needed(np.array([1]), np.array([1]), n_draws=40, dispersion=4.0)
    assert wider["n_draws"].iloc[0] > found["n_draws"].iloc[1]


@pytest.mark.slow
def test_more_draws_decide_as_the_plan_said() -> None:
    """Of a node whose q is truly beyond or within chance, the plan made after 20 draws is kept by most studies."""
    kept = []
    for seed in range(60):
        drawn = rows(seed, "normal", "independent", 2001, 40)
        drawn[0, 0] += 4.2
        first = significance(drawn[0], drawn[1:21], nodes=range(40), levels=["a"] * 40).iloc[0]
        if first["decided"] != "open" or np.isnan(first["more_draws"]) or first["more_draws"] > 1900:
            continue
        draws = int(20 + first["more_draws"])
        later = significance(drawn[0], drawn[1 : draws + 1], nodes=range(40), levels=["a"] * 40).iloc[0]
        kept.append(later["decided"] != "open" or later["more_draws"] < first["more_draws"])
    assert len(kept) > 20
    assert np.mean(kept) > 0.6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r, n: (r, n[:, :5]), "same order"),
        (lambda r, n: (r, n[0]), "same order"),
        (lambda r, n: (r, n[:2]), "at least 3"),
        (lambda r, n: (np.where(r > 0, np.nan, r), n), "missing or infinite"),
        (lambda r, n: (r, np.where(n > 0, np.inf, n)), "missing or infinite"),
    ],
)
def test_what_is_no_study_is_refused(change, message: str) -> None:
    real, null = change(*study())
    with pytest.raises(ValueError, match=message):
        significance(real, null, nodes=range(len(real)), levels=["a"] * len(real))


def test_other_mistakes_are_named() -> None:
    real, null = study()
    with pytest.raises(ValueError, match="Did you mean"):
        own_p(real, null, sides="uper")
    with pytest.raises(ValueError, match="3 nodes"):
        max_t(real, null, levels=["a"] * 3)
    with pytest.raises(ValueError, match="11 names"):
        significance(real, null, nodes=range(11), levels=["a"] * 12)
    with pytest.raises(ValueError, match="outside 0 to 1"):
        benjamini_hochberg(np.array([0.5, 1.5]))
    with pytest.raises(ValueError, match="at least 1"):
        reach(0, 5)
    with pytest.raises(ValueError, match="between 0 and 1"):
        least_draws(0)
    with pytest.raises(ValueError, match="rank"):
        draws_needed(np.array([1]), np.array([0]), n_draws=20)


@pytest.mark.parametrize("sides", ["upper", "both"])
def test_in_a_shared_unit_values_are_compared_as_they_are(sides: str) -> None:
    rng = np.random.default_rng(9)
    spread = rng.choice([1e-6, 0.01, 1.0], 40)
    real, null = spread * rng.standard_normal(40), spread * rng.standard_normal((20, 40))
    table = significance(real, null, nodes=range(40), levels=["a"] * 20 + ["b"] * 20, sides=sides, scale="shared")
    a, b = (np.abs(real), np.abs(null)) if sides == "both" else (real, null)
    pooled = np.array([(1 + (b >= x).sum()) / (1 + b.size) for x in a])
    study = (1 + (b.max(1) >= a.max()).sum()) / 21
    assert np.allclose(table["p_pooled"], pooled)
    assert np.allclose(table["p_any"], study)
    assert np.allclose(table["q"], np.maximum(stats.false_discovery_control(pooled), study))
    for level in (slice(0, 20), slice(20, 40)):
        order = np.argsort(-a[level])
        best, found = 0.0, np.empty(20)
        for k, i in enumerate(order):
            rest = order[k:]
            best = max(best, (1 + (b[:, level][:, rest].max(1) >= a[level][i]).sum()) / 21)
            found[i] = best
        assert np.allclose(table["p_max_t"].to_numpy()[level], found)


def test_in_a_shared_unit_a_speck_is_no_finding() -> None:
    """A node that hardly varies under the null is far out in its own unit, and nothing in the shared one."""
    rng = np.random.default_rng(3)
    null = np.column_stack([rng.standard_normal((20, 30)), 1e-6 * rng.standard_normal((20, 1))])
    real = np.append(rng.standard_normal(30) * 0.1, 1e-4)
    own, shared = (
        significance(real, null, nodes=range(31), levels=["a"] * 31, sides="upper", scale=scale)
        for scale in ("own", "shared")
    )
    assert own["q"].iloc[-1] <= 0.05
    assert shared["q"].iloc[-1] > 0.5
    with pytest.raises(ValueError, match="`scale`"):
        significance(real, null, nodes=range(31), levels=["a"] * 31, scale="none")

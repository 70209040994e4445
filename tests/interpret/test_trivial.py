"""Trivial rankings against loops, scipy and scikit-learn, and the coverage of the band by simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import HuberRegressor, LinearRegression

from tests.interpret.sized_nodes import above, sized
from tests.planted import cohort, wiring
from vnn.chance import generator
from vnn.data import Samples
from vnn.interpret.trivial import (
    _huber,
    design,
    least_nodes,
    matched,
    structure,
    structure_band,
    trivial_rankings,
    without_structure,
)


def names(table: pd.DataFrame) -> tuple[list[str], list[str]]:
    return table.index.get_level_values(0).tolist(), table.index.get_level_values(1).tolist()


def test_structure_is_counted_in_the_edges() -> None:
    made, edges, people = structure(wiring(), cohort()), wiring().to_edges(), cohort()
    below: dict[str, set[str]] = {gene: {gene} for gene in wiring().inputs}
    for edge in edges.sort_values("source_level", kind="stable").itertuples():
        below.setdefault(edge.target, set()).update(below[edge.source])
    for (_, node), row in made.iterrows():
        assert row["n_inputs"] == len(below[node])
        assert row["in_degree"] == (edges["target"] == node).sum()
        assert row["out_degree"] == (edges["source"] == node).sum()
        at = [people.features.index(gene) for gene in below[node]]
        assert row["mean_value"] == pytest.approx(np.mean([people.values[i].mean() for i in at]))
        assert row["variance"] == pytest.approx(np.mean([people.values[i].astype(float).var() for i in at]), rel=1e-5)
    assert made["depth"].groupby("level").first().tolist() == [0, 1, 2, 3]


def test_missing_values_are_left_out_of_means() -> None:
    people = cohort()
    values = people.values.copy()
    values[0, :10] = np.nan
    values[1] = np.nan
    with_holes = Samples(values, people.features, people.ids, people.targets, people.covariates, people.groups)
    made = structure(wiring(), with_holes).loc["inputs"]
    assert made.loc[people.features[0], "mean_value"] == pytest.approx(values[0, 10:].mean(), rel=1e-5)
    if people.features[1] in wiring().inputs:
        assert np.isnan(made.loc[people.features[1], "mean_value"])
    assert structure(wiring(), with_holes).loc["level 3", "mean_value"].notna().all()


def test_rankings_are_those_of_scipy() -> None:
    score, table, _ = sized(0, 60)
    levels, nodes = names(table)
    found = trivial_rankings(score, table, levels, nodes).set_index(["level", "ranking"])["correlation"]
    for level in [*set(levels), "all"]:
        at = [i for i in range(60) if level in (levels[i], "all")]
        for column in table:
            values = table[column].to_numpy()[at]
            if len(set(values)) > 1:
                assert found[level, column] == pytest.approx(stats.spearmanr(np.abs(score[at]), values).statistic)
            else:
                assert (level, column) not in found
    x = np.column_stack([np.log1p(table[c]) for c in ("n_inputs", "in_degree", "out_degree")]
                        + [table["mean_value"]] + [table["depth"] == d for d in (2, 3, 4)])  # fmt: skip
    ranks = stats.rankdata(np.abs(score))
    r2 = LinearRegression().fit(x, ranks).score(x, ranks)
    assert found["all", "together"] == pytest.approx(np.sqrt(1 - (1 - r2) * 59 / (59 - 7)))


def test_what_regression_leaves_has_nothing_of_size() -> None:
    score, table, _ = sized(1, 80)
    rest = without_structure(stats.rankdata(np.abs(np.stack([score, score[::-1]])), axis=1), table)
    assert np.abs(rest @ np.log1p(table[["n_inputs", "in_degree", "out_degree"]].to_numpy())).max() < 1e-6
    assert np.abs(without_structure(design(table).to_numpy().T[:1] * 3 + 2, table)).max() == 0


def test_the_regression_is_hubers() -> None:
    rng = generator(0, "huber")
    x = np.column_stack([np.ones(200), rng.standard_normal((200, 2))])
    y = x @ [1.0, 2.0, -1.0] + rng.standard_t(2, 200)
    rest, weight = _huber(y, x)
    scale = np.median(np.abs(rest - np.median(rest))) / stats.norm.ppf(0.75)
    psi = np.clip(rest / scale, -1.345, 1.345)
    assert np.abs(x.T @ psi).max() < 1e-4
    assert weight == pytest.approx(np.minimum(1, 1.345 * scale / np.abs(rest)))
    theirs = HuberRegressor(epsilon=1.345, alpha=0).fit(x[:, 1:], y)
    assert np.linalg.lstsq(x, y - rest, rcond=None)[0][1:] == pytest.approx(theirs.coef_, abs=0.05)


def test_each_node_is_predicted_from_the_others() -> None:
    """Leaving a node out by formula is close to fitting without it."""
    score, table, _ = sized(2, 80)
    levels, nodes = names(table)
    band = structure_band(score, table, levels, nodes)
    x = np.column_stack([np.ones(80), design(table).to_numpy()])
    y = np.log(np.abs(score))
    for i in range(0, 80, 7):
        others = np.delete(np.arange(80), i)
        rest, _ = _huber(y[others], x[others])
        slopes = np.linalg.lstsq(x[others], y[others] - rest, rcond=None)[0]
        assert np.log(band["expected"].iloc[i]) == pytest.approx(x[i] @ slopes, abs=0.08)


def test_edges_of_the_empirical_band_are_order_statistics_of_the_others() -> None:
    score, table, _ = sized(3, 61)
    levels, nodes = names(table)
    band = structure_band(score, table, levels, nodes, tail="empirical")
    error = np.log(band["size"] / band["expected"]).to_numpy()
    for i in range(61):
        others = sorted(np.delete(error, i))
        kept = int(np.ceil(0.975 * 61))
        assert np.log(band["upper"].iloc[i] / band["expected"].iloc[i]) == pytest.approx(others[kept - 1])
        assert np.log(band["lower"].iloc[i] / band["expected"].iloc[i]) == pytest.approx(others[61 - kept - 1])


def test_edges_of_the_robust_band_are_quantiles_of_the_others() -> None:
    score, table, _ = sized(3, 50)
    band = structure_band(score, table, *names(table))
    root = np.sqrt(band["size"] / band["expected"]).to_numpy()
    for i in range(50):
        middle, third = np.quantile(np.delete(root, i), [0.5, 0.75])
        edge = middle + (third - middle) * stats.norm.ppf(0.975) / stats.norm.ppf(0.75)
        assert band["upper"].iloc[i] == pytest.approx(band["expected"].iloc[i] * edge**2)


@pytest.mark.parametrize(("tail", "low", "high"), [("empirical", 0.005, 0.035), ("robust", 0.003, 0.07)])
def test_few_ordinary_nodes_stand_above(tail: str, low: float, high: float) -> None:
    for noise in ("normal", "t with 3 df"):
        ordinary, _, outside = above(12, 100, noise, tail, share=0.0)
        assert low <= ordinary <= high
        assert outside <= 0.08


def test_many_outlying_nodes_all_stand_above_the_robust_band_only() -> None:
    robust, empirical = (above(8, 200, "normal", tail, share=0.08)[1] for tail in ("robust", "empirical"))
    assert robust > 0.9
    assert empirical < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["normal", "Laplace", "t with 3 df", "log-normal"])
@pytest.mark.parametrize("n_nodes", [60, 300])
def test_coverage_of_the_band(noise: str, n_nodes: int) -> None:
    ordinary, _, outside = above(60, n_nodes, noise, "empirical", share=0.0)
    assert ordinary == pytest.approx(0.025, abs=0.012)
    assert outside == pytest.approx(0.05, abs=0.02)
    ordinary, _, outside = above(60, n_nodes, noise, "robust", share=0.0)
    assert ordinary <= (0.065 if n_nodes > 100 else 0.075)  # heavy tails and few nodes: 0.066 measured
    assert outside <= (0.075 if n_nodes > 100 else 0.085)


@settings(deadline=None, max_examples=4)
@given(st.integers(0, 500), st.floats(0.01, 100))
def test_order_names_and_units_do_not_matter(seed: int, unit: float) -> None:
    score, table, _ = sized(seed, 60)
    levels, nodes = names(table)
    order = generator(seed, "order").permutation(60)
    renamed = table.rename(index=lambda name: f"x{name}" if name.startswith("n") else name).iloc[::-1]
    band = structure_band(score, table, levels, nodes)
    other = structure_band(unit * score[order], renamed, [levels[i] for i in order], [f"x{nodes[i]}" for i in order])
    assert other["above"].tolist() == band["above"].iloc[order].tolist()
    assert other["upper"].to_numpy() == pytest.approx(unit * band["upper"].to_numpy()[order], rel=1e-6)
    mine = trivial_rankings(score, table, levels, nodes)
    theirs = trivial_rankings(score[order], renamed, [levels[i] for i in order], [f"x{nodes[i]}" for i in order])
    both = mine.merge(theirs, on=["level", "ranking"])
    assert len(both) == len(mine)
    assert both["correlation_x"].to_numpy() == pytest.approx(both["correlation_y"].to_numpy())


def test_nodes_without_score_or_structure_have_no_band() -> None:
    score, table, _ = sized(0, 60)
    levels, nodes = names(table)
    score[0] = 0
    table.iloc[1, 4] = np.nan
    band = structure_band(score, table, levels, nodes)
    assert band["upper"].isna().tolist()[:3] == [True, True, False]
    assert not band["above"].iloc[:2].any()
    few = structure_band(score[:39], table.iloc[:39], levels[:39], nodes[:39])
    assert few["upper"].isna().all()
    assert least_nodes(0.9) == 20


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda t: t.iloc[1:], ValueError, "lacks 1 of 60 nodes"),
        (lambda t: pd.concat([t, t.iloc[:2]]), ValueError, "2 repeated rows"),
        (lambda t: t.reset_index(), ValueError, "indexed by"),
        (lambda t: t.assign(kind="a"), ValueError, "'kind'"),
        (lambda t: t.assign(n_inputs=-1), ValueError, "below 0"),
    ],
)
def test_structure_that_does_not_fit_is_refused(change, error: type[Exception], message: str) -> None:
    _, table, _ = sized(0, 60)
    with pytest.raises(error, match=message):
        matched(change(table), *names(table))


def test_other_mistakes_are_named() -> None:
    score, table, _ = sized(0, 60)
    with pytest.raises(ValueError, match="robust"):
        structure_band(score, table, *names(table), tail="robst")
    with pytest.raises(ValueError, match="between 0 and 1"):
        structure_band(score, table, *names(table), coverage=95)
    people = cohort().select(features=cohort().features[:3])
    with pytest.raises(ValueError, match="lacks"):
        structure(wiring(), people)

"""Stability against loops over pairs of networks, and simulated networks whose stability is known."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vnn.chance import generator
from vnn.interpret.stability import (
    ALL,
    NetworkScores,
    Stability,
    in_top,
    jackknife,
    networks_needed,
    spearman_brown,
    stability,
)

SIZES = {"genes": 30, "sets": 14}


def made(
    seed: int = 0,
    *,
    n_seeds: int = 4,
    n_splits: int = 2,
    n_pairs: int = 4,
    noise: float = 1.0,
    dead: tuple[int, ...] = (3,),
    sizes: dict[str, int] = SIZES,
) -> NetworkScores:
    """Networks that see the same truth, each with its own noise; both seeds of a half share the noise of its people."""
    rng = generator(seed, "scored networks")
    levels = tuple(level for level, n in sizes.items() for _ in range(n))
    truth = rng.standard_normal(len(levels)) * 2
    rows, values = [], []
    for split, number in itertools.product(range(n_splits), range(n_seeds)):
        rows.append((number, f"fold {split}", None, None))
        values.append(truth + noise * rng.standard_normal(len(levels)))
    for pair, half in itertools.product(range(n_pairs), "ab"):
        people = noise * rng.standard_normal(len(levels))
        for number in range(2):
            rows.append((number, f"half {pair}{half}", f"half {pair}", half))
            values.append(truth + people + noise * rng.standard_normal(len(levels)))
    table = np.array(values)
    table[:, list(dead)] = 0
    return NetworkScores(table, tuple(f"n{i}" for i in range(len(levels))), levels,
                         pd.DataFrame(rows, columns=["seed", "split", "pair", "half"]))  # fmt: skip


def known(networks: NetworkScores, seed: int = 0) -> pd.DataFrame:
    rng = generator(seed, "known nodes")
    n = len(networks.nodes)
    index = pd.MultiIndex.from_arrays([networks.levels, networks.nodes], names=["level", "node"])
    return pd.DataFrame({"n_inputs": rng.integers(1, 90, n), "out_degree": rng.integers(1, 9, n),
                         "depth": [int(level == "sets") for level in networks.levels]}, index=index)  # fmt: skip


def row(table: pd.DataFrame, level: str, measure: str) -> pd.Series:
    return table[(table["level"] == level) & (table["measure"] == measure)].iloc[0]


MEASURES = {
    "Pearson": lambda a, b: stats.pearsonr(a, b).statistic,
    "Spearman": lambda a, b: stats.spearmanr(a, b).statistic,
    "rank scores": lambda a, b: stats.spearmanr(abs(a), abs(b)).statistic,
}


@pytest.mark.parametrize("measure", MEASURES)
def test_correlations_over_seeds_are_those_of_a_loop(measure: str) -> None:
    networks = made()
    found = stability(networks).over_seeds
    by_level: dict[str, list[float]] = {}
    for level in SIZES:
        at = [i for i, name in enumerate(networks.levels) if name == level and i != 3]
        for a, b in itertools.combinations(range(8), 2):
            if networks.networks["split"][a] == networks.networks["split"][b]:
                by_level.setdefault(level, []).append(MEASURES[measure](networks.values[a, at], networks.values[b, at]))
        assert row(found, level, measure)["mean"] == pytest.approx(np.mean(by_level[level]))
        assert row(found, level, measure)["n_nodes"] == len(at)
        assert row(found, level, measure)["n_pairs"] == 12
    weighted = (29 * np.mean(by_level["genes"]) + 14 * np.mean(by_level["sets"])) / 43
    assert row(found, ALL, measure)["mean"] == pytest.approx(weighted)


@pytest.mark.parametrize("measure", MEASURES)
def test_correlations_over_people_are_those_of_a_loop(measure: str) -> None:
    networks = made()
    found = stability(networks).over_people
    table, pairs = networks.networks, []
    at = np.arange(30, 44)
    for pair in range(4):
        a, b = (networks.values[(table["pair"] == f"half {pair}") & (table["half"] == h)].mean(0)[at] for h in "ab")
        pairs.append(np.arctanh(MEASURES[measure](a, b)))
    mine = row(found, "sets", measure)
    assert mine["mean"] == pytest.approx(np.tanh(np.mean(pairs)))
    reach = stats.t.ppf(0.975, 3) * np.sqrt(np.var(pairs, ddof=1) * (1 / 4 + 1))
    assert mine["low"] == pytest.approx(np.tanh(np.mean(pairs) - reach))
    assert mine["high"] == pytest.approx(np.tanh(np.mean(pairs) + reach))


def test_stability_without_structure_is_the_partial_correlation() -> None:
    networks = made(dead=())
    table = known(networks)
    found = stability(networks, structure=table)
    at = np.arange(30, 44)
    x = np.column_stack(
        [np.ones(14), np.log1p(table["n_inputs"].to_numpy()[at]), np.log1p(table["out_degree"].to_numpy()[at])]
    )
    partial = []
    for a, b in [*itertools.combinations(range(4), 2), *itertools.combinations(range(4, 8), 2)]:
        ranks = [stats.rankdata(abs(networks.values[i, at])) for i in (a, b)]
        precision = np.linalg.inv(np.cov(np.column_stack([*ranks, *x[:, 1:].T]).T))
        partial.append(-precision[0, 1] / np.sqrt(precision[0, 0] * precision[1, 1]))
    assert row(found.over_seeds, "sets", "rank scores without structure")["mean"] == pytest.approx(np.mean(partial))


def test_size_alone_is_stable_until_it_is_taken_out() -> None:
    """Networks that share nothing but the size of their nodes agree; without size they do not."""
    networks = made(n_splits=1, n_seeds=8, sizes={"sets": 200}, dead=())
    table = known(networks)
    noise = generator(3, "noise").standard_normal(networks.values.shape)
    other = NetworkScores(noise * table["n_inputs"].to_numpy(), networks.nodes, networks.levels, networks.networks)
    found = stability(other, structure=table)
    assert row(found.over_seeds, ALL, "rank scores")["mean"] > 0.3
    assert abs(row(found.over_seeds, ALL, "rank scores without structure")["mean"]) < 0.1
    assert abs(row(found.over_people, ALL, "rank scores without structure")["mean"]) < 0.15
    together = found.trivial.set_index(["level", "ranking"])["correlation"]
    assert together["all", "n_inputs"] > 0.4


def test_nodes_agree_in_sign_and_stand_in_the_top_as_counted() -> None:
    networks = made()
    found = stability(networks).nodes
    names, halves = networks.halves()
    assert names == ("half 0", "half 1", "half 2", "half 3")
    score = np.mean([networks.values[:4].mean(0), networks.values[4:8].mean(0)], axis=0)
    for i, node in found.iterrows():
        assert node["score"] == pytest.approx(score[i])
        if i == 3:
            assert node["dead"]
            assert np.isnan(node["sign_agreement"])
            continue
        signs, top = [], []
        for pair in range(4):
            for half in range(2):
                values = halves[pair, half]
                signs.append(np.sign(values[i]) == np.sign(score[i]))
                peers = [abs(values[j]) for j in range(44) if networks.levels[j] == networks.levels[i] and j != 3]
                places = int(np.ceil(len(peers) / 10))
                top.append(abs(values[i]) >= sorted(peers)[-places])
        assert node["sign_agreement"] == pytest.approx(np.mean(signs))
        assert node["top_decile"] == pytest.approx(np.mean(top))
        assert node["n_halves"] == 8


def test_seeds_are_averaged_before_splits() -> None:
    networks = made(n_pairs=0)
    kept = [0, 1, 2, 3, 4]
    some = NetworkScores(networks.values[kept], networks.nodes, networks.levels, networks.networks.iloc[kept])
    assert some.score() == pytest.approx((networks.values[:4].mean(0) + networks.values[4]) / 2)


def test_tied_places_at_the_top() -> None:
    values = np.array([[3, 3, 3, 1, 0, 0, 0, 0, 0, 0, 0], [0.0] * 11])
    assert in_top(values, ["a"] * 11, np.ones(11, bool))[0].tolist() == [True] * 3 + [False] * 8
    assert not in_top(values, ["a"] * 11, np.ones(11, bool))[1].any()
    alive = np.arange(11) < 3
    assert in_top(np.arange(11.0)[None], ["a"] * 11, alive)[0].tolist() == [False, False, True] + [False] * 8


def test_the_jackknife_is_that_of_a_loop() -> None:
    rng = generator(0, "pairs")
    ends = list(itertools.combinations(range(5), 2))
    pairs = rng.uniform(0.2, 0.8, 10)
    mean, low, high = jackknife(pairs, ends)
    left = [np.arctanh(np.mean([r for r, e in zip(pairs, ends, strict=True) if i not in e])) for i in range(5)]
    error = np.sqrt(4 / 5 * sum((v - np.mean(left)) ** 2 for v in left))
    assert mean == pytest.approx(pairs.mean())
    assert np.arctanh(high) - np.arctanh(mean) == pytest.approx(stats.t.ppf(0.975, 4) * error)
    assert np.arctanh(mean) - np.arctanh(low) == pytest.approx(stats.t.ppf(0.975, 4) * error)
    assert all(np.isnan(jackknife(pairs[:1], ends[:1])[1:]))
    with pytest.raises(ValueError, match="itself"):
        jackknife(pairs[:2], [(0, 1), (1, 1)])


def coverage(n_studies: int, n_networks: int, noise: float) -> tuple[float, float]:
    """Share of jackknife intervals, and of intervals from pairs as if independent, that hold the expected correlation."""
    rng = generator(0, "coverage", n_networks, str(noise))
    truth = rng.standard_normal(60)
    ends = list(itertools.combinations(range(n_networks), 2))
    at = tuple(np.array(ends).T)
    many = truth + noise * rng.standard_normal((1500, 60)) * rng.uniform(0.5, 1.5, (1500, 1))
    expected = np.corrcoef(many)[np.triu_indices(1500, 1)].mean()
    held = []
    for _ in range(n_studies):
        values = truth + noise * rng.standard_normal((n_networks, 60)) * rng.uniform(0.5, 1.5, (n_networks, 1))
        pairs = np.corrcoef(values)[at]
        _, low, high = jackknife(pairs, ends)
        naive = stats.t.ppf(0.975, len(pairs) - 1) * pairs.std(ddof=1) / np.sqrt(len(pairs))
        held.append([low <= expected <= high, abs(pairs.mean() - expected) <= naive])
    return tuple(np.mean(held, axis=0))


def test_intervals_of_the_jackknife_hold_the_expected_correlation() -> None:
    jack, naive = coverage(150, 8, 1.0)
    assert jack >= 0.88
    assert naive < jack


@pytest.mark.slow
@pytest.mark.parametrize(("n_networks", "noise"), [(4, 0.5), (4, 2.0), (8, 0.5), (20, 1.0)])
def test_coverage_of_the_jackknife(n_networks: int, noise: float) -> None:
    assert coverage(500, n_networks, noise)[0] >= 0.89


def halves_of_cohorts(n_cohorts: int, n_people: int, n_pairs: int) -> tuple[float, float]:
    """Share of intervals over people that hold the expected correlation: as made, and from pairs as if independent."""
    rng = generator(0, "cohorts", n_people, n_pairs)
    effects, labels = 0.2 * rng.standard_normal(100), np.arange(n_people) % 2
    found = []
    for _ in range(n_cohorts):
        people = rng.standard_normal((n_people, 100)) + np.outer(labels - 0.5, effects)
        values, rows = [], []
        for pair in range(n_pairs):
            order = rng.permutation(n_people)
            for half, at in (("a", order[: n_people // 2]), ("b", order[n_people // 2 :])):
                values.append(people[at][labels[at] == 1].mean(0) - people[at][labels[at] == 0].mean(0))
                rows.append((0, f"{pair}{half}", pair, half))
        networks = NetworkScores(np.array(values), tuple(map(str, range(100))), ("a",) * 100,
                                 pd.DataFrame(rows, columns=["seed", "split", "pair", "half"]))  # fmt: skip
        mine = row(stability(networks).over_people, ALL, "Pearson")
        fisher = np.arctanh([np.corrcoef(values[2 * i], values[2 * i + 1])[0, 1] for i in range(n_pairs)])
        reach = stats.t.ppf(0.975, n_pairs - 1) * fisher.std(ddof=1) / np.sqrt(n_pairs)
        found.append((fisher.mean(), np.arctanh(mine["low"]), np.arctanh(mine["high"]), reach))
    mean, low, high, reach = np.array(found).T
    expected = mean.mean()
    return float(((low <= expected) & (expected <= high)).mean()), float((abs(mean - expected) <= reach).mean())


@pytest.mark.slow
def test_intervals_over_people_allow_for_shared_people() -> None:
    corrected, naive = halves_of_cohorts(60, 100, 10)
    assert corrected >= 0.93
    assert naive < 0.85


@settings(deadline=None, max_examples=50)
@given(st.floats(0.01, 0.99), st.floats(0.05, 0.99))
def test_as_many_networks_as_needed_are_enough_and_one_fewer_is_not(r: float, target: float) -> None:
    n = networks_needed(r, target)
    assert spearman_brown(r, n) >= target - 1e-6
    assert n == 1 or spearman_brown(r, n - 1) < target + 1e-6


def test_spearman_brown_at_its_ends() -> None:
    assert spearman_brown(0.3, 1) == 0.3
    assert np.isnan(networks_needed(0.0))
    assert np.isnan(networks_needed(-0.2))
    assert np.isnan(spearman_brown(-0.5, 3))
    for target in (0, 1, 9):
        with pytest.raises(ValueError, match="reliability"):
            networks_needed(0.5, target)


def test_means_of_disjoint_networks_agree_as_spearman_and_brown_said() -> None:
    networks = made(n_seeds=16, n_splits=1, n_pairs=0, noise=3.0, sizes={"genes": 150}, dead=())
    table = stability(networks).reliability
    seen = table[(table["level"] == ALL) & table["observed"].notna()]
    assert seen["n_networks"].tolist() == list(range(1, 9))
    assert seen["observed"].to_numpy() == pytest.approx(seen["predicted"].to_numpy(), abs=0.06)
    assert seen["predicted"].iloc[-1] - seen["predicted"].iloc[0] > 0.2


def test_identical_networks_are_perfectly_stable_and_noise_is_not() -> None:
    same = stability(made(noise=0.0))
    assert same.over_seeds["mean"].to_numpy() == pytest.approx(1)
    assert same.over_people["mean"].to_numpy() == pytest.approx(1)
    assert same.nodes["sign_agreement"].dropna().eq(1).all()
    assert same.needed["n_networks"].eq(1).all()
    noise = stability(made(noise=1e6, sizes={"genes": 300}))
    assert abs(row(noise.over_seeds, ALL, "Pearson")["mean"]) < 0.1
    assert noise.nodes["sign_agreement"].mean() == pytest.approx(0.5, abs=0.1)


def compared(a: Stability, b: Stability, names: dict[str, str]) -> None:
    for name, table in a.tables.items():
        keys = [
            c
            for c in ("level", "measure", "node", "n_networks", "ranking")
            if c in table and (c != "n_networks" or name == "reliability")
        ]
        other = b.tables[name].assign(**({"node": b.tables[name]["node"].map(names)} if "node" in table else {}))
        left, right = (t.set_index(keys).sort_index() for t in (table, other))
        pd.testing.assert_frame_equal(left, right, rtol=1e-9, atol=1e-12)


@settings(deadline=None, max_examples=3)
@given(st.integers(0, 100))
def test_order_and_names_do_not_matter(seed: int) -> None:
    networks = made(seed)
    structure = known(networks)
    rng = generator(seed, "orders")
    rows, columns = rng.permutation(len(networks.networks)), rng.permutation(44)
    other = NetworkScores(
        networks.values[rows][:, columns],
        tuple(f"x{networks.nodes[i]}" for i in columns),
        tuple(networks.levels[i] for i in columns),
        networks.networks.iloc[rows],
    )
    renamed = structure.rename(index={node: f"x{node}" for node in networks.nodes}, level="node")
    compared(
        stability(networks, structure=structure),
        stability(other, structure=renamed),
        {f"x{n}": n for n in networks.nodes},
    )


def test_what_cannot_be_said_is_left_out_with_its_reason() -> None:
    few = stability(made(n_seeds=1, n_pairs=2, sizes={"genes": 20, "root": 1}))
    assert few.over_seeds.empty
    assert few.over_people.empty
    assert few.needed.empty
    assert few.nodes["top_decile"].isna().all()
    said = " ".join(few.left_out)
    for reason in ("train 2 seeds", "2 complete pairs", "'root' has 1 nodes", "No structure"):
        assert reason in said
    two = stability(made(n_seeds=2, n_splits=1))
    assert np.isnan(two.over_seeds["low"]).all()
    assert any("no interval" in line for line in two.left_out)
    assert any("Fewer than 4 seeds" in line for line in two.left_out)
    torn = made()
    kept = np.flatnonzero((torn.networks["split"] != "half 1b").to_numpy())
    one_half = stability(NetworkScores(torn.values[kept], torn.nodes, torn.levels, torn.networks.iloc[kept]))
    assert any("1 of 4 pairs have one half only" in line for line in one_half.left_out)
    assert one_half.over_people["n_pairs"].eq(3).all()
    halves = np.flatnonzero(torn.networks["pair"].notna().to_numpy())
    without = stability(NetworkScores(torn.values[halves], torn.nodes, torn.levels, torn.networks.iloc[halves]))
    assert any("no score of all people" in line for line in without.left_out)
    assert not without.over_people.empty


def test_networks_that_give_all_nodes_the_same_score_are_named() -> None:
    networks = made()
    values = networks.values.copy()
    values[0, 30:] = 0.5
    found = stability(NetworkScores(values, networks.nodes, networks.levels, networks.networks))
    assert any("'sets'" in line for line in found.left_out)
    assert row(found.over_seeds, "sets", "Pearson")["n_pairs"] == 9
    assert row(found.over_seeds, "genes", "Pearson")["n_pairs"] == 12
    assert row(found.over_seeds, ALL, "Pearson")["n_pairs"] == 9


def test_words_and_files_hold_what_was_found(tmp_path: Path) -> None:
    networks = made()
    found = stability(networks, structure=known(networks))
    words = " ".join(found.words())
    for part in ("complementary halves", "Over seeds", "Spearman-Brown", "1 of 44 nodes score 0", "size and place"):
        assert part in words
    found.to_csv(tmp_path)
    assert len(list(tmp_path.iterdir())) == 7
    for name, table in found.tables.items():
        assert len(pd.read_csv(tmp_path / f"stability_{name}.csv")) == len(table)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.zeros((3, 44))}, "one row per network"),
        ({"levels": ("genes",) * 43}, "one row per network"),
        ({"nodes": ("n0",) * 44}, "named more than once"),
        ({"values": np.full((24, 44), np.nan)}, "not finite"),
    ],
)
def test_scores_that_are_none_are_refused(change: dict, message: str) -> None:
    networks = made()
    given_all = {
        "values": networks.values,
        "nodes": networks.nodes,
        "levels": networks.levels,
        "networks": networks.networks,
    }
    with pytest.raises(ValueError, match=message):
        NetworkScores(**(given_all | change))


def test_networks_that_contradict_themselves_are_refused() -> None:
    networks = made()
    table = networks.networks

    def given_table(changed: pd.DataFrame) -> NetworkScores:
        return NetworkScores(networks.values, networks.nodes, networks.levels, changed)

    with pytest.raises(ValueError, match="lacks the columns 'half'"):
        given_table(table.drop(columns="half"))
    with pytest.raises(ValueError, match="pair without a half"):
        given_table(table.assign(half=None))
    with pytest.raises(ValueError, match="more than two halves"):
        given_table(table.assign(half=[None] * 8 + list("abcdabcdabcdabcd")))
    with pytest.raises(ValueError, match="same seed and split"):
        given_table(table.assign(seed=0))
    with pytest.raises(ValueError, match="give one each"):
        stability(networks, score=np.zeros(3))

"""The verdict: every rule decides alone, names and order decide nothing, and nothing is called where there is nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vnn.interpret.scored import Scored
from vnn.interpret.verdict import (
    CHANCE,
    METHOD,
    NOT_INFORMATIVE,
    NOT_RESOLVABLE,
    ROBUST,
    STRUCTURE,
    UNSTABLE,
    Informative,
    Thresholds,
    agreement,
    judge,
    verdict,
)

N, P, PAIRS, SEEDS = 60, 20, 10, 2
STAR = 7
GOOD = Informative(0.04)


def scores(
    *, star: float = 1.0, noise: float = 0.02, labels: float = 0.02, wiring: float = 0.02, n_draws: int = P, n_wirings: int = P,
    pairs: int = PAIRS, halves_sign: float = 1.0, halves_size: float = 1.0, ablation: float | None = 1.0,
    relevance: float | None = None, seed: int = 0,
) -> Scored:  # fmt: skip
    """Noise in all nodes but one; arguments say what that one does where."""
    rng = np.random.default_rng(seed)
    rows, values = [], {"deeplift": [], "ablation": [], "lrp-gamma": []}

    def add(kind: str, draw: int | None, half: str | None, size: float, spread: float, top: float = 0.0) -> None:
        for split in ("s0", "s1") if half is None else (f"half {draw}{half}",):
            for s in range(SEEDS):
                rows.append((kind, draw, split, s, half))
                own = spread * rng.standard_normal(N)
                own[STAR] += size
                own[(STAR + 1) % N] += top
                for method, share in (("deeplift", 1.0), ("ablation", ablation), ("lrp-gamma", relevance)):
                    other = own.copy()
                    other[STAR] = own[STAR] * share if share is not None else np.nan
                    values[method].append(other if share is not None else np.full(N, np.nan))

    add("real", None, None, star, noise)
    for draw in range(n_draws):
        add("labels", draw, None, 0.0, labels)
    for draw in range(n_wirings):
        add("rewired", draw, None, 0.0, wiring)
    for pair in range(pairs):
        for i, half in enumerate("ab"):
            sign = 1.0 if (2 * pair + i) / (2 * pairs) < halves_sign else -1.0
            add("half_samples", pair, half, sign * halves_size, noise)
    networks = pd.DataFrame(rows, columns=["kind", "draw", "split", "seed", "half"]).astype({"draw": "Int64"})
    kept = {m: np.stack(held)[None] for m, held in values.items() if np.isfinite(np.stack(held)).any()}
    levels = ["level 1"] * 40 + ["level 2"] * 20
    nodes = pd.DataFrame(
        {"level": levels, "node": [f"n{i}" for i in range(N)], "name": [f"node {i}" for i in range(N)]}
    )
    return Scored(nodes, ("case minus control",), networks, kept, kept, np.ones((1, len(rows))), "the mean")


def word(scored: Scored, node: int = STAR, **how: object) -> str:
    found = verdict(scored, informative=how.pop("informative", GOOD), **how)
    return str(found.table.loc[node, "verdict"])


def test_what_passes_everything_is_robust() -> None:
    found = verdict(scores(), informative=GOOD)
    assert found.robust["node"].tolist() == [f"n{STAR}"]
    assert (found.table.drop(index=STAR)["verdict"] == CHANCE).all()


@pytest.mark.parametrize(
    ("changed", "how", "expected"),
    [
        ({}, {"informative": Informative(0.2)}, NOT_INFORMATIVE),
        ({}, {"informative": Informative(0.04, 0.3)}, NOT_INFORMATIVE),
        ({}, {"informative": Informative(0.3, smallest=0.2)}, NOT_INFORMATIVE),
        ({"n_draws": 4}, {"informative": Informative(0.2, smallest=0.2)}, NOT_RESOLVABLE),
        ({"n_draws": 18}, {}, NOT_RESOLVABLE),
        ({"n_wirings": 18}, {}, NOT_RESOLVABLE),
        ({"pairs": 2}, {}, NOT_RESOLVABLE),
        ({"ablation": None}, {}, NOT_RESOLVABLE),
        ({"labels": 1.5}, {}, CHANCE),
        ({"star": -1.0}, {}, CHANCE),
        ({"wiring": 0.9}, {}, STRUCTURE),
        ({"ablation": 0.0}, {}, METHOD),
        ({"ablation": 0.0, "relevance": 0.0}, {}, METHOD),
        ({"ablation": 0.0, "relevance": 1.0}, {}, ROBUST),
        ({"halves_sign": 0.8}, {}, UNSTABLE),
        ({"halves_size": 0.0}, {}, UNSTABLE),
        ({"halves_size": 0.021}, {"thresholds": Thresholds(top=0.02, signs=0.5)}, UNSTABLE),
        ({"halves_size": 0.021}, {"thresholds": Thresholds(top=0.6, signs=0.5)}, ROBUST),
        ({"halves_sign": 0.8}, {"thresholds": Thresholds(signs=0.7)}, ROBUST),
        ({"wiring": 0.9}, {"thresholds": Thresholds(structure=0.999)}, ROBUST),
        ({"n_draws": 18}, {"thresholds": Thresholds(chance=0.1)}, ROBUST),
        ({"ablation": None}, {"thresholds": Thresholds(families=1)}, ROBUST),
    ],
)  # fmt: skip
def test_each_rule_decides_alone(changed: dict[str, float], how: dict[str, object], expected: str) -> None:
    assert word(scores(**changed), **how) == expected


def test_the_band_decides_alone() -> None:
    made = scores(star=0.3)
    held = {m: v.copy() for m, v in made.values.items()}
    real = (made.networks["kind"] == "real").to_numpy()
    size = np.linspace(1, 500, N).round()
    rng = np.random.default_rng(1)
    grown = 0.3 * np.exp(0.05 * rng.standard_normal(N)) * (1 + size) / (1 + size[STAR])
    for values in held.values():
        values[0, real] = grown
    table = pd.DataFrame(
        {"n_inputs": size, "depth": 1.0},
        index=pd.MultiIndex.from_frame(made.nodes[["level", "node"]], names=["level", "node"]),
    )
    grows = replace(made, values=held)
    assert word(grows, structure=table) == STRUCTURE
    assert word(grows, structure=table, thresholds=Thresholds(band=False)) != STRUCTURE
    for values in held.values():
        values[0, real, STAR] *= 20
    assert word(replace(made, values=held), structure=table) == ROBUST


def test_order_and_names_decide_nothing() -> None:
    made = scores(halves_sign=0.95)
    rng = np.random.default_rng(3)
    order = np.concatenate([rng.permutation(40), 40 + rng.permutation(20)])
    nets = rng.permutation(len(made.networks))
    renamed = made.nodes.iloc[order].reset_index(drop=True).assign(node=[f"x{i}" for i in order])
    other = Scored(
        renamed, made.contrasts, made.networks.iloc[nets].reset_index(drop=True),
        *({m: v[:, nets][:, :, order] for m, v in held.items()} for held in (made.values, made.correlations)),
        made.separation[:, nets], made.baseline,
    )  # fmt: skip
    first, second = (verdict(one, informative=GOOD).table for one in (made, other))
    columns = ["score", "p_labels", "q_labels", "maxt_labels", "q_wiring", "families", "halves_sign", "halves_top"]
    assert np.allclose(first[columns].iloc[order].to_numpy(float), second[columns].to_numpy(float), equal_nan=True)
    assert first["verdict"].iloc[order].tolist() == second["verdict"].tolist()


def test_figures_equal_their_definitions() -> None:
    made = scores(star=0.05, seed=5)
    found = verdict(made, informative=GOOD).table
    held, kinds = made.values["deeplift"][0], made.networks["kind"].to_numpy()
    real = held[kinds == "real"].mean(0)
    draws = held[kinds == "labels"].reshape(P, -1, N).mean(1)
    assert np.allclose(found["score"], real)
    assert np.allclose(found["p_labels"], (1 + (draws >= real).sum(0)) / (P + 1))
    pooled = np.array([(1 + (draws >= x).sum()) / (1 + draws.size) for x in real])
    study = (1 + (draws.max(1) >= real.max()).sum()) / (P + 1)
    assert np.allclose(found["q_labels"], np.maximum(stats.false_discovery_control(pooled), study))
    by_split = held[kinds == "real"].reshape(2, SEEDS, N).mean(1)
    half = stats.t.ppf(0.975, 1) * by_split.std(0, ddof=1) * np.sqrt(1 / 2)
    assert np.allclose(found["high"] - found["low"], 2 * half)
    halves = held[kinds == "half_samples"].reshape(2 * PAIRS, SEEDS, N).mean(1)
    assert np.allclose(found["halves_sign"], (np.sign(halves) == np.sign(real)).mean(0))


def test_permuted_labels_are_asked_for_correlations_and_rewired_networks_for_scores() -> None:
    """Many nodes that each add little, as in a study where half of the genes tell the classes apart."""
    made = scores(star=0.0, noise=0.001, wiring=0.02, labels=0.02, seed=2)
    kinds = made.networks["kind"].to_numpy()
    rng = np.random.default_rng(0)
    with_labels = {"deeplift": rng.normal(0, 0.1, (1, len(kinds), N))}
    with_labels["deeplift"][:, kinds == "real", :30] += 0.8
    found = verdict(
        replace(made, values={"deeplift": made.values["deeplift"]}, correlations=with_labels), informative=GOOD
    )
    assert (found.table["verdict"][:30] == STRUCTURE).all()
    assert (found.table["verdict"][30:] == CHANCE).sum() >= 27, "5 % of those that are called may be wrong"
    assert np.allclose(found.table["correlation"], with_labels["deeplift"][0, kinds == "real"].mean(0))
    real, draws = (with_labels["deeplift"][0, kinds == kind] for kind in ("real", "labels"))
    own = (1 + (draws.reshape(P, -1, N).mean(1) >= real.mean(0)).sum(0)) / (P + 1)
    assert np.allclose(found.table["p_labels"], own)


def shifted(n_causes: int = 3, seed: int = 0) -> Scored:
    """Networks of shifted variants: in every draw as many nodes matter as in the study, and as much, but they are others."""
    made, rng = scores(wiring=0.0, star=0.0, noise=0.001, seed=seed), np.random.default_rng(seed)
    networks = made.networks.assign(kind=made.networks["kind"].replace("rewired", "shifted"))
    values = {m: held.copy() for m, held in made.values.items()}
    for (kind, _), part in networks.fillna({"draw": -1}).groupby(["kind", "draw"]):
        causes = rng.choice(N, n_causes, replace=False) if kind == "shifted" else np.arange(STAR, STAR + n_causes)
        for held in values.values():
            held[0, part.index] += 0.001 * rng.random(N)
            if kind != "labels":
                held[0][np.ix_(part.index, causes)] += np.linspace(0.5, 1.0, n_causes)
    return replace(made, networks=networks, values=values, correlations=values)


def test_of_shifted_variants_it_is_asked_how_rare_the_score_is() -> None:
    """No q against such draws is small, whatever matters: they hold as much as the study does."""
    found = verdict(shifted(), informative=GOOD)
    causes, table = range(STAR, STAR + 3), found.table
    assert found.wiring == "shifted"
    assert (table.loc[causes, "q_wiring"] > 0.3).all()
    assert found.robust["node"].tolist() == [f"n{i}" for i in reversed(causes)]
    made = shifted()
    kinds, held = made.networks["kind"].to_numpy(), made.values["deeplift"][0]
    real, draws = held[kinds == "real"].mean(0), held[kinds == "shifted"].reshape(P, -1, N).mean(1)
    for level, nodes in made.nodes.groupby("level").indices.items():
        places = draws[:, nodes]
        expected = [(1 + (places >= real[i]).sum()) / (1 + places.size) for i in nodes]
        assert np.allclose(table.loc[table["level"] == level, "reached_wiring"], expected)
    many = verdict(shifted(n_causes=12), informative=GOOD).table
    weakest = many.loc[STAR]
    assert weakest["verdict"] == STRUCTURE, "a fifth of all places reach as much"
    assert (
        "of the places of its level reach its score in networks whose variants were shifted along the genome"
        in weakest["decided_by"]
    )
    assert np.isnan(weakest["draws_needed"])


def test_rewired_variants_are_asked_so_too() -> None:
    made = shifted()
    networks = made.networks.assign(kind=made.networks["kind"].replace("shifted", "rewired"))
    rewired = replace(made, networks=networks)
    assert not len(verdict(rewired, informative=GOOD).robust)
    found = verdict(rewired, informative=GOOD, variants=True)
    assert found.robust["node"].tolist() == verdict(made, informative=GOOD).robust["node"].tolist()
    assert found.places


def test_shifted_networks_are_asked_before_rewired_ones() -> None:
    made = shifted()
    both = Scored.join([made, scores(wiring=0.9, star=0.0, noise=0.001).of("rewired")])
    assert (
        verdict(both, informative=GOOD).robust["node"].tolist()
        == verdict(made, informative=GOOD).robust["node"].tolist()
    )


@pytest.mark.parametrize("n_studies", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_a_study_of_nothing_is_rarely_called(n_studies: int) -> None:
    """The p of the whole study is exact, so that at most 1 in 21 studies of nothing calls a node."""
    called = 0
    for seed in range(n_studies):
        found = verdict(scores(star=0.0, pairs=3, seed=seed), informative=GOOD).table
        called += bool((found["q_labels"] <= 0.05).any())
    assert called <= stats.binom.ppf(0.999, n_studies, 1 / 21)
    assert called or n_studies < 200


def test_only_open_nodes_ask_for_more_draws() -> None:
    found = verdict(scores(), informative=GOOD).table
    assert np.isnan(found.loc[STAR, "draws_needed"])
    assert (found.drop(index=STAR)["draws_needed"].dropna() >= 0).all()


def test_other_families_are_asked_of_candidates_only() -> None:
    full, asked = scores(ablation=0.0, relevance=1.0), []

    def score(method: object) -> Scored:
        name = method.name
        asked.append((name, dict(method.settings).get("only")))
        return replace(full, values={name: full.values[name]})

    found, held = judge(score, informative=GOOD)
    assert asked == [("deeplift", None), ("ablation", {"level 1": [STAR]}), ("lrp-gamma", None)]
    assert set(held.values) == {"deeplift", "ablation", "lrp-gamma"}
    assert found.robust["node"].tolist() == [f"n{STAR}"]


def test_nothing_more_is_asked_where_nothing_was_found() -> None:
    full, asked = scores(star=0.0), []

    def score(method: object) -> Scored:
        asked.append(method.name)
        return replace(full, values={method.name: full.values[method.name]})

    judge(score, informative=GOOD)
    assert asked == ["deeplift"]


def test_without_draws_it_says_so() -> None:
    made = scores()
    bare = made.of("real")
    found = verdict(bare, informative=Informative())
    assert (found.table["verdict"] == NOT_RESOLVABLE).all()
    assert any("no draws" in line for line in found.left_out)
    assert found.table["decided_by"].str.contains("too few draws").all()


def test_several_contrasts_are_one_study() -> None:
    made = scores()
    values = {m: np.concatenate([v, np.where(np.arange(N) == STAR, 0.0, v)]) for m, v in made.values.items()}
    both = replace(
        made, contrasts=("a minus the rest", "b minus the rest"), separation=np.repeat(made.separation, 2, axis=0),
        values=values, correlations=values,
    )  # fmt: skip
    table = verdict(both, informative=GOOD).table
    assert len(table) == 2 * N
    assert table.loc[table["verdict"] == ROBUST, ["contrast", "node"]].to_numpy().tolist() == [
        ["a minus the rest", f"n{STAR}"]
    ]


def test_agreement_is_of_ranks_and_of_the_top() -> None:
    made = scores(seed=4)
    table = agreement(made).set_index(["method_a", "method_b"])
    real = made.networks["kind"] == "real"
    first, second = (made.values[m][0, real].mean(0) for m in ("deeplift", "ablation"))
    assert np.isclose(table.loc[("deeplift", "ablation"), "correlation"], stats.spearmanr(first, second)[0])
    assert table.loc[("deeplift", "deeplift"), "overlap"] == 1.0

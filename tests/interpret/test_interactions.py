"""Interactions against path enumeration, Captum on the dense twin, second derivatives there, and planted pairs."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from captum.attr import DeepLift
from scipy import stats
from torch import Tensor, nn

from tests.planted import cohort, folds, wiring
from vnn._errors import FitError
from vnn.chance import generator
from vnn.data import Samples, Split, k_fold
from vnn.interpret.interactions import Interactions, chances, interactions, product_rule
from vnn.interpret.rivals import quiet
from vnn.models import DenseNetwork, Recipe
from vnn.ontology import Topology
from vnn.training import Fit, Training, fit

PAIR = ("g1", "g3")


@cache
def few() -> Split:
    ids = cohort().ids
    return Split("few", tuple(sorted(ids[:90])), tuple(sorted(ids[90:110])), tuple(sorted(ids[110:114])))


@cache
def trained(target: str = "phenotype", activation: str = "tanh", n_seeds: int = 2) -> Fit:
    return fit(
        wiring(), cohort(), target=target, splits=[few()], n_seeds=n_seeds,
        recipe=Recipe(units={"set 1": 2}, activation=activation), training=Training(start="random", epochs=4, dtype="float64"),
    )  # fmt: skip


class Above(nn.Module):
    """The dense twin as a function of one level, what lies below held as in one sample."""

    def __init__(self, dense: DenseNetwork, level: str, x: Tensor) -> None:
        super().__init__()
        self.dense, self.level = dense, level
        self.held = {name: values.detach() for name, values in dense.activities(x[None]).items()}

    def forward(self, own: Tensor) -> Tensor:
        values = {name: held.expand(len(own), -1) for name, held in self.held.items()} | {self.level: own}
        names = [level.name for level in self.dense.topology.levels]
        for i in range(names.index(self.level) + 1, len(names)):
            values[names[i]] = self.dense.levels[i - 1](values, values[names[i - 1]])
        stacked = torch.cat([values[name] for name in names], dim=1)
        logits = torch.stack([head(stacked) for head in self.dense.heads]).mean(0)
        return logits * self.dense.output_scale


def columns_of(made: Fit, level: str, node: str) -> list[int]:
    nodes = made.topology.level(level).nodes
    units = [1] * len(nodes) if level == "inputs" else made.networks.units(level).tolist()
    first = [0, *np.cumsum(units).tolist()]
    return list(range(first[nodes.index(node)], first[nodes.index(node) + 1]))


def asked(level: str) -> list[tuple[str, str]]:
    if level == "inputs":
        genes = wiring().inputs
        return [(genes[0], genes[1]), (genes[0], genes[7]), (genes[7], genes[20])]
    return [("set 1", "set 3"), ("set 0", "set 1"), ("set 0", "set 2")]


def raw(ids: tuple[str, ...]) -> Tensor:
    return torch.from_numpy(np.array(cohort().select(wiring().inputs, ids).values.T)).double()


def found(made: Fit, method: str, level: str, **options: object) -> np.ndarray:
    table = interactions(made, cohort(), level=level, pairs=asked(level), methods=[method], **options).table
    at = {frozenset(pair): i for i, pair in enumerate(zip(table["first"], table["second"], strict=True))}
    return table["strength"].to_numpy()[[at[frozenset(pair)] for pair in asked(level)]]


@pytest.mark.parametrize("level", ["inputs", "level 1"])
def test_nid_is_the_sum_over_paths_where_they_first_meet(level: str) -> None:
    made = trained()
    expected = np.mean([nid_by_paths(made.networks.dense(r).eval(), made, level) for r in range(2)], axis=0)
    assert found(made, "nid", level) == pytest.approx(expected, rel=1e-9)
    assert (expected > 0).all()


@torch.no_grad()
def nid_by_paths(dense: DenseNetwork, made: Fit, level: str) -> list[float]:
    """Every path walked one by one, over weights of the dense twin."""
    values = dense.activities(raw(few().test))
    names = list(values)
    edges: dict[tuple[str, int], list[tuple[tuple[str, int], float]]] = {}
    into: dict[tuple[str, int], set[tuple[str, int]]] = {}
    for name, module in zip(names[1:], dense.levels, strict=True):
        norm = module.norm
        factor = (norm.weight / (norm.running_var + norm.eps).sqrt()).abs()
        for source, product in zip(module.sources, module.products, strict=True):
            for j, i in torch.nonzero(product.weight).tolist():
                edges.setdefault((source, i), []).append(((name, j), float(factor[j] * product.weight[j, i].abs())))
                into.setdefault((name, j), set()).add((source, i))
    starts = dict(zip(names, np.cumsum([0] + [v.shape[1] for v in values.values()]), strict=False))
    heads = sum(head.weight[0].abs() for head in dense.heads) / len(dense.heads) * float(dense.output_scale[0])

    def onward(unit: tuple[str, int]) -> float:
        return float(heads[starts[unit[0]] + unit[1]]) + sum(w * onward(to) for to, w in edges.get(unit, []))

    def reach(node: str) -> dict[tuple[str, int], float]:
        total: dict[tuple[str, int], float] = {}

        def walk(unit: tuple[str, int], carried: float) -> None:
            for to, weight in edges.get(unit, []):
                total[to] = total.get(to, 0.0) + carried * weight
                walk(to, carried * weight)

        for column in columns_of(made, level, node):
            walk((level, column), float(values[level][:, column].std(unbiased=False)))
        return total

    strengths = []
    for first, second in asked(level):
        a, b = reach(first), reach(second)
        both = set(a) & set(b)
        strengths.append(sum(onward(unit) * min(a[unit], b[unit]) for unit in both if not into[unit] & both))
    return strengths


def test_in_a_dense_network_nid_is_that_of_tsang() -> None:
    genes = [f"g{i}" for i in range(5)]
    edges = [("inputs", g, "level 1", f"h{i}") for g in genes for i in range(4)]
    edges += [("level 1", f"h{i}", "level 2", f"k{j}") for i in range(4) for j in range(3)]
    topology = Topology.from_edges(
        {"inputs": genes, "level 1": [f"h{i}" for i in range(4)], "level 2": [f"k{j}" for j in range(3)]},
        pd.DataFrame(edges, columns=["source_level", "source", "target_level", "target"]),
    )
    samples = noise(genes, 60)
    made = fit(topology, samples, target="y", splits=k_fold(samples.ids, k=2, seed=0),
               recipe=Recipe(normalisation="none", heads="outputs"), training=Training(epochs=2, dtype="float64"))  # fmt: skip
    table = interactions(made, samples, n_candidates=5, methods=["nid"]).table.set_index(["first", "second"])[
        "strength"
    ]
    by_split = []
    for r, split in enumerate(made.splits):
        dense = made.networks.dense(r)
        w1, w2 = (level.products[0].weight.detach().abs().numpy() for level in dense.levels)
        last = dense.heads[0].weight.detach().abs().numpy()[0, -3:]
        spread = dense.affine(torch.from_numpy(samples.select(ids=split.test).values.T.copy()).double()).std(
            0, unbiased=False
        )
        w1 = w1 * spread.numpy()
        z = last @ w2
        by_split.append({(i, j): (z * np.minimum(w1[:, i], w1[:, j])).sum() for i in range(5) for j in range(5)})
    for (first, second), strength in table.items():
        expected = np.mean([one[genes.index(first), genes.index(second)] for one in by_split])
        assert strength == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("level", ["inputs", "level 1"])
def test_dfim_is_the_change_of_captums_contributions(level: str) -> None:
    made = trained()
    mean = raw(few().train).mean(0)
    per_network = []
    for r in range(2):
        dense = made.networks.dense(r).eval()
        samples = []
        for x in raw(few().test):
            above = Above(dense, level, x)
            here, there = above.held[level], dense.activities(mean[None])[level].detach()

            def contributions(point: Tensor, above: Above = above, there: Tensor = there) -> Tensor:
                with quiet():
                    return DeepLift(above).attribute(point, there)[0].detach()

            pairs = []
            for first, second in asked(level):
                moved = []
                for own, other in ((first, second), (second, first)):
                    without = here.clone()
                    at = columns_of(made, level, other)
                    without[:, at] = there[:, at]
                    rows = columns_of(made, level, own)
                    moved.append(float((contributions(here)[rows].sum() - contributions(without)[rows].sum()).abs()))
                pairs.append(np.mean(moved))
            samples.append(pairs)
        per_network.append(np.mean(samples, axis=0))
    expected = np.mean(per_network, axis=0)
    assert found(made, "dfim", level) == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert (expected > 0).all()


@pytest.mark.parametrize(("level", "activation"), [("inputs", "tanh"), ("level 1", "tanh"), ("inputs", "relu")])
def test_expected_hessian_is_the_double_integral_of_second_derivatives(level: str, activation: str) -> None:
    made = trained(activation=activation, n_seeds=1)
    dense = made.networks.dense(0).eval()
    if activation == "relu":
        for module in dense.levels:
            module.act = nn.Softplus(beta=10)
    chance = generator(made.networks.seed, "interactions", "background", "few", 0)
    others = raw(few().train)[torch.from_numpy(chance.integers(90, size=4))]
    grid, weight = np.polynomial.legendre.leggauss(24)
    grid, weight = (grid + 1) / 2, weight / 2
    expected = np.zeros(3)
    for x, other in zip(raw(few().test), others, strict=True):
        above = Above(dense, level, x)
        here, there = above.held[level][0], dense.activities(other[None])[level][0].detach()
        products, at = np.unique(np.outer(grid, grid).round(12), return_inverse=True)
        shares = torch.from_numpy(np.bincount(at.ravel(), (np.outer(weight, weight) * np.outer(grid, grid)).ravel()))
        points = (there + torch.from_numpy(products)[:, None] * (here - there)).requires_grad_()
        slopes = torch.autograd.grad(above(points)[:, 0].sum(), points, create_graph=True)[0]
        for i, (first, second) in enumerate(asked(level)):
            block = 0.0
            for column in columns_of(made, level, first):
                bent = torch.autograd.grad(slopes[:, column].sum(), points, retain_graph=True)[0]
                moved = (bent * (here - there))[:, columns_of(made, level, second)].sum(1)
                block += float((shares * moved).sum() * (here - there)[column])
            expected[i] += abs(block) / 4
    assert found(made, "hessian", level) == pytest.approx(
        expected, rel=5e-2 if activation == "relu" else 5e-3, abs=1e-3 * expected.max()
    )
    assert (expected > 0).all()


@pytest.mark.parametrize("degree", range(8))
def test_the_rule_integrates_polynomials_exactly(degree: int) -> None:
    points, weights = product_rule(4)
    assert (weights * points**degree).sum() == pytest.approx(1 / (degree + 2) ** 2, rel=1e-6)


def test_a_linear_network_has_no_interactions() -> None:
    made = trained(activation="linear")
    table = interactions(made, cohort(), methods=["dfim", "hessian"]).table
    assert table["strength"].abs().max() < 1e-10


def test_shares_sum_to_one_and_candidates_are_the_largest_contributions() -> None:
    made = trained()
    result = interactions(made, cohort(), n_candidates=6)
    assert result.table.groupby("method")["share"].sum().to_numpy() == pytest.approx(np.ones(3))
    assert result.table.groupby("method").size().to_numpy().tolist() == [15, 15, 15]
    from vnn.interpret import attributions

    found = attributions(made, cohort().select(ids=few().test), background=cohort(), label="control")
    size = np.abs(found.levels["inputs"].astype(float)).mean(0)
    share = (size / size.sum(1, keepdims=True)).mean(0)
    best = np.argsort(-share)[:6]
    assert result.candidates["node"].tolist() == [wiring().inputs[i] for i in best]
    assert result.candidates["score"].to_numpy() == pytest.approx(share[best], rel=1e-4)
    assert result.table["p"].isna().all()
    assert "No null was given" in result.words[1]


def test_order_of_samples_and_features_changes_nothing() -> None:
    shuffled = cohort().select(tuple(reversed(cohort().features)), tuple(reversed(cohort().ids)))
    one = interactions(trained(), cohort(), n_candidates=4)
    other = interactions(trained(), shuffled, n_candidates=4)
    pd.testing.assert_frame_equal(one.table, other.table)


def test_chances_are_ranks_and_benjamini_hochberg_of_pooled_standardised_shares() -> None:
    rng = np.random.default_rng(3)
    real, drawn = rng.gamma(2, size=5), rng.gamma(2, size=(7, 5))
    real[0], real[4], drawn[:, 4] = 20.0, 0.0, 0.0
    p, p_max, q = chances(real, drawn)
    pool, z = [], []
    for j in range(4):
        z.append((real[j] - np.mean(drawn[:, j])) / np.std(drawn[:, j], ddof=1))
        for d in range(7):
            rest = [drawn[e, j] for e in range(7) if e != d]
            pool.append((drawn[d, j] - np.mean(rest)) / np.std(rest, ddof=1))
    pooled = [(1 + sum(one >= own for one in pool)) / 29 for own in z]
    assert p == pytest.approx([(1 + sum(drawn[:, j] >= real[j])) / 8 for j in range(5)])
    assert p_max == pytest.approx([(1 + sum(max(row) >= real[j] for row in drawn)) / 8 for j in range(5)])
    assert q == pytest.approx(stats.false_discovery_control([*pooled, 1.0]))
    assert np.isnan(chances(real, drawn[:2])[2]).all()
    assert np.isnan(chances(real, drawn[:0])).all()


def test_without_a_signal_chances_hold_their_level() -> None:
    rng = np.random.default_rng(4)
    scale = rng.uniform(0.1, 3, 15)
    ps, any_q, any_max = [], [], []
    for _ in range(200):
        values = rng.gamma(3, scale, size=(25, 15))
        p, p_max, q = chances(values[0], values[1:])
        ps.append((p <= 0.05).mean())
        any_q.append((q <= 0.05).any())
        any_max.append((p_max <= 0.05).any())
    assert np.mean(ps) < 0.06
    assert stats.binomtest(int(np.sum(any_max)), 200, 0.05, alternative="greater").pvalue > 0.01
    assert stats.binomtest(int(np.sum(any_q)), 200, 0.05, alternative="greater").pvalue > 0.01


# Planted pairs.


def noise(genes: list[str], n: int, seed: int = 0, strength: float = 0.0, permuted: bool = False) -> Samples:
    """Independent genes; the odds of a case follow the product of the pair and nothing else."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((len(genes), n)).astype(np.float32)
    ids = tuple(f"s{i:04}" for i in range(n))
    product = x[genes.index(PAIR[0])] * x[genes.index(PAIR[1])]
    case = rng.random(n) < 1 / (1 + np.exp(-strength * product))
    if permuted:
        case = rng.permutation(case)
    empty = pd.DataFrame(index=list(ids))
    targets = pd.DataFrame({"y": np.where(case, "case", "control")}, index=list(ids))
    return Samples(x, tuple(genes), ids, targets, empty, empty)


@cache
def three_sets() -> Topology:
    genes = [f"g{i}" for i in range(10)]
    sets = {f"set {i}": genes[3 * i : 3 * i + 4] for i in range(3)}
    edges = [("inputs", g, "level 1", name) for name, own in sets.items() for g in own]
    edges += [("level 1", name, "level 2", "root") for name in sets]
    return Topology.from_edges(
        {"inputs": genes, "level 1": list(sets), "level 2": ["root"]},
        pd.DataFrame(edges, columns=["source_level", "source", "target_level", "target"]),
    )


def planted(seed: int, *, permuted: bool = False, draws: int = 0) -> Interactions:
    samples = noise(list(three_sets().inputs), 600, seed, strength=4.0, permuted=permuted)
    asked = {
        "target": "y", "classes": ("control", "case"), "seed": seed,
        "splits": k_fold(samples.ids, k=2, validation=0.25, seed=0, stratify=samples.targets["y"]),
        "recipe": Recipe(units=6, dropout=0, input_dropout=0, heads="outputs"),
        "training": Training(start="random", epochs=60, lr=0.02, weight_decay=0.1, patience=30),
    }  # fmt: skip
    made = fit(three_sets(), samples, **asked)
    nulls = [fit(three_sets(), samples, kind="labels", draws=range(draws), **asked)] if draws else []
    return interactions(made, samples, nulls=nulls, n_candidates=6)


def first_pairs(result: Interactions) -> dict[str, tuple[str, str]]:
    best = result.table.groupby("method", sort=False).first()
    return {method: tuple(sorted((row["first"], row["second"]))) for method, row in best.iterrows()}


def test_a_pure_interaction_comes_first_by_every_method() -> None:
    result = planted(0)
    assert set(first_pairs(result).values()) == {PAIR}
    met = result.table.set_index(["method", "first", "second"])["meets_at"]
    assert set(met.loc[[key for key in met.index if set(key[1:]) == set(PAIR)]]) == {"set 0"}


@pytest.mark.slow
def test_planted_pairs_are_called_and_permuted_labels_are_not() -> None:
    """Six cohorts with a pair of genes whose product alone decides, six with its labels permuted, 24 draws each."""
    first, called, false = [], [], []
    for seed in range(6):
        result = planted(seed, draws=24)
        first.append([pair == PAIR for pair in first_pairs(result).values()])
        is_pair = [{a, b} == set(PAIR) for a, b in zip(result.table["first"], result.table["second"], strict=True)]
        called.append(result.table[is_pair]["p_max"] <= 0.05)
        null = planted(seed, permuted=True, draws=24)
        false.append((null.table.groupby("method")["p_max"].min() <= 0.05).to_numpy())
    assert np.mean(first) >= 0.8
    assert np.mean(called) >= 0.8
    assert np.mean(false) <= 0.25


@cache
def tiny_null(kind: str = "labels", n_seeds: int = 1, k: int = 3, seed: int = 0) -> Fit:
    draws = range(4) if kind != "real" else ()
    return fit(wiring(), cohort(), target="phenotype", splits=folds(k), n_seeds=n_seeds, kind=kind, draws=draws, seed=seed,
               training=Training(epochs=2))  # fmt: skip


def test_the_null_repeats_the_choice_of_pairs_and_p_is_its_rank() -> None:
    result = interactions(tiny_null("real"), cohort(), nulls=[tiny_null()], n_candidates=4)
    null, table = result.null, result.table
    assert set(null["draw"]) == {0, 1, 2, 3}
    chosen = null.groupby("draw")["first"].apply(set)
    assert len({frozenset(own) for own in chosen}) > 1, "draws choose for themselves"
    by_rank = dict(zip(result.candidates["node"], result.candidates["rank"], strict=True))
    pairs = [(a, b) for a in range(1, 5) for b in range(a + 1, 5)]
    for row in table.to_dict("records"):
        position = pairs.index(tuple(sorted((by_rank[row["first"]], by_rank[row["second"]]))))
        own = null[(null["method"] == row["method"]) & (null["pair"] == position)]["share"]
        assert len(own) == 4
        assert row["p"] == pytest.approx((1 + (own >= row["share"]).sum()) / 5)
    given = interactions(tiny_null("real"), cohort(), nulls=[tiny_null()], pairs=asked("inputs"), methods=["nid"])
    assert set(zip(given.null["first"], given.null["second"], strict=True)) == set(asked("inputs"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"methods": ["shap"]}, "the method is 'shap'"),
        ({"level": "level 9"}, "the level is 'level 9'"),
        ({"level": "level 3"}, "two are needed"),
        ({"pairs": [("TP53", "g01")]}, "names 1 nodes"),
        ({"pairs": [("g01", "g01")]}, "two different nodes"),
        ({"pairs": [("g01", "g02"), ("g02", "g01")]}, "none twice"),
        ({"pairs": []}, "at least one"),
        ({"n_candidates": 1}, "`n_candidates` is too small"),
        ({"n_samples": 0}, "`n_samples` is too small"),
    ],
)
def test_what_cannot_be_asked_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        interactions(trained(), cohort(), **options)


def test_other_samples_and_an_unnamed_class_are_refused() -> None:
    with pytest.raises(ValueError, match="these are others"):
        interactions(trained(), cohort().select(ids=cohort().ids[:50]))
    with pytest.raises(ValueError, match="say which one"):
        interactions(trained("thirds"), cohort())
    assert len(interactions(trained("thirds"), cohort(), label="low", n_candidates=2, methods=["nid"]).table) == 1


def test_nulls_of_another_kind_design_or_study_are_refused() -> None:
    real = tiny_null("real")
    for null, words in [
        (tiny_null("rewired"), "of kind 'rewired'"),
        (tiny_null(n_seeds=2), "has 6 networks where the fit has 3"),
        (tiny_null(seed=1), "another seed"),
        (tiny_null(k=2), "another splits"),
    ]:
        with pytest.raises(FitError, match=words):
            interactions(real, cohort(), nulls=[null], methods=["nid"], n_candidates=2)
    with pytest.raises(FitError, match="comes twice"):
        interactions(real, cohort(), nulls=[tiny_null(), tiny_null()], methods=["nid"], n_candidates=2)

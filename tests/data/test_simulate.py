"""The planted cohort: what is planted is there, and chance is by name."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from vnn._errors import AlignmentError
from vnn.data import Samples, encode_survival
from vnn.data.kin import kin
from vnn.data.simulate import (
    TARGETS,
    Batch,
    Confounder,
    Residual,
    Simulated,
    auc_of,
    simulate_expression,
    slope_of,
)
from vnn.ontology import load_ontology

SETS = {
    "cause": [f"g{i}" for i in range(10)],
    "other": [f"g{i}" for i in range(8, 20)],
    **{f"crowd {i}": ["g0", "g9", "g19"] for i in range(30)},
}


@pytest.mark.parametrize("oracle_auc", [0.5, 0.75, 0.85, 0.95])
def test_the_auc_of_the_factor_in_a_large_draw(oracle_auc: float) -> None:
    cohort = simulate_expression({"A": ["g"]}, causal="A", n_samples=200_000, oracle_auc=oracle_auc, seed=1)
    case = cohort.samples.targets["phenotype"] == "case"
    assert roc_auc_score(case, cohort.truth.factor) == pytest.approx(oracle_auc, abs=0.005)
    assert case.mean() == pytest.approx(0.5, abs=0.01)


def test_slope_and_auc_are_inverse() -> None:
    assert auc_of(0.0) == pytest.approx(0.5, abs=1e-12)
    assert [auc_of(slope_of(auc)) for auc in (0.6, 0.9, 0.999)] == pytest.approx([0.6, 0.9, 0.999], abs=1e-9)


def test_carriers_follow_the_factor_and_genes_have_variance_one() -> None:
    cohort = simulate_expression(SETS, causal="cause", n_samples=20_000, seed=2)
    truth, values = cohort.truth, cohort.samples.values.astype(np.float64)
    assert len(truth.carriers) == 6
    assert list(truth.carriers.values()).count(-1) == round(0.25 * 6)
    correlation = dict(zip(cohort.samples.features, np.corrcoef(truth.factor, values)[0, 1:], strict=True))
    for gene in SETS["cause"]:
        sign = truth.carriers.get(gene, 0)
        assert correlation[gene] == pytest.approx(sign * np.sqrt(0.1), abs=0.03)
    assert ((values.mean(axis=1) > 5.9) & (values.mean(axis=1) < 10.1)).all()
    assert ((values.std(axis=1) > 0.48) & (values.std(axis=1) < 1.53)).all()


def test_members_of_a_set_correlate() -> None:
    cohort = simulate_expression(
        {"A": ["a1", "a2"], "B": ["b1", "b2"]}, causal="A", n_samples=20_000, carriers=1, r2=0.4, down=0, seed=5
    )
    correlation = np.corrcoef(cohort.samples.values)
    assert correlation[2, 3] == pytest.approx(0.4, abs=0.03)
    assert abs(correlation[:2, 2:]).max() < 0.03


def test_order_does_not_matter_and_a_larger_cohort_begins_with_the_smaller() -> None:
    small = simulate_expression(SETS, causal="cause", n_samples=30, seed=3)
    shuffled = {name: SETS[name][::-1] for name in reversed(SETS)}
    again = simulate_expression(shuffled, causal="cause", n_samples=30, seed=3)
    large = simulate_expression(SETS, causal="cause", n_samples=50, seed=3)
    np.testing.assert_array_equal(small.samples.values, again.samples.values)
    np.testing.assert_array_equal(small.samples.values, large.samples.values[:, :30])
    assert small.samples.targets.equals(large.samples.targets.iloc[:30])
    assert small.samples.ids[0] == "sample-0001"
    assert small.truth.carriers == again.truth.carriers
    other = simulate_expression(SETS, causal="cause", n_samples=30, seed=4)
    assert not np.array_equal(small.samples.values, other.samples.values)


def test_genes_of_another_set_do_not_change_when_a_set_is_added() -> None:
    few = simulate_expression({"A": ["a1", "a2"]}, causal="A", n_samples=20, seed=1).samples
    more = simulate_expression({"A": ["a1", "a2"], "B": ["b1"]}, causal="A", n_samples=20, seed=1).samples
    np.testing.assert_array_equal(few.values, more.select(few.features).values)
    assert few.targets.equals(more.targets)


def test_what_cannot_be_planted() -> None:
    with pytest.raises(ValueError, match=r"causal is 'caus'.*Did you mean 'cause'"):
        simulate_expression(SETS, causal="caus", seed=1)
    with pytest.raises(ValueError, match=r"oracle_auc is 0.4; it must be between 0.5 and 0.999"):
        simulate_expression(SETS, causal="cause", oracle_auc=0.4, seed=1)
    with pytest.raises(ValueError, match=r"1 gene sets have no genes, such as 'empty'"):
        simulate_expression({**SETS, "empty": []}, causal="cause", seed=1)
    with pytest.raises(ValueError, match=r"n_samples is 0"):
        simulate_expression(SETS, causal="cause", n_samples=0, seed=1)


NESTED = {
    "low": ["g1", "g2", "g3", "g4"],
    "twin": ["g1", "g2", "g3", "g4"],
    "mid": [f"g{i}" for i in range(1, 8)],
    "side": ["g4", "g9", "g10", "g11"],
    "far": ["g4", *(f"h{i}" for i in range(9))],
    "root": [*(f"g{i}" for i in range(1, 12)), *(f"h{i}" for i in range(9))],
}
UP = [("low", "mid"), ("twin", "mid"), ("mid", "root"), ("side", "root"), ("far", "root")]
WIDE = {f"set {i}": [f"g{i}-{j}" for j in range(6)] for i in range(30)}


def test_the_present_cohorts_have_the_bits_they_had() -> None:
    digest = sha256()
    for changes in ({}, {"oracle_auc": 0.7, "carriers": 0.4, "r2": 0.3, "down": 0.5}, {"oracle_auc": 0.5}):
        for seed in (1, 2):
            cohort = simulate_expression(SETS, causal="cause", n_samples=37, seed=seed, **changes)
            truth = cohort.truth
            digest.update(np.round(cohort.samples.values.astype(np.float64), 3).astype(np.float32).tobytes())
            digest.update(repr(cohort.samples.targets.to_numpy().tolist()).encode())
            digest.update(repr((truth.causal, truth.carriers, truth.oracle_auc, round(truth.slope, 9))).encode())
    assert digest.hexdigest() == "c02f60cf52d6c8f4700e6dff9fba6aec4797240e128bec4010bfff414aff9b3f"


def share_and_auc(cohort: Simulated) -> tuple[float, float]:
    case = cohort.samples.targets["phenotype"] == "case"
    return float(case.mean()), float(roc_auc_score(case, cohort.truth.factor))


@pytest.mark.parametrize(("prevalence", "oracle_auc"), [(0.1, 0.85), (0.8, 0.75), (0.3, 0.5)])
def test_imbalance_keeps_the_oracle(prevalence: float, oracle_auc: float) -> None:
    cohort = simulate_expression(
        {"A": ["g"]}, causal="A", n_samples=40_000, oracle_auc=oracle_auc, prevalence=prevalence, seed=1
    )
    assert share_and_auc(cohort) == pytest.approx((prevalence, oracle_auc), abs=0.012)


def test_several_causes_act_with_their_weights() -> None:
    cohort = simulate_expression(
        {"A": ["a1", "s"], "B": ["b1", "s"], "C": ["c1"]}, causal={"B": -2.0, "A": 1.0}, n_samples=20_000, carriers=1,
        r2=0.3, down=0, oracle_auc=0.85, seed=3,
    )  # fmt: skip
    truth = cohort.truth
    assert truth.causal == "B"
    assert truth.causes == {"A": 1.0, "B": -2.0}
    assert truth.carriers == {"a1": 1, "b1": -1, "s": -1}
    assert truth.factor.std() == pytest.approx(1.0, abs=0.01)
    assert share_and_auc(cohort)[1] == pytest.approx(0.85, abs=0.012)
    correlation = dict(
        zip(cohort.samples.features, np.corrcoef(truth.factor, cohort.samples.values)[0, 1:], strict=True)
    )
    a, b = np.sqrt(0.3 / 5), -2 * np.sqrt(0.3 / 5)
    assert correlation == pytest.approx({"a1": a, "b1": b, "c1": 0.0, "s": a + b}, abs=0.025)
    equal = simulate_expression({"A": ["a1"], "B": ["b1"]}, causal=("B", "A"), n_samples=5, seed=3)
    assert equal.truth.causal == "A"


def test_kin_of_nested_and_overlapping_sets() -> None:
    cohort = simulate_expression(NESTED, causal=["low", "side"], relations=UP, n_samples=5, seed=1)
    truth = cohort.truth
    assert truth.kin["low"].family == {"low", "twin", "mid"}
    assert truth.kin["low"].related == {"low", "twin", "mid", "root"}
    assert truth.kin["side"].family == {"side"}
    assert truth.kin["side"].related == {"side", "root"}
    assert truth.family == {"low", "twin", "mid", "side"}
    assert "far" not in truth.related
    assert kin(NESTED, UP, "root").family == {"root", "mid", "side", "far"}
    assert kin(NESTED, UP, "low", jaccard=1 / 7).related >= {"side"}
    with pytest.raises(ValueError, match=r"1 terms of the relations are not among the 6 gene sets: 'nowhere'"):
        kin(NESTED, [("low", "nowhere")], "low")


@given(st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)).filter(lambda pair: pair[0] < pair[1]), max_size=14))
def test_kin_follows_the_graph(pairs: set[tuple[int, int]]) -> None:
    sets = {str(i): [f"g{i}"] for i in range(8)}
    graph = nx.DiGraph()
    graph.add_nodes_from(sets)
    graph.add_edges_from((str(child), str(parent)) for child, parent in pairs)
    for name in sets:
        found = kin(sets, graph.edges, name)
        roots = {node for node in graph if graph.out_degree(node) == 0 and graph.in_degree(node) > 0}
        assert found.family == ({*graph.predecessors(name), *graph.successors(name)} - roots) | {name}
        assert found.related == nx.ancestors(graph, name) | nx.descendants(graph, name) | {name}


def test_an_ontology_brings_its_sets_and_relations() -> None:
    ontology = load_ontology("human-small")
    sets = ontology.gene_sets()
    cohort = simulate_expression(ontology, causal=ontology.find("Mismatch repair"), n_samples=4, seed=1)
    plain = simulate_expression(sets, causal=ontology.find("Mismatch repair"), n_samples=4, seed=1)
    np.testing.assert_array_equal(cohort.samples.values, plain.samples.values)
    parents = set(ontology.relations.loc[ontology.relations["child"] == cohort.truth.causal, "parent"])
    assert parents & cohort.truth.related
    assert plain.truth.family == {cohort.truth.causal}


def test_loadings_tell_what_every_gene_carries() -> None:
    cohort = simulate_expression(SETS, causal="cause", n_samples=20_000, seed=2)
    table = cohort.truth.loadings
    own = table[table["set"] == "cause"].set_index("gene")["loading"]
    assert np.sign(own).astype(int).to_dict() == cohort.truth.carriers
    assert own.abs().to_numpy() == pytest.approx(np.sqrt(0.1))
    squares = (table["loading"] ** 2).groupby(table["gene"]).sum()
    assert squares.max() <= 0.5 + 1e-9


def test_synthetic_residual_correlation_has_its_share() -> None:
    def correlations(share: float) -> np.ndarray:
        residual = Residual(share=share, rank=3)
        cohort = simulate_expression(WIDE, causal="set 0", n_samples=3000, carriers=0, residual=residual, seed=4)
        return np.corrcoef(cohort.samples.values)

    strong, weak = correlations(0.8), correlations(0.2)
    pairs = np.triu_indices(len(strong), 1)
    slope = (strong[pairs] * weak[pairs]).sum() / (strong[pairs] ** 2).sum()
    assert slope == pytest.approx(0.25, abs=0.03)
    assert (np.linalg.eigvalsh(strong)[::-1][:4] > [20, 20, 20, 0]).all()
    assert np.linalg.eigvalsh(strong)[-4] < 3


def test_residual_correlation_of_real_expression_is_copied() -> None:
    rng = np.random.default_rng(0)
    genes = [gene for members in WIDE.values() for gene in members]
    real = rng.standard_normal((len(genes), 2)) @ rng.standard_normal((2, 25)) + rng.standard_normal((len(genes), 25))
    real[0], real[1, 3] = 7.0, np.nan
    like = Samples.from_frame(
        pd.DataFrame(np.exp(real), [*genes[:-1], "other"], [f"r{i}" for i in range(25)]), samples_in="columns"
    )
    residual = Residual(share=0.9, like=like, marginals=True)
    cohort = simulate_expression(WIDE, causal="set 3", n_samples=20_000, r2=0.0, residual=residual, seed=1)
    values = cohort.samples.select(genes).values.astype(np.float64)
    found = spearmanr(values.T).statistic
    expected = 0.9 * np.corrcoef(np.exp(real[2:-1]))
    normal = 6 / np.pi * np.arcsin(expected / 2)
    off = ~np.eye(len(expected), dtype=bool)
    assert np.abs(found[2:-1, 2:-1] - normal)[off].max() < 0.05
    assert np.abs(np.delete(found[0], 0)).max() < 0.04
    assert np.abs(found[-1, :-1]).max() < 0.04
    assert np.quantile(values[5], [0.25, 0.5, 0.75]) == pytest.approx(
        np.quantile(np.exp(real[5]), [0.25, 0.5, 0.75]), rel=0.15
    )
    assert values[5].max() == pytest.approx(np.exp(real[5]).max(), rel=1e-5)


def test_a_batch_shifts_genes_and_goes_with_the_label() -> None:
    batch = Batch(levels=3, effect=0.6, association=0.4)
    cohort = simulate_expression(WIDE, causal="set 0", n_samples=15_000, oracle_auc=0.8, batch=batch, seed=2)
    plain = simulate_expression(WIDE, causal="set 0", n_samples=15_000, oracle_auc=0.8, seed=2)
    case = cohort.samples.targets["phenotype"] == "case"
    by_batch = case.groupby(cohort.samples.covariates["batch"].to_numpy()).mean()
    assert by_batch.to_dict() == pytest.approx({"batch 1": 0.3, "batch 2": 0.5, "batch 3": 0.7}, abs=0.035)
    assert share_and_auc(cohort) == pytest.approx((0.5, 0.8), abs=0.015)
    pd.testing.assert_series_equal(cohort.truth.factor, plain.truth.factor)
    shift = pd.DataFrame((cohort.samples.values - plain.samples.values).T).groupby(cohort.truth.batch.to_numpy()).mean()
    within = (cohort.samples.values - plain.samples.values).T - shift.loc[cohort.truth.batch].to_numpy()
    assert np.abs(within).max() < 1e-4
    assert (shift / plain.samples.values.std(axis=1)).to_numpy().std() == pytest.approx(0.6, abs=0.05)
    hidden = simulate_expression(WIDE, causal="set 0", n_samples=50, batch=Batch(declared=False), seed=2)
    assert not len(hidden.samples.covariates.columns)
    assert set(hidden.truth.batch) == {"batch 1", "batch 2"}


@pytest.mark.parametrize("oracle_auc", [0.5, 0.8])
def test_a_confounder_moves_a_set_and_the_label_but_the_set_does_nothing(oracle_auc: float) -> None:
    confounder = Confounder("set 1", r2=0.6, association=0.5)
    cohort = simulate_expression(
        WIDE, causal="set 0", n_samples=20_000, oracle_auc=oracle_auc, r2=0.4, down=0, carriers=1, confounder=confounder,
        prevalence=0.4, seed=6,
    )  # fmt: skip
    assert share_and_auc(cohort) == pytest.approx((0.4, oracle_auc), abs=0.012)
    case = (cohort.samples.targets["phenotype"] == "case").to_numpy()
    right = (cohort.samples.covariates["confounder"] == "b").to_numpy()
    assert case[right].mean() - case[~right].mean() == pytest.approx(0.5, abs=0.03)
    gene = cohort.samples.select(["set 1-0".replace("set ", "g")]).values[0]
    assert np.corrcoef(gene, right)[0, 1] == pytest.approx(np.sqrt(0.4 * 0.6), abs=0.03)
    assert abs(np.corrcoef(gene, case)[0, 1]) > 0.1
    for side in (right, ~right):
        assert abs(np.corrcoef(gene[side], case[side])[0, 1]) < 0.035
    assert cohort.truth.confounded == "set 1"
    hidden = simulate_expression(
        WIDE, causal="set 0", n_samples=9, oracle_auc=0.8, confounder=Confounder("set 1", declared=False), seed=6
    )
    assert not len(hidden.samples.covariates.columns)
    assert set(hidden.truth.confounder) == {"a", "b"}


def test_quantity_and_survival_follow_the_same_factor() -> None:
    cohort = simulate_expression(
        {"A": ["g"]}, causal="A", n_samples=20_000, oracle_auc=0.85, targets=("phenotype", "quantity", "survival"),
        censored=0.3, seed=1,
    )  # fmt: skip
    targets, factor, slope = cohort.samples.targets, cohort.truth.factor, cohort.truth.slope
    assert ((targets["quantity"] > 0) == (targets["phenotype"] == "case")).all()
    assert np.polyfit(factor, targets["quantity"], 1) == pytest.approx([slope, 0.0], abs=0.08)
    assert (targets["quantity"] - slope * factor).var() == pytest.approx(np.pi**2 / 3, rel=0.05)
    assert 1 - targets["event"].mean() == pytest.approx(0.3, abs=0.015)
    free = simulate_expression({"A": ["g"]}, causal="A", n_samples=20_000, targets=["survival"], censored=0, seed=1)
    assert free.samples.targets["event"].all()
    assert np.polyfit(free.truth.factor, -np.log(free.samples.targets["time"]), 1) == pytest.approx(
        [free.truth.slope, np.euler_gamma], abs=0.08
    )
    encode_survival(targets["time"], targets["event"])


def test_missing_values_and_permuted_targets() -> None:
    cohort = simulate_expression(WIDE, causal="set 0", n_samples=500, missing=0.2, seed=1)
    plain = simulate_expression(WIDE, causal="set 0", n_samples=500, seed=1)
    gone = np.isnan(cohort.samples.values)
    assert gone.mean() == pytest.approx(0.2, abs=0.01)
    np.testing.assert_array_equal(cohort.samples.values[~gone], plain.samples.values[~gone])
    null = plain.permuted(1)
    assert null.samples.targets["phenotype"].value_counts().equals(plain.samples.targets["phenotype"].value_counts())
    assert roc_auc_score(null.samples.targets["phenotype"] == "case", null.truth.factor) == pytest.approx(0.5, abs=0.08)
    assert not null.truth.family
    assert not null.truth.carriers
    np.testing.assert_array_equal(null.samples.values, plain.samples.values)


@settings(max_examples=8, deadline=None)
@given(
    n=st.integers(1, 12), extra=st.integers(0, 9), missing=st.sampled_from([0.0, 0.3]), levels=st.integers(2, 4),
    association=st.floats(0, 0.5), rank=st.integers(1, 4), seed=st.integers(0, 9),
)  # fmt: skip
def test_a_larger_cohort_begins_with_the_smaller_whatever_is_in_it(
    n: int, extra: int, missing: float, levels: int, association: float, rank: int, seed: int
) -> None:
    small, large = (
        simulate_expression(
            NESTED, causal=["low", "side"], n_samples=size, oracle_auc=0.75, missing=missing,
            batch=Batch(levels, association=association / 2),
            confounder=Confounder("far", association=association), residual=Residual(rank=rank), seed=seed, targets=TARGETS,
        )
        for size in (n, n + extra)
    )  # fmt: skip
    np.testing.assert_array_equal(small.samples.values, large.samples.values[:, :n])
    pd.testing.assert_frame_equal(small.samples.targets, large.samples.targets.iloc[:n])
    pd.testing.assert_frame_equal(small.samples.covariates, large.samples.covariates.iloc[:n])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"causal": []}, "causal is empty; name at least one"),
        ({"causal": {"cause": 0.0}}, "weight of the causal set 'cause' is 0"),
        ({"causal": ["cause", "othr"]}, "causal is 'othr'.*Did you mean 'other'"),
        ({"causal": list(SETS), "r2": 0.5, "carriers": 1}, r"more than their whole variance.*Lower r2 to at most 0.03"),
        ({"confounder": Confounder("cause")}, "confounder.drives is 'cause', a causal set"),
        ({"confounder": Confounder("caus")}, "confounder.drives is 'caus'; known are"),
        ({"confounder": Confounder("other", association=1.2)}, r"shares of cases from -0.10 to 1.10"),
        ({"confounder": Confounder("other", association=0.98)}, r"oracle_auc is 0.95, but batch and confounder decide"),
        ({"batch": Batch(levels=1)}, "batch.levels is 1; at least 2"),
        ({"batch": Batch(effect=-1.0)}, "batch.effect is -1"),
        ({"residual": Residual(rank=0)}, "residual.rank is 0"),
        ({"residual": Residual(share=1.5)}, "residual.share is 1.5"),
        ({"residual": Residual(marginals=True)}, "residual.marginals needs real expression"),
        ({"prevalence": 1.0}, "prevalence is 1"),
        ({"missing": 1.0}, "missing is 1"),
        ({"targets": ["phenotyp"]}, "Did you mean 'phenotype'"),
        ({"relations": [("cause", "parent")]}, "not among the 32 gene sets: 'parent'"),
    ],
)  # fmt: skip
def test_what_else_cannot_be_planted(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        simulate_expression(SETS, **{"causal": "cause", "n_samples": 3, "seed": 1} | changes)


def test_real_expression_of_other_genes_cannot_be_copied() -> None:
    like = Samples.from_frame(pd.DataFrame({"ENSG1": [1.0, 2.0]}, index=["a", "b"]))
    with pytest.raises(AlignmentError, match=r"none of the 20 genes.*'g0', 'g1', 'g10'.*'ENSG1'"):
        simulate_expression(SETS, causal="cause", residual=Residual(like=like), seed=1)

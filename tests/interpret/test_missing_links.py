"""Missing links: the score by finite differences, trivial rankings by loops, hiding by its properties, truth by planting."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import average_precision_score

from tests.planted import CAUSAL, cohort, folds, gene_sets, wiring
from vnn._errors import AlignmentError, OntologyError
from vnn.data import Samples
from vnn.interpret.missing_links import (
    ALL,
    NETWORK,
    PERMUTED,
    TRIVIAL,
    USED,
    Annotations,
    MissingLinks,
    expected_error,
    missing_links,
    pair_scores,
    recovery_of,
    tails,
    trivial_rankings,
)
from vnn.models import Recipe, VisibleNetwork
from vnn.ontology import Topology, load_ontology
from vnn.training import Fit, Training, fit

station = import_module("vnn.interpret.missing_links")  # the function of this name may hide it in the package
SHORT = Training(epochs=10, batch_size=32, lr=1e-2)
PLAIN = Recipe(normalisation="none", dropout=0.0, input_dropout=0.0)


@cache
def trained(task: str = "phenotype", recipe: Recipe = PLAIN, kind: str = "real", **changes: Any) -> Fit:
    training = SHORT.model_copy(update={"dtype": "float64"})
    draws = () if kind == "real" else (0, 1)
    return fit(
        wiring(), cohort(), target=task, splits=folds()[:1], training=training, recipe=recipe, kind=kind, draws=draws, **changes
    )  # fmt: skip


def known() -> Annotations:
    return Annotations.of(wiring(), cohort().features)


def with_edge(made: Fit, gene: str, term: str, weight: float, shift: float) -> VisibleNetwork:
    """The network with one more edge, and a bias that takes the mean of the gene away."""
    edges = wiring().to_edges()
    more = pd.DataFrame([("inputs", gene, "level 1", term)], columns=edges.columns)
    levels = {level.name: level.nodes for level in wiring().levels}
    larger = Topology.from_edges(levels, pd.concat([edges, more]))
    network = VisibleNetwork(larger, PLAIN).double().eval()
    old, new = made.networks.state_dict(), network.state_dict()
    pairs = [mask.edges for topology in (wiring(), larger) for mask in topology.masks if mask.target_level == "level 1"]
    at = {tuple(edge): i for i, edge in enumerate(pairs[0].tolist())}
    for name, key in network.arrays().items():
        if name == "level 1/weight from inputs":
            own = [float(old[key][at[tuple(e)], 0]) if tuple(e) in at else weight for e in pairs[1].tolist()]
            new[key] = torch.tensor(own, dtype=torch.float64)[:, None]
        else:
            new[key] = old[key].clone()
    row = larger.level("level 1").nodes.index(term)
    new[network.arrays()["level 1/bias"]][row, 0] -= weight * shift
    network.load_state_dict(new)
    return network


def test_the_score_is_the_derivative_of_the_held_out_likelihood_times_the_correlation() -> None:
    """By finite differences through a network that has the edge."""
    made, split = trained(), folds()[0]
    found = pair_scores(made, cohort(), known())
    rows, train = cohort().index(split.test), cohort().index(split.train)
    values = cohort().select(wiring().inputs).values.astype(np.float64)
    x = torch.from_numpy(values[:, rows].T.copy())
    y = torch.from_numpy(made.target.values[[made.ids.index(i) for i in split.test]]).double()
    z = made.networks.activities(x, after="product")["level 1"][:, 0].detach().numpy()
    terms = wiring().level("level 1").nodes
    for term in (CAUSAL, "set 0", "set 6"):
        gene = next(name for name in wiring().inputs if name not in gene_sets()[term])
        column = wiring().inputs.index(gene)
        scaled = (values[column, rows] - values[column, train].mean()) / values[column, train].std()

        def likelihood(weight: float, gene: str = gene, term: str = term, mean: float = scaled.mean()) -> float:
            logit = with_edge(made, gene, term, weight, mean)(x)[:, 0, 0].detach()
            return float((y * logit - torch.nn.functional.softplus(logit)).mean())

        slope = (likelihood(1e-4) - likelihood(-1e-4)) / 2e-4
        correlation = np.corrcoef(z[:, terms.index(term)], scaled)[0, 1]
        mine = found[known().term_at[term], known().gene_at[gene]]
        assert np.isclose(mine, abs(slope * correlation), rtol=1e-4, atol=1e-9), (gene, term)


@pytest.mark.parametrize("task", ["phenotype", "quantity", "thirds"])
def test_scores_do_not_depend_on_the_units_of_genes_or_the_order_of_anything(task: str) -> None:
    made = trained(task, Recipe(units=2))
    found = pair_scores(made, cohort(), known())
    assert found.shape == (8, cohort().n_features)
    assert np.isfinite(found).all()
    assert (found > 0).any()
    rng = np.random.default_rng(1)
    features = tuple(rng.permutation(cohort().features).tolist())
    ids = tuple(rng.permutation(cohort().ids).tolist())
    turned = cohort().select(features, ids)
    again = pair_scores(made, turned, Annotations.of(wiring(), features))
    assert np.allclose(again, found[:, [known().gene_at[name] for name in features]])


def test_a_gene_outside_the_wiring_is_a_candidate_in_any_units() -> None:
    made = trained()
    extra = cohort().values[:2] * np.array([[1.0], [1000.0]], dtype=np.float32)
    values = np.concatenate([cohort().values, extra])
    features = (*cohort().features, "new 0", "new 1")
    samples = Samples(values, features, cohort().ids, cohort().targets, cohort().covariates, cohort().groups)
    found = pair_scores(made, samples, Annotations.of(wiring(), features))
    assert np.allclose(found[:, -2:], found[:, :2], rtol=1e-3)


def test_permuted_networks_are_asked_about_the_labels_they_learnt() -> None:
    made = trained(kind="labels")
    one, other = (pair_scores(made, cohort(), known(), draw=draw) for draw in (0, 1))
    assert not np.allclose(one, other)
    assert made.labels is not None
    labels = cohort().targets.copy()
    order = [made.ids.index(i) for i in cohort().ids]
    labels["phenotype"] = np.array(made.target.classes)[made.labels[0][order]]
    relabelled = Samples(cohort().values, cohort().features, cohort().ids, labels, cohort().covariates, cohort().groups)
    as_real = fit(
        wiring(), relabelled, target="phenotype", splits=folds()[:1], training=made.training, recipe=PLAIN,
    )  # fmt: skip
    assert np.allclose(pair_scores(as_real, relabelled, known()), one, rtol=1e-6, atol=1e-12)


def test_trivial_rankings_equal_loops() -> None:
    annotations = known()
    chosen = annotations.parts(3, seed=2)[0]
    values = cohort().values.astype(float)
    z = (values - values.mean(1, keepdims=True)) / values.std(1, keepdims=True)
    product, together, overlap = trivial_rankings(annotations, chosen, z)
    members = {name: {g for g in genes if (g, name) not in chosen} for name, genes in gene_sets().items()}
    for term in ("set 0", CAUSAL):
        for gene in ("g00", "g17", chosen[0][0]):
            i, j = annotations.term_at[term], annotations.gene_at[gene]
            degree = sum(gene in genes for genes in members.values())
            assert product[i, j] == degree * len(members[term])
            others = [np.corrcoef(values[j], values[annotations.gene_at[o]])[0, 1] ** 2 for o in members[term] - {gene}]
            assert np.isclose(together[i, j], np.mean(others))
            own = [
                len(g & members[term]) / len(g | members[term])
                for name, g in members.items()
                if gene in g and name != term
            ]
            assert np.isclose(overlap[i, j], max(own, default=0.0))


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 5), copies=st.booleans())
def test_hidden_annotations_are_unknown_to_the_wiring_that_is_left(seed: int, n: int, copies: bool) -> None:
    rng = np.random.default_rng(seed)
    genes = [f"g{i:02}" for i in range(40)]
    edges = [("inputs", gene, "level 1", f"a{i % 4}") for i, gene in enumerate(rng.permutation(genes).tolist())]
    edges += [("inputs", g, "level 2", f"b{i % 2}") for i in range(2) for g in rng.permutation(genes)[:12].tolist()]
    edges += [("level 1", f"a{i}", "level 2", f"b{i % 2}") for i in range(4)]
    if copies:
        edges += [("level 1", "a0", "level 2", "a0"), ("level 2", "a0", "level 3", "root"), ("level 2", "b0", "level 3", "root"),
                  ("level 2", "b1", "level 3", "root")]  # fmt: skip
    frame = pd.DataFrame(edges, columns=["source_level", "source", "target_level", "target"]).drop_duplicates()
    present: dict[str, set[str]] = {}
    for level in ("inputs", "level 1", "level 2", "level 3"):
        ends = [frame.loc[frame[f"{end}_level"] == level, end] for end in ("source", "target")]
        if nodes := {node for column in ends for node in column}:
            present[level] = nodes
    topology = Topology.from_edges(present, frame, copies={"level 2": ["a0"]} if copies else None)
    annotations = Annotations.of(topology, genes)
    parts = annotations.parts(n, seed=seed)
    every = [pair for part in parts for pair in part]
    assert len(set(every)) == len(every)
    below = {f"b{i}": {g for s, g, t, a in edges if s == "inputs" and a in (f"a{i}", f"a{i + 2}")} for i in range(2)}
    direct = {(g, a) for s, g, _, a in edges if s == "inputs"}
    for part in parts:
        assert all(pair in direct and pair[0] not in below.get(pair[1], ()) for pair in part)
        left = annotations.without(part)
        remaining = left.to_edges()
        remaining = set(
            remaining.loc[remaining.source_level == "inputs", ["source", "target"]].itertuples(index=False, name=None)
        )
        assert remaining == direct - set(part)
        again = Annotations.of(left, genes)
        for gene, term in part:
            assert not again.member[again.term_at[term], again.gene_at[gene]]
        for term in {term for _, term in part}:
            assert sum(t == term for _, t in remaining) >= station.LEAST_GENES


def test_parts_spread_terms_and_degrees_evenly_and_hide_nearly_all() -> None:
    ontology = load_ontology("human-small")
    genes = sorted({gene for members in ontology.gene_sets().values() for gene in members})
    annotations = Annotations.of(ontology.topology(genes), genes)
    parts = annotations.parts(5, seed=1)
    counts = [len(part) for part in parts]
    assert max(counts) - min(counts) <= 3
    assert sum(counts) >= 0.95 * annotations.n_edges
    by_term = pd.crosstab(*zip(*((term, k) for k, part in enumerate(parts) for _, term in part), strict=True))
    assert (by_term.max(axis=1) - by_term.min(axis=1)).max() <= 2
    assert parts != annotations.parts(5, seed=2)
    assert parts == annotations.parts(5, seed=1)


def test_copies_and_skips_are_the_same_annotations() -> None:
    ontology = load_ontology("human-small")
    genes = sorted({gene for members in ontology.gene_sets().values() for gene in members})
    one, other = (Annotations.of(ontology.topology(genes, skips=skips), genes) for skips in ("edges", "copies"))  # type: ignore[arg-type]
    assert set(one.terms) == set(other.terms)
    order = [one.terms.index(term) for term in other.terms]
    for what in ("direct", "member", "lonely"):
        assert (getattr(one, what)[order] == getattr(other, what)).all()
    assert (one.direct <= one.member).all()


def test_expected_error_equals_a_loop_and_falls_with_the_score() -> None:
    rng = np.random.default_rng(4)
    score, hidden = rng.normal(size=300), rng.normal(1.5, size=20)
    tail = np.array([(score >= s).mean() for s in score])
    hidden_tail = np.array([max((score >= s).sum(), 1) / 300 for s in hidden])
    found = expected_error(tail, hidden_tail, 30.0)
    for i in range(0, 300, 7):
        looser = [u for u in tail if u >= tail[i]]
        errors = [300 * u / (300 * u + 30 * (hidden_tail <= u).sum() / 21) for u in looser]
        assert np.isclose(found[i], min(errors))
    order = np.argsort(-score)
    assert (np.diff(found[order]) >= -1e-12).all()
    assert ((found > 0) & (found <= 1)).all()
    assert (expected_error(tail, np.ones(0), 30.0) == 1).all()


def test_q_is_not_too_small_where_its_assumption_holds() -> None:
    """200 ontologies that lack as many links as assumed, which score as the hidden ones: wrong shares against q."""
    gaps = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        score = np.concatenate([rng.normal(3, size=30), rng.normal(size=2000)])
        hidden = rng.normal(3, size=60)
        ordered = np.sort(score)
        tail, hidden_tail = (
            np.maximum(len(score) - np.searchsorted(ordered, s, side="left"), 1) / len(score) for s in (score, hidden)
        )
        q = expected_error(tail, hidden_tail, 30.0)
        called = q <= 0.7
        assert called.any()
        gaps.append((np.flatnonzero(called) >= 30).mean() - q[called].max())
    assert np.mean(gaps) < 0


def test_tails_count_absent_pairs_of_the_same_stratum() -> None:
    annotations = known()
    rng = np.random.default_rng(0)
    score, used = rng.random(annotations.member.shape), np.arange(len(annotations.terms)) < 3
    found = tails(annotations, score, used)
    for i, j in ((0, 4), (2, 30), (5, 11)):
        absent = [
            score[a, b]
            for a in range(8)
            for b in range(score.shape[1])
            if used[a] == used[i] and not annotations.member[a, b]
        ]
        assert np.isclose(found[i, j], max(np.sum(np.array(absent) >= score[i, j]), 1) / len(absent))
    assert (tails(annotations, score, np.zeros(8, bool)) <= 1).all()


def test_intervals_and_gains_are_over_repetitions() -> None:
    values = {
        NETWORK: [0.5, 0.7, 0.6],
        TRIVIAL[0]: [0.1, 0.1, 0.1],
        TRIVIAL[1]: [0.4, 0.2, np.nan],
        TRIVIAL[2]: [0.3, 0.3, 0.3],
    }
    rows = [(k, ALL, name, value, 4, 100) for name, column in values.items() for k, value in enumerate(column)]
    table = pd.DataFrame(rows, columns=["repetition", "scope", "ranking", "average_precision", "n_hidden", "n_pairs"])
    found = recovery_of(table).set_index("ranking")
    gains = np.array([0.1, 0.4, 0.3])
    low, high = stats.t.interval(0.95, 2, loc=gains.mean(), scale=gains.std(ddof=1) / np.sqrt(3))
    assert np.allclose(found.loc[NETWORK, ["gain", "gain_low", "gain_high"]].astype(float), [gains.mean(), low, high])
    assert found.loc[NETWORK, "average_precision"] == pytest.approx(0.6)
    assert found.loc[TRIVIAL[1], "n_repetitions"] == 2
    assert found.loc[NETWORK, "chance"] == pytest.approx(0.04)


@cache
def planted() -> tuple[MissingLinks, list[str], Samples]:
    """A cohort whose causal set lacks two of its genes in the wiring."""
    samples = cohort(300)
    annotations = Annotations.of(wiring(), samples.features)
    factor = samples.targets["quantity"].to_numpy(dtype=float)
    carried = {
        g: abs(np.corrcoef(samples.values[samples.features.index(g)], factor)[0, 1]) for g in gene_sets()[CAUSAL]
    }
    lost = sorted(carried, key=lambda g: -carried[g])[1:3]
    found = missing_links(
        annotations.without([(gene, CAUSAL) for gene in lost]), samples, target="phenotype", splits=folds(3, 300),
        repetitions=3, n_seeds=1, training=Training(epochs=15, batch_size=32, lr=1e-2), seed=1,
    )  # fmt: skip
    return found, lost, samples


@pytest.mark.slow
def test_planted_genes_without_annotation_come_first_and_permuted_labels_lose_the_gain() -> None:
    found, lost, _ = planted()
    proposed = found.table[found.table["term"] == CAUSAL]["gene"].tolist()
    assert set(lost) <= set(proposed[:4])
    assert set(found.table.head(8)["gene"]) >= set(lost)
    table = found.recovery.set_index(["scope", "ranking"])["average_precision"]
    assert table[USED, NETWORK] > table[USED, PERMUTED] + 0.1
    assert table[USED, NETWORK] > table[USED, TRIVIAL[0]]
    assert "q is the expected share" in found.assumption
    assert any(sentence.startswith(USED) and "permuted labels" in sentence for sentence in found.words)


@pytest.mark.slow
def test_the_tables_agree_with_each_other() -> None:
    found, lost, samples = planted()
    assert list(found.table.columns) == ["gene", "term", "name", "level", "score", "tail", "q", "co_expression", "gene_degree",
                                         "term_size", "used"]  # fmt: skip
    assert found.table["q"].is_monotonic_increasing
    assert found.table["q"].between(0, 1).all()
    pairs = set(zip(found.table["gene"], found.table["term"], strict=True))
    annotated = {(g, t) for t, genes in gene_sets().items() for g in genes} - {(g, CAUSAL) for g in lost}
    assert not pairs & annotated
    assert not found.hidden.duplicated(["gene", "term"]).any()
    assert set(zip(found.hidden["gene"], found.hidden["term"], strict=True)) <= annotated
    per = found.by_repetition[found.by_repetition["scope"] == ALL]
    assert (per.groupby("repetition")["n_hidden"].first() == found.hidden.groupby("repetition").size()).all()
    assert len(pairs) == min(1000, 8 * samples.n_features - len(annotated))


def test_average_precision_is_that_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores that are known: degree times size is what the network says, so that both rankings recover the same."""
    monkeypatch.setattr(
        station, "pair_scores", lambda made, samples, known, **_: np.outer(known.direct.sum(1), known.direct.sum(0))
    )
    monkeypatch.setattr(station, "used_terms", lambda made, samples, known: np.zeros(len(known.terms), bool))
    monkeypatch.setattr(station, "fit", lambda *_, **__: None)
    found = missing_links(wiring(), cohort(), target="phenotype", splits=folds(), repetitions=2, label_draws=0)
    annotations = known()
    table = found.by_repetition.set_index(["repetition", "scope", "ranking"])["average_precision"]
    for k, part in enumerate(annotations.parts(2, seed=0)):
        positive = annotations.pairs(part)
        among = ~annotations.member | positive
        score = np.outer(annotations.direct.sum(1), annotations.direct.sum(0))
        assert float(table[k, ALL, NETWORK]) == pytest.approx(average_precision_score(positive[among], score[among]))
    assert found.recovery.set_index(["scope", "ranking"]).loc[(USED, NETWORK), "n_repetitions"] == 0
    assert "nothing can be said" in found.words[1]


def test_bad_input_is_told_in_words() -> None:
    def run(topology: Topology | None = None, samples: Samples | None = None, **changes: Any) -> None:
        asked: dict[str, Any] = {"target": "phenotype", "splits": folds()} | changes
        missing_links(topology or wiring(), samples or cohort(), **asked)

    with pytest.raises(ValueError, match="`missing` is 0"):
        run(missing=0.0)
    with pytest.raises(ValueError, match="`repetitions` is 1"):
        run(repetitions=1)
    with pytest.raises(ValueError, match="no split has a test part"):
        run(splits=[s.__class__(s.name, s.train, s.validation, ()) for s in folds()])
    with pytest.raises(AlignmentError, match="lacks 1 of the"):
        run(samples=cohort().select(wiring().inputs[1:]))
    edges = [("inputs", "x", "genes", "g"), ("genes", "g", "level 1", "t")]
    levels = {"inputs": ["x"], "genes": ["g"], "level 1": ["t"]}
    columns = ["source_level", "source", "target_level", "target"]
    with pytest.raises(OntologyError, match="gene_level=False"):
        run(Topology.from_edges(levels, pd.DataFrame(edges, columns=columns)))
    genes = wiring().inputs[:3]
    small = pd.DataFrame([("inputs", gene, "level 1", "t") for gene in genes], columns=columns)
    with pytest.raises(OntologyError, match="nothing to hide"):
        run(Topology.from_edges({"inputs": genes, "level 1": ["t"]}, small))

"""From ontology to topology: nothing is lost without a word, every edge is a path, order does not matter."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vnn._errors import OntologyError
from vnn.ontology import Ontology, load_ontology, read_reactome
from vnn.ontology.wiring import LEVELS, unaccounted


@st.composite
def ontologies(draw) -> Ontology:
    """Up to nine terms, edges from lower to higher numbers, some genes at some of them."""
    n = draw(st.integers(1, 9))
    terms = [f"T{i}" for i in range(n)]
    kinds = st.sampled_from(["is_a", "part_of", "regulates"])
    pairs = [(a, b) for a in range(n) for b in range(a + 1, n)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=14)) if pairs else []
    relations = [(terms[a], terms[b], draw(kinds)) for a, b in chosen]
    genes = [f"G{i}" for i in range(7)]
    annotated = draw(st.lists(st.tuples(st.sampled_from(genes), st.sampled_from(terms)), unique=True, max_size=25))
    return Ontology(
        pd.DataFrame({"name": dict.fromkeys(terms, "")}),
        pd.DataFrame(relations, columns=["child", "parent", "type"]),
        pd.DataFrame(annotated, columns=["gene", "term"]),
    )


@st.composite
def choices(draw) -> dict[str, object]:
    kinds = [("is_a", "part_of"), ("is_a", "part_of", "regulates"), ("is_a",)]
    return {
        "min_genes": draw(st.integers(0, 3)),
        "max_genes": draw(st.sampled_from([None, 3, 5])),
        "collapse": draw(st.booleans()),
        "skips": draw(st.sampled_from(["edges", "copies"])),
        "gene_level": draw(st.booleans()),
        "depth": draw(st.sampled_from([None, 1, 2])),
        "relations": draw(st.sampled_from(kinds)),
        "jaccard": draw(st.sampled_from([None, 0.4, 0.8, 1.0])),
        "levels": draw(st.sampled_from(["longest path", "depth", "hybrid"])),
    }


FEATURES = {"f0": ("G0",), "f1": ("G1", "G2"), "f2": ("G2",), "f3": ("G3",), "f4": ("G4",), "f5": ("ALIEN",), "f6": ()}


def wired(ontology, features, **chosen):
    try:
        return ontology.topology(features, **chosen)
    except OntologyError as error:
        if not any(told in str(error) for told in ("no term is left", "none of the features", "annotates no gene")):
            raise
        return None


@settings(deadline=None, max_examples=80)
@given(ontologies(), choices())
def test_no_gene_term_or_feature_is_lost_without_a_word(ontology, chosen):
    for features in (FEATURES, ["G0", "G1", "G2", "G5", "X"]):
        topology = wired(ontology, features, **chosen)
        if topology is not None:
            assert unaccounted(ontology, features, topology) == ()
            assert {"f5", "f6", "X"}.isdisjoint(topology.inputs)


@settings(deadline=None, max_examples=80)
@given(ontologies(), choices())
def test_every_edge_is_a_path_of_the_graph(ontology, chosen):
    topology = wired(ontology, FEATURES, **chosen)
    if topology is None:
        return
    graph = ontology.graph
    for entry in topology.log:
        if entry.step == "collapse identical" and entry.kind == "terms":
            for gone, kept in (name.split(" -> ") for name in entry.names):
                graph.add_edge(("term", gone), ("term", kept))
                graph.add_edge(("term", kept), ("term", gone))
    for feature, genes in FEATURES.items():
        graph.add_edges_from((("feature", feature), ("gene", gene)) for gene in genes)
    kinds = {"inputs": "feature", "genes": "gene"}
    for row in topology.to_edges().itertuples():
        source, target = row.source, row.target
        kind = next(
            k for k in ("term", "gene", "feature") if source.startswith({"term": "T", "gene": "G", "feature": "f"}[k])
        )
        aim = kinds.get(row.target_level, "term") if source != target else kind
        assert nx.has_path(graph, (kind, source), (aim, target))


@settings(deadline=None, max_examples=60)
@given(ontologies(), choices())
def test_a_wired_term_hears_exactly_its_measured_genes(ontology, chosen):
    chosen |= {"max_genes": None, "depth": None, "relations": ("is_a", "part_of")}
    topology = wired(ontology, FEATURES, **chosen)
    if topology is None:
        return
    sets = ontology.gene_sets()
    for level in topology.levels[1:]:
        if level.name == "genes":
            continue
        for i, node in enumerate(level.nodes):
            if node in sets:
                heard = {topology.inputs[j] for j in topology.members[level.name][[i]].indices}
                assert heard == {f for f, genes in FEATURES.items() if sets[node] & set(genes)}


@settings(deadline=None, max_examples=60)
@given(ontologies(), choices(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(ontology, chosen, random):
    topology = wired(ontology, FEATURES, **chosen)
    shuffled = [
        table.sample(frac=1, random_state=random.randrange(99))
        for table in (ontology.terms, ontology.relations, ontology.annotations)
    ]
    other = wired(Ontology(*shuffled), dict(random.sample(list(FEATURES.items()), len(FEATURES))), **chosen)
    assert (topology is None) == (other is None)
    if topology is not None:
        assert topology.fingerprint == other.fingerprint
        assert topology.log == other.log


@settings(deadline=None, max_examples=60)
@given(ontologies(), choices())
def test_levels_follow_the_longest_path_and_copies_change_no_reach(ontology, chosen):
    chosen |= {"levels": "longest path"}
    skipping = wired(ontology, FEATURES, **chosen | {"skips": "edges"})
    copying = wired(ontology, FEATURES, **chosen | {"skips": "copies"})
    if skipping is None:
        return
    graph = nx.DiGraph()
    level = {}
    for row in skipping.to_edges().itertuples():
        source, target = (row.source_level == "inputs", row.source), (False, row.target)
        graph.add_edge(source, target)
        level[source], level[target] = row.source_level, row.target_level
    order = [entry.name for entry in skipping.levels]
    for generation, nodes in enumerate(nx.topological_generations(graph)):
        for node in nodes:
            assert order.index(level[node]) == generation
    own = copying.levels
    assert [len(a) for a in skipping.levels] == [len(b) - len(b.copies) for b in own]
    assert skipping.n_edges == copying.n_edges
    assert all(order.index(m.target_level) == order.index(m.source_level) + 1 for m in copying.masks)
    for name in order:
        wanted = {node: set(skipping.members[name][[i]].indices) for i, node in enumerate(skipping.level(name).nodes)}
        found = {node: set(copying.members[name][[i]].indices) for i, node in enumerate(copying.level(name).nodes)}
        assert wanted.items() <= found.items()


@settings(deadline=None, max_examples=40)
@given(ontologies())
def test_operations_commute_where_they_should(ontology):
    def tables(found: Ontology):
        return [found.terms.index.tolist(), found.relations.values.tolist(), found.annotations.values.tolist()]

    measured = {"G0", "G1", "G2"}
    assert tables(ontology.propagate().restrict(measured)) == tables(ontology.restrict(measured).propagate())
    assert tables(ontology.propagate().most_specific()) == tables(ontology.most_specific())
    assert tables(ontology.propagate().propagate()) == tables(ontology.propagate())
    assert ontology.min_genes(2).gene_sets() == {t: g for t, g in ontology.gene_sets().items() if len(g) >= 2}
    once = ontology.collapse_identical()
    assert tables(once.collapse_identical()) == tables(once)


def chain() -> Ontology:
    """top <- mid <- low with skip edges from genes to every height; five genes each."""
    annotated = [(f"{term}{i}", term) for term in ("low", "mid", "top") for i in range(5)]
    return Ontology(
        pd.DataFrame({"name": {"low": "Low", "mid": "Mid", "top": "Top"}}),
        pd.DataFrame([("low", "mid", "is_a"), ("mid", "top", "is_a")], columns=["child", "parent", "type"]),
        pd.DataFrame(annotated, columns=["gene", "term"]),
        provenance=({"source": "hand", "files": []},),
    )


def test_skip_edges_copies_and_the_gene_level():
    ontology = chain()
    topology = ontology.topology(ontology.genes)
    assert [level.name for level in topology.levels] == ["inputs", "level 1", "level 2", "level 3"]
    assert {(m.source_level, m.target_level): len(m) for m in topology.masks} == {
        ("inputs", "level 1"): 5,
        ("inputs", "level 2"): 5,
        ("level 1", "level 2"): 1,
        ("inputs", "level 3"): 5,
        ("level 2", "level 3"): 1,
    }
    copying = ontology.topology(ontology.genes, skips="copies")
    assert [len(level.copies) for level in copying.levels] == [0, 10, 5, 0]
    with_genes = ontology.topology({"probe": ("low0", "mid0"), **{g: (g,) for g in ontology.genes}}, gene_level=True)
    assert [level.name for level in with_genes.levels][:2] == ["inputs", "genes"]
    assert len(with_genes.level("genes")) == 15
    assert topology.label("mid") == "Mid"
    assert topology.provenance == ontology.provenance


def test_features_that_share_or_gather_genes_are_counted():
    ontology = chain()
    features = {**{g: (g,) for g in ontology.genes}, "twin": ("low0",), "group": ("mid0", "mid1")}
    said = {entry.reason: entry.names for entry in ontology.topology(features).log if entry.kind == "features"}
    assert said == {
        "kept: they share a gene with another feature": ("group", "low0", "mid0", "mid1", "twin"),
        "kept: they stand for several genes each": ("group",),
    }


def test_a_copy_that_meets_a_term_of_its_name_is_refused():
    ontology = chain()
    features = {**{g: (g,) for g in ontology.genes if g != "top0"}, "low": ("top0",)}
    assert ontology.topology(features).level("inputs").nodes[0] == "low"
    with pytest.raises(OntologyError, match=r"1 names belong to a node and to the copy .*'low'"):
        ontology.topology(features, skips="copies")


def test_identifiers_that_do_not_meet_show_both_sides():
    ontology = Ontology(
        pd.DataFrame({"name": {"t": ""}}),
        pd.DataFrame(columns=["child", "parent", "type"]),
        pd.DataFrame({"gene": ["TP53", "EGFR"], "term": ["t", "t"]}),
    )
    with pytest.raises(OntologyError) as caught:
        ontology.topology(["ENSG00000141510.12", "ENSG00000146648.1"])
    message = str(caught.value)
    assert "Your 2 features look like Ensembl ids (100 %: 'ENSG00000141510.12', 'ENSG00000146648.1')" in message
    assert "the ontology's 2 genes look like gene symbols (100 %: 'EGFR', 'TP53')" in message
    assert "Identifiers.read" in message
    with pytest.raises(OntologyError, match="1 genes, to which the features are mapped, look like Entrez ids"):
        ontology.topology({"probe": ("7157",)})


def test_few_names_that_meet_are_a_warning_with_both_sides():
    ontology = Ontology(
        pd.DataFrame({"name": {"t": ""}}),
        pd.DataFrame(columns=["child", "parent", "type"]),
        pd.DataFrame({"gene": ["TP53", *(f"G{i}" for i in range(19))], "term": "t"}),
    )
    features = ["TP53", *(f"ENSG{i:011d}" for i in range(20))]
    with pytest.warns(UserWarning, match=r"only 1 of 21 measured genes .* 21 features look like Ensembl ids \(95 %"):
        ontology.topology(features, min_genes=1)
    ontology.topology(["G1", *features], min_genes=1)


def test_wirings_that_leave_nothing_say_what_to_change():
    ontology = chain()
    with pytest.raises(
        OntologyError, match=r"no term is left: 3 of the 3 measured genes .* none of its 3 terms has at least 5"
    ):
        ontology.topology(["low0", "low1", "mid0"])
    with pytest.raises(OntologyError, match="annotates no gene"):
        ontology.restrict([]).topology(["low0"])
    with pytest.raises(OntologyError, match="2 features are there twice: 'a', 'b'"):
        ontology.topology(["a", "b", "a", "b", "c"])
    with pytest.raises(TypeError, match="sequence of feature names"):
        ontology.topology("low0")
    with pytest.raises(ValueError, match="Did you mean 'copies'"):
        ontology.topology(["low0"], skips="copy")
    with pytest.raises(ValueError, match="'regulate'"):
        ontology.topology(["low0"], relations=["regulate"])


def test_unaccounted_finds_what_is_missing():
    ontology = chain()
    topology = ontology.topology(ontology.genes)
    more = Ontology(
        pd.concat([ontology.terms, pd.DataFrame({"name": {"new": "", "old": ""}})]).fillna(""),
        ontology.relations,
        pd.concat([ontology.annotations, pd.DataFrame({"gene": ["N"], "term": ["new"]})]).fillna(""),
    )
    assert unaccounted(more, [*ontology.genes, "extra"], topology) == (
        "gene N",
        "term new",
        "term old",
        "feature extra",
    )


SCRIPT = """
from vnn.ontology import load_ontology
ontology = load_ontology("human-small")
options = [{"skips": skips, "gene_level": genes} for skips in ("edges", "copies") for genes in (False, True)]
print([ontology.topology(ontology.genes, **chosen).fingerprint for chosen in options])
print(hash("seed"))
"""


def test_the_hash_seed_does_not_matter():
    root = str(Path(__file__).parents[2])
    printed = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": root},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        for seed in ("1", "2")
    ]
    assert printed[0][0] == printed[1][0]
    assert printed[0][1] != printed[1][1]


@pytest.mark.data
def test_reactome_with_20_000_measured_genes_compiles_in_seconds(real):
    files = [
        real(f"reactome/{name}")
        for name in ("ReactomePathways.gmt", "ReactomePathwaysRelation.txt", "ReactomePathways.txt.gz")
    ]
    started = time.perf_counter()
    ontology = read_reactome(*files)
    features = [*ontology.genes, *(f"DUMMY{i}" for i in range(20_000 - len(ontology.genes)))]
    topology = ontology.without_branch("Disease").topology(features)
    seconds = time.perf_counter() - started
    assert seconds < 5
    assert unaccounted(ontology, features, topology) == ()
    assert len(topology.inputs) == 11_113
    assert np.mean([len(level) for level in topology.levels]) > 1


@settings(deadline=None, max_examples=60)
@given(ontologies(), choices())
def test_levels_hold_the_same_edges_and_stand_where_they_should(ontology, chosen):
    """Heights and depths by networkx; "hybrid" lies midway between the two."""
    chosen |= {"skips": "edges", "gene_level": False}
    made = {levels: wired(ontology, FEATURES, **(chosen | {"levels": levels})) for levels in LEVELS}
    if made["depth"] is None:
        return
    edges = {frozenset(zip(t.to_edges()["source"], t.to_edges()["target"], strict=True)) for t in made.values()}
    assert len(edges) == 1
    graph = nx.DiGraph((a, b) for a, b in next(iter(edges)) if not a.startswith("f"))
    graph.add_nodes_from(node for level in made["depth"].levels[1:] for node in level.nodes)
    up, down = (dict.fromkeys(graph, 0) for _ in range(2))
    for node in nx.topological_sort(graph):
        for above in graph.successors(node):
            up[above] = max(up[above], up[node] + 1)
    for node in reversed(list(nx.topological_sort(graph))):
        for below in graph.predecessors(node):
            down[below] = max(down[below], down[node] + 1)
    top = max(up.values())
    where = {
        name: {node: at for at, level in enumerate(t.levels[1:]) for node in level.nodes} for name, t in made.items()
    }
    assert where["longest path"] == up
    assert where["depth"] == {node: top - below for node, below in down.items()}
    midway = {node: (up[node] + top - down[node]) // 2 for node in graph}
    names = {at: n for n, at in enumerate(sorted(set(midway.values())))}
    assert where["hybrid"] == {node: names[at] for node, at in midway.items()}


@pytest.mark.parametrize("gene_level", [False, True])
def test_residual_and_free_nodes_see_what_they_say(gene_level):
    ontology = load_ontology("human-small")
    features = [*ontology.genes[:80], "unheard of", "of none"]
    plain = ontology.topology(features, gene_level=gene_level)
    made = ontology.topology(features, gene_level=gene_level, residual=True, free=2)
    level = "level 1"
    nodes, known = made.level(level).nodes, set(plain.inputs)
    heard = {node: {made.inputs[j] for j in made.members[level][[i]].indices} for i, node in enumerate(nodes)}
    assert heard["residual"] == set(features) - known
    assert heard["free 1"] == heard["free 2"] == set(features) == set(made.inputs)
    assert {node: heard[node] for node in plain.level(level).nodes} == {
        node: {plain.inputs[j] for j in plain.members[level][[i]].indices}
        for i, node in enumerate(plain.level(level).nodes)
    }
    assert {(level, name) for name in ("residual", "free 1", "free 2")} <= set(made.outputs)
    assert unaccounted(ontology, features, made) == ()
    (entry,) = (entry for entry in made.log if entry.step == "residual")
    assert entry.names == ("of none", "unheard of") or set(entry.names) == set(features) - known
    assert "residual" not in ontology.topology(ontology.genes, residual=True).level(level).nodes, "nothing is left over"


def test_added_nodes_must_not_take_a_name():
    ontology = load_ontology("human-small")
    with pytest.raises(OntologyError, match="'free 1' is to be a node beside the terms and is also"):
        ontology.topology([*ontology.genes, "free 1"], free=1)
    with pytest.raises(ValueError, match="levels"):
        ontology.topology(ontology.genes, levels="height")

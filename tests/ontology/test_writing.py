"""Writing and reading back, over random ontologies and topologies; what is lost is named."""

from __future__ import annotations

import gzip
from itertools import pairwise

import networkx as nx
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vnn._errors import OntologyError
from vnn.ontology import Ontology, Topology, read_gmt
from vnn.ontology.cx2 import read_cx2, write_cx2
from vnn.ontology.drugcell import read_drugcell, write_drugcell
from vnn.ontology.edges import read_edges, write_edges
from vnn.ontology.gmt import write_gmt
from vnn.ontology.graphml import read_graphml, write_graphml
from vnn.ontology.topology_table import read_topology, write_topology

NAME = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=4).map(lambda x: f"n{x}")
TYPES = ("is_a", "part_of", "regulates")


@st.composite
def ontologies(draw):
    terms = draw(st.lists(NAME, min_size=1, max_size=6, unique=True))
    genes = draw(st.lists(NAME, min_size=1, max_size=4, unique=True))
    pairs = [(low, high) for i, low in enumerate(terms) for high in terms[i + 1 :]]
    relations = draw(st.sets(st.tuples(st.sampled_from(pairs), st.sampled_from(TYPES)))) if pairs else set()
    rows = st.tuples(
        st.sampled_from(genes), st.sampled_from(terms), st.sampled_from(["", "IDA"]), st.sampled_from(["", "+"])
    )
    annotations = draw(st.sets(rows, min_size=1))
    labels = {term: draw(st.one_of(st.just(""), NAME)) for term in terms}
    return Ontology(
        pd.DataFrame({"name": labels, "namespace": draw(st.sampled_from(["", "bp"]))}),
        pd.DataFrame([(*pair, kind) for pair, kind in relations], columns=["child", "parent", "type"]),
        pd.DataFrame(list(annotations), columns=["gene", "term", "evidence", "qualifier"]),
    )


def relations(ontology, types=True):
    return {tuple(row) for row in ontology.relations[["child", "parent", *(["type"] if types else [])]].to_numpy()}


def annotations(ontology, columns=("gene", "term", "evidence", "qualifier")):
    return {tuple(row) for row in ontology.annotations[list(columns)].to_numpy()}


def below(ontology):
    """Every (gene, term) along membership, by networkx."""
    graph = nx.DiGraph()
    graph.add_edges_from((("t", c), ("t", p)) for c, p, kind in relations(ontology) if kind != "regulates")
    graph.add_edges_from((("g", g), ("t", t)) for g, t in annotations(ontology, ("gene", "term")))
    return {(gene, term) for kind, gene in graph if kind == "g" for _, term in nx.descendants(graph, ("g", gene))}


def named(entries, words):
    return [name for entry in entries if words in entry.reason for name in entry.names]


@settings(deadline=None, max_examples=15)
@given(ontologies())
def test_ontologies_come_back(tmp_path_factory, ontology):
    folder = tmp_path_factory.mktemp("written")
    used = {term for c, p, _ in relations(ontology) for term in (c, p)} | {
        t for _, t in annotations(ontology, ("gene", "term"))
    }
    unnamed = set(ontology.terms.index[ontology.terms["name"] != ontology.terms.index])

    assert write_graphml(ontology, folder / "o.graphml") == ()
    again = read_graphml(folder / "o.graphml")
    assert again.terms.equals(ontology.terms)
    assert again.relations.equals(ontology.relations)
    assert again.annotations.equals(ontology.annotations)

    for name in ("o.csv", "o.tsv.gz"):
        lost = write_edges(ontology, folder / name)
        again = read_edges(folder / name, genes="typed")
        assert (relations(again), annotations(again)) == (relations(ontology), annotations(ontology))
        assert set(ontology.terms.index) - set(again.terms.index) == set(named(lost, "no relation and no gene"))
        assert set(again.terms.index) == used
        assert {n for entry in lost if entry.reason == "written without their names" for n in entry.names} == unnamed

    lost = write_drugcell(ontology, folder / "typed.txt", types=True)
    again = read_drugcell(folder / "typed.txt")
    assert relations(again) == relations(ontology)
    assert annotations(again, ("gene", "term")) == annotations(ontology, ("gene", "term"))
    assert len(named(lost, "evidence")) == len({row[:2] for row in annotations(ontology) if row[2] or row[3]})

    lost = write_cx2(ontology, folder / "o.cx2")
    again = read_cx2(folder / "o.cx2")
    assert again.terms.equals(ontology.terms)
    assert relations(again) == relations(ontology)
    assert annotations(again, ("gene", "term")) == below(ontology)
    added = below(ontology) - annotations(ontology, ("gene", "term"))
    assert set(named(lost, "added")) == {f"{gene} @ {term}" for gene, term in added}

    lost = write_gmt(ontology, folder / "own.gmt", propagated=False)
    again = read_gmt(folder / "own.gmt", ids="description" if unnamed else "name")
    assert again.terms["name"].to_dict() == ontology.terms["name"].to_dict()
    assert annotations(again, ("gene", "term")) == annotations(ontology, ("gene", "term"))
    assert set(named(lost, "no hierarchy")) == {f"{c} -> {p}" for c, p, _ in relations(ontology)}
    write_gmt(ontology, folder / "all.gmt")
    again = read_gmt(folder / "all.gmt", ids="description" if unnamed else "name")
    assert annotations(again, ("gene", "term")) == below(ontology)


@st.composite
def topologies(draw):
    sizes = draw(st.lists(st.integers(1, 3), min_size=2, max_size=4))
    titles = [f"level, {k}" for k in range(len(sizes))]
    nodes = [(titles[k], f"n{i}") for k, n in enumerate(sizes) for i in range(n)]
    pairs = [(a, b) for a in nodes for b in nodes if a[0] < b[0]]
    edges = set(draw(st.lists(st.sampled_from(pairs), max_size=8)))
    for node in nodes:
        edges.add(draw(st.sampled_from([pair for pair in pairs if node == pair[node[0] != titles[0]]])))
    copies: dict[str, set[str]] = {}
    for low, high in pairwise(titles):
        into = {b: [a for a, c in edges if c == b] for b in nodes if b[0] == high}
        copies[high] = {b[1] for b, sources in into.items() if sources == [(low, b[1])] and draw(st.booleans())}
    table = pd.DataFrame([(*a, *b) for a, b in edges], columns=["source_level", "source", "target_level", "target"])
    return Topology.from_edges({t: [n for u, n in nodes if u == t] for t in titles}, table, copies=copies)


@settings(deadline=None, max_examples=40)
@given(topologies(), st.randoms(use_true_random=False))
def test_topologies_come_back_in_any_order_of_lines(tmp_path_factory, topology, chance):
    path = tmp_path_factory.mktemp("written") / "edges.tsv"
    assert write_topology(topology, path) == ()
    assert read_topology(path).fingerprint == topology.fingerprint
    header, *lines = path.read_text().splitlines()
    chance.shuffle(lines)
    path.write_text("\n".join([header, *lines]))
    assert read_topology(path).fingerprint == topology.fingerprint


def small(gene="G", term="t", name=""):
    table = pd.DataFrame({"gene": [gene], "term": [term]})
    return Ontology(
        pd.DataFrame({"name": [name]}, index=[term]), pd.DataFrame(columns=["child", "parent", "type"]), table
    )


@pytest.mark.parametrize("write", [write_edges, write_drugcell, write_cx2, write_gmt, write_graphml])
@pytest.mark.parametrize("name", ["a\tb", "a\nb", " a", "a ", "a\x00"])
def test_names_that_would_not_come_back_are_refused(tmp_path, write, name):
    with pytest.raises(OntologyError, match=r"1 names .*Rename them") as caught:
        write(small(term=name), tmp_path / "out.csv")
    assert ascii(name)[1:-1].replace("\\", "\\\\") in str(caught.value) or ascii(name) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_begins_a_comment_is_refused(tmp_path):
    with pytest.raises(OntologyError, match="begins with # is a comment, and 1 names begin so: '#G'"):
        write_edges(small(gene="#G"), tmp_path / "out.csv")


def test_the_ending_tells_the_separator(tmp_path):
    with pytest.raises(ValueError, match=r"out\.xlsx does not tell its separator"):
        write_edges(small(), tmp_path / "out.xlsx")
    write_edges(small(), tmp_path / "out.tsv.gz")
    with gzip.open(tmp_path / "out.tsv.gz", "rt") as file:
        assert file.read() == "child\tparent\ttype\nG\tt\tgene\n"


def test_formulas_are_written_as_they_are(tmp_path):
    write_edges(small(gene="=1+1"), tmp_path / "out.csv")
    assert read_edges(tmp_path / "out.csv").genes == ("=1+1",)


def test_nothing_to_write(tmp_path):
    rows = (pd.DataFrame(columns=["child", "parent", "type"]), pd.DataFrame(columns=["gene", "term"]))
    alone = Ontology(pd.DataFrame({"name": [""]}, index=["t"]), *rows)
    for write in (write_edges, write_drugcell):
        with pytest.raises(OntologyError, match="nothing to write"):
            write(alone, tmp_path / "out.csv")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "source,target\na,b\n",
            "the header lacks 'source_depth', 'source_level', 'target_depth', 'target_level', 'copy'",
        ),
        ("source_depth,source_level,source,target_depth,target_level,target,copy\n", "no edge below it"),
        (
            "source_depth,source_level,source,target_depth,target_level,target,copy\nx,i,a,1,l,b,\n",
            "depth 'x' is no number",
        ),
        (
            "source_depth,source_level,source,target_depth,target_level,target,copy\n0,i,a,0,l,b,\n",
            "depth 0 is called 'i' and 'l'",
        ),
        ("source_depth,source_level,source,target_depth,target_level,target,copy\n0,i,a,1,l\n", "an edge needs"),
    ],
)
def test_other_tables_are_no_topology(tmp_path, text, says):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(OntologyError, match=says):
        read_topology(tmp_path / "t.csv")

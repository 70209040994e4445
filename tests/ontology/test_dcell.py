"""DCell's blocks of three lines."""

from __future__ import annotations

import networkx as nx
import pytest

from vnn._errors import OntologyError
from vnn.ontology.dcell import read_dcell

TEXT = "ROOT: top 3\nGENES: A \nTERMS: low mid \nROOT: low 2\nGENES: B C\nTERMS:\nROOT: mid 1\nGENES:\nTERMS: low\n"


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "topology"
        path.write_text(text)
        return path

    return write


def test_blocks(file):
    ontology = read_dcell(file(TEXT))
    assert {(r.child, r.parent) for r in ontology.relations.itertuples()} == {
        ("low", "top"),
        ("mid", "top"),
        ("low", "mid"),
    }
    assert {(a.gene, a.term) for a in ontology.annotations.itertuples()} == {("A", "top"), ("B", "low"), ("C", "low")}


def test_a_number_that_does_not_agree_is_named(file):
    (entry,) = read_dcell(file(TEXT)).log
    assert entry.names == ("mid: 1 stated, 2 found",)
    assert read_dcell(file(TEXT.replace("mid 1", "mid 2"))).log == ()


def test_a_child_without_a_block_is_counted(file):
    ontology = read_dcell(file(TEXT.replace("mid 1", "mid 2").replace("low mid", "low mid lost")))
    assert [str(entry) for entry in ontology.log] == [
        "read dcell: 1 relations dropped: they name a term that is not there (1 rows): 'lost -> top'"
    ]


@pytest.mark.parametrize(
    ("text", "says", "line"),
    [
        (TEXT + "ROOT: x 1\nTERMS:\n", "GENES: is needed here, not 'TERMS:'", 11),
        (TEXT + "ROOT: low 1\n", "a second block describes 'low'", 10),
        (TEXT + "ROOT: x\n", "a term and its number of genes; this line is 'ROOT: x'", 10),
        (TEXT + "ROOT: x 0\nGENES:\n", "no line TERMS:; the file may be cut short", 11),
        ("parent,child\n", "ROOT: is needed here", 1),
    ],
)
def test_broken_blocks_are_located(file, text, says, line):
    with pytest.raises(OntologyError, match=says) as caught:
        read_dcell(file(text))
    assert caught.value.__notes__ == [f"reading topology, line {line}"]


@pytest.mark.data
@pytest.mark.parametrize(("term", "n_terms", "n_genes"), [("GO_0006281", 21, 162), ("GO_0000790", 11, 124)])
def test_the_published_topologies(real, term, n_terms, n_genes):
    path = real(f"architectures/dcell/{term}_topology")
    ontology = read_dcell(path)
    assert (len(ontology.terms), len(ontology.genes), ontology.log) == (n_terms, n_genes, ())
    graph = nx.DiGraph()
    for line in path.read_text().splitlines():
        word, *rest = line.split()
        if word == "ROOT:":
            block, graph_size = rest
            graph.add_node(block, size=int(graph_size))
        else:
            graph.add_edges_from((block, ("gene", x) if word == "GENES:" else x) for x in rest)
    for node, size in graph.nodes(data="size"):
        if size is not None:
            assert sum(isinstance(below, tuple) for below in nx.descendants(graph, node)) == size
            assert ontology.sizes[node] == size

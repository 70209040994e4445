"""Masks of 0 and 1 with and without names."""

from __future__ import annotations

import pytest

from vnn._errors import OntologyError
from vnn.ontology.masks import read_gene_mask, read_mask

BANNS = "1 0\n1 0\n0 1\n0 0\n"
PASNET = ",TP53,EGFR,MYC,XIST\nrepair,1,0,1,0\ngrowth,0,1,1,0\nvoid,0,0,0,0\n"


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "mask.txt"
        path.write_text(text)
        return path

    return write


def edges(topology):
    return {tuple(row) for row in topology.to_edges()[["source", "target"]].to_numpy()}


@pytest.mark.parametrize(
    "text",
    [
        BANNS,
        BANNS.replace(" ", "  ").replace("\n", "\r\n"),
        BANNS.replace("1", "1.00e+00").replace(" 0", " 0.0e+00"),
        BANNS.replace(" ", ","),
        BANNS.replace(" ", "\t"),
    ],
)
def test_a_bare_matrix_of_inputs_by_sets(file, text):
    topology = read_mask(file(text), rows="inputs", inputs=["s0", "s1", "s2", "s3"], nodes=["g", "h"])
    assert edges(topology) == {("s0", "g"), ("s1", "g"), ("s2", "h")}
    assert [str(e) for e in topology.log] == ["read mask: 1 nodes of inputs dropped: they lead to no node: 's3'"]


def test_numbers_stand_for_names_and_are_logged(file):
    topology = read_mask(file("1\n" * 11), rows="inputs")
    assert topology.inputs[:3] == ("00", "01", "02")
    assert [str(entry) for entry in topology.log] == [
        "read mask: 1 levels named by number: the file has no names: 'inputs'",
        "read mask: 1 levels named by number: the file has no names: 'nodes'",
    ]


def test_the_other_orientation_is_the_same_topology(file):
    there = read_mask(file("1 1 0\n0 0 1\n"), rows="nodes", inputs="abc", nodes="xy")
    back = read_mask(file("1 0\n1 0\n0 1\n"), rows="inputs", inputs="abc", nodes="xy")
    assert there.fingerprint == back.fingerprint


@pytest.mark.parametrize(
    "text",
    [
        PASNET,
        PASNET[1:],
        PASNET.replace(",TP53", "PATHWAY,TP53"),
        PASNET.replace(",", "\t"),
        PASNET.replace(",", " "),
    ],
)
@pytest.mark.parametrize("how", [{"rows": "terms"}, {"genes": ["TP53", "BRCA1"]}])
def test_pathways_by_genes(file, text, how):
    ontology = read_gene_mask(file(text), **how)
    assert ontology.gene_sets() == {"repair": {"TP53", "MYC"}, "growth": {"EGFR", "MYC"}, "void": frozenset()}
    assert [str(entry) for entry in ontology.log] == ["read mask: 1 genes dropped: they are in no term: 'XIST'"]


def test_entrez_ids_are_names_where_the_corner_is_empty(file):
    ontology = read_gene_mask(file("\t7157\t1956\n100\t1\t0\n200\t1\t1\n"), rows="terms")
    assert ontology.gene_sets() == {"100": {"7157"}, "200": {"7157", "1956"}}


def test_orientation_is_found_by_names_or_asked_for(file):
    path = file(PASNET)
    assert edges(read_mask(path, inputs=["MYC"])) == edges(read_mask(path, rows="nodes"))
    with pytest.raises(OntologyError, match="does not tell what its rows are"):
        read_mask(path)
    with pytest.raises(OntologyError, match="0 names of rows and 0 of columns meet the 1 names given"):
        read_mask(path, inputs=["q"])
    with pytest.raises(OntologyError, match="1 names of rows and 1 of columns meet"):
        read_mask(path, inputs=["MYC", "growth"])
    with pytest.raises(OntologyError, match="does not tell what its rows are"):
        read_mask(file(BANNS), inputs=["s0"])


@pytest.mark.parametrize(
    ("text", "says", "line"),
    [
        ("1 0\n1 2\n", "a mask holds 0 and 1; this line has '2'", 2),
        ("1 0\n1 0.5\n", "this line has '0.5'", 2),
        ("1 0\n1 nan\n", "this line has 'nan'", 2),
        ("1 0\n1\n", "a line needs 2 values; this one has 1", 2),
        (PASNET + "more,1,0,x,0\n", "a mask holds 0 and 1; this line has 'x'", 5),
        (",TP53\n", "no line below it", None),
        ("0 0\n0 0\n", "the mask is all 0", None),
    ],
)
def test_other_values_are_located(file, text, says, line):
    with pytest.raises(OntologyError, match=says) as caught:
        read_mask(file(text), rows="inputs")
    if line:
        assert caught.value.__notes__ == [f"reading mask.txt, line {line}"]


def test_names_must_fit(file):
    with pytest.raises(OntologyError, match="the matrix has 4 inputs, and 1 names of inputs are given"):
        read_mask(file(BANNS), rows="inputs", inputs=["a"])
    with pytest.raises(OntologyError, match="names of inputs are there twice: 'a'"):
        read_mask(file(BANNS), rows="inputs", inputs="abca")
    with pytest.raises(OntologyError, match="no names of rows and columns"):
        read_gene_mask(file(BANNS), rows="genes")

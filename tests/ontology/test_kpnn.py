"""Edge lists of KPNN and kpnn2, which run in opposite directions."""

from __future__ import annotations

import pytest

from vnn._errors import OntologyError
from vnn.ontology.kpnn import read_kpnn


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "edges.csv"
        path.write_text(text)
        return path

    return write


def rows(ontology):
    relations = {(r.child, r.parent) for r in ontology.relations.itertuples()}
    return relations, {(a.gene, a.term) for a in ontology.annotations.itertuples()}


EXPECTED = ({("TERT", "out"), ("MYC", "TERT")}, {("TERT", "TERT"), ("A", "MYC")})


def test_kpnn_runs_from_output_to_input(file):
    ontology = read_kpnn(file("parent,child\nout,TERT\nTERT,MYC\nTERT,TERT_gene\nMYC,A_gene\n"))
    assert rows(ontology) == EXPECTED
    assert ontology.log == ()
    assert set(ontology.relations["type"]) == {"part_of"}


def test_kpnn2_runs_with_the_signal(file):
    ontology = read_kpnn(file('"source","target"\nA,MYC\nMYC,TERT\nTERT,out\n'))
    assert rows(ontology) == ({("MYC", "TERT"), ("TERT", "out")}, {("A", "MYC")})


def test_a_leaf_without_the_suffix_is_counted(file):
    ontology = read_kpnn(file("parent,child\nout,n1\nout,n2\nn1,A_gene\n"))
    assert "n2" in ontology.terms.index
    assert [str(entry) for entry in ontology.log] == [
        "read kpnn: 1 terms kept without genes: leaves without the suffix _gene: 'n2'"
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("out,n1\nn1,A_gene\n", "does not tell which column is the parent"),
        ("parent,child\nout,n1\nn1,A\n", "no child ends in _gene"),
        ("parent,child\nout,A_gene\nA_gene,B_gene\n", "inputs have children: 'A_gene'"),
        ("parent,child\nout,A_gene\nB\n", "this line has 1: 'B'"),
        ("parent,child\na,b\nb,a\na,G_gene\n", "a -> b -> a"),
    ],
)
def test_other_files_are_refused(file, text, says):
    with pytest.raises(OntologyError, match=says):
        read_kpnn(file(text))

"""Regulons with signs."""

from __future__ import annotations

import csv

import pytest

from vnn._errors import OntologyError
from vnn.ontology.regulons import read_regulons


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "regulons.csv"
        path.write_text(text)
        return path

    return write


def rows(ontology):
    return {(a.gene, a.term, a.qualifier) for a in ontology.annotations.itertuples()}


@pytest.mark.parametrize(
    "text",
    [
        "source,target,weight\nMYC,TERT,1\nMYC,A,-1\nSP1,A,1.0\n",
        "weight\tsource\ttarget\n1\tMYC\tTERT\n-1\tMYC\tA\n1\tSP1\tA\n",
        ",source,target,weight\n0,MYC,TERT,1\n1,MYC,A,-1\n2,SP1,A,1\n",
    ],
)
def test_a_factor_is_a_term_and_its_targets_are_genes(file, text):
    ontology = read_regulons(file(text))
    assert rows(ontology) == {("TERT", "MYC", "+"), ("A", "MYC", "-"), ("A", "SP1", "+")}
    assert ontology.log == ()


def test_what_is_not_kept_is_counted(file):
    text = "source,target,weight,PMID\nMYC,A,0.5,1\nMYC,B,0,\nMYC,C,1,\nMYC,C,-1,\nMYC,C,-1,\n"
    ontology = read_regulons(file(text))
    assert rows(ontology) == {("A", "MYC", "+"), ("B", "MYC", ""), ("C", "MYC", "+"), ("C", "MYC", "-")}
    assert [str(entry) for entry in ontology.log] == [
        "read regulons: 1 columns not read: 'PMID'",
        "read regulons: 1 annotations kept with the sign of their weight and not its size: 'A @ MYC'",
        "read regulons: 1 annotations kept without a sign: their weight is 0: 'B @ MYC'",
        "read regulons: 1 annotations kept with several signs: 'C @ MYC'",
        "read regulons: 1 annotations repeated and kept once (1 rows): 'C @ MYC'",
    ]


def test_columns_by_name(file):
    path = file("tf,gene\nMYC,A\n")
    assert rows(read_regulons(path, source="tf", target="gene", weight=None)) == {("A", "MYC", "")}
    with pytest.raises(OntologyError, match=r"the header lacks 'source', 'target', 'weight'; it has 'tf', 'gene'"):
        read_regulons(path)


@pytest.mark.parametrize(
    ("line", "says"), [("MYC,B", "a line needs"), ("MYC,,1", "a line needs"), ("MYC,B,up", "'up' is no number")]
)
def test_broken_lines_are_located(file, line, says):
    with pytest.raises(OntologyError, match=says) as caught:
        read_regulons(file(f"source,target,weight\nMYC,A,1\n{line}\n"))
    assert caught.value.__notes__ == ["reading regulons.csv, line 3"]


@pytest.mark.data
def test_collectri(real):
    path = real("regulatory/collectri.csv")
    ontology = read_regulons(path)
    assert (len(ontology.terms), len(ontology.genes), len(ontology.annotations)) == (1_186, 6_692, 43_178)
    with path.open() as file:
        signs = [row["weight"] for row in csv.DictReader(file)]
    counts = ontology.annotations["qualifier"].value_counts()
    assert (counts["+"], counts["-"]) == (signs.count("1"), signs.count("-1"))
    assert ontology.log == ()

"""Edge lists in either direction, with and without types, and DrugCell's and G2PT's files."""

from __future__ import annotations

import pytest

from vnn._errors import OntologyError
from vnn.ontology import read_edges


@pytest.fixture
def edges(tmp_path):
    def write(text):
        path = tmp_path / "edges.txt"
        path.write_text(text)
        return path

    return write


def shape(ontology):
    rows = ontology.relations.itertuples(index=False)
    return {f"{r.child}>{r.parent}:{r.type}" for r in rows}, {
        f"{g}@{t}" for g, t in ontology.annotations[["gene", "term"]].values
    }


DRUGCELL = "top\tmid\tdefault\nmid\tlow\tdefault\nlow\tTP53\tgene\nmid\tEGFR\tgene\n"
EXPECTED = ({"mid>top:part_of", "low>mid:part_of"}, {"TP53@low", "EGFR@mid"})


def test_drugcell(edges):
    ontology = read_edges(edges(DRUGCELL), direction="parent-child")
    assert shape(ontology) == EXPECTED
    assert [str(e) for e in ontology.log] == [
        "read edges: 2 relations read as part_of: their type is 'default': 'low -> mid', 'mid -> top'"
    ]


@pytest.mark.parametrize(
    ("text", "direction"),
    [
        ("parent,child\ntop,mid\nmid,low\nlow,TP53\nmid,EGFR\n", "parent-child"),
        ("child,parent\nmid,top\nlow,mid\nTP53,low\nEGFR,mid\n", "child-parent"),
        ("source,target\nmid,top\nlow,mid\nTP53,low\nEGFR,mid\n", "child-parent"),
        ("mid top\nlow  mid\nTP53 low\n# a comment\nEGFR mid\n", "child-parent"),
        ('"top",mid\nmid, low\nlow,TP53\nmid,EGFR\n', "parent-child"),
    ],
)
def test_headers_separators_and_directions(edges, text, direction):
    assert shape(read_edges(edges(text), direction=direction)) == EXPECTED


def test_a_header_that_contradicts_the_direction_is_refused(edges):
    with pytest.raises(OntologyError, match="use 'child-parent'") as caught:
        read_edges(edges("source,target\na,b\n"), direction="parent-child")
    assert caught.value.__notes__ == ["reading edges.txt, line 1"]
    with pytest.raises(ValueError, match="'parent-child', 'child-parent'"):
        read_edges(edges("a,b\n"), direction="down")


@pytest.mark.parametrize(
    "text",
    ["parent,child\ntop,mid\nmid,low\nlow,TP53\nmid,EGFR\n", "target,source\ntop,mid\nmid,low\nlow,TP53\nmid,EGFR\n"],
)
def test_a_header_tells_the_direction(edges, text):
    assert shape(read_edges(edges(text))) == EXPECTED


def test_without_a_header_the_direction_is_never_guessed(edges):
    with pytest.raises(OntologyError, match=r"does not tell which column is the parent.*direction=") as caught:
        read_edges(edges(DRUGCELL))
    assert caught.value.__notes__ == ["reading edges.txt, line 1"]


def test_columns_by_name(edges):
    text = "Gene\tid\tPathway\tcode\nTP53\t1\tlow\tIDA\nlow\t2\tmid\t\nEGFR\t3\tmid\tTAS\nmid\t4\ttop\t\n"
    columns = {"child": "Gene", "parent": "Pathway", "evidence": "code"}
    ontology = read_edges(edges(text), columns=columns)
    assert shape(ontology) == EXPECTED
    assert set(ontology.annotations["evidence"]) == {"IDA", "TAS"}
    assert [str(entry) for entry in ontology.log] == ["read edges: 1 columns not read: 'id'"]
    with pytest.raises(OntologyError, match="the header lacks 'Set'; it has 'Gene', 'id', 'Pathway', 'code'"):
        read_edges(edges(text), columns={"child": "Gene", "parent": "Set"})
    with pytest.raises(OntologyError, match="columns does not tell which column is the parent"):
        read_edges(edges(text), columns={"child": "Gene"})


def test_how_genes_are_told_can_be_chosen(edges):
    path = edges("a\tb\tis_a\nb\tc\tregulates\n")
    assert shape(read_edges(path, direction="parent-child", genes="none")) == ({"b>a:is_a", "c>b:regulates"}, set())
    assert shape(read_edges(path, direction="parent-child")) == ({"b>a:is_a"}, {"c@b"})
    assert shape(read_edges(path, direction="parent-child", genes="typed")) == ({"b>a:is_a", "c>b:regulates"}, set())


@pytest.mark.parametrize(
    ("text", "says", "line"),
    [
        ("a\tb\nc\n", "this line has 1: 'c'", 2),
        ("a\n", "2 or 3 columns", 1),
        ("a\t\n", "first two not empty", 1),
        ("# only\n", "no edges", None),
    ],
)
def test_ragged_lines_are_located(edges, text, says, line):
    with pytest.raises(OntologyError, match=says) as caught:
        read_edges(edges(text), direction="parent-child")
    assert caught.value.__notes__ == ["reading edges.txt" + (f", line {line}" if line else "")]


def test_self_references_and_cycles(edges):
    ontology = read_edges(edges("a\ta\tx\na\tb\tx\na\tG\tgene\n"), direction="parent-child")
    assert [e.reason for e in ontology.log][-1] == "dropped: a term cannot be its own parent (1 rows)"
    with pytest.raises(OntologyError, match="a -> b -> a"):
        read_edges(edges("a\tb\tx\nb\ta\tx\na\tG\tgene\n"), direction="parent-child")


@pytest.mark.data
def test_drugcell_counts(real):
    ontology = read_edges(real("architectures/drugcell/drugcell_ont.txt.gz"), direction="parent-child")
    assert (len(ontology.terms), len(ontology.relations), len(ontology.genes)) == (2_086, 3_167, 3_008)
    assert len(ontology.annotations) == 59_753
    assert set(ontology.relations["parent"]) - set(ontology.relations["child"]) == {"GO:0008150"}
    listed = real("architectures/drugcell/gene2ind.txt").read_text().split("\n")
    assert set(ontology.genes) == {line.split("\t")[1] for line in listed if line}


@pytest.mark.data
def test_the_whole_gene_ontology_as_edges(real):
    ontology = read_edges(real("go/G2PT_GO_BP_MF_CC_full.txt.gz"), direction="parent-child")
    assert (len(ontology.terms), len(ontology.relations), len(ontology.genes)) == (40_120, 77_921, 1_649)
    repeated = [entry.reason for entry in ontology.log if "repeated" in entry.reason]
    assert len(ontology.annotations) + 23_312 == 41_047
    assert repeated == ["repeated and kept once (23,312 rows)"]
    tops = set(ontology.relations["parent"]) - set(ontology.relations["child"])
    assert tops == {"GO:0008150", "GO:0003674", "GO:0005575"}

"""gene2go: the same rows give what a GAF file gives, and NOT never stays."""

from __future__ import annotations

import pytest

from vnn._errors import OntologyError
from vnn.ontology import read_go
from vnn.ontology.gene2go import read_gene2go

HEADER = "#tax_id\tGeneID\tGO_ID\tEvidence\tQualifier\tGO_term\tPubMed\tCategory\n"
ROWS = [
    "9606\t1\tGO:1\tIDA\tinvolved_in\tfirst\t123|456\tProcess",
    "9606\t2\tGO:1\tIMP\tNOT involved_in\tfirst\t-\tProcess",
    "9606\t3\tGO:2\tND\tenables\tsecond\t-\tFunction",
    "9606\t1\tGO:2\tIEA\t-\tsecond\t-\tFunction",
    "9606\t1\tGO:2\tIEA\t-\tsecond\t99\tFunction",
    "9606\t4\tGO:3\tIPI\tcontributes_to\tthird\t-\tComponent",
]


@pytest.fixture
def gene2go(tmp_path):
    def write(*rows, header=HEADER):
        path = tmp_path / "gene2go"
        path.write_text(header + "".join(row + "\n" for row in rows))
        return path

    return write


def pairs(ontology):
    return {f"{row.gene} {row.term}" for row in ontology.annotations.itertuples()}


def test_rows_names_and_the_log(gene2go):
    ontology = read_gene2go(gene2go(*ROWS))
    assert ontology.annotations.values.tolist() == [
        ["1", "GO:1", "IDA", "involved_in"],
        ["1", "GO:2", "IEA", ""],
        ["4", "GO:3", "IPI", "contributes_to"],
    ]
    assert ontology.terms.values.tolist() == [
        ["first", "biological_process"],
        ["second", "molecular_function"],
        ["third", "cellular_component"],
    ]
    assert [str(entry) for entry in ontology.log] == [
        "read gene2go: 1 annotations removed: no data (ND) (1 rows): '3 @ GO:2'",
        "read gene2go: 1 annotations removed: they say NOT (1 rows): '2 @ GO:1'",
        "read gene2go: 1 annotations repeated and kept once (1 rows): '1 @ GO:2'",
    ]
    assert pairs(read_gene2go(gene2go(*ROWS), without_qualifiers=["contributes_to"])) == {"1 GO:1", "1 GO:2"}


def test_the_taxon_is_chosen(gene2go):
    path = gene2go(*ROWS, "10090\t7\tGO:1\tIDA\tinvolved_in\tfirst\t-\tProcess")
    with pytest.raises(OntologyError, match=r"mixes 2 taxa: 9606 \(6 rows\), 10090 \(1 rows\).*taxon=9606"):
        read_gene2go(path)
    mouse = read_gene2go(path, taxon=10090)
    assert pairs(mouse) == {"7 GO:1"}
    assert mouse.provenance[0]["species"] == "taxon:10090"
    assert str(mouse.log[0]).startswith("read gene2go: 5 annotations removed: not of taxon 10090 (6 rows)")


def test_it_joins_a_hierarchy_like_a_gaf_file(gene2go, tmp_path):
    (tmp_path / "go.obo").write_text("[Term]\nid: GO:1\nname: top\nalt_id: GO:3\n[Term]\nid: GO:2\nis_a: GO:1\n")
    gaf = "!gaf-version: 2.2\n"
    for row in ROWS:
        _, gene, term, evidence, qualifier, _, _, category = row.split("\t")
        fields = [
            "NCBI",
            gene,
            gene,
            qualifier.replace("-", "").replace(" ", "|"),
            term,
            "r",
            evidence,
            "",
            category[0],
        ]
        gaf += "\t".join([*fields, "", "", "protein", "taxon:9606", "d", "NCBI", "", ""]) + "\n"
    (tmp_path / "some.gaf").write_text(gaf)
    joined = read_go(tmp_path / "go.obo", gene2go(*ROWS), taxon=9606, gene="id")
    other = read_go(tmp_path / "go.obo", tmp_path / "some.gaf", taxon=9606, gene="id")
    assert joined.annotations.equals(other.annotations)
    assert joined.gene_sets() == {"GO:1": {"1", "4"}, "GO:2": {"1"}}
    strip = [str(entry).replace("gene2go", "gaf") for entry in joined.log]
    assert strip == [str(entry) for entry in other.log]
    with pytest.raises(OntologyError, match="by their Entrez id, not by symbol: give gene='id'"):
        read_go(tmp_path / "go.obo", gene2go(*ROWS))
    with pytest.raises(ValueError, match="leave `objects` out"):
        read_go(tmp_path / "go.obo", gene2go(*ROWS), gene="id", objects=["protein"])


@pytest.mark.parametrize(
    ("rows", "header", "says", "line"),
    [
        (ROWS[:1], "tax\tgene\n", "the header of gene2go is #tax_id GeneID", 1),
        ([ROWS[0], "9606\t1\tGO:1"], HEADER, "needs 8 fields, the first four not empty; this one has 3", 3),
        ([ROWS[0] + "\tmore"], HEADER, "this one has 9", 2),
        (["9606\t\tGO:1\tIDA\t-\tx\t-\tProcess"], HEADER, "the first four not empty", 2),
    ],
)
def test_flaws_are_located(gene2go, rows, header, says, line):
    with pytest.raises(OntologyError, match=says) as caught:
        read_gene2go(gene2go(*rows, header=header))
    assert caught.value.__notes__ == [f"reading gene2go, line {line}"]

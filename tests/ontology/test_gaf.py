"""GAF: NOT and ND always leave, taxa are told apart, broken lines are numbered."""

from __future__ import annotations

import pytest

from vnn._errors import OntologyError
from vnn.ontology import read_gaf


def row(gene="A", term="GO:1", qualifier="", evidence="IDA", taxon="taxon:9606", kind="protein", aspect="P"):
    return "\t".join(
        [
            "DB",
            f"ID:{gene}",
            gene,
            qualifier,
            term,
            "PMID:1",
            evidence,
            "",
            aspect,
            "name",
            "",
            kind,
            taxon,
            "20260101",
            "DB",
            "",
            "",
        ]
    )


@pytest.fixture
def gaf(tmp_path):
    def write(*lines, version="2.2"):
        path = tmp_path / "some.gaf"
        path.write_text("\n".join([f"!gaf-version: {version}", "!date-generated: 2026-01-01", *lines]) + "\n")
        return path

    return write


def pairs(ontology):
    return {
        f"{gene} {term}" for gene, term in zip(ontology.annotations["gene"], ontology.annotations["term"], strict=True)
    }


def test_not_and_nd_leave_and_are_named(gaf):
    path = gaf(
        row(), row("B", qualifier="NOT|involved_in"), row("C", evidence="ND"), row("D", qualifier="involved_in"), row()
    )
    ontology = read_gaf(path)
    assert pairs(ontology) == {"A GO:1", "D GO:1"}
    assert [str(entry) for entry in ontology.log] == [
        "read gaf: 1 annotations removed: no data (ND) (1 rows): 'C @ GO:1'",
        "read gaf: 1 annotations removed: they say NOT (1 rows): 'B @ GO:1'",
        "read gaf: 1 annotations repeated and kept once (1 rows): 'A @ GO:1'",
    ]
    assert ontology.terms.loc["GO:1", "namespace"] == "biological_process"
    assert ontology.provenance[0]["release"] == "2026-01-01"


def test_the_first_taxon_of_a_dual_field_counts(gaf):
    path = gaf(row(), row("B", taxon="taxon:9606|taxon:1280"), row("C", taxon="taxon:1280|taxon:9606"))
    assert pairs(read_gaf(path, taxon=9606)) == {"A GO:1", "B GO:1"}
    with pytest.raises(OntologyError, match=r"mixes 2 taxa: 9606 \(2 rows\), 1280 \(1 rows\).*taxon=9606"):
        read_gaf(path)


def test_choices(gaf):
    path = gaf(row(), row("B", qualifier="acts_upstream_of_or_within"), row("C", kind="ncRNA"))
    assert pairs(read_gaf(path, gene="id")) == {"ID:A GO:1", "ID:B GO:1", "ID:C GO:1"}
    assert pairs(read_gaf(path, without_qualifiers=["acts_upstream_of"])) == {"A GO:1", "C GO:1"}
    assert pairs(read_gaf(path, objects=["protein"])) == {"A GO:1", "B GO:1"}
    with pytest.raises(ValueError, match="'symbol', 'id'"):
        read_gaf(path, gene="name")


def test_broken_lines_are_numbered(gaf):
    ontology = read_gaf(gaf(row(), "too\tshort", row(gene=""), row() + "\tx\ty"))
    assert pairs(ontology) == {"A GO:1"}
    (broken,) = (entry for entry in ontology.log if entry.kind == "lines")
    assert [name.split(":")[0] for name in broken.names] == ["line 4", "line 5", "line 6"]
    with pytest.raises(OntologyError, match="none of the 1 lines is a GAF row"):
        read_gaf(gaf("<xml>"))
    with pytest.raises(OntologyError, match=r"version 1\.0 is not known") as caught:
        read_gaf(gaf(row(), version="1.0"))
    assert caught.value.__notes__ == ["reading some.gaf, line 1"]


def rows_left_out(ontology, reason):
    return sum(
        int(entry.reason.rsplit("(", 1)[1].split()[0].replace(",", ""))
        for entry in ontology.log
        if reason in entry.reason
    )


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "taxon", "negated", "no_data"),
    [
        ("mgi-exttest.gaf", None, 10, 0),
        ("pombase-test.gaf", None, 0, 1_515),
        ("gene_association.goa_chicken.gz", None, 62, 28),
        # 768 rows say ND; 2 of them are of taxa that are no numbers and leave for that.
        ("test_gene_association_mgi.gaf", 10090, 0, 766),
    ],
)
def test_negated_and_empty_rows_of_real_files(real, name, taxon, negated, no_data):
    ontology = read_gaf(real(f"go/{name}"), taxon=taxon)
    assert rows_left_out(ontology, "NOT") == negated
    assert rows_left_out(ontology, "ND") == no_data


@pytest.mark.data
def test_real_files_mix_taxa_and_evidence_splits_them(real):
    with pytest.raises(OntologyError, match="mixes 3 taxa: 10090"):
        read_gaf(real("go/test_gene_association_mgi.gaf"))
    whole, electronic, rest = (
        read_gaf(real(f"go/test_gene_association_mgi{part}.gaf"), taxon=10090) for part in ("", "-IEA", "-noIEA")
    )
    assert pairs(whole.with_evidence("electronic")) == pairs(electronic)
    others = ["experimental", "high-throughput", "phylogenetic", "computational", "author", "curator"]
    assert pairs(whole.with_evidence(*others)) == pairs(rest)


@pytest.mark.data
def test_the_chicken_file(real):
    ontology = read_gaf(real("go/gene_association.goa_chicken.gz"), gene="id")
    assert ontology.terms["namespace"].value_counts().gt(0).sum() == 3
    assert set(ontology.annotations["evidence"]) >= {"IEA", "ISS", "IBA", "TAS", "IDA"}

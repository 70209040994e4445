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
    assert [name.split(":")[0] for name in broken.names] == [f"some.gaf, line {n}" for n in (4, 5, 6)]
    assert broken.names[0] == "some.gaf, line 4: too\tshort"
    with pytest.raises(OntologyError, match="none of the 1 lines is a GAF row"):
        read_gaf(gaf("<xml>"))
    with pytest.raises(
        OntologyError, match=r"header says .!gaf-version: 1\.0.; GAF 2\.0, 2\.1, 2\.2 are known"
    ) as caught:
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


@pytest.mark.parametrize("version", ["2.0", "2.1", "2.2"])
def test_the_versions_of_gaf_2(gaf, version):
    qualifier = "involved_in" if version == "2.2" else ""
    lines = [row(qualifier=qualifier), row("B", qualifier="NOT" + qualifier.replace("inv", "|inv"))]
    fields = [line.split("\t") for line in lines]
    ontology = read_gaf(gaf(*("\t".join(f[: 15 if version == "2.0" else 17]) for f in fields), version=version))
    assert pairs(ontology) == {"A GO:1"}
    assert [entry.names for entry in ontology.log] == [("B @ GO:1",)]


@pytest.mark.parametrize("header", ["!gaf-version: 1.0", "!gaf-version: 2.25", "!gaf-version:", "!gpa-version: 2.0"])
def test_another_version_or_format_is_refused(gaf, tmp_path, header):
    path = tmp_path / "some.gaf"
    path.write_text(f"!comment\n{header}\n{row()}\n")
    with pytest.raises(OntologyError, match=f"the header says '{header}'; GAF 2.0, 2.1, 2.2 are known") as caught:
        read_gaf(path)
    assert caught.value.__notes__ == ["reading some.gaf, line 2"]


def test_a_file_that_tells_no_version_is_read_and_logged(tmp_path):
    (tmp_path / "some.gaf").write_text(row() + "\n")
    ontology = read_gaf(tmp_path / "some.gaf")
    assert [str(e) for e in ontology.log] == ["read gaf: 1 files without gaf-version: read as GAF 2: 'some.gaf'"]


def test_blank_fields_are_broken_lines_and_contradicting_aspects_are_named(gaf):
    ontology = read_gaf(gaf(row(gene=" "), row(), row("B", aspect="F"), row("C", qualifier="not")))
    assert pairs(ontology) == {"A GO:1", "B GO:1"}
    assert [str(entry) for entry in ontology.log] == [
        "read gaf: 1 annotations removed: they say NOT (1 rows): 'C @ GO:1'",
        "read gaf: 1 terms with more than one namespace: the first is kept: "
        "'GO:1 (biological_process, molecular_function)'",
        "read gaf: 1 lines skipped: not 15 to 17 fields with gene, term, evidence and taxon: "
        + repr(f"some.gaf, line 3: {row(gene=' ')[:60]}"),
    ]
    assert ontology.terms.loc["GO:1", "namespace"] == "biological_process"

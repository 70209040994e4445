"""Translation: tables of one's own, and ontologies whose genes get approved symbols."""

from __future__ import annotations

import gzip

import pandas as pd
import pytest

from vnn._errors import AlignmentError, OntologyError
from vnn.ontology import Identifiers, Ontology
from vnn.ontology.translation import read_translation, translated

HEADER = "symbol\tprev_symbol\talias_symbol\tentrez_id\tensembl_gene_id\tuniprot_ids\tmgd_id"
ROWS = ["TP53\tP53\t\t7157\tENSG00000141510\tP04637\tMGI:98834", "EGFR\tERBB\t\t1956\t\tP00533|P11111\tMGI:95294",
        "MDM2\t\t\t4193\t\tQ00987|P11111\t"]  # fmt: skip


@pytest.fixture
def hgnc(tmp_path) -> Identifiers:
    path = tmp_path / "hgnc.txt"
    path.write_text("\n".join([HEADER, *ROWS]))
    return Identifiers.read(path)


def ontology(*pairs: tuple[str, str]) -> Ontology:
    return Ontology(
        pd.DataFrame({"name": {"a": "", "b": ""}}),
        pd.DataFrame({"child": ["a"], "parent": ["b"], "type": ["is_a"]}),
        pd.DataFrame(list(pairs), columns=["gene", "term"]),
        ({"source": "mine", "files": []},),
    )


@pytest.mark.parametrize(
    "text",
    [
        "1007_s_at\tDDR1 /// MIR4640\n117_at\tHSPA6\n90_at\t---\n",
        '"1007_s_at","DDR1;MIR4640"\n"117_at","HSPA6"\n"90_at",""\n',
        "\ufeff1007_s_at\tDDR1\r\n1007_s_at\tMIR4640\r\n117_at\t HSPA6 \r\n90_at\tNA\r\n117_at\tHSPA6\r\n",
        "#%chip=HG-U133A\n!note\n^PLATFORM\n1007_s_at\tDDR1, MIR4640\n117_at\tHSPA6\n90_at\tnull\n",
    ],
)
def test_two_columns(tmp_path, text):
    (tmp_path / "probes.txt").write_bytes(gzip.compress(text.encode()))
    assert read_translation(tmp_path / "probes.txt") == {
        "1007_s_at": ("DDR1", "MIR4640"),
        "117_at": ("HSPA6",),
        "90_at": (),
    }


def test_two_of_several_columns(tmp_path):
    path = tmp_path / "annot.csv"
    path.write_text('#%x\n"Probe Set ID","Title","Gene Symbol"\n"117_at","heat shock, 70kDa","HSPA6"\n')
    assert read_translation(path, columns=("Probe Set ID", "Gene Symbol")) == {"117_at": ("HSPA6",)}
    with pytest.raises(OntologyError, match=r"3 columns .* say which two") as caught:
        read_translation(path)
    assert caught.value.__notes__ == ["reading annot.csv, line 2"]
    with pytest.raises(ValueError, match="Did you mean 'Gene Symbol'"):
        read_translation(path, columns=("Probe Set ID", "Gene symbol"))


@pytest.mark.parametrize(("text", "what"), [("a\tb\nc\n", "1 cells where"), ("#a\n", "comments and no row")])
def test_tables_that_cannot_be_read(tmp_path, text, what):
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(OntologyError, match=what):
        read_translation(tmp_path / "t.txt")


@pytest.mark.parametrize(
    ("genes", "kind"),
    [
        (("7157", "1956", "99"), "entrez"),
        (("P04637", "P00533", "Q99999"), "uniprot"),
        (("P53", "ERBB", "nobody"), "symbol"),
        (("MGI:98834", "MGI:95294", "MGI:1"), "mgi"),
    ],
)
def test_an_ontology_of_ids_becomes_one_of_symbols(hgnc, genes, kind):
    one, other, stranger = genes
    before = ontology((one, "a"), (one, "b"), (other, "b"), (stranger, "a"))
    after = translated(before, hgnc)
    assert after.gene_sets(propagated=False) == {"a": {"TP53"}, "b": {"TP53", "EGFR"}}
    pd.testing.assert_frame_equal(after.terms, before.terms)
    pd.testing.assert_frame_equal(after.relations, before.relations)
    assert after.provenance == (*before.provenance, hgnc.provenance)
    entries = {entry.reason: entry for entry in after.log}
    assert all(entry.step == "translate" for entry in after.log)
    assert entries["dropped: they lead to no symbol"].names == (stranger,)
    assert entries["not found in HGNC"].names == (stranger,)


def test_one_id_of_several_genes_and_several_ids_of_one_gene(hgnc):
    after = translated(ontology(("P11111", "a"), ("P00533", "a"), ("P04637", "a"), ("P04637-2", "a")), hgnc)
    assert after.genes == ("EGFR", "MDM2", "TP53")
    assert len(after.annotations) == 3
    entries = {entry.reason: entry.names for entry in after.log}
    assert entries["stand for several genes each"] == ("P11111 -> EGFR, MDM2",)
    assert entries["became equal and are kept once"] == ("EGFR @ a", "TP53 @ a")


def test_translating_twice_is_translating_once(hgnc):
    once = translated(ontology(("P53", "a"), ("EGFR", "b"), ("nobody", "b")), hgnc)
    pd.testing.assert_frame_equal(translated(once, hgnc).annotations, once.annotations)


def test_an_ontology_of_another_species_needs_a_table(hgnc):
    mouse = ontology(("Trp53", "a"), ("Egfr", "b"))
    with pytest.raises(AlignmentError, match="symbol and MGI or RGD id"):
        translated(mouse, hgnc)
    after = translated(mouse, hgnc, through={"Trp53": ["MGI:98834"], "Egfr": ["MGI:95294"]})
    assert after.gene_sets(propagated=False) == {"a": {"TP53"}, "b": {"EGFR"}}


def test_spelling_is_not_repaired_because_bacteria_have_such_genes(hgnc):
    after = translated(ontology(("mdm2", "a"), ("TP53", "b")), hgnc)
    assert after.genes == ("TP53",)
    assert hgnc.resolve(["mdm2"]).genes == {"mdm2": ("MDM2",)}
    assert hgnc.resolve(["mdm2", "1-Mar"], "symbol", repair=False).unmapped == ("1-Mar", "mdm2")


def test_an_ontology_of_strangers_is_refused(hgnc):
    with pytest.raises(OntologyError, match=r"none of the ontology's 2 genes \('YFG1', 'YFG2'\) leads to a symbol"):
        translated(ontology(("YFG1", "a"), ("YFG2", "b")), hgnc)


def test_translated_ontologies_are_wired(hgnc):
    resolved = hgnc.resolve(["ENSG00000141510.18", "EGFR"])
    topology = translated(ontology(("7157", "a"), ("1956", "b")), hgnc).topology(resolved.genes, min_genes=1)
    assert topology.inputs == ("EGFR", "ENSG00000141510.18")

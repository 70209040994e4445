"""Identifiers: precedence, ambiguity, dates, and HGNC's own numbers."""

from __future__ import annotations

import pytest

from vnn._errors import AlignmentError, OntologyError
from vnn.ontology import Identifiers, guess_type

TABLE = """symbol\tname\tprev_symbol\talias_symbol\tentrez_id\tensembl_gene_id\tuniprot_ids
NEW\tx\tOLD|SHARED\tnick\t1\tENSG00000000001\tP11111
OTHER\tx\tNEW|SHARED\tnick|OLD\t2\tENSG00000000002\tP22222|P11111
MARCHF5\tx\tMARCH5\t\t3\tENSG00000000003\tP33333
MARCHF1\tx\tMARCH1\t\t4\tENSG00000000004\tP44444
MTARC1\tx\tMARC1\t\t5\tENSG00000000005\tP55555
SEPTIN2\tx\t"SEPT2"\t\t6\tENSG00000000006\tP66666
SEPTIN6\tx\t\tSEP2|SEPT2\t7\tENSG00000000007\tP77777
"""


@pytest.fixture
def hgnc(tmp_path) -> Identifiers:
    path = tmp_path / "hgnc.txt"
    path.write_text(TABLE)
    return Identifiers.read(path)


@pytest.mark.parametrize(
    ("name", "genes", "how"),
    [
        ("NEW", ("NEW",), "approved"),
        ("OLD", ("NEW",), "previous"),
        ("nick", (), "ambiguous"),
        ("SHARED", (), "ambiguous"),
        ("SEPT2", ("SEPTIN2",), "previous"),
        ("SEP2", ("SEPTIN6",), "alias"),
        ("5-Mar", ("MARCHF5",), "date"),
        ("Mar-05", ("MARCHF5",), "date"),
        ("1-Mar", (), "ambiguous"),
        ("2-Sep", ("SEPTIN2",), "date"),
        ("9-Sep", (), "unmapped"),
        ("nobody", (), "unmapped"),
    ],
)
def test_precedence(hgnc, name, genes, how):
    found = hgnc.resolve([name], type="symbol")
    assert (found.genes[name], found.how[name]) == (genes, how)


def test_a_symbol_that_another_gene_took_over_is_never_followed(hgnc):
    assert hgnc.previous["NEW"] == ("OTHER",)
    assert hgnc.resolve(["NEW"]).genes == {"NEW": ("NEW",)}


@pytest.mark.parametrize(
    ("names", "kind", "genes"),
    [
        (["ENSG00000000001", "ENSG00000000002.14"], "ensembl", [("NEW",), ("OTHER",)]),
        (["1", "99"], "entrez", [("NEW",), ()]),
        (["P22222-3", "P11111"], "uniprot", [("OTHER",), ("NEW", "OTHER")]),
    ],
)
def test_ids_of_databases(hgnc, names, kind, genes):
    found = hgnc.resolve(names)
    assert found.type == kind
    assert list(found.genes.values()) == genes


def test_everything_that_is_not_plain_is_counted_and_named(hgnc):
    found = hgnc.resolve(["NEW", "OLD", "SEPT2", "SEP2", "5-Mar", "nick", "nobody"])
    assert found.counts == {"alias": 1, "ambiguous": 1, "approved": 1, "date": 1, "previous": 2, "unmapped": 1}
    assert found.unmapped == ("nobody",)
    assert found.ambiguous == {"nick": ("NEW", "OTHER")}
    assert [str(entry) for entry in found.log] == [
        "resolve: 2 features followed: they are previous symbols: 'OLD -> NEW', 'SEPT2 -> SEPTIN2'",
        "resolve: 1 features followed: they are aliases: 'SEP2 -> SEPTIN6'",
        "resolve: 1 features repaired: they are dates a spreadsheet made of symbols: '5-Mar -> MARCHF5'",
        "resolve: 2 features followed: symbols that were renamed because spreadsheets make dates of them: "
        "'SEP2 -> SEPTIN6', 'SEPT2 -> SEPTIN2'",
        "resolve: 1 genes are reached from several names: 'NEW'",
        "resolve: 1 features not followed: ambiguous: 'nick -> NEW or OTHER'",
        "resolve: 1 features not found in HGNC: 'nobody'",
    ]
    assert found.table().loc["OLD"].tolist() == ["NEW", "previous"]


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["TP53", "HLA-A", "C1orf112", "MT-CO1"], "symbol"),
        (["ENSG00000141510.18", "ENSMUSG00000059552", "TP53"], "ensembl"),
        (["P04637", "Q9Y6K9-2", "A0A024R161"], "uniprot"),
        (["7157", "1956"], "entrez"),
        (["1007_s_at", "117_at", "TP53"], "unknown"),
        ([], "unknown"),
    ],
)
def test_guess(names, kind):
    assert guess_type(names) == kind


def test_what_cannot_be_guessed_or_read_says_so(hgnc, tmp_path):
    with pytest.raises(AlignmentError, match="do not look like symbols"):
        hgnc.resolve(["1007_s_at", "117_at"])
    with pytest.raises(ValueError, match="Did you mean 'ensembl'"):
        hgnc.resolve(["TP53"], type="ensemble")
    assert hgnc.resolve([]).genes == {}
    (tmp_path / "wrong.txt").write_text("a\tb\n")
    with pytest.raises(OntologyError, match="lacks the columns 'symbol'"):
        Identifiers.read(tmp_path / "wrong.txt")


@pytest.fixture(scope="module")
def table(real) -> Identifiers:
    return Identifiers.read(real("geneid/hgnc_complete_set.txt.gz"))


@pytest.mark.data
class TestHgnc:
    def test_sizes(self, table):
        assert len(table.approved) == 19_290 + 14_471 + 9_120 + 1_001
        assert len(table.entrez) == 43_813

    def test_names_that_are_approved_symbols(self, table):
        previous, alias = (set(names) & table.approved for names in (table.previous, table.alias))
        assert (len(previous), len(alias)) == (230, 460)
        # Of these, 2 and 1 are a former name of the gene that has the symbol now; the others are of another gene.
        assert sum(table.previous[name] != (name,) for name in previous) == 228
        assert sum(table.alias[name] != (name,) for name in alias) == 459
        found = table.resolve(previous | alias, type="symbol")
        assert all(found.genes[name] == (name,) for name in previous | alias)

    def test_ambiguous_names(self, table):
        assert sum(len(genes) > 1 for genes in table.previous.values()) == 85
        assert sum(len(genes) > 1 for genes in table.alias.values()) == 1_076
        assert sum(len(genes) > 1 for genes in table.uniprot.values()) == 74

    def test_known_genes(self, table):
        found = table.resolve(["TP53", "MLL", "SEPT2", "HIF2A", "2-Sep", "Mar-05", "1-Mar"])
        assert list(found.genes.values()) == [
            ("TP53",),
            ("KMT2A",),
            ("SEPTIN2",),
            ("EPAS1",),
            ("SEPTIN2",),
            ("MARCHF5",),
            (),
        ]
        assert found.ambiguous == {"1-Mar": ("MARCHF1", "MTARC1")}

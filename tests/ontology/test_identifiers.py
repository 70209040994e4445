"""Identifiers: precedence, rules, species, the promise that nothing vanishes, and HGNC's own numbers."""

from __future__ import annotations

import csv
import gzip
import time
from collections import defaultdict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vnn._errors import AlignmentError
from vnn.ontology import Identifiers

TABLE = """symbol\tname\tprev_symbol\talias_symbol\tentrez_id\tensembl_gene_id\tuniprot_ids\thgnc_id\tmgd_id\trgd_id
NEW\tx\tOLD|SHARED\tnick\t1\tENSG00000000001\tP11111\tHGNC:1\tMGI:1\tRGD:1|RGD:2
OTHER\tx\tNEW|SHARED\tnick|OLD\t2\tENSG00000000002\tP22222|P11111\tHGNC:2\tMGI:2|MGI:3\tRGD:3
MARCHF5\tx\tMARCH5\t\t3\tENSG00000000003\tP33333\tHGNC:3\tMGI:4\tRGD:3
MARCHF1\tx\tMARCH1\t\t4\tENSG00000000004\tP44444\tHGNC:4\tMGI:4\t
MTARC1\tx\tMARC1\t\t5\tENSG00000000005\tP55555\tHGNC:5\t\tRGD:5
SEPTIN2\tx\t"SEPT2"\t\t6\tENSG00000000006\tP66666\tHGNC:6\tMGI:6\t
SEPTIN6\tx\t\tSEP2|SEPT2\t7\tENSG00000000007\tP77777\tHGNC:7\tMGI:7\t
HLA-A\tx\tHLAA\tNA|52\t8\tENSG00000000008\tP88888\tHGNC:8\t\t
C1orf9\tx\tLOC99\t\t9\t\t\tHGNC:9\t\t
H2AC11\tx\t\t\t10\t\tQ10000\tHGNC:10\t\t
"""


def build(folder) -> Identifiers:
    path = folder / "hgnc.txt"
    path.write_text(TABLE)
    return Identifiers.read(path)


@pytest.fixture(scope="module")
def hgnc(tmp_path_factory) -> Identifiers:
    return build(tmp_path_factory.mktemp("hgnc"))


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
        ("2021-03-05", ("MARCHF5",), "date"),
        ("3/5/2021", ("MARCHF5",), "date"),
        ("1-Mar", (), "ambiguous"),
        ("2-Sep", ("SEPTIN2",), "date"),
        ("9-Sep", (), "unmapped"),
        ("nobody", (), "unmapped"),
        (" NEW\t", ("NEW",), "approved"),
        ("'NEW", ("NEW",), "approved"),
        ("new", ("NEW",), "case"),
        ("C1ORF9", ("C1orf9",), "case"),
        ("hlaa", ("HLA-A",), "case"),
        ("HLA.A", ("HLA-A",), "dots"),
        ("New", (), "rodent"),
        ("Newt", (), "unmapped"),
        ("LOC99", ("C1orf9",), "previous"),
        ("LOC3", ("MARCHF5",), "entrez"),
        ("LOC98", (), "unmapped"),
        ("NA", (), "empty"),
        ("---", (), "empty"),
        ("", (), "empty"),
        ("52", (), "unmapped"),
        ("1", (), "unmapped"),
        ("H2AC11", ("H2AC11",), "approved"),
        ("?|3", ("MARCHF5",), "entrez"),
        ("OLD|3", ("MARCHF5",), "entrez"),
        ("OLD|999", ("NEW",), "previous"),
        ("OLD (3)", ("MARCHF5",), "entrez"),
        ("NEW;OTHER;nobody", ("NEW", "OTHER"), "group"),
        ("NEW /// OTHER", ("NEW", "OTHER"), "group"),
        ("OLD;NEW", ("NEW",), "group"),
        ("nick;nobody", (), "ambiguous"),
        ("CON__P11111", (), "decoy"),
        ("ENST00000000001", (), "transcript"),
        ("NM_000001", (), "refseq"),
        ("1007_s_at", (), "probe"),
        ("P53_HUMAN", (), "entry"),
        ("ENSMUSG00000000001", (), "foreign"),
        ("ENSG00000000003.4", ("MARCHF5",), "ensembl"),
        ("P33333-2", ("MARCHF5",), "uniprot"),
    ],
)
def test_one_name_among_symbols(hgnc, name, genes, how):
    found = hgnc.resolve([name, "NEW", "OTHER", "MTARC1"], type="symbol")
    assert (found.genes[name], found.how[name]) == (genes, how)


def test_a_symbol_that_another_gene_took_over_is_never_followed(hgnc):
    assert hgnc.previous["NEW"] == ("OTHER",)
    assert hgnc.resolve(["NEW"]).genes == {"NEW": ("NEW",)}


@pytest.mark.parametrize(
    ("names", "kind", "genes"),
    [
        (["ENSG00000000001", "ENSG00000000002.14"], "ensembl", [("NEW",), ("OTHER",)]),
        (["1", "99", "3.0"], "entrez", [("NEW",), (), ("MARCHF5",)]),
        (["NCBIGene:1", "hsa:2"], "entrez", [("NEW",), ("OTHER",)]),
        (["P22222-3", "P11111", "sp|P33333|X_HUMAN"], "uniprot", [("OTHER",), ("NEW", "OTHER"), ("MARCHF5",)]),
        (["P33333;P33333-2", "P33333;P66666", "P66666;CON__P33333"], "uniprot",
         [("MARCHF5",), ("MARCHF5", "SEPTIN2"), ("SEPTIN2",)]),
        (["HGNC:3"], "hgnc", [("MARCHF5",)]),
        (["MGI:1", "MGI:2", "MGI:4", "MGI:MGI:6"], "mgi", [("NEW",), (), (), ("SEPTIN2",)]),
        (["RGD:1", "RGD:3", "RGD:5"], "rgd", [(), (), ("MTARC1",)]),
    ],
)  # fmt: skip
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
        "resolve: 2 features followed: they are symbols a spreadsheet would take for dates: "
        "'SEP2 -> SEPTIN6', 'SEPT2 -> SEPTIN2'",
        "resolve: 1 genes are reached from several names: 'NEW'",
        "resolve: 1 features not followed: ambiguous: 'nick -> NEW or OTHER'",
        "resolve: 1 features not found in HGNC: 'nobody'",
    ]
    assert found.table().loc["OLD"].tolist() == ["NEW", "previous"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (" NEW", "read without blanks and quotes: ' NEW -> NEW'"),
        ("ENSG00000000003.4", "read without the version of the Ensembl id: 'ENSG00000000003.4 -> ENSG00000000003'"),
        ("ENSG00000000003", "read by their own type, Ensembl ids: 'ENSG00000000003 -> MARCHF5'"),
        ("P33333-2", "read without the isoform of the protein: 'P33333-2 -> P33333'"),
        ("LOC3", "read by their own type, Entrez ids: 'LOC3 -> MARCHF5'"),
        ("sp|P33333|X", "read without the rest of a FASTA header: 'sp|P33333|X -> P33333'"),
        ("NEW|1", "read by their Entrez id, or by their symbol where HGNC does not know the id: 'NEW|1 -> NEW'"),
        ("OLD|3", "although their symbol is of another gene: 'OLD|3 -> MARCHF5 by the id, NEW by the symbol'"),
        ("NEW;OTHER", "groups, read as the genes of all their members: 'NEW;OTHER -> NEW, OTHER'"),
        ("NEW;OTHER", "stand for several genes each: 'NEW;OTHER -> NEW, OTHER'"),
        ("NEW;nobody", "groups, read without members that lead to no gene: 'NEW;nobody -> nobody'"),
        ("HLA.A", "followed: they are symbols with dots for hyphens, as R writes them: 'HLA.A -> HLA-A'"),
        ("C1ORF9", "followed: they are symbols in other letters, large or small: 'C1ORF9 -> C1orf9'"),
        ("CON__P1", "not followed: they are contaminants or decoys of a protein search: 'CON__P1'"),
        ("---", "not followed: they are no names: '---'"),
        ("MGI:4", "not followed: they have no ortholog that is theirs alone: 'MGI:4'"),
        ("ENST00000000001", "Ensembl transcript ids; sum the transcripts of each gene first"),
        ("Hla-a", "not followed: they are gene symbols as mouse and rat spell them"),
    ],
)
def test_each_rule_is_an_entry(hgnc, name, says):
    found = hgnc.resolve([name, "SEPTIN2", "SEPTIN6"], type="symbol")
    assert any(says in str(entry) for entry in found.log), [str(entry) for entry in found.log]


def test_what_cannot_be_read_says_what_to_do(hgnc):
    with pytest.raises(AlignmentError, match=r"look like probes of an array \('1007_s_at'.*read_translation"):
        hgnc.resolve(["1007_s_at", "117_at"])
    with pytest.raises(AlignmentError, match="look like Ensembl transcript ids"):
        hgnc.resolve(["ENST00000269305.9"])
    with pytest.raises(AlignmentError, match="do not look like symbols"):
        hgnc.resolve(["feature 1", "feature 2"])
    with pytest.raises(ValueError, match="Did you mean 'ensembl'"):
        hgnc.resolve(["TP53"], type="ensemble")  # type: ignore[arg-type]
    assert hgnc.resolve([]).genes == {}
    assert hgnc.resolve(["---", "NA"]).unmapped == ("---", "NA")


@pytest.mark.parametrize("kind", [None, "symbol"])
def test_symbols_of_mouse_are_never_taken_in_capitals(hgnc, kind):
    with pytest.raises(
        AlignmentError, match=r"spell them \('New', 'Other', 'Septin2' and 1 more\), and 3 of them .* MRK_List2"
    ):
        hgnc.resolve(["New", "Other", "Septin2", "Gm42"], type=kind)
    assert hgnc.resolve(["Sample1", "Sample2"], type=kind).unmapped == ("Sample1", "Sample2")


def test_a_table_without_orthologs_says_so(tmp_path):
    header, *rows = (line.split("\t")[:-2] for line in TABLE.splitlines())
    (tmp_path / "small.txt").write_text("\n".join("\t".join(row) for row in [header, *rows]))
    small = Identifiers.read(tmp_path / "small.txt")
    with pytest.raises(AlignmentError, match="resolved by the column 'mgd_id', which this table does not have"):
        small.resolve(["MGI:1"])


def test_through_a_table_of_ones_own(hgnc):
    table = {"1007_s_at": ("OLD", "OTHER"), "117_at": ("SEPT2",), "200_at": (), "New": "MGI:1", "Old": ["MGI:4"]}
    found = hgnc.resolve(["1007_s_at", "X117_at", "200_at", "900_at"], through=table)
    assert found.genes == {"1007_s_at": ("NEW", "OTHER"), "X117_at": ("SEPTIN2",), "200_at": (), "900_at": ()}
    assert [found.how[name] for name in ("X117_at", "200_at")] == ["previous", "untranslated"]
    said = [str(entry) for entry in found.log]
    assert "resolve: 2 features translated by the table given: '1007_s_at -> OLD, OTHER', 'X117_at -> SEPT2'" in said
    assert "resolve: 2 features not followed: the table of translations does not have them: '200_at', '900_at'" in said
    mouse = hgnc.resolve(["New", "Old"], through=table)
    assert (mouse.type, mouse.genes) == ("mgi", {"New": ("NEW",), "Old": ()})


NAMES = st.one_of(
    st.sampled_from([cell for line in TABLE.splitlines() for column in line.split("\t") for cell in column.split("|")]),
    st.sampled_from(["5-Mar", "1-Mar", "new", "HLA.A", "OLD|3", "P1;P33333", "ENST00000000001", "CON__P1", "LOC3"]),
    st.text(max_size=12),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(NAMES, unique=True, max_size=12),
    st.sampled_from(["symbol", "ensembl", "entrez", "uniprot", "hgnc", "mgi", "rgd"]),
    st.randoms(use_true_random=False),
)
def test_nothing_vanishes_order_does_not_matter_and_symbols_stay(hgnc, names, kind, chance):
    names = [name for name in names if name not in ("New", "Old")]
    found = hgnc.resolve(names, type=kind)
    assert set(found.genes) == set(found.how) == set(names)
    lost = {name for name, genes in found.genes.items() if not genes}
    named = [name for entry in found.log if entry.reason.startswith("not ") for name in entry.names]
    assert len(named) == len(lost)
    assert all(any(said == name or said.startswith(f"{name} -> ") for said in named) for name in lost)
    assert set(found.unmapped) | set(found.ambiguous) == lost
    assert all(set(genes) <= hgnc.approved for genes in found.genes.values())
    assert all(found.genes[name] == (name,) for name in names if name in hgnc.approved)
    genes = sorted({gene for genes in found.genes.values() for gene in genes})
    again = hgnc.resolve(genes, type=kind)
    assert again.genes == {gene: (gene,) for gene in genes}
    assert again.log == ()
    mixed = list(names)
    chance.shuffle(mixed)
    shuffled = hgnc.resolve(mixed, type=kind)
    assert (shuffled.genes, shuffled.how, shuffled.log) == (found.genes, found.how, found.log)


@pytest.fixture(scope="module")
def table(real, tmp_path_factory) -> Identifiers:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VNN_CACHE", str(tmp_path_factory.mktemp("cache")))
        return Identifiers.read(real("geneid/hgnc_complete_set.txt.gz"))


@pytest.fixture(scope="module")
def rows(real) -> list[dict[str, str]]:
    with gzip.open(real("geneid/hgnc_complete_set.txt.gz"), "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def leads(rows, column) -> dict[str, set[str]]:
    found = defaultdict(set)
    for row in rows:
        for name in filter(None, row[column].split("|")):
            found[name].add(row["symbol"])
    return found


@pytest.mark.data
class TestHgnc:
    def test_names_that_are_approved_symbols(self, table, rows):
        approved = {row["symbol"] for row in rows}
        previous, alias = leads(rows, "prev_symbol"), leads(rows, "alias_symbol")
        assert (len(previous.keys() & approved), len(alias.keys() & approved)) == (230, 460)
        # Of these, 2 and 1 are a former name of the gene that has the symbol now; the others are of another gene.
        assert sum(previous[name] != {name} for name in previous.keys() & approved) == 228
        assert sum(alias[name] != {name} for name in alias.keys() & approved) == 459
        taken = (previous.keys() | alias.keys()) & approved
        assert table.resolve(taken, type="symbol").genes == {name: (name,) for name in taken}

    def test_every_symbol_by_precedence(self, table, rows):
        approved = {row["symbol"] for row in rows}
        previous, alias = leads(rows, "prev_symbol"), leads(rows, "alias_symbol")
        assert sum(len(genes) > 1 for genes in previous.values()) == 85
        assert sum(len(genes) > 1 for genes in alias.values()) == 1_076
        plain = {
            name for name in {*approved, *previous, *alias} if name.isalpha() and name.upper() not in ("NA", "NAN")
        }
        found = table.resolve(plain, type="symbol")
        for name in plain:
            genes = {name} if name in approved else previous.get(name) or alias[name]
            assert found.genes[name] == (tuple(genes) if len(genes) == 1 else ())
            assert found.ambiguous.get(name, ()) == (tuple(sorted(genes)) if len(genes) > 1 else ())

    @pytest.mark.parametrize(
        ("kind", "column", "n", "several"),
        [
            ("entrez", "entrez_id", 43_813, 0),
            ("ensembl", "ensembl_gene_id", 41_243, 1),  # 41,244 genes: one id is that of two
            ("uniprot", "uniprot_ids", 20_250, 74),
            ("hgnc", "hgnc_id", 43_882, 0),
        ],
    )
    def test_every_id(self, table, rows, kind, column, n, several):
        known = leads(rows, column)
        assert (len(known), sum(len(genes) > 1 for genes in known.values())) == (n, several)
        found = table.resolve(known)
        assert found.type == kind
        assert found.genes == {name: tuple(sorted(genes)) for name, genes in known.items()}

    @pytest.mark.parametrize(
        ("kind", "column", "n", "alone"), [("mgi", "mgd_id", 19_763, 17_344), ("rgd", "rgd_id", 18_945, 18_937)]
    )
    def test_mouse_and_rat_one_to_one(self, table, rows, kind, column, n, alone):
        known = leads(rows, column)
        many = {name for row in rows if "|" in row[column] for name in row[column].split("|")}
        one = {name: tuple(genes) for name, genes in known.items() if len(genes) == 1 and name not in many}
        assert (len(known), len(one)) == (n, alone)
        found = table.resolve(known)
        assert {name: genes for name, genes in found.genes.items() if genes} == one
        (entry,) = (entry for entry in found.log if "theirs alone" in entry.reason)
        assert set(entry.names) == known.keys() - one.keys()

    def test_known_genes(self, table):
        found = table.resolve(["TP53", "MLL", "SEPT2", "HIF2A", "2-Sep", "Mar-05", "1-Mar", "LOC81691", "HLA.A"])
        assert list(found.genes.values()) == [
            ("TP53",), ("KMT2A",), ("SEPTIN2",), ("EPAS1",), ("SEPTIN2",), ("MARCHF5",), (), ("REXO5",), ("HLA-A",),
        ]  # fmt: skip
        assert found.ambiguous == {"1-Mar": ("MARCHF1", "MTARC1")}

    @pytest.mark.parametrize(
        ("stem", "months"), [("MARCH", ("Mar",)), ("SEPT", ("Sep", "Sept")), ("MARC", ("Mar",)), ("DEC", ("Dec",))]
    )
    def test_every_symbol_a_spreadsheet_spoils(self, table, rows, stem, months):
        previous = leads(rows, "prev_symbol")
        rivals = {"MARCH": "MARC", "MARC": "MARCH"}
        for number in range(1, 32):
            if genes := previous.get(f"{stem}{number}", set()):
                meant = genes | previous.get(f"{rivals.get(stem)}{number}", set())
                for date in (f"{number}-{month}" for month in months):
                    found = table.resolve([date], type="symbol")
                    assert {*found.genes[date], *found.ambiguous.get(date, ())} == meant

    def test_from_the_cache_it_is_there_in_a_second(self, real, tmp_path, monkeypatch):
        monkeypatch.setenv("VNN_CACHE", str(tmp_path))
        path = real("geneid/hgnc_complete_set.txt.gz")
        first = Identifiers.read(path)
        start = time.process_time()
        second = Identifiers.read(path)
        assert second.resolve(["TP53", "MLL", "nobody"]).how == first.resolve(["TP53", "MLL", "nobody"]).how
        assert time.process_time() - start < 1

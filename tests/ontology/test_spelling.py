"""Spelling: what names look like, what is taken off them, and which days spreadsheets make of symbols."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vnn.ontology.spelling import FORMS, WORDS, apart, day_of, days, form_of, guess_type, identify, unwrap

EXAMPLES = {
    "symbol": ["TP53", "HLA-A", "C1orf112", "CXorf58", "MT-CO1", "p53", "HLA.A", " TP53 ", "TP53|7157", "TP53 (7157)"],
    "ensembl": ["ENSG00000141510", "ENSG00000141510.18", "ENSG00000182378.15_PAR_Y", "ENSG00000141510_TP53"],
    "foreign": ["ENSMUSG00000059552", "ENSRNOG00000010756.5", "ENSGALG00000000003"],
    "transcript": ["ENST00000269305.9", "ENSMUST00000108658"],
    "protein": ["ENSP00000269305", "ENSMUSP00000104298.4"],
    "refseq": ["NM_000546.6", "NP_000537", "XR_001737", "NR_015380"],
    "entrez": ["7157", "7157.0", "LOC81691", "NCBIGene:7157", "hsa:7157", "GeneID:7157"],
    "uniprot": ["P04637", "Q9Y6K9-2", "A0A024R161", "P04637;Q00987", "sp|P04637|P53_HUMAN", "UniProtKB:P04637"],
    "entry": ["P53_HUMAN", "TRP53_MOUSE"],
    "hgnc": ["HGNC:11998", "HGNC:HGNC:11998"],
    "mgi": ["MGI:98834", "MGI:MGI:98834"],
    "rgd": ["RGD:3889"],
    "probe": ["1007_s_at", "117_at", "31307_r_at", "X200726_at", "AFFX-BioB-5_at", "ILMN_1343291", "cg00000029"],
    "rodent": ["Trp53", "Brca1", "mt-Nd1", "1700010I14Rik", "Gm10354", "Hba-a1"],
    "date": ["1-Mar", "Mar-01", "2-Sept", "01-Mar-2021", "2021-03-01", "2021-03-01 00:00:00", "3/1/2021", "SEP-02"],
    "unknown": ["", "---", "feature 1", "TGGCA_1_x", "12ab"],
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in EXAMPLES.items() for name in names])
def test_form(kind, name):
    assert form_of(name) == kind


def test_every_form_has_words_and_an_example():
    assert set(FORMS) | {"date", "unknown"} == set(WORDS) == set(EXAMPLES)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["TP53", "HLA-A", "P04637"], "symbol"),
        (["ENSG00000141510.18", "ENSG00000141510", "TP53"], "ensembl"),
        (["P04637", "Q9Y6K9-2;P1", "A0A024R161"], "uniprot"),
        (["1007_s_at", "117_at", "TP53"], "probe"),
        (["7157", "TP53"], "unknown"),
        ([], "unknown"),
    ],
)
def test_guess(names, kind):
    assert guess_type(names) == kind


def test_identify_gives_shares_the_largest_first():
    found = identify(["TP53", "EGFR", "ENSG00000141510", "7157", "MYC"])
    assert list(found.items()) == [("symbol", 0.6), ("ensembl", 0.2), ("entrez", 0.2)]
    assert identify([]) == {}


@settings(deadline=None)
@given(st.permutations(["TP53", "Trp53", "ENSG00000141510", "7157", "P04637", "x y"]))
def test_the_order_of_names_does_not_matter(names):
    assert list(identify(names).items()) == list(identify(sorted(names)).items())


@pytest.mark.parametrize(
    ("name", "inside", "steps"),
    [
        (" 'ENSG00000141510.18'", "ENSG00000141510", 2),
        ("ENSG00000182378.15_PAR_Y", "ENSG00000182378", 1),
        ("sp|P04637-2|P53_HUMAN", "P04637", 2),
        ("LOC7157", "NCBIGene:7157", 1),
        ("AC012345.1", "AC012345.1", 0),
        ("NKX2-1", "NKX2-1", 0),
        ("ENST00000269305.9", "ENST00000269305.9", 0),
    ],
)
def test_unwrap(name, inside, steps):
    found, taken = unwrap(name)
    assert (found, len(taken)) == (inside, steps)
    assert unwrap(found) == (inside, ())


@settings(deadline=None)
@given(st.text(max_size=30))
def test_unwrapping_twice_is_unwrapping_once(name):
    bare, steps = unwrap(name)
    assert unwrap(bare)[0] == bare
    assert bare == (steps[-1][1] if steps else name)


@settings(deadline=None)
@given(st.dates(datetime.date(2001, 1, 1), datetime.date(2030, 12, 31)))
def test_every_date_a_spreadsheet_writes_stands_for_its_day(date):
    day = (date.month, date.day)
    for form in ("%d-%b", "%b-%d", "%d-%b-%y", "%d-%b-%Y", "%Y-%m-%d", "%Y-%m-%d 00:00:00", "%d.%b"):
        assert days(date.strftime(form)) == {day}
        assert days(date.strftime(form).upper()) == {day}
    assert days(f"{date.day}-{date:%b}") == {day}
    for form in ("%m/%d/%Y", "%d/%m/%Y", "%d.%m.%y"):
        assert day in days(date.strftime(form))
    for word in {f"{date:%b}", f"{date:%B}", f"{date:%B}"[:4]}:
        assert day_of(f"{word.upper()}{date.day}") == day_of(f"{word}-{date.day}") == day


@pytest.mark.parametrize("name", ["SEPTIN2", "MARCHF1", "DEC205", "MARK1", "DECR1", "SEP", "MAR0", "SEPT32", "TP53"])
def test_symbols_no_spreadsheet_takes_for_a_day(name):
    assert day_of(name) is None
    assert days(name) == set()


@pytest.mark.parametrize(
    ("features", "genes", "says"),
    [
        (
            ["ENSG00000141510", "ENSG00000146648", "ENSG00000136997", "spike 1"],
            ["TP53", "EGFR"],
            "your 4 features look like Ensembl ids (75 %: 'ENSG00000141510', 'ENSG00000146648', 'ENSG00000136997'), "
            "the ontology's 2 genes look like gene symbols (100 %: 'TP53', 'EGFR'): give HGNC's table, "
            'data.identifiers = "hgnc_complete_set.txt" in a study, or wire '
            "Identifiers.read(path).resolve(features).genes.",
        ),
        (["TP53"], ["7157"], "and translated(ontology, Identifiers.read(path)) for the ontology."),
        (["1007_s_at"], ["TP53"], "give a table of two columns, probe and gene"),
        (["TP53"], ["Trp53", "Egfr"], "give a table of two columns, symbol and MGI or RGD id"),
        (["ENST00000269305"], ["TP53"], "sum the transcripts of each gene first"),
        (["TP53"], ["YFG1"], "both are written alike, so check species, release"),
        (["sample 1"], ["TP53"], "names of no known type ('sample 1'), the ontology's 1 genes"),
    ],
)
def test_two_sides_that_do_not_meet_are_told_apart(features, genes, says):
    assert says in apart(features, genes)

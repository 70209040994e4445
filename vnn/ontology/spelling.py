"""How identifiers of genes are written, and what spreadsheets, R and search engines make of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, cast

from vnn._errors import culprits

IdentifierType = Literal[
    "symbol", "ensembl", "entrez", "uniprot", "hgnc", "mgi", "rgd",
    "rodent", "foreign", "transcript", "protein", "refseq", "entry", "probe", "date", "unknown",
]  # fmt: skip


class Form(NamedTuple):
    """How one type of identifier looks.

    Parameters
    ----------
    words
        What its names are called in a sentence.
    pattern
        What a whole name matches, once it is unwrapped.
    advice
        What to do with names that HGNC's table cannot resolve; empty for the others.
    """

    words: str
    pattern: re.Pattern[str]
    advice: str = ""


BY_TABLE = "give a table of two columns, {} and {}: resolve(names, through=read_translation(path))"

FORMS: dict[IdentifierType, Form] = {
    "ensembl": Form("Ensembl ids", re.compile(r"ENSG\d{11}")),
    "foreign": Form(
        "Ensembl gene ids of another species",
        re.compile(r"ENS[A-Z]{3,4}G\d{11}"),
        BY_TABLE.format("Ensembl id", "MGI or RGD id"),
    ),
    "transcript": Form(
        "Ensembl transcript ids",
        re.compile(r"ENS([A-Z]{3,4})?T\d{11}(\.\d+)?"),
        "sum the transcripts of each gene first, or " + BY_TABLE.format("transcript", "gene"),
    ),
    "protein": Form(
        "Ensembl protein ids", re.compile(r"ENS([A-Z]{3,4})?P\d{11}(\.\d+)?"), BY_TABLE.format("protein", "gene")
    ),
    "refseq": Form("RefSeq accessions", re.compile(r"[NX][MRP]_\d{6,9}(\.\d+)?"), BY_TABLE.format("accession", "gene")),
    "hgnc": Form("HGNC ids", re.compile(r"HGNC:\d+")),
    "mgi": Form("mouse ids of MGI", re.compile(r"MGI:\d+")),
    "rgd": Form("rat ids of RGD", re.compile(r"RGD:\d+")),
    "entry": Form(
        "entry names of UniProt",
        re.compile(r"[A-Z0-9]{1,10}_(HUMAN|MOUSE|RAT)"),
        "use UniProt's accessions (P04637) instead, or " + BY_TABLE.format("entry name", "accession"),
    ),
    "probe": Form(
        "probes of an array",
        re.compile(r"X?\d+(_[a-z])*_at|AFFX-\S+|ILMN_\d+|A_\d\d_P\d+|cg\d{8}"),
        BY_TABLE.format("probe", "gene"),
    ),
    "uniprot": Form("UniProt ids", re.compile(r"[OPQ]\d[A-Z0-9]{3}\d|[A-NR-Z]\d([A-Z][A-Z0-9]{2}\d){1,2}")),
    "entrez": Form("Entrez ids", re.compile(r"(NCBIGene:)?\d+")),
    "rodent": Form(
        "gene symbols as mouse and rat spell them",
        re.compile(
            r"(?!C[\dXY]+orf)(mt-)?[A-Z][a-z0-9]{0,14}[a-z][a-z0-9]{0,14}([-.][A-Za-z0-9]{1,10})*|\d{7}[A-Z]\d\dRik"
        ),
        "their human orthologs are not found by spelling; "
        + BY_TABLE.format("symbol", "MGI or RGD id")
        + ", which MGI's MRK_List2.rpt and RGD's GENES_RAT.txt hold",
    ),
    "symbol": Form("gene symbols", re.compile(r"[A-Za-z][A-Za-z0-9]{0,14}([-./][A-Za-z0-9]{1,10})*")),
}

ANY = re.compile("|".join(f"(?P<{kind}>{form.pattern.pattern})" for kind, form in FORMS.items()))
PLAIN = re.compile(r"(?!LOC\d)[A-Za-z0-9]+")

WORDS: dict[IdentifierType, str] = {
    **{kind: form.words for kind, form in FORMS.items()},
    "date": "dates",
    "unknown": "names of no known type",
}

EMPTY = frozenset({"", "-", "--", "---", "?", ".", "na", "n/a", "#n/a", "nan", "<na>", "none", "null"})

WRAPPINGS: tuple[tuple[str, re.Pattern[str], str], ...] = (
    ("blanks and quotes", re.compile(r"[\s\"']*(.*?)[\s\"']*"), ""),
    (
        "the name of their database",
        re.compile(r"(?:UniProtKB|UniProt|ENSEMBL|Ensembl|MGI(?=:MGI:)|RGD(?=:RGD:)|HGNC(?=:HGNC:)):(.+)"),
        "",
    ),
    ("the name of their database", re.compile(r"(?:(?i:geneid|entrez|entrezgene|hsa):|LOC)(\d+)"), "NCBIGene:"),
    ("the rest of a FASTA header", re.compile(r"(?:sp|tr)\|([^|]+)\|.*"), ""),
    ("what stands behind the Ensembl id", re.compile(r"(ENSG\d{11}(?:\.\d+)?)[|_](?!PAR_Y).*"), ""),
    ("the decimals of a number", re.compile(r"(\d+)\.0"), ""),
    ("the version of the Ensembl id", re.compile(r"(ENS[A-Z]*G\d{11})(?:\.\d+)?(?:_PAR_Y)?"), ""),
    ("the isoform of the protein", re.compile(rf"({FORMS['uniprot'].pattern.pattern})-\d+"), ""),
)
PAIR = re.compile(r"([^|;,\s]+)(?:\|(\d+)(?:_calculated)?| \((\d+)\))")
GROUP = re.compile(r"\s*(?:;|,|///)\s*")
DECOY = re.compile(r"(CON|REV)__.*|(decoy|contam|rev)_.*", re.IGNORECASE)

MONTHS = ("january", "february", "march", "april", "may", "june",
          "july", "august", "september", "october", "november", "december")  # fmt: skip
SHORT = "|".join(month[:3] for month in MONTHS)
NAMED = re.compile(
    rf"(?P<day>\d{{1,2}})[-. ]({SHORT}|sept)([-. ]\d{{2,4}})?|({SHORT}|sept)[-. ](?P<late>\d{{1,2}})", re.I
)
ISO = re.compile(r"\d{4}-(\d\d)-(\d\d)([T ]00:00:00(\.0+)?)?")
SLASHED = re.compile(r"(\d{1,2})[/.](\d{1,2})[/.](\d{4}|\d\d)")
DATED = re.compile(rf"(({SHORT})[a-z]*)-?(\d{{1,2}})", re.IGNORECASE)

Day = tuple[int, int]


def unwrap(name: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The identifier inside a name, and what was taken off: (what, the name without it) for each step."""
    if PLAIN.fullmatch(name):
        return name, ()
    steps = []
    for what, pattern, word in WRAPPINGS:
        if (found := pattern.fullmatch(name)) and (bare := word + found[1]) != name:
            steps.append((what, bare))
            name = bare
    return name, tuple(steps)


def form_of(name: str) -> IdentifierType:
    """What one name looks like."""
    if not PLAIN.fullmatch(name):
        name = unwrap(GROUP.split(name)[0])[0]
        if pair := PAIR.fullmatch(name):
            name = pair[1]
        if days(name):
            return "date"
    found = ANY.fullmatch(name)
    return cast(IdentifierType, found.lastgroup) if found else "unknown"


def identify(names: Iterable[str]) -> dict[IdentifierType, float]:
    """The share of the names that look like each type of identifier, the largest first.

    Every name counts once, for the narrowest type its form fits: P04637 is a UniProt id although a symbol could be
    spelled so. Of a protein group the first member counts.
    """
    votes = Counter(form_of(str(name)) for name in names)
    n = votes.total()
    return {kind: count / n for kind, count in sorted(votes.items(), key=lambda vote: (-vote[1], vote[0]))}


def guess_type(names: Iterable[str]) -> IdentifierType:
    """The type that most of the names look like, from their form alone; "unknown" when none fits half of them."""
    best, share = next(iter(identify(names).items()), ("unknown", 0.0))
    return best if share > 0.5 else "unknown"


def days(name: str) -> set[Day]:
    """The days, (month, day), that a spreadsheet's date may stand for; none if the name is no date."""
    if found := NAMED.fullmatch(name):
        word = (found[2] or found[4]).lower()[:3]
        return {(SHORT.split("|").index(word) + 1, int(found["day"] or found["late"]))}
    if found := ISO.fullmatch(name):
        return {(int(found[1]), int(found[2]))}
    if found := SLASHED.fullmatch(name):
        one, other = int(found[1]), int(found[2])
        return {(one, other), (other, one)}
    return set()


def day_of(symbol: str) -> Day | None:
    """The day a spreadsheet would take a symbol for: (9, 2) for SEPT2."""
    if not (found := DATED.fullmatch(symbol)):
        return None
    at = SHORT.split("|").index(found[2].lower())
    word = found[1].lower()
    return (at + 1, int(found[3])) if MONTHS[at].startswith(word) and 1 <= int(found[3]) <= 31 else None


def apart(features: Sequence[str], genes: Sequence[str], *, called: str = "features") -> str:
    """Why measured features and the genes of an ontology may not meet: what each side looks like and what to do.

    Parameters
    ----------
    features
        Names of the features.
    genes
        Names of the ontology's genes.
    called
        What the features are called in the sentence.
    """
    left, right = guess_type(features), guess_type(genes)
    sides = f"your {_looks(features, called, left)}, the ontology's {_looks(genes, 'genes', right)}"
    translation = 'give HGNC\'s table, data.identifiers = "hgnc_complete_set.txt" in a study'
    if advice := [FORMS[kind].advice for kind in (left, right) if kind in FORMS and FORMS[kind].advice]:
        return f"{sides}: {advice[0]}."
    if "unknown" in (left, right):
        return f"{sides}: check that the table's features are genes (not samples), or translate them first."
    if left == right:
        return f"{sides}: both are written alike, so check species, release and which side of the table holds genes."
    if right == "symbol":
        return f"{sides}: {translation}, or wire Identifiers.read(path).resolve(features).genes."
    return f"{sides}: {translation}, and translated(ontology, Identifiers.read(path)) for the ontology."


def _looks(names: Sequence[str], what: str, kind: IdentifierType) -> str:
    share = identify(names).get(kind, 0.0)
    part = f"{int(100 * share)} %: " if kind != "unknown" else ""
    alike = [name for name in names if form_of(name) == kind] if part else names
    return f"{len(names):,} {what} look like {WORDS[kind]} ({part}{culprits(alike, 3)})"

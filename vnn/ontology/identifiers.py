"""Identifiers of human genes, resolved to approved symbols through the table of HGNC (genenames.org/download)."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from vnn._errors import AlignmentError, choose, culprits
from vnn.ontology.log import Entry
from vnn.ontology.source import Source, provenance

IdentifierType = Literal["symbol", "ensembl", "entrez", "uniprot", "unknown"]

PATTERNS: dict[IdentifierType, re.Pattern[str]] = {
    "ensembl": re.compile(r"ENS[A-Z]{0,4}G\d{11}(\.\d+)?"),
    "uniprot": re.compile(r"([OPQ]\d[A-Z0-9]{3}\d|[A-NR-Z]\d([A-Z][A-Z0-9]{2}\d){1,2})(-\d+)?"),
    "entrez": re.compile(r"\d+"),
    "symbol": re.compile(r"[A-Za-z][A-Za-z0-9]{0,14}([-./][A-Za-z0-9]{1,10})*"),
}

WORDS: dict[IdentifierType, str] = {
    "symbol": "gene symbols",
    "ensembl": "Ensembl ids",
    "entrez": "Entrez ids",
    "uniprot": "UniProt ids",
    "unknown": "names of no known type",
}

MONTHS = {"mar": ("MARCH", "MARC"), "sep": ("SEPT", "SEP"), "sept": ("SEPT", "SEP"), "dec": ("DEC",), "oct": ("OCT",)}
DATE = re.compile(r"(?i)(\d{1,2})-(mar|sept?|dec|oct)|(mar|sept?|dec|oct)-(\d{1,2})")
MANGLED = re.compile(r"(MARCH|MARC|SEPT|SEP|DEC|OCT)\d{1,2}")

COLUMNS = ["symbol", "prev_symbol", "alias_symbol", "entrez_id", "ensembl_gene_id", "uniprot_ids"]


def guess_type(names: Iterable[str]) -> IdentifierType:
    """The type that most of the names look like, from their form alone; "unknown" when none fits half of them."""
    listed = [str(name) for name in names]
    votes: Counter[IdentifierType] = Counter()
    for name in listed:
        votes[next((kind for kind, form in PATTERNS.items() if form.fullmatch(name)), "unknown")] += 1
    winner, n = max(votes.items(), key=lambda vote: (vote[1], vote[0]), default=("unknown", 0))
    return winner if 2 * n > len(listed) else "unknown"


@dataclass(frozen=True)
class Resolution:
    """What names turned out to be.

    Parameters
    ----------
    genes
        Approved symbols of every name; empty for those that are unmapped or ambiguous. `Ontology.topology` takes it
        as it is.
    how
        By what each name was found: "approved", "previous", "alias", "ensembl", "entrez", "uniprot", "date",
        "ambiguous" or "unmapped".
    ambiguous
        Names that stand for one of several genes, with those genes; none of them is followed.
    type
        Type the names were read as.
    log
        Counts and names of all that is not plain.
    """

    genes: Mapping[str, tuple[str, ...]]
    how: Mapping[str, str]
    ambiguous: Mapping[str, tuple[str, ...]]
    type: IdentifierType
    log: tuple[Entry, ...]

    @property
    def unmapped(self) -> tuple[str, ...]:
        """Names no gene was found for, sorted."""
        return tuple(sorted(name for name, how in self.how.items() if how == "unmapped"))

    @property
    def counts(self) -> dict[str, int]:
        """How many names were found by what."""
        return dict(sorted(Counter(self.how.values()).items()))

    def table(self) -> pd.DataFrame:
        """One row per name: genes and how it was found."""
        return pd.DataFrame({"genes": {n: ", ".join(g) for n, g in self.genes.items()}, "how": dict(self.how)})


@dataclass(frozen=True, repr=False)
class Identifiers:
    """The names of human genes, from HGNC.

    Parameters
    ----------
    approved
        Approved symbols.
    previous, alias
        Approved symbols a former or informal symbol leads to. One that is an approved symbol itself is in the table,
        but `resolve` never follows it.
    ensembl, entrez, uniprot
        Approved symbols of an id of these databases.
    provenance
        Where the table came from.
    """

    approved: frozenset[str]
    previous: Mapping[str, tuple[str, ...]]
    alias: Mapping[str, tuple[str, ...]]
    ensembl: Mapping[str, tuple[str, ...]]
    entrez: Mapping[str, tuple[str, ...]]
    uniprot: Mapping[str, tuple[str, ...]]
    provenance: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path | str) -> Identifiers:
        """Read HGNC's complete set, hgnc_complete_set.txt, plain or gzip."""
        source = Source.read(path, "hgnc")
        header = source.text.split("\n", 1)[0].split("\t")
        if missing := [name for name in COLUMNS if name not in header]:
            raise source.error(
                f"the table lacks the columns {culprits(missing)}; hgnc_complete_set.txt of genenames.org has them.", 1
            )
        table = pd.read_csv(StringIO(source.text), sep="\t", usecols=COLUMNS, dtype=str, keep_default_na=False)
        symbols = table["symbol"].tolist()

        def lead(column: str) -> dict[str, tuple[str, ...]]:
            found: dict[str, set[str]] = defaultdict(set)
            for symbol, cell in zip(symbols, table[column].tolist(), strict=True):
                for name in filter(None, cell.split("|")):
                    found[name].add(symbol)
            return {name: tuple(sorted(genes)) for name, genes in found.items()}

        return cls(
            frozenset(symbols),
            lead("prev_symbol"),
            lead("alias_symbol"),
            lead("ensembl_gene_id"),
            lead("entrez_id"),
            lead("uniprot_ids"),
            provenance("HGNC", source, species="Homo sapiens", licence="CC0-1.0"),
        )

    def __repr__(self) -> str:
        return f"Identifiers({len(self.approved):,} approved symbols)"

    def resolve(self, names: Iterable[str], type: IdentifierType | None = None) -> Resolution:
        """The approved symbols of `names`.

        Symbols: approved, then previous, then alias; an alias or previous symbol that is the approved symbol of
        another gene is never followed, because the approved one comes first. A name with several genes at one of
        these steps is ambiguous and ends there. Dates that spreadsheets made of symbols (1-Mar) are repaired where
        one gene fits. Ensembl versions (.12) and UniProt isoforms (-2) are dropped. An id of a database may serve
        several genes; then it stands for all of them.

        Parameters
        ----------
        names
            Names of features, each once.
        type
            "symbol", "ensembl", "entrez" or "uniprot"; guessed by `guess_type` where it is left out.

        Raises
        ------
        AlignmentError
            If the type is to be guessed and the names look like none of them.
        """
        listed = [str(name) for name in names]
        kind: IdentifierType = type or guess_type(listed)
        if type is None and kind == "unknown" and listed:
            raise AlignmentError(
                f"the {len(listed):,} names ({culprits(listed)}) do not look like symbols, Ensembl, Entrez or UniProt "
                'identifiers. Say which they are, for example type="symbol", or translate them first.'
            )
        choose("type", kind, (*PATTERNS, *(["unknown"] if not listed else [])))
        look: Callable[[str], tuple[str, tuple[str, ...]]] = {
            "symbol": self._symbol,
            "ensembl": lambda name: ("ensembl", self.ensembl.get(name.split(".")[0], ())),
            "uniprot": lambda name: ("uniprot", self.uniprot.get(name.split("-")[0], ())),
            "entrez": lambda name: ("entrez", self.entrez.get(name, ())),
            "unknown": self._symbol,
        }[kind]
        genes: dict[str, tuple[str, ...]] = {}
        how: dict[str, str] = {}
        ambiguous: dict[str, tuple[str, ...]] = {}
        for name in listed:
            way, found = look(name)
            if len(found) > 1 and kind == "symbol":
                ambiguous[name] = found
                way, found = "ambiguous", ()
            genes[name], how[name] = found, way if found or way == "ambiguous" else "unmapped"
        return Resolution(genes, how, ambiguous, kind, tuple(_log(genes, how, ambiguous)))

    def _symbol(self, name: str) -> tuple[str, tuple[str, ...]]:
        if name in self.approved:
            return "approved", (name,)
        for way, table in (("previous", self.previous), ("alias", self.alias)):
            if name in table:
                return way, table[name]
        if date := DATE.fullmatch(name):
            number, month = int(date[1] or date[4]), (date[2] or date[3]).lower()
            meant = [f"{stem}{number}" for stem in MONTHS[month]]
            for table in ({symbol: (symbol,) for symbol in self.approved & set(meant)}, self.previous, self.alias):
                if found := {gene for symbol in meant for gene in table.get(symbol, ())}:
                    return "date", tuple(sorted(found))
        return "unmapped", ()


def _log(
    genes: Mapping[str, tuple[str, ...]], how: Mapping[str, str], ambiguous: Mapping[str, tuple[str, ...]]
) -> Iterable[Entry]:
    renamed = {name: f"{name} -> {', '.join(found)}" for name, found in genes.items() if found}
    for way, reason in (
        ("previous", "followed: they are previous symbols"),
        ("alias", "followed: they are aliases"),
        ("date", "repaired: they are dates a spreadsheet made of symbols"),
    ):
        yield from _entry("features", [renamed[name] for name, by in how.items() if by == way], reason)
    mangled = [renamed[name] for name in renamed if how[name] in ("previous", "alias") and MANGLED.fullmatch(name)]
    yield from _entry(
        "features", mangled, "followed: symbols that were renamed because spreadsheets make dates of them"
    )
    several = [renamed[name] for name, found in genes.items() if len(found) > 1]
    yield from _entry("features", several, "stand for several genes each")
    reached: dict[str, list[str]] = defaultdict(list)
    for name, found in genes.items():
        for gene in found:
            reached[gene].append(name)
    yield from _entry("genes", [gene for gene, by in reached.items() if len(by) > 1], "are reached from several names")
    doubtful = [f"{name} -> {' or '.join(found)}" for name, found in ambiguous.items()]
    yield from _entry("features", doubtful, "not followed: ambiguous")
    yield from _entry("features", [name for name, by in how.items() if by == "unmapped"], "not found in HGNC")


def _entry(kind: str, names: Iterable[str], reason: str) -> Iterable[Entry]:
    entry = Entry.of("resolve", kind, names, reason)
    if entry.names:
        yield entry

"""Identifiers of genes, resolved to approved human symbols through the table of HGNC (genenames.org/download)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from vnn._errors import AlignmentError, choose, culprits
from vnn.ontology.hgnc import HgncTable, read_hgnc
from vnn.ontology.log import Entry
from vnn.ontology.spelling import (
    DECOY,
    EMPTY,
    FORMS,
    GROUP,
    PAIR,
    WORDS,
    WRAPPINGS,
    Day,
    IdentifierType,
    day_of,
    days,
    form_of,
    guess_type,
    identify,
    unwrap,
)

__all__ = ["WORDS", "IdentifierType", "Identifiers", "Resolution", "guess_type", "identify"]

COLUMNS: dict[IdentifierType, str] = {
    "ensembl": "ensembl_gene_id",
    "entrez": "entrez_id",
    "uniprot": "uniprot_ids",
    "hgnc": "hgnc_id",
    "mgi": "mgd_id",
    "rgd": "rgd_id",
}

FOLLOWED: dict[str, str] = {
    "previous": "followed: they are previous symbols",
    "alias": "followed: they are aliases",
    "case": "followed: they are symbols in other letters, large or small",
    "dots": "followed: they are symbols with dots for hyphens, as R writes them",
    "date": "repaired: they are dates a spreadsheet made of symbols",
}
RULES: dict[str, str] = {
    **{what: f"read without {what}" for what, _, _ in WRAPPINGS},
    **{kind: f"read by their own type, {WORDS[kind]}" for kind in COLUMNS},
    "through": "translated by the table given",
    "pair": "read by their Entrez id, or by their symbol where HGNC does not know the id",
    "disagree": "read by their Entrez id, although their symbol is of another gene",
    "group": "groups, read as the genes of all their members",
    "member": "groups, read without members that lead to no gene",
}

LOST: dict[str, str] = {
    "ambiguous": "not followed: ambiguous",
    "orthologs": "not followed: they have no ortholog that is theirs alone",
    "empty": "not followed: they are no names",
    "decoy": "not followed: they are contaminants or decoys of a protein search",
    "untranslated": "not followed: the table of translations does not have them",
    **{kind: f"not followed: they are {form.words}; {form.advice}" for kind, form in FORMS.items() if form.advice},
    "unmapped": "not found in HGNC",
}


@dataclass(frozen=True)
class Resolution:
    """What names turned out to be.

    Parameters
    ----------
    genes
        Approved symbols of every name; empty for those that lead to none. `Ontology.topology` takes it as it is.
    how
        By what each name was found: "approved", "previous", "alias", "case", "dots", "date", "ensembl", "entrez",
        "uniprot", "hgnc", "mgi", "rgd" or "group"; or why it was not: "ambiguous", "orthologs", "empty", "decoy",
        "untranslated", a type that HGNC does not know ("transcript", "probe", ...), or "unmapped".
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
        """Names that lead to no gene and are not ambiguous, sorted."""
        return tuple(sorted(name for name, genes in self.genes.items() if not genes and name not in self.ambiguous))

    @property
    def counts(self) -> dict[str, int]:
        """How many names were found by what."""
        return dict(sorted(Counter(self.how.values()).items()))

    def table(self) -> pd.DataFrame:
        """One row per name: genes and how it was found."""
        return pd.DataFrame({"genes": {n: ", ".join(g) for n, g in self.genes.items()}, "how": dict(self.how)})


@dataclass
class _Reading:
    """One name on its way: the genes found, how, and each rule that changed it."""

    how: str = "unmapped"
    genes: tuple[str, ...] = ()
    doubt: tuple[str, ...] = ()
    rules: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, eq=False, repr=False)
class Identifiers:
    """The names of human genes, and of the mouse and rat genes that are their orthologs, from HGNC.

    Each property below is read from the table when it is first asked for.

    Parameters
    ----------
    table
        HGNC's complete set.
    """

    table: HgncTable

    @classmethod
    def read(cls, path: Path | str) -> Identifiers:
        """Read HGNC's complete set, hgnc_complete_set.txt, plain or gzip.

        Raises
        ------
        OntologyError
            As `read_hgnc` does.
        """
        return cls(read_hgnc(path))

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Where the table came from."""
        return self.table.provenance

    @cached_property
    def approved(self) -> frozenset[str]:
        """Approved symbols."""
        return frozenset(self.table.columns["symbol"])

    @cached_property
    def previous(self) -> Mapping[str, tuple[str, ...]]:
        """Approved symbols of each former symbol; `resolve` never follows one that is approved itself."""
        return self.table.genes_by("prev_symbol")

    @cached_property
    def alias(self) -> Mapping[str, tuple[str, ...]]:
        """Approved symbols of each informal symbol; `resolve` never follows one that is approved itself."""
        return self.table.genes_by("alias_symbol")

    @cached_property
    def ensembl(self) -> Mapping[str, tuple[str, ...]]:
        """Approved symbols of each gene of Ensembl."""
        return self.table.genes_by("ensembl_gene_id")

    @cached_property
    def entrez(self) -> Mapping[str, tuple[str, ...]]:
        """Approved symbols of each gene of NCBI."""
        return self.table.genes_by("entrez_id")

    @cached_property
    def uniprot(self) -> Mapping[str, tuple[str, ...]]:
        """Approved symbols of each protein of UniProt."""
        return self.table.genes_by("uniprot_ids")

    @cached_property
    def hgnc(self) -> Mapping[str, tuple[str, ...]]:
        """Approved symbol of each id of HGNC."""
        return self.table.genes_by("hgnc_id")

    @cached_property
    def mgi(self) -> Mapping[str, tuple[str, ...]]:
        """Approved symbols of each mouse gene; `resolve` follows those of `alone` only."""
        return self.table.genes_by("mgd_id")

    @cached_property
    def rgd(self) -> Mapping[str, tuple[str, ...]]:
        """Approved symbols of each rat gene; `resolve` follows those of `alone` only."""
        return self.table.genes_by("rgd_id")

    @cached_property
    def alone(self) -> frozenset[str]:
        """Ids of mouse and rat genes that have one human ortholog, whose only one in that species they are."""
        pairs = ((self.mgi, "mgd_id"), (self.rgd, "rgd_id"))
        return frozenset(
            name for ids, column in pairs for name in self.table.columns.get(column, ()) if len(ids.get(name, ())) == 1
        )

    def __repr__(self) -> str:
        return f"Identifiers({len(self.table.columns['symbol']):,} approved symbols)"

    def resolve(
        self,
        names: Iterable[str],
        type: IdentifierType | None = None,
        *,
        through: Mapping[str, Sequence[str]] | None = None,
        repair: bool = True,
    ) -> Resolution:
        """The approved symbols of `names`.

        An approved symbol is always itself. Other symbols: previous, then alias; one that is the approved symbol of
        another gene is never followed, because the approved one comes first. A symbol with several genes at one of
        these steps is ambiguous and ends there. An id of Ensembl, Entrez, HGNC or UniProt that serves several genes
        stands for all of them; an id of MGI or RGD is followed where mouse (rat) and human have one gene each.

        Names are unwrapped first: blanks, quotes, words of a database, Ensembl versions and UniProt isoforms are
        taken off; a protein group stands for the genes of all its members; `symbol|entrez` is the Entrez id. Dates
        that spreadsheets made of symbols (1-Mar) are repaired where one gene fits. Names that are plainly of another
        type than the rest are read by their own; bare numbers are Entrez ids only where that is the type. Each of
        these rules is an entry of the log with the names it changed.

        Parameters
        ----------
        names
            Names of features, each once.
        type
            "symbol", "ensembl", "entrez", "uniprot", "hgnc", "mgi" or "rgd"; what most of the names look like where it
            is left out, "symbol" for a mixture of these.
        through
            A table of one's own from each name to names that HGNC knows, such as probe -> symbol or symbol of a
            mouse gene -> id of MGI; `read_translation` reads one.
        repair
            Whether dates, dots for hyphens and letters large or small are put right. A table somebody typed needs it;
            a knowledge base does not, and there `mip` is a gene of a bacterium.

        Raises
        ------
        AlignmentError
            If the names look like none of these types, if they are symbols of mouse or rat, or if HGNC's table
            lacks the column of the type.
        """
        listed = [str(name) for name in names]
        led = {name: [name] if through is None else _through(name, through) for name in listed}
        kind = self._type([target for targets in led.values() for target in targets], type)
        readings: dict[str, _Reading] = {}
        for name, targets in led.items():
            readings[name] = self._group([member for target in targets for member in _members(target)], kind, repair)
            if through is not None and targets:
                readings[name].rules.append(("through", ", ".join(targets)))
        return Resolution(
            {name: reading.genes for name, reading in readings.items()},
            {name: reading.how for name, reading in readings.items()},
            {name: reading.doubt for name, reading in readings.items() if reading.how == "ambiguous"},
            kind,
            tuple(entry for entry in _log(readings) if entry.names),
        )

    def _type(self, names: list[str], stated: IdentifierType | None) -> IdentifierType:
        if stated is not None:
            choose("type", stated, ("symbol", *COLUMNS))
        names = [name for name in names if name.strip().casefold() not in EMPTY]
        kind = stated or guess_type(names)
        if kind == "unknown" and sum(identify(names).get(known, 0.0) for known in ("symbol", *COLUMNS)) > 0.5:
            kind = "symbol"
        spelled = guess_type(names) if stated == "symbol" else kind
        if spelled == "rodent":
            known = sum(name.casefold() in self._folded for name in names)
            if 4 * known > len(names):
                raise AlignmentError(
                    f"the {len(names):,} names are {WORDS['rodent']} ({culprits(names, 3)}), and {known:,} of them "
                    "would be symbols of man in capitals. They are other genes, and HGNC knows mouse and rat by the "
                    f"ids of MGI and RGD only: {FORMS['rodent'].advice}."
                )
            kind = stated or "symbol"
        if kind in FORMS and (advice := FORMS[kind].advice):
            raise AlignmentError(
                f"the {len(names):,} names look like {WORDS[kind]} ({culprits(names, 3)}), which HGNC's table cannot "
                f"resolve: {advice}."
            )
        if kind in ("unknown", "date") and names:
            raise AlignmentError(
                f"the {len(names):,} names ({culprits(names)}) do not look like symbols, Ensembl, Entrez or UniProt "
                'identifiers. Say which they are, for example type="symbol", or translate them first.'
            )
        if kind in COLUMNS and COLUMNS[kind] not in self.table.columns:
            raise AlignmentError(
                f"{WORDS[kind]} are resolved by the column {COLUMNS[kind]!r}, which this table does not have; "
                "hgnc_complete_set.txt of genenames.org has it."
            )
        return kind

    def _group(self, members: list[str], kind: IdentifierType, repair: bool) -> _Reading:
        """The genes of all members of a name; most names have one member, themselves."""
        if not members:
            return _Reading("untranslated")
        readings = [self._member(member, kind, repair) for member in members]
        if len(members) == 1:
            return readings[0]
        genes = tuple(sorted({gene for reading in readings for gene in reading.genes}))
        rules = [rule for reading in readings for rule in reading.rules]
        if genes:
            rules.append(("group", ", ".join(genes)))
            rules += [("member", name) for name, one in zip(members, readings, strict=True) if not one.genes]
            return _Reading("group", genes, (), rules)
        ways = {reading.how for reading in readings}
        doubt = tuple(sorted({gene for reading in readings for gene in reading.doubt}))
        return _Reading(next(how for how in LOST if how in ways), (), doubt, rules)

    def _member(self, name: str, kind: IdentifierType, repair: bool) -> _Reading:
        if name in self.approved:
            return _Reading("approved", (name,))
        bare, steps = unwrap(name)
        found = self._by_id(bare, kind, kind)
        if not found:
            if bare.casefold() in EMPTY:
                return _Reading("empty")
            if DECOY.fullmatch(bare):
                return _Reading("decoy")
            if as_it_is := self._find(name, kind):
                return as_it_is
            if pair := PAIR.fullmatch(name):
                return self._pair(pair[1], f"NCBIGene:{pair[2] or pair[3]}", kind)
            found = (self._find(bare, kind) if steps else None) or self._spelled(bare, repair)
        return replace(found, rules=[*steps, *found.rules]) if steps else found

    def _pair(self, symbol: str, entrez: str, kind: IdentifierType) -> _Reading:
        by_id, by_symbol = self._find(entrez, kind), self._find(symbol, kind)
        found = by_id or by_symbol or _Reading()
        rules = [("pair", ", ".join(found.genes))]
        if by_id and by_symbol and by_symbol.genes and by_symbol.genes != by_id.genes:
            rules.append(
                ("disagree", f"{', '.join(by_id.genes)} by the id, {', '.join(by_symbol.genes)} by the symbol")
            )
        return replace(found, rules=rules)

    def _find(self, name: str, kind: IdentifierType) -> _Reading | None:
        """What a name is as it stands: an id of the type of all or of its own form, or a symbol."""
        if name.isdecimal() and kind != "entrez":
            return None
        if found := self._by_id(name, kind, kind) or self._by_id(name, form_of(name), kind):
            return found
        if name in self.approved:
            return _Reading("approved", (name,))
        for how, table in (("previous", self.previous), ("alias", self.alias)):
            if name in table:
                return _one(how, table[name])
        return None

    def _by_id(self, name: str, own: IdentifierType, kind: IdentifierType) -> _Reading | None:
        if own not in COLUMNS or not (genes := getattr(self, own).get(name.removeprefix("NCBIGene:"))):
            return None
        if own in ("mgi", "rgd") and name not in self.alone:
            return _Reading("orthologs")
        return _Reading(own, genes, rules=[] if own == kind else [(own, ", ".join(genes))])

    def _spelled(self, name: str, repair: bool) -> _Reading:
        """What a symbol was before a spreadsheet, R or a keyboard changed it; why it is none otherwise."""
        if meant := repair and days(name):
            for table in self._dated:
                if found := {gene for day in meant for gene in table.get(day, ())}:
                    return _one("date", tuple(sorted(found)))
            return _Reading("unmapped")
        form = form_of(name)
        if form in FORMS and FORMS[form].advice:
            return _Reading(form if form != "rodent" or name.casefold() in self._folded else "unmapped")
        for how, spelled in (("case", name), ("dots", name.replace(".", "-"))):
            if repair and (genes := self._folded.get(spelled.casefold())):
                return _one(how, genes)
        return _Reading("unmapped")

    @cached_property
    def _folded(self) -> Mapping[str, tuple[str, ...]]:
        """Genes of approved and previous symbols, whatever the case of their letters."""
        folded: dict[str, tuple[str, ...]] = {}
        for name, genes in self.previous.items():
            folded[name.casefold()] = tuple(sorted({*folded.get(name.casefold(), ()), *genes}))
        return {**folded, **{symbol.casefold(): (symbol,) for symbol in self.approved}}

    @cached_property
    def _dated(self) -> tuple[Mapping[Day, set[str]], ...]:
        """Genes whose approved, previous and informal symbols a spreadsheet takes for a day."""
        tables = []
        for names in ({symbol: (symbol,) for symbol in self.approved}, self.previous, self.alias):
            dated: dict[Day, set[str]] = defaultdict(set)
            for name, genes in names.items():
                if day := day_of(name):
                    dated[day].update(genes)
            tables.append(dict(dated))
        return tuple(tables)


def _one(how: str, genes: tuple[str, ...]) -> _Reading:
    return _Reading(how, genes) if len(genes) == 1 else _Reading("ambiguous", (), genes)


def _through(name: str, table: Mapping[str, Sequence[str]]) -> list[str]:
    """What the table of translations leads a name to; R writes an X before names that begin with a number."""
    bare = name.strip()
    found = table.get(name) or table.get(bare) or table.get(bare.removeprefix("X"), ())
    return [found] if isinstance(found, str) else list(found)


def _members(name: str) -> list[str]:
    return [member for member in GROUP.split(name) if member.strip()] or [name]


def _log(readings: Mapping[str, _Reading]) -> Iterable[Entry]:
    by: dict[str, list[str]] = defaultdict(list)
    changed: dict[str, list[str]] = defaultdict(list)
    reached: dict[str, list[str]] = defaultdict(list)
    for name, reading in readings.items():
        genes = ", ".join(reading.genes)
        if reading.how == "ambiguous":
            by["ambiguous"].append(f"{name} -> {' or '.join(reading.doubt)}")
        else:
            by[reading.how].append(f"{name} -> {genes}" if genes else name)
        for rule, inside in reading.rules:
            changed[RULES[rule]].append(f"{name} -> {inside}")
        if reading.how in ("previous", "alias") and day_of(name):
            changed["followed: they are symbols a spreadsheet would take for dates"].append(f"{name} -> {genes}")
        if len(reading.genes) > 1:
            changed["stand for several genes each"].append(f"{name} -> {genes}")
        for gene in reading.genes:
            reached[gene].append(name)
    for how, reason in FOLLOWED.items():
        yield Entry.of("resolve", "features", by[how], reason)
    for reason, names in sorted(changed.items()):
        yield Entry.of("resolve", "features", names, reason)
    several = [gene for gene, names in reached.items() if len(names) > 1]
    yield Entry.of("resolve", "genes", several, "are reached from several names")
    for how, reason in LOST.items():
        yield Entry.of("resolve", "features", by[how], reason)

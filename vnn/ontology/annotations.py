"""Annotation tables of any layout, and joining annotations to a hierarchy."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vnn._errors import choose, culprits
from vnn.ontology.evidence import NO_DATA
from vnn.ontology.log import Entry
from vnn.ontology.obo import Obo
from vnn.ontology.obographs import parse_hierarchy
from vnn.ontology.ontology import ANNOTATIONS, MEMBERSHIP, REGULATION, RELATIONS, TERMS, Ontology
from vnn.ontology.source import Source, provenance

ROLES = ("gene", "term", "name", "namespace", "evidence", "qualifier", "taxon")


@dataclass(frozen=True)
class Rows:
    """The rows of an annotation file that stay.

    Parameters
    ----------
    annotations
        Columns gene, term, evidence, qualifier; positive rows, repeated ones included.
    terms
        Name and namespace of each annotated term, as the file tells them.
    negated
        (gene, term) of the rows that carry NOT.
    release
        The date the file tells.
    log
        What was removed.
    """

    annotations: pd.DataFrame
    terms: pd.DataFrame
    negated: frozenset[tuple[str, str]]
    release: str
    log: tuple[Entry, ...]

    def alone(self, *, step: str, provenance: Mapping[str, Any]) -> Ontology:
        """The annotations without a hierarchy."""
        return Ontology.assemble(
            self.terms,
            pd.DataFrame(columns=RELATIONS),
            self.annotations,
            step=step,
            provenance=[provenance],
            log=self.log,
        )


class Sieve:
    """Takes the rows of an annotation file one by one: NOT, ND, other taxa and unwanted qualifiers leave, counted."""

    def __init__(self, source: Source, step: str, taxon: int | None, without_qualifiers: Collection[str]) -> None:
        self.source, self.step, self.taxon = source, step, None if taxon is None else str(taxon)
        self.unwanted = tuple(without_qualifiers)
        self.taxa: Counter[str] = Counter()
        self.kept: list[tuple[str, str, str, str]] = []
        self.negated: set[tuple[str, str]] = set()
        self.removed: dict[str, list[str]] = {}
        self.told: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)

    def take(
        self,
        gene: str,
        term: str,
        *,
        evidence: str = "",
        qualifiers: Sequence[str] = (),
        taxon: str = "",
        name: str = "",
        namespace: str = "",
        otherwise: str = "",
    ) -> None:
        """Keep a row, with name and namespace of its term, or count why it leaves: `otherwise` is a reader's reason."""
        if self.taxon is not None and taxon != self.taxon:
            return self._leave(f"removed: not of taxon {self.taxon}", gene, term)
        self.taxa[taxon] += 1
        if qualifiers and "NOT" in map(str.upper, qualifiers):
            self.negated.add((gene, term))
            return self._leave("removed: they say NOT", gene, term)
        if evidence == NO_DATA:
            return self._leave("removed: no data (ND)", gene, term)
        if self.unwanted and any(qualifier.startswith(self.unwanted) for qualifier in qualifiers):
            return self._leave(f"removed: their qualifier is one of {', '.join(self.unwanted)}", gene, term)
        if otherwise:
            return self._leave(otherwise, gene, term)
        self.kept.append((gene, term, evidence, "|".join(qualifiers)))
        self.told[term].add((name, namespace))
        return None

    def _leave(self, reason: str, gene: str, term: str) -> None:
        self.removed.setdefault(reason, []).append(f"{gene} @ {term}")

    def rows(self, *, release: str = "", log: Sequence[Entry] = ()) -> Rows:
        """What was kept.

        Raises
        ------
        OntologyError
            If the rows are of several taxa and none was chosen.
        """
        if len(self.taxa) > 1:
            most = self.taxa.most_common(5)
            counts = ", ".join(f"{name} ({n:,} rows)" for name, n in most)
            raise self.source.error(
                f"the file mixes {len(self.taxa):,} taxa: {counts}. Choose one: taxon={most[0][0]}."
            )
        entries = [
            Entry.of(self.step, "annotations", set(pairs), f"{reason} ({len(pairs):,} rows)")
            for reason, pairs in sorted(self.removed.items())
        ]
        terms: dict[str, dict[str, str]] = {}
        for place, what in enumerate(TERMS):
            values = {term: sorted({told[place] for told in found}) for term, found in self.told.items()}
            several = (f"{term} ({', '.join(found)})" for term, found in values.items() if len(found) > 1)
            entries.append(Entry.of(self.step, "terms", several, f"with more than one {what}: the first is kept"))
            terms[what] = {term: found[0] for term, found in values.items()}
        return Rows(
            pd.DataFrame(self.kept, columns=ANNOTATIONS),
            pd.DataFrame(terms, columns=TERMS, dtype=object),
            frozenset(self.negated),
            release,
            tuple(entry for entry in (*entries, *log) if entry.names),
        )


def annotate(hierarchy: Obo, rows: Rows, *, step: str, provenance: Sequence[Mapping[str, Any]]) -> Ontology:
    """A hierarchy with annotations; alternative and obsolete ids are led to the terms that stand for them.

    Those to other obsolete or unknown ids leave. Everything is in the log, after those of both files.
    """
    bare, read = hierarchy.ontology, rows.annotations["term"]
    term = read.map(lambda old: hierarchy.moved.get(old, old))
    obsolete = term.isin(hierarchy.obsolete).to_numpy()
    pairs = rows.annotations["gene"] + " @ " + read
    log = [
        *bare.log,
        *rows.log,
        Entry.of(
            step,
            "annotations",
            set(pairs[(term != read).to_numpy()]),
            "followed to the term that stands for their alternative or obsolete id",
        ),
        Entry.of(step, "annotations", set(pairs[obsolete]), "dropped: their term is obsolete without one replacement"),
    ]
    return Ontology.assemble(
        bare.terms,
        bare.relations,
        rows.annotations.assign(term=term)[~obsolete],
        step=step,
        provenance=provenance,
        log=[entry for entry in log if entry.names],
    )


def read_annotations(
    path: Path | str,
    columns: Sequence[str] | Mapping[str, str],
    *,
    several: str = "",
    hierarchy: Path | str | Ontology | None = None,
    taxon: int | None = None,
    without_qualifiers: Collection[str] = (),
    relations: Sequence[str] = (*MEMBERSHIP, *REGULATION),
    cross_namespace: bool = False,
) -> Ontology:
    """Annotations from a table of any layout, joined to a hierarchy where one is given.

    Fields are separated by tabs, or by commas where the first line has no tab. Lines that begin with `#` or `!` are
    comments, but a header may begin with `#`. Rows that say NOT in their qualifier or ND in their evidence always
    leave; lines that name no gene or no term are counted. Genes are not propagated, but HPO's phenotype_to_genes and
    tables of "all levels" come so; `Ontology.most_specific` undoes it.

    Parameters
    ----------
    path
        Plain or gzip.
    columns
        What the columns hold: "gene", "term", and optionally "name" and "namespace" of the term, "evidence",
        "qualifier", "taxon". For a file with a header a mapping to its names, `{"gene": "gene_symbol", "term":
        "hpo_id"}`; for one without the roles in their order, "" for a column that is not read:
        `["gene", "term"]`, `["gene", "", "term"]`.
    several
        What separates several genes or terms in one field, such as "|" or ","; by default a field holds one.
    hierarchy
        An OBO or obographs file, or an ontology, whose own annotations then leave. Annotations to alternative ids,
        and to obsolete ids with one replacement, follow to the term that stands for them; those to other obsolete or
        unknown ids leave.
    taxon, without_qualifiers
        As in `read_gaf`; they need the columns "taxon" and "qualifier".
    relations, cross_namespace
        As in `read_obo`.

    Raises
    ------
    OntologyError
        If a column is not in the header, or a line is too short (with its number).

    Examples
    --------
    HPO: `read_annotations("genes_to_phenotype.txt", {"gene": "gene_symbol", "term": "hpo_id"}, hierarchy="hp.obo")`.
    MGI: `read_annotations("MGI_GenePheno.rpt", ["", "", "", "", "term", "", "gene"], several="|",
    hierarchy="MPheno_OBO.ontology")`.
    """
    source = Source.read(path, "annotations")
    rows = parse_annotations(source, columns, several=several, taxon=taxon, without_qualifiers=without_qualifiers)
    species = "" if taxon is None else f"taxon:{taxon}"
    if hierarchy is None:
        return rows.alone(step="read annotations", provenance=provenance("annotations", source, species=species))
    if isinstance(hierarchy, Ontology):
        above = _unannotated(hierarchy)
        origins = [*hierarchy.provenance, provenance("annotations", source, species=species)]
    else:
        file = Source.read(hierarchy, "hierarchy")
        above = parse_hierarchy(file, relations=relations, cross_namespace=cross_namespace)
        (told,) = above.ontology.provenance
        name = f"{told['source']} and annotations"
        origins = [provenance(name, file, source, release=str(told["release"]), species=species)]
    return annotate(above, rows, step="read annotations", provenance=origins)


def parse_annotations(
    source: Source,
    columns: Sequence[str] | Mapping[str, str],
    *,
    several: str,
    taxon: int | None,
    without_qualifiers: Collection[str],
) -> Rows:
    """The rows of a table, before they become an ontology."""
    lines = _table(source, header=isinstance(columns, Mapping))
    at = _places(source, lines, columns)
    for option, role in ((taxon is not None, "taxon"), (bool(without_qualifiers), "qualifier")):
        if option and role not in at:
            raise ValueError(f"rows can only be chosen by their {role} if `columns` tells which column holds it.")
    sieve = Sieve(source, "read annotations", taxon, without_qualifiers)
    width = max(at.values()) + 1
    empty: list[str] = []
    for number, fields in lines:
        if len(fields) < width:
            raise source.error(
                f"a line needs {width} fields, separated as the first line is; this one has {len(fields)}: "
                f"{culprits(fields)}.",
                number,
            )
        value = {role: fields[place] for role, place in at.items()}
        genes, terms = (_parts(value[role], several) for role in ("gene", "term"))
        if not genes or not terms:
            empty.append(f"{source.name}, line {number}: {' | '.join(fields)[:60]}")
        for gene in genes:
            for term in terms:
                sieve.take(
                    gene,
                    term,
                    evidence=value.get("evidence", ""),
                    qualifiers=value.get("qualifier", "").replace("|", " ").split(),
                    taxon=value.get("taxon", "").removeprefix("taxon:"),
                    name=value.get("name", ""),
                    namespace=value.get("namespace", ""),
                )
    return sieve.rows(log=[Entry.of("read annotations", "lines", empty, "skipped: no gene or no term")])


def _unannotated(ontology: Ontology) -> Obo:
    bare = ontology._rows(
        annotations=np.zeros(len(ontology.annotations), dtype=bool),
        entries=[Entry.of("read annotations", "genes", ontology.genes, "left out: of the hierarchy, not of the table")],
    )
    return Obo(bare, {}, frozenset())


def _table(source: Source, *, header: bool) -> Iterator[tuple[int, list[str]]]:
    """Number and fields of every line that is no comment; with a header, that line first."""
    separator = ""
    for number, line in source.lines():
        if line.startswith("!") or (line.startswith("#") and (separator or not header)):
            continue
        separator = separator or ("\t" if "\t" in line else ",")
        fields = line.split("\t") if separator == "\t" else next(csv.reader([line]))
        if header and fields[0].startswith("#") and len(fields) == 1:
            separator = ""
            continue
        yield number, [field.strip() for field in fields]


def _places(
    source: Source, lines: Iterator[tuple[int, list[str]]], columns: Sequence[str] | Mapping[str, str]
) -> dict[str, int]:
    """Which column holds which role."""
    if isinstance(columns, str):
        raise TypeError(
            f"`columns` is the text {columns!r}; a list of roles or a mapping from roles to names is needed."
        )
    roles = list(columns)
    for role in roles:
        if role or isinstance(columns, Mapping):
            choose("what a column holds", role, ROLES)
    named = [role for role in roles if role]
    if "gene" not in roles or "term" not in roles or len(set(named)) < len(named):
        raise ValueError(f"`columns` is {roles}; it needs 'gene' and 'term', and each role at most once.")
    if not isinstance(columns, Mapping):
        return {role: place for place, role in enumerate(roles) if role}
    number, fields = next(lines, (0, []))
    fields = [field.removeprefix("#").strip() for field in fields]
    try:
        return {role: fields.index(choose(f"the column of {role!r}", name, fields)) for role, name in columns.items()}
    except ValueError as error:
        raise source.error(str(error), number) from None


def _parts(field: str, several: str) -> list[str]:
    parts = field.split(several) if several else [field]
    return [part.strip() for part in parts if part.strip()]

"""Ontologies in the OBO format, 1.2 and 1.4 (owlcollab.github.io/oboformat)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from vnn._errors import choose
from vnn.ontology.log import Entry
from vnn.ontology.ontology import ANNOTATIONS, MEMBERSHIP, REGULATION, RELATIONS, TERMS, Ontology
from vnn.ontology.source import Source, provenance

ESCAPES = {r"\n": "\n", r"\W": " ", r"\t": "\t"}


@dataclass
class Stanza:
    """One [Term] of the file."""

    line: int
    id: str = ""
    name: str = ""
    namespace: str = ""
    obsolete: bool = False
    alternatives: list[str] = field(default_factory=list)
    replaced_by: list[str] = field(default_factory=list)
    relations: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Obo:
    """A parsed OBO file: the ontology without genes, and where ids that are no terms of it lead.

    Parameters
    ----------
    ontology
        Terms and relations.
    moved
        From alternative ids, and from obsolete ids with one replacement, to the term that stands for them.
    obsolete
        Obsolete ids without a replacement that could be followed.
    """

    ontology: Ontology
    moved: dict[str, str]
    obsolete: frozenset[str]


def read_obo(
    path: Path | str,
    *,
    relations: Sequence[str] = (*MEMBERSHIP, *REGULATION),
    cross_namespace: bool = False,
) -> Ontology:
    """An ontology without genes, from an OBO file.

    Own line parser: it gives the graph obonet gives, in less than half the time, and knows the line of every flaw.
    Obsolete terms leave; relations to an alternative or replaced id are led to the term that stands for it;
    relations of other types (`has_part`, `occurs_in`) leave. All of it is counted in the log. Missing
    namespace lines are filled from `default-namespace`.

    Parameters
    ----------
    path
        Plain or gzip.
    relations
        Types to keep. Full ontologies (go.obo rather than go-basic.obo) may close cycles through regulation.
    cross_namespace
        Whether `part_of` between two namespaces stays.

    Raises
    ------
    OntologyError
        If the file is not OBO, a term has no id or comes twice, or the relations close a cycle.
    """
    return parse_obo(Source.read(path, "obo"), relations=relations, cross_namespace=cross_namespace).ontology


def parse_obo(source: Source, *, relations: Sequence[str], cross_namespace: bool) -> Obo:
    """The ontology of an OBO file and its alternative and obsolete ids."""
    for kind in relations:
        choose("a relation to keep", kind, (*MEMBERSHIP, *REGULATION))
    release, stanzas, skipped = _stanzas(source)
    live = {stanza.id: stanza for stanza in stanzas if not stanza.obsolete}
    moved = {other: stanza.id for stanza in live.values() for other in stanza.alternatives if other not in live}
    gone = [stanza for stanza in stanzas if stanza.obsolete]
    for stanza in gone:
        targets = {moved.get(target, target) for target in stanza.replaced_by}
        if len(targets) == 1 and stanza.id not in live and (target := targets.pop()) in live:
            moved.setdefault(stanza.id, target)

    rows = [
        (stanza.id, moved.get(parent, parent), kind) for stanza in live.values() for kind, parent in stanza.relations
    ]
    named = [parent for stanza in live.values() for _, parent in stanza.relations]
    table = pd.DataFrame(rows, columns=RELATIONS)
    led = table["parent"].to_numpy(dtype=object) != np.array(named, dtype=object)
    log = [
        Entry.of("read obo", "lines", skipped, "skipped: a line of the header without `tag: value`"),
        Entry.of("read obo", "terms", (stanza.id for stanza in gone), "left out: obsolete"),
        Entry.of(
            "read obo",
            "relations",
            {
                f"{child} -> {old}"
                for child, old in zip(table["child"][led], np.array(named, dtype=object)[led], strict=True)
            },
            "led to the term that stands for their alternative or obsolete parent",
        ),
    ]
    for kind, n in sorted(Counter(table["type"]).items()):
        if kind not in relations:
            pairs = {f"{row.child} -> {row.parent}" for row in table[table["type"] == kind].itertuples()}
            log.append(Entry.of("read obo", "relations", pairs, f"left out: of type {kind} ({n:,} rows)"))
    table = table[table["type"].isin(relations)]
    terms = pd.DataFrame(
        {"name": [s.name for s in live.values()], "namespace": [s.namespace for s in live.values()]},
        index=pd.Index(list(live), dtype=object),
        columns=TERMS,
    )
    if not cross_namespace:
        sides = [table[end].map(terms["namespace"]).fillna("") for end in ("child", "parent")]
        across = (sides[0] != sides[1]) & (sides[0] != "") & (sides[1] != "") & (table["type"] == "part_of")
        pairs = {f"{row.child} -> {row.parent}" for row in table[across].itertuples()}
        log.append(Entry.of("read obo", "relations", pairs, "left out: part_of between two namespaces"))
        table = table[~across]
    ontology = Ontology.assemble(
        terms,
        table,
        pd.DataFrame(columns=ANNOTATIONS),
        step="read obo",
        provenance=[provenance("OBO", source, release=release)],
        log=[entry for entry in log if entry.names],
    )
    return Obo(ontology, moved, frozenset(stanza.id for stanza in gone) - moved.keys())


def _stanzas(source: Source) -> tuple[str, list[Stanza], list[str]]:
    """The release the header tells, every [Term], and the lines of the header that say nothing."""
    skipped: list[str] = []
    header: dict[str, str] = {}
    stanzas: list[Stanza] = []
    kind = ""
    for number, line in source.lines():
        if line.startswith("["):
            kind = line.strip()
            if kind == "[Term]":
                stanzas.append(Stanza(number))
            continue
        tag, colon, value = line.partition(":")
        if line.startswith("!"):
            continue
        if not colon and not kind:
            skipped.append(f"line {number}: {line[:60]}")
        elif not colon:
            raise source.error(f"an OBO line needs `tag: value`; this one is {line[:80]!r}.", number)
        elif not kind:
            header.setdefault(tag.strip(), value.strip())
        elif kind == "[Term]":
            _take(stanzas[-1], tag.strip(), value.strip(), source, number)
    if not stanzas:
        raise source.error(
            f"this is no OBO file: it has no [Term], and begins with {source.text[:60]!r}. Give an OBO ontology."
        )
    first: dict[str, int] = {}
    for stanza in stanzas:
        if not stanza.id:
            raise source.error("a [Term] has no id.", stanza.line)
        if stanza.id in first:
            raise source.error(
                f"the term {stanza.id!r} is there twice, first at line {first[stanza.id]:,}; keep one.", stanza.line
            )
        first[stanza.id] = stanza.line
        stanza.namespace = stanza.namespace or header.get("default-namespace", "")
    return header.get("data-version", header.get("date", "")), stanzas, skipped


def _take(stanza: Stanza, tag: str, value: str, source: Source, number: int) -> None:
    match tag:
        case "id":
            stanza.id = _id(value)
        case "name":
            stanza.name = _text(value)
        case "namespace":
            stanza.namespace = _id(value)
        case "is_obsolete":
            stanza.obsolete = _id(value) == "true"
        case "alt_id":
            stanza.alternatives.append(_id(value))
        case "replaced_by":
            stanza.replaced_by.append(_id(value))
        case "is_a":
            stanza.relations.append(("is_a", _id(value)))
        case "relationship":
            parts = value.split(maxsplit=2)
            if len(parts) < 2:
                raise source.error(f"a relationship needs a type and a term; this one is {value[:80]!r}.", number)
            stanza.relations.append((parts[0], _id(parts[1])))


def _id(value: str) -> str:
    """The id before a comment or a trailing modifier."""
    return value.split(maxsplit=1)[0] if value else ""


def _text(value: str) -> str:
    """A name without its comment, its escapes resolved."""
    bare = re.sub(r"(?<!\\)\s+!.*$", "", value)
    return re.sub(r"\\(.)", lambda found: ESCAPES.get(found[0], found[1]), bare)

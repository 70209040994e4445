"""Annotations in GAF 2.0, 2.1 and 2.2 (geneontology.org/docs/go-annotation-file-gaf-format-2.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from vnn._errors import choose
from vnn.ontology.evidence import NO_DATA
from vnn.ontology.log import Entry
from vnn.ontology.ontology import ANNOTATIONS, RELATIONS, Ontology
from vnn.ontology.source import Source, provenance

NAMESPACES = {"P": "biological_process", "F": "molecular_function", "C": "cellular_component"}
VERSIONS = ("2.0", "2.1", "2.2")


@dataclass(frozen=True)
class Gaf:
    """The rows of a GAF file.

    Parameters
    ----------
    annotations
        Columns gene, term, evidence, qualifier; positive rows, repeated ones included.
    namespaces
        Namespace of each annotated term, from the aspect column.
    negated
        (gene, term) of the rows that carry NOT.
    release
        The date the header tells.
    log
        What was removed.
    """

    annotations: pd.DataFrame
    namespaces: dict[str, str]
    negated: frozenset[tuple[str, str]]
    release: str
    log: tuple[Entry, ...]


def read_gaf(
    path: Path | str,
    *,
    taxon: int | None = None,
    gene: Literal["symbol", "id"] = "symbol",
    without_qualifiers: Collection[str] = (),
    objects: Collection[str] | None = None,
) -> Ontology:
    """Annotations without a hierarchy, from a GAF file; `read_go` joins them to an ontology.

    Rows with NOT and rows without data (ND) always leave and are counted, and so are rows of other taxa
    and lines that are broken, by number.

    Parameters
    ----------
    path
        Plain or gzip.
    taxon
        NCBI taxon to keep, such as 9606; the first where a row names two. May be left out only where the
        file has one.
    gene
        Whether a gene is called by its symbol (column 3) or its id in the database (column 2).
    without_qualifiers
        Rows whose qualifier starts with one of these leave: "contributes_to", "colocalizes_with",
        "acts_upstream_of".
    objects
        Types of object to keep (column 12), such as "protein"; all by default.

    Raises
    ------
    OntologyError
        If the file is no GAF 2 or mixes taxa and none is chosen.
    """
    source = Source.read(path, "gaf")
    rows = parse_gaf(source, taxon=taxon, gene=gene, without_qualifiers=without_qualifiers, objects=objects)
    terms = pd.DataFrame({"namespace": rows.namespaces})
    return Ontology.assemble(
        terms,
        pd.DataFrame(columns=RELATIONS),
        rows.annotations,
        step="read gaf",
        provenance=[provenance("GAF", source, release=rows.release, species="" if taxon is None else f"taxon:{taxon}")],
        log=rows.log,
    )


def parse_gaf(
    source: Source,
    *,
    taxon: int | None,
    gene: Literal["symbol", "id"],
    without_qualifiers: Collection[str],
    objects: Collection[str] | None,
) -> Gaf:
    """The rows of a GAF file, before they become an ontology."""
    called = {"id": 1, "symbol": 2}[choose("gene", gene, ("symbol", "id"))]
    unwanted = tuple(without_qualifiers)
    removed: dict[str, list[str]] = {}
    broken: list[str] = []
    taxa: Counter[str] = Counter()
    kept: list[tuple[str, str, str, str]] = []
    namespaces: dict[str, str] = {}
    negated: set[tuple[str, str]] = set()
    release = ""
    for number, line in source.lines():
        if line.startswith("!"):
            tag, _, value = line[1:].partition(":")
            if tag.strip() == "gaf-version" and not value.strip().startswith(VERSIONS):
                raise source.error(f"GAF version {value.strip()} is not known; {', '.join(VERSIONS)} are.", number)
            if tag.strip() in ("date-generated", "generated-date", "Submission Date") and not release:
                release = value.strip(" $")
            continue
        fields = line.split("\t")
        if not 15 <= len(fields) <= 17 or not (fields[called] and fields[4] and fields[6] and fields[12]):
            broken.append(f"line {number}: {line[:60]}")
            continue
        name, term, evidence = fields[called].strip(), fields[4].strip(), fields[6].strip()
        qualifiers = [part for part in fields[3].strip().split("|") if part]
        first = fields[12].split("|")[0].strip().removeprefix("taxon:")
        pair = f"{name} @ {term}"
        if taxon is not None and first != str(taxon):
            removed.setdefault(f"removed: not of taxon {taxon}", []).append(pair)
            continue
        taxa[first] += 1
        if "NOT" in qualifiers:
            negated.add((name, term))
            removed.setdefault("removed: they say NOT", []).append(pair)
        elif evidence == NO_DATA:
            removed.setdefault("removed: no data (ND)", []).append(pair)
        elif unwanted and any(part.startswith(unwanted) for part in qualifiers):
            removed.setdefault(f"removed: their qualifier is one of {', '.join(unwanted)}", []).append(pair)
        elif objects is not None and fields[11].strip() not in objects:
            removed.setdefault(f"removed: their object is none of {', '.join(objects)}", []).append(pair)
        else:
            kept.append((name, term, evidence, "|".join(qualifiers)))
            namespaces.setdefault(term, NAMESPACES.get(fields[8].strip(), ""))
    if not taxa and broken and not removed:
        raise source.error(
            f"none of the {len(broken):,} lines is a GAF row of 15 to 17 fields separated by tabs; the first is "
            f"{broken[0]!r}. Give a GAF 2 file."
        )
    if len(taxa) > 1:
        counts = ", ".join(f"{name} ({n:,} rows)" for name, n in taxa.most_common(5))
        raise source.error(
            f"the file mixes {len(taxa):,} taxa: {counts}. Choose one: taxon={taxa.most_common(1)[0][0]}."
        )
    log = [
        Entry.of("read gaf", "annotations", set(pairs), f"{reason} ({len(pairs):,} rows)")
        for reason, pairs in sorted(removed.items())
    ]
    if broken:
        log.append(
            Entry.of("read gaf", "lines", broken, "skipped: not 15 to 17 fields with gene, term, evidence and taxon")
        )
    return Gaf(pd.DataFrame(kept, columns=ANNOTATIONS), namespaces, frozenset(negated), release, tuple(log))

"""Annotations in GAF 2.0, 2.1 and 2.2 (geneontology.org/docs/go-annotation-file-gaf-format-2.2)."""

from __future__ import annotations

from collections.abc import Collection
from operator import itemgetter
from pathlib import Path
from typing import Literal

from vnn._errors import choose
from vnn.ontology.annotations import Rows, Sieve
from vnn.ontology.log import Entry
from vnn.ontology.ontology import Ontology
from vnn.ontology.source import Source, provenance

NAMESPACES = {"P": "biological_process", "F": "molecular_function", "C": "cellular_component"}
VERSIONS = ("2.0", "2.1", "2.2")


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
    and lines that are broken or have more than 17 fields, with file and number. The last is also said of a file that
    does not tell its version.

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
    species = "" if taxon is None else f"taxon:{taxon}"
    return rows.alone(step="read gaf", provenance=provenance("GAF", source, release=rows.release, species=species))


def parse_gaf(
    source: Source,
    *,
    taxon: int | None,
    gene: Literal["symbol", "id"],
    without_qualifiers: Collection[str],
    objects: Collection[str] | None,
) -> Rows:
    """The rows of a GAF file, before they become an ontology."""
    used = itemgetter({"id": 1, "symbol": 2}[choose("gene", gene, ("symbol", "id"))], 4, 6, 12, 3, 8, 11)
    nothing = ("",) * 7
    sieve = Sieve(source, "read gaf", taxon, without_qualifiers)
    foreign = "" if objects is None else f"removed: their object is none of {', '.join(objects)}"
    broken: list[str] = []
    n = 0
    version = release = ""
    for number, line in source.lines():
        if line.startswith("!"):
            tag, _, value = (part.strip() for part in line[1:].partition(":"))
            if tag in ("gpa-version", "gpi-version") or (tag == "gaf-version" and value not in VERSIONS):
                raise source.error(
                    f"the header says {line.strip()!r}; GAF {', '.join(VERSIONS)} are known. Give a GAF 2 file.", number
                )
            version = value if tag == "gaf-version" else version
            if tag in ("date-generated", "generated-date", "Submission Date") and not release:
                release = value.strip(" $")
            continue
        fields = line.split("\t")
        held = map(str.strip, used(fields)) if 15 <= len(fields) <= 17 else nothing
        name, term, evidence, taxa, qualifier, aspect, kind = held
        if not (name and term and evidence and taxa):
            broken.append(f"{source.name}, line {number}: {line[:60]}")
            continue
        n += 1
        sieve.take(
            name,
            term,
            evidence=evidence,
            qualifiers=[part.strip() for part in qualifier.split("|") if part.strip()] if qualifier else (),
            taxon=taxa.split("|")[0].strip().removeprefix("taxon:"),
            namespace=NAMESPACES.get(aspect, ""),
            otherwise=foreign if objects is not None and kind not in objects else "",
        )
    if broken and not n:
        raise source.error(
            f"none of the {len(broken):,} lines is a GAF row of 15 to 17 fields separated by tabs; the first is "
            f"{broken[0]!r}. Give a GAF 2 file."
        )
    return sieve.rows(
        release=release,
        log=[
            Entry.of("read gaf", "lines", broken, "skipped: not 15 to 17 fields with gene, term, evidence and taxon"),
            Entry.of("read gaf", "files", [] if version else [source.name], "without gaf-version: read as GAF 2"),
        ],
    )

"""Gene sets in GMT, the format of MSigDB and Reactome (docs.gsea-msigdb.org, "GSEA Data Formats")."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from vnn._errors import choose, culprits
from vnn.ontology.edges import parse_edges
from vnn.ontology.log import Entry
from vnn.ontology.ontology import ANNOTATIONS, RELATIONS, Ontology
from vnn.ontology.source import Source, provenance

IDENTIFIER = re.compile(r"R-[A-Z]{3}-\d+|REACT_\d+|[A-Z][A-Za-z]*:\d+|[a-z]{3}\d{5}|WP\d+|M\d+")
LITERAL = "Reactome Pathway"


@dataclass(frozen=True)
class GeneSets:
    """The sets of a GMT file: names and genes per id, and what reading them dropped."""

    names: dict[str, str]
    genes: dict[str, list[str]]
    log: tuple[Entry, ...]

    def annotations(self) -> pd.DataFrame:
        """One row per gene and set."""
        pairs = [(gene, term) for term, genes in self.genes.items() for gene in genes]
        return pd.DataFrame(pairs, columns=ANNOTATIONS[:2])


def read_gmt(
    path: Path | str,
    *,
    ids: Literal["auto", "name", "description"] = "auto",
    relations: Path | str | None = None,
) -> Ontology:
    """Gene sets from a GMT file, with a hierarchy where one is given.

    A line is `name ⇥ description ⇥ gene ⇥ gene ...`. The description may be empty, a URL or the stable id
    of the set (Reactome); older Reactome releases carry a further field "Reactome Pathway". Both are
    recognised from the whole file, never assumed.

    Parameters
    ----------
    path
        Plain or gzip.
    ids
        Which field becomes the term id. By default the description where it is an identifier of a known form
        (R-HSA-, GO:, hsa, WP, M) in every line and unique, otherwise the name.
    relations
        An edge list of two columns, parent and child, that names sets by their ids and may name further terms.

    Returns
    -------
    An ontology. Sets without genes stay as terms; empty sets, repeated sets and repeated genes are counted in its
    log.
    """
    sources = [Source.read(path, "gmt")]
    sets = parse_gmt(sources[0], ids=ids)
    names = dict(sets.names)
    table = pd.DataFrame(columns=RELATIONS)
    if relations is not None:
        sources.append(Source.read(relations, "relations"))
        rows = parse_edges(sources[1], "parent-child")
        table = pd.DataFrame(rows, columns=["parent", "child", "type"]).assign(type="part_of")
        names = {term: "" for row in rows for term in row[:2]} | names
    return Ontology.assemble(
        pd.DataFrame({"name": names}),
        table,
        sets.annotations(),
        step="read gmt",
        provenance=[provenance("GMT", *sources)],
        log=sets.log,
    )


def parse_gmt(source: Source, *, ids: Literal["auto", "name", "description"] = "auto") -> GeneSets:
    """The sets of a GMT file, before they become an ontology."""
    choose("ids", ids, ("auto", "name", "description"))
    rows = list(_rows(source))
    described = [fields[1] for _, fields in rows]
    if ids == "auto":
        unique = len(set(described)) == len(described)
        ids = "description" if unique and all(map(IDENTIFIER.fullmatch, described)) else "name"
    names: dict[str, str] = {}
    genes: dict[str, list[str]] = {}
    again: list[str] = []
    for number, (name, description, *members) in rows:
        term = description if ids == "description" else name
        if not term:
            raise source.error(f"a gene set has no {ids}; every line needs one to name its set.", number)
        if term in genes:
            again.append(term)
        names.setdefault(term, name)
        genes.setdefault(term, []).extend(members)
    repeated = {
        f"{gene} @ {term}"
        for term, members in genes.items()
        if len(set(members)) < len(members)
        for gene, n in Counter(members).items()
        if n > 1
    }
    empty = [term for term, members in genes.items() if not members]
    entries = (
        Entry.of("read gmt", "terms", again, "occur in several lines; their genes were joined"),
        Entry.of("read gmt", "annotations", repeated, "repeated in their set and kept once"),
        Entry.of("read gmt", "terms", empty, "kept without genes: their set is empty"),
    )
    distinct = {term: list(dict.fromkeys(members)) for term, members in genes.items()}
    return GeneSets(names, distinct, tuple(entry for entry in entries if entry.names))


def _rows(source: Source) -> Iterator[tuple[int, list[str]]]:
    """Number and fields of each line: name, description, genes; the literal field of old Reactome files is gone."""
    for number, line in source.lines():
        fields = [part.strip() for part in line.split("\t")]
        if len(fields) < 2:
            raise source.error(
                f"a GMT line needs a name, a description and genes, separated by tabs; this one is {culprits(fields)}.",
                number,
            )
        if len(fields) > 2 and fields[2] == LITERAL:
            del fields[2]
        yield number, [*fields[:2], *filter(None, fields[2:])]

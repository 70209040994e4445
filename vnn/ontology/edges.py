"""Edge lists: two or three columns, as DrugCell, NeST, G2PT, KPNN and many users write them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Literal

import pandas as pd

from vnn._errors import choose, culprits
from vnn.ontology.log import Entry
from vnn.ontology.ontology import ANNOTATIONS, MEMBERSHIP, REGULATION, RELATIONS, Ontology
from vnn.ontology.source import Source, provenance

HEADERS = {
    ("parent", "child"): "parent-child",
    ("child", "parent"): "child-parent",
    ("source", "target"): "child-parent",
}
GENE = "gene"


def read_edges(
    path: Path | str,
    *,
    direction: Literal["parent-child", "child-parent"],
    genes: Literal["auto", "typed", "leaves", "none"] = "auto",
) -> Ontology:
    """An ontology from an edge list.

    Columns are separated by tabs, commas or spaces. A third column tells the type of the edge: `gene` for an
    annotation (DrugCell: `term ⇥ gene ⇥ gene`), the name of a relation, or any other word (`default`, `BP`),
    which is read as `part_of` and counted. The direction is told, never guessed, because projects differ.

    Parameters
    ----------
    path
        Plain or gzip; a header of `parent,child`, `child,parent` or `source,target` is recognised and must agree
        with `direction`.
    direction
        "parent-child" where the first column is the upper term (DrugCell, KPNN, Reactome), "child-parent" where
        the signal runs from the first column to the second.
    genes
        How genes are told from terms: by a third column ("typed"), as nodes that have no child ("leaves"), or not
        at all ("none"). By default typed where a row has the type `gene`, otherwise leaves.
    """
    choose("direction", direction, ("parent-child", "child-parent"))
    choose("genes", genes, ("auto", "typed", "leaves", "none"))
    source = Source.read(path, "edges")
    rows = parse_edges(source, direction)
    if genes == "auto":
        genes = "typed" if any(kind == GENE for _, _, kind in rows) else "leaves"
    table = pd.DataFrame(rows, columns=["parent", "child", "type"])
    if genes == "typed":
        annotates = table["type"] == GENE
    elif genes == "leaves":
        annotates = ~table["child"].isin(table["parent"])
    else:
        annotates = pd.Series(False, index=table.index)
    related = table[~annotates]
    known = related["type"].isin((*MEMBERSHIP, *REGULATION))
    log = []
    for word, group in related[~known & (related["type"] != "")].groupby("type"):
        pairs = {f"{row.child} -> {row.parent}" for row in group.itertuples()}
        log.append(Entry.of("read edges", "relations", pairs, f"read as part_of: their type is {word!r}"))
    annotations = table[annotates].rename(columns={"child": "gene", "parent": "term"})[ANNOTATIONS[:2]]
    every = pd.unique(pd.concat([related["parent"], related["child"], annotations["term"]]))
    return Ontology.assemble(
        pd.DataFrame({"name": ""}, index=pd.Index(every, dtype=object)),
        related.assign(type=related["type"].where(known, "part_of"))[RELATIONS],
        annotations,
        step="read edges",
        provenance=[provenance("edge list", source)],
        log=log,
    )


def parse_edges(source: Source, direction: str) -> list[tuple[str, str, str]]:
    """(parent, child, type) of every line that is no header and no comment (#)."""
    lines = [(number, line) for number, line in source.lines() if not line.startswith("#")]
    if not lines:
        raise source.error("the file has no edges; lines of parent and child are needed.")
    first = lines[0][1]
    separator = next((mark for mark in "\t," if mark in first), None)
    rows: list[tuple[str, str, str]] = []
    width = 0
    for number, line in lines:
        fields = line.split() if separator is None else next(csv.reader([line], delimiter=separator))
        fields = [part.strip() for part in fields]
        width = width or len(fields)
        if len(fields) != width or len(fields) not in (2, 3) or not all(fields[:2]):
            raise source.error(
                f"an edge needs {width if width in (2, 3) else '2 or 3'} columns, the first two not empty; "
                f"this line has {len(fields)}: {culprits(fields)}.",
                number,
            )
        if not rows and (told := HEADERS.get((fields[0].lower(), fields[1].lower()))):
            if told != direction:
                raise source.error(
                    f"the header says {line.strip()!r}, but direction is {direction!r}; use {told!r}.", number
                )
            continue
        parent, child = fields[:2] if direction == "parent-child" else fields[1::-1]
        rows.append((parent, child, fields[2] if width == 3 else ""))
    return rows

"""Edge lists: a child and a parent per line, with or without types, in either direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from vnn._errors import OntologyError, choose, culprits
from vnn.ontology import writing
from vnn.ontology.log import Entry
from vnn.ontology.ontology import ANNOTATIONS, MEMBERSHIP, REGULATION, RELATIONS, Ontology
from vnn.ontology.source import Source, provenance

DIRECTIONS = ("parent-child", "child-parent")
ROLES = {"parent": "parent", "child": "child", "source": "child", "target": "parent"}
COLUMNS = ("parent", "child", "type", "evidence", "qualifier")
GENE = "gene"


def read_edges(
    path: Path | str,
    *,
    direction: Literal["parent-child", "child-parent"] | None = None,
    columns: Mapping[str, str] | None = None,
    genes: Literal["auto", "typed", "leaves", "none"] = "auto",
) -> Ontology:
    """An ontology from an edge list.

    Columns are separated by tabs, commas or spaces. A third column tells the type of the edge: `gene` for an
    annotation (`term ⇥ gene ⇥ gene`), the name of a relation, or any other word (`default`, `BP`), which is read
    as `part_of` and counted. The direction is told by the header or by the caller, never guessed, because
    projects differ.

    Parameters
    ----------
    path
        Plain or gzip. A header that names `parent` and `child`, or `source` and `target` (in any order and among other
        columns), tells the direction; its columns `type`, `evidence` and `qualifier` are read and others counted.
    direction
        "parent-child" where the first column is the upper term (DrugCell, KPNN, Reactome), "child-parent" where the
        signal runs from the first column to the second. Needed without such a header, and it must agree with one.
    columns
        Names in the header for `parent` and `child`, and optionally `type`, `evidence` and `qualifier`:
        `{"child": "Gene", "parent": "Pathway"}`.
    genes
        How genes are told from terms: by a third column ("typed"), as nodes that have no child ("leaves"), or not
        at all ("none"). By default typed where a row has the type `gene`, otherwise leaves.

    Raises
    ------
    OntologyError
        If neither header nor caller tells the direction, the two disagree, or a line is ragged.
    """
    if direction is not None:
        choose("direction", direction, DIRECTIONS)
    choose("genes", genes, ("auto", "typed", "leaves", "none"))
    source = Source.read(path, "edges")
    table, unread = edge_table(source, direction, columns)
    if genes == "auto":
        genes = "typed" if (table["type"] == GENE).any() else "leaves"
    if genes == "typed":
        annotates = table["type"] == GENE
    elif genes == "leaves":
        annotates = ~table["child"].isin(table["parent"])
    else:
        annotates = pd.Series(False, index=table.index)
    log = [Entry.of("read edges", "columns", unread, "not read")] if unread else []
    return from_table(table, annotates, step="read edges", log=log, provenance=[provenance("edge list", source)])


def write_edges(ontology: Ontology, path: Path | str) -> tuple[Entry, ...]:
    """Write relations and annotations as one table that `read_edges` reads back with `genes="typed"`.

    Columns `child,parent,type` and, where any is known, `evidence` and `qualifier`; a row of the type `gene` is an
    annotation.

    Parameters
    ----------
    path
        Commas for `.csv`, tabs for `.tsv` and `.txt`; gzipped if `.gz` follows.

    Returns
    -------
    What the file does not hold: names, namespaces, terms without any relation or gene.
    """
    genes = ontology.annotations.rename(columns={"gene": "child", "term": "parent"}).assign(type=GENE)
    table = pd.concat([ontology.relations, genes]).reindex(columns=["child", "parent", *COLUMNS[2:]]).fillna("")
    if table.empty:
        raise OntologyError("the ontology has neither relations nor annotations; there is nothing to write.")
    for name in ("evidence", "qualifier"):
        if (table[name] == "").all():
            table = table.drop(columns=name)
    writing.put_table(path, table)
    return writing.left_out(ontology, "write edges", ("types", "evidence", "relations"))


def from_table(
    table: pd.DataFrame,
    annotates: pd.Series,
    *,
    step: str,
    log: Sequence[Entry],
    provenance: Sequence[Mapping[str, Any]],
) -> Ontology:
    """An ontology from rows of parent, child and type, of which some annotate a gene (the child) to a term."""
    related, read_as = known_relations(table[~annotates], step=step)
    annotations = table[annotates].rename(columns={"child": "gene", "parent": "term"})
    every = pd.unique(pd.concat([related["parent"], related["child"], annotations["term"]]))
    return Ontology.assemble(
        pd.DataFrame({"name": ""}, index=pd.Index(every, dtype=object)),
        related[RELATIONS],
        annotations.reindex(columns=ANNOTATIONS, fill_value=""),
        step=step,
        provenance=provenance,
        log=[*log, *read_as],
    )


def known_relations(table: pd.DataFrame, *, step: str, called: str = "type") -> tuple[pd.DataFrame, list[Entry]]:
    """Rows of parent, child and type with the names of relations, and what became of other words."""
    known = table["type"].isin((*MEMBERSHIP, *REGULATION))
    entries = []
    for word, group in table[~known & (table["type"] != "")].groupby("type"):
        pairs = set(group["child"] + " -> " + group["parent"])
        entries.append(Entry.of(step, "relations", pairs, f"read as part_of: their {called} is {word!r}"))
    return table.assign(type=table["type"].where(known, "part_of")), entries


def parse_edges(source: Source, direction: str) -> list[tuple[str, str, str]]:
    """(parent, child, type) of every line that is no header and no comment (#)."""
    table, _ = edge_table(source, direction)
    return list(table[["parent", "child", "type"]].itertuples(index=False, name=None))


def edge_table(
    source: Source, direction: str | None, columns: Mapping[str, str] | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """Columns parent, child, type, evidence, qualifier ("" where unknown), and the names of the columns not read."""
    lines = list(source.rows(comments="#"))
    if not lines:
        raise source.error("the file has no edges; lines of parent and child are needed.")
    number, header = lines[0]
    at = _header(source, number, header, direction, columns)
    if at:
        width, lines = len(header), lines[1:]
    elif direction is None:
        raise source.error(
            f"the first line, {culprits(header)}, does not tell which column is the parent. Say it: "
            'direction="parent-child" or "child-parent", or columns={"child": ..., "parent": ...}.',
            number,
        )
    else:
        width = len(header) if len(header) in (2, 3) else 0
        at = (
            {"parent": 0, "child": 1, "type": 2}
            if direction == "parent-child"
            else {"child": 0, "parent": 1, "type": 2}
        )
    rows = []
    for number, fields in lines:
        if len(fields) != width or not (fields[at["parent"]] and fields[at["child"]]):
            raise source.error(
                f"an edge needs {width or '2 or 3'} columns, the first two not empty; "
                f"this line has {len(fields)}: {culprits(fields)}.",
                number,
            )
        rows.append([fields[at[name]] if at.get(name, width) < width else "" for name in COLUMNS])
    unread = [name for i, name in enumerate(header) if name and i not in at.values()]
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype=object), unread


def _header(
    source: Source,
    number: int,
    fields: Sequence[str],
    direction: str | None,
    columns: Mapping[str, str] | None,
) -> dict[str, int]:
    """Where each column of an edge stands; empty where the first line is no header."""
    if columns is not None:
        for role in columns:
            choose("a column of an edge list", role, COLUMNS)
        if missing := [name for name in columns.values() if name not in fields]:
            raise source.error(f"the header lacks {culprits(missing)}; it has {culprits(fields, 20)}.", number)
        if missing := [role for role in COLUMNS[:2] if role not in columns]:
            raise source.error(f"columns does not tell which column is the {missing[0]}.", number)
        return {role: list(fields).index(name) for role, name in columns.items()}
    words = [word.lower() for word in fields]
    ends = next((pair for pair in (("parent", "child"), ("source", "target")) if set(pair) <= set(words)), None)
    if ends is None:
        return {}
    at = {ROLES[word]: words.index(word) for word in ends}
    told = "parent-child" if at["parent"] < at["child"] else "child-parent"
    if direction is not None and told != direction:
        raise source.error(f"the header says {culprits(fields)}, but direction is {direction!r}; use {told!r}.", number)
    return at | {word: words.index(word) for word in COLUMNS[2:] if word in words}

"""Masks of 0 and 1 in text, as BANNs (doi:10.1371/journal.pgen.1009754) and PASNet (doi:10.1186/s12859-018-2500-z) use them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import sparse

from vnn._errors import OntologyError, choose, culprits
from vnn.ontology.log import Entry
from vnn.ontology.ontology import ANNOTATIONS, RELATIONS, Ontology
from vnn.ontology.source import Source, provenance
from vnn.ontology.topology import Topology

Rows = Literal["inputs", "nodes"]


def read_mask(
    path: Path | str,
    *,
    rows: Rows | None = None,
    inputs: Sequence[str] | None = None,
    nodes: Sequence[str] | None = None,
    levels: Sequence[str] | None = None,
) -> Topology:
    """A topology of two levels from a matrix of 0 and 1, such as SNPs x SNP sets of BANNs.

    Separated by tabs, commas or spaces, with or without names of rows and columns, numbers in any notation. Inputs and
    nodes without an edge leave and are counted.

    Parameters
    ----------
    rows
        Whether the rows are the inputs (BANNs) or the nodes above them (PASNet). May be left out only where the names in
        the file meet `inputs` on one side.
    inputs
        Names of the inputs: in their order where the file has none, in any order otherwise.
    nodes
        Names of the nodes, in their order, where the file has none. Numbers are made up and logged where no names are
        known.
    levels
        Names of the two levels: "inputs" and "level 1" unless given.

    Raises
    ------
    OntologyError
        If a value is neither 0 nor 1, a line is ragged, names and matrix differ in number, or the orientation is not known.
    """
    source = Source.read(path, "mask")
    below, above, matrix = _oriented(source, rows, inputs)
    log = []
    sides = []
    for what, found, given, n in (("inputs", below, inputs, matrix.shape[0]), ("nodes", above, nodes, matrix.shape[1])):
        if found is None and given is None:
            log.append(Entry.of("read mask", "levels", [what], "named by number: the file has no names"))
        names = found or list(given or numbered(n))
        if len(names) != n:
            raise source.error(f"the matrix has {n:,} {what}, and {len(names):,} names of {what} are given.")
        sides.append(names)
    return chain(
        [sparse.coo_array(matrix)],
        sides,
        step="read mask",
        levels=levels,
        log=log,
        provenance=[provenance("mask", source)],
    )


def read_gene_mask(
    path: Path | str, *, rows: Literal["genes", "terms"] | None = None, genes: Collection[str] = ()
) -> Ontology:
    """An ontology from a named matrix of 0 and 1, such as pathways x genes of PASNet.

    Parameters
    ----------
    rows
        Whether the rows are genes or terms. May be left out only where the names in the file meet `genes` on one side.
    genes
        Names of known genes, such as those measured.

    Returns
    -------
    An ontology without a hierarchy. Terms without genes stay; genes without terms are counted in its log.
    """
    sides: dict[str, Rows] = {"genes": "inputs", "terms": "nodes"}
    source = Source.read(path, "mask")
    below, above, matrix = _oriented(source, None if rows is None else sides[choose("rows", rows, sides)], genes)
    if below is None or above is None:
        raise source.error("the matrix has no names of rows and columns, which genes and terms need. Use read_mask.")
    gene, term = np.nonzero(matrix)
    lost = [name for name, row in zip(below, matrix, strict=True) if not row.any()]
    return Ontology.assemble(
        pd.DataFrame({"name": ""}, index=pd.Index(above, dtype=object)),
        pd.DataFrame(columns=RELATIONS),
        pd.DataFrame({"gene": np.array(below, dtype=object)[gene], "term": np.array(above, dtype=object)[term]})[
            ANNOTATIONS[:2]
        ],
        step="read mask",
        provenance=[provenance("mask", source)],
        log=[Entry.of("read mask", "genes", lost, "dropped: they are in no term")] if lost else [],
    )


def chain(
    matrices: Sequence[sparse.coo_array],
    names: Sequence[Sequence[str]],
    *,
    step: str,
    levels: Sequence[str] | None,
    log: Sequence[Entry],
    provenance: Sequence[Mapping[str, Any]],
) -> Topology:
    """A topology from matrices (sources x targets) of neighbouring levels, without what leads nowhere or is not reached."""
    sizes = [matrices[0].shape[0], *(matrix.shape[1] for matrix in matrices)]
    if [len(level) for level in names] != sizes:
        raise OntologyError(
            f"the masks have {culprits(sizes, 20)} nodes from the inputs up, and names are given for "
            f"{culprits([len(level) for level in names], 20)}."
        )
    titles = level_names(len(sizes), levels)
    notes = list(log)
    parts = []
    reached = np.ones(sizes[0], dtype=bool)
    kept: dict[str, np.ndarray] = {}
    for k, matrix in enumerate(matrices):
        label, above = np.array(list(names[k]), dtype=object), np.array(list(names[k + 1]), dtype=object)
        for title, given in ((titles[k], names[k]), (titles[k + 1], names[k + 1])):
            if len(set(given)) < len(given):
                again = pd.Index(list(given))
                raise OntologyError(
                    f"names of {title} are there twice: {culprits(sorted(set(again[again.duplicated()])))}."
                )
        low, high = matrix.row[matrix.data != 0], matrix.col[matrix.data != 0]
        low, high = low[reached[low]], high[reached[low]]
        if not len(low):
            raise OntologyError(f"no edge leads from {titles[k]!r} to {titles[k + 1]!r}: the mask is all 0.")
        if k == 0:
            leads = np.isin(np.arange(sizes[0]), low)
            kept[titles[0]] = label[leads]
            notes.append(Entry.of(step, f"nodes of {titles[0]}", label[~leads], "dropped: they lead to no node"))
        reached = np.isin(np.arange(sizes[k + 1]), high)
        kept[titles[k + 1]] = above[reached]
        notes.append(Entry.of(step, f"nodes of {titles[k + 1]}", above[~reached], "dropped: no input reaches them"))
        ends = {"source_level": titles[k], "source": label[low], "target_level": titles[k + 1], "target": above[high]}
        parts.append(pd.DataFrame(ends))
    return Topology.from_edges(
        kept,
        pd.concat(parts, ignore_index=True),
        log=[entry for entry in notes if entry.names],
        provenance=provenance,
    )


def level_names(n: int, given: Sequence[str] | None) -> list[str]:
    """Names of `n` levels, "inputs" and "level 1" onwards unless given."""
    if given is None:
        return ["inputs", *(f"level {k}" for k in range(1, n))]
    if len(given) != n:
        raise OntologyError(f"there are {n:,} levels, and {len(given):,} names of levels are given: {culprits(given)}.")
    return list(given)


def numbered(n: int) -> list[str]:
    """Names of `n` nodes that sort in their order: "00", "01", ..."""
    return [str(i).zfill(len(str(n - 1))) for i in range(n)]


def _oriented(
    source: Source, rows: Rows | None, inputs: Collection[str] | None
) -> tuple[list[str] | None, list[str] | None, np.ndarray]:
    """Names of inputs and of nodes, None where the file has none, and the matrix (n_inputs, n_nodes)."""
    row_names, column_names, matrix = _parse(source)
    if rows is None:
        if row_names is None or column_names is None or not inputs:
            raise source.error(
                'the file does not tell what its rows are. Say it: rows="inputs" or "nodes" ("genes" or "terms").'
            )
        wanted = set(inputs)
        met = {"rows": len(wanted & set(row_names)), "columns": len(wanted & set(column_names))}
        if bool(met["rows"]) == bool(met["columns"]):
            raise source.error(
                f"{met['rows']:,} names of rows and {met['columns']:,} of columns meet the {len(wanted):,} names given "
                f"(rows: {culprits(row_names, 3)}; columns: {culprits(column_names, 3)}). Say what the rows are."
            )
        rows = "inputs" if met["rows"] else "nodes"
    if choose("rows", rows, ("inputs", "nodes")) == "inputs":
        return row_names, column_names, matrix
    return column_names, row_names, matrix.T


def _parse(source: Source) -> tuple[list[str] | None, list[str] | None, np.ndarray]:
    """Names of rows and of columns, None where the file has none, and the matrix of bool as it stands."""
    lines = list(source.rows())
    header = lines[0][1]
    named = not all(map(_is_number, header))
    if named and len(lines) == 1:
        raise source.error("the file has a header and no line below it.")
    first = lines[named][1]
    shorter = len(header) == len(first) - 1
    labelled = named and (shorter or not header[0] or not _is_number(first[0]))
    columns = header if shorter else header[labelled:]
    names: list[str] = []
    values = []
    for number, row_fields in lines[named:]:
        fields = row_fields[labelled:]
        names.extend(row_fields[:labelled])
        if len(fields) != len(columns):
            raise source.error(f"a line needs {len(columns):,} values; this one has {len(fields):,}.", number)
        try:
            row = np.array(fields, dtype=np.float64)
        except ValueError:
            row = np.array([float(field) if _is_number(field) else np.nan for field in fields])
        if not np.isin(row, (0, 1)).all():
            wrong = [field for field, value in zip(fields, row, strict=True) if value not in (0, 1)]
            raise source.error(f"a mask holds 0 and 1; this line has {culprits(wrong)}.", number)
        values.append(row != 0)
    return names if labelled else None, columns if named else None, np.array(values)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

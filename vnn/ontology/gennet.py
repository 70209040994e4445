"""GenNet's topologies: a table of paths, or a folder of sparse masks (doi:10.1038/s42003-021-02622-z)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from vnn._atomic import sha256
from vnn._errors import OntologyError, culprits
from vnn.ontology import writing
from vnn.ontology.log import Entry
from vnn.ontology.masks import chain, level_names, numbered
from vnn.ontology.source import Source, provenance
from vnn.ontology.topology import Topology

COLUMN = re.compile(r"layer(\d+)_(node|name)")


def read_gennet(path: Path | str, *, levels: Sequence[str] | None = None) -> Topology:
    """A topology from GenNet's topology.csv.

    A row is a path from an input to the last layer, with the number (`layer0_node`) and the name (`layer0_name`) of a node
    of every layer. Edges above the first layer repeat from row to row and are counted once. Nodes go by their names,
    padding taken off; the numbers need no order. GenNet's output, above the last layer, is not in the file.

    Parameters
    ----------
    path
        Plain or gzip; an unnamed first column is the index of a data frame.
    levels
        Names of the levels from the inputs up: "inputs", "level 1", ... unless given.

    Raises
    ------
    OntologyError
        If columns are missing, or a layer gives one number two names, or one name to two numbers.
    """
    source = Source.read(path, "topology")
    lines = source.rows()
    number, header = next(lines)
    at = {match.groups(): i for i, name in enumerate(header) if (match := COLUMN.fullmatch(name))}
    depth = len(at) // 2
    if depth < 2 or at.keys() != {(str(k), what) for k in range(depth) for what in ("node", "name")}:
        raise source.error(
            "columns layer0_node, layer0_name, layer1_node, layer1_name, ... are needed, at least two layers without a gap; "
            f"the header has {culprits(header, 20)}.",
            number,
        )
    ids = [at[str(k), "node"] for k in range(depth)]
    names = [at[str(k), "name"] for k in range(depth)]
    called: list[dict[str, str]] = [{} for _ in range(depth)]
    rows = []
    for number, fields in lines:
        if len(fields) != len(header) or not all(fields[i] for i in (*ids, *names)):
            raise source.error(
                f"a path needs {len(header)} fields, every node with number and name; this line has {culprits(fields, 8)}.",
                number,
            )
        path_names = [fields[i] for i in names]
        for k, name in enumerate(path_names):
            if called[k].setdefault(fields[ids[k]], name) != name:
                raise source.error(
                    f"layer {k} calls its node {fields[ids[k]]} {called[k][fields[ids[k]]]!r} and {name!r}.", number
                )
        rows.append(path_names)
    if not rows:
        raise source.error("the file has a header and no path below it.")
    for k, known in enumerate(called):
        again = pd.Index(list(known.values()))
        if again.has_duplicates:
            twice = sorted(set(again[again.duplicated()]))
            raise source.error(
                f"layer {k} gives {len(twice):,} names to several nodes each: {culprits(twice)}. Nodes are joined by "
                "name, so each needs one of its own."
            )
    paths = pd.DataFrame(rows, dtype=object)
    titles = level_names(depth, levels)
    edges = [
        pd.DataFrame(
            {"source_level": titles[k], "source": paths[k], "target_level": titles[k + 1], "target": paths[k + 1]}
        ).drop_duplicates()
        for k in range(depth - 1)
    ]
    unread = {name for i, name in enumerate(header) if name and i not in at.values()}
    return Topology.from_edges(
        {title: paths[k].unique() for k, title in enumerate(titles)},
        pd.concat(edges, ignore_index=True),
        log=[Entry.of("read gennet", "columns", unread, "not read")] if unread else [],
        provenance=[provenance("GenNet topology", source)],
    )


def read_gennet_masks(
    folder: Path | str, *, names: Sequence[Sequence[str]] | None = None, levels: Sequence[str] | None = None
) -> Topology:
    """A topology from a folder of `*.npz` files, one sparse matrix (inputs x outputs) per layer, in the order of their names.

    The matrices have no names. Rows and columns without an entry, and all nodes that no input reaches then, leave and
    are counted.

    Parameters
    ----------
    names
        Node names of every level in the order of rows and columns, from the inputs up; numbers ("00", "01", ...) are
        made up and logged unless given.
    levels
        Names of the levels: "inputs", "level 1", ... unless given.
    """
    files = sorted(Path(folder).glob("*.npz"))
    if not files:
        raise OntologyError(f"{folder} holds no .npz file; one sparse mask per layer is needed.")
    matrices = []
    for file in files:
        try:
            matrices.append(sparse.coo_array(sparse.load_npz(file)))
        except Exception as error:
            raise OntologyError(f"{file} is no sparse matrix that scipy.sparse.save_npz wrote: {error}.") from error
        if matrices[1:] and matrices[-2].shape[1] != matrices[-1].shape[0]:
            raise OntologyError(
                f"{files[len(matrices) - 2].name} has {matrices[-2].shape[1]:,} columns, and the next mask by name, "
                f"{file.name}, has {matrices[-1].shape[0]:,} rows. Name the files so that they sort from the inputs up."
            )
    sizes = [matrices[0].shape[0], *(matrix.shape[1] for matrix in matrices)]
    log = []
    if names is None:
        names = [numbered(n) for n in sizes]
        log.append(
            Entry.of("read gennet", "levels", level_names(len(sizes), levels), "named by number: masks have no names")
        )
    record = provenance("GenNet masks")
    record["files"] = [{"name": file.name, "role": "mask", "sha256": sha256(file)} for file in files]
    return chain(matrices, names, step="read gennet", levels=levels, log=log, provenance=[record])


def write_gennet(
    topology: Topology, path: Path | str, *, chromosomes: Mapping[str, str] | None = None
) -> tuple[Entry, ...]:
    """Write topology.csv: rows of paths that together hold every edge.

    Parameters
    ----------
    path
        Ends in `.csv` or `.csv.gz`.
    chromosomes
        Chromosome of each input, for GenNet's Manhattan plot; 0 where unknown.

    Returns
    -------
    What the file does not hold: readable names, names of levels, that a node is a copy.

    Raises
    ------
    OntologyError
        If an edge skips a level, or a node ends below the last level: neither lies on a path through all layers.
    """
    order = [level.name for level in topology.levels]
    skips = [mask for mask in topology.masks if order.index(mask.target_level) - order.index(mask.source_level) > 1]
    if skips:
        raise OntologyError(
            f"{sum(map(len, skips)):,} edges pass over a level ({skips[0].source_level!r} -> {skips[0].target_level!r}), and a "
            'row of topology.csv has a node of every layer. Build the topology with skips="copies".'
        )
    if ends := [node for level, node in topology.outputs if level != order[-1]]:
        raise OntologyError(
            f"{len(ends):,} nodes end below the last level: {culprits(ends)}. Every path of topology.csv leads to the last "
            "layer; keep one root (Ontology.roots) or give the roots a common parent."
        )
    below = [np.zeros(len(level), dtype=np.int64) for level in topology.levels]
    above = [np.zeros(len(level), dtype=np.int64) for level in topology.levels]
    for k, mask in enumerate(topology.masks):
        source, target = mask.edges[::-1].T
        above[k][source] = target
        below[k + 1][target] = source
    parts = []
    for k, mask in enumerate(topology.masks):
        nodes = {k: mask.edges[:, 0].astype(np.int64), k + 1: mask.edges[:, 1].astype(np.int64)}
        for j in range(k, 0, -1):
            nodes[j - 1] = below[j][nodes[j]]
        for j in range(k + 1, len(order) - 1):
            nodes[j + 1] = above[j][nodes[j]]
        parts.append(np.stack([nodes[j] for j in range(len(order))], axis=1))
    paths = np.unique(np.concatenate(parts), axis=0)
    inputs = np.array(topology.inputs, dtype=object)[paths[:, 0]]
    table: dict[str, Any] = {"chr": [(chromosomes or {}).get(name, "0") for name in inputs]}
    for k, level in enumerate(topology.levels):
        table[f"layer{k}_node"] = paths[:, k].astype(str).astype(object)
        table[f"layer{k}_name"] = np.array(level.nodes, dtype=object)[paths[:, k]]
    writing.put_table(path, pd.DataFrame(table, dtype=object))
    copies = {f"{node} @ {level.name}" for level in topology.levels for node in level.copies}
    entries = (
        Entry.of("write gennet", "nodes", topology.names, "written without their readable names"),
        Entry.of("write gennet", "nodes", copies, "written as nodes of their own: the format has no copies"),
        Entry.of(
            "write gennet", "levels", set(order) - set(level_names(len(order), None)), "written without their names"
        ),
    )
    return tuple(entry for entry in entries if entry.names)

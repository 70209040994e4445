"""A topology as one table of edges, to be read by people and other programs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from vnn._errors import culprits
from vnn.ontology import writing
from vnn.ontology.log import Entry
from vnn.ontology.source import Source, provenance
from vnn.ontology.topology import Topology

COLUMNS = ["source_depth", "source_level", "source", "target_depth", "target_level", "target", "copy"]


def write_topology(topology: Topology, path: Path | str) -> tuple[Entry, ...]:
    """Write a row per edge: depth, level and node of its source and of its target, and whether the target is a copy.

    `Topology.save` keeps everything; this table is for others. Depth 0 are the inputs.

    Parameters
    ----------
    path
        Commas for `.csv`, tabs for `.tsv` and `.txt`; gzipped if `.gz` follows.

    Returns
    -------
    What the file does not hold: readable names of nodes.
    """
    depth = {level.name: str(i) for i, level in enumerate(topology.levels)}
    copies = {(level.name, node) for level in topology.levels for node in level.copies}
    edges = topology.to_edges()
    table = edges.assign(
        source_depth=edges["source_level"].map(depth),
        target_depth=edges["target_level"].map(depth),
        copy=["copy" if end in copies else "" for end in zip(edges["target_level"], edges["target"], strict=True)],
    )
    writing.put_table(path, table[COLUMNS].astype(object))
    entry = Entry.of("write topology", "nodes", topology.names, "written without their readable names")
    return (entry,) if entry.names else ()


def read_topology(path: Path | str) -> Topology:
    """Read the table of edges that `write_topology` writes; the order of its rows and columns does not matter.

    Raises
    ------
    OntologyError
        If columns are missing, a line is ragged, a depth is no number, or one depth has two levels.
    """
    source = Source.read(path, "topology")
    lines = source.rows()
    number, header = next(lines)
    if missing := [name for name in COLUMNS if name not in header]:
        raise source.error(f"the header lacks {culprits(missing)}; it has {culprits(header, 20)}.", number)
    at = [header.index(name) for name in COLUMNS]
    levels: dict[int, str] = {}
    rows = []
    for number, fields in lines:
        if len(fields) != len(header) or not all(fields[i] for i in at[:-1]):
            raise source.error(
                f"an edge needs {culprits(COLUMNS[:-1], 6)}; this line has {culprits(fields, 8)}.", number
            )
        row = dict(zip(COLUMNS, (fields[i] for i in at), strict=True))
        for end in ("source", "target"):
            depth, level = row[f"{end}_depth"], row[f"{end}_level"]
            if not depth.isdecimal():
                raise source.error(f"the depth {depth!r} is no number from 0.", number)
            if levels.setdefault(int(depth), level) != level:
                raise source.error(f"depth {depth} is called {levels[int(depth)]!r} and {level!r}.", number)
        rows.append(row)
    if not rows:
        raise source.error("the file has a header and no edge below it.")
    table = pd.DataFrame(rows, columns=COLUMNS, dtype=object)
    ends = [table[[f"{end}_level", end]].set_axis(["level", "node"], axis=1) for end in ("source", "target")]
    nodes = pd.concat(ends).drop_duplicates()
    copied = table[table["copy"] == "copy"]
    return Topology.from_edges(
        {levels[depth]: nodes["node"][nodes["level"] == levels[depth]] for depth in sorted(levels)},
        table[["source_level", "source", "target_level", "target"]],
        copies={str(level): set(group["target"]) for level, group in copied.groupby("target_level")},
        provenance=[provenance("topology table", source)],
    )

"""What a topology asks a network to compute: weighted edges between original nodes, level by level.

An identity copy has the value of its original, so an edge out of a copy is an edge out of the
original. Resolving copies here makes a topology with copies and one with skip edges the same program.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vnn.ontology.order import each_once
from vnn.ontology.topology import Topology


@dataclass(frozen=True, eq=False)
class Stage:
    """One level as it is computed.

    Parameters
    ----------
    level
        Name of the level.
    nodes
        Ids of its own nodes; copies are not among them.
    edges
        By source level the pairs (own node of the source level, own node of this level), sorted as a mask.
    """

    level: str
    nodes: tuple[str, ...]
    edges: dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Resolved:
    """The stages of a topology, and where the value of each of its nodes is found.

    Parameters
    ----------
    stages
        Every level above the inputs that has nodes of its own.
    origin
        By level: index of the level that computes each node, and the row of the node among that level's own nodes.
    """

    stages: tuple[Stage, ...]
    origin: dict[str, tuple[np.ndarray, np.ndarray]]


def resolve(topology: Topology) -> Resolved:
    """The stages of a topology with copies replaced by what they repeat."""
    order = {level.name: i for i, level in enumerate(topology.levels)}
    origin: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for i, level in enumerate(topology.levels):
        where, row = np.full(len(level), i), np.zeros(len(level), dtype=np.int64)
        own = level.own
        row[own] = np.arange(own.sum())
        if not own.all():
            below = topology.levels[i - 1]
            at = {node: j for j, node in enumerate(below.nodes)}
            from_below = np.array([at[level.nodes[j]] for j in np.flatnonzero(~own)])
            where[~own], row[~own] = (values[from_below] for values in origin[below.name])
        origin[level.name] = where, row
    stages = []
    for level in topology.levels[1:]:
        found: dict[str, list[np.ndarray]] = {}
        own_level = order[level.name]
        for mask in topology.masks:
            if mask.target_level != level.name:
                continue
            target_where, target_row = (values[mask.edges[:, 1]] for values in origin[level.name])
            source_where, source_row = (values[mask.edges[:, 0]] for values in origin[mask.source_level])
            computed = target_where == own_level
            for i in np.unique(source_where[computed]):
                kept = computed & (source_where == i)
                pairs = np.stack([source_row[kept], target_row[kept]], axis=1)
                found.setdefault(topology.levels[i].name, []).append(pairs)
        if nodes := level.own_nodes:
            edges = {
                name: _sorted(np.concatenate(parts)) for name, parts in sorted(found.items(), key=lambda f: order[f[0]])
            }
            stages.append(Stage(level.name, nodes, edges))
    return Resolved(tuple(stages), origin)


def complete(rows: np.ndarray, n_targets: int) -> np.ndarray:
    """All pairs of some source nodes with every target, sorted as a mask."""
    rows = np.unique(rows)
    return np.stack([np.tile(rows, n_targets), np.repeat(np.arange(n_targets), len(rows))], axis=1)


def _sorted(pairs: np.ndarray) -> np.ndarray:
    """Pairs by target, then source, each once."""
    if not len(pairs):
        return pairs
    n = pairs[:, 0].max() + 1
    key = pairs[:, 1] * n + pairs[:, 0]
    if (np.diff(key) <= 0).any():
        key = each_once(key)
    return np.stack([key % n, key // n], axis=1)

"""Directed acyclic graphs as index arrays: cycles, longest paths and reachability."""

from __future__ import annotations

import networkx as nx
import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components


def incidence(shape: tuple[int, int], row: np.ndarray, column: np.ndarray) -> sparse.csr_array:
    """The boolean matrix that is true at (row, column)."""
    return sparse.csr_array((np.ones(len(row), dtype=bool), (row, column)), shape=shape)


def adjacency(n: int, child: np.ndarray, parent: np.ndarray) -> sparse.csr_array:
    """The boolean (n, n) matrix that is true at (child, parent)."""
    return incidence((n, n), child, parent)


def knots(n: int, child: np.ndarray, parent: np.ndarray) -> np.ndarray:
    """The strongly connected component of each node, -1 where the node is on no cycle."""
    _, component = connected_components(adjacency(n, child, parent), directed=True, connection="strong")
    return np.where(np.bincount(component, minlength=n)[component] > 1, component, -1)


def cycle(n: int, child: np.ndarray, parent: np.ndarray) -> list[int]:
    """The nodes of one cycle, starting at its smallest; empty if there is none."""
    component = knots(n, child, parent)
    if (component < 0).all():
        return []
    knot = component[np.flatnonzero(component >= 0)[0]]
    inside = (component[child] == knot) & (component[parent] == knot)
    pairs = sorted(zip(child[inside].tolist(), parent[inside].tolist(), strict=True))
    nodes = [edge[0] for edge in nx.find_cycle(nx.DiGraph(pairs))]
    first = nodes.index(min(nodes))
    return nodes[first:] + nodes[:first]


def heights(n: int, child: np.ndarray, parent: np.ndarray) -> np.ndarray:
    """Edges on the longest path that ends in each node; the graph must have no cycle."""
    above: list[list[int]] = [[] for _ in range(n)]
    for c, p in zip(child.tolist(), parent.tolist(), strict=True):
        above[c].append(p)
    waiting = np.bincount(parent, minlength=n).tolist()
    height = [0] * n
    ready = [node for node in range(n) if not waiting[node]]
    for node in ready:
        for p in above[node]:
            height[p] = max(height[p], height[node] + 1)
            waiting[p] -= 1
            if not waiting[p]:
                ready.append(p)
    return np.array(height, dtype=np.int64)


def closure(direct: sparse.csr_array) -> sparse.csr_array:
    """True at (i, j) where j is i or is reached from i, by repeated squaring."""
    reach = sparse.csr_array(direct + sparse.identity(direct.shape[0], dtype=bool, format="csr"))
    while True:
        further = sparse.csr_array(reach @ reach)
        if further.nnz == reach.nnz:
            further.sort_indices()
            return further
        reach = further


def holds(matrix: sparse.csr_array, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Whether a matrix with sorted indices has an entry at each (row, column)."""
    if not matrix.nnz:
        return np.zeros(len(row), dtype=bool)
    owner = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    keys, wanted = owner * matrix.shape[1] + matrix.indices, row.astype(np.int64) * matrix.shape[1] + column
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    found: np.ndarray = keys[at] == wanted
    return found

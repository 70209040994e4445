"""Topologies of published sizes with random edges."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from vnn.chance import generator
from vnn.ontology import Topology

PNET_LEVELS = (9_000, 1_387, 1_066, 447, 147, 26)
PNET_EDGES = 71_000
ABOVE = 2


def pnet_sized(sizes: Sequence[int] = PNET_LEVELS, n_edges: int = PNET_EDGES) -> Topology:
    """Genes and levels as many as in P-NET: two edges a node between levels, the rest from the genes.

    References
    ----------
    doi:10.1038/s41586-021-03922-4
    """
    rng = generator(0, "bench network")
    names = ["inputs", *(f"level {i}" for i in range(1, len(sizes)))]
    nodes = {name: [f"{name} {i:05}" for i in range(n)] for name, n in zip(names, sizes, strict=True)}
    upper = [min(ABOVE * below, below * above) for below, above in itertools.pairwise(sizes[1:])]
    rows = []
    for (below, above), n in zip(itertools.pairwise(names), [n_edges - sum(upper), *upper], strict=True):
        for source, target in _covering(rng, len(nodes[below]), len(nodes[above]), n):
            rows.append((below, nodes[below][source], above, nodes[above][target]))
    edges = pd.DataFrame(rows, columns=["source_level", "source", "target_level", "target"])
    return Topology.from_edges(nodes, edges)


def _covering(rng: np.random.Generator, n_in: int, n_out: int, n_edges: int) -> np.ndarray:
    """Pairs (source, target), each once, that reach every target and lead out of every source."""
    longest = max(n_in, n_out)
    if not longest <= n_edges <= n_in * n_out:
        raise ValueError(
            f"{n_edges:,} edges between {n_in:,} and {n_out:,} nodes were asked for; from {longest:,} to "
            f"{n_in * n_out:,} are possible where every node has one."
        )
    source, target = rng.permutation(longest) % n_in, np.arange(longest) % n_out
    known = np.unique(target * n_in + source)
    while len(known) < n_edges:
        more = rng.integers(n_in * n_out, size=n_edges - len(known))
        known = np.union1d(known, more)
    return np.stack([known % n_in, known // n_in], axis=1)

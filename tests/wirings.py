"""Toy wirings that each show one difficulty."""

from __future__ import annotations

import pandas as pd

from vnn.ontology import Topology

EDGES = [
    ("inputs", "a", "level 1", "x"),
    ("inputs", "b", "level 1", "x"),
    ("inputs", "b", "level 1", "y"),
    ("inputs", "c", "level 1", "y"),
    ("inputs", "d", "level 1", "y"),
    ("level 1", "x", "level 2", "p"),
    ("level 1", "y", "level 2", "p"),
    ("level 2", "p", "level 3", "r"),
]
SKIPS = [("level 1", "y", "level 3", "r"), ("inputs", "a", "level 3", "r"), ("inputs", "a", "level 2", "p")]
COPIES = [
    ("inputs", "a", "level 1", "a"),
    ("level 1", "a", "level 2", "a"),
    ("level 1", "y", "level 2", "y"),
    ("level 2", "y", "level 3", "r"),
    ("level 2", "a", "level 3", "r"),
    ("level 1", "a", "level 2", "p"),
]
COLUMNS = ["source_level", "source", "target_level", "target"]


def toy_topology(skips: str = "edges") -> Topology:
    """Four inputs, four nodes in three levels, three skips: as edges, as copies, or left out ("none")."""
    levels = {"inputs": list("abcd"), "level 1": ["x", "y"], "level 2": ["p"], "level 3": ["r"]}
    edges, copies = list(EDGES), {}
    if skips == "edges":
        edges += SKIPS
    elif skips == "copies":
        levels |= {"level 1": ["x", "y", "a"], "level 2": ["p", "y", "a"]}
        copies = {"level 1": ["a"], "level 2": ["y", "a"]}
        edges += COPIES
    return Topology.from_edges(levels, pd.DataFrame(edges, columns=COLUMNS), copies=copies)

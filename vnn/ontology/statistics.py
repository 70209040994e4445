"""An ontology and a topology in numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from vnn.ontology import dag
from vnn.ontology.ontology import MEMBERSHIP, Ontology, positions
from vnn.ontology.topology import Topology

QUARTILES = (0, 25, 50, 75, 100)


def ontology_statistics(ontology: Ontology) -> dict[str, Any]:
    """How large, deep and connected an ontology is.

    Returns
    -------
    terms; roots (no parent) and leaves (no child); depth (terms on the longest path); relations by type; genes;
    annotations (distinct pairs of gene and term) and those that propagation would add; genes_per_term, propagated, and
    terms_per_gene, as given: smallest, quartiles, largest; terms_without_genes, propagated.

    Examples
    --------
    >>> from vnn.ontology import load_ontology, ontology_statistics
    >>> found = ontology_statistics(load_ontology("human-small"))
    >>> found["terms"], found["roots"], found["depth"]
    (33, 6, 3)
    """
    relations, pairs = ontology.relations, ontology.annotations[["gene", "term"]].drop_duplicates()
    carried = relations[relations["type"].isin(MEMBERSHIP)]
    child, parent = (positions(ontology.terms.index, carried[end]) for end in ("child", "parent"))
    n = len(ontology.terms)
    sizes = ontology.sizes.to_numpy()
    return {
        "terms": n,
        "roots": int((~np.isin(np.arange(n), child)).sum()),
        "leaves": int((~np.isin(np.arange(n), parent)).sum()),
        "depth": int(dag.heights(n, child, parent).max(initial=-1)) + 1,
        "relations": {str(kind): int(count) for kind, count in relations["type"].value_counts().sort_index().items()},
        "genes": len(ontology.genes),
        "annotations": len(pairs),
        "annotations_gained_by_propagation": int(sizes.sum()) - len(pairs),
        "genes_per_term": _quartiles(sizes),
        "terms_per_gene": _quartiles(pairs["gene"].value_counts().to_numpy()),
        "terms_without_genes": int((sizes == 0).sum()),
    }


def topology_statistics(topology: Topology) -> pd.DataFrame:
    """How large and connected each level of a network is.

    Returns
    -------
    A row per level, from the inputs up: level, nodes, copies, outputs, edges (weighted ones into it), skips (those that
    come from further down than the level below), density (edges over all pairs with the levels they come from), fan_in_median,
    fan_in_max, inputs_median and inputs_max (inputs that can influence a node).
    """
    order = {level.name: at for at, level in enumerate(topology.levels)}
    outputs = pd.Series([level for level, _ in topology.outputs], dtype=object).value_counts()
    nodes = topology.table()
    rows = []
    for at, level in enumerate(topology.levels):
        own = nodes[(nodes["level"] == level.name) & ~nodes["copy"]]
        into = [mask for mask in topology.masks if mask.target_level == level.name]
        counted = [
            (mask, len(mask) - (len(level.copies) if order[mask.source_level] == at - 1 else 0)) for mask in into
        ]
        edges = sum(count for _, count in counted)
        pairs = sum(len(mask.sources) * len(own) for mask in into)
        rows.append(
            {
                "level": level.name,
                "nodes": len(own),
                "copies": len(level.copies),
                "outputs": int(outputs.get(level.name, 0)),
                "edges": edges,
                "skips": sum(count for mask, count in counted if order[mask.source_level] < at - 1),
                "density": edges / pairs if pairs else np.nan,
                "fan_in_median": float(own["fan_in"].median()),
                "fan_in_max": int(own["fan_in"].max()),
                "inputs_median": float(own["n_inputs"].median()),
                "inputs_max": int(own["n_inputs"].max()),
            }
        )
    return pd.DataFrame(rows)


def _quartiles(counts: np.ndarray) -> tuple[float, ...]:
    return tuple(np.percentile(counts, QUARTILES).tolist()) if len(counts) else ()

"""Variants of a genome in their genes, and genes in terms, of any number."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vnn.ontology import Ontology


def variants(n: int, genes: list[str]) -> dict[str, tuple[str, ...]]:
    """Variants spread over the genes in order, every ninth in two of them, every fiftieth in three; ids in no order."""
    home, last = np.arange(n) * len(genes) // n, len(genes) - 1
    size = 1 + (np.arange(n) % 9 == 0) + (np.arange(n) % 50 == 0)
    owners = {(at, k): tuple(genes[at : at + k]) for at in range(len(genes)) for k in (1, 2, 3)}
    ids = (np.arange(n) * 7919 + 13) % (10 * n + 1)
    rows = zip(ids.tolist(), home.tolist(), np.minimum(size, last - home + 1).tolist(), strict=True)
    return {f"rs{i}": owners[at, k] for i, at, k in rows}


def layered(n_genes: int, n_terms: int) -> Ontology:
    """Terms in three levels, a hundred genes each at most; half of the lowest terms' genes are in a second term too."""
    terms = [f"T{i:04}" for i in range(n_terms)]
    third = n_terms // 3
    relations = [(terms[i], terms[third + i % third], "is_a") for i in range(third)]
    relations += [(terms[third + i], terms[2 * third + i % 7], "is_a") for i in range(third)]
    annotated = [(f"G{i:05}", terms[i % third]) for i in range(n_genes)]
    annotated += [(f"G{i:05}", terms[(i // 3) % third]) for i in range(0, n_genes, 2)]
    return Ontology.assemble(
        pd.DataFrame({"name": dict.fromkeys(terms, "")}),
        pd.DataFrame(relations, columns=["child", "parent", "type"]),
        pd.DataFrame(annotated, columns=["gene", "term"]),
        step="made up",
    )

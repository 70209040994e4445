"""Measured features and the genes they stand for, by number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pandas as pd

from vnn._errors import OntologyError, culprits
from vnn.ontology.order import each_once, in_order

Features = Sequence[str] | Mapping[str, Sequence[str]]


@dataclass(frozen=True, eq=False)
class Measured:
    """Which feature stands for which genes.

    Parameters
    ----------
    names
        The features, sorted.
    genes
        The genes that features stand for, each once, in the order they were first named.
    feature, gene
        The pairs: places in `names` and in `genes`, int64 of shape (n_pairs,), each pair once.
    """

    names: np.ndarray
    genes: np.ndarray
    feature: np.ndarray
    gene: np.ndarray

    @classmethod
    def of(cls, features: Features) -> Measured:
        """Features that are their own genes, or a mapping from features to their genes.

        Raises
        ------
        OntologyError
            If a feature is listed twice.
        """
        if isinstance(features, str):
            raise TypeError(f"features is the text {features!r}; a sequence of feature names is needed.")
        names = np.array(list(features), dtype=object)
        if isinstance(features, Mapping):
            sizes = np.fromiter(map(len, features.values()), dtype=np.int64, count=len(names))
            listed = np.array(list(chain.from_iterable(features.values())), dtype=object)
        else:
            sizes, listed = np.ones(len(names), dtype=np.int64), names
        gene, genes = pd.factorize(listed, use_na_sentinel=False)
        if listed is names and len(genes) < len(names):
            twice = sorted(name for name, n in Counter(names).items() if n > 1)
            raise OntologyError(
                f"{len(twice):,} features are there twice: {culprits(twice)}. Merge or rename them first."
            )
        order = in_order(names)
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        pairs = each_once(np.repeat(place, sizes) * len(genes) + gene)
        return cls(names[order], genes, *np.divmod(pairs, max(len(genes), 1)))

    def n_genes(self, among: np.ndarray) -> np.ndarray:
        """How many of its genes each feature has among those chosen, a bool for each gene."""
        return np.bincount(self.feature[among[self.gene]], minlength=len(self.names))

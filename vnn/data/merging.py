"""Several features of one gene, such as probes or isoforms, brought together by a stated rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import sparse

from vnn._errors import AlignmentError, choose, culprits
from vnn.data.samples import Samples

RULES = ("mean", "max-variance", "sum", "separate")
ROWS = 1024


@dataclass(frozen=True, eq=False)
class Merged:
    """Samples with at most one feature per gene, unless the rule was "separate".

    Parameters
    ----------
    samples
        Features called by their gene; those of no gene keep their own name.
    genes
        The genes of each feature, none for some, as `Ontology.topology` takes it.
    """

    samples: Samples
    genes: Mapping[str, tuple[str, ...]]


def merge_features(
    samples: Samples, genes: Mapping[str, Sequence[str]], rule: Literal["mean", "max-variance", "sum", "separate"]
) -> Merged:
    """One feature for each gene.

    No rule uses labels. "mean" and "sum" look at one sample at a time; "max-variance" compares variances over
    *all* samples, held-out ones among them. A feature that stands for several genes contributes to each of
    them, so that these genes share its values.

    Parameters
    ----------
    samples
        Samples with a feature for each probe, isoform or protein.
    genes
        The genes of each feature, such as `Resolution.genes`; a feature without an entry, or with an empty
        one, belongs to no gene and stays as it is.
    rule
        "mean" or "sum" of the values that are there, missing where none is; "max-variance", the feature that
        varies most among the values that are there (the first by name if several do); or "separate", all of
        them stay, as inputs of their gene.

    Returns
    -------
    `Merged`, in the order in which genes are first met. What was brought together, shared or left out is
    counted in the log of its samples.

    Raises
    ------
    AlignmentError
        If no feature has a gene, or a feature of no gene has the name of a gene.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"p1": [1.0, 2.0], "p2": [3.0, None], "p3": [5.0, 6.0]}, index=["a", "b"])
    >>> merged = merge_features(Samples.from_frame(frame), {"p1": ["TP53"], "p2": ["TP53"], "p3": []}, "mean")
    >>> merged.samples.features, merged.samples.values.tolist()
    (('TP53', 'p3'), [[2.0, 2.0], [5.0, 6.0]])
    """
    choose("rule", rule, RULES)
    genes_of = _genes_of(samples, genes)
    members: dict[str, list[int]] = {}
    for row, found in enumerate(genes_of.values()):
        for gene in found:
            members.setdefault(gene, []).append(row)
    log = _log(samples, genes, genes_of, members)
    if rule == "separate":
        return Merged(replace(samples, log=(*samples.log, *log)), genes_of)

    alone = [name for name, found in genes_of.items() if not found]
    if clash := [name for name in alone if name in members]:
        raise AlignmentError(
            f"{len(clash):,} features of no gene have the name of a gene that others stand for: {culprits(clash)}. "
            "Give them this gene in `genes`, or rename them."
        )
    merged: dict[str, tuple[str, ...]] = {}
    rows: list[list[int]] = []
    for row, (name, found) in enumerate(genes_of.items()):
        new = [gene for gene in found if gene not in merged] if found else [name]
        merged |= {gene: (gene,) if found else () for gene in new}
        rows += [members.get(gene, [row]) for gene in new]
    if rule == "max-variance":
        variances = _variances(samples.values)
        best = [min(among, key=lambda row: (-variances[row], samples.features[row])) for among in rows]
        left = sorted(set(range(samples.n_features)) - set(best))
        log += _line(
            [samples.features[row] for row in left],
            "features vary less, over all samples and held-out ones among them, than another one of each of their genes; left out",
        )
        values = samples.values[best]
    else:
        values = _summed(samples.values, rows, mean=rule == "mean")
    values.flags.writeable = False
    count = f"merge_features: {samples.n_features:,} features became {len(merged):,} by {rule!r}"
    kept = replace(samples, values=values, features=tuple(merged), log=(*samples.log, count, *log))
    return Merged(kept, merged)


def _genes_of(samples: Samples, genes: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    if texts := [name for name, found in genes.items() if isinstance(found, str)]:
        raise TypeError(
            f"the genes of {len(texts):,} features are a single text: {culprits(texts)}. Give a sequence of genes, such "
            f"as {[genes[texts[0]]]!r}."
        )
    genes_of = {name: tuple(dict.fromkeys(genes.get(name, ()))) for name in samples.features}
    if not any(genes_of.values()):
        raise AlignmentError(
            f"none of the {samples.n_features:,} features has a gene: they look like {culprits(samples.features[:3])}, "
            f"and `genes` knows {len(genes):,} names such as {culprits(list(genes)[:3])}."
        )
    return genes_of


def _summed(values: np.ndarray, rows: list[list[int]], *, mean: bool) -> np.ndarray:
    """Sum or mean over each group of rows of the values that are there."""
    start = np.cumsum([0, *map(len, rows)])
    member = np.concatenate([np.asarray(among, dtype=np.int64) for among in rows])
    belongs = sparse.csr_array((np.ones(len(member)), member, start), shape=(len(rows), len(values)))
    missing = np.isnan(values)
    total = belongs @ np.where(missing, 0.0, values.astype(np.float64))
    present = belongs @ (~missing).astype(np.float64)
    total[present == 0] = np.nan
    if mean:
        total /= np.maximum(present, 1)
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(total, dtype=values.dtype)


def _variances(values: np.ndarray) -> np.ndarray:
    """Variance of the values that are there, -1 where there is none."""
    found = np.full(len(values), -1.0)
    for start in range(0, len(values), ROWS):
        block = values[start : start + ROWS].astype(np.float64)
        some = ~np.isnan(block).all(axis=1)
        found[start : start + ROWS][some] = np.nanvar(block[some], axis=1)
    return found


def _log(
    samples: Samples,
    genes: Mapping[str, Sequence[str]],
    genes_of: Mapping[str, tuple[str, ...]],
    members: Mapping[str, list[int]],
) -> tuple[str, ...]:
    here = set(samples.features)
    several = [f"{gene} ({len(rows)})" for gene, rows in members.items() if len(rows) > 1]
    shared = [f"{name} ({', '.join(found)})" for name, found in genes_of.items() if len(found) > 1]
    return (
        *_line(several, "genes are measured by several features"),
        *_line(shared, "features stand for several genes and contribute to each"),
        *_line(
            [name for name, found in genes_of.items() if not found], "features stand for no gene and stay as they are"
        ),
        *_line([name for name in genes if name not in here], "names in `genes` are no feature of these samples"),
    )


def _line(names: Sequence[str], what: str) -> tuple[str, ...]:
    return (f"merge_features: {len(names):,} {what}: {culprits(names)}",) if names else ()

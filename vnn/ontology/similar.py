"""Terms with nearly the same genes: which of them say nothing new."""

from __future__ import annotations

import numpy as np
from scipy import sparse

FLAT = 1e-9


def redundant(members: sparse.csr_array, rank: np.ndarray, least: float) -> np.ndarray:
    """For each set the earlier set that stands for it, itself where none does.

    Sets are looked at in the order of `rank`: one that is at least `least` alike (Jaccard index) to an earlier set that stands
    for itself is represented by the first such; the others stand for themselves. No set is represented by one that
    is itself represented, so that everything that leaves has a set left that is as like as asked.

    Two sets with a Jaccard index of at least t share one of the first |A| - ceil(t |A|) + 1 members of A when members are
    ordered from the rarest to the commonest. Only pairs that do are compared (prefix filtering), which for t near 1 are few.

    Parameters
    ----------
    members
        Boolean, (n_sets, n_members), indices sorted. Empty sets stand for themselves.
    rank
        Place of each set, (n_sets,).
    least
        Smallest Jaccard index, above 0 and at most 1.

    References
    ----------
    Bayardo, Ma & Srikant (2007), doi:10.1145/1242572.1242591
    """
    n = members.shape[0]
    found = np.arange(n)
    first, second = _alike(members, least)
    earlier = rank[first] < rank[second]
    low, high = np.where(earlier, first, second), np.where(earlier, second, first)
    order = np.lexsort((rank[low], rank[high]))
    for early, late in zip(low[order].tolist(), high[order].tolist(), strict=True):
        if found[late] == late and found[early] == early:
            found[late] = early
    return found


def _alike(members: sparse.csr_array, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of sets, each once, whose Jaccard index is at least `least`."""
    n, n_members = members.shape
    sizes = np.diff(members.indptr)
    often = np.bincount(members.indices, minlength=n_members)
    place = np.empty(n_members, dtype=np.int64)
    place[np.argsort(often, kind="stable")] = np.arange(n_members)
    owner = np.repeat(np.arange(n), sizes)
    by_rarity = np.lexsort((place[members.indices], owner))
    nth = np.arange(len(owner)) - np.repeat(members.indptr[:-1], sizes)
    kept = nth < np.repeat(sizes - np.ceil(least * sizes - FLAT).astype(np.int64) + 1, sizes)
    rows, columns = owner[kept], members.indices[by_rarity][kept]
    prefix = sparse.csr_array((np.ones(len(rows), dtype=np.int32), (rows, columns)), shape=members.shape)
    shared = sparse.coo_array(sparse.triu(prefix @ prefix.T, k=1))
    first, second = shared.row.astype(np.int64), shared.col.astype(np.int64)
    small, large = np.minimum(sizes[first], sizes[second]), np.maximum(sizes[first], sizes[second])
    could = small >= least * large - FLAT
    first, second = first[could], second[could]
    both = _overlap(members, first, second)
    either = sizes[first] + sizes[second] - both
    alike = both >= least * either - FLAT
    return first[alike], second[alike]


def _overlap(members: sparse.csr_array, first: np.ndarray, second: np.ndarray, rows: int = 4096) -> np.ndarray:
    """Number of members that the sets of each pair share."""
    counts = sparse.csr_array((members.data.astype(np.int32), members.indices, members.indptr), shape=members.shape)
    found = [
        np.asarray(counts[first[at : at + rows]].multiply(counts[second[at : at + rows]]).sum(axis=1)).ravel()
        for at in range(0, len(first), rows)
    ]
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)

"""Duplicates: one sample under two ids."""

from __future__ import annotations

from collections import defaultdict
from hashlib import blake2b
from itertools import pairwise

import numpy as np

from vnn import chance
from vnn.data.shift import standardised

ALIKE = 0.999
CANDIDATE = 0.99
FEWEST_FEATURES = 20
MOST_SAMPLES = 20_000
MOST_WORK = 2e10
COLUMNS = 1024


def duplicates(values: np.ndarray, *, seed: int) -> np.ndarray:
    """Pairs of samples that are the same, or nearly: correlated above 0.999 over the standardised features.

    Only samples in which at least 20 features differ from what is usual for them (the median) are looked at, so that
    empty profiles, as of mutations, are not taken for one another. Work is bounded: with many samples
    correlations are first taken over fewer features, drawn at random, and checked over all of them; of more than
    20,000 samples only the identical ones are found.

    Parameters
    ----------
    values
        Shape (n_features, n_samples), NaN where missing.
    seed
        Seed of the study.

    Returns
    -------
    Positions of the samples of each pair, shape (n_pairs, 2), sorted. Of several identical samples each is
    paired with the next.
    """
    if not values.size:
        return np.empty((0, 2), dtype=np.int64)
    telling = np.flatnonzero(_unusual(values) >= FEWEST_FEATURES)
    pairs = {(int(telling[a]), int(telling[b])) for a, b in _identical(values, telling)}
    if 2 <= len(telling) <= MOST_SAMPLES:
        identical = {second for _, second in pairs}
        distinct = np.array([sample for sample in telling if sample not in identical], dtype=np.int64)
        pairs |= {(int(distinct[a]), int(distinct[b])) for a, b in _correlated(values[:, distinct], seed)}
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def _unusual(values: np.ndarray) -> np.ndarray:
    """How many features of each sample differ from the median of the feature."""
    count = np.zeros(values.shape[1], dtype=np.int64)
    for start in range(0, len(values), COLUMNS):
        block = values[start : start + COLUMNS]
        n_present = (~np.isnan(block)).sum(axis=1, keepdims=True)
        middle = np.take_along_axis(np.sort(block, axis=1), np.maximum(n_present - 1, 0) // 2, axis=1)
        count += ((block != middle) & ~np.isnan(block)).sum(axis=0)
    return count


def _identical(values: np.ndarray, samples: np.ndarray) -> list[tuple[int, int]]:
    groups: dict[bytes, list[int]] = defaultdict(list)
    for start in range(0, len(samples), COLUMNS):
        block = np.ascontiguousarray(values[:, samples[start : start + COLUMNS]].T) + 0.0
        block[np.isnan(block)] = np.nan
        for offset, sample in enumerate(block):
            groups[blake2b(sample.tobytes(), digest_size=16).digest()].append(start + offset)
    return [pair for group in groups.values() for pair in pairwise(group)]


def _correlated(values: np.ndarray, seed: int) -> list[tuple[int, int]]:
    n_features, n_samples = values.shape
    most = max(50, int(MOST_WORK / max(n_samples, 1) ** 2))
    drawn = np.arange(n_features)
    if most < n_features:
        drawn = np.sort(chance.generator(seed, "data checks", "duplicates").permutation(n_features)[:most])
    screen = _directions(values[drawn])
    pairs: list[tuple[int, int]] = []
    for start in range(0, n_samples, COLUMNS):
        close = screen[:, start : start + COLUMNS].T @ screen[:, start:] > (CANDIDATE if most < n_features else ALIKE)
        first, second = np.nonzero(np.triu(close, 1))
        pairs += zip((first + start).tolist(), (second + start).tolist(), strict=True)
    if most >= n_features or not pairs:
        return pairs
    involved = np.unique(np.array(pairs))
    place = {int(sample): column for column, sample in enumerate(involved)}
    spread = _directions(values)[:, involved]
    return [(a, b) for a, b in pairs if spread[:, place[a]] @ spread[:, place[b]] > ALIKE]


def _directions(values: np.ndarray) -> np.ndarray:
    """Standardised features, each sample centred and of length 1: products are correlations."""
    scaled = standardised(values)
    scaled -= scaled.mean(axis=0)
    length = np.sqrt((scaled**2).sum(axis=0))
    return scaled / np.where(length == 0, 1, length)

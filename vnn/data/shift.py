"""Shift: whether two sets of samples come from the same source, feature by feature and altogether."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import kolmogorov
from sklearn.decomposition import KernelPCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vnn import chance
from vnn.data.leaks import FOLDS, auc, folds

COMPONENTS = 20
ROWS = 1024


@dataclass(frozen=True)
class Shift:
    """How two sets of samples differ.

    Parameters
    ----------
    share
        Share of the features that differ: Kolmogorov-Smirnov, q < 0.05 by Benjamini-Hochberg.
    smallest_q
        The smallest of these q values; 1 where no feature can be compared.
    auc
        AUC, on samples it had not seen, of a classifier that tells the two sets apart.
    error
        Standard error of this AUC.
    """

    share: float
    smallest_q: float
    auc: float
    error: float


def shifts(values: np.ndarray, sets: Sequence[tuple[np.ndarray, np.ndarray]], *, seed: int) -> tuple[Shift, ...]:
    """How the first set of samples of each pair differs from the second.

    The classifier is logistic regression on at most 20 principal components of the standardised features;
    components and regression are fitted on four fifths of the samples and judged on the last fifth. Missing
    values take the mean of their feature there, and are left out of the comparison of single features.

    Parameters
    ----------
    values
        Shape (n_features, n_samples), NaN where missing.
    sets
        Pairs of masks over the samples; at least five samples in each, none in both.
    seed
        Seed of the study.
    """
    for ours, others in sets:
        if min(ours.sum(), others.sum()) < FOLDS or (ours & others).any():
            raise ValueError(
                f"sets of {ours.sum():,} and {others.sum():,} samples share {(ours & others).sum():,}; at least {FOLDS} "
                "are needed in each, and none in both."
            )
    products = _products(values)
    found = []
    for (ours, others), p in zip(sets, kolmogorov_smirnov(values, sets), strict=True):
        q = adjusted(p[np.isfinite(p)])
        share = float((q < 0.05).mean()) if len(q) else 0.0
        compared = np.flatnonzero(ours | others)
        told = _told_apart(products[np.ix_(compared, compared)], ours[compared], len(values), seed)
        found.append(Shift(share, float(q.min(initial=1.0)), *told))
    return tuple(found)


def kolmogorov_smirnov(values: np.ndarray, sets: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """P value of each feature for one distribution in both sets, from the limiting distribution.

    It is NaN where a set has no value. With few samples, or equal values, it is on the safe side: too large.

    Parameters
    ----------
    values
        Shape (n_features, n_samples), NaN where missing.
    sets
        Pairs of masks over the samples.

    Returns
    -------
    Shape (n_pairs, n_features).
    """
    found = np.empty((len(sets), len(values)))
    for start in range(0, len(values), ROWS):
        block = values[start : start + ROWS]
        order = np.argsort(block, axis=1)
        ordered = np.take_along_axis(block, order, axis=1)
        present = ~np.isnan(ordered)
        last = present.copy()
        last[:, :-1] &= ordered[:, :-1] != ordered[:, 1:]
        for number, (ours, others) in enumerate(sets):
            below = [np.cumsum(side[order] & present, axis=1, dtype=np.int32) for side in (ours, others)]
            sizes = [count[:, -1].astype(np.float64) for count in below]
            shares = [count / np.maximum(size, 1)[:, None] for count, size in zip(below, sizes, strict=True)]
            largest = np.where(last, np.abs(shares[0] - shares[1]), 0).max(axis=1)
            size = sizes[0] * sizes[1] / np.maximum(sizes[0] + sizes[1], 1)
            found[number, start : start + ROWS] = np.where(size > 0, kolmogorov(np.sqrt(size) * largest), np.nan)
    return found


def adjusted(p: np.ndarray) -> np.ndarray:
    """Q values by Benjamini and Hochberg."""
    order = np.argsort(p)[::-1]
    q = np.empty(len(p))
    q[order] = np.minimum.accumulate(p[order] * len(p) / np.arange(len(p), 0, -1))
    return np.minimum(q, 1)


def standardised(values: np.ndarray) -> np.ndarray:
    """Each feature with mean 0 and standard deviation 1, missing values and constant features 0; float32."""
    found = np.empty(values.shape, dtype=np.float32)
    for start in range(0, len(values), ROWS):
        block = values[start : start + ROWS].astype(np.float64)
        missing = np.isnan(block)
        count = np.maximum((~missing).sum(axis=1, keepdims=True), 1)
        block -= np.where(missing, 0, block).sum(axis=1, keepdims=True) / count
        block[missing] = 0
        spread = np.sqrt((block**2).sum(axis=1, keepdims=True) / count)
        constant = (block.max(axis=1, initial=0) - block.min(axis=1, initial=0) == 0) | (spread[:, 0] < 1e-12)
        found[start : start + ROWS] = np.where(constant[:, None], 0, block / np.where(spread == 0, 1, spread))
    return found


def _products(values: np.ndarray) -> np.ndarray:
    """Inner product of every two samples over the standardised features."""
    scaled = standardised(values)
    return (scaled.T @ scaled).astype(np.float64) / max(len(values), 1)


def _told_apart(products: np.ndarray, ours: np.ndarray, n_features: int, seed: int) -> tuple[float, float]:
    """AUC of a classifier of the sets, and its standard error, from the inner products of their samples."""
    fold = folds(ours.astype(np.int64), seed, "shift")
    n_components = min(COMPONENTS, n_features, max(1, len(ours) // 4))
    scores = np.empty(len(ours))
    for number in range(FOLDS):
        train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        state = int(chance.generator(seed, "shift", "components", number).integers(2**31))
        components = KernelPCA(n_components, kernel="precomputed", eigen_solver="randomized", random_state=state)
        model = make_pipeline(components, StandardScaler(), LogisticRegression(max_iter=5000))
        model.fit(products[np.ix_(train, train)], ours[train])
        scores[test] = model.predict_proba(products[np.ix_(test, train)])[:, 1]
    return auc(ours, scores, fold)

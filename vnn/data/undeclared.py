"""Columns that a study does not use and that go with its target and with its values: confounders nobody declared."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from vnn.data.targets import Target

ROWS = 1024
MOST_LEVELS = 20
FEWEST_PEOPLE = 5
FEWEST_LEFT = 10
FLAT = 1e-9


def coded(column: pd.Series) -> np.ndarray | None:
    """A column as numbers, (n_samples, n_columns): a quantity as it is, a class per level of five samples and more.

    A quantity is a number with more than 20 values, its gaps at the mean. None for what has one level, or texts with more than
    20, such as names.
    """
    if pd.api.types.is_numeric_dtype(column) and column.nunique() > MOST_LEVELS:
        numbers = column.astype(np.float64)
        return numbers.fillna(numbers.mean()).to_numpy()[:, None]
    levels = column.astype(object).where(column.notna(), "").map(str)
    counts = levels.value_counts()
    kept = sorted(counts.index[counts >= FEWEST_PEOPLE])
    if len(counts) < 2 or len(counts) > MOST_LEVELS or not kept:
        return None
    columns = np.stack([(levels == level).to_numpy(dtype=np.float64) for level in kept], axis=1)
    return columns if np.ptp(columns, axis=0).any() else None


def n_moved(values: np.ndarray, columns: np.ndarray, known: np.ndarray, *, q: float = 0.05) -> int:
    """How many features go with some columns beyond what is known of the samples: F tests, Benjamini-Hochberg over features.

    Parameters
    ----------
    values
        Shape (n_features, n_samples); missing values stand at the mean.
    columns, known
        Shape (n_samples, n): whose effect is asked, and what is accounted for first (a constant is always).
    q
        False discovery rate.
    """
    n = len(columns)
    before = _basis(np.column_stack([np.ones(n), known]))
    rest = columns - before @ (before.T @ columns)
    beyond = _basis(rest, float(np.linalg.norm(columns)))
    left = n - before.shape[1] - beyond.shape[1]
    if not beyond.shape[1] or left < FEWEST_LEFT:
        return 0
    found = []
    for start in range(0, len(values), ROWS):
        block = np.asarray(values[start : start + ROWS], dtype=np.float64)
        there = ~np.isnan(block)
        mean = np.where(there, block, 0).sum(1) / np.maximum(there.sum(1), 1)
        block = np.where(there, block - mean[:, None], 0.0)
        whole = (block**2).sum(1)
        total = whole - ((block @ before) ** 2).sum(1)
        explained = ((block @ beyond) ** 2).sum(1)
        error = (total - explained) / left
        ratio = explained / beyond.shape[1] / np.where(error > FLAT * whole / n, error, np.inf)
        found.append(stats.f.sf(ratio, beyond.shape[1], left))
    p = np.concatenate(found)
    return int((stats.false_discovery_control(p) <= q).sum()) if len(p) else 0


def accounted(target: Target) -> np.ndarray:
    """A target as columns that are accounted for: classes, a quantity, or event and logarithm of time, (n_samples, n)."""
    if target.classes:
        return np.eye(len(target.classes))[target.values.astype(np.int64)]
    if target.events is not None:
        return np.column_stack([target.events, np.log1p(target.values)])
    return np.asarray(target.values, dtype=np.float64)[:, None]


def _basis(columns: np.ndarray, size: float | None = None) -> np.ndarray:
    """An orthonormal basis of what columns span."""
    u, spread, _ = np.linalg.svd(columns, full_matrices=False)
    found: np.ndarray = u[:, spread > FLAT * max(spread.max(initial=0.0) if size is None else size, 1e-300)]
    return found

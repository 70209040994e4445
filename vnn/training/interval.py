"""The corrected resampled t interval: means over splits that share samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from vnn.data.splits import Split


def interval(by_split: np.ndarray, ratio: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over splits and its 95 % interval, per column; missing splits are left out, one split has no interval.

    Splits share samples, so their variance s2 is too small for independent repeats; it is counted as
    (1/J + n_test/n_train) s2 over J splits, with J - 1 degrees of freedom.

    Parameters
    ----------
    by_split
        Shape (n_splits, n_columns), NaN where a split has no value.
    ratio
        Samples tested over samples learnt from, in a split.

    References
    ----------
    Nadeau & Bengio (2003), doi:10.1023/A:1024068626366
    """
    counted = (~np.isnan(by_split)).sum(0)
    mean = np.where(counted > 0, np.nansum(by_split, axis=0) / np.maximum(counted, 1), np.nan)
    variance = np.nansum((by_split - mean) ** 2, axis=0) / np.maximum(counted - 1, 1)
    half = stats.t.ppf(0.975, np.maximum(counted - 1, 1)) * np.sqrt(variance * (1 / np.maximum(counted, 1) + ratio))
    half = np.where(counted > 1, half, np.nan)
    return mean, mean - half, mean + half


def ratio_of(splits: Sequence[Split]) -> float:
    """Samples tested over samples learnt from, validation part included, on average over the splits."""
    return float(np.mean([len(s.test) / max(len(s.train) + len(s.validation), 1) for s in splits]))

"""The corrected resampled t interval: means over splits that share samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy import stats

from vnn.data.splits import Split


def interval(
    by_split: np.ndarray, ratio: float, level: float = 0.95, *, repeats: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over splits and its interval, per column; missing splits are left out, one split has no interval.

    Parameters
    ----------
    by_split, ratio, repeats
        As for `standard_error`.
    level
        Share of intervals that are to hold the mean.
    """
    mean, error, df = standard_error(by_split, ratio, repeats=repeats)
    half = stats.t.ppf((1 + level) / 2, np.where(df > 0, df, 1)) * error
    return mean, mean - half, mean + half


def standard_error(
    by_split: np.ndarray, ratio: float, *, repeats: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over splits, its standard error and degrees of freedom, per column; one split has no error.

    Splits share samples, so their variance s2 is too small for independent repeats; it is counted as
    (1/J + n_test/n_train) s2 over J splits, with J - 1 degrees of freedom.

    Parameters
    ----------
    by_split
        Shape (n_splits, n_columns), NaN where a split has no value.
    ratio
        Samples tested over samples learnt from, in a split.
    repeats
        How often the same samples were dealt out anew. Repeats steady the mean, but J is then counted once, not `repeats`
        times: 10 repeats of 5 folds are J = 5. With 1 all splits count, and too many differences are found
        (`docs/comparison.md`).

    References
    ----------
    Nadeau & Bengio (2003), doi:10.1023/A:1024068626366
    """
    counted = (~np.isnan(by_split)).sum(0)
    mean = np.where(counted > 0, np.nansum(by_split, axis=0) / np.maximum(counted, 1), np.nan)
    variance = np.nansum((by_split - mean) ** 2, axis=0) / np.maximum(counted - 1, 1)
    counted = counted / repeats
    error = np.sqrt(variance * (1 / np.where(counted > 0, counted, 1) + ratio))
    return mean, np.where(counted > 1, error, np.nan), np.maximum(counted - 1, 0)


def repeats_of(splits: Sequence[Split]) -> int:
    """How often the same samples were dealt out anew: 10 for 10 repeats of 5 folds.

    That is in how many test parts a sample is, where it is the same for all that are in any; 1 for other designs, such as
    random hold-outs, and where there are fewer than 2 splits to each repeat.
    """
    times = set(Counter(i for split in splits for i in split.test).values())
    repeats = times.pop() if len(times) == 1 else 1
    return repeats if len(splits) >= 2 * repeats else 1


def ratio_of(splits: Sequence[Split]) -> float:
    """Samples tested over samples learnt from, validation part included, on average over the splits."""
    return float(np.mean([len(s.test) / max(len(s.train) + len(s.validation), 1) for s in splits]))

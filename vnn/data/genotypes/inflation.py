"""Inflation of p over all variants, and p on a scale for drawing."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import chi2, norm

_MEDIAN = float(chi2.median(1))


def minus_log10(z: np.ndarray) -> np.ndarray:
    """-log10 of the two-sided p of z, also where p itself is too small for a number."""
    return -(norm.logsf(np.abs(z)) + math.log(2)) / math.log(10)


def inflation(z: np.ndarray) -> float:
    """Genomic control's lambda: the median of z squared over that of chance; missing without values.

    References
    ----------
    Devlin & Roeder (1999), doi:10.1111/j.0006-341X.1999.00997.x
    """
    known = np.asarray(z)[np.isfinite(z)]
    return float(np.median(known**2) / _MEDIAN) if len(known) else float("nan")

"""Score tests: the association of each variant by itself with an outcome; its p on a scale for drawing; inflation."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import torch
from scipy.special import expit
from scipy.stats import chi2, norm

from vnn._errors import AlignmentError
from vnn.data.genotypes.genotypes import Genotypes
from vnn.data.genotypes.unpacked import CALLED, COPIES, SQUARES, lacking, matrix

_AT_ONCE = 1 << 23  # genotypes that are numbers at the same time
_MEDIAN = float(chi2.median(1))


def single_variants(
    genotypes: Genotypes, outcome: np.ndarray, *, covariates: np.ndarray | None = None, binary: bool = False
) -> pd.DataFrame:
    """The score test of the copies of every variant, given covariates: a line through the outcome, or a logistic one.

    The null model, an intercept and the covariates, is fitted once. Missing genotypes count as the mean of their variant. For an
    outcome of two classes without covariates it is the Cochran-Armitage test of trend. Copies of X, Y and MT are taken as they
    stand in the file.

    Parameters
    ----------
    outcome
        Shape (n_people,), in their order; 0 and 1 if `binary`.
    covariates
        Shape (n_people, n_covariates).

    Returns
    -------
    By variant: `z`, positive where the outcome rises with copies of the counted allele, and `p`, two-sided; missing where a variant
    does not vary beside the covariates.

    Raises
    ------
    AlignmentError
        If numbers of people differ.
    ValueError
        If the outcome is constant, or not 0 and 1 where it should be.

    References
    ----------
    Rao (1948), doi:10.1017/S0305004100023987; Armitage (1955), doi:10.2307/3001775
    """
    y = np.asarray(outcome, dtype=np.float64)
    if len(y) != genotypes.n_people or (covariates is not None and len(covariates) != len(y)):
        raise AlignmentError(
            f"there are {genotypes.n_people:,} people, {len(y):,} outcomes and "
            f"{len(y) if covariates is None else len(covariates):,} rows of covariates; give one of each per person, in order."
        )
    if binary and not np.isin(y, (0, 1)).all():
        raise ValueError("a binary outcome must hold 0 and 1 only; encode the classes first.")
    if not np.ptp(y) > 0:
        raise ValueError("the outcome is the same in all people, so that nothing can be associated with it.")
    beside = _design(len(y), covariates)
    residual, weight = _logistic(y, beside) if binary else _linear(y, beside)
    weighed = weight[:, None] * beside
    columns = torch.from_numpy(np.column_stack([residual, weight, weighed]))
    inverse = np.linalg.inv(beside.T @ weighed)
    totals = columns.sum(0).numpy()
    z = np.full(genotypes.n_variants, np.nan)
    n = genotypes.n_people
    for at, rows in genotypes.packed(max(_AT_ONCE // max(n, 1), 1)):
        copies = (matrix(rows, COPIES, n).double() @ columns).numpy()
        squares = (matrix(rows, SQUARES, n).double() @ columns[:, 1]).numpy()
        if lacking(rows).any():
            called = matrix(rows, CALLED, n)
            number = called.sum(1, dtype=torch.int32).double().numpy()
            mean = matrix(rows, COPIES, n).sum(1, dtype=torch.int32).double().numpy() / np.maximum(number, 1)
            absent = totals - (called.double() @ columns).numpy()
            copies += mean[:, None] * absent
            squares += mean**2 * absent[:, 1]
        along = copies[:, 2:]
        variance = squares - np.einsum("vc,cd,vd->v", along, inverse, along)
        varies = variance > 1e-9 * np.maximum(squares, 1e-300)
        z[at] = np.where(varies, copies[:, 0] / np.sqrt(np.where(varies, variance, 1.0)), np.nan)
    return pd.DataFrame({"z": z, "p": 2 * norm.sf(np.abs(z))}, index=genotypes.variants.index)


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


def _design(n: int, covariates: np.ndarray | None) -> np.ndarray:
    """An intercept and standardised covariates that add something, (n, n_columns)."""
    made = np.ones((n, 1))
    for column in () if covariates is None else np.asarray(covariates, dtype=np.float64).T:
        centred = column - made @ np.linalg.lstsq(made, column, rcond=None)[0]
        if (size := np.sqrt((centred**2).mean())) > 1e-8 * max(np.abs(column).max(), 1e-300):
            made = np.column_stack([made, centred / size])
    return made


def _linear(y: np.ndarray, beside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    residual = y - beside @ np.linalg.lstsq(beside, y, rcond=None)[0]
    variance = (residual**2).sum() / len(y)
    return residual / variance, np.full(len(y), 1 / variance)


def _logistic(y: np.ndarray, beside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Residuals and weights of the null model, by Newton's steps; a slight ridge keeps separated classes finite."""
    beta = np.zeros(beside.shape[1])
    beta[0] = math.log(y.mean() / (1 - y.mean()))
    ridge = 1e-9 * len(y) * np.eye(len(beta))
    for _ in range(50):
        p = expit(beside @ beta)
        weight = p * (1 - p)
        step = np.linalg.solve((beside.T * weight) @ beside + ridge, beside.T @ (y - p))
        beta += step
        if np.abs(step).max() < 1e-10:
            break
    p = expit(beside @ beta)
    return y - p, np.maximum(p * (1 - p), 1e-12)

"""Association: every variant by itself with a trait, given covariates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit

from vnn._errors import AlignmentError, GenotypeError, choose, culprits
from vnn.data.genotypes.coded import Coded, standard
from vnn.data.genotypes.genotypes import Genotypes

TASKS = ("binary", "regression")
COLUMNS = ("effect", "error", "statistic", "p")
_STEPS, _SMALL = 50, 1e-10
_VARIES = 1e-6  # share of a variant's variance that covariates must leave

Task = Literal["binary", "regression", "cox"]


@dataclass(frozen=True, eq=False)
class NullModel:
    """A trait explained by covariates alone, among those who learn.

    Parameters
    ----------
    task
        "binary" (logistic regression), "regression" (least squares) or "cox" (see `vnn.training.cox.cox_null`).
    learners
        Who learns, bool (n_people,).
    truth
        0 or 1, or the quantity, (n_people,); for cox times and events, (n_people, 2). Of others it does not matter.
    design
        An intercept and covariates, (n_people, c).
    predictor
        The linear predictor of everybody, (n_people,).
    residual
        Slope of each learner's log likelihood by the predictor, 0 for others: truth minus what is expected.
    weight
        Its curvature, 0 for others; 1 for quantities.
    """

    task: Task
    learners: np.ndarray
    truth: np.ndarray
    design: np.ndarray
    predictor: np.ndarray

    residual: np.ndarray
    weight: np.ndarray

    @cached_property
    def basis(self) -> np.ndarray:
        """Orthonormal columns that span the design, rows times the root of the weight; (n_people, rank)."""
        return spanning(np.sqrt(self.weight)[:, None] * self.design)

    @property
    def df(self) -> int:
        """Degrees of freedom that a variant's t has."""
        return int(self.learners.sum()) - self.basis.shape[1] - 1


def spanning(columns: np.ndarray) -> np.ndarray:
    """Orthonormal columns of the same span, fewer where these depend on each other."""
    size = np.sqrt((columns**2).sum(0))
    left, values, _ = np.linalg.svd(columns / np.where(size > 0, size, 1.0), full_matrices=False)
    return left[:, values > _SMALL * max(values.max(initial=0.0), _SMALL)]


def null_model(task: Task, truth: np.ndarray, covariates: np.ndarray, learners: np.ndarray) -> NullModel:
    """The trait explained by an intercept and covariates.

    Parameters
    ----------
    task, truth, learners
        As in `NullModel`.
    covariates
        (n_people, k), complete, an intercept not among them; k may be 0.

    Raises
    ------
    AlignmentError
        If arrays have not one row per person.
    GenotypeError
        If learners have one class only, or are too few.
    """
    choose("task", task, TASKS)
    design = design_of(truth, covariates, learners)
    y = truth[learners].astype(float)
    basis = spanning(design[learners])
    turn = np.linalg.lstsq(design[learners], basis, rcond=None)[0]
    if task == "regression":
        coefficients = turn @ (basis.T @ y)
    else:
        if not set(np.unique(y)) == {0.0, 1.0}:
            raise GenotypeError(
                f"a binary trait is 0 and 1 among those who learn; it is {culprits(np.unique(y))} here."
            )
        coefficients = turn @ _logistic(basis, y)
    known, predictor = np.where(learners, truth, 0.0).astype(float), design @ coefficients
    return NullModel(task, learners, known, design, predictor, *slopes(task, known, learners, predictor))


def design_of(truth: np.ndarray, covariates: np.ndarray, learners: np.ndarray) -> np.ndarray:
    """An intercept and covariates, standardised among learners, (n_people, c); errors as in `null_model`."""
    n = len(learners)
    if len(truth) != n or len(covariates) != n:
        raise AlignmentError(
            f"{n:,} people came with {len(truth):,} values of the trait and {len(covariates):,} rows of covariates; one for each "
            "is needed, in the order of the genotypes."
        )
    given = covariates[learners]
    centre, spread = given.mean(0) if len(given) else 0.0, given.std(0) if len(given) else 1.0
    scaled = (covariates - centre) / np.where(spread > 0, spread, 1.0)
    design = np.column_stack([np.ones(n), scaled])
    if learners.sum() < design.shape[1] + 3:
        raise GenotypeError(
            f"{int(learners.sum()):,} people learn, with {covariates.shape[1]} covariates; {design.shape[1] + 3:,} people or more "
            "are needed for an association."
        )
    if not np.isfinite(truth[learners].astype(float)).all() or not np.isfinite(given).all():
        raise GenotypeError(
            "the trait or a covariate of people who learn is missing; leave these people out, or fill it."
        )
    return design


def slopes(task: str, truth: np.ndarray, learners: np.ndarray, predictor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Residual and weight, as in `NullModel`, at a predictor; "binary" or "regression"."""
    if task == "regression":
        return np.where(learners, truth - predictor, 0.0), learners.astype(float)
    p = expit(predictor)
    return np.where(learners, truth - p, 0.0), np.where(learners, np.maximum(p * (1 - p), _SMALL), 0.0)


def _logistic(basis: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Newton's method, stopped where classes are separated without error."""
    found = np.linalg.lstsq(basis, np.full(len(y), np.log(y.mean() / (1 - y.mean()))), rcond=None)[0]
    for _ in range(_STEPS):
        p = expit(basis @ found)
        curvature = basis.T @ (basis * np.maximum(p * (1 - p), _SMALL)[:, None])
        step = np.linalg.solve(curvature, basis.T @ (y - p))
        found = found + step * min(1.0, 10 / max(np.abs(basis @ step).max(), _SMALL))
        if np.abs(basis @ step).max() < 1e-10 or np.abs(basis @ found).max() > 30:
            break
    return found


def association(genotypes: Genotypes, null: NullModel) -> pd.DataFrame:
    """Every variant's association with a trait, covariates regressed out, among those who learn.

    Additive: x is copies of the counted allele, a missing one worth the mean. With r the residual of the null model, w its
    weights and x~ = x less what covariates explain of it: U = x'r and V = sum w x~^2. A quantity has the t of its coefficient in
    a least-squares fit with the covariates, exactly; a binary trait the score test U^2 / V, with U / V as its log odds ratio per
    copy (one Newton step, near the estimate where effects are small). A binary trait without covariates needs counts only.

    Parameters
    ----------
    genotypes
        Read once, in place.
    null
        The trait and covariates of these people, in their order.

    Returns
    -------
    One row per variant: `effect` of a copy, its standard `error`, `statistic` (t, or the signed root of chi2) and `p`,
    two-sided. NaN where the variant does not vary among those who learn, or only as covariates do.

    References
    ----------
    Score tests: Clayton 2008, doi:10.1002/9780470061619.ch26; residuals: Frisch and Waugh 1933, doi:10.2307/1907330
    """
    centred = standard(genotypes, null.learners, scaled=False)
    if null.task == "binary" and null.design.shape[1] == 1:
        u, v = _of_counts(centred, null)
        whole = v
    else:
        u, v, whole = _of_products(centred, null)
    return pd.DataFrame(tested(u, v, whole, null), index=genotypes.variants.index)


def tested(u: np.ndarray, v: np.ndarray, whole: np.ndarray, null: NullModel) -> dict[str, np.ndarray]:
    """Effect, error, statistic and p of inputs by U, V and the V they would have without covariates."""
    fine = v > _VARIES * np.maximum(whole, _SMALL)
    v = np.where(fine, v, np.nan)
    effect = u / v
    if null.task != "regression":
        error = 1 / np.sqrt(v)
        statistic = effect / error
        p = 2 * stats.norm.sf(np.abs(statistic))
    else:
        left = np.maximum((null.residual**2).sum() - u**2 / v, 0.0)
        error = np.sqrt(left / null.df / v)
        statistic = np.divide(effect, error, where=error > 0, out=np.where(fine, np.copysign(np.inf, u), np.nan))
        p = 2 * stats.t.sf(np.abs(statistic), null.df)
    return dict(zip(COLUMNS, (effect, error, statistic, p), strict=True))


def _of_products(centred: Coded, null: NullModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = centred.genotypes.n_variants
    given = np.column_stack([null.residual, np.sqrt(null.weight)[:, None] * null.basis])
    u, explained, whole = np.empty(n), np.empty(n), np.empty(n)
    for at, found in centred.each_sum(given):
        u[at], explained[at] = found[:, 0], (found[:, 1:] ** 2).sum(1)
    squares = Coded(centred.genotypes, centred.values**2)
    if null.task == "regression":
        counts = centred.genotypes.counts(null.learners)
        whole[:] = (counts * squares.values.astype(float)).sum(1)
    else:
        for at, found in squares.each_sum(null.weight[:, None]):
            whole[at] = found[:, 0]
    return u, whole - explained, whole


def _of_counts(centred: Coded, null: NullModel) -> tuple[np.ndarray, np.ndarray]:
    """The same by how often each genotype occurs, exactly."""
    everybody = centred.genotypes.counts(null.learners).astype(float)
    cases = centred.genotypes.counts(null.learners & (null.truth == 1)).astype(float)
    share = float(null.truth[null.learners].mean())
    copies = np.array([2.0, 0.0, 1.0, 0.0])
    called = np.maximum(everybody[:, [0, 2, 3]].sum(1), 1)
    mean = everybody @ copies / called
    u = cases @ copies - mean * cases[:, [0, 2, 3]].sum(1)
    v = share * (1 - share) * (everybody @ copies**2 - mean**2 * called)
    return u, v

"""Ensemble prediction: what all networks together say of a sample, and how far they agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import log_softmax, logsumexp, xlogy

from vnn._errors import AlignmentError, choose, culprits

TASKS = ("binary", "multiclass", "regression", "cox")
QUANTITIES = ("regression", "cox")


@dataclass(frozen=True, eq=False)
class Ensemble:
    """The prediction of an ensemble for every sample.

    Samples no replicate may speak of have missing values.

    Parameters
    ----------
    task
        "binary", "multiclass", "regression" or "cox".
    mean
        Mean probability per class, shape (n_samples, n_classes), or mean of the predicted quantity or log hazard ratio,
        (n_samples, 1).
    log_mean
        Its logarithm for classes, exact also where the probability is too small for a float; None for a quantity.
    spread
        Standard deviation over the replicates that count, as `mean`; missing with fewer than two.
    between_seeds
        The part of it that comes from the seed alone: standard deviation of seeds around the mean of their split. Where
        splits differ, `spread` is larger by what the choice of training samples changes.
    n_replicates
        How many replicates count, shape (n_samples,).
    entropy, expected_entropy, mutual_information
        For classes, in nats, shape (n_samples,): the uncertainty of the mean of the networks, the mean uncertainty of each
        of them (which more networks do not cure), and their difference, which is their disagreement. None for a quantity.
    """

    task: str
    mean: np.ndarray
    log_mean: np.ndarray | None
    spread: np.ndarray
    between_seeds: np.ndarray
    n_replicates: np.ndarray
    entropy: np.ndarray | None = None
    expected_entropy: np.ndarray | None = None
    mutual_information: np.ndarray | None = None

    def log_loss(self, truth: np.ndarray) -> np.ndarray:
        """Minus the log probability of the true class of every sample, shape (n_samples,).

        Parameters
        ----------
        truth
            Class codes.
        """
        if self.log_mean is None:
            raise ValueError("a predicted quantity has no log loss; take the squared error of `mean`.")
        return -np.take_along_axis(self.log_mean, truth.astype(int)[:, None], axis=1)[:, 0]

    def calibrated(self, temperature: float) -> np.ndarray:
        """Probabilities at the temperature of the ensemble, softmax(log mean / T), shape (n_samples, n_classes).

        Uncertainties and spread stay those of the mean itself. For two classes no rank changes; for more the order of classes
        within a sample stays, that of samples within a class may change.

        Parameters
        ----------
        temperature
            See `vnn.training.calibration.calibrate`.
        """
        if self.log_mean is None:
            raise ValueError(
                "a predicted quantity has no temperature; its interval takes a residual standard deviation."
            )
        if not (np.isfinite(temperature) and temperature > 0):
            raise ValueError(f"`temperature` is {temperature:g}; it must be finite and above 0.")
        return np.exp(log_softmax(self.log_mean / temperature, axis=1))

    def interval(self, sd: float, *, df: float = np.inf, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper end of the predictive interval of a quantity: where a new value is expected, shape (n_samples,).

        mean -+ t sd, of the same width for every sample. `sd` must be that of the residuals of the *mean* of the networks:
        residuals of single networks already hold the disagreement, so that adding `spread` to them would count it twice.

        Parameters
        ----------
        sd, df
            Residual standard deviation of the ensemble and its degrees of freedom, see `vnn.training.calibration.residual_sd`.
        level
            Share of new values the intervals are to hold.

        References
        ----------
        Krogh & Vedelsby (1995), Neural network ensembles, cross validation, and active learning, NIPS 7, 231-238
        """
        if self.task != "regression":
            raise ValueError(f"the task is {self.task!r}; only a quantity has a predictive interval.")
        if not 0 < level < 1:
            raise ValueError(f"`level` is {level}; give the share of new values to be held, between 0 and 1.")
        half = stats.t.ppf((1 + level) / 2, df) * sd
        return self.mean[:, 0] - half, self.mean[:, 0] + half

    def table(self, ids: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
        """A row per sample: mean and spread per column, number of replicates, and uncertainties for classes.

        Parameters
        ----------
        ids
            Sample ids.
        columns
            Names of the classes, or of the quantity: `Prediction.columns`.
        """
        if len(ids) != len(self.mean) or len(columns) != self.mean.shape[1]:
            raise ValueError(
                f"there are {len(ids):,} ids and {len(columns)} columns for predictions of shape {self.mean.shape}; give "
                "the ids and columns of the prediction the ensemble was made from."
            )
        found: dict[str, np.ndarray] = {}
        for k, name in enumerate(columns):
            found |= {name: self.mean[:, k], f"{name} sd": self.spread[:, k]}
            found[f"{name} sd between seeds"] = self.between_seeds[:, k]
        found["n_replicates"] = self.n_replicates
        for name in ("entropy", "expected_entropy", "mutual_information"):
            if (values := getattr(self, name)) is not None:
                found[name.replace("_", " ")] = values
        return pd.DataFrame(found, index=pd.Index(ids, name="sample"))


def ensemble(
    task: str,
    logits: np.ndarray,
    counts: np.ndarray,
    *,
    sound: np.ndarray | None = None,
    temperatures: np.ndarray | None = None,
    splits: Sequence[str] | None = None,
) -> Ensemble:
    """The mean of what replicates predict, each calibrated, with their spread.

    Classes: the mean of probabilities, p = mean over r of softmax(z_r / T_r), not the mean of logits. It is the
    probability of a class when one of the networks is asked at random; where each of them is right about how frequent a class
    is, so is the mean; one network that is sure beyond reason cannot outvote the others, as it does in a mean of logits; and only
    this mean splits its entropy into uncertainty and disagreement. Its log loss is never above the mean log loss of its members.
    A mean of calibrated networks is in general less certain than calibrated, the more so the more they disagree.

    Quantities: the mean. So are log hazard ratios of Cox models, each relative to the mean of its training samples; they
    have no probability and no interval.

    Parameters
    ----------
    task
        "binary", "multiclass", "regression" or "cox".
    logits
        `Prediction.logits`, shape (n_samples, R, n_targets).
    counts
        Which replicates speak of which sample, shape (n_samples, R): `Prediction.held_out` for an honest look at samples of the
        study; everything for new people.
    sound
        Replicates that did not diverge, shape (R,); `Fit.predict` has left the others out.
    temperatures
        One per replicate, shape (R,); 1 unless given. Only for classes.
    splits
        Split of each replicate; all of one split unless given.

    Raises
    ------
    AlignmentError
        If shapes do not fit, or a replicate that counts predicts something that is not a number.
    ValueError
        If the task has no ensemble, temperatures are not positive, or no replicate is sound.

    References
    ----------
    Lakshminarayanan et al. (2017), arXiv:1612.01474; Houlsby et al. (2011), arXiv:1112.5745;
    Rahaman & Thiery (2021), arXiv:2007.08792
    """
    choose("task", task, TASKS)
    counts = counting(logits, counts, sound)
    logits = np.where(counts[:, :, None], logits, 0.0)
    if task in QUANTITIES:
        if temperatures is not None:
            raise ValueError("a predicted quantity has no temperature; leave `temperatures` out.")
        values, log_p = logits, None
    else:
        log_p = log_probabilities(task, logits, temperatures)
        values = np.exp(log_p)
    n = counts.sum(1)
    mean, spread = _moments(values, counts)
    names = np.zeros(counts.shape[1]) if splits is None else np.asarray(splits)
    if names.shape != counts.shape[1:]:
        raise AlignmentError(f"`splits` has {names.size:,} names for {counts.shape[1]:,} replicates; give one each.")
    seeds = _between_seeds(values, counts, names)
    if log_p is None:
        return Ensemble(task, mean, None, spread, seeds, n)
    log_mean = mean_log_probability(log_p, counts)
    entropy = -xlogy(np.exp(log_mean), np.exp(log_mean)).sum(1)
    of_each = np.where(counts, -(values * log_p).sum(2), 0.0)
    expected = of_each.sum(1) / np.where(n, n, np.nan)
    return Ensemble(
        task, np.exp(log_mean), log_mean, spread, seeds, n, entropy, expected, np.maximum(entropy - expected, 0)
    )


def log_probabilities(task: str, logits: np.ndarray, temperatures: np.ndarray | float | None = None) -> np.ndarray:
    """Log probability per class of deployed logits, shape (..., n_classes), each replicate at its temperature.

    Parameters
    ----------
    task
        "binary" or "multiclass".
    logits
        Shape (n_samples, R, n_targets).
    temperatures
        Shape (R,), or one number; 1 unless given.
    """
    t = np.asarray(1.0 if temperatures is None else temperatures, dtype=np.float64)
    if t.shape not in ((), logits.shape[1:2]):
        raise AlignmentError(f"`temperatures` has shape {t.shape} for {logits.shape[1]:,} replicates; give one each.")
    if not (np.isfinite(t) & (t > 0)).all():
        raise ValueError(f"a temperature is {t.min():g} to {t.max():g}; temperatures are finite and above 0.")
    z = logits.astype(np.float64) / t[..., None]
    if task == "binary":
        z = np.concatenate([np.zeros_like(z), z], axis=2)
    found: np.ndarray = log_softmax(z, axis=2)
    return found


def mean_log_probability(log_p: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Logarithm of the mean probability over the replicates that count, shape (n_samples, n_classes)."""
    n = counts.sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        total = logsumexp(np.where(counts[:, :, None], log_p, -np.inf), axis=1)
    return np.where(n[:, None], total - np.log(np.maximum(n, 1))[:, None], np.nan)


def counting(logits: np.ndarray, counts: np.ndarray, sound: np.ndarray | None) -> np.ndarray:
    """Which replicates count for which sample, diverged ones never; shapes and numbers are checked."""
    if logits.ndim != 3 or counts.shape != logits.shape[:2]:
        raise AlignmentError(
            f"`logits` has shape {logits.shape} and the mask of replicates that count {counts.shape}; needed are "
            "(n_samples, R, n_targets) and (n_samples, R)."
        )
    n_replicates = logits.shape[1]
    kept = np.ones(n_replicates, dtype=bool) if sound is None else np.asarray(sound, dtype=bool)
    if kept.shape != (n_replicates,):
        raise AlignmentError(f"`sound` has shape {kept.shape} for {n_replicates:,} replicates; give one value each.")
    if not kept.any():
        raise ValueError(f"none of {n_replicates:,} replicates is sound; there is nothing to predict with.")
    found = counts.astype(bool) & kept
    if (wrong := (~np.isfinite(logits).all(2) & found).any(0)).any():
        raise AlignmentError(
            f"{wrong.sum():,} of {n_replicates:,} replicates predict values that are not finite: numbers "
            f"{culprits(np.flatnonzero(wrong))}. Mark them in `sound` as diverged."
        )
    return found


def _moments(values: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n, kept = counts.sum(1)[:, None], counts[:, :, None]
    mean = np.where(kept, values, 0).sum(1) / np.where(n, n, np.nan)
    squares = (np.where(kept, values - mean[:, None], 0) ** 2).sum(1)
    return mean, np.sqrt(squares / np.where(n > 1, n - 1, np.nan))


def _between_seeds(values: np.ndarray, counts: np.ndarray, splits: np.ndarray) -> np.ndarray:
    squares = np.zeros((len(values), values.shape[2]))
    free = np.zeros((len(values), 1))
    for name in dict.fromkeys(splits.tolist()):
        mine = splits == name
        part, kept = values[:, mine], counts[:, mine]
        n = kept.sum(1)[:, None]
        mean = np.where(kept[:, :, None], part, 0).sum(1) / np.maximum(n, 1)
        squares += (np.where(kept[:, :, None], part - mean[:, None], 0) ** 2).sum(1)
        free += np.maximum(n - 1, 0)
    return np.sqrt(squares / np.where(free > 0, free, np.nan))

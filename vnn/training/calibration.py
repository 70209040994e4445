"""Calibration: whether what is called 80 % likely happens in 80 % of cases, and temperatures that make it so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy import stats
from scipy.optimize import brentq
from scipy.special import expit, log_softmax, softmax
from sklearn.isotonic import IsotonicRegression

from vnn._errors import AlignmentError, choose
from vnn.data.splits import Split
from vnn.training.ensemble import counting, log_probabilities, mean_log_probability
from vnn.training.metrics import FLOOR, MISSING, class_slope

TASKS = ("binary", "multiclass", "regression")
LEAST, LEAST_RESIDUALS = 50, 20
COOLEST, HOTTEST = 0.05, 20.0
STEPS = 200
MOST_REASONS = 3


@dataclass(frozen=True)
class Temperature:
    """By what logits are divided so that they are as certain as they should be.

    Parameters
    ----------
    value
        Above 1 when the network is too certain, below 1 when it is too timid.
    n_samples
        Validation samples it was fitted on.
    before, after
        Log loss of these samples at temperature 1 and at `value`.
    reason
        Why `value` is not the minimum of the log loss; empty where it is.
    """

    value: float
    n_samples: int
    before: float
    after: float
    reason: str = ""


DIVERGED = Temperature(1.0, 0, MISSING, MISSING, "the network diverged")


@dataclass(frozen=True)
class Residual:
    """How far truths lie from a predicted quantity.

    Parameters
    ----------
    sd
        Residual standard deviation; missing where it is not known.
    df
        Its degrees of freedom.
    n_samples
        Validation samples it comes from.
    reason
        Why it is missing; empty where it is not.
    """

    sd: float
    df: int
    n_samples: int
    reason: str = ""


@dataclass(frozen=True)
class Calibrated:
    """What the validation samples say of the certainty of networks.

    Parameters
    ----------
    task
        "binary", "multiclass" or "regression".
    replicates
        One per replicate: `Temperature` for classes, `Residual` for a quantity.
    ensemble
        The same for the mean of the networks, each at its own temperature.
    """

    task: str
    replicates: tuple[Temperature, ...] | tuple[Residual, ...]
    ensemble: Temperature | Residual

    @property
    def temperatures(self) -> np.ndarray:
        """Temperature of every replicate, shape (R,)."""
        if self.task == "regression":
            raise ValueError(
                "a predicted quantity has no temperature; see `replicates` for residual standard deviations."
            )
        return np.array([r.value for r in self.replicates if isinstance(r, Temperature)])

    def table(self, names: Sequence[str]) -> pd.DataFrame:
        """A row per replicate, and one for the ensemble, with the fields of `Temperature` or `Residual` as columns.

        Parameters
        ----------
        names
            Replicate ids.
        """
        if len(names) != len(self.replicates):
            raise ValueError(f"there are {len(names):,} names for {len(self.replicates):,} replicates; give one each.")
        records = [asdict(r) for r in (*self.replicates, self.ensemble)]
        return pd.DataFrame([{"replicate": name, **r} for name, r in zip([*names, "ensemble"], records, strict=True)])


@dataclass(frozen=True, eq=False)
class Reliability:
    """How far probabilities can be taken at their word.

    Parameters
    ----------
    curve
        `calibration_curve` with a column class: the second of two, each of more against the rest.
    error, error_by_chance
        Expected calibration error, averaged over these classes, and what it would be on average for probabilities that
        are right: only what is above that speaks of miscalibration.
    brier, miscalibration, discrimination, uncertainty
        The Brier score and its parts, see `brier_decomposition`.
    slope
        1 when predictions are neither too extreme (below 1) nor too timid (above 1), see `class_slope`.
    intercepts
        Per class, see `calibration_intercept`: above 0 when it is more frequent than predicted.
    n_samples
        How many samples.
    """

    curve: pd.DataFrame
    error: float
    error_by_chance: float
    brier: float
    miscalibration: float
    discrimination: float
    uncertainty: float
    slope: float
    intercepts: dict[str, float]
    n_samples: int


def calibrate(
    task: str,
    logits: np.ndarray,
    truth: np.ndarray,
    validation: np.ndarray,
    *,
    sound: np.ndarray | None = None,
    least: int | None = None,
) -> Calibrated:
    """One temperature (for a quantity a residual standard deviation) per replicate, and one for their mean.

    Give the deployed logits and count every validation sample once. Class weights of the training are undone in deployed
    logits (`vnn.training.fitting`): they speak of classes as frequent as they are. Weights here would calibrate them
    for a population in which all classes are equally frequent.

    The temperature of the ensemble is for new people. Samples held out by one split are validation samples of others, so that
    for an honest look at held-out samples the temperatures of the replicates alone are to be used: each comes
    from the validation part of its own split.

    Parameters
    ----------
    task
        "binary", "multiclass" or "regression".
    logits
        `Prediction.logits`, shape (n_samples, R, n_targets).
    truth
        `Target.truth` of these samples: class codes or values, shape (n_samples,).
    validation
        Which sample is in the validation part of which replicate, shape (n_samples, R): `validated`.
    sound
        Replicates that did not diverge, shape (R,); the others get temperature 1, or no residual standard deviation.
    least
        Validation samples below which nothing is fitted; 50 for a temperature (fitted on fewer it does more harm than good on
        average, see `docs/comparison.md`) and 20 for a residual standard deviation unless given.

    Raises
    ------
    AlignmentError
        If shapes do not fit or a sound replicate predicts something that is not finite.
    ValueError
        If the task has no calibration, or class codes are not those of the logits.

    References
    ----------
    Guo et al. (2017), arXiv:1706.04599; Rahaman & Thiery (2021), arXiv:2007.08792
    """
    choose("task", task, TASKS)
    counts = counting(logits, validation, sound)
    if truth.shape != logits.shape[:1]:
        raise AlignmentError(f"`truth` has shape {truth.shape} for {len(logits):,} samples; give one value per sample.")
    kept = np.ones(logits.shape[1], dtype=bool) if sound is None else np.asarray(sound, dtype=bool)
    logits = np.where(counts[:, :, None], logits, 0.0)
    anyone = counts.any(1)
    least = (LEAST_RESIDUALS if task == "regression" else LEAST) if least is None else least
    if task == "regression":
        residuals = tuple(
            residual_sd(logits[counts[:, r], r, 0], truth[counts[:, r]], least=least)
            if kept[r]
            else Residual(MISSING, 0, 0, "the network diverged")
            for r in range(logits.shape[1])
        )
        mean = logits[anyone, :, 0].sum(1) / counts[anyone].sum(1)
        return Calibrated(task, residuals, residual_sd(mean, truth[anyone], least=least))
    found = temperatures(task, logits, truth, counts, sound=kept, least=least)
    cooled = log_probabilities(task, logits, np.array([t.value for t in found]))
    mean = mean_log_probability(cooled[anyone], counts[anyone])
    return Calibrated(task, found, temperature(mean, truth[anyone], least=least))


def temperatures(
    task: str,
    logits: np.ndarray,
    truth: np.ndarray,
    validation: np.ndarray,
    *,
    sound: np.ndarray | None = None,
    least: int = LEAST,
) -> tuple[Temperature, ...]:
    """The temperature of every replicate, from the validation part of its own split.

    Parameters
    ----------
    task
        "binary" or "multiclass".
    truth
        Class codes, shape (n_samples,), or (R, n_samples) where replicates learnt labels of their own.
    logits, validation, sound, least
        As for `calibrate`.
    """
    counts = counting(logits, validation, sound)
    codes = np.broadcast_to(truth, logits.shape[1::-1])
    kept = np.ones(logits.shape[1], dtype=bool) if sound is None else np.asarray(sound, dtype=bool)
    log_p = log_probabilities(task, np.where(counts[:, :, None], logits, 0.0))
    return tuple(
        temperature(log_p[counts[:, r], r], codes[r, counts[:, r]], least=least) if kept[r] else DIVERGED
        for r in range(logits.shape[1])
    )


def in_words(found: Sequence[Temperature]) -> str:
    """Which temperatures the networks have, how many samples decided them, and why others are 1.

    Parameters
    ----------
    found
        Temperatures of the replicates.
    """
    fitted = [t for t in found if t.value != 1 or not t.reason]
    reasons = Counter(t.reason for t in found if t.value == 1 and t.reason).most_common(MOST_REASONS)
    said = []
    if fitted:
        values, counts = [t.value for t in fitted], [t.n_samples for t in fitted]
        which = "" if len(fitted) == len(found) else f" of {len(fitted):,} of {len(found):,} networks"
        said.append(
            f"temperatures{which} are {_range(values, '.2f')}, each decided by {_range(counts, ',')} validation samples"
        )
    if len(fitted) < len(found):
        who = f"{len(found) - len(fitted):,} of {len(found):,} networks have" if fitted else "all networks have"
        said.append(f"{who} temperature 1 ({'; '.join(reason for reason, _ in reasons)})")
    text = "; ".join(said)
    return f"{text[:1].upper()}{text[1:]}."


def temperature(logits: np.ndarray, truth: np.ndarray, *, least: int = LEAST) -> Temperature:
    """The temperature T at which softmax(logits / T) has the lowest log loss.

    The loss is convex in 1 / T; its minimum is found by Newton steps kept inside a bracket, in float64. Where the
    samples cannot tell, T is 1 and the reason says why: too few, all of one class, logits that do not differ between classes,
    or classes separated without error, for which any certainty is too little. Logits that are no better
    than none would need an infinite T; they get 20.

    Parameters
    ----------
    logits
        Class logits or log probabilities, shape (n_samples, n_classes). For a single logit z of the second class give (0, z).
    truth
        Class codes, shape (n_samples,).
    least
        Number of samples below which T is 1.

    Raises
    ------
    ValueError
        If codes are not positions of the classes.
    """
    z, codes = np.asarray(logits, dtype=np.float64), np.asarray(truth)
    n, n_classes = z.shape
    if n and not (np.isin(codes, np.arange(n_classes))).all():
        raise ValueError(
            f"class codes run from {codes.min()} to {codes.max()}, but there are logits of {n_classes} classes; codes are "
            f"whole numbers from 0 to {n_classes - 1}."
        )
    if n < least:
        return _as_it_is(z, codes, f"{n:,} validation samples; at least {least:,} are needed")
    codes = codes.astype(np.int64)
    if (codes == codes[0]).all():
        return _as_it_is(z, codes, f"all {n:,} validation samples are of one class")
    z = z - z.max(1, keepdims=True)
    own = np.take_along_axis(z, codes[:, None], axis=1)[:, 0]
    if not z.any():
        return _as_it_is(z, codes, "the logits do not differ between classes")
    if not own.any():
        return _as_it_is(
            z, codes, f"the classes of all {n:,} validation samples are recognised, so certainty has no bound"
        )

    def slope(inverse: float) -> tuple[float, float]:
        p = softmax(inverse * z, axis=1)
        centre = (p * z).sum(1)
        return float((centre - own).mean()), float((p * (z - centre[:, None]) ** 2).sum(1).mean())

    low, high = 1 / HOTTEST, 1 / COOLEST
    before = _log_loss(z, codes)
    if slope(low)[0] >= 0:
        reason = "the logits say next to nothing of the validation samples; the highest temperature is used"
        return Temperature(HOTTEST, n, before, _log_loss(z / HOTTEST, codes), reason)
    if slope(high)[0] <= 0:
        reason = "the network is more timid than the lowest temperature can mend"
        return Temperature(COOLEST, n, before, _log_loss(z / COOLEST, codes), reason)
    at = 1.0
    for _ in range(STEPS):
        gradient, curvature = slope(at)
        low, high = (at, high) if gradient < 0 else (low, at)
        step = at - gradient / curvature if curvature > 0 else np.inf
        step = step if low < step < high else (low + high) / 2
        if abs(step - at) <= 1e-14 * at:
            break
        at = step
    return Temperature(1 / at, n, before, _log_loss(at * z, codes))


def residual_sd(predicted: np.ndarray, truth: np.ndarray, *, least: int = LEAST_RESIDUALS) -> Residual:
    """Standard deviation of truth around prediction, with n - 2 degrees of freedom.

    Deployed predictions of a quantity were stretched along the line that fits these samples (`vnn.training.fitting`), which costs
    two degrees of freedom. Training was stopped by these samples too, so that new people may lie somewhat farther off.

    Parameters
    ----------
    predicted, truth
        Of the validation samples, shape (n_samples,).
    least
        Number of samples, at least 3, below which the standard deviation is missing.
    """
    n = len(truth)
    if n < max(least, 3):
        return Residual(MISSING, 0, n, f"{n:,} validation samples; at least {max(least, 3):,} are needed")
    squares = float(((np.asarray(truth, dtype=np.float64) - predicted) ** 2).sum())
    return Residual(float(np.sqrt(squares / (n - 2))), n - 2, n)


def validated(ids: Sequence[str], splits: Sequence[Split], names: Sequence[str]) -> np.ndarray:
    """Whether each sample is in the validation part of the split of each replicate, shape (n_samples, R).

    Parameters
    ----------
    ids
        Sample ids.
    splits
        Splits of the study.
    names
        Name of the split of each replicate.
    """
    parts = {split.name: set(split.validation) for split in splits}
    for name in names:
        choose("the split of a replicate", name, parts)
    return np.array([[i in parts[name] for name in names] for i in ids], dtype=bool).reshape(len(ids), len(names))


def reliability(truth: np.ndarray, values: np.ndarray, classes: Sequence[str], *, n_bins: int = 10) -> Reliability:
    """Calibration curve, expected calibration error, parts of the Brier score, slope and intercepts.

    Parameters
    ----------
    truth
        Class codes, shape (n_samples,).
    values
        Probabilities per class of samples the networks never saw, shape (n_samples, n_classes).
    classes
        Names of the classes.
    n_bins
        Bins of the curve.
    """
    if values.ndim != 2 or values.shape != (len(truth), len(classes)):
        raise AlignmentError(
            f"`values` has shape {values.shape} for {len(truth):,} samples and {len(classes)} classes; needed is one "
            "probability per sample and class."
        )
    shown = [1] if len(classes) == 2 else list(range(len(classes)))
    curves = {classes[k]: calibration_curve(truth == k, values[:, k], n_bins=n_bins) for k in shown}
    errors = np.array([expected_calibration_error(curve) for curve in curves.values()])
    parts = brier_decomposition(truth, values)
    everyone = len(np.unique(truth)) == len(classes)
    return Reliability(
        curve=pd.concat([curve.assign(**{"class": name}) for name, curve in curves.items()], ignore_index=True),
        error=float(errors[:, 0].mean()),
        error_by_chance=float(errors[:, 1].mean()),
        **parts,
        slope=class_slope(truth, values) if everyone else MISSING,
        intercepts={classes[k]: calibration_intercept(truth == k, values[:, k]) for k in shown},
        n_samples=len(truth),
    )


def calibration_curve(
    happened: np.ndarray, probability: np.ndarray, *, n_bins: int = 10, least: int = 5
) -> pd.DataFrame:
    """How often something happened among samples of similar probability.

    Parameters
    ----------
    happened
        Whether it did, shape (n_samples,).
    probability
        What was predicted for samples the networks never saw, shape (n_samples,).
    n_bins
        Number of bins of equally many samples. Equal probabilities stay in one bin.
    least
        Fewest samples of a bin; smaller ones are joined with the one below, and nobody stands alone in a figure.

    Returns
    -------
    A row per bin: n, predicted (mean probability), observed (share), low, high (95 % Wilson interval of the share), and
    sd (how much the share would vary if every probability were right).

    References
    ----------
    Wilson (1927), doi:10.1080/01621459.1927.10502953
    """
    y, p = _checked(happened, probability)
    if n_bins < 1 or least < 1:
        raise ValueError(f"`n_bins` is {n_bins} and `least` is {least}; both must be at least 1.")
    n = len(p)
    n_bins = max(min(n_bins, n // least), 1)
    rank = stats.rankdata(p, method="min").astype(np.int64) - 1
    groups: list[np.ndarray] = []
    for number in np.unique(bins := rank * n_bins // n):
        members = np.flatnonzero(bins == number)
        if groups and min(len(members), len(groups[-1])) < least:
            groups[-1] = np.concatenate([groups[-1], members])
        else:
            groups.append(members)
    size = np.array([len(members) for members in groups])
    observed = np.array([y[members].mean() for members in groups])
    low, high = wilson(observed, size)
    return pd.DataFrame(
        {
            "n": size,
            "predicted": [p[members].mean() for members in groups],
            "observed": observed,
            "low": low,
            "high": high,
            "sd": [np.sqrt((p[members] * (1 - p[members])).sum()) / len(members) for members in groups],
        }
    )


def wilson(share: np.ndarray, n: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper end of the interval of a share seen in n cases, which never leaves 0 to 1.

    References
    ----------
    Wilson (1927), doi:10.1080/01621459.1927.10502953
    """
    z = stats.norm.ppf((1 + level) / 2)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return np.clip(centre - half, 0, share), np.clip(centre + half, share, 1)


def expected_calibration_error(curve: pd.DataFrame) -> tuple[float, float]:
    """Mean distance between predicted and observed over the samples of a curve, and what chance alone makes of it.

    The error is never below 0, so that probabilities that are right have one as well: about the mean of |sd x normal|
    per bin, which is the second number. More bins and fewer samples make both larger.

    Parameters
    ----------
    curve
        From `calibration_curve`.

    References
    ----------
    Naeini et al. (2015), doi:10.1609/aaai.v29i1.9602; bias: Roelofs et al. (2022), arXiv:2012.08668
    """
    weight = curve["n"] / curve["n"].sum()
    error = (weight * (curve["observed"] - curve["predicted"]).abs()).sum()
    return float(error), float((weight * curve["sd"]).sum() * np.sqrt(2 / np.pi))


def brier_decomposition(truth: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """The Brier score as miscalibration - discrimination + uncertainty, exactly and without bins.

    With q the probabilities isotonic regression makes of p (the best increasing function of it), and m the share of the class:
    miscalibration is the score of p minus that of q, discrimination the score of m minus that of q, uncertainty the score of
    m; none is below 0. For few samples the first two are too large, since isotonic regression fits some chance.
    As `metrics`: of the second of two classes; of each class against the rest, summed, when there are more.

    Parameters
    ----------
    truth
        Class codes, shape (n_samples,).
    values
        Probabilities per class, shape (n_samples, n_classes).

    Returns
    -------
    brier, miscalibration, discrimination, uncertainty by name.

    References
    ----------
    Dimitriadis, Gneiting & Jordan (2021), doi:10.1073/pnas.2016191118
    """
    total = np.zeros(4)
    for k in [1] if values.shape[1] == 2 else range(values.shape[1]):
        y, p = _checked(truth == k, values[:, k])
        best = IsotonicRegression().fit(p, y).predict(p)
        of_p, of_best, of_share = (float(((q - y) ** 2).mean()) for q in (p, best, np.full(len(y), y.mean())))
        total += of_p, of_p - of_best, of_share - of_best, of_share
    names = ("brier", "miscalibration", "discrimination", "uncertainty")
    return {name: float(value) for name, value in zip(names, total, strict=True)}


def calibration_intercept(happened: np.ndarray, probability: np.ndarray) -> float:
    """The number a that makes the mean of expit(a + logit p) the share that happened; missing where all or none did.

    0 when probabilities are right on average ("calibration in the large"), above 0 when they are too low.

    Parameters
    ----------
    happened, probability
        As for `calibration_curve`.

    References
    ----------
    Van Calster et al. (2019), doi:10.1186/s12916-019-1466-7
    """
    y, p = _checked(happened, probability)
    if y.all() or not y.any():
        return MISSING
    p = np.clip(p, FLOOR, 1 - FLOOR)
    z, share = np.log(p) - np.log1p(-p), y.mean()
    wanted = np.log(share) - np.log1p(-share)
    ends = wanted - z.max(), wanted - z.min()
    if ends[1] - ends[0] < 1e-12:
        return float(ends[0])
    return float(brentq(lambda a: expit(z + a).mean() - share, ends[0] - 1e-9, ends[1] + 1e-9, xtol=1e-12))


def coverage(
    truth: np.ndarray,
    mean: np.ndarray,
    residual: Residual,
    *,
    levels: Sequence[float] = (0.5, 0.8, 0.95),
) -> pd.DataFrame:
    """What share of new values lies in predictive intervals: the calibration curve of a quantity.

    Parameters
    ----------
    truth, mean
        Values and predictions of samples the networks never saw, shape (n_samples,).
    residual
        From the validation samples.
    levels
        Shares the intervals are to hold.

    Returns
    -------
    Columns level, n, observed, low, high (95 % Wilson interval).
    """
    if np.isnan(residual.sd):
        raise ValueError(f"the residual standard deviation is missing ({residual.reason}), so there are no intervals.")
    if truth.shape != mean.shape or not len(truth):
        raise AlignmentError(f"`truth` has shape {truth.shape}, `mean` {mean.shape}; give one of each per sample.")
    wide = np.array([stats.t.ppf((1 + level) / 2, residual.df) * residual.sd for level in levels])
    observed = (np.abs(truth - mean)[:, None] <= wide).mean(0)
    low, high = wilson(observed, np.full(len(wide), len(truth)))
    return pd.DataFrame({"level": levels, "n": len(truth), "observed": observed, "low": low, "high": high})


def _range(values: Sequence[float], form: str) -> str:
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"


def _log_loss(z: np.ndarray, codes: np.ndarray) -> float:
    return float(-np.take_along_axis(log_softmax(z, axis=1), codes[:, None], axis=1).mean())


def _as_it_is(z: np.ndarray, codes: np.ndarray, reason: str) -> Temperature:
    loss = _log_loss(z, codes.astype(np.int64)) if len(z) else MISSING
    return Temperature(1.0, len(z), loss, loss, reason)


def _checked(happened: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, p = np.asarray(happened, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    if y.ndim != 1 or y.shape != p.shape or not len(y):
        raise AlignmentError(
            f"there are outcomes of shape {y.shape} and probabilities of shape {p.shape}; give one of each per sample."
        )
    if (wrong := ~((p >= 0) & (p <= 1))).any():
        raise ValueError(
            f"{wrong.sum():,} of {len(p):,} probabilities are missing or not between 0 and 1. Leave out samples nobody "
            "predicted, and give probabilities, not logits."
        )
    if not np.isin(y, (0, 1)).all():
        raise ValueError(
            "outcomes must be 0 or 1 (or False and True); for class codes ask for one class: `truth == k`."
        )
    return y, p

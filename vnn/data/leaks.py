"""Leaks: how well a target is predicted by something that should know nothing of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import extmath

from vnn import chance
from vnn.data.targets import Target, martingale_residuals

FOLDS = 5
FEWEST = 10  # samples, or events, without which nothing is said
COMPONENTS = 50
NORMAL = 1.96
CHANCE = {"AUC": 0.5, "R2": 0.0, "C-index": 0.5}


@dataclass(frozen=True)
class Skill:
    """How well samples were predicted by a model that had not seen them.

    Parameters
    ----------
    metric
        "AUC" (the mean over classes, each against the rest, when there are more than two), "R2" or "C-index".
    value
        Its value over five folds.
    lower
        Lower end of its 95 % normal interval.
    """

    metric: str
    value: float
    lower: float

    @property
    def above_chance(self) -> bool:
        """Whether the interval leaves out what guessing gives."""
        return self.lower > CHANCE[self.metric]


def skill(columns: np.ndarray, target: Target, *, seed: int) -> Skill | None:
    """How well a target is predicted from a few columns, by five-fold cross-validation.

    Logistic regression for classes; ridge regression for quantities; for survival ridge regression on the
    martingale residuals of the training part (event minus cumulative hazard), which is the score of a Cox
    model at zero. Columns are scaled on the training part. AUC and C-index count pairs of samples of the same
    fold, so that no fold's intercept enters. Standard errors: of the AUC by Hanley and McNeil, never below
    that of guessing; of the C-index by projection on single samples; of R2 by the delta method.

    Parameters
    ----------
    columns
        Shape (n_samples, n_columns), without missing values.
    target
        The target of the same samples; their order decides the folds, so it must not be a matter of chance.
    seed
        Seed of the study.

    Returns
    -------
    A `Skill`; None with fewer than 10 samples, or without two classes of five samples, or without 10 events.

    References
    ----------
    doi:10.1148/radiology.143.1.7063747
    """
    if len(target.values) < FEWEST or not columns.shape[1]:
        return None
    if target.task == "regression":
        return _explained(columns, target.values, seed)
    if target.events is not None:
        return _ordered(columns, target.values, target.events, seed)
    codes = target.values.astype(np.int64)
    sizes = np.bincount(codes, minlength=len(target.classes))
    if (sizes >= FOLDS).sum() < 2:
        return None
    fold = folds(codes, seed)
    scores = np.zeros((len(codes), len(sizes)))
    for train, test in _parts(fold):
        model = _classifier().fit(columns[train], codes[train])
        scores[np.ix_(test, model.classes_)] = model.predict_proba(columns[test])
    told = [1] if target.task == "binary" else np.flatnonzero(sizes >= FOLDS)
    found = np.array([auc(codes == code, scores[:, code], fold) for code in told])
    value, error = found.mean(axis=0)
    return Skill("AUC", float(value), float(value - NORMAL * error))


def folds(codes: np.ndarray, seed: int, purpose: str = "data checks") -> np.ndarray:
    """The fold of each sample, five of them, every class spread evenly."""
    rng = chance.generator(seed, purpose, "folds")
    fold = np.empty(len(codes), dtype=np.int64)
    fold[np.lexsort((rng.random(len(codes)), codes))] = np.arange(len(codes)) % FOLDS
    return fold


def auc(positive: np.ndarray, scores: np.ndarray, fold: np.ndarray) -> tuple[float, float]:
    """AUC over pairs of samples of the same fold, and its standard error."""
    ordered = np.zeros(FOLDS)
    inside = np.zeros(FOLDS)
    outside = np.zeros(FOLDS)
    for number in range(FOLDS):
        here = fold == number
        inside[number] = positive[here].sum()
        outside[number] = (~positive[here]).sum()
        ranks = rankdata(scores[here])[positive[here]]
        ordered[number] = ranks.sum() - inside[number] * (inside[number] + 1) / 2
    pairs = inside * outside
    value = ordered.sum() / pairs.sum()
    variance = np.maximum(_hanley_mcneil(value, inside, outside), _hanley_mcneil(0.5, inside, outside))
    return float(value), float(np.sqrt((pairs**2 * variance).sum()) / pairs.sum())


def missing_pattern(values: np.ndarray, *, seed: int) -> np.ndarray:
    """Which values are missing as a few columns: their number, and at most 50 principal components.

    Parameters
    ----------
    values
        Shape (n_features, n_samples), NaN where missing.
    seed
        Seed of the study.

    Returns
    -------
    Shape (n_samples, n_columns), no column when nothing is missing in some samples only. There are at most a
    quarter as many components as samples.
    """
    missing = np.isnan(values)
    count = missing.sum(axis=1)
    varying = (count > 0) & (count < values.shape[1])
    if not varying.any():
        return np.empty((values.shape[1], 0))
    pattern = missing[varying].astype(np.float32)
    pattern -= pattern.mean(axis=1, keepdims=True)
    n_components = max(1, min(COMPONENTS, len(pattern), values.shape[1] // 4))
    state = int(chance.generator(seed, "data checks", "missing values").integers(2**31))
    _, scale, right = extmath.randomized_svd(pattern, n_components, n_iter=2, random_state=state)
    kept = scale > 1e-5 * scale[0]
    return np.column_stack([missing.sum(axis=0), (scale[kept, None] * right[kept]).T])


def _explained(columns: np.ndarray, truth: np.ndarray, seed: int) -> Skill:
    fold = folds(np.zeros(len(truth), dtype=np.int64), seed)
    guessed, predicted = np.empty(len(truth)), np.empty(len(truth))
    for train, test in _parts(fold):
        guessed[test] = truth[train].mean()
        predicted[test] = _regressor().fit(columns[train], truth[train]).predict(columns[test])
    value = 1 - ((truth - predicted) ** 2).sum() / max(((truth - guessed) ** 2).sum(), np.finfo(float).tiny)
    error = 2 * np.sqrt(max(value, 0.0) / len(truth)) * (1 - value)
    return Skill("R2", float(value), float(value - NORMAL * error))


def _ordered(columns: np.ndarray, times: np.ndarray, events: np.ndarray, seed: int) -> Skill | None:
    if events.sum() < FEWEST:
        return None
    fold = folds(events.astype(np.int64), seed)
    ordered, pairs = np.zeros(len(times)), np.zeros(len(times))
    for train, test in _parts(fold):
        residuals = martingale_residuals(times[train], events[train])
        risk = _regressor().fit(columns[train], residuals).predict(columns[test])
        later = (times[test][:, None] < times[test]) | ((times[test][:, None] == times[test]) & ~events[test])
        comparable = events[test][:, None] & later
        right = comparable * (0.5 + 0.5 * np.sign(risk[:, None] - risk))
        ordered[test] = right.sum(axis=0) + right.sum(axis=1)
        pairs[test] = comparable.sum(axis=0) + comparable.sum(axis=1)
    if not pairs.any():
        return None
    value = ordered.sum() / pairs.sum()
    error = 2 * np.sqrt(((ordered - value * pairs) ** 2).sum()) / pairs.sum()
    return Skill("C-index", float(value), float(value - NORMAL * error))


def _parts(fold: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.flatnonzero(fold != number), np.flatnonzero(fold == number)) for number in range(FOLDS)]


def _classifier() -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))


def _regressor() -> Pipeline:
    return make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-2, 5, 15)))


def _hanley_mcneil(value: float, inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Variance of an AUC over `inside` positive and `outside` negative samples."""
    first, second = value / (2 - value), 2 * value**2 / (1 + value)
    spread = (inside - 1) * (first - value**2) + (outside - 1) * (second - value**2)
    return (value * (1 - value) + spread) / np.maximum(inside * outside, 1)

"""Cox's proportional hazards in plain numpy: partial likelihood, martingale residuals, concordance."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

from vnn.data.genotypes.single_variants import NullModel, design_of

PAIRS_AT_ONCE = 2**24
SMALLEST = 1e-300
FARTHEST = 1e6
STEPS = 100


class PartialLikelihood:
    """The log partial likelihood of one number per sample, with Efron's approximation for tied events.

    Parameters
    ----------
    times, events
        How long each sample was followed, and whether it had the event then; shape (n_samples,).
    """

    def __init__(self, times: np.ndarray, events: np.ndarray) -> None:
        self.order = np.argsort(-times, kind="stable")
        later, self.died = times[self.order], events[self.order].astype(bool)
        self.group = np.concatenate([[0], np.cumsum(later[1:] != later[:-1])]).astype(np.int64)
        self.end = np.cumsum(np.bincount(self.group)) - 1
        number = np.bincount(self.group, self.died)
        before = np.concatenate([[0], np.cumsum(number)[:-1]])
        rank = np.cumsum(self.died) - 1 - before[self.group]
        self.share = (rank / np.maximum(number, 1)[self.group])[self.died]

    def __call__(self, risk: np.ndarray) -> tuple[float, np.ndarray]:
        """Log partial likelihood of log hazards `risk`, and its gradient."""
        n_groups, group, died = len(self.end), self.group, self.died
        x = risk[self.order] - risk.max()
        hazard = np.exp(x)
        dying = np.bincount(group, hazard * died, n_groups)
        left = np.cumsum(hazard)[self.end][group[died]] - self.share * dying[group[died]]
        left = np.maximum(left, SMALLEST)
        every = np.bincount(group[died], 1 / left, n_groups)[::-1].cumsum()[::-1][group]
        spared = np.bincount(group[died], self.share / left, n_groups)[group]
        gradient = np.empty_like(x)
        gradient[self.order] = died - hazard * (every - died * spared)
        return float(x[died].sum() - np.log(left).sum()), gradient


def concordance(times: np.ndarray, events: np.ndarray, risk: np.ndarray) -> float:
    """Harrell's C: of the pairs whose order is known, the share in which who had the event first had the higher risk.

    A pair counts where the sample with the shorter time had the event; with equal times, where only one had. Equal
    risks count one half. Missing where no pair counts.
    """
    events = events.astype(bool)
    cases = np.flatnonzero(events)
    right = known = 0.0
    for block in np.array_split(cases, max(1, len(cases) * len(times) // PAIRS_AT_ONCE)):
        earlier = times[block][:, None]
        pairs = (earlier < times) | ((earlier == times) & ~events)
        mine = risk[block][:, None]
        right += (pairs & (mine > risk)).sum() + 0.5 * (pairs & (mine == risk)).sum()
        known += pairs.sum()
    return float(right / known) if known else float("nan")


def hazard_slope(times: np.ndarray, events: np.ndarray, risk: np.ndarray) -> float:
    """Cox's coefficient of `risk`, which is 1 for a calibrated log hazard ratio.

    Missing where it is infinite or beyond a million standard deviations, because at every event the highest, or the lowest,
    risk of those left had it. Samples that left before the first event are in no risk set and do not count.
    """
    order = np.argsort(-times, kind="stable")
    highest, lowest = np.empty(len(times)), np.empty(len(times))
    ranked = np.searchsorted(-times[order], -times, side="right") - 1
    highest, lowest = (end.accumulate(risk[order])[ranked] for end in (np.maximum, np.minimum))
    died = events.astype(bool)
    first = times[died].min() if died.any() else np.inf
    if (outside := times < first).any():
        return hazard_slope(times[~outside], events[~outside], risk[~outside]) if died.any() else float("nan")
    if not died.any() or (risk[died] >= highest[died]).all() or (risk[died] <= lowest[died]).all():
        return float("nan")
    spread = risk.std()
    z, likelihood = (risk - risk.mean()) / spread, PartialLikelihood(times, events)

    def rising(slope: float) -> float:
        return float(likelihood(slope * z)[1] @ z)

    far = 1.0
    while rising(far) > 0 or rising(-far) < 0:
        far *= 2
        if far > FARTHEST:
            return float("nan")
    return float(brentq(rising, -far, far, xtol=1e-12) / spread)


def cox_slopes(truth: np.ndarray, learners: np.ndarray, predictor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Martingale residuals of learners and their expected numbers of events, 0 for others.

    The latter bound the curvature of the partial likelihood from above and are its diagonal but for squares of shares of risk
    sets, as in coxnet.

    Parameters
    ----------
    truth
        Times and events, (n_people, 2).
    learners
        Whose likelihood it is, bool (n_people,).
    predictor
        Log hazards, (n_people,).

    References
    ----------
    Simon, Friedman, Hastie and Tibshirani 2011, doi:10.18637/jss.v039.i05
    """
    residual, weight = np.zeros(len(learners)), np.zeros(len(learners))
    _, residual[learners] = PartialLikelihood(*truth[learners].T)(predictor[learners])
    weight[learners] = np.maximum(truth[learners, 1] - residual[learners], 1e-6)
    return residual, weight


def cox_null(truth: np.ndarray, covariates: np.ndarray, learners: np.ndarray) -> NullModel:
    """Survival explained by covariates alone; see `vnn.data.genotypes.single_variants.null_model`.

    A variant's score test then takes its variance around one mean for all risk sets, which is right where a variant has little to
    do with the time people are followed.

    Parameters
    ----------
    truth
        Times and events, (n_people, 2).
    covariates, learners
        As for `null_model`.
    """
    design = design_of(truth, covariates, learners)
    known = np.where(learners[:, None], truth, [1.0, 0.0])
    predictor = np.zeros(len(learners))
    value = PartialLikelihood(*known[learners].T)
    if covariates.shape[1]:
        columns = design[:, 1:]
        for _ in range(STEPS):
            residual, weight = cox_slopes(known, learners, predictor)
            centred = columns - np.average(columns, axis=0, weights=weight)
            curvature = centred.T @ (centred * weight[:, None])
            step = columns @ np.linalg.lstsq(curvature, columns.T @ residual, rcond=None)[0]
            share, now = 1.0, value(predictor[learners])[0]
            while value((predictor + share * step)[learners])[0] < now - 1e-12 * abs(now) and share > 1e-6:
                share /= 2
            predictor = predictor + share * step
            if np.abs(share * step[learners]).max() < 1e-8:
                break
    return NullModel("cox", learners, known, design, predictor, *cox_slopes(known, learners, predictor))

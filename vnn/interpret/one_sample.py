"""One sample: what moved its prediction away from the baseline, in the networks that never saw it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from vnn._errors import AlignmentError, choose
from vnn.data.genotypes import Cohort
from vnn.data.samples import Samples
from vnn.interpret.attribution import Attributions, attributions
from vnn.interpret.contrast import contrasts
from vnn.models.network import COVARIATES
from vnn.training import Fit
from vnn.training.interval import interval

INDIVIDUALS = ("none", "pseudonym", "full")
PSEUDONYM = "this person"
FLAT = 1e-12


@dataclass(frozen=True)
class Step:
    """One bar of a waterfall, in logits (or in the units of a predicted quantity).

    Parameters
    ----------
    label
        What it says.
    node
        Id of the node; empty for what is summed up.
    value
        By how much it moves the prediction.
    low, high
        95 % interval of the value over networks; missing where it is a sum of several nodes.
    start
        Where it begins; it ends at `start + value`.
    """

    label: str
    node: str
    value: float
    low: float
    high: float
    start: float


@dataclass(frozen=True, eq=False)
class OneSample:
    """Why the networks predict what they predict of one sample.

    All numbers are means over the networks that did not learn from the sample. Intervals are t intervals over these
    networks: where the mean of many more of them would lie. They share training samples, and the intervals say nothing of
    what other people's data would have taught them.

    Parameters
    ----------
    sample
        Its id.
    contrast, baseline
        What is explained, and what the sample is compared with, in words.
    prediction
        One row per class (calibrated probability) or quantity: mean, sd over networks, low, high.
    start, end
        The contrast of the logits at the baseline and at the sample; the contributions of a level sum to the difference.
    nodes
        One row per node, inputs and covariates included, by level and then |contribution|: level, node, name, contribution,
        low, high, agreement (share of the networks that give it the sign of the mean), activity (oriented, in standard
        deviations of the training samples), percentile (of the activity, for an input of its value, among the training
        samples of each network; missing without them), measured (False for an input whose value was filled).
    passing
        By level what jumps over it.
    n_networks, n_all
        How many networks count, and how many there are.
    distance, distance_percentile
        How unusual the sample is: root of the mean squared z-score of its measured inputs, and the share of training
        samples, in percent, that are less unusual. A hint only; missing without the training samples.
    """

    sample: str
    contrast: str
    baseline: str
    prediction: pd.DataFrame
    start: float
    end: float
    nodes: pd.DataFrame
    passing: Mapping[str, float]
    n_networks: int
    n_all: int
    distance: float
    distance_percentile: float

    @property
    def levels(self) -> tuple[str, ...]:
        """Levels from the inputs up."""
        return tuple(name for name in dict.fromkeys(self.nodes["level"]) if name != COVARIATES)

    def steps(self, level: str, *, most: int = 10) -> tuple[Step, ...]:
        """The bars of a waterfall from the baseline to the prediction, which they reach exactly.

        Parameters
        ----------
        level
            Its nodes with the largest |contribution| are bars; then the rest of the level, what jumps over it, and covariates.
        most
            How many nodes are bars of their own.
        """
        choose("the level", level, self.levels)
        if most < 1:
            raise ValueError(f"`most` is {most}; at least one node is needed.")
        mine = self.nodes[self.nodes["level"] == level]
        columns = ("name", "node", "contribution", "low", "high")
        rows: list[tuple[str, str, float, float, float]] = [
            (str(name), str(node), float(value), float(low), float(high))
            for name, node, value, low, high in mine.head(most)[list(columns)].itertuples(index=False)
        ]
        rest = mine.iloc[most:]
        missing = float("nan")
        if len(rest):
            what = "1 other node" if len(rest) == 1 else f"{len(rest):,} other nodes"
            rows.append((what, "", float(rest["contribution"].sum()), missing, missing))
        if abs(over := self.passing.get(level, 0.0)) > FLAT:
            rows.append(("paths that jump over the level", "", over, missing, missing))
        late = self.nodes[self.nodes["level"] == COVARIATES]
        if len(late):
            rows.append((COVARIATES, "", float(late["contribution"].sum()), missing, missing))
        found, at = [], self.start
        for label, node, value, low, high in rows:
            found.append(Step(label, node, value, low, high, at))
            at += value
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values for a program; missing numbers are None."""
        table = json.loads(self.nodes.to_json(orient="records", double_precision=10))
        predicted = self.prediction.rename_axis("what").reset_index()
        return {
            "sample": self.sample,
            "contrast": self.contrast,
            "baseline": self.baseline,
            "networks": self.n_networks,
            "networks_in_all": self.n_all,
            "prediction": json.loads(predicted.to_json(orient="records", double_precision=10)),
            "start": self.start,
            "end": self.end,
            "distance": _or_none(self.distance),
            "distance_percentile": _or_none(self.distance_percentile),
            "passing": dict(self.passing),
            "nodes": table,
        }


def one_sample(
    fit: Fit,
    samples: Samples,
    sample: str,
    *,
    known: Samples | Cohort | None = None,
    label: str | None = None,
    baseline: str | np.ndarray | pd.Series = "mean",
    group: tuple[str, str] | None = None,
    n_draws: int = 10,
) -> OneSample:
    """Explain the prediction of one sample: which pathways and genes moved it away from the baseline, and how sure that is.

    Only networks that did not learn from the sample count; for a new person these are all.

    Parameters
    ----------
    fit
        Trained networks; those that diverged are left out.
    samples
        Holds the sample; features join by name, and covariates are those of the fit.
    sample
        Its id.
    known
        The samples the fit was made from, for percentiles and for baselines that need them. `samples` themselves where they
        hold all of them.
    label
        The class to explain; the second of two, the most probable of more unless given.
    baseline, group, n_draws
        See `baseline_of`.

    Raises
    ------
    AlignmentError
        If the sample is not among `samples`, or too few of its inputs are measured.
    ValueError
        If every network learnt from it, or a class is unknown.
    """
    one = samples.select(ids=[sample])
    if known is None and set(fit.ids) <= set(samples.ids):
        known = samples.select(ids=fit.ids)
    if known is not None and (lost := len(set(fit.ids) - set(known.ids))):
        raise AlignmentError(
            f"`known` lacks {lost:,} of the {len(fit.ids):,} samples the fit was made from; percentiles are "
            "among training samples, so give all of them, or leave `known` out."
        )
    predicted = fit.predict(one)
    counts = predicted.held_out[0] & np.isfinite(predicted.logits[0]).all(axis=1)
    if not counts.any():
        raise ValueError(
            f"all {len(counts)} networks learnt from {sample!r}, so that none can be asked as if it were new. Use splits in "
            "which it is in a test part."
        )
    if label is None and len(fit.target.classes) > 2:
        label = fit.target.classes[int(predicted.ensemble(held_out=True).mean[0].argmax())]
    asked = contrasts(fit.target, label)[0]
    found = attributions(
        fit, one, baseline=baseline, background=known, group=group, label=asked.label or None, n_draws=n_draws
    )
    end = predicted.logits[0, counts] @ asked.logits
    values = predicted.values[0, counts]
    _, low, high = interval(values, 0.0)
    if fit.target.classes:
        low, high = np.maximum(low, 0), np.minimum(high, 1)
    table = pd.DataFrame(
        {"mean": values.mean(0), "sd": _sd(values), "low": low, "high": high}, index=pd.Index(predicted.columns)
    )
    distance, percentile = (float("nan"),) * 2 if known is None else _unusual(fit, one, known, counts)
    return OneSample(
        sample,
        asked.name,
        found.baseline,
        table,
        float((end - found.difference[0, counts]).mean()),
        float(end.mean()),
        _nodes(fit, one, known, found, counts),
        {level: float(over[0, counts].mean()) for level, over in found.passing.items()},
        int(counts.sum()),
        len(counts),
        distance,
        percentile,
    )


def shown(explained: OneSample, individuals: str) -> OneSample:
    """The explanation as it may be shown to others: whole, without the name, or not at all.

    Parameters
    ----------
    individuals
        `[report] individuals` of the study.

    Raises
    ------
    ValueError
        If it is "none": no row of a single person may be shown.
    """
    choose("individuals", individuals, INDIVIDUALS)
    if individuals == "none":
        raise ValueError(
            'report.individuals is "none", so that no single person of the study may be shown. The explanation of groups is on '
            'the page; for people who agreed set individuals = "pseudonym".'
        )
    return explained if individuals == "full" else replace(explained, sample=PSEUDONYM)


def _nodes(
    fit: Fit, one: Samples, known: Samples | Cohort | None, found: Attributions, counts: np.ndarray
) -> pd.DataFrame:
    inputs = fit.topology.levels[0].name
    read = fit.read(one)
    there = {} if known is None else fit.read(known)
    train = None if known is None else _training(fit, known)[counts]
    aligned = fit.align(one)
    parts = []
    for level, contributions in found.levels.items():
        values = contributions[0, counts].astype(np.float64)
        mean, low, high = interval(values, 0.0)
        nodes = found.nodes[level]
        activity = percentile = np.full(len(nodes), np.nan)
        measured = np.ones(len(nodes), dtype=bool)
        if level in read:
            reading, mine = fit.readings[level], read[level][0, counts]
            sd = reading.sd.T[fit.sound][counts]
            activity = ((mine - reading.mean.T[fit.sound][counts]) / np.where(sd > FLAT, sd, np.inf)).mean(0)
            if train is not None:
                percentile = _percentile(mine, there[level][:, counts], train)
        elif level == inputs:
            own = aligned.values[:, 0]
            measured = ~np.isnan(own)
            if known is not None and train is not None:
                mine = np.tile(own, (len(train), 1))
                blocks = fit.align(known).blocks()
                percentile = np.concatenate([_percentile(mine[:, at], held.T[:, None], train) for at, held in blocks])
        columns = {
            "level": level, "node": nodes, "name": [found.names.get(node, node) for node in nodes], "contribution": mean,
            "low": low, "high": high, "agreement": (np.sign(values) == np.sign(mean)).mean(0), "activity": activity,
            "percentile": percentile, "measured": measured,
        }  # fmt: skip
        part = pd.DataFrame(columns)
        parts.append(part.iloc[np.argsort(-np.abs(mean), kind="stable")])
    return pd.concat(parts, ignore_index=True)


def _training(fit: Fit, known: Samples | Cohort) -> np.ndarray:
    """Which of these samples each network learnt from, (R, n_samples)."""
    parts = {split.name: set(split.train) for split in fit.splits}
    names = fit.replicates["split"].to_numpy()[fit.sound]
    return np.array([[i in parts[name] for i in known.ids] for name in names], dtype=bool)


def _percentile(mine: np.ndarray, there: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Share of the training samples below, in percent, equal ones half, averaged over networks; gaps are left out.

    Parameters
    ----------
    mine
        Values of the sample, (R, n_nodes).
    there
        Of the known samples, (n_samples, R or 1, n_nodes).
    train
        Shape (R, n_samples).
    """
    total = np.zeros(mine.shape[1])
    for r, rows in enumerate(train):
        others = there[rows, min(r, there.shape[1] - 1)]
        below = (others < mine[r]).sum(0) + 0.5 * (others == mine[r]).sum(0)
        n = (~np.isnan(others)).sum(0)
        total += np.where((n > 0) & ~np.isnan(mine[r]), 100 * below / np.maximum(n, 1), np.nan)
    found: np.ndarray = total / len(train)
    return found


def _unusual(fit: Fit, one: Samples, known: Samples | Cohort, counts: np.ndarray) -> tuple[float, float]:
    """Root mean squared z-score of the inputs, and its percentile among training samples; means over networks."""
    own, among = fit.align(one).values[:, 0].astype(np.float64), fit.align(known)
    training = _training(fit, known)[counts]
    moments = [among.moments(np.flatnonzero(rows)) for rows in training]
    total = np.zeros((len(training), 2, 1 + among.n_samples))
    for at, held in among.blocks():
        both = np.column_stack([own[at], held])
        for r, (_, mean, sd) in enumerate(moments):
            varies = sd[at] > FLAT
            z = (both[varies] - mean[at][varies, None]) / sd[at][varies, None]
            total[r] += np.nansum(z**2, axis=0), (~np.isnan(z)).sum(0)
    found = []
    for (square, measured), rows in zip(total, training, strict=True):
        size = np.sqrt(square / np.maximum(measured, 1))
        found.append((size[0], 100 * (size[1:][rows] < size[0]).mean()))
    distance, percentile = np.mean(found, axis=0)
    return float(distance), float(percentile)


def _sd(values: np.ndarray) -> np.ndarray:
    return values.std(0, ddof=1) if len(values) > 1 else np.full(values.shape[1], np.nan)


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value

"""What a null changes: the labels, the wiring or the inputs of its replicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from vnn._errors import AlignmentError, choose, culprits
from vnn.data.genotypes.cohort import Cohort
from vnn.data.permutation import label_null
from vnn.data.predictive import R2, equally_predictive, label_score
from vnn.data.samples import Samples
from vnn.data.splits import Split
from vnn.data.targets import Target
from vnn.ontology.rewiring import Wirings, circular_shift, reassign, rewire
from vnn.ontology.topology import Topology
from vnn.training.design import NULLS, Replicate

PLACES = ("chromosome", "position")
FEW = 20


@dataclass(frozen=True, eq=False)
class Null:
    """The labels and the wiring of some replicates.

    Parameters
    ----------
    targets
        What each learns, labels in the order of the samples; the same object where it is the same.
    sources
        The source of every edge in every replicate by source and target level, (n_edges, R); None for the real wiring.
    words
        What was changed, and how much of it; empty where nothing was.
    """

    targets: tuple[Target, ...]
    sources: dict[tuple[str, str], np.ndarray] | None = None
    words: str = ""


def null_of(
    kind: str,
    topology: Topology,
    samples: Samples | Cohort,
    target: Target,
    replicates: Sequence[Replicate],
    *,
    seed: int,
    unit: str | None = None,
    places: pd.DataFrame | None = None,
) -> Null:
    """The labels and the wiring of replicates of one kind; for their inputs see `equalised`.

    Parameters
    ----------
    kind
        "real", or one of `vnn.training.design.NULLS`.
    topology
        The real wiring.
    samples
        Their covariates, where there are any, condition the permutation of labels.
    target
        The real labels, in the order of the samples.
    replicates
        All of this kind.
    seed
        Seed of the study.
    unit
        Column of `samples.groups` between or within whose groups labels are permuted.
    places
        For "shifted": columns chromosome and position of every input, indexed by its name.
    """
    real = tuple(target for _ in replicates)
    draws = sorted({r.draw for r in replicates if r.draw is not None})
    if kind in ("real", "equalised"):
        return Null(real)
    if kind == "labels":
        if unit is not None:
            choose("the group", unit, [str(name) for name in samples.groups.columns])
        found = label_null(
            target, samples.ids, seed=seed, covariates=samples.covariates if len(samples.covariates.columns) else None,
            groups=None if unit is None else samples.groups[unit],
        )  # fmt: skip
        drawn = {draw: found.draw(draw) for draw in draws}
        changed = np.mean([one.changed for one in drawn.values()])
        words = f"{found.words}; {changed:.0%} of the labels changed"
        return Null(tuple(drawn[r.draw].target for r in replicates if r.draw is not None), None, words)
    choose("the kind of null", kind, NULLS)
    wirings = _wirings(kind, topology, places, seed, draws)
    at = [wirings.column(r.draw) for r in replicates if r.draw is not None]
    return Null(real, {pair: held[:, at] for pair, held in wirings.sources().items()}, str(wirings))


def _wirings(kind: str, topology: Topology, places: pd.DataFrame | None, seed: int, draws: Sequence[int]) -> Wirings:
    if kind != "shifted":
        return (rewire if kind == "rewired" else reassign)(topology, seed=seed, draws=draws)
    held = placed(topology, places)
    return circular_shift(
        topology, list(held[PLACES[0]]), held[PLACES[1]].to_numpy(dtype=float), seed=seed, draws=draws
    )


def placed(topology: Topology, places: pd.DataFrame | None) -> pd.DataFrame:
    """Chromosome and position of every input, in the order of the topology.

    Raises
    ------
    AlignmentError
        If an input is missing or there twice.
    ValueError
        If there is no table, or a column of it is missing or holds no numbers.
    """
    if places is None:
        raise ValueError(
            "the null 'shifted' moves variants along their chromosomes, and `places` is not given. Give a table with the columns "
            "chromosome and position, a row for each input; for inputs without a place use 'rewired' or 'reassigned'."
        )
    for name in PLACES:
        choose("a column of `places`", name, [str(column) for column in places.columns])
    held = places.rename(index=str)
    if held.index.has_duplicates:
        names = sorted(set(held.index[held.index.duplicated()]))
        raise AlignmentError(
            f"`places` has several rows for {len(names):,} inputs: {culprits(names)}. Give one for each."
        )
    if absent := [name for name in topology.inputs if name not in held.index]:
        raise AlignmentError(
            f"`places` lacks {len(absent):,} of the {len(topology.inputs):,} inputs: {culprits(absent)}. Complete it, or leave "
            "these inputs out."
        )
    held = held.loc[list(topology.inputs), list(PLACES)]
    if not pd.api.types.is_numeric_dtype(held["position"]):
        raise ValueError(f"the positions of `places` are {culprits(held['position'])}; they must be numbers.")
    return held


@dataclass(frozen=True, eq=False)
class Equalised:
    """Samples whose inputs are equally predictive.

    Parameters
    ----------
    samples
        With the simulated values.
    before, after
        Share of the variance of the label that each real and each simulated input explains in the training part, (n_features,).
    kept
        Share of the variance of each simulated input that its real values explain there, (n_features,).
    """

    samples: Samples
    before: np.ndarray
    after: np.ndarray
    kept: np.ndarray


def equalised(samples: Samples, target: Target, split: Split, *, seed: int, draw: int) -> Equalised:
    """The inputs which the networks of a split are given in a draw of the null "equalised", held-out samples included.

    Noise and directions are those of the draw, the same in all splits; means, deviations and the scale of the label are
    those of the training part of the split, so that nothing of held-out samples reaches the values of others.

    Parameters
    ----------
    samples
        The real ones.
    target
        The label of each of them.
    split
        One of the study.
    seed, draw
        Seed of the study and number of the draw.

    Raises
    ------
    ValueError
        If the training part has one label only, or the draw left the inputs much as they were, or without the label.
    """
    values = equally_predictive(samples, target, seed=seed, draw=draw, learn=split.train)
    at = np.sort(samples.index(split.train))
    label = label_score(target, at)[at]
    real, drawn = samples.values[:, at].astype(np.float64), values[:, at].astype(np.float64)
    found = Equalised(
        replace(samples, values=values, log=(*samples.log, f"inputs made equally predictive, draw {draw}, {split.name}")),
        _explained(real, label), _explained(drawn, label), _explained(drawn, real),
    )  # fmt: skip
    if len(values) >= FEW:
        after, kept = found.after.mean(), found.kept.mean()
        if after < R2 / 2 or kept > 0.5 + 1 / len(at):
            raise ValueError(
                f"inputs of draw {draw} of the null 'equalised' explain {after:.0%} of the label, and their real values explain "
                f"{kept:.0%} of them, in {len(at):,} samples of {split.name}; at least {R2 / 2:.0%} and at most 50% are needed. "
                "Use more samples for training."
            )
    return found


def equalised_words(parts: Sequence[Equalised]) -> str:
    """What was changed, over several draws and splits."""

    def told(what: str) -> str:
        low, high = np.quantile(np.concatenate([getattr(part, what) for part in parts]), [0.05, 0.95])
        return f"{low:.0%} to {high:.0%}"

    kept = np.mean([part.kept.mean() for part in parts])
    return (
        f"all {len(parts[0].kept):,} inputs simulated: nine in ten explained {told('before')} of the label and explain "
        f"{told('after')} now ({R2:.0%} planted); their real values explain {kept:.0%} of them"
    )


def _explained(values: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Squared correlation of each row with a vector or with the same row, 0 where either has no spread; gaps are left out."""
    by = np.broadcast_to(by, values.shape)
    there = ~(np.isnan(values) | np.isnan(by))
    n = np.maximum(there.sum(1, keepdims=True), 1)
    x, y = (np.where(there, v, 0.0) for v in (values, by))
    x, y = (np.where(there, v - v.sum(1, keepdims=True) / n, 0.0) for v in (x, y))
    both = (x**2).sum(1) * (y**2).sum(1)
    found: np.ndarray = (x * y).sum(1) ** 2 / np.where(both > 0, both, 1)
    return found

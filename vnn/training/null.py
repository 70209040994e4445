"""What a null changes: the labels or the wiring of its replicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vnn._errors import choose
from vnn.data.permutation import label_null
from vnn.data.samples import Samples
from vnn.data.targets import Target
from vnn.ontology.rewiring import reassign, rewire
from vnn.ontology.topology import Topology
from vnn.training.design import NULLS, Replicate


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
    samples: Samples,
    target: Target,
    replicates: Sequence[Replicate],
    *,
    seed: int,
    unit: str | None = None,
) -> Null:
    """The labels and the wiring of replicates of one kind.

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
    """
    real = tuple(target for _ in replicates)
    draws = sorted({r.draw for r in replicates if r.draw is not None})
    if kind == "real":
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
    draw = rewire if kind == "rewired" else reassign
    wirings = draw(topology, seed=seed, draws=draws)
    at = [wirings.column(r.draw) for r in replicates if r.draw is not None]
    return Null(real, {pair: held[:, at] for pair, held in wirings.sources().items()}, str(wirings))

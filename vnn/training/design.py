"""A design: which replicates a study trains, and which samples each of them learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from vnn._errors import choose, culprits
from vnn.chance import generator
from vnn.data.splits import Split
from vnn.training.settings import Setting

NULLS = {
    "labels": "labels permuted",
    "rewired": "wiring rewired, all degrees kept",
    "reassigned": "genes assigned to other places of the wiring",
    "shifted": "variants shifted along their chromosomes",
    "equalised": "inputs simulated to be equally predictive",
}


@dataclass(frozen=True)
class Replicate:
    """One network of a study.

    Parameters
    ----------
    id
        Its identity in the study; chance depends on it, never on its position.
    kind
        "real", or a kind of null; see `NULLS`.
    partner
        For a null the id of the replicate whose split, initial weights and order it carries, else its own.
    seed
        Number of the seed.
    split
        Name of the split.
    draw
        For a null the number of its draw.
    setting
        What it has of its own; that of its partner for a null.
    """

    id: str
    kind: str
    partner: str
    seed: int
    split: str
    draw: int | None = None
    setting: Setting = field(default_factory=Setting)


def replicates_of(splits: Sequence[Split], n_seeds: int) -> tuple[Replicate, ...]:
    """One real replicate per split and seed, named after both."""
    if n_seeds < 1:
        raise ValueError(f"`n_seeds` is {n_seeds}; a study needs at least one seed per split.")
    names = [split.name for split in splits]
    if len(set(names)) < len(names):
        raise ValueError(f"splits must have different names; these are {names}.")
    return tuple(
        Replicate(id := f"{split.name}, seed {seed}", "real", id, seed, split.name)
        for split in splits
        for seed in range(n_seeds)
    )


def drawn(partners: Sequence[Replicate], kind: str, draws: Sequence[int]) -> tuple[Replicate, ...]:
    """The nulls of some replicates: each of them in every draw, draw by draw.

    Parameters
    ----------
    partners
        The real replicates.
    kind
        One of `NULLS`.
    draws
        Numbers of the draws. All replicates of a draw share its labels or its wiring.
    """
    choose("the kind of null", kind, NULLS)
    if len(set(draws)) < len(draws) or not len(draws):
        raise ValueError(f"`draws` are {list(draws)}; at least one is needed, and none twice.")
    return tuple(
        Replicate(f"{partner.id}, {kind} {draw}", kind, partner.id, partner.seed, partner.split, draw, partner.setting)
        for draw in draws
        for partner in partners
    )


def having(replicates: Sequence[Replicate], settings: Setting | Mapping[str, Setting]) -> tuple[Replicate, ...]:
    """The replicates with settings of their own.

    Parameters
    ----------
    replicates
        Of a study.
    settings
        One for all of them; or by the id of a replicate or the name of a split, the id counting before the split. Those that
        are not named share what the study says.
    """
    if isinstance(settings, Setting):
        return tuple(replace(r, setting=settings) for r in replicates)
    known = {name for r in replicates for name in (r.id, r.split)}
    if unknown := sorted(set(settings) - known):
        raise ValueError(
            f"`settings` names {culprits(unknown)}; it needs ids of replicates or names of splits: {culprits(sorted(known))}."
        )
    return tuple(replace(r, setting=settings.get(r.id, settings.get(r.split, r.setting))) for r in replicates)


def resample(strata: np.ndarray, *, seed: int, partner: str) -> np.ndarray:
    """How often each sample is drawn when as many are drawn with replacement within each stratum.

    Parameters
    ----------
    strata
        Code of each sample, in an order that does not depend on chance.
    seed, partner
        Seed of the study, and the replicate by whose name chance goes.
    """
    counts = np.zeros(len(strata))
    for code in np.unique(strata):
        at = np.flatnonzero(strata == code)
        rng = generator(seed, "bootstrap", partner, int(code))
        counts[at] = np.bincount(rng.integers(len(at), size=len(at)), minlength=len(at))
    return counts


def class_weights(codes: np.ndarray, n_classes: int) -> np.ndarray:
    """Weight of each sample so that all classes weigh the same and the mean is 1."""
    counts = np.bincount(codes, minlength=n_classes)
    return len(codes) / (np.count_nonzero(counts) * np.maximum(counts, 1))[codes]

"""Models to be explained, whatever they are: what the protocol of Zhao asks of them and what they answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vnn.chance import generator
from vnn.data.targets import Target


class Variant(NamedTuple):
    """An explainer with what it compares with ("" for nothing) and how many dropout repeats it is averaged over."""

    explainer: str
    reference: str
    repeats: int

    @property
    def name(self) -> str:
        """In words: "DeepLIFT (mean)", "saliency, dropout on"."""
        against = f" ({self.reference})" if self.reference else ""
        return f"{self.explainer}{against}{', dropout on' if self.repeats else ''}"


@dataclass(frozen=True, eq=False)
class Scored:
    """What one explainer says in every model.

    Parameters
    ----------
    values
        By level the scores (n_models, n_rankings, n_nodes).
    missed, scale
        Largest completeness error and largest difference of logits; missing where not defined.
    """

    values: dict[str, np.ndarray]
    missed: float
    scale: float


class ExplainedModels(ABC):
    """Models that differ in chance, and the samples they are explained on.

    Attributes
    ----------
    models
        Their names.
    levels
        What is ranked, inputs first.
    nodes, names
        Ids of the nodes by level, and readable names by id.
    explainers
        Known explainers, and whether each compares with a reference.
    rankings
        The contrast of each ranking: as published one per sample, otherwise one per contrast.
    n_explained
        Samples that are explained.
    left_out
        What could not be done, and why.
    """

    models: tuple[str, ...]
    levels: tuple[str, ...]
    nodes: Mapping[str, tuple[str, ...]]
    names: Mapping[str, str]
    explainers: Mapping[str, bool]
    rankings: tuple[str, ...]
    n_explained: int
    left_out: list[str]

    @property
    @abstractmethod
    def settings(self) -> tuple[str, ...]:
        """What was explained, in words."""

    @property
    @abstractmethod
    def trivial(self) -> Mapping[str, Mapping[str, np.ndarray]]:
        """Trivial rankings of the nodes of every level, by name."""

    @abstractmethod
    def reference_text(self, kind: str) -> str:
        """What a reference is, in words."""

    @abstractmethod
    def scored(self, variant: Variant) -> Scored | str:
        """Scores of every model, or why there are none."""


def drawn_samples(target: Target, ids: Sequence[str], most: int, seed: int) -> dict[str, tuple[str, ...]]:
    """At most `most` samples by class (all as one group for quantities), as even as classes allow, drawn by name."""
    groups = {
        name: [i for i, code in zip(ids, target.values, strict=True) if code == at]
        for at, name in enumerate(target.classes)
    } or {target.name: list(ids)}
    groups = {name: sorted(members) for name, members in groups.items() if members}
    counts = dict.fromkeys(groups, 0)
    while sum(counts.values()) < most and (open_ := [name for name in groups if counts[name] < len(groups[name])]):
        counts[min(open_, key=lambda name: counts[name])] += 1
    return {
        name: tuple(sorted(generator(seed, "samples explained", name).permutation(members)[: counts[name]].tolist()))
        for name, members in groups.items()
        if counts[name]
    }


def moments_of(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each row over what is not missing; missing where nothing is there."""
    there = ~np.isnan(values)
    count = there.sum(1).astype(float)
    count[count == 0] = np.nan
    mean = np.where(there, values, 0.0).sum(1, dtype=np.float64) / count
    return mean, np.where(there, (values - mean[:, None]) ** 2, 0.0).sum(1, dtype=np.float64) / count

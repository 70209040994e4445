"""What is learnt: inputs, targets, and which samples count for whom."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from vnn.chance import generator
from vnn.kernels import PackedPeople
from vnn.kernels.packed import PANEL
from vnn.layers import InputScaling


@dataclass(frozen=True, eq=False)
class Problem:
    """What is learnt, samples in the order of their sorted ids; in panels, in the order of their places.

    Parameters
    ----------
    inputs
        Raw values (n_in, n_samples); or packed genotypes, a sample for each place of the panels, where nobody's weigh nothing.
    covariates
        Raw columns (n_covariates, n_samples), or None.
    target
        Class codes (n_samples,), for a regression values (R, n_samples) in the units of each replicate, for cox
        the ranks of the times and the events (2, n_samples). Where replicates learn different labels, as those of a
        null do, codes, ranks and events have a leading axis R too.
    task
        "binary", "multiclass", "regression" or "cox".
    train_weight, validation_weight
        Weight of each sample in each replicate, (R, n_samples).
    universe
        Positions of all samples that some replicate of the *study* learns from; batches are cut from
        them, so that they are the same however the replicates are chunked.
    """

    inputs: Tensor | PackedPeople
    covariates: Tensor | None
    target: Tensor
    task: str
    train_weight: Tensor
    validation_weight: Tensor
    universe: np.ndarray

    def keep(self, positions: Sequence[int]) -> Problem:
        """The problem of the replicates at `positions`."""
        at = torch.as_tensor(positions, dtype=torch.int64)
        weights = self.train_weight[at], self.validation_weight[at]
        return Problem(self.inputs, self.covariates, self.target_of(at), self.task, *weights, self.universe)

    def target_of(self, at: Tensor | slice) -> Tensor:
        """The target of some replicates; the one of all where they share it."""
        return self.target[at] if self.target.dim() > (2 if self.task == "cox" else 1) else self.target

    @property
    def n_samples(self) -> int:
        """Samples, places that nobody has included."""
        return self.inputs.shape[1]

    @property
    def _panelled(self) -> bool:
        return isinstance(self.inputs, PackedPeople) and self.inputs.panelled

    def batches(self, size: int, *, seed: int, epoch: int) -> list[np.ndarray]:
        """Positions of the samples of every batch of an epoch: all that some replicate learns from, in panels whole ones."""
        among, panelled = self.universe, self._panelled
        if panelled:
            among, size = np.unique(among // PANEL), max(size // PANEL, 1)
        order = among[generator(seed, "batch order", epoch).permutation(len(among))]
        batches = [np.sort(order[start : start + size]) for start in range(0, len(order), size)]
        return [_people(panels) for panels in batches] if panelled else batches

    def scaled_for(self, scaling: InputScaling) -> Problem:
        """The same with packed genotypes whose codebook holds what the network sees, where all replicates scale and fill alike.

        Then no weight is folded with a scaling in each step.
        """
        inputs, parts = self.inputs, (scaling.scale, scaling.shift, scaling.fill)
        if not isinstance(inputs, PackedPeople) or any((part != part[:, :1]).any() for part in parts):
            return self
        scale, shift, fill = (part[:, :1] for part in parts)
        book = torch.where(torch.isnan(inputs.codebook), fill, inputs.codebook) * scale + shift
        return replace(self, inputs=inputs.coded(book, scaled=True))

    def seen_by(self, weight: Tensor) -> Tensor:
        """Positions of the samples that weigh something for some replicate, in panels all of theirs.

        Parameters
        ----------
        weight
            Shape (R, n_samples).
        """
        at = torch.nonzero((weight > 0).any(0))[:, 0]
        if self._panelled:
            return torch.from_numpy(_people(np.unique(at.numpy() // PANEL)))
        return at

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything in it."""
        digest = hashlib.sha256(self.task.encode())
        inputs = self.inputs
        if isinstance(inputs, PackedPeople):
            digest.update(inputs.identity.encode() + inputs.place.astype("<i8").tobytes())
            inputs = inputs.codebook
        for values in (inputs, self.covariates, self.target, self.train_weight, self.validation_weight):
            digest.update(b"-" if values is None else np.ascontiguousarray(values.numpy()).tobytes())
        digest.update(self.universe.astype("<i8").tobytes())
        return digest.hexdigest()


def _people(panels: np.ndarray) -> np.ndarray:
    """Places of the people of some panels."""
    return (PANEL * panels[:, None] + np.arange(PANEL)).ravel()

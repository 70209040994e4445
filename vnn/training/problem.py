"""What is learnt: inputs, targets, and which samples count for whom."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Problem:
    """What is learnt, samples in the order of their sorted ids.

    Parameters
    ----------
    inputs
        Raw values (n_in, n_samples).
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

    inputs: Tensor
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
    def fingerprint(self) -> str:
        """SHA-256 of everything in it."""
        digest = hashlib.sha256(self.task.encode())
        for values in (self.inputs, self.covariates, self.target, self.train_weight, self.validation_weight):
            digest.update(b"-" if values is None else np.ascontiguousarray(values.numpy()).tobytes())
        digest.update(self.universe.astype("<i8").tobytes())
        return digest.hexdigest()

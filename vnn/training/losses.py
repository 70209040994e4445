"""Losses that stay apart: one number per replicate, never a sum over them."""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy


def sample_losses(
    task: str, logits: Float[Tensor, "batch n_replicates n_targets"], target: Shaped[Tensor, "*n_replicates batch"]
) -> Float[Tensor, "n_replicates batch"]:
    """The loss of every sample in every replicate.

    Parameters
    ----------
    task
        "binary" (log loss of a logit), "multiclass" (cross-entropy) or "regression" (squared error).
    logits
        As the heads of a network give them.
    target
        Class codes of the batch, or, for a regression, values of every replicate in its own units.
    """
    if task == "regression":
        return (logits[:, :, 0].T - target).square()
    n_replicates = logits.shape[1]
    if task == "binary":
        wanted = target.to(logits.dtype)[:, None].expand(-1, n_replicates)
        return binary_cross_entropy_with_logits(logits[:, :, 0], wanted, reduction="none").T
    wanted = target[:, None].expand(-1, n_replicates)
    return cross_entropy(logits.movedim(2, 1), wanted, reduction="none").T


def weighted_mean(
    losses: Float[Tensor, "n_replicates batch"], weights: Float[Tensor, "n_replicates batch"]
) -> Float[Tensor, " n_replicates"]:
    """Mean over the batch with the weights of each replicate; 0 where no sample counts."""
    total = weights.sum(1)
    return (losses * weights).sum(1) / torch.where(total > 0, total, 1.0)

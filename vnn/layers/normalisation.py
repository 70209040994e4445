"""Batch normalisation whose statistics are weighted, per unit and replicate."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

MOMENTUM = 0.1
EPSILON = 1e-5


class BatchNorm(nn.Module):
    """Standardise every unit of every replicate over the batch, each sample counting by its weight.

    As `torch.nn.BatchNorm1d` (biased variance to normalise, unbiased for the running value, momentum
    0.1, eps 1e-5) at equal weights. A sample of weight 0 changes nothing, and a replicate whose weights
    are all 0 keeps its running statistics.

    Parameters
    ----------
    n_units
        Rows of the level.
    n_replicates
        Length of the replicate axis.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, n_units: int, n_replicates: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(n_units, n_replicates))
        self.bias = nn.Parameter(torch.zeros(n_units, n_replicates))
        self.register_buffer("mean", torch.zeros(n_units, n_replicates))
        self.register_buffer("variance", torch.ones(n_units, n_replicates))

    def forward(
        self,
        x: Float[Tensor, "n_units n_replicates batch"],
        share: Float[Tensor, "n_replicates batch"] | None,
    ) -> Float[Tensor, "n_units n_replicates batch"]:
        """The standardised values.

        Parameters
        ----------
        x
            Values of a level.
        share
            Share of each sample in its replicate's batch, each row summing to 1 or all 0.
            Needed in training; in evaluation the running statistics are used.
        """
        if not self.training:
            factor = self.gain * torch.rsqrt(self.variance + EPSILON)
            return x * factor[:, :, None] + (self.bias - self.mean * factor)[:, :, None]
        if share is None:
            raise ValueError(
                "batch normalisation in training needs the share of each sample; call network.eval() to predict."
            )
        mean = (x * share).sum(-1)
        centred = x - mean[:, :, None]
        variance = (centred * centred * share).sum(-1)
        self._track(mean.detach(), variance.detach(), share)
        factor = self.gain * torch.rsqrt(variance + EPSILON)
        return centred * factor[:, :, None] + self.bias[:, :, None]

    def _track(self, mean: Tensor, variance: Tensor, share: Tensor) -> None:
        spread = 1 - share.square().sum(-1)
        counted = (share.sum(-1) > 0) & (spread > 1e-6)
        unbiased = variance / torch.where(counted, spread, 1.0)
        self.mean.copy_(torch.where(counted, self.mean.lerp(mean, MOMENTUM), self.mean))
        self.variance.copy_(torch.where(counted, self.variance.lerp(unbiased, MOMENTUM), self.variance))

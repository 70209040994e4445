"""Batch normalisation whose statistics are weighted, per unit and replicate."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import Function

from vnn.kernels import reference
from vnn.kernels.backend import active, traced

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
        module = active(x.device)
        if not hasattr(module, "normalise") or x.dtype != self.gain.dtype or traced(x):
            module = reference
        if module is reference:
            return reference.normalise(
                x, share, self.gain, self.bias, self.mean, self.variance, momentum=MOMENTUM, eps=EPSILON
            )[0]
        return _Normalise.apply(x, share, self.gain, self.bias, self.mean, self.variance)


class _Normalise(Function):
    """The statistics, the map and its gradient, each in one pass; the gradient's gradient goes the plain way."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, share: Tensor, gain: Tensor, bias: Tensor, mean: Tensor, variance: Tensor
    ) -> Tensor:
        y, now_mean, now_variance = active(x.device).normalise(
            x, share, gain, bias, mean, variance, momentum=MOMENTUM, eps=EPSILON
        )
        ctx.save_for_backward(x, share, gain, now_mean, now_variance)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, share, gain, mean, variance = ctx.saved_tensors
        if torch.is_grad_enabled():
            mean = (x * share).sum(-1)
            variance = ((x - mean[:, :, None]).square() * share).sum(-1)
            found = reference.normalise_backward(g, x, share, gain, mean, variance, eps=EPSILON)
        else:
            found = active(g.device).normalise_backward(g, x, share, gain, mean, variance, eps=EPSILON)
        dx, dgain, dbias = found
        return dx, None, dgain, dbias, None, None

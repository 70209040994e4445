"""Dropout of whole nodes that respects the wiring, its chance a hash of names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd import Function

from vnn.chance import generator
from vnn.kernels.backend import active
from vnn.kernels.reference import GOLDEN, mix

CAPS = {1: 0.0, 2: 0.1, 3: 0.3}


@dataclass(frozen=True)
class Draw:
    """What the chance of one training step depends on.

    Parameters
    ----------
    step
        Number of the step since training began.
    samples
        Identity of each sample of the batch, int64 of shape (batch,).
    """

    step: int
    samples: Int[Tensor, " batch"]


def wired_rates(rate: float, edges: Sequence[np.ndarray], n_nodes: int, fan_ins: Sequence[np.ndarray]) -> np.ndarray:
    """The dropout rate of each node: `rate`, less where some target has few other sources.

    A node that is the only source of a target is never dropped, one of two at most with 0.1, one of
    three at most with 0.3, so that no node loses all it sees by chance.

    Parameters
    ----------
    rate
        The rate asked for.
    edges
        Pairs (source, target) leading out of the nodes, one array per level above.
    n_nodes
        Number of nodes.
    fan_ins
        For each array the number of all edges into each of its targets, from every level.

    References
    ----------
    doi:10.1186/s13059-020-02100-5 (KPNN)
    """
    rates = np.full(n_nodes, rate)
    for pairs, fan_in in zip(edges, fan_ins, strict=True):
        for siblings, cap in CAPS.items():
            few = pairs[fan_in[pairs[:, 1]] == siblings, 0]
            rates[few] = np.minimum(rates[few], cap)
    return rates


class NodeDropout(nn.Module):
    """Set whole nodes to 0 in training, all units of a node together, and scale the rest up.

    Whether a node is dropped is a pure function of seed, replicate, level, step, node and sample, so it
    depends neither on the batch's order nor on which other replicates are trained beside it.

    Parameters
    ----------
    level
        Name of the level, part of the identity of its draws.
    rates
        Rate of each node in [0, 1), shape (n_nodes,), or (n_nodes, R) where replicates are wired in their own way.
    units
        Units of each node.
    replicates
        Names of the replicates.
    seed
        Seed of the study.
    """

    base: Tensor
    node: Tensor
    threshold: Tensor
    scale: Tensor

    def __init__(self, level: str, rates: np.ndarray, units: np.ndarray, replicates: Sequence[str], seed: int) -> None:
        super().__init__()
        if len(rates) and not (rates.min() >= 0 and rates.max() < 1):
            raise ValueError(f"dropout rates run from {rates.min()} to {rates.max()}; they must be >= 0 and < 1.")
        words = [int(generator(seed, "dropout", level, name).integers(2**32)) for name in replicates]
        self.register_buffer("base", torch.tensor(words, dtype=torch.int64), persistent=False)
        self.drops = bool((rates > 0).any())
        by_unit = np.repeat(rates, units, axis=0)
        nodes = torch.from_numpy(np.repeat(np.arange(len(rates), dtype=np.int32), units))
        self.register_buffer("node", nodes, persistent=False)
        self.register_buffer("threshold", torch.from_numpy((by_unit * 2**32).astype(np.int64)), persistent=False)
        self.register_buffer("scale", torch.from_numpy(1 / (1 - by_unit)), persistent=False)

    @property
    def by_replicate(self) -> tuple[str, ...]:
        """The buffers with a column per replicate."""
        return ("base", "threshold", "scale") if self.scale.dim() > 1 else ("base",)

    def forward(
        self, x: Float[Tensor, "n_units n_replicates batch"], draw: Draw | None
    ) -> Float[Tensor, "n_units n_replicates batch"]:
        """`x` with nodes dropped; unchanged in evaluation."""
        if not self.training or not self.drops:
            return x
        if draw is None:
            raise ValueError("dropout in training needs a `Draw` (step, samples); call network.eval() to predict.")
        keys = mix(self.base ^ (draw.step * GOLDEN & 0xFFFFFFFF))
        return _Dropout.apply(x, keys, self.node, self.threshold, self.scale.to(x.dtype), draw.samples)


class _Dropout(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, keys: Tensor, node: Tensor, threshold: Tensor, scale: Tensor, samples: Tensor
    ) -> Tensor:
        ctx.save_for_backward(keys, node, threshold, scale, samples)
        return active(x.device).dropout(x, keys, node, threshold, scale, samples)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        return _Dropout.apply(g, *ctx.saved_tensors), None, None, None, None, None

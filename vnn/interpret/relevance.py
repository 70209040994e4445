"""Layer-wise relevance propagation (LRP-epsilon, LRP-gamma) for inputs, every level and every replicate, in one sweep.

A node hands its relevance to what leads into it, in proportion to what each contributes to its product:
with contribution `c_ij = w_ij v_i` and `z_j = sum_i c_ij`,

    epsilon   R_i = sum_j  c_ij / (z_j + epsilon sign z_j) R_j
    gamma     R_i = sum_j  (c_ij + gamma c_ij [sign c_ij = sign z_j]) / (z_j + gamma sum_k c_kj [sign c_kj = sign z_j]) R_j

Batch normalisation is folded into the linear map before it; an activation, whatever it is, hands its relevance
on unchanged. The contrast of the logits is one linear node above all heads, at the scale of the target,
and is shared out exactly (LRP-0, as Montavon et al. advise for upper layers). Covariates lead into it, so theirs is exact too.

What `v` is decides what LRP speaks of. As published it has no reference: `v` is the value of a node, and a bias takes
its share and keeps it. Here, unless `biases="absorb"` is asked for, `v` is the difference between the value on the
sample and on the reference, at every level: biases cancel, what is shared out is the difference of the logits, and
with an epsilon of 0 this is DeepLIFT's rescale rule.

Bach et al. (2015), doi:10.1371/journal.pone.0130140; Montavon et al. (2019), doi:10.1007/978-3-030-28954-6_10. They give
gamma for values that are never negative, as after ReLU; for values of both signs this is the extension of
Andéol et al. (2021), arXiv:2106.04923, which is the same where they are not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import pad

from vnn._errors import choose
from vnn.interpret.deeplift import PREDICTION, Comparison, DeepLift, Explained
from vnn.kernels import sparse_product, transposed_product
from vnn.layers import BatchNorm, Signal, SparseLinear
from vnn.layers.normalisation import EPSILON
from vnn.models import VisibleNetwork
from vnn.models.network import COVARIATES

BIASES = ("cancel", "absorb")


@dataclass(frozen=True, eq=False)
class Relevance(Explained):
    """Relevance of every unit, and what did not arrive.

    `multipliers` and `direct` are empty for gamma, where a unit's relevance is no multiple of its value. With
    `biases="absorb"` `difference` is the contrast of the logits of the sample itself: LRP as published compares it with 0.

    Parameters
    ----------
    absorbed
        By level the relevance that was lost above it, to epsilon and to biases, (R, batch); the sum over
        the cut of a level and what was absorbed above it is the difference.
    """

    absorbed: dict[str, Tensor] = field(default_factory=dict)

    def missed(self) -> dict[str, Tensor]:
        """By level how far the sum over its cut and what was absorbed above it are from the difference, (R, batch)."""
        return {level: gap + self.absorbed[level] for level, gap in super().missed().items()}


def relevance_epsilon(
    network: VisibleNetwork,
    signal: Signal,
    reference: Signal,
    covariates: Tensor | None,
    reference_covariates: Tensor | None,
    contrast: Tensor,
    *,
    epsilon: float = 0.01,
    biases: str = "cancel",
) -> Relevance:
    """LRP-epsilon: relevance in proportion to contributions, damped where these nearly cancel.

    Complete up to what is absorbed: exactly the share epsilon / (|z| + epsilon) of the relevance of every node, and with
    `biases="absorb"` what the biases contribute.

    Parameters
    ----------
    network
        Any number of replicates, each in a wiring of its own if need be; read in evaluation mode.
    signal, reference, covariates, reference_covariates
        As for `DeepLift.compare`.
    contrast
        Weight of each logit, (n_targets,).
    epsilon
        On the scale of normalised products, whose standard deviation over samples is about 1 after batch normalisation.
    biases
        "cancel": values are differences to the reference, at every level. "absorb": LRP as published; only the inputs are
        differences to the reference, hidden nodes have their values, and biases keep their share.

    Raises
    ------
    TypeError
        If the network holds a module without a rule.
    ValueError
        If `epsilon` is not positive, or `biases` is unknown.
    """
    if not epsilon > 0:
        raise ValueError(f"`epsilon` is {epsilon}; it must be > 0. Without it, LRP of differences is DeepLIFT.")
    machine = DeepLift(network)
    comparison = machine.compare(signal, reference, covariates, reference_covariates)
    return _Sweep(machine, comparison, epsilon, 0.0, _published(network, signal, covariates, biases)).run(contrast)


def relevance_gamma(
    network: VisibleNetwork,
    signal: Signal,
    reference: Signal,
    covariates: Tensor | None,
    reference_covariates: Tensor | None,
    contrast: Tensor,
    *,
    gamma: float = 0.25,
    biases: str = "cancel",
) -> Relevance:
    """LRP-gamma: contributions that agree with the sign of the node's product count `1 + gamma` times.

    The denominator is never smaller than |z|, so no epsilon is needed and nothing is absorbed unless
    `biases="absorb"`: it is complete.

    Parameters
    ----------
    network, signal, reference, covariates, reference_covariates, contrast, biases
        As for `relevance_epsilon`.
    gamma
        Larger values leave less to what contradicts; the limit shares relevance among agreeing contributions only.

    Raises
    ------
    TypeError
        If the network holds a module without a rule.
    ValueError
        If `gamma` is not positive, or `biases` is unknown.
    """
    if not gamma > 0:
        raise ValueError(f"`gamma` is {gamma}; it must be > 0. Without it, LRP of differences is DeepLIFT.")
    machine = DeepLift(network)
    comparison = machine.compare(signal, reference, covariates, reference_covariates)
    return _Sweep(machine, comparison, 0.0, gamma, _published(network, signal, covariates, biases)).run(contrast)


@dataclass(frozen=True, eq=False)
class _Published:
    """What LRP as published starts from: the values of the sample itself."""

    activations: dict[str, Tensor]
    products: dict[str, Tensor]
    logits: Tensor


@torch.no_grad()
def _published(network: VisibleNetwork, signal: Signal, covariates: Tensor | None, biases: str) -> _Published | None:
    if choose("`biases`", biases, BIASES) == "cancel":
        return None
    training = network.training
    network.eval()
    try:
        held = network.trace(signal)
        logits = network.deployed(network.heads(signal, covariates)).permute(2, 1, 0)
    finally:
        network.train(training)
    width = next(iter(held["activation"].values())).shape[2] - signal.n_samples
    return _Published(held["activation"], held["normalisation"], pad(logits, (0, width)))


class _Sweep:
    """Values and products of one comparison, and relevance on its way down."""

    def __init__(
        self, machine: DeepLift, comparison: Comparison, epsilon: float, gamma: float, published: _Published | None
    ) -> None:
        self.network, self.order, self.comparison = machine.network, machine.order, comparison
        self.epsilon, self.gamma, self.published = epsilon, gamma, published
        self.values = {level: comparison.delta[level] for level in self.order}
        if published is not None:
            self.values |= published.activations

    @torch.no_grad()
    def run(self, contrast: Tensor) -> Relevance:
        """Relevance of every unit for a contrast of the logits."""
        network, order = self.network, list(self.order)
        nothing = torch.zeros_like(self.comparison.logits[0])
        self.levels = {level: torch.zeros_like(values) for level, values in self.values.items()}
        self.passing = {level: nothing.clone() for level in order}
        absorbed = {level: nothing.clone() for level in order}
        weights = contrast.to(network.output_scale)
        upstream = weights[:, None] * network.output_scale
        direct = self._heads(upstream)
        late: dict[str, Tensor] = {}
        if network.n_covariates:
            weight = network.covariate_linear.weights[0].view(network.n_targets, network.n_covariates, -1)
            late = {
                COVARIATES: torch.einsum("tr,tcr->cr", upstream, weight)[:, :, None] * self.comparison.delta[COVARIATES]
            }
        difference = torch.einsum("t,trb->rb", weights, self.comparison.logits)
        if self.published is not None:
            difference = torch.einsum("t,trb->rb", weights, self.published.logits)
            constant = difference - _sum_of(found.sum(0) for found in (*self.levels.values(), *late.values()))
            for level in order:
                absorbed[level] += constant
        multipliers: dict[str, Tensor] = {}
        for i, (stage, linear) in reversed(list(enumerate(network.layers))):
            multiplier, lost = self._through(i, stage.level, linear)
            multipliers[stage.level] = multiplier
            for level in order[: self.order[stage.level]]:
                absorbed[level] += lost
        if self.gamma:
            multipliers, direct = {}, {}
        return Relevance(
            self.levels | late,
            self.passing,
            difference,
            multipliers,
            direct,
            self.comparison.rounding,
            absorbed=absorbed,
        )

    def _heads(self, upstream: Tensor) -> dict[str, Tensor]:
        """Share the contrast out to what the heads read; the multiplier of each unit, by level."""
        direct: dict[str, Tensor] = {}
        per_head = (upstream / len(self.network.head_layers))[:, :, None]
        for linear in self.network.head_layers:
            for source, graph, weight in linear.parts():
                multiplier = transposed_product(per_head, weight, graph)
                direct[source] = direct[source] + multiplier if source in direct else multiplier
        for source, multiplier in direct.items():
            self._hand(source, PREDICTION, multiplier * self.values[source])
        return direct

    def _through(self, i: int, level: str, linear: SparseLinear) -> tuple[Tensor, Tensor]:
        """Hand the relevance of a level to its sources; its multipliers, and what of it was lost."""
        values, gain, agree = self.values, self._gain(i), self.gamma / 2
        own = gain * _sum_of(sparse_product(values[source], weight, graph) for source, graph, weight in linear.parts())
        z = own if self.published is None else self.published.products[level]
        sign, size, bias = torch.where(z < 0, -1.0, 1.0).to(z), z.abs(), z - own
        if self.gamma:
            reach = _sum_of(
                sparse_product(values[source].abs(), weight.abs(), graph) for source, graph, weight in linear.parts()
            )
            size = size * (1 + agree) + agree * (gain.abs() * reach + bias.abs())
        bottom = size + self.epsilon
        relevance = self.levels[level]
        shared = torch.where(bottom > 0, sign * relevance / torch.where(bottom > 0, bottom, 1.0), 0.0)
        lost = relevance - shared * sign * size + shared * (bias * (1 + agree) + agree * sign * bias.abs())
        multiplier = shared * gain
        for source, graph, weight in linear.parts():
            handed = transposed_product(multiplier, weight, graph) * values[source]
            if self.gamma:
                agreeing = transposed_product(shared * sign * gain.abs(), weight.abs(), graph) * values[source].abs()
                handed = handed * (1 + agree) + agreeing * agree
            self._hand(source, level, handed)
        return multiplier, lost.sum(0)

    def _gain(self, i: int) -> Tensor:
        norms = self.network.norms
        if not len(norms):
            return self.comparison.logits.new_ones(1, 1, 1)
        norm = norms[i]
        assert isinstance(norm, BatchNorm)
        return (norm.gain * torch.rsqrt(norm.variance + EPSILON))[:, :, None]

    def _hand(self, source: str, target: str, relevance: Tensor) -> None:
        """Give relevance to a level, and count it at the levels it jumps over."""
        self.levels[source] += relevance
        end = self.order.get(target, len(self.order))
        between = [level for level, place in self.order.items() if self.order[source] < place < end]
        if between:
            total = relevance.sum(0)
            for level in between:
                self.passing[level] += total


def _sum_of(parts: Iterable[Tensor]) -> Tensor:
    found = iter(parts)
    total = next(found)
    for part in found:
        total = total + part
    return total

"""DeepLIFT (rescale rule) for inputs, every level and every replicate, in one sweep against the signal.

A sample is compared with a reference. What the difference of the logits owes to a node is its
multiplier times the difference of its value; multipliers run from the logits back along every edge, and
an activation passes them on times (difference of its values) / (difference of its inputs). With all
linear parts exact, the contributions over any cut of the network sum to the difference of the logits.

Shrikumar, Greenside & Kundaje (2017), arXiv:1704.02685. Here one forward pass serves every contrast,
and one backward sweep gives the inputs, all levels and what jumps over each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from vnn._errors import culprits
from vnn.kernels import Graph, edge_product, sparse_product, transposed_product
from vnn.layers import BatchNorm, InputScaling, NodeDropout, Signal, SparseLinear
from vnn.layers.normalisation import EPSILON
from vnn.models import VisibleNetwork
from vnn.models.network import COVARIATES

ELEMENTWISE = (
    nn.Tanh, nn.ReLU, nn.Sigmoid, nn.Softsign, nn.Identity, nn.ELU, nn.SELU, nn.LeakyReLU,
    nn.Softplus, nn.GELU, nn.SiLU, nn.Mish, nn.Hardtanh,
)  # fmt: skip
KNOWN = {SparseLinear, Graph, BatchNorm, InputScaling, NodeDropout, nn.ModuleList, nn.ParameterList, *ELEMENTWISE}
TINY = {torch.float32: 1e-6, torch.float64: 1e-10}
PREDICTION = "prediction"


def preflight(network: nn.Module) -> None:
    """Refuse a network that holds anything the sweep does not know, and name all of it.

    Raises
    ------
    TypeError
        If a module is unknown, changes its input in place, or carries a hook.
    """
    if type(network) is not VisibleNetwork:
        raise TypeError(
            f"the network is a {type(network).__name__}; attributions are made for a vnn.VisibleNetwork. "
            "For other modules use Captum, and check its completeness error."
        )
    wrong = []
    for name, module in network.named_modules():
        if name and type(module) not in KNOWN:
            wrong.append(f"{name} is a {type(module).__name__}")
        elif getattr(module, "inplace", False):
            wrong.append(f"{name} changes its input in place")
        elif module._forward_hooks or module._forward_pre_hooks:
            wrong.append(f"{name or 'the network'} carries a hook")
    if wrong:
        raise TypeError(
            f"{len(wrong)} modules have no known rule, so attributions would be silently wrong: {culprits(wrong)}. "
            f"Known activations are {', '.join(sorted(kind.__name__ for kind in ELEMENTWISE))}, as modules of their own."
        )


@dataclass(frozen=True, eq=False)
class Comparison:
    """Samples beside their reference, before any contrast is chosen; batches carry the network's padding.

    Parameters
    ----------
    delta
        By level the difference of values, (n_units, R, batch); the inputs in scaled units, covariates too where there are any.
    slope
        By level above the inputs, difference of activations over difference of products.
    logits
        Difference of the deployed logits, (n_targets, R, batch).
    n_samples
        Samples of the batch.
    rounding
        Largest scaled input before it is centred, times the precision of its type: what the forward pass cannot resolve.
    """

    delta: dict[str, Tensor]
    slope: dict[str, Tensor]
    logits: Tensor
    n_samples: int
    rounding: float


@dataclass(frozen=True, eq=False)
class Explained:
    """Contributions to one contrast of the logits.

    Parameters
    ----------
    levels
        By level the contribution of every unit, (n_units, R, batch); the inputs and covariates included.
    passing
        By level the sum over all edges that jump over it, (R, batch): skips, and heads attached below it.
    difference
        Contrast of the logits, sample minus reference, (R, batch).
    multipliers
        By level above the inputs, of its product; what edges carry is computed from them.
    direct
        By level the multiplier of what the heads read there, (n_units, R, 1).
    rounding
        As in the comparison.
    """

    levels: dict[str, Tensor]
    passing: dict[str, Tensor]
    difference: Tensor
    multipliers: dict[str, Tensor]
    direct: dict[str, Tensor]
    rounding: float

    def missed(self) -> dict[str, Tensor]:
        """By level how far the sum over its cut is from the difference, (R, batch)."""
        late = self.levels[COVARIATES].sum(0) if COVARIATES in self.levels else 0.0
        return {
            level: values.sum(0) + self.passing[level] + late - self.difference
            for level, values in self.levels.items()
            if level != COVARIATES
        }


class DeepLift:
    """One network ready to be explained.

    Parameters
    ----------
    network
        Any number of replicates; read in evaluation mode, its own mode is restored.

    Raises
    ------
    TypeError
        If `preflight` refuses it.
    """

    def __init__(self, network: VisibleNetwork) -> None:
        preflight(network)
        self.network = network
        self.inputs = network.topology.levels[0].name
        self.order = {self.inputs: 0} | {stage.level: i + 1 for i, (stage, _) in enumerate(network.layers)}
        leading = dict.fromkeys(source for stage, _ in network.layers for source in stage.edges)
        self.out = {source: _Out(network, source) for source in leading}
        self.jumps = {
            (source, stage.level): partial(sparse_product, weight=weight, graph=graph)
            for stage, linear in network.layers
            for source, graph, weight in linear.parts()
            if self._between(source, stage.level)
        }

    @torch.no_grad()
    def compare(
        self,
        signal: Signal,
        reference: Signal,
        covariates: Tensor | None = None,
        reference_covariates: Tensor | None = None,
    ) -> Comparison:
        """The differences between samples and reference at every level.

        Parameters
        ----------
        signal
            The samples, one copy for all replicates.
        reference
            Of one column, or one for each sample; of one replicate, or one for each. Nothing may be missing in it.
        covariates, reference_covariates
            Coded columns, (n_samples, n_columns) and (n_columns, R).
        """
        network, training = self.network, self.network.training
        network.eval()
        try:
            here, there = network.trace(signal), network.trace(reference)
            narrow = slice(0, 1) if reference.n_samples == 1 else slice(None)
            delta = {self.inputs: self._moved(signal, reference.numbers[:, :, narrow])}
            slope = {}
            logits = network.output_scale.new_zeros(())
            for i, (stage, _) in enumerate(network.layers):
                a, a0 = here["activation"][stage.level], there["activation"][stage.level][:, :, narrow]
                h, h0 = here["normalisation"][stage.level], there["normalisation"][stage.level][:, :, narrow]
                delta[stage.level] = a - a0
                slope[stage.level] = _slope(network.activations[i], h, h0, delta[stage.level]) * self._gain(i)
            for linear in network.head_layers:
                logits = logits + (linear(here["activation"], {}) - linear(there["activation"], {})[:, :, narrow])
            logits = logits / len(network.head_layers)
            if network.n_covariates:
                assert covariates is not None
                assert reference_covariates is not None
                scaling = network.covariate_scaling
                columns = (covariates.T[:, None, :] - reference_covariates[:, :, None]) * scaling.scale[:, :, None]
                columns = nn.functional.pad(columns.to(logits.dtype), (0, logits.shape[2] - columns.shape[2]))
                delta[COVARIATES] = columns
                weight = network.covariate_linear.weights[0].view(network.n_targets, network.n_covariates, -1)
                logits = logits + torch.einsum("tcr,crb->trb", weight, columns)
            largest = (signal.numbers.abs().amax((1, 2))[:, None] * network.scaling.scale).max()
            rounding = float(largest) * torch.finfo(logits.dtype).eps
            return Comparison(delta, slope, logits * network.output_scale[:, :, None], signal.n_samples, rounding)
        finally:
            network.train(training)

    @torch.no_grad()
    def explain(self, comparison: Comparison, contrast: Tensor) -> Explained:
        """What every unit contributes to a contrast of the logits.

        Parameters
        ----------
        comparison
            Of `compare`.
        contrast
            Weight of each logit, (n_targets,).
        """
        network, delta = self.network, comparison.delta
        upstream = contrast.to(network.output_scale)[:, None] * network.output_scale
        direct: dict[str, Tensor] = {}
        for linear in network.head_layers:
            per_head = (upstream / len(network.head_layers))[:, :, None]
            for source, graph, weight in linear.parts():
                multiplier = transposed_product(per_head, weight, graph)
                direct[source] = direct[source] + multiplier if source in direct else multiplier
        passing = {level: comparison.logits.new_zeros(comparison.logits.shape[1:]) for level in self.order}
        levels: dict[str, Tensor] = {}
        multipliers: dict[str, Tensor] = {}
        for level in reversed(self.order):
            multiplier = direct.get(level, comparison.logits.new_zeros(1, 1, 1))
            if level in self.out:
                out = self.out[level]
                multiplier = multiplier + out.against({target: multipliers[target] for target in out.weights})
            levels[level] = multiplier * delta[level]
            if level in comparison.slope:
                multipliers[level] = multiplier * comparison.slope[level]
        for (source, target), forward in self.jumps.items():
            self._pass(passing, source, target, multipliers[target] * forward(delta[source]))
        for source, multiplier in direct.items():
            self._pass(passing, source, PREDICTION, multiplier * delta[source])
        if network.n_covariates:
            weight = network.covariate_linear.weights[0].view(network.n_targets, network.n_covariates, -1)
            levels[COVARIATES] = torch.einsum("tr,tcr->cr", upstream, weight)[:, :, None] * delta[COVARIATES]
        difference = torch.einsum("t,trb->rb", contrast.to(network.output_scale), comparison.logits)
        ordered = {level: levels[level] for level in [*self.order, *([COVARIATES] if network.n_covariates else [])]}
        return Explained(ordered, passing, difference, multipliers, direct, comparison.rounding)

    @torch.no_grad()
    def flows(self, comparison: Comparison, explained: Explained, weights: Tensor) -> dict[tuple[str, str], Tensor]:
        """What every edge between two levels carries, summed over the batch with these weights.

        Parameters
        ----------
        weights
            Weight of each sample, (n_samples,).

        Returns
        -------
        By (source level, target level) shape (n_weights, R), in the order of the layer's weights, and by (level,
        "prediction") what the heads read from its units, (n_units, R). What flows into a node equals what flows out of it.
        """
        padded = nn.functional.pad(weights.to(comparison.logits), (0, comparison.logits.shape[2] - len(weights)))
        found = {}
        for stage, linear in self.network.layers:
            g = explained.multipliers[stage.level] * padded
            for source, graph, weight in linear.parts():
                found[source, stage.level] = weight * edge_product(g, comparison.delta[source], graph)
        for source, multiplier in explained.direct.items():
            found[source, PREDICTION] = multiplier[:, :, 0] * (comparison.delta[source] * padded).sum(-1)
        return found

    def _moved(self, signal: Signal, reference: Tensor) -> Tensor:
        """Scaled difference of the inputs, (n_in, R, batch)."""
        scaling = self.network.scaling
        values = signal.numbers
        if signal.missing is not None:
            values = values + signal.missing * scaling.fill[:, :, None]
        return (values - reference) * scaling.scale[:, :, None]

    def _gain(self, i: int) -> Tensor | float:
        if not len(self.network.norms):
            return 1.0
        norm = self.network.norms[i]
        assert isinstance(norm, BatchNorm)
        return (norm.gain * torch.rsqrt(norm.variance + EPSILON))[:, :, None]

    def _between(self, source: str, target: str) -> list[str]:
        """Levels strictly between a source level and a target level; the prediction is above all."""
        end = self.order.get(target, len(self.order))
        return [level for level, place in self.order.items() if self.order[source] < place < end]

    def _pass(self, passing: dict[str, Tensor], source: str, target: str, carried: Tensor) -> None:
        """Count what edges carry over the levels between their ends."""
        if between := self._between(source, target):
            total = carried.sum(0)
            for level in between:
                passing[level] += total


class _Out:
    """All edges out of a level, so that its multipliers are one product and nothing is accumulated."""

    def __init__(self, network: VisibleNetwork, source: str) -> None:
        self.weights: dict[str, Tensor] = {}
        pairs, units, n_targets = [], [], 0
        for stage, linear in network.layers:
            if source in stage.edges:
                self.weights[stage.level] = linear.weights[linear.sources.index(source)]
                pairs.append(stage.edges[source] + np.array([[0, n_targets]]))
                units.append(network.own_units(stage.level))
                n_targets += len(stage.nodes)
        sizes = network.own_units(source)
        self.graph = Graph(
            np.concatenate(pairs), len(sizes), n_targets, units_in=sizes, units_out=np.concatenate(units)
        ).to(network.output_scale.device)

    def against(self, multipliers: dict[str, Tensor]) -> Tensor:
        """Multipliers of the level from those of all levels its edges lead to."""
        return transposed_product(
            torch.cat(list(multipliers.values())), torch.cat(list(self.weights.values())), self.graph
        )


def _slope(activation: nn.Module, h: Tensor, h0: Tensor, difference: Tensor) -> Tensor:
    """The rescale rule: difference of activations over difference of their inputs, the derivative where that is 0."""
    if isinstance(activation, nn.Identity):
        return torch.ones_like(difference)
    moved = h - h0
    small = moved.abs() <= TINY[h.dtype]
    if not small.any():
        return difference / moved
    slope = difference / torch.where(small, 1.0, moved)
    with torch.enable_grad():
        at = ((h + h0) / 2)[small].requires_grad_()
        slope[small] = torch.autograd.grad(activation(at).sum(), at)[0]
    return slope

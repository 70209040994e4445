"""The two directions of a network: values up from the inputs, multipliers down from the logits, all levels in one go.

A network is sparse linear maps and elementwise activations. Whatever a method says an activation passes on, what runs
back along the edges is the same: **all edges out of a level are one transposed product**. And the inputs enter linearly,
so that any point between a sample and a reference, and any noise on the inputs, needs no product of the inputs again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from vnn._errors import culprits
from vnn.kernels import Graph, sparse_product, transposed_product
from vnn.layers import BatchNorm, InputScaling, NodeDropout, Signal, SparseLinear
from vnn.layers.normalisation import EPSILON
from vnn.layers.sparse import product
from vnn.models import VisibleNetwork
from vnn.models.wiring import Stage

ELEMENTWISE = (
    nn.Tanh, nn.ReLU, nn.Sigmoid, nn.Softsign, nn.Identity, nn.ELU, nn.SELU, nn.LeakyReLU,
    nn.Softplus, nn.GELU, nn.SiLU, nn.Mish, nn.Hardtanh,
)  # fmt: skip
KNOWN = {SparseLinear, Graph, BatchNorm, InputScaling, NodeDropout, nn.ModuleList, nn.ParameterList, *ELEMENTWISE}
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
class State:
    """Values of the levels above a cut, (n_units, R, batch).

    Parameters
    ----------
    inner
        By level what enters the activation.
    values
        By level what leaves it.
    """

    inner: dict[str, Tensor]
    values: dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Trace:
    """A batch on its way up.

    Parameters
    ----------
    signal
        The raw inputs.
    entering
        By level what inputs and bias add to its product, (n_units, R, batch), or (n_units, R, 1) for the bias alone.
    state
        All levels above the inputs.
    logits
        Deployed logits without covariates and output shift, (n_targets, R, batch).
    rounding
        Largest scaled input before it is centred, times the precision of its type: what the way up cannot resolve.
    """

    signal: Signal
    entering: dict[str, Tensor]
    state: State
    logits: Tensor
    rounding: float

    def narrow(self, at: slice) -> Trace:
        """Some of the columns."""
        numbers, beside = self.signal.numbers[:, :, at], self.signal.covariates
        own = Signal(numbers, None, len(range(*at.indices(self.signal.n_samples))))
        if beside is not None:
            own = own._replace(covariates=beside[:, :, at])
        entering = {
            level: values if values.shape[2] == 1 else values[:, :, at] for level, values in self.entering.items()
        }
        state = State(*({k: v[:, :, at] for k, v in part.items()} for part in (self.state.inner, self.state.values)))
        return Trace(own, entering, state, self.logits[:, :, at], self.rounding)


@dataclass(frozen=True, eq=False)
class Multipliers:
    """What one unit more at a node is worth at the contrast, by level, (n_units, R, batch or 1).

    Parameters
    ----------
    values
        Of the value of a node.
    products
        Of its weighted sum, before normalisation.
    """

    values: dict[str, Tensor] = field(default_factory=dict)
    products: dict[str, Tensor] = field(default_factory=dict)


class Sweep:
    """One network laid out for going through it in both directions, in evaluation mode whatever its own mode is.

    Parameters
    ----------
    network
        Any number of replicates, wired alike or each in its own way; read as it is now.

    Attributes
    ----------
    order
        Place of every level, the inputs at 0.
    jumps
        Pairs of levels whose edges pass over levels between them.

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
        self.jumps = tuple(
            (source, stage.level) for stage, _ in network.layers for source in stage.edges
            if self.between(source, stage.level)
        )  # fmt: skip

    @cached_property
    def gains(self) -> dict[str, tuple[Tensor, Tensor]]:
        """By level the factor and the shift of its normalisation in evaluation, (n_units, R, 1); empty without."""
        found = {}
        for (stage, _), norm in zip(self.network.layers, self.network.norms, strict=False):
            assert isinstance(norm, BatchNorm)
            factor = norm.gain.detach() * torch.rsqrt(norm.variance + EPSILON)
            found[stage.level] = factor[:, :, None], (norm.bias.detach() - norm.mean * factor)[:, :, None]
        return found

    def above(self, cut: str) -> Iterator[tuple[Stage, SparseLinear, nn.Module]]:
        """The levels above one, lowest first, with their product and activation."""
        for (stage, linear), activation in zip(self.network.layers, self.network.activations, strict=True):
            if self.order[stage.level] > self.order[cut]:
                yield stage, linear, activation

    def between(self, source: str, target: str) -> list[str]:
        """Levels strictly between a source level and a target level; the prediction is above all."""
        end = self.order.get(target, len(self.order))
        return [level for level, place in self.order.items() if self.order[source] < place < end]

    # Up.

    def enter(self, signal: Signal) -> dict[str, Tensor]:
        """What inputs and bias add to the product of every level: see `Trace`."""
        found = {}
        for stage, linear, _ in self.above(self.inputs):
            bias = linear.bias
            if self.inputs in stage.edges:
                _, graph, weight = next(part for part in linear.parts() if part[0] == self.inputs)
                folded, shift, filled = self.network.scaling.fold(weight, graph)
                total = product(signal.values, folded, graph, shift if bias is None else bias + shift)
                if signal.missing is not None:
                    total = product(signal.missing, filled, graph, None, total)
                found[stage.level] = total
                if self.network.early and self.order[stage.level] == 1:
                    found[stage.level] = total + self.network.entering(signal)
            else:
                none = self.network.output_scale.new_zeros(int(self.network.own_units(stage.level).sum()), 1)
                found[stage.level] = (none.expand(-1, self.network.n_replicates) if bias is None else bias)[:, :, None]
        return found

    def trace(self, signal: Signal) -> Trace:
        """Everything a batch of raw inputs becomes."""
        entering = self.enter(signal)
        state = self.run(entering, self.inputs)
        heads = self.network.head_layers
        logits = torch.stack([linear(state.values, {}) for linear in heads]).mean(0)
        largest = (signal.largest[:, None] * self.network.scaling.scale).max()
        rounding = float(largest) * torch.finfo(logits.dtype).eps
        return Trace(signal, entering, state, logits * self.network.output_scale[:, :, None], rounding)

    def moved(self, signal: Signal, reference: Tensor) -> Tensor:
        """Scaled difference of the inputs from raw reference values, (n_in, R, batch)."""
        scaling = self.network.scaling
        values = signal.numbers
        if (missing := signal.gaps) is not None:
            values = values + missing * scaling.fill[:, :, None]
        return (values - reference) * scaling.scale[:, :, None]

    def late_moved(self, covariates: Tensor, reference: Tensor, like: Tensor) -> Tensor:
        """Scaled difference of covariates (n_samples, n_columns) from reference values (n_columns, R), (n_columns, R, batch)."""
        scale = self.network.covariate_scaling.scale
        columns = (covariates.T[:, None, :] - reference[:, :, None]) * scale[:, :, None]
        return nn.functional.pad(columns.to(like.dtype), (0, like.shape[2] - columns.shape[2]))

    def run(self, entering: Mapping[str, Tensor], cut: str) -> State:
        """The levels above a cut.

        Parameters
        ----------
        entering
            What all levels up to the cut, and the bias, add to the product of each level above it.
        """
        inner: dict[str, Tensor] = {}
        values: dict[str, Tensor] = {}
        for stage, linear, activation in self.above(cut):
            h = entering[stage.level]
            for source, graph, weight in linear.parts():
                if source in values:
                    bias, addend = (h[:, :, 0], None) if h.shape[2] == 1 else (None, h)
                    h = sparse_product(values[source], weight, graph, bias, addend)
            if stage.level in self.gains:
                factor, shift = self.gains[stage.level]
                h = torch.addcmul(shift, h, factor)
            inner[stage.level], values[stage.level] = h, activation(h)
        return State(inner, values)

    def slopes(self, state: State) -> dict[str, Tensor]:
        """By level the derivative of its values for its product, in every sample."""
        return {
            stage.level: self.gained(stage.level, derivative(activation, state.inner[stage.level], state.values[stage.level]))
            for stage, _, activation in self.above(self.inputs)
            if stage.level in state.values
        }  # fmt: skip

    def gained(self, level: str, slope: Tensor) -> Tensor:
        """The slope of an activation times the factor of the normalisation before it."""
        return slope * self.gains[level][0] if level in self.gains else slope

    def rates(
        self, entering: Mapping[str, Tensor], slopes: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[tuple[str, str], Tensor]]:
        """How fast all levels move when what inputs add moves by `entering`.

        Returns
        -------
        By level the rate of its values; by jump between levels above the inputs what its edges carry into the product.
        """
        values: dict[str, Tensor] = {}
        carried: dict[tuple[str, str], Tensor] = {}
        for stage, linear, _ in self.above(self.inputs):
            h = entering[stage.level]
            for source, graph, weight in linear.parts():
                if source not in values:
                    continue
                if (source, stage.level) in self.jumps:
                    part = carried[source, stage.level] = sparse_product(values[source], weight, graph)
                    h = h + part
                else:
                    h = sparse_product(values[source], weight, graph, None, h if h.shape[2] > 1 else None)
            values[stage.level] = slopes[stage.level] * h
        return values, carried

    # Down.

    def upstream(self, contrast: Tensor) -> Tensor:
        """What one unit more of the combined heads is worth, (n_targets, R)."""
        scale = self.network.output_scale
        return contrast.to(scale)[:, None] * scale

    def direct(self, upstream: Tensor, *, absolute: bool = False) -> dict[str, Tensor]:
        """By level what the heads read there is worth, (n_units, R, 1)."""
        heads = self.network.head_layers
        found: dict[str, Tensor] = {}
        for linear in heads:
            per_head = (upstream / len(heads))[:, :, None]
            for source, graph, weight in linear.parts():
                multiplier = transposed_product(per_head, weight.abs() if absolute else weight, graph)
                found[source] = found[source] + multiplier if source in found else multiplier
        return found

    def late(self, upstream: Tensor, *, absolute: bool = False) -> Tensor:
        """What one scaled unit more of every covariate is worth, (n_columns, R)."""
        network = self.network
        weight = network.covariate_linear.weights[0].view(network.n_targets, network.n_covariates, -1)
        return torch.einsum("tr,tcr->cr", upstream, weight.abs() if absolute else weight)

    def back(
        self, direct: Mapping[str, Tensor], passed: Callable[[str, Tensor], Tensor], cut: str, *, absolute: bool = False
    ) -> Multipliers:
        """Multipliers of the levels above a cut.

        Parameters
        ----------
        direct
            Of `direct`.
        passed
            What the activation and normalisation of a level pass on of a multiplier of its values.
        """
        found = Multipliers()
        for stage, _, _ in reversed(list(self.above(cut))):
            found.values[stage.level] = self.against(stage.level, direct, found.products, absolute=absolute)
            found.products[stage.level] = passed(stage.level, found.values[stage.level])
        return found

    def against(
        self, level: str, direct: Mapping[str, Tensor], products: Mapping[str, Tensor], *, absolute: bool = False
    ) -> Tensor:
        """The multiplier of the values of a level from those of the products above it."""
        own = direct.get(level)
        if level not in self.out:
            return self.network.output_scale.new_zeros(1, 1, 1) if own is None else own
        led = self.out[level].against(products, absolute=absolute)
        return led if own is None else led + own

    def spread(self, passing: dict[str, Tensor], source: str, target: str, carried: Tensor) -> None:
        """Count what edges carry, (R, batch), over the levels between their ends."""
        for level in self.between(source, target):
            passing[level] = passing[level] + carried if level in passing else carried

    def over(self, source: str, target: str, values: Tensor) -> Tensor:
        """What the edges between two levels add to the product of the upper one."""
        linear = self.network.layers[self.order[target] - 1][1]
        _, graph, weight = next(part for part in linear.parts() if part[0] == source)
        return sparse_product(values, weight, graph)


class _Out:
    """All edges out of a level, so that its multipliers are one product and nothing is accumulated."""

    def __init__(self, network: VisibleNetwork, source: str) -> None:
        self.weights: dict[str, Tensor] = {}
        graphs, pairs, units, n_targets = [], [], [], 0
        for stage, linear in network.layers:
            for name, graph, weight in linear.parts():
                if name == source:
                    self.weights[stage.level] = weight
                    graphs.append(graph)
                    pairs.append(stage.edges[source] + np.array([[0, n_targets]]))
                    units.append(network.own_units(stage.level))
                    n_targets += len(stage.nodes)
        first = graphs[0]
        if len(graphs) == 1:
            self.graph = first
            return
        sources = np.concatenate([graph.src.cpu().numpy() for graph in graphs]) if first.src.dim() > 1 else None
        sizes = network.own_units(source)
        self.graph = Graph(
            np.concatenate(pairs), len(sizes), n_targets, units_in=sizes, units_out=np.concatenate(units),
            sources=sources,
        ).to(network.output_scale.device)  # fmt: skip

    def against(self, products: Mapping[str, Tensor], *, absolute: bool = False) -> Tensor:
        """Multipliers of the level from those of all levels its edges lead to."""
        parts = [products[target] for target in self.weights]
        width = max(part.shape[2] for part in parts)
        g = _joined([part.expand(-1, -1, width) for part in parts])
        weight = _joined(list(self.weights.values()))
        return transposed_product(g, weight.abs() if absolute else weight, self.graph)


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def derivative(activation: nn.Module, h: Tensor, value: Tensor) -> Tensor:
    """Of an elementwise activation at h, where its value is `value`."""
    if isinstance(activation, nn.Identity):
        return torch.ones_like(h)
    if isinstance(activation, nn.Tanh):
        return 1 - value * value
    if isinstance(activation, nn.Sigmoid):
        return value * (1 - value)
    if isinstance(activation, nn.ReLU):
        return (h > 0).to(h)
    if isinstance(activation, nn.Softsign):
        return (1 - value.abs()).square()
    with torch.enable_grad():
        at = h.detach().requires_grad_()
        return torch.autograd.grad(activation(at).sum(), at)[0]

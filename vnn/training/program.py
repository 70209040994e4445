"""A training step as one list of kernel calls, for networks whose kernels run on the CPU.

What the modules of a network compute through autograd is written here as calls of the same kernels on memory that is
taken once: forward, loss, backward, gradient norms and the optimiser's step are one call of the library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from vnn.kernels import Graph, Packed
from vnn.kernels.cpu import calls
from vnn.kernels.cpu.calls import Call
from vnn.kernels.graph import weight_rows
from vnn.layers import BatchNorm, InputScaling, NodeDropout, SparseLinear
from vnn.layers.normalisation import EPSILON, MOMENTUM
from vnn.models import VisibleNetwork
from vnn.models.network import COVARIATES
from vnn.training.optimiser import BETA1, BETA2, EPS, Optimiser
from vnn.training.optimiser import MOMENTUM as VELOCITY
from vnn.training.settings import Training

Rows = tuple[Tensor, Tensor]


class Workspace:
    """Memory that is taken in the same order by one program after another, and never given back between.

    Parameters
    ----------
    dtype
        Of the values.

    Attributes
    ----------
    taken
        Pieces taken since the beginning; a program holds them, as a larger program may replace them here.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self._held: list[Tensor] = []
        self.begin()

    def begin(self) -> None:
        """Start again from the first piece."""
        self._next = 0
        self.taken: list[Tensor] = []

    def take(self, *shape: int) -> Tensor:
        """The next piece, its values not set."""
        size = prod(shape)
        if self._next == len(self._held):
            self._held.append(torch.empty(size, dtype=self.dtype))
        elif self._held[self._next].numel() < size:
            self._held[self._next] = torch.empty(size, dtype=self.dtype)
        piece = self._held[self._next][:size].view(shape)
        self._next += 1
        self.taken.append(piece)
        return piece

    @property
    def n_bytes(self) -> int:
        """Bytes held."""
        return sum(held.numel() * held.element_size() for held in self._held)


class Raw(NamedTuple):
    """A batch as all replicates share it.

    Parameters
    ----------
    x, missing
        Raw inputs (n_in, 1, width) with 0 where missing, and 1 where they are; or None when nothing may be missing. Genotypes
        are packed.
    covariates
        Raw columns (n_covariates, 1, width), or None.
    """

    x: Tensor | Packed
    missing: Tensor | Packed | None
    covariates: Tensor | None

    @property
    def width(self) -> int:
        """Columns."""
        return self.x.batch if isinstance(self.x, Packed) else self.x.shape[2]


@dataclass(frozen=True, eq=False)
class Entering:
    """What a step reads beside the raw batch, filled anew before each.

    Parameters
    ----------
    samples
        Identity of each sample, int64 (width,).
    keys
        Keys of the dropout of the inputs and of every level, uint32 (1 + n_levels, R).
    share
        Share of each sample in the batch of each replicate, (R, width), 0 behind the batch.
    counted
        Weight each replicate's loss is a mean over, float64 (R,).
    target
        Class codes or values, (R, width).
    alive
        Which replicates are still trained, uint8 (R,).
    lr, decay
        Shape (R,).
    """

    samples: Tensor
    keys: Tensor
    share: Tensor
    counted: Tensor
    target: Tensor
    alive: Tensor
    lr: Tensor
    decay: Tensor


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a step leaves: the loss of every replicate, and whether it and the gradient were finite."""

    loss: Tensor
    sound: Tensor


class Forward:
    """The calls of a network from a raw batch to the logits of its heads.

    Parameters
    ----------
    network
        Read where its weights lie.
    raw
        The batch; its values may change between runs, its tensors may not.
    workspace
        For everything in between, and the logits.
    entering
        For training; in evaluation running statistics normalise and nothing is dropped.

    Attributes
    ----------
    forward
        The calls, in their order.
    logits
        Of every head, (heads, targets, R, width).
    """

    def __init__(
        self, network: VisibleNetwork, raw: Raw, workspace: Workspace, entering: Entering | None = None
    ) -> None:
        self.network, self.raw, self.workspace, self.entering = network, raw, workspace, entering
        self.width = raw.width
        self.inputs = network.topology.levels[0].name
        self.forward: list[Call] = []
        self._keep: list[object] = [workspace.taken]
        self._values: dict[str, Tensor] = {}
        self.products: list[Tensor] = []
        self.active: list[Tensor] = []
        self.statistics: list[Rows] = []
        if entering is not None and network.drops_inputs:
            self._values[self.inputs] = self._entrance(entering)
        for i, (stage, linear) in enumerate(network.layers):
            self._values[stage.level] = self._level(i, linear)
        self._go_out()

    def _entrance(self, entering: Entering) -> Tensor:
        scaling, dropout = self.network.scaling, self.network.input_dropout
        assert isinstance(self.raw.x, Tensor)
        assert not isinstance(self.raw.missing, Packed)
        y = self.workspace.take(len(scaling.scale), self.network.n_replicates, self.width)
        node, threshold, kept = self._held(dropout.node, dropout.threshold.to(torch.uint32), dropout.scale.to(y.dtype))
        self.forward.append(
            calls.entrance(
                self.raw.x, self.raw.missing, scaling.scale, scaling.shift, scaling.fill, entering.keys[0], node,
                threshold, kept, entering.samples, y,
            )
        )  # fmt: skip
        return y

    def _level(self, i: int, linear: SparseLinear) -> Tensor:
        network, entering = self.network, self.entering
        a = h = self.workspace.take(_n_out(linear), network.n_replicates, self.width)
        early = network.early and i == 0
        if early:
            self._sum(network.early_linear, h)
        before = len(self.forward)
        self._sum(linear, h, h if early else None)
        self.products.append(h)
        shape = network.recipe.activation
        if network.norms and entering is not None:
            norm = network.norms[i]
            assert isinstance(norm, BatchNorm)
            a, mean, variance = self.workspace.take(*h.shape), *_two(self.workspace, h.shape[:2])
            self.statistics.append((mean, variance))
            self.forward.append(
                calls.normalise(
                    h, entering.share, norm.gain, norm.bias, norm.mean, norm.variance, mean, variance, a,
                    momentum=MOMENTUM, eps=EPSILON, shape=shape,
                )
            )  # fmt: skip
            self.forward[before:] = calls.by_blocks(self.forward[before:], h.shape)
        else:
            if network.norms:
                norm = network.norms[i]
                assert isinstance(norm, BatchNorm)
                self.forward.append(calls.affine(h, norm.gain, norm.bias, norm.mean, norm.variance, a, eps=EPSILON))
            if shape != "linear":
                self.forward.append(calls.activate(a, a, shape))
        self.active.append(a)
        if entering is None or not network.dropouts[i].drops:
            return a
        y = self.workspace.take(*a.shape)
        self.forward.append(self._dropout(entering, i, a, y))
        return y

    def _dropout(self, entering: Entering, level: int, x: Tensor, y: Tensor) -> Call:
        dropout = self.network.dropouts[level]
        assert isinstance(dropout, NodeDropout)
        node, threshold, kept = self._held(dropout.node, dropout.threshold.to(torch.uint32), dropout.scale.to(x.dtype))
        return calls.dropout(x, entering.keys[1 + level], node, threshold, kept, entering.samples, y)

    def _held(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        self._keep.extend(tensors)
        return tensors

    def _go_out(self) -> None:
        network, n, n_targets = self.network, self.network.n_replicates, self.network.n_targets
        late = None
        if self.raw.covariates is not None:
            late = self.workspace.take(n_targets, n, self.width)
            self._sum(network.covariate_linear, late)
        self.logits = torch.empty(len(network.head_layers), n_targets, n, self.width, dtype=self.workspace.dtype)
        for linear, logits in zip(network.head_layers, self.logits, strict=True):
            self._sum(linear, logits, late)

    def _sum(self, linear: SparseLinear, y: Tensor, start: Tensor | None = None) -> None:
        """y = start + bias + the sum over the source levels."""
        bias: Tensor | None = linear.bias
        addend = start
        for name, graph, weight in linear.parts():
            pending: list[tuple[Tensor | Packed, Tensor]] = []
            if name in self._values:
                pending.append((self._values[name], weight))
            elif self._enters_scaled(name):
                pending.append((self.raw.x, weight))
            else:
                folded, filled, bias = self._fold(name, graph, weight, bias, y)
                raw = self.raw.covariates if name == COVARIATES else self.raw.x
                assert raw is not None
                pending.append((raw, folded))
                if filled is not None:
                    assert self.raw.missing is not None
                    pending.append((self.raw.missing, filled))
            for x, weights in pending:
                if isinstance(x, Packed):
                    call = calls.packed_product(x, x.codebook, weights, bias, addend, y, graph.wiring)
                else:
                    call = calls.product(x, weights, bias, addend, y, graph.wiring, transposed=False)
                self.forward.append(call)
                bias, addend = None, y

    def _scaling_of(self, name: str) -> InputScaling:
        return self.network.covariate_scaling if name == COVARIATES else self.network.scaling

    def _enters_scaled(self, name: str) -> bool:
        return name == self.inputs and isinstance(self.raw.x, Packed) and self.raw.x.scaled

    def _imputes(self, name: str) -> bool:
        return name != COVARIATES and self.raw.missing is not None

    def _fold(
        self, name: str, graph: Graph, weight: Tensor, own_bias: Tensor | None, y: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        scaling, (source, target) = self._scaling_of(name), self._rows(graph)
        folded, bias = self.workspace.take(*weight.shape), self.workspace.take(*y.shape[:2])
        filled = self.workspace.take(*weight.shape) if self._imputes(name) else None
        self.forward.append(
            calls.fold_scaling(
                source, target, weight, scaling.scale, scaling.shift, scaling.fill, own_bias, folded, filled, bias
            )
        )
        return folded, filled, bias

    def _rows(self, graph: Graph) -> Rows:
        """Source and target row of every weight."""
        target, _ = weight_rows(graph.wiring.of(0))
        source, target = self._held(graph.source_row.contiguous(), target.contiguous())
        return source, target


class Step(Forward):
    """The calls of a training step of one network.

    Parameters
    ----------
    network
        Its weights are updated where they lie; their gradients become views of one piece of memory.
    optimiser
        Of this network.
    raw, entering
        What the step reads; the values may change between runs, the tensors may not.
    outcome
        What it leaves.
    task
        "binary", "multiclass" or "regression"; for "cox" the loss is worked out between `forward` and `backward`.
    settings
        Of the training: clipping and penalties.
    workspace
        For everything that lives no longer than the step.

    Attributes
    ----------
    forward, loss, backward, update
        The calls, in this order.
    logits, slopes
        Logits of every head (heads, targets, R, width), and the gradient of the loss with respect to them.
    total
        The gradient summed over the heads (targets, R, width), where there are covariates; else None.
    """

    def __init__(
        self,
        network: VisibleNetwork,
        optimiser: Optimiser,
        raw: Raw,
        entering: Entering,
        outcome: Outcome,
        *,
        task: str,
        settings: Training,
        workspace: Workspace,
    ) -> None:
        workspace.begin()
        self._settings = settings
        self.outcome, self._entering = outcome, entering
        own = Workspace(workspace.dtype) if task == "cox" else workspace  # where some gradients stay 0
        self._gradients = _take_gradients(optimiser, network.n_replicates, own)
        super().__init__(network, raw, workspace, entering)
        self._readers: dict[str, list[tuple[Tensor, SparseLinear, int]]] = {}
        self.loss: list[Call] = []
        self.backward: list[Call] = []
        self.update: list[Call] = []
        self._keep.append(optimiser)
        self._weigh(task)
        self._go_backward(task)
        self._update(optimiser)

    @property
    def calls(self) -> list[Call]:
        """All calls, in their order."""
        return [*self.forward, *self.loss, *self.backward, *self.update]

    # The loss.

    def _weigh(self, task: str) -> None:
        self.slopes = self.workspace.take(*self.logits.shape)
        self.total = None if self.raw.covariates is None else self.workspace.take(*self.logits.shape[1:])
        if task in calls.TASKS:
            self.loss.append(
                calls.loss(
                    task, self.logits, self._entering.target, self._entering.share, self.slopes, self.total,
                    self.outcome.loss, head_weight=self.network.recipe.head_weight,
                )
            )  # fmt: skip

    # Backward.

    def _go_backward(self, task: str) -> None:
        network = self.network
        for linear, slopes in zip(network.head_layers, self.slopes, strict=True):
            self._turn(linear, slopes, bias=task != "cox")
        if self.total is not None:
            self._turn(network.covariate_linear, self.total)
        for i, (stage, linear) in reversed(list(enumerate(network.layers))):
            before = len(self.backward)
            d = self._gather(stage.level)
            if rate := self._settings.l1_activities:
                self.backward.append(calls.lean(self._values[stage.level], self._entering.share, d, rate=rate))
            if network.dropouts[i].drops:
                self.backward.append(self._dropout(self._entering, i, d, d))
            shape = network.recipe.activation
            if network.norms:
                norm, (mean, variance) = network.norms[i], self.statistics[i]
                assert isinstance(norm, BatchNorm)
                assert norm.gain.grad is not None
                assert norm.bias.grad is not None
                self.backward.append(
                    calls.normalise_backward(
                        d, self.products[i], self._entering.share, norm.gain, mean, variance, d, norm.gain.grad,
                        norm.bias.grad, eps=EPSILON, y=self.active[i], shape=shape,
                    )
                )  # fmt: skip
            elif shape != "linear":
                self.backward.append(calls.activate_backward(d, self.active[i], d, shape))
            self._turn(linear, d)
            self.backward[before:] = calls.by_blocks(self.backward[before:], d.shape)
            if network.early and i == 0:
                self._turn(network.early_linear, d)

    def _turn(self, linear: SparseLinear, g: Tensor, *, bias: bool = True) -> None:
        """The gradients of a product's weights and bias from that of its result; its sources are told of it."""
        if linear.bias is not None and linear.bias.grad is not None:
            if bias:
                self.backward.append(calls.row_sum(g, linear.bias.grad))
            else:
                linear.bias.grad.zero_()
        for j, (name, graph, weight) in enumerate(linear.parts()):
            assert weight.grad is not None
            if self._enters_scaled(name):
                self.backward.append(_edge_product(g, self.raw.x, weight.grad, graph))
            elif name not in self._values:
                self._unfold(name, graph, weight, g)
            elif name == self.inputs:
                self.backward.append(calls.edge_product(g, self._values[name], weight.grad, graph.wiring))
            else:
                self._readers.setdefault(name, []).append((g, linear, j))

    def _unfold(self, name: str, graph: Graph, weight: Tensor, g: Tensor) -> None:
        scaling, (source, target) = self._scaling_of(name), self._rows(graph)
        raw = self.raw.covariates if name == COVARIATES else self.raw.x
        folded, bias = self.workspace.take(*weight.shape), self.workspace.take(*g.shape[:2])
        filled = self.workspace.take(*weight.shape) if self._imputes(name) else None
        assert raw is not None
        assert weight.grad is not None
        self.backward += [_edge_product(g, raw, folded, graph), calls.row_sum(g, bias)]
        if filled is not None:
            assert self.raw.missing is not None
            self.backward.append(_edge_product(g, self.raw.missing, filled, graph))
        self.backward.append(
            calls.fold_scaling_backward(
                source, target, folded, filled, bias, scaling.scale, scaling.shift, scaling.fill, weight.grad
            )
        )

    def _gather(self, level: str) -> Tensor:
        """The gradient of a level from all that read it; the gradients of their weights on the way."""
        x, d = self._values[level], self.workspace.take(*self._values[level].shape)
        addend = None
        for g, linear, j in self._readers[level]:
            graph, weight = linear.graphs[j], linear.weights[j]
            assert isinstance(graph, Graph)
            assert weight.grad is not None
            wiring = graph.wiring
            if addend is None and wiring.block_ptr is None:
                self.backward.append(calls.backward(g, x, weight, d, weight.grad, wiring))
            else:
                self.backward.append(calls.product(g, weight, None, addend, d, wiring, transposed=True))
                self.backward.append(calls.edge_product(g, x, weight.grad, wiring))
            addend = d
        return d

    # The optimiser.

    def _update(self, optimiser: Optimiser) -> None:
        n, dtype = self.network.n_replicates, self.workspace.dtype
        squares, (factor, correction1, correction2) = torch.zeros(n, dtype=torch.float64), torch.ones(3, n, dtype=dtype)
        active = torch.zeros(n, dtype=torch.uint8)
        self._held(squares, factor, correction1, correction2, active)
        entering, outcome = self._entering, self.outcome
        self.update += [
            calls.squares(self._gradients, squares),
            calls.judge(
                squares, outcome.loss, entering.counted, entering.alive, optimiser.steps, active, outcome.sound, factor,
                correction1, correction2, most=self._settings.clip, beta1=BETA1, beta2=BETA2,
            ),
        ]  # fmt: skip
        held, gradients = optimiser.held, self._gradients
        if optimiser.kind == "sgd":
            step = calls.descent(
                held, gradients, optimiser.means, lr=entering.lr, decay=entering.decay, momentum=VELOCITY, active=active,
                factor=factor,
            )  # fmt: skip
        else:
            step = calls.adam(
                held, gradients, optimiser.means, optimiser.squares, lr=entering.lr, decay=entering.decay,
                correction1=correction1, correction2=correction2, active=active, beta1=BETA1, beta2=BETA2, eps=EPS,
                decoupled=optimiser.kind == "adamw", factor=factor,
            )  # fmt: skip
        self.update.append(step)
        if rate := self._settings.l1_weights:
            weights = edge_weights(self.network)
            self.update += [calls.shrink(weight, lr=entering.lr, active=active, rate=rate) for weight in weights]


def edge_weights(network: VisibleNetwork) -> list[Tensor]:
    """The weights of all edges between nodes and into heads."""
    linears = [*(linear for _, linear in network.layers), *network.head_layers]
    return [weight for linear in linears for weight in linear.weights]


def _take_gradients(optimiser: Optimiser, n_replicates: int, workspace: Workspace) -> Tensor:
    """The gradients of all parameters, one behind the other; each parameter's `grad` is its part."""
    rows = [len(parameter) for parameter in optimiser.parameters]
    held = workspace.take(sum(rows), n_replicates)
    for parameter, own in zip(optimiser.parameters, held.split(rows), strict=True):
        parameter.grad = own
    return held


def _edge_product(g: Tensor, x: Tensor | Packed, weight: Tensor, graph: Graph) -> Call:
    if isinstance(x, Packed):
        return calls.packed_edge_product(g, x, x.codebook, weight, graph.wiring)
    return calls.edge_product(g, x, weight, graph.wiring)


def _n_out(linear: SparseLinear) -> int:
    return next(graph.n_out for _, graph, _ in linear.parts())


def _two(workspace: Workspace, shape: Sequence[int]) -> Rows:
    return workspace.take(*shape), workspace.take(*shape)

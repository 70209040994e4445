"""The parts of a training step, each as a call of its own: where the time of a step goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vnn.bench.rounds import Call
from vnn.layers import Draw, SparseLinear
from vnn.training.loop import Trainer


def parts(trainer: Trainer, batch: int) -> dict[str, Call]:
    """Forward and backward of every part at the shapes of the network, the cost of calling it included.

    Parameters
    ----------
    trainer
        After one step at least, so that there are gradients; its weights move.
    batch
        Samples per step.
    """
    network, columns = trainer.network, torch.arange(batch)
    signal, _ = trainer._columns(columns)
    lanes, inputs = signal.numbers.shape[2], network.topology.levels[0].name
    draw, share = Draw(0, torch.arange(lanes)), torch.full((1, lanes), 1 / lanes)
    entering = network.scaling.apply_to(signal) if network.recipe.input_dropout else signal
    linears = [linear for _, linear in network.layers]
    widths = [next(graph.n_out for _, graph, _ in linear.parts()) for linear in linears]

    def rows(n: int) -> Tensor:
        return torch.linspace(-1, 1, n * lanes).reshape(n, 1, lanes).requires_grad_()

    def product(linear: SparseLinear) -> Call:
        values = {name: entering if name == inputs else rows(graph.n_in) for name, graph, _ in linear.parts()}
        y = linear(values, network._scalings)
        upstream = torch.ones_like(y)
        wanted = [*linear.parameters(), *(x for name, x in values.items() if isinstance(x, Tensor) and name != inputs)]
        return lambda: torch.autograd.grad(linear(values, network._scalings), wanted, upstream)

    def each_level(modules: Sequence[Callable[[Tensor], Tensor]]) -> Call:
        return _all([_there_and_back(module, rows(n)) for module, n in zip(modules, widths, strict=True)])

    found: dict[str, Call] = {
        "batch": lambda: trainer._columns(columns),
        "products": _all([product(linear) for linear in [*linears, *network.head_layers]]),
        "activation": each_level(list(network.activations)),
    }
    if network.norms:
        found["normalisation"] = each_level([_with(norm, share) for norm in network.norms])
    if network.recipe.dropout:
        found["dropout"] = each_level([_with(dropout, draw) for dropout in network.dropouts])
    if network.recipe.input_dropout:
        found["input dropout"] = lambda: network.input_dropout(network.scaling.apply_to(signal), draw)
    return found | {"loss": _loss(trainer, batch), "optimiser": lambda: _optimise(trainer)}


def _with(module: torch.nn.Module, argument: Tensor | Draw) -> Callable[[Tensor], Tensor]:
    return lambda x: module(x, argument)


def _there_and_back(module: Callable[[Tensor], Tensor], x: Tensor) -> Call:
    upstream = torch.ones_like(x)
    return lambda: torch.autograd.grad(module(x), x, upstream)


def _all(calls: Sequence[Call]) -> Call:
    def call() -> None:
        for one in calls:
            one()

    return call


def _loss(trainer: Trainer, batch: int) -> Call:
    target, weights = trainer._own.target[..., :batch], trainer._own.train_weight[:, :batch]
    n = trainer.network.n_replicates
    heads = {str(i): torch.zeros(batch, n, 1, requires_grad=True) for i, _ in enumerate(trainer.network.head_layers)}

    def call() -> None:
        loss = trainer._loss(heads, target, weights)
        torch.autograd.grad(loss, list(heads.values()), torch.ones_like(loss))

    return call


def _optimise(trainer: Trainer) -> None:
    trainer.optimiser.norms()
    trainer.optimiser.step(torch.ones(trainer.network.n_replicates, dtype=torch.bool))

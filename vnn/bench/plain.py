"""A visible network as one writes it in plain PyTorch: gather and index_add, or dense weights behind a mask."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, binary_cross_entropy_with_logits, dropout

from vnn.bench.rivals import BATCH_MAJOR, DENSE, FEATURE_MAJOR, GATHER
from vnn.kernels.graph import weight_rows
from vnn.layers.normalisation import EPSILON, MOMENTUM
from vnn.models import VisibleNetwork
from vnn.training import Training

KINDS = ((GATHER, FEATURE_MAJOR), (GATHER, BATCH_MAJOR), (DENSE, BATCH_MAJOR))


class PlainNetwork(nn.Module):
    """The twin of a visible network of one replicate, for a binary target: same weights, loss and optimiser.

    Dropout is torch's own, element by element at the recipe's rate. Heads are dense products.

    Parameters
    ----------
    network
        Without skips, covariates and copies; its weights are copied.
    kind, layout
        One of `KINDS`.
    """

    def __init__(self, network: VisibleNetwork, kind: str, layout: str) -> None:
        super().__init__()
        self.recipe, self.kind, self.layout = network.recipe, kind, layout
        self.values = nn.ParameterDict(
            {_key(name): nn.Parameter(p.detach()[:, 0].clone()) for name, p in network.named_parameters()}
        )
        self.products: list[Callable[[Tensor], Tensor]] = []
        self.running: list[tuple[Tensor, Tensor]] = []
        self.read: dict[str, tuple[Tensor, Tensor]] = {}
        for i, (_, linear) in enumerate(network.layers):
            ((_, graph, _),) = linear.parts()
            target, source = weight_rows(graph.wiring)
            bias = self.values[_key(f"linears.{i}.bias")] if linear.bias is not None else None
            self.products.append(
                self._product(_key(f"linears.{i}.weights.0"), target, source, graph.n_out, graph.n_in, bias)
            )
            self.running.append((torch.zeros(graph.n_out), torch.ones(graph.n_out)))
        self.n_heads = len(network.head_layers)

    def _product(
        self, name: str, target: Tensor, source: Tensor, n_out: int, n_in: int, bias: Tensor | None
    ) -> Callable[[Tensor], Tensor]:
        weight = self.values[name]
        if self.kind == DENSE:
            mask, full = torch.zeros(n_out, n_in), torch.zeros(n_out, n_in)
            mask[target, source] = 1
            full[target, source] = weight.detach()
            self.values[name] = matrix = nn.Parameter(full)
            self.read[name] = target, source
            return lambda x: nn.functional.linear(x, matrix * mask, bias)
        if self.layout == FEATURE_MAJOR:

            def by_feature(x: Tensor) -> Tensor:
                y = x.new_zeros(n_out, x.shape[1]).index_add(0, target, weight[:, None] * x[source])
                return y if bias is None else y + bias[:, None]

            return by_feature

        def by_sample(x: Tensor) -> Tensor:
            y = x.new_zeros(len(x), n_out).index_add(1, target, weight * x[:, source])
            return y if bias is None else y + bias

        return by_sample

    def forward(self, x: Tensor) -> list[Tensor]:
        """The logits of every head, (batch,)."""
        rows = self.layout == BATCH_MAJOR
        h, logits = dropout(x, self.recipe.input_dropout), []
        for i, product in enumerate(self.products):
            h = product(h)
            if self.recipe.normalisation == "batch":
                gain, bias = self.values[_key(f"norms.{i}.gain")], self.values[_key(f"norms.{i}.bias")]
                h = batch_norm(
                    h if rows else h[None], *self.running[i], gain, bias, training=True, momentum=MOMENTUM, eps=EPSILON
                )
                h = h if rows else h[0]
            h = dropout(torch.tanh(h), self.recipe.dropout)
            weight, bias = self.values[_key(f"head_linears.{i}.weights.0")], self.values[_key(f"head_linears.{i}.bias")]
            logits.append((h @ weight if rows else weight @ h) + bias)
        return logits

    def loss(self, x: Tensor, target: Tensor) -> Tensor:
        """The loss of the mean of the heads, and a share of each head's own."""
        heads = self(x)
        loss = binary_cross_entropy_with_logits(torch.stack(heads).mean(0), target)
        for one in heads:
            loss = loss + self.recipe.head_weight / len(heads) * binary_cross_entropy_with_logits(one, target)
        return loss

    def gradients(self) -> dict[str, Tensor]:
        """The gradient of every parameter by its name in the visible network."""
        found = {}
        for name, value in self.values.items():
            assert value.grad is not None
            found[name.replace("/", ".")] = value.grad[self.read[name]] if name in self.read else value.grad
        return found


class PlainStep:
    """Training steps of a plain network.

    Parameters
    ----------
    network
        What learns.
    inputs
        Values of all samples, (n_in, n_samples).
    target
        Their class codes.
    settings
        Learning rate and weight decay; the optimiser is torch's AdamW, fused.
    """

    def __init__(self, network: PlainNetwork, inputs: Tensor, target: Tensor, settings: Training) -> None:
        self.network, self.target = network, target.float()
        self.inputs = inputs if network.layout == FEATURE_MAJOR else inputs.T.contiguous()
        self.optimiser = torch.optim.AdamW(
            list(network.parameters()), lr=settings.lr, weight_decay=settings.weight_decay, fused=True
        )

    def __call__(self, at: Tensor) -> float:
        """One step with the samples `at`; its loss."""
        x = self.inputs[:, at] if self.network.layout == FEATURE_MAJOR else self.inputs[at]
        loss = self.network.loss(x, self.target[at])
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return float(loss.detach())


def _key(name: str) -> str:
    return name.replace(".", "/")

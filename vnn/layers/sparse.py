"""A sparse linear layer: one weight per edge, from any number of levels into one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vnn.kernels import Graph, Packed, packed_product, sparse_product


class Signal(NamedTuple):
    """Raw inputs of a network on their way into its first products.

    Parameters
    ----------
    values
        Raw values with missing ones set to 0, one copy for all replicates; or genotypes that keep their two
        bits.
    missing
        1 where a value was missing, or None when nothing may be missing; packed where the values are.
    n_samples
        Samples of the batch; the columns behind them are padding.
    scaled
        Whether the values are scaled already, alike for all replicates.
    covariates
        Raw covariates where nodes read them.
    """

    values: Float[Tensor, "n_in 1 batch"] | Packed
    missing: Float[Tensor, "n_in 1 batch"] | Packed | None
    n_samples: int
    scaled: bool = False
    covariates: Float[Tensor, "n_covariates n_shared batch"] | None = None

    @property
    def numbers(self) -> Tensor:
        """The raw values, packed or not, as numbers."""
        return _numbers(self.values)

    @property
    def width(self) -> int:
        """Columns, padding included."""
        return self.values.batch if isinstance(self.values, Packed) else self.values.shape[2]

    @property
    def gaps(self) -> Tensor | None:
        """What is missing, as numbers."""
        return None if self.missing is None else _numbers(self.missing)

    @property
    def largest(self) -> Float[Tensor, " n_in"]:
        """The largest absolute value of each input; of packed genotypes, that any of its codes has."""
        held = self.values.codebook if isinstance(self.values, Packed) else self.values.flatten(1)
        return held.abs().amax(1)

    def unpacked(self) -> Signal:
        """The same as numbers, 16 times the size where it was packed."""
        return self._replace(values=self.numbers, missing=self.gaps)


def product(
    x: Tensor | Packed, weight: Tensor, graph: Graph, bias: Tensor | None = None, addend: Tensor | None = None
) -> Tensor:
    """`vnn.kernels.sparse_product` of numbers, or of packed genotypes."""
    if isinstance(x, Packed):
        return packed_product(x, weight, graph, bias, addend)
    return sparse_product(x, weight, graph, bias, addend)


def _numbers(values: Tensor | Packed) -> Tensor:
    return values.values() if isinstance(values, Packed) else values


class SparseLinear(nn.Module):
    """`y = bias + sum over source levels of W_level x_level`, W having weights only where the wiring has edges.

    Several source levels are added into each other: nothing is concatenated.

    Parameters
    ----------
    graphs
        The edges from each source level, by its name.
    n_replicates
        Length of the replicate axis, the last of every parameter.
    bias
        Whether a bias of shape (n_out, R) is added.
    """

    def __init__(self, graphs: Mapping[str, Graph], n_replicates: int, *, bias: bool = True) -> None:
        super().__init__()
        self.sources = tuple(graphs)
        self.graphs = nn.ModuleList(graphs.values())
        self.weights = nn.ParameterList(nn.Parameter(torch.zeros(g.n_weights, n_replicates)) for g in graphs.values())
        n_out = next(iter(graphs.values())).n_out
        self.bias = nn.Parameter(torch.zeros(n_out, n_replicates)) if bias else None

    def parts(self) -> Iterator[tuple[str, Graph, nn.Parameter]]:
        """Source level, edges and weights of every part of the sum."""
        for name, graph, weight in zip(self.sources, self.graphs, self.weights, strict=True):
            assert isinstance(graph, Graph)
            yield name, graph, weight

    def forward(self, levels: Mapping[str, Tensor | Signal], scalings: Mapping[str, InputScaling]) -> Tensor:
        """Values of the target level before normalisation, shape (n_out, R, batch).

        Parameters
        ----------
        levels
            Values of every level below, (n_units, R, batch); raw inputs come as a `Signal`.
        scalings
            How raw inputs are scaled, by level; folded into weight and bias.
        """
        bias: Tensor | None = self.bias
        total: Tensor | None = None
        pending: list[tuple[Tensor | Packed, Tensor, Graph]] = []
        for name, graph, weight in self.parts():
            values = levels[name]
            if isinstance(values, Signal) and values.scaled:
                pending.append((values.values, weight, graph))
            elif isinstance(values, Signal):
                folded, shift, filled = scalings[name].fold(weight, graph)
                bias = shift if bias is None else bias + shift
                pending.append((values.values, folded, graph))
                if values.missing is not None:
                    pending.append((values.missing, filled, graph))
            else:
                pending.append((values, weight, graph))
        for x, weights, graph in pending:
            total = product(x, weights, graph, bias, total)
            bias = None
        assert total is not None
        return total if bias is None else total + bias[:, :, None]


class InputScaling(nn.Module):
    """An affine map and a fill value per (input, replicate), folded into the first product.

    The raw inputs stay shared by all replicates while each sees them scaled by its own training part:
    `(x - centre) / scale`, and `(fill - centre) / scale` where x is missing.

    Parameters
    ----------
    n_in
        Number of inputs.
    n_replicates
        Length of the replicate axis.
    """

    scale: Tensor
    shift: Tensor
    fill: Tensor

    def __init__(self, n_in: int, n_replicates: int) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(n_in, n_replicates))
        self.register_buffer("shift", torch.zeros(n_in, n_replicates))
        self.register_buffer("fill", torch.zeros(n_in, n_replicates))

    def fold(
        self, weight: Float[Tensor, "n_weights n_replicates"], graph: Graph
    ) -> tuple[
        Float[Tensor, "n_weights n_replicates"],
        Float[Tensor, "n_out n_replicates"],
        Float[Tensor, "n_weights n_replicates"],
    ]:
        """Weights for the raw values, what they add to the bias, and weights for the missing ones."""
        folded = weight * _of_sources(self.scale, graph)
        shift = sparse_product(self.shift[:, :, None], weight, graph)[:, :, 0]
        return folded, shift, folded * _of_sources(self.fill, graph)

    def apply_to(self, signal: Signal) -> Float[Tensor, "n_in n_replicates batch"]:
        """The scaled inputs of every replicate: the plain form of `fold`."""
        values, missing = signal.numbers, signal.gaps
        if missing is not None:
            values = values + missing * self.fill[:, :, None]
        return values * self.scale[:, :, None] + self.shift[:, :, None]


def _of_sources(values: Tensor, graph: Graph) -> Tensor:
    """The value of the source of every weight, (n_weights, R), from values (n_in, R)."""
    rows = graph.source_row
    return values[rows] if rows.dim() == 1 else values.gather(0, rows)

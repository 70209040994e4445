"""The dense twin of a visible network: plain PyTorch modules, one replicate, the same function."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from vnn.kernels.graph import weight_rows
from vnn.layers import activation
from vnn.layers.normalisation import EPSILON, MOMENTUM
from vnn.ontology.topology import Mask

if TYPE_CHECKING:
    from vnn.models.network import VisibleNetwork


class Affine(nn.Module):
    """`x * scale + shift` per column, after missing values were filled."""

    scale: Tensor
    shift: Tensor
    fill: Tensor

    def __init__(self, scale: Tensor, shift: Tensor, fill: Tensor) -> None:
        super().__init__()
        for name, values in (("scale", scale), ("shift", shift), ("fill", fill)):
            self.register_buffer(name, values.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """The scaled columns, (batch, n)."""
        return torch.where(torch.isnan(x), self.fill, x) * self.scale + self.shift


class DenseLevel(nn.Module):
    """One level of the topology: a masked `nn.Linear` per level below, normalisation, activation, copies."""

    picked: Tensor
    copied: Tensor
    own: Tensor

    def __init__(
        self, products: dict[str, nn.Linear], norm: nn.Module, act: nn.Module, copies: dict[int, int], n: int
    ) -> None:
        super().__init__()
        self.sources = tuple(products)
        self.products = nn.ModuleList(products.values())
        self.norm, self.act = norm, act
        own = [i for i in range(n) if i not in copies]
        self.register_buffer("own", torch.tensor(own, dtype=torch.long))
        self.register_buffer("picked", torch.from_numpy(np.argsort(own + list(copies))))
        self.register_buffer("copied", torch.tensor(list(copies.values()), dtype=torch.long))

    def forward(self, values: dict[str, Tensor], below: Tensor, early: Tensor | None = None) -> Tensor:
        """All rows of the level, copies at their place, (batch, n_units); `early` is added to its products."""
        own = [product(values[name]) for name, product in zip(self.sources, self.products, strict=True)]
        own += [] if early is None else [early]
        computed = [self.act(self.norm(torch.stack(own).sum(0) if len(own) > 1 else own[0]))] if own else []
        return torch.cat([*computed, below[:, self.copied]], dim=1)[:, self.picked]


class DenseNetwork(nn.Module):
    """What `VisibleNetwork.dense` returns; built from the topology's own levels and masks.

    Parameters
    ----------
    network
        A network of one replicate.
    """

    output_scale: Tensor
    output_shift: Tensor

    def __init__(self, network: VisibleNetwork) -> None:
        super().__init__()
        self.topology, self.n_covariates = network.topology, network.n_covariates
        topology, recipe = network.topology, network.recipe
        weights = {name: network.state_dict()[key][..., 0] for name, key in network.arrays().items()}
        inputs = topology.levels[0].name
        self.affine = Affine(*(weights[f"{inputs}/{what}"] for what in ("scale", "shift", "fill")))
        self.levels = nn.ModuleList()
        first = {level.name: _offsets(network.units(level.name)) for level in topology.levels}
        edge_weights = _EdgeWeights(network, weights)
        for below, level in zip(topology.levels, topology.levels[1:], strict=False):
            own = [node for node in level.nodes if node not in level.copies]
            width = sum(recipe.units_of(node) for node in own)
            products: dict[str, nn.Linear] = {}
            for mask in topology.masks if own else ():
                if mask.target_level != level.name:
                    continue
                matrix = edge_weights.matrix(mask, own, first)
                if matrix is not None:
                    linear = _linear(matrix, None if products else weights.get(f"{level.name}/bias"))
                    products[mask.source_level] = linear
            norm = _batch_norm(level.name, width, weights) if own and recipe.normalisation == "batch" else nn.Identity()
            at = {node: i for i, node in enumerate(below.nodes)}
            copies: dict[int, int] = {}
            for i, node in enumerate(level.nodes):
                if node in level.copies:
                    rows = range(first[level.name][i], first[level.name][i + 1])
                    copies |= dict(
                        zip(rows, range(first[below.name][at[node]], first[below.name][at[node] + 1]), strict=True)
                    )
            self.levels.append(DenseLevel(products, norm, activation(recipe.activation), copies, first[level.name][-1]))
        self.heads = nn.ModuleList(edge_weights.heads(first))
        if self.n_covariates:
            self.covariate_affine = Affine(*(weights[f"covariates/{what}"] for what in ("scale", "shift", "fill")))
            matrix = weights["covariates/weight"].reshape(network.n_targets, self.n_covariates)
            self.covariate_linear = _linear(matrix, None)
        self.early_level = network.layers[0][0].level if network.early else ""
        if self.early_level:
            ((_, graph, weight),) = network.early_linear.parts()
            matrix = weight.new_zeros(graph.n_out, self.n_covariates)
            matrix[weight_rows(graph.wiring.of(0))] = weights[f"{self.early_level}/weight from covariates"]
            self.early_linear = _linear(matrix, None)
        self.register_buffer("output_scale", weights["output/scale"].clone())
        self.register_buffer("output_shift", weights["output/shift"].clone())
        self.train(network.training)

    def forward(self, x: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Logits of shape (batch, n_targets) for raw inputs (batch, n_in)."""
        values = self.activities(x, covariates)
        stacked = torch.cat(list(values.values()), dim=1)
        logits = torch.stack([head(stacked) for head in self.heads]).mean(0)
        if self.n_covariates:
            logits = logits + self.covariate_linear(self.covariate_affine(covariates))
        return logits * self.output_scale + self.output_shift

    def activities(self, x: Tensor, covariates: Tensor | None = None) -> dict[str, Tensor]:
        """Values of every level, inputs and copies included, each (batch, n_units)."""
        below = self.affine(x)
        values = {self.topology.levels[0].name: below}
        for level, module in zip(self.topology.levels[1:], self.levels, strict=True):
            early = self.early_linear(self.covariate_affine(covariates)) if level.name == self.early_level else None
            below = values[level.name] = module(values, below, early)
        return values


class _EdgeWeights:
    """Finds the weight of an edge of the literal topology by the names at its two ends."""

    def __init__(self, network: VisibleNetwork, weights: dict[str, Tensor]) -> None:
        self.network, self.weights = network, weights
        self.recipe = network.recipe
        self.inputs = network.topology.levels[0].name
        self.blocks: dict[str, dict[tuple[str, str, str], tuple[str, int]]] = {}
        for stage in network._stages:
            found = self.blocks[stage.level] = {}
            for source, edges in stage.edges.items():
                names, at = network._names(source), 0
                for s, t in edges:
                    found[source, names[s], stage.nodes[t]] = f"{stage.level}/weight from {source}", at
                    at += self._units(source, names[s]) * self._units(stage.level, stage.nodes[t])
        self.computed_in = {
            (level.name, node): self._origin(i, node)
            for i, level in enumerate(network.topology.levels)
            for node in level.nodes
        }

    def _origin(self, i: int, node: str) -> str:
        while node in self.network.topology.levels[i].copies:
            i -= 1
        return self.network.topology.levels[i].name

    def _units(self, level: str, node: str) -> int:
        return 1 if level == self.inputs else self.recipe.units_of(node)

    def matrix(self, mask: Mask, own: list[str], first: dict[str, list[int]]) -> Tensor | None:
        """The dense weights (own units of the target level, all units of the source level) of a mask, None if all copies."""
        rows = _offsets(self.recipe.units_of(node) for node in own)
        row_of = {node: rows[i] for i, node in enumerate(own)}
        matrix = torch.zeros(rows[-1], first[mask.source_level][-1], dtype=next(iter(self.weights.values())).dtype)
        weighted = False
        for s, t in mask.edges:
            source, target = mask.sources[s], mask.targets[t]
            if target not in row_of:
                continue
            origin = self.computed_in[mask.source_level, source]
            key, at = self.blocks[mask.target_level][origin, source, target]
            k, m = self._units(origin, source), self.recipe.units_of(target)
            column = first[mask.source_level][s]
            matrix[row_of[target] : row_of[target] + m, column : column + k] = self.weights[key][
                at : at + k * m
            ].reshape(m, k)
            weighted = True
        return matrix if weighted else None

    def heads(self, first: dict[str, list[int]]) -> list[nn.Linear]:
        """One linear map per head over all levels side by side."""
        starts = dict(zip(first, np.cumsum([0] + [widths[-1] for widths in first.values()]), strict=False))
        heads = []
        for stage in self.network._heads:
            matrix = torch.zeros(
                self.network.n_targets,
                sum(widths[-1] for widths in first.values()),
                dtype=self.weights["output/scale"].dtype,
            )
            for source in stage.edges:
                flat = self.weights[f"head {stage.level}/weight from {source}"].reshape(self.network.n_targets, -1)
                names = self.network._names(source)
                nodes = [names[i] for i in np.unique(stage.edges[source][:, 0])]
                index = {node: i for i, node in enumerate(self.network.topology.level(source).nodes)}
                at = 0
                for node in nodes:
                    k = self._units(source, node)
                    column = int(starts[source]) + first[source][index[node]]
                    matrix[:, column : column + k] = flat[:, at : at + k]
                    at += k
            heads.append(_linear(matrix, self.weights[f"head {stage.level}/bias"]))
        return heads


def _offsets(sizes: Iterable[int]) -> list[int]:
    return [0, *np.cumsum(list(sizes)).tolist()]


def _linear(matrix: Tensor, bias: Tensor | None) -> nn.Linear:
    linear = skip_init(nn.Linear, matrix.shape[1], matrix.shape[0], bias=bias is not None, dtype=matrix.dtype)
    with torch.no_grad():
        linear.weight.copy_(matrix)
        if bias is not None:
            linear.bias.copy_(bias)
    return linear


def _batch_norm(level: str, width: int, weights: dict[str, Tensor]) -> nn.BatchNorm1d:
    gain = weights[f"{level}/batch-norm gain"]
    norm = nn.BatchNorm1d(width, eps=EPSILON, momentum=MOMENTUM, dtype=gain.dtype)
    with torch.no_grad():
        norm.weight.copy_(gain)
        norm.bias.copy_(weights[f"{level}/batch-norm bias"])
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(weights[f"{level}/batch-norm mean"])
        norm.running_var.copy_(weights[f"{level}/batch-norm variance"])
    return norm

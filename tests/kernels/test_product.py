"""The sparse product against dense matrices, and under every transform of torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vnn._errors import KernelError
from vnn.kernels import Graph, backend, cpu, sparse_product

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}
BACKENDS = ["reference", pytest.param("cpu", marks=pytest.mark.compiler)]


def random_graph(n_in: int, n_out: int, share: float, seed: int, ragged: bool = False) -> Graph:
    rng = np.random.default_rng(seed)
    target, source = np.nonzero(rng.random((n_out, n_in)) < share)
    units = {"units_in": rng.integers(1, 4, n_in), "units_out": rng.integers(1, 5, n_out)} if ragged else {}
    return Graph(np.stack([source, target], axis=1), n_in, n_out, **units)


def tensors(graph: Graph, n_replicates: int, batch: int, dtype: torch.dtype, shared: bool, seed: int = 0) -> list[Tensor]:
    torch_rng = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=dtype, generator=torch_rng, requires_grad=True)

    return [
        draw(graph.n_in, 1 if shared else n_replicates, batch),
        draw(graph.n_weights, n_replicates),
        draw(graph.n_out, n_replicates),
        draw(graph.n_out, n_replicates, batch),
    ]


def dense_product(graph: Graph, x: Tensor, weight: Tensor, bias: Tensor, addend: Tensor) -> Tensor:
    """The definition, over a dense matrix written edge by edge, in float64."""
    x, weight, bias, addend = (t.double() for t in (x, weight, bias, addend))
    matrix = [[[torch.zeros((), dtype=torch.float64)] * graph.n_in for _ in range(graph.n_out)] for _ in range(weight.shape[1])]
    first_in = np.concatenate([[0], np.cumsum(graph.sizes_in)])
    first_out = np.concatenate([[0], np.cumsum(graph.sizes_out)])
    at = 0
    for s, t in graph.pairs:
        for o in range(first_out[t], first_out[t + 1]):
            for i in range(first_in[s], first_in[s + 1]):
                for r in range(weight.shape[1]):
                    matrix[r][o][i] = weight[at, r]
                at += 1
    layers = []
    for r, rows in enumerate(matrix):
        w = torch.stack([torch.stack(row) for row in rows])
        layers.append(w @ x[:, 0 if x.shape[1] == 1 else r] + bias[:, r, None] + addend[:, r])
    return torch.stack(layers, dim=1)

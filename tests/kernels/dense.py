"""Sparse products as dense matrices of numpy in float64: what the kernels are compared with, sharing no code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vnn._errors import KernelError
from vnn.kernels import Graph, backend, cpu

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 1e-2}
SHORT = (torch.bfloat16, torch.float16)
NAMES = {torch.float64: "float64", torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}


def instruction_sets() -> list[str]:
    """The instruction sets this processor and build have."""
    if cpu.library_path() is None:
        return []
    best, here = cpu.simd(), []
    for name in ("portable", "emulated", "avx2", "avx512"):
        try:
            cpu.choose_simd(name)
        except KernelError:
            continue
        here.append(name)
    cpu.choose_simd(best)
    return here


SETS = instruction_sets()


def machines(*dtypes: torch.dtype) -> list[Any]:
    """Every backend, instruction set and dtype, as parameters of a test."""
    found = [pytest.param("reference", dtype, id=f"reference-{NAMES[dtype]}") for dtype in dtypes]
    for name in SETS or ["best"]:
        found += [
            pytest.param(name, dtype, id=f"{name}-{NAMES[dtype]}", marks=pytest.mark.compiler)
            for dtype in dtypes
            if dtype != torch.float16
        ]
    return found


@contextmanager
def running(machine: str) -> Iterator[None]:
    """Run "reference", or the compiled kernels of one instruction set, inside the block."""
    if machine == "reference":
        with backend("reference"):
            yield
        return
    best = cpu.simd()
    if machine != "best":
        cpu.choose_simd(machine)
    try:
        with backend("cpu"):
            yield
    finally:
        cpu.choose_simd(best)


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Run with n threads of torch inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Dense:
    """The weights of a graph as one dense matrix per replicate."""

    graph: Graph
    rows: np.ndarray  # target row of every weight
    columns: np.ndarray  # source row of every weight and replicate, (n_weights, R or 1)
    n_out: int
    n_in: int

    def matrix(self, weight: np.ndarray, r: int) -> np.ndarray:
        dense = np.zeros((self.n_out, self.n_in))
        dense[self.rows, self.columns[:, min(r, self.columns.shape[1] - 1)]] = weight[:, r]
        return dense

    def product(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, addend: np.ndarray) -> np.ndarray:
        layers = [self.matrix(weight, r) @ x[:, min(r, x.shape[1] - 1)] for r in range(weight.shape[1])]
        return np.stack(layers, axis=1) + bias[:, :, None] + addend

    def gradients(self, g: np.ndarray, x: np.ndarray, weight: np.ndarray) -> dict[str, np.ndarray]:
        back = np.stack([self.matrix(weight, r).T @ g[:, r] for r in range(g.shape[1])], axis=1)
        edges = [
            (g[self.rows, r] * x[self.columns[:, min(r, self.columns.shape[1] - 1)], min(r, x.shape[1] - 1)]).sum(-1)
            for r in range(g.shape[1])
        ]
        return {
            "x": back.sum(1, keepdims=True) if x.shape[1] < g.shape[1] else back,
            "weight": np.stack(edges, axis=1),
            "bias": g.sum(-1),
            "addend": g,
        }


def dense(
    pairs: list[tuple[int, int]] | np.ndarray,
    n_in: int,
    n_out: int,
    *,
    units_in: list[int] | None = None,
    units_out: list[int] | None = None,
    sources: np.ndarray | None = None,
) -> Dense:
    """A graph of (source, target) pairs in any order, and its matrices."""
    edges = np.array(sorted(map(tuple, pairs), key=lambda pair: (pair[1], pair[0])), dtype=np.int64).reshape(-1, 2)
    graph = Graph(edges, n_in, n_out, units_in=units_in, units_out=units_out, sources=sources)
    first_in = np.concatenate([[0], np.cumsum(units_in if units_in is not None else np.ones(n_in, int))]).astype(int)
    first_out = np.concatenate([[0], np.cumsum(units_out if units_out is not None else np.ones(n_out, int))]).astype(
        int
    )
    wired = edges[:, :1] if sources is None else np.asarray(sources)
    rows: list[int] = []
    columns: list[np.ndarray] = []
    for (_, target), own in zip(edges, wired, strict=True):
        for row in range(first_out[target], first_out[target + 1]):
            for unit in range(first_in[own[0] + 1] - first_in[own[0]]):
                rows.append(row)
                columns.append(first_in[own] + unit)
    table = np.array(columns, dtype=np.int64).reshape(len(rows), wired.shape[1])
    return Dense(graph, np.array(rows, dtype=np.int64), table, int(first_out[-1]), int(first_in[-1]))


def rewired(pairs: np.ndarray, n_in: int, n_replicates: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Sorted pairs and sources of every replicate, drawn anew for every target without repeats."""
    rng = np.random.default_rng(seed)
    edges = pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]
    own = np.empty((len(edges), n_replicates), dtype=np.int64)
    for target in np.unique(edges[:, 1]):
        here = edges[:, 1] == target
        for r in range(n_replicates):
            own[here, r] = rng.permutation(n_in)[: here.sum()]
    return edges, own


def random_pairs(n_in: int, n_out: int, share: float, seed: int = 0) -> np.ndarray:
    target, source = np.nonzero(np.random.default_rng(seed).random((n_out, n_in)) < share)
    return np.stack([source, target], axis=1)


def draw(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Normal values, rounded to the dtype."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).to(dtype)


def exact(t: Tensor) -> np.ndarray:
    """The values of a tensor in float64."""
    return t.detach().double().numpy()


def error(mine: Tensor, truth: np.ndarray, terms: np.ndarray | None = None) -> float:
    """Relative Frobenius error; of an absent or zero truth the norm itself.

    With `terms`, the sums of the absolute terms, a truth below a tenth of them does not count as smaller: what random
    values cancel to has no digits to compare.
    """
    assert tuple(mine.shape) == truth.shape
    norm = max(float(np.linalg.norm(truth)), 0.0 if terms is None else 0.1 * float(np.linalg.norm(terms)))
    return float(np.linalg.norm(exact(mine) - truth)) / (norm or 1.0)


def bits(t: Tensor) -> bytes:
    """The bits of a tensor."""
    return t.detach().contiguous().view(torch.uint8).numpy().tobytes()

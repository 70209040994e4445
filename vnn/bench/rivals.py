"""The same product as others compute it: dense, sparse tensors of torch, gather and index_add, torch-sparse."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vnn.kernels import Graph, torch_sparse

FEATURE_MAJOR, BATCH_MAJOR = "feature-major", "batch-major"
GATHER, COO, CSR = "gather + index_add", "torch.sparse COO", "torch.sparse CSR"
DENSE, TORCH_SPARSE = "dense W * mask", "torch-sparse"
Results = tuple[Tensor, ...]


class Rival(NamedTuple):
    """Somebody else's product of one replicate, forward and backward.

    Parameters
    ----------
    name, layout
        Who, and how the activations lie.
    call
        Does it, and returns what it has.
    read
        That as y, the gradient of x and the gradient of the weights, feature-major.
    """

    name: str
    layout: str
    call: Callable[[], Results]
    read: Callable[[Results], Results]


class Operands(NamedTuple):
    """One replicate of a product as rivals take it: x (n_in, batch), weights (n_edges,), gradient at y (n_out, batch)."""

    graph: Graph
    x: Tensor
    weight: Tensor
    upstream: Tensor

    @property
    def pairs(self) -> tuple[Tensor, Tensor]:
        """Target and source of every edge, int64."""
        degrees = (self.graph.ptr[1:] - self.graph.ptr[:-1]).long()
        return torch.repeat_interleave(torch.arange(self.graph.n_out), degrees), self.graph.src.long()

    def leaf(self, layout: str) -> tuple[Tensor, Tensor, Tensor]:
        """x, weights and the gradient at y in one layout, each with memory of its own, contiguous."""
        batch_major = layout == BATCH_MAJOR
        x = (self.x.T if batch_major else self.x).contiguous().clone()
        upstream = (self.upstream.T if batch_major else self.upstream).contiguous()
        return x.requires_grad_(), self.weight.clone().requires_grad_(), upstream


def rivals(of: Operands, *, dense: bool = True) -> Iterator[Rival]:
    """Every rival in every layout it knows; torch-sparse where it is installed."""
    yield from _gathering(of)
    yield from _sparse_tensors(of)
    if torch_sparse.available():
        yield _torch_sparse(of)
    if dense:
        yield from _dense(of)


def _as_it_is(found: Results) -> Results:
    return found


def _turned(found: Results) -> Results:
    return found[0].T, found[1].T, found[2]


def _gathering(of: Operands) -> Iterator[Rival]:
    (target, source), n_out = of.pairs, of.graph.n_out
    x, weight, upstream = of.leaf(FEATURE_MAJOR)

    def by_feature() -> Results:
        y = x.new_zeros(n_out, x.shape[1]).index_add(0, target, weight[:, None] * x[source])
        return y.detach(), *torch.autograd.grad(y, (x, weight), upstream)

    yield Rival(GATHER, FEATURE_MAJOR, by_feature, _as_it_is)
    rows, own, back = of.leaf(BATCH_MAJOR)

    def by_sample() -> Results:
        y = rows.new_zeros(len(rows), n_out).index_add(1, target, own * rows[:, source])
        return y.detach(), *torch.autograd.grad(y, (rows, own), back)

    yield Rival(GATHER, BATCH_MAJOR, by_sample, _turned)


def _sparse_tensors(of: Operands) -> Iterator[Rival]:
    (target, source), size = of.pairs, (of.graph.n_out, of.graph.n_in)
    pairs, pointer = torch.stack([target, source]), of.graph.ptr.long()

    def coo(weight: Tensor) -> Tensor:
        with torch.sparse.check_sparse_tensor_invariants(False):
            return torch.sparse_coo_tensor(pairs, weight, size, is_coalesced=True)

    def csr(weight: Tensor) -> Tensor:
        return csr_matrix(pointer, source, weight, size)

    def product(make: Callable[[Tensor], Tensor], layout: str) -> Callable[[], Results]:
        x, weight, upstream = of.leaf(layout)
        turned = layout == BATCH_MAJOR

        def call() -> Results:
            y = torch.sparse.mm(make(weight), x.T if turned else x)
            return y.detach(), *torch.autograd.grad(y, (x, weight), upstream.T if turned else upstream)

        return call

    for name, make in ((COO, coo), (CSR, csr)):
        yield Rival(name, FEATURE_MAJOR, product(make, FEATURE_MAJOR), _as_it_is)
        yield Rival(name, BATCH_MAJOR, product(make, BATCH_MAJOR), lambda found: (found[0], found[1].T, found[2]))


def csr_matrix(pointer: Tensor, source: Tensor, weight: Tensor, size: tuple[int, int]) -> Tensor:
    """A sparse tensor of torch in rows."""
    with warnings.catch_warnings(), torch.sparse.check_sparse_tensor_invariants(False):
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(pointer, source, weight, size)


def _torch_sparse(of: Operands) -> Rival:
    library = torch_sparse.library()
    x, weight, upstream = of.leaf(FEATURE_MAJOR)
    matrix: Any = torch_sparse.to_torch_sparse(of.graph).fill_cache_()

    def call() -> Results:
        y = library.matmul(matrix.set_value(weight, layout="coo"), x)
        return y.detach(), *torch.autograd.grad(y, (x, weight), upstream)

    return Rival(TORCH_SPARSE, FEATURE_MAJOR, call, _as_it_is)


def _dense(of: Operands) -> Iterator[Rival]:
    (target, source), size = of.pairs, (of.graph.n_out, of.graph.n_in)
    mask, full = torch.zeros(size), torch.zeros(size)
    mask[target, source] = 1
    full[target, source] = of.weight
    full.requires_grad_()
    x, _, upstream = of.leaf(FEATURE_MAJOR)

    def by_feature() -> Results:
        y = (full * mask) @ x
        return y.detach(), *torch.autograd.grad(y, (x, full), upstream)

    yield Rival(DENSE, FEATURE_MAJOR, by_feature, lambda found: (found[0], found[1], found[2][target, source]))
    rows, _, back = of.leaf(BATCH_MAJOR)

    def by_sample() -> Results:
        y = rows @ (full * mask).T
        return y.detach(), *torch.autograd.grad(y, (rows, full), back)

    yield Rival(DENSE, BATCH_MAJOR, by_sample, lambda found: (found[0].T, found[1].T, found[2][target, source]))

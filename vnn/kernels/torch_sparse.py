"""torch-sparse as a backend and as a neighbour: products through its own kernels, graphs converted both ways.

It is an oracle that shares no code with ours, and never picked by itself. It knows float32 and float64, no
replicates, no units and no packed genotypes: replicates take turns, blocks are written out, the rest is the reference.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vnn._errors import KernelError
from vnn.kernels.graph import Graph, Wiring, weight_rows
from vnn.kernels.reference import (
    adam,
    dropout,
    edge_product,
    packed_codebook,
    packed_edge_product,
    packed_product,
    row_sum,
)

if TYPE_CHECKING:
    from torch_sparse import SparseTensor

__all__ = [
    "adam", "available", "describe", "dropout", "edge_product", "from_torch_sparse", "library", "packed_codebook",
    "packed_edge_product", "packed_product", "product", "row_sum", "to_torch_sparse", "why_not",
]  # fmt: skip

INSTALL = (
    "it is built against the torch that is here, in about 20 minutes with a C++ compiler: "
    "pip install --no-build-isolation 'vnn[torch-sparse]'"
)


def available() -> bool:
    """Whether torch-sparse is installed; it may still fail to load."""
    return find_spec("torch_sparse") is not None


def why_not() -> str:
    """Why it cannot be used, and how to install it; empty where it is installed."""
    return "" if available() else f"not installed; {INSTALL}"


def describe() -> str:
    """Its version.

    Raises
    ------
    KernelError
        If it cannot be loaded.
    """
    return f"torch-sparse {library().__version__}, never picked by itself"


@cache
def library() -> ModuleType:
    """The loaded package.

    Raises
    ------
    KernelError
        If it is not installed, or does not load; the cause is in the message.
    """
    if not available():
        raise KernelError(f"the backend 'torch_sparse' was asked for, but it is {why_not()}.")
    try:
        import torch_sparse
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise KernelError(
            f"torch-sparse is installed but does not load with torch {torch.__version__}: {error}. "
            f"Build it anew; {INSTALL} --force-reinstall --no-cache-dir."
        ) from error
    return torch_sparse


def product(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    addend: Tensor | None,
    wiring: Wiring,
    *,
    transposed: bool,
    shared: bool,
) -> Tensor:
    """See `vnn.kernels.reference.product`."""
    if x.dtype != weight.dtype or x.dtype not in (torch.float32, torch.float64):
        raise KernelError(
            f"torch-sparse multiplies float32 or float64 on both sides, not activations in {x.dtype} and weights "
            f"in {weight.dtype}; convert, or drop the override to use another backend."
        )
    n, batch = wiring.n_in if transposed else wiring.n_out, x.shape[2]
    sums = []
    for r in range(weight.shape[1]):
        values = x[:, 0 if x.shape[1] == 1 else r].contiguous()
        if not (n and batch and wiring.n_weights):  # where it divides by 0
            sums.append(values.new_zeros(n, batch))
            continue
        matrix = _matrix(wiring.of(r), weight[:, r], transposed)
        sums.append(library().matmul(matrix, values))
    y = torch.stack(sums, dim=1) if sums else weight.new_zeros(n, 0, batch)
    if shared:
        y = y.sum(1, keepdim=True)
    if bias is not None:
        y = y + bias[:, :, None]
    return y if addend is None else y + addend


def _matrix(wiring: Wiring, weight: Tensor, transposed: bool) -> SparseTensor:
    """The weights of one replicate as a matrix (n_out, n_in), or (n_in, n_out)."""
    size = (wiring.n_in, wiring.n_out) if transposed else (wiring.n_out, wiring.n_in)
    kind = library().SparseTensor
    if wiring.block_ptr is not None:
        target, source = weight_rows(wiring)
        row, column = (source, target) if transposed else (target, source)
        return kind(row=row, col=column, value=weight, sparse_sizes=size)
    if transposed:
        rowptr, column, value = wiring.ptr_t.long(), wiring.tgt_t.long(), weight[wiring.perm_t.long()]
    else:
        rowptr, column, value = wiring.ptr.long(), wiring.src.long(), weight
    return kind(rowptr=rowptr, col=column, value=value, sparse_sizes=size, is_sorted=True)


def to_torch_sparse(graph: Graph, weight: Tensor | None = None, *, replicate: int = 0) -> SparseTensor:
    """The edges of one replicate as a `torch_sparse.SparseTensor` of shape (n_out, n_in).

    Parameters
    ----------
    graph
        The edges; of nodes with several units every weight is an entry.
    weight
        Weights of the edges, (n_weights, R); the gradient flows back to them. Ones unless given.
    replicate
        Which column of `weight`, and whose sources where every replicate has its own.

    Raises
    ------
    KernelError
        If torch-sparse is missing or broken, or `weight` does not fit the graph.
    """
    if weight is None:
        weight = torch.ones(graph.n_weights, replicate + 1, device=graph.ptr.device)
    if weight.dim() != 2 or weight.shape[0] != graph.n_weights or not 0 <= replicate < weight.shape[1]:
        raise KernelError(
            f"`weight` has shape {tuple(weight.shape)} and replicate {replicate} was asked for; this graph needs "
            f"({graph.n_weights:,}, more than {replicate})."
        )
    if not 0 <= replicate < graph.wiring.n_wirings and graph.wiring.n_wirings > 1:
        raise KernelError(f"this graph wires {graph.wiring.n_wirings} replicates; there is no replicate {replicate}.")
    target, source = weight_rows(graph.wiring.of(replicate))
    size = (graph.n_out, graph.n_in)
    return library().SparseTensor(row=target, col=source, value=weight[:, replicate], sparse_sizes=size)


def from_torch_sparse(tensor: SparseTensor) -> tuple[Graph, Tensor]:
    """The graph of the entries of a `torch_sparse.SparseTensor` of shape (n_targets, n_sources), and its weights.

    Returns
    -------
    The graph, of one unit a node, and the values as weights of shape (n_edges, 1): ones where it has none. The
    gradient flows back to the values.

    Raises
    ------
    KernelError
        If an entry is there twice, or the values are not one number each.
    """
    target, source, value = tensor.coo()
    if value is None:
        value = torch.ones(len(target), device=target.device)
    if value.dim() != 1:
        raise KernelError(f"the values have shape {tuple(value.shape)}; a weight is one number for each entry.")
    n_targets, n_sources = tensor.sparse_sizes()
    edges = torch.stack([source, target], dim=1).cpu().numpy()
    return Graph(edges, n_sources, n_targets).to(target.device), value[:, None]

"""Graph: the edges of one mask as the index tensors a sparse product needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ctypes import c_int32
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vnn._errors import KernelError


class Wiring(NamedTuple):
    """The index tensors of a `Graph`, in the order of the op schema; absent pointers mean one unit per node.

    Where every replicate has sources of its own, `src`, `ptr_t`, `tgt_t` and `perm_t` have a trailing axis R.
    """

    ptr: Tensor
    src: Tensor
    ptr_t: Tensor
    tgt_t: Tensor
    perm_t: Tensor
    unit_ptr_in: Tensor | None
    unit_ptr_out: Tensor | None
    block_ptr: Tensor | None
    n_out: int
    n_in: int
    n_weights: int

    @property
    def n_wirings(self) -> int:
        """How many replicates have sources of their own; 1 when all share them."""
        return self.src.shape[1] if self.src.dim() == 2 else 1

    def of(self, replicate: int) -> Wiring:
        """The wiring of one replicate."""
        if self.src.dim() == 1:
            return self
        own = {name: getattr(self, name)[:, replicate].contiguous() for name in ("src", "ptr_t", "tgt_t", "perm_t")}
        return self._replace(**own)

    def check(self) -> None:
        """Raise a `KernelError` unless the sizes of the tensors fit each other; the values are not looked at.

        A `Graph` has made sure of its own; this is for operators that are called directly. Where pointers end is
        looked at on the CPU only: elsewhere it would wait for the device.
        """
        ptr, src, ptr_t, tgt_t, perm_t, unit_ptr_in, unit_ptr_out, block_ptr, n_out, n_in, n_weights = self
        if ptr is None or src is None or ptr_t is None or not (ptr.dim() and src.dim() and ptr_t.dim()):
            raise KernelError("`ptr`, `src` and `ptr_t` are needed, each with a value per node or edge.")
        own = src.shape[1:2]
        nodes, edges, device = ptr_t.shape[0] - 1, src.shape[0], ptr.device
        _fit_index("ptr", ptr, (ptr.shape[0],), torch.int32, device)
        _fit_index("src", src, (edges, *own), torch.int32, device)
        _fit_index("ptr_t", ptr_t, (nodes + 1, *own), torch.int32, device)
        _fit_index("tgt_t", tgt_t, (edges, *own), torch.int32, device)
        _fit_index("perm_t", perm_t, (edges, *own), torch.int32, device)
        blocks = unit_ptr_in is not None or unit_ptr_out is not None
        if not len(ptr) or nodes < 0 or 0 in own or blocks != (block_ptr is not None):
            raise KernelError("`ptr` and `ptr_t` need a value more than nodes, `src` a replicate, `block_ptr` units.")
        if unit_ptr_in is not None:
            _fit_index("unit_ptr_in", unit_ptr_in, ptr_t.shape[:1], torch.int32, device)
        if unit_ptr_out is not None:
            _fit_index("unit_ptr_out", unit_ptr_out, ptr.shape, torch.int32, device)
        if block_ptr is not None:
            _fit_index("block_ptr", block_ptr, (edges,), torch.int64, device)
        known = device.type == "cpu"
        rows_out = ptr.shape[0] - 1 if unit_ptr_out is None else _last(unit_ptr_out) if known else n_out
        rows_in = nodes if unit_ptr_in is None else _last(unit_ptr_in) if known else n_in
        if (n_out, n_in) != (rows_out, rows_in):
            raise KernelError(
                f"the tensors have {n_out:,} and {n_in:,} rows; the edges need n_out = {rows_out:,}, n_in = {rows_in:,}."
            )
        needed = edges if block_ptr is None else self._last_block() if known else n_weights
        if n_weights != needed:
            raise KernelError(f"{n_weights:,} weights; the {edges:,} edges need {needed:,} weights.")
        if known and {_last(ptr), *(_last(ptr_t, back) for back in range(*own or (1,)))} != {edges}:
            raise KernelError(f"`ptr` or `ptr_t` does not end at {edges:,}, the number of edges.")

    def _last_block(self) -> int:
        """Where the block of the last edge ends."""
        if self.block_ptr is None or not len(self.src):
            return 0
        target = int(torch.searchsorted(self.ptr, len(self.src) - 1, right=True)) - 1
        source = int(self.src[-1].reshape(-1)[0])
        size = 1
        for units, node in ((self.unit_ptr_out, target), (self.unit_ptr_in, source)):
            size *= 1 if units is None else int(units[node + 1] - units[node])
        return int(self.block_ptr[-1]) + size

    def repeated(self, times: int) -> Wiring:
        """The wiring of `times` as many replicates, block after block."""
        if self.src.dim() == 1:
            return self
        own = {name: getattr(self, name).repeat(1, times) for name in ("src", "ptr_t", "tgt_t", "perm_t")}
        return self._replace(**own)


class Graph(nn.Module):
    """Edges between two sets of nodes, validated once and moved with the layer that owns them.

    A node owns as many rows (units) of the activations as `units_*` says, one unless given. The
    weights of an edge from a node of k units to a node of l units are a block of l x k values, rows by
    target unit; blocks follow each other in the order of the edges.

    The tensors are buffers that are not saved: they are rebuilt from the topology. `source_row` is the
    source row of every weight; with `sources` it has a column per replicate.

    Parameters
    ----------
    edges
        Pairs (source, target) of shape (n_edges, 2), sorted by target, then source, without repeats.
    n_sources, n_targets
        Numbers of nodes on both sides.
    units_in, units_out
        Units of each source and each target node.
    sources
        The source of every edge in every replicate, shape (n_edges, R), for replicates that are wired in
        their own way, such as rewired nulls; the sources in `edges` then only give the order. All sources
        must have equally many units.

    Raises
    ------
    KernelError
        If the edges are not sorted, repeat, or name nodes that are not there.
    """

    ptr: Tensor
    src: Tensor
    ptr_t: Tensor
    tgt_t: Tensor
    perm_t: Tensor
    unit_ptr_in: Tensor | None
    unit_ptr_out: Tensor | None
    block_ptr: Tensor | None
    source_row: Tensor

    def __init__(
        self,
        edges: np.ndarray,
        n_sources: int,
        n_targets: int,
        *,
        units_in: Sequence[int] | np.ndarray | None = None,
        units_out: Sequence[int] | np.ndarray | None = None,
        sources: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        pairs = _whole("edges", edges).reshape(-1, 2)
        if max(n_sources, n_targets) >= 2**31:
            raise KernelError(f"{n_sources:,} sources and {n_targets:,} targets exceed 32-bit indices.")
        source, target = pairs[:, 0], pairs[:, 1]
        if len(pairs) and (pairs.min() < 0 or source.max() >= n_sources or target.max() >= n_targets):
            raise KernelError(
                f"edges reach source {source.max():,} and target {target.max():,}; "
                f"there are {n_sources:,} sources and {n_targets:,} targets, numbered from 0."
            )
        if (np.diff(target * max(n_sources, 1) + source) <= 0).any():
            raise KernelError("edges must be sorted by target, then source, and must not repeat; a Mask sorts them.")
        own = _own_sources(sources, target, n_sources)
        self.n_sources, self.n_targets, self.n_edges = n_sources, n_targets, len(pairs)
        sizes_in, ptr_in = _units("units_in", units_in, n_sources)
        sizes_out, ptr_out = _units("units_out", units_out, n_targets)
        self.n_in, self.n_out = int(sizes_in.sum()), int(sizes_out.sum())
        block = sizes_out[target] * sizes_in[source]
        self.n_weights = int(block.sum())
        if max(self.n_in, self.n_out, self.n_edges) >= 2**31:
            raise KernelError(
                f"{self.n_edges:,} edges over {max(self.n_in, self.n_out):,} units exceed 32-bit indices."
            )
        if own is not None and len(set(sizes_in.tolist())) > 1:
            raise KernelError("sources of different numbers of units cannot be wired per replicate.")
        ragged = ptr_in is not None or ptr_out is not None
        columns = source[:, None] if own is None else own
        backs = np.stack([np.argsort(column, kind="stable") for column in columns.T], axis=1)
        starts = np.stack([_pointer(column, n_sources) for column in columns.T], axis=1)
        if own is None:
            columns, starts, backs = source, starts[:, 0], backs[:, 0]
        tensors: dict[str, np.ndarray | None] = {
            "ptr": _pointer(target, n_targets),
            "src": columns,
            "ptr_t": starts,
            "tgt_t": target[backs],
            "perm_t": backs,
            "unit_ptr_in": ptr_in,
            "unit_ptr_out": ptr_out,
        }
        self._held: Wiring | None = None
        for name, held in tensors.items():
            self.register_buffer(
                name, None if held is None else torch.from_numpy(held.astype(np.int32, order="C")), persistent=False
            )
        blocks = torch.from_numpy(np.concatenate([[0], np.cumsum(block)[:-1]]).astype(np.int64)[: len(pairs)])
        self.register_buffer("block_ptr", blocks if ragged else None, persistent=False)
        rows = [weight_rows(self.wiring.of(r))[1] for r in range(self.wiring.n_wirings)]
        self.register_buffer("source_row", rows[0] if own is None else torch.stack(rows, dim=1), persistent=False)

    @property
    def wiring(self) -> Wiring:
        """The tensors and sizes an op takes."""
        if torch.compiler.is_compiling():
            return self._read()
        if self._held is None:
            self._held = self._read()
        return self._held

    @property
    def by_replicate(self) -> tuple[str, ...]:
        """The buffers with a column per replicate, where replicates are wired in their own way."""
        return ("src", "ptr_t", "tgt_t", "perm_t", "source_row") if self.src.dim() > 1 else ()

    def __copy__(self) -> Graph:
        made = Graph.__new__(Graph)
        made.__dict__.update(self.__dict__ | {"_held": None})
        return made

    def _read(self) -> Wiring:
        return Wiring(
            self.ptr, self.src, self.ptr_t, self.tgt_t, self.perm_t,
            self.unit_ptr_in, self.unit_ptr_out, self.block_ptr, self.n_out, self.n_in, self.n_weights,
        )  # fmt: skip

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Graph:
        self._held = None
        return super()._apply(fn, recurse)

    def extra_repr(self) -> str:
        return f"{self.n_in:,} -> {self.n_out:,} units, {self.n_edges:,} edges"


def weight_rows(wiring: Wiring) -> tuple[Tensor, Tensor]:
    """Target row and source row of every weight of the wiring of one replicate, int64."""
    n_edges = wiring.src.numel()
    degrees = (wiring.ptr[1:] - wiring.ptr[:-1]).long()
    target = torch.repeat_interleave(torch.arange(degrees.numel(), device=degrees.device), degrees)
    source = wiring.src.long()
    if wiring.block_ptr is None:
        return target, source
    first_out, size_out = _span(wiring.unit_ptr_out, target)
    first_in, size_in = _span(wiring.unit_ptr_in, source)
    edge = torch.repeat_interleave(torch.arange(n_edges, device=source.device), size_out * size_in)
    within = torch.arange(edge.numel(), device=source.device) - wiring.block_ptr[edge]
    return first_out[edge] + within // size_in[edge], first_in[edge] + within % size_in[edge]


def _whole(name: str, given: object) -> np.ndarray:
    found = np.asarray(given)
    if found.size and found.dtype.kind not in "iu":
        raise KernelError(f"`{name}` holds {found.dtype}; it needs whole numbers.")
    return found.astype(np.int64)


def _fit_index(name: str, t: Tensor, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
    if t is None or t.shape != shape or t.dtype != dtype or t.device != device or not t.is_contiguous():
        found = "None" if t is None else f"{t.dtype} of shape {tuple(t.shape)} and strides {t.stride()} on {t.device}"
        raise KernelError(
            f"`{name}` is {found}; the others need contiguous {dtype} of shape {tuple(shape)} on {device}."
        )


def _last(t: Tensor, back: int = 0) -> int:
    """The value `back` before the last of contiguous int32 on the CPU."""
    return c_int32.from_address(t.data_ptr() + 4 * (t.numel() - 1 - back)).value


def _span(unit_ptr: Tensor | None, node: Tensor) -> tuple[Tensor, Tensor]:
    if unit_ptr is None:
        return node, torch.ones_like(node)
    return unit_ptr[node].long(), (unit_ptr[node + 1] - unit_ptr[node]).long()


def _units(name: str, units: Sequence[int] | np.ndarray | None, n: int) -> tuple[np.ndarray, np.ndarray | None]:
    if units is None:
        return np.ones(n, np.int64), None
    sizes = _whole(name, units)
    if sizes.shape != (n,) or (sizes < 1).any():
        raise KernelError(f"`{name}` has shape {sizes.shape}; it needs one number >= 1 for each of {n:,} nodes.")
    return sizes, None if (sizes == 1).all() else np.concatenate([[0], np.cumsum(sizes)])


def _own_sources(sources: np.ndarray | None, target: np.ndarray, n_sources: int) -> np.ndarray | None:
    if sources is None:
        return None
    own = _whole("sources", sources)
    if own.ndim != 2 or len(own) != len(target) or not own.shape[1]:
        raise KernelError(f"`sources` has shape {own.shape}; it needs ({len(target):,}, replicates).")
    if own.size and (own.min() < 0 or own.max() >= n_sources):
        raise KernelError(
            f"`sources` runs from {own.min():,} to {own.max():,}; there are {n_sources:,}, numbered from 0."
        )
    pairs = np.sort(target[:, None] * max(n_sources, 1) + own, axis=0)
    if (np.diff(pairs, axis=0) == 0).any():
        raise KernelError("`sources` repeats an edge within a replicate; every source may reach a target once.")
    return own


def _pointer(nodes: np.ndarray, n: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.bincount(nodes, minlength=n))])

"""Plan: the edges of a wiring cut into items of work of bounded size.

A plan is made once per wiring, at its first use, on the CPU; so a CUDA graph can only be captured
after a first call.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from vnn._errors import KernelError
from vnn.kernels.graph import Wiring, weight_rows

PART = 256  # edges of a row that are added up before the next
CHUNK = 32  # edges of a node one warp takes at once


class Plan(NamedTuple):
    """Items, and the rows whose sums several items share; see `arguments.h`."""

    items: Tensor
    owners: Tensor | None
    rows: Tensor
    n_slots: int
    starts: tuple[int, ...]  # first item of each replicate, where items are for one replicate
    row_starts: tuple[int, ...]  # first shared row of each replicate, likewise
    widest: int  # rows of the largest node


class WeightRows(NamedTuple):
    """Target row and edge of every weight; no edges where each has one weight."""

    target: Tensor
    edge: Tensor | None


_kept: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def rows_plan(wiring: Wiring, *, transposed: bool) -> Plan:
    """Items by row of the result, forward or transposed."""
    ptr, units = (wiring.ptr_t, wiring.unit_ptr_in) if transposed else (wiring.ptr, wiring.unit_ptr_out)
    return _remembered(ptr, "rows", lambda: _cut(ptr.cpu(), _on_cpu(units), PART, by_row=True))


def nodes_plan(wiring: Wiring, part: int) -> Plan:
    """Items by target node; nodes without edges have none when `part` is a CHUNK."""
    return _remembered(
        wiring.ptr, part, lambda: _cut(wiring.ptr.cpu(), _on_cpu(wiring.unit_ptr_out), part, by_row=False)
    )


def weight_plan(wiring: Wiring) -> WeightRows:
    """Where each weight belongs."""

    def make() -> WeightRows:
        ptr, block = wiring.ptr.cpu(), _on_cpu(wiring.block_ptr)
        if block is None:
            degrees = (ptr[1:] - ptr[:-1]).long()
            return WeightRows(_numbers(len(degrees)).repeat_interleave(degrees).int(), None)
        held: dict[str, Any] = {name: _on_cpu(getattr(wiring, name)) for name in wiring._fields[:8]}
        one = wiring._replace(**held)
        one = one if one.src.dim() == 1 else one._replace(src=one.src[:, 0])
        ends = torch.cat([block[1:], block.new_full((min(len(block), 1),), wiring.n_weights)])
        return WeightRows(weight_rows(one)[0].int(), _numbers(len(block)).repeat_interleave(ends - block).int())

    return _remembered(wiring.ptr, "weights", make)


def _remembered(ptr: Tensor, kind, make):  # type: ignore[no-untyped-def]
    plans = _kept.get(ptr)
    if plans is None:
        plans = _kept[ptr] = {}
    if kind not in plans:
        if ptr.is_cuda and torch.cuda.is_current_stream_capturing():
            raise KernelError(
                "this wiring is used for the first time while a CUDA graph is captured, and its plan of work cannot be "
                "made then; run the step once before `torch.cuda.graph`."
            )
        plans[kind] = _moved(make(), ptr.device)
    return plans[kind]


def _moved(plan, device):  # type: ignore[no-untyped-def]
    tensors = {name: value.to(device) for name, value in plan._asdict().items() if isinstance(value, Tensor)}
    return plan._replace(**tensors)


def _on_cpu(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.cpu()


def _numbers(n: int) -> Tensor:
    return torch.arange(n)


def _cut(ptr: Tensor, units: Tensor | None, part: int, *, by_row: bool) -> Plan:
    n_nodes, n_replicates = ptr.shape[0] - 1, ptr.shape[1] if ptr.dim() == 2 else 1
    ends = ptr.long().reshape(n_nodes + 1, n_replicates).T
    first = _numbers(n_nodes) if units is None else units[:-1].long()
    own = torch.ones_like(first) if units is None else (units[1:] - units[:-1]).long()
    node = _numbers(n_nodes).repeat_interleave(own) if by_row else _numbers(n_nodes)
    row = _numbers(len(node)) if by_row else first
    step = torch.ones_like(row) if by_row else own

    begin, end = ends[:, :-1][:, node].flatten(), ends[:, 1:][:, node].flatten()
    replicate = _numbers(n_replicates).repeat_interleave(len(node))
    node, row, step = node.repeat(n_replicates), row.repeat(n_replicates), step.repeat(n_replicates)
    parts = (end - begin + part - 1) // part
    if part != CHUNK:
        parts = parts.clamp(min=1)
    shared = parts > 1
    slots = torch.where(shared, parts * step, 0)
    first_slot = slots.cumsum(0) - slots

    group = _numbers(len(parts)).repeat_interleave(parts)
    number = _numbers(len(group)) - (parts.cumsum(0) - parts)[group]
    start = begin[group] + number * part
    stop = torch.minimum(start + part, end[group])
    slot = torch.where(shared[group], first_slot[group] + number * step[group], -1)
    items = torch.stack([row[group], start, stop, slot], 1).int()
    per_replicate = ptr.dim() == 2
    owners = None
    if per_replicate or units is not None:
        alone = replicate if per_replicate else torch.full_like(replicate, -1)
        owners = torch.stack([(node if by_row else own[node])[group], alone[group]], 1).int()

    several = shared.nonzero().flatten()
    unit = _numbers(int(step[several].sum())) - (step[several].cumsum(0) - step[several]).repeat_interleave(
        step[several]
    )
    several = several.repeat_interleave(step[several])
    alone = replicate[several] if per_replicate else torch.full_like(several, -1)
    rows = torch.stack([row[several] + unit, first_slot[several] + unit, parts[several], step[several], alone], 1).int()

    def starts_of(replicates: Tensor) -> tuple[int, ...]:
        return (0, *torch.bincount(replicates, minlength=n_replicates).cumsum(0).tolist())

    return Plan(
        items.contiguous(), owners, rows.contiguous(), int(slots.sum()),
        starts_of(replicate[group]), starts_of(replicate[several]), int(own.max()) if n_nodes else 1,
    )  # fmt: skip

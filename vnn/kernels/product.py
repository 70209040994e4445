"""The sparse product, its gradients and their gradients.

Forward product, transposed product and edge product are the three derivatives of one trilinear form,

    L(x, w, g) = sum over edges e and replicates r of  w[e, r] * <x[src(e), r, :], g[tgt(e), r, :]>,

so that the gradient of each is expressed by the other two, to any order. Each exists twice over the
same kernels: as a `torch.autograd.Function` (eager mode and `torch.func`) and as a `torch.library`
operator (`torch.compile` and `torch.export`).
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from vnn._errors import KernelError
from vnn.kernels.backend import active
from vnn.kernels.graph import Graph, Wiring


def sparse_product(
    x: Float[Tensor, "n_in n_shared batch"],
    weight: Float[Tensor, "n_weights n_replicates"],
    graph: Graph,
    bias: Float[Tensor, "n_out n_replicates"] | None = None,
    addend: Float[Tensor, "n_out n_replicates batch"] | None = None,
) -> Float[Tensor, "n_out n_replicates batch"]:
    """Sum the weighted sources of every node: `y[o,r,b] = bias[o,r] + addend[o,r,b] + sum w[e,r] x[src(e),r,b]`.

    Differentiable to any order, under `torch.compile`, `torch.export` and `torch.func`.

    Parameters
    ----------
    x
        Activations of the sources; `n_shared` is R, or 1 when all replicates share them.
    weight
        Weights of the edges, in the order of the graph.
    graph
        The edges.
    bias
        One value per unit and replicate.
    addend
        What other levels contribute to the same nodes.

    Returns
    -------
    Tensor
        The sums, in the dtype of `weight`.

    Raises
    ------
    KernelError
        If a shape does not fit the graph, or the tensors lie on different devices.
    """
    _check(x, weight, graph, bias, addend)
    x = x.to(weight.dtype)
    bias = None if bias is None else bias.to(weight.dtype)
    addend = None if addend is None else addend.to(weight.dtype)
    if torch.compiler.is_compiling():
        w = graph.wiring
        return torch.ops.vnn.sparse_product(x, weight, bias, addend, *w[:8], w.n_out)
    return _Product.apply(x, weight, bias, addend, graph.wiring)


def transposed_product(
    g: Float[Tensor, "n_out n_replicates batch"], weight: Float[Tensor, "n_weights n_replicates"], graph: Graph
) -> Float[Tensor, "n_in n_replicates batch"]:
    """The product against the signal: `x[i,r,b] = sum over edges e out of i of w[e,r] g[tgt(e),r,b]`.

    What a gradient or a multiplier at the targets means at the sources; differentiable as `sparse_product` is.

    Raises
    ------
    KernelError
        If a shape does not fit the graph.
    """
    _check_pair("g", g, graph.n_out, weight.shape[-1])
    if weight.dim() != 2 or weight.shape[0] != graph.n_weights:
        raise KernelError(
            f"`weight` has shape {tuple(weight.shape)}; this graph needs ({graph.n_weights:,}, replicates)."
        )
    return _Transposed.apply(g.to(weight.dtype).contiguous(), weight, graph.wiring, False)


def edge_product(
    g: Float[Tensor, "n_out n_replicates batch"], x: Float[Tensor, "n_in n_shared batch"], graph: Graph
) -> Float[Tensor, "n_weights n_replicates"]:
    """For every weight the sum over the batch of `g` at its target times `x` at its source.

    Raises
    ------
    KernelError
        If a shape does not fit the graph.
    """
    _check_pair("g", g, graph.n_out, g.shape[1])
    _check_pair("x", x, graph.n_in, g.shape[1])
    if g.shape[2] != x.shape[2]:
        raise KernelError(
            f"`g` has a batch of {g.shape[2]} and `x` one of {x.shape[2]}; they must be the same samples."
        )
    return _EdgeProduct.apply(g.contiguous(), x.to(g.dtype).contiguous(), graph.wiring)


def _check_pair(name: str, t: Tensor, n_rows: int, n_replicates: int) -> None:
    shared = "" if name == "g" else " or 1"
    if (
        t.dim() != 3
        or t.shape[0] != n_rows
        or t.shape[1] not in ((n_replicates,) if name == "g" else (1, n_replicates))
    ):
        raise KernelError(
            f"`{name}` has shape {tuple(t.shape)}; this graph needs ({n_rows:,}, {n_replicates}{shared}, batch)."
        )


def _check(x: Tensor, weight: Tensor, graph: Graph, bias: Tensor | None, addend: Tensor | None) -> None:
    if weight.dim() != 2 or weight.shape[0] != graph.n_weights:
        raise KernelError(
            f"`weight` has shape {tuple(weight.shape)}; this graph needs ({graph.n_weights:,}, replicates)."
        )
    n_replicates = weight.shape[1]
    if x.dim() != 3 or x.shape[0] != graph.n_in or x.shape[1] not in (1, n_replicates):
        raise KernelError(
            f"`x` has shape {tuple(x.shape)}; this graph needs ({graph.n_in:,}, {n_replicates} or 1, batch)."
        )
    if bias is not None and bias.shape != (graph.n_out, n_replicates):
        raise KernelError(f"`bias` has shape {tuple(bias.shape)}; it needs ({graph.n_out:,}, {n_replicates}).")
    if addend is not None and addend.shape != (graph.n_out, n_replicates, x.shape[2]):
        raise KernelError(
            f"`addend` has shape {tuple(addend.shape)}; it needs ({graph.n_out:,}, {n_replicates}, {x.shape[2]})."
        )
    if not weight.is_floating_point():
        raise KernelError(f"`weight` has dtype {weight.dtype}; it needs float32 or float64.")
    devices = {t.device for t in (x, weight, graph.ptr, bias, addend) if t is not None}
    if len(devices) > 1:
        raise KernelError(f"the tensors lie on {', '.join(sorted(map(str, devices)))}; move them to one device.")


# What runs: the kernels of the active backend.


def _forward(x: Tensor, weight: Tensor, bias: Tensor | None, addend: Tensor | None, wiring: Wiring) -> Tensor:
    return active(x.device).product(x, weight, bias, addend, wiring, transposed=False, shared=False)


def _transposed(g: Tensor, weight: Tensor, wiring: Wiring, shared: bool) -> Tensor:
    return active(g.device).product(g, weight, None, None, wiring, transposed=True, shared=shared)


def _edges(g: Tensor, x: Tensor, wiring: Wiring) -> Tensor:
    return active(g.device).edge_product(g, x, wiring)


def _rows(x: Tensor) -> Tensor:
    return active(x.device).row_sum(x)


# Eager mode and torch.func.


def _shared(x: Tensor, weight_or_g: Tensor) -> bool:
    return x.shape[1] == 1 and weight_or_g.shape[1] > 1


def _sum(*parts: Tensor | None) -> Tensor:
    given = [part for part in parts if part is not None]
    total = given[0]
    for part in given[1:]:
        total = total + part
    return total


def _signed(function: type[Function]) -> type[Function]:
    """The function with the signature of its forward worked out once; torch asks for it at every call."""
    function.forward.__signature__ = inspect.signature(function.forward)  # type: ignore[attr-defined]
    return function


@_signed
class _Product(Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, addend: Tensor | None, wiring: Wiring) -> Tensor:
        return _forward(x, weight, bias, addend, wiring)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, bias, addend, ctx.wiring = inputs
        ctx.given = bias is not None, addend is not None
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needs = ctx.needs_input_grad
        return (
            _Transposed.apply(g, weight, ctx.wiring, _shared(x, weight)) if needs[0] else None,
            _EdgeProduct.apply(g, x, ctx.wiring) if needs[1] else None,
            _RowSum.apply(g) if needs[2] and ctx.given[0] else None,
            g if needs[3] and ctx.given[1] else None,
            None,
        )

    @staticmethod
    def jvp(ctx: Any, dx: Any, dw: Any, db: Any, da: Any, _: None) -> Tensor:
        x, weight = ctx.saved_tensors
        by_x = None if dx is None else _Product.apply(dx, weight, None, None, ctx.wiring)
        by_w = None if dw is None else _Product.apply(x, dw, None, None, ctx.wiring)
        by_b = None if db is None else db[:, :, None].expand(*db.shape, x.shape[2])
        return _sum(by_x, by_w, by_b, da)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], x: Any, weight: Any, bias: Any, addend: Any, wiring: Wiring) -> Any:
        n, v = weight.shape[-1 if in_dims[1] is None or in_dims[1] < weight.dim() - 1 else -2], info.batch_size
        if in_dims[1] is None and in_dims[2] is None:
            y = _Product.apply(
                _into_batch(x, in_dims[0], v), weight, bias,
                None if addend is None else _into_batch(addend, in_dims[3], v), wiring,
            )  # fmt: skip
            return _out_of_batch(y, v), 0
        y = _Product.apply(
            _into_replicates(x, in_dims[0], v, n), _into_replicates(weight, in_dims[1], v, n),
            None if bias is None else _into_replicates(bias, in_dims[2], v, n),
            None if addend is None else _into_replicates(addend, in_dims[3], v, n), wiring,
        )  # fmt: skip
        return _out_of_replicates(y, v), 0


@_signed
class _Transposed(Function):
    @staticmethod
    def forward(g: Tensor, weight: Tensor, wiring: Wiring, shared: bool) -> Tensor:
        return _transposed(g, weight, wiring, shared)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        g, weight, ctx.wiring, ctx.shared = inputs
        ctx.save_for_backward(g, weight)
        ctx.save_for_forward(g, weight)

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        g, weight = ctx.saved_tensors
        return (
            _Product.apply(u, weight, None, None, ctx.wiring) if ctx.needs_input_grad[0] else None,
            _EdgeProduct.apply(g, u, ctx.wiring) if ctx.needs_input_grad[1] else None,
            None,
            None,
        )

    @staticmethod
    def jvp(ctx: Any, dg: Any, dw: Any, _: None, __: None) -> Tensor:
        g, weight = ctx.saved_tensors
        return _sum(
            None if dg is None else _Transposed.apply(dg, weight, ctx.wiring, ctx.shared),
            None if dw is None else _Transposed.apply(g, dw, ctx.wiring, ctx.shared),
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], g: Any, weight: Any, wiring: Wiring, shared: bool) -> Any:
        n, v = weight.shape[-1 if in_dims[1] is None or in_dims[1] < weight.dim() - 1 else -2], info.batch_size
        if in_dims[1] is None:
            y = _Transposed.apply(_into_batch(g, in_dims[0], v), weight, wiring, shared)
            return _out_of_batch(y, v), 0
        y = _Transposed.apply(
            _into_replicates(g, in_dims[0], v, n), _into_replicates(weight, in_dims[1], v, n), wiring, False
        )
        y = _out_of_replicates(y, v)
        return (y.sum(2, keepdim=True) if shared else y), 0


@_signed
class _EdgeProduct(Function):
    @staticmethod
    def forward(g: Tensor, x: Tensor, wiring: Wiring) -> Tensor:
        return _edges(g, x, wiring)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        g, x, ctx.wiring = inputs
        ctx.save_for_backward(g, x)
        ctx.save_for_forward(g, x)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
        g, x = ctx.saved_tensors
        return (
            _Product.apply(x, v, None, None, ctx.wiring) if ctx.needs_input_grad[0] else None,
            _Transposed.apply(g, v, ctx.wiring, _shared(x, g)) if ctx.needs_input_grad[1] else None,
            None,
        )

    @staticmethod
    def jvp(ctx: Any, dg: Any, dx: Any, _: None) -> Tensor:
        g, x = ctx.saved_tensors
        return _sum(
            None if dg is None else _EdgeProduct.apply(dg, x, ctx.wiring),
            None if dx is None else _EdgeProduct.apply(g, dx, ctx.wiring),
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], g: Any, x: Any, wiring: Wiring) -> Any:
        v = info.batch_size
        front = g if in_dims[0] is None else g.movedim(in_dims[0], 0)
        n = front.shape[-2]
        w = _EdgeProduct.apply(_into_replicates(g, in_dims[0], v, n), _into_replicates(x, in_dims[1], v, n), wiring)
        return w.reshape(w.shape[0], v, n).movedim(1, 0), 0


@_signed
class _RowSum(Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return _rows(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.batch = inputs[0].shape[-1]

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> Tensor:
        return v[..., None].expand(*v.shape, ctx.batch)

    @staticmethod
    def jvp(ctx: Any, dx: Tensor) -> Tensor:
        return _RowSum.apply(dx)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], x: Tensor) -> Any:
        return _RowSum.apply(x.movedim(in_dims[0], 0)), 0


# A mapped axis of v values becomes part of the batch, or of the replicates where weights are mapped.


def _front(t: Tensor, dim: int | None, v: int) -> Tensor:
    return t.expand(v, *t.shape) if dim is None else t.movedim(dim, 0)


def _into_batch(t: Tensor, dim: int | None, v: int) -> Tensor:
    return _front(t, dim, v).permute(1, 2, 0, 3).flatten(2)


def _out_of_batch(t: Tensor, v: int) -> Tensor:
    return t.unflatten(2, (v, -1)).permute(2, 0, 1, 3)


def _into_replicates(t: Tensor, dim: int | None, v: int, n: int) -> Tensor:
    t = _front(t, dim, v)
    t = t.expand(v, t.shape[1], n, *t.shape[3:])
    return t.movedim(0, 1).flatten(1, 2)


def _out_of_replicates(t: Tensor, v: int) -> Tensor:
    return t.unflatten(1, (v, -1)).movedim(1, 0)


# torch.compile and torch.export.

_library_op = torch.library.custom_op


@_library_op("vnn::sparse_product", mutates_args=())
def _op_product(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    addend: Tensor | None,
    ptr: Tensor,
    src: Tensor,
    ptr_t: Tensor,
    tgt_t: Tensor,
    perm_t: Tensor,
    unit_ptr_in: Tensor | None,
    unit_ptr_out: Tensor | None,
    block_ptr: Tensor | None,
    n_out: int,
) -> Tensor:
    index = (ptr, src, ptr_t, tgt_t, perm_t, unit_ptr_in, unit_ptr_out, block_ptr)
    return _forward(x, weight, bias, addend, Wiring(*index, n_out, x.shape[0], weight.shape[0]))


@_op_product.register_fake
def _(x, weight, bias, addend, ptr, src, ptr_t, tgt_t, perm_t, unit_ptr_in, unit_ptr_out, block_ptr, n_out):  # type: ignore[no-untyped-def]
    return x.new_empty(n_out, weight.shape[1], x.shape[2])


@_library_op("vnn::sparse_product_transposed", mutates_args=())
def _op_transposed(
    g: Tensor,
    weight: Tensor,
    ptr: Tensor,
    src: Tensor,
    ptr_t: Tensor,
    tgt_t: Tensor,
    perm_t: Tensor,
    unit_ptr_in: Tensor | None,
    unit_ptr_out: Tensor | None,
    block_ptr: Tensor | None,
    n_in: int,
    shared: bool,
) -> Tensor:
    index = (ptr, src, ptr_t, tgt_t, perm_t, unit_ptr_in, unit_ptr_out, block_ptr)
    return _transposed(g, weight, Wiring(*index, g.shape[0], n_in, weight.shape[0]), shared)


@_op_transposed.register_fake
def _(g, weight, ptr, src, ptr_t, tgt_t, perm_t, unit_ptr_in, unit_ptr_out, block_ptr, n_in, shared):  # type: ignore[no-untyped-def]
    return g.new_empty(n_in, 1 if shared else weight.shape[1], g.shape[2])


@_library_op("vnn::edge_product", mutates_args=())
def _op_edges(
    g: Tensor,
    x: Tensor,
    ptr: Tensor,
    src: Tensor,
    ptr_t: Tensor,
    tgt_t: Tensor,
    perm_t: Tensor,
    unit_ptr_in: Tensor | None,
    unit_ptr_out: Tensor | None,
    block_ptr: Tensor | None,
    n_weights: int,
) -> Tensor:
    index = (ptr, src, ptr_t, tgt_t, perm_t, unit_ptr_in, unit_ptr_out, block_ptr)
    return _edges(g, x, Wiring(*index, g.shape[0], x.shape[0], n_weights))


@_op_edges.register_fake
def _(g, x, ptr, src, ptr_t, tgt_t, perm_t, unit_ptr_in, unit_ptr_out, block_ptr, n_weights):  # type: ignore[no-untyped-def]
    return g.new_empty(n_weights, g.shape[1])


@_library_op("vnn::row_sum", mutates_args=())
def _op_rows(x: Tensor) -> Tensor:
    return _rows(x)


@_op_rows.register_fake
def _(x):  # type: ignore[no-untyped-def]
    return x.new_empty(x.shape[:-1])


_ops = torch.ops.vnn


def _save(ctx: Any, inputs: tuple[Any, ...], first_index: int) -> None:
    ctx.save_for_backward(inputs[0], inputs[1], *inputs[first_index : first_index + 8])


def _setup_product(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.given = inputs[2] is not None, inputs[3] is not None
    _save(ctx, inputs, 4)


def _backward_product(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, *index = ctx.saved_tensors
    needs = ctx.needs_input_grad
    return (
        _ops.sparse_product_transposed(g, weight, *index, x.shape[0], _shared(x, weight)) if needs[0] else None,
        _ops.edge_product(g, x, *index, weight.shape[0]) if needs[1] else None,
        _ops.row_sum(g) if needs[2] and ctx.given[0] else None,
        g if needs[3] and ctx.given[1] else None,
        *[None] * 9,
    )


def _setup_two(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _save(ctx, inputs, 2)


def _backward_transposed(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
    g, weight, *index = ctx.saved_tensors
    return (
        _ops.sparse_product(u, weight, None, None, *index, g.shape[0]) if ctx.needs_input_grad[0] else None,
        _ops.edge_product(g, u, *index, weight.shape[0]) if ctx.needs_input_grad[1] else None,
        *[None] * 10,
    )


def _backward_edges(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
    g, x, *index = ctx.saved_tensors
    return (
        _ops.sparse_product(x, v, None, None, *index, g.shape[0]) if ctx.needs_input_grad[0] else None,
        _ops.sparse_product_transposed(g, v, *index, x.shape[0], _shared(x, g)) if ctx.needs_input_grad[1] else None,
        *[None] * 9,
    )


def _setup_rows(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.batch = inputs[0].shape[-1]


def _backward_rows(ctx: Any, v: Tensor) -> Tensor:
    return v[..., None].expand(*v.shape, ctx.batch)


_op_product.register_autograd(_backward_product, setup_context=_setup_product)
_op_transposed.register_autograd(_backward_transposed, setup_context=_setup_two)
_op_edges.register_autograd(_backward_edges, setup_context=_setup_two)
_op_rows.register_autograd(_backward_rows, setup_context=_setup_rows)

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
from vnn.kernels.reference import wide


def sparse_product(
    x: Float[Tensor, "n_in n_shared batch"],
    weight: Float[Tensor, "n_weights n_replicates"],
    graph: Graph,
    bias: Float[Tensor, "n_out n_replicates"] | None = None,
    addend: Float[Tensor, "n_out n_replicates batch"] | None = None,
) -> Float[Tensor, "n_out n_replicates batch"]:
    """Sum the weighted sources of every node: `y[o,r,b] = bias[o,r] + addend[o,r,b] + sum w[e,r] x[src(e),r,b]`.

    Differentiable to any order, under `torch.compile`, `torch.export` and `torch.func`. Activations may be
    stored in bfloat16 or float16 (so they are under autocast); sums and weights then are float32.

    Parameters
    ----------
    x
        Activations of the sources; `n_shared` is R, or 1 when all replicates share them.
    weight
        Weights of the edges, in the order of the graph: float32 or float64.
    graph
        The edges.
    bias
        One value per unit and replicate.
    addend
        What other levels contribute to the same nodes.

    Returns
    -------
    Tensor
        The sums, in the dtype of `weight`, or in that of 16-bit activations.

    Raises
    ------
    KernelError
        If a shape does not fit the graph, or the tensors lie on different devices.
    """
    _check(x, weight, graph, bias, addend)
    x = x.to(_stored(x, weight))
    bias = None if bias is None else bias.to(weight.dtype)
    addend = None if addend is None else addend.to(x.dtype)
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
    check_parts(weight, graph, None, None, 0)
    check_activations("g", g, graph.n_out, (weight.shape[1],), weight)
    return _Transposed.apply(g.to(_stored(g, weight)).contiguous(), weight, graph.wiring, False)


def edge_product(
    g: Float[Tensor, "n_out n_replicates batch"], x: Float[Tensor, "n_in n_shared batch"], graph: Graph
) -> Float[Tensor, "n_weights n_replicates"]:
    """For every weight the sum over the batch of `g` at its target times `x` at its source.

    Raises
    ------
    KernelError
        If a shape does not fit the graph.
    """
    check_activations("g", g, graph.n_out, (), graph.ptr)
    check_activations("x", x, graph.n_in, (1, g.shape[1]), g)
    if g.shape[2] != x.shape[2]:
        raise KernelError(
            f"`g` has a batch of {g.shape[2]} and `x` one of {x.shape[2]}; they must be the same samples."
        )
    if g.is_meta:
        raise KernelError("the tensors lie on meta, where there are no values; move them to a device.")
    if not g.is_floating_point():
        raise KernelError(f"`g` has dtype {g.dtype}; it needs a floating-point dtype.")
    _check_wirings(graph, g.shape[1])
    return _EdgeProduct.apply(g.contiguous(), x.to(g.dtype).contiguous(), graph.wiring)


SHORT = (torch.bfloat16, torch.float16)


def _stored(x: Tensor, weight: Tensor) -> torch.dtype:
    """The dtype activations are held in: that of the weights, unless they are or are to be of 16 bits."""
    kind = x.device.type
    if torch.is_autocast_enabled(kind) and weight.dtype == torch.float32:
        return torch.get_autocast_dtype(kind)
    return x.dtype if x.dtype in SHORT and weight.dtype == torch.float32 else weight.dtype


def check_tensor(name: str, given: object) -> None:
    """Raise unless `given` is a dense tensor of real numbers."""
    if not isinstance(given, Tensor):
        raise TypeError(f"`{name}` is a {type(given).__name__}; it needs a tensor: torch.as_tensor({name}).")
    if given.layout != torch.strided or given.is_complex():
        raise KernelError(
            f"`{name}` is {given.dtype} in layout {given.layout}; it needs a dense tensor of real numbers: to_dense(), .real."
        )


def check_activations(name: str, t: Tensor, n_rows: int, replicates: tuple[int, ...], like: Tensor) -> None:
    """Raise unless `t` has the shape (n_rows, one of `replicates`, batch) and lies where `like` does."""
    check_tensor(name, t)
    if t.dim() != 3 or t.shape[0] != n_rows or (replicates and t.shape[1] not in replicates):
        many = " or ".join(map(str, sorted(set(replicates), reverse=True))) or "replicates"
        raise KernelError(f"`{name}` has shape {tuple(t.shape)}; this graph needs ({n_rows:,}, {many}, batch).")
    if t.device != like.device:
        raise KernelError(f"the tensors lie on {t.device} and {like.device}; move them to one device.")


def _check_wirings(graph: Graph, n_replicates: int) -> None:
    if graph.wiring.n_wirings not in (1, n_replicates):
        raise KernelError(
            f"this graph wires {graph.wiring.n_wirings} replicates, each in its own way; the tensors have {n_replicates}."
        )


def check_parts(weight: Tensor, graph: Graph, bias: Tensor | None, addend: Tensor | None, batch: int) -> None:
    """Raise unless weight, bias and addend fit the graph and a batch."""
    if not isinstance(graph, Graph):
        raise TypeError(f"`graph` is a {type(graph).__name__}; it needs a Graph: Graph(edges, n_sources, n_targets).")
    check_tensor("weight", weight)
    for name, t in (("bias", bias), ("addend", addend)):
        if t is not None:
            check_tensor(name, t)
    if weight.dim() != 2 or weight.shape[0] != graph.n_weights:
        raise KernelError(
            f"`weight` has shape {tuple(weight.shape)}; this graph needs ({graph.n_weights:,}, replicates)."
        )
    if weight.is_meta:
        raise KernelError("the tensors lie on meta, where there are no values; move them to a device.")
    if weight.dtype not in (torch.float32, torch.float64):
        raise KernelError(f"`weight` has dtype {weight.dtype}; it needs float32 or float64.")
    n_replicates = weight.shape[1]
    _check_wirings(graph, n_replicates)
    if bias is not None and bias.shape != (graph.n_out, n_replicates):
        raise KernelError(f"`bias` has shape {tuple(bias.shape)}; it needs ({graph.n_out:,}, {n_replicates}).")
    if addend is not None and addend.shape != (graph.n_out, n_replicates, batch):
        raise KernelError(
            f"`addend` has shape {tuple(addend.shape)}; it needs ({graph.n_out:,}, {n_replicates}, {batch})."
        )
    for other in (graph.wiring.ptr, bias, addend):
        if other is not None and other.device != weight.device:
            raise KernelError(f"the tensors lie on {weight.device} and {other.device}; move them to one device.")


def _check(x: Tensor, weight: Tensor, graph: Graph, bias: Tensor | None, addend: Tensor | None) -> None:
    check_tensor("x", x)
    check_parts(weight, graph, bias, addend, x.shape[-1] if x.dim() else 0)
    check_activations("x", x, graph.n_in, (1, weight.shape[1]), weight)


# What runs: the kernels of the active backend.


def _forward(x: Tensor, weight: Tensor, bias: Tensor | None, addend: Tensor | None, wiring: Wiring) -> Tensor:
    return active(x.device).product(x, weight, bias, addend, wiring, transposed=False, shared=False)


def _transposed(g: Tensor, weight: Tensor, wiring: Wiring, shared: bool) -> Tensor:
    return active(g.device).product(g, weight, None, None, wiring, transposed=True, shared=shared)


def _edges(g: Tensor, x: Tensor, wiring: Wiring) -> Tensor:
    return active(g.device).edge_product(g, x, wiring)


def _both(g: Tensor, x: Tensor, weight: Tensor, wiring: Wiring, shared: bool) -> tuple[Tensor, Tensor]:
    walk = getattr(active(g.device), "backward", None)
    found = walk(g, x, weight, wiring) if walk else None
    return found or (_transposed(g, weight, wiring, shared), _edges(g, x, wiring))


def _rows(x: Tensor) -> Tensor:
    return active(x.device).row_sum(x)


def row_sum(x: Tensor) -> Tensor:
    """The sum over the batch, differentiable."""
    return _RowSum.apply(x)


# Eager mode and torch.func.


def _shared(x: Tensor, weight_or_g: Tensor) -> bool:
    return x.shape[1] == 1 and weight_or_g.shape[1] > 1


def total(*parts: Tensor | None) -> Tensor:
    """The sum of what is given."""
    given = [part for part in parts if part is not None]
    result = given[0]
    for part in given[1:]:
        result = result + part
    return result


class _Bound:
    """Arguments as they were given, all of them by position."""

    def __init__(self, args: tuple[Any, ...]) -> None:
        self.args, self.kwargs = args, dict[str, Any]()

    def apply_defaults(self) -> None:
        """There are none."""


class _ByPosition(inspect.Signature):
    """A signature that binds at no cost; torch binds the arguments of a function anew at every call."""

    def bind(self, *args: Any, **_: Any) -> Any:
        return _Bound(args)


def signed(function: type[Function]) -> type[Function]:
    """The function with the signature of its forward worked out once; torch asks for it at every call."""
    known = inspect.signature(function.forward)
    function.forward.__signature__ = _ByPosition(list(known.parameters.values()))  # type: ignore[attr-defined]
    return function


@signed
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
        dx = dw = None
        if needs[0] and needs[1]:
            dx, dw = _Both.apply(g, x, weight, ctx.wiring, _shared(x, weight))
        elif needs[0]:
            dx = _Transposed.apply(g, weight, ctx.wiring, _shared(x, weight))
        elif needs[1]:
            dw = _EdgeProduct.apply(g, x, ctx.wiring)
        return (
            dx,
            dw,
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
        return total(by_x, by_w, by_b, da)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], x: Any, weight: Any, bias: Any, addend: Any, wiring: Wiring) -> Any:
        n, v = _replicates(weight, in_dims[1]), info.batch_size
        if in_dims[1] is None and in_dims[2] is None:
            y = _Product.apply(
                _into_batch(x, in_dims[0], v), weight, bias,
                None if addend is None else _into_batch(addend, in_dims[3], v), wiring,
            )  # fmt: skip
            return _out_of_batch(y, v), 0
        y = _Product.apply(
            _into_replicates(x, in_dims[0], v, n), _into_replicates(weight, in_dims[1], v, n),
            None if bias is None else _into_replicates(bias, in_dims[2], v, n),
            None if addend is None else _into_replicates(addend, in_dims[3], v, n), wiring.repeated(v),
        )  # fmt: skip
        return _out_of_replicates(y, v), 0


@signed
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
        return total(
            None if dg is None else _Transposed.apply(dg, weight, ctx.wiring, ctx.shared),
            None if dw is None else _Transposed.apply(g, dw, ctx.wiring, ctx.shared),
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], g: Any, weight: Any, wiring: Wiring, shared: bool) -> Any:
        n, v = _replicates(weight, in_dims[1]), info.batch_size
        if in_dims[1] is None:
            y = _Transposed.apply(_into_batch(g, in_dims[0], v), weight, wiring, shared)
            return _out_of_batch(y, v), 0
        y = _Transposed.apply(
            _into_replicates(g, in_dims[0], v, n), _into_replicates(weight, in_dims[1], v, n), wiring.repeated(v), False
        )
        y = _out_of_replicates(y, v)
        return (y.sum(2, keepdim=True) if shared else y), 0


@signed
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
        return total(
            None if dg is None else _EdgeProduct.apply(dg, x, ctx.wiring),
            None if dx is None else _EdgeProduct.apply(g, dx, ctx.wiring),
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], g: Any, x: Any, wiring: Wiring) -> Any:
        v = info.batch_size
        front = g if in_dims[0] is None else g.movedim(in_dims[0], 0)
        n = front.shape[-2]
        w = _EdgeProduct.apply(
            _into_replicates(g, in_dims[0], v, n), _into_replicates(x, in_dims[1], v, n), wiring.repeated(v)
        )
        return w.reshape(w.shape[0], v, n).movedim(1, 0), 0


@signed
class _Both(Function):
    """Gradient of x and gradient of the weights, in one walk where the backend has one."""

    @staticmethod
    def forward(g: Tensor, x: Tensor, weight: Tensor, wiring: Wiring, shared: bool) -> tuple[Tensor, Tensor]:
        return _both(g, x, weight, wiring, shared)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        g, x, weight, ctx.wiring, ctx.shared = inputs
        ctx.save_for_backward(g, x, weight)
        ctx.save_for_forward(g, x, weight)

    @staticmethod
    def backward(ctx: Any, u: Tensor, v: Tensor) -> tuple[Tensor | None, ...]:
        g, x, weight = ctx.saved_tensors
        needs = ctx.needs_input_grad
        dg = None
        if needs[0]:
            dg = _Product.apply(u, weight, None, None, ctx.wiring) + _Product.apply(x, v, None, None, ctx.wiring)
        return (
            dg,
            _Transposed.apply(g, v, ctx.wiring, ctx.shared) if needs[1] else None,
            _EdgeProduct.apply(g, u, ctx.wiring) if needs[2] else None,
            None,
            None,
        )

    @staticmethod
    def jvp(ctx: Any, dg: Any, dx: Any, dw: Any, _: None, __: None) -> tuple[Tensor, Tensor]:
        g, x, weight = ctx.saved_tensors
        wiring, shared = ctx.wiring, ctx.shared
        none = None, None
        by_g = none if dg is None else _Both.apply(dg, x, weight, wiring, shared)
        by_w = None if dw is None else _Transposed.apply(g, dw, wiring, shared)
        by_x = None if dx is None else _EdgeProduct.apply(g, dx, wiring)
        return (
            total(by_g[0], by_w, None if by_g[0] is not None or by_w is not None else torch.zeros_like(x)),
            total(by_g[1], by_x, None if by_g[1] is not None or by_x is not None else torch.zeros_like(weight)),
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], g: Any, x: Any, weight: Any, wiring: Wiring, shared: bool) -> Any:
        dx, dx_dim = _Transposed.vmap(info, (in_dims[0], in_dims[2], None, None), g, weight, wiring, shared)
        dw, dw_dim = _EdgeProduct.vmap(info, (in_dims[0], in_dims[1], None), g, x, wiring)
        return (dx, dw), (dx_dim, dw_dim)


@signed
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


def _replicates(weight: Tensor, dim: int | None) -> int:
    return int(weight.shape[-1 if dim is None or dim < weight.dim() - 1 else -2])


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


# torch.compile and torch.export. The operators check the sizes of what they are given, never the values of indices:
# called directly with an index that points outside, they read foreign memory.


def fit(name: str, t: Tensor, shape: tuple[int | None, ...], dtype: torch.dtype | None, like: Tensor) -> None:
    """Raise a `KernelError` unless `t` has this shape (None: any size) and dtype and lies where `like` does."""
    if t is None or like is None:
        raise KernelError(f"`{name}` or an index tensor is None; it needs a tensor.")
    same = len(shape) == t.dim() and all(n is None or n == m for n, m in zip(shape, t.shape, strict=True))
    if not same or t.dtype != (dtype or t.dtype) or t.device != like.device or t.layout != torch.strided:
        needed = ", ".join("any" if n is None else f"{n:,}" for n in shape)
        raise KernelError(
            f"`{name}` is {t.dtype} of shape {tuple(t.shape)} on {t.device}; it needs {dtype or t.dtype} of shape "
            f"({needed}) on {like.device}."
        )


def fit_parts(
    weight: Tensor, bias: Tensor | None, addend: Tensor | None, wiring: Wiring, kind: torch.dtype, batch: int
) -> None:
    """Raise a `KernelError` unless weight, bias and addend of an operator fit its wiring and activations."""
    wiring.check()
    own = torch.float32 if kind in SHORT else kind
    fit("weight", weight, (wiring.n_weights, None), own, wiring.ptr)
    n = weight.shape[1]
    fit_wirings(wiring, n)
    if bias is not None:
        fit("bias", bias, (wiring.n_out, n), own, weight)
    if addend is not None:
        fit("addend", addend, (wiring.n_out, n, batch), kind, weight)


def fit_wirings(wiring: Wiring, n_replicates: int) -> None:
    """Raise a `KernelError` unless all replicates share the wiring, or each has its own."""
    if wiring.n_wirings not in (1, n_replicates):
        raise KernelError(f"`src` wires {wiring.n_wirings} replicates; the tensors have {n_replicates}.")


def weights_of(weight: Tensor) -> int:
    """How many weights there are, as far as the tensor tells."""
    return -1 if weight is None or not weight.dim() else weight.shape[0]


def _fit_activations(name: str, t: Tensor, like: Tensor) -> None:
    fit(name, t, (None, None, None), None, like)
    if not t.is_floating_point():
        raise KernelError(f"`{name}` has dtype {t.dtype}; it needs a floating-point dtype.")


def _fit_sources(x: Tensor, n_replicates: int, wiring: Wiring) -> None:
    many = x.shape[1] if x.shape[1] in (1, n_replicates) else n_replicates
    fit("x", x, (wiring.n_in, many, None), None, wiring.ptr)


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
    _fit_activations("x", x, ptr)
    wiring = Wiring(*index, n_out, x.shape[0], weights_of(weight))
    fit_parts(weight, bias, addend, wiring, x.dtype, x.shape[2])
    _fit_sources(x, weight.shape[1], wiring)
    return _forward(x, weight, bias, addend, wiring)


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
    _fit_activations("g", g, ptr)
    wiring = Wiring(*index, g.shape[0], n_in, weights_of(weight))
    fit_parts(weight, None, None, wiring, g.dtype, g.shape[2])
    fit("g", g, (wiring.n_out, weight.shape[1], None), None, weight)
    return _transposed(g, weight, wiring, shared)


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
    _fit_activations("g", g, ptr)
    fit("x", x, (None, None, g.shape[2]), g.dtype, g)
    wiring = Wiring(*index, g.shape[0], x.shape[0], n_weights)
    wiring.check()
    fit_wirings(wiring, g.shape[1])
    _fit_sources(x, g.shape[1], wiring)
    return _edges(g, x, wiring)


@_op_edges.register_fake
def _(g, x, ptr, src, ptr_t, tgt_t, perm_t, unit_ptr_in, unit_ptr_out, block_ptr, n_weights):  # type: ignore[no-untyped-def]
    return wide(g.new_empty(n_weights, g.shape[1]))


@_library_op("vnn::sparse_product_backward", mutates_args=())
def _op_both(
    g: Tensor,
    x: Tensor,
    weight: Tensor,
    ptr: Tensor,
    src: Tensor,
    ptr_t: Tensor,
    tgt_t: Tensor,
    perm_t: Tensor,
    unit_ptr_in: Tensor | None,
    unit_ptr_out: Tensor | None,
    block_ptr: Tensor | None,
    shared: bool,
) -> tuple[Tensor, Tensor]:
    index = (ptr, src, ptr_t, tgt_t, perm_t, unit_ptr_in, unit_ptr_out, block_ptr)
    _fit_activations("g", g, ptr)
    fit("x", x, (None, None, g.shape[2]), g.dtype, g)
    wiring = Wiring(*index, g.shape[0], x.shape[0], weights_of(weight))
    fit_parts(weight, None, None, wiring, g.dtype, g.shape[2])
    fit("g", g, (wiring.n_out, weight.shape[1], None), None, weight)
    fit("x", x, (wiring.n_in, 1 if shared else weight.shape[1], None), None, weight)
    return _both(g, x, weight, wiring, shared)


@_op_both.register_fake
def _(g, x, weight, ptr, src, ptr_t, tgt_t, perm_t, unit_ptr_in, unit_ptr_out, block_ptr, shared):  # type: ignore[no-untyped-def]
    return torch.empty_like(x), torch.empty_like(weight)


@_library_op("vnn::row_sum", mutates_args=())
def _op_rows(x: Tensor) -> Tensor:
    if x is None or not x.dim() or x.layout != torch.strided:
        raise KernelError("`x` is None, a single number or not dense; it needs a dense tensor with a last axis.")
    return _rows(x)


@_op_rows.register_fake
def _(x):  # type: ignore[no-untyped-def]
    return wide(x.new_empty(x.shape[:-1]))


_ops = torch.ops.vnn


def _save(ctx: Any, inputs: tuple[Any, ...], first_index: int) -> None:
    ctx.save_for_backward(inputs[0], inputs[1], *inputs[first_index : first_index + 8])


def _setup_product(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.given = inputs[2] is not None, inputs[3] is not None
    _save(ctx, inputs, 4)


def _backward_product(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, *index = ctx.saved_tensors
    needs = ctx.needs_input_grad
    shared = _shared(x, weight)
    dx = dw = None
    if needs[0] and needs[1]:
        dx, dw = _ops.sparse_product_backward(g, x, weight, *index, shared)
    elif needs[0]:
        dx = _ops.sparse_product_transposed(g, weight, *index, x.shape[0], shared)
    elif needs[1]:
        dw = _ops.edge_product(g, x, *index, weight.shape[0])
    return (
        dx,
        dw,
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


def _setup_both(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:11])
    ctx.shared = inputs[11]


def _backward_both(ctx: Any, u: Tensor, v: Tensor) -> tuple[Tensor | None, ...]:
    g, x, weight, *index = ctx.saved_tensors
    needs = ctx.needs_input_grad
    dg = None
    if needs[0]:
        dg = _ops.sparse_product(u, weight, None, None, *index, g.shape[0])
        dg = dg + _ops.sparse_product(x, v, None, None, *index, g.shape[0])
    return (
        dg,
        _ops.sparse_product_transposed(g, v, *index, x.shape[0], ctx.shared) if needs[1] else None,
        _ops.edge_product(g, u, *index, weight.shape[0]) if needs[2] else None,
        *[None] * 9,
    )


def _setup_rows(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.batch = inputs[0].shape[-1]


def _backward_rows(ctx: Any, v: Tensor) -> Tensor:
    return v[..., None].expand(*v.shape, ctx.batch)


_op_product.register_autograd(_backward_product, setup_context=_setup_product)
_op_transposed.register_autograd(_backward_transposed, setup_context=_setup_two)
_op_edges.register_autograd(_backward_edges, setup_context=_setup_two)
_op_both.register_autograd(_backward_both, setup_context=_setup_both)
_op_rows.register_autograd(_backward_rows, setup_context=_setup_rows)

"""The sparse product of packed genotypes, its gradients and their gradients.

With c the codebook, w the weights, g a gradient at the targets and code(v, b) the genotype of person b,

    L(c, w, g) = sum over edges e, replicates r and people b of  w[e, r] * c[src(e), code(src(e), b)] * g[tgt(e), r, b]

is linear in each of the three, so that product, edge product and codebook gradient express each other's
gradients, to any order.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from vnn._errors import KernelError
from vnn.kernels.backend import active
from vnn.kernels.graph import Graph, Wiring
from vnn.kernels.packed import Packed
from vnn.kernels.product import (
    check_parts,
    check_tensor,
    fit,
    fit_parts,
    fit_wirings,
    row_sum,
    signed,
    sparse_product,
    total,
    weights_of,
)


def packed_product(
    packed: Packed,
    weight: Float[Tensor, "n_weights n_replicates"],
    graph: Graph,
    bias: Float[Tensor, "n_out n_replicates"] | None = None,
    addend: Float[Tensor, "n_out n_replicates batch"] | None = None,
    *,
    scale: Float[Tensor, "n_in n_replicates"] | None = None,
    shift: Float[Tensor, "n_in n_replicates"] | None = None,
) -> Float[Tensor, "n_out n_replicates batch"]:
    """`sparse_product` of genotypes that keep their two bits: `x[v, r, b] = scale[v, r] codebook[v, code(v, b)] + shift[v, r]`.

    Differentiable to any order in weight, bias, addend, codebook, scale and shift, under `torch.compile`,
    `torch.export` and `torch.func`. The gradient at the genotypes themselves, as numbers, is
    `transposed_product` of the gradient at the result.

    Parameters
    ----------
    packed
        The genotypes of the batch; every variant is one source.
    weight, graph, bias, addend
        As for `sparse_product`.
    scale, shift
        An affine map of every variant's values per replicate, such as the scaling of its training part.

    Returns
    -------
    Tensor
        The sums, in the dtype of `weight`.

    Raises
    ------
    KernelError
        If shapes, types or panels do not fit each other or the graph.
    """
    _check(packed, weight, graph, bias, addend)
    for name, t in (("scale", scale), ("shift", shift)):
        if t is not None:
            _check_affine(name, t, weight, graph)
    if shift is not None:
        offset = sparse_product(shift[:, :, None].to(weight.dtype), weight, graph)[:, :, 0]
        bias = offset if bias is None else bias + offset
    if scale is not None:
        own = scale.to(weight.dtype)
        rows = graph.source_row
        weight = weight * (own[rows] if rows.dim() == 1 else own.gather(0, rows))
    codes, panels, codebook, batch, _ = packed
    codebook = codebook.to(weight.dtype)
    bias = None if bias is None else bias.to(weight.dtype)
    addend = None if addend is None else addend.to(weight.dtype)
    if torch.compiler.is_compiling():
        w = graph.wiring
        return torch.ops.vnn.packed_product(codebook, weight, bias, addend, codes, panels, *w[:8], batch, w.n_out)
    return _Product.apply(codebook, weight, bias, addend, _Batch(codes, panels, batch, graph.wiring))


def _check_affine(name: str, t: Tensor, weight: Tensor, graph: Graph) -> None:
    check_tensor(name, t)
    if t.shape != (graph.n_in, weight.shape[1]) or t.device != weight.device:
        raise KernelError(
            f"`{name}` has shape {tuple(t.shape)} on {t.device}; it needs ({graph.n_in:,}, {weight.shape[1]}): variants, "
            f"replicates, on {weight.device}."
        )


def _check(packed: Packed, weight: Tensor, graph: Graph, bias: Tensor | None, addend: Tensor | None) -> None:
    if not isinstance(packed, Packed):
        raise TypeError(f"`packed` is a {type(packed).__name__}; it needs Packed(codes, panels, codebook, batch).")
    if not torch.compiler.is_compiling():
        packed.check()
    check_parts(weight, graph, bias, addend, packed.batch)
    n_variants = packed.codes.shape[1]
    if graph.unit_ptr_in is not None or graph.n_in != n_variants:
        raise KernelError(
            f"the genotypes have {n_variants:,} variants of one unit; this graph has {graph.n_sources:,} sources "
            f"of {graph.n_in:,} units."
        )
    devices = {t.device for t in (*packed[:3], weight, graph.ptr)}
    if len(devices) > 1:
        raise KernelError(f"the tensors lie on {', '.join(sorted(map(str, devices)))}; move them to one device.")


class _Batch:
    """What is not differentiated: whose genotypes, and the edges."""

    def __init__(self, codes: Tensor, panels: Tensor, batch: int, wiring: Wiring) -> None:
        self.codes, self.panels, self.batch, self.wiring = codes, panels, batch, wiring

    def packed(self, codebook: Tensor) -> Packed:
        return Packed(self.codes, self.panels, codebook, self.batch)


def _forward(codebook: Tensor, weight: Tensor, bias: Tensor | None, addend: Tensor | None, batch: _Batch) -> Tensor:
    return active(weight.device).packed_product(batch.packed(codebook), weight, bias, addend, batch.wiring)


def _edges(g: Tensor, codebook: Tensor, batch: _Batch) -> Tensor:
    return active(g.device).packed_edge_product(g, batch.packed(codebook), batch.wiring)


def _codebook(g: Tensor, weight: Tensor, batch: _Batch) -> Tensor:
    like = weight.new_empty(batch.codes.shape[1], 4)
    return active(g.device).packed_codebook(g, weight, batch.packed(like), batch.wiring)


def _each(info: Any, in_dims: tuple[Any, ...], function: type[Function], inputs: tuple[Any, ...]) -> tuple[Tensor, int]:
    """The function for every mapped value in turn."""
    rows = [
        [t if dim is None else t.select(dim, i) for t, dim in zip(inputs, in_dims, strict=True)]
        for i in range(info.batch_size)
    ]
    return torch.stack([function.apply(*row) for row in rows]), 0


@signed
class _Product(Function):
    @staticmethod
    def forward(codebook: Tensor, weight: Tensor, bias: Tensor | None, addend: Tensor | None, batch: _Batch) -> Tensor:
        return _forward(codebook, weight, bias, addend, batch)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        codebook, weight, bias, addend, ctx.batch = inputs
        ctx.given = bias is not None, addend is not None
        ctx.save_for_backward(codebook, weight)
        ctx.save_for_forward(codebook, weight)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        codebook, weight = ctx.saved_tensors
        needs = ctx.needs_input_grad
        return (
            _Codebook.apply(g, weight, ctx.batch) if needs[0] else None,
            _Edges.apply(g, codebook, ctx.batch) if needs[1] else None,
            row_sum(g) if needs[2] and ctx.given[0] else None,
            g if needs[3] and ctx.given[1] else None,
            None,
        )

    @staticmethod
    def jvp(ctx: Any, dc: Any, dw: Any, db: Any, da: Any, _: None) -> Tensor:
        codebook, weight = ctx.saved_tensors
        by_c = None if dc is None else _Product.apply(dc, weight, None, None, ctx.batch)
        by_w = None if dw is None else _Product.apply(codebook, dw, None, None, ctx.batch)
        by_b = None if db is None else db[:, :, None].expand(*db.shape, ctx.batch.batch)
        return total(by_c, by_w, by_b, da)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Tensor, int]:
        return _each(info, in_dims, _Product, inputs)


@signed
class _Edges(Function):
    @staticmethod
    def forward(g: Tensor, codebook: Tensor, batch: _Batch) -> Tensor:
        return _edges(g, codebook, batch)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        g, codebook, ctx.batch = inputs
        ctx.save_for_backward(g, codebook)
        ctx.save_for_forward(g, codebook)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
        g, codebook = ctx.saved_tensors
        return (
            _Product.apply(codebook, v, None, None, ctx.batch) if ctx.needs_input_grad[0] else None,
            _Codebook.apply(g, v, ctx.batch) if ctx.needs_input_grad[1] else None,
            None,
        )

    @staticmethod
    def jvp(ctx: Any, dg: Any, dc: Any, _: None) -> Tensor:
        g, codebook = ctx.saved_tensors
        return total(
            None if dg is None else _Edges.apply(dg, codebook, ctx.batch),
            None if dc is None else _Edges.apply(g, dc, ctx.batch),
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Tensor, int]:
        return _each(info, in_dims, _Edges, inputs)


@signed
class _Codebook(Function):
    @staticmethod
    def forward(g: Tensor, weight: Tensor, batch: _Batch) -> Tensor:
        return _codebook(g, weight, batch)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        g, weight, ctx.batch = inputs
        ctx.save_for_backward(g, weight)
        ctx.save_for_forward(g, weight)

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        g, weight = ctx.saved_tensors
        return (
            _Product.apply(u, weight, None, None, ctx.batch) if ctx.needs_input_grad[0] else None,
            _Edges.apply(g, u, ctx.batch) if ctx.needs_input_grad[1] else None,
            None,
        )

    @staticmethod
    def jvp(ctx: Any, dg: Any, dw: Any, _: None) -> Tensor:
        g, weight = ctx.saved_tensors
        return total(
            None if dg is None else _Codebook.apply(dg, weight, ctx.batch),
            None if dw is None else _Codebook.apply(g, dw, ctx.batch),
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Tensor, int]:
        return _each(info, in_dims, _Codebook, inputs)


# torch.compile and torch.export.

_library_op = torch.library.custom_op


def _sizes(codes: Tensor, weight: Tensor) -> tuple[int, int]:
    """Variants and weights, as far as the tensors tell."""
    return codes.shape[1] if codes is not None and codes.dim() == 3 else -1, weights_of(weight)


def _fit_variants(wiring: Wiring) -> None:
    if wiring.unit_ptr_in is not None:
        raise KernelError("`unit_ptr_in` is given; every variant is one unit: leave it None.")


@_library_op("vnn::packed_product", mutates_args=())
def _op_product(
    codebook: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    addend: Tensor | None,
    codes: Tensor,
    panels: Tensor,
    ptr: Tensor,
    src: Tensor,
    ptr_t: Tensor,
    tgt_t: Tensor,
    perm_t: Tensor,
    unit_ptr_in: Tensor | None,
    unit_ptr_out: Tensor | None,
    block_ptr: Tensor | None,
    batch: int,
    n_out: int,
) -> Tensor:
    index = (ptr, src, ptr_t, tgt_t, perm_t, unit_ptr_in, unit_ptr_out, block_ptr)
    wiring = Wiring(*index, n_out, *_sizes(codes, weight))
    fit("weight", weight, (None, None), None, ptr)
    fit_parts(weight, bias, addend, wiring, weight.dtype, batch)
    _fit_variants(wiring)
    fit("codebook", codebook, (wiring.n_in, 4), weight.dtype, weight)
    Packed(codes, panels, codebook, batch).check()
    return _forward(codebook, weight, bias, addend, _Batch(codes, panels, batch, wiring))


@_op_product.register_fake
def _(codebook: Tensor, weight: Tensor, *rest: Any) -> Tensor:
    *_, batch, n_out = rest
    return weight.new_empty(n_out, weight.shape[1], batch)


@_library_op("vnn::packed_edge_product", mutates_args=())
def _op_edges(
    g: Tensor,
    codebook: Tensor,
    codes: Tensor,
    panels: Tensor,
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
    fit("codebook", codebook, (None, 4), None, ptr)
    fit("g", g, (None, None, None), codebook.dtype, ptr)
    wiring = Wiring(*index, g.shape[0], _sizes(codes, codebook)[0], n_weights)
    wiring.check()
    _fit_variants(wiring)
    fit_wirings(wiring, g.shape[1])
    Packed(codes, panels, codebook, g.shape[2]).check()
    return _edges(g, codebook, _Batch(codes, panels, g.shape[2], wiring))


@_op_edges.register_fake
def _(g: Tensor, *rest: Any) -> Tensor:
    n_weights = rest[-1]
    return g.new_empty(n_weights, g.shape[1])


@_library_op("vnn::packed_codebook", mutates_args=())
def _op_codebook(
    g: Tensor,
    weight: Tensor,
    codes: Tensor,
    panels: Tensor,
    ptr: Tensor,
    src: Tensor,
    ptr_t: Tensor,
    tgt_t: Tensor,
    perm_t: Tensor,
    unit_ptr_in: Tensor | None,
    unit_ptr_out: Tensor | None,
    block_ptr: Tensor | None,
) -> Tensor:
    index = (ptr, src, ptr_t, tgt_t, perm_t, unit_ptr_in, unit_ptr_out, block_ptr)
    fit("weight", weight, (None, None), None, ptr)
    fit("g", g, (None, None, None), weight.dtype, ptr)
    wiring = Wiring(*index, g.shape[0], *_sizes(codes, weight))
    fit_parts(weight, None, g, wiring, g.dtype, g.shape[2])
    _fit_variants(wiring)
    Packed(codes, panels, weight.new_empty(wiring.n_in, 4), g.shape[2]).check()
    return _codebook(g, weight, _Batch(codes, panels, g.shape[2], wiring))


@_op_codebook.register_fake
def _(g: Tensor, weight: Tensor, codes: Tensor, *rest: Any) -> Tensor:
    return weight.new_empty(codes.shape[1], 4)


_ops = torch.ops.vnn


def _setup_product(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    codebook, weight, bias, addend, *index, ctx.size, _ = inputs
    ctx.given = bias is not None, addend is not None
    ctx.save_for_backward(codebook, weight, *index)


def _backward_product(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    codebook, weight, *index = ctx.saved_tensors
    needs = ctx.needs_input_grad
    return (
        _ops.packed_codebook(g, weight, *index) if needs[0] else None,
        _ops.packed_edge_product(g, codebook, *index, weight.shape[0]) if needs[1] else None,
        _ops.row_sum(g) if needs[2] and ctx.given[0] else None,
        g if needs[3] and ctx.given[1] else None,
        *[None] * 12,
    )


def _setup_edges(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:12])


def _backward_edges(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
    g, codebook, *index = ctx.saved_tensors
    return (
        _ops.packed_product(codebook, v, None, None, *index, g.shape[2], g.shape[0])
        if ctx.needs_input_grad[0]
        else None,
        _ops.packed_codebook(g, v, *index) if ctx.needs_input_grad[1] else None,
        *[None] * 11,
    )


def _backward_codebook(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
    g, weight, *index = ctx.saved_tensors
    return (
        _ops.packed_product(u, weight, None, None, *index, g.shape[2], g.shape[0]) if ctx.needs_input_grad[0] else None,
        _ops.packed_edge_product(g, u, *index, weight.shape[0]) if ctx.needs_input_grad[1] else None,
        *[None] * 10,
    )


_op_product.register_autograd(_backward_product, setup_context=_setup_product)
_op_edges.register_autograd(_backward_edges, setup_context=_setup_edges)
_op_codebook.register_autograd(_backward_codebook, setup_context=_setup_edges)

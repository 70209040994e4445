"""The calls of the compiled kernels: what each is given, and how much work it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ctypes import Structure, c_double, c_float, c_int32, c_int64, c_uint8, c_void_p
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vnn._errors import KernelError
from vnn.kernels.graph import Wiring
from vnn.kernels.packed import Packed

SUFFIX = {torch.float32: "f32", torch.float64: "f64", torch.bfloat16: "bf16"}
SHAPES = {"tanh": 0, "sigmoid": 1, "relu": 2, "softsign": 3, "linear": 4}
TASKS = {"binary": 0, "multiclass": 1, "regression": 2}


class Call(NamedTuple):
    """One call of a kernel.

    Parameters
    ----------
    kernel
        Its name.
    dtype
        Of the values.
    arguments
        What it is given; addresses only, so that the tensors must outlive it.
    work
        About how many values it goes through.
    """

    kernel: str
    dtype: torch.dtype
    arguments: Structure
    work: int

    @property
    def symbol(self) -> str:
        """The name with that of the dtype.

        Raises
        ------
        KernelError
            If the kernels do not take this dtype.
        """
        if self.dtype not in SUFFIX:
            raise KernelError(
                f"the CPU kernels take float32 and float64, and activations in bfloat16, not {self.kernel} in "
                f"{self.dtype}; convert, or use VNN_BACKEND=reference."
            )
        return f"{self.kernel}_{SUFFIX[self.dtype]}"


BLOCK = 1 << 22  # bytes of the values that calls of some rows pass on: they stay in the cache
ROWWISE = {
    "packed_product": ("bias", "addend y"),
    "packed_edge_product": ("", "g"),
    "backward": ("", "x dx"),
    "row_sum": ("y", "x"),
    "normalise": ("gain bias running_mean running_variance mean variance", "x y"),
    "normalise_backward": ("gain mean variance dgain dbias", "x y g dx"),
}
"""Kernels that do one row after the other: what has a value for each row and replicate, and what also for each sample."""


def by_blocks(calls: Sequence[Call], shape: Sequence[int]) -> list[Call]:
    """The same calls; those that follow each other and do one row after the other, of values (rows, R, batch), by blocks of rows.

    What one call leaves is near when the next reads it.
    """
    n_rows, row = shape[0], shape[1] * shape[2]
    made: list[Call] = []
    for rowwise, run in groupby(calls, lambda call: call.kernel in ROWWISE and _units_apart(call.arguments)):
        some = list(run)
        size = max(BLOCK // max(row * some[0].dtype.itemsize, 1), 1)
        if not rowwise or len(some) == 1 or n_rows <= size:
            made += some
            continue
        for at in range(0, n_rows, size):
            made += [_of_rows(call, at, min(at + size, n_rows), n_rows) for call in some]
    return made


def _units_apart(arguments: Structure) -> bool:
    """Whether every node is one row."""
    edges = getattr(arguments, "edges", None)
    return edges is None or not (edges.units or edges.from_units or edges.block)


def _of_rows(call: Call, first: int, last: int, n_rows: int) -> Call:
    made = type(call.arguments).from_buffer_copy(call.arguments)
    each = made.replicates if hasattr(made, "replicates") else made.rows // n_rows
    if hasattr(made, "edges"):
        made.edges.n_nodes = last - first
        made.edges.ptr += first * made.edges.pointers * 4
    else:
        made.rows = made.rows // n_rows * (last - first)
    for names, length in zip(ROWWISE[call.kernel], (each, each * made.batch), strict=True):
        for name in names.split():
            if at := getattr(made, name):
                setattr(made, name, at + first * length * call.dtype.itemsize)
    return Call(call.kernel, call.dtype, made, call.work * (last - first) // n_rows)


class _Edges(Structure):
    _fields_ = [
        ("n_nodes", c_int64), ("wirings", c_int64), ("pointers", c_int64), ("ptr", c_void_p), ("from", c_void_p),
        ("edge", c_void_p), ("units", c_void_p), ("from_units", c_void_p), ("block", c_void_p),
    ]  # fmt: skip


class _Product(Structure):
    _fields_ = [
        ("edges", _Edges), ("transposed", c_uint8), ("x_replicates", c_int64), ("y_replicates", c_int64),
        ("replicates", c_int64), ("batch", c_int64), ("n_in", c_int64),
        ("x", c_void_p), ("weight", c_void_p), ("bias", c_void_p), ("addend", c_void_p), ("y", c_void_p),
    ]  # fmt: skip


class _EdgeProduct(Structure):
    _fields_ = [
        ("edges", _Edges), ("x_replicates", c_int64), ("replicates", c_int64), ("batch", c_int64),
        ("g", c_void_p), ("x", c_void_p), ("weight", c_void_p),
    ]  # fmt: skip


class _Backward(Structure):
    _fields_ = [
        ("edges", _Edges), ("replicates", c_int64), ("batch", c_int64),
        ("g", c_void_p), ("x", c_void_p), ("weight", c_void_p), ("dx", c_void_p), ("dw", c_void_p),
    ]  # fmt: skip


class _Codes(Structure):
    _fields_ = [
        ("at", c_void_p), ("panel_stride", c_int64), ("variant_stride", c_int64), ("panels", c_void_p),
        ("n_panels", c_int64),
    ]  # fmt: skip


class _PackedProduct(Structure):
    _fields_ = [
        ("edges", _Edges), ("codes", _Codes), ("replicates", c_int64), ("batch", c_int64),
        ("codebook", c_void_p), ("weight", c_void_p), ("bias", c_void_p), ("addend", c_void_p), ("y", c_void_p),
    ]  # fmt: skip


class _PackedGradient(Structure):
    _fields_ = [
        ("edges", _Edges), ("codes", _Codes), ("replicates", c_int64), ("batch", c_int64),
        ("first", c_void_p), ("g", c_void_p), ("result", c_void_p),
    ]  # fmt: skip


class _RowSum(Structure):
    _fields_ = [("rows", c_int64), ("batch", c_int64), ("x", c_void_p), ("y", c_void_p)]


class _Dropout(Structure):
    _fields_ = [
        ("rows", c_int64), ("replicates", c_int64), ("batch", c_int64),
        ("keys", c_void_p), ("node", c_void_p), ("rates", c_int64), ("threshold", c_void_p), ("scale", c_void_p),
        ("samples", c_void_p), ("x", c_void_p), ("y", c_void_p),
    ]  # fmt: skip


def _by_dtype(name: str, fields: Callable[[Any], list[tuple[str, Any]]]) -> dict[torch.dtype, type[Structure]]:
    return {
        dtype: type(name, (Structure,), {"_fields_": fields(real)})
        for dtype, real in ((torch.float32, c_float), (torch.float64, c_double))
    }


def _pointers(names: str) -> list[tuple[str, Any]]:
    return [(name, c_void_p) for name in names.split()]


def _sizes(names: str) -> list[tuple[str, Any]]:
    return [(name, c_int64) for name in names.split()]


_Adam = _by_dtype("Adam", lambda real: [
    *_sizes("rows replicates"), ("beta1", real), ("beta2", real), ("eps", real), ("decoupled", c_int32),
    *_pointers("lr decay correction1 correction2 factor active grad parameter mean square"),
])  # fmt: skip
_Descent = _by_dtype("Descent", lambda real: [
    *_sizes("rows replicates"), ("momentum", real), *_pointers("lr decay factor active grad parameter velocity"),
])  # fmt: skip
_Normalise = _by_dtype("Normalise", lambda real: [
    *_sizes("rows replicates batch shape"), ("momentum", real), ("eps", real),
    *_pointers("share gain bias x running_mean running_variance mean variance y"),
])  # fmt: skip
_NormaliseBackward = _by_dtype("NormaliseBackward", lambda real: [
    *_sizes("rows replicates batch shape"), ("eps", real), *_pointers("share gain mean variance x y g dx dgain dbias"),
])  # fmt: skip
_Affine = _by_dtype("Affine", lambda real: [
    *_sizes("items batch"), ("eps", real), *_pointers("gain bias mean variance x y"),
])  # fmt: skip

_Shrink = _by_dtype("Shrink", lambda real: [*_sizes("rows replicates"), ("rate", real), *_pointers("lr active x")])
_Lean = _by_dtype("Lean", lambda real: [*_sizes("rows replicates batch"), ("rate", real), *_pointers("share x dx")])


class _Judge(Structure):
    _fields_ = [
        *_sizes("replicates"), ("most", c_double), ("beta1", c_double), ("beta2", c_double),
        *_pointers("squares loss counted alive steps active sound factor correction1 correction2"),
    ]  # fmt: skip


class _Entrance(Structure):
    _fields_ = [
        *_sizes("rows replicates batch"),
        *_pointers("x missing scale shift fill keys node"),
        *_sizes("rates"),
        *_pointers("threshold kept samples y"),
    ]


class _Activate(Structure):
    _fields_ = [*_sizes("count shape"), *_pointers("x y")]


class _ActivateBackward(Structure):
    _fields_ = [*_sizes("count shape"), *_pointers("g y dx")]


class _Squares(Structure):
    _fields_ = [*_sizes("rows replicates"), *_pointers("x sums")]


class _Columns(Structure):
    _fields_ = [*_sizes("rows stride batch width"), *_pointers("at x y missing")]


class _FoldScaling(Structure):
    _fields_ = [
        *_sizes("rows replicates outs wirings"),
        *_pointers("source target weight scale shift fill own_bias folded filled bias"),
    ]  # fmt: skip


class _FoldScalingBackward(Structure):
    _fields_ = [
        *_sizes("rows replicates wirings"), *_pointers("source target folded filled bias scale shift fill weight"),
    ]  # fmt: skip


class _Loss(Structure):
    _fields_ = [
        *_sizes("heads targets replicates batch task"), ("head_weight", c_double),
        *_pointers("logits target share gradient total loss"),
    ]  # fmt: skip


def _at(tensor: Tensor | None) -> int | None:
    if tensor is None:
        return None
    at = tensor.data_ptr()
    if not at and tensor.numel():
        raise KernelError(f"a tensor of shape {tuple(tensor.shape)} has no memory: {type(tensor).__name__}.")
    return at


def _edges(wiring: Wiring, *, by_source: bool = False) -> _Edges:
    """The edges grouped by target, or by source."""
    own = wiring.n_wirings
    if by_source:
        tensors = (wiring.ptr_t, wiring.tgt_t, wiring.perm_t, wiring.unit_ptr_in, wiring.unit_ptr_out)
        return _Edges(len(wiring.ptr_t) - 1, own, own, *map(_at, tensors), _at(wiring.block_ptr))
    forward = (wiring.ptr, wiring.src, None, wiring.unit_ptr_out, wiring.unit_ptr_in)
    return _Edges(len(wiring.ptr) - 1, own, 1, *map(_at, forward), _at(wiring.block_ptr))


def _codes(packed: Packed) -> _Codes:
    codes, panels = packed.codes, packed.panels
    return _Codes(_at(codes), codes.stride(0), codes.stride(1), _at(panels), len(panels))


# Every tensor is contiguous and of the dtype and shape the kernel needs: the callers see to it.


def product(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    addend: Tensor | None,
    y: Tensor,
    wiring: Wiring,
    *,
    transposed: bool,
) -> Call:
    """y (n, R or 1, batch) from x; `addend` may be y itself."""
    n_replicates, batch = weight.shape[1], x.shape[2]
    arguments = _Product(
        _edges(wiring, by_source=transposed), transposed, x.shape[1], y.shape[1], n_replicates, batch, len(x),
        _at(x), _at(weight), _at(bias), _at(addend), _at(y),
    )  # fmt: skip
    return Call("product", x.dtype, arguments, weight.numel() * batch + y.numel())


def edge_product(g: Tensor, x: Tensor, weight: Tensor, wiring: Wiring) -> Call:
    """The gradient `weight` (n_weights, R)."""
    n_replicates, batch = g.shape[1], g.shape[2]
    arguments = _EdgeProduct(_edges(wiring), x.shape[1], n_replicates, batch, _at(g), _at(x), _at(weight))
    return Call("edge_product", g.dtype, arguments, weight.numel() * batch)


def backward(g: Tensor, x: Tensor, weight: Tensor, dx: Tensor, dw: Tensor, wiring: Wiring) -> Call:
    """Both gradients, where every node is one unit and every replicate has its own x."""
    arguments = _Backward(
        _edges(wiring, by_source=True), weight.shape[1], x.shape[2], _at(g), _at(x), _at(weight), _at(dx), _at(dw)
    )
    return Call("backward", x.dtype, arguments, 2 * weight.numel() * x.shape[2] + dx.numel())


def packed_product(
    packed: Packed,
    codebook: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    addend: Tensor | None,
    y: Tensor,
    wiring: Wiring,
) -> Call:
    """y (n_out, R, batch) from genotypes."""
    arguments = _PackedProduct(
        _edges(wiring), _codes(packed), weight.shape[1], packed.batch,
        _at(codebook), _at(weight), _at(bias), _at(addend), _at(y),
    )  # fmt: skip
    return Call("packed_product", weight.dtype, arguments, weight.numel() * packed.batch + y.numel())


def packed_edge_product(g: Tensor, packed: Packed, codebook: Tensor, weight: Tensor, wiring: Wiring) -> Call:
    """The gradient `weight` (n_weights, R)."""
    arguments = _PackedGradient(
        _edges(wiring), _codes(packed), g.shape[1], packed.batch, _at(codebook), _at(g), _at(weight)
    )
    return Call("packed_edge_product", g.dtype, arguments, weight.numel() * packed.batch)


def packed_codebook(g: Tensor, weight: Tensor, packed: Packed, codebook: Tensor, wiring: Wiring) -> Call:
    """The gradient `codebook` (n_variants, 4)."""
    arguments = _PackedGradient(
        _edges(wiring, by_source=True), _codes(packed), g.shape[1], packed.batch, _at(weight), _at(g), _at(codebook)
    )
    return Call("packed_codebook", g.dtype, arguments, weight.numel() * packed.batch + codebook.numel())


def row_sum(x: Tensor, y: Tensor) -> Call:
    """y, x summed over its last axis."""
    return Call("row_sum", x.dtype, _RowSum(y.numel(), x.shape[-1], _at(x), _at(y)), x.numel())


def _rates(threshold: Tensor) -> int:
    return threshold.shape[1] if threshold.dim() > 1 else 1


def dropout(x: Tensor, keys: Tensor, node: Tensor, threshold: Tensor, kept: Tensor, samples: Tensor, y: Tensor) -> Call:
    """y (n_units, R, batch); `keys` and `threshold`, of one column or one per replicate, are uint32."""
    arguments = _Dropout(*x.shape, _at(keys), _at(node), _rates(threshold), *map(_at, (threshold, kept, samples, x, y)))
    return Call("dropout", x.dtype, arguments, 2 * x.numel())


def entrance(
    x: Tensor, missing: Tensor | None, scale: Tensor, shift: Tensor, fill: Tensor,
    keys: Tensor, node: Tensor, threshold: Tensor, kept: Tensor, samples: Tensor, y: Tensor,
) -> Call:  # fmt: skip
    """Inputs x (n_in, 1, batch) as each replicate scales and drops them, y (n_in, R, batch)."""
    arguments = _Entrance(
        *y.shape,
        *map(_at, (x, missing, scale, shift, fill, keys, node)),
        _rates(threshold),
        *map(_at, (threshold, kept, samples, y)),
    )
    return Call("entrance", x.dtype, arguments, 2 * y.numel())


def adam(
    parameter: Tensor, grad: Tensor, mean: Tensor, square: Tensor, *, lr: Tensor, decay: Tensor,
    correction1: Tensor, correction2: Tensor, active: Tensor, beta1: float, beta2: float, eps: float, decoupled: bool,
    factor: Tensor | None = None,
) -> Call:  # fmt: skip
    """One step in place; gradients are multiplied by `factor` (R,)."""
    n_replicates = parameter.shape[-1]
    arguments = _Adam[parameter.dtype](
        parameter.numel() // max(n_replicates, 1), n_replicates, beta1, beta2, eps, decoupled,
        *map(_at, (lr, decay, correction1, correction2, factor, active, grad, parameter, mean, square)),
    )  # fmt: skip
    return Call("adam", parameter.dtype, arguments, parameter.numel())


def descent(
    parameter: Tensor, grad: Tensor, velocity: Tensor, *, lr: Tensor, decay: Tensor, momentum: float, active: Tensor,
    factor: Tensor,
) -> Call:  # fmt: skip
    """One step of gradient descent with momentum, in place."""
    n_replicates = parameter.shape[-1]
    arguments = _Descent[parameter.dtype](
        parameter.numel() // max(n_replicates, 1), n_replicates, momentum,
        *map(_at, (lr, decay, factor, active, grad, parameter, velocity)),
    )  # fmt: skip
    return Call("descent", parameter.dtype, arguments, parameter.numel())


def judge(
    squares: Tensor, loss: Tensor, counted: Tensor, alive: Tensor, steps: Tensor, active: Tensor, sound: Tensor,
    factor: Tensor, correction1: Tensor, correction2: Tensor, *, most: float, beta1: float, beta2: float,
) -> Call:  # fmt: skip
    """Which replicates step, and with what; the sums of `squares` start again from 0."""
    found = (squares, loss, counted, alive, steps, active, sound, factor, correction1, correction2)
    return Call("judge", loss.dtype, _Judge(len(loss), most, beta1, beta2, *map(_at, found)), len(loss))


def normalise(
    x: Tensor, share: Tensor, gain: Tensor, bias: Tensor, running_mean: Tensor, running_variance: Tensor,
    mean: Tensor, variance: Tensor, y: Tensor, *, momentum: float, eps: float, shape: str = "linear",
) -> Call:  # fmt: skip
    """y, the activation of x standardised over the batch; its mean and variance; running statistics moved."""
    found = (share, gain, bias, x, running_mean, running_variance, mean, variance, y)
    arguments = _Normalise[x.dtype](*x.shape, SHAPES[shape], momentum, eps, *map(_at, found))
    return Call("normalise", x.dtype, arguments, 4 * x.numel())


def normalise_backward(
    g: Tensor, x: Tensor, share: Tensor, gain: Tensor, mean: Tensor, variance: Tensor,
    dx: Tensor, dgain: Tensor, dbias: Tensor, *, eps: float, y: Tensor | None = None, shape: str = "linear",
) -> Call:  # fmt: skip
    """The gradients of `normalise` from that at its result y, which only a shape needs; dx may be g itself."""
    found = (share, gain, mean, variance, x, y, g, dx, dgain, dbias)
    arguments = _NormaliseBackward[x.dtype](*x.shape, SHAPES[shape], eps, *map(_at, found))
    return Call("normalise_backward", x.dtype, arguments, 4 * x.numel())


def affine(x: Tensor, gain: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, y: Tensor, *, eps: float) -> Call:
    """y, x standardised by running statistics; y may be x itself."""
    arguments = _Affine[x.dtype](gain.numel(), x.shape[-1], eps, *map(_at, (gain, bias, mean, variance, x, y)))
    return Call("affine", x.dtype, arguments, x.numel())


def activate(x: Tensor, y: Tensor, shape: str) -> Call:
    """y, the activation of x; y may be x itself."""
    return Call("activate", x.dtype, _Activate(x.numel(), SHAPES[shape], _at(x), _at(y)), 4 * x.numel())


def activate_backward(g: Tensor, y: Tensor, dx: Tensor, shape: str) -> Call:
    """dx from the activation y and its gradient g; dx may be g itself."""
    arguments = _ActivateBackward(y.numel(), SHAPES[shape], _at(g), _at(y), _at(dx))
    return Call("activate_backward", y.dtype, arguments, y.numel())


def shrink(x: Tensor, *, lr: Tensor, active: Tensor, rate: float) -> Call:
    """x (n, R) of active replicates nearer to 0 by lr * rate, in place."""
    arguments = _Shrink[x.dtype](*x.shape, rate, *map(_at, (lr, active, x)))
    return Call("shrink", x.dtype, arguments, x.numel())


def lean(x: Tensor, share: Tensor, dx: Tensor, *, rate: float) -> Call:
    """The gradient of rate times the mean absolute value of x, summed over units, added to dx."""
    return Call("lean", x.dtype, _Lean[x.dtype](*x.shape, rate, *map(_at, (share, x, dx))), x.numel())


def squares(x: Tensor, sums: Tensor) -> Call:
    """The squares of x, added to `sums` (R,), float64."""
    n_replicates = x.shape[-1]
    arguments = _Squares(x.numel() // max(n_replicates, 1), n_replicates, _at(x), _at(sums))
    return Call("squares", x.dtype, arguments, x.numel())


def columns(x: Tensor, at: Tensor, y: Tensor, missing: Tensor | None) -> Call:
    """Columns `at` of x, whose rows are contiguous, as y (n_in, 1, width)."""
    arguments = _Columns(len(x), x.stride(0), len(at), y.shape[2], _at(at), _at(x), _at(y), _at(missing))
    return Call("columns", x.dtype, arguments, 4 * y.numel())


def fold_scaling(
    source: Tensor, target: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, fill: Tensor, own_bias: Tensor | None,
    folded: Tensor, filled: Tensor | None, bias: Tensor,
) -> Call:  # fmt: skip
    """Weights and bias for raw inputs, the scaling of each replicate folded in."""
    found = (source, target, weight, scale, shift, fill, own_bias, folded, filled, bias)
    arguments = _FoldScaling(*weight.shape, len(bias), source[:1].numel() or 1, *map(_at, found))
    return Call("fold_scaling", weight.dtype, arguments, 4 * weight.numel())


def fold_scaling_backward(
    source: Tensor, target: Tensor, folded: Tensor, filled: Tensor | None, bias: Tensor, scale: Tensor, shift: Tensor,
    fill: Tensor, weight: Tensor,
) -> Call:  # fmt: skip
    """The gradient `weight` from those of the results of `fold_scaling`."""
    found = (source, target, folded, filled, bias, scale, shift, fill, weight)
    arguments = _FoldScalingBackward(*weight.shape, source[:1].numel() or 1, *map(_at, found))
    return Call("fold_scaling_backward", weight.dtype, arguments, 4 * weight.numel())


def loss(
    task: str, logits: Tensor, target: Tensor, share: Tensor, gradient: Tensor | None, total: Tensor | None, loss: Tensor,
    *, head_weight: float,
) -> Call:  # fmt: skip
    """The loss (R,) of logits (heads, targets, R, batch), and their gradient; samples without a share change no bit."""
    arguments = _Loss(
        *logits.shape, TASKS[task], head_weight, *map(_at, (logits, target, share, gradient, total, loss))
    )
    return Call("loss", logits.dtype, arguments, 64 * logits.numel())

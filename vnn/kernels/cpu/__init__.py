"""The compiled kernels for the CPU, reached through a plain C interface.

The library knows nothing of torch or Python, so one binary serves every version of both.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from ctypes import Structure, byref, c_char_p, c_double, c_float, c_int, c_int32, c_int64, c_uint8, c_void_p
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import torch  # loads the OpenMP runtime that the library below then shares
from torch import Tensor
from torch.autograd.graph import increment_version

from vnn._errors import KernelError
from vnn.kernels.graph import Wiring
from vnn.kernels.memory import empty
from vnn.kernels.packed import Packed
from vnn.kernels.reference import wide

ABI = 4
_forked = False
_suffix = {torch.float32: "f32", torch.float64: "f64", torch.bfloat16: "bf16"}


def _after_fork() -> None:
    global _forked
    _forked = True


os.register_at_fork(after_in_child=_after_fork)


def library_path() -> Path | None:
    """Where the compiled library lies, or None where it was not built."""
    for name in ("libvnn_cpu.so", "libvnn_cpu.dylib"):
        found = resources.files("vnn") / "kernels" / "cpu" / name
        if found.is_file():
            return Path(str(found))
    return None


@cache
def library() -> ctypes.CDLL:
    """The loaded library.

    Raises
    ------
    KernelError
        If it was not built, cannot be loaded, or was built for another version of vnn.
    """
    path = library_path()
    if path is None:
        raise KernelError(
            "the compiled kernels are not installed; reinstall vnn with a C++ compiler on the path "
            "(pip install -v shows why the build failed), or set VNN_BACKEND=reference."
        )
    try:
        loaded = ctypes.CDLL(str(path))
        abi = loaded.vnn_abi()
    except (OSError, AttributeError) as error:
        raise KernelError(f"{path} is there but cannot be loaded: {error}. Reinstall vnn.") from error
    if abi != ABI:
        raise KernelError(f"{path} was built for kernel interface {abi}, this vnn has {ABI}. Reinstall vnn.")
    loaded.vnn_simd.restype = c_char_p
    loaded.vnn_choose_simd.argtypes = [c_char_p]
    if wanted := os.environ.get("VNN_SIMD"):
        _choose(loaded, wanted)
    return loaded


def simd() -> str:
    """The instruction set in use: "avx512", "avx2" or "portable"."""
    return library().vnn_simd().decode()


def choose_simd(name: str) -> None:
    """Use the instruction set `name`; for comparison, as is the environment variable VNN_SIMD.

    Raises
    ------
    KernelError
        If this processor does not have it.
    """
    _choose(library(), name)


def _choose(loaded: ctypes.CDLL, name: str) -> None:
    if loaded.vnn_choose_simd(name.encode()):
        raise KernelError(f"this processor or build has no {name!r} kernels; it uses {loaded.vnn_simd().decode()!r}.")


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
        ("keys", c_void_p), ("node", c_void_p), ("threshold", c_void_p), ("scale", c_void_p), ("samples", c_void_p),
        ("x", c_void_p), ("y", c_void_p),
    ]  # fmt: skip


def _adam_type(real: Any) -> type[Structure]:
    class Adam(Structure):
        _fields_ = [
            ("rows", c_int64), ("replicates", c_int64), ("beta1", real), ("beta2", real), ("eps", real),
            ("decoupled", c_int32), ("lr", c_void_p), ("decay", c_void_p), ("correction1", c_void_p),
            ("correction2", c_void_p), ("active", c_void_p), ("grad", c_void_p), ("parameter", c_void_p),
            ("mean", c_void_p), ("square", c_void_p),
        ]  # fmt: skip

    return Adam


def _normalise_type(real: Any) -> type[Structure]:
    class Normalise(Structure):
        _fields_ = [
            ("rows", c_int64), ("replicates", c_int64), ("batch", c_int64), ("momentum", real), ("eps", real),
            ("share", c_void_p), ("gain", c_void_p), ("bias", c_void_p), ("x", c_void_p), ("running_mean", c_void_p),
            ("running_variance", c_void_p), ("mean", c_void_p), ("variance", c_void_p), ("y", c_void_p),
        ]  # fmt: skip

    return Normalise


def _normalise_backward_type(real: Any) -> type[Structure]:
    class NormaliseBackward(Structure):
        _fields_ = [
            ("rows", c_int64), ("replicates", c_int64), ("batch", c_int64), ("eps", real),
            ("share", c_void_p), ("gain", c_void_p), ("mean", c_void_p), ("variance", c_void_p), ("x", c_void_p),
            ("g", c_void_p), ("dx", c_void_p), ("dgain", c_void_p), ("dbias", c_void_p),
        ]  # fmt: skip

    return NormaliseBackward


class _Squares(Structure):
    _fields_ = [("rows", c_int64), ("replicates", c_int64), ("x", c_void_p), ("sums", c_void_p)]


class _Columns(Structure):
    _fields_ = [
        ("rows", c_int64), ("stride", c_int64), ("batch", c_int64), ("width", c_int64),
        ("at", c_void_p), ("x", c_void_p), ("y", c_void_p), ("missing", c_void_p),
    ]  # fmt: skip


_Adam = {torch.float32: _adam_type(c_float), torch.float64: _adam_type(c_double)}
_Normalise = {torch.float32: _normalise_type(c_float), torch.float64: _normalise_type(c_double)}
_NormaliseBackward = {
    torch.float32: _normalise_backward_type(c_float),
    torch.float64: _normalise_backward_type(c_double),
}


def _threads(work: int) -> int:
    return 1 if _forked or work < 65536 else torch.get_num_threads()


def _call(name: str, like: Tensor, arguments: Structure, work: int) -> None:
    function = None
    if like.dtype in _suffix:
        function = getattr(library(), f"vnn_{name}_{_suffix[like.dtype]}", None)
    if function is None:
        raise KernelError(
            f"the CPU kernels take float32 and float64, and activations in bfloat16, not {name} in {like.dtype}; "
            "convert, or use VNN_BACKEND=reference."
        )
    function(byref(arguments), c_int(_threads(work)))


def _at(tensor: Tensor | None) -> int | None:
    if tensor is None:
        return None
    at = tensor.data_ptr()
    if not at and tensor.numel():
        raise KernelError(f"a tensor of shape {tuple(tensor.shape)} has no memory: {type(tensor).__name__}.")
    return at


def _contiguous(*tensors: Tensor | None) -> list[Any]:
    return [None if tensor is None else _aligned(tensor.contiguous()) for tensor in tensors]


def _aligned(tensor: Tensor) -> Tensor:
    """The tensor where its values start at a multiple of their size, as they do unless foreign memory is cut oddly."""
    return tensor.clone() if tensor.data_ptr() & 7 and tensor.data_ptr() % tensor.element_size() else tensor


def _edges(wiring: Wiring, *, by_source: bool = False) -> _Edges:
    """The edges grouped by target, or by source."""
    own = wiring.n_wirings
    if by_source:
        tensors = (wiring.ptr_t, wiring.tgt_t, wiring.perm_t, wiring.unit_ptr_in, wiring.unit_ptr_out)
        return _Edges(len(wiring.ptr_t) - 1, own, own, *map(_at, tensors), _at(wiring.block_ptr))
    forward = (wiring.ptr, wiring.src, None, wiring.unit_ptr_out, wiring.unit_ptr_in)
    return _Edges(len(wiring.ptr) - 1, own, 1, *map(_at, forward), _at(wiring.block_ptr))


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
    x, weight, bias, addend = _contiguous(x, weight, bias, addend)
    n_replicates, batch = weight.shape[1], x.shape[2]
    y = empty((wiring.n_in if transposed else wiring.n_out, 1 if shared else n_replicates, batch), x)
    arguments = _Product(
        _edges(wiring, by_source=transposed), transposed, x.shape[1], y.shape[1], n_replicates, batch, len(x),
        _at(x), _at(weight), _at(bias), _at(addend), _at(y),
    )  # fmt: skip
    _call("product", x, arguments, weight.numel() * batch + y.numel())
    return y


def edge_product(g: Tensor, x: Tensor, wiring: Wiring) -> Tensor:
    """See `vnn.kernels.reference.edge_product`."""
    g, x = _contiguous(g, x)
    n_replicates, batch = g.shape[1], g.shape[2]
    weight = empty((wiring.n_weights, n_replicates), wide(g))
    arguments = _EdgeProduct(_edges(wiring), x.shape[1], n_replicates, batch, _at(g), _at(x), _at(weight))
    _call("edge_product", g, arguments, weight.numel() * batch)
    return weight


def backward(g: Tensor, x: Tensor, weight: Tensor, wiring: Wiring) -> tuple[Tensor, Tensor] | None:
    """Both gradients of a product in one walk over its sources, or None where they are better taken apart.

    That is where nodes have several units or replicates share x.
    """
    if wiring.block_ptr is not None or x.shape[1] != weight.shape[1]:
        return None
    g, x, weight = _contiguous(g, x, weight)
    dx, dw = empty(tuple(x.shape), x), empty(tuple(weight.shape), weight)
    arguments = _Backward(
        _edges(wiring, by_source=True), weight.shape[1], x.shape[2], _at(g), _at(x), _at(weight), _at(dx), _at(dw)
    )
    _call("backward", x, arguments, 2 * weight.numel() * x.shape[2] + dx.numel())
    return dx, dw


def packed_product(
    packed: Packed, weight: Tensor, bias: Tensor | None, addend: Tensor | None, wiring: Wiring
) -> Tensor:
    """See `vnn.kernels.reference.packed_product`."""
    codebook, weight, bias, addend = _contiguous(packed.codebook.to(weight.dtype), weight, bias, addend)
    y = empty((wiring.n_out, weight.shape[1], packed.batch), weight)
    arguments = _PackedProduct(
        _edges(wiring), _codes(packed), weight.shape[1], packed.batch,
        _at(codebook), _at(weight), _at(bias), _at(addend), _at(y),
    )  # fmt: skip
    _call("packed_product", weight, arguments, weight.numel() * packed.batch + y.numel())
    return y


def packed_edge_product(g: Tensor, packed: Packed, wiring: Wiring) -> Tensor:
    """See `vnn.kernels.reference.packed_edge_product`."""
    codebook, g = _contiguous(packed.codebook.to(g.dtype), g)
    weight = empty((wiring.n_weights, g.shape[1]), g)
    arguments = _PackedGradient(
        _edges(wiring), _codes(packed), g.shape[1], packed.batch, _at(codebook), _at(g), _at(weight)
    )
    _call("packed_edge_product", g, arguments, weight.numel() * packed.batch)
    return weight


def packed_codebook(g: Tensor, weight: Tensor, packed: Packed, wiring: Wiring) -> Tensor:
    """See `vnn.kernels.reference.packed_codebook`."""
    g, weight = _contiguous(g, weight)
    codebook = weight.new_empty(packed.codebook.shape)
    arguments = _PackedGradient(
        _edges(wiring, by_source=True), _codes(packed), g.shape[1], packed.batch, _at(weight), _at(g), _at(codebook)
    )
    _call("packed_codebook", g, arguments, weight.numel() * packed.batch + codebook.numel())
    return codebook


def _codes(packed: Packed) -> _Codes:
    codes, panels = packed.codes, packed.panels
    return _Codes(_at(codes), codes.stride(0), codes.stride(1), _at(panels), len(panels))


def row_sum(x: Tensor) -> Tensor:
    """See `vnn.kernels.reference.row_sum`."""
    (x,) = _contiguous(x)
    y = wide(x.new_empty(x.shape[:-1]))
    _call("row_sum", x, _RowSum(y.numel(), x.shape[-1], _at(x), _at(y)), x.numel())
    return y


def dropout(x: Tensor, keys: Tensor, node: Tensor, threshold: Tensor, scale: Tensor, samples: Tensor) -> Tensor:
    """See `vnn.kernels.reference.dropout`."""
    (x,) = _contiguous(x)
    y = torch.empty_like(x)
    keys = keys.to(torch.uint32)
    threshold = threshold.to(torch.uint32)
    scale = scale.to(x.dtype)
    arguments = _Dropout(*x.shape, _at(keys), _at(node), _at(threshold), _at(scale), _at(samples), _at(x), _at(y))
    _call("dropout", x, arguments, x.numel())
    return y


def adam(
    parameter: Tensor,
    grad: Tensor,
    mean: Tensor,
    square: Tensor,
    *,
    lr: Tensor,
    decay: Tensor,
    correction1: Tensor,
    correction2: Tensor,
    active: Tensor,
    beta1: float,
    beta2: float,
    eps: float,
    decoupled: bool,
) -> None:
    """See `vnn.kernels.reference.adam`."""
    for name, held in (("parameter", parameter), ("mean", mean), ("square", square)):
        if not held.is_contiguous():
            raise KernelError(f"`{name}` is updated in place and must be contiguous; its strides are {held.stride()}.")
    grad = grad.contiguous()
    per_replicate = [value.to(parameter.dtype) for value in (lr, decay, correction1, correction2)]
    n_replicates = parameter.shape[-1]
    rows = parameter.numel() // max(n_replicates, 1)
    arguments = _Adam[parameter.dtype](
        rows, n_replicates, beta1, beta2, eps, decoupled, *map(_at, per_replicate), _at(active),
        _at(grad), _at(parameter), _at(mean), _at(square),
    )  # fmt: skip
    _call("adam", parameter, arguments, parameter.numel())
    increment_version((parameter, mean, square))


def normalise(
    x: Tensor, share: Tensor, gain: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, *, momentum: float, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """See `vnn.kernels.reference.normalise`."""
    x, share, gain, bias = _contiguous(x, share, gain, bias)
    y, now_mean, now_variance = empty(tuple(x.shape), x), torch.empty_like(gain), torch.empty_like(gain)
    arguments = _Normalise[x.dtype](
        *x.shape, momentum, eps, _at(share), _at(gain), _at(bias), _at(x), _at(mean), _at(variance),
        _at(now_mean), _at(now_variance), _at(y),
    )  # fmt: skip
    _call("normalise", x, arguments, 4 * x.numel())
    return y, now_mean, now_variance


def normalise_backward(
    g: Tensor, x: Tensor, share: Tensor, gain: Tensor, mean: Tensor, variance: Tensor, *, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """See `vnn.kernels.reference.normalise_backward`."""
    g, x, share, gain = _contiguous(g, x, share, gain)
    dx, dgain, dbias = empty(tuple(x.shape), x), torch.empty_like(gain), torch.empty_like(gain)
    arguments = _NormaliseBackward[x.dtype](
        *x.shape, eps, _at(share), _at(gain), _at(mean), _at(variance), _at(x), _at(g), _at(dx), _at(dgain), _at(dbias)
    )
    _call("normalise_backward", x, arguments, 4 * x.numel())
    return dx, dgain, dbias


def squares(tensors: Sequence[Tensor]) -> Tensor:
    """See `vnn.kernels.reference.squares`."""
    n_replicates = tensors[0].shape[-1]
    sums = torch.zeros(n_replicates, dtype=torch.float64)
    for tensor in tensors:
        held = tensor.contiguous()
        rows = held.numel() // max(n_replicates, 1)
        _call("squares", held, _Squares(rows, n_replicates, _at(held), _at(sums)), held.numel())
    return sums


def columns(x: Tensor, at: Tensor, width: int, *, imputes: bool) -> tuple[Tensor, Tensor | None]:
    """See `vnn.kernels.reference.columns`."""
    if x.stride(1) != 1:
        x = x.contiguous()
    y = empty((len(x), 1, width), x)
    missing = empty((len(x), 1, width), x) if imputes else None
    arguments = _Columns(len(x), x.stride(0), len(at), width, _at(at), _at(x), _at(y), _at(missing))
    _call("columns", x, arguments, 4 * y.numel())
    return y, missing

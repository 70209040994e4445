"""The compiled kernels for the CPU, reached through a plain C interface.

The library knows nothing of torch or Python, so one binary serves every version of both.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from ctypes import byref, c_char_p, c_int, c_int64, c_void_p
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import torch  # loads the OpenMP runtime that the library below then shares
from torch import Tensor
from torch.autograd.graph import increment_version

from vnn._errors import KernelError
from vnn.kernels.cpu import calls
from vnn.kernels.cpu.calls import Call
from vnn.kernels.graph import Wiring
from vnn.kernels.memory import empty
from vnn.kernels.packed import Packed
from vnn.kernels.reference import wide

ABI = 7
_forked = False
WORTH_THREADS = 65536


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
    loaded.vnn_number.argtypes = [c_char_p]
    loaded.vnn_run.argtypes = [c_void_p, c_int64, c_int]
    loaded.vnn_run_side_by_side.argtypes = [c_void_p, c_void_p, c_int64]
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


def threads_for(work: int) -> int:
    """Threads that so many values are worth; one in a process that was forked, whose other threads are gone."""
    return 1 if _forked or work < WORTH_THREADS else torch.get_num_threads()


def _do(call: Call) -> None:
    getattr(library(), f"vnn_{call.symbol}")(byref(call.arguments), c_int(threads_for(call.work)))


def _contiguous(*tensors: Tensor | None) -> list[Any]:
    return [None if tensor is None else _aligned(tensor.contiguous()) for tensor in tensors]


def _aligned(tensor: Tensor) -> Tensor:
    """The tensor where its values start at a multiple of their size, as they do unless foreign memory is cut oddly."""
    return tensor.clone() if tensor.data_ptr() & 7 and tensor.data_ptr() % tensor.element_size() else tensor


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
    y = empty((wiring.n_in if transposed else wiring.n_out, 1 if shared else weight.shape[1], x.shape[2]), x)
    _do(calls.product(x, weight, bias, addend, y, wiring, transposed=transposed))
    return y


def edge_product(g: Tensor, x: Tensor, wiring: Wiring) -> Tensor:
    """See `vnn.kernels.reference.edge_product`."""
    g, x = _contiguous(g, x)
    weight = empty((wiring.n_weights, g.shape[1]), wide(g))
    _do(calls.edge_product(g, x, weight, wiring))
    return weight


def backward(g: Tensor, x: Tensor, weight: Tensor, wiring: Wiring) -> tuple[Tensor, Tensor] | None:
    """Both gradients of a product in one walk over its sources, or None where they are better taken apart.

    That is where nodes have several units or replicates share x.
    """
    if wiring.block_ptr is not None or x.shape[1] != weight.shape[1]:
        return None
    g, x, weight = _contiguous(g, x, weight)
    dx, dw = empty(tuple(x.shape), x), empty(tuple(weight.shape), weight)
    _do(calls.backward(g, x, weight, dx, dw, wiring))
    return dx, dw


def packed_product(
    packed: Packed, weight: Tensor, bias: Tensor | None, addend: Tensor | None, wiring: Wiring
) -> Tensor:
    """See `vnn.kernels.reference.packed_product`."""
    codebook, weight, bias, addend = _contiguous(packed.codebook.to(weight.dtype), weight, bias, addend)
    y = empty((wiring.n_out, weight.shape[1], packed.batch), weight)
    _do(calls.packed_product(packed, codebook, weight, bias, addend, y, wiring))
    return y


def packed_edge_product(g: Tensor, packed: Packed, wiring: Wiring) -> Tensor:
    """See `vnn.kernels.reference.packed_edge_product`."""
    codebook, g = _contiguous(packed.codebook.to(g.dtype), g)
    weight = empty((wiring.n_weights, g.shape[1]), g)
    _do(calls.packed_edge_product(g, packed, codebook, weight, wiring))
    return weight


def packed_codebook(g: Tensor, weight: Tensor, packed: Packed, wiring: Wiring) -> Tensor:
    """See `vnn.kernels.reference.packed_codebook`."""
    g, weight = _contiguous(g, weight)
    codebook = weight.new_empty(packed.codebook.shape)
    _do(calls.packed_codebook(g, weight, packed, codebook, wiring))
    return codebook


def row_sum(x: Tensor) -> Tensor:
    """See `vnn.kernels.reference.row_sum`."""
    (x,) = _contiguous(x)
    y = wide(x.new_empty(x.shape[:-1]))
    _do(calls.row_sum(x, y))
    return y


def dropout(x: Tensor, keys: Tensor, node: Tensor, threshold: Tensor, scale: Tensor, samples: Tensor) -> Tensor:
    """See `vnn.kernels.reference.dropout`."""
    (x,) = _contiguous(x)
    y = torch.empty_like(x)
    keys, threshold, scale = keys.to(torch.uint32), threshold.to(torch.uint32), scale.to(x.dtype)
    _do(calls.dropout(x, keys, node, threshold, scale, samples, y))
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
    lr, decay, correction1, correction2 = (v.to(parameter.dtype) for v in (lr, decay, correction1, correction2))
    _do(
        calls.adam(
            parameter, grad, mean, square, lr=lr, decay=decay, correction1=correction1, correction2=correction2,
            active=active, beta1=beta1, beta2=beta2, eps=eps, decoupled=decoupled,
        )
    )  # fmt: skip
    increment_version((parameter, mean, square))


def normalise(
    x: Tensor, share: Tensor, gain: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, *, momentum: float, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """See `vnn.kernels.reference.normalise`."""
    x, share, gain, bias = _contiguous(x, share, gain, bias)
    y, now_mean, now_variance = empty(tuple(x.shape), x), torch.empty_like(gain), torch.empty_like(gain)
    _do(
        calls.normalise(
            x, share, gain, bias, mean, variance, now_mean, now_variance, y, momentum=momentum, eps=eps
        )
    )  # fmt: skip
    return y, now_mean, now_variance


def normalise_backward(
    g: Tensor, x: Tensor, share: Tensor, gain: Tensor, mean: Tensor, variance: Tensor, *, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """See `vnn.kernels.reference.normalise_backward`."""
    g, x, share, gain = _contiguous(g, x, share, gain)
    dx, dgain, dbias = empty(tuple(x.shape), x), torch.empty_like(gain), torch.empty_like(gain)
    _do(calls.normalise_backward(g, x, share, gain, mean, variance, dx, dgain, dbias, eps=eps))
    return dx, dgain, dbias


def squares(tensors: Sequence[Tensor]) -> Tensor:
    """See `vnn.kernels.reference.squares`."""
    n_replicates = tensors[0].shape[-1]
    sums = torch.zeros(n_replicates, dtype=torch.float64)
    for tensor in tensors:
        held = tensor.contiguous()
        _do(calls.squares(held, sums))
    return sums


def columns(x: Tensor, at: Tensor, width: int, *, imputes: bool) -> tuple[Tensor, Tensor | None]:
    """See `vnn.kernels.reference.columns`."""
    if x.stride(1) != 1:
        x = x.contiguous()
    y = empty((len(x), 1, width), x)
    missing = empty((len(x), 1, width), x) if imputes else None
    _do(calls.columns(x, at, y, missing))
    return y, missing

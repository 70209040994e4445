"""The kernels for NVIDIA GPUs, compiled when first used.

The source is CUDA C++ (`kernels.cu` and the headers beside it). NVRTC, which torch's CUDA wheels bring,
compiles one kernel the first time it is asked for; the driver launches it on torch's current stream.
Under `shim.h` the same source also runs on the CPU, for tests. docs/gpu.md explains the kernels.
"""

from __future__ import annotations

import os
from ctypes import Structure
from typing import Any

import torch
from torch import Tensor

from vnn._errors import KernelError
from vnn.kernels import reference
from vnn.kernels.cuda import arguments as args
from vnn.kernels.cuda import plans
from vnn.kernels.cuda.catalogue import REAL, STORAGE, Kernel, every_kernel, kernel, needs_tensor_cores, packs, vector
from vnn.kernels.cuda.device import launch
from vnn.kernels.graph import Wiring
from vnn.kernels.packed import Packed

WARPS_IN_BLOCK = 4
LANES = 16
_tensor_cores: bool | None = None


def available() -> bool:
    """Whether a GPU, its driver and NVRTC are here."""
    return not why_not()


def why_not() -> str:
    """What is missing, or nothing."""
    from vnn.kernels.cuda import driver, nvrtc

    if not torch.cuda.is_available():
        built = (
            f"torch {torch.__version__} was built without CUDA" if torch.version.cuda is None else "no GPU is visible"
        )
        return f"{built}; `python -c 'import torch; print(torch.cuda.is_available())'` must say True"
    try:
        driver.library()
        nvrtc.library()
        nvrtc.architecture(*torch.cuda.get_device_capability())
    except KernelError as error:
        return str(error)
    return ""


def describe() -> str:
    """The GPU, its architecture and the compiler, or why there is none."""
    from vnn.kernels.cuda import nvrtc

    if reason := why_not():
        return reason
    arch = nvrtc.architecture(*torch.cuda.get_device_capability())
    return f"{torch.cuda.get_device_name()}, {arch}, NVRTC {'.'.join(map(str, nvrtc.version()))}"


def warm(device: torch.device | str | int | None = None) -> None:
    """Compile and load every kernel now; a CUDA graph can then be captured without a first call.

    Raises
    ------
    KernelError
        If there is no GPU, or a kernel does not compile.
    """
    from vnn.kernels.cuda import driver

    if reason := why_not():
        raise KernelError(f"there is no GPU to compile the kernels for: {reason}.")
    index = torch.device("cuda" if device is None else device).index if not isinstance(device, int) else device
    index = torch.cuda.current_device() if index is None else index
    recent = torch.cuda.get_device_capability(index) >= (8, 0)
    driver.gpu(index).load(tuple(k for k in every_kernel() if recent or not needs_tensor_cores(k)))


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
    x, weight, bias, addend = _storage("x", x), weight.contiguous(), _contiguous(bias), _contiguous(addend)
    _fits("weight", weight, x, REAL_OF[x.dtype])
    _fits("bias", bias, x, REAL_OF[x.dtype])
    _fits("addend", addend, x, x.dtype)
    n_replicates, batch = weight.shape[1], x.shape[2]
    n_wirings = _wirings(wiring, x, n_replicates)
    y = x.new_empty(wiring.n_in if transposed else wiring.n_out, 1 if shared else n_replicates, batch)
    if shared and n_replicates == 0:
        return y.zero_()
    plan = plans.rows_plan(wiring, transposed=transposed)
    if shared and transposed and n_wirings > 1:  # each replicate has its own edges: one after the other
        total = y.new_zeros(y.shape, dtype=weight.dtype)
        for r in range(n_replicates):
            _product(x, weight, None, None, wiring, plan, y, transposed=True, only=r)
            total += y
        return total.to(x.dtype)
    _product(x, weight, bias, addend, wiring, plan, y, transposed=transposed)
    return y


def _product(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    addend: Tensor | None,
    wiring: Wiring,
    plan: plans.Plan,
    y: Tensor,
    *,
    transposed: bool,
    only: int | None = None,
) -> None:
    n_replicates, batch = weight.shape[1], x.shape[2]
    n_wirings = wiring.src.shape[1] if wiring.src.dim() == 2 else 1
    own_replicate = transposed and n_wirings > 1
    summed = y.shape[1] != n_replicates
    wide = vector(x.dtype)
    if wiring.block_ptr is not None or batch % wide or any(_odd(t) for t in (x, addend, y)):
        aligned = batch % wide == 0 and not any(_odd(t) for t in (x, addend, y))
        v, nv, rt, ragged = wide if aligned else 1, 1, 1, True
    elif x.shape[1] == 1 and n_replicates > 1 and n_wirings == 1 and not summed:
        v, nv, rt, ragged = wide, 1, 4, False
    else:
        v, nv, rt, ragged = wide, packs(x.dtype) if batch >= 64 * wide else 1, 1, False

    items, owners, rows = plan.items, plan.owners, plan.rows
    if only is not None:
        items, rows = (
            items[plan.starts[only] : plan.starts[only + 1]],
            rows[plan.row_starts[only] : plan.row_starts[only + 1]],
        )
        owners = None if owners is None else owners[plan.starts[only] : plan.starts[only + 1]]
    scratch_replicates = 1 if own_replicate else y.shape[1]
    scratch = weight.new_empty(plan.n_slots * scratch_replicates * batch) if plan.n_slots else None
    index: tuple[Any, ...]
    if transposed:
        index = (wiring.tgt_t, wiring.perm_t, n_wirings, wiring.unit_ptr_in, wiring.unit_ptr_out, wiring.block_ptr)
    else:
        index = (wiring.src, None, n_wirings, wiring.unit_ptr_out, wiring.unit_ptr_in, wiring.block_ptr)
    edges = _edges(items, owners, *index)
    name = STORAGE[x.dtype]
    tiles = 1 if summed or own_replicate else -(-n_replicates // rt)
    strips = -(-(batch // v) // nv)
    launch(
        kernel("product", name, v, nv, rt, ragged), x,
        args.Product(
            edges, transposed, x.shape[1], y.shape[1], n_replicates, batch, *map(_at, (x, weight, bias, addend, y, scratch))
        ),
        len(items) * tiles * strips,
    )  # fmt: skip
    _finish(rows, scratch_replicates, bias, addend, scratch, y)


def edge_product(g: Tensor, x: Tensor, wiring: Wiring) -> Tensor:
    """See `vnn.kernels.reference.edge_product`."""
    g, x = _storage("g", g), x.contiguous()
    _fits("x", x, g, g.dtype)
    n_replicates, batch = g.shape[1], g.shape[2]
    n_wirings = _wirings(wiring, g, n_replicates)
    weight = g.new_empty(wiring.n_weights, n_replicates, dtype=REAL_OF[g.dtype])
    v = _pack(batch, g, x)
    rows = plans.weight_plan(wiring)
    launch(
        kernel("edge_product", STORAGE[g.dtype], v), g,
        args.EdgeProduct(
            wiring.n_weights, n_replicates, x.shape[1], batch, _at(rows.target), _at(rows.edge), _at(wiring.src),
            n_wirings, *map(_at, (wiring.unit_ptr_in, wiring.block_ptr, g, x, weight)),
        ),
        weight.numel() * (LANES // v),
    )  # fmt: skip
    return weight


def row_sum(x: Tensor) -> Tensor:
    """See `vnn.kernels.reference.row_sum`."""
    x = _storage("x", x)
    y = x.new_empty(x.shape[:-1], dtype=REAL_OF[x.dtype])
    v = _pack(x.shape[-1], x)
    arguments = args.RowSum(y.numel(), x.shape[-1], _at(x), _at(y))
    launch(kernel("row_sum", STORAGE[x.dtype], v), x, arguments, y.numel() * (LANES // v))
    return y


def dropout(x: Tensor, keys: Tensor, node: Tensor, threshold: Tensor, scale: Tensor, samples: Tensor) -> Tensor:
    """See `vnn.kernels.reference.dropout`, which also runs where every replicate has rates of its own."""
    x = _storage("x", x)
    if threshold.dim() > 1:
        return reference.dropout(x, keys, node, threshold, scale, samples)
    y = torch.empty_like(x)
    converted = (
        keys.to(torch.uint32),
        node.int(),
        threshold.to(torch.uint32),
        scale.to(REAL_OF[x.dtype]),
        samples.long(),
    )
    given = [t.contiguous() for t in converted]
    for name, t in zip(("keys", "node", "threshold", "scale", "samples"), given, strict=True):
        _fits(name, t, x, t.dtype)
    launch(kernel("dropout", STORAGE[x.dtype]), x, args.Dropout(*x.shape, *map(_at, given), _at(x), _at(y)), x.numel())
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
    if parameter.dtype not in REAL:
        raise KernelError(f"`parameter` has dtype {parameter.dtype}; Adam on the GPU takes float32 or float64.")
    for name, held in (("parameter", parameter), ("mean", mean), ("square", square)):
        _fits(name, held, parameter, parameter.dtype)
        if not held.is_contiguous():
            raise KernelError(f"`{name}` is updated in place and must be contiguous; its strides are {held.stride()}.")
    per_replicate = [
        t.to(parameter.device, parameter.dtype).contiguous() for t in (lr, decay, correction1, correction2)
    ]
    active, grad = active.to(parameter.device).contiguous(), grad.contiguous()
    _fits("grad", grad, parameter, parameter.dtype)
    n_replicates = parameter.shape[-1]
    arguments = args.Adam(
        parameter.numel() // max(n_replicates, 1), n_replicates, beta1, beta2, eps, decoupled,
        *map(_at, (*per_replicate, active, grad, parameter, mean, square)),
    )  # fmt: skip
    launch(kernel("adam", REAL[parameter.dtype]), parameter, arguments, parameter.numel())


def packed_product(
    packed: Packed, weight: Tensor, bias: Tensor | None, addend: Tensor | None, wiring: Wiring
) -> Tensor:
    """See `vnn.kernels.reference.packed_product`."""
    codebook, panels = _packed(packed, weight)
    weight, bias, addend = weight.contiguous(), _contiguous(bias), _contiguous(addend)
    _fits("bias", bias, weight, weight.dtype)
    _fits("addend", addend, weight, weight.dtype)
    n_replicates = weight.shape[1]
    n_wirings = _wirings(wiring, weight, n_replicates)
    y = weight.new_empty(wiring.n_out, n_replicates, packed.batch)
    plan = plans.nodes_plan(wiring, plans.PART)
    scratch = weight.new_empty(plan.n_slots * n_replicates * packed.batch) if plan.n_slots else None
    edges = _edges(plan.items, plan.owners, wiring.src, None, n_wirings, wiring.unit_ptr_out, None, wiring.block_ptr)
    columns = plan.widest * n_replicates
    arguments = args.PackedProduct(
        _codes(packed, codebook, panels), edges, n_replicates, columns, *map(_at, (weight, bias, addend, y, scratch))
    )
    if tensor_cores() and weight.dtype == torch.float32 and n_wirings == 1:
        tiles = 2 if columns <= 16 else 4
        warps = len(plan.items) * -(-columns // (8 * tiles)) * len(panels)
        _warps(kernel("tensor_product", tiles), weight, arguments, warps, 0)
        _finish(plan.rows, n_replicates, bias, addend, scratch, y)
        return y
    rt = 4 if columns > 1 and n_wirings == 1 else 1
    np = min(4, 1 << (len(panels) - 1).bit_length()) if len(panels) else 1
    warps = len(plan.items) * -(-columns // rt) * -(-len(panels) // np)
    real = weight.dtype.itemsize
    stage = 32 * np * 16 + rt * (32 * 4 + 16 * 16) * real
    _warps(kernel("packed_product", REAL[weight.dtype], np, rt), weight, arguments, warps, stage)
    _finish(plan.rows, n_replicates, bias, addend, scratch, y)
    return y


def _finish(
    rows: Tensor, scratch_replicates: int, bias: Tensor | None, addend: Tensor | None, scratch: Tensor | None, y: Tensor
) -> None:
    if len(rows):
        n_replicates, batch = y.shape[1:]
        arguments = args.Finish(
            _at(rows), len(rows), n_replicates, scratch_replicates, batch, *map(_at, (bias, addend, scratch, y))
        )
        launch(kernel("finish", STORAGE[y.dtype]), y, arguments, len(rows) * scratch_replicates * batch)


def packed_edge_product(g: Tensor, packed: Packed, wiring: Wiring) -> Tensor:
    """See `vnn.kernels.reference.packed_edge_product`."""
    g = g.contiguous()
    codebook, panels = _packed(packed, g)
    n_replicates = g.shape[1]
    n_wirings = _wirings(wiring, g, n_replicates)
    weight = g.new_empty(wiring.n_weights, n_replicates)
    if packed.batch == 0:
        return weight.zero_()
    plan = plans.nodes_plan(wiring, plans.CHUNK)
    edges = _edges(plan.items, plan.owners, wiring.src, None, n_wirings, wiring.unit_ptr_out, None, wiring.block_ptr)
    columns = plan.widest * n_replicates
    arguments = args.PackedEdgeProduct(
        _codes(packed, codebook, panels), edges, n_replicates, columns, _at(g), None, _at(weight)
    )
    if tensor_cores() and g.dtype == torch.float32 and n_wirings == 1:
        tiles = 2 if columns <= 16 else 4
        _warps(kernel("tensor_edge_product", tiles), g, arguments, len(plan.items) * -(-columns // (8 * tiles)), 0)
        return weight
    rt = 4 if columns > 1 and n_wirings == 1 else 1
    warps = len(plan.items) * -(-columns // rt)
    stage = rt * 16 * 16 * g.dtype.itemsize
    _warps(kernel("packed_edge_product", REAL[g.dtype], rt), g, arguments, warps, stage)
    return weight


def packed_codebook(g: Tensor, weight: Tensor, packed: Packed, wiring: Wiring) -> Tensor:
    """See `vnn.kernels.reference.packed_codebook`."""
    g, weight = g.contiguous(), weight.contiguous()
    codebook, panels = _packed(packed, g)
    _fits("weight", weight, g, g.dtype)
    n_replicates = g.shape[1]
    n_wirings = _wirings(wiring, g, n_replicates)
    out = g.new_zeros(codebook.shape)
    by_edge = g.new_empty(len(wiring.src), 4)
    plan = plans.nodes_plan(wiring, plans.CHUNK)
    edges = _edges(plan.items, plan.owners, wiring.src, None, n_wirings, wiring.unit_ptr_out, None, wiring.block_ptr)
    held = _codes(packed, codebook, panels)
    real = REAL[g.dtype]
    for r in range(n_wirings) if n_replicates and packed.batch else ():
        only = -1 - r if n_wirings > 1 else n_replicates
        arguments = args.PackedEdgeProduct(held, edges, n_replicates, only, _at(g), _at(weight), _at(by_edge))
        _warps(kernel("packed_codebook", real), g, arguments, len(plan.items), 4 * 64 * g.dtype.itemsize)
        gathered = args.Gather(
            len(codebook), n_wirings, r, r > 0, *map(_at, (wiring.ptr_t, wiring.perm_t, by_edge, out))
        )  # fmt: skip
        launch(kernel("gather", real), g, gathered, len(codebook) * 4)
    return out


def _warps(which: Kernel, at: Tensor, arguments: Structure, warps: int, stage: int) -> None:
    launch(which, at, arguments, warps * 32, block=WARPS_IN_BLOCK * 32, shared=WARPS_IN_BLOCK * stage)


# What the kernels are given.

REAL_OF = {dtype: torch.float64 if dtype == torch.float64 else torch.float32 for dtype in STORAGE}


def _at(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _contiguous(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


def _storage(name: str, tensor: Tensor) -> Tensor:
    if tensor.dtype not in STORAGE:
        raise KernelError(
            f"`{name}` has dtype {tensor.dtype}; the CUDA kernels take float32, float64, bfloat16 and float16. Convert it."
        )
    _whole(name, tensor)
    return tensor.contiguous()


def _fits(name: str, tensor: Tensor | None, like: Tensor, dtype: torch.dtype) -> None:
    if tensor is None:
        return
    if tensor.dtype != dtype:
        raise KernelError(f"`{name}` has dtype {tensor.dtype}; beside {like.dtype} it needs {dtype}. Convert it.")
    if tensor.device != like.device:
        raise KernelError(
            f"`{name}` lies on {tensor.device}, the activations on {like.device}; move them to one device."
        )
    _whole(name, tensor)


def _whole(name: str, tensor: Tensor) -> None:
    if tensor.data_ptr() % tensor.dtype.itemsize:
        raise KernelError(
            f"the memory of `{name}` starts {tensor.data_ptr() % tensor.dtype.itemsize} bytes past a multiple of its "
            f"{tensor.dtype.itemsize}-byte values; `.clone()` it."
        )


def _odd(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.data_ptr() % 16 != 0


def _pack(batch: int, *tensors: Tensor) -> int:
    wide = vector(tensors[0].dtype)
    return wide if batch % wide == 0 and not any(map(_odd, tensors)) else 1


def _wirings(wiring: Wiring, like: Tensor, n_replicates: int) -> int:
    """Replicates the wiring has edges of its own for, or 1."""
    place = like.device
    for name, tensor in zip(wiring._fields[:8], wiring[:8], strict=True):
        if tensor is None:
            continue
        dtype = torch.int64 if name == "block_ptr" else torch.int32
        if tensor.dtype != dtype or tensor.device != place:
            _fits(f"wiring.{name}", tensor, like, dtype)
        if not tensor.is_contiguous():
            raise KernelError(f"`wiring.{name}` must be contiguous; its strides are {tensor.stride()}.")
    if wiring.src.dim() == 1:
        return 1
    if wiring.src.shape[1] != n_replicates:
        raise KernelError(
            f"the wiring has edges for {wiring.src.shape[1]} replicates, the weights are for {n_replicates}."
        )
    return n_replicates


def _edges(
    items: Tensor, owners: Tensor | None, origin: Tensor, edge: Tensor | None, n_wirings: int, *units: Tensor | None
) -> args.Edges:
    return args.Edges(_at(items), _at(owners), len(items), _at(origin), _at(edge), n_wirings, *map(_at, units))


def _packed(packed: Packed, like: Tensor) -> tuple[Tensor, Tensor]:
    """The codebook and the panels, contiguous, of codes the kernels can read."""
    if like.dtype not in REAL:
        raise KernelError(
            f"packed genotypes are multiplied in float32 or float64, not {like.dtype}. Convert the weights."
        )
    codes, panels = packed.codes, packed.panels.contiguous()
    codebook = packed.codebook.to(like.dtype).contiguous()
    _whole("weight", like)
    _fits("codes", codes, like, torch.uint8)
    _fits("panels", panels, like, torch.int64)
    _fits("codebook", codebook, like, like.dtype)
    if codes.dim() != 3 or codes.shape[2] != 16 or codes.stride(2) != 1:
        raise KernelError(
            f"`codes` has shape {tuple(codes.shape)} and strides {codes.stride()}; it needs (panels, variants, 16) "
            "with the 16 bytes side by side."
        )
    if codes.data_ptr() % 16 or codes.stride(0) % 16 or codes.stride(1) % 16:
        raise KernelError(
            f"`codes` starts at an address {codes.data_ptr() % 16} past a multiple of 16 and has strides {codes.stride()}; a "
            "GPU reads 16 bytes at once, so address and strides must be multiples of 16. Pad the rows, or `.clone()` it."
        )
    if codebook.shape != (codes.shape[1], 4):
        raise KernelError(
            f"`codebook` has shape {tuple(codebook.shape)}; {codes.shape[1]:,} variants need one of 4 each."
        )
    if not 64 * (len(panels) - 1) < packed.batch <= 64 * len(panels) and (packed.batch or len(panels)):
        raise KernelError(f"a batch of {packed.batch:,} people does not fill the last of {len(panels):,} panels of 64.")
    return codebook, panels


def _codes(packed: Packed, codebook: Tensor, panels: Tensor) -> args.Packed:
    codes = packed.codes
    return args.Packed(
        _at(codes),
        codes.shape[0],
        codes.stride(0),
        codes.stride(1),
        _at(panels),
        len(panels),
        packed.batch,
        _at(codebook),
    )


def fragment(a: Tensor, b: Tensor, c: Tensor, *, twin: bool) -> Tensor:
    """`c + a @ b` by one fragment operation of the tensor cores, or by its twin in plain C++; for comparison."""
    out = c.clone()
    launch(kernel("fragment", twin), c, args.Fragment(_at(a), _at(b), _at(out)), 32, block=32)
    return out


def tensor_cores(wanted: bool | None = None) -> bool:
    """Whether packed products of many replicates use tensor cores; `wanted` sets it.

    To be chosen once per study (or by VNN_TENSOR_CORES=1), because the results then agree with the other
    kernels within the accuracy of TF32, about 1e-3, and not in every bit.
    """
    global _tensor_cores
    if wanted is not None:
        _tensor_cores = wanted
    if _tensor_cores is None:
        return os.environ.get("VNN_TENSOR_CORES", "") not in ("", "0")
    return _tensor_cores

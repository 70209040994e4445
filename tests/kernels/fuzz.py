"""Random arguments for the kernels: each call gives the right answer or an error in words. Run in a process of its own."""

from __future__ import annotations

import faulthandler
import sys
import warnings
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.kernels.dense import dense, draw, random_pairs, rewired
from vnn._errors import KernelError
from vnn.kernels import Graph, Packed, backend, edge_product, packed_product, sparse_product, transposed_product

SAID = (ValueError, TypeError, RuntimeError)


def graphs() -> list[Graph]:
    pairs, own = rewired(random_pairs(6, 5, 0.4), 6, 2)
    return [
        dense(random_pairs(6, 5, 0.5), 6, 5).graph,
        dense(pairs, 6, 5, sources=own).graph,
        dense(random_pairs(6, 5, 0.5), 6, 5, units_in=[1, 2] * 3, units_out=[2, 1, 3, 1, 1]).graph,
        dense([], 6, 5).graph,
    ]


GRAPHS = graphs()
CHANGES = [
    "none", "none", "shorter", "longer", "flat", "deeper", "empty", "turned", "expanded", "spread", "float16", "bfloat16",
    "float32", "float64", "int64", "bool", "complex64", "meta", "sparse", "numpy", "absent", "number", "nan", "huge",
    "crooked", "negative", "wider", "grad",
]  # fmt: skip


def changed(t: Any, change: str) -> Any:
    """A tensor made unfit, or fit in an unusual way."""
    if not isinstance(t, Tensor):
        return {"absent": None, "negative": -1, "huge": 2**40, "number": 0, "float64": 1.5}.get(change, t)
    if change == "shorter":
        return t[1:] if t.dim() else t
    if change == "longer":
        return torch.cat([t, t[:1]]) if t.dim() else t
    if change == "wider":
        return torch.cat([t, t], -1) if t.dim() else t
    if change == "flat":
        return t.reshape(-1)
    if change == "deeper":
        return t[None]
    if change == "empty":
        return t[:0] if t.dim() else t
    if change == "turned":
        return t.transpose(0, -1).contiguous().transpose(0, -1) if t.dim() else t
    if change == "expanded":
        return t[..., :1].expand(t.shape) if t.numel() else t
    if change == "spread":
        return torch.stack([t, t], -1)[..., 0]
    if change in ("float16", "bfloat16", "float32", "float64", "int64", "bool", "complex64"):
        return t.to(getattr(torch, change))
    if change == "meta":
        return t.to("meta")
    if change == "sparse":
        return t.to_sparse()
    if change == "numpy":
        return t.numpy()
    if change == "absent":
        return None
    if change == "number":
        return 3.0
    if change == "nan" and t.is_floating_point():
        return t * float("nan")
    if change == "huge" and t.is_floating_point():
        return t * 1e15  # products of two still fit a float32
    if change == "crooked":
        room = bytearray(t.numel() * t.element_size() + 1)
        held = np.frombuffer(room, np.uint8)[1:]
        held[:] = t.contiguous().numpy().reshape(-1).view(np.uint8)
        return torch.from_numpy(held.view(t.numpy().dtype).reshape(t.shape))
    if change == "grad" and t.is_floating_point():
        return t.clone().requires_grad_()
    return t


def answer(call: Any, *arguments: Any, direct: bool = False) -> Any:
    """What the call gives, or None where it is refused in words."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return call(*arguments)
    except SAID as error:
        if direct or isinstance(error, (KernelError, ValueError, TypeError)):
            return None
        raise


def same(one: Any, other: Any) -> None:
    for mine, truth in zip(*(r if isinstance(r, (tuple, list)) else (r,) for r in (one, other)), strict=True):
        assert mine.shape == truth.shape
        tolerance = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 5e-2}[mine.dtype]
        finite = truth.double()[torch.isfinite(truth)].abs()
        largest = finite.max().item() if len(finite) else 0.0  # where huge terms cancel, rounding is as large as they
        around = tolerance * max(1.0, largest)
        assert torch.allclose(mine.double(), truth.double(), tolerance, around, equal_nan=True)


def compared(call: Any, *arguments: Any, direct: bool = False) -> None:
    with backend("cpu"):
        mine = answer(call, *arguments, direct=direct)
    if mine is not None:
        with backend("reference"):
            same(mine, call(*arguments))


CALLS = ["sparse", "transposed", "edges", "packed"]
OPERATORS = [
    "sparse_product", "sparse_product_transposed", "edge_product", "sparse_product_backward", "row_sum", "packed_product",
    "packed_edge_product", "packed_codebook",
]  # fmt: skip
changes = st.lists(st.tuples(st.integers(0, 12), st.sampled_from(CHANGES)), max_size=2)


def operands(graph: Graph, n: int, batch: int, dtype: torch.dtype) -> dict[str, Any]:
    n_panels = -(-batch // 64)
    codes = np.random.default_rng(0).integers(0, 256, (n_panels, graph.n_in, 16), dtype=np.uint8)
    return {
        "x": draw(0, graph.n_in, n, batch, dtype=dtype), "weight": draw(1, graph.n_weights, n, dtype=dtype),
        "bias": draw(2, graph.n_out, n, dtype=dtype), "addend": draw(3, graph.n_out, n, batch, dtype=dtype),
        "g": draw(4, graph.n_out, n, batch, dtype=dtype), "codes": torch.from_numpy(codes),
        "panels": torch.arange(n_panels), "codebook": draw(5, graph.n_in, 4, dtype=dtype), "batch": batch,
        "scale": draw(6, graph.n_in, n, dtype=dtype), "shift": draw(7, graph.n_in, n, dtype=dtype),
    }  # fmt: skip


def spoilt(arguments: list[Any], some: list[tuple[int, str]]) -> list[Any]:
    for at, change in some:
        with suppress(Exception):  # what torch or numpy itself cannot make
            arguments[at % len(arguments)] = changed(arguments[at % len(arguments)], change)
    return arguments


def any_call(graph: Graph, which: str, n: int, batch: int, dtype: torch.dtype, some: list[tuple[int, str]]) -> None:
    o = operands(graph, n, batch, dtype)
    if which == "sparse":
        x, w, b, a = spoilt([o["x"], o["weight"], o["bias"], o["addend"]], some)
        compared(sparse_product, x, w, graph, b, a)
    elif which == "transposed":
        compared(transposed_product, *spoilt([o["g"], o["weight"]], some), graph)
    elif which == "edges":
        compared(edge_product, *spoilt([o["g"], o["x"]], some), graph)
    else:
        names = ("codes", "panels", "codebook", "batch", "weight", "bias", "addend", "scale", "shift")
        c, p, k, size, w, b, a, scale, shift = spoilt([o[name] for name in names], some)
        compared(lambda *_: packed_product(Packed(c, p, k, size), w, graph, b, a, scale=scale, shift=shift))


def any_operator(graph: Graph, which: str, n: int, batch: int, dtype: torch.dtype, at: int, change: str) -> None:
    o, w = operands(graph, n, batch, dtype), graph.wiring
    index = list(w[:8])
    first = {
        "sparse_product": [o["x"], o["weight"], o["bias"], o["addend"], *index, w.n_out],
        "sparse_product_transposed": [o["g"], o["weight"], *index, w.n_in, False],
        "edge_product": [o["g"], o["x"], *index, w.n_weights],
        "sparse_product_backward": [o["g"], o["x"], o["weight"], *index, False],
        "row_sum": [o["x"]],
        "packed_product": [
            o["codebook"], o["weight"], o["bias"], o["addend"], o["codes"], o["panels"], *index, batch, w.n_out,
        ],
        "packed_edge_product": [o["g"], o["codebook"], o["codes"], o["panels"], *index, w.n_weights],
        "packed_codebook": [o["g"], o["weight"], o["codes"], o["panels"], *index],
    }[which]  # fmt: skip
    operator = getattr(torch.ops.vnn, which)
    indices = which != "row_sum" and at % len(first) >= len(first) - 10
    if indices and change in ("int64", "bool", "huge", "nan"):
        change = "shorter"  # values of indices are not looked at
    arguments = spoilt(first, [(at, change)])
    if indices or change == "meta":  # such a tensor calls the shape rule of the operator, which gives no values
        with backend("cpu"):
            answer(operator, *arguments, direct=True)
    else:
        compared(operator, *arguments, direct=True)


def main(examples: int) -> None:
    """Try that many calls of each kind."""
    many = settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate], derandomize=True,
    )  # fmt: skip
    sizes = {
        "graph": st.sampled_from(GRAPHS),
        "n": st.integers(0, 5),
        "batch": st.integers(0, 140),
        "dtype": st.sampled_from([torch.float32, torch.float64]),
    }
    many(given(which=st.sampled_from(CALLS), some=changes, **sizes)(any_call))()
    some = {"at": st.integers(0, 17), "change": st.sampled_from(CHANGES)}
    many(given(which=st.sampled_from(OPERATORS), **some, **sizes)(any_operator))()


if __name__ == "__main__":
    faulthandler.enable()
    main(int(sys.argv[1]))

"""The CUDA kernels, compiled for the CPU under their shim, against sums written out edge by edge."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from ctypes import sizeof
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from vnn._errors import KernelError
from vnn.kernels import Graph, cuda, packed_product, reference, sparse_product
from vnn.kernels.cuda import catalogue, device, plans, shim
from vnn.kernels.graph import Wiring
from vnn.kernels.packed import Packed

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 1e-2}
DTYPES = list(TOLERANCE)
REALS = [torch.float64, torch.float32]
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("g++") is None:
        pytest.skip("needs g++ to compile the kernels for the CPU")
    flags = SANITIZERS if os.environ.get("VNN_TEST_SANITIZERS") else ()
    return shim.build(tmp_path_factory.mktemp("shim"), *flags)


@pytest.fixture(autouse=True)
def on_the_shim(library: Path) -> Iterator[shim.Shim]:
    simulated = shim.Shim(library)
    with device.simulated(simulated):
        yield simulated


# Wirings, each with one difficulty.


def pairs(n_in: int, n_out: int, share: float, seed: int = 0) -> np.ndarray:
    target, source = np.nonzero(np.random.default_rng(seed).random((n_out, n_in)) < share)
    return np.stack([source, target], 1)


def rewired(graph: Graph, n: int, seed: int = 5) -> Wiring:
    """Every replicate gets sources of its own; the nodes keep their number of edges."""
    rng = np.random.default_rng(seed)
    ptr = graph.ptr.numpy()
    target = np.repeat(np.arange(graph.n_targets), np.diff(ptr))
    src, ptr_t, tgt_t, perm_t = [], [], [], []
    for _ in range(n):
        chosen = [np.sort(rng.choice(graph.n_sources, k, replace=False)) for k in np.diff(ptr)]
        source = np.concatenate([*chosen, []]).astype(np.int64)
        back = np.lexsort((target, source))
        src.append(source)
        ptr_t.append(np.concatenate([[0], np.cumsum(np.bincount(source, minlength=graph.n_sources))]))
        tgt_t.append(target[back])
        perm_t.append(back)
    stacked = [torch.from_numpy(np.stack(each, 1).astype(np.int32)) for each in (src, ptr_t, tgt_t, perm_t)]
    return graph.wiring._replace(src=stacked[0], ptr_t=stacked[1], tgt_t=stacked[2], perm_t=stacked[3])


def wiring(name: str, n: int, *, packed: bool = False) -> Wiring:
    rng = np.random.default_rng(7)
    if name == "plain":
        return Graph(pairs(40, 23, 0.4), 40, 23).wiring
    if name == "empty rows":
        return Graph(np.array([[3, 2], [5, 2], [0, 6]]), 9, 8).wiring
    if name == "no edges":
        return Graph(np.zeros((0, 2)), 4, 3).wiring
    if name == "no nodes":
        return Graph(np.zeros((0, 2)), 0, 0).wiring
    if name == "units":
        units_in = None if packed else rng.integers(1, 4, 30)
        return Graph(pairs(30, 11, 0.5), 30, 11, units_in=units_in, units_out=rng.integers(1, 6, 11)).wiring
    if name == "hubs":
        first = np.stack([np.arange(520), np.zeros(520)], 1)
        second = np.stack([np.full(300, 5), np.arange(1, 301)], 1)
        return Graph(np.concatenate([first, second]).astype(int), 520, 301).wiring
    if name == "hubs with units":
        units_in = None if packed else np.full(300, 2)
        return Graph(pairs(300, 3, 0.97), 300, 3, units_in=units_in, units_out=[3, 1, 2]).wiring
    if name == "rewired":
        return rewired(Graph(pairs(40, 23, 0.4), 40, 23), n)
    if name == "rewired hubs":
        return rewired(Graph(pairs(300, 4, 0.97), 300, 4), n)
    units_in = None if packed else np.full(20, 2)
    return rewired(Graph(pairs(20, 9, 0.5), 20, 9, units_in=units_in, units_out=rng.integers(1, 4, 9)), n)


WIRINGS = ["plain", "empty rows", "no edges", "no nodes", "units", "hubs", "hubs with units"]
WIRINGS += ["rewired", "rewired hubs", "rewired units"]


def terms(w: Wiring, r: int) -> tuple[np.ndarray, np.ndarray]:
    """Target row and source row of every weight in replicate `r`, by walking over the pointers."""
    ptr, src = w.ptr.tolist(), (w.src if w.src.dim() == 1 else w.src[:, r]).tolist()
    first_out = (w.unit_ptr_out if w.unit_ptr_out is not None else torch.arange(w.n_out + 1)).tolist()
    first_in = (w.unit_ptr_in if w.unit_ptr_in is not None else torch.arange(w.n_in + 1)).tolist()
    found = np.zeros((w.n_weights, 2), np.int64)
    at = 0
    for node in range(len(ptr) - 1):
        for s in src[ptr[node] : ptr[node + 1]]:
            for o in range(first_out[node], first_out[node + 1]):
                for i in range(first_in[s], first_in[s + 1]):
                    found[at] = o, i
                    at += 1
    assert at == w.n_weights
    return found[:, 0], found[:, 1]


def draw(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng((seed, *shape)).standard_normal(shape)).to(dtype)


def close(mine: Tensor, truth: np.ndarray | Tensor, dtype: torch.dtype, tolerance: float | None = None) -> None:
    truth = torch.as_tensor(truth)
    assert mine.shape == truth.shape
    assert mine.isfinite().all()
    size = float(truth.norm())
    error = float((mine.double() - truth).norm())
    assert error <= (tolerance or TOLERANCE[dtype]) * size or error == size == 0, error / max(size, 1e-300)


def real(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


# The dense kernels.


def by_hand(w: Wiring, x: Tensor, weight: Tensor, *, transposed: bool) -> np.ndarray:
    x, weight = x.double().numpy(), weight.double().numpy()
    n = weight.shape[1]
    y = np.zeros((w.n_in if transposed else w.n_out, n, x.shape[2]))
    for r in range(n):
        target, source = terms(w, r)
        into, out_of = (source, target) if transposed else (target, source)
        np.add.at(y[:, r], into, weight[:, r, None] * x[out_of, 0 if x.shape[1] == 1 else r])
    return y


@pytest.mark.parametrize("batch", [17, 64, 512])
@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("name", WIRINGS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_product(dtype: torch.dtype, name: str, n: int, batch: int) -> None:
    if batch == 512 and (n > 1 or name not in ("plain", "units")):
        pytest.skip("long batches are tried on two wirings")
    w = wiring(name, n)
    weight = draw(w.n_weights, n, dtype=real(dtype))
    bias, addend = draw(w.n_out, n, dtype=real(dtype)), draw(w.n_out, n, batch, dtype=dtype)
    for shared in {1, n}:
        x = draw(w.n_in, shared, batch, dtype=dtype)
        truth = by_hand(w, x, weight, transposed=False)
        close(cuda.product(x, weight, None, None, w, transposed=False, shared=False), truth, dtype)
        truth = truth + bias.double().numpy()[:, :, None] + addend.double().numpy()
        close(cuda.product(x, weight, bias, addend, w, transposed=False, shared=False), truth, dtype)


@pytest.mark.parametrize("batch", [1, 48])
@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("name", WIRINGS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_transposed_product(dtype: torch.dtype, name: str, n: int, batch: int) -> None:
    w = wiring(name, n)
    weight, g = draw(w.n_weights, n, dtype=real(dtype)), draw(w.n_out, n, batch, dtype=dtype)
    truth = by_hand(w, g, weight, transposed=True)
    close(cuda.product(g, weight, None, None, w, transposed=True, shared=False), truth, dtype)
    together = cuda.product(g, weight, None, None, w, transposed=True, shared=True)
    close(together, truth.sum(1, keepdims=True), dtype)


@pytest.mark.parametrize("batch", [1, 48])
@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("name", WIRINGS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_edge_product(dtype: torch.dtype, name: str, n: int, batch: int) -> None:
    w = wiring(name, n)
    g = draw(w.n_out, n, batch, dtype=dtype)
    for shared in {1, n}:
        x = draw(w.n_in, shared, batch, dtype=dtype, seed=1)
        truth = np.zeros((w.n_weights, n))
        for r in range(n):
            target, source = terms(w, r)
            truth[:, r] = (g[target, r].double() * x[source, 0 if shared == 1 else r].double()).sum(-1)
        mine = cuda.edge_product(g, x, w)
        assert mine.dtype == real(dtype)
        close(mine, truth, dtype)


def test_a_node_of_30000_edges() -> None:
    w = Graph(np.stack([np.arange(30000), np.zeros(30000)], 1).astype(int), 30000, 1).wiring
    x, weight = draw(30000, 1, 3, dtype=torch.float32), draw(30000, 2, dtype=torch.float32)
    close(
        cuda.product(x, weight, None, None, w, transposed=False, shared=False),
        by_hand(w, x, weight, transposed=False), torch.float32,
    )  # fmt: skip
    codes = draw_codes(30000, 5)
    truth = packed_by_hand(w, codes._replace(codebook=codes.codebook.float()), weight)
    close(
        cuda.packed_product(codes._replace(codebook=codes.codebook.float()), weight, None, None, w),
        truth,
        torch.float32,
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(5, 3, 0), (5, 3, 1), (5, 3, 15), (5, 3, 16), (2, 1, 1000), (0, 2, 4)])
def test_row_sum(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    x = draw(*shape, dtype=dtype)
    mine = cuda.row_sum(x)
    assert mine.dtype == real(dtype)
    close(mine, x.double().sum(-1), torch.float64 if dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize("batch", [0, 1, 50])
def test_batch_of_nothing(batch: int) -> None:
    w = wiring("plain", 0)
    y = cuda.product(draw(40, 1, batch), draw(w.n_weights, 0), None, None, w, transposed=False, shared=False)
    assert y.shape == (23, 0, batch)
    back = cuda.product(draw(23, 0, batch), draw(w.n_weights, 0), None, None, w, transposed=True, shared=True)
    assert torch.equal(back, torch.zeros(40, 1, batch, dtype=torch.float64))
    if batch == 0:
        assert cuda.product(
            draw(40, 1, 0), draw(w.n_weights, 2), None, None, w, transposed=False, shared=False
        ).shape == (23, 2, 0)
        assert torch.equal(cuda.edge_product(draw(23, 2, 0), draw(40, 2, 0), w), torch.zeros(w.n_weights, 2).double())


# Its companions.


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dropout_draws_the_same_mask(dtype: torch.dtype) -> None:
    x = draw(40, 3, 50, dtype=dtype)
    keys = torch.tensor([0, 7, 2**32 - 1])
    node = torch.arange(40, dtype=torch.int32) // 2
    rate = torch.linspace(0, 0.9, 40, dtype=torch.float64)
    samples = torch.arange(1000, 1050)
    given = (keys, node, (rate * 2**32).long(), 1 / (1 - rate), samples)
    mine, truth = cuda.dropout(x, *given), reference.dropout(x.double(), *given)
    assert torch.equal(mine == 0, truth == 0)
    close(mine, truth, dtype)


@pytest.mark.parametrize("dtype", REALS, ids=str)
@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("n", [1, 4])
def test_adam(n: int, decoupled: bool, dtype: torch.dtype) -> None:
    mine = [draw(7, n, dtype=dtype), draw(7, n, dtype=dtype) * 0.1, draw(7, n, dtype=dtype) ** 2]
    truth = [t.double().clone() for t in mine]
    before = mine[0].clone()
    grad = draw(7, n, dtype=dtype) + 0.5
    per = {name: torch.linspace(0.1, 0.4, n).double() for name in ("lr", "decay", "correction1", "correction2")}
    active = torch.arange(n) % 2 == 0
    more = {"active": active, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decoupled": decoupled}
    cuda.adam(mine[0], grad, *mine[1:], **per, **more)
    reference.adam(truth[0], grad.double(), *truth[1:], **per, **more)
    for held, expected in zip(mine, truth, strict=True):
        close(held, expected, dtype)
    assert torch.equal(mine[0][:, ~active], before[:, ~active])


# Packed genotypes.


def draw_codes(n_variants: int, batch: int, dtype: torch.dtype = torch.float64, *, by_variant: bool = False) -> Packed:
    rng = np.random.default_rng((n_variants, batch))
    n = -(-batch // 64)
    codes = torch.from_numpy(rng.integers(0, 256, (n + 1, n_variants, 16), dtype=np.uint8))
    if by_variant:  # a .bed whose rows are padded
        codes = codes.transpose(0, 1).contiguous().transpose(0, 1)
    panels = torch.from_numpy(rng.integers(0, n + 1, n))
    return Packed(codes, panels, draw(n_variants, 4, dtype=dtype, seed=3), batch)


def decoded(packed: Packed) -> np.ndarray:
    """The code of every variant and person of the batch."""
    chosen = packed.codes.numpy()[packed.panels.numpy()]
    person = np.arange(64)
    each = chosen[:, :, person // 4] >> (2 * (person % 4)).astype(np.uint8) & 3
    return each.transpose(1, 0, 2).reshape(chosen.shape[1], -1)[:, : packed.batch]


def packed_by_hand(w: Wiring, packed: Packed, weight: Tensor) -> np.ndarray:
    x = np.take_along_axis(packed.codebook.double().numpy(), decoded(packed).astype(np.int64), 1)
    return by_hand(w, torch.from_numpy(x[:, None]), weight, transposed=False)


PACKED = [name for name in WIRINGS if name != "no nodes"]


@pytest.mark.parametrize("batch", [1, 65, 150, 320])
@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("dtype", REALS, ids=str)
def test_packed_product(dtype: torch.dtype, name: str, n: int, batch: int) -> None:
    if batch == 320 and (n > 1 or name not in ("plain", "hubs with units")):
        pytest.skip("long batches are tried on two wirings")
    w = wiring(name, n, packed=True)
    packed = draw_codes(w.n_in, batch, dtype, by_variant=batch == 65)
    weight, bias = draw(w.n_weights, n, dtype=dtype), draw(w.n_out, n, dtype=dtype)
    addend = draw(w.n_out, n, batch, dtype=dtype)
    truth = packed_by_hand(w, packed, weight)
    close(cuda.packed_product(packed, weight, None, None, w), truth, dtype)
    truth = truth + bias.double().numpy()[:, :, None] + addend.double().numpy()
    close(cuda.packed_product(packed, weight, bias, addend, w), truth, dtype)


@pytest.mark.parametrize("batch", [1, 150])
@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("dtype", REALS, ids=str)
def test_packed_gradients(dtype: torch.dtype, name: str, n: int, batch: int) -> None:
    w = wiring(name, n, packed=True)
    packed = draw_codes(w.n_in, batch, dtype)
    weight, g = draw(w.n_weights, n, dtype=dtype), draw(w.n_out, n, batch, dtype=dtype)
    codes, book = decoded(packed).astype(np.int64), packed.codebook.double().numpy()
    x = np.take_along_axis(book, codes, 1)
    by_weight, by_book = np.zeros((w.n_weights, n)), np.zeros(book.shape)
    for r in range(n):
        target, source = terms(w, r)
        signal = g.double().numpy()[:, r]
        by_weight[:, r] = (signal[target] * x[source]).sum(-1)
        for code in range(4):
            each = (signal[target] * (codes[source] == code)).sum(-1)
            np.add.at(by_book[:, code], source, weight.double().numpy()[:, r] * each)
    close(cuda.packed_edge_product(g, packed, w), by_weight, dtype)
    close(cuda.packed_codebook(g, weight, packed, w), by_book, dtype)


def test_packed_batch_of_nobody() -> None:
    w = wiring("plain", 2)
    packed = draw_codes(40, 0)
    assert cuda.packed_product(packed, draw(w.n_weights, 2), None, None, w).shape == (23, 2, 0)
    assert torch.equal(cuda.packed_edge_product(draw(23, 2, 0), packed, w), torch.zeros(w.n_weights, 2).double())
    assert torch.equal(
        cuda.packed_codebook(draw(23, 2, 0), draw(w.n_weights, 2), packed, w), torch.zeros(40, 4).double()
    )


def test_a_panel_that_is_not_there_is_nan_and_not_a_crash() -> None:
    w = wiring("plain", 1)
    packed = draw_codes(40, 128)
    packed.panels[1] = 10**12
    y = cuda.packed_product(packed, draw(w.n_weights, 1), None, None, w)
    assert y[:, :, 64:].isnan().all()
    assert y[:, :, :64].isfinite().all()
    assert cuda.packed_edge_product(draw(23, 1, 128), packed, w).isnan().all()


# What the bits depend on.


@pytest.mark.parametrize("name", ["plain", "units", "hubs", "rewired", "rewired units"])
def test_a_replicate_alone_has_the_bits_it_has_among_others(name: str) -> None:
    n, batch = 6, 64
    w, v = wiring(name, n), wiring(name, n, packed=True)

    def only(each: Wiring, r: int) -> Wiring:
        if each.src.dim() == 1:
            return each
        columns = {k: getattr(each, k)[:, r].contiguous() for k in ("src", "ptr_t", "tgt_t", "perm_t")}
        return each._replace(**columns)

    f32 = torch.float32
    weight, x, g = (
        draw(w.n_weights, n, dtype=f32),
        draw(w.n_in, n, batch, dtype=f32),
        draw(w.n_out, n, batch, dtype=f32),
    )
    packed, packed_weight = draw_codes(v.n_in, batch, f32), draw(v.n_weights, n, dtype=f32)
    flags = {"transposed": False, "shared": False}
    forward = cuda.product(x, weight, None, g, w, **flags)
    one_x = cuda.product(x[:, :1], weight, None, None, w, **flags)
    back = cuda.product(g, weight, None, None, w, transposed=True, shared=False)
    by_weight, by_one_x = cuda.edge_product(g, x, w), cuda.edge_product(g, x[:, :1], w)
    by_codes, by_packed = (
        cuda.packed_product(packed, packed_weight, None, None, v),
        cuda.packed_edge_product(g, packed, v),
    )
    for r in range(n):
        own, packed_own, c = only(w, r), only(v, r), slice(r, r + 1)
        pairs = [
            (forward, cuda.product(x[:, c], weight[:, c], None, g[:, c], own, **flags)),
            (one_x, cuda.product(x[:, :1], weight[:, c], None, None, own, **flags)),
            (back, cuda.product(g[:, c], weight[:, c], None, None, own, transposed=True, shared=False)),
            (by_weight, cuda.edge_product(g[:, c], x[:, c], own)),
            (by_one_x, cuda.edge_product(g[:, c], x[:, :1], own)),
            (by_codes, cuda.packed_product(packed, packed_weight[:, c], None, None, packed_own)),
            (by_packed, cuda.packed_edge_product(g[:, c], packed, packed_own)),
        ]
        for together, alone in pairs:
            assert torch.equal(together[:, c], alone)


def test_a_sample_alone_has_the_bits_it_has_in_a_batch() -> None:
    w = wiring("hubs", 3)
    x, weight = draw(w.n_in, 1, 512, dtype=torch.float32), draw(w.n_weights, 3, dtype=torch.float32)
    whole = cuda.product(x, weight, None, None, w, transposed=False, shared=False)
    for batch in (1, 5, 64, 256):
        part = cuda.product(x[:, :, :batch], weight, None, None, w, transposed=False, shared=False)
        assert torch.equal(part, whole[:, :, :batch])
    packed = draw_codes(w.n_in, 320, torch.float32)
    whole = cuda.packed_product(packed, weight, None, None, w)
    for batch in (1, 64, 65, 200):
        part = packed._replace(panels=packed.panels[: -(-batch // 64)], batch=batch)
        assert torch.equal(cuda.packed_product(part, weight, None, None, w), whole[:, :, :batch])


def test_the_order_of_the_threads_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    w = wiring("hubs with units", 3, packed=True)
    packed, weight, g = draw_codes(w.n_in, 130), draw(w.n_weights, 3), draw(w.n_out, 3, 130)

    def run() -> list[Tensor]:
        return [
            cuda.packed_product(packed, weight, None, None, w), cuda.packed_edge_product(g, packed, w),
            cuda.packed_codebook(g, weight, packed, w), cuda.edge_product(g, draw(w.n_in, 3, 130), w), cuda.row_sum(g),
        ]  # fmt: skip

    forward = run()
    monkeypatch.setenv("VNN_SHIM_REVERSE", "1")
    assert all(torch.equal(a, b) for a, b in zip(forward, run(), strict=True))


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_graph(data: st.DataObject) -> None:
    n_in, n_out = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    edges = pairs(n_in, n_out, data.draw(st.sampled_from([0.0, 0.3, 1.0])), data.draw(st.integers(0, 99)))
    sizes = st.integers(1, 4)
    units = {
        "units_in": data.draw(st.lists(sizes, min_size=n_in, max_size=n_in)),
        "units_out": data.draw(st.lists(sizes, min_size=n_out, max_size=n_out)),
    }
    w = Graph(edges, n_in, n_out, **units).wiring
    n, batch = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 40))
    x, weight = draw(w.n_in, data.draw(st.sampled_from([1, n])), batch), draw(w.n_weights, n)
    truth = by_hand(w, x, weight, transposed=False)
    close(cuda.product(x, weight, None, None, w, transposed=False, shared=False), truth, torch.float64)
    g = draw(w.n_out, n, batch)
    back = by_hand(w, g, weight, transposed=True)
    close(cuda.product(g, weight, None, None, w, transposed=True, shared=False), back, torch.float64)


# What is refused, and what is merely awkward.


def test_odd_memory_is_taken_or_refused() -> None:
    w = wiring("plain", 2)
    weight = draw(w.n_weights, 2, dtype=torch.float32)
    whole = draw(40, 2, 64, dtype=torch.float32)
    odd = torch.empty(40 * 2 * 64 + 1)[1:].view(40, 2, 64).copy_(whole)
    flags = {"transposed": False, "shared": False}
    assert torch.equal(
        cuda.product(odd, weight, None, None, w, **flags), cuda.product(whole, weight, None, None, w, **flags)
    )
    strided = torch.stack([whole, whole], -1)[..., 0]
    assert torch.equal(
        cuda.product(strided, weight, None, None, w, **flags), cuda.product(whole, weight, None, None, w, **flags)
    )
    bytes_ = np.zeros(40 * 2 * 64 * 4 + 2, np.uint8)[2:]
    skewed = torch.from_numpy(np.ndarray((40, 2, 64), np.float32, bytes_.data))
    with pytest.raises(KernelError, match="2 bytes past a multiple of its 4-byte values"):
        cuda.product(skewed, weight, None, None, w, **flags)


def test_what_cannot_be_taken_is_refused() -> None:
    w = wiring("plain", 2)
    x, weight = draw(40, 2, 8, dtype=torch.float32), draw(w.n_weights, 2, dtype=torch.float32)
    flags = {"transposed": False, "shared": False}
    with pytest.raises(KernelError, match=r"`x` has dtype torch.int64; the CUDA kernels take float32"):
        cuda.product(x.long(), weight, None, None, w, **flags)
    with pytest.raises(KernelError, match=r"`weight` has dtype torch.float64; beside torch.float32 it needs"):
        cuda.product(x, weight.double(), None, None, w, **flags)
    with pytest.raises(KernelError, match=r"wiring.src` has dtype torch.int64"):
        cuda.product(x, weight, None, None, w._replace(src=w.src.long()), **flags)
    with pytest.raises(KernelError, match="edges for 3 replicates, the weights are for 2"):
        cuda.product(x, weight, None, None, wiring("rewired", 3), **flags)
    held = draw(3, 2).T
    per = {name: torch.ones(3).double() for name in ("lr", "decay", "correction1", "correction2")}
    with pytest.raises(KernelError, match="updated in place and must be contiguous"):
        cuda.adam(held, held, held, held, **per, active=torch.ones(3) > 0, beta1=0, beta2=0, eps=1, decoupled=False)
    packed = draw_codes(40, 64, torch.float32)
    for bad, message in (
        (packed._replace(codes=packed.codes[:, :, :8]), "needs .panels, variants, 16."),
        (packed._replace(codes=torch.zeros(2, 40, 20, dtype=torch.uint8)[:, :, :16]), "multiples of 16"),
        (packed._replace(codebook=packed.codebook[:-1]), "40 variants need one of 4 each"),
        (packed._replace(panels=packed.panels.int()), "`panels` has dtype"),
        (packed._replace(batch=65), "a batch of 65 people"),
    ):
        with pytest.raises(KernelError, match=message):
            cuda.packed_product(bad, weight, None, None, w)
    with pytest.raises(KernelError, match=r"in float32 or float64, not torch\.bfloat16"):
        cuda.packed_product(packed, weight.bfloat16(), None, None, w)


def test_without_the_shim_a_tensor_on_the_cpu_is_refused() -> None:
    with device.simulated(None), pytest.raises(KernelError, match="a tensor on cpu; move it to a CUDA device"):
        cuda.row_sum(draw(2, 2))


# The chain around the kernels.


def test_the_structures_of_both_languages_have_one_size(on_the_shim: shim.Shim) -> None:
    for kernel in catalogue.every_kernel():
        assert getattr(on_the_shim.library, f"{kernel.symbol}_bytes")() == sizeof(kernel.structure), kernel.call


def test_only_listed_kernels_are_asked_for_and_plans_are_kept(on_the_shim: shim.Shim) -> None:
    w = wiring("units", 2)
    for dtype in DTYPES:
        for batch in (3, 1024):
            x, weight = draw(w.n_in, 2, batch, dtype=dtype), draw(w.n_weights, 2, dtype=real(dtype))
            cuda.product(x, weight, None, None, w, transposed=False, shared=False)
    assert {*on_the_shim.launched} <= {kernel.call for kernel in catalogue.every_kernel()}
    assert plans.rows_plan(w, transposed=False) is plans.rows_plan(w, transposed=False)


def test_conversions_are_torchs() -> None:
    every = torch.arange(2**16, dtype=torch.int32).to(torch.int16)
    w = Graph(np.array([[0, 0]]), 1, 1).wiring
    one = torch.ones(1, 1)
    for dtype in (torch.float16, torch.bfloat16):
        x = every.view(dtype)[None, None]
        y = cuda.product(x, one, None, torch.zeros_like(x), w, transposed=False, shared=False)
        finite = ~x.isnan()
        assert torch.equal(y[finite], x[finite] + 0)
        assert y[~finite].isnan().all()
        fine = torch.linspace(-3, 3, 4001)[None, None].to(dtype)
        scaled = cuda.product(fine, one * 1e-5, None, None, w, transposed=False, shared=False)
        assert torch.equal(scaled, (fine.float() * torch.tensor(1e-5)).to(dtype))
        large = cuda.product(fine, one * 3e4, None, None, w, transposed=False, shared=False)
        assert torch.equal(large, (fine.float() * torch.tensor(3e4)).to(dtype))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the sanitizers are preloaded the Linux way")
def test_sanitizers_find_nothing() -> None:
    if os.environ.get("VNN_TEST_SANITIZERS"):
        pytest.skip("this is the run with sanitizers")
    names = [
        subprocess.run(["g++", f"-print-file-name={n}"], capture_output=True, text=True).stdout.strip()
        for n in ("libasan.so", "libubsan.so")
    ]
    if not all(map(os.path.isabs, names)):
        pytest.skip("needs g++'s sanitizers")
    environment = {
        **os.environ, "LD_PRELOAD": ":".join(names), "VNN_TEST_SANITIZERS": "1", "OMP_NUM_THREADS": "1",
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0:use_sigaltstack=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }  # fmt: skip
    chosen = "float32 and (units or hubs or rewired or (empty and rows)) and (17 or 48 or 65) or order or row_sum or adam or nobody"
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-x", __file__, "-k", chosen]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[:3000]


# Tensor cores: the twin of the fragment operation stands for them.


@pytest.fixture
def tensor_cores() -> Iterator[None]:
    cuda.tensor_cores(True)
    yield
    cuda.tensor_cores(False)


@pytest.mark.parametrize("batch", [1, 150])
@pytest.mark.parametrize("n", [1, 20, 40])
@pytest.mark.parametrize("name", [name for name in PACKED if "rewired" not in name])
def test_tensor_cores_agree_within_tf32(
    tensor_cores: None, on_the_shim: shim.Shim, name: str, n: int, batch: int
) -> None:
    if n * batch > 200 and name not in ("plain", "units"):
        pytest.skip("many columns are tried on two wirings")
    w = wiring(name, n, packed=True)
    packed = draw_codes(w.n_in, batch, torch.float32)
    weight, bias = draw(w.n_weights, n, dtype=torch.float32), draw(w.n_out, n, dtype=torch.float32)
    g = draw(w.n_out, n, batch, dtype=torch.float32)
    truth = packed_by_hand(w, packed, weight) + bias.double().numpy()[:, :, None] + g.double().numpy()
    close(cuda.packed_product(packed, weight, bias, g, w), truth, torch.float32, 1e-3)
    x = np.take_along_axis(packed.codebook.double().numpy(), decoded(packed).astype(np.int64), 1)
    by_weight = np.zeros((w.n_weights, n))
    for r in range(n):
        target, source = terms(w, r)
        by_weight[:, r] = (g.double().numpy()[target, r] * x[source]).sum(-1)
    close(cuda.packed_edge_product(g, packed, w), by_weight, torch.float32, 1e-3)
    if w.n_weights:
        assert {call.partition("<")[0] for call in on_the_shim.launched} >= {"tensor_product", "tensor_edge_product"}


def test_the_fragment_operation_multiplies_matrices() -> None:
    a, b, c = (draw(*shape, dtype=torch.float32) for shape in ((16, 8), (8, 8), (16, 8)))
    for twin in (False, True):
        close(cuda.fragment(a, b, c, twin=twin), c.double() + a.double() @ b.double(), torch.float32, 1e-3)
    whole = [torch.from_numpy(np.random.default_rng(1).integers(-9, 9, t.shape)).float() for t in (a, b, c)]
    assert torch.equal(cuda.fragment(*whole, twin=True), whole[2] + whole[0] @ whole[1])


def test_tensor_cores_are_exact_where_tf32_is(tensor_cores: None) -> None:
    w = wiring("plain", 20)
    packed = draw_codes(40, 70, torch.float32)
    packed = packed._replace(codebook=torch.tensor([2.0, 0.5, 1.0, 0.0]).repeat(40, 1))
    weight = torch.from_numpy(np.random.default_rng(0).integers(-8, 9, (w.n_weights, 20))).float()
    y = cuda.packed_product(packed, weight, None, None, w)
    assert np.array_equal(y.double().numpy(), packed_by_hand(w, packed, weight))


def test_tensor_cores_are_chosen_once_and_never_by_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "_tensor_cores", None)
    monkeypatch.delenv("VNN_TENSOR_CORES", raising=False)
    assert not cuda.tensor_cores()
    monkeypatch.setenv("VNN_TENSOR_CORES", "1")
    assert cuda.tensor_cores()
    assert not cuda.tensor_cores(False)
    assert not cuda.tensor_cores()


# Through the ops, with gradients.


@pytest.fixture(autouse=True)
def torchs_own_chance() -> Iterator[None]:
    """gradcheck draws from torch's global generator; it is put back."""
    with torch.random.fork_rng(devices=[]):
        yield


@pytest.fixture
def every_op_on_the_shim(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("product", "packed_product"):
        monkeypatch.setattr(importlib.import_module(f"vnn.kernels.{name}"), "active", lambda device: cuda)


def test_gradients_of_the_product(every_op_on_the_shim: None) -> None:
    graph = Graph(pairs(7, 5, 0.5), 7, 5, units_in=[1, 2, 1, 1, 3, 1, 1], units_out=[2, 1, 1, 1, 2])
    shapes = ((graph.n_in, 1, 6), (graph.n_weights, 2), (graph.n_out, 2), (graph.n_out, 2, 6))
    given = [draw(*shape).requires_grad_() for shape in shapes]
    assert torch.autograd.gradcheck(lambda x, w, b, a: sparse_product(x, w, graph, b, a), given)
    assert torch.autograd.gradgradcheck(lambda x, w: sparse_product(x, w, graph), given[:2])


def test_gradients_of_the_packed_product(every_op_on_the_shim: None) -> None:
    graph = Graph(pairs(9, 4, 0.5), 9, 4)
    packed = draw_codes(9, 70)
    codebook, weight = packed.codebook.requires_grad_(), draw(graph.n_weights, 2).requires_grad_()

    def product(codebook: Tensor, weight: Tensor) -> Tensor:
        return packed_product(packed._replace(codebook=codebook), weight, graph)

    assert torch.autograd.gradcheck(product, (codebook, weight))
    assert torch.autograd.gradgradcheck(product, (codebook, weight))

"""The CUDA kernels on a GPU; everything here is skipped where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.kernels import test_cuda as on_shim
from tests.kernels.test_cuda import DTYPES, PACKED, REALS, WIRINGS, by_hand, close, draw, draw_codes, real
from vnn._errors import KernelError
from vnn.kernels import Graph, cuda, sparse_product
from vnn.kernels.backend import active
from vnn.kernels.packed import Packed

if not torch.cuda.is_available():
    pytest.skip("needs a CUDA device", allow_module_level=True)
pytestmark = pytest.mark.gpu
FORWARD = {"transposed": False, "shared": False}


@pytest.fixture(autouse=True)
def torchs_own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        yield


def moved(thing: Any, place: str = "cuda") -> Any:
    """Tensors, and what holds them, on the device."""
    if isinstance(thing, Tensor):
        return thing.to(place)
    return (
        thing._replace(**{k: moved(v, place) for k, v in thing._asdict().items()})
        if hasattr(thing, "_asdict")
        else thing
    )


@pytest.mark.parametrize("batch", [1, 17, 64, 512])
@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("name", WIRINGS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dense_kernels(dtype: torch.dtype, name: str, n: int, batch: int) -> None:
    w = on_shim.wiring(name, n)
    here = moved(w)
    weight, g = draw(w.n_weights, n, dtype=real(dtype)), draw(w.n_out, n, batch, dtype=dtype)
    for shared in {1, n}:
        x = draw(w.n_in, shared, batch, dtype=dtype)
        mine = cuda.product(x.cuda(), weight.cuda(), None, g.cuda(), here, **FORWARD)
        close(mine.cpu(), by_hand(w, x, weight, transposed=False) + g.double().numpy(), dtype)
        sums = cuda.edge_product(g.cuda(), x.cuda(), here).cpu()
        for r in range(n):
            target, source = on_shim.terms(w, r)
            truth = (g[target, r].double() * x[source, 0 if shared == 1 else r].double()).sum(-1)
            close(sums[:, r], truth, dtype)
    truth = by_hand(w, g, weight, transposed=True)
    close(cuda.product(g.cuda(), weight.cuda(), None, None, here, transposed=True, shared=False).cpu(), truth, dtype)
    together = cuda.product(g.cuda(), weight.cuda(), None, None, here, transposed=True, shared=True).cpu()
    close(together, truth.sum(1, keepdims=True), dtype)


@pytest.mark.parametrize("batch", [1, 65, 320])
@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("dtype", REALS, ids=str)
def test_packed_kernels_have_the_bits_of_the_shim_or_their_value(
    dtype: torch.dtype, name: str, n: int, batch: int
) -> None:
    w = on_shim.wiring(name, n, packed=True)
    packed = draw_codes(w.n_in, batch, dtype)
    here, there = moved(w), moved(packed)
    weight, g = draw(w.n_weights, n, dtype=dtype), draw(w.n_out, n, batch, dtype=dtype)
    close(
        cuda.packed_product(there, weight.cuda(), None, None, here).cpu(),
        on_shim.packed_by_hand(w, packed, weight), dtype,
    )  # fmt: skip
    codes = on_shim.decoded(packed)
    x = torch.from_numpy(packed.codebook.double().numpy()).gather(1, torch.from_numpy(codes).long())
    sums = cuda.packed_edge_product(g.cuda(), there, here).cpu()
    by_book = torch.zeros(w.n_in, 4, dtype=torch.float64)
    for r in range(n):
        target, source = (torch.from_numpy(t) for t in on_shim.terms(w, r))
        close(sums[:, r], (g[target, r].double() * x[source]).sum(-1), dtype)
        for code in range(4):
            each = (g[target, r].double() * (torch.from_numpy(codes)[source] == code)).sum(-1)
            by_book[:, code].index_add_(0, source, weight[:, r].double() * each)
    close(cuda.packed_codebook(g.cuda(), weight.cuda(), there, here).cpu(), by_book, dtype)


@pytest.mark.parametrize("name", ["plain", "hubs", "units"])
def test_a_replicate_alone_has_the_bits_it_has_among_others(name: str) -> None:
    w = on_shim.wiring(name, 6, packed=True)
    here, packed = moved(w), moved(draw_codes(w.n_in, 192, torch.float32))
    weight, g = draw(w.n_weights, 6, dtype=torch.float32).cuda(), draw(w.n_out, 6, 192, dtype=torch.float32).cuda()
    x = draw(w.n_in, 1, 192, dtype=torch.float32).cuda()
    results = [
        lambda c: cuda.product(x, weight[:, c], None, None, here, **FORWARD),
        lambda c: cuda.edge_product(g[:, c], x, here),
        lambda c: cuda.packed_product(packed, weight[:, c], None, None, here),
        lambda c: cuda.packed_edge_product(g[:, c], packed, here),
    ]
    for result in results:
        together = result(slice(None))
        assert all(torch.equal(together[:, r : r + 1], result(slice(r, r + 1))) for r in range(6))


def test_tensor_cores_do_what_their_twin_does() -> None:
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("needs compute capability 8.0")
    a, b, c = (draw(*shape, dtype=torch.float32).cuda() for shape in ((16, 8), (8, 8), (16, 8)))
    close(
        cuda.fragment(a, b, c, twin=False).cpu(), cuda.fragment(a, b, c, twin=True).cpu().double(), torch.float32, 1e-5
    )
    w = on_shim.wiring("hubs with units", 40, packed=True)
    packed, weight = draw_codes(w.n_in, 150, torch.float32), draw(w.n_weights, 40, dtype=torch.float32)
    here, there, g = moved(w), moved(packed), draw(w.n_out, 40, 150, dtype=torch.float32).cuda()
    exact = cuda.packed_product(there, weight.cuda(), None, None, here), cuda.packed_edge_product(g, there, here)
    cuda.tensor_cores(True)
    try:
        fast = cuda.packed_product(there, weight.cuda(), None, None, here), cuda.packed_edge_product(g, there, here)
    finally:
        cuda.tensor_cores(False)
    for one, other in zip(fast, exact, strict=True):
        close(one.cpu(), other.cpu().double(), torch.float32, 1e-3)


def test_kernels_run_on_the_current_stream() -> None:
    w = moved(on_shim.wiring("plain", 1))
    weight = draw(w.n_weights, 1, dtype=torch.float32).cuda()
    x = torch.zeros(40, 1, 64, device="cuda")
    cuda.product(x, weight, None, None, w, **FORWARD)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(100_000_000)
        x.fill_(1)
        late = cuda.product(x, weight, None, None, w, **FORWARD)
    stream.synchronize()
    assert torch.equal(late, cuda.product(torch.ones_like(x), weight, None, None, w, **FORWARD))


def test_a_cuda_graph_is_captured_and_replayed() -> None:
    w = moved(on_shim.wiring("hubs", 2))
    packed: Packed = moved(draw_codes(w.n_in, 128, torch.float32))
    x, weight = draw(w.n_in, 1, 128, dtype=torch.float32).cuda(), draw(w.n_weights, 2, dtype=torch.float32).cuda()

    def step() -> list[Tensor]:
        y = cuda.product(x, weight, None, None, w, **FORWARD)
        z = cuda.packed_product(packed, weight, None, None, w)
        back = cuda.product(y, weight, None, None, w, transposed=True, shared=True)
        return [y, z, back, cuda.edge_product(y, x, w), cuda.packed_edge_product(z, packed, w), cuda.row_sum(y)]

    step()
    torch.cuda.synchronize()
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        kept = step()
    x.mul_(2)
    weight.add_(1)
    packed.panels.copy_(packed.panels.flip(0))
    captured.replay()
    assert all(torch.equal(a, b) for a, b in zip(kept, step(), strict=True))


@pytest.mark.filterwarnings("ignore:The CUDA Graph is empty")
def test_a_wiring_first_used_during_capture_is_refused() -> None:
    w = moved(on_shim.wiring("plain", 1))
    x, weight = torch.ones(40, 1, 64, device="cuda"), torch.ones(w.n_weights, 1, device="cuda")
    with pytest.raises(KernelError, match="run the step once before"), torch.cuda.graph(torch.cuda.CUDAGraph()):
        cuda.product(x, weight, None, None, w, **FORWARD)


def test_opcheck_and_gradients_through_the_op() -> None:
    graph = Graph(on_shim.pairs(7, 5, 0.5), 7, 5).cuda()
    assert active(torch.device("cuda")) is cuda
    x, weight = (draw(*shape).cuda().requires_grad_() for shape in ((7, 2, 6), (graph.n_weights, 2)))
    bias, addend = (draw(*shape).cuda().requires_grad_() for shape in ((5, 2), (5, 2, 6)))
    w = graph.wiring
    torch.library.opcheck(torch.ops.vnn.sparse_product, (x, weight, bias, addend, *w[:8], w.n_out))
    assert torch.autograd.gradcheck(lambda *t: sparse_product(t[0], t[1], graph, t[2], t[3]), (x, weight, bias, addend))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_the_device_of_the_tensor_is_used() -> None:
    w = on_shim.wiring("plain", 1)
    x, weight = draw(40, 1, 64), draw(w.n_weights, 1)
    with torch.cuda.device(0):
        y = cuda.product(x.to("cuda:1"), weight.to("cuda:1"), None, None, moved(w, "cuda:1"), **FORWARD)
    assert y.device == torch.device("cuda:1")
    close(y.cpu(), by_hand(w, x, weight, transposed=False), torch.float64)

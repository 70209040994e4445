"""The sparse product against dense matrices, and under every transform of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap

from vnn._errors import KernelError
from vnn.kernels import Graph, backend, cpu, sparse_product
from vnn.kernels.product import _EdgeProduct, _RowSum, _Transposed

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}
BACKENDS = ["reference", pytest.param("cpu", marks=pytest.mark.compiler)]


@pytest.fixture(autouse=True)
def torchs_own_chance() -> Iterator[None]:
    """gradcheck and opcheck draw from torch's global generator; it is put back."""
    with torch.random.fork_rng(devices=[]):
        yield


def random_pairs(n_in: int, n_out: int, share: float, seed: int) -> np.ndarray:
    target, source = np.nonzero(np.random.default_rng(seed).random((n_out, n_in)) < share)
    return np.stack([source, target], axis=1)


def random_graph(n_in: int = 7, n_out: int = 5, share: float = 0.5, seed: int = 0, ragged: bool = False) -> Graph:
    rng = np.random.default_rng(seed)
    units = {"units_in": rng.integers(1, 4, n_in), "units_out": rng.integers(1, 4, n_out)} if ragged else {}
    return Graph(random_pairs(n_in, n_out, share, seed), n_in, n_out, **units)


def operands(
    graph: Graph, n: int, batch: int, dtype: torch.dtype = torch.float64, shared: bool = False
) -> list[Tensor]:
    rng = np.random.default_rng(1)
    shapes = [(graph.n_in, 1 if shared else n, batch), (graph.n_weights, n), (graph.n_out, n), (graph.n_out, n, batch)]
    return [torch.from_numpy(rng.standard_normal(shape)).to(dtype).requires_grad_() for shape in shapes]


def by_hand(graph: Graph, x: Tensor, weight: Tensor, bias: Tensor, addend: Tensor) -> Tensor:
    """The definition over dense matrices built edge by edge from the pointers, in float64."""
    first_in, first_out = (
        np.arange(n + 1) if ptr is None else ptr.numpy()
        for n, ptr in ((graph.n_sources, graph.unit_ptr_in), (graph.n_targets, graph.unit_ptr_out))
    )
    rows, columns = [], []
    for t in range(graph.n_targets):
        for s in graph.src[graph.ptr[t] : graph.ptr[t + 1]].tolist():
            for o in range(first_out[t], first_out[t + 1]):
                for i in range(first_in[s], first_in[s + 1]):
                    rows.append(o)
                    columns.append(i)
    layers = []
    for r in range(weight.shape[1]):
        dense = torch.zeros(graph.n_out, graph.n_in, dtype=torch.float64).index_put(
            (torch.tensor(rows, dtype=torch.long), torch.tensor(columns, dtype=torch.long)), weight[:, r].double()
        )
        layers.append(
            dense @ x[:, 0 if x.shape[1] == 1 else r].double() + bias[:, r, None].double() + addend[:, r].double()
        )
    return torch.stack(layers, dim=1)


def close(mine: Tensor, truth: Tensor, dtype: torch.dtype) -> bool:
    return bool((mine.double() - truth.double()).norm() <= TOLERANCE[dtype] * truth.double().norm() + 1e-300)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize(("n", "shared"), [(1, True), (3, True), (3, False)])
@pytest.mark.parametrize("batch", [0, 1, 16, 37, 200])
def test_forward_and_every_gradient_equal_dense_matrices(
    name: str, dtype: torch.dtype, ragged: bool, n: int, shared: bool, batch: int
) -> None:
    graph = random_graph(ragged=ragged)
    given_ = operands(graph, n, batch, dtype, shared)
    truth = by_hand(graph, *given_)
    upstream = torch.linspace(-1, 1, truth.numel(), dtype=torch.float64).reshape(truth.shape)
    expected = torch.autograd.grad(truth, given_, upstream)
    with backend(name):
        mine = sparse_product(given_[0], given_[1], graph, given_[2], given_[3])
        found = torch.autograd.grad(mine, given_, upstream.to(dtype))
    assert mine.shape == truth.shape
    assert close(mine, truth, dtype)
    for what, one, other in zip(("x", "weight", "bias", "addend"), found, expected, strict=True):
        assert one.dtype == dtype
        assert close(one, other, dtype), what


@pytest.mark.parametrize("name", BACKENDS)
@settings(max_examples=40, deadline=None)
@given(
    pairs=st.sets(st.tuples(st.integers(0, 8), st.integers(0, 6)), max_size=40),
    n=st.integers(1, 4),
    batch=st.integers(1, 70),
    ragged=st.booleans(),
)
def test_any_graph_equals_dense_matrices(
    name: str, pairs: set[tuple[int, int]], n: int, batch: int, ragged: bool
) -> None:
    units = {"units_in": [1, 2, 3] * 3, "units_out": [2, 1, 1, 3, 1, 1, 2]} if ragged else {}
    edges = np.array(sorted(pairs, key=lambda p: (p[1], p[0]))).reshape(-1, 2)
    graph = Graph(edges, 9, 7, **units)
    given_ = operands(graph, n, batch)
    with backend(name):
        assert close(
            sparse_product(given_[0], given_[1], graph, given_[2], given_[3]), by_hand(graph, *given_), torch.float64
        )


@pytest.mark.compiler
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_node_with_many_edges_is_cut_into_parts(dtype: torch.dtype) -> None:
    graph = random_graph(3000, 3, 0.9)
    given_ = operands(graph, 2, 33, dtype)
    assert close(sparse_product(given_[0], given_[1], graph, given_[2], given_[3]), by_hand(graph, *given_), dtype)


def bits(x: Tensor, weight: Tensor, bias: Tensor, addend: Tensor, graph: Graph) -> list[Tensor]:
    mine = sparse_product(x, weight, graph, bias, addend)
    return [mine, *torch.autograd.grad(mine.square().sum(), (x, weight, bias, addend))]


@pytest.mark.compiler
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("ragged", [False, True])
def test_a_replicate_alone_has_the_bits_it_has_among_others(dtype: torch.dtype, ragged: bool) -> None:
    graph = random_graph(600, 40, 0.6, ragged=ragged)
    given_ = operands(graph, 5, 77, dtype)
    together = bits(*given_, graph)
    for r in range(5):
        one = [t[:, [r]].detach().clone().requires_grad_() for t in given_]
        for a, b in zip(bits(*one, graph), together, strict=True):
            assert torch.equal(a, b[:, [r]])


@pytest.mark.compiler
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_threads_and_padding_do_not_change_a_bit_and_instruction_sets_only_their_rounding(dtype: torch.dtype) -> None:
    graph = random_graph(600, 40, 0.6)
    given_ = operands(graph, 3, 80, dtype)
    best, threads = cpu.simd(), torch.get_num_threads()
    exact = bits(*(t.detach().double().requires_grad_() for t in given_), graph)
    try:
        for simd in ("portable", "emulated", "avx2", "avx512"):
            try:
                cpu.choose_simd(simd)
            except KernelError:
                continue
            torch.set_num_threads(1)
            alone = bits(*given_, graph)
            for mine, truth in zip(alone, exact, strict=True):
                assert torch.linalg.vector_norm(mine.double() - truth) <= TOLERANCE[dtype] * torch.linalg.vector_norm(
                    truth
                )
            for n in (2, 3):
                torch.set_num_threads(n)
                assert all(torch.equal(a, b) for a, b in zip(bits(*given_, graph), alone, strict=True)), (simd, n)
    finally:
        cpu.choose_simd(best)
        torch.set_num_threads(threads)
    x, weight, bias, addend = (t.detach() for t in given_)
    short, g = x[:, :, :70].contiguous(), addend[:, :, :70].contiguous()
    zeros = torch.zeros(len(g), 3, 10, dtype=dtype)
    padded = _EdgeProduct.apply(torch.cat([g, zeros], -1), x, graph.wiring)
    assert torch.equal(_EdgeProduct.apply(g, short, graph.wiring), padded)
    assert torch.equal(
        sparse_product(short, weight, graph, bias, g), sparse_product(x, weight, graph, bias, addend)[:, :, :70]
    )


@pytest.mark.compiler
def test_backends_agree_to_first_and_second_order() -> None:
    graph = random_graph(ragged=True)
    given_ = operands(graph, 2, 9, shared=True)
    found = {}
    for name in ("reference", "cpu"):
        with backend(name):
            y = sparse_product(given_[0], given_[1], graph, given_[2], given_[3]).tanh().sum()
            first = torch.autograd.grad(y, given_, create_graph=True)
            second = torch.autograd.grad(sum(g.square().sum() for g in first), given_)
            found[name] = [y, *first, *second]
    for mine, truth in zip(found["cpu"], found["reference"], strict=True):
        assert close(mine, truth, torch.float64)


CASES = [(ragged, n, shared) for ragged in (False, True) for n, shared in ((1, True), (2, True), (2, False))]


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize(("ragged", "n", "shared"), CASES)
def test_gradcheck_and_gradgradcheck(name: str, ragged: bool, n: int, shared: bool) -> None:
    graph = random_graph(4, 3, ragged=ragged)
    given_ = operands(graph, n, 3, shared=shared)
    with backend(name):
        assert gradcheck(lambda x, w, b, a: sparse_product(x, w, graph, b, a), given_, check_forward_ad=True)
        assert gradgradcheck(lambda x, w, b, a: sparse_product(x, w, graph, b, a).tanh(), given_)


@pytest.mark.parametrize(("ragged", "n", "shared"), CASES)
def test_opcheck(ragged: bool, n: int, shared: bool) -> None:
    graph = random_graph(4, 3, ragged=ragged)
    x, weight, bias, addend = operands(graph, n, 3, shared=shared)
    w, ops = graph.wiring, torch.ops.vnn
    g = addend.detach().clone().requires_grad_()
    torch.library.opcheck(ops.sparse_product, (x, weight, bias, addend, *w[:8], w.n_out))
    torch.library.opcheck(ops.sparse_product, (x, weight, None, None, *w[:8], w.n_out))
    torch.library.opcheck(ops.sparse_product_transposed, (g, weight, *w[:8], w.n_in, shared and n > 1))
    torch.library.opcheck(ops.edge_product, (g, x, *w[:8], w.n_weights))
    torch.library.opcheck(ops.row_sum, (g,))


@pytest.mark.parametrize(("ragged", "n", "shared"), CASES)
def test_torch_func(ragged: bool, n: int, shared: bool) -> None:
    graph = random_graph(4, 3, ragged=ragged)
    given_ = [t.detach() for t in operands(graph, n, 3, shared=shared)]

    def f(x: Tensor, w: Tensor, b: Tensor, a: Tensor) -> Tensor:
        return sparse_product(x, w, graph, b, a)

    for one, other in zip(jacrev(f, (0, 1, 2, 3))(*given_), jacfwd(f, (0, 1, 2, 3))(*given_), strict=True):
        assert torch.allclose(one, other)
    _, pushed = jvp(f, tuple(given_), tuple(torch.ones_like(t) for t in given_))
    ones = [torch.ones_like(t) for t in given_]
    assert torch.allclose(
        pushed, f(given_[0], ones[1], ones[2], ones[3]) + f(ones[0], given_[1], ones[2] * 0, ones[3] * 0)
    )
    flat = hessian(lambda x: f(x, *given_[1:]).tanh().sum())(given_[0]).reshape(given_[0].numel(), -1)
    assert torch.allclose(flat, flat.T)
    for axes in (
        (0, None, None, None),
        (None, 0, None, None),
        (None, None, 0, None),
        (None, None, None, 0),
        (0, 0, 0, 0),
    ):
        many = [t if a is None else torch.stack([t, 2 * t, t - 1]) for t, a in zip(given_, axes, strict=True)]
        singles = [[t if a is None else t[i] for t, a in zip(many, axes, strict=True)] for i in range(3)]
        assert torch.allclose(vmap(f, axes)(*many), torch.stack([f(*one) for one in singles]))
        slope = grad(lambda *ts: f(*ts).tanh().sum(), (0, 1, 2, 3))
        for i, found in enumerate(zip(*(slope(*one) for one in singles), strict=True)):
            assert torch.allclose(vmap(slope, axes)(*many)[i], torch.stack(found))
    last = torch.stack([given_[1], 2 * given_[1]], dim=-1)
    assert torch.allclose(
        vmap(f, (None, 2, None, None))(given_[0], last, *given_[2:])[1], f(given_[0], 2 * given_[1], *given_[2:])
    )


def test_the_inner_functions_differentiate_too() -> None:
    graph = random_graph(4, 3)
    x, weight, _, g = operands(graph, 2, 3)
    assert gradcheck(lambda g, w: _Transposed.apply(g, w, graph.wiring, True), (g, weight), check_forward_ad=True)
    assert gradcheck(lambda g, x: _EdgeProduct.apply(g, x, graph.wiring), (g, x), check_forward_ad=True)
    assert gradcheck(_RowSum.apply, (g,), check_forward_ad=True)


class Layer(torch.nn.Module):
    def __init__(self, graph: Graph, weight: Tensor) -> None:
        super().__init__()
        self.edges, self.weight = graph, torch.nn.Parameter(weight.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        return sparse_product(x, self.weight, self.edges).tanh()


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_compile_in_one_graph_and_export(ragged: bool) -> None:
    graph = random_graph(ragged=ragged)
    x, weight, _, _ = operands(graph, 2, 8)
    layer = Layer(graph, weight)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    expected = torch.autograd.grad(layer(x).sum(), (x, layer.weight))
    for one, other in zip(torch.autograd.grad(compiled(x).sum(), (x, layer.weight)), expected, strict=True):
        assert torch.allclose(one, other)
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(layer, (x.detach(),), dynamic_shapes=({2: batch},))
    other = torch.cat([x, x], dim=2).detach()
    assert torch.allclose(program.module()(other), layer(other))


def test_autocast_keeps_weights_in_their_precision() -> None:
    graph = random_graph()
    x, weight, bias, addend = operands(graph, 1, 4, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        y = sparse_product(x.bfloat16(), weight, graph, bias, addend.bfloat16())
    assert (y.dtype, weight.dtype) == (torch.bfloat16, torch.float32)
    exact = sparse_product(x.double(), weight.double(), graph, bias.double(), addend.double())
    assert torch.linalg.vector_norm(y.double() - exact) <= 1e-2 * torch.linalg.vector_norm(exact)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda x, w, b, a: (x[1:], w, b, a), "`x` has shape"),
        (lambda x, w, b, a: (x[:, :2], w, b, a), "`x` has shape"),
        (lambda x, w, b, a: (x, w[1:], b, a), "`weight` has shape"),
        (lambda x, w, b, a: (x, w, b[1:], a), "`bias` has shape"),
        (lambda x, w, b, a: (x, w, b, a[:, :, 1:]), "`addend` has shape"),
        (lambda x, w, b, a: (x, w.detach().int(), b, a), "dtype"),
        (lambda x, w, b, a: (x.to("meta"), w, b, a), "devices|lie on"),
    ],
)
def test_wrong_tensors_are_refused_in_words(change: Callable[..., list[Tensor]], what: str) -> None:
    graph = random_graph()
    x, w, b, a = change(*operands(graph, 3, 4))
    with pytest.raises(KernelError, match=what):
        sparse_product(x, w, graph, b, a)


def test_any_stride_gives_the_right_answer() -> None:
    graph = random_graph()
    x, w, b, a = operands(graph, 3, 8)
    turned = [t.detach().transpose(0, -1).contiguous().transpose(0, -1) for t in (x, w, b, a)]
    assert close(
        sparse_product(turned[0], turned[1], graph, turned[2], turned[3]), by_hand(graph, x, w, b, a), torch.float64
    )

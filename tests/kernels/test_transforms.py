"""Every transform of torch, for packed genotypes and for replicates that are wired in their own way."""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, grad, jacfwd, jacrev, jvp, vmap

from tests.kernels.dense import dense, draw, random_pairs, rewired
from vnn.kernels import Graph, Packed, backend, packed_product, sparse_product

BACKENDS = ["reference", pytest.param("cpu", marks=pytest.mark.compiler)]
VARIANTS = ["plain", "units", "rewired"]


@pytest.fixture(autouse=True)
def torchs_own_chance() -> Iterator[None]:
    """gradcheck and opcheck draw from torch's global generator; it is put back."""
    with torch.random.fork_rng(devices=[]):
        yield


@functools.cache
def graph(variant: str) -> Graph:
    if variant == "rewired":
        pairs, own = rewired(random_pairs(5, 3, 0.6), 5, 2)
        return dense(pairs, 5, 3, sources=own).graph
    return dense(random_pairs(5, 3, 0.6), 5, 3, units_out=[2, 1, 3] if variant == "units" else None).graph


def codes() -> tuple[Tensor, Tensor]:
    drawn = np.random.default_rng(0).integers(0, 256, (2, 5, 16), dtype=np.uint8)
    return torch.from_numpy(drawn), torch.tensor([1, 0])


PEOPLE = 66


def product(variant: str, kind: str) -> tuple[Callable[..., Tensor], list[Tensor]]:
    """A function of float64 tensors, and where to take it."""
    edges, (held, panels) = graph(variant), codes()
    weight, bias = draw(1, edges.n_weights, 2), draw(2, edges.n_out, 2)
    if kind == "sparse":
        first = [draw(0, edges.n_in, 2, 3), weight, bias, draw(3, edges.n_out, 2, 3)]
        return lambda x, w, b, a: sparse_product(x, w, edges, b, a), first
    first = [draw(0, 5, 4), weight, bias, draw(3, edges.n_out, 2, PEOPLE), draw(4, 5, 2), draw(5, 5, 2)]

    def packed(codebook: Tensor, w: Tensor, b: Tensor, a: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return packed_product(Packed(held, panels, codebook, PEOPLE), w, edges, b, a, scale=scale, shift=shift)

    return packed, first


CASES = [(variant, "packed") for variant in VARIANTS] + [("rewired", "sparse")]


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize(("variant", "kind"), CASES)
def test_gradcheck_and_gradgradcheck(name: str, variant: str, kind: str) -> None:
    f, at = product(variant, kind)
    at = [t.requires_grad_() for t in at]
    with backend(name):
        assert gradcheck(f, at, check_forward_ad=True, fast_mode=True)
        assert gradgradcheck(lambda *ts: f(*ts).tanh(), at, fast_mode=True)


@pytest.mark.parametrize(("variant", "kind"), CASES)
def test_torch_func(variant: str, kind: str) -> None:
    f, at = product(variant, kind)
    every = tuple(range(len(at)))
    small = f if kind == "sparse" else lambda *ts: f(*ts)[:, :, ::13]
    for one, other in zip(jacrev(small, every)(*at), jacfwd(small, every)(*at), strict=True):
        assert torch.allclose(one, other)
    ones = tuple(torch.ones_like(t) for t in at)
    _, pushed = jvp(f, tuple(at), ones)
    step = 1e-6
    apart = (f(*(t + step for t in at)) - f(*(t - step for t in at))) / (2 * step)
    assert torch.allclose(pushed, apart, atol=1e-6)
    slope = grad(lambda *ts: f(*ts).tanh().sum(), every)
    free = [t.clone().requires_grad_() for t in at]
    for one, other in zip(slope(*at), torch.autograd.grad(f(*free).tanh().sum(), free), strict=True):
        assert torch.allclose(one, other)
    for mapped in (*([k] for k in every), list(every)):
        axes = tuple(0 if k in mapped else None for k in every)
        many = [torch.stack([t, 2 * t]) if k in mapped else t for k, t in enumerate(at)]
        singles = [[t[i] if k in mapped else t for k, t in enumerate(many)] for i in range(2)]
        assert torch.allclose(vmap(f, axes)(*many), torch.stack([f(*one) for one in singles]))
        slopes = [slope(*one) for one in singles]
        for found, expected in zip(vmap(slope, axes)(*many), zip(*slopes, strict=True), strict=True):
            assert torch.allclose(found, torch.stack(expected))


@pytest.mark.parametrize("variant", ["plain", pytest.param("units", marks=pytest.mark.slow), "rewired"])
def test_opcheck(variant: str) -> None:
    edges, (held, panels) = graph(variant), codes()
    w, ops = edges.wiring, torch.ops.vnn
    index = (held, panels, *w[:8])
    codebook, weight, bias, g = (
        draw(k, *shape).requires_grad_()
        for k, shape in enumerate([(5, 4), (w.n_weights, 2), (w.n_out, 2), (w.n_out, 2, PEOPLE)])
    )
    torch.library.opcheck(ops.packed_product, (codebook, weight, bias, g, *index, PEOPLE, w.n_out))
    torch.library.opcheck(ops.packed_product, (codebook, weight, None, None, *index, PEOPLE, w.n_out))
    torch.library.opcheck(ops.packed_edge_product, (g, codebook, *index, w.n_weights))
    torch.library.opcheck(ops.packed_codebook, (g, weight, *index))
    x = draw(7, w.n_in, 2, PEOPLE).requires_grad_()
    torch.library.opcheck(ops.sparse_product_backward, (g, x, weight, *w[:8], False))
    if variant == "rewired":
        torch.library.opcheck(ops.sparse_product, (x, weight, bias, g, *w[:8], w.n_out))
        torch.library.opcheck(ops.sparse_product_transposed, (g, weight, *w[:8], w.n_in, True))
        torch.library.opcheck(ops.edge_product, (g, x, *w[:8], w.n_weights))


class Layer(nn.Module):
    """A product with weights of its own; of genotypes, when it is given codes."""

    def __init__(self, edges: Graph, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.edges = edges
        self.weight = nn.Parameter(draw(1, edges.n_weights, 2, dtype=dtype))
        self.codebook = nn.Parameter(draw(0, 5, 4, dtype=dtype))
        self.register_buffer("panels", torch.tensor([1, 0]))

    def forward(self, given: Tensor) -> Tensor:
        if given.dtype == torch.uint8:
            return packed_product(Packed(given, self.panels, self.codebook, PEOPLE), self.weight, self.edges).tanh()
        return sparse_product(given, self.weight, self.edges).tanh()


def inputs(kind: str, dtype: torch.dtype = torch.float64) -> Tensor:
    return codes()[0] if kind == "packed" else draw(3, 5, 2, 8, dtype=dtype)


@pytest.mark.parametrize(("variant", "kind"), CASES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_compile_in_one_graph_and_export(variant: str, kind: str) -> None:
    torch.compiler.reset()
    layer, given = Layer(graph(variant)), inputs(kind)
    taken = [layer.weight, layer.codebook] if kind == "packed" else [layer.weight]
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(given), layer(given))
    expected = torch.autograd.grad(layer(given).sum(), taken)
    for one, other in zip(torch.autograd.grad(compiled(given).sum(), taken), expected, strict=True):
        assert torch.allclose(one, other)
    dynamic = ({2: torch.export.Dim("batch", min=2, max=64)},) if kind == "sparse" else None
    program = torch.export.export(layer, (given,), dynamic_shapes=dynamic)
    other = torch.cat([given, given], dim=2) if kind == "sparse" else given.flip(0)
    assert torch.allclose(program.module()(other), layer(other))


@pytest.mark.parametrize(("variant", "kind"), CASES)
def test_modules_are_called_copied_pickled_and_moved(variant: str, kind: str) -> None:
    layer, given = Layer(graph(variant)), inputs(kind)
    y = layer(given)
    other = {name: 2 * p for name, p in layer.named_parameters()}
    found = functional_call(layer, other, (given,))
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), copy.copy(layer)):
        assert torch.equal(twin(given), y)
    double = copy.deepcopy(layer)
    with torch.no_grad():
        for p in double.parameters():
            p.mul_(2)
    assert torch.equal(double(given), found)
    assert torch.equal(layer(given), y)
    short = copy.deepcopy(layer).to(torch.float32)
    assert short(given).dtype == torch.float32
    assert torch.allclose(short(given).double(), y, atol=1e-5)
    away = copy.deepcopy(layer).to("meta")
    assert away.edges.wiring.src.device.type == "meta"
    assert away.edges.wiring.n_wirings == layer.edges.wiring.n_wirings
    params = {name: torch.stack([p, 2 * p]) for name, p in layer.named_parameters()}
    many = vmap(lambda held: functional_call(layer, held, (given,)))({k: v.detach() for k, v in params.items()})
    assert torch.allclose(many, torch.stack([y, found]))


@pytest.mark.parametrize(("variant", "kind"), CASES)
def test_autocast(variant: str, kind: str) -> None:
    layer = Layer(graph(variant), torch.float32)
    exact = copy.deepcopy(layer).double()(inputs(kind))
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(inputs(kind, torch.float32))
    assert y.dtype == (torch.bfloat16 if kind == "sparse" else torch.float32)
    assert torch.linalg.vector_norm(y.double() - exact) <= 1e-2 * torch.linalg.vector_norm(exact)
    y.sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32

"""torch-sparse as a backend gives the numbers of the definition, graphs convert both ways, and a broken one says why."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.kernels.test_product import by_hand, close, operands, random_graph
from vnn._errors import KernelError
from vnn.kernels import Graph, active_name, backend, describe, sparse_product, torch_sparse
from vnn.kernels.product import edge_product, transposed_product
from vnn.ontology import Mask

installed = pytest.mark.skipif(not torch_sparse.available(), reason=torch_sparse.why_not())


def own_sources(n_replicates: int) -> Graph:
    """Seven sources, four targets of three edges each, wired anew in every replicate."""
    rng = np.random.default_rng(5)
    target = np.repeat(np.arange(4), 3)
    sources = np.stack(
        [np.concatenate([rng.choice(7, 3, replace=False) for _ in range(4)]) for _ in range(n_replicates)], axis=1
    )
    edges = np.stack([np.concatenate([np.sort(rng.choice(7, 3, replace=False)) for _ in range(4)]), target], axis=1)
    return Graph(edges, 7, 4, sources=sources)


GRAPHS = {
    "plain": lambda: random_graph(40, 20),
    "ragged": lambda: random_graph(ragged=True),
    "per replicate": lambda: own_sources(3),
    "without edges": lambda: Graph(np.zeros((0, 2)), 3, 2),
    "without targets": lambda: Graph(np.zeros((0, 2)), 3, 0),
}


@installed
@pytest.mark.parametrize("kind", GRAPHS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("batch", [0, 1, 37])
def test_forward_and_every_gradient_equal_the_reference(
    kind: str, dtype: torch.dtype, shared: bool, batch: int
) -> None:
    graph = GRAPHS[kind]()
    exact = operands(graph, 3, batch, torch.float64, shared)
    given = [t.detach().to(dtype).requires_grad_() for t in exact]
    found: dict[str, list[Tensor]] = {}
    for name, (x, weight, bias, addend) in {"reference": exact, "torch_sparse": given}.items():
        with backend(name):
            y = sparse_product(x, weight, graph, bias, addend)
            upstream = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape)
            found[name] = [y, *torch.autograd.grad(y, (x, weight, bias, addend), upstream)]
            found[name] += [transposed_product(upstream, weight, graph), edge_product(upstream, x, graph)]
    names = ("y", "x", "weight", "bias", "addend", "transposed product", "edge product")
    for what, mine, truth in zip(names, found["torch_sparse"], found["reference"], strict=True):
        assert mine.dtype == dtype, what
        assert close(mine, truth, dtype), what


@installed
def test_it_equals_dense_matrices_and_takes_second_gradients() -> None:
    graph = random_graph(ragged=True)
    given = operands(graph, 2, 9)
    second = {}
    for name in ("reference", "torch_sparse"):
        with backend(name):
            y = sparse_product(given[0], given[1], graph, given[2], given[3])
            assert close(y, by_hand(graph, *given), torch.float64)
            first = torch.autograd.grad(y.tanh().sum(), given, create_graph=True)
            second[name] = torch.autograd.grad(sum(g.square().sum() for g in first), given)
    for mine, truth in zip(second["torch_sparse"], second["reference"], strict=True):
        assert close(mine, truth, torch.float64)


@installed
def test_short_types_are_refused() -> None:
    graph = random_graph()
    x, weight = torch.ones(graph.n_in, 1, 3, dtype=torch.bfloat16), torch.ones(graph.n_weights, 1)
    with backend("torch_sparse"), pytest.raises(KernelError, match=r"bfloat16.*convert, or drop the override"):
        sparse_product(x, weight, graph)


@installed
def test_it_is_named_when_in_use_and_never_picked_by_itself() -> None:
    states = {record["backend"]: record["state"] for record in describe()}
    assert states["torch_sparse"] == "available"
    with backend("torch_sparse"):
        assert active_name().startswith("torch_sparse (0.")
        states = {record["backend"]: record["state"] for record in describe()}
    assert states["torch_sparse"] == "in use"


@installed
def test_a_graph_becomes_a_sparse_tensor_and_comes_back() -> None:
    graph = random_graph(9, 6)
    weight = torch.from_numpy(np.random.default_rng(2).standard_normal((graph.n_weights, 2))).requires_grad_()
    tensor = torch_sparse.to_torch_sparse(graph, weight, replicate=1)
    assert tensor.sparse_sizes() == (6, 9)
    again, values = torch_sparse.from_torch_sparse(tensor)
    assert all(torch.equal(a, b) for a, b in zip(again.wiring[:5], graph.wiring[:5], strict=True))
    assert torch.equal(values[:, 0], weight[:, 1])
    values.sum().backward()
    assert weight.grad is not None
    assert weight.grad.sum(0).tolist() == [0, graph.n_weights]


@installed
def test_every_weight_of_a_ragged_graph_is_an_entry() -> None:
    graph = random_graph(ragged=True)
    x, weight, bias, addend = operands(graph, 1, 5)
    dense = torch_sparse.to_torch_sparse(graph, weight).to_dense()
    zeros = torch.zeros_like(bias), torch.zeros_like(addend)
    assert close(dense @ x[:, 0], by_hand(graph, x, weight, *zeros)[:, 0], torch.float64)
    assert torch_sparse.to_torch_sparse(graph).sum() == graph.n_weights


@installed
def test_sources_of_their_own_are_converted_by_replicate() -> None:
    graph = own_sources(2)
    columns = [torch_sparse.to_torch_sparse(graph, replicate=r).to_dense() for r in range(2)]
    assert not torch.equal(*columns)
    with pytest.raises(KernelError, match="wires 2 replicates; there is no replicate 2"):
        torch_sparse.to_torch_sparse(graph, replicate=2)


@installed
def test_sparse_tensors_that_are_no_graph_are_refused() -> None:
    kind = torch_sparse.library().SparseTensor
    twice = kind(row=torch.tensor([0, 0]), col=torch.tensor([1, 1]), sparse_sizes=(2, 2))
    with pytest.raises(KernelError, match="must not repeat"):
        torch_sparse.from_torch_sparse(twice)
    wide = kind(row=torch.tensor([0]), col=torch.tensor([1]), value=torch.ones(1, 3), sparse_sizes=(2, 2))
    with pytest.raises(KernelError, match=r"values have shape \(1, 3\)"):
        torch_sparse.from_torch_sparse(wide)
    graph = random_graph()
    with pytest.raises(KernelError, match=r"`weight` has shape \(3, 1\)"):
        torch_sparse.to_torch_sparse(graph, torch.ones(3, 1))


@installed
def test_a_mask_becomes_a_sparse_tensor_and_comes_back() -> None:
    mask = Mask("s", "t", ("a", "b", "c"), ("x", "y"), np.array([[0, 1], [2, 0]]))
    names = {"sources": mask.sources, "targets": mask.targets, "source_level": "s", "target_level": "t"}
    assert Mask.from_torch_sparse(mask.to_torch_sparse(), **names).edges.tolist() == mask.edges.tolist()
    graph, _ = torch_sparse.from_torch_sparse(mask.to_torch_sparse())
    assert torch.equal(graph.src, Graph(mask.edges, 3, 2).src)


def test_a_missing_one_is_an_error_that_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_sparse, "find_spec", lambda _: None)
    torch_sparse.library.cache_clear()
    try:
        with backend("torch_sparse"), pytest.raises(KernelError, match=r"not installed; .*pip install"):
            active_name()
    finally:
        torch_sparse.library.cache_clear()


def test_a_broken_one_is_an_error_with_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_sparse, "find_spec", lambda _: True)
    monkeypatch.setitem(sys.modules, "torch_sparse", None)
    torch_sparse.library.cache_clear()
    try:
        with backend("torch_sparse"), pytest.raises(KernelError, match=r"does not load with torch .*halted"):
            active_name()
        states = {record["backend"]: record for record in describe()}
        assert states["torch_sparse"]["state"] == "broken"
    finally:
        torch_sparse.library.cache_clear()

"""Every variant of the sparse product, on every backend, instruction set and dtype, against dense matrices."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kernels.dense import (
    SHORT,
    TOLERANCE,
    Dense,
    dense,
    draw,
    error,
    exact,
    machines,
    random_pairs,
    rewired,
    running,
)
from vnn.kernels import edge_product, sparse_product, transposed_product

pytestmark = pytest.mark.usefixtures("poisoned_pool")
MACHINES = machines(torch.float64, torch.float32, torch.float16, torch.bfloat16)

WIRINGS = {
    "plain": lambda: dense(random_pairs(40, 23, 0.3), 40, 23),
    "one edge": lambda: dense([(0, 0)], 1, 1),
    "no edges": lambda: dense([], 5, 3),
    "no sources": lambda: dense([], 0, 3),
    "no targets": lambda: dense([], 5, 0),
    "empty rows": lambda: dense([(1, 2), (3, 2), (3, 5)], 6, 8),
    "parts": lambda: dense([(s, t) for s, n in enumerate((255, 256, 257, 512, 513)) for t in range(n)], 5, 513),
    "parts of targets": lambda: dense(
        [(s, t) for t, n in enumerate((255, 256, 257, 512, 513)) for s in range(n)], 513, 5
    ),
    "in order": lambda: dense([(v, v // 3) for v in range(120)], 120, 40),
    "ragged": lambda: dense(random_pairs(9, 7, 0.5), 9, 7, units_in=[1, 2, 3] * 3, units_out=[2, 1, 1, 3, 1, 1, 2]),
    "units in": lambda: dense(random_pairs(6, 20, 0.5), 6, 20, units_in=[1, 4, 2, 1, 1, 3]),
    "units out": lambda: dense(random_pairs(9, 4, 0.5), 9, 4, units_out=[5, 1, 2, 17]),
    "empty ragged rows": lambda: dense([(0, 1), (2, 1)], 4, 3, units_in=[2, 1, 3, 2], units_out=[2, 2, 3]),
    "rewired": lambda: wired(),
    "rewired units": lambda: wired(units_in=[2] * 12, units_out=[1, 3, 1, 2, 1, 1, 4]),
}


def wired(n: int = 3, **units: list[int]) -> Dense:
    pairs, own = rewired(random_pairs(12, 7, 0.4), 12, n)
    return dense(pairs, 12, 7, sources=own, **units)


@functools.cache
def wiring(name: str) -> Dense:
    return WIRINGS[name]()


def compare(
    truth: Dense, machine: str, dtype: torch.dtype, n: int, shared: bool, batch: int, any_: bool = False
) -> None:
    """Forward product and every gradient, by name; `any_` values may cancel."""
    graph = truth.graph
    own = torch.float32 if dtype in SHORT else dtype
    given_ = {
        "x": draw(0, truth.n_in, 1 if shared else n, batch, dtype=dtype),
        "weight": draw(1, len(truth.rows), n, dtype=own),
        "bias": draw(2, truth.n_out, n, dtype=own),
        "addend": draw(3, truth.n_out, n, batch, dtype=dtype),
    }
    for t in given_.values():
        t.requires_grad_()
    g = draw(4, truth.n_out, n, batch, dtype=dtype)
    with running(machine):
        y = sparse_product(given_["x"], given_["weight"], graph, given_["bias"], given_["addend"])
        found = torch.autograd.grad(y, list(given_.values()), g)
        back = transposed_product(g, given_["weight"].detach(), graph)
        edges = edge_product(g, given_["x"].detach(), graph)
    at = {name: exact(t) for name, t in given_.items()}
    assert y.dtype == dtype
    sizes = {name: abs(value) for name, value in at.items()}
    assert error(y, truth.product(**at), truth.product(**sizes) if any_ else None) <= TOLERANCE[dtype]
    expected = truth.gradients(exact(g), at["x"], at["weight"])
    terms = truth.gradients(abs(exact(g)), sizes["x"], sizes["weight"]) if any_ else {}
    for (name, value), mine in zip(given_.items(), found, strict=True):
        assert mine.dtype == value.dtype, name
        assert error(mine, expected[name], terms.get(name)) <= TOLERANCE[dtype], name
    apart = truth.gradients(exact(g), np.broadcast_to(at["x"], (truth.n_in, n, batch)), at["weight"])
    assert error(back, apart["x"], terms.get("x")) <= TOLERANCE[dtype]
    assert error(edges, expected["weight"], terms.get("weight")) <= TOLERANCE[dtype]


@pytest.mark.parametrize(("machine", "dtype"), MACHINES)
@pytest.mark.parametrize("name", WIRINGS)
def test_forward_and_every_gradient(name: str, machine: str, dtype: torch.dtype) -> None:
    truth = wiring(name)
    replicates = [(3, True), (3, False)] if name.startswith("rewired") else [(1, True), (3, True), (6, False)]
    for n, shared in replicates:
        for batch in (0, 1, 16, 37, 131):
            compare(truth, machine, dtype, n, shared, batch)


@pytest.mark.parametrize(("machine", "dtype"), MACHINES)
def test_a_node_with_30_000_edges(machine: str, dtype: torch.dtype) -> None:
    compare(long("targets"), machine, dtype, 2, True, 17)
    compare(long("sources"), machine, dtype, 2, False, 17)


@functools.cache
def long(side: str) -> Dense:
    pairs = np.concatenate([[(s, 0) for s in range(5)], [(s, 1) for s in range(30_000)], [(7, 2), (29_999, 2)]])
    return dense(pairs, 30_000, 4) if side == "targets" else dense(pairs[:, ::-1], 4, 30_000)


@pytest.mark.parametrize(("machine", "dtype"), MACHINES)
@pytest.mark.parametrize("name", ["plain", "ragged", "rewired"])
def test_a_batch_of_10_000(name: str, machine: str, dtype: torch.dtype) -> None:
    compare(wiring(name), machine, dtype, 3, name != "ragged", 10_000)


@pytest.mark.compiler
@pytest.mark.parametrize(("machine", "dtype"), machines(torch.float64, torch.float32, torch.bfloat16))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pairs=st.sets(st.tuples(st.integers(0, 8), st.integers(0, 6)), max_size=40),
    n=st.integers(1, 6),
    batch=st.integers(0, 150),
    variant=st.sampled_from(["plain", "ragged", "rewired"]),
    shared=st.booleans(),
)
def test_any_graph(
    machine: str, dtype: torch.dtype, pairs: set[tuple[int, int]], n: int, batch: int, variant: str, shared: bool
) -> None:
    edges = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)
    more = {}
    if variant == "ragged":
        more = {"units_in": [1, 2, 3] * 3, "units_out": [2, 1, 1, 3, 1, 1, 2]}
    if variant == "rewired":
        edges, own = rewired(edges, 9, n)
        more = {"sources": own}
    compare(dense(edges, 9, 7, **more), machine, dtype, n, shared, batch, any_=True)

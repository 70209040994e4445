"""What may not change a bit: replicates beside it, threads, samples behind it, the way the gradients are taken."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.kernels.dense import (
    SHORT,
    Dense,
    bits,
    dense,
    draw,
    machines,
    random_pairs,
    rewired,
    running,
    threads,
)
from vnn.kernels import Packed, cpu, packed_product, sparse_product
from vnn.kernels.cpu import backward
from vnn.kernels.graph import Graph

pytestmark = [pytest.mark.compiler, pytest.mark.usefixtures("poisoned_pool")]
COMPILED = [m for m in machines(torch.float64, torch.float32, torch.bfloat16) if "reference" not in str(m.id)]
PACKED = [m for m in machines(torch.float64, torch.float32) if "reference" not in str(m.id)]
MOST = 20
AROUND_PARTS = (255, 256, 257, 512, 513, 600)  # edges of a node; a part has 256


def truths() -> dict[str, Dense]:
    """Nodes of one edge to several parts, and enough nodes to be dealt in both ways."""
    many = np.concatenate([random_pairs(40, 60, 0.2), [(s, 60) for s in range(40)]])
    long = np.array([(s, t) for t in range(3) for s in range(0, 600, t + 1)])
    pairs, own = rewired(random_pairs(40, 60, 0.2), 40, MOST)
    return {
        "many nodes": dense(many, 40, 61),
        "many edges": dense(long, 600, 3),
        "parts": dense([(s, t) for s, degree in enumerate(AROUND_PARTS) for t in range(degree)], 6, 600),
        "in order": dense([(v, v // 5) for v in range(300)], 300, 60),
        "ragged": dense(random_pairs(20, 40, 0.3), 20, 40, units_in=[1, 2, 3, 1] * 5, units_out=[1, 3] * 20),
        "rewired": dense(pairs, 40, 60, sources=own),
    }


TRUTHS = truths()


def of_replicates(truth: Dense, which: list[int]) -> Graph:
    """The graph of some replicates."""
    graph = truth.graph
    if graph.wiring.n_wirings == 1:
        return graph
    degrees = np.diff(graph.ptr.numpy())
    position = np.concatenate([np.arange(degree) for degree in degrees])
    edges = np.stack([position, np.repeat(np.arange(graph.n_targets), degrees)], axis=1)
    return Graph(edges, graph.n_sources, graph.n_targets, sources=truth.columns[:, which])


def results(truth: Dense, given_: list[Tensor], which: list[int]) -> list[Tensor]:
    """Product and gradients of some of the replicates; a gradient of shared x cannot be told apart and is left out."""
    graph = of_replicates(truth, which)
    x, weight, bias, addend, g = given_
    shared = x.shape[1] == 1
    own = [x if shared else x[:, which], weight[:, which], bias[:, which], addend[:, which]]
    taken = [t.clone().requires_grad_() for t in own]
    y = sparse_product(taken[0], taken[1], graph, taken[2], taken[3])
    found = torch.autograd.grad(y, taken, g[:, which])
    return [y, *(found[1:] if shared else found)]


def operands(truth: Dense, n: int, batch: int, dtype: torch.dtype, shared: bool) -> list[Tensor]:
    own = torch.float32 if dtype in SHORT else dtype
    return [
        draw(0, truth.n_in, 1 if shared else n, batch, dtype=dtype), draw(1, len(truth.rows), n, dtype=own),
        draw(2, truth.n_out, n, dtype=own), draw(3, truth.n_out, n, batch, dtype=dtype),
        draw(4, truth.n_out, n, batch, dtype=dtype),
    ]  # fmt: skip


GROUPS = [[0], [19], [3, 7], [1, 0, 2], [4, 5, 6, 7], [2, 3, 4, 5, 6], list(range(8)), list(range(9))]


@pytest.mark.parametrize(("machine", "dtype"), COMPILED)
@pytest.mark.parametrize("name", TRUTHS)
def test_a_replicate_alone_has_the_bits_it_has_among_others(name: str, machine: str, dtype: torch.dtype) -> None:
    truth = TRUTHS[name]
    for batch, shared in ((77, False), (130, True), (16, True)):
        given_ = operands(truth, MOST, batch, dtype, shared)
        with running(machine):
            together = results(truth, given_, list(range(MOST)))
            for which in GROUPS:
                for one, all_ in zip(results(truth, given_, which), together, strict=True):
                    assert torch.equal(one, all_[:, which]), (batch, which)


@pytest.mark.parametrize(("machine", "dtype"), COMPILED)
@pytest.mark.parametrize("name", TRUTHS)
def test_threads_do_not_change_a_bit(
    name: str, machine: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = TRUTHS[name]
    monkeypatch.setattr(cpu, "WORTH_THREADS", 0)
    n = MOST if name == "rewired" else 3
    for shared in (False, True):
        given_ = operands(truth, n, 100, dtype, shared)
        found = []
        for count in (1, 2, 3, 7):
            with running(machine), threads(count):
                taken = [t.clone().requires_grad_() for t in given_[:4]]
                y = sparse_product(taken[0], taken[1], truth.graph, taken[2], taken[3])
                found.append([bits(t) for t in (y, *torch.autograd.grad(y, taken, given_[4]))])
        assert all(other == found[0] for other in found[1:])


@pytest.mark.parametrize(("machine", "dtype"), COMPILED)
@pytest.mark.parametrize("name", TRUTHS)
def test_samples_behind_the_batch_do_not_change_a_bit(name: str, machine: str, dtype: torch.dtype) -> None:
    truth = TRUTHS[name]
    n = MOST if name == "rewired" else 2
    x, weight, bias, addend, g = operands(truth, n, 112, dtype, False)
    for batch in (1, 15, 17, 31, 64, 70, 100):
        with running(machine):
            whole = sparse_product(x, weight, truth.graph, bias, addend)
            part = sparse_product(x[:, :, :batch], weight, truth.graph, bias, addend[:, :, :batch])
            assert torch.equal(part, whole[:, :, :batch])
            padded = g.clone()
            padded[:, :, batch:] = 0
            wiring = truth.graph.wiring
            short = cpu.edge_product(g[:, :, :batch], x[:, :, :batch], wiring)
            assert torch.equal(short, cpu.edge_product(padded, x, wiring)), batch
            assert torch.equal(cpu.row_sum(g[:, :, :batch]), cpu.row_sum(padded))


@pytest.mark.parametrize(("machine", "dtype"), COMPILED)
@pytest.mark.parametrize("name", [name for name in TRUTHS if name != "ragged"])
def test_both_gradients_in_one_walk_are_those_taken_apart(name: str, machine: str, dtype: torch.dtype) -> None:
    truth = TRUTHS[name]
    wiring = truth.graph.wiring
    n = MOST if name == "rewired" else 2
    for batch in (0, 1, 8, 15, 16, 17, 31, 32, 33, 48, 63, 64, 100, 257):
        x, weight, _, _, g = operands(truth, n, batch, dtype, False)
        with running(machine):
            found = backward(g, x, weight, wiring)
            assert found is not None
            apart = cpu.product(g, weight, None, None, wiring, transposed=True, shared=False)
            assert torch.equal(found[0], apart), batch
            assert torch.equal(found[1], cpu.edge_product(g, x, wiring)), batch


def packed_results(truth: Dense, packed: Packed, given_: list[Tensor], which: list[int]) -> list[Tensor]:
    weight, bias, addend, scale, shift, g = [t[:, which] for t in given_]
    taken = [t.clone().requires_grad_() for t in (weight, bias, addend, scale, shift)]
    weight, bias, addend, scale, shift = taken
    graph = of_replicates(truth, which)
    y = packed_product(packed, weight, graph, bias, addend, scale=scale, shift=shift)
    return [y, *torch.autograd.grad(y, taken, g)]


def packed_operands(truth: Dense, n: int, batch: int, dtype: torch.dtype) -> tuple[Packed, list[Tensor]]:
    n_panels = -(-batch // 64)
    codes = np.random.default_rng(0).integers(0, 256, (n_panels, truth.n_in, 16), dtype=np.uint8)
    panels = torch.arange(n_panels).flip(0).contiguous()
    packed = Packed(torch.from_numpy(codes), panels, draw(0, truth.n_in, 4, dtype=dtype), batch)
    shapes = [(len(truth.rows), n), (truth.n_out, n), (truth.n_out, n, batch), (truth.n_in, n), (truth.n_in, n)]
    given_ = [draw(i, *shape, dtype=dtype) for i, shape in enumerate(shapes, 1)]
    return packed, [*given_, draw(9, truth.n_out, n, batch, dtype=dtype)]


PACKABLE = ["many nodes", "many edges", "in order", "rewired"]


@pytest.mark.parametrize(("machine", "dtype"), PACKED)
@pytest.mark.parametrize("name", PACKABLE)
def test_a_replicate_of_packed_genotypes_alone_has_the_bits_it_has_among_others(
    name: str, machine: str, dtype: torch.dtype
) -> None:
    truth = TRUTHS[name]
    packed, given_ = packed_operands(truth, MOST, 150, dtype)
    with running(machine):
        together = packed_results(truth, packed, given_, list(range(MOST)))
        for which in GROUPS:
            for one, all_ in zip(packed_results(truth, packed, given_, which), together, strict=True):
                assert torch.equal(one, all_[:, which]), which


@pytest.mark.parametrize(("machine", "dtype"), PACKED)
@pytest.mark.parametrize("name", PACKABLE)
def test_threads_do_not_change_a_bit_of_packed_products(
    name: str, machine: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = TRUTHS[name]
    monkeypatch.setattr(cpu, "WORTH_THREADS", 0)
    for n in [MOST] if name == "rewired" else [1, 5]:
        packed, (weight, _, _, _, _, g) = packed_operands(truth, n, 290, dtype)
        found = []
        for count in (1, 2, 3):
            with running(machine), threads(count):
                taken = [packed.codebook.clone().requires_grad_(), weight.clone().requires_grad_()]
                y = packed_product(packed._replace(codebook=taken[0]), taken[1], truth.graph)
                found.append([bits(t) for t in (y, *torch.autograd.grad(y, taken, g))])
        assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(("machine", "dtype"), PACKED)
def test_people_behind_the_batch_do_not_change_a_bit(machine: str, dtype: torch.dtype) -> None:
    truth = TRUTHS["many nodes"]
    wiring = truth.graph.wiring
    for n in (1, 2, 4):
        packed, (weight, *_, g) = packed_operands(truth, n, 448, dtype)
        with running(machine):
            whole = cpu.packed_product(packed, weight, None, None, wiring)
            for batch in (1, 63, 65, 130, 256, 300):
                panels = packed.panels[: -(-batch // 64)].contiguous()
                part = packed._replace(panels=panels, batch=batch)
                assert torch.equal(cpu.packed_product(part, weight, None, None, wiring), whole[:, :, :batch])
                padded = g.clone()
                padded[:, :, batch:] = 0
                short = cpu.packed_edge_product(g[:, :, :batch], part, wiring)
                assert torch.equal(short, cpu.packed_edge_product(padded, packed, wiring)), batch

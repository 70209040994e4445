"""Arguments that do not fit: a clear error or the right answer, never a crash."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.kernels.dense import dense, draw, random_pairs, rewired
from vnn._errors import KernelError
from vnn.kernels import (
    Graph,
    Packed,
    backend,
    edge_product,
    packed_product,
    sparse_product,
    transposed_product,
)

GRAPH = dense(random_pairs(6, 5, 0.5), 6, 5).graph
PAIRS, OWN = rewired(random_pairs(6, 5, 0.4), 6, 2)
WIRED = dense(PAIRS, 6, 5, sources=OWN).graph
RAGGED = dense(random_pairs(6, 5, 0.5), 6, 5, units_in=[1, 2] * 3, units_out=[2, 1, 3, 1, 1]).graph
OPS = torch.ops.vnn


def x(n: int = 2, batch: int = 7, **kind: Any) -> Tensor:
    return draw(0, 6, n, batch, **kind)


def weight(n: int = 2, **kind: Any) -> Tensor:
    return draw(1, GRAPH.n_weights, n, **kind)


def packed(**changed: Any) -> Packed:
    codes = np.random.default_rng(0).integers(0, 256, (3, 6, 16), dtype=np.uint8)
    return Packed(torch.from_numpy(codes), torch.tensor([2, 0]), draw(2, 6, 4), 100)._replace(**changed)


def replaced(graph: Graph, **changed: Any) -> list[Any]:
    return list(graph.wiring._replace(**changed)[:8])


WRONG: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: sparse_product(x().numpy(), weight(), GRAPH), TypeError, "`x` is a ndarray"),
    (lambda: sparse_product(x(), None, GRAPH), TypeError, "`weight` is a NoneType"),
    (lambda: sparse_product(x(), weight(), None), TypeError, "`graph` is a NoneType"),
    (lambda: sparse_product(x(), weight(), GRAPH, 3.0), TypeError, "`bias` is a float"),
    (lambda: sparse_product(x()[0], weight(), GRAPH), KernelError, r"`x` has shape \(2, 7\)"),
    (lambda: sparse_product(x(3), weight(), GRAPH), KernelError, r"\(6, 2 or 1, batch\)"),
    (lambda: sparse_product(x(), weight()[:, 0], GRAPH), KernelError, "`weight` has shape"),
    (lambda: sparse_product(x(), weight().half(), GRAPH), KernelError, "float16; it needs float32"),
    (lambda: sparse_product(x().to(torch.complex64), weight(), GRAPH), KernelError, "complex64"),
    (lambda: sparse_product(x().to_sparse(), weight(), GRAPH), KernelError, "layout"),
    (lambda: sparse_product(x().to("meta"), weight().to("meta"), GRAPH), KernelError, "meta"),
    (lambda: sparse_product(x(), weight().to("meta"), GRAPH), KernelError, "meta"),
    (lambda: sparse_product(x(3), draw(1, WIRED.n_weights, 3), WIRED), KernelError, "wires 2 replicates"),
    (lambda: transposed_product(draw(0, 5), weight(), GRAPH), KernelError, "`g` has shape"),
    (lambda: transposed_product(draw(0, 5, 1, 3), weight(), GRAPH), KernelError, r"\(5, 2, batch\)"),
    (lambda: transposed_product(draw(0, 5, 2, 3), weight().int(), GRAPH), KernelError, "int32"),
    (lambda: edge_product(torch.tensor(1.0), x(), GRAPH), KernelError, "`g` has shape"),
    (lambda: edge_product(draw(0, 5, 2, 7).int(), x(), GRAPH), KernelError, "floating-point"),
    (lambda: edge_product(draw(0, 5, 2, 7), x(batch=6), GRAPH), KernelError, "same samples"),
    (lambda: edge_product(draw(0, 5, 3, 7), x(3), WIRED), KernelError, "wires 2 replicates"),
    (lambda: edge_product(draw(0, 5, 2, 7).to("meta"), x().to("meta"), GRAPH), KernelError, "meta"),
    (lambda: packed_product(tuple(packed()), weight(), GRAPH), TypeError, "`packed` is a tuple"),
    (lambda: packed_product(packed(codes=np.zeros((1, 6, 16), np.uint8)), weight(), GRAPH), TypeError, "`codes` is a"),
    (lambda: packed_product(packed(panels=[0, 1]), weight(), GRAPH), TypeError, "`panels` is a list"),
    (lambda: packed_product(packed(batch=100.0), weight(), GRAPH), TypeError, "whole number"),
    (lambda: packed_product(packed(batch=64), weight(), GRAPH), KernelError, "from 65 to 128"),
    (lambda: packed_product(packed(batch=129), weight(), GRAPH), KernelError, "from 65 to 128"),
    (lambda: packed_product(packed(batch=-1), weight(), GRAPH), KernelError, "`batch` is -1"),
    (lambda: packed_product(packed(panels=torch.tensor([0, 3])), weight(), GRAPH), KernelError, "runs from 0 to 3"),
    (lambda: packed_product(packed(panels=torch.tensor([-1, 0])), weight(), GRAPH), KernelError, "runs from -1"),
    (lambda: packed_product(packed(panels=torch.tensor([0, 1]).int()), weight(), GRAPH), KernelError, "int32"),
    (lambda: packed_product(packed(panels=torch.tensor([0, 1]).to("meta")), weight(), GRAPH), KernelError, "meta"),
    (lambda: packed_product(packed(codes=packed().codes.to("meta")), weight(), GRAPH), KernelError, "meta"),
    (lambda: packed_product(packed(codes=packed().codes.char()), weight(), GRAPH), KernelError, "int8"),
    (lambda: packed_product(packed(codes=packed().codes[..., :8]), weight(), GRAPH), KernelError, r"\(3, 6, 8\)"),
    (lambda: packed_product(packed(codes=packed().codes[:, :5]), weight(), GRAPH), KernelError, "codebook"),
    (lambda: packed_product(packed(codebook=draw(0, 6, 3)), weight(), GRAPH), KernelError, "`codebook` has shape"),
    (lambda: packed_product(packed(), draw(0, RAGGED.n_weights, 2), RAGGED), KernelError, "of one unit"),
    (lambda: packed_product(packed(), weight(), GRAPH, scale=draw(0, 2)), KernelError, r"`scale` has shape \(2,\)"),
    (lambda: packed_product(packed(), weight(), GRAPH, shift=draw(0, 5, 2)), KernelError, "`shift` has shape"),
    (lambda: Graph(np.array([[0.5, 0]]), 2, 2), KernelError, "whole numbers"),
    (lambda: Graph(np.array([[0, 0]]), 2, 2, units_in=[1.5, 1]), KernelError, "whole numbers"),
    (lambda: Graph(np.array([[0, 0]]), 2**33, 1), KernelError, "32-bit"),
    (lambda: Graph(np.array([[0, 0]]), 1, 1, units_in=[2**31]), KernelError, "32-bit"),
    (lambda: Graph(np.array([[0, 0]]), 2, 1, sources=np.array([[2]])), KernelError, "runs from 2 to 2"),
    (lambda: Graph(np.array([[0, 0]]), 2, 1, sources=np.array([0])), KernelError, "`sources` has shape"),
]


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_what_does_not_fit_is_refused_in_words(case: int) -> None:
    call, kind, said = WRONG[case]
    with pytest.raises(kind, match=said):
        call()


G, N = GRAPH.wiring, GRAPH.n_out
DIRECT: list[tuple[Callable[[], object], str]] = [
    (lambda: OPS.sparse_product(x()[:5], weight(), None, None, *G[:8], N), "n_in = 6"),
    (lambda: OPS.sparse_product(x(3), weight(), None, None, *G[:8], N), r"\(6, 2, any\)"),
    (lambda: OPS.sparse_product(x(), weight()[1:], None, None, *G[:8], N), "weights"),
    (lambda: OPS.sparse_product(x(), weight(), None, None, *G[:8], N + 1), "n_out = 5"),
    (lambda: OPS.sparse_product(x(), weight(dtype=torch.float32), None, None, *G[:8], N), "float64"),
    (lambda: OPS.sparse_product(x(), weight(), draw(0, N), None, *G[:8], N), "`bias`"),
    (lambda: OPS.sparse_product(x(), weight(), None, draw(0, N, 2, 6), *G[:8], N), "`addend`"),
    (lambda: OPS.sparse_product(x(), weight(), None, None, *replaced(GRAPH, src=G.src[1:]), N), "`tgt_t`"),
    (lambda: OPS.sparse_product(x(), weight(), None, None, *replaced(GRAPH, src=G.src.long()), N), "`src` is torch.int64"),
    (lambda: OPS.sparse_product(x(), weight(), None, None, *replaced(GRAPH, ptr=G.ptr[:-1].contiguous()), N - 1), "end at"),
    (lambda: OPS.sparse_product(x(), weight(), None, None, *replaced(GRAPH, ptr=G.ptr + 1), N), "end at"),
    (lambda: OPS.sparse_product(x(), weight(), None, None, *replaced(GRAPH, ptr_t=G.ptr_t[:0]), N), "more than nodes"),
    (lambda: OPS.sparse_product(x(), weight(), None, None, *replaced(GRAPH, perm_t=G.perm_t[None]), N), "`perm_t`"),
    (lambda: OPS.sparse_product(x(), weight(), None, None, *replaced(GRAPH, unit_ptr_in=G.ptr_t), N), "units"),
    (lambda: OPS.sparse_product(x(), draw(0, WIRED.n_weights, 3), None, None, *WIRED.wiring[:8], N), "wires 2"),
    (lambda: OPS.sparse_product(x(), draw(0, 4, 2), None, None, *RAGGED.wiring[:8], RAGGED.n_out), "rows|weights"),
    (
        lambda: OPS.sparse_product(draw(0, 9, 2, 4), draw(0, RAGGED.n_weights - 1, 2), None, None, *RAGGED.wiring[:8], 8),
        "weights",
    ),
    (lambda: OPS.sparse_product_transposed(draw(0, N, 2, 3), weight(), *G[:8], 7, False), "n_in = 6"),
    (lambda: OPS.sparse_product_transposed(draw(0, N, 3, 3), weight(), *G[:8], 6, False), "`g`"),
    (lambda: OPS.edge_product(draw(0, N, 2, 7), x(batch=6), *G[:8], GRAPH.n_weights), "`x`"),
    (lambda: OPS.edge_product(draw(0, N, 2, 7), x(), *G[:8], GRAPH.n_weights + 1), "weights"),
    (lambda: OPS.edge_product(draw(0, N, 3, 7), x(3), *WIRED.wiring[:8], WIRED.n_weights), "wires 2"),
    (lambda: OPS.packed_edge_product(draw(0, N, 3, 100), packed()[2], *packed()[:2], *WIRED.wiring[:8], WIRED.n_weights), "wires"),
    (lambda: OPS.packed_codebook(draw(0, N, 3, 100), draw(0, WIRED.n_weights, 3), *packed()[:2], *WIRED.wiring[:8]), "wires 2"),
    (lambda: OPS.packed_product(draw(0, 6, 4), None, None, None, *packed()[:2], *G[:8], 100, N), "`weight`"),
    (lambda: OPS.packed_edge_product(draw(0, N, 2, 100), None, *packed()[:2], *G[:8], GRAPH.n_weights), "`codebook`"),
    (lambda: OPS.packed_codebook(draw(0, N, 2, 100), None, *packed()[:2], *G[:8]), "`weight`"),
    (lambda: OPS.sparse_product_backward(draw(0, N, 2, 7), x(1), weight(), *G[:8], False), "`x`"),
    (lambda: OPS.row_sum(torch.tensor(1.0)), "last axis"),
    (lambda: OPS.packed_product(draw(0, 6, 4), weight(), None, None, packed()[0], torch.tensor([0, 9]), *G[:8], 99, N), "runs"),
    (lambda: OPS.packed_product(draw(0, 6, 3), weight(), None, None, *packed()[:2], *G[:8], 100, N), "`codebook`"),
    (lambda: OPS.packed_product(draw(0, 6, 4), weight(), None, None, *packed()[:2], *G[:8], 200, N), "`batch` is 200"),
    (lambda: OPS.packed_edge_product(draw(0, N, 2, 200), draw(0, 6, 4), *packed()[:2], *G[:8], GRAPH.n_weights), "`batch` is 200"),
    (lambda: OPS.packed_codebook(draw(0, N, 3, 100), weight(), *packed()[:2], *G[:8]), "`addend`|`g`"),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(DIRECT)))
def test_operators_called_directly_refuse_sizes_that_do_not_fit(case: int) -> None:
    call, said = DIRECT[case]
    with pytest.raises(KernelError, match=said):
        call()


@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
def test_tensors_without_memory_are_refused() -> None:
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True) as mode, pytest.raises(RuntimeError):
        sparse_product(mode.from_tensor(x()), mode.from_tensor(weight()), GRAPH)


def crooked(t: Tensor, offset: int) -> Tensor:
    """The same values, `offset` bytes beside where they ought to be."""
    room = np.zeros(t.numel() * t.element_size() + 8, np.uint8)
    start = -room.ctypes.data % 8 + offset
    held = room[start : start + t.numel() * t.element_size()]
    held[:] = t.contiguous().numpy().reshape(-1).view(np.uint8)
    return torch.from_numpy(held.view(t.numpy().dtype).reshape(t.shape))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("offset", [1, 2, 4])
def test_memory_that_is_not_aligned_gives_the_right_answer(dtype: torch.dtype, offset: int) -> None:
    given_ = [x(dtype=dtype), weight(dtype=dtype), draw(2, N, 2, dtype=dtype), draw(3, N, 2, 7, dtype=dtype)]
    beside = [crooked(t, offset) for t in given_]
    assert beside[0].data_ptr() % 8 == offset
    y = sparse_product(given_[0], given_[1], GRAPH, *given_[2:])
    assert torch.equal(sparse_product(beside[0], beside[1], GRAPH, *beside[2:]), y)
    assert torch.equal(edge_product(crooked(y, offset), beside[0], GRAPH), edge_product(y, given_[0], GRAPH))
    plain = packed(codebook=draw(2, 6, 4, dtype=dtype))
    odd = Packed(*(crooked(t, offset) for t in plain[:3]), plain.batch)
    assert torch.equal(packed_product(odd, beside[1], GRAPH), packed_product(plain, given_[1], GRAPH))


def test_values_that_overlap_or_run_in_any_order_give_the_right_answer() -> None:
    once = x(1, 1).expand(6, 2, 7)
    assert torch.equal(sparse_product(once, weight(), GRAPH), sparse_product(once.contiguous(), weight(), GRAPH))
    with pytest.raises(ValueError, match="negative"):
        torch.from_numpy(x().numpy()[:, :, ::-1])
    turned = packed(codes=torch.zeros(6, 3, 16, dtype=torch.uint8).transpose(0, 1))
    same = packed(codes=torch.zeros(1, 1, 16, dtype=torch.uint8).expand(3, 6, 16))
    assert torch.equal(packed_product(turned, weight(), GRAPH), packed_product(same, weight(), GRAPH))


@pytest.mark.parametrize("name", ["reference", pytest.param("cpu", marks=pytest.mark.compiler)])
def test_no_replicates(name: str) -> None:
    with backend(name):
        w = weight(0).requires_grad_()
        y = sparse_product(x(1), w, GRAPH)
        assert y.shape == (N, 0, 7)
        assert torch.autograd.grad(y.sum(), w)[0].shape == w.shape
        assert packed_product(packed(), weight(0), GRAPH).shape == (N, 0, 100)
        assert transposed_product(y.detach(), weight(0), GRAPH).shape == (6, 0, 7)


@pytest.mark.parametrize("name", ["reference", pytest.param("cpu", marks=pytest.mark.compiler)])
def test_huge_values_overflow_where_they_must_and_nowhere_else(name: str) -> None:
    graph = Graph(np.array([[0, 0], [1, 1]]), 2, 2)
    values = torch.full((2, 1, 3), 3e38)
    with backend(name):
        y = sparse_product(values, torch.tensor([[1.0], [2.0]]), graph)
        assert torch.equal(y[0], values[0])
        assert y[1].isposinf().all()
        short = sparse_product(values.bfloat16(), torch.tensor([[1.0], [-2.0]]), graph)
        assert torch.equal(short[0], values[0].bfloat16())
        assert short[1].isneginf().all()
        spoilt = values.clone()
        spoilt[1] = float("nan")
        assert sparse_product(spoilt.bfloat16(), torch.ones(2, 1), graph).isnan().sum() == 3


def test_codes_cannot_require_a_gradient() -> None:
    with pytest.raises(RuntimeError, match="floating point"):
        packed().codes.requires_grad_()


def fuzz(examples: int) -> None:
    environment = os.environ | {"PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "2"}
    found = subprocess.run(
        [sys.executable, "-m", "tests.kernels.fuzz", str(examples)],
        env=environment, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-4000:]


@pytest.mark.compiler
def test_random_arguments_give_an_error_or_the_right_answer() -> None:
    fuzz(150)


@pytest.mark.compiler
@pytest.mark.slow
def test_many_random_arguments_give_an_error_or_the_right_answer() -> None:
    fuzz(5000)

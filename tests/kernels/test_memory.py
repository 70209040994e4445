"""Memory of results: never two owners of a block, and no more kept than was said."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.kernels.dense import dense, draw, random_pairs
from vnn.kernels import memory, sparse_product

SIZE = memory.LARGE  # of float32: four times what is large


@pytest.fixture(autouse=True)
def own_pool() -> Iterator[None]:
    memory.release()
    yield
    memory.release()


def taken(n: int = SIZE, dtype: torch.dtype = torch.float32) -> Tensor:
    return memory.empty((n,), torch.empty(0, dtype=dtype))


def test_a_block_comes_back_when_the_last_that_reads_it_is_gone() -> None:
    for keep in (
        lambda t: t[5:9],
        lambda t: t.view(-1, 2).T,
        lambda t: t.numpy()[3:],
        lambda t: t.untyped_storage(),
        lambda t: memoryview(t.numpy())[2:],
        lambda t: t.detach().requires_grad_() * 2,
        lambda t: t.requires_grad_().exp(),
    ):
        held = taken()
        at = held.data_ptr()
        reader = keep(held.fill_(3.0))
        shares = not isinstance(reader, Tensor) or not reader.requires_grad
        saved = isinstance(reader, Tensor) and reader.requires_grad
        del held
        if shares:
            assert not memory.idle_bytes()
            other = taken()
            assert other.data_ptr() != at
            del other
        if saved:
            found = reader.sum()
            del found
        memory.release()
        del reader
        assert memory.idle_bytes()
        memory.release()


def test_memory_is_used_again() -> None:
    first = taken()
    at = first.data_ptr()
    assert at % memory.ALIGNMENT == 0
    del first
    again = taken()
    assert again.data_ptr() == at
    del again
    smaller = taken(int(SIZE / 1.05))
    assert smaller.data_ptr() == at
    less = taken(SIZE // 2)
    assert less.data_ptr() != at


def test_saved_tensors_keep_their_memory() -> None:
    truth = dense(random_pairs(50, 40, 0.2), 50, 40)
    n, batch = 3, memory.LARGE // (40 * 3 * 4) + 50
    x = draw(0, 50, n, batch, dtype=torch.float32).requires_grad_()
    weight = draw(1, len(truth.rows), n, dtype=torch.float32).requires_grad_()
    y = sparse_product(x, weight, truth.graph)
    z = y.square()
    expected = z.detach().clone()
    copied = y.detach().clone()
    del y
    others = [sparse_product(x.detach() * k, weight.detach(), truth.graph) for k in range(6)]
    (slope,) = torch.autograd.grad(z.sum(), x)
    again = sparse_product(x, weight, truth.graph)
    (truth_slope,) = torch.autograd.grad((again * (2 * copied)).sum(), x)
    assert torch.equal(slope, truth_slope)
    assert torch.equal(z, expected)
    assert len({t.data_ptr() for t in others}) == len(others)


def test_copies_own_their_values() -> None:
    held = taken().fill_(2.0)
    copies = [copy.deepcopy(held), pickle.loads(pickle.dumps(held)), held.clone()]
    del held
    taken().fill_(7.0)
    assert all(bool((t == 2).all()) for t in copies)


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "KEPT", 10 * SIZE)
    held = [taken(SIZE + 64 * k) for k in range(8)]
    most = 0
    while held:
        held.pop()
        most = max(most, memory.idle_bytes())
    assert 0 < most <= 10 * SIZE
    memory.release()
    assert memory.idle_bytes() == 0
    for k in range(2000):
        taken(SIZE + 5000 * (k % 40))
    assert memory.idle_bytes() <= 10 * SIZE
    assert len(memory._idle) <= 40
    memory.release()
    for k in range(50):
        held = taken(SIZE + 64 * k)
        del held
    assert all(memory._idle.values())  # sizes of which nothing is kept are forgotten


def test_threads_never_share_a_block() -> None:
    wrong: list[str] = []

    def work(name: int) -> None:
        rng = np.random.default_rng(name)
        held: list[tuple[Tensor, float]] = []
        for step in range(40):
            value = float(1000 * name + step)
            held.append((taken(SIZE + int(rng.integers(0, 3)) * 64).fill_(value), value))
            if len(held) > 3:
                held.pop(int(rng.integers(0, 3)))
            if not all(bool((t == v).all()) for t, v in held):
                wrong.append(f"thread {name}, step {step}")

    many = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in many:
        thread.start()
    for thread in many:
        thread.join(60)
    assert not any(thread.is_alive() for thread in many)
    assert not wrong


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0, 5), (1,), (700, 1, 400)])
def test_any_shape(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    found = memory.empty(shape, torch.empty(0, dtype=dtype))
    assert (found.shape, found.dtype, found.is_contiguous()) == (shape, dtype, True)

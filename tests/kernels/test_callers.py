"""A small network trained with each variant, beside the same network of dense matrices in plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.kernels.dense import Dense, dense, draw, machines, random_pairs, rewired, running
from vnn.kernels import Packed, packed_product, sparse_product

MACHINES = machines(torch.float64)
N, BATCH, STEPS = 3, 70, 40
Model = Callable[[dict[str, Tensor]], Tensor]
Caller = tuple[dict[str, Tensor], Model, Model]


def matrices(truth: Dense, weight: Tensor) -> list[Tensor]:
    """One dense matrix per replicate, differentiable."""
    rows = torch.from_numpy(truth.rows)
    return [
        torch.zeros(truth.n_out, truth.n_in, dtype=weight.dtype).index_put(
            (rows, torch.from_numpy(truth.columns[:, min(r, truth.columns.shape[1] - 1)])), weight[:, r]
        )
        for r in range(weight.shape[1])
    ]


def plain(truth: Dense, x: Tensor, weight: Tensor) -> Tensor:
    every = [m @ x[:, min(r, x.shape[1] - 1)] for r, m in enumerate(matrices(truth, weight))]
    return torch.stack(every, dim=1)


def start(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    return {name: 0.3 * draw(k, *shape) for k, (name, shape) in enumerate(shapes.items(), 10)}


TOP = dense([(s, 0) for s in range(6)], 6, 1)


def head(hidden: Tensor, held: dict[str, Tensor], sparse: bool) -> Tensor:
    h = hidden.tanh()
    if sparse:
        return sparse_product(h, held["top"], TOP.graph)
    return plain(TOP, h, held["top"])


def own_weights() -> Caller:
    first, x = dense(random_pairs(12, 6, 0.4), 12, 6), draw(0, 12, 1, BATCH)
    held = start(weight=(len(first.rows), N), bias=(6, N), top=(6, N))
    return (
        held,
        lambda p: head(sparse_product(x, p["weight"], first.graph, p["bias"]), p, True),
        lambda p: head(plain(first, x, p["weight"]) + p["bias"][:, :, None], p, False),
    )


def own_sources() -> Caller:
    pairs, sources = rewired(random_pairs(12, 6, 0.4), 12, N)
    first, x = dense(pairs, 12, 6, sources=sources), draw(0, 12, 1, BATCH)
    held = start(weight=(len(first.rows), N), bias=(6, N), top=(6, N))
    return (
        held,
        lambda p: head(sparse_product(x, p["weight"], first.graph, p["bias"]), p, True),
        lambda p: head(plain(first, x, p["weight"]) + p["bias"][:, :, None], p, False),
    )


def ragged() -> Caller:
    first, x = dense(random_pairs(9, 4, 0.6), 9, 4, units_out=[1, 3, 2, 1]), draw(0, 9, 1, BATCH)
    second = dense(random_pairs(4, 3, 0.9), 4, 3, units_in=[1, 3, 2, 1], units_out=[3, 1, 2])
    held = start(weight=(len(first.rows), N), next=(len(second.rows), N), top=(6, N))
    return (
        held,
        lambda p: head(
            sparse_product(sparse_product(x, p["weight"], first.graph).tanh(), p["next"], second.graph), p, True
        ),
        lambda p: head(plain(second, plain(first, x, p["weight"]).tanh(), p["next"]), p, False),
    )


def addends_and_copies() -> Caller:
    """Two source levels add up; a copy of an input is an edge of weight 1 that is not trained."""
    first, x = dense(random_pairs(8, 5, 0.5), 8, 5), draw(0, 8, 1, BATCH)
    skip, onto = dense([(0, 5), (3, 5), (7, 0)], 8, 6), dense([(s, s) for s in range(5)] + [(0, 3)], 5, 6)
    held = start(weight=(len(first.rows), N), skip=(len(skip.rows), N), onto=(len(onto.rows), N), top=(6, N))
    copies = torch.tensor([i == j for i, j in zip(onto.rows, onto.columns[:, 0], strict=True)])[:, None]

    def fixed(p: dict[str, Tensor]) -> Tensor:
        return torch.where(copies, torch.ones_like(p["onto"]), p["onto"])

    def mine(p: dict[str, Tensor]) -> Tensor:
        low = sparse_product(x, p["weight"], first.graph).tanh()
        beside = sparse_product(x, p["skip"], skip.graph)
        return head(sparse_product(low, fixed(p), onto.graph, None, beside), p, True)

    def theirs(p: dict[str, Tensor]) -> Tensor:
        low = plain(first, x, p["weight"]).tanh()
        return head(plain(onto, low, fixed(p)) + plain(skip, x, p["skip"]), p, False)

    return held, mine, theirs


def genotypes() -> Caller:
    first = dense([(v, v // 5) for v in range(30)], 30, 6)
    codes = np.random.default_rng(1).integers(0, 256, (3, 30, 16), dtype=np.uint8)
    panels = torch.tensor([2, 0])
    scale, shift = 1 + 0.1 * draw(5, 30, N), 0.1 * draw(6, 30, N)
    bits = np.unpackbits(codes[panels.numpy()], axis=2, bitorder="little")
    numbers = np.concatenate(list(bits[:, :, 0::2] + 2 * bits[:, :, 1::2]), axis=1)[:, :BATCH]
    who = torch.from_numpy(numbers.astype(np.int64))
    held = start(weight=(len(first.rows), N), bias=(6, N), codebook=(30, 4), top=(6, N))

    def mine(p: dict[str, Tensor]) -> Tensor:
        packed = Packed(torch.from_numpy(codes), panels, p["codebook"], BATCH)
        return head(packed_product(packed, p["weight"], first.graph, p["bias"], scale=scale, shift=shift), p, True)

    def theirs(p: dict[str, Tensor]) -> Tensor:
        x = scale[:, :, None] * p["codebook"].gather(1, who)[:, None] + shift[:, :, None]
        return head(plain(first, x, p["weight"]) + p["bias"][:, :, None], p, False)

    return held, mine, theirs


CALLERS = {f.__name__: f for f in (own_weights, own_sources, ragged, addends_and_copies, genotypes)}


def train(held: dict[str, Tensor], f: Model, target: Tensor) -> list[float]:
    """Adam in place; the loss of every step."""
    for t in held.values():
        t.requires_grad_()
    optimiser = torch.optim.Adam(held.values(), lr=0.02)
    losses = []
    for _ in range(STEPS):
        optimiser.zero_grad()
        loss = (f(held).double() - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(("machine", "dtype"), MACHINES)
@pytest.mark.parametrize("name", CALLERS)
def test_training_equals_that_of_dense_matrices(name: str, machine: str, dtype: torch.dtype) -> None:
    held, mine, theirs = CALLERS[name]()
    target = draw(99, 1, N, BATCH, dtype=dtype)
    other = {key: t.clone() for key, t in held.items()}
    with running(machine):
        losses = train(held, mine, target)
    expected = train(other, theirs, target)
    assert losses[-1] < 0.95 * losses[0]
    assert np.allclose(losses, expected, rtol=1e-9)
    for key, t in held.items():
        assert torch.allclose(t, other[key], rtol=1e-9, atol=1e-9), key


@pytest.mark.compiler
@pytest.mark.parametrize("name", CALLERS)
def test_training_in_bfloat16_goes_the_same_way(name: str) -> None:
    held, mine, theirs = CALLERS[name]()
    target = draw(99, 1, N, BATCH)
    other = {key: t.clone() for key, t in held.items()}

    def short(p: dict[str, Tensor]) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return mine({key: t.float() for key, t in p.items()})

    losses, expected = train(held, short, target), train(other, theirs, target)
    assert losses[-1] < 0.95 * losses[0]
    assert abs(losses[-1] - expected[-1]) < 0.03 * expected[-1]

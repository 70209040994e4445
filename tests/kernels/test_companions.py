"""Row sums, dropout masks and optimiser steps: the compiled form against the plain one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vnn._errors import KernelError
from vnn.kernels import cpu, reference

pytestmark = pytest.mark.compiler


def draw(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal(shape)).to(dtype)


@pytest.mark.parametrize("batch", [0, 1, 15, 16, 100])
def test_row_sum(batch: int) -> None:
    x = draw(5, 3, batch)
    assert torch.allclose(cpu.row_sum(x), x.sum(-1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_dropout_draws_the_same_mask(dtype: torch.dtype) -> None:
    x = draw(40, 3, 50, dtype=dtype)
    keys = torch.tensor([0, 7, 2**32 - 1])
    node = torch.arange(40, dtype=torch.int32) // 2
    rate = torch.linspace(0, 0.9, 40, dtype=torch.float64)
    samples = torch.arange(1000, 1050)
    arguments = (x, keys, node, (rate * 2**32).long(), 1 / (1 - rate), samples)
    mine, truth = cpu.dropout(*arguments), reference.dropout(*arguments)
    assert torch.equal(mine == 0, truth == 0)
    assert torch.allclose(mine.double(), truth.double(), rtol=1e-6)
    assert torch.equal(mine[0], x[0])
    assert not torch.equal(mine[20, 0] == 0, mine[20, 1] == 0)


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("n", [1, 4])
def test_adam(decoupled: bool, n: int) -> None:
    states = [[draw(7, n), draw(7, n) * 0.1, draw(7, n) ** 2] for _ in range(2)]
    grad = draw(7, n) + 0.5
    per = {
        name: torch.linspace(0.1, 0.4, n, dtype=torch.float64) for name in ("lr", "decay", "correction1", "correction2")
    }
    active = torch.arange(n) % 2 == 0
    for kernels, (w, m, v) in zip((cpu, reference), states, strict=True):
        kernels.adam(w, grad, m, v, **per, active=active, beta1=0.9, beta2=0.999, eps=1e-8, decoupled=decoupled)
    for mine, truth in zip(*states, strict=True):
        assert torch.allclose(mine, truth, rtol=1e-14)
    assert torch.equal(states[0][0][:, ~active], draw(7, n)[:, ~active])


def test_what_cannot_be_taken_is_refused() -> None:
    with pytest.raises(KernelError, match="float32 and float64"):
        cpu.row_sum(torch.ones(2, 2, dtype=torch.float16))
    per = {name: torch.ones(2) for name in ("lr", "decay", "correction1", "correction2")}
    with pytest.raises(KernelError, match="contiguous"):
        cpu.adam(
            draw(2, 3).T, draw(3, 2), draw(3, 2), draw(3, 2), **per, active=torch.ones(2, dtype=torch.bool),
            beta1=0.9, beta2=0.999, eps=1e-8, decoupled=True,
        )  # fmt: skip

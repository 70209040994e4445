"""The optimiser against torch.optim, and replicates that rest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from vnn.kernels import backend
from vnn.training.optimiser import Optimiser

BACKENDS = ["reference", pytest.param("cpu", marks=pytest.mark.compiler)]
TORCHS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": lambda params, **kw: torch.optim.SGD(params, momentum=0.9, **kw),
}


def parameters(n: int) -> list[Tensor]:
    rng = np.random.default_rng(0)
    return [
        torch.from_numpy(rng.standard_normal((5, n))).requires_grad_(),
        torch.from_numpy(rng.standard_normal((2, n))).requires_grad_(),
    ]


def descend(held: list[Tensor]) -> None:
    loss = sum((p - i).pow(4).sum() for i, p in enumerate(held))
    for p, g in zip(held, torch.autograd.grad(loss, held), strict=True):
        p.grad = g


def rate(value: float, n: int) -> Tensor:
    return torch.full((n,), value, dtype=torch.float64)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("kind", list(TORCHS))
def test_equals_torch_at_one_replicate(name: str, kind: str) -> None:
    mine, theirs = parameters(1), parameters(1)
    optimiser = Optimiser(mine, kind, rate(0.01, 1), rate(0.1, 1))
    expected = TORCHS[kind](theirs, lr=0.01, weight_decay=0.1)
    with backend(name):
        for _ in range(20):
            descend(mine)
            optimiser.step(torch.ones(1, dtype=torch.bool))
            descend(theirs)
            expected.step()
    for a, b in zip(mine, theirs, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", list(TORCHS))
def test_a_resting_replicate_changes_no_state_and_others_do_not_notice(kind: str) -> None:
    together, alone = parameters(3), [p.detach()[:, [1]].clone().requires_grad_() for p in parameters(3)]
    many = Optimiser(together, kind, torch.tensor([0.01, 0.02, 0.03], dtype=torch.float64), rate(0.1, 3))
    one = Optimiser(alone, kind, rate(0.02, 1), rate(0.1, 1))
    start = [p.detach()[:, 0].clone() for p in together]
    for step in range(6):
        descend(together)
        many.step(torch.tensor([False, step % 3 != 1, True]))
        if step % 3 != 1:
            descend(alone)
            one.step(torch.ones(1, dtype=torch.bool))
    assert many.steps.tolist() == [0, 4, 6]
    for p, q, first in zip(together, alone, start, strict=True):
        assert torch.equal(p[:, 0], first)
        assert torch.allclose(p[:, [1]], q, rtol=0, atol=1e-14)


def test_state_is_taken_over_and_kept() -> None:
    held = parameters(3)
    optimiser = Optimiser(held, "adamw", rate(0.01, 3), rate(0.0, 3))
    descend(held)
    optimiser.step(torch.ones(3, dtype=torch.bool))
    kept_parameters = [p.detach()[:, [2, 0]].clone().requires_grad_() for p in held]
    kept = optimiser.keep([2, 0], kept_parameters)
    for _ in range(3):
        for one, these in ((optimiser, held), (kept, kept_parameters)):
            descend(these)
            one.step(torch.ones(len(one.lr), dtype=torch.bool))
    for p, q in zip(held, kept_parameters, strict=True):
        assert torch.equal(p[:, [2, 0]], q)


def test_clipping_acts_on_each_replicate_alone() -> None:
    held = parameters(3)
    optimiser = Optimiser(held, "sgd", rate(0.1, 3), rate(0.0, 3))
    descend(held)
    norms = optimiser.norms()
    expected = torch.stack([torch.cat([p.grad[:, r] for p in held]).norm() for r in range(3)])
    assert torch.allclose(norms, expected)
    middle = float(norms.median())
    optimiser.clip(norms, middle)
    assert torch.allclose(optimiser.norms(), norms.clamp(max=middle))

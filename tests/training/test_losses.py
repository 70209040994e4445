"""Losses per replicate against torch's own, and the partial likelihood against a loop over risk sets."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vnn.training.losses import informative, losses, sample_losses, weighted_mean

RNG = np.random.default_rng(0)
LOGITS = torch.from_numpy(RNG.standard_normal((9, 4, 3)))
CODES = torch.from_numpy(RNG.integers(0, 3, 9))


def test_binary() -> None:
    found = sample_losses("binary", LOGITS[:, :, :1], CODES.clamp(max=1))
    for r in range(4):
        expected = nn.BCEWithLogitsLoss(reduction="none")(LOGITS[:, r, 0], CODES.clamp(max=1).double())
        assert torch.allclose(found[r], expected)


def test_multiclass() -> None:
    found = sample_losses("multiclass", LOGITS, CODES)
    for r in range(4):
        assert torch.allclose(found[r], nn.CrossEntropyLoss(reduction="none")(LOGITS[:, r], CODES))


def test_regression_has_a_target_per_replicate() -> None:
    target = torch.from_numpy(RNG.standard_normal((4, 9)))
    found = sample_losses("regression", LOGITS[:, :, :1], target)
    for r in range(4):
        assert torch.allclose(found[r], nn.MSELoss(reduction="none")(LOGITS[:, r, 0], target[r]))


def test_the_mean_is_weighted_and_nothing_counts_for_nothing() -> None:
    losses = torch.arange(8.0).double().reshape(2, 4)
    weights = torch.tensor([[1.0, 0, 2, 0], [0, 0, 0, 0]], dtype=torch.float64)
    assert weighted_mean(losses, weights).tolist() == [(0 + 4) / 3, 0]


def survival(n: int = 40, *, ties: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Risk scores of 5 replicates, times and events, and weights of which a third are 0."""
    rng = np.random.default_rng(3)
    times = rng.integers(0, 8, n) if ties else rng.permutation(n)
    target = torch.from_numpy(np.stack([times, rng.random(n) < 0.6]).astype(np.int64))
    weights = rng.choice([0.0, 0.5, 1.0, 2.0], (5, n), p=[0.3, 0.1, 0.4, 0.2])
    return torch.from_numpy(rng.standard_normal((n, 5, 1))), target, torch.from_numpy(weights)


def by_loop(risk: np.ndarray, target: np.ndarray, weight: np.ndarray, *, ties: str = "efron") -> float:
    """The negative log partial likelihood over the weight of the events, term by term."""
    kept = weight > 0
    x, (times, events), w = risk[kept], target[:, kept], weight[kept]
    total = 0.0
    for t in sorted(set(times[events > 0])):
        died = [i for i in range(len(x)) if times[i] == t and events[i]]
        at_risk = sum(w[i] * exp(x[i]) for i in range(len(x)) if times[i] >= t)
        dying = sum(w[i] * exp(x[i]) for i in died)
        mean = sum(w[i] for i in died) / len(died)
        total += sum(w[i] * x[i] for i in died)
        for rank in range(len(died)):
            total -= mean * log(at_risk - (rank / len(died) if ties == "efron" else 0) * dying)
    return float(-total / w[events > 0].sum())


@pytest.mark.parametrize("ties", [True, False])
def test_the_partial_likelihood_equals_a_loop_over_risk_sets(ties: bool) -> None:
    logits, target, weights = survival(ties=ties)
    found = losses("cox", logits, target, weights)
    for r in range(5):
        expected = by_loop(logits[:, r, 0].numpy(), target.numpy(), weights[r].numpy())
        breslow = by_loop(logits[:, r, 0].numpy(), target.numpy(), weights[r].numpy(), ties="breslow")
        assert np.isclose(found[r], expected, rtol=1e-12)
        assert np.isclose(breslow, expected) != ties, "Efron and Breslow differ only where events are tied"


def test_the_partial_likelihood_has_the_right_gradients() -> None:
    logits, target, weights = survival(14)

    def function(x: Tensor) -> Tensor:
        return losses("cox", x, target, weights)

    assert torch.autograd.gradcheck(function, logits.requires_grad_())
    assert torch.autograd.gradgradcheck(function, logits, torch.linspace(0.5, 2, 5).double())


def with_gradient(logits: Tensor, target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    x = logits.clone().requires_grad_()
    loss = losses("cox", x, target, weights)
    loss.backward(torch.ones_like(loss))
    assert x.grad is not None
    return loss.detach(), x.grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_of_weight_0_change_no_bit_of_loss_and_gradient(dtype: torch.dtype) -> None:
    logits, target, weights = survival()
    logits, weights = logits.to(dtype), weights.to(dtype)
    weights[:, ::4] = 0
    before = with_gradient(logits, target, weights)
    others, moved = logits.clone(), target.clone()
    others[::4] = torch.linspace(-1e4, 1e4, 10, dtype=dtype)[:, None, None]
    moved[0, ::4] = torch.arange(10) - 1
    moved[1, ::4] = 1 - moved[1, ::4]
    after = with_gradient(others, moved, weights)
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])
    assert (before[1][::4] == 0).all()


def test_a_replicate_alone_has_the_bits_it_has_among_others() -> None:
    logits, target, weights = survival()
    loss, gradient = with_gradient(logits, target, weights)
    for r in range(5):
        alone = with_gradient(logits[:, [r]], target, weights[[r]])
        assert torch.equal(alone[0][0], loss[r])
        assert torch.equal(alone[1][:, 0], gradient[:, r])


def test_without_an_event_there_is_nothing_to_learn() -> None:
    logits, target, weights = survival()
    weights[2] = torch.where(target[1] > 0, 0.0, weights[2])
    weights[3] = 0
    loss, gradient = with_gradient(logits, target, weights)
    assert loss[2] == loss[3] == 0
    assert (gradient[:, 2:4] == 0).all()
    counted = informative("cox", target, weights)
    assert (counted == 0).tolist() == [False, False, True, True, False]
    assert torch.equal(counted[0], weights[0][target[1] > 0].sum())
    assert torch.equal(informative("binary", target[1], weights), weights.sum(1))


def test_the_other_losses_are_weighted_means_of_the_losses_of_samples() -> None:
    weights = torch.rand(4, 9, generator=torch.Generator().manual_seed(0)).double()
    found = losses("multiclass", LOGITS, CODES, weights)
    for r in range(4):
        each = nn.CrossEntropyLoss(reduction="none")(LOGITS[:, r], CODES)
        assert torch.isclose(found[r], (each * weights[r]).sum() / weights[r].sum())

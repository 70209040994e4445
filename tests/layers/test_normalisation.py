"""Weighted batch normalisation against torch's at equal weights, and against repetition at whole ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vnn.layers import BatchNorm


def values(n_units: int = 4, n: int = 3, batch: int = 20) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal((n_units, n, batch)) * 3 + 1)


def shares(weights: Tensor) -> Tensor:
    total = weights.sum(1, keepdim=True)
    return weights / torch.where(total > 0, total, 1.0)


def test_equal_weights_are_torchs_batch_norm() -> None:
    x, mine = values().requires_grad_(), BatchNorm(4, 3).double()
    share = torch.full((3, 20), 1 / 20, dtype=torch.float64)
    y = mine(x, share)
    (grad,) = torch.autograd.grad((y**3).sum(), x)
    for r in range(3):
        torchs = nn.BatchNorm1d(4, dtype=torch.float64)
        one = x[:, r].T.detach().requires_grad_()
        expected = torchs(one)
        assert torch.allclose(y[:, r].T, expected)
        assert torch.allclose(grad[:, r].T, torch.autograd.grad((expected**3).sum(), one)[0])
        assert torch.allclose(mine.mean[:, r], torchs.running_mean)
        assert torch.allclose(mine.variance[:, r], torchs.running_var)
        assert torch.allclose(mine.eval()(x, None)[:, r].T, torchs.eval()(one))
        mine.train()


def test_a_weight_of_two_is_the_sample_twice() -> None:
    x = values(batch=6)
    weights = torch.tensor([[1.0, 2, 0, 1, 3, 1]], dtype=torch.float64).expand(3, 6)
    repeated = x[:, :, torch.tensor([0, 1, 1, 3, 4, 4, 4, 5])]
    one, other = (BatchNorm(4, 3).double() for _ in range(2))
    y = one(x, shares(weights))
    expected = other(repeated, shares(torch.ones(3, 8, dtype=torch.float64)))
    assert torch.allclose(y[:, :, torch.tensor([0, 1, 1, 3, 4, 4, 4, 5])], expected)
    assert torch.allclose(one.mean, other.mean)


def test_samples_of_weight_zero_change_no_bit() -> None:
    x = values().float()
    weights = torch.ones(3, 20)
    weights[:, 15:] = 0
    other = x.clone()
    other[:, :, 15:] = 1e6
    found = []
    for v in (x, other):
        norm = BatchNorm(4, 3)
        v = v.clone().requires_grad_()
        y = norm(v, shares(weights))
        (grad,) = torch.autograd.grad((y * weights).square().sum(), v)
        found.append((y[:, :, :15], norm.mean, norm.variance, grad[:, :, :15]))
        assert not grad[:, :, 15:].any()
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)


def test_a_replicate_without_samples_keeps_its_statistics() -> None:
    norm = BatchNorm(4, 3).double()
    weights = torch.ones(3, 20, dtype=torch.float64)
    weights[1] = 0
    y = norm(values(), shares(weights))
    assert torch.isfinite(y).all()
    assert torch.equal(norm.mean[:, 1], torch.zeros(4, dtype=torch.float64))
    assert torch.equal(norm.variance[:, 1], torch.ones(4, dtype=torch.float64))
    assert (norm.mean[:, [0, 2]] != 0).all()


def test_one_sample_is_normalised_to_the_bias_and_not_tracked() -> None:
    norm = BatchNorm(4, 1).double()
    y = norm(values(n=1, batch=1), torch.ones(1, 1, dtype=torch.float64))
    assert not y.any()
    assert not norm.mean.any()


def test_training_without_shares_is_refused() -> None:
    with pytest.raises(ValueError, match="share of each sample"):
        BatchNorm(4, 3)(values().float(), None)

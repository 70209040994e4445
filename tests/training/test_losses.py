"""Losses per replicate against torch's own."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from vnn.training.losses import sample_losses, weighted_mean

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

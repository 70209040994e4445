"""Dropout of whole nodes: by the wiring, by names, and right on average."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vnn.layers import Draw, NodeDropout, wired_rates


def layer(
    rate: float = 0.4, n_nodes: int = 30, units: int = 2, replicates: tuple[str, ...] = ("a", "b", "c")
) -> NodeDropout:
    return NodeDropout("level 1", np.full(n_nodes, rate), np.full(n_nodes, units), replicates, seed=1)


def draw(step: int = 0, samples: range = range(200)) -> Draw:
    return Draw(step=step, samples=torch.tensor(list(samples)))


def test_rates_follow_the_fewest_siblings() -> None:
    edges = np.array([[0, 0], [1, 1], [2, 1], [3, 2], [4, 2], [5, 2], [6, 3], [7, 3], [8, 3], [9, 3], [9, 0]])
    fan_in = np.array([1, 2, 3, 4])
    assert wired_rates(0.5, [edges], 10, [fan_in]).tolist() == [0, 0.1, 0.1, 0.3, 0.3, 0.3, 0.5, 0.5, 0.5, 0]


def test_all_units_of_a_node_fall_together_at_the_asked_rate_and_mean() -> None:
    dropped = layer()(torch.ones(60, 3, 200), draw())
    assert torch.equal(dropped[::2] == 0, dropped[1::2] == 0)
    share = (dropped == 0).float().mean()
    assert abs(share - 0.4) < 4 * np.sqrt(0.4 * 0.6 / (30 * 3 * 200))
    assert abs(dropped.mean() - 1) < 0.03
    per_node = (dropped[::2] == 0).float().mean((1, 2))
    assert (per_node - 0.4).abs().max() < 5 * np.sqrt(0.24 / 600)


def test_a_mask_depends_on_names_only() -> None:
    x = torch.ones(60, 3, 200)
    whole = layer()(x, draw())
    alone = layer(replicates=("b",))(x[:, :1], draw())
    assert torch.equal(alone[:, 0], whole[:, 1])
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    shuffled = layer()(x, Draw(0, order))
    assert torch.equal(shuffled, whole[:, :, order])
    assert not torch.equal(layer()(x, draw(step=1)), whole)
    assert not torch.equal(whole[:, 0], whole[:, 1])


def test_the_gradient_passes_where_the_value_did() -> None:
    x = torch.ones(60, 3, 200, requires_grad=True)
    y = layer()(x, draw())
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(grad, y.detach())


def test_evaluation_and_rate_zero_change_nothing() -> None:
    x = torch.ones(60, 3, 200)
    assert layer().eval()(x, None) is x
    assert layer(rate=0.0)(x, None) is x


def test_what_is_missing_or_impossible_is_refused() -> None:
    with pytest.raises(ValueError, match="Draw"):
        layer()(torch.ones(60, 3, 200), None)
    with pytest.raises(ValueError, match="< 1"):
        layer(rate=1.0)

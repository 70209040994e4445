"""The sparse layer: several levels into one, raw inputs scaled inside the first product."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vnn.kernels import Graph
from vnn.layers import InputScaling, Signal, SparseLinear, activation, gain

EDGES = np.array([[0, 0], [2, 0], [1, 1], [2, 1]])


def test_folding_equals_scaling_first() -> None:
    rng = np.random.default_rng(0)
    graph, scaling = Graph(EDGES, 3, 2, units_out=[2, 1]), InputScaling(3, 4).double()
    for buffer in (scaling.scale, scaling.shift, scaling.fill):
        buffer.copy_(torch.from_numpy(rng.standard_normal(buffer.shape)))
    linear = SparseLinear({"inputs": graph}, 4).double()
    for parameter in linear.parameters():
        parameter.data.copy_(torch.from_numpy(rng.standard_normal(parameter.shape)))
    raw = torch.from_numpy(rng.standard_normal((3, 1, 16)))
    missing = torch.zeros_like(raw)
    missing[1, 0, 3] = missing[2, 0, 5] = 1
    signal = Signal(raw * (1 - missing), missing, 16)
    folded = linear({"inputs": signal}, {"inputs": scaling})
    plain = linear({"inputs": scaling.apply_to(signal)}, {})
    assert torch.allclose(folded, plain)
    for one, other in zip(
        torch.autograd.grad(folded.tanh().sum(), list(linear.parameters())),
        torch.autograd.grad(plain.tanh().sum(), list(linear.parameters())),
        strict=True,
    ):
        assert torch.allclose(one, other)


def test_levels_add_into_each_other() -> None:
    graphs = {"low": Graph(EDGES, 3, 2), "high": Graph(np.array([[0, 1]]), 1, 2)}
    linear = SparseLinear(graphs, 1).double()
    for i, parameter in enumerate(linear.parameters()):
        parameter.data.fill_(i + 1.0)
    low, high = torch.ones(3, 1, 16, dtype=torch.float64), torch.full((1, 1, 16), 10.0, dtype=torch.float64)
    names = [name for name, _ in linear.named_parameters()]
    by_name = dict(zip(names, (1.0, 2.0, 3.0), strict=True))
    y = linear({"low": low, "high": high}, {})
    assert torch.all(y[0] == by_name["bias"] + 2 * by_name["weights.0"])
    assert torch.all(y[1] == by_name["bias"] + 2 * by_name["weights.0"] + 10 * by_name["weights.1"])


def test_an_unknown_activation_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"'Tanh'; known are 'tanh', .* Did you mean 'tanh'"):
        activation("Tanh")
    assert gain("tanh") == pytest.approx(5 / 3)
    assert gain("relu") == pytest.approx(2**0.5)
    assert gain("sigmoid") == 1

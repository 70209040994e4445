"""Weight products against a walk over every path, and against the gradient of a linear network."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from tests.interpret.test_deeplift import network, two_level
from tests.planted import cohort, folds, wiring
from tests.wirings import toy_topology
from vnn.interpret.sweep import Sweep
from vnn.interpret.weights import weight_products, weight_scores
from vnn.models import DenseNetwork
from vnn.training import Training, fit

CONTRAST = torch.tensor([1.0, -0.5, -0.5])


def paths(edges: dict[str, list[tuple[str, float]]], node: str) -> Iterator[float]:
    """The product of the weights of every path from a node to "out"."""
    for target, weight in edges[node]:
        if target == "out":
            yield weight
        else:
            for rest in paths(edges, target):
                yield weight * rest


@pytest.mark.parametrize("signed", [True, False])
def test_two_levels_with_a_skip_by_walking_every_path(signed: bool) -> None:
    net, w = two_level()
    edges = {
        "a": [("x", w["ax"]), ("p", w["ap"])],
        "b": [("x", w["bx"])],
        "x": [("p", w["xp"]), ("out", w["hx"] / 2)],
        "p": [("out", w["hp"] / 2)],
    }
    found = weight_products(Sweep(net), torch.ones(1), signed=signed)
    for level, nodes in {"inputs": "ab", "one": "x", "two": "p"}.items():
        expected = [math.fsum(p if signed else abs(p) for p in paths(edges, node)) for node in nodes]
        assert found[level][:, 0].tolist() == pytest.approx(expected, abs=1e-12), level


def straightened(dense: DenseNetwork, *, signed: bool) -> DenseNetwork:
    """The dense twin without activations, every factor made positive unless signed."""
    for level in dense.levels:
        level.act = nn.Identity()
    if not signed:
        with torch.no_grad():
            for module in dense.modules():
                if isinstance(module, nn.Linear | nn.BatchNorm1d):
                    module.weight.abs_()
            dense.output_scale.abs_()
    return dense


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("skips", ["edges", "copies"])
def test_products_are_the_gradient_of_the_straightened_dense_twin(skips: str, signed: bool) -> None:
    net = network(toy_topology(skips), units={"y": 2}, activation="tanh")
    found = weight_products(Sweep(net), CONTRAST, signed=signed)
    contrast = CONTRAST.double() if signed else CONTRAST.double().abs()
    for r in range(2):
        dense = straightened(net.dense(r).eval(), signed=signed)
        x, late = torch.zeros(1, 4).double().requires_grad_(), torch.zeros(1, 2).double().requires_grad_()
        held = dense.activities(x)
        logits = torch.stack([head(torch.cat(list(held.values()), dim=1)) for head in dense.heads]).mean(0)
        total = (logits + dense.covariate_linear(dense.covariate_affine(late))) * dense.output_scale @ contrast
        slopes = torch.autograd.grad(total.sum(), [*held.values(), late])
        for (level, _), slope in zip(held.items(), slopes, strict=False):
            names = [one.name for one in dense.topology.levels]
            own = slice(None) if level == "inputs" else dense.levels[names.index(level) - 1].own
            assert torch.allclose(found[level][:, r], slope[0, own], atol=1e-9), level
        assert torch.allclose(found["covariates"][:, r], slopes[-1][0] / net.covariate_scaling.scale[:, r], atol=1e-9)


def test_signed_products_never_exceed_absolute_ones() -> None:
    net = network(toy_topology(), units=2)
    signed, absolute = (weight_products(Sweep(net), CONTRAST, signed=one) for one in (True, False))
    for level, values in signed.items():
        assert (values.abs() <= absolute[level] + 1e-12).all(), level


def test_scores_are_named_and_shares_of_a_level_sum_to_one() -> None:
    made = fit(wiring(), cohort(), target="thirds", splits=folds(), training=Training(epochs=2))
    table = weight_scores(made)
    assert list(table) == ["level", "node", "name", "contrast", "product", "share", "spread"]
    assert set(table["contrast"]) == {f"{one} minus the rest" for one in ("high", "low", "middle")}
    sums = table.groupby(["contrast", "level"])["share"].sum()
    assert sums.to_numpy() == pytest.approx(np.ones(len(sums)))
    assert (table["product"] > 0).all()
    one = weight_scores(made, label="high")
    assert one["product"].to_numpy() == pytest.approx(
        table[table["contrast"] == "high minus the rest"]["product"].to_numpy()
    )
    assert len(one) == len(wiring().inputs) + 8 + 2 + 1
    with pytest.raises(ValueError, match="the class is 'none'"):
        weight_scores(made, label="none")

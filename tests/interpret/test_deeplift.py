"""The sweep against hand computation, exact linear cases, Captum, and its own conservation laws."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from tests.wirings import COLUMNS, toy_topology
from vnn.chance import generator
from vnn.interpret.deeplift import DeepLift, Explained, preflight
from vnn.interpret.rivals import BatchFirst, captum_deeplift
from vnn.kernels.graph import weight_rows
from vnn.layers import Signal
from vnn.models import Recipe, VisibleNetwork
from vnn.ontology import Topology

ACTIVATIONS = ("tanh", "relu", "sigmoid", "softsign", "linear")


def draws(*shape: int, name: str) -> Tensor:
    return torch.from_numpy(generator(3, "test", name).standard_normal(shape))


def network(topology: Topology, **settings: object) -> VisibleNetwork:
    """A network in float64 none of whose parameters or buffers is trivial."""
    covariates = int(settings.pop("n_covariates", 2))  # type: ignore[call-overload]
    targets = int(settings.pop("n_targets", 3))  # type: ignore[call-overload]
    made = VisibleNetwork(
        topology, Recipe(**settings), n_targets=targets, replicates=["a", "b"], n_covariates=covariates  # type: ignore[arg-type]
    ).double()  # fmt: skip
    with torch.no_grad():
        for name, values in {**dict(made.named_parameters()), **dict(made.named_buffers())}.items():
            if values.dtype != torch.float64:
                continue
            drawn = draws(*values.shape, name=name)
            values.copy_(drawn.abs() + 0.5 if name.endswith(("scale", "variance")) else drawn)
    return made.eval()


def explained(
    net: VisibleNetwork, x: Tensor, point: Tensor, contrast: Tensor, late: tuple[Tensor, Tensor] | None = None
) -> Explained:
    machine = DeepLift(net)
    columns = (None, None) if late is None else late
    comparison = machine.compare(net.entrance(x), net.entrance(point), *columns)
    return machine.explain(comparison, contrast)


def setting(topology: Topology) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor], Tensor]:
    n = len(topology.inputs)
    late = draws(7, 2, name="c"), draws(2, 2, name="c0")
    return draws(7, n, name="x"), draws(1, n, name="x0"), late, torch.tensor([1.0, -0.5, -0.5])


@pytest.mark.parametrize(("units", "normalisation"), [(1, "batch"), (3, "none")])
@pytest.mark.parametrize("skips", ["edges", "copies"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_cut_sums_to_the_difference_of_the_logits(
    activation: str, skips: str, normalisation: str, units: int
) -> None:
    topology = toy_topology(skips)
    net = network(topology, activation=activation, normalisation=normalisation, units=units)
    x, point, late, contrast = setting(topology)
    found = explained(net, x, point, contrast, late)
    f = net(x, late[0])
    f0 = torch.stack([net(point, late[1][None, :, r])[0, r] for r in range(2)])
    assert torch.allclose(found.difference[:, :7], ((f - f0) @ contrast.double()).T, atol=1e-12)
    for level, gap in found.missed().items():
        assert gap[:, :7].abs().max() < 1e-12, level


def test_a_linear_network_attributes_weight_times_difference() -> None:
    net = network(toy_topology(), activation="linear", n_covariates=0, n_targets=1)
    x, point, _, _ = setting(net.topology)
    found = explained(net, x, point, torch.ones(1))
    slope = torch.func.jacrev(lambda one: net(one[None])[0, :, 0])(point[0])
    expected = slope[:, None, :] * (x - point)[None]
    assert torch.allclose(found.levels["inputs"][:, :, :7].permute(1, 2, 0), expected, atol=1e-12)


def two_level() -> tuple[VisibleNetwork, dict[str, float]]:
    """a, b -> x; x and a -> p (a skips); a head on each level; every number chosen by hand."""
    edges = [
        ("inputs", "a", "one", "x"),
        ("inputs", "b", "one", "x"),
        ("one", "x", "two", "p"),
        ("inputs", "a", "two", "p"),
    ]
    topology = Topology.from_edges(
        {"inputs": ["a", "b"], "one": ["x"], "two": ["p"]}, pd.DataFrame(edges, columns=COLUMNS)
    )
    net = VisibleNetwork(topology, Recipe(normalisation="none")).double().eval()
    chosen = {"ax": 0.7, "bx": -1.1, "xp": 1.3, "ap": 0.4, "x0": 0.1, "p0": -0.2, "hx": 2.0, "hp": -1.5}
    with torch.no_grad():
        for key, values in {
            "one/weight from inputs": [chosen["ax"], chosen["bx"]], "one/bias": [chosen["x0"]],
            "two/weight from one": [chosen["xp"]], "two/weight from inputs": [chosen["ap"]], "two/bias": [chosen["p0"]],
            "head one/weight from one": [chosen["hx"]], "head one/bias": [0.3],
            "head two/weight from two": [chosen["hp"]], "head two/bias": [0.9],
        }.items():  # fmt: skip
            net.state_dict()[net.arrays()[key]].copy_(torch.tensor(values, dtype=torch.float64)[:, None])
    return net, chosen


def test_two_levels_with_a_skip_and_two_heads_by_hand() -> None:
    net, w = two_level()
    a, b, a0, b0 = 0.9, -0.4, 0.2, 0.5
    hx, hx0 = w["ax"] * a + w["bx"] * b + w["x0"], w["ax"] * a0 + w["bx"] * b0 + w["x0"]
    x, x0 = math.tanh(hx), math.tanh(hx0)
    hp, hp0 = w["xp"] * x + w["ap"] * a + w["p0"], w["xp"] * x0 + w["ap"] * a0 + w["p0"]
    p, p0 = math.tanh(hp), math.tanh(hp0)
    through_p = w["hp"] / 2 * (p - p0) / (hp - hp0)
    of_x = w["hx"] / 2 + through_p * w["xp"]
    through_x = of_x * (x - x0) / (hx - hx0)
    expected = {
        "inputs": [(through_x * w["ax"] + through_p * w["ap"]) * (a - a0), through_x * w["bx"] * (b - b0)],
        "one": [of_x * (x - x0)],
        "two": [w["hp"] / 2 * (p - p0)],
    }
    passing = {
        "inputs": 0.0,
        "one": through_p * w["ap"] * (a - a0),
        "two": w["hx"] / 2 * (x - x0),
    }
    found = explained(
        net, torch.tensor([[a, b]], dtype=torch.float64), torch.tensor([[a0, b0]], dtype=torch.float64), torch.ones(1)
    )
    for level, values in expected.items():
        assert found.levels[level][:, 0, 0].tolist() == pytest.approx(values, abs=1e-12)
        assert float(found.passing[level][0, 0]) == pytest.approx(passing[level], abs=1e-12)
    assert float(found.difference[0, 0]) == pytest.approx((w["hx"] * (x - x0) + w["hp"] * (p - p0)) / 2, abs=1e-12)


def test_where_nothing_moved_the_derivative_counts() -> None:
    net, w = two_level()
    x = torch.tensor([[0.2, 0.5]], dtype=torch.float64)
    machine = DeepLift(net)
    comparison = machine.compare(net.entrance(x), net.entrance(x))
    h = w["ax"] * 0.2 + w["bx"] * 0.5 + w["x0"]
    assert float(comparison.slope["one"][0, 0, 0]) == pytest.approx(1 - math.tanh(h) ** 2, abs=1e-12)
    assert all((values[:, :, 0] == 0).all() for values in machine.explain(comparison, torch.ones(1)).levels.values())


@pytest.mark.parametrize("skips", ["edges", "copies"])
@pytest.mark.parametrize("form", ["our layers", "dense twin"])
@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "linear"])
def test_captum_gives_the_same_on_our_layers_and_on_the_dense_twin(activation: str, form: str, skips: str) -> None:
    topology = toy_topology(skips)
    net = network(topology, activation=activation, units={"y": 2})
    x, point, late, contrast = setting(topology)
    found = explained(net, x, point, contrast, late)
    for r in range(2):
        one = net.replicates([r])
        model: nn.Module = BatchFirst(one) if form == "our layers" else one.dense().eval()
        for level in ("inputs", "level 1", "level 2", "level 3"):
            theirs = captum_deeplift(model, level, x, point, (late[0], late[1][None, :, r]), contrast)
            ours = found.levels[level][:, r, :7].T
            assert torch.allclose(ours, theirs, atol=1e-10), (level, r)


def test_batch_first_is_the_same_function() -> None:
    net = network(toy_topology())
    x, _, late, _ = setting(net.topology)
    for r in range(2):
        assert torch.allclose(BatchFirst(net.replicates([r]))(x, late[0]), net(x, late[0])[:, r], atol=1e-12)


def test_captum_is_not_asked_for_rules_it_lacks() -> None:
    net = network(toy_topology(), activation="softsign")
    x, point, late, contrast = setting(net.topology)
    model = BatchFirst(net.replicates([0]))
    with pytest.raises(NotImplementedError, match="no rule for Softsign"):
        captum_deeplift(model, "inputs", x, point, (late[0], late[1][None, :, 0]), contrast)


def test_a_sample_alone_is_a_sample_in_a_batch() -> None:
    net = network(toy_topology(), n_covariates=0)
    x, point, _, contrast = setting(net.topology)
    together = explained(net, x, point, contrast)
    alone = explained(net, x[3:4], point, contrast)
    for level, values in alone.levels.items():
        assert torch.equal(values[:, :, 0], together.levels[level][:, :, 3])


def test_a_replicate_alone_is_a_replicate_among_others() -> None:
    net = network(toy_topology(), n_covariates=0)
    x, point, _, contrast = setting(net.topology)
    together = explained(net, x, point, contrast)
    alone = explained(net.replicates(["b"]), x, point, contrast)
    for level, values in alone.levels.items():
        assert torch.equal(values[:, 0], together.levels[level][:, 1])


def test_an_input_that_does_not_move_and_one_without_weight_get_nothing() -> None:
    net = network(toy_topology(), n_covariates=0)
    x, point, _, contrast = setting(net.topology)
    x = x.clone()
    x[:, 1] = point[0, 1]
    with torch.no_grad():
        for linear in (*net.linears, *net.head_linears):
            for source, graph, weight in zip(linear.sources, linear.graphs, linear.weights, strict=True):
                if source == "inputs":
                    weight[weight_rows(graph.wiring)[1] == 3] = 0
    found = explained(net, x, point, contrast).levels["inputs"][:, :, :7]
    assert found[1].abs().max() == 0
    assert found[3].abs().max() == 0
    assert found[0].abs().min() > 0


def test_inputs_of_equal_weight_and_value_get_equal_shares() -> None:
    edges = [("inputs", name, "one", "x") for name in "abc"]
    topology = Topology.from_edges({"inputs": list("abc"), "one": ["x"]}, pd.DataFrame(edges, columns=COLUMNS))
    net = VisibleNetwork(topology).double().eval()
    with torch.no_grad():
        net.linears[0].weights[0].fill_(0.8)
    x, point = torch.tensor([[1.0, 1.0, -2.0]], dtype=torch.float64), torch.zeros(1, 3).double()
    found = explained(net, x, point, torch.ones(1)).levels["inputs"][:, 0, 0]
    assert found[0] == found[1]
    assert found[2] == pytest.approx(-2 * float(found[0]))


@pytest.mark.parametrize("skips", ["edges", "copies"])
def test_what_flows_into_a_node_flows_out_of_it(skips: str) -> None:
    net = network(toy_topology(skips), units={"y": 2})
    x, point, late, contrast = setting(net.topology)
    machine = DeepLift(net)
    comparison = machine.compare(net.entrance(x), net.entrance(point), *late)
    found = machine.explain(comparison, contrast)
    weights = draws(7, name="u")
    flows = machine.flows(comparison, found, weights)
    for level in machine.order:
        score = (found.levels[level][:, :, :7] * weights).sum(-1)
        into, out = torch.zeros_like(score), torch.zeros_like(score)
        for (source, target), flow in flows.items():
            if target == "prediction":
                if source == level:
                    out += flow
                continue
            linear = net.linears[machine.order[target] - 1]
            rows = weight_rows(linear.graphs[linear.sources.index(source)].wiring)
            if source == level:
                out.index_add_(0, rows[1], flow)
            if target == level:
                into.index_add_(0, rows[0], flow)
        assert torch.allclose(out, score, atol=1e-12)
        if level != "inputs":
            assert torch.allclose(into, score, atol=1e-12)


def test_missing_values_are_their_fill() -> None:
    net = network(toy_topology(), n_covariates=0)
    x, point, _, contrast = setting(net.topology)
    holes = x.clone()
    holes[2, 1] = torch.nan
    net.imputes = True
    found = explained(net, holes, point, contrast)
    for r in range(2):
        filled = x.clone()
        filled[2, 1] = net.scaling.fill[1, r]
        expected = explained(net, filled, point, contrast)
        for level, values in expected.levels.items():
            assert torch.allclose(found.levels[level][:, r, :7], values[:, r, :7], atol=1e-12)


def test_a_reference_for_every_sample_and_replicate() -> None:
    net = network(toy_topology(), n_covariates=0)
    x, _, _, contrast = setting(net.topology)
    points = draws(4, 2, 16, name="points")
    machine = DeepLift(net)
    found = machine.explain(machine.compare(net.entrance(x), Signal(points, None, 7)), contrast)
    for r in range(2):
        for i in range(7):
            one = explained(net.replicates([r]), x[i : i + 1], points[:, r, i][None], contrast)
            for level, values in one.levels.items():
                assert torch.allclose(found.levels[level][:, r, i], values[:, 0, 0], atol=1e-12)


def test_the_mode_of_the_network_is_restored() -> None:
    net = network(toy_topology(), n_covariates=0).train()
    x, point, _, contrast = setting(net.topology)
    explained(net, x, point, contrast)
    assert net.training


class Odd(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sin()


def test_preflight_names_everything_it_does_not_know() -> None:
    net = network(toy_topology())
    net.activations[1] = nn.Softmax(dim=0)
    net.activations[2] = Odd()
    with pytest.raises(TypeError, match=r"2 modules.*activations\.1 is a Softmax.*activations\.2 is a Odd"):
        preflight(net)


def test_preflight_refuses_what_hooks_or_changes_in_place() -> None:
    net = network(toy_topology())
    net.activations[0] = nn.ReLU(inplace=True)
    net.linears[1].register_forward_hook(lambda *_: None)
    with pytest.raises(TypeError, match=r"linears\.1 carries a hook.*activations\.0 changes its input in place"):
        preflight(net)


def test_preflight_wants_a_visible_network() -> None:
    with pytest.raises(TypeError, match="is a DenseNetwork"):
        preflight(network(toy_topology()).replicates([0]).dense())


def test_an_elementwise_activation_of_ones_own_choice_is_complete() -> None:
    net = network(toy_topology(), n_covariates=0)
    for i in range(3):
        net.activations[i] = nn.GELU()
    x, point, _, contrast = setting(net.topology)
    assert max(gap[:, :7].abs().max() for gap in explained(net, x, point, contrast).missed().values()) < 1e-12


def test_float32_stays_complete_to_rounding() -> None:
    net = network(toy_topology(), n_covariates=0).float()
    x, point, _, contrast = setting(net.topology)
    found = explained(net, x.float(), point.float(), contrast)
    worst = max(float(gap[:, :7].abs().max()) for gap in found.missed().values())
    assert worst < 1e-5 * float(found.difference.abs().max().clamp(min=1))
    assert np.isfinite(worst)

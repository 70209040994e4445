"""LRP beside a loop over every connection, beside Captum, and its conservation of relevance."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import skip_init

from tests.interpret.test_deeplift import draws, network, setting
from tests.models.test_wired_network import DRAWS, by_name, drawn, wired
from tests.wirings import toy_topology
from vnn.interpret.deeplift import DeepLift
from vnn.interpret.relevance import Relevance, relevance_epsilon, relevance_gamma
from vnn.layers import Signal
from vnn.models import DenseNetwork, Recipe, VisibleNetwork
from vnn.ontology import rewired_topology

EPSILON, GAMMA = 0.05, 0.4


def relevance(
    net: VisibleNetwork,
    x: Tensor,
    point: Tensor,
    contrast: Tensor,
    late: tuple[Tensor, Tensor] | None = None,
    rule: str = "epsilon",
    **how: object,
) -> Relevance:
    columns = (None, None) if late is None else late
    given = (net, net.entrance(x), net.entrance(point), *columns, contrast)
    if rule == "gamma":
        return relevance_gamma(*given, **{"gamma": GAMMA, **how})  # type: ignore[arg-type]
    return relevance_epsilon(*given, **{"epsilon": EPSILON, **how})  # type: ignore[arg-type]


def folded(dense: DenseNetwork, i: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Weights over all source levels side by side, constant, and these levels, of one level with its batch-norm."""
    level = dense.levels[i]
    weight = np.concatenate([linear.weight.numpy() for linear in level.products], axis=1)
    constant = sum(linear.bias.numpy() for linear in level.products if linear.bias is not None) + np.zeros(len(weight))
    if isinstance(level.norm, nn.BatchNorm1d):
        gain = (level.norm.weight / torch.sqrt(level.norm.running_var + level.norm.eps)).numpy()
        constant = (constant - level.norm.running_mean.numpy()) * gain + level.norm.bias.numpy()
        weight = weight * gain[:, None]
    return weight, constant, list(level.sources)


def shared(c: np.ndarray, kept: float, relevance: float, rule: str) -> tuple[np.ndarray, float]:
    """What each contribution to a node gets of its relevance, and what its constant keeps."""
    z = c.sum() + kept
    sign = 1 if z >= 0 else -1
    if rule == "epsilon":
        bottom = z + EPSILON * sign
        return c / bottom * relevance, kept / bottom * relevance
    stronger = c + GAMMA * np.where(c * sign > 0, c, 0)
    keeps = kept + GAMMA * (kept if kept * sign > 0 else 0)
    bottom = stronger.sum() + keeps
    return stronger / bottom * relevance, keeps / bottom * relevance


@torch.no_grad()
def looped(
    net: VisibleNetwork, r: int, x: Tensor, point: Tensor, contrast: Tensor, rule: str, biases: str
) -> dict[str, np.ndarray]:
    """Relevance of every row of every level of the dense twin, connection by connection, for one sample."""
    dense = net.replicates([r]).dense().eval()
    names = [level.name for level in dense.topology.levels]
    here = {name: values[0].numpy() for name, values in dense.activities(x).items()}
    there = {name: values[0].numpy() for name, values in dense.activities(point).items()}
    start = {name: here[name] - there[name] for name in names}
    v = (
        dict(start)
        if biases == "cancel"
        else {name: (start if name == names[0] else here)[name].copy() for name in names}
    )
    for below, name, level in zip(names, names[1:], dense.levels, strict=False):
        rows = np.argsort(level.picked.numpy())[len(level.own) :]
        v[name][rows] = v[below][level.copied.numpy()]
    head = sum(linear.weight.numpy() for linear in dense.heads) / len(dense.heads)
    top = (contrast.numpy() * dense.output_scale.numpy()) @ head
    found, at = {}, 0
    for name in names:
        found[name] = top[at : at + len(v[name])] * v[name]
        at += len(v[name])
    for i in reversed(range(len(dense.levels))):
        name, level = names[i + 1], dense.levels[i]
        if len(level.products):
            weight, constant, sources = folded(dense, i)
            values = np.concatenate([v[source] for source in sources])
            held = constant + weight @ np.concatenate([here[source] - v[source] for source in sources])
            kept = held if biases == "absorb" else np.zeros(len(weight))
            for j, row in enumerate(level.own.tolist()):
                parts, _ = shared(weight[j] * values, kept[j], found[name][row], rule)
                at = 0
                for source in sources:
                    found[source] += parts[at : at + len(v[source])]
                    at += len(v[source])
        rows = [row for row in range(len(v[name])) if row not in set(level.own.tolist())]
        for row, below in zip(rows, level.copied.tolist(), strict=True):
            found[names[i]][below] += found[name][row]
    return {name: found[name] if i == 0 else found[name][dense.levels[i - 1].own] for i, name in enumerate(names)}


@pytest.mark.parametrize("biases", ["cancel", "absorb"])
@pytest.mark.parametrize("rule", ["epsilon", "gamma"])
@pytest.mark.parametrize(("units", "normalisation"), [({"y": 2}, "batch"), (3, "none")])
@pytest.mark.parametrize("skips", ["edges", "copies"])
@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_every_connection_hands_on_its_share(
    activation: str, skips: str, units: object, normalisation: str, rule: str, biases: str
) -> None:
    net = network(toy_topology(skips), activation=activation, normalisation=normalisation, units=units, n_covariates=0)
    x, point, _, contrast = setting(net.topology)
    found = relevance(net, x, point, contrast, rule=rule, biases=biases)
    for r in range(2):
        for i in (0, 4):
            expected = looped(net, r, x[i : i + 1], point, contrast, rule, biases)
            for level, values in found.levels.items():
                np.testing.assert_allclose(values[:, r, i].numpy(), expected[level], atol=1e-10)


@pytest.mark.parametrize("biases", ["cancel", "absorb"])
@pytest.mark.parametrize("rule", ["epsilon", "gamma"])
@pytest.mark.parametrize("heads", ["levels", "outputs"])
def test_every_cut_and_what_was_absorbed_sum_to_the_difference(rule: str, heads: str, biases: str) -> None:
    net = network(toy_topology(), heads=heads, units={"y": 2})
    x, point, late, contrast = setting(net.topology)
    found = relevance(net, x, point, contrast, late, rule=rule, biases=biases)
    f = net(x, late[0])
    f0 = torch.stack([net(point, late[1][None, :, r])[0, r] for r in range(2)])
    expected = (f - f0 if biases == "cancel" else f) @ contrast.double()
    assert torch.allclose(found.difference[:, :7], expected.T, atol=1e-12)
    for level, gap in found.missed().items():
        assert gap[:, :7].abs().max() < 1e-11, level


def test_gamma_absorbs_nothing_and_epsilon_the_stated_share() -> None:
    net = network(toy_topology(), n_covariates=0)
    x, point, _, contrast = setting(net.topology)
    gamma = relevance(net, x, point, contrast, rule="gamma")
    assert max(float(lost[:, :7].abs().max()) for lost in gamma.absorbed.values()) < 1e-12
    found = relevance(net, x, point, contrast)
    here, there = (net.trace(net.entrance(one))["normalisation"]["level 3"] for one in (x, point))
    z = (here - there[:, :, :1])[:, :, :7]
    share = (EPSILON / (z.abs() + EPSILON) * found.levels["level 3"][:, :, :7]).sum(0)
    assert torch.allclose(found.absorbed["level 2"][:, :7], share, atol=1e-12)
    assert found.absorbed["level 3"].abs().max() == 0
    assert found.absorbed["inputs"].abs().max() > 0


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**16), st.sampled_from(["tanh", "softsign", "linear"]))
def test_without_epsilon_it_is_deeplift_and_absorption_goes_with_epsilon(seed: int, activation: str) -> None:
    net = network(toy_topology(), activation=activation, n_covariates=0)
    x = torch.from_numpy(np.random.default_rng(seed).standard_normal((5, 4)))
    point, contrast = torch.zeros(1, 4).double(), torch.tensor([1.0, 0.0, -1.0])
    machine = DeepLift(net)
    limit = machine.explain(machine.compare(net.entrance(x), net.entrance(point)), contrast)
    near = relevance(net, x, point, contrast, epsilon=1e-12)
    for level, values in limit.levels.items():
        assert torch.allclose(near.levels[level][:, :, :5], values[:, :, :5], atol=1e-6)
    weak, strong = (relevance(net, x, point, contrast, epsilon=e).absorbed["level 2"].abs() for e in (0.01, 0.1))
    assert (weak[:, :5] <= strong[:, :5] + 1e-15).all()


def plain(net: VisibleNetwork, contrast: Tensor) -> nn.Sequential:
    """A network without skips and with one head as a chain of `nn.Linear`, scaling and batch-norm folded."""
    dense = net.replicates([0]).dense().eval()
    made: list[nn.Module] = []
    with torch.no_grad():
        for i in range(len(dense.levels)):
            weight, constant, _ = (torch.as_tensor(a) if isinstance(a, np.ndarray) else a for a in folded(dense, i))
            if not made:
                constant = constant + weight @ dense.affine.shift
                weight = weight * dense.affine.scale
            made += [linear(weight, constant), type(dense.levels[i].act)()]
        widths = [int(net.units(level.name).sum()) for level in dense.topology.levels]
        head = dense.heads[0]
        scale = contrast.double() * dense.output_scale
        constant = scale @ head.bias + contrast.double() @ dense.output_shift
        made.append(linear((scale @ head.weight[:, -widths[-1] :])[None], constant[None]))
    return nn.Sequential(*made)


def linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    made = skip_init(nn.Linear, weight.shape[1], weight.shape[0], dtype=torch.float64)
    made.weight.copy_(weight)
    made.bias.copy_(bias)
    return made


def captum_lrp(model: nn.Sequential, level: int, x: Tensor, rules: list[object]) -> Tensor:
    from captum.attr import LRP, LayerLRP

    steps = [module for module in model if isinstance(module, nn.Linear)]
    for module, rule in zip(steps, rules, strict=True):
        module.rule = rule
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if level == 0:
            return LRP(model).attribute(x).detach()
        found = LayerLRP(model, steps[level]).attribute(x, attribute_to_layer_input=True)
    return (found[0] if isinstance(found, tuple) else found).detach()


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_epsilon_as_published_is_captums(activation: str) -> None:
    from captum.attr._utils.lrp_rules import EpsilonRule

    net = network(toy_topology("none"), activation=activation, heads="outputs", n_covariates=0, units={"y": 2})
    x, _, _, contrast = setting(net.topology)
    zero = torch.zeros(1, 4).double()
    with torch.no_grad():
        net.scaling.shift.zero_()
    found = relevance(net, x, zero, contrast, biases="absorb")
    for i, level in enumerate(("inputs", "level 1", "level 2", "level 3")):
        rules = [EpsilonRule(EPSILON) for _ in range(3)] + [EpsilonRule(0.0)]
        theirs = captum_lrp(plain(net, contrast), i, x.clone(), rules)
        assert torch.allclose(found.levels[level][:, 0, :7].T, theirs, atol=1e-10), level


def test_gamma_of_values_that_are_never_negative_is_captums() -> None:
    from captum.attr._utils.lrp_rules import EpsilonRule, GammaRule

    net = network(toy_topology("none"), activation="relu", heads="outputs", n_covariates=0, normalisation="none")
    with torch.no_grad():
        net.scaling.shift.zero_()
        for each in net.linears:
            each.bias.zero_()
        for each in net.linears[1:]:
            each.weights[0].abs_()
    x, _, _, contrast = setting(net.topology)
    x, zero = x.abs(), torch.zeros(1, 4).double()
    found = relevance(net, x, zero, contrast, rule="gamma")
    assert found.levels["inputs"][:, 0, :7].abs().max() > 0.01
    for i, level in enumerate(("inputs", "level 1", "level 2", "level 3")):
        rules = [GammaRule(GAMMA) for _ in range(3)] + [EpsilonRule(0.0)]
        theirs = captum_lrp(plain(net, contrast), i, x.clone(), rules)
        assert torch.allclose(found.levels[level][:, 0, :7].T, theirs, atol=1e-7), level


@pytest.mark.parametrize("rule", ["epsilon", "gamma"])
def test_replicates_in_wirings_of_their_own_are_the_networks_of_these_wirings(rule: str) -> None:
    many = wired(Recipe(activation="tanh")).eval()
    x = torch.linspace(-2, 2, 120).reshape(6, 20).sin().double()
    point = torch.zeros(1, 20).double()
    found = relevance(many, x, point, torch.ones(1), rule=rule)
    for gap in found.missed().values():
        assert gap[:, :6].abs().max() < 1e-11
    for r in range(3):
        alone = alone_of(many, r)
        expected = relevance(alone, x, point, torch.ones(1), rule=rule)
        for level, values in expected.levels.items():
            assert torch.allclose(found.levels[level][:, r, :6], values[:, 0, :6], atol=1e-12)


def alone_of(many: VisibleNetwork, r: int) -> VisibleNetwork:
    """The network of the rewired topology of one replicate, with its weights found by name."""
    alone = VisibleNetwork(rewired_topology(drawn(), DRAWS[r]), many.recipe).double().eval()
    weights = by_name(many, r)
    with torch.no_grad():
        for stage, linear in alone.layers:
            for name, graph, weight in linear.parts():
                targets = torch.repeat_interleave(torch.arange(graph.n_targets), graph.ptr.diff().long()).tolist()
                for e, (s, t) in enumerate(zip(graph.src.tolist(), targets, strict=True)):
                    weight[e, 0] = weights[name, alone.own_nodes(name)[s], stage.level, stage.nodes[t]]
        for mine, theirs in zip(alone.head_layers, many.head_layers, strict=True):
            for a, b in zip(mine.weights, theirs.weights, strict=True):
                a[:, 0] = b[:, r]
    return alone


@pytest.mark.parametrize("rule", ["epsilon", "gamma"])
def test_samples_and_replicates_alone_are_those_among_others(rule: str) -> None:
    net = network(toy_topology(), n_covariates=0)
    x, point, _, contrast = setting(net.topology)
    together = relevance(net, x, point, contrast, rule=rule)
    sample = relevance(net, x[3:4], point, contrast, rule=rule)
    replicate = relevance(net.replicates(["b"]), x, point, contrast, rule=rule)
    for level, values in together.levels.items():
        assert torch.equal(sample.levels[level][:, :, 0], values[:, :, 3])
        assert torch.equal(replicate.levels[level][:, 0], values[:, 1])


def test_missing_values_and_a_reference_for_every_sample() -> None:
    net = network(toy_topology(), n_covariates=0)
    net.imputes = True
    x, _, _, contrast = setting(net.topology)
    points = draws(4, 2, 16, name="points")
    holes = x.clone()
    holes[2, 1] = torch.nan
    found = relevance_gamma(net, net.entrance(holes), Signal(points, None, 7), None, None, contrast)
    filled = x[2].clone()
    filled[1] = net.scaling.fill[1, 1]
    one = relevance(net.replicates(["b"]), filled[None], points[:, 1, 2][None], contrast, rule="gamma", gamma=0.25)
    for level, values in one.levels.items():
        assert torch.allclose(found.levels[level][:, 1, 2], values[:, 0, 0], atol=1e-12)


def test_a_sample_on_the_reference_has_no_relevance_and_the_mode_is_restored() -> None:
    net = network(toy_topology(), n_covariates=0).train()
    _, point, _, contrast = setting(net.topology)
    for rule in ("epsilon", "gamma"):
        found = relevance(net, point, point, contrast, rule=rule)
        assert all((values[:, :, 0] == 0).all() for values in found.levels.values())
    relevance(net, point, point, contrast, biases="absorb")
    assert net.training


def test_flows_of_epsilon_sum_to_relevance_and_gamma_has_none() -> None:
    net = network(toy_topology(), n_covariates=0)
    x, point, _, contrast = setting(net.topology)
    found = relevance(net, x, point, contrast)
    machine = DeepLift(net)
    comparison = machine.compare(net.entrance(x), net.entrance(point))
    flow = machine.flows(comparison, found, torch.ones(7))
    edges = net.layers[0][0].edges["inputs"]
    out = np.zeros((4, 2))
    np.add.at(out, edges[:, 0], flow["inputs", "level 1"].numpy())
    for target in ("level 2", "level 3"):
        at = next(stage for stage, _ in net.layers if stage.level == target).edges["inputs"][:, 0]
        np.add.at(out, at, flow["inputs", target].numpy())
    np.testing.assert_allclose(out, found.levels["inputs"][:, :, :7].sum(-1).numpy(), atol=1e-12)
    assert relevance(net, x, point, contrast, rule="gamma").multipliers == {}


def test_settings_that_mean_nothing_are_refused() -> None:
    net = network(toy_topology(), n_covariates=0)
    x, point, _, contrast = setting(net.topology)
    with pytest.raises(ValueError, match=r"`epsilon` is 0; it must be > 0"):
        relevance(net, x, point, contrast, epsilon=0)
    with pytest.raises(ValueError, match=r"`gamma` is nan; it must be > 0"):
        relevance(net, x, point, contrast, rule="gamma", gamma=float("nan"))
    with pytest.raises(ValueError, match=r"`biases` is 'absorbs'.*Did you mean 'absorb'"):
        relevance(net, x, point, contrast, biases="absorbs")
    net.activations[1] = nn.Softmax(dim=0)
    with pytest.raises(TypeError, match="Softmax"):
        relevance(net, x, point, contrast)

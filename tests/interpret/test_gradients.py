"""Every method of the gradient family against autograd on the dense twin, closed forms, Captum and its own laws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.interpret.test_deeplift import draws, network, setting
from tests.wirings import COLUMNS, toy_topology
from vnn.chance import generator
from vnn.interpret.baseline import Baseline
from vnn.interpret.batch import Batch, References
from vnn.interpret.deeplift import DeepLift, Explained
from vnn.interpret.gradients import legendre
from vnn.interpret.methods import METHODS, averaged
from vnn.interpret.rivals import BatchFirst, Contrasted, quiet
from vnn.models import DenseNetwork, Recipe, VisibleNetwork
from vnn.ontology import Topology, rewire

N = 7
LEVELS = ("inputs", "level 1", "level 2", "level 3")
SAME = {"atol": 1e-9, "rtol": 1e-9}
CAPTUM = {"atol": 1e-6, "rtol": 1e-6}
CONTRIBUTIONS = [name for name, one in METHODS.items() if one.unit == "contribution"]
COMPLETE = [name for name, one in METHODS.items() if one.complete]


def points(topology: Topology, n: int = 2) -> Tensor:
    """References (n, n_in)."""
    return draws(n, len(topology.inputs), name="points")


def batch(net: VisibleNetwork, x: Tensor, there: Tensor, late: tuple[Tensor, Tensor] | None) -> Batch:
    """Samples (n, n_in) beside references (n_draws, n_in) shared by all replicates, or (n_draws, n_in, R)."""
    values = there[:, :, None].expand(-1, -1, net.n_replicates) if there.dim() == 2 else there
    baseline = Baseline("", values.numpy(), None if late is None else late[1].numpy())
    machine = DeepLift(net)
    return Batch(machine, net.entrance(x), None if late is None else late[0], References(machine, baseline))


def case(
    skips: str = "edges", **recipe: object
) -> tuple[VisibleNetwork, Batch, Tensor, Tensor, tuple[Tensor, Tensor], Tensor]:
    topology = toy_topology(skips)
    net = network(topology, **recipe)
    x, _, late, contrast = setting(topology)
    there = points(topology)
    return net, batch(net, x, there, late), x, there, late, contrast


def gradient_at(
    dense: DenseNetwork, x: Tensor, late: Tensor, contrast: Tensor
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """By level the gradient of the contrast and the values, (batch, n_units), inputs raw, copies left out."""
    held: dict[str, Tensor] = {}
    x = x.clone().requires_grad_()
    hooks = [
        module.register_forward_hook(lambda _, __, out, name=level.name: held.update({name: out}))
        for level, module in zip(dense.topology.levels[1:], dense.levels, strict=True)
    ]
    total = (dense(x, late) @ contrast.double()).sum()
    for hook in hooks:
        hook.remove()
    found = torch.autograd.grad(total, [x, *held.values()], allow_unused=True)
    values = {"inputs": x, **held}
    own = {"inputs": slice(None)} | {
        level.name: module.own for level, module in zip(dense.topology.levels[1:], dense.levels, strict=True)
    }
    gradients = {
        level: (torch.zeros_like(one) if g is None else g)[:, own[level]]
        for (level, one), g in zip(values.items(), found, strict=True)
    }
    return gradients, {level: one.detach()[:, own[level]] for level, one in values.items()}


def speeds_at(dense: DenseNetwork, x: Tensor, by: Tensor) -> dict[str, Tensor]:
    """By level how fast its values move when the raw inputs move by `by`."""
    return {
        level: torch.func.jvp(lambda at, name=level: dense.activities(at)[name], (x,), (by,))[1] for level in LEVELS[1:]
    }


def of(found: Explained, level: str, r: int) -> Tensor:
    return found.levels[level][:, r, :N].T


def own_rows(dense: DenseNetwork) -> dict[str, Tensor]:
    return {level.name: module.own for level, module in zip(dense.topology.levels[1:], dense.levels, strict=True)}


FORMS = pytest.mark.parametrize(
    ("skips", "recipe"),
    [
        ("edges", {"activation": "tanh", "units": {"y": 2}}),
        ("copies", {"activation": "relu", "heads": "outputs"}),
        ("copies", {"activation": "sigmoid", "normalisation": "none", "units": 2}),
        ("edges", {"activation": "softsign"}),
    ],
)


@FORMS
def test_gradients_are_those_of_autograd_on_the_dense_twin(skips: str, recipe: dict[str, object]) -> None:
    net, made, x, there, late, contrast = case(skips, **recipe)
    times, absolute = (METHODS[name].explain(made, contrast) for name in ("gradient x difference", "saliency"))
    for r in range(2):
        dense = net.dense(r).eval()
        gradients, here = gradient_at(dense, x, late[0], contrast)
        means = {level: torch.stack([gradient_at(dense, one[None], late[0][:1], contrast)[1][level][0] for one in there]).mean(0)
                 for level in LEVELS}  # fmt: skip
        for level in LEVELS:
            assert torch.allclose(of(times, level, r), gradients[level] * (here[level] - means[level]), **SAME), level
            per_unit = gradients[level] / net.scaling.scale[:, r] if level == "inputs" else gradients[level]
            assert torch.allclose(of(absolute, level, r), per_unit.abs(), **SAME), level
        columns = late[0].clone().requires_grad_()
        slope = torch.autograd.grad((dense(x, columns) @ contrast.double()).sum(), columns)[0]
        assert torch.allclose(of(times, "covariates", r), slope * (late[0] - late[1][:, r]), **SAME)
        assert torch.allclose(of(absolute, "covariates", r), (slope / net.covariate_scaling.scale[:, r]).abs(), **SAME)
    assert not times.passing
    assert not times.missed()


@FORMS
def test_conductance_is_gradient_times_speed_on_the_dense_twin(skips: str, recipe: dict[str, object]) -> None:
    net, made, x, there, late, contrast = case(skips, **recipe)
    found = METHODS["integrated gradients"].with_settings(n_steps=5).explain(made, contrast)
    nodes, weights = np.polynomial.legendre.leggauss(5)
    for r in range(2):
        dense = net.dense(r).eval()
        own = own_rows(dense)
        expected = {level: torch.zeros_like(of(found, level, r)) for level in LEVELS}
        for one in there:
            for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
                at = one + node * (x - one)
                gradients, _ = gradient_at(dense, at, late[0], contrast)
                speeds = speeds_at(dense, at, x - one)
                for level in LEVELS:
                    speed = x - one if level == "inputs" else speeds[level][:, own[level]]
                    expected[level] += weight / len(there) * gradients[level] * speed
        for level, values in expected.items():
            assert torch.allclose(of(found, level, r), values, **SAME), level


def internal_by_autograd(
    dense: DenseNetwork, cut: str, x: Tensor, one: Tensor, late: Tensor, contrast: Tensor, n_steps: int
) -> tuple[Tensor, Tensor]:
    """Of the own rows of a level, (batch, n_units), and the sum over everything on its cut, from the dense modules alone."""
    names = [level.name for level in dense.topology.levels]
    below = names[: names.index(cut) + 1]
    here, there = ({k: v.detach() for k, v in dense.activities(at).items() if k in below} for at in (x, one[None]))
    nodes, weights = legendre_of(n_steps)
    total = {k: torch.zeros_like(v) for k, v in here.items()}
    for node, weight in zip(nodes, weights, strict=True):
        values = {k: (there[k] + node * (here[k] - there[k])).requires_grad_() for k in below}
        grown: dict[str, Tensor] = dict(values)
        for name, module in zip(names[1:], dense.levels, strict=True):
            if name not in below:
                grown[name] = module(grown, grown[names[names.index(name) - 1]])
        logits = torch.stack([head(torch.cat([grown[k] for k in names], dim=1)) for head in dense.heads]).mean(0)
        f = (logits * dense.output_scale) @ contrast.double()
        slopes = torch.autograd.grad(f.sum(), list(values.values()), allow_unused=True)
        for k, slope in zip(below, slopes, strict=True):
            total[k] += 0 if slope is None else weight * slope * (here[k] - there[k])
    own = slice(None) if cut == "inputs" else own_rows(dense)[cut]
    return total[cut][:, own], sum(v.sum(1) for v in total.values())


def legendre_of(n: int) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return (nodes + 1) / 2, weights / 2


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_internal_path_is_autograd_on_everything_that_is_cut(activation: str) -> None:
    net, made, x, there, late, contrast = case("edges", activation=activation, units={"y": 2})
    found = METHODS["internal gradients"].with_settings(n_steps=4).explain(made, contrast)
    for r in range(2):
        dense = net.dense(r).eval()
        for level in LEVELS:
            parts = [internal_by_autograd(dense, level, x, one, late[0], contrast, 4) for one in there]
            assert torch.allclose(of(found, level, r), torch.stack([p[0] for p in parts]).mean(0), **SAME), level
            total = found.levels[level].sum(0) + found.passing[level]
            assert torch.allclose(total[r, :N], torch.stack([p[1] for p in parts]).mean(0), **SAME), level


def test_expected_gradients_are_autograd_at_the_places_that_were_drawn() -> None:
    net, made, x, there, late, contrast = case("edges", activation="relu", units={"x": 3})
    found = METHODS["expected gradients"].with_settings(n_points=3).explain(made, contrast)
    rng = generator(net.seed, "expected gradients")
    order = rng.random((2, 3)).argsort(axis=0)
    places = (np.arange(3) + (order + rng.random((2, 3))) / 2) / 3
    assert sorted((6 * places).astype(int).ravel().tolist()) == list(range(6))
    for r in range(2):
        dense = net.dense(r).eval()
        own = own_rows(dense)
        expected = {level: torch.zeros_like(of(found, level, r)) for level in LEVELS}
        gaps = []
        for one, row in zip(there, places, strict=True):
            for place in row:
                at = one + place * (x - one)
                gradients, _ = gradient_at(dense, at, late[0], contrast)
                speeds = speeds_at(dense, at, x - one)
                for level in LEVELS:
                    speed = x - one if level == "inputs" else speeds[level][:, own[level]]
                    expected[level] += gradients[level] * speed / 6
                difference = (dense(x, late[0]) - dense(one[None], late[0])) @ contrast.double()
                gaps.append(((gradients["inputs"] * (x - one)).sum(1) - difference).detach())
        for level, values in expected.items():
            assert torch.allclose(of(found, level, r), values, **SAME), level
        for gap in found.missed().values():
            assert torch.allclose(gap[r, :N], torch.stack(gaps).mean(0), **SAME)
        error = torch.stack(gaps).square().sum(0).sqrt() / 6
        assert found.standard_error is not None
        assert torch.allclose(found.standard_error[r, :N], error, **SAME)


def test_expected_gradients_come_to_integrated_gradients_and_their_error_is_honest() -> None:
    _, made, _, _, _, contrast = case("edges", activation="tanh")
    exact = METHODS["integrated gradients"].with_settings(n_steps=40).explain(made, contrast)
    found = METHODS["expected gradients"].with_settings(n_points=40).explain(made, contrast)
    for level in LEVELS:
        scale = exact.levels[level][:, :, :N].abs().max()
        assert (found.levels[level] - exact.levels[level])[:, :, :N].abs().max() < 0.05 * scale
    few = METHODS["expected gradients"].with_settings(n_points=5).explain(made, contrast)
    assert few.standard_error is not None
    gap = few.missed()["inputs"][:, :N].abs()
    assert (gap < 3 * few.standard_error[:, :N]).all()
    assert few.standard_error[:, :N].min() > 0


def test_smoothgrad_is_the_mean_of_autograd_over_the_noise() -> None:
    net, made, x, _, late, contrast = case("edges", activation="tanh")
    found = METHODS["smoothgrad"].with_settings(n_points=3, noise=0.8).explain(made, contrast)
    for r in range(2):
        dense, parts = net.dense(r).eval(), []
        for i in range(3):
            z = torch.from_numpy(generator(net.seed, "smoothgrad", i).standard_normal(4))
            parts.append(gradient_at(dense, x + 0.8 * z / net.scaling.scale[:, r], late[0], contrast)[0])
        for level in LEVELS:
            expected = torch.stack([part[level] for part in parts]).mean(0)
            expected = expected / net.scaling.scale[:, r] if level == "inputs" else expected
            assert torch.allclose(of(found, level, r), expected, **SAME), level


class OnlyPositive(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, g):  # type: ignore[no-untyped-def]
        (x,) = ctx.saved_tensors
        return g * (x > 0) * (g > 0)


class GuidedRelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return OnlyPositive.apply(x)


@pytest.mark.parametrize("skips", ["edges", "copies"])
def test_guided_backpropagation_is_autograd_with_guided_relus(skips: str) -> None:
    net, made, x, _, late, contrast = case(skips, activation="relu", units={"y": 2})
    with torch.no_grad():
        for norm in net.norms:
            norm.gain[::2] *= -1
    made = batch(net, x, points(net.topology), late)
    found = METHODS["guided backpropagation"].explain(made, contrast)
    for r in range(2):
        dense = net.dense(r).eval()
        for level in dense.levels:
            level.act = GuidedRelu()
        gradients, _ = gradient_at(dense, x, late[0], contrast)
        for level in LEVELS:
            expected = gradients[level] / net.scaling.scale[:, r] if level == "inputs" else gradients[level]
            assert torch.allclose(of(found, level, r), expected, **SAME), level


def test_guided_backpropagation_is_refused_without_relu() -> None:
    _, made, _, _, _, contrast = case(activation="tanh")
    with pytest.raises(ValueError, match=r"rule for ReLU; this network has Tanh\. Use \"saliency\""):
        METHODS["guided backpropagation"].explain(made, contrast)


@pytest.mark.parametrize("name", [name for name in CONTRIBUTIONS if METHODS[name].family == "propagation"])
def test_all_contributions_agree_on_a_linear_network(name: str) -> None:
    net, made, x, there, late, contrast = case("copies", activation="linear", units={"x": 2})
    found = METHODS[name].explain(made, contrast)
    for r in range(2):
        dense = net.dense(r).eval()
        slope = torch.autograd.functional.jacobian(
            lambda one, dense=dense: dense(one[None], late[0][:1])[0] @ contrast.double(), x[0]
        )
        assert torch.allclose(of(found, "inputs", r), slope * (x - there.mean(0)), **SAME)
        reference = METHODS["deeplift"].explain(made, contrast)
        for level in LEVELS:
            assert torch.allclose(of(found, level, r), of(reference, level, r), **SAME)


@pytest.mark.parametrize("name", COMPLETE)
@pytest.mark.parametrize("normalisation", ["batch", "none"])
@pytest.mark.parametrize("skips", ["edges", "copies"])
def test_cuts_of_complete_methods_sum_to_the_difference(skips: str, normalisation: str, name: str) -> None:
    net, made, x, there, late, contrast = case(skips, activation="sigmoid", normalisation=normalisation, units={"y": 3})
    method = METHODS[name]
    steps = {"n_steps": 60} if "n_steps" in method.settings else {}
    found = method.with_settings(**steps).explain(made, contrast)
    f = net(x, late[0]) @ contrast.double()
    f0 = torch.stack([net(there, late[1][:, r].expand(2, -1))[:, r].mean(0) @ contrast.double() for r in range(2)])
    assert torch.allclose(found.difference[:, :N], (f - f0).T, **SAME)
    gaps = {level: gap[:, :N] for level, gap in found.missed().items()}
    assert list(gaps) == list(LEVELS)
    if method.completeness == "sampled":
        for gap in gaps.values():
            assert torch.allclose(gap, gaps["inputs"], **SAME)
    else:
        assert max(gap.abs().max() for gap in gaps.values()) < 1e-8


def test_the_gap_of_integrated_gradients_falls_with_its_steps() -> None:
    _, made, _, _, _, contrast = case(activation="tanh")
    gaps = []
    for n in (2, 6, 18):
        found = METHODS["integrated gradients"].with_settings(n_steps=n).explain(made, contrast)
        gaps.append(float(max(gap[:, :N].abs().max() for gap in found.missed().values())))
    assert gaps[0] > 10 * gaps[1] > 100 * gaps[2] > 0


def test_more_relu_steps_come_closer_too() -> None:
    _, made, _, _, _, contrast = case(activation="relu")
    one, many = (METHODS["integrated gradients"].with_settings(n_steps=n).explain(made, contrast) for n in (2, 80))
    gap = [float(found.missed()["level 2"][:, :N].abs().max()) for found in (one, many)]
    assert gap[1] < gap[0] / 10


@pytest.mark.parametrize("name", list(METHODS))
def test_samples_and_replicates_alone_and_together(name: str) -> None:
    net, made, x, there, late, contrast = case(activation="relu", units={"y": 2})
    together = METHODS[name].explain(made, contrast)
    one = METHODS[name].explain(batch(net, x[3:4], there, (late[0][3:4], late[1])), contrast)
    other = METHODS[name].explain(batch(net.replicates(["b"]), x, there, (late[0], late[1][:, 1:])), contrast)
    for level, values in together.levels.items():
        assert torch.allclose(one.levels[level][:, :, 0], values[:, :, 3], atol=1e-13, rtol=1e-12), level
        assert torch.allclose(other.levels[level][:, 0], values[:, 1], atol=1e-13, rtol=1e-12), level


@pytest.mark.parametrize("name", list(METHODS))
def test_a_missing_value_is_its_fill(name: str) -> None:
    net, _, x, there, late, contrast = case(activation="relu")
    net.imputes = True
    holes = x.clone()
    holes[2, 1] = torch.nan
    found = METHODS[name].explain(batch(net, holes, there, late), contrast)
    for r in range(2):
        filled = x.clone()
        filled[2, 1] = net.scaling.fill[1, r]
        expected = METHODS[name].explain(batch(net, filled, there, late), contrast)
        for level, values in expected.levels.items():
            assert torch.allclose(found.levels[level][:, r, :N], values[:, r, :N], **SAME), level


@pytest.mark.parametrize("name", CONTRIBUTIONS)
def test_units_of_the_inputs_do_not_matter_for_contributions(name: str) -> None:
    net, made, x, there, late, contrast = case(activation="tanh")
    before = METHODS[name].explain(made, contrast)
    factor, shift = torch.tensor([2.0, 0.5, 10.0, 1.0]).double(), torch.tensor([1.0, -3.0, 0.0, 5.0]).double()
    with torch.no_grad():
        net.scaling.shift -= net.scaling.scale * (shift / factor)[:, None]
        net.scaling.scale /= factor[:, None]
    after = METHODS[name].explain(batch(net, x * factor + shift, there * factor + shift, late), contrast)
    for level in LEVELS:
        assert torch.allclose(after.levels[level][:, :, :N], before.levels[level][:, :, :N], **SAME), level


def test_a_batch_serves_every_method_and_contrast_with_one_way_up(monkeypatch: pytest.MonkeyPatch) -> None:
    _, made, _, _, _, contrast = case(activation="relu")
    calls = []
    right = made.sweep.enter
    monkeypatch.setattr(made.sweep, "enter", lambda signal: calls.append(signal) or right(signal))
    for method in METHODS.values():
        for one in (contrast, contrast.flip(0)):
            method.explain(made, one)
    assert len(calls) == 2


def test_a_method_of_one_reference_is_averaged_over_the_draws() -> None:
    _, made, _, _, _, contrast = case(activation="tanh")

    def alone(net, signal, reference, covariates, late, asked):  # type: ignore[no-untyped-def]
        machine = DeepLift(net)
        return machine.explain(machine.compare(signal, reference, covariates, late), asked)

    found = replace(METHODS["deeplift"], function=averaged(alone)).explain(made, contrast)
    expected = METHODS["deeplift"].explain(made, contrast)
    for level, values in expected.levels.items():
        assert torch.allclose(found.levels[level], values, **SAME)
    assert torch.allclose(found.difference, expected.difference, **SAME)


def wired() -> VisibleNetwork:
    """Two replicates, each with a rewired wiring of its own, k units and skips."""
    rng, rows = np.random.default_rng(1), []
    for below, above, n_below, n_above, n in (
        ("in", "low", 12, 6, 30),
        ("low", "high", 6, 4, 12),
        ("in", "high", 12, 4, 10),
    ):
        every = {(i % n_below, i % n_above) for i in range(max(n_below, n_above))}
        while len(every) < n:
            every.add((int(rng.integers(n_below)), int(rng.integers(n_above))))
        rows += [(below, f"{below} {i:02}", above, f"{above} {j:02}") for i, j in sorted(every)]
    levels = {name: [f"{name} {i:02}" for i in range(n)] for name, n in (("in", 12), ("low", 6), ("high", 4))}
    topology = Topology.from_edges(levels, pd.DataFrame(rows, columns=COLUMNS))
    drawn = rewire(topology, seed=3, draws=(0, 1))
    made = VisibleNetwork(
        topology, Recipe(units=2), replicates=("a", "b"), wirings=drawn.sources(), n_targets=1
    ).double()  # fmt: skip
    return made.eval()


def test_replicates_wired_in_their_own_way_are_explained_as_they_are_wired() -> None:
    net = wired()
    x, there = draws(N, 12, name="x"), draws(2, 12, name="there")
    made = batch(net, x, there, None)
    contrast = torch.ones(1)
    gradient = METHODS["gradient x difference"].explain(made, contrast).levels["in"]
    at = x.clone().requires_grad_()
    for r in range(2):
        slope = torch.autograd.grad(net(at)[:, r, 0].sum(), at)[0]
        assert torch.allclose(gradient[:, r, :N].T, slope * (x - there.mean(0)), **SAME)
    for name in ("deeplift", "integrated gradients", "internal gradients"):
        method = METHODS[name] if name == "deeplift" else METHODS[name].with_settings(n_steps=60)
        assert max(gap[:, :N].abs().max() for gap in method.explain(made, contrast).missed().values()) < 1e-8, name


@st.composite
def wirings(draw: st.DrawFn) -> Topology:
    """Two to four levels above the inputs, with every kind of skip."""
    sizes = [draw(st.integers(1, 4)) for _ in range(draw(st.integers(3, 5)))]
    names = {f"l{i}": [f"l{i} {j}" for j in range(n)] for i, n in enumerate(sizes)}
    rows = set()
    for i in range(1, len(sizes)):
        for j in range(sizes[i]):
            rows.add((f"l{i - 1}", f"l{i - 1} {draw(st.integers(0, sizes[i - 1] - 1))}", f"l{i}", f"l{i} {j}"))
            for _ in range(draw(st.integers(0, 2))):
                s = draw(st.integers(0, i - 1))
                rows.add((f"l{s}", f"l{s} {draw(st.integers(0, sizes[s] - 1))}", f"l{i}", f"l{i} {j}"))
    for i in range(len(sizes) - 1):
        for j in range(sizes[i]):
            if not any(row[:2] == (f"l{i}", f"l{i} {j}") for row in rows):
                rows.add((f"l{i}", f"l{i} {j}", f"l{i + 1}", f"l{i + 1} {draw(st.integers(0, sizes[i + 1] - 1))}"))
    return Topology.from_edges(names, pd.DataFrame(sorted(rows), columns=COLUMNS))


@settings(max_examples=12, deadline=None, derandomize=True)
@given(wirings(), st.sampled_from(["tanh", "relu"]), st.sampled_from(["levels", "outputs"]), st.integers(1, 2))
def test_any_wiring_is_complete_at_every_level(topology: Topology, activation: str, heads: str, units: int) -> None:
    net = network(topology, activation=activation, heads=heads, units=units, n_covariates=0)
    x = draws(N, len(topology.inputs), name="x")
    made = batch(net, x, points(topology), None)
    contrast = torch.tensor([1.0, -0.5, -0.5])
    exact = METHODS["deeplift"].explain(made, contrast)
    assert max(gap[:, :N].abs().max() for gap in exact.missed().values()) < 1e-10
    for name in ("integrated gradients", "expected gradients"):
        gaps = [gap[:, :N] for gap in METHODS[name].explain(made, contrast).missed().values()]
        assert all(torch.allclose(gap, gaps[0], **SAME) for gap in gaps), name
    lowest = METHODS["internal gradients"].explain(made, contrast).levels[topology.levels[0].name]
    assert torch.allclose(
        lowest, METHODS["integrated gradients"].explain(made, contrast).levels[topology.levels[0].name], **SAME
    )
    slope = torch.func.jacrev(lambda one: net(one[None])[0] @ contrast.double())(x[0])
    first = METHODS["gradient x difference"].explain(made, contrast).levels[topology.levels[0].name][:, :, 0]
    assert torch.allclose(first.T, slope * (x[0] - points(topology).mean(0)), **SAME)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_captum_gives_the_same(activation: str) -> None:
    """Captum rounds the weights of its steps to float32, hence the tolerance."""
    attr = pytest.importorskip("captum.attr")
    net, _, x, there, late, contrast = case(activation=activation, units={"y": 2})
    one = there[:1]
    made = batch(net, x, one, late)
    found = {name: METHODS[name].explain(made, contrast) for name in ("integrated gradients", "internal gradients")}
    for r in range(2):
        model = BatchFirst(net.replicates([r]))
        f = Contrasted(model, contrast)
        point = one.expand(N, -1)
        theirs = attr.IntegratedGradients(f).attribute(x, point, additional_forward_args=(late[0],), n_steps=16)
        assert torch.allclose(of(found["integrated gradients"], "inputs", r), theirs, **CAPTUM)
        for i, level in enumerate(LEVELS[1:]):
            layers = [*([model.entry] if i < 2 else []), *model.points[: i + 1]]
            with quiet():
                many = attr.LayerIntegratedGradients(f, layers).attribute(
                    x, point, additional_forward_args=(late[0],), n_steps=16
                )
            assert torch.allclose(of(found["internal gradients"], level, r), many[-1], **CAPTUM), level
            conductance = attr.NeuronConductance(f, model.points[i])
            for j in range(found["integrated gradients"].levels[level].shape[0]):
                parts = conductance.attribute(
                    x, j, point, additional_forward_args=(late[0],), n_steps=16, method="gausslegendre"
                )
                mine = of(found["integrated gradients"], level, r)[:, j]
                assert torch.allclose(mine, parts.sum(1), **CAPTUM), (level, j)


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: METHODS["integrated gradients"].with_settings(steps=3), "the setting of integrated gradients is 'steps'"),
    (lambda: METHODS["deeplift"].with_settings(n_steps=3), "the setting of deeplift"),
    (lambda: legendre(0), "`n_steps` is 0"),
    (lambda: legendre(2.5), "`n_steps` is 2.5"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_wrong_settings_are_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("name", "setting_"), [("smoothgrad", "n_points"), ("expected gradients", "n_points")])
def test_no_points_are_refused(name: str, setting_: str) -> None:
    _, made, _, _, _, contrast = case(activation="tanh")
    with pytest.raises(ValueError, match="`n_points` is 0; it needs"):
        METHODS[name].with_settings(**{setting_: 0}).explain(made, contrast)


def test_float32_is_complete_to_rounding() -> None:
    net = network(toy_topology(), n_covariates=0, activation="tanh").float()
    x, _, _, contrast = setting(net.topology)
    made = batch(net, x.float(), points(net.topology), None)
    for name in ("deeplift", "integrated gradients", "internal gradients"):
        found = METHODS[name].explain(made, contrast)
        assert found.levels["inputs"].dtype == torch.float32
        worst = max(float(gap[:, :N].abs().max()) for gap in found.missed().values())
        assert worst < 1e-4 * float(found.difference.abs().max().clamp(min=1)), name

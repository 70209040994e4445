"""All nodes ablated at once beside the dense twin run again node by node, and knock-outs of named nodes."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import vnn.interpret.ablation as module
from tests.interpret.test_deeplift import draws, network, setting
from tests.interpret.test_relevance import alone_of
from tests.models.test_wired_network import wired
from tests.planted import cohort, folds, gene_sets, wiring
from tests.wirings import COLUMNS, toy_topology
from vnn._errors import AlignmentError
from vnn.interpret.ablation import Ablated, Ablation, ablation, ablation_by_loop, knock_out
from vnn.layers import Signal
from vnn.models import Recipe, VisibleNetwork
from vnn.ontology import Topology
from vnn.training import Fit, Training, fit


def given_to(net: VisibleNetwork, x: Tensor, point: Tensor, late: tuple[Tensor, Tensor] | None = None) -> tuple:
    return (net, net.entrance(x), net.entrance(point), *((None, None) if late is None else late))


@torch.no_grad()
def run_again(
    net: VisibleNetwork, r: int, x: Tensor, point: Tensor, level: str, node: str, late: tuple[Tensor, Tensor] | None
) -> Tensor:
    """Logits of the dense twin before minus after one of its nodes was overwritten, (n, n_targets)."""
    dense = net.replicates([r]).dense().eval()
    there = dense.activities(point)[level]
    at = list(dense.topology.level(level).nodes).index(node)
    units = [1] * len(dense.topology.inputs) if level == dense.topology.levels[0].name else net.units(level).tolist()
    columns = slice(sum(units[:at]), sum(units[: at + 1]))
    logits = []
    for overwrite in (False, True):
        below = dense.affine(x)
        values = {}
        for i, each in enumerate(dense.topology.levels):
            below = below if i == 0 else dense.levels[i - 1](values, below)
            if overwrite and each.name == level:
                below = below.clone()
                below[:, columns] = there[:, columns]
            values[each.name] = below
        out = torch.stack([head(torch.cat(list(values.values()), dim=1)) for head in dense.heads]).mean(0)
        if late is not None:
            out = out + dense.covariate_linear(dense.covariate_affine(late[0]))
        logits.append(out * dense.output_scale)
    return logits[0] - logits[1]


def per_node(net: VisibleNetwork, level: str, values: Tensor) -> Tensor:
    node = torch.from_numpy(np.repeat(np.arange(len(net.own_units(level))), net.own_units(level)))
    return torch.zeros(len(net.own_units(level)), *values.shape[1:], dtype=values.dtype).index_add_(0, node, values)


@pytest.mark.parametrize(("units", "normalisation", "heads"), [({"y": 2}, "batch", "levels"), (3, "none", "outputs")])
@pytest.mark.parametrize("skips", ["edges", "copies"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_every_node_has_the_effect_of_running_the_dense_twin_again(
    activation: str, skips: str, units: object, normalisation: str, heads: str
) -> None:
    topology = toy_topology(skips)
    net = network(topology, activation=activation, normalisation=normalisation, units=units, heads=heads)
    x, point, late, contrast = setting(topology)
    fast, slow = (how(*given_to(net, x, point, late), contrast) for how in (ablation, ablation_by_loop))
    for level in fast.levels:
        assert torch.allclose(fast.levels[level], slow.levels[level], atol=1e-12), level
        if level == "covariates":
            continue
        found = per_node(net, level, fast.levels[level])[:, :, :7]
        for i, node in enumerate(net.own_nodes(level)):
            for r in range(2):
                expected = run_again(net, r, x, point, level, node, late) @ contrast.double()
                assert torch.allclose(found[i, r], expected, atol=1e-12), (level, node)


def test_covariates_and_the_difference_are_those_of_the_network() -> None:
    net = network(toy_topology())
    x, point, late, contrast = setting(net.topology)
    found = ablation(*given_to(net, x, point, late), contrast)
    for j in range(2):
        for r in range(2):
            other = late[0].clone()
            other[:, j] = late[1][j, r]
            expected = (net(x, late[0]) - net(x, other))[:, r] @ contrast.double()
            assert torch.allclose(found.levels["covariates"][j, r, :7], expected, atol=1e-12)
    f0 = torch.stack([net(point, late[1][None, :, r])[0, r] for r in range(2)])
    assert torch.allclose(found.difference[:, :7], ((net(x, late[0]) - f0) @ contrast.double()).T, atol=1e-12)
    assert found.missed() == {}


def random_topology(seed: int) -> Topology:
    rng = np.random.default_rng(seed)
    names = {level: [f"{level} {i}" for i in range(int(rng.integers(2, 6)))] for level in ("inputs", "a", "b", "c")}
    levels, rows = list(names), []
    for i, below in enumerate(levels):
        for above in levels[i + 1 :]:
            share = 0.6 if levels.index(above) == i + 1 else 0.25
            rows += [(below, s, above, t) for s in names[below] for t in names[above] if rng.random() < share]
    for i, level in enumerate(levels):
        for node in names[level]:
            if i and not any(row[2:] == (level, node) for row in rows):
                rows.append((levels[i - 1], names[levels[i - 1]][0], level, node))
    used = {s for _, s, _, _ in rows}
    names["inputs"] = [name for name in names["inputs"] if name in used]
    return Topology.from_edges(names, pd.DataFrame(rows, columns=COLUMNS))


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 3), st.integers(1, 60))
def test_any_wiring_in_chunks_of_any_size_is_the_loop(seed: int, units: int, most: int) -> None:
    topology = random_topology(seed)
    net = network(topology, units=units, n_covariates=0)
    x, point = draws(5, len(topology.inputs), name="x"), draws(1, len(topology.inputs), name="x0")
    machine = Ablation(net)
    values = machine.values(*given_to(net, x, point)[1:])
    chunks = list(machine.wirings[0].chunks(most))
    assert sum(chunk.nodes.stop - chunk.nodes.start for chunk in chunks) == sum(
        map(len, machine.wirings[0].units.values())
    )
    found = machine.explain(values, torch.ones(3))
    expected = ablation_by_loop(*given_to(net, x, point), torch.ones(3))
    for level, effect in expected.levels.items():
        assert torch.allclose(found.levels[level], effect, atol=1e-12)


def test_chunks_hold_no_more_than_asked_and_are_prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(toy_topology(), n_covariates=0, units={"y": 2})
    x, point, _, contrast = setting(net.topology)
    whole = ablation(*given_to(net, x, point), contrast)
    monkeypatch.setattr(module, "VALUES_AT_ONCE", 2 * 16 * 8)
    machine = Ablation(net)
    values = machine.values(*given_to(net, x, point)[1:])
    found = machine.explain(values, contrast)
    most, kept = machine.wirings[0].kept  # type: ignore[misc]
    assert most == 8
    assert len(kept) > 4
    for chunk in kept:
        size = sum(len(step.rows) for step in chunk.steps) + chunk.rows.stop - chunk.rows.start
        assert size <= most or chunk.nodes.stop - chunk.nodes.start == 1
    machine.explain(values, contrast)
    assert machine.wirings[0].kept[1] is kept  # type: ignore[index]
    for level, effect in whole.levels.items():
        assert torch.allclose(found.levels[level], effect, atol=1e-14)


def test_replicates_in_wirings_of_their_own_are_the_networks_of_these_wirings() -> None:
    many = wired(Recipe(activation="tanh")).eval()
    x, point = torch.linspace(-2, 2, 120).reshape(6, 20).sin().double(), torch.zeros(1, 20).double()
    assert [len(one.replicates) for one in Ablation(many).wirings] in ([2, 1], [1, 2])
    found = ablation(*given_to(many, x, point), torch.ones(1))
    for r in range(3):
        alone = alone_of(many, r)
        for level in ("inputs", "low", "high"):
            for i, node in enumerate(alone.own_nodes(level)):
                expected = run_again(alone, 0, x, point, level, node, None)[:, 0]
                assert torch.allclose(found.levels[level][i, r, :6], expected, atol=1e-12)


def test_in_a_linear_network_it_is_weight_times_difference_and_a_dead_input_has_none() -> None:
    net = network(toy_topology(), activation="linear", n_covariates=0, n_targets=1)
    x, point, _, _ = setting(net.topology)
    x = x.clone()
    x[:, 2] = point[0, 2]
    found = ablation(*given_to(net, x, point), torch.ones(1)).levels["inputs"][:, :, :7]
    slope = torch.func.jacrev(lambda one: net(one[None])[0, :, 0])(point[0])
    assert torch.allclose(found.permute(1, 2, 0), slope[:, None, :] * (x - point)[None], atol=1e-12)
    assert found[2].abs().max() < 1e-15


def test_missing_values_a_reference_for_every_sample_and_the_mode() -> None:
    net = network(toy_topology(), n_covariates=0).train()
    net.imputes = True
    x, _, _, contrast = setting(net.topology)
    points = draws(4, 2, 16, name="points")
    holes = x.clone()
    holes[2, 1] = torch.nan
    found = ablation(net, net.entrance(holes), Signal(points, None, 7), None, None, contrast)
    assert net.training
    filled = x[2].clone()
    filled[1] = net.scaling.fill[1, 1]
    for level in found.levels:
        for i, node in enumerate(net.own_nodes(level)):
            expected = (
                run_again(net.eval(), 1, filled[None], points[:, 1, 2][None], level, node, None) @ contrast.double()
            )
            assert torch.allclose(found.levels[level][i, 1, 2], expected[0], atol=1e-12)


def test_each_sample_may_have_nodes_of_its_own_set() -> None:
    net = network(toy_topology(), n_covariates=0)
    x, point, _, _ = setting(net.topology)
    values = Ablation(net).values(*given_to(net, x, point)[1:])
    rng = np.random.default_rng(0)
    where = {name: torch.from_numpy(rng.random((n, 2, 16)) < 0.5) for name, n in (("inputs", 4), ("level 1", 2))}
    found = module.change(net, values, where)
    with torch.no_grad():
        for r in range(2):
            dense = net.replicates([r]).dense().eval()
            there = dense.activities(point)
            for i in range(7):
                held = {"inputs": dense.affine(x[i : i + 1])}
                held["inputs"] = torch.where(where["inputs"][:, r, i], there["inputs"], held["inputs"])
                for name, level in zip(("level 1", "level 2", "level 3"), dense.levels, strict=True):
                    held[name] = level(held, held["inputs"])
                    if name == "level 1":
                        held[name] = torch.where(where[name][:, r, i], there[name], held[name])
                out = torch.stack([head(torch.cat(list(held.values()), dim=1)) for head in dense.heads]).mean(0)
                expected = out * dense.output_scale + dense.output_shift - dense(x[i : i + 1])
                assert torch.allclose(found[:, r, i], expected[0], atol=1e-12)


def test_a_network_with_an_unknown_module_is_refused() -> None:
    net = network(toy_topology(), n_covariates=0)
    net.activations[1] = nn.Softmax(dim=0)
    with pytest.raises(TypeError, match="Softmax"):
        Ablation(net)


# Knock-outs.


@cache
def trained(target: str = "phenotype") -> Fit:
    return fit(
        wiring(), cohort(), target=target, splits=folds(2), seed=0, n_seeds=1,
        training=Training(epochs=3, batch_size=32), recipe=Recipe(),
    )  # fmt: skip


def test_a_knock_out_of_genes_is_the_prediction_of_samples_with_these_genes_at_the_mean() -> None:
    made, samples = trained(), cohort()
    genes = list(gene_sets()["set 3"])[:4]
    found = knock_out(made, samples, genes)
    before = made.predict(samples)
    rows = [made.topology.inputs.index(gene) for gene in genes]
    values, _, networks = made.columns(samples)
    for r, split in enumerate(made.splits):
        train = samples.select(made.topology.inputs, ids=split.train).values
        other = values.clone()
        other[rows] = torch.from_numpy(train[rows].mean(1, keepdims=True)).to(other)
        after = networks(other.T)[:, r, 0].detach().numpy()
        np.testing.assert_allclose(found.logit[:, r], after - before.logits[:, r, 0], atol=2e-5)
        scale = 1 if before.temperatures is None else before.temperatures[r]
        chance = [1 / (1 + np.exp(-z / scale)) for z in (after, before.logits[:, r, 0])]
        np.testing.assert_allclose(found.probability[:, r], chance[0] - chance[1], atol=1e-5)
    assert found.nodes == tuple(("inputs", gene) for gene in genes)
    assert found.contrast == "control minus case"


def test_a_knock_out_of_one_node_is_minus_its_ablation_and_all_inputs_give_the_whole_difference() -> None:
    made, samples = trained(), cohort()
    one = knock_out(made, samples, ["set 3"])
    values, covariates, networks = made.columns(samples)
    reference = module.baseline_of(made, "mean", background=samples)
    machine = Ablation(networks)
    held = next(module.batches_of_values(machine.machine, values, covariates, reference))[0]
    found: Ablated = machine.explain(held, torch.ones(1))
    i = networks.own_nodes("level 1").index("set 3")
    np.testing.assert_allclose(one.logit, -found.levels["level 1"][i, :, : len(samples.ids)].T.numpy(), atol=2e-6)
    every = knock_out(made, samples, list(made.topology.inputs))
    np.testing.assert_allclose(every.logit, -found.difference[:, : len(samples.ids)].T.numpy(), atol=2e-5)


def test_the_table_counts_networks_that_held_a_sample_out_and_the_summary_counts_classes() -> None:
    made, samples = trained(), cohort()
    found = knock_out(made, samples, [("level 1", "set 3"), "group 1"])
    table, summary = found.table(), found.summary()
    r = int(np.flatnonzero(found.held_out[0])[0])
    assert table["n_replicates"].tolist() == found.held_out.sum(1).tolist()
    assert table["logit"].iloc[0] == pytest.approx(found.logit[0][found.held_out[0]].mean())
    assert found.held_out[0, r]
    cases = (samples.targets["phenotype"] == "case").to_numpy()
    assert summary["samples"].tolist() == ["all", "case", "control"]
    assert summary["n_samples"].tolist() == [120, int(cases.sum()), int((~cases).sum())]
    assert summary["logit"].iloc[1] == pytest.approx(table["logit"][cases].mean())
    assert summary["falls"].iloc[0] == pytest.approx((table["logit"] < 0).mean())
    assert found.table(held_out=False)["n_replicates"].eq(2).all()


def test_a_quantity_changes_in_its_units_and_has_no_probability() -> None:
    made = trained("quantity")
    found = knock_out(made, cohort(), ["root"], baseline="normal", n_draws=2)
    assert found.probability is None
    assert found.summary()["samples"].tolist() == ["all"]
    assert "probability" not in found.table().columns
    with pytest.raises(ValueError, match="there are 3 classes"):
        knock_out(trained("thirds"), cohort(), ["root"])
    assert knock_out(trained("thirds"), cohort(), ["root"], label="high").contrast == "high minus the rest"


def test_nodes_that_are_not_there_are_named() -> None:
    with pytest.raises(AlignmentError, match=r"lack 2 of the 3 nodes: 'sett 3', .*level 2.*Near are 'set 3'"):
        knock_out(trained(), cohort(), ["sett 3", ("level 2", "set 3"), "root"])  # type: ignore[list-item]
    for nothing in ([], "set 3"):
        with pytest.raises(ValueError, match="needs a list of at least one id"):
            knock_out(trained(), cohort(), nothing)

"""The visible network against its dense twin, and against what its wiring promises."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.wirings import COLUMNS, toy_topology
from vnn._errors import AlignmentError
from vnn.kernels import backend
from vnn.layers import Draw
from vnn.models import Recipe, VisibleNetwork
from vnn.ontology import Topology

UNITS = [1, 3, {"x": 2, "p": 3}]


def network(
    topology: Topology, *, n: int = 3, n_targets: int = 2, n_covariates: int = 0, seed: int = 3, **recipe: Any
) -> VisibleNetwork:
    """A network whose every parameter and buffer holds something, as after training."""
    names = [f"replicate {i}" for i in range(n)]
    recipe = {"dropout": 0, "input_dropout": 0} | recipe
    made = VisibleNetwork(
        topology, Recipe(**recipe), n_targets=n_targets, replicates=names, seed=seed, n_covariates=n_covariates
    ).double()
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, values in sorted(made.state_dict().items()):
            if "weights" not in name:
                values.copy_(torch.from_numpy(rng.uniform(0.5, 1.5, values.shape)))
    return made


def samples(n: int = 13, n_in: int = 4, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, n_in)))


@pytest.mark.parametrize("skips", ["edges", "copies", "none"])
@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("heads", ["outputs", "levels"])
@pytest.mark.parametrize("normalisation", ["batch", "none"])
def test_equals_the_dense_twin(skips: str, units: int | Mapping[str, int], heads: str, normalisation: str) -> None:
    made = network(toy_topology(skips), n_covariates=2, units=units, heads=heads, normalisation=normalisation).eval()
    made.imputes = True
    x, covariates = samples(), samples(n_in=2, seed=1)
    x[0, 1] = x[3, 3] = torch.nan
    logits, activities = made(x, covariates), made.activities(x)
    assert torch.isfinite(logits).all()
    for r in range(3):
        dense = made.dense(r)
        assert torch.allclose(dense(x, covariates), logits[:, r], rtol=0, atol=1e-10)
        for level, values in dense.activities(x).items():
            if level != "inputs":
                assert torch.allclose(values, activities[level][:, r], rtol=0, atol=1e-10)


@pytest.mark.parametrize("skips", ["edges", "copies"])
def test_training_mode_equals_the_dense_twin_gradients_included(skips: str) -> None:
    made, x = network(toy_topology(skips), units=2), samples().requires_grad_()
    (grad,) = torch.autograd.grad(made(x)[:, 1].square().sum(), x)
    dense = made.dense(1)
    (expected,) = torch.autograd.grad(dense(x).square().sum(), x)
    assert torch.allclose(grad, expected, atol=1e-10)


@pytest.mark.parametrize("units", UNITS)
def test_copies_and_skip_edges_are_one_function_from_one_draw(units: int | Mapping[str, int]) -> None:
    skipping, copying = (network(toy_topology(skips), units=units).eval() for skips in ("edges", "copies"))
    assert torch.equal(skipping(samples()), copying(samples()))
    read = copying.activities(samples())
    copied = list(copying.topology.level("level 2").nodes).index("y")
    first = int(copying.units("level 2")[:copied].sum())
    width = int(copying.units("level 2")[copied])
    original = skipping.activities(samples())["level 1"]
    at = int(skipping.units("level 1")[:1].sum())
    assert torch.equal(read["level 2"][:, :, first : first + width], original[:, :, at : at + width])


@pytest.mark.parametrize("skips", ["edges", "copies", "none"])
def test_an_unconnected_input_never_changes_a_node(skips: str) -> None:
    topology = toy_topology(skips)
    made = network(topology, units=2).eval()
    x = samples()
    before = made.activities(x)
    for i in range(4):
        moved = x.clone()
        moved[:, i] += 10
        for level, values in made.activities(moved).items():
            reached = topology.members[level].toarray()[:, i].astype(bool)
            changed = (values != before[level]).any(0).any(0).numpy()
            assert np.array_equal(changed, np.repeat(reached, made.units(level))), (level, topology.inputs[i])


def random_topology(rng: np.random.Generator, n_in: int = 12) -> Topology:
    levels = {"inputs": [f"g{i:02}" for i in range(n_in)]}
    edges = []
    for depth, n in enumerate((6, 4, 2), 1):
        levels[f"level {depth}"] = [f"t{depth}{i}" for i in range(n)]
        below = list(levels)[:-1]
        for node in levels[f"level {depth}"]:
            for _ in range(int(rng.integers(1, 5))):
                source_level = below[int(rng.integers(len(below)))]
                edges.append((source_level, str(rng.choice(levels[source_level])), f"level {depth}", node))
    edges += [("inputs", gene, "level 3", "t30") for gene in levels["inputs"]]
    return Topology.from_edges(levels, pd.DataFrame(edges, columns=COLUMNS))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3), st.sampled_from(["outputs", "levels"]))
def test_any_wiring_equals_the_dense_twin(seed: int, units: int, heads: str) -> None:
    made = network(random_topology(np.random.default_rng(seed)), n=2, units=units, heads=heads).eval()
    x = samples(n_in=12)
    assert torch.allclose(made.dense(1)(x), made(x)[:, 1], rtol=0, atol=1e-10)


def renamed(topology: Topology, name: Mapping[str, str]) -> Topology:
    edges = topology.to_edges()
    for side in ("source", "target"):
        edges[side] = edges[side].map(name)
    return Topology.from_edges({level.name: [name[n] for n in level.nodes] for level in topology.levels}, edges)


def test_renaming_and_reordering_nodes_changes_nothing_but_order() -> None:
    topology = toy_topology()
    kept = {node: f"z-{node}" for level in topology.levels for node in level.nodes}
    x = samples()
    made = network(topology, units=2).eval()
    assert torch.equal(made(x), network(renamed(topology, kept), units=2).eval()(x))
    turned = {node: f"{chr(219 - ord(node))}-{node}" for level in topology.levels for node in level.nodes}
    other = network(renamed(topology, turned), units=2).eval()
    moved = carried_over(made, other, turned)
    columns = [list(other.topology.inputs).index(turned[node]) for node in topology.inputs]
    back = np.argsort(columns)
    assert torch.allclose(made(x), moved(x[:, back]), rtol=0, atol=1e-10)
    assert not torch.equal(made(x), other(x[:, back]))


def carried_over(made: VisibleNetwork, other: VisibleNetwork, name: Mapping[str, str]) -> VisibleNetwork:
    """`other` with the arrays of `made`, rows and blocks moved to where the new names stand."""
    state, keys = {}, other.arrays()
    at = {level.name: {n: i for i, n in enumerate(level.nodes)} for level in other.topology.levels}
    old_state, old_keys = made.state_dict(), made.arrays()
    for what, key in keys.items():
        values = old_state[old_keys[what]]
        place, kind = what.split("/")
        new = torch.empty_like(values)
        head = place.removeprefix("head ")
        if kind.startswith("weight"):
            source = kind.removeprefix("weight from ")
            stage_old = next(s for s in (made._heads if place != head else made._stages) if s.level == head)
            stage_new = next(s for s in (other._heads if place != head else other._stages) if s.level == head)
            targets = made._heads[0].nodes if place != head else made._names(head)
            size = (1 if place != head else 2) * (1 if source == "inputs" else 2)
            position = {tuple(p): i for i, p in enumerate(stage_new.edges[source].tolist())}
            for i, (s, t) in enumerate(stage_old.edges[source].tolist()):
                new_s = at[source][name[made._names(source)[s]]]
                new_t = t if place != head else at[head][name[targets[t]]]
                j = position[new_s, new_t]
                new[j * size : (j + 1) * size] = values[i * size : (i + 1) * size]
        elif place in at:
            width = 1 if place == "inputs" else 2
            for i, node in enumerate(made.topology.level(place).nodes):
                j = at[place][name[node]]
                new[j * width : (j + 1) * width] = values[i * width : (i + 1) * width]
        else:
            new = values
        state[key] = new
    moved = other.replicates(range(other.n_replicates))
    moved.load_state_dict(state)
    return moved.eval()


def test_replicates_are_independent_copies() -> None:
    made = network(toy_topology()).eval()
    x = samples()
    picked = made.replicates(["replicate 2", 0])
    assert torch.equal(picked(x), made(x)[:, [2, 0]])
    with torch.no_grad():
        next(picked.parameters()).zero_()
    assert not torch.equal(picked(x), made(x)[:, [2, 0]])
    with pytest.raises(ValueError, match="'replicate 9'"):
        made.replicates(["replicate 9"])


def test_initial_weights_belong_to_names() -> None:
    many = VisibleNetwork(toy_topology(), replicates=["a", "b", "c"], seed=1)
    alone = VisibleNetwork(toy_topology(), replicates=["b"], seed=1)
    for key, values in alone.state_dict().items():
        assert torch.equal(values, many.state_dict()[key][..., [1]]), key


def test_a_fresh_network_keeps_the_variance_of_its_inputs() -> None:
    rng = np.random.default_rng(0)
    genes = [f"g{i}" for i in range(400)]
    edges = [("inputs", g, "level 1", f"t{rng.integers(20)}") for g in genes]
    topology = Topology.from_edges(
        {"inputs": genes, "level 1": {e[3] for e in edges}}, pd.DataFrame(edges, columns=COLUMNS)
    )
    made = VisibleNetwork(
        topology, Recipe(activation="linear", normalisation="none"), replicates=list(map(str, range(40)))
    ).eval()
    read = made.activities(torch.from_numpy(rng.standard_normal((200, 400))).float())["level 1"]
    assert abs(float(read.detach().var()) - 1) < 0.15


@pytest.mark.compiler
def test_backends_agree() -> None:
    made, x = network(toy_topology(), units=2), samples()
    found = {}
    for name in ("reference", "cpu"):
        with backend(name):
            y = made(x)
            found[name] = [y, *torch.autograd.grad(y.square().sum(), list(made.parameters()))]
    for one, other in zip(found["cpu"], found["reference"], strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-9)


COMPILED = """
import numpy as np, torch
from tests.wirings import toy_topology
from vnn.models import Recipe, VisibleNetwork

def samples(n):
    return torch.from_numpy(np.random.default_rng(0).standard_normal((n, 4)))

made = VisibleNetwork(toy_topology(), Recipe(units=2), n_targets=2, replicates=["a", "b"]).double().eval()
compiled = torch.compile(made, fullgraph=True, backend="aot_eager")
assert torch.allclose(compiled(samples(16)), made(samples(16)))
program = torch.export.export(made, (samples(16),), dynamic_shapes=({0: torch.export.Dim("batch", min=2, max=64)},))
assert torch.allclose(program.module()(samples(31)), made(samples(31)))
"""


def test_compiles_in_one_graph_and_exports_with_any_batch() -> None:
    """In a process of its own: the shape checks of the tests cannot be traced."""
    root = Path(__file__).parents[2]
    env = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", COMPILED], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_heads_and_shapes() -> None:
    made = network(toy_topology(), heads="levels").eval()
    heads = made.heads(samples())
    assert {name: tuple(v.shape) for name, v in heads.items()} == {f"level {i}": (13, 3, 2) for i in (1, 2, 3)}
    assert torch.equal(made.deployed(heads), made(samples()))
    for after in ("product", "normalisation", "activation"):
        assert made.activities(samples(), after=after)["level 1"].shape == (13, 3, 2)
    assert torch.allclose(
        made.activities(samples(), after="normalisation")["level 1"].tanh(), made.activities(samples())["level 1"]
    )


def test_dropout_is_off_in_evaluation_and_asks_for_its_draw() -> None:
    made = network(toy_topology("none"), dropout=0.5, input_dropout=0.5)
    with pytest.raises(ValueError, match="Draw"):
        made(samples())
    draw = Draw(step=0, samples=torch.arange(13))
    one, again = (made.heads(samples(), draw=draw)["level 3"] for _ in range(2))
    assert torch.equal(one, again)
    assert torch.equal(made.eval()(samples()), made(samples()))


@pytest.mark.parametrize(
    ("x", "covariates", "what"),
    [(samples(n_in=5), None, r"\(13, 5\).*\(batch, 4\)"), (samples(), samples(n_in=1), "covariates.*needs None")],
)
def test_wrong_shapes_are_told(x: Tensor, covariates: Tensor | None, what: str) -> None:
    with pytest.raises(AlignmentError, match=what):
        network(toy_topology())(x, covariates)


def test_missing_covariates_are_told() -> None:
    with pytest.raises(AlignmentError, match=r"None; this network needs \(13, 2\)"):
        network(toy_topology(), n_covariates=2)(samples())


def test_nothing_the_user_owns_is_changed() -> None:
    made, x = network(toy_topology()), samples()
    kept = x.clone()
    made.eval()(x)
    made.activities(x)
    made.dense(0)
    assert torch.equal(x, kept)
    assert not made.training

"""Replicates that are wired each in its own way: the networks of their topologies, side by side."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from vnn.models import Recipe, VisibleNetwork
from vnn.ontology import Topology, Wirings, rewire, rewired_topology

NAMES = ("real a, rewired 0", "real a, rewired 1", "real b, rewired 0")
DRAWS = (0, 1, 0)


def topology() -> Topology:
    rng = np.random.default_rng(0)
    sizes = {"inputs": 20, "low": 8, "high": 4}
    names = {level: [f"{level} {i:02}" for i in range(n)] for level, n in sizes.items()}
    rows = []
    for below, above, n in (("inputs", "low", 45), ("low", "high", 14), ("inputs", "high", 9)):
        taken = {(i % sizes[below], i % sizes[above]) for i in range(max(sizes[below], sizes[above]))}
        while len(taken) < max(n, len(taken)):
            taken.add((int(rng.integers(sizes[below])), int(rng.integers(sizes[above]))))
        rows += [(below, names[below][i], above, names[above][j]) for i, j in sorted(taken)]
    return Topology.from_edges(names, pd.DataFrame(rows, columns=["source_level", "source", "target_level", "target"]))


def drawn() -> Wirings:
    return rewire(topology(), seed=3, draws=(0, 1))


def wired(recipe: Recipe | None = None) -> VisibleNetwork:
    sources = {pair: held[:, list(DRAWS)] for pair, held in drawn().sources().items()}
    return VisibleNetwork(
        topology(), recipe, replicates=NAMES, partners=("real a", "real a", "real b"), wirings=sources
    ).double()


def by_name(network: VisibleNetwork, replicate: int) -> dict[tuple[str, str, str, str], float]:
    """Weight of every edge by the names of its ends."""
    found = {}
    for stage, linear in network.layers:
        for name, graph, weight in linear.parts():
            src = graph.src if graph.src.dim() == 1 else graph.src[:, replicate]
            targets = torch.repeat_interleave(torch.arange(graph.n_targets), graph.ptr.diff().long())
            column = replicate if weight.shape[1] > 1 else 0
            for s, t, w in zip(src.tolist(), targets.tolist(), weight[:, column].tolist(), strict=True):
                found[name, network.own_nodes(name)[s], stage.level, stage.nodes[t]] = w
    return found


@pytest.mark.parametrize("replicate", range(3))
def test_a_replicate_computes_what_the_network_of_its_topology_does(replicate: int) -> None:
    many = wired().eval()
    alone = VisibleNetwork(rewired_topology(drawn(), DRAWS[replicate])).double().eval()
    weights = by_name(many, replicate)
    assert weights.keys() == by_name(alone, 0).keys()
    with torch.no_grad():
        for stage, linear in alone.layers:
            for name, graph, weight in linear.parts():
                targets = torch.repeat_interleave(torch.arange(graph.n_targets), graph.ptr.diff().long()).tolist()
                for e, (s, t) in enumerate(zip(graph.src.tolist(), targets, strict=True)):
                    weight[e, 0] = weights[name, alone.own_nodes(name)[s], stage.level, stage.nodes[t]]
        for mine, theirs in zip(alone.head_layers, many.head_layers, strict=True):
            for a, b in zip(mine.weights, theirs.weights, strict=True):
                a[:, 0] = b[:, replicate]
    x = torch.linspace(-2, 2, 120).reshape(6, 20).sin().double()
    torch.testing.assert_close(many(x)[:, replicate], alone(x)[:, 0])
    torch.testing.assert_close(many.replicates([replicate])(x), alone(x))


def test_a_null_starts_from_the_weights_of_its_partner() -> None:
    real = VisibleNetwork(topology(), replicates=("real a", "real b")).double()
    for (_, null), (_, partner) in zip(wired().layers, real.layers, strict=True):
        for a, b in zip(null.weights, partner.weights, strict=True):
            assert torch.equal(a, b[:, [0, 0, 1]])
    assert torch.equal(wired().input_dropout.base, real.input_dropout.base[[0, 0, 1]])


def test_no_target_loses_its_only_source_in_its_own_wiring() -> None:
    network = wired(Recipe(dropout=0.4, input_dropout=0.4))
    assert network.input_dropout.scale.shape == (20, 3)
    rates = 1 - 1 / network.input_dropout.scale
    for replicate in range(3):
        for _, linear in network.layers:
            fan_in = sum(graph.ptr.diff() for _, graph, _ in linear.parts())
            for name, graph, _ in linear.parts():
                targets = torch.repeat_interleave(torch.arange(graph.n_targets), graph.ptr.diff().long())
                alone = graph.src[:, replicate][fan_in[targets] == 1].long()
                if name == "inputs":
                    assert not rates[alone, replicate].any()
    assert float(rates.max()) == pytest.approx(0.4)


def test_wirings_of_other_levels_and_dense_twins_are_refused() -> None:
    with pytest.raises(ValueError, match="`wirings` has"):
        VisibleNetwork(topology(), wirings={("inputs", "low"): np.zeros((45, 1), dtype=int)})
    with pytest.raises(ValueError, match="rewired_topology"):
        wired().dense(0)
    with pytest.raises(ValueError, match="1 partners for 3"):
        VisibleNetwork(topology(), replicates=NAMES, partners=("a",))

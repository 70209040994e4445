"""Thinned networks: what one mask of dropout leaves, against the plain dense twin and the mean over many."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from tests.planted import cohort, folds, wiring
from vnn.interpret.deeplift import DeepLift
from vnn.interpret.thinned import drops, thinned
from vnn.models import Recipe, VisibleNetwork
from vnn.training import Fit, Training, fit


@cache
def trained(dropout: float = 0.3, activation: str = "tanh", normalisation: str = "batch") -> Fit:
    recipe = Recipe(dropout=dropout, input_dropout=dropout, activation=activation, normalisation=normalisation,  # type: ignore[arg-type]
                    units={"set 1": 2})  # fmt: skip
    return fit(
        wiring(),
        cohort(),
        target="phenotype",
        splits=folds(),
        recipe=recipe,
        training=Training(start="random", epochs=2),
    )


def logits(network: VisibleNetwork) -> np.ndarray:
    with torch.no_grad():
        x = torch.from_numpy(cohort().select(wiring().inputs).values.T[:6].copy())
        return network.eval()(x).numpy()


def test_the_original_is_untouched_and_the_draw_is_named() -> None:
    network = trained().networks
    before = {key: value.clone() for key, value in network.state_dict().items()}
    one, again, other = (thinned(network, 0, repeat) for repeat in (0, 0, 1))
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert np.array_equal(logits(one), logits(again))
    assert not np.allclose(logits(one), logits(other))
    assert not np.allclose(logits(one), logits(thinned(network, 1, 0)))
    assert np.array_equal(logits(thinned(network.replicates([1]), 0, 0))[:, 0], logits(one)[:, 1])


def test_without_dropout_nothing_is_thinned() -> None:
    assert drops(trained().networks)
    assert not drops(trained(0.0).networks)
    assert np.array_equal(logits(thinned(trained(0.0).networks, 0, 0)), logits(trained(0.0).networks))


def test_weights_out_of_a_node_are_all_dropped_or_all_scaled_up() -> None:
    network = trained().networks
    made = thinned(network, 3, 0)
    states: dict[tuple[str, int, int], set[float]] = {}
    for (_, before), (_, after) in zip(network.layers, made.layers, strict=True):
        for (source, graph, old), (_, _, new) in zip(before.parts(), after.parts(), strict=True):
            ratio = (new / old).detach().numpy()
            for row, values in zip(graph.source_row.tolist(), ratio, strict=True):
                for r, value in enumerate(values):
                    states.setdefault((source, row, r), set()).add(round(float(value), 4))
    assert all(len(found) == 1 for found in states.values())
    inputs = [next(iter(found)) for (source, _, _), found in states.items() if source == "inputs"]
    assert set(inputs) <= {0.0, 1.0, round(1 / 0.7, 4), round(1 / 0.9, 4)}
    assert 0.15 < np.mean(np.array(inputs) == 0) < 0.45
    units = [states["level 1", row, 0] for row in (1, 2)]
    assert units[0] == units[1], "both units of a node share its fate"


def test_the_mean_over_many_is_the_whole_network_where_all_is_linear() -> None:
    network = trained(0.3, "linear", "none").networks
    found = np.stack([logits(thinned(network, 0, repeat)) for repeat in range(60)])
    error = found.std(0) / np.sqrt(len(found))
    assert (np.abs(found.mean(0) - logits(network)) < 5 * error + 1e-4).all()
    assert (error > 0).all()


def test_contributions_sum_to_the_difference_and_dropped_nodes_give_none() -> None:
    made = trained()
    network = thinned(made.networks, 5, 0).replicates([0])
    dead = {
        (source, int(row))
        for linear in [*(linear for _, linear in network.layers), *network.head_layers]
        for source, graph, weight in linear.parts()
        for row in graph.source_row[weight[:, 0] == 0]
    }
    machine = DeepLift(network)
    values = torch.from_numpy(cohort().select(wiring().inputs).values[:, :16].copy())
    reference = torch.from_numpy(cohort().select(wiring().inputs).values[:, 20:21].copy())
    comparison = machine.compare(network.signal(values), network.signal(reference.repeat(1, 16)))
    explained = machine.explain(comparison, torch.ones(1))
    assert all(float(gap.abs().max()) < 1e-4 for gap in explained.missed().values())
    assert dead
    for source, row in dead:
        assert float(explained.levels[source][row].abs().max()) == pytest.approx(0, abs=1e-7)

"""Connection weights against a walk over every path and against weight products; GenNet's columns; a million variants."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.planted import cohort, folds, wiring
from vnn._errors import AlignmentError
from vnn.interpret.connections import Connections, edge_table, edge_weights
from vnn.interpret.sweep import Sweep
from vnn.interpret.weights import weight_products, weight_scores
from vnn.models import Recipe
from vnn.ontology import Topology
from vnn.training import Fit, Training, fit


def places(topology: Topology) -> pd.DataFrame:
    inputs = sorted(topology.inputs, reverse=True)
    return pd.DataFrame(
        {"chromosome": [str(1 + i % 3) for i in range(len(inputs))], "position": range(100, 100 + len(inputs))},
        index=inputs,
    )


@pytest.fixture(scope="module", params=[1, 3])
def made(request: pytest.FixtureRequest) -> Fit:
    settings = Training(epochs=2, start="random")
    return fit(
        wiring(),
        cohort(),
        target="phenotype",
        splits=folds(),
        training=settings,
        recipe=Recipe(units=request.param),
        seed=4,
    )


def table(made: Fit, most_paths: int = 10**6, at_once: int = 7) -> pd.DataFrame:
    found = Connections(made, edge_weights(made), places(made.topology), most_paths)
    assert found.whole == (most_paths > 1000)
    return pd.concat(list(found.frames(at_once)), ignore_index=True)


def walked(topology: Topology) -> set[tuple[str, ...]]:
    """The nodes of every path, by name, found edge by edge; every level has a head."""
    above: dict[str, list[str]] = {}
    for row in topology.to_edges().itertuples():
        above.setdefault(row.source, []).append(row.target)
    paths, front = set(), [(name,) for name in topology.inputs]
    while front:
        path = front.pop()
        if len(path) > 1:
            paths.add(path)
        front += [(*path, node) for node in above.get(path[-1], [])]
    return paths


def test_every_path_is_a_row_and_importances_sum_to_weight_products(made: Fit) -> None:
    found = table(made)
    names = [name for name in found if name.startswith("layer")]
    rows = [tuple(row[row.notna()]) for _, row in found[names].iterrows()]
    assert len(rows) == len(set(rows))
    assert set(rows) == walked(made.topology)
    total = found.groupby("layer0_name")["raw_importance"].sum()
    signed = weight_scores(made, signed=True).set_index(["level", "node"])["product"]
    assert np.allclose(total, signed["inputs"].loc[total.index], rtol=1e-4, atol=1e-5)
    assert found["relative_importance"].sum() == pytest.approx(1, abs=1e-4)
    share = found.groupby("layer0_name")["relative_importance"].sum()
    sizes = weight_products(Sweep(made.networks), torch.ones(1))["inputs"].numpy()
    expected = pd.Series((sizes / sizes.sum(0)).mean(1), made.topology.inputs)
    assert np.allclose(share, expected.loc[share.index], rtol=1e-3, atol=1e-6)


def test_edges_out_of_variants_where_paths_are_too_many(made: Fit) -> None:
    found, whole = table(made, most_paths=10), table(made)
    edges = made.topology.to_edges()
    assert len(found) == (edges["source_level"] == "inputs").sum()
    ends = ["layer0_name", "layer1_name"]
    for column in ("raw_importance", "relative_importance"):
        expected = whole.groupby(ends)[column].sum()
        assert np.allclose(found.set_index(ends)[column].loc[expected.index], expected, rtol=1e-3, atol=1e-5)


def test_one_network_has_the_product_of_its_weights_as_gennet_computes_it() -> None:
    made = fit(
        wiring(), cohort(), target="phenotype", splits=folds()[:1], training=Training(epochs=1, start="random"), seed=4,
        recipe=Recipe(normalisation="none", heads="outputs"),
    )  # fmt: skip
    found = table(made)
    assert list(found)[:5] == ["chr", "bp", "node_layer_0", "node_layer_1", "weights_0"]
    assert np.allclose(found.filter(like="weights").prod(axis=1), found["raw_importance"], rtol=1e-5)
    at = places(made.topology).loc[found["layer0_name"]]
    assert (found["bp"] == at["position"].to_numpy()).all()
    assert (found["chr"] == at["chromosome"].to_numpy()).all()
    network = made.networks
    (_, linear) = network.layers[1]
    dense = {name: (graph, weight) for name, graph, weight in linear.parts()}["level 1"]
    pairs = network.layers[1][0].edges["level 1"]
    sign = {level: np.sign(reading.loading[:, 0]) for level, reading in made.readings.items()}
    for (i, j), weight in zip(pairs.tolist(), dense[1].detach()[:, 0].tolist(), strict=True):
        own = found[(found["node_layer_1"] == i) & (found["node_layer_2"] == j)]
        assert own["weights_1"].to_numpy() == pytest.approx(weight * sign["level 1"][i] * sign["level 2"][j], rel=1e-5)
        assert set(own["layer2_name"]) == {made.nodes("level 2")[j]}


def test_edges_above_the_inputs_by_name(made: Fit) -> None:
    found = edge_table(made, edge_weights(made))
    edges = made.topology.to_edges()
    upper = edges[edges["source_level"] != "inputs"]
    assert set(zip(found["source"], found["target"], strict=True)) == set(
        zip(upper["source"], upper["target"], strict=True)
    )
    assert found["weight_sd"].notna().all()


def test_turned_nodes_have_one_sign_in_all_networks() -> None:
    made = fit(
        wiring(),
        cohort(),
        target="phenotype",
        splits=folds(),
        n_seeds=2,
        seed=1,
        training=Training(epochs=8, start="random"),
    )
    own = next(edges for edges in edge_weights(made) if (edges.source, edges.target) == ("inputs", "level 1"))
    held = made.networks.layers[0][1].weights[0].detach().numpy()
    raw = np.abs(np.sign(held).mean(1)).mean()
    assert np.abs(np.sign(own.weight[:, 0, 0]).mean(1)).mean() > raw + 0.05


def test_inputs_without_a_place_are_refused(made: Fit) -> None:
    with pytest.raises(AlignmentError, match=r"lacks 1 of the \d+ inputs: 'g00'"):
        Connections(made, edge_weights(made), places(made.topology).drop("g00"))


@pytest.mark.slow
def test_a_million_variants_are_written_in_seconds(tmp_path: Path) -> None:
    n, genes = 1_000_000, 20_000
    names = [f"rs{i}" for i in range(n)]
    edges = pd.DataFrame({"source_level": "inputs", "source": names, "target_level": "genes",
                          "target": [f"G{i // 50}" for i in range(n)]})  # fmt: skip
    topology = Topology.from_edges({"inputs": names, "genes": [f"G{i}" for i in range(genes)]}, edges)
    samples = cohort()
    values = np.zeros((1, samples.n_samples), dtype=np.float32)
    small = Topology.from_edges({"inputs": ["rs0"], "genes": ["G0"]}, edges.iloc[:1])
    one = type(samples)(values, ("rs0",), samples.ids, samples.targets, samples.covariates, samples.groups)
    learnt = fit(small, one, target="phenotype", splits=folds(), training=Training(epochs=1, start="random"))
    network = type(learnt.networks)(topology, learnt.networks.recipe, replicates=learnt.networks.replicate_names)
    with torch.no_grad():
        network.norms[0].variance.fill_(1.0)
    made = Fit(**{**vars(learnt), "topology": topology, "networks": network, "readings": {}})
    where = pd.DataFrame({"chromosome": "1", "position": np.arange(n)}, index=names)
    began = time.monotonic()
    Connections(made, edge_weights(made), where).write(tmp_path / "connection_weights.csv")
    took = time.monotonic() - began
    print(f"{took:.1f} s, {(tmp_path / 'connection_weights.csv').stat().st_size / 1e6:.0f} MB")
    assert took < 60
    with (tmp_path / "connection_weights.csv").open() as lines:
        assert sum(1 for _ in lines) == n + 1

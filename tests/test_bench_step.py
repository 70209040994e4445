"""The measured step is the one studies take, and its rivals learn the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.study.test_run import command
from tests.test_bench import KEYS
from vnn import bench
from vnn.bench.plain import KINDS, PlainNetwork
from vnn.bench.steps import VARIANTS
from vnn.bench.wirings import PNET_EDGES, PNET_LEVELS, pnet_sized
from vnn.kernels import torch_sparse
from vnn.models import VisibleNetwork

SMALL = {"levels": (30, 8, 5, 3), "n_edges": 80}
PARTS = [
    "columns", "entrance", "product", "normalise", "dropout", "loss", "row_sum", "backward", "normalise_backward",
    "edge_product", "squares", "judge", "adam",
]  # fmt: skip


def test_a_step_is_measured_beside_plain_networks_with_the_same_numbers() -> None:
    records = bench.step(batch=10, rounds=2, profile=True, **SMALL)  # type: ignore[arg-type]
    assert len(records) == 3 * len(VARIANTS)
    for record in records:
        assert record.keys() >= KEYS
        assert json.loads(json.dumps(record)) == record
        assert record["largest_difference"] < 1e-4
        assert record["case"].startswith("step of 30 genes, 3 levels, 80 edges, batch 10, ")
    assert [r["rival"] for r in records[:3]] == [None, "gather + index_add", "dense W * mask"]
    assert all(r["ratio"] > 0 for r in records if r["rival"])
    assert set(records[1]["rival_layouts"]) == {"feature-major", "batch-major"}
    assert list(records[0]["shares"])[:-1] == PARTS
    assert records[0]["fixed_milliseconds"] > 0
    assert any("edge_product" in row for row in bench.profile_lines(records[0]))
    assert bench.profile_lines(records[1]) == []


@pytest.mark.skipif(not torch_sparse.available(), reason=torch_sparse.why_not())
def test_a_network_learns_the_same_through_torch_sparse() -> None:
    records = bench.step(batch=10, rounds=1, dense=False, backend="torch_sparse", **SMALL)  # type: ignore[arg-type]
    assert all(r["backend"].startswith("torch_sparse") for r in records)
    assert all(r["largest_difference"] < 1e-4 for r in records)


def test_the_standard_network_has_the_size_of_pnet() -> None:
    topology = pnet_sized()
    assert [len(level) for level in topology.levels] == list(PNET_LEVELS)
    assert sum(len(mask) for mask in topology.masks) == PNET_EDGES
    assert pnet_sized().fingerprint == topology.fingerprint


def test_more_edges_than_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="from 4 to 8 are possible"):
        pnet_sized((4, 2), 9)


@pytest.mark.parametrize(("kind", "layout"), KINDS)
def test_a_plain_network_has_the_heads_of_the_visible_one(kind: str, layout: str) -> None:
    network = VisibleNetwork(pnet_sized((12, 4, 2), 30)).train()
    network.recipe = network.recipe.model_copy(update={"dropout": 0.0, "input_dropout": 0.0})
    plain = PlainNetwork(network, kind, layout)
    x = torch.linspace(-1, 1, 12 * 16).reshape(16, 12).sin()
    for module in (*network.dropouts, network.input_dropout):
        module.drops = False
    for mine, theirs in zip(network.heads(x).values(), plain(x if layout == "batch-major" else x.T), strict=True):
        torch.testing.assert_close(mine[:, 0, 0], theirs)


def test_a_rival_that_learns_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vnn.bench.plain.EPSILON", 0.1)
    with pytest.raises(RuntimeError, match=r"of gather . index_add, feature-major, and of ours differ by"):
        bench.step(batch=10, rounds=1, dense=False, **SMALL)  # type: ignore[arg-type]


def test_bench_step_from_the_command_line(tmp_path: Path) -> None:
    found = command(
        "bench", "step", "--levels", "30x8x5", "--edges", "60", "--batch", "10", "--rounds", "2", "--profile",
        "--no-dense", "--backend", "reference", "--json", tmp_path / "records.json",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert "Python and calls" in found.stdout
    records = json.loads((tmp_path / "records.json").read_text())
    assert [r["rival"] for r in records] == [None, "gather + index_add"] * len(VARIANTS)
    assert all(r["backend"] == "reference" for r in records)

"""The bench measures what it says, with rivals that give the same numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.study.test_run import command
from tests.wirings import toy_topology
from vnn import bench

KEYS = {"case", "backend", "milliseconds", "rival", "ratio", "floor_share", "peak_bytes", "noise"}


def test_records_of_a_small_topology(tmp_path: Path) -> None:
    toy_topology().save(tmp_path / "toy.npz")
    records = bench.kernels(batches=(8,), rounds=3, topology=tmp_path / "toy.npz")
    assert all(record.keys() >= KEYS for record in records)
    assert records[0]["rival"] is None
    assert {r["rival"] for r in records[1:]} == {
        "dense W * mask", "torch.sparse COO", "torch.sparse CSR", "gather + index_add, feature-major",
        "gather + index_add, batch-major",
    }  # fmt: skip
    for record in records[1:]:
        assert record["ratio"] == pytest.approx(record["rival_milliseconds"] / record["milliseconds"])
    assert "faster than" in bench.line(records[1])


def test_peak_bytes_sees_an_allocation() -> None:
    import torch

    found = bench.peak_bytes(lambda: torch.ones(8_000_000))
    assert found is None or 30e6 < found < 60e6


@pytest.mark.slow
@pytest.mark.compiler
@pytest.mark.data
def test_largest_reactome_layer_is_twenty_times_faster_than_dense(tmp_path: Path, real: object) -> None:
    real("reactome/ReactomePathways.gmt")  # type: ignore[operator]
    folder = real("reactome/ReactomePathways.gmt").parent  # type: ignore[operator]
    assert command("ontology", "build", "reactome", tmp_path / "reactome.npz", "--folder", folder).returncode == 0
    found = command(
        "bench", "kernels", "--topology", tmp_path / "reactome.npz", "--batch", "256", "--json", tmp_path / "b.json"
    )
    assert found.returncode == 0, found.stderr
    print(found.stdout)
    ratio = {r["rival"]: r["ratio"] for r in json.loads((tmp_path / "b.json").read_text())}
    assert ratio["dense W * mask"] >= 20


def test_attributions_are_measured_beside_captum_with_the_same_numbers(tmp_path: Path) -> None:
    toy_topology().save(tmp_path / "toy.npz")
    found = command(
        "bench", "attributions", "--samples", "20", "--rounds", "1", "--topology", tmp_path / "toy.npz",
        "--json", tmp_path / "records.json",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    records = json.loads((tmp_path / "records.json").read_text())
    assert [record["rival"] for record in records] == [None, "Captum on our layers", "Captum on the dense twin"]
    assert all(record["case"].startswith("attributions of 4 levels, 4 inputs, 20 samples") for record in records)
    assert all(record["largest_difference"] < 1e-5 for record in records[1:])
    assert all(record["ratio"] > 0 for record in records[1:])


@pytest.mark.slow
@pytest.mark.compiler
@pytest.mark.data
def test_reactome_is_attributed_eight_times_faster_than_by_captum(tmp_path: Path, real: object) -> None:
    from vnn.ontology import load_ontology

    folder = real("reactome/ReactomePathways.gmt").parent  # type: ignore[operator]
    ontology = load_ontology("reactome", folder=folder)
    ontology.topology(ontology.genes).save(tmp_path / "reactome.npz")
    records = bench.attributions(rounds=2, topology=tmp_path / "reactome.npz", dense=False)
    print(*(bench.line(record) for record in records), sep="\n")
    assert records[1]["ratio"] >= 8

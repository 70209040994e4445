"""The bench measures what it says, with rivals that give the same numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.study.test_run import command
from tests.wirings import toy_topology
from vnn import bench
from vnn.bench import side_by_side
from vnn.bench.steps import BATCHES_KEPT
from vnn.bench.wirings import pnet_sized
from vnn.kernels import torch_sparse
from vnn.models import VisibleNetwork

LAYOUTS = {"feature-major", "batch-major"}
RIVALS = [
    "gather + index_add", "torch.sparse COO", "torch.sparse CSR",
    *(["torch-sparse"] if torch_sparse.available() else []), "dense W * mask",
]  # fmt: skip
KEYS = {"case", "backend", "milliseconds", "rival", "ratio", "floor_share", "peak_bytes", "noise"}


def test_records_of_a_small_topology(tmp_path: Path) -> None:
    toy_topology().save(tmp_path / "toy.npz")
    records = bench.kernels(batches=(8,), rounds=3, topology=tmp_path / "toy.npz", read_bytes=2**16)
    assert all(record.keys() >= KEYS for record in records)
    assert records[0]["rival"] is None
    assert [r["rival"] for r in records[1:]] == RIVALS
    for record in records[1:]:
        assert record["ratio"] == pytest.approx(record["rival_milliseconds"] / record["milliseconds"])
        assert record["rival_milliseconds"] == min(record["rival_layouts"].values())
    assert {r["rival"]: set(r["rival_layouts"]) for r in records[1:]}["gather + index_add"] == LAYOUTS
    assert "faster than" in bench.line(records[1])
    assert "of the memory floor" in bench.line(records[0])


@pytest.mark.parametrize("case", bench.CASES)
@pytest.mark.parametrize("backend", ["reference", pytest.param("cpu", marks=pytest.mark.compiler)])
def test_every_case_has_records_with_the_keys_and_positive_ratios(case: str, backend: str) -> None:
    records = bench.kernels(
        case=case, batches=(70,), replicates=1 if case == "genotypes" else 3, rounds=2, size=(90, 20, 100),
        backend=backend, read_bytes=2**16,
    )  # fmt: skip
    for record in records:
        assert record.keys() >= KEYS
        assert json.loads(json.dumps(record)) == record
        assert record["backend"].startswith(backend)
        assert record["milliseconds"] > 0
        assert record["noise"] >= 1
        assert record["noisy"] == (max(record["noise"], record.get("rival_noise", 1)) > 1.3)
        assert (record["ratio"] is None) == (record["rival"] is None)
        assert record["ratio"] is None or record["ratio"] > 0
        assert record["floor_share"] == pytest.approx(
            sum(record["floor_bytes"].values()) / record["bandwidth_gb_s"] / 1e6 / record["milliseconds"]
        )
        assert record["allowed_bytes"] > record["output_bytes"] >= 0
    if case == "genotypes":
        assert [r["case"].rsplit(", ", 1)[-1] for r in records if r["rival"] is None] == [
            "float32 forward", "packed forward", "packed weight gradient", "packed codebook gradient",
            "gather of random people", "panels in place", "exact-random gather",
        ]  # fmt: skip
        assert all(r["in_T"] == pytest.approx(r["milliseconds"] / r["T_milliseconds"]) for r in records)
    if case == "replicates":
        assert records[1]["rival"] == "3 separate calls"
        assert records[1]["share"] == pytest.approx(1 / records[1]["ratio"])


@pytest.mark.compiler
def test_replicates_at_once_are_measured_beside_as_many_steps_with_the_same_bits() -> None:
    records = bench.replicates(batch=16, rounds=2, replicates=(1, 3), levels=(200, 30, 8), n_edges=400)
    ours = [r for r in records if r["rival"] is None]
    assert [r["replicates"] for r in ours] == [1, 3] * 4
    assert sum("one per gene" in r["case"] for r in ours) == 4
    for own in ours:
        separate, dense = (r for r in records if r["case"] == own["case"] and r["rival"] is not None)
        assert separate["ratio"] == pytest.approx(1 / separate["together_over_separate"])
        assert separate["bits_equal_after_steps"] == 2
        assert dense["rival"].startswith(f"{own['replicates']} steps of")
        assert 0 < own["memory_bytes"]["weights"] == own["memory_bytes"]["best"]
    assert json.loads(json.dumps(records)) == records


@pytest.mark.compiler
def test_a_replicate_that_differs_among_others_is_found() -> None:
    topology = pnet_sized((60, 12, 4), 120)
    problem = side_by_side._problem(60, 16 * BATCHES_KEPT, 2)
    network = VisibleNetwork(topology, replicates=["0", "1"])
    together = side_by_side._trainer(network, problem, 16)
    together._step(np.arange(16))
    alone = [side_by_side._trainer(network.replicates([1 - r]), problem.keep([1 - r]), 16) for r in range(2)]
    with pytest.raises(RuntimeError, match="has other bits among 2 than alone"):
        side_by_side.check_bits(together, alone, 16)


def test_no_replicates_are_refused() -> None:
    with pytest.raises(ValueError, match="whole numbers from 1 on"):
        bench.replicates(replicates=(0, 2))


@pytest.mark.slow
def test_a_whole_study_is_measured_beside_processes_of_one() -> None:
    own, beside = bench.whole_study((60, 12, 4), 120, replicates=6, people=60, epochs=1, processes=2)
    assert own["rival"] is None
    assert beside["rival"] == "6 processes"
    assert beside["ratio"] == pytest.approx(1 / beside["together_over_separate"])


def test_a_rival_that_computes_something_else_is_refused() -> None:
    import torch

    from vnn.bench.rounds import same

    with pytest.raises(RuntimeError, match=r"somebody and ours differ by 0\.5"):
        same("somebody", (torch.ones(4),), (torch.full((4,), 1.5),), 1e-4)
    with pytest.raises(RuntimeError, match="differ by nan"):
        same("somebody", (torch.ones(4),), (torch.full((4,), float("nan")),), 1e-4)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"case": "standart"}, "Did you mean 'standard'"),
        ({"size": (3, 2, 7)}, "7 edges between 3 sources and 2 targets"),
        ({"case": "genotypes", "size": (10, 5, 9)}, "10 variants, each in one or two of 5"),
        ({"case": "genotypes", "replicates": 2}, "the case 'replicates' has several"),
        ({"rounds": 0}, "all must be 1 at least"),
        ({"topology": Path("x.npz"), "size": (3, 2, 4)}, "leave out the other"),
        ({"backend": "gpu", "size": (3, 2, 4)}, "the kernel backend is 'gpu'"),
    ],
)
def test_impossible_cases_are_refused(given: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        bench.kernels(**given)  # type: ignore[arg-type]


def test_the_floor_is_read_from_more_memory_than_caches_hold() -> None:
    from vnn.bench.rounds import plain_read
    from vnn.kernels.machine import last_level_cache

    _, n_bytes = plain_read()
    assert n_bytes >= 4 * last_level_cache() > 0


def test_bench_kernels_from_the_command_line(tmp_path: Path) -> None:
    found = command(
        "bench", "kernels", "--size", "1,000x50x3_000", "--batch", "8", "--rounds", "2", "--backend", "reference",
        "--no-dense", "--json", tmp_path / "records.json",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert "1,000 -> 50, 3,000 edges, batch 8, forward + backward" in found.stdout
    records = json.loads((tmp_path / "records.json").read_text())
    assert [r["rival"] for r in records] == [None, *RIVALS[:-1]]
    assert all(r["backend"] == "reference" for r in records)
    wrong = command("bench", "kernels", "--size", "1000x50")
    assert wrong.returncode == 1
    assert "such as 20000x2600x120000" in wrong.stderr


def test_kernels_as_json_names_instruction_set_threads_and_openmp() -> None:
    found = json.loads(command("kernels", "--json").stdout)
    assert {record["backend"] for record in found["backends"]} >= {"reference", "cpu", "torch_sparse"}
    assert found["threads"] >= 1
    assert found["instruction_set"] in (None, "avx512", "avx2", "portable")
    assert isinstance(found["openmp"], list)
    said = command("kernels").stdout
    assert "OpenMP runtimes" in said
    assert "instruction set" in said


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
    built = command("ontology", "build", "reactome", "--out", tmp_path / "wiring", "--folder", folder)
    assert built.returncode == 0, built.stderr
    found = command(
        "bench",
        "kernels",
        "--topology",
        tmp_path / "wiring" / "topology.npz",
        "--batch",
        "256",
        "--json",
        tmp_path / "b.json",
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

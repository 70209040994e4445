"""The benchmark of genotype studies: its parts run, count what they say and compare growth."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vnn.bench.cohorts import memory_watched, random_study
from vnn.cli.main import app


@pytest.mark.slow
def test_the_command_measures_store_statistics_epochs_and_growth(tmp_path: Path) -> None:
    asked = ["bench", "genotypes", "--variants", "2000", "--people", "256", "--rounds", "1", "--no-wide"]
    asked += ["--folder", str(tmp_path), "--json", str(tmp_path / "g.json")]
    found = CliRunner().invoke(app, asked)
    assert found.exit_code == 0, found.output
    records = json.loads((tmp_path / "g.json").read_text())
    cases = [record["case"] for record in records]
    assert cases[0] == "packed store of 2,000 variants, 256 people"
    assert records[0]["rival"] == "copying the .bed"
    assert records[1]["rival"] == ("plink2 --freq --missing --hardy" if shutil.which("plink2") else None)
    epochs = {record["case"]: record for record in records[2:]}
    assert {
        f"epoch of {v:,} variants, {p} people, 1 networks"
        for v, p in ((500, 256), (1000, 256), (2000, 64), (2000, 128))
    } == {case for case, record in epochs.items() if "growth" in record}
    assert all(record["in_T"] > 0 and record["peak_bytes"] > 0 for record in epochs.values())
    assert epochs["epoch of 2,000 variants, 256 people, 20 networks"]["times_one"] > 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["g.json"]


def test_memory_of_arrays_is_seen(tmp_path: Path) -> None:
    _, problem = random_study(1000, 100, 2, tmp_path / "panels")
    assert problem.inputs.shape == (1000, 128)
    assert problem.train_weight.sum() == 200
    with memory_watched() as seen:
        held = bytearray(b"x") * (64 << 20)
    assert len(held) == 64 << 20
    if len(seen["RssAnon"]) > 1:
        assert max(seen["RssAnon"]) >= 64 << 20

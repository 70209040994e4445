"""Null networks of a study: which chunks are left, and the same files from one process and from several."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.study.test_run import AWAKE, STUDY, command, content, write_study
from vnn._errors import StudyError
from vnn.study import Study, read_material, run_study
from vnn.study.nulls import Chunk, finished, missing_chunks, train_nulls
from vnn.study.settings import NullSection

NULLS = "\n[nulls]\nlabels = 3\nrewired = 1\nhalf_samples = 2\nat_once = 3\n"


def asked(folder: Path, text: str = NULLS) -> Study:
    return Study.read(write_study(folder, STUDY + text))


@given(
    n=st.integers(0, 12), done=st.sets(st.integers(0, 12)), begun=st.tuples(st.integers(0, 12), st.integers(0, 4)),
    workers=st.integers(1, 5), at_once=st.integers(1, 40), n_seeds=st.integers(1, 3),
    kind=st.sampled_from(["labels", "half_samples"]),
)  # fmt: skip
def test_chunks_hold_every_draw_that_is_missing_once(
    n: int, done: set[int], begun: tuple[int, int], workers: int, at_once: int, n_seeds: int, kind: str
) -> None:
    nulls = NullSection(**{kind: n}, at_once=at_once, workers=workers)
    study: Any = SimpleNamespace(nulls=nulls, n_seeds=n_seeds, genotypes=None)
    material: Any = SimpleNamespace(splits=("one", "two"))
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        for draw in done:
            (folder / "nulls" / Chunk(kind, (draw,)).name).mkdir(parents=True)
            (folder / "nulls" / Chunk(kind, (draw,)).name / "fit.json").touch()
        (folder / "nulls").mkdir(exist_ok=True)
        interrupted = Chunk(kind, tuple(range(begun[0], begun[0] + begun[1] + 1)))
        (folder / "nulls" / f".{interrupted.name}.checkpoint").touch()
        chunks = missing_chunks(study, material, folder)
        assert {draw for chunk in finished(folder) for draw in chunk.draws} == done
    missing = sorted(set(range(n)) - done)
    assert sorted(draw for chunk in chunks for draw in chunk.draws) == missing
    fresh = [chunk for chunk in chunks if chunk != interrupted]
    assert (interrupted in chunks) == (set(interrupted.draws) <= set(missing))
    assert all(len(chunk.draws) == 1 or len(chunk.draws) * 2 * n_seeds <= at_once for chunk in fresh)
    assert all(chunk.draws == tuple(range(chunk.draws[0], chunk.draws[-1] + 1)) for chunk in chunks)
    if kind == "labels" and len(chunks) == len(fresh) and at_once >= 40 and missing:
        assert len(chunks) >= min(workers, len(missing))


def test_two_processes_write_the_files_of_one(tmp_path: Path) -> None:
    written = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        (folder / "results").mkdir(parents=True)
        study = asked(folder, NULLS + f"workers = {workers}\n")
        told: list[str] = []
        train_nulls(study, read_material(study), folder / "results", None, told.append)
        found = content(folder / "results")
        for name in [name for name in found if name.endswith(".json")]:
            manifest = json.loads(found.pop(name))
            manifest["about"].pop("threads")
            found[name] = json.dumps(manifest).encode()
        written.append(found)
    assert written[0] == written[1]
    assert told[0] == "training null networks in 2 processes: 0 of 6 chunks done"
    assert told[-1].startswith("training null networks in 2 processes: 6 of 6 chunks done, last ")


def test_what_the_study_file_may_not_ask_of_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StudyError, match=r"nulls\.workers is 0"):
        asked(tmp_path, NULLS + "workers = 0\n")
    with pytest.raises(
        StudyError, match=r"nulls\.backend is 'daks'; known are 'loky', 'dask', 'ray'\. Did you mean 'dask'"
    ):
        asked(tmp_path, NULLS + 'backend = "daks"\n')
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match="'ray', which is not installed"):
        run_study(asked(tmp_path, NULLS + 'workers = 2\nbackend = "ray"\n'))
    assert not (tmp_path / "results").exists()
    one, other = (asked(tmp_path, NULLS + f"workers = {n}\n").identity for n in (1, 2))
    assert one == other


@pytest.mark.slow
def test_ctrl_c_leaves_chunks_that_go_on(tmp_path: Path) -> None:
    long = STUDY.replace("epochs = 8", "epochs = 12000\npatience = 12000").replace("k = 3", 'kind = "hold-out"')
    study = write_study(tmp_path, long + "\n[nulls]\nlabels = 2\n")
    first = tmp_path / "results" / "nulls"
    code = f"{AWAKE}; from vnn.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, "run", str(study), "--workers", "2"],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline and process.poll() is None and not any(first.glob(".*.checkpoint")):
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert "goes on from the last checkpoint" in told
    left = {p.name for p in first.iterdir()}
    assert left & {".labels-0000-0000.checkpoint", ".labels-0001-0001.checkpoint"}
    again = command("run", study, "--workers", "1")
    assert again.returncode == 0, again.stderr
    assert [chunk.name for chunk in finished(tmp_path / "results")] == ["labels-0000-0000", "labels-0001-0001"]


@pytest.mark.slow
def test_torchrun_trains_the_networks_of_one_process(tmp_path: Path) -> None:
    text = STUDY.replace("epochs = 8", 'epochs = 4\ndtype = "float64"') + "\n[nulls]\nlabels = 1\nhalf_samples = 1\n"
    for name in ("together", "alone"):
        (tmp_path / name).mkdir()
        write_study(tmp_path / name, text)
    env = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    started = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "vnn",
        "run",
    ]
    found = subprocess.run(
        [*started, str(tmp_path / "together" / "study.toml"), "--json"],
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["metric"] == "AUC"
    assert command("run", tmp_path / "alone" / "study.toml").returncode == 0
    for part in ("fit", "nulls/labels-0000-0000", "nulls/half_samples-0000-0000"):
        mine, theirs = (
            json.loads((tmp_path / name / "results" / part / "fit.json").read_text()) for name in ("together", "alone")
        )
        assert mine["history"]["validation"] == pytest.approx(theirs["history"]["validation"], abs=1e-9)
        assert mine["replicates"] == theirs["replicates"]
        assert mine["about"]["processes"] == 2
    both = subprocess.run(
        [*started, str(tmp_path / "alone" / "study.toml"), "--workers", "2"],
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert both.returncode != 0
    assert "nulls.workers asks for 2 more" in both.stderr

"""Two processes that share every batch train what one trains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.planted import wiring
from tests.training.together_cases import CASES, people, trained
from vnn.training import Fit

ROOT = Path(__file__).parents[2]
CLOSE = {"rtol": 1e-9, "atol": 1e-9}
WORLD = 2


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what each of two processes found."""
    folder = tmp_path_factory.mktemp("together")
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-m", "tests.training.together_cases"]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(WORLD), str(folder)], env=env, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
        for rank in range(WORLD)
    ]
    try:
        told = [process.communicate(timeout=240)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], told
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_processes_equal_one(together: Path, case: str) -> None:
    alone, made = trained(case), Fit.load(together / "0" / case, wiring())
    pd.testing.assert_frame_equal(made.replicates, alone.replicates)
    pd.testing.assert_frame_equal(made.history, alone.history, **CLOSE)
    for name, values in alone.networks.state_dict().items():
        torch.testing.assert_close(made.networks.state_dict()[name], values, **CLOSE)
    np.testing.assert_allclose(made.predict(people(case)).logits, alone.predict(people(case)).logits, **CLOSE)


@pytest.mark.parametrize("case", CASES)
def test_all_processes_have_the_same_fit(together: Path, case: str) -> None:
    one, other = (sorted(p.name for p in (together / str(rank) / case).iterdir()) for rank in range(WORLD))
    assert one == other  # the files are named by their content


def test_cases_stop_early_and_use_running_statistics() -> None:
    alone = trained("binary")
    assert "stopped" in set(alone.replicates["state"])
    assert any("variance" in name for name in alone.networks.state_dict())


def test_processes_that_were_given_different_things_are_told(together: Path) -> None:
    for rank in range(WORLD):
        (told,) = json.loads((together / str(rank) / "refusals.json").read_text()).values()
        assert "processes 1 of 2 were given other data" in told


def test_only_the_first_process_writes_the_checkpoint_and_all_go_on_from_it(together: Path) -> None:
    assert (together / "checkpoint of 0").exists()
    assert not (together / "checkpoint of 1").exists()
    resumed, whole = (Fit.load(together / "1" / name, wiring()) for name in ("resumed", "binary"))
    for name, values in whole.networks.state_dict().items():
        assert torch.equal(resumed.networks.state_dict()[name], values), name
    pd.testing.assert_frame_equal(resumed.history, whole.history)


def test_without_a_process_group_it_says_how_to_start_one() -> None:
    with pytest.raises(RuntimeError, match="Start the processes with torchrun"):
        trained("binary", together=True)
    with pytest.raises(ValueError, match="ask for one of them"):
        trained("binary", together=True, workers=2)

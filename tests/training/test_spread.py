"""Replicates in several processes: the same bits, large inputs shared, and what an error or a killed process leaves."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.spread_tasks import described, kept
from tests.training.test_fitting import DROPPING, SHORT, assert_same_bits, survivors, trained
from vnn._errors import FitError
from vnn.kernels import backend
from vnn.training import Progress, loop
from vnn.training.loop import Record
from vnn.training.spread import _joined, _tensor, check_workers, forget, spread, threads_each


def test_tasks_run_in_other_processes_that_share_large_arrays() -> None:
    values = np.arange(2e5)
    with backend("reference"):
        found = dict(spread(described, {f"times {i}": i for i in range(5)}, shared=(values,), workers=2))
    assert {name: one["sum"] for name, one in found.items()} == {f"times {i}": i * values.sum() for i in range(5)}
    assert os.getpid() not in {one["process"] for one in found.values()}
    assert all(one["mapped"] for one in found.values())
    assert {one["threads"] for one in found.values()} == {threads_each(2)}
    assert {one["kernels"] for one in found.values()} == {"reference"}


def test_replicates_in_two_processes_have_the_bits_of_one(tmp_path: Path) -> None:
    told: list[Progress] = []
    for arguments in (
        {"n_seeds": 2, "recipe": DROPPING},
        {"samples": survivors(), "target": "days", "event": "died", "training": SHORT.model_copy(update={"epochs": 3})},
        {"kind": "labels", "draws": (0, 1), "target": "quantity"},
    ):
        made = trained(workers=2, listener=told.append, checkpoint=tmp_path / f"fit {len(told)}", **arguments)
        alone = trained(**arguments)
        assert_same_bits(made, alone)
        for level, reading in alone.readings.items():
            assert np.array_equal(reading.loading, made.readings[level].loading)
        assert made.study == alone.study
    assert [state.living for state in told[:2]] == [3, 0]
    assert told[1].replicates == 6
    assert told[1].epoch == trained(n_seeds=2, recipe=DROPPING).history["epoch"].max()
    assert np.isfinite(told[1].validation_loss)


@pytest.mark.parametrize(("last", "error", "what"), [
    ("refuse", ValueError, "the values are odd"),
    ("die", RuntimeError, r"one of 2 processes was killed while these were not done: .*last.*fewer workers"),
])  # fmt: skip
def test_a_failure_says_where_and_leaves_what_was_done(
    tmp_path: Path, last: str, error: type[Exception], what: str
) -> None:
    with pytest.raises(error, match=what) as caught:
        list(spread(kept, {"one": "one", "two": "two", "the last": last}, shared=(tmp_path,), workers=2))
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two"}
    if last == "refuse":
        assert caught.value.__notes__ == ["It happened in the last, in a process of its own."]


def test_what_cannot_be_spread_is_refused_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(
        ImportError, match=r"'dask', which is not installed\. Install it \(pip install \"dask\[distributed\]\""
    ):
        trained(workers=2, backend="dask", target="no such column")
    with pytest.raises(ValueError, match=r"'lokey'; known are 'loky', 'dask', 'ray'\. Did you mean 'loky'"):
        check_workers(2, "lokey")
    with pytest.raises(ValueError, match="at least one process"):
        trained(workers=0)


def test_an_interrupted_process_goes_on_from_its_own_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 1e-9)
    alone = trained()

    def stop(progress: Progress) -> None:
        if progress.epoch == 3:
            raise InterruptedError

    for seed in (8, 7):
        with pytest.raises(InterruptedError):
            trained(only=alone.replicates["id"][:2], checkpoint=tmp_path / "fit-0000-0001", listener=stop, seed=seed)
        if seed == 8:
            with pytest.raises(FitError, match="fit-0000-0001 belongs to another study") as caught:
                trained(workers=2, checkpoint=tmp_path / "fit")
            assert caught.value.__notes__ == ["It happened in networks 1 to 2, in a process of its own."]
            (tmp_path / "fit-0000-0001").unlink()
    assert_same_bits(trained(workers=2, checkpoint=tmp_path / "fit"), alone)


@pytest.mark.parametrize("at_once", [1, 2, 4, 6])
def test_chunks_that_follow_each_other_have_the_bits_of_one(at_once: int) -> None:
    told: list[Progress] = []
    arguments = {"n_seeds": 2, "recipe": DROPPING}
    alone = trained(**arguments)
    made = trained(at_once=at_once, listener=told.append, **arguments)
    assert_same_bits(made, alone)
    assert made.study == alone.study
    assert {state.replicates for state in told} == {6}
    assert told[-1].living <= at_once
    assert np.all(np.diff([state.living for state in told]) <= 0)


def test_chunks_that_are_done_are_not_trained_again(tmp_path: Path) -> None:
    told: list[Progress] = []

    def stop(progress: Progress) -> None:
        told.append(progress)
        if progress.living < 4:
            raise InterruptedError

    arguments = {"n_seeds": 2, "at_once": 2, "checkpoint": tmp_path / "fit"}
    with pytest.raises(InterruptedError):
        trained(listener=stop, **arguments)
    first = [state.epoch for state in told if state.living >= 4]
    again: list[Progress] = []
    assert_same_bits(trained(listener=again.append, **arguments), trained(n_seeds=2))
    assert first
    assert all(state.living < 4 for state in again)
    (tmp_path / "fit-other").touch()
    forget(tmp_path / "fit")
    assert [path.name for path in tmp_path.iterdir()] == ["fit-other"]


def test_arrays_that_may_only_be_read_become_tensors_without_a_warning() -> None:
    values = np.arange(3.0)
    values.setflags(write=False)
    assert _tensor(values).data_ptr() == values.ctypes.data


def test_chunks_of_no_replicate_are_refused() -> None:
    with pytest.raises(ValueError, match="`at_once` is 0; at least one network is needed"):
        trained(at_once=0)


@st.composite
def records(draw: st.DrawFn) -> tuple[list[Record], int]:
    """Parts of one history, whose replicates have stopped by the end of their part."""
    parts = []
    for sizes in draw(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4)), min_size=1, max_size=4)):
        n, epochs = sizes
        names = tuple(f"{len(parts)}.{i}" for i in range(n))
        rows = [{"train": [float(e)] * n, "validation": [e / 2] * n} for e in range(epochs)]
        parts.append(Record(names, ["stopped"] * n, [epochs] * n, [0.5] * n, [1] * n, rows))
    return parts, max(len(part.history) for part in parts)


@given(records())
def test_joined_records_hold_every_replicate_of_every_part_once(given: tuple[list[Record], int]) -> None:
    parts, epochs = given
    names = [name for part in parts for name in part.names]
    made = _joined(names, parts)
    assert list(made.names) == names
    assert len(made.history) == epochs
    for key in ("train", "validation"):
        table = np.array([row[key] for row in made.history])
        at = 0
        for part in parts:
            mine = table[:, at : (at := at + len(part.names))]
            assert np.array_equal(mine[: len(part.history)], np.array([row[key] for row in part.history]))
            assert np.isnan(mine[len(part.history) :]).all()
    for key in ("state", "best_epoch", "best_loss", "waited"):
        assert getattr(made, key) == [value for part in parts for value in getattr(part, key)]

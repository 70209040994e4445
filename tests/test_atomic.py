"""Files are written whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from vnn._atomic import replacing, write_csv, write_text

FULL = Path("/dev/full")
SLOW = """
import sys, time
from vnn._atomic import replacing
with replacing(sys.argv[1]) as part:
    part.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_an_error_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    write_text(target, "old")

    def write() -> None:
        with replacing(target) as part:
            part.write_text("half of the new")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_kill_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    write_text(target, "old")
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(target)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"writing\n"
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert target.read_text() == "old"


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    write_text(tmp_path / "mine", "x")
    (tmp_path / "usual").write_text("x")
    assert (tmp_path / "mine").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error_not_a_short_file(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    write_text(target, "old")

    def write() -> None:
        with replacing(target) as part:
            part.unlink()
            part.symlink_to(FULL)
            part.write_text("new" * 10_000)

    with pytest.raises(OSError, match="No space left"):
        write()
    assert target.read_text() == "old"


def test_formulas_reach_a_table_as_text(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"name": ["=cmd()", "TP53", "-2.5", "@SUM(A1)", None], "=x": [1.0, -2.0, 3.0, 4.0, 5.0]},
        index=["+a", "b", "-3", "d", "\te"],
    )
    write_csv(tmp_path / "t.csv", table)
    found = pd.read_csv(tmp_path / "t.csv", index_col=0, dtype=str)
    assert found["name"].tolist()[:4] == ["'=cmd()", "TP53", "-2.5", "'@SUM(A1)"]
    assert list(found.index) == ["'+a", "b", "-3", "d", "'\te"]
    assert list(found.columns) == ["name", "'=x"]
    assert found["'=x"].astype(float).tolist() == [1.0, -2.0, 3.0, 4.0, 5.0]

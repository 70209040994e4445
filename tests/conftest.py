"""Fixtures every station's tests share: the real inputs, toy wirings, poisoned memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


def data_file(name: str) -> Path:
    """A real input by its path inside the data folder; skipped where absent, failed where promised."""
    promised = os.environ.get("VNN_DATA")
    folder = Path(promised) if promised else Path(__file__).parents[2] / "shared" / "data"
    path = folder / name
    if not path.exists():
        reason = f"needs the real input {name}; set VNN_DATA to the folder that holds it"
        if promised:
            pytest.fail(f"{path} does not exist although VNN_DATA promises it.")
        pytest.skip(reason)
    return path


@pytest.fixture(scope="session")
def real() -> Callable[[str], Path]:
    """Path of a real input: `real("reactome/ReactomePathways.gmt")`."""
    return data_file

"""The CPU library under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.compiler
@pytest.mark.skipif(not (shutil.which("g++") and shutil.which("cmake")), reason="needs g++ and cmake")
def test_no_access_outside_memory_and_no_undefined_behaviour(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "tests.kernels.sanitize", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True, timeout=1800,
    )  # fmt: skip
    assert (found.returncode, "clean" in found.stdout) == (0, True), found.stdout[-3000:] + found.stderr[-8000:]

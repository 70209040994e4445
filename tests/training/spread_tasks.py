"""What the processes of `test_spread` are given to do."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vnn.kernels.backend import wanted


def described(values: np.ndarray, factor: float) -> dict[str, Any]:
    """A sum, and where it was taken."""
    return {
        "sum": float(values.sum() * factor),
        "mapped": isinstance(values, np.memmap),
        "process": os.getpid(),
        "threads": torch.get_num_threads(),
        "kernels": wanted(),
    }


def kept(folder: Path, task: str) -> None:
    """Leave a file, but for "refuse", which is an error, and "die", which kills the process, both after the others are done."""
    if task in ("refuse", "die"):
        deadline = time.monotonic() + 60
        while len(list(folder.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        if task == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError("the values are odd.")
    (folder / task).touch()

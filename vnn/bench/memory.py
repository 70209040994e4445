"""How much memory a call needs, and how much it may."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from vnn.kernels import memory

SLACK = 0.1


def peak_bytes(call: Callable[[], Any]) -> int | None:
    """Memory a call needs at most above what is held before it; None where the system does not tell.

    What is kept for later results is given back first, so that results count as memory of the call.
    """
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not status.exists():
        return None

    def field(name: str) -> int:
        return next(int(row.split()[1]) * 1024 for row in status.read_text().splitlines() if row.startswith(name))

    gc.collect()
    memory.release()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        reset.write_text("5")
    except (OSError, AttributeError):
        return None
    before = field("VmRSS")
    call()
    return max(field("VmHWM") - before, 0)


def size(*tensors: Tensor | None) -> int:
    """Bytes of tensors."""
    return sum(t.numel() * t.element_size() for t in tensors if t is not None)


def allowance(held: int, outputs: int, peak: int | None) -> dict[str, Any]:
    """What a call may need: its inputs, weights and indices, which are `held` before it, its outputs, and a tenth more."""
    allowed = held + outputs
    return {
        "output_bytes": outputs,
        "allowed_bytes": allowed,
        "needs_more_than_allowed": None if peak is None else peak > outputs + SLACK * allowed,
    }

"""Memory of large results, kept for the next result of the same size.

The system hands out fresh memory page by page, at a cost that exceeds that of the kernels; a result that is
no longer used leaves its memory to the next.
"""

from __future__ import annotations

import math
import weakref

import numpy as np
import torch
from torch import Tensor

LARGE = 2**18
KEPT = 2**30
SPARE = 1.1
ALIGNMENT = 64

_numpy = {torch.float32: np.float32, torch.float64: np.float64}
_idle: dict[int, list[np.ndarray]] = {}


def empty(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """A new tensor of the dtype of `like` on the CPU, its values not set."""
    count = math.prod(shape)
    size = count * like.element_size()
    if size < LARGE or like.dtype not in _numpy:
        return like.new_empty(shape)
    block = _take(size)
    offset = -block.ctypes.data % ALIGNMENT
    values = block[offset : offset + size].view(_numpy[like.dtype]).reshape(shape)
    weakref.finalize(values, _return, block).atexit = False
    return torch.from_numpy(values)


def idle_bytes() -> int:
    """Bytes kept for later results."""
    return sum(block.nbytes for blocks in list(_idle.values()) for block in list(blocks))


def release() -> None:
    """Give the memory kept for later results back to the system."""
    _idle.clear()


def _take(size: int) -> np.ndarray:
    # Blocks may come back at any moment, whenever an array dies: only atomic steps, no lock.
    for known in sorted(_idle):
        if size <= known <= SPARE * size:
            try:
                block = _idle[known].pop()
            except (IndexError, KeyError):
                continue
            if not _idle.get(known, True):
                _idle.pop(known, None)
            return block
    return np.empty(size + ALIGNMENT, np.uint8)


def _return(block: np.ndarray) -> None:
    if idle_bytes() + block.nbytes <= KEPT:
        _idle.setdefault(block.nbytes - ALIGNMENT, []).append(block)

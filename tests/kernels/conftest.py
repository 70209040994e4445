"""Memory that betrays a value left unwritten."""

from __future__ import annotations

import numpy as np
import pytest

from vnn.kernels import memory


@pytest.fixture
def poisoned_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every result, small ones too, comes from the pool of memory, and its blocks are full of NaN."""
    take = memory._take

    def poisoned(size: int) -> np.ndarray:
        block = take(size)
        block[:] = 255
        return block

    monkeypatch.setattr(memory, "LARGE", 1)
    monkeypatch.setattr(memory, "_take", poisoned)

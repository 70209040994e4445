"""Calls that take turns in one process, so that a noisy machine is noisy for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vnn.kernels.machine import last_level_cache

Call = Callable[[], Any]
READ = "a plain read"
LEAST_READ = 2**28
CACHES = 4


@dataclass(frozen=True, eq=False)
class Timing:
    """How long a call took in every round, in seconds."""

    seconds: np.ndarray

    @property
    def median(self) -> float:
        """The median."""
        return float(np.median(self.seconds))

    @property
    def noise(self) -> float:
        """75th over 25th percentile."""
        low, high = np.quantile(self.seconds, [0.25, 0.75])
        return float(high / low)


def take_turns(calls: Mapping[str, Call], rounds: int) -> dict[str, Timing]:
    """The time of every call, one after the other in each of `rounds` rounds."""
    seconds: dict[str, list[float]] = {who: [] for who in calls}
    for _ in range(rounds):
        for who, call in calls.items():
            began = time.perf_counter()
            call()
            seconds[who].append(time.perf_counter() - began)
    return {who: Timing(np.array(times)) for who, times in seconds.items()}


def plain_read(n_bytes: int | None = None) -> tuple[Call, int]:
    """A call that reads memory once, and how many bytes: four times the last-level cache and 256 MB at least."""
    n_bytes = n_bytes or max(LEAST_READ, CACHES * last_level_cache())
    source = torch.ones(n_bytes // 4)
    return source.sum, n_bytes


def furthest(mine: Tensor, theirs: Tensor) -> float:
    """How far `theirs` lies from `mine`: the norm of the difference over the norm."""
    mine, theirs = mine.detach().reshape(-1).double(), theirs.detach().reshape(-1).double()
    return float((mine - theirs).norm() / mine.norm().clamp(min=1e-300))


def same(who: str, mine: tuple[Tensor, ...], theirs: tuple[Tensor, ...], tolerance: float) -> float:
    """The largest distance between two lists of results.

    Raises
    ------
    RuntimeError
        If it exceeds `tolerance`.
    """
    distance = max(furthest(a, b) for a, b in zip(mine, theirs, strict=True))
    if not distance <= tolerance:
        raise RuntimeError(
            f"{who} and ours differ by {distance:.2g} of the result, more than {tolerance:.2g}; "
            "the comparison would mean nothing."
        )
    return distance

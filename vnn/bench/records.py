"""What is written down of a measurement."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

import torch

from vnn.bench.rounds import Timing
from vnn.kernels import active_name
from vnn.kernels.machine import last_level_cache, openmp_runtimes

Record = dict[str, Any]
NOISY = 1.3


def record(
    case: str,
    ours: Timing,
    *,
    peak: int | None,
    floor: Mapping[str, int] | None = None,
    bandwidth: float | None = None,
    **extras: Any,
) -> Record:
    """The record of a call without a rival.

    Parameters
    ----------
    case
        What was measured.
    ours
        How long it took.
    peak
        Memory it needed above what was held before.
    floor, bandwidth
        Bytes that each array must cross memory once, and bytes a second of a plain read.
    extras
        What else is needed to read it.
    """
    least = None if floor is None or bandwidth is None else sum(floor.values()) / bandwidth
    found = {
        "case": case,
        "backend": active_name(),
        "milliseconds": ours.median * 1e3,
        "rival": None,
        "ratio": None,
        "floor_share": None if least is None else least / ours.median,
        "peak_bytes": peak,
        "noise": ours.noise,
        "noisy": ours.noise > NOISY,
        "rounds": len(ours.seconds),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "openmp": openmp_runtimes(),
    }
    if least is not None and bandwidth is not None:
        found |= {
            "floor_bytes": dict(floor or {}),
            "bandwidth_gb_s": bandwidth / 1e9,
            "floor_milliseconds": least * 1e3,
            "cache_bytes": last_level_cache(),
        }
    return found | extras


def beside(own: Record, rival: str, theirs: Timing, *, peak: int | None = None, **extras: Any) -> Record:
    """The record `own` beside a rival that took turns with it."""
    return own | {
        "rival": rival,
        "ratio": theirs.median * 1e3 / own["milliseconds"],
        "rival_milliseconds": theirs.median * 1e3,
        "rival_noise": theirs.noise,
        "noisy": own["noisy"] or theirs.noise > NOISY,
        "rival_peak_bytes": peak,
        **extras,
    }


def line(record: Record) -> str:
    """A record as one line of text."""
    marked = "  (noisy)" if record["noisy"] else ""
    if record["rival"] is None:
        parts = [] if record.get("in_T") is None else [f"{record['in_T']:.3f} T"]
        parts += [] if record["floor_share"] is None else [f"{record['floor_share']:.0%} of the memory floor"]
        parts += ["peak unknown" if record["peak_bytes"] is None else f"peak {record['peak_bytes'] / 1e6:.1f} MB"]
        if record.get("needs_more_than_allowed"):
            parts += [f"MORE than the {record['output_bytes'] / 1e6:.1f} MB of its results"]
        against = ", ".join(parts)
    else:
        against = f"{record['ratio']:>7.2f}x faster than {record['rival']}"
    return f"{record['case']:<88} {record['milliseconds']:>9.2f} ms  {against}{marked}"

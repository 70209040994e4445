"""What of this machine decides how fast kernels are: caches and OpenMP runtimes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from vnn._errors import KernelError
from vnn.kernels import cpu

UNKNOWN_CACHE = 2**26


def facts() -> dict[str, Any]:
    """Instruction set of the compiled kernels (None without them), threads, OpenMP runtimes, cache and torch."""
    try:
        instructions = cpu.simd() if cpu.library_path() else None
    except KernelError:
        instructions = None
    return {
        "instruction_set": instructions,
        "threads": torch.get_num_threads(),
        "openmp": openmp_runtimes(),
        "last_level_cache": last_level_cache(),
        "torch": torch.__version__,
    }


def openmp_runtimes() -> list[str]:
    """File names of the OpenMP runtimes this process has loaded; more than one is trouble. Empty where not known."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return []
    files = {Path(row.split(maxsplit=5)[-1]).name for row in maps.read_text().splitlines() if "/" in row}
    return sorted(name for name in files if re.match(r"lib[gi]?omp\b", name))


def last_level_cache() -> int:
    """Bytes of the largest cache; 64 MB where the system does not tell."""
    sizes = Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    found = []
    for path in sizes:
        text = path.read_text().strip()
        if text[:-1].isdigit() and text[-1] in units:
            found.append(int(text[:-1]) * units[text[-1]])
    return max(found, default=UNKNOWN_CACHE)

"""Which implementation of the kernels runs: the device picks, one override is for comparison."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from types import ModuleType

import torch
from torch._C._functorch import is_functorch_wrapped_tensor

from vnn._errors import KernelError, choose
from vnn.kernels import cpu, reference

BACKENDS = ("reference", "cpu")
_override: ContextVar[str | None] = ContextVar("vnn_backend", default=None)


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Run the kernels of one backend inside the block, whatever the device would pick.

    For comparison and fault-finding; so is the environment variable VNN_BACKEND.

    Parameters
    ----------
    name
        "reference" (plain PyTorch) or "cpu" (compiled).

    Raises
    ------
    ValueError
        If there is no such backend.
    """
    token = _override.set(choose("the kernel backend", name, BACKENDS))
    try:
        yield
    finally:
        _override.reset(token)


def wanted() -> str | None:
    """The backend asked for by `backend` or VNN_BACKEND, if any."""
    name = _override.get() or os.environ.get("VNN_BACKEND")
    return choose("VNN_BACKEND", name, BACKENDS) if name else None


def active(device: torch.device) -> ModuleType:
    """The module whose kernels run on `device`."""
    name = wanted() or ("cpu" if device.type == "cpu" and _compiled() else "reference")
    if name == "reference":
        return reference
    if device.type != "cpu":
        raise KernelError(
            f"the backend 'cpu' was asked for, but the tensors are on {device}; move them or drop the override."
        )
    cpu.library()
    return cpu


def traced(x: torch.Tensor) -> bool:
    """Whether x stands for values that a compiler or `torch.func` works out, rather than holding them."""
    return torch.compiler.is_compiling() or is_functorch_wrapped_tensor(x)


def active_name(device: torch.device | None = None) -> str:
    """Name of the backend that runs on `device`: "reference", or "cpu (avx2)" with its instruction set."""
    module = active(device or torch.device("cpu"))
    return "reference" if module is reference else f"cpu ({cpu.simd()})"


@cache
def _compiled() -> bool:
    if cpu.library_path() is not None:
        return True
    warnings.warn(
        "vnn runs without its compiled kernels, many times slower: they were not built. Reinstall with a C++ "
        "compiler on the path (pip install -v shows why the build failed); `vnn kernels` tells what is here.",
        RuntimeWarning,
        stacklevel=2,
    )
    return False


def describe() -> list[dict[str, str]]:
    """One record per backend: its name, its state ("in use", "available", "missing", "broken") and why."""
    records = [{"backend": "reference", "state": "available", "detail": f"plain PyTorch {torch.__version__}"}]
    if cpu.library_path() is None:
        records.append(
            {"backend": "cpu", "state": "missing", "detail": "not built; reinstall with a C++ compiler on the path"}
        )
    else:
        try:
            cpu.library()
            detail = f"{cpu.simd()}, {torch.get_num_threads()} threads, {cpu.library_path()}"
            records.append({"backend": "cpu", "state": "available", "detail": detail})
        except KernelError as error:
            records.append({"backend": "cpu", "state": "broken", "detail": str(error)})
    used = wanted() or ("cpu" if records[-1]["state"] == "available" else "reference")
    for record in records:
        if record["backend"] == used and record["state"] == "available":
            record["state"] = "in use"
    return records

"""Which implementation of the kernels runs: the device picks, one override is for comparison."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from types import ModuleType
from typing import NamedTuple

import torch
from torch._C._functorch import is_functorch_wrapped_tensor

from vnn._errors import KernelError, choose
from vnn.kernels import cpu, cuda, reference, torch_sparse


class Backend(NamedTuple):
    """One implementation of the kernels.

    Parameters
    ----------
    module
        Its functions, those of `vnn.kernels.reference`.
    devices
        Types of device it runs on; none given: any.
    picked
        Types of device that pick it by themselves when it is here.
    why_not
        Why it is missing and what to do; empty where it is here.
    load
        Makes it ready, or raises a `KernelError` with the cause; called before every kernel, so it must be cheap.
    describe
        What it is, once loaded.
    label
        What follows its name in records, such as the instruction set.
    """

    module: ModuleType
    devices: tuple[str, ...]
    picked: tuple[str, ...]
    why_not: Callable[[], str]
    load: Callable[[], object]
    describe: Callable[[], str]
    label: Callable[[], str]


def _nothing() -> str:
    return ""


def _cpu_why_not() -> str:
    return "" if cpu.library_path() else "not built; reinstall with a C++ compiler on the path"


def _cpu_describe() -> str:
    return f"{cpu.simd()}, {torch.get_num_threads()} threads, {cpu.library_path()}"


TABLE = {
    "reference": Backend(
        reference, (), (), _nothing, _nothing, lambda: f"plain PyTorch {torch.__version__}", _nothing
    ),
    "cpu": Backend(
        cpu, ("cpu",), ("cpu",), _cpu_why_not, lambda: cpu.library(), _cpu_describe, lambda: cpu.simd()
    ),
    "cuda": Backend(
        cuda, ("cuda",), ("cuda",), lambda: cuda.why_not(), _nothing, lambda: cuda.describe(), _nothing
    ),
    "torch_sparse": Backend(
        torch_sparse, ("cpu", "cuda"), (), torch_sparse.why_not, torch_sparse.library, torch_sparse.describe,
        lambda: torch_sparse.library().__version__,
    ),
}  # fmt: skip
BACKENDS = tuple(TABLE)
_override: ContextVar[str | None] = ContextVar("vnn_backend", default=None)


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Run the kernels of one backend inside the block, whatever the device would pick.

    For comparison and fault-finding; so is the environment variable VNN_BACKEND.

    Parameters
    ----------
    name
        "reference" (plain PyTorch), "cpu" (compiled), "cuda" (compiled when first used) or "torch_sparse" (when
        installed).

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


def chosen(device: torch.device) -> str:
    """Name of the backend for `device`: the one asked for, else the first the device picks that is here, else the reference.

    Raises
    ------
    KernelError
        If the one asked for does not run on `device`.
    """
    name = wanted()
    if name is None:
        return _picked(device.type)
    devices = TABLE[name].devices
    if devices and device.type not in devices:
        raise KernelError(
            f"the backend {name!r} was asked for, but the tensors are on {device}; move them or drop the override."
        )
    return name


def active(device: torch.device) -> ModuleType:
    """The module whose kernels run on `device`, loaded.

    A GPU whose kernels cannot run is an error, never a silent change to something slower.

    Raises
    ------
    KernelError
        If it is missing or broken, or does not run there.
    """
    found = _settled(_override.get() or os.environ.get("VNN_BACKEND"), device.type)
    found.load()
    return found.module


@cache
def _settled(name: str | None, kind: str) -> Backend:
    """What `chosen` says, remembered: it is asked before every kernel."""
    return TABLE[chosen(torch.device(kind))]


def traced(x: torch.Tensor) -> bool:
    """Whether x stands for values that a compiler or `torch.func` works out, rather than holding them."""
    return torch.compiler.is_compiling() or is_functorch_wrapped_tensor(x)


def active_name(device: torch.device | None = None) -> str:
    """Name of the backend that runs on `device`: "reference", or "cpu (avx2)" with its instruction set."""
    device = device or torch.device("cpu")
    active(device)
    name = chosen(device)
    label = TABLE[name].label()
    return f"{name} ({label})" if label else name


@cache
def _picked(kind: str) -> str:
    for name, known in TABLE.items():
        if kind in known.picked and not known.why_not():
            return name
    if kind == "cuda":
        raise KernelError(
            f"the kernels for GPUs cannot run: {cuda.why_not()}. Mend that, or ask for plain PyTorch on the GPU with "
            "VNN_BACKEND=reference."
        )
    if kind == "cpu":
        warnings.warn(
            "vnn runs without its compiled kernels, many times slower: they were not built. Reinstall with a C++ "
            "compiler on the path (pip install -v shows why the build failed); `vnn kernels` tells what is here.",
            RuntimeWarning,
            stacklevel=2,
        )
    return "reference"


def describe() -> list[dict[str, str]]:
    """One record per backend: its name, its state ("in use", "available", "missing", "broken") and why."""
    records = [_state(name, known) for name, known in TABLE.items()]
    here = {record["backend"] for record in records if record["state"] == "available"}
    picking = [name for name, known in TABLE.items() if "cpu" in known.picked and name in here]
    used = wanted() or (picking or ["reference"])[0]
    for record in records:
        if record["backend"] == used and record["state"] == "available":
            record["state"] = "in use"
    return records


def _state(name: str, known: Backend) -> dict[str, str]:
    if reason := known.why_not():
        return {"backend": name, "state": "missing", "detail": reason}
    try:
        known.load()
        return {"backend": name, "state": "available", "detail": known.describe()}
    except KernelError as error:
        return {"backend": name, "state": "broken", "detail": str(error)}

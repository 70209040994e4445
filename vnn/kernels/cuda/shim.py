"""The kernels compiled for the CPU by g++ under `shim.h`, so that their numerics run where there is no GPU."""

from __future__ import annotations

import ctypes
import hashlib
import subprocess
from ctypes import Structure, byref, c_uint
from pathlib import Path

from vnn._errors import KernelError
from vnn.kernels.cuda.catalogue import Kernel, every_kernel, source

FLAGS = ("-std=c++17", "-O1", "-fPIC", "-shared", "-Wno-unknown-pragmas", "-fno-strict-aliasing")


def build(folder: Path, *more: str) -> Path:
    """The library of all kernels in `folder`, compiled with the flags `more` unless it is there.

    Raises
    ------
    KernelError
        If there is no g++ or it does not compile the kernels.
    """
    lines = "".join(f"{kernel.line}\n" for kernel in every_kernel())
    text = "".join(f"{name}\n{text}" for name, text in sorted(source().items())) + lines + " ".join((*FLAGS, *more))
    library = folder / f"vnn_shim_{hashlib.sha256(text.encode()).hexdigest()[:16]}.so"
    if library.exists():
        return library
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in source().items():
        (folder / name).write_text(content)
    unit, part = folder / "shim.cpp", library.with_suffix(".part")
    unit.write_text(f'#include "kernels.cu"\n{lines}')
    command = ["g++", *FLAGS, *more, "-DVNN_SHIM", str(unit), "-o", str(part)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise KernelError("the shim of the CUDA kernels needs g++, which is not on the path; install it.") from error
    if done.returncode:
        raise KernelError(f"g++ does not compile the CUDA kernels under the shim:\n{done.stderr[-4000:]}")
    part.replace(library)
    return library


class Shim:
    """A device that is the CPU."""

    def __init__(self, library: Path) -> None:
        self.library = ctypes.CDLL(str(library))
        self.launched: list[str] = []

    def launch(self, kernel: Kernel, arguments: Structure, blocks: int, threads: int, shared: int) -> None:
        self.launched.append(kernel.call)
        getattr(self.library, kernel.symbol)(byref(arguments), c_uint(blocks), c_uint(threads), c_uint(shared))

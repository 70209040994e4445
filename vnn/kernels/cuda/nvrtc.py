"""NVRTC: CUDA C++ text in, machine code for one GPU architecture out; no CUDA toolkit needed."""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
from collections.abc import Iterator
from ctypes import byref, c_char_p, c_int, c_size_t, c_void_p
from functools import cache
from pathlib import Path

from vnn._atomic import replacing
from vnn._errors import KernelError
from vnn.kernels.cuda.catalogue import Kernel, source

OPTIONS = ("--std=c++17", "--generate-line-info")
_NAMES = ("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so", "nvrtc64_130_0.dll", "nvrtc64_120_0.dll")


def _candidates() -> Iterator[str]:
    import torch

    major = (torch.version.cuda or "").partition(".")[0]
    names = sorted(_NAMES, key=lambda name: bool(major) and f".so.{major}" not in name and f"64_{major}" not in name)
    folders = [Path(torch.__file__).parent / "lib"]
    for entry in sys.path:
        folders += [Path(entry) / "nvidia" / part for part in ("cu13/lib", "cuda_nvrtc/lib", "cuda_nvrtc/bin")]
    for name in names:
        yield from (str(folder / name) for folder in folders if (folder / name).exists())
        yield name


@cache
def library() -> ctypes.CDLL:
    """The loaded NVRTC.

    Raises
    ------
    KernelError
        If there is none beside torch, in its `nvidia` packages, or on the loader's path.
    """
    reasons = []
    for name in _candidates():
        try:
            loaded = ctypes.CDLL(name)
        except OSError as error:
            reasons.append(str(error))
            continue
        loaded.nvrtcGetErrorString.restype = c_char_p
        return loaded
    raise KernelError(
        "the CUDA kernels are compiled when first used, by NVRTC, and libnvrtc is not here "
        f"({reasons[0] if reasons else 'nothing was found'}). torch's CUDA wheels bring it; otherwise "
        "`pip install nvidia-cuda-nvrtc` (CUDA 13) or `pip install nvidia-cuda-nvrtc-cu12`, or VNN_BACKEND=reference."
    )


@cache
def version() -> tuple[int, int]:
    """Major and minor version of NVRTC."""
    major, minor = c_int(), c_int()
    _call("nvrtcVersion", byref(major), byref(minor))
    return major.value, minor.value


@cache
def architectures() -> tuple[int, ...]:
    """The GPU architectures it compiles for: 90 is compute capability 9.0."""
    count = c_int()
    _call("nvrtcGetNumSupportedArchs", byref(count))
    numbers = (c_int * count.value)()
    _call("nvrtcGetSupportedArchs", numbers)
    return tuple(numbers)


def architecture(major: int, minor: int) -> str:
    """The architecture whose code a GPU of capability `major`.`minor` runs: "sm_90".

    Raises
    ------
    KernelError
        If this NVRTC is too old or too new for the GPU.
    """
    fitting = [number for number in architectures() if number // 10 == major and number % 10 <= minor]
    if not fitting:
        raise KernelError(
            f"the GPU has compute capability {major}.{minor}; NVRTC {version()[0]}.{version()[1]} compiles for "
            f"{', '.join(f'{n // 10}.{n % 10}' for n in architectures())}. Install a torch built for this GPU, "
            "or set VNN_BACKEND=reference."
        )
    return f"sm_{max(fitting)}"


def _call(name: str, *arguments: object) -> None:
    status = getattr(library(), name)(*arguments)
    if status:
        raise KernelError(f"{name} failed: {library().nvrtcGetErrorString(status).decode()}.")


def compiled(kernels: tuple[Kernel, ...], arch: str, files: dict[str, str] | None = None) -> bytes:
    """Machine code of `kernels` for `arch`, from `files` (the package's own unless given).

    Raises
    ------
    KernelError
        With NVRTC's log, if the source does not compile.
    """
    files = source() if files is None else files
    text = files["kernels.cu"] + "".join(f"{kernel.line}\n" for kernel in kernels)
    headers = {name: content for name, content in files.items() if name != "kernels.cu" and name != "shim.h"}
    program = c_void_p()
    contents = (c_char_p * len(headers))(*(content.encode() for content in headers.values()))
    names = (c_char_p * len(headers))(*(name.encode() for name in headers))
    _call("nvrtcCreateProgram", byref(program), text.encode(), b"kernels.cu", c_int(len(headers)), contents, names)
    try:
        options = (f"--gpu-architecture={arch}", *OPTIONS)
        words = (c_char_p * len(options))(*(option.encode() for option in options))
        status = library().nvrtcCompileProgram(program, c_int(len(options)), words)
        if status:
            asked = ", ".join(kernel.call for kernel in kernels[:5])
            raise KernelError(
                f"NVRTC {version()[0]}.{version()[1]} does not compile {asked} for {arch} "
                f"({library().nvrtcGetErrorString(status).decode()}):\n{_log(program)}\n"
                "Please report this with the GPU and the version of torch; VNN_BACKEND=reference runs meanwhile."
            )
        size = c_size_t()
        _call("nvrtcGetCUBINSize", program, byref(size))
        code = ctypes.create_string_buffer(size.value)
        _call("nvrtcGetCUBIN", program, code)
        return code.raw
    finally:
        _call("nvrtcDestroyProgram", byref(program))


def _log(program: c_void_p) -> str:
    size = c_size_t()
    _call("nvrtcGetProgramLogSize", program, byref(size))
    text = ctypes.create_string_buffer(max(size.value, 1))
    _call("nvrtcGetProgramLog", program, text)
    return text.value.decode(errors="replace").strip()


def kept_file(kernels: tuple[Kernel, ...], arch: str) -> Path | None:
    """Where their machine code is kept between processes; None where there is no home or VNN_CUDA_CACHE is "off"."""
    wanted = os.environ.get("VNN_CUDA_CACHE")
    if wanted == "off":
        return None
    try:
        folder = (
            Path(wanted)
            if wanted
            else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vnn" / "cuda"
        )
    except RuntimeError:
        return None
    parts = (
        *(f"{name}\n{text}" for name, text in sorted(source().items())),
        *(k.line for k in kernels),
        arch,
        *OPTIONS,
    )
    key = hashlib.sha256("\n".join((*parts, str(version()))).encode()).hexdigest()
    return folder / f"{key[:32]}.cubin"


def kept_or_compiled(kernels: tuple[Kernel, ...], arch: str) -> bytes:
    """`compiled`, or what an earlier process compiled from the same source."""
    file = kept_file(kernels, arch)
    if file is not None and file.is_file():
        return file.read_bytes()
    code = compiled(kernels, arch)
    if file is not None:
        try:
            with replacing(file) as part:
                part.write_bytes(code)
        except OSError:  # a full or read-only home costs the next process a moment, nothing else
            pass
    return code

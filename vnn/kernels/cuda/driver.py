"""The CUDA driver: machine code loaded into torch's own context and launched on torch's current stream."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import Structure, byref, c_char_p, c_int, c_uint, c_void_p
from functools import cache
from threading import Lock

import torch

from vnn._errors import KernelError
from vnn.kernels.cuda import nvrtc
from vnn.kernels.cuda.catalogue import Kernel

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
MOST_SHARED = 48 * 1024  # bytes a kernel gets without asking
_MAX_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES


@cache
def library() -> ctypes.CDLL:
    """The loaded driver.

    Raises
    ------
    KernelError
        If there is no NVIDIA driver.
    """
    try:
        loaded = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise KernelError(
            f"the NVIDIA driver cannot be loaded: {error}. Install it (`nvidia-smi` shows one that works), "
            "in a container pass the GPU through, or run on the CPU."
        ) from error
    for name in ("cuGetErrorName", "cuGetErrorString"):
        getattr(loaded, name).argtypes = [c_int, ctypes.POINTER(c_char_p)]
    return loaded


def _call(name: str, *arguments: object, doing: str = "") -> None:
    status = getattr(library(), name)(*arguments)
    if status:
        raise KernelError(
            f"{name}{doing and ' ' + doing} failed: {_words('cuGetErrorName', status)} "
            f"({_words('cuGetErrorString', status)}). An earlier kernel may be the cause: CUDA_LAUNCH_BLOCKING=1 shows "
            "which; VNN_BACKEND=reference runs without these kernels."
        )


def _words(function: str, status: int) -> str:
    text = c_char_p()
    getattr(library(), function)(status, byref(text))
    return text.value.decode() if text.value else f"error {status}"


class Gpu:
    """One GPU, by torch's number."""

    def __init__(self, index: int) -> None:
        self.index = index
        _call("cuInit", c_uint(0))
        device, self._context = c_int(), c_void_p()
        _call("cuDeviceGet", byref(device), c_int(index))
        _call("cuDevicePrimaryCtxRetain", byref(self._context), device)
        self.arch = nvrtc.architecture(*torch.cuda.get_device_capability(index))
        self._functions: dict[Kernel, c_void_p] = {}
        self._lock = Lock()

    def launch(self, kernel: Kernel, arguments: Structure, blocks: int, threads: int, shared: int) -> None:
        """See `vnn.kernels.cuda.device.Device`."""
        function = self._functions.get(kernel)
        if function is None:
            function = self.load((kernel,))[0]
        pointers = (c_void_p * 1)(ctypes.addressof(arguments))
        stream = c_void_p(torch.cuda.current_stream(self.index).cuda_stream)
        with self._current():
            if shared > MOST_SHARED:
                _call(
                    "cuFuncSetAttribute", function, c_int(_MAX_DYNAMIC_SHARED), c_int(shared), doing=f"of {kernel.call}"
                )
            _call(
                "cuLaunchKernel", function, *map(c_uint, (blocks, 1, 1, threads, 1, 1, shared)), stream, pointers, None,
                doing=f"of {kernel.call} with {blocks:,} x {threads} threads and {shared:,} bytes of shared memory",
            )  # fmt: skip

    def load(self, kernels: tuple[Kernel, ...]) -> list[c_void_p]:
        """Compile and load `kernels` as one module; what is loaded already is kept.

        Raises
        ------
        KernelError
            If the source does not compile, the driver refuses it, or a CUDA graph is being captured.
        """
        with self._lock:
            if missing := tuple(k for k in kernels if k not in self._functions):
                if torch.cuda.is_current_stream_capturing():
                    raise KernelError(
                        f"{missing[0].call} is used for the first time while a CUDA graph is captured, and cannot be loaded "
                        "then; run the step once before `torch.cuda.graph`, or call `vnn.kernels.cuda.warm()`."
                    )
                self._functions |= zip(missing, self._loaded(missing), strict=True)
            return [self._functions[k] for k in kernels]

    def _loaded(self, kernels: tuple[Kernel, ...]) -> list[c_void_p]:
        module, functions = c_void_p(), []
        with self._current():
            code = nvrtc.kept_or_compiled(kernels, self.arch)
            if library().cuModuleLoadData(byref(module), code):  # perhaps a damaged file: once more from the source
                code = nvrtc.compiled(kernels, self.arch)
                _call("cuModuleLoadData", byref(module), code, doing=f"for {self.arch}")
                if file := nvrtc.kept_file(kernels, self.arch):
                    file.unlink(missing_ok=True)
            for kernel in kernels:
                function = c_void_p()
                _call("cuModuleGetFunction", byref(function), module, kernel.symbol.encode(), doing=f"of {kernel.call}")
                if hasattr(library(), "cuFuncLoad"):  # a driver that loads lazily would load at the first launch
                    _call("cuFuncLoad", function, doing=f"of {kernel.call}")
                functions.append(function)
        return functions

    @contextmanager
    def _current(self) -> Iterator[None]:
        _call("cuCtxPushCurrent_v2", self._context)
        try:
            yield
        finally:
            library().cuCtxPopCurrent_v2(byref(c_void_p()))


@cache
def gpu(index: int) -> Gpu:
    """The GPU torch calls `cuda:index`."""
    return Gpu(index)

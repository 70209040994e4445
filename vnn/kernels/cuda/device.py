"""Where kernels run: a GPU through its driver, or the shim on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import Structure
from typing import Protocol

import torch
from torch import Tensor

from vnn._errors import KernelError
from vnn.kernels.cuda.catalogue import Kernel

MOST_BLOCKS = 2**31 - 1


class Device(Protocol):
    """What launches a kernel."""

    def launch(self, kernel: Kernel, arguments: Structure, blocks: int, threads: int, shared: int) -> None:
        """Run `blocks` blocks of `threads` threads, each block with `shared` bytes of shared memory."""


_simulated: Device | None = None


@contextmanager
def simulated(device: Device) -> Iterator[None]:
    """Run the kernels on `device` for tensors that lie on the CPU; for tests."""
    global _simulated
    before, _simulated = _simulated, device
    try:
        yield
    finally:
        _simulated = before


def device_of(tensor: Tensor) -> Device:
    """The device that holds `tensor`."""
    if tensor.is_cuda:
        from vnn.kernels.cuda import driver

        return driver.gpu(tensor.get_device())
    if _simulated is not None and tensor.device == torch.device("cpu"):
        return _simulated
    raise KernelError(
        f"the CUDA kernels were given a tensor on {tensor.device}; move it to a CUDA device, or drop the override."
    )


def launch(
    kernel: Kernel, at: Tensor, arguments: Structure, n_threads: int, *, block: int = 256, shared: int = 0
) -> None:
    """Run at least `n_threads` threads of `kernel` where `at` lies."""
    blocks = -(-n_threads // block)
    if blocks > MOST_BLOCKS:
        raise KernelError(
            f"{kernel.call} would need {blocks:,} blocks of threads, a GPU takes {MOST_BLOCKS:,}; split the batch."
        )
    if blocks:
        device_of(at).launch(kernel, arguments, blocks, block, shared)

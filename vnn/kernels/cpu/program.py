"""Calls of kernels that were prepared once and run as often as wanted."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import Structure, addressof, byref, c_int32, c_int64, c_void_p
from typing import Any

import torch

from vnn.kernels import cpu
from vnn.kernels.cpu.calls import Call


class _Prepared(Structure):
    _fields_ = [("kernel", c_int32), ("wide", c_int32), ("arguments", c_void_p)]


def _prepared(calls: Sequence[Call]) -> Any:
    library = cpu.library()
    return (_Prepared * len(calls))(
        *(
            _Prepared(
                library.vnn_number(call.symbol.encode()), call.work >= cpu.WORTH_THREADS, addressof(call.arguments)
            )
            for call in calls
        )
    )


class Program:
    """Calls that run one after the other, as one call of the library.

    The tensors whose addresses the calls hold must outlive it: `keep` holds them.

    Parameters
    ----------
    calls
        In their order.
    keep
        Whatever must live as long.
    """

    def __init__(self, calls: Sequence[Call], keep: object = None) -> None:
        self.calls, self._keep = tuple(calls), keep
        self._prepared = _prepared(self.calls)

    def run(self) -> None:
        """Run them, each on as many threads as it is worth."""
        cpu.library().vnn_run(byref(self._prepared), len(self.calls), cpu.threads_for(cpu.WORTH_THREADS))


class SideBySide:
    """Lists of calls, each run on a thread of its own; calls of different lists must share no result."""

    def __init__(self, lists: Sequence[Sequence[Call]], keep: object = None) -> None:
        self.n, self._keep = len(lists), (lists, keep)
        self._prepared = _prepared([call for one in lists for call in one])
        ends = torch.tensor([len(one) for one in lists]).cumsum(0).tolist()
        self._starts = (c_int64 * (self.n + 1))(0, *ends)

    def run(self) -> None:
        """Run all of them; one after the other where there is one thread only."""
        library = cpu.library()
        if cpu.threads_for(cpu.WORTH_THREADS) == 1:
            library.vnn_run(byref(self._prepared), self._starts[self.n], 1)
        else:
            library.vnn_run_side_by_side(byref(self._prepared), byref(self._starts), self.n)

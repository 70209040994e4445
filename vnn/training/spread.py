"""Work spread over processes, of this machine or of a cluster, through joblib."""

from __future__ import annotations

import importlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Parallel, cpu_count, delayed, parallel_config
from joblib.externals.loky.process_executor import BrokenProcessPool
from torch import Tensor

from vnn._errors import choose
from vnn.kernels.backend import backend as kernels
from vnn.kernels.backend import wanted
from vnn.models import VisibleNetwork
from vnn.training.loop import Listener, Progress, Record, Trainer
from vnn.training.problem import Problem
from vnn.training.settings import Training

BACKENDS = {"loky": "joblib", "dask": "distributed", "ray": "ray"}
INSTALL = {"dask": 'pip install "dask[distributed]"', "ray": 'pip install "ray[default]"'}
WATCHED_SECONDS = 1.0


def spread(
    call: Callable[..., Any],
    tasks: Mapping[str, Any],
    *,
    shared: Sequence[Any] = (),
    workers: int,
    backend: str = "loky",
) -> Iterator[tuple[str, Any]]:
    """`call(*shared, task)` for every task in processes of their own; name and result of each as it is done.

    A process uses as many threads as it has cores for itself. The first task that fails ends the others.

    Parameters
    ----------
    call
        A function of a module.
    tasks
        By name, which progress and errors tell.
    shared
        What every task needs. Large numpy arrays in it are mapped into the memory of all processes ("loky") or sent to
        every machine once ("dask"), not copied with every task.
    workers
        Processes; "dask" uses all of its cluster.
    backend
        "loky" (processes of this machine), "dask" or "ray" (a cluster, when installed; through joblib).

    Raises
    ------
    ImportError
        If the backend is not installed.
    RuntimeError
        If a process was killed.
    """
    check_workers(workers, backend)
    return _results(call, tasks, shared, min(workers, max(len(tasks), 1)), backend)


def check_workers(workers: int, backend: str = "loky") -> None:
    """Refuse what `spread` cannot do, before anything long begins."""
    choose("the backend of the workers", backend, BACKENDS)
    if workers < 1:
        raise ValueError(f"`workers` is {workers}; at least one process is needed.")
    try:
        importlib.import_module(BACKENDS[backend])
    except ImportError as error:
        raise ImportError(
            f'workers were asked for through {backend!r}, which is not installed. Install it ({INSTALL[backend]}), or use "loky", '
            "the processes of this machine."
        ) from error


def threads_each(workers: int) -> int:
    """Threads of each of some processes that share this machine."""
    return max(1, min(torch.get_num_threads(), cpu_count() // workers))


def _results(
    call: Callable[..., Any], tasks: Mapping[str, Any], shared: Sequence[Any], workers: int, backend: str
) -> Iterator[tuple[str, Any]]:
    threads = threads_each(workers) if backend == "loky" else None
    own: dict[str, Any] = {}
    if backend == "loky":
        own["inner_max_num_threads"] = threads
    elif backend == "dask":
        own["scatter"] = list(shared)
    else:
        importlib.import_module("ray.util.joblib").register_ray()
    left = dict.fromkeys(tasks)
    with parallel_config(backend=backend, n_jobs=workers, mmap_mode="c", **own):
        together = Parallel(return_as="list" if backend == "ray" else "generator_unordered", batch_size=1)
        work = (delayed(_do)(call, name, task, threads, wanted(), *shared) for name, task in tasks.items())
        try:
            for name, result in together(work):
                del left[name]
                yield name, result
        except BrokenProcessPool as error:
            raise RuntimeError(
                f"one of {workers} processes was killed while these were not done: {', '.join(list(left)[:5])}"
                f"{f' and {len(left) - 5} more' if len(left) > 5 else ''}. Often memory was short: ask for fewer workers, or "
                "for fewer networks side by side. What was done is kept; the same call goes on."
            ) from error


def _do(call: Callable[..., Any], name: str, task: Any, threads: int | None, asked: str | None, *shared: Any) -> Any:
    if threads is not None:
        torch.set_num_threads(threads)
        _watch(os.getppid())
    with kernels(asked) if asked else nullcontext():
        try:
            return name, call(*shared, task)
        except Exception as error:
            error.add_note(f"It happened in {name}, in a process of its own.")
            raise


@cache
def _watch(parent: int) -> None:
    """End this process when the one that started it is gone, so that nobody trains what nobody waits for."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCHED_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

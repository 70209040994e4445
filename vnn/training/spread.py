"""Work spread over processes, of this machine or of a cluster, through joblib."""

from __future__ import annotations

import importlib
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
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
from vnn.training.settings import Setting, Training

BACKENDS = {"loky": "joblib", "dask": "distributed", "ray": "ray"}
INSTALL = {"dask": 'pip install "dask[distributed]"', "ray": 'pip install "ray[default]"'}
WATCHED_SECONDS = 1.0

_Task = tuple[VisibleNetwork, list[int], Path | None, list[Setting] | None]
_Done = tuple[dict[str, Tensor], Record]


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
    asked, left = wanted(), dict.fromkeys(tasks)
    with parallel_config(backend=backend, n_jobs=workers, mmap_mode="c", **own):
        together = Parallel(return_as="list" if backend == "ray" else "generator_unordered", batch_size=1)
        work = (delayed(_do)(call, name, task, threads, asked, *shared) for name, task in tasks.items())
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


class ChunkTrainer:
    """Trains the replicates of one network in chunks, one after the other or in several processes; it stands in for a `Trainer`.

    Parameters
    ----------
    network, problem, settings, seed, own
        As for a `Trainer`.
    checkpoint
        Each chunk has one beside it, named after its replicates; `forget` removes them.
    at_once
        Replicates of a chunk at most; an equal share for each process unless given.
    workers, backend
        As for `spread`; one stays in this process.
    """

    def __init__(
        self,
        network: VisibleNetwork,
        problem: Problem,
        settings: Training,
        *,
        seed: int,
        checkpoint: Path | None = None,
        at_once: int | None = None,
        workers: int = 1,
        backend: str = "loky",
        own: Sequence[Setting] | None = None,
    ) -> None:
        self.full, self.problem, self.settings, self.seed, self.own = network, problem, settings, seed, own
        self.checkpoint, self.workers, self.backend = checkpoint, workers, backend
        n = network.n_replicates
        size = min(-(-n // workers), at_once or n)
        self.chunks = [at.tolist() for at in np.array_split(np.arange(n), -(-n // size))]
        self.record = _joined(network.replicate_names, [])

    def run(self, listener: Listener | None = None) -> VisibleNetwork:
        """Train to the end and return the network with the best weights of every replicate."""
        names = [f"networks {at[0] + 1} to {at[-1] + 1}" for at in self.chunks]
        found = dict(self._here(names, listener) if self.workers == 1 else self._elsewhere(names, listener))
        trained = self.full.replicates(list(range(self.full.n_replicates)))
        states = [found[name][0] for name in names]
        trained.load_state_dict({key: torch.cat([state[key] for state in states], -1) for key in states[0]})
        self.record = _joined(self.full.replicate_names, [found[name][1] for name in names])
        return trained.eval()

    def _task(self, at: list[int]) -> _Task:
        own = None if self.own is None else [self.own[i] for i in at]
        return self.full.replicates(at), at, self._checkpoint(at), own

    def _here(self, names: Sequence[str], listener: Listener | None) -> Iterator[tuple[str, _Done]]:
        shared, waiting = (_arrays(self.problem), self.settings, self.seed), self.full.n_replicates
        for name, at in zip(names, self.chunks, strict=True):
            waiting -= len(at)
            yield name, _train(*shared, self._task(at), listener and _among(listener, waiting, self.full.n_replicates))

    def _elsewhere(self, names: Sequence[str], listener: Listener | None) -> Iterator[tuple[str, _Done]]:
        began, records = time.monotonic(), []
        tasks = {name: self._task(at) for name, at in zip(names, self.chunks, strict=True)}
        shared = (_arrays(self.problem), self.settings, self.seed)
        for name, done in spread(_train, tasks, shared=shared, workers=self.workers, backend=self.backend):
            records.append(done[1])
            if listener is not None:
                listener(self._progress(records, time.monotonic() - began))
            yield name, done

    def _checkpoint(self, at: Sequence[int]) -> Path | None:
        beside = self.checkpoint
        return None if beside is None else beside.with_name(f"{beside.name}-{at[0]:04d}-{at[-1]:04d}")

    def _progress(self, done: Sequence[Record], seconds: float) -> Progress:
        n, epoch = self.full.n_replicates, max(len(record.history) for record in done)
        last = [record.history[-1] for record in done if record.history]
        train, validation = (_mean(value for row in last for value in row[part]) for part in ("train", "validation"))
        living = n - sum(len(record.names) for record in done)
        return Progress(epoch, self.settings.epochs, living, n, train, validation, seconds)


def _mean(values: Iterable[float]) -> float:
    """Of those that are there; NaN without one."""
    told = [value for value in values if value == value]
    return float(np.mean(told)) if told else float("nan")


def _arrays(problem: Problem) -> dict[str, Any]:
    """A problem as arrays, which processes can share."""
    return {name: held.numpy() if isinstance(held, Tensor) else held for name, held in vars(problem).items()}


def _among(listener: Listener, waiting: int, n: int) -> Listener:
    """A listener to a chunk that speaks of all replicates."""
    return lambda told: listener(replace(told, living=told.living + waiting, replicates=n))


def _train(
    arrays: dict[str, Any], settings: Training, seed: int, task: _Task, listener: Listener | None = None
) -> _Done:
    network, at, checkpoint, own = task
    held: dict[str, Any] = {
        name: _tensor(values) if isinstance(values, np.ndarray) and name != "universe" else values
        for name, values in arrays.items()
    }
    trainer = Trainer(network, Problem(**held).keep(at), settings, seed=seed, checkpoint=checkpoint, own=own)
    trained = trainer.run(listener)
    if checkpoint is not None:
        trainer.save()
    return dict(trained.state_dict()), trainer.record


def _tensor(values: np.ndarray) -> Tensor:
    """A tensor over an array that other processes may read too (Ray gives it read-only); nothing writes to it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(values)


def forget(checkpoint: Path) -> None:
    """Remove a checkpoint, and those of the chunks beside it."""
    for path in (checkpoint, *checkpoint.parent.glob(f"{checkpoint.name}-[0-9]*")):
        path.unlink(missing_ok=True)


def _joined(names: Sequence[str], parts: Sequence[Record]) -> Record:
    """The records of parts as one; epochs that a part no longer took are missing."""
    joined = Record(tuple(names), [], [], [], [])
    for part in parts:
        joined.state += part.state
        joined.best_epoch += part.best_epoch
        joined.best_loss += part.best_loss
        joined.waited += part.waited
    for epoch in range(max((len(part.history) for part in parts), default=0)):
        row: dict[str, list[float]] = {"train": [], "validation": []}
        for part in parts:
            for key, values in row.items():
                values += part.history[epoch][key] if epoch < len(part.history) else [float("nan")] * len(part.names)
        joined.history.append(row)
    return joined

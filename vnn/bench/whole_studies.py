"""A whole study of many replicates in one process beside as many processes of one replicate each."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vnn.bench.records import Record, beside, record
from vnn.bench.rounds import Timing
from vnn.bench.wirings import pnet_sized
from vnn.chance import generator
from vnn.data import Samples, k_fold
from vnn.ontology import Topology
from vnn.training import Training, fit
from vnn.training.design import replicates_of

FOLDS = 5


def whole_study(
    levels: Sequence[int],
    n_edges: int,
    *,
    replicates: int = 20,
    people: int = 500,
    epochs: int = 20,
    processes: int = 4,
) -> list[Record]:
    """A study in one process beside `replicates` processes that train one network each, from starting Python to saved files.

    Parameters
    ----------
    levels, n_edges
        Nodes of every level, genes first, and edges in all.
    replicates
        Networks of the study: five folds, and seeds for the rest.
    people
        Samples, of random values.
    epochs
        For how long every network trains.
    processes
        How many of the separate processes are run; their mean stands for all. Half run before the study, half after.

    Returns
    -------
    Records as those of `kernels`.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder, pnet_sized(levels, n_edges), people)
        before = [_seconds(folder, range(i, i + 1), epochs) for i in range(processes // 2)]
        together = _seconds(folder, range(replicates), epochs)
        after = [_seconds(folder, range(i, i + 1), epochs) for i in range(processes // 2, processes)]
    case = (
        f"study of {replicates} replicates, {levels[0]:,} genes, {len(levels)} levels, {people} people, {epochs} epochs"
    )
    own = record(case, Timing(np.array([together])), peak=None, replicates=replicates)
    many = Timing(np.array(before + after) * replicates)
    rival = f"{replicates} processes"
    return [own, beside(own, rival, many, together_over_separate=together / many.median, processes_run=processes)]


def _write(folder: Path, topology: Topology, people: int) -> None:
    topology.save(folder / "topology.npz")
    values = generator(0, "bench study").standard_normal((len(topology.inputs), people), dtype=np.float32)
    np.save(folder / "values.npy", values)


def _seconds(folder: Path, replicates: range, epochs: int) -> float:
    code = f"from {__name__} import train; import sys; train(*sys.argv[1:])"
    asked = [folder, replicates.start, replicates.stop, epochs]
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *map(str, asked)], check=True)
    return time.perf_counter() - began


def train(folder: str, first: str, last: str, epochs: str) -> None:
    """What each process does: read, train replicates `first` up to `last` of the study, save."""
    topology = Topology.load(Path(folder) / "topology.npz")
    values = np.load(Path(folder) / "values.npy")
    ids = tuple(f"p{i:05d}" for i in range(values.shape[1]))
    labels = generator(0, "bench labels").permutation(np.arange(len(ids)) % 2)
    people = pd.DataFrame(index=pd.Index(ids))
    samples = Samples(values, topology.inputs, ids, people.assign(case=labels), people, people)
    splits = k_fold(ids, k=FOLDS, validation=0.2, seed=0)
    n_seeds = -(-int(last) // FOLDS)
    names = sorted((r.seed, r.id) for r in replicates_of(splits, n_seeds))[int(first) : int(last)]
    training = Training(epochs=int(epochs), patience=int(epochs))
    made = fit(
        topology, samples, target="case", splits=splits, n_seeds=n_seeds, training=training, task="binary",
        only=[name for _, name in names],
    )  # fmt: skip
    made.save(Path(folder) / f"fit {first} {last}")

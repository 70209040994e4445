"""Whole genotype studies: the packed store beside a copy of the file, statistics beside PLINK, epochs in units of a plain read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from vnn.bench.genotypes import neighbouring_edges
from vnn.bench.records import Record, beside, record
from vnn.bench.rounds import Timing, take_turns
from vnn.chance import generator
from vnn.data.genotypes import Genotypes, Part, read_plink, variant_quality, write_plink, write_store
from vnn.kernels import PackedPeople
from vnn.kernels.packed import BYTES, PANEL
from vnn.kernels.people import mapped
from vnn.models import Recipe, VisibleNetwork
from vnn.ontology.topology import Level, Mask, Topology
from vnn.training.loop import Trainer
from vnn.training.problem import Problem
from vnn.training.settings import Training

VARIANTS, PEOPLE, GENES = 1_000_000, 5_000, 20_000
WIDE = (6_000_000, 1_000)
BATCH, MANY, EPOCHS = 256, 20, 5
SHARES = (0.25, 0.5, 1.0)
FILE = (200_000, 5_000)
OFTEN = 0.02  # seconds between two looks at memory
"""Sizes asked of a genotype study, and of the files that are copied and counted."""


def cohorts(
    *, variants: int = VARIANTS, people: int = PEOPLE, rounds: int = 5, wide: bool = True, folder: Path | None = None
) -> list[Record]:
    """Records of the store, of statistics, and of epochs at a quarter, a half and the whole of the size.

    Parameters
    ----------
    variants, people
        The whole size, in 20,000 genes.
    rounds
        How often store, copy and statistics take turns.
    wide
        Whether 6,000,000 variants of 1,000 people are trained as well.
    folder
        Where made-up files lie meanwhile, about a gigabyte; a temporary one unless given.
    """
    n_file = min(FILE[0], variants), min(FILE[1], people)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        found = [*_stores(Path(name), *n_file, rounds), *_statistics(Path(name), *n_file, rounds)]
    whole = _epoch(variants, people, 1, folder)
    for share in SHARES[:-1]:
        for v, p in ((round(share * variants), people), (variants, round(share * people))):
            one = _epoch(v, p, 1, folder)
            one["growth"] = whole["milliseconds"] / one["milliseconds"] * share
            found.append(one)
    many = _epoch(variants, min(people, 4 * BATCH), MANY, folder)
    single = _epoch(variants, min(people, 4 * BATCH), 1, folder)
    many["times_one"] = many["milliseconds"] / single["milliseconds"]
    found += [whole, many]
    if wide:
        found.append(_epoch(*WIDE, 1, folder))
    return found


def _stores(folder: Path, variants: int, people: int, rounds: int) -> list[Record]:
    bed = _random_files(folder, variants, people)
    genotypes = read_plink(bed)
    numbers = iter(range(2 * rounds + 2))

    def copied() -> None:
        shutil.copyfile(bed, folder / f"copy {next(numbers)}")
        os.sync()

    def written() -> None:
        write_store(genotypes, folder / f"store {next(numbers)}", seed=1)
        os.sync()

    times = take_turns({"ours": written, "copy": copied}, rounds)
    own = record(f"packed store of {variants:,} variants, {people:,} people", times["ours"], peak=None)
    for made in (*folder.glob("copy *"), *folder.glob("store *")):
        shutil.rmtree(made) if made.is_dir() else made.unlink()
    return [beside(own, "copying the .bed", times["copy"])]


def _statistics(folder: Path, variants: int, people: int, rounds: int) -> list[Record]:
    bed = _random_files(folder, variants, people)
    command = ["plink2", "--bfile", str(bed.with_suffix("")), "--freq", "--missing", "--hardy", "--threads",
               str(torch.get_num_threads()), "--out", str(folder / "plink")]  # fmt: skip

    def ours() -> None:
        genotypes = read_plink(bed)
        variant_quality(genotypes)
        genotypes.person_counts()

    calls: dict[str, Any] = {"ours": ours}
    if shutil.which("plink2") is not None:
        calls["plink2"] = lambda: subprocess.run(command, check=True, capture_output=True)
    times = take_turns(calls, rounds)
    own = record(
        f"frequencies, missing, Hardy-Weinberg of {variants:,} variants, {people:,} people", times["ours"], peak=None
    )
    return [beside(own, "plink2 --freq --missing --hardy", times["plink2"])] if "plink2" in times else [own]


def _random_files(folder: Path, variants: int, people: int) -> Path:
    """Genotypes at random with frequencies of their own and 1 % missing, as .bed, .bim and .fam."""
    bed = folder / "cohort.bed"
    if bed.exists():
        return bed
    rng = generator(0, "bench cohort")
    p = rng.uniform(0.05, 0.5, variants).astype(np.float32)
    rows = np.zeros((variants, -(-people // 4)), dtype=np.uint8)
    for at in range(0, variants, 4096):
        mine = p[at : at + 4096, None]
        copies = (rng.random((len(mine), people), dtype=np.float32) < mine).astype(np.uint8)
        copies += rng.random((len(mine), people), dtype=np.float32) < mine
        codes = np.where(rng.random((len(mine), people), dtype=np.float32) < 0.01, 1, np.array([3, 2, 0])[copies])
        padded = np.pad(codes, ((0, 0), (0, -people % 4))).reshape(len(mine), -1, 4)
        rows[at : at + 4096] = padded @ np.array([1, 4, 16, 64])
    ids = pd.Index([f"p{i}" for i in range(people)], dtype=object)
    table = pd.DataFrame(
        {"chromosome": "1", "position": np.arange(1, variants + 1), "counted": "A", "other": "G"},
        index=pd.Index([f"v{i}" for i in range(variants)], dtype=object),
    )
    known = pd.DataFrame({"family": ids, "father": "", "mother": "", "sex": "", "individual": ids}, index=ids)
    write_plink(Genotypes.of([Part(rows, np.arange(people))], table, known), bed.with_suffix(""))
    return bed


def _epoch(variants: int, people: int, replicates: int, folder: Path | None) -> Record:
    """Of a process of its own, which holds nothing else."""
    code = f"from {__name__} import one_study; import sys; one_study(*sys.argv[1:])"
    with tempfile.TemporaryDirectory(dir=folder) as name:
        asked = [sys.executable, "-c", code, str(variants), str(people), str(replicates), name]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"training {variants:,} variants of {people:,} people failed: {done.stderr[-500:]}")
    told = json.loads(done.stdout)
    seconds = np.array(told["seconds"])
    return record(
        f"epoch of {variants:,} variants, {people:,} people, {replicates} networks", Timing(seconds),
        peak=told["anonymous_bytes"], in_T=told["in_T"], T_milliseconds=told["T"] * 1e3, resident_bytes=told["resident_bytes"],
        first_milliseconds=told["first"] * 1e3,
    )  # fmt: skip


def one_study(variants: str, people: str, replicates: str, folder: str) -> None:
    """Train random genotypes for some epochs in this process, taking turns with T, and print the figures as JSON."""
    network, problem = random_study(int(variants), int(people), int(replicates), Path(folder) / "panels")
    trainer = Trainer(
        network, problem, Training(start="random", batch_size=BATCH, weight_decay=0, epochs=EPOCHS), seed=0
    )
    batch = torch.ones(int(variants), BATCH) if int(variants) <= VARIANTS else None
    seconds, reads = [], []
    with memory_watched() as seen:
        for _ in range(EPOCHS):
            if batch is not None:
                began = time.perf_counter()
                batch.sum()
                reads.append(time.perf_counter() - began)
            began = time.perf_counter()
            trainer._epoch()
            seconds.append(time.perf_counter() - began)
    n_batches = len(problem.batches(BATCH, seed=0, epoch=0))
    read = float(np.median(reads)) if reads else float("nan")
    held = 0 if batch is None else batch.numel() * 4
    told = {
        "seconds": seconds[1:], "first": seconds[0], "T": read, "in_T": float(np.median(seconds[1:])) / n_batches / read,
        "anonymous_bytes": max(seen["RssAnon"]) - held, "resident_bytes": max(seen["VmRSS"]) - held,
    }  # fmt: skip
    print(json.dumps(told))


def random_study(variants: int, people: int, replicates: int, file: Path) -> tuple[VisibleNetwork, Problem]:
    """Networks of variants, 20,000 genes or a fiftieth of the variants, and a prediction; random panels in `file`."""
    genes, n_panels = min(GENES, max(variants // 50, 1)), -(-people // PANEL)
    rng = generator(0, "bench panels", variants, people)
    with file.open("wb") as out:
        for _ in range(n_panels):
            out.write(rng.integers(0, 256, variants * BYTES, dtype=np.uint8).tobytes())
    names = tuple(f"v{i:07d}" for i in range(variants)), tuple(f"g{i:05d}" for i in range(genes))
    edges = neighbouring_edges(variants, genes, variants + variants // 10).pairs
    levels = Level("inputs", names[0]), Level("genes", names[1])
    topology = Topology(levels, (Mask("inputs", "genes", *names, edges),))
    network = VisibleNetwork(
        topology, Recipe(dropout=0, input_dropout=0), replicates=[str(i) for i in range(replicates)]
    )
    network.scaling.scale.fill_(1.3)
    network.scaling.shift.fill_(-0.9)
    network.scaling.fill.fill_(0.7)
    network.imputes = True
    book = torch.tensor([2.0, torch.nan, 1.0, 0.0]).expand(variants, 4).contiguous()
    places = PANEL * n_panels
    codes = mapped(file, (n_panels, variants, BYTES))
    held = PackedPeople(codes, book, np.arange(places), "random", file)
    weight = torch.zeros(replicates, places)
    weight[:, :people] = 1
    target = torch.from_numpy(rng.integers(0, 2, places))
    return network, Problem(held, None, target, "binary", weight, torch.zeros_like(weight), np.arange(people))


@contextmanager
def memory_watched() -> Iterator[dict[str, list[int]]]:
    """Bytes of memory by kind, looked at every 20 ms; anonymous memory has no file behind it."""
    seen: dict[str, list[int]] = {"RssAnon": [0], "VmRSS": [0]}
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            for row in Path("/proc/self/status").read_text().splitlines():
                name, _, value = row.partition(":")
                if name in seen:
                    seen[name].append(int(value.split()[0]) * 1024)
            done.wait(OFTEN)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()

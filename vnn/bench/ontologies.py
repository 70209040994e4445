"""From the files of an ontology to a wiring: time and memory at once, twice and four times the size of the Gene Ontology."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vnn.bench.records import Record, record
from vnn.bench.rounds import Timing
from vnn.chance import generator

TERMS, RELATIONS, ANNOTATIONS, GENES = 40_120, 77_921, 240_000, 20_000
DEPTH = 14
STEPS = ("read", "propagate", "topology")
GENOME_STEPS = ("topology", "network", "save", "load")


def ontologies(
    *, scales: Sequence[float] = (1, 2, 4), rounds: int = 3, files: tuple[Path, Path] | None = None
) -> list[Record]:
    """Records for reading OBO and GAF, propagating, and wiring 20,000 measured genes, each in a process of its own.

    Parameters
    ----------
    scales
        Sizes in terms of the Gene Ontology with its human annotations: 40,120 terms, 77,921 relations, 240,000 annotations.
    rounds
        How often each size is measured; the median counts.
    files
        An OBO and a GAF file to measure instead of made-up ones.

    Returns
    -------
    Records as those of `kernels`; peak_bytes is resident memory above that of the imported package, extras are the seconds of
    each step and the growth over the size before: time ratio over size ratio, 1 for linear.
    """
    found: list[Record] = []
    with tempfile.TemporaryDirectory() as name:
        for scale in (1.0,) if files else scales:
            obo, gaf = files or write_synthetic(Path(name), scale)
            made = [_alone("one", obo, gaf) for _ in range(rounds)]
            steps: dict[str, Any] = {step: float(np.median([one[step] for one in made])) for step in STEPS}
            total = np.array([sum(one[step] for step in STEPS) for one in made])
            case = f"ontology to wiring, {made[0]['terms']:,} terms, {made[0]['annotations']:,} annotations"
            own = record(
                case, Timing(total), peak=int(np.median([one["peak"] for one in made])), scale=scale, **steps,
                sizes=made[0]["sizes"],
            )  # fmt: skip
            found.append(_grown(own, found, "scale"))
    return found


def genomes(*, variants: Sequence[int], rounds: int = 3, scale: float = 1) -> list[Record]:
    """Records for wiring variants to 20,000 genes to the terms of a made-up ontology, each in a process of its own.

    Parameters
    ----------
    variants
        How many; a tenth of them lie in two genes.
    rounds
        How often each number is measured; the median counts.
    scale
        Size of the ontology in units of the Gene Ontology.

    Returns
    -------
    Records as those of `ontologies`: seconds of `Ontology.topology`, of making a network, of saving and loading the topology;
    peak_bytes is above what ontology and features take; growth is over the number of variants before.
    """
    found: list[Record] = []
    with tempfile.TemporaryDirectory() as name:
        obo, gaf = write_synthetic(Path(name), scale)
        for n in variants:
            made = [_alone("genome", obo, gaf, n) for _ in range(rounds)]
            steps: dict[str, Any] = {step: float(np.median([one[step] for one in made])) for step in GENOME_STEPS}
            own = record(
                f"{n:,} variants to genes to terms", Timing(np.array([sum(one[s] for s in GENOME_STEPS) for one in made])),
                peak=int(np.median([one["peak"] for one in made])), variants=n, **steps, sizes=made[0]["sizes"],
            )  # fmt: skip
            found.append(_grown(own, found, "variants"))
    return found


def write_synthetic(folder: Path, scale: float) -> tuple[Path, Path]:
    """An OBO and a GAF file of `scale` times the Gene Ontology: 14 levels, about 16 ancestors a term, unequal sizes.

    Returns
    -------
    The two files.
    """
    rng = generator(0, "bench ontology", round(1000 * scale))
    n_terms, n_relations, n_annotations = (round(scale * n) for n in (TERMS, RELATIONS, ANNOTATIONS))
    level = np.sort(1 + rng.binomial(DEPTH - 2, 0.42, n_terms))
    level[0] = 0
    level = np.unique(level, return_inverse=True)[1]
    start = np.searchsorted(level, np.arange(DEPTH + 1))
    child = np.concatenate(
        [np.arange(start[1], n_terms), rng.integers(start[1], n_terms, n_relations - n_terms + start[1])]
    )
    above = level[child]
    parent = start[above - 1] + (rng.random(len(child)) ** 6 * (start[above] - start[above - 1])).astype(np.int64)
    parents: list[list[int]] = [[] for _ in range(n_terms)]
    for c, p in zip(child.tolist(), parent.tolist(), strict=True):
        parents[c].append(p)
    lines = ["format-version: 1.2", "default-namespace: biological_process"]
    for at, own in enumerate(parents):
        lines += [
            "",
            "[Term]",
            f"id: GO:{at:07d}",
            f"name: term {at}",
            *(f"is_a: GO:{p:07d}" for p in sorted(set(own))),
        ]
    obo, gaf = folder / f"terms-{scale:g}.obo", folder / f"genes-{scale:g}.gaf"
    obo.write_text("\n".join(lines) + "\n")
    term = (rng.random(n_annotations) ** 1.7 * n_terms).astype(np.int64)[::-1]
    gene = (rng.random(n_annotations) ** 1.5 * GENES).astype(np.int64)
    rows = (
        f"UniProtKB\tP{g:05d}\tG{g}\t\tGO:{t:07d}\tPMID:1\tIDA\t\tP\t\t\tprotein\ttaxon:9606\t20260101\tvnn\t\t"
        for g, t in zip(gene.tolist(), term.tolist(), strict=True)
    )
    gaf.write_text("!gaf-version: 2.1\n" + "\n".join(rows) + "\n")
    return obo, gaf


def _alone(call: str, *asked: object) -> dict[str, Any]:
    """What a function of this module prints in a process of its own."""
    code = f"from {__name__} import {call}; import sys; {call}(*sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, *map(str, asked)], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _grown(own: Record, before: Sequence[Record], size: str) -> Record:
    """With the time ratio over the size ratio to the record before."""
    if not before:
        return own
    times = own["milliseconds"] / before[-1]["milliseconds"]
    return own | {"growth": times / (own[size] / before[-1][size])}


def _peak() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def one(obo: str, gaf: str) -> None:
    """Measure once, in this process, and print the figures as JSON."""
    import time

    from vnn.ontology import read_go

    before, times = _peak(), [time.perf_counter()]
    ontology = read_go(obo, gaf)
    times.append(time.perf_counter())
    ontology.propagate()
    times.append(time.perf_counter())
    genes = ontology.genes
    topology = ontology.topology([*genes, *(f"unknown {i}" for i in range(GENES - len(genes)))])
    times.append(time.perf_counter())
    steps = dict(zip(STEPS, np.diff(times).tolist(), strict=True))
    print(json.dumps(steps | {
        "peak": _peak() - before, "terms": len(ontology.terms), "annotations": len(ontology.annotations),
        "sizes": [len(level) for level in topology.levels],
    }))  # fmt: skip


def genome(obo: str, gaf: str, n: str) -> None:
    """Measure `n` variants once, in this process, and print the figures as JSON."""
    import time

    from vnn.models import VisibleNetwork
    from vnn.ontology import Topology, read_go

    ontology = read_go(obo, gaf)
    features = _in_genes(int(n), ontology.genes)
    before, times = _peak(), [time.perf_counter()]
    topology = ontology.topology(features, gene_level=True)
    times.append(time.perf_counter())
    VisibleNetwork(topology)
    times.append(time.perf_counter())
    kept = Path(obo).with_suffix(".npz")
    topology.save(kept)
    times.append(time.perf_counter())
    Topology.load(kept)
    times.append(time.perf_counter())
    steps = dict(zip(GENOME_STEPS, np.diff(times).tolist(), strict=True))
    print(json.dumps(steps | {"peak": _peak() - before, "sizes": [len(level) for level in topology.levels]}))


def _in_genes(n: int, genes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Variants spread over the genes in order, a tenth of them in the gene that follows too; ids in no order."""
    rng = generator(0, "bench genome", n)
    home, several = np.arange(n) * len(genes) // n, rng.random(n) < 0.1
    alone, pairs = [(gene,) for gene in genes], [tuple(genes[at : at + 2]) for at in range(len(genes))]
    ids = rng.permutation(n)
    rows = zip(ids.tolist(), home.tolist(), several.tolist(), strict=True)
    return {f"rs{i}": pairs[at] if two else alone[at] for i, at, two in rows}

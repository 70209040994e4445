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
            made = [_measured(obo, gaf) for _ in range(rounds)]
            steps: dict[str, Any] = {step: float(np.median([one[step] for one in made])) for step in STEPS}
            total = np.array([sum(one[step] for step in STEPS) for one in made])
            case = f"ontology to wiring, {made[0]['terms']:,} terms, {made[0]['annotations']:,} annotations"
            own = record(
                case, Timing(total), peak=int(np.median([one["peak"] for one in made])), scale=scale, **steps,
                sizes=made[0]["sizes"],
            )  # fmt: skip
            if found:
                times = own["milliseconds"] / found[-1]["milliseconds"]
                own["growth"] = times / (scale / found[-1]["scale"])
            found.append(own)
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


def _measured(obo: Path, gaf: Path) -> dict[str, Any]:
    code = f"from {__name__} import one; import sys; one(*sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, str(obo), str(gaf)], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def one(obo: str, gaf: str) -> None:
    """Measure once, in this process, and print the figures as JSON."""
    import resource
    import time

    from vnn.ontology import read_go

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    before, times = peak(), [time.perf_counter()]
    ontology = read_go(obo, gaf)
    times.append(time.perf_counter())
    ontology.propagate()
    times.append(time.perf_counter())
    genes = ontology.genes
    topology = ontology.topology([*genes, *(f"unknown {i}" for i in range(GENES - len(genes)))])
    times.append(time.perf_counter())
    steps = dict(zip(STEPS, np.diff(times).tolist(), strict=True))
    print(json.dumps(steps | {
        "peak": peak() - before, "terms": len(ontology.terms), "annotations": len(ontology.annotations),
        "sizes": [len(level) for level in topology.levels],
    }))  # fmt: skip

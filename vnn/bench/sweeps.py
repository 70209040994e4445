"""Attributions of every level in one sweep, beside Captum."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vnn.bench.memory import peak_bytes
from vnn.bench.records import Record, beside, record
from vnn.bench.rounds import take_turns
from vnn.chance import generator
from vnn.interpret.attribution import batches
from vnn.interpret.baseline import Baseline
from vnn.interpret.deeplift import DeepLift
from vnn.interpret.rivals import BatchFirst, captum_deeplift
from vnn.models import VisibleNetwork
from vnn.ontology import Topology

SAME = 1e-3


def attributions(
    *, samples: int = 1000, rounds: int = 3, topology: Path | None = None, dense: bool = True
) -> list[Record]:
    """DeepLIFT of the inputs and every level in one sweep beside Captum layer by layer, float32, one replicate.

    Captum runs on our own layers and, unless left out, on the dense twin; all three must give the same numbers.

    Parameters
    ----------
    samples
        People explained.
    rounds
        How often ours and every rival take turns.
    topology
        A saved topology; random gene sets in four levels of the size of Reactome unless given.
    dense
        Whether Captum on the dense twin takes part; it takes minutes.

    Returns
    -------
    Records as those of `kernels`.
    """
    wiring = _four_levels() if topology is None else Topology.load(topology)
    network = VisibleNetwork(wiring).eval()
    x = torch.from_numpy(generator(0, "bench values").standard_normal((samples, len(wiring.inputs)), dtype=np.float32))
    point, contrast = torch.zeros(1, len(wiring.inputs)), torch.ones(1)
    machine = DeepLift(network)
    reference = Baseline("zero", np.zeros((1, len(wiring.inputs), 1)), None)

    def ours() -> dict[str, Tensor]:
        found: dict[str, list[Tensor]] = {}
        for (comparison,), _ in batches(machine, x.T.contiguous(), None, reference):
            for level, values in machine.explain(comparison, contrast).levels.items():
                found.setdefault(level, []).append(values[:, 0, : comparison.n_samples].T)
        return {level: torch.cat(parts) for level, parts in found.items()}

    def captum(model: torch.nn.Module) -> Callable[[], dict[str, Tensor]]:
        return lambda: {level: captum_deeplift(model, level, x, point, None, contrast) for level in machine.order}

    calls: dict[str, Callable[[], Any]] = {"ours": ours, "Captum on our layers": captum(BatchFirst(network))}
    if dense:
        calls["Captum on the dense twin"] = captum(network.dense().eval())
    expected, largest = ours(), dict.fromkeys(calls, 0.0)
    for who, call in calls.items():
        found = call()
        for level, values in expected.items():
            largest[who] = max(largest[who], float((values - found[level]).abs().max() / values.abs().max()))
        if largest[who] > SAME:
            raise RuntimeError(f"{who} and ours differ by {largest[who]:.2g}; the comparison would mean nothing.")
    times = take_turns(calls, rounds)
    case = f"attributions of {len(machine.order)} levels, {len(wiring.inputs):,} inputs, {samples:,} samples"
    own = record(case, times.pop("ours"), peak=peak_bytes(ours))
    return [own] + [
        beside(own, who, timing, peak=peak_bytes(calls[who]), largest_difference=largest[who])
        for who, timing in times.items()
    ]


def _four_levels() -> Topology:
    """11,000 genes, 1,600 terms in four levels, 30,000 memberships."""
    rng = generator(0, "bench wiring")
    sizes = {"inputs": 11_000, "level 1": 1_000, "level 2": 400, "level 3": 150, "level 4": 50}
    names = {level: [f"{level} {i:05}" for i in range(n)] for level, n in sizes.items()}
    rows = []
    for below, above in itertools.pairwise(sizes):
        n = 30_000 if below == "inputs" else 2 * sizes[below]
        sources = np.concatenate([np.arange(sizes[below]), rng.integers(sizes[below], size=n - sizes[below])])
        targets = np.concatenate([np.arange(sizes[above]), rng.integers(sizes[above], size=n - sizes[above])])
        rows += [(below, names[below][s], above, names[above][t]) for s, t in zip(sources, targets, strict=True)]
    edges = pd.DataFrame(rows, columns=["source_level", "source", "target_level", "target"]).drop_duplicates()
    return Topology.from_edges(names, edges)

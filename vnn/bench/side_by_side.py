"""Replicates side by side beside the same replicates one after the other."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vnn._errors import culprits
from vnn.bench.memory import peak_bytes, size
from vnn.bench.plain import PlainNetwork, PlainStep
from vnn.bench.records import Record, beside, record
from vnn.bench.rivals import BATCH_MAJOR, DENSE
from vnn.bench.rounds import Timing, take_turns
from vnn.bench.steps import BATCHES_KEPT
from vnn.bench.wirings import pnet_sized
from vnn.chance import generator
from vnn.models import Recipe, VisibleNetwork
from vnn.ontology import Topology
from vnn.training import Training
from vnn.training.loop import Trainer
from vnn.training.problem import Problem

REACTOME_LEVELS = (20_000, 1_100, 600, 300, 100, 26)
REACTOME_EDGES = 45_200  # 41,000 of them from the genes
REPLICATES = (1, 2, 4, 8, 20, 60)
SEPARATE = "as many separate steps"
VARIANTS = {"default recipe": {}, "no input dropout": {"input_dropout": 0.0}}
LARGEST_DENSE = 2**26  # weights of a masked layer
CHECKED_STEPS = 2
WARM_STEPS = 2


def replicates(
    *,
    batch: int = 64,
    rounds: int = 7,
    replicates: Sequence[int] = REPLICATES,
    topology: Path | None = None,
    levels: Sequence[int] = REACTOME_LEVELS,
    n_edges: int = REACTOME_EDGES,
    dense: bool = True,
) -> list[Record]:
    """A training step of R replicates at once beside R separate steps of one replicate each, float32.

    All are ours and warm, take turns in one process and see the same batches; each separate one brings its own. The
    ratio of a record is the time of the separate steps over that of the one step, so that 2 means half the time.
    Before anything is measured, replicates together must have the bits they have alone after two steps.

    Parameters
    ----------
    batch
        Samples per step.
    rounds
        How often they take turns.
    replicates
        Numbers of replicates, each measured by itself.
    topology
        A saved topology without skips, instead of two of the size of Reactome with random edges: pathways on 20,000 genes, and the
        same above a level of one node per gene.
    levels, n_edges
        Nodes of every level, genes first, and edges in all of the first of these two.
    dense
        Whether R steps of masked dense layers in plain PyTorch take part. One such step is timed and multiplied by R.
        They are left out where a layer would hold more than 67 million weights.

    Returns
    -------
    Records as those of `kernels`: for every network, recipe and number of replicates one of ours, with its peak memory beside
    the sum of its parts in `memory_bytes`, one for the separate steps and one for the dense rival.

    Raises
    ------
    ValueError
        If `replicates` is empty or has a number below 1.
    RuntimeError
        If a replicate has other bits together than alone.
    """
    if not replicates or min(replicates) < 1:
        raise ValueError(
            f"`replicates` is {culprits(list(map(str, replicates))) or 'empty'}; "
            "it needs whole numbers from 1 on, such as 1, 2, 20."
        )
    made = []
    for what, wiring in _networks(topology, levels, n_edges).items():
        for variant, changes in VARIANTS.items():
            recipe = Recipe(**changes)  # type: ignore[arg-type]
            one = _dense_step(wiring, recipe, batch, rounds) if dense and _dense_fits(wiring) else None
            made += [
                row for n in replicates for row in _measure(wiring, recipe, f"{what}, {variant}", n, batch, rounds, one)
            ]
    return made


def _networks(topology: Path | None, levels: Sequence[int], n_edges: int) -> dict[str, Topology]:
    if topology is not None:
        wiring = Topology.load(topology)
        return {f"{len(wiring.inputs):,} inputs, {len(wiring.levels) - 1} levels": wiring}
    wiring = pnet_sized(levels, n_edges)
    name = f"{levels[0]:,} genes, {len(levels)} levels"
    return {name: wiring, f"{name} and one per gene": with_gene_level(wiring)}


def with_gene_level(topology: Topology) -> Topology:
    """The topology with one node for each input between the inputs and all that reads them."""
    below, genes = topology.levels[0], "genes"
    nodes = {below.name: below.nodes, genes: tuple(f"gene {name}" for name in below.nodes)}
    nodes |= {level.name: level.nodes for level in topology.levels[1:]}
    own = pd.DataFrame(
        {"source_level": below.name, "source": below.nodes, "target_level": genes, "target": nodes[genes]}
    )
    edges = topology.to_edges()[list(own.columns)].copy()
    first = edges["source_level"] == below.name
    edges.loc[first, "source"] = "gene " + edges.loc[first, "source"]
    edges.loc[first, "source_level"] = genes
    return Topology.from_edges(nodes, pd.concat([own, edges], ignore_index=True))


def _problem(n_in: int, n_samples: int, n_replicates: int) -> Problem:
    """People of whom every replicate learns from four fifths."""
    rng = generator(0, "bench people")
    inputs = torch.from_numpy(rng.standard_normal((n_in, n_samples), dtype=np.float32))
    target = torch.from_numpy(rng.integers(0, 2, n_samples))
    weight = torch.ones(n_replicates, n_samples)
    for r in range(n_replicates):
        weight[r, r % 5 :: 5] = 0
    return Problem(inputs, None, target, "binary", weight, torch.zeros_like(weight), np.arange(n_samples))


def _trainer(network: VisibleNetwork, problem: Problem, batch: int) -> Trainer:
    trainer = Trainer(network, problem, Training(batch_size=batch), seed=0)
    trainer._set_rates()
    return trainer


def _turn(batch: int) -> itertools.cycle[np.ndarray]:
    order = generator(0, "bench order").permutation(BATCHES_KEPT * batch)
    return itertools.cycle(np.sort(order.reshape(BATCHES_KEPT, batch)))


def _measure(
    topology: Topology, recipe: Recipe, name: str, n: int, batch: int, rounds: int, dense: Timing | None
) -> list[Record]:
    problem = _problem(len(topology.inputs), BATCHES_KEPT * batch, n)
    network = VisibleNetwork(topology, recipe, replicates=[str(r) for r in range(n)])
    held: list[Trainer] = []
    first = np.arange(batch)

    def begin() -> None:
        held.append(_trainer(network, problem, batch))
        held[0]._step(first)

    peak = peak_bytes(begin)
    together = held[0]
    alone = [_trainer(network.replicates([r]), problem.keep([r]), batch) for r in range(n)]
    check_bits(together, alone, batch)
    turns = {"ours": _turn(batch), SEPARATE: _turn(batch)}

    def ours() -> None:
        together._step(next(turns["ours"]))

    def separate() -> None:
        at = next(turns[SEPARATE])
        for one in alone:
            one._step(at)

    calls: dict[str, Callable[[], Any]] = {"ours": ours, SEPARATE: separate}
    take_turns(calls, WARM_STEPS)
    times = take_turns(calls, rounds)
    own = record(
        f"step of {n} replicates, {name}, batch {batch}", times["ours"], peak=peak, replicates=n,
        tiles=[len(tile.positions) for tile in together.tiles], memory_bytes=memory_parts(together, batch),
        bits_equal_after_steps=CHECKED_STEPS,
    )  # fmt: skip
    share = times["ours"].median / times[SEPARATE].median
    made = [own, beside(own, SEPARATE, times[SEPARATE], together_over_separate=share)]
    if dense is not None:
        many = Timing(dense.seconds * n)
        made.append(beside(own, f"{n} steps of {DENSE}", many, rival_measured="one step, multiplied"))
    return made


def check_bits(together: Trainer, alone: Sequence[Trainer], batch: int) -> None:
    """Bring everyone to the second step and compare every weight and statistic of every replicate.

    Raises
    ------
    RuntimeError
        If a bit differs.
    """
    batches = list(itertools.islice(_turn(batch), CHECKED_STEPS))
    for one in alone:
        one._step(np.arange(batch))
    for at in batches[together.step - 1 :][: CHECKED_STEPS - 1]:
        for one in (together, *alone):
            one._step(at)
    for tile in together.tiles:
        for name, values in tile.network.state_dict().items():
            for j, i in enumerate(tile.positions):
                if not torch.equal(values[..., j], alone[i].network.state_dict()[name][..., 0]):
                    raise RuntimeError(
                        f"after {CHECKED_STEPS} steps {name} of replicate {i} has other bits among "
                        f"{len(together.living)} than alone; the comparison would mean nothing."
                    )


def memory_parts(trainer: Trainer, batch: int) -> dict[str, int]:
    """What a trainer must hold beside the data, in bytes.

    Parameters
    ----------
    trainer
        Of any number of replicates, after a step.
    batch
        Samples of that step.

    Returns
    -------
    "weights": those of all replicates with the statistics of their normalisation and scaling, "best": the best of them,
    "optimiser": two moments of each parameter, "batch": the raw batch, "activations": what a step writes, one tile a thread.
    """
    programs = trainer._prepare()
    weights = sum(size(*tile.network.state_dict().values()) for tile in trainer.tiles)
    moments = sum(size(tile.optimiser.means, tile.optimiser.squares) for tile in trainer.tiles)
    return {
        "weights": weights,
        "best": weights,
        "optimiser": moments,
        "batch": len(trainer.problem.inputs) * batch * trainer.problem.inputs.dtype.itemsize,
        "activations": sum(space.n_bytes for space in programs._spaces),
    }


def _dense_fits(topology: Topology) -> bool:
    sizes = [len(level) for level in topology.levels]
    return max(below * above for below, above in itertools.pairwise(sizes)) <= LARGEST_DENSE


def _dense_step(topology: Topology, recipe: Recipe, batch: int, rounds: int) -> Timing:
    """One step of masked dense layers in plain PyTorch."""
    network, problem = VisibleNetwork(topology, recipe), _problem(len(topology.inputs), BATCHES_KEPT * batch, 1)
    assert isinstance(problem.inputs, Tensor)
    rival = PlainStep(
        PlainNetwork(network, DENSE, BATCH_MAJOR), problem.inputs, problem.target, Training(batch_size=batch)
    )
    turn = _turn(batch)

    def call() -> Tensor | float:
        return rival(torch.from_numpy(next(turn)))

    state = torch.get_rng_state()
    try:
        call()
        return take_turns({"dense": call}, rounds)["dense"]
    finally:
        torch.set_rng_state(state)

"""A whole training step of a visible network beside the same network in plain PyTorch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vnn.bench.memory import peak_bytes
from vnn.bench.parts import parts
from vnn.bench.plain import KINDS, PlainNetwork, PlainStep
from vnn.bench.records import Record, beside, record
from vnn.bench.rivals import DENSE
from vnn.bench.rounds import Call, furthest, take_turns
from vnn.bench.wirings import PNET_EDGES, PNET_LEVELS, pnet_sized
from vnn.chance import generator
from vnn.kernels import backend as use
from vnn.models import Recipe, VisibleNetwork
from vnn.ontology import Topology
from vnn.training import Training
from vnn.training.loop import Trainer
from vnn.training.problem import Problem

SAME = 1e-4
BATCHES_KEPT = 8
WHOLE, REST = "step", "everything else"
VARIANTS = {"batch-norm and dropout": {}, "neither": {"normalisation": "none", "dropout": 0.0, "input_dropout": 0.0}}


def step(
    *,
    batch: int = 64,
    rounds: int = 15,
    topology: Path | None = None,
    levels: Sequence[int] = PNET_LEVELS,
    n_edges: int = PNET_EDGES,
    dense: bool = True,
    profile: bool = False,
    backend: str | None = None,
) -> list[Record]:
    """A training step (batch, forward, loss, backward, optimiser) of a network of the size of P-NET, float32.

    Ours is the step every study takes. Rivals are the same network in plain PyTorch: gather and index_add in the
    better of both layouts, and dense weights behind masks, with AdamW of torch. Before anything is measured, loss and
    every gradient must be the same, without dropout, which draws in its own way in each.

    Parameters
    ----------
    batch
        Samples per step.
    rounds
        How often ours and every rival take turns.
    topology
        A saved topology without skips, instead of random edges.
    levels, n_edges
        Nodes of every level, genes first, and edges in all.
    dense
        Whether the dense rival takes part.
    profile
        Whether the parts of our step are measured too, each alone.
    backend
        Run ours on this backend.

    Returns
    -------
    Records as those of `kernels`, for the default recipe and for one with neither batch-norm nor dropout.
    """
    wiring = pnet_sized(levels, n_edges) if topology is None else Topology.load(topology)
    if backend is None:
        return [made for name in VARIANTS for made in _measure(wiring, name, batch, rounds, dense, profile)]
    with use(backend):
        return step(
            batch=batch, rounds=rounds, topology=topology, levels=levels, n_edges=n_edges, dense=dense, profile=profile
        )


def _measure(topology: Topology, variant: str, batch: int, rounds: int, dense: bool, profile: bool) -> list[Record]:
    recipe = Recipe(**VARIANTS[variant])  # type: ignore[arg-type]
    kinds = [(kind, layout) for kind, layout in KINDS if dense or kind != DENSE]
    problem = _problem(len(topology.inputs), BATCHES_KEPT * batch)
    distance = _check(topology, recipe, problem, kinds, batch)
    trainer = _trainer(topology, recipe, problem, batch)
    order = generator(0, "bench order").permutation(BATCHES_KEPT * batch)
    turn = itertools.cycle(np.sort(order.reshape(BATCHES_KEPT, batch)))

    def ours() -> None:
        trainer._step(next(turn))

    calls: dict[str, Call] = {"ours": ours}
    for kind, layout in kinds:
        assert isinstance(problem.inputs, torch.Tensor)
        rival = PlainStep(PlainNetwork(trainer.full, kind, layout), problem.inputs, problem.target, trainer.settings)
        calls[f"{kind}, {layout}"] = _in_turn(rival, batch)
    with _own_chance():
        for call in calls.values():
            call()
        times = take_turns(calls, rounds)
        peaks = {who: peak_bytes(call) for who, call in calls.items()}
    n_edges = sum(len(mask) for mask in topology.masks)
    own = record(
        f"step of {len(topology.inputs):,} genes, {len(topology.levels) - 1} levels, {n_edges:,} edges, batch {batch}, "
        f"{variant}",
        times["ours"],
        peak=peaks["ours"],
        parameters=sum(p.numel() for p in trainer.network.parameters()),
        largest_difference=distance,
    )
    if profile:
        own |= _profile(trainer, recipe, batch, rounds)
    made = [own]
    for kind in dict.fromkeys(kind for kind, _ in kinds):
        layouts = {layout: times[f"{kind}, {layout}"] for known, layout in kinds if known == kind}
        better = min(layouts, key=lambda layout: layouts[layout].median)
        made.append(
            beside(
                own, kind, layouts[better], peak=peaks[f"{kind}, {better}"], rival_layout=better,
                rival_layouts={layout: timing.median * 1e3 for layout, timing in layouts.items()},
            )
        )  # fmt: skip
    return made


@contextmanager
def _own_chance() -> Iterator[None]:
    """Torch's global generator, from which plain dropout draws, is left as it was."""
    state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(state)


def _problem(n_in: int, n_samples: int) -> Problem:
    rng = generator(0, "bench people")
    inputs = torch.from_numpy(rng.standard_normal((n_in, n_samples), dtype=np.float32))
    target = torch.from_numpy(rng.integers(0, 2, n_samples))
    weight = torch.ones(1, n_samples)
    return Problem(inputs, None, target, "binary", weight, torch.zeros_like(weight), np.arange(n_samples))


def _trainer(topology: Topology, recipe: Recipe, problem: Problem, batch: int) -> Trainer:
    trainer = Trainer(VisibleNetwork(topology, recipe), problem, Training(batch_size=batch), seed=0)
    trainer._set_rates()
    return trainer


def _in_turn(rival: PlainStep, batch: int) -> Callable[[], None]:
    order = torch.from_numpy(generator(0, "bench order").permutation(BATCHES_KEPT * batch))
    turn = itertools.cycle(order.split(batch))

    def call() -> None:
        rival(next(turn))

    return call


def _check(topology: Topology, recipe: Recipe, problem: Problem, kinds: Sequence[tuple[str, str]], batch: int) -> float:
    """The largest distance of a rival's loss or gradient from ours, dropout left out.

    Raises
    ------
    RuntimeError
        If it is too large.
    """
    trainer = _trainer(topology, recipe.model_copy(update={"dropout": 0.0, "input_dropout": 0.0}), problem, batch)
    loss, _ = trainer._step(np.arange(batch))
    mine = {name: p.grad[:, 0] for name, p in trainer.network.named_parameters() if p.grad is not None}
    largest = 0.0
    for kind, layout in kinds:
        plain = PlainNetwork(trainer.full, kind, layout)
        assert isinstance(problem.inputs, torch.Tensor)
        rival = PlainStep(plain, problem.inputs, problem.target, trainer.settings)
        pairs = {"the loss": (torch.from_numpy(loss), torch.tensor([rival(torch.arange(batch))]))}
        pairs |= {f"the gradient of {name}": (g, plain.gradients()[name]) for name, g in mine.items()}
        for what, (a, b) in pairs.items():
            distance = furthest(a, b)
            largest = max(largest, distance)
            if not distance <= SAME:
                raise RuntimeError(
                    f"{what} of {kind}, {layout}, and of ours differ by {distance:.2g}, more than {SAME:g}; "
                    "the comparison would mean nothing."
                )
    return largest


def _profile(trainer: Trainer, recipe: Recipe, batch: int, rounds: int) -> dict[str, Any]:
    """Each part of a step alone, and what a step costs whatever the size of the network."""
    n_levels = len(trainer.network.topology.levels)
    smallest = _trainer(pnet_sized([1] * n_levels, n_levels - 1), recipe, _problem(1, batch), batch)
    at = np.arange(batch)
    calls = parts(trainer, batch) | {WHOLE: lambda: trainer._step(at), "fixed": lambda: smallest._step(at)}
    times = {name: timing.median for name, timing in take_turns(calls, rounds).items()}
    whole, fixed = times.pop(WHOLE), times.pop("fixed")
    times[REST] = max(whole - sum(times.values()), 0.0)
    return {
        "parts_milliseconds": {name: seconds * 1e3 for name, seconds in times.items()},
        "shares": {name: seconds / whole for name, seconds in times.items()},
        "fixed_milliseconds": fixed * 1e3,
        "fixed_share": fixed / whole,
    }


def profile_lines(record: Record) -> list[str]:
    """Where the time of a step goes, from a record made with `profile`."""
    if record["rival"] is not None or "shares" not in record:
        return []
    rows = [
        f"    {name:<24} {record['parts_milliseconds'][name]:>8.2f} ms {share:>5.0%}"
        for name, share in record["shares"].items()
    ]
    return [
        *rows,
        f"    Python and calls, whatever the size: {record['fixed_milliseconds']:.2f} ms ({record['fixed_share']:.0%}), "
        "part of the rows above",
    ]

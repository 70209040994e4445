"""The sparse product of floats, forward and backward, beside its rivals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vnn.bench.memory import allowance, peak_bytes, size
from vnn.bench.records import Record, beside, record
from vnn.bench.rivals import Operands, Rival, rivals
from vnn.bench.rounds import READ, Call, plain_read, same, take_turns
from vnn.chance import generator
from vnn.kernels import Graph, sparse_product
from vnn.ontology import Topology

STANDARD = (20_000, 2_600, 120_000)
SAME = 1e-4


class Edges(NamedTuple):
    """The edges of a case, and its name."""

    pairs: np.ndarray
    n_in: int
    n_out: int
    name: str

    @property
    def graph(self) -> Graph:
        """Them as a graph."""
        return Graph(self.pairs, self.n_in, self.n_out)


def random_edges(n_in: int, n_out: int, n_edges: int) -> Edges:
    """Edges anywhere, each at most once."""
    if not 0 < n_edges <= n_in * n_out:
        raise ValueError(
            f"the size asks for {n_edges:,} edges between {n_in:,} sources and {n_out:,} targets; there can be "
            f"from 1 to {n_in * n_out:,}."
        )
    chosen = generator(0, "bench").choice(n_in * n_out, n_edges, replace=False)
    chosen.sort()
    name = f"{n_in:,} -> {n_out:,}, {n_edges:,} edges"
    return Edges(np.stack([chosen % n_in, chosen // n_in], axis=1), n_in, n_out, name)


def largest_mask(path: Path) -> Edges:
    """The mask with most edges of a saved topology."""
    mask = max(Topology.load(path).masks, key=len)
    n_in, n_out = len(mask.sources), len(mask.targets)
    name = f"{mask.source_level} -> {mask.target_level}, {n_in:,} -> {n_out:,}, {len(mask):,} edges"
    return Edges(mask.edges, n_in, n_out, name)


def standard(
    edges: Edges, *, batches: Sequence[int], replicates: int, rounds: int, dense: bool, read_bytes: int | None
) -> list[Record]:
    """Forward and backward (both gradients) through autograd, float32; rivals take the replicates one by one."""
    graph = edges.graph
    return [
        made for batch in batches for made in _measure(graph, edges.name, batch, replicates, rounds, dense, read_bytes)
    ]


def _measure(
    graph: Graph, name: str, batch: int, n: int, rounds: int, dense: bool, read_bytes: int | None
) -> list[Record]:
    rng = generator(0, "bench values", batch)

    def draw(*shape: int) -> Tensor:
        return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))

    weight, x, upstream = draw(graph.n_edges, n), draw(graph.n_in, n, batch), draw(graph.n_out, n, batch)
    weight.requires_grad_()
    x.requires_grad_()

    def ours() -> tuple[Tensor, ...]:
        y = sparse_product(x, weight, graph)
        return y.detach(), *torch.autograd.grad(y, (x, weight), upstream)

    results = ours()
    others: dict[tuple[str, str], list[Rival]] = {}
    for r in range(n):
        own = Operands(graph, x.detach()[:, r].contiguous(), weight.detach()[:, r].contiguous(), upstream[:, r])
        for rival in rivals(own, dense=dense):
            others.setdefault((rival.name, rival.layout), []).append(rival)
            same(rival.name, tuple(t[:, r] for t in results), rival.read(rival.call()), SAME)
    read, n_read = plain_read(read_bytes)
    calls: dict[str, Call] = {"ours": ours, READ: read}
    calls |= {", ".join(who): _one_by_one(them) for who, them in others.items()}
    times = take_turns(calls, rounds)
    index = [getattr(graph, held) for held in ("ptr", "src", "ptr_t", "tgt_t", "perm_t")]
    floor = {
        "x and its gradient": 2 * size(x),
        "y and its gradient": 2 * size(upstream),
        "weights and their gradient": 2 * size(weight),
        "indices": size(*index),
    }
    peak = peak_bytes(ours)
    case = f"{name}, batch {batch}, forward + backward" + (f", {n} replicates" if n > 1 else "")
    own_record = record(
        case,
        times["ours"],
        peak=peak,
        floor=floor,
        bandwidth=n_read / times[READ].median,
        **allowance(size(x, weight, upstream, *index), size(*results), peak),
        replicates=n,
    )
    made = [own_record]
    for who in dict.fromkeys(name for name, _ in others):
        layouts = {layout: times[f"{who}, {layout}"] for name, layout in others if name == who}
        better = min(layouts, key=lambda layout: layouts[layout].median)
        made.append(
            beside(
                own_record,
                who,
                layouts[better],
                peak=peak_bytes(calls[f"{who}, {better}"]),
                rival_layout=better,
                rival_layouts={layout: timing.median * 1e3 for layout, timing in layouts.items()},
            )
        )
    return made


def _one_by_one(them: Sequence[Rival]) -> Callable[[], None]:
    def call() -> None:
        for rival in them:
            rival.call()

    return call

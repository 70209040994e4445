"""Packed genotypes: products, gathers and whole steps, in units of reading the float32 batch once."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vnn.bench.memory import allowance, peak_bytes, size
from vnn.bench.products import SAME, Edges
from vnn.bench.records import Record, beside, record
from vnn.bench.rivals import CSR, GATHER, TORCH_SPARSE, Operands, csr_matrix
from vnn.bench.rounds import READ, Call, plain_read, same, take_turns
from vnn.chance import generator
from vnn.kernels import Graph, Packed, packed_product, sparse_product, torch_sparse
from vnn.kernels.packed import BYTES, CODES, PANEL
from vnn.kernels.panels import gather_panels, transposed
from vnn.training.optimiser import Optimiser

GENOTYPES = (1_000_000, 20_000, 1_100_000)
BATCHES_KEPT = 4
BLOCK = 2**16
T = "reading the float32 batch once"


def neighbouring_edges(n_variants: int, n_genes: int, n_edges: int) -> Edges:
    """Variants in the order of the genome, each in its gene; the edges beyond lead to the gene that follows."""
    variants = np.arange(n_variants)
    home = variants * n_genes // n_variants
    inner = np.flatnonzero(home < n_genes - 1)
    if not n_variants <= n_edges <= n_variants + len(inner):
        raise ValueError(
            f"the size asks for {n_edges:,} edges; {n_variants:,} variants, each in one or two of {n_genes:,} "
            f"neighbouring genes, have from {n_variants:,} to {n_variants + len(inner):,}."
        )
    shared = generator(0, "bench genes").choice(inner, n_edges - n_variants, replace=False)
    pairs = np.concatenate([np.stack([variants, home], 1), np.stack([shared, home[shared] + 1], 1)])
    ordered = pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]
    return Edges(ordered, n_variants, n_genes, f"{n_variants:,} -> {n_genes:,}, {n_edges:,} edges")


class Cohort:
    """Random codes of a few batches of people, in panels; every batch is other memory than the one before.

    Parameters
    ----------
    n_variants
        Variants.
    batch
        People of a batch.
    """

    def __init__(self, n_variants: int, batch: int) -> None:
        rng = generator(0, "bench genotypes", batch)
        self.batch, per_batch = batch, -(-batch // PANEL)
        n_panels = BATCHES_KEPT * per_batch
        self.store = torch.from_numpy(rng.integers(0, 256, (n_panels, n_variants, BYTES), dtype=np.uint8))
        self.codebook = torch.from_numpy(rng.standard_normal((n_variants, CODES), dtype=np.float32))
        order = torch.from_numpy(rng.permutation(n_panels))
        self.panels = list(order.split(per_batch))

    def packed(self, i: int) -> Packed:
        """The i-th batch, read in place."""
        return Packed(self.store, self.panels[i], self.codebook, self.batch)

    def values(self, i: int) -> Tensor:
        """The i-th batch as numbers, (n_variants, 1, batch)."""
        codes, panels, codebook, batch, _ = self.packed(i)
        x = torch.empty(len(codebook), 1, batch)
        for at in range(0, len(codebook), BLOCK):
            rows = slice(at, at + BLOCK)
            x[rows] = Packed(codes[:, rows], panels, codebook[rows], batch).values()
        return x

    def person_rows(self) -> Tensor:
        """The same people as rows of their own."""
        rows = torch.empty(PANEL * len(self.store), -(-self.store.shape[1] // CODES), dtype=torch.uint8)
        for i, panel in enumerate(self.store):
            transposed(panel, PANEL, out=rows[PANEL * i : PANEL * (i + 1)])
        return rows


class Work(NamedTuple):
    """One of our calls: what it is called, what it does, what it holds, gives, and must move.

    Parameters
    ----------
    name
        Its case.
    call
        Does it.
    held, outputs
        Bytes of inputs, weights and indices; bytes of results.
    floor
        Bytes that each array must cross memory once.
    """

    name: str
    call: Call
    held: int
    outputs: int
    floor: dict[str, int]


def genotypes(edges: Edges, *, batch: int, rounds: int, read_bytes: int | None) -> list[Record]:
    """Forward of floats; forward and gradients of packed genotypes; gather; whole steps; all taking turns with T."""
    graph = edges.graph
    cohort = Cohort(graph.n_in, batch)
    x = cohort.values(0)
    works = _works(graph, cohort, x)
    others = _float_rivals(graph, x, works["float32 forward"].call())
    read, n_read = plain_read(read_bytes)
    calls: dict[str, Call] = {T: x.sum, READ: read}
    calls |= {name: work.call for name, work in works.items()} | others
    times = take_turns(calls, rounds)
    made = []
    for name, work in works.items():
        peak = peak_bytes(work.call)
        own = record(
            f"{edges.name}, batch {batch}, {work.name}",
            times[name],
            peak=peak,
            floor=work.floor,
            bandwidth=n_read / times[READ].median,
            **allowance(work.held, work.outputs, peak),
            in_T=times[name].median / times[T].median,
            T_milliseconds=times[T].median * 1e3,
            T_noise=times[T].noise,
        )
        made.append(own)
        if name == "float32 forward":
            made += [beside(own, rival, times[rival], peak=peak_bytes(call)) for rival, call in others.items()]
    return made


def _works(graph: Graph, cohort: Cohort, x: Tensor) -> dict[str, Work]:
    rng = generator(0, "bench values", cohort.batch)
    codebook, batch = cohort.codebook, cohort.batch
    weight = torch.from_numpy(rng.standard_normal((graph.n_edges, 1), dtype=np.float32)).requires_grad_()
    bias = torch.zeros(graph.n_out, 1, requires_grad=True)
    upstream = torch.from_numpy(rng.standard_normal((graph.n_out, 1, batch), dtype=np.float32))
    forward_index, back_index = [graph.ptr, graph.src], [graph.ptr_t, graph.tgt_t, graph.perm_t]
    codes = cohort.store.shape[1] * BYTES * len(cohort.panels[0])
    code_book = {"codes": codes, "codebook": size(codebook)}

    def in_turn(what: Callable[[int], Any]) -> Call:
        turn = itertools.cycle(range(BATCHES_KEPT))
        return lambda: what(next(turn))

    def float_forward() -> Tensor:
        return sparse_product(x, weight.detach(), graph)

    def forward(i: int) -> Tensor:
        return packed_product(cohort.packed(i), weight.detach(), graph)

    same("packed forward", (float_forward(),), (forward(0),), SAME)
    held_open = [packed_product(cohort.packed(i), weight, graph) for i in range(BATCHES_KEPT)]

    def weight_gradient(i: int) -> tuple[Tensor, ...]:
        return torch.autograd.grad(held_open[i], weight, upstream, retain_graph=True)

    learnt = [cohort.packed(i)._replace(codebook=codebook.clone().requires_grad_()) for i in range(BATCHES_KEPT)]
    by_codebook = [packed_product(packed, weight.detach(), graph) for packed in learnt]

    def codebook_gradient(i: int) -> tuple[Tensor, ...]:
        return torch.autograd.grad(by_codebook[i], learnt[i].codebook, upstream, retain_graph=True)

    rows, gathered = cohort.person_rows(), torch.zeros_like(cohort.store[: len(cohort.panels[0])])
    n_people = len(rows)
    drawn = [np.sort(rng.choice(n_people, batch, replace=False)) for _ in range(BATCHES_KEPT)]
    for who in drawn:
        rng.shuffle(who)
    known = (PANEL * cohort.panels[0].numpy()[:, None] + np.arange(PANEL)).ravel()
    if not torch.equal(gather_panels(rows, known, graph.n_in, out=gathered), cohort.store[cohort.panels[0]]):
        raise RuntimeError("gathered panels are not those of the same people; their times would mean nothing.")
    places = torch.arange(len(gathered))

    def gather(i: int) -> Tensor:
        return gather_panels(rows, drawn[i], graph.n_in, out=gathered)

    learning = weight.detach().clone().requires_grad_()
    optimiser = Optimiser([learning, bias], "adam", torch.full((1,), 1e-3), torch.zeros(1))
    acting = torch.ones(1, dtype=torch.bool)

    def learn(packed: Packed) -> None:
        y = packed_product(packed, learning, graph, bias)
        learning.grad, bias.grad = torch.autograd.grad(y, (learning, bias), upstream)
        optimiser.step(acting)
        optimiser.zero_grad()

    def in_place(i: int) -> None:
        learn(cohort.packed(i))

    def at_random(i: int) -> None:
        learn(Packed(gather(i), places, codebook, batch))

    y, w, out = {"y": size(upstream)}, {"weights": size(weight)}, {"indices": size(*forward_index)}
    g, dw = {"gradient at y": size(upstream)}, {"gradient of the weights": size(weight)}
    moved = {"people's rows": batch * rows.shape[1], "gathered codes": codes}
    adam = {"moments, both": 2 * size(weight, bias), "biases": 2 * size(bias)}
    step_floor = code_book | y | g | w | dw | out | adam
    step_outputs = size(upstream, weight, bias)
    step_held = sum(step_floor.values()) - step_outputs
    known_works = [
        Work("float32 forward", float_forward, size(x, weight, *forward_index), size(upstream),
             {"x": size(x)} | y | w | out),
        Work("packed forward", in_turn(forward), codes + size(codebook, weight, *forward_index), size(upstream),
             code_book | y | w | out),
        Work("packed weight gradient", in_turn(weight_gradient),
             codes + size(codebook, upstream, *forward_index), size(weight), code_book | g | dw | out),
        Work("packed codebook gradient", in_turn(codebook_gradient),
             codes + size(weight, upstream, *back_index), size(codebook),
             {"codes": codes, "gradient of the codebook": size(codebook), "indices": size(*back_index)} | g | w),
        Work("gather of random people", in_turn(gather), sum(moved.values()), 0, moved),
        Work("whole packed step, panels in place", in_turn(in_place), step_held, step_outputs, step_floor),
        Work("whole packed step, exact-random gather", in_turn(at_random),
             step_held + sum(moved.values()), step_outputs, step_floor | moved),
    ]  # fmt: skip
    return {work.name: work for work in known_works}


def _float_rivals(graph: Graph, x: Tensor, expected: Tensor) -> dict[str, Call]:
    """The forward of floats as others compute it, feature-major, which is the better layout for all of them."""
    rng = generator(0, "bench values", x.shape[2])
    weight = torch.from_numpy(rng.standard_normal((graph.n_edges, 1), dtype=np.float32))[:, 0]
    columns = x[:, 0]
    target, source = Operands(graph, columns, weight, columns).pairs
    matrix = csr_matrix(graph.ptr.long(), source, weight, (graph.n_out, graph.n_in))
    calls: dict[str, Call] = {
        CSR: lambda: torch.sparse.mm(matrix, columns),
        GATHER: lambda: columns.new_zeros(graph.n_out, columns.shape[1]).index_add_(
            0, target, weight[:, None] * columns[source]
        ),
    }
    if torch_sparse.available():
        known = torch_sparse.to_torch_sparse(graph, weight[:, None])
        calls[TORCH_SPARSE] = lambda: torch_sparse.library().matmul(known, columns)
    for rival, call in calls.items():
        same(rival, (expected,), (call(),), SAME)
    return calls


def replicates_at_once(edges: Edges, *, batch: int, n: int, rounds: int, read_bytes: int | None) -> list[Record]:
    """Forward and weight gradient of n replicates in one packed call, beside n separate calls."""
    graph = edges.graph
    cohort = Cohort(graph.n_in, batch)
    rng = generator(0, "bench replicates", batch)
    weight = torch.from_numpy(rng.standard_normal((graph.n_edges, n), dtype=np.float32)).requires_grad_()
    upstream = torch.from_numpy(rng.standard_normal((graph.n_out, n, batch), dtype=np.float32))
    alone = [weight.detach()[:, [r]].contiguous().requires_grad_() for r in range(n)]
    back = [upstream[:, [r]].contiguous() for r in range(n)]

    def once(packed: Packed, weight: Tensor, upstream: Tensor) -> tuple[Tensor, ...]:
        y = packed_product(packed, weight, graph)
        return y.detach(), *torch.autograd.grad(y, weight, upstream)

    first, (y, dw) = cohort.packed(0), once(cohort.packed(0), weight, upstream)
    furthest = max(
        same(f"replicate {r} alone", (y[:, [r]], dw[:, [r]]), once(first, alone[r], back[r]), SAME) for r in range(n)
    )
    del y, dw
    turn, turn_alone = itertools.cycle(range(BATCHES_KEPT)), itertools.cycle(range(BATCHES_KEPT))

    def together() -> tuple[Tensor, ...]:
        return once(cohort.packed(next(turn)), weight, upstream)

    def separate() -> None:
        packed = cohort.packed(next(turn_alone))
        for r in range(n):
            once(packed, alone[r], back[r])

    read, n_read = plain_read(read_bytes)
    times = take_turns({"together": together, "separate": separate, READ: read}, rounds)
    index = size(graph.ptr, graph.src)
    floor = {
        "codes": cohort.store.shape[1] * BYTES * len(cohort.panels[0]),
        "codebook": size(cohort.codebook),
        "y and its gradient": 2 * size(upstream),
        "weights and their gradient": 2 * size(weight),
        "indices": index,
    }
    outputs, peak = size(upstream, weight), peak_bytes(together)
    own = record(
        f"{edges.name}, batch {batch}, packed forward + weight gradient, {n} replicates at once",
        times["together"],
        peak=peak,
        floor=floor,
        bandwidth=n_read / times[READ].median,
        **allowance(sum(floor.values()) - outputs, outputs, peak),
        replicates=n,
    )
    share = times["together"].median / times["separate"].median
    rival = f"{n} separate calls"
    return [
        own,
        beside(own, rival, times["separate"], peak=peak_bytes(separate), share=share, largest_difference=furthest),
    ]

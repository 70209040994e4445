"""The products that can be measured, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

from vnn._errors import choose
from vnn.bench.genotypes import GENOTYPES, genotypes, neighbouring_edges, replicates_at_once
from vnn.bench.products import STANDARD, Edges, largest_mask, random_edges, standard
from vnn.bench.records import Record
from vnn.kernels import backend as use

CASES: dict[str, tuple[Callable[[int, int, int], Edges], tuple[int, int, int], tuple[int, ...], int]] = {
    "standard": (random_edges, STANDARD, (64, 256), 1),
    "genotypes": (neighbouring_edges, GENOTYPES, (256,), 1),
    "replicates": (neighbouring_edges, GENOTYPES, (256,), 16),
}


def kernels(
    *,
    case: str = "standard",
    batches: Sequence[int] | None = None,
    replicates: int | None = None,
    rounds: int = 15,
    topology: Path | None = None,
    size: tuple[int, int, int] | None = None,
    dense: bool = True,
    backend: str | None = None,
    read_bytes: int | None = None,
) -> list[Record]:
    """The sparse product beside its rivals, which take turns with it in one process; float32.

    Parameters
    ----------
    case
        "standard": forward and backward (both gradients) of floats through autograd beside dense `W * mask`, COO, CSR,
        gather and index_add, each in the better of its layouts, and torch-sparse where it is installed.
        "genotypes": forward of floats, forward and gradients of packed genotypes, gather of random people and whole
        training steps, in T, the time in which the float32 batch is read once.
        "replicates": replicates at once, packed, beside as many separate calls.
    batches
        Samples per call; 64 and 256 for "standard", else 256.
    replicates
        Length of the replicate axis: 1 for "standard", 16 for "replicates".
    rounds
        How often ours and every rival take turns.
    topology
        Measure the largest mask of this saved topology.
    size
        Sources, targets and edges; 20,000, 2,600 and 120,000 at random for "standard", else 1,000,000 variants in
        20,000 genes with 1,100,000 edges along the genome.
    dense
        Whether the dense rival takes part; it is slow.
    backend
        Run ours on this backend.
    read_bytes
        How much memory a plain read reads, for tests; four times the last-level cache unless given.

    Returns
    -------
    Records with case, backend, milliseconds (ours, median), rival, ratio (rival's time over ours), floor_share (share of
    the memory floor), peak_bytes, noise (p75 / p25 of ours), and what else is needed to read them.
    """
    make, usual, known_batches, known_replicates = CASES[choose("the case", case, CASES)]
    if topology is not None and size is not None:
        raise ValueError("a topology and a size were given; one of them says what is measured, leave out the other.")
    n = known_replicates if replicates is None else replicates
    if case == "genotypes" and n != 1:
        raise ValueError(f"the case 'genotypes' was asked for with {n} replicates; the case 'replicates' has several.")
    batches = tuple(batches or known_batches)
    if n < 1 or rounds < 1 or min(batches) < 1:
        raise ValueError(
            f"{n} replicates, {rounds} rounds and batches of {batches} were asked for; all must be 1 at least."
        )
    edges = make(*(size or usual)) if topology is None else largest_mask(topology)
    with nullcontext() if backend is None else use(backend):
        if case == "standard":
            return standard(edges, batches=batches, replicates=n, rounds=rounds, dense=dense, read_bytes=read_bytes)
        found = []
        for batch in batches:
            if case == "genotypes":
                found += genotypes(edges, batch=batch, rounds=rounds, read_bytes=read_bytes)
            else:
                found += replicates_at_once(edges, batch=batch, n=n, rounds=rounds, read_bytes=read_bytes)
        return found

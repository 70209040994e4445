"""Measurements: speed as a ratio to rivals that take turns with us in one process, memory as a peak."""

from __future__ import annotations

import ctypes
import gc
import itertools
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vnn.chance import generator
from vnn.interpret.attribution import batches
from vnn.interpret.baseline import Baseline
from vnn.interpret.deeplift import DeepLift
from vnn.interpret.rivals import BatchFirst, captum_deeplift
from vnn.kernels import Graph, active_name, sparse_product
from vnn.models import VisibleNetwork
from vnn.ontology import Topology

Record = dict[str, Any]
STANDARD = (20_000, 2_600, 120_000)
NOISY = 1.3
SAME = 1e-3
BANDWIDTH_BYTES = 2**28


def kernels(
    *, batches: Sequence[int] = (64, 256), rounds: int = 15, topology: Path | None = None, dense: bool = True
) -> list[Record]:
    """The sparse product forward and backward (both gradients) beside its rivals, float32, one replicate.

    Parameters
    ----------
    batches
        Samples per call.
    rounds
        How often ours and every rival take turns.
    topology
        Measure the largest mask of this saved topology; by default random edges of the standard size
        (20,000 sources, 2,600 targets, 120,000 edges).
    dense
        Whether the dense rival takes part; it is slow.

    Returns
    -------
    A record per batch and rival: case, backend, milliseconds (ours, median), rival, ratio (rival's time over ours),
    floor_share (share of the memory floor), peak_bytes, noise (p75 / p25 of ours), and what else is needed to read them.
    """
    edges, n_in, n_out, name = _standard() if topology is None else _largest(topology)
    graph = Graph(edges, n_in, n_out)
    return [record for batch in batches for record in _measure(graph, name, batch, rounds, dense)]


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
        for (comparison,) in batches(machine, x.T.contiguous(), None, reference):
            for level, values in machine.explain(comparison, contrast).levels.items():
                found.setdefault(level, []).append(values[:, 0, : comparison.n_samples].T)
        return {level: torch.cat(parts) for level, parts in found.items()}

    def captum(model: torch.nn.Module) -> Callable[[], dict[str, Tensor]]:
        return lambda: {level: captum_deeplift(model, level, x, point, None, contrast) for level in machine.order}

    calls: dict[str, Callable[[], Any]] = {"ours": ours, "Captum on our layers": captum(BatchFirst(network))}
    if dense:
        calls["Captum on the dense twin"] = captum(network.dense().eval())
    expected = ours()
    seconds: dict[str, list[float]] = {who: [] for who in calls}
    furthest: dict[str, float] = dict.fromkeys(calls, 0.0)
    for _ in range(rounds):
        for who, call in calls.items():
            began = time.perf_counter()
            found = call()
            seconds[who].append(time.perf_counter() - began)
            for level, values in expected.items():
                scale = float(values.abs().max())
                furthest[who] = max(furthest[who], float((values - found[level]).abs().max()) / scale)
            if furthest[who] > SAME:
                raise RuntimeError(f"{who} and ours differ by {furthest[who]:.2g}; the comparison would mean nothing.")
    median = {who: float(np.median(times)) for who, times in seconds.items()}
    low, high = np.quantile(seconds["ours"], [0.25, 0.75])
    common = {
        "case": f"attributions of {len(machine.order)} levels, {len(wiring.inputs):,} inputs, {samples:,} samples",
        "backend": active_name(),
        "milliseconds": median["ours"] * 1e3,
        "floor_share": None,
        "peak_bytes": peak_bytes(ours),
        "noise": float(high / low),
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "openmp": _openmp(),
    }
    return [common | {"rival": None, "ratio": None}] + [
        common
        | {
            "rival": who,
            "ratio": median[who] / median["ours"],
            "rival_milliseconds": median[who] * 1e3,
            "rival_peak_bytes": peak_bytes(call),
            "largest_difference": furthest[who],
        }
        for who, call in calls.items()
        if who != "ours"
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


def line(record: Record) -> str:
    """A record as one line of text."""
    marked = "  (noisy)" if record["noise"] > NOISY else ""
    against = "" if record["rival"] is None else f"{record['ratio']:>7.1f}x faster than {record['rival']}"
    if record["rival"] is None:
        floor = "" if record["floor_share"] is None else f"{record['floor_share']:.0%} of the memory floor, "
        against = f"{floor}peak {record['peak_bytes'] / 1e6:.1f} MB"
    return f"{record['case']:<58} {record['milliseconds']:>8.2f} ms  {against}{marked}"


def _standard() -> tuple[np.ndarray, int, int, str]:
    n_in, n_out, n_edges = STANDARD
    chosen = generator(0, "bench").choice(n_in * n_out, n_edges, replace=False)
    chosen.sort()
    return np.stack([chosen % n_in, chosen // n_in], axis=1), n_in, n_out, f"{n_in:,} -> {n_out:,}, {n_edges:,} edges"


def _largest(path: Path) -> tuple[np.ndarray, int, int, str]:
    mask = max(Topology.load(path).masks, key=len)
    sizes = len(mask.sources), len(mask.targets)
    return (
        mask.edges,
        *sizes,
        f"{mask.source_level} -> {mask.target_level}, {sizes[0]:,} -> {sizes[1]:,}, {len(mask):,} edges",
    )


def _measure(graph: Graph, name: str, batch: int, rounds: int, dense: bool) -> list[Record]:
    rng = generator(0, "bench values", batch)

    def draw(*shape: int) -> Tensor:
        return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))

    weight, x, upstream = draw(graph.n_edges, 1), draw(graph.n_in, 1, batch), draw(graph.n_out, 1, batch)
    target = torch.repeat_interleave(torch.arange(graph.n_out), (graph.ptr[1:] - graph.ptr[:-1]).long())
    calls: dict[str, Callable[[], Any]] = {"ours": _ours(graph, x, weight, upstream)}
    calls |= _rivals(graph, target, x[:, 0], weight[:, 0], upstream[:, 0], dense)
    expected = [t.reshape(-1) for t in calls["ours"]()]
    for rival, call in calls.items():
        for mine, theirs in zip(expected, call(), strict=True):
            if not torch.allclose(mine, theirs.reshape(-1), rtol=1e-3, atol=1e-3):
                raise RuntimeError(f"{rival} and ours give different numbers; the comparison would mean nothing.")
    source = torch.ones(BANDWIDTH_BYTES // 4)
    calls["read"] = lambda: source.sum()
    seconds: dict[str, list[float]] = {who: [] for who in calls}
    for _ in range(rounds):
        for who, call in calls.items():
            began = time.perf_counter()
            call()
            seconds[who].append(time.perf_counter() - began)
    ours = float(np.median(seconds["ours"]))
    low, high = np.quantile(seconds["ours"], [0.25, 0.75])
    touched = 4 * (3 * x.numel() + 2 * upstream.numel() + 3 * weight.numel()) + 8 * graph.n_edges
    bandwidth = BANDWIDTH_BYTES / float(np.median(seconds["read"]))
    common = {
        "case": f"{name}, batch {batch}, forward + backward",
        "backend": active_name(),
        "milliseconds": ours * 1e3,
        "floor_share": touched / bandwidth / ours,
        "peak_bytes": peak_bytes(calls["ours"]),
        "noise": float(high / low),
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "bandwidth_gb_s": bandwidth / 1e9,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "openmp": _openmp(),
    }
    rivals = [who for who in calls if who not in ("ours", "read")]
    return [common | {"rival": None, "ratio": None}] + [
        common
        | {
            "rival": who,
            "ratio": float(np.median(seconds[who])) / ours,
            "rival_milliseconds": float(np.median(seconds[who])) * 1e3,
            "rival_peak_bytes": peak_bytes(calls[who]),
        }
        for who in rivals
    ]


def _ours(graph: Graph, x: Tensor, weight: Tensor, upstream: Tensor) -> Callable[[], tuple[Tensor, ...]]:
    x, weight = x.requires_grad_(), weight.requires_grad_()

    def call() -> tuple[Tensor, ...]:
        y = sparse_product(x, weight, graph)
        return (y.detach(), *torch.autograd.grad(y, (x, weight), upstream))

    return call


def _rivals(
    graph: Graph, target: Tensor, x: Tensor, weight: Tensor, upstream: Tensor, dense: bool
) -> dict[str, Callable[[], tuple[Tensor, ...]]]:
    """Every rival as a call that returns y, the gradient of x and the gradient of the edge weights, feature-major."""
    source, n_out = graph.src.long(), graph.n_out
    x, weight = x.detach().clone().requires_grad_(), weight.detach().clone().requires_grad_()
    by_sample, upstream_by_sample = x.detach().T.contiguous().requires_grad_(), upstream.T.contiguous()

    def gather_feature_major() -> tuple[Tensor, ...]:
        y = x.new_zeros(n_out, x.shape[1]).index_add(0, target, weight[:, None] * x[source])
        return (y.detach(), *torch.autograd.grad(y, (x, weight), upstream))

    def gather_batch_major() -> tuple[Tensor, ...]:
        y = by_sample.new_zeros(len(by_sample), n_out).index_add(1, target, weight * by_sample[:, source])
        grads = torch.autograd.grad(y, (by_sample, weight), upstream_by_sample)
        return y.detach().T, grads[0].T, grads[1]

    def coo() -> tuple[Tensor, ...]:
        with torch.sparse.check_sparse_tensor_invariants(False):
            matrix = torch.sparse_coo_tensor(torch.stack([target, source]), weight, (n_out, len(x)), is_coalesced=True)
        y = torch.sparse.mm(matrix, x)
        return (y.detach(), *torch.autograd.grad(y, (x, weight), upstream))

    pointer = graph.ptr.long()

    def csr() -> tuple[Tensor, ...]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
            matrix = torch.sparse_csr_tensor(pointer, source, weight, (n_out, len(x)))
        y = torch.sparse.mm(matrix, x)
        return (y.detach(), *torch.autograd.grad(y, (x, weight), upstream))

    rivals = {
        "gather + index_add, feature-major": gather_feature_major,
        "gather + index_add, batch-major": gather_batch_major,
        "torch.sparse COO": coo,
        "torch.sparse CSR": csr,
    }
    if dense:
        mask = torch.zeros(n_out, len(x))
        mask[target, source] = 1
        full = torch.zeros(n_out, len(x))
        full[target, source] = weight.detach()
        full.requires_grad_()

        def masked() -> tuple[Tensor, ...]:
            y = (full * mask) @ x
            grads = torch.autograd.grad(y, (x, full), upstream)
            return y.detach(), grads[0], grads[1][target, source]

        rivals["dense W * mask"] = masked
    return rivals


def peak_bytes(call: Callable[[], Any]) -> int | None:
    """Memory a call needs at most above what is held before it; None where the system does not tell."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not status.exists():
        return None

    def field(name: str) -> int:
        return next(int(row.split()[1]) * 1024 for row in status.read_text().splitlines() if row.startswith(name))

    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        reset.write_text("5")
    except (OSError, AttributeError):
        return None
    before = field("VmRSS")
    call()
    return max(field("VmHWM") - before, 0)


def _openmp() -> list[str]:
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return []
    rows = maps.read_text().splitlines()
    return sorted({Path(row.split()[-1]).name for row in rows if "omp" in row.rsplit("/", 1)[-1] and ".so" in row})

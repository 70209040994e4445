"""What `make gpu` runs: the tests that need a GPU, compute-sanitizer on a small case, and measurements.

Everything is written to one Markdown file, `gpu-<device>.md`, with the date, the device and the versions.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vnn.chance import generator
from vnn.kernels import cuda
from vnn.kernels.graph import Graph
from vnn.kernels.packed import Packed

VARIANTS, NODES, EDGES, BATCH = 1_000_000, 20_000, 1_100_000, 256
TESTS_SECONDS, SANITIZER_SECONDS = 180, 60
ROUNDS = 20


class Measurement(NamedTuple):
    """One case: its median time, the bytes that must cross memory once, and the noise (p75 / p25)."""

    case: str
    milliseconds: float
    bytes: int
    noise: float


def genes(n_variants: int, n_nodes: int, n_edges: int) -> Graph:
    """Variants in order along genes of uneven length; those beyond one edge each fall on two genes."""
    rng = generator(0, "bench edges on a GPU")
    share = rng.pareto(1.5, n_nodes) + 0.2
    target = np.repeat(np.arange(n_nodes), rng.multinomial(n_variants, share / share.sum()))
    again = np.sort(rng.choice(n_variants, n_edges - n_variants, replace=False))
    target = np.concatenate([target, (target[again] + 1) % n_nodes])
    source = np.concatenate([np.arange(n_variants), again])
    order = np.lexsort((source, target))
    return Graph(np.stack([source, target], 1)[order], n_variants, n_nodes)


def small() -> None:
    """Every kernel once on a small case, for compute-sanitizer."""
    graph = genes(3000, 40, 3300).to("cuda")
    for replicates in (1, 5):
        step = _step(graph, replicates, 150)
        step()
        for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
            x = _normal(graph.n_in, 1, 150).to(dtype)
            weight = _normal(graph.n_weights, replicates).to(torch.float64 if dtype == torch.float64 else torch.float32)
            y = cuda.product(x, weight, None, None, graph.wiring, transposed=False, shared=False)
            cuda.product(y, weight, None, None, graph.wiring, transposed=True, shared=True)
            cuda.edge_product(y, x, graph.wiring)
            cuda.row_sum(y)
    torch.cuda.synchronize()


def bandwidth() -> float:
    """Bytes a second of a copy, read and written, far larger than the caches."""
    source = torch.empty(2**30, dtype=torch.float32, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.nbytes / (timed("copy", lambda: target.copy_(source), 0).milliseconds / 1000)


def timed(case: str, call: Callable[[], object], n_bytes: int) -> Measurement:
    """Median over rounds, the caches filled with something else before each."""
    flush = torch.empty(2**26, dtype=torch.float32, device="cuda")
    for _ in range(3):
        call()
    times = []
    for _ in range(ROUNDS):
        flush.zero_()
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        call()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    low, middle, high = np.percentile(times, [25, 50, 75])
    return Measurement(case, float(middle), n_bytes, float(high / low))


def measurements() -> list[Measurement]:
    """The cases of the table in docs/kernels.md."""
    graph = genes(VARIANTS, NODES, EDGES).to("cuda")
    found = []
    x, weight = _normal(VARIANTS, 1, BATCH), _normal(EDGES, 1)
    g = _normal(NODES, 1, BATCH)
    index, matrix, rows = 8 * EDGES, 4 * VARIANTS * BATCH, 4 * NODES * BATCH
    flags = {"transposed": False, "shared": False}
    found.append(
        timed(
            "float32 forward", lambda: cuda.product(x, weight, None, None, graph.wiring, **flags), matrix + rows + index
        )
    )
    found.append(
        timed(
            "float32 gradient of x",
            lambda: cuda.product(g, weight, None, None, graph.wiring, transposed=True, shared=False),
            matrix + rows + index + 4 * EDGES,
        )
    )
    found.append(
        timed("float32 gradient of w", lambda: cuda.edge_product(g, x, graph.wiring), matrix + rows + index + 4 * EDGES)
    )
    del x
    packed = _batch(VARIANTS, BATCH, BATCH // 64)
    codes = VARIANTS * BATCH // 4 + 16 * VARIANTS
    for replicates in (1, 16, 60):
        for tensor_cores in (False, True) if replicates > 1 else (False,):
            cuda.tensor_cores(tensor_cores)
            found += _packed_cases(graph, packed, replicates, codes)
        cuda.tensor_cores(False)
    step = _step(graph, 1, BATCH)
    step()
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        step()
    n_bytes = 2 * codes + 4 * EDGES * 10 + 3 * 4 * NODES * BATCH
    found.append(timed("packed step (forward, gradient of w, Adam), one CUDA graph", captured.replay, n_bytes))
    return found


def _packed_cases(graph: Graph, packed: Packed, replicates: int, codes: int) -> list[Measurement]:
    weight, g = _normal(EDGES, replicates), _normal(NODES, replicates, BATCH)
    n_bytes = codes + 4 * EDGES * (1 + replicates) + g.nbytes
    name = f"{replicates} replicates{', tensor cores' if cuda.tensor_cores() else ''}"

    def forward() -> Tensor:
        return cuda.packed_product(packed, weight, None, None, graph.wiring)

    def by_weight() -> Tensor:
        return cuda.packed_edge_product(g, packed, graph.wiring)

    return [
        timed(f"packed forward, {name}", forward, n_bytes),
        timed(f"packed gradient of w, {name}", by_weight, n_bytes),
    ]


def epoch() -> str:
    """The packed step over as many people as fit half of the memory, scaled to 500,000 of them."""
    free = torch.cuda.mem_get_info()[0] // 2
    n_panels = max(BATCH // 64, int(free / (VARIANTS * 16)) // 4 * 4)
    graph = genes(VARIANTS, NODES, EDGES).to("cuda")
    step = _step(graph, 1, BATCH, n_panels)
    step()
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for at in range(0, n_panels, BATCH // 64):
        step(at)
    end.record()
    end.synchronize()
    seconds = begin.elapsed_time(end) / 1000
    people = n_panels * 64
    return (
        f"An epoch: {people:,} people x {VARIANTS:,} variants of random codes took {seconds:.3f} s in steps of {BATCH}; "
        f"500,000 people would take {seconds * 500_000 / people:.3f} s."
    )


def _normal(*shape: int) -> Tensor:
    return torch.empty(shape, device="cuda").normal_(generator=torch.Generator("cuda"))


def _batch(n_variants: int, batch: int, n_panels: int) -> Packed:
    codes_of = torch.Generator("cuda")
    codes = torch.empty(n_panels, n_variants, 16, dtype=torch.uint8, device="cuda")
    for panel in codes:
        panel.random_(0, 256, generator=codes_of)
    panels = torch.arange(-(-batch // 64), device="cuda")
    return Packed(codes, panels, _normal(n_variants, 4), batch)


def _step(graph: Graph, replicates: int, batch: int, n_panels: int | None = None) -> Callable[..., None]:
    """Forward, gradient of the weights and Adam of one packed layer; the signal is its own gradient."""
    packed = _batch(graph.n_in, batch, n_panels or -(-batch // 64))
    weight = _normal(graph.n_weights, replicates)
    mean, square = torch.zeros_like(weight), torch.zeros_like(weight)
    per = {n: torch.full((replicates,), 0.01, device="cuda") for n in ("lr", "decay", "correction1", "correction2")}
    active = torch.ones(replicates, dtype=torch.bool, device="cuda")

    def step(first: int = 0) -> None:
        chosen = packed if first == 0 else packed._replace(panels=packed.panels + first)
        y = cuda.packed_product(chosen, weight, None, None, graph.wiring)
        grad = cuda.packed_edge_product(y, chosen, graph.wiring)
        cuda.adam(weight, grad, mean, square, **per, active=active, beta1=0.9, beta2=0.999, eps=1e-8, decoupled=True)

    return step


def report(folder: Path) -> int:
    """Run everything, write the page, and say by the exit status whether all went well."""
    folder.mkdir(parents=True, exist_ok=True)
    device = torch.cuda.get_device_name()
    page = [
        f"# Kernels on one {device}",
        "",
        f"{date.today():%Y-%m-%d}; {cuda.describe()}; torch {torch.__version__}, CUDA {torch.version.cuda}; driver {_driver()}.",
        "",
    ]
    status = 0
    tests = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/kernels"]
    status |= _part(page, "Tests", tests, TESTS_SECONDS)
    checker = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    for tool in ("memcheck", "racecheck"):
        if checker is None:
            page += [f"## {tool}", "", "Not run: compute-sanitizer is not on the path.", ""]
            continue
        command = [
            checker,
            "--tool",
            tool,
            "--error-exitcode",
            "1",
            sys.executable,
            "-m",
            "vnn.kernels.cuda.measure",
            "--small",
        ]
        status |= _part(page, tool, command, SANITIZER_SECONDS)
    floor = bandwidth()
    page += [
        "## Times",
        "",
        f"A copy of 4 GiB reads and writes {floor / 1e12:.2f} TB/s; the floor is each array once at that rate.",
        "",
    ]
    page += ["| case | ms | floor, ms | share of the floor | noise |", "| --- | --- | --- | --- | --- |"]
    for m in measurements():
        least = m.bytes / floor * 1000
        page.append(f"| {m.case} | {m.milliseconds:.3f} | {least:.3f} | {least / m.milliseconds:.0%} | {m.noise:.2f} |")
    page += ["", epoch(), "", f"Largest memory: {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB.", ""]
    target = folder / f"gpu-{re.sub(r'[^a-z0-9]+', '-', device.lower()).strip('-')}.md"
    target.write_text("\n".join(page))
    sys.stdout.write("\n".join([*page, f"Written to {target}."]) + "\n")
    return status


def _part(page: list[str], title: str, command: list[str], seconds: int) -> int:
    try:
        environment = {**os.environ, **({"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"} if "--tool" in command else {})}
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, env=environment, check=False)
        status, text = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired as error:
        so_far = error.stdout.decode(errors="replace") if isinstance(error.stdout, bytes) else error.stdout or ""
        status, text = 1, f"{so_far}\nstopped after {seconds} s"
    lines = text.strip().splitlines()
    page += [
        f"## {title}: {'passed' if status == 0 else 'FAILED'}",
        "",
        "```text",
        *lines[-(3 if status == 0 else 60) :],
        "```",
        "",
    ]
    return int(status != 0)


def _driver() -> str:
    try:
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown"


def main() -> int:
    """The command line of `python -m vnn.kernels.cuda.measure`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "build/gpu")), help="folder of the page")
    parser.add_argument("--small", action="store_true", help="every kernel once, small, and nothing else")
    given = parser.parse_args()
    if reason := cuda.why_not():
        sys.stderr.write(f"The GPU kernels cannot run here: {reason}.\n")
        return 2
    if given.small:
        small()
        return 0
    return report(given.out)


if __name__ == "__main__":
    sys.exit(main())

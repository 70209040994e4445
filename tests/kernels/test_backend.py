"""Which backend runs, and what is said when it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vnn._errors import KernelError
from vnn.kernels import active_name, backend, cpu, describe
from vnn.kernels.backend import active

FORK = """
import os, torch, numpy as np
from vnn.kernels import Graph, sparse_product
torch.set_num_threads(2)
graph = Graph(np.array([[i, 0] for i in range(2000)]), 2000, 1)
x, w = torch.ones(2000, 1, 256), torch.ones(2000, 1)
sparse_product(x, w, graph)
child = os.fork()
if child == 0:
    ok = bool((sparse_product(x, w, graph) == 2000).all())
    os._exit(0 if ok else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": ":".join(sys.path)} | environment
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)


def test_an_override_holds_inside_its_block_only() -> None:
    before = active_name()
    with backend("reference"):
        assert active_name() == "reference"
    assert active_name() == before


def test_an_unknown_backend_lists_the_known() -> None:
    with (
        pytest.raises(ValueError, match=r"'referense'; known are 'reference', 'cpu', .*Did you mean 'reference'"),
        backend("referense"),
    ):
        pass
    found = run("import torch; from vnn.kernels.backend import active; active(torch.device('cpu'))", VNN_BACKEND="gpu")
    assert "VNN_BACKEND is 'gpu'" in found.stderr


def test_the_cpu_kernels_refuse_another_device() -> None:
    with backend("cpu"), pytest.raises(KernelError, match="meta"):
        active(torch.device("meta"))


def test_describe_tells_what_is_in_use() -> None:
    states = {record["backend"]: record["state"] for record in describe()}
    assert list(states.values()).count("in use") == 1
    with backend("reference"):
        assert describe()[0]["state"] == "in use"


@pytest.mark.compiler
def test_an_unknown_instruction_set_is_refused() -> None:
    with pytest.raises(KernelError, match="no 'neon9' kernels"):
        cpu.choose_simd("neon9")


def test_a_library_that_does_not_load_is_an_error_with_its_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "libvnn_cpu.so"
    broken.write_bytes(b"not a library")
    monkeypatch.setattr(cpu, "library_path", lambda: broken)
    cpu.library.cache_clear()
    try:
        with pytest.raises(KernelError, match="cannot be loaded"):
            cpu.library()
        assert describe()[1]["state"] == "broken"
    finally:
        cpu.library.cache_clear()


def test_a_missing_library_is_told_once_and_the_reference_runs(tmp_path: Path) -> None:
    code = (
        "import warnings, numpy as np, torch; from vnn.kernels import cpu, Graph, sparse_product\n"
        "cpu.library_path = lambda: None\n"
        "graph = Graph(np.array([[0, 0]]), 1, 1)\n"
        "with warnings.catch_warnings(record=True) as told:\n"
        "    warnings.simplefilter('always')\n"
        "    for _ in range(3): print(sparse_product(torch.ones(1, 1, 1), torch.ones(1, 1), graph).item())\n"
        "print(len(told), 'not built' in str(told[0].message))"
    )
    found = run(code, VNN_BACKEND="")
    assert found.stdout.split() == ["1.0", "1.0", "1.0", "1", "True"], found.stderr


@pytest.mark.compiler
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_one_openmp_runtime_serves_torch_and_the_kernels() -> None:
    found = run(
        "import numpy as np, torch; from vnn.kernels import Graph, sparse_product\n"
        "sparse_product(torch.ones(1, 1, 1), torch.ones(1, 1), Graph(np.array([[0, 0]]), 1, 1))\n"
        "rows = open('/proc/self/maps').read().splitlines()\n"
        "print(len({r.split()[-1] for r in rows if 'libgomp' in r or 'libiomp' in r}))"
    )
    assert found.stdout.strip() in ("0", "1"), found.stderr


@pytest.mark.compiler
def test_a_forked_child_computes() -> None:
    found = run(FORK)
    assert found.stdout.strip() == "0", found.stderr

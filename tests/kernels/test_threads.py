"""Threads, processes and OpenMP runtimes beside the kernels: no hang, and no more threads than were asked for.

Torch itself hangs in a forked child where its own OpenMP loops run before `torch.set_num_threads(1)`; a child calls
the kernels alone here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.compiler

COMMON = """
import faulthandler, os, sys, threading
faulthandler.dump_traceback_later(40, exit=True)
import numpy as np, torch
from vnn.kernels import Graph, Packed, cpu, packed_product, sparse_product
torch.set_num_threads(2)
rng = np.random.default_rng(0)
edges = np.array([(s, t) for t in range(64) for s in range(t % 7, 800, 7)])
graph = Graph(edges, 800, 64)
x = torch.from_numpy(rng.standard_normal((800, 1, 256))).float().requires_grad_()
w = torch.from_numpy(rng.standard_normal((len(edges), 1))).float().requires_grad_()
codes = torch.from_numpy(rng.integers(0, 256, (4, 800, 16), dtype=np.uint8))
packed = Packed(codes, torch.arange(4), torch.from_numpy(rng.standard_normal((800, 4))).float(), 256)
def step():
    y = sparse_product(x, w, graph)
    z = packed_product(packed, w, graph)
    return [y.detach(), z.detach(), *torch.autograd.grad((y * z).sum(), (x, w))]
def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other))
def kernels():
    with torch.no_grad():
        wiring = graph.wiring
        y = cpu.product(x.detach(), w.detach(), None, None, wiring, transposed=False, shared=False)
        z = cpu.packed_product(packed, w.detach(), None, None, wiring)
        return [t.numpy().tobytes() for t in (y, z, *cpu.backward(z, x.detach(), w.detach(), wiring),
                cpu.packed_edge_product(y, packed, wiring), cpu.packed_codebook(y, w.detach(), packed, wiring))]
def n_threads():
    return len(os.listdir("/proc/self/task")) if os.path.exists("/proc/self/task") else 0
assert len(edges) * 256 > 65536
truth, values = step(), kernels()
"""


def run(code: str, *, timeout: int = 60, **environment: str) -> str:
    """What the program prints; it must end by itself, with 0."""
    env = os.environ | {"PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "2"} | environment
    program = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", COMMON + code],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        out, said = program.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(program.pid, signal.SIGKILL)  # its children too
        out, said = program.communicate()
    assert program.returncode == 0, out + said
    return out.strip()


def test_a_forked_child_uses_one_thread_and_has_the_same_bits() -> None:
    code = """
import multiprocessing
def work(queue):
    before = n_threads()
    ok = kernels() == values
    queue.put((ok, cpu.threads_for(10**9), n_threads() - before))
fork = multiprocessing.get_context("fork")
queue = fork.Queue()
children = [fork.Process(target=work, args=(queue,)) for _ in range(3)]
for child in children: child.start()
found = [queue.get(timeout=40) for _ in children]
for child in children: child.join(20)
assert all(ok and asked == 1 for ok, asked, _ in found), found
assert same(step(), truth) and cpu.threads_for(10**9) == 2
print("done")
"""
    assert run(code) == "done"


@pytest.mark.slow
def test_workers_of_a_loader() -> None:
    code = """
from torch.utils.data import DataLoader, Dataset
class Rows(Dataset):
    def __len__(self): return 4
    def __getitem__(self, i): return step()[0]
for start in ("fork",):
    loader = DataLoader(Rows(), batch_size=None, num_workers=2, multiprocessing_context=start)
    for y in loader:
        assert torch.equal(y, truth[0]) and same(step(), truth)
print("done")
"""
    assert run(code) == "done"


@pytest.mark.slow
def test_loky_workers() -> None:
    code = """
from joblib import Parallel, delayed
def work(x, w, edges):
    import torch
    from vnn.kernels import Graph, cpu, sparse_product
    return sparse_product(x, w, Graph(edges, 800, 64)), torch.get_num_threads(), cpu.threads_for(10**9)
found = Parallel(n_jobs=2, backend="loky")(delayed(work)(x.detach(), w.detach(), edges) for _ in range(4))
assert all(torch.equal(y, truth[0]) and ours == torchs for y, torchs, ours in found)
assert same(step(), truth)
print("done")
"""
    assert run(code) == "done"


def test_a_second_thread_calls_the_kernels_while_the_first_does() -> None:
    code = """
wrong = []
def prefetch():
    for _ in range(30):
        if not same(step(), truth): wrong.append(1)
many = [threading.Thread(target=prefetch) for _ in range(3)]
for t in many: t.start()
for _ in range(30):
    if not same(step(), truth): wrong.append(0)
for t in many: t.join(40)
assert not wrong and not any(t.is_alive() for t in many)
print("done")
"""
    assert run(code) == "done"


@pytest.mark.slow
def test_fork_while_another_thread_computes() -> None:
    code = """
stop = threading.Event()
def busy():
    while not stop.is_set(): kernels()
other = threading.Thread(target=busy)
other.start()
for _ in range(5):
    child = os.fork()
    if child == 0:
        os._exit(0 if kernels() == values else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stop.set()
other.join(20)
print("done")
"""
    assert run(code) == "done"


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_two_openmp_runtimes_in_one_process() -> None:
    code = """
import sklearn.cluster, threadpoolctl
sklearn.cluster.KMeans(3, n_init=1, random_state=0).fit(rng.standard_normal((3000, 8)))
runtimes = {i["filepath"] for i in threadpoolctl.threadpool_info() if i["user_api"] == "openmp"}
assert same(step(), truth)
sklearn.cluster.KMeans(3, n_init=1, random_state=0).fit(rng.standard_normal((3000, 8)))
assert same(step(), truth)
child = os.fork()
if child == 0:
    os._exit(0 if kernels() == values else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print(len(runtimes))
"""
    assert int(run(code)) >= 1


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_no_more_threads_than_torch_says() -> None:
    code = """
torch.set_num_threads(1)
step()
one = n_threads()
for _ in range(5): step()
assert n_threads() == one, (one, n_threads())
torch.set_num_threads(3)
step()
three = n_threads()
for _ in range(5): step()
assert n_threads() == three <= one + 2, (one, three, n_threads())
print("done")
"""
    assert run(code, OMP_NUM_THREADS="1") == "done"


@pytest.mark.slow
def test_an_environment_of_many_threads_is_not_obeyed_where_torch_says_fewer() -> None:
    code = """
torch.set_num_threads(1)
assert cpu.threads_for(10**9) == 1 and same(step(), truth)
print("done")
"""
    assert run(code, OMP_NUM_THREADS="8", OMP_DYNAMIC="false") == "done"


@pytest.mark.slow
def test_interpreters_end_cleanly_with_results_alive() -> None:
    code = """
from vnn.kernels import memory
memory.LARGE = 1
kept = [step() for _ in range(3)]
loop = []; loop.append((loop, step()))
print("done")
"""
    assert run(code) == "done"

"""The index tensors of a graph, against the pairs they were made from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vnn._errors import KernelError
from vnn.kernels import Graph
from vnn.kernels.graph import weight_rows

PAIRS = np.array([[0, 0], [2, 0], [1, 2], [2, 2]])


@given(st.sets(st.tuples(st.integers(0, 5), st.integers(0, 4))), st.booleans(), st.integers(0, 99))
def test_every_weight_sits_between_the_units_of_its_edge(pairs: set[tuple[int, int]], ragged: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    units_in, units_out = (rng.integers(1, 4, n) if ragged else np.ones(n, int) for n in (6, 5))
    ordered = sorted(pairs, key=lambda p: (p[1], p[0]))
    graph = Graph(np.array(ordered).reshape(-1, 2), 6, 5, units_in=units_in, units_out=units_out)
    first_in, first_out = (np.concatenate([[0], np.cumsum(u)]) for u in (units_in, units_out))
    expected = [
        (first_out[t] + o, first_in[s] + i) for s, t in ordered for o in range(units_out[t]) for i in range(units_in[s])
    ]
    target, source = weight_rows(graph.wiring)
    assert list(zip(target.tolist(), source.tolist(), strict=True)) == [tuple(map(int, e)) for e in expected]
    back = [(int(s), int(graph.tgt_t[i])) for s in range(6) for i in range(graph.ptr_t[s], graph.ptr_t[s + 1])]
    assert back == sorted(pairs)
    assert [ordered[e] for e in graph.perm_t.tolist()] == sorted(pairs)


def test_indices_move_with_the_module_and_are_not_saved() -> None:
    graph = Graph(PAIRS, 3, 3)
    assert graph.state_dict() == {}
    assert graph.to("meta").ptr.device == torch.device("meta")
    assert graph.ptr.dtype == torch.int32


@pytest.mark.parametrize(
    ("edges", "what"),
    [
        ([[1, 0], [0, 0]], "sorted"),
        ([[0, 0], [0, 0]], "repeat"),
        ([[3, 0]], "source 3"),
        ([[0, 3]], "target 3"),
        ([[-1, 0]], "numbered"),
    ],
)
def test_edges_that_are_not_a_mask_are_refused(edges: list[list[int]], what: str) -> None:
    with pytest.raises(KernelError, match=what):
        Graph(np.array(edges), 3, 3)


def test_units_are_checked() -> None:
    with pytest.raises(KernelError, match="units_in"):
        Graph(PAIRS, 3, 3, units_in=[1, 2])
    with pytest.raises(KernelError, match="units_out"):
        Graph(PAIRS, 3, 3, units_out=[1, 0, 1])

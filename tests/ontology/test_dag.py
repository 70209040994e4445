"""Longest paths, closures and cycles against networkx."""

from __future__ import annotations

import networkx as nx
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vnn.ontology import dag

edges = st.lists(
    st.tuples(st.integers(0, 8), st.integers(0, 8)).filter(lambda e: e[0] != e[1]), max_size=25, unique=True
)


def arrays(pairs):
    child, parent = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return child, parent


@settings(deadline=None, max_examples=80)
@given(edges)
def test_acyclic_graphs_have_heights_and_others_a_cycle(pairs):
    graph = nx.DiGraph(pairs)
    graph.add_nodes_from(range(9))
    child, parent = arrays(pairs)
    found = dag.cycle(9, child, parent)
    if nx.is_directed_acyclic_graph(graph):
        assert found == []
        height = dag.heights(9, child, parent)
        for node in graph:
            below = graph.subgraph(nx.ancestors(graph, node) | {node})
            assert height[node] == nx.dag_longest_path_length(below)
    else:
        assert all(graph.has_edge(a, b) for a, b in zip(found, [*found[1:], found[0]], strict=True))
        assert found[0] == min(found)


@settings(deadline=None, max_examples=80)
@given(edges)
def test_closure_is_reachability(pairs):
    graph = nx.DiGraph(pairs)
    graph.add_nodes_from(range(9))
    reach = dag.closure(dag.adjacency(9, *arrays(pairs))).toarray()
    assert {(i, j) for i in graph for j in nx.descendants(graph, i) | {i}} == set(zip(*np.nonzero(reach), strict=True))

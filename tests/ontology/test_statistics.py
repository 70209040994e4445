"""Numbers of an ontology and of a topology, by networkx and loops."""

from __future__ import annotations

import networkx as nx
import numpy as np
from hypothesis import given, settings

from tests.ontology.test_wiring import FEATURES, choices, ontologies, wired
from vnn.ontology import ontology_statistics, topology_statistics


@settings(deadline=None, max_examples=80)
@given(ontologies())
def test_an_ontology_in_numbers(ontology):
    found = ontology_statistics(ontology)
    kinds = ontology.relations["type"].isin(["is_a", "part_of"])
    graph = nx.DiGraph(list(zip(ontology.relations["child"][kinds], ontology.relations["parent"][kinds], strict=True)))
    graph.add_nodes_from(ontology.terms.index)
    assert found["terms"] == len(graph)
    assert found["roots"] == sum(not list(graph.successors(node)) for node in graph)
    assert found["leaves"] == sum(not list(graph.predecessors(node)) for node in graph)
    assert found["depth"] == nx.dag_longest_path_length(graph) + 1
    assert sum(found["relations"].values()) == len(ontology.relations)
    own = {term: set(ontology.annotations["gene"][ontology.annotations["term"] == term]) for term in graph}
    carried = {term: set().union(own[term], *(own[below] for below in nx.ancestors(graph, term))) for term in graph}
    sizes = [len(genes) for genes in carried.values()]
    assert found["annotations"] == sum(map(len, own.values()))
    assert found["annotations_gained_by_propagation"] == sum(sizes) - found["annotations"]
    assert found["genes_per_term"] == tuple(np.quantile(sizes, [0, 0.25, 0.5, 0.75, 1]))
    assert found["terms_without_genes"] == sizes.count(0)


@settings(deadline=None, max_examples=60)
@given(ontologies(), choices())
def test_a_topology_in_numbers(ontology, chosen):
    topology = wired(ontology, FEATURES, **chosen)
    if topology is None:
        return
    table = topology_statistics(topology).set_index("level")
    edges, place = topology.to_edges(), {level.name: at for at, level in enumerate(topology.levels)}
    assert table["edges"].sum() == topology.n_edges
    assert table["nodes"][1:].sum() == topology.n_nodes
    assert table["outputs"].sum() == len(topology.outputs)
    for level in topology.levels[1:]:
        into = edges[(edges["target_level"] == level.name) & ~edges["target"].isin(level.copies)]
        assert table.loc[level.name, "edges"] == len(into)
        far = into["source_level"].map(place) < place[level.name] - 1
        assert table.loc[level.name, "skips"] == far.sum()
        assert table.loc[level.name, "fan_in_max"] == into["target"].value_counts().max() if len(into) else True
    if chosen["skips"] == "copies":
        assert table["skips"].sum() == 0

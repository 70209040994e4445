"""GraphML, checked against networkx in both directions."""

from __future__ import annotations

import networkx as nx
import pandas as pd
import pytest

from vnn._errors import OntologyError
from vnn.ontology import Ontology
from vnn.ontology.graphml import read_graphml, write_graphml

ONTOLOGY = Ontology(
    pd.DataFrame({"name": ["A & <B>", ""], "namespace": ["", "bp"]}, index=["top", "low"]),
    pd.DataFrame([("low", "top", "is_a"), ("low", "top", "regulates")], columns=["child", "parent", "type"]),
    pd.DataFrame(
        [("G", "low", "IDA", "NOT|x"), ("top", "low", "", "")], columns=["gene", "term", "evidence", "qualifier"]
    ),
)


def test_networkx_reads_it(tmp_path):
    assert write_graphml(ONTOLOGY, tmp_path / "o.graphml") == ()
    graph = nx.read_graphml(tmp_path / "o.graphml", force_multigraph=True)
    assert graph.is_directed()
    nodes = {(v["kind"], v["id"]): v["name"] for _, v in graph.nodes(data=True)}
    assert nodes == {("gene", "G"): "G", ("gene", "top"): "top", ("term", "top"): "A & <B>", ("term", "low"): "low"}
    seen = {
        (graph.nodes[a]["id"], graph.nodes[b]["id"], v["type"], v.get("evidence")) for a, b, v in graph.edges(data=True)
    }
    assert seen == {
        ("low", "top", "is_a", None),
        ("low", "top", "regulates", None),
        ("G", "low", "gene", "IDA"),
        ("top", "low", "gene", None),
    }


def test_what_networkx_writes_is_read(tmp_path):
    graph = nx.DiGraph()
    graph.add_node("top", kind="term", name="The top")
    graph.add_nodes_from(["low"], kind="term")
    graph.add_nodes_from(["G"], kind="gene")
    graph.add_edges_from([("G", "low"), ("low", "top")])
    nx.write_graphml(graph, tmp_path / "o.graphml")
    ontology = read_graphml(tmp_path / "o.graphml")
    assert ontology.gene_sets() == {"low": {"G"}, "top": {"G"}}
    assert ontology.terms["name"].to_dict() == {"top": "The top", "low": "low"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t[:300], "no XML, or it is cut short"),
        (lambda t: t.replace('"directed"', '"undirected"'), "not directed"),
        (lambda t: t.replace('target="t0"', 'target="t9"'), "'t9', which is no node"),
        (lambda t: t.replace('target="t0"', 'target="g0"'), "leads to the gene 'G'"),
        (lambda t: t.replace(">term<", ">pathway<"), "2 nodes have no attribute kind"),
        (lambda t: "<svg/>", "this one, a 'svg', has 0"),
    ],
)
def test_other_files_are_refused(tmp_path, change, says):
    write_graphml(ONTOLOGY, tmp_path / "o.graphml")
    text = (tmp_path / "o.graphml").read_text()
    (tmp_path / "o.graphml").write_text(change(text))
    with pytest.raises(OntologyError, match=says):
        read_graphml(tmp_path / "o.graphml")

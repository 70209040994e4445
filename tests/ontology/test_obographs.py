"""Obographs JSON gives what the OBO file of the same ontology gives; the converter here shares no code with the reader."""

from __future__ import annotations

import gzip
import json
import random

import pytest

from vnn._errors import OntologyError
from vnn.ontology import read_go, read_obo
from vnn.ontology.obographs import read_obographs

PURL = "http://purl.obolibrary.org/obo/"
OWL = "http://www.geneontology.org/formats/oboInOwl#"
PREDICATE = {
    "part_of": "BFO_0000050",
    "has_part": "BFO_0000051",
    "occurs_in": "BFO_0000066",
    "regulates": "RO_0002211",
    "negatively_regulates": "RO_0002212",
    "positively_regulates": "RO_0002213",
}


def address(term):
    return PURL + term.replace(":", "_", 1)


def converted(text):
    """The obographs document of an OBO text, as the OWL tools write it: addresses, deprecated nodes for merged ids."""
    header, *blocks = text.replace("\r", "").split("\n[")
    default = next((line.split(": ")[1] for line in header.split("\n") if line.startswith("default-namespace:")), None)
    nodes, edges = [], []
    for block in blocks:
        kind, *lines = block.split("\n")
        if kind != "Term]":
            continue
        tags = [tuple(line.split(": ", 1)) for line in lines if ": " in line and not line.startswith("!")]
        first = dict(reversed(tags))
        term = first["id"].split(" ")[0]
        values = [{"pred": OWL + "hasOBONamespace", "val": first["namespace"]}] if "namespace" in first else []
        meta = {"basicPropertyValues": values}
        for tag, value in tags:
            if tag == "alt_id":
                other = value.split(" ")[0]
                values.append({"pred": OWL + "hasAlternativeId", "val": other})
                replaced = [{"pred": PURL + "IAO_0100001", "val": address(term)}]
                nodes.append(
                    {
                        "id": address(other),
                        "type": "CLASS",
                        "meta": {"basicPropertyValues": replaced, "deprecated": True},
                    }
                )
            elif tag == "replaced_by":
                values.append({"pred": PURL + "IAO_0100001", "val": value.split(" ")[0]})
            elif tag == "is_obsolete" and value.startswith("true"):
                meta["deprecated"] = True
            elif tag == "is_a":
                edges.append({"sub": address(term), "pred": "is_a", "obj": address(value.split(" ")[0])})
            elif tag == "relationship":
                kind, parent = value.split(" ")[:2]
                edges.append({"sub": address(term), "pred": PURL + PREDICATE[kind], "obj": address(parent)})
        node = {"id": address(term), "type": "CLASS", "meta": meta}
        if "name" in first:
            node["lbl"] = first["name"].split(" !")[0].replace("\\", "")
        nodes.append(node)
    graph = {"id": PURL + "some.owl", "nodes": nodes, "edges": edges}
    if default:
        graph["meta"] = {"basicPropertyValues": [{"pred": OWL + "default-namespace", "val": default}]}
    return {"graphs": [graph]}


def text_of(path):
    raw = path.read_bytes()
    return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()


def same(a, b):
    return a.terms.equals(b.terms) and a.relations.equals(b.relations)


def reasons(ontology, step):
    return {(e.kind, e.reason, e.names) for e in ontology.log if e.step == step and e.kind != "lines"}


FILES = ["go-iron-transport-subset", "go-mgi-signaling-test", "go-module", "go-subset-t1", "goslim_generic"]
FILES += ["heartjogging", "mini_obo", "secretory", "smell", "test_go_for_mgi_gaf", "viral_gene_silence"]


@pytest.mark.data
@pytest.mark.parametrize("name", [f"go/{name}.obo" for name in FILES] + ["go/mgi-exttest-go-subset.obo.gz"])
def test_the_ontology_and_its_log_are_those_of_the_obo_file(real, tmp_path, name):
    path = tmp_path / "some.json"
    document = converted(text_of(real(name)))
    random.Random(1).shuffle(document["graphs"][0]["nodes"])
    path.write_text(json.dumps(document))
    for choices in ({}, {"cross_namespace": True}, {"relations": ["is_a"]}):
        found, wanted = read_obographs(path, **choices), read_obo(real(name), **choices)
        assert same(found, wanted)
        assert reasons(found, "read obographs") == reasons(wanted, "read obo")


@pytest.mark.data
def test_the_pathway_ontology_with_obsolete_terms(real, tmp_path):
    path = tmp_path / "pw.json.gz"
    path.write_bytes(gzip.compress(json.dumps(converted(text_of(real("phenotype/pw.obo.gz")))).encode()))
    assert same(read_obographs(path), read_obo(real("phenotype/pw.obo.gz")))


@pytest.mark.data
def test_one_topology_fingerprint_from_both_formats(real, tmp_path):
    obo, gaf = real("go/test_go_for_mgi_gaf.obo"), real("go/test_gene_association_mgi.gaf")
    path = tmp_path / "go.json"
    path.write_text(json.dumps(converted(text_of(obo))))
    wirings = []
    for hierarchy in (obo, path):
        ontology = read_go(hierarchy, gaf, taxon=10090)
        wirings.append(ontology.topology(ontology.genes, min_genes=1))
    assert wirings[0].fingerprint == wirings[1].fingerprint


def small(**more):
    graph = {
        "id": PURL + "x.owl",
        "meta": {"version": PURL + "x/releases/2026-01-02/x.owl"},
        "nodes": [
            {"id": PURL + "X_1", "lbl": "one", "type": "CLASS"},
            {"id": "X:2", "lbl": "two"},
            {"id": PURL + "BFO_0000050", "lbl": "part of", "type": "PROPERTY"},
            {"id": PURL + "x#eats", "lbl": "eats up", "type": "PROPERTY"},
            {"id": PURL + "X_7", "type": "INDIVIDUAL", "lbl": "seven"},
            {"id": PURL + "Y_9"},
        ],
        "edges": [
            {"sub": "X:2", "pred": "is_a", "obj": PURL + "X_1"},
            {"sub": "X:2", "pred": PURL + "x#eats", "obj": PURL + "X_1"},
            {"sub": "X:2", "pred": PURL + "BFO_0000050", "obj": PURL + "Y_9"},
            {"sub": PURL + "X_7", "pred": "type", "obj": PURL + "X_1"},
            {"sub": PURL + "x#eats", "pred": "subPropertyOf", "obj": PURL + "BFO_0000050"},
        ],
    }
    return {"graphs": [graph | more]}


@pytest.fixture
def document(tmp_path):
    def write(content):
        path = tmp_path / "some.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_what_is_no_term_or_has_no_known_relation_is_counted(document):
    ontology = read_obographs(document(small()))
    assert ontology.terms["name"].to_dict() == {"X:1": "one", "X:2": "two"}
    assert ontology.relations.values.tolist() == [["X:2", "X:1", "is_a"]]
    assert ontology.provenance[0]["release"] == "releases/2026-01-02"
    assert [str(entry) for entry in ontology.log] == [
        "read obographs: 1 terms left out: neither type nor label: 'Y:9'",
        "read obographs: 1 individuals left out: they are no terms: 'X:7'",
        "read obographs: 1 relations left out: their child is no term: 'X:7 -> X:1'",
        "read obographs: 2 terms kept without a namespace: neither they nor the header give one: 'X:1', 'X:2'",
        "read obographs: 1 relations left out: of type eats_up (1 rows): 'X:2 -> X:1'",
        "read obographs: 1 relations dropped: they name a term that is not there (1 rows): 'X:2 -> Y:9'",
    ]


@pytest.mark.parametrize(
    ("content", "says", "line"),
    [
        ('{"graphs": [\n{"nodes": ', "this is not JSON: Expecting value", 2),
        ('{"nodes": []}', "needs `graphs` with nodes; this file holds 'nodes'", None),
        ("[1]", "this file holds list", None),
        (small(nodes=[{"lbl": "nobody"}]), "a node needs an id", None),
        (small(nodes=[{"id": PURL + "X_1", "lbl": "a"}, {"id": "X:1", "lbl": "b"}]), "'X:1' is there twice", None),
        (small(edges=[{"sub": "X:2", "pred": "is_a"}]), "an edge needs sub, pred and obj", None),
        (
            small(edges=[{"sub": a, "pred": "is_a", "obj": b} for a, b in (("X:1", "X:2"), ("X:2", "X:1"))]),
            "cycle of 2 terms: X:1 -> X:2 -> X:1",
            None,
        ),
    ],
)
def test_flaws_are_named(document, content, says, line):
    with pytest.raises(OntologyError, match=says) as caught:
        read_obographs(document(content))
    assert caught.value.__notes__ == ["reading some.json" + (f", line {line}" if line else "")]


def test_the_obo_reader_points_to_this_one(document):
    with pytest.raises(OntologyError, match="read obographs JSON with read_obographs"):
        read_obo(document(small()))

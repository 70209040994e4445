"""CX2 hierarchies: aliases, defaults, fragments, and files that are not what they seem."""

from __future__ import annotations

import json

import pytest

from vnn._errors import OntologyError
from vnn.ontology.cx2 import read_cx2, write_cx2

NODES = [
    {"id": 0, "v": {"n": "The top", "r": "NEST", "CD_MemberList": "A B C"}},
    {"id": 7, "v": {"n": "Repair", "r": "NEST:1", "CD_MemberList": "B C"}},
    {"id": 3, "v": {"n": "Empty", "r": "NEST:2"}},
]
EDGES = [{"id": 0, "s": 0, "t": 7, "v": {"i": "interacts"}}, {"id": 1, "s": 7, "t": 3, "v": {"i": "is_a"}}]
DECLARED = {
    "nodes": {"name": {"a": "n", "d": "string"}, "represents": {"a": "r"}, "CD_MemberList": {"d": "string"}},
    "edges": {"interaction": {"a": "i", "d": "string"}},
}


def document(nodes=NODES, edges=EDGES, declared=DECLARED):
    counts = [{"name": "nodes", "elementCount": len(NODES)}] if nodes is NODES else []
    return [
        {"CXVersion": "2.0", "hasFragments": False},
        {"metaData": counts},
        {"attributeDeclarations": [declared]},
        {"nodes": nodes},
        {"edges": edges},
    ]


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "hierarchy.cx2"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_parents_are_sources_and_members_are_as_given(file):
    ontology = read_cx2(file(document()))
    assert {(r.child, r.parent, r.type) for r in ontology.relations.itertuples()} == {
        ("NEST:1", "NEST", "part_of"),
        ("NEST:2", "NEST:1", "is_a"),
    }
    assert ontology.terms["name"].to_dict() == {"NEST": "The top", "NEST:1": "Repair", "NEST:2": "Empty"}
    assert ontology.gene_sets(propagated=False) == {
        "NEST": {"A", "B", "C"},
        "NEST:1": {"B", "C"},
        "NEST:2": frozenset(),
    }
    assert ontology.most_specific().gene_sets(propagated=False)["NEST"] == {"A"}
    assert [str(entry) for entry in ontology.log] == [
        "read cx2: 1 terms kept without genes: their list is empty: 'NEST:2'",
        "read cx2: 1 relations read as part_of: their interaction is 'interacts': 'NEST:1 -> NEST'",
    ]


def test_names_are_ids_where_nodes_represent_nothing(file):
    nodes = [{"id": 0, "v": {"name": "x", "genes": ["A", "B"]}}, {"id": 1, "v": {"name": "y", "genes": ["A"]}}]
    ontology = read_cx2(file(document(nodes, [{"s": 0, "t": 1}], {})), members="genes")
    assert ontology.gene_sets() == {"x": {"A", "B"}, "y": {"A"}}


def test_fragments_join_and_defaults_count(file):
    declared = {**DECLARED, "nodes": {**DECLARED["nodes"], "CD_MemberList": {"v": "Z"}}}
    blocks = document(NODES[:1], EDGES, declared)
    ontology = read_cx2(file([*blocks, {"nodes": NODES[1:]}]))
    assert ontology.gene_sets(propagated=False)["NEST:2"] == {"Z"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[{", "no JSON, or it is cut short"),
        ({"nodes": []}, "begins with"),
        ([{"CXVersion": "1.0"}], "version '1.0'"),
        (document()[:3], "announces 3 nodes and has 0; it may be cut short"),
        (document(NODES, [{"s": 0, "t": 9}]), "nodes that are not there: '9'"),
        (document(NODES, [{"s": 0}]), "1 edges lack 's', 't'"),
        (document([*NODES, {**NODES[0], "id": 9}]), "stand for several nodes each: 'NEST'"),
        (document([{"id": 0, "v": {"n": "x"}}], []), "no node has the attribute 'CD_MemberList'; they have 'name'"),
        ([*document(), {"status": [{"success": False, "error": "disk"}]}], "writing it failed: disk"),
        (document(NODES, [*EDGES, {"s": 3, "t": 0}]), "NEST -> NEST:2 -> NEST:1 -> NEST"),
    ],
)
def test_other_files_are_refused(file, content, says):
    with pytest.raises(OntologyError, match=says) as caught:
        read_cx2(file(content))
    assert caught.value.__notes__[0].startswith("reading hierarchy.cx2")


def test_writing_adds_the_genes_of_descendants_and_says_so(file, tmp_path):
    ontology = read_cx2(file(document())).most_specific()
    lost = write_cx2(ontology, tmp_path / "out.cx2")
    assert [str(entry) for entry in lost] == [
        "write cx2: 2 annotations added: lists include the genes of descendants: 'B @ NEST', 'C @ NEST'"
    ]
    blocks = {what: items for block in json.loads((tmp_path / "out.cx2").read_text()) for what, items in block.items()}
    assert blocks["CXVersion"] == "2.0"
    assert blocks["status"] == [{"success": True, "error": ""}]
    assert {n["v"]["r"]: (n["v"]["CD_MemberList"], n["v"]["HCX::isRoot"]) for n in blocks["nodes"]} == {
        "NEST": ("A B C", True),
        "NEST:1": ("B C", False),
        "NEST:2": ("", False),
    }
    assert read_cx2(tmp_path / "out.cx2").terms.equals(ontology.terms)


def test_a_gene_with_a_space_cannot_be_written(file, tmp_path):
    nodes = [{"id": 0, "v": {"n": "x", "CD_MemberList": ["18S rRNA"]}}]
    with pytest.raises(OntologyError, match=r"1 names hold a space.*18S rRNA"):
        write_cx2(read_cx2(file(document(nodes, []))), tmp_path / "out.cx2")

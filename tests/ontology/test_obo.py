"""OBO: own parser against obonet, and what the field's files get wrong."""

from __future__ import annotations

import gzip
import io

import obonet
import pytest

from vnn._errors import OntologyError
from vnn.ontology import read_obo

HEADER = "format-version: 1.2\ndata-version: releases/2026-01-01\ndefault-namespace: fallback\n"
TERMS = """
! a comment
[Term]
id: X:1 ! trailing comment
name: one \\(of\\) many ! not part of the name
namespace: here
alt_id: X:100

[Term]
id: X:2
name: two
namespace: here
is_a: X:100 ! one
relationship: part_of X:9 ! replaced

[Term]
id: X:3
is_a: X:2 {source="x"} ! two
relationship: regulates X:1 ! one
relationship: has_part X:1
relationship: occurs_in Y:1 {note="z"}
is_a: X:8 ! obsolete
is_a: X:404 ! not there

[Term]
id: X:4
namespace: there
relationship: part_of X:1

[Term]
id: X:9
is_obsolete: true
replaced_by: X:1

[Term]
id: X:8
is_obsolete: true
replaced_by: X:1
replaced_by: X:2

[Typedef]
id: part_of
name: part of
"""


@pytest.fixture
def obo(tmp_path):
    def write(text):
        path = tmp_path / "some.obo"
        path.write_text(text)
        return path

    return write


def rows(ontology):
    return {" ".join(row) for row in ontology.relations.itertuples(index=False)}


def test_terms_relations_and_every_reason_to_leave(obo):
    ontology = read_obo(obo(HEADER + TERMS))
    assert ontology.terms.values.tolist() == [
        ["one (of) many", "here"],
        ["two", "here"],
        ["X:3", "fallback"],
        ["X:4", "there"],
    ]
    assert rows(ontology) == {"X:2 X:1 is_a", "X:2 X:1 part_of", "X:3 X:2 is_a", "X:3 X:1 regulates"}
    assert [str(entry) for entry in ontology.log] == [
        "read obo: 2 terms left out: obsolete: 'X:8', 'X:9'",
        "read obo: 2 relations led to the term that stands for their alternative or obsolete parent: "
        "'X:2 -> X:100', 'X:2 -> X:9'",
        "read obo: 1 relations left out: of type has_part (1 rows): 'X:3 -> X:1'",
        "read obo: 1 relations left out: of type occurs_in (1 rows): 'X:3 -> Y:1'",
        "read obo: 1 relations left out: part_of between two namespaces: 'X:4 -> X:1'",
        "read obo: 2 relations dropped: they name a term that is not there (2 rows): 'X:3 -> X:404', 'X:3 -> X:8'",
    ]
    assert ontology.provenance[0]["release"] == "releases/2026-01-01"


def test_choices_of_relations(obo):
    path = obo(HEADER + TERMS)
    assert "X:4 X:1 part_of" in rows(read_obo(path, cross_namespace=True))
    assert {row.split()[2] for row in rows(read_obo(path, relations=["is_a"]))} == {"is_a"}
    with pytest.raises(ValueError, match="'has_part'"):
        read_obo(path, relations=["has_part"])


@pytest.mark.parametrize(
    ("text", "says", "line"),
    [
        (HEADER + "[Term]\nid: X:1\n[Term]\nid: X:1\n", "'X:1' is there twice, first at line 4", 6),
        (HEADER + "[Term]\nname: nobody\n", "has no id", 4),
        (HEADER + "[Term]\nid: X:1\nnonsense\n", "this one is 'nonsense'", 6),
        (HEADER + "[Term]\nid: X:1\nrelationship: part_of\n", "needs a type and a term", 6),
        ("name,child\na,b\n", "it has no \\[Term\\], and begins with 'name,child", None),
    ],
)
def test_flaws_are_located(obo, text, says, line):
    with pytest.raises(OntologyError, match=says) as caught:
        read_obo(obo(text))
    assert caught.value.__notes__ == ["reading some.obo" + (f", line {line}" if line else "")]


def test_a_cycle_is_shown(obo):
    text = HEADER + "".join(f"[Term]\nid: X:{a}\nis_a: X:{b}\n" for a, b in [(1, 2), (2, 3), (3, 1)])
    with pytest.raises(OntologyError, match="X:1 -> X:2 -> X:3 -> X:1") as caught:
        read_obo(obo(text))
    assert caught.value.__notes__ == ["reading some.obo"]


FILES = ["go-iron-transport-subset", "go-mgi-signaling-test", "go-module", "go-subset-t1", "goslim_generic"]
FILES += ["heartjogging", "secretory", "smell", "test_go_for_mgi_gaf", "viral_gene_silence"]


@pytest.mark.data
@pytest.mark.parametrize(
    "name", [*(f"go/{name}.obo" for name in FILES), "go/mgi-exttest-go-subset.obo.gz", "phenotype/pw.obo.gz"]
)
def test_the_graph_is_the_one_obonet_reads(real, name):
    path = real(name)
    text = (gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()).decode()
    graph = obonet.read_obo(io.StringIO(text))
    kinds = {"is_a", "part_of", "regulates", "positively_regulates", "negatively_regulates"}
    known = {node for node, data in graph.nodes(data=True) if data}
    ontology = read_obo(path, cross_namespace=True)
    assert set(ontology.terms.index) == known
    assert {tuple(row) for row in ontology.relations.values} == {
        (child, parent, kind)
        for child, parent, kind in graph.edges(keys=True)
        if kind in kinds and {child, parent} <= known
    }
    assert ontology.terms["name"].to_dict() == {node: graph.nodes[node].get("name", node) for node in known}
    spaces = ontology.terms["namespace"]
    default = "pathway" if "pw.obo" in name else ""
    assert spaces.to_dict() == {node: graph.nodes[node].get("namespace", spaces[node] or default) for node in known}


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("go/go-iron-transport-subset.obo", {"is_a": 71, "part_of": 10}),
        ("go/go-mgi-signaling-test.obo", {"is_a": 4_461}),
        ("go/mgi-exttest-go-subset.obo.gz", {"is_a": 8_571, "part_of": 1_253, "regulates": 657}),
        ("go/goslim_generic.obo", {"is_a": 148, "part_of": 68}),
        ("go/mini_obo.obo", {"is_a": 12}),
        ("go/viral_gene_silence.obo", {"is_a": 71, "part_of": 3}),
        ("phenotype/pw.obo.gz", {"is_a": 3_117, "part_of": 136}),
    ],
)
def test_counts_of_the_readme(real, name, counts):
    found = read_obo(real(name), cross_namespace=True).relations["type"].value_counts()
    assert {kind: found[kind] for kind in counts} == counts


@pytest.mark.data
def test_a_file_without_namespaces_is_read(real):
    ontology = read_obo(real("go/go-mgi-signaling-test.obo"))
    assert len(ontology.terms) == 2_756
    assert set(ontology.terms["namespace"]) == {""}

"""OBO: own parser against obonet, and what the field's files get wrong."""

from __future__ import annotations

import gzip
import io

import obonet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def entries(ontology):
    return {entry.reason: entry.names for entry in ontology.log}


def terms_of(*stanzas):
    return HEADER + "".join("\n[Term]\n" + "\n".join(stanza.split("; ")) + "\n" for stanza in stanzas)


REPLACED = ["id: X:1", "id: X:2; is_a: X:7", "id: X:3; relationship: part_of X:5"]
REPLACED += ["id: X:7; is_obsolete: true; replaced_by: X:8", "id: X:8; is_obsolete: true; replaced_by: X:100"]
REPLACED += ["id: X:5; is_obsolete: true; replaced_by: X:6", "id: X:6; is_obsolete: true; replaced_by: X:5"]
REPLACED[0] += "; alt_id: X:100"


@pytest.mark.parametrize("order", [REPLACED, REPLACED[::-1], REPLACED[3:] + REPLACED[:3]])
def test_replacements_are_followed_one_after_the_other_whatever_the_order_of_lines(obo, order):
    ontology = read_obo(obo(terms_of(*order)))
    assert rows(ontology) == {"X:2 X:1 is_a"}
    assert entries(ontology) == {
        "left out: obsolete": ("X:5", "X:6", "X:7", "X:8"),
        "led to the term that stands for their alternative or obsolete parent": ("X:2 -> X:7",),
        "dropped: they name a term that is not there (1 rows)": ("X:3 -> X:5",),
    }


def test_alternative_ids_that_cannot_be_decided_are_not_followed(obo):
    stanzas = ["id: X:1; alt_id: X:9; alt_id: X:2", "id: X:2; alt_id: X:9", "id: X:3; is_a: X:9; is_a: X:2"]
    ontology = read_obo(obo(terms_of(*stanzas)))
    assert rows(ontology) == {"X:3 X:2 is_a"}
    assert entries(ontology) == {
        "not followed: an alternative id that is a term itself, or of several terms": (
            "X:2 -> X:1",
            "X:9 -> X:1",
            "X:9 -> X:2",
        ),
        "dropped: they name a term that is not there (1 rows)": ("X:3 -> X:9",),
    }


def test_self_references_repeats_shared_names_and_unknown_relations_are_counted(obo):
    stanzas = ["id: X:1; name: same", "id: X:2; name: same; is_a: X:2; is_a: X:1; is_a: X:1; relationship: eats X:1"]
    ontology = read_obo(obo(terms_of(*stanzas)))
    assert rows(ontology) == {"X:2 X:1 is_a"}
    assert entries(ontology) == {
        "kept although another term has the same name": ("X:1 (same)", "X:2 (same)"),
        "left out: of type eats (1 rows)": ("X:2 -> X:1",),
        "dropped: a term cannot be its own parent (1 rows)": ("X:2 -> X:2",),
        "repeated and kept once (1 rows)": ("X:2 -> X:1",),
    }
    with pytest.raises(OntologyError, match=r"2 terms are called 'same': 'X:1', 'X:2'\. Give the id instead"):
        ontology.find("same")


def test_terms_without_a_namespace_are_counted(obo):
    text = terms_of("id: X:1", "id: X:2; namespace: here; relationship: part_of X:1").replace(
        "default-namespace: fallback\n", ""
    )
    ontology = read_obo(obo(text))
    assert rows(ontology) == {"X:2 X:1 part_of"}
    assert entries(ontology) == {"kept without a namespace: neither they nor the header give one": ("X:1",)}


@pytest.mark.parametrize(
    ("stanza", "says", "line"),
    [
        ("id: X:1; id: X:2", "the term 'X:1' has a second id, 'X:2'", 7),
        ("id: X:1; name: a; name: b", "the term 'X:1' has a second name, 'b'", 8),
        ("id: X:1; is_a:", "the tag 'is_a' has no value; it needs an id", 7),
        ("id: X:1; alt_id:", "the tag 'alt_id' has no value", 7),
        ("id:", "the tag 'id' has no value", 6),
    ],
)
def test_tags_that_are_repeated_or_empty_are_located(obo, stanza, says, line):
    with pytest.raises(OntologyError, match=says) as caught:
        read_obo(obo(terms_of(stanza)))
    assert caught.value.__notes__ == [f"reading some.obo, line {line}"]


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_order_of_stanzas_never_matters(tmp_path_factory, data):
    n = data.draw(st.integers(2, 7))
    stanzas = []
    for i in range(n):
        lower = st.integers(0, n + 2)
        tags = [f"id: X:{i}"]
        tags += [f"is_a: X:{j}" for j in data.draw(st.lists(lower, max_size=3)) if j > i]
        tags += [f"alt_id: X:{j}" for j in data.draw(st.lists(st.integers(n, n + 2), max_size=2))]
        if data.draw(st.booleans()):
            tags += ["is_obsolete: true"]
            tags += [f"replaced_by: X:{j}" for j in data.draw(st.lists(lower, max_size=2))]
        stanzas.append("; ".join(tags))
    path = tmp_path_factory.mktemp("obo") / "some.obo"
    found = []
    for order in (stanzas, data.draw(st.permutations(stanzas))):
        path.write_text(terms_of(*order))
        try:
            ontology = read_obo(path)
        except OntologyError as error:
            found.append(str(error))
        else:
            found.append((ontology.terms.to_csv(), ontology.relations.to_csv(), list(map(str, ontology.log))))
    assert found[0] == found[1]

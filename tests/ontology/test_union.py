"""Several ontologies as one, and what a fingerprint says."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ontology.test_wiring import ontologies
from vnn._errors import OntologyError
from vnn.ontology import Ontology, load_ontology, union


def one(relations: list[tuple[str, str]], annotations: list[tuple[str, str]], names: dict[str, str]) -> Ontology:
    return Ontology(
        pd.DataFrame({"name": names}),
        pd.DataFrame([(a, b, "is_a") for a, b in relations], columns=["child", "parent", "type"]),
        pd.DataFrame(annotations, columns=["gene", "term"]),
        ({"source": "made up"},),
    )


@settings(deadline=None, max_examples=60)
@given(ontologies(), ontologies())
def test_a_union_holds_the_rows_of_both(first, second):
    made = union(first, second)
    for name in ("relations", "annotations"):
        rows = [set(getattr(part, name).itertuples(index=False, name=None)) for part in (first, second, made)]
        assert rows[0] | rows[1] == rows[2]
    assert set(made.terms.index) == set(first.terms.index) | set(second.terms.index)
    assert made.fingerprint == union(second, first).fingerprint
    assert union(first, first).fingerprint == first.fingerprint == union(first).fingerprint


@settings(deadline=None, max_examples=40)
@given(ontologies(), st.randoms(use_true_random=False))
def test_a_fingerprint_knows_terms_relations_and_memberships_only(ontology, random):
    def shuffled(table: pd.DataFrame) -> pd.DataFrame:
        return table.iloc[random.sample(range(len(table)), len(table))]

    other = Ontology(
        shuffled(ontology.terms).assign(name="another"), shuffled(ontology.relations),
        shuffled(ontology.annotations).assign(evidence="IDA"),
    )  # fmt: skip
    assert other.fingerprint == ontology.fingerprint
    more = pd.concat([ontology.terms, pd.DataFrame({"name": {"new": ""}, "namespace": {"new": ""}})])
    assert Ontology(more, ontology.relations, ontology.annotations).fingerprint != ontology.fingerprint
    if len(ontology.relations):
        assert (
            Ontology(ontology.terms, ontology.relations[1:], ontology.annotations).fingerprint != ontology.fingerprint
        )
    if len(ontology.annotations):
        assert (
            Ontology(ontology.terms, ontology.relations, ontology.annotations[1:]).fingerprint != ontology.fingerprint
        )


def test_what_meets_is_counted():
    first = one([("a", "b")], [("G1", "a")], {"a": "A", "b": "B"})
    second = one([("a", "b"), ("c", "b")], [("G2", "c")], {"a": "A", "b": "other", "c": "C"})
    made = union(first, second)
    said = [(entry.kind, entry.names, entry.reason) for entry in made.log if entry.step == "union"]
    assert said == [
        ("terms", ("a", "b"), "are in several ontologies and one term here"),
        ("terms", ("b",), "have other names in a later ontology; the first name stays"),
        ("genes", ("G2",), "kept, though none is in the ontologies before"),
        ("relations", ("a -> b",), "are in several ontologies and kept once"),
    ]
    assert made.terms["name"].to_dict() == {"a": "A", "b": "B", "c": "C"}
    assert len(made.provenance) == 2


def test_a_cycle_through_both_is_shown():
    first, second = (one([pair], [], {"a": "", "b": ""}) for pair in (("a", "b"), ("b", "a")))
    with pytest.raises(OntologyError, match="cycle of 2 terms: a -> b -> a"):
        union(first, second)
    with pytest.raises(ValueError, match="at least one"):
        union()


def test_a_private_set_beside_the_catalogue_is_wired():
    small = load_ontology("human-small")
    own = one([], [(gene, "mine") for gene in small.genes[::9]], {"mine": "My genes"})
    topology = union(small, own).topology(small.genes)
    assert any("mine" in level.nodes for level in topology.levels)

"""The operations on ten-line ontologies written by hand, and against traversals that share no code."""

from __future__ import annotations

import networkx as nx
import pandas as pd
import pytest

from vnn._errors import OntologyError
from vnn.ontology import Ontology


def build(relations, annotations, terms=None, **more) -> Ontology:
    """An ontology from "child parent [type]" and "gene term [evidence]" rows."""
    relations = [(*row, "is_a")[:3] for row in (line.split() for line in relations)]
    annotations = [(*row, "")[:3] for row in (line.split() for line in annotations)]
    ids = {*(end for row in relations for end in row[:2]), *(row[1] for row in annotations), *(terms or {})}
    return Ontology(
        pd.DataFrame({"name": {term: (terms or {}).get(term, "") for term in ids}}),
        pd.DataFrame(relations, columns=["child", "parent", "type"]),
        pd.DataFrame(annotations, columns=["gene", "term", "evidence"]),
        **more,
    )


@pytest.fixture
def small() -> Ontology:
    """root <- left, right; left <- leaf; right <- leaf: a diamond with genes at every height."""
    return build(
        ["left root", "right root", "leaf left", "leaf right part_of"],
        ["A leaf", "B leaf", "C left", "D right", "E root", "A root"],
        {"root": "The root", "left": "The left"},
    )


def entries(ontology, step, kind):
    return [name for entry in ontology.log if (entry.step, entry.kind) == (step, kind) for name in entry.names]


def own(ontology):
    return {term: "".join(sorted(genes)) for term, genes in ontology.gene_sets(propagated=False).items()}


def carried(ontology):
    return {term: "".join(sorted(genes)) for term, genes in ontology.gene_sets().items()}


def edges(ontology):
    return {" ".join(row) for row in ontology.relations.itertuples(index=False)}


class TestConstruction:
    def test_tables_are_sorted_and_names_filled(self, small):
        assert list(small.terms.index) == ["leaf", "left", "right", "root"]
        assert list(small.terms["name"]) == ["leaf", "The left", "right", "The root"]
        assert small.relations.values.tolist() == sorted(small.relations.values.tolist())
        assert small.annotations.values.tolist() == sorted(small.annotations.values.tolist())
        assert repr(small) == "Ontology(4 terms, 4 relations, 5 genes, 6 annotations)"

    @pytest.mark.parametrize(
        ("relations", "says"),
        [
            (["a b", "b c", "c a", "d a"], r"cycle of 3 terms: a -> b -> c -> a"),
            (["a a"], "their own parent: 'a'"),
            (["a b", "a b"], "1 relations are there twice: 'a / b / is_a'"),
            (["a b likes"], "'likes'; known are 'is_a'"),
        ],
    )
    def test_contradictions_are_shown(self, relations, says):
        with pytest.raises(OntologyError if "known" not in says else ValueError, match=says):
            build(relations, [])

    def test_unknown_terms_and_missing_columns_are_named(self, small):
        with pytest.raises(OntologyError, match="1 terms named as child are not among the 3 terms: 'leaf'"):
            Ontology(small.terms.drop("leaf"), small.relations, small.annotations)
        with pytest.raises(OntologyError, match="annotated terms are not among the 1 terms: 'leaf', 'left', 'right'"):
            Ontology(small.terms.loc[["root"]], small.relations[:0], small.annotations)
        with pytest.raises(OntologyError, match="relations lacks the columns 'type'"):
            Ontology(small.terms, small.relations.drop(columns="type"), small.annotations)
        with pytest.raises(OntologyError, match="missing values"):
            Ontology(small.terms, small.relations, small.annotations.assign(gene=None))
        with pytest.raises(OntologyError, match=r"no text: '7157'.*astype\(str\)"):
            Ontology(small.terms, small.relations, small.annotations.assign(gene=[7157, *"BCDEF"]))
        with pytest.raises(OntologyError, match="empty name"):
            Ontology(small.terms, small.relations, small.annotations.assign(gene=["", *"BCDEF"]))
        with pytest.raises(OntologyError, match="terms are there twice: 'root'"):
            Ontology(pd.concat([small.terms, small.terms.loc[["root"]]]), small.relations, small.annotations)

    def test_assemble_drops_counts_and_names_what_contradicts_itself(self):
        found = Ontology.assemble(
            pd.DataFrame({"name": {"a": "", "b": ""}}),
            pd.DataFrame(
                [("a", "b", "is_a"), ("a", "b", "is_a"), ("a", "a", "is_a"), ("a", "gone", "is_a")],
                columns=["child", "parent", "type"],
            ),
            pd.DataFrame([("G", "a"), ("G", "a"), ("G", "gone")], columns=["gene", "term"]),
            step="read",
        )
        assert edges(found) == {"a b is_a"}
        assert len(found.annotations) == 1
        assert [(entry.kind, entry.names, entry.reason) for entry in found.log] == [
            ("relations", ("a -> a",), "dropped: a term cannot be its own parent (1 rows)"),
            ("relations", ("a -> gone",), "dropped: they name a term that is not there (1 rows)"),
            ("relations", ("a -> b",), "repeated and kept once (1 rows)"),
            ("annotations", ("G @ gone",), "dropped: they name a term that is not there (1 rows)"),
            ("annotations", ("G @ a",), "repeated and kept once (1 rows)"),
        ]

    def test_operations_leave_the_original_alone(self, small):
        before = small.annotations.copy(), small.terms.copy(), small.log
        small.restrict("AB").min_genes(2).most_specific()
        pd.testing.assert_frame_equal(small.annotations, before[0])
        pd.testing.assert_frame_equal(small.terms, before[1])
        assert small.log == before[2]


class TestReading:
    def test_graph_runs_with_the_signal_and_keeps_a_gene_and_a_term_of_one_name_apart(self):
        graph = build(["x y"], ["x x"]).graph
        assert set(graph.edges) == {(("gene", "x"), ("term", "x")), (("term", "x"), ("term", "y"))}
        assert graph.edges[("term", "x"), ("term", "y")]["type"] == "is_a"
        assert graph.nodes["term", "y"]["name"] == "y"

    def test_gene_sets_agree_with_a_traversal(self, small):
        graph = small.graph
        for term, genes in small.gene_sets().items():
            assert genes == {name for kind, name in nx.ancestors(graph, ("term", term)) if kind == "gene"}
        assert own(small) == {"leaf": "AB", "left": "C", "right": "D", "root": "AE"}
        assert carried(small) == {"leaf": "AB", "left": "ABC", "right": "ABD", "root": "ABCDE"}
        assert small.sizes.to_dict() == {"leaf": 2, "left": 3, "right": 3, "root": 5}

    def test_find_takes_an_id_or_a_name_and_helps_otherwise(self, small):
        assert small.find("leaf") == "leaf"
        assert small.find("The root") == "root"
        with pytest.raises(OntologyError, match="Did you mean 'The left'"):
            small.find("the left")
        with pytest.raises(OntologyError, match="2 terms are called 'twin': 'a', 'b'"):
            build([], ["G a"], {"a": "twin", "b": "twin"}).find("twin")


class TestOperations:
    def test_restrict(self, small):
        kept = small.restrict(["A", "D", "unknown"])
        assert kept.genes == ("A", "D")
        assert entries(kept, "restrict", "genes") == ["B", "C", "E"]

    def test_with_evidence(self):
        ontology = build([], ["A t IDA", "A t IEA", "B t IEA"])
        kept = ontology.with_evidence("experimental")
        assert kept.annotations["evidence"].tolist() == ["IDA"]
        assert entries(kept, "with evidence", "annotations") == ["A @ t", "B @ t"]
        assert entries(kept, "with evidence", "genes") == ["B"]
        with pytest.raises(OntologyError, match="carries evidence"):
            build([], ["A t"]).with_evidence("IDA")

    def test_propagate_follows_membership_and_never_regulation(self):
        ontology = build(["a b", "b c part_of", "b d regulates", "d e"], ["G a IDA", "G b IEA", "H d"])
        grown = ontology.propagate()
        assert own(grown) == {"a": "G", "b": "G", "c": "G", "d": "H", "e": "H"}
        assert set(grown.annotations.query("term == 'c'")["evidence"]) == {"IDA", "IEA"}
        assert entries(grown, "propagate", "terms") == ["b", "c", "e"]
        assert own(ontology.propagate(["is_a"])) == {"a": "G", "b": "G", "c": "", "d": "H", "e": "H"}
        with pytest.raises(ValueError, match="'regulates'"):
            ontology.propagate(["regulates"])

    def test_most_specific_undoes_propagation(self, small):
        assert own(small.propagate().most_specific()) == {"leaf": "AB", "left": "C", "right": "D", "root": "E"}
        assert entries(small.most_specific(), "most specific", "annotations") == ["A @ root"]

    def test_min_genes_counts_descendants_and_hands_genes_to_all_parents(self, small):
        kept = small.min_genes(3)
        assert own(kept) == {"left": "ABC", "right": "ABD", "root": "AE"}
        assert edges(kept) == {"left root is_a", "right root is_a"}
        assert entries(kept, "min genes", "terms") == ["leaf"]

    def test_a_removed_term_in_the_middle_hands_its_children_on_with_their_type(self):
        ontology = build(
            ["a b", "b c part_of", "c d", "b r regulates"], ["A a", "X x1", "B b", "C c", "D d", "E d", "F r"], {}
        )
        middle = (ontology.terms.index == "b") | (ontology.terms.index == "c")
        kept = ontology._hand_over(middle, "test", "removed")
        assert edges(kept) == {"a d part_of", "a r regulates"}
        assert own(kept) == {"a": "A", "d": "BCDE", "r": "F", "x1": "X"}

    def test_max_genes_makes_children_roots_and_logs_genes_without_a_parent(self, small):
        kept = small.max_genes(3)
        assert own(kept) == {"leaf": "AB", "left": "C", "right": "D"}
        assert entries(kept, "max genes", "genes") == ["E"]

    def test_depth_keeps_the_top_levels_and_all_genes(self, small):
        kept = small.depth(2)
        assert own(kept) == {"left": "ABC", "right": "ABD", "root": "AE"}
        assert own(small.depth(1)) == {"root": "ABCDE"}
        assert not small.depth(3).log
        with pytest.raises(ValueError, match="at least 1"):
            small.depth(0)

    def test_collapse_of_a_chain_keeps_the_highest(self):
        kept = build(["a b", "b c", "c d"], ["G a", "H d"]).collapse_identical()
        assert own(kept) == {"c": "G", "d": "H"}
        assert edges(kept) == {"c d is_a"}
        assert entries(kept, "collapse identical", "terms") == ["a -> c", "b -> c"]

    def test_collapse_of_unrelated_twins_joins_parents_and_children(self):
        kept = build(
            ["x t1", "y t2", "t1 p", "t2 q"], ["A x", "B t1", "B y", "A t2", "C p", "D q"], {"empty": "", "void": ""}
        ).collapse_identical()
        assert own(kept) == {"x": "A", "y": "B", "t1": "AB", "p": "C", "q": "D", "empty": "", "void": ""}
        assert edges(kept) == {"x t1 is_a", "y t1 is_a", "t1 p is_a", "t1 q is_a"}
        assert entries(kept, "collapse identical", "terms") == ["t2 -> t1"]

    def test_collapse_breaks_cycles_that_regulation_would_close(self):
        ontology = build(["a x regulates", "x b"], ["G a", "H x", "G b", "H b", "H a"])
        assert carried(ontology)["a"] == carried(ontology)["b"]
        kept = ontology.collapse_identical()
        assert edges(kept) == {"x a is_a"}
        assert entries(kept, "collapse identical", "relations") == ["a -> x"]

    def test_without_branch_keeps_what_another_way_leads_to(self, small):
        kept = small.without_branch("The left")
        assert list(kept.terms.index) == ["leaf", "right", "root"]
        assert entries(kept, "without branch", "terms") == ["left"]
        assert entries(kept, "without branch", "genes") == ["C"]
        gone = build(["a left", "left root", "a b", "b left"], ["G a", "H root"]).without_branch("left")
        assert list(gone.terms.index) == ["root"]

    def test_roots(self, small):
        kept = small.roots("right")
        assert list(kept.terms.index) == ["leaf", "right"]
        assert entries(kept, "roots", "genes") == ["C", "E"]
        with pytest.raises(ValueError, match="at least one"):
            small.roots()

    def test_provenance_travels(self, small):
        record = {"source": "hand", "files": []}
        ontology = Ontology(small.terms, small.relations, small.annotations, provenance=(record,))
        assert ontology.restrict("AB").min_genes(1).collapse_identical().provenance == (record,)

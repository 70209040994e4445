"""Dialects of GMT, and the files of MSigDB with the counts of data/README.md."""

from __future__ import annotations

import pytest

from vnn._errors import OntologyError
from vnn.ontology import read_gmt


@pytest.fixture
def gmt(tmp_path):
    def write(text):
        path = tmp_path / "sets.gmt"
        path.write_text(text)
        return path

    return write


def sets(ontology):
    return {term: "".join(sorted(genes)) for term, genes in ontology.gene_sets().items()}


@pytest.mark.parametrize(
    "text",
    [
        "One\tR-HSA-1\tA\tB\nTwo\tR-HSA-2\tC\n",
        "One\tR-HSA-1\tReactome Pathway\tA\tB\nTwo\tR-HSA-2\tReactome Pathway\tC\n",
        "One\tR-HSA-1\t A\tB \t\t\r\n\r\nTwo\tR-HSA-2\tC\t\r\n",
    ],
)
def test_stable_ids_are_found_and_the_first_gene_is_never_lost(gmt, text):
    ontology = read_gmt(gmt(text))
    assert sets(ontology) == {"R-HSA-1": "AB", "R-HSA-2": "C"}
    assert ontology.terms["name"].to_dict() == {"R-HSA-1": "One", "R-HSA-2": "Two"}
    assert ontology.log == ()


@pytest.mark.parametrize("description", ["", "na", "http://www.gsea-msigdb.org/ONE", "Reactome Pathway", "TP53"])
def test_any_other_description_leaves_the_name_as_the_id(gmt, description):
    assert sets(read_gmt(gmt(f"One\t{description}\tA\tB\nTwo\t{description}\tC\n"))) == {"One": "AB", "Two": "C"}


def test_the_field_of_the_id_can_be_told(gmt):
    path = gmt("One\tfirst\tA\nTwo\tsecond\tB\n")
    assert sets(read_gmt(path, ids="description")) == {"first": "A", "second": "B"}
    assert sets(read_gmt(gmt("One\tR-HSA-1\tA\n"), ids="name")) == {"One": "A"}
    with pytest.raises(OntologyError, match="no description") as caught:
        read_gmt(gmt("One\tfirst\tA\nTwo\t\tB\n"), ids="description")
    assert caught.value.__notes__ == ["reading sets.gmt, line 2"]


def test_repeats_and_empty_sets_are_counted(gmt):
    ontology = read_gmt(gmt("One\t\tA\tA\tB\nVoid\t\nOne\t\tC\tB\n"))
    assert sets(ontology) == {"One": "ABC", "Void": ""}
    assert [str(entry) for entry in ontology.log] == [
        "read gmt: 1 terms occur in several lines; their genes were joined: 'One'",
        "read gmt: 2 annotations repeated in their set and kept once: 'A @ One', 'B @ One'",
        "read gmt: 1 terms kept without genes: their set is empty: 'Void'",
    ]


def test_a_line_without_tabs_is_located(gmt):
    with pytest.raises(OntologyError, match="separated by tabs; this one is 'Two A B'") as caught:
        read_gmt(gmt("One\t\tA\nTwo A B\n"))
    assert caught.value.__notes__ == ["reading sets.gmt, line 2"]


def test_a_hierarchy_joins_the_sets(gmt, tmp_path):
    relations = tmp_path / "relations.tsv"
    relations.write_text("# comment\nparent\tchild\nTop\tOne\nTop\tTwo\n")
    ontology = read_gmt(gmt("One\t\tA\nTwo\t\tB\n"), relations=relations)
    assert sets(ontology) == {"One": "A", "Two": "B", "Top": "AB"}
    assert [record["name"] for record in ontology.provenance[0]["files"]] == ["sets.gmt", "relations.tsv"]


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "n_sets", "n_genes", "memberships"),
    [("h.all.v2022.1.Hs.symbols.gmt", 50, 4_384, 7_322), ("c6.all.v2022.1.Hs.symbols.gmt", 189, 10_928, None)],
)
def test_msigdb(real, name, n_sets, n_genes, memberships):
    ontology = read_gmt(real(f"msigdb/{name}"))
    assert (len(ontology.terms), len(ontology.genes)) == (n_sets, n_genes)
    if memberships:
        assert len(ontology.annotations) == memberships
        assert (ontology.sizes.min(), ontology.sizes.max()) == (32, 200)

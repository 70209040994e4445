"""Dialects of GMT, and the files of MSigDB with the counts of data/README.md."""

from __future__ import annotations

import gzip

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


def test_expimap_is_read_when_asked_for_and_the_error_says_how(gmt):
    path = gmt("One A B\nTwo B  C\n")
    assert sets(read_gmt(path, form="spaced")) == {"One": "AB", "Two": "BC"}
    with pytest.raises(OntologyError, match="separated by spaces and has no descriptions, say form='spaced'"):
        read_gmt(path)
    with pytest.raises(ValueError, match="'auto', 'described', 'bare', 'spaced'"):
        read_gmt(path, form="expimap")


def test_missing_descriptions_are_noticed(gmt):
    path = gmt("One\tA\tB\nTwo\tB\tA\tC\n")
    with pytest.raises(OntologyError, match="the second field of all 2 lines is a gene of some set, the first 'A'"):
        read_gmt(path)
    assert sets(read_gmt(path, form="bare")) == {"One": "AB", "Two": "ABC"}
    assert sets(read_gmt(path, form="described")) == {"One": "B", "Two": "AC"}
    ontology = read_gmt(gmt("One\tA\tB\nTwo\tna\tA\tC\n"))
    assert sets(ontology) == {"One": "B", "Two": "AC"}
    assert [str(entry) for entry in ontology.log] == [
        "read gmt: 1 lines whose description is a gene of some set: if it is missing there, that gene is lost: "
        "'sets.gmt, line 1: One (A)'"
    ]


WIKI = "Sugar%WikiPathways_20260110%WP1%Homo sapiens\thttps://www.wikipathways.org/instance/WP1\t1\t2\n"
WIKI += "Sugar%WikiPathways_20260110%WP2%Homo sapiens\thttps://www.wikipathways.org/instance/WP2\t3\n"


def test_wikipathways(gmt):
    ontology = read_gmt(gmt(WIKI))
    assert sets(ontology) == {"WP1": "12", "WP2": "3"}
    assert ontology.terms["name"].tolist() == ["Sugar", "Sugar"]
    record = ontology.provenance[0]
    assert (record["source"], record["release"], record["species"]) == ("WikiPathways", "20260110", "Homo sapiens")
    assert set(sets(read_gmt(gmt(WIKI), ids="name"))) == {line.split("\t")[0] for line in WIKI.split("\n") if line}


def test_mixed_species_are_told_apart(gmt):
    path = gmt(WIKI + "Salt%WikiPathways_20260110%WP3%Mus musculus\t\t9\n")
    with pytest.raises(
        OntologyError, match=r"mix 2 species: 'Homo sapiens', 'Mus musculus'\. Choose one with species="
    ):
        read_gmt(path)
    ontology = read_gmt(path, species="Mus musculus")
    assert sets(ontology) == {"WP3": "9"}
    assert str(ontology.log[0]) == "read gmt: 2 terms left out: they are not of Mus musculus: 'WP1', 'WP2'"
    with pytest.raises(ValueError, match="Did you mean 'Mus musculus'"):
        read_gmt(path, species="mus musculus")
    with pytest.raises(OntologyError, match="the names of the sets tell none; leave it out"):
        read_gmt(gmt("One\t\tA\n"), species="Homo sapiens")


@pytest.mark.parametrize(
    "write",
    [
        lambda b: b,
        lambda b: b"\xef\xbb\xbf" + b,
        lambda b: b.replace(b"\n", b"\r\n"),
        lambda b: b.replace(b"\t", b" \t  "),
        lambda b: b.replace(b"\n", b"\t\t\n\n"),
        gzip.compress,
    ],
)
def test_byte_order_mark_line_ends_and_padding_change_nothing(tmp_path, write):
    path = tmp_path / "sets.gmt"
    path.write_bytes(write(b"One\thttp://www.gsea-msigdb.org/ONE\tA\tB\nTwo\t\tC\n"))
    assert sets(read_gmt(path)) == {"One": "AB", "Two": "C"}

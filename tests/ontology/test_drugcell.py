"""DrugCell's ontology text and its lists of genes: a ten-line file, and the published one with its counts."""

from __future__ import annotations

import gzip

import pytest

from vnn._errors import OntologyError
from vnn.ontology.drugcell import read_drugcell, read_index, write_drugcell
from vnn.ontology.edges import read_edges

TEXT = "top\tlower mid\tdefault\nlower mid\tlow\tdefault\nlow\tTP53\tgene\nlower mid\tEGFR\tgene\nlow\tMYC\tgene\n"


@pytest.fixture
def file(tmp_path):
    def write(text, name="ont.txt"):
        path = tmp_path / name
        path.write_text(text, newline="")
        return path

    return write


def rows(ontology):
    relations = {(r.child, r.parent, r.type) for r in ontology.relations.itertuples()}
    return relations, {(a.gene, a.term) for a in ontology.annotations.itertuples()}


@pytest.mark.parametrize("text", [TEXT, TEXT.replace("\n", "\r\n"), "\ufeff" + TEXT, TEXT.replace("TP53\t", "TP53 \t")])
def test_terms_and_genes(file, text):
    ontology = read_drugcell(file(text))
    assert rows(ontology) == (
        {("lower mid", "top", "part_of"), ("low", "lower mid", "part_of")},
        {("TP53", "low"), ("EGFR", "lower mid"), ("MYC", "low")},
    )
    assert [str(entry) for entry in ontology.log] == [
        "read drugcell: 2 relations read as part_of: their type is 'default': 'low -> lower mid', 'lower mid -> top'"
    ]


def test_names_of_relations_are_kept_as_in_g2pt(file):
    ontology = read_drugcell(file("a\tb\tis_a\na\tc\tregulates\na\td\tBP\nb\tG\tgene\n"))
    assert rows(ontology)[0] == {("b", "a", "is_a"), ("c", "a", "regulates"), ("d", "a", "part_of")}
    assert [entry.reason for entry in ontology.log] == ["read as part_of: their type is 'BP'"]


def test_genes_outside_the_list_leave_and_no_term_does(file):
    genes = file("1\tMYC\n0\tTP53\n2\tKRAS\n", "gene2ind.txt")
    ontology = read_drugcell(file(TEXT + "alone\tXIST\tgene\n"), genes)
    assert rows(ontology)[1] == {("TP53", "low"), ("MYC", "low")}
    assert set(ontology.terms.index) == {"top", "lower mid", "low", "alone"}
    assert [str(entry) for entry in ontology.log[1:]] == [
        "read drugcell: 2 genes dropped: they are not in gene2ind.txt: 'EGFR', 'XIST'",
        "read drugcell: 1 genes in gene2ind.txt, but in no term: 'KRAS'",
    ]
    assert [f["name"] for f in ontology.provenance[0]["files"]] == ["ont.txt", "gene2ind.txt"]


@pytest.mark.parametrize("line", ["a\tb", "a\tb\tgene\tx", "a b gene", "a\t\tgene"])
def test_broken_lines_are_located(file, line):
    with pytest.raises(OntologyError, match="separated by tabs; this one has") as caught:
        read_drugcell(file(TEXT + line + "\n"))
    assert caught.value.__notes__ == ["reading ont.txt, line 6"]


def test_a_cycle_is_shown(file):
    with pytest.raises(OntologyError, match="a -> b -> a"):
        read_drugcell(file("a\tb\tdefault\nb\ta\tdefault\n"))


def test_index_lists(file):
    assert read_index(file("1\tB\n0\tA\n")) == ("A", "B")
    for text, says in [
        ("0\tA\n2\tB\n", "need the indices 0 to 1; 1 is missing"),
        ("0\tA\n0\tB\n", "the index 0 is there twice"),
        ("0\tA\n1\tA\n", "names are there twice: 'A'"),
        ("A\t0\n", "needs an index and a name"),
    ]:
        with pytest.raises(OntologyError, match=says):
            read_index(file(text))


def test_writing_says_what_is_lost(tmp_path, file):
    ontology = read_edges(
        file("child,parent,type,evidence\nb,a,is_a,\nc,a,part_of,\nG,b,gene,IDA\nG,c,gene,\n", "e.csv"), genes="typed"
    )
    lost = write_drugcell(ontology, tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text() == "a\tb\tdefault\na\tc\tdefault\nb\tG\tgene\nc\tG\tgene\n"
    assert [str(entry) for entry in lost] == [
        "write drugcell: 1 relations written without their types, as part_of: 'b -> a'",
        "write drugcell: 1 annotations written without their evidence and qualifiers: 'G @ b'",
    ]
    assert [entry.kind for entry in write_drugcell(ontology, tmp_path / "typed.txt", types=True)] == ["annotations"]
    assert "a\tb\tis_a\n" in (tmp_path / "typed.txt").read_text()


def test_regulation_is_never_written_as_membership(tmp_path, file):
    ontology = read_drugcell(file("a\tb\tregulates\nb\tG\tgene\n"))
    with pytest.raises(OntologyError, match=r"1 relations are regulation.*'b -> a'.*types=True"):
        write_drugcell(ontology, tmp_path / "out.txt")
    assert not (tmp_path / "out.txt").exists()
    assert write_drugcell(ontology, tmp_path / "out.txt", types=True) == ()


@pytest.mark.data
def test_the_published_ontology(real, tmp_path):
    path, listed = real("architectures/drugcell/drugcell_ont.txt.gz"), real("architectures/drugcell/gene2ind.txt")
    ontology = read_drugcell(path, listed)
    assert (len(ontology.terms), len(ontology.relations), len(ontology.annotations)) == (2_086, 3_167, 59_753)
    assert set(ontology.genes) == set(read_index(listed))
    assert len(read_index(listed)) == 3_008
    assert set(ontology.terms.index) - set(ontology.relations["child"]) == {"GO:0008150"}
    assert len(ontology.log) == 1
    assert write_drugcell(ontology, tmp_path / "again.txt.gz") == ()
    with gzip.open(path, "rt") as old, gzip.open(tmp_path / "again.txt.gz", "rt") as new:
        assert sorted(old) == sorted(new)

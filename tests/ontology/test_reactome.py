"""Reactome: species, names, and the numbers of SCIENCE.md and data/README.md on the given release."""

from __future__ import annotations

import networkx as nx
import pytest

from vnn._errors import OntologyError
from vnn.ontology import read_reactome
from vnn.ontology.reactome import read_reactome_mapping

GMT = "Leaf\tR-HSA-3\tA\tB\nMiddle\tR-HSA-2\tA\tB\tC\n"
RELATIONS = "R-HSA-1\tR-HSA-2\nR-HSA-2\tR-HSA-3\nR-MMU-1\tR-MMU-2\n"
NAMES = "".join(f"R-HSA-{i}\t{name}\tHomo sapiens\n" for i, name in enumerate(["Top", "Middle", "Leaf"], start=1))
NAMES += "R-MMU-1\tTop\tMus musculus\n"


@pytest.fixture
def files(tmp_path):
    def write(gmt=GMT, relations=RELATIONS, names=NAMES):
        paths = []
        for name, text in (("sets.gmt", gmt), ("relations.txt", relations), ("names.txt", names)):
            path = tmp_path / name
            path.write_text(text)
            paths.append(path)
        return paths

    return write


def test_one_species_is_read_and_the_others_are_counted(files):
    ontology = read_reactome(*files())
    assert ontology.terms["name"].to_dict() == {"R-HSA-1": "Top", "R-HSA-2": "Middle", "R-HSA-3": "Leaf"}
    assert ontology.relations.values.tolist() == [["R-HSA-2", "R-HSA-1", "part_of"], ["R-HSA-3", "R-HSA-2", "part_of"]]
    assert [str(entry) for entry in ontology.log] == [
        "read reactome: 2 terms left out: they are not of Homo sapiens: 'R-MMU-1', 'R-MMU-2'",
        "read reactome: 1 terms kept without a gene set of their own: 'R-HSA-1'",
    ]
    assert ontology.provenance[0]["species"] == "Homo sapiens"


def test_names_are_optional_and_species_are_checked(files):
    gmt, relations, _ = files()
    assert read_reactome(gmt, relations).terms.loc["R-HSA-1", "name"] == "R-HSA-1"
    with pytest.raises(ValueError, match="Did you mean 'Homo sapiens'"):
        read_reactome(gmt, relations, species="homo sapiens")
    with pytest.raises(OntologyError, match="none of 5 ids starts with 'R-RNO-'"):
        read_reactome(gmt, relations, species="Rattus norvegicus")


def test_dangling_self_referring_and_repeated_relations_are_counted(files):
    ontology = read_reactome(*files(relations=RELATIONS + "R-HSA-1\tR-HSA-2\nR-HSA-2\tR-HSA-2\nR-MMU-1\tR-HSA-2\n"))
    reasons = {entry.names: entry.reason for entry in ontology.log if entry.kind == "relations"}
    assert reasons == {
        ("R-HSA-2 -> R-HSA-2",): "dropped: a term cannot be its own parent (1 rows)",
        ("R-HSA-2 -> R-MMU-1",): "dropped: they name a term that is not there (1 rows)",
        ("R-HSA-2 -> R-HSA-1",): "repeated and kept once (1 rows)",
    }


def test_a_cycle_and_a_broken_line_name_the_file(files):
    with pytest.raises(OntologyError, match="R-HSA-1 -> R-HSA-3 -> R-HSA-2 -> R-HSA-1") as caught:
        read_reactome(*files(relations=RELATIONS + "R-HSA-3\tR-HSA-1\n"))
    assert caught.value.__notes__ == ["reading sets.gmt, relations.txt, names.txt"]
    with pytest.raises(OntologyError, match="parent and child") as caught:
        read_reactome(*files(relations=RELATIONS + "R-HSA-3\n"))
    assert caught.value.__notes__ == ["reading relations.txt, line 4"]


@pytest.fixture(scope="module")
def reactome(real):
    return read_reactome(
        *(real(f"reactome/Reactome{name}") for name in ("Pathways.gmt", "PathwaysRelation.txt", "Pathways.txt.gz"))
    )


@pytest.mark.data
class TestGivenRelease:
    def test_sizes(self, reactome):
        assert (len(reactome.terms), len(reactome.relations), len(reactome.annotations)) == (2_516, 2_535, 120_605)
        # data/README.md says 11,374; the file holds 11,375 distinct members.
        assert len(reactome.genes) == 11_375
        without = [entry for entry in reactome.log if "without a gene set" in entry.reason]
        assert [entry.count for entry in without] == [32]
        sizes = reactome.sizes[reactome.sizes > 0]
        with_set = sizes[sizes.index.isin(reactome.annotations["term"])]
        assert (len(with_set), with_set.min(), with_set.median(), with_set.max()) == (2_484, 1, 15, 2_542)

    def test_shape(self, reactome):
        children, parents = set(reactome.relations["child"]), set(reactome.relations["parent"])
        assert len(parents - children) == 28
        assert len(children - parents) == 1_774
        assert (reactome.relations["child"].value_counts() > 1).sum() == 36
        hierarchy = nx.DiGraph(zip(reactome.relations["child"], reactome.relations["parent"], strict=True))
        assert nx.dag_longest_path_length(hierarchy) == 11

    def test_memberships_are_already_propagated(self, reactome):
        own, grown = (reactome.gene_sets(propagated=propagated) for propagated in (False, True))
        assert [term for term in own if own[term] != grown[term] and own[term]] == []

    def test_most_specific_memberships(self, reactome):
        specific = reactome.most_specific()
        assert len(specific.annotations) == 40_626
        had, has = set(reactome.annotations["term"]), set(specific.annotations["term"])
        assert (len(had), len(had - has)) == (2_484, 490)

    def test_disease_branch(self, reactome):
        kept = reactome.without_branch("Disease")
        gone = set(reactome.terms.index) - set(kept.terms.index)
        assert len(gone) == 652
        assert len(gone & set(reactome.annotations["term"])) == 634

    def test_identical_sets(self, reactome):
        with_set = set(reactome.annotations["term"])
        groups: dict[frozenset[str], list[str]] = {}
        for term, genes in reactome.gene_sets().items():
            if term in with_set:
                groups.setdefault(genes, []).append(term)
        alike = [group for group in groups.values() if len(group) > 1]
        assert (len(alike), sum(map(len, alike))) == (127, 343)
        collapsed = reactome.collapse_identical()
        merged = [entry for entry in collapsed.log if entry.step == "collapse identical" and entry.kind == "terms"]
        # One term without a set of its own has the genes of its only child: 345 terms in 128 groups.
        assert [entry.count for entry in merged] == [345 - 128]

    def test_default_wiring(self, reactome):
        topology = reactome.without_branch("Disease").topology(reactome.genes)
        assert [len(level) for level in topology.levels] == [11_113, 1_073, 290, 113, 55, 33, 18, 8, 3, 2, 2, 1]
        assert topology.n_edges == 37_067
        assert topology.label("R-HSA-1640170") == "Cell Cycle"


MAPPING = """P1\tR-HSA-3\thttps://reactome.org/PathwayBrowser/#/R-HSA-3\tLeaf\tTAS\tHomo sapiens
P1\tR-HSA-3\thttps://reactome.org/PathwayBrowser/#/R-HSA-3\tLeaf\tIEA\tHomo sapiens
P2\tR-HSA-2\thttps://reactome.org/PathwayBrowser/#/R-HSA-2\tMiddle\tIEA\tHomo sapiens
P3\tR-MMU-2\thttps://reactome.org/PathwayBrowser/#/R-MMU-2\tMiddle\tIEA\tMus musculus
"""
UP = "P1\tR-HSA-{0}\thttps://reactome.org/PathwayBrowser/#/R-HSA-{0}\tx\tTAS\tHomo sapiens\n"


class TestMapping:
    def test_one_species_with_evidence_and_hierarchy(self, files, tmp_path):
        _, relations, names = files()
        (tmp_path / "UniProt2Reactome.txt").write_text(MAPPING)
        ontology = read_reactome_mapping(tmp_path / "UniProt2Reactome.txt", relations, names)
        assert ontology.annotations.values.tolist() == [
            ["P1", "R-HSA-3", "IEA", ""],
            ["P1", "R-HSA-3", "TAS", ""],
            ["P2", "R-HSA-2", "IEA", ""],
        ]
        assert ontology.gene_sets()["R-HSA-1"] == {"P1", "P2"}
        assert ontology.with_evidence("TAS").genes == ("P1",)
        assert [str(entry) for entry in ontology.log] == [
            "read reactome mapping: 1 annotations left out: they are not of Homo sapiens (1 rows): 'P3 @ R-MMU-2'",
            "read reactome mapping: 2 terms left out: they are not of Homo sapiens: 'R-MMU-1', 'R-MMU-2'",
            "read reactome mapping: 1 terms kept without a gene set of their own: 'R-HSA-1'",
        ]
        mouse = read_reactome_mapping(tmp_path / "UniProt2Reactome.txt", species="Mus musculus")
        assert (mouse.genes, len(mouse.relations), mouse.provenance[0]["species"]) == (("P3",), 0, "Mus musculus")

    def test_all_levels_come_back_to_the_lowest(self, files, tmp_path):
        _, relations, names = files()
        low, all_levels = tmp_path / "low.txt", tmp_path / "UniProt2Reactome_All_Levels.txt"
        low.write_text(UP.format(3))
        all_levels.write_text("".join(UP.format(i) for i in (1, 2, 3)))
        lowest = read_reactome_mapping(low, relations, names)
        every = read_reactome_mapping(all_levels, relations, names)
        assert every.annotations.equals(lowest.propagate().annotations)
        assert every.most_specific().annotations.equals(lowest.annotations)

    def test_flaws_are_located(self, tmp_path):
        path = tmp_path / "mapping.txt"
        path.write_text(MAPPING + "P4\tR-HSA-3\n")
        with pytest.raises(OntologyError, match="needs id, pathway, URL, name, evidence and species") as caught:
            read_reactome_mapping(path)
        assert caught.value.__notes__ == ["reading mapping.txt, line 5"]
        path.write_text(MAPPING)
        with pytest.raises(
            OntologyError, match="none of the 4 rows is of Rattus norvegicus; they are of 'Homo sapiens'"
        ):
            read_reactome_mapping(path, species="Rattus norvegicus")

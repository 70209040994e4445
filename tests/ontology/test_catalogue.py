"""The catalogue: recipes are complete, files are found and checked, the snapshot is what it says."""

from __future__ import annotations

import gzip
import shutil
from importlib import resources
from pathlib import Path

import pytest

from vnn._atomic import sha256
from vnn._errors import OntologyError
from vnn.ontology import Identifiers, catalogue, load_ontology
from vnn.ontology.wiring import unaccounted


def test_every_recipe_is_complete():
    recipes = {recipe.name: recipe for recipe in catalogue()}
    assert set(recipes) == {"go", "hallmark", "human-small", "reactome"}
    for recipe in recipes.values():
        assert recipe.licence
        assert recipe.citation
        for release in recipe.releases:
            assert release.release == "current" or all(needed.sha256 for needed in release.files)
            assert all(needed.address for needed in release.files)


def test_recipes_inside_an_installed_package_come_first(monkeypatch, tmp_path):
    assert len(catalogue()) == 4
    shutil.copytree(Path(__file__).parents[2] / "ontologies", tmp_path / "ontologies")
    (tmp_path / "ontologies" / "go.toml").unlink()
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    assert [recipe.name for recipe in catalogue()] == ["hallmark", "human-small", "reactome"]
    assert len(load_ontology("human-small").terms) == 33


class TestSnapshot:
    def test_loads_without_files_of_the_user(self):
        ontology = load_ontology("human-small")
        assert (len(ontology.terms), len(ontology.genes)) == (33, 245)
        assert ontology.log == ()
        (record,) = ontology.provenance
        assert (record["recipe"], record["release"], record["species"]) == ("human-small", "1", "Homo sapiens")
        assert "not a curated resource" in record["citation"]
        assert all(len(file["sha256"]) == 64 for file in record["files"])

    def test_shape(self):
        ontology = load_ontology("human-small")
        children = set(ontology.relations["child"])
        roots = set(ontology.terms.index) - children
        assert roots == {
            "Cell cycle",
            "DNA repair",
            "Immune system",
            "Metabolism",
            "Programmed cell death",
            "Signal transduction",
        }
        leaves = children - set(ontology.relations["parent"])
        assert ontology.sizes[list(leaves)].between(8, 20).all()
        assert (ontology.annotations["gene"].value_counts() > 1).sum() > 15
        topology = ontology.topology(ontology.genes)
        assert [level.name for level in topology.levels] == ["inputs", "level 1", "level 2", "level 3"]
        assert unaccounted(ontology, ontology.genes, topology) == ()
        assert topology.provenance == ontology.provenance

    @pytest.mark.data
    def test_every_symbol_is_approved(self, real):
        table = Identifiers.read(real("geneid/hgnc_complete_set.txt.gz"))
        assert set(load_ontology("human-small").genes) <= table.approved


RECIPE = """
name = "mine"
title = "My sets"
reader = "gmt"
species = "Homo sapiens"
identifier = "symbol"
licence = "MIT"
citation = "me"
redistributable = true
[choices]
ids = "name"
[[releases]]
release = "1"
[[releases.files]]
role = "gmt"
name = "mine.gmt"
format = "gmt"
address = "https://example.org/mine.gmt"
sha256 = "@"
"""


@pytest.fixture
def mine(tmp_path):
    """A recipe of the user's own with its file beside it."""
    (tmp_path / "mine.gmt").write_text("Cell cycle\t\tA\tB\nDisease\t\tC\n")
    (tmp_path / "mine.toml").write_text(RECIPE.replace("@", sha256(tmp_path / "mine.gmt")))
    return tmp_path


def test_a_recipe_of_ones_own_and_its_choices(mine):
    ontology = load_ontology(mine / "mine.toml", folder=mine)
    assert ontology.genes == ("A", "B", "C")
    assert ontology.provenance[0]["release"] == "1"
    assert load_ontology(str(mine / "mine.toml"), folder=mine, without_branch="Disease").genes == ("A", "B")
    assert load_ontology(mine / "mine.toml", folder=mine, roots=["Disease"]).genes == ("C",)
    with pytest.raises(ValueError, match="Did you mean 'without_branch'"):
        load_ontology(mine / "mine.toml", folder=mine, without_branches="Disease")


def test_a_compressed_file_has_the_same_release(mine):
    path = mine / "mine.gmt"
    (mine / "mine.gmt.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    record = load_ontology(mine / "mine.toml", folder=mine).provenance[0]
    assert record["release"] == "1"
    assert record["files"][0]["name"] == "mine.gmt.gz"


def test_missing_and_changed_files_say_what_to_do(mine):
    with pytest.raises(OntologyError, match=r"needs folder=.*gmt: mine.gmt from https://example.org/mine.gmt"):
        load_ontology(mine / "mine.toml")
    (mine / "mine.gmt").write_text("Cell cycle\t\tA\n")
    for release in (None, "1"):
        with pytest.raises(
            OntologyError, match=r"not those of 'My sets', release '1': 'mine.gmt' have another SHA-256"
        ):
            load_ontology(mine / "mine.toml", folder=mine, release=release)
    with pytest.raises(ValueError, match="the release of 'mine' is '2'; known are '1'"):
        load_ontology(mine / "mine.toml", folder=mine, release="2")
    (mine / "mine.gmt").unlink()
    with pytest.raises(OntologyError, match=r"lacks 1 of the files of 'My sets': gmt: mine\.gmt from"):
        load_ontology(mine / "mine.toml", folder=mine)


def test_unknown_names_and_broken_recipes(mine):
    with pytest.raises(ValueError, match="Did you mean 'reactome'"):
        load_ontology("reactom")
    with pytest.raises(FileNotFoundError):
        load_ontology(mine / "none.toml")
    (mine / "mine.toml").write_text("name = 1")
    with pytest.raises(OntologyError, match=r"mine.toml is no recipe"):
        load_ontology(mine / "mine.toml")


@pytest.mark.data
def test_reactome_of_the_given_release(real):
    folder = real("reactome/ReactomePathways.gmt").parent
    ontology = load_ontology("reactome", folder=folder)
    assert ontology.provenance[0]["release"] == "pnet"
    assert len(ontology.terms) == 2_516 - 652
    assert len(load_ontology("reactome", folder=folder, release="current", without_branch=()).terms) == 2_516


@pytest.mark.data
def test_reactome_of_another_release_is_current_and_never_the_fixed_one(real, tmp_path):
    for name in ("ReactomePathways.gmt", "ReactomePathwaysRelation.txt", "ReactomePathways.txt.gz"):
        shutil.copy(real(f"reactome/{name}"), tmp_path / name)
    path = tmp_path / "ReactomePathways.gmt"
    path.chmod(0o644)
    path.write_text(path.read_text().replace("\tBRCA1", "", 1))
    assert load_ontology("reactome", folder=tmp_path).provenance[0]["release"] == "current"
    with pytest.raises(OntologyError, match=r"release 'pnet': 'ReactomePathways.gmt' have another SHA-256"):
        load_ontology("reactome", folder=tmp_path, release="pnet")


@pytest.mark.data
def test_go_and_hallmark(real, tmp_path):
    hallmark = load_ontology("hallmark", folder=real("msigdb/h.all.v2022.1.Hs.symbols.gmt").parent)
    assert (len(hallmark.terms), hallmark.provenance[0]["release"]) == (50, "2022.1")
    (tmp_path / "go-basic.obo").write_bytes(gzip.decompress(real("go/mgi-exttest-go-subset.obo.gz").read_bytes()))
    shutil.copy(real("go/mgi-exttest.gaf"), tmp_path / "goa_human.gaf")
    everything = load_ontology("go", folder=tmp_path, taxon=10090)
    assert len(everything.genes) == 425
    chosen = load_ontology("go", folder=tmp_path, taxon=10090, roots="biological_process", evidence="IDA")
    assert set(chosen.terms["namespace"]) == {"biological_process"}
    assert set(chosen.annotations["evidence"]) == {"IDA"}

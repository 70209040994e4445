"""The catalogue: recipes are complete, files are found and checked, the snapshot is what it says."""

from __future__ import annotations

import gzip
import shutil
from importlib import resources
from pathlib import Path

import pytest

from tests.ontology.serving import HEAD
from vnn._atomic import sha256
from vnn._errors import OntologyError
from vnn.ontology import Identifiers, Topology, catalogue, load_ontology
from vnn.ontology.catalogue import READERS, Recipe, find_recipe, read_files
from vnn.ontology.wiring import unaccounted

SHIPPED = ["go", "hallmark", "hpo", "human-small", "kegg", "mp", "reactome", "wikipathways"]


@pytest.fixture(autouse=True)
def nothing_of_the_users(monkeypatch, tmp_path):
    """No test sees the cache or the recipes of whoever runs it."""
    monkeypatch.setenv("VNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VNN_RECIPES", raising=False)


def test_every_recipe_is_complete():
    recipes = {recipe.name: recipe for recipe in catalogue()}
    assert sorted(recipes) == SHIPPED
    for recipe in recipes.values():
        assert recipe.licence
        assert recipe.citation
        assert recipe.identifier
        for release in recipe.releases:
            free = release.release == "current" or release.pattern
            assert free or all(needed.sha256 for needed in release.files)
            assert not free or not any(needed.sha256 for needed in release.files)
            for needed in release.files:
                assert needed.address.startswith("https://") or recipe.name == "human-small"
                assert ("{release}" in needed.address) == bool(release.pattern)


def test_readers_of_recipes_are_known():
    assert {recipe.reader for recipe in catalogue()} <= set(READERS)


def test_kegg_is_a_recipe_and_never_a_file():
    (kegg,) = (recipe for recipe in catalogue() if recipe.name == "kegg")
    assert not kegg.redistributable
    assert "no redistribution" in kegg.licence
    assert not list((Path(__file__).parents[2] / "ontologies").glob("*kegg*/*"))


def test_recipes_inside_an_installed_package_come_first(monkeypatch, tmp_path):
    shutil.copytree(Path(__file__).parents[2] / "ontologies", tmp_path / "ontologies")
    (tmp_path / "ontologies" / "go.toml").unlink()
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    assert [recipe.name for recipe in catalogue()] == SHIPPED[1:]
    assert len(load_ontology("human-small").terms) == 33


@pytest.mark.parametrize(
    ("name", "release", "addresses"),
    [
        ("go@2026-10-01", "2026-10-01", "release.geneontology.org/2026-10-01/annotations/gaf/HUMAN-uniprot.gaf.gz"),
        ("go-bp@2024-06-17", "2024-06-17", "release.geneontology.org/2024-06-17/annotations/goa_human.gaf.gz"),
        ("reactome@95", "95", "download.reactome.org/95/ReactomePathways.gmt.zip"),
        ("hallmark@2026.1", "2026.1", "release/2026.1.Hs/h.all.v2026.1.Hs.symbols.gmt"),
        ("wikipathways@20260910", "20260910", "20260910/gmt/wikipathways-20260910-gmt-Homo_sapiens.gmt"),
        ("hpo@2026-06-23", "2026-06-23", "download/v2026-06-23/genes_to_phenotype.txt"),
        ("go@2026-08-05", "2026-08-05", "release.geneontology.org/2026-08-05/ontology/go-basic.obo"),
    ],
)
def test_a_release_may_be_part_of_the_name(name, release, addresses):
    found = find_recipe(name).release
    assert found is not None
    assert (found.release, found.pattern) == (release, "")
    assert any(needed.address.endswith(addresses) for needed in found.files)
    assert not any("{" in needed.name + needed.address for needed in found.files)


def test_names_and_releases_that_are_not_there():
    with pytest.raises(
        ValueError,
        match=r"the release of 'go' is '1999'; known are 'current', '2026-08-05', 'any of the form YYYY-MM-DD'",
    ):
        find_recipe("go@1999")
    with pytest.raises(ValueError, match="names the release '97', and release='98' another"):
        find_recipe("reactome@97", release="98")
    with pytest.raises(ValueError, match="Did you mean 'go-bp'"):
        find_recipe("go-bpp")
    assert find_recipe("go-mf").choices["roots"] == ["molecular_function"]
    assert find_recipe("go").recipe == find_recipe("go-mf").recipe


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


RECIPE = (
    HEAD
    + """[choices]
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
)


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
    what = r"not in the cache. Fetch them with `vnn ontology get .*mine.toml`, or give folder=.*gmt: mine.gmt from https://example.org/mine"
    with pytest.raises(OntologyError, match=what):
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


class TestRecipesOfOnesOwn:
    def test_work_like_shipped_ones(self, mine, monkeypatch):
        assert load_ontology("mine", folder=mine, recipes=mine).genes == ("A", "B", "C")
        assert [recipe.name for recipe in catalogue(mine)] == sorted([*SHIPPED, "mine"])
        with pytest.raises(ValueError, match="the ontology is 'mine'; known are"):
            load_ontology("mine", folder=mine)
        monkeypatch.setenv("VNN_RECIPES", str(mine))
        assert load_ontology("mine", folder=mine).provenance[0]["recipe"] == "mine"
        with pytest.raises(ValueError, match="Did you mean 'mine'"):
            load_ontology("minee")

    def test_take_the_place_of_a_shipped_one(self, mine):
        (mine / "go.toml").write_text((mine / "mine.toml").read_text().replace('"mine"', '"go"'))
        assert find_recipe("go", recipes=mine).recipe.title == "My sets"
        assert find_recipe("go").recipe.title == "Gene Ontology"

    def test_a_folder_that_is_not_there(self, mine):
        with pytest.raises(FileNotFoundError, match="no folder of recipes"):
            catalogue(mine / "nowhere")

    @pytest.mark.parametrize(
        ("old", "new", "what"),
        [
            ('name = "mine.gmt"', 'name = "../mine.gmt"', "cannot be the name of a file"),
            ('name = "mine"', 'name = "my/sets"', "cannot be the name of a file"),
            ('release = "1"', 'release = ".."', "cannot be the name of a file"),
            ('role = "gmt"', 'role = "obo"', "lacks the roles 'gmt' of its reader"),
            ('release = "1"', 'release = "1"\npattern = "1"', "at least one of them without a pattern"),
            ('release = "1"', 'release = "1"\npattern = "("', "no recipe of an ontology"),
            ('sha256 = "', 'sha256 = "x', "sha256"),
            ('licence = "MIT"', "", "licence"),
        ],
    )
    def test_broken_ones_say_what_is_wrong(self, mine, old, new, what):
        text = (mine / "mine.toml").read_text()
        assert old in text
        (mine / "mine.toml").write_text(text.replace(old, new, 1))
        with pytest.raises(OntologyError, match=what):
            Recipe.read(mine / "mine.toml")

    def test_an_unknown_reader_is_told_when_it_is_needed(self, mine):
        text = (mine / "mine.toml").read_text()
        (mine / "mine.toml").write_text(text.replace('reader = "gmt"', 'reader = "gmtt"'))
        with pytest.raises(ValueError, match=r"the reader of the recipe 'mine' is 'gmtt'.*Did you mean 'gmt'"):
            load_ontology(mine / "mine.toml", folder=mine)


def test_files_of_ones_own_are_read_by_their_roles(mine):
    assert read_files({"gmt": mine / "mine.gmt"}).genes == ("A", "B", "C")
    assert read_files({"gmt": mine / "mine.gmt"}, without_branch="Disease").genes == ("A", "B")
    (mine / "edges.txt").write_text("top\tlow\tdefault\nlow\tA\tgene\n")
    assert read_files({"edges": mine / "edges.txt"}, direction="parent-child").genes == ("A",)
    with pytest.raises(OntologyError, match="do not tell how they are read; name the reader"):
        read_files({"gmt": mine / "mine.gmt", "relations": mine / "edges.txt", "names": mine / "edges.txt"})
    with pytest.raises(OntologyError, match="the reader 'go' also needs files with the roles 'gaf'"):
        read_files({"obo": mine / "mine.gmt"}, reader="go")
    with pytest.raises(ValueError, match="a choice of the reader 'gmt' is 'taxon'"):
        read_files({"gmt": mine / "mine.gmt"}, taxon=9606)


def test_the_choices_and_the_record_survive_saving(mine, tmp_path):
    ontology = load_ontology(mine / "mine.toml", folder=mine, without_branch="Disease")
    topology = ontology.topology(ontology.genes, min_genes=1)
    topology.save(tmp_path / "saved.npz")
    loaded = Topology.load(tmp_path / "saved.npz")
    (record,) = loaded.provenance
    assert record["choices"] == {"ids": "name", "without_branch": "Disease"}
    assert {"source", "release", "licence", "citation", "species", "files"} <= set(record)
    assert record["files"][0]["sha256"] == sha256(mine / "mine.gmt")
    assert loaded.log == topology.log
    assert "Disease" in next(entry for entry in loaded.log if entry.step == "without branch").names

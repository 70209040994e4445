"""Fetching an ontology by name and reading it back, end to end, from a server of this machine."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.ontology.serving import HEAD, serving, tagged
from vnn._errors import OntologyError
from vnn.ontology import load_ontology
from vnn.ontology.catalogue import fetch_ontology
from vnn.ontology.download import UnreachableError

ROOT = Path(__file__).parents[2]
GMT = b"Cell cycle\t\tA\tB\nDisease\t\tC\n"
RELATIONS = b"All\tCell cycle\nAll\tDisease\n"

RECIPE = (
    HEAD
    + """[choices]
ids = "name"
[[releases]]
release = "current"
[[releases.files]]
role = "gmt"
name = "sets.gmt"
format = "gmt"
address = "{site}/sets.zip"
[[releases.files]]
role = "relations"
name = "up.tsv"
format = "parent, child"
address = "{site}/up.tsv"
[[releases]]
release = "1"
[[releases.files]]
role = "gmt"
name = "sets.gmt"
format = "gmt"
address = "{site}/sets-1.gmt"
sha256 = "{hash}"
[[releases]]
release = "N"
pattern = '[2-9]'
[[releases.files]]
role = "gmt"
name = "sets-{{release}}.gmt"
format = "gmt"
address = "{site}/sets-{{release}}.gmt"
"""
)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("VNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ontologies"


@pytest.fixture
def shelf(monkeypatch, tmp_path):
    """The user's folder of recipes; `shelf(site)` puts the recipe there."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    monkeypatch.setenv("VNN_RECIPES", str(folder))

    def put(address: str, sha256: str = hashlib.sha256(GMT).hexdigest()) -> Path:
        (folder / "mine.toml").write_text(RECIPE.format(site=address, hash=sha256))
        return folder

    return put


def zipped(body: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("sets.gmt", body)
    return packed.getvalue()


def test_get_then_load_by_name_with_where_it_came_from(shelf, cache):
    with serving(sets__zip=tagged(zipped(GMT)), up__tsv=tagged(RELATIONS)) as site:
        shelf(site.address)
        with pytest.raises(OntologyError, match=r"not in the cache. Fetch them with `vnn ontology get mine`"):
            load_ontology("mine")
        found = fetch_ontology("mine")
        again = fetch_ontology("mine")
        assert len(site.requests) == 2
        address = site.address
    assert {role: file.state for role, file in found.items()} == {"gmt": "fetched", "relations": "fetched"}
    assert {file.state for file in again.values()} == {"there"}
    assert found["gmt"].path == cache / "mine" / "current" / "sets.gmt"
    ontology = load_ontology("mine")
    assert ontology.genes == ("A", "B", "C")
    assert set(ontology.terms.index) == {"All", "Cell cycle", "Disease"}
    (record,) = ontology.provenance
    assert (record["recipe"], record["release"], record["licence"]) == ("mine", "current", "MIT")
    assert [file["address"] for file in record["files"]] == [f"{address}/sets.zip", f"{address}/up.tsv"]
    assert all(file["retrieved"] and file["etag"] for file in record["files"])
    assert ontology.topology(ontology.genes, min_genes=1).provenance == ontology.provenance


def test_releases_lie_side_by_side_and_the_recipe_decides_which_is_read(shelf):
    with serving(
        sets__zip=tagged(zipped(b"New\t\tX\n")),
        up__tsv=tagged(RELATIONS),
        **{"sets-1__gmt": tagged(GMT), "sets-3__gmt": tagged(b"Three\t\tT\n")},
    ) as site:
        shelf(site.address)
        fetch_ontology("mine@3")
        assert load_ontology("mine").provenance[0]["release"] == "3"
        fetch_ontology("mine@1")
        assert load_ontology("mine").provenance[0]["release"] == "1"
        fetch_ontology("mine")
    assert load_ontology("mine").provenance[0]["release"] == "current"
    assert load_ontology("mine@1").genes == ("A", "B", "C")
    assert load_ontology("mine", release="3").genes == ("T",)
    with pytest.raises(OntologyError, match=r"Fetch them with `vnn ontology get mine@4`"):
        load_ontology("mine@4")


def test_a_wrong_hash_is_never_read(shelf, cache):
    with serving(**{"sets-1__gmt": tagged(GMT + b"More\t\tZ\n")}) as site:
        shelf(site.address)
        with pytest.raises(OntologyError, match=hashlib.sha256(GMT).hexdigest()):
            fetch_ontology("mine@1")
    with pytest.raises(OntologyError, match="not in the cache"):
        load_ontology("mine@1")
    assert [path.name for path in (cache / "mine" / "1").iterdir()] == ["unchecked"]


def test_refresh_brings_the_new_file_and_the_provenance_tells_which_was_read(shelf):
    with serving(sets__zip=tagged(zipped(GMT)), up__tsv=tagged(RELATIONS)) as site:
        shelf(site.address)
        fetch_ontology("mine")
        old = load_ontology("mine").provenance[0]["files"][0]
        site.pages["sets.zip"] = tagged(zipped(GMT + b"More\t\tZ\n"))
        assert fetch_ontology("mine")["gmt"].state == "there"
        states = {role: file.state for role, file in fetch_ontology("mine", refresh=True).items()}
    assert states == {"gmt": "fetched", "relations": "unchanged"}
    new = load_ontology("mine").provenance[0]["files"][0]
    assert "Z" in load_ontology("mine").genes
    assert new["sha256"] != old["sha256"]
    assert new["etag"] != old["etag"]


def test_offline_it_says_which_files_to_put_where_and_then_takes_them(shelf, cache):
    with serving() as site:
        address = site.address
    shelf(address)
    with pytest.raises(UnreachableError) as caught:
        fetch_ontology("mine")
    said = str(caught.value)
    assert f"{address}/sets.zip as sets.gmt (unpacked); {address}/up.tsv as up.tsv" in said
    assert f"Put them into {cache / 'mine' / 'current'}" in said
    assert "HTTPS_PROXY" in said
    (cache / "mine" / "current" / "sets.gmt.gz").write_bytes(gzip.compress(GMT))
    with pytest.raises(UnreachableError, match=r"fetch on another machine: \S+/up.tsv as up.tsv. Put it into"):
        fetch_ontology("mine")
    (cache / "mine" / "current" / "up.tsv").write_bytes(RELATIONS)
    assert {file.state for file in fetch_ontology("mine").values()} == {"there", "by hand"}
    record = load_ontology("mine").provenance[0]["files"][0]
    assert "address" not in record
    assert record["retrieved"]


def test_a_file_changed_in_the_cache_is_not_read(shelf, cache):
    with serving(sets__zip=tagged(zipped(GMT)), up__tsv=tagged(RELATIONS)) as site:
        shelf(site.address)
        fetch_ontology("mine")
    (cache / "mine" / "current" / "sets.gmt").write_bytes(GMT + b"More\t\tZ\n")
    with pytest.raises(OntologyError, match="was changed after it came"):
        load_ontology("mine")


def test_a_snapshot_needs_no_fetching():
    assert fetch_ontology("human-small") == {}


@pytest.mark.data
def test_real_reactome_and_go_from_a_server(real, tmp_path):
    """Real files under the shipped recipes' names; only the addresses are this machine's."""
    sets, relations = (real(f"reactome/{name}") for name in ("ReactomePathways.gmt", "ReactomePathwaysRelation.txt"))
    names = gzip.decompress(real("reactome/ReactomePathways.txt.gz").read_bytes())
    obo = gzip.decompress(real("go/mgi-exttest-go-subset.obo.gz").read_bytes())
    gaf = gzip.compress(real("go/mgi-exttest.gaf").read_bytes())
    with serving(
        **{
            "ReactomePathways__gmt": tagged(sets.read_bytes(), faults=[200_000]),
            "ReactomePathwaysRelation__txt": tagged(relations.read_bytes(), ranges=False, faults=[1_000]),
            "ReactomePathways__txt": tagged(names),
            "go-basic__obo": tagged(obo),
            "HUMAN-uniprot__gaf__gz": tagged(gaf),
        }
    ) as site:
        folder = tmp_path / "recipes"
        shutil.copytree(ROOT / "ontologies", folder)
        for recipe in (folder / "reactome.toml", folder / "go.toml"):
            lines = recipe.read_text().splitlines()
            local = [
                f'address = "{site.address}/{line.rpartition("/")[2]}' if line.startswith("address = ") else line
                for line in lines
            ]
            recipe.write_text("\n".join(local))
        fetch_ontology("reactome@pnet", recipes=folder)
        fetch_ontology("go", recipes=folder)
    reactome = load_ontology("reactome", recipes=folder)
    assert reactome.provenance[0]["release"] == "pnet"
    assert len(reactome.terms) == 2_516 - 652
    whole = load_ontology("go", recipes=folder, taxon=10090)
    biology = load_ontology("go-bp", recipes=folder, taxon=10090)
    assert len(whole.genes) == 425
    assert set(biology.terms["namespace"]) == {"biological_process"}
    assert biology.provenance[0]["choices"]["roots"] == ["biological_process"]


def test_two_commands_at_once_and_a_cut_connection(shelf, tmp_path):
    with serving(sets__zip=tagged(zipped(GMT), pace=0.5), up__tsv=tagged(RELATIONS, faults=[5])) as site:
        env = os.environ | {"PYTHONPATH": str(ROOT), "VNN_RECIPES": str(shelf(site.address))}
        command = [sys.executable, "-c", "from vnn.cli.main import main; main()", "ontology", "get", "mine"]
        both = [
            subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        told = [process.communicate(timeout=300) for process in both]
        assert [process.returncode for process in both] == [0, 0], told
        assert [(path, status) for path, _, status in site.requests] == [
            ("/sets.zip", 200),
            ("/up.tsv", 200),
            ("/up.tsv", 206),
        ]
    assert any("cut after 5 of" in stderr for _, stderr in told)
    assert load_ontology("mine").genes == ("A", "B", "C")

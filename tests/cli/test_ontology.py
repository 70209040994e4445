"""`vnn ontology` as a person types it: the catalogue, fetching, building."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.ontology.serving import HEAD, serving, tagged
from vnn.cli.main import app
from vnn.ontology import Topology, load_ontology

GMT = b"Cell cycle\t\tA\tB\tC\nDisease\t\tC\tD\nTiny\t\tE\n"
RECIPE = (
    HEAD.replace("MIT", "mine alone")
    + """[[releases]]
release = "current"
[[releases.files]]
role = "gmt"
name = "sets.gmt"
format = "gmt"
address = "{site}/sets.gmt"
"""
)


@pytest.fixture(autouse=True)
def nothing_of_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("VNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VNN_RECIPES", raising=False)
    monkeypatch.chdir(tmp_path)


def vnn(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["ontology", *map(str, arguments)])


def said(*arguments: str | Path) -> dict[str, object]:
    """The one JSON object a program gets."""
    found = vnn(*arguments, "--json")
    assert found.exit_code == 0, found.exception
    held: dict[str, object] = json.loads(found.stdout)
    return held


def test_the_catalogue_is_listed() -> None:
    names = {
        "go",
        "go-bp",
        "go-cc",
        "go-mf",
        "hallmark",
        "hpo",
        "human-small",
        "kegg",
        "mp",
        "reactome",
        "wikipathways",
    }
    for arguments in (["list"], ["show"]):
        assert {line.split()[0] for line in vnn(*arguments).stdout.splitlines()} == names
    assert "not to be passed on" in next(line for line in vnn("list").stdout.splitlines() if line.startswith("kegg"))
    assert {recipe["name"] for recipe in said("list")["recipes"]} | {"go-bp", "go-cc", "go-mf"} == names  # type: ignore[attr-defined, index]


def test_a_recipe_is_described_without_its_files() -> None:
    text = " ".join(vnn("show", "kegg").stdout.split())
    for part in (
        "academic use only",
        "Kanehisa",
        "not to be passed on",
        "https://rest.kegg.jp/link/hsa/pathway",
        "vnn ontology get kegg",
    ):
        assert part in text
    held = said("show", "reactome")
    assert held["here"] is None
    assert held["licence"] == "CC0-1.0 (releases before 2020: CC-BY-4.0)"
    assert "biological_process" in vnn("show", "go-bp").stdout


def test_what_is_here_is_counted() -> None:
    text = vnn("show", "human-small").stdout
    assert "33 terms" in text
    assert "sha256" in text
    assert "not a curated resource" in text
    here = said("show", "human-small")["here"]
    assert (here["terms"], here["genes"]) == (33, 245)  # type: ignore[index]


def test_get_show_build_with_a_recipe_of_ones_own(tmp_path: Path) -> None:
    with serving(sets__gmt=tagged(GMT)) as site:
        (tmp_path / "own").mkdir()
        (tmp_path / "own" / "mine.toml").write_text(RECIPE.format(site=site.address))
        own = ["--recipes", tmp_path / "own"]
        assert "vnn ontology get mine" in vnn("show", "mine", *own).stdout
        first = vnn("get", "mine", *own)
        assert first.exit_code == 0, first.exception
        assert "mine alone" in first.stdout
        assert f"sets.gmt: {len(GMT)} bytes" in first.stderr
        (got,) = said("get", "mine", *own)["fetched"]  # type: ignore[misc]
        assert (got["release"], got["files"][0]["state"]) == ("current", "there")
        assert said("get", "mine", "--refresh", *own)["fetched"][0]["files"][0]["state"] == "unchanged"  # type: ignore[index]
        assert [status for *_, status in site.requests] == [200, 304]
    assert said("show", "mine", *own)["here"]["genes"] == 5  # type: ignore[index]
    built = vnn("build", "mine", "--min-genes", "2", "--out", tmp_path / "net", *own)
    assert built.exit_code == 0, built.exception
    topology = Topology.load(tmp_path / "net" / "topology.npz")
    assert topology.provenance[0]["files"][0]["address"].endswith("/sets.gmt")


def test_build_writes_a_topology_and_its_log(tmp_path: Path) -> None:
    (tmp_path / "genes.txt").write_text("A\nB\r\nC\n\n D \nXYZ\n")
    (tmp_path / "sets.gmt").write_bytes(GMT)
    held = said("build", "sets.gmt", "--genes", "genes.txt", "--min-genes", "2", "--out", "net")
    topology = Topology.load(tmp_path / "net" / "topology.npz")
    assert set(topology.inputs) == {"A", "B", "C", "D"}
    assert held["topology"] == topology.fingerprint
    assert held["levels"] == {"inputs": 4, "level 1": 2}
    written = json.loads((tmp_path / "net" / "log.json").read_text())
    assert [entry["names"] for entry in written["log"]] == [list(entry.names) for entry in topology.log]
    assert written["provenance"][0]["files"][0]["name"] == "sets.gmt"
    assert written["settings"]["min_genes"] == 2
    text = (tmp_path / "net" / "log.txt").read_text()
    assert all(name in text for name in ("XYZ", "Tiny"))
    again = vnn("build", "sets.gmt", "--out", "net")
    assert "not an empty folder" in str(again.exception)


def test_build_prints_levels_and_what_was_dropped(tmp_path: Path) -> None:
    found = vnn("build", "human-small", "--skips", "copies", "--out", tmp_path / "small")
    assert found.exit_code == 0, found.exception
    topology = load_ontology("human-small").topology(load_ontology("human-small").genes, skips="copies")
    assert topology.fingerprint[:12] in found.stdout
    for level in topology.levels:
        assert f"{level.name}: {len(level) - len(level.copies)} nodes" in found.stdout


def test_build_from_files_by_role(tmp_path: Path) -> None:
    (tmp_path / "sets.gmt").write_bytes(GMT)
    (tmp_path / "up.tsv").write_text("All\tCell cycle\nAll\tDisease\n")
    held = said(
        "build", "sets.gmt", "relations=up.tsv", "--reader", "gmt", "--choice", "ids=name", "--choice",
        "roots=['All']", "--min-genes", "2", "--out", "net",
    )  # fmt: skip
    assert held["levels"] == {"inputs": 4, "level 1": 2, "level 2": 1}
    for arguments, what in (
        (["up.tsv", "sets.gmt"], "is not told to be anything"),
        (["sets.gmt", "gmt=sets.gmt"], "have the same role"),
        (["sets.gmt", "relations=up.tsv", "--folder", "."], "are for one NAME"),
        (["sets.gmt", "--choice", "ids"], "needs a key and a value"),
        (["human-small", "--skips", "copy"], "Did you mean 'copies'"),
    ):
        assert what in str(vnn("build", *arguments, "--out", "other").exception)
    assert not (tmp_path / "other").exists()
    (tmp_path / "none.txt").write_text("\n")
    assert "is empty" in str(vnn("build", "sets.gmt", "--genes", "none.txt", "--out", "other").exception)


def test_plot_writes_a_page_and_figures(tmp_path: Path) -> None:
    assert vnn("plot", "human-small", "--out", tmp_path / "picture", "--term", "Apoptosis").exit_code == 0
    assert {path.name for path in (tmp_path / "picture").iterdir()} == {
        "wiring.html", "levels.png", "levels.svg", "neighbourhood.png", "neighbourhood.svg",
    }  # fmt: skip
    assert "Apoptosis" in (tmp_path / "picture" / "neighbourhood.svg").read_text()
    assert vnn("build", "human-small", "--out", tmp_path / "wiring", "--levels", "depth", "--residual").exit_code == 0
    assert vnn("plot", tmp_path / "wiring" / "topology.npz", "--out", tmp_path / "again").exit_code == 0
    assert (tmp_path / "again" / "wiring.html").exists()


def test_build_through_a_table_of_genes(tmp_path: Path, real: object) -> None:
    hgnc = real("geneid/hgnc_complete_set.txt.gz")  # type: ignore[operator]
    (tmp_path / "genes.txt").write_text("ENSG00000141510.18\nENSG00000146648\nENSG00000087088\n")
    (tmp_path / "sets.gmt").write_text("a\tx\tLFS1\tEGFR\nb\tx\t581\tEGFR\n")
    wanted = ("build", "sets.gmt", "--genes", "genes.txt", "--min-genes", "1", "--identifiers", hgnc)
    said(*wanted, "--out", "net")
    assert set(Topology.load(tmp_path / "net" / "topology.npz").inputs) >= {"ENSG00000141510.18", "ENSG00000146648"}


def test_an_annotation_table_needs_its_columns(tmp_path: Path) -> None:
    (tmp_path / "table.tsv").write_text("A\tt1\nB\tt1\n")
    asked = ("build", "annotations=table.tsv", "--min-genes", "1", "--out", "net")
    found = vnn(*asked)
    assert "give the choice `columns`" in str(found.exception)
    assert said(*asked, "--choice", "columns=gene,term")["levels"] == {"inputs": 2, "level 1": 1}


def test_files_that_do_not_belong_together_say_so(tmp_path: Path) -> None:
    (tmp_path / "a.obo").write_text("format-version: 1.2\n[Term]\nid: GO:1\nname: top\n")
    row = "UniProtKB\tP1\tTP53\t\tGO:2\tPMID:1\tIDA\t\tP\t\t\tprotein\ttaxon:9606\t20260101\tvnn\t\t\n"
    (tmp_path / "a.gaf").write_text("!gaf-version: 2.1\n" + row)
    found = vnn("build", "a.obo", "a.gaf", "--out", "net")
    assert "1 annotations name terms it does not have ('TP53 @ GO:2')" in str(found.exception)

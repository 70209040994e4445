"""The benchmark of wiring: what it makes up is what it says, and its records are those of the others."""

from __future__ import annotations

import json
from pathlib import Path

import networkx as nx
from typer.testing import CliRunner

from vnn.bench.ontologies import ANNOTATIONS, GENOME_STEPS, RELATIONS, STEPS, TERMS, write_synthetic
from vnn.cli.main import app
from vnn.ontology import read_go


def test_a_made_up_ontology_has_the_sizes_it_says(tmp_path: Path) -> None:
    obo, gaf = write_synthetic(tmp_path, 0.02)
    ontology = read_go(obo, gaf)
    assert len(ontology.terms) == round(0.02 * TERMS)
    assert 0.8 < len(ontology.relations) / (0.02 * RELATIONS) <= 1
    assert 0.9 < len(ontology.annotations) / (0.02 * ANNOTATIONS) <= 1
    graph = nx.DiGraph(list(zip(ontology.relations["child"], ontology.relations["parent"], strict=True)))
    assert nx.is_directed_acyclic_graph(graph)
    assert [node for node in graph if not list(graph.successors(node))] == ["GO:0000000"]
    again, _ = write_synthetic(tmp_path, 0.02)
    assert again.read_bytes() == obo.read_bytes()


def test_the_command_measures_sizes_and_growth(tmp_path: Path) -> None:
    asked = [
        "bench",
        "ontology",
        "--scale",
        "0.01",
        "--scale",
        "0.02",
        "--rounds",
        "1",
        "--json",
        str(tmp_path / "o.json"),
    ]
    assert CliRunner().invoke(app, asked).exit_code == 0
    first, second = json.loads((tmp_path / "o.json").read_text())
    assert {"case", "backend", "milliseconds", "rival", "ratio", "floor_share", "peak_bytes", "noise"} <= first.keys()
    assert abs(sum(first[step] for step in STEPS) * 1e3 / first["milliseconds"] - 1) < 1e-6
    assert second["growth"] == second["milliseconds"] / first["milliseconds"] / 2
    found = CliRunner().invoke(app, ["bench", "ontology", "--obo", "x.obo"])
    assert "--obo and --gaf go together" in str(found.exception)


def test_the_command_measures_the_wiring_of_a_genome(tmp_path: Path) -> None:
    file = tmp_path / "g.json"
    asked = ["bench", "ontology", "--variants", "2000", "--variants", "4000", "--scale", "0.01", "--rounds", "1"]
    assert CliRunner().invoke(app, [*asked, "--json", str(file)]).exit_code == 0
    first, second = json.loads(file.read_text())
    assert abs(sum(first[step] for step in GENOME_STEPS) * 1e3 / first["milliseconds"] - 1) < 1e-6
    assert (first["sizes"][0], second["sizes"][0]) == (2000, 4000)
    assert second["growth"] == second["milliseconds"] / first["milliseconds"] / 2
    found = CliRunner().invoke(app, [*asked, "--scale", "1"])
    assert "--variants takes a made-up ontology of one --scale" in str(found.exception)

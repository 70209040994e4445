"""`vnn data` as a person types it."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from tests.study.test_run import command
from vnn._errors import StudyError
from vnn.cli.main import app
from vnn.data.genotypes import Trait, read_plink, simulate_genotypes

SMALL = [
    "--people",
    "300",
    "--variants",
    "900",
    "--genes",
    "80",
    "--pathways",
    "4",
    "--causal-genes",
    "4",
    "--chromosomes",
    "2",
]


def vnn(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_a_study_is_simulated_and_told(tmp_path):
    found = command(
        "data", "simulate", tmp_path / "study", *SMALL, "--scenario", "within", "--families", "10", "--seed", "7"
    )
    assert found.returncode == 0, found.stderr
    assert found.stderr.splitlines()[-1] == "900 of 900 variants"
    lines = found.stdout.splitlines()
    assert lines[0] == "Genotypes(900 variants in 300 people, GRCh38)"
    assert lines[1].endswith("4 pathways; 50 pairs of relatives; 1 population")
    assert lines[2] == "phenotype: within, binary"
    truth = json.loads((tmp_path / "study" / "truth.json").read_text())
    assert lines[3] == f"  8 causal variants in 4 genes: {', '.join(truth['traits']['phenotype']['genes'])}"
    assert lines[-1] == f"Everything is in {tmp_path / 'study'}; the truth is in truth.json."
    assert read_plink(tmp_path / "study" / "cohort").n_people == 300
    asked = Trait(scenario="within", genes=4)
    again = simulate_genotypes(
        tmp_path / "again",
        people=300,
        variants=900,
        genes=80,
        pathways=4,
        chromosomes=2,
        families=10,
        traits=[asked],
        seed=7,
    )
    for path in again.folder.iterdir():
        assert path.read_bytes() == (tmp_path / "study" / path.name).read_bytes(), path.name
    refused = vnn("data", "simulate", tmp_path / "study", *SMALL)
    assert isinstance(refused.exception, StudyError)
    assert "is not an empty folder" in str(refused.exception)


def test_several_scenarios_for_a_program(tmp_path):
    found = vnn(
        "data", "simulate", tmp_path / "study", *SMALL, "--scenario", "locus", "--scenario", "confounder", "--json",
        "--kind", "quantitative", "--h2", "0.2",
    )  # fmt: skip
    assert found.exit_code == 0, found.exception
    told = json.loads(found.stdout)
    assert list(told["truth"]["traits"]) == ["locus", "confounder"]
    assert told["truth"]["traits"]["locus"]["oracle"] == {"r2": 0.2}
    assert set(told["truth"]["populations"]) == {"population 1", "population 2"}
    table = pd.read_csv(tmp_path / "study" / "phenotypes.csv", index_col=0)
    assert list(table)[:2] == ["locus", "confounder"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scenario", "additve"], "Did you mean 'additive'"),
        (["--kind", "count"], "kind is 'count'"),
        (["--families", "100"], "100 families of 4 are 400 people"),
    ],
)
def test_mistakes_are_told_in_words(tmp_path, arguments, words):
    found = vnn("data", "simulate", tmp_path / "study", *SMALL, *arguments)
    assert isinstance(found.exception, ValueError)
    assert words in str(found.exception)
    assert not (tmp_path / "study").exists()

"""`vnn explain`: people of the study and new ones, in words and as JSON, and what the study does not allow."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from tests.planted import cohort
from tests.study.test_run import STUDY, write_study
from vnn._errors import StudyError
from vnn.cli.explain import explain, explained_sample
from vnn.study import Study, read_material
from vnn.study.folder import bind
from vnn.study.train import train


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `vnn explain` reads of a results folder, of a study that was only trained."""
    folder = tmp_path_factory.mktemp("study")
    study = Study.read(write_study(folder, STUDY + 'individuals = "full"\n'))
    material = read_material(study)
    study.output.mkdir()
    bind(study, study.identity)
    material.topology.save(study.output / "topology.npz")
    train(study, material).save(study.output / "fit")
    cohort(130, seed=9).to_frame().iloc[:, 2:].to_csv(folder / "new.csv")
    return study.output


def restated(results: Path, individuals: str) -> None:
    record = json.loads((results / "study.json").read_text())
    record["study"]["report"]["individuals"] = individuals
    (results / "study.json").write_text(json.dumps(record))


def asked(*arguments: object) -> str:
    app = typer.Typer()
    app.command()(explain)
    found = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


def test_a_person_of_the_study_in_words_and_as_json(results: Path) -> None:
    restated(results, "full")
    values = results.parent / "expression.csv"
    figure = results.parent / "waterfall.svg"
    text = asked(results, values, "--sample", "sample-0004", "--most", 3, "--figure", figure)
    assert text.startswith("sample-0004, by 1 of 3 networks")
    assert "case minus control" in text
    assert "percentile" in text
    assert "not validated for clinical use" in text
    assert figure.read_text().count("<svg") == 1
    found = json.loads(asked(results, values, "--sample", "sample-0004", "--json"))
    assert found["networks"] == 1
    level = [node["contribution"] for node in found["nodes"] if node["level"] == "inputs"]
    assert sum(level) + found["passing"]["inputs"] == pytest.approx(found["end"] - found["start"], abs=1e-4)


def test_people_are_shown_as_the_study_says(results: Path) -> None:
    values = [str(results.parent / "expression.csv")]
    restated(results, "pseudonym")
    assert "sample-0004" not in json.dumps(explained_sample(results, values, "sample-0004").to_json())
    restated(results, "none")
    with pytest.raises(StudyError, match="shows no single people"):
        explained_sample(results, values, "sample-0004")


def test_a_new_person_is_explained_by_all_networks(results: Path) -> None:
    restated(results, "none")
    found = explained_sample(results, [str(results.parent / "new.csv")], "sample-0125")
    assert found.explained.n_networks == found.explained.n_all == 3
    assert any("are not measured and were filled" in note for note in found.notes)
    assert "percentile" in found.text()


def test_without_the_files_of_the_study_there_are_no_percentiles(results: Path) -> None:
    pd.read_csv(results.parent / "new.csv", index_col=0).loc[["sample-0125"]].to_csv(results.parent / "one.csv")
    (results.parent / "people.csv").rename(results.parent / "moved.csv")
    try:
        found = explained_sample(results, [str(results.parent / "one.csv")], "sample-0125")
    finally:
        (results.parent / "moved.csv").rename(results.parent / "people.csv")
    assert "no percentiles" in " ".join(found.notes)
    assert found.explained.nodes["percentile"].isna().all()


def test_mistakes_are_told_in_words(results: Path) -> None:
    restated(results, "full")
    values = results.parent / "expression.csv"
    with pytest.raises(StudyError, match="not the output folder of a study"):
        asked(results.parent, values, "--sample", "sample-0004")
    with pytest.raises(ValueError, match="the level is 'level 7'"):
        asked(results, values, "--sample", "sample-0004", "--level", "level 7")
    with pytest.raises(ValueError, match="lacks 1 of the 1 samples"):
        asked(results, values, "--sample", "nobody")
    with pytest.raises(ValueError, match="kind of figure"):
        asked(results, values, "--sample", "sample-0004", "--figure", "x.pdf")

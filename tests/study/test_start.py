"""`vnn init`: a study file that says what it saw and runs as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.planted import cohort
from tests.study.test_run import command, write_study
from vnn._errors import StudyError
from vnn.study import Study, read_material, study_file


def test_the_command_writes_a_file_that_runs(tmp_path: Path) -> None:
    write_study(tmp_path)
    (tmp_path / "study.toml").unlink()
    arguments = ("init", tmp_path / "expression.csv", "--labels", tmp_path / "people.csv",
                 "--ontology", tmp_path / "sets.gmt", "--output", tmp_path / "study.toml")  # fmt: skip
    found = command(*arguments)
    assert found.returncode == 0, found.stderr
    assert "vnn run --check" in found.stdout
    study = Study.read(tmp_path / "study.toml")
    assert study.data.target == "phenotype"
    assert study.data.classes == ("case", "control")
    assert study.ontology.min_genes == 5
    material = read_material(study)
    assert material.samples.n_samples == 120
    text = (tmp_path / "study.toml").read_text()
    assert '# groups = ["thirds", "site"]' in text
    assert "120 samples in rows, 50 features that look like gene symbols, no value missing" in text
    again = command(*arguments)
    assert again.returncode == 1
    assert "exists already" in again.stderr


def test_labels_inside_the_table_genes_in_rows_missing_values_counts(tmp_path: Path) -> None:
    write_study(tmp_path)
    frame = cohort().to_frame()
    inside = frame.assign(diagnosis=["x", "y", "z"] * 40)
    inside.to_csv(tmp_path / "inside.csv")
    text = study_file(tmp_path / "inside.csv", ontology="human-small", output=tmp_path / "inside.toml")
    (tmp_path / "inside.toml").write_text(text)
    study = Study.read(tmp_path / "inside.toml")
    assert (study.data.target, study.data.labels) == ("diagnosis", None)
    holes = frame.T.copy()
    holes.iloc[0, 0] = np.nan
    holes.to_csv(tmp_path / "genes-in-rows.csv")
    text = study_file(tmp_path / "genes-in-rows.csv", labels=tmp_path / "people.csv", ontology=str(tmp_path / "sets.gmt"),
                      output=tmp_path / "rows.toml")  # fmt: skip
    (tmp_path / "rows.toml").write_text(text)
    study = Study.read(tmp_path / "rows.toml")
    assert study.data.samples_in == "columns"
    assert study.training.impute == "mean"
    assert read_material(study).samples.n_samples == 120
    counts = (2**frame).round().astype(int) * 10
    counts.to_csv(tmp_path / "counts.csv")
    text = study_file(tmp_path / "counts.csv", labels=tmp_path / "people.csv", output=tmp_path / "counts.toml")
    assert "# log_cpm = true" in text


def test_identifiers_are_recognised(tmp_path: Path) -> None:
    write_study(tmp_path)
    frame = cohort().to_frame()
    frame.columns = [f"ENSG{i:011d}" for i in range(frame.shape[1])]
    frame.to_csv(tmp_path / "ensembl.csv")
    text = study_file(tmp_path / "ensembl.csv", labels=tmp_path / "people.csv", output=tmp_path / "e.toml")
    assert "look like Ensembl ids" in text
    assert '# identifiers = "hgnc_complete_set.txt"' in text


def test_the_target_may_be_named_and_must_be_there(tmp_path: Path) -> None:
    write_study(tmp_path)
    arguments = {"labels": tmp_path / "people.csv", "output": tmp_path / "s.toml"}
    text = study_file(tmp_path / "expression.csv", target="quantity", **arguments)  # type: ignore[arg-type]
    (tmp_path / "s.toml").write_text(text)
    assert Study.read(tmp_path / "s.toml").data.target == "quantity"
    with pytest.raises(StudyError, match=r"no column 'diagnosis'; the columns are .*'phenotype'"):
        study_file(tmp_path / "expression.csv", target="diagnosis", **arguments)  # type: ignore[arg-type]


def test_what_cannot_be_looked_at_says_why(tmp_path: Path) -> None:
    write_study(tmp_path)
    with pytest.raises(StudyError, match="no file"):
        study_file(tmp_path / "nothing.csv")
    with pytest.raises(StudyError, match=r"numbers only.*--labels"):
        study_file(tmp_path / "expression.csv", output=tmp_path / "s.toml")
    people = pd.read_csv(tmp_path / "people.csv", index_col=0)
    people.index = [f"other {i}" for i in range(len(people))]
    people.to_csv(tmp_path / "others.csv")
    with pytest.raises(StudyError, match=r"no sample of the labels .*is a row"):
        study_file(tmp_path / "expression.csv", labels=tmp_path / "others.csv")


@pytest.mark.data
def test_gct_and_cls(tmp_path: Path, real: object) -> None:
    table = real("expression/Leukemia_hgu95av2.trim.gct.gz")  # type: ignore[operator]
    labels = real("expression/Leukemia.cls")  # type: ignore[operator]
    text = study_file(table, labels=labels, ontology="human-small", output=tmp_path / "study.toml")
    (tmp_path / "study.toml").write_text(text)
    study = Study.read(tmp_path / "study.toml")
    assert (study.data.target, set(study.data.classes)) == ("class", {"ALL", "AML"})
    assert read_material(study).samples.n_samples == 48
    with pytest.raises(StudyError, match="says nothing of its samples"):
        study_file(table, ontology="human-small", output=tmp_path / "study.toml")

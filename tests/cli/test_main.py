"""The commands as a person types them."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.planted import cohort
from tests.study.test_run import STUDY, command, write_study
from vnn.study import run_study


@pytest.mark.slow
def test_the_demo_finds_the_planted_pathway_and_prints_both_aucs(tmp_path: Path) -> None:
    found = command("demo", "--output", tmp_path / "demo")
    assert found.returncode == 0, found.stderr
    assert "AUC 0.95" in found.stdout
    assert "visible network" in found.stdout
    assert "logistic regression" in found.stdout
    rank = int(found.stdout.rsplit("has rank ", 1)[1].split()[0])
    assert rank <= 2
    performance = pd.read_csv(tmp_path / "demo" / "results" / "performance.csv")
    network = performance[(performance["model"] == "visible network") & (performance["metric"] == "AUC")]
    assert network["value"].mean() > 0.6
    assert "open" in found.stdout
    assert (tmp_path / "demo" / "results" / "page.html").exists()


def test_predict_on_new_people(tmp_path: Path) -> None:
    run_study(write_study(tmp_path))
    fresh = cohort(140, seed=9)
    fresh.to_frame().iloc[:, 2:].to_csv(tmp_path / "new.csv")
    fresh.targets.to_csv(tmp_path / "new-people.csv")
    found = command(
        "predict", tmp_path / "results", tmp_path / "new.csv", "--labels", tmp_path / "new-people.csv",
        "--output", tmp_path / "predicted.csv", "--activities", tmp_path / "activities.csv",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert "140 samples" in found.stderr
    assert "filled from the training part" in found.stderr
    assert "AUC on the 140 samples whose phenotype is known" in found.stderr
    table = pd.read_csv(tmp_path / "predicted.csv", index_col=0)
    assert list(table.columns) == ["control", "control sd", "case", "case sd", "n_replicates"]
    assert np.allclose(table["control"] + table["case"], 1)
    assert len(pd.read_csv(tmp_path / "activities.csv")) == 140
    fresh.to_frame().iloc[:, 30:].to_csv(tmp_path / "few.csv")
    refused = command("predict", tmp_path / "results", tmp_path / "few.csv", "--samples-in", "rows")
    assert refused.returncode == 1
    assert "at least 80%" in refused.stderr


def test_predict_needs_neither_side_nor_labels_nor_target(tmp_path: Path) -> None:
    sex = STUDY.replace('groups = ["site"]', 'groups = ["site"]\ncovariates = ["sex"]')
    study = write_study(tmp_path, sex)
    people = pd.read_csv(tmp_path / "people.csv", index_col=0)
    people["sex"] = np.where(np.arange(len(people)) % 2, "f", "m")
    people.to_csv(tmp_path / "people.csv")
    run_study(study)
    fresh = cohort(140, seed=9)
    known = pd.DataFrame({"sex": ["f", "m"] * 70}, index=list(fresh.ids))
    together = known.join(fresh.to_frame())
    together.to_csv(tmp_path / "both.csv")
    fresh.to_frame().T.to_csv(tmp_path / "genes-in-rows.csv")
    known.to_csv(tmp_path / "covariates.csv")
    one = command("predict", tmp_path / "results", tmp_path / "both.csv")
    other = command(
        "predict", tmp_path / "results", tmp_path / "genes-in-rows.csv", "--labels", tmp_path / "covariates.csv"
    )
    assert one.returncode == other.returncode == 0, one.stderr + other.stderr
    assert one.stdout == other.stdout
    bare = command("predict", tmp_path / "results", tmp_path / "genes-in-rows.csv")
    assert "need the covariates 'sex'" in bare.stderr
    assert "--labels" in bare.stderr
    assert "is known" not in one.stderr
    own = command("predict", tmp_path / "results", tmp_path / "expression.csv", "--labels", tmp_path / "people.csv")
    assert "networks learnt from" in own.stderr
    assert "120 samples whose phenotype is known" in own.stderr


def test_kernels_tells_what_is_here() -> None:
    found = command("kernels")
    assert "reference" in found.stdout
    assert "in use" in found.stdout
    assert "in use" in command("kernels", VNN_BACKEND="reference").stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["run", "nowhere.toml"], "there is no study file nowhere.toml"),
        (["predict", "nowhere", "x.csv"], "not the output folder of a study"),
        (["ontology", "show", "reactom"], "reactome"),
    ],
)
def test_errors_are_told_in_words(arguments: list[str], what: str) -> None:
    found = command(*arguments)
    assert found.returncode == 1
    assert what in found.stderr
    assert "Traceback" not in found.stderr


def test_notes_of_an_error_are_printed(tmp_path: Path) -> None:
    study = write_study(tmp_path, STUDY)
    text = (tmp_path / "expression.csv").read_text().splitlines()
    cells = text[4].split(",")
    cells[3] = "high"
    text[4] = ",".join(cells)
    (tmp_path / "expression.csv").write_text("\n".join(text))
    found = command("run", study)
    assert found.returncode == 1
    assert "'high'" in found.stderr
    assert "expression.csv" in found.stderr


def own_predictions(folder: Path, *data: str, labels: str | None = None) -> pd.DataFrame:
    """What `vnn predict` says of the study's own files; it must be what the study says of held-out people."""
    arguments = ["predict", folder / "results", *data, *(["--labels", labels] if labels else [])]
    found = command(*arguments)
    assert found.returncode == 0, found.stderr
    return pd.read_csv(StringIO(found.stdout), index_col=0)


@pytest.mark.parametrize("how", ["counts", "identifiers", "omics"])
def test_new_people_are_treated_as_the_study_treated_its_own(tmp_path: Path, how: str, real: object) -> None:
    table = cohort().to_frame()
    text, data = STUDY, [str(tmp_path / "expression.csv")]
    if how == "counts":
        text = text.replace('target = "phenotype"', 'target = "phenotype"\nlog_cpm = true')
        table = (2**table).round().astype(int) + 1
    elif how == "identifiers":
        hgnc = real("geneid/hgnc_complete_set.txt.gz")  # type: ignore[operator]
        stated = f'target = "phenotype"\nidentifiers = "{hgnc}"\nthrough = "probes.tsv"\nseveral = "mean"'
        text = text.replace('target = "phenotype"', stated)
        text = text.replace("[ontology]", "[ontology]\nmin_genes = 1")
        probes = {"1_at": "TP53", "2_at": "LFS1", "3_at": "EGFR", "4_at": "BAX"}
        (tmp_path / "probes.tsv").write_text("".join(f"{probe}\t{name}\n" for probe, name in probes.items()))
        table = table.iloc[:, :4].set_axis(list(probes), axis=1)
    else:
        text = text.replace('values = "expression.csv"', 'values = { rna = "expression.csv", cna = "copies.csv" }')
        data = [f"rna={tmp_path / 'expression.csv'}", f"cna={tmp_path / 'copies.csv'}"]
    study = write_study(tmp_path, text)
    table.to_csv(tmp_path / "expression.csv")
    table.iloc[:, ::2].to_csv(tmp_path / "copies.csv")
    if how == "identifiers":
        (tmp_path / "sets.gmt").write_text("a\tx\tTP53\tEGFR\nb\tx\tBAX\tEGFR\n")
    run_study(study)
    mine = own_predictions(tmp_path, *data)
    theirs = pd.read_csv(tmp_path / "results" / "predictions.csv", index_col=0)
    pd.testing.assert_frame_equal(mine.loc[theirs.index], theirs, rtol=1e-5, atol=1e-6)


def test_people_without_a_label_are_predicted(tmp_path: Path) -> None:
    run_study(write_study(tmp_path))
    fresh = cohort(140, seed=9)
    fresh.to_frame().add_prefix("").rename(index="new {}".format).to_csv(tmp_path / "new.csv")
    known = fresh.targets.rename(index="new {}".format)[["phenotype"]].iloc[:50]
    known.iloc[:5] = None
    known.to_csv(tmp_path / "some.csv")
    found = command("predict", tmp_path / "results", tmp_path / "new.csv", "--labels", tmp_path / "some.csv")
    assert found.returncode == 0, found.stderr
    assert len(pd.read_csv(StringIO(found.stdout))) == 140
    assert "AUC on the 45 samples whose phenotype is known" in found.stderr
    assert "Probabilities are means over networks, calibrated. All networks have temperature 1 (" in found.stderr
    assert set(pd.read_csv(StringIO(found.stdout))["n_replicates"]) == {3}
    (tmp_path / "old.csv").write_text("kept")
    again = command("predict", tmp_path / "results", tmp_path / "new.csv", "--output", tmp_path / "old.csv")
    assert "exists already" in again.stderr
    assert (tmp_path / "old.csv").read_text() == "kept"


@pytest.mark.parametrize("arguments", [["runn"], ["run"], ["run", "--chek"]])
def test_a_mistake_in_the_command_is_told_without_a_traceback(arguments: list[str]) -> None:
    found = command(*arguments)
    assert found.returncode == 2
    assert "Traceback" not in found.stderr
    assert "Error:" in found.stderr

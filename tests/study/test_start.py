"""`vnn init`: a study file that says what it saw and runs as it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.planted import cohort
from tests.study.test_run import command, write_study
from vnn._errors import StudyError
from vnn.data.genotypes import simulate_genotypes
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


@pytest.fixture
def simulated(tmp_path: Path) -> Path:
    folder = tmp_path / "made"
    simulate_genotypes(folder, people=200, variants=600, genes=40, pathways=3, chromosomes=2, seed=4)
    return folder


def test_a_fileset_gets_a_file_that_runs(simulated: Path) -> None:
    arguments = ("init", simulated / "cohort.bed", "--labels", simulated / "phenotypes.csv", "--target", "phenotype",
                 "--genes", simulated / "genes.txt", "--output", simulated / "study.toml")  # fmt: skip
    found = command(*arguments)
    assert found.returncode == 0, found.stderr
    text = (simulated / "study.toml").read_text()
    assert "200 people" in text
    assert "600 variants" in text
    assert "too few variants to tell who is related" in text
    study = Study.read(simulated / "study.toml")
    assert study.data.classes == ("control", "case")
    assert study.genotypes is not None
    assert study.genotypes.quality is not None
    material = read_material(study)
    assert material.samples.n_features > 100
    assert (study.report.individuals, study.ontology.name) == ("none", "genes")
    assert (study.network.dropout, study.network.input_dropout) == (0.2, 0.0)
    assert study.training.batch_size % 64 == 0, "packed genotypes stand in panels of 64 people"


def test_the_phenotype_of_a_fam_and_its_two_readings(simulated: Path) -> None:
    text = study_file(simulated / "cohort.bed", genes=simulated / "genes.txt", output=simulated / "study.toml")
    (simulated / "study.toml").write_text(text)
    study = Study.read(simulated / "study.toml")
    assert (study.data.target, study.data.classes) == ("phenotype", ("control", "case"))
    assert 190 < read_material(study).samples.n_samples <= 200
    fam = (simulated / "cohort.fam").read_text().splitlines()
    fam = [f"{line[:-1]}{int(line[-1]) - 1}" for line in fam]
    (simulated / "cohort.fam").write_text("\n".join(fam) + "\n")
    text = study_file(simulated / "cohort.bed", genes=simulated / "genes.txt", output=simulated / "study.toml")
    n = sum(line.endswith("1") for line in fam)
    assert f'# phenotype = "0/1"       # {200 - n:,} controls, {n:,} cases' in text
    (simulated / "study.toml").write_text(text)
    with pytest.raises(ValueError, match=r"coding=\"1/2\" or coding=\"0/1\""):
        read_material(Study.read(simulated / "study.toml"))
    (simulated / "cohort.fam").write_text("".join(f"{line[:-1]}-9\n" for line in fam))
    with pytest.raises(StudyError, match="tells no phenotype of its 200 people"):
        study_file(simulated / "cohort.bed")


def test_what_tells_the_genes_is_looked_at(simulated: Path) -> None:
    shutil.copy(simulated / "variant_genes.tsv", simulated / "pairs.tsv")
    for name, expected in (("genes.txt", "ranges"), ("pairs.tsv", "variants")):
        text = study_file(simulated / "cohort.bed", genes=simulated / name, output=simulated / "study.toml")
        (simulated / "study.toml").write_text(text)
        study = Study.read(simulated / "study.toml")
        assert study.genotypes is not None
        assert study.genotypes.read_as == expected
        assert read_material(study).samples.n_features > 100
    text = study_file(
        simulated / "cohort.bed", ontology=str(simulated / "pathways.gmt"), output=simulated / "study.toml"
    )
    assert 'genes = "FILE"' in text
    assert 'name = "pathways.gmt"' in text
    assert "gene_level = true" in text
    with pytest.raises(StudyError, match="there is no file"):
        study_file(simulated / "cohort.bed", genes=simulated / "absent.gtf")
    with pytest.raises(StudyError, match="holds no genotypes"):
        study_file(simulated / "phenotypes.csv", genes=simulated / "genes.txt")
    labels = pd.read_csv(simulated / "phenotypes.csv", index_col=0)
    labels.rename(index=lambda name: f"other {name}").to_csv(simulated / "others.csv")
    with pytest.raises(StudyError, match="no person of the labels"):
        study_file(simulated / "cohort.bed", labels=simulated / "others.csv", target="phenotype")
    with pytest.raises(FileNotFoundError):
        study_file(simulated / "absent.bed")


@pytest.mark.data
def test_a_folder_of_gennets_gets_a_file_that_runs(real, tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    folder = real("genotype/gennet_a_to_z/run_folder/subjects.csv").parent
    text = study_file(folder, output=tmp_path / "study.toml")
    (tmp_path / "study.toml").write_text(text)
    study = Study.read(tmp_path / "study.toml")
    material = read_material(study)
    assert study.network.dropout == study.network.input_dropout == 0
    assert [len(level) for level in material.topology.levels] == [100, 10]
    assert len(material.splits[0].train) == 10_000

"""The study file: what is wrong is named by its key, with what is known and the nearest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.study.test_run import STUDY, write_study
from vnn._errors import StudyError
from vnn.study import Study


def read(folder: Path, old: str = "", new: str = "") -> Study:
    assert old in STUDY
    return Study.read(write_study(folder, STUDY.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("[report]", '[report]\nindividuals = "nobody"', r"report\.individuals is 'nobody'; known are 'none', 'pseu"),
        ("[attribution]", '[attribution]\nbaseline = "means"', r"attribution\.baseline is 'means'.*Did you mean 'mean'"),
        ("[attribution]", "[atribution]", r"atribution is not known; .*Did you mean 'attribution'"),
        ("[compare]", "[compare]\nmodel = []", r"compare\.model is not known; known here are models"),
        ('target = "phenotype"', 'task = "cox"\ntarget = "phenotype"', r"task = .cox. needs event"),
        ('target = "phenotype"', 'task = "binary"\nevent = "died"\ntarget = "phenotype"', "event is for survival"),
        ('target = "phenotype"', "", r"data\.target is needed"),
        ('values = "expression.csv"', "values = 3", r"data\.values is 3; it must be a file, or a table of files by omics"),
        ("epochs = 8", 'epochs = "eight"', r"training\.epochs is 'eight'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, what: str) -> None:
    with pytest.raises(StudyError, match=what):
        read(tmp_path, old, new)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(StudyError) as caught:
        read(tmp_path, "epochs = 8", "epochs = 0\nbatches = 3")
    assert "training.epochs" in str(caught.value)
    assert "training.batches" in str(caught.value)


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    study = read(tmp_path, 'values = "expression.csv"', 'values = { rna = "expression.csv", cna = "other.csv" }')
    assert study.data.files == {"rna": tmp_path / "expression.csv", "cna": tmp_path / "other.csv"}
    assert read(tmp_path).data.files == {"": tmp_path / "expression.csv"}


def test_what_is_shown_does_not_change_what_is_trained(tmp_path: Path) -> None:
    one = read(tmp_path).identity
    assert read(tmp_path, "[report]", '[report]\nindividuals = "none"').identity == one
    assert read(tmp_path, "models = []", 'models = ["boosted trees"]').identity == one
    assert read(tmp_path, "crosscheck = 2", "crosscheck = 0").identity == one
    assert read(tmp_path, "batch_size = 32", "batch_size = 16").identity != one
    assert read(tmp_path, "[ontology]", 'several = "mean"\n[ontology]').identity != one

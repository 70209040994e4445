"""Studies that learn from packed panels, beside the same studies on numbers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.study.test_cohort import N, change, write_study
from vnn._errors import StudyError
from vnn.data import Split
from vnn.data.genotypes import Cohort
from vnn.study import Results, Study, plan, read_material, run_study
from vnn.study import cohort as cohort_module
from vnn.study.cohort import parts_of
from vnn.study.folder import CHECKPOINT

WHOLE = "batch_size = 256\ndtype = 'float64'\n"  # everybody in a batch: the same steps, whoever lies where


def packed(study: Path, batches: str = "panels") -> Path:
    return change(study, "[genotypes]", f'[genotypes]\nbatches = "{batches}"')


def small(folder: Path, *changes: tuple[str, str]) -> Path:
    """A study whose every step takes everybody."""
    folder.mkdir(parents=True)
    study = change(write_study(folder), "epochs = 30", "epochs = 4\n" + WHOLE)
    for old, new in changes:
        change(study, old, new)
    return study


def both(folder: Path, *changes: tuple[str, str]) -> tuple[Results, Results]:
    """The same study on numbers and from panels."""
    return run_study(small(folder / "numbers", *changes)), run_study(packed(small(folder / "packed", *changes)))


def agree(one: Path, other: Path, *names: str) -> None:
    """Tables of two folders hold the same, in any order of rows where these are named."""
    for name in names:
        a, b = (pd.read_csv(folder / name) for folder in (one, other))
        words = [column for column in a if a[column].dtype == object]
        assert list(a) == list(b), name
        a, b = (table.sort_values(words, kind="stable", ignore_index=True) for table in (a, b))
        for column in a:
            if column in words:
                assert a[column].fillna("").tolist() == b[column].fillna("").tolist(), (name, column)
            else:
                assert np.allclose(a[column], b[column], rtol=1e-5, atol=1e-6, equal_nan=True), (name, column)


TABLES = (
    "pathways.csv", "inputs.csv", "flows.csv.gz", "predictions.csv", "calibration.csv", "nulls.csv",
    "importance_variants.csv", "importance_genes.csv", "connection_weights.csv", "scores_per_person.csv", "gene_tests.csv",
    "performance.csv",
)  # fmt: skip


FULL = (
    ('target = "case"', 'target = "case"\ncovariates = ["age"]'),
    ("[training]", "[nulls]\nlabels = 2\nrewired = 2\nshifted = 2\nhalf_samples = 2\n[training]"),
    ('kind = "hold-out"', 'kind = "k-fold"\nk = 2'),
    ("seed = 3", "seed = 3\nn_seeds = 2"),
)


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return run_study(small(tmp_path_factory.mktemp("packed") / "numbers", *FULL))


@pytest.mark.parametrize("batches", ["panels", pytest.param("people", marks=pytest.mark.slow)])
def test_a_packed_study_says_what_the_same_study_on_numbers_says(numbers, tmp_path, batches) -> None:
    other = run_study(packed(small(tmp_path / "packed", *FULL), batches))
    assert isinstance(other.samples, Cohort)
    agree(numbers.folder, other.folder, *TABLES, "verdict.csv")
    assert other.agreement["agrees"].all()
    assert (other.folder / "panels" / "panels.bin").exists()
    page = (other.folder / "page.html").read_text()
    assert "keep their two bits" in page
    assert "from 18 inputs through 3 genes" in page


@pytest.mark.parametrize("asked", ["baseline = 'specific'\ndraws = 3", "group = ['case', 'control']"])
def test_what_people_are_compared_with_is_made_of_packed_people(tmp_path, asked) -> None:
    numbers, other = both(tmp_path, ("[training]", f"[attribution]\n{asked}\n[training]"))
    agree(numbers.folder, other.folder, "pathways.csv", "inputs.csv")


def test_many_genotypes_are_packed_unasked(tmp_path, monkeypatch) -> None:
    study = Study.read(write_study(tmp_path))
    assert not isinstance(read_material(study).samples, Cohort)
    identity = study.identity
    monkeypatch.setattr(cohort_module, "MANY_BYTES", 4.0 * 18 * N - 1)
    material = read_material(study)
    assert isinstance(material.samples, Cohort)
    assert study.identity == identity
    assert any("keep their two bits" in line for line in material.samples.log)
    assert "Cohort(18 columns of packed genotypes in 240 people)" in plan(study)


def test_a_plan_keeps_no_panels(tmp_path) -> None:
    study = Study.read(packed(write_study(tmp_path)))
    assert "keep their two bits" in plan(study)
    assert not study.output.exists()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("input_dropout = 0.0", "input_dropout = 0.2", r"network\.input_dropout = 0"),
        ("epochs = 30", "epochs = 30\nbatch_size = 100", "multiple of 64"),
        ("[training]", "[nulls]\nequalised = 2\n[training]", r"nulls\.equalised"),
        ("[training]", "[search]\nn = 3\n[training]", r"search\.space\.input_dropout"),
    ],
)
def test_what_packed_genotypes_cannot_follow_is_refused_before_training(tmp_path, old, new, says) -> None:
    study = change(packed(write_study(tmp_path)), old, new)
    with pytest.raises(StudyError, match=says):
        read_material(Study.read(study))


def test_people_lie_with_those_who_play_the_same_part() -> None:
    ids = [f"p{i}" for i in range(6000)]
    split = Split("hold-out", tuple(ids[:4000]), tuple(ids[4000:5000]), tuple(ids[5000:]))
    assert sorted(map(len, parts_of([split], ids))) == [1000, 1000, 4000]
    folds = []
    for k in range(3):
        test = tuple(ids[k::3])
        rest = sorted({*ids} - {*test})
        folds.append(Split(str(k), tuple(rest[::2]), tuple(rest[1::2]), test))
    assert {frozenset(part) for part in parts_of(folds, ids)} == {frozenset(ids[k::3]) for k in range(3)}
    few = ids[:300]
    assert parts_of([Split("x", tuple(few[:200]), tuple(few[200:250]), tuple(few[250:]))], few) == [few]


def test_a_study_killed_while_it_trains_goes_on_to_the_same_networks(tmp_path) -> None:
    """The kernel kills the process in mid-training; the next one ends where an undisturbed one does."""
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        packed(write_study(tmp_path / name))
    program = (
        "import os, signal, sys\nfrom vnn.study import run_study\nfrom vnn.training import loop\n"
        "loop.CHECKPOINT_SECONDS = -1\nloop.CHECKPOINT_SHARE = 1e9\n"
        "def told(p):\n    if p.epoch == 20: os.kill(os.getpid(), signal.SIGKILL)\n"
        "run_study(sys.argv[1], listener=told)\n"
    )
    found = subprocess.run([sys.executable, "-c", program, str(tmp_path / "killed" / "study.toml")], check=False)
    assert found.returncode == -9
    assert not (tmp_path / "killed" / "results" / "fit").exists()
    assert (tmp_path / "killed" / "results" / CHECKPOINT).exists()
    results = [run_study(tmp_path / name / "study.toml").folder for name in ("whole", "killed")]
    weights = [sorted(file.name for file in (folder / "fit").glob("*.safetensors")) for folder in results]
    assert weights[0] == weights[1]
    assert weights[0]


def test_panels_may_be_removed_from_a_finished_study(tmp_path) -> None:
    study = packed(write_study(tmp_path))
    first = run_study(study)
    shutil.rmtree(first.folder / "panels")
    again = run_study(study)
    assert (again.folder / "panels" / "panels.bin").exists()
    pd.testing.assert_frame_equal(first.pathways, again.pathways)
    assert json.loads((again.folder / "panels" / "panels.json").read_text())["n_variants"] == 18


def test_several_columns_of_a_variant_and_early_covariates(tmp_path) -> None:
    asked = (
        ("[genotypes]", '[genotypes]\ncoding = "genotype"'),
        ('target = "case"', 'target = "case"\ncovariates = ["age"]'),
        ("[network]", '[network]\ncovariates = "early"'),
    )
    numbers, other = both(tmp_path, *asked)
    assert isinstance(other.samples, Cohort)
    assert other.samples.n_features == 2 * other.samples.genotypes.n_variants
    assert other.fit.networks.early
    agree(numbers.folder, other.folder, *(name for name in TABLES if name != "nulls.csv"))
    assert other.agreement["agrees"].all()

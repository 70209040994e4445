"""Whole studies from files, as `vnn run` and `run_study` do them, and what stops them."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.planted import cohort, gene_sets
from vnn._errors import AlignmentError, OntologyError, StudyError
from vnn.study import Study, read_material, run_study, splits_of

STUDY = """
name = "toy"
seed = 3
output = "results"

[data]
values = "expression.csv"
labels = "people.csv"
target = "phenotype"
classes = ["control", "case"]
groups = ["site"]

[ontology]
name = "sets.gmt"

[splits]
k = 3

[training]
start = "random"
epochs = 8
batch_size = 32

[compare]
models = []

[attribution]
crosscheck = 2

[report]
figures = false
"""

# A job started in the background ignores SIGINT and hands that down; a terminal does not.
AWAKE = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"


def write_study(folder: Path, text: str = STUDY) -> Path:
    samples = cohort()
    samples.to_frame().to_csv(folder / "expression.csv")
    people = samples.targets.assign(site=np.tile(["Lund", "Oslo", "Rome"], 40))
    people.sample(frac=1, random_state=0).to_csv(folder / "people.csv")
    lines = ["\t".join([name, "made up", *genes]) for name, genes in gene_sets().items()]
    (folder / "sets.gmt").write_text("\n".join(lines) + "\n")
    (folder / "study.toml").write_text(text)
    return folder / "study.toml"


def command(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | environment
    code = "from vnn.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], env=env, capture_output=True, text=True, timeout=300
    )


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_files_in_named_activities_out(tmp_path: Path) -> None:
    results = run_study(write_study(tmp_path))
    assert set(content(tmp_path / "results")) >= {
        "study.json", "topology.npz", "ontology-log.csv", "activities.csv.gz", "predictions.csv", "pathways.csv",
        "inputs.csv", "flows.csv.gz", "performance.csv", "comparison.csv", "checks.csv", "crosscheck.csv", "page.html",
        "fit/fit.json", "calibration.csv", "calibration_curve.csv", "temperatures.csv",
    }  # fmt: skip
    predictions = pd.read_csv(tmp_path / "results" / "predictions.csv", index_col=0)
    assert list(predictions.columns) == ["control", "control sd", "case", "case sd", "n_replicates"]
    pd.testing.assert_frame_equal(predictions, results.fit.predict(results.samples).table(held_out=True), rtol=1e-9)
    assert set(predictions["n_replicates"]) == {1}
    temperatures = pd.read_csv(tmp_path / "results" / "temperatures.csv")
    assert temperatures["replicate"].tolist() == results.fit.replicates["id"].tolist()
    assert (temperatures["value"] == 1).all(), "16 validation samples are too few"
    assert "All networks have temperature 1 (16 validation samples" in (tmp_path / "results" / "page.html").read_text()
    table = pd.read_csv(tmp_path / "results" / "activities.csv.gz", index_col=0)
    assert set(table.index) == set(cohort().ids)
    assert "level 1/set 3" in table
    assert not table.isna().any().any()
    assert results.fit.target.classes == ("control", "case")
    assert [source["role"] for source in results.fit.about["sources"]] == ["values", "labels"]
    assert all(len(source["sha256"]) == 64 for source in results.fit.about["sources"])


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        run_study(write_study(tmp_path / name))
    one, two = (content(tmp_path / name / "results") for name in ("one", "two"))
    one.pop("study.json"), two.pop("study.json")
    assert one == two


def test_run_again_it_trains_nothing_and_writes_the_same(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    run_study(study)
    before = content(tmp_path / "results")
    run_study(study, listener=lambda progress: pytest.fail("it trained again"))
    assert content(tmp_path / "results") == before


def test_killed_at_random_moments_the_command_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    slow = STUDY.replace("epochs = 8", "epochs = 150").replace("[training]", "[training]\npatience = 150")
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        write_study(tmp_path / name, slow)
    whole = command("run", tmp_path / "whole" / "study.toml")
    assert whole.returncode == 0, whole.stderr
    rng = random.Random(4)
    code = (
        "import sys; from vnn.training import loop; loop.CHECKPOINT_SECONDS = 0.05\n"
        "from vnn.study import run_study; run_study(sys.argv[1])"
    )
    kills = 0
    for _ in range(40):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "killed" / "study.toml")],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )
        checkpoint = tmp_path / "killed" / "results" / "training.checkpoint"
        seen = checkpoint.stat().st_mtime_ns if checkpoint.exists() else None
        while process.poll() is None:
            if checkpoint.exists() and checkpoint.stat().st_mtime_ns != seen:
                time.sleep(rng.uniform(0.1, 0.6))
                break
            time.sleep(0.01)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        if kills == 3:
            assert command("run", tmp_path / "killed" / "study.toml").returncode == 0
            break
    assert kills >= 1
    mine, theirs = (content(tmp_path / name / "results") for name in ("killed", "whole"))
    mine, theirs = ({k: v for k, v in c.items() if k != "study.json" and ".part" not in k} for c in (mine, theirs))
    assert mine == theirs


def test_a_folder_of_another_study_or_of_something_else_is_refused(tmp_path: Path) -> None:
    run_study(write_study(tmp_path))
    other = write_study(tmp_path, STUDY.replace("seed = 3", "seed = 4"))
    before = content(tmp_path / "results")
    with pytest.raises(StudyError, match=r"holds another study .* namely seed\."):
        run_study(other)
    assert content(tmp_path / "results") == before
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("x")
    with pytest.raises(StudyError, match=r"something else \(chapter\.tex\)"):
        run_study(write_study(tmp_path, STUDY.replace('"results"', '"thesis"')))


def test_changed_data_are_noticed(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    run_study(study)
    text = (tmp_path / "expression.csv").read_text()
    (tmp_path / "expression.csv").write_text(text.replace("1", "2", 1) if "1" in text else text + "\n")
    with pytest.raises(StudyError, match="data or settings differ"):
        run_study(study)


def test_a_second_process_waits_outside(tmp_path: Path) -> None:
    study = write_study(tmp_path)

    def second(progress: object) -> None:
        found = command("run", study)
        assert found.returncode == 1
        assert "another process" in found.stderr
        raise InterruptedError

    with pytest.raises(InterruptedError):
        run_study(study, listener=second)


@pytest.mark.parametrize(
    ("old", "new", "error", "what"),
    [
        ("k = 3", "kk = 3", StudyError, r"splits\.kk is not known; known here are kind, k, .*"),
        ('name = "sets.gmt"', 'name = "sets.gmt"\nrelease = "1"', StudyError, r"ontology\.release is for recipes"),
        ("[splits]", '[network]\nunits = {"set 9" = 3}\n\n[splits]', ValueError, "units` names 1 nodes .*'set 9'"),
        ("epochs = 8", "epochs = 0", StudyError, r"training\.epochs is 0: .*greater than or equal to 1"),
        ("[ontology]", "[ontologies]", StudyError, "Did you mean 'ontology'"),
        ('name = "toy"', "name = toy", StudyError, "not valid TOML"),
        ('target = "phenotype"', 'target = "phenotyp"', ValueError, "phenotyp.*phenotype"),
        ('values = "expression.csv"', 'values = "expresion.csv"', FileNotFoundError, "expresion.csv"),
        ('"sets.gmt"', '"reactom"', ValueError, "Did you mean 'reactome'"),
    ],
)
def test_a_study_that_cannot_run_says_which_key_and_what_instead(
    tmp_path: Path, old: str, new: str, error: type[Exception], what: str
) -> None:
    study = write_study(tmp_path, STUDY.replace(old, new))
    with pytest.raises(error, match=what):
        run_study(study)


def test_identifiers_that_do_not_meet_say_what_each_side_looks_like(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    table = pd.read_csv(tmp_path / "expression.csv", index_col=0)
    table.columns = [f"ENSG{i:011d}" for i in range(table.shape[1])]
    table.to_csv(tmp_path / "expression.csv")
    with pytest.raises(
        OntologyError, match=r"look like Ensembl ids \(100 %: 'ENSG00000000000'.*look like gene symbols \(100 %: 'g00'"
    ):
        run_study(study)


def test_samples_in_one_table_only_are_counted_and_may_be_dropped(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    people = pd.read_csv(tmp_path / "people.csv", index_col=0)
    people.iloc[7:].to_csv(tmp_path / "people.csv")
    with pytest.raises(AlignmentError, match=r'7 .*unmatched="drop"'):
        run_study(study)
    dropping = write_study(tmp_path, STUDY.replace('groups = ["site"]', 'groups = ["site"]\nunmatched = "drop"'))
    people.iloc[7:].to_csv(tmp_path / "people.csv")
    (tmp_path / "results").rename(tmp_path / "old")
    results = run_study(dropping)
    assert results.samples.n_samples == 113
    assert "7" in results.fit.about["log"][0]


def test_splits_follow_the_study_file(tmp_path: Path) -> None:
    group = 'group = "site"'
    asked = {
        "k = 3": 3,
        'kind = "hold-out"': 1,
        f'kind = "leave-one-group-out"\n{group}': 3,
        f"k = 3\n{group}": 3,
    }
    for text, n in ((STUDY.replace("k = 3", lines), n) for lines, n in asked.items()):
        study = Study.read(write_study(tmp_path, text))
        samples = read_material(study).samples
        splits = splits_of(study, samples)
        assert len(splits) == n
        if "group =" in text:
            for split in splits:
                parts = [
                    set(samples.groups["site"][list(part)]) for part in (split.train, split.validation, split.test)
                ]
                assert not parts[0] & parts[2]
                assert not parts[0] & parts[1]
    without = Study.read(write_study(tmp_path, STUDY.replace("k = 3", 'kind = "leave-one-group-out"')))
    with pytest.raises(StudyError, match=r"splits\.group"):
        read_material(without)


def test_run_prints_json_for_programs(tmp_path: Path) -> None:
    found = command("run", write_study(tmp_path), "--json")
    assert found.returncode == 0, found.stderr
    record = json.loads(found.stdout)
    assert record["metric"] == "AUC"
    assert set(record["performance"]) == {"visible network"}
    assert record["pathways"][0]["effect"] is not None


def test_one_split_is_json_too(tmp_path: Path) -> None:
    found = command("run", write_study(tmp_path, STUDY.replace("k = 3", 'kind = "hold-out"')), "--json")
    assert json.loads(found.stdout, parse_constant=pytest.fail)["performance"]["visible network"]["sd"] is None


def test_other_ontology_files_are_noticed_before_anything_is_written(tmp_path: Path) -> None:
    recipe = """
name = "mine"
title = "My sets"
reader = "gmt"
species = "made up"
identifier = "symbol"
licence = "none"
citation = "none"
redistributable = false
[[releases]]
release = "current"
[[releases.files]]
role = "gmt"
name = "sets.gmt"
format = "gmt"
address = "nowhere"
"""
    text = STUDY.replace('name = "sets.gmt"', 'name = "mine.toml"\nfolder = "."')
    study = write_study(tmp_path, text)
    (tmp_path / "mine.toml").write_text(recipe)
    run_study(study)
    before = content(tmp_path / "results")
    lines = (tmp_path / "sets.gmt").read_text().splitlines()
    (tmp_path / "sets.gmt").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(StudyError, match="was made with topology"):
        run_study(study)
    assert content(tmp_path / "results") == before


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    slow = STUDY.replace("epochs = 8", "epochs = 5000\npatience = 5000")
    study = write_study(tmp_path, slow)
    process = subprocess.Popen(
        [sys.executable, "-c", f"{AWAKE}; from vnn.cli.main import main; main()", "run", str(study)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        for _ in range(1800):
            if (tmp_path / "results" / "training.checkpoint").exists():
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert "goes on from the last checkpoint" in told


def test_a_mistake_does_not_claim_the_output_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="phenotyp"):
        run_study(write_study(tmp_path, STUDY.replace('target = "phenotype"', 'target = "phenotyp"')))
    run_study(write_study(tmp_path))

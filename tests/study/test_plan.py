"""`vnn run --check`: says what would happen, and does nothing."""

from __future__ import annotations

from pathlib import Path

from tests.study.test_run import STUDY, command, content, write_study
from vnn.study import Study, plan, run_study


def test_it_says_what_would_happen_and_writes_nothing(tmp_path: Path) -> None:
    study = write_study(
        tmp_path, STUDY.replace("[compare]\nmodels = []\n", "").replace("seed = 3", "seed = 3\nn_seeds = 2")
    )
    before = content(tmp_path)
    found = command("run", "--check", study)
    assert found.returncode == 0, found.stderr
    assert content(tmp_path) == before
    for words in (
        "Samples(50 features in 120 samples", "classes control (", "3 splits of", "6 networks (3 splits x 2 seeds)",
        "MB of memory", "logistic regression, pathway means, boosted trees, dense network", "duplicated samples",
        "Nothing was written",
    ):  # fmt: skip
        assert words in found.stdout, words


def test_the_number_of_weights_is_that_of_the_networks(tmp_path: Path) -> None:
    study = Study.read(write_study(tmp_path))
    text = plan(study)
    trained = run_study(study).fit
    weights = sum(p.numel() for p in trained.networks.replicates([0]).parameters())
    assert f"of {weights:,} weights each" in text


def test_it_knows_what_the_folder_holds(tmp_path: Path) -> None:
    study = Study.read(write_study(tmp_path))
    run_study(study)
    assert "holds the trained networks of this study" in plan(study)
    other = Study.read(write_study(tmp_path, STUDY.replace("epochs = 8", "epochs = 9")))
    assert "another study, which differs in training.epochs" in plan(other)


def test_a_mistake_is_the_error_of_the_run(tmp_path: Path) -> None:
    found = command("run", "--check", write_study(tmp_path, STUDY.replace('"phenotype"', '"phenotyp"')))
    assert found.returncode == 1
    assert "Did you mean 'phenotype'" in found.stderr
    assert not (tmp_path / "results").exists()

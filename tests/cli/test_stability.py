"""`vnn stability` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from tests.study.test_run import STUDY, command, write_study
from vnn.study import run_study


def test_the_networks_of_a_study_are_compared(tmp_path: Path) -> None:
    run_study(write_study(tmp_path, STUDY.replace("seed = 3", "seed = 3\nn_seeds = 2")))
    (tmp_path / "genes.txt").write_text("g01\ng02\nnowhere\n")
    results = tmp_path / "results"
    found = command("stability", results, "--top", "0.1", "--list", f"mine={tmp_path / 'genes.txt'}")
    assert found.returncode == 0, found.stderr
    assert "6 models, 120 samples explained" in found.stdout
    assert "two models agree on" in found.stdout
    folder = results / "protocol"
    curves = pd.read_csv(folder / "curves.csv")
    assert set(curves["models"]) == {"disjoint", "overlapping"}
    lists = pd.read_csv(folder / "lists.csv").set_index("list")
    assert lists.loc["mine", "n_measured"] == 2
    assert (folder / "curves-1.svg").exists()
    assert (folder / "words.txt").read_text() in found.stdout
    again = command("stability", results)
    assert again.returncode == 1
    assert "exists already and is not empty" in again.stderr
    published = command(
        "stability", results, "--as-published", "--top", "5", "--level", "inputs", "--json", "--no-figures"
    )
    assert published.returncode == 0, published.stderr
    told = json.loads(published.stdout)
    assert (told["as_published"], told["models"], told["samples"]) == (True, 6, 50)
    assert not list((results / "protocol-as-published").glob("*.png"))


def test_what_is_no_study_or_list_is_said(tmp_path: Path) -> None:
    found = command("stability", tmp_path / "nothing")
    assert found.returncode == 1
    assert "not the output folder of a study" in found.stderr

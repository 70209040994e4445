"""The verdict of a study: written, kept, shown, and told why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.study.test_run import STUDY, write_study
from vnn.study import Results, Study, run_study
from vnn.study.verdict import informative

NULLS = "\n[nulls]\nlabels = 19\nrewired = 19\nhalf_samples = 3\n"
PRIMED = 'start = "associations"\npatience = 2\n'


def text(nulls: str = NULLS, more: str = "") -> str:
    return STUDY.replace('start = "random"\n', PRIMED) + nulls + more


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("verdict"), text())


@pytest.fixture(scope="module")
def results(study: Path) -> Results:
    return run_study(study)


def test_every_node_is_judged(results: Results) -> None:
    assert results.verdict is not None
    table = results.verdict.table
    nodes = {
        (level.name, node) for level in results.topology.levels[1:] for node in level.nodes if node not in level.copies
    }
    assert set(zip(table["level"], table["node"], strict=True)) == nodes
    assert table["decided_by"].str.len().gt(0).all()
    assert (table["n_genes"] > 0).all()
    written = pd.read_csv(results.folder / "verdict.csv")
    assert written["verdict"].tolist() == table["verdict"].tolist()
    assert np.allclose(written["score"], table["score"])


def test_scores_are_kept_and_made_once(results: Results, study: Path) -> None:
    files = sorted((results.folder / "scores").rglob("*.npz"))
    assert {path.parent.name.rsplit("-", 1)[0] for path in files} >= {"deeplift"}
    before = {path: path.stat().st_mtime_ns for path in files}
    told: list[str] = []
    again = run_study(study, tell=told.append)
    assert {path: path.stat().st_mtime_ns for path in files} == before
    assert not [line for line in told if "scoring" in line or "null networks:" in line]
    assert again.verdict is not None
    assert results.verdict is not None
    assert again.verdict.table.equals(results.verdict.table)


def test_the_page_says_it(results: Results) -> None:
    page = (results.folder / "page.html").read_text(encoding="utf-8")
    assert "What the words mean" in page
    assert "draws of the null of the labels" in page
    for name in ("stability_over_people.csv", "stability_nodes.csv"):
        assert list((results.folder / "stability").rglob(name))


def test_thresholds_are_of_the_study_file_and_train_nothing(results: Results, study: Path) -> None:
    stricter = study.with_name("stricter.toml")
    stricter.write_text(study.read_text() + "\n[verdict]\nchance = 0.01\n")
    assert Study.read(stricter).identity == Study.read(study).identity
    told: list[str] = []
    found = run_study(stricter, tell=told.append)
    assert found.verdict is not None
    assert not [line for line in told if "null networks:" in line]
    judged = found.verdict.table["verdict"]
    assert judged.isin(["not resolvable", "model not informative"]).all()
    run_study(study)


def test_without_nulls_there_is_no_verdict(tmp_path: Path) -> None:
    found = run_study(write_study(tmp_path, text(nulls="")))
    assert found.verdict is None
    assert not (found.folder / "verdict.csv").exists()


def test_networks_must_beat_labels_and_covariates() -> None:
    summary = pd.DataFrame({"kind": ["labels", "rewired"], "p": [0.04, 0.5], "smallest_p": [0.02, 0.02]})
    compared = pd.DataFrame({"model": ["covariates only", "ridge"], "gain": [-0.01, 0.1], "p": [0.4, 0.01]})
    found = informative(compared, summary)
    assert found.p_labels == 0.04
    assert found.p_covariates == pytest.approx(0.8)
    assert "covariates alone" in found.why_not(0.05)
    found = informative(compared.assign(gain=0.1, p=0.02), summary)
    assert found.p_covariates == pytest.approx(0.01)
    assert found.why_not(0.05) == ""
    assert np.isnan(informative(compared.iloc[1:], summary.iloc[1:]).p_labels)
    few = summary.assign(p=0.2, smallest_p=0.2)
    assert informative(compared.iloc[1:], few).why_not(0.05) == ""
    assert "permuted labels predict as well" in informative(compared.iloc[1:], few.assign(p=0.4)).why_not(0.05)

"""A study's networks beside nulls, controls and baselines; and the nulls that need places or inputs of their own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.planted import gene_sets
from tests.study.test_run import STUDY, command, write_study
from vnn._errors import AlignmentError, StudyError
from vnn.study import Study, read_material, run_study
from vnn.study.controls import controls, controls_text
from vnn.study.nulls import missing_chunks
from vnn.training import fit, performance
from vnn.training.evaluation import replicate_scores

QUICK = STUDY.replace("epochs = 8", "epochs = 3").replace('output = "results"', 'output = "results"\nn_seeds = 2')
NULLS = '\n[nulls]\nplaces = "places.csv"\nshifted = 2\nequalised = 2\n'


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study.read(write_study(tmp_path_factory.mktemp("study"), QUICK))


@pytest.fixture(scope="module")
def records(study: Study) -> list[dict[str, object]]:
    return controls(study, draws={"rewired": 3, "labels": 2, "equalised": 1})


def write_places(folder: Path, skipped: int = 0) -> None:
    genes = sorted({gene for genes in gene_sets().values() for gene in genes})
    table = pd.DataFrame({"chromosome": ["1", "2"] * (len(genes) // 2), "position": np.arange(len(genes))}, index=genes)
    table.iloc[skipped:].to_csv(folder / "places.csv", index_label="input")


def test_every_model_is_there_once_on_the_same_splits(records: list[dict[str, object]]) -> None:
    assert [r["model"] for r in records] == [
        "visible network", "wiring rewired, all degrees kept", "labels permuted", "inputs simulated to be equally predictive",
        "dense network", "linear network", "logistic regression", "pathway means", "boosted trees",
    ]  # fmt: skip
    assert {r["n_splits"] for r in records} == {3}
    assert [r["n_draws"] for r in records] == [None, 3, 2, 1, *[None] * 5]
    assert [r["n_seeds"] for r in records] == [2] * 6 + [1] * 3
    assert {(r["metric"], r["seed"], r["n_missing"]) for r in records} == {("AUC", 3, 0)}
    json.dumps(records, allow_nan=False)


def test_means_differences_and_p_are_those_of_the_networks(study: Study, records: list[dict[str, object]]) -> None:
    material, by_name = read_material(study), {r["model"]: r for r in records}
    options = {
        "target": "phenotype", "splits": material.splits, "n_seeds": 2, "recipe": study.network, "training": study.training,
        "classes": study.data.classes, "seed": 3,
    }  # fmt: skip
    real = fit(material.topology, material.samples, **options)
    scores = performance(real, material.samples, baselines=["dense network", "pathway means"])
    scores = scores[scores["metric"] == "AUC"].pivot(index="split", columns="model", values="value")
    own = scores["visible network"]
    assert np.isclose(by_name["visible network"]["mean"], own.mean())
    for name in ("dense network", "pathway means"):
        gain = own - scores[name]
        half = stats.t.ppf(0.975, 2) * np.sqrt((1 / 3 + 0.5) * gain.var())
        row = by_name[name]
        assert np.allclose([row["mean"], row["difference"]], [scores[name].mean(), gain.mean()])
        assert np.allclose([row["lower"], row["upper"]], [gain.mean() - half, gain.mean() + half])
    drawn = replicate_scores(
        fit(material.topology, material.samples, kind="rewired", draws=range(3), **options), material.samples
    )
    draws = drawn.groupby("draw")["value"].mean()
    row = by_name["wiring rewired, all degrees kept"]
    assert np.isclose(row["mean"], draws.mean())
    assert np.isclose(row["sd_draws"], draws.std())
    assert np.isclose(row["p"], (1 + (draws >= own.mean() - 1e-12).sum()) / 4)


def test_inputs_made_to_predict_are_shown_and_not_compared(records: list[dict[str, object]]) -> None:
    row = next(r for r in records if r["model"] == "inputs simulated to be equally predictive")
    assert row["mean"] > 0.5  # type: ignore[operator]
    assert row["p"] is row["difference"] is row["verdict"] is None
    assert sum(r["p"] is not None for r in records) == len(records) - 2


def test_the_table_has_a_line_for_each(records: list[dict[str, object]]) -> None:
    lines = controls_text(records).splitlines()
    assert lines[0] == "**toy**: AUC, 3 splits x 2 seeds, seed 3"
    assert len(lines) == 4 + len(records)
    assert {line.count("|") for line in lines[2:]} == {10}


def test_what_is_no_null_is_refused(study: Study) -> None:
    with pytest.raises(ValueError, match="Did you mean 'rewired'"):
        controls(study, draws={"rewire": 1})
    with pytest.raises(ValueError, match="'labels' is -1"):
        controls(study, draws={"labels": -1})


@pytest.mark.slow
def test_the_command_writes_the_records(tmp_path: Path) -> None:
    found = command(
        "bench", "controls", write_study(tmp_path, QUICK), "--rewired", "1", "--reassigned", "0", "--labels", "0",
        "--json", tmp_path / "controls.json",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    written = json.loads((tmp_path / "controls.json").read_text())
    assert [row["n_draws"] for row in written if row["n_draws"]] == [1]
    assert f"| {written[0]['mean']:.3f} |" in found.stdout


def test_a_study_trains_shifted_and_equalised_nulls(tmp_path: Path) -> None:
    path = write_study(tmp_path, QUICK + NULLS)
    write_places(tmp_path)
    study = Study.read(path)
    chunks = missing_chunks(study, read_material(study), study.output)
    assert [chunk.draws for chunk in chunks if chunk.kind == "equalised"] == [(0,), (1,)]
    results = run_study(path)
    assert results.nulls.groupby("kind").size().to_dict() == {"equalised": 12, "real": 6, "shifted": 12}
    assert results.nulls["value"].notna().all()
    summary = results.null_summary.set_index("kind")
    assert np.isnan(summary.loc["equalised", "p"])
    assert summary.loc["shifted", "p"] in (1 / 3, 2 / 3, 1)
    assert ["no test of them" in words for words in results.null_words] == [
        kind == "equalised" for kind in summary.index
    ]


def test_places_are_asked_for_and_looked_at_before_anything_is_trained(tmp_path: Path) -> None:
    path = write_study(tmp_path, QUICK + "\n[nulls]\nshifted = 1\n")
    with pytest.raises(StudyError, match=r"nulls\.shifted needs nulls\.places"):
        Study.read(path)
    path = write_study(tmp_path, QUICK + NULLS)
    write_places(tmp_path)
    whole = Study.read(path).identity
    write_places(tmp_path, skipped=2)
    assert Study.read(path).identity != whole
    with pytest.raises(AlignmentError, match="`places` lacks 2 of the"):
        read_material(Study.read(path))
    assert not (tmp_path / "results").exists()

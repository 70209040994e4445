"""The tutorials and examples run, and their known truths come out."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, real: Callable[[str], Path]) -> Callable[[str], object]:
    """An example as a module, its data where the tests have them."""
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setenv("VNN_DATA", str(real("reactome/ReactomePathways.gmt").parents[1]))
    for name in ("inputs", *(path.stem for path in EXAMPLES.glob("*.py"))):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module


def test_the_script_walks_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    tutorial = importlib.import_module("tutorial")
    tutorial.main(tmp_path)
    told = capsys.readouterr().out
    assert (tmp_path / "results" / "page.html").exists()
    ranked = told.split("name   level")[1] if "name   level" in told else told
    assert "Mismatch repair" in ranked
    assert told.count("True") >= 8


def test_the_notebook_runs_from_top_to_bottom() -> None:
    cells = json.loads((EXAMPLES / "tutorial.ipynb").read_text())["cells"]
    names: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert not cell["outputs"]
            exec(compile("".join(cell["source"]), f"tutorial.ipynb {cell['id']}", "exec"), names)
    effects = names["effects"]
    assert effects["name"].iloc[0] == "Mismatch repair" or effects["level"].iloc[0] != "level 1"  # type: ignore[index]
    assert effects[effects["level"] == "level 1"]["name"].iloc[0] == "Mismatch repair"  # type: ignore[index]


def test_a_study_with_a_verdict_is_smaller_and_has_nulls(tmp_path: Path, example: Callable[[str], object]) -> None:
    made = example("inputs").judged(example("leukaemia").study(tmp_path))  # type: ignore[attr-defined]
    assert (made.splits.repeats, made.n_seeds) == (1, 2)
    assert [made.nulls.n_draws(kind) for kind in ("labels", "rewired", "half_samples")] == [20, 20, 10]
    assert type(made).model_validate(made.model_dump()) == made


@pytest.mark.parametrize(
    ("name", "options", "n_inputs"),
    [
        ("leukaemia", {"repeats": 1, "epochs": 2}, 5_962),
        ("gbm_subtypes", {"repeats": 1, "n_seeds": 1, "epochs": 2}, 535),
        ("gbm_survival", {"repeats": 1, "n_seeds": 1, "epochs": 2}, 535),
        ("gennet", {"epochs": 2}, 100),
        ("pbmc", {"n_seeds": 1, "epochs": 2}, None),
        ("proteomics", {"repeats": 1, "n_seeds": 1, "epochs": 2}, None),
    ],
)
def test_a_study_is_read_as_its_page_says(
    tmp_path: Path, example: Callable[[str], object], name: str, options: dict[str, int], n_inputs: int | None
) -> None:
    if name == "pbmc":
        pytest.importorskip("anndata")
    if name == "gennet":
        pytest.importorskip("h5py")
    from vnn.study import read_material

    study = example(name).study(tmp_path, **options)  # type: ignore[attr-defined]
    assert study.report.weaknesses
    assert study.report.populations != "not stated"
    material = read_material(study)
    facts = {
        "leukaemia": (48, "binary", 2),
        "gbm_subtypes": (173, "multiclass", 4),
        "gbm_survival": (173, "cox", 0),
        "gennet": (14_000, "binary", 2),
        "pbmc": (660, "multiclass", 7),
        "proteomics": (197, "binary", 2),
    }
    target = material.target
    assert (material.samples.n_samples, target.task, len(target.classes)) == facts[name]
    if n_inputs is not None:
        assert len(material.topology.inputs) == n_inputs
    if name == "gbm_survival":
        assert target.events is not None
        assert target.events.sum() == 167


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "least"), [("gbm_subtypes", 0.97), ("gbm_survival", 0.4), ("pbmc", 0.93), ("proteomics", 0.96)]
)
def test_a_short_study_ends_in_its_page(
    tmp_path: Path, example: Callable[[str], object], name: str, least: float
) -> None:
    """One repeat, one seed, few epochs, linear models only: the headline of the network, and what the page must say."""
    from vnn.study import CompareSection, run_study

    study = example(name).study(tmp_path, n_seeds=1, epochs=60)  # type: ignore[attr-defined]
    splits = study.splits.model_copy(update={"repeats": 1})
    models = ["ridge Cox" if name == "gbm_survival" else "logistic regression"]
    models += ["missingness only"] if name == "proteomics" else []
    results = run_study(study.model_copy(update={"splits": splits, "compare": CompareSection(models=tuple(models))}))
    compared = results.comparison
    own = compared[(compared["metric"] == compared.attrs["headline"])].set_index("model")["mean"]
    print(name, own.round(3).to_dict())
    assert own["visible network"] >= least
    page = (results.folder / "page.html").read_text()
    assert study.report.weaknesses[0][:40] in page
    if name == "proteomics":
        assert own["missingness only"] > 0.9
        assert any(check.state == "warning" and "missing" in check.name for check in results.checks)
    assert results.agreement["agrees"].all()


def test_gennets_folder_and_its_plink_files_are_the_same_study(
    tmp_path: Path, example: Callable[[str], object]
) -> None:
    pytest.importorskip("h5py")
    from vnn.study import read_material

    made = [read_material(example("gennet").study(tmp_path / str(k), folder=bool(k))) for k in (0, 1)]  # type: ignore[attr-defined]
    plain, folder = (material.topology.to_edges() for material in made)
    assert [len(set(table["target"])) for table in (plain, folder)] == [10, 10]
    at = [
        dict(zip(m.kept["variants.tsv.gz"]["position"].astype(str), m.kept["variants.tsv.gz"].index, strict=True))
        for m in made
    ]
    genes = [dict(zip(table["source"], table["target"], strict=True)) for table in (plain, folder)]
    assert {place: genes[0][name] for place, name in at[0].items()} == {
        place: genes[1][name] for place, name in at[1].items()
    }
    labels = [material.samples.targets.iloc[:, 0] for material in made]
    assert (labels[0] == "case").sum() == (labels[1].astype(str) == "1").sum()


@pytest.mark.slow
def test_gennets_simulation_is_solved(tmp_path: Path, example: Callable[[str], object]) -> None:
    pytest.importorskip("h5py")
    from vnn.study import run_study

    results = run_study(example("gennet").study(tmp_path, n_seeds=1))  # type: ignore[attr-defined]
    own = results.comparison[results.comparison["metric"] == "AUC"].set_index("model")["mean"]
    print(own.round(3).to_dict())
    assert own["visible network"] >= 0.999
    assert own["logistic regression"] < 0.9
    assert (results.folder / "variants.tsv.gz").exists()


@pytest.mark.slow
def test_leukaemia_is_at_most_three_hundredths_below_logistic_regression(
    tmp_path: Path, example: Callable[[str], object]
) -> None:
    """Ten repeats of five folds; the mean AUC is printed beside that of the linear model on the same folds."""
    from vnn.study import run_study

    results = run_study(example("leukaemia").study(tmp_path, models=("logistic regression",)))  # type: ignore[attr-defined]
    table = results.performance[results.performance["metric"] == "AUC"]
    means = table.groupby("model")["value"].mean()
    print(means.round(3).to_dict())
    assert (table["model"] == "visible network").sum() == 50
    assert means["visible network"] >= means["logistic regression"] - 0.03
    assert means["visible network"] > 0.95

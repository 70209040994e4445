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


@pytest.mark.parametrize(
    ("name", "options", "n_inputs"),
    [
        ("leukaemia", {"repeats": 1, "epochs": 2}, 5_962),
        ("gbm_subtypes", {"repeats": 1, "n_seeds": 1, "epochs": 2}, 535),
        ("gbm_survival", {"repeats": 1, "n_seeds": 1, "epochs": 2}, 535),
        ("pbmc", {"n_seeds": 1, "epochs": 2}, None),
        ("proteomics", {"repeats": 1, "n_seeds": 1, "epochs": 2}, None),
    ],
)
def test_a_study_is_read_as_its_page_says(
    tmp_path: Path, example: Callable[[str], object], name: str, options: dict[str, int], n_inputs: int | None
) -> None:
    if name == "pbmc":
        pytest.importorskip("anndata")
    from vnn.study import read_material

    study = example(name).study(tmp_path, **options)  # type: ignore[attr-defined]
    assert study.report.weaknesses
    assert study.report.populations != "not stated"
    material = read_material(study)
    facts = {
        "leukaemia": (48, "binary", 2),
        "gbm_subtypes": (173, "multiclass", 4),
        "gbm_survival": (173, "cox", 0),
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

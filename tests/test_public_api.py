"""The names `vnn` exports, and that each of them says what it is."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import vnn

EXPORTED = {
    "vnn": {
        "Activities", "Attributions", "Fit", "Level", "Mask", "NodeScores", "Ontology", "Prediction", "Recipe", "Results",
        "Samples", "Split", "Study", "Topology", "Training", "VNNClassifier", "VNNRegressor", "VisibleNetwork", "activities",
        "activity_effects", "attributions", "comparison", "crosscheck", "data_checks", "fit", "hold_out", "join_omics", "k_fold",
        "leave_one_group_out", "limit_classes", "load_ontology", "log_cpm", "merge_features", "node_scores", "performance",
        "read_samples", "run_study", "simulate_expression",
    },
    "vnn.kernels": {
        "Graph", "Packed", "PackedPeople", "active_name", "backend", "describe", "edge_product", "packed_product", "sparse_product",
        "transposed_product",
    },
    "vnn.models": {"DenseNetwork", "Recipe", "VisibleNetwork"},
    "vnn.training": {
        "Fit", "NoOntologyWarning", "Prediction", "Progress", "Replicate", "Setting", "Training", "VNNClassifier",
        "VNNRegressor", "comparison", "fit", "fit_traits", "performance",
    },
    "vnn.interpret": {
        "Activities", "Attributions", "DeepLift", "NodeScores", "activities", "activity_effects", "attributions",
        "crosscheck", "node_scores",
    },
    "vnn.report": {"WORDS", "Content", "performance_text", "ranking_text", "verdict_text", "write_figures", "write_page"},
    "vnn.study": {
        "RECORD", "AttributionSection", "CompareSection", "DataSection", "GenotypeSection", "Material", "NullSection",
        "OntologySection", "Prepared", "QualitySection", "ReportSection", "Results", "SearchSection", "SplitSection",
        "Study", "plan", "prepare", "wiring_of",
        "read_material", "run_study", "run_traits", "splits_of", "studies_of", "study_file",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_names_are_pinned(name: str) -> None:
    assert set(importlib.import_module(name).__all__) == EXPORTED[name]


@pytest.mark.parametrize("name", vnn.__all__)
def test_every_public_name_says_what_it_is(name: str) -> None:
    thing = getattr(vnn, name)
    assert inspect.getdoc(thing)
    if inspect.isclass(thing):
        for member, value in inspect.getmembers(thing, inspect.isfunction):
            if not member.startswith("_") and value.__qualname__.startswith(name):
                assert inspect.getdoc(value), f"{name}.{member}"


def modules() -> list[str]:
    return [m.name for m in pkgutil.walk_packages([str(Path(vnn.__file__).parent)], "vnn.") if "libvnn" not in m.name]


@pytest.mark.parametrize("name", modules())
def test_every_module_says_what_it_is(name: str) -> None:
    assert importlib.import_module(name).__doc__


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(AttributeError, match="run_study"):
        vnn.run_studies  # noqa: B018


def test_importing_vnn_is_instant_and_brings_no_torch() -> None:
    code = "import sys, vnn, vnn.cli.main; print('torch' in sys.modules)"
    env = os.environ | {"PYTHONPATH": str(Path(vnn.__file__).parents[1])}
    found = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_no_module_uses_a_global_generator() -> None:
    sources = {path: path.read_text() for path in Path(vnn.__file__).parent.rglob("*.py")}
    borrowed = Path(vnn.__file__).parent / "interpret" / "rivals.py"  # Captum draws from them; their state is put back
    del sources[borrowed]
    for word in (
        "manual_seed",
        "np.random.seed",
        "torch.rand",
        "torch.randn",
        "np.random.rand",
        "import random",
        "default_rng(",
    ):
        assert not [path for path, text in sources.items() if word in text], word

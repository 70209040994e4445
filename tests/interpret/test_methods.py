"""Methods of a fit by name: what they promise is said and kept, backgrounds are people of the training part."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest

from tests.planted import cohort, folds, wiring
from vnn._errors import AlignmentError
from vnn.data import Samples
from vnn.interpret.attribution import attributions, check_completeness
from vnn.interpret.baseline import baseline_of
from vnn.interpret.deeplift import Explained
from vnn.interpret.methods import METHODS, method_of
from vnn.models import Recipe
from vnn.training import Fit, Training, fit

AGE = pd.DataFrame({"age": np.linspace(20, 70, 120)}, index=list(cohort().ids))


def people(*, holes: bool = False) -> Samples:
    made = cohort()
    values = made.values.astype(np.float32).copy()
    if holes:
        values[3, ::7] = np.nan
    return Samples(values, made.features, made.ids, made.targets, AGE, made.groups)


@cache
def trained(activation: str = "relu", *, holes: bool = False) -> Fit:
    recipe = Recipe(units={"set 3": 2}, activation=activation)  # type: ignore[arg-type]
    return fit(
        wiring(),
        people(holes=holes),
        target="phenotype",
        splits=folds(),
        recipe=recipe,
        training=Training(epochs=4, impute="mean" if holes else "none"),
    )


@pytest.mark.parametrize("name", list(METHODS))
def test_every_method_gives_named_levels_and_keeps_its_promise(name: str) -> None:
    method, made = METHODS[name], trained()
    fewer = {"n_draws": 6} if method.n_background else {}
    steps = {"n_steps": 64} if "n_steps" in method.settings else {}
    found = attributions(made, people(), method=method.with_settings(**steps), **fewer)  # type: ignore[arg-type]
    assert found.method == name
    assert found.complete == method.completeness
    assert {level: values.shape for level, values in found.levels.items()} == {
        "inputs": (120, 3, len(wiring().inputs)), "level 1": (120, 3, 8), "level 2": (120, 3, 2), "level 3": (120, 3, 1),
        "covariates": (120, 3, 1),
    }  # fmt: skip
    table = found.completeness()
    assert set(table["complete"]) == {method.completeness}
    if not method.complete:
        assert not found.missed
        assert not found.passing
        assert table["largest_error"].isna().all()
        return
    late = found.levels["covariates"].sum(2)
    for level in ("inputs", "level 1", "level 2", "level 3"):
        cut = found.levels[level].sum(2) + found.passing[level] + late
        if method.completeness != "up to absorption":
            assert cut - found.difference == pytest.approx(found.missed[level], abs=1e-4)
    worst = (table["largest_error"] / table["scale"]).max()
    assert worst < {"exact": 1e-5, "up to steps": 0.01, "sampled": 0.5, "up to absorption": 1e-5}[method.completeness]
    assert (found.standard_error is not None) == (method.completeness == "sampled")


def test_deeplift_over_people_is_the_mean_of_deeplift_from_each() -> None:
    made = trained()
    drawn = baseline_of(made, "samples", background=people(), n_draws=3)
    found = attributions(made, people(), method="deeplift-shap", n_draws=3)
    again = attributions(made, people(), baseline="samples", n_draws=3)
    for r in range(3):
        parts = [attributions(made, people(), baseline=drawn.values[d, :, r]) for d in range(3)]
        for level, values in found.levels.items():
            expected = np.mean([part.levels[level][:, r] for part in parts], axis=0)
            assert values[:, r] == pytest.approx(expected, abs=2e-6), level
            assert np.array_equal(values, again.levels[level])
    assert found.baseline == "3 training samples of each split, drawn at random"


def test_a_background_is_drawn_from_the_training_part_and_filled() -> None:
    made = trained(holes=True)
    drawn = baseline_of(made, "samples", background=people(holes=True), n_draws=10)
    assert drawn.values.shape == (10, len(wiring().inputs), 3)
    assert np.isfinite(drawn.values).all()
    aligned = made.align(people(holes=True))
    for r, split in enumerate(made.splits):
        train = aligned.values[:, aligned.index(split.train)].T
        fill = made.networks.scaling.fill.numpy()[:, r]
        known = {tuple(np.where(np.isnan(row), fill, row).astype(np.float32)) for row in train}
        assert {tuple(row.astype(np.float32)) for row in drawn.values[:, :, r]} <= known
        assert len({tuple(row) for row in drawn.values[:, :, r]}) == 10
    same = baseline_of(made, "samples", background=people(holes=True), n_draws=10)
    assert np.array_equal(drawn.values, same.values)
    everyone = baseline_of(made, "samples", background=people(holes=True), n_draws=10_000)
    assert len(everyone.values) == min(len(split.train) for split in made.splits)


def test_a_background_needs_the_training_samples() -> None:
    some = people().select(ids=people().ids[:20])
    with pytest.raises(AlignmentError, match=r"are not among the samples given\. Pass background="):
        attributions(trained(), some, method="expected gradients")
    with pytest.raises(ValueError, match="`n_draws` is -1; a background needs"):
        attributions(trained(), people(), method="deeplift-shap", n_draws=-1)
    found = attributions(trained(), some, method="expected gradients", background=people(), n_draws=3)
    assert found.levels["level 1"].shape == (20, 3, 8)


def test_a_method_over_a_background_takes_another_baseline_too() -> None:
    found = attributions(trained(), people(), method="deeplift-shap", baseline="mean")
    expected = attributions(trained(), people())
    for level, values in expected.levels.items():
        assert np.array_equal(found.levels[level], values)


def test_too_few_steps_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vnn.interpret.attribution.COARSE", 1e-6)
    with pytest.warns(UserWarning, match=r"integrated gradients misses .* Take more steps"):
        attributions(trained(), people(), method=METHODS["integrated gradients"].with_settings(n_steps=1))


def test_unknown_methods_are_named() -> None:
    with pytest.raises(
        ValueError, match=r"the method is 'integrated gradient'; known are .* Did you mean 'integrated gradients'\?"
    ):
        attributions(trained(), people(), method="integrated gradient")
    assert method_of(METHODS["saliency"]) is METHODS["saliency"]


def test_the_table_of_methods_is_whole() -> None:
    for name, method in METHODS.items():
        assert method.name == name
        assert method.question.endswith("?") or method.question.endswith(".")
        assert method.reference.startswith(("doi:", "arXiv:"))
        assert method.complete == (method.completeness != "not defined")
    assert METHODS["integrated gradients"].settings == {"n_steps": 16}
    assert METHODS["integrated gradients"].with_settings(n_steps=4).settings == {"n_steps": 4}


def test_a_cut_that_does_not_sum_is_an_error() -> None:
    import torch

    ones = torch.ones(2, 1, 3)
    wrong = Explained({"a": ones, "b": 2 * ones}, {"a": ones[0] * 0, "b": ones[0] * 0}, 2 * ones[0], {}, {}, 0.0)
    for promise in ("exact", "sampled"):
        with pytest.raises(RuntimeError, match="'b' miss the difference"):
            check_completeness([wrong], promise)  # type: ignore[arg-type]
    check_completeness([wrong], "not defined")

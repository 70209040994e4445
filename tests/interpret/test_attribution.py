"""Attributions of a fit: named, complete, the same alone and together, joined by name."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch

from tests.planted import cohort, folds, wiring
from vnn.data import Samples
from vnn.interpret import attributions
from vnn.models import Recipe
from vnn.training import Fit, Training, fit

COVARIATE = pd.DataFrame({"age": np.linspace(20, 70, 120)}, index=list(cohort().ids))


def with_age() -> Samples:
    made = cohort()
    return Samples(made.values, made.features, made.ids, made.targets, COVARIATE, made.groups)


@cache
def trained(target: str = "phenotype") -> Fit:
    recipe = Recipe(units={"set 3": 2})
    return fit(wiring(), with_age(), target=target, splits=folds(), recipe=recipe, training=Training(epochs=4))


def test_the_sum_over_every_cut_is_the_difference_from_the_baselines_logit() -> None:
    made = trained()
    found = attributions(made, with_age())
    values, covariates, networks = made.columns(with_age())
    assert covariates is not None
    with torch.no_grad():
        logits = networks(values.T, covariates)[:, :, 0].numpy()
        for r, split in enumerate(made.splits):
            part = with_age().select(made.topology.inputs, split.train)
            point = torch.from_numpy(part.values.astype(float).mean(1))[None].float()
            late = torch.tensor([[COVARIATE.loc[list(split.train), "age"].mean()]])
            reference = float(networks.replicates([r])(point, late)[0, 0, 0])
            assert found.difference[:, r] == pytest.approx(logits[:, r] - reference, abs=1e-5)
            late_part = found.levels["covariates"][:, r].sum(1)
            for level in ("inputs", "level 1", "level 2", "level 3"):
                cut = found.levels[level][:, r].sum(1) + found.passing[level][:, r] + late_part
                assert cut == pytest.approx(found.difference[:, r], abs=1e-5)
    assert (found.completeness()["largest_error"] < 1e-5 * found.completeness()["scale"].clip(1)).all()


def test_axes_are_named() -> None:
    found = attributions(trained(), with_age())
    assert list(found.nodes) == ["inputs", "level 1", "level 2", "level 3", "covariates"]
    assert found.nodes["covariates"] == ("age",)
    assert found.nodes["inputs"] == wiring().inputs
    assert found.levels["level 1"].shape == (120, 3, 8)
    assert found.contrast == "control minus case"
    table = found.table()
    assert list(table.index) == list(cohort().ids)
    assert "level 1/set 3" in table
    held = found.held_out
    expected = np.nanmean(np.where(held, found.levels["level 1"][:, :, 3], np.nan), axis=1)
    assert table["level 1/set 3"].to_numpy() == pytest.approx(expected)


def test_long_form_and_anndata_hold_the_same_numbers() -> None:
    found = attributions(trained(), with_age(), levels=["level 2"])
    long = found.to_pandas()
    assert len(long) == 120 * 3 * 2
    one = long[
        (long["sample"] == found.ids[5]) & (long["replicate"] == found.replicates[1]) & (long["node"] == "group 1")
    ]
    assert one["attribution"].item() == found.levels["level 2"][5, 1, 1]
    pytest.importorskip("anndata")
    adata = found.to_anndata()
    assert np.array_equal(adata.obsm["attribution_vnn"].to_numpy(), found.table().to_numpy())
    assert adata.uns["vnn_attribution"]["contrast"] == "control minus case"


def test_one_sample_alone_in_any_order_of_features() -> None:
    together = attributions(trained(), with_age())
    alone = with_age().select(tuple(reversed(cohort().features)), [cohort().ids[17]])
    found = attributions(trained(), alone, background=with_age())
    for level, values in found.levels.items():
        assert values[0] == pytest.approx(together.levels[level][17], abs=1e-6), level


def test_more_classes_need_one_to_be_named() -> None:
    made = trained("thirds")
    with pytest.raises(ValueError, match="say which one is explained: label='high'"):
        attributions(made, with_age())
    high = attributions(made, with_age(), label="high")
    low = attributions(made, with_age(), label="low")
    middle = attributions(made, with_age(), label="middle")
    assert high.contrast == "high minus the rest"
    total = high.levels["level 1"] + low.levels["level 1"] + middle.levels["level 1"]
    assert np.abs(total).max() < 1e-5


def test_random_references_are_averaged() -> None:
    found = attributions(trained(), with_age(), baseline="normal", n_draws=3)
    cut = found.levels["level 1"].sum(2) + found.passing["level 1"] + found.levels["covariates"].sum(2)
    assert cut == pytest.approx(found.difference, abs=1e-5)
    assert "3 draws" in found.baseline


def test_unknown_levels_and_classes_are_named() -> None:
    with pytest.raises(ValueError, match="Did you mean 'level 1'"):
        attributions(trained(), with_age(), levels=["level1"])
    with pytest.raises(ValueError, match="the class is 'cases'"):
        attributions(trained(), with_age(), label="cases")

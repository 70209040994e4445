"""Baselines against means taken in the test, and every way of giving a wrong one."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.planted import cohort, folds, wiring
from vnn._errors import AlignmentError
from vnn.data import Samples
from vnn.interpret.baseline import baseline_of
from vnn.training import Fit, Training, fit


@cache
def trained(scaling: str = "standard") -> Fit:
    return fit(wiring(), cohort(), target="phenotype", splits=folds(), n_seeds=2,
               training=Training(epochs=1, scaling=scaling))  # type: ignore[arg-type] # fmt: skip


def train_part(r: int) -> np.ndarray:
    made = trained()
    split = next(s for s in made.splits if s.name == made.replicates["split"][r])
    return cohort().select(made.topology.inputs).values[:, cohort().index(split.train)].astype(float)


def test_mean_is_that_of_each_networks_own_training_part() -> None:
    found = baseline_of(trained(), background=cohort())
    assert found.values.shape == (1, len(wiring().inputs), 6)
    for r in range(6):
        assert found.values[0, :, r] == pytest.approx(train_part(r).mean(1))


def test_mean_needs_no_samples_where_the_scaling_holds_it() -> None:
    with_samples, without = baseline_of(trained(), background=cohort()), baseline_of(trained())
    assert with_samples.values == pytest.approx(without.values, abs=1e-6)
    with pytest.raises(AlignmentError, match="background="):
        baseline_of(trained("minmax"))


def test_zero_is_zero_and_warns_where_no_sample_is() -> None:
    with pytest.warns(UserWarning, match="0 lies outside the data of 50 of 50 inputs"):
        found = baseline_of(trained(), "zero", background=cohort())
    assert not found.values.any()


def test_a_reference_group_is_its_training_mean() -> None:
    found = baseline_of(trained(), background=cohort(), group=("phenotype", "control"))
    made = trained()
    phenotype = cohort().targets["phenotype"]
    for r in range(6):
        split = next(s for s in made.splits if s.name == made.replicates["split"][r])
        ids = [i for i in split.train if phenotype[i] == "control"]
        values = cohort().select(made.topology.inputs, ids).values.astype(float)
        assert found.values[0, :, r] == pytest.approx(values.mean(1))
    assert "phenotype = control" in found.text


def test_a_group_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"known are .*Did you mean 'phenotype'"):
        baseline_of(trained(), background=cohort(), group=("phenotyp", "control"))
    with pytest.raises(AlignmentError, match="holds 'case', 'control'"):
        baseline_of(trained(), background=cohort(), group=("phenotype", "healthy"))
    with pytest.raises(AlignmentError, match="background="):
        baseline_of(trained(), group=("phenotype", "control"))


@pytest.mark.parametrize("kind", ["normal", "universal", "specific"])
def test_random_references_follow_their_law_and_their_name(kind: str) -> None:
    found = baseline_of(trained(), kind, background=cohort(), n_draws=400)
    again = baseline_of(trained(), kind, background=cohort(), n_draws=400)
    assert np.array_equal(found.values, again.values)
    assert np.array_equal(found.values[:, :, 0], found.values[:, :, 1])
    assert not np.array_equal(found.values[:, :, 0], found.values[:, :, 2])
    part = train_part(0)
    drawn = found.values[:, 7, 0]
    if kind == "normal":
        law = stats.norm(part[7].mean(), part[7].std())
    else:
        sigma = part.std() if kind == "universal" else part[7].std()
        law = stats.truncnorm(0, 1, scale=sigma)
        assert drawn.min() >= 0
        assert drawn.max() <= sigma
    assert stats.kstest(drawn, law.cdf).pvalue > 0.001


def test_values_of_ones_own_by_name_or_in_order() -> None:
    inputs = list(wiring().inputs)
    values = train_part(0).mean(1)
    by_order = baseline_of(trained(), values, background=cohort())
    by_name = baseline_of(trained(), pd.Series(values, index=inputs)[::-1], background=cohort())
    assert np.array_equal(by_order.values, by_name.values)
    assert np.array_equal(by_order.values[0, :, 3], values)


def test_values_of_the_wrong_shape_kind_or_place() -> None:
    good = train_part(0).mean(1)
    with pytest.raises(ValueError, match=r"shape \(3,\); one value for each of the 50 inputs"):
        baseline_of(trained(), np.zeros(3), background=cohort())
    with pytest.raises(ValueError, match="not finite"):
        baseline_of(trained(), np.where(np.arange(50) == 2, np.nan, good), background=cohort())
    with pytest.raises(ValueError, match="1 of 50 inputs lies outside the data"):
        baseline_of(trained(), np.where(np.arange(50) == 2, 1e6, good), background=cohort())
    with pytest.raises(AlignmentError, match="lacks 49 of the 50 inputs"):
        baseline_of(trained(), pd.Series({wiring().inputs[0]: 0.0}), background=cohort())
    with pytest.raises(ValueError, match="Did you mean 'universal'"):
        baseline_of(trained(), "universel", background=cohort())


def test_covariates_are_compared_with_their_training_mean() -> None:
    samples = cohort()
    age = pd.DataFrame({"age": np.arange(len(samples.ids), dtype=float)}, index=list(samples.ids))
    late = Samples(samples.values, samples.features, samples.ids, samples.targets, age, samples.groups)
    made = fit(wiring(), late, target="phenotype", splits=folds(), training=Training(epochs=1))
    found = baseline_of(made, background=late).covariates
    assert found is not None
    for r, split in enumerate(made.splits):
        assert found[0, r] == pytest.approx(age.loc[list(split.train), "age"].mean(), rel=1e-5)

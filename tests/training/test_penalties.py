"""Penalties on weights and activities: modules and programs agree, and they do what they are for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.data.genotypes.cohorts import genotypes
from tests.training.test_packed_fits import study
from vnn.data import k_fold
from vnn.data.genotypes import fit_coding
from vnn.kernels import backend
from vnn.models import Recipe
from vnn.training import Training, fit

RECIPE = Recipe(dropout=0.2, input_dropout=0)


def trained(samples, topology, recipe=RECIPE, **changed):
    how = {"start": "random", "epochs": 6, "batch_size": 64, "dtype": "float64", "weight_decay": 0, "lr": 0.02}
    splits = k_fold(samples.ids, k=2, seed=1)
    training = Training(**{**how, **changed})
    return fit(topology, samples, target="case", splits=splits, n_seeds=2, recipe=recipe, training=training, seed=3)


@pytest.fixture(scope="module")
def cohort():
    held, topology = study(np.random.default_rng(0), gaps=0, covariates=True)
    return fit_coding(held, "additive").apply(held), topology


@pytest.mark.parametrize("heads", ["outputs", "levels"])
@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_modules_and_programs_agree(cohort, heads, optimiser):
    recipe = RECIPE.model_copy(update={"heads": heads})
    how = {"l1_weights": 0.3, "l1_activities": 0.05, "optimiser": optimiser, "clip": 1.0}
    fast = trained(*cohort, recipe, **how)
    with backend("reference"):
        plain = trained(*cohort, recipe, **how)
    for name, values in plain.networks.state_dict().items():
        torch.testing.assert_close(fast.networks.state_dict()[name], values, rtol=1e-8, atol=1e-10)
    assert (fast.networks.linears[0].weights[0] == 0).any()


def test_lasso_lets_weights_of_noise_go_and_keeps_those_that_matter():
    rng = np.random.default_rng(1)
    held, topology = study(rng, gaps=0)
    dosages = rng.binomial(2, 0.4, (24, 2000)).astype(float)
    risk = 2 * (dosages[0] + dosages[1] - 1.6) + rng.normal(size=2000)
    many = genotypes(dosages)
    table = held.targets.iloc[:0].reindex(many.ids).assign(case=np.where(risk > 0, "case", "control"))
    samples = fit_coding(many, "additive").apply(many.joined(targets=table[["case"]]))
    recipe = Recipe(dropout=0, input_dropout=0, heads="outputs", normalisation="none")
    noise = ~np.isin(topology.masks[0].edges[:, 0], [topology.inputs.index(name) for name in ("v0", "v1")])
    free, bound = (
        trained(samples, topology, recipe, l1_weights=rate, epochs=40)
        .networks.linears[0]
        .weights[0]
        .detach()
        .abs()
        .numpy()
        for rate in (0.0, 0.3)
    )
    assert (free > 0).all()
    assert bound[~noise].min() > 0.3
    assert (bound[noise] == 0).mean() > 0.8
    assert bound[noise].mean() < 0.02 * free[noise].mean()


def test_a_penalty_of_activities_makes_them_smaller(cohort):
    samples, topology = cohort
    recipe = Recipe(dropout=0, input_dropout=0, normalisation="none")
    free, bound = (trained(samples, topology, recipe, epochs=30, l1_activities=rate) for rate in (0.0, 0.2))
    sizes = [
        np.abs(one.networks.activities(one.columns(samples)[0].T)["genes"].detach().numpy()).mean()
        for one in (free, bound)
    ]
    assert sizes[1] < 0.6 * sizes[0]

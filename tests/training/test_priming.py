"""Primed networks: weights from associations in the training part, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse, stats

from tests.planted import CAUSAL, cohort, folds, wiring
from vnn.data import Split
from vnn.models import Recipe
from vnn.training import Training, fit
from vnn.training.design import replicates_of
from vnn.training.fitting import pose
from vnn.training.priming import associations, concentrations, prime, residuals

TRAINING = Training(start="associations", lr=1e-3, patience=5, epochs=20)


def posed(target: str = "phenotype", *, samples=None, splits=None, recipe=None, seeds: int = 1, training=None, **more):
    splits = splits or folds()
    planned = replicates_of(splits, seeds)
    return pose(
        wiring(), samples or cohort(), target=target, event=more.pop("event", None), splits=splits, planned=planned,
        chunk=more.pop("chunk", planned), recipe=recipe or Recipe(), training=training or Training(start="random"),
        task=more.pop("task", None), classes=None, seed=3, **more,
    )  # fmt: skip


def test_an_association_is_the_t_of_a_correlation() -> None:
    made = posed(training=Training(start="random", class_weight="none"))
    found = associations(made.problem, 1)
    values, ids = cohort().select(wiring().inputs, sorted(cohort().ids)).values, sorted(cohort().ids)
    for r, split in enumerate(folds()):
        at = [ids.index(i) for i in split.train]
        label = (cohort().targets["phenotype"].loc[list(split.train)] == made.target.classes[1]).to_numpy(dtype=float)
        expected = [np.sqrt(len(at)) * stats.pearsonr(row[at], label)[0] for row in values.astype(float)]
        assert np.allclose(found[:, r, 0], expected, atol=1e-6)


@pytest.mark.parametrize("target", ["quantity", "thirds"])
def test_a_sample_that_weighs_two_counts_as_two(target: str) -> None:
    made = posed(target, training=Training(start="random", class_weight="none"))
    n = 1 if target == "quantity" else 3
    problem = made.problem
    twice = problem.train_weight.clone()
    at = torch.nonzero(twice[0] > 0)[:5, 0]
    twice[:, at] *= 2
    extra = torch.cat([torch.arange(problem.inputs.shape[1]), at])
    copied = replace(
        problem, inputs=problem.inputs[:, extra], target=problem.target[..., extra],
        train_weight=problem.train_weight[:, extra], validation_weight=problem.validation_weight[:, extra],
    )  # fmt: skip
    assert np.allclose(associations(replace(problem, train_weight=twice), n)[:, 0], associations(copied, n)[:, 0])


def test_covariates_are_regressed_out() -> None:
    samples = cohort()
    column = pd.Series(np.linspace(0, 1, len(samples.ids)), index=list(samples.ids)).sample(frac=1, random_state=1)
    column.index = list(samples.ids)
    held = replace(samples, covariates=pd.DataFrame({"age": column}))
    made = posed("quantity", samples=held)
    at = np.flatnonzero(made.problem.train_weight[0].numpy() > 0)
    left, slopes = residuals(made.problem, 0, at, 1)
    assert slopes.shape == (1, 1)
    assert abs(np.corrcoef(left[:, 0], made.problem.covariates[0, at].numpy())[0, 1]) < 1e-8
    prime(made.network, made.problem)
    weight = made.network.covariate_linear.weights[0][0, 0] / 1
    assert torch.isclose(
        weight * made.network.covariate_scaling.scale[0, 0], torch.tensor(slopes[0, 0]).to(weight), rtol=1e-4
    )


def test_concentration_takes_the_strongest_first() -> None:
    rng = np.random.default_rng(2)
    member = rng.random((6, 40)) < 0.3
    squares = rng.chisquare(1, 40)
    squares[member[2]] += 6
    found = concentrations(sparse.csr_array(member.astype(float)), squares.copy())
    excess, taken = squares - squares.mean(), np.zeros(6, dtype=bool)
    expected = np.zeros(6)
    for _ in range(6):
        z = np.array([excess[row].sum() / np.sqrt(row.sum() * squares.var()) for row in member])
        best = max((i for i in range(6) if not taken[i]), key=lambda i: z[i])
        if z[best] < 3:
            break
        expected[best], taken[best] = z[best], True
        excess = np.where(member[best], excess * 0.7, excess)
    z = np.array([excess[row].sum() / np.sqrt(row.sum() * squares.var()) for row in member])
    assert found.argmax() == 2
    assert np.allclose(found, np.where(taken, expected, z))


def test_held_out_people_change_no_bit() -> None:
    samples = cohort()
    split = folds()[0]
    away = [samples.ids.index(i) for i in (*split.test, *split.validation)]
    values = np.array(samples.values)
    values[:, away] += 3
    weights = []
    for held in (samples, replace(samples, values=values)):
        made = posed(samples=held, splits=[split])
        prime(made.network, made.problem)
        weights.append([w.clone() for w in made.network.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


@pytest.mark.parametrize("target", ["phenotype", "quantity", "thirds"])
@pytest.mark.parametrize(
    "recipe", [Recipe(), Recipe(normalisation="none", units=2, heads="outputs")], ids=["plain", "units"]
)
def test_a_replicate_alone_has_the_bits_it_has_among_others(target: str, recipe: Recipe) -> None:
    together = posed(target, recipe=recipe, seeds=2)
    prime(together.network, together.problem)
    third = replicates_of(folds(), 2)[2]
    alone = posed(target, recipe=recipe, seeds=2, chunk=[third])
    prime(alone.network, alone.problem)
    whole = together.network.replicates([third.id]).state_dict()
    for name, value in alone.network.state_dict().items():
        assert torch.equal(value, whole[name]), name
        assert torch.isfinite(value).all(), name


def test_without_normalisation_units_vary_as_much() -> None:
    made = posed(recipe=Recipe(normalisation="none", activation="linear", dropout=0, input_dropout=0))
    prime(made.network, made.problem)
    at = torch.nonzero(made.problem.train_weight[0] > 0)[:, 0]
    weight = made.problem.train_weight[0, at]
    seen = made.network.eval().activities(made.problem.inputs[:, at].T, after="product")["level 1"][:, 0].detach()
    mean = (weight[:, None] * seen).sum(0) / weight.sum()
    variance = (weight[:, None] * (seen - mean) ** 2).sum(0) / weight.sum()
    assert torch.allclose(variance, torch.ones_like(variance), atol=1e-3)
    assert mean.abs().max() < 1e-3


def test_what_is_known_at_the_start_is_kept_where_training_finds_nothing_better() -> None:
    made = fit(
        wiring(), cohort(), target="phenotype", splits=folds(), seed=3, training=TRAINING.model_copy(update={"lr": 1.0})
    )
    start = posed(training=Training(start="associations"))
    for r, epoch in enumerate(made.replicates["best_epoch"]):
        if epoch == 0:
            ours = made.networks.replicates([r]).linears[0].weights[0]
            assert torch.equal(ours, start.network.replicates([r]).linears[0].weights[0])
    assert (made.replicates["best_epoch"] == 0).any()


def test_the_planted_set_leads_the_first_level() -> None:
    made = posed()
    prime(made.network, made.problem)
    head = made.network.head_layers[0].weights[0]
    leader = [made.network.own_nodes("level 1")[i] for i in head.argmax(0).tolist()]
    assert leader == [CAUSAL] * len(folds())


@pytest.mark.parametrize("kind", ["labels", "rewired"])
def test_nulls_are_primed_by_their_own_labels_and_wiring(kind: str) -> None:
    how = {"target": "phenotype", "splits": folds(), "seed": 3, "training": TRAINING}
    real = fit(wiring(), cohort(), **how)
    null = fit(wiring(), cohort(), kind=kind, draws=[0, 1], **how)
    alone = fit(wiring(), cohort(), kind=kind, draws=[1], **how)
    mine = null.replicates["draw"] == 1
    own = null.networks.replicates(np.flatnonzero(mine).tolist()).state_dict()
    assert all(torch.equal(value, own[name]) for name, value in alone.networks.state_dict().items())
    first = real.networks.head_layers[0].weights[0][:, 0]
    assert not torch.equal(first, null.networks.head_layers[0].weights[0][:, 0])


def test_survival_is_primed_by_martingale_residuals() -> None:
    rng = np.random.default_rng(1)
    samples = cohort()
    factor = samples.targets["quantity"].to_numpy()
    time = rng.exponential(np.exp(-(factor - factor.mean()) / factor.std()))
    held = replace(
        samples, targets=samples.targets.assign(time=time, event=(rng.random(len(time)) < 0.8).astype(float))
    )
    made = posed("time", samples=held, event="event", task="cox", training=Training(start="associations"))
    at = torch.nonzero(made.problem.train_weight[0] > 0)[:, 0]
    risk = made.network.eval()(made.problem.inputs[:, at].T)[:, 0, 0].detach().numpy()
    ranks = made.problem.target[0, at].numpy()
    assert stats.spearmanr(risk, ranks)[0] < -0.3


def test_a_split_of_one_class_begins_without_signal() -> None:
    ids = sorted(cohort().ids)
    cases = [i for i in ids if cohort().targets["phenotype"].loc[i] == "case"]
    made = posed(splits=[Split("one", tuple(cases[:20]), (), tuple(cases[20:]))])
    prime(made.network, made.problem)
    assert all(torch.isfinite(w).all() for w in made.network.parameters())

"""Networks whose first level reads covariates, explained: nodes are compared with those of a person of the same covariates."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch

from tests.planted import cohort, folds, wiring
from vnn.data import Samples
from vnn.interpret import activities, attributions, crosscheck, node_scores
from vnn.interpret.ablation import Ablation, ablation_by_loop, batches_of_values, knock_out
from vnn.interpret.baseline import baseline_of
from vnn.interpret.batch import among, reference_signal
from vnn.interpret.deeplift import DeepLift
from vnn.interpret.faithfulness import faithfulness
from vnn.interpret.interactions import interactions
from vnn.interpret.methods import METHODS
from vnn.interpret.rivals import COMPARED
from vnn.interpret.rlipp import rlipp
from vnn.models import Recipe
from vnn.training import Fit, Training, fit

LEVELS = ("inputs", "level 1", "level 2", "level 3")


@cache
def people() -> Samples:
    made, rng = cohort(), np.random.default_rng(1)
    table = pd.DataFrame({"age": rng.normal(50, 10, 120), "sex": rng.choice(["f", "m"], 120)}, index=list(made.ids))
    return Samples(made.values, made.features, made.ids, made.targets, table, made.groups)


@cache
def trained(target: str = "phenotype", activation: str = "tanh") -> Fit:
    recipe = Recipe(units={"set 3": 2}, covariates="early", activation=activation)
    training = Training(epochs=6, lr=0.02, start="random", weight_decay=0.1)
    made = fit(wiring(), people(), target=target, splits=folds(), recipe=recipe, training=training)
    assert made.networks.early_linear.weights[0].abs().max() > 1e-3
    return made


def references_logits(made: Fit, ids: tuple[str, ...]) -> np.ndarray:
    """Of people with the mean genes and the mean age of each training part in the late term, but their own in the early one."""
    _, covariates, networks = made.columns(people().select(ids=ids))
    assert covariates is not None
    found = []
    for r, split in enumerate(made.splits):
        point = torch.from_numpy(
            people().select(made.topology.inputs, split.train).values.astype(float).mean(1)
        ).float()
        one = networks.replicates([r])
        own = one(point.expand(len(ids), -1), covariates)[:, 0]
        at = made.coding.encode(people().covariates.loc[list(split.train)]).mean(1)  # type: ignore[union-attr]
        weight = one.covariate_linear.weights[0].view(one.n_targets, -1) * one.covariate_scaling.scale[:, 0]
        late = (covariates - torch.from_numpy(at)).float() @ weight.T
        found.append((own - late * one.output_scale[:, 0]).detach().numpy())
    return np.stack(found, axis=1)


def test_the_sum_over_every_cut_is_the_difference_from_a_person_of_the_same_covariates() -> None:
    made = trained()
    found = attributions(made, people())
    logits = made.predict(people()).logits
    expected = (logits - references_logits(made, people().ids))[:, :, 0]
    assert found.difference == pytest.approx(expected, abs=1e-5)
    late = found.levels["covariates"].sum(2)
    for level in LEVELS:
        assert found.levels[level].sum(2) + found.passing[level] + late == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].completeness in ("exact", "up to steps")])
@pytest.mark.parametrize("baseline", ["mean", "normal"])
def test_methods_are_complete(name: str, baseline: str) -> None:
    found = attributions(trained(), people(), method=name, baseline=baseline, n_draws=3)
    share = found.completeness()
    assert (share["largest_error"] < 0.02 * share["scale"].clip(1)).all()
    assert found.difference.std() > 0.01


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_captum_agrees_for_every_method_it_has(activation: str) -> None:
    pytest.importorskip("captum")
    kinked = ["deeplift", "saliency", "guided backpropagation"]
    methods = kinked if activation == "relu" else [name for name in COMPARED if name != "guided backpropagation"]
    found = crosscheck(trained(activation=activation), people(), methods=methods, n_samples=3, n_replicates=1)
    assert set(found["method"]) == set(methods)
    assert {"our layers", "dense twin"} <= set(found["where"])
    assert found["agrees"].dropna().all(), found[~found["agrees"].astype(bool)]
    assert found["largest_difference"].notna().sum() >= 8 * (len(methods) - 1)


def test_ablation_of_all_at_once_is_that_of_one_after_the_other() -> None:
    made = trained("thirds")
    values, covariates, networks = made.columns(people().select(ids=people().ids[:9]))
    networks = networks.double()
    reference = baseline_of(made, "mean", background=people())
    machine = Ablation(networks)
    held = next(batches_of_values(machine.machine, values.double(), covariates, reference))[0]
    contrast = torch.tensor([1.0, 0.0, -1.0])
    signal = networks.beside(networks.signal(values.double()), covariates)
    point = among(signal, reference_signal(networks, reference.values[0]))
    late = torch.from_numpy(reference.covariates)
    found = machine.explain(held, contrast)
    plain = ablation_by_loop(networks, signal, point, covariates, late, contrast)
    assert set(found.levels) == {*LEVELS, "covariates"}
    for level, expected in plain.levels.items():
        assert torch.allclose(found.levels[level][..., :9], expected[..., :9], atol=1e-9), level
        assert expected[..., :9].abs().max() > 1e-6


def test_knocking_out_everything_leaves_the_reference() -> None:
    made = trained()
    some = people().select(ids=people().ids[:7])
    everything = [("inputs", name) for name in made.topology.inputs]
    found = knock_out(made, some, everything, background=people())
    values, covariates, networks = made.columns(some)
    for r, split in enumerate(made.splits):
        point = torch.from_numpy(
            people().select(made.topology.inputs, split.train).values.astype(float).mean(1)
        ).float()
        one = networks.replicates([r])
        expected = one(point.expand(7, -1), covariates) - one(values.T, covariates)
        assert found.logit[:, r] == pytest.approx(expected[:, 0, 0].detach().numpy(), abs=1e-5)
    ages = knock_out(made, some, [("covariates", "age")], background=people())
    for r, split in enumerate(made.splits):
        one, moved = networks.replicates([r]), covariates.clone()
        at = list(made.coding.names).index("age")
        moved[:, at] = people().covariates.loc[list(split.train), "age"].mean()
        expected = one(values.T, moved) - one(values.T, covariates)
        assert ages.logit[:, r] == pytest.approx(expected[:, 0, 0].detach().numpy(), abs=1e-5)


def test_what_else_is_asked_of_them() -> None:
    made = trained()
    scores = node_scores(made, people())
    assert set(scores.table["level"]) == {*LEVELS, "covariates"}
    assert activities(made, people()).table(held_out=True).notna().all().all()
    assert len(rlipp(made, people()))
    found = attributions(made, people())
    assert len(faithfulness(made, people(), found, n_sets=5, n_random=2, n_steps=4).curves)
    with pytest.raises(ValueError, match="interactions are looked for between nodes only"):
        interactions(made, people())


def test_a_signal_without_covariates_is_refused() -> None:
    values, _, networks = trained().columns(people())
    machine = DeepLift(networks)
    signal = networks.signal(values[:, :5])
    with pytest.raises(ValueError, match="read 2 columns of covariates, and none were given"):
        machine.compare(signal, signal)

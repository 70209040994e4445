"""Faithfulness beside closed forms of linear networks, loops over predictions, and Captum."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

import vnn.interpret.faithfulness as module
from tests.interpret.test_deeplift import two_level
from tests.planted import cohort, folds, wiring
from vnn._errors import AlignmentError
from vnn.interpret.attribution import Attributions, attributions
from vnn.interpret.deeplift import DeepLift, Explained
from vnn.interpret.faithfulness import Faithfulness, faithfulness, path_weights, sensitivity
from vnn.layers import Signal
from vnn.models import Recipe, VisibleNetwork
from vnn.training import Fit, Training, fit


@cache
def trained(activation: str = "tanh") -> Fit:
    return fit(
        wiring(), cohort(), target="phenotype", splits=folds(2), seed=0, n_seeds=1,
        training=Training(start="random", epochs=4, batch_size=32, dtype="float64"), recipe=Recipe(activation=activation),
    )  # fmt: skip


@cache
def explained(activation: str = "tanh") -> Attributions:
    return attributions(trained(activation), cohort())


def measured(found: Attributions, activation: str = "tanh", **how: object) -> Faithfulness:
    settings = {"n_steps": 5, "n_random": 2, "n_sets": 8} | how
    return faithfulness(trained(activation), cohort(), found, **settings)  # type: ignore[arg-type]


def order(table: object, name: str, what: str) -> np.ndarray:
    return table.loc[table["order"] == name, what].to_numpy()  # type: ignore[attr-defined]


def at_mean(made: Fit, r: int) -> tuple[Tensor, Tensor, VisibleNetwork, list[int]]:
    """Raw inputs of the samples network r held out, its training means, the network, and who they are."""
    samples = cohort()
    split = made.splits[r]
    values, _, networks = made.columns(samples)
    held = [samples.ids.index(i) for i in split.test]
    train = samples.select(made.topology.inputs, ids=split.train).values.astype(np.float64).mean(1)
    return values[:, held].double(), torch.from_numpy(train), networks.replicates([r]), held


def test_in_a_linear_network_the_curves_are_sums_of_attributions_and_nothing_is_unfaithful() -> None:
    made, found = trained("linear"), explained("linear")
    result = measured(found, "linear")
    expected = []
    for r in range(2):
        held = np.flatnonzero(found.held_out[:, r])
        phi = found.levels["inputs"][held, r].astype(np.float64)
        whole = phi.sum(1)
        pushing = -np.sort(-phi * np.sign(whole)[:, None], axis=1)
        cut = [round(share * phi.shape[1]) for share in np.linspace(0, 1, 6)]
        left = np.array([np.abs(whole).sum() - pushing[:, :k].sum() for k in cut]) / np.abs(whole).sum()
        expected.append(left)
    np.testing.assert_allclose(order(result.curves, "attribution", "deletion"), np.mean(expected, axis=0), atol=1e-5)
    np.testing.assert_allclose(
        order(result.curves, "attribution", "insertion"), 1 - np.mean(expected, axis=0), atol=1e-5
    )
    area = [np.interp(np.linspace(0, 1, 2001), np.linspace(0, 1, 6), left)[:-1].mean() for left in expected]
    assert order(result.areas, "attribution", "deletion")[0] == pytest.approx(np.mean(area), abs=2e-3)
    assert order(result.infidelity, "attribution", "relative")[0] < 1e-9
    assert order(result.infidelity, "weight", "scaled")[0] > 0.05
    assert made.splits[0].test


def test_curves_of_inputs_are_predictions_of_samples_with_inputs_at_their_mean() -> None:
    made, found = trained(), explained()
    result = measured(found)
    deletion, insertion = [], []
    for r in range(2):
        x, mean, network, held = at_mean(made, r)
        with torch.no_grad():
            base = network(mean[None])[0, 0, 0]
            left, back = np.zeros(6), np.zeros(6)
            for j, i in enumerate(held):
                whole = network(x[None, :, j])[0, 0, 0] - base
                side = 1 if whole >= 0 else -1
                first = np.argsort(-side * found.levels["inputs"][i, r].astype(np.float64), kind="stable")
                for k, share in enumerate(np.linspace(0, 1, 6)):
                    taken = torch.from_numpy(first[: round(share * len(first))].copy())
                    gone, only = x[:, j].clone(), mean.clone()
                    gone[taken], only[taken] = mean[taken], x[taken, j]
                    left[k] += side * float(network(gone[None])[0, 0, 0] - base)
                    back[k] += side * float(network(only[None])[0, 0, 0] - base)
        deletion.append(left / left[0])
        insertion.append(back / left[0])
    np.testing.assert_allclose(order(result.curves, "attribution", "deletion"), np.mean(deletion, axis=0), atol=1e-6)
    np.testing.assert_allclose(order(result.curves, "attribution", "insertion"), np.mean(insertion, axis=0), atol=1e-6)


def test_infidelity_is_captums() -> None:
    from captum.metrics import infidelity

    made, found = trained(), explained()
    result = measured(found)
    n = len(made.topology.inputs)
    sets = module._sets(0, "inputs", n, 8)[:, :, 0, 0].double()
    raw, scale = [], []
    for r in range(2):
        x, mean, network, held = at_mean(made, r)
        phi = torch.from_numpy(found.levels["inputs"][held, r]).double()

        def perturb(inputs: Tensor, baselines: Tensor) -> tuple[Tensor, Tensor]:
            of_each = len(inputs) // 8
            chosen = sets.repeat(of_each, 1)
            return chosen, torch.where(chosen.bool(), baselines, inputs)

        def forward(inputs: Tensor, network: VisibleNetwork = network) -> Tensor:
            return network(inputs)[:, 0, 0]

        with torch.no_grad():
            given = {"baselines": mean[None].expand(len(held), -1).contiguous(), "n_perturb_samples": 8}
            raw.append(float(infidelity(forward, perturb, x.T.contiguous(), phi, **given).mean()))
            null = infidelity(forward, perturb, x.T.contiguous(), torch.zeros_like(phi), **given)
            scale.append(raw[-1] / float(null.mean()))
    assert order(result.infidelity, "attribution", "infidelity")[0] == pytest.approx(np.mean(raw), rel=1e-6)
    assert order(result.infidelity, "attribution", "relative")[0] == pytest.approx(np.mean(scale), rel=1e-6)
    assert order(result.infidelity, "attribution", "scaled")[0] <= np.mean(scale)


@pytest.mark.parametrize("level", ["inputs", "level 1"])
def test_attributions_do_better_than_chance_and_turned_round_worse(level: str) -> None:
    found = explained()
    turned = replace(found, levels={name: -values for name, values in found.levels.items()})
    right, wrong = (measured(one, level=level) for one in (found, turned))
    areas = {name: order(right.areas, name, "deletion")[0] for name in ("attribution", "random", "weight")}
    assert areas["attribution"] < min(areas["random"], areas["weight"])
    assert order(wrong.areas, "attribution", "deletion")[0] > areas["random"]
    assert order(right.areas, "attribution", "insertion")[0] > order(right.areas, "random", "insertion")[0]
    for name in ("random", "weight"):
        assert order(wrong.areas, name, "deletion") == order(right.areas, name, "deletion")
    assert order(wrong.infidelity, "attribution", "relative")[0] > 1
    assert right.curves["deletion"].iloc[0] == pytest.approx(1)
    assert (right.areas["deletion_low"] <= right.areas["deletion"]).all()


def test_only_samples_that_were_held_out_count() -> None:
    found = explained()
    spoiled = {name: values.copy() for name, values in found.levels.items()}
    spoiled["inputs"][~found.held_out] = 1e6
    assert measured(replace(found, levels=spoiled)).areas.equals(measured(found).areas)
    nobody = replace(found, held_out=np.zeros_like(found.held_out))
    with pytest.raises(ValueError, match="no network held any of these samples out"):
        measured(nobody)


def test_path_weights_of_a_network_by_hand() -> None:
    net, w = two_level()
    with torch.no_grad():
        net.output_scale.fill_(3.0)
    found = path_weights(net, torch.ones(1))
    p = 3 * abs(w["hp"]) / 2
    x = 3 * abs(w["hx"]) / 2 + p * abs(w["xp"])
    assert found["two"][0, 0] == pytest.approx(p)
    assert found["one"][0, 0] == pytest.approx(x)
    assert found["inputs"][:, 0].tolist() == pytest.approx([x * abs(w["ax"]) + p * abs(w["ap"]), x * abs(w["bx"])])


def deeplift(
    network: VisibleNetwork,
    signal: Signal,
    reference: Signal,
    late: Tensor | None,
    late0: Tensor | None,
    contrast: Tensor,
) -> Explained:
    machine = DeepLift(network)
    return machine.explain(machine.compare(signal, reference, late, late0), contrast)


def still(network: VisibleNetwork, *given: object) -> Explained:
    found = deeplift(network, *given)  # type: ignore[arg-type]
    return replace(found, levels={name: torch.ones_like(values) for name, values in found.levels.items()})


def test_sensitivity_of_a_linear_network_is_that_of_its_attributions() -> None:
    made, found, samples = trained("linear"), explained("linear"), cohort()
    result = sensitivity(made, samples, deeplift, radius=0.2, n_nearby=3, seed=4)
    for r in range(2):
        _, mean, network, held = at_mean(made, r)
        slope = torch.func.jacrev(lambda one, network=network: network(one[None])[0, 0, 0])(mean)
        deviation = 1 / network.scaling.scale[:, 0]
        for j in held[:5]:
            moves = [module.generator(4, "nearby", samples.ids[j], i).uniform(-0.2, 0.2, len(mean)) for i in range(3)]
            moved = [float((slope.detach() * deviation * torch.from_numpy(move)).norm()) for move in moves]
            expected = max(moved) / np.linalg.norm(found.levels["inputs"][j, r].astype(np.float64))
            assert result["sensitivity"].iloc[j] == pytest.approx(expected, rel=1e-5)
    assert result["n_replicates"].tolist() == found.held_out.sum(1).tolist()


def test_attributions_that_ignore_the_sample_have_no_sensitivity_and_radius_counts() -> None:
    assert sensitivity(trained(), cohort(), still, n_nearby=2)["sensitivity"].eq(0).all()
    near, far = (sensitivity(trained(), cohort(), deeplift, radius=r, n_nearby=2) for r in (0.01, 0.1))
    assert (near["sensitivity"] < far["sensitivity"]).mean() > 0.95


def test_what_does_not_fit_is_refused() -> None:
    found = explained()
    with pytest.raises(ValueError, match=r"the level is 'level 4'; known are 'inputs'"):
        measured(found, level="level 4")
    with pytest.raises(ValueError, match="`n_sets` is 0; it must be at least 1"):
        measured(found, n_sets=0)
    with pytest.raises(AlignmentError, match="of other samples, or in another order"):
        measured(replace(found, ids=found.ids[::-1]))
    with pytest.raises(AlignmentError, match="of 1 replicates, the fit has 2"):
        measured(replace(found, replicates=found.replicates[:1]))
    with pytest.raises(ValueError, match="the contrast of the attributions is 'moon'"):
        measured(replace(found, contrast="moon"))
    with pytest.raises(ValueError, match="both must be above 0"):
        sensitivity(trained(), cohort(), deeplift, radius=0)
    with pytest.raises(ValueError, match="the level is 'lvel 1'"):
        sensitivity(trained(), cohort(), deeplift, level="lvel 1")

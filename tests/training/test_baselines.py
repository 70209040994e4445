"""Baselines: each learns from the right people, finds what it can find, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from tests.planted import cohort, folds, gene_sets, wiring
from vnn.chance import generator
from vnn.data import Samples
from vnn.models import Recipe
from vnn.training import Fit, Training, baselines, fit
from vnn.training.baselines import (
    Part,
    applicable,
    boosted_trees,
    complete_wiring,
    covariates_only,
    dense_networks,
    linear_model,
    linear_networks,
    missingness_only,
    pathway_means,
)
from vnn.training.metrics import METRICS, metrics

SHORT = Training(epochs=5, batch_size=32)


@cache
def made() -> Fit:
    return fit(wiring(), cohort(), target="phenotype", splits=folds(), n_seeds=2, training=SHORT)


def part(learn: np.ndarray, truth: np.ndarray, test: np.ndarray, task: str = "binary", **changes: object) -> Part:
    n_classes = len(np.unique(truth)) if task in ("binary", "multiclass") else 0
    given: dict[str, object] = {
        "split": "fold 1", "seed": 0, "task": task, "n_classes": n_classes, "learn": learn, "test": test,
        "learn_covariates": np.empty((len(learn), 0)), "test_covariates": np.empty((len(test), 0)), "truth": truth,
        "members": sparse.csr_array(np.ones((1, learn.shape[1]), dtype=bool)),
    }  # fmt: skip
    return Part(**(given | changes))  # type: ignore[arg-type]


def signal(n: int = 300, p: int = 6) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).standard_normal((n, p))
    return x, (x[:, 0] > 0).astype(int)


def test_every_baseline_gives_every_metric_of_every_split_from_the_right_people() -> None:
    found = baselines.baselines(made(), cohort())
    assert list(found.columns) == ["split", "n_test", "model", "metric", "value"]
    names = ("logistic regression", "pathway means", "boosted trees", "dense network")
    assert (
        applicable(made().target.task, cohort(), made().topology.inputs)
        == tuple(dict.fromkeys(found["model"]))
        == names
    )
    assert len(found) == 4 * 3 * len(METRICS["binary"])
    split = folds()[1]
    learnt = [*split.train, *split.validation]
    inputs = cohort().select(made().topology.inputs)
    truth = (inputs.targets["phenotype"] == made().target.classes[1]).astype(int)
    x, test = inputs.values[:, inputs.index(learnt)].T, inputs.values[:, inputs.index(split.test)].T
    trees = boosted_trees(part(x, truth[learnt].to_numpy(), test, split=split.name))
    expected = metrics("binary", truth[list(split.test)].to_numpy(), trees)
    mine = found[(found["split"] == split.name) & (found["model"] == "boosted trees")].set_index("metric")
    assert mine["n_test"].unique() == [len(split.test)]
    pd.testing.assert_series_equal(mine["value"], pd.Series(expected), check_names=False)
    again = baselines.baselines(made(), cohort(), names[:3])
    pd.testing.assert_frame_equal(again, found[found["model"] != "dense network"])


def test_the_test_part_is_not_learnt_from() -> None:
    rng = np.random.default_rng(0)
    labels = cohort().targets.copy()
    tested = list(folds()[0].test)
    labels.loc[tested, "phenotype"] = rng.permutation(labels.loc[tested, "phenotype"])
    samples = Samples(cohort().values, cohort().features, cohort().ids, labels, cohort().covariates, cohort().groups)
    one = fit(wiring(), samples, target="phenotype", splits=folds()[:1], training=SHORT)
    for name in ("logistic regression", "pathway means", "boosted trees"):
        (first, ids), (second, _) = (baselines._parts(f, s)[0] for f, s in ((made(), cohort()), (one, samples)))
        model = {"pathway means": pathway_means, "boosted trees": boosted_trees}.get(name, linear_model)
        assert ids == folds()[0].test
        assert np.array_equal(model(first), model(second))


def test_a_linear_signal_is_found_and_noise_is_not() -> None:
    x, truth = signal()
    for model in (linear_model, boosted_trees):
        assert roc_auc_score(truth[200:], model(part(x[:200], truth[:200], x[200:]))[:, 1]) > 0.97
        noise = np.random.default_rng(1).integers(0, 2, 200)
        assert abs(roc_auc_score(truth[200:], model(part(x[:200], noise, x[200:]))[:, 1]) - 0.5) < 0.3


def test_trees_find_what_lines_cannot() -> None:
    x, _ = signal()
    truth = (x[:, 0] * x[:, 1] > 0).astype(int)
    given = part(x[:200], truth[:200], x[200:])
    assert roc_auc_score(truth[200:], boosted_trees(given)[:, 1]) > 0.8
    assert roc_auc_score(truth[200:], linear_model(given)[:, 1]) < 0.65


def test_trees_of_hazards_quantities_and_missing_values() -> None:
    x, _ = signal()
    survival = np.stack([np.random.default_rng(0).exponential(np.exp(-2 * x[:, 0])), np.ones(300)], axis=1)
    risk = boosted_trees(part(x[:200], survival[:200], x[200:], "cox"))[:, 0]
    assert np.corrcoef(risk, x[200:, 0])[0, 1] > 0.7
    with_gaps = np.where(np.random.default_rng(0).random(x.shape) < 0.1, np.nan, x)
    quantity = boosted_trees(part(with_gaps[:200], x[:200, 0], with_gaps[200:], "regression"))[:, 0]
    assert np.corrcoef(quantity, x[200:, 0])[0, 1] > 0.8


def test_trees_see_the_strongest_of_very_many_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "MOST_INPUTS", 30)
    monkeypatch.setattr(baselines, "SCREENED", 5)
    x, truth = signal(p=40)
    strength = [abs(np.corrcoef(x[:200, j], truth[:200])[0, 1]) for j in range(40)]
    kept = np.sort(np.argsort(strength)[-5:])
    drawn = int(generator(0, "boosted trees", "fold 1").integers(2**31))
    model = HistGradientBoostingClassifier(
        max_iter=100, max_leaf_nodes=4, min_samples_leaf=5, max_bins=64, early_stopping=False, random_state=drawn
    ).fit(x[:200, kept], truth[:200])
    found = boosted_trees(part(x[:200], truth[:200], x[200:]))
    assert np.allclose(found, model.predict_proba(x[200:, kept]))


def test_a_class_that_was_never_learnt_has_no_probability() -> None:
    x, truth = signal()
    given = part(x[:200], truth[:200] * 2, x[200:], "multiclass", n_classes=3)
    assert (boosted_trees(given)[:, 1] == 0).all()
    assert np.isnan(baselines._predicted(linear_model, part(x[:9], np.zeros(9, int), x[200:], n_classes=2))).all()


def test_pathway_means_are_of_the_members_of_every_node() -> None:
    x, _ = signal(p=8)
    members = np.zeros((2, 8), dtype=bool)
    members[0, :4], members[1, 4:] = True, True
    truth = (x[:, :4].sum(1) > 0).astype(int)
    raw = x * np.geomspace(0.01, 100, 8) + 5
    within = part(raw[:200], truth[:200], raw[200:], members=sparse.csr_array(members))
    assert roc_auc_score(truth[200:], pathway_means(within)[:, 1]) > 0.97
    across = part(raw[:200], truth[:200], raw[200:], members=sparse.csr_array(members[1:]))
    assert roc_auc_score(truth[200:], pathway_means(across)[:, 1]) < 0.65
    of_fit = baselines._parts(made(), cohort())[0][0].members.toarray()
    assert of_fit.shape == (8 + 2 + 1, len(wiring().inputs))
    assert {wiring().inputs[i] for i in np.flatnonzero(of_fit[3])} == set(gene_sets()["set 3"])


def test_an_input_nobody_to_learn_from_has_is_no_input_of_trees() -> None:
    x, truth = signal()
    gaps = x.copy()
    gaps[:200, 3] = np.nan
    found = boosted_trees(part(gaps[:200], truth[:200], gaps[200:]))
    without = np.delete(x, 3, axis=1)
    assert np.array_equal(found, boosted_trees(part(without[:200], truth[:200], without[200:])))


def test_covariates_and_missingness_alone() -> None:
    x, truth = signal()
    noise = np.random.default_rng(1).standard_normal((300, 3))
    columns = {"learn_covariates": x[:200, :1], "test_covariates": x[200:, :1]}
    assert (
        roc_auc_score(truth[200:], covariates_only(part(noise[:200], truth[:200], noise[200:], **columns))[:, 1]) > 0.9
    )
    gaps = noise.copy()
    gaps[:, 1] = np.where(truth == 1, np.nan, gaps[:, 1])
    given = part(gaps[:200], truth[:200], gaps[200:])
    assert roc_auc_score(truth[200:], missingness_only(given)[:, 1]) == 1
    inputs = np.concatenate([noise, x[:, :1]], axis=1)
    with_both = part(noise[:200], truth[:200], noise[200:], **columns)
    assert np.allclose(linear_model(with_both), linear_model(part(inputs[:200], truth[:200], inputs[200:])))


def test_covariates_and_missing_values_bring_their_baselines() -> None:
    values = cohort().values.copy()
    values[0, ::7] = np.nan
    sex = pd.DataFrame({"sex": ["f", "m"] * 60}, index=list(cohort().ids))
    samples = Samples(values, cohort().features, cohort().ids, cohort().targets, sex, cohort().groups)
    settings = SHORT.model_copy(update={"impute": "mean"})
    one = fit(wiring(), samples, target="quantity", splits=folds()[:1], training=settings)
    names = (
        "covariates only",
        "missingness only",
        "ridge regression",
        "pathway means",
        "boosted trees",
        "dense network",
    )
    assert applicable(one.target.task, samples, one.topology.inputs) == names
    found = baselines.baselines(one, samples, names[:5])
    assert found["value"].notna().sum() >= 5 * 2
    assert set(found["metric"]) == set(METRICS["regression"])
    with pytest.raises(ValueError, match="'covariates only'; known are 'logistic regression'"):
        baselines.baselines(made(), cohort(), ["covariates only"])


def test_the_dense_network_is_as_large_and_trained_alike() -> None:
    dense, size = dense_networks(made(), cohort())
    counts = [sum(p.numel() for p in f.networks.parameters()) // 6 for f in (made(), dense)]
    per_node = len(wiring().inputs) + 3
    assert abs(counts[0] - counts[1]) <= per_node / 2
    n_hidden = len(dense.topology.levels[1])
    assert size == f"{n_hidden} hidden nodes, {counts[1]} parameters; the visible network has {counts[0]}"
    assert dense.topology.n_edges == n_hidden * len(wiring().inputs)
    assert dense.replicates["id"].tolist() == made().replicates["id"].tolist()
    assert (dense.splits, dense.training) == (made().splits, made().training)
    assert dense.networks.recipe == made().networks.recipe


def test_dense_networks_that_all_diverged_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    dense, size = dense_networks(made(), cohort())
    gone = replace(dense, replicates=dense.replicates.assign(state="diverged"))
    monkeypatch.setattr(baselines, "dense_networks", lambda *_: (gone, size))
    found = baselines.baselines(made(), cohort(), ["dense network"])
    assert not len(found)
    assert found.attrs["notes"]["dense network"].endswith("; all of them diverged")


def test_a_visible_network_smaller_than_one_dense_node_is_told() -> None:
    tiny = fit(complete_wiring(wiring().inputs, 1), cohort(), target="phenotype", splits=folds()[:1], training=SHORT,
               recipe=Recipe(normalisation="none", units={"hidden 000000": 1}))  # fmt: skip
    _, size = dense_networks(tiny, cohort())
    assert "1 hidden nodes" in size
    assert "fewer" not in size
    smaller = fit(tiny.topology, cohort(), target="phenotype", splits=folds()[:1], training=SHORT, recipe=Recipe())
    shrunk = Fit(**(vars(smaller) | {"networks": tiny.networks}))
    shrunk.networks.recipe = Recipe()
    assert dense_networks(shrunk, cohort())[1].endswith("fewer than one fully connected node needs")


def test_the_linear_network_is_the_same_wiring_and_a_line() -> None:
    linear, size = linear_networks(made(), cohort())
    counts = [sum(p.numel() for p in f.networks.parameters()) for f in (made(), linear)]
    assert counts[0] == counts[1]
    assert size == f"{counts[0] // 6:,} parameters, those of the visible network"
    assert linear.topology is made().topology
    assert (linear.splits, linear.training) == (made().splits, made().training)
    assert linear.replicates["id"].tolist() == made().replicates["id"].tolist()
    x = torch.from_numpy(cohort().select(wiring().inputs).values[:, :2].T.copy())
    three = torch.stack([x[0], x[1], 3 * x[0] - 2 * x[1]])
    for fitted, straight in ((linear, True), (made(), False)):
        with torch.no_grad():
            one, two, along = fitted.networks(three).double()
        assert torch.allclose(along, 3 * one - 2 * two, atol=1e-3) == straight
    again, told = linear_networks(linear, cohort())
    assert told.endswith("which is linear itself")
    assert all(torch.equal(v, linear.networks.state_dict()[k]) for k, v in again.networks.state_dict().items())


def test_the_linear_network_takes_part_where_it_is_asked_for() -> None:
    assert "linear network" not in applicable(made().target.task, cohort(), made().topology.inputs)
    found = baselines.baselines(made(), cohort(), ["linear network", "pathway means"])
    assert list(dict.fromkeys(found["model"])) == ["linear network", "pathway means"]
    assert list(found.attrs["notes"]) == ["linear network"]
    with pytest.raises(ValueError, match="Did you mean 'linear network'"):
        baselines.baselines(made(), cohort(), ["linear networks"])

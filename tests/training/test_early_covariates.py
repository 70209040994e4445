"""Covariates that enter the nodes of the first level: the same from numbers, from panels and in plain PyTorch."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from tests.training.test_packed_columns import same
from tests.training.test_packed_fits import settings, study
from vnn._errors import AlignmentError
from vnn.data import Samples, hold_out, k_fold
from vnn.data.genotypes import Cohort, fit_coding, write_store
from vnn.kernels import backend
from vnn.models import Recipe, VisibleNetwork
from vnn.ontology import Topology
from vnn.training import Fit, Training, fit

EARLY = Recipe(dropout=0, input_dropout=0, covariates="early")


def cohort(seed: int):
    """A genotype study with two covariates, one of them with names."""
    held, topology = study(np.random.default_rng(seed), covariates=True)
    sex = np.where(np.random.default_rng(seed + 100).random(held.n_people) < 0.5, "female", "male")
    held = held.joined(covariates=held.covariates.assign(sex=sex))
    return held, topology, fit_coding(held, "additive", missing="nan")


@pytest.mark.parametrize("start", ["random", "associations"])
@pytest.mark.parametrize(
    ("target", "event"), [("case", None), ("liability", None), ("time", "event")], ids=["class", "quantity", "survival"]
)
def test_panels_learn_what_numbers_teach(start, target, event):
    held, topology, code = cohort(0)
    splits = k_fold(held.ids, k=3, validation=0.2, seed=1)
    how = {"target": target, "event": event, "splits": splits, "n_seeds": 2, "recipe": EARLY, "seed": 3}
    how["training"] = settings(l1_weights=1e-3).model_copy(update={"start": start})
    numbers, people = code.apply(held), Cohort.in_memory(held, code)
    plain, packed = fit(topology, numbers, **how), fit(topology, people, **how)
    same(plain, packed, 1e-9 if start == "random" else 1e-4)
    early = plain.networks.early_linear.weights[0]
    assert early.shape == (12, 6)
    assert start == "associations" or (early.abs() > 1e-4).any(0).all()
    np.testing.assert_allclose(packed.predict(people).logits, packed.predict(numbers).logits, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("normalisation", ["batch", "none"])
def test_modules_and_programs_learn_the_same(normalisation):
    held, topology, code = cohort(1)
    how = {"target": "case", "splits": k_fold(held.ids, k=2, validation=0.2, seed=1), "seed": 3}
    how["recipe"] = Recipe(dropout=0.2, input_dropout=0, covariates="early", normalisation=normalisation, units=2)
    how["training"] = settings().model_copy(update={"batch_size": 128})
    for samples in (Cohort.in_memory(held, code), code.apply(held)):
        fast = fit(topology, samples, **how)
        with backend("reference"):
            plain = fit(topology, samples, **how)
        same(plain, fast, 1e-8)


def test_they_predict_as_dense_layers_do_and_are_read_with_their_covariates(tmp_path):
    held, topology, code = cohort(2)
    splits = k_fold(held.ids, k=2, validation=0.2, seed=1)
    store = write_store(held, tmp_path / "store", parts=[split.test for split in splits], seed=1)
    people, numbers = Cohort.of(held, code, store), code.apply(held)
    training = settings().model_copy(update={"batch_size": 64})
    made = fit(topology, people, target="case", splits=splits, n_seeds=2, recipe=EARLY, training=training, seed=1)
    made.save(tmp_path / "fit")
    loaded = Fit.load(tmp_path / "fit", topology)
    some = people.select(ids=[held.ids[i] for i in (3, 77, 150, 4, 199)])
    np.testing.assert_array_equal(loaded.predict(some).logits, made.predict(some).logits)
    values, covariates, networks = made.columns(numbers.select(ids=some.ids))
    for r in range(networks.n_replicates):
        dense = networks.dense(r).eval()
        np.testing.assert_allclose(
            dense(values.T.double(), covariates).detach().numpy(), made.predict(some).logits[:, r], rtol=1e-9, atol=1e-9
        )
    read = made.read(some)["genes"]
    np.testing.assert_allclose(read, made.read(numbers.select(ids=some.ids))["genes"], rtol=1e-5, atol=1e-6)
    older = held.joined(covariates=held.covariates.assign(age=held.covariates["age"] + 1))
    moved = made.read(code.apply(older).select(ids=some.ids))["genes"] - read
    assert (np.abs(moved) > 1e-3).mean() > 0.5
    with pytest.raises(AlignmentError, match=r"nodes of 'genes' read 2 columns of covariates, and none were given"):
        networks.activities(values.T)


def test_they_begin_as_networks_whose_covariates_enter_late():
    _, topology, _ = cohort(3)
    x, covariates = (
        torch.from_numpy(np.random.default_rng(3).normal(size=(7, len(topology.inputs) + 2)))
        .float()
        .split([len(topology.inputs), 2], dim=1)
    )
    late, early = (
        VisibleNetwork(topology, Recipe(covariates=where), replicates=("a", "b"), n_covariates=2).eval()
        for where in ("late", "early")
    )
    assert torch.equal(late(x, covariates), early(x, covariates))
    assert set(early.arrays()) - set(late.arrays()) == {"genes/weight from covariates"}
    assert torch.equal(late(x, covariates)[:, :1], early.replicates(["a"])(x, covariates))


def interacting(n: int):
    """A gene whose effect has the sign of a covariate, so that neither says anything alone."""
    rng = np.random.default_rng(5)
    x, sex = rng.normal(size=(4, n)), rng.choice([-1.0, 1.0], n)
    case = np.where(x[:2].mean(0) * sex + 0.3 * rng.normal(size=n) > 0, "case", "control")
    ids = [f"s{i}" for i in range(n)]
    samples = Samples(
        x.astype(np.float32), ("a", "b", "c", "d"), tuple(ids), pd.DataFrame({"case": case}, index=ids),
        pd.DataFrame({"sex": sex}, index=ids), pd.DataFrame(index=ids),
    )  # fmt: skip
    edges = pd.DataFrame(
        [("inputs", name, "genes", gene) for name, gene in zip("abcd", "ggkk", strict=True)],
        columns=["source_level", "source", "target_level", "target"],
    )
    return samples, Topology.from_edges({"inputs": list("abcd"), "genes": ["g", "k"]}, edges)


def test_they_learn_what_depends_on_a_covariate_and_late_ones_cannot():
    samples, topology = interacting(600)
    split = hold_out(samples.ids, test=0.3, seed=1)
    training = Training(epochs=150, batch_size=64, start="random", lr=0.03, weight_decay=0)
    right = {}
    for where in ("late", "early"):
        recipe = Recipe(dropout=0, input_dropout=0, units=4, covariates=where)
        made = fit(topology, samples, target="case", splits=[split], recipe=recipe, training=training, seed=1)
        test = samples.select(ids=split.test)
        says = np.array(made.target.classes)[made.predict(test).values[:, 0].argmax(1)]
        right[where] = (says == test.targets["case"].to_numpy()).mean()
    assert right["early"] > 0.8
    assert right["late"] < 0.65


def test_late_covariates_are_not_said_so_that_older_studies_keep_their_identity() -> None:
    assert "covariates" not in Recipe().model_dump(mode="json")
    early = Recipe(covariates="early")
    assert Recipe(**early.model_dump(mode="json")) == early
    assert Recipe(**Recipe().model_dump(mode="json")).covariates == "late"

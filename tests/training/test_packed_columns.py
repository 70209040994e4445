"""Networks that learn from several columns of a variant in panels: the same as from their values written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.training.test_packed_fits import N_VARIANTS, RECIPE, settings, study
from vnn._errors import GenotypeError
from vnn.data import k_fold
from vnn.data.genotypes import Cohort, GeneMap, fit_coding, open_store, write_store
from vnn.training import Fit, fit
from vnn.training.loop import Trainer

CODINGS = [
    ("genotype", "nan"),
    ("genotype", "own"),
    ("additive", "own"),
    ("standardised", "mode"),
    ("genotype", "mean"),
]


def columns(seed, coding, missing, **how):
    """A study with a coding of its training people, and the genes of its columns."""
    held, _ = study(np.random.default_rng(seed), gaps=0.02, **how)
    learners = np.arange(held.n_people) % 5 > 0
    code = fit_coding(held, coding, missing=missing, learners=learners)
    genes = GeneMap.of(held, {f"v{i}": [f"g{i // 4}"] for i in range(N_VARIANTS)})
    return held, code, genes.columns(held, code).topology().in_order(code.names)


def same(one, other, tolerance):
    for name, values in one.networks.state_dict().items():
        torch.testing.assert_close(other.networks.state_dict()[name], values, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("coding", "missing"), CODINGS)
@pytest.mark.parametrize("start", ["random", "associations"])
def test_several_columns_learn_what_numbers_teach(start, coding, missing):
    held, code, topology = columns(0, coding, missing)
    assert (code.repeats.max() > 1) == (coding == "genotype" or missing == "own")
    splits = k_fold(held.ids, k=3, validation=0.2, seed=1)
    how = {"target": "case", "splits": splits, "n_seeds": 2, "recipe": RECIPE, "seed": 3}
    how["training"] = settings().model_copy(update={"start": start})
    plain = fit(topology, code.apply(held), **how)
    packed = fit(topology, Cohort.in_memory(held, code), **how)
    same(plain, packed, 1e-9 if start == "random" else 1e-4)


@pytest.mark.parametrize("scaling", ["standard", "minmax", "none"])
@pytest.mark.parametrize("impute", ["mean", "median", "zero"])
def test_scalings_of_columns_are_those_of_their_numbers(scaling, impute):
    held, code, topology = columns(1, "genotype", "nan")
    how = {"target": "case", "splits": k_fold(held.ids, k=2, seed=1), "recipe": RECIPE, "seed": 3}
    how["training"] = settings(scaling=scaling).model_copy(update={"impute": impute, "epochs": 1})
    plain, packed = fit(topology, code.apply(held), **how), fit(topology, Cohort.in_memory(held, code), **how)
    for name in ("scale", "shift", "fill"):
        torch.testing.assert_close(
            getattr(packed.networks.scaling, name), getattr(plain.networks.scaling, name), rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize("batches", ["panels", "people"])
@pytest.mark.parametrize(("target", "event"), [("case", None), ("liability", None), ("time", "event")])
def test_columns_of_a_store_predict_and_read_as_their_numbers_do(tmp_path, target, event, batches):
    held, code, topology = columns(2, "genotype", "own", covariates=True)
    splits = k_fold(held.ids, k=2, validation=0.2, seed=1)
    parts = [split.test for split in splits]
    store = write_store(held, tmp_path / "store", parts=parts, repeats=code.repeats, seed=1)
    cohort = Cohort.of(held, code, store, batches=batches)
    assert cohort.features == code.names
    training = settings().model_copy(update={"batch_size": 64})
    how = {"target": target, "event": event, "splits": splits, "n_seeds": 2, "recipe": RECIPE, "training": training}
    made = fit(topology, cohort, **how)
    made.save(tmp_path / "fit")
    loaded = Fit.load(tmp_path / "fit", topology)
    for ids in (held.ids, [held.ids[i] for i in (3, 77, 150, 4, 199)]):
        packed, numbers = cohort.select(ids=ids), code.apply(held.select(ids=ids))
        np.testing.assert_allclose(made.predict(packed).logits, made.predict(numbers).logits, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(made.read(packed)["genes"], made.read(numbers)["genes"], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(loaded.predict(packed).logits, made.predict(packed).logits)


def test_traits_of_different_people_learn_from_one_store(tmp_path):
    held, code, topology = columns(5, "genotype", "own")
    cohort = Cohort.of(held, code, write_store(held, tmp_path / "store", repeats=code.repeats, seed=1))
    labelled = {"case": held.ids[:150], "liability": held.ids[40:]}
    for target, ids in labelled.items():
        how = {"target": target, "splits": k_fold(ids, k=3, validation=0.2, seed=1), "recipe": RECIPE, "seed": 3}
        how["training"] = settings()
        plain = fit(topology, code.apply(held.select(ids=ids)), **how)
        packed = fit(topology, cohort.select(ids=ids), **how)
        same(plain, packed, 1e-9)


def test_killed_in_the_middle_and_resumed_columns_have_the_same_bits(tmp_path, monkeypatch):
    held, code, topology = columns(3, "genotype", "nan")
    cohort = Cohort.of(held, code, write_store(held, tmp_path / "store", repeats=code.repeats, seed=1))
    how = {"target": "case", "splits": k_fold(held.ids, k=3, validation=0.2, seed=1), "seed": 3, "recipe": RECIPE}
    how["training"] = settings(patience=50).model_copy(update={"batch_size": 64, "epochs": 9})
    whole = fit(topology, cohort, **how)
    monkeypatch.setattr("vnn.training.loop.CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr("vnn.training.loop.CHECKPOINT_SHARE", 1e9)
    steps, step = iter(range(8)), Trainer._step

    def dying(self, batch):
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return step(self, batch)

    monkeypatch.setattr(Trainer, "_step", dying)
    with pytest.raises(KeyboardInterrupt):
        fit(topology, cohort, checkpoint=tmp_path / "half", **how)
    monkeypatch.setattr(Trainer, "_step", step)
    cohort = Cohort.of(held, code, open_store(tmp_path / "store", held))
    again = fit(topology, cohort, checkpoint=tmp_path / "half", **how)
    for name, values in whole.networks.state_dict().items():
        assert torch.equal(values, again.networks.state_dict()[name]), name


def test_a_store_for_other_columns_is_refused(tmp_path):
    held, code, _ = columns(4, "genotype", "nan")
    once = write_store(held, tmp_path / "once", seed=1)
    twice = write_store(held, tmp_path / "twice", repeats=code.repeats, seed=1)
    additive = fit_coding(held)
    assert Cohort.of(held, additive, once).features == additive.names
    with pytest.raises(GenotypeError, match=r"48 columns of 24 variants.*once holds 24 rows.*repeats=coding\.repeats"):
        Cohort.of(held, code, once)
    with pytest.raises(GenotypeError, match=r"24 columns of 24 variants.*twice holds 48 rows"):
        Cohort.of(held, additive, twice)

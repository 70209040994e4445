"""Traits side by side: the networks each would have alone, from numbers and from panels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from tests.training.test_packed_fits import RECIPE, settings, study
from vnn.data import k_fold
from vnn.data.genotypes import Cohort, fit_coding, write_store
from vnn.models import Recipe
from vnn.training import fit
from vnn.training.loop import Trainer
from vnn.training.traits import fit_traits

HOW = {"n_seeds": 2, "recipe": Recipe(dropout=0.2, input_dropout=0), "seed": 3}
TRAITS = ("case", "liability", "height", "tall", "time")


def people(seed: int, *, lacking: bool = False):
    """A study with five traits, all known of everybody, or each lacking in some."""
    rng = np.random.default_rng(seed)
    held, topology = study(rng, covariates=True)
    height = held.dosages()[4:6]
    height = np.where(np.isnan(height), 1, height).sum(0) + rng.normal(size=held.n_people)
    table = held.targets.assign(height=height, tall=np.where(height > np.median(height), "yes", "no"))
    if lacking:
        for at, name in enumerate(TRAITS):
            table.loc[rng.permutation(held.n_people) < 10 * (at + 1), name] = np.nan
    return held.joined(targets=table), topology, fit_coding(held, "additive", missing="nan")


def bits(one, other):
    assert list(one.networks.replicate_names) == list(other.networks.replicate_names)
    for name, values in one.networks.state_dict().items():
        assert torch.equal(values, other.networks.state_dict()[name]), name


@pytest.mark.parametrize(
    ("packed", "at_once"), [(False, None), (True, None), (True, 4)], ids=["numbers", "panels", "panels in chunks"]
)
def test_a_trait_of_everybody_has_the_networks_it_has_alone(tmp_path, packed, at_once):
    held, topology, code = people(0)
    samples = Cohort.of(held, code, write_store(held, tmp_path, seed=1)) if packed else code.apply(held)
    training = settings(patience=2).model_copy(update={"batch_size": 64, "epochs": 5})
    how = HOW | {"splits": k_fold(held.ids, k=3, validation=0.2, seed=1), "training": training}
    found = fit_traits(topology, samples, targets=TRAITS, events={"time": "event"}, at_once=at_once, **how)
    assert tuple(found) == TRAITS
    for name, made in found.items():
        alone = fit(topology, samples, target=name, event="event" if name == "time" else None, **how)
        bits(alone, made)
        pd.testing.assert_frame_equal(alone.replicates, made.replicates)
        pd.testing.assert_frame_equal(alone.history, made.history)
        assert alone.temperatures == made.temperatures
        assert alone.target.task == made.target.task
        np.testing.assert_array_equal(alone.predict(samples).values, made.predict(samples).values)
        for level, reading in alone.readings.items():
            np.testing.assert_array_equal(reading.loading, made.readings[level].loading)


@pytest.mark.parametrize("start", ["random", "associations"])
def test_who_lacks_a_trait_takes_no_part_in_it(start):
    held, topology, code = people(1, lacking=True)
    samples, cohort = code.apply(held), Cohort.in_memory(held, code)
    splits = k_fold(held.ids, k=3, validation=0.2, seed=1)
    how = HOW | {"splits": splits, "recipe": RECIPE, "training": settings().model_copy(update={"start": start})}
    options = {"targets": TRAITS, "events": {"time": "event"}, "classes": {"case": ("control", "case")}}
    numbers, panels = (fit_traits(topology, one, **options, **how) for one in (samples, cohort))
    for at, name in enumerate(TRAITS):
        known = list(held.targets.index[held.targets[name].notna()])
        assert len(known) == held.n_people - 10 * (at + 1)
        own = [
            type(s)(s.name, *([i for i in part if i in set(known)] for part in (s.train, s.validation, s.test)))
            for s in splits
        ]
        extra = {"event": "event"} if name == "time" else {}
        extra |= {"classes": ("control", "case")} if name == "case" else {}
        alone = fit(topology, samples.select(ids=known), target=name, **extra, **(how | {"splits": own}))
        line = f"{name}: {10 * (at + 1)} of 200 samples have no value and take no part in it"
        assert numbers[name].about["log"][-1] == panels[name].about["log"][-1] == line
        assert numbers[name].ids == alone.ids == panels[name].ids
        tolerance = 1e-9 if start == "random" else 1e-4
        for one, close in ((numbers[name], 1e-9), (panels[name], tolerance)):
            for key, values in alone.networks.state_dict().items():
                torch.testing.assert_close(one.networks.state_dict()[key], values, rtol=close, atol=close)


def test_killed_traits_are_resumed_to_the_same_bits(tmp_path, monkeypatch):
    held, topology, code = people(2)
    cohort = Cohort.in_memory(held, code)
    training = settings(patience=50).model_copy(update={"batch_size": 64, "epochs": 9})
    how = HOW | {"splits": k_fold(held.ids, k=2, validation=0.2, seed=1), "training": training}
    how["targets"] = ("case", "tall")
    whole = fit_traits(topology, cohort, **how)
    monkeypatch.setattr("vnn.training.loop.CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr("vnn.training.loop.CHECKPOINT_SHARE", 1e9)
    steps, step = iter(range(8)), Trainer._step

    def dying(self, batch):
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return step(self, batch)

    monkeypatch.setattr(Trainer, "_step", dying)
    with pytest.raises(KeyboardInterrupt):
        fit_traits(topology, cohort, checkpoint=tmp_path / "half", **how)
    monkeypatch.setattr(Trainer, "_step", step)
    again = fit_traits(topology, cohort, checkpoint=tmp_path / "half", **how)
    for name in whole:
        bits(whole[name], again[name])


def test_what_is_not_a_trait_is_said():
    held, topology, code = people(3)
    how = HOW | {"splits": k_fold(held.ids, k=2, seed=1), "training": settings()}
    with pytest.raises(ValueError, match=r"`targets` are 'case', 'case'; name at least one, and each once"):
        fit_traits(topology, code.apply(held), targets=["case", "case"], **how)
    with pytest.raises(ValueError, match=r"a target is 'weight'; known are .*'height'"):
        fit_traits(topology, code.apply(held), targets=["weight"], **how)
    with pytest.raises(ValueError, match=r"a target is 'tall'; known are 'case'"):
        fit_traits(topology, code.apply(held), targets=["case"], tasks={"tall": "binary"}, **how)

"""Settings of single replicates: the bits of a study that says the same for all, and resamples against copied people."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.planted import cohort, folds, wiring
from tests.training.test_fitting import DROPPING, SHORT, Killed, assert_same_bits, changed, state, survivors, trained
from vnn._errors import FitError
from vnn.data import Split
from vnn.models import Recipe, VisibleNetwork
from vnn.training import Fit, Training, loop
from vnn.training.design import drawn, having, replicates_of, resample
from vnn.training.loop import Progress
from vnn.training.settings import Setting

NAMES = [f"{split.name}, seed 0" for split in folds()]
OWN = {
    NAMES[0]: Setting(lr=3e-3, weight_decay=0.5),
    NAMES[1]: Setting(dropout=0.4, input_dropout=0.1, bootstrap=True),
    NAMES[2]: Setting(lr=2e-2, dropout=0.0),
}
numbers = st.builds(
    Setting,
    lr=st.floats(1e-4, 3e-2),
    weight_decay=st.floats(0, 5),
    dropout=st.floats(0, 0.6),
    input_dropout=st.floats(0.05, 0.8),
)


def assert_same_replicate(one: Fit, other: Fit, name: str) -> None:
    for key, values in state(one, name).items():
        assert torch.equal(values, state(other, name)[key]), (name, key)
    losses = [made.history[made.history["replicate"] == name].reset_index(drop=True) for made in (one, other)]
    pd.testing.assert_frame_equal(*losses)


@settings(max_examples=6, deadline=None)
@given(own=st.tuples(numbers, numbers, numbers))
def test_a_replicate_among_others_has_the_bits_of_a_study_that_says_the_same_for_all(own: tuple[Setting, ...]) -> None:
    short = SHORT.model_copy(update={"epochs": 3})
    together = trained(recipe=DROPPING, training=short, settings=dict(zip(NAMES, own, strict=True)))
    for name, setting in zip(NAMES, own, strict=True):
        said = short.model_copy(update={"lr": setting.lr, "weight_decay": setting.weight_decay})
        rates = {"dropout": setting.dropout, "input_dropout": setting.input_dropout}
        assert_same_replicate(
            together, trained(recipe=DROPPING.model_copy(update=rates), training=said), name
        )  # fmt: skip


def test_settings_that_differ_give_networks_that_differ() -> None:
    plain = trained(recipe=DROPPING)
    for part in ({"lr": 2e-2}, {"weight_decay": 3.0}, {"dropout": 0.4}, {"input_dropout": 0.1}, {"bootstrap": True}):
        made = trained(recipe=DROPPING, settings={NAMES[1]: Setting(**part)})
        assert not torch.equal(
            state(made, NAMES[1])["linears.0.weights.0"], state(plain, NAMES[1])["linears.0.weights.0"]
        )
        for name in (NAMES[0], NAMES[2]):
            assert_same_replicate(made, plain, name)


@pytest.mark.parametrize("kind", ["real", "rewired"])
@pytest.mark.parametrize("recipe", [DROPPING, Recipe(dropout=0.0, input_dropout=0.0, normalisation="none")])
def test_alone_in_chunks_and_among_others_the_bits_are_the_same(kind: str, recipe: Recipe) -> None:
    how = {"recipe": recipe, "settings": OWN, "kind": kind, "draws": () if kind == "real" else (1, 2)}
    together = trained(**how)
    names = together.replicates["id"].tolist()
    for chunk in (names[:1], names[1:2], names[1:]):
        part = trained(**how, only=chunk)
        for name in chunk:
            assert_same_replicate(part, together, name)


def test_one_setting_for_all_and_a_split_by_name() -> None:
    setting = Setting(lr=2e-2)
    everyone, each = trained(settings=setting), trained(settings=dict.fromkeys(NAMES, setting))
    assert_same_bits(everyone, each)
    by_split = trained(settings={folds()[1].name: setting, NAMES[2]: Setting(lr=0.1)}, n_seeds=2)
    assert by_split.replicates["lr"].tolist() == [0.01, 0.01, 2e-2, 2e-2, 0.1, 0.01]


def test_killed_and_resumed_replicates_of_their_own_have_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    file = tmp_path / "c"

    def kill(progress: Progress) -> None:
        if progress.epoch == 7:
            raise Killed

    with pytest.raises(Killed):
        trained(recipe=DROPPING, settings=OWN, checkpoint=file, listener=kill)
    with pytest.raises(FitError, match="another study"):
        trained(recipe=DROPPING, settings=OWN | {NAMES[0]: Setting(lr=4e-3)}, checkpoint=file)
    assert_same_bits(trained(recipe=DROPPING, settings=OWN, checkpoint=file), trained(recipe=DROPPING, settings=OWN))


def copied(counts: dict[str, int], split: Split) -> tuple[object, Split]:
    """The cohort with people of the training part as often as they count, copies under names of their own."""
    names = [i for i in cohort().ids if counts.get(i, 1)]
    more = [(i, f"{i} again {k}") for i, n in counts.items() for k in range(1, n)]
    at = cohort().index([*names, *(i for i, _ in more)])
    ids = (*names, *(name for _, name in more))
    targets = cohort().targets.iloc[at].set_axis(list(ids))
    samples = changed(
        cohort(), values=cohort().values[:, at], ids=ids, targets=targets, covariates=pd.DataFrame(index=list(ids)),
        groups=pd.DataFrame(index=list(ids)),
    )  # fmt: skip
    train = sorted({*(i for i in split.train if counts[i]), *(name for _, name in more)})
    return samples, replace(split, train=tuple(train))


@pytest.mark.parametrize("target", ["phenotype", "thirds"])
def test_a_resample_learns_what_copied_people_teach(target: str) -> None:
    split = folds()[0]
    codes = np.unique(cohort().targets[target].loc[list(split.train)], return_inverse=True)[1]
    drawn_ = resample(codes, seed=7, partner=NAMES[0]).astype(int)
    assert drawn_.max() > 1
    assert drawn_.min() == 0
    assert [drawn_[codes == k].sum() for k in range(codes.max() + 1)] == np.bincount(codes).tolist()
    settings_ = Training(epochs=15, batch_size=500, scaling="none", dtype="float64", lr=1e-2)
    for normalisation in ("none", "batch"):
        recipe = Recipe(dropout=0.0, input_dropout=0.0, normalisation=normalisation)
        how = {"target": target, "recipe": recipe, "training": settings_}
        resampled = trained(splits=(split,), settings=Setting(bootstrap=True), **how)
        samples, other = copied(dict(zip(split.train, drawn_.tolist(), strict=True)), split)
        people, plain = trained(splits=(other,), samples=samples, **how), trained(splits=(split,), **how)
        losses = [made.history["train"].to_numpy()[:10] for made in (resampled, people, plain)]
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-7)
        assert not np.allclose(losses[0], losses[2], rtol=1e-3)
        if normalisation == "batch":
            continue  # its running variance is that of weights, not of copies
        for key, values in state(resampled).items():
            if "scaling" not in key:
                torch.testing.assert_close(values, state(people)[key], rtol=1e-7, atol=1e-7, msg=key)


@pytest.mark.parametrize(("target", "event"), [("quantity", None), ("days", "died")])
def test_other_tasks_resample_too(target: str, event: str | None) -> None:
    samples = survivors() if event else cohort()
    made = trained(samples=samples, target=target, event=event, settings=Setting(bootstrap=True))
    assert "diverged" not in made.replicates["state"].tolist()
    assert made.replicates["bootstrap"].all()


def test_every_replicate_has_its_resample_and_a_null_that_of_its_partner() -> None:
    strata = np.repeat([0, 1], [30, 10])
    one, again, other = (resample(strata, seed=1, partner=name) for name in ("a", "a", "b"))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    partners = having(replicates_of(folds(), 1), {NAMES[1]: Setting(bootstrap=True)})
    assert [r.setting.bootstrap for r in drawn(partners, "labels", (0, 1))] == [False, True, False] * 2


def test_a_saved_fit_knows_the_settings(tmp_path: Path) -> None:
    made = trained(recipe=DROPPING, settings=OWN)
    made.save(tmp_path / "fit")
    loaded = Fit.load(tmp_path / "fit", wiring())
    pd.testing.assert_frame_equal(loaded.replicates, made.replicates)
    assert made.replicates["dropout"].tolist() == [0.2, 0.4, 0.0]
    assert loaded.study == made.study
    assert torch.equal(loaded.networks.input_dropout.scale, made.networks.input_dropout.scale)
    with pytest.raises(FitError, match="another study"):
        trained(recipe=DROPPING, settings=Setting(lr=5e-3)).save(tmp_path / "fit")
    assert "lr" not in trained().replicates


def test_rates_of_replicates_are_those_of_networks_of_their_own() -> None:
    rates = [0.1, 0.6]
    both = VisibleNetwork(wiring(), DROPPING, replicates=["a", "b"], dropout=rates, input_dropout=rates[::-1])
    for i, rate in enumerate(rates):
        one = VisibleNetwork(wiring(), Recipe(dropout=rate, input_dropout=rates[1 - i]), replicates=["a"])
        for mine, own in zip((*both.dropouts, both.input_dropout), (*one.dropouts, one.input_dropout), strict=True):
            assert torch.equal(mine.scale[:, i], own.scale)
            assert torch.equal(mine.threshold[:, i], own.threshold)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`settings` names 'fold 9'; it needs ids of replicates or names of splits"):
        trained(settings={"fold 9": Setting()})
    with pytest.raises(ValueError, match="`dropout` has 1 rates for 2 replicates"):
        VisibleNetwork(wiring(), replicates=["a", "b"], dropout=[0.1])
    with pytest.raises(ValueError, match="must be >= 0 and < 1"):
        VisibleNetwork(wiring(), replicates=["a", "b"], input_dropout=[0.1, 1.0])
    for wrong in ({"lr": 0.0}, {"weight_decay": -1.0}, {"dropout": 1.0}, {"rate": 0.1}):
        with pytest.raises(ValidationError):
            Setting(**wrong)


def test_penalties_that_are_not_asked_for_leave_the_identity_of_studies_as_it_was():
    assert "l1_weights" not in Training().model_dump_json()
    stated = Training(l1_weights=0.1)
    assert stated.model_dump()["l1_weights"] == 0.1
    assert Training(**stated.model_dump()) == stated
    assert Training(**Training().model_dump()) == Training()

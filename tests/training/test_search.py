"""Search: halving against a halving by hand over whole trainings, and who may decide."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.planted import cohort, folds, wiring
from tests.training.test_fitting import DROPPING, Killed, changed, survivors, trained
from vnn._errors import FitError
from vnn.data import Samples, Split, hold_out
from vnn.training import Training, loop
from vnn.training.design import Replicate
from vnn.training.fitting import pose
from vnn.training.loop import Progress, Trainer
from vnn.training.search import Search, Space, drawn_settings, rungs, search
from vnn.training.settings import Setting

QUICK = Training(start="random", epochs=18, batch_size=32, patience=5, lr=1e-2)
SETTINGS = tuple(Setting(lr=lr, dropout=0.1) for lr in (3e-5, 1e-3, 3e-3, 1e-2, 2e-2, 0.3, 1.0))


def searched(**changes: Any) -> Search:
    arguments = {
        "target": "phenotype",
        "splits": folds(),
        "training": QUICK,
        "seed": 7,
        "settings": SETTINGS,
        "first": 2,
    }
    arguments |= {"recipes": DROPPING} | changes
    return search(arguments.pop("topology", wiring()), arguments.pop("samples", cohort()), **arguments)


def halved_by_hand(losses: dict[Any, np.ndarray], stages: list[tuple[int, int]]) -> tuple[dict[Any, int], Any]:
    """The last stage of each candidate, and the best, from the losses of trainings that were never cut short."""
    living, last = list(losses), dict.fromkeys(losses, 0)
    for number, (_, n) in enumerate(stages):
        if number:
            until = stages[number - 1][0]
            living = sorted(living, key=lambda c: losses[c][:until].min())[:n]
        for candidate in living:
            last[candidate] = number
    return last, min(living, key=lambda c: losses[c].min())


def test_it_is_the_halving_of_whole_trainings() -> None:
    found = searched()
    stages = [(6, 7), (18, 2)]
    assert [(rung.epochs, rung.n) for rung in rungs(7, 18, first=2)] == stages
    whole = [trained(recipe=DROPPING, training=QUICK, settings=setting) for setting in SETTINGS]
    for i, split in enumerate(folds()):
        losses = {}
        for k, made in enumerate(whole):
            own = made.history[made.history["replicate"] == made.replicates["id"][i]]
            losses[k] = own["validation"].to_numpy()
        last, best = halved_by_hand(losses, stages)
        rows = found.table[found.table["split"] == split.name].set_index("setting")
        assert rows["rung"].to_dict() == last
        assert found.chosen[split.name].number == best
        assert rows.index[rows["chosen"]].tolist() == [best]
        for k, row in rows.iterrows():
            known = losses[k][: stages[last[k]][0]]
            assert row["epochs"] == len(known)
            assert row["validation"] == known.min()
    assert set(found.table["state"]) >= {"dropped", "finished"}


def test_what_was_chosen_and_is_trained_anew_has_the_loss_it_was_chosen_for() -> None:
    found = searched(settings=None, n=9, n_seeds=2)
    made = trained(recipe=DROPPING, training=QUICK, n_seeds=2, settings=found.settings)
    best = made.history.groupby("replicate", sort=False)["validation"].min().to_numpy().reshape(3, 2).mean(1)
    assert best.tolist() == found.table.loc[found.table["chosen"], "validation"].tolist()
    assert found.loss == pytest.approx(best.mean())


def test_a_bad_learning_rate_loses_and_one_that_diverges_is_named() -> None:
    lrs = (1e-7, 1e-2, 1e30)
    found = searched(settings=[Setting(lr=lr) for lr in lrs], training=QUICK.model_copy(update={"patience": 18}))
    assert {candidate.setting.lr for candidate in found.chosen.values()} == {1e-2}
    wild = found.table[found.table["lr"] == 1e30]
    assert set(wild["state"]) == {"diverged"}
    assert wild["validation"].isna().all()
    with pytest.raises(FitError, match=r"all settings of split 'repeat 0 fold 0' diverged; lower the bounds of lr"):
        searched(settings=[Setting(lr=1e30), Setting(lr=2e30)])


def relabelled(ids: tuple[str, ...]) -> Samples:
    targets = cohort().targets.copy()
    swap = {"case": "control", "control": "case"}
    targets.loc[list(ids), "phenotype"] = [swap[label] for label in targets.loc[list(ids), "phenotype"]]
    return changed(cohort(), targets=targets)


def test_labels_of_held_out_people_decide_nothing() -> None:
    alone = hold_out(cohort().ids, seed=0, stratify=cohort().targets["phenotype"])
    before, after = (searched(splits=(alone,), samples=samples) for samples in (cohort(), relabelled(alone.test)))
    pd.testing.assert_frame_equal(before.table, after.table)
    stopping = searched(splits=(alone,), samples=relabelled(alone.validation))
    assert not before.table["validation"].equals(stopping.table["validation"])


def test_a_split_chooses_without_those_it_holds_out_though_others_are_judged_by_them() -> None:
    split = folds()[1]
    before, after = (searched(samples=samples) for samples in (cohort(), relabelled(split.test)))
    assert before.chosen[split.name] == after.chosen[split.name]
    mine, others = before.table["split"] == split.name, before.table["split"] != split.name
    pd.testing.assert_frame_equal(before.table[mine], after.table[mine])
    assert not before.table[others].equals(after.table[others])


def test_without_a_validation_part_it_is_refused() -> None:
    without = Split("all", tuple(sorted({*folds()[0].train, *folds()[0].validation})), (), folds()[0].test)
    with pytest.raises(ValueError, match=r"1 of 2 splits have no validation part: 'all'\. A search is judged by it"):
        searched(splits=(folds()[1], without))
    for nothing in ({"settings": ()}, {"recipes": ()}, {"splits": ()}):
        with pytest.raises(ValueError, match="at least one of each is needed"):
            searched(**nothing)
    with pytest.raises(ValueError, match="`n` is 0"):
        searched(settings=None, n=0)
    with pytest.raises(ValueError, match="eta must be at least 2"):
        searched(eta=1)


@pytest.mark.parametrize("dies_after", [4, 7, 13])
def test_killed_and_resumed_it_finds_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_after: int) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    recipes = (DROPPING, DROPPING.model_copy(update={"heads": "outputs"}))
    whole = searched(recipes=recipes, n_seeds=2)
    kills = 0
    while True:
        told: list[Progress] = []

        def kill(progress: Progress, told: list[Progress] = told) -> None:
            told.append(progress)
            if len(told) == dies_after:
                raise Killed

        try:
            found = searched(recipes=recipes, n_seeds=2, checkpoint=tmp_path / "search", listener=kill)
            break
        except Killed:
            kills += 1
            assert kills < 60
    assert kills >= 2
    pd.testing.assert_frame_equal(found.table, whole.table)
    assert found.chosen == whole.chosen


def test_split_by_split_and_all_at_once_are_the_same() -> None:
    whole, apart = searched(), searched(at_once=1)
    pd.testing.assert_frame_equal(whole.table, apart.table)
    assert whole.chosen == apart.chosen


def test_recipes_are_programs_of_their_own_and_compete() -> None:
    recipes = (
        DROPPING,
        DROPPING.model_copy(update={"units": 2}),
        DROPPING.model_copy(update={"activation": "softsign"}),
    )
    found = searched(recipes=recipes, settings=SETTINGS[2:5])
    assert len(found.table) == 3 * 9
    last = found.table.groupby(["split", "rung"]).size().unstack()
    assert (last[1] == 3).all()
    best = found.table[found.table["rung"] == 1].groupby("split")["validation"].min()
    chosen = found.table[found.table["chosen"]].set_index("split")["validation"]
    assert best.to_dict() == chosen.to_dict()
    columns = ["split", "setting", "lr", "validation", "epochs"]
    survivors_ = 0
    for i, recipe in enumerate(recipes):
        alone = searched(recipes=recipe, settings=SETTINGS[2:5])
        beside = found.table[found.table["recipe"] == i].reset_index(drop=True)
        far = beside["rung"] == 1
        survivors_ += far.any()
        pd.testing.assert_frame_equal(beside.loc[far, columns], alone.table.loc[far, columns])
    assert survivors_ > 1
    one = found.chosen[folds()[0].name]
    assert one.recipe == recipes[one.program].model_copy(
        update={"dropout": one.setting.dropout, "input_dropout": one.setting.input_dropout}
    )


@pytest.mark.parametrize(("target", "event"), [("quantity", None), ("thirds", None), ("days", "died")])
def test_every_task_is_searched(target: str, event: str | None) -> None:
    samples = survivors() if event else cohort()
    found = searched(samples=samples, target=target, event=event, settings=None, n=6)
    assert found.table.groupby("split")["chosen"].sum().tolist() == [1, 1, 1]
    assert np.isfinite(found.loss)


def test_the_common_choice_is_that_of_most_splits() -> None:
    found = searched()
    names = list(found.chosen)
    a, b = (replace(found.chosen[names[0]], number=k) for k in (3, 1))
    assert replace(found, chosen=dict(zip(names, (a, b, a), strict=True))).common.number == 3
    assert replace(found, chosen=dict(zip(names[:2], (a, b), strict=True))).common.number == 1
    assert found.settings == {name: found.chosen[name].setting for name in names}


# What is let go.


def trainer_of(n: int) -> tuple[Trainer, list[str]]:
    split = folds()[0]
    chunk = [
        Replicate(f"{k}", "real", "one", 0, split.name, None, Setting(lr=1e-3 * (k + 1), dropout=0.05 * k))
        for k in range(n)
    ]
    posed = pose(
        wiring(), cohort(), target="phenotype", event=None, splits=folds(), planned=chunk, chunk=chunk, recipe=DROPPING,
        training=QUICK, task=None, classes=None, seed=7,
    )  # fmt: skip
    return Trainer(posed.network, posed.problem, QUICK, seed=7, own=[r.setting for r in chunk]), [r.id for r in chunk]


@pytest.mark.parametrize("several_tiles", [False, True])
def test_those_let_go_are_in_no_tile_and_the_others_keep_their_bits(
    monkeypatch: pytest.MonkeyPatch, several_tiles: bool
) -> None:
    if several_tiles:
        monkeypatch.setattr(loop, "tile_size", lambda network, batch, n: 3)
    whole, names = trainer_of(10)
    cut, _ = trainer_of(10)
    cut.train(5)
    kept = [1, 4, 5, 8]
    cut.drop([i for i in range(10) if i not in kept])
    assert cut.living == kept
    assert [len(tile.positions) for tile in cut.tiles] == ([3, 1] if several_tiles else [4])
    assert sum(tile.network.n_replicates for tile in cut.tiles) == 4
    one, other = cut.run(), whole.run()
    for key, values in one.replicates([names[i] for i in kept]).state_dict().items():
        assert torch.equal(values, other.replicates([names[i] for i in kept]).state_dict()[key]), key
    for i in range(10):
        ran = [row["train"][i] for row in cut.record.history if np.isfinite(row["train"][i])]
        assert len(ran) == 5 or i in kept
        assert (cut.record.state[i] == "dropped") == (i not in kept)
    cut.drop([1])
    assert cut.record.state[1] in ("stopped", "finished")


# Settings and stages.


@given(n=st.integers(1, 40), more=st.integers(0, 20), seed=st.integers(0, 2**31))
def test_more_settings_leave_the_first_as_they_are(n: int, more: int, seed: int) -> None:
    space = Space(lr=(1e-4, 1e-1), dropout="fixed", input_dropout=(0.2, 0.2))
    few = drawn_settings(space, n, seed=seed)
    assert few == drawn_settings(space, n + more, seed=seed)[:n]
    assert few[0] == Setting()
    for setting in few[1:]:
        assert 1e-4 <= setting.lr <= 1e-1  # type: ignore[operator]
        assert 0.1 <= setting.weight_decay <= 10  # type: ignore[operator]
        assert setting.dropout is None
        assert setting.input_dropout == pytest.approx(0.2)
    assert len(set(few)) == n


def test_rates_are_even_over_logarithms_and_a_narrower_space_draws_the_rest_alike() -> None:
    found = drawn_settings(Space(), 801, seed=1)[1:]
    for values, (low, high) in (
        (np.log10([s.lr for s in found]), (np.log10(3e-4), np.log10(3e-2))),
        (np.array([s.dropout for s in found]), (0.0, 0.5)),
    ):
        counts = np.histogram(values, bins=4, range=(low, high))[0]
        assert counts.sum() == 800
        assert (np.abs(counts - 200) < 60).all()
    fixed = drawn_settings(Space(lr="fixed"), 5, seed=1)
    assert [s.dropout for s in fixed[1:]] == [s.dropout for s in found[:4]]


@given(n=st.integers(1, 300), epochs=st.integers(1, 500), eta=st.integers(2, 5), first=st.integers(1, 20))
def test_stages_shrink_as_they_grow_longer(n: int, epochs: int, eta: int, first: int) -> None:
    stages = rungs(n, epochs, eta=eta, first=first)
    assert stages[0].n == n
    assert stages[-1].epochs == epochs
    assert stages[-1].n >= min(n, 2)
    assert stages[0].epochs >= min(first, epochs)
    for one, other in pairwise(stages):
        assert other.n == one.n // eta
        assert other.epochs // eta == one.epochs
    assert stages[-1].n < 2 * eta or stages[0].epochs < eta * first, "it could have halved once more"


def test_bounds_that_are_none_are_refused() -> None:
    for wrong in (
        {"lr": (0.1, 0.01)},
        {"lr": (0.0, 0.1)},
        {"dropout": (0.5, 1.0)},
        {"weight_decay": "free"},
        {"momentum": 1},
    ):
        with pytest.raises(ValidationError):
            Space(**wrong)
    assert Space(lr="fixed").bounds.keys() == {"weight_decay", "dropout", "input_dropout"}

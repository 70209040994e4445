"""Training end to end on planted cohorts: what it learns, what it must not see, and the same bits again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from tests.planted import cohort, folds, wiring
from tests.wirings import toy_topology
from vnn._errors import AlignmentError, FitError
from vnn.data import Samples, Split, k_fold
from vnn.kernels import backend
from vnn.models import Recipe
from vnn.training import Fit, Training, fit, fitting, loop
from vnn.training.loop import Progress
from vnn.training.metrics import metrics

SHORT = Training(start="random", epochs=12, batch_size=32, patience=4, lr=1e-2)
DROPPING = Recipe(dropout=0.2, input_dropout=0.3)


def trained(**changes: object) -> Fit:
    arguments = {"target": "phenotype", "splits": folds(), "training": SHORT, "seed": 7} | changes
    return fit(arguments.pop("topology", wiring()), arguments.pop("samples", cohort()), **arguments)  # type: ignore[arg-type]


def state(made: Fit, replicate: str | None = None) -> dict[str, torch.Tensor]:
    networks = made.networks if replicate is None else made.networks.replicates([replicate])
    return networks.state_dict()


def assert_same_bits(one: Fit, other: Fit) -> None:
    for key, values in state(one).items():
        assert torch.equal(values, state(other)[key]), key
    pd.testing.assert_frame_equal(one.history, other.history)
    pd.testing.assert_frame_equal(one.replicates, other.replicates)


def changed(samples: Samples, **parts: object) -> Samples:
    given = {name: getattr(samples, name) for name in ("values", "features", "ids", "targets", "covariates", "groups")}
    return Samples(**(given | parts))  # type: ignore[arg-type]


def held_out_auc(made: Fit, samples: Samples) -> float:
    table = made.predict(samples).table(held_out=True)
    return float(roc_auc_score(samples.targets["phenotype"] == made.target.classes[1], table[made.target.classes[1]]))


def test_learns_the_planted_signal() -> None:
    made = trained(training=Training(epochs=60, lr=1e-2))
    assert held_out_auc(made, cohort()) > 0.8


def test_overfits_32_samples() -> None:
    samples = cohort().select(ids=cohort().ids[:32])
    everyone = Split("all", samples.ids, (), ())
    made = trained(
        samples=samples, splits=(everyone,), recipe=Recipe(dropout=0, input_dropout=0),
        training=Training(epochs=400, lr=1e-2, weight_decay=0),
    )  # fmt: skip
    values = made.predict(samples).values[:, 0, 1]
    assert roc_auc_score(samples.targets["phenotype"] == made.target.classes[1], values) == 1
    assert made.history["train"].iloc[-1] < 0.02


def test_permuted_labels_give_chance() -> None:
    aucs = []
    for seed in range(4):
        labels = cohort().targets.copy()
        labels["phenotype"] = np.random.default_rng(seed).permutation(labels["phenotype"])
        permuted = changed(cohort(), targets=labels)
        splits = k_fold(permuted.ids, k=3, validation=0.25, seed=seed, stratify=labels["phenotype"])
        aucs.append(held_out_auc(trained(samples=permuted, splits=splits), permuted))
    assert abs(np.mean(aucs) - 0.5) < 0.12


@pytest.mark.parametrize("target", ["quantity", "thirds"])
def test_regression_and_several_classes(target: str) -> None:
    made = trained(target=target, training=Training(epochs=60, lr=1e-2))
    table = made.predict(cohort()).table(held_out=True)
    if target == "quantity":
        assert np.corrcoef(table["quantity"], cohort().targets["quantity"])[0, 1] > 0.6
        assert abs(table["quantity"].mean() - 10) < 1
    else:
        assert made.target.classes == ("high", "low", "middle")
        assert np.allclose(table[["high", "low", "middle"]].sum(axis=1), 1)
        assert roc_auc_score(cohort().targets["thirds"] == "high", table["high"]) > 0.75


def test_same_seed_same_bits_another_seed_others() -> None:
    one = trained(recipe=DROPPING)
    assert_same_bits(one, trained(recipe=DROPPING))
    other = trained(recipe=DROPPING, seed=8)
    assert not torch.equal(state(one)["linears.0.weights.0"], state(other)["linears.0.weights.0"])


def test_order_of_samples_and_features_changes_no_bit() -> None:
    rng = np.random.default_rng(0)
    samples = cohort().select(rng.permutation(cohort().features), rng.permutation(cohort().ids))
    assert_same_bits(trained(recipe=DROPPING), trained(recipe=DROPPING, samples=samples))


@pytest.mark.parametrize("normalisation", ["batch", "none"])
def test_values_of_held_out_people_change_no_bit(normalisation: str) -> None:
    recipe = Recipe(normalisation=normalisation, dropout=0.2)
    split = folds()[1]
    values = cohort().values.copy()
    values[:, cohort().index(split.test)] = np.random.default_rng(0).uniform(-1e4, 1e4, (len(values), len(split.test)))
    others = changed(cohort(), values=values)
    name = f"{split.name}, seed 0"
    settings = SHORT.model_copy(update={"patience": 99})
    before, after = (trained(recipe=recipe, samples=s, training=settings) for s in (cohort(), others))
    for key, kept in state(before, name).items():
        assert torch.equal(kept, state(after, name)[key]), key
    moved = f"{folds()[0].name}, seed 0"
    assert not torch.equal(*(state(made, moved)["linears.0.weights.0"] for made in (before, after)))


def test_a_replicate_alone_equals_itself_among_others_in_float64() -> None:
    settings = SHORT.model_copy(update={"dtype": "float64", "epochs": 40, "patience": 3})
    together = trained(training=settings, n_seeds=2, recipe=DROPPING)
    assert len(set(together.replicates["best_epoch"])) > 1, (
        "replicates must stop at different epochs for this to say much"
    )
    for i, name in enumerate(together.replicates["id"]):
        alone = trained(training=settings, n_seeds=2, recipe=DROPPING, only=[name])
        assert alone.replicates["best_epoch"][0] == together.replicates["best_epoch"][i]
        for key, values in state(alone).items():
            assert torch.allclose(values, state(together, name)[key], rtol=0, atol=1e-9), key


def test_a_replicate_alone_equals_itself_among_others_in_float32_over_ten_steps() -> None:
    everyone = [Split(s.name, tuple(sorted({*s.train, *s.validation})), (), s.test) for s in folds()]
    settings = Training(epochs=2, batch_size=24)
    together = trained(training=settings, splits=everyone, recipe=DROPPING)
    name = together.replicates["id"][1]
    alone = trained(training=settings, splits=everyone, recipe=DROPPING, only=[name])
    for key, values in state(alone).items():
        assert torch.allclose(values, state(together, name)[key], rtol=0, atol=1e-5), key


@pytest.mark.compiler
def test_without_the_compiled_kernels_training_ends_the_same() -> None:
    float64 = SHORT.model_copy(update={"dtype": "float64", "epochs": 25, "patience": 3})
    float32 = Training(start="random", epochs=2, batch_size=24)
    for settings, tolerance in ((float64, 1e-9), (float32, 1e-5)):
        found = []
        for name in ("cpu", "reference"):
            with backend(name):
                found.append(trained(training=settings, recipe=DROPPING))
        assert found[0].replicates["best_epoch"].tolist() == found[1].replicates["best_epoch"].tolist()
        for key, values in state(found[0]).items():
            assert torch.allclose(values, state(found[1])[key], rtol=0, atol=tolerance), (settings.dtype, key)


class Killed(Exception):
    pass


@pytest.mark.parametrize("recipe", [DROPPING, Recipe(normalisation="none", heads="outputs")])
def test_killed_at_random_points_and_resumed_it_has_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: Recipe
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    settings = SHORT.model_copy(update={"schedule": "plateau", "patience": 6, "epochs": 20})
    whole = trained(recipe=recipe, training=settings)
    rng = np.random.default_rng(1)
    checkpoint = tmp_path / "training.checkpoint"
    kills = 0
    while True:
        stop = int(rng.integers(1, 5))

        def kill(progress: Progress, began: list[int] = [], stop: int = stop) -> None:  # noqa: B006
            began.append(progress.epoch)
            if len(began) == stop:
                raise Killed

        try:
            resumed = trained(recipe=recipe, training=settings, checkpoint=checkpoint, listener=kill)
            break
        except Killed:
            kills += 1
            assert kills < 100
    assert kills > 3
    assert_same_bits(whole, resumed)


def test_a_checkpoint_of_another_study_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    trained(checkpoint=tmp_path / "c")
    with pytest.raises(FitError, match="another study"):
        trained(checkpoint=tmp_path / "c", seed=8)


def test_a_replicate_that_diverges_is_named_and_the_others_keep_their_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    clean = trained()
    set_rates = loop.Trainer._set_rates

    def too_fast(trainer: loop.Trainer) -> None:
        set_rates(trainer)
        for tile in trainer.tiles:
            tile.optimiser.lr[torch.tensor(tile.positions) == 1] = 1e30

    monkeypatch.setattr(loop.Trainer, "_set_rates", too_fast)
    made = trained()
    assert made.replicates["state"][1] == "diverged"
    assert "diverged" not in made.replicates["state"][[0, 2]].tolist()
    for name in made.replicates["id"][[0, 2]]:
        for key, kept in state(clean, name).items():
            assert torch.equal(kept, state(made, name)[key]), key
    assert all(torch.isfinite(values).all() for values in state(made).values())


def test_held_out_values_beyond_the_reach_of_the_arithmetic_are_refused() -> None:
    values = cohort().values.copy()
    row = cohort().features.index(wiring().inputs[3])
    values[row, cohort().index(folds()[0].test[:1])] = 1e30
    with pytest.raises(ValueError, match=rf"1 features reach .* overflows in float32: '{wiring().inputs[3]}'"):
        trained(samples=changed(cohort(), values=values), splits=folds()[:1])


def test_diverged_replicates_are_left_out_and_none_left_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    made = trained()
    some = replace(made, replicates=made.replicates.assign(state=["diverged", "finished", "stopped"]))
    assert some.predict(cohort()).replicates == tuple(made.replicates["id"][1:])
    assert np.array_equal(some.predict(cohort()).logits, made.predict(cohort()).logits[:, 1:])
    none = replace(made, replicates=made.replicates.assign(state="diverged"))
    with pytest.raises(FitError, match=r"all 3 networks diverged; lower training\.lr"):
        none.predict(cohort())


def test_splits_with_and_without_validation_train_together_as_alone() -> None:
    without = Split("all", tuple(sorted({*folds()[0].train, *folds()[0].validation})), (), folds()[0].test)
    together = trained(splits=(folds()[1], without))
    assert together.replicates["state"][1] == "finished"
    assert together.replicates["best_epoch"][1] == SHORT.epochs
    alone = trained(splits=(folds()[1], without), only=["all, seed 0"])
    for key, values in state(alone).items():
        assert torch.allclose(values, state(together, "all, seed 0")[key], rtol=0, atol=1e-5), key


def test_probabilities_are_those_of_classes_as_frequent_as_they_are() -> None:
    labels = cohort().targets["phenotype"]
    rare = [i for i in cohort().ids if labels[i] == "control" or int(i[-2:]) % 5 == 0]
    samples = cohort().select(ids=rare)
    splits = k_fold(samples.ids, k=3, validation=0.25, seed=0, stratify=samples.targets["phenotype"])
    share = (samples.targets["phenotype"] == "case").mean()
    assert share < 0.25
    means = {}
    for weight in ("balanced", "none"):
        made = trained(
            samples=samples,
            splits=splits,
            classes=("control", "case"),
            training=SHORT.model_copy(update={"class_weight": weight, "epochs": 60, "patience": 30}),
        )
        means[weight] = made.predict(samples).table(held_out=True)["case"].mean()
    assert abs(means["balanced"] - share) < 0.1
    assert abs(means["none"] - share) < 0.1


def test_predicted_quantities_lie_around_the_diagonal() -> None:
    made = trained(target="quantity", training=Training(epochs=80, lr=1e-2))
    table = made.predict(cohort()).table(held_out=True)
    slope = np.polyfit(table["quantity"], cohort().targets["quantity"], 1)[0]
    assert 0.6 < slope < 1.5


def test_missing_values_are_filled_by_the_training_part_alone(tmp_path: Path) -> None:
    values = cohort().values.copy()
    rng = np.random.default_rng(0)
    values[rng.random(values.shape) < 0.1] = np.nan
    gaps = changed(cohort(), values=values)
    with pytest.raises(ValueError, match="impute"):
        trained(samples=gaps)
    made = trained(samples=gaps, training=SHORT.model_copy(update={"impute": "mean"}), splits=folds()[:1])
    prediction = made.predict(gaps)
    assert np.isfinite(prediction.logits).all()
    fill = made.networks.scaling.fill[:, 0].numpy()
    train = gaps.select(made.topology.inputs, folds()[0].train).values
    assert np.allclose(fill, np.nanmean(train, axis=1), rtol=1e-5)
    made.save(tmp_path / "fit")
    loaded = Fit.load(tmp_path / "fit", wiring())
    x = torch.from_numpy(gaps.select(made.topology.inputs).values.T.copy())
    assert torch.isfinite(loaded.network()(x)).all()
    filled = np.where(np.isnan(values), 0, values)
    for i, name in enumerate(made.topology.inputs):
        row = gaps.features.index(name)
        filled[row] = np.where(np.isnan(values[row]), fill[i], values[row])
    assert np.allclose(made.predict(changed(cohort(), values=filled)).logits, prediction.logits, atol=1e-5)


def test_covariates_enter_late_and_matter() -> None:
    sex = pd.DataFrame({"sex": np.where(cohort().targets["phenotype"] == "case", "f", "m")}, index=list(cohort().ids))
    known = changed(cohort(), covariates=sex)
    made = trained(samples=known, training=Training(epochs=60, lr=2e-2))
    assert held_out_auc(made, known) > 0.97
    with pytest.raises(AlignmentError, match="sex"):
        made.predict(cohort())


def test_saved_and_loaded_it_predicts_the_same_bits(tmp_path: Path) -> None:
    made = trained(n_seeds=2, target="quantity")
    made.save(tmp_path / "fit")
    loaded = Fit.load(tmp_path / "fit", wiring())
    assert_same_bits(made, loaded)
    assert np.array_equal(made.predict(cohort()).logits, loaded.predict(cohort()).logits)
    assert loaded.about == json.loads(json.dumps(made.about))
    for level, reading in made.readings.items():
        assert np.array_equal(reading.loading, loaded.readings[level].loading)


def test_a_fit_refuses_another_topology_a_damaged_file_and_another_study(tmp_path: Path) -> None:
    folder = tmp_path / "fit"
    made = trained()
    made.save(folder)
    with pytest.raises(FitError, match="was trained with topology"):
        Fit.load(folder, toy_topology())
    with pytest.raises(FitError, match="another study"):
        trained(seed=8).save(folder)
    made.save(folder)
    file = sorted(folder.glob("replicate-*"))[0]
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(FitError, match="changed after it was written"):
        Fit.load(folder, wiring())
    file.write_bytes(content[:100])
    with pytest.raises(FitError, match="missing or damaged"):
        Fit.load(folder, wiring())
    with pytest.raises(FitError, match=r"no fit\.json"):
        Fit.load(tmp_path, wiring())


def test_a_full_disk_while_saving_leaves_the_old_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = trained()
    made.save(tmp_path / "fit")
    longer = trained()
    with torch.no_grad():
        longer.networks.head_linears[0].bias += 1
    calls = []

    def full(arrays: object, path: object) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        save(arrays, path)

    save = fitting.save_file
    monkeypatch.setattr(fitting, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        longer.save(tmp_path / "fit")
    monkeypatch.undo()
    assert_same_bits(Fit.load(tmp_path / "fit", wiring()), made)


def test_new_people_join_by_name() -> None:
    made = trained()
    rng = np.random.default_rng(0)
    shuffled = cohort().select(rng.permutation(cohort().features))
    assert np.array_equal(made.predict(shuffled).logits, made.predict(cohort()).logits)
    fewer = cohort().select(cohort().features[3:])
    means = cohort().values.copy()
    means[:3] = cohort().select(ids=folds()[0].train).values[:3].astype(float).mean(1, keepdims=True)
    expected = made.predict(changed(cohort(), values=means)).logits[:, 0]
    assert np.allclose(made.predict(fewer).logits[:, 0], expected, atol=1e-4)
    with pytest.raises(AlignmentError, match=r"at least 80% are needed"):
        made.predict(cohort().select(cohort().features[30:]))


def test_held_out_people_are_those_a_replicate_never_saw() -> None:
    made = trained()
    prediction = made.predict(cohort())
    for r, split in enumerate(made.splits):
        assert {i for i, held in zip(prediction.ids, prediction.held_out[:, r], strict=True) if held} == set(split.test)
    table = prediction.table(held_out=True)
    assert (table["n_replicates"] == 1).all()
    assert np.allclose(table.iloc[0, 0], prediction.values[0, prediction.held_out[0], 0])


def test_wrong_names_are_told() -> None:
    with pytest.raises(ValueError, match=r"'phenotyp'; known are .* Did you mean 'phenotype'"):
        trained(target="phenotyp")
    with pytest.raises(ValueError, match="`only` names replicates"):
        trained(only=["repeat 9 fold 9, seed 0"])
    with pytest.raises(AlignmentError, match="lacks 4 of the 4 features"):
        trained(topology=toy_topology())


def survivors(*, permuted: int | None = None) -> Samples:
    """The cohort with times whose log hazard is 1.5 times the planted factor, a third of them cut short."""
    rng = np.random.default_rng(2)
    factor = (cohort().targets["quantity"].to_numpy() - 10) / 3
    death, end = rng.exponential(np.exp(-1.5 * factor)), rng.exponential(2.0, len(factor))
    times = pd.DataFrame({"days": np.ceil(20 * np.minimum(death, end)), "died": death <= end}, index=list(cohort().ids))
    if permuted is not None:
        times = times.iloc[np.random.default_rng(permuted).permutation(len(times))].set_axis(times.index)
    return changed(cohort(), targets=times)


def surviving(samples: Samples | None = None, **changes: object) -> Fit:
    samples = survivors() if samples is None else samples
    splits = k_fold(samples.ids, k=3, validation=0.25, seed=0, stratify=samples.targets["died"].astype(str))
    return trained(**({"samples": samples, "target": "days", "event": "died", "splits": splits} | changes))


def c_index(made: Fit, samples: Samples) -> float:
    values = made.predict(samples).values
    truth = dict(zip(made.ids, made.target.truth, strict=True))
    found = []
    for r, split in enumerate(made.splits):
        given = np.array([truth[i] for i in split.test])
        found.append(metrics("cox", given, values[samples.index(split.test), r])["C-index"])
    return float(np.mean(found))


def test_survival_of_a_planted_hazard_is_predicted() -> None:
    made = surviving(training=Training(epochs=40, lr=1e-2))
    assert (made.target.task, made.target.event, made.target.classes) == ("cox", "died", ())
    assert c_index(made, survivors()) > 0.7
    table = made.predict(survivors()).table(held_out=True)
    assert list(table.columns) == ["days", "days sd", "n_replicates"]
    factor = cohort().targets["quantity"]
    assert np.corrcoef(table["days"], factor)[0, 1] > 0.6


def test_permuted_times_give_chance() -> None:
    found = [c_index(surviving(survivors(permuted=seed)), survivors(permuted=seed)) for seed in range(3)]
    assert abs(np.mean(found) - 0.5) < 0.1


def test_log_hazard_ratios_are_0_on_average_over_the_training_samples() -> None:
    made = surviving()
    logits = made.predict(survivors()).logits[:, :, 0]
    for r, split in enumerate(made.splits):
        known = logits[survivors().index(split.train), r]
        assert abs(known.mean()) < 1e-6
        assert known.std() > 1e-2


def test_a_survival_replicate_alone_equals_itself_among_others() -> None:
    settings = SHORT.model_copy(update={"dtype": "float64", "epochs": 25, "patience": 3})
    together = surviving(training=settings, recipe=DROPPING)
    assert len(set(together.replicates["best_epoch"])) > 1
    for i, name in [(1, together.replicates["id"][1])]:
        alone = surviving(training=settings, recipe=DROPPING, only=[name])
        assert alone.replicates["best_epoch"][0] == together.replicates["best_epoch"][i]
        for key, values in state(alone).items():
            assert torch.allclose(values, state(together, name)[key], rtol=0, atol=1e-9), key


def test_values_times_and_events_of_held_out_people_change_no_bit() -> None:
    samples = survivors()
    before = surviving(recipe=Recipe(dropout=0.2))
    split = before.splits[1]
    rng = np.random.default_rng(0)
    values, targets = samples.values.copy(), samples.targets.copy()
    values[:, samples.index(split.test)] = rng.uniform(-1e4, 1e4, (len(values), len(split.test)))
    targets.loc[list(split.test), "days"] = rng.integers(1, 50, len(split.test))
    targets.loc[list(split.test), "died"] = ~targets.loc[list(split.test), "died"]
    others = changed(samples, values=values, targets=targets)
    settings = SHORT.model_copy(update={"patience": 99})
    made = [
        surviving(s, splits=before.splits, recipe=Recipe(dropout=0.2), training=settings) for s in (samples, others)
    ]
    for name, same in ((f"{split.name}, seed 0", True), (f"{before.splits[0].name}, seed 0", False)):
        kept = [state(one, name)["linears.0.weights.0"] for one in made]
        assert torch.equal(*kept) == same
    for key, kept in state(made[0], f"{split.name}, seed 0").items():
        assert torch.equal(kept, state(made[1], f"{split.name}, seed 0")[key]), key


def test_a_batch_without_an_event_changes_no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    step = loop.Trainer._step
    seen = {True: 0, False: 0}

    def watched(trainer: loop.Trainer, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        def everything() -> dict[str, torch.Tensor]:
            return {
                k: v.clone() for k, v in (trainer.network.state_dict() | trainer.tiles[0].optimiser.state()).items()
            }

        before, found = everything(), step(trainer, batch)
        events = trainer._own.train_weight[:, batch] * trainer._own.target[1, batch]
        for r, idle in enumerate((events.sum(1) == 0).tolist()):
            seen[idle] += 1
            same = [torch.equal(before[key][..., r], values[..., r]) for key, values in everything().items()]
            assert all(same) == idle
        return found

    monkeypatch.setattr(loop.Trainer, "_step", watched)
    surviving(training=SHORT.model_copy(update={"batch_size": 3, "epochs": 1}))
    assert min(seen.values()) > 5


def test_a_saved_survival_fit_knows_its_events(tmp_path: Path) -> None:
    made = surviving()
    made.save(tmp_path / "fit")
    loaded = Fit.load(tmp_path / "fit", wiring())
    assert_same_bits(made, loaded)
    assert np.array_equal(made.target.truth, loaded.target.truth)
    assert loaded.target.event == "died"
    assert np.array_equal(made.predict(survivors()).logits, loaded.predict(survivors()).logits)
    made.save(tmp_path / "fit")


def test_survival_without_events_is_told() -> None:
    with pytest.raises(ValueError, match=r"the event is 'dead'; known are 'days', 'died'"):
        surviving(event="dead")
    with pytest.raises(ValueError, match=r"task is 'binary' .* Leave `event` out"):
        surviving(task="binary")
    with pytest.raises(ValueError, match="Name the column of events as well"):
        surviving(event=None, task="cox")
    died = survivors().targets["died"]
    alive = tuple(died.index[~died])
    split = Split("all", tuple(died.index[died]), alive[:5], alive[5:])
    with pytest.raises(ValueError, match=r"the validation part of split 'all' has 0 events in 5 samples"):
        surviving(splits=(split,))
    with pytest.raises(ValueError, match=r"the training part of split 'all' has 0 events"):
        surviving(splits=(Split("all", alive, (), tuple(died.index[died])),))

"""Fits with temperatures: where they come from, what they change, and what they leave as it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit
from sklearn.metrics import log_loss

from tests.planted import cohort, folds, wiring
from tests.training.test_fitting import surviving, survivors, trained
from vnn.data import Samples, Split
from vnn.training import Fit, Training
from vnn.training.calibration import Temperature, in_words

EARLY = Training(start="random", epochs=12, batch_size=32)


@pytest.fixture(scope="module")
def made() -> Fit:
    return trained(samples=cohort(300), splits=folds(3, 300), n_seeds=2, training=EARLY)


def best_temperature(z: np.ndarray, truth: np.ndarray) -> float:
    """By search, without derivatives."""
    return float(
        minimize_scalar(
            lambda t: log_loss(truth, expit(z / t)), bounds=(0.05, 20), method="bounded", options={"xatol": 1e-9}
        ).x
    )


def test_each_temperature_is_the_best_for_the_validation_part_of_its_own_split(made: Fit) -> None:
    logits = made.predict(cohort(300)).logits[:, :, 0]
    truth = cohort(300).targets["phenotype"].to_numpy() == made.target.classes[1]
    validation = {split.name: cohort(300).index(split.validation) for split in made.splits}
    assert len(made.temperatures) == 6
    for r, (found, split) in enumerate(zip(made.temperatures, made.replicates["split"], strict=True)):
        mine = validation[split]
        assert (found.n_samples, found.reason) == (len(mine), "")
        assert np.isclose(found.value, best_temperature(logits[mine, r], truth[mine]), rtol=1e-4)
    assert len({t.value for t in made.temperatures}) == 6


def test_probabilities_are_calibrated_and_logits_are_not(made: Fit) -> None:
    prediction = made.predict(cohort(300))
    raw = replace(made, temperatures=()).predict(cohort(300))
    assert np.array_equal(prediction.logits, raw.logits)
    t = np.array([one.value for one in made.temperatures])
    assert np.allclose(prediction.values[:, :, 1], expit(prediction.logits[:, :, 0] / t))
    assert np.allclose(raw.values[:, :, 1], expit(raw.logits[:, :, 0]))
    assert np.allclose(np.exp(prediction.log_values), prediction.values)
    truth = cohort(300).targets["phenotype"].to_numpy() == made.target.classes[1]
    case = made.target.classes[1]
    calibrated, plain = (log_loss(truth, p.table(held_out=True)[case]) for p in (prediction, raw))
    assert calibrated < plain, "also on people nobody of the ensemble has seen"


def test_the_table_is_the_mean_and_spread_of_the_members_that_held_a_sample_out(made: Fit) -> None:
    prediction = made.predict(cohort(300))
    table = prediction.table(held_out=True)
    of_split = made.replicates["split"].to_numpy()
    for split in made.splits:
        members = np.flatnonzero(of_split == split.name)
        for i in split.test[:5]:
            own = prediction.values[prediction.ids.index(i), members, 1]
            assert np.isclose(table.loc[i, "control"], own.mean())
            assert np.isclose(table.loc[i, "control sd"], own.std(ddof=1))
            assert table.loc[i, "n_replicates"] == 2
    fresh = cohort(40, seed=3)
    new = Samples.from_frame(fresh.to_frame().rename(index="new {}".format))
    everyone = made.predict(new)
    assert (everyone.table(held_out=True)["n_replicates"] == 6).all()
    assert np.allclose(everyone.table(held_out=True)["control"], everyone.values[:, :, 1].mean(1))
    together = everyone.ensemble()
    within = everyone.values[:, :, 1].reshape(40, 3, 2).var(axis=2, ddof=1).mean(1)
    assert np.allclose(together.between_seeds[:, 1], np.sqrt(within)), "splits of the members are known"


@pytest.mark.parametrize("least", [49, 50])
def test_below_50_validation_samples_it_stays_1_and_says_why(least: int) -> None:
    ids = cohort(300).ids
    split = Split("short", ids[100:], ids[:least], ids[least:100])
    (found,) = trained(samples=cohort(300), splits=(split,), training=EARLY).temperatures
    if least == 50:
        assert found.value != 1
        assert found.reason == ""
    else:
        assert (found.value, found.n_samples) == (1.0, 49)
        assert found.reason == "49 validation samples; at least 50 are needed"


def test_without_a_validation_part_or_a_sound_network_it_stays_1() -> None:
    split = Split("all", cohort().ids[20:], (), cohort().ids[:20])
    none = trained(splits=(split,), training=EARLY)
    assert [(t.value, t.n_samples) for t in none.temperatures] == [(1.0, 0)]
    assert "0 validation samples" in none.temperatures[0].reason
    wild = Training(epochs=4, batch_size=32, lr=1e38, optimiser="sgd", weight_decay=0.0)
    lost = trained(splits=folds()[:1], training=wild)
    assert lost.replicates["state"].tolist() == ["diverged"]
    assert [t.reason for t in lost.temperatures] == ["the network diverged"]


def test_classes_have_temperatures_in_every_order_of_replicates(made: Fit) -> None:
    some = made.replicates["id"].tolist()[3:5]
    part = trained(samples=cohort(300), splits=folds(3, 300), n_seeds=2, training=EARLY, only=some)
    assert part.temperatures == made.temperatures[3:5]


def test_more_classes_have_them_too() -> None:
    found = trained(samples=cohort(300), splits=folds(3, 300)[:1], target="thirds", training=EARLY)
    prediction = found.predict(cohort(300))
    z = prediction.logits[:, 0] / found.temperatures[0].value
    wanted = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    assert found.temperatures[0].value != 1
    assert np.allclose(prediction.values[:, 0], wanted)


def test_quantities_and_hazards_have_a_spread_but_no_temperature() -> None:
    for found, samples in ((trained(target="quantity", n_seeds=2), cohort()), (surviving(n_seeds=2), survivors())):
        assert found.temperatures == ()
        prediction = found.predict(samples)
        assert prediction.temperatures is None
        assert prediction.values is prediction.logits
        table = prediction.table(held_out=True)
        first = prediction.ids[0]
        own = prediction.logits[0, prediction.held_out[0], 0]
        assert len(own) == table.loc[first, "n_replicates"] == 2
        assert np.allclose(
            table.loc[first, [found.target.name, f"{found.target.name} sd"]], [own.mean(), own.std(ddof=1)]
        )


def test_saved_and_loaded_they_are_the_same_and_older_folders_have_1(made: Fit, tmp_path: Path) -> None:
    made.save(tmp_path / "fit")
    loaded = Fit.load(tmp_path / "fit", wiring())
    assert loaded.temperatures == made.temperatures
    assert np.array_equal(loaded.predict(cohort(300)).values, made.predict(cohort(300)).values)
    manifest = json.loads((tmp_path / "fit" / "fit.json").read_text())
    manifest.pop("temperatures")
    (tmp_path / "fit" / "fit.json").write_text(json.dumps(manifest))
    old = Fit.load(tmp_path / "fit", wiring())
    assert [t.value for t in old.temperatures] == [1.0] * 6
    assert "before temperatures were kept" in in_words(old.temperatures)
    assert np.allclose(old.predict(cohort(300)).values[:, :, 1], expit(made.predict(cohort(300)).logits[:, :, 0]))


def test_a_null_of_the_labels_is_calibrated_on_the_labels_it_learnt() -> None:
    null = trained(samples=cohort(300), splits=folds(3, 300)[:1], training=EARLY, kind="labels", draws=(0, 1))
    assert null.labels is not None
    logits = null.predict(cohort(300).select(ids=null.ids)).logits[:, :, 0]
    mine = [i for i, name in enumerate(null.ids) if name in set(null.splits[0].validation)]
    for r, found in enumerate(null.temperatures):
        wanted = best_temperature(logits[mine, r], null.labels[r][mine])
        assert np.isclose(found.value, wanted, rtol=1e-3) or found.value == wanted == 20
    real = [best_temperature(logits[mine, r], null.target.values[mine]) for r in range(2)]
    assert not np.allclose([t.value for t in null.temperatures], real, rtol=1e-3)
    rewired = trained(samples=cohort(300), splits=folds(3, 300)[:1], training=EARLY, kind="rewired", draws=(0,))
    z = rewired.predict(cohort(300).select(ids=rewired.ids)).logits[mine, 0, 0]
    assert np.isclose(rewired.temperatures[0].value, best_temperature(z, rewired.target.values[mine]), rtol=1e-4)


def test_a_prediction_that_is_not_finite_does_not_count(made: Fit) -> None:
    prediction = made.predict(cohort(300))
    logits = prediction.logits.copy()
    logits[4, 2], logits[5] = np.inf, np.nan
    table = replace(prediction, logits=logits).table()
    assert table["n_replicates"].tolist()[3:7] == [6, 5, 0, 6]
    assert np.isclose(table["control"].iloc[4], np.delete(prediction.values[4, :, 1], 2).mean())
    assert np.isnan(table["control"].iloc[5])


def test_nobody_is_predicted_in_no_rows(made: Fit) -> None:
    nobody = made.predict(cohort(300).select(ids=()))
    assert nobody.logits.shape == (0, 6, 1)
    assert nobody.table(held_out=True).shape == (0, 5)


def test_words_count_who_decided() -> None:
    fitted = [Temperature(0.71, 58, 0.6, 0.5), Temperature(0.934, 1060, 0.6, 0.5)]
    few = Temperature(1.0, 24, 0.6, 0.6, "24 validation samples; at least 50 are needed")
    assert in_words(fitted) == "Temperatures are 0.71 to 0.93, each decided by 58 to 1,060 validation samples."
    assert in_words([*fitted, few]) == (
        "Temperatures of 2 of 3 networks are 0.71 to 0.93, each decided by 58 to 1,060 validation samples; 1 of 3 networks have "
        "temperature 1 (24 validation samples; at least 50 are needed)."
    )
    assert in_words([few, few]).startswith("All networks have temperature 1 (24 validation samples")

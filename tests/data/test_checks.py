"""Data checks: planted faults are found, sound data pass, order and ids stay out of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from vnn.data.checks import Check, data_checks
from vnn.data.counts import log_cpm
from vnn.data.rare import limit_classes
from vnn.data.read import read_samples
from vnn.data.samples import Samples
from vnn.data.splits import Split, hold_out, k_fold, leave_one_group_out
from vnn.data.targets import Target

N = 120


def cohort(seed: int = 0, n_features: int = 60, n_samples: int = N, **known: pd.DataFrame) -> Samples:
    """Correlated expression that differs a little between cases and controls."""
    rng = np.random.default_rng(seed)
    ids = [f"person-{i:03}" for i in rng.permutation(n_samples)]
    sick = np.arange(n_samples) % 2
    values = rng.normal(size=(n_samples, n_features)) + rng.normal(size=(n_samples, 1))
    values[:, :6] += 0.8 * sick[:, None]
    values = values * rng.uniform(0.5, 1.5, n_features) + rng.uniform(6, 10, n_features)
    frame = pd.DataFrame(values, index=ids, columns=[f"g{i}" for i in range(n_features)])
    targets = pd.DataFrame({"sick": np.where(sick, "yes", "no")}, index=ids)
    return Samples.from_frame(frame, targets=targets, **known)


def with_values(samples: Samples, values: np.ndarray) -> Samples:
    return replace(samples, values=values.astype(np.float32))


def of(samples: Samples, **columns: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(columns, index=list(samples.ids))


def sick(samples: Samples) -> np.ndarray:
    return (samples.targets["sick"] == "yes").to_numpy()


def named(checks: tuple[Check, ...]) -> dict[str, Check]:
    found = {check.name: check for check in checks}
    assert len(found) == len(checks)
    return found


def folds(samples: Samples, seed: int = 1) -> tuple[Split, ...]:
    return k_fold(samples.ids, k=5, seed=seed, stratify=samples.targets["sick"])


def test_sound_data_pass() -> None:
    for seed in range(4):
        samples = cohort(seed)
        found = named(data_checks(samples, "sick", splits=folds(samples, seed), seed=seed))
        assert {name: check.state for name, check in found.items()} == {
            "library size predicts the target": "fine",
            "number of samples": "fine",
            "class sizes": "fine",
            "duplicated samples": "fine",
            "training and test parts differ": "fine",
            "already scaled values": "fine",
            "constant features": "fine",
            "missing values": "fine",
        }


def test_missing_values_that_give_the_target_away_are_a_warning() -> None:
    samples = cohort()
    values = samples.values.copy()
    chance = np.where(sick(samples), 0.3, 0.05) * (np.arange(60) < 15)[:, None]
    values[np.random.default_rng(1).random(values.shape) < chance] = np.nan
    found = named(data_checks(with_values(samples, values), "sick"))
    check = found["missing values predict the target"]
    missing = np.isnan(values).T.astype(float)
    model = cross_val_predict(
        LogisticRegression(C=0.1), missing, sick(samples), cv=StratifiedKFold(5), method="predict_proba"
    )
    assert check.state == "warning"
    assert check.figures["AUC"] == pytest.approx(roc_auc_score(sick(samples), model[:, 1]), abs=0.06)
    assert f"{check.figures['AUC']:.2f}" in check.text
    assert found["missing values"].state == "note"
    assert found["missing values"].figures["share"] == pytest.approx(np.isnan(values).mean())
    assert found["missing values"].figures["features with some"] == np.isnan(values).any(axis=1).sum()


def test_missing_values_at_random_are_not() -> None:
    samples = cohort()
    values = samples.values.copy()
    values[np.random.default_rng(2).random(values.shape) < 0.1] = np.nan
    found = named(data_checks(with_values(samples, values), "sick", splits=folds(samples)))
    assert found["missing values predict the target"].state == "fine"
    assert found["training and test parts differ"].state == "fine"


def test_library_size_that_gives_the_target_away_is_a_warning() -> None:
    samples = cohort(n_features=80)
    rng = np.random.default_rng(3)
    depth = np.where(sick(samples), 300, 100) * rng.uniform(0.5, 1.5, N)
    counts = with_values(samples, rng.poisson(rng.uniform(0.2, 2, (80, 1)) * depth))
    found = named(data_checks(counts, "sick"))
    assert found["library size predicts the target"].state == "warning"
    expected = roc_auc_score(sick(samples), counts.values.sum(axis=0))
    assert found["library size predicts the target"].figures["AUC"] == pytest.approx(expected, abs=0.02)
    assert "`log_cpm`" in found["library size predicts the target"].text
    assert found["raw counts"].state == "note"
    assert "already scaled values" not in found
    again = named(data_checks(log_cpm(counts), "sick"))
    assert "raw counts" not in again


def test_a_batch_that_goes_with_the_target_is_a_warning_and_covariates_are_a_note() -> None:
    samples = cohort()
    rng = np.random.default_rng(4)
    follows = sick(samples) ^ (rng.random(N) < 0.1)
    samples = replace(
        samples,
        groups=of(samples, site=np.where(follows, "u", "v"), plate=rng.choice(list("xyz"), N), donor=samples.ids, one=["a"] * N),
        covariates=of(samples, age=40 + 10 * follows + rng.normal(size=N), sex=rng.choice(["f", "m"], N)),
    )  # fmt: skip
    found = named(data_checks(samples, "sick"))
    site = found["'site' predicts the target"]
    assert site.state == "warning"
    assert site.figures["AUC"] == pytest.approx((follows == sick(samples)).mean(), abs=0.02)
    assert found["'plate' predicts the target"].state == "fine"
    assert found["covariates predict the target"].state == "note"
    assert not [name for name in found if "donor" in name or "one" in name]


def test_survival_and_quantities_have_figures_of_their_own() -> None:
    samples = cohort()
    rng = np.random.default_rng(5)
    risk = rng.normal(size=N)
    samples = replace(samples, covariates=of(samples, risk=risk))
    years = Target("years", "cox", rng.exponential(np.exp(-2 * risk)) + 0.01, events=rng.random(N) < 0.7)
    found = named(data_checks(samples, years))
    assert found["covariates predict the target"].figures["C-index"] > 0.7
    assert found["covariates predict the target"].state == "note"
    assert found["library size predicts the target"].state == "fine"
    assert found["class sizes"].figures == {"samples": {"event": int(years.events.sum())}}
    samples = replace(samples, targets=of(samples, height=170 + 10 * risk + rng.normal(size=N)))
    found = named(data_checks(samples, "height"))
    assert found["covariates predict the target"].figures["R2"] > 0.9
    assert "class sizes" not in found


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (lambda x: (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True), "note"),
        (lambda x: (x - x.min(axis=1, keepdims=True)) / np.ptp(x, axis=1, keepdims=True), "note"),
        (lambda x: x > x.mean(axis=1, keepdims=True), "fine"),
        (lambda x: x - x.mean(axis=1, keepdims=True), "fine"),
        (lambda x: np.clip(x / 20, 0, 1), "fine"),
    ],
)
def test_values_scaled_over_all_samples_are_noted(change: Callable[[np.ndarray], np.ndarray], state: str) -> None:
    samples = cohort()
    samples = with_values(samples, change(samples.values.astype(np.float64)))
    assert named(data_checks(samples, "sick"))["already scaled values"].state == state


def test_duplicates_are_a_warning_across_a_split_or_with_two_labels() -> None:
    samples = cohort()
    values = samples.values.copy()
    same = [int(i) for i in np.flatnonzero(sick(samples))[:2]]
    values[:, same[1]] = values[:, same[0]] * 1.000001
    one, other = (samples.ids[i] for i in same)
    together = Split("a", (one, other), (), tuple(i for i in samples.ids if i not in (one, other)))
    torn = Split("b", tuple(i for i in samples.ids if i != other), (), (other,))
    twice = with_values(samples, values)

    def check(given: Samples, *splits: Split) -> Check:
        return named(data_checks(given, "sick", splits=splits))["duplicated samples"]

    assert check(twice).state == check(twice, together).state == "note"
    assert check(twice, together, torn).state == "warning"
    assert check(twice, torn).figures["pairs"] == (tuple(sorted((one, other))),)
    assert check(twice, torn).figures["pairs across a split"] == 1
    relabelled = of(samples, sick=np.where(np.array(samples.ids) == other, "no", samples.targets["sick"]))
    assert check(replace(twice, targets=relabelled)).state == "warning"
    assert check(replace(twice, targets=relabelled)).figures["pairs with different labels"] == 1


def test_many_duplicates_name_five_pairs_those_in_conflict_first() -> None:
    samples = cohort()
    values = samples.values.copy()
    values[:, 60:70] = values[:, 50:60]
    values[:, 71] = values[:, 70]
    check = named(data_checks(with_values(samples, values), "sick"))["duplicated samples"]
    assert len(check.figures["pairs"]) == 5
    assert check.figures["pairs found"] == 11
    assert check.figures["samples"] == 22
    assert tuple(sorted((samples.ids[70], samples.ids[71]))) == check.figures["pairs"][0]


def test_a_site_of_its_own_is_seen_and_random_folds_are_not() -> None:
    samples = cohort(7, n_features=200)
    site = np.array(["Lund", "Oslo", "Turku"])[np.arange(N) % 3]
    values = samples.values.copy()
    values[:100, site == "Lund"] += 3
    moved = with_values(samples, values)
    left_out = leave_one_group_out(samples.ids, of(samples, site=site)["site"], seed=1)
    check = named(data_checks(moved, "sick", splits=left_out))["training and test parts differ"]
    assert check.state == "warning"
    assert check.figures["share of features"] > 0.4
    assert check.figures["AUC"] > 0.9
    assert named(data_checks(moved, "sick", splits=folds(moved)))["training and test parts differ"].state == "fine"


def test_only_the_first_repeat_is_compared() -> None:
    samples = cohort()
    labels = samples.targets["sick"]
    one = k_fold(samples.ids, k=3, seed=1, stratify=labels)
    many = k_fold(samples.ids, k=3, repeats=4, seed=1, stratify=labels)
    name = "training and test parts differ"
    first = named(data_checks(samples, "sick", splits=one))[name]
    assert first == named(data_checks(samples, "sick", splits=many))[name]
    assert first.figures["splits"] == 3


@pytest.mark.parametrize("n_features", [1, 5])
def test_random_folds_of_few_features_are_fine(n_features: int) -> None:
    for seed in range(4):
        samples = cohort(seed, n_features=max(n_features, 6)).select(features=[f"g{i}" for i in range(n_features)])
        found = named(data_checks(samples, "sick", splits=folds(samples, seed)))
        assert found["training and test parts differ"].state == "fine"
        assert "library size predicts the target" not in found
        assert "duplicated samples" not in found


def test_small_and_absent_classes() -> None:
    samples = cohort()
    kinds = np.array(["a"] * 60 + ["b"] * 52 + ["c"] * 8)
    samples = replace(samples, targets=of(samples, kind=kinds))
    found = named(data_checks(samples, "kind"))["class sizes"]
    assert found.state == "note"
    assert found.figures["samples"] == {"a": 60, "b": 52, "c": 8}
    assert "'c', the smallest class of 'kind', has 8 samples" in found.text
    test = tuple(np.array(samples.ids)[kinds != "c"][::3])
    split = Split("without c", tuple(sorted(set(samples.ids) - set(test))), (), test)
    found = named(data_checks(samples, "kind", splits=[split]))["class sizes"]
    assert found.state == "warning"
    assert "1 of 1 test parts have no sample of 'c'" in found.text


def test_constant_and_empty_features_are_counted() -> None:
    samples = cohort()
    values = samples.values.copy()
    values[3:6] = 4
    values[8] = np.nan
    found = named(data_checks(with_values(samples, values), "sick"))
    assert found["constant features"].state == "note"
    assert found["constant features"].figures["features"] == 3
    assert found["missing values"].figures["features without any value"] == 1
    assert "missing values predict the target" not in found


def test_order_of_samples_changes_nothing_and_seeds_decide() -> None:
    samples = cohort()
    values = samples.values.copy()
    values[np.random.default_rng(6).random(values.shape) < 0.1] = np.nan
    samples = with_values(samples, values)
    samples = replace(samples, groups=of(samples, site=np.random.default_rng(7).choice(list("uvw"), N)))
    shuffled = samples.select(ids=list(np.random.default_rng(8).permutation(samples.ids)))
    first = data_checks(samples, "sick", splits=folds(samples), seed=3)
    assert first == data_checks(shuffled, "sick", splits=folds(samples), seed=3)
    assert first != data_checks(samples, "sick", splits=folds(samples), seed=4)
    target = Target("sick", "binary", (shuffled.targets["sick"] == "yes").to_numpy(), ("no", "yes"))
    assert first == data_checks(shuffled, target, splits=folds(samples), seed=3)


def test_no_text_names_a_person() -> None:
    samples = cohort()
    values = samples.values.copy()
    values[:, 1] = values[:, 0]
    values[0, 0] = np.nan
    for check in data_checks(with_values(samples, values), "sick", splits=folds(samples)):
        assert "person-" not in check.text + check.name
        assert "person-" not in str({name: value for name, value in check.figures.items() if name != "pairs"})


@pytest.mark.parametrize("value", [np.nan, 1.0])
def test_data_without_any_variation_are_described(value: float) -> None:
    samples = with_values(cohort(), np.full((60, N), value))
    found = named(data_checks(samples, "sick", splits=folds(samples)))
    assert found["training and test parts differ"].state == "fine"
    assert "already scaled values" not in found


def test_wrong_targets_are_refused() -> None:
    samples = cohort()
    with pytest.raises(ValueError, match=r"target is 'sik'; known are 'sick'. Did you mean 'sick'"):
        data_checks(samples, "sik")
    with pytest.raises(ValueError, match="the target has 3 values for 120 samples"):
        data_checks(samples, Target("sick", "binary", np.array([0, 1, 1]), ("no", "yes")))
    with pytest.raises(ValueError, match="task and classes are for a column"):
        data_checks(samples, Target("sick", "binary", sick(samples), ("no", "yes")), task="binary")
    with pytest.raises(ValueError, match="'yes' in all of 120 samples"):
        data_checks(replace(samples, targets=of(samples, sick=["yes"] * N)), "sick")
    with pytest.raises(ValueError, match="in all of 1 samples"):
        data_checks(samples.select(ids=samples.ids[:1]), "sick")


def test_two_samples_are_described() -> None:
    samples = cohort().select(ids=cohort().ids[:2])
    split = Split("a", samples.ids[:1], (), samples.ids[1:])
    states = {check.name: check.state for check in data_checks(samples, "sick", splits=[split])}
    assert states == {
        "number of samples": "warning",
        "class sizes": "warning",
        "duplicated samples": "fine",
        "constant features": "fine",
        "missing values": "fine",
    }


def test_ten_thousand_features_are_quick() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(8, 1, (10_000, 300)).astype(np.float32)
    values[rng.random(values.shape, dtype=np.float32) < 0.1] = np.nan
    ids = tuple(f"s{i}" for i in range(300))
    empty = pd.DataFrame(index=list(ids))
    targets = pd.DataFrame({"sick": np.array(["no", "yes"])[np.arange(300) % 2]}, index=list(ids))
    samples = Samples(values, tuple(f"g{i}" for i in range(10_000)), ids, targets, empty, empty)
    start = time.process_time()
    data_checks(samples, "sick", splits=folds(samples))
    assert time.process_time() - start < 15


@pytest.mark.data
def test_proteins_are_missing_by_diagnosis(real: Callable[[str], Path]) -> None:
    samples = read_samples(
        real("expression/binn_sample_datamatrix.csv.gz"),
        labels=real("expression/binn_sample_design_matrix.tsv"),
        targets=["group"],
    )
    splits = k_fold(samples.ids, k=5, seed=1, stratify=samples.targets["group"])
    found = named(data_checks(samples, "group", splits=splits))
    assert found["missing values predict the target"].state == "warning"
    assert found["missing values predict the target"].figures["AUC"] == pytest.approx(0.985, abs=0.012)
    assert found["training and test parts differ"].state == "fine"
    assert found["duplicated samples"].state == "fine"


@pytest.mark.data
def test_blood_cells_are_scaled_over_all_cells(real: Callable[[str], Path]) -> None:
    pytest.importorskip("anndata")
    path = real("singlecell/10x_pbmc68k_reduced.h5ad")
    scaled, raw = (read_samples(path, targets=["bulk_labels"], layer=layer) for layer in ("X", "raw"))
    assert named(data_checks(scaled, "bulk_labels"))["already scaled values"].state == "note"
    found = named(data_checks(raw, "bulk_labels"))
    assert found["already scaled values"].state == "fine"
    assert found["class sizes"].state == "note"
    enough = limit_classes(raw, "bulk_labels", least=20, rule="drop")
    split = hold_out(enough.ids, seed=1, stratify=enough.targets["bulk_labels"])
    found = named(data_checks(enough, "bulk_labels", splits=[split]))
    assert found["class sizes"].state == "fine"
    assert found["training and test parts differ"].state == "fine"


def test_a_covariate_that_defines_the_target_is_a_warning() -> None:
    samples = cohort()
    told = pd.DataFrame({"again": sick(samples).astype(float)}, index=list(samples.ids))
    twice = Samples(samples.values, samples.features, samples.ids, samples.targets, told, samples.groups)
    check = named(data_checks(twice, "sick"))["covariates predict the target"]
    assert check.state == "warning"
    assert "may define the target" in check.text

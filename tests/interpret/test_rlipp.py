"""RLIPP against ridge regressions solved one sample left out at a time, on the dense twin, and on planted truth."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch

from tests.planted import cohort, folds, wiring
from vnn.data import Samples, Split, k_fold
from vnn.interpret.rlipp import ONE_UNIT, PENALTIES, SAME_RANKING, rlipp
from vnn.models import Recipe
from vnn.ontology import Topology
from vnn.training import Fit, Training, fit


@cache
def trained(target: str = "phenotype", epochs: int = 5) -> Fit:
    return fit(
        wiring(), cohort(), target=target, splits=folds(), n_seeds=2, recipe=Recipe(units={"set 1": 2, "root": 3}),
        training=Training(start="random", epochs=epochs, dtype="float64"),
    )  # fmt: skip


def slow_ridge(learn: np.ndarray, wanted: np.ndarray, test: np.ndarray) -> np.ndarray:
    """The penalty with the smallest sum of squared errors when every sample is left out once, by solving that often."""
    centre, spread = learn.mean(0), learn.std(0)
    learn, test = (learn - centre) / spread, (test - centre) / spread

    def solved(x: np.ndarray, y: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray, float]:
        mean, level = x.mean(0), y.mean()
        c = x - mean
        return np.linalg.solve(c.T @ c + penalty * np.eye(x.shape[1]), c.T @ (y - level)), mean, level

    errors = []
    for penalty in PENALTIES * len(learn):
        total = 0.0
        for i in range(len(learn)):
            kept = np.arange(len(learn)) != i
            coefficients, mean, level = solved(learn[kept], wanted[kept], penalty)
            total += (wanted[i] - level - (learn[i] - mean) @ coefficients) ** 2
        errors.append(total)
    coefficients, mean, level = solved(learn, wanted, PENALTIES[int(np.argmin(errors))] * len(learn))
    return level + (test - mean) @ coefficients


def pairs_won(truth: np.ndarray, values: np.ndarray) -> float:
    case, control = values[truth == 1][:, None], values[truth == 0]
    return float(((case > control) + 0.5 * (case == control)).mean())


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(pd.Series(a).rank(), pd.Series(b).rank())[0, 1])


@pytest.mark.parametrize("target", ["phenotype", "quantity"])
@pytest.mark.parametrize("node", ["set 1", "root"])
def test_powers_are_those_of_slow_regressions_on_the_dense_twin(target: str, node: str) -> None:
    made = trained(target)
    row = rlipp(made, cohort()).set_index("node").loc[node]
    level = {"set 1": "level 1", "root": "level 3"}[node]
    label, other = [], []
    for split in made.splits:
        ids = [*split.train, *split.validation, *split.test]
        n = len(ids) - len(split.test)
        y = cohort().targets[target].loc[ids].to_numpy()
        y = y.astype(float) if target == "quantity" else (y == made.target.classes[1]).astype(float)
        x = torch.from_numpy(np.array(cohort().select(wiring().inputs, ids).values.T)).double()
        seeds = []
        for r in np.flatnonzero(made.replicates["split"] == split.name):
            dense = made.networks.dense(int(r)).eval()
            with torch.no_grad():
                held = {name: v.numpy() for name, v in dense.activities(x).items()}
                logit = dense(x)[:, 0].numpy()
            own = held["level 3"] if node == "root" else held[level][:, 1:3]
            if node == "root":
                below = np.concatenate([held["level 2"], held["level 1"][:, :1]], axis=1)
            else:
                below = held["inputs"][:, [wiring().inputs.index(g) for g in members("set 1")]]
            powers = []
            for design in (own, below):
                fitted = slow_ridge(design[:n], y[:n], design[n:])
                power = rank_correlation(fitted, y[n:]) if target == "quantity" else pairs_won(y[n:], fitted) - 0.5
                powers.append((power, rank_correlation(slow_ridge(design[:n], logit[:n], design[n:]), logit[n:])))
            seeds.append(powers)
        mean = np.mean(seeds, axis=0)
        label.append(mean[:, 0])
        other.append(mean[:, 1])
    for what, found in (("label", np.array(label)), ("prediction", np.array(other))):
        assert row[f"{what}_power"] == pytest.approx(found[:, 0].mean(), abs=1e-6)
        assert row[f"{what}_children"] == pytest.approx(found[:, 1].mean(), abs=1e-6)
        gains = found[:, 0] - found[:, 1]
        half = 4.302652729911275 * np.sqrt((1 / 3 + 0.5) * gains.var(ddof=1))
        assert row[f"{what}_gain"] == pytest.approx(gains.mean(), abs=1e-6)
        assert row[f"{what}_low"] == pytest.approx(gains.mean() - half, abs=1e-5)
    assert row["n_children"] == (3 if node == "root" else 12)
    assert row["n_units"] == (3 if node == "root" else 2)


def members(name: str) -> list[str]:
    edges = wiring().to_edges()
    return edges[(edges["target"] == name) & (edges["source_level"] == "inputs")]["source"].tolist()


@cache
def chain() -> Topology:
    """A pair of genes whose product decides, in one of three sets; an only child of one unit; a parent of three."""
    genes = [f"g{i}" for i in range(10)]
    sets = {f"set {i}": genes[3 * i : 3 * i + 4] for i in range(3)}
    edges = [("inputs", g, "level 1", name) for name, own in sets.items() for g in own]
    edges += [("level 1", "set 2", "level 2", "only"), ("level 2", "only", "level 3", "root")]
    edges += [("level 1", name, "level 3", "root") for name in ("set 0", "set 1")]
    levels = {"inputs": genes, "level 1": list(sets), "level 2": ["only"], "level 3": ["root"]}
    return Topology.from_edges(
        levels, pd.DataFrame(edges, columns=["source_level", "source", "target_level", "target"])
    )


@cache
def product_cohort(strength: float = 4.0, n: int = 600, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((10, n)).astype(np.float32)
    case = rng.random(n) < 1 / (1 + np.exp(-strength * x[1] * x[3]))
    ids = tuple(f"s{i:04}" for i in range(n))
    empty = pd.DataFrame(index=list(ids))
    targets = pd.DataFrame({"y": np.where(case, "case", "control")}, index=list(ids))
    return Samples(x, chain().inputs, ids, targets, empty, empty)


@cache
def learnt(strength: float = 4.0, units: int = 6) -> Fit:
    samples = product_cohort(strength)
    return fit(
        chain(), samples, target="y", classes=("control", "case"), n_seeds=1,
        splits=k_fold(samples.ids, k=3, validation=0.25, seed=0, stratify=samples.targets["y"]),
        recipe=Recipe(units={f"set {i}": units for i in range(3)}, dropout=0, input_dropout=0),
        training=Training(epochs=60, lr=0.02, weight_decay=0.1, patience=30),
    )  # fmt: skip


def test_a_set_that_combines_its_genes_gains_and_the_others_do_not() -> None:
    table = rlipp(learnt(), product_cohort()).set_index("node")
    assert table["label_gain"].idxmax() == "set 0"
    assert table.loc["set 0", "label_gain"] > 0.2
    assert table.loc["set 0", "label_low"] > 0
    assert (table.loc[["set 1", "set 2"], "label_low"] < 0).all()
    assert np.isnan(table.loc["set 0", "label_rlipp"]), "the children alone predict nothing, so there is no ratio"
    assert table.loc["set 0", "prediction_power"] > table.loc["set 1", "prediction_power"]


def test_one_unit_over_one_child_is_not_defined_and_one_unit_over_several_says_so() -> None:
    table = rlipp(learnt(units=1), product_cohort()).set_index("node")
    only = table.loc["only"]
    assert only["note"] == SAME_RANKING
    assert only["n_splits"] == 0
    assert only[[c for c in table.columns if c.startswith(("label_", "prediction_"))]].isna().all()
    assert table.loc["root", "note"] == ONE_UNIT
    several = rlipp(learnt(), product_cohort()).set_index("node")
    assert several.loc["only", "note"] == ONE_UNIT, "its only child has six units"
    assert several.loc["set 0", "note"] == ""


def test_labels_without_a_signal_are_not_predicted_although_networks_learnt_them() -> None:
    table = rlipp(learnt(strength=0.0), product_cohort(0.0))
    assert table["label_power"].abs().max() < 0.12
    assert table["prediction_power"].max() > 0.5, "the networks' own predictions are"


def test_parts_to_learn_from_and_levels() -> None:
    made = trained()
    both = rlipp(made, cohort(), levels=["level 2"])
    assert set(both["level"]) == {"level 2"}
    validation = rlipp(made, cohort(), levels=["level 2"], learn="validation")
    training = rlipp(made, cohort(), levels=["level 2"], learn="training")
    assert not np.allclose(both["label_power"].sort_values(), validation["label_power"].sort_values())
    assert not np.allclose(both["label_children"].sort_values(), training["label_children"].sort_values())
    assert both.attrs == {"label": "AUC - 0.5", "prediction": "Spearman's correlation"}


def test_the_power_is_the_mean_of_what_single_splits_give() -> None:
    made = trained()
    whole = rlipp(made, cohort(), levels=["level 3"])
    one = [rlipp(part_of(made, i), cohort(), levels=["level 3"])["label_power"].item() for i in range(3)]
    assert whole["label_power"].item() == pytest.approx(np.mean(one), abs=1e-9)


def part_of(made: Fit, i: int) -> Fit:
    from dataclasses import replace

    at = np.flatnonzero(made.replicates["split"] == made.splits[i].name)
    return replace(
        made, networks=made.networks.replicates(at.tolist()), replicates=made.replicates.iloc[at].reset_index(drop=True),
        splits=made.splits[i : i + 1], temperatures=(),
    )  # fmt: skip


def test_order_of_samples_and_features_changes_nothing() -> None:
    shuffled = cohort().select(tuple(reversed(cohort().features)), tuple(reversed(cohort().ids)))
    pd.testing.assert_frame_equal(rlipp(trained(), cohort()), rlipp(trained(), shuffled))


def test_several_classes_and_one_split() -> None:
    made = fit(
        wiring(), cohort(), target="thirds", splits=folds()[:1], recipe=Recipe(units=2), training=Training(epochs=5)
    )
    table = rlipp(made, cohort())
    assert table.attrs["label"] == "macro AUC - 0.5"
    assert table["label_low"].isna().all()
    assert table["label_power"].between(-0.5, 0.5).all()


def test_survival_is_measured_by_concordance() -> None:
    rng = np.random.default_rng(2)
    factor = (cohort().targets["quantity"].to_numpy() - 10) / 3
    times = rng.exponential(np.exp(-2 * factor)) + 0.01
    targets = pd.DataFrame({"time": times, "event": rng.random(len(times)) < 0.8}, index=list(cohort().ids))
    samples = Samples(cohort().values, cohort().features, cohort().ids, targets, cohort().covariates, cohort().groups)
    longer = Training(epochs=30, lr=1e-2)
    made = fit(wiring(), samples, target="time", event="event", splits=folds(), recipe=Recipe(units=2), training=longer)
    table = rlipp(made, samples).set_index("node")
    assert table.loc["set 3", "label_children"] > 0.1
    assert rlipp(made, samples).attrs["label"] == "C-index - 0.5"


def test_what_cannot_be_asked_is_refused() -> None:
    with pytest.raises(ValueError, match="these are others"):
        rlipp(trained(), cohort().select(ids=cohort().ids[:50]))
    with pytest.raises(ValueError, match="the level is 'level 9'"):
        rlipp(trained(), cohort(), levels=["level 9"])
    with pytest.raises(ValueError, match="`learn` is 'test'"):
        rlipp(trained(), cohort(), learn="test")
    ids = cohort().ids
    everyone, short = Split("all", tuple(sorted(ids)), (), ()), Training(epochs=1)
    without = fit(wiring(), cohort(), target="phenotype", splits=[everyone], training=short)
    with pytest.raises(ValueError, match="no split has a test part"):
        rlipp(without, cohort())
    rewired = fit(wiring(), cohort(), target="phenotype", splits=folds(), kind="rewired", draws=[0], training=short)
    with pytest.raises(ValueError, match="wired each in its own way"):
        rlipp(rewired, cohort())

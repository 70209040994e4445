"""Performance in long form, and what the visible network gains over each model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit
from sklearn.metrics import brier_score_loss

from tests.planted import cohort, folds, wiring
from vnn.data import Split, k_fold
from vnn.training import Training, fit
from vnn.training.evaluation import calibration, comparison, performance
from vnn.training.metrics import METRICS, metrics

SHORT = Training(epochs=5, batch_size=32)


def table(network: list[float], *others: list[float]) -> pd.DataFrame:
    """AUCs of a network and others per split, with a second metric."""
    rows = [
        {"split": f"fold {j}", "n_test": 20, "model": name, "metric": metric, "value": value}
        for name, values in zip(("visible network", "a", "b"), (network, *others), strict=False)
        for metric in ("AUC", "Brier score")
        for j, value in enumerate(values)
    ]
    made = pd.DataFrame(rows)
    made.attrs = {"headline": "AUC", "network": "visible network", "ratio": 0.25, "notes": {}}
    return made


@pytest.mark.parametrize(("target", "name"), [("phenotype", "logistic regression"), ("quantity", "ridge regression")])
def test_performance_per_split_on_the_test_part(target: str, name: str) -> None:
    made = fit(wiring(), cohort(), target=target, splits=folds(), n_seeds=2, training=SHORT)
    found = performance(made, cohort(), baselines=[name])
    known = METRICS[made.target.task]
    assert list(found.columns) == ["split", "n_test", "model", "metric", "value"]
    assert found["split"].tolist() == [split.name for _ in range(2) for split in folds() for _ in known]
    assert found["model"].unique().tolist() == ["visible network", name]
    assert (found.attrs["headline"], found.attrs["network"]) == (known[0], "visible network")
    assert np.isclose(found.attrs["ratio"], 0.5)
    assert found.attrs["repeats"] == 1
    prediction = made.predict(cohort()).values
    truth = dict(zip(made.ids, made.target.values, strict=True))
    split = folds()[1]
    rows = cohort().index(split.test)
    wanted = np.array([truth[i] for i in split.test])
    mine = found[(found["split"] == split.name) & (found["model"] == "visible network")].set_index("metric")["value"]
    seeds = [metrics(made.target.task, wanted, prediction[rows, r]) for r in (2, 3)]
    for metric in known:
        assert np.isclose(mine[metric], np.mean([seed[metric] for seed in seeds]))


def test_without_baselines_there_is_the_network_alone() -> None:
    made = fit(wiring(), cohort(), target="phenotype", splits=folds()[:1], training=SHORT)
    found = performance(made, cohort(), baselines=())
    assert found["model"].unique().tolist() == ["visible network"]
    assert comparison(found)["gain"].isna().all()


def test_a_fit_that_held_nobody_out_is_told() -> None:
    everyone = Split("all", cohort().ids, (), ())
    made = fit(wiring(), cohort(), target="phenotype", splits=(everyone,), training=SHORT)
    with pytest.raises(ValueError, match="none of the 1 splits has a test part"):
        performance(made, cohort())


def test_the_gain_is_the_mean_difference_with_its_corrected_interval() -> None:
    network, one, other = [0.8, 0.9, 0.7], [0.7, 0.7, 0.7], [0.9, np.nan, 0.8]
    found = comparison(table(network, one, other))
    assert list(found.columns) == [
        "model", "metric", "mean", "sd", "n_splits", "gain", "low", "high", "p", "p_holm", "verdict", "note",
    ]  # fmt: skip
    auc = found[found["metric"] == "AUC"].set_index("model")
    assert np.isclose(auc.loc["visible network", "mean"], 0.8)
    assert np.isclose(auc.loc["visible network", "sd"], 0.1)
    assert auc["n_splits"].tolist() == [3, 3, 2]
    spread = np.sqrt((1 / 3 + 0.25) * np.var([0.1, 0.2, 0.0], ddof=1))
    low, high = stats.t.interval(0.95, 2, 0.1, spread)
    assert np.allclose(auc.loc["a", ["gain", "low", "high"]].astype(float), [0.1, low, high])
    assert np.isclose(auc.loc["b", "gain"], -0.1), "only splits both have a value for"
    p = [2 * stats.t.sf(0.1 / spread, 2), 2 * stats.t.sf(0.1 / 1e-9, 1)]
    assert np.isclose(auc.loc["a", "p"], p[0])
    assert np.isnan(auc.loc["b", "p"]), "both differences are -0.1"
    assert np.isclose(auc.loc["a", "p_holm"], min(2 * p[0], 1)), "a comparison without a p counts too"
    assert auc["verdict"].tolist() == ["", "not shown", "not resolvable"]
    assert "the same in all 2 splits" in auc.loc["b", "note"]
    assert auc.loc["visible network", ["gain", "low", "high", "p", "p_holm"]].isna().all()
    assert found[found["metric"] == "Brier score"][["gain", "p", "p_holm"]].isna().all(axis=None)
    low_of_all = stats.t.interval(0.95, 2, 0.8, np.sqrt((1 / 3 + 0.25) * np.var(network, ddof=1)))[0]
    assert found.attrs == table(network, one, other).attrs | {"chance": 0.5, "above_chance": bool(low_of_all > 0.5)}
    wider = comparison(table(network, one, other), 1.0).set_index(["model", "metric"])
    assert wider.loc[("a", "AUC"), "high"] > high


def test_p_are_adjusted_by_holm_over_all_models() -> None:
    network = np.array([0.8, 0.9, 0.85, 0.88, 0.79])
    one, other = network - [0.1, 0.12, 0.1, 0.09, 0.11], network - [0.03, -0.02, 0.05, 0.0, 0.04]
    found = comparison(table(network.tolist(), other.tolist(), one.tolist()))
    auc = found[found["metric"] == "AUC"].set_index("model")

    def by_hand(d: np.ndarray) -> float:
        return float(2 * stats.t.sf(d.mean() / np.sqrt((1 / 5 + 0.25) * d.var(ddof=1)), 4))

    small, large = by_hand(network - one), by_hand(network - other)
    assert np.allclose(auc.loc[["b", "a"], "p"].astype(float), [small, large])
    assert np.allclose(auc.loc[["b", "a"], "p_holm"].astype(float), [2 * small, max(large, 2 * small)])
    assert auc.loc[["b", "a"], "verdict"].tolist() == ["better", "not shown"]


def test_repeats_of_the_same_folds_count_once() -> None:
    rng = np.random.default_rng(0)
    network, other = 0.8 + 0.05 * rng.standard_normal(20), 0.75 + 0.05 * rng.standard_normal(20)
    once = table(network.tolist(), other.tolist())
    repeated = once.copy()
    repeated.attrs = once.attrs | {"repeats": 4}
    (each,), (together,) = (
        comparison(t).query("metric == 'AUC' and model == 'a'").to_dict("records") for t in (once, repeated)
    )
    d = network - other
    scale = np.sqrt((1 / 5 + 0.25) * d.var(ddof=1))
    assert np.isclose(together["p"], 2 * stats.t.sf(abs(d.mean()) / scale, 4))
    assert np.allclose([together["low"], together["high"]], stats.t.interval(0.95, 4, d.mean(), scale))
    assert together["gain"] == each["gain"]
    assert together["p"] > 1.5 * each["p"]
    weak = table((network - 0.27).tolist())
    low = stats.t.interval(0.95, 4, (network - 0.27).mean(), np.sqrt((1 / 5 + 0.25) * network.var(ddof=1)))[0]
    weak.attrs |= {"repeats": 4}
    assert comparison(weak).attrs["above_chance"] == (low > 0.5)


def test_performance_counts_the_repeats_of_its_splits() -> None:
    splits = k_fold(cohort().ids, k=2, repeats=3, seed=0, stratify=cohort().targets["phenotype"])
    made = fit(wiring(), cohort(), target="phenotype", splits=splits, training=Training(epochs=1))
    found = performance(made, cohort(), baselines=["pathway means"])
    assert found.attrs["repeats"] == 3
    rows = comparison(found).set_index(["model", "metric"])
    values = found[found["metric"] == "AUC"].pivot(index="split", columns="model", values="value")
    d = values["visible network"] - values["pathway means"]
    p = 2 * stats.t.sf(abs(d.mean()) / np.sqrt((1 / 2 + 1) * d.var()), 1)
    assert np.isclose(rows.loc[("pathway means", "AUC"), "p"], p)


def test_what_has_no_score_has_no_p() -> None:
    gap = float("nan")
    for network, other in (([gap] * 3, [gap] * 3), ([gap] * 3, [0.5, 0.6, 0.7]), ([0.5, 0.6, 0.8], [gap] * 3)):
        found = comparison(table(network, other))
        assert found[["gain", "low", "high", "p", "p_holm"]].isna().all(axis=None)
    short = table([0.8, 0.9, 0.7], [0.7, 0.8, 0.75])
    short = short[~((short["model"] == "visible network") & (short["split"] == "fold 1"))]
    short.attrs = table([0.8]).attrs
    row = comparison(short).query("model == 'a' and metric == 'AUC'").iloc[0]
    assert np.isclose(row["gain"], np.mean([0.1, -0.05]))
    assert row["note"] == "compared on 2 of 3 splits"


def test_calibration_is_of_held_out_people_before_and_after() -> None:
    samples, splits = cohort(300), k_fold(cohort(300).ids, k=3, validation=0.25, seed=0)[:2]
    made = fit(
        wiring(), samples, target="phenotype", splits=splits, n_seeds=2, training=Training(epochs=12, batch_size=32)
    )
    found = calibration(made, samples)
    assert found is not None
    logits = made.predict(samples).logits[:, :, 0]
    t = np.array([one.value for one in made.temperatures])
    assert (t != 1).all()
    happened = (samples.targets["phenotype"] == made.target.classes[1]).to_numpy()
    for name, scale in (("as trained", np.ones(4)), ("calibrated", t)):
        p, y = [], []
        for number, split in enumerate(splits):
            rows, own = samples.index(split.test), [2 * number, 2 * number + 1]
            p += expit(logits[np.ix_(rows, own)] / scale[own]).mean(1).tolist()
            y += happened[rows].tolist()
        row = found.table.set_index("stage").loc[name]
        assert np.isclose(row["brier"], brier_score_loss(y, p))
        curve = found.curve[found.curve["stage"] == name]
        assert np.isclose((curve["n"] * (curve["observed"] - curve["predicted"]).abs()).sum() / 200, row["error"])
        assert row["n_samples"] == curve["n"].sum() == 200
    assert found.after.brier < found.before.brier, "networks stopped this early are too timid"
    assert "validation samples" in found.table.attrs["words"]
    temperatures = found.temperature_table(made.replicates["id"].tolist())
    assert temperatures["value"].tolist() == t.tolist()
    assert temperatures.columns.tolist() == ["replicate", "value", "n_samples", "before", "after", "reason"]


def test_quantities_and_people_nobody_held_out_have_no_calibration() -> None:
    quantity = fit(wiring(), cohort(), target="quantity", splits=folds(), training=SHORT)
    assert calibration(quantity, cohort()) is None
    everyone = Split("all", cohort().ids[20:], cohort().ids[:20], ())
    assert (
        calibration(fit(wiring(), cohort(), target="phenotype", splits=(everyone,), training=SHORT), cohort()) is None
    )

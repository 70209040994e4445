"""Performance in long form, and what the visible network gains over each model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.planted import cohort, folds, wiring
from vnn.data import Split
from vnn.training import Training, fit
from vnn.training.evaluation import comparison, performance
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
    assert list(found.columns) == ["model", "metric", "mean", "sd", "n_splits", "gain", "low", "high"]
    auc = found[found["metric"] == "AUC"].set_index("model")
    assert np.isclose(auc.loc["visible network", "mean"], 0.8)
    assert np.isclose(auc.loc["visible network", "sd"], 0.1)
    assert auc["n_splits"].tolist() == [3, 3, 2]
    spread = np.sqrt((1 / 3 + 0.25) * np.var([0.1, 0.2, 0.0], ddof=1))
    low, high = stats.t.interval(0.95, 2, 0.1, spread)
    assert np.allclose(auc.loc["a", ["gain", "low", "high"]].astype(float), [0.1, low, high])
    assert np.isclose(auc.loc["b", "gain"], -0.1), "only splits both have a value for"
    assert auc.loc["visible network", ["gain", "low", "high"]].isna().all()
    assert found[found["metric"] == "Brier score"]["gain"].isna().all()
    low_of_all = stats.t.interval(0.95, 2, 0.8, np.sqrt((1 / 3 + 0.25) * np.var(network, ddof=1)))[0]
    assert found.attrs == table(network, one, other).attrs | {"chance": 0.5, "above_chance": bool(low_of_all > 0.5)}
    wider = comparison(table(network, one, other), 1.0).set_index(["model", "metric"])
    assert wider.loc[("a", "AUC"), "high"] > high

"""One sample: sums that are exact, percentiles by loops, only networks that never saw it, and nothing shown that must not be."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.planted import CAUSAL, cohort, folds, wiring
from vnn._errors import AlignmentError
from vnn.data import Samples
from vnn.interpret import attributions
from vnn.interpret.one_sample import PSEUDONYM, OneSample, one_sample, shown
from vnn.models import Recipe
from vnn.training import Fit, Training, fit

SHORT = Training(start="random", epochs=8, batch_size=32, lr=1e-2)


@cache
def trained(target: str = "phenotype", linear: bool = False) -> Fit:
    recipe = Recipe(activation="linear", normalisation="none", heads="outputs") if linear else Recipe()
    return fit(wiring(), cohort(), target=target, splits=folds(), training=SHORT, n_seeds=2, recipe=recipe)


@cache
def explained(target: str = "phenotype", sample: str = "sample-0004") -> OneSample:
    return one_sample(trained(target), cohort(), sample)


@settings(deadline=None, max_examples=10)
@given(
    at=st.integers(0, 119), level=st.sampled_from([level.name for level in wiring().levels]), most=st.integers(1, 60)
)
def test_the_steps_lead_from_the_baseline_to_the_prediction(at: int, level: str, most: int) -> None:
    found = explained(sample=cohort().ids[at])
    steps = found.steps(level, most=most)
    ends = [found.start, *(step.start + step.value for step in steps)]
    assert np.allclose([step.start for step in steps], ends[:-1])
    assert np.isclose(ends[-1], found.end, atol=1e-5)
    own = [abs(step.value) for step in steps if step.node]
    assert own == sorted(own, reverse=True)
    assert len(own) <= most


def test_only_networks_that_never_saw_the_sample_count() -> None:
    made, found = trained(), explained()
    split = next(split.name for split in folds() if found.sample in split.test)
    mine = (made.replicates["split"] == split).to_numpy()
    assert (found.n_networks, found.n_all) == (2, 6)
    one = cohort().select(ids=[found.sample])
    logits = made.predict(one).logits[0, mine, 0]
    sign = 1 if found.contrast.startswith(made.target.classes[1]) else -1
    assert np.isclose(found.end, sign * logits.mean())
    table = attributions(made, one, background=cohort()).levels["level 1"][0, mine]
    rows = (
        found.nodes[found.nodes["level"] == "level 1"].set_index("node").loc[list(made.networks.own_nodes("level 1"))]
    )
    assert np.allclose(rows["contribution"], table.mean(0), atol=1e-6)
    low, high = stats.t.interval(0.95, 1, loc=table.mean(0), scale=table.std(0, ddof=1) / np.sqrt(2))
    assert np.allclose(rows[["low", "high"]], np.stack([low, high], axis=1), atol=1e-5)
    assert np.allclose(rows["agreement"], [(np.sign(c) == np.sign(c.mean())).mean() for c in table.T])


def test_a_linear_network_gives_weight_times_value_minus_mean() -> None:
    made = trained(linear=True)
    found = one_sample(made, cohort(), "sample-0009")
    split = next(s for s in folds() if "sample-0009" in s.test)
    values = cohort().select(wiring().inputs)
    mean = values.values[:, values.index(split.train)].astype(float).mean(1)
    moved = values.values[:, values.index(["sample-0009"])[0]] - mean
    base = values.select(ids=["sample-0009"])

    def logit(column: np.ndarray) -> float:
        raw = column.astype(np.float32)[:, None]
        one = Samples(raw, base.features, ("x",), *(pd.DataFrame(index=["x"]) for _ in range(3)))
        mine = (made.replicates["split"] == split.name).to_numpy()
        return float(made.predict(one).logits[0, mine, 0].mean())

    at = found.nodes[found.nodes["level"] == "inputs"].set_index("node")["contribution"]
    for i in (0, 13, 41):
        other = mean.copy()
        other[i] += 100 * moved[i]
        assert np.isclose((logit(other) - logit(mean)) / 100, at[wiring().inputs[i]], rtol=1e-2, atol=1e-4)


def test_percentiles_are_among_the_training_samples_of_each_network() -> None:
    made, found = trained(), explained()
    split = next(s for s in folds() if found.sample in s.test)
    read = made.read(cohort())["level 1"]
    at, rows = cohort().index([found.sample])[0], cohort().index(split.train)
    mine = np.flatnonzero(made.replicates["split"] == split.name)
    table = found.nodes.set_index(["level", "node"])
    for j, node in enumerate(made.nodes("level 1")):
        one = np.mean([stats.percentileofscore(read[rows, r, j], read[at, r, j], kind="mean") for r in mine])
        assert np.isclose(table.loc[("level 1", node), "percentile"], one)
        z = np.mean([(read[at, r, j] - read[rows, r, j].mean()) / read[rows, r, j].std() for r in mine])
        assert np.isclose(table.loc[("level 1", node), "activity"], z, atol=1e-3)
    values = cohort().values[cohort().features.index("g06")]
    one = stats.percentileofscore(values[rows], values[at], kind="mean")
    assert np.isclose(table.loc[("inputs", "g06"), "percentile"], one)


def test_a_new_person_is_explained_by_all_networks_and_what_is_missing_is_said() -> None:
    fresh = cohort(140, seed=9)
    ids = tuple(f"new {i}" for i in fresh.ids)
    tables = (table.set_axis(list(ids)) for table in (fresh.targets, fresh.covariates, fresh.groups))
    renamed = Samples(fresh.values, fresh.features, ids, *tables)
    few = renamed.select(renamed.features[2:])
    alone = one_sample(trained(), few, "new sample-0001")
    assert alone.n_networks == alone.n_all == 6
    assert alone.nodes["percentile"].isna().all()
    assert np.isnan(alone.distance)
    assert set(alone.nodes.loc[~alone.nodes["measured"], "node"]) == set(wiring().inputs) - set(few.features)
    among = one_sample(trained(), few, "new sample-0001", known=cohort())
    assert np.allclose(among.nodes["contribution"], alone.nodes["contribution"], atol=1e-5)
    assert among.nodes.loc[among.nodes["level"] == "level 1", "percentile"].between(0, 100).all()
    far = Samples(few.values * 3, few.features, few.ids, few.targets, few.covariates, few.groups)
    assert one_sample(trained(), far, "new sample-0001", known=cohort()).distance_percentile == 100
    assert 0 <= among.distance_percentile <= 100


@pytest.mark.parametrize("target", ["quantity", "thirds"])
def test_other_tasks(target: str) -> None:
    found = explained(target)
    if target == "thirds":
        assert set(found.prediction.index) == {"low", "middle", "high"}
        assert found.contrast == f"{found.prediction['mean'].idxmax()} minus the rest"
        assert found.prediction["mean"].sum() == pytest.approx(1)
        other = one_sample(trained(target), cohort(), found.sample, label="low")
        assert other.contrast == "low minus the rest"
        with pytest.raises(ValueError, match="Did you mean 'middle'"):
            one_sample(trained(target), cohort(), found.sample, label="midle")
    else:
        assert found.prediction.loc["quantity", "mean"] == pytest.approx(found.end, abs=1e-4)


def test_the_planted_set_moves_the_most_extreme_people_most() -> None:
    factor = cohort().targets["quantity"].astype(float).sort_values()
    ends = [*factor.index[:6], *factor.index[-6:]]
    top = [explained(sample=i).steps("level 1", most=1)[0].node for i in ends]
    assert sum(node == CAUSAL for node in top) >= 8


def test_json_holds_everything_and_no_numbers_that_json_lacks() -> None:
    text = json.dumps(explained().to_json(), allow_nan=False)
    assert json.loads(text)["nodes"][0]["level"] == "inputs"
    lone = one_sample(trained(), cohort().select(ids=["sample-0004"]), "sample-0004")
    assert json.loads(json.dumps(lone.to_json(), allow_nan=False))["distance"] is None


def test_names_are_shown_only_where_they_may_be() -> None:
    assert shown(explained(), "full").sample == "sample-0004"
    hidden = shown(explained(), "pseudonym")
    assert hidden.sample == PSEUDONYM
    assert "sample-0004" not in json.dumps(hidden.to_json())
    with pytest.raises(ValueError, match="no single person of the study may be shown"):
        shown(explained(), "none")
    with pytest.raises(ValueError, match="known are 'none', 'pseudonym', 'full'"):
        shown(explained(), "all")


def test_bad_input_is_told_in_words() -> None:
    with pytest.raises(AlignmentError, match="lacks 1 of the 1 samples"):
        one_sample(trained(), cohort(), "nobody")
    with pytest.raises(AlignmentError, match="`known` lacks 119 of the 120"):
        one_sample(trained(), cohort(), "sample-0004", known=cohort().select(ids=["sample-0001"]))
    with pytest.raises(ValueError, match="`most` is 0"):
        explained().steps("level 1", most=0)
    with pytest.raises(ValueError, match="the level is 'level 9'"):
        explained().steps("level 9")
    seen = fit(wiring(), cohort(), target="phenotype", splits=folds()[:1], training=SHORT)
    with pytest.raises(ValueError, match="all 1 networks learnt from"):
        one_sample(seen, cohort(), folds()[0].train[0])

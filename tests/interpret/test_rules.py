"""Rules against the samples they describe, counted by hand, and on planted truth."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from tests.planted import CAUSAL, cohort, folds, wiring
from vnn.data import Samples, Split
from vnn.interpret import activities
from vnn.interpret.rules import COVARIATES, MAJORITY, NETWORK, RULES, Condition, Rules, rules, simplified
from vnn.training import Fit, Training, fit


@cache
def trained(target: str = "phenotype") -> Fit:
    return fit(wiring(), cohort(), target=target, splits=folds(), n_seeds=2, training=Training(epochs=40, lr=1e-2))


@cache
def found(target: str = "phenotype", depth: int = 2) -> Rules:
    return rules(trained(target), cohort(), depth=depth)


conditions = st.builds(
    Condition, st.sampled_from(["a/x", "a/y", "b/z"]), st.sampled_from(["low", "high"]), st.sampled_from([-1.0, -0.5, 0.0, 0.5])
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(conditions, max_size=5), st.lists(st.floats(-2, 2), min_size=3, max_size=3))
def test_a_simplified_rule_holds_for_the_same_samples(given_: list[Condition], values: list[float]) -> None:
    at = dict(zip(["a/x", "a/y", "b/z"], values, strict=True))

    def holds(some: list[Condition] | tuple[Condition, ...]) -> bool:
        above = [(at[one.node] > one.threshold) == (one.side == "high") for one in some]
        return all(above)

    short = simplified(given_)
    assert holds(given_) == holds(short)
    assert len({(one.node, one.side) for one in short}) == len(short)
    assert simplified(short) == short


@pytest.mark.parametrize("target", ["phenotype", "thirds", "quantity"])
def test_every_sample_has_exactly_one_rule(target: str) -> None:
    for name, own in found(target).by_split.groupby("split"):
        split = next(one for one in folds() if one.name == name)
        assert own["n_test"].sum() == len(split.test)
        assert own["n_learnt"].sum() == len(split.train) + len(split.validation)
        assert own["support"].sum() == pytest.approx(1)


@pytest.mark.parametrize("target", ["phenotype", "quantity"])
def test_support_and_what_is_right_are_counted_on_the_test_part(target: str) -> None:
    one = replace_splits(trained(target), folds()[1])
    result = rules(one, cohort(), depth=2)
    z = by_hand(one, folds()[1])
    y = cohort().targets[target].loc[list(folds()[1].test)]
    rows = result.by_split.set_index("rule")
    assert len(rows) == len(result.table)
    for row in result.table.to_dict("records"):
        inside = np.ones(len(y), dtype=bool)
        for (node, side), cut in zip(row["conditions"], row["thresholds"], strict=True):
            inside &= (z[node] > cut) if side == "high" else (z[node] <= cut)
        right = (y == row["prediction"]) if target == "phenotype" else y.astype(float)
        assert row["support"] == pytest.approx(inside.mean())
        assert row["right"] == pytest.approx(right[inside].mean())
        assert row["otherwise"] == pytest.approx(right[~inside].mean())
        assert np.isnan(row["right_low"]), "one split has no interval over splits"
        assert rows.loc[row["rule"], "n_test"] == inside.sum()
        if target == "phenotype":
            k, n = int(right[inside].sum()), int(inside.sum())
            low = stats.beta.ppf(0.025, k, n - k + 1) if k else 0.0
            assert rows.loc[row["rule"], "low"] == pytest.approx(low)


def by_hand(made: Fit, split: Split) -> dict[str, np.ndarray]:
    """Activities of the test part in units of the training part, averaged over seeds, by level/node."""
    read = activities(made, cohort())
    test, train = cohort().index(split.test), cohort().index(split.train)
    values = {}
    for level, held in read.levels.items():
        for j, node in enumerate(read.nodes[level]):
            own = held[:, :, j].astype(float)
            mean, sd = own[train].mean(0), own[train].std(0)
            values[f"{level}/{node}"] = ((own - mean) / sd).mean(1)[test].astype(np.float32)
    return values


def replace_splits(made: Fit, split: Split) -> Fit:
    at = np.flatnonzero(made.replicates["split"] == split.name)
    readings = {
        level: replace(r, loading=r.loading[:, at], centre=r.centre[:, at], mean=r.mean[:, at], sd=r.sd[:, at])
        for level, r in made.readings.items()
    }
    return replace(
        made, networks=made.networks.replicates(at.tolist()), replicates=made.replicates.iloc[at].reset_index(drop=True),
        splits=(split,), readings=readings, temperatures=(),
    )  # fmt: skip


def test_the_planted_set_is_asked_first_and_other_splits_find_it_again() -> None:
    result, family = found(), {CAUSAL, "group 1"}
    first = result.nodes.set_index("node")["first"]
    assert first[first.index.isin(family)].sum() == pytest.approx(1), "the planted set or its parent"
    assert result.nodes["node"][0] in family
    assert result.agreement > result.agreement_by_chance
    assert result.table["n_splits"].is_monotonic_decreasing


def test_the_only_output_is_asked_on_request_alone() -> None:
    assert "root" not in set(found(depth=3).nodes["node"])
    assert set(rules(trained(), cohort(), levels=["level 3"], depth=1).nodes["node"]) == {"root"}


def test_performance_stands_beside_the_networks_and_the_majority() -> None:
    result = found()
    table = result.performance.set_index(["model", "metric"])["mean"]
    majority = []
    for split in folds():
        y = cohort().targets["phenotype"]
        commonest = y.loc[[*split.train, *split.validation]].mode()[0]
        majority.append((y.loc[list(split.test)] == commonest).mean())
    assert table[MAJORITY, "accuracy"] == pytest.approx(np.mean(majority))
    assert table[MAJORITY, "balanced accuracy"] == 0.5
    assert table[RULES, "accuracy"] > 0.65
    aucs = []
    prediction = trained().predict(cohort())
    for split in folds():
        at = cohort().index(split.test)
        y = (cohort().targets["phenotype"].loc[list(split.test)] == "control").to_numpy()
        own = [r for r, name in enumerate(prediction.splits) if name == split.name]
        aucs.append(np.mean([roc_auc_score(y, prediction.logits[at, r, 0]) for r in own]))
    assert table[NETWORK, "AUC"] == pytest.approx(np.mean(aucs))
    by_split = result.by_split
    right = [
        (own["right"].fillna(0) * own["n_test"]).sum() / own["n_test"].sum() for _, own in by_split.groupby("split")
    ]
    assert table[RULES, "accuracy"] == pytest.approx(np.mean(right)), "rules call what their leaves call"


def test_covariates_stand_beside_the_rules() -> None:
    made = cohort()
    age = pd.DataFrame({"age": np.linspace(0, 1, 120)}, index=list(made.ids))
    late = Samples(made.values, made.features, made.ids, made.targets, age, made.groups)
    result = rules(fit(wiring(), late, target="phenotype", splits=folds(), training=Training(epochs=3)), late, depth=1)
    assert set(result.performance["model"]) == {RULES, NETWORK, COVARIATES, MAJORITY}
    assert set(result.performance[result.performance["model"] == COVARIATES]["metric"]) == {"AUC", "balanced accuracy"}


def test_labels_without_a_signal_give_rules_no_better_than_chance() -> None:
    reached = []
    for seed in range(5):
        shuffled = np.random.default_rng(seed).permutation(cohort().targets["phenotype"].to_numpy())
        targets = cohort().targets.assign(phenotype=shuffled)
        samples = Samples(
            cohort().values, cohort().features, cohort().ids, targets, cohort().covariates, cohort().groups
        )
        made = fit(
            wiring(), samples, target="phenotype", splits=folds(), n_seeds=2, training=Training(epochs=40, lr=1e-2)
        )
        reached.append(rules(made, samples).performance.set_index(["model", "metric"]).loc[(RULES, "AUC"), "mean"])
    assert np.mean(reached) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_rules_are_as_short_as_asked(depth: int) -> None:
    result = found(depth=depth)
    assert result.table["n_conditions"].max() <= depth
    assert not result.by_split["text"].str.contains("nan").any()
    few = rules(trained(), cohort(), depth=depth, most_leaves=2, levels=["level 1"])
    assert set(few.nodes["level"]) == {"level 1"}
    assert (few.by_split.groupby("split").size() <= 2).all()


def test_survival_has_rules_of_risk() -> None:
    rng = np.random.default_rng(2)
    factor = (cohort().targets["quantity"].to_numpy() - 10) / 3
    times = rng.exponential(np.exp(-2 * factor)) + 0.01
    targets = pd.DataFrame({"time": times, "died": rng.random(len(times)) < 0.8}, index=list(cohort().ids))
    samples = Samples(cohort().values, cohort().features, cohort().ids, targets, cohort().covariates, cohort().groups)
    made = fit(wiring(), samples, target="time", event="died", splits=folds(), training=Training(epochs=30, lr=1e-2))
    result = rules(made, samples, depth=1)
    assert set(result.table["prediction"]) == {"low risk (died)", "high risk (died)"}
    table = result.performance.set_index(["model", "metric"])["mean"]
    assert table[RULES, "C-index"] > 0.6
    by = result.by_split.groupby("prediction")["right"].mean()
    assert by["high risk (died)"] > by["low risk (died)"]


def test_order_of_samples_and_features_changes_nothing() -> None:
    shuffled = cohort().select(tuple(reversed(cohort().features)), tuple(reversed(cohort().ids)))
    again = rules(trained(), shuffled, depth=2)
    pd.testing.assert_frame_equal(found().table, again.table)
    pd.testing.assert_frame_equal(found().performance, again.performance)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"depth": 4}, "1 to 3 conditions"),
        ({"depth": 0}, "1 to 3 conditions"),
        ({"smallest": 0.0}, "`smallest` is 0"),
        ({"most_leaves": 1}, "`most_leaves` is 1"),
        ({"levels": ["level 9"]}, "the level is 'level 9'"),
    ],
)
def test_what_cannot_be_asked_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        rules(trained(), cohort(), **options)


def test_other_samples_nulls_and_splits_without_a_test_part_are_refused() -> None:
    with pytest.raises(ValueError, match="these are others"):
        rules(trained(), cohort().select(ids=cohort().ids[:50]))
    short = Training(epochs=1)
    null = fit(wiring(), cohort(), target="phenotype", splits=folds(), kind="labels", draws=[0], training=short)
    with pytest.raises(ValueError, match="no oriented activities"):
        rules(null, cohort())
    everyone = Split("all", tuple(sorted(cohort().ids)), (), ())
    with pytest.raises(ValueError, match="no split with networks has a test part"):
        rules(fit(wiring(), cohort(), target="phenotype", splits=[everyone], training=short), cohort())

"""Node scores against the same sums taken slowly from the attributions of each network."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest

from tests.planted import CAUSAL, cohort, folds, wiring
from vnn.data import Samples, Split
from vnn.interpret import attributions, node_scores
from vnn.models import Recipe
from vnn.training import Fit, Training, fit


@cache
def trained(target: str, epochs: int = 3) -> Fit:
    return fit(wiring(), cohort(), target=target, splits=folds(), n_seeds=2, recipe=Recipe(units={"set 1": 2}),
               training=Training(epochs=epochs))  # fmt: skip


def slowly(target: str, label: str | None) -> pd.DataFrame:
    """Mean over splits of the mean over seeds of class differences (or slopes), from whole attributions."""
    made = trained(target)
    found = attributions(made, cohort(), label=label)
    wanted = cohort().targets[target]
    rows = []
    for level, values in found.levels.items():
        by_split, sizes = [], []
        for split in made.splits:
            ids = list(split.test)
            at = cohort().index(ids)
            y = wanted.loc[ids].to_numpy()
            seeds, seed_sizes = [], []
            for r in np.flatnonzero(made.replicates["split"] == split.name):
                a = values[at, r].astype(float)
                if target == "quantity":
                    seeds.append([np.polyfit(y.astype(float), column, 1)[0] for column in a.T])
                else:
                    seeds.append(a[y == label].mean(0) - a[y != label].mean(0))
                seed_sizes.append(np.abs(a).mean(0))
            by_split.append(np.mean(seeds, axis=0))
            sizes.append(np.mean(seed_sizes, axis=0))
        for node, score, size in zip(found.nodes[level], np.mean(by_split, 0), np.mean(sizes, 0), strict=True):
            rows.append((level, node, score, size))
    return pd.DataFrame(rows, columns=["level", "node", "score", "mean_abs"]).set_index(["level", "node"])


@pytest.mark.parametrize(("target", "label"), [("phenotype", "case"), ("thirds", "middle"), ("quantity", None)])
def test_scores_are_the_slow_sums(target: str, label: str | None) -> None:
    scores = node_scores(trained(target), cohort())
    name = {"case": "control minus case", "middle": "middle minus the rest", None: "correlation with quantity"}[label]
    mine = scores.table[scores.table["contrast"] == name].set_index(["level", "node"])
    expected = slowly(target, label)
    sign = -1 if label == "case" else 1
    if label == "case":
        expected["score"] *= -sign
    both = mine.join(expected, rsuffix="_slow")
    assert len(both) == len(expected)
    assert both["score"].to_numpy() == pytest.approx(both["score_slow"].to_numpy(), abs=1e-6)
    assert both["mean_abs"].to_numpy() == pytest.approx(both["mean_abs_slow"].to_numpy(), abs=1e-6)


def test_shares_of_a_level_sum_to_one_and_keep_the_sign() -> None:
    table = node_scores(trained("thirds"), cohort()).table
    for _, part in table.groupby(["contrast", "level"]):
        assert part["share"].abs().sum() == pytest.approx(1)
        assert part["mean_abs_share"].sum() == pytest.approx(1)
        assert (np.sign(part["share"]) == np.sign(part["score"])).all()
        assert part["share"].abs().is_monotonic_decreasing


def test_flows_in_and_out_of_a_node_are_its_score() -> None:
    scores = node_scores(trained("phenotype"), cohort())
    score = scores.table.set_index(["level", "node"])["score"]
    out = scores.flows.groupby(["source_level", "source"])["flow"].sum()
    into = scores.flows.groupby(["target_level", "target"])["flow"].sum().drop("prediction", level=0)
    assert out.to_numpy() == pytest.approx(score.loc[out.index].to_numpy(), abs=1e-6)
    assert into.to_numpy() == pytest.approx(score.loc[into.index].to_numpy(), abs=1e-6)
    assert len(into) == 8 + 2 + 1


def test_the_planted_set_leads_its_level() -> None:
    table = node_scores(trained("phenotype", epochs=40), cohort()).table
    assert table[table["level"] == "level 1"].iloc[0]["node"] == CAUSAL


def test_order_of_samples_and_features_changes_nothing() -> None:
    made = trained("phenotype")
    shuffled = cohort().select(tuple(reversed(cohort().features)), tuple(reversed(cohort().ids)))
    one, other = node_scores(made, cohort()), node_scores(made, shuffled)
    pd.testing.assert_frame_equal(one.table, other.table)


def test_other_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="these are others"):
        node_scores(trained("phenotype"), cohort().select(ids=cohort().ids[:50]))


def test_a_class_that_no_test_part_holds_has_no_scores_and_the_others_have() -> None:
    samples = cohort()
    middle = [i for i in samples.ids if samples.targets["thirds"][i] == "middle"]
    others = [i for i in samples.ids if i not in set(middle)]
    split = Split("one", tuple(middle + others[:30]), (), tuple(others[30:]))
    made = fit(wiring(), samples, target="thirds", splits=[split], training=Training(epochs=1))
    scores = node_scores(made, samples)
    by_contrast = scores.table.groupby("contrast")["score"]
    assert by_contrast.get_group("middle minus the rest").isna().all()
    assert by_contrast.get_group("high minus the rest").notna().all()
    assert set(scores.flows["contrast"]) == {"high minus the rest", "low minus the rest"}


def test_test_parts_of_one_class_each_are_an_error() -> None:
    samples = cohort()
    cases = [i for i in samples.ids if samples.targets["phenotype"][i] == "case"]
    controls = [i for i in samples.ids if i not in set(cases)]
    splits = [
        Split("a", tuple(cases[10:] + controls), (), tuple(cases[:10])),
        Split("b", tuple(cases + controls[10:]), (), tuple(controls[:10])),
    ]
    made = fit(wiring(), samples, target="phenotype", splits=splits, training=Training(epochs=1))
    with pytest.raises(ValueError, match="both sides of any contrast"):
        node_scores(made, samples)


def test_one_split_has_scores_without_an_interval() -> None:
    made = fit(wiring(), cohort(), target="phenotype", splits=folds()[:1], training=Training(epochs=1))
    table = node_scores(made, cohort()).table
    assert table["share_low"].isna().all()
    assert table["share"].notna().all()


def test_covariates_have_scores_and_flows() -> None:
    made = cohort()
    age = pd.DataFrame({"age": np.linspace(0, 1, 120)}, index=list(made.ids))
    late = Samples(made.values, made.features, made.ids, made.targets, age, made.groups)
    scores = node_scores(fit(wiring(), late, target="phenotype", splits=folds(), training=Training(epochs=2)), late)
    own = scores.table[scores.table["level"] == "covariates"]
    assert own["node"].tolist() == ["age"]
    flow = scores.flows[scores.flows["source_level"] == "covariates"]
    assert flow["target"].tolist() == ["prediction"]
    assert flow["flow"].item() == pytest.approx(own["score"].item())

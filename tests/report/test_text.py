"""The printed tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vnn.interpret.verdict import CHANCE, ROBUST, UNSTABLE, Thresholds, Verdict
from vnn.report import performance_text, ranking_text, verdict_text


def table(network: list[float], *others: list[float]) -> pd.DataFrame:
    """AUCs per split of a network and two other models."""
    names = ("visible network", "logistic regression", "boosted trees")
    made = pd.DataFrame(
        [
            {"split": f"fold {j}", "n_test": 5, "model": name, "metric": "AUC", "value": value}
            for name, values in zip(names, (network, *others), strict=False)
            for j, value in enumerate(values)
        ]
    )
    made.attrs = {"headline": "AUC", "network": names[0], "ratio": 0.25, "notes": {}}
    return made


def test_performance_is_mean_and_spread_of_all_and_the_gain_over_the_best() -> None:
    text = performance_text(table([0.8, 0.9, 0.85, 0.86], [0.7, 0.7, 0.7, 0.7], [0.72, 0.8, 0.75, 0.74]))
    assert text.splitlines() == [
        "Held-out AUC, mean over 4 splits (standard deviation):",
        "  visible network        0.853 (0.041)",
        "  logistic regression    0.700 (0.000), p = 0.014",
        "  boosted trees          0.752 (0.034), p = 0.0065",
        "  gain over the best baseline, boosted trees: +0.100, 95 % interval +0.063 to +0.137",
        "  The visible network beats it.",
        "  p: of the visible network against the model, adjusted for 2 comparisons after Holm.",
    ]


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ([0.7, 0.8, 0.9], "The visible network does not beat it: the interval reaches 0."),
        ([0.5, 0.52, 0.52], "The visible network does not beat it: it is worse."),
    ],
)
def test_a_network_that_gains_nothing_is_told(network: list[float], words: str) -> None:
    assert words in performance_text(table(network, [0.75, 0.76, 0.77])).splitlines()[-2]


def test_a_gain_that_holm_does_not_leave_is_told() -> None:
    network = [0.8, 0.83, 0.81, 0.84, 0.8]
    text = performance_text(table(network, [0.75, 0.8, 0.79, 0.79, 0.78], [0.7, 0.8, 0.74, 0.75, 0.78]))
    rivals = [np.subtract(network, other) for other in ([0.75, 0.8, 0.79, 0.79, 0.78], [0.7, 0.8, 0.74, 0.75, 0.78])]
    p = [2 * stats.t.sf(d.mean() / np.sqrt((1 / 5 + 0.25) * d.var(ddof=1)), 4) for d in rivals]
    assert p[0] < 0.05 < 2 * p[0], "or this tests nothing"
    assert f"is not shown to beat it: p, adjusted for all comparisons, is {2 * p[0]:.2g}." in text
    assert "The visible network beats it" not in text


def test_a_difference_without_spread_is_told() -> None:
    text = performance_text(table([0.5, 0.51, 0.52], [0.75, 0.76, 0.77]))
    assert text.endswith("-0.250; the difference is the same in all 3 splits, so its spread is unknown.")


def test_one_split_has_no_spread() -> None:
    text = performance_text(table([0.8], [0.7]))
    assert "nan" not in text
    assert text.endswith("logistic regression: +0.100; the visible network beats it on this one split.")
    assert performance_text(table([0.7], [0.8])).endswith("-0.100; the visible network does not beat it.")


def test_what_is_missing_and_what_else_is_to_know_is_said() -> None:
    some = table([0.8, 0.9], [0.7, float("nan")], [float("nan")] * 2)
    some.attrs["notes"] = {"dense network": "3 hidden nodes"}
    lines = performance_text(some).splitlines()
    assert "  logistic regression    0.700, 1 of 2 splits" in lines
    assert "  boosted trees          missing" in lines
    assert lines[-1] == "  dense network: 3 hidden nodes."
    alone = performance_text(table([0.8, 0.9]))
    assert "visible network        0.850 (0.071)" in alone
    assert alone.endswith("not shown to predict better than chance (0.5): read no finding into it.")


def test_ranking_lists_the_largest_with_interval_and_class() -> None:
    row = {
        "level": "level 1",
        "node": "R-1",
        "name": "Apoptosis",
        "n_inputs": 12,
        "contrast": "case minus control",
        "effect": -0.5,
        "low": -0.7,
        "high": -0.3,
    }
    effects = pd.DataFrame(
        [row, row | {"name": "A very long name of a pathway that must be cut short somewhere", "low": None}]
    )
    text = ranking_text(effects, most=2)
    assert "1 Apoptosis" in text
    assert "-0.50  -0.70 to -0.30    12 genes, level 1" in text
    assert "…" in text
    assert len(ranking_text(effects, most=1).splitlines()) == 2
    assert "(case minus control)" in text
    assert "B minus the rest" in ranking_text(effects.assign(contrast=["A minus the rest", "B minus the rest"]))


def judged(**changed: list[object]) -> Verdict:
    columns = {
        "name": ["Repair", "Repair of breaks", "Transport", "Mitosis", "Vision"], "level": ["level 1"] * 5,
        "verdict": [ROBUST, ROBUST, ROBUST, UNSTABLE, CHANCE], "score": [0.5, 0.4, 0.9, 0.3, 0.1],
        "q_labels": [0.05, 0.05, 0.01, 0.05, 0.6], "q_wiring": [0.04, 0.04, 0.04, 0.04, 0.5], "n_genes": [20, 1, 9, 7, 8],
        "group": [2, 2, 1, None, None], "leader": [True, False, True, False, False], "driven_by": ["", "Repair", "", "", ""],
        "decided_by": ["", "", "", "the same sign in 70% of half-samples", "q = 0.6 against permuted labels"],
    }  # fmt: skip
    return Verdict(pd.DataFrame(columns | changed), Thresholds(), {}, "rewired", ("propagation", "ablation"))


def test_the_verdict_counts_groups_and_names_who_leads_and_follows() -> None:
    assert verdict_text(judged()).splitlines() == [
        "Verdict: 3 robust in 2 groups, 1 unstable, 1 not beyond chance.",
        "Robust:",
        "   1 Transport: score 0.90, q 0.01 against permuted labels, 0.04 against rewired networks, 9 genes, level 1",
        "   2 Repair: score 0.50, q 0.05 against permuted labels, 0.04 against rewired networks, 20 genes, level 1",
        "     with Repair of breaks (driven by it)",
    ]
    assert verdict_text(judged(), most=1).count("score") == 1
    held = replace(judged(reached_wiring=[0.02] * 5), places=True)
    assert "q 0.01 against permuted labels, 0.02 of places reach it in rewired networks, 9 genes" in verdict_text(held)


def test_without_robust_nodes_the_verdict_says_what_stopped_the_largest() -> None:
    reasons = [f"reason {i}" for i in range(5)]
    assert verdict_text(judged(verdict=[CHANCE] * 5, decided_by=reasons)).splitlines() == [
        "Verdict: 5 not beyond chance.",
        "  Transport: not beyond chance (reason 2)",
        "  Repair: not beyond chance (reason 0)",
        "  Repair of breaks: not beyond chance (reason 1)",
    ]

"""The printed tables."""

from __future__ import annotations

import pandas as pd

from vnn.report import performance_text, ranking_text


def test_performance_is_mean_and_spread_of_both_and_their_difference() -> None:
    table = pd.DataFrame({"split": ["a", "b"], "n_test": [5, 5], "network": [0.8, 0.9], "baseline": [0.7, 0.7]})
    table.attrs |= {"metric": "AUC", "baseline": "logistic regression"}
    text = performance_text(table)
    assert "visible network        0.850 (0.071)" in text
    assert "logistic regression    0.700 (0.000)" in text
    assert "+0.150 (0.071)" in text


def test_one_split_has_no_spread() -> None:
    table = pd.DataFrame({"split": ["a"], "n_test": [5], "network": [0.8], "baseline": [0.7]})
    table.attrs |= {"metric": "AUC", "baseline": "logistic regression"}
    assert "nan" not in performance_text(table)


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

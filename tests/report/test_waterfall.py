"""The waterfall: bars that join, whiskers in sight, text that stays text."""

from __future__ import annotations

import json
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.contents import SCRIPT
from vnn.interpret.one_sample import OneSample
from vnn.report.waterfall import draw_waterfall, waterfall


def explanation(
    contributions: list[float], *, passing: float = 0.0, names: list[str] | None = None, wide: float = 0.1
) -> OneSample:
    values = np.array(contributions)
    order = np.argsort(-np.abs(values), kind="stable")
    nodes = [f"n{i}" for i in range(len(values))]
    pathways = pd.DataFrame(
        {
            "level": "level 1", "node": nodes, "name": names or nodes, "contribution": values, "low": values - wide,
            "high": values + wide, "agreement": 1.0, "activity": 0.0, "percentile": 50.0, "measured": True,
        }
    ).iloc[order]  # fmt: skip
    inputs = pathways.assign(level="inputs")
    prediction = pd.DataFrame({"mean": [0.3, 0.7], "sd": 0.05, "low": 0.2, "high": 0.8}, index=["control", "case"])
    end = float(values.sum()) + passing - 0.5
    return OneSample("P1", "case minus control", "the mean", prediction, -0.5, end, pd.concat([inputs, pathways]),
                     {"level 1": passing, "inputs": passing}, 4, 20, 1.0, 50.0)  # fmt: skip


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30), st.floats(-2, 2), st.integers(1, 12))
def test_bars_join_and_lead_from_the_baseline_to_the_prediction(values: list[float], passing: float, most: int) -> None:
    found = waterfall(explanation(values, passing=passing), most=most)
    assert found.bars[0].kind == found.bars[-1].kind == "end"
    assert found.bars[0].end == -0.5
    inner = found.bars[1:-1]
    for before, after in zip(found.bars, inner, strict=False):
        assert np.isclose(before.end, after.start)
    assert np.isclose(inner[-1].end, found.bars[-1].end, atol=1e-6)
    assert sum(bar.kind == "node" for bar in inner) == min(most, len(values))
    json.dumps(found.to_json(), allow_nan=False)


def test_levels_and_shared_words() -> None:
    names = ["HALLMARK_apoptosis", "HALLMARK_hypoxia"]
    found = waterfall(explanation([1.0, -2.0], names=names))
    assert [bar.label for bar in found.bars] == ["baseline", "hypoxia", "apoptosis", "prediction"]
    assert found.axis == "logits, case minus control"
    assert "control 0.30 (sd 0.05)" in found.caption
    assert [bar.label for bar in waterfall(explanation([1.0, -2.0]), "inputs").bars][1] == "n1"
    with pytest.raises(ValueError, match="the level is 'level 2'"):
        waterfall(explanation([1.0]), "level 2")


def test_it_is_drawn_with_every_bar_in_sight_and_text_as_text() -> None:
    figure = draw_waterfall(explanation([1.0, -2.0, 0.1], passing=0.4, names=[SCRIPT, "$x_1$", "plain"]), most=2)
    axes = figure.axes[0]
    low, high = axes.get_xlim()
    for bar in waterfall(explanation([1.0, -2.0, 0.1], passing=0.4), most=2).bars:
        assert low < min(bar.start, bar.end)
        assert max(bar.start, bar.end) < high
    file = BytesIO()
    figure.savefig(file, format="svg")
    text = file.getvalue().decode()
    assert "<script>" not in text
    assert "1 other node" in [label.get_text() for label in axes.get_yticklabels()]


def test_wide_whiskers_do_not_squeeze_the_bars() -> None:
    figure = draw_waterfall(explanation([1.0, -2.0], wide=1000.0))
    low, high = figure.axes[0].get_xlim()
    assert high - low < 10

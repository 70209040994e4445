"""Manhattan plots and quantiles: places, grids, thinning, sizes, and how they behave in a browser."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from tests.report.browsing import opened, requests, resized, until
from tests.report.contents import SCRIPT, content, plain
from vnn.data.genotypes.inflation import inflation, minus_log10
from vnn.report import skyline, static
from vnn.report.content import Content
from vnn.report.figures import sankey
from vnn.report.page import data, embedded, page


def genome(n: int, seed: int = 1, contrasts: tuple[str, ...] = ("case minus control",)) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    chromosome = np.array([*map(str, range(1, 23)), "X"])[np.sort(rng.integers(0, 23, n))]
    parts = [
        pd.DataFrame(
            {
                "contrast": name, "name": [f"rs{i}" for i in range(n)], "chromosome": chromosome,
                "position": rng.integers(1, 200_000_000, n), "note": "GENE",
                "minus_log10_p": minus_log10(rng.standard_normal(n)), "importance": rng.exponential(1 / n, n),
                "share": rng.normal(0, 1 / n, n),
            }
        )
        for name in contrasts
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def study(n: int = 5000, **changes: Any) -> Content:
    genes = pd.DataFrame(
        {"contrast": "case minus control", "name": ["ONE", SCRIPT, "THREE"], "chromosome": ["1", "1", "X"], "position": [5, 90, 7],
         "note": "", "robust": [True, False, False], "importance": [0.5, 0.3, 0.2], "share": [0.6, -0.3, 0.1]}
    )  # fmt: skip
    regions = pd.DataFrame({"region": ["MHC"], "chromosome": ["6"], "start": [25_000_000], "end": [34_000_000]})
    return replace(
        plain(), skylines={"variants": genome(n), "genes": genes}, regions=regions, inputs_called="variants", **changes
    )


def test_chromosomes_stand_in_their_order_and_points_keep_theirs() -> None:
    table = genome(4000).sample(frac=1, random_state=3)
    along = skyline.axis(table)
    assert along.names == (*map(str, range(1, 23)), "X")
    assert (along.start[1:] > along.end[:-1]).all()
    assert along.start[0] == 0
    assert along.end[-1] == pytest.approx(1)
    x = skyline.places(table, along)
    for name, start, end in zip(along.names, along.start, along.end, strict=True):
        own = (table["chromosome"] == name).to_numpy()
        assert x[own].min() == pytest.approx(start)
        assert x[own].max() == pytest.approx(end)
        assert (np.diff(x[own][np.argsort(table["position"][own])]) >= 0).all()


def test_points_and_grid_together_hold_every_value() -> None:
    table = genome(20_000)
    along = skyline.axis(table)
    found = skyline.view(table, along, skyline.MEASURES[0], most=300)
    assert found.n == 20_000
    assert found.y[0] == table["minus_log10_p"].max()
    assert found.y.min() >= found.rest_y.max()
    grid = found.cells()
    expected = np.zeros_like(grid)
    for x, y in zip(found.rest_x, found.rest_y, strict=True):
        row = min(int(y / found.top * skyline.ROWS), skyline.ROWS - 1)
        expected[row, min(int(x * skyline.COLUMNS), skyline.COLUMNS - 1)] = True
    assert (grid == expected).all()


def test_missing_values_are_not_drawn_and_signs_do_not_count() -> None:
    table = genome(50).assign(share=np.where(np.arange(50) < 10, np.nan, -0.01))
    found = skyline.view(table, skyline.axis(table), skyline.MEASURES[2])
    assert found.n == 40
    assert (found.y == 1).all()


def test_one_variant_on_one_chromosome() -> None:
    (one,) = skyline.drawn(replace(plain(), skylines={"variants": genome(1)}))
    assert one["views"][0]["n"] == 1
    assert 0 <= one["views"][0]["x"][0] <= 1


def test_the_grid_on_the_page_is_the_grid() -> None:
    made = skyline.drawn(study(20_000))[0]
    view = made["views"][0]
    bits = np.unpackbits(np.frombuffer(base64.b64decode(view["grid"]), np.uint8))[: made["rows"] * made["columns"]]
    table = genome(20_000)
    found = skyline.view(table, skyline.axis(table), skyline.MEASURES[0])
    assert (bits.reshape(made["rows"], made["columns"]).astype(bool) == found.cells(made["columns"])).all()
    assert [made["names"][i] for i in view["at"]] == table["name"].iloc[found.points].tolist()
    (region,) = made["regions"]
    assert region["name"] == "MHC"
    six = made["parts"][5]
    assert six["start"] < region["start"] < region["end"] < six["end"]


def test_quantiles_are_those_of_all_p_thinned() -> None:
    z = np.random.default_rng(2).standard_normal(100_000)
    y = minus_log10(z)
    found = skyline.quantiles(y)
    assert found is not None
    assert len(found.observed) <= 700
    ordered = np.sort(y)[::-1]
    rank = np.rint(10.0**-found.expected * len(y) + 0.5).astype(int)
    assert np.allclose(found.observed, ordered[rank - 1])
    assert rank[0] == 1
    assert rank[-1] == len(y)
    assert found.inflation == pytest.approx(inflation(z), rel=1e-3)
    inside = (found.observed >= found.low) & (found.observed <= found.high)
    assert inside.mean() > 0.8
    ends = 10.0**-found.high, 10.0**-found.low
    assert ends[0][0] == pytest.approx(1 - 0.975 ** (1 / 100_000), rel=1e-3)
    assert skyline.quantiles(np.array([np.nan])) is None
    assert found.expected[0] == pytest.approx(-np.log10(0.5 / 100_000))
    assert norm.isf(10.0 ** -found.observed[0] / 2) == pytest.approx(np.abs(z).max(), rel=1e-6)


def test_a_million_points_are_a_small_figure() -> None:
    table = genome(1_000_000)
    began = time.monotonic()
    made = skyline.drawn(replace(plain(), skylines={"variants": table}))
    took = time.monotonic() - began
    size = len(embedded(made))
    print(f"{took:.1f} s, {size / 1000:.0f} kB")
    assert size < 500_000
    assert took < 30
    several = replace(plain(), skylines={"variants": genome(20_000, contrasts=tuple("abcdefgh"))})
    assert len(embedded(skyline.drawn(several))) < 2_000_000


def test_names_are_text_in_page_and_files(tmp_path: Path) -> None:
    made = page(study())
    assert SCRIPT not in made
    shown = study(2000)
    drawn = {level: partial(static.manhattan, shown, level) for level in skyline.levels(shown)}
    files = static.write_drawn(tmp_path, drawn | {"quantiles": partial(static.quantiles, shown)})
    assert {path.name for path in files} >= {"variants.png", "genes.svg", "quantiles.svg"}
    assert (tmp_path / "variants.svg").stat().st_size < 1_000_000
    assert SCRIPT not in (tmp_path / "genes.svg").read_text(encoding="utf-8")


def test_other_studies_have_none_of_it() -> None:
    made = page(plain())
    assert "Along the genome" not in made
    assert data(plain())["skylines"] == []
    assert "Manhattan" not in made.split("<script>", 1)[0]


@pytest.mark.browser
def test_plots_are_drawn_chosen_and_told(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    opened(browser, path, study(20_000))
    inked = """
      const c = document.getElementById('skyline'), d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
      let n = 0;
      for (let i = 3; i < d.length; i += 4) n += d[i] > 0;
      return n;"""
    first = browser.execute_script(inked)
    assert first > 10_000
    assert "20,000 points" in browser.execute_script("return document.getElementById('skyline-count').textContent")
    choose = (
        "const s = document.getElementById(arguments[0]); s.value = arguments[1]; s.dispatchEvent(new Event('change'));"
    )
    browser.execute_script(choose, "skyline-level", "1")
    assert browser.execute_script(inked) != first
    assert browser.execute_script("return document.getElementById('skyline-measure').options.length") == 2
    told = """
      const canvas = document.getElementById('skyline'), frame = canvas.getBoundingClientRect();
      for (let x = 0; x < frame.width; x += 4) for (let y = 0; y < frame.height; y += 4) {
        canvas.dispatchEvent(new MouseEvent('mousemove', { clientX: frame.left + x, clientY: frame.top + y }));
        const tip = document.getElementById('skyline-tip');
        if (!tip.hidden && tip.textContent.includes('robust')) return tip.textContent;
      }
      return '';"""
    assert browser.execute_script(told).startswith("ONErelative importance")
    resized(browser, 400)
    until(lambda: browser.execute_script("return document.getElementById('skyline').clientWidth") < 400)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 400
    resized(browser, 1280, "dark")
    assert requests(browser) == []
    assert [entry for entry in browser.get_log("browser") if entry["source"] != "rendering"] == []
    assert json.loads(browser.execute_script("return JSON.stringify(Object.keys(vnnPage.data.quantiles))")) == [
        "case minus control"
    ]


def test_sankey_keeps_sums_where_weak_inputs_are_one() -> None:
    whole = content()
    rows = whole.flows[whole.flows["source_level"] == whole.topology.levels[0].name]
    weak = rows.index[: len(rows) // 2]
    ends = ["contrast", "source_level", "target_level", "target"]
    summed = whole.flows.loc[weak].groupby(ends, as_index=False)["flow"].sum().assign(source="")
    fewer = replace(whole, flows=pd.concat([whole.flows.drop(weak), summed], ignore_index=True))
    one, two = sankey(whole, "case minus control"), sankey(fewer, "case minus control")
    assert one is not None
    assert two is not None
    upper = {(stop.level, stop.node): stop.score for stop in one.stops if stop.level != "inputs" and stop.node}
    assert {key: score for key, score in upper.items() if ("inputs" not in key)} == pytest.approx(
        {(stop.level, stop.node): stop.score for stop in two.stops if stop.level != "inputs" and stop.node}
    )
    assert "" not in [stop.node for stop in two.stops]

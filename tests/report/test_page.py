"""The page: its words, its escaping, what it says of people, and how it behaves in a browser."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import html
import io
import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.report.browsing import opened, requests, resized, until
from tests.report.contents import CAUSAL, FORMULA, HOSTILE, SCRIPT, content, large, small_topology
from vnn.report import page as pages
from vnn.report.content import Content
from vnn.report.page import write_page


def study_with_gain(gain: float, low: float, high: float, p: float) -> Content:
    """The small study, with this gain and adjusted p over each of its baselines."""
    study = content()
    table = study.comparison.copy()
    rivals = (table["metric"] == "AUC") & (table["model"] != "visible network")
    table.loc[rivals, ["gain", "low", "high"]] = gain, low, high
    table.loc[rivals, "p_holm"] = p_holm = np.nan if np.isnan(low) else p
    table.loc[rivals, "verdict"] = "not shown" if not p_holm <= 0.05 else "better" if gain > 0 else "worse"
    table.loc[rivals, "note"] = "one split gives neither an interval nor a test" if np.isnan(low) else ""
    table.attrs |= study.comparison.attrs
    return replace(study, comparison=table)


def visible(page: str) -> str:
    """What is written on the page, without scripts and styles, entities decoded."""
    page = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.DOTALL)
    assert found is not None
    return json.loads(found.group(1))


def test_the_required_words_are_there() -> None:
    text = visible(pages.page(content()))
    for words in (
        "Association, not causation",
        "Not validated for clinical use",
        "600 simulated people of no population.",
        "Small human pathways 1. It does not know 2 of 239 measured genes",
        "Without null networks no node is proven to matter.",
        "which real expression is not.",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("gain", "low", "high", "p", "words"),
    [
        (0.05, 0.01, 0.09, 0.02, "It beats the best baseline"),
        (0.05, 0.01, 0.09, 0.08, "It is not shown to beat the best baseline"),
        (0.05, -0.01, 0.11, 0.3, "It does not beat the best baseline"),
        (-0.05, -0.09, -0.01, 0.02, "it is worse"),
        (-0.05, -0.09, -0.01, 0.08, "that it is worse is not shown"),
        (
            0.05,
            np.nan,
            np.nan,
            np.nan,
            "one split gives neither an interval nor a test, so it is not known whether it beats it",
        ),
    ],
    ids=["beats", "Holm", "includes 0", "worse", "worse, Holm", "one split"],
)
def test_findings_say_no_more_than_interval_and_p(gain: float, low: float, high: float, p: float, words: str) -> None:
    said = " ".join(pages.findings(study_with_gain(gain, low, high, p)))
    assert words in said
    assert ("It beats" in said) == (p <= 0.05 and gain > 0)
    assert (f"p = {p:.2g} adjusted for 5 comparisons" in said) != np.isnan(p)


def test_the_table_of_models_has_p() -> None:
    study = study_with_gain(0.05, 0.01, 0.09, 0.0417)
    rows = pages.models(study)
    assert [row["p"] for row in rows if not row["network"]] == [0.0417] * 5
    assert visible(pages.page(study)).count("0.042") == 5 + 1


def test_calibration_is_shown_before_and_after_and_says_who_decided() -> None:
    study = content()
    page = pages.page(study)
    text = visible(page)
    for words in (
        "as trained 120 0.231 0.143 0.058 2.71",
        "calibrated 120 0.187 0.061 0.055 1.08",
        "61 to 64 validation samples",
    ):
        assert words in text
    curve = study.calibration_curve
    drawn = data_of(page)["calibration"]["case"]["calibrated"]
    assert drawn["observed"] == pytest.approx(curve.loc[curve["stage"] == "calibrated", "observed"].tolist(), rel=1e-4)
    quantity = replace(study, calibration=pd.DataFrame(), calibration_curve=pd.DataFrame())
    assert 'href="#calibration-section"' in page
    assert "alibration" not in visible(pages.page(quantity))
    three = pages.page(content(classes=("healthy", "mild", "severe")))
    assert list(data_of(three)["calibration"]) == ["healthy", "mild", "severe"]
    assert 'id="calibration-class"' in three


def test_small_bins_of_people_are_not_shown() -> None:
    study = content(individuals="none")
    assert data_of(pages.page(study))["calibration"]
    few = replace(study, calibration_curve=study.calibration_curve.assign(n=4))
    page = pages.page(few)
    assert data_of(page)["calibration"] == {}
    assert 'id="calibration"' not in page
    assert data_of(pages.page(replace(few, individuals="pseudonym")))["calibration"]


def test_findings_compare_with_the_best_baseline_and_name_the_top_nodes() -> None:
    study = content()
    said = " ".join(pages.findings(study))
    assert "mean of member genes" in said
    assert f"those of {CAUSAL} (+" in said
    assert "case minus control" in said


def test_everything_that_went_in_is_listed() -> None:
    study = content()
    text = visible(pages.page(study))
    for words in (
        *study.files["sha256"], *study.facts.values(), *study.settings, *study.dropped["reason"],
        "MIT", "Homo sapiens", "c549f5f2dd599087619978c5cef3c237", *(check.text for check in study.checks),
        "treats batch norm as a constant", study.baseline, "C1ORF99, LOC100", "roots = ['Metabolism']",
        "from https://files.example.org/genes.gmt, fetched 2026-11-20",
    ):  # fmt: skip
        assert re.sub(r"\s+", "", words) in re.sub(r"\s+", "", text)


def test_hostile_names_are_text() -> None:
    page = pages.page(content(small_topology(hostile=True), title=SCRIPT, populations="<svg onload=alert(4)>"))
    for markup in (SCRIPT, "<img src=x", "<svg onload", "<b>bold", 'href="javascript'):
        assert markup not in page
    assert SCRIPT in visible(page)
    nodes = data_of(page)["nodes"]
    assert set(HOSTILE.values()) <= set(nodes["node"])
    assert page.count("</script>") == page.count("<script") == 7


def test_data_cannot_leave_their_script() -> None:
    text = pages.embedded(
        {"a": ["</script>", "&lt;", "\u2028", float("nan"), np.float64(1.23456789), np.int64(3), True]}
    )
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": ["</script>", "&lt;", "\u2028", None, 1.2346, 3, True]}


def test_only_the_scripts_of_the_page_may_run() -> None:
    page = pages.page(content())
    policy = html.unescape(re.search(r'Content-Security-Policy" content="(.*?)"', page).group(1))  # type: ignore[union-attr]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy.split("script-src")[1].split(";")[0]
    assert "connect-src" not in policy
    assert not re.findall(r'<(?:link|script|img|iframe)[^>]+(?:src|href)="(?!data:)', visible_markup(page))
    packed = re.search(r'<script type="text/plain" id="plotting">(.*?)</script>', page).group(1)  # type: ignore[union-attr]
    plotly = gzip.decompress(base64.b64decode(packed))
    assert base64.b64encode(hashlib.sha256(plotly).digest()).decode() in policy
    assert b"plotly.js v" in plotly[:400]


def visible_markup(page: str) -> str:
    return re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)


def test_what_null_networks_say_is_a_list() -> None:
    said = ["Labels permuted, 9 draws: 0.5 <b>.", "Wiring rewired, 9 draws: 0.6."]
    page = pages.page(content(nulls=said))
    for text in said:
        assert f"<li>{html.escape(text)}</li>" in page
    assert not any(text in " ".join(pages.findings(content(nulls=said))) for text in said)
    assert pages.JUDGED in visible(page)
    assert "What null networks say" not in pages.page(content())


@pytest.mark.parametrize("individuals", ["none", "pseudonym"])
def test_ids_are_shown_only_in_full(individuals: str) -> None:
    page = pages.page(content(individuals=individuals))  # type: ignore[arg-type]
    assert "patient-0" not in page
    assert "names withheld" in page
    assert ("person 1" in page) == (individuals == "pseudonym")
    assert "patient-0001-x" in pages.page(content(individuals="full"))


def test_ranks_count_effects_within_a_contrast() -> None:
    study = content(classes=("a", "b", "c"))
    pool = pages.Pool()
    columns = pages.table(study, pool)["columns"]
    for contrast in range(3):
        rows = [i for i, at in enumerate(columns["contrast"]) if at == contrast and columns["rank"][i] is not None]
        ordered = sorted(rows, key=lambda i: columns["rank"][i])
        assert [columns["rank"][i] for i in ordered] == list(range(1, 34))
        sizes = [abs(columns["effect"][i]) for i in ordered]
        assert sizes == sorted(sizes, reverse=True)
    first = pool.values["levels"].index("inputs")
    inputs = [i for i, at in enumerate(columns["at"]) if pool.values["level"][at] == first]
    assert len(inputs) == 3 * len(study.topology.inputs)
    assert all(columns["rank"][i] is None for i in inputs)


def test_a_study_without_much_to_show_has_a_page() -> None:
    study = content()
    nodes = study.nodes.assign(effect_low=np.nan, effect_high=np.nan)
    page = pages.page(bare(replace(study, nodes=nodes)))
    text = visible(page)
    for words in (
        "No performance was recorded.",
        "No data check was run.",
        "Completeness was not measured.",
        "Nothing.",
    ):
        assert words in text


def bare(study: Content) -> Content:
    """A study of which only the nodes are known."""
    empty = {
        name: getattr(study, name).iloc[:0]
        for name in (
            "performance",
            "comparison",
            "history",
            "flows",
            "agreement",
            "completeness",
            "dropped",
            "activities",
        )
    }
    return replace(study, **empty, checks=(), knowledge=(), weaknesses=())


def test_a_large_study_has_a_small_page_soon(tmp_path: Path) -> None:
    study = large()
    start = time.perf_counter()
    write_page(tmp_path / "page.html", study)
    assert time.perf_counter() - start < 15
    assert (tmp_path / "page.html").stat().st_size < 15e6


def column(browser: Any, kind: str) -> list[str]:
    return browser.execute_script(
        f"return [...document.querySelectorAll('#nodes tbody .{kind}')].map(x => x.textContent)"
    )


@pytest.mark.browser
def test_the_page_is_quiet_and_fits(browser: Any, tmp_path: Path) -> None:
    hostile = content(small_topology(hostile=True))
    seen = [(hostile, 1280, "light"), (hostile, 400, "dark"), (content(individuals="none"), 400, "light")]
    for study, width, scheme in [*seen, (bare(content()), 400, "dark")]:
        opened(browser, tmp_path / "page.html", study, width=width, scheme=scheme)
        assert requests(browser) == []
        assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert not browser.find_elements("css selector", "img, iframe, main a[href^=javascript]")


@pytest.mark.browser
def test_the_table_sorts_searches_and_pages(browser: Any, tmp_path: Path) -> None:
    study = content()
    opened(browser, tmp_path / "page.html", study)
    assert column(browser, "name")[0] == CAUSAL
    assert len(column(browser, "name")) == 25
    head = browser.find_element("css selector", "#nodes th[data-key=genes] button")
    head.click()
    assert head.find_element("xpath", "..").get_attribute("aria-sort") == "descending"
    assert column(browser, "name")[0] == "Signal transduction"
    head.send_keys("\n")
    assert head.find_element("xpath", "..").get_attribute("aria-sort") == "ascending"
    assert len(browser.find_elements("css selector", "#nodes th[aria-sort]")) == 1
    genes = [
        int(x)
        for x in browser.execute_script(
            "return [...document.querySelectorAll('#nodes tbody tr')].map(r => r.cells[5].textContent)"
        )
    ]
    assert genes == sorted(genes)
    browser.find_element("id", "next").click()
    assert len(column(browser, "name")) == 33 - 25
    box = browser.find_element("id", "search")
    box.send_keys("REPAIR")
    assert sorted(column(browser, "name")) == ["DNA repair", "Mismatch repair", "Nucleotide excision repair"]
    assert browser.find_element("id", "count").text.startswith("3 rows")
    box.clear()
    box.send_keys("no such thing")
    assert column(browser, "name") == []
    box.clear()
    browser.execute_script(
        "const s = document.getElementById('level'); s.value = '0'; s.dispatchEvent(new Event('change'))"
    )
    box.send_keys("pik3")
    assert column(browser, "name") == [name for name in study.topology.inputs if "PIK3" in name]


@pytest.mark.browser
def test_the_csv_is_what_the_table_shows_and_harmless(browser: Any, tmp_path: Path) -> None:
    study = content(small_topology(hostile=True))
    opened(browser, tmp_path / "page.html", study)
    browser.execute_script(
        "const s = document.getElementById('level'); s.value = 'nodes'; s.dispatchEvent(new Event('change'))"
    )
    rows = list(csv.DictReader(io.StringIO(browser.execute_script("return vnnPage.csv()"), newline="")))
    table = study.nodes[study.nodes["level"] != "inputs"].reset_index(drop=True)
    assert [row["name"].removeprefix("'") for row in rows] == list(table["name"])
    np.testing.assert_allclose([float(row["effect"]) for row in rows], table["effect"], rtol=1e-3)
    np.testing.assert_allclose([float(row["share_low"]) for row in rows], table["share_low"], rtol=1e-3)
    assert {row["name"] for row in rows} > {"'@SUM(A1)", "'" + HOSTILE["TCA cycle"], HOSTILE["Glycolysis"]}
    browser.execute_script(
        "const s = document.getElementById('level'); s.value = '0'; s.dispatchEvent(new Event('change'))"
    )
    names = {
        row["name"] for row in csv.DictReader(io.StringIO(browser.execute_script("return vnnPage.csv()"), newline=""))
    }
    assert names > {SCRIPT, "'" + FORMULA, HOSTILE["MTOR"]}
    cells = ["=1", "+1", "-1.5e-3", "+a", "\tx", "\rx", " =x", "-", "@a", 'a"b', -0.5, None]
    found = browser.execute_script("return arguments[0].map(vnnPage.cell)", cells)
    assert found == ["'=1", "+1", "-1.5e-3", "'+a", "'\tx", '"\'\rx"', "' =x", "'-", "'@a", '"a""b"', "-0.5", ""]


@pytest.mark.browser
def test_a_gene_called_script_is_seen_as_text(browser: Any, tmp_path: Path) -> None:
    opened(browser, tmp_path / "page.html", content(small_topology(hostile=True)))
    browser.find_element("id", "search").send_keys("<script")
    browser.execute_script(
        "const s = document.getElementById('level'); s.value = '0'; s.dispatchEvent(new Event('change'))"
    )
    assert column(browser, "name") == [SCRIPT]
    shown = browser.execute_script(
        "return [...document.querySelectorAll('.ytick text, .slicetext')].map(x => x.textContent).join(' ')"
    )
    assert HOSTILE["Glycolysis"] in shown
    assert browser.get_log("browser") == []


@pytest.mark.browser
def test_paper_has_the_whole_table_and_open_details(browser: Any, tmp_path: Path) -> None:
    opened(browser, tmp_path / "page.html", content(), scheme="dark")
    resized(browser, 1280, media="print")
    until(lambda: len(column(browser, "name")) == 33)
    assert browser.find_element("id", "nodes").is_displayed()
    assert not browser.find_element("id", "tools").is_displayed()
    assert browser.find_elements("css selector", "details:not([open])") == []
    ink = browser.execute_script("return getComputedStyle(document.body).color")
    assert max(map(int, re.findall(r"\d+", ink))) < 60
    resized(browser, 1280)
    until(lambda: len(column(browser, "name")) == 25)


@pytest.mark.browser
def test_figures_follow_the_contrast(browser: Any, tmp_path: Path) -> None:
    study = content(classes=("mild", "severe", "well"))
    opened(browser, tmp_path / "page.html", study)
    choose = (
        "const s = document.getElementById(arguments[0]); s.value = arguments[1]; s.dispatchEvent(new Event('change'))"
    )
    drawn = "return document.querySelector('#paths svg').innerHTML"
    first = browser.execute_script(drawn)
    last = pages.figures.contrasts(study)[-1]
    browser.execute_script(choose, "paths-contrast", last)
    assert browser.execute_script(drawn) != first
    colours = "return document.getElementById('sunburst').data[0].marker.colors.join()"
    first = browser.execute_script(colours)
    browser.execute_script(choose, "sunburst-contrast", last)
    assert browser.execute_script(colours) != first
    browser.execute_script(choose, "contrast", "all")
    assert browser.find_element("id", "count").text.startswith("99 rows")
    assert set(column(browser, "contrast")) <= {f"{name} minus the rest" for name in ("mild", "severe", "well")}

"""The verdict on the page: order, groups, sentences, draws, people, and how it behaves in a browser."""

from __future__ import annotations

import csv
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
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.report.browsing import opened, requests, resized
from tests.report.contents import HOSTILE, SCRIPT, content, judged, large_topology, plain, small_topology, whole
from tests.report.test_page import data_of, visible
from vnn.report import figures, static, verdict
from vnn.report import page as pages
from vnn.report.content import Content
from vnn.report.page import write_page
from vnn.report.prose import prose


def table(*rows: tuple[str, str, Any, bool, float, Any]) -> pd.DataFrame:
    """Verdicts by node, verdict, group, leader, q, driven_by; only what is needed besides."""
    found = pd.DataFrame(rows, columns=["node", "verdict", "group", "leader", "q_labels", "driven_by"])
    return found.assign(
        contrast="case minus control", level="level 1", name=[f"name of {node}" for node in found["node"]]
    )


ROWS = (
    ("a", "not beyond chance", None, False, 0.4, None),
    ("b", "robust", 7, False, 0.001, "c"),
    ("c", "robust", 7, True, 0.01, None),
    ("d", "robust", 2, True, 0.004, None),
    ("e", "driven by another node", 7, False, 0.002, "c"),
    ("f", "robust", None, False, 0.03, None),
    ("g", "unstable", 2, False, 0.0001, None),
    ("h", "robust", 2, False, 0.04, "something else"),
)  # fmt: skip


def study(*rows: Any, **changes: Any) -> Content:
    return replace(plain(), verdict=table(*(rows or ROWS)), **changes)


def test_the_surest_group_comes_first_and_its_leader_before_its_members() -> None:
    # Group 7 holds the smallest q of a robust node, 0.001; group 2 follows with 0.004, the node alone has 0.03.
    assert list(verdict.ordered(study())["node"]) == ["c", "b", "d", "h", "f", "g", "e", "a"]


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(len(ROWS))))
def test_order_groups_and_counts_do_not_depend_on_the_order_of_rows(order: list[int]) -> None:
    other = replace(STUDY, verdict=STUDY.verdict.iloc[order])
    assert list(verdict.ordered(other)["node"]) == ["c", "b", "d", "h", "f", "g", "e", "a"]
    assert verdict.counts(other) == verdict.counts(STUDY)
    assert [group.leader["node"] for group in verdict.groups(other)] == ["c", "d", "f"]


STUDY = study()


def test_groups_are_those_with_a_robust_node() -> None:
    found = verdict.groups(STUDY)
    assert [(g.name, g.leader["node"], [row["node"] for row in g.members], g.n_robust) for g in found] == [
        ("7", "c", ["b", "e"], 2), ("2", "d", ["h"], 2), ("", "f", [], 1),
    ]  # fmt: skip
    assert [row["driver"] for row in found[0].members] == ["name of c"] * 2
    assert found[1].members[0]["driver"] == "something else"
    without = study(("a", "driven by another node", 1, True, 0.01, "b"), ("b", "unstable", 1, False, 0.01, None))
    assert verdict.groups(without) == ()


def test_a_group_whose_leader_is_not_robust_is_led_by_its_surest_robust_node() -> None:
    found = verdict.groups(study(("a", "unstable", 1, True, 0.0, None), ("b", "robust", 1, False, 0.02, None),
                                 ("c", "robust", 1, False, 0.01, None)))  # fmt: skip
    assert [(group.leader["node"], [row["node"] for row in group.members]) for group in found] == [("c", ["b"])]


def test_headlines_count_groups_not_nodes() -> None:
    assert verdict.sentences(STUDY) == [
        "3 groups of related pathways are robust, with 5 nodes, led by name of c, name of d and name of f."
    ]
    one = study(("a", "robust", 1, True, 0.01, None))
    assert verdict.sentences(one) == ["1 group of related pathways is robust, with 1 node, led by name of a."]
    none = study(*(row for row in ROWS if row[1] != "robust"), ("i", "not beyond chance", None, False, 0.9, None))
    assert verdict.sentences(none) == [
        "No node is robust; of 4 nodes the verdict is: 2 “not beyond chance”, 1 “unstable” and 1 “driven by another node”."
    ]
    assert ("3", "robust groups", "of 8 nodes judged") in pages.glance(STUDY)
    assert verdict.sentences(STUDY)[0] in visible(pages.page(STUDY))


def test_every_contrast_has_its_own_groups_and_sentence() -> None:
    first = table(*ROWS)
    both = pd.concat([first, first.assign(contrast="mild minus the rest", verdict="not resolvable")], ignore_index=True)
    two = replace(plain(), verdict=both)
    assert len(verdict.groups(two)) == 3
    assert verdict.counts(two)["not resolvable"] == {"case minus control": 0, "mild minus the rest": 8}
    assert [said.split(":")[0] for said in verdict.sentences(two)] == [
        "3 groups of related pathways are robust in case minus control, with 5 nodes, led by name of c, name of d and name of f.",
        "No node is robust in mild minus the rest; of 8 nodes the verdict is",
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns=["verdict", "name"]), "lack the columns 'name', 'verdict'"),
        (lambda t: t.assign(verdict="robus"), r"a verdict is 'robus'.*Did you mean 'robust'"),
        (lambda t: t.assign(share="much"), "much"),
    ],
    ids=["columns", "word", "number"],
)
def test_verdicts_that_cannot_be_read_are_refused(change: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pages.page(replace(STUDY, verdict=change(STUDY.verdict)))


def test_draws_that_do_not_belong_are_refused() -> None:
    with pytest.raises(ValueError, match=r"draws of 'labels' have the shape \(7, 3\); the 8 rows"):
        verdict.draws(replace(STUDY, draws={"labels": np.zeros((7, 3))}))
    with pytest.raises(ValueError, match=r"a null is 'label'.*Did you mean 'labels'"):
        verdict.draws(replace(STUDY, draws={"label": np.zeros((8, 3))}))


def unpacked(packed: dict[str, Any]) -> np.ndarray:
    """What the page reads from packed draws, written independently: the place of a sign in the alphabet of base 64."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    codes = [packed["codes"][i : i + packed["n"]] for i in range(0, len(packed["codes"]), packed["n"])]
    return np.array([[np.nan if sign == "." else alphabet.index(sign) / 63 * high for sign in row]
                     for row, high in zip(codes, packed["high"], strict=True)])  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(arrays(float, (3, 5), elements=st.floats(0, 1e3, allow_nan=False) | st.just(np.nan)))
def test_packed_draws_are_right_to_a_sixtythird_of_the_largest(values: np.ndarray) -> None:
    found = unpacked(verdict.packed(values))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(values))
    largest = np.max(values, axis=1, initial=0.0, where=~np.isnan(values))[:, None]
    assert (np.nan_to_num(abs(found - values)) <= largest * (0.5 / 63 + 0.006) + 1e-12).all()


def test_draws_are_absolute_and_in_the_order_of_the_table() -> None:
    values = np.arange(16.0).reshape(8, 2) - 6
    values[4] = np.nan  # of "e", without draws
    found = verdict.draws(replace(STUDY, draws={"labels": values}))
    assert found is not None
    assert found.n_left_out == 0
    nodes = verdict.ordered(STUDY)["node"].to_numpy()[found.rows]
    assert list(nodes) == ["c", "b", "d", "h", "f", "g", "a"]
    np.testing.assert_array_equal(found.values["labels"], abs(values[["abcdefgh".index(node) for node in nodes]]))


def test_where_draws_take_too_much_room_those_of_the_best_are_kept_and_the_page_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    two = whole()
    found = verdict.draws(two, most_bytes=140 * 5)
    assert found is not None
    assert (list(found.rows), found.n_left_out) == ([0, 1, 2, 3, 4], 28)
    monkeypatch.setattr(verdict.draws, "__kwdefaults__", {"most_bytes": 140 * 5})
    text = visible(pages.page(two))
    assert (
        "holds the draws of the 5 nodes that got furthest in the rule; those of 28 others are in the study's folder"
        in text
    )


def test_a_page_without_a_verdict_has_nothing_of_it() -> None:
    page = pages.page(plain())
    for words in ('id="verdict"', 'id="evidence"', 'id="one-person"', 'href="#verdict"'):
        assert words not in page
    assert data_of(page)["verdict"] is None
    assert pages.PROOF in page


def test_every_part_stands_by_itself() -> None:
    for name in ("overlap", "stability"):
        page = pages.page(replace(plain(), **{name: getattr(whole(), name)}))
        assert 'id="evidence"' in page
        assert 'id="verdict"' not in page
    assert 'id="one-person"' in pages.page(replace(plain(), contributions=whole().contributions))
    bare = pages.page(STUDY)  # no thresholds, no draws, hardly a column
    assert "Thresholds" not in visible(bare)
    assert 'id="evidence"' not in bare


def test_what_the_page_says_without_scripts() -> None:
    text = visible(pages.page(whole()))
    for words in (
        "2 groups of related pathways are robust",
        *verdict.VERDICTS, *verdict.VERDICTS.values(), *(column.meaning for column in verdict.COLUMNS),
        *whole().thresholds["meaning"], *whole().thresholds["name"], *whole().verdict.attrs["words"], *verdict.SAYS.values(),
        "Spearman correlation of the shares of all nodes.", "LRP gamma", "\N{MINUS SIGN}0.31", pages.JUDGED_NODES,
        "Only stability over people counts for the verdict.",
    ):  # fmt: skip
        assert words in text
    for group in verdict.groups(whole()):
        for row in (group.leader, *group.members):
            assert str(row["name"]) in text


def test_the_table_on_the_page_is_the_frame() -> None:
    held, nodes = (data_of(pages.page(whole()))[key] for key in ("verdict", "nodes"))
    frame = verdict.ordered(whole()).reset_index(drop=True)
    for key in ("share", "q_wiring", "maxt_labels", "halves_top"):
        np.testing.assert_allclose(np.array(held["columns"][key], float), frame[key], rtol=1e-3)
    for key in ("verdict", "families", "decided_by", "driven_by", "group"):
        assert [held["texts"][key][at] for at in held["columns"][key]] == list(frame[key])
    assert [nodes["name"][at] or nodes["node"][at] for at in held["columns"]["at"]] == list(frame["name"])
    assert [held["levels"].index(nodes["levels"][nodes["level"][at]]) for at in held["columns"]["at"]] == [
        ["level 1", "level 2", "level 3"].index(level) for level in frame["level"]
    ]


def test_shifted_variants_have_words_and_a_column_of_their_own() -> None:
    table = whole().verdict.assign(reached_wiring=0.03)
    table.attrs = whole().verdict.attrs | {"wiring": "shifted", "places": True}
    genotypes = replace(whole(), verdict=table)
    known = {column.key: column for column in verdict.columns(genotypes)}
    assert known["reached_wiring"].main
    assert not known["q_wiring"].main
    said = html.unescape(pages.page(genotypes))
    assert "networks whose variants were shifted along the genome its share of the separation" in said
    assert verdict.says(genotypes)["wiring"] in said
    assert verdict.SAYS["wiring"] not in said
    assert "reached_wiring" not in {column.key for column in verdict.columns(whole())}
    assert verdict.nulls(whole()) == verdict.NULLS
    table.attrs = table.attrs | {"wiring": "rewired"}
    assert verdict.says(replace(whole(), verdict=table))["wiring"].endswith(verdict.CARRIED)
    assert verdict.nulls(replace(whole(), verdict=table)) == verdict.NULLS


def test_people_are_shown_only_where_they_may_be() -> None:
    hidden = pages.page(replace(whole(), individuals="none"))
    assert data_of(hidden)["people"] == []
    assert 'id="person"' not in hidden
    assert "patient-0" not in hidden
    assert static.people(replace(whole(), individuals="none")) is None
    numbered = pages.page(whole())
    assert "patient-0" not in numbered
    assert "patient-0001-x" in pages.page(replace(whole(), individuals="full"))


def test_a_person_has_one_number_on_the_whole_page() -> None:
    named, numbered = (figures.heat_map(replace(whole(), individuals=how)) for how in ("full", "pseudonym"))  # type: ignore[arg-type]
    assert named is not None
    assert numbered is not None
    called = dict(zip(named.columns, numbered.columns, strict=True))
    found, left_out = figures.contributions(whole())
    assert left_out == 0
    by_label = {person.label: person for person in found}
    for sample in ("patient-0003-x", "patient-0042-x"):
        own = whole().contributions[whole().contributions["sample"] == sample]
        top = own.loc[own["contribution"].abs().idxmax()]
        person = by_label[called[sample]]
        assert person.strongest["case minus control"]["name"].iloc[0] == top["name"]
        assert person.group == whole().outcome[sample]
        shown = person.strongest["case minus control"]["contribution"]
        assert shown.sum() + person.rest["case minus control"][1] == pytest.approx(own["contribution"].sum())
        assert len(shown) + person.rest["case minus control"][0] == len(own)


def test_a_quantity_of_a_person_is_not_told() -> None:
    outcome = pd.Series(np.linspace(20, 80, 120), whole().outcome.index, name="age")
    assert {person.group for person in figures.contributions(replace(whole(), outcome=outcome))[0]} == {""}


def test_prose_sets_a_little_markdown_and_nothing_else() -> None:
    text = "# Head\nText with **bold**, `code` & <b>markup</b>.\n\n- one\n- two\n  goes on\n\n"
    text += "| a | b |\n|---|---|\n| [x](javascript:1) | `y` |"
    html = str(prose(text))
    assert "<h5>Head</h5>\n<p>Text with <b>bold</b>, <code>code</code> &amp; &lt;b&gt;markup&lt;/b&gt;.</p>" in html
    assert "<ul><li>one</li><li>two goes on</li></ul>" in html
    assert "<td>x</td>" in html
    assert "javascript" not in html


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=80))
def test_prose_makes_only_its_own_markup(text: str) -> None:
    tags = set(re.findall(r"<[^>]*>", str(prose(text))))
    own = {"p", "h5", "ul", "li", "b", "code", "table", "thead", "tbody", "tr", "td", "div"}
    allowed = {f"<{slash}{tag}>" for tag in own for slash in ("", "/")} | {'<th scope="col">', "</th>"}
    assert all(tag in allowed or tag.startswith('<div class="scroll"') for tag in tags)


def hostile() -> Content:
    """The small study whose names, groups, sentences and people are markup and formulas."""
    base = judged(content(small_topology(hostile=True)))
    rows = base.verdict.copy()
    rows["group"] = rows["group"].map(lambda value: f"<u>{value}</u>", na_action="ignore")
    rows["decided_by"], rows["families"] = f"{SCRIPT} <svg onload=alert(5)>", "=1+1"
    rows.attrs = {"words": [SCRIPT]}
    overlap = base.overlap.rename(index={"DeepLIFT": SCRIPT}, columns={"DeepLIFT": "<img src=x onerror=alert(6)>"})
    stability = base.stability.replace(
        {"curve": {"over seeds": SCRIPT}, "panel": {"How many networks?": "<b>panel</b>"}}
    )
    stability.attrs = {"axes": {"<b>panel</b>": ("<i>x</i>", SCRIPT)}, "words": SCRIPT}
    thresholds = base.thresholds.assign(meaning=SCRIPT, name="<b>q</b>", value=FORM)
    people = base.contributions.assign(sample=base.contributions["sample"].map(lambda name: f"<img src={name}>"))
    return replace(base, verdict=rows, overlap=overlap, stability=stability, thresholds=thresholds, contributions=people,
                   individuals="full")  # fmt: skip


FORM = "=HYPERLINK(1)"


def test_hostile_verdicts_are_text() -> None:
    page = pages.page(hostile())
    for markup in (SCRIPT, "<img src=", "<svg onload", "<u>1", "<b>panel", "<i>x", 'href="javascript', "alert(9)"):
        assert markup not in page
    assert page.count("</script>") == page.count("<script") == 7


def test_a_large_study_with_verdicts_stays_small(tmp_path: Path) -> None:
    big = two_contrasts()
    assert len(big.verdict) == 5000
    start = time.process_time()
    write_page(tmp_path / "page.html", big)
    assert time.process_time() - start < 15
    assert (tmp_path / "page.html").stat().st_size < 5e6


def two_contrasts() -> Content:
    """2,500 pathways and two contrasts, each node with a verdict and 140 draws."""
    study = content(large_topology(), n_samples=500, classes=("healthy", "mild", "severe"), title="A large study")
    kept = list(figures.contrasts(study))[:2]
    nodes, flows = (part[part["contrast"].isin(kept)].reset_index(drop=True) for part in (study.nodes, study.flows))
    return judged(replace(study, nodes=nodes, flows=flows))


def test_the_new_figures_are_drawn_and_missing_ones_are_not(tmp_path: Path) -> None:
    written = [path.name for path in static.write_figures(tmp_path, judged(content(small_topology(hostile=True))))]
    assert [name for name in written if name.endswith(".svg")][:5] == [
        "verdict.svg", "chance.svg", "explainers.svg", "stability.svg", "people.svg",
    ]  # fmt: skip
    assert "<img" not in (tmp_path / "verdict.svg").read_text()
    for draw in (static.verdicts, static.chance, static.explainers, static.stability, static.people):
        assert draw(plain()) is None
        assert draw(whole()) is not None
    none = replace(whole(), verdict=whole().verdict.assign(verdict="not resolvable"))
    assert static.verdicts(none) is not None
    assert static.chance(none) is not None


CHOOSE = "const s = document.getElementById(arguments[0]); s.value = arguments[1]; s.dispatchEvent(new Event('change'))"
CELLS = (
    "const rows = [...document.querySelectorAll('#verdict-nodes tbody tr:not(.detail)')];"
    "return rows.map(row => row.querySelector(arguments[0]).textContent)"
)


def shown(browser: Any, kind: str = "td.name button") -> list[str]:
    return browser.execute_script(CELLS, kind)


def rows_of(browser: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(browser.execute_script("return vnnPage.verdictCsv()"), newline="")))


@pytest.mark.browser
def test_the_page_with_verdicts_is_quiet_and_fits(browser: Any, tmp_path: Path) -> None:
    for width, scheme in ((1280, "light"), (420, "dark")):
        opened(browser, tmp_path / "page.html", hostile(), width=width, scheme=scheme)
        assert requests(browser) == []
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        browser.execute_script("document.querySelectorAll('#verdict-nodes td.name button')[1].click()")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert not browser.find_elements("css selector", "img, iframe, main u, main a[href^=javascript]")
        assert browser.get_log("browser") == []


@pytest.mark.browser
def test_the_table_of_verdicts_sorts_by_every_column_searches_and_filters(browser: Any, tmp_path: Path) -> None:
    opened(browser, tmp_path / "page.html", whole())
    frame = verdict.ordered(whole()).reset_index(drop=True)
    assert shown(browser) == list(frame["name"].head(25))
    browser.find_element("id", "verdict-all").click()
    heads = browser.find_elements("css selector", "#verdict-nodes thead th")
    assert [head.get_attribute("data-key") for head in heads] == [column.key for column in verdict.COLUMNS]
    for column in verdict.COLUMNS:
        browser.execute_script(
            "document.querySelector(arguments[0]).click()", f"#verdict-nodes th[data-key={column.key}] button"
        )
        sort = browser.execute_script(
            "return document.querySelector('#verdict-nodes th[aria-sort]').getAttribute('aria-sort')"
        )
        found = [row[column.key].removeprefix("'") for row in rows_of(browser)]
        known = [value for value in found if value != ""]
        assert found[: len(known)] == known  # what is missing comes last
        if column.key == "verdict":
            values: list[Any] = [list(verdict.VERDICTS).index(value) for value in known]
        elif column.key in verdict.TEXTS:
            values = [value.lower() for value in known]
        else:
            values = [float(value) for value in known]
        if column.key not in ("name", "node", "decided_by"):  # collation of names is the browser's own
            assert values == sorted(values, reverse=sort == "descending")
    box = browser.find_element("id", "verdict-search")
    box.send_keys("REPAIR excision")
    assert shown(browser) == ["Nucleotide excision repair"]
    box.clear()
    box.send_keys("permuted")
    wanted = set(frame.loc[frame["decided_by"].str.contains("permuted"), "name"])
    assert {row["name"] for row in rows_of(browser)} == wanted
    box.clear()
    box.send_keys(" ")
    browser.execute_script(CHOOSE, "verdict-verdict", str(list(verdict.VERDICTS).index("robust")))
    assert {row["verdict"] for row in rows_of(browser)} == {"robust"}
    browser.execute_script(CHOOSE, "verdict-level", "1")
    assert {row["level"] for row in rows_of(browser)} == {"level 2"}
    assert browser.find_element("id", "verdict-count").text.startswith(f"{len(rows_of(browser))} row")


@pytest.mark.browser
def test_the_csv_of_verdicts_is_the_frame_and_harmless(browser: Any, tmp_path: Path) -> None:
    odd = hostile()
    opened(browser, tmp_path / "page.html", odd)
    rows, frame = rows_of(browser), verdict.ordered(odd)
    assert [row["name"].removeprefix("'") for row in rows] == list(frame["name"])
    assert {row["families"] for row in rows} == {"'=1+1"}
    assert {row["name"] for row in rows} > {"'@SUM(A1)", HOSTILE["Glycolysis"]}
    for column in verdict.COLUMNS:
        if column.key in verdict.TEXTS:
            continue
        mine = [float(row[column.key]) if row[column.key] else np.nan for row in rows]
        np.testing.assert_allclose(mine, frame[column.key].astype(float), rtol=1e-3)


@pytest.mark.browser
def test_a_row_opens_by_keyboard_and_shows_numbers_and_draws(browser: Any, tmp_path: Path) -> None:
    opened(browser, tmp_path / "page.html", whole())
    button = browser.find_elements("css selector", "#verdict-nodes td.name button")[1]
    button.send_keys("\n")
    assert button.get_attribute("aria-expanded") == "true"
    frame = verdict.ordered(whole())
    second = frame.iloc[1]
    text = browser.find_element("css selector", "tr.detail").text
    assert second["decided_by"] in text
    assert "Driven by" in text
    at = int(frame.index[1])
    label = browser.execute_script("return document.querySelector('tr.detail svg').getAttribute('aria-label')")
    largest = [float(x) for x in re.findall(r"the largest (?:r )?([\d.]+)", label)]
    np.testing.assert_allclose(largest[0], whole().draws["labels"][at].max(), atol=0.01)
    np.testing.assert_allclose(largest[1], 100 * whole().draws["wiring"][at].max(), rtol=0.02)
    here = [float(x) for x in re.findall(r"here (?:r )?([\d.]+)", label)]
    np.testing.assert_allclose(here, [second["correlation"], 100 * abs(second["share"])], atol=0.051)
    heights = browser.execute_script(
        "const number = (bar, name) => Number(bar.getAttribute(name));"
        "const bars = [...document.querySelectorAll('tr.detail svg rect')];"
        "return bars.map(bar => [number(bar, 'x'), number(bar, 'y'), number(bar, 'height')])"
    )
    first = [(x, height) for x, y, height in heights if y < 80]
    values = whole().draws["labels"][at]
    reach = 1.06 * max(values.max(), second["correlation"])
    seen = np.rint(values / values.max() * 63) / 63 * values.max()
    bins = np.histogram(seen, bins=28, range=(0, reach))[0]
    expected_heights = bins[bins > 0] / bins.max()
    assert len(first) == len(expected_heights)
    np.testing.assert_allclose([height / max(h for _, h in first) for _, height in first], expected_heights, atol=0.15)
    button.send_keys("\n")
    assert not browser.find_elements("css selector", "tr.detail")


@pytest.mark.browser
def test_without_scripts_the_groups_stand_there_and_no_empty_tools(browser: Any, tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", whole())
    resized(browser, 1280)
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get((tmp_path / "page.html").as_uri())
        seen = browser.find_element("id", "verdict").text
        for group in verdict.groups(whole()):
            assert str(group.leader["name"]) in seen
        assert "Every node" not in seen
        for name in ("verdict-tools", "tools", "performance", "chance"):
            assert not browser.find_element("id", name).is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.browser
def test_one_person_after_another(browser: Any, tmp_path: Path) -> None:
    opened(browser, tmp_path / "page.html", whole())
    found, _ = figures.contributions(whole())
    names = "return [...document.querySelectorAll('#person-table tbody th')].map(x => x.firstChild.textContent)"
    assert browser.execute_script(names) == list(found[0].strongest["case minus control"]["name"])
    browser.execute_script(CHOOSE, "person", "7")
    assert browser.execute_script(names) == list(found[7].strongest["case minus control"]["name"])
    assert "other 15 nodes" in browser.find_element("id", "person-rest").text


@pytest.mark.browser
def test_paper_has_all_rows_without_tools(browser: Any, tmp_path: Path) -> None:
    opened(browser, tmp_path / "page.html", whole())
    browser.execute_script("vnnPage.print(true)")
    assert len(shown(browser)) == 33
    resized(browser, 1280, media="print")
    assert not browser.find_element("id", "verdict-tools").is_displayed()
    resized(browser, 1280)


def test_the_data_of_a_page_are_json_without_markup() -> None:
    page = pages.page(hostile())
    text = re.search(r'id="data">(.*?)</script>', page, flags=re.DOTALL).group(1)  # type: ignore[union-attr]
    assert "<" not in text
    assert json.loads(text)["verdict"]["n"] == 33

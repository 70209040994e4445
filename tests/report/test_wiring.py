"""The picture of a wiring: counted by networkx, walked in a browser, text that stays text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import networkx as nx
import pandas as pd
import pytest

from tests.report.browsing import requests, resized, until
from tests.report.contents import SCRIPT
from vnn.ontology import Ontology, Topology, load_ontology
from vnn.report.wiring import draw_levels, draw_neighbourhood, neighbourhood, write_wiring


def small() -> Topology:
    ontology = load_ontology("human-small")
    return ontology.topology(ontology.genes)


def evil() -> Topology:
    ontology = Ontology(
        pd.DataFrame({"name": {"T1": SCRIPT, "T2": "above $x$"}}),
        pd.DataFrame([("T1", "T2", "is_a")], columns=["child", "parent", "type"]),
        pd.DataFrame([(f"<b>G{i}", "T1") for i in range(6)] + [("G9", "T2")], columns=["gene", "term"]),
    )
    return ontology.topology(ontology.genes, min_genes=1)


def test_neighbours_are_those_of_the_graph() -> None:
    topology = small()
    graph = nx.DiGraph()
    for row in topology.to_edges().itertuples():
        graph.add_edge((row.source_level, row.source), (row.target_level, row.target))
    for level in topology.levels[1:]:
        for node in level.nodes:
            found = neighbourhood(topology, node)
            around = (level.name, node)
            for side, ends in (("into", graph.predecessors(around)), ("from", graph.successors(around))):
                inputs = {
                    end: sum(nx.has_path(graph, (topology.levels[0].name, i), end) for i in topology.inputs)
                    for end in ends
                }
                expected = sorted((topology.label(name), where, n) for (where, name), n in inputs.items())
                assert sorted(found[side]) == expected
                assert [n for _, _, n in found[side]] == sorted((n for _, _, n in found[side]), reverse=True)


def test_a_node_is_found_by_name_and_a_wrong_one_gets_a_hint() -> None:
    topology = small()
    node = next(node for node in topology.levels[2].nodes)
    assert neighbourhood(topology, topology.label(node))["node"] == node
    with pytest.raises(ValueError, match="Did you mean 'Apoptosis'"):
        neighbourhood(topology, "Apoptosi")


def test_figures_say_how_many_and_leave_nothing_out_silently() -> None:
    topology = small()
    texts = [text.get_text() for axes in draw_levels(topology).axes for text in axes.texts]
    assert [int(text.replace(",", "")) for text in texts] == [len(level) for level in topology.levels]
    node = max(topology.levels[1].nodes, key=lambda own: len(neighbourhood(topology, own)["into"]))
    n = len(neighbourhood(topology, node)["into"])
    drawn = [text.get_text() for text in draw_neighbourhood(topology, node, most=4).axes[0].texts]
    assert f"and {n - 4} more" in drawn
    assert sum(text == "an input" for text in drawn) == 4
    draw_neighbourhood(evil(), "T1").canvas.draw()


def test_text_is_never_markup(tmp_path: Path) -> None:
    write_wiring(tmp_path / "wiring.html", evil(), title=SCRIPT)
    html = (tmp_path / "wiring.html").read_text()
    assert SCRIPT not in html
    held = json.loads(re.search(r'id="data">(.*?)</script>', html, re.S)[1])  # type: ignore[index]
    assert SCRIPT in held["name"]
    assert sorted(zip(held["source"], held["target"], strict=True)) == sorted(
        (held["node"].index(row.source), held["node"].index(row.target)) for row in evil().to_edges().itertuples()
    )


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 480])
def test_one_walks_from_node_to_node(browser: Any, tmp_path: Path, width: int) -> None:
    topology = small()
    write_wiring(tmp_path / "wiring.html", topology, node="Apoptosis")
    browser.get_log("browser")
    resized(browser, width)
    browser.get((tmp_path / "wiring.html").as_uri())

    def heading() -> str:
        return browser.find_element("css selector", ".here strong").text

    assert heading() == "Apoptosis"
    around = neighbourhood(topology, "Apoptosis")
    listed = [button.text for button in browser.find_elements("css selector", ".into button")]
    assert listed == [name for name, _, _ in around["into"]][:40]
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    browser.find_element("css selector", ".from button").send_keys("\n")
    until(lambda: heading() == around["from"][0][0])
    browser.back()
    until(lambda: heading() == "Apoptosis")
    search = browser.find_element("id", "search")
    search.send_keys(topology.inputs[3].lower())
    until(lambda: browser.find_elements("css selector", "#found button"))
    first = browser.find_elements("css selector", "#found button")[0]
    assert first.text == topology.inputs[3]
    first.click()
    until(lambda: heading() == topology.inputs[3])
    assert browser.get_log("browser") == []
    assert requests(browser) == []


@pytest.mark.browser
def test_evil_names_do_nothing(browser: Any, tmp_path: Path) -> None:
    write_wiring(tmp_path / "wiring.html", evil(), node="T1")
    browser.get_log("browser")
    browser.get((tmp_path / "wiring.html").as_uri())
    assert browser.find_element("css selector", ".here strong").text.strip() == SCRIPT.strip()
    assert not browser.execute_script("return document.querySelectorAll('#walk script, #walk img, #walk b').length")
    assert browser.get_log("browser") == []

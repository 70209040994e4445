"""A picture of a wiring: its levels, how large its nodes are, and what surrounds a chosen one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from vnn._atomic import write_text
from vnn._errors import choose
from vnn.ontology import Topology, topology_statistics
from vnn.report.page import ASSETS, embedded, page_policy, script_of, template
from vnn.report.static import ACCENT, INK, MUTED, OTHER, RULE, STYLE, cut

MOST_SHOWN = 14


def draw_levels(topology: Topology) -> Figure:
    """How many nodes each level has, and how many inputs each of its nodes hears (logarithmic), from the inputs up."""
    nodes = topology.table()
    levels = [level.name for level in topology.levels]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.4, 0.9 + 0.36 * len(levels)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2, 3))
        own = [nodes[(nodes["level"] == level) & ~nodes["copy"]] for level in levels]
        counts = [len(held) for held in own]
        left.barh(range(len(levels)), counts, color=ACCENT, height=0.62)
        for at, count in enumerate(counts):
            left.text(count, at, f" {count:,}", va="center", fontsize=8, color=INK)
        left.set_yticks(range(len(levels)), levels)
        left.set_xlim(0, 1.25 * max(counts))
        left.set_xlabel("nodes")
        for at, held in enumerate(own[1:], 1):
            low, first, middle, third, high = np.percentile(held["n_inputs"], (0, 25, 50, 75, 100))
            right.plot([low, high], [at, at], color=OTHER, linewidth=1.5)
            right.plot([first, third], [at, at], color=ACCENT, linewidth=6, solid_capstyle="butt")
            right.plot([middle], [at], "o", color=INK, markersize=3.5)
        right.set_xscale("log")
        right.grid(visible=True, axis="x", color=RULE)
        right.set_xlabel("inputs a node hears: range, quartiles, median")
    return figure


def draw_neighbourhood(topology: Topology, node: str, *, most: int = MOST_SHOWN) -> Figure:
    """What leads into a node and where it leads, with the level and the number of inputs of each.

    Parameters
    ----------
    topology
        The wiring.
    node
        Id or name of a node above the inputs; of several levels, the lowest.
    most
        Most nodes drawn on each side, the largest first; what is not drawn is counted.

    Raises
    ------
    ValueError
        If no node has the name, with the nearest ones.
    """
    around = neighbourhood(topology, node)
    sides = [(0.0, around["into"], "right"), (1.0, around["from"], "left")]
    lowest = topology.levels[0].name
    tall = max(1, *(min(len(held), most) + (len(held) > most) for _, held, _ in sides))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 1.1 + 0.27 * tall), layout="constrained")
        axes = figure.subplots()
        for x, held, align in sides:
            shown = held[:most]
            n = len(shown) + (len(held) > most)
            for at, (label, level, n_inputs) in enumerate(shown):
                y = (n - 1) / 2 - at
                t = np.linspace(0, 1, 30)
                ends = (0.02, 0.34) if x == 0 else (0.98, 0.66)
                axes.plot(ends[0] + (ends[1] - ends[0]) * t, y * (1 - (3 * t**2 - 2 * t**3)), color=OTHER, linewidth=1)
                axes.text(x, y, f"{cut(label, 46)}  ", ha=align, va="center", fontsize=8, color=INK)
                side = -0.012 if x == 0 else 0.012
                about = f"{level}, {n_inputs:,} inputs" if level != lowest else "an input"
                axes.text(x + side, y - 0.38, about, ha=align, va="center", fontsize=6, color=MUTED)
            if len(held) > most:
                axes.text(
                    x, -(n - 1) / 2, f"and {len(held) - most:,} more", ha=align, va="center", fontsize=8, color=MUTED
                )
        axes.text(0.5, 0, cut(around["name"], 40), ha="center", va="bottom", fontsize=10, color=ACCENT, weight="bold")
        axes.text(
            0.5,
            -0.1,
            f"{around['level']}, {around['n_inputs']:,} inputs",
            ha="center",
            va="top",
            fontsize=7,
            color=MUTED,
        )
        axes.set_xlim(-0.75, 1.75)
        axes.set_ylim(-tall / 2 - 0.6, tall / 2 + 0.4)
        axes.set_axis_off()
    return figure


def neighbourhood(topology: Topology, node: str) -> dict[str, Any]:
    """A node and its neighbours: name, level, n_inputs, and lists "into" and "from" of (name, level, n_inputs), largest first."""
    table = topology.table()
    own = table.iloc[_place(topology, table, node)]
    sizes = table.set_index(["level", "node"])["n_inputs"]
    edges = topology.to_edges()

    def side(here: str, there: str) -> list[tuple[str, str, int]]:
        held = edges[(edges[f"{here}_level"] == own["level"]) & (edges[here] == own["node"])]
        pairs = zip(held[f"{there}_level"], held[there], strict=True)
        listed = [(topology.label(name), level, int(sizes[level, name])) for level, name in pairs]
        return sorted(listed, key=lambda one: (-one[2], one[0]))

    return {
        "name": own["name"], "node": own["node"], "level": own["level"], "n_inputs": int(own["n_inputs"]),
        "into": side("target", "source"), "from": side("source", "target"),
    }  # fmt: skip


def write_wiring(path: Path, topology: Topology, *, title: str = "Wiring", node: str | None = None) -> None:
    """Put a page at `path` on which one walks from node to node; it loads nothing and holds no data of people.

    Parameters
    ----------
    node
        Id or name of the node that is shown first; the largest of the top level unless given.
    """
    script = script_of((ASSETS / "wiring.js").read_text(encoding="utf-8"))
    html = template("wiring.html").render(
        title=title,
        topology=topology,
        levels=topology_statistics(topology).to_dict("records"),
        log=topology.log,
        provenance=topology.provenance,
        policy=page_policy((script,)),
        style=Markup((ASSETS / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        data=Markup(embedded(_data(topology, node))),
    )
    write_text(path, html.encode("utf-8", "replace").decode("utf-8"))


def _place(topology: Topology, table: pd.DataFrame, node: str) -> int:
    """The row of a node above the inputs by its id or name; of several levels, the lowest."""
    above = (table["level"] != topology.levels[0].name) & ~table["copy"]
    found = np.flatnonzero(above & ((table["node"] == node) | (table["name"] == node)))
    if not len(found):
        choose("a node", node, list(dict.fromkeys([*table["node"][above], *table["name"][above]])))
    return int(found[0])


def _data(topology: Topology, first: str | None) -> dict[str, Any]:
    """Nodes by number and edges as pairs of numbers."""
    table = topology.table()
    order = {level.name: at for at, level in enumerate(topology.levels)}
    start = dict(zip(order, np.cumsum([0, *(len(level) for level in topology.levels[:-1])]).tolist(), strict=True))
    ends = [
        (mask.edges + np.array([start[mask.source_level], start[mask.target_level]])).astype(int)
        for mask in topology.masks
    ]
    edges = np.concatenate(ends)
    names = [None if name == node else name for name, node in zip(table["name"], table["node"], strict=True)]
    if first is None:
        top = (table["level"] == topology.levels[-1].name) & ~table["copy"]
        shown = int(np.argmax(np.where(top, table["n_inputs"], -1)))
    else:
        shown = _place(topology, table, first)
    return {
        "levels": list(order), "node": table["node"].tolist(), "name": names,
        "level": table["level"].map(order).tolist(), "copy": table["copy"].astype(int).tolist(),
        "inputs": table["n_inputs"].tolist(), "first": shown,
        "source": edges[:, 0].tolist(), "target": edges[:, 1].tolist(),
    }  # fmt: skip

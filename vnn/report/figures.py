"""What the figures show, in numbers: the page and the static files draw the same ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from vnn.ontology.topology import Topology
from vnn.report.content import Content

Node = tuple[str, str]  # level, node

SMALLEST_GROUP = 5
PREDICTION = "prediction"
UNKNOWN = "not known"


@dataclass(frozen=True)
class Scores:
    """Held-out performance, every split of every model.

    Parameters
    ----------
    metrics
        The headline first.
    models
        The visible network first, the others from the best to the worst in the headline metric.
    values
        Per metric and model the values of its splits, in the order of `splits`.
    splits
        Names, numbered unless individuals may be shown in full, for a split may be called after a person.
    left_out
        How many splits test too few people to be shown one by one.
    """

    metrics: tuple[str, ...]
    models: tuple[str, ...]
    values: Mapping[str, Mapping[str, tuple[float, ...]]]
    splits: tuple[str, ...]
    left_out: int


def scores(content: Content) -> Scores:
    """Performance per split, as the dot plot shows it."""
    table = content.performance
    headline, network = content.comparison.attrs.get("headline", ""), content.comparison.attrs.get("network", "")
    names = list(dict.fromkeys(table["split"]))
    small = set(table.loc[table["n_test"] < SMALLEST_GROUP, "split"]) if content.individuals == "none" else set()
    kept = [name for name in names if name not in small]
    metrics = sorted(dict.fromkeys(table["metric"]), key=lambda metric: metric != headline)
    values = {
        metric: {
            str(model): tuple(group.set_index("split")["value"].reindex(kept).astype(float))
            for model, group in table[table["metric"] == metric].groupby("model", sort=False)
        }
        for metric in metrics
    }
    gains = content.comparison.loc[content.comparison["metric"] == headline].set_index("model")["gain"]
    models = sorted(
        dict.fromkeys(table["model"]), key=lambda model: (model != network, _last(float(gains.get(model, np.nan))))
    )
    shown = kept if content.individuals == "full" else [f"split {names.index(name) + 1}" for name in kept]
    return Scores(tuple(metrics), tuple(map(str, models)), values, tuple(map(str, shown)), len(small))


@dataclass(frozen=True, eq=False)
class HeatMap:
    """Activities of the nodes with the largest effects.

    Parameters
    ----------
    nodes
        Level and id of each row, from the most positive effect to the most negative.
    labels, columns
        What rows and columns are called.
    groups
        Name, first column, number of columns and number of people of each group, from left to right.
    values
        Shape (n_nodes, n_columns).
    left_out
        Number of people of each group that is too small to be shown.
    means
        Whether a column is the mean of a group instead of a person.
    rule
        Which people are columns, in words.
    """

    nodes: tuple[Node, ...]
    labels: tuple[str, ...]
    columns: tuple[str, ...]
    groups: tuple[tuple[str, int, int, int], ...]
    values: np.ndarray
    left_out: tuple[int, ...]
    means: bool
    rule: str


def heat_map(content: Content, *, most_nodes: int = 60, most_columns: int = 500) -> HeatMap | None:
    """The activities of the top nodes, people grouped by outcome; None where there is nothing to show.

    Within a group people are ordered by the activity of the node with the largest effect. Where there are more
    than `most_columns`, those at evenly spaced places of that order are shown, each group in proportion.
    """
    nodes = content.nodes.dropna(subset=["effect"]).drop_duplicates(["level", "node"])
    at = {f"{level}/{node}": (level, node) for level, node in zip(nodes["level"], nodes["node"], strict=True)}
    chosen = [name for name in at if name in content.activities.columns][:most_nodes]
    held_out = content.activities.dropna(how="all")
    if not chosen or held_out.empty:
        return None
    content = replace(content, activities=held_out, outcome=content.outcome.reindex(held_out.index))
    effect = dict(zip(at, nodes["effect"], strict=True))
    strongest = content.activities[chosen[0]]
    chosen.sort(key=lambda name: -effect[name])
    parts = {name: list(strongest.loc[ids].sort_values(kind="stable").index) for name, ids in grouped(content).items()}
    called = people(content)
    small = [ids for ids in parts.values() if len(ids) < SMALLEST_GROUP]
    if content.individuals == "none":
        parts = {name: ids for name, ids in parts.items() if len(ids) >= SMALLEST_GROUP}
    if not parts:
        return None
    total = sum(map(len, parts.values()))
    columns, groups, blocks = [], [], []
    first = 0
    for name, ids in parts.items():
        if content.individuals == "none":
            block, labels = content.activities.loc[ids, chosen].mean().to_numpy()[:, None], [f"mean of {len(ids):,}"]
        else:
            ordered = ids
            if total > most_columns:
                count = max(1, round(most_columns * len(ids) / total))
                ordered = [ids[i] for i in np.unique(np.linspace(0, len(ids) - 1, count).round().astype(int))]
            block = content.activities.loc[ordered, chosen].to_numpy().T
            labels = [called[i] for i in ordered]
        groups.append((name, first, block.shape[1], len(parts[name])))
        first += block.shape[1]
        columns += labels
        blocks.append(block)
    if content.individuals == "none":
        rule = f"Each column is the mean of a group; groups under {SMALLEST_GROUP} people are left out."
    elif total > most_columns:
        rule = f"{first:,} of {total:,} people: evenly spaced in the order of the first node's activity, each group in proportion."
    else:
        rule = f"All {total:,} people who were held out."
    return HeatMap(
        tuple(at[name] for name in chosen),
        without_prefix([content.topology.label(at[name][1]) for name in chosen]),
        tuple(columns),
        tuple(groups),
        np.concatenate(blocks, axis=1).astype(float),
        tuple(map(len, small)) if content.individuals == "none" else (),
        content.individuals == "none",
        rule,
    )


def people(content: Content) -> dict[Any, str]:
    """What people are called: their ids where these may be shown, else numbers that are the same in every figure.

    Numbers follow the groups of the heat map and, within them, the activity of the node with the largest effect; people
    without an activity come last.
    """
    nodes = content.nodes.dropna(subset=["effect"])
    names = [f"{level}/{node}" for level, node in zip(nodes["level"], nodes["node"], strict=True)]
    strongest = next((name for name in names if name in content.activities.columns), None)
    known: list[Any] = []
    if strongest is not None:
        held_out = content.activities.dropna(how="all")
        parts = grouped(replace(content, activities=held_out, outcome=content.outcome.reindex(held_out.index)))
        known = [i for ids in parts.values() for i in held_out.loc[ids, strongest].sort_values(kind="stable").index]
    others = content.contributions["sample"] if len(content.contributions) else ()
    everyone = dict.fromkeys([*known, *content.outcome.index, *others])
    return {i: str(i) if content.individuals == "full" else f"person {n}" for n, i in enumerate(everyone, 1)}


@dataclass(frozen=True, eq=False)
class Panel:
    """Curves in one frame: by name the columns x, value, low, high, ordered by x."""

    name: str
    x: str
    y: str
    curves: Mapping[str, pd.DataFrame]


def stability(content: Content) -> tuple[Panel, ...]:
    """The panels of the stability curves, as given."""
    table = content.stability
    if table.empty:
        return ()
    panels = table["panel"] if "panel" in table else pd.Series("stability", table.index)
    table = table.reindex(columns=["curve", "x", "value", "low", "high"]).astype({"x": float, "value": float})
    axes = content.stability.attrs.get("axes", {})
    return tuple(
        Panel(
            str(name), str(axes.get(name, ("", ""))[0]), str(axes.get(name, ("", ""))[1]),
            {str(curve): part.sort_values("x").drop(columns="curve").astype(float)
             for curve, part in own.groupby("curve", sort=False)},
        )
        for name, own in table.groupby(panels, sort=False)
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Person:
    """What moved the prediction of one person.

    Parameters
    ----------
    label, group
        What the person is called, and the class of the person, if the outcome is a class.
    strongest
        By contrast the contributions that are shown, the largest first: level, node, name, contribution, low, high.
    rest
        By contrast number and sum of those that are not shown.
    """

    label: str
    group: str
    strongest: Mapping[str, pd.DataFrame]
    rest: Mapping[str, tuple[int, float]]


def contributions(content: Content, *, most_nodes: int = 15, most_people: int = 200) -> tuple[tuple[Person, ...], int]:
    """The people whose contributions may be shown, in the order of their numbers, and how many are left out for room.

    Nobody where individuals may not be shown.
    """
    table = content.contributions
    if table.empty or content.individuals == "none":
        return (), 0
    called = people(content)
    place = {i: n for n, i in enumerate(called)}
    ids = sorted(table["sample"].unique(), key=place.__getitem__)
    kept = [ids[i] for i in np.unique(np.linspace(0, len(ids) - 1, min(most_people, len(ids))).round().astype(int))]
    table = table[table["sample"].isin(kept)]
    table = table.assign(
        level=table["level"].astype(str) if "level" in table else "",
        name=table["name"].astype(str) if "name" in table else [content.topology.label(str(node)) for node in table["node"]],
        contrast=table["contrast"].astype(str) if "contrast" in table else "",
        **{end: table[end].astype(float) if end in table else np.nan for end in ("low", "high")},
        size=table["contribution"].abs(),
    ).sort_values("size", ascending=False, kind="stable")  # fmt: skip
    outcome = content.outcome
    quantity = pd.api.types.is_numeric_dtype(outcome) and outcome.nunique() > SMALLEST_GROUP
    found = {}
    for i, mine in table.groupby("sample", sort=False):
        strongest, rest = {}, {}
        for contrast, own in mine.groupby("contrast", sort=True):
            strongest[str(contrast)] = own.head(most_nodes)[["level", "node", "name", "contribution", "low", "high"]]
            rest[str(contrast)] = (max(len(own) - most_nodes, 0), float(own["contribution"].iloc[most_nodes:].sum()))
        group = "" if quantity or i not in outcome.index or pd.isna(outcome[i]) else str(outcome[i])
        found[i] = Person(called[i], group, strongest, rest)
    return tuple(found[i] for i in kept), len(ids) - len(kept)


def without_prefix(labels: Sequence[str]) -> tuple[str, ...]:
    """Labels without the words all of them begin with ("HALLMARK_"), which would push what differs out of sight."""
    words = [label.split("_") for label in labels]
    shared = 0
    while len(labels) > 1 and all(len(parts) > shared + 1 and parts[shared] == words[0][shared] for parts in words):
        shared += 1
    return tuple("_".join(parts[shared:]) for parts in words)


def grouped(content: Content) -> dict[str, list[Any]]:
    """Ids of the samples by class, or by quarter of a quantity from low to high, in the order a reader expects."""
    outcome = content.outcome.reindex(content.activities.index)
    if pd.api.types.is_numeric_dtype(outcome) and outcome.nunique() > SMALLEST_GROUP:
        quarters = pd.qcut(outcome, 4, duplicates="drop")
        n_parts = len(quarters.cat.categories)
        order = [f"{outcome.name}, part {i} of {n_parts}" for i in range(1, n_parts + 1)]
        labels = quarters.cat.rename_categories(order)
    else:
        labels = outcome
        present = {str(label) for label in outcome.dropna()}
        categories = outcome.cat.categories if isinstance(outcome.dtype, pd.CategoricalDtype) else sorted(present)
        order = [str(label) for label in categories if str(label) in present]
        for contrast in content.nodes["contrast"].dropna().unique():
            positive, _, negative = str(contrast).partition(" minus ")
            if {positive, negative} == present:
                order = [negative, positive]
    texts = labels.astype(object).where(labels.notna(), UNKNOWN).astype(str)
    ids = {str(name): list(group.index) for name, group in texts.groupby(texts)}
    return {name: ids[name] for name in [*order, UNKNOWN] if name in ids}


@dataclass(frozen=True)
class Sector:
    """One node of the sunburst.

    Parameters
    ----------
    id, parent
        Unique names; the parent of an outermost node is "".
    label
        What is written on it.
    size
        Genes; an inner sector is as large as the sectors it holds.
    node
        Level and id, or None for the prediction and for nodes that are summed up.
    """

    id: str
    parent: str
    label: str
    size: float
    node: Node | None


def sunburst(content: Content, *, most: int = 400) -> tuple[Sector, ...]:
    """The ontology as a tree: every node once, under the parent to which most of its attribution runs.

    The `most` nodes with the largest attribution and all above them are sectors of their own; the rest below a
    parent are one sector.
    """
    topology = content.topology
    parent = strongest_parents(topology, content.flows)
    weight: dict[Node, float] = defaultdict(float)
    inner = content.nodes[content.nodes["level"] != topology.levels[0].name]
    for level, node, score in zip(inner["level"], inner["node"], inner["score"].abs().fillna(0.0), strict=True):
        weight[level, node] = max(weight[level, node], score)
    kept: set[Node] = set()
    for node in sorted(parent, key=lambda node: (-weight[node], node))[:most]:
        at: Node | None = node
        while at is not None and at not in kept:
            kept.add(at)
            at = parent[at]
    genes = _genes(topology)
    above_others = {above for node, above in parent.items() if above is not None}
    sectors = [Sector(PREDICTION, "", PREDICTION, 0.0, None)]
    rest: dict[Node | None, list[Node]] = defaultdict(list)
    held = {above for node, above in parent.items() if node in kept}
    for node, above in parent.items():
        if node in kept:
            size = 0.0 if node in above_others & held else float(genes[node])
            sectors.append(Sector(_path(node), _path(above), topology.label(node[1]), size, node))
        elif above is None or above in kept:
            rest[above].append(node)
    for above, nodes in rest.items():
        if above is None or above in held:
            label = f"{len(nodes):,} weaker " + ("node" if len(nodes) == 1 else "nodes")
            total = float(sum(genes[node] for node in nodes))
            sectors.append(Sector(f"{_path(above)} (weaker)", _path(above), label, total, None))
    return tuple(sectors)


def strongest_parents(topology: Topology, flows: pd.DataFrame) -> dict[Node, Node | None]:
    """The parent of each node to which the largest |attribution|, summed over contrasts, runs.

    Identity copies stand for their originals. Without flows, or at a tie, the parent with fewer genes, the more
    specific one, is taken. A node without parents has None.
    """
    original = _originals(topology)
    strength: dict[tuple[Node, Node], float] = defaultdict(float)
    flows = flows[flows["source_level"] != topology.levels[0].name]
    ends = [zip(flows[f"{end}_level"], flows[end], strict=True) for end in ("source", "target")]
    for source, target, flow in zip(*ends, flows["flow"].abs(), strict=True):
        strength[original.get(source, source), original.get(target, target)] += flow
    genes = _genes(topology)
    parents: dict[Node, list[Node]] = {
        (level.name, node): [] for level in topology.levels[1:] for node in level.nodes if node not in level.copies
    }
    for mask in topology.masks:
        if mask.source_level == topology.levels[0].name:
            continue
        for i, j in mask.edges:
            source = original.get((mask.source_level, mask.sources[i]), (mask.source_level, mask.sources[i]))
            target = original.get((mask.target_level, mask.targets[j]), (mask.target_level, mask.targets[j]))
            if source != target:
                parents[source].append(target)
    return {
        node: min((-strength[node, to], genes[to], to) for to in above)[2] if above else None
        for node, above in parents.items()
    }


@dataclass(frozen=True)
class Stop:
    """A node of the diagram of paths.

    Parameters
    ----------
    level, node
        Where it is; `node` is None for what is not shown one by one at that level.
    label
        What is written beside it.
    score
        Sum of the attribution that runs into it, signed; for an input, out of it.
    """

    level: str
    node: str | None
    label: str
    score: float


@dataclass(frozen=True)
class Link:
    """A band of the diagram of paths: places of two stops, a width, and the sign of the attribution (0: other)."""

    source: int
    target: int
    width: float
    sign: Literal[-1, 0, 1]


@dataclass(frozen=True)
class Sankey:
    """The strongest paths from the inputs to the prediction; `levels` from left to right."""

    levels: tuple[str, ...]
    stops: tuple[Stop, ...]
    links: tuple[Link, ...]

    def entering(self, stop: int) -> float:
        """Total width of the bands into a stop."""
        return sum(link.width for link in self.links if link.target == stop)

    def leaving(self, stop: int) -> float:
        """Total width of the bands out of a stop."""
        return sum(link.width for link in self.links if link.source == stop)


def sankey(content: Content, contrast: str, *, most: int = 6, most_inputs: int = 10) -> Sankey | None:
    """The paths that carry most attribution of a contrast; None without flows.

    From the prediction downwards, each level shows the nodes that send most |attribution| into the nodes already
    shown. A band is as wide as the |attribution| along its edge. What enters or leaves a node along edges that are
    not shown, and what cancels inside it because it enters with both signs, is a band from or to "other", so that
    as much enters every inner node as leaves it.
    """
    flow = _flow(content.flows[content.flows["contrast"] == contrast])
    if not flow:
        return None
    levels = [level.name for level in content.topology.levels] + [PREDICTION]
    place = {name: i for i, name in enumerate(levels)}
    shown = _strongest(levels, flow, most, most_inputs)
    into: dict[Node, float] = defaultdict(float)
    out: dict[Node, float] = defaultdict(float)
    net_in: dict[Node, float] = defaultdict(float)
    net_out: dict[Node, float] = defaultdict(float)
    for (source, target), value in flow.items():
        into[target] += abs(value)
        out[source] += abs(value)
        net_in[target] += value
        net_out[source] += value
    bands = {ends: value for ends, value in flow.items() if ends[0] in shown and ends[1] in shown}
    nodes = sorted(shown, key=lambda node: (place[node[0]], -max(into[node], out[node]), node))
    at = {node: i for i, node in enumerate(nodes)}
    stops = [
        Stop(*node, content.topology.label(node[1]), net_in[node] if place[node[0]] else net_out[node])
        for node in nodes
    ]
    links = [Link(at[a], at[b], abs(value), 1 if value > 0 else -1) for (a, b), value in bands.items()]
    others: dict[int, int] = {}

    def other(level: int) -> int:
        if level not in others:
            others[level] = len(stops)
            stops.append(Stop(levels[level], None, "other", 0.0))
        return others[level]

    for node in nodes:
        level = place[node[0]]
        full = max(into[node], out[node])
        hidden_in = full - sum(abs(value) for (_, b), value in bands.items() if b == node)
        hidden_out = full - sum(abs(value) for (a, _), value in bands.items() if a == node)
        if level > 0 and hidden_in > 1e-9 * full:
            links.append(Link(other(level - 1), at[node], hidden_in, 0))
        if level < len(levels) - 1 and hidden_out > 1e-9 * full:
            links.append(Link(at[node], other(level + 1), hidden_out, 0))
    used = {stop.level for stop in stops}
    return Sankey(tuple(level for level in levels if level in used), tuple(stops), tuple(links))


def _flow(flows: pd.DataFrame) -> dict[tuple[Node, Node], float]:
    total: dict[tuple[Node, Node], float] = defaultdict(float)
    columns = [flows[name] for name in ("source_level", "source", "target_level", "target", "flow")]
    for source_level, source, target_level, target, value in zip(*columns, strict=True):
        if np.isfinite(value):
            total[(source_level, source), (target_level, target)] += float(value)
    return {ends: value for ends, value in total.items() if value != 0}


def _strongest(levels: list[str], flow: Mapping[tuple[Node, Node], float], most: int, most_inputs: int) -> set[Node]:
    shown = {target for _, target in flow if target[0] == PREDICTION}
    for level in reversed(levels[:-1]):
        sent: dict[Node, float] = defaultdict(float)
        for (source, target), value in flow.items():
            if source[0] == level and source[1] and target in shown:
                sent[source] += abs(value)
        n_most = most_inputs if level == levels[0] else most
        shown.update(sorted(sent, key=lambda node: (-sent[node], node))[:n_most])
    return shown


@dataclass(frozen=True)
class Box:
    """Where a stop is drawn, in a square of side 1 whose origin is at the upper left."""

    x: float
    y: float
    height: float


@dataclass(frozen=True)
class Band:
    """Where a link is drawn: the upper ends of its two sides at `x`, and its height."""

    x0: float
    y0: float
    x1: float
    y1: float
    height: float


BOX = 0.012  # width of a stop
GAP = 0.022  # between two stops of a level
WIDEST_GAP = 0.08


def placed(diagram: Sankey) -> tuple[tuple[Box, ...], tuple[Band, ...]]:
    """Places of the stops and links of a diagram, in their order; few bands cross."""
    indices = range(len(diagram.stops))
    size = [max(diagram.entering(i), diagram.leaving(i)) for i in indices]
    columns = [[i for i in indices if diagram.stops[i].level == level] for level in diagram.levels]
    scale = min((1 - GAP * (len(column) - 1)) / sum(size[i] for i in column) for column in columns)
    step = (1 - BOX) / max(len(columns) - 1, 1)
    boxes: dict[int, Box] = {}
    for number in reversed(range(len(columns))):
        pulls = {i: _pull(diagram, boxes, i) for i in columns[number]}
        column = sorted(columns[number], key=lambda i: (diagram.stops[i].node is None, pulls[i], -size[i], i))
        free = 1 - scale * sum(size[i] for i in column)
        gap = min(free / max(len(column) - 1, 1), WIDEST_GAP)
        y = (free - gap * (len(column) - 1)) / 2
        for i in column:
            boxes[i] = Box(number * step, y, scale * size[i])
            y += scale * size[i] + gap
    left, right = {i: boxes[i].y for i in indices}, {i: boxes[i].y for i in indices}
    ends: dict[int, list[float]] = {k: [0.0, 0.0] for k in range(len(diagram.links))}
    for k in sorted(ends, key=lambda k: boxes[diagram.links[k].target].y):
        ends[k][0] = right[diagram.links[k].source]
        right[diagram.links[k].source] += scale * diagram.links[k].width
    for k in sorted(ends, key=lambda k: boxes[diagram.links[k].source].y):
        ends[k][1] = left[diagram.links[k].target]
        left[diagram.links[k].target] += scale * diagram.links[k].width
    bands = tuple(
        Band(boxes[link.source].x + BOX, ends[k][0], boxes[link.target].x, ends[k][1], scale * link.width)
        for k, link in enumerate(diagram.links)
    )
    return tuple(boxes[i] for i in indices), bands


def _pull(diagram: Sankey, boxes: Mapping[int, Box], stop: int) -> float:
    """Mean height of the targets of a stop, by width."""
    links = [link for link in diagram.links if link.source == stop and link.target in boxes and link.sign]
    width = sum(link.width for link in links)
    return (
        sum(link.width * (boxes[link.target].y + boxes[link.target].height / 2) for link in links) / width
        if width
        else 0.0
    )


@dataclass(frozen=True, eq=False)
class Curve:
    """Loss by epoch: median, smallest and largest over the networks that still train, and their number."""

    epochs: np.ndarray
    median: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n_networks: np.ndarray


def curves(history: pd.DataFrame) -> dict[str, Curve]:
    """The curves "train" and "validation" of a history; one without values is left out."""
    found = {}
    for part in ("train", "validation"):
        values = history.dropna(subset=[part])
        if len(values):
            by = values.groupby("epoch", sort=True)[part].agg(["median", "min", "max", "count"])
            found[part] = Curve(by.index.to_numpy(), *(by[column].to_numpy() for column in by))
    return found


def calibration(content: Content) -> dict[str, dict[str, pd.DataFrame]]:
    """The calibration curve of each class before and after the temperatures, by class and stage.

    None where a bin of fewer people than a group may have would be shown.
    """
    table = content.calibration_curve
    if table.empty or (content.individuals == "none" and (table["n"] < SMALLEST_GROUP).any()):
        return {}
    return {
        str(name): {str(stage): curve for stage, curve in part.groupby("stage", sort=False)}
        for name, part in table.groupby("class", sort=False)
    }


def contrasts(content: Content) -> tuple[str, ...]:
    """The contrasts of the study, in the order of the nodes."""
    return tuple(str(name) for name in content.nodes["contrast"].dropna().unique())


def _originals(topology: Topology) -> dict[Node, Node]:
    """The node whose value each identity copy repeats."""
    original: dict[Node, Node] = {}
    for below, level in zip(topology.levels, topology.levels[1:], strict=False):
        for node in level.copies:
            original[level.name, node] = original.get((below.name, node), (below.name, node))
    return original


def _genes(topology: Topology) -> dict[Node, int]:
    return {
        (level.name, node): int(count)
        for level in topology.levels[1:]
        for node, count in zip(level.nodes, np.diff(topology.members[level.name].indptr), strict=True)
    }


def _path(node: Node | None) -> str:
    return PREDICTION if node is None else f"{node[0]}/{node[1]}"


def _last(value: float) -> float:
    return value if np.isfinite(value) else np.inf

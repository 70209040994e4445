"""The figures as files: PNG and SVG of what the page shows, for slides and papers."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path as Curve

from vnn._atomic import replacing
from vnn.report import figures, skyline, verdict
from vnn.report.content import Content

INK, MUTED, RULE, ACCENT = "#1b1e23", "#5a616c", "#dfe0da", "#0b5c8c"
UP, DOWN, OTHER, SHADE = "#0072b2", "#d55e00", "#b9bcc2", "#7d8894"
DIVERGING = LinearSegmentedColormap.from_list("blue to orange", [DOWN, "#f4f4f2", UP])
STYLE: dict[Any, Any] = {
    "text.parse_math": False,  # names are text, also those with a dollar sign
    "svg.fonttype": "none",
    "svg.hashsalt": "vnn",
    "font.size": 9,
    "font.sans-serif": ["Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"],
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": MUTED, "xtick.color": MUTED, "ytick.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": False, "grid.color": RULE,
}  # fmt: skip
MOST_PATHWAYS = 20
MOST_CLASSES = 6
MOST_PEOPLE = 4
MOST_LEADERS = 6
BINS = 28
MOST_POINTS, GRID = 5000, (3000, 500)  # of a Manhattan plot
AXES = {"correlation": "correlation with the labels", "share": "share of the separation"}


def write_figures(folder: Path, content: Content) -> tuple[Path, ...]:
    """Draw every figure there are data for; each becomes a PNG and an SVG in `folder`.

    They obey `content.individuals` as the page does. Files of the second and later contrasts carry their number in
    their names.

    Returns
    -------
    The files, in the order of the page.
    """
    drawn: dict[str, Callable[[], Figure | None]] = {
        "verdict": partial(verdicts, content), "chance": partial(chance, content), "explainers": partial(explainers, content),
        "stability": partial(stability, content), "people": partial(people, content),
    }  # fmt: skip
    drawn |= {"performance": partial(performance, content), "calibration": partial(calibration, content)}
    for number, contrast in enumerate(figures.contrasts(content), 1):
        suffix = f"-{number}" if number > 1 else ""
        drawn[f"pathways{suffix}"] = partial(pathways, content, contrast)
        drawn[f"icicle{suffix}"] = partial(icicle, content, contrast)
        drawn[f"paths{suffix}"] = partial(paths, content, contrast)
    for level in skyline.levels(content):
        drawn[f"manhattan-{level.replace(' ', '-')}"] = partial(manhattan, content, level)
    drawn["quantiles"] = partial(quantiles, content)
    drawn |= {"heat-map": partial(heat_map, content), "training": partial(training, content)}
    return write_drawn(folder, drawn)


def write_drawn(folder: Path, drawn: Mapping[str, Callable[[], Figure | None]]) -> tuple[Path, ...]:
    """Draw figures by name, each as a PNG and an SVG in `folder`, which is made; what draws None is left out."""
    written = []
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing", UserWarning)  # a box instead of a rare sign is enough
        for name, draw in drawn.items():
            if (figure := draw()) is None:
                continue
            for kind in ("png", "svg"):
                with replacing(folder / f"{name}.{kind}") as part:
                    metadata = {"Date": None} if kind == "svg" else {}
                    figure.savefig(
                        part, format=kind, dpi=200, bbox_inches="tight", facecolor="white", metadata=metadata
                    )
                written.append(folder / f"{name}.{kind}")
    return tuple(written)


def performance(content: Content) -> Figure | None:
    """Every split of every model in the headline metric, and the means."""
    scores = figures.scores(content)
    if not scores.metrics:
        return None
    metric, network = scores.metrics[0], content.comparison.attrs.get("network")
    models = [model for model in scores.models if model in scores.values[metric]]
    figure, axes = _axes(6.4, 0.6 + 0.36 * len(models))
    for place, model in enumerate(reversed(models)):
        values = np.array(scores.values[metric][model])
        own = model == network
        spread = place + np.linspace(-0.13, 0.13, len(values)) if len(values) > 1 else [place]
        axes.scatter(
            values, spread, s=26, marker="D" if own else "o", facecolors="none", edgecolors=ACCENT if own else MUTED
        )
        if np.isfinite(values).any():
            axes.vlines(np.nanmean(values), place - 0.3, place + 0.3, colors=ACCENT if own else INK, linewidth=2)
    axes.set_yticks(range(len(models)), [cut(model, 34) for model in reversed(models)])
    axes.set_xlabel(f"held-out {metric}; signs are splits, bars are means")
    axes.grid(axis="x")
    return figure


def calibration(content: Content) -> Figure | None:
    """How often each class was the true one among samples of similar probability, before and after the temperatures."""
    found = list(figures.calibration(content).items())[:MOST_CLASSES]
    if not found:
        return None
    n_rows = -(-len(found) // 3)
    figure = Figure(figsize=(3.2 * min(len(found), 3) + 0.4, 3.2 * n_rows + 0.3), layout="constrained")
    panels = figure.subplots(n_rows, min(len(found), 3), squeeze=False).ravel()
    for axes, (name, stages) in zip(panels, found, strict=False):
        axes.plot([0, 1], [0, 1], color=RULE, linewidth=1.2, zorder=0)
        for (stage, curve), (colour, marker) in zip(stages.items(), ((MUTED, "o"), (ACCENT, "D")), strict=False):
            axes.vlines(curve["predicted"], curve["low"], curve["high"], colors=colour, linewidth=0.9, alpha=0.6)
            axes.plot(
                curve["predicted"],
                curve["observed"],
                marker,
                color=colour,
                markersize=4.5,
                fillstyle="none",
                label=stage,
            )
        axes.set(
            xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal", xlabel=f"probability of {cut(name, 24)}, held out"
        )
    for axes in panels[len(found) :]:
        axes.axis("off")
    panels[0].set_ylabel("how often it was")
    panels[0].legend(frameon=False, loc="upper left", fontsize=8)
    return figure


def verdicts(content: Content) -> Figure | None:
    """How many nodes have each verdict, and the leaders of the robust groups with their shares."""
    found = verdict.counts(content)
    if not found:
        return None
    groups = verdict.groups(content)[:MOST_PATHWAYS]
    figure = Figure(figsize=(7.4, 0.9 + 0.27 * max(len(found), len(groups))), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[2, 3])
    words = list(found)
    totals = [sum(found[word].values()) for word in words]
    left.barh(words, totals, color=[ACCENT if word == verdict.ROBUST else OTHER for word in words], height=0.55)
    for place, total in enumerate(totals):
        left.annotate(f"{total:,}", (total, place), (3, 0), textcoords="offset points", va="center", fontsize=8)
    left.invert_yaxis()
    left.set_xlabel("nodes")
    left.spines["left"].set_visible(False)
    left.tick_params(axis="y", length=0)
    several = len({group.contrast for group in groups}) > 1
    for place, group in enumerate(groups):
        share, low, high = (100 * float(group.leader[key]) for key in ("share", "share_low", "share_high"))
        right.hlines(place, low, high, colors=UP if share >= 0 else DOWN, linewidth=1.4)
        right.scatter(share, place, s=26, color=UP if share >= 0 else DOWN, zorder=3)
    labels = [cut(group.leader["name"] + (f" ({group.contrast})" if several else ""), 38) for group in groups]
    right.set_yticks(range(len(groups)), labels, fontsize=8)
    right.set_ylim(max(len(groups), 1) - 0.5, -0.5)
    right.axvline(0, color=MUTED, linewidth=0.8)
    right.set_xlabel(
        "share of the separation in per cent, leaders of robust groups" if groups else "no group is robust"
    )
    return figure


def chance(content: Content) -> Figure | None:
    """For the leaders of the first robust groups, or the nodes that got furthest, the draws of both nulls and the study."""
    drawn = verdict.draws(content)
    if drawn is None or not len(drawn.rows):
        return None
    table = verdict.ordered(content)
    leaders = {group.leader["at"] for group in verdict.groups(content)[:MOST_LEADERS]}
    chosen = [k for k, row in enumerate(drawn.rows) if table.index[row] in leaders] or list(
        range(min(3, len(drawn.rows)))
    )
    figure = Figure(figsize=(7.4, 1.7 * len(chosen) + 0.3), layout="constrained")
    panels = figure.subplots(len(chosen), len(drawn.values), squeeze=False)
    for line, k in zip(panels, chosen, strict=True):
        row = table.iloc[drawn.rows[k]]
        for axes, (name, values) in zip(line, drawn.values.items(), strict=True):
            own, size = values[k][np.isfinite(values[k])], abs(float(row[verdict.COMPARED[name]]))
            reach = np.nanmax([size, *own]) * 1.06 or 1.0
            axes.hist(own, bins=BINS, range=(0, reach), color=OTHER, rwidth=0.92)
            axes.axvline(size, color=ACCENT, linewidth=2)
            axes.set_xlim(0, reach)
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
            axes.set_title(f"{verdict.nulls(content)[name]}, {len(own)} draws", fontsize=7.5, color=MUTED, loc="right")
        line[0].set_title(cut(row["name"], 34), fontsize=8.5, loc="left")
    for axes, name in zip(panels[-1], drawn.values, strict=True):
        axes.set_xlabel(f"{AXES[verdict.COMPARED[name]]}; line: this study", fontsize=8)
    return figure


def explainers(content: Content) -> Figure | None:
    """Agreement between explainers, a cell each."""
    table = content.overlap
    if table.empty:
        return None
    n, m = table.shape
    figure, axes = _axes(2.4 + 0.62 * m, 1.4 + 0.42 * n)
    axes.imshow(table.to_numpy(dtype=float), cmap=DIVERGING, vmin=-1.5, vmax=1.5, aspect="auto")
    for (i, j), value in np.ndenumerate(table.to_numpy(dtype=float)):
        axes.text(j, i, "–" if np.isnan(value) else f"{value:.2f}", ha="center", va="center", fontsize=8)
    axes.set_xticks(range(m), [cut(name, 24) for name in table.columns], rotation=35, ha="right", fontsize=8)
    axes.set_yticks(range(n), [cut(name, 28) for name in table.index], fontsize=8)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_title(textwrap.fill(str(table.attrs.get("words", "")), 70), fontsize=8, loc="left", color=MUTED)
    return figure


def stability(content: Content) -> Figure | None:
    """The stability curves, a frame for each panel."""
    found = figures.stability(content)
    if not found:
        return None
    n_rows = -(-len(found) // 2)
    figure = Figure(figsize=(3.9 * min(len(found), 2), 3.1 * n_rows), layout="constrained")
    frames = figure.subplots(n_rows, min(len(found), 2), squeeze=False).ravel()
    for axes, panel in zip(frames, found, strict=False):
        looks = ((ACCENT, "-"), (DOWN, "--"), (UP, ":"), (MUTED, "-."), (INK, (0, (6, 2))))
        for i, (name, curve) in enumerate(panel.curves.items()):
            colour, dash = looks[i % len(looks)]
            axes.fill_between(curve["x"], curve["low"], curve["high"], color=colour, alpha=0.13, linewidth=0)
            axes.plot(curve["x"], curve["value"], color=colour, linestyle=dash, label=cut(name, 40))
        axes.set(xlabel=panel.x, ylabel=panel.y)
        axes.set_title(cut(panel.name, 50), fontsize=8.5, loc="left")
        axes.grid(visible=True)
        if len(panel.curves) > 1:
            axes.legend(frameon=False, fontsize=7.5)
    for axes in frames[len(found) :]:
        axes.axis("off")
    return figure


def people(content: Content) -> Figure | None:
    """What moved the predictions of the first few people, where individuals may be shown."""
    found, _ = figures.contributions(content, most_nodes=10, most_people=MOST_PEOPLE)
    if not found:
        return None
    figure = Figure(figsize=(7.4, 2.6 * -(-len(found) // 2)), layout="constrained")
    frames = figure.subplots(-(-len(found) // 2), 2, squeeze=False).ravel()
    for axes, person in zip(frames, found, strict=False):
        contrast, own = next(iter(person.strongest.items()))
        places = np.arange(len(own))[::-1]
        colours = [UP if value >= 0 else DOWN for value in own["contribution"]]
        axes.hlines(places, own["low"], own["high"], colors=colours, linewidth=1.3)
        axes.scatter(own["contribution"], places, s=20, color=colours, zorder=3)
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.set_yticks(places, [cut(name, 30) for name in own["name"]], fontsize=7)
        heading = " · ".join(text for text in (person.label, person.group, contrast) if text)
        axes.set_title(cut(heading, 60), fontsize=8, loc="left")
    for axes in frames[len(found) :]:
        axes.axis("off")
    return figure


def pathways(content: Content, contrast: str) -> Figure | None:
    """The largest effects with their intervals, beside the shares of the attribution."""
    table = content.nodes[content.nodes["contrast"] == contrast].dropna(subset=["effect"]).head(MOST_PATHWAYS)
    if table.empty:
        return None
    figure = Figure(figsize=(7.4, 1.0 + 0.27 * len(table)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    places = np.arange(len(table))[::-1]
    for place, row in zip(places, table.to_dict(orient="records"), strict=True):
        colour = DOWN if row["effect"] < 0 else UP
        sure = row["effect_low"] * row["effect_high"] > 0
        left.hlines(place, row["effect_low"], row["effect_high"], colors=colour, linewidth=1.4)
        left.scatter(row["effect"], place, s=26, facecolors=colour if sure else "white", edgecolors=colour, zorder=3)
        right.hlines(place, 100 * row["share_low"], 100 * row["share_high"], colors=MUTED, linewidth=1.2, zorder=3)
        right.barh(place, 100 * row["share"], height=0.55, color=DOWN if row["share"] < 0 else UP, alpha=0.75)
    for axes in (left, right):
        axes.axvline(0, color=MUTED, linewidth=0.8, zorder=0)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
    left.set_yticks(places, [cut(name, 40) for name in table["name"]])
    left.set_xlabel(f"activity effect, 95 % interval\n{textwrap.shorten(contrast, 50, placeholder='…')}")
    right.set_xlabel("share of the attribution\nof its level, %")
    return figure


def manhattan(content: Content, level: str) -> Figure | None:
    """All points of a level in one panel for each measure and each of the first contrasts, the weak ones to a pixel."""
    table = content.skylines[level]
    along = skyline.axis(table)
    panels = [
        (str(contrast), own, measure)
        for contrast, own in list(table.groupby("contrast", sort=False))[:MOST_CLASSES]
        for measure in skyline.measures(own)
    ]
    figure = Figure(figsize=(9.0, 2.5 * len(panels) + 0.2), layout="constrained")
    several = table["contrast"].nunique() > 1
    for axes, (contrast, own, measure) in zip(
        figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels, strict=True
    ):
        found = skyline.view(own, along, measure, most=MOST_POINTS)
        row, column = np.nonzero(found.cells(*GRID))
        x = np.concatenate([found.x, (column + 0.5) / GRID[0]])
        y = np.concatenate([found.y, (row + 0.5) / GRID[1] * found.top])
        part = np.searchsorted(along.end, x - 1e-6).clip(0, len(along.names) - 1)
        tone = np.array([UP, SHADE])[part % 2 if len(along.names) > 1 else 0 * part]
        axes.scatter(x, y, s=5 if found.n > 500 else 14, c=tone, linewidths=0, rasterized=found.n > 500)
        if "robust" in own and (robust := own["robust"].to_numpy(dtype=bool)[found.points]).any():
            axes.scatter(found.x[robust], found.y[robust], s=34, color=DOWN, zorder=3, label="robust")
            axes.legend(frameon=False, fontsize=7.5)
        if np.isfinite(found.line):
            axes.axhline(found.line, color=MUTED, linewidth=0.8, linestyle="--")
        for *at, name in skyline.strongest(own, found):
            side = "left" if at[0] < 0.05 else "right" if at[0] > 0.95 else "center"
            axes.annotate(cut(name, 26), (at[0], at[1]), (0, 3), textcoords="offset points", ha=side, fontsize=7.5)
        crowded = len(along.names) > 12
        ticks = [(a + b) / 2 for a, b in zip(along.start, along.end, strict=True)]
        shown = [i for i in range(len(ticks)) if not crowded or i < 12 or not i % 2]
        axes.set_xticks([ticks[i] for i in shown], [cut(along.names[i], 14) for i in shown], fontsize=8)
        axes.set(xlim=(-0.005, 1.005), ylim=(0, found.top * 1.06))
        axes.set_ylabel(measure.axis, fontsize=8)
        if several:
            axes.set_title(cut(contrast, 60), fontsize=8.5, loc="left")
    figure.supxlabel(str(table.attrs.get("axis", "chromosome")), fontsize=8.5, color=MUTED)
    return figure


def quantiles(content: Content) -> Figure | None:
    """Observed p of single variants against those of chance."""
    found = list(skyline.all_quantiles(content).items())[:MOST_CLASSES]
    if not found:
        return None
    n_rows = -(-len(found) // 3)
    figure = Figure(figsize=(3.6 * min(len(found), 3) + 0.4, 3.6 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, min(len(found), 3), squeeze=False).ravel()
    for axes, (name, one) in zip(panels, found, strict=False):
        axes.fill_between(one.expected, one.low, one.high, color=OTHER, alpha=0.5, linewidth=0)
        axes.plot([0, one.expected.max()], [0, one.expected.max()], color=MUTED, linewidth=0.8, linestyle=":")
        axes.scatter(one.expected, one.observed, s=7, color=ACCENT, linewidths=0)
        axes.set(xlabel="expected −log10 p", ylabel="observed −log10 p")
        axes.set_title(f"{cut(name, 30)}: {one.n:,} variants, λ {one.inflation:.2f}", fontsize=8.5, loc="left")
    for axes in panels[len(found) :]:
        axes.axis("off")
    return figure


def heat_map(content: Content) -> Figure | None:
    """Activities of the top nodes, people or groups in columns."""
    heat = figures.heat_map(content)
    if heat is None:
        return None
    n_nodes = len(heat.nodes)
    figure, axes = _axes(7.4, 0.9 + 0.17 * n_nodes)
    sizes = np.abs(heat.values[np.isfinite(heat.values)])
    most = float(np.quantile(sizes, 0.98)) if len(sizes) else 1.0
    image = axes.imshow(heat.values, cmap=DIVERGING, vmin=-most, vmax=most, aspect="auto", interpolation="nearest")
    axes.set_yticks(range(n_nodes), [cut(label, 40) for label in heat.labels], fontsize=7.5)
    axes.set_xticks([])
    for name, first, count, people in heat.groups:
        axes.text(first + count / 2 - 0.5, -0.9, f"{cut(name, 24)} ({people:,})", ha="center", va="bottom")
        if first:
            axes.axvline(first - 0.5, color="white", linewidth=3)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlabel(heat.rule, fontsize=7.5)
    figure.colorbar(image, ax=axes, shrink=min(1.0, 12 / n_nodes), label="activity", aspect=14)
    return figure


def icicle(content: Content, contrast: str) -> Figure | None:
    """The ontology as a tree from the left, as wide as genes, coloured by the signed share of attribution."""
    sectors = figures.sunburst(content)
    if len(sectors) < 2:
        return None
    mine = content.nodes[content.nodes["contrast"] == contrast]
    share = dict(zip(zip(mine["level"], mine["node"], strict=True), mine["share"], strict=True))
    children: dict[str, list[figures.Sector]] = {}
    for sector in sectors:
        children.setdefault(sector.parent, []).append(sector)

    def size(sector: figures.Sector) -> float:
        return sector.size + sum(map(size, children.get(sector.id, [])))

    def deep(sector: figures.Sector) -> int:
        return 1 + max(map(deep, children.get(sector.id, [])), default=0)

    root = sectors[0]
    most = max((abs(share.get(s.node, 0.0)) for s in sectors if s.node), default=0.0) or 1.0
    total, n_leaves = size(root), sum(1 for s in sectors if s.id not in children)
    height = float(np.clip(0.17 * n_leaves, 3.5, 14.0))
    figure, axes = _axes(1.85 * deep(root), height)

    def draw(sector: figures.Sector, depth: int, top: float) -> None:
        tall = size(sector)
        value = share.get(sector.node, np.nan) if sector.node else np.nan
        strength = np.sign(value) * np.sqrt(abs(value) / most)
        colour = DIVERGING((strength + 1) / 2) if np.isfinite(value) else RULE
        axes.add_patch(Rectangle((depth, top), 0.985, tall, facecolor=colour, edgecolor="white", linewidth=0.8))
        if tall / total * height > 0.12:
            dark = np.isfinite(strength) and abs(strength) > 0.75
            look: dict[str, Any] = {
                "fontsize": 6.8,
                "color": "white" if dark else INK,
                "clip_on": True,
                "in_layout": False,
            }
            axes.text(depth + 0.03, top + tall / 2, cut(sector.label, 30), va="center", **look)
        for child in sorted(children.get(sector.id, []), key=lambda child: (-size(child), child.id)):
            draw(child, depth + 1, top)
            top += size(child)

    draw(root, 0, 0.0)
    axes.set_xlim(0, deep(root))
    axes.set_ylim(total, 0)
    axes.axis("off")
    caption = f"Height: {content.inputs_called}. Colour: share of the attribution of its level, blue + and orange −. {contrast}"
    axes.set_title(textwrap.fill(caption, 90), fontsize=8, loc="left", color=MUTED)
    return figure


def paths(content: Content, contrast: str) -> Figure | None:
    """The strongest paths from the inputs to the prediction."""
    diagram = figures.sankey(content, contrast)
    if diagram is None:
        return None
    boxes, bands = figures.placed(diagram)
    figure, axes = _axes(max(7.4, 1.75 * len(diagram.levels)), 5.2)
    for link, band in sorted(zip(diagram.links, bands, strict=True), key=lambda pair: abs(pair[0].sign)):
        look: dict[str, Any] = {"facecolor": UP, "alpha": 0.5, "linewidth": 0}
        if link.sign < 0:
            look = {"facecolor": DOWN, "alpha": 0.5, "edgecolor": INK, "linewidth": 0.6, "linestyle": "--"}
        elif link.sign == 0:
            look = {"facecolor": OTHER, "alpha": 0.3, "linewidth": 0}
        axes.add_patch(PathPatch(_band(band), **look))
    for stop, box in zip(diagram.stops, boxes, strict=True):
        axes.add_patch(
            Rectangle((box.x, box.y), figures.BOX, box.height, color=INK if stop.node else OTHER, linewidth=0)
        )
        tone = INK if stop.node else MUTED
        middle = box.y + box.height / 2
        axes.text(box.x + figures.BOX + 0.006, middle, cut(stop.label, 24), va="center", fontsize=7, color=tone)
    for i, level in enumerate(diagram.levels):
        x = i * (1 - figures.BOX) / max(len(diagram.levels) - 1, 1)
        axes.text(x, -0.03, cut(level, 24), fontsize=7, color=MUTED)
    axes.set_xlim(0, 1.1)
    axes.set_ylim(1.0, -0.06)
    axes.axis("off")
    caption = f"Blue: with the outcome (+). Orange, dashed: against it (−). Grey: other. {contrast}"
    axes.set_title(textwrap.fill(caption, 110), fontsize=8, loc="left", color=MUTED)
    return figure


def training(content: Content) -> Figure | None:
    """Loss by epoch, median and range over the networks that still train."""
    curves = figures.curves(content.history)
    if not curves:
        return None
    figure, axes = _axes(6.4, 3.2)
    for name, (colour, dash) in {"train": (MUTED, ":"), "validation": (ACCENT, "-")}.items():
        if name in curves:
            curve = curves[name]
            axes.fill_between(curve.epochs, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(curve.epochs, curve.median, color=colour, linestyle=dash, label=name)
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss")
    axes.set_title("median and range of the networks that still train", fontsize=8, loc="left", color=MUTED)
    axes.grid(visible=True)
    axes.legend(frameon=False)
    return figure


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _band(band: figures.Band) -> Curve:
    middle = (band.x0 + band.x1) / 2
    upper = [(band.x0, band.y0), (middle, band.y0), (middle, band.y1), (band.x1, band.y1)]
    lower = [(x, y + band.height) for x, y in reversed(upper)]
    codes = [Curve.MOVETO, *[Curve.CURVE4] * 3, Curve.LINETO, *[Curve.CURVE4] * 3, Curve.CLOSEPOLY]
    return Curve([*upper, *lower, upper[0]], codes)


def cut(text: str, most: int) -> str:
    """A name on one line that leaves room for what it names."""
    line = " ".join(str(text).split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"

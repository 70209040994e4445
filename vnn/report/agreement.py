"""Figures of the protocol of Zhao: agreement against the number of models, and which explainers name the same nodes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vnn.interpret.protocol import DISJOINT, OVERLAPPING, Protocol
from vnn.report.static import ACCENT, DIVERGING, DOWN, INK, MUTED, RULE, cut, write_drawn

MEASURES = {"overlap": "share of the top nodes in common", "spearman": "Spearman correlation of |score|"}
LOOK = {DISJOINT: (ACCENT, "-", "o"), OVERLAPPING: (DOWN, "--", "s")}
MEANS = {DISJOINT: "sets that share no model", OVERLAPPING: "sets that may share models (as published)"}
MOST_EXPLAINERS = 12


def write_agreement(folder: Path, protocol: Protocol) -> tuple[Path, ...]:
    """Draw the curves of every level and the matrix of every level; each becomes a PNG and an SVG in `folder`.

    Parameters
    ----------
    folder
        Made if it is not there.
    protocol
        What `vnn.interpret.protocol.protocol` returned.

    Returns
    -------
    The files: "curves-1.png" for the first level, and so on.
    """
    drawn: dict[str, Callable[[], Figure | None]] = {}
    for what, draw in {"curves": curves, "matrix": matrix}.items():
        levels = getattr(protocol, what)["level"].drop_duplicates()
        drawn |= {f"{what}-{number}": partial(draw, protocol, level) for number, level in enumerate(levels, 1)}
    return write_drawn(folder, drawn)


def curves(protocol: Protocol, level: str) -> Figure | None:
    """Agreement of the rankings of a level against the number of models averaged; None where there is no curve.

    A row of panels per measure, a panel per explainer. The band is the jackknife interval, the dotted line what random
    rankings reach.
    """
    table = protocol.curves[protocol.curves["level"] == level]
    names = list(dict.fromkeys(table["explainer"]))[:MOST_EXPLAINERS]
    if not names:
        return None
    figure = Figure(figsize=(2.6 * len(names) + 1.2, 5.0), layout="constrained")
    panels = figure.subplots(len(MEASURES), len(names), sharex=True, sharey="row", squeeze=False)
    for row, (measure, text) in enumerate(MEASURES.items()):
        for axes, name in zip(panels[row], names, strict=True):
            own = table[table["explainer"] == name]
            for models, (colour, dash, marker) in LOOK.items():
                part = own[own["models"] == models]
                axes.fill_between(
                    part["n"], part[f"{measure}_low"], part[f"{measure}_high"], color=colour, alpha=0.15, linewidth=0
                )
                axes.plot(
                    part["n"], part[measure], color=colour, linestyle=dash, marker=marker, markersize=3.5,
                    fillstyle="none", label=MEANS[models],
                )  # fmt: skip
            axes.axhline(
                own["chance"].iloc[0] if measure == "overlap" else 0.0, color=MUTED, linestyle=":", linewidth=1
            )
            axes.set_xscale("log", base=2)
            shown = [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= own["n"].max()]
            axes.set_xticks(shown, [str(n) for n in shown])
            axes.set_xticks([], minor=True)
            axes.grid(visible=True, color=RULE)
            if row == 0:
                axes.set_title(f"{cut(name, 28)}\ntop {own['top'].iloc[0]:,}", fontsize=8, loc="left", color=INK)
            else:
                axes.set_xlabel("models averaged")
        panels[row, 0].set_ylabel(text)
        panels[row, 0].set_ylim(min(0.0, float(np.nanmin([table[measure].min(), table[f"{measure}_low"].min()]))), 1.02)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="outside lower left", ncols=2, fontsize=8)
    figure.suptitle(_title(protocol, level), fontsize=9, x=0.01, ha="left", color=MUTED)
    return figure


def matrix(protocol: Protocol, level: str) -> Figure | None:
    """Which explainers name the same top nodes of a level, on the same models and between halves; None for fewer than two.

    Between halves the diagonal is how far an explainer agrees with itself when all its models are others.
    """
    table = protocol.matrix[protocol.matrix["level"] == level]
    names = list(dict.fromkeys(table["explainer"]))[:MOST_EXPLAINERS]
    if len(names) < 2:
        return None
    kinds = {"overlap": "same models", "overlap_disjoint": "one half of the models against the other"}
    kinds = {column: text for column, text in kinds.items() if table[column].notna().any()}
    n = len(names)
    figure = Figure(figsize=((0.62 * n + 1.0) * len(kinds) + 1.6, 0.5 * n + 2.2), layout="constrained")
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axes, (column, text) in zip(panels, kinds.items(), strict=True):
        values = _square(table, names, column)
        image = axes.imshow(values, cmap=DIVERGING, vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
        for i, j in np.ndindex(n, n):
            tone = "white" if values[i, j] > 0.7 else INK
            axes.text(j, i, f"{100 * values[i, j]:.0f}", ha="center", va="center", fontsize=7.5, color=tone)
        shown = [cut(name, 28) for name in names]
        axes.set_xticks(range(n), shown, rotation=40, ha="right", fontsize=7.5)
        axes.set_yticks(range(n), shown, fontsize=7.5)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.set_title(text, fontsize=8, loc="left", color=INK)
    bar = figure.colorbar(image, ax=panels, boundaries=np.linspace(0, 1, 101), ticks=[0, 0.5, 1], aspect=18)
    bar.set_label("share of the top nodes in common")
    chance, top = table["chance"].iloc[0], int(table["top"].iloc[0])
    figure.suptitle(
        f"{_title(protocol, level)}; % of the top {top:,}, chance {chance:.0%}",
        fontsize=9,
        x=0.01,
        ha="left",
        color=MUTED,
    )
    return figure


def _square(table: pd.DataFrame, names: list[str], column: str) -> np.ndarray:
    return table.pivot(index="explainer", columns="other", values=column).loc[names, names].to_numpy(dtype=float)


def _title(protocol: Protocol, level: str) -> str:
    form = "as published" if protocol.as_published else "default form"
    return f"{level}, {len(protocol.models):,} models, {form}"

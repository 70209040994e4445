"""A waterfall: from the baseline to the prediction of one sample, a bar for every pathway or gene that moves it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from vnn.interpret.one_sample import OneSample, Step
from vnn.report.figures import without_prefix
from vnn.report.static import DOWN, INK, MUTED, OTHER, STYLE, UP, cut

Kind = Literal["end", "node", "sum"]
LONGEST = 40


@dataclass(frozen=True)
class Bar:
    """One bar from the top down.

    Parameters
    ----------
    label
        What is written beside it.
    start, end
        Where it begins and ends, in logits or the units of the quantity; both ends of the first and last bar are the
        baseline and the prediction themselves.
    low, high
        95 % interval of its end over networks; missing for sums.
    kind
        "end" for baseline and prediction, "node", or "sum" for what is summed up.
    """

    label: str
    start: float
    end: float
    low: float
    high: float
    kind: Kind


@dataclass(frozen=True)
class Waterfall:
    """What is drawn: the bars, what the axis says, and a caption."""

    bars: tuple[Bar, ...]
    axis: str
    caption: str

    def to_json(self) -> dict[str, Any]:
        """Plain values for a page; missing numbers are None."""
        found = asdict(self)
        for bar in found["bars"]:
            bar |= {end: None if np.isnan(bar[end]) else bar[end] for end in ("low", "high")}
        return found


def waterfall(explained: OneSample, level: str | None = None, *, most: int = 10) -> Waterfall:
    """The bars of one level of an explanation.

    Parameters
    ----------
    explained
        As it may be shown: see `vnn.interpret.one_sample.shown`.
    level
        The first level of pathways unless given.
    most
        How many nodes are bars of their own.
    """
    chosen = explained.levels[1] if level is None else level
    steps = explained.steps(chosen, most=most)
    labels = iter(without_prefix([step.label for step in steps if step.node]))
    missing = float("nan")
    bars = [Bar("baseline", explained.start, explained.start, missing, missing, "end")]
    bars += [_bar(step, next(labels) if step.node else step.label) for step in steps]
    bars.append(Bar("prediction", explained.end, explained.end, missing, missing, "end"))
    probable = explained.prediction
    said = "; ".join(
        f"{name} {mean:.2f} (sd {sd:.2f})" for name, mean, sd in probable[["mean", "sd"]].itertuples(name=None)
    )
    caption = (
        f"{explained.sample}: {said}; {explained.n_networks} networks that did not learn from this sample. {chosen}. Against "
        f"{explained.baseline}. Blue pushes up, orange down; grey sums up several. Whiskers: 95 % intervals over networks."
    )
    unit = "logits, " if explained.prediction.shape[0] > 1 else ""
    return Waterfall(tuple(bars), f"{unit}{explained.contrast}", caption)


def draw_waterfall(explained: OneSample, level: str | None = None, *, most: int = 10) -> Figure:
    """The waterfall of one level as a figure; see `waterfall`."""
    shown = waterfall(explained, level, most=most)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.4, 1.2 + 0.3 * len(shown.bars)), layout="constrained")
        axes = figure.add_subplot()
        places = np.arange(len(shown.bars))[::-1]
        for place, bar in zip(places, shown.bars, strict=True):
            if bar.kind == "end":
                axes.vlines(bar.end, place - 0.4, place + 0.4, colors=INK, linewidth=2.2)
                continue
            colour = OTHER if bar.kind == "sum" else UP if bar.end >= bar.start else DOWN
            (drawn,) = axes.barh(place, bar.end - bar.start, left=bar.start, height=0.62, color=colour)
            if colour == DOWN:
                drawn.set(hatch="///", edgecolor="white")
            if np.isfinite(bar.low):
                axes.hlines(place, bar.low, bar.high, colors=INK, linewidth=1.0)
        ends = [bar.end for bar in shown.bars]
        for place, end in zip(places[:-1], ends[:-1], strict=True):
            axes.vlines(end, place - 1, place, colors=MUTED, linewidth=0.6, linestyle=":")
        axes.set_xlim(*_room(shown.bars))
        axes.set_yticks(places, [cut(bar.label, LONGEST) for bar in shown.bars])
        axes.set_xlabel(textwrap.fill(shown.axis, 80))
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        axes.set_title(textwrap.fill(shown.caption, 100), fontsize=8, loc="left", color=MUTED)
    return figure


def _bar(step: Step, label: str) -> Bar:
    ends = (step.start + step.low, step.start + step.high)
    return Bar(label, step.start, step.start + step.value, *ends, "node" if step.node else "sum")


def _room(bars: Sequence[Bar]) -> tuple[float, float]:
    """Limits of the axis: all bars, and whiskers as far as twice their range."""
    ends = np.array([value for bar in bars for value in (bar.start, bar.end)])
    low, high = float(ends.min()), float(ends.max())
    wide = (high - low) or 1.0
    whiskers = np.array([value for bar in bars for value in (bar.low, bar.high) if np.isfinite(value)] or [low])
    return max(low - wide, min(low, whiskers.min())) - 0.03 * wide, min(
        high + wide, max(high, whiskers.max())
    ) + 0.03 * wide

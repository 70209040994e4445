"""Manhattan plots and quantiles of p: a million points as a few thousand with names, and a grid of those that have none."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import beta, norm

from vnn.report.content import Content

COLUMNS, ROWS = 1200, 220
MOST_POINTS = 1000
MOST_CELLS = 900_000  # bytes of all grids of a page
GAP = 0.006  # between two chromosomes, of the width
GENOME_WIDE = 5e-8
ORDER = [*map(str, range(1, 23)), "X", "XY", "Y", "MT"]
NOTE, REGION = "note", "region"


@dataclass(frozen=True)
class Measure:
    """What a Manhattan plot shows.

    Parameters
    ----------
    key
        Column of the table.
    name, axis
        In the chooser, and at the axis.
    scale
        By what values are multiplied before they are drawn.
    """

    key: str
    name: str
    axis: str
    scale: float = 1.0


MEASURES = (
    Measure("minus_log10_p", "association of single variants", "−log10 p"),
    Measure("importance", "relative importance (weights)", "relative importance, % of the level", 100),
    Measure("share", "attribution (held out)", "|attribution|, % of the level", 100),
)


@dataclass(frozen=True, eq=False)
class Axis:
    """The genome, or the levels of the pathways, from 0 to 1.

    Parameters
    ----------
    names
        Of the chromosomes or levels, from left to right.
    start, end
        Of each.
    """

    names: tuple[str, ...]
    start: np.ndarray
    end: np.ndarray


@dataclass(frozen=True, eq=False)
class View:
    """One Manhattan plot.

    Parameters
    ----------
    measure
        What is drawn.
    n
        How many points there are.
    points
        Rows of the table of the level that have a place, a value and a name of their own, from the largest value down.
    x, y
        Of these points; y in the units of the axis.
    rest_x, rest_y
        Of all others.
    line
        A threshold, or NaN.
    """

    measure: Measure
    n: int
    points: np.ndarray
    x: np.ndarray
    y: np.ndarray
    rest_x: np.ndarray
    rest_y: np.ndarray
    line: float

    @property
    def top(self) -> float:
        """The upper end of the axis."""
        most = max(float(self.y.max(initial=0.0)), self.line if np.isfinite(self.line) else 0.0)
        return 1.06 * most or 1.0

    def cells(self, columns: int = COLUMNS, rows: int = ROWS) -> np.ndarray:
        """Which cells of a grid hold points without a name, bool (rows, columns), the lowest row first."""
        grid = np.zeros((rows, columns), dtype=bool)
        row = np.minimum((self.rest_y / self.top * rows).astype(int), rows - 1)
        grid[row, np.minimum((self.rest_x * columns).astype(int), columns - 1)] = True
        return grid


def levels(content: Content) -> tuple[str, ...]:
    """The levels that have a Manhattan plot, variants first."""
    return tuple(name for name, table in content.skylines.items() if len(table))


def measures(table: pd.DataFrame) -> tuple[Measure, ...]:
    """What is known of a level."""
    return tuple(measure for measure in MEASURES if measure.key in table and table[measure.key].notna().any())


def axis(table: pd.DataFrame) -> Axis:
    """Chromosomes as long as the span of what is known on them, in their order, with a small gap between two."""
    spans = table.groupby("chromosome", sort=False)["position"].agg(["min", "max"])
    known = {name: place for place, name in enumerate(ORDER)}
    order = sorted(spans.index, key=lambda name: (known.get(str(name), len(known)), str(name)))
    spans = spans.loc[order]
    size = np.maximum((spans["max"] - spans["min"]).to_numpy(dtype=float), 1)
    size = np.maximum(size / size.sum(), 0.004)
    room = 1 - GAP * (len(size) - 1)
    size = size / size.sum() * room
    start = np.cumsum(size) - size + GAP * np.arange(len(size))
    return Axis(tuple(map(str, order)), start, start + size)


def places(table: pd.DataFrame, along: Axis) -> np.ndarray:
    """Where the rows of a table lie, from 0 to 1."""
    at = pd.Index(along.names).get_indexer(table["chromosome"].astype(str))
    spans = table.groupby(table["chromosome"].astype(str))["position"].agg(["min", "max"]).loc[list(along.names)]
    low, long = spans["min"].to_numpy(dtype=float), (spans["max"] - spans["min"]).to_numpy(dtype=float)
    within = (table["position"].to_numpy(dtype=float) - low[at]) / np.maximum(long[at], 1)
    within = np.where(long[at] > 0, within, 0.5)
    found: np.ndarray = along.start[at] + within * (along.end - along.start)[at]
    return found


def view(table: pd.DataFrame, along: Axis, measure: Measure, *, most: int = MOST_POINTS) -> View:
    """One plot of the rows of one contrast; rows without a value are not drawn."""
    y = np.abs(table[measure.key].to_numpy(dtype=float)) * measure.scale
    x = places(table, along)
    known = np.flatnonzero(np.isfinite(y))
    order = known[np.argsort(-y[known], kind="stable")]
    top, rest = order[:most], order[most:]
    line = -np.log10(min(GENOME_WIDE, 1.0)) if measure.key == "minus_log10_p" else np.nan
    return View(measure, len(known), top, x[top], y[top], x[rest], y[rest], line)


def drawn(content: Content) -> list[dict[str, Any]]:
    """The plots of all levels as scripts draw them: names once, points by number, grids as packed bits."""
    tables = {name: content.skylines[name] for name in levels(content)}
    crowded = sum(
        len(measures(table)) * table["contrast"].nunique()
        for table in tables.values()
        if len(table) > MOST_POINTS * table["contrast"].nunique()
    )
    columns = COLUMNS
    while crowded * columns * ROWS // 8 > MOST_CELLS and columns > 150:
        columns //= 2
    made = []
    for level, table in tables.items():
        along = axis(table)
        names: dict[str, int] = {}
        notes: list[str] = []
        views = []
        for contrast, own in table.groupby("contrast", sort=False):
            for measure in measures(own):
                found = view(own, along, measure)
                rows = own.iloc[found.points]
                for name, note in zip(rows["name"].astype(str), _notes(rows), strict=True):
                    if name not in names:
                        names[name] = len(names)
                        notes.append(note)
                grid = found.cells(columns) if len(found.rest_x) else None
                views.append(
                    {
                        "contrast": str(contrast), "measure": measure.name, "axis": measure.axis, "n": found.n,
                        "top": found.top, "line": found.line, "x": np.round(found.x, 5), "y": found.y,
                        "at": [names[name] for name in rows["name"].astype(str)],
                        "robust": np.flatnonzero(rows["robust"].to_numpy(dtype=bool)) if "robust" in rows else [],
                        "grid": None if grid is None else base64.b64encode(np.packbits(grid).tobytes()).decode(),
                    }
                )  # fmt: skip
        made.append(
            {
                "level": level, "kind": str(table.attrs.get("axis", "chromosome")),
                "names": list(names), "notes": notes, "columns": columns, "rows": ROWS, "views": views,
                "parts": [{"name": name, "start": a, "end": b}
                          for name, a, b in zip(along.names, along.start, along.end, strict=True)],
                "regions": _regions(content, table, along),
            }
        )  # fmt: skip
    return made


def _notes(rows: pd.DataFrame) -> list[str]:
    return [str(note) for note in rows[NOTE]] if NOTE in rows else [""] * len(rows)


def _regions(content: Content, table: pd.DataFrame, along: Axis) -> list[dict[str, Any]]:
    """Regions of long-range linkage as parts of the axis."""
    found: list[dict[str, Any]] = []
    if content.regions.empty or table.attrs.get("axis", "chromosome") != "chromosome":
        return found
    spans = table.groupby(table["chromosome"].astype(str))["position"].agg(["min", "max"])
    for name, chromosome, start, end in content.regions[[REGION, "chromosome", "start", "end"]].itertuples(index=False):
        if str(chromosome) not in along.names:
            continue
        i, (low, high) = along.names.index(str(chromosome)), spans.loc[str(chromosome)]
        a, b = max(start, low), min(end, high)
        if a < b:
            width = (along.end[i] - along.start[i]) / max(high - low, 1)
            found.append(
                {"name": name, "start": along.start[i] + (a - low) * width, "end": along.start[i] + (b - low) * width}
            )
    return found


@dataclass(frozen=True, eq=False)
class Quantiles:
    """Observed p against those of chance, as -log10.

    Parameters
    ----------
    n
        Number of p.
    expected, observed, low, high
        The smallest p one by one, the others thinned; the band holds 95 % of what chance gives at each place.
    inflation
        Lambda of genomic control.
    """

    n: int
    expected: np.ndarray
    observed: np.ndarray
    low: np.ndarray
    high: np.ndarray
    inflation: float


def quantiles(minus_log10_p: np.ndarray, *, most: int = 600) -> Quantiles | None:
    """A QQ plot of p; None without any."""
    y = np.sort(np.asarray(minus_log10_p, dtype=float)[np.isfinite(minus_log10_p)])[::-1]
    n = len(y)
    if not n:
        return None
    at = np.arange(n)
    if n > most:
        far = np.unique(np.geomspace(most // 2, n, most // 2 + 1).astype(int) - 1)
        at = np.concatenate([np.arange(most // 2), far[far >= most // 2]])
    rank = at + 1.0
    ends = (beta.ppf(q, rank, n - rank + 1) for q in (0.975, 0.025))
    low, high = (-np.log10(end) for end in ends)
    z = norm.isf(10.0 ** -float(np.median(y)) / 2)
    return Quantiles(n, -np.log10((rank - 0.5) / n), y[at], low, high, float(z**2 / norm.isf(0.25) ** 2))


def all_quantiles(content: Content) -> Mapping[str, Quantiles]:
    """By contrast the quantiles of the p of single variants."""
    found = {}
    for table in content.skylines.values():
        if MEASURES[0].key in table:
            for name, own in table.groupby("contrast", sort=False):
                if (made := quantiles(own[MEASURES[0].key].to_numpy())) is not None:
                    found[str(name)] = made
            break
    return found


def strongest(table: pd.DataFrame, found: View, most: int = 8) -> Sequence[tuple[float, float, str]]:
    """The points that are named in a drawing: x, y and name of the largest whose names do not lie over those of larger ones."""
    said: list[tuple[float, float, str]] = []
    names = [note or name for name, note in zip(table["name"].astype(str), _notes(table), strict=True)]
    for row, x, y in zip(found.points, found.x, found.y, strict=True):
        if len(said) == most:
            break
        room = 0.0055 * min(len(names[row]), 26)
        free = all(
            names[row] != name and (abs(x - a) > room + 0.0055 * min(len(name), 26) or abs(y - b) > 0.09 * found.top)
            for a, b, name in said
        )
        if y > 0.12 * found.top and free:
            said.append((float(x), float(y), names[row]))
    return said

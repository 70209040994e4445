"""Figures of the protocol: what is drawn are the numbers of the tables, and hostile names are text."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from tests.report.contents import HOSTILE
from vnn.interpret.protocol import (
    COMPLETENESS,
    CURVES,
    DISJOINT,
    IMPORTANCE,
    LISTS,
    MATRIX,
    OVERLAPPING,
    TRIVIAL,
    Protocol,
)
from vnn.report.agreement import curves, matrix, write_agreement


def made(names: tuple[str, ...] = ("DeepLIFT (mean)", "saliency"), *, empty: bool = False) -> Protocol:
    """A result written by hand."""
    rows, square = [], []
    for i, name in enumerate(names):
        for n in (1, 2, 4):
            for models in (DISJOINT, OVERLAPPING):
                value = 0.2 * (i + 1) + 0.05 * n + 0.1 * (models == OVERLAPPING)
                low = value - 0.1 if models == DISJOINT and n < 4 else np.nan
                rows.append(
                    (name, "inputs", models, n, value, low, low + 0.2, value - 0.3, np.nan, np.nan, 4, 6, 0.0, 9, 0.05)
                )
        for j, other in enumerate(names):
            square.append(("inputs", name, other, 1.0 if i == j else 0.25, 0.5, 0.4 + 0.1 * (i == j), 0.2, 9, 0.05))
    tables = [
        pd.DataFrame([] if empty else found, columns=columns) for found, columns in ((rows, CURVES), (square, MATRIX))
    ]
    nothing = {name: pd.DataFrame(columns=columns) for name, columns in
               {"importance": IMPORTANCE, "trivial": TRIVIAL, "lists": LISTS, "completeness": COMPLETENESS}.items()}  # fmt: skip
    return Protocol(as_published=False, models=("a", "b"), n_explained=3, curves=tables[0], matrix=tables[1],
                    settings=(), left_out=(), **nothing)  # fmt: skip


def test_the_lines_are_the_curves() -> None:
    study = made()
    figure = curves(study, "inputs")
    assert figure is not None
    assert len(figure.axes) == 4
    for axes, (measure, name) in zip(
        figure.axes, [(m, n) for m in ("overlap", "spearman") for n in ("DeepLIFT (mean)", "saliency")], strict=True
    ):
        own = study.curves[study.curves["explainer"] == name]
        for line, models in zip(axes.lines, (DISJOINT, OVERLAPPING), strict=False):
            part = own[own["models"] == models]
            assert np.allclose(line.get_xdata(), part["n"])
            assert np.allclose(line.get_ydata(), part[measure])
        chance = axes.lines[2].get_ydata()
        assert np.allclose(chance, 0.05 if measure == "overlap" else 0)
        low, high = axes.get_ylim()
        assert low <= own[measure].min()
        assert high >= 1


def test_the_squares_are_the_matrix_and_say_what_they_show() -> None:
    figure = matrix(made(), "inputs")
    assert figure is not None
    same, apart = figure.axes[:2]
    assert same.get_title(loc="left") == "same models"
    assert np.allclose(same.images[0].get_array(), [[1, 0.25], [0.25, 1]])
    assert np.allclose(apart.images[0].get_array(), [[0.5, 0.4], [0.4, 0.5]])
    assert [text.get_text() for text in same.texts] == ["100", "25", "25", "100"]


def test_nothing_is_drawn_where_there_is_nothing(tmp_path: Path) -> None:
    assert write_agreement(tmp_path / "none", made(empty=True)) == ()
    assert curves(made(empty=True), "inputs") is None
    assert matrix(made(("saliency",)), "inputs") is None


@pytest.mark.parametrize("name", ["saliency", HOSTILE["MTOR"]])
def test_files_open_and_are_the_same_every_time(tmp_path: Path, name: str) -> None:
    one, two = (write_agreement(tmp_path / folder, made(("DeepLIFT (mean)", name))) for folder in ("one", "two"))
    assert [path.name for path in one] == ["curves-1.png", "curves-1.svg", "matrix-1.png", "matrix-1.svg"]
    for path, again in zip(one, two, strict=True):
        assert path.read_bytes() == again.read_bytes()
        if path.suffix == ".svg":
            tags = {element.tag.rsplit("}")[-1] for element in ElementTree.parse(path).iter()}
            assert "script" not in tags
        else:
            assert path.read_bytes().startswith(b"\x89PNG")

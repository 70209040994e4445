"""GCT and CLS: files of a few lines, and the leukaemia pair."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vnn._errors import AlignmentError
from vnn.data.gct import read_cls, read_gct

GCT = "#1.2\n2\t3\nNAME\tDescription\ts1\ts2\ts3\nTP53\ttumour protein\t1\t2\t-3.5\nEGFR\tna\t4\t\t6\n"
GCT_3 = (
    "#1.3\n2\t2\t1\t2\nid\tsymbol\ts1\ts2\ngroup\tna\tcase\tcontrol\nage\tna\t40\t50\n"
    "1007_s_at\tDDR1\t1\t2\n1053_at\tRFC2\t3\t4\n"
)


def written(folder: Path, text: str, name: str = "x.gct") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_gct_2(tmp_path: Path) -> None:
    matrix = read_gct(written(tmp_path, GCT))
    assert (matrix.rows, matrix.columns, matrix.samples_in) == (("TP53", "EGFR"), ("s1", "s2", "s3"), "columns")
    np.testing.assert_array_equal(matrix.values, np.float32([[1, 2, -3.5], [4, np.nan, 6]]))
    assert matrix.log == ("x.gct: feature annotations were left out: 'Description'",)


def test_gct_with_the_line_ends_and_trailing_tabs_of_a_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "x.gct.gz"
    text = GCT.replace("#1.2\n2\t3\n", "#1.2\t\t\t\t\n2\t3\t\t\t\n").replace("\n", "\r\n")
    path.write_bytes(gzip.compress(text.encode()))
    np.testing.assert_array_equal(read_gct(path).values, read_gct(written(tmp_path, GCT)).values)


def test_gct_3_has_labels(tmp_path: Path) -> None:
    matrix = read_gct(written(tmp_path, GCT_3))
    assert matrix.rows == ("1007_s_at", "1053_at")
    np.testing.assert_array_equal(matrix.values, [[1, 2], [3, 4]])
    assert matrix.labels["group"].to_dict() == {"s1": "case", "s2": "control"}
    assert matrix.labels["age"].to_dict() == {"s1": 40, "s2": 50}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("#1.2", "#2.0"), r"x.gct starts with '#2.0'; a GCT file starts with #1.2 or #1.3"),
        (("2\t3\n", "5\t3\n"), r"x.gct has 2 rows of values where its second line announces 5"),
        (("2\t3\n", "two\t3\n"), r"x.gct, line 2, is 'two 3'; 2 whole numbers are needed"),
        (("2\t3\n", "2\t4\n"), r"x.gct, line 3, has 5 fields; 4 samples need 6"),
        (("\t-3.5", "\tlow"), r"1 cells are not numbers: 'low' \(row 'TP53', column 's3'\)"),
        (("EGFR", "TP53"), r"1 of the features of x.gct occur more than once: 'TP53'"),
        ((GCT, ""), r"x.gct is empty"),
    ],
)
def test_gct_that_contradicts_itself(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_gct(written(tmp_path, GCT.replace(*change)))


@pytest.mark.parametrize(
    "text",
    [
        "3 2 1\n# AML ALL\nAML ALL ALL\n",
        "3 2 1\r\n#AML ALL\r\n0 1 1 \r\n",
        "3\t2\t1\n#\tAML\tALL\nx\ty\ty\n",
    ],
)
def test_cls_labels_take_the_names_in_order(tmp_path: Path, text: str) -> None:
    assert read_cls(written(tmp_path, text, "x.cls")) == ("AML", "ALL", "ALL")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("4 2 1\n# AML ALL\nAML ALL ALL\n", AlignmentError, r"x.cls has 3 labels where its first line announces 4"),
        ("3 3 1\n# AML ALL\nAML ALL ALL\n", ValueError, r"announces 3 classes, names 2 .* uses 2 labels"),
        ("3 2 1\n# ALL AML\nAML ALL ALL\n", ValueError, r"by the format 'AML' would mean 'ALL'"),
        ("3 2 1\n# ALL AML\n1 0 0\n", ValueError, r"by the format '1' would mean 'ALL'"),
        ("#numeric\n#age\n1 2 3\n", ValueError, r"continuous phenotypes"),
        ("3 2 1\n", ValueError, r"x.cls has 1 lines; a CLS file has three"),
    ],
)
def test_cls_that_contradicts_itself(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read_cls(written(tmp_path, text, "x.cls"))


@pytest.mark.data
def test_leukaemia_pair(real: Callable[[str], Path]) -> None:
    matrix = read_gct(real("expression/Leukemia_hgu95av2.trim.gct.gz"))
    assert matrix.values.shape == (9020, 48)
    assert matrix.values[matrix.rows.index("AADAC"), :3].tolist() == [np.float32(-121.2), -49.0, -11.0]
    classes = read_cls(real("expression/Leukemia.cls"))
    assert Counter(classes) == {"ALL": 24, "AML": 24}
    assert [name.split("_")[0] for name in matrix.columns] == list(classes)

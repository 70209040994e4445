"""Text and Parquet tables: oracles are files of a few lines written here."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vnn._errors import AlignmentError
from vnn.data.tables import read_matrix, read_table

PLAIN = "id,TP53,EGFR\na,1,2.5\nb,NA,-3e1\n"
VALUES = np.float32([[1, 2.5], [np.nan, -30]])


def written(folder: Path, text: str | bytes, name: str = "values.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (PLAIN, "plain.csv"),
        (PLAIN.replace("id,", ","), "unnamed.csv"),
        (PLAIN.replace("id,", ""), "r_form.csv"),
        (PLAIN.replace("\n", "\r\n"), "crlf.csv"),
        ("\ufeff" + PLAIN, "bom.csv"),
        (PLAIN.replace(",", "\t"), "tabs.tsv"),
        (PLAIN.replace(",", "\t"), "tabs.txt"),
        (PLAIN.replace(",", ";"), "semicolons.csv"),
        (PLAIN.replace(",", "\t"), "tabs.csv"),
        ("id ,TP53  , EGFR\na , 1 , 2.5\nb, ,-30\n\n", "padded.csv"),
        ('"id","TP53","EGFR"\n"a","1","2.5"\n"b","",-30', "quoted.csv"),
        (gzip.compress(PLAIN.encode(), mtime=0), "zipped.csv.gz"),
        (gzip.compress(PLAIN.encode(), mtime=0), "zipped_unsaid.csv"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "",
)
def test_every_dialect_is_the_same_matrix(tmp_path: Path, text: str | bytes, name: str) -> None:
    matrix = read_matrix(written(tmp_path, text, name))
    assert (matrix.rows, matrix.columns) == (("a", "b"), ("TP53", "EGFR"))
    np.testing.assert_array_equal(matrix.values, VALUES)
    assert matrix.values.dtype == np.float32


def test_names_that_look_like_missing_values_stay_names(tmp_path: Path) -> None:
    matrix = read_matrix(written(tmp_path, "id,NAN,null\nNA,1,2\n"))
    assert (matrix.rows, matrix.columns) == (("NA",), ("NAN", "null"))


def test_columns_set_aside_describe_samples(tmp_path: Path) -> None:
    path = written(tmp_path, "n,SAMPLE_ID,group,TP53,site\n7,s1,2,0.5,Lund\n8,s2,1,1.5,NA\n")
    matrix = read_matrix(path, index="SAMPLE_ID", aside=("group", "site"))
    assert (matrix.rows, matrix.columns, matrix.samples_in) == (("s1", "s2"), ("n", "TP53"), "rows")
    assert matrix.labels["group"].to_dict() == {"s1": 2, "s2": 1}
    assert matrix.labels["site"].tolist() == ["Lund", None]


def test_an_unnamed_counter_is_left_out_and_said_so(tmp_path: Path) -> None:
    matrix = read_matrix(written(tmp_path, "  ,patient_id,g\n0,p1,5\n1,p2,6\n"), index="patient_id")
    assert (matrix.rows, matrix.columns) == (("p1", "p2"), ("g",))
    assert matrix.log == ("values.csv: the unnamed column of the file was left out",)


def test_cells_that_are_no_numbers_are_counted_and_named(tmp_path: Path) -> None:
    path = written(tmp_path, "id,TP53,EGFR\na,1,n/d\nb,1_0,2\n")
    with pytest.raises(ValueError, match=r"2 cells are not numbers: 'n/d' \(row 'a', column 'EGFR'\), '1_0' \(row 'b'"):
        read_matrix(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", r"values.csv is empty"),
        (b"\n \n", r"values.csv is empty"),
        (gzip.compress(b"", mtime=0), r"values.csv is empty"),
        (b"id,g\n", r"values.csv has a line of 2 column names and no rows"),
        (b"id,g,h\na,1,2\nb,1\n", r"values.csv, line 3, has 2 fields where the header has 3; it starts with 'b'"),
        (b"id,g\na,1\nb,1,2\n", r"values.csv, line 3, has 3 fields where the header has 2"),
        (b"id g h\na 1 2\n", r"values.csv has a single column, 'id g h'.*commas, tabs or semicolons"),
        (b"id,g,,h\na,1,2,3\n", r"values.csv has columns without a name, at '3'"),
        (gzip.compress(PLAIN.encode() * 99, mtime=0)[:-20], r"values.csv is a truncated or damaged gzip file"),
        (gzip.compress(PLAIN.encode(), mtime=0)[:-8] + bytes(8), r"values.csv is a truncated or damaged gzip file"),
        ("id,gé\na,1\n".encode("latin-1"), r"values.csv is not UTF-8 text"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damaged_files_are_named(tmp_path: Path, text: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_matrix(written(tmp_path, text))


def test_repeated_names_are_refused_with_the_file(tmp_path: Path) -> None:
    for text in ("id,g\na,1\na,2\n", "id,a,a\nb,1,2\n"):
        with pytest.raises(AlignmentError, match=r"names occur more than once: 'a'") as caught:
            read_matrix(written(tmp_path, text))
        assert caught.value.__notes__ == [f"reading {tmp_path / 'values.csv'}"]


def test_a_table_has_typed_columns(tmp_path: Path) -> None:
    text = "sample\tage\tdose\tbatch\tsick\tempty\nb\t40\t\t01\tyes\t\na\t50\t0.5\t02\tno\tNA\n"
    frame = read_table(written(tmp_path, text, "labels.tsv"))
    assert list(frame.index) == ["b", "a"]
    assert frame["age"].tolist() == [40, 50]
    assert frame["age"].dtype == np.int64
    np.testing.assert_array_equal(frame["dose"], [np.nan, 0.5])
    assert frame["batch"].tolist() == ["01", "02"]
    assert frame["sick"].tolist() == ["yes", "no"]
    assert frame["empty"].isna().all()


def test_the_column_of_ids_can_be_named(tmp_path: Path) -> None:
    path = written(tmp_path, " ,patient_id ,labels\n0, 12410,1\n1,89718 ,0\n")
    assert read_table(path, sample_column="patient_id")["labels"].to_dict() == {"12410": 1, "89718": 0}
    with pytest.raises(
        ValueError, match=r"no column 'Patient_ID'; it has 'labels', 'patient_id'. Did you mean 'patient_id'"
    ):
        read_table(path, sample_column="Patient_ID")


def test_parquet_is_the_same_as_text(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(
        {"site": ["x", "y"], "TP53": [1.0, 2.0], "EGFR": [3, 4]}, index=pd.Index(["a", "b"], name="id")
    )
    frame.to_parquet(tmp_path / "indexed.parquet")
    frame.reset_index().to_parquet(tmp_path / "plain.parquet")
    for name in ("indexed.parquet", "plain.parquet"):
        matrix = read_matrix(tmp_path / name, aside=("site",))
        assert (matrix.rows, matrix.columns) == (("a", "b"), ("TP53", "EGFR"))
        np.testing.assert_array_equal(matrix.values, [[1, 3], [2, 4]])
        assert read_table(tmp_path / name, sample_column="id")["site"].tolist() == ["x", "y"]
        with pytest.raises(ValueError, match=r"'x' \(row 'a', column 'site'\)"):
            read_matrix(tmp_path / name)


def test_parquet_without_names_or_cut_off_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "nameless.parquet"
    pd.DataFrame({"g": [0.5]}).to_parquet(path)
    with pytest.raises(ValueError, match="no column names the rows"):
        read_matrix(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"(?i)parquet") as caught:
        read_matrix(path)
    assert caught.value.__notes__ == [f"reading {path}"]


def test_parquet_without_pyarrow_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'vnn\[parquet\]'"):
        read_table("labels.parquet")

"""Text and Parquet tables, read without guessing away what is wrong with them."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd

from vnn._errors import choose, culprits
from vnn.data.samples import cell, not_numbers, numeric, unique

MISSING = frozenset(["", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NAN", "null", "NULL", "None", "<NA>"])


@dataclass(frozen=True, eq=False)
class Matrix:
    """Named numbers as a file holds them, before it is settled which side the samples are on.

    Parameters
    ----------
    rows, columns
        Names of the two sides, unique.
    values
        Shape (n_rows, n_columns).
    labels
        What the same file tells about each sample beside its values, indexed by sample id.
    samples_in
        "rows" or "columns" where the format or the labels decide, otherwise None.
    log
        What was left out while reading.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: np.ndarray
    labels: pd.DataFrame = field(default_factory=pd.DataFrame)
    samples_in: str | None = None
    log: tuple[str, ...] = ()


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """The text of a plain or gzipped file; where it is damaged, an error that names the file."""
    with path.open("rb") as raw:
        start = raw.read(2)
        raw.seek(0)
        stream = gzip.GzipFile(fileobj=raw) if start == b"\x1f\x8b" else raw
        try:
            with io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
                yield text
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(
                f"{path} is a truncated or damaged gzip file ({error}). Fetch or copy it again, "
                "and compare its sha256 with that of the origin."
            ) from error
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path} is not UTF-8 text ({error.reason} at byte {error.start:,}). Export the table as UTF-8 "
                "text, or give a file whose name says what it is."
            ) from error


def read_matrix(
    path: Path | str, *, index: str | None = None, aside: Collection[str] = (), dtype: str = "float32"
) -> Matrix:
    """Numbers with names on both sides from a CSV, TSV or Parquet file, gzipped or not.

    The first row names the columns and one column the rows. An unnamed first column, padded names,
    a byte-order mark, either kind of line end and R's header that is one field short are understood.

    Parameters
    ----------
    path
        The file.
    index
        Column that names the rows, where the file has it; the first one unless given.
    aside
        Columns that describe samples instead of being values.
    dtype
        "float32" or "float64".

    Returns
    -------
    A `Matrix`; `samples_in` is "rows" if columns were set aside or `index` was found.
    """
    path = Path(path)
    choose("dtype", dtype, ("float32", "float64"))
    if _is_parquet(path):
        frame = _read_parquet(path, index)
        described = _described(aside, list(frame.columns), path)
        values = frame.drop(columns=described)
        with _reading(path):
            numbers = numeric(values, dtype=dtype)
        found = bool(described) or index == frame.index.name is not None
        return Matrix(tuple(frame.index), tuple(values.columns), numbers, frame[described], "rows" if found else None)

    with opened(path) as file:
        header, lines = _table(path, file)
        at = header.index(index) if index is not None and index in header else 0
        unnamed = [position for position, name in enumerate(header) if position != at and not name]
        described = _described(aside, header, path)
        kept = [i for i, name in enumerate(header) if i not in {at, *unnamed} and name not in set(described)]
        columns = [header[i] for i in kept]
        rows: list[str] = []
        numbers_by_row: list[np.ndarray] = []
        texts: list[list[str]] = []
        wrong: list[str] = []
        n_wrong = 0
        for line in lines:
            rows.append(line[at].strip())
            cells = [line[i] for i in kept]
            numbers, bad = parse_numbers(cells)
            n_wrong += len(bad)
            wrong += [cell(cells[i].strip(), rows[-1], columns[i]) for i in bad[: 5 - len(wrong)]]
            with np.errstate(over="ignore"):
                numbers_by_row.append(numbers.astype(dtype))
            if described:
                texts.append([line[header.index(name)] for name in described])
    with _reading(path):
        if n_wrong:
            raise ValueError(not_numbers(wrong, n_wrong))
        names = unique(rows, "row names")
    labels = pd.DataFrame(
        {name: parse_column([text[i] for text in texts]) for i, name in enumerate(described)}, index=pd.Index(names)
    )
    log = (f"{path.name}: the unnamed column of the file was left out",) if unnamed else ()
    found = bool(described) or index in header
    return Matrix(names, tuple(columns), np.stack(numbers_by_row), labels, "rows" if found else None, log)


def read_table(path: Path | str, *, sample_column: str | None = None) -> pd.DataFrame:
    """What a CSV, TSV or Parquet file tells about samples, indexed by sample id.

    A column of numbers becomes int64 or float64, any other text; numbers with leading zeros are text.

    Parameters
    ----------
    path
        The file.
    sample_column
        Column that holds the sample ids; the first one unless given.
    """
    path = Path(path)
    if _is_parquet(path):
        return _read_parquet(path, sample_column, required=True)
    with opened(path) as file:
        header, lines = _table(path, file)
        rows = list(lines)
    if sample_column is not None and sample_column not in header:
        raise unknown_column(sample_column, header, path.name)
    with _reading(path):
        at = 0 if sample_column is None else header.index(sample_column)
        ids = unique([row[at].strip() for row in rows], "sample ids")
    columns = {name: parse_column([row[i] for row in rows]) for i, name in enumerate(header) if i != at and name}
    return pd.DataFrame(columns, index=pd.Index(ids))


def unknown_column(name: str, columns: Sequence[str], where: str) -> ValueError:
    """The error about a column that is not among the `columns` of `where`: it lists them and the nearest."""
    listed = sorted(column for column in columns if column)
    more = f" and {len(listed) - 20:,} more" if len(listed) > 20 else ""
    folded = {column.casefold(): column for column in listed}
    near = get_close_matches(name.casefold(), folded, n=1)
    hint = f" Did you mean {folded[near[0]]!r}?" if near else ""
    return ValueError(f"{where} has no column {name!r}; it has {', '.join(map(repr, listed[:20]))}{more}.{hint}")


def _described(aside: Collection[str], columns: Sequence[str], path: Path) -> list[str]:
    for name in aside:
        if name not in columns:
            raise unknown_column(name, columns, path.name)
    return [name for name in columns if name in aside]


def _table(path: Path, file: TextIO) -> tuple[list[str], Iterator[list[str]]]:
    first = file.readline()
    while first and not first.strip():
        first = file.readline()
    if not first:
        raise ValueError(f"{path} is empty; a table needs a line of column names and at least one row.")
    separator = _separator(path, first)
    header = [name.strip() for name in next(csv.reader([first], delimiter=separator))]
    lines = _lines(path, file, separator)
    number, row = next(lines, (0, []))
    if not row:
        raise ValueError(f"{path} has a line of {len(header):,} column names and no rows below it.")
    if len(row) == len(header) + 1:
        header = ["", *header]
    if len(header) < 2:
        raise ValueError(
            f"{path} has a single column, {header[0]!r}; names and at least one more column are needed, separated by "
            "commas, tabs or semicolons."
        )
    if unnamed := [str(i + 1) for i, name in enumerate(header) if i and not name]:
        raise ValueError(f"{path} has columns without a name, at {culprits(unnamed)}; only the first may have none.")
    with _reading(path):
        unique(header[0 if header[0] else 1 :], "column names")
    return header, _even(path, header, chain([(number, row)], lines))


def _lines(path: Path, file: TextIO, separator: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(file, delimiter=separator)
    try:
        for row in reader:
            if row and (len(row) > 1 or row[0].strip()):
                yield reader.line_num + 1, row
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num + 1:,}, cannot be read as a table: {error}.") from error


def _even(path: Path, header: list[str], lines: Iterator[tuple[int, list[str]]]) -> Iterator[list[str]]:
    for number, row in lines:
        if len(row) != len(header):
            raise ValueError(
                f"{path}, line {number:,}, has {len(row):,} fields where the header has {len(header):,}; it starts "
                f"with {row[0].strip()!r}. The file is cut off or a field is not quoted: write the table again."
            )
        yield row


def _separator(path: Path, line: str) -> str:
    usual = "," if path.name.lower().removesuffix(".gz").endswith(".csv") else "\t"
    counts = {separator: line.count(separator) for separator in (usual, *",\t;")}
    if counts[usual] or not any(counts.values()):
        return usual
    return max(counts, key=lambda separator: counts[separator])


def parse_numbers(cells: list[str]) -> tuple[np.ndarray, list[int]]:
    """The cells as numbers, and the positions of those that are none."""
    if "_" not in "".join(cells):
        try:
            return np.array([float(text) for text in cells], dtype=np.float64), []
        except ValueError:
            pass
    numbers = np.full(len(cells), np.nan)
    bad = []
    for position, text in enumerate(map(str.strip, cells)):
        if text in MISSING:
            continue
        try:
            numbers[position] = _number(text)
        except ValueError:
            bad.append(position)
    return numbers, bad


def _number(text: str) -> float:
    if "_" in text:
        raise ValueError(text)
    return float(text)


def parse_column(cells: Sequence[str]) -> np.ndarray:
    """The cells as int64 or float64 if all of them are numbers, otherwise as text with None where missing."""
    stripped = [text.strip() for text in cells]
    present = [text for text in stripped if text not in MISSING]
    try:
        numbers = [np.nan if text in MISSING else _number(text) for text in stripped]
    except ValueError:
        numbers = []
    if len(numbers) < len(cells) or any(re.match(r"[+-]?0\d", text) for text in present):
        return np.array([None if text in MISSING else text for text in stripped], dtype=object)
    if len(present) == len(cells) and all(re.fullmatch(r"[+-]?\d{1,18}", text) for text in present):
        return np.array(stripped, dtype=np.int64)
    return np.array(numbers, dtype=np.float64)


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() == ".parquet"


def _read_parquet(path: Path, index: str | None, *, required: bool = False) -> pd.DataFrame:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError(f"reading {path} needs pyarrow: pip install 'vnn[parquet]'") from error
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist.")
    with _reading(path):
        frame = pd.read_parquet(path)
        frame.columns = frame.columns.map(str)
        if index is not None and index != frame.index.name and (required or index in frame.columns):
            if index not in frame.columns:
                raise unknown_column(index, list(frame.columns), path.name)
            frame = frame.set_index(index)
        elif isinstance(frame.index, pd.RangeIndex):
            if not len(frame.columns) or pd.api.types.is_float_dtype(frame.iloc[:, 0]):
                raise ValueError(
                    "no column names the rows: store the table with its index, or its ids as first column."
                )
            frame = frame.set_index(frame.columns[0])
        unique(map(str, frame.index), "row names")
        return frame.rename(index=str)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        error.add_note(f"reading {path}")
        raise

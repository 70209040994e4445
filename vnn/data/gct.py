"""GCT matrices and CLS class files, the pair used by GSEA and GenePattern.

A CLS file has no sample ids: it belongs to a GCT file by position, the only place where position counts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from vnn._errors import AlignmentError, choose, culprits
from vnn.data.samples import cell, not_numbers, unique
from vnn.data.tables import Matrix, opened, parse_column, parse_numbers


def read_gct(path: Path | str, *, dtype: str = "float32") -> Matrix:
    """A GCT 1.2 or 1.3 file, gzipped or not, with features in rows and samples in columns.

    The sample annotations of GCT 1.3 become `labels`. Descriptions and feature annotations are left
    out and said so in the log.

    Parameters
    ----------
    path
        The file.
    dtype
        "float32" or "float64".
    """
    path = Path(path)
    choose("dtype", dtype, ("float32", "float64"))
    with opened(path) as file:
        lines = [line.rstrip("\r\n").split("\t") for line in file if line.strip()]
    if not lines:
        raise ValueError(f"{path} is empty; a GCT file starts with #1.2 or #1.3.")
    version = lines[0][0].strip()
    if version not in ("#1.2", "#1.3"):
        raise ValueError(f"{path} starts with {version!r}; a GCT file starts with #1.2 or #1.3.")
    n_rows, n_samples, n_described, n_labels = _sizes(path, version, lines)
    first = 1 + n_described
    width = first + n_samples
    if len(lines) != 3 + n_labels + n_rows:
        raise ValueError(
            f"{path} has {len(lines) - 3 - n_labels:,} rows of values where its second line announces {n_rows:,}; "
            "the file is cut off or was changed by hand. Fetch it again, or correct the second line."
        )
    for number, line in enumerate(lines[2:], start=3):
        while len(line) > width and not line[-1].strip():
            line.pop()
        if len(line) != width:
            raise ValueError(
                f"{path}, line {number:,}, has {len(line):,} fields; {n_samples:,} samples need {width:,}. It starts "
                f"with {line[0]!r}."
            )
    header, labelled, body = lines[2], lines[3 : 3 + n_labels], lines[3 + n_labels :]
    samples = unique([name.strip() for name in header[first:]], f"samples of {path.name}")
    features = unique([line[0].strip() for line in body], f"features of {path.name}")

    values = np.empty((n_rows, n_samples), dtype=dtype)
    wrong: list[str] = []
    for row, line in enumerate(body):
        numbers, bad = parse_numbers(line[first:])
        with np.errstate(over="ignore"):
            values[row] = numbers
        wrong += [cell(line[first + i], features[row], samples[i]) for i in bad]
    if wrong:
        raise ValueError(f"{path}: {not_numbers(wrong[:5], len(wrong))}")
    labels = pd.DataFrame(
        {line[0].strip(): parse_column(line[first:]) for line in labelled}, index=pd.Index(samples, dtype=object)
    )
    left_out = [name.strip() for name in header[1:first]]
    log = (f"{path.name}: feature annotations were left out: {culprits(left_out)}",) if left_out else ()
    return Matrix(features, samples, values, labels, "columns", log)


def read_cls(path: Path | str) -> tuple[str, ...]:
    """The class name of each sample, in the order of the matrix a CLS file belongs to.

    The first label used takes the first name of the second line, the second label the second, as GSEA
    defines it. A file in which labels are names or numbers that say otherwise is refused.
    """
    path = Path(path)
    with opened(path) as file:
        lines = [line.split("\t") if "\t" in line.strip() else line.split() for line in file if line.strip()]
    lines = [[word.strip() for word in line if word.strip()] for line in lines]
    if lines and lines[0][0].lower() == "#numeric":
        raise ValueError(
            f"{path} holds continuous phenotypes (#numeric), not classes. Give them as a table with a column of "
            "sample ids and one column per phenotype."
        )
    if len(lines) != 3 or not lines[1][0].startswith("#"):
        raise ValueError(
            f"{path} has {len(lines)} lines; a CLS file has three: '<samples> <classes> 1', '# <class names>' "
            "and one label per sample."
        )
    n_samples, n_classes = _whole_numbers(path, 1, lines[0][:2], 2)
    names = [name for name in [lines[1][0].removeprefix("#"), *lines[1][1:]] if name]
    codes = lines[2]
    used = list(dict.fromkeys(codes))
    if len(codes) != n_samples:
        raise AlignmentError(f"{path} has {len(codes):,} labels where its first line announces {n_samples:,} samples.")
    if not len(used) == len(names) == n_classes:
        raise ValueError(
            f"{path} announces {n_classes:,} classes, names {len(names):,} ({culprits(names)}) and uses "
            f"{len(used):,} labels ({culprits(used)}); the three must agree."
        )
    if (set(used) == set(names) and used != names) or (
        used != sorted(used) and set(used) == {str(i) for i in range(n_classes)}
    ):
        raise ValueError(
            f"{path} names the classes {culprits(names)} but its labels appear in the order {culprits(used)}: by the "
            f"format {used[0]!r} would mean {names[0]!r}. Write the names in the order in which their labels appear."
        )
    meaning = dict(zip(used, names, strict=True))
    return tuple(meaning[code] for code in codes)


def _sizes(path: Path, version: str, lines: list[list[str]]) -> tuple[int, int, int, int]:
    if len(lines) < 3:
        raise ValueError(f"{path} ends after {len(lines)} lines; a line of sizes, a header and rows are needed.")
    if version == "#1.2":
        n_rows, n_samples = _whole_numbers(path, 2, lines[1], 2)
        return n_rows, n_samples, 1, 0
    n_rows, n_samples, n_described, n_labels = _whole_numbers(path, 2, lines[1], 4)
    return n_rows, n_samples, n_described, n_labels


def _whole_numbers(path: Path, number: int, fields: list[str], count: int) -> list[int]:
    fields = [text.strip() for text in fields if text.strip()]
    if len(fields) < count or not all(text.isdecimal() for text in fields[:count]):
        raise ValueError(f"{path}, line {number}, is {' '.join(fields)!r}; {count} whole numbers are needed there.")
    return [int(text) for text in fields[:count]]

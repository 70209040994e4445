"""From files to `Samples`: the reader is chosen by file name, everything is joined by sample id."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vnn._atomic import sha256
from vnn._errors import AlignmentError, choose, culprits
from vnn.data.gct import read_cls, read_gct
from vnn.data.h5ad import read_h5ad, read_obs
from vnn.data.samples import Samples, columns_of, meet
from vnn.data.tables import Matrix, read_matrix, read_table, unknown_column

TABLES = (".csv", ".tsv", ".txt", ".tab", ".parquet")
CLASS = "class"


def read_samples(
    values: Path | str,
    *,
    labels: Path | str | Sequence[Path | str] | None = None,
    targets: Iterable[str] = (),
    covariates: Iterable[str] = (),
    groups: Iterable[str] = (),
    samples_in: str | None = None,
    sample_column: str | None = None,
    layer: str | None = None,
    unmatched: str = "error",
    dtype: str = "float32",
) -> Samples:
    """Samples from a file of values and, where they are elsewhere, files of labels.

    Values may be CSV, TSV, Parquet, GCT (each but Parquet also gzipped) or h5ad; labels a table or a CLS
    file. Tables are joined by sample id and never by position, except that a CLS file has no ids: it
    labels the samples of its matrix in their order, in a column called "class".

    Parameters
    ----------
    values
        The file with the numbers.
    labels
        One or several files with a row per sample. Where none is given, targets, covariates and groups are
        columns of `values` itself: of `obs` in an h5ad file, or of a table with samples in rows.
    targets, covariates, groups
        Columns to keep, by role. A CLS file alone makes "class" the target.
    samples_in
        "rows" or "columns" of a table of values. Unless given, the side that matches the ids in `labels`.
    sample_column
        Column that holds the sample ids in the tables; the first one unless given.
    layer
        Matrix of an h5ad file: `X` unless given, "raw", or the name of a layer.
    unmatched
        What happens to samples that are not in all files: "error", or "drop", which is logged.
    dtype
        "float32" or "float64".

    Returns
    -------
    Samples in the order of `values`.

    Raises
    ------
    AlignmentError
        If names are repeated or do not meet.
    ValueError
        If a file is damaged, a cell is not a number, or a column is unknown.
    """
    path = Path(values)
    files = [] if labels is None else [Path(labels)] if isinstance(labels, str | Path) else [Path(f) for f in labels]
    roles = {"targets": _names(targets), "covariates": _names(covariates), "groups": _names(groups)}
    if both := sorted(set(roles["targets"]) & set(roles["covariates"])):
        raise ValueError(f"{culprits(both)} is a target and a covariate; a covariate would give the answer away.")
    choose("unmatched", unmatched, ("error", "drop"))
    if samples_in is not None:
        choose("samples_in", samples_in, ("rows", "columns"))

    classes = {file: read_cls(file) for file in files if _suffix(file) == ".cls"}
    tables = {file: _labels(file, sample_column) for file in files if file not in classes}
    if classes and not tables and not roles["targets"]:
        roles["targets"] = (CLASS,)
    wanted = tuple(dict.fromkeys(name for names in roles.values() for name in names))
    if files:
        _held_once(wanted, {**dict.fromkeys(classes, (CLASS,)), **{f: tuple(t.columns) for f, t in tables.items()}})

    matrix = _matrix(path, () if files else wanted, samples_in, sample_column, layer, dtype)
    features, ids, numbers = _oriented(matrix, samples_in, path, tables)
    for file, names in classes.items():
        if len(names) != len(ids):
            raise AlignmentError(
                f"{file.name} labels {len(names):,} samples and {path.name} has {len(ids):,}. A CLS file is joined "
                "by position, so the two must have been written together."
            )
        tables[file] = pd.DataFrame({CLASS: names}, index=pd.Index(ids, dtype=object))

    alike = len({file.name for file in tables}) < len(tables)
    named = {str(file) if alike else file.name: table for file, table in tables.items()}
    kept, dropped = meet(ids, named, unmatched=unmatched, values=path.name)
    if len(kept) < len(ids):
        numbers = np.take(numbers, columns_of(ids, kept), axis=1)
    known = {name: table[name] for table in (tables.values() if files else [matrix.labels]) for name in table.columns}
    rows = pd.Index(kept, dtype=object)
    found = {
        role: pd.DataFrame({name: known[name].loc[rows] for name in names}, index=rows) for role, names in roles.items()
    }
    numbers.flags.writeable = False
    return Samples(
        numbers,
        features,
        kept,
        **found,
        sources=tuple(
            {"name": file.name, "sha256": sha256(file), "role": "values" if file == path else "labels"}
            for file in (path, *files)
        ),
        log=(*matrix.log, *dropped),
    )


def _matrix(
    path: Path,
    aside: tuple[str, ...],
    samples_in: str | None,
    sample_column: str | None,
    layer: str | None,
    dtype: str,
) -> Matrix:
    suffix = _suffix(path)
    if layer is not None and suffix != ".h5ad":
        raise ValueError(f"layer is {layer!r} and {path.name} is no .h5ad file; only AnnData has layers.")
    if suffix in (".h5ad", ".gct"):
        if samples_in is not None:
            raise ValueError(f"samples_in is {samples_in!r}; the format of {path.name} decides it, so leave it out.")
        matrix = read_h5ad(path, layer=layer, dtype=dtype) if suffix == ".h5ad" else read_gct(path, dtype=dtype)
        for name in aside:
            if name not in matrix.labels.columns:
                raise unknown_column(name, list(matrix.labels.columns), path.name)
        return matrix
    if suffix not in TABLES:
        raise ValueError(
            f"{path.name} has the ending {suffix!r}; values are read from .gct, .h5ad, {', '.join(TABLES)}, "
            "with .gz after a text format."
        )
    if samples_in == "columns":
        if aside:
            raise ValueError(
                f"the columns of {path.name} are samples, so {culprits(aside)} cannot be among them; "
                "give the file that describes the samples as `labels`."
            )
        return read_matrix(path, dtype=dtype)
    return read_matrix(path, index=sample_column, aside=aside, dtype=dtype)


def _oriented(
    matrix: Matrix, samples_in: str | None, path: Path, tables: dict[Path, pd.DataFrame]
) -> tuple[tuple[str, ...], tuple[str, ...], np.ndarray]:
    """Features, sample ids and feature-major values of a matrix."""
    if (samples_in or matrix.samples_in or _matching_side(matrix, path, tables)) == "columns":
        return matrix.rows, matrix.columns, matrix.values
    return matrix.columns, matrix.rows, np.ascontiguousarray(matrix.values.T)


def _matching_side(matrix: Matrix, path: Path, tables: dict[Path, pd.DataFrame]) -> str:
    listed = {name for table in tables.values() for name in table.index}
    in_rows, in_columns = len(listed & set(matrix.rows)), len(listed & set(matrix.columns))
    if bool(in_rows) != bool(in_columns):
        return "rows" if in_rows else "columns"
    sides = f"rows are called {culprits(matrix.rows[:3])}, columns {culprits(matrix.columns[:3])}"
    if not listed:
        raise AlignmentError(
            f"nothing says on which side of {path.name} the samples are: {sides}. "
            'Pass samples_in="rows" or samples_in="columns".'
        )
    raise AlignmentError(
        f"of the {len(listed):,} samples in the labels {in_rows:,} are rows and {in_columns:,} are columns of "
        f"{path.name}: {sides}; the labels are for {culprits(sorted(listed)[:3])}. "
        'Pass samples_in="rows" or samples_in="columns", or name the column of the ids with `sample_column`.'
    )


def _held_once(wanted: Iterable[str], columns: dict[Path, tuple[str, ...]]) -> None:
    for name in wanted:
        holders = [file.name for file, held in columns.items() if name in held]
        if not holders:
            known = list(dict.fromkeys(column for held in columns.values() for column in held))
            raise unknown_column(name, known, " or ".join(file.name for file in columns))
        if len(holders) > 1:
            raise ValueError(f"the column {name!r} is in each of {culprits(holders)}; leave it in one of them.")


def _names(columns: Iterable[str]) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else tuple(columns)


def columns_beside(
    labels: Sequence[Path], used: Iterable[str], ids: Sequence[str], *, sample_column: str | None = None
) -> pd.DataFrame:
    """Columns of tables of labels that are not used, of samples that were read; of several of a name the first.

    Parameters
    ----------
    labels
        Files as `read_samples` takes them, or h5ad files for their `obs`; a CLS file has no other columns.
    used
        Columns that have a role already.
    ids
        The samples, in the order that is wanted.
    sample_column
        As for `read_samples`.
    """
    taken = set(used)
    found: dict[str, pd.Series] = {}
    for file in labels:
        if _suffix(file) != ".cls":
            table = read_obs(file) if _suffix(file) == ".h5ad" else _labels(file, sample_column)
            table = table.set_axis(table.index.map(str)).reindex(list(ids))
            found |= {str(name): table[name] for name in table.columns if name not in taken and name not in found}
    return pd.DataFrame(found, index=pd.Index(list(ids), dtype=object))


def _labels(file: Path, sample_column: str | None) -> pd.DataFrame:
    if _suffix(file) not in TABLES:
        raise ValueError(
            f"{file.name} has the ending {_suffix(file)!r}; labels are read from .cls, {', '.join(TABLES)}."
        )
    return read_table(file, sample_column=sample_column)


def _suffix(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix

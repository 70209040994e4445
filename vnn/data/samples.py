"""Samples: numbers with names on both sides, and what is known of every sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from vnn._errors import AlignmentError, choose, culprits
from vnn.data.scaling import ROWS, Scaling, fit_scaling


@dataclass(frozen=True, eq=False)
class Samples:
    """Values of named features in named samples, with targets, covariates and groups.

    Everything is found by name: two tables that list the same samples in another order are the same
    data. Nothing is scaled, filled or left out here. `Samples.from_frame` makes one from a table in
    memory, `read_samples` from files.

    Parameters
    ----------
    values
        Shape (n_features, n_samples), float32 or float64; NaN is a missing value, infinity is refused.
        Kept C-contiguous and read-only: a writable array is copied, a read-only one is taken as it is.
    features
        Names of the rows, unique.
    ids
        Sample ids, the names of the columns, unique.
    targets, covariates, groups
        One row per sample, indexed by id, possibly without columns: what is predicted, what else is
        known of a sample, and what must not be torn apart by a split (donor, family, site).
    sources
        One record per file read: `name`, `sha256` and `role` ("values" or "labels").
    log
        What was dropped or added on the way here, a line for each.

    Raises
    ------
    AlignmentError
        If names are repeated, or a table does not hold exactly these samples.
    """

    values: np.ndarray
    features: tuple[str, ...]
    ids: tuple[str, ...]
    targets: pd.DataFrame
    covariates: pd.DataFrame
    groups: pd.DataFrame
    sources: tuple[dict[str, str], ...] = ()
    log: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        features, ids = unique(self.features, "features"), unique(self.ids, "sample ids")
        values = _frozen(self.values)
        if values.shape != (len(features), len(ids)):
            raise ValueError(
                f"the values have shape {values.shape}; {len(features):,} features and {len(ids):,} samples "
                f"need {(len(features), len(ids))}. Values are feature-major: transpose them if samples are rows."
            )
        if np.isinf(values).any():
            found = [f"{features[row]} in {ids[column]}" for row, column in np.argwhere(np.isinf(values))]
            raise ValueError(
                f"{len(found):,} values are infinite or beyond the range of {values.dtype}: {culprits(found)}. "
                "Repair them, or make them NaN and choose an imputation."
            )
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "features", features)
        object.__setattr__(self, "ids", ids)
        for name in ("targets", "covariates", "groups"):
            table = getattr(self, name).rename(index=str)
            meet(ids, {name: table}, unmatched="error")
            object.__setattr__(self, name, table.loc[list(ids)])
        object.__setattr__(self, "sources", tuple(dict(record) for record in self.sources))
        object.__setattr__(self, "log", tuple(self.log))

    def __repr__(self) -> str:
        tables = ", ".join(
            f"{name}: {', '.join(map(str, table.columns))}"
            for name, table in (("targets", self.targets), ("covariates", self.covariates), ("groups", self.groups))
            if len(table.columns)
        )
        return f"Samples({self.n_features:,} features in {self.n_samples:,} samples{'; ' if tables else ''}{tables})"

    @property
    def n_samples(self) -> int:
        """How many samples there are."""
        return len(self.ids)

    @property
    def n_features(self) -> int:
        """How many features there are."""
        return len(self.features)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.features)}

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {name: column for column, name in enumerate(self.ids)}

    def index(self, ids: Iterable[str]) -> np.ndarray:
        """Columns of `values` at which the samples called `ids` stand, in the order asked for."""
        asked = _several(ids, "ids")
        absent = [name for name in asked if name not in self._columns]
        if absent:
            raise AlignmentError(
                f"`samples` lacks {len(absent):,} of the {len(asked):,} samples asked for: {culprits(absent)}. "
                f"Its {self.n_samples:,} sample ids look like {culprits(self.ids[:3])}."
            )
        return np.array([self._columns[name] for name in asked], dtype=np.int64)

    def select(
        self, features: Iterable[str] | None = None, ids: Iterable[str] | None = None, *, missing: str = "error"
    ) -> Samples:
        """These features and samples, by name, in the order asked for.

        Parameters
        ----------
        features, ids
            Names to keep; all of them unless given.
        missing
            What happens to a feature that is not here: "error", or "nan" for a row of missing values,
            which is counted in the log and needs an imputation later. An absent sample is always an error.

        Returns
        -------
        New `Samples` with the same sources.

        Raises
        ------
        AlignmentError
            If a sample, or with missing="error" a feature, is not here.
        """
        choose("missing", missing, ("error", "nan"))
        wanted = self.features if features is None else _several(features, "features")
        kept = self.ids if ids is None else _several(ids, "ids")
        columns = self.index(kept)
        absent = [name for name in wanted if name not in self._rows]
        if absent and missing == "error":
            raise AlignmentError(
                f"`samples` lacks {len(absent):,} of the {len(wanted):,} features asked for: {culprits(absent)}. "
                'Take them as missing values with select(..., missing="nan"), or check the identifiers: '
                f"asked for are names like {culprits(wanted[:3])}; here they look like {culprits(self.features[:3])}."
            )
        values = self.values if ids is None else np.take(self.values, columns, axis=1)
        if features is not None:
            rows = np.array([self._rows.get(name, -1) for name in wanted], dtype=np.int64)
            here = rows >= 0
            taken = np.full((len(wanted), len(kept)), np.nan, dtype=self.values.dtype)
            taken[here] = values[rows[here]]
            values = taken
        values.flags.writeable = False
        line = f"select: {len(absent):,} of {len(wanted):,} features are not measured and became missing values: "
        return replace(
            self,
            values=values,
            features=wanted,
            ids=kept,
            targets=self.targets.loc[list(kept)],
            covariates=self.covariates.loc[list(kept)],
            groups=self.groups.loc[list(kept)],
            log=(*self.log, line + culprits(absent)) if absent else self.log,
        )

    @cached_property
    def missing(self) -> np.ndarray:
        """Whether a value of each feature is missing, bool (n_features,)."""
        return np.isnan(self.values).any(axis=1)

    @cached_property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Smallest and largest value of each feature, NaN where it has none."""
        return np.fmin.reduce(self.values, axis=1), np.fmax.reduce(self.values, axis=1)

    def numbers(self, ids: Iterable[str]) -> np.ndarray:
        """The values of these samples, (n_features, n), in the order asked for."""
        return self.values[:, self.index(ids)]

    def moments(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How many samples of those at these columns have each feature, and its mean and standard deviation there, in float64.

        Both are 0 where none has it.
        """
        found = np.zeros((3, self.n_features))
        for rows, values in self.blocks():
            part = values[:, at]
            there = ~np.isnan(part)
            count = np.maximum(there.sum(1), 1)
            mean = np.where(there, part, 0).sum(1) / count
            sd = np.sqrt(np.where(there, (part - mean[:, None]) ** 2, 0).sum(1) / count)
            found[:, rows] = there.sum(1), mean, sd
        return found[0].astype(np.int64), found[1], found[2]

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """All values, some features at a time: which these are, and (n, n_samples) in float64."""
        for start in range(0, self.n_features, ROWS):
            at = slice(start, min(start + ROWS, self.n_features))
            yield at, self.values[at].astype(np.float64)

    def scaling(self, at: np.ndarray, *, method: str, impute: str | None) -> Scaling:
        """`fit_scaling` of the samples at these columns."""
        return fit_scaling(self.values[:, at], method=method, impute=impute, features=self.features)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        samples_in: str = "rows",
        targets: pd.DataFrame | None = None,
        covariates: pd.DataFrame | None = None,
        groups: pd.DataFrame | None = None,
        unmatched: str = "error",
        dtype: str = "float32",
    ) -> Samples:
        """Samples from a table in memory.

        Parameters
        ----------
        frame
            Numbers with names on both sides.
        samples_in
            "rows" or "columns".
        targets, covariates, groups
            Tables indexed by sample id, in any order.
        unmatched
            What happens to samples that are not in all tables: "error", or "drop", which is logged.
        dtype
            "float32" or "float64".

        Returns
        -------
        Samples in the order of `frame`.

        Raises
        ------
        AlignmentError
            If a table and `frame` do not hold the same samples, and unmatched="error".
        ValueError
            If a cell is not a number.

        Examples
        --------
        >>> frame = pd.DataFrame({"TP53": [1.0, 2.0], "EGFR": [3.0, None]}, index=["a", "b"])
        >>> Samples.from_frame(frame, targets=pd.DataFrame({"dose": [0.1, 0.2]}, index=["b", "a"]))
        Samples(2 features in 2 samples; targets: dose)
        """
        choose("samples_in", samples_in, ("rows", "columns"))
        values = numeric(frame, dtype=dtype)
        rows, columns = tuple(map(str, frame.index)), tuple(map(str, frame.columns))
        ids, features = (rows, columns) if samples_in == "rows" else (columns, rows)
        values = np.ascontiguousarray(values.T if samples_in == "rows" else values)
        features, ids = unique(features, "features"), unique(ids, "sample ids")
        given = {"targets": targets, "covariates": covariates, "groups": groups}
        tables = {name: table.rename(index=str) for name, table in given.items() if table is not None}
        kept, log = meet(ids, tables, unmatched=unmatched)
        if len(kept) < len(ids):
            values = np.take(values, columns_of(ids, kept), axis=1)
        values.flags.writeable = False
        empty = pd.DataFrame(index=pd.Index(kept, dtype=object))
        parts = {name: tables[name].loc[list(kept)] if name in tables else empty for name in given}
        return cls(values, features, kept, parts["targets"], parts["covariates"], parts["groups"], log=log)

    def to_frame(self) -> pd.DataFrame:
        """The values as a table with samples in rows and features in columns."""
        return pd.DataFrame(self.values.T, index=list(self.ids), columns=list(self.features), copy=True)


def meet(
    ids: tuple[str, ...], tables: Mapping[str, pd.DataFrame], *, unmatched: str, values: str = "the values"
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The `ids` that are in every one of the named tables, and a log line for each side that loses samples.

    With unmatched="error" a difference is an error; without a sample in common it always is.
    """
    choose("unmatched", unmatched, ("error", "drop"))
    here = set(ids)
    common = set(ids)
    losses: list[str] = []
    for name, table in tables.items():
        listed = unique(map(str, table.index), f"sample ids of {name}")
        there = set(listed)
        common &= there
        if only_here := [sample for sample in ids if sample not in there]:
            losses.append(f"{len(only_here):,} samples of {values} are not in {name}: {culprits(only_here)}")
        if only_there := [sample for sample in listed if sample not in here]:
            losses.append(f"{len(only_there):,} samples of {name} are not in {values}: {culprits(only_there)}")
    if not losses:
        return ids, ()
    if not common:
        looks = "; ".join(f"{name} {culprits(map(str, table.index[:3]))}" for name, table in tables.items())
        raise AlignmentError(
            f"no sample is in all tables. Ids look like this: {values} {culprits(ids[:3])}; {looks}. "
            "Check which side the samples are on (`samples_in`) and which column holds their ids (`sample_column`)."
        )
    if unmatched == "error":
        raise AlignmentError(
            f'{". ".join(losses)}. All tables need the same samples; pass unmatched="drop" to '
            f"`read_samples` or `Samples.from_frame` to go on with the {len(common):,} that are in all of them."
        )
    return tuple(name for name in ids if name in common), tuple(f"join: {line}; dropped" for line in losses)


def columns_of(ids: tuple[str, ...], kept: tuple[str, ...]) -> np.ndarray:
    """Where the `kept` stand among the `ids`."""
    place = {name: column for column, name in enumerate(ids)}
    return np.array([place[name] for name in kept], dtype=np.int64)


def unique(names: Iterable[str], what: str) -> tuple[str, ...]:
    """The names as a tuple, if they are texts and none is empty or repeated."""
    listed = _several(names, what)
    if wrong := [name for name in listed if not isinstance(name, str)]:
        raise TypeError(f"{len(wrong):,} of the {what} are no text: {culprits(wrong)}. Convert them with str().")
    if "" in listed:
        raise AlignmentError(f"{listed.count(''):,} of the {len(listed):,} {what} are empty; every one needs a name.")
    if len(set(listed)) < len(listed):
        repeated = [name for name, count in Counter(listed).items() if count > 1]
        raise AlignmentError(
            f"{len(repeated):,} of the {what} occur more than once: {culprits(repeated)}. "
            "Names must be unique: combine or rename the repeated ones first."
        )
    return listed


def numeric(frame: pd.DataFrame, *, dtype: str) -> np.ndarray:
    """The cells of a table as an array of `dtype`; one that is no number is an error that names it."""
    choose("dtype", dtype, ("float32", "float64"))
    if all(isinstance(kind, np.dtype) and kind.kind in "biuf" for kind in frame.dtypes):
        with np.errstate(over="ignore"):
            return np.array(frame.to_numpy(), dtype=dtype, order="C")
    columns = []
    wrong: list[str] = []
    for position, name in enumerate(frame.columns):
        column = frame.iloc[:, position]
        numbers = pd.to_numeric(column.astype(object) if column.dtype == "category" else column, errors="coerce")
        if (bad := numbers.isna() & column.notna()).any():
            wrong += [cell(value, str(row), str(name)) for row, value in column[bad].items()]
        columns.append(numbers.to_numpy(dtype=np.float64, na_value=np.nan))
    if wrong:
        raise ValueError(not_numbers(wrong[:5], len(wrong)))
    with np.errstate(over="ignore"):
        stacked = np.stack(columns) if columns else np.empty((0, len(frame)))
        return np.ascontiguousarray(stacked.T, dtype=dtype)


def cell(value: object, row: str, column: str) -> str:
    """A cell of a table in words."""
    return f"{str(value)!r} (row {row!r}, column {column!r})"


def not_numbers(cells: list[str], count: int) -> str:
    """The message about `count` cells, the first of them in words, that are no numbers."""
    rest = f" and {count - len(cells):,} more" if count > len(cells) else ""
    return (
        f"{count:,} cells are not numbers: {', '.join(cells)}{rest}. Values must be numbers, or NA or empty "
        "where missing; columns that describe the samples belong in targets, covariates or groups."
    )


def _several(names: Iterable[Any], what: str) -> tuple[Any, ...]:
    if isinstance(names, str):
        raise TypeError(f"the {what} are the single text {names!r}; pass a sequence of names, such as [{names!r}].")
    return tuple(names)


def _frozen(values: np.ndarray) -> np.ndarray:
    if not isinstance(values, np.ndarray) or values.dtype not in (np.float32, np.float64):
        kind = getattr(values, "dtype", type(values).__name__)
        raise TypeError(f"the values are {kind}; they must be a numpy array of float32 or float64.")
    if values.flags.writeable or not values.flags.c_contiguous:
        values = np.array(values, order="C")
        values.flags.writeable = False
    return values

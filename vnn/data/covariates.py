"""Covariates as columns of numbers, the same ones for every table that comes later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vnn._errors import AlignmentError, culprits


@dataclass(frozen=True)
class CovariateCoding:
    """How covariates become numbers.

    A numeric covariate is one column as it is. Text and booleans become one 0/1 column for each category
    but the first in sorted order, called "site=Lund".

    Parameters
    ----------
    columns
        Pairs of a covariate and its sorted categories, None where it is numeric.
    """

    columns: tuple[tuple[str, tuple[str, ...] | None], ...]

    @classmethod
    def fit(cls, frame: pd.DataFrame) -> CovariateCoding:
        """The coding of these covariates; a row per sample, a column per covariate."""
        columns: list[tuple[str, tuple[str, ...] | None]] = []
        for name in frame.columns:
            column = _complete(frame[name])
            if _is_numeric(column):
                columns.append((str(name), None))
                continue
            categories = tuple(sorted(set(map(str, column))))
            if len(categories) < 2:
                raise ValueError(
                    f"the covariate {name!r} is {culprits(categories)} in all of {len(column):,} samples; leave it out."
                )
            columns.append((str(name), categories))
        return cls(tuple(columns))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the coded columns."""
        return tuple(
            coded
            for name, categories in self.columns
            for coded in ([name] if categories is None else [f"{name}={category}" for category in categories[1:]])
        )

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """The covariates of these samples, shape (n_columns, n_samples), float64.

        Raises
        ------
        AlignmentError
            If a covariate is missing.
        ValueError
            If a value is missing, is not a number where one is needed, or is a category not met in the fit.
        """
        if absent := [name for name, _ in self.columns if name not in frame.columns]:
            raise AlignmentError(
                f"{len(absent):,} of {len(self.columns):,} covariates of the fit are missing: {culprits(absent)}. "
                f"The table has {culprits(frame.columns)}."
            )
        rows: list[np.ndarray] = []
        for name, categories in self.columns:
            column = _complete(frame[name])
            if categories is None:
                rows.append(_finite(column))
                continue
            values = column.map(str)
            if unknown := sorted(set(values) - set(categories)):
                concerned = values.index[values.isin(unknown)]
                raise ValueError(
                    f"the covariate {name!r} has categories the fit does not know: {culprits(unknown)}, in "
                    f"{len(concerned):,} samples: {culprits(concerned)}. Known are {culprits(categories, 20)}; leave "
                    "these samples out, or fit with samples of these categories."
                )
            rows += [(values == category).to_numpy(np.float64) for category in categories[1:]]
        return np.stack(rows) if rows else np.empty((0, len(frame)))

    def to_json(self) -> list[dict[str, Any]]:
        """The coding as JSON values."""
        return [
            {"name": name, "categories": None if categories is None else list(categories)}
            for name, categories in self.columns
        ]

    @classmethod
    def from_json(cls, records: list[dict[str, Any]]) -> CovariateCoding:
        """The coding `to_json` described."""
        return cls(
            tuple(
                (record["name"], None if record["categories"] is None else tuple(record["categories"]))
                for record in records
            )
        )


def _is_numeric(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _complete(column: pd.Series) -> pd.Series:
    if len(missing := column.index[column.isna()]):
        raise ValueError(
            f"{len(missing):,} of {len(column):,} samples have no covariate {column.name!r}: {culprits(missing)}. "
            "Leave these samples out, fill the column, or leave the covariate out."
        )
    return column


def _finite(column: pd.Series) -> np.ndarray:
    numbers = pd.to_numeric(column, errors="coerce").astype(np.float64)
    wrong = column[~np.isfinite(numbers)]
    if len(wrong):
        found = [f"{value} in {sample}" for sample, value in wrong.items()]
        raise ValueError(
            f"{len(wrong):,} values of the covariate {column.name!r} are not finite numbers: {culprits(found)}. "
            "It was numeric in the fit."
        )
    return numbers.to_numpy()

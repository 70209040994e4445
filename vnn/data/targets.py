"""Targets: a label column as the numbers a network is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vnn._errors import choose, culprits

TASKS = ("binary", "multiclass", "regression")


@dataclass(frozen=True, eq=False)
class Target:
    """What is predicted, one number per sample.

    Parameters
    ----------
    name
        Name of the label column.
    task
        "binary", "multiclass" or "regression".
    values
        Shape (n_samples,): float64 for regression, otherwise the int64 position in `classes`. Read-only.
    classes
        Names of the classes; for "binary" the second one is what a high logit means. Empty for regression.
    """

    name: str
    task: str
    values: np.ndarray
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        choose("task", self.task, TASKS)
        values = np.array(self.values, dtype=np.float64 if self.task == "regression" else np.int64)
        values.flags.writeable = False
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "classes", tuple(self.classes))

    @property
    def n_outputs(self) -> int:
        """How many logits a network needs for it: one, or one per class when there are more than two."""
        return len(self.classes) if self.task == "multiclass" else 1


def encode_target(column: pd.Series, task: str | None = None, classes: Sequence[str] | None = None) -> Target:
    """A label column as a `Target`.

    Text, booleans and two distinct values are classes, numbers with many distinct values a regression.
    Whole numbers with 3 to 10 distinct values may be either and need `task`.

    Parameters
    ----------
    column
        One label per sample, indexed by sample id; its name becomes the name of the target.
    task
        "binary", "multiclass" or "regression"; from the column unless given.
    classes
        Names of the classes of an earlier fit, in its order. A label outside them is an error. Unless
        given, the labels that occur, sorted as text.

    Returns
    -------
    A `Target` in the order of `column`.

    Raises
    ------
    ValueError
        If labels are missing, constant, unknown to `classes`, or do not fit the task.

    Examples
    --------
    >>> encode_target(pd.Series(["AML", "ALL", "AML"], index=["a", "b", "c"], name="class")).classes
    ('ALL', 'AML')
    """
    name = str(column.name)
    if task is not None:
        choose("task", task, TASKS)
    if len(missing := column.index[column.isna()]):
        raise ValueError(
            f"{len(missing):,} of {len(column):,} samples have no {name!r}: {culprits(missing)}. "
            "Leave them out with `samples.select(ids=...)`, or complete the labels."
        )
    if classes is None and column.nunique() < 2:
        raise ValueError(
            f"the target {name!r} is {culprits(column.unique())} in all of {len(column):,} samples; "
            "at least two different labels are needed. Check the column and the choice of samples."
        )
    task = task or _guess(column, classes)
    if task == "regression":
        return Target(name, task, _measured(column))

    labels = [_class_name(value) for value in column]
    known = tuple(sorted(set(labels))) if classes is None else tuple(classes)
    if len(set(known)) < max(len(known), 2):
        raise ValueError(f"the classes {culprits(known)} are fewer than two or repeated; give each class once.")
    if task == "binary" and len(known) != 2:
        raise ValueError(
            f"the target {name!r} has {len(known):,} classes, {culprits(known)}; a binary task needs two. "
            'Pass task="multiclass", or choose the samples of two classes.'
        )
    code = {label: position for position, label in enumerate(known)}
    if unknown := sorted(set(labels) - set(known)):
        carriers = [str(sample) for sample, label in zip(column.index, labels, strict=True) if label not in code]
        raise ValueError(
            f"the target {name!r} has labels the fit does not know: {culprits(unknown)}, in {len(carriers):,} samples: "
            f"{culprits(carriers)}. Its classes are {culprits(known)}; leave these samples out or rename their labels."
        )
    return Target(name, task, np.array([code[label] for label in labels], dtype=np.int64), known)


def _guess(column: pd.Series, classes: Sequence[str] | None) -> str:
    if classes is not None:
        return "binary" if len(classes) == 2 else "multiclass"
    distinct = column.nunique()
    if distinct == 2:
        return "binary"
    if not pd.api.types.is_numeric_dtype(column):
        return "multiclass"
    if distinct <= 10 and (column.astype(np.float64) % 1 == 0).all():
        raise ValueError(
            f"the target {column.name!r} holds the {distinct} whole numbers {culprits(sorted(column.unique()), 10)}, "
            'which may be classes or measurements. Pass task="multiclass" or task="regression".'
        )
    return "regression"


def _measured(column: pd.Series) -> np.ndarray:
    numbers = pd.to_numeric(column, errors="coerce").astype(np.float64)
    wrong = column[~np.isfinite(numbers)]
    if len(wrong):
        found = [f"{value} in {sample}" for sample, value in wrong.items()]
        raise ValueError(
            f"{len(wrong):,} labels of the target {column.name!r} are not finite numbers: {culprits(found)}. "
            'A regression needs numbers; for classes pass task="binary" or task="multiclass".'
        )
    return numbers.to_numpy()


def _class_name(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)

"""Targets: a label column, or times and events, as the numbers a network is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vnn._errors import choose, culprits

TASKS = ("binary", "multiclass", "regression", "cox")


@dataclass(frozen=True, eq=False)
class Target:
    """What is predicted, one number per sample.

    Parameters
    ----------
    name
        Name of the label column.
    task
        "binary", "multiclass", "regression" or "cox".
    values
        Shape (n_samples,): float64 for a quantity or a time, otherwise the int64 position in `classes`. Read-only.
    classes
        Names of the classes; for "binary" the second one is what a high logit means. Empty for regression and cox.
    events
        For "cox" whether the time ended with the event (True) or the sample was only followed until then, shape
        (n_samples,), read-only. None for the other tasks.
    event
        For "cox" the name of the column the events come from.
    """

    name: str
    task: str
    values: np.ndarray
    classes: tuple[str, ...] = ()
    events: np.ndarray | None = None
    event: str | None = None

    def __post_init__(self) -> None:
        choose("task", self.task, TASKS)
        if (self.task == "cox") != (self.events is not None):
            raise ValueError(
                f"a target of task {self.task!r} has events {self.events!r}; cox needs them, others do not."
            )
        values = np.array(self.values, dtype=np.int64 if self.task in ("binary", "multiclass") else np.float64)
        values.flags.writeable = False
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "classes", tuple(self.classes))
        if self.events is not None:
            events = np.array(self.events, dtype=bool)
            if events.shape != values.shape:
                raise ValueError(f"there are {len(events):,} events for {len(values):,} times; each time needs one.")
            events.flags.writeable = False
            object.__setattr__(self, "events", events)

    @property
    def truth(self) -> np.ndarray:
        """What a prediction is compared with: `values`, or for "cox" times and events, shape (n_samples, 2)."""
        return self.values if self.events is None else np.stack([self.values, self.events], axis=1)

    @property
    def n_outputs(self) -> int:
        """How many logits a network needs for it: one, or one per class when there are more than two."""
        return len(self.classes) if self.task == "multiclass" else 1


def encode_target(column: pd.Series, task: str | None = None, classes: Sequence[str] | None = None) -> Target:
    """A label column as a `Target`; times and events become one by `encode_survival`.

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
    if task == "cox":
        raise ValueError(
            f'task is "cox" and {name!r} is one column; a survival target needs times and events. '
            "Name the column of events as well: `event=...` of `fit`, or `encode_survival(time, event)`."
        )
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

    labels = [class_name(value) for value in column]
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


def encode_survival(time: pd.Series, event: pd.Series) -> Target:
    """Times until an event, or until the end of follow-up, as a `Target` of task "cox".

    Parameters
    ----------
    time
        How long each sample was followed, above 0, indexed by sample id; its name becomes the name of the target.
    event
        Whether the event happened at that time: 1 or True; 0 or False where it had not happened by then.

    Returns
    -------
    A `Target` in the order of `time`.

    Raises
    ------
    ValueError
        If times or events are missing, times are not above 0, events are not 0 or 1, or fewer than two happened.

    Examples
    --------
    >>> ids = ["a", "b", "c"]
    >>> encode_survival(pd.Series([5.0, 8, 2], ids, name="months"), pd.Series([1, 0, 1], ids, name="died")).events
    array([ True, False,  True])
    """
    for column in (time, event):
        if len(missing := column.index[column.isna()]):
            raise ValueError(
                f"{len(missing):,} of {len(column):,} samples have no {column.name!r}: {culprits(missing)}. "
                "Leave them out with `samples.select(ids=...)`, or complete the column."
            )
    if list(time.index) != list(event.index):
        raise ValueError(
            f"{time.name!r} and {event.name!r} are of other samples, or in another order; sort them alike."
        )
    numbers = pd.to_numeric(time, errors="coerce").astype(np.float64)
    wrong = time[~(np.isfinite(numbers) & (numbers > 0))]
    if len(wrong):
        found = [f"{value} in {sample}" for sample, value in wrong.items()]
        raise ValueError(
            f"{len(wrong):,} of {len(time):,} times in {time.name!r} are not numbers above 0: {culprits(found)}. "
            "Nobody is at risk before time 0: correct these times, or leave the samples out."
        )
    told = event.astype(object).map(lambda value: {"True": 1, "False": 0}.get(value, value))
    happened = pd.to_numeric(told, errors="coerce").astype(np.float64)
    odd = event[~happened.isin((0.0, 1.0))]
    if len(odd):
        found = [f"{value} in {sample}" for sample, value in odd.items()]
        raise ValueError(
            f"{len(odd):,} of {len(event):,} events in {event.name!r} are not 0, 1, True or False: {culprits(found)}. "
            "Code the event as 1 and the end of follow-up without it as 0."
        )
    if happened.sum() < 2:
        raise ValueError(
            f"{int(happened.sum())} of {len(event):,} samples have the event {event.name!r}; at least 2 are needed. "
            "Check that 1 means the event and 0 its absence."
        )
    events = happened.to_numpy() == 1
    return Target(str(time.name), "cox", numbers.to_numpy(), events=events, event=str(event.name))


def martingale_residuals(times: np.ndarray, events: np.ndarray, learn: np.ndarray | None = None) -> np.ndarray:
    """Events each sample had beyond those expected in its time, had all the same hazard (Nelson-Aalen).

    Parameters
    ----------
    times, events
        Of every sample, shape (n_samples,).
    learn
        Positions of the samples of which the hazard is taken; all unless given.

    References
    ----------
    Therneau, Grambsch & Fleming (1990), doi:10.1093/biomet/77.1.147
    """
    known = np.arange(len(times)) if learn is None else learn
    distinct, at = np.unique(times[known], return_inverse=True)
    happened = np.bincount(at, events[known], len(distinct))
    at_risk = np.bincount(at, minlength=len(distinct))[::-1].cumsum()[::-1]
    hazard = np.concatenate([[0.0], np.cumsum(happened / at_risk)])
    return events - hazard[np.searchsorted(distinct, times, side="right")]


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


def class_name(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)

"""Targets: what is guessed from a label column, what is not, and times with events."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vnn.data.targets import Target, encode_survival, encode_target


def column(values: list[object], **options: object) -> pd.Series:
    return pd.Series(values, index=[f"s{i}" for i in range(len(values))], name="outcome", **options)


@pytest.mark.parametrize(
    ("values", "task", "classes", "codes", "n_outputs"),
    [
        (["AML", "ALL", "AML"], "binary", ("ALL", "AML"), [1, 0, 1], 1),
        (["b", "c", "a"], "multiclass", ("a", "b", "c"), [1, 2, 0], 3),
        ([True, False, True], "binary", ("False", "True"), [1, 0, 1], 1),
        ([2, 1, 2], "binary", ("1", "2"), [1, 0, 1], 1),
        ([1.0, 0.0, 1.0], "binary", ("0", "1"), [1, 0, 1], 1),
        ([0.1, 0.25, 0.7], "regression", (), [0.1, 0.25, 0.7], 1),
        (list(range(11)), "regression", (), list(range(11)), 1),
    ],
)
def test_the_task_is_guessed(values: list, task: str, classes: tuple, codes: list, n_outputs: int) -> None:
    target = encode_target(column(values))
    assert (target.name, target.task, target.classes, target.n_outputs) == ("outcome", task, classes, n_outputs)
    np.testing.assert_array_equal(target.values, codes)
    assert target.values.dtype == (np.float64 if task == "regression" else np.int64)
    assert not target.values.flags.writeable


def test_categories_are_classes() -> None:
    assert encode_target(column(["x", "y"], dtype="category")).classes == ("x", "y")


def test_few_whole_numbers_need_the_task() -> None:
    grades = column([1, 2, 3, 3])
    with pytest.raises(ValueError, match=r"3 whole numbers '1', '2', '3', which may be classes or measurements"):
        encode_target(grades)
    with pytest.raises(ValueError, match="may be classes"):
        encode_target(grades.astype(float))
    assert encode_target(grades, task="multiclass").classes == ("1", "2", "3")
    assert encode_target(grades, task="regression").values.tolist() == [1, 2, 3, 3]


def test_missing_labels_name_the_samples() -> None:
    with pytest.raises(ValueError, match=r"2 of 3 samples have no 'outcome': 's1', 's2'"):
        encode_target(column(["a", None, np.nan]))


def test_a_constant_label_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'outcome' is 'a' in all of 2 samples"):
        encode_target(column(["a", "a"]))


def test_classes_of_a_fit_are_kept_in_their_order() -> None:
    target = encode_target(column(["case", "case"]), classes=("control", "case"))
    assert (target.task, target.classes, target.values.tolist()) == ("binary", ("control", "case"), [1, 1])
    with pytest.raises(ValueError, match=r"labels the fit does not know: 'relapse', in 1 samples: 's1'"):
        encode_target(column(["case", "relapse"]), classes=("control", "case"))
    with pytest.raises(ValueError, match="give each class once"):
        encode_target(column(["a", "b"]), classes=("a", "a"))


def test_labels_that_do_not_fit_the_task() -> None:
    with pytest.raises(ValueError, match=r"1 labels of the target 'outcome' are not finite numbers: 'high in s1'"):
        encode_target(column([0.5, "high"]), task="regression")
    with pytest.raises(ValueError, match=r"has 3 classes, 'a', 'b', 'c'; a binary task needs two"):
        encode_target(column(["a", "b", "c"]), task="binary")
    with pytest.raises(ValueError, match=r"task is 'regresion'.*Did you mean 'regression'"):
        encode_target(column(["a", "b"]), task="regresion")


def died(values: list[object]) -> pd.Series:
    return column(values).rename("died")


@pytest.mark.parametrize(
    "events", [[1, 0, 1], [1.0, 0.0, 1.0], [True, False, True], ["1", "0", "1"], ["True", "False", "True"]]
)
def test_times_and_events_become_a_target(events: list[object]) -> None:
    target = encode_survival(column([3, 5.5, 1]), died(events))
    assert (target.name, target.task, target.event, target.classes) == ("outcome", "cox", "died", ())
    assert target.n_outputs == 1
    assert target.events is not None
    assert target.events.tolist() == [True, False, True]
    assert target.values.tolist() == [3, 5.5, 1]
    assert target.truth.tolist() == [[3, 1], [5.5, 0], [1, 1]]
    assert not target.events.flags.writeable


@pytest.mark.parametrize(
    ("times", "events", "message"),
    [
        ([1, None, 3], [1, 1, 0], r"1 of 3 samples have no 'outcome': 's1'"),
        ([1, 2, 3], [1, None, 0], r"1 of 3 samples have no 'died': 's1'"),
        ([1, 0, -2], [1, 1, 0], r"2 of 3 times in 'outcome' are not numbers above 0: '0 in s1', '-2 in s2'"),
        ([1, np.inf, 2], [1, 1, 0], r"1 of 3 times .* 'inf in s1'"),
        ([1, "long", 2], [1, 1, 0], r"1 of 3 times .* 'long in s1'"),
        ([1, 2, 3], [1, 2, "dead"], r"2 of 3 events in 'died' are not 0, 1, True or False: '2 in s1', 'dead in s2'"),
        ([1, 2, 3], [0, 1, 0], r"1 of 3 samples have the event 'died'; at least 2 are needed"),
    ],
)
def test_times_and_events_that_cannot_be_are_told(times: list[object], events: list[object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode_survival(column(times), died(events))


def test_times_and_events_belong_together() -> None:
    with pytest.raises(ValueError, match="other samples, or in another order"):
        encode_survival(column([1, 2, 3]), died([1, 1, 0]).iloc[::-1])
    with pytest.raises(ValueError, match="Name the column of events as well"):
        encode_target(column([1.5, 2, 3]), task="cox")
    with pytest.raises(ValueError, match="cox needs them"):
        Target("t", "cox", np.ones(3))
    with pytest.raises(ValueError, match="2 events for 3 times"):
        Target("t", "cox", np.ones(3), events=np.ones(2))

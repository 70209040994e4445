"""Targets: what is guessed from a label column, and what is not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vnn.data.targets import encode_target


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

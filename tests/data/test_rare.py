"""Rare classes: named, dropped or merged, as the user says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vnn.data.rare import limit_classes
from vnn.data.read import read_samples
from vnn.data.samples import Samples
from vnn.data.splits import k_fold


def cells(labels: list[object]) -> Samples:
    ids = [f"c{i}" for i in range(len(labels))]
    frame = pd.DataFrame({"g": np.arange(len(ids), dtype=float)}, index=ids)
    return Samples.from_frame(frame, targets=pd.DataFrame({"kind": labels}, index=ids))


KINDS = ["T"] * 4 + ["B"] * 3 + ["NK"] * 2 + ["pDC"]


def test_error_names_small_classes_with_their_sizes() -> None:
    with pytest.raises(ValueError, match=r"2 classes of 'kind' with fewer than 3 samples: 'NK' \(2\), 'pDC' \(1\)"):
        limit_classes(cells(KINDS), "kind", least=3, rule="error")


def test_dropped_samples_leave_and_are_logged() -> None:
    found = limit_classes(cells(KINDS), "kind", least=3, rule="drop")
    assert found.ids == tuple(f"c{i}" for i in range(7))
    np.testing.assert_array_equal(found.values, [np.arange(7)])
    assert Counter(found.targets["kind"]) == {"T": 4, "B": 3}
    assert found.log[-1].endswith("their 3 samples were dropped")


def test_merged_classes_keep_every_sample() -> None:
    given = cells(KINDS)
    found = limit_classes(given, "kind", least=3, rule="merge", into="rest")
    assert found.ids == given.ids
    assert list(found.targets["kind"]) == ["T"] * 4 + ["B"] * 3 + ["rest"] * 3
    assert list(given.targets["kind"]) == KINDS
    assert "became the class 'rest'" in found.log[-1]


def test_nothing_rare_changes_nothing() -> None:
    given = cells(KINDS)
    for rule in ("error", "drop", "merge"):
        assert limit_classes(given, "kind", least=1, rule=rule) is given


def test_a_rare_class_may_have_the_name_of_the_merged_one() -> None:
    found = limit_classes(cells(["T"] * 4 + ["other", "B", "B"]), "kind", least=3, rule="merge")
    assert Counter(found.targets["kind"]) == {"T": 4, "other": 3}


def test_numbers_and_categories_are_classes_too() -> None:
    found = limit_classes(cells([1, 1, 1, 2, 2, 3]), "kind", least=2, rule="drop")
    assert list(found.targets["kind"]) == [1, 1, 1, 2, 2]
    merged = limit_classes(cells(pd.Categorical(["a", "a", "b", "c"])), "kind", least=2, rule="merge")
    assert list(merged.targets["kind"]) == ["a", "a", "other", "other"]


@pytest.mark.parametrize(
    ("labels", "least", "rule", "message"),
    [
        (["T", "T", "B", "NK"], 2, "drop", r"only 'T' \(2\) is left"),
        (["T", "B", "NK"], 4, "merge", "no other class is left"),
        (["T", "T", "B", "B", "NK"], 2, "merge", "Together they are 1"),
        (["T", "T", "other", "other", "B", "B", "NK"], 2, "merge", "which is a class of 'kind' already"),
        (["T", None, "B"], 2, "drop", r"1 of 3 samples have no 'kind': 'c1'"),
        (["T", "B"], 0, "drop", "least is 0"),
        (["T", "B"], 2, "forget", "rule is 'forget'; known are 'error', 'drop', 'merge'"),
        (["T"], 2, "drop", "no other class is left"),
    ],
)
def test_what_leaves_nothing_to_tell_apart_is_refused(
    labels: list[object], least: int, rule: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        limit_classes(cells(labels), "kind", least=least, rule=rule)


def test_an_unknown_target_lists_the_known() -> None:
    with pytest.raises(ValueError, match="target is 'kinds'; known are 'kind'"):
        limit_classes(cells(KINDS), "kinds", least=2, rule="drop")


@pytest.mark.data
@pytest.mark.parametrize(("rule", "n_samples", "n_classes"), [("drop", 660, 7), ("merge", 700, 8)])
def test_blood_cells_can_be_split_afterwards(
    real: Callable[[str], Path], rule: str, n_samples: int, n_classes: int
) -> None:
    pytest.importorskip("anndata")
    path = real("singlecell/10x_pbmc68k_reduced.h5ad")
    whole = read_samples(path, targets=["bulk_labels"], layer="raw")
    with pytest.raises(ValueError, match=r"'CD34\+' \(13\).* \(8\).*Memory' \(19\)"):
        limit_classes(whole, "bulk_labels", least=20, rule="error")
    found = limit_classes(whole, "bulk_labels", least=20, rule=rule)
    sizes = Counter(found.targets["bulk_labels"])
    assert (found.n_samples, len(sizes), min(sizes.values())) == (n_samples, n_classes, 31)
    assert len(k_fold(found.ids, k=5, seed=1, stratify=found.targets["bulk_labels"])) == 5

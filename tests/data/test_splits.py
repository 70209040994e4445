"""Splits: nobody in two parts, classes in proportion, and the order of ids without effect."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import KFold, StratifiedKFold

from vnn._errors import AlignmentError
from vnn.data.splits import Split, hold_out, k_fold, leave_one_group_out


def cohort(sizes: dict[str, int]) -> dict[str, str]:
    labels = [name for name, size in sizes.items() for _ in range(size)]
    order = np.random.default_rng(0).permutation(len(labels))
    return {f"p{place}": labels[place] for place in order}


def counts(ids: tuple[str, ...], labels: dict[str, str]) -> Counter[str]:
    return Counter(labels[name] for name in ids)


def check(split: Split, ids: set[str]) -> None:
    parts = (split.train, split.validation, split.test)
    assert sum(map(len, parts)) == len(ids)
    assert set().union(*parts) == ids
    assert all(list(part) == sorted(part) for part in parts)


sizes = st.dictionaries(st.sampled_from("abcde"), st.integers(7, 40), min_size=1)


@given(sizes=sizes, test=st.floats(0.05, 0.6), validation=st.floats(0.05, 0.5), seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_hold_out_keeps_proportions_within_one_sample(
    sizes: dict[str, int], test: float, validation: float, seed: int
) -> None:
    labels = cohort(sizes)
    split = hold_out(labels, test=test, validation=validation, seed=seed, stratify=labels)
    check(split, set(labels))
    held, stopping = counts(split.test, labels), counts(split.validation, labels)
    for name, size in sizes.items():
        assert abs(held[name] - test * size) <= 1
        assert abs(stopping[name] - validation * (size - held[name])) <= 1
        assert min(held[name], stopping[name], counts(split.train, labels)[name]) >= 1


@given(sizes=sizes, k=st.integers(2, 6), data=st.data())
@settings(max_examples=40, deadline=None)
def test_folds_partition_whatever_the_order_of_ids(sizes: dict[str, int], k: int, data: st.DataObject) -> None:
    labels = cohort(sizes)
    splits = k_fold(labels, k=k, repeats=2, seed=3, stratify=labels)
    assert splits == k_fold(
        data.draw(st.permutations(list(labels))), k=k, repeats=2, seed=3, stratify=pd.Series(labels)
    )
    assert splits[:k] == k_fold(labels, k=k, seed=3, stratify=labels)
    for repeat in (splits[:k], splits[k:]):
        assert sorted(name for split in repeat for name in split.test) == sorted(labels)
    for split in splits:
        check(split, set(labels))
        for name, size in sizes.items():
            assert abs(counts(split.test, labels)[name] - size / k) < 1


def test_sizes_of_folds_are_those_of_sklearn() -> None:
    labels = cohort({"ALL": 25, "AML": 23})
    y = [labels[name] for name in sorted(labels)]
    ours = k_fold(labels, k=5, seed=1, stratify=labels, validation=0)
    theirs = StratifiedKFold(5).split(y, y)
    assert sorted(sorted(counts(split.test, labels).values()) for split in ours) == sorted(
        sorted(Counter(y[i] for i in test).values()) for _, test in theirs
    )
    plain = [len(split.test) for split in k_fold(labels, k=5, seed=1)]
    assert sorted(plain) == sorted(len(test) for _, test in KFold(5).split(y))


def test_names_and_seeds() -> None:
    ids = [f"p{i}" for i in range(20)]
    splits = k_fold(ids, k=2, repeats=2, seed=1)
    assert [split.name for split in splits] == [
        "repeat 0 fold 0",
        "repeat 0 fold 1",
        "repeat 1 fold 0",
        "repeat 1 fold 1",
    ]
    assert splits[0].test != splits[2].test
    assert splits != k_fold(ids, k=2, repeats=2, seed=2)
    assert hold_out(ids, seed=1) != hold_out(ids, seed=2)


def test_shares_of_a_hold_out() -> None:
    ids = [f"p{i}" for i in range(100)]
    split = hold_out(ids, seed=1)
    assert (split.name, len(split.train), len(split.validation), len(split.test)) == ("hold out", 64, 16, 20)
    assert hold_out(ids, validation=0, seed=1).validation == ()
    assert hold_out(ids, test=0, seed=1).test == ()
    assert all(not fold.validation for fold in k_fold(ids, validation=0, seed=1))
    with pytest.raises(ValueError, match=r"test is 1.2; it is a share"):
        hold_out(ids, test=1.2, seed=1)


@given(sizes=st.lists(st.integers(1, 9), min_size=8, max_size=25), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_group_is_never_torn_apart(sizes: list[int], seed: int) -> None:
    groups = cohort({f"family {i}": size for i, size in enumerate(sizes)})
    splits = (
        hold_out(groups, seed=seed, groups=groups),
        *k_fold(groups, k=4, seed=seed, groups=groups),
        *leave_one_group_out(groups, groups, seed=seed),
    )
    for split in splits:
        check(split, set(groups))
        parts = [set(counts(part, groups)) for part in (split.train, split.validation, split.test)]
        assert all(parts)
        assert sum(map(len, parts)) == len(set.union(*parts))


def test_groups_and_classes_together() -> None:
    donors = {f"cell{i}": f"donor {i // 10}" for i in range(200)}
    sick = {name: "sick" if int(donor.split()[1]) % 4 == 0 else "well" for name, donor in donors.items()}
    for split in k_fold(donors, k=5, seed=1, stratify=sick, groups=donors):
        assert counts(split.test, sick) == {"sick": 10, "well": 30}
        assert counts(split.validation, sick)["sick"] == 10
    backwards = k_fold(reversed(list(donors)), k=5, seed=1, stratify=sick, groups=donors)
    assert backwards == k_fold(donors, k=5, seed=1, stratify=sick, groups=donors)


def test_each_group_is_left_out_once() -> None:
    sites = cohort({"Lund": 5, "Oslo": 6, "Turku": 7})
    splits = leave_one_group_out(sites, sites, seed=1)
    assert [split.name for split in splits] == ["without Lund", "without Oslo", "without Turku"]
    assert [set(counts(split.test, sites)) for split in splits] == [{"Lund"}, {"Oslo"}, {"Turku"}]
    assert all(len(set(counts(split.validation, sites))) == 1 for split in splits)


def test_a_class_too_small_is_named_with_count_and_need() -> None:
    labels = cohort({"common": 30, "rare": 2})
    with pytest.raises(ValueError, match=r"class 'rare' has 2 samples; the split needs at least 3: one in each part"):
        hold_out(labels, seed=1, stratify=labels)
    with pytest.raises(
        ValueError, match=r"class 'rare' has 2 samples; the split needs at least 5: one in each of 5 folds"
    ):
        k_fold(labels, seed=1, stratify=labels)
    assert counts(hold_out(labels, validation=0, seed=1, stratify=labels).test, labels)["rare"] == 1
    with pytest.raises(ValueError, match=r"there are 2 samples; the split needs at least 3"):
        hold_out(["a", "b"], seed=1)


def test_groups_that_cannot_be_spread() -> None:
    sites = cohort({"Lund": 5, "Oslo": 6})
    with pytest.raises(ValueError, match=r"there are 2 groups, 'Lund', 'Oslo'; 3 are needed.*validation=0"):
        leave_one_group_out(sites, sites, seed=1)
    with pytest.raises(ValueError, match=r"there are 2 groups, 'Lund', 'Oslo', for 3 parts"):
        hold_out(sites, seed=1, groups=sites)
    assert len(leave_one_group_out(sites, sites, validation=0, seed=1)) == 2
    sick = {name: "sick" if site == "Lund" else "well" for name, site in sites.items()}
    with pytest.raises(ValueError, match=r"all 5 samples of class 'sick' are in group 'Lund'"):
        leave_one_group_out(sites, sites, validation=0, seed=1, stratify=sick)
    with pytest.raises(ValueError, match=r"class 'sick' has 5 samples in 1 groups.*2 parts"):
        hold_out(sites, validation=0, seed=1, stratify=sick, groups=sites)


def test_labels_are_joined_by_name() -> None:
    ids = ["a", "b", "c", "d"]
    with pytest.raises(TypeError, match=r"`stratify` is a list; labels are joined by name"):
        hold_out(ids, seed=1, stratify=["x", "x", "y", "y"])
    with pytest.raises(AlignmentError, match=r"1 of 4 samples are not in `groups`: 'd'"):
        hold_out(ids, seed=1, groups=dict.fromkeys("abc", "x"))
    with pytest.raises(ValueError, match=r"1 of 4 samples have no label in `stratify`: 'b'"):
        hold_out(ids, seed=1, stratify={"a": "x", "b": None, "c": "x", "d": "x"})
    with pytest.raises(AlignmentError, match=r"occur more than once: 'a'"):
        hold_out(["a", "a", "b"], seed=1)


def test_a_split_refuses_shared_samples() -> None:
    with pytest.raises(ValueError, match=r"1 samples of the split 'mine' are in train and in test: 'b'"):
        Split("mine", ("a", "b"), (), ("b",))

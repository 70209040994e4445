"""Splits: which samples train, which decide when to stop, which are held out.

A split depends on the set of sample ids, their labels and the seed, never on the order of the ids.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from vnn import chance
from vnn._errors import AlignmentError, culprits
from vnn.data.samples import unique

ByName: TypeAlias = Mapping[str, Hashable] | pd.Series


@dataclass(frozen=True)
class Split:
    """Sample ids of the three parts, each sorted; no id is in two of them.

    Parameters
    ----------
    name
        "hold out", "repeat 0 fold 3", "without Lund".
    train, validation, test
        Ids. The validation part decides when training stops and may be empty.
    """

    name: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        parts = {part: unique(getattr(self, part), f"ids of {part}") for part in ("train", "validation", "test")}
        for (first, ids), (second, others) in combinations(parts.items(), 2):
            if shared := sorted(set(ids) & set(others)):
                raise ValueError(
                    f"{len(shared):,} samples of the split {self.name!r} are in {first} and in {second}: "
                    f"{culprits(shared)}. Parts must not share samples."
                )


def hold_out(
    ids: Iterable[str],
    *,
    test: float = 0.2,
    validation: float = 0.2,
    seed: int,
    stratify: ByName | None = None,
    groups: ByName | None = None,
) -> Split:
    """One split, drawn at random.

    Parameters
    ----------
    ids
        Sample ids, in any order.
    test
        Share of the samples to hold out; 0 for none.
    validation
        Share of the samples *outside the test part* that decide when to stop; 0 for none.
    seed
        Seed of the study.
    stratify
        Class of each sample by id (a Series such as `samples.targets["class"]`, or a mapping). Each
        class is spread over the parts within one sample of its share, and at least one in each.
    groups
        Group of each sample by id. A group is never in two parts; shares and classes then hold as well as
        whole groups allow.

    Returns
    -------
    A `Split` called "hold out".

    Raises
    ------
    ValueError
        If a class, or the number of groups, is too small for the parts.
    """
    _share("test", test)
    _share("validation", validation)
    names = _sorted(ids)
    classes = _Strata.of(names, stratify, "stratify")
    rng = chance.generator(seed, "split", "hold out")
    shares = (test, (1 - test) * validation, (1 - test) * (1 - validation))
    if groups is not None:
        part = _deal_groups(_by_name(names, groups, "groups"), classes, shares, rng)
        return _split("hold out", names, part == 0, part == 1)
    classes.need(1 + (test > 0) + (validation > 0), "one in each part")
    held_out = _draw(classes.codes, test, 1 + (validation > 0), rng)
    return _split("hold out", names, held_out, _draw_in(~held_out, classes, validation, rng))


def k_fold(
    ids: Iterable[str],
    *,
    k: int = 5,
    repeats: int = 1,
    validation: float = 0.2,
    seed: int,
    stratify: ByName | None = None,
    groups: ByName | None = None,
) -> tuple[Split, ...]:
    """Splits in which every sample is held out once per repeat.

    Parameters
    ----------
    ids, validation, seed, stratify, groups
        As in `hold_out`.
    k
        Number of folds, at least 2.
    repeats
        How often the samples are dealt out anew. More repeats leave the first ones as they are.

    Returns
    -------
    `repeats * k` splits, called "repeat 0 fold 0" and so on.

    Raises
    ------
    ValueError
        If a class, or the number of groups, is too small for the folds.
    """
    _share("validation", validation)
    if k < 2 or repeats < 1:
        raise ValueError(f"k is {k} and repeats is {repeats}; at least 2 folds and 1 repeat are needed.")
    names = _sorted(ids)
    classes = _Strata.of(names, stratify, "stratify")
    families = None if groups is None else _by_name(names, groups, "groups")
    if families is None:
        reserve = 1 + (validation > 0)
        need = next(n for n in range(k, 2 * k + 3) if n - -(-n // k) >= reserve)
        classes.need(need, f"one in each of {k} folds" + (" and in validation" if validation else ""))
    splits = []
    for repeat in range(repeats):
        rng = chance.generator(seed, "split", "folds", repeat)
        if families is None:
            fold = np.empty(len(names), dtype=np.int64)
            fold[_order(classes.codes, rng)] = np.arange(len(names)) % k
        else:
            fold = _deal_groups(families, classes, (1 / k,) * k, rng)
        for number in range(k):
            inner = chance.generator(seed, "split", "validation", repeat, number)
            stopping = _draw_in(fold != number, classes, validation, inner, families)
            splits.append(_split(f"repeat {repeat} fold {number}", names, fold == number, stopping))
    return tuple(splits)


def half_samples(
    ids: Iterable[str],
    *,
    pairs: int,
    validation: float = 0.2,
    seed: int,
    stratify: ByName | None = None,
    groups: ByName | None = None,
) -> tuple[Split, ...]:
    """Splits into complementary halves: each half learns while the other is held out.

    What differs between networks of two halves of a pair differs because the people do; their seeds alone tell less.

    Parameters
    ----------
    ids, validation, seed, stratify, groups
        As in `hold_out`.
    pairs
        How often the samples are halved anew. More pairs leave the first ones as they are.

    Returns
    -------
    `2 * pairs` splits, called "half 0a", "half 0b", "half 1a" and so on.

    References
    ----------
    Shah & Samworth (2013), doi:10.1111/j.1467-9868.2011.01034.x
    """
    halves = k_fold(ids, k=2, repeats=pairs, validation=validation, seed=seed, stratify=stratify, groups=groups)
    return tuple(replace(split, name=f"half {i // 2}{'ab'[i % 2]}") for i, split in enumerate(halves))


def half_of(split: str) -> tuple[int, str] | None:
    """Number of the pair and "a" or "b", from the name of a half-sample; None for other splits."""
    found = re.fullmatch(r"half (\d+)([ab])", split)
    return None if found is None else (int(found[1]), found[2])


def leave_one_group_out(
    ids: Iterable[str],
    groups: ByName,
    *,
    validation: float = 0.2,
    seed: int,
    stratify: ByName | None = None,
) -> tuple[Split, ...]:
    """One split per group: the group is held out, whole other groups decide when to stop.

    Parameters
    ----------
    ids, validation, seed, stratify
        As in `hold_out`.
    groups
        Group of each sample by id: donor, batch, site, ancestry.

    Returns
    -------
    Splits called "without Lund", sorted by group.

    Raises
    ------
    ValueError
        If there are too few groups, or a class is lost with one of them.
    """
    _share("validation", validation)
    names = _sorted(ids)
    classes = _Strata.of(names, stratify, "stratify")
    families = _by_name(names, groups, "groups")
    listed = sorted(set(families.tolist()))
    need = 3 if validation else 2
    if len(listed) < need:
        hint = " Pass validation=0 to train without one." if len(listed) == 2 else ""
        raise ValueError(
            f"there are {len(listed)} groups, {culprits(listed)}; {need} are needed, one for each part.{hint}"
        )
    splits = []
    for group in listed:
        outside = families != group
        for code, name in enumerate(classes.names):
            if classes.stratified and not (classes.codes[outside] == code).any():
                count = int((classes.codes == code).sum())
                raise ValueError(
                    f"all {count:,} samples of class {name!r} are in group {group!r}; without it none is left to "
                    "train on. Leave the class out, or merge groups."
                )
        rng = chance.generator(seed, "split", "validation", group)
        splits.append(
            _split(f"without {group}", names, ~outside, _draw_in(outside, classes, validation, rng, families))
        )
    return tuple(splits)


@dataclass(frozen=True, eq=False)
class _Strata:
    """Class of each sample as a code, and the names of the classes; one nameless class without stratification."""

    codes: np.ndarray
    names: tuple[str, ...]
    stratified: bool

    @classmethod
    def of(cls, ids: tuple[str, ...], labels: ByName | None, what: str) -> _Strata:
        if labels is None:
            return cls(np.zeros(len(ids), dtype=np.int64), ("",), stratified=False)
        names, codes = np.unique(_by_name(ids, labels, what), return_inverse=True)
        return cls(codes, tuple(map(str, names)), stratified=True)

    def need(self, count: int, purpose: str) -> None:
        for name, held in zip(self.names, np.bincount(self.codes, minlength=len(self.names)), strict=True):
            if held < count:
                who = f"class {name!r} has {held:,} samples" if self.stratified else f"there are {held:,} samples"
                advice = "Merge or leave out small classes, or split into fewer parts."
                raise ValueError(f"{who}; the split needs at least {count:,}: {purpose}. {advice}")


def _draw_in(
    pool: np.ndarray,
    classes: _Strata,
    share: float,
    rng: np.random.Generator,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Mask of a validation part of `share` of the samples in `pool`."""
    chosen = np.zeros(len(pool), dtype=bool)
    if share:
        inside = np.flatnonzero(pool)
        if groups is None:
            chosen[inside] = _draw(classes.codes[inside], share, 1, rng)
        else:
            inner = _Strata(classes.codes[inside], classes.names, classes.stratified)
            chosen[inside] = _deal_groups(groups[inside], inner, (share, 1 - share), rng) == 0
    return chosen


def _draw(codes: np.ndarray, share: float, reserve: int, rng: np.random.Generator) -> np.ndarray:
    """Mask of a part of `share` of the samples: of every class its share within one sample, at least one of
    it, and `reserve` of it left over."""
    if not share:
        return np.zeros(len(codes), dtype=bool)
    order = _order(codes, rng)
    due = np.diff(np.floor(np.arange(len(codes) + 1) * share + 0.5)) == 1
    held = np.bincount(codes)
    wanted = np.bincount(codes[order][due], minlength=len(held))
    wanted = np.clip(wanted, np.minimum(held, 1), np.maximum(held - reserve, 0))
    rank = np.arange(len(codes)) - (np.cumsum(held) - held)[codes[order]]
    chosen = np.empty(len(codes), dtype=bool)
    chosen[order] = rank < wanted[codes[order]]
    return chosen


def _order(codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The samples class by class, in random order within a class."""
    return np.lexsort((rng.random(len(codes)), codes))


def _deal_groups(
    groups: np.ndarray, classes: _Strata, shares: tuple[float, ...], rng: np.random.Generator
) -> np.ndarray:
    """Part of each sample, whole groups together: each group, the largest first, goes where it brings the
    numbers of every class nearest to their shares."""
    listed, member = np.unique(groups, return_inverse=True)
    sizes = np.zeros((len(listed), len(classes.names)))
    np.add.at(sizes, (member, classes.codes), 1)
    open_parts = [part for part, share in enumerate(shares) if share > 0]
    if len(listed) < len(open_parts):
        raise ValueError(
            f"there are {len(listed)} groups, {culprits(listed)}, for {len(open_parts)} parts; every part needs one. "
            "Ask for fewer parts, or validation=0."
        )
    goal = np.outer(np.array(shares)[open_parts], sizes.sum(axis=0))
    weight = 1 / np.maximum(goal, 1e-12)
    held = np.zeros_like(goal)
    place = np.empty(len(listed), dtype=np.int64)
    order = np.lexsort((rng.random(len(listed)), -sizes.sum(axis=1)))
    for done, group in enumerate(order):
        cost = (((held + sizes[group] - goal) ** 2 - (held - goal) ** 2) * weight).sum(axis=1)
        empty = held.sum(axis=1) == 0
        if len(listed) - done <= empty.sum():
            cost[~empty] = np.inf
        best = int(np.argmin(cost))
        place[group] = best
        held[best] += sizes[group]
    present = np.flatnonzero(sizes.any(axis=0))
    if (lost := present[(held[:, present] == 0).any(axis=0)]).size:
        name, count = classes.names[lost[0]], int(sizes[:, lost[0]].sum())
        raise ValueError(
            f"class {name!r} has {count:,} samples in {int((sizes[:, lost[0]] > 0).sum()):,} groups; with whole groups "
            f"they could not be spread over {len(open_parts)} parts, each of which needs one. Merge or leave out the "
            "class, split into fewer parts, or split without stratify."
        )
    return np.array(open_parts)[place[member]]


def _split(name: str, ids: tuple[str, ...], test: np.ndarray, validation: np.ndarray) -> Split:
    def part(mask: np.ndarray) -> tuple[str, ...]:
        return tuple(ids[place] for place in np.flatnonzero(mask))

    return Split(name, part(~test & ~validation), part(validation), part(test))


def _sorted(ids: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(unique(ids, "sample ids")))


def _by_name(ids: tuple[str, ...], labels: ByName, what: str) -> np.ndarray:
    if not isinstance(labels, Mapping | pd.Series):
        raise TypeError(
            f"`{what}` is a {type(labels).__name__}; labels are joined by name, so pass a Series indexed by sample id "
            "or a mapping from id to label."
        )
    if isinstance(labels, pd.Series):
        unique(map(str, labels.index), f"sample ids of `{what}`")
    known: dict[str, Any] = {str(name): label for name, label in labels.items()}
    if absent := [name for name in ids if name not in known]:
        raise AlignmentError(
            f"{len(absent):,} of {len(ids):,} samples are not in `{what}`: {culprits(absent)}. "
            "Give every sample a label, or leave these samples out."
        )
    if missing := [name for name in ids if pd.isna(known[name])]:
        raise ValueError(
            f"{len(missing):,} of {len(ids):,} samples have no label in `{what}`: {culprits(missing)}. "
            "Complete the labels, or leave these samples out."
        )
    return np.array([str(known[name]) for name in ids])


def _share(name: str, share: float) -> None:
    if not 0 <= share < 1:
        raise ValueError(f"{name} is {share}; it is a share of the samples, from 0 up to but not including 1.")

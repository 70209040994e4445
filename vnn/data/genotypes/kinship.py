"""Kinship: who is related to whom, which families that makes, and who is left when each family sends one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from vnn._errors import AlignmentError, GenotypeError, culprits
from vnn.data.genotypes.genotypes import Genotypes
from vnn.data.genotypes.quality import part_of
from vnn.data.genotypes.unpacked import CALLED, HET, SIDE, lacking, matrix, product
from vnn.data.samples import unique

DUPLICATE, FIRST, SECOND, THIRD = 0.354, 0.177, 0.0884, 0.0442  # least kinship of each degree, Manichaikul et al.
PAIR = ["first", "second"]
_NO_PAIRS = pd.DataFrame(
    {"first": pd.Series(dtype=object), "second": pd.Series(dtype=object), "variants": pd.Series(dtype=np.int64)}
    | {name: pd.Series(dtype=float) for name in ("het_het", "ibs0", "kinship")}
)
_PEOPLE = 2048  # of a side of a block of pairs
_VARIANTS = 4096


def relatives(genotypes: Genotypes, *, least: float = SECOND) -> pd.DataFrame:
    """Pairs of related people by KING-robust kinship, which holds in mixed populations too.

    kinship = 1/2 - (h1 + h2 - 2 both + 4 opposite) / (4 min(h1, h2)) over the variants called in both people: h1 and h2 are
    heterozygous in one, `both` in both, `opposite` are homozygous for different alleles. All pairs are looked at, a block at a
    time: one product of matrices of 8-bit integers bounds the kinship of each pair, and the counts of those that may reach `least`
    are products as well, exact. Only pairs that are kept take memory.

    Parameters
    ----------
    genotypes
        Autosomal variants; some 10,000 common ones are enough.
    least
        Kinship from which a pair is kept: 0.354 for duplicates and twins, 0.177 for first degree, 0.0884 for second.

    Returns
    -------
    One row per pair, the order of people kept: `first`, `second`, `variants` called in both, shares of these that are
    heterozygous in both (`het_het`) and opposite (`ibs0`), `kinship`. A pair of whom one has no heterozygous genotype has none
    and is left out.

    Raises
    ------
    GenotypeError
        If a variant is on a sex chromosome or MT, or none is given.

    References
    ----------
    Manichaikul et al. 2010, doi:10.1093/bioinformatics/btq559
    """
    _autosomal(genotypes)
    found: list[pd.DataFrame] = []
    ids = genotypes.people.index
    seen = genotypes.person_counts()
    for one, two, mine, theirs in _blocks(genotypes):
        near = _at_most(mine, theirs, genotypes.n_variants, seen[one], seen[two]) >= least
        if theirs is None:
            near = np.triu(near, 1)
        rows, columns = np.asarray(near.any(1)), np.asarray(near.any(0))
        if not rows.any():
            continue
        other = mine if theirs is None else theirs
        counts = _counts(part_of(mine, None, rows), part_of(other, None, columns))
        value = np.where(near[np.ix_(rows, columns)], _kinship(*counts), -np.inf)
        i, j = np.nonzero(value >= max(least, -1e300))
        both, _, _, opposite, n = (count[i, j] for count in counts)
        pairs = {
            "first": ids[one][rows][i], "second": ids[two][columns][j], "variants": n, "het_het": both / n, "ibs0": opposite / n,
            "kinship": value[i, j],
        }  # fmt: skip
        found.append(pd.DataFrame(pairs))
    if not found:
        return _NO_PAIRS.copy()
    table = pd.concat(found, ignore_index=True)
    place = [ids.get_indexer(table[name]) for name in PAIR]
    return table.iloc[np.lexsort(place[::-1])].reset_index(drop=True)


def kinship_matrix(genotypes: Genotypes) -> np.ndarray:
    """KING-robust kinship of all pairs, float32 (n_people, n_people), 0.5 on the diagonal; NaN where it has no value.

    4 bytes for each pair of people: `relatives` where they are many.
    """
    _autosomal(genotypes)
    made = np.empty((genotypes.n_people, genotypes.n_people), dtype=np.float32)
    for one, two, mine, theirs in _blocks(genotypes):
        value = _kinship(*_counts(mine, theirs))
        made[one, two] = np.where(np.isneginf(value), np.nan, value)
        made[two, one] = made[one, two].T
    np.fill_diagonal(made, 0.5)
    return made


def families(ids: Sequence[str], pairs: pd.DataFrame, *, least: float = SECOND) -> pd.Series:
    """The family of each person: all who are joined by relatives, in any number of steps, called by their first person.

    As a column of `groups` it keeps relatives on one side of every split.

    Parameters
    ----------
    ids
        People.
    pairs
        Columns `first`, `second` and `kinship`, as `relatives` gives them; pairs of others are left out.
    least
        Kinship from which two are of one family.

    Returns
    -------
    Name of the family by person; people without relatives are families of their own.
    """
    index = pd.Index(unique(ids, "people"), dtype=object, name="person")
    one, two = _edges(index, pairs, least)
    joined = coo_matrix((np.ones(len(one), dtype=np.int8), (one, two)), shape=(len(index), len(index)))
    _, label = connected_components(joined, directed=False)
    _, first = np.unique(label, return_index=True)
    return pd.Series(index.to_numpy()[first[label]], index=index, name="family")


def unrelated(
    ids: Sequence[str], pairs: pd.DataFrame, *, least: float = SECOND, call_rate: pd.Series | None = None
) -> tuple[str, ...]:
    """People of whom no two are related: as long as there are pairs, who has most relatives goes.

    Parameters
    ----------
    ids, pairs, least
        As in `families`.
    call_rate
        By person; of people with as many relatives the one with the lower goes, and where that is equal too, the later one.

    Returns
    -------
    Ids of those who stay, in their order.
    """
    index = pd.Index(unique(ids, "people"), dtype=object)
    one, two = _edges(index, pairs, least)
    near: dict[int, set[int]] = {}
    for a, b in zip(one.tolist(), two.tolist(), strict=True):
        near.setdefault(a, set()).add(b)
        near.setdefault(b, set()).add(a)
    rate = np.ones(len(index)) if call_rate is None else _rates(index, call_rate)
    by_number: dict[int, set[int]] = {}
    for person, others in near.items():
        by_number.setdefault(len(others), set()).add(person)
    gone: set[int] = set()
    number = max(by_number, default=0)
    while number > 0:
        if not by_number.get(number):
            number -= 1
            continue
        person = min(by_number[number], key=lambda who: (rate[who], -who))
        by_number[number].remove(person)
        gone.add(person)
        for other in near.pop(person):
            n = len(near[other])
            by_number[n].remove(other)
            near[other].remove(person)
            by_number.setdefault(n - 1, set()).add(other)
    return tuple(name for at, name in enumerate(index) if at not in gone)


def _rates(index: pd.Index, call_rate: pd.Series) -> np.ndarray:
    told = call_rate.reindex(index)
    if told.isna().any():
        lost = told.index[told.isna()]
        raise AlignmentError(
            f"{len(lost):,} of the {len(index):,} people have no call rate: {culprits(lost)}. Give one for each, or none at all."
        )
    return told.to_numpy(dtype=float)


def _edges(index: pd.Index, pairs: pd.DataFrame, least: float) -> tuple[np.ndarray, np.ndarray]:
    if lacking := [name for name in (*PAIR, "kinship") if name not in pairs]:
        raise GenotypeError(
            f"the table of pairs lacks {culprits(lacking)}; it has {culprits(pairs.columns, 12)}. `relatives` and `read_kinship` "
            "make one."
        )
    close = pairs[pairs["kinship"] >= least]
    one, two = (index.get_indexer(close[name]) for name in PAIR)
    here = (one >= 0) & (two >= 0) & (one != two)
    return one[here], two[here]


def _autosomal(genotypes: Genotypes) -> None:
    if not genotypes.n_variants:
        raise GenotypeError("kinship needs variants; there are none.")
    other = genotypes.variants["chromosome"].isin(["X", "Y", "MT"])
    if other.any():
        raise GenotypeError(
            f"kinship is defined on autosomes; {int(other.sum()):,} of the {genotypes.n_variants:,} variants are on X, Y or MT: "
            f"{culprits(genotypes.variants.index[other])}. Select the others first."
        )


def _blocks(genotypes: Genotypes) -> Iterator[tuple[slice, slice, Genotypes, Genotypes | None]]:
    """Blocks of pairs: where their people stand, and these; None for a block of pairs within one group."""
    n = genotypes.n_people
    edges = np.linspace(0, n, max(-(-n // _PEOPLE), 1) + 1).astype(int)
    sides = [slice(a, b) for a, b in pairwise(edges.tolist())]
    held = [part_of(genotypes, None, np.arange(n)[side]) for side in sides]
    for i, one in enumerate(sides):
        for j in range(i, len(sides)):
            yield one, sides[j], held[i], held[j] if j > i else None


def _at_most(
    first: Genotypes, second: Genotypes | None, n_variants: int, seen: np.ndarray, seen_too: np.ndarray
) -> np.ndarray:
    """A bound of the kinship of each pair, reached where nothing is missing; -inf where one is never heterozygous.

    With n called in both, 4 min(h1, h2) (1/2 - kinship) = 2n - h1 - h2 - 2 s, s being homozygous for the same allele less
    opposite; n falls short of all variants by no more than is missing in either, and h1 and h2 are at most those of all calls.
    """
    sides = torch.zeros((first.n_people, (second or first).n_people), dtype=torch.int32)
    for rows, others in _together(first, second):
        one = matrix(rows, SIDE, sides.shape[0])
        sides += product(one.T, one if others is rows else matrix(others, SIDE, sides.shape[1]))
    lost, het = seen[:, 1][:, None] + seen_too[:, 1], seen[:, 2][:, None] + seen_too[:, 2]
    apart = 2 * (n_variants - lost) - het - 2 * sides.numpy()
    least = np.minimum(seen[:, 2][:, None], seen_too[:, 2])
    bound = np.full(apart.shape, -np.inf)
    np.divide(apart, -4.0 * least, where=least > 0, out=bound)
    bound += 0.5 + 1e-9
    bound[(apart < 0) & (least > 0)] = np.inf
    return bound


def _together(first: Genotypes, second: Genotypes | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Packed rows of both groups, the same ones where there is one."""
    if second is None:
        for _, rows in first.packed(_VARIANTS):
            yield rows, rows
    else:
        for (_, rows), (_, others) in zip(first.packed(_VARIANTS), second.packed(_VARIANTS), strict=True):
            yield rows, others


def _counts(first: Genotypes, second: Genotypes | None) -> tuple[np.ndarray, ...]:
    """Of every pair of people of two groups, or of one."""
    shape = (first.n_people, (second or first).n_people)
    both, het_one, het_two, called, sides = (torch.zeros(shape, dtype=torch.int32) for _ in range(5))
    own_one, n_whole = np.zeros(shape[0], dtype=np.int32), 0
    own_two = own_one if second is None else np.zeros(shape[1], dtype=np.int32)
    for rows, others in _together(first, second):
        whole = ~(lacking(rows).any(1) | lacking(others).any(1))
        for some, complete in ((whole, True), (~whole, False)):
            if not some.any():
                continue
            mine, theirs = (rows, others) if some.all() else (rows[some], others[some])
            h, s = matrix(mine, HET, shape[0]), matrix(mine, SIDE, shape[0])
            h2, s2 = (h, s) if second is None else (matrix(theirs, HET, shape[1]), matrix(theirs, SIDE, shape[1]))
            both += product(h.T, h2)
            sides += product(s.T, s2)
            if complete:
                n_whole += len(mine)
                own_one += h.sum(0, dtype=torch.int32).numpy()
                if second is not None:
                    own_two += h2.sum(0, dtype=torch.int32).numpy()
                continue
            c = matrix(mine, CALLED, shape[0])
            c2 = c if second is None else matrix(theirs, CALLED, shape[1])
            het_one += (mixed := product(h.T, c2))
            het_two += mixed.T if second is None else product(c.T, h2)
            called += product(c.T, c2)
    n = called.numpy() + n_whole
    one, two = het_one.numpy() + own_one[:, None], het_two.numpy() + own_two[None, :]
    shared = both.numpy()
    homozygous = n - one - two + shared
    return shared, one, two, (homozygous - sides.numpy()) // 2, n


def _kinship(both: np.ndarray, one: np.ndarray, two: np.ndarray, opposite: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Kinship of each pair, -inf where one of them is never heterozygous."""
    least = np.minimum(one, two)
    apart = one + two - 2 * both + 4 * opposite
    value = np.full(least.shape, -np.inf)
    np.divide(apart, 4 * least, where=least > 0, out=value)
    return np.where(least > 0, 0.5 - value, -np.inf)

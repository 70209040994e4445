"""Linkage disequilibrium: variants that are inherited together, found, thinned, clumped, and seen between genes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vnn._errors import AlignmentError, GenotypeError, culprits
from vnn.data.genotypes.genotypes import Genotypes
from vnn.data.genotypes.quality import among, part_of
from vnn.data.genotypes.unpacked import CALLED, COPIES, SQUARES, lacking, matrix, product

_AT_ONCE = 1024  # variants of a side of a block of pairs
_NEARLY = 2.0**-44  # what rounding may make of equal values, as plink has it


def r2(genotypes: Genotypes, first: Iterable[str], second: Iterable[str] | None = None) -> pd.DataFrame:
    """Squared correlation of copies, over the people called in both variants (plink --r2).

    Parameters
    ----------
    first, second
        Ids of variants; `second` is `first` unless given. On X, Y and MT copies are taken as they stand in the file.

    Returns
    -------
    Table (first, second); NaN where one does not vary among the people called in both.
    """
    one = genotypes.select(variants=first)
    two = one if second is None else genotypes.select(variants=second)
    found = np.empty((one.n_variants, two.n_variants))
    for at, rows in one.packed(_AT_ONCE):
        for there, others in two.packed(_AT_ONCE):
            found[at, there] = _squared(rows, others, genotypes.n_people)
    return pd.DataFrame(found, index=one.variants.index, columns=two.variants.index)


def pruned(
    genotypes: Genotypes,
    *,
    window: int = 50,
    step: int = 5,
    kb: float | None = None,
    r2: float = 0.2,
    training: Collection[str] | None = None,
) -> tuple[str, ...]:
    """Variants of whom no two near each other are linked, by the rule of plink --indep-pairwise.

    A window moves along each chromosome. In it the first variant is compared with those after it, then the second, and so on;
    of two that are linked the one with the lower minor allele frequency goes, the later one if these are equal, and the next
    variant has its turn. This is repeated until nothing is linked. Variants that do not vary go first.

    Parameters
    ----------
    window, step
        Variants of a window (those that went are counted), and by how many it moves.
    kb
        Length of a window in thousand bases, instead of a number of variants.
    r2
        Above it two are linked.
    training
        Ids of the people who are looked at; everybody unless given.

    Returns
    -------
    Ids of those who stay, in the order of the genotypes.

    Raises
    ------
    GenotypeError
        If a setting is out of range.

    References
    ----------
    Purcell et al. 2007, doi:10.1086/519795; Chang et al. 2015, doi:10.1186/s13742-015-0047-8
    """
    if window < 2 or step < 1 or not 0 <= r2 <= 1 or (kb is not None and kb <= 0):
        raise GenotypeError(
            f"pruning with window={window}, step={step}, kb={kb}, r2={r2}: a window of 2 variants or more (or kb above 0), a step "
            "of 1 or more and an r2 between 0 and 1 are needed."
        )
    here = part_of(genotypes, None, among(genotypes, training, "training people"))
    counts = here.counts()
    called = counts[:, [0, 2, 3]].sum(1)
    p = np.divide(2 * counts[:, 0] + counts[:, 2], 2 * called, where=called > 0, out=np.zeros(len(called)))
    maf = np.minimum(p, 1 - p)
    stays = (counts[:, [0, 2, 3]] > 0).sum(1) > 1
    for places in along_chromosomes(genotypes.variants):
        position = genotypes.variants["position"].to_numpy()[places]
        n = len(places)
        starts = np.arange(0, n, step)
        if kb is None:
            ends = np.minimum(starts + window, n)
        else:
            ends = np.searchsorted(position, position[starts] + int(kb * 1000), side="right")
        alive = stays[places]
        seen = 0  # windows end here so far
        reach = int((ends - starts).max())
        at_once = max(min(_AT_ONCE, 4 * reach) // step, 1)
        for block in range(0, len(starts), at_once):
            some = slice(block, block + at_once)
            first, last = int(starts[some][0]), int(ends[some].max())
            pairs = _linked(here, places[first:last], alive[first:last], r2) + first
            seen = _thin(pairs, starts[some], ends[some], seen, alive, maf[places])
        stays[places] = alive
    return tuple(genotypes.variants.index[stays])


def _linked(genotypes: Genotypes, places: np.ndarray, alive: np.ndarray, least: float) -> np.ndarray:
    """Pairs of linked variants that are alive, int64 (n_pairs, 2), by the later one and then the earlier one."""
    kept = np.flatnonzero(alive)
    here = part_of(genotypes, places[kept])
    found = [np.empty((0, 2), dtype=np.int64)]
    blocks = list(here.packed(_AT_ONCE))
    for which, (at, rows) in enumerate(blocks):
        for there, others in blocks[which:]:
            one, two = np.nonzero(_squared(rows, others, genotypes.n_people) > least * (1 + _NEARLY))
            one, two = one + at.start, two + there.start
            found.append(np.stack([kept[one[one < two]], kept[two[one < two]]], 1))
    pairs = np.concatenate(found)
    return pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]


def _thin(
    pairs: np.ndarray, starts: np.ndarray, ends: np.ndarray, seen: int, alive: np.ndarray, maf: np.ndarray
) -> int:
    """Take out of `alive` what goes in these windows; in what was seen before nothing that is alive is linked."""
    later = pairs[:, 1]
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if end <= seen:
            continue
        fresh = pairs[np.searchsorted(later, seen) : np.searchsorted(later, end)]
        seen = end
        fresh = fresh[(fresh[:, 0] >= start) & alive[fresh[:, 0]] & alive[fresh[:, 1]]]
        if not len(fresh):
            continue
        after: dict[int, list[int]] = {}
        for one, two in fresh[np.lexsort((fresh[:, 1], fresh[:, 0]))].tolist():
            after.setdefault(one, []).append(two)
        while after:
            after = {one: [two for two in others if alive[two]] for one, others in after.items() if alive[one]}
            after = {one: others for one, others in after.items() if others}
            for one, others in after.items():
                two = next((two for two in others if alive[two]), None) if alive[one] else None
                if two is not None:
                    alive[one if maf[one] < (1 - _NEARLY) * maf[two] else two] = False
    return seen


def clumped(
    genotypes: Genotypes, p: pd.Series, *, leads: float = 1e-4, listed: float = 0.01, r2: float = 0.5, kb: float = 250
) -> pd.DataFrame:
    """Variants gathered around the strongest ones near them, by the rule of plink --clump.

    From the smallest p on, each variant with p of at most `leads` that is in no clump yet leads one: all variants within `kb` of
    it whose r2 with it is above `r2` and that are in no clump yet. r2 is that of copies; plink's is that of haplotypes it
    estimates, which is mostly very near.

    Parameters
    ----------
    p
        By id of variant; variants without one are in no clump.
    leads, listed
        Greatest p of a variant that leads, and of one that is listed in a clump; the latter is not smaller.
    r2, kb
        Above and up to which a variant belongs to a leader.

    Returns
    -------
    One row per listed variant: index `variant`; `leader`, `r2` with it, `p`, `distance` in bases; clump by clump from the smallest
    p, the leader first, the others along the chromosome.

    Raises
    ------
    AlignmentError
        If p names variants that are not here, or twice.
    GenotypeError
        If a p is not between 0 and 1, or `leads` exceeds `listed`.

    References
    ----------
    Purcell et al. 2007, doi:10.1086/519795
    """
    if leads > listed:
        raise GenotypeError(f"clumps with leads={leads:g} and listed={listed:g}: `listed` must be the greater one.")
    known = p.dropna()
    if not known.between(0, 1).all():
        wrong = known[~known.between(0, 1)]
        raise GenotypeError(f"{len(wrong):,} of the {len(known):,} p are not between 0 and 1: {culprits(wrong.index)}.")
    here = genotypes.select(variants=known.index)
    values = known.to_numpy(dtype=float)
    chromosome = here.variants["chromosome"].to_numpy()
    position = here.variants["position"].to_numpy()
    along = {chromosome[places[0]]: places for places in along_chromosomes(here.variants)}
    free = np.ones(here.n_variants, dtype=bool)
    rows: list[tuple[object, ...]] = []
    for leader in np.lexsort((genotypes.variants.index.get_indexer(known.index), values)):
        if values[leader] > leads:
            break
        if not free[leader]:
            continue
        places = along[chromosome[leader]]
        reach = position[leader] + np.array([-1, 1]) * kb * 1000
        low, high = (
            np.searchsorted(position[places], reach[0]),
            np.searchsorted(position[places], reach[1], side="right"),
        )
        near = places[low:high]
        near = near[free[near] & (near != leader)]
        shared = _shared(here, leader, near)
        mine = shared > r2
        free[near[mine]] = free[leader] = False
        name = here.variants.index[leader]
        rows.append((name, name, 1.0, values[leader], 0))
        rows += [
            (here.variants.index[at], name, share, values[at], int(position[at] - position[leader]))
            for at, share in zip(near[mine].tolist(), shared[mine].tolist(), strict=True)
            if values[at] <= listed
        ]
    table = pd.DataFrame(rows, columns=["variant", "leader", "r2", "p", "distance"])
    return table.set_index("variant")


def _shared(genotypes: Genotypes, one: int, others: np.ndarray) -> np.ndarray:
    _, row = next(part_of(genotypes, np.array([one])).packed())
    found = np.empty(len(others))
    for at, rows in part_of(genotypes, others).packed(_AT_ONCE) if len(others) else ():
        found[at] = _squared(row, rows, genotypes.n_people)[0]
    return found


def r2_between(genotypes: Genotypes, groups: Mapping[str, Collection[str]], *, kb: float = 3000) -> pd.DataFrame:
    """How near and how linked the variants of groups are, such as those of genes, for `loci`.

    Parameters
    ----------
    groups
        Ids of variants of each group. Variants of a group may be on several chromosomes.
    kb
        Pairs of groups further apart than this, or on other chromosomes, are left out.

    Returns
    -------
    One row per pair of groups, in the order given: `gene_a`, `gene_b`, `distance` in bases between their nearest ends on a
    chromosome (0 where they overlap), `shared` variants, and the greatest `r2` of a variant of one with one of the other; 1 where
    one is shared and varies, NaN where none vary.

    Raises
    ------
    AlignmentError
        If a group has no variants, or names some that are not here.
    """
    if empty := [name for name, ids in groups.items() if not len(ids)]:
        raise AlignmentError(f"{len(empty):,} of the {len(groups):,} groups have no variants: {culprits(empty)}.")
    pieces = _pieces(genotypes, groups)
    found: list[pd.DataFrame] = []
    for one, two in _near(pieces, kb * 1000):
        found.append(_between(genotypes, pieces, one, two))
    columns = ["gene_a", "gene_b", "distance", "shared", "r2"]
    if not found:
        return pd.DataFrame({name: [] for name in columns})
    table = pd.concat(found, ignore_index=True)
    table = table[(table["distance"] <= kb * 1000) & (table["gene_a"] != table["gene_b"])]
    swapped = table["gene_a"] > table["gene_b"]
    table.loc[swapped, ["gene_a", "gene_b"]] = table.loc[swapped, ["gene_b", "gene_a"]].to_numpy()
    table = table.groupby(["gene_a", "gene_b"], as_index=False).agg({"distance": "min", "shared": "sum", "r2": "max"})
    names = np.array(list(groups), dtype=object)
    return table.assign(gene_a=names[table["gene_a"]], gene_b=names[table["gene_b"]])[columns]


def _pieces(genotypes: Genotypes, groups: Mapping[str, Collection[str]]) -> list[tuple[int, str, int, int, np.ndarray]]:
    """Of each group and chromosome: group, chromosome, first and last position, places of variants; along the genome."""
    sizes = [len(ids) for ids in groups.values()]
    named = [name for ids in groups.values() for name in ids]
    place = genotypes.variants.index.get_indexer(pd.Index(named, dtype=object))
    if (place < 0).any():
        lost = [name for name, at in zip(named, place, strict=True) if at < 0]
        raise AlignmentError(
            f"the genotypes lack {len(lost):,} of the {len(named):,} variants of the groups: {culprits(lost)}. Leave them out of "
            "the groups, or read the files that have them."
        )
    table = pd.DataFrame({"group": np.repeat(np.arange(len(sizes)), sizes), "place": place}).drop_duplicates()
    at = table["place"].to_numpy()
    table["chromosome"] = genotypes.variants["chromosome"].to_numpy()[at]
    table["position"] = genotypes.variants["position"].to_numpy()[at]
    made = []
    for (group, chromosome), part in table.groupby(["group", "chromosome"], sort=False):
        low, high = int(part["position"].min()), int(part["position"].max())
        made.append((int(group), str(chromosome), low, high, np.sort(part["place"].to_numpy())))
    return sorted(made, key=lambda piece: (piece[1], piece[2], piece[3], piece[0]))


def _near(pieces: Sequence[tuple[int, str, int, int, np.ndarray]], reach: float) -> Iterator[tuple[slice, slice]]:
    """Blocks of neighbouring pieces, each with all that begin within reach of one of them, itself included."""
    start = 0
    while start < len(pieces):
        stop, size = start, 0
        while (
            stop < len(pieces)
            and pieces[stop][1] == pieces[start][1]
            and (stop == start or size + len(pieces[stop][4]) <= _AT_ONCE)
        ):
            size += len(pieces[stop][4])
            stop += 1
        furthest = max(piece[3] for piece in pieces[start:stop]) + reach
        end = stop
        while end < len(pieces) and pieces[end][1] == pieces[start][1] and pieces[end][2] <= furthest:
            end += 1
        yield slice(start, stop), slice(start, end)
        start = stop


def _between(
    genotypes: Genotypes, pieces: Sequence[tuple[int, str, int, int, np.ndarray]], one: slice, two: slice
) -> pd.DataFrame:
    """All pairs of a piece of `one` and a later piece of `two`."""
    mine, theirs = pieces[one], pieces[two]
    rows = np.concatenate([piece[4] for piece in mine])
    _, own = np.unique(rows, return_inverse=True)
    packed = _rows(genotypes, np.unique(rows))
    first_at = np.cumsum([0, *(len(piece[4]) for piece in mine)])[:-1]
    best = np.empty((len(mine), len(theirs)))
    shared = np.empty((len(mine), len(theirs)), dtype=np.int64)
    at = 0
    while at < len(theirs):
        upto, size = at, 0
        while upto < len(theirs) and (upto == at or size + len(theirs[upto][4]) <= _AT_ONCE):
            size += len(theirs[upto][4])
            upto += 1
        columns = np.concatenate([piece[4] for piece in theirs[at:upto]])
        different, back = np.unique(columns, return_inverse=True)
        squared = _squared(packed, _rows(genotypes, different), genotypes.n_people)[np.ix_(own, back)]
        second_at = np.cumsum([0, *(len(piece[4]) for piece in theirs[at:upto])])[:-1]
        best[:, at:upto] = np.fmax.reduceat(np.fmax.reduceat(squared, first_at, axis=0), second_at, axis=1)
        same = (rows[:, None] == columns[None]).astype(np.int64)
        shared[:, at:upto] = np.add.reduceat(np.add.reduceat(same, first_at, axis=0), second_at, axis=1)
        at = upto
    i, j = np.nonzero(np.arange(len(mine))[:, None] < np.arange(len(theirs))[None])
    begins, ends = np.array([piece[2] for piece in theirs]), np.array([piece[3] for piece in mine])
    gap = np.maximum(begins[j] - ends[i], 0)
    group = np.array([piece[0] for piece in theirs])
    return pd.DataFrame(
        {"gene_a": group[i], "gene_b": group[j], "distance": gap, "shared": shared[i, j], "r2": best[i, j]}
    )


def _rows(genotypes: Genotypes, places: np.ndarray) -> np.ndarray:
    return np.concatenate([rows for _, rows in part_of(genotypes, places).packed()])


def along_chromosomes(variants: pd.DataFrame) -> list[np.ndarray]:
    """Where the variants of each chromosome stand, by position."""
    code, _ = pd.factorize(variants["chromosome"])
    order = np.lexsort((variants["position"].to_numpy(), code))
    return np.split(order, np.flatnonzero(np.diff(code[order])) + 1) if len(order) else []


def _squared(one: np.ndarray, two: np.ndarray, n: int) -> np.ndarray:
    """r2 of each pair of packed rows of n people, (n_one, n_two); NaN without variation."""
    x = matrix(one, COPIES, n)
    y = x if two is one else matrix(two, COPIES, n)
    xy = _sums(x, y)
    if not (lacking(one).any() or lacking(two).any()):
        m: np.ndarray | float = float(n)
        sx, sy = x.sum(1, dtype=torch.int32).numpy()[:, None], y.sum(1, dtype=torch.int32).numpy()[None]
        xx = matrix(one, SQUARES, n).sum(1, dtype=torch.int32).numpy()[:, None]
        yy = matrix(two, SQUARES, n).sum(1, dtype=torch.int32).numpy()[None]
    else:
        c, d = matrix(one, CALLED, n), matrix(two, CALLED, n)
        m, sx, sy = _sums(c, d).astype(float), _sums(x, d), _sums(c, y)
        xx, yy = _sums(matrix(one, SQUARES, n), d), _sums(c, matrix(two, SQUARES, n))
    together = m * xy - sx.astype(float) * sy
    apart = (m * xx - sx.astype(float) ** 2) * (m * yy - sy.astype(float) ** 2)
    return np.divide(together**2, apart, where=apart > 0, out=np.full(together.shape, np.nan))


def _sums(one: Tensor, two: Tensor) -> np.ndarray:
    """Sums over people for each pair of variants."""
    return product(one, two.T).numpy()

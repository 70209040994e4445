"""Clumping for many sets of p at once: who is linked with whom is found once, the clumps of each set are then a walk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vnn._errors import GenotypeError
from vnn.data.genotypes.coded import standard
from vnn.data.genotypes.disequilibrium import along_chromosomes
from vnn.data.genotypes.genotypes import Genotypes
from vnn.data.genotypes.quality import part_of

_VALUES = 1 << 22  # expanded genotypes of a side of a block
_FEWEST, _LEAST, _MOST = 16, 256, 1024  # variants of a side of a block


@dataclass(frozen=True, eq=False)
class Linked:
    """Which variants near each other are linked.

    Parameters
    ----------
    start
        The partners of variant i are `other[start[i]:start[i + 1]]`, int64 (n_variants + 1,).
    other
        Places of variants, int32, each pair in both directions.
    """

    start: np.ndarray
    other: np.ndarray

    def leaders(self, strength: np.ndarray) -> np.ndarray:
        """Places of the variants that lead a clump, the strongest first.

        From the strongest on, each variant that is in no clump yet leads one: all variants it is linked with that are in none.
        This is the rule of plink --clump with every p allowed to lead; the leaders of a stricter limit are the first of them.

        Parameters
        ----------
        strength
            Of every variant's association, such as |t|, float64 (n_variants,); NaN takes no part, the earlier wins a tie.
        """
        free = ~np.isnan(strength)
        order = np.argsort(-strength, kind="stable")[: int(free.sum())]
        found = []
        start = self.start.tolist()
        for at in order.tolist():
            if free[at]:
                found.append(at)
                free[self.other[start[at] : start[at + 1]]] = False
        return np.array(found, dtype=np.int64)


def linked(genotypes: Genotypes, *, r2: float = 0.1, kb: float = 250, learners: np.ndarray | None = None) -> Linked:
    """Pairs of variants of a chromosome that are at most `kb` apart and whose copies have a squared correlation above `r2`.

    A missing genotype has the mean, as in `association`; `disequilibrium.r2` and plink leave it out pair by pair. Memory is 8 bytes
    for every pair found.

    Parameters
    ----------
    learners
        Who is looked at, bool (n_people,); all unless given.

    Raises
    ------
    GenotypeError
        If a limit is out of range.

    References
    ----------
    Purcell et al. 2007, doi:10.1086/519795
    """
    if not 0 <= r2 <= 1 or kb <= 0:
        raise GenotypeError(
            f"clumps with r2={r2:g} and kb={kb:g}: an r2 between 0 and 1 and a distance above 0 are needed."
        )
    who = np.ones(genotypes.n_people, dtype=bool) if learners is None else learners
    coded = standard(part_of(genotypes, None, who), who[who])
    most = int(np.clip(_VALUES // max(coded.genotypes.n_people, 1), _FEWEST, _MOST))
    least = np.float32(r2 * coded.genotypes.n_people**2)
    ones, twos = [], []
    for places in along_chromosomes(genotypes.variants):
        position = genotypes.variants["position"].to_numpy()[places]
        end = np.searchsorted(position, position + int(kb * 1000), side="right")
        size = int(np.clip((end - np.arange(len(end))).mean(), min(_LEAST, most), most))
        for first in range(0, len(places), size):
            last = min(first + size, len(places))
            mine = coded.numbers(places[first:last])
            for begin in range(first, int(end[last - 1]), most):
                stop = min(begin + most, int(end[last - 1]))
                products = mine @ coded.numbers(places[begin:stop]).T
                one, two = np.nonzero(products * products > least)
                one, two = one + first, two + begin
                kept = (one < two) & (two < end[one])
                ones.append(places[one[kept]].astype(np.int32))
                twos.append(places[two[kept]].astype(np.int32))
    one, two = (np.concatenate([np.empty(0, np.int32), *parts]) for parts in (ones, twos))
    del ones, twos
    n = np.bincount(one, minlength=genotypes.n_variants) + np.bincount(two, minlength=genotypes.n_variants)
    start = np.concatenate([[0], np.cumsum(n)])
    order = np.argsort(np.concatenate([one, two]), kind="stable")
    return Linked(start, np.concatenate([two, one])[order])

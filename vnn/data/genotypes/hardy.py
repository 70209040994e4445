"""Hardy-Weinberg: how likely so uneven a share of heterozygotes is, by the exact test."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from scipy.special import gammaln

from vnn._errors import GenotypeError

_TOGETHER = 1 << 15  # variants whose tails are summed side by side: long enough for numpy to let other threads work
_LOOK = 8  # terms between two looks at whether the rest matters
_NEGLIGIBLE = 1e-17
_MOST = 1 << 21  # people: three counts of so many fit the 63 bits of a key


def hardy_weinberg(counts: np.ndarray, *, mid: bool = True) -> np.ndarray:
    """p of the exact test of Hardy-Weinberg proportions.

    Given the number of people and of rare alleles, the number h of heterozygotes has the probability
    n! m! (2n - m)! 2^h / ((2n)! r! h! c!) with r and c people of two rare and two common alleles. p is the sum over all h that
    are at most as probable as the one seen; with `mid`, half of those equally probable, which is less conservative for rare
    alleles. Variants of equal counts are computed once, and the two tails are summed outwards from where they begin.

    Parameters
    ----------
    counts
        People with two, one and no copies of an allele, integers (n_variants, 3). Which allele is counted does not matter.
    mid
        Whether the mid-p is given.

    Returns
    -------
    p, float64 (n_variants,); NaN where nobody has a genotype. A monomorphic variant has 1, or 0.5 with `mid`.

    Raises
    ------
    GenotypeError
        If there are negative counts, or more than two million people.

    References
    ----------
    Wigginton, Cutler & Abecasis 2005, doi:10.1086/429864; mid-p: Graffelman & Moreno 2013, doi:10.1515/sagmb-2012-0039
    """
    given = np.asarray(counts, dtype=np.int64)
    if given.ndim != 2 or given.shape[1] != 3:
        raise GenotypeError(
            f"`counts` have the shape {given.shape}; three counts of each variant are needed, (n_variants, 3)."
        )
    if given.size and (given.min() < 0 or given.sum(1).max() >= _MOST):
        raise GenotypeError(
            f"`counts` reach from {given.min():,} to {given.sum(1).max():,} people; 0 to {_MOST - 1:,} can be tested."
        )
    rare, common = np.minimum(given[:, 0], given[:, 2]), np.maximum(given[:, 0], given[:, 2])
    base = int(given.sum(1).max(initial=0)) + 1
    different, back = np.unique((rare * base + given[:, 1]) * base + common, return_inverse=True)
    rare, het, common = different // base**2, different // base % base, different % base
    factorials = gammaln(np.arange(1.0, 2 * base + 1))
    found = np.empty(len(different))

    def some(start: int) -> None:
        at = slice(start, start + _TOGETHER)
        found[at] = _exact(rare[at], het[at], common[at], factorials, mid)

    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        for _ in threads.map(some, range(0, len(different), _TOGETHER)):
            pass
    return found[back]


def _exact(rare: np.ndarray, het: np.ndarray, common: np.ndarray, factorials: np.ndarray, mid: bool) -> np.ndarray:
    def weight(moved: np.ndarray | int) -> np.ndarray:
        """Logarithm of what of the probability depends on h, for `moved` more pairs of heterozygotes."""
        h = het + 2 * moved
        return h * np.log(2) - factorials[rare - moved] - factorials[h] - factorials[common - moved]

    n = rare + het + common
    alleles = 2 * rare + het
    seen = weight(0)
    few = 4 * rare * common > (het + 2) * (het + 1)  # more heterozygotes are more probable
    many = het * (het - 1) > 4 * (rare + 1) * (common + 1)
    most = np.where(few, rare, -(het // 2))  # the far end of the other side
    low, high = np.zeros_like(het), np.abs(most)
    sign = np.where(few, 1, -1)
    there = (few | many) & (weight(most) <= seen + _near(factorials, n))
    while (high - low > 1).any():
        middle = (low + high) // 2
        below = weight(sign * middle) <= seen + _near(factorials, n)
        low, high = np.where(below, low, middle), np.where(below, middle, high)
    far = sign * high
    relative = np.where(there, np.exp(np.minimum(weight(far) - seen, 0)), 0)
    tied = there & (np.abs(weight(far) - seen) <= _near(factorials, n))
    own = _tail(rare, het, common, np.where(few, -1, 1))
    other = _tail(rare - far, het + 2 * far, common - far, sign)
    chance = factorials[n] + factorials[alleles] + factorials[2 * n - alleles] - factorials[2 * n] + seen
    sided = few | many
    level = 4 * rare * common == (het + 2) * (het + 1)
    level_below = (het >= 2) & (het * (het - 1) == 4 * (rare + 1) * (common + 1))
    ties = np.where(sided, 1.0 + tied, 1.0 + level + level_below)
    half = ties / 2 if mid else np.zeros(len(n))
    beyond = np.where(sided, own + relative * other - half, 1.0)
    p = np.where(sided, np.exp(chance + np.log(beyond)), 1 - np.exp(chance) * half)
    return np.where(n > 0, np.minimum(p, 1.0), np.nan)


def _near(factorials: np.ndarray, n: np.ndarray) -> np.ndarray:
    """What rounding makes of equal probabilities."""
    return 1e-12 + 16 * np.finfo(float).eps * factorials[2 * n]


def _tail(rare: np.ndarray, het: np.ndarray, common: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """Sum of the probabilities from here outwards, in units of the first; numerators and denominators by their differences."""
    up = sign > 0
    r, h, c = rare.astype(float), het.astype(float), common.astype(float)
    x = np.where(up, 4 * r * c, h * (h - 1))
    dx = np.where(up, 4 - 4 * (r + c), 6 - 4 * h)
    y = np.where(up, (h + 2) * (h + 1), 4 * (r + 1) * (c + 1))
    dy = np.where(up, 4 * h + 10, 4 * (r + c + 3))
    term, total = np.ones_like(x), np.ones_like(x)
    while (term > _NEGLIGIBLE * total).any():
        for _ in range(_LOOK):
            term *= x
            term /= y
            total += term
            x += dx
            y += dy
            dx += 8
            dy += 8
    return total

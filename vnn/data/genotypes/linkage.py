"""Linkage: the exact distribution of a few genotypes among simulated people, from founders and recombination."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np


def haplotypes(alleles: np.ndarray, stay: np.ndarray) -> np.ndarray:
    """Probability of every haplotype of people who are mosaics of founders.

    Parameters
    ----------
    alleles
        Which founders carry the counted allele, bool (n_loci, n_founders).
    stay
        Probability that nothing changed from each locus to the next, (n_loci - 1,).

    Returns
    -------
    Shape (2,) * n_loci: an index of 1 is the counted allele. The sum over all ways to cut the loci into runs that come from
    one founder, of the product of the joint frequencies of the runs among founders.
    """
    n_loci, n_founders = alleles.shape
    total = np.zeros((2,) * n_loci)
    for cut in product((False, True), repeat=n_loci - 1):
        weight = float(np.prod(np.where(cut, 1 - stay, stay)))
        if not weight:
            continue
        borders = [0, *(np.flatnonzero(cut) + 1), n_loci]
        joint = np.array(weight)
        for first, last in pairwise(borders):
            code = (alleles[first:last] << np.arange(last - first)[::-1, None]).sum(0)
            own = np.bincount(code, minlength=1 << last - first) / n_founders
            joint = np.multiply.outer(joint, own.reshape((2,) * (last - first)))
        total += joint
    return total


def genotypes(alleles: np.ndarray, stay: np.ndarray) -> np.ndarray:
    """Probability of every combination of copies, (3,) * n_loci, of people with two independent haplotypes."""
    one = haplotypes(alleles, stay)
    total = np.zeros((3,) * one.ndim)
    for at in product((0, 1), repeat=one.ndim):
        total[tuple(slice(bit, bit + 2) for bit in at)] += one[at] * one
    return total


def without_marginals(table: np.ndarray, joint: np.ndarray) -> np.ndarray:
    """What is left of a function of two genotypes when all functions of one of them are taken out.

    Parameters
    ----------
    table
        Its values, (3, 3).
    joint
        Probabilities of the nine combinations, (3, 3).

    Returns
    -------
    Values with mean 0 given either genotype and variance 1, (3, 3); 0 where there is no interaction or the combination never
    occurs.
    """
    root = np.sqrt(joint).ravel()
    margins = np.concatenate([np.repeat(np.eye(3), 3, axis=0), np.tile(np.eye(3), (3, 1))], axis=1)
    fitted = np.linalg.lstsq(root[:, None] * margins, root * table.ravel(), rcond=None)[0]
    left = (table.ravel() - margins @ fitted) * (root > 0)
    spread = float((root * left) @ (root * left))
    return (left / np.sqrt(spread) if spread > 1e-12 else np.zeros(9)).reshape(3, 3)

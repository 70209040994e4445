"""Exact distributions of a few genotypes, against sums over all paths through the founders."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from vnn.data.genotypes.linkage import genotypes, haplotypes, without_marginals


def by_paths(alleles: np.ndarray, stay: np.ndarray) -> np.ndarray:
    """The probability of every haplotype as a sum over which founder is copied at each locus."""
    n_loci, n = alleles.shape
    total = np.zeros((2,) * n_loci)
    for path in product(range(n), repeat=n_loci):
        weight = 1 / n
        for here, there, kept in zip(path[:-1], path[1:], stay, strict=True):
            weight *= kept * (here == there) + (1 - kept) / n
        total[tuple(int(alleles[locus, founder]) for locus, founder in enumerate(path))] += weight
    return total


@pytest.mark.parametrize("n_loci", [1, 2, 4])
def test_haplotypes_and_genotypes(n_loci):
    rng = np.random.default_rng(n_loci)
    alleles, stay = rng.random((n_loci, 5)) < 0.4, np.array([0.3, 1.0, 0.0])[: n_loci - 1]
    one = by_paths(alleles, stay)
    np.testing.assert_allclose(haplotypes(alleles, stay), one, atol=1e-15)
    two = np.zeros((3,) * n_loci)
    for a, b in product(np.ndindex(one.shape), repeat=2):
        two[tuple(np.add(a, b))] += one[a] * one[b]
    np.testing.assert_allclose(genotypes(alleles, stay), two, atol=1e-15)


def test_an_interaction_without_marginals():
    rng = np.random.default_rng(3)
    joint = rng.dirichlet(np.ones(9)).reshape(3, 3)
    table = rng.standard_normal((3, 3))
    left = without_marginals(table, joint)
    np.testing.assert_allclose((left * joint).sum(0), 0, atol=1e-12)
    np.testing.assert_allclose((left * joint).sum(1), 0, atol=1e-12)
    assert (left**2 * joint).sum() == pytest.approx(1)
    taken = table - left * ((left * table * joint).sum())  # what went is a sum of functions of one genotype each
    np.testing.assert_allclose(taken[1:] - taken[:1], (taken[1:] - taken[:1])[:, :1] * np.ones(3), atol=1e-10)
    assert not without_marginals(np.add.outer([1.0, 2, 5], [0.0, 3, 4]), joint).any()
    holes = joint.copy()
    holes[2] = 0
    assert not without_marginals(table, holes / holes.sum())[2].any()

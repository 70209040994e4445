"""Hardy-Weinberg: the sum written out in fractions, published values, and plink2."""

from __future__ import annotations

from fractions import Fraction
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.genotypes.cohorts import genotypes, missing, plink, table
from vnn._errors import GenotypeError
from vnn.data.genotypes.hardy import hardy_weinberg


def written_out(two: int, one: int, none: int, *, mid: bool) -> float:
    """The sum over all numbers of heterozygotes, exactly."""
    n, alleles = two + one + none, 2 * min(two, none) + one
    chance = {}
    for het in range(alleles % 2, alleles + 1, 2):
        rare = (alleles - het) // 2
        ways = factorial(rare) * factorial(het) * factorial(n - rare - het) * factorial(2 * n)
        chance[het] = Fraction(factorial(n) * factorial(alleles) * factorial(2 * n - alleles) * 2**het, ways)
    assert sum(chance.values()) == 1
    less = sum(value for value in chance.values() if value < chance[one])
    equal = sum(value for value in chance.values() if value == chance[one])
    return float(less + equal * (Fraction(1, 2) if mid else 1))


@pytest.mark.parametrize("mid", [True, False])
def test_all_counts_of_few_people(mid):
    counts = [(two, one, n - two - one) for n in range(1, 15) for two in range(n + 1) for one in range(n - two + 1)]
    wanted = [written_out(*each, mid=mid) for each in counts]
    np.testing.assert_allclose(hardy_weinberg(np.array(counts), mid=mid), wanted, rtol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 150)] * 3).filter(any), min_size=1, max_size=4), st.booleans())
def test_any_counts(counts, mid):
    wanted = [written_out(*each, mid=mid) for each in counts]
    np.testing.assert_allclose(hardy_weinberg(np.array(counts), mid=mid), wanted, rtol=1e-11)


def test_published_example():
    """Wigginton et al. 2005, table 1: 100 people with 21 rare alleles."""
    het = np.array([9, 11, 13, 15, 17, 19, 21])
    found = hardy_weinberg(np.stack([(21 - het) // 2, het, 100 - (21 + het) // 2], 1), mid=False)
    np.testing.assert_allclose(found, [0.000048, 0.000919, 0.010293, 0.069576, 0.284042, 1, 0.593645], atol=6e-7)


def test_many_people_and_extremes():
    """Half a million people, and a p far below what a double holds."""
    found = hardy_weinberg(
        np.array([[125_000, 250_000, 125_000], [250_000, 0, 250_000], [0, 500_000, 0], [0, 1, 499_999]])
    )
    assert found[0] == pytest.approx(1, abs=2e-3)
    assert found[1:] == pytest.approx([0, 0, 0.5], abs=1e-8)


def test_variants_together_are_as_each_alone():
    rng = np.random.default_rng(3)
    counts = rng.multinomial(2000, [0.1, 0.4, 0.5], 9000)
    together = hardy_weinberg(counts)
    alone = np.concatenate([hardy_weinberg(counts[at : at + 1]) for at in range(0, 9000, 450)])
    np.testing.assert_allclose(together[::450], alone, rtol=1e-12)
    np.testing.assert_array_equal(together, hardy_weinberg(counts[:, ::-1]))


def test_nobody_and_nothing():
    assert np.isnan(hardy_weinberg(np.zeros((1, 3), int)))[0]
    assert hardy_weinberg(np.zeros((0, 3), int)).shape == (0,)
    assert hardy_weinberg(np.array([[0, 0, 9], [4, 0, 0]])) == pytest.approx([0.5, 0.5])
    assert hardy_weinberg(np.array([[0, 0, 9]]), mid=False).tolist() == [1]


def test_counts_that_cannot_be():
    with pytest.raises(GenotypeError, match=r"have the shape \(4,\); three counts"):
        hardy_weinberg(np.ones(4, int))
    with pytest.raises(GenotypeError, match="reach from -1 to 3 people"):
        hardy_weinberg(np.array([[-1, 2, 2]]))


@pytest.mark.parametrize(("modifier", "column"), [("midp", "MIDP"), ("", "P")])
def test_plink2(tmp_path, modifier, column):
    rng = np.random.default_rng(1)
    dosages = missing(rng, rng.binomial(2, rng.uniform(0, 0.5, 300)[:, None], (300, 211)).astype(float), 0.03)
    dosages[:40] = rng.choice([0.0, 1.0, 2.0], (40, 211), p=[0.5, 0.2, 0.3])
    cohort = genotypes(dosages)
    told = table(f"{plink('plink2', cohort, tmp_path, '--hardy', *modifier.split())}.hardy", "ID")
    found = hardy_weinberg(cohort.counts()[:, [0, 2, 3]], mid=bool(modifier))
    np.testing.assert_allclose(found, told[column].loc[list(cohort.variants.index)], rtol=1e-5)

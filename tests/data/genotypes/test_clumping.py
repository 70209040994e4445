"""Clumps of many sets of p: the rule pair by pair, `clumped` and plink 1.9."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.data.genotypes.cohorts import genotypes, in_ld, missing, plink, table
from vnn._errors import GenotypeError
from vnn.data.genotypes import clumped, clumping
from vnn.data.genotypes.clumping import linked


@pytest.fixture(scope="module", params=[0.0, 0.03], ids=["whole", "missing"])
def cohort(request):
    """300 variants on two chromosomes in 110 people, in any order."""
    rng = np.random.default_rng(11)
    dosages = missing(rng, in_ld(rng, 300, 110), request.param)
    dosages[30] = 1
    position = [*np.sort(rng.choice(2_000_000, 180, replace=False)), *np.sort(rng.choice(900_000, 120, replace=False))]
    chromosome = np.array(["1"] * 180 + ["2"] * 120)
    order = rng.permutation(300)
    made = genotypes(dosages[order], chromosome=chromosome[order], position=np.array(position)[order])
    return made, dosages[order]


@pytest.mark.parametrize("sizes", [(16, 256, 1024), (5, 7, 11)])
def test_pairs_by_loop(cohort, sizes, monkeypatch):
    packed, dosages = cohort
    monkeypatch.setattr(clumping, "_FEWEST", sizes[0])
    monkeypatch.setattr(clumping, "_LEAST", sizes[1])
    monkeypatch.setattr(clumping, "_MOST", sizes[2])
    learners = np.random.default_rng(2).random(110) < 0.8
    some = dosages[:, learners]
    filled = np.where(np.isnan(some), np.nanmean(some, axis=1)[:, None], some)
    with np.errstate(invalid="ignore"):
        squared = np.corrcoef(filled) ** 2
    chromosome, position = (packed.variants[name].to_numpy() for name in ("chromosome", "position"))
    near = (chromosome[:, None] == chromosome) & (np.abs(position[:, None] - position) <= 120_000)
    wanted = [set(np.flatnonzero(near[i] & (squared[i] > 0.2)) - 0) - {i} for i in range(300)]
    found = linked(packed, r2=0.2, kb=120, learners=learners)
    assert [set(found.other[a:b].tolist()) for a, b in zip(found.start[:-1], found.start[1:], strict=True)] == wanted
    assert sum(map(len, wanted)) > 300


def test_leaders_are_those_of_clumped(cohort):
    packed, dosages = cohort
    if np.isnan(dosages).any():
        packed = packed.select(variants=packed.variants.index[~np.isnan(dosages).any(1)])
    p = pd.Series(10 ** -np.random.default_rng(8).exponential(1.5, packed.n_variants), index=packed.variants.index)
    p.iloc[4] = np.nan
    pairs = linked(packed, r2=0.2, kb=100)
    leaders = pairs.leaders(-np.log10(p.to_numpy()))
    for limit in (1.0, 0.05, 1e-3):
        told = clumped(packed, p, leads=limit, listed=1.0, r2=0.2, kb=100)
        own = packed.variants.index[leaders]
        assert list(own[p[own] <= limit]) == list(told.index[told.index == told["leader"]])


def test_leaders_are_plinks(tmp_path):
    """Blocks of copies of a variant with a few changes: far above and below any limit, haplotypes as genotypes."""
    rng = np.random.default_rng(9)
    dosages = np.repeat(rng.binomial(2, 0.4, (40, 900)), 6, axis=0).astype(float)
    changed = rng.random(dosages.shape) < 0.01
    dosages[changed] = rng.integers(0, 3, changed.sum())
    cohort = genotypes(dosages, chromosome=["1"] * 120 + ["2"] * 120, position=[1 + 60_000 * at for at in range(240)])
    p = pd.Series(10 ** -rng.exponential(2, 240), index=cohort.variants.index)
    p.rename("P").rename_axis("SNP").reset_index().to_csv(tmp_path / "trait.assoc", sep="\t", index=False)
    limits = ["--clump-p1", "1", "--clump-p2", "1", "--clump-r2", "0.1", "--clump-kb", "250"]
    told = table(f"{plink('plink1.9', cohort, tmp_path, '--clump', str(tmp_path / 'trait.assoc'), *limits)}.clumped")
    found = cohort.variants.index[linked(cohort).leaders(-np.log10(p.to_numpy()))]
    assert list(found) == list(told["SNP"])
    assert 45 < len(found) < 200


def test_nobody_leads_twice_and_limits_are_checked(cohort):
    packed, _ = cohort
    pairs = linked(packed, r2=0.2, kb=100)
    assert len(pairs.leaders(np.full(300, np.nan))) == 0
    first, second = pairs.leaders(np.ones(300)), pairs.leaders(np.ones(300))
    np.testing.assert_array_equal(first, second)
    for one, two in zip(pairs.start[first], pairs.start[first + 1], strict=True):
        assert not set(first) & set(pairs.other[one:two].tolist())
    with pytest.raises(GenotypeError, match=r"r2=2 and kb=250"):
        linked(packed, r2=2)

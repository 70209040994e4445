"""Principal components: numpy's SVD, plink2, planted populations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.data.genotypes.cohorts import genotypes, missing, plink, table
from vnn._errors import AlignmentError, GenotypeError
from vnn.data.genotypes import structure
from vnn.data.genotypes.structure import principal_components


@pytest.fixture(scope="module")
def populations():
    """120 people of four populations, 2 % missing, a variant that does not vary."""
    rng = np.random.default_rng(0)
    frequency = rng.uniform(0.1, 0.9, 900)[:, None] + rng.normal(0, 0.12, (900, 4))
    population = np.repeat(range(4), 30)
    dosages = missing(rng, rng.binomial(2, frequency.clip(0.03, 0.97)[:, population]).astype(float), 0.02)
    dosages[5] = 0
    return genotypes(dosages), dosages, population


def up_to_sign(one: pd.DataFrame, two: pd.DataFrame, tolerance: float) -> None:
    turned = two * np.sign((one * two).sum())
    np.testing.assert_allclose(one, turned, atol=tolerance)


@pytest.mark.parametrize("method", ["exact", "randomised"])
def test_singular_vectors(populations, method, monkeypatch):
    cohort, dosages, _ = populations
    monkeypatch.setattr(structure, "_VALUES", 120 * 77)
    found = principal_components(cohort, 4, method=method)
    kept = np.delete(dosages, 5, axis=0)
    p = np.nanmean(kept, axis=1) / 2
    z = np.nan_to_num((kept - 2 * p[:, None]) / np.sqrt(2 * p * (1 - p))[:, None])
    left, values, right = np.linalg.svd(z, full_matrices=False)
    np.testing.assert_allclose(found.eigenvalues, values[:4] ** 2 / 899, rtol=1e-4)
    up_to_sign(found.scores, pd.DataFrame(right[:4].T, found.scores.index, found.scores.columns), 2e-3)
    weights = found.loadings[found.scores.columns] * values[:4]
    up_to_sign(weights, pd.DataFrame(left[:, :4], weights.index, weights.columns), 2e-3)
    assert (weights.to_numpy()[np.abs(weights.to_numpy()).argmax(0), range(4)] > 0).all()
    assert found.log == ("components: 1 variants do not vary in the training people and are left out",)


@pytest.mark.parametrize(("share", "modifier"), [(0.0, []), (0.02, ["meanimpute"])])
def test_plink2(populations, tmp_path, share, modifier):
    cohort, dosages, _ = populations
    if not share:
        cohort = genotypes(np.where(np.isnan(dosages), 0, dosages))
    cohort = cohort.select(variants=cohort.variants.index[6:])
    prefix = plink("plink2", cohort, tmp_path, "--pca", "3", *modifier)
    found = principal_components(cohort, 3)
    told = table(f"{prefix}.eigenvec", "IID")[["PC1", "PC2", "PC3"]].loc[list(cohort.ids)]
    up_to_sign(found.scores, told, 2e-5)
    np.testing.assert_allclose(found.eigenvalues, np.loadtxt(f"{prefix}.eigenval"), rtol=1e-4)


def test_others_are_projected_and_teach_nothing(populations):
    cohort, dosages, population = populations
    training = [name for at, name in enumerate(cohort.ids) if at % 3]
    found = principal_components(cohort, 3, training=training)
    alone = principal_components(cohort.select(ids=training), 3)
    np.testing.assert_allclose(found.scores.loc[training], alone.scores, atol=1e-6)
    pd.testing.assert_frame_equal(found.loadings, alone.loadings)
    assert found.training == tuple(training)
    np.testing.assert_allclose(alone.of(cohort.select(ids=cohort.ids[::-1])), found.scores.iloc[::-1], atol=1e-6)
    own = found.loadings
    z = np.nan_to_num((dosages[cohort.variants.index.get_indexer(own.index), 0] - own["mean"]) / own["scale"])
    np.testing.assert_allclose(found.scores.iloc[0], z @ own[["PC1", "PC2", "PC3"]].to_numpy(), atol=1e-6)
    centre = found.scores.loc[training].groupby(population[[at for at in range(120) if at % 3]]).mean()
    for at in range(0, 120, 3):
        distance = ((centre - found.scores.iloc[at]) ** 2).sum(axis=1)
        assert distance.idxmin() == population[at]


def test_the_same_seed_gives_the_same_and_another_nearly(populations):
    cohort, _, _ = populations
    one, two, three = (principal_components(cohort, 3, method="randomised", seed=seed).scores for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, two)
    up_to_sign(one, three, 1e-3)


def test_few_people():
    rng = np.random.default_rng(2)
    cohort = genotypes(rng.integers(0, 3, (60, 5)).astype(float))
    up_to_sign(
        principal_components(cohort, 3).scores, principal_components(cohort, 3, method="randomised").scores, 1e-5
    )


def test_regions_are_left_out(populations):
    cohort, _, _ = populations
    regions = pd.DataFrame({"region": "MHC", "chromosome": ["1"], "start": [1], "end": [300_000]})
    found = principal_components(cohort, 2, without=regions)
    assert list(found.loadings.index) == [f"v{i}" for i in range(300, 900)]
    assert found.log[0] == "components: 300 variants in 1 regions are left out"
    up_to_sign(found.scores, principal_components(cohort.select(variants=found.loadings.index), 2).scores, 1e-6)


def test_what_cannot_be_asked(populations):
    cohort, _, _ = populations
    found = principal_components(cohort, 2)
    with pytest.raises(AlignmentError, match="899 of the 899 variants count another allele"):
        found.of(replace(cohort, variants=cohort.variants.assign(counted="G")))
    with pytest.raises(AlignmentError, match="lack 899 of the 899 variants"):
        found.of(cohort.select(variants=[]))
    with pytest.raises(GenotypeError, match="120 components of 120 training people and 899 variants"):
        principal_components(cohort, 120)
    with pytest.raises(GenotypeError, match="1 of the 2 variants are on X"):
        principal_components(genotypes(np.ones((2, 3)), chromosome=["1", "X"]), 1)
    with pytest.raises(ValueError, match="method is 'quick'; known are 'exact', 'randomised'"):
        principal_components(cohort, 2, method="quick")

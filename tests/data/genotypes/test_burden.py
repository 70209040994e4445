"""Burdens and tests of genes: sums written out, statsmodels, and the exact distribution of sums of chi2 by simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.preprocessing import StandardScaler

from tests.data.genotypes.cohorts import genotypes, in_ld, missing
from vnn._errors import AlignmentError
from vnn.data.genotypes import GeneMap, burden
from vnn.data.genotypes.burden import burdens, gene_tests
from vnn.data.genotypes.gene_map import NO_PLACES
from vnn.data.genotypes.single_variants import association, null_model

M, N = 90, 140
GENES = {f"g{i}": [f"v{k}" for k in range(6 * i, min(6 * i + 8, M))] for i in range(15)}
OF = {f"v{k}": tuple(gene for gene, own in GENES.items() if f"v{k}" in own) for k in range(M)}


@pytest.fixture
def cohort():
    rng = np.random.default_rng(6)
    dosages = missing(rng, in_ld(rng, M, N), 0.02)
    dosages[84:] = 2  # the last gene hardly varies
    return genotypes(dosages), dosages


@pytest.fixture(params=[(256, 8192, 1 << 23), (2, 20, 1000)])
def block(request, monkeypatch):
    for name, value in zip(("_GENES", "_VARIANTS", "_VALUES"), request.param, strict=True):
        monkeypatch.setattr(burden, name, value)


def by_hand(dosages, learners):
    mean = np.nanmean(dosages[:, learners], axis=1)
    copies = np.where(np.isnan(dosages), mean[:, None], dosages)
    minor = np.where((mean <= 1)[:, None], copies, 2 - copies)
    return np.stack([minor[[int(v[1:]) for v in own]].sum(0) for own in GENES.values()])


@pytest.mark.usefixtures("block")
def test_burdens_are_sums_of_minor_alleles(cohort):
    packed, dosages = cohort
    learners = np.random.default_rng(1).random(N) < 0.7
    made = burdens(packed, OF, learners)
    assert made.genes == tuple(GENES)
    raw = by_hand(dosages, learners).T
    scaled = StandardScaler().fit(raw[learners]).transform(raw).T
    found = np.concatenate([values for _, values in made.blocks()])
    np.testing.assert_allclose(found, scaled, atol=1e-4)
    people = np.random.default_rng(2).standard_normal((N, 2))
    np.testing.assert_allclose(made.turned(people), scaled.T @ (scaled @ people), rtol=1e-3, atol=1e-2)
    assert made.n_inputs == (raw[learners].std(0) > 0).sum()


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("task", ["regression", "binary"])
def test_genes_by_hand(cohort, task):
    sm = pytest.importorskip("statsmodels.api")
    packed, dosages = cohort
    rng = np.random.default_rng(3)
    learners, covariate = rng.random(N) < 0.8, rng.standard_normal((N, 1))
    y = np.nan_to_num(dosages[12:18]).sum(0) + covariate[:, 0] + 2 * rng.standard_normal(N)
    y = (y > np.median(y)).astype(float) if task == "binary" else y
    null = null_model(task, y, covariate, learners)
    found = gene_tests(packed, OF, null)
    assert found["mean_chi2_p"].dropna().is_monotonic_increasing
    single = association(packed, null)
    design = np.column_stack([np.ones(learners.sum()), covariate[learners]])
    mean = np.nanmean(dosages[:, learners], axis=1)[:, None]
    copies = np.where(np.isnan(dosages), mean, dosages)[:, learners]
    weight = null.weight[learners]
    for gene, sums in zip(GENES, by_hand(dosages, learners)[:, learners], strict=True):
        row = found.loc[gene]
        own = single.loc[GENES[gene]].dropna()
        assert row["variants"] == len(own)
        if task == "regression" and sums.std() > 0:
            fit = sm.OLS(y[learners], np.column_stack([sums, design])).fit()
            told = fit.params[0], fit.bse[0], fit.tvalues[0], fit.pvalues[0]
            np.testing.assert_allclose(
                row[[f"burden_{n}" for n in ("effect", "error", "statistic", "p")]], told, rtol=1e-3
            )
        elif sums.std() > 0:
            model = sm.GLM(y[learners], design, family=sm.families.Binomial())
            chi2, p, _ = model.score_test(model.fit(tol=1e-12).params, exog_extra=sums[:, None])
            np.testing.assert_allclose(row["burden_statistic"] ** 2, np.squeeze(chi2), rtol=1e-3, atol=1e-6)
            np.testing.assert_allclose(row["burden_p"], np.squeeze(p), rtol=1e-3)
        if not len(own):
            assert np.isnan(row["mean_chi2_p"])
            continue
        x = copies[[int(v[1:]) for v in own.index]].T
        left = (
            x - design @ np.linalg.lstsq(np.sqrt(weight)[:, None] * design, np.sqrt(weight)[:, None] * x, rcond=None)[0]
        )
        left = np.sqrt(weight)[:, None] * left
        r = left.T @ left / np.outer(np.linalg.norm(left, axis=0), np.linalg.norm(left, axis=0))
        q, m = (own["statistic"] ** 2).sum(), len(own)
        np.testing.assert_allclose(row["mean_chi2"], q / m, rtol=1e-5)
        np.testing.assert_allclose(row["independent"], m**2 / (r**2).sum(), rtol=1e-3)
        scale = (r**2).sum() / m
        np.testing.assert_allclose(row["mean_chi2_p"], stats.chi2.sf(q / scale, m / scale), rtol=1e-2)


def test_p_of_the_mean_is_that_of_traits_of_chance(cohort):
    packed, _ = cohort
    rng = np.random.default_rng(9)
    nothing, everybody = np.empty((N, 0)), np.ones(N, dtype=bool)
    p = np.concatenate(
        [
            gene_tests(packed, OF, null_model("regression", rng.standard_normal(N), nothing, everybody))[
                ["mean_chi2_p", "burden_p"]
            ].dropna()
            for _ in range(60)
        ]
    )
    n = len(p)
    assert n > 700
    for column in p.T:
        assert 0.03 < (column < 0.05).mean() < 0.07
        assert 0.45 < (column < 0.5).mean() < 0.55


def test_a_gene_map_may_have_other_variants(cohort):
    packed, _ = cohort
    everybody = np.ones(N, dtype=bool)
    names = [*(f"v{k}" for k in range(M, M + 5)), *OF]
    genes = tuple(sorted([*GENES, "elsewhere"]))
    pairs = [(at, genes.index(gene)) for at, name in enumerate(names) for gene in OF.get(name, ("elsewhere",))]
    variant, gene = np.array(sorted(pairs), dtype=np.int32).T
    places = pd.DataFrame({"chromosome": "1", "position": 1}, index=pd.Index(names, dtype=object))
    told = GeneMap(places, genes, variant, gene, NO_PLACES, (), {}, ())
    found, wanted = burdens(packed, told, everybody), burdens(packed, OF, everybody)
    assert found.genes == wanted.genes
    np.testing.assert_array_equal(found.variant, wanted.variant)
    np.testing.assert_array_equal(found.start, wanted.start)


def test_genes_that_cannot_be_found_are_refused(cohort):
    packed, _ = cohort
    everybody = np.ones(N, dtype=bool)
    with pytest.raises(AlignmentError, match="lack 1 of the 1 variants"):
        burdens(packed, {"w": ("g",)}, everybody)
    with pytest.raises(AlignmentError, match="none of the 90 variants has a gene among the 1 variants"):
        burdens(packed, {"v0": ()}, everybody)

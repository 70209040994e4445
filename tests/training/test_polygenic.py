"""Polygenic scores: every step again with pandas, plink's --score, and what may not be looked at."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.data.genotypes.cohorts import genotypes, in_ld, missing, plink, table
from vnn.chance import generator
from vnn.data.genotypes import clumped
from vnn.data.genotypes.single_variants import association, null_model
from vnn.training.polygenic import THRESHOLDS, polygenic_score
from vnn.training.ridge import inner_folds

M, N = 200, 400


@pytest.fixture(scope="module")
def study():
    """200 variants on two chromosomes, three of which raise a quantity; a covariate; who learns."""
    rng = np.random.default_rng(12)
    dosages = in_ld(rng, M, N, switch=0.2)
    position = [*range(1, 100 * 10_000, 10_000)] * 2
    cohort = genotypes(dosages, chromosome=["1"] * 100 + ["2"] * 100, position=position)
    covariates = rng.standard_normal((N, 1))
    y = dosages[[20, 70, 150]].sum(0) + covariates[:, 0] + 1.5 * rng.standard_normal(N)
    return cohort, dosages, covariates, y, rng.random(N) < 0.75


def test_every_step_again(study):
    cohort, dosages, covariates, y, learners = study
    found = polygenic_score("regression", cohort, y, covariates, learners, chance=generator(1, "x"))
    folds = np.full(N, -1)
    folds[learners] = inner_folds(y[learners], generator(1, "x"))
    training = cohort.select(ids=np.array(cohort.ids)[learners])

    def scored(part):
        tests = association(cohort, null_model("regression", y, covariates, part))
        told = clumped(training, tests["p"], leads=1.0, listed=1.0, r2=0.1, kb=250)
        leaders = told.index[told.index == told["leader"]]
        effects = tests.loc[leaders, "effect"].where
        copies = pd.DataFrame(dosages, index=cohort.variants.index).loc[leaders]
        copies = copies.sub(copies.loc[:, learners].mean(axis=1), axis=0)
        return [
            copies.mul(effects(tests.loc[leaders, "p"] <= limit, 0.0), axis=0).sum().to_numpy() for limit in THRESHOLDS
        ]

    inner = np.zeros((len(THRESHOLDS), N))
    for k in range(5):
        inner[:, folds == k] = np.array(scored(learners & (folds != k)))[:, folds == k]
    losses = []
    for score in inner:
        design = np.column_stack([np.ones(N), covariates, score])[learners]
        left = y[learners] - design @ np.linalg.lstsq(design, y[learners], rcond=None)[0]
        losses.append(0.5 * (left**2).sum())
    np.testing.assert_allclose(found.inner["loss"], losses, rtol=1e-4)
    best = int(np.argmin(losses))
    assert found.threshold == THRESHOLDS[best]
    final = scored(learners)[best]
    np.testing.assert_allclose(found.score[~learners], final[~learners], atol=1e-4)
    design = np.column_stack([np.ones(N), covariates, inner[best]])
    fitted = np.linalg.lstsq(design[learners], y[learners], rcond=None)[0]
    wanted = np.column_stack([np.ones(N), covariates, final]) @ fitted
    np.testing.assert_allclose(found.predictor[~learners], wanted[~learners], atol=1e-3)
    assert np.corrcoef(found.predictor[~learners], y[~learners])[0, 1] > 0.6
    assert found.inner["variants"].is_monotonic_increasing


def test_the_score_is_plinks(study, tmp_path):
    cohort, _, covariates, y, learners = study
    found = polygenic_score("regression", cohort, y, covariates, learners, chance=generator(1, "x"))
    weights = pd.DataFrame({"A1": cohort.variants["counted"].loc[found.weights.index], "effect": found.weights})
    weights.rename_axis("SNP").reset_index().to_csv(tmp_path / "weights", sep="\t", index=False)
    prefix = plink("plink1.9", cohort, tmp_path, "--score", str(tmp_path / "weights"), "1", "2", "3", "header", "sum")
    told = table(f"{prefix}.profile", "IID")["SCORESUM"].loc[list(cohort.ids)].to_numpy()
    apart = (found.score - told)[~learners]  # centred here
    np.testing.assert_allclose(apart, apart.mean(), atol=2e-4)


def test_people_who_are_predicted_are_not_looked_at(study):
    cohort, dosages, covariates, y, learners = study
    case = (y > np.median(y)).astype(float)
    found = polygenic_score("binary", cohort, case, covariates, learners, chance=generator(1, "x"))
    rng = np.random.default_rng(1)
    changed = np.where(learners, dosages, missing(rng, rng.permuted(dosages, axis=1), 0.1))
    other = genotypes(changed, chromosome=cohort.variants["chromosome"], position=cohort.variants["position"])
    again = polygenic_score(
        "binary", other, np.where(learners, case, 1 - case), covariates, learners, chance=generator(1, "x")
    )
    pd.testing.assert_series_equal(found.weights, again.weights, rtol=1e-4)
    np.testing.assert_allclose(found.predictor[learners], again.predictor[learners], atol=1e-4)
    assert np.corrcoef(found.predictor[~learners], y[~learners])[0, 1] > 0.5


def test_without_signal_the_covariates_remain(study):
    cohort, _, covariates, _, learners = study
    for seed in range(5):
        rng = np.random.default_rng(seed)
        y = 3 * covariates[:, 0] + rng.standard_normal(N)
        found = polygenic_score("regression", cohort, y, covariates, learners, chance=generator(seed, "x"))
        r = np.corrcoef(found.predictor[~learners], covariates[~learners, 0])[0, 1]
        assert r > 0.99
        if np.isnan(found.threshold):
            assert not found.weights.size
            assert not found.score.any()
            null = null_model("regression", y, covariates, learners)
            np.testing.assert_allclose(found.predictor, null.predictor)

"""Association of single variants: statsmodels, plink2 and counts."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.data.genotypes.cohorts import genotypes, in_ld, missing, plink, table
from vnn._errors import AlignmentError, GenotypeError
from vnn.data.genotypes.single_variants import association, null_model, spanning

M, N = 40, 260


@pytest.fixture(params=[0.0, 0.04], ids=["whole", "missing"])
def cohort(request):
    rng = np.random.default_rng(3)
    dosages = missing(rng, rng.binomial(2, rng.uniform(0.1, 0.6, M)[:, None], (M, N)).astype(float), request.param)
    covariates = np.column_stack([rng.normal(50, 9, N), rng.random(N) < 0.5])
    liability = np.nan_to_num(dosages[:4]).sum(0) + 0.05 * covariates[:, 0] + rng.standard_normal(N)
    return genotypes(dosages), dosages, covariates, liability


def filled(dosages: np.ndarray, learners: np.ndarray) -> np.ndarray:
    mean = np.nanmean(dosages[:, learners], axis=1)[:, None]
    return np.where(np.isnan(dosages), mean, dosages)[:, learners]


@pytest.mark.parametrize("n_covariates", [0, 2])
def test_a_quantity_is_least_squares(cohort, n_covariates):
    sm = pytest.importorskip("statsmodels.api")
    packed, dosages, covariates, y = cohort
    learners = np.random.default_rng(1).random(N) < 0.7
    found = association(packed, null_model("regression", y, covariates[:, :n_covariates], learners))
    for name, x in zip(packed.variants.index, filled(dosages, learners), strict=True):
        design = np.column_stack([x, np.ones(learners.sum()), covariates[learners, :n_covariates]])
        fit = sm.OLS(y[learners], design).fit()
        told = [fit.params[0], fit.bse[0], fit.tvalues[0], fit.pvalues[0]]
        np.testing.assert_allclose(found.loc[name], told, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("n_covariates", [0, 2])
def test_a_binary_trait_has_the_score_test(cohort, n_covariates):
    sm = pytest.importorskip("statsmodels.api")
    packed, dosages, covariates, liability = cohort
    y = (liability > np.median(liability)).astype(float)
    learners = np.random.default_rng(2).random(N) < 0.7
    found = association(packed, null_model("binary", y, covariates[:, :n_covariates], learners))
    design = np.column_stack([np.ones(learners.sum()), covariates[learners, :n_covariates]])
    model = sm.GLM(y[learners], design, family=sm.families.Binomial())
    params = model.fit(tol=1e-12).params
    effects = []
    for name, x in zip(packed.variants.index, filled(dosages, learners), strict=True):
        chi2, p, _ = model.score_test(params, exog_extra=x[:, None])
        np.testing.assert_allclose(found.loc[name, "statistic"] ** 2, np.squeeze(chi2), rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(found.loc[name, "p"], np.squeeze(p), rtol=2e-3)
        effects.append(
            sm.GLM(y[learners], np.column_stack([design, x]), family=sm.families.Binomial()).fit().params[-1]
        )
    small = np.abs(effects) < 0.3
    np.testing.assert_allclose(found["effect"][small], np.array(effects)[small], atol=0.03)
    np.testing.assert_allclose(found["effect"] / found["error"], found["statistic"])


def test_without_covariates_it_is_the_trend_test_of_counts(cohort):
    packed, dosages, _, liability = cohort
    y = (liability > np.median(liability)).astype(float)
    everybody = np.ones(N, dtype=bool)
    found = association(packed, null_model("binary", y, np.empty((N, 0)), everybody))
    for name, x in zip(packed.variants.index, filled(dosages, everybody), strict=True):
        trend = N * np.corrcoef(x, y)[0, 1] ** 2  # Cochran and Armitage
        np.testing.assert_allclose(found.loc[name, "p"], stats.chi2.sf(trend, 1), rtol=1e-9)


def test_quantities_are_plinks(tmp_path):
    rng = np.random.default_rng(7)
    dosages = in_ld(rng, 60, N)
    cohort = genotypes(dosages)
    covariates = pd.DataFrame({"age": rng.normal(50, 9, N), "site": rng.random(N)}, index=cohort.people.index)
    y = dosages[5] - dosages[20] + 0.03 * covariates["age"] + rng.standard_normal(N)
    with_families = cohort.people[["family"]].set_axis(["FID"], axis=1).rename_axis("IID").reset_index()[["FID", "IID"]]
    with_families.assign(y=y.to_numpy()).to_csv(tmp_path / "y", sep="\t", index=False)
    with_families.join(covariates.reset_index(drop=True)).to_csv(tmp_path / "c", sep="\t", index=False)
    arguments = ["--glm", "hide-covar", "--pheno", str(tmp_path / "y"), "--covar", str(tmp_path / "c")]
    prefix = plink("plink2", cohort, tmp_path, *arguments, "--covar-variance-standardize")
    told = table(f"{prefix}.y.glm.linear", "ID")
    found = association(cohort, null_model("regression", y.to_numpy(), covariates.to_numpy(), np.ones(N, dtype=bool)))
    sign = np.where(told["A1"] == cohort.variants["counted"].loc[told.index], 1, -1)
    rows = told["ERRCODE"] == "."
    assert rows.sum() > 50
    found = found.loc[told.index]
    np.testing.assert_allclose((sign * told["BETA"])[rows], found["effect"][rows], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose((sign * told["T_STAT"])[rows], found["statistic"][rows], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(told["P"][rows], found["p"][rows], rtol=1e-3)


def test_a_binary_trait_beside_plinks_logistic_regression(tmp_path):
    rng = np.random.default_rng(8)
    dosages = in_ld(rng, 60, 600)
    cohort = genotypes(dosages)
    y = (0.4 * dosages[5] + rng.logistic(size=600) > 0.5).astype(int)
    names = pd.DataFrame({"FID": cohort.people["family"], "IID": cohort.people.index, "y": y + 1})
    names.to_csv(tmp_path / "y", sep="\t", index=False)
    prefix = plink("plink2", cohort, tmp_path, "--glm", "no-firth", "allow-no-covars", "--pheno", str(tmp_path / "y"))
    told = table(f"{prefix}.y.glm.logistic", "ID")
    found = association(cohort, null_model("binary", y, np.empty((600, 0)), np.ones(600, dtype=bool))).loc[told.index]
    sign = np.where(told["A1"] == cohort.variants["counted"].loc[told.index], 1, -1)
    rows = told["ERRCODE"] == "."
    assert rows.sum() > 50
    np.testing.assert_allclose((sign * told["Z_STAT"])[rows], found["statistic"][rows], atol=0.1)
    np.testing.assert_allclose((sign * np.log(told["OR"]))[rows], found["effect"][rows], atol=0.03)


def test_others_than_learners_change_nothing(cohort):
    packed, dosages, covariates, y = cohort
    learners = np.arange(N) < 180
    found = association(packed, null_model("regression", y, covariates, learners))
    changed = np.where(learners, dosages, 2 - dosages)
    other = np.where(learners, y, np.nan)
    again = association(
        genotypes(changed), null_model("regression", other, np.where(learners[:, None], covariates, 9), learners)
    )
    pd.testing.assert_frame_equal(found, again, rtol=1e-5, check_exact=False)
    alone = packed.select(ids=packed.ids[:180])
    few = association(alone, null_model("regression", y[:180], covariates[:180], np.ones(180, dtype=bool)))
    pd.testing.assert_frame_equal(found, few, rtol=1e-4, check_exact=False)


def test_variants_that_say_nothing_have_no_p():
    rng = np.random.default_rng(4)
    dosages = rng.binomial(2, 0.4, (4, 60)).astype(float)
    dosages[1], dosages[2] = 1, np.nan
    covariates = dosages[[3]].T * 2 + 1  # the fourth variant is a covariate
    found = association(
        genotypes(dosages), null_model("regression", rng.standard_normal(60), covariates, np.ones(60, bool))
    )
    assert found.isna().all(axis=1).tolist() == [False, True, True, True]


def test_covariates_that_repeat_each_other_count_once():
    rng = np.random.default_rng(4)
    packed, y = genotypes(rng.binomial(2, 0.4, (4, 60)).astype(float)), rng.standard_normal(60)
    one = rng.standard_normal((60, 1))
    everybody = np.ones(60, dtype=bool)
    single = null_model("regression", y, one, everybody)
    twice = null_model("regression", y, np.column_stack([one, 3 * one + 1, np.ones(60)]), everybody)
    assert single.df == twice.df == 57
    np.testing.assert_allclose(association(packed, twice), association(packed, single), rtol=1e-5)
    assert spanning(np.zeros((5, 2))).shape == (5, 0)


def test_what_cannot_be_tested_is_refused():
    everybody, nothing = np.ones(20, dtype=bool), np.empty((20, 0))
    with pytest.raises(AlignmentError, match=r"20 people came with 19 values of the trait and 20 rows"):
        null_model("regression", np.zeros(19), nothing, everybody)
    with pytest.raises(GenotypeError, match=r"a binary trait is 0 and 1 .* it is '1\.0'"):
        null_model("binary", np.ones(20), nothing, everybody)
    with pytest.raises(GenotypeError, match="is missing"):
        null_model("regression", np.full(20, np.nan), nothing, everybody)
    with pytest.raises(GenotypeError, match="3 people learn, with 0 covariates; 4 people or more"):
        null_model("regression", np.zeros(20), nothing, np.arange(20) < 3)
    with pytest.raises(ValueError, match="task"):
        null_model("cox", np.zeros(20), nothing, everybody)


def test_classes_that_a_covariate_separates_still_give_numbers():
    rng = np.random.default_rng(4)
    packed, y = genotypes(rng.binomial(2, 0.4, (4, 60)).astype(float)), (np.arange(60) < 30).astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = association(packed, null_model("binary", y, y[:, None] - 0.5, np.ones(60, dtype=bool)))
    assert np.isfinite(found["p"].dropna()).all()

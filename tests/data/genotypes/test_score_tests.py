"""The score test of every variant against statsmodels, a test of trend written out, and chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kstest, norm

from tests.data.genotypes.test_plink import made
from vnn._errors import AlignmentError
from vnn.data.genotypes import read_plink
from vnn.data.genotypes.score_tests import inflation, minus_log10, single_variants

N, V = 300, 40


@pytest.fixture
def dosages() -> np.ndarray:
    rng = np.random.default_rng(2)
    found = rng.binomial(2, rng.uniform(0.05, 0.5, V)[:, None], (V, N)).astype(np.float32)
    found[0] = 1
    found[5, ::7] = np.nan
    return found


def filled(dosages: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(dosages), np.nanmean(dosages, 1, keepdims=True), dosages)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("n_covariates", [0, 2])
def test_equal_to_the_score_test_of_statsmodels(tmp_path: Path, dosages, binary, n_covariates) -> None:
    sm = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(3)
    covariates = rng.normal(50, 9, (N, n_covariates))
    risk = 0.5 * dosages[1] + 0.05 * covariates.sum(1) + rng.standard_normal(N)
    y = (risk > np.median(risk)).astype(float) if binary else risk
    made(tmp_path, dosages, "cohort")
    found = single_variants(read_plink(tmp_path / "cohort"), y, covariates=covariates, binary=binary)
    null = sm.GLM(y, np.column_stack([np.ones(N), covariates]), sm.families.Binomial() if binary else None).fit()
    for name, x in zip(found.index[1:], filled(dosages)[1:], strict=True):
        chi, p = null.score_test(exog_extra=x[:, None])
        share = 1.0 if binary else N / (N - 1 - n_covariates)  # statsmodels divides the residual variance by its df
        assert found.loc[name, "z"] ** 2 == pytest.approx(float(np.squeeze(chi)) * share, rel=1e-3)
        if binary:
            assert found.loc[name, "p"] == pytest.approx(float(np.squeeze(p)), rel=1e-2)
    assert np.isnan(found["z"].iloc[0])
    assert found["z"].iloc[1] > 3


def test_two_classes_without_covariates_are_the_test_of_trend(tmp_path: Path, dosages) -> None:
    rng = np.random.default_rng(4)
    y = rng.integers(0, 2, N)
    made(tmp_path, dosages, "cohort")
    found = single_variants(read_plink(tmp_path / "cohort"), y, binary=True)
    for name, x in zip(found.index[6:], dosages[6:], strict=True):
        cases = np.array([(x[y == 1] == k).sum() for k in range(3)])
        both = np.array([(x == k).sum() for k in range(3)])
        t = np.arange(3)
        share = y.mean()
        expected = (t * (cases - both * share)).sum() / np.sqrt(
            share * (1 - share) * ((both * t**2).sum() - (both * t).sum() ** 2 / N)
        )
        assert found.loc[name, "z"] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_chance_gives_uniform_p_and_a_lambda_near_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    made(tmp_path, rng.binomial(2, 0.3, (2000, 200)).astype(np.float32), "cohort")
    found = single_variants(read_plink(tmp_path / "cohort"), rng.standard_normal(200))
    assert kstest(found["p"], "uniform").pvalue > 0.01
    assert inflation(found["z"].to_numpy()) == pytest.approx(1, abs=0.12)
    assert np.isnan(inflation(np.array([np.nan])))


def test_logarithms_of_tiny_p() -> None:
    assert minus_log10(np.array([0.0, 1.96]))[1] == pytest.approx(-np.log10(2 * norm.sf(1.96)))
    assert minus_log10(np.array([60.0]))[0] == pytest.approx(783.9, abs=0.5)


def test_what_does_not_fit_is_refused(tmp_path: Path, dosages) -> None:
    made(tmp_path, dosages, "cohort")
    genotypes = read_plink(tmp_path / "cohort")
    with pytest.raises(AlignmentError, match="300 people, 2 outcomes"):
        single_variants(genotypes, np.zeros(2))
    with pytest.raises(ValueError, match="0 and 1 only"):
        single_variants(genotypes, np.arange(N), binary=True)
    with pytest.raises(ValueError, match="the same in all people"):
        single_variants(genotypes, np.ones(N))

"""Codings: what genotypes are worth, against sums written out person by person."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.data.genotypes.cohorts import genotypes as cohort_of
from tests.data.genotypes.cohorts import missing
from tests.data.genotypes.test_plink import made
from vnn.data import fit_scaling
from vnn.data.genotypes import fit_coding, read_plink
from vnn.data.genotypes.coding import scaling_of

RNG = np.random.default_rng(5)


@pytest.fixture
def cohort(tmp_path):
    dosages = RNG.choice([0.0, 1.0, 2.0, np.nan], (12, 90), p=[0.2, 0.3, 0.4, 0.1]).astype(np.float32)
    dosages[0] = 1.0
    dosages[1] = np.nan
    dosages[2] = RNG.choice([0.0, 1.0], 90)
    genotypes = read_plink(made(tmp_path, dosages)).joined(
        targets=pd.DataFrame({"y": np.arange(90.0)}, index=[f"p{i}" for i in range(90)])
    )
    return dosages, genotypes


def expected(dosages: np.ndarray, learners: np.ndarray, coding: str, missing: str) -> dict[str, list[float]]:
    """Each column person by person."""
    found = {}
    for i, row in enumerate(dosages.tolist()):
        own = [v for v, learns in zip(row, learners, strict=True) if learns and v == v]
        minor = sum(own) <= len(own)
        of_minor = [v if minor else 2 - v for v in row]
        columns = {
            "additive": {"": row},
            "standardised": {"": row},
            "dominant": {"": [float(v >= 1) if v == v else v for v in of_minor]},
            "recessive": {"": [float(v == 2) if v == v else v for v in of_minor]},
            "genotype": {
                ":het": [float(v == 1) if v == v else v for v in of_minor],
                ":hom": [float(v == 2) if v == v else v for v in of_minor],
            },
        }[coding]
        for suffix, values in columns.items():
            known = [v for v, learns in zip(values, learners, strict=True) if learns and v == v]
            mean = sum(known) / len(known) if known else 0.0
            fill = mean
            if missing == "mode" and known:
                often = {v: own.count(v) for v in (2.0, 1.0, 0.0)}
                top = max(often, key=often.get)  # of equals the one with more copies
                fill = next(c for c, v in zip(values, row, strict=True) if v == top)
            filled = [v if v == v else fill for v in values] if known else [0.0] * len(values)
            if coding == "standardised":
                sd = (sum((v - mean) ** 2 for v in known) / len(known)) ** 0.5 if known else 1.0
                filled = [(v - mean) / (sd or 1.0) for v in filled]
            found[f"rs{i}{suffix}"] = filled
        if missing == "own" and any(v != v for v, learns in zip(row, learners, strict=True) if learns):
            found[f"rs{i}:missing"] = [float(v != v) for v in row]
    return found


@pytest.mark.parametrize("missing", ["mean", "mode", "own"])
@pytest.mark.parametrize("coding", ["additive", "dominant", "recessive", "genotype", "standardised"])
def test_every_value(cohort, coding, missing):
    dosages, genotypes = cohort
    learners = np.arange(90) % 3 > 0
    found = fit_coding(genotypes, coding, missing=missing, learners=learners)
    samples = found.apply(genotypes)
    wanted = expected(dosages, learners, coding, missing)
    assert list(samples.features) == list(wanted)
    np.testing.assert_allclose(samples.values, np.array(list(wanted.values())), atol=1e-6)
    assert samples.ids == genotypes.ids
    assert samples.targets["y"].tolist() == list(np.arange(90.0))
    assert any(
        "1 variants have no genotype among those who learn and say nothing: 'rs1'" in line for line in samples.log
    )
    assert any("1 variants have one genotype only" in line and "'rs0'" in line for line in samples.log)


def test_open_values_stay_open(cohort):
    dosages, genotypes = cohort
    np.testing.assert_array_equal(fit_coding(genotypes, missing="nan").apply(genotypes).values, dosages)


def test_the_other_allele_counted_gives_the_same_dominant_and_genotype_columns(cohort, tmp_path):
    dosages, genotypes = cohort
    other = read_plink(made(tmp_path, 2 - dosages, "other"))
    for coding in ("dominant", "recessive", "genotype"):
        one, two = (fit_coding(given, coding).apply(given).values for given in (genotypes, other))
        np.testing.assert_array_equal(one[3:], two[3:])


def test_unknown_words(cohort):
    _, genotypes = cohort
    with pytest.raises(ValueError, match="coding is 'additiv'"):
        fit_coding(genotypes, "additiv")
    with pytest.raises(ValueError, match="missing is 'zero'"):
        fit_coding(genotypes, missing="zero")


@pytest.mark.parametrize("impute", ["mean", "median", "zero"])
@pytest.mark.parametrize("method", ["standard", "minmax", "none"])
@pytest.mark.parametrize("coding", ["additive", "dominant", "recessive"])
def test_scalings_from_counts_are_those_of_the_numbers(coding, method, impute):
    rng = np.random.default_rng(9)
    dosages = missing(rng, rng.binomial(2, rng.uniform(0, 0.6, (40, 1)), (40, 61)).astype(float), 0.2)
    dosages[0], dosages[1] = np.nan, 1
    held = cohort_of(dosages)
    keep = rng.random(61) < 0.6
    code = fit_coding(held, coding, missing="nan")
    found = scaling_of(code, held.counts(keep), method=method, impute=impute)
    wanted = fit_scaling(code.apply(held).values[:, keep], method=method, impute=impute)
    for name in ("centre", "scale", "fill"):
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), rtol=1e-12, atol=1e-12)


def test_missing_genotypes_need_a_number():
    held = cohort_of(np.array([[0, 1, np.nan, 2.0], [0, 1, 1, 2]]))
    code = fit_coding(held, missing="nan")
    with pytest.raises(ValueError, match=r"1 genotypes of 1 of 2 variants are missing in these people: 'v0'"):
        scaling_of(code, held.counts())
    assert scaling_of(code, held.counts(np.array([True, True, False, True]))).fill is None

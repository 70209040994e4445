"""Products with coded genotypes: the same matrix as numbers, and scikit-learn's scaling of it."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler

from tests.data.genotypes.cohorts import genotypes, missing
from vnn.data.genotypes import Genotypes, Part, coded
from vnn.data.genotypes.coded import Coded, expanded, missingness, standard

N = 130


@pytest.fixture(params=["one file", "two files in other orders", "few of a file"])
def cohort(request):
    """70 variants in 130 people, and their copies; the last variant does not vary, the one before has no genotype."""
    rng = np.random.default_rng(5)
    dosages = missing(rng, rng.binomial(2, rng.uniform(0.1, 0.6, 70)[:, None], (70, N)).astype(float), 0.05)
    dosages[68], dosages[69] = np.nan, 1
    if request.param == "one file":
        return genotypes(dosages), dosages
    if request.param == "few of a file":
        extra = rng.binomial(2, 0.3, (70, 4 * N)).astype(float)
        order = rng.permutation(5 * N)
        names = np.array([f"p{i}" for i in range(5 * N)])
        whole = genotypes(np.concatenate([dosages, extra], axis=1)[:, order], names=list(names[order]))
        return whole.select(ids=names[:N]), dosages
    turned = rng.permutation(N)
    one, two = genotypes(dosages[:30]), genotypes(dosages[30:][:, turned])
    parts = (one.parts[0], Part(two.parts[0].rows, np.argsort(turned)))
    variants = genotypes(dosages).variants
    return Genotypes.of(parts, variants, one.people), dosages


@pytest.fixture(params=[1 << 22, 200])
def block(request, monkeypatch):
    monkeypatch.setattr(coded, "_BYTES", request.param)


def standardised(dosages: np.ndarray, learners: np.ndarray) -> np.ndarray:
    known = dosages[~np.isnan(dosages[:, learners]).all(1)].T
    filled = SimpleImputer().fit(known[learners])
    made = np.zeros(dosages.shape)
    made[~np.isnan(dosages[:, learners]).all(1)] = (
        StandardScaler().fit(filled.transform(known[learners])).transform(filled.transform(known)).T
    )
    return made


@pytest.mark.usefixtures("block")
def test_products_are_those_of_the_matrix(cohort):
    packed, dosages = cohort
    rng = np.random.default_rng(1)
    learners = rng.random(N) < 0.7
    x = standardised(dosages, learners)
    made = standard(packed, learners)
    people, weights = rng.standard_normal((N, 3)), rng.standard_normal((70, 2))
    np.testing.assert_allclose(made.sums(people), x @ people, atol=2e-4)
    np.testing.assert_allclose(made.scores(weights), x.T @ weights, atol=2e-4)
    np.testing.assert_allclose(made.turned(people), x.T @ (x @ people), atol=5e-3, rtol=1e-4)
    assert made.n_inputs == 68
    some = np.array([40, 3, 69, 50])
    np.testing.assert_allclose(made.numbers(some), x[some], atol=1e-5)


def test_which_are_missing(cohort):
    packed, dosages = cohort
    learners = np.arange(N) % 3 > 0
    gone = np.isnan(dosages).astype(float)
    scaled = StandardScaler().fit(gone[:, learners].T).transform(gone.T).T
    made = missingness(packed, learners)
    varies = gone[:, learners].std(1) > 0
    np.testing.assert_allclose(made.numbers(np.arange(70))[varies], scaled[varies], atol=1e-5)
    assert not made.values[~varies].any()
    assert made.n_inputs == varies.sum()


def test_centred_only_and_any_codebook():
    dosages = np.array([[2.0, 0, 1, np.nan], [1, 1, 0, 2]])
    packed = genotypes(dosages)
    made = standard(packed, np.array([True, True, False, False]), scaled=False)
    np.testing.assert_allclose(made.numbers(np.arange(2)), [[1, -1, 0, 0], [0, 0, 0, 0]])
    values = np.array([[5, 6, 7, 8], [1, 2, 3, 4]], dtype=np.float32)
    np.testing.assert_array_equal(Coded(packed, values).numbers(np.arange(2)), [[5, 8, 7, 6], [3, 3, 4, 1]])
    rows = np.array([[0b11100100]], dtype=np.uint8)
    np.testing.assert_array_equal(expanded(rows, values[:1], 3), [[5, 6, 7]])

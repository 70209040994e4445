"""Ridge among people: scikit-learn on the same matrix, and the ridge of other studies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score

from tests.data.genotypes.cohorts import genotypes, in_ld, missing
from vnn.chance import generator
from vnn.data.genotypes.coded import standard
from vnn.data.genotypes.single_variants import association
from vnn.training import streamed_ridge as module
from vnn.training.cox import concordance, cox_null
from vnn.training.ridge import inner_folds, ridge
from vnn.training.streamed_ridge import streamed_ridge

N = 150


@dataclass(frozen=True, eq=False)
class Matrix:
    """Inputs that are a matrix, (n_inputs, n_people)."""

    x: np.ndarray

    @property
    def n_inputs(self) -> int:
        return int((self.x != 0).any(1).sum())

    def turned(self, people):
        return self.x.T @ (self.x @ people)


def cohort(n_variants: int):
    """Variants in linkage, two covariates with other scales, a trait, and who learns."""
    rng = np.random.default_rng(n_variants)
    packed = genotypes(missing(rng, in_ld(rng, n_variants, N), 0.02))
    learners = rng.random(N) < 0.7
    inputs = standard(packed, learners)
    x = inputs.numbers(np.arange(n_variants)).astype(float)
    covariates = np.column_stack([rng.normal(50, 9, N), rng.random(N) < 0.4]).astype(float)
    y = x[:10].sum(0) / 2 + 0.1 * covariates[:, 0] + rng.standard_normal(N)
    return inputs, x, covariates, y, learners


@pytest.mark.parametrize("n_variants", [40, 400])
@pytest.mark.parametrize("penalty", [0.05, 2.0])
def test_a_quantity_is_scikit_learns_ridge(n_variants, penalty):
    inputs, x, covariates, y, learners = cohort(n_variants)
    design = np.column_stack([np.ones(N), covariates])
    turn = np.linalg.lstsq(design[learners], np.column_stack([x.T, y])[learners], rcond=None)[0]
    left = np.column_stack([x.T, y]) - design @ turn
    model = Ridge(alpha=penalty * inputs.n_inputs, fit_intercept=False).fit(left[learners, :-1], left[learners, -1])
    wanted = model.predict(left[:, :-1]) + design @ turn[:, -1]
    for given, exact in ((Matrix(x), 1e-5), (inputs, 1e-4)):
        found = streamed_ridge("regression", given, y, covariates, learners, chance=generator(1, "x"), penalty=penalty)
        np.testing.assert_allclose(found.predictor, wanted, atol=exact * y.std())


@pytest.mark.parametrize("n_variants", [40, 400])
@pytest.mark.parametrize("penalty", [0.02, 0.5])
def test_classes_are_scikit_learns_logistic_regression(n_variants, penalty):
    inputs, x, covariates, y, learners = cohort(n_variants)
    case = (y > np.median(y)).astype(float)
    scaled = (covariates - covariates.mean(0)) / covariates.std(0)
    columns = np.column_stack([x.T, 1e3 * scaled])  # so large that their coefficients cost nothing
    model = LogisticRegression(C=1 / (penalty * inputs.n_inputs), tol=1e-10, max_iter=5000, solver="newton-cholesky")
    wanted = model.fit(columns[learners], case[learners]).decision_function(columns)
    for given in (Matrix(x), inputs):
        found = streamed_ridge("binary", given, case, covariates, learners, chance=generator(1, "x"), penalty=penalty)
        np.testing.assert_allclose(found.predictor, wanted, atol=2e-3)


def test_the_penalty_is_the_one_that_inner_folds_prefer():
    inputs, x, covariates, y, learners = cohort(400)
    found = streamed_ridge("regression", inputs, y, covariates, learners, chance=generator(1, "x"))
    folds = np.full(N, -1)
    folds[learners] = inner_folds(y[learners], generator(1, "x"))
    unit = learners.sum() / min(400, learners.sum())
    losses = []
    for relative in module.PENALTIES:
        total = 0.0
        for k in range(5):
            part, held = learners & (folds != k), folds == k
            one = streamed_ridge(
                "regression", Matrix(x), y, covariates, part, chance=generator(1, "x"), penalty=relative * unit
            )
            total += ((y - one.predictor)[held] ** 2).sum()
        losses.append(total)
    assert found.relative == pytest.approx(module.PENALTIES[int(np.argmin(losses))])
    assert 0 < np.argmin(losses) < len(losses) - 1


def test_it_predicts_as_the_ridge_of_other_studies():
    inputs, x, _, y, learners = cohort(400)
    nothing = np.empty((N, 0))
    case = (y > np.median(y)).astype(int)
    for task, truth in (("regression", y), ("binary", case)):
        found = streamed_ridge(task, inputs, truth, nothing, learners, chance=generator(1, "x"))
        unit = 1.0 if task == "regression" else case[learners].mean() * (1 - case[learners].mean())
        assert found.penalty == pytest.approx(found.relative * unit)
        spread = y[learners].std() if task == "regression" else 1.0
        plain = ridge(
            task, 2 if task == "binary" else 0, x[:, learners].T, truth[learners], x[:, ~learners].T,
            chance=generator(1, "x"), penalty=found.penalty * inputs.n_inputs,
        )  # fmt: skip
        theirs = plain[:, 0] if task == "regression" else np.log(plain[:, 1] / plain[:, 0])
        np.testing.assert_allclose(found.predictor[~learners], theirs, atol=5e-3 * spread)


def test_survival_is_the_ridge_of_other_studies():
    inputs, x, _, y, learners = cohort(400)
    rng = np.random.default_rng(3)
    times, ends = rng.exponential(np.exp(-2 * (y - y.mean()) / y.std())), rng.exponential(2, N)
    truth = np.column_stack([np.ceil(10 * np.minimum(times, ends)), times <= ends]).astype(float)
    found = streamed_ridge("cox", inputs, truth, np.empty((N, 0)), learners, chance=generator(1, "x"))
    plain = ridge(
        "cox",
        0,
        x[:, learners].T,
        truth[learners],
        x.T,
        chance=generator(1, "x"),
        penalty=found.penalty * inputs.n_inputs,
    )[:, 0]
    apart = found.predictor - plain
    np.testing.assert_allclose(apart, apart.mean(), atol=5e-3)
    assert concordance(*truth[~learners].T, found.predictor[~learners]) > 0.55


def test_covariates_of_survival_are_those_of_lifelines():
    lifelines = pytest.importorskip("lifelines")
    inputs, _, covariates, y, learners = cohort(40)
    rng = np.random.default_rng(3)
    times, ends = rng.exponential(np.exp(-2 * (y - y.mean()) / y.std())), rng.exponential(2, N)
    truth = np.column_stack([np.minimum(times, ends), times <= ends]).astype(float)
    null = cox_null(truth, covariates, learners)
    frame = pd.DataFrame(covariates, columns=["age", "site"]).assign(days=truth[:, 0], died=truth[:, 1])
    model = lifelines.CoxPHFitter().fit(frame[learners], "days", "died")
    wanted = model.predict_log_partial_hazard(frame).to_numpy()
    apart = null.predictor - wanted
    np.testing.assert_allclose(apart, apart.mean(), atol=1e-4)
    packed = inputs.genotypes
    found = association(packed, null)
    z, varies = [], inputs.numbers(np.arange(packed.n_variants))[:, learners].std(1) > 0.5
    found = found[varies]
    for values in inputs.numbers(np.flatnonzero(varies)):
        fit = lifelines.CoxPHFitter().fit(frame.assign(x=values.astype(float))[learners], "days", "died")
        z.append(fit.summary.loc["x", "z"])
    assert np.corrcoef(found["statistic"], z)[0, 1] > 0.99
    np.testing.assert_allclose(found["statistic"], z, atol=0.35)


def test_strong_signals_are_found_and_families_kept_together():
    inputs, x, _, _, learners = cohort(40)
    case = (x[3] > 0).astype(float)
    found = streamed_ridge("binary", inputs, case, np.empty((N, 0)), learners, chance=generator(1, "x"))
    assert roc_auc_score(case[~learners], found.predictor[~learners]) > 0.97
    groups = np.repeat(np.arange(N // 3), 3)
    folds = inner_folds(case, generator(2, "x"), groups)
    assert all(len(set(folds[groups == g])) == 1 for g in range(N // 3))
    assert np.bincount(folds).min() >= 27


def test_inputs_that_do_not_vary_leave_the_covariates():
    _, x, covariates, y, learners = cohort(40)
    found = streamed_ridge("regression", Matrix(0 * x), y, covariates, learners, chance=generator(1, "x"))
    design = np.column_stack([np.ones(N), covariates])
    wanted = design @ np.linalg.lstsq(design[learners], y[learners], rcond=None)[0]
    np.testing.assert_allclose(found.predictor, wanted, atol=1e-9)

"""Linear models with a ridge penalty, for every task, also where inputs are many times the samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax
from threadpoolctl import threadpool_limits

from vnn.data.scaling import fit_scaling
from vnn.training.cox import PartialLikelihood

PENALTIES = np.logspace(3, -3, 13)
INNER_FOLDS = 5
NEGLIGIBLE = 1e-10

Loss = Callable[[np.ndarray], tuple[float, np.ndarray]]


@threadpool_limits.wrap(limits=1)  # many small products: a second thread costs more than it brings
def ridge(
    task: str,
    n_classes: int,
    learn: np.ndarray,
    truth: np.ndarray,
    test: np.ndarray,
    *,
    chance: np.random.Generator,
    groups: np.ndarray | None = None,
    penalty: float | None = None,
) -> np.ndarray:
    """What a linear model with a ridge penalty, learnt from `learn`, predicts for `test`.

    Logistic regression, multinomial regression, least squares or Cox's model, minus the log likelihood plus half the penalty
    times the sum of squared coefficients of the standardised inputs, without a penalty on intercepts. The
    penalty is that of 13 between 1/1000 and 1000 times the mean curvature of the likelihood that predicts best in five
    inner folds (for Cox by the cross-validated partial likelihood of Verweij and van Houwelingen).

    A ridge solution lies in the span of the samples, so it is found in the at most n_samples coordinates that
    their inner products give.

    Parameters
    ----------
    task
        "binary", "multiclass", "regression" or "cox".
    n_classes
        How many classes there are, also those `truth` lacks; 0 for other tasks.
    learn, test
        Complete inputs, shape (n_samples, n_inputs).
    truth
        `Target.truth` of the samples of `learn`.
    chance
        Deals the inner folds.
    groups
        A group of each sample of `learn`; inner folds keep groups together, as the splits do.
    penalty
        Instead of a choice.

    Returns
    -------
    Probabilities per class, shape (n_test, n_classes), or predictions or log hazard ratios, (n_test, 1).

    References
    ----------
    Verweij & van Houwelingen (1993), doi:10.1002/sim.4780122407
    """
    columns, others = _coordinates(learn, test)
    centre, spread = (truth.mean(), truth.std() or 1.0) if task == "regression" else (0.0, 1.0)
    wanted = (truth - centre) / spread
    n_outputs = n_classes if task == "multiclass" else 1
    model = _Ridge(task, columns, wanted, n_outputs)
    if penalty is None:
        unit = model.curvature * (columns**2).sum() / max(columns.shape[1], 1)
        penalties = PENALTIES * (unit or 1.0)
        penalty = penalties[int(np.argmin(model.inner_losses(penalties, chance, groups)))]
    everyone = np.arange(len(columns))
    intercept, coefficients = model.solve(everyone, penalty, model.start())
    eta = others @ coefficients + intercept
    if task == "binary":
        return np.concatenate([expit(-eta), expit(eta)], axis=1)
    return softmax(eta, axis=1) if task == "multiclass" else eta * spread + centre


def _coordinates(learn: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standardised inputs turned so that columns are orthogonal in `learn` and no more than its rows."""
    scaling = fit_scaling(learn.T)
    x, others = scaling.apply(learn.T).T, scaling.apply(test.T).T
    few = x.shape[1] <= x.shape[0]
    values, vectors = np.linalg.eigh(x.T @ x if few else x @ x.T)
    kept = values > NEGLIGIBLE * max(values.max(initial=0.0), 1e-300)
    values, vectors = values[kept], vectors[:, kept]
    if few:
        return x @ vectors, others @ vectors
    return vectors * np.sqrt(values), others @ x.T @ (vectors / np.sqrt(values))


def inner_folds(
    strata: np.ndarray, chance: np.random.Generator, groups: np.ndarray | None = None, *, n: int = INNER_FOLDS
) -> np.ndarray:
    """Which of `n` inner folds holds each sample out, int64 (n_samples,).

    Parameters
    ----------
    strata
        What folds have alike: classes, events or the quantity.
    chance
        Deals them.
    groups
        A group of each sample; groups stay together.
    """
    members = np.arange(len(strata)) if groups is None else np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(members)
    mean = np.bincount(members, strata) / sizes
    shuffled = chance.permutation(len(sizes))
    dealt = np.empty(len(sizes), dtype=np.int64)
    dealt[shuffled[np.argsort(mean[shuffled], kind="stable")]] = np.arange(len(sizes)) % n
    return dealt[members]


class _Ridge:
    def __init__(self, task: str, columns: np.ndarray, truth: np.ndarray, n_outputs: int) -> None:
        self.task, self.columns, self.truth, self.n_outputs = task, columns, truth, n_outputs
        self.squares = (columns**2).sum(0)
        shares = np.bincount(truth.astype(int)) / len(truth) if task in ("binary", "multiclass") else np.zeros(1)
        self.curvature = {
            "regression": 1.0,
            "cox": float(truth[:, 1].mean()) if task == "cox" else 0.0,
        }.get(task, float((shares * (1 - shares)).sum()) / 2)

    def start(self) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(self.n_outputs), np.zeros((self.columns.shape[1], self.n_outputs))

    def loss(self, rows: np.ndarray) -> Loss:
        """Minus the log likelihood of some samples, and its gradient, as a function of linear predictors."""
        truth = self.truth[rows]
        if self.task == "cox":
            likelihood = PartialLikelihood(truth[:, 0], truth[:, 1])

            def cox(eta: np.ndarray) -> tuple[float, np.ndarray]:
                value, gradient = likelihood(eta[:, 0])
                return -value, -gradient[:, None]

            return cox
        if self.task == "regression":
            return lambda eta: (
                0.5 * float(((eta[:, 0] - truth) ** 2).sum()),
                eta - truth[:, None],
            )
        if self.task == "binary":
            return lambda eta: (
                float((np.logaddexp(0, eta[:, 0]) - truth * eta[:, 0]).sum()),
                expit(eta) - truth[:, None],
            )
        wanted = truth[:, None] == np.arange(self.n_outputs)

        def multinomial(eta: np.ndarray) -> tuple[float, np.ndarray]:
            log_p = log_softmax(eta, axis=1)
            return -float(log_p[wanted].sum()), np.exp(log_p) - wanted

        return multinomial

    def solve(
        self, rows: np.ndarray, penalty: float, start: tuple[np.ndarray, np.ndarray], *, exact: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """Intercepts and coefficients, found in coordinates in which the curvature is about 1.

        Choosing a penalty needs losses to a part in a million only, not `exact` coefficients.
        """
        loss, columns = self.loss(rows), self.columns[rows]
        step = 1 / np.sqrt(self.curvature * self.squares + penalty)[:, None]
        first = 0.0 if self.task == "cox" else 1 / np.sqrt(max(self.curvature, 1e-3) * len(rows))

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            scaled = flat.reshape(-1, self.n_outputs)
            coefficients = scaled[1:] * step
            value, slope = loss(columns @ coefficients + scaled[0] * first)
            gradient = np.concatenate(
                [slope.sum(0, keepdims=True) * first, (columns.T @ slope + penalty * coefficients) * step]
            )
            return value + 0.5 * penalty * float((coefficients**2).sum()), gradient.ravel()

        begin = np.concatenate([start[0][None] / first if first else start[0][None], start[1] / step])
        options = (
            {"maxiter": 500, "ftol": 1e-12, "gtol": 1e-6} if exact else {"maxiter": 100, "ftol": 1e-7, "gtol": 1e-4}
        )
        found = minimize(objective, begin.ravel(), jac=True, method="L-BFGS-B", options=options)
        scaled = found.x.reshape(-1, self.n_outputs)
        return scaled[0] * first, scaled[1:] * step

    def inner_losses(
        self, penalties: np.ndarray, chance: np.random.Generator, groups: np.ndarray | None = None
    ) -> np.ndarray:
        """Loss of each penalty, the largest first, on inner folds that did not take part in learning."""
        n = len(self.columns)
        fold = inner_folds(self.truth[:, 1] if self.task == "cox" else self.truth, chance, groups)
        everyone = self.loss(np.arange(n))
        total = np.zeros(len(penalties))
        for k in range(min(INNER_FOLDS, n)):
            rows, held = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
            mine, others = self.loss(rows), self.loss(held)
            found = self.start()
            for i, penalty in enumerate(penalties):
                found = self.solve(rows, penalty, found, exact=False)
                eta = self.columns @ found[1] + found[0]
                total[i] += everyone(eta)[0] - mine(eta[rows])[0] if self.task == "cox" else others(eta[held])[0]
        return total

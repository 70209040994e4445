"""Ridge models of inputs that are never a matrix: all that is asked of them is one pass, X'X times people."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from vnn.data.genotypes.single_variants import NullModel, Task, null_model, slopes, spanning
from vnn.training.cox import PartialLikelihood, cox_null, cox_slopes
from vnn.training.ridge import INNER_FOLDS, inner_folds

PENALTIES = np.logspace(3, -2, 11)
MOST_PASSES, MOST_STEPS = 100, 20
LOOSE, EXACT = 1e-3, 1e-6  # residual of an inner and of the final solution, relative
_NOTHING = 1e-12


class Inputs(Protocol):
    """What a streamed ridge learns from: standardised inputs X, (n_inputs, n_people), such as `Coded`, `Burdens` or `Columns`."""

    @property
    def n_inputs(self) -> int:
        """How many inputs vary."""
        ...

    def turned(self, people: np.ndarray) -> np.ndarray:
        """X'X people, (n_people, k)."""
        ...


@dataclass(frozen=True, eq=False)
class Columns:
    """Inputs that are few enough to be held, float32 (n_inputs, n_people)."""

    values: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, learners: np.ndarray) -> Columns:
        """Standardised among learners; what does not vary there is left out."""
        own = values[:, learners].astype(np.float64)
        centre, spread = own.mean(1, keepdims=True), own.std(1, keepdims=True)
        varies = spread[:, 0] > _NOTHING
        return cls(((values - centre) / np.where(spread > _NOTHING, spread, 1))[varies].astype(np.float32))

    @property
    def n_inputs(self) -> int:
        return len(self.values)

    def turned(self, people: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.values.T @ (self.values @ people.astype(np.float32))
        return found.astype(np.float64)


@dataclass(frozen=True, eq=False)
class StreamedRidge:
    """A ridge model that was learnt.

    Parameters
    ----------
    predictor
        Linear predictor of everybody, learners and others, (n_people,).
    penalty
        On half the sum of squared coefficients of inputs divided by the root of their number.
    relative
        The same in units of the mean curvature of the likelihood.
    passes
        Over the inputs.
    """

    predictor: np.ndarray
    penalty: float
    relative: float
    passes: int


def streamed_ridge(
    task: Task,
    inputs: Inputs,
    truth: np.ndarray,
    covariates: np.ndarray,
    learners: np.ndarray,
    *,
    chance: np.random.Generator,
    groups: np.ndarray | None = None,
    penalty: float | None = None,
) -> StreamedRidge:
    """Least squares, logistic regression or Cox's model with a ridge penalty on inputs, none on an intercept and covariates.

    Coefficients of a ridge solution are X a for some people's a, so everything is solved among people: (K + penalty / w) a = z
    with K = X'X / inputs, by Lanczos' method, whose space is the same for every penalty. The penalty is that of 11 between 1/100
    and 1000 times the mean curvature that predicts best in five inner folds; all of these share each pass over the inputs. A
    logistic model chooses after one Newton step from the covariates alone, which is near where the effects of single inputs are
    small, and is then solved by Newton's method to the end. A space of 100 passes that is not enough for a small penalty is left
    as it is.

    Parameters
    ----------
    task
        "binary", "regression" or "cox".
    inputs
        Standardised among learners.
    truth, covariates, learners
        As for `null_model`.
    chance
        Deals the inner folds.
    groups
        A group of each person; inner folds keep groups together.
    penalty
        Instead of a choice, as in `StreamedRidge`.

    Returns
    -------
    `StreamedRidge`.

    References
    ----------
    Lanczos 1950, doi:10.6028/jres.045.026; shifted systems: Frommer and Maass 1999, doi:10.1137/S1064827596313310
    """
    null = null_of(task, truth, covariates, learners)
    rank = max(min(inputs.n_inputs, int(learners.sum())), 1)
    unit = float(null.weight[learners].mean()) * int(learners.sum()) / rank
    passes = 0
    if penalty is None:
        folds = np.full(len(learners), -1)
        folds[learners] = inner_folds(strata(truth)[learners], chance, None if groups is None else groups[learners])
        parts = [learners & (folds != k) for k in range(INNER_FOLDS)]
        nulls = [null_of(task, truth, covariates, part) for part in parts if varied(task, truth[part])]
        spaces = _spaces(inputs, [_Step.first(one) for one in nulls], unit * PENALTIES.min(), LOOSE)
        passes += max(len(space.alpha) for space in spaces)
        losses = np.zeros(len(PENALTIES))
        for space, one in zip(spaces, nulls, strict=True):
            held = learners & ~one.learners
            for i, relative in enumerate(PENALTIES):
                eta = space.solution(relative * unit).predictor
                if task == "cox":  # the cross-validated partial likelihood of Verweij and van Houwelingen
                    losses[i] += loss(task, truth[learners], eta[learners])
                    losses[i] -= loss(task, truth[one.learners], eta[one.learners])
                else:
                    losses[i] += loss(task, truth[held], eta[held])
        penalty = float(PENALTIES[int(np.argmin(losses))] * unit)
    found, further = _solved(inputs, null, penalty)
    return StreamedRidge(found, penalty, penalty / unit, passes + further)


def null_of(task: Task, truth: np.ndarray, covariates: np.ndarray, learners: np.ndarray) -> NullModel:
    """The trait explained by covariates alone, for each task."""
    if task == "cox":
        return cox_null(truth, covariates, learners)
    return null_model(task, truth, covariates, learners)


def strata(truth: np.ndarray) -> np.ndarray:
    """What inner folds have alike: the events, the classes, or the quantity."""
    return truth[:, 1] if truth.ndim == 2 else truth


def varied(task: str, truth: np.ndarray) -> bool:
    """Whether a model of this task can be learnt from these."""
    return task == "regression" or (bool(truth[:, 1].any()) if task == "cox" else len(np.unique(truth)) > 1)


def loss(task: str, truth: np.ndarray, predictor: np.ndarray) -> float:
    """Minus the log likelihood, or half the squared error."""
    if task == "cox":
        return -PartialLikelihood(*truth.T)(predictor)[0]
    if task == "regression":
        return 0.5 * float(((truth - predictor) ** 2).sum())
    return float((np.logaddexp(0, predictor) - truth * predictor).sum())


def _solved(inputs: Inputs, null: NullModel, penalty: float) -> tuple[np.ndarray, int]:
    """Linear predictor of everybody, and passes; a others by Newton's method with halved steps."""
    step = _Step.first(null)
    (space,) = _spaces(inputs, [step], penalty, EXACT)
    found, passes = space.solution(penalty), len(space.alpha)
    if null.task == "regression":
        return found.predictor, passes
    truth, learners = null.truth, null.learners
    at = _Solution(null.predictor, np.zeros(len(truth)), np.zeros(len(truth)))
    worth = loss(null.task, truth[learners], at.predictor[learners])
    for _ in range(MOST_STEPS):
        share = 1.0
        for _ in range(30):
            made = at.towards(found, share)
            value = loss(null.task, truth[learners], made.predictor[learners]) + 0.5 * penalty * float(
                made.a @ made.image
            )
            if value <= worth + 1e-12 * abs(worth):
                break
            share /= 2
        moved = np.abs(made.predictor - at.predictor)[learners].max()
        at, worth = made, min(value, worth)
        if moved < 1e-4:
            break
        (space,) = _spaces(inputs, [_Step.at(null, at.predictor)], penalty, EXACT)
        found, passes = space.solution(penalty), passes + len(space.alpha)
    return at.predictor, passes


@dataclass(frozen=True, eq=False)
class _Solution:
    """Linear predictor of everybody; a, and K a."""

    predictor: np.ndarray
    a: np.ndarray
    image: np.ndarray

    def towards(self, other: _Solution, share: float) -> _Solution:
        pairs = ((self.predictor, other.predictor), (self.a, other.a), (self.image, other.image))
        return _Solution(*(mine + share * (theirs - mine) for mine, theirs in pairs))


@dataclass(frozen=True, eq=False)
class _Step:
    """A weighted least-squares problem: roots of weights (0 for those who do not learn), working response, design."""

    root: np.ndarray
    response: np.ndarray
    design: np.ndarray
    basis: np.ndarray

    @classmethod
    def first(cls, null: NullModel) -> _Step:
        """One Newton step from the covariates alone; all there is to do for a quantity."""
        return cls.at(null, null.predictor)

    @classmethod
    def at(cls, null: NullModel, predictor: np.ndarray) -> _Step:
        find = cox_slopes if null.task == "cox" else partial(slopes, null.task)
        residual, weight = find(null.truth, null.learners, predictor)
        weight = np.where(null.learners, np.maximum(weight, 1e-6), 0.0)
        response = predictor + np.divide(residual, weight, where=weight > 0, out=np.zeros(len(weight)))
        root = np.sqrt(weight)
        return cls(root, np.where(null.learners, response, 0.0), null.design, spanning(root[:, None] * null.design))

    def free(self, people: np.ndarray) -> np.ndarray:
        """Without what the design explains."""
        return people - self.basis @ (self.basis.T @ people)


class _Space:
    """Lanczos' space of one problem, grown by a pass at a time; its directions stay orthogonal."""

    def __init__(self, step: _Step) -> None:
        self.step = step
        start = step.free(step.root * step.response)
        self.size = float(np.linalg.norm(start))
        self.alpha: list[float] = []
        self.beta: list[float] = []
        self.directions = [start / max(self.size, _NOTHING)]
        self.images: list[np.ndarray] = []
        self.done = self.size <= _NOTHING

    @property
    def asked(self) -> np.ndarray:
        return self.step.root * self.directions[-1]

    def take(self, image: np.ndarray, penalty: float, tolerance: float) -> None:
        """K times what was asked, of everybody."""
        self.images.append(image.astype(np.float32))
        turned = self.step.free(self.step.root * image)
        own = self.directions[-1]
        self.alpha.append(float(own @ turned))
        known = np.stack(self.directions)
        for _ in range(2):
            turned = turned - known.T @ (known @ turned)
        turned = self.step.free(turned)
        beta = float(np.linalg.norm(turned))
        self.beta.append(beta)
        last = self._coefficients(penalty)[-1]
        if beta <= 1e-6 * max(self.alpha) or beta * abs(last) <= tolerance * self.size:
            self.done = True
        else:
            self.directions.append(turned / beta)

    def _coefficients(self, penalty: float) -> np.ndarray:
        n = len(self.alpha)
        between = self.beta[: n - 1]
        matrix = np.diag(np.array(self.alpha) + penalty) + np.diag(between, 1) + np.diag(between, -1)
        return np.linalg.solve(matrix, self.size * np.eye(n)[0])

    def solution(self, penalty: float) -> _Solution:
        step, n = self.step, len(self.step.root)
        if not self.alpha:
            a = image = np.zeros(n)
        else:
            y = self._coefficients(penalty)
            a = step.root * (np.stack(self.directions[: len(y)]).T @ y)
            image = np.stack(self.images).T @ y
        fixed = np.linalg.lstsq(step.root[:, None] * step.design, step.root * (step.response - image), rcond=None)[0]
        return _Solution(image + step.design @ fixed, a, image)


def _spaces(inputs: Inputs, steps: list[_Step], penalty: float, tolerance: float) -> list[_Space]:
    """Spaces large enough for this penalty and all greater ones; every pass serves all that are not done."""
    spaces = [_Space(step) for step in steps]
    for _ in range(MOST_PASSES):
        open_ = [space for space in spaces if not space.done]
        if not open_ or not inputs.n_inputs:
            break
        images = inputs.turned(np.stack([space.asked for space in open_], axis=1)) / inputs.n_inputs
        for space, image in zip(open_, images.T, strict=True):
            space.take(np.ascontiguousarray(image), penalty, tolerance)
    return spaces

"""Metrics: how close predictions are to the truth, by task."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.metrics import average_precision_score, roc_auc_score

from vnn.training.cox import concordance, hazard_slope

METRIC = {"binary": "AUC", "multiclass": "macro AUC", "regression": "R2", "cox": "C-index"}
_CLASSES = ("balanced accuracy", "Brier score", "calibration slope")
CHANCE = {"AUC": 0.5, "macro AUC": 0.5, "R2": 0.0, "C-index": 0.5}
METRICS = {
    "binary": ("AUC", "AUPRC", *_CLASSES),
    "multiclass": ("macro AUC", "macro AUPRC", *_CLASSES),
    "regression": ("R2", "correlation", "RMSE", "calibration slope"),
    "cox": ("C-index", "calibration slope"),
}
FLOOR = 1e-12
MISSING = float("nan")


def score(task: str, truth: np.ndarray, values: np.ndarray) -> float:
    """The headline metric: AUC of the second class, mean one-against-rest AUC, R2 or C-index; missing where undefined.

    Parameters
    ----------
    task
        "binary", "multiclass", "regression" or "cox".
    truth
        `Target.truth`: class codes or values, shape (n_samples,); for cox times and events, (n_samples, 2).
    values
        Any increasing function of the probability per class, shape (n_samples, n_targets), predictions, or log hazards.
    """
    if task == "regression":
        return _r2(truth, values[:, 0])
    if task == "cox":
        return concordance(truth[:, 0], truth[:, 1], values[:, 0])
    return _over_classes(roc_auc_score, task, truth, values)


def metrics(task: str, truth: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """All metrics of a task by name, the headline first; those undefined for these samples are missing.

    - AUC and AUPRC (average precision): of the second class; of each class against the rest, averaged, when there are more.
    - Balanced accuracy: mean over classes of the share recognised when the most probable class is called.
    - Brier score: mean squared difference of probability and truth of the second class; summed over the classes when
      there are more than two. Lower is better.
    - R2, correlation (Pearson's), RMSE (lower is better).
    - C-index: Harrell's, equal predictions counting one half.
    - Calibration slope, 1 when predictions are neither too extreme (below 1) nor too timid (above 1): of truth on
      prediction; Cox's coefficient of the log hazard ratio; of the truth on the logit in a logistic regression; for more
      classes the one slope b of softmax(a_k + b log p_k), which is the same when there are two.

    Where a class is absent only the Brier score is defined. A slope is missing where it is infinite: classes separated
    without error.

    Parameters
    ----------
    task, truth
        As for `score`.
    values
        Probabilities per class, shape (n_samples, n_classes), predictions or log hazard ratios, (n_samples, 1).
    """
    if not len(truth) or np.isnan(values).any():
        return dict.fromkeys(METRICS[task], MISSING)
    first = score(task, truth, values)
    if task == "regression":
        found = _of_quantity(truth, values[:, 0])
    elif task == "cox":
        found = (hazard_slope(truth[:, 0], truth[:, 1], values[:, 0]),)
    else:
        found = _of_classes(task, truth, values)
    return dict(zip(METRICS[task], (first, *found), strict=True))


def _of_classes(task: str, truth: np.ndarray, values: np.ndarray) -> tuple[float, ...]:
    classes = np.arange(values.shape[1])
    wrong = (values - (truth[:, None] == classes)) ** 2
    brier = float(wrong[:, 1].mean() if task == "binary" else wrong.sum(1).mean())
    if len(np.unique(truth)) < len(classes):
        return MISSING, MISSING, brier, MISSING
    called = values.argmax(1)
    balanced = float(np.mean([(called[truth == k] == k).mean() for k in classes]))
    precision = _over_classes(average_precision_score, task, truth, values)
    return precision, balanced, brier, class_slope(truth, values)


def _over_classes(metric: object, task: str, truth: np.ndarray, values: np.ndarray) -> float:
    assert callable(metric)
    if len(np.unique(truth)) < (2 if task == "binary" else values.shape[1]):
        return MISSING
    if task == "binary":
        return float(metric(truth, values[:, -1]))
    return float(np.mean([metric(truth == k, values[:, k]) for k in range(values.shape[1])]))


def _of_quantity(truth: np.ndarray, values: np.ndarray) -> tuple[float, ...]:
    error = float(np.sqrt(np.mean((truth - values) ** 2)))
    if len(truth) < 2 or np.ptp(truth) == 0 or np.ptp(values) == 0:
        return MISSING, error, MISSING
    correlation = float(np.corrcoef(truth, values)[0, 1])
    return correlation, error, float(correlation * truth.std() / values.std())


def _r2(truth: np.ndarray, values: np.ndarray) -> float:
    if len(truth) < 2 or np.ptp(truth) == 0:
        return MISSING
    return float(1 - np.sum((truth - values) ** 2) / np.sum((truth - truth.mean()) ** 2))


def class_slope(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """The slope b of softmax(a_k + b log p_k) that fits the classes best; missing where it is infinite.

    Parameters
    ----------
    truth
        Class codes, every class present.
    probabilities
        Shape (n_samples, n_classes).
    """
    z = np.log(np.clip(probabilities, FLOOR, None))
    z = z - z.mean(1, keepdims=True)
    n_classes = z.shape[1]
    if _separates(truth, z) or _separates(truth, -z):
        return MISSING
    scale = z.std()
    wanted = truth[:, None] == np.arange(n_classes)
    design = np.concatenate(
        [np.broadcast_to(np.eye(n_classes)[:, 1:], (len(z), n_classes, n_classes - 1)), z[:, :, None] / scale], axis=2
    )

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        log_p = log_softmax(design @ parameters, axis=1)
        return -log_p[wanted].sum(), np.einsum("nk,nkp->p", np.exp(log_p) - wanted, design)

    def curvature(parameters: np.ndarray) -> np.ndarray:
        p = np.exp(log_softmax(design @ parameters, axis=1))
        mean = np.einsum("nk,nkp->np", p, design)
        return np.einsum("nk,nkp,nkq->pq", p, design, design) - mean.T @ mean

    found = minimize(loss, np.zeros(n_classes), jac=True, hess=curvature, method="trust-exact", options={"gtol": 1e-8})
    return float(found.x[-1] / scale)


def _separates(truth: np.ndarray, z: np.ndarray) -> bool:
    """Whether some constants a_k make a_k + z largest for the true class of every sample, ties allowed.

    They must satisfy a_k - a_y <= z_y - z_k for every sample of class y: possible unless a cycle of such bounds is
    negative, which the shortest paths between classes tell.
    """
    classes = range(z.shape[1])
    bound = np.array([[(z[truth == y, y] - z[truth == y, k]).min() for k in classes] for y in classes])
    for through in classes:
        bound = np.minimum(bound, bound[:, [through]] + bound[[through]])
    return bool((np.diag(bound) >= 0).all())

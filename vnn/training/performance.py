"""How well networks predict samples they never saw, beside the simple baseline on the same splits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vnn.data.samples import Samples
from vnn.data.scaling import fit_scaling
from vnn.data.splits import Split
from vnn.data.targets import Target
from vnn.training.fitting import Fit

METRIC = {"binary": "AUC", "multiclass": "AUC, mean over classes", "regression": "R2"}


def score(task: str, truth: np.ndarray, values: np.ndarray) -> float:
    """AUC of the second class, mean one-against-rest AUC, or R2; missing where a class is absent.

    Parameters
    ----------
    task
        "binary", "multiclass" or "regression".
    truth
        Class codes or values, shape (n_samples,).
    values
        Any increasing function of the probability per class, shape (n_samples, n_targets), or predictions.
    """
    if task == "regression":
        return float(r2_score(truth, values[:, 0])) if len(truth) > 1 else float("nan")
    if task == "binary":
        return float(roc_auc_score(truth, values[:, -1])) if len(np.unique(truth)) == 2 else float("nan")
    if len(np.unique(truth)) < values.shape[1]:
        return float("nan")
    return float(np.mean([roc_auc_score(truth == k, values[:, k]) for k in range(values.shape[1])]))


def performance(fit: Fit, samples: Samples) -> pd.DataFrame:
    """Held-out performance per split: the networks, and logistic or ridge regression on the same inputs.

    The baseline sees the same inputs and covariates, scaled on the samples it learns from: training and
    validation part together, since it needs no early stopping. Its penalty is scikit-learn's default
    for logistic regression and chosen by leave-one-out for ridge.

    Parameters
    ----------
    fit
        Trained networks.
    samples
        The samples of the fit.

    Returns
    -------
    A row per split: split, n_test, network (mean over seeds), baseline; the names of metric and baseline are in `attrs`.
    """
    prediction = fit.predict(samples)
    position = {name: i for i, name in enumerate(samples.ids)}
    truth = dict(zip(fit.ids, fit.target.values, strict=True))
    scores = prediction.values
    split_of = dict(zip(fit.replicates["id"], fit.replicates["split"], strict=True))
    rows = []
    for split in fit.splits:
        test = [position[i] for i in split.test]
        wanted = np.array([truth[i] for i in split.test])
        mine = [r for r, name in enumerate(prediction.replicates) if split_of[name] == split.name]
        if not test or not mine:
            continue
        seeds = [score(fit.target.task, wanted, scores[test, r]) for r in mine]
        rows.append(
            {"split": split.name, "n_test": len(test), "network": float(np.mean(seeds)),
             "baseline": score(fit.target.task, wanted, _baseline(fit, samples, split, truth))}
        )  # fmt: skip
    table = pd.DataFrame(rows, columns=["split", "n_test", "network", "baseline"])
    name = "ridge regression" if fit.target.task == "regression" else "logistic regression"
    table.attrs |= {"metric": METRIC[fit.target.task], "baseline": name}
    return table


def _baseline(fit: Fit, samples: Samples, split: Split, truth: dict[str, float]) -> np.ndarray:
    learnt = [*split.train, *split.validation]
    inputs = samples.select(fit.topology.inputs)
    parts = [inputs.values[:, inputs.index(ids)].astype(np.float64) for ids in (learnt, split.test)]
    if np.isnan(inputs.values).any():
        impute = fit.training.impute if fit.training.impute != "none" else "mean"
        scaling = fit_scaling(parts[0], impute=impute)
        parts = [scaling.apply(part) for part in parts]
    if fit.coding is not None:
        columns = fit.coding.encode(samples.covariates)
        parts = [
            np.concatenate([part, columns[:, samples.index(ids)]])
            for part, ids in zip(parts, (learnt, split.test), strict=True)
        ]
    return linear_baseline(fit.target, parts[0].T, np.array([truth[i] for i in learnt]), parts[1].T)


def linear_baseline(target: Target, train: np.ndarray, truth: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Scores of logistic or ridge regression for `test`, shape (n_test, n_targets), learnt from `train`."""
    if target.task == "regression":
        model = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-1, 5, 13)))
        return model.fit(train, truth).predict(test)[:, None]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    found = model.fit(train, truth).decision_function(test)
    return found if found.ndim == 2 else found[:, None]


def summary(table: pd.DataFrame, columns: Sequence[str] = ("network", "baseline")) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation over splits of each column."""
    return {name: (float(table[name].mean()), float(table[name].std(ddof=1))) for name in columns}

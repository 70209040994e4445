"""Activity effects: how a node's held-out activity differs between classes, or moves with a quantity."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from vnn.data.targets import Target
from vnn.interpret.activity import Activities, standardised
from vnn.training import Fit


def activity_effects(fit: Fit, activities: Activities) -> pd.DataFrame:
    """The association of every node's activity with the target on held-out samples, largest first.

    For two classes the difference of the mean activities, second minus first class, in standard
    deviations of the activity; for more classes each against the rest; for a quantity the correlation.
    Effects are averaged over the seeds of a split, then over splits. The interval is the corrected resampled
    t interval over J splits, variance (1/J + n_test/n_train) s2 with J - 1 degrees of freedom, since splits
    share samples; it speaks of this cohort and is not a test against chance. An effect is an
    association, neither a cause nor an attribution.

    Parameters
    ----------
    fit
        Its splits say who was held out from whom.
    activities
        Of the samples of the fit.

    Returns
    -------
    Columns level, node, name, n_inputs (inputs below the node), contrast ("case minus control"), effect, low, high
    (95 % interval; missing with one split), n_splits; sorted by |effect|.

    References
    ----------
    Nadeau & Bengio (2003), doi:10.1023/A:1024068626366
    """
    tested = {split.name: set(split.test) for split in fit.splits}
    split_of = dict(zip(fit.replicates["id"], fit.replicates["split"], strict=True))
    splits = [split_of[name] for name in activities.replicates]
    in_test = np.array([[i in tested[name] for name in splits] for i in activities.ids])
    if sorted(activities.ids) != list(fit.ids):
        raise ValueError("activity effects need the samples the fit was made from; these are others.")
    target = fit.target.values[np.argsort(np.argsort(activities.ids))]
    classes = list(fit.target.classes)
    contrasts = [""] if len(classes) <= 2 else classes
    size = {level.name: dict(zip(level.nodes, np.diff(fit.topology.members[level.name].indptr), strict=True))
            for level in fit.topology.levels}  # fmt: skip
    ratio = float(np.mean([len(s.test) / max(len(s.train) + len(s.validation), 1) for s in fit.splits]))
    rows = []
    for level, values in activities.levels.items():
        z = standardised(values.astype(np.float64), in_test)
        for contrast in contrasts:
            wanted = (
                target if fit.target.task == "regression" else (target == (classes.index(contrast) if contrast else 1))
            )
            by_split = _by_split(fit, splits, z, in_test, wanted.astype(float))
            mean, low, high = _interval(by_split, ratio)
            for j, node in enumerate(activities.nodes[level]):
                rows.append(
                    {
                        "level": level,
                        "node": node,
                        "name": activities.names.get(node, node),
                        "n_inputs": int(size[level][node]),
                        "contrast": _contrast(fit.target, contrast),
                        "effect": mean[j],
                        "low": low[j],
                        "high": high[j],
                        "n_splits": int((~np.isnan(by_split[:, j])).sum()),
                    }
                )
    table = pd.DataFrame(rows)
    return table.iloc[np.argsort(-table["effect"].abs().fillna(-1), kind="stable")].reset_index(drop=True)


def _contrast(target: Target, one: str) -> str:
    if target.task == "regression":
        return f"correlation with {target.name}"
    return f"{one} minus the rest" if one else f"{target.classes[1]} minus {target.classes[0]}"


def _by_split(fit: Fit, splits: list[str], z: np.ndarray, in_test: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Effect per split and node, averaged over its replicates; missing where a test part has no contrast."""
    names = [split.name for split in fit.splits]
    effects = np.full((len(names), z.shape[2]), np.nan)
    for i, name in enumerate(names):
        per_seed = []
        for r in (r for r, split in enumerate(splits) if split == name):
            rows = in_test[:, r]
            y = wanted[rows]
            if rows.sum() < 3 or y.std() == 0:
                continue
            values = z[rows, r]
            if fit.target.task == "regression":
                per_seed.append((values * ((y - y.mean()) / y.std())[:, None]).mean(0))
            else:
                per_seed.append(values[y == 1].mean(0) - values[y == 0].mean(0))
        if per_seed:
            effects[i] = np.mean(per_seed, axis=0)
    return effects


def _interval(by_split: np.ndarray, ratio: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    counted = (~np.isnan(by_split)).sum(0)
    mean = np.where(counted > 0, np.nansum(by_split, axis=0) / np.maximum(counted, 1), np.nan)
    variance = np.nansum((by_split - mean) ** 2, axis=0) / np.maximum(counted - 1, 1)
    half = stats.t.ppf(0.975, np.maximum(counted - 1, 1)) * np.sqrt(variance * (1 / np.maximum(counted, 1) + ratio))
    half = np.where(counted > 1, half, np.nan)
    return mean, mean - half, mean + half

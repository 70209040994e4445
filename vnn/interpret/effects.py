"""Activity effects: how a node's held-out activity differs between classes, or moves with a quantity."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vnn.data.targets import Target
from vnn.interpret.activity import Activities, standardised
from vnn.interpret.contrast import Contrast, contrasts, part_of, residuals
from vnn.training import Fit
from vnn.training.interval import interval, ratio_of

LARGEST = 1 - 1e-9


def activity_effects(fit: Fit, activities: Activities) -> pd.DataFrame:
    """The association of every node's activity with the target on held-out samples, largest first.

    For two classes the difference of the mean activities, second minus first class, in standard
    deviations of the activity; for more classes each against the rest; for a quantity the correlation; for survival
    the correlation with the martingale residual, the events a sample had beyond those expected in its time had all
    held-out samples of the split the same hazard.
    Effects are averaged over the seeds of a split, then over splits. The interval is the corrected resampled
    t interval over J splits, variance (1/J + n_test/n_train) s2 with J - 1 degrees of freedom, since splits
    share samples, for correlations on Fisher's scale; it speaks of this cohort and is not a test against chance. An effect is an
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
    target = part_of(fit.target, np.argsort(np.argsort(activities.ids)))
    size = {level.name: dict(zip(level.nodes, np.diff(fit.topology.members[level.name].indptr), strict=True))
            for level in fit.topology.levels}  # fmt: skip
    ratio = ratio_of(fit.splits)
    rows = []
    for level, values in activities.levels.items():
        z = standardised(values.astype(np.float64), in_test)
        for contrast in contrasts(fit.target):
            by_split = _by_split(fit, splits, z, in_test, target, contrast)
            if not fit.target.classes:
                by_split = np.arctanh(np.clip(by_split, -LARGEST, LARGEST))
            mean, low, high = interval(by_split, ratio)
            if not fit.target.classes:
                mean, low, high = np.tanh(mean), np.tanh(low), np.tanh(high)
            for j, node in enumerate(activities.nodes[level]):
                rows.append(
                    {
                        "level": level,
                        "node": node,
                        "name": activities.names.get(node, node),
                        "n_inputs": int(size[level][node]),
                        "contrast": contrast.name,
                        "effect": mean[j],
                        "low": low[j],
                        "high": high[j],
                        "n_splits": int((~np.isnan(by_split[:, j])).sum()),
                    }
                )
    table = pd.DataFrame(rows)
    return table.iloc[np.argsort(-table["effect"].abs().fillna(-1), kind="stable")].reset_index(drop=True)


def _by_split(
    fit: Fit, splits: list[str], z: np.ndarray, in_test: np.ndarray, target: Target, contrast: Contrast
) -> np.ndarray:
    """Effect per split and node, averaged over its replicates; missing where a test part has no contrast."""
    effects = np.full((len(fit.splits), z.shape[2]), np.nan)
    for i, split in enumerate(fit.splits):
        per_seed = []
        for r in (r for r, name in enumerate(splits) if name == split.name):
            rows = np.flatnonzero(in_test[:, r])
            part = part_of(target, rows)
            weights = contrast.sample_weights(part) if len(rows) > 2 else None
            if weights is not None:
                scale = 1.0 if target.classes else residuals(part).std()
                per_seed.append(scale * (weights @ z[rows, r]))
        if per_seed:
            effects[i] = np.mean(per_seed, axis=0)
    return effects

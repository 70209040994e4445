"""Activity effects on survival; those of classes and quantities are tested beside the activities."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.planted import cohort, wiring
from vnn.data import Samples, k_fold
from vnn.interpret import activities, activity_effects
from vnn.training import Training, fit


def test_effects_on_survival_are_correlations_with_martingale_residuals() -> None:
    lifelines = pytest.importorskip("lifelines")
    rng = np.random.default_rng(2)
    factor = (cohort().targets["quantity"].to_numpy() - 10) / 3
    times = np.ceil(20 * rng.exponential(np.exp(-1.5 * factor)))
    targets = pd.DataFrame({"OS.time": times, "OS": rng.random(len(times)) < 0.8}, index=list(cohort().ids))
    samples = Samples(
        cohort().values, cohort().features, cohort().ids, targets, cohort().covariates, cohort().groups
    )  # fmt: skip
    splits = k_fold(samples.ids, k=3, validation=0.25, seed=0, stratify=targets["OS"].astype(str))
    made = fit(
        wiring(), samples, target="OS.time", event="OS", splits=splits, n_seeds=2, training=Training(epochs=40, lr=1e-2)
    )
    found = activities(made, samples)
    effects = activity_effects(made, found)
    assert effects["contrast"].unique() == ["correlation with risk (OS)"]
    assert effects["node"][0] in ("set 3", "group 1"), "the planted set or its parent"
    by_split = []
    for split in splits:
        rows = samples.index(split.test)
        t, e = targets["OS.time"].to_numpy()[rows], targets["OS"].to_numpy()[rows]
        fitted = lifelines.NelsonAalenFitter(nelson_aalen_smoothing=False).fit(t, e)
        residual = e - fitted.cumulative_hazard_.iloc[:, 0].loc[t].to_numpy()
        at = np.flatnonzero(made.replicates["split"] == split.name)
        by_split.append(np.mean([np.corrcoef(found.levels["level 1"][rows, r, 3], residual)[0, 1] for r in at]))
    assert np.isclose(effects[effects["node"] == "set 3"]["effect"].iloc[0], np.tanh(np.mean(np.arctanh(by_split))))
    assert np.mean(by_split) > 0.2, "the set's activity rises with its genes, and they with the risk"

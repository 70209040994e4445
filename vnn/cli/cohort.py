"""A new cohort seen by a trained study: aligned by name, counted, predicted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from vnn._errors import StudyError, culprits
from vnn.data import encode_target, read_samples
from vnn.interpret import activities
from vnn.ontology import Topology
from vnn.study import RECORD
from vnn.training import Fit
from vnn.training.performance import METRIC, score


@dataclass(frozen=True, eq=False)
class Predicted:
    """What a study says of a new cohort.

    Parameters
    ----------
    predictions, activities
        One row per sample.
    text
        How the cohort met the fit, and how well it was predicted when its labels are known.
    """

    predictions: pd.DataFrame
    activities: pd.DataFrame
    text: str


def predicted(
    study: Path, data: Path, *, labels: Path | None = None, samples_in: str | None = None, layer: str | None = None
) -> Predicted:
    """Predict the samples of `data` with the networks in the output folder `study`."""
    if not (study / RECORD).exists():
        raise StudyError(f"{study} is not the output folder of a study: it holds no {RECORD}.")
    topology = Topology.load(study / "topology.npz")
    fit = Fit.load(study / "fit", topology)
    stated = json.loads((study / RECORD).read_text())["study"]["data"]
    covariates = () if fit.coding is None else [name for name, _ in fit.coding.columns]
    targets = (fit.target.name,) if labels is not None else ()
    samples = read_samples(
        data, labels=labels, targets=targets, covariates=tuple(covariates),
        samples_in=samples_in or (None if labels else stated["samples_in"]), layer=layer or stated["layer"],
        dtype=fit.training.dtype,
    )  # fmt: skip
    prediction = fit.predict(samples)
    known = set(samples.features)
    absent = [name for name in topology.inputs if name not in known]
    lines = [
        f"{samples.n_samples:,} samples, {len(topology.inputs) - len(absent):,} of {len(topology.inputs):,} inputs measured; "
        f"{len(absent):,} taken at the training mean{': ' + culprits(absent) if absent else ''}; "
        f"{len(known - set(topology.inputs)):,} other features are not used."
    ]
    if targets:
        truth = encode_target(samples.targets[fit.target.name], fit.target.task, fit.target.classes or None).values
        mean = np.nanmean(prediction.values, axis=1)
        lines.append(f"{METRIC[fit.target.task]} of the mean prediction: {score(fit.target.task, truth, mean):.3f}")
    return Predicted(prediction.table(), activities(fit, samples).table(held_out=False), "\n".join(lines))

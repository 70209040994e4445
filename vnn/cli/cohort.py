"""A new cohort seen by a trained study: aligned by name, counted, predicted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vnn._errors import StudyError, culprits
from vnn.data import Samples, encode_survival, encode_target, read_h5ad, read_samples
from vnn.data.tables import opened
from vnn.interpret import activities
from vnn.ontology import Topology
from vnn.study import RECORD
from vnn.training import Fit
from vnn.training.evaluation import METRIC, score


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
    samples = _read(data, labels, fit, stated, samples_in, layer)
    prediction = fit.predict(samples)
    known = set(samples.features)
    absent = [name for name in topology.inputs if name not in known]
    lines = [
        f"{samples.n_samples:,} samples, {len(topology.inputs) - len(absent):,} of {len(topology.inputs):,} inputs measured; "
        f"{len(absent):,} filled from the training part{': ' + culprits(absent) if absent else ''}; "
        f"{len(known - set(topology.inputs)):,} other features are not used."
    ]
    if known_to_some := [i for i, held in zip(samples.ids, prediction.held_out, strict=True) if not held.all()]:
        lines.append(
            f"{len(known_to_some):,} of these samples were learnt from by some networks: {culprits(known_to_some)}."
        )
    if set(_outcomes(fit)) <= set(samples.targets):
        truth = _truth(fit, samples)
        new = prediction.held_out.any(1)
        weight = np.where(prediction.held_out, 1.0, np.nan)[new, :, None]
        mean = np.nanmean(prediction.values[new] * weight, axis=1)
        found = score(fit.target.task, truth[new], mean)
        lines.append(f"{METRIC[fit.target.task]} of the mean prediction on {new.sum():,} samples held out: {found:.3f}")
    return Predicted(prediction.table(), activities(fit, samples).table(held_out=False), "\n".join(lines))


def _outcomes(fit: Fit) -> list[str]:
    """Columns that hold what is predicted."""
    return [name for name in (fit.target.name, fit.target.event) if name is not None]


def _truth(fit: Fit, samples: Samples) -> np.ndarray:
    columns = [samples.targets[name] for name in _outcomes(fit)]
    if fit.target.event is not None:
        return encode_survival(*columns).truth
    return encode_target(columns[0], fit.target.task, fit.target.classes or None).truth


def _read(
    data: Path, labels: Path | None, fit: Fit, stated: dict[str, Any], samples_in: str | None, layer: str | None
) -> Samples:
    """New samples with the covariates the fit needs, and with its target where they have it."""
    side = samples_in
    if side is None and not data.name.removesuffix(".gz").endswith((".h5ad", ".gct")):
        side = "rows" if _columns(data) & set(fit.topology.inputs) else "columns"
    described = side != "columns" or labels is not None
    held = _columns(labels or data) if described else set()
    needed = [] if fit.coding is None else [name for name, _ in fit.coding.columns]
    if labels is None and (absent := [name for name in needed if name not in held]):
        raise StudyError(
            f"the networks need the covariates {culprits(needed)}, and {data} has no {culprits(absent)}. "
            "Give them in a table with a row per sample: --labels TABLE."
        )
    return read_samples(
        data,
        labels=labels,
        targets=[name for name in _outcomes(fit) if name in held],
        covariates=needed,
        groups=[name for name in stated["groups"] if name in held],
        samples_in=side,
        sample_column=stated["sample_column"] if described else None,
        layer=layer or stated["layer"],
        unmatched=stated["unmatched"],
        dtype=fit.training.dtype,
    )


def _columns(file: Path) -> set[str]:
    """Names of the columns a file of labels, or of values with labels in it, may have."""
    name = file.name.removesuffix(".gz")
    if name.endswith(".h5ad"):
        return set(read_h5ad(file).labels.columns)
    if name.endswith((".cls", ".gct")):
        return {"class"} if name.endswith(".cls") else set()
    if name.endswith(".parquet"):
        return {str(column) for column in pd.read_parquet(file).columns}
    with opened(file) as text:
        first = text.readline().strip()
    return {cell.strip().strip('"') for cell in first.split("\t" if "\t" in first else ",")}

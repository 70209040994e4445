"""A new cohort seen by a trained study: aligned by name, counted, predicted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from vnn._errors import AlignmentError, StudyError, culprits
from vnn.data import encode_survival, encode_target, read_h5ad, read_table
from vnn.data.tables import opened
from vnn.interpret import activities
from vnn.ontology import Identifiers, Topology, read_translation
from vnn.study import RECORD, DataSection, prepare
from vnn.study.newcomers import Ambiguous, newcomers
from vnn.training import Fit, Prediction
from vnn.training.calibration import in_words
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
    variants
        How each variant of a genotype study was found; None for other studies.
    """

    predictions: pd.DataFrame
    activities: pd.DataFrame
    text: str
    variants: pd.DataFrame | None = None


def predicted(
    study: Path,
    data: Sequence[str],
    *,
    labels: Path | None = None,
    samples_in: Literal["rows", "columns"] | None = None,
    layer: str | None = None,
    ambiguous: Ambiguous = "auto",
) -> Predicted:
    """Predict new samples with the networks in the output folder `study`; values are treated as the study treated its own.

    People whom some networks learnt from are predicted by the others only.

    Parameters
    ----------
    study
        Output folder.
    data
        File of values, or "omics=file" for each omics of the study.
    labels
        What is known of the samples: the covariates the networks need, and the target where it is known.
    samples_in, layer
        As in a study file; as in the study unless given.
    ambiguous
        Of genotypes, what becomes of A/T and C/G; see `vnn.data.genotypes.matching.matched`.
    """
    if not (study / RECORD).exists():
        raise StudyError(f"{study} is not the output folder of a study: it holds no {RECORD}.")
    topology = Topology.load(study / "topology.npz")
    fit = Fit.load(study / "fit", topology)
    record = json.loads((study / RECORD).read_text())["study"]
    stated = DataSection(**record["data"])
    if record.get("genotypes") is not None:
        return _genotyped(study, stated, fit, _files(stated, data)[""], labels, ambiguous)
    section, targets = _asked(stated, fit, _files(stated, data), labels, samples_in, layer)
    try:
        samples = prepare(section, targets, dtype=fit.training.dtype).samples
    except AlignmentError as error:
        error.add_note("The networks need these columns of every new sample; --labels TABLE gives them.")
        raise
    prediction = fit.predict(samples)
    known = set(samples.features)
    absent = [name for name in topology.inputs if name not in known]
    lines = [
        f"{samples.n_samples:,} samples, {len(topology.inputs) - len(absent):,} of {len(topology.inputs):,} inputs measured; "
        f"{len(absent):,} filled from the training part{': ' + culprits(absent) if absent else ''}; "
        f"{len(known - set(topology.inputs)):,} other features are not used."
    ]
    table = samples.targets if labels is None else read_table(labels, sample_column=stated.sample_column)
    lines += _said(fit, prediction, table.reindex(list(samples.ids)))
    return Predicted(prediction.table(held_out=True), activities(fit, samples).table(held_out=True), "\n".join(lines))


def _genotyped(
    study: Path, stated: DataSection, fit: Fit, data: Path, labels: Path | None, ambiguous: Ambiguous
) -> Predicted:
    """New people by their genotypes, some at a time."""
    found = newcomers(study, data, needed_of(fit), labels=labels, ambiguous=ambiguous)
    parts, tables = [], []
    for samples in found.parts():
        parts.append(fit.predict(samples))
        tables.append(activities(fit, samples).table(held_out=True))
    whole = replace(
        parts[0], ids=found.ids, logits=np.concatenate([part.logits for part in parts]),
        held_out=np.concatenate([part.held_out for part in parts]),
    )  # fmt: skip
    lines = [f"{len(found.ids):,} people of {data.name}", *found.log, *_said(fit, whole, found.known)]
    return Predicted(whole.table(held_out=True), pd.concat(tables), "\n".join(lines), found.matched.table)


def needed_of(fit: Fit) -> list[str]:
    """The covariates of a fit."""
    return [] if fit.coding is None else [name for name, _ in fit.coding.columns]


def _said(fit: Fit, prediction: Prediction, table: pd.DataFrame) -> list[str]:
    """Who was learnt from, how certain the networks are, and how well they predict those whose target the table knows."""
    lines, together = [], prediction.ensemble(held_out=True)
    if familiar := [i for i, held in zip(prediction.ids, prediction.held_out, strict=True) if not held.all()]:
        lines.append(
            f"Some networks learnt from {len(familiar):,} of these samples, which are predicted by the other networks: "
            f"{culprits(familiar)}."
        )
    if fit.temperatures:
        lines.append(f"Probabilities are means over networks, calibrated. {in_words(fit.temperatures)}")
    if set(_outcomes(fit)) <= set(table.columns):
        right = table[_outcomes(fit)].notna().all(axis=1).to_numpy() & (together.n_replicates > 0)
        if right.sum() > 1:
            truth = _truth(fit, table[right])
            found = score(fit.target.task, truth, together.mean[right])
            lines.append(
                f"{METRIC[fit.target.task]} on the {right.sum():,} samples whose {fit.target.name} is known: {found:.3f}"
            )
    return lines


def _files(stated: DataSection, data: Sequence[str]) -> dict[str, Path]:
    """The new files by omics, which must be those of the study."""
    omics = list(stated.files)
    if omics == [""]:
        if len(data) != 1:
            raise StudyError(f"the study has one table of values, and {len(data)} files are given; give one.")
        return {"": Path(data[0])}
    given = dict(pair.split("=", 1) for pair in data if "=" in pair)
    if sorted(given) != sorted(omics) or len(given) != len(data):
        wanted = " ".join(f"{name}=FILE" for name in omics)
        raise StudyError(f"the study joins the omics {culprits(omics)}; give a file for each: {wanted}.")
    return {name: Path(given[name]) for name in omics}


def _asked(
    stated: DataSection,
    fit: Fit,
    files: dict[str, Path],
    labels: Path | None,
    samples_in: Literal["rows", "columns"] | None,
    layer: str | None,
) -> tuple[DataSection, list[str]]:
    """What to read of the new samples, and which of its columns are targets."""
    if stated.several == "max-variance":
        raise StudyError(
            'the study kept the feature of each gene that varied most (several = "max-variance"), which new samples cannot repeat. '
            'Use several = "mean" or "sum", or merge the features yourself before both.'
        )
    first = next(iter(files.values()))
    needed = needed_of(fit)
    side = samples_in
    free = first.name.removesuffix(".gz").endswith((".h5ad", ".gct"))
    held = set() if labels is not None or (free and not first.name.endswith(".h5ad")) else _columns(first)
    if side is None and not free:
        side = stated.samples_in or _side(first, fit, stated)
    if side == "columns" and labels is None:
        held = set()
    if labels is None and (absent := [name for name in needed if name not in held]):
        raise StudyError(
            f"the networks need the covariates {culprits(needed)}, and {first} has no {culprits(absent)}. "
            "Give them in a table with a row per sample: --labels TABLE."
        )
    section = stated.model_copy(
        update={
            "values": files.get("", files),
            "labels": labels if needed else None,
            "covariates": tuple(needed),
            "groups": (),
            "samples_in": side,
            "sample_column": stated.sample_column if labels is None and side == "rows" else None,
            "layer": layer or stated.layer,
            "unmatched": "error",
        }
    )
    return section, [name for name in _outcomes(fit) if name in held]


def _side(file: Path, fit: Fit, stated: DataSection) -> Literal["rows", "columns"]:
    """Which side of a table the samples are on: not the one that holds the inputs of the fit, by whatever name."""
    header, inputs = _columns(file), set(fit.topology.inputs)
    if "" not in stated.files:
        inputs |= {name.split(":", 1)[1] for name in inputs}
    if stated.identifiers is not None and not header & inputs:
        through = None if stated.through is None else read_translation(stated.through)
        resolved = Identifiers.read(stated.identifiers).resolve(header, through=through)
        header = {gene for genes in resolved.genes.values() for gene in genes}
    return "rows" if header & inputs else "columns"


def _outcomes(fit: Fit) -> list[str]:
    """Columns that hold what is predicted."""
    return [name for name in (fit.target.name, fit.target.event) if name is not None]


def _truth(fit: Fit, table: pd.DataFrame) -> np.ndarray:
    columns = [table[name] for name in _outcomes(fit)]
    if fit.target.event is not None:
        return encode_survival(*columns).truth
    return encode_target(columns[0], fit.target.task, fit.target.classes or None).truth


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

"""Material: what a study reads before it trains: samples, wiring, splits, target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vnn._atomic import sha256
from vnn._errors import AlignmentError, StudyError, choose, culprits
from vnn.data import (
    Check,
    Samples,
    Split,
    Target,
    data_checks,
    encode_survival,
    encode_target,
    hold_out,
    join_omics,
    k_fold,
    leave_one_group_out,
    limit_classes,
    log_cpm,
    merge_features,
    read_samples,
    read_table,
)
from vnn.data.read import columns_beside
from vnn.ontology import Identifiers, Topology, load_topology, read_translation
from vnn.ontology.log import Entry
from vnn.study.cohort import gene_wiring, genes_told_by, read_cohort
from vnn.study.rivals import known_rivals
from vnn.study.settings import DataSection, OntologySection, Study, is_file
from vnn.training.baselines import ON_REQUEST
from vnn.training.null import placed

FEWEST_SHOWN = 5


@dataclass(frozen=True, eq=False)
class Material:
    """What a study trains on.

    Parameters
    ----------
    samples
        Joined, translated and merged as the study says.
    topology
        The wiring over their features; its log holds what became of identifiers as well.
    target
        Of the samples, in their order.
    splits
        Who learns and who is held out.
    """

    samples: Samples
    topology: Topology
    target: Target
    splits: tuple[Split, ...]


def read_material(study: Study) -> Material:
    """Read the files of a study and make its wiring and splits.

    Raises
    ------
    StudyError, AlignmentError, OntologyError, ValueError
        If a file, a column or a label is not as it must be.
    """
    try:
        prepared = _samples(study)
    except AlignmentError as error:
        error.add_note("In a study file these are keys of [data]: unmatched, samples_in, sample_column, identifiers.")
        raise
    samples, asked = prepared.samples, study.ontology
    if asked.name == "genes":
        topology = gene_wiring(prepared.genes or {})
    else:
        features = samples.features if prepared.genes is None else prepared.genes
        topology = wiring_of(asked, features, study.data.identifiers)
    told = () if study.genotypes is None else (genes_told_by(study.genotypes.genes),)
    topology = replace(topology, log=(*prepared.log, *topology.log), provenance=(*told, *topology.provenance))
    material = Material(samples, topology, _target(study, samples), splits_of(study, samples))
    _keep(study, material)
    return material


def checks_of(study: Study, material: Material) -> tuple[Check, ...]:
    """What should be known of the data of a study; columns of its labels that it does not use are looked at too."""
    data, group = study.data, study.attribution.group
    used = {*outcomes(data), *data.traits, *data.covariates, *data.groups, *(group[:1] if group else ())}
    known = [*data.label_files, *(file for file in data.files.values() if file.suffix == ".h5ad")]
    others = columns_beside(known, used, material.samples.ids, sample_column=data.sample_column)
    return data_checks(material.samples, material.target, splits=material.splits, others=others, seed=study.seed)


def _samples(study: Study) -> Prepared:
    data = study.data
    if study.genotypes is None:
        found = prepare(data, outcomes(data), dtype=study.training.dtype)
    else:
        found = Prepared(*read_cohort(data, study.genotypes, outcomes(data)), ())
    samples = _labelled(study, found.samples)
    if data.least_per_class is not None:
        samples = limit_classes(samples, data.target, least=data.least_per_class, rule=data.rare)
    return Prepared(samples, found.genes, found.log)


def outcomes(data: DataSection) -> tuple[str, ...]:
    """Columns that hold what is predicted."""
    return (data.target,) if data.event is None else (data.target, data.event)


@dataclass(frozen=True, eq=False)
class Prepared:
    """Samples as networks take them.

    Parameters
    ----------
    samples
        Joined, translated and merged.
    genes
        The genes of each feature, None where features are genes.
    log
        What became of identifiers.
    """

    samples: Samples
    genes: Mapping[str, tuple[str, ...]] | None
    log: tuple[Entry, ...]


def prepare(data: DataSection, targets: Sequence[str], *, dtype: str) -> Prepared:
    """The samples of a section, read and treated as it says; a study and the prediction of new people share this.

    Parameters
    ----------
    data
        What is read, and what becomes of it.
    targets
        Columns to keep as targets.
    dtype
        "float32" or "float64".
    """
    log: list[Entry] = []
    tables: dict[str, Samples] = {}
    genes: dict[str, Mapping[str, tuple[str, ...]]] = {}
    sources: list[dict[str, str]] = []
    if data.identifiers is not None:
        identifiers = Identifiers.read(data.identifiers)
        through = None if data.through is None else read_translation(data.through)
        sources += [
            {"name": path.name, "sha256": sha256(path), "role": role}
            for role, path in (("identifiers", data.identifiers), ("through", data.through))
            if path is not None
        ]
    for omics, path in data.files.items():
        table = read_samples(
            path, labels=data.label_files or None, targets=targets, covariates=data.covariates, groups=data.groups,
            samples_in=data.samples_in, sample_column=data.sample_column, layer=data.layer,
            unmatched=data.unmatched, dtype=dtype,
        )  # fmt: skip
        if data.log_cpm is True or (data.log_cpm and omics in data.log_cpm):
            table = log_cpm(table)
        known: Mapping[str, tuple[str, ...]] = {name: (name,) for name in table.features}
        if data.identifiers is not None:
            resolved = identifiers.resolve(table.features, through=through)
            known = resolved.genes
            log += resolved.log
        if data.several != "separate":
            merged = merge_features(table, known, data.several)
            table, known = merged.samples, dict(merged.genes)
        tables[omics], genes[omics] = table, known
    if "" in tables:
        (samples,), (found,) = tables.values(), genes.values()
        plain = data.identifiers is None and data.several == "separate"
    else:
        samples, plain = join_omics(tables, unmatched=data.unmatched).samples, False
        found = {f"{omics}:{name}": own for omics, known in genes.items() for name, own in known.items()}
    return Prepared(replace(samples, sources=(*samples.sources, *sources)), None if plain else found, tuple(log))


def _keep(study: Study, material: Material) -> None:
    """Refuse before training what could only fail after it."""
    samples, target = material.samples, material.target
    known = (
        (*known_rivals(study, samples, target, material.topology.inputs), *ON_REQUEST) if study.compare.models else ()
    )
    for model in study.compare.models or ():
        choose("compare.models", model, known)
    if study.nulls.shifted and study.nulls.places is not None:
        placed(material.topology, read_table(study.nulls.places))
    if (group := study.attribution.group) is not None:
        tables = [table for table in (samples.targets, samples.groups, samples.covariates) if group[0] in table.columns]
        if not tables:
            listed = [str(name) for t in (samples.targets, samples.groups, samples.covariates) for name in t.columns]
            choose("the column of attribution.group", group[0], listed)
        choose("the value of attribution.group", group[1], sorted(set(tables[0][group[0]].astype(str))))
    missing = np.isnan(samples.select(material.topology.inputs).values).any(1)
    if missing.any() and study.training.impute == "none":
        names = [material.topology.inputs[i] for i in np.flatnonzero(missing).tolist()]
        raise StudyError(
            f"{len(names):,} of {len(material.topology.inputs):,} inputs have missing values: {culprits(names)}. "
            'Set training.impute to "mean", "median" or "zero", or complete the table.'
        )
    if study.report.individuals == "none" and target.classes:
        counts = np.bincount(target.values, minlength=len(target.classes))
        small = [f"{name} ({n})" for name, n in zip(target.classes, counts.tolist(), strict=True) if n < FEWEST_SHOWN]
        if small:
            raise StudyError(
                f'report.individuals is "none", so no group under {FEWEST_SHOWN} people may be shown, and the classes '
                f"{culprits(small)} are smaller. Merge or drop them: data.least_per_class = {FEWEST_SHOWN}, data.rare."
            )


def _labelled(study: Study, samples: Samples) -> Samples:
    names = list(outcomes(study.data))
    columns = samples.targets[names]
    gone = [str(i) for i in columns.index[columns.isna().any(axis=1)]]
    if not gone:
        return samples
    if study.data.unlabelled == "error":
        raise StudyError(
            f"{len(gone):,} of {samples.n_samples:,} samples have no {' or no '.join(names)}: {culprits(gone)}. "
            'Complete the labels, or set data.unlabelled = "drop" to leave these samples out.'
        )
    kept = samples.select(ids=[i for i in samples.ids if i not in set(gone)])
    line = f"unlabelled: {len(gone):,} samples have no {' or no '.join(names)} and were dropped: {culprits(gone)}"
    return replace(kept, log=(*kept.log, line))


def _target(study: Study, samples: Samples) -> Target:
    data = study.data
    if data.event is not None:
        return encode_survival(samples.targets[data.target], samples.targets[data.event])
    return encode_target(samples.targets[data.target], data.task, data.classes)


def wiring_of(
    asked: OntologySection, features: Sequence[str] | Mapping[str, Sequence[str]], identifiers: Path | None = None
) -> Topology:
    """The wiring a study asks for: from the catalogue, a recipe, or a gene-set file; the second time from the user's cache."""
    extra = [key for key in ("folder", "release") if getattr(asked, key)]
    if extra and is_file(asked.name) and not asked.name.endswith(".toml"):
        raise StudyError(f"ontology.{extra[0]} is for recipes; {asked.name} is a gene-set file. Leave it out.")
    return load_topology(
        asked.name, features, folder=asked.folder, release=asked.release, choices=asked.choices, identifiers=identifiers,
        **asked.model_dump(exclude={"name", "folder", "release", "choices"}),
    )  # fmt: skip


def stratum_of(study: Study, samples: Samples) -> pd.Series | None:
    """What splits keep the proportions of: the event, the class, or nothing."""
    data = study.data
    if not study.splits.stratify:
        return None
    if data.event is not None:
        return samples.targets[data.event].astype(str)
    return samples.targets[data.target].astype(str) if _target(study, samples).classes else None


def splits_of(study: Study, samples: Samples) -> tuple[Split, ...]:
    """The splits a study asks for; survival is stratified by the event."""
    asked, stratify = study.splits, stratum_of(study, samples)
    if asked.group is not None and asked.group not in samples.groups.columns:
        choose(
            "splits.group", asked.group, [f"{name}" for name in samples.groups.columns] or ["(data.groups is empty)"]
        )
    groups = None if asked.group is None else samples.groups[asked.group]
    common: dict[str, Any] = {"validation": asked.validation, "seed": study.seed, "stratify": stratify}
    if asked.kind == "hold-out":
        return (hold_out(samples.ids, test=asked.test, groups=groups, **common),)
    if asked.kind == "k-fold":
        return k_fold(samples.ids, k=asked.k, repeats=asked.repeats, groups=groups, **common)
    if groups is None:
        raise StudyError('splits.kind is "leave-one-group-out"; say which group column in splits.group.')
    return leave_one_group_out(samples.ids, groups, **common)

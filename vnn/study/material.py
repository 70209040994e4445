"""Material: what a study reads before it trains: samples, wiring, splits, target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from vnn._errors import AlignmentError, StudyError, choose, culprits
from vnn.data import (
    Samples,
    Split,
    Target,
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
)
from vnn.ontology import Identifiers, Ontology, Topology, load_ontology
from vnn.ontology.log import Entry
from vnn.study.settings import OntologySection, Study, is_file


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
        samples, genes, log = _samples(study)
    except AlignmentError as error:
        error.add_note("In a study file these are keys of [data]: unmatched, samples_in, sample_column, identifiers.")
        raise
    asked = study.ontology
    options = asked.model_dump(include={"min_genes", "max_genes", "collapse", "skips", "gene_level", "depth"})
    topology = ontology_of(asked).topology(samples.features if genes is None else genes, **options)
    topology = replace(topology, log=(*log, *topology.log))
    return Material(samples, topology, _target(study, samples), splits_of(study, samples))


def _samples(study: Study) -> tuple[Samples, Mapping[str, tuple[str, ...]] | None, tuple[Entry, ...]]:
    """Samples, the genes of each feature where they are not the features themselves, and what became of names."""
    data = study.data
    targets = (data.target,) if data.event is None else (data.target, data.event)
    log: list[Entry] = []
    tables: dict[str, Samples] = {}
    genes: dict[str, Mapping[str, tuple[str, ...]]] = {}
    for omics, path in data.files.items():
        table = read_samples(
            path, labels=data.labels, targets=targets, covariates=data.covariates, groups=data.groups,
            samples_in=data.samples_in, sample_column=data.sample_column, layer=data.layer,
            unmatched=data.unmatched, dtype=study.training.dtype,
        )  # fmt: skip
        table = log_cpm(table) if data.log_cpm else table
        known: Mapping[str, tuple[str, ...]] = {name: (name,) for name in table.features}
        if data.identifiers is not None:
            resolved = Identifiers.read(data.identifiers).resolve(table.features)
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
    samples = _labelled(study, samples)
    if data.least_per_class is not None:
        samples = limit_classes(samples, data.target, least=data.least_per_class, rule=data.rare)
    return samples, None if plain else found, tuple(log)


def _labelled(study: Study, samples: Samples) -> Samples:
    names = [name for name in (study.data.target, study.data.event) if name is not None]
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


def ontology_of(asked: OntologySection) -> Ontology:
    """The ontology a study asks for: from the catalogue, a recipe, or a gene-set file."""
    extra = [key for key in ("folder", "release") if getattr(asked, key)]
    if extra and is_file(asked.name) and not asked.name.endswith(".toml"):
        raise StudyError(f"ontology.{extra[0]} is for recipes; {asked.name} is a gene-set file. Leave it out.")
    return load_ontology(asked.name, folder=asked.folder, release=asked.release, **asked.choices)


def splits_of(study: Study, samples: Samples) -> tuple[Split, ...]:
    """The splits a study asks for; survival is stratified by the event."""
    asked, data = study.splits, study.data
    stratify = None
    if asked.stratify and data.event is not None:
        stratify = samples.targets[data.event].astype(str)
    elif asked.stratify and _target(study, samples).classes:
        stratify = samples.targets[data.target].astype(str)
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

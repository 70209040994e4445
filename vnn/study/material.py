"""Material: what a study reads before it trains: samples, wiring, splits, target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from vnn._atomic import sha256
from vnn._errors import AlignmentError, StudyError, choose, culprits
from vnn.chance import generator
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
from vnn.data.genotypes import Cohort, GeneMap, Genotypes
from vnn.data.genotypes.control import FAMILY
from vnn.data.genotypes.reading import genotype_files
from vnn.data.read import columns_beside
from vnn.ontology import Identifiers, Topology, load_topology, read_gennet, read_translation
from vnn.ontology.log import Entry
from vnn.study.cohort import (
    Entered,
    gene_wiring,
    genes_of_paths,
    genes_told_by,
    inputs_of,
    read_people,
    unchanged,
    without_inputs,
)
from vnn.study.kept import (
    COMPONENTS,
    QUALITY,
    QUALITY_PEOPLE,
    QUALITY_VARIANTS,
    VARIANTS,
    component_table,
)
from vnn.study.quality import CONTROL, components_of, controlled
from vnn.study.rivals import check_models
from vnn.study.settings import DataSection, GenotypeSection, OntologySection, Study, is_file
from vnn.training.fitting import fit_for_panels
from vnn.training.null import placed

FEWEST_SHOWN = 5
LOOKED_AT = 1 << 26  # genotypes as numbers
PANELS = "panels"
PARTS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Material:
    """What a study trains on.

    Parameters
    ----------
    samples
        Joined, translated and merged as the study says; of many genotypes a `Cohort`.
    topology
        The wiring over their features; its log holds what became of identifiers as well.
    target
        Of the samples, in their order.
    splits
        Who learns and who is held out.
    kept
        Tables of a genotype study by the name of their file: its variants and components, which new people need, and the account of
        quality control.
    genotypes, genes
        Of a genotype study the variants behind the inputs, packed, in the order of its samples, and their genes.
    """

    samples: Samples | Cohort
    topology: Topology
    target: Target
    splits: tuple[Split, ...]
    kept: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    genotypes: Genotypes | None = None
    genes: GeneMap | None = None


def read_material(study: Study, panels: Path | None = None) -> Material:
    """Read the files of a study and make its wiring and splits.

    Parameters
    ----------
    panels
        Where packed genotypes are written that networks learn from; `panels` in the study's own folder unless given.

    Raises
    ------
    StudyError, AlignmentError, OntologyError, ValueError
        If a file, a column or a label is not as it must be.
    """
    if study.genotypes is None:
        material = _measured(study)
    else:
        with unchanged(genotype_files(study.data.files[""]).values()):
            material = _genotyped(study, study.genotypes, study.output / PANELS if panels is None else panels)
    _keep(study, material)
    return material


@contextmanager
def _noted() -> Iterator[None]:
    """Where names do not meet, say which keys of a study file decide it."""
    try:
        yield
    except AlignmentError as error:
        error.add_note("In a study file these are keys of [data]: unmatched, samples_in, sample_column, identifiers.")
        raise


def _measured(study: Study) -> Material:
    """Of a table of values."""
    with _noted():
        prepared = prepare(study.data, outcomes(study.data), dtype=study.training.dtype)
    samples = _limited(study, _labelled(study, prepared.samples))
    features = samples.features if prepared.genes is None else prepared.genes
    topology = wiring_of(study.ontology, features, study.data.identifiers)
    topology = replace(topology, log=(*prepared.log, *topology.log))
    return Material(samples, topology, _target(study, samples), splits_of(study, samples))


def _genotyped(study: Study, asked: GenotypeSection, panels: Path) -> Material:
    """Of genotypes: first people, then inputs, then the wiring, then what networks learn from."""
    with _noted():
        entered, kept = _entered(study, asked)
    topology = _wired(study, asked, entered)
    people = without_values(entered.genotypes)
    splits = splits_of(study, people)
    samples = entered.samples(asked, set(topology.inputs), splits, panels, seed=study.seed)
    topology = topology.in_order(samples.features)
    return Material(
        samples, topology, _target(study, people), splits, {VARIANTS: entered.inputs, **kept}, entered.genotypes, entered.genes
    )  # fmt: skip


def _wired(study: Study, asked: GenotypeSection, entered: Entered) -> Topology:
    name = study.ontology.name
    if name == "genes":
        topology = gene_wiring(entered.owners)
    elif name.endswith(".csv"):
        topology = without_inputs(read_gennet(name), entered.owners)
    else:
        topology = wiring_of(study.ontology, entered.owners, study.data.identifiers)
    told = () if asked.genes is None else (genes_told_by(asked.genes),)
    return replace(topology, provenance=(*told, *topology.provenance))


def checks_of(study: Study, material: Material) -> tuple[Check, ...]:
    """What should be known of the data of a study; columns of its labels that it does not use are looked at too."""
    data, group = study.data, study.attribution.group
    used = {*outcomes(data), *data.traits, *data.covariates, *data.groups, *(group[:1] if group else ())}
    known = [*data.label_files, *(file for file in data.files.values() if file.suffix == ".h5ad")]
    others = columns_beside(known, used, material.samples.ids, sample_column=data.sample_column)
    samples, looked = material.samples, tuple[Check, ...]()
    if isinstance(samples, Cohort):
        samples, looked = _looked_at(samples, study.seed)
    return (*looked, *data_checks(samples, material.target, splits=material.splits, others=others, seed=study.seed))


def _looked_at(cohort: Cohort, seed: int) -> tuple[Samples, tuple[Check, ...]]:
    """As many variants as memory has room for as numbers, drawn at random, and a check that says so."""
    n = cohort.genotypes.n_variants
    most = max(LOOKED_AT // cohort.n_samples, 1)
    at = np.sort(generator(seed, "data checks", "variants").choice(n, min(n, most), replace=False))
    text = f"What follows looks at {len(at):,} of {n:,} variants, drawn at random, in all {cohort.n_samples:,} people."
    return cohort.some(at), (Check("variants looked at", "note", text, {"variants": len(at)}),) if len(at) < n else ()


def _limited(study: Study, samples: Samples) -> Samples:
    data = study.data
    if data.least_per_class is None:
        return samples
    return limit_classes(samples, data.target, least=data.least_per_class, rule=data.rare)


def _entered(study: Study, asked: GenotypeSection) -> tuple[Entered, dict[str, pd.DataFrame]]:
    """People first: who has a target, passes quality control and is in which part; then components, and the inputs."""
    genotypes = read_people(study.data, asked, outcomes(study.data))
    people = _limited(study, _labelled(study, without_values(genotypes)))
    read = genotypes.variants
    genotypes = genotypes.select(ids=people.ids)
    genotypes = replace(genotypes, targets=people.targets, log=people.log)
    kept: dict[str, pd.DataFrame] = {}
    relatives = None
    if asked.quality is not None:
        controls, told = controls_of(study, people)
        found = controlled(
            genotypes.told(*told), asked.quality, lambda left: splits_of(study, without_values(left)), controls=controls
        )
        genotypes, relatives = found.genotypes, found.relatives if asked.quality.kinship else None
        genotypes = genotypes.told(*_torn(study, genotypes))
        kept |= {QUALITY: found.steps, QUALITY_VARIANTS: found.variants, QUALITY_PEOPLE: found.people}
    if asked.components:
        made = components_of(
            genotypes, asked.components, learners_of(study, genotypes), relatives=relatives, seed=study.seed
        )
        if clash := set(made.scores) & set(genotypes.covariates):
            raise StudyError(
                f"data.covariates name {culprits(sorted(clash))}, and genotypes.components makes columns of these names. Leave one "
                "of them out."
            )
        genotypes = genotypes.joined(covariates=pd.concat([genotypes.covariates, made.scores], axis=1)).told(*made.log)
        kept[COMPONENTS] = component_table(genotypes, made)
    own = None if asked.genes else genes_of_paths(read_gennet(study.ontology.name), read, genotypes)
    return inputs_of(genotypes, asked, learners_of(study, genotypes), own), kept


def _torn(study: Study, genotypes: Genotypes) -> tuple[str, ...]:
    """A line about families that leaving whole groups out tears apart."""
    group, groups = study.splits.group, genotypes.groups
    if study.splits.kind != "leave-one-group-out" or FAMILY not in groups or group not in groups:
        return ()
    n = int((groups.groupby(FAMILY)[group].nunique() > 1).sum())
    return (f"splits: {n:,} families have members in several groups {group!r}, which are held out whole",) if n else ()


def controls_of(study: Study, people: Samples) -> tuple[list[str] | None, tuple[str, ...]]:
    """Who the controls are, and a line that says it; None where there are not two classes.

    They are the class that is called so; where none is or both are, the first.
    """
    target = _target(study, people)
    if len(target.classes) != 2:
        return None, ()
    called = [name for name in target.classes if name.casefold() in CONTROL]
    name = called[0] if len(called) == 1 else target.classes[0]
    ids = [one for one, value in zip(people.ids, target.values, strict=True) if target.classes[value] == name]
    return ids, (f"quality control: controls are the {len(ids):,} of class {name!r}",)


def learners_of(study: Study, genotypes: Genotypes) -> set[str]:
    """The people of training parts, from whom components and codings are learnt.

    With one split nobody who is held out has a say. Of several, such as folds, nearly everybody is in some training part: all
    networks share their covariates, which know no target; components of each fold by itself would be other covariates in each.
    """
    return {name for split in splits_of(study, without_values(genotypes)) for name in split.train}


def without_values(genotypes: Genotypes) -> Samples:
    """What is known of the people, without a feature."""
    nothing = np.empty((0, genotypes.n_people), dtype=np.float32)
    tables = genotypes.targets, genotypes.covariates, genotypes.groups
    return Samples(nothing, (), genotypes.ids, *tables, log=genotypes.log)


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
    log: tuple[Entry, ...] = ()


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
    check_models(study, material)
    if study.nulls.shifted:
        placed(material.topology, places_of(study, material))
    if (group := study.attribution.group) is not None:
        tables = [table for table in (samples.targets, samples.groups, samples.covariates) if group[0] in table.columns]
        if not tables:
            listed = [str(name) for t in (samples.targets, samples.groups, samples.covariates) for name in t.columns]
            choose("the column of attribution.group", group[0], listed)
        choose("the value of attribution.group", group[1], sorted(set(tables[0][group[0]].astype(str))))
    if isinstance(samples, Cohort):
        _fits_panels(study, samples)
    missing = samples.select(material.topology.inputs).missing
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


def _fits_panels(study: Study, cohort: Cohort) -> None:
    """Refuse what packed genotypes cannot follow."""
    try:
        fit_for_panels(cohort, study.network, study.training)
    except ValueError as error:
        raise StudyError(f'{error} Or set genotypes.batches = "numbers", where memory has room for them.') from None
    if study.search.n and study.search.space.input_dropout != "fixed":
        raise StudyError(
            "search.space draws input_dropout, and genotypes that keep their two bits are not dropped one by one. Set "
            'search.space.input_dropout = "fixed".'
        )
    if study.nulls.n_draws("equalised"):
        raise StudyError(
            "nulls.equalised draws inputs of its own, and packed genotypes stay as they are. Leave it out, or set "
            'genotypes.batches = "numbers".'
        )


def places_of(study: Study, material: Material) -> pd.DataFrame | None:
    """Chromosome and position of every input, from the table a study names or its genotypes."""
    if study.nulls.places is not None:
        return read_table(study.nulls.places)
    inputs = material.kept.get(VARIANTS)
    return None if inputs is None else inputs[["chromosome", "position"]]


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


def _target(study: Study, samples: Samples | Cohort) -> Target:
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


def stratum_of(study: Study, samples: Samples | Cohort) -> pd.Series | None:
    """What splits keep the proportions of: the event, the class, or nothing."""
    data = study.data
    if not study.splits.stratify:
        return None
    if data.event is not None:
        return samples.targets[data.event].astype(str)
    return samples.targets[data.target].astype(str) if _target(study, samples).classes else None


def splits_of(study: Study, samples: Samples | Cohort) -> tuple[Split, ...]:
    """The splits a study asks for; survival is stratified by the event."""
    asked, stratify = study.splits, stratum_of(study, samples)
    if asked.group is not None and asked.group not in samples.groups.columns:
        choose(
            "splits.group", asked.group, [f"{name}" for name in samples.groups.columns] or ["(data.groups is empty)"]
        )
    if asked.kind == "given":
        return (given_split(samples, asked.group),)
    groups = together_of(study, samples)
    common: dict[str, Any] = {"validation": asked.validation, "seed": study.seed, "stratify": stratify}
    if asked.kind == "hold-out":
        return (hold_out(samples.ids, test=asked.test, groups=groups, **common),)
    if asked.kind == "k-fold":
        return k_fold(samples.ids, k=asked.k, repeats=asked.repeats, groups=groups, **common)
    if asked.group is None:
        raise StudyError('splits.kind is "leave-one-group-out"; say which group column in splits.group.')
    return leave_one_group_out(samples.ids, samples.groups[asked.group], **common)


def together_of(study: Study, samples: Samples | Cohort) -> pd.Series | None:
    """Who stays in one part of every split: the members of a group, and families that quality control found.

    Groups that share a family become one.
    """
    asked = study.splits.group
    families = None
    if study.genotypes is not None and study.genotypes.quality is not None and FAMILY in samples.groups:
        families = samples.groups[FAMILY]
    if asked is None or families is None or asked == FAMILY:
        return families if asked is None else samples.groups[asked]
    codes = [pd.factorize(column)[0] for column in (samples.groups[asked].astype(str), families)]
    n = codes[0].max() + 1
    links = coo_matrix((np.ones(len(codes[0])), (codes[0], n + codes[1])), shape=(2 * len(families) + n,) * 2)
    joined = connected_components(links, directed=False)[1]
    return pd.Series(joined[codes[0]].astype(str), index=samples.groups.index)


def given_split(samples: Samples | Cohort, group: str | None) -> Split:
    """The one split that a group column states: "train", "validation" and "test", or 1, 2 and 3 as in GenNet's subjects.csv.

    Raises
    ------
    StudyError
        If there is no column, a sample has another word in it, or nobody learns or is held out.
    """
    if group is None:
        raise StudyError(
            'splits.kind is "given"; say in splits.group which group column names the part of each sample.'
        )
    told = samples.groups[group].astype(str).str.strip().str.removesuffix(".0")
    part = told.replace(dict(zip("123", PARTS, strict=True)))
    if (odd := ~part.isin(PARTS)).any():
        raise StudyError(
            f"splits.group is {group!r}, and {odd.sum():,} samples have neither train, validation, test nor 1, 2, 3 in it but "
            f"{culprits(sorted(set(told[odd])))}. Leave them out, or name their part."
        )
    ids = {name: tuple(sorted(part.index[part == name])) for name in PARTS}
    if empty := [name for name in ("train", "test") if not ids[name]]:
        raise StudyError(f"no sample is in the part {culprits(empty)} by the column {group!r}; each needs some.")
    return Split(group, **ids)

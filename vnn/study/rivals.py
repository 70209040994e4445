"""Rivals: the simpler models of a study. Those of genotypes learn from packed rows, those of other values from the samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd

from vnn._atomic import write_csv
from vnn._errors import StudyError, choose
from vnn.data import Samples
from vnn.data.genotypes import Cohort
from vnn.data.genotypes.burden import gene_tests
from vnn.data.genotypes.single_variants import Task, association
from vnn.study.settings import Study
from vnn.training.baselines import DENSE, NETWORKS, ON_REQUEST, applicable, baselines, kept_together
from vnn.training.evaluation import performance
from vnn.training.fitting import Fit
from vnn.training.genotype_baselines import GENE_NETWORKS, TASKS, genotype_baselines, genotype_models
from vnn.training.streamed_ridge import null_of

if TYPE_CHECKING:
    from vnn.study.material import Material

ASSOCIATION, GENE_TESTS, BY_SPLIT = "association.csv.gz", "gene_tests.csv", "gene_networks_by_split.csv"


def known_rivals(material: Material) -> tuple[str, ...]:
    """Names of the simpler models that apply, in the order in which they are shown; those on request are not among them."""
    samples, task = material.samples, material.target.task
    if material.genotypes is None or task not in TASKS:
        return applicable(task, samples, material.topology.inputs)
    covariates = samples.covariates if len(samples.covariates.columns) else None
    return (*genotype_models(task, material.genotypes, covariates), DENSE)


def rivals_of(study: Study, material: Material) -> tuple[str, ...]:
    """Those a study is compared with."""
    if study.compare.models is not None:
        return study.compare.models
    return known_rivals(material)


def check_models(study: Study, material: Material) -> None:
    """Refuse a model that the study asks for and that does not apply.

    Raises
    ------
    StudyError
        If gene networks are asked for where they cannot learn.
    ValueError
        If a model is not known here.
    """
    asked = study.compare.models or ()
    if GENE_NETWORKS in asked and not _has_models(material):
        learnt = "two classes, quantities and survival from genotypes"
        here = "no genotypes" if material.genotypes is None else f"{len(material.target.classes)} classes"
        raise StudyError(
            f"compare.models names {GENE_NETWORKS!r}, which learn {learnt}; here are {here}. Leave the name out, or make a column "
            "of one class against the others and a study of it."
        )
    known = (*known_rivals(material), *ON_REQUEST) if asked else ()
    for model in asked:
        choose("compare.models", model, known)


def measured_rivals(
    material: Material,
    fit: Fit,
    models: Sequence[str],
    tell: Callable[[str], None] = lambda _: None,
    heard: Callable[[str, pd.DataFrame], None] = lambda split, table: None,
) -> pd.DataFrame:
    """Metrics of these models on the test part of every split of a fit; see `vnn.training.baselines`.

    `heard` is told what gene networks say of every gene, split by split.
    """
    samples, genotypes, genes = material.samples, material.genotypes, material.genes
    if genotypes is None or genes is None or fit.target.task not in TASKS:
        return baselines(fit, samples, models)
    known = (*known_rivals(material), *ON_REQUEST)
    for model in models:
        choose("the baseline", model, known)
    networks = baselines(fit, samples, [model for model in models if model in NETWORKS])
    groups = kept_together(fit, samples)
    trained = set(fit.replicates["split"])
    others = genotype_baselines(
        genotypes, genes, _truth(fit),
        [split for split in fit.splits if split.name in trained], task=fit.target.task, covariates=_columns(fit, samples),
        groups=None if groups is None else pd.Series(groups, index=list(samples.ids)), seed=fit.networks.seed,
        models=[model for model in models if model not in NETWORKS], tell=tell, heard=heard,
    )  # fmt: skip
    table = pd.concat([one for one in (others, networks) if len(one)], ignore_index=True) if models else others
    order = {name: i for i, name in enumerate(models)}
    table = table.sort_values("model", key=lambda column: column.map(order), kind="stable", ignore_index=True)
    table.attrs["notes"] = others.attrs["notes"] | networks.attrs["notes"]
    return table


def study_performance(
    study: Study, material: Material, fit: Fit, folder: Path, tell: Callable[[str], None] = lambda _: None
) -> pd.DataFrame:
    """Held-out performance of the networks beside the models the study asks for; see `vnn.training.performance`.

    Where gene networks are among these, `gene_networks_by_split.csv` has their test of every gene in the learners of every split.
    """
    if not _has_models(material):
        return performance(fit, material.samples, baselines=study.compare.models)
    heard: dict[str, pd.DataFrame] = {}
    found = measured_rivals(material, fit, rivals_of(study, material), tell, heard.__setitem__)
    if heard:
        write_csv(folder / BY_SPLIT, pd.concat(heard, names=["split", "gene"]).reset_index(), index=False)
    else:
        (folder / BY_SPLIT).unlink(missing_ok=True)
    return performance(fit, material.samples, rivals=found)


def write_associations(material: Material, fit: Fit, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What a usual association study of all these people finds, variant by variant and gene by gene, for reading beside scores.

    `association.csv.gz` has every variant of the networks, `gene_tests.csv` every gene: see `association` and `gene_tests`.
    Nothing is held out: these are no predictions. Both tables are returned, without rows where there are none.
    """
    samples, genotypes, genes = material.samples, material.genotypes, material.genes
    if genotypes is None or genes is None or not _has_models(material):
        return pd.DataFrame(), pd.DataFrame()
    truth = _truth(fit).reindex(genotypes.ids).to_numpy(dtype=float)
    columns = _columns(fit, samples)
    covariates = np.empty((len(truth), 0)) if columns is None else columns.to_numpy()
    null = null_of(cast(Task, fit.target.task), truth, covariates, np.ones(len(truth), dtype=bool))
    single = association(genotypes, null)
    write_csv(folder / ASSOCIATION, pd.concat([genotypes.variants, single], axis=1).rename_axis("variant"))
    by_gene = gene_tests(genotypes, genes, null)
    write_csv(folder / GENE_TESTS, by_gene)
    return single, by_gene


def _truth(fit: Fit) -> pd.Series | pd.DataFrame:
    made = pd.DataFrame(fit.target.truth, index=list(fit.ids))
    return made if fit.target.task == "cox" else made[0]


def _columns(fit: Fit, samples: Samples | Cohort) -> pd.DataFrame | None:
    if fit.coding is None:
        return None
    return pd.DataFrame(fit.coding.encode(samples.covariates).T, index=list(samples.ids), columns=fit.coding.names)


def _has_models(material: Material) -> bool:
    """Whether there are genotypes, and models of them for this task; others have those of any values."""
    return material.genotypes is not None and material.target.task in TASKS

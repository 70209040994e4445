"""Cohorts of genotypes as a study reads them: coded variants, the genes of each, and what is known of the people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vnn._atomic import sha256
from vnn._errors import StudyError, culprits
from vnn.data import Samples, read_table
from vnn.data.genotypes import (
    Annotation,
    GeneMap,
    Genotypes,
    fam_phenotype,
    fit_coding,
    read_annovar,
    read_gene_ranges,
    read_plink,
    read_variant_genes,
    read_vep,
)
from vnn.data.genotypes.plink import PHENOTYPE
from vnn.ontology import Level, Mask, Topology
from vnn.ontology.measured import Measured
from vnn.ontology.order import ranks
from vnn.study.settings import DataSection, GenotypeSection

MOST_BYTES = 8e9
TABLES: dict[str, Callable[..., Annotation]] = {
    "variants": read_variant_genes,
    "annovar": read_annovar,
    "vep": read_vep,
}


def read_cohort(
    data: DataSection, asked: GenotypeSection, targets: Sequence[str]
) -> tuple[Samples, dict[str, tuple[str, ...]]]:
    """The coded variants of a PLINK fileset that have a gene, and the genes of each column.

    Values stay missing where genotypes are; each training part fills them. The people are those of the labels; without
    labels the target is the phenotype of the .fam.
    """
    ((_, path),) = data.files.items()
    genotypes = read_plink(path, build=asked.build)
    genes = genes_of(genotypes, asked)
    own = genes.features()
    genotypes = _known(genotypes.select(list(own)), data, asked, targets)
    n_bytes = 4 * genotypes.n_variants * genotypes.n_people * (2 if asked.coding == "genotype" else 1)
    if n_bytes > MOST_BYTES:
        raise StudyError(
            f"{genotypes.n_variants:,} variants of {genotypes.n_people:,} people need {n_bytes / 1e9:,.1f} GB as numbers; studies "
            f"take up to {MOST_BYTES / 1e9:.0f}. Choose variants or people with plink --extract or --keep."
        )
    samples = fit_coding(genotypes, asked.coding, missing="nan").apply(genotypes)
    owners = {name: own[name] if name in own else own[name.rpartition(":")[0]] for name in samples.features}
    return replace(samples, log=(*genes.log, *samples.log)), owners


def gene_wiring(features: Mapping[str, Sequence[str]]) -> Topology:
    """Variants to genes, for a study without an ontology: every gene is an output."""
    measured = Measured.of(features)
    place = ranks(measured.genes)
    inputs, genes = Level("inputs", tuple(measured.names)), Level("genes", tuple(sorted(measured.genes)))
    edges = np.stack([measured.feature, place[measured.gene]], axis=1)
    return Topology((inputs, genes), (Mask(inputs.name, genes.name, inputs.nodes, genes.nodes, edges),))


def genes_told_by(file: Path) -> dict[str, Any]:
    """A record of the file that told the genes of variants, for the provenance of a wiring."""
    return {"source": "genes of variants", "files": [{"name": file.name, "role": "genes", "sha256": sha256(file)}]}


def genes_of(genotypes: Genotypes, asked: GenotypeSection) -> GeneMap:
    """The genes of variants, as a study asks for them."""
    if asked.read_as == "ranges":
        ranges = read_gene_ranges(asked.genes, build=asked.build)
        return GeneMap.from_ranges(
            genotypes, ranges, upstream=asked.upstream, downstream=asked.downstream, intergenic=asked.intergenic,
            within=asked.within,
        )  # fmt: skip
    table = TABLES[asked.read_as](asked.genes, build=asked.build)
    return GeneMap.from_annotation(genotypes, table, intergenic=asked.intergenic, within=asked.within)


def _known(genotypes: Genotypes, data: DataSection, asked: GenotypeSection, targets: Sequence[str]) -> Genotypes:
    """With the columns of the labels by their role."""
    if not data.label_files:
        if list(targets) != [PHENOTYPE]:
            raise StudyError(
                f"the target is {culprits(targets)}, and a .fam holds {PHENOTYPE!r} only. Give a table as data.labels."
            )
        told = fam_phenotype(genotypes.people, asked.phenotype).to_frame()
        return genotypes.joined(targets=told, unmatched="drop" if len(told) < genotypes.n_people else "error")
    tables = [read_table(file, sample_column=data.sample_column) for file in data.label_files]
    table = pd.concat([one.set_axis(one.index.map(str)) for one in tables], axis=1)
    roles = {"targets": targets, "covariates": data.covariates, "groups": data.groups}
    if lacking := [name for names in roles.values() for name in names if name not in table.columns]:
        raise StudyError(f"the labels lack the columns {culprits(lacking)}; they have {culprits(table.columns, 20)}.")
    parts = {role: table[list(names)] for role, names in roles.items() if names}
    return genotypes.joined(unmatched=data.unmatched, **parts)

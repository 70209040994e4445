"""Genotypes: from .bed files to packed panels, their quality, and the genes of every variant."""

from vnn.data.genotypes.control import Quality, Thresholds, quality_control
from vnn.data.genotypes.genotypes import Genotypes, Part
from vnn.data.genotypes.hardy import hardy_weinberg
from vnn.data.genotypes.kinship import families, kinship_matrix, relatives, unrelated
from vnn.data.genotypes.linkage import clumped, pruned, r2, r2_between
from vnn.data.genotypes.plink import fam_phenotype, read_plink, write_plink
from vnn.data.genotypes.plink_results import read_eigenvec, read_kinship, read_people_list, read_variant_list
from vnn.data.genotypes.quality import haploid_calls_missing, person_quality, sex_check, variant_quality
from vnn.data.genotypes.structure import Components, principal_components, within

__all__ = [
    "Components",
    "Genotypes",
    "Part",
    "Quality",
    "Thresholds",
    "clumped",
    "fam_phenotype",
    "families",
    "haploid_calls_missing",
    "hardy_weinberg",
    "kinship_matrix",
    "person_quality",
    "principal_components",
    "pruned",
    "quality_control",
    "r2",
    "r2_between",
    "read_eigenvec",
    "read_kinship",
    "read_people_list",
    "read_plink",
    "read_variant_list",
    "relatives",
    "sex_check",
    "unrelated",
    "variant_quality",
    "within",
    "write_plink",
]

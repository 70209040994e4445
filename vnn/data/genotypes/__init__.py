"""Genotypes: from files of any format to packed panels, and the genes of every variant."""

from vnn.data.genotypes.annotated import Annotation, read_annovar, read_regenie, read_variant_genes, read_vep
from vnn.data.genotypes.bgen import read_bgen
from vnn.data.genotypes.burden import gene_tests
from vnn.data.genotypes.calls import hard_called
from vnn.data.genotypes.coding import Coding, fit_coding
from vnn.data.genotypes.control import Quality, Thresholds, quality_control
from vnn.data.genotypes.disequilibrium import clumped, pruned, r2, r2_between
from vnn.data.genotypes.dosages import Dosages, open_dosages
from vnn.data.genotypes.gene_map import GeneMap
from vnn.data.genotypes.gennet import GennetFolder, read_gennet_folder
from vnn.data.genotypes.genotypes import Genotypes, Part
from vnn.data.genotypes.hardy import hardy_weinberg
from vnn.data.genotypes.kinship import families, kinship_matrix, relatives, unrelated
from vnn.data.genotypes.loci import loci
from vnn.data.genotypes.orientation import oriented
from vnn.data.genotypes.pgen import read_pgen
from vnn.data.genotypes.plink import fam_phenotype, read_plink, write_plink
from vnn.data.genotypes.plink_results import read_eigenvec, read_kinship, read_people_list, read_variant_list
from vnn.data.genotypes.quality import haploid_calls_missing, person_quality, sex_check, variant_quality
from vnn.data.genotypes.ranges import (
    GeneRanges,
    read_gene_bed,
    read_gene_list,
    read_gene_ranges,
    read_gene_table,
    read_gtf,
)
from vnn.data.genotypes.reading import read_dosages, read_genotypes
from vnn.data.genotypes.regions import in_regions, ld_regions
from vnn.data.genotypes.simulated import PlantedTruth, SimulatedGenotypes, simulate_genotypes
from vnn.data.genotypes.single_variants import NullModel, association, null_model
from vnn.data.genotypes.store import Store, open_store, write_store
from vnn.data.genotypes.structure import Components, principal_components
from vnn.data.genotypes.traits import Trait
from vnn.data.genotypes.vcf import read_vcf

__all__ = [
    "Annotation",
    "Coding",
    "Components",
    "Dosages",
    "GeneMap",
    "GeneRanges",
    "GennetFolder",
    "Genotypes",
    "NullModel",
    "Part",
    "PlantedTruth",
    "Quality",
    "SimulatedGenotypes",
    "Store",
    "Thresholds",
    "Trait",
    "association",
    "clumped",
    "fam_phenotype",
    "families",
    "fit_coding",
    "gene_tests",
    "haploid_calls_missing",
    "hard_called",
    "hardy_weinberg",
    "in_regions",
    "kinship_matrix",
    "ld_regions",
    "loci",
    "null_model",
    "open_dosages",
    "open_store",
    "oriented",
    "person_quality",
    "principal_components",
    "pruned",
    "quality_control",
    "r2",
    "r2_between",
    "read_annovar",
    "read_bgen",
    "read_dosages",
    "read_eigenvec",
    "read_gene_bed",
    "read_gene_list",
    "read_gene_ranges",
    "read_gene_table",
    "read_gennet_folder",
    "read_genotypes",
    "read_gtf",
    "read_kinship",
    "read_people_list",
    "read_pgen",
    "read_plink",
    "read_regenie",
    "read_variant_genes",
    "read_variant_list",
    "read_vcf",
    "read_vep",
    "relatives",
    "sex_check",
    "simulate_genotypes",
    "unrelated",
    "variant_quality",
    "write_plink",
    "write_store",
]

"""Genotypes: from files of any format to packed panels, and the genes of every variant."""

from vnn.data.genotypes.annotated import Annotation, read_annovar, read_regenie, read_variant_genes, read_vep
from vnn.data.genotypes.bgen import read_bgen
from vnn.data.genotypes.calls import hard_called
from vnn.data.genotypes.coding import Coding, fit_coding
from vnn.data.genotypes.dosages import Dosages, open_dosages
from vnn.data.genotypes.gene_map import GeneMap
from vnn.data.genotypes.gennet import GennetFolder, read_gennet_folder
from vnn.data.genotypes.genotypes import Genotypes, Part
from vnn.data.genotypes.loci import loci
from vnn.data.genotypes.orientation import oriented
from vnn.data.genotypes.pgen import read_pgen
from vnn.data.genotypes.plink import fam_phenotype, read_plink, write_plink
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
from vnn.data.genotypes.store import Store, open_store, write_store
from vnn.data.genotypes.traits import Trait
from vnn.data.genotypes.vcf import read_vcf

__all__ = [
    "Annotation",
    "Coding",
    "Dosages",
    "GeneMap",
    "GeneRanges",
    "GennetFolder",
    "Genotypes",
    "Part",
    "PlantedTruth",
    "SimulatedGenotypes",
    "Store",
    "Trait",
    "fam_phenotype",
    "fit_coding",
    "hard_called",
    "in_regions",
    "ld_regions",
    "loci",
    "open_dosages",
    "open_store",
    "oriented",
    "read_annovar",
    "read_bgen",
    "read_dosages",
    "read_gene_bed",
    "read_gene_list",
    "read_gene_ranges",
    "read_gene_table",
    "read_gennet_folder",
    "read_genotypes",
    "read_gtf",
    "read_pgen",
    "read_plink",
    "read_regenie",
    "read_variant_genes",
    "read_vcf",
    "read_vep",
    "simulate_genotypes",
    "write_plink",
    "write_store",
]

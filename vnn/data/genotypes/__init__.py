"""Genotypes: from files of any format to packed panels, and the genes of every variant."""

from vnn.data.genotypes.bgen import read_bgen
from vnn.data.genotypes.calls import hard_called
from vnn.data.genotypes.dosages import Dosages, open_dosages
from vnn.data.genotypes.gennet import GennetFolder, read_gennet_folder
from vnn.data.genotypes.genotypes import Genotypes, Part
from vnn.data.genotypes.orientation import oriented
from vnn.data.genotypes.pgen import read_pgen
from vnn.data.genotypes.plink import fam_phenotype, read_plink, write_plink
from vnn.data.genotypes.reading import read_dosages, read_genotypes
from vnn.data.genotypes.vcf import read_vcf

__all__ = [
    "Dosages",
    "GennetFolder",
    "Genotypes",
    "Part",
    "fam_phenotype",
    "hard_called",
    "open_dosages",
    "oriented",
    "read_bgen",
    "read_dosages",
    "read_genotypes",
    "read_gennet_folder",
    "read_pgen",
    "read_plink",
    "read_vcf",
    "write_plink",
]

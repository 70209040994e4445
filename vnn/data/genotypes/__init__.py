"""Genotypes: from .bed files to packed panels, and the genes of every variant."""

from vnn.data.genotypes.coding import Coding, fit_coding
from vnn.data.genotypes.genotypes import Genotypes, Part
from vnn.data.genotypes.plink import fam_phenotype, read_plink, write_plink
from vnn.data.genotypes.store import Store, open_store, write_store

__all__ = [
    "Genotypes",
    "Part",
    "read_plink",
    "write_plink",
    "fam_phenotype",
    "Coding",
    "fit_coding",
    "Store",
    "write_store",
    "open_store",
]

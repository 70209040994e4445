"""Genotypes: from .bed files to packed panels, and the genes of every variant."""

from vnn.data.genotypes.genotypes import Genotypes, Part
from vnn.data.genotypes.plink import fam_phenotype, read_plink, write_plink
from vnn.data.genotypes.simulated import PlantedTruth, SimulatedGenotypes, simulate_genotypes
from vnn.data.genotypes.traits import Trait

__all__ = [
    "Genotypes",
    "Part",
    "fam_phenotype",
    "read_plink",
    "write_plink",
    "simulate_genotypes",
    "SimulatedGenotypes",
    "PlantedTruth",
    "Trait",
]

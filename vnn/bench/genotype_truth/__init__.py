"""Planted genotype cohorts: which genes and pathways methods name, how well they predict, and what permuted labels give."""

from vnn.bench.genotype_truth.classical import rivals
from vnn.bench.genotype_truth.cohorts import SCENARIOS, Planted, Size, cohort
from vnn.bench.genotype_truth.evaluation import evaluate, summary, summary_text
from vnn.bench.genotype_truth.ours import VISIBLE, visible_network
from vnn.bench.genotype_truth.paired import PAIRED, paired_genes
from vnn.bench.genotype_truth.pieces import run

__all__ = [
    "PAIRED",
    "SCENARIOS",
    "VISIBLE",
    "Planted",
    "Size",
    "cohort",
    "evaluate",
    "paired_genes",
    "rivals",
    "run",
    "summary",
    "summary_text",
    "visible_network",
]

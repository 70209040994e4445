"""Pathway pairs: genes that matter together with another gene of a pathway, and what their products predict."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import chi2

from vnn.bench.genotype_truth.cohorts import Planted
from vnn.bench.genotype_truth.evaluation import Ranked
from vnn.chance import generator
from vnn.data.genotypes.quality import part_of
from vnn.training.gene_networks import book_of, codes_of, looked_up
from vnn.training.pathway_pairs import pathway_pairs
from vnn.training.streamed_ridge import Columns, streamed_ridge

PAIRED = "pathway pairs"
CALLED = 0.05


def paired_genes(planted: Planted) -> list[Ranked]:
    """Rankings of genes by their best pair with another gene of a pathway, and predictions by the pairs with q < 0.05.

    A gene is as strong as its strongest pair, a pathway as the strongest pair of its genes given how many these are. The best
    variants of every called pair of genes are multiplied, and a ridge beside the covariates predicts.
    """
    found = pathway_pairs(
        planted.genotypes, planted.gene_map, planted.study.pathways, planted.residuals, learners=planted.learners
    )
    return [_ranked(planted, label, table) for label, table in enumerate(found.tables)]


def _ranked(planted: Planted, label: int, table: pd.DataFrame) -> Ranked:
    strength = -chi2.logsf(table["chi2"], 1) - np.log(table["n_pairs"])
    genes = pd.Series(-np.inf, index=list(planted.gene_map.genes))
    for column in ("gene_a", "gene_b"):
        best = pd.Series(np.asarray(strength), index=table[column]).groupby(level=0).max()
        genes = pd.concat([genes, best]).groupby(level=0, sort=False).max()
    pathways = {}
    for name, own in planted.study.pathways.items():
        inside = table["gene_a"].isin(own) & table["gene_b"].isin(own)
        pathways[name] = float(strength[inside].max() - np.log(inside.sum())) if inside.any() else -np.inf
    called = table[table["q"] < CALLED]
    named = frozenset(called["gene_a"]) | frozenset(called["gene_b"])
    return Ranked(PAIRED, label, genes, named, _predicted(planted, label, called), pd.Series(pathways))


def _predicted(planted: Planted, label: int, called: pd.DataFrame) -> np.ndarray | None:
    """Logits of those who are predicted; by covariates alone where no pair is called, none for permuted labels then."""
    if not len(called):
        return None if label else planted.offset[planted.others]
    n, people = len(planted.learners), np.concatenate([planted.learners, planted.others])
    one, two = (_copies(planted, called[column].to_numpy(), people, n) for column in ("variant_a", "variant_b"))
    learners = np.arange(len(people)) < n
    case = planted.case[people]
    if label:
        case[:n] = planted.residuals[:, label] > 0
    model = streamed_ridge(
        "binary", Columns.of(one * two, learners), case, planted.covariates[people], learners,
        chance=generator(planted.seed, "bench genotypes truth pairs", planted.scenario),
    )  # fmt: skip
    return model.predictor[n:]


def _copies(planted: Planted, variants: np.ndarray, people: np.ndarray, n: int) -> np.ndarray:
    """Standardised copies of these variants, (n_variants, n_people)."""
    some, back = np.unique(variants, return_inverse=True)
    held = part_of(planted.genotypes, some)
    codes = np.concatenate([codes_of(rows, held.n_people)[:, people] for _, rows in held.packed()])
    return looked_up(codes, book_of(codes, n))[back]

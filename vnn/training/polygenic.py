"""Polygenic scores by clumping and thresholding: the marginal effects of variants that lead a clump, added up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vnn.data.genotypes.clumping import Linked, linked
from vnn.data.genotypes.coded import standard
from vnn.data.genotypes.genotypes import Genotypes
from vnn.data.genotypes.single_variants import NullModel, Task, association
from vnn.training.ridge import INNER_FOLDS, inner_folds
from vnn.training.streamed_ridge import loss, null_of, strata, varied

THRESHOLDS = (5e-8, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.5, 1.0)
R2, KB = 0.1, 250.0
LINKAGE_PEOPLE = 2000


@dataclass(frozen=True, eq=False)
class PolygenicScore:
    """A polygenic score that was learnt.

    Parameters
    ----------
    predictor
        Linear predictor of covariates and score of everybody; of learners with the score of inner folds that left them out.
    score
        Sum of effects times copies, centred on the learners; learners as above.
    weights
        Effect of a copy of the counted allele, by variant that counts.
    threshold
        Greatest p of a variant that counts; NaN where no threshold predicted better than the covariates alone, and the score is 0.
    inner
        Of each threshold: `threshold`, mean `variants` over inner folds, and the `loss` (minus the log likelihood, or half the
        squared error) of learners by the scores of folds that left them out.
    """

    predictor: np.ndarray
    score: np.ndarray
    weights: pd.Series
    threshold: float
    inner: pd.DataFrame


def polygenic_score(
    task: Task,
    genotypes: Genotypes,
    truth: np.ndarray,
    covariates: np.ndarray,
    learners: np.ndarray,
    *,
    chance: np.random.Generator,
    groups: np.ndarray | None = None,
) -> PolygenicScore:
    """Clumping and thresholding, as PRSice and plink do it, with a p threshold chosen within those who learn.

    Variants are tested one by one given the covariates (`association`) and clumped (r2 above 0.1 within 250 kb, among at most
    2,000 learners); leaders with a p of at most the threshold are weighted by their effects. This is done without each of five
    inner folds and once with all learners. The threshold is the one whose scores of left-out folds, beside the covariates,
    explain learners best; that model of covariates and score also predicts, so that the weight of the score is not learnt from
    people its effects were fitted to.

    Parameters
    ----------
    task, truth, covariates, learners
        As for `null_model`.
    chance
        Deals the inner folds, and draws who is looked at for linkage.
    groups
        A group of each person; inner folds keep groups together.

    Returns
    -------
    `PolygenicScore`.

    References
    ----------
    Purcell et al. 2009, doi:10.1038/nature08185; Choi, Mak and O'Reilly 2020, doi:10.1038/s41596-020-0353-1
    """
    folds = np.full(len(learners), -1)
    folds[learners] = inner_folds(strata(truth)[learners], chance, None if groups is None else groups[learners])
    looked = np.zeros(len(learners), dtype=bool)
    looked[chance.permutation(np.flatnonzero(learners))[:LINKAGE_PEOPLE]] = True
    pairs = linked(genotypes, r2=R2, kb=KB, learners=looked)
    coded = standard(genotypes, learners, scaled=False)
    scores = np.zeros((len(learners), len(THRESHOLDS)))
    counted = []
    for k in range(INNER_FOLDS):
        part = learners & (folds != k)
        if (folds == k).any() and varied(task, truth[part]):
            weights = _weights(genotypes, null_of(task, truth, covariates, part), pairs)
            counted.append((weights != 0).sum(0))
            scores[folds == k] = coded.scores(weights)[folds == k]
    alone = null_of(task, truth, covariates, learners)
    models = [null_of(task, truth, np.column_stack([covariates, score]), learners) for score in scores.T]
    losses = [_explained(model) for model in models]
    useful = [
        value < _explained(alone) and float(alone.residual @ score) > 0
        for value, score in zip(losses, scores.T, strict=True)
    ]
    inner = pd.DataFrame({"threshold": THRESHOLDS, "variants": np.mean(counted, axis=0), "loss": losses})
    if not any(useful):
        nothing = np.zeros(len(learners))
        return PolygenicScore(alone.predictor, nothing, pd.Series(dtype=float), float("nan"), inner)
    best = int(np.argmin(np.where(useful, losses, np.inf)))
    final = _weights(genotypes, alone, pairs)[:, [best]]
    score = np.where(learners, scores[:, best], coded.scores(final)[:, 0])
    together = null_of(task, truth, np.column_stack([covariates, score]), learners).predictor
    at = np.flatnonzero(final[:, 0])
    weights = pd.Series(final[at, 0].astype(float), index=genotypes.variants.index[at], name="effect")
    return PolygenicScore(together, score, weights, THRESHOLDS[best], inner)


def _weights(genotypes: Genotypes, null: NullModel, pairs: Linked) -> np.ndarray:
    """Effects of the variants that count at each threshold, float32 (n_variants, n_thresholds)."""
    table = association(genotypes, null)
    leads = np.zeros(genotypes.n_variants, dtype=bool)
    leads[pairs.leaders(table["statistic"].abs().to_numpy())] = True
    counts = leads[:, None] & (table["p"].to_numpy()[:, None] <= np.array(THRESHOLDS))
    return np.where(counts, table["effect"].to_numpy(dtype=np.float32)[:, None], np.float32(0))


def _explained(model: NullModel) -> float:
    return loss(model.task, model.truth[model.learners], model.predictor[model.learners])

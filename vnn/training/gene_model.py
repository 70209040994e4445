"""Gene model: gene networks judge every gene by those who learn, and the genes that speak predict others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, norm

from vnn.data.genotypes.burden import Genes
from vnn.data.genotypes.genotypes import Genotypes
from vnn.data.genotypes.single_variants import Task
from vnn.training.gene_networks import gene_networks
from vnn.training.ridge import inner_folds
from vnn.training.streamed_ridge import Columns, null_of, strata, streamed_ridge

FOLDS = 4  # with more of them the bulk of the held-out test has p below 0.05 too often
HEARD, SPEAKS = 0.05, 0.2  # greatest p and q of genes that predict


@dataclass(frozen=True, eq=False)
class GeneModel:
    """Gene networks that were learnt, and what they predict together.

    Parameters
    ----------
    predictor
        Linear predictor of covariates and genes of everybody, (n_people,).
    table
        By gene, the strongest first: `n_variants`, `z`, `p`, `q`; see `GeneNetworks.table`.
    heard
        The genes that predict, the strongest first.
    penalty
        Of the ridge model, in units of the mean curvature; NaN where no gene is heard and covariates alone predict.
    """

    predictor: np.ndarray
    table: pd.DataFrame
    heard: tuple[str, ...]
    penalty: float


def gene_model(
    task: Task,
    genotypes: Genotypes,
    genes: Genes,
    truth: np.ndarray,
    covariates: np.ndarray,
    learners: np.ndarray,
    *,
    chance: np.random.Generator,
    groups: np.ndarray | None = None,
) -> GeneModel:
    """Learn a network for every gene and fold of those who learn, test each gene by the folds, and predict from those that speak.

    Genes learn what the covariates leave of the trait: truth minus the probability of a logistic model, truth minus a least-squares
    fit, or the martingale residuals of Cox's model. Four folds of the learners give each of them what a gene says when it learnt
    from the others (`gene_networks`). Genes with q < 0.2 and p < 0.05 enter a ridge model beside the covariates, which are not
    penalised (`streamed_ridge`); its weights are not learnt from people the networks were fitted to. Who does not learn is never
    looked at.

    Parameters
    ----------
    task, truth, covariates, learners
        As for `null_model`.
    genes
        A `GeneMap`, whose nodes for intergenic variants are passed over, or the genes of each variant.
    chance
        Deals the folds.
    groups
        A group of each person; folds keep groups together.
    """
    null = null_of(task, truth, covariates, learners)
    own, others = np.flatnonzero(learners), np.flatnonzero(~learners)
    folds = inner_folds(strata(truth)[own], chance, None if groups is None else groups[own], n=FOLDS)
    found = gene_networks(genotypes, genes, null.residual[own, None], folds, learners=own, others=others, heard=HEARD)
    table = found.table()
    heard = tuple(table.index[(table["q"] < SPEAKS) & (table["p"] < HEARD)])
    if not heard:
        return GeneModel(null.predictor, table, heard, float("nan"))
    row = {found.genes[number]: at for at, number in enumerate(found.kept)}
    at = [row[name] for name in heard]
    said = np.empty((len(at), len(learners)), dtype=np.float32)
    said[:, own], said[:, others] = found.held_out[0, at], found.others[0, at]
    model = streamed_ridge(task, Columns.of(said, learners), truth, covariates, learners, chance=chance, groups=groups)
    return GeneModel(model.predictor, table, heard, model.relative)


def together(splits: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The tests of several splits as one, by gene, the strongest first: `n_variants`, `z`, `p`, `q`, and `z_low`, `z_high`.

    z is the mean over splits. Splits share people, so their z go together, and the mean varies at most as much as each of them:
    p, taken as if it varied as much, is not too small.

    Parameters
    ----------
    splits
        The table of `GeneModel` by split.
    """
    first, *_ = splits.values()
    names = sorted(first.index)
    z = np.stack([table["z"].loc[names].to_numpy() for table in splits.values()])
    mean = z.mean(0)
    p = norm.sf(mean)
    columns = {
        "n_variants": first["n_variants"].loc[names].to_numpy(), "z": mean, "p": p, "q": false_discovery_control(p),
        "z_low": z.min(0), "z_high": z.max(0),
    }  # fmt: skip
    made = pd.DataFrame(columns, index=pd.Index(names, dtype=object, name="gene"))
    return made.sort_values("z", ascending=False, kind="stable")

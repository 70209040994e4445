"""The visible network: variants -> genes, each with a head of its own, -> pathways -> systems -> phenotype."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import norm

from vnn.bench.genotype_truth.cohorts import PHENOTYPE, Planted
from vnn.bench.genotype_truth.evaluation import Ranked
from vnn.data import Samples, Split, hold_out
from vnn.interpret import node_scores
from vnn.training import Training, fit
from vnn.training.gene_networks import GeneNetworks, gene_networks

VISIBLE = "visible network"
CALLED, HEARD, VALIDATION = 0.05, 0.05, 0.15
ABOVE = Training(epochs=30, patience=5, lr=1e-3, batch_size=256)


def visible_network(planted: Planted) -> list[Ranked]:
    """Rankings of genes by their held-out score, for true and permuted labels, and predictions of the whole network.

    Genes learn by heads of their own (`gene_networks`) and are ranked by the held-out score test; a call is q < 0.05. What
    they say of each learner when they learnt from the others is what pathways and systems learn from, by `vnn.fit`: genes whose
    held-out test has p < 0.05, wired by the study's pathways, covariates beside them.
    """
    made = gene_networks(
        planted.genotypes, planted.gene_map, planted.residuals, planted.folds, learners=planted.learners,
        others=planted.others,
    )  # fmt: skip
    found = []
    for label in range(len(made.z)):
        table = made.table(label)
        called = frozenset(table.index[table["q"] < CALLED])
        genes = pd.Series(made.z[label], index=list(made.genes))
        predicted, pathways = _above(planted, made, label)
        found.append(Ranked(VISIBLE, label, genes, called, predicted, pathways))
    return found


def _above(planted: Planted, made: GeneNetworks, label: int) -> tuple[np.ndarray | None, pd.Series | None]:
    """Logits of those who are predicted, and score of each pathway; none where no gene is heard."""
    heard = np.flatnonzero(made.z[label] > norm.isf(HEARD))
    if not len(heard):
        return None, None
    people = np.concatenate([planted.learners, planted.others])
    ids = list(planted.people(people).ids)
    case = planted.case[people]
    if label:
        case[: len(planted.learners)] = planted.residuals[:, label] > 0
    samples = Samples(
        np.concatenate([made.held_out[label, heard], made.others[label, heard]], axis=1),
        tuple(made.genes[at] for at in heard), tuple(ids),
        pd.DataFrame({PHENOTYPE: np.where(case > 0, "case", "control")}, index=ids),
        pd.DataFrame(planted.covariates[people], columns=list(planted.genotypes.covariates.columns), index=ids),
        pd.DataFrame(index=ids),
    )  # fmt: skip
    n = len(planted.learners)
    inner = hold_out(
        ids[:n], test=0, validation=VALIDATION, seed=planted.seed, stratify=samples.targets[PHENOTYPE].iloc[:n]
    )
    split = Split("planted", inner.train, inner.validation, tuple(ids[n:]))
    topology = planted.study.ontology().topology(samples.features, min_genes=1, collapse=False)
    upper = fit(
        topology,
        samples,
        target=PHENOTYPE,
        classes=["control", "case"],
        splits=[split],
        seed=planted.seed,
        training=ABOVE,
    )
    scores = node_scores(upper, samples).table
    scores = scores[scores["node"].isin(list(planted.study.pathways))]
    logits = upper.predict(samples.select(ids=ids[n:])).logits
    return logits.reshape(-1), scores.set_index("node")["share"].abs()

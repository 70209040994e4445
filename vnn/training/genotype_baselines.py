"""Baselines of genotype studies: what simpler models reach on the same splits, from packed rows alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from vnn._errors import AlignmentError, choose, culprits
from vnn.chance import generator
from vnn.data.genotypes.burden import Genes, burdens
from vnn.data.genotypes.coded import Coded, missingness, standard
from vnn.data.genotypes.coding import NONE
from vnn.data.genotypes.genotypes import COPIES, Genotypes
from vnn.data.genotypes.single_variants import Task, association
from vnn.data.splits import Split
from vnn.data.targets import martingale_residuals
from vnn.training.baselines import COLUMNS, COVARIATES, LINEAR, MISSINGNESS, TREES, metric_rows
from vnn.training.gene_model import SPEAKS, gene_model
from vnn.training.metrics import metrics
from vnn.training.polygenic import polygenic_score
from vnn.training.ridge import ridge
from vnn.training.streamed_ridge import Inputs, null_of, streamed_ridge

TASKS = ("binary", "regression", "cox")
SCORE, BURDEN = "polygenic score (clumping and thresholding)", "gene burden"
GENE_NETWORKS = "gene networks"
SCREENED, MOST_VALUES = 5_000, 25_000_000


@dataclass(frozen=True, eq=False)
class GenotypePart:
    """What a baseline is given of one split.

    Parameters
    ----------
    split, seed
        Name of the split and seed of the study; they name what is drawn.
    task
        "binary", "regression" or "cox".
    genotypes
        Of everybody, never expanded as a whole.
    genes
        The genes of each variant.
    learners, tested
        Who is learnt from (training and validation part together), and who is predicted; bool (n_people,).
    truth
        0 or 1, or the quantity, (n_people,); for cox times and events, (n_people, 2). Of others than learners it is not looked at.
    covariates
        Coded covariates of everybody, (n_people, n_columns), possibly without columns.
    groups
        A group of each person, where the splits keep groups together; None otherwise.
    heard
        Told the test of every gene by gene networks.
    """

    split: str
    seed: int
    task: Task
    genotypes: Genotypes
    genes: Genes
    learners: np.ndarray
    tested: np.ndarray
    truth: np.ndarray
    covariates: np.ndarray
    groups: np.ndarray | None = None
    heard: Callable[[pd.DataFrame], None] = lambda table: None

    def chance(self, model: str) -> np.random.Generator:
        """Of the inner folds of a model."""
        return generator(self.seed, "inner folds", model, self.split)


Found = tuple[np.ndarray, str]


def genotype_baselines(
    genotypes: Genotypes,
    genes: Genes,
    truth: pd.Series | pd.DataFrame,
    splits: Sequence[Split],
    *,
    task: str,
    covariates: pd.DataFrame | None = None,
    groups: pd.Series | None = None,
    seed: int = 0,
    models: Sequence[str] | None = None,
    tell: Callable[[str], None] = lambda _: None,
    heard: Callable[[str, pd.DataFrame], None] = lambda split, table: None,
) -> pd.DataFrame:
    """Metrics of simpler models of genotypes on the test part of every split.

    - "covariates only": a linear model of the covariates, when there are any.
    - "missingness only": a ridge model of which genotypes are missing, when some are.
    - "logistic regression", "ridge regression" or "ridge Cox": a ridge model of all variants (additive) and covariates, see
      `vnn.training.streamed_ridge`.
    - "polygenic score (clumping and thresholding)": see `vnn.training.polygenic`.
    - "gene burden": a ridge model of the minor alleles in every gene and covariates, see `vnn.data.genotypes.burden`.
    - "gene networks": a small network for every gene, and a ridge model of those that speak; see `vnn.training.gene_model`.
    - "boosted trees": see `boosted_trees`.

    Everything that is learnt, frequencies and the choice of variants among it, is learnt from training and validation part
    together. Genotypes are read in blocks, where they lie; memory grows with people and with variants, never with their product.

    Parameters
    ----------
    genotypes
        The variants that the networks have, of all people of the splits.
    genes
        A `GeneMap` or the genes of each variant; variants without one are left to the other models.
    truth
        0 or 1, or the quantity, by person id; for cox two columns, times and events.
    splits
        Those without a test part are passed over.
    task
        "binary", "regression" or "cox".
    covariates
        Coded covariates by person id, complete.
    groups
        A group of each person, by id, where the splits keep groups together.
    seed
        Of the study.
    models
        Names of some of these; all that apply unless given.
    tell
        Told what is learnt next.
    heard
        Told the test of every gene by gene networks, split by split; see `GeneModel.table`.

    Returns
    -------
    Columns split, n_test, model, metric, value. `attrs["notes"]` says by name what else is to know of a model.

    Raises
    ------
    ValueError
        If a task or model is not known or does not apply.
    AlignmentError
        If a person of the splits is not in the genotypes, or has no truth or covariates.
    """
    choose("the task", task, TASKS)
    own = cast(Task, task)
    needed = sorted({i for split in splits for i in (*split.train, *split.validation, *split.test)})
    genotypes = genotypes.select(ids=needed)  # in an order that is a matter of names, as chance must be
    known = genotype_models(own, genotypes, covariates)
    wanted = known if models is None else tuple(choose("the baseline", model, known) for model in models)
    _known("truth", truth.dropna().index, needed)
    given = truth.reindex(genotypes.ids).to_numpy(dtype=float)
    columns = np.empty((genotypes.n_people, 0))
    if covariates is not None:
        _known("covariates", covariates.dropna().index, needed)
        columns = covariates.reindex(genotypes.ids).to_numpy(dtype=float)
    kept = None
    if groups is not None:
        _known("groups", groups.dropna().index, needed)
        kept = groups.astype(str).reindex(genotypes.ids).to_numpy()
    rows, notes = [], dict[str, list[str]]()
    for split in splits:
        if not split.test:
            continue
        learners, tested = (np.zeros(genotypes.n_people, dtype=bool) for _ in range(2))
        learners[genotypes.index([*split.train, *split.validation])] = True
        tested[genotypes.index(split.test)] = True
        part = GenotypePart(
            split.name,
            seed,
            own,
            genotypes,
            genes,
            learners,
            tested,
            np.nan_to_num(given),
            np.nan_to_num(columns),
            kept,
            partial(heard, split.name),
        )
        for name in wanted:
            tell(f"{name}, {split.name}")
            values, note = _predicted(name, part)
            rows += metric_rows(split.name, len(split.test), name, metrics(own, given[tested], values))
            notes.setdefault(name, []).append(note)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    order = {name: i for i, name in enumerate(wanted)}
    table = table.sort_values("model", key=lambda column: column.map(order), kind="stable", ignore_index=True)
    table.attrs["notes"] = {
        name: "; ".join(dict.fromkeys(filter(None, told))) for name, told in notes.items() if any(told)
    }
    return table


def genotype_models(task: str, genotypes: Genotypes, covariates: pd.DataFrame | None) -> tuple[str, ...]:
    """Names of the baselines that make sense for these genotypes, in the order in which they are shown."""
    missing = bool(genotypes.counts()[:, NONE].any())
    return (
        *([COVARIATES] if covariates is not None and len(covariates.columns) else []),
        *([MISSINGNESS] if missing else []),
        LINEAR[task],
        SCORE,
        BURDEN,
        GENE_NETWORKS,
        TREES,
    )


def _known(what: str, there: pd.Index, needed: Sequence[str]) -> None:
    lost = [i for i in needed if i not in set(there)] if len(pd.Index(needed).difference(there)) else []
    if lost:
        raise AlignmentError(
            f"`{what}` lacks {len(lost):,} of the {len(needed):,} people of the splits: {culprits(lost)}. Leave them out of the "
            "splits, or complete it."
        )


def _predicted(name: str, part: GenotypePart) -> Found:
    """What a model predicts for those tested; missing where all who learn are of one class."""
    if part.task == "binary" and len(np.unique(part.truth[part.learners])) < 2:
        return np.full((int(part.tested.sum()), 2), np.nan), ""
    return MODELS[name](part)


def _values(part: GenotypePart, predictor: np.ndarray) -> np.ndarray:
    eta = predictor[part.tested]
    return np.stack([expit(-eta), expit(eta)], 1) if part.task == "binary" else eta[:, None]


def covariates_only(part: GenotypePart) -> Found:
    """A linear model of the covariates, as in other studies."""
    groups = None if part.groups is None else part.groups[part.learners]
    learn, test = part.covariates[part.learners], part.covariates[part.tested]
    n_classes = 2 if part.task == "binary" else 0
    truth = part.truth[part.learners]
    truth = truth.astype(int) if n_classes else truth
    return ridge(part.task, n_classes, learn, truth, test, chance=part.chance(COVARIATES), groups=groups), ""


def _streamed(part: GenotypePart, model: str, inputs: Inputs, covariates: np.ndarray) -> Found:
    if not inputs.n_inputs:
        return _values(part, null_of(part.task, part.truth, covariates, part.learners).predictor), "no input varies"
    found = streamed_ridge(
        part.task, inputs, part.truth, covariates, part.learners, chance=part.chance(model), groups=part.groups
    )
    return _values(part, found.predictor), ""


def missingness_only(part: GenotypePart) -> Found:
    """A ridge model of which genotypes are missing."""
    nothing = np.empty((len(part.learners), 0))
    return _streamed(part, MISSINGNESS, missingness(part.genotypes, part.learners), nothing)


def linear_model(part: GenotypePart) -> Found:
    """A ridge model of all variants and covariates."""
    return _streamed(part, LINEAR[part.task], standard(part.genotypes, part.learners), part.covariates)


def gene_burden(part: GenotypePart) -> Found:
    """A ridge model of the minor alleles in every gene and covariates."""
    return _streamed(part, BURDEN, burdens(part.genotypes, part.genes, part.learners), part.covariates)


def clumped_score(part: GenotypePart) -> Found:
    """A polygenic score and covariates."""
    found = polygenic_score(
        part.task,
        part.genotypes,
        part.truth,
        part.covariates,
        part.learners,
        chance=part.chance(SCORE),
        groups=part.groups,
    )
    told = "no threshold better than none" if np.isnan(found.threshold) else f"p up to {found.threshold:g}"
    return _values(part, found.predictor), f"{told}: {len(found.weights):,} variants"


def genes_that_speak(part: GenotypePart) -> Found:
    """Gene networks, and covariates."""
    found = gene_model(
        part.task,
        part.genotypes,
        part.genes,
        part.truth,
        part.covariates,
        part.learners,
        chance=part.chance(GENE_NETWORKS),
        groups=part.groups,
    )
    part.heard(found.table)
    return _values(part, found.predictor), f"{len(found.heard):,} of {len(found.table):,} genes with q below {SPEAKS:g}"


def boosted_trees(part: GenotypePart) -> Found:
    """Gradient-boosted trees of variants and covariates, of the size of those of other studies.

    More than 5,000 variants (fewer where people are many: 25 million genotypes are expanded at most) are first reduced to those
    with the strongest association given the covariates, among those who learn; effects that show only together are then lost.
    """
    most = min(SCREENED, max(MOST_VALUES // part.genotypes.n_people, 1))
    at, note = np.arange(part.genotypes.n_variants), ""
    if len(at) > most:
        null = null_of(part.task, part.truth, part.covariates, part.learners)
        strength = association(part.genotypes, null)["statistic"].abs().fillna(-1).to_numpy()
        at = np.sort(np.argsort(-strength, kind="stable")[:most])
        note = f"of the {most:,} variants with the strongest association among those who learn"
    copies = np.tile(COPIES.astype(np.float32), (part.genotypes.n_variants, 1))
    x = np.concatenate([Coded(part.genotypes, copies).numbers(at).T, part.covariates.astype(np.float32)], axis=1)
    learn, test, truth = x[part.learners], x[part.tested], part.truth[part.learners]
    there = ~np.isnan(learn).all(0)
    learn, test = learn[:, there], test[:, there]
    del x
    drawn = int(generator(part.seed, TREES, part.split).integers(2**31))
    options = {"max_iter": 100, "max_leaf_nodes": 4, "min_samples_leaf": 5, "max_bins": 64, "early_stopping": False}
    if part.task != "binary":
        if part.task == "cox":
            truth = martingale_residuals(truth[:, 0], truth[:, 1])
        model = HistGradientBoostingRegressor(**options, random_state=drawn)
        return model.fit(learn, truth).predict(test)[:, None], note
    model = HistGradientBoostingClassifier(**options, random_state=drawn)
    return model.fit(learn, truth).predict_proba(test), note


MODELS: dict[str, Callable[[GenotypePart], Found]] = {
    COVARIATES: covariates_only,
    MISSINGNESS: missingness_only,
    LINEAR["binary"]: linear_model,
    LINEAR["cox"]: linear_model,
    LINEAR["regression"]: linear_model,
    SCORE: clumped_score,
    BURDEN: gene_burden,
    GENE_NETWORKS: genes_that_speak,
    TREES: boosted_trees,
}

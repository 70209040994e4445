"""Baselines: what simpler models reach on exactly the same splits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from vnn._errors import choose
from vnn.chance import generator
from vnn.data.genotypes import Cohort
from vnn.data.samples import Samples
from vnn.data.scaling import fit_scaling
from vnn.data.targets import martingale_residuals
from vnn.models import Recipe, VisibleNetwork
from vnn.ontology.topology import Level, Mask, Topology
from vnn.training.fitting import Fit, fit
from vnn.training.metrics import metrics
from vnn.training.ridge import ridge

COVARIATES, MISSINGNESS, TREES, MEANS, DENSE, LINEAR_NETWORK = (
    "covariates only", "missingness only", "boosted trees", "pathway means", "dense network", "linear network",
)  # fmt: skip
ON_REQUEST = (LINEAR_NETWORK,)
LINEAR = {
    "binary": "logistic regression",
    "multiclass": "logistic regression",
    "regression": "ridge regression",
    "cox": "ridge Cox",
}
COLUMNS = ("split", "n_test", "model", "metric", "value")
MOST_INPUTS, SCREENED = 50_000, 5_000


@dataclass(frozen=True, eq=False)
class Part:
    """What a baseline is given of one split: samples to learn from, and samples to predict.

    Parameters
    ----------
    split, seed
        Name of the split and seed of the study; they name what is drawn.
    task, n_classes
        "binary", "multiclass", "regression" or "cox", and the number of classes of the study (0 without).
    learn, test
        Raw inputs, NaN where missing, shape (n_samples, n_in); training and validation part are learnt from together.
    learn_covariates, test_covariates
        Coded covariates, shape (n_samples, n_columns), possibly without columns.
    truth
        `Target.truth` of the samples to learn from.
    members
        Which inputs lie below each node of the topology, (n_nodes, n_in).
    groups
        A group of each sample to learn from, where the splits keep groups together; None otherwise.
    """

    split: str
    seed: int
    task: str
    n_classes: int
    learn: np.ndarray
    test: np.ndarray
    learn_covariates: np.ndarray
    test_covariates: np.ndarray
    truth: np.ndarray
    members: sparse.csr_array
    groups: np.ndarray | None = None


def baselines(fit: Fit, samples: Samples | Cohort, models: Sequence[str] | None = None) -> pd.DataFrame:
    """Metrics of baseline models on the test part of every split of a fit.

    - "covariates only": a linear model of the covariates, when there are any.
    - "logistic regression", "ridge regression" or "ridge Cox": a linear model of inputs and covariates. Linear models have a
      ridge penalty chosen in inner folds, see `vnn.training.ridge`.
    - "boosted trees": see `boosted_trees`.
    - "pathway means": a linear model of covariates and the mean z-score of the inputs below every node of the topology.
    - "dense network": the networks' own recipe, settings, seeds and splits with one fully connected hidden level, as wide as
      makes the number of parameters most like that of the visible network.
    - "missingness only": a linear model of which values are missing, when some are.
    - "linear network": on request only: the visible network with identity activations, see `linear_networks`.

    All but the networks, which are stopped as the visible one, learn from training and validation part
    together. Missing values are filled with the mean of these samples; trees keep them as they are.

    Parameters
    ----------
    fit
        Trained networks: splits, target, recipe and settings are theirs.
    samples
        The samples of the fit.
    models
        Names of some of these; all that apply and need no request unless given.

    Returns
    -------
    Columns split, n_test, model, metric, value. `attrs["notes"]` says by name what else is to know of a model.

    Raises
    ------
    ValueError
        If a model is not known or does not apply to this study.
    """
    known = applicable(fit.target.task, samples, fit.topology.inputs)
    wanted = known if models is None else tuple(choose("the baseline", m, (*known, *ON_REQUEST)) for m in models)
    truth = dict(zip(fit.ids, fit.target.truth, strict=True))
    rows = []
    for part, ids in _parts(fit, samples):
        given = np.array([truth[i] for i in ids])
        for name in wanted:
            if name not in NETWORKS:
                values = _predicted(MODELS.get(name, linear_model), part)
                rows += metric_rows(part.split, len(ids), name, metrics(part.task, given, values))
    notes = {}
    for name in NETWORKS:
        if name in wanted:
            made, notes[name] = control_networks(name, fit, samples)
            if (made.replicates["state"] == "diverged").all():
                notes[name] += "; all of them diverged"
            else:
                rows += network_rows(made, samples, name)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    order = {name: i for i, name in enumerate(wanted)}
    table = table.sort_values("model", key=lambda column: column.map(order), kind="stable", ignore_index=True)
    table.attrs["notes"] = notes
    return table


def applicable(task: str, samples: Samples | Cohort, inputs: Sequence[str]) -> tuple[str, ...]:
    """Names of the baselines that make sense for these inputs of the samples, in the order in which they are shown.

    Of packed genotypes those that need no numbers of them; others are in `vnn.training.genotype_baselines`.
    """
    covariates = [COVARIATES] if len(samples.covariates.columns) else []
    if isinstance(samples, Cohort):
        return (*covariates, DENSE)
    missing = bool(samples.select(inputs).missing.any())
    return (
        *covariates,
        *([MISSINGNESS] if missing else []),
        LINEAR[task],
        MEANS,
        TREES,
        DENSE,
    )


def network_rows(fit: Fit, samples: Samples | Cohort, model: str) -> list[dict[str, object]]:
    """The metrics of networks on the test part of every split, averaged over seeds, as rows of a table."""
    prediction = fit.predict(samples)
    values, truth = prediction.values, dict(zip(fit.ids, fit.target.truth, strict=True))
    split_of = dict(zip(fit.replicates["id"], fit.replicates["split"], strict=True))
    rows = []
    for split in fit.splits:
        mine = [r for r, name in enumerate(prediction.replicates) if split_of[name] == split.name]
        if not split.test or not mine:
            continue
        test, given = samples.index(split.test), np.array([truth[i] for i in split.test])
        seeds = pd.DataFrame([metrics(fit.target.task, given, values[test, r]) for r in mine])
        rows += metric_rows(split.name, len(test), model, {str(name): float(x) for name, x in seeds.mean().items()})
    return rows


def metric_rows(split: str, n_test: int, model: str, found: dict[str, float]) -> list[dict[str, object]]:
    """A row per metric."""
    shared = {"split": split, "n_test": n_test, "model": model}
    return [shared | {"metric": name, "value": value} for name, value in found.items()]


def _parts(fit: Fit, samples: Samples | Cohort) -> list[tuple[Part, tuple[str, ...]]]:
    nothing = np.empty((samples.n_samples, 0))
    values = nothing if isinstance(samples, Cohort) else samples.select(fit.topology.inputs).values.T
    columns = nothing if fit.coding is None else fit.coding.encode(samples.covariates).T
    truth = dict(zip(fit.ids, fit.target.truth, strict=True))
    members, groups = _members(fit.topology), kept_together(fit, samples)
    trained = set(fit.replicates["split"])
    parts = []
    for split in fit.splits:
        if not split.test or split.name not in trained:
            continue
        learnt = [*split.train, *split.validation]
        learn, test = samples.index(learnt), samples.index(split.test)
        part = Part(
            split.name, fit.networks.seed, fit.target.task, len(fit.target.classes), values[learn], values[test],
            columns[learn], columns[test], np.array([truth[i] for i in learnt]), members,
            None if groups is None else groups[learn],
        )  # fmt: skip
        parts.append((part, split.test))
    return parts


def kept_together(fit: Fit, samples: Samples | Cohort) -> np.ndarray | None:
    """The group of every sample in the first group column that no split tears apart, None without one."""
    for name in samples.groups.columns:
        column = samples.groups[name].astype(str)
        if column.nunique() < samples.n_samples and not any(
            set(column[list(split.test)]) & set(column[[*split.train, *split.validation]]) for split in fit.splits
        ):
            return column.to_numpy()
    return None


def _members(topology: Topology) -> sparse.csr_array:
    """Which inputs lie below every node above the inputs, copies left out."""
    own = [topology.members[level.name][np.flatnonzero(level.own)] for level in topology.levels[1:]]
    return sparse.csr_array(sparse.vstack(own))


def _predicted(model: Callable[[Part], np.ndarray], part: Part) -> np.ndarray:
    """What a model predicts; missing where all samples it may learn from are of one class."""
    if part.n_classes and len(np.unique(part.truth)) < 2:
        return np.full((len(part.test), part.n_classes), np.nan)
    return model(part)


def _linear(part: Part, what: str, learn: np.ndarray, test: np.ndarray) -> np.ndarray:
    chance = generator(part.seed, "inner folds", what, part.split)
    return ridge(part.task, part.n_classes, learn, part.truth, test, chance=chance, groups=part.groups)


def covariates_only(part: Part) -> np.ndarray:
    """A linear model of the covariates."""
    return _linear(part, COVARIATES, part.learn_covariates, part.test_covariates)


def missingness_only(part: Part) -> np.ndarray:
    """A linear model of which values are missing."""
    return _linear(part, MISSINGNESS, np.isnan(part.learn).astype(float), np.isnan(part.test).astype(float))


def linear_model(part: Part) -> np.ndarray:
    """A linear model of inputs and covariates."""
    scaling = fit_scaling(part.learn.T, method="none", impute="mean")
    learn = np.concatenate([scaling.apply(part.learn.T).T, part.learn_covariates], axis=1)
    test = np.concatenate([scaling.apply(part.test.T).T, part.test_covariates], axis=1)
    return _linear(part, LINEAR[part.task], learn, test)


def pathway_means(part: Part) -> np.ndarray:
    """A linear model of covariates and the mean z-score of the inputs below every node."""
    scaling = fit_scaling(part.learn.T, impute="mean")
    mean = sparse.diags_array(1 / np.diff(part.members.indptr)) @ part.members.astype(float)
    learn = np.concatenate([(mean @ scaling.apply(part.learn.T)).T, part.learn_covariates], axis=1)
    test = np.concatenate([(mean @ scaling.apply(part.test.T)).T, part.test_covariates], axis=1)
    return _linear(part, MEANS, learn, test)


def boosted_trees(part: Part) -> np.ndarray:
    """Gradient-boosted trees of inputs and covariates; for cox of the martingale residuals.

    100 trees of 4 leaves with at least 5 samples, learning rate 0.1, inputs cut into 64 bins; these are not tuned
    to the data, so a patient analyst may get more out of trees. More than 50,000 inputs are first reduced to the 5,000
    whose correlation with the target is strongest in the samples learnt from; effects that show only together are then lost.
    """
    quantity = part.truth
    if part.task == "cox":
        quantity = martingale_residuals(part.truth[:, 0], part.truth[:, 1])
    at = _screened(part, quantity)
    learn = np.concatenate([part.learn[:, at], part.learn_covariates], axis=1)
    test = np.concatenate([part.test[:, at], part.test_covariates], axis=1)
    drawn = int(generator(part.seed, TREES, part.split).integers(2**31))
    options = {"max_iter": 100, "max_leaf_nodes": 4, "min_samples_leaf": 5, "max_bins": 64, "early_stopping": False}
    if not part.n_classes:
        model = HistGradientBoostingRegressor(**options, random_state=drawn)
        return model.fit(learn, quantity).predict(test)[:, None]
    model = HistGradientBoostingClassifier(**options, random_state=drawn)
    found = np.zeros((len(test), part.n_classes))
    found[:, np.unique(quantity)] = model.fit(learn, quantity).predict_proba(test)
    return found


def _screened(part: Part, quantity: np.ndarray) -> np.ndarray:
    """Positions of the inputs boosted trees look at: those with a value in some sample to learn from, the strongest if many."""
    there = np.flatnonzero(~np.isnan(part.learn).all(0))
    if len(there) <= MOST_INPUTS:
        return there
    z = fit_scaling(part.learn.T, impute="mean").apply(part.learn.T)
    wanted = quantity[:, None] == np.arange(part.n_classes) if part.n_classes else quantity[:, None]
    strength = np.abs(z @ (wanted - wanted.mean(0)) / np.maximum(wanted.std(0), 1e-12)).max(1)
    return np.sort(np.argsort(-strength, kind="stable")[:SCREENED])


MODELS: dict[str, Callable[[Part], np.ndarray]] = {
    COVARIATES: covariates_only,
    MISSINGNESS: missingness_only,
    MEANS: pathway_means,
    TREES: boosted_trees,
}


NETWORKS = (DENSE, LINEAR_NETWORK)


def control_networks(name: str, fitted: Fit, samples: Samples | Cohort) -> tuple[Fit, str]:
    """The networks of a name in `NETWORKS`, and their size in words."""
    return (dense_networks if name == DENSE else linear_networks)(fitted, samples)


def dense_networks(fitted: Fit, samples: Samples | Cohort) -> tuple[Fit, str]:
    """Fully connected networks of as many parameters, trained as the visible ones were, and their size in words."""
    recipe = fitted.networks.recipe.model_copy(update={"units": 1})
    inputs, n_targets = fitted.topology.inputs, fitted.target.n_outputs
    n_covariates = fitted.networks.n_covariates
    visible = _n_parameters(fitted.networks)
    one, two = (
        _n_parameters(
            VisibleNetwork(complete_wiring(inputs, n), recipe, n_targets=n_targets, n_covariates=n_covariates)
        )
        for n in (1, 2)
    )
    n_hidden = max(1, round(1 + (visible - one) / (two - one)))
    size = f"{n_hidden:,} hidden nodes, {one + (n_hidden - 1) * (two - one):,} parameters; the visible network has {visible:,}"
    if one > visible:
        size += ", fewer than one fully connected node needs"
    return _trained_alike(fitted, samples, complete_wiring(inputs, n_hidden), recipe), size


def linear_networks(fitted: Fit, samples: Samples | Cohort) -> tuple[Fit, str]:
    """The same wiring with identity activations, trained as the visible networks were, and their size in words.

    Every weight of the visible network has its counterpart, drawn from the same numbers, yet what is computed is a linear
    function of the inputs: what the visible network does better it does by being curved. Batch normalisation stays, which is linear
    once trained.
    """
    recipe = fitted.networks.recipe.model_copy(update={"activation": "linear"})
    size = f"{_n_parameters(fitted.networks):,} parameters, those of the visible network"
    if recipe == fitted.networks.recipe:
        size += ", which is linear itself"
    return _trained_alike(fitted, samples, fitted.topology, recipe), size


def _trained_alike(fitted: Fit, samples: Samples | Cohort, topology: Topology, recipe: Recipe) -> Fit:
    """Other networks with the splits, seeds and settings of the fit."""
    return fit(
        topology, samples, target=fitted.target.name, event=fitted.target.event, splits=fitted.splits,
        n_seeds=int(fitted.replicates["seed"].max()) + 1, recipe=recipe, training=fitted.training, task=fitted.target.task,
        classes=fitted.target.classes or None, seed=fitted.networks.seed,
        only=list(fitted.replicates["id"][fitted.replicates["kind"] == "real"]),
    )  # fmt: skip


def complete_wiring(inputs: tuple[str, ...], n_hidden: int) -> Topology:
    """Every input connected with each of `n_hidden` nodes."""
    hidden = tuple(f"hidden {i:06d}" for i in range(n_hidden))
    pairs = np.stack([np.tile(np.arange(len(inputs)), n_hidden), np.repeat(np.arange(n_hidden), len(inputs))], axis=1)
    levels = Level("inputs", inputs), Level("hidden", hidden)
    return Topology(levels, (Mask("inputs", "hidden", inputs, hidden, pairs),))


def _n_parameters(networks: VisibleNetwork) -> int:
    return sum(parameter.numel() for parameter in networks.parameters()) // networks.n_replicates

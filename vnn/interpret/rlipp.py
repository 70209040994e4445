"""RLIPP: how much better a term's units predict than the units of its children, on samples no network or regression saw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from scipy import stats
from sklearn.linear_model import RidgeCV
from threadpoolctl import threadpool_limits

from vnn._errors import choose
from vnn.data.samples import Samples
from vnn.data.targets import Target
from vnn.interpret.contrast import part_of, residuals
from vnn.models import VisibleNetwork
from vnn.training import Fit
from vnn.training.interval import interval, ratio_of, repeats_of
from vnn.training.metrics import METRIC, score

PENALTIES = np.logspace(-3, 3, 13)
PARTS = ("training", "validation", "both")
SAME_RANKING = (
    "not defined: one unit over the one value of its only child ranks samples as the child does, or in reverse"
)
ONE_UNIT = "one unit is one weighted sum of its children: a gain says that its weights predict better, not that it combines them"
FLAT = "its units or its children's do not vary in a split; those networks do not count"
LEAST = 10


@threadpool_limits.wrap(limits=1)  # many small regressions: a second thread costs more than it brings
def rlipp(fit: Fit, samples: Samples, *, levels: Sequence[str] | None = None, learn: str = "both") -> pd.DataFrame:
    """Relative local improvement in predictive power of every term, on held-out samples.

    In each network a ridge regression predicts a value from the units of the term and another from all units of its
    children (nodes and inputs that lead into it). The penalty of each is chosen by leave-one-out among the samples learnt from,
    and both are measured on the test part of the split. Two values are predicted: the label (0 and 1 by class; the
    martingale residual for survival), measured as predictions are (AUC, macro AUC, C-index; Spearman's correlation for
    a quantity), and the network's own logits (Spearman's, averaged over logits). Power is this measure less what guessing
    gives, gain is the power of the term less that of its children, and RLIPP the gain over the power of the children. Ma et al.
    regress the network's own prediction, in sample, and rank by the ratio alone.

    Parameters
    ----------
    fit
        Trained networks; those that diverged are left out.
    samples
        The samples of the fit.
    levels
        Levels to read; all above the inputs unless given.
    learn
        Samples the regressions learn from: "training" and "validation" part of the split, or "both". Training samples are
        many, but the networks learnt their labels; validation samples only decided when to stop.

    Returns
    -------
    One row per node, by label gain, largest first: level, node, name, n_units, n_children, n_child_units; for "label" and
    "prediction" each `label_power`, `label_children` (power of the children), `label_gain`, `label_low`, `label_high` (corrected
    resampled t interval of the gain over splits, seeds averaged first), `label_rlipp` (missing where the lower end of the interval
    of the children's power is not above 0, as a ratio to nearly nothing says nothing); n_splits and note. A node of one unit
    with one child of one unit has no values. `attrs` hold "label" and "prediction", the names of the measures.

    Raises
    ------
    ValueError
        If the samples are others, a level or part is unknown, networks are wired in their own way, or no split has a test part
        and enough samples to learn from.

    References
    ----------
    Ma et al. (2018), doi:10.1038/nmeth.4627
    """
    choose("`learn`", learn, PARTS)
    if sorted(samples.ids) != list(fit.ids):
        raise ValueError("RLIPP needs the samples the fit was made from; these are others.")
    if fit.networks.wirings:
        raise ValueError(
            "these networks are wired each in its own way, so a term has no children by name; RLIPP needs networks that share the "
            "wiring of their topology, real ones or nulls of the labels."
        )
    known = [stage.level for stage, _ in fit.networks.layers]
    kept = known if levels is None else [choose("the level", level, known) for level in levels]
    found = _by_split(fit, samples, kept, learn)
    if not found:
        raise ValueError(
            f"no split has a test part and at least {LEAST} samples to learn from in {learn!r}, with all classes among them; "
            'make splits such as `k_fold`, or pass learn="both".'
        )
    rows = _rows(fit, kept, {key: np.stack([one[key] for one in found]) for key in found[0]})
    table = pd.DataFrame(rows)
    table = table.iloc[np.argsort(-table["label_gain"].fillna(-np.inf), kind="stable")].reset_index(drop=True)
    table.attrs = {"label": _measure(fit.target), "prediction": "Spearman's correlation"}
    return table


Powers = dict[tuple[str, str, str], np.ndarray]


def _by_split(fit: Fit, samples: Samples, levels: Sequence[str], learn: str) -> list[Powers]:
    """By level, what is predicted and from which side ("node", "children"), the power of every node, a table for each split."""
    at = {name: i for i, name in enumerate(fit.ids)}
    names = fit.replicates["split"].to_numpy()[fit.sound]
    prediction = fit.predict(samples)
    found = []
    for split in fit.splits:
        replicates = np.flatnonzero(names == split.name).tolist()
        learnt = {"training": split.train, "validation": split.validation, "both": (*split.train, *split.validation)}
        ids = [*learnt[learn], *split.test]
        n = len(learnt[learn])
        truth = part_of(fit.target, np.array([at[i] for i in ids], dtype=np.int64))
        if not replicates or not split.test or n < LEAST or not _all_classes(truth, n):
            continue
        values, covariates, networks = fit.columns(samples.select(ids=ids), replicates)
        levels_of = _levels(networks, values, covariates)
        logits = prediction.logits[samples.index(ids)][:, replicates]
        parts = [_of_network(networks, levels_of, levels, r, truth, logits[:, r], n) for r in range(len(replicates))]
        found.append({key: _mean([part[key] for part in parts]) for key in parts[0]})
    return found


def _all_classes(truth: Target, n: int) -> bool:
    if truth.events is not None:
        return bool(truth.events[:n].any())
    return len(np.unique(truth.values[:n])) > 1 and (not truth.classes or set(truth.values) <= set(truth.values[:n]))


@torch.no_grad()
def _levels(network: VisibleNetwork, values: torch.Tensor, covariates: torch.Tensor | None) -> dict[str, np.ndarray]:
    """Values of every level, inputs scaled, (n_units, R, n_samples)."""
    signal = network.beside(network.signal(values), covariates)
    found = {network.topology.levels[0].name: network.scaling.apply_to(signal)} | network.trace(signal)["activation"]
    return {level: held[:, :, : signal.n_samples].double().numpy() for level, held in found.items()}


def _of_network(
    network: VisibleNetwork,
    values: dict[str, np.ndarray],
    levels: Sequence[str],
    r: int,
    truth: Target,
    logits: np.ndarray,
    n: int,
) -> Powers:
    label = _outcomes(truth, n)
    wanted = np.concatenate([label, logits[:n]], axis=1)
    found: Powers = {}
    for stage, _ in network.layers:
        if stage.level not in levels:
            continue
        children = _children(network, stage.level)
        own = _rows_of(network, stage.level)
        for node in range(len(stage.nodes)):
            sides = {
                "node": values[stage.level][own[node], r].T,
                "children": np.concatenate([values[source][rows, r] for source, rows in children[node].items()]).T,
            }
            for side, design in sides.items():
                fitted = _ridge(design[:n], wanted, design[n:])
                powers = (np.nan, np.nan)
                if fitted is not None:
                    powers = (
                        _label_power(part_of(truth, np.arange(n, len(truth.values))), fitted[:, : label.shape[1]]),
                        float(np.mean([_spearman(a, b) for a, b in zip(fitted[:, label.shape[1] :].T, logits[n:].T, strict=True)])),
                    )  # fmt: skip
                for what, power in zip(("label", "prediction"), powers, strict=True):
                    found.setdefault((stage.level, what, side), np.full(len(stage.nodes), np.nan))[node] = power
    return found


def _outcomes(truth: Target, n: int) -> np.ndarray:
    """What the regressions of the label learn, a column per class, or one, (n, n_columns)."""
    learnt = part_of(truth, np.arange(n))
    if len(truth.classes) == 2:
        return learnt.values[:, None].astype(float)
    if truth.classes:
        return (learnt.values[:, None] == np.arange(len(truth.classes))).astype(float)
    return residuals(learnt)[:, None]


def _ridge(learn: np.ndarray, wanted: np.ndarray, test: np.ndarray) -> np.ndarray | None:
    """Predictions for the test part, a penalty of its own for every column; None where nothing varies."""
    spread = learn.std(0)
    varies = spread > 1e-9 * max(float(np.abs(learn).max(initial=0.0)), 1e-300)
    if not varies.any() or not np.isfinite(learn).all():
        return None
    centre, spread = learn[:, varies].mean(0), spread[varies]
    model = RidgeCV(alphas=PENALTIES * len(learn), alpha_per_target=True)
    model.fit((learn[:, varies] - centre) / spread, wanted)
    return np.asarray(model.predict((test[:, varies] - centre) / spread)).reshape(len(test), -1)


def _label_power(truth: Target, fitted: np.ndarray) -> float:
    if truth.task == "regression":
        return _spearman(fitted[:, 0], truth.values)
    values = np.concatenate([-fitted, fitted], axis=1) if truth.task == "binary" else fitted
    return score(truth.task, truth.truth, values) - 0.5


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    """The correlation of ranks; 0 for a prediction that is the same for all, missing for a constant truth."""
    if len(b) < 3 or np.ptp(b) == 0:
        return np.nan
    return 0.0 if np.ptp(a) == 0 else float(stats.spearmanr(a, b).statistic)


def _measure(target: Target) -> str:
    return "Spearman's correlation" if target.task == "regression" else f"{METRIC[target.task]} - 0.5"


def _rows_of(network: VisibleNetwork, level: str) -> list[np.ndarray]:
    """The units of every node of a level."""
    units = network.own_units(level)
    return np.split(np.arange(units.sum()), np.cumsum(units)[:-1])


def _children(network: VisibleNetwork, level: str) -> list[dict[str, np.ndarray]]:
    """By source level the units that lead into each node."""
    stage = next(stage for stage, _ in network.layers if stage.level == level)
    found: list[dict[str, np.ndarray]] = [{} for _ in stage.nodes]
    for source, edges in stage.edges.items():
        rows = _rows_of(network, source)
        for node in np.unique(edges[:, 1]):
            found[node][source] = np.concatenate([rows[child] for child in edges[edges[:, 1] == node, 0]])
    return found


def _mean(values: list[np.ndarray]) -> np.ndarray:
    """Mean over seeds, missing where no network has a value."""
    stacked = np.stack(values)
    counted = (~np.isnan(stacked)).sum(0)
    return np.where(counted > 0, np.nansum(stacked, axis=0) / np.maximum(counted, 1), np.nan)


def _rows(fit: Fit, levels: Sequence[str], powers: Powers) -> list[dict[str, object]]:
    network, names = fit.networks, fit.topology.names
    ratio, repeats = ratio_of(fit.splits), repeats_of(fit.splits)
    rows: list[dict[str, object]] = []
    for stage, _ in network.layers:
        if stage.level not in levels:
            continue
        children = _children(network, stage.level)
        units = network.own_units(stage.level)
        columns: dict[str, np.ndarray] = {}
        for what in ("label", "prediction"):
            own, below = powers[stage.level, what, "node"], powers[stage.level, what, "children"]
            gain, low, high = interval(own - below, ratio, repeats=repeats)
            child, child_low, _ = interval(below, ratio, repeats=repeats)
            known = ~np.isnan(gain) & (np.where(np.isnan(child_low), child, child_low) > 0)
            columns |= {
                f"{what}_power": interval(own, ratio)[0], f"{what}_children": child, f"{what}_gain": gain,
                f"{what}_low": low, f"{what}_high": high,
                f"{what}_rlipp": np.where(known, gain / np.where(known, child, 1.0), np.nan),
            }  # fmt: skip
        counted = (~np.isnan(powers[stage.level, "label", "node"] - powers[stage.level, "label", "children"])).sum(0)
        n_splits = len(powers[stage.level, "label", "node"])
        for j, node in enumerate(stage.nodes):
            n_child_units = sum(map(len, children[j].values()))
            same = units[j] == 1 and n_child_units == 1
            values = {name: np.nan if same else float(column[j]) for name, column in columns.items()}
            note = ONE_UNIT if units[j] == 1 else ""
            note = FLAT if counted[j] < n_splits else note
            rows.append(
                {
                    "level": stage.level, "node": node, "name": names.get(node, node), "n_units": int(units[j]),
                    "n_children": _n_children(network, stage.edges, j), "n_child_units": n_child_units, **values,
                    "n_splits": 0 if same else int(counted[j]), "note": SAME_RANKING if same else note,
                }
            )  # fmt: skip
    return rows


def _n_children(network: VisibleNetwork, edges: dict[str, np.ndarray], node: int) -> int:
    return int(sum((pairs[:, 1] == node).sum() for pairs in edges.values()))

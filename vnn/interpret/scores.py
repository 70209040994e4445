"""Node scores: how much more a node pushes towards a class in its members than in the others, on held-out samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vnn.data.genotypes import Cohort
from vnn.data.samples import Samples
from vnn.data.targets import Target
from vnn.interpret.attribution import batches, check_completeness
from vnn.interpret.axis import node_names, per_node
from vnn.interpret.baseline import Baseline, baseline_of
from vnn.interpret.batch import mean_of
from vnn.interpret.contrast import Contrast, contrasts, part_of
from vnn.interpret.deeplift import PREDICTION, DeepLift
from vnn.models.network import COVARIATES
from vnn.training import Fit
from vnn.training.interval import interval, ratio_of


@dataclass(frozen=True, eq=False)
class NodeScores:
    """Scores of all nodes, what edges carry, and how complete the attributions were.

    Parameters
    ----------
    table
        One row per contrast and node, covariates and inputs included: level, node, name, contrast, score, share, share_low,
        share_high, mean_abs, mean_abs_share, n_splits.
    flows
        One row per contrast and edge: source_level, source, target_level, target, flow; heads are the target level
        "prediction". The flows into a node sum to its score, and so do the flows out of it.
    completeness
        Per level the largest gap between the sum over its cut and the difference of the logits: level, largest_error, scale.
    baseline
        What the samples were compared with, in words.
    """

    table: pd.DataFrame
    flows: pd.DataFrame
    completeness: pd.DataFrame
    baseline: str


def node_scores(
    fit: Fit,
    samples: Samples | Cohort,
    *,
    baseline: str | np.ndarray | pd.Series = "mean",
    group: tuple[str, str] | None = None,
    n_draws: int = 10,
) -> NodeScores:
    """The score of every node for every class, from samples that its network never saw.

    The score is the difference between classes of the mean signed attribution (for a quantity the slope of the
    attribution on it, for survival on the martingale residual), in each network over the test part of its split,
    averaged over seeds, then over splits. Its share is the score over the sum of absolute scores of its level: networks
    with large logits then count like others. `mean_abs` is the mean absolute attribution. A score says what the networks
    use; whether chance would give as much needs null networks.

    Parameters
    ----------
    fit
        Trained networks; those that diverged are left out.
    samples
        The samples of the fit.
    baseline, group, n_draws
        See `baseline_of`.

    Returns
    -------
    `NodeScores`, by level and then |share|, largest first; shares of different levels do not compare. A contrast whose two
    sides no test part holds has missing scores. The interval of a
    share is the corrected resampled t interval over splits; it is missing with one split.

    Raises
    ------
    ValueError
        If the samples are others, or no test part holds both sides of any contrast.
    RuntimeError
        If contributions do not sum to the difference of the logits.
    """
    if sorted(samples.ids) != list(fit.ids):
        raise ValueError("node scores need the samples the fit was made from; these are others.")
    asked = contrasts(fit.target)
    reference = baseline_of(fit, baseline, background=samples, group=group, n_draws=n_draws)
    tally = _Tally(fit, asked)
    at = {name: i for i, name in enumerate(fit.ids)}
    names = fit.replicates["split"].to_numpy()[fit.sound]
    for split in fit.splits:
        replicates = np.flatnonzero(names == split.name).tolist()
        if not len(replicates) or not split.test:
            continue
        part = samples.select(ids=split.test)
        truth = part_of(fit.target, np.array([at[i] for i in split.test]))
        tally.add(part, truth, replicates, reference.of(replicates))
    if not tally.scores:
        raise ValueError(
            "no test part holds samples of both sides of any contrast, so scores are not defined; use stratified splits, "
            "or splits that do not follow the target."
        )
    return tally.result(reference.text)


class _Tally:
    """Sums over the samples of every split, kept per contrast and level."""

    def __init__(self, fit: Fit, asked: tuple[Contrast, ...]) -> None:
        self.fit, self.asked = fit, asked
        self.scores: dict[tuple[str, str], list[np.ndarray]] = {}
        self.sizes: dict[tuple[str, str], list[np.ndarray]] = {}
        self.carried: dict[tuple[str, str, str], list[np.ndarray]] = {}
        self.gaps: dict[str, float] = {}
        self.scale = 0.0
        self.nodes: dict[str, tuple[str, ...]] = {}

    def add(self, part: Samples | Cohort, truth: Target, replicates: list[int], reference: Baseline) -> None:
        values, covariates, networks = self.fit.columns(part, replicates)
        machine = DeepLift(networks)
        self.machine = machine
        weights = {c.name: u for c in self.asked if (u := c.sample_weights(truth)) is not None}
        vectors = {c.name: torch.from_numpy(c.logits) for c in self.asked if c.name in weights}
        score: dict[tuple[str, str], Tensor] = {}
        size: dict[tuple[str, str], Tensor] = {}
        carried: dict[tuple[str, str, str], Tensor] = {}
        for batch, at in batches(machine, values, covariates, reference):
            n = len(at)
            for name, u in weights.items():
                here = torch.from_numpy(u[at])
                explained = [machine.explain(comparison, vectors[name]) for comparison in batch]
                check_completeness(explained)
                for one in explained:
                    for level, gap in one.missed().items():
                        self.gaps[level] = max(self.gaps.get(level, 0.0), float(gap[:, :n].abs().max()))
                    self.scale = max(self.scale, float(one.difference[:, :n].abs().max()))
                for level in explained[0].levels:
                    found = per_node(machine.network, level, mean_of(explained, level))[:, :, :n].double()
                    _add(score, (name, level), (found * here).sum(-1))
                    _add(size, (name, level), found.abs().sum(-1) / len(u))
                for comparison, one in zip(batch, explained, strict=True):
                    for ends, flow in machine.flows(comparison, one, here).items():
                        _add(carried, (name, *ends), flow.double().mean(1) / len(batch))
        for level in (*machine.order, *([COVARIATES] if networks.n_covariates else [])):
            self.nodes[level] = node_names(self.fit, machine.network, level)
        for key in score:
            self.scores.setdefault(key, []).append(score[key].mean(1).numpy())
            self.sizes.setdefault(key, []).append(size[key].mean(1).numpy())
        for path, flow in carried.items():
            self.carried.setdefault(path, []).append(flow.numpy())

    def result(self, text: str) -> NodeScores:
        ratio = ratio_of(self.fit.splits)
        names = self.fit.topology.names
        tables, flows = [], []
        for contrast in self.asked:
            for level, nodes in self.nodes.items():
                nothing = [np.full(len(nodes), np.nan)]
                by_split = np.stack(self.scores.get((contrast.name, level), nothing))
                score, size = by_split.mean(0), np.stack(self.sizes.get((contrast.name, level), nothing)).mean(0)
                centre, low, high = interval(_shares(by_split), ratio)
                share = _shares(score[None])[0]
                columns = {
                    "level": level,
                    "node": nodes,
                    "name": [names.get(node, node) for node in nodes],
                    "contrast": contrast.name,
                    "score": score,
                    "share": share,
                    "share_low": share + (low - centre),
                    "share_high": share + (high - centre),
                    "mean_abs": size,
                    "mean_abs_share": _shares(size[None])[0],
                    "n_splits": len(self.scores.get((contrast.name, level), ())),
                }
                tables.append(pd.DataFrame(columns))
            flows += self._flows(contrast.name)
        table = pd.concat(tables, ignore_index=True)
        table = table.assign(
            order=table["level"].map({level: i for i, level in enumerate(self.nodes)}), size=-table["share"].abs()
        )
        table = table.sort_values(["order", "size"], kind="stable", ignore_index=True).drop(columns=["order", "size"])
        gaps = pd.DataFrame([(level, gap, self.scale) for level, gap in self.gaps.items()],
                            columns=["level", "largest_error", "scale"])  # fmt: skip
        return NodeScores(table, pd.concat(flows, ignore_index=True), gaps, text)

    def _flows(self, contrast: str) -> list[pd.DataFrame]:
        network = self.machine.network
        stages = {stage.level: stage for stage, _ in network.layers}
        found = []
        for (name, source, target), by_split in self.carried.items():
            if name != contrast:
                continue
            flow = np.mean(by_split, axis=0)
            sources = np.array(self.nodes[source], dtype=object)
            if target == PREDICTION:
                per_unit = np.repeat(np.arange(len(sources)), network.own_units(source))
                ends = (sources, np.full(len(sources), PREDICTION, dtype=object))
                flow = np.bincount(per_unit, weights=flow, minlength=len(sources))
            else:
                edges = stages[target].edges[source]
                block = network.own_units(source)[edges[:, 0]] * network.own_units(target)[edges[:, 1]]
                flow = np.add.reduceat(flow, np.cumsum(block) - block)
                ends = (sources[edges[:, 0]], np.array(self.nodes[target], dtype=object)[edges[:, 1]])
            columns = {"contrast": contrast, "source_level": source, "source": ends[0], "target_level": target,
                       "target": ends[1], "flow": flow}  # fmt: skip
            found.append(pd.DataFrame(columns))
        if COVARIATES in self.nodes and (contrast, COVARIATES) in self.scores:
            score = np.stack(self.scores[contrast, COVARIATES]).mean(0)
            columns = {"contrast": contrast, "source_level": COVARIATES, "source": self.nodes[COVARIATES],
                       "target_level": PREDICTION, "target": PREDICTION, "flow": score}  # fmt: skip
            found.append(pd.DataFrame(columns))
        return found


Key = TypeVar("Key")


def _add(into: dict[Key, Tensor], key: Key, value: Tensor) -> None:
    into[key] = into[key] + value if key in into else value


def _shares(values: np.ndarray) -> np.ndarray:
    """Each row over the sum of its absolute values; 0 where all are 0."""
    total = np.abs(values).sum(1, keepdims=True)
    return values / np.where(total > 0, total, 1.0)

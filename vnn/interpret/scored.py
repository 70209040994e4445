"""Scores of every node in every network, real and null: what a verdict is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vnn._atomic import replacing
from vnn._errors import AlignmentError, culprits
from vnn.data.genotypes import Cohort
from vnn.data.samples import Samples
from vnn.data.splits import half_of
from vnn.data.targets import Target
from vnn.interpret.attribution import check_completeness
from vnn.interpret.axis import node_names, per_node
from vnn.interpret.baseline import baseline_of
from vnn.interpret.batch import Batch, batches_of
from vnn.interpret.contrast import Contrast, contrasts, part_of
from vnn.interpret.deeplift import DeepLift
from vnn.interpret.gradients import deeplift
from vnn.interpret.methods import Method, method_of
from vnn.interpret.stability import NetworkScores
from vnn.kernels import PackedPeople
from vnn.training import Fit

NETWORKS = ["kind", "draw", "split", "seed", "half"]
FLAT = 1e-12


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of all nodes above the inputs, of networks one by one.

    A score is the difference between classes of the mean signed attribution (the slope for a quantity, for survival on the
    martingale residual) over the held-out samples of the network, with the labels it learnt, **in standard deviations of its
    logit over these samples**: what the node adds to how well the network separates the classes. Networks with large
    logits, or that stopped early, then count like others; a network that predicts nothing has small scores, and nodes of
    different levels compare.

    Parameters
    ----------
    nodes
        level, node, name, a row each; covariates have the level "covariates".
    contrasts
        In words.
    networks
        A row per network: kind ("real", a null or "half_samples"), draw (number of the draw, or of the pair of halves), split,
        seed, half ("a" or "b" of a pair).
    values
        By method, (n_contrasts, n_networks, n_nodes); missing where one side of a contrast is not among the samples.
    correlations
        Of the attribution itself with the labels over the same samples, by method, same shape: whether what a node adds goes with
        the label at all, however little it adds. A node that adds the same to everybody has 0.
    separation
        The same of the logit itself, (n_contrasts, n_networks).
    baseline
        What the samples were compared with, in words.
    """

    nodes: pd.DataFrame
    contrasts: tuple[str, ...]
    networks: pd.DataFrame
    values: dict[str, np.ndarray]
    correlations: dict[str, np.ndarray]
    separation: np.ndarray
    baseline: str

    def of(self, kind: str) -> Scored:
        """The networks of one kind."""
        at = np.flatnonzero(self.networks["kind"] == kind)
        return replace(
            self,
            networks=self.networks.iloc[at].reset_index(drop=True),
            values={method: held[:, at] for method, held in self.values.items()},
            correlations={method: held[:, at] for method, held in self.correlations.items()},
            separation=self.separation[:, at],
        )

    def draws(self, kind: str, method: str, *, correlations: bool = False) -> np.ndarray:
        """One row per draw, (n_draws, n_contrasts, n_nodes): means over the seeds of a split, then over splits.

        The real networks are one draw. Draws of which a network diverged are means of the others.
        """
        held = self.of(kind)
        of = (held.correlations if correlations else held.values)[method]
        table = held.networks.assign(draw=held.networks["draw"].fillna(-1))
        found = []
        for _, draw in table.groupby("draw"):
            splits = [mean(of[:, part.index], 1) for _, part in draw.groupby("split")]
            found.append(mean(np.stack(splits), 0))
        shape = (0, len(self.contrasts), len(self.nodes))
        return np.stack(found) if found else np.empty(shape)

    def by_network(self, contrast: int, method: str) -> NetworkScores:
        """The real networks and those of half-samples, as `stability` takes them."""
        kinds = self.networks["kind"].isin(["real", "half_samples"])
        at = np.flatnonzero(kinds & np.isfinite(self.values[method][contrast]).all(1))
        table = self.networks.iloc[at]
        halves = table["kind"] == "half_samples"
        named = pd.DataFrame(
            {
                "seed": table["seed"],
                "split": table["split"],
                "pair": table["draw"].where(halves),
                "half": table["half"].where(halves),
            }
        )
        return NetworkScores(
            self.values[method][contrast, at], tuple(self.nodes["node"]), tuple(self.nodes["level"]), named
        )

    @classmethod
    def join(cls, parts: Sequence[Scored]) -> Scored:
        """Several tables of the same nodes, contrasts and methods, one below the other.

        Raises
        ------
        AlignmentError
            If they are not of the same nodes: attributions of another topology.
        """
        first = parts[0]
        for other in parts[1:]:
            if (
                not first.nodes[["level", "node"]].equals(other.nodes[["level", "node"]])
                or first.contrasts != other.contrasts
            ):
                ours, theirs = (set(zip(p.nodes["level"], p.nodes["node"], strict=True)) for p in (first, other))
                raise AlignmentError(
                    f"scores of {len(first.nodes):,} and of {len(other.nodes):,} nodes do not belong together; they differ in "
                    f"{culprits(sorted(f'{a}/{b}' for a, b in ours ^ theirs)) or 'order or contrasts'}. Score networks of one "
                    "topology."
                )
        values, correlations = (
            {m: np.concatenate([getattr(part, name)[m] for part in parts], axis=1) for m in first.values}
            for name in ("values", "correlations")
        )
        return cls(
            first.nodes,
            first.contrasts,
            pd.concat([part.networks for part in parts], ignore_index=True),
            values,
            correlations,
            np.concatenate([part.separation for part in parts], axis=1),
            first.baseline,
        )

    def beside(self, other: Scored) -> Scored:
        """The same networks with the scores of further methods, missing for networks the other table does not have."""
        ours, theirs = (pd.MultiIndex.from_frame(one.networks.astype(str)) for one in (self, other))
        at = ours.get_indexer(theirs)
        if (at < 0).any() or self.contrasts != other.contrasts or not self.nodes.equals(other.nodes):
            raise AlignmentError(
                f"scores of {len(ours):,} and {len(theirs):,} networks do not belong together: {int((at < 0).sum()):,} of the "
                "second are not among the first, or their nodes or contrasts differ. Score the same networks."
            )
        values, correlations = dict(self.values), dict(self.correlations)
        for mine, added in ((values, other.values), (correlations, other.correlations)):
            for method, held in added.items():
                mine[method] = np.full((held.shape[0], len(ours), held.shape[2]), np.nan)
                mine[method][:, at] = held
        return replace(self, values=values, correlations=correlations)

    def save(self, path: Path) -> None:
        """Write to a file, whole or not at all."""
        held = BytesIO()
        np.savez_compressed(
            held,
            separation=self.separation,
            nodes=self.nodes.astype(str).to_numpy(dtype=np.str_),
            contrasts=np.array(self.contrasts, dtype=np.str_),
            networks=self.networks.astype(object).where(self.networks.notna(), "").astype(str).to_numpy(dtype=np.str_),
            baseline=np.array(self.baseline),
            methods=np.array(list(self.values), dtype=np.str_),
            **{f"values {i}": held for i, held in enumerate(self.values.values())},  # type: ignore[arg-type]
            **{f"correlations {i}": held for i, held in enumerate(self.correlations.values())},  # type: ignore[arg-type]
        )
        with replacing(path) as part:
            part.write_bytes(held.getvalue())

    @classmethod
    def load(cls, path: Path) -> Scored:
        """What `save` wrote."""
        with np.load(path) as held:
            networks = pd.DataFrame(held["networks"], columns=NETWORKS).astype(object)
            networks["draw"] = pd.to_numeric(networks["draw"].replace("", None)).astype("Int64")
            networks["seed"] = networks["seed"].astype(int)
            networks["half"] = networks["half"].replace("", None)
            return cls(
                pd.DataFrame(held["nodes"].astype(object), columns=["level", "node", "name"]),
                tuple(held["contrasts"].tolist()),
                networks,
                {str(name): held[f"values {i}"] for i, name in enumerate(held["methods"])},
                {str(name): held[f"correlations {i}"] for i, name in enumerate(held["methods"])},
                held["separation"],
                str(held["baseline"]),
            )


def scored(
    fit: Fit,
    samples: Samples | Cohort,
    *,
    methods: Sequence[str | Method] = ("deeplift",),
    baseline: str | np.ndarray | pd.Series = "mean",
    group: tuple[str, str] | None = None,
    n_draws: int = 10,
    without: Sequence[str] = (),
) -> Scored:
    """Score every node above the inputs in every network of a fit, on the samples it never saw.

    Parameters
    ----------
    fit
        Real networks, networks of half-samples, or those of a null; those that diverged are left out.
    samples
        The samples of the fit.
    methods
        Names of `vnn.interpret.methods.METHODS`, or methods with settings of your own.
    baseline, group, n_draws
        See `baseline_of`.
    without
        Inputs that are set to their training mean first, so that no node can speak through them.

    Raises
    ------
    AlignmentError
        If `without` names inputs the networks do not have.
    ValueError
        If the samples are not those of the fit.
    """
    if sorted(samples.ids) != list(fit.ids):
        raise ValueError("scores need the samples the fit was made from; these are others.")
    place = {name: i for i, name in enumerate(fit.topology.inputs)}
    if unknown := [name for name in without if name not in place]:
        raise AlignmentError(f"`without` names {len(unknown)} inputs the networks do not have: {culprits(unknown)}.")
    silent = [place[name] for name in without]
    asked, how = contrasts(fit.target), [method_of(method) for method in methods]
    reference = baseline_of(fit, baseline, background=samples, group=group, n_draws=n_draws)
    rows = fit.replicates.iloc[fit.sound].reset_index(drop=True)
    at = {name: i for i, name in enumerate(fit.ids)}
    names: list[tuple[str, str]] = []
    values: dict[str, np.ndarray] = {}
    correlations: dict[str, np.ndarray] = {}
    separation = np.full((len(asked), len(rows)), np.nan)
    for split in fit.splits:
        replicates = np.flatnonzero(rows["split"] == split.name)
        if not len(replicates) or not split.test:
            continue
        part = samples.select(ids=split.test)
        columns, covariates, network = fit.columns(part, replicates.tolist())
        if silent:
            columns = _without(columns, silent)
            network.imputes = True
        weights = _weights(fit, asked, replicates, np.array([at[i] for i in split.test]))
        machine = DeepLift(network, above=all(method.function is deeplift for method in how))
        tally = _Tally(machine, how, asked, weights)
        for batch in batches_of(machine, columns, covariates, reference.of(replicates.tolist())):
            tally.add(batch)
        if not names:
            names = [(level, node) for level in tally.levels for node in node_names(fit, network, level)]
            values, correlations = (
                {method.name: np.full((len(asked), len(rows), len(names)), np.nan) for method in how} for _ in range(2)
            )
        for method in how:
            values[method.name][:, replicates], correlations[method.name][:, replicates] = tally.scores(method)
        separation[:, replicates] = tally.separation()
    topology = fit.topology.names
    nodes = pd.DataFrame(
        [(level, node, topology.get(node, node)) for level, node in names], columns=["level", "node", "name"]
    )
    return Scored(
        nodes, tuple(c.name for c in asked), _networks(rows), values, correlations, separation, reference.text
    )


def _without(columns: Tensor | PackedPeople, silent: Sequence[int]) -> Tensor | PackedPeople:
    """With the values of some inputs missing."""
    if isinstance(columns, PackedPeople):
        book = columns.codebook.clone()
        book[silent] = torch.nan
        return columns.coded(book)
    columns[silent] = torch.nan
    return columns


def mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Of the values that are there; missing where none is."""
    there = np.isfinite(values)
    n = there.sum(axis)
    found: np.ndarray = np.where(there, values, 0.0).sum(axis) / np.where(n > 0, n, np.nan)
    return found


def _networks(rows: pd.DataFrame) -> pd.DataFrame:
    kind, draw = rows["kind"].astype(object), rows.get("draw", pd.Series([None] * len(rows)))
    halves = pd.DataFrame(
        [half_of(split) or (None, None) for split in rows["split"]], rows.index, ["pair", "half"], dtype=object
    )
    whole = halves["pair"].isna()
    kind = kind.where(whole | (kind != "real"), "half_samples")
    draw = pd.to_numeric(draw).where(whole, pd.to_numeric(halves["pair"]))
    return pd.DataFrame(
        {
            "kind": kind,
            "draw": draw.astype("Int64"),
            "split": rows["split"],
            "seed": rows["seed"],
            "half": halves["half"].where(~whole, None),
        }
    )


def _weights(fit: Fit, asked: Sequence[Contrast], replicates: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Weights of the samples of a test part, (n_contrasts, R, n_samples), by the labels each network learnt; NaN if undefined."""
    found = np.full((len(asked), len(replicates), len(at)), np.nan)
    made: dict[bytes, np.ndarray] = {}
    for j, r in enumerate(fit.sound[replicates]):
        truth = _learnt(fit, int(r))
        key = np.ascontiguousarray(truth.truth).tobytes()
        if key not in made:
            part = part_of(truth, at)
            own = [contrast.sample_weights(part) for contrast in asked]
            made[key] = np.stack([np.full(len(at), np.nan) if u is None else u for u in own])
        found[:, j] = made[key]
    return found


def _learnt(fit: Fit, replicate: int) -> Target:
    """The target with the labels that a network learnt."""
    if fit.labels is None:
        return fit.target
    own = fit.labels[replicate]
    if fit.target.events is not None:
        return replace(fit.target, values=own[:, 0], events=own[:, 1])
    return replace(fit.target, values=own.astype(fit.target.values.dtype))


class _Tally:
    """Weighted sums over the test part of a split."""

    def __init__(
        self, machine: DeepLift, how: Sequence[Method], asked: Sequence[Contrast], weights: np.ndarray
    ) -> None:
        network = machine.network
        self.network, self.how, self.asked = network, how, asked
        self.levels = [stage.level for stage, _ in network.layers]
        self.weights = torch.from_numpy(weights)
        self.sums: dict[tuple[str, int], Tensor] = {}
        self.logits = torch.full_like(self.weights, torch.nan)

    def add(self, batch: Batch) -> None:
        """One batch more."""
        n = batch.n_samples
        for c, contrast in enumerate(self.asked):
            u = self.weights[c][:, batch.at]
            vector = torch.from_numpy(contrast.logits)
            self.logits[c][:, batch.at] = batch.difference(vector)[:, :n].double()
            for method in self.how:
                explained = method.explain(batch, vector)
                check_completeness([explained], method.completeness)
                parts = [per_node(self.network, level, explained.levels[level])[:, :, :n] for level in self.levels]
                held = torch.cat(parts).double()
                total = torch.stack([(held * u).sum(-1), held.sum(-1), held.square().sum(-1)])
                key = (method.name, c)
                self.sums[key] = self.sums[key] + total if key in self.sums else total

    def _spread(self, c: int) -> Tensor:
        sd = self.logits[c].std(1, correction=0)
        return torch.where(sd > FLAT, sd, torch.inf)

    def scores(self, method: Method) -> tuple[np.ndarray, np.ndarray]:
        """Scores and correlations, (n_contrasts, R, n_nodes)."""
        scores, correlations = [], []
        for c, u in enumerate(self.weights):
            with_label, total, square = self.sums[method.name, c]
            n = u.shape[1]
            spread = square - total**2 / n
            labels = u.square().sum(1) - u.sum(1) ** 2 / n
            size = torch.where(spread > FLAT * square, spread * labels, torch.inf).sqrt()
            scores.append((with_label / self._spread(c)).T.numpy())
            correlations.append(((with_label - total * u.mean(1)) / size).T.numpy())
        return np.stack(scores), np.stack(correlations)

    def separation(self) -> np.ndarray:
        """Of the logit itself, (n_contrasts, R)."""
        return np.stack(
            [((own * self.weights[c]).sum(1) / self._spread(c)).numpy() for c, own in enumerate(self.logits)]
        )

"""Ablation: how the prediction changes when nodes are set to the values they have on the baseline.

One node is set, everything above it is computed again. Setting node i changes only what stands above it, so all
nodes are set at once in an expanded wiring whose units are pairs (i, a), a above i, with

    h(i, a) = h(a) + sum over sources c of a that are i or above i of  w(c, a) d(i, c)
    d(i, a) = activation(h(i, a)) - activation(h(a)),    d(i, i) = reference(i) - value(i),

which runs on the sparse product like any level; chunks of nodes keep it in memory. `ablation_by_loop` does the same one
node after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch import Tensor

from vnn._errors import AlignmentError, culprits
from vnn.data.samples import Samples
from vnn.interpret.axis import node_names
from vnn.interpret.baseline import Baseline, baseline_of
from vnn.interpret.batch import among, reference_signal
from vnn.interpret.contrast import contrasts
from vnn.interpret.deeplift import DeepLift, Explained
from vnn.kernels import Graph, sparse_product, transposed_product
from vnn.kernels.graph import weight_rows
from vnn.layers import BatchNorm, Signal
from vnn.layers.normalisation import EPSILON
from vnn.models import VisibleNetwork
from vnn.models.network import COVARIATES
from vnn.training import Fit

VALUES_AT_ONCE, PAIRS_KEPT, SAMPLES_AT_ONCE = 2**24, 2**22, 256


@dataclass(frozen=True, eq=False)
class Ablated(Explained):
    """What the contrast of the logits owes to each node: with the node as it is, minus with the node as on the reference.

    The units of a node are set together; its effect is spread evenly over them. Effects do not sum to the difference, so
    completeness is not defined: `passing`, `multipliers`, `direct` are empty.
    """

    def missed(self) -> dict[str, Tensor]:
        """Nothing: ablation has no completeness to miss."""
        return {}


@dataclass(frozen=True, eq=False)
class Values:
    """Values of every unit on a batch of samples and how far these are from the reference, in the inner layout.

    Parameters
    ----------
    sample
        By level, inputs as scaled, (n_units, R, batch).
    product
        By level above the inputs, after normalisation and before activation.
    delta
        By level, covariates too where there are any, sample minus reference.
    logits
        Difference of the deployed logits, (n_targets, R, batch).
    n_samples
        Samples of the batch; columns behind them are padding.
    rounding
        As in `Comparison`.
    early
        What covariates add to the products of the first level, where nodes read them.
    """

    sample: dict[str, Tensor]
    product: dict[str, Tensor]
    delta: dict[str, Tensor]
    logits: Tensor
    n_samples: int
    rounding: float
    early: Tensor | None = None


@torch.no_grad()
def values_of(
    machine: DeepLift,
    signal: Signal,
    reference: Signal,
    covariates: Tensor | None = None,
    reference_covariates: Tensor | None = None,
) -> Values:
    """Both passes through a network.

    Parameters
    ----------
    machine
        Holds the network.
    signal, reference, covariates, reference_covariates
        As for `DeepLift.compare`.
    """
    compared = machine.compare(signal, reference, covariates, reference_covariates)
    network, training = machine.network, machine.network.training
    network.eval()
    try:
        held = network.trace(signal)
    finally:
        network.train(training)
    sample = {machine.inputs: network.scaling.apply_to(signal)} | held["activation"]
    early = network.entering(signal) if network.early else None
    return Values(
        sample, held["normalisation"], compared.delta, compared.logits, compared.n_samples, compared.rounding, early
    )


@torch.no_grad()
def change(network: VisibleNetwork, values: Values, where: Mapping[str, Tensor]) -> Tensor:
    """Change of the deployed logits when units take their reference values, (n_targets, R, batch).

    Parameters
    ----------
    where
        By level, covariates among them, which units do: bool, broadcast to (n_units, R, batch). Different samples and
        replicates may have different ones.
    """
    held, early = dict(values.sample), values.early
    moved = where[COVARIATES] * values.delta[COVARIATES] if COVARIATES in where else None
    changed = moved is not None and early is not None
    training = network.training
    network.eval()
    try:
        if moved is not None and early is not None:
            early = early - network.early_linear({COVARIATES: moved}, {})
        for i, level in enumerate(values.sample):
            if i and changed:
                stage, linear = network.layers[i - 1]
                h = linear(held, {})
                if i == 1 and early is not None:
                    h = h + early
                held[stage.level] = network.activations[i - 1](network.norms[i - 1](h, None) if network.norms else h)
            if level in where:
                changed = True
                held[level] = torch.where(where[level], values.sample[level] - values.delta[level], held[level])
        found = torch.zeros_like(values.logits)
        if changed:
            for linear in network.head_layers:
                found += (linear(held, {}) - linear(values.sample, {})) / len(network.head_layers)
        if moved is not None:
            weight = network.covariate_linear.weights[0].view(network.n_targets, network.n_covariates, -1)
            found -= torch.einsum("tcr,crb->trb", weight, moved)
    finally:
        network.train(training)
    return found * network.output_scale[:, :, None]


def ablation(
    network: VisibleNetwork,
    signal: Signal,
    reference: Signal,
    covariates: Tensor | None,
    reference_covariates: Tensor | None,
    contrast: Tensor,
) -> Ablated:
    """The effect of every input, node and covariate on a contrast of the logits, each ablated alone.

    For several batches of one network make an `Ablation` and keep it: it prepares the wiring once.

    Parameters
    ----------
    network
        Any number of replicates, each in a wiring of its own if need be; read in evaluation mode.
    signal, reference, covariates, reference_covariates
        As for `DeepLift.compare`.
    contrast
        Weight of each logit, (n_targets,).

    Raises
    ------
    TypeError
        If the network holds a module without a rule.
    """
    machine = Ablation(network)
    return machine.explain(machine.values(signal, reference, covariates, reference_covariates), contrast)


def ablation_by_loop(
    network: VisibleNetwork,
    signal: Signal,
    reference: Signal,
    covariates: Tensor | None,
    reference_covariates: Tensor | None,
    contrast: Tensor,
) -> Ablated:
    """As `ablation`, one node after the other: the plain form, thousands of passes for a network of thousands of nodes."""
    values = values_of(DeepLift(network), signal, reference, covariates, reference_covariates)
    weights = contrast.to(network.output_scale)
    levels = {}
    for level, delta in values.delta.items():
        units = network.own_units(level)
        node = torch.from_numpy(np.repeat(np.arange(len(units)), units)).to(delta.device)
        rows = []
        for i, k in enumerate(units.tolist()):
            effect = -torch.einsum("t,trb->rb", weights, change(network, values, {level: (node == i)[:, None, None]}))
            rows += [effect / k] * k
        levels[level] = torch.stack(rows)
    difference = torch.einsum("t,trb->rb", weights, values.logits)
    return Ablated(levels, {}, difference, {}, {}, values.rounding)


class Ablation:
    """One network whose nodes are to be ablated, all at once.

    Parameters
    ----------
    network
        Any number of replicates; read in evaluation mode, its own mode is restored.

    Raises
    ------
    TypeError
        If the network holds a module without a rule.
    """

    def __init__(self, network: VisibleNetwork) -> None:
        self.machine = DeepLift(network)
        self.network = network
        self.wirings = [_Expansion(network, replicates) for replicates in _alike(network)]

    def values(
        self,
        signal: Signal,
        reference: Signal,
        covariates: Tensor | None = None,
        reference_covariates: Tensor | None = None,
    ) -> Values:
        """Both passes; see `values_of`."""
        return values_of(self.machine, signal, reference, covariates, reference_covariates)

    @torch.no_grad()
    def explain(self, values: Values, contrast: Tensor, *, only: Mapping[str, Sequence[int]] | None = None) -> Ablated:
        """The effect of every node on a contrast of the logits.

        Parameters
        ----------
        values
            Of `values`.
        contrast
            Weight of each logit, (n_targets,).
        only
            By level the positions of the nodes that are ablated, the effects of others missing; all unless given.
        """
        network = self.network
        weights = contrast.to(network.output_scale)
        upstream = weights[:, None] * network.output_scale
        read: dict[str, Tensor] = {}
        for linear in network.head_layers:
            for source, graph, weight in linear.parts():
                found = transposed_product((upstream / len(network.head_layers))[:, :, None], weight, graph)
                read[source] = read[source] + found if source in read else found
        folded = _folded(network)
        training = network.training
        network.eval()
        try:
            blank = 0.0 if only is None else torch.nan
            levels = {level: torch.full_like(delta, blank) for level, delta in values.delta.items()}
            for level, nodes in (only or {}).items():
                units = network.own_units(level)
                levels[level][torch.from_numpy(np.isin(np.repeat(np.arange(len(units)), units), nodes))] = 0.0
            for expansion in self.wirings:
                expansion.add(levels, values, folded, read, only)
        finally:
            network.train(training)
        if network.early:
            alone = torch.eye(network.n_covariates, dtype=torch.bool)[:, :, None, None]
            lost = [torch.einsum("t,trb->rb", weights, change(network, values, {COVARIATES: one})) for one in alone]
            levels[COVARIATES] = -torch.stack(lost)
        elif network.n_covariates:
            late = network.covariate_linear.weights[0].view(network.n_targets, network.n_covariates, -1)
            levels[COVARIATES] = torch.einsum("tr,tcr->cr", upstream, late)[:, :, None] * values.delta[COVARIATES]
        difference = torch.einsum("t,trb->rb", weights, values.logits)
        return Ablated(levels, {}, difference, {}, {}, values.rounding)


@dataclass(frozen=True, eq=False)
class KnockOut:
    """What setting some nodes to their baseline values together does to the prediction of each sample.

    Parameters
    ----------
    ids, replicates
        Names along the two axes of `logit` and `probability`.
    nodes
        (level, node) of what was set.
    contrast, baseline
        Which prediction, and the values the nodes were set to, in words.
    logit
        Change of the contrast of the logits, after minus before, (n_samples, R); for a quantity in its own units.
    probability
        Change of the calibrated probability of the class, (n_samples, R); None for quantities and survival.
    held_out
        Whether the replicate never saw the sample in training, (n_samples, R).
    observed
        Class of each sample where it is known; None without classes.
    """

    ids: tuple[str, ...]
    replicates: tuple[str, ...]
    nodes: tuple[tuple[str, str], ...]
    contrast: str
    baseline: str
    logit: np.ndarray
    probability: np.ndarray | None
    held_out: np.ndarray
    observed: np.ndarray | None

    def table(self, *, held_out: bool = True) -> pd.DataFrame:
        """One row per sample: mean change over replicates, its standard deviation over them, and how many count.

        Columns logit, logit_sd, probability (for classes), n_replicates.

        Parameters
        ----------
        held_out
            Let only replicates count that held the sample out; a sample nobody held out gets missing values.
        """
        counts = self.held_out if held_out else np.ones_like(self.held_out)
        n = counts.sum(1)
        mean = _mean(self.logit, counts)
        spread = np.where(counts, (self.logit - mean[:, None]) ** 2, 0.0).sum(1)
        columns = {"logit": mean, "logit_sd": np.sqrt(np.where(n > 1, spread / np.maximum(n - 1, 1), np.nan))}
        if self.probability is not None:
            columns["probability"] = _mean(self.probability, counts)
        return pd.DataFrame(columns | {"n_replicates": n}, index=pd.Index(self.ids, name="sample"))

    def summary(self, *, held_out: bool = True) -> pd.DataFrame:
        """One row for all samples and one per observed class.

        Columns samples ("all" or the class), n_samples, logit (mean change), sd (over samples), falls (share of samples whose
        contrast falls), probability (mean change, for classes).

        Parameters
        ----------
        held_out
            As for `table`.
        """
        table = self.table(held_out=held_out)
        table = table[table["n_replicates"] > 0]
        groups = {"all": np.ones(len(table), dtype=bool)}
        if self.observed is not None:
            observed = pd.Series(self.observed, index=pd.Index(self.ids)).loc[table.index].to_numpy()
            groups |= {str(name): observed == name for name in sorted({str(o) for o in observed if o is not None})}
        rows = []
        for name, members in groups.items():
            part = table[members]
            row: dict[str, object] = {
                "samples": name,
                "n_samples": len(part),
                "logit": part["logit"].mean(),
                "sd": part["logit"].std(),
                "falls": (part["logit"] < 0).mean() if len(part) else np.nan,
            }
            if "probability" in part:
                row["probability"] = part["probability"].mean()
            rows.append(row)
        return pd.DataFrame(rows)


def knock_out(
    fit: Fit,
    samples: Samples,
    nodes: Sequence[str | tuple[str, str]],
    *,
    baseline: str | np.ndarray | pd.Series = "mean",
    background: Samples | None = None,
    group: tuple[str, str] | None = None,
    label: str | None = None,
    n_draws: int = 10,
) -> KnockOut:
    """Set several inputs or terms to their baseline values together, and predict again.

    It says what the networks would predict, not what would become of a person: what a gene or pathway drives elsewhere
    stays as it was measured.

    Parameters
    ----------
    fit
        Trained networks; those that diverged are left out.
    samples
        Whose prediction is changed; features join by name.
    nodes
        Ids, or readable names that are unique, of inputs, terms and covariate columns; (level, id) where an id stands in
        several levels.
    baseline, background, group, n_draws
        See `baseline_of`; the background is `samples` unless given. A term is set to the value it has on the baseline. The
        changes are averaged over the draws.
    label
        The class that is meant; for two classes the second, for more it must be given.

    Raises
    ------
    AlignmentError
        If a node is not in the networks, or its name means several.
    ValueError
        If no node is named, or a class must be chosen.
    """
    asked = contrasts(fit.target, label)
    if len(asked) > 1:
        raise ValueError(
            f"there are {len(asked)} classes; say which one is meant: label={fit.target.classes[0]!r}, ..."
        )
    reference = baseline_of(fit, baseline, background=background or samples, group=group, n_draws=n_draws)
    columns, covariates, networks = fit.columns(samples)
    machine = DeepLift(networks)
    chosen = _found(fit, networks, nodes)
    where = {}
    for level in dict.fromkeys(level for level, _ in chosen):
        units = networks.own_units(level)
        mine = {node for name, node in chosen if name == level}
        member = np.isin(np.array(node_names(fit, networks, level), dtype=object), list(mine))
        where[level] = torch.from_numpy(np.repeat(member, units))[:, None, None]
    changes = [
        torch.stack([change(networks, one, where) for one in batch])[..., : batch[0].n_samples].permute(0, 3, 2, 1)
        for batch in batches_of_values(machine, columns, covariates, reference)
    ]
    found = torch.cat(changes, dim=1).double().numpy()
    before = fit.predict(samples)
    probability: np.ndarray | None = None
    observed: np.ndarray | None = None
    if fit.target.classes:
        at = fit.target.classes.index(asked[0].label)
        after = [replace(before, logits=before.logits + one).values[..., at] for one in found]
        probability = np.mean(after, axis=0) - before.values[..., at]
        observed = _observed(fit, samples)
    return KnockOut(
        samples.ids,
        before.replicates,
        tuple(chosen),
        asked[0].name,
        reference.text,
        found.mean(0) @ asked[0].logits,
        probability,
        before.held_out,
        observed,
    )


def batches_of_values(
    machine: DeepLift, columns: Tensor, covariates: Tensor | None, reference: Baseline
) -> Iterator[list[Values]]:
    """The samples in batches, each beside every draw of the baseline.

    Parameters
    ----------
    machine
        Holds the networks.
    columns
        Raw inputs (n_in, n_samples), NaN where missing.
    covariates
        Coded columns (n_samples, n_columns), or None.
    reference
        For the replicates of the machine's network.
    """
    network = machine.network
    drawn = [reference_signal(network, draw) for draw in reference.values]
    late = None if reference.covariates is None else torch.from_numpy(reference.covariates)
    for at in torch.arange(columns.shape[1]).split(SAMPLES_AT_ONCE):
        mine = None if covariates is None else covariates[at]
        signal = network.beside(network.signal(columns[:, at]), mine)
        yield [values_of(machine, signal, among(signal, draw), mine, late) for draw in drawn]


def _found(fit: Fit, network: VisibleNetwork, nodes: Sequence[str | tuple[str, str]]) -> list[tuple[str, str]]:
    """Level and id of every node asked for."""
    if isinstance(nodes, str) or not len(nodes):
        raise ValueError(
            f"`nodes` is {nodes!r}; it needs a list of at least one id: [{fit.topology.inputs[0]!r}, ...]."
        )
    by_id: dict[str, list[tuple[str, str]]] = {}
    by_name: dict[str, list[tuple[str, str]]] = {}
    for level in [*_levels(network), *([COVARIATES] if network.n_covariates else [])]:
        for node in node_names(fit, network, level):
            by_id.setdefault(node, []).append((level, node))
            by_name.setdefault(fit.topology.names.get(node, node), []).append((level, node))
    chosen, unknown = [], []
    for asked in nodes:
        if not isinstance(asked, str):
            held = [place for place in by_id.get(asked[1], []) if place[0] == asked[0]]
        else:
            held = by_id.get(asked) or by_name.get(asked, [])
        if len(held) > 1:
            raise AlignmentError(
                f"{asked!r} means {len(held)} nodes: {culprits(held)}. Name the one that is meant as (level, id)."
            )
        if not held:
            unknown.append(asked)
        chosen += held
    if unknown:
        near = [
            m for asked in unknown if isinstance(asked, str) for m in get_close_matches(asked, [*by_id, *by_name], n=1)
        ]
        hint = f" Near are {culprits(dict.fromkeys(near))}." if near else ""
        raise AlignmentError(
            f"the networks lack {len(unknown)} of the {len(nodes)} nodes: {culprits(unknown)}. Levels are "
            f"{culprits(_levels(network))}; `fit.nodes(level)` lists the nodes of one.{hint}"
        )
    return list(dict.fromkeys(chosen))


def _observed(fit: Fit, samples: Samples) -> np.ndarray:
    """Class of every sample, None where it is not known."""
    known: dict[str, object] = {}
    if fit.target.name in samples.targets.columns:
        known = {str(i): None if pd.isna(v) else str(v) for i, v in samples.targets[fit.target.name].items()}
    else:
        held = [fit.target.classes[int(code)] for code in fit.target.values]
        known = dict(zip(fit.ids, held, strict=True))
    return np.array([known.get(i) for i in samples.ids], dtype=object)


def _mean(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The mean over the replicates that count, NaN where none does."""
    n = counts.sum(1)
    return np.where(n > 0, np.where(counts, values, 0.0).sum(1) / np.maximum(n, 1), np.nan)


def _alike(network: VisibleNetwork) -> list[list[int]]:
    """Positions of the replicates, those of the same wiring together."""
    if not network.wirings:
        return [list(range(network.n_replicates))]
    sources = np.concatenate(list(network.wirings.values()))
    _, which = np.unique(sources, axis=1, return_inverse=True)
    return [np.flatnonzero(which.reshape(-1) == i).tolist() for i in range(which.max() + 1)]


def _folded(network: VisibleNetwork) -> dict[tuple[str, str], Tensor]:
    """Weights by source and target level with batch normalisation folded in, (n_weights, R)."""
    found = {}
    for i, (stage, linear) in enumerate(network.layers):
        for source, graph, weight in linear.parts():
            found[source, stage.level] = weight.detach()
            if network.norms:
                norm = network.norms[i]
                assert isinstance(norm, BatchNorm)
                gain = norm.gain * torch.rsqrt(norm.variance + EPSILON)
                found[source, stage.level] = weight.detach() * gain[_target_rows(graph)]
    return found


def _target_rows(graph: Graph) -> Tensor:
    """Target row of every weight; the same in every wiring, where all sources have equally many units."""
    return weight_rows(graph.wiring.of(0))[0]


@dataclass(frozen=True, eq=False)
class _Step:
    """The pairs of some ablated nodes with the nodes of one level above them.

    Parameters
    ----------
    position, level
        Which level.
    rows
        Row of the level for each unit of the pairs.
    parts
        From each level below that holds pairs: its name, the edges between pairs, and the weight of each of them.
    """

    position: int
    level: str
    rows: Tensor
    parts: tuple[tuple[str, Graph, Tensor], ...]


@dataclass(frozen=True, eq=False)
class _Chunk:
    """Some nodes of a level, the pairs above them, and what the heads read of these.

    Parameters
    ----------
    level, nodes, rows
        The ablated nodes, from the first to behind the last, and the rows they own.
    steps
        From below to above.
    heads
        By level the edges from its pairs that a head reads to the ablated nodes, their unit rows among the pairs and in the level.
    """

    level: str
    nodes: slice
    rows: slice
    steps: tuple[_Step, ...]
    heads: tuple[tuple[str, Graph, Tensor, Tensor], ...]


class _Expansion:
    """The wiring of pairs (ablated node, node above it) of replicates that share their wiring.

    Parameters
    ----------
    network
        Says how nodes are connected.
    replicates
        Positions of the replicates.
    """

    def __init__(self, network: VisibleNetwork, replicates: Sequence[int]) -> None:
        self.network = network
        self.replicates = torch.tensor(replicates)
        self.units = {level: network.own_units(level) for level in _levels(network)}
        self.first = {level: np.concatenate([[0], np.cumsum(units)]) for level, units in self.units.items()}
        self.edges: dict[tuple[str, str], _Out] = {}
        for stage, linear in network.layers:
            for source, graph, _ in linear.parts():
                src = (graph.src if graph.src.dim() == 1 else graph.src[:, replicates[0]]).cpu().numpy()
                self.edges[source, stage.level] = _Out(
                    src, stage.edges[source][:, 1], self.units[source], self.units[stage.level]
                )
        self.heads = {
            source: np.unique(stage.edges[source][:, 0]) for stage in network._heads for source in stage.edges
        }
        self.kept: tuple[int, list[_Chunk]] | None = None

    def add(
        self,
        levels: dict[str, Tensor],
        values: Values,
        folded: Mapping[tuple[str, str], Tensor],
        read: Mapping[str, Tensor],
        only: Mapping[str, Sequence[int]] | None,
    ) -> None:
        """Write the effects of all nodes in these replicates into `levels`."""
        at, alone = self.replicates, len(self.replicates) == self.network.n_replicates

        def own(t: Tensor) -> Tensor:
            return t if alone else t[:, at].contiguous()

        sample, product = ({k: own(v) for k, v in held.items()} for held in (values.sample, values.product))
        weights, heads = ({k: own(v) for k, v in held.items()} for held in (folded, read))
        width = len(at) * values.logits.shape[2]
        chunks = self.chunks(max(VALUES_AT_ONCE // width, 1)) if only is None else self.single(only)
        for chunk in chunks:
            moved = {chunk.level: -own(values.delta[chunk.level][chunk.rows])}
            for step in chunk.steps:
                h = product[step.level].index_select(0, step.rows)
                for source, graph, taken in step.parts:
                    h = sparse_product(moved[source], weights[source, step.level][taken], graph, None, h)
                h = self.network.activations[step.position](h)
                moved[step.level] = h - sample[step.level].index_select(0, step.rows)
            found: Tensor | float = 0.0
            for level, graph, pairs, rows in chunk.heads:
                found = found + sparse_product(moved[level][pairs], heads[level][rows, :, 0], graph)
            if isinstance(found, Tensor):
                share = torch.from_numpy(self.units[chunk.level][chunk.nodes])
                spread = (-found / share[:, None, None].to(found)).repeat_interleave(share, dim=0)
                kept = levels[chunk.level]
                kept[chunk.rows] = spread if alone else kept[chunk.rows].index_copy(1, at, spread)

    def single(self, only: Mapping[str, Sequence[int]]) -> Iterator[_Chunk]:
        """Some nodes, one by one."""
        for level, nodes in only.items():
            for i in nodes:
                yield self.chunk(level, i, i + 1)

    def chunks(self, most: int) -> Iterator[_Chunk]:
        """All nodes, in chunks of at most `most` rows of pairs, or of one node."""
        if self.kept is not None and self.kept[0] <= most:
            yield from self.kept[1]
            return
        made: list[_Chunk] = []
        size = 0
        for level in self.units:
            rows = self.rows_above(level) + self.units[level]
            ends = _cut(rows, most)
            for first, last in zip([0, *ends[:-1]], ends, strict=True):
                one = self.chunk(level, first, last)
                size += int(rows[first:last].sum())
                if size <= PAIRS_KEPT:
                    made.append(one)
                yield one
        if size <= PAIRS_KEPT:
            self.kept = most, made

    def rows_above(self, level: str) -> np.ndarray:
        """Rows of the pairs of every node of a level, itself left out."""
        reach = {level: sparse.identity(len(self.units[level]), dtype=bool, format="csr")}
        total = np.zeros(len(self.units[level]))
        for target in self.units:
            parts = [reach[s] @ out.matrix for (s, t), out in self.edges.items() if t == target and s in reach]
            if parts:
                reach[target] = sum(parts[1:], start=parts[0]).astype(bool)
                total += reach[target].astype(np.float64) @ self.units[target]
        return total

    def chunk(self, level: str, first: int, last: int) -> _Chunk:
        """The pairs of the nodes of a level from `first` to before `last`."""
        nodes = np.arange(first, last)
        pairs = {level: (nodes - first, nodes)}
        steps = []
        for position, (stage, _) in enumerate(self.network.layers):
            into = [(source, self.edges[source, stage.level]) for source in stage.edges if source in pairs]
            if not into:
                continue
            walked = [out.leave(*pairs[source]) for source, out in into]
            n = len(self.units[stage.level])
            keys, place = np.unique(np.concatenate([i * n + a for _, i, a, _ in walked]), return_inverse=True)
            if not len(keys):
                continue
            pairs[stage.level] = keys // n, keys % n
            parts, start = [], 0
            for (source, out), (pair, _, _, edge) in zip(into, walked, strict=True):
                target = place[start : start + len(pair)]
                start += len(pair)
                order = np.lexsort((pair, target))
                edges = np.stack([pair[order], target[order]], axis=1)
                graph = Graph(
                    edges, len(pairs[source][0]), len(keys),
                    units_in=self.units[source][pairs[source][1]], units_out=self.units[stage.level][keys % n],
                )  # fmt: skip
                parts.append((source, graph, torch.from_numpy(_blocks(out.start, out.size, edge[order]))))
            rows = torch.from_numpy(_blocks(self.first[stage.level], self.units[stage.level], keys % n))
            steps.append(_Step(position, stage.level, rows, tuple(parts)))
        heads = []
        for name, (i, a) in pairs.items():
            if name in self.heads and (kept := np.flatnonzero(np.isin(a, self.heads[name]))).size:
                sizes = self.units[name][a]
                starts = np.cumsum(sizes) - sizes
                held = torch.from_numpy(_blocks(starts, sizes, kept))
                rows = torch.from_numpy(_blocks(self.first[name], self.units[name], a[kept]))
                edges = np.stack([np.arange(len(held)), np.repeat(i[kept], sizes[kept])], axis=1)
                heads.append((name, Graph(edges, len(held), last - first), held, rows))
        return _Chunk(
            level, slice(first, last), slice(int(self.first[level][first]), int(self.first[level][last])),
            tuple(steps), tuple(heads),
        )  # fmt: skip


class _Out:
    """The edges between two levels, found by their source.

    Parameters
    ----------
    source, target
        Nodes at the ends of every edge, in the order of the weights.
    units_in, units_out
        Units of each node on both sides.
    """

    def __init__(self, source: np.ndarray, target: np.ndarray, units_in: np.ndarray, units_out: np.ndarray) -> None:
        self.size = units_in[source] * units_out[target]
        self.start = np.cumsum(self.size) - self.size
        self.order = np.argsort(source, kind="stable")
        self.target = target[self.order]
        self.count = np.bincount(source, minlength=len(units_in))
        self.begin = np.cumsum(self.count) - self.count
        shape = len(units_in), len(units_out)
        self.matrix = sparse.csr_matrix((np.ones(len(source), dtype=bool), (source, target)), shape=shape)

    def leave(self, ablated: np.ndarray, node: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """For every edge out of every pair (ablated, node): the pair, the ablated node, the node it leads to, the edge."""
        count = self.count[node]
        pair = np.repeat(np.arange(len(node)), count)
        at = np.repeat(self.begin[node] - (np.cumsum(count) - count), count) + np.arange(len(pair))
        return pair, ablated[pair], self.target[at], self.order[at]


def _cut(sizes: np.ndarray, most: int) -> list[int]:
    """Where to end each run of neighbours so that its sizes sum to at most `most`, unless it is one alone."""
    ends, total = [], 0
    for i, size in enumerate(sizes.astype(np.int64).tolist()):
        if total and total + size > most:
            ends.append(i)
            total = 0
        total += size
    return [*ends, len(sizes)]


def _levels(network: VisibleNetwork) -> list[str]:
    return [network.topology.levels[0].name, *(stage.level for stage, _ in network.layers)]


def _blocks(start: np.ndarray, size: np.ndarray, which: np.ndarray) -> np.ndarray:
    """The numbers of the blocks `which`, each from its start as many as its size says, one after the other."""
    count = size[which]
    return np.repeat(start[which] - (np.cumsum(count) - count), count) + np.arange(count.sum())

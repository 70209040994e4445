"""Primed networks: initial weights from how each input is associated with the target in the training part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from vnn.data.targets import martingale_residuals
from vnn.kernels import Graph, PackedPeople
from vnn.kernels.backend import active
from vnn.kernels.graph import weight_rows
from vnn.kernels.packed import PANEL
from vnn.layers import BatchNorm, Signal, SparseLinear
from vnn.models import VisibleNetwork
from vnn.training.problem import Problem

AT_ONCE = 16
POWER = 4
SHARED, LEAST_TAKEN, MOST_TAKEN = 0.7, 3.0, 64
LOGIT_SD = 1.0
FLAT = 1e-12
ROUNDING = 1e-6
MOMENTS_OF, SUMMED_AT_ONCE = 1024, 512


def prime(network: VisibleNetwork, problem: Problem) -> None:
    """Replace the initial weights by those the training samples suggest, for every replicate by itself.

    An input enters a node with the t statistic of its association with the target: a node begins as the sum of its inputs
    that separates best if each input is taken alone. What a node says to the prediction is weighted by how much
    association is concentrated in it,

        z = sum over its inputs of (t^2 - mean) / sqrt(n var),    gate = 1 + max(z, 0)^4,

    n the number of inputs it reads, directly or through others, mean and var those of t^2 over all inputs. This is the mean
    squared t of gene-set testing, standardised; an input that goes down counts as much as one that goes up. To the nodes
    above it a node says length * (1 - 1 / gate), length being that of its vector of t. What a strong node has taken counts
    less for the weaker ones that share its inputs (`concentrations`), so that one of several nested nodes speaks. Only
    training samples of the replicate, with its own labels and wiring, are looked at; covariates are regressed out of the
    target first, and begin with the slopes of that regression. With several outputs a node follows the one that is strongest
    in it, each further unit the next; units beyond the outputs keep random weights and begin unheard.

    Training goes on from there, and keeps these weights where it finds none with a smaller validation loss.

    Parameters
    ----------
    network
        With fitted scalings. Weights, running statistics and heads are set.
    problem
        What it learns.
    """
    known: Known = {}
    for first in range(0, network.n_replicates, AT_ONCE):
        at = list(range(first, min(first + AT_ONCE, network.n_replicates)))
        part = network.replicates(at)
        primer = _Primer(part, problem.keep(at), known)
        primer.run()
        known = primer.known
        whole = network.state_dict()
        for name, values in part.state_dict().items():
            whole[name][..., at] = values


@dataclass(frozen=True, eq=False)
class Reading:
    """What the nodes of a level of one replicate read.

    Parameters
    ----------
    gate
        (n_nodes,).
    length
        Of the vector of t of each output, (n_nodes, n_outputs).
    order
        Outputs of each node, the strongest first, (n_nodes, n_outputs).
    cosine
        Between the vectors of t of two outputs, (n_nodes, n_outputs, n_outputs).
    """

    gate: np.ndarray
    length: np.ndarray
    order: np.ndarray
    cosine: np.ndarray


Known = dict[bytes, tuple[dict[str, sparse.csr_array], dict[bytes, dict[str, Reading]]]]
"""By wiring what its nodes read, and, by the t of the inputs, what they read there."""


class _Primer:
    """The replicates that are primed at once; those before them with the same wiring and labels have done some of the work."""

    def __init__(self, network: VisibleNetwork, problem: Problem, before: Known) -> None:
        self.network, self.problem, self.inputs = network, problem, network.topology.levels[0].name
        self.t = associations(problem, network.n_targets)
        self.known: Known = {}
        self.readings = self._readings(before)
        at = problem.universe
        if isinstance(problem.inputs, PackedPeople):
            at, *_ = problem.batches(MOMENTS_OF, seed=network.seed, epoch=0)
        self.signal = network.signal(problem.inputs, torch.from_numpy(at))
        share = problem.train_weight[:, at].to(network.output_scale)
        share = share / share.sum(1, keepdim=True)
        self.share = nn.functional.pad(share, (0, self.signal.width - share.shape[1]))

    def _readings(self, before: Known) -> list[dict[str, Reading]]:
        found = []
        for r in range(self.network.n_replicates):
            own = {pair: np.ascontiguousarray(sources[:, r]) for pair, sources in self.network.wirings.items()}
            wiring = b"".join(sources.tobytes() for sources in own.values())
            if wiring not in self.known:
                self.known[wiring] = before.get(wiring) or (reaches(self.network, own), {})
            reach, by_t = self.known[wiring]
            t = self.t[:, r].tobytes()
            if t not in by_t:
                by_t[t] = readings(reach, self.t[:, r])
            found.append(by_t[t])
        return found

    @torch.no_grad()
    def run(self) -> None:
        """Set all weights from the inputs upwards."""
        network = self.network
        values: dict[str, Tensor | Signal] = {self.inputs: self.signal}
        for i, (stage, linear) in enumerate(network.layers):
            for source, graph, weight in linear.parts():
                self._set(weight, graph, stage.level, source)
            h = linear(values, {self.inputs: network.scaling})
            mean, variance = self._moments(h)
            if len(network.norms):
                norm = network.norms[i]
                assert isinstance(norm, BatchNorm)
                norm.mean.copy_(mean)
                norm.variance.copy_(variance)
                h = norm.eval()(h, None)
                norm.train(network.training)
            else:
                factor = torch.rsqrt(variance.clamp_min(FLAT))
                for _, graph, weight in linear.parts():
                    weight.mul_(torch.stack([factor[_rows(graph, r)[0], r] for r in range(weight.shape[1])], dim=1))
                assert linear.bias is not None
                linear.bias.copy_(-mean * factor)
                h = (h - mean[:, :, None]) * factor[:, :, None]
            values[stage.level] = network.activations[i](h)
        self._prime_heads(values)
        if network.n_covariates:
            self._prime_covariates()

    def _prime_covariates(self) -> None:
        """Slopes of a linear regression; at a probability of a half those of a logit are four times as steep."""
        network = self.network
        steeper = 1.0 if self.problem.task in ("regression", "cox") else 4.0
        weight = network.covariate_linear.weights[0].view(network.n_targets, network.n_covariates, -1)
        for r in range(network.n_replicates):
            at = np.flatnonzero(self.problem.train_weight[r].numpy() > 0)
            slopes = residuals(self.problem, r, at, network.n_targets)[1]
            weight[:, :, r] = torch.from_numpy(slopes.T).to(weight) * steeper / network.covariate_scaling.scale[:, r]

    def _prime_heads(self, values: Mapping[str, Tensor | Signal]) -> None:
        heads, total = self.network.head_layers, self.network.output_scale.new_zeros(())
        for linear in heads:
            for source, graph, weight in linear.parts():
                self._set(weight, graph, None, source)
            total = total + linear(values, {}) - self._bias(linear)[:, :, None]
        mean, variance = self._moments(total)
        factor = LOGIT_SD * len(heads) * torch.rsqrt(variance.amax(0).clamp_min(FLAT))
        for linear in heads:
            for _, _, weight in linear.parts():
                weight.mul_(factor)
            self._bias(linear).copy_(-mean * factor / len(heads))

    def _set(self, weight: Tensor, graph: Graph, target: str | None, source: str) -> None:
        """The weights of a part of a level, or, without a target level, of a head."""
        for r, reading in enumerate(self.readings):
            into, out_of = (rows.numpy() for rows in _rows(graph, r))
            node, unit = (np.zeros_like(into), into) if target is None else self._units(target, into)
            if source == self.inputs:
                assert target is not None
                follows, primed = self._follows(reading[target], node, unit)
                value = self.t[out_of, r, follows]
            else:
                below, below_unit = self._units(source, out_of)
                held = reading[source]
                followed, primed_below = self._follows(held, below, below_unit)
                if target is None:
                    follows, primed = into, primed_below
                    value = held.gate[below] * held.cosine[below, followed, follows]
                else:
                    follows, primed = self._follows(reading[target], node, unit)
                    said = held.length[below, followed] * (1 - 1 / held.gate[below])
                    value = np.where(primed_below, said * held.cosine[below, followed, follows], 0.0)
            value = np.where(primed, value, 0.0 if target is None else weight[:, r].double().numpy())
            weight[:, r] = torch.from_numpy(value).to(weight)

    def _units(self, level: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Node and number among its units, of rows of a level."""
        units = self.network.own_units(level)
        node = np.repeat(np.arange(len(units)), units)
        first = np.cumsum(units) - units
        return node[rows], rows - first[node[rows]]

    def _follows(self, reading: Reading, node: np.ndarray, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The output a unit follows, and whether it follows any."""
        n_outputs = self.network.n_targets
        return reading.order[node, np.minimum(unit, n_outputs - 1)], unit < n_outputs

    def _moments(self, h: Tensor) -> tuple[Tensor, Tensor]:
        mean = (h * self.share).sum(-1)
        return mean, ((h - mean[:, :, None]).square() * self.share).sum(-1)

    @staticmethod
    def _bias(linear: SparseLinear) -> Tensor:
        assert linear.bias is not None
        return linear.bias


def associations(problem: Problem, n_outputs: int) -> np.ndarray:
    """Score-test t of every input with what covariates leave of the target, (n_in, R, n_outputs), over training samples.

    Missing values say nothing. For survival the target is the martingale residual.
    """
    if isinstance(problem.inputs, PackedPeople):
        return _packed_associations(problem, problem.inputs, n_outputs)
    inputs = problem.inputs.numpy()
    n_replicates = len(problem.train_weight)
    found = np.zeros((len(inputs), n_replicates, n_outputs))
    before, x = b"", np.zeros(0)
    for r in range(n_replicates):
        weights = problem.train_weight[r].double().numpy()
        at = np.flatnonzero(weights > 0)
        own = weights[at]
        if weights.tobytes() != before:
            before, x = weights.tobytes(), _standardised(inputs[:, at].astype(np.float64), own)
        residual, _ = residuals(problem, r, at, n_outputs)
        for c in range(n_outputs):
            size = float(np.sqrt((own * residual[:, c] ** 2).sum()))
            found[:, r, c] = x @ (own * residual[:, c]) / max(size, FLAT)
    return found


def _packed_associations(problem: Problem, people: PackedPeople, n_outputs: int) -> np.ndarray:
    """The same from sums over the codes, which the gradient of a product with one target gives."""
    n_replicates, n_in = len(problem.train_weight), len(people)
    left = np.zeros((n_replicates, n_outputs, problem.n_samples))
    size = np.zeros((n_replicates, n_outputs))
    for r in range(n_replicates):
        weights = problem.train_weight[r].double().numpy()
        at = np.flatnonzero(weights > 0)
        residual = residuals(problem, r, at, n_outputs)[0].T
        left[r][:, at] = weights[at] * residual
        size[r] = np.sqrt((weights[at] * residual**2).sum(1))
    rows = torch.cat([problem.train_weight, torch.from_numpy(left).flatten(0, 1)]).float()
    graph = Graph(np.stack([np.arange(n_in), np.zeros(n_in, dtype=np.int64)], axis=1), n_in, 1)
    book, gaps = people.books
    there = torch.ones_like(book) if gaps is None else 1 - gaps
    products = active(people.device)
    sums = np.zeros((3, n_in, len(rows)))
    for at in problem.seen_by(problem.train_weight).split(SUMMED_AT_ONCE):
        packed = people[:, at]
        g = nn.functional.pad(rows[:, at], (0, PANEL * len(packed.panels) - len(at)))[None].contiguous()
        for i, values in enumerate((there, book, book * book)):
            own = packed._replace(codebook=values.float(), batch=g.shape[2])
            sums[i] += products.packed_edge_product(g, own, graph.wiring).numpy()
    n, x, xx = sums
    total = np.maximum(n[:, :n_replicates], FLAT)
    mean = x[:, :n_replicates] / total
    square = xx[:, :n_replicates] / total
    variance = square - mean**2
    sd = np.sqrt(np.where(variance > ROUNDING * square, variance, np.inf))
    shape = (n_in, n_replicates, n_outputs)
    crossed = x[:, n_replicates:].reshape(shape) - mean[:, :, None] * n[:, n_replicates:].reshape(shape)
    found: np.ndarray = crossed / sd[:, :, None] / np.maximum(size, FLAT)
    return found


def residuals(problem: Problem, replicate: int, at: np.ndarray, n_outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """What a constant and covariates leave of the target of the training samples `at`, and the slopes on the covariates.

    Returns
    -------
    Shapes (n_at, n_outputs) and (n_covariates, n_outputs). Covariates that repeat each other share their slope.
    """
    target = np.asarray(problem.target_of(slice(replicate, replicate + 1)))
    if problem.task == "cox":
        ranks, events = target.reshape(-1, 2, target.shape[-1])[0][:, at]
        y = martingale_residuals(ranks, events)[:, None]
    elif problem.task == "regression":
        y = target[0, at][:, None].astype(np.float64)
    else:
        y = np.eye(max(n_outputs, 2))[target.reshape(-1, target.shape[-1])[0, at]][:, -n_outputs:]
    columns = np.ones((len(at), 1))
    if problem.covariates is not None:
        columns = np.concatenate([columns, problem.covariates[:, at].double().numpy().T], axis=1)
    root = np.sqrt(problem.train_weight[replicate, at].double().numpy())[:, None]
    slopes = np.linalg.lstsq(columns * root, y * root, rcond=None)[0]
    return y - columns @ slopes, slopes[1:]


def reaches(network: VisibleNetwork, sources: Mapping[tuple[str, str], np.ndarray]) -> dict[str, sparse.csr_array]:
    """By level which inputs each node reads, directly or through others, (n_nodes, n_in).

    Parameters
    ----------
    sources
        Source of every edge by source and target level; empty for the wiring of the topology.
    """
    n_in = len(network.topology.inputs)
    found = {network.topology.levels[0].name: sparse.csr_array(sparse.eye_array(n_in))}
    for stage, _ in network.layers:
        total = sparse.csr_array((len(stage.nodes), n_in))
        for name, edges in stage.edges.items():
            below = sources.get((name, stage.level), edges[:, 0])
            shape = (len(stage.nodes), found[name].shape[0])
            total = total + sparse.csr_array((np.ones(len(edges)), (edges[:, 1], below)), shape=shape) @ found[name]
        total.data[:] = 1.0
        found[stage.level] = total
    del found[network.topology.levels[0].name]
    return found


def readings(reach: Mapping[str, sparse.csr_array], t: np.ndarray) -> dict[str, Reading]:
    """What nodes read, by level, from the t of every input, (n_in, n_outputs)."""
    gates = concentrations(sparse.csr_array(sparse.vstack(list(reach.values()))), (t**2).sum(1))
    products = (t[:, :, None] * t[:, None, :]).reshape(len(t), -1)
    found, first = {}, 0
    for level, inputs in reach.items():
        n = inputs.shape[0]
        inner = (inputs @ products).reshape(n, t.shape[1], t.shape[1])
        own = np.diagonal(inner, axis1=1, axis2=2)
        length = np.sqrt(own)
        norm = np.maximum(length[:, :, None] * length[:, None, :], FLAT)
        order = np.argsort(-own, axis=1, kind="stable")
        gate = 1 + np.maximum(gates[first : first + n], 0) ** POWER
        found[level] = Reading(gate, length, order, inner / norm)
        first += n
    return found


def concentrations(reach: sparse.csr_array, squares: np.ndarray) -> np.ndarray:
    """How much association is concentrated in each node, (n_nodes,), the strongest first: what it takes counts less for others.

    Parameters
    ----------
    reach
        Which inputs each node reads, (n_nodes, n_in).
    squares
        t^2 of every input.
    """
    excess = squares - squares.mean()
    scale = np.sqrt(np.maximum(np.diff(reach.indptr), 1) * max(float(squares.var()), FLAT))
    found = np.full(reach.shape[0], np.nan)
    z = (reach @ excess) / scale
    for _ in range(MOST_TAKEN):
        open_ = np.where(np.isnan(found), z, -np.inf)
        best = int(np.argmax(open_))
        if open_[best] < LEAST_TAKEN:
            break
        found[best] = z[best]
        excess[reach.indices[reach.indptr[best] : reach.indptr[best + 1]]] *= SHARED
        z = (reach @ excess) / scale
    return np.where(np.isnan(found), z, found)


def _standardised(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Rows with weighted mean 0 and variance 1 over their values, 0 where missing or without spread."""
    there = ~np.isnan(x)
    total = np.maximum(there @ weights, FLAT)[:, None]
    x = np.where(there, x, 0.0)
    x = np.where(there, x - (x @ weights)[:, None] / total, 0.0)
    sd = np.sqrt((x**2 @ weights)[:, None] / total)
    found: np.ndarray = x / np.where(sd > FLAT, sd, np.inf)
    return found


def _rows(graph: Graph, replicate: int) -> tuple[Tensor, Tensor]:
    """Target row and source row of every weight of a replicate."""
    return weight_rows(graph.wiring.of(replicate))

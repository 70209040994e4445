"""How the units of a node are read as one activity whose sign means the same in every replicate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse

from vnn.kernels import Graph, Packed, PackedPeople
from vnn.kernels.graph import weight_rows
from vnn.kernels.packed import PANEL
from vnn.layers import ODD, InputScaling, Signal, SparseLinear
from vnn.models import VisibleNetwork
from vnn.training.problem import Problem

INPUTS = "inputs"
VALUES_AT_ONCE = 2**24
WEAK = 0.1


@dataclass(frozen=True, eq=False)
class Reading:
    """How a level is read: activity of a node = sum over its units of `loading * (value - centre)`.

    Parameters
    ----------
    loading, centre
        Shape (n_units, R), for the level's own nodes. With one unit per node the loading is 1 or -1 and
        the centre 0; with more they are the first principal component over the training samples.
    mean, sd
        Of the activity over the training samples of each replicate, shape (n_nodes, R).
    """

    loading: np.ndarray
    centre: np.ndarray
    mean: np.ndarray
    sd: np.ndarray


@torch.no_grad()
def orient(network: VisibleNetwork, problem: Problem, centre: np.ndarray, scale: np.ndarray) -> dict[str, Reading]:
    """The reading of every level, found without looking at labels.

    A node's sign makes its activity rise with the mean z-score of its member inputs over the training
    samples of the replicate; where that correlation is weaker than 0.1 it agrees with the first
    replicate of the network instead. A node of one unit is turned only where the activation is odd, so that turning it
    loses nothing; a principal component has no sign of its own and is always turned.

    Parameters
    ----------
    network
        In evaluation mode.
    problem
        Its inputs and training weights are used, its target is not.
    centre, scale
        Mean and standard deviation of every input in the training part of each replicate, (n_in, R).
    """
    moments = _Moments(network, centre, scale)
    trains = (problem.train_weight > 0).double()
    at_once = max(8, VALUES_AT_ONCE // centre.size)
    if isinstance(problem.inputs, PackedPeople):
        n_units = sum(len(mine) for mine in moments.own.values())
        at_once = max(PANEL, VALUES_AT_ONCE // (n_units * network.n_replicates) // PANEL * PANEL)
    for at in problem.seen_by(trains).split(at_once):
        beside = None if problem.covariates is None else problem.covariates[:, at].T
        signal = network.beside(network.signal(problem.inputs[:, at]), beside)
        values = {name: v.permute(2, 1, 0).double().numpy() for name, v in network.activities(signal).items()}
        moments.add(values, signal, trains[:, at].numpy())
    return {level: moments.reading(level, turn=network.recipe.activation in ODD) for level in moments.members}


class _Moments:
    """Weighted sums, streamed over samples, of what orientation needs."""

    def __init__(self, network: VisibleNetwork, centre: np.ndarray, scale: np.ndarray) -> None:
        self.members: dict[str, SparseLinear] = {}
        self.standard = InputScaling(*centre.shape).double()
        for buffer, numbers in (("scale", 1 / scale), ("shift", -centre / scale), ("fill", centre)):
            getattr(self.standard, buffer).copy_(torch.from_numpy(numbers))
        self.own: dict[str, np.ndarray] = {}
        self.node_of: dict[str, np.ndarray] = {}
        self.sums: dict[str, dict[str, np.ndarray]] = {}
        self.total = np.zeros(network.n_replicates)
        for level in network.topology.levels[1:]:
            own = level.own
            if not own.any():
                continue
            self.members[level.name] = _mean_of(network.topology.members[level.name][np.flatnonzero(own)], network)
            units = network.units(level.name)
            self.own[level.name] = np.flatnonzero(np.repeat(own, units))
            self.node_of[level.name] = np.repeat(np.arange(own.sum()), units[own])
            self.sums[level.name] = {}

    def add(self, values: dict[str, np.ndarray], signal: Signal, weight: np.ndarray) -> None:
        self.total += weight.sum(1)
        entering = {INPUTS: _double(signal)}
        for level, members in self.members.items():
            a = values[level][self.own[level]]
            node = self.node_of[level]
            mean_z = members(entering, {INPUTS: self.standard}).numpy()[node, :, : signal.n_samples]
            first = a[np.searchsorted(node, node), :1]
            pairs = {"a": a, "z": mean_z, "f": np.broadcast_to(first, a.shape), "aa": a * a, "zz": mean_z * mean_z}
            pairs |= {"az": a * mean_z, "af": a * first}
            for name, product in pairs.items():
                self._add(level, name, (product * weight).sum(-1))
            for lag in range(1, int(np.bincount(node).max())):
                same = node[lag:] == node[:-lag]
                crossed = (a[lag:] * a[:-lag] * weight).sum(-1)
                self._add(level, f"lag {lag}", np.where(same[:, None], crossed, 0.0))

    def _add(self, level: str, name: str, values: np.ndarray) -> None:
        self.sums[level][name] = self.sums[level].get(name, 0.0) + values

    def reading(self, level: str, *, turn: bool) -> Reading:
        sums = {name: values / self.total for name, values in self.sums[level].items()}
        node = self.node_of[level]
        first = np.unique(node, return_index=True)[1]
        loading, centre = np.ones_like(sums["a"]), np.zeros_like(sums["a"])
        variance = (sums["aa"] - sums["a"] ** 2)[first]
        several = np.bincount(node)[node] > 1
        for i in np.unique(node[several]):
            rows = np.flatnonzero(node == i)
            centre[rows] = sums["a"][rows]
            loading[rows], variance[i] = self._component(sums, rows)
        sd = np.sqrt(np.maximum(variance, 0))
        sd_z = np.sqrt(np.maximum(sums["zz"] - sums["z"] ** 2, 0))[first]
        with_z = _per_node(loading * (sums["az"] - sums["a"] * sums["z"]), node)
        with_first = _per_node(loading * (sums["af"] - sums["a"] * sums["f"]), node)
        with np.errstate(divide="ignore", invalid="ignore"):
            correlation = np.nan_to_num(with_z / (sd * sd_z))
        sign = np.where(correlation < 0, -1.0, 1.0)
        weak = np.abs(correlation) < WEAK
        weak[:, 0] = False
        alike = np.where(with_first * with_first[:, :1] < 0, -1.0, 1.0)
        sign = np.where(weak, alike * sign[:, :1], sign)
        turned = loading * np.where(several[:, None] | turn, sign[node], 1.0)
        mean = _per_node(turned * (sums["a"] - centre), node)
        return Reading(turned, centre, mean, sd)

    @staticmethod
    def _component(sums: dict[str, np.ndarray], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        k, n_replicates = len(rows), sums["a"].shape[1]
        covariance = np.zeros((n_replicates, k, k))
        mean = sums["a"][rows]
        for i in range(k):
            covariance[:, i, i] = sums["aa"][rows[i]] - mean[i] ** 2
            for lag in range(1, k - i):
                crossed = sums[f"lag {lag}"][rows[i]] - mean[i] * mean[i + lag]
                covariance[:, i, i + lag] = covariance[:, i + lag, i] = crossed
        values, vectors = np.linalg.eigh(covariance)
        return vectors[:, :, -1].T, values[:, -1]


def _mean_of(reach: sparse.csr_array, network: VisibleNetwork) -> SparseLinear:
    """The mean of the inputs each node reaches, every replicate alike."""
    reach.sort_indices()
    each = sparse.coo_array(reach)
    graph = Graph(np.stack([each.col, each.row], axis=1), reach.shape[1], reach.shape[0])
    made = SparseLinear({INPUTS: graph}, network.n_replicates, bias=False).double().requires_grad_(False)
    of = weight_rows(graph.wiring.of(0))[0]
    made.weights[0].copy_(1 / torch.from_numpy(np.diff(reach.indptr)).double()[of][:, None])
    return made


def _double(signal: Signal) -> Signal:
    def of(values: torch.Tensor | Packed) -> torch.Tensor | Packed:
        return values._replace(codebook=values.codebook.double()) if isinstance(values, Packed) else values.double()

    return Signal(of(signal.values), None if signal.missing is None else of(signal.missing), signal.n_samples)


def _per_node(values: np.ndarray, node: np.ndarray) -> np.ndarray:
    total = np.zeros((node[-1] + 1, values.shape[1]))
    np.add.at(total, node, values)
    return total

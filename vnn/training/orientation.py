"""How the units of a node are read as one activity whose sign means the same in every replicate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse

from vnn.layers import ODD
from vnn.models import VisibleNetwork
from vnn.training.problem import Problem

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
    moments = _Moments(network)
    trains = (problem.train_weight > 0).double()
    at_once = max(8, VALUES_AT_ONCE // centre.size)
    for at in torch.nonzero((trains > 0).any(0))[:, 0].split(at_once):
        signal = network.signal(problem.inputs[:, at])
        values = {name: v.permute(2, 1, 0).double().numpy() for name, v in network.activities(signal).items()}
        raw = problem.inputs[:, at].double().numpy()
        filled = np.where(np.isnan(raw)[:, None, :], centre[:, :, None], raw[:, None, :])
        moments.add(values, (filled - centre[:, :, None]) / scale[:, :, None], trains[:, at].numpy())
    return {level: moments.reading(level, turn=network.recipe.activation in ODD) for level in moments.members}


class _Moments:
    """Weighted sums, streamed over samples, of what orientation needs."""

    def __init__(self, network: VisibleNetwork) -> None:
        self.members: dict[str, sparse.csr_array] = {}
        self.own: dict[str, np.ndarray] = {}
        self.node_of: dict[str, np.ndarray] = {}
        self.sums: dict[str, dict[str, np.ndarray]] = {}
        self.total = np.zeros(network.n_replicates)
        for level in network.topology.levels[1:]:
            own = level.own
            if not own.any():
                continue
            reach = network.topology.members[level.name][np.flatnonzero(own)].astype(float)
            self.members[level.name] = sparse.csr_array(sparse.diags_array(1 / np.diff(reach.indptr)) @ reach)
            units = network.units(level.name)
            self.own[level.name] = np.flatnonzero(np.repeat(own, units))
            self.node_of[level.name] = np.repeat(np.arange(own.sum()), units[own])
            self.sums[level.name] = {}

    def add(self, values: dict[str, np.ndarray], z: np.ndarray, weight: np.ndarray) -> None:
        self.total += weight.sum(1)
        n_in, n_replicates, batch = z.shape
        for level, members in self.members.items():
            a = values[level][self.own[level]]
            node = self.node_of[level]
            mean_z = (members @ z.reshape(n_in, -1)).reshape(members.shape[0], n_replicates, batch)[node]
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


def _per_node(values: np.ndarray, node: np.ndarray) -> np.ndarray:
    total = np.zeros((node[-1] + 1, values.shape[1]))
    np.add.at(total, node, values)
    return total

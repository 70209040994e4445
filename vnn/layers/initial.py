"""Initial weights: normal, scaled by the true number of incoming units, drawn by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vnn.chance import generator
from vnn.ontology.order import ranks


def initial_weights(
    target_level: str,
    targets: Sequence[str],
    units: np.ndarray,
    sources: Mapping[str, tuple[Sequence[str], np.ndarray, np.ndarray]],
    *,
    gain: float,
    seed: int,
    replicates: Sequence[str],
) -> dict[str, np.ndarray]:
    """Weights of all edges into one level, for every replicate.

    Normal with variance gain^2 / fan_in, where fan_in counts the incoming units over all source levels.
    They are drawn in the order of (target name, source name), so that neither the order of levels and
    masks nor the way skips are written changes a weight.

    Parameters
    ----------
    target_level, targets, units
        Name of the level, its node ids, and the units of each.
    sources
        By source level: its node ids, the units of each, and the edges (source, target) in the order of the mask.
    gain
        Of the activation behind the weights.
    seed, replicates
        Identity of the draws.

    Returns
    -------
    Weights of shape (n_weights, R) by source level, blocks in the order of the edges, rows by target unit.
    """
    levels = sorted(sources)
    numbers = [len(sources[level][2]) for level in levels]
    target = np.concatenate([sources[level][2][:, 1] for level in levels])
    source_units = np.concatenate([sources[level][1][sources[level][2][:, 0]] for level in levels])
    source = _ranks_of_sources([(sources[level][0], sources[level][2][:, 0]) for level in levels])
    by_name = (ranks(targets)[target] * (source.max(initial=0) + 1) + source) * len(levels)
    order = np.argsort(by_name + np.repeat(np.arange(len(levels)), numbers), kind="stable")
    size = units[target] * source_units
    starts = np.empty(len(order), dtype=np.int64)
    starts[order] = np.cumsum(size[order]) - size[order]
    where = np.repeat(starts - (np.cumsum(size) - size), size) + np.arange(size.sum())
    fan_in = np.bincount(target, weights=source_units, minlength=len(targets))
    scale = np.repeat((gain / np.sqrt(np.maximum(fan_in, 1)))[target], size)
    weights = np.empty((len(where), len(replicates)))
    for r, name in enumerate(replicates):
        weights[:, r] = generator(seed, "weights", name, target_level).standard_normal(len(where))[where] * scale
    ends = np.cumsum(size)[np.cumsum(numbers)[:-1] - 1]
    return dict(zip(levels, np.split(weights, ends), strict=True))


def _ranks_of_sources(ends: Sequence[tuple[Sequence[str], np.ndarray]]) -> np.ndarray:
    """The rank of the source of every edge among all that lead anywhere, from the names and the sources at each level."""
    names, at, n = [], [], 0
    for listed, source in ends:
        leads = np.zeros(len(listed), dtype=bool)
        leads[source] = True
        names.append(np.asarray(listed, dtype=object)[leads])
        at.append((np.cumsum(leads) - 1)[source] + n)
        n += len(names[-1])
    return ranks(np.concatenate(names))[np.concatenate(at)]

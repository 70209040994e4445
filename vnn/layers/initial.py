"""Initial weights: normal, scaled by the true number of incoming units, drawn by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vnn.chance import generator


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
    blocks, fan_in = {}, np.zeros(len(targets), dtype=np.int64)
    keys: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for rank, (level, (names, source_units, edges)) in enumerate(sorted(sources.items())):
        blocks[level] = units[edges[:, 1]] * source_units[edges[:, 0]]
        np.add.at(fan_in, edges[:, 1], source_units[edges[:, 0]])
        named = np.asarray(names, dtype=object)[edges[:, 0]]
        keys.append((edges[:, 1], named, np.full(len(edges), rank)))
    target, source, rank_of = (np.concatenate(parts) for parts in zip(*keys, strict=True))
    target_rank = np.argsort(np.argsort(np.asarray(targets, dtype=object)))[target]
    order = np.lexsort((rank_of, np.unique(source.astype(str), return_inverse=True)[1], target_rank))
    size = np.concatenate([blocks[level] for level in sorted(sources)])
    starts = np.empty(len(order), dtype=np.int64)
    starts[order] = np.concatenate([[0], np.cumsum(size[order])[:-1]])
    scale = gain / np.sqrt(np.maximum(fan_in, 1))[target]
    drawn = np.stack(
        [generator(seed, "weights", name, target_level).standard_normal(int(size.sum())) for name in replicates], axis=1
    )
    weights, at = {}, 0
    for level in sorted(sources):
        mine = slice(at, at := at + len(blocks[level]))
        first = np.cumsum(size[mine]) - size[mine]
        where = np.repeat(starts[mine] - first, size[mine]) + np.arange(int(size[mine].sum()))
        weights[level] = drawn[where] * np.repeat(scale[mine], size[mine])[:, None]
    return weights

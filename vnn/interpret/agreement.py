"""Agreement of rankings: how far two sets of models name the same nodes, and how that grows with their number.

Two ways to draw the sets stand side by side. Sets that may share models agree with each other because they
share them; sets that share none show what would come out if all were trained again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from vnn.chance import generator

MOST_PAIRS = 200
VALUES_AT_ONCE = 2**22
FEWEST_MODELS, FEWEST_WITHOUT, LARGEST_PART = 5, 3, 2 / 3
STEPS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100)


@dataclass(frozen=True)
class Agreement:
    """How well the rankings of pairs of sets of models agree.

    Parameters
    ----------
    overlap, spearman
        Mean over pairs and rankings: share of the top nodes that are the same, and Spearman correlation of sizes.
    overlap_low, overlap_high, spearman_low, spearman_high
        95 % jackknife intervals, leaving out one model at a time; missing for sets that may share models, and where
        too few pairs remain without a model.
    n_sets, n_pairs
        Sets that were averaged, pairs that were compared.
    shared
        Mean share of models that the two sets of a pair have in common.
    """

    overlap: float
    spearman: float
    overlap_low: float
    overlap_high: float
    spearman_low: float
    spearman_high: float
    n_sets: int
    n_pairs: int
    shared: float


def members(scores: np.ndarray, top: int) -> np.ndarray:
    """Which nodes are among the `top` of each ranking, largest |score| first; a node of score 0 never is.

    Parameters
    ----------
    scores
        Shape (..., n_nodes). Ties go to the node that stands first.
    """
    size = np.abs(scores)
    found = np.zeros(size.shape, dtype=bool)
    np.put_along_axis(found, np.argsort(-size, axis=-1, kind="stable")[..., :top], True, axis=-1)
    return found & (size > 0)


def standardised_ranks(scores: np.ndarray) -> np.ndarray:
    """Ranks of |score| along the last axis, centred and of length 1, so that a product of two is Spearman's correlation.

    A ranking in which all nodes are equal is missing.
    """
    ranks = stats.rankdata(np.abs(scores), axis=-1)
    ranks -= ranks.mean(-1, keepdims=True)
    length = np.linalg.norm(ranks, axis=-1, keepdims=True)
    return np.divide(ranks, length, out=np.full_like(ranks, np.nan), where=length > 0)


def sizes_up_to(most: int) -> tuple[int, ...]:
    """Numbers of models to average, at most `most`."""
    return tuple(n for n in STEPS if n <= most)


def overlapping_sets(n_models: int, n: int, seed: int, *names: int | str) -> list[np.ndarray]:
    """K = max(60 / n, 4) sets of `n` models each, every set drawn anew from all models.

    Two sets may share models, and are the same where `n` is `n_models`.
    """
    rng = generator(seed, "overlapping sets of models", n_models, n, *names)
    return [np.sort(rng.permutation(n_models)[:n]) for _ in range(max(60 // n, 4))]


def disjoint_pairs(n_models: int, n: int, seed: int, *names: int | str, most: int = MOST_PAIRS) -> np.ndarray:
    """Different pairs of sets of `n` models that have no model in common, shape (n_pairs, 2, n).

    Up to `most` draws; few models have fewer different pairs.

    Raises
    ------
    ValueError
        If there are fewer than `2 n` models.
    """
    if 2 * n > n_models:
        raise ValueError(f"two disjoint sets of {n} models need {2 * n}; there are {n_models}.")
    if n == 1 and n_models * (n_models - 1) // 2 <= most:
        first, second = np.triu_indices(n_models, 1)
        return np.stack([first, second], axis=1)[:, :, None]
    rng = generator(seed, "disjoint sets of models", n_models, n, *names)
    drawn = {}
    for _ in range(most):
        order = rng.permutation(n_models)
        pair = sorted(sorted(part.tolist()) for part in (order[:n], order[n : 2 * n]))
        drawn[str(pair)] = pair
    return np.array(list(drawn.values()))


def agreement_of_overlapping(values: np.ndarray, sets: Sequence[np.ndarray], top: int) -> Agreement:
    """All pairs of the sets.

    Parameters
    ----------
    values
        Scores of every model, (n_models, n_rankings, n_nodes).
    sets
        Positions of models.
    top
        How many nodes count as the top.
    """
    holds = np.zeros((len(sets), len(values)))
    for i, chosen in enumerate(sets):
        holds[i, chosen] = 1
    size = holds.sum(1)[0]
    pairs = np.triu_indices(len(sets), 1)
    overlap, spearman = [], []
    for ranking in range(values.shape[1]):
        means = holds @ values[:, ranking] / size
        inside, ranks = members(means, top).astype(np.float32), standardised_ranks(means)
        overlap.append((inside @ inside.T)[pairs] / top)
        spearman.append((ranks @ ranks.T)[pairs])
    shared = (holds @ holds.T)[pairs] / size
    nothing = (np.nan,) * 4
    return Agreement(
        float(np.mean(overlap)),
        float(mean_of_known(np.array(spearman).ravel())),
        *nothing,
        len(sets),
        len(pairs[0]),
        float(np.mean(shared)),
    )


def agreement_of_disjoint(values: np.ndarray, pairs: np.ndarray, top: int) -> Agreement:
    """Each pair by itself, with a jackknife interval over models.

    Parameters
    ----------
    values, top
        As for `agreement_of_overlapping`.
    pairs
        Of `disjoint_pairs`.
    """
    at_once = max(1, VALUES_AT_ONCE // values[0].size)
    overlap, spearman = np.empty(len(pairs)), np.empty(len(pairs))
    for start in range(0, len(pairs), at_once):
        part = pairs[start : start + at_once]
        means = (
            np.stack([sum(values[column] for column in side.T) for side in part.transpose(1, 0, 2)]) / pairs.shape[2]
        )
        inside, ranks = members(means, top), standardised_ranks(means)
        overlap[start : start + len(part)] = (inside[0] & inside[1]).sum((1, 2)) / (top * values.shape[1])
        spearman[start : start + len(part)] = mean_of_known((ranks[0] * ranks[1]).sum(-1))
    intervals = (*jackknife(overlap, pairs, len(values), 0.0), *jackknife(spearman, pairs, len(values), -1.0))
    return Agreement(float(overlap.mean()), float(mean_of_known(spearman)), *intervals, 2 * len(pairs), len(pairs), 0.0)


def jackknife(found: np.ndarray, pairs: np.ndarray, n_models: int, least: float) -> tuple[float, float]:
    """95 % interval of a mean over pairs of sets, leaving out every pair that holds a model, one model at a time.

    Missing with fewer than 5 models, where the sets take more than two thirds of them, or where fewer than 3 pairs
    are left without some model.

    Parameters
    ----------
    found
        Of each pair.
    pairs
        Shape (n_pairs, 2, n).
    least
        The interval is kept between this and 1.
    """
    missing = (np.nan, np.nan)
    if n_models < FEWEST_MODELS or 2 * pairs.shape[2] > LARGEST_PART * n_models or not np.isfinite(found).all():
        return missing
    absent = ~(pairs.reshape(len(pairs), -1)[:, :, None] == np.arange(n_models)).any(1)
    if absent.sum(0).min() < FEWEST_WITHOUT:
        return missing
    without = (found @ absent) / absent.sum(0)
    error = np.sqrt((n_models - 1) / n_models * ((without - without.mean()) ** 2).sum())
    room = float(stats.t.ppf(0.975, n_models - 1) * error)
    return max(float(found.mean()) - room, least), min(float(found.mean()) + room, 1.0)


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """Mean along the last axis over what is not missing; missing where everything is."""
    known = np.isfinite(values)
    count = known.sum(-1).astype(float)
    return np.divide(np.where(known, values, 0.0).sum(-1), count, out=np.full_like(count, np.nan), where=count > 0)

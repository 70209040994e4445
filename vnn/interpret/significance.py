"""Significance: how often chance alone gives a node as much, from draws of null networks.

A draw is one permutation of the labels or one rewiring, trained as the real study was; its statistic of a node is the same
function of as many networks. Everything here works on arrays: `real` of shape (n_nodes,) and `null` of shape
(n_draws, n_nodes). Under the null hypothesis the real row and the rows of the draws are exchangeable, and nothing more is assumed:
neither a distribution nor that nodes are independent. Measurements are in `docs/stability.md`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from vnn._errors import choose

SIDES = ("both", "upper")
SCALES = ("own", "shared")
ROUNDING = 1e-12
ALPHA = 0.05
MOST_DRAWS, PLANNED = 100_000, 120
BEYOND, NOT_BEYOND, OPEN = "beyond chance", "not beyond chance", "open"


def own_p(real: np.ndarray, null: np.ndarray, *, sides: str = "both") -> np.ndarray:
    """Share of draws in which the same node has as much: p = (1 + #{null >= real}) / (P + 1), per node.

    Valid for every node by itself, whatever its null looks like, and never below 1 / (P + 1).

    Parameters
    ----------
    real
        Statistic of each node, shape (n_nodes,).
    null
        The same in each draw, shape (n_draws, n_nodes).
    sides
        "both" compares absolute values, for signed scores; "upper" the values themselves, for statistics of which only large
        ones count. Values that differ by rounding only are equal.

    Returns
    -------
    Shape (n_nodes,); missing for dead nodes, which have one and the same value in the real networks and in every draw.

    Raises
    ------
    ValueError
        If shapes do not meet, a value is missing or infinite, or there is no draw.

    References
    ----------
    Phipson & Smyth (2010), doi:10.2202/1544-6115.1585
    """
    rows = _sided(_rows(real, null), sides)
    slack = ROUNDING * np.abs(rows).max(0)
    p = (rows >= rows[0] - slack).sum(0) / len(rows)
    return np.where(_dead(rows), np.nan, p)


def standardised(
    real: np.ndarray, null: np.ndarray, *, sides: str = "both", scale: str = "own"
) -> tuple[np.ndarray, np.ndarray]:
    """Statistics in standard deviations of the node's own null, so that nodes compare with each other.

    The real value is measured from the mean of its node's P draws in their standard deviations; the value of a draw from those of
    the *other* draws. A draw measured with itself among them cannot lie far out (at most (P - 1) / sqrt(P) standard
    deviations), so that the real value would look extreme beside it.

    Parameters
    ----------
    real, null
        As for `own_p`; at least 3 draws.
    sides
        "both" standardises signed values and takes absolute values then.
    scale
        "own": as said. "shared": values as they are, for statistics that already have a unit in common (such as standard
        deviations of the logit, see `vnn.interpret.scored`) and of which most are almost 0 in most draws: in units of a null
        that hardly varies, a speck would be the largest of all.

    Returns
    -------
    Shapes (n_nodes,) and (n_draws, n_nodes). Where the others do not vary: 0 for their value, infinite for another one. Dead nodes
    (see `own_p`) are missing.
    """
    rows = _rows(real, null, least=3)
    if _shared(scale):
        z, nulls = rows[:1], rows[1:]
    else:
        z, nulls = _from_others(rows, only=0), _from_others(rows[1:])
    dead = _dead(rows)
    return np.where(dead, np.nan, _sided(z, sides)[0]), np.where(dead, np.nan, _sided(nulls, sides))


def pooled_p(
    real: np.ndarray, null: np.ndarray, *, sides: str = "both", scale: str = "own", whole_row: bool = False
) -> np.ndarray:
    """Share of the draws of all nodes, standardised per node, that reach the node's: far finer than 1 / (P + 1).

    p = (1 + #{standardised nulls of all nodes >= real}) / (n P + 1). It is right on average over nodes, not for each of them:
    a node whose null has heavier tails than the others' gets too small a p, which `own_p` beside it shows. Nodes that move
    together make n P values worth fewer, and p below 1 / (P + 1) then come too often. `whole_row` corrects that:
    every one of the P + 1 rows, the real one too, is standardised by the P others, and p is the share of all n (P + 1)
    values that reach the real one. The share of nodes with p <= a is then at most a in expectation under the null, for
    any correlation and any tails (each row is the real one in one of P + 1 equally likely orders). The price is power with
    few draws, as q is never below 1 / (P + 1).

    Parameters
    ----------
    real, null
        As for `own_p`; at least 3 draws.
    sides, scale
        See `own_p` and `standardised`.
    whole_row
        Count the real row as one of the draws.

    Returns
    -------
    Shape (n_nodes,); missing for dead nodes, which do not enter the pool.
    """
    if whole_row:
        rows = _exchangeable(real, null, sides, scale)
        return np.where(np.isnan(rows[0]), np.nan, _reached(rows[0], rows) / max((~np.isnan(rows)).sum(), 1))
    z, nulls = standardised(real, null, sides=sides, scale=scale)
    return np.where(np.isnan(z), np.nan, (1 + _reached(z, nulls)) / (1 + (~np.isnan(nulls)).sum()))


def any_p(real: np.ndarray, null: np.ndarray, *, sides: str = "both", scale: str = "own") -> float:
    """Whether any node at all is beyond chance: one p for the whole study, exact for any correlation and any tails.

    With `scale="shared"` the largest value of the real row is compared with the largest of each draw. Otherwise:

    The smallest pooled q of the real row is compared with the smallest q each draw would have had in its place:
    p = (1 + #{draws whose smallest q is as small}) / (P + 1). With it a study without any effect calls a
    node at q <= a in at most a share a of cases, which q from pooled p alone do not promise (`docs/stability.md`).

    Parameters
    ----------
    real, null, sides, scale
        As for `pooled_p`.

    Returns
    -------
    1 where all nodes are dead.
    """
    rows = _exchangeable(real, null, sides, scale)
    rows = rows[:, ~np.isnan(rows[0])]
    if not rows.shape[1]:
        return 1.0
    if _shared(scale):
        largest = rows.max(1)
        return float(np.mean(largest >= _less(largest[0])))
    ordered, rank = -np.sort(-rows, axis=1), np.arange(1, rows.shape[1] + 1)
    others = np.maximum(_reached(ordered, rows) - rank, 0)
    smallest = ((1 + others) / rank).min(1)
    return float(np.mean(smallest <= smallest[0] * (1 + ROUNDING)))


def max_t(
    real: np.ndarray,
    null: np.ndarray,
    *,
    levels: Sequence[Hashable] | None = None,
    sides: str = "both",
    scale: str = "own",
) -> np.ndarray:
    """Step-down maxT: p adjusted for all nodes of a level, which hold at once for all of them.

    Nodes are taken from the largest standardised statistic down; each is compared with the largest of itself and the
    smaller ones in every draw. At most a share a of studies has any false call at p <= a in a level, whatever the
    correlation. Real row and draws are each standardised by all the others, so that they stay exchangeable.

    Parameters
    ----------
    real, null
        As for `own_p`; at least 3 draws, and 19 for a p of 0.05.
    levels
        Level of each node, (n_nodes,); one for all unless given.
    sides, scale
        See `own_p` and `standardised`.

    Returns
    -------
    Shape (n_nodes,); missing for dead nodes.

    References
    ----------
    Westfall & Young (1993), ISBN 978-0-471-55761-6; Ge, Dudoit & Speed (2003), doi:10.1007/BF02595811
    """
    rows = _exchangeable(real, null, sides, scale)
    names = pd.Series(["all"] * rows.shape[1] if levels is None else list(levels), dtype=object)
    if len(names) != rows.shape[1]:
        raise ValueError(f"`levels` names {len(names):,} nodes and `real` has {rows.shape[1]:,}; give one per node.")
    adjusted = np.full(rows.shape[1], np.nan)
    for nodes in names.groupby(names, sort=False).indices.values():
        alive = nodes[~np.isnan(rows[0, nodes])]
        order = alive[np.argsort(rows[0, alive], kind="stable")]
        largest = np.maximum.accumulate(rows[:, order], axis=1)
        reached = (largest >= _less(rows[0, order])).sum(0) / len(rows)
        adjusted[order] = np.maximum.accumulate(reached[::-1])[::-1]
    return adjusted


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Q values: the smallest false discovery rate at which each would be called; missing p are not counted.

    Parameters
    ----------
    p
        Shape (n,), between 0 and 1.

    References
    ----------
    Benjamini & Hochberg (1995), doi:10.1111/j.2517-6161.1995.tb02031.x

    Examples
    --------
    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03, np.nan])).round(3).tolist()
    [0.03, 0.04, 0.04, nan]
    """
    given = np.asarray(p, dtype=np.float64)
    there = np.flatnonzero(~np.isnan(given))
    if len(wrong := given[there][(given[there] < 0) | (given[there] > 1)]):
        raise ValueError(f"{len(wrong):,} values of `p` are outside 0 to 1, the first {wrong[0]}; give probabilities.")
    order = there[np.argsort(given[there], kind="stable")]
    q = given[order] * len(order) / np.arange(1, len(order) + 1)
    adjusted = np.full(len(given), np.nan)
    adjusted[order] = np.minimum.accumulate(q[::-1])[::-1]
    return adjusted


@dataclass(frozen=True)
class Reach:
    """The smallest p and q that a number of draws can give, whatever the scores.

    Parameters
    ----------
    own_p, max_t, any_p
        1 / (P + 1).
    pooled_p
        1 / (n P + 1).
    q
        Of `significance`: 1 / (P + 1), as that is the smallest p of the whole study.
    own_q
        Of Benjamini-Hochberg over own p, when a single node is beyond all of its draws: n / (P + 1), at most 1.
    """

    own_p: float
    max_t: float
    any_p: float
    pooled_p: float
    q: float
    own_q: float


def reach(n_draws: int, n_nodes: int) -> Reach:
    """The smallest p and q with this many draws and nodes.

    Examples
    --------
    >>> reach(19, 1000).q, reach(19, 1000).own_q
    (0.05, 1.0)
    """
    for what, count in (("n_draws", n_draws), ("n_nodes", n_nodes)):
        if count < 1:
            raise ValueError(f"`{what}` is {count}; give at least 1.")
    p = 1 / (n_draws + 1)
    return Reach(p, p, p, 1 / (n_nodes * n_draws + 1), p, min(n_nodes * p, 1.0))


def least_draws(alpha: float = ALPHA) -> int:
    """The fewest draws with which q <= `alpha` can come out at all: 19 for 0.05.

    Examples
    --------
    >>> least_draws(0.05), least_draws(0.01)
    (19, 99)
    """
    if not 0 < alpha < 1:
        raise ValueError(f"`alpha` is {alpha}; it is a false discovery rate between 0 and 1.")
    return math.ceil(1 / alpha - ROUNDING) - 1


def draws_needed(
    exceeded: np.ndarray,
    rank: np.ndarray,
    *,
    n_draws: int,
    dispersion: np.ndarray | float = 1.0,
    alpha: float = ALPHA,
) -> pd.DataFrame:
    """How many more draws until it is decided, at 95 % confidence, on which side of `alpha` a node's q lies.

    With ever more draws q tends to L / j: L values of a draw that reach the node's, over j real values that do. The number of
    reaching values seen so far gives L an interval (Garwood's for counts, widened where draws differ more
    than counts do); the answer is at how many draws that interval would leave out alpha j, were the rate to stay as it is. It is
    a plan, not a promise: the rate will move, and so may the rank.

    Parameters
    ----------
    exceeded
        Standardised null values of all nodes and draws that reach the node's, (n_nodes,).
    rank
        Real values that do, the node's own included, (n_nodes,).
    n_draws
        Draws so far.
    dispersion
        Variance over mean of the number of reaching values per draw, at least 1.
    alpha
        Threshold of q.

    Returns
    -------
    A row per node: decided ("beyond chance", "not beyond chance", "open"), n_draws (at which it would be; missing where
    more than 100,000 would be needed) and more (beyond those there are).

    Raises
    ------
    ValueError
        If counts are negative or ranks below 1.

    References
    ----------
    Garwood (1936), doi:10.1093/biomet/28.3-4.437
    """
    rate, ranks = np.asarray(exceeded, float) / n_draws, np.asarray(rank, float)
    spread = np.broadcast_to(np.asarray(dispersion, float), rate.shape)
    if (rate < 0).any() or (ranks < 1).any() or (spread < 1).any():
        raise ValueError(
            "`exceeded` must be at least 0, `rank` and `dispersion` at least 1; count them as `pooled` does."
        )
    least = max(least_draws(alpha), n_draws)
    plan = np.unique(np.geomspace(least, max(MOST_DRAWS, least), PLANNED).round().astype(int))
    draws = np.append(plan, n_draws)[:, None]
    events = rate * draws / spread
    upper = spread * stats.chi2.ppf(0.975, 2 * (events + 1)) / (2 * draws)
    lower = np.where(events > 0, spread * stats.chi2.ppf(0.025, 2 * np.maximum(events, ROUNDING)) / (2 * draws), 0)
    beyond, within = upper < alpha * ranks, lower > alpha * ranks
    clear = (beyond | within)[:-1]
    needed = np.where(clear.any(0), plan[clear.argmax(0)], np.nan)
    decided = np.where(beyond[-1], BEYOND, np.where(within[-1], NOT_BEYOND, OPEN))
    decided = np.where((needed > n_draws) | np.isnan(needed), OPEN, decided)
    return pd.DataFrame({"decided": decided, "n_draws": needed, "more": needed - n_draws})


def significance(
    real: np.ndarray,
    null: np.ndarray,
    *,
    nodes: Sequence[Hashable],
    levels: Sequence[Hashable],
    sides: str = "both",
    scale: str = "own",
    alpha: float = ALPHA,
) -> pd.DataFrame:
    """All of it in one table, a row per node in the order given.

    q is that of Benjamini-Hochberg over pooled p, and never below the p of the whole study (`any_p`), so that a study
    without any effect calls any node at q <= 0.05 in at most 5 % of cases.

    Parameters
    ----------
    real, null, sides, scale
        As for `standardised`; at least 3 draws.
    nodes, levels
        Names, (n_nodes,). For several contrasts or traits give all their nodes at once, each with its name.
    alpha
        For `more_draws`.

    Returns
    -------
    Columns node, level, statistic, null_mean, null_sd, z (signed, in standard deviations of its null), p (`own_p`), p_max_t,
    p_pooled, p_whole_row, q, p_any (the same in all rows), decided and more_draws (`draws_needed`). Dead nodes have
    no p.

    Examples
    --------
    >>> from vnn.chance import generator
    >>> null, names = generator(0, "example").standard_normal((99, 5)), list("abcde")
    >>> table = significance(np.array([9.0, 0, 1, -1, 0]), null, nodes=names, levels=["genes"] * 5)
    >>> table.loc[table["q"] <= 0.05, "node"].tolist()
    ['a']
    """
    rows = _rows(real, null, least=3)
    for what, names in (("nodes", nodes), ("levels", levels)):
        if len(names) != rows.shape[1]:
            raise ValueError(f"`{what}` has {len(names):,} names and `real` {rows.shape[1]:,} values; give one each.")
    z, nulls = standardised(real, null, sides=sides, scale=scale)
    pooled, overall = pooled_p(real, null, sides=sides, scale=scale), any_p(real, null, sides=sides, scale=scale)
    signed = np.where(np.isnan(z), np.nan, _from_others(rows, only=0)[0])
    table = pd.DataFrame(
        {
            "node": list(nodes),
            "level": list(levels),
            "statistic": rows[0],
            "null_mean": rows[1:].mean(0),
            "null_sd": rows[1:].std(0, ddof=1),
            "z": signed,
            "p": own_p(real, null, sides=sides),
            "p_max_t": max_t(real, null, levels=levels, sides=sides, scale=scale),
            "p_pooled": pooled,
            "p_whole_row": pooled_p(real, null, sides=sides, scale=scale, whole_row=True),
            "q": np.maximum(benjamini_hochberg(pooled), overall),
            "p_any": overall,
        }
    )
    exceeded, rank, dispersion = _counts(z, nulls)
    plan = draws_needed(exceeded, rank, n_draws=len(nulls), dispersion=dispersion, alpha=alpha)
    dead = np.isnan(z)
    return table.assign(decided=plan["decided"].mask(dead, ""), more_draws=plan["more"].where(~dead))


def _counts(z: np.ndarray, nulls: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Null values that reach the node that decides its q, real values that do, and variance over mean per draw."""
    alive = np.flatnonzero(~np.isnan(z))
    exceeded, rank, dispersion = np.zeros(len(z)), np.ones(len(z)), np.ones(len(z))
    if not len(alive):
        return exceeded, rank, dispersion
    order = alive[np.argsort(-z[alive], kind="stable")]
    per_draw = np.stack([_reached(z[order], row) for row in nulls])
    counted, ranks = per_draw.sum(0), _reached(z[order], z)
    ratio = (1 + counted) / ranks
    deciding = np.empty(len(order), dtype=int)
    best = len(order) - 1
    for i in range(len(order) - 1, -1, -1):
        best = i if ratio[i] < ratio[best] else best
        deciding[i] = best
    mean = per_draw.mean(0)
    spread = np.maximum(per_draw.var(0, ddof=1) / np.where(mean > 0, mean, 1), 1)
    exceeded[order], rank[order], dispersion[order] = counted[deciding], ranks[deciding], spread[deciding]
    return exceeded, rank, dispersion


def _rows(real: np.ndarray, null: np.ndarray, least: int = 1) -> np.ndarray:
    """The real row and the draws below it, checked, (P + 1, n_nodes)."""
    first, rest = np.asarray(real, dtype=np.float64), np.asarray(null, dtype=np.float64)
    if first.ndim != 1 or rest.ndim != 2 or rest.shape[1] != len(first):
        raise ValueError(
            f"`real` has shape {first.shape} and `null` {rest.shape}; they must be (n_nodes,) and (n_draws, n_nodes), with the "
            "nodes in the same order."
        )
    if len(rest) < least:
        raise ValueError(f"`null` has {len(rest)} draws; at least {least} are needed here. Train more draws.")
    rows = np.vstack([first, rest])
    if bad := int((~np.isfinite(rows)).sum()):
        raise ValueError(
            f"{bad:,} statistics are missing or infinite, of {(~np.isfinite(rows)).any(0).sum():,} nodes in "
            f"{(~np.isfinite(rows)).any(1).sum():,} of {len(rows):,} rows; leave out draws whose networks diverged and nodes "
            "without a score."
        )
    return rows


def _sided(rows: np.ndarray, sides: str) -> np.ndarray:
    return np.abs(rows) if choose("`sides`", sides, SIDES) == "both" else rows


def _shared(scale: str) -> bool:
    """Whether nodes compare as they are."""
    return choose("`scale`", scale, SCALES) == "shared"


def _dead(rows: np.ndarray) -> np.ndarray:
    """Nodes of which real row and draws are all the same."""
    largest, smallest = rows.max(0), rows.min(0)
    return largest - smallest <= ROUNDING * np.maximum(np.abs(largest), np.abs(smallest))


def _from_others(rows: np.ndarray, only: int | None = None) -> np.ndarray:
    """Each row (or one) less the mean of the other rows, over their standard deviation."""
    found = []
    for i in range(len(rows)) if only is None else [only]:
        others = np.delete(rows, i, axis=0)
        gap, flat = rows[i] - others.mean(0), _dead(others)
        equal = np.abs(gap) <= ROUNDING * np.maximum(np.abs(rows[i]), np.abs(others).max(0))
        far = np.where(equal, 0.0, np.copysign(np.inf, gap))
        found.append(np.where(flat, far, gap / np.where(flat, 1.0, others.std(0, ddof=1))))
    return np.stack(found)


def _exchangeable(real: np.ndarray, null: np.ndarray, sides: str, scale: str) -> np.ndarray:
    """Real row and draws, each standardised by all the others; dead nodes missing. Any order of rows gives the same values."""
    rows = _rows(real, null, least=3)
    return np.where(_dead(rows), np.nan, _sided(rows if _shared(scale) else _from_others(rows), sides))


def _less(values: np.ndarray) -> np.ndarray:
    """Values less what rounding may have taken from them."""
    return values - ROUNDING * np.where(np.isfinite(values), np.abs(values), 0)


def _reached(values: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """How many of the pool are at least each value; missing ones of the pool are not counted."""
    ordered = np.sort(pool[~np.isnan(pool)])
    return len(ordered) - np.searchsorted(ordered, _less(values), side="left")

"""Trivial rankings: what wiring and data say about a node before any label is looked at.

A large pathway, a node with many edges or one of highly expressed genes may score high in any network. `structure` collects
what is known of every node beforehand, `trivial_rankings` says how far it predicts the scores, `without_structure` takes it
out, and `structure_band` says which nodes score more than it predicts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from vnn._errors import AlignmentError, choose, culprits
from vnn.data.genotypes import Cohort
from vnn.data.samples import Samples
from vnn.ontology import Topology

KEYS = ["level", "node"]
COUNTS = ("n_inputs", "in_degree", "out_degree")
TAILS = ("robust", "empirical")
LEAST = 4
HUBER = 1.345
QUARTILE = float(stats.norm.ppf(0.75))
FLAT = 1e-9


def structure(topology: Topology, samples: Samples | Cohort | None = None) -> pd.DataFrame:
    """What is known of every node before training: size, degrees, and expression of its members.

    Parameters
    ----------
    topology
        The wiring.
    samples
        For mean and variance of the inputs; those the topology does not know are not used.

    Returns
    -------
    A row per node, indexed by level and node: n_inputs (genes below it, or variants where these are the inputs), in_degree,
    out_degree, depth (number of its level), and with `samples` mean_value and variance: mean over its inputs of their mean
    and variance over samples, missing values left out.

    Raises
    ------
    AlignmentError
        If the samples lack an input of the topology.
    """
    table = topology.table()
    numbers = {level.name: i for i, level in enumerate(topology.levels)}
    made = pd.DataFrame(
        {
            "level": table["level"],
            "node": table["node"],
            "n_inputs": table["n_inputs"],
            "in_degree": table["fan_in"],
            "out_degree": table["fan_out"],
            "depth": table["level"].map(numbers),
        }
    ).set_index(KEYS)
    if samples is None:
        return made
    if missing := set(topology.inputs) - set(samples.features):
        raise AlignmentError(
            f"`samples` lacks {len(missing):,} of the {len(topology.inputs):,} inputs of the topology: "
            f'{culprits(sorted(missing))}. Align first: `samples.select(topology.inputs, missing="mean")`.'
        )
    held = samples.select(topology.inputs)
    count, mean, sd = held.moments(np.arange(held.n_samples))
    known = count > 0
    for name, per_input in {"mean_value": mean, "variance": sd**2}.items():
        means = []
        for level in topology.levels:
            members = topology.members[level.name].astype(np.float64)
            counted = members @ known.astype(np.float64)
            total = members @ per_input
            means.append(np.where(counted > 0, total / np.maximum(counted, 1), np.nan))
        made[name] = np.concatenate(means)
    return made


def design(table: pd.DataFrame) -> pd.DataFrame:
    """The columns as a regression takes them: log(1 + count), levels as 0 and 1, all standardised; constant ones left out.

    Parameters
    ----------
    table
        Rows of `structure` without missing values.
    """
    columns: dict[str, np.ndarray] = {}
    for name in table:
        values = table[name].to_numpy(dtype=np.float64)
        if name == "depth":
            for number in np.unique(values)[1:]:
                columns[f"depth {number:g}"] = (values == number).astype(float)
        else:
            columns[str(name)] = np.log1p(values) if _is_count(str(name)) else values
    made = pd.DataFrame(columns, index=table.index)
    spread = made.std(ddof=0)
    made = made.loc[:, spread > FLAT * made.abs().max().clip(lower=1)]
    return (made - made.mean()) / made.std(ddof=0)


def _is_count(name: str) -> bool:
    return name in COUNTS or name.startswith("n_")


def matched(structure: pd.DataFrame, levels: Sequence[str], nodes: Sequence[str]) -> pd.DataFrame:
    """The rows of `structure` for these nodes, in their order.

    Raises
    ------
    AlignmentError
        If a node has none.
    ValueError
        If the table is not indexed by level and node, a node has several rows, or a column holds no numbers.
    """
    if list(structure.index.names) != KEYS or structure.index.has_duplicates:
        raise ValueError(
            f"`structure` is indexed by {list(structure.index.names)} with {structure.index.duplicated().sum():,} repeated rows; "
            "give one row per level and node, as `vnn.interpret.trivial.structure` makes them."
        )
    if words := [str(name) for name, kind in structure.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]:
        raise ValueError(f"columns {culprits(words)} of `structure` hold no numbers; leave them out or code them.")
    for name in structure:
        if _is_count(str(name)) and (structure[name] < 0).any():
            raise ValueError(f"column {str(name)!r} of `structure` has counts below 0; give counts.")
    wanted = pd.MultiIndex.from_arrays([list(levels), list(nodes)], names=KEYS)
    if missing := [key for key in wanted if key not in structure.index]:
        raise AlignmentError(
            f"`structure` lacks {len(missing):,} of {len(wanted):,} nodes: {culprits(f'{a}/{b}' for a, b in missing)}. "
            "Make it from the topology of the fit: `structure(fit.topology)`."
        )
    return structure.loc[wanted]


def trivial_rankings(
    score: np.ndarray, structure: pd.DataFrame, levels: Sequence[str], nodes: Sequence[str]
) -> pd.DataFrame:
    """How far size, degree, depth and expression alone rank the nodes as their scores do.

    Parameters
    ----------
    score
        Signed score of each node, (n_nodes,); its absolute value is ranked. Dead nodes are better left out before.
    structure
        As `vnn.interpret.trivial.structure` makes it; further columns are taken too. Counts are columns
        n_inputs, in_degree, out_degree and all that begin with "n_".
    levels, nodes
        Names, (n_nodes,).

    Returns
    -------
    A row per level ("all" last) and column: level, ranking, correlation (Spearman), n_nodes; a last row "together" per level has
    the multiple correlation of the ranks of scores with all columns, adjusted for their number. Columns that are
    constant in a level, or known for fewer than 4 of its nodes, have no row.
    """
    size, table = np.abs(np.asarray(score, dtype=np.float64)), matched(structure, levels, nodes)
    where = {name: np.flatnonzero(np.asarray(levels, dtype=object) == name) for name in dict.fromkeys(levels)}
    where["all"] = np.arange(len(size))
    found = []
    for level, at in where.items():
        for name in table:
            values = table[name].to_numpy(dtype=np.float64)[at]
            known = ~np.isnan(values)
            if known.sum() < LEAST or np.ptp(values[known]) == 0 or np.ptp(size[at][known]) == 0:
                continue
            rho = np.corrcoef(stats.rankdata(values[known]), stats.rankdata(size[at][known]))[0, 1]
            found.append((level, str(name), float(rho), int(known.sum())))
        known = at[table.notna().all(axis=1).to_numpy()[at]]
        together = _multiple(stats.rankdata(size[known]), table.iloc[known])
        if together is not None:
            found.append((level, "together", together, len(known)))
    return pd.DataFrame(found, columns=["level", "ranking", "correlation", "n_nodes"])


def _multiple(ranks: np.ndarray, table: pd.DataFrame) -> float | None:
    """Square root of the adjusted share of variance that the columns explain."""
    if len(ranks) < LEAST or np.ptp(ranks) == 0:
        return None
    columns = design(table)
    left = len(ranks) - columns.shape[1] - 1
    if not columns.shape[1] or left < 1:
        return None
    rest = _residuals(ranks[None], columns.to_numpy())[0]
    unexplained = rest.var() / ranks.var() * (len(ranks) - 1) / left
    return float(math.sqrt(max(1 - unexplained, 0)))


def without_structure(ranks: np.ndarray, table: pd.DataFrame) -> np.ndarray:
    """Rank scores less what a regression on the columns of `structure` predicts of them.

    The correlation of two networks' residuals is their partial correlation given structure.

    Parameters
    ----------
    ranks
        (n_networks, n_nodes), of one level.
    table
        Rows of `structure` for these nodes, without missing values.

    Returns
    -------
    The same shape. Where nothing is left but rounding, 0.
    """
    rest = _residuals(ranks, design(table).to_numpy())
    spread = np.ptp(ranks, axis=1, keepdims=True)
    return np.where(np.abs(rest).max(1, keepdims=True) <= FLAT * np.maximum(spread, 1), 0.0, rest)


def _residuals(values: np.ndarray, columns: np.ndarray) -> np.ndarray:
    with_mean = np.column_stack([np.ones(values.shape[1]), columns])
    slopes = np.linalg.lstsq(with_mean, values.T, rcond=None)[0]
    return values - (with_mean @ slopes).T


def structure_band(
    score: np.ndarray,
    structure: pd.DataFrame,
    levels: Sequence[str],
    nodes: Sequence[str],
    *,
    coverage: float = 0.95,
    tail: str = "robust",
) -> pd.DataFrame:
    """Which nodes score more than nodes of their size, degree, depth and expression do.

    log |score| of all nodes together is regressed on the columns of `structure` by Huber's M-estimator, in which outlying
    nodes count less. Each node is predicted from the others, and its band is that prediction and the spread of the
    others' own errors of prediction. The scale is multiplicative: of twice the genes, perhaps twice the score.

    Parameters
    ----------
    score, structure, levels, nodes
        As for `trivial_rankings`.
    coverage
        Share of nodes the band is to hold; half of the rest lies above it.
    tail
        "robust": median and upper quartile of the errors, extended by the normal distribution on the scale of the square root
        of score over prediction; up to a tenth of outlying nodes do not widen it (`docs/stability.md`). "empirical": order
        statistics of the others' errors, which hold `coverage` whatever their distribution; but then never more than half of
        the rest (2.5 % of all nodes) stand above, however many deserve it.

    Returns
    -------
    A row per node in the order given: level, node, size (|score|), expected, lower, upper, above. Nodes with score 0 or
    incomplete structure have no band and do not stand above it; where the band is not defined, none has.

    Raises
    ------
    ValueError
        If shares or names make no sense.

    References
    ----------
    Huber (1964), doi:10.1214/aoms/1177703732; Barber, Candès, Ramdas & Tibshirani (2021), doi:10.1214/20-AOS1965
    """
    choose("`tail`", tail, TAILS)
    if not 0 < coverage < 1:
        raise ValueError(f"`coverage` is {coverage}; it is a share between 0 and 1, such as 0.95.")
    size, table = np.abs(np.asarray(score, dtype=np.float64)), matched(structure, levels, nodes)
    edges = np.full((3, len(size)), np.nan)
    fitted = np.flatnonzero(np.isfinite(size) & (size > 0) & table.notna().all(axis=1).to_numpy())
    if len(fitted) >= least_nodes(coverage):
        columns = design(table.iloc[fitted]).to_numpy()
        if len(fitted) > columns.shape[1] + LEAST:
            edges[:, fitted] = np.exp(_band(np.log(size[fitted]), columns, (1 - coverage) / 2, tail))
    return pd.DataFrame(
        {"level": list(levels), "node": list(nodes), "size": size, "expected": edges[0], "lower": edges[1],
         "upper": edges[2], "above": size > edges[2]}
    )  # fmt: skip


def least_nodes(coverage: float = 0.95) -> int:
    """The fewest nodes among which a band of this coverage has edges: 40 for 0.95.

    Examples
    --------
    >>> least_nodes(0.95)
    40
    """
    return math.ceil(2 / (1 - coverage) - FLAT)


def _band(values: np.ndarray, columns: np.ndarray, beyond: float, tail: str) -> np.ndarray:
    """Prediction of each value from the others, and the edges of its band, (3, n)."""
    with_mean = np.column_stack([np.ones(len(values)), columns])
    rest, weight = _huber(values, with_mean)
    root = np.sqrt(weight)[:, None] * with_mean
    leverage = np.minimum(np.einsum("ij,jk,ik->i", root, np.linalg.pinv(root.T @ root), root), 1 - FLAT)
    error = rest / (1 - leverage)
    lower, upper = (_edges_of_others if tail == "empirical" else _extended)(error, beyond)
    predicted = values - error
    return np.stack([predicted, predicted + lower, predicted + upper])


def _huber(values: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Residuals and weights of Huber's regression, scale by the median absolute deviation, iterated to rest."""
    weight = np.ones(len(values))
    for _ in range(100):
        root = np.sqrt(weight)
        slopes = np.linalg.lstsq(columns * root[:, None], values * root, rcond=None)[0]
        rest = values - columns @ slopes
        scale = np.median(np.abs(rest - np.median(rest))) / QUARTILE
        if scale <= FLAT * max(np.ptp(values), FLAT):
            break
        updated = np.minimum(1, HUBER * scale / np.maximum(np.abs(rest), FLAT * scale))
        settled = np.abs(updated - weight).max() < FLAT
        weight = updated
        if settled:
            break
    return rest, weight


def _edges_of_others(error: np.ndarray, beyond: float) -> tuple[np.ndarray, np.ndarray]:
    """For each error the order statistics of all others that leave out `beyond` on either side."""
    kept = math.ceil((1 - beyond) * len(error) - FLAT)
    return _nth_of_others(error, len(error) - kept - 1), _nth_of_others(error, kept - 1)


def _nth_of_others(values: np.ndarray, n: int) -> np.ndarray:
    """For each value the nth smallest of all others, counted from 0."""
    order = np.argsort(values, kind="stable")
    rank = np.empty(len(values), dtype=int)
    rank[order] = np.arange(len(values))
    return values[order][np.where(rank <= n, n + 1, n)]


def _extended(error: np.ndarray, beyond: float) -> tuple[np.ndarray, np.ndarray]:
    """Median and upper quartile of the others on the scale of exp(error / 2), extended by the normal distribution."""
    root = np.exp(error / 2)

    def quantile_of_others(share: float) -> np.ndarray:
        place = share * (len(root) - 2)
        below = _nth_of_others(root, math.floor(place))
        return below + (place - math.floor(place)) * (_nth_of_others(root, math.ceil(place)) - below)

    middle = quantile_of_others(0.5)
    far = float(stats.norm.ppf(1 - beyond)) / QUARTILE * (quantile_of_others(0.75) - middle)
    return 2 * np.log(np.maximum(middle - far, np.finfo(float).tiny)), 2 * np.log(middle + far)

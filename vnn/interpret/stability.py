"""Stability: whether node scores would be the same with other seeds, and with other people.

Two different questions. Networks of the same people that differ in their seeds tell how many networks must be averaged;
networks of complementary halves of the people tell whether a node would be found again, and only they count in a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from vnn._atomic import write_csv, write_text
from vnn._errors import AlignmentError, culprits
from vnn.chance import generator
from vnn.interpret.trivial import design, matched, structure_band, trivial_rankings, without_structure
from vnn.training.interval import interval

NETWORKS = ("seed", "split", "pair", "half")
PEARSON, SPEARMAN, RANKS, RESIDUAL = "Pearson", "Spearman", "rank scores", "rank scores without structure"
ALL = "all"
LEAST_NODES = 3
LEAST_PAIRS = 3
LARGEST = 1 - 1e-9
TOP = 0.1
SETS = 20
CURVE = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True, eq=False)
class NetworkScores:
    """Signed scores of all nodes in each of several networks, for one contrast.

    Parameters
    ----------
    values
        Signed shares, (n_networks, n_nodes), finite.
    nodes, levels
        Name and level of each node, (n_nodes,).
    networks
        A row per network: seed, split, and for networks of half of the people pair and half (missing for others). Names are
        compared, not their order. The halves of a pair are complementary.

    Raises
    ------
    AlignmentError
        If shapes do not meet or names are repeated.
    ValueError
        If a score is not finite, a column is missing, or a pair has other than two halves.
    """

    values: np.ndarray
    nodes: tuple[str, ...]
    levels: tuple[str, ...]
    networks: pd.DataFrame

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=np.float64)
        values.flags.writeable = False
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "nodes", tuple(self.nodes))
        object.__setattr__(self, "levels", tuple(self.levels))
        shape = (len(self.networks), len(self.nodes))
        if values.shape != shape or len(self.levels) != shape[1]:
            raise AlignmentError(
                f"`values` has shape {values.shape}, with {shape[0]:,} networks, {shape[1]:,} nodes and {len(self.levels):,} "
                "levels; give one row per network and one column, name and level per node."
            )
        index = pd.MultiIndex.from_arrays([list(self.levels), list(self.nodes)])
        if index.has_duplicates:
            twice = index[index.duplicated()].unique()
            raise AlignmentError(
                f"{len(twice):,} nodes are named more than once in their level: {culprits(f'{a}/{b}' for a, b in twice)}. Give "
                "one contrast at a time."
            )
        if absent := [name for name in NETWORKS if name not in self.networks]:
            raise ValueError(
                f"`networks` lacks the columns {culprits(absent)}; it needs seed, split, pair and half, the last two missing for "
                "networks of all people."
            )
        if bad := int((~np.isfinite(values)).any(1).sum()):
            raise ValueError(
                f"{bad:,} of {shape[0]:,} networks have scores that are not finite; leave out those that diverged."
            )
        table = self.networks[list(NETWORKS)].reset_index(drop=True)
        object.__setattr__(self, "networks", table)
        if (table["pair"].isna() != table["half"].isna()).any():
            raise ValueError(
                "some networks have a pair without a half, or a half without a pair; give both, or neither."
            )
        halves = table.dropna(subset="pair").groupby("pair")["half"].nunique()
        if len(wrong := halves[halves > 2]):
            raise ValueError(
                f"{len(wrong):,} pairs have more than two halves: {culprits(wrong.index)}. Name pairs apart."
            )
        whole = table[table["pair"].isna()]
        if whole.duplicated(["seed", "split"]).any():
            raise ValueError("two networks of all people have the same seed and split; give each network once.")

    @property
    def whole(self) -> np.ndarray:
        """Positions of the networks of all people."""
        return np.flatnonzero(self.networks["pair"].isna().to_numpy())

    def score(self) -> np.ndarray:
        """Mean over the seeds of a split, then over splits, of the networks of all people; missing without any."""
        table = self.networks.iloc[self.whole]
        parts = [self.values[self.whole[at]].mean(0) for at in table.groupby("split").indices.values()]
        return np.mean(parts, axis=0) if parts else np.full(len(self.nodes), np.nan)

    def halves(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Pairs that have both halves, by name, and their scores averaged over seeds, (n_pairs, 2, n_nodes)."""
        table = self.networks[self.networks["pair"].notna()]
        names, found = [], []
        for pair, part in sorted(table.groupby("pair"), key=lambda item: str(item[0])):
            means = [self.values[part.index[part["half"] == h]].mean(0) for h in sorted(part["half"].unique(), key=str)]
            if len(means) == 2:
                names.append(str(pair))
                found.append(np.stack(means))
        return tuple(names), np.stack(found) if found else np.empty((0, 2, len(self.nodes)))


@dataclass(frozen=True, eq=False)
class Stability:
    """How far scores of nodes can be expected to come again.

    Parameters
    ----------
    over_seeds
        Mean correlation between networks of the same people and different seeds: level ("all": mean over levels weighted by
        their nodes), measure, mean, low, high (95 %, leave-one-network-out jackknife), n_networks, n_pairs, n_nodes.
    over_people
        Mean correlation between complementary halves of the people: level, measure, mean, low, high (95 %, corrected for
        pairs sharing people), n_pairs, n_nodes.
    nodes
        A row per node: level, node, score, dead, sign_agreement (share of half-samples with the sign of the score), top_decile
        (share of half-samples in which |score| is among the largest tenth of its level, or the part asked for), n_halves, and
        with structure size, expected, lower, upper, above (`structure_band`).
    reliability
        Correlation between means of n networks and means of n others, by Spearman-Brown from one network's, and as
        observed between disjoint sets: level, n_networks, predicted, observed, n_sets.
    needed
        Networks that must be averaged for a reliability over seeds: level, correlation, target, n_networks (missing when no
        number is enough).
    trivial
        Correlation of |score| with size, degrees, depth and expression (`trivial_rankings`).
    left_out
        What is not given and why, a sentence each.
    """

    over_seeds: pd.DataFrame
    over_people: pd.DataFrame
    nodes: pd.DataFrame
    reliability: pd.DataFrame
    needed: pd.DataFrame
    trivial: pd.DataFrame
    left_out: tuple[str, ...] = field(default=())

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables by name."""
        return {
            "over_seeds": self.over_seeds,
            "over_people": self.over_people,
            "nodes": self.nodes,
            "reliability": self.reliability,
            "needed": self.needed,
            "trivial": self.trivial,
        }

    def to_csv(self, folder: Path | str) -> None:
        """Write every table as stability_NAME.csv and what was left out as stability_left_out.txt into an existing folder."""
        for name, table in self.tables.items():
            write_csv(Path(folder) / f"stability_{name}.csv", table, index=False)
        write_text(Path(folder) / "stability_left_out.txt", "".join(f"{line}\n" for line in self.left_out))

    def words(self) -> tuple[str, ...]:
        """The result in sentences, for the page and the print."""
        found = [
            f"Over complementary halves of the people {_how(row)} ({row['n_pairs']} pairs, {row['n_nodes']:,} nodes)."
            for row in _overall(self.over_people)
        ]
        found += [
            f"Over seeds {_how(row)} ({row['n_networks']} networks, {row['n_nodes']:,} nodes). This says how many networks to "
            "average, not whether other people would give the same."
            for row in _overall(self.over_seeds)
        ]
        for row in self.needed[self.needed["level"] == ALL].to_dict("records"):
            n = float(row["n_networks"])
            enough = (
                "no number of networks reaches"
                if math.isnan(n)
                else f"{n:.0f} network{'s give' if n > 1 else ' gives'}"
            )
            found.append(f"Over seeds {enough} a reliability of {row['target']:g} (Spearman-Brown).")
        together = self.trivial[(self.trivial["ranking"] == "together") & (self.trivial["level"] == ALL)]
        found += [
            f"Size, degree, depth and expression together rank the nodes with a multiple correlation of {correlation:.2f}."
            for correlation in together["correlation"]
        ]
        if "above" in self.nodes and self.nodes["upper"].notna().any():
            alive = self.nodes[self.nodes["upper"].notna()]
            found.append(
                f"{int(alive['above'].sum()):,} of {len(alive):,} nodes score more than their size and place explain."
            )
        if dead := int(self.nodes["dead"].sum()):
            found.append(
                f"{dead:,} of {len(self.nodes):,} nodes score 0 in every network; they are left out of all figures."
            )
        return (*found, *self.left_out)


def _overall(table: pd.DataFrame) -> list[dict[Hashable, Any]]:
    return table[(table["level"] == ALL) & (table["measure"] == RANKS)].to_dict("records")


def _how(row: dict[Hashable, Any]) -> str:
    between = "" if np.isnan(row["low"]) else f", 95 % interval {row['low']:.2f} to {row['high']:.2f}"
    return f"rank scores of nodes correlate at {row['mean']:.2f}{between}"


def stability(
    networks: NetworkScores,
    *,
    score: np.ndarray | None = None,
    structure: pd.DataFrame | None = None,
    target: float = 0.9,
    top: float = TOP,
    seed: int = 0,
) -> Stability:
    """How stable the scores of nodes are, over seeds and over people, and how far their size alone explains them.

    Nodes that score 0 in every network ("dead") are left out and counted, as they alone make any ranking look stable. Rank scores
    are ranks of |score| within a level; "without structure" they are the residuals of a regression on the logarithms of size
    and degrees and on expression. Over seeds, networks of the same split are compared; intervals leave out one network at a
    time, as pairs share networks. Over people, the seeds of each half are averaged first.

    Parameters
    ----------
    networks
        Scores per network.
    score
        The score that is reported, (n_nodes,); `networks.score()` unless given.
    structure
        As `vnn.interpret.trivial.structure` makes it; without it nothing is said of trivial rankings.
    target
        Reliability for "how many networks do I need?".
    top
        Share of a level that counts as its top in half-samples.
    seed
        Of the sets of networks whose means are compared.

    Returns
    -------
    `Stability`; what cannot be computed is missing from its tables and named in `left_out`.

    Raises
    ------
    AlignmentError
        If `score` or `structure` are of other nodes.
    ValueError
        If `target` is not between 0 and 1.

    References
    ----------
    Spearman (1910), doi:10.1111/j.2044-8295.1910.tb00206.x; Brown (1910), doi:10.1111/j.2044-8295.1910.tb00207.x;
    Zhao, Shao & Asmann (2022), doi:10.1016/j.gpb.2022.07.003; Shah & Samworth (2013), doi:10.1111/j.1467-9868.2011.01034.x;
    Nadeau & Bengio (2003), doi:10.1023/A:1024068626366
    """
    _check_target(target)
    reported = networks.score() if score is None else np.asarray(score, dtype=np.float64)
    if reported.shape != (len(networks.nodes),):
        raise AlignmentError(f"`score` has shape {reported.shape} for {len(networks.nodes):,} nodes; give one each.")
    table = None if structure is None else matched(structure, networks.levels, networks.nodes)
    left_out: list[str] = []
    dead = (networks.values == 0).all(0)
    cuts = _levels(networks, dead, left_out)
    names, halves = networks.halves()
    over_seeds, correlations = _over_seeds(networks, cuts, table, left_out)
    over_people = _over_people(networks, names, halves, cuts, table, left_out)
    reliability, needed = _reliability(networks, cuts, correlations, target, seed, left_out)
    nodes = _nodes(networks, reported, halves, dead, top, left_out)
    trivial = pd.DataFrame(columns=["level", "ranking", "correlation", "n_nodes"])
    alive = np.flatnonzero(~dead & np.isfinite(reported))
    if table is None:
        left_out.append("No structure was given, so nothing is said of size, degree or expression.")
    elif not len(alive):
        left_out.append("No node has a score, so nothing is said of size, degree or expression.")
    else:
        levels, node_names = [networks.levels[i] for i in alive], [networks.nodes[i] for i in alive]
        trivial = trivial_rankings(reported[alive], table, levels, node_names)
        band = structure_band(reported[alive], table, levels, node_names).drop(columns=["level", "node"])
        nodes = nodes.join(band.set_index(alive)).astype({"above": "boolean"})
        nodes["above"] = nodes["above"].fillna(False).astype(bool)
        if band["upper"].isna().all():
            left_out.append("Too few nodes with a score and known structure for a prediction band (40 are needed).")
    return Stability(over_seeds, over_people, nodes, reliability, needed, trivial, tuple(left_out))


def spearman_brown(correlation: float, n: float) -> float:
    """Reliability of the mean of n networks whose scores correlate as one with another: n r / (1 + (n - 1) r).

    Parameters
    ----------
    correlation
        Mean correlation r between single networks.
    n
        Networks averaged.

    Returns
    -------
    The expected correlation with the mean of n other networks; missing where the denominator is not positive.

    References
    ----------
    Spearman (1910), doi:10.1111/j.2044-8295.1910.tb00206.x; Brown (1910), doi:10.1111/j.2044-8295.1910.tb00207.x

    Examples
    --------
    >>> spearman_brown(0.5, 2)
    0.6666666666666666
    """
    below = 1 + (n - 1) * correlation
    return n * correlation / below if below > 0 else math.nan


def networks_needed(correlation: float, target: float = 0.9) -> float:
    """The fewest networks whose mean has this reliability over seeds; missing when no number is enough (r not above 0).

    Parameters
    ----------
    correlation
        Mean correlation between single networks.
    target
        Reliability, between 0 and 1.

    Examples
    --------
    >>> networks_needed(0.5, 0.9)
    9
    """
    _check_target(target)
    if not correlation > 0:
        return math.nan
    if correlation >= target:
        return 1
    return math.ceil(target * (1 - correlation) / (correlation * (1 - target)) - 1e-9)


def _check_target(target: float) -> None:
    if not 0 < target < 1:
        raise ValueError(f"`target` is {target}; it is a reliability between 0 and 1, such as 0.9.")


def _levels(networks: NetworkScores, dead: np.ndarray, left_out: list[str]) -> dict[str, np.ndarray]:
    """Living nodes of each level that has enough of them, by position."""
    levels = np.array(networks.levels, dtype=object)
    cuts = {}
    for level in dict.fromkeys(networks.levels):
        at = np.flatnonzero((levels == level) & ~dead)
        if len(at) >= LEAST_NODES:
            cuts[level] = at
        else:
            left_out.append(
                f"Level {level!r} has {len(at)} nodes that ever score, of {(levels == level).sum():,}; correlations need "
                f"{LEAST_NODES}."
            )
    return cuts


def _measures(values: np.ndarray, at: np.ndarray, table: pd.DataFrame | None) -> dict[str, tuple[np.ndarray, int]]:
    """Per measure the numbers whose Pearson correlation it is, (n_networks, n_nodes), and how many nodes have them."""
    here = values[:, at]
    ranks = stats.rankdata(np.abs(here), axis=1)
    found = {PEARSON: (here, len(at)), SPEARMAN: (stats.rankdata(here, axis=1), len(at)), RANKS: (ranks, len(at))}
    if table is not None:
        known = np.flatnonzero(table.iloc[at].notna().all(axis=1).to_numpy())
        rows = table.iloc[at[known]].drop(columns="depth", errors="ignore")
        if len(known) and len(known) - design(rows).shape[1] - 1 >= LEAST_NODES:
            found[RESIDUAL] = (without_structure(stats.rankdata(np.abs(here[:, known]), axis=1), rows), len(known))
    return found


def _correlations(numbers: np.ndarray) -> np.ndarray:
    """Between all rows; missing where one of them is constant."""
    centred = numbers - numbers.mean(1, keepdims=True)
    length = np.sqrt((centred**2).sum(1))
    flat = length <= 1e-12 * np.abs(numbers).max(1) * math.sqrt(numbers.shape[1])
    unit = centred / np.where(flat, 1.0, length)[:, None]
    unit[flat] = np.nan
    return np.clip(unit @ unit.T, -1, 1)


def _groups(networks: NetworkScores) -> list[tuple[str, np.ndarray]]:
    """Networks of all people that differ only in their seeds, by split."""
    table = networks.networks.iloc[networks.whole]
    parts = table.sort_values("seed", kind="stable", key=lambda seeds: seeds.map(str)).groupby("split")
    return [(str(name), part.index.to_numpy()) for name, part in parts if len(part) > 1]


def _over_seeds(
    networks: NetworkScores, cuts: dict[str, np.ndarray], table: pd.DataFrame | None, left_out: list[str]
) -> tuple[pd.DataFrame, dict[str, float]]:
    columns = ["level", "measure", "mean", "low", "high", "n_networks", "n_pairs", "n_nodes"]
    groups = _groups(networks)
    if not groups:
        left_out.append(
            "No two networks of all people share a split, so nothing is said of stability over seeds; train 2 seeds."
        )
        return pd.DataFrame(columns=columns), {}
    ends = [pair for _, at in groups for pair in combinations(at.tolist(), 2)]
    made: dict[tuple[str, str], tuple[np.ndarray, int]] = {}
    for level, at in cuts.items():
        for measure, (numbers, n_nodes) in _measures(networks.values, at, table).items():
            between = _correlations(numbers)
            made[level, measure] = (np.array([between[i, j] for i, j in ends]), n_nodes)
    _add_all(made, left_out, "networks")
    rows, correlations = [], {}
    for (level, measure), (pairs, n_nodes) in made.items():
        there = ~np.isnan(pairs)
        if not there.any():
            continue
        kept = [pair for pair, given in zip(ends, there, strict=True) if given]
        mean, low, high = jackknife(pairs[there], kept)
        counted = len({network for pair in kept for network in pair})
        rows.append((level, measure, mean, low, high, counted, len(kept), n_nodes))
        if measure == RANKS:
            correlations[level] = mean
    if sum(len(at) for _, at in groups) < 3:
        left_out.append("There are only 2 networks that differ in their seeds, so their correlation has no interval.")
    return pd.DataFrame(rows, columns=columns), correlations


def _add_all(made: dict[tuple[str, str], tuple[np.ndarray, int]], left_out: list[str], what: str) -> None:
    """The mean over levels, weighted by their nodes, of pairs that have a correlation in every level."""
    flat = sorted({level for (level, _), (pairs, _) in made.items() if np.isnan(pairs).any()})
    if flat:
        left_out.append(
            f"In the levels {culprits(flat)} some {what} give all nodes the same score; these pairs have no correlation there."
        )
    for measure in (PEARSON, SPEARMAN, RANKS, RESIDUAL):
        parts = [(pairs, n) for (_, name), (pairs, n) in made.items() if name == measure]
        if parts:
            total = sum(n for _, n in parts)
            made[ALL, measure] = (np.sum([pairs * (n / total) for pairs, n in parts], axis=0), total)


def jackknife(pairs: np.ndarray, ends: Sequence[tuple[int, int]]) -> tuple[float, float, float]:
    """Mean of correlations between networks and its 95 % interval, leaving out one network with all of its pairs at a time.

    Pairs that share a network are not independent, so that their number says little; networks are. The interval is made on
    Fisher's scale with Student's t and one degree of freedom less than networks.

    Parameters
    ----------
    pairs
        Correlation of each pair, (n_pairs,).
    ends
        The two networks of each, by number; a network is never paired with itself.

    Returns
    -------
    Mean, low, high; without interval (missing) below 3 networks.

    References
    ----------
    Efron & Stein (1981), doi:10.1214/aos/1176345462
    """
    if any(a == b for a, b in ends):
        raise ValueError(
            "a network is paired with itself, which correlates at 1 and says nothing; leave such pairs out."
        )
    mean = float(np.mean(pairs))
    ids = sorted({network for pair in ends for network in pair})
    first, second = np.array([a for a, _ in ends]), np.array([b for _, b in ends])
    left = []
    for network in ids:
        others = (first != network) & (second != network)
        if others.any():
            left.append(np.arctanh(np.clip(pairs[others].mean(), -LARGEST, LARGEST)))
    n = len(left)
    if n < 3:
        return mean, math.nan, math.nan
    error = math.sqrt((n - 1) / n * ((np.array(left) - np.mean(left)) ** 2).sum())
    reach = float(stats.t.ppf(0.975, n - 1)) * error
    centre = math.atanh(min(max(mean, -LARGEST), LARGEST))
    return mean, math.tanh(centre - reach), math.tanh(centre + reach)


def _over_people(
    networks: NetworkScores,
    names: tuple[str, ...],
    halves: np.ndarray,
    cuts: dict[str, np.ndarray],
    table: pd.DataFrame | None,
    left_out: list[str],
) -> pd.DataFrame:
    columns = ["level", "measure", "mean", "low", "high", "n_pairs", "n_nodes"]
    asked = networks.networks["pair"].dropna().nunique()
    if asked > len(names):
        left_out.append(
            f"{asked - len(names)} of {asked} pairs have one half only, as the other's networks are missing."
        )
    if len(names) < LEAST_PAIRS:
        left_out.append(
            f"There are {len(names)} complete pairs of half-samples; {LEAST_PAIRS} are needed for stability over people. Ask for "
            "more pairs of half-samples."
        )
        return pd.DataFrame(columns=columns)
    flat = halves.reshape(-1, halves.shape[2])
    made = {}
    for level, at in cuts.items():
        for measure, (numbers, n_nodes) in _measures(flat, at, table).items():
            between = _correlations(numbers)
            made[level, measure] = (np.array([between[2 * i, 2 * i + 1] for i in range(len(names))]), n_nodes)
    _add_all(made, left_out, "half-samples")
    rows = []
    for (level, measure), (pairs, n_nodes) in made.items():
        fisher = np.arctanh(np.clip(pairs[:, None], -LARGEST, LARGEST))
        mean, low, high = (float(np.tanh(value[0])) for value in interval(fisher, 1.0))
        if not np.isnan(mean):
            rows.append((level, measure, mean, low, high, int((~np.isnan(pairs)).sum()), n_nodes))
    return pd.DataFrame(rows, columns=columns)


def _reliability(
    networks: NetworkScores,
    cuts: dict[str, np.ndarray],
    correlations: dict[str, float],
    target: float,
    seed: int,
    left_out: list[str],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    needed = pd.DataFrame(
        [(level, r, target, networks_needed(r, target)) for level, r in correlations.items()],
        columns=["level", "correlation", "target", "n_networks"],
    ).astype({"n_networks": float})
    groups = _groups(networks)
    most = max((len(at) // 2 for _, at in groups), default=0)
    if correlations and most < 2:
        left_out.append(
            "Fewer than 4 seeds share a split, so that means of 2 networks are not observed, only predicted."
        )
    made: dict[tuple[str, int], tuple[float, int]] = {}
    for level, at in cuts.items():
        ranks = stats.rankdata(np.abs(networks.values[:, at]), axis=1)
        for n in range(1, most + 1):
            found = []
            for split, members in groups:
                for draw in range(SETS if len(members) >= 2 * n else 0):
                    chosen = generator(seed, "disjoint networks", split, n, draw).permutation(members)[: 2 * n]
                    found.append(_correlations(np.stack([ranks[chosen[:n]].mean(0), ranks[chosen[n:]].mean(0)]))[0, 1])
            there = [r for r in found if not np.isnan(r)]
            if there:
                made[level, n] = (float(np.mean(there)), len(there))
    if cuts:
        sizes = {level: len(at) for level, at in cuts.items()}
        for n in range(1, most + 1):
            parts = [(made[level, n], sizes[level]) for level in cuts if (level, n) in made]
            if parts:
                weights = [size for _, size in parts]
                made[ALL, n] = (float(np.average([r for (r, _), _ in parts], weights=weights)), parts[0][0][1])
    rows = []
    for level, r in correlations.items():
        for n in sorted({*CURVE, *range(1, most + 1)}):
            observed, sets = made.get((level, n), (math.nan, 0))
            rows.append((level, n, spearman_brown(r, n), observed, sets))
    return pd.DataFrame(rows, columns=["level", "n_networks", "predicted", "observed", "n_sets"]), needed


def _nodes(
    networks: NetworkScores, score: np.ndarray, halves: np.ndarray, dead: np.ndarray, share: float, left_out: list[str]
) -> pd.DataFrame:
    found = pd.DataFrame({"level": networks.levels, "node": networks.nodes, "score": score, "dead": dead})
    agreement, top = np.full(len(dead), np.nan), np.full(len(dead), np.nan)
    counted = 2 * len(halves)
    if len(halves) >= LEAST_PAIRS:
        flat = halves.reshape(counted, -1)
        signed = ~dead & np.isfinite(score) & (score != 0)
        agreement[signed] = (np.sign(flat) == np.sign(score))[:, signed].mean(0)
        top[~dead] = in_top(flat, networks.levels, ~dead, share)[:, ~dead].mean(0)
        if not np.isfinite(score).any():
            left_out.append("There is no score of all people, so half-samples have no sign to agree with.")
    return found.assign(sign_agreement=agreement, top_decile=top, n_halves=counted if len(halves) >= LEAST_PAIRS else 0)


def in_top(values: np.ndarray, levels: Sequence[str], alive: np.ndarray, share: float = TOP) -> np.ndarray:
    """Which |scores| are among the largest of their level, per network.

    A node is, if fewer others are strictly larger than the level has places: its living nodes times `share`, rounded up. A score
    of 0 never is.

    Parameters
    ----------
    values
        (n_networks, n_nodes).
    levels
        Of each node.
    alive
        Nodes that count, (n_nodes,).
    share
        Of the living nodes of a level.

    Returns
    -------
    Boolean, the shape of `values`.
    """
    size, names = np.where(alive, np.abs(values), 0.0), np.array(levels, dtype=object)
    found = np.zeros(size.shape, dtype=bool)
    for level in dict.fromkeys(levels):
        at = np.flatnonzero((names == level) & alive)
        places = math.ceil(share * len(at) - 1e-9)
        larger = len(at) - stats.rankdata(size[:, at], method="max", axis=1) if len(at) else size[:, at]
        found[:, at] = (larger < places) & (size[:, at] > 0)
    return found

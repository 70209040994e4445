"""Wiring nulls: the levels and nodes of a topology with other edges between them, drawn by name.

What is drawn is given edge by edge, so that a network trains many draws side by side: targets and their
numbers of edges are those of the real wiring, only the sources differ. Identity copies are resolved: an edge
out of a copy is an edge out of its original, so that a topology with copies and one with skip edges have the
same draws.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vnn import chance
from vnn._errors import OntologyError, culprits
from vnn.ontology.log import Entry
from vnn.ontology.topology import Topology

SETTLING = 10
MOST_TRADES = 2000
FEW = 20

KINDS = {
    "rewire": "edges exchanged within each mask, every number of incoming and outgoing edges kept",
    "reassign": "the nodes of one level exchanged, everything above them kept",
    "circular shift": "inputs shifted along their chromosomes, edges above exchanged within each mask",
}


@dataclass(frozen=True, eq=False)
class MaskDraws:
    """The edges between two levels, and their sources in every draw.

    Without identity copies this is a mask of the topology; with them it holds the edges whose sources have
    their originals in `source_level`, whichever copies they pass through.

    Parameters
    ----------
    source_level, target_level
        Names of the two levels.
    sources, targets
        Ids of the nodes of the two levels, copies left out, in their order.
    edges
        The real index pairs (source, target), shape (n_edges, 2), int32, sorted by target, then source.
    drawn
        The source of every edge in every draw, shape (n_edges, n_draws), int32, sorted within each target, none
        twice: what `Graph(edges, ..., sources=drawn)` takes.
    """

    source_level: str
    target_level: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    edges: np.ndarray
    drawn: np.ndarray

    def __len__(self) -> int:
        return len(self.edges)

    def __str__(self) -> str:
        return f"{self.source_level!r} -> {self.target_level!r}"


@dataclass(frozen=True, eq=False)
class Wirings:
    """Draws of one wiring null.

    Parameters
    ----------
    kind
        "rewire", "reassign" or "circular shift".
    topology
        The real wiring.
    seed, draws
        Seed of the study, and the numbers of the draws; a draw is the same whichever others are drawn with it.
    masks
        One for each pair of levels with edges between own nodes, by target level, then source level.
    report
        A row per draw and mask: `draw`, `source_level`, `target_level`, `edges`, `changeable` (how many edges could
        change at most), `swaps` (exchanges that were made; 0 where nodes moved instead) and `changed` (edges
        that the real wiring does not have).
    notes
        What could not change, in words.
    level
        The level whose nodes moved, or None.
    moved
        The node that came to the place of each own node of `level`, shape (n_nodes, n_draws), or None.
    """

    kind: str
    topology: Topology
    seed: int
    draws: tuple[int, ...]
    masks: tuple[MaskDraws, ...]
    report: pd.DataFrame
    notes: tuple[str, ...] = ()
    level: str | None = None
    moved: np.ndarray | None = None

    def column(self, draw: int) -> int:
        """The column of `drawn` that holds this draw."""
        if draw not in self.draws:
            raise OntologyError(f"draw {draw} is not among the {len(self.draws):,} draws here: {culprits(self.draws)}.")
        return self.draws.index(draw)

    def sources(self) -> dict[tuple[str, str], np.ndarray]:
        """`MaskDraws.drawn` by (source level, target level)."""
        return {(mask.source_level, mask.target_level): mask.drawn for mask in self.masks}

    def __str__(self) -> str:
        sums = self.report.groupby("draw")[["edges", "changed"]].sum()
        share = sums["changed"] / sums["edges"]
        low, high = f"{share.min():.0%}", f"{share.max():.0%}"
        spread = low if low == high else f"{low} to {high}"
        lines = [f"{self.kind}: {KINDS[self.kind]}; {len(self.draws):,} draws changed {spread} of the edges"]
        return "\n".join([*lines, *self.notes])


def rewire(topology: Topology, *, seed: int, draws: Iterable[int], swaps: int = 10, least: float = 0.1) -> Wirings:
    """Random wirings in which every node keeps its numbers of incoming and outgoing edges, within each mask.

    This is the competitive null: the same labels, and pathways of the same sizes made of other genes. It also
    takes away that genes of a pathway go together, and cannot tell the one from the other.

    Every realisation of the degrees is equally likely. The edges of a mask are exchanged by *global curveball
    trades*: targets are paired at random, and each pair deals the sources that only one of the two has out
    anew, every target getting as many as it had. A trade after which k sources have changed hands each way is k
    accepted double-edge swaps (a -> x, b -> y becoming a -> y, b -> x), and is counted so; one trade of all targets
    makes up to a quarter as many swaps as there are edges. Trades go on until `swaps` times as many swaps
    are made as edges could change (which is all edges where the mask is sparse; in a nearly complete mask it is the
    missing edges that wander), and then 10 more times: who stops at an accepted swap favours wirings with
    many neighbours. A mask that is nearly fixed stops after 2,000 trades; its number of swaps is in the report.

    What could change follows from the degrees alone: an edge that is in every realisation is known from the
    zeros of Ryser's structure matrix. A mask with a single realisation, such as a complete one, stays as it is
    and is named in `notes`.

    Parameters
    ----------
    topology
        The real wiring.
    seed
        Seed of the study.
    draws
        Numbers of the draws, such as `range(40)`.
    swaps
        Accepted swaps per edge that could change.
    least
        Share of the changeable edges that must have changed in a draw, in all masks together and in each mask of
        at least 20 of them.

    Returns
    -------
    `Wirings` of the kind "rewire".

    Raises
    ------
    OntologyError
        If no mask has a second realisation, or less than `least` changed.

    References
    ----------
    Strona et al. (2014), doi:10.1038/ncomms5114; uniformity of trades: Carstens (2015), doi:10.1103/PhysRevE.91.042812;
    all targets at once: Carstens et al. (2018), doi:10.4230/LIPIcs.ESA.2018.11; edges in every realisation: Brualdi
    (2006), Combinatorial Matrix Classes, doi:10.1017/CBO9780511721182, chapter 3.
    """
    numbers = _numbers(draws)
    wires = _wires(topology)
    drawn, rows = [], []
    for wire in wires:
        columns, made = _exchanged(wire, seed, numbers, swaps)
        drawn.append(columns)
        rows += _report(wire, numbers, columns, _changeable(wire.edges), made)
    report = pd.DataFrame(rows)
    if not report["changeable"].any():
        raise OntologyError(
            f"none of the {len(wires)} masks can be rewired: their degrees have one realisation each, "
            f"{culprits(wires)}. Use `reassign`, which exchanges inputs, or a topology whose terms share fewer genes."
        )
    _judge(report, least, "rewire", "Use `reassign`, or a topology whose terms share fewer genes")
    masks = tuple(wire.with_draws(columns) for wire, columns in zip(wires, drawn, strict=True))
    return Wirings("rewire", topology, seed, numbers, masks, report, _fixed(wires))


def reassign(
    topology: Topology, *, seed: int, draws: Iterable[int], level: str | None = None, least: float = 0.1
) -> Wirings:
    """Random gene-to-term assignments: the nodes of one level change places, everything above stays as it is.

    Every position keeps its edges, so terms keep their sizes, their overlaps and all that is above them; only
    which gene stands where is left to chance, a gene with many terms taking the place of one with few as well. Unlike
    `rewire` this keeps how terms overlap and does not keep how many terms a gene has.

    Parameters
    ----------
    topology, seed, draws
        As in `rewire`.
    level
        The level whose nodes change places; the inputs unless given. Where several features stand for one gene, name
        the level of the genes, so that the features of a gene stay together. Nodes without outgoing edges stay.
    least
        Share of the changeable edges that must have changed in a draw.

    Returns
    -------
    `Wirings` of the kind "reassign".

    Raises
    ------
    OntologyError
        If all nodes have the same targets, so that nothing can change, or less than `least` changed.
    """
    numbers = _numbers(draws)
    wires = _wires(topology)
    chosen = topology.level(topology.levels[0].name if level is None else level).name
    leading = [wire.edges[:, 0] for wire in wires if wire.source_level == chosen]
    if not leading:
        raise OntologyError(
            f"no edge leads out of level {chosen!r}; its nodes cannot be reassigned. Name a lower level."
        )
    n_nodes = next(len(wire.sources) for wire in wires if wire.source_level == chosen)
    movable = np.unique(np.concatenate(leading))
    moved = np.tile(np.arange(n_nodes)[:, None], len(numbers))
    for column, draw in enumerate(numbers):
        moved[movable, column] = chance.generator(seed, "reassign", chosen, draw).permutation(movable)
    drawn, rows = [], []
    for wire in wires:
        columns = wire.unchanged(len(numbers))
        could = 0
        if wire.source_level == chosen:
            columns, could = _moved(wire, moved), _sizes_allow(wire, len(movable))
        drawn.append(columns)
        rows += _report(wire, numbers, columns, could, np.zeros(len(numbers), dtype=np.int64))
    report = pd.DataFrame(rows)
    if not report["changeable"].any():
        raise OntologyError(
            f"all {len(movable):,} nodes of level {chosen!r} lead to the same targets; to exchange them changes nothing. "
            "Name another level."
        )
    _judge(report, least, "reassign", "Name another level")
    masks = tuple(wire.with_draws(columns) for wire, columns in zip(wires, drawn, strict=True))
    return Wirings("reassign", topology, seed, numbers, masks, report, (), chosen, moved)


def circular_shift(
    topology: Topology,
    chromosomes: Sequence[object] | np.ndarray,
    positions: Sequence[float] | np.ndarray,
    *,
    seed: int,
    draws: Iterable[int],
    least_shift: float = 0.1,
    swaps: int = 10,
    least: float = 0.5,
) -> Wirings:
    """Random assignments of variants to genes that keep how variants follow each other along the genome.

    On each chromosome the variants of the topology are numbered by position, and every edge out of the i-th now leaves
    the (i + k)-th, the last being followed by the first. Genes keep their numbers of variants, and the
    variants of a gene remain neighbours in linkage disequilibrium; only at the seam may a gene get variants
    from both ends. Edges above the inputs are exchanged as in `rewire`.

    Shifts are counted in variants, not in base pairs: with many variants in one region a shift may stay within it.
    A chromosome of n variants has about (1 - 2 `least_shift`) n shifts, so a topology with few variants on
    one chromosome has few draws, and where one gene has all variants of its chromosome no shift changes it. `why_no_shift` says
    beforehand whether draws can be made.

    Parameters
    ----------
    topology
        The real wiring, variants being its inputs.
    chromosomes, positions
        Of every variant in the order of `topology.inputs`, shape (n_inputs,).
    seed, draws, swaps
        As in `rewire`.
    least_shift
        The smallest shift in either direction, as a share of the variants of the chromosome, at most 0.5. A
        chromosome that allows none, such as one with a single variant, stays and is named in `notes`.
    least
        Share of the edges out of the inputs that must have changed in a draw, of those that could.

    Returns
    -------
    `Wirings` of the kind "circular shift".

    Raises
    ------
    OntologyError
        If places are missing, no chromosome can be shifted, or less than `least` changed.
    """
    numbers = _numbers(draws)
    places = _Chromosomes(topology, chromosomes, positions, least_shift)
    if not places.order:
        raise OntologyError(f"{places.why_none}. Use `rewire` or `reassign`.")
    wires = _wires(topology)
    first = topology.levels[0].name
    moved = np.stack([places.moved(seed, draw) for draw in numbers], axis=1)
    drawn, rows = [], []
    for wire in wires:
        if wire.source_level == first:
            columns = _moved(wire, moved)
            rows += _shift_report(wire, numbers, columns)
        else:
            columns, made = _exchanged(wire, seed, numbers, swaps)
            rows += _report(wire, numbers, columns, _changeable(wire.edges), made)
        drawn.append(columns)
    report = pd.DataFrame(rows)
    advice = "Give the positions of the variants as they are, or use `rewire`"
    _judge(report[report["source_level"] == first], least, "circular shift", advice)
    masks = tuple(wire.with_draws(columns) for wire, columns in zip(wires, drawn, strict=True))
    above = _fixed([wire for wire in wires if wire.source_level != first])
    return Wirings("circular shift", topology, seed, numbers, masks, report, (*places.notes, *above), first, moved)


def why_no_shift(
    topology: Topology,
    chromosomes: Sequence[object] | np.ndarray,
    positions: Sequence[float] | np.ndarray,
    *,
    seed: int,
    draws: Iterable[int],
    least_shift: float = 0.1,
    least: float = 0.5,
) -> str:
    """Why `circular_shift` cannot give these draws, or not as many different ones; empty where it can.

    Parameters
    ----------
    topology, chromosomes, positions, seed, draws, least_shift, least
        As in `circular_shift`.

    Returns
    -------
    A clause such as "its 18 variants allow 15 different shifts, and 20 draws are asked for".

    Raises
    ------
    OntologyError
        If a variant has no place.
    """
    numbers = _numbers(draws)
    places = _Chromosomes(topology, chromosomes, positions, least_shift)
    if not places.order:
        return places.why_none
    if places.n_shifts < len(numbers):
        n, many = len(topology.inputs), f"{places.n_shifts:,} different shifts"
        return f"{n:,} variants allow {many}, and {len(numbers):,} draws are asked for"
    leading = [wire for wire in _wires(topology) if wire.source_level == topology.levels[0].name]
    for draw in numbers:
        moved = places.moved(seed, draw)[:, None]
        report = pd.DataFrame(row for wire in leading for row in _shift_report(wire, (draw,), moved[wire.edges[:, 0]]))
        if (poor := _poorest(report, least)) is not None:
            return (
                f"a shift can leave genes much as they are (draw {draw} changes {poor['changed']:,} of {poor['changeable']:,} "
                "connections)"
            )
    return ""


def rewired_topology(wirings: Wirings, draw: int) -> Topology:
    """One draw as a `Topology` of its own, with the same levels, nodes and identity copies.

    A node that moved is followed by its copies.

    Parameters
    ----------
    wirings
        Draws of a null.
    draw
        The number of one of them.

    Examples
    --------
    >>> edges = pd.DataFrame([("inputs", g, "top", t) for g, t in ("ax", "bx", "cx", "cy", "dy", "ey")],
    ...                      columns=["source_level", "source", "target_level", "target"])
    >>> topology = Topology.from_edges({"inputs": "abcde", "top": "xy"}, edges)
    >>> wirings = rewire(topology, seed=1, draws=range(3))
    >>> rewired_topology(wirings, 2).table()["fan_in"].tolist() == topology.table()["fan_in"].tolist()
    True
    """
    at, topology = wirings.column(draw), wirings.topology
    own = {level.name: np.flatnonzero(level.own) for level in topology.levels}
    origins = _origins(topology)
    new_targets = [mask.edges[:, 1].copy() for mask in topology.masks]
    for wire, drawn in zip(_wires(topology), wirings.masks, strict=True):
        if wire.source_level == wirings.level:
            continue
        before = np.lexsort((wire.edges[:, 1], wire.edges[:, 0]))
        after = np.lexsort((wire.edges[:, 1], drawn.drawn[:, at]))
        target = np.empty(len(wire.edges), dtype=np.int64)
        target[before] = wire.edges[after, 1]
        for mask, where, edge in wire.slots:
            new_targets[mask][where] = own[wire.target_level][target[edge]]

    moved = None if wirings.moved is None else wirings.moved[:, at]

    def names(level: str, nodes: np.ndarray, *, leading: bool) -> np.ndarray:
        """Ids of some nodes of a level; copies of a node that moved, and the node as a source, have the id of who came."""
        found = np.array(topology.level(level).nodes, dtype=object)[nodes]
        if moved is not None and wirings.level is not None:
            where, row = (values[nodes] for values in origins[level])
            theirs = where == [x.name for x in topology.levels].index(wirings.level)
            if not leading and level == wirings.level:
                theirs[:] = False
            came = np.array(topology.level(wirings.level).nodes, dtype=object)[own[wirings.level]]
            found[theirs] = came[moved[row[theirs]]]
        return found

    tables = [
        pd.DataFrame(
            {
                "source_level": mask.source_level,
                "source": names(mask.source_level, mask.edges[:, 0], leading=True),
                "target_level": mask.target_level,
                "target": names(mask.target_level, target, leading=False),
            }
        )
        for mask, target in zip(topology.masks, new_targets, strict=True)
    ]
    everyone = {x.name: names(x.name, np.arange(len(x)), leading=False) for x in topology.levels}
    entry = Entry.of(
        wirings.kind,
        "masks",
        map(str, wirings.masks),
        f"null wiring, draw {draw} of seed {wirings.seed}: {KINDS[wirings.kind]}",
    )
    return Topology.from_edges(
        everyone,
        pd.concat(tables, ignore_index=True),
        copies={x.name: everyone[x.name][~x.own] for x in topology.levels},
        names=topology.names,
        log=(*topology.log, entry),
        provenance=topology.provenance,
    )


@dataclass(frozen=True, eq=False)
class _Wire:
    """The edges between own nodes of two levels, and where they stand in the topology.

    `slots` are triples: number of the mask, positions of its edges, and the edge here that each of them is.
    """

    source_level: str
    target_level: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    edges: np.ndarray
    slots: tuple[tuple[int, np.ndarray, np.ndarray], ...]

    def with_draws(self, drawn: np.ndarray) -> MaskDraws:
        return MaskDraws(self.source_level, self.target_level, self.sources, self.targets, self.edges, drawn)

    def unchanged(self, n_draws: int) -> np.ndarray:
        return np.repeat(self.edges[:, :1], n_draws, axis=1)

    def __str__(self) -> str:
        return f"{self.source_level} -> {self.target_level}"


def _origins(topology: Topology) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By level: number of the level where the original of each node is, and its row among that level's own nodes."""
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    below: Mapping[str, int] = {}
    for number, level in enumerate(topology.levels):
        own = level.own
        where, row = np.full(len(level), number), np.cumsum(own) - 1
        if not own.all():
            lower = np.array([below[level.nodes[node]] for node in np.flatnonzero(~own)])
            where[~own], row[~own] = (values[lower] for values in found[topology.levels[number - 1].name])
        found[level.name] = where, row
        below = {node: place for place, node in enumerate(level.nodes)}
    return found


def _wires(topology: Topology) -> list[_Wire]:
    """The edges by the levels of their originals, in the order of the target, then the source level."""
    origins, order = _origins(topology), {level.name: number for number, level in enumerate(topology.levels)}
    own = {x.name: tuple(node for node in x.nodes if node not in x.copies) for x in topology.levels}
    parts: dict[tuple[int, int], list[tuple[int, np.ndarray, np.ndarray, np.ndarray]]] = {}
    for number, mask in enumerate(topology.masks):
        source_where, source_row = (values[mask.edges[:, 0]] for values in origins[mask.source_level])
        target_where, target_row = (values[mask.edges[:, 1]] for values in origins[mask.target_level])
        high = order[mask.target_level]
        for low in np.unique(source_where[target_where == high]):
            kept = np.flatnonzero((target_where == high) & (source_where == low))
            parts.setdefault((high, int(low)), []).append((number, kept, source_row[kept], target_row[kept]))
    wires = []
    for (high, low), held in sorted(parts.items()):
        names = topology.levels[low].name, topology.levels[high].name
        n_sources = len(own[names[0]])
        keys = [target * n_sources + source for _, _, source, target in held]
        key, edge = np.unique(np.concatenate(keys), return_inverse=True)
        edges = np.stack([key % n_sources, key // n_sources], axis=1).astype(np.int32)
        cuts = np.split(edge, np.cumsum([len(part) for part in keys])[:-1])
        slots = tuple((number, kept, cut) for (number, kept, _, _), cut in zip(held, cuts, strict=True))
        wires.append(_Wire(*names, own[names[0]], own[names[1]], edges, slots))
    return wires


def _exchanged(wire: _Wire, seed: int, draws: Sequence[int], swaps: int) -> tuple[np.ndarray, np.ndarray]:
    """Sources of every edge in every draw, and how many swaps each draw took."""
    could = _changeable(wire.edges)
    drawn, made = wire.unchanged(len(draws)), np.zeros(len(draws), dtype=np.int64)
    if could:
        for column, draw in enumerate(draws):
            rng = chance.generator(seed, "rewire", draw, wire.source_level, wire.target_level)
            drawn[:, column], made[column] = _traded(wire.edges, swaps * could, rng)
    return drawn, made


def _traded(edges: np.ndarray, wanted: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Sources after global curveball trades with at least `wanted` accepted swaps, and the number of swaps.

    Every edge is one number made of its pair of targets, its source, and which target of the pair has it, so
    that sorting brings the sources which both have together.
    """
    rows, row = np.unique(edges[:, 1], return_inverse=True)
    source = edges[:, 0].astype(np.int64) << 1
    bits = int(source.max()).bit_length()
    only_source = (1 << bits) - 2
    free = 62 - (len(rows) // 2).bit_length()
    made, left = 0, SETTLING
    for _ in range(MOST_TRADES):
        place = rng.permutation(len(rows))
        key = ((place >> 1 << bits) | (place & 1))[row] | source
        key.sort()
        both = key[1:] >> 1 == key[:-1] >> 1
        alone = np.ones(len(key), dtype=bool)
        alone[1:] &= ~both
        alone[:-1] &= ~both
        lone = key[alone]
        dealt = (lone >> bits << free + 1) | (rng.integers(1 << free, size=len(lone)) << 1) | (lone & 1)
        dealt.sort()
        change = (dealt ^ lone) & 1
        made += int(change.sum()) // 2
        key[alone] = lone ^ change
        row = np.argsort(place)[(key >> bits << 1) | (key & 1)]
        source = key & only_source
        left -= made >= wanted
        if not left:
            break
    order = (row << bits) | source
    order.sort()
    return (order & only_source) >> 1, made


def _changeable(edges: np.ndarray) -> int:
    """At most how many edges can differ from these with all degrees kept.

    A row of the matrix of targets and sources that has d ones, of which f are in every realisation, and z
    zeros that are not in every realisation, can change min(d - f, z) of them; the same holds for columns.
    """
    fan_in, fan_out = (np.unique(edges[:, end], return_counts=True)[1] for end in (1, 0))
    return min(_rows_allow(fan_in, fan_out), _rows_allow(fan_out, fan_in))


def _rows_allow(rows: np.ndarray, columns: np.ndarray) -> int:
    """The sum over rows of how many ones can change, given the sums of rows and of columns, all above 0.

    With both sorted downwards, t(e, f) = e f + sum of the rows after e - sum of the first f columns counts the zeros in
    the upper left and the ones in the lower right of any realisation, so where it is 0 these are fixed. For a
    given e it is smallest where f is the number of columns of at least e.
    """
    r, s = -np.sort(-rows), -np.sort(-columns)
    e = np.arange(len(r) + 1)
    at_least, more = (np.searchsorted(-s, -e, side=side) for side in ("right", "left"))
    after = r.sum() - np.concatenate([[0], np.cumsum(r)])
    tight = e * at_least + after == np.concatenate([[0], np.cumsum(s)])[at_least]
    ones = np.maximum.accumulate(np.where(tight, at_least, 0)[::-1])[::-1][1:]
    last = np.minimum.accumulate(np.where(tight, more, len(s)))[:-1]
    return int(np.minimum(r - ones, last - r).clip(min=0).sum())


def _moved(wire: _Wire, moved: np.ndarray) -> np.ndarray:
    """Sources of every edge when who stands at each node's place is `moved`, sorted within each target."""
    n_sources = len(wire.sources)
    start = wire.edges[:, 1].astype(np.int64)[:, None] * n_sources
    return (np.sort(start + moved[wire.edges[:, 0]], axis=0) - start).astype(np.int32)


def _sizes_allow(wire: _Wire, n_nodes: int) -> int:
    """At most how many edges can differ when only targets keep their numbers of edges."""
    sizes = np.bincount(wire.edges[:, 1])
    return int(np.minimum(sizes, n_nodes - sizes).clip(min=0).sum())


def _report(
    wire: _Wire, draws: Sequence[int], drawn: np.ndarray, could: int, made: np.ndarray
) -> list[dict[str, object]]:
    start = wire.edges[:, 1].astype(np.int64) * len(wire.sources)
    real = start + wire.edges[:, 0]
    return [
        {
            "draw": draw,
            "source_level": wire.source_level,
            "target_level": wire.target_level,
            "edges": len(real),
            "changeable": could,
            "swaps": int(made[column]),
            "changed": len(real) - int(_among(start + drawn[:, column], real).sum()),
        }
        for column, draw in enumerate(draws)
    ]


def _shift_report(wire: _Wire, draws: Sequence[int], drawn: np.ndarray) -> list[dict[str, object]]:
    return _report(wire, draws, drawn, _sizes_allow(wire, len(wire.sources)), np.zeros(len(draws), dtype=np.int64))


def _among(keys: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which of `keys` are in the sorted `known`."""
    return known[np.searchsorted(known, keys).clip(max=len(known) - 1)] == keys


def _judge(report: pd.DataFrame, least: float, kind: str, advice: str) -> None:
    """An error unless every draw changed enough of what could change."""
    worst = _poorest(report, least)
    if worst is not None:
        raise OntologyError(
            f"draw {worst['draw']} of the null {kind!r} changed {worst['changed']:,} of the {worst['changeable']:,} edges "
            f"that could change in {worst['where']}; at least {least:.0%} must. {advice}."
        )


def _poorest(report: pd.DataFrame, least: float) -> pd.Series | None:
    """The first draw that changed too little of what could change, in all masks or in one of them."""
    whole = report.groupby("draw", as_index=False)[["changeable", "changed"]].sum()
    whole["where"] = "all masks"
    each = report.assign(where=report["source_level"] + " -> " + report["target_level"])
    every = pd.concat([whole, each], ignore_index=True)
    poor = every[(every["changeable"] >= FEW) & (every["changed"] < least * every["changeable"])]
    return poor.iloc[0] if len(poor) else None


def _fixed(wires: Sequence[_Wire]) -> tuple[str, ...]:
    return tuple(
        f"{wire}: its degrees have one realisation, its {len(wire.edges):,} edges stay"
        for wire in wires
        if not _changeable(wire.edges)
    )


def _numbers(draws: Iterable[int]) -> tuple[int, ...]:
    numbers = tuple(int(draw) for draw in draws)
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise ValueError(f"draws are {culprits(numbers)}; give each number from 0 once, such as range(40).")
    return numbers


class _Chromosomes:
    """The variants of each chromosome in the order of position, and how far they may be shifted."""

    def __init__(
        self,
        topology: Topology,
        chromosomes: Sequence[object] | np.ndarray,
        positions: Sequence[float] | np.ndarray,
        least: float,
    ) -> None:
        n_inputs = len(topology.inputs)
        where, at = pd.Series(list(chromosomes), dtype=object), np.asarray(positions, dtype=np.float64)
        if (len(where), at.shape) != (n_inputs, (n_inputs,)):
            raise OntologyError(
                f"there are {len(where):,} chromosomes and {at.size:,} positions for {n_inputs:,} variants; each input of "
                "the topology needs one, in the order of `topology.inputs`."
            )
        if (lost := where.isna().to_numpy() | ~np.isfinite(at)).any():
            names = [topology.inputs[variant] for variant in np.flatnonzero(lost)]
            raise OntologyError(
                f"{len(names):,} variants have no place on the genome: {culprits(names)}. Leave them out."
            )
        if not 0 <= least <= 0.5:
            raise ValueError(f"least_shift is {least:g}; it is a share of a chromosome, from 0 to 0.5.")
        self.order: dict[str, np.ndarray] = {}
        self.span: dict[str, tuple[int, int]] = {}
        notes = []
        for name, variants in sorted(
            (str(name), rows.to_numpy()) for name, rows in where.groupby(where).groups.items()
        ):
            smallest = max(1, int(np.ceil(least * len(variants))))
            if smallest > len(variants) - smallest:
                notes.append(f"chromosome {name}: {len(variants):,} variants allow no shift, their edges stay")
                continue
            self.order[name] = variants[np.argsort(at[variants], kind="stable")]
            self.span[name] = smallest, len(variants) - smallest
        self.n_inputs, self.notes = n_inputs, tuple(notes)
        self.n_shifts = math.prod(high - low + 1 for low, high in self.span.values())
        many = f"none of the {len(notes):,} chromosomes has" if len(notes) > 1 else "the one chromosome does not have"
        self.why_none = f"{many} enough variants to be shifted: {culprits(where.unique())}"

    def moved(self, seed: int, draw: int) -> np.ndarray:
        """The variant that comes to the place of each variant."""
        came = np.arange(self.n_inputs)
        for name, order in self.order.items():
            low, high = self.span[name]
            shift = int(chance.generator(seed, "circular shift", draw, name).integers(low, high, endpoint=True))
            came[order] = np.roll(order, -shift)
        return came

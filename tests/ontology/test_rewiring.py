"""Wiring nulls: what must change does, what must stay stays, and every realisation is as likely as the others."""

from __future__ import annotations

import itertools
import time
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from tests.planted import wiring
from tests.wirings import COLUMNS, toy_topology
from vnn._errors import OntologyError
from vnn.bench.genotypes import neighbouring_edges
from vnn.kernels import Graph
from vnn.models.wiring import resolve
from vnn.ontology import (
    Topology,
    circular_shift,
    read_reactome,
    reassign,
    rewire,
    rewired_topology,
    rewiring,
)
from vnn.ontology.rewiring import why_no_shift

Matrix = tuple[tuple[int, ...], ...]


def two_levels(matrix) -> Topology:
    """The topology of a 0/1 matrix (n_targets, n_sources)."""
    edges = [("inputs", f"s{s}", "top", f"t{t}") for t, s in np.argwhere(np.array(matrix))]
    levels = {"inputs": {edge[1] for edge in edges}, "top": {edge[3] for edge in edges}}
    return Topology.from_edges(levels, pd.DataFrame(edges, columns=COLUMNS))


def realisations(matrix) -> set[Matrix]:
    """All 0/1 matrices with the sums of rows and columns of this one, by trying them all."""
    matrix = np.array(matrix)
    rows = [[r for r in itertools.product((0, 1), repeat=matrix.shape[1]) if sum(r) == k] for k in matrix.sum(axis=1)]
    return {found for found in itertools.product(*rows) if (np.sum(found, axis=0) == matrix.sum(axis=0)).all()}


def as_matrix(mask, sources) -> Matrix:
    found = np.zeros((len(mask.targets), len(mask.sources)), dtype=int)
    found[mask.edges[:, 1], sources] = 1
    return tuple(tuple(row) for row in found.tolist())


def check_draws(wirings, *, sources_keep_degree: bool = True) -> None:
    """Edges are sorted and unique in every draw, and degrees are those of the real wiring."""
    for mask in wirings.masks:
        assert mask.drawn.shape == (len(mask.edges), len(wirings.draws))
        for sources in mask.drawn.T:
            key = mask.edges[:, 1].astype(int) * len(mask.sources) + sources
            assert (np.diff(key) > 0).all()
            if sources_keep_degree:
                assert np.array_equal(np.bincount(sources, minlength=len(mask.sources)),
                                      np.bincount(mask.edges[:, 0], minlength=len(mask.sources)))  # fmt: skip
        Graph(mask.edges, len(mask.sources), len(mask.targets), sources=mask.drawn)


def same_draws(a, b) -> bool:
    return all(np.array_equal(x.drawn, y.drawn) for x, y in zip(a.masks, b.masks, strict=True))


tables = st.lists(
    st.tuples(st.sampled_from(["inputs", "level 1"]), st.integers(0, 9), st.sampled_from("uvwxyz")),
    min_size=4,
    max_size=50,
)


def random_topology(table) -> Topology:
    """Inputs, a level of terms over them, and a top over both, with skips."""
    edges = []
    for level, source, target in table:
        if level == "inputs":
            edges.append(("inputs", f"g{source}", "level 1", target))
        else:
            edges += [("inputs", f"g{source}", "level 2", f"top {target}"), ("inputs", f"g{source}", "level 1", target)]
            edges.append(("level 1", target, "level 2", f"top {chr(ord(target) - source % 3)}"))
    frame = pd.DataFrame(edges, columns=COLUMNS).drop_duplicates()
    names: dict[str, set[str]] = {}
    for end in ("source", "target"):
        for level, node in zip(frame[f"{end}_level"], frame[end], strict=True):
            names.setdefault(level, set()).add(node)
    return Topology.from_edges({level: names[level] for level in sorted(names)}, frame)


class TestRewire:
    @given(table=tables, seed=st.integers(0, 2**32))
    @settings(max_examples=20, deadline=None)
    def test_every_degree_is_kept_and_the_report_tells_the_truth(self, table, seed):
        topology = random_topology(table)
        try:
            wirings = rewire(topology, seed=seed, draws=range(3), least=0)
        except OntologyError as error:
            if "one realisation each" not in str(error):
                raise
            return
        check_draws(wirings)
        for draw in wirings.draws:
            new = rewired_topology(wirings, draw)
            same = ["level", "node", "fan_in", "fan_out"]
            assert new.table()[same].equals(topology.table()[same])
            old_edges, new_edges = (set(map(tuple, x.to_edges().to_numpy())) for x in (topology, new))
            report = wirings.report[wirings.report["draw"] == draw]
            assert report["changed"].sum() == len(new_edges - old_edges)
            assert report["edges"].sum() == topology.n_edges
            assert (report["changed"] <= report["changeable"]).all()
            mobile = report["changeable"] > 0
            assert (report["swaps"] >= 10 * report["changeable"])[mobile].all()
            assert not report.loc[~mobile, "changed"].any()

    @pytest.mark.parametrize(
        "matrix",
        [
            [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
            [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]],
            [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]],
            [[1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 1, 1]],
        ],
    )
    def test_all_realisations_are_equally_likely(self, matrix):
        wirings = rewire(two_levels(matrix), seed=3, draws=range(800), swaps=1)
        (mask,) = wirings.masks
        found = Counter(as_matrix(mask, sources) for sources in mask.drawn.T)
        every = realisations(matrix)
        assert set(found) == every
        assert chisquare([found[one] for one in every]).pvalue > 1e-3

    def test_within_one_draw_number_nothing_depends_on_the_others(self):
        some = rewire(wiring(), seed=1, draws=(4, 2))
        every = rewire(wiring(), seed=1, draws=range(5))
        for a, b in zip(some.masks, every.masks, strict=True):
            assert np.array_equal(a.drawn, b.drawn[:, [4, 2]])
        assert not same_draws(every, rewire(wiring(), seed=2, draws=range(5)))
        assert len({mask.drawn.T.tobytes() for mask in every.masks}) == len(every.masks)
        assert len({column.tobytes() for column in every.masks[0].drawn.T}) == 5

    def test_masks_alike_are_drawn_apart(self):
        edges = [("inputs", f"g{i}", "level 1", f"t{i}") for i in range(6)]
        edges += [("level 1", f"t{i}", "level 2", f"u{i}") for i in range(6)]
        levels = {
            "inputs": {e[1] for e in edges[:6]},
            "level 1": {e[3] for e in edges[:6]},
            "level 2": {e[3] for e in edges[6:]},
        }
        low, high = rewire(
            Topology.from_edges(levels, pd.DataFrame(edges, columns=COLUMNS)), seed=0, draws=range(5)
        ).masks
        assert not np.array_equal(low.drawn, high.drawn)

    def test_nearly_all_edges_of_a_sparse_mask_change(self):
        report = rewire(wiring(), seed=0, draws=range(4)).report
        genes = report[report["target_level"] == "level 1"]
        assert (genes["changed"] > 0.5 * genes["edges"]).all()

    def test_copies_and_skip_edges_are_rewired_alike(self):
        least = {"seed": 5, "draws": range(6), "least": 0}
        edges, copies = (rewire(toy_topology(skips), **least) for skips in ("edges", "copies"))
        # The toy with copies has an edge more, from the copy of a in level 1 to p, where the other has a skip from the input.
        assert [str(mask) for mask in edges.masks] == [str(mask) for mask in copies.masks]
        assert same_draws(edges, copies)

    @pytest.mark.parametrize("skips", ["edges", "copies", "none"])
    @pytest.mark.parametrize("null", [rewire, reassign])
    def test_the_topology_of_a_draw_computes_what_the_draw_says(self, null, skips):
        topology = toy_topology(skips)
        wirings = null(topology, seed=2, draws=range(5), least=0)
        for draw in wirings.draws:
            new = rewired_topology(wirings, draw)
            found = {(name, stage.level): edges for stage in resolve(new).stages for name, edges in stage.edges.items()}
            for mask in wirings.masks:
                wanted = np.stack([mask.drawn[:, wirings.column(draw)], mask.edges[:, 1]], axis=1)
                assert np.array_equal(found[mask.source_level, mask.target_level], wanted)
            assert [len(level.copies) for level in new.levels] == [len(level.copies) for level in topology.levels]
            assert new.log[-1].step == wirings.kind

    @pytest.mark.parametrize("skips", ["edges", "copies"])
    def test_masks_are_those_a_network_computes(self, skips):
        topology = toy_topology(skips)
        wirings = rewire(topology, seed=0, draws=[0], least=0)
        stages = {
            (name, stage.level): edges for stage in resolve(topology).stages for name, edges in stage.edges.items()
        }
        assert {key: mask.tolist() for key, mask in stages.items()} == {
            (mask.source_level, mask.target_level): mask.edges.tolist() for mask in wirings.masks
        }
        assert list(wirings.sources()) == [(mask.source_level, mask.target_level) for mask in wirings.masks]

    @pytest.mark.parametrize(
        "matrix", [np.ones((3, 4)), [[1, 1, 1], [1, 1, 0], [1, 0, 0]], [[1, 1, 1, 1]], np.ones((4, 1))]
    )
    def test_degrees_with_one_realisation_are_refused(self, matrix):
        with pytest.raises(OntologyError, match=r"one realisation each.*Use `reassign`"):
            rewire(two_levels(matrix), seed=0, draws=[0])

    def test_a_fixed_mask_is_named_beside_one_that_changes(self):
        wirings = rewire(wiring(), seed=0, draws=[0])
        fixed = wirings.report[wirings.report["changeable"] == 0]
        assert list(fixed["target_level"]) == ["level 3", "level 3"]
        assert len(wirings.notes) == 2
        assert "level 2 -> level 3: its degrees have one realisation, its 2 edges stay" in str(wirings)

    def test_a_null_that_changes_too_little_is_an_error(self, monkeypatch):
        monkeypatch.setattr(rewiring, "MOST_TRADES", 0)
        with pytest.raises(
            OntologyError, match=r"changed 0 of the [0-9]+ edges that could change in all masks; at least 10%"
        ):
            rewire(wiring(), seed=0, draws=[0])

    @pytest.mark.parametrize("draws", [[], [-1], [1, 1]])
    def test_impossible_draws_are_refused(self, draws):
        with pytest.raises(ValueError, match="give each number from 0 once"):
            rewire(wiring(), seed=0, draws=draws)

    def test_an_absent_draw_is_named(self):
        with pytest.raises(OntologyError, match="draw 7 is not among the 2 draws"):
            rewired_topology(rewire(wiring(), seed=0, draws=range(2)), 7)


def random_matrix(n_targets: int, n_sources: int, density: float, seed: int) -> np.ndarray:
    found = (np.random.default_rng(seed).random((n_targets, n_sources)) < density).astype(int)
    found[0, 0] = 1
    return found


@given(st.builds(random_matrix, st.integers(2, 4), st.integers(2, 5), st.floats(0.2, 0.9), st.integers(0, 10**6)))
@example(np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 1, 0]]))
@settings(max_examples=60, deadline=None)
def test_what_could_change_agrees_with_trying_all_realisations(matrix):
    every = np.array(list(realisations(matrix)))
    edges = np.argwhere(matrix)[:, ::-1]
    could = rewiring._changeable(edges)
    most = max(int(((matrix == 1) & (other == 0)).sum()) for other in every)
    assert most <= could <= (matrix == 1).sum() - (every.all(axis=0)).sum()
    assert (could == 0) == (len(every) == 1)
    ever, always = every.any(axis=0), every.all(axis=0)
    kept = ever.any(axis=1)
    ones, zeros = ((matrix == 1) & ~always).sum(axis=1), ((matrix == 0) & ever).sum(axis=1)
    by_hand = np.minimum(ones, zeros)[kept].sum()
    assert rewiring._rows_allow(*(np.array([n for n in matrix.sum(axis=axis) if n]) for axis in (1, 0))) == by_hand


class TestReassign:
    def test_positions_keep_their_edges_and_everything_above_stays(self):
        topology = wiring()
        wirings = reassign(topology, seed=0, draws=range(3))
        check_draws(wirings, sources_keep_degree=False)
        genes, *above = wirings.masks
        assert wirings.moved is not None
        for mask in above:
            assert (mask.drawn == mask.edges[:, :1]).all()
        real = np.array(as_matrix(genes, genes.edges[:, 0]))
        for sources, moved in zip(genes.drawn.T, wirings.moved.T, strict=True):
            drawn = np.array(as_matrix(genes, sources))
            assert np.array_equal(real @ real.T, drawn @ drawn.T), "terms overlap as they did"
            assert np.array_equal(drawn[:, moved], real)
            assert sorted(moved) == list(range(len(genes.sources)))
        changed = wirings.report[wirings.report["source_level"] == "inputs"]
        assert (changed["changed"] > 0.5 * changed["edges"]).all()
        assert not wirings.report["changed"][wirings.report["source_level"] != "inputs"].any()

    def test_all_permutations_are_equally_likely(self):
        wirings = reassign(two_levels([[1, 0, 0], [0, 1, 0], [0, 0, 1]]), seed=0, draws=range(1200))
        found = Counter(tuple(sources) for sources in wirings.masks[0].drawn.T)
        assert set(found) == set(itertools.permutations(range(3)))
        assert chisquare(list(found.values())).pvalue > 1e-3

    def test_a_level_above_the_inputs(self):
        topology = wiring()
        wirings = reassign(topology, seed=0, draws=range(3), level="level 1")
        for mask in wirings.masks:
            assert (mask.drawn == mask.edges[:, :1]).all() == (mask.source_level != "level 1")
        for draw in wirings.draws:
            found = rewired_topology(wirings, draw).to_edges()
            real = topology.to_edges()
            low = real["source_level"] == "inputs"
            assert (
                found[found["source_level"] == "inputs"].reset_index(drop=True).equals(real[low].reset_index(drop=True))
            )
            assert not found.equals(real)

    def test_nothing_to_exchange_is_an_error(self):
        with pytest.raises(OntologyError, match="all 4 nodes of level 'inputs' lead to the same targets"):
            reassign(two_levels(np.ones((2, 4))), seed=0, draws=[0])
        with pytest.raises(OntologyError, match="no edge leads out of level 'level 3'"):
            reassign(wiring(), seed=0, draws=[0], level="level 3")


def genome(sizes=(40, 25, 1), genes_of: int = 5) -> tuple[Topology, list[str], list[int], np.ndarray]:
    """Variants of three chromosomes under genes of five neighbours each, named in another order than they stand."""
    names, chromosomes, positions = [], [], []
    rng = np.random.default_rng(0)
    edges, order = [], rng.permutation(sum(sizes))
    for chromosome, size in enumerate(sizes):
        for place in range(size):
            variant = f"rs{order[len(names)]:03}"
            names.append(variant)
            chromosomes.append(str(chromosome + 1))
            positions.append(1000 * place + int(rng.integers(900)))
            for gene in {place // genes_of, min((place + 1) // genes_of, (size - 1) // genes_of)}:
                edges.append(("inputs", variant, "genes", f"gene {chromosome} {gene}"))
    genes = sorted({edge[3] for edge in edges})
    edges += [("genes", gene, "terms", f"term {i % 4}") for i, gene in enumerate(genes)]
    levels = {"inputs": names, "genes": genes, "terms": {edge[3] for edge in edges if edge[2] == "terms"}}
    topology = Topology.from_edges(levels, pd.DataFrame(edges, columns=COLUMNS))
    at = np.argsort(names)
    return topology, [chromosomes[i] for i in at], [positions[i] for i in at], at


class TestCircularShift:
    def test_variants_move_along_their_chromosome_by_at_least_the_share(self):
        topology, chromosomes, positions, _ = genome()
        wirings = circular_shift(topology, chromosomes, positions, seed=1, draws=range(20), least_shift=0.2)
        check_draws(wirings, sources_keep_degree=False)
        mask, above = wirings.masks
        where, place = np.array(chromosomes), np.empty(len(positions), dtype=int)
        for name in set(chromosomes):
            inside = np.flatnonzero(where == name)
            place[inside[np.argsort(np.array(positions)[inside])]] = np.arange(len(inside))
        assert wirings.moved is not None
        shifts = set()
        for moved, sources in zip(wirings.moved.T, mask.drawn.T, strict=True):
            assert np.array_equal(where[moved], where)
            real, drawn = (np.array(as_matrix(mask, found)) for found in (mask.edges[:, 0], sources))
            assert np.array_equal(drawn[:, moved], real)
            for name, size in (("1", 40), ("2", 25)):
                inside = where == name
                (shift,) = set((place[moved] - place)[inside] % size)
                assert 0.2 * size <= shift <= 0.8 * size
                shifts.add((name, int(shift)))
            assert (moved == np.arange(len(moved)))[where == "3"].all()
        assert len(shifts) > 15
        assert wirings.notes[0] == "chromosome 3: 1 variants allow no shift, their edges stay"
        assert (above.drawn != above.edges[:, :1]).any()
        assert {tuple(np.bincount(column)) for column in above.drawn.T} == {tuple(np.bincount(above.edges[:, 0]))}

    def test_the_topology_of_a_draw(self):
        topology, chromosomes, positions, _ = genome()
        wirings = circular_shift(topology, chromosomes, positions, seed=1, draws=range(2))
        new = rewired_topology(wirings, 1)
        sizes = topology.table().query("level == 'genes'")["fan_in"].tolist()
        assert new.table().query("level == 'genes'")["fan_in"].tolist() == sizes
        assert new.fingerprint != topology.fingerprint

    def test_bad_places_are_refused(self):
        topology, chromosomes, positions, _ = genome()
        draws = {"seed": 0, "draws": [0]}
        with pytest.raises(OntologyError, match="65 chromosomes and 66 positions for 66 variants"):
            circular_shift(topology, chromosomes[1:], positions, **draws)
        with pytest.raises(OntologyError, match="1 variants have no place on the genome: 'rs000'"):
            circular_shift(topology, chromosomes, [np.nan, *positions[1:]], **draws)
        with pytest.raises(OntologyError, match="1 variants have no place"):
            circular_shift(topology, [None, *chromosomes[1:]], positions, **draws)
        with pytest.raises(ValueError, match=r"least_shift is 0\.6"):
            circular_shift(topology, chromosomes, positions, **draws, least_shift=0.6)
        with pytest.raises(OntologyError, match="none of the 66 chromosomes has enough variants"):
            circular_shift(topology, [str(i) for i in range(66)], positions, **draws)

    def test_one_gene_per_chromosome_changes_nothing_and_is_an_error(self):
        topology, chromosomes, positions, _ = genome(sizes=(30, 30), genes_of=100)
        with pytest.raises(OntologyError, match="changed 0 of the 60 edges that could change"):
            circular_shift(topology, chromosomes, positions, seed=0, draws=[0])
        assert "draw 0 changes 0 of 60 connections" in why_no_shift(topology, chromosomes, positions, seed=0, draws=[0])

    def test_why_variants_cannot_be_shifted_is_known_beforehand(self):
        topology, chromosomes, positions, _ = genome()
        assert why_no_shift(topology, chromosomes, positions, seed=1, draws=range(40)) == ""
        alone = [str(i) for i in range(66)]
        assert "none of the 66 chromosomes has enough" in why_no_shift(topology, alone, positions, seed=1, draws=[0])
        small, where, at, _ = genome(sizes=(12,), genes_of=3)
        moved = circular_shift(small, where, at, seed=1, draws=range(100), least=0.0).moved
        assert moved is not None
        assert len(np.unique(moved, axis=1).T) == 9, "2 to 10 of 12"
        assert why_no_shift(small, where, at, seed=1, draws=range(9), least=0.0) == ""
        why = why_no_shift(small, where, at, seed=1, draws=range(10), least=0.0)
        assert why == "12 variants allow 9 different shifts, and 10 draws are asked for"


@pytest.mark.data
def test_the_wiring_of_reactome_is_rewired_in_seconds(real):
    ontology = read_reactome(real("reactome/ReactomePathways.gmt"), real("reactome/ReactomePathwaysRelation.txt"))
    skips, copies = (ontology.topology(ontology.genes, min_genes=5, skips=how) for how in ("edges", "copies"))
    started = time.perf_counter()
    wirings = rewire(skips, seed=1, draws=[1])
    assert time.perf_counter() - started < 20
    check_draws(wirings)
    assert wirings.report.groupby("draw")["changed"].sum().min() > 0.9 * skips.n_edges
    assert same_draws(wirings, rewire(copies, seed=1, draws=[1]))
    new = rewired_topology(wirings, 1)
    assert new.table()[["node", "fan_in", "fan_out"]].equals(skips.table()[["node", "fan_in", "fan_out"]])


@pytest.mark.slow
def test_a_million_variants_are_rewired_in_seconds():
    edges = np.asarray(neighbouring_edges(1_000_000, 20_000, 1_100_000).pairs)
    started = time.perf_counter()
    drawn, swaps = rewiring._traded(edges, 10 * len(edges), np.random.Generator(np.random.Philox(1)))
    assert time.perf_counter() - started < 60
    assert swaps >= 10 * len(edges)
    assert np.array_equal(np.bincount(drawn), np.bincount(edges[:, 0]))
    key = edges[:, 1].astype(np.int64) * 1_000_000 + drawn
    assert (np.diff(key) > 0).all()
    assert np.isin(key, edges[:, 1].astype(np.int64) * 1_000_000 + edges[:, 0]).mean() < 0.01

"""Kinship: loops over dosages, plink2, planted relatives; families and who is left of them."""

from __future__ import annotations

import networkx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.genotypes.cohorts import genotypes, missing, plink, table, with_relatives
from vnn._errors import AlignmentError, GenotypeError
from vnn.data.genotypes import kinship
from vnn.data.genotypes.kinship import families, kinship_matrix, relatives, unrelated


def by_loop(one: np.ndarray, two: np.ndarray) -> tuple[int, float, float, float]:
    """Variants, shares heterozygous in both and opposite, kinship (Manichaikul et al. 2010, equation 11)."""
    both = ~(np.isnan(one) | np.isnan(two))
    x, y = one[both], two[both]
    het, opposite = ((x == 1) & (y == 1)).sum(), (np.abs(x - y) == 2).sum()
    first, second = (x == 1).sum(), (y == 1).sum()
    least = min(first, second)
    value = (het - 2 * opposite) / (2 * least) + 0.5 - 0.25 * (first + second) / least if least else np.nan
    return len(x), het / len(x), opposite / len(x), value


@pytest.mark.parametrize("share", [0.0, 0.04])
def test_by_loop_whatever_the_blocks(monkeypatch, share):
    rng = np.random.default_rng(5)
    dosages = missing(rng, with_relatives(rng, 130, 25), share)
    dosages[:, 9] = rng.choice([0.0, 2.0], 130)
    cohort = genotypes(dosages)
    pairs = relatives(cohort, least=-50)
    wanted = [
        (f"p{i}", f"p{j}", *values)
        for i in range(25) for j in range(i + 1, 25) if not np.isnan((values := by_loop(dosages[:, i], dosages[:, j]))[3])
    ]  # fmt: skip
    assert len(wanted) == 25 * 24 / 2 - 24
    pd.testing.assert_frame_equal(pairs, pd.DataFrame(wanted, columns=pairs.columns), check_dtype=False)
    matrix = kinship_matrix(cohort)
    monkeypatch.setattr(kinship, "_PEOPLE", 8)
    monkeypatch.setattr(kinship, "_VARIANTS", 33)
    pd.testing.assert_frame_equal(relatives(cohort, least=-50), pairs)
    np.testing.assert_array_equal(kinship_matrix(cohort), matrix)
    assert np.isnan(matrix[9]).sum() == 24
    assert matrix[1, 4] == matrix[4, 1] == pytest.approx(by_loop(dosages[:, 1], dosages[:, 4])[3], abs=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("least", [0.3, 0.0884, 0.0, -0.1])
def test_pairs_left_out_early_are_those_below(share, least):
    rng = np.random.default_rng(9)
    dosages = missing(rng, with_relatives(rng, 400, 30), share)
    dosages[:, 11] = np.nan
    dosages[:, 12] = 2
    cohort = genotypes(dosages)
    every = relatives(cohort, least=-1e9)
    assert len(every) == 28 * 27 / 2
    wanted = every[every["kinship"] >= least].reset_index(drop=True)
    pd.testing.assert_frame_equal(relatives(cohort, least=least), wanted)


def test_plink2(tmp_path):
    rng = np.random.default_rng(6)
    cohort = genotypes(missing(rng, with_relatives(rng, 700, 60), 0.02))
    told = table(f"{plink('plink2', cohort, tmp_path, '--make-king-table')}.kin0")
    found = relatives(cohort, least=-50)
    key = [frozenset(pair) for pair in zip(told["IID1"], told["IID2"], strict=True)]
    told.index = pd.Index(key, tupleize_cols=False)
    told = told.loc[[frozenset(pair) for pair in zip(found["first"], found["second"], strict=True)]]
    columns = {"variants": "NSNP", "het_het": "HETHET", "ibs0": "IBS0", "kinship": "KINSHIP"}
    for ours, theirs in columns.items():
        np.testing.assert_allclose(found[ours], told[theirs], atol=1e-6)


def test_planted_relatives_are_found_and_kept_together():
    rng = np.random.default_rng(7)
    cohort = genotypes(missing(rng, with_relatives(rng, 20_000, 40), 0.005))
    pairs = relatives(cohort)
    kin = {(a, b): k for a, b, k in zip(pairs["first"], pairs["second"], pairs["kinship"], strict=True)}
    assert kin[("p6", "p7")] == pytest.approx(0.5, abs=0.01)
    for pair in (("p0", "p2"), ("p1", "p2"), ("p0", "p3"), ("p1", "p3"), ("p2", "p3"), ("p2", "p4"), ("p4", "p5")):
        assert kin.pop(pair) == pytest.approx(0.25, abs=0.03)
    for pair in (("p0", "p4"), ("p1", "p4"), ("p3", "p4")):
        assert kin.pop(pair) == pytest.approx(0.125, abs=0.03)
    assert list(kin) == [("p6", "p7")]
    family = families(cohort.ids, pairs)
    assert family.iloc[:9].tolist() == ["p0"] * 6 + ["p6", "p6", "p8"]
    assert family.nunique() == 40 - 6
    stay = unrelated(cohort.ids, pairs)
    assert set(stay) >= {f"p{i}" for i in range(8, 40)}
    assert "p4" not in stay
    assert len({"p6", "p7"} & set(stay)) == 1
    assert not len(relatives(cohort.select(ids=stay)))


EDGES = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)).filter(lambda pair: pair[0] != pair[1]), max_size=20)


@settings(max_examples=30, deadline=None)
@given(EDGES)
def test_families_are_connected_components_and_nobody_left_is_related(edges):
    ids = [f"p{i}" for i in range(12)]
    pairs = pd.DataFrame([(f"p{a}", f"p{b}", 0.1) for a, b in edges], columns=["first", "second", "kinship"])
    graph = networkx.Graph()
    graph.add_nodes_from(ids)
    graph.add_edges_from(zip(pairs["first"], pairs["second"], strict=True))
    family = families(ids, pairs)
    assert {frozenset(part) for part in networkx.connected_components(graph)} == {
        frozenset(part.index) for _, part in family.groupby(family)
    }
    stay = unrelated(ids, pairs)
    assert graph.subgraph(stay).number_of_edges() == 0
    assert list(stay) == [name for name in ids if name in stay]
    for name in set(ids) - set(stay):
        assert set(graph[name]) & set(stay)


def test_who_goes():
    pairs = pd.DataFrame({"first": ["a", "b", "d"], "second": ["b", "c", "e"], "kinship": [0.2, 0.1, 0.4]})
    ids = ["a", "b", "c", "d", "e"]
    assert unrelated(ids, pairs) == ("a", "c", "d")
    assert unrelated(ids, pairs, call_rate=pd.Series({"e": 1.0, "d": 0.9, "c": 1, "b": 1, "a": 1})) == ("a", "c", "e")
    assert unrelated(ids, pairs, least=0.354) == ("a", "b", "c", "d")
    assert families(ids, pairs, least=0.15).tolist() == ["a", "a", "c", "d", "d"]
    assert families(["c", "a"], pairs).tolist() == ["c", "a"]
    with pytest.raises(AlignmentError, match="1 of the 5 people have no call rate: 'e'"):
        unrelated(ids, pairs, call_rate=pd.Series(1.0, index=["a", "b", "c", "d"]))
    with pytest.raises(GenotypeError, match="the table of pairs lacks 'kinship'"):
        families(ids, pairs.drop(columns="kinship"))


def test_what_cannot_be_asked():
    with pytest.raises(GenotypeError, match="1 of the 2 variants are on X, Y or MT: 'v1'"):
        relatives(genotypes(np.ones((2, 3)), chromosome=["1", "X"]))
    with pytest.raises(GenotypeError, match="there are none"):
        relatives(genotypes(np.ones((2, 3))).select(variants=[]))
    assert len(relatives(genotypes(np.ones((2, 1))))) == 0

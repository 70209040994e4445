"""Pathway pairs: what two variants of two genes do together is tested given what each does alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2, false_discovery_control

from tests.data.genotypes.test_plink import made
from tests.training.test_gene_networks import map_of, study
from vnn.data.genotypes import GeneMap, Genotypes, read_plink, read_variant_genes
from vnn.training import pathway_pairs as module
from vnn.training.pathway_pairs import pathway_pairs

N = 600
GENES = {"A": [0, 1, 2], "B": [2, 3, 4], "C": [5, 6], "D": [7, 8], "E": [9]}
PATHWAYS = {"one": ["A", "B", "C", "unknown"], "two": ["C", "B", "D"], "three": ["E", "nobody"]}


@pytest.fixture
def few(tmp_path: Path) -> tuple[Genotypes, GeneMap, np.ndarray, np.ndarray]:
    """Ten variants; 4 and 6 are in linkage, 8 is rare, 1 has gaps."""
    rng = np.random.default_rng(1)
    dosages = rng.binomial(2, 0.4, (10, N)).astype(np.float32)
    dosages[6] = np.where(rng.random(N) < 0.5, dosages[4], dosages[6])
    dosages[8] = rng.binomial(2, 0.01, N)
    dosages[1, ::11] = np.nan
    made(tmp_path, dosages, "few")
    genotypes = read_plink(tmp_path / "few")
    names = genotypes.variants.index
    (tmp_path / "genes.tsv").write_text("".join(f"{names[i]}\t{gene}\n" for gene, own in GENES.items() for i in own))
    labels = rng.standard_normal((N, 2))
    labels[:, 0] += 0.5 * (dosages[0] - 0.8) * (dosages[3] - 0.8) + 0.4 * dosages[3]
    return genotypes, GeneMap.from_annotation(genotypes, read_variant_genes(tmp_path / "genes.tsv")), dosages, labels


def by_hand(dosages: np.ndarray, label: np.ndarray, i: int, j: int) -> float:
    """chi2 of the product after least squares on both variants; gaps are worth the mean. NaN where it is not to be tested."""
    x = np.where(np.isnan(dosages), np.nanmean(dosages, axis=1)[:, None], dosages)
    x = (x - x.mean(1, keepdims=True)) / np.nanstd(dosages, axis=1, keepdims=True)
    carriers = [np.minimum((row > 0).sum(), (row < 2).sum()) for row in np.nan_to_num(dosages, nan=1.0)]
    if np.corrcoef(x[i], x[j])[0, 1] ** 2 > 0.01 or carriers[i] * carriers[j] < 50 * len(label):
        return np.nan
    alone = np.column_stack([np.ones(len(label)), x[i], x[j]])
    product = x[i] * x[j]
    free = product - alone @ np.linalg.lstsq(alone, product, rcond=None)[0]
    r = (label - label.mean()) / label.std()
    return float((r @ free) ** 2 / (free @ free))


@pytest.mark.parametrize("at_once", [2, 1000])
def test_each_pair_is_a_score_test_given_both_variants(few, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    genotypes, genes, dosages, labels = few
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    found = pathway_pairs(genotypes, genes, PATHWAYS, labels, learners=np.arange(N))
    wanted = {("A", "B"), ("A", "C"), ("B", "C"), ("B", "D"), ("C", "D")}
    for label, table in enumerate(found.tables):
        assert set(zip(table["gene_a"], table["gene_b"], strict=True)) == wanted
        for row in table.itertuples():
            scores = {
                (i, j): by_hand(dosages, labels[:, label], i, j) for i in GENES[row.gene_a] for j in GENES[row.gene_b]
            }
            tested = {pair: value for pair, value in scores.items() if not np.isnan(value)}
            assert row.n_pairs == len(tested)
            best = max(tested, key=lambda pair: tested[pair])
            assert row.chi2 == pytest.approx(tested[best], rel=0.01, abs=1e-3)
            assert row.p == pytest.approx(min(len(tested) * chi2.sf(row.chi2, 1), 1))
            assert (row.variant_a, row.variant_b) == (best if row.p < 0.01 else (-1, -1))
        np.testing.assert_allclose(table["q"], false_discovery_control(table["p"]))
        assert table["p"].is_monotonic_increasing
    assert found.tables[0].set_index(["gene_a", "gene_b"])["n_pairs"].to_dict() == {
        ("A", "B"): 8, ("A", "C"): 6, ("B", "C"): 5, ("B", "D"): 3, ("C", "D"): 2,
    }  # fmt: skip
    first = found.tables[0].iloc[0]
    assert (first["variant_a"], first["variant_b"]) == (0, 3)
    assert found.untested == 0


def test_others_than_learners_are_not_looked_at_and_what_cannot_be_tested_is_counted(few) -> None:
    genotypes, genes, _, labels = few
    some = np.arange(0, N, 2)
    found = pathway_pairs(genotypes, genes, PATHWAYS, labels[some], learners=some)
    again = pathway_pairs(
        genotypes.select(ids=[genotypes.ids[i] for i in some]),
        genes,
        PATHWAYS,
        labels[some],
        learners=np.arange(len(some)),
    )
    for one, other in zip(found.tables, again.tables, strict=True):
        pd.testing.assert_frame_equal(one, other)
    fewest = pathway_pairs(genotypes, genes, PATHWAYS, labels[:60], learners=np.arange(60))
    assert fewest.untested == 5
    assert not len(fewest.tables[0])


def test_genes_that_matter_together_are_found_and_permuted_labels_call_nothing(tmp_path: Path) -> None:
    found = study(tmp_path / "s", "across")
    y = found.genotypes.targets["y"].to_numpy(dtype=float)
    labels = np.stack([y, *(np.random.default_rng(k).permutation(y) for k in range(9))], axis=1)
    made_of = pathway_pairs(found.genotypes, map_of(found), found.pathways, labels, learners=np.arange(len(y)))
    causal = {tuple(sorted(own)) for _, own in found.truth.causes.groupby("cause")["gene"]}
    called = made_of.tables[0][made_of.tables[0]["q"] < 0.05]
    assert causal <= set(zip(called["gene_a"], called["gene_b"], strict=True))
    assert set(zip(called["gene_a"][:2], called["gene_b"][:2], strict=True)) == causal
    assert sum(bool((table["q"] < 0.05).any()) for table in made_of.tables[1:]) <= 2
    p = np.concatenate([table["p"] for table in made_of.tables[1:]])
    assert (p < 0.05).mean() < 0.06


def test_effects_of_single_variants_are_no_pairs(tmp_path: Path) -> None:
    found = study(tmp_path / "s", "additive", trait={"h2": 0.6})
    y = found.genotypes.targets["y"].to_numpy(dtype=float)[:, None]
    table = pathway_pairs(found.genotypes, map_of(found), found.pathways, y, learners=np.arange(len(y))).tables[0]
    assert (table["q"] < 0.05).sum() <= 1

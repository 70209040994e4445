"""Gene models: genes that speak for people they did not learn from predict others, and permuted labels make none speak."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, norm
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import roc_auc_score

from tests.training.test_gene_networks import PEOPLE, folds_of, map_of, recoded, study
from vnn.data.genotypes import SimulatedGenotypes
from vnn.data.targets import martingale_residuals
from vnn.training import gene_model as module
from vnn.training.gene_model import GeneModel, gene_model, together
from vnn.training.gene_networks import gene_networks, members
from vnn.training.ridge import inner_folds
from vnn.training.streamed_ridge import Columns, streamed_ridge


@pytest.fixture(scope="module")
def within(tmp_path_factory: pytest.TempPathFactory) -> SimulatedGenotypes:
    return study(tmp_path_factory.mktemp("within") / "s", "within")


def covariates_of(found: SimulatedGenotypes) -> np.ndarray:
    known = found.genotypes.covariates.assign(sex=lambda table: table["sex"] == "male").astype(float)
    return known[["age", "sex"]].to_numpy()


LEARNERS = np.arange(PEOPLE) % 4 > 0


def learnt(found: SimulatedGenotypes, task: str, truth: np.ndarray, **changes: object) -> GeneModel:
    asked: dict[str, object] = {"chance": np.random.default_rng(3), "groups": None, "genotypes": found.genotypes}
    asked |= changes
    return gene_model(
        task, genes=map_of(found), truth=truth, covariates=covariates_of(found), learners=LEARNERS, **asked
    )  # type: ignore[arg-type]


def quantity(found: SimulatedGenotypes) -> np.ndarray:
    return found.genotypes.targets["y"].to_numpy(dtype=float)


def test_a_quantity_is_predicted_by_genes_that_no_variant_alone_shows(within: SimulatedGenotypes) -> None:
    y = quantity(within)
    made = learnt(within, "regression", y)
    causal = set(within.truth.genes("y"))
    assert causal <= set(made.heard)
    assert len(set(made.heard) - causal) <= 4
    held = ~LEARNERS
    alone = LinearRegression().fit(covariates_of(within)[LEARNERS], y[LEARNERS]).predict(covariates_of(within)[held])
    assert np.corrcoef(made.predictor[held], y[held])[0, 1] > np.corrcoef(alone, y[held])[0, 1] + 0.2


def test_it_is_gene_networks_of_what_covariates_leave_and_a_ridge_of_those_that_speak(
    within: SimulatedGenotypes,
) -> None:
    case = (quantity(within) > np.median(quantity(within))).astype(float)
    made = learnt(within, "binary", case)
    own, others = np.flatnonzero(LEARNERS), np.flatnonzero(~LEARNERS)
    chance = np.random.default_rng(3)
    folds = inner_folds(case[own], chance, n=4)
    known = covariates_of(within)
    model = LogisticRegression(C=np.inf, tol=1e-8).fit(known[own], case[own])
    left = case[own] - model.predict_proba(known[own])[:, 1]
    found = gene_networks(within.genotypes, map_of(within), left[:, None], folds, learners=own, others=others)
    table = found.table()
    np.testing.assert_allclose(made.table["z"].loc[table.index], table["z"], atol=1e-3)
    heard = list(table.index[(table["q"] < 0.2) & (table["p"] < 0.05)])
    assert list(made.heard) == heard
    at = [found.genes.index(name) for name in heard]
    said = np.zeros((len(at), PEOPLE), dtype=np.float32)
    said[:, own], said[:, others] = found.held_out[0, at], found.others[0, at]
    x = ((said - said[:, own].mean(1, keepdims=True)) / said[:, own].std(1, keepdims=True)).T
    penalty = streamed_ridge("binary", Columns.of(said, LEARNERS), case, known, LEARNERS, chance=chance).penalty
    # sklearn penalises all columns alike: covariates escape by being huge
    spread = 1e4 * (known - known[own].mean(0)) / known[own].std(0)
    oracle = LogisticRegression(C=1 / (penalty * len(at)), tol=1e-10, max_iter=10_000)
    oracle.fit(np.column_stack([x, spread])[own], case[own])
    expected = oracle.decision_function(np.column_stack([x, spread]))
    np.testing.assert_allclose(made.predictor, expected, atol=0.02)
    assert roc_auc_score(case[others], made.predictor[others]) > 0.6


def test_survival_is_learnt_from_martingale_residuals(within: SimulatedGenotypes) -> None:
    y, rng = quantity(within), np.random.default_rng(5)
    died, left = rng.exponential(np.exp(-3 * y)), rng.exponential(5, PEOPLE)
    truth = np.stack([np.minimum(died, left), died <= left], axis=1)
    made = learnt(within, "cox", truth)
    causal = set(within.truth.genes("y"))
    assert len(causal & set(made.heard)) >= 3
    assert np.corrcoef(made.predictor[~LEARNERS], y[~LEARNERS])[0, 1] > 0.2
    own = np.flatnonzero(LEARNERS)
    bare = gene_model(
        "cox", within.genotypes, map_of(within), truth, np.empty((PEOPLE, 0)), LEARNERS, chance=np.random.default_rng(3)
    )
    left_over = martingale_residuals(*truth[own].T)
    folds = inner_folds(truth[own, 1], np.random.default_rng(3), n=4)
    table = gene_networks(within.genotypes, map_of(within), left_over[:, None], folds, learners=own).table()
    np.testing.assert_allclose(bare.table["z"].loc[table.index], table["z"], atol=0.02)


def test_nothing_is_asked_of_those_who_do_not_learn(within: SimulatedGenotypes) -> None:
    y = quantity(within)
    made = learnt(within, "regression", y)
    blind = learnt(within, "regression", np.where(LEARNERS, y, 1e6))
    np.testing.assert_array_equal(blind.predictor, made.predictor)
    rows = np.concatenate([np.array(held) for _, held in within.genotypes.packed()])
    codes = np.unpackbits(rows, axis=1, bitorder="little").reshape(len(rows), -1, 2)[:, :PEOPLE]
    codes[:, ~LEARNERS] = 1
    part = replace(within.genotypes.parts[0], rows=np.packbits(codes.reshape(len(rows), -1), axis=1, bitorder="little"))
    other = replace(within.genotypes, parts=(part,), row=np.arange(len(rows)))
    changed = learnt(within, "regression", y, genotypes=other)
    pd.testing.assert_frame_equal(changed.table, made.table)
    np.testing.assert_allclose(changed.predictor[LEARNERS], made.predictor[LEARNERS], rtol=1e-6)
    assert np.abs(changed.predictor - made.predictor)[~LEARNERS].max() > 0.01


def test_members_of_a_group_are_in_one_fold(within: SimulatedGenotypes, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def seen(genotypes, genes, residuals, folds, *, learners, **rest):
        asked["folds"] = pd.Series(folds, index=learners)
        return gene_networks(genotypes, genes, residuals, folds, learners=learners, **rest)

    monkeypatch.setattr(module, "gene_networks", seen)
    groups = np.arange(PEOPLE) // 8
    learnt(within, "regression", quantity(within), groups=groups)
    assert asked["folds"].groupby(groups[asked["folds"].index]).nunique().eq(1).all()
    assert asked["folds"].nunique() == 4


def test_without_a_gene_that_speaks_covariates_predict(tmp_path: Path) -> None:
    found = study(tmp_path / "s", "null")
    y = np.random.default_rng(7).permutation(quantity(found))
    made = learnt(found, "regression", y)
    assert made.heard == ()
    assert np.isnan(made.penalty)
    known = covariates_of(found)
    np.testing.assert_allclose(made.predictor, LinearRegression().fit(known[LEARNERS], y[LEARNERS]).predict(known))


def test_permuted_labels_are_at_chance(tmp_path: Path) -> None:
    """20 permutations of a trait with strong interactions: calls, and p by p, as often as chance allows."""
    found = study(tmp_path / "s", "within", people=800, variants=1500, genes=100)
    y, rng = quantity(found), np.random.default_rng(8)
    labels = np.stack([rng.permutation(y) for _ in range(20)], axis=1)
    own = np.arange(len(y))
    networks = gene_networks(found.genotypes, map_of(found), labels, folds_of(len(y)), learners=own, heard=0.0)
    assert not len(networks.kept)
    calls = [(networks.table(label)["q"] < 0.05).any() for label in range(20)]
    assert sum(calls) <= binom.ppf(0.975, 20, 0.05)
    p = norm.sf(networks.z)
    for level in (0.05, 0.01):
        assert (p < level).mean() < 1.4 * level
    assert (p < 0.001).mean() < 0.002


def test_outputs_are_kept_of_genes_that_are_heard(within: SimulatedGenotypes) -> None:
    y, people = quantity(within)[:, None], np.arange(PEOPLE)
    asked = {"residuals": y[:1200], "folds": folds_of(1200), "learners": people[:1200], "others": people[1200:]}
    whole = gene_networks(within.genotypes, map_of(within), **asked)
    few = gene_networks(within.genotypes, map_of(within), **asked, heard=0.01)
    np.testing.assert_array_equal(few.z, whole.z)
    np.testing.assert_array_equal(few.kept, np.flatnonzero(norm.sf(whole.z[0]) <= 0.01))
    assert 4 <= len(few.kept) < 20
    np.testing.assert_array_equal(few.held_out, whole.held_out[:, few.kept])
    np.testing.assert_array_equal(few.others, whole.others[:, few.kept])


def test_splits_together_are_the_mean_of_z() -> None:
    one = pd.DataFrame({"n_variants": [3, 4, 5], "z": [2.0, 0.0, -1.0]}, index=pd.Index(["A", "B", "C"], name="gene"))
    two = pd.DataFrame({"n_variants": [5, 3, 4], "z": [1.0, 4.0, 5.0]}, index=pd.Index(["C", "A", "B"], name="gene"))
    found = together({"first": one, "second": two})
    assert list(found.index) == ["A", "B", "C"]
    assert found["n_variants"].tolist() == [3, 4, 5]
    np.testing.assert_allclose(found["z"], [3, 2.5, 0])
    np.testing.assert_allclose(found["p"], norm.sf([3, 2.5, 0]))
    p = norm.sf([3, 2.5, 0])
    np.testing.assert_allclose(found["q"], [min(3 * p[0], 1.5 * p[1]), 1.5 * p[1], p[2]])
    assert found["z_low"].tolist() == [2, 0, -1]
    assert found["z_high"].tolist() == [4, 5, 1]


def test_recoded_alleles_change_no_prediction(within: SimulatedGenotypes) -> None:
    y = quantity(within)
    again = learnt(within, "regression", y, genotypes=recoded(within.genotypes)[0])
    np.testing.assert_allclose(again.predictor, learnt(within, "regression", y).predictor, atol=1e-3)


def test_intergenic_nodes_are_no_genes(within: SimulatedGenotypes) -> None:
    genes = map_of(within)
    names, places = members(within.genotypes, replace(genes, intergenic=(genes.genes[3],)))
    assert names == tuple(name for name in genes.genes if name != genes.genes[3])
    for name, own in zip(names, places, strict=True):
        assert own.tolist() == np.flatnonzero([name in told for told in _owners(within)]).tolist()
    fewer = within.genotypes.select(list(within.genotypes.variants.index[::2]))
    held = members(fewer, genes)
    assert sum(map(len, held[1])) == sum(genes.variant % 2 == 0)


def _owners(found: SimulatedGenotypes) -> list[set[str]]:
    owners = map_of(found).features()
    return [set(owners.get(name, ())) for name in found.genotypes.variants.index]

"""Gene networks: the genes that matter are found by people who were not learnt from, and by no others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge

from tests.data.genotypes.test_plink import made
from vnn.chance import generator
from vnn.data.genotypes import (
    GeneMap,
    Genotypes,
    Part,
    SimulatedGenotypes,
    Trait,
    loci,
    r2_between,
    read_plink,
    read_variant_genes,
    simulate_genotypes,
)
from vnn.training import gene_networks as module
from vnn.training.gene_networks import GeneNetworks, columns_of, gene_networks, held_out_z, members, standing

PEOPLE, FOLDS = 1600, 4


def study(folder: Path, scenario: str, seed: int = 1, **changes: object) -> SimulatedGenotypes:
    """120 genes of 12 variants; the causes, if any, are 4 genes of 2 pathways, each a twelfth of a quantity."""
    causes = {"genes": 4, "pathways": 2} if scenario not in ("null", "confounder", "locus") else {}
    asked: dict[str, object] = {
        "people": PEOPLE,
        "variants": 1800,
        "genes": 120,
        "pathways": 6,
        "chromosomes": 4,
        "founders": 400,
    }
    traits = [Trait("y", scenario, "quantitative", **causes, **changes.pop("trait", {}))]  # type: ignore[arg-type]
    return simulate_genotypes(folder, traits=traits, seed=seed, **(asked | changes))  # type: ignore[arg-type]


def map_of(found: SimulatedGenotypes) -> GeneMap:
    return GeneMap.from_annotation(
        found.genotypes, read_variant_genes(found.folder / "variant_genes.tsv", build="GRCh38")
    )


def folds_of(n: int) -> np.ndarray:
    return generator(1, "folds of a test").permutation(n) % FOLDS


def learnt(
    found: SimulatedGenotypes, covariates: list[str] | None = None, genotypes: Genotypes | None = None
) -> GeneNetworks:
    """From all people, with labels permuted beside the true ones."""
    y = found.genotypes.targets["y"].to_numpy(dtype=float)
    known = found.genotypes.covariates.assign(sex=lambda table: table["sex"] == "male").astype(float)
    columns = known[["age", "sex"] if covariates is None else covariates].to_numpy()
    left = y - LinearRegression().fit(columns, y).predict(columns)
    both = np.stack([left, generator(1, "permuted").permutation(left)], axis=1)
    own = found.genotypes if genotypes is None else genotypes
    return gene_networks(own, map_of(found), both, folds_of(len(y)), learners=np.arange(len(y)))


@pytest.mark.parametrize("scenario", ["additive", "dominance", "within"])
def test_causal_genes_come_first_and_permuted_labels_call_nothing(tmp_path: Path, scenario: str) -> None:
    found = study(tmp_path / "s", scenario)
    networks = learnt(found)
    table = networks.table()
    causal = set(found.truth.genes("y"))
    assert set(table.index[:4]) == causal
    assert (table.loc[list(causal), "q"] < 0.05).all()
    assert (networks.table(1)["q"] < 0.05).sum() == 0
    best = networks.held_out[0, networks.genes.index(table.index[0])]
    assert np.corrcoef(best, found.genotypes.targets["y"])[0, 1] > 0.1


def test_an_interaction_shows_in_no_variant_alone(tmp_path: Path) -> None:
    found = study(tmp_path / "s", "within")
    y = found.genotypes.targets["y"].to_numpy(dtype=float)
    genes, causal = map_of(found), set(found.truth.genes("y"))
    values = found.genotypes.dosages()
    r = np.array([np.corrcoef(row, y)[0, 1] for row in values])
    best = [np.abs(r[genes.variant[genes.gene == number]]).max() for number in range(len(genes.genes))]
    first = {genes.genes[number] for number in np.argsort(best)[::-1][:4]}
    assert len(first & causal) < len(set(learnt(found).table().index[:4]) & causal)


def test_columns_are_standardised_copies_and_what_they_do_not_say_of_heterozygotes(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    dosages = rng.binomial(2, 0.4, (5, 90)).astype(np.float32)
    dosages[4] = 1
    dosages[1, ::7] = np.nan
    made(tmp_path, dosages, "few")
    genotypes = read_plink(tmp_path / "few")
    names = genotypes.variants.index
    (tmp_path / "genes.tsv").write_text(
        "".join(f"{names[i]}\t{gene}\n" for i, gene in ((0, "A"), (1, "A"), (1, "B"), (4, "B")))
    )
    genes = GeneMap.from_annotation(genotypes, read_variant_genes(tmp_path / "genes.tsv"))
    who, n = rng.permutation(90)[:70], 60
    found = dict(columns_of(genotypes, members(genotypes, genes)[1], who, n))
    for number, rows in ((0, [0, 1]), (1, [1, 4])):
        for at, row in enumerate(rows):
            own = dosages[row, who]
            seen = own[:n][~np.isnan(own[:n])]
            copies = (own - seen.mean()) / (seen.std() or np.inf)
            np.testing.assert_allclose(found[number][0][at], np.nan_to_num(copies), atol=1e-5)
            if row == 4:
                assert not found[number][1][at].any()
                continue
            known = ~np.isnan(own[:n])
            line = LinearRegression().fit(copies[:n][known, None], (own[:n] == 1)[known])
            rest = (own == 1) - line.predict(np.nan_to_num(copies)[:, None])
            expected = np.where(np.isnan(own), 0, rest / rest[:n][known].std())
            np.testing.assert_allclose(found[number][1][at], expected, atol=1e-4)


def test_variants_that_stand_for_the_others_explain_the_most_in_turn() -> None:
    rng = np.random.default_rng(9)
    x = rng.standard_normal((300, 3)) @ rng.standard_normal((3, 9)) + 0.5 * rng.standard_normal((300, 9))
    x[:, 5] = x[:, 2]
    x = (x - x.mean(0)) / x.std(0)
    chosen: list[int] = []
    for _ in range(4):
        left = {j: ((x - x[:, [*chosen, j]] @ np.linalg.lstsq(x[:, [*chosen, j]], x, rcond=None)[0]) ** 2).sum()
                for j in range(9) if j not in chosen}  # fmt: skip
        chosen.append(min(left, key=lambda j: left[j]))
    assert standing(x.T @ x / 300, 4).tolist() == sorted(chosen)
    assert len(standing(x.T @ x / 300, 9)) == 8


def test_a_gene_of_many_variants_is_seen_through_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = study(tmp_path / "s", "within")
    whole = learnt(found)
    monkeypatch.setattr(module, "MOST_VARIANTS", 10)
    few = learnt(found)
    large = whole.n_variants > 10
    assert 0.2 < large.mean() < 0.9
    np.testing.assert_array_equal(few.z[:, ~large], whole.z[:, ~large])
    np.testing.assert_array_equal(few.n_variants, whole.n_variants)
    assert np.corrcoef(few.z[0, large], whole.z[0, large])[0, 1] > 0.8
    assert set(found.truth.genes("y")) <= set(few.table().index[:6])


def test_slopes_are_those_of_a_ridge_regression_shrunk_by_what_chance_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REWEIGHTED", 0)
    rng = np.random.default_rng(3)
    x = rng.standard_normal((500, 6)) @ rng.standard_normal((6, 6))
    y = x @ [0.4, 0, 0, -0.3, 0, 0] + rng.standard_normal(500)
    y /= y.std()
    slope = module._Line.of(x.T @ x / 500).learnt((x.T @ y / 500)[:, None], 500)[:, 0]
    ridge = Ridge(alpha=6 / module.SHARE, fit_intercept=False).fit(x, y)
    hat = x @ np.linalg.solve(x.T @ x + 6 / module.SHARE * np.eye(6), x.T)
    factor = 1 - np.trace(hat) / (y @ hat @ y)
    np.testing.assert_allclose(slope, factor * ridge.coef_, rtol=1e-6)


def test_two_units_that_bend_make_a_product_of_two_variants() -> None:
    rng = np.random.default_rng(4)
    x = rng.standard_normal((3, 40_000)).astype(np.float32)
    r = 0.3 * x[0] * x[2] + rng.standard_normal(40_000)
    r /= r.std()
    directions, heads = module._Bent.of(x @ x.T / 40_000).learnt((x * r) @ x.T / 40_000, 40_000, 2)
    assert len(heads) == 2
    assert heads[0] * heads[1] < 0
    said = module._output(np.concatenate([x, x]), x, np.zeros(6), directions, heads)
    assert np.corrcoef(said, x[0] * x[2])[0, 1] > 0.95
    silent = module._Bent.of(x @ x.T / 40_000).learnt((x * rng.permutation(r)) @ x.T / 40_000, 40_000, 2)
    assert np.abs(silent[1]).max(initial=0) < 0.05


def test_the_held_out_test_is_a_sum_over_folds_and_its_chance_has_variance_1() -> None:
    rng = np.random.default_rng(5)
    folds, residual = folds_of(120), rng.standard_normal(120)
    outputs = rng.standard_normal((3, 120)) + folds
    outputs[2] = folds
    expected = []
    for row in outputs[:2]:
        total = 0.0
        for fold in range(FOLDS):
            here = np.flatnonzero(folds == fold)
            own = row[here]
            total += sum(residual[i] * (row[i] - own.mean()) / own.std() for i in here)
        expected.append(total / np.sqrt(2 * (residual**2).sum()))
    np.testing.assert_allclose(held_out_z(outputs, residual, folds), [*expected, 0], atol=1e-9)
    null = []
    for _ in range(400):
        x, r = rng.standard_normal(120), rng.standard_normal(120)
        slopes = np.array([(x * r)[folds != fold].sum() for fold in range(FOLDS)])
        null.append(held_out_z((slopes[folds] * x)[None], r, folds)[0])
    assert 0.8 < np.std(null) < 1.1


def test_the_size_of_blocks_and_further_people_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = study(tmp_path / "s", "additive")
    y = found.genotypes.targets["y"].to_numpy(dtype=float)[:, None]
    few = np.arange(0, PEOPLE, 2)
    settings = {"residuals": y[few], "folds": folds_of(len(few)), "learners": few}
    alone = gene_networks(found.genotypes, map_of(found), **settings)
    monkeypatch.setattr(module, "AT_ONCE", 40 * PEOPLE)
    others = np.arange(1, PEOPLE, 2)
    beside = gene_networks(found.genotypes, map_of(found), **settings, others=others)
    np.testing.assert_allclose(alone.held_out, beside.held_out, atol=1e-5)
    assert beside.others.shape == (1, 120, len(others))
    first = beside.genes.index(beside.table().index[0])
    assert np.corrcoef(beside.others[0, first], y[others, 0])[0, 1] > 0.1


def test_recoded_alleles_change_nothing(tmp_path: Path) -> None:
    found = study(tmp_path / "s", "dominance")
    networks, again = learnt(found), learnt(found, genotypes=recoded(found.genotypes)[0])
    np.testing.assert_allclose(again.held_out, networks.held_out, atol=1e-4)
    np.testing.assert_allclose(again.z, networks.z, atol=1e-4)


def recoded(genotypes: Genotypes) -> tuple[Genotypes, np.ndarray]:
    """The same genotypes with the other allele counted in a random half of the variants, and which these are."""
    swapped = np.random.default_rng(6).random(genotypes.n_variants) < 0.5
    rows = np.concatenate([np.array(held) for _, held in genotypes.packed()])
    alike = ~(rows ^ (rows >> 1)) & 0x55
    rows = np.where(swapped[:, None], rows ^ (alike | alike << 1), rows)
    table = genotypes.variants.copy()
    table.loc[swapped, ["counted", "other"]] = table.loc[swapped, ["other", "counted"]].to_numpy()
    part = Part(rows, np.arange(genotypes.n_people))
    made = replace(genotypes, parts=(part,), row=np.arange(len(rows)), variants=table)
    np.testing.assert_array_equal(made.dosages()[swapped], 2 - genotypes.dosages()[swapped])
    return made, swapped


def test_one_causal_variant_in_linkage_over_three_genes_is_one_locus(tmp_path: Path) -> None:
    found = study(tmp_path / "s", "locus", trait={"h2": 0.1})
    table = learnt(found).table()
    called = list(table.index[table["q"] < 0.05])
    assert set(found.truth.loci["y"]) <= set(called)
    genes = map_of(found)
    groups = {name: list(genes.pairs.loc[genes.pairs["gene"] == name, "variant"]) for name in called}
    grouped = loci(genes, called, distance=1, r2=r2_between(found.genotypes, groups))
    assert len(set(grouped.loc[list(found.truth.loci["y"]), "locus"])) == 1
    assert grouped["locus"].nunique() == 1


def test_a_declared_population_moves_no_gene_and_an_undeclared_one_does(tmp_path: Path) -> None:
    found = study(tmp_path / "s", "confounder", fst=0.05)
    declared = learnt(found, ["age", "sex", "pc1"]).table()
    hidden = learnt(found, ["age", "sex"]).table()
    assert (declared["q"] < 0.05).mean() <= 0.05
    assert (hidden["q"] < 0.05).mean() > 0.2


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    found = study(tmp_path / "s", "null")
    people, y = np.arange(PEOPLE), np.zeros((PEOPLE, 1))
    with pytest.raises(ValueError, match=r"1,600 learners, residuals of shape \(1600,\)"):
        gene_networks(found.genotypes, map_of(found), y[:, 0], folds_of(PEOPLE), learners=people)
    with pytest.raises(ValueError, match=r"folds hold \[1600, 0\] learners"):
        gene_networks(found.genotypes, map_of(found), y, np.zeros(PEOPLE, dtype=int), learners=people)

"""Simulated traits: h2 as asked, interactions without marginals, thresholds, covariates, populations, loci."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import linregress, norm
from sklearn.linear_model import LinearRegression
from sklearn.metrics import roc_auc_score

from vnn.data.genotypes import SimulatedGenotypes, Trait, simulate_genotypes

N = 40_000
SCENARIOS = ("additive", "dominance", "within", "across", "locus")


def simulated(folder: Path, *traits: Trait, **changes: Any) -> SimulatedGenotypes:
    asked = {"people": N, "variants": 480, "genes": 40, "pathways": 3, "chromosomes": 4, "seed": 11} | changes
    return simulate_genotypes(folder, traits=traits, **asked)


def quantitative(scenario: Any, **changes: Any) -> Trait:
    return Trait(**{"name": scenario, "scenario": scenario, "kind": "quantitative", "genes": 4} | changes)


@pytest.fixture(scope="module")
def several(tmp_path_factory) -> SimulatedGenotypes:
    """All scenarios with genes, as quantitative traits of the same people."""
    return simulated(tmp_path_factory.mktemp("several") / "study", *map(quantitative, SCENARIOS))


def causes(study: SimulatedGenotypes, trait: str) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
    """Each cause of a trait, with the genotypes of its variants."""
    own = study.truth.causes[study.truth.causes["trait"] == trait]
    for _, cause in own.groupby("cause"):
        yield cause, study.genotypes.select(cause["variant"]).dosages()


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_genetic_value_explains_h2(several, name):
    value, trait = several.truth.values[name], several.genotypes.targets[name]
    h2 = 0.4 if name == "additive" else 0.05 if name == "locus" else 0.3
    fit = linregress(value, trait)
    assert several.truth.oracle[name] == {"r2": h2}
    assert fit.rvalue**2 == pytest.approx(h2, abs=3.5 * 2 * np.sqrt(h2) * (1 - h2) / np.sqrt(N))
    assert fit.slope == pytest.approx(1, abs=4 * fit.stderr)
    assert value.var() == pytest.approx(h2, rel=0.05)
    assert value.mean() == pytest.approx(0, abs=0.02)
    assert trait.var() == pytest.approx(1, abs=0.03)


def test_variance_counts_linkage_between_causal_variants(tmp_path):
    """Causal variants side by side: their covariances change the variance, and the scale knows."""
    dense = Trait(name="dense", kind="quantitative", genes=3, pathways=1, per_gene=8, covariates=0, h2=0.5)
    study = simulated(tmp_path / "study", dense, variants=60, genes=4, pathways=1, chromosomes=1, frequencies="uniform")
    coded = []
    for cause, dosages in causes(study, "dense"):
        coded.append(cause["effect"].iloc[0] * (dosages[0] - dosages[0].mean()) / dosages[0].std())
    alone, together = np.var(coded, axis=1).sum(), np.sum(coded, axis=0).var()
    assert abs(np.log2(together / alone)) > 0.3
    assert together == pytest.approx(0.5, rel=0.04)
    assert np.corrcoef(np.sum(coded, axis=0), study.truth.values["dense"])[0, 1] > 0.9999


def test_additive_and_dominance_codings(several):
    for name in ("additive", "dominance"):
        rebuilt = np.zeros(N)
        for cause, (dosages,) in causes(several, name):
            p = cause["frequency"].iloc[0]
            coded = (dosages - 2 * p) / np.sqrt(2 * p * (1 - p))
            if name == "dominance":
                coded = np.array([-p / (1 - p), 1, -(1 - p) / p])[dosages.astype(int)]
                assert abs(linregress(dosages, several.genotypes.targets[name]).rvalue) < 4.5 / np.sqrt(N)
            rebuilt += cause["effect"].iloc[0] * coded
        np.testing.assert_allclose(rebuilt, several.truth.values[name], atol=0.02)


@pytest.mark.parametrize("name", ["within", "across"])
def test_interactions_have_no_marginal_effects(several, name):
    trait = several.genotypes.targets[name].to_numpy()
    residual = trait - trait.mean()
    for cause, (one, other) in causes(several, name):
        same = cause["gene"].nunique() == 1
        assert same == (name == "within")
        p = cause["frequency"]
        assert p.between(0.2, 0.8).all()
        for dosages in (one, other):
            groups = [residual[dosages == copies] for copies in (0, 1, 2)]
            z = np.array([group.mean() / (group.std() / np.sqrt(len(group))) for group in groups])
            assert (abs(z) < 4.5).all(), z
        product = (one - one.mean()) * (other - other.mean())
        fit = linregress(product, trait)
        assert abs(fit.slope / fit.stderr) > 15
        assert np.sign(fit.slope) == np.sign(cause["effect"].iloc[0])


def test_one_locus_over_three_genes(several):
    truth, genotypes = several.truth, several.genotypes
    genes = truth.loci["locus"]
    assert truth.genes("locus") == (genes[1],)
    held = several.variant_genes[several.variant_genes["gene"].isin(genes)]["variant"].unique()
    (causal,) = truth.variants("locus")
    dosages = genotypes.dosages()
    r2 = pd.Series(np.corrcoef(dosages)[genotypes.variants.index.get_loc(causal)] ** 2, index=genotypes.variants.index)
    assert r2[held].min() > 0.7
    first, last = genotypes.variants.index.get_indexer(held)[[0, -1]]
    outside = np.r_[:first, last + 1 : len(r2)]
    assert (r2.iloc[outside] > 0.7).sum() == 0
    assert (
        several.variant_genes[several.variant_genes["variant"].isin(held)].groupby("gene").size()[list(genes)].min()
        >= 3
    )
    causes_of_others = truth.causes[truth.causes["trait"] != "locus"]["gene"]
    assert not set(causes_of_others) & set(genes)


def test_thresholds_covariates_and_the_expected_auc(tmp_path):
    common, rare = (
        Trait(name=name, genes=4, prevalence=share, covariates=0.1) for name, share in (("common", 0.5), ("rare", 0.1))
    )
    study = simulated(tmp_path / "study", common, rare, quantitative("additive", covariates=0.2))
    targets, truth = study.genotypes.targets, study.truth
    for name, share in (("common", 0.5), ("rare", 0.1)):
        case = targets[name] == "case"
        assert case.mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / N))
        assert roc_auc_score(case, truth.values[name]) == pytest.approx(truth.oracle[name]["auc"], abs=0.015)
        # on the liability scale (Lee 2011): h2 = observed R2 * K (1 - K) / density(threshold)^2
        observed = linregress(truth.values[name], case).rvalue ** 2
        assert observed * share * (1 - share) / norm.pdf(norm.ppf(share)) ** 2 == pytest.approx(0.4, abs=0.06)
    known = pd.DataFrame(
        {"age": study.genotypes.covariates["age"], "male": study.genotypes.covariates["sex"] == "male"}
    )
    r2 = LinearRegression().fit(known, targets["additive"]).score(known, targets["additive"])
    assert r2 == pytest.approx(0.2, abs=0.015)
    assert known["age"].between(40, 69).all()
    fam = pd.read_csv(study.folder / "cohort.fam", sep=" ", header=None)
    assert fam[5].map({1: "control", 2: "case"}).tolist() == targets["common"].tolist()


def test_a_confounder_and_a_null(tmp_path):
    study = simulated(
        tmp_path / "study", quantitative("confounder"), quantitative("null"), Trait(name="binary", scenario="confounder"),
        populations=3,
    )  # fmt: skip
    of = study.genotypes.groups["population"]
    trait = study.genotypes.targets["confounder"]
    between = trait.groupby(of).transform("mean").var() / trait.var()
    assert between == pytest.approx(0.2, abs=0.015)
    assert study.truth.causes.empty
    assert study.truth.oracle["binary"] == {"r2": 0.0, "auc": 0.5}
    assert not study.truth.values.any(axis=None)
    null = study.genotypes.targets["null"]
    assert null.groupby(of).transform("mean").var() < 0.001
    dosages = study.genotypes.dosages()
    z = np.abs([linregress(row, trait).rvalue * np.sqrt(N) for row in dosages])
    assert z.max() > 10  # what an analyst sees who does not know the populations
    inner, middle = trait - trait.groupby(of).transform("mean"), pd.DataFrame(dosages.T, index=of.index)
    centred = middle - middle.groupby(of).transform("mean")
    z = np.array([linregress(centred[column], inner).rvalue for column in centred]) * np.sqrt(N)
    assert (z**2).mean() == pytest.approx(1, abs=0.25)
    axes = study.genotypes.covariates[["pc1", "pc2"]]
    assert LinearRegression().fit(axes, pd.get_dummies(of)).score(axes, pd.get_dummies(of)) > 0.95


def test_populations_do_not_bring_marginals_back(tmp_path):
    study = simulated(
        tmp_path / "study", quantitative("across"), quantitative("additive"), populations=2, fst=0.1, people=60_000
    )
    of = study.genotypes.groups["population"].to_numpy()
    for name, h2 in (("across", 0.3), ("additive", 0.4)):
        value, trait = study.truth.values[name], study.genotypes.targets[name]
        assert value.var() == pytest.approx(h2, rel=0.04)
        assert trait.var() == pytest.approx(1, abs=0.025)
    trait = study.genotypes.targets["across"].to_numpy()
    for _, both in causes(study, "across"):
        for dosages in both:
            for population in set(of):
                here = of == population
                assert abs(linregress(dosages[here], trait[here]).rvalue) < 4.5 / np.sqrt(here.sum())


def test_survival(tmp_path):
    study = simulated(tmp_path / "study", Trait(name="death", kind="survival", genes=4, censored=0.25, covariates=0.0))
    targets, value = study.genotypes.targets, study.truth.values["death"]
    assert list(targets) == ["death_time", "death_event"]
    assert 1 - targets["death_event"].mean() == pytest.approx(0.25, abs=0.01)
    whole = simulated(tmp_path / "whole", Trait(name="death", kind="survival", genes=4, censored=0.0, covariates=0.0))
    fit = linregress(value, np.log(whole.genotypes.targets["death_time"]))
    assert fit.rvalue**2 == pytest.approx(0.4, abs=0.02)
    assert fit.slope < 0
    same = targets["death_event"] == 1
    np.testing.assert_allclose(targets["death_time"][same], whole.genotypes.targets["death_time"][same])


def test_more_people_leave_a_quantitative_trait_as_it_is(tmp_path):
    trait = quantitative("within")
    small, large = (
        simulated(tmp_path / str(n), trait, people=n, families=10, populations=2).genotypes for n in (100, 5000)
    )
    pd.testing.assert_frame_equal(large.targets.iloc[:100], small.targets)
    pd.testing.assert_frame_equal(large.covariates.iloc[:100], small.covariates)


def test_age_of_children(tmp_path):
    study = simulated(tmp_path / "study", quantitative("null"), people=400, families=50)
    age, people = study.genotypes.covariates["age"], study.genotypes.people
    child = people[people["father"] != ""]
    youngest = np.minimum(age[child["father"]].to_numpy(), age[child["mother"]].to_numpy())
    assert (youngest - age[child.index]).between(18, 37).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scenario": "additiv"}, "Did you mean 'additive'"),
        ({"kind": "counts"}, "kind is 'counts'; known are"),
        ({"h2": 1.0}, "h2 of trait 'phenotype' is 1; it must be at least 0 and below 1"),
        ({"h2": 0.6, "covariates": 0.4}, r"has h2 0.6, covariates 0.4, population 0: together 1 or more"),
        ({"prevalence": 0.0}, "prevalence of trait 'phenotype' is 0"),
        ({"scenario": "null", "h2": 0.1}, "is 'null' and has h2 0.1; leave h2 out"),
        ({"genes": 5}, "5 causal genes in 2 pathways; every pathway needs as many"),
        ({"scenario": "across", "genes": 6}, "3 causal genes in a pathway; pairs of genes need an even number"),
        ({"per_gene": 0}, "per_gene of trait 'phenotype' is 0"),
    ],
)
def test_what_no_trait_can_be(changes, words):
    with pytest.raises(ValueError, match=words):
        Trait(**changes)

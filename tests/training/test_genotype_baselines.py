"""Simpler models of genotypes on the splits of a study, from packed rows alone."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import r2_score, roc_auc_score

from tests.data.genotypes.cohorts import genotypes, in_ld, missing
from vnn._errors import AlignmentError
from vnn.chance import generator
from vnn.data import Split, k_fold
from vnn.data.genotypes import Genotypes, Part
from vnn.data.genotypes.burden import burdens
from vnn.training import genotype_baselines as module
from vnn.training.genotype_baselines import (
    BURDEN,
    GENE_NETWORKS,
    MODELS,
    SCORE,
    GenotypePart,
    genotype_baselines,
    genotype_models,
)
from vnn.training.ridge import ridge
from vnn.training.streamed_ridge import streamed_ridge

M, N = 120, 300
GENES = {f"v{k}": (f"g{k // 6}",) for k in range(M)}


@pytest.fixture(scope="module")
def study():
    """Cases follow a gene whose rare alleles all do harm, two single variants, and age."""
    rng = np.random.default_rng(21)
    dosages = in_ld(rng, M, N, switch=0.3)
    cohort = genotypes(missing(rng, dosages, 0.02), position=[1 + 300_000 * k for k in range(M)])
    age = rng.normal(50, 10, N)
    minor = np.where((dosages.mean(1) <= 1)[:, None], dosages, 2 - dosages)
    liability = minor[30:36].sum(0) + dosages[70] - dosages[100] + 0.1 * age + rng.standard_normal(N)
    truth = pd.Series((liability > np.median(liability)).astype(int), index=cohort.people.index)
    covariates = pd.DataFrame({"age": age}, index=cohort.people.index)
    order = rng.permutation(N)
    return (
        cohort,
        truth.iloc[order],
        covariates.iloc[rng.permutation(N)],
        pd.Series(liability, index=cohort.people.index),
    )


def parts(study, task="binary"):
    cohort, truth, covariates, liability = study
    given = truth if task == "binary" else liability
    learners = np.random.default_rng(3).random(N) < 0.7
    return GenotypePart(
        "one", 1, task, cohort, GENES, learners, ~learners, given.loc[list(cohort.ids)].to_numpy(dtype=float),
        covariates.loc[list(cohort.ids)].to_numpy(),
    )  # fmt: skip


def test_all_models_on_all_splits(study):
    cohort, truth, covariates, _ = study
    splits = k_fold(cohort.ids, k=3, seed=1, stratify=truth)
    found = genotype_baselines(cohort, GENES, truth, splits, task="binary", covariates=covariates, seed=1)
    names = [
        "covariates only",
        "missingness only",
        "logistic regression",
        SCORE,
        BURDEN,
        GENE_NETWORKS,
        "boosted trees",
    ]
    assert list(dict.fromkeys(found["model"])) == names == list(genotype_models("binary", cohort, covariates))
    assert found.groupby(["model", "metric"]).size().eq(3).all()
    auc = found[found["metric"] == "AUC"].groupby("model")["value"].mean()
    assert auc["missingness only"] < 0.6 < auc["covariates only"]
    for name in ("logistic regression", SCORE, BURDEN, GENE_NETWORKS, "boosted trees"):
        assert auc[name] > auc["covariates only"] + 0.02
    assert "variants" in found.attrs["notes"][SCORE]


def test_predictions_meet_people_by_id(study):
    cohort, truth, covariates, _ = study
    part = parts(study)
    ids = np.array(cohort.ids)
    split = Split("one", tuple(ids[part.learners][::-1]), (), tuple(ids[part.tested]))
    rng = np.random.default_rng(1)
    turned = cohort.select(ids=rng.permutation(ids))
    told = {}
    for which, one in (("as it is", cohort), ("turned", turned)):
        found = genotype_baselines(
            one,
            GENES,
            truth,
            [split],
            task="binary",
            covariates=covariates,
            seed=1,
            models=["boosted trees", "logistic regression", SCORE, "covariates only"],
        )
        told[which] = found.set_index(["model", "metric"])["value"]
    pd.testing.assert_series_equal(told["as it is"], told["turned"], atol=1e-6)
    values, _ = MODELS["covariates only"](part)
    own = roc_auc_score(truth.loc[ids[part.tested]], values[:, 1])
    assert told["as it is"]["covariates only", "AUC"] == pytest.approx(own, abs=0.02)


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("name", ["missingness only", "linear", SCORE, BURDEN, GENE_NETWORKS, "boosted trees"])
def test_the_truth_of_those_predicted_is_not_looked_at(study, task, name):
    part = parts(study, task)
    name = {"linear": "logistic regression" if task == "binary" else "ridge regression"}.get(name, name)
    found, note = MODELS[name](part)
    again, told = MODELS[name](replace(part, truth=np.where(part.learners, part.truth, 1 - part.truth)))
    np.testing.assert_array_equal(found, again)
    assert note == told
    assert found.shape == (part.tested.sum(), 2 if task == "binary" else 1)
    if name == "missingness only":
        return
    given = part.truth[part.tested]
    assert (roc_auc_score(given, found[:, 1]) if task == "binary" else 0.5 + r2_score(given, found[:, 0])) > 0.65


def test_burdens_of_other_studies(study):
    """A ridge model of the burdens as a matrix."""
    part = parts(study, "regression")
    made = burdens(part.genotypes, GENES, part.learners)
    matrix = np.concatenate([values for _, values in made.blocks()]).T
    nothing = np.empty((N, 0))
    found = streamed_ridge("regression", made, part.truth, nothing, part.learners, chance=part.chance(BURDEN))
    wanted = ridge(
        "regression", 0, matrix[part.learners], part.truth[part.learners], matrix[part.tested], chance=part.chance(BURDEN),
        penalty=found.penalty * made.n_inputs,
    )  # fmt: skip
    np.testing.assert_allclose(found.predictor[part.tested], wanted[:, 0], atol=1e-3)
    values, _ = MODELS[BURDEN](replace(part, covariates=nothing))
    np.testing.assert_allclose(values[:, 0], found.predictor[part.tested], atol=1e-9)


def test_trees_look_at_the_strongest_variants_of_those_who_learn(study, monkeypatch):
    part = parts(study)
    monkeypatch.setattr(module, "SCREENED", 12)
    found, note = MODELS["boosted trees"](part)
    assert note.startswith("of the 12 variants")
    dosages = part.genotypes.dosages()
    learn = dosages[:, part.learners]
    filled = np.where(np.isnan(learn), np.nanmean(learn, axis=1)[:, None], learn)
    design = np.column_stack([np.ones(part.learners.sum()), part.covariates[part.learners]])
    sm = pytest.importorskip("statsmodels.api")
    model = sm.GLM(part.truth[part.learners], design, family=sm.families.Binomial())
    params = model.fit().params
    strength = [
        np.squeeze(model.score_test(params, exog_extra=x[:, None])[0]) if x.std() > 1e-6 else -1.0 for x in filled
    ]
    at = np.sort(np.argsort(strength)[-12:])
    x = np.column_stack([dosages[at].T, part.covariates]).astype(np.float32)
    drawn = int(generator(1, "boosted trees", "one").integers(2**31))
    trees = HistGradientBoostingClassifier(
        max_iter=100, max_leaf_nodes=4, min_samples_leaf=5, max_bins=64, early_stopping=False, random_state=drawn
    ).fit(x[part.learners], part.truth[part.learners])
    np.testing.assert_allclose(found, trees.predict_proba(x[part.tested]), atol=1e-9)


def test_what_does_not_fit_is_refused(study):
    cohort, truth, covariates, _ = study
    split = Split("one", cohort.ids[:200], (), cohort.ids[200:])
    with pytest.raises(ValueError, match="the baseline"):
        genotype_baselines(cohort, GENES, truth, [split], task="binary", models=["pathway means"])
    with pytest.raises(ValueError, match="the task"):
        genotype_baselines(cohort, GENES, truth, [split], task="multiclass")
    with pytest.raises(AlignmentError, match="`truth` lacks 1 of the 300 people of the splits: 'p7'"):
        genotype_baselines(cohort, GENES, truth.drop("p7"), [split], task="binary")
    with pytest.raises(AlignmentError, match="`covariates` lacks 2 of the 300 people"):
        genotype_baselines(cohort, GENES, truth, [split], task="binary", covariates=covariates.drop(["p1", "p299"]))
    with pytest.raises(AlignmentError, match="the genotypes lack 1 of the 301 people asked for"):
        genotype_baselines(cohort, GENES, pd.concat([truth, pd.Series({"x": 1})]),
                           [Split("one", (*cohort.ids[:200], "x"), (), cohort.ids[200:])], task="binary")  # fmt: skip


def test_one_class_gives_no_score(study):
    cohort, truth, *_ = study
    ones = tuple(truth.index[truth == 1])
    found = genotype_baselines(
        cohort, GENES, truth, [Split("one", ones[:80], (), ones[80:100])], task="binary", models=[BURDEN]
    )
    assert found["value"].isna().all()


@pytest.mark.slow
def test_memory_does_not_grow_with_their_product():
    """20,000 variants of 1,000 people would be 80 MB as float32."""
    rng = np.random.default_rng(2)
    rows = rng.integers(0, 256, (20_000, 250), dtype=np.uint8)
    index = pd.Index([f"v{k}" for k in range(20_000)], dtype=object)
    variants = pd.DataFrame(
        {"chromosome": "1", "position": 1 + 5000 * np.arange(20_000), "counted": "A", "other": "G"}, index
    )
    ids = pd.Index([f"p{i}" for i in range(1000)], dtype=object)
    people = pd.DataFrame({"family": ids, "father": "", "mother": "", "sex": ""}, index=ids)
    cohort = Genotypes.of([Part(rows, np.arange(1000))], variants, people)
    genes = {f"v{k}": (f"g{k // 20}",) for k in range(20_000)}
    truth = pd.Series(rng.integers(0, 2, 1000), index=ids)
    split = Split("one", tuple(ids[:800]), (), tuple(ids[800:]))
    some = {name: own for k, (name, own) in enumerate(genes.items()) if k // 20 % 4 == 0}
    for name in genotype_models("binary", cohort, None):
        tracemalloc.start()
        known = some if name == GENE_NETWORKS else genes
        genotype_baselines(cohort, known, truth, [split], task="binary", models=[name])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < {GENE_NETWORKS: 20e6, "boosted trees": 130e6}.get(name, 75e6), name


def test_survival_has_the_same_models(study):
    cohort, _, covariates, liability = study
    rng = np.random.default_rng(5)
    times, ends = rng.exponential(np.exp(-2 * (liability - liability.mean()) / liability.std())), rng.exponential(2, N)
    truth = pd.DataFrame({"days": np.minimum(times, ends), "died": times <= ends}, index=liability.index).astype(float)
    split = Split("one", cohort.ids[:200], (), cohort.ids[200:])
    found = genotype_baselines(cohort, GENES, truth, [split], task="cox", covariates=covariates)
    c = found[found["metric"] == "C-index"].set_index("model")["value"]
    models = ["ridge Cox", SCORE, BURDEN, GENE_NETWORKS, "boosted trees"]
    assert list(c.index) == ["covariates only", "missingness only", *models]
    assert 0.55 < c["covariates only"] < c[models].min()
    changed = truth.assign(days=truth["days"].where(truth.index.isin(cohort.ids[:200]), 1.0))
    again = genotype_baselines(cohort, GENES, changed, [split], task="cox", covariates=covariates, models=[SCORE])
    assert again.attrs["notes"] == {SCORE: found.attrs["notes"][SCORE]}

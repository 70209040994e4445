"""What studies of genotypes are compared with."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.study.test_cohort import change
from tests.study.test_cohort import study as study
from vnn.study import Study, read_material, run_study
from vnn.study.plan import plan
from vnn.training.genotype_baselines import BURDEN, GENE_NETWORKS, SCORE

RIVALS = ["missingness only", "logistic regression", SCORE, BURDEN, GENE_NETWORKS, "boosted trees"]


def test_a_study_is_compared_with_models_of_packed_rows(study):
    change(study, '[compare]\nmodels = ["logistic regression"]\n', "")
    change(study, 'target = "case"', 'target = "case"\ncovariates = ["age"]')
    assert ", ".join(["Compared with: covariates only", *RIVALS, "dense network"]) in plan(Study.read(study))
    results = run_study(study)
    told = results.comparison[results.comparison["metric"] == "AUC"]
    assert list(told["model"]) == ["visible network", "covariates only", *RIVALS, "dense network"]
    page = (study.parent / "results" / "page.html").read_text()
    assert SCORE in page
    assert "gene burden" in page
    assert "beat" in page
    kept = (study.parent / "results" / "performance.json").read_bytes()
    again = run_study(study)
    pd.testing.assert_frame_equal(again.performance, results.performance)
    assert (study.parent / "results" / "performance.json").read_bytes() == kept


def test_association_is_written_beside_the_scores(study):
    results = run_study(study)
    folder = study.parent / "results"
    single = pd.read_csv(folder / "association.csv.gz", index_col="variant")
    genes = pd.read_csv(folder / "gene_tests.csv", index_col="gene")
    assert set(single.index) == {f"rs{k}" for k in range(18)}
    assert genes.index[0] == "FIRST"
    assert genes.loc["FIRST", "variants"] == 6
    samples = results.samples
    case = (samples.targets["case"] == "case").to_numpy(dtype=float)
    values = samples.select(list(single.index)).values.astype(float)
    filled = np.where(np.isnan(values), np.nanmean(values, axis=1)[:, None], values)
    trend = pd.Series([len(case) * np.corrcoef(x, case)[0, 1] ** 2 for x in filled], index=single.index)
    np.testing.assert_allclose(single["p"], stats.chi2.sf(trend, 1), rtol=1e-6)
    second = trend[[f"rs{k}" for k in range(6, 12)]].mean()
    np.testing.assert_allclose(genes.loc["SECOND", "mean_chi2"], second, rtol=1e-5)


@pytest.mark.parametrize("coding", ["genotype", "dominant"])
def test_other_codings_have_the_same_rivals(study, coding):
    change(study, "upstream = 0\n", f'upstream = 0\ncoding = "{coding}"\n')
    change(study, 'models = ["logistic regression"]', f'models = ["{SCORE}", "dense network", "linear network"]')
    results = run_study(study)
    told = results.comparison[results.comparison["metric"] == "AUC"]
    assert list(told["model"]) == ["visible network", SCORE, "dense network", "linear network"]


def test_nothing_to_compare_with(study):
    change(study, 'models = ["logistic regression"]', "models = []")
    results = run_study(study)
    assert set(results.comparison["model"]) == {"visible network"}


def test_survival(study):
    people = pd.read_csv(study.parent / "people.csv")
    rng = np.random.default_rng(1)
    people["days"], people["died"] = rng.integers(1, 900, len(people)), rng.integers(0, 2, len(people))
    people.to_csv(study.parent / "people.csv", index=False)
    change(study, 'target = "case"\nclasses = ["control", "case"]', 'target = "days"\nevent = "died"')
    change(study, 'models = ["logistic regression"]', f'models = ["ridge Cox", "{SCORE}"]')
    results = run_study(study)
    assert set(results.comparison["model"]) == {"visible network", "ridge Cox", SCORE}
    assert len(pd.read_csv(study.parent / "results" / "gene_tests.csv")) == 3


def test_models_of_other_values_are_not_known_here(study):
    change(study, 'models = ["logistic regression"]', 'models = ["pathway means"]')
    with pytest.raises(ValueError, match=r"compare\.models .*'pathway means'.*gene burden"):
        read_material(Study.read(study))

"""A study whose covariates enter the first level as well."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from tests.study.test_run import STUDY, write_study
from tests.study.test_verdict import PRIMED
from vnn.interpret.one_sample import one_sample
from vnn.study import run_study

MORE = '\n[network]\ncovariates = "early"\ndropout = 0.0\n\n[nulls]\nlabels = 4\nrewired = 4\nhalf_samples = 2\n'


def test_it_runs_to_its_page_with_nulls_and_a_verdict(tmp_path: Path) -> None:
    text = STUDY.replace('target = "phenotype"', 'target = "phenotype"\ncovariates = ["age"]')
    study = write_study(tmp_path, text.replace('start = "random"\n', PRIMED) + MORE)
    people = pd.read_csv(tmp_path / "people.csv", index_col=0)
    people.assign(age=np.random.default_rng(0).normal(50, 10, len(people))).to_csv(tmp_path / "people.csv")
    results = run_study(study)
    assert results.fit.networks.early
    assert len(results.agreement)
    assert results.agreement["agrees"].all()
    assert results.verdict is not None
    one = one_sample(results.fit, results.samples, results.samples.ids[0])
    assert "age" in set(one.nodes["node"])
    assert "age (covariate)" in (tmp_path / "results" / "page.html").read_text()
    assert set(results.nulls["kind"]) >= {"labels", "rewired"}

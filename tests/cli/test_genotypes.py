"""`vnn data qc`, `pca` and `prune` as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from vnn._errors import AlignmentError, GenotypeError, StudyError
from vnn.cli.main import app
from vnn.data.genotypes import (
    Thresholds,
    principal_components,
    pruned,
    quality_control,
    read_plink,
    relatives,
    simulate_genotypes,
    unrelated,
    write_plink,
)
from vnn.study.kept import read_kept


def vnn(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cohort") / "made"
    simulate_genotypes(
        folder, people=200, variants=3000, genes=40, pathways=3, families=10, missing=0.01, populations=2, fst=0.1,
        founders=3000, seed=2,
    )  # fmt: skip
    return folder / "cohort.bed"


def test_quality_control_writes_its_account(cohort, tmp_path):
    out = tmp_path / "qc"
    found = vnn("qc", cohort, "--out", out, "--maf", 0.05, "--hardy", 0.01, "--phenotype", "1/2", "--bed")
    assert found.exit_code == 0, found.exception
    genotypes = read_plink(cohort)
    controls = list(genotypes.people.index[genotypes.people["phenotype"] == "1"])
    expected = quality_control(genotypes, Thresholds(maf=0.05, hardy=0.01), controls=controls)
    assert str(expected) in found.output
    assert 20 < len(controls) < 180
    assert (out / "kept_variants.txt").read_text().split() == list(expected.genotypes.variants.index)
    people = [line.split()[1] for line in (out / "kept_people.txt").read_text().splitlines()]
    assert people == list(expected.genotypes.ids)
    assert (out / "log.txt").read_text().splitlines() == list(expected.genotypes.log)
    kept = read_plink(out / "kept")
    np.testing.assert_array_equal(kept.dosages(), expected.genotypes.dosages())
    table = read_kept(out / "variants.tsv.gz")
    pd.testing.assert_series_equal(table["hardy_p"], expected.variants["hardy_p"], check_names=False)
    assert (table["removed"] == expected.variants["removed"]).all()
    assert len(pd.read_csv(out / "relatives.csv")) == len(expected.relatives)
    assert "families of" in found.output
    again = vnn("qc", cohort, "--out", out)
    assert isinstance(again.exception, StudyError)


def test_steps_are_left_out_by_zero_and_a_program_reads_json(cohort, tmp_path):
    found = vnn(
        "qc", cohort, "--out", tmp_path / "qc", "--maf", 0, "--hardy", 0, "--heterozygosity", 0, "--duplicates", 0,
        "--kinship", 0, "--no-sex", "--variant-call-rate", 0, "--person-call-rate", 0, "--chromosome", 1, "--json",
    )  # fmt: skip
    told = json.loads(found.stdout)
    assert [step["step"] for step in told["steps"]] == ["not on 1"]
    assert told["people"] == 200
    assert told["variants"] == (read_plink(cohort).variants["chromosome"] == "1").sum()


def test_components_of_unrelated_people_on_unlinked_variants(cohort, tmp_path):
    genotypes = read_plink(cohort, build="GRCh38")
    training = list(genotypes.ids[:150])
    (tmp_path / "training.txt").write_text("\n".join(training))
    out = tmp_path / "pcs.csv"
    found = vnn(
        "pca", cohort, "--out", out, "--components", 2, "--training", tmp_path / "training.txt", "--build", "GRCh38"
    )
    assert found.exit_code == 0, found.exception
    scores = pd.read_csv(out, index_col=0)
    assert list(scores.index) == list(genotypes.ids)
    loadings = read_kept(tmp_path / "pcs.loadings.tsv.gz")
    alone = unrelated(training, relatives(genotypes.select(ids=training)))
    dosages = pd.DataFrame(genotypes.dosages(), index=genotypes.variants.index, columns=list(genotypes.ids))
    p = dosages[list(alone)].mean(axis=1) / 2
    common = genotypes.select(list(p.index[np.minimum(p, 1 - p) >= 0.01]))
    thin = pruned(common, training=alone)
    assert set(loadings.index) <= set(thin)
    expected = principal_components(genotypes.select(list(loadings.index)), 2, training=alone)
    np.testing.assert_allclose(scores, expected.scores, atol=1e-6)
    assert f"learnt from {len(alone):,} unrelated people; {200 - len(alone):,} others" in found.output
    told = json.loads(
        vnn("pca", cohort, "--out", tmp_path / "b.csv", "--components", 2, "--kinship", 0, "--json").stdout
    )
    assert len(told["eigenvalues"]) == 2
    assert "learnt from 200 people" in told["log"][0]


def test_pruned_variants_are_listed(cohort, tmp_path):
    found = vnn("prune", cohort, "--out", tmp_path / "kept.txt", "--r2", 0.5)
    assert found.exit_code == 0, found.exception
    kept = (tmp_path / "kept.txt").read_text().split()
    assert kept == list(pruned(read_plink(cohort), r2=0.5))
    assert f"{len(kept):,} of 3,000 variants stay" in found.output
    assert isinstance(vnn("prune", cohort, "--out", tmp_path / "kept.txt").exception, StudyError)


def test_bad_input_is_told_and_nothing_is_written(cohort, tmp_path):
    out = tmp_path / "out"
    (tmp_path / "who.txt").write_text("nobody\n")
    for arguments, kind, words in (
        (("qc", tmp_path / "no.bed", "--out", out), FileNotFoundError, "is not there"),
        (("qc", cohort, "--out", out, "--maf", 1.5), GenotypeError, "maf is 1.5; a share between 0 and 1"),
        (("qc", cohort, "--out", out, "--controls", tmp_path / "who.txt"), AlignmentError, "are not in the genotypes"),
        (
            ("qc", cohort, "--out", out, "--chromosome", "23"),
            GenotypeError,
            "no variants are left after the step 'not on 23'",
        ),
        (("qc", cohort, "--out", out, "--build", "hg19"), ValueError, "--build is 'hg19'"),
        (("qc", cohort, "--out", out, "--phenotype", "0/1"), GenotypeError, "is coded 0/1 and holds '2'"),
        (("pca", cohort, "--out", out, "--components", 500), GenotypeError, "500 components"),
        (("prune", cohort, "--out", out, "--r2", 7), GenotypeError, "r2"),
    ):
        found = vnn(*arguments)
        assert isinstance(found.exception, kind), (arguments, found.exception)
        assert words in str(found.exception)
        assert not out.exists()


def test_nobody_is_called(cohort, tmp_path):
    genotypes = read_plink(cohort).select(ids=["person-0000001", "person-0000002"])
    write_plink(genotypes, tmp_path / "two")
    bed = (tmp_path / "two.bed").read_bytes()
    (tmp_path / "two.bed").write_bytes(bed[:3] + b"\x05" * (len(bed) - 3))
    found = vnn("qc", tmp_path / "two.bed", "--out", tmp_path / "out")
    assert "no variants are left after the step 'called in nobody'" in str(found.exception)

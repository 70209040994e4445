"""The benchmark of simulated genotype studies: rivals are what they say, findings are counted rightly, kills lose nothing."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

from vnn._errors import StudyError
from vnn.bench import genotype_truth as truth
from vnn.bench.genotype_truth import Planted, Size
from vnn.bench.genotype_truth.classical import _Held, _ridge
from vnn.bench.genotype_truth.evaluation import Ranked
from vnn.cli.main import app

SMALL = Size(1200, 1500, 100, pathways=4, causal=4)


@cache
def planted(scenario: str = "additive") -> Planted:
    return truth.cohort(scenario, 1, Path(mkdtemp()) / "cohort", SMALL)


@cache
def found() -> dict[tuple[str, int], Ranked]:
    return {(one.method, one.label): one for one in truth.rivals(planted())}


def test_those_who_learn_are_not_those_who_are_predicted() -> None:
    held = planted()
    assert sorted([*held.learners, *held.others]) == list(range(1200))
    assert len(held.others) == 240
    assert np.bincount(held.folds).tolist() == [240] * 4
    true, permuted = held.residuals.T
    np.testing.assert_allclose(np.sort(true), np.sort(permuted))
    assert abs(np.corrcoef(true, permuted)[0, 1]) < 0.1
    assert abs(held.residuals[:, 0] @ held.covariates[held.learners]).max() < 0.1


def test_tests_of_variants_and_genes_are_those_of_scipy() -> None:
    held, methods = planted(), found()
    y, values = held.residuals[:, 0], held.genotypes.dosages()[:, held.learners]
    genes = held.gene_map
    for number in (0, 7, 50):
        rows = genes.variant[genes.gene == number]
        r = np.array([stats.pearsonr(values[row], y)[0] for row in rows])
        p = stats.chi2.sf(len(y) * r**2, 1)
        own = {
            name: one.genes[genes.genes[number]]
            for (name, label), one in methods.items()
            if label == 0 and one.genes is not None
        }
        assert own["best variant"] == pytest.approx(-np.log(p.min() * len(rows)), rel=1e-3)
        assert own["mean chi2"] == pytest.approx(np.mean(len(y) * r**2), rel=1e-3)
        minor = np.where(values[rows].mean(1, keepdims=True) <= 1, values[rows], 2 - values[rows])
        assert own["burden"] == pytest.approx(len(y) * stats.pearsonr(minor.sum(0), y)[0] ** 2, rel=1e-3)


def test_a_ridge_by_conjugate_gradients_is_the_ridge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vnn.bench.genotype_truth.classical.ROUNDS", 60)
    held = planted()
    values = held.genotypes.dosages("float64")
    x, new = values[:, held.learners], values[:, held.others]
    mean, sd = x.mean(1, keepdims=True), x.std(1, keepdims=True)
    x, new = (x - mean) / sd, (new - mean) / sd
    y = held.residuals[:, 0] / held.residuals[:, 0].std()
    penalty = len(x) * 0.7 / 0.3
    exact = 2 * new.T @ np.linalg.solve(x @ x.T + penalty * np.eye(len(x)), x @ y)
    np.testing.assert_allclose(_ridge(held, _Held.of(held)), exact, atol=1e-3)


def test_findings_are_counted_by_gene_and_by_locus() -> None:
    held = planted()
    causal = held.study.truth.genes("phenotype")
    names = list(held.gene_map.genes)
    far = [name for name in names if name not in causal]
    strength = pd.Series(0.0, index=names)
    strength[[*causal[:2], *far[:8]]] = np.arange(10, 0, -1)
    record = truth.evaluate(held, [Ranked("made", 1, strength, frozenset([causal[0], far[40]]))])[0]
    assert record["labels"] == "permuted"
    assert record["precision"] == 0.2
    assert (record["calls"], record["false_calls"]) == (2, 1)
    assert record["loci"] >= 0.2
    assert "auc" not in record
    best = truth.evaluate(held, [Ranked("oracle", 0, None, None, held.case[held.others])])[0]
    assert best == {"method": "oracle", "labels": "true", "auc": 1.0}


def test_the_network_finds_what_no_variant_shows_and_permuted_labels_predict_nobody() -> None:
    held = planted("within")
    own = truth.visible_network(held)
    true, permuted = truth.evaluate(held, own)
    assert true["precision"] >= 0.3
    assert true["auc"] > 0.6
    assert permuted["calls"] == 0
    assert 0.35 < permuted["auc"] < 0.65


def test_pairs_of_genes_of_a_pathway_are_found_and_predict() -> None:
    held = planted("across")
    true, permuted = truth.evaluate(held, truth.paired_genes(held))
    alone = truth.evaluate(held, [Ranked("covariates", 0, None, None, held.offset[held.others])])[0]
    assert true["precision"] >= 0.3
    assert true["calls"] >= 2
    assert true["pathways"] == 1
    assert true["auc"] > alone["auc"] + 0.05
    assert permuted["calls"] <= 2
    own = truth.paired_genes(held)[0]
    table = held.study.truth.causes
    best = own.genes.sort_values(ascending=False).index[:4]
    assert set(best) == set(table["gene"])


def test_what_is_in_the_file_is_not_run_again_and_a_torn_line_is(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    line = {"scenario": "within", "seed": 1, "group": "rivals", "people": 1200, "variants": 1500, "genes": 100, "causal": 4,
            "seconds": 1.0, "method": "burden", "labels": "true", "precision": 0.5, "loci": 0.5, "calls": 0, "false_calls": 0,
            "calls_elsewhere": 0}  # fmt: skip
    file.write_text(json.dumps(line) + "\n" + json.dumps(line)[:30])
    told: list[str] = []
    records = truth.run(file, scenarios=["within"], seeds=[1], methods=["rivals"], size=SMALL, tell=told.append)
    assert records == [line]
    assert not told
    table = truth.summary(records)
    assert (table["precision"] == 0.5).all()
    assert "| within | true | burden | 1 | 0.50 |" in truth.summary_text(table)
    with pytest.raises(StudyError, match="holds cohorts of"):
        truth.run(file, scenarios=["within"], seeds=[1], methods=["rivals"])


def test_the_command(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    asked = [
        "bench",
        "genotypes-truth",
        "--file",
        str(file),
        "--scenario",
        "additive",
        "--seeds",
        "2",
        "--methods",
        "rivals",
    ]
    for _ in range(2):
        told = CliRunner().invoke(app, [*asked, "--size", "600x900x60"])
        assert told.exit_code == 0, told.output
        assert "| additive | true | PRS (C+T) | 1 |" in told.output
    assert len(file.read_text().splitlines()) == 13

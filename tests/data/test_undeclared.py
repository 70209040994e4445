"""Confounders that nobody declared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.study.test_run import STUDY, write_study
from vnn.data import data_checks, encode_survival, encode_target, simulate_expression
from vnn.data.read import columns_beside
from vnn.data.simulate import Confounder
from vnn.data.undeclared import accounted, coded, n_moved
from vnn.ontology import load_ontology
from vnn.study import read_material
from vnn.study.material import checks_of
from vnn.study.settings import Study


def flagged(seed: int, *, declared: bool = False, column: str = "side") -> list[str]:
    sets = load_ontology("human-small").gene_sets()
    made = simulate_expression(
        sets, causal=list(sets)[seed], n_samples=300, oracle_auc=0.85, seed=seed,
        confounder=Confounder(list(sets)[seed + 7], declared=declared),
    )  # fmt: skip
    rng, phenotype = np.random.default_rng(seed), made.samples.targets["phenotype"]
    side = made.truth.confounder
    assert side is not None
    others = {
        "side": side,
        "noise": pd.Series(rng.permutation(side.to_numpy()), side.index),
        # as often on either side as the confounder, but chosen by phenotype alone
        "diagnosis": side.groupby(phenotype).transform(lambda part: rng.permutation(part.to_numpy())),
    }
    checks = data_checks(made.samples, "phenotype", others=pd.DataFrame({column: others[column]}), seed=seed)
    return [check.name for check in checks if check.name.startswith("undeclared") and check.state == "warning"]


def test_a_confounder_is_flagged_unless_it_is_declared() -> None:
    assert sum(flagged(seed) == ["undeclared 'side'"] for seed in range(10)) >= 9
    assert [flagged(seed, declared=True) for seed in range(10)] == [[]] * 10


@pytest.mark.parametrize("column", ["noise", "diagnosis"])
def test_what_moves_no_feature_is_not_flagged(column: str) -> None:
    assert sum(bool(flagged(seed, column=column)) for seed in range(20)) <= 2


def test_it_counts_partial_f_tests() -> None:
    """Nested least squares, feature by feature."""
    rng = np.random.default_rng(0)
    n, group = 80, np.repeat([0, 1, 2, 3], 20)
    columns = np.eye(4)[group]
    known = np.column_stack([rng.normal(size=n), columns[:, 0] + columns[:, 1]])
    values = rng.normal(size=(60, n)) + np.linspace(0, 1.5, 60)[:, None] * (group % 2) + 3 * known[:, 0]
    values[5] = 7.0
    values[9, :4] = np.nan
    filled = np.where(np.isnan(values), np.nanmean(values, axis=1, keepdims=True), values)
    small, large = np.column_stack([np.ones(n), known]), np.column_stack([np.ones(n), known, columns])
    p = []
    for row in filled:
        rss = [((row - design @ np.linalg.lstsq(design, row, rcond=None)[0]) ** 2).sum() for design in (small, large)]
        rank = [np.linalg.matrix_rank(design) for design in (small, large)]
        free = n - rank[1]
        f = (rss[0] - rss[1]) / (rank[1] - rank[0]) / max(rss[1] / free, 1e-12)
        p.append(1.0 if np.ptp(row) == 0 else stats.f.sf(f, rank[1] - rank[0], free))
    expected = int((stats.false_discovery_control(p) <= 0.05).sum())
    assert 10 < expected < 60
    assert n_moved(values, columns, known) == expected
    assert n_moved(values, columns, columns) == 0, "what is known already moves nothing beyond it"
    assert n_moved(values[:, :12], columns[::7], known[::7]) == 0, "too few samples to tell"


def test_columns_become_levels_or_quantities() -> None:
    names = pd.Series([f"person {i}" for i in range(40)])
    assert coded(names) is None
    assert coded(pd.Series(["a"] * 40)) is None
    rare = coded(pd.Series(["a"] * 30 + ["b"] * 8 + ["c"] * 2))
    assert rare is not None
    assert rare.sum(0).tolist() == [30, 8]
    age = pd.Series(np.arange(40.0))
    age[3] = np.nan
    filled = coded(age)
    assert filled is not None
    assert filled.shape == (40, 1)
    assert filled[3, 0] == age.mean()
    few = coded(pd.Series([1, 2] * 20))
    assert few is not None
    assert few.shape == (40, 2), "few numbers are levels"


def test_a_quantity_and_survival_are_accounted_for() -> None:
    values = np.arange(30.0)
    assert accounted(encode_target(pd.Series(values, name="dose"), None, None)).shape == (30, 1)
    ends = encode_survival(pd.Series(values + 1, name="days"), pd.Series([1, 0, 1] * 10, name="died"))
    assert accounted(ends)[:2].tolist() == [[1, np.log1p(1)], [0, np.log1p(2)]]


def with_lot(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Expression and people of a study, with a lot that goes with the phenotype and moves one gene."""
    people = pd.read_csv(folder / "people.csv", index_col=0)
    expression = pd.read_csv(folder / "expression.csv", index_col=0)
    case = (people["phenotype"] == people["phenotype"].iloc[0]).to_numpy()
    lot = np.where(np.random.default_rng(0).random(len(people)) < np.where(case, 0.8, 0.2), "early", "late")
    shift = pd.Series(lot == "early", people.index).loc[expression.index]
    moved = expression.assign(**{expression.columns[4]: expression.iloc[:, 4] + 2 * shift})
    return moved, people.assign(lot=lot)


def told(path: Path) -> dict[str, str]:
    study = Study.read(path)
    return {check.name: check.text for check in checks_of(study, read_material(study))}


def test_a_study_looks_at_the_columns_it_does_not_use(tmp_path: Path) -> None:
    path = write_study(tmp_path, STUDY)
    expression, people = with_lot(tmp_path)
    people.to_csv(tmp_path / "people.csv")
    expression.to_csv(tmp_path / "expression.csv")
    assert "1 of" in told(path)["undeclared 'lot'"]
    assert "data.covariates" in told(path)["undeclared 'lot'"]
    path.write_text(STUDY.replace('groups = ["site"]', 'groups = ["site"]\ncovariates = ["lot"]'))
    assert "undeclared 'lot'" not in told(path)


def test_a_study_of_an_h5ad_file_looks_at_obs(tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    path = write_study(tmp_path, STUDY)
    expression, people = with_lot(tmp_path)
    people["phenotype"] = people["phenotype"].astype("category")
    anndata.AnnData(expression, obs=people.loc[expression.index]).write_h5ad(tmp_path / "expression.h5ad")
    whole = STUDY.replace("expression.csv", "expression.h5ad")
    path.write_text(whole.replace('labels = "people.csv"\n', ""))
    assert "1 of" in told(path)["undeclared 'lot'"]
    people.drop(columns="lot").to_csv(tmp_path / "people.csv")
    path.write_text(whole)
    assert "1 of" in told(path)["undeclared 'lot'"], "beside a table of labels too"


def test_columns_of_several_files_by_name(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("id,a,b\nx,1,2\ny,3,4\n")
    (tmp_path / "two.csv").write_text("id,b,c\ny,5,6\nz,7,8\n")
    (tmp_path / "three.cls").write_text("2 2 1\n# u v\nu v\n")
    files = [tmp_path / name for name in ("one.csv", "two.csv", "three.cls")]
    found = columns_beside(files, ["a"], ["y", "x"])
    assert found.index.tolist() == ["y", "x"]
    assert found["b"].tolist() == [4, 2]
    assert found["c"].iloc[0] == 6
    assert found["c"].isna().tolist() == [False, True]

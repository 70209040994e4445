"""The planted benchmark: methods do what they say, findings are counted rightly, pieces survive kills and company."""

from __future__ import annotations

import fcntl
import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse, stats
from sklearn.linear_model import LinearRegression, LogisticRegression
from typer.testing import CliRunner

from vnn._errors import AlignmentError, StudyError
from vnn.bench import truth
from vnn.bench.truth import ARMS, Cohort, Found, Setting, evaluate, exact_interval, groups_of
from vnn.bench.truth import methods as by
from vnn.bench.truth.cohorts import of
from vnn.cli.main import app
from vnn.data import simulate_expression
from vnn.data.simulate import Confounder, Simulated
from vnn.ontology import Ontology

BLOCKS = {f"block {i}": [f"g{i}-{j}" for j in range(8)] for i in range(12)}
UP = {"block 0": "low", "low": "middle", "middle": "root", **{f"block {i}": "root" for i in range(1, 12)}}


@cache
def made_setting() -> Setting:
    """Twelve blocks of eight genes under a root; one of them two terms deeper."""
    names = [*BLOCKS, "low", "middle", "root"]
    terms = pd.DataFrame({"name": names}, index=names)
    relations = pd.DataFrame([(low, high, "part_of") for low, high in UP.items()], columns=["child", "parent", "type"])
    rows = [(gene, name) for name, genes in BLOCKS.items() for gene in genes]
    rows += [("extra", "low"), *((f"more {i}", "middle") for i in range(40))]
    ontology = Ontology(terms, relations, pd.DataFrame(rows, columns=["gene", "term"]))
    return Setting("made", ontology, 1, sizes=(5, 9), depth=2, n_train=120, n_test=80)


@cache
def planted(arm: str = "easy", seed: int = 1) -> Cohort:
    return truth.cohort(made_setting(), arm, seed)


@cache
def loud(seed: int = 1) -> Cohort:
    """A cause that nobody can miss."""
    where = made_setting()
    people = simulate_expression(
        where.ontology, causal="block 3", n_samples=200, oracle_auc=0.99, carriers=1, r2=0.8, down=0.25, seed=seed
    )
    return of(where, "loud", seed, people)


def table(ranks: dict[str, float], called: set[str] = frozenset(), **columns: dict[str, bool]) -> Found:  # type: ignore[assignment]
    frame = pd.DataFrame({"rank": pd.Series(ranks), "called": [name in called for name in ranks]})
    return Found(frame.assign(**{name: pd.Series(values) for name, values in columns.items()}))


def low_cohort(**changes: object) -> Cohort:
    where = made_setting()
    made = simulate_expression(where.ontology, causal="block 0", n_samples=4, seed=1, **changes)
    return of(replace(where, n_train=2, n_test=2), "easy", 1, made)


def test_a_cohort_is_what_its_arm_says() -> None:
    for arm in set(ARMS) - {"real", "null-real"}:
        one, again = truth.cohort(made_setting(), arm, 3), truth.cohort(made_setting(), arm, 3)
        np.testing.assert_array_equal(one.samples.values, again.samples.values)
        assert one.truth.causal == again.truth.causal
        assert one.truth.causal in one.setting.candidates
        assert (one.truth.confounded is not None) == (arm in ("declared", "undeclared"))
        assert list(one.samples.covariates.columns) == (["confounder"] if arm == "declared" else [])
        assert (len(one.split.train), len(one.split.test)) == (120, 80)
        assert not {*one.split.train} & {*one.split.test}
        if one.truth.confounded:
            assert one.truth.confounded not in one.truth.related
    assert planted("mixed").truth.carriers != planted("moderate").truth.carriers
    np.testing.assert_array_equal(planted("moderate").samples.values, planted("null").samples.values)
    assert not planted("null").truth.family


def test_candidates_have_the_depth_and_size_asked_for() -> None:
    where = made_setting()
    graph = nx.DiGraph([(high, low) for low, high in UP.items()])
    depth = {
        name: max(len(path) for path in nx.all_simple_paths(graph, "root", name)) for name in graph if name != "root"
    }
    expected = {name for name, deep in depth.items() if deep >= 2 and 5 <= len(where.sets[name]) <= 9}
    assert set(where.candidates) == expected
    assert set(replace(where, depth=3).candidates) == {name for name in expected if depth[name] >= 3}


def test_ranks_calls_and_groups_of_one_cohort() -> None:
    cohort = low_cohort()
    assert cohort.truth.family == {"block 0", "low"}
    assert cohort.truth.related == {"block 0", "low", "middle", "root"}
    ranks = {"block 5": 1.0, "block 4": 2.0, "low": 2.0, "middle": 4.0, "block 0": 5.0, "root": 6.0}
    found = evaluate(cohort, table(ranks, {"block 5", "low", "middle", "block 0"}))
    wanted = {
        "rank": 5.0, "family_rank": 2.5, "family_top5": True, "family_top10": True, "family_called": True, "calls": 4,
        "false_calls": 1, "calls_without_signal": 1, "groups": 2, "false_groups": 1, "fdp": 0.5, "any_call": True, "auc": None,
    }  # fmt: skip
    assert {name: found[name] for name in wanted} == wanted
    led = evaluate(cohort, table(ranks, {"block 5", "low"}, leader={name: name == "low" for name in ranks}))
    assert (led["groups"], led["false_groups"], led["fdp"]) == (1, 0, 0.0)
    silent = evaluate(cohort, table(ranks))
    assert (silent["calls"], silent["fdp"], silent["family_called"], silent["any_call"]) == (0, 0.0, False, False)
    absent = evaluate(cohort, table({"block 5": 1.0}))
    assert absent["rank"] is None
    assert absent["family_top5"] is False
    null = evaluate(
        replace(cohort, truth=Simulated(cohort.samples, cohort.truth).permuted(1).truth), table(ranks, {"low"})
    )
    assert (null["rank"], null["family_called"], null["false_calls"], null["fdp"]) == (None, None, 1, 1.0)


def test_a_confounded_pathway_is_watched() -> None:
    cohort = planted("declared")
    other = cohort.truth.confounded
    assert other is not None
    found = evaluate(cohort, table({other: 1.0, "middle": 2.0}, {other}))
    assert (found["confounded_rank"], found["confounded_called"]) == (1.0, True)
    assert evaluate(cohort, table({other: 1.0}))["confounded_called"] is False


def test_groups_by_the_graph_and_by_overlap() -> None:
    sets = {
        "a": frozenset("123"),
        "b": frozenset("1234"),
        "c": frozenset("9"),
        "d": frozenset("7"),
        "top": frozenset("56789"),
    }
    found = groups_of(["a", "c", "b", "top", "d"], sets, [("c", "top"), ("d", "top")])
    assert found == {"a": ["a", "b"], "c": ["c", "top"], "d": ["d"]}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Found(pd.DataFrame({"rank": [1.0]}, index=["low"])), "lacks the columns 'called'"),
        (table({"nowhere": 1.0}), "1 of 1 nodes are no terms of the cohort: 'nowhere'"),
        (Found(pd.DataFrame({"rank": [1, 2], "called": False}, index=["low", "low"])), "nodes are there twice: 'low'"),
    ],
)
def test_findings_that_cannot_be_judged(found: Found, words: str) -> None:
    with pytest.raises(AlignmentError, match=words):
        evaluate(low_cohort(), found)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_that_of_clopper_and_pearson(pair: tuple[int, int]) -> None:
    expected = stats.binomtest(*pair).proportion_ci(method="exact")
    assert exact_interval(*pair) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_an_interval_of_nothing() -> None:
    with pytest.raises(ValueError, match="3 of 2 is no share"):
        exact_interval(3, 2)


def test_t_statistics_are_those_of_scipy_and_of_a_linear_model() -> None:
    rng = np.random.default_rng(0)
    values, case = rng.standard_normal((4, 40)), np.repeat([0.0, 1.0], [25, 15])
    t, df = by.t_statistics(values, case, np.zeros((40, 0)))
    expected = stats.ttest_ind(values[:, case == 1], values[:, case == 0], axis=1)
    np.testing.assert_allclose(t, expected.statistic)
    np.testing.assert_allclose(2 * stats.t.sf(abs(t), df), expected.pvalue)
    covariates = np.column_stack([rng.standard_normal(40), case + rng.standard_normal(40)])
    t, df = by.t_statistics(values, case, covariates)
    design = np.column_stack([np.ones(40), covariates, case])
    for row, found in zip(values, t, strict=True):
        beta, residual, *_ = np.linalg.lstsq(design, row, rcond=None)
        error = np.sqrt(residual[0] / (40 - 4) * np.linalg.inv(design.T @ design)[-1, -1])
        assert found == pytest.approx(beta[-1] / error)
    assert df == 36


def test_over_representation_is_fishers_test() -> None:
    cohort = loud()
    found = by.over_representation(cohort).table
    train = cohort.train
    case = (train.targets["phenotype"] == "case").to_numpy()
    t = stats.ttest_ind(train.values[:, case], train.values[:, ~case], axis=1).statistic
    n_top = round(0.05 * len(t))
    top = {train.features[at] for at in np.argsort(-abs(t))[:n_top]}
    for term, genes in cohort.setting.sets.items():
        hits = len(top & genes)
        square = [[hits, n_top - hits], [len(genes) - hits, len(t) - n_top - len(genes) + hits]]
        assert found.at[term, "p"] == pytest.approx(stats.fisher_exact(square, alternative="greater").pvalue, rel=1e-6)


def test_enrichment_is_the_running_sum() -> None:
    rng = np.random.default_rng(1)
    weight = np.abs(np.sort(rng.standard_normal(50))[::-1])
    places = np.sort(np.stack([rng.choice(50, 7, replace=False) for _ in range(20)]), axis=1)
    for own, found in zip(places, by._enrichment(places, weight), strict=True):
        running, best = 0.0, 0.0
        for at in range(50):
            running += weight[at] / weight[own].sum() if at in own else -1 / 43
            best = running if abs(running) > abs(best) else best
        assert found == pytest.approx(best)


def test_random_gene_sets_hold_every_gene_once() -> None:
    for n, size in ((100, 3), (20, 15), (9, 9)):
        drawn = by._draws(np.random.default_rng(0), n, size)
        assert drawn.shape == (1000, size)
        assert all(len(set(row)) == size for row in drawn.tolist())
        assert np.bincount(drawn.ravel(), minlength=n) == pytest.approx(np.full(n, 1000 * size / n), rel=0.5)


def test_ulm_is_one_regression_at_a_time() -> None:
    rng = np.random.default_rng(2)
    values = rng.standard_normal((30, 3))
    membership = (rng.random((4, 30)) < 0.3).astype(float)
    found = by._ulm(sparse.csr_array(membership), values)
    for at, row in enumerate(membership):
        for person in range(3):
            line = stats.linregress(row, values[:, person])
            assert found[at, person] == pytest.approx(line.slope / line.stderr)


def test_ulm_of_decoupler_is_ours() -> None:
    if importlib.util.find_spec("decoupler") is None:
        pytest.skip("decoupler is not installed; it comes with the extra dev")
    data = by.seen(loud())
    theirs, _ = by.ulm_activities(data, data.values)
    np.testing.assert_allclose(theirs, by._ulm(data.membership, data.values), rtol=1e-4, atol=1e-4)


def test_gsea_of_gseapy_has_our_order(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("gseapy") is None:
        pytest.skip("gseapy is not installed; it comes with the extra dev")
    theirs = by.gsea(loud())
    monkeypatch.setattr(by, "find_spec", lambda _: None)
    ours = by.gsea(loud())
    assert theirs.extras["by"].startswith("gseapy")
    assert stats.pearsonr(*(found.table["strength"].drop("root") for found in (theirs, ours))).statistic > 0.98


def test_the_first_component_and_the_ridge_are_those_of_a_plain_computation() -> None:
    cohort = loud()
    data = by.seen(cohort)
    found = by.first_component(cohort).table
    for at, term in enumerate(data.terms[:6]):
        rows = data.values[data.membership[[at]].indices]
        component = np.linalg.svd(rows, full_matrices=False)[2][0]
        expected = stats.ttest_ind(component[data.case == 1], component[data.case == 0]).pvalue
        assert found.at[term, "p"] == pytest.approx(expected, rel=1e-5)
    result = by.ridge_enrichment(cohort)
    model = LogisticRegression(C=result.extras["C"], max_iter=5000, tol=1e-9).fit(data.values.T, data.case)
    size = np.abs(model.coef_.ravel())
    m = data.sizes
    z = (np.array([size[data.membership[[at]].indices].mean() for at in range(len(m))]) - size.mean()) / np.sqrt(
        size.var(ddof=1) / m * (1 - m / len(size)) + (m == len(size))
    )
    np.testing.assert_allclose(result.table["p"], stats.norm.sf(z), atol=2e-3)


def test_camera_is_the_formula_of_its_paper() -> None:
    cohort = loud()
    data = by.seen(cohort)
    found = by.camera(cohort).table
    n, people = data.values.shape
    t = stats.ttest_ind(data.values[:, data.case == 1], data.values[:, data.case == 0], axis=1).statistic
    z = -np.sign(t) * stats.norm.ppf(stats.t.cdf(-abs(t), people - 2))
    residual = np.stack(
        [row - LinearRegression().fit(data.case[:, None], row).predict(data.case[:, None]) for row in data.values]
    )
    correlation = np.corrcoef(residual)
    for at, term in enumerate(data.terms[:8]):
        own = np.isin(np.arange(n), data.membership[[at]].indices)
        m = own.sum()
        inside = correlation[np.ix_(own, own)]
        vif = 1 + (m - 1) * (inside.sum() - m) / (m * (m - 1))
        difference = z[own].mean() - z[~own].mean()
        pooled = (((z[own] - z[own].mean()) ** 2).sum() + ((z[~own] - z[~own].mean()) ** 2).sum()) / (n - 2)
        statistic = difference / np.sqrt(pooled * (vif / m + 1 / (n - m)))
        assert found.at[term, "p"] == pytest.approx(2 * stats.t.sf(abs(statistic), min(people - 2, n - 2)), rel=1e-6)


@pytest.mark.parametrize(
    "name", [name for name in truth.METHODS if name not in ("gsea", "ulm", "camera", "single network")]
)
def test_a_loud_cause_is_found(name: str) -> None:
    record = evaluate(loud(), truth.METHODS[name](loud()))
    assert record["family_rank"] == 1.0
    assert record["family_called"]
    assert record["auc"] is None or record["auc"] > 0.9


def test_one_network_ranks_every_term_and_calls_none() -> None:
    found = by.single_network(loud())
    assert set(found.table.index) <= set(made_setting().sets)
    assert len(found.table) == made_setting().topology.n_nodes
    assert not found.table["called"].any()
    assert found.auc is not None
    assert found.auc > 0.7


def test_permuted_labels_stay_in_their_strata_and_declared_confounders_are_taken_out() -> None:
    where = made_setting()

    def calls(declared: bool) -> tuple[bool, bool]:
        made = simulate_expression(
            where.ontology, causal="block 3", n_samples=200, oracle_auc=0.5, r2=0.8, carriers=1, seed=4,
            confounder=Confounder("block 7", r2=0.9, association=0.8, declared=declared),
        )  # fmt: skip
        cohort = of(where, "declared", 4, made)
        return tuple(
            bool(method(cohort).table.at["block 7", "called"]) for method in (by.mean_squared_t, by.first_component)
        )

    assert calls(False) == (True, True)
    assert calls(True) == (False, False)


@pytest.mark.slow
def test_mean_squared_t_holds_its_level_in_null_cohorts() -> None:
    small = [
        evaluate(c, by.mean_squared_t(c)) for c in (truth.cohort(made_setting(), "null", seed) for seed in range(60))
    ]
    assert stats.binomtest(sum(r["any_call"] for r in small), 60, 0.05, alternative="greater").pvalue > 1e-3


def stub(log: list[str]) -> Callable[[Cohort], Found]:
    def method(cohort: Cohort) -> Found:
        log.append(f"{cohort.arm} {cohort.seed}")
        names = sorted(cohort.setting.sets)
        return Found(pd.DataFrame({"rank": range(1, len(names) + 1), "called": False}, index=names), 0.75, {"note": 1})

    return method


def test_pieces_are_made_once_and_added_to(tmp_path: Path) -> None:
    log: list[str] = []
    known = {"verdict": stub(log), "other": stub([])}
    first = truth.run(made_setting(), tmp_path, arms=["easy"], seeds=[1, 2], methods=["verdict"], known=known)
    assert log == ["easy 1", "easy 2"]
    more = truth.run(made_setting(), tmp_path, arms=["easy", "null"], seeds=[2, 1], methods=["verdict"], known=known)
    assert log == ["easy 1", "easy 2", "null 2", "null 1"]
    assert [(r["arm"], r["seed"]) for r in more] == [("easy", 2), ("easy", 1), ("null", 2), ("null", 1)]
    assert more[1] == first[0]
    for path in tmp_path.glob("*.json"):
        assert len(path.read_text().splitlines()) == 1
    assert first[0]["auc"] == 0.75
    assert first[0]["extras"] == {"note": 1}
    assert truth.run(made_setting(), tmp_path / "late", seeds=[1], arms=["easy"], known=known, limit=-1.0) == []


def test_a_piece_another_process_makes_is_left_to_it(tmp_path: Path) -> None:
    log: list[str] = []
    with (tmp_path / ".easy 00001 verdict.json.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert truth.run(made_setting(), tmp_path, arms=["easy"], seeds=[1], known={"verdict": stub(log)}) == []
    assert not log
    assert len(truth.run(made_setting(), tmp_path, arms=["easy"], seeds=[1], known={"verdict": stub(log)})) == 1


def test_a_method_that_fails_leaves_no_piece(tmp_path: Path) -> None:
    def broken(_: Cohort) -> Found:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        truth.run(made_setting(), tmp_path, arms=["easy"], seeds=[1], known={"verdict": broken})
    assert not list(tmp_path.glob("*.json"))


def test_pieces_of_another_benchmark_are_refused(tmp_path: Path) -> None:
    truth.run(made_setting(), tmp_path, arms=["easy"], seeds=[1], known={"verdict": stub([])})
    with pytest.raises(StudyError, match="is a piece of another benchmark"):
        truth.run(replace(made_setting(), n_test=60), tmp_path, arms=["easy"], seeds=[1], known={"verdict": stub([])})
    with pytest.raises(ValueError, match=r"the arm is 'esy'.*Did you mean 'easy'"):
        truth.run(made_setting(), tmp_path, arms=["esy"])
    with pytest.raises(ValueError, match="the method is 'glm'"):
        truth.run(made_setting(), tmp_path, arms=["easy"], methods=["glm"])
    with pytest.raises(ValueError, match="copies real expression, which the setting 'made' does not have"):
        truth.cohort(made_setting(), "real", 1)


def test_where_the_real_inputs_are_must_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VNN_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="--data or VNN_DATA"):
        truth.setting("reactome")
    with pytest.raises(ValueError, match="Did you mean 'reactome'"):
        truth.setting("reactom")


def test_the_summary_counts_shares_with_their_intervals() -> None:
    ranks = {"block 5": 1.0, "low": 2.0, "block 0": 3.0}
    base = {"method": "m", "seconds": 2.0}
    found = evaluate(low_cohort(), table(ranks, {"low"}))
    missed = evaluate(low_cohort(), table({"block 5": 1.0}, {"block 5"}))
    records = [
        {"arm": "easy", "seed": 1, **base, **found},
        {"arm": "easy", "seed": 2, **base, **missed},
        {"arm": "easy", "seed": 5, **base, **found},
    ]
    row = truth.summary(records).iloc[0]
    assert (row["n"], row["seeds"], row["median_rank"], row["median_family_rank"]) == (3, "1-2, 5", 3.0, 2.0)
    assert (row["top5"], row["called"], row["any_call"]) == pytest.approx((2 / 3, 2 / 3, 1.0))
    assert (row["top5_low"], row["top5_high"]) == exact_interval(2, 3)
    assert (row["calls"], row["false_calls"], row["fdp"]) == pytest.approx((1.0, 1 / 3, 1 / 3))
    text = truth.summary_text(truth.summary(records))
    assert "| easy | m | 3 | 1-2, 5 | 3.0 | 0.67 (0.09-0.99) |" in text
    assert len({line.count("|") for line in text.splitlines()}) == 1
    assert truth.summary_text(truth.summary([])) == "No cohort has been run yet."


def test_the_command_runs_a_few_cohorts_and_goes_on(tmp_path: Path) -> None:
    asked = ("bench", "truth", "--setting", "small", "--folder", tmp_path / "pieces", "--arm", "easy", "--methods",
             "mean squared t, over-representation", "--json", tmp_path / "found.json")  # fmt: skip
    runner = CliRunner()
    done = runner.invoke(app, [*map(str, asked), "--seeds", "1-2"])
    assert done.exit_code == 0, done.output
    assert done.stderr.count(" s\n") == 4
    more = runner.invoke(app, [*map(str, asked), "--seeds", "1-3"])
    assert more.stderr.count(" s\n") == 2
    held = json.loads((tmp_path / "found.json").read_text())
    assert [row["n"] for row in held["summary"]] == [3, 3]
    assert len(held["records"]) == 6
    wrong = runner.invoke(app, [*map(str, asked), "--seeds", "3-1"])
    assert isinstance(wrong.exception, ValueError)
    assert "--seeds is '3-1'" in str(wrong.exception)


@pytest.mark.data
def test_the_real_setting_is_reactome_on_the_genes_of_a_study(real: Callable[[str], Path]) -> None:
    where = truth.setting("reactome", data=real("reactome/ReactomePathways.gmt").parents[1])
    assert (len(where.sets), len(where.ontology.genes)) == (1166, 5962)
    assert min(map(len, where.sets.values())) == 10
    assert len(where.candidates) > 200
    assert {"R-HSA-1643685"}.isdisjoint(where.sets)
    assert where.real is not None
    assert where.real.features == where.ontology.genes

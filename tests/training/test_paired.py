"""Paired evaluation against scipy, brute force and null studies."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.training.null_studies import two_models, wirings_that_do_not_matter
from vnn.training.metrics import METRICS
from vnn.training.paired import corrected_t, holm, paired_comparison, rank_p


def rows(model: str, by_seed: np.ndarray, draw: float = np.nan) -> pd.DataFrame:
    """Scores of shape (n_splits, n_seeds) as rows of a table."""
    n_splits, n_seeds = by_seed.shape
    return pd.DataFrame(
        {
            "model": model,
            "draw": draw,
            "split": np.repeat([f"fold {j}" for j in range(n_splits)], n_seeds),
            "seed": np.tile(np.arange(n_seeds), n_splits),
            "score": by_seed.ravel(),
        }
    )


def study(n_draws: int = 39, n_splits: int = 6, n_seeds: int = 2) -> pd.DataFrame:
    """A network, a dense one, boosted trees with one seed, and rewired networks."""
    rng = np.random.default_rng(0)
    level = 0.7 + 0.05 * rng.standard_normal((n_splits, 1))
    parts = [
        rows("real", level + 0.06 + 0.02 * rng.standard_normal((n_splits, n_seeds))),
        rows("dense", level + 0.02 * rng.standard_normal((n_splits, n_seeds))),
        rows("trees", level - 0.05 + 0.02 * rng.standard_normal((n_splits, 1))),
    ]
    parts += [rows("rewired", level + 0.02 * rng.standard_normal((n_splits, n_seeds)), draw) for draw in range(n_draws)]
    return pd.concat(parts, ignore_index=True)


def test_the_t_test_is_that_of_scipy_on_seed_means_with_the_corrected_variance() -> None:
    table = study(n_draws=0)
    found = paired_comparison(table, reference="real", ratio=0.25)
    for difference in found.differences:
        means = table.groupby(["model", "split"])["score"].mean()
        d = (means["real"] - means[difference.model]).to_numpy()
        scale = np.sqrt((1 / 6 + 0.25) * d.var(ddof=1))
        lower, upper = stats.t.interval(0.95, 5, d.mean(), scale)
        assert np.allclose(
            [difference.difference, difference.lower, difference.upper, difference.p],
            [d.mean(), lower, upper, 2 * stats.t.sf(abs(d.mean()) / scale, 5)],
        )
        assert np.isclose(difference.reference_mean - difference.mean, d.mean())
        assert (difference.n_splits, difference.df, difference.ratio, difference.n_draws) == (6, 5, 0.25, None)
    assert [d.model for d in found.differences] == ["dense", "trees"]
    assert {d.verdict for d in found.differences} == {"better"}


def test_without_correction_it_is_the_paired_t_test_of_scipy() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = rng.standard_normal((2, 12))
    assert np.isclose(corrected_t(ours - theirs, 0.0), stats.ttest_rel(ours, theirs).pvalue)
    assert corrected_t(ours - theirs, 0.25) > corrected_t(ours - theirs, 0.0)


def test_repeats_of_folds_steady_the_mean_and_count_once() -> None:
    d = np.random.default_rng(3).standard_normal((12, 1))
    table = pd.concat([rows("real", d), rows("dense", 0 * d)])
    found = paired_comparison(table, reference="real", ratio=0.5, repeats=4).differences[0]
    scale = np.sqrt((1 / 3 + 0.5) * d.var(ddof=1))
    lower, upper = stats.t.interval(0.95, 2, d.mean(), scale)
    assert np.allclose([found.lower, found.upper], [lower, upper])
    assert np.isclose(found.p, 2 * stats.t.sf(abs(d.mean()) / scale, 2))
    assert (found.n_splits, found.repeats, found.df) == (12, 4, 2)


def test_rewired_graphs_are_ranked_each_averaged_over_splits_and_seeds() -> None:
    table = study()
    found = paired_comparison(table, reference="real", ratio=0.25, rewired=["rewired"]).differences[-1]
    real = table.loc[table["model"] == "real", "score"].mean()
    graphs = sorted(table[table["model"] == "rewired"].groupby("draw")["score"].mean())
    assert found.method == "rank among rewired"
    assert found.p == (1 + sum(graph >= real for graph in graphs)) / 40 == 1 / 40
    assert (found.n_draws, found.smallest_p, found.df) == (39, 1 / 40, None)
    assert np.isclose(found.difference, real - np.mean(graphs))
    assert np.allclose([found.lower, found.upper], [real - graphs[-1], real - graphs[0]])
    assert found.verdict == "better"
    worse = table.assign(score=np.where(table["model"] == "real", 0.3, table["score"]))
    last = paired_comparison(worse, reference="real", ratio=0.25, rewired="rewired").differences[-1]
    assert (last.p, last.verdict) == (1.0, "not shown")


def test_each_of_exchangeable_graphs_has_another_rank() -> None:
    scores = np.random.default_rng(2).standard_normal(20)
    p = [rank_p(scores[i], np.delete(scores, i)) for i in range(20)]
    assert np.allclose(np.sort(p), np.arange(1, 21) / 20)
    assert rank_p(0.5, np.full(9, 0.5)) == 1.0, "ties count against the reference"
    assert rank_p(0.1 + 0.2, np.full(9, 0.3)) == rank_p(0.3, np.full(9, 0.1 + 0.2)) == 1.0, "and so does rounding"


def test_the_interval_of_ranks_holds_zero_unless_the_rank_is_extreme() -> None:
    for n, cut in ((39, 1), (79, 2), (100, 2)):
        table = pd.concat(
            [rows("real", np.array([[0.0]]))]
            + [rows("rewired", np.array([[float(g - n // 2) / n]]), g) for g in range(n)]
        )
        graphs = np.sort((np.arange(n) - n // 2) / n)
        found = paired_comparison(table, reference="real", ratio=0.25, rewired=["rewired"]).differences[0]
        assert np.allclose([found.lower, found.upper], [-graphs[n - cut], -graphs[cut - 1]])
        assert 2 * cut / (n + 1) <= 0.05 < 2 * (cut + 1) / (n + 1)


@pytest.mark.parametrize(("n_draws", "resolvable"), [(18, False), (19, True), (39, True)])
def test_too_few_graphs_are_not_resolvable(n_draws: int, resolvable: bool) -> None:
    table = study(n_draws)
    table = table[table["model"].isin(["real", "rewired"])]
    found = paired_comparison(table, reference="real", ratio=0.25, rewired=["rewired"]).differences[0]
    assert (found.verdict == "better") is resolvable
    assert (found.verdict == "not resolvable") is not resolvable
    assert np.isnan(found.lower) == (n_draws < 39)
    if not resolvable:
        assert "18 draws cannot give a p below 0.0526" in found.note
    if n_draws < 39:
        assert f"{n_draws} draws give no 95 % interval; 39 do" in found.note


def test_beside_other_comparisons_more_graphs_are_needed() -> None:
    hopeless = study(19)
    hopeless.loc[hopeless["model"] == "dense", "score"] = hopeless.loc[hopeless["model"] == "real", "score"].to_numpy()
    found = paired_comparison(hopeless, reference="real", ratio=0.25, rewired=["rewired"])
    dense, trees, rewired = found.differences
    assert rewired.p == 0.05
    assert rewired.verdict == "not resolvable", "the dense network cannot be told from the real one: p counts twice"
    assert "19 draws cannot give a p below 0.1 beside 2 other comparisons" in rewired.note
    assert (dense.p, dense.verdict, trees.verdict) == (1.0, "not shown", "better")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_holm_is_the_closed_test_of_bonferroni(p: list[float]) -> None:
    wanted = []
    for i in range(len(p)):
        tested = [s for n in range(1, len(p) + 1) for s in combinations(range(len(p)), n) if i in s]
        wanted.append(max(min(1.0, len(s) * min(p[j] for j in s)) for s in tested))
    assert np.allclose(holm(np.array(p)), wanted)


def test_missing_p_count_as_comparisons_and_stay_missing() -> None:
    found = holm(np.array([0.01, np.nan, 0.04]))
    assert np.allclose(found, [0.03, np.nan, 0.08], equal_nan=True)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.floats(0.1, 10), st.floats(-5, 5))
def test_order_of_rows_scale_and_direction_do_not_matter(seed: int, scale: float, shift: float) -> None:
    table = study(n_draws=3, n_splits=4)
    said = {"reference": "real", "ratio": 0.25, "rewired": ["rewired"]}
    found = paired_comparison(table, **said).table.set_index("model")
    shuffled = table.sample(frac=1, random_state=np.random.default_rng(seed))
    turned = shuffled.assign(score=shift - scale * shuffled["score"])
    again = paired_comparison(turned, **said, metric="pinball loss", higher_is_better=False).table.set_index("model")
    again = again.loc[found.index]
    for name in ("difference", "lower", "upper"):
        assert np.allclose(again[name].astype(float), scale * found[name].astype(float), equal_nan=True)
    for name in ("p", "p_holm"):
        assert np.allclose(again[name], found[name])
    assert np.allclose(again["mean"], shift - scale * found["mean"])
    assert (again["verdict"] == found["verdict"]).all()


def test_lower_is_better_where_it_is() -> None:
    table = study(n_draws=0)
    higher = paired_comparison(table, reference="real", ratio=0.25, metric="AUC")
    lower = paired_comparison(table, reference="real", ratio=0.25, metric="Brier score")
    assert higher.higher_is_better
    assert not lower.higher_is_better
    assert [d.verdict for d in lower.differences] == ["worse", "worse"]
    assert np.allclose(lower.table["difference"], -higher.table["difference"])
    assert np.allclose(lower.table["upper"], -higher.table["lower"])
    assert np.allclose(lower.table[["mean", "reference_mean"]], higher.table[["mean", "reference_mean"]])
    for name in {name for names in METRICS.values() for name in names} - {"calibration slope"}:
        paired_comparison(table, reference="real", ratio=0.25, metric=name)


def test_seeds_and_draws_of_other_models_are_averaged_within_splits() -> None:
    real, dense = np.array([[0.8], [0.9], [0.7]]), np.array([[0.6, 0.8], [0.8, 0.7], [0.5, 0.5]])
    by_seed = pd.concat([rows("real", real), rows("dense", dense)])
    by_draw = pd.concat([rows("real", real), rows("dense", dense[:, :1], 0), rows("dense", dense[:, 1:], 1)])
    for table in (by_seed, by_draw):
        found = paired_comparison(table, reference="real", ratio=0.5).differences[0]
        assert np.isclose(found.p, corrected_t(np.array([0.1, 0.15, 0.2]), 0.5))


def test_a_network_that_diverged_is_left_out_and_counted() -> None:
    table = study()
    table.loc[(table["model"] == "rewired") & (table["draw"] == 3) & (table["seed"] == 1), "score"] = np.nan
    table.loc[(table["model"] == "real") & (table["split"] == "fold 2") & (table["seed"] == 0), "score"] = np.nan
    found = paired_comparison(table, reference="real", ratio=0.25, rewired=["rewired"]).differences
    assert [d.n_missing for d in found] == [1, 1, 7]
    assert "7 missing scores were left out" in found[-1].note
    kept = table[(table["model"] == "real")].groupby("split")["score"].mean().mean()
    assert np.isclose(found[0].reference_mean, kept)


def test_a_split_on_which_the_metric_is_not_defined_is_left_out_of_all() -> None:
    table = study()
    table.loc[table["split"] == "fold 4", "score"] = np.nan
    found = paired_comparison(table, reference="real", ratio=0.25, rewired=["rewired"])
    assert found.left_out == ("fold 4",)
    without = paired_comparison(table[table["split"] != "fold 4"], reference="real", ratio=0.25, rewired=["rewired"])
    pd.testing.assert_frame_equal(found.table, without.table)
    assert set(found.table["n_splits"]) == {5}


def test_one_split_and_differences_that_do_not_vary_give_no_test() -> None:
    one = pd.concat([rows("real", np.array([[0.8]])), rows("dense", np.array([[0.7]]))])
    found = paired_comparison(one, reference="real", ratio=0.25).differences[0]
    assert np.isnan([found.p, found.p_holm, found.lower, found.upper]).all()
    assert (found.verdict, found.df) == ("not resolvable", 0)
    assert "one split" in found.note
    same = pd.concat([rows("real", np.full((4, 1), 0.8)), rows("dense", np.full((4, 1), 0.7))])
    found = paired_comparison(same, reference="real", ratio=0.25).differences[0]
    assert np.isnan([found.p, found.lower]).all()
    assert found.verdict == "not resolvable"
    assert "the same in all 4 splits" in found.note


def test_a_model_without_some_splits_is_compared_on_those_it_shares() -> None:
    d = np.random.default_rng(3).standard_normal((6, 1))
    table = pd.concat([rows("real", d), rows("dense", 0 * d), rows("trees", 0 * d - 1), rows("gone", d * np.nan)])
    table = table[~((table["model"] == "trees") & table["split"].isin(["fold 1", "fold 4"]))]
    dense, trees, gone = paired_comparison(table, reference="real", ratio=0.25, shared=True).differences
    lone = paired_comparison(table[table["model"] != "gone"].query("model != 'trees'"), reference="real", ratio=0.25)
    assert (dense.p, dense.lower, dense.note) == (lone.differences[0].p, lone.differences[0].lower, "")
    kept = d[[0, 2, 3, 5], 0] + 1
    scale = np.sqrt((1 / 4 + 0.25) * kept.var(ddof=1))
    assert np.isclose(trees.p, 2 * stats.t.sf(abs(kept.mean()) / scale, 3))
    assert np.isclose(trees.difference, kept.mean())
    assert (trees.n_splits, trees.df, trees.note) == (4, 3, "compared on 4 of 6 splits")
    assert np.isnan([gone.p, gone.difference, gone.lower]).all()
    assert gone.note.startswith("no split has a score of both")
    assert (gone.n_splits, gone.verdict) == (0, "not resolvable")
    with pytest.raises(ValueError, match="`shared` is True"):
        paired_comparison(study(), reference="real", ratio=0.25, rewired=["rewired"], shared=True)


def test_a_split_without_any_score_leaves_repeats_as_they_are() -> None:
    d = np.random.default_rng(3).standard_normal((6, 1))
    d[2] = np.nan
    table = pd.concat([rows("real", d), rows("dense", 0 * d)])
    found = paired_comparison(table, reference="real", ratio=0.25, repeats=3).differences[0]
    known = d[~np.isnan(d)]
    scale = np.sqrt((3 / 5 + 0.25) * known.var(ddof=1))
    assert np.isclose(found.p, 2 * stats.t.sf(abs(known.mean()) / scale, 5 / 3 - 1))
    d[3:5] = np.nan
    few = pd.concat([rows("real", d), rows("dense", 0 * d)])
    found = paired_comparison(few, reference="real", ratio=0.25, repeats=3).differences[0]
    assert np.isnan([found.p, found.lower]).all()
    assert "3 splits of 3 repeats" in found.note


def test_models_that_score_the_same_are_not_told_apart() -> None:
    scores = np.array([[0.8], [0.1 + 0.2], [0.6]])
    table = pd.concat([rows("real", scores), rows("twin", np.array([[0.8], [0.3], [0.6]]))])
    found = paired_comparison(table, reference="real", ratio=0.25).differences[0]
    assert (found.p, found.lower, found.upper, found.verdict) == (1.0, 0.0, 0.0, "not shown")


def test_everything_is_there_for_report_and_json() -> None:
    found = paired_comparison(study(18), reference="real", ratio=0.25, rewired=["rewired"])
    assert list(found.table.columns) == [
        "model", "method", "reference_mean", "mean", "difference", "lower", "upper", "p", "p_holm", "n_splits", "repeats", "df",
        "ratio", "n_draws", "smallest_p", "n_missing", "verdict", "note",
    ]  # fmt: skip
    read = json.loads(json.dumps(found.records(), allow_nan=False))
    assert read[-1]["lower"] is None
    assert read[-1]["n_draws"] == 18
    assert read[0]["p"] == found.differences[0].p


def without(table: pd.DataFrame, *conditions: tuple[str, object]) -> pd.DataFrame:
    gone = np.logical_and.reduce([table[column] == value for column, value in conditions])
    return table[~gone]


@pytest.mark.parametrize(
    ("change", "said", "words"),
    [
        (lambda t: t.drop(columns=["seed"]), {}, "lacks the columns 'seed'"),
        (lambda t: t[:0], {}, "no rows"),
        (lambda t: t, {"reference": "rael"}, "Did you mean 'real'"),
        (lambda t: t, {"rewired": ["real"]}, "`rewired` is 'real'; known are 'dense'"),
        (lambda t: t, {"rewired": ["dense"]}, "12 of its 12 rows have no draw"),
        (lambda t: t[t["model"] == "real"], {"rewired": []}, "'real' alone"),
        (lambda t: t, {"ratio": 0.0}, "`ratio` is 0.0"),
        (lambda t: t, {"ratio": float("nan")}, "`ratio` is nan"),
        (lambda t: t, {"repeats": 0}, "`repeats` is 0 for 6 splits"),
        (lambda t: t, {"repeats": 4}, "leave 2 splits to each repeat"),
        (lambda t: t, {"metric": "calibration slope"}, "best at 1"),
        (lambda t: t, {"metric": "lift"}, "give `higher_is_better`"),
        (lambda t: t, {"metric": "RMSE", "higher_is_better": True}, "better when it is lower"),
        (lambda t: pd.concat([t, t[:1]]), {}, "'real, fold 0, seed 0'"),
        (lambda t: t.assign(score=t["score"].astype(str) + "!"), {}, "not numbers"),
        (lambda t: t.assign(score=np.inf), {}, "infinite"),
        (lambda t: t.assign(score=np.nan), {}, "nothing to compare"),
        (lambda t: t.assign(model=t["model"].where(t["model"] != "dense")), {}, "name no model"),
        (lambda t: without(t, ("model", "trees"), ("split", "fold 2")), {}, "model 'trees' has no score in 1 .* 'fold 2'"),
        (lambda t: without(t, ("model", "real"), ("split", "fold 1")), {}, "model 'real' has no score in 1 .* 'fold 1'"),
        (lambda t: without(t, ("draw", 7), ("split", "fold 5")), {}, "'rewired' has no score in 1 .*'fold 5, draw 7"),
        (lambda t: without(t, ("draw", 7), ("seed", 1)), {}, "draw 7.* of 'rewired' and 'real' .* 'fold 0, seed 1'"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_said(
    change: Callable[[pd.DataFrame], pd.DataFrame], said: dict[str, object], words: str
) -> None:
    asked: dict[str, object] = {"reference": "real", "ratio": 0.25, "rewired": ["rewired"]}
    with pytest.raises(ValueError, match=words):
        paired_comparison(change(study()), **(asked | said))  # type: ignore[arg-type]


def measured(kind: str, n: int, n_studies: int) -> dict[str, int]:
    """How many null studies of two models each t test rejects at 5 %, and how many intervals miss 0."""
    counts = dict.fromkeys(("uncorrected", "corrected", "repeats count once", "interval"), 0)
    for seed in range(n_studies):
        table = two_models(seed, kind, n=n)
        by_split = table.pivot(index="split", columns="model", values="score")
        counts["uncorrected"] += stats.ttest_rel(by_split["one"], by_split["other"]).pvalue <= 0.05
        counts["corrected"] += paired_comparison(table, reference="one", ratio=0.25).differences[0].p <= 0.05
        found = paired_comparison(table, reference="one", ratio=0.25, repeats=10).differences[0]
        counts["repeats count once"] += found.p <= 0.05
        counts["interval"] += not found.lower <= 0 <= found.upper
    return counts


def show(counts: dict[str, int], n_studies: int) -> None:
    for name, k in counts.items():
        ends = stats.binomtest(int(k), n_studies).proportion_ci()
        print(f"{name}: {k} of {n_studies} null studies rejected, 95 % interval {ends.low:.3f} to {ends.high:.3f}")


def judge_t(kind: str, n: int, n_studies: int) -> None:
    """Without correction far too many are rejected; corrected at most half as many; with repeats counted once 5 %."""
    counts = measured(kind, n, n_studies)
    show(counts, n_studies)
    assert counts["repeats count once"] <= stats.binom.ppf(0.999, n_studies, 0.05)
    assert stats.binomtest(int(counts["uncorrected"]), n_studies).proportion_ci(0.99).low > 0.05
    assert counts["repeats count once"] <= counts["corrected"] <= counts["uncorrected"] / 2
    assert counts["repeats count once"] == counts["interval"], "test and interval agree"


def judge_ranks(n_studies: int, signal: float) -> None:
    """Wirings that do not matter are called better in 5 % of studies, whatever the classes depend on."""
    counts = {"rank": 0, "rank interval": 0}
    for seed in range(n_studies):
        table = wirings_that_do_not_matter(seed, signal=signal)
        found = paired_comparison(table, reference="real", ratio=0.25, rewired=["rewired"]).differences[0]
        counts["rank"] += found.p <= 0.05
        counts["rank interval"] += not found.lower <= 0 <= found.upper
    show(counts, n_studies)
    assert max(counts.values()) <= stats.binom.ppf(0.999, n_studies, 0.05)


def test_type_one_error_on_20_null_studies() -> None:
    judge_t("halves", 100, 20)
    judge_ranks(20, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "n"), [("halves", 100), ("hidden layers", 100), ("hidden layers", 300), ("copies", 100)]
)
def test_type_one_error_of_the_t_tests_on_200_null_studies(kind: str, n: int) -> None:
    judge_t(kind, n, 200)


@pytest.mark.slow
@pytest.mark.parametrize("signal", [0.0, 0.5])
def test_type_one_error_of_the_rank_test_on_200_null_studies(signal: float) -> None:
    judge_ranks(200, signal)


def test_a_wiring_that_matters_is_found() -> None:
    table = wirings_that_do_not_matter(0)
    table.loc[table["model"] == "real", "score"] += 0.2
    found = paired_comparison(table, reference="real", ratio=0.25, rewired=["rewired"]).differences[0]
    assert (found.verdict, found.p) == ("better", 1 / 40)
    assert found.lower > 0

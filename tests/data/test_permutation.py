"""Label nulls: what may change places does, what covariates and groups say stays, and nothing else."""

from __future__ import annotations

import itertools
from collections import Counter
from math import comb, prod

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax
from scipy.stats import binom, chisquare
from sklearn.linear_model import LinearRegression, LogisticRegression

from vnn import chance
from vnn._errors import AlignmentError
from vnn.data import Target, label_null, permutation
from vnn.data.targets import martingale_residuals
from vnn.training.cox import PartialLikelihood

CLASSES = ("control", "case")
DRAWN = 1200


def names(n: int) -> list[str]:
    return [f"p{i:03}" for i in range(n)]


def by_name(values, name: str = "donor") -> pd.Series:
    return pd.Series(list(values), index=names(len(values)), name=name)


def binary(codes) -> Target:
    return Target("phenotype", "binary", np.asarray(codes), CLASSES)


def quantity(values, name: str = "bmi") -> Target:
    return Target(name, "regression", np.asarray(values))


def survival(times, events) -> Target:
    return Target("months", "cox", np.asarray(times), events=np.asarray(events), event="died")


def confounded(task: str, n: int, rng: np.random.Generator, strength: float = 1.5) -> tuple[Target, np.ndarray]:
    """A label that depends on a covariate alone, and the covariate."""
    z = rng.standard_normal(n)
    if task == "regression":
        return quantity(strength * z + rng.standard_normal(n)), z
    if task == "cox":
        times, limit = rng.exponential(np.exp(-strength * z)), rng.exponential(2.0, n)
        return survival(np.minimum(times, limit) + 1e-9, times < limit), z
    if task == "multiclass":
        slopes = strength * np.array([-1.0, 0.0, 1.0])
        p = softmax(z[:, None] * slopes, axis=1)
        return Target("kind", "multiclass", (p.cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1), ("a", "b", "c")), z
    return binary(rng.random(n) < expit(strength * z)), z


def score(target: Target) -> np.ndarray:
    return target.values if target.events is None else martingale_residuals(target.values, target.events)


class TestPlainPermutation:
    @given(codes=st.lists(st.integers(0, 1), min_size=8, max_size=60), seed=st.integers(0, 2**32))
    @settings(max_examples=40, deadline=None)
    def test_labels_are_kept_and_change_places(self, codes, seed):
        if comb(len(codes), sum(codes)) < 20:
            with pytest.raises(ValueError, match="different labellings"):
                label_null(binary(codes), names(len(codes)), seed=seed)
            return
        null = label_null(binary(codes), names(len(codes)), seed=seed)
        draw = null.draw(0)
        assert sorted(draw.target.values) == sorted(codes)
        assert draw.changed == np.mean(draw.target.values != codes)
        assert (null.unit, null.n_units, null.n_strata) == ("samples", len(codes), 1)
        assert np.isclose(null.expected, 2 * np.mean(codes) * (1 - np.mean(codes)))

    def test_the_order_of_samples_changes_no_draw(self):
        ids, codes = names(30), np.arange(30) % 2
        frame = pd.DataFrame({"age": np.arange(30.0) % 7}, index=ids)
        order = np.random.default_rng(0).permutation(30)
        for more in ({}, {"covariates": frame}, {"groups": by_name(np.arange(30) // 3)}):
            real = label_null(binary(codes), ids, seed=4, **more).draw(2)
            other = label_null(binary(codes[order]), [ids[i] for i in order], seed=4, **more).draw(2)
            assert np.array_equal(real.target.values[order], other.target.values)

    def test_draws_are_named_by_seed_and_number(self):
        draw = {
            key: tuple(label_null(quantity(np.arange(20.0)), names(20), seed=key[0]).draw(key[1]).target.values)
            for key in ((0, 0), (0, 1), (1, 0))
        }
        assert len(set(draw.values())) == 3
        null = label_null(quantity(np.arange(20.0)), names(20), seed=0)
        null.draw(5)
        assert tuple(null.draw(1).target.values) == draw[0, 1]

    def test_all_orders_are_equally_likely(self):
        strata = np.array([0, 1, 0, 0, 1])
        found = Counter(tuple(permutation.exchanged(strata, chance.generator(0, "t", i))) for i in range(2400))
        every = {order for order in itertools.permutations(range(5)) if (strata[list(order)] == strata).all()}
        assert set(found) == every
        assert chisquare(list(found.values())).pvalue > 1e-3

    def test_several_targets_move_together(self):
        a, b, times = np.arange(40.0), np.arange(40) % 2, np.arange(1.0, 41)
        null = label_null([quantity(a), binary(b), survival(times, b)], names(40), seed=0)
        new = null.draw(0)
        quantities, classes, months = new.targets
        moved = quantities.values.astype(int)
        assert np.array_equal(classes.values, b[moved])
        assert np.array_equal(months.values, times[moved])
        assert np.array_equal(months.events, b[moved] > 0)
        assert new.changed > 0.8
        assert "permuted together among 40 samples" in null.words
        with pytest.raises(ValueError, match="use `targets`"):
            _ = new.target


class TestStrata:
    def test_labels_stay_in_their_stratum(self):
        rng = np.random.default_rng(0)
        codes, strata = rng.integers(2, size=60), rng.integers(3, size=60)
        null = label_null(binary(codes), names(60), seed=0, strata=by_name(strata, "sex"))
        for number in range(5):
            new = null.draw(number).target.values
            for stratum in range(3):
                assert new[strata == stratum].sum() == codes[strata == stratum].sum()
        assert null.n_strata == 3
        assert null.words == "labels 'phenotype' permuted among 60 samples, within 3 strata ('sex')"

    def test_strata_too_small_to_permute_are_an_error(self):
        with pytest.raises(
            ValueError, match="only 1 different labellings of 20 samples in 20 strata are possible; 20 are"
        ):
            label_null(binary(np.arange(20) % 2), names(20), seed=0, strata=by_name(range(20)))
        strata = np.concatenate([np.zeros(7), np.arange(1, 194)])
        with pytest.raises(
            ValueError, match=r"changes the labels of about 1.7% of 200 samples.*free permutation.* 50.0%"
        ):
            label_null(binary(np.arange(200) % 2), names(200), seed=0, strata=by_name(strata))


class TestGroups:
    def test_labels_constant_within_groups_go_between_groups(self):
        groups = np.repeat(np.arange(12), np.arange(1, 13))
        codes = groups % 2
        null = label_null(binary(codes), names(78), seed=0, groups=by_name(groups))
        for number in range(5):
            new = null.draw(number)
            per_group = [set(new.target.values[groups == group]) for group in range(12)]
            assert all(len(labels) == 1 for labels in per_group)
            assert sum(map(sum, per_group)) == 6
            assert new.changed == np.mean(new.target.values != codes)
        assert null.words == "labels 'phenotype' permuted between 12 groups ('donor')"
        assert (null.unit, null.n_units) == ("groups ('donor')", 12)

    def test_labels_that_differ_within_groups_stay_in_their_group(self):
        rng = np.random.default_rng(1)
        groups, values = np.repeat(np.arange(15), 4), rng.standard_normal(60)
        null = label_null(quantity(values), names(60), seed=0, groups=by_name(groups, "family"))
        new = null.draw(0).target.values
        for group in range(15):
            assert sorted(new[groups == group]) == sorted(values[groups == group])
        assert null.draw(0).changed > 0.5
        assert null.words == "labels 'bmi' permuted within 15 groups ('family')"
        assert null.n_strata == 15

    def test_times_and_events_of_donors(self):
        groups = np.repeat(np.arange(10), 3)
        times, events = 1.0 + groups, groups % 3 > 0
        null = label_null(survival(times, events), names(30), seed=0, groups=by_name(groups))
        new = null.draw(1).target
        assert new.events is not None
        pairs = Counter(zip(times, events, strict=True))
        assert Counter(zip(new.values, new.events, strict=True)) == pairs
        assert null.n_units == 10

    def test_few_donors_and_nearly_constant_groups_are_errors(self):
        groups = np.repeat(np.arange(4), 50)
        with pytest.raises(ValueError, match=r"only 6 different labellings of 4 groups \('donor'\)"):
            label_null(binary(groups % 2), names(200), seed=0, groups=by_name(groups))
        codes = np.repeat(np.arange(40) % 2, 10)
        codes[:3] = 1 - codes[0]
        with pytest.raises(ValueError, match="So little is left to permute"):
            label_null(binary(codes), names(400), seed=0, groups=by_name(np.repeat(np.arange(40), 10)))

    def test_strata_of_whole_groups(self):
        groups, size = np.repeat(np.arange(20), 2), np.repeat(np.arange(20) % 2, 2)
        null = label_null(
            binary(groups // 2 % 2), names(40), seed=0, groups=by_name(groups), strata=by_name(size, "size")
        )
        assert null.words.endswith("between 20 groups ('donor'), within 2 strata ('size')")
        with pytest.raises(ValueError, match="differ within groups"):
            label_null(binary(groups % 2), names(40), seed=0, groups=by_name(groups), strata=by_name(range(40)))


class TestFreedmanLane:
    def test_residuals_change_places_and_fitted_values_stay(self):
        rng = np.random.default_rng(0)
        frame = pd.DataFrame({"age": rng.standard_normal(50), "sex": list("mf") * 25}, index=names(50))
        y = 2 * frame["age"].to_numpy() + (frame["sex"] == "m") + rng.standard_normal(50)
        null = label_null(quantity(y), names(50), seed=0, covariates=frame)
        design = np.stack([frame["age"], frame["sex"] == "m"], axis=1).astype(float)
        fitted = LinearRegression().fit(design, y).predict(design)
        new = null.draw(0)
        assert np.allclose(sorted(new.target.values - fitted), sorted(y - fitted))
        assert not np.allclose(new.target.values, y)
        assert new.changed > 0.9
        assert null.words == "residuals of 'bmi' on age, sex permuted among 50 samples and added back (Freedman-Lane)"

    def test_several_quantities_move_together(self):
        rng = np.random.default_rng(0)
        z = rng.standard_normal((40, 1))
        frame, both = pd.DataFrame(z, index=names(40), columns=["age"]), rng.standard_normal((40, 2)) + z
        null = label_null([quantity(both[:, 0]), quantity(both[:, 1], "height")], names(40), seed=0, covariates=frame)
        fitted = LinearRegression().fit(z, both).predict(z)
        new = np.stack([target.values for target in null.draw(0).targets], axis=1) - fitted
        assert np.allclose(new[np.argsort(new[:, 0])], (both - fitted)[np.argsort((both - fitted)[:, 0])])

    def test_within_families_the_residuals_stay_there(self):
        rng = np.random.default_rng(0)
        groups, z = np.repeat(np.arange(20), 4), rng.standard_normal(80)
        y = z + groups + rng.standard_normal(80)
        frame = pd.DataFrame({"age": z}, index=names(80))
        null = label_null(quantity(y), names(80), seed=0, covariates=frame, groups=by_name(groups, "family"))
        mean = pd.Series(z).groupby(groups).transform("mean").to_numpy()
        design = np.stack([z - mean, mean], axis=1)
        residuals = y - LinearRegression().fit(design, y).predict(design)
        new = null.draw(0).target.values - y + residuals
        for group in range(20):
            assert np.allclose(sorted(new[groups == group]), sorted(residuals[groups == group]))

    def test_covariates_that_tell_everything_are_an_error(self):
        frame = pd.DataFrame({"age": np.arange(30.0)}, index=names(30))
        with pytest.raises(ValueError, match="the covariates age leave nothing of 'bmi' to permute"):
            label_null(quantity(3 * np.arange(30.0)), names(30), seed=0, covariates=frame)


def odds_of_all(p: np.ndarray, sizes: tuple[int, ...], strata: np.ndarray) -> dict[tuple[int, ...], float]:
    """Probability of every labelling with as many of each class in each stratum as `sizes` has, by trying them all."""
    wanted = {s: Counter(np.array(sizes)[strata == s].tolist()) for s in set(strata.tolist())}
    weights = {
        labels: prod(p[i, c] for i, c in enumerate(labels))
        for labels in itertools.product(range(p.shape[1]), repeat=len(p))
        if all(Counter(np.array(labels)[strata == s].tolist()) == wanted[s] for s in wanted)
    }
    return {labels: weight / sum(weights.values()) for labels, weight in weights.items()}


class TestConditional:
    @pytest.mark.parametrize(
        ("start", "strata"),
        [
            ((0, 0, 0, 1, 1, 0), (0,) * 6),
            ((0, 0, 1, 1, 2, 2), (0,) * 6),
            ((0, 0, 1, 0, 1, 1, 0), (0, 0, 0, 0, 1, 1, 1)),
            ((0, 1, 0, 1, 1), (0, 0, 1, 1, 1)),
        ],
    )
    def test_labellings_are_as_likely_as_enumeration_says(self, start, strata):
        n_classes = max(start) + 1
        logits = 1.5 * np.random.default_rng(n_classes).standard_normal((len(start), n_classes))
        within = np.array(strata)
        due = odds_of_all(softmax(logits, axis=1), start, within)
        found = Counter(
            tuple(
                permutation.traded(
                    np.array(start), logits, chance.generator(0, "t", i), strata=within, sweeps=24
                ).tolist()
            )
            for i in range(DRAWN)
        )
        assert set(found) <= set(due)
        common = [labels for labels in due if due[labels] * DRAWN >= 5]
        counts, share = [found[labels] for labels in common], [due[labels] * DRAWN for labels in common]
        if (rest := DRAWN - sum(share)) > 1e-6:
            counts, share = [*counts, DRAWN - sum(counts)], [*share, rest]
        assert chisquare(counts, share).pvalue > 1e-3

    @pytest.mark.parametrize("task", ["binary", "multiclass"])
    def test_class_sizes_and_the_link_to_covariates_stay(self, task):
        target, z = confounded(task, 400, np.random.default_rng(0))
        frame = pd.DataFrame({"age": z}, index=names(400))
        null = label_null(target, names(400), seed=0, covariates=frame)
        assert null.method == "conditional permutation"
        assert null.words.endswith("among 400 samples from their model given age, class sizes kept")
        real = np.corrcoef(z, target.values)[0, 1]
        links, plain = [], label_null(target, names(400), seed=0)
        for number in range(10):
            new = null.draw(number)
            assert np.array_equal(np.bincount(new.target.values), np.bincount(target.values))
            assert abs(new.changed - null.expected) < 0.1
            links.append(np.corrcoef(z, new.target.values)[0, 1])
        assert abs(np.mean(links) - real) < 0.04
        assert abs(np.corrcoef(z, plain.draw(0).target.values)[0, 1]) < 0.2

    def test_the_model_is_logistic_regression(self):
        target, z = confounded("multiclass", 300, np.random.default_rng(1))
        columns = np.stack([z, np.random.default_rng(2).standard_normal(300)], axis=1)
        found = permutation._log_probabilities(columns, target.values, 3)
        oracle = LogisticRegression(C=1e4, tol=1e-8, max_iter=1000).fit(columns, target.values)
        assert np.allclose(np.exp(found), oracle.predict_proba(columns), atol=1e-3)

    def test_within_families_numbers_of_cases_stay(self):
        rng = np.random.default_rng(0)
        target, z = confounded("binary", 200, rng)
        groups = np.arange(200) // 4
        frame = pd.DataFrame({"age": z}, index=names(200))
        null = label_null(target, names(200), seed=0, covariates=frame, groups=by_name(groups, "family"))
        new = null.draw(0).target.values
        assert np.array_equal(np.bincount(groups, new), np.bincount(groups, target.values))
        assert (new != target.values).any()

    def test_between_donors_their_mean_covariates_count(self):
        rng = np.random.default_rng(0)
        target, z = confounded("binary", 60, rng, strength=3)
        groups = np.repeat(np.arange(60), 3)
        frame = pd.DataFrame({"age": z[groups] + rng.standard_normal(180) / 10}, index=names(180))
        null = label_null(binary(target.values[groups]), names(180), seed=0, covariates=frame, groups=by_name(groups))
        assert null.n_units == 60
        links = [np.corrcoef(frame["age"], null.draw(number).target.values)[0, 1] for number in range(10)]
        assert np.mean(links) > 0.4

    def test_covariates_that_tell_the_label_are_an_error(self):
        frame = pd.DataFrame({"age": np.arange(60.0)}, index=names(60))
        with pytest.raises(
            ValueError, match="So little is left to permute that the null would be the real study again"
        ):
            label_null(binary(np.arange(60) >= 30), names(60), seed=0, covariates=frame)


class TestSurvival:
    def test_pairs_stay_in_cells_of_equal_categories(self):
        rng = np.random.default_rng(0)
        frame = pd.DataFrame({"sex": rng.choice(list("mf"), 90), "site": rng.integers(2, size=90)}, index=names(90))
        times, events = rng.exponential(size=90) + 0.1, rng.random(90) < 0.6
        null = label_null(survival(times, events), names(90), seed=0, covariates=frame)
        new = null.draw(0).target
        assert new.events is not None
        for _, cell in frame.assign(at=np.arange(90)).groupby(["sex", "site"]):
            at = cell["at"].to_numpy()
            assert Counter(zip(new.values[at], new.events[at], strict=True)) == Counter(
                zip(times[at], events[at], strict=True)
            )
        assert null.n_strata == 4
        assert null.words.endswith("permuted together among 90 samples, within 4 cells of equal sex, site")

    def test_numbers_become_bins_of_risk(self):
        target, z = confounded("cox", 200, np.random.default_rng(0))
        null = label_null(target, names(200), seed=0, covariates=pd.DataFrame({"age": z}, index=names(200)))
        assert null.n_strata == 40
        assert null.words.endswith("within 40 bins of alike risk given age")
        new = null.draw(0).target
        rank = np.argsort(np.argsort(z)) // 5
        for b in range(40):
            assert sorted(new.values[rank == b]) == sorted(target.values[rank == b])

    def test_the_risk_is_that_of_coxs_model(self):
        target, z = confounded("cox", 150, np.random.default_rng(3))
        assert target.events is not None
        columns = np.stack([z, np.random.default_rng(4).standard_normal(150)], axis=1)
        slopes = permutation._hazard_slopes(columns, target.values, target.events)
        gradient = PartialLikelihood(target.values, target.events)(columns @ slopes)[1] @ columns
        assert np.abs(gradient).max() < 0.02
        assert slopes[0] > 1

    def test_the_risk_with_tied_times_is_breslows(self):
        target, z = confounded("cox", 60, np.random.default_rng(5))
        assert target.events is not None
        times = np.ceil(4 * target.values)
        (slope,) = permutation._hazard_slopes(z[:, None], times, target.events)
        rising = 0.0
        for at in np.flatnonzero(target.events):
            hazard = np.exp(slope * z[times >= times[at]])
            rising += z[at] - (hazard * z[times >= times[at]]).sum() / hazard.sum()
        assert len(set(times)) < 30
        assert abs(rising) < 0.01

    def test_too_few_for_bins_is_an_error(self):
        target, z = confounded("cox", 9, np.random.default_rng(0))
        with pytest.raises(ValueError, match="9 samples are too few to be permuted within strata of alike age"):
            label_null(target, names(9), seed=0, covariates=pd.DataFrame({"age": z}, index=names(9)))


@pytest.mark.parametrize("studies", [20, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("task", ["regression", "binary", "multiclass", "cox"])
def test_a_declared_confounder_keeps_the_type_one_error_and_an_undeclared_one_does_not(task, studies):
    """A gene follows the covariate that decides the label; p from 19 draws is 0.05 where the real link is the largest."""
    n, draws = 100, 19
    rejected = np.zeros(2)
    for study in range(studies):
        rng = np.random.default_rng(study)
        target, z = confounded(task, n, rng)
        gene = z + 0.7 * rng.standard_normal(n)
        for which, more in enumerate(({"covariates": pd.DataFrame({"age": z}, index=names(n))}, {})):
            null = label_null(target, names(n), seed=study, **more)
            links = [abs(np.corrcoef(gene, score(null.draw(number).target))[0, 1]) for number in range(draws)]
            rejected[which] += abs(np.corrcoef(gene, score(target))[0, 1]) > max(links)
    print(f"{task}: {rejected[0] / studies:.3f} given the covariate, {rejected[1] / studies:.3f} without")
    assert rejected[0] <= binom.ppf(0.999, studies, 0.05)
    assert rejected[1] > 0.8 * studies


class TestBadInput:
    def test_names_that_do_not_meet(self):
        frame = pd.DataFrame({"age": np.arange(9.0)}, index=names(9))
        with pytest.raises(AlignmentError, match="1 of 10 samples are not in `covariates`: 'p009'"):
            label_null(binary(np.arange(10) % 2), names(10), seed=0, covariates=frame)
        with pytest.raises(AlignmentError, match="1 of 10 samples have no entry in `groups`: 'p009'"):
            label_null(binary(np.arange(10) % 2), names(10), seed=0, groups=by_name(range(9)))
        with pytest.raises(TypeError, match="`groups` is a list"):
            label_null(binary(np.arange(10) % 2), names(10), seed=0, groups=list(range(10)))
        with pytest.raises(ValueError, match=r"11 sample ids for targets of \[10\] labels"):
            label_null(binary(np.arange(10) % 2), names(11), seed=0)

    def test_several_kinds_of_target_need_strata_for_a_number(self):
        targets = [quantity(np.arange(40.0)), binary(np.arange(40) % 2)]
        frame = pd.DataFrame({"age": np.arange(40.0) % 9}, index=names(40))
        with pytest.raises(ValueError, match="Give `strata`, or permute each target by itself"):
            label_null(targets, names(40), seed=0, covariates=frame)
        cells = frame.assign(age=np.where(frame["age"] > 4, "old", "young"))
        null = label_null(targets, names(40), seed=0, covariates=cells)
        assert null.words.endswith("within 2 cells of equal age")

    def test_covariates_that_are_the_same_everywhere_condition_on_nothing(self):
        frame = pd.DataFrame({"age": np.ones(20)}, index=names(20))
        null = label_null(binary(np.arange(20) % 2), names(20), seed=0, covariates=frame)
        assert null.method == "permutation"
        empty = label_null(binary(np.arange(20) % 2), names(20), seed=0, covariates=pd.DataFrame(index=names(20)))
        assert np.array_equal(null.draw(0).target.values, empty.draw(0).target.values)

    def test_a_draw_that_changes_nothing_is_seen(self, monkeypatch):
        null = label_null(binary(np.arange(200) % 2), names(200), seed=0)
        monkeypatch.setattr(permutation, "exchanged", lambda strata, rng: np.arange(len(strata)))
        with pytest.raises(
            ValueError, match="draw 3 of the label null changed 0 of 200 samples; about 100 were expected"
        ):
            null.draw(3)

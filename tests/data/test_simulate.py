"""The planted cohort: what is planted is there, and chance is by name."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from vnn.data.simulate import auc_of, simulate_expression, slope_of

SETS = {
    "cause": [f"g{i}" for i in range(10)],
    "other": [f"g{i}" for i in range(8, 20)],
    **{f"crowd {i}": ["g0", "g9", "g19"] for i in range(30)},
}


@pytest.mark.parametrize("oracle_auc", [0.5, 0.75, 0.85, 0.95])
def test_the_auc_of_the_factor_in_a_large_draw(oracle_auc: float) -> None:
    cohort = simulate_expression({"A": ["g"]}, causal="A", n_samples=200_000, oracle_auc=oracle_auc, seed=1)
    case = cohort.samples.targets["phenotype"] == "case"
    assert roc_auc_score(case, cohort.truth.factor) == pytest.approx(oracle_auc, abs=0.005)
    assert case.mean() == pytest.approx(0.5, abs=0.01)


def test_slope_and_auc_are_inverse() -> None:
    assert auc_of(0.0) == pytest.approx(0.5, abs=1e-12)
    assert [auc_of(slope_of(auc)) for auc in (0.6, 0.9, 0.999)] == pytest.approx([0.6, 0.9, 0.999], abs=1e-9)


def test_carriers_follow_the_factor_and_genes_have_variance_one() -> None:
    cohort = simulate_expression(SETS, causal="cause", n_samples=20_000, seed=2)
    truth, values = cohort.truth, cohort.samples.values.astype(np.float64)
    assert len(truth.carriers) == 6
    assert list(truth.carriers.values()).count(-1) == round(0.25 * 6)
    correlation = dict(zip(cohort.samples.features, np.corrcoef(truth.factor, values)[0, 1:], strict=True))
    for gene in SETS["cause"]:
        sign = truth.carriers.get(gene, 0)
        assert correlation[gene] == pytest.approx(sign * np.sqrt(0.1), abs=0.03)
    assert ((values.mean(axis=1) > 5.9) & (values.mean(axis=1) < 10.1)).all()
    assert ((values.std(axis=1) > 0.48) & (values.std(axis=1) < 1.53)).all()


def test_members_of_a_set_correlate() -> None:
    cohort = simulate_expression(
        {"A": ["a1", "a2"], "B": ["b1", "b2"]}, causal="A", n_samples=20_000, carriers=1, r2=0.4, down=0, seed=5
    )
    correlation = np.corrcoef(cohort.samples.values)
    assert correlation[2, 3] == pytest.approx(0.4, abs=0.03)
    assert abs(correlation[:2, 2:]).max() < 0.03


def test_order_does_not_matter_and_a_larger_cohort_begins_with_the_smaller() -> None:
    small = simulate_expression(SETS, causal="cause", n_samples=30, seed=3)
    shuffled = {name: SETS[name][::-1] for name in reversed(SETS)}
    again = simulate_expression(shuffled, causal="cause", n_samples=30, seed=3)
    large = simulate_expression(SETS, causal="cause", n_samples=50, seed=3)
    np.testing.assert_array_equal(small.samples.values, again.samples.values)
    np.testing.assert_array_equal(small.samples.values, large.samples.values[:, :30])
    assert small.samples.targets.equals(large.samples.targets.iloc[:30])
    assert small.samples.ids[0] == "sample-0001"
    assert small.truth.carriers == again.truth.carriers
    other = simulate_expression(SETS, causal="cause", n_samples=30, seed=4)
    assert not np.array_equal(small.samples.values, other.samples.values)


def test_genes_of_another_set_do_not_change_when_a_set_is_added() -> None:
    few = simulate_expression({"A": ["a1", "a2"]}, causal="A", n_samples=20, seed=1).samples
    more = simulate_expression({"A": ["a1", "a2"], "B": ["b1"]}, causal="A", n_samples=20, seed=1).samples
    np.testing.assert_array_equal(few.values, more.select(few.features).values)
    assert few.targets.equals(more.targets)


def test_what_cannot_be_planted() -> None:
    with pytest.raises(ValueError, match=r"causal is 'caus'.*Did you mean 'cause'"):
        simulate_expression(SETS, causal="caus", seed=1)
    with pytest.raises(ValueError, match=r"oracle_auc is 0.4; it must be between 0.5 and 0.999"):
        simulate_expression(SETS, causal="cause", oracle_auc=0.4, seed=1)
    with pytest.raises(ValueError, match=r"1 gene sets have no genes, such as 'empty'"):
        simulate_expression({**SETS, "empty": []}, causal="cause", seed=1)
    with pytest.raises(ValueError, match=r"n_samples is 0"):
        simulate_expression(SETS, causal="cause", n_samples=0, seed=1)

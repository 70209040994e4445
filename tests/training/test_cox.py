"""Partial likelihood, residuals and concordance against lifelines and loops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vnn.data.targets import martingale_residuals
from vnn.training.cox import PartialLikelihood, concordance, hazard_slope

lifelines = pytest.importorskip("lifelines")


def people(n: int = 80, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tied times, events, and a risk with ties."""
    rng = np.random.default_rng(seed)
    risk = rng.standard_normal(n).round(1)
    return np.ceil(8 * rng.exponential(np.exp(-risk))), (rng.random(n) < 0.6).astype(float), risk


def test_the_partial_likelihood_and_its_gradient() -> None:
    times, events, risk = people()
    found, gradient = PartialLikelihood(times, events)(2 * risk)
    frame = pd.DataFrame({"x": risk, "t": times, "e": events})
    fitted = lifelines.CoxPHFitter().fit(frame, "t", "e", initial_point=np.array([0.0]))
    best = float(fitted.params_.iloc[0])
    at_best, slope = PartialLikelihood(times, events)(best * risk)
    assert np.isclose(at_best, fitted.log_likelihood_, rtol=1e-8)
    assert abs(slope @ risk) < 1e-2
    assert found < at_best
    step = 1e-6
    for i in range(0, 80, 13):
        up, down = (
            PartialLikelihood(times, events)(2 * risk + sign * step * (np.arange(80) == i))[0] for sign in (1, -1)
        )
        assert np.isclose(gradient[i], (up - down) / (2 * step), atol=1e-7)


def test_residuals_are_events_minus_the_hazard_of_nelson_and_aalen() -> None:
    times, events, _ = people()
    fitted = lifelines.NelsonAalenFitter(nelson_aalen_smoothing=False).fit(times, events)
    expected = events - fitted.cumulative_hazard_.iloc[:, 0].loc[times].to_numpy()
    assert np.allclose(martingale_residuals(times, events), expected)
    assert np.isclose(martingale_residuals(times, events).sum(), 0)


@pytest.mark.parametrize("seed", range(3))
def test_concordance(seed: int) -> None:
    times, events, risk = people(seed=seed)
    assert np.isclose(concordance(times, events, risk), lifelines.utils.concordance_index(times, -risk, events))
    assert np.isclose(concordance(times, events, -risk), 1 - concordance(times, events, risk))
    assert np.isnan(concordance(times, np.zeros(80), risk))


def test_concordance_in_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = concordance(*people())
    monkeypatch.setattr("vnn.training.cox.PAIRS_AT_ONCE", 100)
    assert concordance(*people()) == whole


def test_the_slope_is_that_of_cox_and_missing_where_infinite() -> None:
    times, events, risk = people()
    frame = pd.DataFrame({"x": 3 * risk, "t": times, "e": events})
    fitted = lifelines.CoxPHFitter().fit(frame, "t", "e", fit_options={"precision": 1e-10})
    assert np.isclose(hazard_slope(times, events, 3 * risk), fitted.params_.iloc[0], rtol=1e-4)
    ordered = np.arange(10.0)
    for risk in (ordered, -ordered, np.ones(10)):
        assert np.isnan(hazard_slope(ordered + 1, np.ones(10), risk))
    assert np.isnan(hazard_slope(ordered + 1, np.zeros(10), ordered))
    swapped = ordered[[1, 0, *range(2, 10)]]
    assert np.isfinite(hazard_slope(ordered + 1, np.ones(10), -swapped))


def test_the_slope_ignores_who_was_in_no_risk_set() -> None:
    times, events, risk = people()
    expected = hazard_slope(times, events, risk)
    for strange in (1e3, 1e4, 1e6):
        found = hazard_slope(np.append(times, times.min() / 2), np.append(events, 0.0), np.append(risk, strange))
        assert np.isclose(found, expected)

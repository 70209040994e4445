"""Scaling: the numbers of scikit-learn, from the training part alone."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from vnn.data.scaling import Scaling, fit_scaling


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).normal(1000, 3, (2100, 17)).astype(np.float32)


@pytest.mark.parametrize(("method", "oracle"), [("standard", StandardScaler()), ("minmax", MinMaxScaler())])
def test_the_numbers_of_sklearn(values: np.ndarray, method: str, oracle: StandardScaler) -> None:
    scaling = fit_scaling(values[:, :12], method=method)
    oracle.fit(values[:, :12].T.astype(np.float64))
    np.testing.assert_allclose(scaling.apply(values), oracle.transform(values.T.astype(np.float64)).T, atol=1e-8)
    assert scaling.fill is None


def test_method_none_leaves_values_alone(values: np.ndarray) -> None:
    np.testing.assert_array_equal(fit_scaling(values, method="none").apply(values), values)


@pytest.mark.parametrize(("impute", "strategy"), [("mean", "mean"), ("median", "median"), ("zero", "constant")])
def test_fill_values_are_in_raw_units(values: np.ndarray, impute: str, strategy: str) -> None:
    values[::3, 4] = np.nan
    scaling = fit_scaling(values, impute=impute)
    oracle = SimpleImputer(strategy=strategy, fill_value=0.0)
    filled = oracle.fit_transform(values.T.astype(np.float64)).T
    np.testing.assert_allclose(scaling.fill, oracle.statistics_.astype(np.float64), rtol=1e-12)
    np.testing.assert_allclose(
        scaling.apply(values) * scaling.scale[:, None] + scaling.centre[:, None], filled, atol=1e-9
    )
    np.testing.assert_allclose(scaling.centre, np.nanmean(values.astype(np.float64), axis=1))
    np.testing.assert_allclose(scaling.scale, np.nanstd(values.astype(np.float64), axis=1))


def test_constant_and_empty_features_are_harmless() -> None:
    values = np.array([[0.1, 0.1, 0.1], [np.nan] * 3, [np.nan, 7, 7]])
    for method in ("standard", "minmax", "none"):
        scaling = fit_scaling(values, method=method, impute="mean")
        np.testing.assert_array_equal(scaling.scale, 1)
        assert scaling.fill is not None
        np.testing.assert_array_equal(scaling.fill, [0.1, 0, 7])
        assert scaling.centre[1] == 0
        assert np.isfinite(scaling.apply(values)).all()


def test_large_float32_values_are_summed_in_float64() -> None:
    values = np.full((1, 100_000), 16_777_217.0, dtype=np.float32)
    values[0, ::2] += 2
    assert fit_scaling(values).centre[0] == values.astype(np.float64).mean()


def test_missing_values_need_a_choice() -> None:
    values = np.ones((3, 4))
    values[1, 1:] = values[2, 0] = np.nan
    with pytest.raises(
        ValueError, match=r"4 values of 2 of 3 features are missing.*'TP53', 'MYC'\. Choose impute=\"mean\""
    ):
        fit_scaling(values, features=("EGFR", "TP53", "MYC"))
    with pytest.raises(ValueError, match=r"fitted without imputation"):
        fit_scaling(np.ones((3, 4))).apply(values)


def test_what_cannot_be_scaled() -> None:
    with pytest.raises(ValueError, match="1 values are infinite"):
        fit_scaling(np.array([[1.0, np.inf]]))
    with pytest.raises(ValueError, match=r"shape \(2, 0\)"):
        fit_scaling(np.empty((2, 0)))
    with pytest.raises(ValueError, match="known are 'standard', 'minmax', 'none'"):
        fit_scaling(np.ones((1, 1)), method="zscore")
    with pytest.raises(ValueError, match="scale that is not above 0"):
        Scaling(np.zeros(1), np.zeros(1), None)
    with pytest.raises(ValueError, match="2 features need that many rows"):
        fit_scaling(np.ones((2, 2))).apply(np.ones((3, 2)))

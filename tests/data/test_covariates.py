"""Covariates: the same columns for every table."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from vnn._errors import AlignmentError
from vnn.data.covariates import CovariateCoding

FRAME = pd.DataFrame(
    {"age": [30, 40, 50], "site": ["Oslo", "Lund", "Turku"], "smokes": [True, False, False]}, index=list("abc")
)


def test_numbers_stay_and_categories_lose_the_first() -> None:
    coding = CovariateCoding.fit(FRAME)
    assert coding.names == ("age", "site=Oslo", "site=Turku", "smokes=True")
    np.testing.assert_array_equal(coding.encode(FRAME), [[30, 40, 50], [1, 0, 0], [0, 0, 1], [1, 0, 0]])


def test_new_samples_get_the_columns_of_the_fit() -> None:
    coding = CovariateCoding.fit(FRAME)
    new = pd.DataFrame({"smokes": [True], "site": ["Turku"], "age": [60], "height": [180]}, index=["z"])
    np.testing.assert_array_equal(coding.encode(new), [[60], [0], [1], [1]])


def test_json_and_back() -> None:
    coding = CovariateCoding.fit(FRAME)
    assert CovariateCoding.from_json(json.loads(json.dumps(coding.to_json()))) == coding


def test_no_covariates_are_no_columns() -> None:
    empty = CovariateCoding.fit(FRAME[[]])
    assert empty.names == ()
    assert empty.encode(FRAME).shape == (0, 3)


def test_what_the_fit_did_not_meet_is_an_error() -> None:
    coding = CovariateCoding.fit(FRAME)
    with pytest.raises(ValueError, match=r"'site' has categories the fit does not know: 'Umeå', in 1 samples: 'b'"):
        coding.encode(FRAME.assign(site=["Oslo", "Umeå", "Lund"]))
    with pytest.raises(AlignmentError, match=r"1 of 3 covariates of the fit are missing: 'age'"):
        coding.encode(FRAME[["site", "smokes"]])
    with pytest.raises(ValueError, match=r"1 values of the covariate 'age' are not finite numbers: 'old in c'"):
        coding.encode(FRAME.assign(age=[1, 2, "old"]))


def test_missing_and_constant_covariates_are_refused() -> None:
    with pytest.raises(ValueError, match=r"1 of 3 samples have no covariate 'age': 'b'"):
        CovariateCoding.fit(FRAME.assign(age=[1, np.nan, 3]))
    with pytest.raises(ValueError, match=r"'site' is 'Lund' in all of 3 samples"):
        CovariateCoding.fit(FRAME.assign(site="Lund"))

"""Counts: recognised by their values, brought to a common size sample by sample."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from vnn.data.counts import are_counts, log_cpm
from vnn.data.samples import Samples


def samples(rows: list[list[float]]) -> Samples:
    return Samples.from_frame(pd.DataFrame(rows, index=[f"s{i}" for i in range(len(rows))]).rename(columns=str))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0, 3], [250, 7]], True),
        ([[0, np.nan], [250, 7]], True),
        ([[0, 1], [2, np.nan]], False),
        ([[-1, 3], [250, 7]], False),
        ([[0, 3.5], [250, 7]], False),
        ([[np.nan, np.nan]], False),
    ],
)
def test_counts_are_large_whole_numbers(values: list[list[float]], expected: bool) -> None:
    assert are_counts(np.array(values)) is expected


def test_counts_beyond_the_first_block_are_seen() -> None:
    values = np.zeros((3000, 2))
    values[2500, 0] = 90
    assert are_counts(values)
    values[2999, 1] = 0.5
    assert not are_counts(values)


def test_log_cpm_is_the_formula() -> None:
    given = samples([[10, 30, 0], [5, math.nan, 15]])
    found = log_cpm(given)
    for column, row in enumerate([[10, 30, 0], [5, math.nan, 15]]):
        total = sum(value for value in row if not math.isnan(value))
        for feature, value in enumerate(row):
            assert found.values[feature, column] == pytest.approx(math.log(1 + value / total * 1e6), nan_ok=True)
    assert found.values.dtype == given.values.dtype
    assert "typical library size 30" in found.log[-1]
    assert given.log == ()


def test_a_sample_does_not_see_the_others() -> None:
    both = log_cpm(samples([[10, 30], [5, 1]]))
    np.testing.assert_array_equal(both.values[:, :1], log_cpm(samples([[10, 30]])).values)


def test_what_is_no_count_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1 values are below 0: '1 in s0'"):
        log_cpm(samples([[1, -2], [3, 4]]))
    with pytest.raises(ValueError, match=r"1 of 2 samples have no counts at all: 's1'"):
        log_cpm(samples([[1, 2], [0, math.nan]]))

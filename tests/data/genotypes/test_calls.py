"""Hard calls: four codes to a byte, plink2's rule for dosages, and what calls lose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vnn._errors import GenotypeError
from vnn.data.genotypes.calls import explained, hard_called, packed_codes, swapped

TABLES = st.tuples(st.integers(0, 5), st.integers(1, 21), st.integers(0, 2**32 - 1))


@settings(max_examples=30, deadline=None)
@given(TABLES)
def test_codes_are_packed_and_swapped_as_a_loop_does(drawn):
    n_variants, n_people, seed = drawn
    codes = np.random.default_rng(seed).integers(0, 4, (n_variants, n_people)).astype(np.uint8)
    rows = packed_codes(codes)
    assert rows.shape == (n_variants, -(-n_people // 4))
    turned = swapped(rows)
    for i in range(n_variants):
        for j in range(4 * rows.shape[1]):
            code = rows[i, j // 4] >> 2 * (j % 4) & 3
            assert code == (codes[i, j] if j < n_people else 0)
            assert turned[i, j // 4] >> 2 * (j % 4) & 3 == {0: 3, 1: 1, 2: 2, 3: 0}[code]


def called_by_hand(dosage: float, threshold: float) -> int:
    """The rule in whole numbers, as plink2 has it: parts of 1/16384."""
    if np.isnan(dosage):
        return 1
    units = int(dosage * 16384 + 0.5)
    for copies, code in ((0, 3), (1, 2), (2, 0)):
        if abs(units - 16384 * copies) <= int(threshold * 16384):
            return code
    return 1


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.25, 0.499])
def test_dosages_are_called_within_the_threshold(threshold):
    dosages = np.concatenate([np.arange(0, 2.0001, 0.01), [np.nan, 0.09999, 0.10001, 1.9, 0.1]]).astype(np.float32)
    found = hard_called(dosages[None], threshold)[0]
    assert found.tolist() == [called_by_hand(float(value), threshold) for value in dosages]


def test_dosages_that_are_none():
    with pytest.raises(GenotypeError, match=r"2 dosages lie outside 0..2 \(from -1 to 2.5\)"):
        hard_called(np.array([[0.0, -1.0, 2.5, np.nan]], dtype=np.float32))
    with pytest.raises(ValueError, match=r"threshold is 0\.5"):
        hard_called(np.zeros((1, 1), dtype=np.float32), 0.5)


def test_what_calls_explain_is_a_squared_correlation():
    rng = np.random.default_rng(3)
    dosages = rng.uniform(0, 2, (20, 50)).astype(np.float32)
    dosages[rng.random(dosages.shape) < 0.1] = np.nan
    dosages[0], dosages[1], dosages[2] = 0.3, 0, np.nan
    dosages[1, 4] = 0.02
    codes = hard_called(dosages, 0.3)
    found = explained(dosages, codes)
    assert np.isnan(found[[0, 2]]).all()
    assert found[1] == 0
    for row, code, r2 in zip(dosages[3:], codes[3:], found[3:], strict=True):
        calls = np.choose(code, [2, np.nan, 1, 0])
        there = ~np.isnan(row)
        calls = np.where(np.isnan(calls), np.nanmean(calls), calls)
        assert r2 == pytest.approx(np.corrcoef(row[there], calls[there])[0, 1] ** 2, abs=1e-9)

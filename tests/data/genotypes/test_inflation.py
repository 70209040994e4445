"""Genomic control on draws of chance, and logarithms of p too small for a number."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from vnn.data.genotypes.inflation import inflation, minus_log10


def test_chance_has_a_lambda_near_one_and_a_shift_in_scale_its_square() -> None:
    z = np.random.default_rng(5).standard_normal(20_000)
    assert inflation(z) == pytest.approx(1, abs=0.05)
    assert inflation(1.2 * z) == pytest.approx(1.44 * inflation(z))
    assert np.isnan(inflation(np.array([np.nan])))


def test_logarithms_of_tiny_p() -> None:
    assert minus_log10(np.array([0.0, 1.96]))[1] == pytest.approx(-np.log10(2 * norm.sf(1.96)))
    assert minus_log10(np.array([60.0]))[0] == pytest.approx(783.9, abs=0.5)

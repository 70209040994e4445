"""Codes as small integers, and exact products of these."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.data.genotypes.cohorts import genotypes
from vnn.data.genotypes import unpacked as module
from vnn.data.genotypes.unpacked import CALLED, COPIES, HET, SIDE, SQUARES, missing_in, product, standardised, unpacked


@pytest.fixture(params=[1, 4, 61])
def packed(request):
    rng = np.random.default_rng(1)
    dosages = rng.choice([0.0, 1.0, 2.0, np.nan], (37, request.param))
    _, rows = next(genotypes(dosages).packed())
    return rows, dosages


def test_values_of_codes(packed):
    rows, dosages = packed
    n = dosages.shape[1]
    called = ~np.isnan(dosages)
    copies = np.where(called, dosages, 0)
    wanted = [
        (COPIES, copies),
        (SQUARES, copies**2),
        (CALLED, called),
        (HET, dosages == 1),
        (SIDE, np.where(called, copies - 1, 0)),
    ]
    for values, table in wanted:
        np.testing.assert_array_equal(unpacked(rows, values, n), table)
    row, column = missing_in(rows, n)
    np.testing.assert_array_equal(np.stack([row, column], 1), np.argwhere(~called))


def test_standardised(packed):
    rows, dosages = packed
    mean, scale = np.linspace(0, 2, 37), np.linspace(0, 1, 37)
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = (dosages - mean[:, None]) / scale[:, None]
    wanted[0] = 0  # of scale 0
    np.testing.assert_allclose(
        standardised(rows, mean, scale, dosages.shape[1]), np.nan_to_num(wanted), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("integers", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 0, 4), (20, 7, 19), (33, 5000, 65)])
def test_products_are_exact(shape, integers, monkeypatch):
    if not integers:
        monkeypatch.setattr(module, "_integers", None)
    rng = np.random.default_rng(2)
    one, two = (rng.integers(-1, 5, size).astype(np.int8) for size in (shape[:2], shape[1:]))
    found = product(torch.from_numpy(one), torch.from_numpy(two))
    assert found.dtype == torch.int32
    np.testing.assert_array_equal(found, one.astype(int) @ two.astype(int))

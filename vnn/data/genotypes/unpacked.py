"""Codes of packed rows as small integers, a block at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

COPIES = (2, 0, 1, 0)  # by code: two copies, missing, one copy, none; missing people add nothing to a sum
SQUARES = (4, 0, 1, 0)
CALLED = (1, 0, 1, 1)
HET = (0, 0, 1, 0)
SIDE = (1, 0, 0, -1)  # which of the two alleles a homozygote has
_integers = getattr(torch, "_int_mm", None)
_CODES = np.arange(256)[:, None] >> np.arange(0, 8, 2) & 3


def unpacked(rows: np.ndarray, values: Sequence[int], n: int) -> np.ndarray:
    """The value of each code.

    Parameters
    ----------
    rows
        Packed rows, uint8 (n_rows, at least n / 4 bytes).
    values
        Of the codes 00, 01, 10 and 11, between -128 and 127.
    n
        Codes along each row.

    Returns
    -------
    int8 (n_rows, n).
    """
    four = np.ascontiguousarray(np.array(values, dtype=np.int8)[_CODES]).view(np.uint32)[:, 0]
    return four[rows].view(np.int8)[:, :n]


def matrix(rows: np.ndarray, values: Sequence[int], n: int) -> Tensor:
    """The same as a tensor, for `product`."""
    return torch.from_numpy(unpacked(rows, values, n))


def product(one: Tensor, two: Tensor) -> Tensor:
    """The product of two matrices of 8-bit integers, exact, int32.

    torch has it under a private name; where that is gone, floats do the same, exact up to 2^24.
    """
    if _integers is not None:
        return _integers(one, two)
    return (one.float() @ two.float()).int()


def standardised(rows: np.ndarray, mean: np.ndarray, scale: np.ndarray, n: int) -> np.ndarray:
    """(copies - mean) / scale, 0 where missing or where the scale is 0, float32 (n_rows, n)."""
    values = unpacked(rows, COPIES, n).astype(np.float32)
    over = np.divide(1, scale, where=scale > 0, out=np.zeros(len(rows)))
    values -= mean[:, None].astype(np.float32)
    values *= over[:, None].astype(np.float32)
    values[missing_in(rows, n)] = 0
    return values


def lacking(rows: np.ndarray) -> np.ndarray:
    """The lower bit of each missing code, uint8 as the rows."""
    return rows & ~(rows >> 1) & 0x55


def missing_in(rows: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Where genotypes are missing: rows and columns."""
    lost = lacking(rows)
    row, byte = np.nonzero(lost)
    found = lost[row, byte][:, None] >> np.arange(0, 8, 2, dtype=np.uint8) & 1
    which, within = np.nonzero(found)
    column = 4 * byte[which] + within
    inside = column < n
    return row[which][inside], column[inside]

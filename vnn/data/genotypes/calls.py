"""Hard calls: from copies and dosages to PLINK's codes, four to a byte, and what is lost on the way.

The rule for dosages is plink2's (cog-genomics.org/plink/2.0/input, `--hard-call-threshold`): a dosage becomes the nearest whole
number of copies if it is at most 0.1 away, and is missing otherwise. As there, dosages are rounded to 1/16384 before.
"""

from __future__ import annotations

import numpy as np

from vnn._errors import GenotypeError
from vnn.data.genotypes.genotypes import COPIES, MISSING

THRESHOLD = 0.1
UNIT = 1 << 14  # dosages are counted in parts of this
UNCALLED = 3
CODE_OF = np.array([3, 2, 0, MISSING], dtype=np.uint8)  # by copies: 0, 1, 2, UNCALLED
GATHER = np.uint32((1 << 24) + (1 << 18) + (1 << 12) + (1 << 6))


def packed_codes(codes: np.ndarray) -> np.ndarray:
    """Packed rows of codes, uint8 (n_variants, n_people) -> (n_variants, n_people / 4 rounded up); spare bits are 00.

    Four bytes of two bits each are one number of 32 bits; multiplied by 2^24 + 2^18 + 2^12 + 2^6 its topmost byte holds the
    four codes beside each other.
    """
    n_variants, n_people = codes.shape
    whole = np.zeros((n_variants, -(-n_people // 4) * 4), dtype=np.uint8)
    whole[:, :n_people] = codes
    fours = whole.view("<u4")
    fours *= GATHER
    fours >>= 24
    return fours.astype(np.uint8)


def swapped(rows: np.ndarray) -> np.ndarray:
    """Packed rows that count the other allele: 00 and 11 change places, 01 and 10 stay. Spare bits become 11."""
    alike = ~(rows ^ rows >> 1) & 0x55
    return rows ^ (alike | alike << 1)


def hard_called(dosages: np.ndarray, threshold: float = THRESHOLD) -> np.ndarray:
    """PLINK's codes of dosages, uint8; NaN and what is further than `threshold` from a whole number are missing.

    Raises
    ------
    GenotypeError
        If a dosage is outside 0..2.
    """
    if not 0 <= threshold < 0.5:
        raise ValueError(
            f"threshold is {threshold}; a distance from 0 to below 0.5 copies is needed (plink2 uses 0.1)."
        )
    inside(dosages)
    units = np.floor(dosages * np.float32(UNIT) + np.float32(0.5))
    nearest = np.rint(units / UNIT)
    units -= nearest * UNIT
    called = np.abs(units) <= int(threshold * (1 + 1e-9) * UNIT)
    return CODE_OF[np.where(called, nearest, UNCALLED).astype(np.uint8)]


def inside(dosages: np.ndarray) -> None:
    """An error if dosages lie outside 0..2."""
    wrong = (dosages < 0) | (dosages > 2)
    if wrong.any():
        raise GenotypeError(
            f"{wrong.sum():,} dosages lie outside 0..2 (from {np.nanmin(dosages):g} to {np.nanmax(dosages):g}). Copies of one "
            "allele in a diploid are needed; numbers of another kind can be kept with `read_dosages` only."
        )


def explained(dosages: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Squared correlation of calls and dosages, float64 (n_variants,); NaN where the dosages of a variant do not vary.

    A missing call stands at the mean of the others, as in training; a missing dosage takes no part.
    """
    known = ~np.isnan(dosages)
    calls = COPIES.astype(np.float32)[codes]
    one, two = _deviations(dosages, known), _deviations(calls, known & (codes != MISSING))
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.einsum("vp,vp->v", one, one), np.einsum("vp,vp->v", two, two)
        r2 = np.einsum("vp,vp->v", one, two) ** 2 / (spread[0] * spread[1])
    return np.where(spread[0] < 1e-9, np.nan, np.where(spread[1] < 1e-9, 0.0, r2))


def _deviations(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    there = np.where(known, values, 0).astype(np.float64)
    mean = there.sum(1) / np.maximum(known.sum(1), 1)
    return np.where(known, there - mean[:, None], 0)

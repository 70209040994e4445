"""The operations on packed genotypes by unpacking every code to a byte: slow, obvious, and the truth."""

from __future__ import annotations

import numpy as np


def unpacked(rows: np.ndarray, n: int) -> np.ndarray:
    """The first n codes of each row, (n_rows, n) of 0 to 3."""
    bits = np.unpackbits(rows[:, : -(-n // 4)], axis=1, bitorder="little", count=2 * n)
    return (bits[:, 0::2] + 2 * bits[:, 1::2]).astype(np.int8)


def packed(codes: np.ndarray, n_bytes: int) -> np.ndarray:
    """Codes of shape (n_rows, n) as rows of n_bytes bytes, the rest 00."""
    bits = np.zeros((codes.shape[0], 8 * n_bytes), dtype=np.uint8)
    bits[:, 0 : 2 * codes.shape[1] : 2] = codes & 1
    bits[:, 1 : 2 * codes.shape[1] : 2] = codes >> 1
    return np.packbits(bits, axis=1, bitorder="little")


def transposed(rows: np.ndarray, n: int, out: np.ndarray) -> None:
    """See `vnn.kernels.panels.transposed`."""
    out[:] = packed(unpacked(rows, n).T, out.shape[1])


def panels_of(rows: np.ndarray, people: np.ndarray, out: np.ndarray) -> None:
    """See `vnn.kernels.panels.panels_of`."""
    codes = unpacked(rows, 4 * rows.shape[1])
    for panel in range(len(out)):
        out[panel] = packed(codes[:, people[64 * panel : 64 * (panel + 1)]], 16)


def gather_panels(rows: np.ndarray, people: np.ndarray, n_variants: int, out: np.ndarray) -> None:
    """See `vnn.kernels.panels.gather_panels`."""
    for panel in range(len(out)):
        codes = unpacked(rows[people[64 * panel : 64 * (panel + 1)]], n_variants)
        out[panel] = packed(codes.T, 16)


def code_counts(rows: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """See `vnn.kernels.panels.code_counts`; of rows, over the codes that `keep` names."""
    codes = unpacked(rows, len(keep))[:, keep]
    return np.stack([(codes == code).sum(1) for code in range(4)], axis=1)


def person_counts(rows: np.ndarray, n: int) -> np.ndarray:
    """See `vnn.kernels.panels.person_counts`; of rows."""
    codes = unpacked(rows, n)
    return np.stack([(codes == code).sum(0) for code in range(4)], axis=1)

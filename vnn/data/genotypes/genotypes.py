"""Genotypes: two bits for every variant and person, as they lie in their files, with names on both sides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from vnn.data.genotypes.named import Named
from vnn.kernels.panels import code_counts, panels_of, person_counts

VARIANTS = ["chromosome", "position", "counted", "other"]
PEOPLE = ["family", "father", "mother", "sex"]
SEXES = ("", "female", "male")
MISSING = 1  # code 01
COPIES = np.array([2, np.nan, 1, 0])  # of the counted allele, by code: 00, 01, 10, 11
BLOCK = 1 << 24  # bytes of packed rows looked at at once


@dataclass(frozen=True, eq=False)
class Part:
    """Packed rows of some variants.

    Parameters
    ----------
    rows
        uint8 (n_variants, at least n_people / 4 bytes), often a memory map: person j of the file has bits 2 (j % 4) of byte
        j // 4; 00 is two copies of the counted allele, 01 missing, 10 one copy, 11 none.
    columns
        Where in the rows each of the people stands, int64 (n_people,).
    """

    rows: np.ndarray
    columns: np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class Genotypes(Named):
    """Genotypes of named variants in named people, never expanded: two bits each.

    Everything is found by name, as in `Samples`. Nothing is scaled, filled or left out here. `read_plink` and the other
    readers make one.

    Parameters
    ----------
    parts
        Packed rows, one part for each file; their rows follow each other.
    row
        The row of each variant, counted through all parts, int64 (n_variants,).
    variants
        Index: ids, unique. Columns `chromosome` ("1".."22", "X", "Y", "XY" for the pseudo-autosomal regions, "MT", or another
        name as given), `position` (1-based), `counted` (the allele whose copies are counted) and `other`.
    people
        Index: ids, unique. Columns `family`, `father`, `mother` ("" where unknown) and `sex` ("female", "male", "").
    targets, covariates, groups
        One row per person, as in `Samples`.
    build
        "GRCh37", "GRCh38", or "" where it is not declared.
    sources, log
        As in `Samples`.

    Raises
    ------
    AlignmentError
        If ids are repeated, or tables do not hold exactly these people.
    """

    called: ClassVar[str] = "the genotypes"

    parts: tuple[Part, ...]
    row: np.ndarray
    variants: pd.DataFrame
    people: pd.DataFrame
    targets: pd.DataFrame
    covariates: pd.DataFrame
    groups: pd.DataFrame
    build: Literal["", "GRCh37", "GRCh38"] = ""
    sources: tuple[dict[str, str], ...] = ()
    log: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        parts: Sequence[Part],
        variants: pd.DataFrame,
        people: pd.DataFrame,
        *,
        build: Literal["", "GRCh37", "GRCh38"] = "",
        sources: Sequence[dict[str, str]] = (),
        log: Sequence[str] = (),
    ) -> Genotypes:
        """All variants of some parts, in their order, of people of whom nothing else is known."""
        empty = pd.DataFrame(index=people.index)
        row = np.arange(len(variants))
        return cls(tuple(parts), row, variants, people, empty, empty, empty, build, tuple(sources), tuple(log))

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.cumsum([0, *(len(part.rows) for part in self.parts)])

    def runs(self, size: int | None = None) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Variants in the order of this object, a block of neighbouring rows of a file at a time.

        Parameters
        ----------
        size
            Most variants at once; as many as 16 MB of packed rows hold unless given.

        Yields
        ------
        Where the variants stand here, the packed rows of all people of their file (in place where they are neighbours there), and
        where our people stand in them.
        """
        part = np.searchsorted(self._starts, self.row, side="right") - 1
        local = self.row - self._starts[part]
        width = max((part.rows.shape[1] for part in self.parts), default=1)
        size = size or max(BLOCK // max(width, 1), 1)
        cuts = np.flatnonzero(np.diff(part)) + 1
        for first, last in zip([0, *cuts], [*cuts, self.n_variants], strict=True):
            held = self.parts[part[first]] if last > first else None
            for start in range(first, last, size):
                at = slice(start, min(start + size, last))
                asked = local[at]
                near = asked[-1] - asked[0] == len(asked) - 1 and (np.diff(asked) == 1).all()
                rows = held.rows[asked[0] : asked[-1] + 1] if near else held.rows[asked]  # type: ignore[union-attr]
                yield at, np.asarray(rows), held.columns  # type: ignore[union-attr]

    def packed(self, size: int | None = None) -> Iterator[tuple[slice, np.ndarray]]:
        """Packed rows of these people in their order, uint8 (variants of the block, people / 4 rounded up); spare bits are 00."""
        n_bytes = -(-self.n_people // 4)
        for at, rows, columns in self.runs(size):
            if self._whole(columns) and not self.n_people % 4:
                yield at, rows[:, :n_bytes]
            else:
                panels = panels_of(np.ascontiguousarray(rows), columns).numpy()
                flat = panels.transpose(1, 0, 2).reshape(len(rows), -1)[:, :n_bytes]
                yield at, np.ascontiguousarray(flat)

    def panels(self, people: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Panels of 64 of the people at these places, uint8 (people / 64 rounded up, n_variants, 16), as `Packed` takes them."""
        made = np.empty((-(-len(people) // 64), self.n_variants, 16), dtype=np.uint8) if out is None else out
        for at, rows, columns in self.runs():
            made[:, at] = panels_of(np.ascontiguousarray(rows), columns[people]).numpy()
        return made

    def dosages(self, dtype: str = "float32") -> np.ndarray:
        """Copies of the counted allele, (n_variants, n_people), NaN where missing: 16 times the size of the genotypes."""
        made = np.empty((self.n_variants, self.n_people), dtype=dtype)
        copies = COPIES.astype(dtype)
        shifts = np.arange(0, 8, 2, dtype=np.uint8)
        for at, rows in self.packed():
            codes = (rows[:, :, None] >> shifts & 3).reshape(len(rows), -1)
            made[at] = copies[codes[:, : self.n_people]]
        return made

    def counts(self, keep: np.ndarray | None = None) -> np.ndarray:
        """How often each code occurs in every variant, int64 (n_variants, 4): two copies, missing, one copy, none.

        Parameters
        ----------
        keep
            Which of the people to count, bool (n_people,); all unless given.
        """
        found = np.empty((self.n_variants, 4), dtype=np.int64)
        for at, rows, columns in self.runs():
            there = np.zeros(4 * rows.shape[1], dtype=bool)
            there[columns if keep is None else columns[keep]] = True
            n = int(np.flatnonzero(there)[-1]) + 1 if there.any() else 0
            whole = there[:n].all()
            found[at] = code_counts(rows, n, **({} if whole else {"keep": there[:n]})).numpy()
        return found

    def person_counts(self) -> np.ndarray:
        """How often each code occurs in every person, int64 (n_people, 4): two copies, missing, one copy, none."""
        total = np.zeros((self.n_people, 4), dtype=np.int64)
        for _, rows, columns in self.runs():
            total += person_counts(rows, int(columns.max(initial=-1)) + 1).numpy()[columns]
        return total

    def _whole(self, columns: np.ndarray) -> bool:
        return bool((columns == np.arange(len(columns))).all())

    def _columns(self, who: np.ndarray) -> dict[str, Any]:
        return {"parts": tuple(Part(part.rows, part.columns[who]) for part in self.parts)}

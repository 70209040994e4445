"""Dosages: fractional copies of an allele, 16 bits each, with the names of genotypes on both sides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from vnn._errors import GenotypeError
from vnn.data.genotypes.named import Named
from vnn.data.genotypes.plink import read_bim, read_fam

BLOCK = 1 << 22  # dosages looked at at once
SUFFIX = ".f16"


@dataclass(frozen=True, eq=False, repr=False)
class Dosages(Named):
    """Copies of the counted allele as float16: imputed dosages that are kept, not called.

    Eight times the size of `Genotypes`, and slower: nothing of it goes through the kernels of packed genotypes. A float16 holds
    a dosage to 0.0005 or better. Names, `select` and `joined` are those of `Genotypes`. `read_dosages` makes one.

    Parameters
    ----------
    values
        float16 (variants of the file, people of the file), NaN where missing, often a memory map.
    row, column
        Where each variant and each person stands in `values`, int64.
    variants, people, targets, covariates, groups, build, sources, log
        As in `Genotypes`.

    Raises
    ------
    AlignmentError
        If ids are repeated, or tables do not hold exactly these people.
    """

    called: ClassVar[str] = "the dosages"

    values: np.ndarray
    row: np.ndarray
    column: np.ndarray
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
        values: np.ndarray,
        variants: pd.DataFrame,
        people: pd.DataFrame,
        *,
        build: Literal["", "GRCh37", "GRCh38"] = "",
        sources: Sequence[dict[str, str]] = (),
        log: Sequence[str] = (),
    ) -> Dosages:
        """All variants and people of an array, of whom nothing else is known."""
        empty = pd.DataFrame(index=people.index)
        row, column = np.arange(len(variants)), np.arange(len(people))
        return cls(values, row, column, variants, people, empty, empty, empty, build, tuple(sources), tuple(log))

    def blocks(self, size: int | None = None) -> Iterator[tuple[slice, np.ndarray]]:
        """Variants in the order of this object, float16 (variants of the block, n_people); `size` is the most at once."""
        size = size or max(BLOCK // max(self.n_people, 1), 1)
        for start in range(0, self.n_variants, size):
            at = slice(start, min(start + size, self.n_variants))
            row = self.row[at]
            near = row[-1] - row[0] == len(row) - 1 and (np.diff(row) == 1).all()
            values = self.values[row[0] : row[-1] + 1] if near else self.values[row]
            yield at, values if self._whole else values[:, self.column]

    @property
    def _whole(self) -> bool:
        return bool(len(self.column) == self.values.shape[1] and (np.diff(self.column) == 1).all())

    def dosages(self, dtype: str = "float32") -> np.ndarray:
        """Copies of the counted allele as a whole, (n_variants, n_people), NaN where missing."""
        made = np.empty((self.n_variants, self.n_people), dtype=dtype)
        for at, values in self.blocks():
            made[at] = values
        return made

    def _columns(self, who: np.ndarray) -> dict[str, Any]:
        return {"column": self.column[who]}


def mapped_dosages(path: Path, n_variants: int, n_people: int) -> np.ndarray:
    """The float16 values of a .f16 by memory map, its length checked."""
    size, needed = path.stat().st_size, 2 * n_variants * n_people
    if size != needed:
        raise GenotypeError(
            f"{path.name} has {size:,} bytes; {n_variants:,} variants of the .bim and {n_people:,} people of the .fam need "
            f"{needed:,}. The three files are not of one set, or the {SUFFIX} is cut: write it again with `read_dosages`."
        )
    if not needed:
        return np.zeros((n_variants, n_people), dtype=np.float16)
    return np.memmap(path, dtype="<f2", mode="r", shape=(n_variants, n_people))


def open_dosages(prefix: Path | str, *, build: Literal["", "GRCh37", "GRCh38"] = "") -> Dosages:
    """Dosages that `read_dosages(..., to=prefix)` wrote, by memory map: prefix.f16, prefix.bim and prefix.fam.

    Raises
    ------
    GenotypeError
        If the three files do not fit each other.
    """
    beside = str(prefix).removesuffix(SUFFIX)
    path = Path(f"{beside}{SUFFIX}")
    if not path.exists():
        raise FileNotFoundError(f'{path} is not there; write it with `read_dosages(..., to="{beside}")`.')
    people = read_fam(f"{beside}.fam")
    variants, log = read_bim(f"{beside}.bim")
    values = mapped_dosages(path, len(variants), len(people))
    return Dosages.of(values, variants, people, build=build, log=log)

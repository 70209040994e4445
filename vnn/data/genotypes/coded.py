"""Genotypes as a matrix of numbers that is never made: its products, both ways, on packed rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from vnn.data.genotypes.coding import NONE
from vnn.data.genotypes.genotypes import COPIES, Genotypes
from vnn.data.genotypes.quality import part_of
from vnn.kernels import Graph, Packed
from vnn.kernels.backend import active
from vnn.kernels.panels import PANEL, panels_of

_BYTES = 1 << 22  # of packed rows at once; they stay in a near cache between the two products of `turned`
_CODES = np.arange(256)[:, None] >> np.arange(0, 8, 2) & 3


@dataclass(frozen=True, eq=False)
class Coded:
    """The matrix X of coded genotypes, (n_variants, n_people), known by its codebook.

    Products run on packed rows by the kernels of networks, in float32, a few megabytes of rows at a time. People who are not to
    count are given zeros.

    Parameters
    ----------
    genotypes
        Whose rows are read, in place where they are mapped.
    values
        The codebook, float32 (n_variants, 4): two copies of the counted allele, missing, one copy, none.
    """

    genotypes: Genotypes
    values: np.ndarray

    @property
    def n_inputs(self) -> int:
        """How many variants vary."""
        return int((self.values != 0).any(1).sum())

    def sums(self, people: np.ndarray) -> np.ndarray:
        """X people: for every variant the sum over people of its value times each column.

        Parameters
        ----------
        people
            Shape (n_people, k).

        Returns
        -------
        float64 (n_variants, k).
        """
        made = np.empty((self.genotypes.n_variants, people.shape[1]))
        for at, found in self.each_sum(people):
            made[at] = found
        return made

    def each_sum(self, people: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """The same, block by block: which variants, float64 (n_block, k)."""
        for at, rows in self._blocks():
            yield at, rows.sums(rows.spread(people)).numpy().astype(np.float64)

    def scores(self, weights: np.ndarray) -> np.ndarray:
        """X' weights: for every person the sum over variants of its value times each column.

        Parameters
        ----------
        weights
            Shape (n_variants, k).

        Returns
        -------
        float64 (n_people, k).
        """
        made = np.zeros((self.genotypes.n_people, weights.shape[1]))
        for at, rows in self._blocks():
            made += rows.scores(torch.from_numpy(np.ascontiguousarray(weights[at], dtype=np.float32)))
        return made

    def turned(self, people: np.ndarray) -> np.ndarray:
        """X' X people, in one pass over the rows: float64 (n_people, k) of (n_people, k)."""
        made = np.zeros(people.shape)
        for _, rows in self._blocks():
            made += rows.scores(rows.sums(rows.spread(people)))
        return made

    def numbers(self, variants: np.ndarray) -> np.ndarray:
        """The values of the variants at these places, expanded: float32 (n, n_people)."""
        made = np.empty((len(variants), self.genotypes.n_people), dtype=np.float32)
        values = self.values[variants]
        for at, rows in part_of(self.genotypes, variants).packed():
            made[at] = expanded(rows, values[at], self.genotypes.n_people)
        return made

    @cached_property
    def _n_few(self) -> bool:
        """Whether most people of the files are not ours, so that rows are dealt anew."""
        width = max((part.rows.shape[1] for part in self.genotypes.parts), default=1)
        return 2 * self.genotypes.n_people < 4 * width

    def _blocks(self) -> Iterator[tuple[slice, _Rows]]:
        width = max((part.rows.shape[1] for part in self.genotypes.parts), default=1)
        for at, rows, columns in self.genotypes.runs(max(_BYTES // max(width, 1), 1)):
            if self._n_few:
                codes = panels_of(np.ascontiguousarray(rows), columns)
                columns = np.arange(len(columns))
            else:
                codes = as_panels(rows)
            yield at, _Rows(packed_with(codes, self.values[at]), columns)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Coded rows of a block, and where our people stand in them."""

    packed: Packed
    columns: np.ndarray

    def spread(self, people: np.ndarray) -> Tensor:
        made = torch.zeros(1, people.shape[1], self.packed.batch)
        made[0].numpy()[:, self.columns] = people.T
        return made

    def sums(self, spread: Tensor) -> Tensor:
        wiring = _together(self.packed.codes.shape[1]).wiring
        return active(torch.device("cpu")).packed_edge_product(spread, self.packed, wiring)

    def scores(self, weights: Tensor) -> np.ndarray:
        wiring = _together(self.packed.codes.shape[1]).wiring
        made = active(torch.device("cpu")).packed_product(self.packed, weights, None, None, wiring)
        return made[0].numpy()[:, self.columns].T


def as_panels(rows: np.ndarray) -> Tensor:
    """Rows of variants as panels of their people, a copy; places behind the last person hold code 00."""
    padded = np.zeros((len(rows), -(-rows.shape[1] // 16) * 16), dtype=np.uint8)
    padded[:, : rows.shape[1]] = rows
    return torch.from_numpy(padded.reshape(len(rows), -1, 16)).movedim(0, 1)


def packed_with(codes: Tensor, values: np.ndarray) -> Packed:
    """All people of these panels, and what their codes are worth."""
    book = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    return Packed(codes, torch.arange(len(codes)), book, PANEL * len(codes))


@lru_cache(maxsize=8)
def _together(n: int) -> Graph:
    """All variants of a block into one sum."""
    return Graph(np.stack([np.arange(n), np.zeros(n, dtype=np.int64)], 1), n, 1)


def standard(genotypes: Genotypes, learners: np.ndarray, *, scaled: bool = True) -> Coded:
    """Copies of the counted allele, centred on their mean among learners and divided by their standard deviation there.

    A missing genotype has the mean, that is 0, and counts as such in the standard deviation; variants that do not vary among the
    learners are 0 throughout.

    Parameters
    ----------
    learners
        Who learns, bool (n_people,).
    scaled
        Whether to divide.
    """
    return Coded(genotypes, _book(genotypes, learners, COPIES, scaled=scaled))


def missingness(genotypes: Genotypes, learners: np.ndarray) -> Coded:
    """Which genotypes are missing, centred and scaled as `standard` does."""
    return Coded(genotypes, _book(genotypes, learners, np.eye(4)[NONE], scaled=True))


def _book(genotypes: Genotypes, learners: np.ndarray, worth: np.ndarray, *, scaled: bool) -> np.ndarray:
    counts = genotypes.counts(None if learners.all() else learners).astype(float)
    known = ~np.isnan(worth)
    called = np.maximum(counts[:, known].sum(1), 1)
    mean = counts[:, known] @ worth[known] / called
    values = np.where(known, worth, 0) - mean[:, None] * known
    variance = (counts * values**2).sum(1) / max(int(learners.sum()), 1)
    varies = variance > 1e-12
    scale = np.sqrt(np.where(varies, variance, 1)) if scaled else np.ones(len(values))
    return (values / scale[:, None] * varies[:, None]).astype(np.float32)


def expanded(rows: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """What the codes of packed rows are worth, float32 (n_rows, n), by a codebook, float32 (n_rows, 4)."""
    made = np.empty((len(rows), rows.shape[1]), dtype=np.complex128)  # four float32 for each byte
    for row, book, out in zip(rows, values, made, strict=True):
        np.take(book[_CODES].view(np.complex128)[:, 0], row, out=out, mode="clip")
    return made.view(np.float32)[:, :n]

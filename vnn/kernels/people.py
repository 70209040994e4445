"""The genotypes of everybody a network learns from, two bits each; batches are taken from them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vnn._errors import KernelError
from vnn.kernels.packed import BYTES, CODES, PANEL, Packed
from vnn.kernels.panels import gather_panels, transposed

KEPT = 0.5  # of the memory, which files of this size may fill


def mapped(path: Path, shape: tuple[int, ...]) -> Tensor:
    """The bytes of a file, read from the disk when they are used; writing to them does not change the file."""
    if not np.prod(shape):
        return torch.zeros(shape, dtype=torch.uint8)
    return torch.from_numpy(np.memmap(path, dtype=np.uint8, mode="c", shape=shape))


@dataclass(frozen=True, eq=False)
class PackedPeople:
    """Packed genotypes of people, by panel or by person.

    As of a tensor (n_variants, n_people), columns are taken by `[:, at]`, which gives `Packed`.

    Parameters
    ----------
    codes
        uint8, panels of 64 people (n_panels, n_variants, 16), of which batches are whole ones read where they lie; or a row of
        each person (n_rows, at least n_variants / 4), from which the batches are gathered.
    codebook
        The value of each code, (n_variants, 4); NaN where a missing genotype is filled by each replicate with its own value.
    place
        Of each of the people: panel times 64 plus the place in it, or the row; int64 (n_people,).
    identity
        Of what the codes hold.
    path
        The file they lie in, where they do.
    scaled
        As of `Packed`.
    """

    codes: Tensor
    codebook: Tensor
    place: np.ndarray
    identity: str
    path: Path | None = None
    scaled: bool = False

    def __post_init__(self) -> None:
        fits = self.codes.shape[1:] == (len(self.codebook), BYTES) if self.panelled else self.codes.dim() == 2
        if not fits or self.codebook.shape[1:] != (CODES,):
            raise KernelError(
                f"codes of shape {tuple(self.codes.shape)} do not fit a codebook of shape {tuple(self.codebook.shape)}: panels "
                f"(n_panels, n_variants, {BYTES}) or a row of each person are needed, and ({CODES}) values of every variant."
            )

    @property
    def panelled(self) -> bool:
        """Whether people lie in panels."""
        return self.codes.dim() == 3

    @property
    def shape(self) -> tuple[int, int]:
        """Variants and people."""
        return len(self.codebook), len(self.place)

    def __len__(self) -> int:
        return len(self.codebook)

    @property
    def dtype(self) -> torch.dtype:
        """Of the values."""
        return self.codebook.dtype

    @property
    def device(self) -> torch.device:
        """Where they lie."""
        return self.codes.device

    @cached_property
    def books(self) -> tuple[Tensor, Tensor | None]:
        """The codebook with 0 where a replicate fills, and 1 where it does; None where none does."""
        gaps = torch.isnan(self.codebook)
        if not gaps.any():
            return self.codebook, None
        return self.codebook.masked_fill(gaps, 0.0), gaps.to(self.codebook.dtype)

    def __getitem__(self, key: tuple[slice, Any]) -> Packed:
        every, at = key
        if every != slice(None):
            raise KernelError(f"variants {every} are asked for; batches hold all of them: [:, people].")
        where = self.place[at if isinstance(at, slice) else np.asarray(at)]
        if not self.panelled:
            return self._packed(gather_panels(self.codes, where, len(self)), len(where))
        if _whole(where):
            return Packed(self.codes, torch.from_numpy(where[::PANEL] // PANEL), self.codebook, len(where), self.scaled)
        panel, inside = np.divmod(where, PANEL)
        rows = torch.empty(len(where), -(-len(self) // 4), dtype=torch.uint8)
        for one in np.unique(panel):
            mine = np.flatnonzero(panel == one)
            rows[mine] = transposed(self.codes[one], PANEL)[inside[mine]]
        return self._packed(gather_panels(rows, np.arange(len(where)), len(self)), len(where))

    def _packed(self, codes: Tensor, n: int) -> Packed:
        return Packed(codes, torch.arange(len(codes)), self.codebook, n, self.scaled)

    def coded(self, codebook: Tensor, *, scaled: bool = False) -> PackedPeople:
        """The same people with other values of their codes."""
        return replace(self, codebook=codebook, scaled=scaled)

    def everywhere(self) -> PackedPeople:
        """A column for each place of the panels, whoever has it, or for each row."""
        n = len(self.codes) * (PANEL if self.panelled else 1)
        return replace(self, place=np.arange(n))

    def sweep(self, size: int) -> Iterator[tuple[Packed, np.ndarray, np.ndarray]]:
        """All of these people, about `size` at a time, without gathering from panels.

        Yields
        ------
        A batch, which of its columns are asked for, and whose of these people they are.
        """
        if not self.panelled:
            for first in range(0, len(self.place), size):
                mine = np.arange(first, min(first + size, len(self.place)))
                yield self[:, mine], np.arange(len(mine)), mine
            return
        panel = self.place // PANEL
        held = np.unique(panel)
        for first in range(0, len(held), max(size // PANEL, 1)):
            some = held[first : first + max(size // PANEL, 1)]
            mine = np.flatnonzero(np.isin(panel, some))
            columns = np.searchsorted(some, panel[mine]) * PANEL + self.place[mine] % PANEL
            yield (
                Packed(self.codes, torch.from_numpy(some), self.codebook, PANEL * len(some), self.scaled),
                columns,
                mine,
            )

    @cached_property
    def _expected(self) -> set[int]:
        """Panels or rows that were fetched and stay in memory."""
        return set()

    def expect(self, at: np.ndarray) -> None:
        """Let the system fetch the panels or rows of these people from the disk while other work is done."""
        if self.path is None or not hasattr(os, "posix_fadvise"):
            return
        pieces = set(np.unique(self.place[at] // (PANEL if self.panelled else 1)).tolist()) - self._expected
        size = self.codes.stride(0)
        if self.codes.numel() < KEPT * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
            self._expected.update(pieces)
        if pieces:
            with self.path.open("rb") as file:
                for piece in sorted(pieces):
                    os.posix_fadvise(file.fileno(), piece * size, size, os.POSIX_FADV_WILLNEED)

    def __reduce__(self) -> tuple[Any, ...]:
        codes = self.codes if self.path is None else tuple(self.codes.shape)
        return _again, (codes, self.codebook, self.place, self.identity, self.path, self.scaled)


def _again(
    codes: Any, codebook: Tensor, place: np.ndarray, identity: str, path: Path | None, scaled: bool
) -> PackedPeople:
    """What another process was told of; it opens the file itself."""
    return PackedPeople(codes if path is None else mapped(path, codes), codebook, place, identity, path, scaled)


def _whole(where: np.ndarray) -> bool:
    """Whether places are panels in their order, the last perhaps not to its end."""
    return (
        bool((where == np.repeat(where[::PANEL], PANEL)[: len(where)] + np.arange(len(where)) % PANEL).all())
        and not (where[::PANEL] % PANEL).any()
    )

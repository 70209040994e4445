"""Packed: the genotypes of a batch as they lie on disk, two bits each."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vnn._errors import KernelError

PANEL = 64
BYTES = 16
CODES = 4


class Packed(NamedTuple):
    """A batch of genotypes in panels of 64 people, and what each code of each variant is worth.

    Person b of the batch is person b % 64 of panel `panels[b // 64]`. Inside the 16 bytes of a variant, person j
    has bits 2 * (j % 4) of byte j // 4, as in a .bed; the codes are PLINK's: 0 two copies of allele 1, 1 missing,
    2 heterozygous, 3 no copy of allele 1.

    Parameters
    ----------
    codes
        uint8 of shape (n_panels, n_variants, 16); the last axis contiguous, the others of any stride.
    panels
        int64 of shape (P,): the panels of the batch, in order.
    codebook
        Shape (n_variants, 4): the value of each code.
    batch
        People: more than 64 (P - 1), at most 64 P.
    scaled
        Whether the codebook holds what a network's first product takes, and not yet raw values.
    """

    codes: Tensor
    panels: Tensor
    codebook: Tensor
    batch: int
    scaled: bool = False

    def check(self) -> None:
        """Raise a `KernelError` unless shapes, types and indices fit each other.

        Indices on a GPU are not read, which would make the host wait; there a panel that is not there gives NaN.
        """
        codes, panels, codebook = self.codes, self.panels, self.codebook
        for name, given in (("codes", codes), ("panels", panels), ("codebook", codebook)):
            if not isinstance(given, Tensor):
                raise TypeError(f"`{name}` is a {type(given).__name__}; it needs a tensor: torch.as_tensor({name}).")
            if given.layout != torch.strided or given.is_complex() or given.device != codes.device:
                raise KernelError(
                    f"`{name}` is {given.dtype} in layout {given.layout} on {given.device}, `codes` on {codes.device}; "
                    "they need to be dense, real and on one device."
                )
        spread = codes.numel() and codes.stride(-1) != 1
        if codes.dtype != torch.uint8 or codes.dim() != 3 or codes.shape[2] != BYTES or spread:
            raise KernelError(
                f"`codes` is {codes.dtype} of shape {tuple(codes.shape)} and strides {codes.stride()}; it needs uint8 "
                f"of shape (panels, variants, {BYTES}) with the last axis contiguous."
            )
        if panels.dtype != torch.int64 or panels.dim() != 1 or not panels.is_contiguous():
            raise KernelError(
                f"`panels` is {panels.dtype} of shape {tuple(panels.shape)}; it needs contiguous int64 (panels of the batch,)."
            )
        if codes.device.type == "meta":
            raise KernelError("`codes` lies on meta, where there are no values; move it to a device.")
        if len(panels) and not panels.is_cuda and not 0 <= int(panels.min()) <= int(panels.max()) < len(codes):
            raise KernelError(
                f"`panels` runs from {int(panels.min())} to {int(panels.max())}; there are {len(codes)}, numbered from 0."
            )
        if codebook.shape != (codes.shape[1], CODES):
            raise KernelError(
                f"`codebook` has shape {tuple(codebook.shape)}; it needs ({codes.shape[1]:,}, {CODES}): variants, codes."
            )
        if not isinstance(self.batch, int):
            raise TypeError(f"`batch` is {self.batch!r}; it needs a whole number of people.")
        if not PANEL * (len(panels) - 1) < self.batch <= PANEL * len(panels) and (self.batch or len(panels)):
            raise KernelError(
                f"`batch` is {self.batch}; {len(panels)} panels of {PANEL} hold from "
                f"{PANEL * (len(panels) - 1) + 1} to {PANEL * len(panels)} people."
            )

    def values(self) -> Tensor:
        """The genotypes as numbers, shape (n_variants, 1, batch): the plain form, 16 times larger."""
        codes = self.codes[self.panels]
        shifts = torch.arange(0, 8, 2, dtype=torch.uint8, device=codes.device)
        people = (codes[..., None] >> shifts & 3).flatten(2).movedim(0, 1).flatten(1)[:, : self.batch]
        return torch.gather(self.codebook, 1, people.long())[:, None, :]

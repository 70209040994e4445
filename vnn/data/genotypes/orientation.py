"""Orientation: the same genotypes with other alleles counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import pandas as pd

from vnn._errors import AlignmentError, GenotypeError, choose, culprits
from vnn.data.genotypes.calls import swapped
from vnn.data.genotypes.dosages import SUFFIX, Dosages, mapped_dosages
from vnn.data.genotypes.genotypes import Genotypes, Part
from vnn.data.genotypes.plink import BED_HEAD, mapped_bed, put_fileset

COMPLEMENT = str.maketrans("ACGT", "TGCA")
AMBIGUOUS = {("A", "T"), ("T", "A"), ("C", "G"), ("G", "C")}
UNNAMED = (".", "0", "")  # an allele nobody had when the file was written
Kind = TypeVar("Kind", Genotypes, Dosages)


def oriented(
    genotypes: Kind,
    counted: pd.Series | Genotypes | Dosages,
    *,
    strand: Literal["same", "either"] = "same",
    ambiguous: Literal["keep", "drop"] = "keep",
    to: Path | str | None = None,
) -> Kind:
    """The same variants and people, counting the alleles asked for.

    Where another allele is counted here, 2 becomes 0 and 0 becomes 2; missing stays missing. Variants that are A/T or C/G are
    the same pair on both strands: they are counted, taken as they are named, and never turned to the other strand. An allele
    that has no name here (".", "0": nobody has a copy) is taken for the one asked for.

    Parameters
    ----------
    counted
        The allele of every variant by id, or genotypes whose counted alleles are wanted. Variants only there are left alone.
    strand
        "same", or "either" to read single bases that do not fit on the other strand (A for T, C for G).
    ambiguous
        Whether to "keep" or "drop" A/T and C/G variants.
    to
        Prefix of the files to write block by block and map (a PLINK fileset, or that of `open_dosages`); in memory unless given.

    Raises
    ------
    AlignmentError
        If a variant is not in `counted`.
    GenotypeError
        If alleles do not fit: neither allele of a variant is the one asked for, or the pairs differ.
    """
    choose("strand", strand, ("same", "either"))
    choose("ambiguous", ambiguous, ("keep", "drop"))
    if not isinstance(counted, pd.Series):
        asked, partner = counted.variants["counted"], counted.variants["other"]
    else:
        asked, partner = counted, None
    here = genotypes.variants
    place = pd.Index(asked.index).get_indexer(here.index) if asked.index.is_unique else None
    if place is None:
        raise AlignmentError(f"`counted` names variants twice: {culprits(asked.index[asked.index.duplicated()])}.")
    if (place < 0).any():
        raise AlignmentError(
            f"`counted` lacks {(place < 0).sum():,} of the {len(here):,} variants: {culprits(here.index[place < 0])}. Select those "
            "it has first: `genotypes.select(variants)`."
        )
    wanted = asked.iloc[place].astype(str).str.upper().to_numpy(dtype=object)
    rest = None if partner is None else partner.iloc[place].astype(str).str.upper().to_numpy(dtype=object)
    one, two = (here[name].str.upper().to_numpy(dtype=object) for name in ("counted", "other"))
    unsure = np.array([pair in AMBIGUOUS for pair in zip(one, two, strict=True)], dtype=bool)
    stay, swap, unnamed = _agreement(one, two, wanted, rest)
    turned = np.zeros(len(here), dtype=bool)
    if strand == "either":
        bases = np.array([len(a) == len(b) == 1 for a, b in zip(one, two, strict=True)], dtype=bool)
        flipped = [np.array([name.translate(COMPLEMENT) for name in names], dtype=object) for names in (one, two)]
        also, other_way, unnamed_there = _agreement(flipped[0], flipped[1], wanted, rest)
        turned = bases & ~(stay | swap) & (also | other_way)
        stay, swap = stay | turned & also, swap | turned & other_way
        unnamed |= turned & unnamed_there
        one, two = (np.where(turned, new, old) for new, old in zip(flipped, (one, two), strict=True))
    if (wrong := ~(stay | swap)).any():
        pairs = zip(here.index[wrong], one[wrong], two[wrong], wanted[wrong], strict=True)
        advice = "" if strand == "either" else ' Alleles of the other strand are understood with strand="either".'
        raise GenotypeError(
            f"the alleles of {wrong.sum():,} of the {len(here):,} variants do not fit: "
            f"{culprits(f'{name} has {a} and {b}, asked for is {c}' for name, a, b, c in pairs)}.{advice} "
            "Leave variants of other alleles out: `genotypes.select(variants)`."
        )
    left = np.where(swap, one, two)
    names = {
        "counted": np.where(np.isin(wanted, UNNAMED), np.where(swap, two, one), wanted),
        "other": left if rest is None else np.where(np.isin(rest, UNNAMED), left, rest),
    }
    made = replace(genotypes, variants=here.assign(**names))
    log = [
        f"orient: {n:,} of {len(here):,} variants {what}"
        for n, what in (
            (int(swap.sum()), "counted the other allele and were swapped"),
            (int(turned.sum()), "were named on the other strand and were turned"),
            (int(unnamed.sum()), "had an allele without a name, which is taken for the one asked for"),
            (
                int(unsure.sum()),
                f"are A/T or C/G, the same on both strands: {'taken as named' if ambiguous == 'keep' else 'dropped'}",
            ),
        )
        if n
    ]
    if ambiguous == "drop" and unsure.any():
        swap = swap[~unsure]
        made = made.select(here.index[~unsure])
    made = made.told(*log)
    if to is None and not swap.any():
        return made
    if isinstance(made, Dosages):
        return _with_values(made, swap, to)
    return _with_rows(made, swap, to)


def _agreement(
    one: np.ndarray, two: np.ndarray, wanted: np.ndarray, rest: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the first allele is the wanted one, where the second is, and where that is so for want of a name."""
    bare_one, bare_two = np.isin(one, UNNAMED), np.isin(two, UNNAMED)
    if rest is None:
        stay, swap = one == wanted, two == wanted
        lacks = ~(stay | swap) & (bare_one != bare_two)
        return stay | lacks & bare_one, swap | lacks & bare_two, lacks
    free = np.isin(wanted, UNNAMED), np.isin(rest, UNNAMED)

    def fits(a: np.ndarray, bare: np.ndarray, b: np.ndarray, open_: np.ndarray) -> np.ndarray:
        return (a == b) | bare | open_

    named = ~(bare_one & bare_two) & ~(free[0] & free[1])
    same = (one == wanted) | (two == rest)
    crossed = (one == rest) | (two == wanted)
    stay = named & same & fits(one, bare_one, wanted, free[0]) & fits(two, bare_two, rest, free[1])
    swap = named & ~stay & crossed & fits(one, bare_one, rest, free[1]) & fits(two, bare_two, wanted, free[0])
    exact = ((one == wanted) & (two == rest)) | ((one == rest) & (two == wanted))
    return stay, swap, (stay | swap) & ~exact


def _with_rows(made: Genotypes, swap: np.ndarray, to: Path | str | None) -> Genotypes:
    spare = 0xFF >> 2 * (-made.n_people % 4)

    def rows() -> Iterator[np.ndarray]:
        for at, block in made.packed():
            turned = swapped(block)
            turned[:, -1:] &= spare
            yield np.where(swap[at, None], turned, block)

    if to is None:
        data = np.concatenate([np.zeros((0, -(-made.n_people // 4)), dtype=np.uint8), *rows()])
    else:
        bed = put_fileset(to, ".bed", BED_HEAD, rows(), made.people, lambda: made.variants)
        data = mapped_bed(bed, made.n_variants, made.n_people)
    return replace(made, parts=(Part(data, np.arange(made.n_people)),), row=np.arange(made.n_variants))


def _with_values(made: Dosages, swap: np.ndarray, to: Path | str | None) -> Dosages:
    def rows() -> Iterator[np.ndarray]:
        for at, block in made.blocks():
            yield np.where(swap[at, None], np.float16(2) - block, block)

    if to is None:
        data = np.concatenate([np.zeros((0, made.n_people), dtype="<f2"), *rows()])
    else:
        path = put_fileset(to, SUFFIX, b"", rows(), made.people, lambda: made.variants)
        data = mapped_dosages(path, made.n_variants, made.n_people)
    return replace(made, values=data, row=np.arange(made.n_variants), column=np.arange(made.n_people))

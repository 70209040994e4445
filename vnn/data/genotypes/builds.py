"""Genome builds: how long chromosomes are, and whether two sides speak of the same build."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vnn._errors import GenotypeError, choose, culprits
from vnn.data.genotypes.named import BUILDS
from vnn.data.genotypes.plink import chromosome_names

_NAMES = [*(str(n) for n in range(1, 23)), "X", "Y", "MT"]
LENGTHS: Mapping[str, Mapping[str, int]] = {
    "GRCh37": dict(zip(_NAMES, (
        249_250_621, 243_199_373, 198_022_430, 191_154_276, 180_915_260, 171_115_067, 159_138_663, 146_364_022, 141_213_431,
        135_534_747, 135_006_516, 133_851_895, 115_169_878, 107_349_540, 102_531_392, 90_354_753, 81_195_210, 78_077_248,
        59_128_983, 63_025_520, 48_129_895, 51_304_566, 155_270_560, 59_373_566, 16_569,
    ), strict=True)),
    "GRCh38": dict(zip(_NAMES, (
        248_956_422, 242_193_529, 198_295_559, 190_214_555, 181_538_259, 170_805_979, 159_345_973, 145_138_636, 138_394_717,
        133_797_422, 135_086_622, 133_275_309, 114_364_328, 107_043_718, 101_991_189, 90_338_345, 83_257_441, 80_373_285,
        58_617_616, 64_444_167, 46_709_983, 50_818_468, 156_040_895, 57_227_415, 16_569,
    ), strict=True)),
}  # fmt: skip
"""Bases of each chromosome, primary assembly (Genome Reference Consortium, GCA_000001405.1 and .15)."""


@dataclass(frozen=True, eq=False)
class Placed:
    """Positions of one side and the build they are said to be of.

    Parameters
    ----------
    what
        Who it is, as messages say it: "the genotypes".
    build
        "GRCh37", "GRCh38", or "" where it is not declared.
    chromosome, position
        Of each variant or gene; the position is the last base of a gene.
    """

    what: str
    build: str
    chromosome: np.ndarray
    position: np.ndarray


def plain(chromosome: np.ndarray) -> np.ndarray:
    """Names of chromosomes by which files meet: `chromosome_names`, and X for XY, whose positions are those of X."""
    codes, told = pd.factorize(np.asarray(chromosome, dtype=object))
    names = chromosome_names(pd.Series(told, dtype=object)).replace({"XY": "X"}).to_numpy(dtype=object)
    return names[codes] if len(names) else np.empty(0, dtype=object)


def beyond(chromosome: np.ndarray, position: np.ndarray, build: str) -> np.ndarray:
    """Which positions lie beyond the end of their chromosome, bool; never on chromosomes the assembly does not have."""
    lengths = LENGTHS[choose("build", build, BUILDS)]
    codes, names = pd.factorize(plain(chromosome))
    ends = np.array([lengths.get(str(name), np.iinfo(np.int64).max) for name in names], dtype=np.int64)
    return np.asarray(position) > ends[codes] if len(codes) else np.zeros(0, dtype=bool)


def agreed(one: Placed, two: Placed, step: str) -> tuple[str, tuple[str, ...]]:
    """The build that two sides share, "" where none is declared and positions do not tell, and what the log says of it.

    Raises
    ------
    GenotypeError
        If declared builds differ, positions lie beyond the ends of the chromosomes of the build, or positions of the two sides
        fit no build together.
    """
    for side in (one, two):
        choose(f"the build of {side.what}", side.build, ("", *BUILDS))
    if one.build and two.build and one.build != two.build:
        raise GenotypeError(
            f"{one.what} are on {one.build} and {two.what} on {two.build}. Both must be on the same build: take gene ranges or "
            f"annotations of {one.build}, or lift the positions over first (liftOver, CrossMap)."
        )
    build = one.build or two.build
    if build:
        for side, other in ((one, two), (two, one)):
            _inside(side, build, "" if side.build else f"; the build of {other.what} was taken for theirs")
        silent = [side.what for side in (one, two) if not side.build]
        return build, tuple(f"{step}: the build of {what} is not declared; taken to be {build}" for what in silent)
    fits = {b: [not beyond(side.chromosome, side.position, b).any() for side in (one, two)] for b in BUILDS}
    if not any(all(both) for both in fits.values()) and all(any(fits[b][i] for b in BUILDS) for i in (0, 1)):
        told = " and ".join(
            f"{side.what} {' or '.join(b for b in BUILDS if fits[b][i])}" for i, side in enumerate((one, two))
        )
        raise GenotypeError(
            f"no build is declared, and positions lie beyond the ends of chromosomes unless {told} is meant: "
            "they are on different builds. Lift one of them over, and declare `build`."
        )
    return "", (
        f"{step}: no genome build is declared on either side; positions were only compared with the ends of chromosomes",
    )


def _inside(side: Placed, build: str, why: str) -> None:
    outside = beyond(side.chromosome, side.position, build)
    if not outside.any():
        return
    shown = [f"{side.chromosome[i]}:{side.position[i]}" for i in np.flatnonzero(outside)[:5]]
    others = [b for b in BUILDS if b != build and not beyond(side.chromosome, side.position, b).any()]
    hint = f"All positions fit {others[0]}: declare that" if others else "They fit neither build: look at the positions"
    raise GenotypeError(
        f"{outside.sum():,} of {len(outside):,} positions of {side.what} lie beyond the end of their chromosome in {build}{why}: "
        f"{culprits(shown)}. {hint}."
    )

"""Mosaics: simulated people whose chromosomes are pieces of founder haplotypes, written as a .bed block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from vnn._atomic import replacing
from vnn.chance import generator
from vnn.data.genotypes.landscape import BLOCK, Landscape
from vnn.data.genotypes.pedigree import FAMILY, Pedigree
from vnn.data.genotypes.plink import MAGIC, VARIANT_MAJOR
from vnn.kernels.panels import transposed

REACH = np.array([0.02, 0.08, 0.5])  # cM over which the three hidden variables of a founder forget
SHARE = np.array([0.50, 0.35, 0.15])  # of the variance of their sum
SWITCHING = 1.0  # changes of the founder that a person copies, per cM
CHUNK = 4096  # people whose draws have one name; a multiple of 4 and of a family
BATCH = 1 << 26  # bytes of packed rows, and of alleles of founders, made before they are written
SHIFTS = np.arange(0, 2 * BLOCK, 2, dtype=np.uint32)
COPIES = np.array([2, -1, 1, 0], dtype=np.int8)
HALF = np.uint64(32)
LOW = np.uint64(0xFFFFFFFF)


@dataclass(frozen=True, eq=False)
class Taken:
    """Variants looked at while the genomes were made, before genotypes went missing.

    Parameters
    ----------
    dosages
        Copies of the counted allele, int8 (n_wanted, n_people).
    alleles
        Whether a founder carries the counted allele, bool (n_wanted, n_populations, n_founders).
    """

    dosages: np.ndarray
    alleles: np.ndarray


def write_mosaics(
    path: Path | str,
    landscape: Landscape,
    people: Pedigree,
    *,
    n_populations: int,
    n_founders: int,
    fst: float,
    missing: float,
    wanted: np.ndarray,
    seed: int,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Taken:
    """Draw genomes and write them as a .bed; in memory are two numbers for each person and one batch of variants.

    Founders: each population has `n_founders` haplotypes. The alleles of a variant go to the founders at one end of a hidden
    variable, the sum of three Ornstein-Uhlenbeck processes along the genetic map, so that frequencies are exact and r2 decays.
    Frequencies of populations part after Balding and Nichols (Beta with mean p and variance `fst` p (1 - p)).
    People: each haplotype copies a founder and changes to another at block borders, 1 time per cM on average (Li and Stephens,
    without mutation). Children get blocks of their parents' haplotypes with crossing over after Haldane.

    Every draw is named by seed, chromosome, block and, for people, by chunks of 4,096: more people leave the first as they are.

    Parameters
    ----------
    wanted
        Places of the variants to look at, ascending.
    tell
        Told how many variants are written, and of how many.

    References
    ----------
    doi:10.1007/BF01441146 (Balding and Nichols), doi:10.1093/genetics/165.4.2213 (Li and Stephens).
    """
    n_people, n_variants = people.n_people, len(landscape.variants)
    copied = np.zeros((2, n_people), dtype=np.int32)  # which founder each haplotype copies
    phase = np.zeros((2, n_people), dtype=bool)  # which haplotype of its father and mother a child gets
    dosages = np.empty((len(wanted), n_people), dtype=np.int8)
    alleles = np.empty((len(wanted), n_populations, n_founders), dtype=bool)
    width = max(BATCH // max(BLOCK * -(-n_people // 4), (BLOCK + 4) * n_populations * n_founders), 1)  # blocks at once
    begin = 0
    with replacing(path) as part, part.open("wb") as file:
        file.write(MAGIC + bytes([VARIANT_MAJOR]))
        for name, table in landscape.variants.groupby("chromosome", sort=False):
            blocks = _blocks(str(name), table, n_populations, n_founders, fst, seed)
            while held := [block for _, block in zip(range(width), blocks, strict=False)]:
                n = sum(len(block.alleles[0]) for block in held)
                rows = np.empty((n, -(-n_people // 4)), dtype=np.uint8)
                here = np.flatnonzero((wanted >= begin) & (wanted < begin + n))
                for number in here.tolist():
                    place, row = divmod(int(wanted[number]) - begin, BLOCK)
                    alleles[number] = held[place].alleles[:, row]
                for first in range(0, n_people, CHUNK):
                    at = slice(first, min(first + CHUNK, n_people))
                    chunk = _Chunk(first // CHUNK, people, at, copied[:, at], phase[:, at], n_founders, str(name), seed)
                    words = np.empty((len(held), at.stop - first), dtype="<u4")
                    for number, block in enumerate(held):
                        words[number] = chunk.words(block)
                    for number in here.tolist():
                        place, row = divmod(int(wanted[number]) - begin, BLOCK)
                        dosages[number, at] = COPIES[words[place] >> SHIFTS[row] & 3]
                    if missing:
                        for number, block in enumerate(held):
                            words[number] = chunk.without(words[number], block.number, missing)
                    by_person = np.ascontiguousarray(words.T).view(np.uint8)
                    transposed(by_person, n, out=rows[:, first // 4 : -(-at.stop // 4)])
                file.write(rows.data)
                begin += n
                tell(begin, n_variants)
    return Taken(dosages, alleles)


@dataclass(frozen=True, eq=False)
class _Block:
    """Up to 16 neighbouring variants: alleles of founders (populations, variants, founders), and the same as words of codes."""

    number: int
    distance: float  # cM from the block before; infinite for the first
    alleles: np.ndarray
    table: np.ndarray


def _blocks(
    chromosome: str, variants: pd.DataFrame, n_populations: int, n_founders: int, fst: float, seed: int
) -> Iterator[_Block]:
    cm, start, tail = (variants[name].to_numpy() for name in ("cm", "block_cm", "tail"))
    frequency, strong = variants["frequency"].to_numpy(), variants["strong"].to_numpy()
    step = np.diff(cm, prepend=np.nan)
    hidden = np.zeros((n_populations, len(REACH), n_founders), dtype=np.float32)
    for number, first in enumerate(range(0, len(variants), BLOCK)):
        at = slice(first, first + BLOCK)
        alleles = np.empty((n_populations, len(cm[at]), n_founders), dtype=bool)
        for population in range(n_populations):
            drawn = generator(seed, "founders", chromosome, number, population).standard_normal(
                (BLOCK, len(REACH), n_founders), dtype=np.float32
            )
            parted = _parted(frequency[at], strong[at], fst, generator(seed, "drift", chromosome, number, population))
            for row, place in enumerate(range(first, first + len(cm[at]))):
                if place:
                    kept = np.exp(-step[place] / REACH)
                    fresh = np.sqrt(1 - kept**2).astype(np.float32)[:, None] * drawn[row]
                    hidden[population] = kept.astype(np.float32)[:, None] * hidden[population] + fresh
                else:
                    hidden[population] = drawn[row]
                score = tail[place] * (np.sqrt(SHARE).astype(np.float32) @ hidden[population])
                alleles[population, row] = _lowest(score, round(n_founders * parted[row]))
        words = ((~alleles).astype(np.uint32) << SHIFTS[: alleles.shape[1], None]).sum(1, dtype=np.uint32)
        distance = start[first] - start[first - 1] if number else np.inf
        yield _Block(number, float(distance), alleles, words.reshape(-1))


def _parted(frequency: np.ndarray, strong: np.ndarray, fst: float, rng: np.random.Generator) -> np.ndarray:
    if not fst:
        return frequency
    size = (1 - fst) / fst
    wide = np.resize(frequency, BLOCK)
    return np.where(strong, frequency, rng.beta(wide * size, (1 - wide) * size)[: len(frequency)])


def _lowest(score: np.ndarray, n: int) -> np.ndarray:
    """Which n values are the smallest."""
    found = np.zeros(len(score), dtype=bool)
    found[np.argpartition(score, n - 1)[:n] if 0 < n < len(score) else slice(n)] = True
    return found


@dataclass(frozen=True, eq=False)
class _Chunk:
    """Up to 4,096 people and what they copy on this chromosome; `copied` and `phase` are views that `words` moves on."""

    number: int
    people: Pedigree
    at: slice
    copied: np.ndarray
    phase: np.ndarray
    n_founders: int
    chromosome: str
    seed: int

    def words(self, block: _Block) -> np.ndarray:
        """The genotypes of each person in a block as one word of 16 codes."""
        n = self.copied.shape[1]
        drawn = self._generator("mosaics", block.number).bit_generator.random_raw(2 * CHUNK).reshape(2, CHUNK)[:, :n]
        low = drawn & LOW
        families = min(max(FAMILY * self.people.families - self.at.start, 0), n) // FAMILY
        self._copy(drawn, low, block)
        if self.chromosome == "X":
            np.copyto(self.copied[1], self.copied[0], where=self.people.male[self.at])
        if families:
            self._inherit(low, block, families)
        one, other = block.table[self.copied[0]], block.table[self.copied[1]]
        return (one & other) | (one | other) << np.uint32(1)

    def _copy(self, drawn: np.ndarray, low: np.ndarray, block: _Block) -> None:
        fresh = ((drawn >> HALF) * np.uint64(self.n_founders) >> HALF).astype(np.int32)
        fresh += (self.people.population[self.at] * self.n_founders).astype(np.int32)
        changes = low < np.uint64(-np.expm1(-SWITCHING * block.distance) * 2**32)
        np.copyto(self.copied, fresh, where=changes)

    def _inherit(self, low: np.ndarray, block: _Block, families: int) -> None:
        crossing = -np.expm1(-2 * block.distance / 100) / 2
        crossed = low < np.uint64(crossing * 2**32)
        self.phase[:] ^= crossed
        copied = self.copied[:, : FAMILY * families].reshape(2, families, FAMILY)
        phase = self.phase[:, : FAMILY * families].reshape(2, families, FAMILY)
        for child in (2, 3):
            for parent in (0, 1):
                copied[parent, :, child] = np.where(phase[parent, :, child], copied[1, :, parent], copied[0, :, parent])
        if self.chromosome == "X":
            male = self.people.male[self.at][: FAMILY * families].reshape(families, FAMILY)
            for child in (2, 3):
                np.copyto(copied[0, :, child], copied[1, :, child], where=male[:, child])

    def without(self, words: np.ndarray, block: int, missing: float) -> np.ndarray:
        """The same words with some codes missing, each with the same chance."""
        rng, cells, most = self._generator("missing", block), [], -1
        expected = CHUNK * BLOCK * missing
        while most < CHUNK * BLOCK:
            cells.append(most + np.cumsum(rng.geometric(missing, int(expected + 6 * expected**0.5) + 16)))
            most = int(cells[-1][-1])
        person, slot = np.divmod(np.concatenate(cells), BLOCK)
        gone = np.zeros(CHUNK, dtype=np.uint32)
        inside = person < len(words)
        np.bitwise_or.at(gone, person[inside], np.uint32(1) << SHIFTS[slot[inside]])
        both = gone[: len(words)] * np.uint32(3)
        return words & ~both | gone[: len(words)]

    def _generator(self, purpose: str, block: int) -> np.random.Generator:
        return generator(self.seed, purpose, self.chromosome, block, self.number)

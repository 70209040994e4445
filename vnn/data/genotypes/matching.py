"""Matching: the variants of a study found among other genotypes by chromosome, position and alleles, whatever they are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from vnn._errors import AlignmentError, GenotypeError, choose, culprits
from vnn.data.genotypes.builds import Placed, agreed, plain
from vnn.data.genotypes.coding import NONE, ONE, TWO, ZERO, Coding
from vnn.data.genotypes.genotypes import Genotypes
from vnn.data.genotypes.orientation import AMBIGUOUS, COMPLEMENT, UNNAMED
from vnn.data.samples import Samples

SAME, SWAPPED, TURNED, BOTH = "same", "swapped", "other strand", "other strand, swapped"
ABSENT, ALLELES, SEVERAL, UNSURE, UNPLACED = "absent", "other alleles", "several", "strand unknown", "no place"
KINDS = (SAME, SWAPPED, TURNED, BOTH, ABSENT, ALLELES, SEVERAL, UNSURE, UNPLACED)
N_FOUND = 4  # of the kinds, those that are found
LOST = {
    ABSENT: "are not there", ALLELES: "have other alleles there", SEVERAL: "are there more than once",
    UNSURE: "are A/T or C/G, of unknown strand", UNPLACED: "have no position or no named allele in the study",
}  # fmt: skip
RULES = ("auto", "keep", "drop")
PAIR = ("counted", "other")
EXCHANGED = -50.0  # log-likelihood ratio below which allele names are taken for exchanged
FAR = 0.25


@dataclass(frozen=True, eq=False)
class Matched:
    """Genotypes of other people as a study counts them.

    Parameters
    ----------
    genotypes
        Those variants of the study that were found, in its order and by its ids; rows and alleles as their file has them.
    at
        The place of each of them among the variants of the study, int64 (n_found,).
    swapped
        Whether the file counts the other allele, bool (n_found,).
    table
        One row per variant of the study: `match` ("same", "swapped", "other strand", "other strand, swapped"; or why it is missing:
        "absent", "other alleles", "several", "strand unknown", "no place"), `found` (its id in the file, or ""), `ambiguous` (A/T
        or C/G), `frequency` of the counted allele in the study and `frequency here`, NaN where unknown.
    log
        How the variants met, a line for each finding.
    """

    genotypes: Genotypes
    at: np.ndarray
    swapped: np.ndarray
    table: pd.DataFrame
    log: tuple[str, ...]

    def coded(self, coding: Coding, ids: Sequence[str] | None = None) -> Samples:
        """The inputs of the study: its codebook, with the columns of two copies and none exchanged where alleles are swapped.

        Inputs of variants that were not found are not among the features.

        Parameters
        ----------
        coding
            Of the variants of the study, in its order.
        ids
            People; all unless given.
        """
        place = np.full(len(self.table), -1, dtype=np.int64)
        place[self.at] = np.arange(len(self.at))
        here = np.flatnonzero(place[coding.row] >= 0)
        row = place[coding.row[here]]
        book = coding.values[here]
        turned = self.swapped[row]
        book[turned] = book[turned][:, [ZERO, NONE, ONE, TWO]]
        own = Coding(tuple(coding.names[i] for i in here), row, book, coding.minor_counted[self.at] ^ self.swapped, ())
        return own.apply(self.genotypes if ids is None else self.genotypes.select(ids=ids))


def matched(
    genotypes: Genotypes,
    wanted: pd.DataFrame,
    *,
    build: Literal["", "GRCh37", "GRCh38"] = "",
    ambiguous: Literal["auto", "keep", "drop"] = "auto",
    least: float = 0.8,
) -> Matched:
    """The variants of a study among other genotypes.

    Variants meet by chromosome (by any of its usual names), position and the pair of alleles; ids only decide between several
    that fit. A file that counts the other allele is read by a swapped codebook, never rewritten. Single bases that fit on the other
    strand only are read there. An allele without a name (".", "0": nobody had a copy) is taken for the one that is lacking.

    A/T and C/G look alike on both strands. They are kept as they are named if no other variant is on the other strand, and left
    out as missing if one is ("auto"); or always kept, or left out.

    Parameters
    ----------
    wanted
        Variants of the study: index ids; `chromosome`, `position`, `counted`, `other`, and `frequency` of the counted allele where
        it is known.
    build
        Genome build of `wanted`.
    ambiguous
        What becomes of A/T and C/G: "auto", "keep" or "drop".
    least
        Share of the variants of the study that must be found.

    Raises
    ------
    GenotypeError
        If builds differ, or the names of the alleles are exchanged: frequencies fit far better the other way round.
    AlignmentError
        If fewer than `least` of the variants are found.
    """
    choose("ambiguous", ambiguous, RULES)
    here = genotypes.variants
    _, told = agreed(
        _placed("the variants of the study", build, wanted),
        _placed("the new genotypes", genotypes.build, here),
        "match",
    )
    kind, at = _matches(wanted, here)
    unsure = ambiguous_pairs(wanted)
    n_flipped = int(np.isin(kind, (KINDS.index(TURNED), KINDS.index(BOTH))).sum())
    leave = ambiguous == "drop" or (ambiguous == "auto" and n_flipped > 0)
    n_unsure = int((unsure & (kind < N_FOUND)).sum())
    if leave:
        kind[unsure & (kind < N_FOUND)] = KINDS.index(UNSURE)
    number = dict(zip(KINDS, np.bincount(kind, minlength=len(KINDS)).tolist(), strict=True))
    place = np.flatnonzero(kind < N_FOUND)
    if len(place) < least * len(wanted):
        raise AlignmentError(_too_few(wanted, here, number, least))
    rows = at[place]
    swapped = np.isin(kind[place], (KINDS.index(SWAPPED), KINDS.index(BOTH)))
    kept = here.iloc[rows].set_index(wanted.index[place])
    made = replace(genotypes, row=genotypes.row[rows], variants=kept)
    known = wanted["frequency"].to_numpy(dtype=float) if "frequency" in wanted else np.full(len(wanted), np.nan)
    own, compared = _compared(made, swapped, known[place])
    frequency = np.full(len(wanted), np.nan)
    frequency[place] = own
    names = np.full(len(wanted), "", dtype=object)
    names[at >= 0] = here.index.to_numpy()[at[at >= 0]]
    table = pd.DataFrame(
        {"match": _named(kind), "found": names, "ambiguous": unsure, "frequency": known, "frequency here": frequency},
        index=wanted.index,
    )
    used = len(np.unique(rows))
    log = (
        *told,
        *_told(wanted.index, kind, number, len(here) - used, len(here)),
        *_strands(n_unsure, n_flipped, ambiguous, leave),
        *compared,
    )
    return Matched(made.told(*log), place, swapped, table, log)


def match_variants(wanted: pd.DataFrame, here: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """How each wanted variant is found among others, and where, (n_wanted,) both; -1 where it is not.

    Parameters
    ----------
    wanted, here
        Index ids; `chromosome`, `position`, `counted`, `other`.
    """
    kind, at = _matches(wanted, here)
    return _named(kind), at


def ambiguous_pairs(variants: pd.DataFrame) -> np.ndarray:
    """Which variants are A/T or C/G, the same pair on both strands, bool."""
    (one, two), names = _alleles([variants])
    code = {name: at for at, name in enumerate(names)}
    found = np.zeros(len(variants), dtype=bool)
    for first, second in AMBIGUOUS:
        if first in code and second in code:
            found |= (one == code[first]) & (two == code[second])
    return found


def _matches(wanted: pd.DataFrame, here: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """`match_variants`, its words by their place in `KINDS`."""
    first, second = _pairs(wanted, here)
    (counted, other, mine, theirs), names = _alleles([wanted, here])
    complement, base, bare = _alphabet(names)
    a, b, c, d = counted[first], other[first], mine[second], theirs[second]
    same, swap = _fits(a, b, c, d, bare)
    single = base[a] & base[b] & base[c] & base[d]
    also, crossed = _fits(a, b, complement[c], complement[d], bare)
    turned = single & ~(same | swap) & (also | crossed)
    unnamed = bare[a] | bare[b] | bare[c] | bare[d]
    kind = np.select([same, swap, turned & also, turned & crossed], range(N_FOUND), KINDS.index(ALLELES))
    rank = np.select([kind >= N_FOUND, unnamed, turned], [0, 1, 2], 3)
    called = wanted.index.to_numpy()[first] == here.index.to_numpy()[second]
    found, at = _best(len(wanted), first, second, kind, rank, called)
    lost = (wanted["position"].to_numpy() <= 0) | (bare[counted] & bare[other])
    found[lost], at[lost] = KINDS.index(UNPLACED), -1
    return found, at


def _named(kind: np.ndarray) -> np.ndarray:
    return np.array(KINDS, dtype=object)[kind]


def _alleles(tables: Sequence[pd.DataFrame]) -> tuple[list[np.ndarray], np.ndarray]:
    """Codes of both alleles of the variants of each table, and the names of the codes in upper case."""
    columns = [pd.factorize(table[name]) for table in tables for name in PAIR]
    upper = [np.array([str(name).upper() for name in own], dtype=object) for _, own in columns]
    codes, names = pd.factorize(np.concatenate(upper))
    parts = np.split(codes, np.cumsum([len(own) for own in upper])[:-1])
    return [part[own] if len(part) else own for part, (own, _) in zip(parts, columns, strict=True)], names


def _pairs(wanted: pd.DataFrame, here: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Places of all pairs of a wanted variant and another at the same position."""
    chromosomes = [plain(table["chromosome"].to_numpy()) for table in (wanted, here)]
    codes, _ = pd.factorize(np.concatenate(chromosomes))
    position = np.concatenate([table["position"].to_numpy(dtype=np.int64) for table in (wanted, here)])
    key = codes.astype(np.int64) * (1 << 40) + position
    asked, there = key[: len(wanted)], key[len(wanted) :]
    near = np.flatnonzero(pd.Series(there).isin(asked).to_numpy())
    near = near[np.argsort(there[near], kind="stable")]
    low, high = (np.searchsorted(there[near], asked, side=side) for side in ("left", "right"))
    n = high - low
    first = np.repeat(np.arange(len(wanted)), n)
    step = np.arange(len(first)) - np.repeat(np.cumsum(n) - n, n)
    return first, near[np.repeat(low, n) + step]


def _alphabet(names: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every allele: the code of its complement, whether it is a single base or without a name, and the latter alone."""
    bare = np.isin(names, UNNAMED)
    base = bare | np.isin(names, list("ACGT"))
    code = {name: at for at, name in enumerate(names)}
    complement = np.array(
        [at if bare[at] or not base[at] else code.get(name.translate(COMPLEMENT), -1) for at, name in enumerate(names)],
        dtype=np.int64,
    )
    return complement, base, np.append(bare, False)


def _fits(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray, bare: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where the pair (c, d) is the pair (a, b), and where it is (b, a); what has no name fits, if the other allele is the same."""

    def alike(one: np.ndarray, two: np.ndarray) -> np.ndarray:
        return (one == two) | bare[one] | bare[two]

    def truly(one: np.ndarray, two: np.ndarray) -> np.ndarray:
        return (one == two) & ~bare[one]

    same = alike(a, c) & alike(b, d) & (truly(a, c) | truly(b, d))
    swap = ~same & alike(a, d) & alike(b, c) & (truly(a, d) | truly(b, c))
    return same, swap


def _best(
    n: int, first: np.ndarray, second: np.ndarray, kind: np.ndarray, rank: np.ndarray, called: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The pair of each wanted variant that fits best; of equals the one of the same id, or none."""
    found, at = np.full(n, KINDS.index(ABSENT)), np.full(n, -1, dtype=np.int64)
    highest = np.full(n, -1)
    score = 2 * rank + (called & (rank > 0))
    np.maximum.at(highest, first, score)
    best = score == highest[first]
    ties = np.bincount(first[best], minlength=n)
    found[first[best]], at[first[best]] = kind[best], second[best]
    found[(ties > 1) & (highest > 1)] = KINDS.index(SEVERAL)
    at[(ties > 1) | (highest <= 1)] = -1
    return found, at


def _compared(genotypes: Genotypes, swapped: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Frequency of the allele the study counts, and what it says beside that of the study."""
    counts = genotypes.counts()
    called = 2 * counts[:, [TWO, ONE, ZERO]].sum(1)
    copies = 2 * counts[:, TWO] + counts[:, ONE]
    copies = np.where(swapped, called - copies, copies)
    own = np.divide(copies, called, where=called > 0, out=np.full(len(called), np.nan))
    both = np.isfinite(known) & (called > 0)
    if not both.any():
        return own, ()
    p = np.clip(known[both], 0.01, 0.99)
    ratio = float(((2 * copies[both] - called[both]) * np.log(p / (1 - p))).sum())
    if ratio < EXCHANGED:
        raise GenotypeError(
            f"the names of the alleles seem to be exchanged: in {int(both.sum()):,} variants the allele the study counts has a "
            f"frequency that fits the other allele better (log-likelihood ratio {ratio:,.0f}). The study has frequencies like "
            f"{_shown(known[both])}, the new genotypes {_shown(own[both])}. Look at which allele column of the file is counted "
            "(A1 of a .bim) and write it again."
        )
    far = np.abs(own[both] - known[both]) > FAR
    names = culprits(genotypes.variants.index[both][far])
    line = (
        f"match: frequencies differ by {np.abs(own[both] - known[both]).mean():.3f} on average from those of the study"
    )
    if far.any():
        line += f", and by more than {FAR} in {int(far.sum()):,} of {len(far):,} variants: {names}"
    return own, (line,)


def _told(ids: pd.Index, kind: np.ndarray, number: dict[str, int], unused: int, n_here: int) -> list[str]:
    words = {SAME: "as they are", SWAPPED: "with the other allele counted", TURNED: "on the other strand",
             BOTH: "on the other strand with the other allele counted"}  # fmt: skip
    parts = [f"{number[one]:,} {what}" for one, what in words.items() if number[one]]
    n = sum(number[one] for one in words)
    lines = [f"match: {n:,} of {len(ids):,} variants of the study are there{': ' + ', '.join(parts) if parts else ''}"]
    lines += [
        f"match: {number[one]:,} variants {why} and become missing: {culprits(ids[kind == KINDS.index(one)])}"
        for one, why in LOST.items()
        if number[one]
    ]
    if unused:
        lines.append(f"match: {unused:,} of {n_here:,} variants of the new genotypes are not of the study and not used")
    return lines


def _strands(n: int, n_flipped: int, ambiguous: str, leave: bool) -> list[str]:
    if not n:
        return []
    why = {
        "keep": "taken as they are named, as asked",
        "drop": "left out, as asked",
        "auto": f"left out, since {n_flipped:,} others are on the other strand"
        if leave
        else "taken as they are named, since no other variant is on the other strand",
    }
    return [f"match: {n:,} variants are A/T or C/G, which look alike on both strands: {why[ambiguous]}"]


def _too_few(wanted: pd.DataFrame, here: pd.DataFrame, number: dict[str, int], least: float) -> str:
    n = sum(number[one] for one in KINDS[:N_FOUND])
    lost = "; ".join(f"{number[one]:,} {why}" for one, why in LOST.items() if number[one])
    common = wanted.index.intersection(here.index)
    moved = (wanted.loc[common, "position"].to_numpy() != here.loc[common, "position"].to_numpy()).sum()
    bare = here["counted"].isin(UNNAMED) & here["other"].isin(UNNAMED)
    chromosomes = set(plain(wanted["chromosome"].to_numpy())) - set(plain(here["chromosome"].to_numpy()))
    hints = []
    if moved > len(common) / 2:
        hints.append(
            f"{moved:,} of the {len(common):,} variants with the same id are at another position: the new genotypes are probably "
            "on another genome build; lift them over first"
        )
    if chromosomes:
        hints.append(f"no variant is on {culprits(sorted(chromosomes))}, where the study has some")
    if bare.mean() > 0.5:
        hints.append("the new genotypes name no alleles (GenNet's folder does not): take the fileset they were made of")
    if number[UNPLACED] > len(wanted) / 2:
        hints.append(
            "the study does not know the alleles or positions of its variants, as one of GenNet's folder without genotypes.bim: "
            "give them and run it again"
        )
    if number[UNSURE]:
        hints.append('ambiguous="keep" takes A/T and C/G as they are named')
    return (
        f"{n:,} of the {len(wanted):,} variants of the study ({n / max(len(wanted), 1):.0%}) are among the new genotypes; at least "
        f"{least:.0%} are needed. {lost}. {'. '.join(hints) or 'Impute the new genotypes, or train on the variants both have'}."
    )


def _placed(what: str, build: str, variants: pd.DataFrame) -> Placed:
    return Placed(what, build, variants["chromosome"].to_numpy(), variants["position"].to_numpy())


def _shown(values: np.ndarray) -> str:
    return ", ".join(f"{value:.2f}" for value in values[:5])

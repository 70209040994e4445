"""Coding: what the two copies of a variant are worth as a number, by the codebook that kernels read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vnn._errors import choose, culprits
from vnn.data.genotypes.genotypes import Genotypes
from vnn.data.samples import Samples
from vnn.data.scaling import IMPUTATIONS, METHODS, Scaling, centre_and_scale

CODINGS = ("additive", "dominant", "recessive", "genotype", "standardised")
MISSING = ("mean", "mode", "own")
TWO, NONE, ONE, ZERO = 0, 1, 2, 3  # codes: two copies of the counted allele, missing, one copy, no copy
BLOCK = 1 << 18
HET, HOM, GAP = ":het", ":hom", ":missing"

CodingName = Literal["additive", "dominant", "recessive", "genotype", "standardised"]
MissingName = Literal["mean", "mode", "own"]


@dataclass(frozen=True, eq=False)
class Coding:
    """Numbers for the genotypes of every variant, one column or several.

    Parameters
    ----------
    names
        Of the columns: the variant's id, with `:het`, `:hom` or `:missing` behind it where a variant has several.
    row
        The variant of each column, int64 (n_columns,).
    values
        The codebook, float32 (n_columns, 4): two copies of the counted allele, missing, one copy, none.
    minor_counted
        Whether the counted allele is the rarer one in the people it was fitted on, bool (n_variants,); equal counts as rarer.
    log
        Variants that say nothing in these people, counted.
    """

    names: tuple[str, ...]
    row: np.ndarray
    values: np.ndarray
    minor_counted: np.ndarray
    log: tuple[str, ...]

    @property
    def repeats(self) -> np.ndarray:
        """Columns of each variant, int64 (n_variants,)."""
        return np.bincount(self.row, minlength=len(self.minor_counted))

    def of(self, variants: np.ndarray) -> Coding:
        """That of some variants, by place in ascending order."""
        kept = np.isin(self.row, variants)
        names = tuple(name for name, own in zip(self.names, kept.tolist(), strict=True) if own)
        row = np.searchsorted(variants, self.row[kept])
        return Coding(names, row, self.values[kept], self.minor_counted[variants], self.log)

    def apply(self, genotypes: Genotypes) -> Samples:
        """The coded values (n_columns, n_people), 16 to 32 times the size of the genotypes, with their tables.

        What is predicted, covariates and groups come along. Columns are in the order of the variants of `genotypes`, which must be
        those the coding was fitted on.
        """
        made = np.empty((len(self.row), genotypes.n_people), dtype=np.float32)
        shifts = np.arange(0, 8, 2, dtype=np.uint8)
        first = np.concatenate([[0], np.cumsum(self.repeats)])
        for at, packed in genotypes.packed():
            codes = (packed[:, :, None] >> shifts & 3).reshape(len(packed), -1)[:, : genotypes.n_people]
            columns = slice(first[at.start], first[at.stop])
            book = self.values[columns]
            made[columns] = np.take_along_axis(book, codes[self.row[columns] - at.start].astype(np.intp), axis=1)
        made.flags.writeable = False
        return Samples(
            made, self.names, genotypes.ids, genotypes.targets, genotypes.covariates, genotypes.groups, genotypes.sources,
            (*genotypes.log, *self.log),
        )  # fmt: skip


def fit_coding(
    genotypes: Genotypes,
    coding: CodingName = "additive",
    *,
    missing: MissingName | Literal["nan"] = "mean",
    learners: np.ndarray | None = None,
) -> Coding:
    """The codebook of genotypes, fitted on those who learn.

    "additive" counts copies of the counted allele; "dominant" is 1 with at least one copy of the minor allele of the learners,
    "recessive" with two; "genotype" has a column for one and another for two copies of it, so that any value per genotype can be
    learnt; "standardised" is additive minus the mean, divided by the standard deviation of the learners.

    Parameters
    ----------
    missing
        What a missing genotype is worth: the "mean" of the column among the learners, the value of their most frequent
        genotype ("mode"), or the mean with a column of its own that says where genotypes are missing ("own", for variants that have
        any missing among the learners). "nan" leaves it open.
    learners
        Who learns, bool (n_people,); all unless given.

    Notes
    -----
    A variant without any genotype among the learners is worth 0 throughout; it and variants with one genotype only are
    counted in the log.
    """
    choose("coding", coding, CODINGS)
    choose("missing", missing, (*MISSING, "nan"))
    counts = genotypes.counts(learners)
    called = counts[:, [TWO, ONE, ZERO]].sum(1)
    copies = 2 * counts[:, TWO] + counts[:, ONE]
    minor = copies <= called
    n = len(counts)
    table = np.zeros((n, 4))
    parts: list[tuple[str, np.ndarray]]
    if coding in ("additive", "standardised"):
        table[:] = [2, np.nan, 1, 0]
        parts = [("", table)]
    else:
        two, zero = np.where(minor, TWO, ZERO), np.where(minor, ZERO, TWO)
        het, hom, rows = np.zeros((n, 4)), np.zeros((n, 4)), np.arange(n)
        het[:, ONE] = 1
        hom[rows, two] = 1
        either = het + hom
        assert not either[rows, zero].any()
        parts = {"dominant": [("", either)], "recessive": [("", hom)], "genotype": [(HET, het), (HOM, hom)]}[coding]
    columns = []
    for suffix, values in parts:
        filled = _filled(values, counts, missing)
        if coding == "standardised":
            filled = _standardised(filled, counts)
        columns.append((suffix, np.arange(n), filled))
    if missing == "own":
        gaps = np.flatnonzero(counts[:, NONE])
        columns.append((GAP, gaps, np.tile(np.eye(4)[NONE], (len(gaps), 1))))
    row = np.concatenate([at for _, at, _ in columns])
    order = np.argsort(row, kind="stable")
    ids = genotypes.variants.index
    names = [f"{ids[i]}{suffix}" for suffix, at, _ in columns for i in at]
    book = np.concatenate([values for *_, values in columns]).astype(np.float32)[order]
    return Coding(tuple(names[i] for i in order), row[order], book, minor, _told(genotypes, counts, called))


def _filled(values: np.ndarray, counts: np.ndarray, missing: str) -> np.ndarray:
    known = [TWO, ONE, ZERO]
    called = counts[:, known].sum(1)
    held = values[:, known]
    filled = values.copy()
    if missing == "nan":
        filled[:, NONE] = np.nan
    elif missing == "mode":
        filled[:, NONE] = held[np.arange(len(held)), counts[:, known].argmax(1)]
    else:
        filled[:, NONE] = (held * counts[:, known]).sum(1) / np.maximum(called, 1)
    filled[called == 0] = 0 if missing != "nan" else np.nan
    return filled


def _standardised(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    known = [TWO, ONE, ZERO]
    n = np.maximum(counts[:, known].sum(1), 1)
    mean = (values[:, known] * counts[:, known]).sum(1) / n
    variance = ((values[:, known] - mean[:, None]) ** 2 * counts[:, known]).sum(1) / n
    sd = np.sqrt(variance)
    return (values - mean[:, None]) / np.where(sd > 0, sd, 1.0)[:, None]


def _told(genotypes: Genotypes, counts: np.ndarray, called: np.ndarray) -> tuple[str, ...]:
    ids = genotypes.variants.index
    empty = called == 0
    alike = ~empty & (counts[:, [TWO, ONE, ZERO]].max(1) == called)
    lines = ((empty, "no genotype"), (alike, "one genotype only"))
    return tuple(
        f"coding: {which.sum():,} variants have {what} among those who learn and say nothing: {culprits(ids[which])}"
        for which, what in lines
        if which.any()
    )


def scaling_of(coding: Coding, counts: np.ndarray, *, method: str = "standard", impute: str | None = None) -> Scaling:
    """`vnn.data.fit_scaling` of coded genotypes, from how often each code occurs.

    Parameters
    ----------
    coding
        One column or several of each variant.
    counts
        Of the codes of each variant among those who learn, int64 (n_variants, 4).
    method, impute
        As for `fit_scaling`.

    Raises
    ------
    ValueError
        If genotypes are missing and `impute` is None.
    """
    choose("method", method, METHODS)
    if impute is not None:
        choose("impute", impute, IMPUTATIONS)
    gaps = np.isnan(coding.values[:, NONE]) & (counts[coding.row, NONE] > 0)
    if impute is None and gaps.any():
        where = np.unique(coding.row[gaps])
        raise ValueError(
            f"{counts[where, NONE].sum():,} genotypes of {len(where):,} of {len(counts):,} variants are missing in these people: "
            f"{culprits([coding.names[i] for i in np.flatnonzero(gaps)[:6]])}. Choose impute={' or '.join(IMPUTATIONS)}, or a "
            "coding with a number for missing ones."
        )
    parts = [
        _scaling_of(coding.values[at : at + BLOCK], counts[coding.row[at : at + BLOCK]], method, impute)
        for at in range(0, len(coding.row), BLOCK)
    ]
    centre, scale, fill = (np.concatenate([part[i] for part in parts]) if parts else np.empty(0) for i in range(3))
    return Scaling(centre, scale, None if impute is None else fill)


def moments_of(coding: Coding, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How many genotypes of each column have a number, and their mean and standard deviation, from how often each code occurs."""
    n_each, numbers = _known(coding.values, counts[coding.row])
    n = n_each.sum(1)
    mean = (numbers * n_each).sum(1) / np.maximum(n, 1)
    return n, mean, np.sqrt(((numbers - mean[:, None]) ** 2 * n_each).sum(1) / np.maximum(n, 1))


def _known(values: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts and numbers of the codes that are worth a number, 0 elsewhere."""
    gaps = np.isnan(values)
    return np.where(gaps, 0, counts), np.where(gaps, 0.0, values.astype(np.float64))


def _scaling_of(values: np.ndarray, counts: np.ndarray, method: str, impute: str | None) -> tuple[np.ndarray, ...]:
    n_each, numbers = _known(values, counts)
    n = n_each.sum(1)
    count = np.maximum(n, 1)
    low = np.where(n, np.where(n_each > 0, numbers, np.inf).min(1), 0.0)
    high = np.where(n, np.where(n_each > 0, numbers, -np.inf).max(1), 0.0)
    mean = np.clip((numbers * n_each).sum(1) / count, low, high)

    def deviation() -> np.ndarray:
        return np.sqrt(((numbers - mean[:, None]) ** 2 * n_each).sum(1) / count)

    centre, scale = centre_and_scale(method, mean, deviation, low, high)
    fill = np.zeros(len(values))
    if impute == "mean":
        fill = mean
    elif impute == "median":
        order = np.argsort(np.where(n_each > 0, numbers, np.inf), axis=1)
        ranked, until = np.take_along_axis(numbers, order, 1), np.cumsum(np.take_along_axis(n_each, order, 1), axis=1)
        middle = [
            np.take_along_axis(ranked, (until <= at[:, None]).sum(1)[:, None] % 4, 1)[:, 0]
            for at in ((n - 1) // 2, n // 2)
        ]
        fill = np.where(n, (middle[0] + middle[1]) / 2, 0.0)
    return centre, scale, fill

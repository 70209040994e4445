"""Quality of variants and people: what is called, how often, in which proportions, and in whom."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from copy import copy
from dataclasses import replace

import numpy as np
import pandas as pd

from vnn._errors import AlignmentError, GenotypeError, culprits
from vnn.data.genotypes.genotypes import Genotypes, Part
from vnn.data.genotypes.hardy import hardy_weinberg
from vnn.data.genotypes.unpacked import missing_in

AUTOSOMES = tuple(str(number) for number in range(1, 23))
FEMALE_AT_MOST, MALE_AT_LEAST = 0.2, 0.8  # F of X heterozygosity, plink --check-sex


def part_of(genotypes: Genotypes, variants: np.ndarray | None = None, people: np.ndarray | None = None) -> Genotypes:
    """The variants and people at these places (bool, or distinct int64); a part of unique names is not looked at again."""
    if variants is not None and not (variants.dtype == bool and variants.all()):
        at = np.flatnonzero(variants) if variants.dtype == bool else variants
        made = copy(genotypes)
        object.__setattr__(made, "row", genotypes.row[at])
        object.__setattr__(made, "variants", genotypes.variants.iloc[at])
        genotypes = made
    if people is not None and not (people.dtype == bool and people.all()):
        genotypes = genotypes.select(ids=genotypes.people.index[people])
    return genotypes


def among(genotypes: Genotypes, ids: Iterable[str] | None, what: str) -> np.ndarray:
    """Who of the people is one of these, bool (n_people,); everybody for None.

    Raises
    ------
    GenotypeError
        If nobody is.
    """
    if ids is None:
        return np.ones(genotypes.n_people, dtype=bool)
    named = set([ids] if isinstance(ids, str) else ids)
    found = genotypes.people.index.isin(named)
    if not found.any():
        raise GenotypeError(
            f"none of the {genotypes.n_people:,} people is among the {len(named):,} {what} given: people are called like "
            f"{culprits(genotypes.people.index[:3])}, {what} like {culprits(sorted(map(str, named))[:3])}."
        )
    return found


def variant_quality(
    genotypes: Genotypes,
    *,
    training: Collection[str] | None = None,
    controls: Collection[str] | None = None,
    unrelated: Collection[str] | None = None,
    populations: pd.Series | None = None,
) -> pd.DataFrame:
    """Call rate, frequency and Hardy-Weinberg p of every variant.

    Variants of X outside the pseudo-autosomal regions are judged by females, those of Y by males; X in females is tested for
    Hardy-Weinberg as an autosome is, Y and MT are not tested.

    Parameters
    ----------
    training
        People whose frequencies are taken; everybody unless given. Call rates are those of everybody.
    controls, unrelated
        People in whom Hardy-Weinberg is tested, those who are both; everybody unless given.
    populations
        Population of each person, by id; each is tested by itself, and the smallest p is given. One unless given.

    Returns
    -------
    One row per variant: `people` whose genotype could be known, how many have `two`, `one` and `none` copies of the counted
    allele or are `missing`, `call_rate`, `frequency` of the counted allele and of the rarer one (`maf`), people `tested` and
    `hardy_p`. NaN where nobody is.

    Raises
    ------
    GenotypeError
        If there are variants of X and nobody is female, or of Y and nobody is male; if no control is here.
    AlignmentError
        If a person has no population.
    """
    who = among(genotypes, training, "training people")
    tested = among(genotypes, controls, "controls") & among(genotypes, unrelated, "unrelated people")
    if not tested.any():
        raise GenotypeError("none of the controls is among the unrelated people; Hardy-Weinberg needs people in both.")
    groups = population_groups(genotypes, populations)
    chromosome = genotypes.variants["chromosome"].to_numpy()
    counts = np.zeros((genotypes.n_variants, 4), dtype=np.int64)
    taken, people = counts, np.zeros(genotypes.n_variants, dtype=np.int64)
    if training is not None:
        taken = np.zeros_like(counts)
    p = np.full(genotypes.n_variants, np.nan)
    n_tested = np.zeros(genotypes.n_variants, dtype=np.int64)
    for some, right in _judged(genotypes, chromosome):
        here = part_of(genotypes, some)
        counts[some] = all_of_them = here.counts(right)
        people[some] = genotypes.n_people if right is None else right.sum()
        right = np.ones(genotypes.n_people, dtype=bool) if right is None else right
        if training is not None:
            taken[some] = here.counts(right & who)
        if len(here.row) and here.variants["chromosome"].iloc[0] in ("Y", "MT"):
            continue
        least = np.full(here.n_variants, np.inf)
        n = np.zeros(here.n_variants, dtype=np.int64)
        for group in groups:
            ours = right & tested & group
            seen = all_of_them if ours.all() else here.counts(ours)
            n += _called(seen)
            least = np.fmin(least, hardy_weinberg(seen[:, [0, 2, 3]]))
        p[some] = np.where(n > 0, least, np.nan)
        n_tested[some] = n
    called = _called(taken)
    frequency = _share(2 * taken[:, 0] + taken[:, 2], 2 * called)
    found = {
        "people": people, "two": counts[:, 0], "one": counts[:, 2], "none": counts[:, 3], "missing": counts[:, 1],
        "call_rate": _share(people - counts[:, 1], people), "frequency": frequency,
        "maf": np.minimum(frequency, 1 - frequency), "tested": n_tested, "hardy_p": p,
    }  # fmt: skip
    return pd.DataFrame(found, index=genotypes.variants.index)


def person_quality(genotypes: Genotypes, *, frequency: np.ndarray | None = None) -> pd.DataFrame:
    """Call rate and heterozygosity of every person over all variants here, as plink --het: give it autosomes only.

    F = (O - E) / (n - E) with O homozygous of n called genotypes, and E of them expected: a variant adds 1 - 2 p (1 - p).

    Parameters
    ----------
    frequency
        Of the counted allele, float64 (n_variants,), where it is not to be taken from these people.

    Returns
    -------
    One row per person: `variants`, `missing`, `call_rate`, `heterozygosity` (share of called genotypes), `f`; NaN where nothing
    is called or nothing can vary.

    References
    ----------
    Purcell et al. 2007, doi:10.1086/519795
    """
    seen = genotypes.person_counts()
    called = _called(seen)
    if frequency is None:
        counts = genotypes.counts()
        frequency = _share(2 * counts[:, 0] + counts[:, 2], 2 * _called(counts))
    het = np.nan_to_num(2 * frequency * (1 - frequency))
    return _inbreeding(genotypes, seen, called, het)


def _inbreeding(genotypes: Genotypes, seen: np.ndarray, called: np.ndarray, het: np.ndarray) -> pd.DataFrame:
    expected = np.full(genotypes.n_people, het.sum())
    for at, rows in genotypes.packed():
        row, column = missing_in(rows, genotypes.n_people)
        expected -= np.bincount(column, weights=het[at][row], minlength=genotypes.n_people)
    found = {
        "variants": genotypes.n_variants,
        "missing": seen[:, 1],
        "call_rate": _share(called, np.full(len(called), genotypes.n_variants)),
        "heterozygosity": _share(seen[:, 2], called),
        "f": np.where(expected > 1e-9, 1 - _share(seen[:, 2], expected), np.nan),
    }
    return pd.DataFrame(found, index=genotypes.people.index)


def haploid_calls_missing(genotypes: Genotypes) -> tuple[Genotypes, pd.Series]:
    """With calls that cannot be set missing.

    These are heterozygous males on X and Y outside the pseudo-autosomal regions, heterozygous people on MT, and any genotype of a
    female on Y. A chromosome with such calls is copied into memory, two bits each; all others stay where they are.

    Returns
    -------
    The genotypes, and how many calls each person lost.
    """
    chromosome = genotypes.variants["chromosome"].to_numpy()
    sex = genotypes.people["sex"].to_numpy()
    male, female, everybody = sex == "male", sex == "female", np.ones(genotypes.n_people, dtype=bool)
    lost = np.zeros(genotypes.n_people, dtype=np.int64)
    copied: list[np.ndarray] = []
    places: list[np.ndarray] = []
    for name, haploid, nobody in (("X", male, None), ("Y", ~female, female), ("MT", everybody, None)):
        some = np.flatnonzero(chromosome == name)
        mended: list[np.ndarray] = []
        before = lost.sum()
        for _, rows in part_of(genotypes, some).packed() if len(some) else ():
            wrong = rows >> 1 & ~rows & _bits(haploid)
            if nobody is not None:
                wrong |= (rows >> 1 | ~rows) & _bits(nobody)
            lost += _per_person(wrong, genotypes.n_people)
            mended.append((rows & ~(wrong << 1)) | wrong)
        if lost.sum() > before:
            copied += mended
            places.append(some)
    if not copied:
        return genotypes, pd.Series(lost, index=genotypes.people.index, name="haploid")
    own = Part(np.concatenate(copied), np.arange(genotypes.n_people))
    row = genotypes.row.copy()
    row[np.concatenate(places)] = sum(len(part.rows) for part in genotypes.parts) + np.arange(len(own.rows))
    made = replace(genotypes, parts=(*genotypes.parts, own), row=row)
    return made, pd.Series(lost, index=genotypes.people.index, name="haploid")


def sex_check(genotypes: Genotypes, *, least_maf: float = 0.0) -> pd.DataFrame:
    """What heterozygosity on X says of each person's sex, beside what is told, as plink --check-sex.

    F is that of `person_quality` over X outside the pseudo-autosomal regions, by frequencies in which a male counts one allele.

    Parameters
    ----------
    least_maf
        Rarer variants are left out.

    Returns
    -------
    One row per person: `told`, `found` ("female" for F below 0.2, "male" above 0.8, "" between), `f`, `variants`, and whether
    they agree (`agrees`): True unless both are known and differ.

    Raises
    ------
    GenotypeError
        If there is no variant of X.
    """
    chromosome = genotypes.variants["chromosome"].to_numpy()
    here = part_of(genotypes, chromosome == "X")
    if not here.n_variants:
        raise GenotypeError(
            f"sex cannot be checked: none of the {genotypes.n_variants:,} variants is on X outside the pseudo-autosomal regions; "
            f"there are {culprits(dict.fromkeys(chromosome), 8)}."
        )
    male = (here.people["sex"] == "male").to_numpy()
    counts, men = here.counts(), here.counts(male)
    alleles = 2 * _called(counts) - _called(men) - men[:, 2]
    copies = 2 * counts[:, 0] + counts[:, 2] - men[:, 0] - men[:, 2]
    p = _share(copies, alleles)
    common = np.minimum(p, 1 - p) > least_maf
    here, p = part_of(here, common), p[common]
    seen = here.person_counts()
    table = _inbreeding(here, seen, _called(seen), 2 * p * (1 - p))
    found = np.where(table["f"] > MALE_AT_LEAST, "male", np.where(table["f"] < FEMALE_AT_MOST, "female", ""))
    told = here.people["sex"].to_numpy()
    agrees = (found == told) | (found == "") | (told == "")
    return pd.DataFrame(
        {
            "told": told,
            "found": found,
            "f": table["f"],
            "variants": here.n_variants - table["missing"],
            "agrees": agrees,
        },
        index=here.people.index,
    )


def _judged(genotypes: Genotypes, chromosome: np.ndarray) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Variants, and the people they are judged by; None for everybody."""
    sex = genotypes.people["sex"].to_numpy()
    judged: list[tuple[np.ndarray, np.ndarray | None]] = []
    special = np.isin(chromosome, ["X", "Y", "MT"]) if len(chromosome) else np.zeros(0, dtype=bool)
    if not special.all() or not len(chromosome):
        judged.append((~special, None))
    for name, wanted in (("X", "female"), ("Y", "male"), ("MT", None)):
        some = chromosome == name
        if not some.any():
            continue
        right = None if wanted is None else sex == wanted
        if right is not None and not right.any():
            raise GenotypeError(
                f"{int(some.sum()):,} variants are on {name}, which is judged by {wanted}s, and none of the "
                f"{genotypes.n_people:,} people is told to be {wanted}. Give their sex in the .fam, or leave {name} out."
            )
        judged.append((some, right))
    return judged


def called_in(genotypes: Genotypes) -> tuple[np.ndarray, np.ndarray]:
    """People whose genotype of each variant could be known (all; females on X, males on Y), and how many of them are called."""
    people, called = np.zeros((2, genotypes.n_variants), dtype=np.int64)
    for some, right in _judged(genotypes, genotypes.variants["chromosome"].to_numpy()):
        counts = part_of(genotypes, some).counts(right)
        people[some], called[some] = counts.sum(1), _called(counts)
    return people, called


def population_groups(genotypes: Genotypes, populations: pd.Series | None) -> list[np.ndarray]:
    """Who of the people is of each population, bool (n_people,) each; one of everybody for None.

    Raises
    ------
    AlignmentError
        If a person has none.
    """
    if populations is None:
        return [np.ones(genotypes.n_people, dtype=bool)]
    told = populations.reindex(genotypes.people.index)
    if told.isna().any():
        without = told.index[told.isna()]
        raise AlignmentError(
            f"{len(without):,} of the {genotypes.n_people:,} people have no population: {culprits(without)}. Name one for each."
        )
    return [(told == name).to_numpy() for name in sorted(set(told))]


def _called(counts: np.ndarray) -> np.ndarray:
    """How many have a genotype, of counts of the four codes."""
    return counts[:, 0] + counts[:, 2] + counts[:, 3]


def _share(of: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(of, whole, where=whole > 0, out=np.full(len(whole), np.nan))


def _bits(who: np.ndarray) -> np.ndarray:
    """The lower bit of each of these people, as in packed rows."""
    padded = np.zeros(-(-len(who) // 4) * 4, dtype=np.uint8)
    padded[: len(who)] = who
    return padded.reshape(-1, 4) @ np.array([1, 4, 16, 64], dtype=np.uint8)


def _per_person(bits: np.ndarray, n: int) -> np.ndarray:
    return np.stack([(bits >> shift & 1).sum(0, dtype=np.int64) for shift in (0, 2, 4, 6)], 1).reshape(-1)[:n]

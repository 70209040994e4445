"""Quality control: which variants and people stay, one counted step after the other."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from vnn._errors import GenotypeError, culprits
from vnn.data.genotypes.genotypes import Genotypes
from vnn.data.genotypes.kinship import DUPLICATE, SECOND, families, relatives, unrelated
from vnn.data.genotypes.quality import (
    AUTOSOMES,
    among,
    called_in,
    haploid_calls_missing,
    part_of,
    person_quality,
    population_groups,
    sex_check,
    variant_quality,
)

FAMILY = "family"
_LEAST_X = 100  # variants of X below which heterozygosity says too little of sex
_SHARES = ("variant_call_rate", "person_call_rate", "maf", "hardy")


@dataclass(frozen=True)
class Thresholds:
    """What must hold for variants and people to stay; None leaves a step out.

    Parameters
    ----------
    chromosomes
        Which are kept; autosomes unless given.
    variant_call_rate, person_call_rate
        Least share of people called in a variant, and of variants called in a person.
    sex
        Whether people whose X contradicts the sex told of them go.
    heterozygosity
        Standard deviations of F that a person may be away from the mean of the population.
    duplicates
        Kinship from which two people are one, or twins: the one with fewer calls goes.
    kinship
        Kinship from which people are of one family, and from which only one of them is tested for Hardy-Weinberg.
    kinship_variants
        Autosomal variants kinship is computed on: evenly spaced among those with a minor allele frequency of 0.05 or more, or
        among all if fewer than a tenth of these many are so common.
    maf
        Least minor allele frequency.
    hardy
        Least mid-p of the exact test.
    """

    chromosomes: tuple[str, ...] = AUTOSOMES
    variant_call_rate: float | None = 0.98
    person_call_rate: float | None = 0.98
    sex: bool = True
    heterozygosity: float | None = 3.0
    duplicates: float | None = DUPLICATE
    kinship: float | None = SECOND
    kinship_variants: int = 50_000
    maf: float | None = 0.01
    hardy: float | None = 1e-6

    def __post_init__(self) -> None:
        for name in _SHARES:
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise GenotypeError(f"{name} is {value:g}; a share between 0 and 1, or None, is needed.")
        for name in ("heterozygosity", "duplicates", "kinship", "kinship_variants"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise GenotypeError(f"{name} is {value:g}; a number above 0 is needed.")


@dataclass(frozen=True, eq=False)
class Quality:
    """What a quality control found.

    Parameters
    ----------
    genotypes
        What stays, with a line of the log for each step, and `groups` with the column "family".
    steps
        One row per step: `step`, `unit` ("variants" or "people"), `removed`, `kept`, `examples` (the first three names).
    variants
        One row per variant that was there: `call_rate` (NaN where its chromosome was not asked for), the other columns of
        `variant_quality` in those who stay (for variants that came so far), and `removed`, the step it went in, or "".
    people
        One row per person that was there: `call_rate`, `heterozygosity`, `f`, `haploid` calls set missing, `sex_found` and `x_f`,
        `family`, `relatives` (their number), `removed`.
    relatives
        Pairs, as `vnn.data.genotypes.kinship.relatives` gives them, of those who were there at that step.
    thresholds
        What was asked for.
    """

    genotypes: Genotypes
    steps: pd.DataFrame
    variants: pd.DataFrame
    people: pd.DataFrame
    relatives: pd.DataFrame
    thresholds: Thresholds = field(default_factory=Thresholds)

    def __str__(self) -> str:
        names = ("step", "unit", "removed", "kept", "examples")
        rows = [
            names,
            *((a, b, f"{c:,}", f"{d:,}", e) for a, b, c, d, e in self.steps[list(names)].itertuples(index=False)),
        ]
        step, unit, removed, kept = (max(len(row[at]) for row in rows) for at in range(4))
        return "\n".join(f"{a:{step}}  {b:{unit}}  {c:>{removed}}  {d:>{kept}}  {e}".rstrip() for a, b, c, d, e in rows)


def quality_control(
    genotypes: Genotypes,
    thresholds: Thresholds | None = None,
    *,
    controls: Collection[str] | None = None,
    training: Collection[str] | None = None,
    populations: pd.Series | None = None,
    pairs: pd.DataFrame | None = None,
) -> Quality:
    """Variants and people of good quality, and the account of all others.

    In this order: chromosomes, haploid calls, call rates of variants, then of people, sex, heterozygosity, duplicates, families,
    frequency, Hardy-Weinberg. Nothing looks at a target; only Hardy-Weinberg knows who the controls are.

    Parameters
    ----------
    thresholds
        `Thresholds()` unless given.
    controls
        Ids of the people in whom Hardy-Weinberg is tested, those of each family but one left out; everybody unless given.
    training
        Ids of the people whose frequencies decide on `maf`; everybody unless given.
    populations
        Population by person id: heterozygosity is compared, and Hardy-Weinberg tested, within each.
    pairs
        Related people, as `relatives` or `read_kinship` gives them; computed unless given.

    Returns
    -------
    `Quality`.

    Raises
    ------
    GenotypeError
        If a step leaves nothing, no control or training person is left, or X is asked for and nobody is female.

    References
    ----------
    Anderson et al. 2010, doi:10.1038/nprot.2010.116
    """
    return _Account(genotypes, thresholds or Thresholds(), populations).controlled(controls, training, pairs)


class _Account:
    """The genotypes that are left, and what was found on the way."""

    def __init__(self, genotypes: Genotypes, thresholds: Thresholds, populations: pd.Series | None) -> None:
        self.all, self.left, self.asked, self.populations = genotypes, genotypes, thresholds, populations
        population_groups(genotypes, populations)
        self.steps: list[tuple[str, str, int, int, str]] = []
        self.log: list[str] = []
        self.lost_variants = np.full(genotypes.n_variants, "", dtype=object)
        self.lost_people = pd.Series("", index=genotypes.people.index, dtype=object)
        self.variants = pd.DataFrame(
            {"call_rate": np.full(genotypes.n_variants, np.nan)}, index=genotypes.variants.index
        )
        self.people = pd.DataFrame(index=genotypes.people.index)
        self.at = np.arange(genotypes.n_variants)

    def controlled(
        self, controls: Collection[str] | None, training: Collection[str] | None, pairs: pd.DataFrame | None
    ) -> Quality:
        asked = self.asked
        self._chromosomes()
        self._haploid()
        self._called()
        if asked.sex:
            self._sex()
        self._heterozygosity()
        pairs = self._kin(pairs)
        self._frequencies(controls, training, pairs)
        made = self.left
        family = self.people[FAMILY].loc[list(made.ids)]
        if FAMILY in made.groups:
            raise GenotypeError(
                "`groups` have a column 'family' already; rename or drop it, quality control makes one."
            )
        made = replace(made, groups=made.groups.assign(**{FAMILY: family})).told(*self.log)
        steps = pd.DataFrame(self.steps, columns=["step", "unit", "removed", "kept", "examples"])
        variants = self.variants.assign(removed=self.lost_variants)
        people = self.people.assign(removed=self.lost_people)
        return Quality(made, steps, variants, people, pairs, asked)

    def _take(self, step: str, unit: str, gone: np.ndarray) -> None:
        """Leave out what is marked, bool over the variants or people left."""
        table = self.left.variants if unit == "variants" else self.left.people
        n, names = int(gone.sum()), list(table.index[gone][:3])
        kept = len(gone) - n
        self.steps.append((step, unit, n, kept, ", ".join(names)))
        named = f": {culprits(table.index[gone], 3)}" if n else ""
        self.log.append(f"quality control: {step}: {n:,} of {len(gone):,} {unit} removed{named}")
        if not kept:
            done = "; ".join(f"{step}: {kept:,} {of} left" for step, of, _, kept, _ in self.steps)
            raise GenotypeError(
                f"no {unit} are left after the step '{step}', which removed {n:,}. So far: {done}. Loosen `Thresholds`, or look at "
                "the file: a wrong chromosome naming or many people of a bad batch do this."
            )
        if not n:
            return
        if unit == "variants":
            self.lost_variants[self.at[gone]] = step
            self.at = self.at[~gone]
            self.left = part_of(self.left, ~gone)
        else:
            self.lost_people[table.index[gone]] = step
            self.left = part_of(self.left, None, ~gone)

    def _chromosomes(self) -> None:
        there = self.left.variants["chromosome"]
        asked = self.asked.chromosomes
        name = "on autosomes" if asked == AUTOSOMES else f"on {', '.join(asked)}"
        self._take(f"not {name}", "variants", ~there.isin(asked).to_numpy())

    def _haploid(self) -> None:
        self.left, lost = haploid_calls_missing(self.left)
        self.people["haploid"] = lost
        if lost.sum():
            self.log.append(
                f"quality control: {int(lost.sum()):,} calls of {int((lost > 0).sum()):,} people that cannot be (heterozygous "
                "males on X or Y, heterozygous on MT, females on Y) are set missing"
            )

    def _called(self) -> None:
        people, called = called_in(self.left)
        rate = np.divide(called, people, where=people > 0, out=np.zeros(len(people)))
        self.variants.loc[self.lost_variants == "", "call_rate"] = rate
        if (least := self.asked.variant_call_rate) is not None:
            self._take("called in nobody", "variants", called == 0)
            self._take(f"called in less than {_percent(least)}", "variants", rate[called > 0] < least)
        own = person_quality(part_of(self.left, (self.left.variants["chromosome"] != "Y").to_numpy()))
        self.people["call_rate"] = own["call_rate"]
        if (least := self.asked.person_call_rate) is not None:
            self._take(f"less than {_percent(least)} called", "people", (own["call_rate"] < least).to_numpy())

    def _sex(self) -> None:
        self.people["sex_found"], self.people["x_f"] = "", np.nan
        on_x = (self.all.variants["chromosome"] == "X").to_numpy()
        if on_x.sum() < _LEAST_X:
            self.log.append(
                f"quality control: sex is not checked: {int(on_x.sum()):,} variants are on X, and {_LEAST_X:,} are needed"
            )
            return
        found = sex_check(part_of(self.all, on_x).select(ids=self.left.ids))
        self.people.loc[found.index, "sex_found"] = found["found"]
        self.people.loc[found.index, "x_f"] = found["f"]
        unclear, untold = int((found["found"] == "").sum()), int((found["told"] == "").sum())
        self.log.append(
            f"quality control: sex by X is unclear in {unclear:,} people and none is told of {untold:,}; both stay"
        )
        self._take("sex of X is not the one told", "people", ~found["agrees"].to_numpy())

    def _heterozygosity(self) -> None:
        autosomal = self.left.variants["chromosome"].isin(AUTOSOMES).to_numpy()
        own = person_quality(part_of(self.left, autosomal))
        self.people["heterozygosity"], self.people["f"] = own["heterozygosity"], own["f"]
        most = self.asked.heterozygosity
        if most is None:
            return
        if not autosomal.any():
            self.log.append("quality control: heterozygosity is not judged: no variant is on an autosome")
            return
        gone = np.zeros(self.left.n_people, dtype=bool)
        for group in population_groups(self.left, self.populations):
            f = own["f"].to_numpy()[group]
            if np.isfinite(f).sum() > 1:
                gone[group] = np.abs(f - np.nanmean(f)) > most * np.nanstd(f, ddof=1)
        self._take(f"heterozygosity beyond {most:g} standard deviations", "people", gone)

    def _kin(self, pairs: pd.DataFrame | None) -> pd.DataFrame:
        asked = self.asked
        cuts = [cut for cut in (asked.duplicates, asked.kinship) if cut is not None]
        if not cuts:
            pairs = pd.DataFrame({"first": [], "second": [], "kinship": []})
        elif pairs is None:
            pairs = relatives(self._kinship_variants(), least=min(cuts))
        if asked.duplicates is not None:
            stay = set(unrelated(self.left.ids, pairs, least=asked.duplicates, call_rate=self.people["call_rate"]))
            self._take(
                f"duplicates (kinship {asked.duplicates:g} or more)",
                "people",
                np.array([name not in stay for name in self.left.ids]),
            )
        close = pairs[pairs["kinship"] >= (np.inf if asked.kinship is None else asked.kinship)]
        family = families(self.left.ids, close, least=-np.inf)
        self.people[FAMILY] = family.reindex(self.people.index).fillna("")
        here = close[close["first"].isin(family.index) & close["second"].isin(family.index)]
        number = pd.concat([here["first"], here["second"]]).value_counts()
        self.people["relatives"] = number.reindex(self.people.index).fillna(0).astype(int)
        sizes = family.value_counts()
        if asked.kinship is not None:
            self.log.append(
                f"quality control: {int((sizes > 1).sum()):,} families of {int(sizes[sizes > 1].sum()):,} people by kinship "
                f"{asked.kinship:g} or more; `groups` name them, for splits"
            )
        return pairs

    def _kinship_variants(self) -> Genotypes:
        counts = self.left.counts()
        called = np.maximum(2 * (counts.sum(1) - counts[:, 1]), 1)
        p = (2 * counts[:, 0] + counts[:, 2]) / called
        autosomal = self.left.variants["chromosome"].isin(AUTOSOMES).to_numpy()
        common = np.flatnonzero(autosomal & (np.minimum(p, 1 - p) >= 0.05))
        n = self.asked.kinship_variants
        chosen = common if len(common) >= n / 10 else np.flatnonzero(autosomal)
        if not len(chosen):
            raise GenotypeError(
                "kinship needs autosomal variants, and none is left: give `pairs` (`read_kinship`), or Thresholds(duplicates=None, "
                "kinship=None)."
            )
        if len(chosen) > n:
            chosen = chosen[np.linspace(0, len(chosen) - 1, n).astype(int)]
        self.log.append(f"quality control: kinship is computed on {len(chosen):,} autosomal variants")
        return part_of(self.left, chosen)

    def _frequencies(
        self, controls: Collection[str] | None, training: Collection[str] | None, pairs: pd.DataFrame
    ) -> None:
        asked, here = self.asked, self.left
        learnt = None if training is None else here.people.index[among(here, training, "training people")]
        tested = here.people.index[among(here, controls, "controls")]
        if asked.kinship is not None:
            tested = list(unrelated(list(tested), pairs, least=asked.kinship, call_rate=self.people["call_rate"]))
        found = variant_quality(here, training=learnt, controls=tested, populations=self.populations)
        self.variants = self.variants.join(found.drop(columns="call_rate"))
        if asked.maf is not None:
            still = ~(found["maf"] > 0).to_numpy()
            self._take("the same in everybody", "variants", still)
            found = found[~still]
            rare = (found["maf"] < asked.maf).to_numpy()
            self._take(f"minor allele rarer than {_percent(asked.maf)}", "variants", rare)
            found = found[~rare]
        if asked.hardy is not None:
            who = f"{len(tested):,} unrelated {'people' if controls is None else 'controls'}"
            below = (found["hardy_p"] < asked.hardy).to_numpy()
            self._take(f"Hardy-Weinberg p below {asked.hardy:g} in {who}", "variants", below)


def _percent(share: float) -> str:
    return f"{100 * share:g} %"

"""Quality control of a study's genotypes, and their components: what a split may not know is learnt from its training part."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from vnn._errors import StudyError, culprits
from vnn.data import Split
from vnn.data.genotypes import (
    Components,
    Genotypes,
    Thresholds,
    ld_regions,
    principal_components,
    pruned,
    quality_control,
    unrelated,
    variant_quality,
)
from vnn.data.genotypes.control import FAMILY
from vnn.data.genotypes.quality import AUTOSOMES
from vnn.study.settings import QualitySection

Splitter = Callable[[Genotypes], Sequence[Split]]
COMMON = 0.01
CONTROL = ("control", "controls", "ctrl", "healthy", "normal", "unaffected", "no", "false", "0")


@dataclass(frozen=True, eq=False)
class Controlled:
    """Genotypes that passed, and the account.

    Parameters
    ----------
    genotypes
        With a line of the log for each step, and, where people are related, `groups` with the column "family".
    steps, variants, people
        As in `vnn.data.genotypes.Quality`; steps of frequency and Hardy-Weinberg are those of all splits together.
    relatives
        Pairs of related people.
    """

    genotypes: Genotypes
    steps: pd.DataFrame
    variants: pd.DataFrame
    people: pd.DataFrame
    relatives: pd.DataFrame


def controlled(
    genotypes: Genotypes, asked: QualitySection, splits: Splitter, *, controls: Collection[str] | None = None
) -> Controlled:
    """The variants and people of a study that pass its quality control.

    Call rates, sex, heterozygosity and kinship look at everybody, since they are no matter of a split. Then splits are made, and
    a variant stays if it is frequent enough and in Hardy-Weinberg equilibrium in the training part of each of them.

    Parameters
    ----------
    asked
        The section of the study file.
    splits
        Gives the splits of the people who are left.
    controls
        In whom Hardy-Weinberg is tested; everybody unless given.

    Raises
    ------
    StudyError
        If a group column is not there.
    GenotypeError
        If a step leaves nothing.
    """
    populations = None
    if asked.populations is not None:
        if asked.populations not in genotypes.groups:
            raise StudyError(
                f"genotypes.quality.populations is {asked.populations!r}; data.groups are "
                f"{culprits(genotypes.groups.columns) or 'empty'}. Name the column there as well."
            )
        populations = genotypes.groups[asked.populations].astype(str)
    first = quality_control(genotypes, thresholds_of(asked, splitwise=False), populations=populations)
    made = first.genotypes
    largest = int(made.groups[FAMILY].value_counts().iloc[0])
    if largest > made.n_people / 4:
        raise StudyError(
            f"kinship {asked.kinship:g} or more joins {largest:,} of the {made.n_people:,} people in one family, which no split "
            "could spread. Few or linked variants make strangers seem related: raise genotypes.quality.kinship (0.177 for first "
            "degree), or set it to 0."
        )
    if largest == 1:
        made = replace(made, groups=made.groups.drop(columns=FAMILY))
    if not asked.maf and not asked.hardy:
        return Controlled(made, first.steps, first.variants, first.people, first.relatives)
    parts = splits(made)
    chosen = None if controls is None else set(controls)
    least = np.full((2, made.n_variants), np.inf)
    rare, odd = np.zeros((2, made.n_variants), dtype=bool)
    for split in parts:
        tested = [name for name in split.train if chosen is None or name in chosen]
        if asked.kinship:
            tested = list(unrelated(tested, _among(first.relatives, tested), least=asked.kinship))
        own = variant_quality(made, training=split.train, controls=tested, populations=populations)
        least = np.fmin(least, [own["maf"].to_numpy(), own["hardy_p"].to_numpy()])
        rare |= (own["maf"] < asked.maf).to_numpy() | ~(own["maf"] > 0).to_numpy()
        odd |= (own["hardy_p"] < asked.hardy).to_numpy()
    where = f"the training part of {'a split' if len(parts) > 1 else 'the split'}"
    whom = "unrelated " * bool(asked.kinship) + ("people" if controls is None else "controls")
    taken = []
    if asked.maf:
        taken.append((f"minor allele rarer than {100 * asked.maf:g} % in {where}", rare))
    if asked.hardy:
        taken.append((f"Hardy-Weinberg p below {asked.hardy:g} in {whom} of {where}", odd))
    steps, log, variants = (
        [first.steps],
        [],
        first.variants.assign(
            least_maf=pd.Series(least[0], index=made.variants.index),
            least_hardy_p=pd.Series(least[1], index=made.variants.index),
        ),
    )
    stay = np.ones(made.n_variants, dtype=bool)
    for step, gone in taken:
        own = stay & gone
        names = made.variants.index[own]
        named = f": {culprits(names, 3)}" if own.any() else ""
        variants.loc[names, "removed"] = step
        log.append(f"quality control: {step}: {own.sum():,} of {stay.sum():,} variants removed{named}")
        stay &= ~gone
        steps.append(pd.DataFrame([(step, "variants", int(own.sum()), int(stay.sum()), ", ".join(names[:3]))],
                                  columns=list(first.steps.columns)))  # fmt: skip
        if not stay.any():
            raise StudyError(
                f"no variants are left after quality control: {'; '.join(log)}. Loosen [genotypes.quality]."
            )
    made = made.select(list(made.variants.index[stay])).told(*log)
    return Controlled(made, pd.concat(steps, ignore_index=True), variants, first.people, first.relatives)


def thresholds_of(asked: QualitySection, *, splitwise: bool = True) -> Thresholds:
    """The thresholds a section states, 0 as None; without those that are judged split by split where that is asked."""
    names = ("variant_call_rate", "person_call_rate", "heterozygosity", "duplicates", "kinship", "maf", "hardy")
    stated: dict[str, Any] = {name: getattr(asked, name) or None for name in names}
    if not splitwise:
        stated |= {"maf": None, "hardy": None}
    return Thresholds(chromosomes=asked.chromosomes or AUTOSOMES, sex=asked.sex, **stated)


def components_of(
    genotypes: Genotypes,
    n: int,
    learners: Collection[str],
    *,
    relatives: pd.DataFrame | None = None,
    seed: int = 0,
) -> Components:
    """Principal components of common autosomal variants that are not linked, learnt from people of whom no two are related.

    Everybody else is placed among them by the loadings.

    Parameters
    ----------
    learners
        People to learn from.
    relatives
        Pairs of related people; nobody is taken for related unless given.
    """
    wanted = set(learners)
    alone = [name for name in genotypes.ids if name in wanted]
    if relatives is not None:
        alone = list(unrelated(alone, _among(relatives, alone)))
    here = genotypes.select(list(genotypes.variants.index[genotypes.variants["chromosome"].isin(AUTOSOMES)]))
    counts = here.counts(np.isin(np.array(here.ids, dtype=object), alone))
    called = np.maximum(2 * counts[:, [0, 2, 3]].sum(1), 1)
    p = (2 * counts[:, 0] + counts[:, 2]) / called
    here = here.select(list(here.variants.index[np.minimum(p, 1 - p) >= COMMON]))
    thin = pruned(here, training=alone)
    regions = ld_regions(genotypes.build) if genotypes.build else None
    found = principal_components(here.select(thin), n, training=alone, without=regions, seed=seed)
    who = "people" if relatives is None else "unrelated people"
    line = (
        f"components: {n} of {len(found.loadings):,} common autosomal variants that are not linked, learnt from {len(alone):,} "
        f"{who}; {genotypes.n_people - len(alone):,} others are placed among them"
    )
    unknown = () if genotypes.build else ("components: regions of long-range linkage stay, since no build is declared",)
    return replace(found, log=(line, *found.log, *unknown))


def _among(pairs: pd.DataFrame, ids: Collection[str]) -> pd.DataFrame:
    own = set(ids)
    return pairs[pairs["first"].isin(own) & pairs["second"].isin(own)]

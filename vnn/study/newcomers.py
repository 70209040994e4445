"""Newcomers: people of another file of genotypes, as inputs and covariates of a study's networks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pandas as pd

from vnn._errors import AlignmentError, StudyError, culprits
from vnn.data import Samples, read_table
from vnn.data.genotypes import Coding, fam_phenotype, haploid_calls_missing
from vnn.data.genotypes.matching import Matched, matched
from vnn.data.genotypes.plink import PHENOTYPE
from vnn.data.genotypes.quality import AUTOSOMES
from vnn.study.cohort import coding_of, opened
from vnn.study.folder import RECORD
from vnn.study.kept import COMPONENTS, VARIANTS, projected, read_kept
from vnn.study.settings import DataSection, GenotypeSection

VALUES_AT_ONCE = 1 << 28
Ambiguous = Literal["auto", "keep", "drop"]


@dataclass(frozen=True, eq=False)
class Newcomers:
    """People a study has not met.

    Parameters
    ----------
    matched
        Their genotypes at the variants of the study.
    coding
        The codebook of the study.
    covariates
        Those the networks need, principal components among them.
    known
        What the labels say of each person, as far as they do; the phenotype of a .fam where there are none.
    log
        How they met the study, a line for each finding.
    """

    matched: Matched
    coding: Coding
    covariates: pd.DataFrame
    known: pd.DataFrame
    log: tuple[str, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """The people."""
        return self.matched.genotypes.ids

    def samples(self, ids: Sequence[str]) -> Samples:
        """Some of them as the networks take them."""
        made = self.matched.coded(self.coding, ids)
        empty = pd.DataFrame(index=pd.Index(made.ids))
        return replace(made, targets=empty, covariates=self.covariates.loc[list(made.ids)], groups=empty, log=())

    def parts(self) -> Iterator[Samples]:
        """All of them, as many at a time as fit into 256 million values."""
        step = max(VALUES_AT_ONCE // max(len(self.coding.names), 1), 1)
        for start in range(0, len(self.ids), step):
            yield self.samples(self.ids[start : start + step])


def newcomers(
    study: Path, data: Path, needed: Sequence[str], *, labels: Path | None = None, ambiguous: Ambiguous = "auto"
) -> Newcomers:
    """The people of a file of genotypes, met with what the study in a folder kept.

    Parameters
    ----------
    study
        Output folder.
    data
        Genotypes of any format.
    needed
        Covariates of the networks.
    labels
        What is known of the people: the covariates but principal components, and the target where it is known.
    ambiguous
        What becomes of A/T and C/G; see `vnn.data.genotypes.matching.matched`.

    Raises
    ------
    StudyError
        If the study kept too little, or covariates are lacking.
    AlignmentError
        If too few variants are found, or people lack a row of labels.
    GenotypeError
        If builds differ or the file is not what it must be.
    """
    record = json.loads((study / RECORD).read_text())["study"]
    asked, stated = GenotypeSection(**record["genotypes"]), DataSection(**record["data"])
    wanted, coding = coding_of(read_kept(study / VARIANTS))
    genotypes = opened(data, asked.model_copy(update={"build": "", "bim": None}))
    if not genotypes.n_people:
        raise StudyError(f"{data.name} holds nobody; genotypes of at least one person are needed.")
    log = list(genotypes.log)
    if asked.quality is not None and not set(wanted["chromosome"]) <= set(AUTOSOMES):
        genotypes, lost = haploid_calls_missing(genotypes)
        log.append(
            f"haploid: {int(lost.sum()):,} calls that cannot be (heterozygous males on X, ...) are missing, as in the study"
        )
    found = matched(genotypes, wanted, build=asked.build, ambiguous=ambiguous)
    log += found.log
    table = pd.DataFrame(index=genotypes.people.index)
    if asked.components:
        loadings = read_kept(study / COMPONENTS)
        placed = matched(genotypes, loadings, build=asked.build, ambiguous=ambiguous)
        table = projected(placed, loadings)
        log += [f"components, {line}" for line in placed.log if "not used" not in line]
        log.append(
            f"components: {genotypes.n_people:,} people are placed among {len(table.columns)} components of the study"
        )
    known = pd.DataFrame(index=genotypes.people.index)
    if labels is not None:
        known = read_table(labels, sample_column=stated.sample_column)
        known = known.set_axis(known.index.map(str))
    elif PHENOTYPE in genotypes.people and stated.target == PHENOTYPE and not stated.label_files:
        known = _told(genotypes.people, asked).to_frame()
    columns = [name for name in needed if name not in table]
    if absent := [name for name in columns if name not in known]:
        raise StudyError(
            f"the networks need the covariates {culprits(columns)}, and {labels or data} has no {culprits(absent)}. "
            "Give them in a table with a row per person: --labels TABLE."
        )
    if columns and (strangers := [name for name in genotypes.ids if name not in known.index]):
        raise AlignmentError(
            f"{len(strangers):,} of the {genotypes.n_people:,} people have no row in {labels}: {culprits(strangers)}; its rows are "
            f"called like {culprits(known.index[:3])}. The networks need {culprits(columns)} of each."
        )
    known = known.reindex(list(genotypes.ids))
    covariates = pd.concat([table, known[columns]], axis=1)[list(needed)]
    return Newcomers(found, coding, covariates, known, tuple(log))


def _told(people: pd.DataFrame, asked: GenotypeSection) -> pd.Series:
    """The phenotype of a .fam; nothing where it cannot be read as the study's was."""
    try:
        return fam_phenotype(people, asked.phenotype)
    except ValueError:
        return pd.Series(dtype=object, name=PHENOTYPE)

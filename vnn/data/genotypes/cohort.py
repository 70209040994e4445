"""Cohort: coded genotypes as networks take them, two bits each, with what is known of the people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
import torch

from vnn._errors import AlignmentError, GenotypeError, choose, culprits
from vnn.chance import generator
from vnn.data.genotypes.coding import NONE, Coding, moments_of, scaling_of
from vnn.data.genotypes.genotypes import Genotypes
from vnn.data.genotypes.store import Store, repeated
from vnn.data.samples import Samples
from vnn.data.scaling import ROWS, Scaling
from vnn.kernels import PackedPeople

Batches = Literal["panels", "people"]


@dataclass(frozen=True, eq=False)
class Cohort:
    """The counterpart of `Samples` whose values are never written out.

    Parameters
    ----------
    genotypes
        Names and tables, and the counts of genotypes.
    coding
        What they are worth, one column or several of each variant.
    people
        Where networks read them, in the order of `genotypes.ids`.
    """

    genotypes: Genotypes
    coding: Coding
    people: PackedPeople

    @classmethod
    def of(cls, genotypes: Genotypes, coding: Coding, store: Store, *, batches: Batches = "panels") -> Cohort:
        """Those of a packed store.

        Parameters
        ----------
        batches
            "panels": a batch is some panels, read where they lie. "people": any people, gathered from rows of their own, which
            `Store.rows` writes: exact random batches.

        Raises
        ------
        GenotypeError
            If the store was written for other columns than the coding has, or a person is not in it.
        """
        choose("batches", batches, ("panels", "people"))
        _of_these(coding, genotypes)
        if not store.repeated(coding.repeats):
            raise GenotypeError(
                f"the coding has {len(coding.row):,} columns of {genotypes.n_variants:,} variants, and {store.folder} holds "
                f"{store.codes.shape[1]:,} rows, written for other columns. Write one with "
                "write_store(genotypes, folder, repeats=coding.repeats)."
            )
        by_panel = batches == "panels"
        where = store.index(genotypes.ids)
        codes, file = (store.panels, store.file) if by_panel else store.rows()
        held = PackedPeople(codes, torch.from_numpy(coding.values), where, store.identity + batches, file)
        return cls(genotypes, coding, held)

    @classmethod
    def in_memory(cls, genotypes: Genotypes, coding: Coding, *, seed: int = 0) -> Cohort:
        """Dealt to panels in memory, for cohorts that fit there: a quarter of a byte for each genotype."""
        _of_these(coding, genotypes)
        order = generator(seed, "panels", 0).permutation(genotypes.n_people)
        codes = repeated(genotypes.panels(order), coding.repeats, axis=1)
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        names = "\n".join((*coding.names, *genotypes.ids))
        sources = " ".join(source["sha256"] for source in genotypes.sources)
        held = PackedPeople(
            torch.from_numpy(codes), torch.from_numpy(coding.values), place, f"{seed} {sources} {names}"
        )
        return cls(genotypes, coding, held)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the variants' columns."""
        return self.coding.names

    @property
    def ids(self) -> tuple[str, ...]:
        """The people."""
        return self.genotypes.ids

    def __repr__(self) -> str:
        return f"Cohort({self.n_features:,} columns of packed genotypes in {self.n_samples:,} people)"

    @property
    def n_features(self) -> int:
        """How many columns the variants have."""
        return len(self.coding.names)

    @property
    def n_samples(self) -> int:
        """How many people there are."""
        return self.genotypes.n_people

    @property
    def targets(self) -> pd.DataFrame:
        """As in `Samples`."""
        return self.genotypes.targets

    @property
    def covariates(self) -> pd.DataFrame:
        """As in `Samples`."""
        return self.genotypes.covariates

    @property
    def groups(self) -> pd.DataFrame:
        """As in `Samples`."""
        return self.genotypes.groups

    @property
    def sources(self) -> tuple[dict[str, str], ...]:
        """As in `Samples`."""
        return self.genotypes.sources

    @property
    def log(self) -> tuple[str, ...]:
        """As in `Samples`."""
        return (*self.genotypes.log, *self.coding.log)

    def index(self, ids: Iterable[str]) -> np.ndarray:
        """Where people stand, in the order asked for."""
        return self.genotypes.index(ids)

    def select(self, features: Iterable[str] | None = None, ids: Iterable[str] | None = None) -> Cohort:
        """These people, in the order asked for; variants are all those of the panels, in their order.

        Raises
        ------
        AlignmentError
            If other variants or people are asked for.
        """
        if features is not None and (asked := tuple(features)) != self.features:
            absent = sorted(set(asked) - set(self.features))
            more = f"; it lacks {culprits(absent)}" if absent else ""
            raise AlignmentError(
                f"{len(asked):,} variants are asked for, and the cohort was dealt with {len(self.features):,}, which are all "
                f"read together in their order{more}. Deal the panels from genotypes.select(topology.inputs)."
            )
        if ids is None:
            return self
        kept = tuple(ids)
        where = self.index(kept)
        return Cohort(
            self.genotypes.select(ids=kept), self.coding, replace(self.people, place=self.people.place[where])
        )

    @cached_property
    def missing(self) -> np.ndarray:
        """Whether a genotype is missing in each column that has no number for that, bool (n_columns,)."""
        return np.isnan(self.coding.values[:, NONE]) & (self.genotypes.counts()[self.coding.row, NONE] > 0)

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Smallest and largest number of each column."""
        return np.fmin.reduce(self.coding.values, axis=1), np.fmax.reduce(self.coding.values, axis=1)

    def numbers(self, ids: Iterable[str]) -> np.ndarray:
        """The values of some people, (n_features, n): 16 times the size of their genotypes."""
        at = self.index(ids)
        found: np.ndarray = self.people[:, at].values()[:, 0, : len(at)].numpy()
        return found

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """As of `Samples`: values of all people, some variants at a time."""
        start = 0
        for at in np.array_split(np.arange(self.genotypes.n_variants), -(-self.genotypes.n_variants // ROWS)):
            values = self.some(at).values.astype(np.float64)
            yield slice(start, start + len(values)), values
            start += len(values)

    def moments(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As of `Samples`, from the counts of genotypes."""
        return moments_of(self.coding, self._counts(at))

    def scaling(self, at: np.ndarray, *, method: str, impute: str | None) -> Scaling:
        """`fit_scaling` of the people `at`, from the counts of their genotypes."""
        return scaling_of(self.coding, self._counts(at), method=method, impute=impute)

    def _counts(self, at: np.ndarray) -> np.ndarray:
        keep = np.zeros(self.n_samples, dtype=bool)
        keep[at] = True
        return self.genotypes.counts(keep)

    def some(self, variants: np.ndarray) -> Samples:
        """Some of the variants, by place, in everybody, with values written out."""
        names = self.genotypes.variants.index[variants]
        return self.coding.of(variants).apply(self.genotypes.select(variants=list(names)))

    def samples(self) -> Samples:
        """The same with its values written out, 16 times the size."""
        return self.coding.apply(self.genotypes)


def _of_these(coding: Coding, genotypes: Genotypes) -> None:
    if len(coding.minor_counted) != genotypes.n_variants:
        raise GenotypeError(
            f"the coding was fitted on {len(coding.minor_counted):,} variants, and the genotypes have {genotypes.n_variants:,}. "
            "Fit it on these genotypes: fit_coding(genotypes)."
        )

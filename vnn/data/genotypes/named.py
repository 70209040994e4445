"""What genotypes and dosages share: variants and people found by name, and what is known of the people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar, Self, cast

import numpy as np
import pandas as pd

from vnn._errors import AlignmentError, choose, culprits
from vnn.data.samples import meet, unique

BUILDS = ("GRCh37", "GRCh38")
TABLES = ("targets", "covariates", "groups")


class Named:
    """Tables of variants and people with what is known of them; `Genotypes` and `Dosages` add the values."""

    called: ClassVar[str]
    row: np.ndarray
    variants: pd.DataFrame
    people: pd.DataFrame
    build: Any
    log: tuple[str, ...]

    def __post_init__(self) -> None:
        choose("build", self.build, ("", *BUILDS))
        named_once(self.variants.index, "variant ids")
        ids = tuple(named_once(self.people.index, "person ids"))
        for name in TABLES:
            table = getattr(self, name)
            meet(ids, {name: table}, unmatched="error", values=self.called)
            object.__setattr__(self, name, table.loc[list(ids)])

    def __repr__(self) -> str:
        build = f", {self.build}" if self.build else ""
        return f"{type(self).__name__}({self.n_variants:,} variants in {self.n_people:,} people{build})"

    @property
    def n_variants(self) -> int:
        """How many variants there are."""
        return len(self.variants)

    @property
    def n_people(self) -> int:
        """How many people there are."""
        return len(self.people)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the people."""
        return tuple(self.people.index)

    def index(self, ids: Iterable[str]) -> np.ndarray:
        """Where the people called `ids` stand, in the order asked for."""
        return places(self.people.index, ids, "people")

    def select(self, variants: Iterable[str] | None = None, ids: Iterable[str] | None = None) -> Self:
        """These variants and people, by id, in the order asked for; no value is read.

        Raises
        ------
        AlignmentError
            If a variant or a person is not here.
        """
        made = self
        if variants is not None:
            at = places(self.variants.index, variants, "variants")
            made = made._with(row=self.row[at], variants=self.variants.iloc[at])
        if ids is not None:
            who = self.index(ids)
            tables = {name: getattr(self, name).iloc[who] for name in ("people", *TABLES)}
            made = made._with(**self._columns(who), **tables)
        return made

    def told(self, *lines: str) -> Self:
        """The same with further lines of the log."""
        return self._with(log=(*self.log, *lines))

    def joined(self, *, unmatched: str = "error", **tables: pd.DataFrame) -> Self:
        """With `targets`, `covariates` or `groups`, tables indexed by person id, in any order.

        Parameters
        ----------
        unmatched
            What happens to people who are not in all tables: "error", or "drop", which is logged.
        """
        named = {choose("a table", role, TABLES): table for role, table in tables.items()}
        named = {role: table.set_axis(table.index.map(str)) for role, table in named.items()}
        kept, log = meet(self.ids, named, unmatched=unmatched, values=self.called)
        made = self if kept == self.ids else self.select(ids=kept)
        return made._with(**{role: table.loc[list(kept)] for role, table in named.items()}, log=(*self.log, *log))

    def _columns(self, who: np.ndarray) -> dict[str, Any]:
        """The fields that say where people stand, for these of them."""
        raise NotImplementedError

    def _with(self, **changed: Any) -> Self:
        return cast(Self, replace(cast(Any, self), **changed))


def named_once(index: pd.Index, what: str) -> pd.Index:
    """The index, if no name is empty or repeated."""
    if not index.is_unique or "" in index:
        unique(index, what)
    return index


def places(index: pd.Index, names: Iterable[str], what: str) -> np.ndarray:
    """Where names stand in an index, in the order asked for; all must be there, each once."""
    asked = [names] if isinstance(names, str) else list(names)
    unique(asked, f"{what} asked for")
    found = index.get_indexer(pd.Index(asked, dtype=object))
    if absent := [name for name, at in zip(asked, found, strict=True) if at < 0]:
        raise AlignmentError(
            f"the genotypes lack {len(absent):,} of the {len(asked):,} {what} asked for: {culprits(absent)}. "
            f"Their {len(index):,} {what} are called like {culprits(index[:3])}."
        )
    return found.astype(np.int64)

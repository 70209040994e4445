"""Pedigrees: who is simulated, of which population and sex, and whose child."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from vnn.chance import generator

FAMILY = 4  # father, mother and two children


@dataclass(frozen=True, eq=False)
class Pedigree:
    """Simulated people: families of four first, then people without relatives.

    Parameters
    ----------
    families
        How many families: father, mother and two children follow each other.
    population
        Which population each person is of, int64 (n_people,).
    male
        bool (n_people,).
    """

    families: int
    population: np.ndarray
    male: np.ndarray

    @property
    def n_people(self) -> int:
        """How many people there are."""
        return len(self.population)

    @property
    def ids(self) -> np.ndarray:
        """Names of the people; those of a larger cohort begin with those of a smaller one."""
        return self.index.to_numpy()

    @cached_property
    def index(self) -> pd.Index:
        """The same as the index of tables."""
        return pd.Index([f"person-{number:07d}" for number in range(1, self.n_people + 1)], dtype=object, name="person")

    @property
    def founders(self) -> np.ndarray:
        """Who is nobody's child, bool (n_people,)."""
        place = np.arange(self.n_people)
        return (place >= FAMILY * self.families) | (place % FAMILY < 2)

    def table(self) -> pd.DataFrame:
        """Columns `family`, `father`, `mother`, `sex` and `individual`, as in `Genotypes`."""
        ids, n = self.ids, FAMILY * self.families
        child = ~self.founders
        family = ids.copy()
        family[:n] = np.repeat([f"family-{number:07d}" for number in range(1, self.families + 1)], FAMILY)
        father, mother = np.full((2, self.n_people), "", dtype=object)
        father[child] = np.repeat(ids[:n:FAMILY], 2)
        mother[child] = np.repeat(ids[1:n:FAMILY], 2)
        sex = np.where(self.male, "male", "female").astype(object)
        found = {"family": family, "father": father, "mother": mother, "sex": sex, "individual": ids}
        return pd.DataFrame(found, index=self.index)

    def relatives(self) -> pd.DataFrame:
        """Pairs of relatives: columns `person`, `relative`, `relation` ("parent" of the person, or "sibling"), `kinship`."""
        ids = self.ids[: FAMILY * self.families].reshape(-1, FAMILY)
        pairs = [(child, parent, "parent") for child in (2, 3) for parent in (0, 1)] + [(2, 3, "sibling")]
        rows = [
            pd.DataFrame({"person": ids[:, one], "relative": ids[:, other], "relation": relation, "kinship": 0.25})
            for one, other, relation in pairs
        ]
        return pd.concat(rows, ignore_index=True).sort_values(["person", "relative"], ignore_index=True)


def draw_pedigree(n_people: int, families: int, populations: int, seed: int) -> Pedigree:
    """Populations and sexes by chance, in equal expected shares; a family is of one population."""
    if FAMILY * families > n_people:
        raise ValueError(
            f"{families:,} families of {FAMILY} are {FAMILY * families:,} people, more than the {n_people:,} asked for. "
            "Ask for more people or fewer families."
        )
    population = generator(seed, "populations").integers(0, populations, n_people)
    male = generator(seed, "sexes").random(n_people) < 0.5
    n = FAMILY * families
    population[:n] = np.repeat(population[:n:FAMILY], FAMILY)
    male[:n:FAMILY], male[1:n:FAMILY] = True, False
    return Pedigree(families, population, male)

"""The fixed cohorts: a simulated study by scenario and seed, who learns, who is predicted, and labels that mean nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from vnn._errors import choose
from vnn.chance import generator
from vnn.data import hold_out
from vnn.data.genotypes import GeneMap, Genotypes, SimulatedGenotypes, Trait, read_variant_genes, simulate_genotypes

SCENARIOS = ("additive", "dominance", "within", "across")
PHENOTYPE, CASE = "phenotype", "case"
FOLDS, TEST = 4, 0.2
LABELS = ("true", "permuted")


@dataclass(frozen=True)
class Size:
    """How large a cohort is; SCIENCE's unless given."""

    people: int = 10_000
    variants: int = 50_000
    genes: int = 2_000
    pathways: int = 100
    causal: int = 20


@dataclass(frozen=True, eq=False)
class Planted:
    """A cohort as methods see it.

    Parameters
    ----------
    scenario, seed
        Which.
    study
        Genotypes, genes, pathways, and the truth, which methods do not look at.
    gene_map
        The genes of variants.
    learners, others
        Places of those who are learnt from and of those who are predicted, ascending.
    folds
        Fold of each learner.
    """

    scenario: str
    seed: int
    study: SimulatedGenotypes
    gene_map: GeneMap
    learners: np.ndarray
    others: np.ndarray
    folds: np.ndarray

    @property
    def genotypes(self) -> Genotypes:
        """Of all people."""
        return self.study.genotypes

    def people(self, places: np.ndarray) -> Genotypes:
        """The genotypes of the people at these places."""
        return self.genotypes.select(ids=self.genotypes.people.index[places])

    @cached_property
    def case(self) -> np.ndarray:
        """1 for each case among all people."""
        return (self.genotypes.targets[PHENOTYPE] == CASE).to_numpy(dtype=float)

    @cached_property
    def covariates(self) -> np.ndarray:
        """Standardised among the learners, (n_people, n_covariates)."""
        table = self.genotypes.covariates.assign(sex=lambda known: (known["sex"] == "male").astype(float))
        values = table.to_numpy(dtype=float)
        own = values[self.learners]
        return (values - own.mean(0)) / np.maximum(own.std(0), 1e-9)

    @cached_property
    def offset(self) -> np.ndarray:
        """Logit of being a case by covariates alone, learnt from the learners, of all people."""
        model = LogisticRegression(C=np.inf).fit(self.covariates[self.learners], self.case[self.learners])
        return np.asarray(model.decision_function(self.covariates))

    @cached_property
    def residuals(self) -> np.ndarray:
        """What covariates leave of the label of the learners, true and permuted among them, (n_learners, 2)."""
        left = self.case[self.learners] - 1 / (1 + np.exp(-self.offset[self.learners]))
        order = generator(self.seed, "bench genotypes truth permuted", self.scenario).permutation(len(left))
        return np.stack([left, left[order]], axis=1)


def cohort(scenario: str, seed: int, folder: Path, size: Size | None = None) -> Planted:
    """The cohort of a scenario and a seed, simulated into an empty folder.

    A binary trait with the defaults of `Trait`; a fifth of the people, as many cases as controls, is kept for predictions.
    """
    choose("the scenario", scenario, SCENARIOS)
    size = size or Size()
    study = simulate_genotypes(
        folder, people=size.people, variants=size.variants, genes=size.genes, pathways=size.pathways,
        traits=[Trait(PHENOTYPE, scenario, genes=size.causal)], seed=seed,  # type: ignore[arg-type]
    )  # fmt: skip
    genotypes = study.genotypes
    table = read_variant_genes(folder / "variant_genes.tsv", build="GRCh38")
    split = hold_out(genotypes.ids, test=TEST, validation=0, seed=seed, stratify=genotypes.targets[PHENOTYPE])
    learners, others = (np.sort(genotypes.index(ids)) for ids in (split.train, split.test))
    folds = generator(seed, "bench genotypes truth folds").permutation(len(learners)) % FOLDS
    return Planted(scenario, seed, study, GeneMap.from_annotation(genotypes, table), learners, others, folds)

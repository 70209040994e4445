"""The fixed cohorts: which pathway is planted where, by arm and seed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from vnn._errors import choose
from vnn.chance import generator
from vnn.data import Samples, Split, Truth, read_samples, simulate_expression
from vnn.data.kin import kin
from vnn.data.simulate import Confounder, Residual, Simulated
from vnn.ontology import Ontology, Topology, load_ontology
from vnn.ontology.ontology import MEMBERSHIP

REAL = "expression/Leukemia_hgu95av2.trim.gct.gz"
FLOOR = 20.0  # Affymetrix intensities below this are noise


@dataclass(frozen=True)
class Arm:
    """What the cohorts of an arm have of their own.

    Parameters
    ----------
    oracle_auc
        Of the causal factor.
    down
        Share of its carriers that go down.
    confounded
        "declared" or "undeclared", where a confounder moves another pathway and the phenotype.
    real
        Whether marginals and residual correlation are those of real expression.
    null
        Whether the phenotype is permuted.
    """

    oracle_auc: float
    down: float = 0.25
    confounded: str | None = None
    real: bool = False
    null: bool = False


ARMS: Mapping[str, Arm] = {
    "easy": Arm(0.95),
    "moderate": Arm(0.85),
    "hard": Arm(0.75),
    "mixed": Arm(0.85, down=0.5),
    "declared": Arm(0.85, confounded="declared"),
    "undeclared": Arm(0.85, confounded="undeclared"),
    "null": Arm(0.85, null=True),
    "real": Arm(0.85, real=True),
    "null-real": Arm(0.85, real=True, null=True),
}


@dataclass(frozen=True, eq=False)
class Setting:
    """Where pathways are planted: an ontology of measured genes, and how many people there are.

    Parameters
    ----------
    name
        "reactome" or "small".
    ontology
        Restricted to measured genes and to terms with at least `min_genes` of them.
    min_genes
        Smallest term of the ontology.
    sizes
        Fewest and most genes of a causal pathway.
    depth
        How deep it lies at least; a root has depth 1.
    n_train, n_test
        People methods learn from, and people only predictions are made for.
    real
        Expression whose marginals and correlation the real arms copy; None where there is none.
    """

    name: str
    ontology: Ontology
    min_genes: int
    sizes: tuple[int, int] = (15, 80)
    depth: int = 3
    n_train: int = 300
    n_test: int = 300
    real: Samples | None = None

    @cached_property
    def sets(self) -> dict[str, frozenset[str]]:
        """Measured genes of every term, those of its descendants included."""
        return self.ontology.gene_sets()

    @cached_property
    def relations(self) -> tuple[tuple[str, str], ...]:
        """Pairs of child and parent."""
        table = self.ontology.relations
        table = table[table["type"].isin(MEMBERSHIP)]
        return tuple(zip(table["child"], table["parent"], strict=True))

    @cached_property
    def topology(self) -> Topology:
        """The wiring of the terms."""
        return self.ontology.topology(self.ontology.genes, min_genes=self.min_genes)

    @cached_property
    def candidates(self) -> tuple[str, ...]:
        """Terms that may be causal, sorted."""
        parents: dict[str, list[str]] = {}
        for child, parent in self.relations:
            parents.setdefault(child, []).append(parent)
        depths: dict[str, int] = {}

        def depth(term: str) -> int:
            if term not in depths:
                depths[term] = 1 + max((depth(parent) for parent in parents.get(term, ())), default=0)
            return depths[term]

        few, many = self.sizes
        return tuple(
            sorted(name for name, held in self.sets.items() if few <= len(held) <= many and depth(name) >= self.depth)
        )

    @cached_property
    def identity(self) -> str:
        """A hash of all that decides what a cohort of this setting is."""
        sets = {name: sorted(held) for name, held in sorted(self.sets.items())}
        arms = {name: asdict(arm) for name, arm in ARMS.items()}
        stated = [sets, sorted(self.relations), self.sizes, self.depth, self.n_train, self.n_test, arms]
        return hashlib.sha256(json.dumps(stated).encode()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Cohort:
    """One planted cohort as methods see it, with its truth beside it.

    Parameters
    ----------
    arm, seed
        Which cohort.
    setting
        Ontology, gene sets and wiring.
    samples
        All people, with the target "phenotype" and the declared covariates.
    split
        Its train part is for naming, its test part for predictions; a method makes a validation part of its own.
    truth
        What was planted. A method does not look at it.
    """

    arm: str
    seed: int
    setting: Setting
    samples: Samples
    split: Split
    truth: Truth

    @cached_property
    def train(self) -> Samples:
        """The people methods learn from."""
        return self.samples.select(ids=self.split.train)

    @cached_property
    def test(self) -> Samples:
        """The people predictions are made for."""
        return self.samples.select(ids=self.split.test)


def setting(name: str = "reactome", *, data: Path | str | None = None) -> Setting:
    """The ontology cohorts are planted in.

    Parameters
    ----------
    name
        "reactome": the whole of Reactome without its Disease branch, on the genes that a real study (leukaemia, hgu95av2)
        measured, terms of at least 10 genes, 300 + 300 people. "small": the catalogue's "human-small", terms of at least 3
        genes, 100 + 100 people; for tests.
    data
        Folder of the real inputs; the environment variable VNN_DATA unless given. "small" needs none.

    Raises
    ------
    FileNotFoundError
        If the folder is not known or lacks a file.
    """
    choose("the setting of the planted cohorts", name, ("reactome", "small"))
    if name == "small":
        ontology = load_ontology("human-small").min_genes(3)
        return Setting(name, ontology, 3, sizes=(5, 80), depth=2, n_train=100, n_test=100)
    folder = data or os.environ.get("VNN_DATA")
    if folder is None:
        raise FileNotFoundError(
            "planted cohorts on Reactome need its files and the genes of a real study; give the folder that holds "
            f"reactome/ and {REAL}, with --data or VNN_DATA, or use the setting 'small'."
        )
    real = read_samples(Path(folder) / REAL)
    ontology = load_ontology("reactome", folder=Path(folder) / "reactome").restrict(real.features).min_genes(10)
    logged = np.log2(np.maximum(real.select(ontology.genes).values, FLOOR))
    return Setting(name, ontology, 10, real=replace(real.select(ontology.genes), values=logged))


def cohort(where: Setting, arm: str, seed: int) -> Cohort:
    """The cohort of an arm and a seed, always the same.

    Cohorts of one seed share their causal pathway, factors and noise over the arms; they differ in what the arm says. A
    confounder moves a pathway that is not related to the causal one and shares no gene with it.

    Raises
    ------
    ValueError
        If the arm is unknown, or needs real expression that the setting does not have.
    """
    plan = ARMS[choose("the arm", arm, ARMS)]
    if plan.real and where.real is None:
        raise ValueError(f"the arm {arm!r} copies real expression, which the setting {where.name!r} does not have.")
    if len(where.candidates) < 2:
        raise ValueError(
            f"the setting {where.name!r} has {len(where.candidates)} terms that may be causal; 2 are needed."
        )
    causal = str(generator(seed, "bench truth causal").choice(where.candidates))
    confounder = None
    if plan.confounded is not None:
        confounder = Confounder(_other(where, causal, seed), declared=plan.confounded == "declared")
    made = simulate_expression(
        where.ontology,
        causal=causal,
        n_samples=where.n_train + where.n_test,
        oracle_auc=plan.oracle_auc,
        down=plan.down,
        confounder=confounder,
        residual=Residual(like=where.real, marginals=True) if plan.real else None,
        seed=seed,
    )
    made = made.permuted(seed) if plan.null else made
    return of(where, arm, seed, made)


def of(where: Setting, arm: str, seed: int, made: Simulated) -> Cohort:
    """A cohort from simulated people: the first `n_train` are learnt from."""
    ids = made.samples.ids
    split = Split("planted", ids[: where.n_train], (), ids[where.n_train :])
    return Cohort(arm, seed, where, made.samples, split, made.truth)


def _other(where: Setting, causal: str, seed: int) -> str:
    related = kin(where.sets, where.relations, causal).related
    free = [
        name for name in where.candidates if name not in related and where.sets[name].isdisjoint(where.sets[causal])
    ]
    if not free:
        raise ValueError(f"no pathway is unrelated to {causal!r}, so none can be confounded; take another seed.")
    return str(generator(seed, "bench truth confounded").choice(free))


def covariates_of(samples: Samples) -> np.ndarray:
    """Declared covariates as columns of 0 and 1 or numbers, shape (n_samples, n_columns)."""
    if not len(samples.covariates.columns):
        return np.zeros((samples.n_samples, 0))
    return pd.get_dummies(samples.covariates, drop_first=True, dtype=float).to_numpy(dtype=float)

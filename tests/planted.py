"""Small planted cohorts and wirings that several stations' tests train on."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd

from vnn.data import Samples, Split, k_fold, simulate_expression
from vnn.ontology import Topology

CAUSAL = "set 3"


@cache
def gene_sets(n_sets: int = 8, n_genes: int = 60, size: int = 12) -> dict[str, tuple[str, ...]]:
    """Overlapping sets of made-up genes."""
    rng = np.random.default_rng(5)
    return {
        f"set {i}": tuple(sorted(f"g{j:02}" for j in rng.choice(n_genes, size, replace=False))) for i in range(n_sets)
    }


@cache
def wiring() -> Topology:
    """The sets over their genes, two groups of sets above them, and a root with a skip from one set."""
    sets = gene_sets()
    edges = [("inputs", gene, "level 1", name) for name, genes in sets.items() for gene in genes]
    edges += [("level 1", name, "level 2", f"group {i % 2}") for i, name in enumerate(sets)]
    edges += [("level 2", f"group {i}", "level 3", "root") for i in range(2)] + [
        ("level 1", "set 0", "level 3", "root")
    ]
    levels = {
        "inputs": {gene for genes in sets.values() for gene in genes},
        "level 1": sets,
        "level 2": ["group 0", "group 1"],
        "level 3": ["root"],
    }
    return Topology.from_edges(
        levels, pd.DataFrame(edges, columns=["source_level", "source", "target_level", "target"])
    )


@cache
def cohort(n_samples: int = 120, seed: int = 0) -> Samples:
    """People whose phenotype follows the factor of `CAUSAL`, with a quantity and three classes made from it."""
    simulated = simulate_expression(gene_sets(), causal=CAUSAL, n_samples=n_samples, oracle_auc=0.99, r2=0.6, seed=seed)
    factor = simulated.truth.factor.loc[list(simulated.samples.ids)]
    targets = simulated.samples.targets.assign(
        quantity=10 + 3 * factor.to_numpy(),
        thirds=pd.qcut(factor, 3, labels=["low", "middle", "high"]).astype(str).to_numpy(),
    )
    made = simulated.samples
    return Samples(made.values, made.features, made.ids, targets, made.covariates, made.groups)


@cache
def folds(k: int = 3, n_samples: int = 120, validation: float = 0.25) -> tuple[Split, ...]:
    """Stratified folds of the cohort."""
    samples = cohort(n_samples)
    return k_fold(samples.ids, k=k, validation=validation, seed=0, stratify=samples.targets["phenotype"])

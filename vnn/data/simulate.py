"""Planted cohorts: expression in which one gene set is known to drive the phenotype."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.optimize import brentq
from scipy.special import expit

from vnn import chance
from vnn._errors import choose
from vnn.data.samples import Samples

COMMUNALITY = 0.5
GRID = np.linspace(-9.0, 9.0, 9001)


@dataclass(frozen=True, eq=False)
class Truth:
    """What was planted.

    Parameters
    ----------
    causal
        The gene set whose factor drives the phenotype.
    carriers
        Its genes that carry the factor, sorted, with +1 for up and -1 for down.
    oracle_auc
        AUC of the factor itself in the population.
    slope
        Change of the log odds of "case" for one standard deviation of the factor.
    factor
        The factor of each sample, indexed by id.
    """

    causal: str
    carriers: dict[str, int]
    oracle_auc: float
    slope: float
    factor: pd.Series


@dataclass(frozen=True, eq=False)
class Simulated:
    """A planted cohort: what an analyst sees, and the truth behind it."""

    samples: Samples
    truth: Truth


def simulate_expression(
    gene_sets: Mapping[str, Collection[str]],
    *,
    causal: str,
    n_samples: int = 600,
    oracle_auc: float = 0.95,
    carriers: float = 0.6,
    r2: float = 0.10,
    down: float = 0.25,
    seed: int,
) -> Simulated:
    """A cohort whose phenotype is driven by one gene set.

    Every set has a standard normal factor that a share of its genes, the carriers, follow up or down;
    the causal set differs from the others only in that its factor f decides the phenotype, by
    P(case) = 1 / (1 + exp(-slope f)). The slope is solved so that the AUC of f in the population is
    `oracle_auc`. A standardised gene is the sum of its loadings times factors plus noise, with variance 1:
    squared loadings are r2, and smaller for the other sets where a gene is in so many that they would take
    more than half of its variance. Genes are then put on a log-like scale, with means from 6 to 10 and standard
    deviations from 0.5 to 1.5. Marginals are normal and noise is independent, which real expression is not.

    Every draw is named by its set or gene: the first samples of a larger cohort are the smaller cohort.

    Parameters
    ----------
    gene_sets
        Genes of each set; a gene may be in several.
    causal
        Name of the causal set.
    n_samples
        Size of the cohort.
    oracle_auc
        From 0.5 (no signal) to 0.999.
    carriers
        Share of the genes of a set that follow its factor, at least one gene.
    r2
        Share of the variance of a carrier that the factor of the causal set explains.
    down
        Share of the carriers that go down as the factor goes up.
    seed
        Seed of the study.

    Returns
    -------
    Samples with the target "phenotype" ("control" or "case"), and the truth.

    References
    ----------
    SCIENCE.md, planted benchmarks.

    Examples
    --------
    >>> cohort = simulate_expression({"A": ["g1", "g2"], "B": ["g2", "g3"]}, causal="A", n_samples=4, seed=1)
    >>> cohort.samples
    Samples(3 features in 4 samples; targets: phenotype)
    """
    sets = {name: tuple(sorted(set(gene_sets[name]))) for name in sorted(gene_sets)}
    if empty := [name for name, genes in sets.items() if not genes]:
        raise ValueError(f"{len(empty):,} gene sets have no genes, such as {empty[0]!r}; leave them out.")
    choose("causal", causal, sets)
    _within("oracle_auc", oracle_auc, 0.5, 0.999)
    _within("carriers", carriers, 0.0, 1.0)
    _within("r2", r2, 0.0, 1.0)
    _within("down", down, 0.0, 1.0)
    if n_samples < 1:
        raise ValueError(f"n_samples is {n_samples}; at least 1 is needed.")

    genes = tuple(sorted({gene for members in sets.values() for gene in members}))
    ids = tuple(f"sample-{number:04d}" for number in range(1, n_samples + 1))
    signs = {name: _carriers(name, members, carriers, down, seed) for name, members in sets.items()}
    loadings = _loadings(genes, signs, causal, r2)
    factors = np.stack([chance.generator(seed, "factor", name).standard_normal(n_samples) for name in sets])
    noise = np.sqrt(1.0 - np.asarray(loadings.power(2).sum(axis=1)).ravel())

    values = loadings @ factors
    for row, gene in enumerate(genes):
        values[row] += noise[row] * chance.generator(seed, "noise", gene).standard_normal(n_samples)
        mean, deviation = chance.generator(seed, "scale", gene).uniform((6.0, 0.5), (10.0, 1.5))
        values[row] = mean + deviation * values[row]

    slope = slope_of(oracle_auc)
    factor = factors[list(sets).index(causal)]
    case = chance.generator(seed, "phenotype", causal).random(n_samples) < expit(slope * factor)
    index = pd.Index(ids, dtype=object)
    samples = Samples(
        values.astype(np.float32),
        genes,
        ids,
        targets=pd.DataFrame({"phenotype": np.where(case, "case", "control").astype(object)}, index=index),
        covariates=pd.DataFrame(index=index),
        groups=pd.DataFrame(index=index),
        log=(
            f"simulated: {n_samples:,} samples of {len(genes):,} genes, causal {causal!r}, "
            f"oracle AUC {oracle_auc:g}, seed {seed}",
        ),
    )
    truth = Truth(causal, dict(sorted(signs[causal].items())), oracle_auc, slope, pd.Series(factor, index, name=causal))
    return Simulated(samples, truth)


def slope_of(oracle_auc: float) -> float:
    """The log odds per standard deviation of a normal factor at which its AUC in the population is this."""
    if oracle_auc == 0.5:
        return 0.0
    return float(brentq(lambda slope: auc_of(slope) - oracle_auc, 0.0, 1000.0, xtol=1e-10))


def auc_of(slope: float) -> float:
    """Population AUC of a standard normal factor f for a phenotype with P(case) = 1 / (1 + exp(-slope f))."""
    density = np.exp(-(GRID**2) / 2)
    case, control = density * expit(slope * GRID), density * expit(-slope * GRID)
    below = np.cumsum(control) - control / 2
    return float((case * below).sum() / (case.sum() * control.sum()))


def _carriers(name: str, genes: tuple[str, ...], share: float, down: float, seed: int) -> dict[str, int]:
    count = max(1, round(share * len(genes)))
    chosen = chance.generator(seed, "carriers", name).permutation(len(genes))[:count]
    n_down = round(down * count)
    return {genes[gene]: -1 if place < n_down else 1 for place, gene in enumerate(chosen)}


def _loadings(
    genes: tuple[str, ...], signs: Mapping[str, Mapping[str, int]], causal: str, r2: float
) -> sparse.csr_array:
    """Loading of each gene on the factor of each set, shape (n_genes, n_sets)."""
    row = {gene: number for number, gene in enumerate(genes)}
    n_others = np.zeros(len(genes))
    for name, carried in signs.items():
        if name != causal:
            n_others[[row[gene] for gene in carried]] += 1
    taken = np.zeros(len(genes))
    taken[[row[gene] for gene in signs[causal]]] = r2
    left = np.maximum(COMMUNALITY - taken, 0.0)
    other = np.minimum(r2, left / np.maximum(n_others, 1))
    rows, columns, loadings = [], [], []
    for column, (name, carried) in enumerate(signs.items()):
        for gene, sign in carried.items():
            rows.append(row[gene])
            columns.append(column)
            loadings.append(sign * np.sqrt(r2 if name == causal else other[row[gene]]))
    return sparse.csr_array((loadings, (rows, columns)), shape=(len(genes), len(signs)))


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is {value:g}; it must be between {low:g} and {high:g}.")

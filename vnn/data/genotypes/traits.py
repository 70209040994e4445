"""Traits of simulated people: which variants cause them and how, and phenotypes with an exact heritability."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import ndtr

from vnn._errors import choose
from vnn.chance import generator
from vnn.data.genotypes.landscape import Landscape
from vnn.data.genotypes.linkage import genotypes, without_marginals
from vnn.data.genotypes.mosaics import SWITCHING, Taken
from vnn.data.genotypes.pedigree import FAMILY, Pedigree

HERITABLE = {
    "additive": 0.4,
    "dominance": 0.3,
    "within": 0.3,
    "across": 0.3,
    "locus": 0.05,
    "null": 0.0,
    "confounder": 0.0,
}
PER_GENE = {"additive": 2, "dominance": 2, "within": 1, "across": 1}
CONFOUNDED = 0.2
LEAST_COMMON = {"additive": 0.05, "dominance": 0.2, "within": 0.2, "across": 0.2}
GUMBEL = np.pi / np.sqrt(6)  # standard deviation of the logarithm of an exponential time
AGES = (40.0, 70.0)
UNLINKED = 1e-9
Scenario = Literal["additive", "dominance", "within", "across", "locus", "null", "confounder"]
Kind = Literal["binary", "quantitative", "survival"]


@dataclass(frozen=True)
class Trait:
    """A trait to simulate. Its liability has variance 1 and is the sum of genes, covariates, population and chance.

    Parameters
    ----------
    name
        The column of the phenotype; a survival trait has `name_time` and `name_event`.
    scenario
        "additive": copies of the counted allele. "dominance": heterozygotes against both homozygotes, no additive part.
        "within": pairs of variants of one gene that do nothing alone. "across": pairs of variants of two genes of a pathway that
        do nothing alone. "locus": one additive variant in strong linkage with all variants of three neighbouring genes. "null":
        no genes. "confounder": no genes, but the trait differs by population.
    kind
        "binary": cases are people above a threshold of the liability. "quantitative": the liability itself. "survival":
        proportional hazards; the logarithm of time is the negative liability with Gumbel noise.
    h2
        Share of the variance of the liability that genes explain; 0.4 for "additive", 0.05 for "locus", 0.3 for dominance and
        interactions unless given.
    prevalence
        Expected share of cases of a binary trait.
    genes, pathways
        How many genes cause it, evenly from how many pathways.
    per_gene
        Causal variants of each gene ("additive", "dominance"; 2 unless given), pairs of each gene ("within"; 1) or of each two
        genes ("across"; 1).
    covariates
        Share of the variance that age and sex explain, half each, in people who are nobody's child.
    population
        Share that the population explains beside genes; 0.2 for "confounder" and 0 otherwise unless given.
    censored
        Expected share of people of a survival trait who are censored.
    """

    name: str = "phenotype"
    scenario: Scenario = "additive"
    kind: Kind = "binary"
    h2: float | None = None
    prevalence: float = 0.5
    genes: int = 20
    pathways: int = 2
    per_gene: int | None = None
    covariates: float = 0.05
    population: float | None = None
    censored: float = 0.3

    def __post_init__(self) -> None:
        choose("scenario", self.scenario, HERITABLE)
        choose("kind", self.kind, ("binary", "quantitative", "survival"))
        shares = {"h2": self.genetic, "covariates": self.covariates, "population": self.between}
        for name, value in {**shares, "censored": self.censored}.items():
            if not 0 <= value < 1:
                raise ValueError(f"{name} of trait {self.name!r} is {value:g}; it must be at least 0 and below 1.")
        if sum(shares.values()) >= 1:
            told = ", ".join(f"{name} {value:g}" for name, value in shares.items())
            raise ValueError(f"trait {self.name!r} has {told}: together 1 or more, and nothing is left for chance.")
        if not 0 < self.prevalence < 1:
            raise ValueError(
                f"the prevalence of trait {self.name!r} is {self.prevalence:g}; it must be between 0 and 1."
            )
        if self.genetic and self.scenario in ("null", "confounder"):
            raise ValueError(f"trait {self.name!r} is {self.scenario!r} and has h2 {self.h2:g}; leave h2 out.")
        if self.genes < 1 or self.pathways < 1 or self.genes % self.pathways:
            raise ValueError(
                f"trait {self.name!r} has {self.genes:,} causal genes in {self.pathways:,} pathways; every pathway needs as many."
            )
        each = self.genes // self.pathways
        if self.scenario == "across" and each % 2:
            raise ValueError(
                f"trait {self.name!r} has {each:,} causal genes in a pathway; pairs of genes need an even number."
            )
        if self.per_gene is not None and self.per_gene < 1:
            raise ValueError(f"per_gene of trait {self.name!r} is {self.per_gene}; at least 1 is needed.")

    @property
    def genetic(self) -> float:
        """Share of the variance that genes explain."""
        return HERITABLE[self.scenario] if self.h2 is None else self.h2

    @property
    def between(self) -> float:
        """Share of the variance that the population explains beside genes."""
        if self.population is not None:
            return self.population
        return CONFOUNDED if self.scenario == "confounder" else 0.0


@dataclass(frozen=True)
class Cause:
    """One or two variants that act together.

    Parameters
    ----------
    variants
        Their places in the landscape, ascending.
    genes
        The gene of each.
    pathway
        The causal pathway, or "" for a locus.
    sign
        +1 or -1, of its effect.
    """

    variants: tuple[int, ...]
    genes: tuple[str, ...]
    pathway: str
    sign: int


@dataclass(frozen=True, eq=False)
class Phenotype:
    """One trait of all people.

    Parameters
    ----------
    columns
        Its columns among the targets.
    value
        True genetic value on the scale of the liability, mean 0 in the population, (n_people,).
    effects
        Effect of each cause: change of the liability for one standard deviation of its coding.
    tables
        Coded value of each cause by population and copies, (n_populations, 3) or (n_populations, 3, 3).
    oracle
        "r2": of the liability by the genetic value, in the population; "auc" of a binary trait by the genetic value, expected.
    """

    columns: dict[str, np.ndarray]
    value: np.ndarray
    effects: np.ndarray
    tables: tuple[np.ndarray, ...]
    oracle: dict[str, float]


def choose_causes(trait: Trait, landscape: Landscape, seed: int) -> tuple[Cause, ...]:
    """Draw the causal pathways, genes and variants of a trait.

    Only autosomal genes, and variants that lie in no other gene, count; their frequency is at least 0.05 ("additive") or 0.2.

    Raises
    ------
    ValueError
        If the landscape has not enough of them.
    """
    if not trait.genetic:
        return ()
    rng = generator(seed, "causes", trait.name, trait.scenario)
    if trait.scenario == "locus":
        middle = landscape.genes.loc[landscape.strong[1]]
        return (Cause(((middle["first"] + middle["last"] - 1) // 2,), (landscape.strong[1],), "", 1),)
    per_gene = trait.per_gene or PER_GENE[trait.scenario]
    needed = {"within": 2 * per_gene, "across": per_gene}.get(trait.scenario, per_gene)
    eligible = _eligible(landscape, LEAST_COMMON[trait.scenario])
    many = {gene for gene, places in eligible.items() if len(places) >= needed}
    causes: list[Cause] = []
    for pathway, genes in _causal_genes(trait, landscape, many, needed, rng).items():
        drawn = {gene: _drawn(trait, landscape, eligible[gene], needed, rng) for gene in genes}
        if trait.scenario == "across":
            found: list[tuple[tuple[str, int], ...]] = [
                ((one, a), (other, b))
                for one, other in zip(genes[::2], genes[1::2], strict=True)
                for a, b in zip(drawn[one], drawn[other], strict=True)
            ]
        elif trait.scenario == "within":
            found = [
                ((gene, a), (gene, b))
                for gene in genes
                for a, b in zip(drawn[gene][::2], drawn[gene][1::2], strict=True)
            ]
        else:
            found = [((gene, a),) for gene in genes for a in drawn[gene]]
        for together in found:
            own = sorted((place, gene) for gene, place in together)
            sign = 1 if rng.random() < 0.5 else -1
            causes.append(Cause(tuple(place for place, _ in own), tuple(gene for _, gene in own), pathway, sign))
    return tuple(causes)


def _eligible(landscape: Landscape, least: float) -> dict[str, np.ndarray]:
    genes, table = landscape.genes, landscape.variants
    held = np.zeros(len(table), dtype=np.int64)
    for first, last in zip(genes["first"], genes["last"], strict=True):
        held[first:last] += 1
    fit = (held == 1) & (table["frequency"].to_numpy() >= least) & (table["chromosome"] != "X").to_numpy()
    fit &= ~table["strong"].to_numpy()
    return {
        gene: first + np.flatnonzero(fit[first:last])
        for gene, first, last in zip(genes.index, genes["first"], genes["last"], strict=True)
    }


def _causal_genes(
    trait: Trait, landscape: Landscape, fit: set[str], needed: int, rng: np.random.Generator
) -> dict[str, list[str]]:
    each = trait.genes // trait.pathways
    taken: set[str] = set()
    found: dict[str, list[str]] = {}
    names = list(landscape.pathways)
    for at in rng.permutation(len(names)):
        left = [gene for gene in landscape.pathways[names[at]] if gene in fit and gene not in taken]
        if len(found) < trait.pathways and len(left) >= each:
            found[names[at]] = [left[i] for i in rng.permutation(len(left))[:each]]
            taken |= set(landscape.pathways[names[at]])
    if len(found) < trait.pathways:
        most = max(sum(gene in fit for gene in genes) for genes in landscape.pathways.values())
        raise ValueError(
            f"trait {trait.name!r} needs {trait.pathways:,} pathways with {each:,} genes that have {needed:,} autosomal variants "
            f"of a frequency of at least {LEAST_COMMON[trait.scenario]:g} of their own, and no gene twice; the richest pathway has "
            f"{most:,} such genes. Ask for fewer causal genes or pathways, or for more variants."
        )
    return found


def _drawn(trait: Trait, landscape: Landscape, places: np.ndarray, needed: int, rng: np.random.Generator) -> list[int]:
    """Causal variants of one gene; those of a pair stand behind each other and lie far apart."""
    if trait.scenario != "within":
        return [int(place) for place in rng.permutation(places)[:needed]]
    cm = landscape.variants["cm"].to_numpy()
    found: list[int] = []
    left = [int(place) for place in places]
    for _ in range(needed // 2):
        pairs = list(combinations(left, 2))
        apart = np.array([abs(cm[b] - cm[a]) for a, b in pairs])
        far = np.flatnonzero(apart >= 0.75 * apart.max())
        pair = pairs[int(rng.choice(far))]
        found += pair
        left = [place for place in left if place not in pair]
    return found


def phenotype(
    trait: Trait,
    causes: tuple[Cause, ...],
    landscape: Landscape,
    taken: Taken,
    wanted: np.ndarray,
    people: Pedigree,
    covariates: pd.DataFrame,
    seed: int,
) -> Phenotype:
    """The trait of all people.

    Effects are scaled by the exact variance of the genetic value among mosaics of these founders, linkage between causal
    variants included, so that h2 holds in the population and not only in this sample.

    Parameters
    ----------
    wanted
        Places in the landscape of the variants of `taken`.
    covariates
        Columns `age` and `sex`.
    """
    n_populations = taken.alleles.shape[1]
    loci = [np.searchsorted(wanted, cause.variants) for cause in causes]
    moments = _Moments.at(landscape, taken.alleles, wanted)
    tables = tuple(_table(trait.scenario, moments, at) for at in loci)
    signs = np.array([cause.sign for cause in causes], dtype=float)
    means = np.zeros((n_populations, len(causes)))
    within = np.zeros(n_populations)
    for population in range(n_populations):
        means[population], covariance = moments.of(loci, tables, population)
        within[population] = signs @ covariance @ signs
    middle = means @ signs
    spread = within.mean() + middle.var()
    scale = np.sqrt(trait.genetic / spread) if spread > 0 else 0.0
    value = np.zeros(people.n_people)
    for sign, at, table in zip(signs, loci, tables, strict=True):
        value += sign * scale * table[(people.population, *taken.dosages[at])]
    value -= scale * middle.mean()
    side = _sides(n_populations) * np.sqrt(trait.between)
    known = value + side[people.population] + np.sqrt(trait.covariates / 2) * _standard(covariates).sum(1)
    noise = 1 - scale**2 * within.mean() - (scale * middle + side).var() - trait.covariates
    if noise <= 0:
        raise ValueError(
            f"nothing is left for chance in trait {trait.name!r}: genes and populations together explain {1 - noise:.2f} of its "
            "variance. Lower h2 or population."
        )
    columns, oracle = _columns(trait, known, noise, value, seed)
    return Phenotype(columns, value, signs * scale, tables, {"r2": trait.genetic, **oracle})


def draw_covariates(people: Pedigree, n_populations: int, seed: int) -> pd.DataFrame:
    """Age (40 to 69 years; children are 18 to 37 years younger than their younger parent), sex, and axes of ancestry.

    `pc1`, `pc2`, ... are what principal components would show: one axis less than populations, with a little noise.
    """
    n = people.n_people
    low, high = AGES
    share = generator(seed, "ages").random(n)
    age = low + np.floor((high - low) * share)
    parents = age[: FAMILY * people.families].reshape(-1, FAMILY)[:, :2].min(1)
    age[~people.founders] = np.repeat(parents, 2) - 18 - np.floor(20 * share[~people.founders])
    found: dict[str, np.ndarray] = {"age": age, "sex": np.where(people.male, "male", "female").astype(object)}
    axes = _axes(n_populations)
    for axis in range(n_populations - 1):
        noise = generator(seed, "ancestry", axis).standard_normal(n)
        found[f"pc{axis + 1}"] = axes[people.population, axis] + 0.1 * noise
    return pd.DataFrame(found, index=people.index)


def _axes(n: int) -> np.ndarray:
    """Helmert contrasts of n populations, each of variance 1, (n, n - 1)."""
    made = np.tril(-np.ones((n, n)), -1).T[:, 1:] if n > 1 else np.zeros((n, 0))
    for axis in range(n - 1):
        made[axis + 1, axis] = axis + 1
    return made / np.sqrt((made**2).mean(0)) if n > 1 else made


def _sides(n: int) -> np.ndarray:
    """Evenly spaced values of n populations, mean 0 and variance 1."""
    even = np.arange(n) - (n - 1) / 2
    return even / even.std() if n > 1 else np.zeros(n)


def _standard(covariates: pd.DataFrame) -> np.ndarray:
    low, high = AGES
    age = (covariates["age"].to_numpy() + 0.5 - (low + high) / 2) / ((high - low) / np.sqrt(12))
    return np.stack([age, np.where(covariates["sex"] == "male", 1.0, -1.0)], axis=1)


@dataclass(frozen=True, eq=False)
class _Moments:
    """Exact means and covariances of coded causes: alleles of founders, and where the variants lie."""

    alleles: np.ndarray
    chromosome: np.ndarray
    cm: np.ndarray  # of the blocks of the variants

    @classmethod
    def at(cls, landscape: Landscape, alleles: np.ndarray, wanted: np.ndarray) -> _Moments:
        table = landscape.variants.iloc[wanted]
        return cls(alleles, table["chromosome"].to_numpy(), table["block_cm"].to_numpy())

    def stay(self, loci: np.ndarray) -> np.ndarray:
        """Probability that a haplotype copies the same founder from each locus to the next."""
        same = self.chromosome[loci[1:]] == self.chromosome[loci[:-1]]
        return np.where(same, np.exp(-SWITCHING * np.abs(np.diff(self.cm[loci]))), 0.0)

    def joint(self, loci: np.ndarray, population: int) -> np.ndarray:
        """Probabilities of the copies at ascending loci, (3,) * n_loci."""
        return genotypes(self.alleles[loci, population], self.stay(loci))

    def of(
        self, loci: list[np.ndarray], tables: tuple[np.ndarray, ...], population: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean of each cause, and covariances between them."""
        n = len(loci)
        mean, covariance = np.zeros(n), np.zeros((n, n))
        for i, (at, table) in enumerate(zip(loci, tables, strict=True)):
            weight = self.joint(at, population)
            mean[i] = (weight * table[population]).sum()
            covariance[i, i] = (weight * table[population] ** 2).sum() - mean[i] ** 2
        for i, j in combinations(range(n), 2):
            both = np.unique(np.concatenate([loci[i], loci[j]]))
            if self._apart(loci[i], loci[j], both):
                continue
            weight = self.joint(both, population)
            one, other = (_spread(tables[k][population], loci[k], both) for k in (i, j))
            covariance[i, j] = covariance[j, i] = (weight * one * other).sum() - mean[i] * mean[j]
        return mean, covariance

    def _apart(self, one: np.ndarray, other: np.ndarray, both: np.ndarray) -> bool:
        """Whether two causes are independent: wherever loci are linked, they are of the same cause."""
        linked = self.stay(both) > UNLINKED
        group = np.concatenate([[0], np.cumsum(~linked)])
        of = dict(zip(both, group, strict=True))
        return not {of[at] for at in one} & {of[at] for at in other}


def _spread(table: np.ndarray, loci: np.ndarray, both: np.ndarray) -> np.ndarray:
    """A table over some loci as one over more."""
    shape = [3 if at in loci else 1 for at in both]
    return table.reshape(shape)


def _table(scenario: str, moments: _Moments, loci: np.ndarray) -> np.ndarray:
    """Coded value of a cause, by population and copies."""
    frequency = moments.alleles[loci].mean(2)
    copies = np.arange(3)
    made = []
    for population in range(frequency.shape[1]):
        p = frequency[:, population]
        if scenario in ("additive", "locus"):
            p = frequency.mean(1)
        q = 1 - p
        if not (p * q).all():
            made.append(np.zeros((3,) * len(loci)))
        elif scenario in ("additive", "locus"):
            made.append((copies - 2 * p[0]) / np.sqrt(2 * p[0] * q[0]))
        elif scenario == "dominance":
            made.append(np.array([-p[0] / q[0], 1.0, -q[0] / p[0]]))
        else:
            one, other = ((copies - 2 * p[i]) / np.sqrt(2 * p[i] * q[i]) for i in (0, 1))
            made.append(without_marginals(np.outer(one, other), moments.joint(loci, population)))
    return np.stack(made)


def _columns(
    trait: Trait, known: np.ndarray, noise: float, value: np.ndarray, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    rng, n = generator(seed, "environment", trait.name), len(known)
    if trait.kind == "survival":
        hazard = np.exp(known * GUMBEL / np.sqrt(noise))
        time = rng.standard_exponential(n) / hazard
        end = np.full(n, np.inf)
        if trait.censored:
            rate = brentq(lambda log: (1 / (1 + hazard * np.exp(-log))).mean() - trait.censored, -60.0, 60.0)
            end = generator(seed, "censoring", trait.name).standard_exponential(n) / np.exp(rate)
        seen = time <= end
        until = np.maximum(np.minimum(time, end), np.finfo(float).tiny)
        return {f"{trait.name}_time": until, f"{trait.name}_event": seen.astype(np.int64)}, {}
    spread = np.sqrt(noise)
    liability = known + spread * rng.standard_normal(n)
    if trait.kind == "quantitative":
        return {trait.name: liability}, {}
    far = 10.0 + np.abs(known).max()
    threshold = brentq(lambda at: ndtr((known - at) / spread).mean() - trait.prevalence, -far, far, xtol=1e-12)
    case = np.where(liability > threshold, "case", "control").astype(object)
    chance = ndtr((known - threshold) / spread)
    return {trait.name: case}, {"auc": _auc(value, chance)}


def _auc(value: np.ndarray, chance: np.ndarray) -> float:
    """Expected AUC of a value among people who are cases with these probabilities."""
    _, of = np.unique(value, return_inverse=True)
    case, control = np.bincount(of, chance), np.bincount(of, 1 - chance)
    return float((case * (np.cumsum(control) - control / 2)).sum() / (case.sum() * control.sum()))

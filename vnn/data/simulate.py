"""Planted cohorts: expression in which one or several gene sets are known to drive the phenotype."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtr

from vnn import chance
from vnn._errors import AlignmentError, choose, culprits
from vnn.data.kin import Kin, kin
from vnn.data.samples import Samples
from vnn.ontology.ontology import MEMBERSHIP, Ontology

COMMUNALITY = 0.5
GRID = np.linspace(-9.0, 9.0, 9001)
STEEP, STEEPEST = 100.0, 1000.0
TARGETS = ("phenotype", "quantity", "survival")
SIDES = ("a", "b")


@dataclass(frozen=True, eq=False)
class Residual:
    """How the noise of genes correlates, beside what the factors of their sets explain.

    Parameters
    ----------
    share
        Share of the variance of the noise that genes have in common; the rest is independent.
    like
        Real expression whose correlation between genes is copied: noise is a random combination of its standardised
        samples, so that its covariance is their correlation matrix. Genes it lacks, or that do not vary in it, get
        independent noise. Without it the correlation is synthetic.
    rank
        Number of synthetic components, each gene having a random direction among them.
    marginals
        Give every gene that varies in `like` the distribution of its values there (by ranks, interpolated) instead of a
        normal one.
    """

    share: float = 0.3
    like: Samples | None = None
    rank: int = 10
    marginals: bool = False


@dataclass(frozen=True)
class Batch:
    """Batches that shift every gene.

    Parameters
    ----------
    levels
        How many there are, of equal expected size.
    effect
        Standard deviation, over genes, of the shift of a standardised gene in a batch.
    association
        Share of cases in the last batch minus that in the first; those between lie evenly between.
    declared
        Whether the covariate "batch" tells the analyst.
    """

    levels: int = 2
    effect: float = 0.5
    association: float = 0.0
    declared: bool = True


@dataclass(frozen=True)
class Confounder:
    """A side, "a" or "b", that moves the factor of a set and the phenotype; the set itself does nothing.

    Parameters
    ----------
    drives
        The gene set whose factor it moves.
    r2
        Share of the variance of that factor it explains.
    association
        Share of cases on side "b" minus that on side "a".
    declared
        Whether the covariate "confounder" tells the analyst.
    """

    drives: str
    r2: float = 0.5
    association: float = 0.4
    declared: bool = True


@dataclass(frozen=True, eq=False)
class Truth:
    """What was planted.

    Parameters
    ----------
    causal
        The gene set whose factor drives the phenotype; of several the heaviest, of equally heavy ones the first by name.
    carriers
        Genes that carry a causal factor, sorted, with +1 for up and -1 for down; 0 where several cancel.
    oracle_auc
        AUC of the factor itself in the population.
    slope
        Change of the log odds of "case" (and of the log hazard) for one standard deviation of the factor.
    factor
        The causal factor of each sample, indexed by id; of several the weighted sum, with variance 1.
    causes
        Weight of each causal set in that sum.
    loadings
        What each gene carries of each set's factor: gene, set, loading, in standard deviations.
    kin
        `Kin` of each causal set.
    confounded
        The set that a confounder moves.
    confounder, batch
        Side and batch of each sample, whether declared or not.
    """

    causal: str
    carriers: dict[str, int]
    oracle_auc: float
    slope: float
    factor: pd.Series
    causes: dict[str, float] = field(default_factory=dict)
    loadings: pd.DataFrame = field(default_factory=pd.DataFrame)
    kin: dict[str, Kin] = field(default_factory=dict)
    confounded: str | None = None
    confounder: pd.Series | None = None
    batch: pd.Series | None = None

    @property
    def family(self) -> frozenset[str]:
        """The family of any causal set."""
        return frozenset().union(*(found.family for found in self.kin.values()))

    @property
    def related(self) -> frozenset[str]:
        """What is related to any causal set."""
        return frozenset().union(*(found.related for found in self.kin.values()))


@dataclass(frozen=True, eq=False)
class Simulated:
    """A planted cohort: what an analyst sees, and the truth behind it."""

    samples: Samples
    truth: Truth

    def permuted(self, seed: int) -> Simulated:
        """The same people with their targets in random order: nothing is left to be found.

        Values, batches and confounder stay as they are. The truth keeps the factor and the loadings; its causes, carriers and
        kin are empty and its oracle AUC is 0.5.
        """
        order = chance.generator(seed, "permuted phenotype").permutation(self.samples.n_samples)
        samples = replace(
            self.samples,
            targets=self.samples.targets.iloc[order].set_axis(list(self.samples.ids)),
            log=(*self.samples.log, f"permuted: targets in random order, seed {seed}"),
        )
        truth = replace(self.truth, carriers={}, causes={}, kin={}, oracle_auc=0.5, slope=0.0)
        return Simulated(samples, truth)


def simulate_expression(
    gene_sets: Mapping[str, Collection[str]] | Ontology,
    *,
    causal: str | Sequence[str] | Mapping[str, float],
    n_samples: int = 600,
    oracle_auc: float = 0.95,
    carriers: float = 0.6,
    r2: float = 0.10,
    down: float = 0.25,
    prevalence: float = 0.5,
    relations: Iterable[tuple[str, str]] = (),
    residual: Residual | None = None,
    batch: Batch | None = None,
    confounder: Confounder | None = None,
    missing: float = 0.0,
    targets: Collection[str] = ("phenotype",),
    censored: float = 0.3,
    seed: int,
) -> Simulated:
    """A cohort whose phenotype is driven by one gene set, or by several.

    Every set has a standard normal factor that a share of its genes, the carriers, follow up or down;
    the causal set differs from the others only in that its factor f decides the phenotype, by
    P(case) = 1 / (1 + exp(-a - slope f)). The slope is solved so that the AUC of f in the population is
    `oracle_auc`, a so that the share of cases is right in every batch and on every side of the confounder. With several
    causal sets f is the weighted sum of their factors. A standardised gene is the sum of its loadings times factors plus
    noise, with variance 1: squared loadings are r2 for causal sets, and smaller for the others where a gene is in so many
    that they would take more than half of its variance. Genes are then put on a log-like scale, with means from 6 to 10
    and standard deviations from 0.5 to 1.5, unless they get real marginals.

    Every draw is named by its set or gene: the first samples of a larger cohort are the smaller cohort, and a batch or
    a confounder changes no other draw.

    Parameters
    ----------
    gene_sets
        Genes of each set, or an ontology; a gene may be in several. Terms of an ontology have the genes of their
        descendants, those without a gene are left out.
    causal
        Name of the causal set; several names, or weights by name. Factors of sets are independent, nested and
        overlapping ones too; a negative weight protects.
    n_samples
        Size of the cohort.
    oracle_auc
        From 0.5 (no signal) to 0.999.
    carriers
        Share of the genes of a set that follow its factor, at least one gene.
    r2
        Share of the variance of a carrier that the factor of a causal set explains.
    down
        Share of the carriers that go down as the factor goes up; 0.5 is a set of mixed signs.
    prevalence
        Share of cases in the population.
    relations
        Pairs of child and parent among the sets, for the kin in the truth; an ontology brings its own.
    residual, batch, confounder
        What else there is in the data; nothing unless given.
    missing
        Share of the values that are missing, completely at random.
    targets
        "phenotype"; "quantity", the liability a + slope f + logistic noise whose sign is the phenotype;
        "survival", columns "time" and "event" with hazard exp(a + slope f).
    censored
        Share of the population whose survival is censored, at an exponential time.
    seed
        Seed of the study.

    Returns
    -------
    Samples with the targets ("control" or "case") and the declared covariates, and the truth.

    Raises
    ------
    ValueError
        If a name is unknown, a number is outside its range, a gene would have more variance than 1, or no slope gives the
        oracle AUC.
    AlignmentError
        If no gene is in the real expression whose correlation is to be copied.

    References
    ----------
    SCIENCE.md, planted benchmarks.

    Examples
    --------
    >>> cohort = simulate_expression({"A": ["g1", "g2"], "B": ["g2", "g3"]}, causal="A", n_samples=4, seed=1)
    >>> cohort.samples
    Samples(3 features in 4 samples; targets: phenotype)
    """
    sets, pairs = _sets(gene_sets, relations)
    causes = _causes(causal, sets)
    _check(n_samples, oracle_auc, carriers, r2, down, prevalence, missing, censored)
    for target in targets:
        choose("a target", target, TARGETS)

    genes = tuple(sorted({gene for members in sets.values() for gene in members}))
    ids = tuple(f"sample-{number:04d}" for number in range(1, n_samples + 1))
    signs = {name: _carriers(name, members, carriers, down, seed) for name, members in sets.items()}
    loadings = _loadings(genes, signs, causes, r2)
    factors = np.stack([chance.generator(seed, "factor", name).standard_normal(n_samples) for name in sets])
    strata = _strata(batch, confounder, sets, causes, prevalence, n_samples, seed)
    if confounder is not None:
        at = list(sets).index(confounder.drives)
        factors[at] = np.sqrt(confounder.r2) * strata.side + np.sqrt(1 - confounder.r2) * factors[at]

    values = loadings @ factors
    noise = np.sqrt(np.maximum(1.0 - np.asarray(loadings.power(2).sum(axis=1)).ravel(), 0.0))
    _fill(values, genes, noise, strata.level, residual, batch, missing, seed)

    slope, by_stratum = _solved(oracle_auc, tuple(strata.shares.tolist()))
    intercepts = np.array(by_stratum)
    weights = np.array(list(causes.values()))
    rows = [list(sets).index(name) for name in causes]
    factor = (
        factors[rows[0]] if len(rows) == 1 and weights[0] == 1 else weights / np.linalg.norm(weights) @ factors[rows]
    )
    tendency = intercepts[strata.of] + slope * factor
    index = pd.Index(ids, dtype=object)
    main = min(causes, key=lambda name: (-abs(causes[name]), name))
    samples = Samples(
        values.astype(np.float32),
        genes,
        ids,
        targets=pd.DataFrame(
            _targets(targets, tendency, tuple(causes), slope, intercepts, censored, seed), index=index
        ),
        covariates=pd.DataFrame(strata.declared(batch, confounder), index=index),
        groups=pd.DataFrame(index=index),
        log=(
            f"simulated: {n_samples:,} samples of {len(genes):,} genes, causal {culprits(causes)}, "
            f"oracle AUC {oracle_auc:g}, seed {seed}",
        ),
    )
    truth = Truth(
        main,
        _directions(genes, loadings, list(sets), causes),
        oracle_auc,
        slope,
        pd.Series(factor, index, name=main),
        causes,
        _long(genes, loadings, tuple(sets)),
        {name: kin(sets, pairs, name) for name in causes},
        None if confounder is None else confounder.drives,
        None if confounder is None else pd.Series(strata.sides, index, name="confounder"),
        None if batch is None else pd.Series(strata.batches, index, name="batch"),
    )
    return Simulated(samples, truth)


def slope_of(oracle_auc: float) -> float:
    """The log odds per standard deviation of a normal factor at which its AUC in the population is this."""
    if oracle_auc == 0.5:
        return 0.0
    return float(brentq(lambda slope: auc_of(slope) - oracle_auc, 0.0, STEEPEST, xtol=1e-10))


def auc_of(slope: float) -> float:
    """Population AUC of a standard normal factor f for a phenotype with P(case) = 1 / (1 + exp(-slope f))."""
    return _auc(expit(slope * GRID), expit(-slope * GRID))


def _auc(case: np.ndarray, control: np.ndarray) -> float:
    density = np.exp(-(GRID**2) / 2)
    case, control = density * case, density * control
    below = np.cumsum(control) - control / 2
    return float((case * below).sum() / (case.sum() * control.sum()))


@cache
def _solved(oracle_auc: float, shares: tuple[float, ...]) -> tuple[float, tuple[float, ...]]:
    """Slope, and an intercept for each stratum in which this share of people, all strata being equally large, are cases."""
    if set(shares) == {0.5}:
        return slope_of(oracle_auc), (0.0,) * len(shares)
    grid = GRID[::4]
    density = np.exp(-(grid**2) / 2)
    density /= density.sum()

    def intercepts(slope: float) -> dict[float, float]:
        far = 40.0 + 10.0 * slope
        return {
            share: float(brentq(lambda a, share=share: density @ expit(a + slope * grid) - share, -far, far, xtol=1e-8))
            for share in set(shares)
        }

    def auc(slope: float) -> float:
        found = intercepts(slope)
        case = np.mean([expit(found[share] + slope * GRID) for share in shares], axis=0)
        return _auc(case, 1 - case)

    slope = 0.0
    if oracle_auc > 0.5:
        if (most := auc(STEEP)) < oracle_auc:
            raise ValueError(
                f"oracle_auc is {oracle_auc:g}, but batch and confounder decide so much of the phenotype that the causal "
                f"factor reaches {most:.3f} at most. Ask for less, or lower their association."
            )
        slope = float(brentq(lambda slope: auc(slope) - oracle_auc, 0.0, STEEP, xtol=1e-8))
    found = intercepts(slope)
    return slope, tuple(found[share] for share in shares)


@dataclass(frozen=True, eq=False)
class _Strata:
    """Side and batch of each sample, the stratum they make, and the share of cases in each stratum."""

    side: np.ndarray
    level: np.ndarray
    of: np.ndarray
    shares: np.ndarray

    @property
    def sides(self) -> np.ndarray:
        return np.where(self.side > 0, *SIDES[::-1]).astype(object)

    @property
    def batches(self) -> np.ndarray:
        return np.array([f"batch {level + 1}" for level in self.level], dtype=object)

    def declared(self, batch: Batch | None, confounder: Confounder | None) -> dict[str, np.ndarray]:
        found = {}
        if batch is not None and batch.declared:
            found["batch"] = self.batches
        if confounder is not None and confounder.declared:
            found["confounder"] = self.sides
        return found


def _strata(
    batch: Batch | None,
    confounder: Confounder | None,
    sets: Mapping[str, tuple[str, ...]],
    causes: Mapping[str, float],
    prevalence: float,
    n_samples: int,
    seed: int,
) -> _Strata:
    n_levels, moved = 1, [0.0]
    level, side, right = np.zeros(n_samples, int), np.zeros(n_samples), np.zeros(n_samples, int)
    if batch is not None:
        if batch.levels < 2:
            raise ValueError(f"batch.levels is {batch.levels}; at least 2 are needed, or no batch at all.")
        if batch.effect < 0:
            raise ValueError(f"batch.effect is {batch.effect:g}; it is a standard deviation, 0 or more.")
        n_levels = batch.levels
        moved = list(batch.association * (np.arange(n_levels) / (n_levels - 1) - 0.5))
        level = (chance.generator(seed, "batch").random(n_samples) * n_levels).astype(int)
    sided = [0.0]
    if confounder is not None:
        choose("confounder.drives", confounder.drives, sets)
        if confounder.drives in causes:
            raise ValueError(
                f"confounder.drives is {confounder.drives!r}, a causal set; the confounder needs a set without a direct effect."
            )
        _within("confounder.r2", confounder.r2, 0.0, 1.0)
        sided = [-confounder.association / 2, confounder.association / 2]
        right = (chance.generator(seed, "confounder").random(n_samples) < 0.5).astype(int)
        side = 2.0 * right - 1.0
    shares = np.array([prevalence + by_batch + by_side for by_batch, by_side in product(moved, sided)])
    if not ((shares > 0) & (shares < 1)).all():
        raise ValueError(
            f"prevalence {prevalence:g} and the associations of batch and confounder give shares of cases from "
            f"{shares.min():.2f} to {shares.max():.2f}; they must lie between 0 and 1. Lower the associations."
        )
    return _Strata(side, level, level * len(sided) + right, shares)


def _fill(
    values: np.ndarray,
    genes: tuple[str, ...],
    noise: np.ndarray,
    level: np.ndarray,
    residual: Residual | None,
    batch: Batch | None,
    missing: float,
    seed: int,
) -> None:
    """Add noise, residual correlation and batches to the explained part, and put genes on their scale, in place."""
    n_samples = values.shape[1]
    common, shared = _common(residual, genes, n_samples, seed)
    real = _distributions(residual)
    for row, gene in enumerate(genes):
        own = chance.generator(seed, "noise", gene).standard_normal(n_samples)
        if shared[row]:
            own = np.sqrt(1 - shared[row]) * own + np.sqrt(shared[row]) * common[row]
        values[row] += noise[row] * own
        if batch is not None:
            values[row] += (
                batch.effect * chance.generator(seed, "batch shift", gene).standard_normal(batch.levels)[level]
            )
        mean, deviation = chance.generator(seed, "scale", gene).uniform((6.0, 0.5), (10.0, 1.5))
        if gene in real:
            values[row] = np.interp(ndtr(values[row]), (np.arange(len(real[gene])) + 0.5) / len(real[gene]), real[gene])
        else:
            values[row] = mean + deviation * values[row]
        if missing:
            values[row, chance.generator(seed, "missing", gene).random(n_samples) < missing] = np.nan


def _common(
    residual: Residual | None, genes: tuple[str, ...], n_samples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The noise that genes have in common, with variance 1, and its share in each gene."""
    if residual is None:
        return np.zeros((0, n_samples)), np.zeros(len(genes))
    _within("residual.share", residual.share, 0.0, 1.0)
    if residual.like is None:
        if residual.marginals:
            raise ValueError("residual.marginals needs real expression: give it as residual.like.")
        if residual.rank < 1:
            raise ValueError(f"residual.rank is {residual.rank}; at least 1 component is needed.")
        directions = np.stack(
            [chance.generator(seed, "residual direction", gene).standard_normal(residual.rank) for gene in genes]
        )
    else:
        directions = _centred(residual.like, genes)
    length = np.linalg.norm(directions, axis=1)
    directions /= np.where(length > 0, length, 1.0)[:, None]
    components = [
        chance.generator(seed, "residual", number).standard_normal(n_samples) for number in range(directions.shape[1])
    ]
    return directions @ np.stack(components), np.where(length > 0, residual.share, 0.0)


def _distributions(residual: Residual | None) -> dict[str, np.ndarray]:
    """Sorted real values by gene, where marginals are to be real."""
    if residual is None or residual.like is None or not residual.marginals:
        return {}
    found = {
        gene: np.sort(own[~np.isnan(own)])
        for gene, own in zip(residual.like.features, residual.like.values, strict=True)
    }
    return {gene: own for gene, own in found.items() if len(own) and own[0] < own[-1]}


def _centred(like: Samples, genes: tuple[str, ...]) -> np.ndarray:
    """Centred real values of the genes, shape (n_genes, n_samples); rows of 0 for genes that are absent or do not vary."""
    known = set(like.features)
    here = [row for row, gene in enumerate(genes) if gene in known]
    if not here:
        raise AlignmentError(
            f"none of the {len(genes):,} genes of the sets is in the real expression; the sets have names like "
            f"{culprits(genes[:3])}, the expression like {culprits(like.features[:3])}. Check the identifier type."
        )
    real = pd.DataFrame(like.select([genes[row] for row in here]).values.astype(np.float64))
    centred = real.sub(real.mean(axis=1), axis=0).fillna(0.0)
    centred[np.isclose(real.max(axis=1), real.min(axis=1), rtol=1e-6, atol=0.0)] = 0.0
    found = np.zeros((len(genes), like.n_samples))
    found[here] = centred
    return found


def _targets(
    asked: Collection[str],
    tendency: np.ndarray,
    causes: tuple[str, ...],
    slope: float,
    intercepts: np.ndarray,
    censored: float,
    seed: int,
) -> dict[str, np.ndarray]:
    n_samples = len(tendency)
    drawn = chance.generator(seed, "phenotype", *causes).random(n_samples)
    found: dict[str, np.ndarray] = {}
    if "phenotype" in asked:
        found["phenotype"] = np.where(drawn < expit(tendency), "case", "control").astype(object)
    if "quantity" in asked:
        found["quantity"] = tendency - logit(np.maximum(drawn, np.finfo(float).tiny))
    if "survival" in asked:
        until = chance.generator(seed, "time", *causes).standard_exponential(n_samples) / np.exp(tendency)
        end = np.full(n_samples, np.inf)
        if censored:
            end = chance.generator(seed, "censoring", *causes).standard_exponential(n_samples)
            end /= _censoring_rate(censored, slope, intercepts)
        found["time"] = np.maximum(np.minimum(until, end), np.finfo(float).tiny)
        found["event"] = (until <= end).astype(int)
    return found


def _censoring_rate(censored: float, slope: float, intercepts: np.ndarray) -> float:
    """Rate c at which the mean over the population of c / (c + hazard) is the share that is censored."""
    density = np.exp(-(GRID**2) / 2)
    density /= density.sum()
    hazard = intercepts[:, None] + slope * GRID

    def share(log_rate: float) -> float:
        return float((expit(log_rate - hazard) @ density).mean())

    far = 40.0 + 10.0 * slope + float(np.abs(intercepts).max())
    return float(np.exp(brentq(lambda log_rate: share(log_rate) - censored, -far, far)))


def _sets(
    gene_sets: Mapping[str, Collection[str]] | Ontology, relations: Iterable[tuple[str, str]]
) -> tuple[dict[str, tuple[str, ...]], list[tuple[str, str]]]:
    if isinstance(gene_sets, Ontology):
        given: Mapping[str, Collection[str]] = {name: held for name, held in gene_sets.gene_sets().items() if held}
        member = gene_sets.relations[gene_sets.relations["type"].isin(MEMBERSHIP)]
        own = zip(member["child"], member["parent"], strict=True)
        pairs = [(child, parent) for child, parent in own if child in given and parent in given]
    else:
        given, pairs = gene_sets, list(relations)
    sets = {name: tuple(sorted(set(given[name]))) for name in sorted(given)}
    if empty := [name for name, genes in sets.items() if not genes]:
        raise ValueError(f"{len(empty):,} gene sets have no genes, such as {empty[0]!r}; leave them out.")
    return sets, pairs


def _causes(causal: str | Sequence[str] | Mapping[str, float], sets: Mapping[str, tuple[str, ...]]) -> dict[str, float]:
    if isinstance(causal, str):
        causal = [causal]
    weights = dict(causal) if isinstance(causal, Mapping) else dict.fromkeys(causal, 1.0)
    if not weights:
        raise ValueError(
            "causal is empty; name at least one gene set, and use oracle_auc=0.5 for a cohort without signal."
        )
    for name, weight in weights.items():
        choose("causal", name, sets)
        if not np.isfinite(weight) or weight == 0:
            raise ValueError(f"the weight of the causal set {name!r} is {weight:g}; it must be a number other than 0.")
    return {name: float(weights[name]) for name in sorted(weights)}


def _carriers(name: str, genes: tuple[str, ...], share: float, down: float, seed: int) -> dict[str, int]:
    count = max(1, round(share * len(genes)))
    chosen = chance.generator(seed, "carriers", name).permutation(len(genes))[:count]
    n_down = round(down * count)
    return {genes[gene]: -1 if place < n_down else 1 for place, gene in enumerate(chosen)}


def _loadings(
    genes: tuple[str, ...], signs: Mapping[str, Mapping[str, int]], causes: Collection[str], r2: float
) -> sparse.csr_array:
    """Loading of each gene on the factor of each set, shape (n_genes, n_sets)."""
    row = {gene: number for number, gene in enumerate(genes)}
    n_others, n_causal = np.zeros(len(genes)), np.zeros(len(genes))
    for name, carried in signs.items():
        counted = n_causal if name in causes else n_others
        counted[[row[gene] for gene in carried]] += 1
    taken = n_causal * r2
    if (over := taken > 1.0 + 1e-12).any():
        full = [genes[at] for at in np.flatnonzero(over)]
        raise ValueError(
            f"{len(full):,} genes carry up to {int(n_causal.max())} causal factors with r2 {r2:g} each, more than their whole "
            f"variance: {culprits(full)}. Lower r2 to at most {1 / n_causal.max():.2g}, or carriers."
        )
    left = np.maximum(COMMUNALITY - taken, 0.0)
    other = np.minimum(r2, left / np.maximum(n_others, 1))
    rows, columns, loadings = [], [], []
    for column, (name, carried) in enumerate(signs.items()):
        for gene, sign in carried.items():
            rows.append(row[gene])
            columns.append(column)
            loadings.append(sign * np.sqrt(r2 if name in causes else other[row[gene]]))
    return sparse.csr_array((loadings, (rows, columns)), shape=(len(genes), len(signs)))


def _directions(
    genes: tuple[str, ...], loadings: sparse.csr_array, sets: list[str], causes: Mapping[str, float]
) -> dict[str, int]:
    columns = [sets.index(name) for name in causes]
    carried = loadings[:, columns].toarray()
    sums = carried @ np.array(list(causes.values()))
    rows = np.flatnonzero((carried != 0).any(axis=1))
    return {genes[row]: int(np.sign(np.round(sums[row], 12))) for row in rows}


def _long(genes: tuple[str, ...], loadings: sparse.csr_array, sets: tuple[str, ...]) -> pd.DataFrame:
    found = loadings.tocoo()
    table = pd.DataFrame(
        {
            "gene": np.array(genes, dtype=object)[found.row],
            "set": np.array(sets, dtype=object)[found.col],
            "loading": found.data,
        }
    )
    return table[table["loading"] != 0].sort_values(["set", "gene"], ignore_index=True)


def _check(
    n_samples: int,
    oracle_auc: float,
    carriers: float,
    r2: float,
    down: float,
    prevalence: float,
    missing: float,
    censored: float,
) -> None:
    _within("oracle_auc", oracle_auc, 0.5, 0.999)
    _within("carriers", carriers, 0.0, 1.0)
    _within("r2", r2, 0.0, 1.0)
    _within("down", down, 0.0, 1.0)
    _within("prevalence", prevalence, 0.001, 0.999)
    _within("missing", missing, 0.0, 0.95)
    _within("censored", censored, 0.0, 0.95)
    if n_samples < 1:
        raise ValueError(f"n_samples is {n_samples}; at least 1 is needed.")


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is {value:g}; it must be between {low:g} and {high:g}.")

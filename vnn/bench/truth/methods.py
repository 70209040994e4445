"""Methods that look for the cause: today's gene-set tests, and a network without a verdict.

All of them see the training people alone for naming, genes standardised on them, and declared covariates; findings are
those with q < 0.05 (Benjamini & Hochberg over all terms) unless the method says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import false_discovery_control, hypergeom, norm, rankdata
from scipy.stats import t as student
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from vnn.bench.truth.cohorts import Cohort, covariates_of
from vnn.bench.truth.evaluation import Found
from vnn.bench.truth.ours import verdict_of_networks
from vnn.chance import generator
from vnn.data import Samples, hold_out
from vnn.data.splits import Split
from vnn.interpret import node_scores
from vnn.training import fit

Method = Callable[[Cohort], Found]

LEVEL = 0.05
TOP = 0.05
GENE_DRAWS, LABEL_DRAWS = 1000, 200
PENALTIES = np.logspace(-6, 2, 9)
VALIDATION = 0.2


@dataclass(frozen=True, eq=False)
class Seen:
    """A cohort as numbers.

    Parameters
    ----------
    terms
        Names of the gene sets.
    membership
        Shape (n_terms, n_genes), 1 for a member.
    values
        Standardised genes of the training people, shape (n_genes, n_samples).
    case
        1 for cases, shape (n_samples,).
    covariates
        Declared ones, shape (n_samples, n_columns).
    """

    terms: tuple[str, ...]
    membership: sparse.csr_array
    values: np.ndarray
    case: np.ndarray
    covariates: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """Genes of each set."""
        return np.diff(self.membership.indptr)

    def mean(self, per_gene: np.ndarray) -> np.ndarray:
        """Mean over the genes of each set."""
        return np.asarray(self.membership @ per_gene) / (self.sizes if per_gene.ndim == 1 else self.sizes[:, None])


def seen(planted: Cohort, people: Samples | None = None) -> Seen:
    """The training people of a cohort, or these, as the methods take them."""
    train = planted.train if people is None else people
    sets = planted.setting.sets
    row = {gene: number for number, gene in enumerate(train.features)}
    terms = tuple(sets)
    columns = [sorted(row[gene] for gene in sets[term]) for term in terms]
    indptr = np.concatenate([[0], np.cumsum([len(held) for held in columns])])
    flat = np.concatenate(columns)
    membership = sparse.csr_array((np.ones(len(flat)), flat, indptr), shape=(len(terms), len(row)))
    return Seen(
        terms, membership, standardised(train.values, train.values), cases(planted, train.ids), covariates_of(train)
    )


def cases(planted: Cohort, ids: Sequence[str]) -> np.ndarray:
    """1 for each case among these people."""
    return (planted.samples.targets.loc[list(ids), "phenotype"] == "case").to_numpy(dtype=float)


def standardised(values: np.ndarray, on: np.ndarray) -> np.ndarray:
    """Genes with mean 0 and variance 1 among the people `on`; missing values become the mean."""
    of = on.astype(np.float64)
    spread = np.nanstd(of, axis=1, keepdims=True, ddof=1)
    made = (values.astype(np.float64) - np.nanmean(of, axis=1, keepdims=True)) / np.where(spread > 0, spread, 1.0)
    return np.nan_to_num(made)


def without(values: np.ndarray, covariates: np.ndarray) -> np.ndarray:
    """Rows less what an intercept and the covariates explain of them."""
    design = np.column_stack([np.ones(values.shape[-1]), covariates])
    basis, _ = np.linalg.qr(design)
    return values - (values @ basis) @ basis.T


def t_statistics(values: np.ndarray, case: np.ndarray, covariates: np.ndarray) -> tuple[np.ndarray, int]:
    """t of the label in a linear model of each row, given an intercept and the covariates, and its degrees of freedom.

    Without covariates that is the t test with pooled variance. Several columns of `case` give several columns of t.
    """
    labels = case[:, None] if case.ndim == 1 else case
    df = len(case) - 2 - covariates.shape[1]
    rows, sides = without(values, covariates), without(labels.T, covariates)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    sides = sides / np.maximum(np.linalg.norm(sides, axis=1, keepdims=True), 1e-12)
    r = np.clip(rows @ sides.T, -1 + 1e-12, 1 - 1e-12)
    found = r * np.sqrt(df / (1 - r**2))
    return (found[:, 0] if case.ndim == 1 else found), df


def listed(terms: Sequence[str], p: np.ndarray, strength: np.ndarray, q: np.ndarray | None = None) -> pd.DataFrame:
    """Terms ranked by p, then by strength, and called where q < 0.05."""
    q = false_discovery_control(p) if q is None else q
    order = np.lexsort((-strength, p))
    keys = np.stack([p, strength], axis=1)[order]
    first = np.concatenate([[True], (keys[1:] != keys[:-1]).any(axis=1)])
    place = np.flatnonzero(first)[np.cumsum(first) - 1] + 1.0
    rank = np.empty(len(p))
    rank[order] = place
    return pd.DataFrame(
        {"rank": rank, "called": q < LEVEL, "p": p, "q": q, "strength": strength},
        index=pd.Index(list(terms), dtype=object),
    )


def over_representation(planted: Cohort) -> Found:
    """Fisher's exact test, one-sided, of each set among the 5 % of genes with the largest |t|."""
    data = seen(planted)
    t, _ = t_statistics(data.values, data.case, data.covariates)
    n_genes = len(t)
    n_top = max(1, round(TOP * n_genes))
    top = np.zeros(n_genes)
    top[np.argsort(-np.abs(t), kind="stable")[:n_top]] = 1.0
    hits = np.asarray(data.membership @ top)
    p = hypergeom.sf(hits - 1, n_genes, data.sizes, n_top)
    return Found(listed(data.terms, p, hits / data.sizes))


def gsea(planted: Cohort) -> Found:
    """GSEA on genes ordered by t (prerank, weight 1, 1,000 draws of genes), by gseapy where it is installed.

    Ours draws random sets of a grid of sizes, each a tenth larger than the last, and interpolates their mean scores.
    Called are sets with a false discovery rate below 0.05.

    References
    ----------
    Subramanian et al. (2005), doi:10.1073/pnas.0506580102
    """
    data = seen(planted)
    t, _ = t_statistics(data.values, data.case, data.covariates)
    if find_spec("gseapy") is not None:
        return _gseapy(planted, data, t)
    order = np.argsort(-t, kind="stable")
    weight = np.abs(t[order])
    place = np.empty(len(t), dtype=int)
    place[order] = np.arange(len(t))
    score = np.empty(len(data.terms))
    for size in np.unique(data.sizes):
        own = np.flatnonzero(data.sizes == size)
        members = np.stack([data.membership.indices[slice(*data.membership.indptr[at : at + 2])] for at in own])
        score[own] = _enrichment(np.sort(place[members], axis=1), weight)
    sizes = _grid(data.sizes)
    scales, drawn = np.empty((2, len(sizes))), []
    for at, size in enumerate(sizes):
        rng = generator(planted.seed, "bench truth genes", int(size))
        null = _enrichment(np.sort(_draws(rng, len(t), int(size)), axis=1), weight)
        for side, chosen in enumerate((null[null >= 0], -null[null < 0])):
            scales[side, at] = chosen.mean() if len(chosen) else 1.0
        drawn.append(np.where(null >= 0, null / scales[0, at], null / scales[1, at]))
    up, down = (np.interp(np.log(data.sizes), np.log(sizes), scale) for scale in scales)
    nes, q = np.where(score >= 0, score / up, score / down), np.ones(len(score))
    null = np.concatenate(drawn)
    for sign in (1, -1):
        mine, chance = sign * nes[sign * nes > 0], np.sort(sign * null[sign * null > 0])
        if len(mine):
            by_chance = 1 - np.searchsorted(chance, mine) / max(len(chance), 1)
            observed = (mine[None, :] >= mine[:, None]).mean(axis=1)
            q[sign * nes > 0] = np.minimum(by_chance / observed, 1.0)
    return Found(listed(data.terms, q, np.abs(nes), q), extras={"by": "own running sum"})


def _grid(sizes: np.ndarray) -> np.ndarray:
    """Sizes of random sets: from the smallest to the largest, each a tenth larger than the one before."""
    steps = int(np.ceil(np.log(sizes.max() / sizes.min()) / np.log(1.1))) + 1
    return np.unique(np.round(np.geomspace(sizes.min(), sizes.max(), steps)).astype(int))


def _draws(rng: np.random.Generator, n: int, size: int) -> np.ndarray:
    """Random sets of `size` of `n` places, shape (draws, size)."""
    if size * 8 > n:
        return np.argpartition(rng.random((GENE_DRAWS, n)), size - 1, axis=1)[:, :size]
    found = rng.integers(n, size=(GENE_DRAWS, size))
    while (again := (np.diff(np.sort(found, axis=1), axis=1) == 0).any(axis=1)).any():
        found[again] = rng.integers(n, size=(int(again.sum()), size))
    return found


def _enrichment(places: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Largest deviation of the running sum for sets of one size at these sorted places, shape (n_sets, size)."""
    size, n = places.shape[1], len(weight)
    hits = np.cumsum(weight[places], axis=1)
    total = hits[:, -1:]
    after = hits / np.where(total > 0, total, 1.0)
    before = after - weight[places] / np.where(total > 0, total, 1.0)
    misses = (places - np.arange(size)) / max(n - size, 1)
    high, low = (after - misses).max(axis=1), (before - misses).min(axis=1)
    return np.where(high > -low, high, low)


def _gseapy(planted: Cohort, data: Seen, t: np.ndarray) -> Found:
    import gseapy

    genes = planted.train.features
    sets = {term: sorted(planted.setting.sets[term]) for term in data.terms}
    ranked = pd.Series(t, index=list(genes)).sort_values(ascending=False, kind="stable")
    done = gseapy.prerank(
        rnk=ranked, gene_sets=sets, min_size=1, max_size=len(genes), permutation_num=GENE_DRAWS, weight=1.0, threads=1,
        outdir=None, no_plot=True, seed=planted.seed, verbose=False,
    )  # fmt: skip
    table = done.res2d.set_index("Term").reindex(list(data.terms))
    nes = table["NES"].astype(float).fillna(0.0).to_numpy()
    q = table["FDR q-val"].astype(float).fillna(1.0).to_numpy()
    return Found(listed(data.terms, q, np.abs(nes), q), extras={"by": f"gseapy {version('gseapy')}"})


def univariate_linear_model(planted: Cohort) -> Found:
    """ULM activity of every set in every person, by decoupler where it is installed, then a t test over people.

    The activity is the t of the slope of a person's standardised genes on membership of the set. The AUC is that of the
    first set's activity in the test people, its direction from the training people.

    References
    ----------
    Badia-i-Mompel et al. (2022), doi:10.1093/bioadv/vbac016
    """
    data = seen(planted)
    activity, by = ulm_activities(data, data.values)
    t, df = t_statistics(activity, data.case, data.covariates)
    table = listed(data.terms, 2 * student.sf(np.abs(t), df), np.abs(t))
    others = standardised(planted.test.values, planted.train.values)
    best = int(np.argmax(np.abs(t)))
    predicted = np.sign(t[best]) * _ulm(data.membership[[best]], others)[0]
    return Found(table, float(roc_auc_score(cases(planted, planted.test.ids), predicted)), {"by": by})


def ulm_activities(data: Seen, values: np.ndarray) -> tuple[np.ndarray, str]:
    """Activity of each set in each person, shape (n_terms, n_samples), and whose code gave it."""
    if find_spec("decoupler") is None:
        return _ulm(data.membership, values), "own formula"
    import decoupler

    genes = [f"g{number}" for number in range(len(values))]
    people = pd.DataFrame(values.T, index=[f"p{number}" for number in range(values.shape[1])], columns=genes)
    varies = data.sizes < len(genes)  # a set of all genes has no slope, and decoupler divides by 0
    rows, columns = data.membership.nonzero()
    rows, columns = rows[varies[rows]], columns[varies[rows]]
    net = pd.DataFrame({"source": [f"t{row}" for row in rows], "target": [genes[column] for column in columns]})
    scores, _ = decoupler.mt.ulm(people, net.assign(weight=1.0), tmin=1)
    found = scores.reindex(index=people.index, columns=[f"t{row}" for row in range(len(data.terms))])
    return found.fillna(0.0).to_numpy(dtype=float).T, f"decoupler {version('decoupler')}"


def _ulm(membership: sparse.csr_array, values: np.ndarray) -> np.ndarray:
    """t of the slope of each person's genes on membership of each set."""
    n_genes = len(values)
    sizes = np.diff(membership.indptr)
    centred = values - values.mean(axis=0)
    products = np.asarray(membership @ centred)
    spread = np.sqrt(sizes * (1 - sizes / n_genes))[:, None] * np.linalg.norm(centred, axis=0)
    r = np.divide(products, spread, out=np.zeros_like(products), where=spread > 0)
    return r * np.sqrt((n_genes - 2) / np.maximum(1 - r**2, 1e-12))


def camera(planted: Cohort) -> Found:
    """Competitive test of the mean gene statistic of a set against the others, variance inflated by the correlation inside it.

    As CAMERA with the correlation estimated from the data: VIF = m times the variance of the mean of the set's standardised
    residuals. Unlike limma's, gene variances are not moderated.

    References
    ----------
    Wu & Smyth (2012), doi:10.1093/nar/gks461
    """
    data = seen(planted)
    t, df = t_statistics(data.values, data.case, data.covariates)
    z = np.sign(t) * norm.isf(student.sf(np.abs(t), df))
    n, m = len(z), data.sizes
    residuals = without(data.values, np.column_stack([data.covariates, data.case]))
    residuals /= np.maximum(np.sqrt((residuals**2).sum(axis=1, keepdims=True) / df), 1e-12)
    inflation = m * (data.mean(residuals) ** 2).sum(axis=1) / df
    outside = np.maximum(n - m, 1)
    delta = n / outside * (data.mean(z) - z.mean())
    pooled = ((n - 1) * z.var(ddof=1) - delta**2 * m * outside / n) / (n - 2)
    found = delta / np.sqrt(np.maximum(pooled, 1e-12) * (inflation / m + 1 / outside))
    found = np.where(m < n, found, 0.0)
    return Found(listed(data.terms, 2 * student.sf(np.abs(found), min(df, n - 2)), np.abs(found)))


def first_component(planted: Cohort) -> Found:
    """t test of the first principal component of a set's genes; the AUC is that of the first set in the test people."""
    data = seen(planted)
    others = standardised(planted.test.values, planted.train.values)
    component = np.empty((len(data.terms), data.values.shape[1]))
    loading: list[np.ndarray] = []
    for at in range(len(data.terms)):
        members = data.membership.indices[slice(*data.membership.indptr[at : at + 2])]
        rows = data.values[members]
        if len(members) <= rows.shape[1]:
            loading.append(np.linalg.eigh(rows @ rows.T)[1][:, -1])
            component[at] = loading[-1] @ rows
        else:
            component[at] = np.linalg.eigh(rows.T @ rows)[1][:, -1]
            loading.append(rows @ component[at])
    t, df = t_statistics(component, data.case, data.covariates)
    best = int(np.argmax(np.abs(t)))
    members = data.membership.indices[slice(*data.membership.indptr[best : best + 2])]
    predicted = np.sign(t[best]) * (loading[best] @ others[members])
    auc = float(roc_auc_score(cases(planted, planted.test.ids), predicted))
    return Found(listed(data.terms, 2 * student.sf(np.abs(t), df), np.abs(t)), auc)


def mean_squared_t_of_all(planted: Cohort) -> Found:
    """Mean squared t with the labels of the test people as well: as many as the verdict sees."""
    return mean_squared_t(planted, planted.samples)


def mean_squared_t(planted: Cohort, people: Samples | None = None) -> Found:
    """Mean squared t of a set's genes against 200 draws of permuted labels, within covariate groups where there are any.

    Statistics are standardised by the mean and SD of the set's own draws, and p is their rank among those of all sets and draws.
    """
    data = seen(planted, people)
    draws = [data.case]
    _, stratum = np.unique(data.covariates, axis=0, return_inverse=True)
    for number in range(LABEL_DRAWS):
        rng = generator(planted.seed, "bench truth labels", number)
        order = np.lexsort((rng.random(len(stratum)), stratum))
        labels = np.empty(len(order))
        labels[np.argsort(stratum, kind="stable")] = data.case[order]
        draws.append(labels)
    t, _ = t_statistics(data.values, np.stack(draws, axis=1), data.covariates)
    statistic = data.mean(t**2)
    null = statistic[:, 1:]
    centre, spread = null.mean(axis=1, keepdims=True), null.std(axis=1, ddof=1, keepdims=True)
    z, pool = ((statistic[:, :1] - centre) / spread)[:, 0], np.sort(((null - centre) / spread).ravel())
    p = (1 + len(pool) - np.searchsorted(pool, z, side="left")) / (1 + len(pool))
    return Found(listed(data.terms, p, z))


def ridge_enrichment(planted: Cohort) -> Found:
    """Mean |coefficient| of a set's genes in a ridge logistic regression, against the mean of as many random genes.

    The penalty is chosen in five inner folds; genes are standardised and covariates taken out of them first. p is
    one-sided, from the normal distribution of the mean of m genes drawn without replacement.
    """
    data = seen(planted)
    rows = without(data.values, data.covariates) if data.covariates.shape[1] else data.values
    left, singular, right = np.linalg.svd(rows.T, full_matrices=False)
    kept = singular > 1e-9 * singular[0]
    columns = left[:, kept] * singular[kept]
    folds = StratifiedKFold(
        5, shuffle=True, random_state=int(generator(planted.seed, "bench truth folds").integers(2**31))
    )
    model = LogisticRegressionCV(
        Cs=PENALTIES, cv=folds, scoring="neg_log_loss", max_iter=2000, use_legacy_attributes=False, l1_ratios=(0.0,)
    )
    model.fit(columns, data.case)
    coefficients = np.abs(model.coef_.ravel() @ right[kept])
    n, m = len(coefficients), data.sizes
    error = np.sqrt(coefficients.var(ddof=1) / m * (1 - m / n))
    z = np.divide(data.mean(coefficients) - coefficients.mean(), error, out=np.zeros(len(m)), where=error > 0)
    others = standardised(planted.test.values, planted.train.values)
    predicted = model.decision_function((right[kept] @ others).T)
    auc = float(roc_auc_score(cases(planted, planted.test.ids), predicted))
    return Found(listed(data.terms, norm.sf(z), z), auc, {"C": float(np.ravel(model.C_)[0])})


def single_network(planted: Cohort) -> Found:
    """DeepLIFT of one visible network without a verdict: nodes ranked by |share| of their level times the nodes of the level.

    Trained with the defaults on the training people, a fifth of whom decide when to stop, and explained on the test people.
    Nothing is called: a single network has no threshold.
    """
    train = planted.train
    inner = hold_out(train.ids, test=0, validation=VALIDATION, seed=planted.seed, stratify=train.targets["phenotype"])
    split = Split("planted", inner.train, inner.validation, planted.split.test)
    topology = planted.setting.topology
    made = fit(
        topology, planted.samples, target="phenotype", splits=[split], n_seeds=1, seed=planted.seed,
        classes=["control", "case"],
    )  # fmt: skip
    table = node_scores(made, planted.samples).table
    nodes = table[table["node"].isin(list(planted.setting.sets)) & (table["level"] != topology.levels[0].name)]
    relative = nodes["share"].abs() * nodes.groupby("level")["node"].transform("size")
    strength = pd.Series(relative.to_numpy(), index=pd.Index(nodes["node"], dtype=object)).fillna(0.0)
    ranked = pd.DataFrame({"rank": rankdata(-strength, method="min"), "called": False}, index=strength.index)
    predicted = made.predict(planted.test).ensemble().mean[:, 1]
    return Found(ranked, float(roc_auc_score(cases(planted, planted.test.ids), predicted)), _training(made.replicates))


def _training(replicates: pd.DataFrame) -> dict[str, Any]:
    return {"state": str(replicates["state"].iloc[0]), "best_epoch": int(replicates["best_epoch"].iloc[0])}


METHODS: Mapping[str, Method] = {
    "over-representation": over_representation,
    "gsea": gsea,
    "ulm": univariate_linear_model,
    "camera": camera,
    "first component": first_component,
    "mean squared t": mean_squared_t,
    "mean squared t of all": mean_squared_t_of_all,
    "ridge": ridge_enrichment,
    "single network": single_network,
    "verdict": verdict_of_networks,
}

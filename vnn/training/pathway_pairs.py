"""Pathway pairs: variants of two genes of a pathway that matter together, every pair tested given both alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import chi2, false_discovery_control

from vnn.data.genotypes.burden import Genes
from vnn.data.genotypes.genotypes import Genotypes
from vnn.data.genotypes.quality import part_of
from vnn.training.gene_networks import book_of, codes_of, looked_up, members

UNLINKED = 0.01  # greatest r2 of a pair
CARRIERS = 50  # people who are expected to carry a minor allele of both variants, at least
LOCATED = 0.01  # gene pairs with a p below this are told their best pair of variants
AT_ONCE = 150  # variants of a block of genes
_SMALL = 1e-6


@dataclass(frozen=True, eq=False)
class PathwayPairs:
    """What all pairs of two genes of a pathway say.

    Parameters
    ----------
    tables
        For each label a row per pair of genes, the smallest p first: `gene_a`, `gene_b`, `n_pairs` of variants that were tested,
        `chi2` of the best one, `p` (that of the best times their number, at most 1), `q` (Benjamini and Hochberg over pairs of
        genes), and `variant_a`, `variant_b`, the places of the best pair, -1 where p is 0.01 or more.
    untested
        Pairs of genes of a pathway none of whose variants could be tested.
    """

    tables: tuple[pd.DataFrame, ...]
    untested: int


def pathway_pairs(
    genotypes: Genotypes,
    genes: Genes,
    pathways: Mapping[str, Sequence[str]],
    residuals: np.ndarray,
    *,
    learners: np.ndarray,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> PathwayPairs:
    """Test every product of two variants that belong to two genes of one pathway, given both variants alone.

    With x the standardised copies and r the label less what is known of it, a pair has the score U = E[r p~] and chi2 =
    n U^2 / E[p~^2], p~ the product x_i x_j less what a constant, x_i and x_j say of it. E[r x_i x_j], E[x_i^2 x_j], E[x_i^2 x_j^2]
    and E[x_i x_j] of all pairs of a pathway are products of matrices, so that nothing is learnt and a pathway of 500 variants
    takes a fraction of a second. Pairs in linkage (r2 above 0.01) are left out, since a causal variant that both are linked with
    would seem an interaction, and so are pairs of which fewer than 50 learners are expected to carry a minor allele of both,
    whose tail is not that of chi2.

    Time grows with the square of the variants of a pathway; leave out large ones, whose genes meet in their children too.

    Parameters
    ----------
    pathways
        The genes of each; those without a variant are passed over.
    residuals
        Labels less what is known of them without genes, (n_learners, n_labels).
    learners
        Places of people in the genotypes.
    tell
        Told how many pathways are done, and of how many.

    References
    ----------
    Linkage that looks like interaction: Wood et al. 2014, doi:10.1038/nature13005
    """
    names, places = members(genotypes, genes)
    place = {name: at for at, name in enumerate(names)}
    labels = np.ascontiguousarray((residuals - residuals.mean(0)).T, dtype=np.float32)
    labels /= np.maximum(labels.std(1, keepdims=True), _SMALL)
    rows: list[list[tuple[int, int, int, float, int, int]]] = [[] for _ in labels]
    done = set[tuple[int, int]]()
    untested = 0
    for number, own in enumerate(pathways.values(), 1):
        known = sorted({place[name] for name in own if name in place})
        if len(known) > 1:
            held = _Members.of(genotypes, [places[gene] for gene in known], learners)
            for a, b, n_pairs, best, at in held.pairs(labels):
                pair = (known[a], known[b])
                if pair in done:
                    continue
                done.add(pair)
                untested += not n_pairs
                for label, found in enumerate(rows) if n_pairs else ():
                    found.append((*pair, n_pairs, float(best[label]), *at[label]))
        tell(number, len(pathways))
    return PathwayPairs(tuple(_table(found, names) for found in rows), untested)


def _table(rows: list[tuple[int, int, int, float, int, int]], names: Sequence[str]) -> pd.DataFrame:
    columns = ["gene_a", "gene_b", "n_pairs", "chi2", "variant_a", "variant_b"]
    table = pd.DataFrame(rows, columns=columns).astype({"chi2": float})
    for column in ("gene_a", "gene_b"):
        table[column] = [names[at] for at in table[column]]
    table["p"] = np.minimum(chi2.sf(table["chi2"], 1) * table["n_pairs"], 1).astype(float)
    table["q"] = false_discovery_control(table["p"]) if len(table) else table["p"]
    order = table.assign(strength=-table["chi2"]).sort_values(["p", "strength"], kind="stable").index
    return table.loc[order, [*columns[:4], "p", "q", *columns[4:]]].reset_index(drop=True)


@dataclass(frozen=True, eq=False)
class _Members:
    """Variants of the genes of a pathway, gene after gene.

    Parameters
    ----------
    x
        Standardised copies, float32 (n_rows, n_learners).
    carriers
        How many learners have a minor allele of each.
    start
        First row of each gene, and the end.
    variant
        Place of each row in the genotypes.
    """

    x: np.ndarray
    carriers: np.ndarray
    start: np.ndarray
    variant: np.ndarray

    @classmethod
    def of(cls, genotypes: Genotypes, places: Sequence[np.ndarray], learners: np.ndarray) -> _Members:
        variant = np.concatenate(places)
        some, back = np.unique(variant, return_inverse=True)
        held = part_of(genotypes, some)
        codes = np.concatenate([codes_of(rows, held.n_people)[:, learners] for _, rows in held.packed()])
        x = looked_up(codes, book_of(codes, codes.shape[1]))
        both = np.stack([(codes == 0).sum(1), (codes == 3).sum(1)])
        carriers = (codes == 2).sum(1) + both.min(0)
        start = np.concatenate([[0], np.cumsum([len(own) for own in places])])
        return cls(x[back], carriers[back], start, variant)

    def pairs(self, labels: np.ndarray) -> Iterator[tuple[int, int, int, np.ndarray, list[tuple[int, int]]]]:
        """Of each two genes: which, how many pairs of variants were tested, the best chi2 by label, and its two variants."""
        n_genes = len(self.start) - 1
        first = 0
        while first < n_genes - 1:
            fit = int(np.searchsorted(self.start, self.start[first] + AT_ONCE, side="right")) - 1
            last = min(max(fit, first + 1), n_genes)
            yield from self._block(labels, first, last)
            first = last

    def _block(
        self, labels: np.ndarray, first: int, last: int
    ) -> Iterator[tuple[int, int, int, np.ndarray, list[tuple[int, int]]]]:
        """Pairs of the genes from first to last with those that come after them."""
        begin = self.start[first]
        one, two = self.x[begin : self.start[last]], self.x[begin:]
        fine, found = _scores(one, two, labels)
        n = self.x.shape[1]
        fine &= np.outer(self.carriers[begin : self.start[last]], self.carriers[begin:]) >= CARRIERS * n
        found = np.where(fine, found, -1.0)
        up, across = self.start[first:last] - begin, self.start[first:-1] - begin
        n_pairs = np.add.reduceat(np.add.reduceat(fine.astype(np.int64), up, axis=0), across, axis=1)
        best = np.maximum.reduceat(np.maximum.reduceat(found, up, axis=1), across, axis=2)
        p = chi2.sf(best, 1) * n_pairs
        for a in range(first, last):
            for b in range(a + 1, len(self.start) - 1):
                i, j = a - first, b - first
                at = [
                    self._place(found[label], begin, a, b) if n_pairs[i, j] and p[label, i, j] < LOCATED else (-1, -1)
                    for label in range(len(labels))
                ]
                yield a, b, int(n_pairs[i, j]), best[:, i, j], at

    def _place(self, found: np.ndarray, begin: int, a: int, b: int) -> tuple[int, int]:
        rows, columns = (slice(self.start[g] - begin, self.start[g + 1] - begin) for g in (a, b))
        own = found[rows, columns]
        i, j = np.unravel_index(int(np.argmax(own)), own.shape)
        return int(self.variant[self.start[a] + i]), int(self.variant[self.start[b] + j])


def _scores(one: np.ndarray, two: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which pairs of rows are not in linkage, and chi2 of their products by label, (n_labels, n_one, n_two)."""
    n = one.shape[1]
    c = one @ two.T / n
    c1, c2 = ((x**2).mean(1) for x in (one, two))
    a1, a2 = (one**2) @ two.T / n, one @ (two**2).T / n
    det = np.maximum(c1[:, None] * c2 - c**2, _SMALL)
    v = (one**2) @ (two**2).T / n - c**2 - (a1**2 * c2 + a2**2 * c1[:, None] - 2 * a1 * a2 * c) / det
    fine = (c**2 <= UNLINKED * c1[:, None] * c2) & (v > _SMALL) & (c1[:, None] * c2 > _SMALL)
    found = np.empty((len(labels), *c.shape))
    for own, r in zip(found, labels, strict=True):
        g1, g2 = one @ r / n, two @ r / n
        u = (one * r) @ two.T / n
        u -= (g1[:, None] * (c2 * a1 - c * a2) + g2 * (c1[:, None] * a2 - c * a1)) / det
        own[:] = np.divide(n * u**2, v, where=fine, out=np.zeros_like(u))
    return fine, found

"""Burden: the minor alleles a person carries in each gene, and tests of whole genes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
import torch
from scipy import stats

from vnn._errors import AlignmentError, culprits
from vnn.data.genotypes.coded import Coded, as_panels, packed_with, standard
from vnn.data.genotypes.gene_map import GeneMap
from vnn.data.genotypes.genotypes import Genotypes
from vnn.data.genotypes.named import places
from vnn.data.genotypes.quality import part_of
from vnn.data.genotypes.single_variants import NullModel, association, tested
from vnn.kernels import Graph
from vnn.kernels.backend import active

Genes = GeneMap | Mapping[str, Sequence[str]]
_GENES, _VARIANTS = 256, 8192  # of a block
_VALUES = 1 << 23  # expanded genotypes at once


@dataclass(frozen=True, eq=False)
class Burdens:
    """Minor alleles of every person in every gene, standardised among learners, never kept as a whole.

    The minor allele is the rarer one among learners; a missing genotype has the mean there. Genes that do not vary among the
    learners are 0 throughout.

    Parameters
    ----------
    coded
        Copies of the minor allele of every variant, centred.
    genes
        Names, in the order of their first variant.
    start, variant
        The variants of gene i are at `variant[start[i]:start[i + 1]]` of the genotypes.
    scale
        One over the standard deviation among learners, 0 where a gene does not vary, float64 (n_genes,).
    """

    coded: Coded
    genes: tuple[str, ...]
    start: np.ndarray
    variant: np.ndarray
    scale: np.ndarray

    @property
    def n_inputs(self) -> int:
        """How many genes vary."""
        return int((self.scale > 0).sum())

    def turned(self, people: np.ndarray) -> np.ndarray:
        """B'B people for the matrix B of standardised burdens, (n_genes, n_people): float64 (n_people, k) of (n_people, k)."""
        made = np.zeros(people.shape)
        given = people.astype(np.float32)
        for _, block in self.blocks():
            made += block.T @ (block @ given)
        return made

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Standardised burdens, some genes at a time: which genes, float32 (n_block, n_people)."""
        for at, block in self._sums():
            yield at, block * self.scale[at, None].astype(np.float32)

    def groups(self, most: int) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Neighbouring genes, as many as have at most so many variants, or a single one.

        Yields
        ------
        Which genes; the places of their variants, each once; and which of these belongs to each pair of gene and variant.
        """
        first = 0
        while first < len(self.genes):
            fit = int(np.searchsorted(self.start, self.start[first] + most, side="right")) - 1
            last = min(max(fit, first + 1), first + _GENES, len(self.genes))
            some, back = np.unique(self.variant[self.start[first] : self.start[last]], return_inverse=True)
            yield slice(first, last), some, back
            first = last

    def _sums(self) -> Iterator[tuple[slice, np.ndarray]]:
        genotypes, n_people = self.coded.genotypes, self.coded.genotypes.n_people
        for own, some, back in self.groups(_VARIANTS):
            first, last = own.start, own.stop
            made = np.zeros((last - first, n_people), dtype=np.float32)
            gene = np.repeat(np.arange(last - first), np.diff(self.start[first : last + 1]))
            for at, rows in part_of(genotypes, some).packed():
                inside = (back >= at.start) & (back < at.stop)
                edges = np.stack([back[inside] - at.start, gene[inside]], 1)
                graph = _graph(edges.tobytes(), len(rows), last - first)
                weight = torch.ones(len(edges), 1)
                packed = packed_with(as_panels(rows), self.coded.values[some[at]])
                kernels = active(torch.device("cpu"))
                made += kernels.packed_product(packed, weight, None, None, graph.wiring)[:, 0].numpy()[:, :n_people]
            yield own, made


@lru_cache(maxsize=256)
def _graph(edges: bytes, n_variants: int, n_genes: int) -> Graph:
    return Graph(np.frombuffer(edges, dtype=np.int64).reshape(-1, 2), n_variants, n_genes)


def burdens(genotypes: Genotypes, genes: Genes, learners: np.ndarray) -> Burdens:
    """Burdens of genes.

    Parameters
    ----------
    genes
        A `GeneMap`, whose variants that are not here are passed over, or the genes of each variant.
    learners
        Who decides which allele is minor, its mean and the standard deviations, bool (n_people,).

    Raises
    ------
    AlignmentError
        If a variant is not in the genotypes, or there is no gene.
    """
    place, code, named = pairs_of(genotypes, genes)
    first = np.full(len(named), genotypes.n_variants)
    np.minimum.at(first, code, place)
    order = np.argsort(first, kind="stable")
    names = tuple(named[order])
    pair = np.unique(np.argsort(order)[code] * genotypes.n_variants + place)
    gene, variant = pair // genotypes.n_variants, pair % genotypes.n_variants
    start = np.concatenate([[0], np.cumsum(np.bincount(gene))])
    copies = standard(genotypes, learners, scaled=False)
    counts = genotypes.counts(None if learners.all() else learners)
    minor = 2 * counts[:, 0] + counts[:, 2] <= counts[:, [0, 2, 3]].sum(1)
    coded = Coded(genotypes, np.where(minor[:, None], copies.values, -copies.values))
    made = Burdens(coded, names, start, variant, np.ones(len(names)))
    scale = np.zeros(len(names))
    for some, block in made._sums():
        deviation = block[:, learners].std(1, dtype=np.float64)
        scale[some] = np.divide(1, deviation, where=deviation > 1e-6, out=np.zeros(len(deviation)))
    return Burdens(coded, names, start, variant, scale)


def pairs_of(genotypes: Genotypes, genes: Genes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Place of the variant and number of the gene of every pair, and the names of the genes, all with a pair.

    Raises
    ------
    AlignmentError
        If a variant is not in the genotypes, or there is no gene.
    """
    if isinstance(genes, GeneMap):
        place = genotypes.variants.index.get_indexer(genes.variants.index)[genes.variant]
        there, n = place >= 0, len(genes.variants)
        code, number = pd.factorize(genes.gene[there])
        place, named = place[there], np.array(genes.genes, dtype=object)[number]
    else:
        at, n = places(genotypes.variants.index, list(genes), "variants"), len(genes)
        code, named = pd.factorize(np.array([gene for own in genes.values() for gene in own], dtype=object))
        place = np.repeat(at, [len(own) for own in genes.values()])
    if not len(named):
        raise AlignmentError(
            f"none of the {genotypes.n_variants:,} variants has a gene among the {n:,} variants of the genes given: "
            f"{culprits(genotypes.variants.index)}. Models of genes need some."
        )
    return place, code, named


def gene_tests(genotypes: Genotypes, genes: Genes, null: NullModel) -> pd.DataFrame:
    """Two tests of every gene: its burden of minor alleles, and the mean chi2 of its variants.

    The burden test is that of `association` with the sum of minor alleles as x: for genes whose variants act alike. The mean chi2
    (mean squared statistic of single variants) also sees effects of both signs. Under no association and given linkage its sum is
    a weighted sum of chi2 with the eigenvalues of the variants' correlations R as weights; p is that of the scaled chi2 with the
    same mean and variance, tr(R) and 2 tr(R^2). It ranks well; far out in the tail it is too small where few eigenvalues dominate.

    Parameters
    ----------
    genes
        As in `burdens`.
    null
        Trait and covariates, of the people who are looked at.

    Returns
    -------
    One row per gene, the smallest p of the mean chi2 first: `variants` that vary, how many `independent` ones have the same
    tr(R^2), `burden_effect` of a minor allele, `burden_error`, `burden_statistic`, `burden_p`, `mean_chi2`, `mean_chi2_p`.

    References
    ----------
    Burden: Li and Leal 2008, doi:10.1016/j.ajhg.2008.06.024; sums of chi2: Liu et al. 2010, doi:10.1016/j.ajhg.2010.06.009;
    their approximation: Satterthwaite 1946, doi:10.2307/3002019
    """
    made = burdens(genotypes, genes, null.learners)
    given = np.column_stack([null.residual, np.sqrt(null.weight)[:, None] * null.basis]).astype(np.float32)
    weight = null.weight.astype(np.float32)
    found = {name: np.empty(len(made.genes)) for name in ("u", "v", "whole")}
    for at, block in made.blocks():
        sums = (block @ given).astype(float)
        found["u"][at], found["whole"][at] = sums[:, 0], np.einsum("gp,gp,p->g", block, block, weight)
        found["v"][at] = found["whole"][at] - (sums[:, 1:] ** 2).sum(1)
    per_sd = tested(found["u"], found["v"], found["whole"], null)
    single = association(genotypes, null)["statistic"].to_numpy()
    rows: list[tuple[float, ...]] = []
    for at, some, back in made.groups(max(_VALUES // max(genotypes.n_people, 1), 1)):
        free = _free(made.coded, some, null) if at.stop - at.start > 1 else None
        for gene in range(at.start, at.stop):
            own = back[made.start[gene] - made.start[at.start] : made.start[gene + 1] - made.start[at.start]]
            own = own[~np.isnan(single[some[own]])]
            if not len(own):
                rows.append((0, 0.0, np.nan, np.nan))
                continue
            mine = None if free is None else free[own]
            together = _together(made.coded, some[own], null) if mine is None else _squares(mine, mine)
            total, m = float((single[some[own]] ** 2).sum()), len(own)
            rows.append((m, m**2 / together, total / m, stats.chi2.sf(total * m / together, m**2 / together)))
    table = pd.DataFrame(
        rows, columns=["variants", "independent", "mean_chi2", "mean_chi2_p"], index=pd.Index(made.genes, name="gene")
    )
    table.insert(2, "burden_effect", per_sd["effect"] * made.scale)
    table.insert(3, "burden_error", per_sd["error"] * made.scale)
    table.insert(4, "burden_statistic", per_sd["statistic"])
    table.insert(5, "burden_p", per_sd["p"])
    return table.sort_values("mean_chi2_p", kind="stable")


def _free(coded: Coded, variants: np.ndarray, null: NullModel) -> np.ndarray:
    """Variants weighted, covariates regressed out, of length 1: their products are correlations."""
    basis = null.basis.astype(np.float32)
    values = coded.numbers(variants)
    values *= np.sqrt(null.weight).astype(np.float32)
    values -= (values @ basis) @ basis.T
    size = np.sqrt(np.einsum("vp,vp->v", values, values))
    values /= np.where(size > 0, size, 1)[:, None]
    return values


def _squares(one: np.ndarray, two: np.ndarray) -> float:
    products = one @ two.T
    return float(np.einsum("ij,ij", products, products, dtype=np.float64))


def _together(coded: Coded, variants: np.ndarray, null: NullModel) -> float:
    """Sum of squared correlations of all pairs of many variants, some at a time."""
    size = max(_VALUES // max(coded.genotypes.n_people, 1), 1)
    pieces = [variants[at : at + size] for at in range(0, len(variants), size)]
    total = 0.0
    for i, piece in enumerate(pieces):
        one = _free(coded, piece, null)
        total += _squares(one, one)
        total += 2 * sum(_squares(one, _free(coded, other, null)) for other in pieces[i + 1 :])
    return total

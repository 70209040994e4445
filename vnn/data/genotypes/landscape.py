"""Landscapes: where simulated variants and genes lie on chromosomes, and which pathways the genes are in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from vnn.chance import generator
from vnn.data.genotypes.builds import LENGTHS

BLOCK = 16  # variants that recombine as one
SPACING = 4_000  # base pairs between neighbouring variants, on average
HOTNESS = 0.5  # shape of the gamma distribution of local recombination rates; their mean is 1 cM per Mb
COLD = 0.01  # local rate inside a stretch of strong linkage, in units of the mean
RAREST = 0.01
ALLELES = np.array([list(pair) for pair in ("AG", "GA", "CT", "TC", "AC", "CA", "GT", "TG", "AT", "TA", "CG", "GC")])
COMMON = np.array([4, 4, 4, 4, 1, 1, 1, 1, 1, 1, 1, 1]) / 24  # transitions are twice as frequent as transversions
GENIC = 0.8  # share of the variants that lie in genes
OVERLAPPING = 0.05  # share of genes that reach into the next one
LEAST = 3  # variants of a gene
SHARED = 0.2  # share of genes in a second pathway
PER_SYSTEM = 10  # pathways of a system
FIRST = 1_000_000  # position of the first variant
BUILD: Literal["GRCh38"] = "GRCh38"


@dataclass(frozen=True, eq=False)
class Landscape:
    """Variants, genes and pathways before there are people.

    Parameters
    ----------
    variants
        Index: ids. Columns `chromosome`, `position`, `counted`, `other`, `cm` (genetic position), `frequency` (of the counted
        allele, before populations part), `tail` (+1 or -1: which end of the hidden variable carries the counted allele),
        `strong` (whether it lies in a stretch of strong linkage) and `block_cm` (genetic position of the first variant of its
        block; blocks are counted from the beginning of the chromosome).
    genes
        Index: names. Columns `chromosome`, `start`, `end` (1-based, both included), `strand`, `first` and `last` (places of the
        first variant and behind the last).
    pathways
        Genes of each pathway.
    relations
        Pairs of parent and child: systems and their pathways.
    strong
        Three neighbouring genes that lie in one stretch of strong linkage, or none.
    """

    variants: pd.DataFrame
    genes: pd.DataFrame
    pathways: dict[str, tuple[str, ...]]
    relations: tuple[tuple[str, str], ...]
    strong: tuple[str, ...] = ()

    def variant_genes(self) -> pd.DataFrame:
        """A row for every variant and gene that holds it: columns `variant`, `gene`."""
        first, n = self.genes["first"].to_numpy(), (self.genes["last"] - self.genes["first"]).to_numpy()
        at = np.repeat(first - np.cumsum(n) + n, n) + np.arange(n.sum())
        names = np.repeat(self.genes.index.to_numpy(), n)
        return pd.DataFrame({"variant": self.variants.index.to_numpy()[at], "gene": names})


def lay_out(
    n_variants: int,
    n_genes: int,
    n_pathways: int,
    *,
    frequencies: Literal["realistic", "uniform"],
    chromosomes: Sequence[str],
    strong: bool,
    seed: int,
) -> Landscape:
    """Draw a landscape; chromosomes share variants and genes evenly.

    Variants of a chromosome are drawn block by block: of a longer one the first are the same, as long as it fits into the
    chromosome of GRCh38 (11,000 to 62,000 variants); more of them lie closer together. Frequencies are those of neutral
    variants (density 1 / p(1 - p) between 0.01 and 0.5), or uniform between 0.2 and 0.5.
    """
    if n_variants < LEAST * n_genes:
        raise ValueError(
            f"{n_variants:,} variants are too few for {n_genes:,} genes; each gene has at least {LEAST}. "
            f"Ask for {LEAST * n_genes:,} variants or for fewer genes."
        )
    per_chromosome = _shares(n_variants, len(chromosomes))
    genes = _genes(per_chromosome, _shares(n_genes, len(chromosomes)), chromosomes, seed)
    together = _neighbours(genes, seed) if strong else ()
    stretch = (int(genes.loc[together[0], "first"]), int(genes.loc[together[-1], "last"])) if together else (0, 0)
    begin = 0
    tables = []
    for name, n in zip(chromosomes, per_chromosome, strict=True):
        tables.append(_variants(name, n, frequencies, (stretch[0] - begin, stretch[1] - begin), seed))
        begin += n
    variants = pd.concat(tables)
    pathways, relations = _pathways(tuple(genes.index), n_pathways, seed)
    return Landscape(variants, _placed(genes, variants, seed), pathways, relations, together)


def _shares(n: int, parts: int) -> list[int]:
    return [n // parts + (part < n % parts) for part in range(parts)]


def _variants(chromosome: str, n: int, frequencies: str, stretch: tuple[int, int], seed: int) -> pd.DataFrame:
    n_blocks = -(-n // BLOCK)
    drawn = {name: np.empty(n_blocks * BLOCK) for name in ("gap", "rate", "frequency", "tail")}
    kind = np.empty(n_blocks * BLOCK, dtype=np.int64)
    for block in range(n_blocks):
        rng, at = generator(seed, "variants", chromosome, block), slice(block * BLOCK, (block + 1) * BLOCK)
        drawn["gap"][at] = 1 + np.floor(rng.exponential(SPACING - 1, BLOCK))
        drawn["rate"][at] = rng.gamma(HOTNESS, 1 / HOTNESS, BLOCK)
        drawn["frequency"][at] = rng.random(BLOCK)
        drawn["tail"][at] = np.where(rng.random(BLOCK) < 0.5, 1, -1)
        kind[at] = rng.choice(len(ALLELES), BLOCK, p=COMMON)
    gap, rate, tail = (drawn[name][:n] for name in ("gap", "rate", "tail"))
    gap = _fitting(gap, chromosome)
    if frequencies == "uniform":
        frequency = 0.2 + 0.3 * drawn["frequency"][:n]
    else:
        frequency = 1 / (1 + np.exp(-np.log(RAREST / (1 - RAREST)) * drawn["frequency"][:n]))
    strong = (np.arange(n) >= stretch[0]) & (np.arange(n) < stretch[1])
    inside = strong & np.roll(strong, 1)
    rate = np.where(inside, COLD * np.minimum(rate, 1), rate)
    frequency = np.where(strong, 0.29 + 0.02 * drawn["frequency"][:n], frequency)
    position = FIRST + np.cumsum(gap).astype(np.int64)
    counted, other = ALLELES[kind[:n]].T
    cm, first = np.cumsum(gap * rate) * 1e-6, np.arange(n) // BLOCK * BLOCK
    table = {
        "chromosome": np.full(n, chromosome, dtype=object), "position": position, "counted": counted.astype(object),
        "other": other.astype(object), "cm": cm, "frequency": frequency,
        "tail": np.where(strong, 1, tail).astype(np.int64), "strong": strong, "block_cm": cm[first],
    }  # fmt: skip
    ids = [f"{chromosome}:{at}" for at in position]
    return pd.DataFrame(table, index=pd.Index(ids, dtype=object, name="variant"))


def _fitting(gap: np.ndarray, chromosome: str) -> np.ndarray:
    """The gaps, all smaller where the chromosome of the build would end before the last variant."""
    room = LENGTHS[BUILD][chromosome] - FIRST - 2 * SPACING
    if gap.sum() <= room:
        return gap
    if len(gap) > room:
        raise ValueError(
            f"{len(gap):,} variants are asked for on chromosome {chromosome}, which has room for {room:,}. Ask for fewer "
            "variants or for more chromosomes."
        )
    shrunk: np.ndarray = 1 + np.floor((gap - 1) * ((room - len(gap)) / (gap - 1).sum()))
    return shrunk


def _genes(per_chromosome: list[int], n_genes: list[int], chromosomes: Sequence[str], seed: int) -> pd.DataFrame:
    """Which variants lie in which gene, by place; sizes are unequal, the rest lies between genes."""
    rows: list[tuple[str, str, str, int, int]] = []
    begin, width = 0, len(str(sum(n_genes)))
    for name, n_variants, n in zip(chromosomes, per_chromosome, n_genes, strict=True):
        rng = generator(seed, "genes", name)
        least = min(LEAST, n_variants // n) if n else 0
        genic = max(round(GENIC * n_variants), least * n) if n else 0
        weight = rng.gamma(1.0, 1.0, n) + 0.05
        size = least + rng.multinomial(genic - least * n, weight / weight.sum()) if n else np.empty(0, int)
        between = rng.multinomial(n_variants - genic, np.full(n + 1, 1 / (n + 1)))
        first = np.cumsum(between[:-1]) + np.cumsum(size) - size + begin
        last = first + size
        reach = rng.random(n) < OVERLAPPING
        for gene in range(n):
            end = last[gene]
            if reach[gene] and gene + 1 < n and size[gene + 1] > 1:
                end = first[gene + 1] + 1
            strand = "+" if rng.random() < 0.5 else "-"
            rows.append((f"GENE{len(rows) + 1:0{width}d}", name, strand, int(first[gene]), int(end)))
        begin += n_variants
    table = pd.DataFrame(rows, columns=["gene", "chromosome", "strand", "first", "last"]).set_index("gene")
    return table.set_axis(table.index.astype(object)).rename_axis("gene")


def _placed(genes: pd.DataFrame, variants: pd.DataFrame, seed: int) -> pd.DataFrame:
    """With start and end in base pairs: somewhere between the variants inside and the next ones outside."""
    position = variants["position"].to_numpy()
    chromosome = variants["chromosome"].to_numpy()
    first, last = genes["first"].to_numpy(), genes["last"].to_numpy()
    share = generator(seed, "gene ends").random((2, len(genes)))
    inner, outer = position[first], position[np.maximum(first - 1, 0)]
    far = np.where((first > 0) & (chromosome[np.maximum(first - 1, 0)] == genes["chromosome"]), outer, inner - SPACING)
    start = inner - np.floor(share[0] * (inner - far - 1)).astype(np.int64)
    inner, after = position[last - 1], np.minimum(last, len(position) - 1)
    near = (last < len(position)) & (chromosome[after] == genes["chromosome"])
    end = inner + np.floor(share[1] * (np.where(near, position[after], inner + SPACING) - inner - 1)).astype(np.int64)
    return genes.assign(start=start, end=end)[["chromosome", "start", "end", "strand", "first", "last"]]


def _neighbours(genes: pd.DataFrame, seed: int) -> tuple[str, ...]:
    """Three genes that follow each other on an autosome, and share no variant with a fourth."""
    name, n = genes["chromosome"].to_numpy(), len(genes)
    alone = np.concatenate(
        [[True], genes["last"].to_numpy()[:-1] <= genes["first"].to_numpy()[1:], [True]]
    )  # of the one before
    starts = np.array([at for at in range(n - 2) if name[at] == name[at + 2] != "X" and alone[at] and alone[at + 3]])
    if not len(starts):
        raise ValueError(
            "no autosome has three genes of their own; a locus needs three neighbours. Ask for more genes."
        )
    at = int(generator(seed, "locus").choice(starts))
    return tuple(genes.index[at : at + 3])


def _pathways(
    genes: tuple[str, ...], n: int, seed: int
) -> tuple[dict[str, tuple[str, ...]], tuple[tuple[str, str], ...]]:
    """Every gene in one pathway, some in a second; sizes are unequal."""
    rng = generator(seed, "pathways")
    weight = rng.gamma(4.0, 1.0, n)
    own = rng.choice(n, len(genes), p=weight / weight.sum())
    own[rng.permutation(len(genes))[:n]] = np.arange(n)[: len(genes)]
    second = np.where(rng.random(len(genes)) < SHARED, rng.integers(0, n, len(genes)), own)
    digits, n_systems = len(str(n)), max(-(-n // PER_SYSTEM), 1)
    names = [f"pathway {number + 1:0{digits}d}" for number in range(n)]
    held: dict[str, list[str]] = {name: [] for name in names}
    for gene, *places in zip(genes, own, second, strict=True):
        for place in dict.fromkeys(places):
            held[names[place]].append(gene)
    system = [f"system {number + 1:0{len(str(n_systems))}d}" for number in range(n_systems)]
    relations = tuple((system[number % n_systems], name) for number, name in enumerate(names))
    return {name: tuple(members) for name, members in held.items() if members}, relations

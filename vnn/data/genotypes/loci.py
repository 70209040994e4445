"""Loci: genes that one signal may reach, because they share variants, lie close together or are in linkage disequilibrium."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from vnn._errors import AlignmentError, culprits
from vnn.data.genotypes.builds import plain
from vnn.data.genotypes.gene_map import GeneMap
from vnn.data.samples import unique

DISTANCE = 500_000
LEAST_R2 = 0.1


def loci(
    gene_map: GeneMap,
    genes: Sequence[str] | None = None,
    *,
    distance: int = DISTANCE,
    r2: pd.DataFrame | None = None,
    least_r2: float = LEAST_R2,
    regions: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Genes grouped into loci: what is linked, directly or through other genes asked for, is one locus.

    Two genes are linked where they share a variant, lie less than `distance` apart, are in linkage disequilibrium, or lie in the
    same region. Over all genes of a genome most of a chromosome becomes one locus: ask for the genes that were found.

    Parameters
    ----------
    genes
        Names of genes of the map, the most important first, which leads its locus; all but the nodes of intergenic variants
        unless given, by name.
    distance
        In bases, between the ends of two genes; genes without a known place reach from their first to their last variant.
    r2
        Columns `gene_a`, `gene_b`, `r2`: largest squared correlation between variants of two genes.
    least_r2
        Above which r2 genes are linked.
    regions
        Columns `region`, `chromosome`, `start`, `end`: genes that overlap the same region are one locus; `ld_regions`, or its MHC
        alone.

    Returns
    -------
    By gene, in the order asked for: `locus` (the name of its lead), `chromosome`, `start` and `end` of its first place,
    and what it has in common with the lead: `shared` variants, `gap` in bases (0 where they overlap, NaN on other
    chromosomes), `r2` (NaN where it is not in the table).

    Raises
    ------
    AlignmentError
        If a gene is not in the map, is asked for twice, or no gene of `r2` is in the map.
    """
    asked = [name for name in gene_map.genes if name not in gene_map.intergenic] if genes is None else list(genes)
    unique(asked, "genes asked for")
    at = pd.Index(gene_map.genes, dtype=object).get_indexer(pd.Index(asked, dtype=object))
    if absent := [name for name, place in zip(asked, at, strict=True) if place < 0]:
        raise AlignmentError(
            f"the gene map lacks {len(absent):,} of the {len(asked):,} genes asked for: {culprits(absent)}. "
            f"Its {len(gene_map.genes):,} genes are called like {culprits(gene_map.genes[:3])}."
        )
    if wrong := [name for name in asked if name in gene_map.intergenic]:
        raise AlignmentError(f"{culprits(wrong)} stand for intergenic variants and are no genes; leave them out.")
    n = len(asked)
    rank = np.full(len(gene_map.genes), -1)
    rank[at] = np.arange(n)
    spans = _spans(gene_map, rank)
    own = rank[gene_map.gene] >= 0
    held = sparse.csr_array(
        (np.ones(own.sum(), dtype=np.int32), (rank[gene_map.gene[own]], gene_map.variant[own])),
        shape=(n, len(gene_map.variants)),
    )
    pairs = _known_r2(r2, asked, gene_map)
    links = [_sharing(held), _near(spans, distance), pairs.loc[pairs["r2"] > least_r2, ["a", "b"]].to_numpy()]
    if regions is not None:
        links.append(_together(spans, regions))
    edges = np.concatenate([link.reshape(-1, 2) for link in links])
    graph = sparse.csr_array((np.ones(len(edges), dtype=bool), (edges[:, 0], edges[:, 1])), shape=(n, n))
    part = connected_components(graph, directed=False)[1]
    lead = pd.Series(np.arange(n)).groupby(part).transform("min").to_numpy() if n else np.empty(0, dtype=np.int64)
    first = spans.drop_duplicates("gene").set_index("gene").reindex(range(n))
    known = pairs.set_index(["a", "b"])["r2"]
    known = known[~known.index.duplicated()]
    both = pd.MultiIndex.from_arrays([np.arange(n), lead])
    return pd.DataFrame(
        {
            "locus": np.array(asked, dtype=object)[lead],
            "chromosome": first["chromosome"].to_numpy(),
            "start": first["start"].to_numpy(),
            "end": first["end"].to_numpy(),
            "shared": np.asarray(held.multiply(held[lead]).sum(axis=1)).reshape(-1).astype(np.int64),
            "gap": _gaps(spans, lead),
            "r2": known.reindex(both).to_numpy(dtype=np.float64),
        },
        index=pd.Index(asked, dtype=object, name="gene"),
    )


def _spans(gene_map: GeneMap, rank: np.ndarray) -> pd.DataFrame:
    """Where the genes asked for lie, by their number; from their variants where no place is known."""
    known = gene_map.places.assign(gene=rank[pd.Index(gene_map.genes).get_indexer(gene_map.places["gene"])])
    known = known.loc[known["gene"] >= 0, ["gene", "chromosome", "start", "end"]]
    number = rank[gene_map.gene]
    bare = (number >= 0) & ~np.isin(number, known["gene"].to_numpy())
    of = gene_map.variants.iloc[gene_map.variant[bare]]
    seen = pd.DataFrame(
        {"gene": number[bare], "chromosome": of["chromosome"].to_numpy(), "position": of["position"].to_numpy()}
    )
    seen = seen.groupby(["gene", "chromosome"], as_index=False)["position"].agg(start="min", end="max")
    spans = pd.concat([known, seen], ignore_index=True) if len(seen) else known
    spans = spans.assign(chromosome=plain(spans["chromosome"].to_numpy(dtype=object)))
    return spans.sort_values(["chromosome", "start", "end", "gene"]).reset_index(drop=True)


def _sharing(held: sparse.csr_array) -> np.ndarray:
    by_variant = held.tocsc()
    by_variant.sort_indices()
    next_of_same = np.flatnonzero(np.diff(np.repeat(np.arange(by_variant.shape[1]), np.diff(by_variant.indptr))) == 0)
    return np.stack([by_variant.indices[next_of_same], by_variant.indices[next_of_same + 1]], axis=1)


def _near(spans: pd.DataFrame, distance: int) -> np.ndarray:
    reach = spans["end"].groupby(spans["chromosome"], sort=False).cummax().shift()
    same = spans["chromosome"] == spans["chromosome"].shift()
    close = np.flatnonzero(same & (spans["start"] - reach < distance))
    gene = spans["gene"].to_numpy()
    return np.stack([gene[close - 1], gene[close]], axis=1)


def _together(spans: pd.DataFrame, regions: pd.DataFrame) -> np.ndarray:
    links = [np.empty((0, 2), dtype=np.int64)]
    for _, chromosome, start, end in regions[["region", "chromosome", "start", "end"]].itertuples(index=False):
        inside = (spans["chromosome"] == chromosome) & (spans["start"] <= end) & (spans["end"] >= start)
        gene = spans.loc[inside, "gene"].to_numpy()
        links.append(np.stack([gene[:-1], gene[1:]], axis=1))
    return np.concatenate(links)


def _known_r2(r2: pd.DataFrame | None, asked: list[str], gene_map: GeneMap) -> pd.DataFrame:
    if r2 is None or not len(r2):
        return pd.DataFrame({"a": np.empty(0, np.int64), "b": np.empty(0, np.int64), "r2": np.empty(0)})
    named = set(r2["gene_a"]) | set(r2["gene_b"])
    if named.isdisjoint(gene_map.genes):
        raise AlignmentError(
            f"none of the {len(named):,} genes of r2 is in the gene map: {culprits(sorted(named), 3)}; "
            f"its genes are called like {culprits(gene_map.genes[:3])}."
        )
    index = pd.Index(asked, dtype=object)
    made = pd.DataFrame(
        {"a": index.get_indexer(r2["gene_a"]), "b": index.get_indexer(r2["gene_b"]), "r2": r2["r2"].to_numpy()}
    )
    made = made[(made["a"] >= 0) & (made["b"] >= 0)]
    return pd.concat([made, made.rename(columns={"a": "b", "b": "a"})], ignore_index=True)


def _gaps(spans: pd.DataFrame, lead: np.ndarray) -> np.ndarray:
    """Bases between each gene and its lead, the least over their places on the same chromosome."""
    mine = spans.assign(lead=lead[spans["gene"].to_numpy()])
    both = mine.merge(spans, left_on=["lead", "chromosome"], right_on=["gene", "chromosome"], suffixes=("", "_lead"))
    gap = np.maximum(both["start_lead"] - both["end"], both["start"] - both["end_lead"]).clip(lower=0)
    return gap.groupby(both["gene"]).min().reindex(range(len(lead))).to_numpy(dtype=np.float64)

"""GeneMap: all genes of every variant, by windows around genes or by a table, ready to become a wiring."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from vnn._errors import AlignmentError, GenotypeError, choose, culprits
from vnn.data.genotypes.annotated import INTERGENIC, Annotation, keys
from vnn.data.genotypes.builds import Placed, agreed, plain
from vnn.data.genotypes.coding import Coding
from vnn.data.genotypes.genotypes import Genotypes
from vnn.data.genotypes.named import places
from vnn.data.genotypes.ranges import PLACE, GeneRanges
from vnn.ontology.log import Entry
from vnn.ontology.order import in_order
from vnn.ontology.topology import Level, Mask, Topology

STEP = "gene map"
RULES = ("drop", "nearest", "chromosome", "node")
UPSTREAM, DOWNSTREAM = 35_000, 10_000
NO_PLACES = pd.DataFrame({name: np.empty(0, dtype=np.int64 if name in ("start", "end") else object) for name in PLACE})
BITS = 32  # of a position, in a key of chromosome and position

Rule = Literal["drop", "nearest", "chromosome", "node"]


@dataclass(frozen=True, eq=False)
class GeneMap:
    """Which genes each variant belongs to; a variant has all its genes.

    Parameters
    ----------
    variants
        The variants that were looked at, with or without a gene: `chromosome` and `position` by id.
    genes
        Names of the genes with variants, sorted; among them nodes that stand for intergenic variants, see `intergenic`.
    variant, gene
        The pairs: places in `variants` and in `genes`, int32 (n_pairs,), sorted by variant, then gene, without repeats.
    places
        Columns `gene`, `chromosome`, `start`, `end`, `strand` (1-based, both ends included) of the genes whose
        place is known, without windows.
    intergenic
        Those of `genes` that are no genes: "intergenic", "intergenic 7".
    provenance
        Names and sha256 of the files, genome build, window, rule for intergenic variants.
    log
        What was counted and left out.
    """

    variants: pd.DataFrame
    genes: tuple[str, ...]
    variant: np.ndarray
    gene: np.ndarray
    places: pd.DataFrame
    intergenic: tuple[str, ...]
    provenance: Mapping[str, Any]
    log: tuple[str, ...]

    @classmethod
    def of(cls, genotypes: Genotypes, genes: Mapping[str, Sequence[str]]) -> GeneMap:
        """The genes that are told by variant, such as by a topology; where genes lie is not known.

        Raises
        ------
        AlignmentError
            If a variant is not among the genotypes.
        """
        names = tuple(sorted({gene for own in genes.values() for gene in own}))
        place = {name: i for i, name in enumerate(names)}
        at = places(genotypes.variants.index, genes, "variants")
        pairs = sorted({(int(v), place[gene]) for v, own in zip(at, genes.values(), strict=True) for gene in own})
        variant, gene = np.array(pairs, dtype=np.int32).reshape(-1, 2).T
        left = genotypes.n_variants - len(genes)
        log = (f"gene map: {left:,} of {genotypes.n_variants:,} variants are in no gene and left out",) if left else ()
        return cls(genotypes.variants[["chromosome", "position"]], names, variant, gene, NO_PLACES, (), {}, log)

    @classmethod
    def from_ranges(
        cls,
        genotypes: Genotypes,
        ranges: GeneRanges,
        *,
        upstream: int = UPSTREAM,
        downstream: int = DOWNSTREAM,
        strandless: int | None = None,
        intergenic: Rule = "drop",
        within: int | None = None,
    ) -> GeneMap:
        """Genes whose range, widened by a window, holds the position of the variant.

        Upstream is before the start of a gene on the + strand and after the end of one on the - strand. Variants on XY, the
        pseudo-autosomal regions, lie on X. Variants without a position (chromosome 0, position below 1) have no gene.

        Parameters
        ----------
        genotypes
            Only `variants` and `build` are looked at.
        upstream, downstream
            Bases added before and after a gene, in its direction.
        strandless
            Bases added on both sides of a gene whose strand is not known. The smaller of `upstream` and `downstream` unless
            given: such a gene then takes no variant that it would not take on either strand.
        intergenic
            What becomes of variants in no window: "drop"; "nearest", the genes whose range is nearest, at most `within` bases away;
            "chromosome", a node of its own for each chromosome; "node", one node.
        within
            Largest distance in bases for "nearest", from the ends of the gene; the neighbouring base is 1 away.

        Raises
        ------
        AlignmentError
            If no chromosome is on both sides.
        GenotypeError
            If builds differ, or positions lie beyond the ends of chromosomes.
        ValueError
            If a window is negative, or `within` does not go with the rule.
        """
        _check_rule(intergenic, within)
        strandless = min(upstream, downstream) if strandless is None else strandless
        if min(upstream, downstream, strandless) < 0:
            raise ValueError(f"windows are {upstream}, {downstream} and {strandless} bases; none may be negative.")
        variants, places = genotypes.variants, ranges.places
        chromosome = plain(variants["chromosome"].to_numpy(dtype=object))
        position = variants["position"].to_numpy(dtype=np.int64)
        where = plain(places["chromosome"].to_numpy(dtype=object))
        build, told = _same_build(genotypes, ranges.name, ranges.build, where, places["end"].to_numpy())
        codes, names = pd.factorize(chromosome)
        of_place = pd.Index(names).get_indexer(where)
        log = [*ranges.log, *told, *_chromosomes_met(variants, names, codes, of_place, ranges)]

        placed = (position >= 1) & (chromosome != "0")
        if not placed.all():
            log.append(
                f"{STEP}: {(~placed).sum():,} variants have no position (chromosome 0 or position below 1) and no gene"
            )
        looked = np.flatnonzero(placed)
        key = _key(codes[looked], position[looked])
        if (np.diff(key) < 0).any():
            order = np.argsort(key, kind="stable")
            looked, key = looked[order], key[order]

        known = np.flatnonzero(of_place >= 0)
        gene_code, gene_names = pd.factorize(places["gene"].to_numpy(dtype=object)[known], sort=True)
        start, end = (places[side].to_numpy(dtype=np.int64)[known] for side in ("start", "end"))
        strand = places["strand"].to_numpy(dtype=object)[known]
        before = np.select([strand == "+", strand == "-"], [upstream, downstream], strandless)
        after = np.select([strand == "+", strand == "-"], [downstream, upstream], strandless)
        on = of_place[known]
        first = np.searchsorted(key, _key(on, np.maximum(start - before, 1)), side="left")
        last = np.searchsorted(key, _key(on, end + after), side="right")
        at, row = _expanded(first, last)
        pairs = _pairs(looked[at], gene_code[row], len(gene_names))
        log += _windows_told(ranges.name, strand, upstream, downstream, strandless)

        has = np.zeros(len(variants), dtype=bool)
        has[pairs[0]] = True
        lonely = np.flatnonzero(~has[looked])
        near = None
        if intergenic == "nearest" and len(lonely):
            left, right = _nearest(key[lonely], _key(on, start), _key(on, end), int(within or 0))
            at, row = (np.concatenate(both) for both in zip(left, right, strict=True))
            near = looked[lonely[at]], gene_code[row]
        window = (
            f"{upstream:,} bases upstream, {downstream:,} downstream, {strandless:,} on both sides without a strand"
        )
        provenance = _provenance([ranges.source], build, window, intergenic, within)
        lone = looked[lonely]
        return _made(variants, tuple(gene_names), pairs, near, lone, intergenic, within, places, provenance, log)

    @classmethod
    def from_annotation(
        cls,
        genotypes: Genotypes,
        annotation: Annotation,
        *,
        kinds: Collection[str] | str | None = None,
        intergenic: Rule = "drop",
        within: int | None = None,
        ranges: GeneRanges | None = None,
    ) -> GeneMap:
        """Genes that a table names for the variant.

        Variants that the table does not have are left without a gene and counted; only those it calls intergenic follow the
        rule for intergenic variants.

        Parameters
        ----------
        genotypes
            Only `variants` and `build` are looked at.
        kinds
            Regions, consequences or categories to keep, "pLof"; all unless given. A row of several kinds is kept for any of them.
        intergenic, within
            As in `from_ranges`; "nearest" needs a table that tells distances, as ANNOVAR's does.
        ranges
            Where the genes lie, for their lengths and for loci; not used to find genes.

        Raises
        ------
        AlignmentError
            If no variant of the table is in the genotypes.
        GenotypeError
            If builds differ, a kind is not in the table, or it tells no distances although the rule needs them.
        """
        _check_rule(intergenic, within)
        variants, rows = genotypes.variants, annotation.rows
        nothing = np.empty(0, dtype=object), np.empty(0, dtype=np.int64)
        build, told = _same_build(genotypes, annotation.name, annotation.build, *nothing)
        log = [*annotation.log, *told]
        codes, named = pd.factorize(rows["variant"].to_numpy(dtype=object))
        mine = _own_keys(variants, annotation)
        found = pd.Index(named).get_indexer(pd.Index(mine, dtype=object))
        if annotation.met_by == "position" and (found < 0).any():
            none = np.full(len(variants), "", dtype=object)
            bare = keys(variants["chromosome"].to_numpy(dtype=object), variants["position"].to_numpy(), none, none)
            found = np.where(found < 0, pd.Index(named).get_indexer(pd.Index(bare, dtype=object)), found)
        if (found < 0).all():
            raise AlignmentError(
                f"none of the {len(named):,} variants of {annotation.name} is in the genotypes, met by {annotation.met_by}. They "
                f"look like this: {culprits(named[:3])}; the genotypes {culprits(mine[:3])}. "
                'Readers of tables take met_by="position" where ids hold positions and met_by="id" where ids agree.'
            )
        n_foreign = int((np.bincount(found[found >= 0], minlength=len(named)) == 0).sum())
        log.append(
            f"{STEP}: {(found >= 0).sum():,} of {len(variants):,} variants are in {annotation.name}, met by {annotation.met_by}; "
            f"{(found < 0).sum():,} are not and have no gene; {n_foreign:,} of its {len(named):,} variants are not in the genotypes"
        )
        kept = _of_kinds(rows["kind"], kinds, annotation.name)
        gene_code, gene_names = pd.factorize(rows["gene"].to_numpy(dtype=object), sort=True)
        gene, near = rows["gene"].to_numpy(dtype=object), rows["near"].to_numpy(dtype=bool)
        genic = (gene != "") & ~near
        met = np.flatnonzero(found >= 0)
        pairs = _pairs(*_joined(met, found[met], codes, gene_code, genic & kept), len(gene_names))
        if kinds is not None:
            log.append(f"{STEP}: {(~kept).sum():,} of {len(rows):,} rows are of other kinds and were left out")
        has_gene = np.zeros(len(named), dtype=bool)
        has_gene[codes[genic]] = True
        lone = met[~has_gene[found[met]]]
        near_pairs = None
        if intergenic == "nearest":
            distance = rows["distance"].to_numpy(dtype=np.float64)
            if len(lone) and not np.isfinite(distance[near]).any():
                raise GenotypeError(
                    f"{annotation.name} tells no distances of intergenic variants, which intergenic='nearest' needs. Take gene "
                    "ranges (`GeneMap.from_ranges`), or another rule."
                )
            least = np.full(len(named), np.inf)
            usable = near & (gene != "") & (distance <= (within or 0))
            np.minimum.at(least, codes[usable], distance[usable])
            nearest = usable & (distance == least[codes])
            near_pairs = _joined(lone, found[lone], codes, gene_code, nearest)
        places = NO_PLACES
        sources = list(annotation.sources)
        if ranges is not None:
            where = plain(ranges.places["chromosome"].to_numpy(dtype=object))
            build, told = _same_build(genotypes, ranges.name, ranges.build, where, ranges.places["end"].to_numpy())
            places = ranges.places
            lost = sorted(set(gene_names) - set(places["gene"]) - {""})
            log += [
                *told,
                f"{STEP}: {len(lost):,} genes of {annotation.name} have no place in {ranges.name}: {culprits(lost)}",
            ]
            sources.append(dict(ranges.source or {}))
        asked = "all" if kinds is None else ", ".join(sorted({kinds} if isinstance(kinds, str) else kinds))
        window = f"as the table has it, kinds: {asked}"
        provenance = _provenance(sources, build, window, intergenic, within)
        return _made(variants, tuple(gene_names), pairs, near_pairs, lone, intergenic, within, places, provenance, log)

    @property
    def n_variants(self) -> int:
        """How many variants have a gene."""
        return len(self._with_gene)

    @property
    def pairs(self) -> pd.DataFrame:
        """The pairs by name: columns `variant` and `gene`."""
        ids = self.variants.index.to_numpy(dtype=object)
        return pd.DataFrame({"variant": ids[self.variant], "gene": np.array(self.genes, dtype=object)[self.gene]})

    @cached_property
    def _with_gene(self) -> np.ndarray:
        return self.variant[np.diff(self.variant, prepend=-1) > 0]

    def features(self) -> dict[str, tuple[str, ...]]:
        """The genes of every variant that has any, in the order of the variants, as `Ontology.topology` takes them."""
        names = np.array(self.genes, dtype=object)
        n_genes = (
            np.bincount(self.variant, minlength=len(self.variants))[self._with_gene]
            if len(self.variant)
            else self.variant
        )
        first = np.cumsum(n_genes) - n_genes
        tuples = np.empty(len(n_genes), dtype=object)
        for size in np.flatnonzero(np.bincount(n_genes)):
            alike = np.flatnonzero(n_genes == size)
            sets, which = np.unique(self.gene[first[alike][:, None] + np.arange(size)], axis=0, return_inverse=True)
            made = np.empty(len(sets), dtype=object)
            made[:] = [tuple(names[row]) for row in sets]
            tuples[alike] = made[which.reshape(-1)]
        return dict(zip(self.variants.index.to_numpy(dtype=object)[self._with_gene], tuples, strict=True))

    def columns(self, genotypes: Genotypes, coding: Coding) -> GeneMap:
        """The same of the columns of a coding, each of which has the genes of its variant: wirings for codings with several.

        Genes whose variants are not among the genotypes are left out and counted in the log.

        Parameters
        ----------
        genotypes
            Those the coding was fitted on.

        Raises
        ------
        AlignmentError
            If a variant of the genotypes was not looked at.
        """
        at = places(self.variants.index, genotypes.variants.index, "variants")[coding.row]
        pair, column = _expanded(*(np.searchsorted(self.variant, at, side=side) for side in ("left", "right")))
        used, gene = np.unique(self.gene[pair], return_inverse=True)
        genes = tuple(self.genes[i] for i in used)
        left = len(self.genes) - len(genes)
        return replace(
            self,
            variants=self.variants.iloc[at].set_axis(pd.Index(coding.names, dtype=object, name="variant"), axis=0),
            genes=genes,
            variant=column.astype(np.int32),
            gene=gene.reshape(-1).astype(np.int32),
            places=self.places[self.places["gene"].isin(genes)].reset_index(drop=True),
            intergenic=tuple(name for name in self.intergenic if name in set(genes)),
            log=(
                *self.log,
                *([f"{STEP}: {left:,} genes have no variant among those coded and are left out"] if left else []),
            ),
        )

    def sizes(self) -> pd.DataFrame:
        """What large genes have more of: `n_variants` and `length`, bases of all places, NaN where unknown, by gene."""
        lengths = (self.places["end"] - self.places["start"] + 1).groupby(self.places["gene"]).sum()
        index = pd.Index(self.genes, dtype=object, name="gene")
        counts = np.bincount(self.gene, minlength=len(self.genes))
        return pd.DataFrame({"n_variants": counts, "length": lengths.reindex(index).astype(np.float64)}, index=index)

    def topology(self) -> Topology:
        """Variants -> genes; a head on the genes makes it a network without an ontology.

        Variants without a gene are an entry of its log, by name.

        Raises
        ------
        GenotypeError
            If no variant has a gene.
        """
        if not len(self.variant):
            raise GenotypeError("no variant has a gene, so that there is nothing to wire. " + " ".join(self.log[-3:]))
        ids = self.variants.index.to_numpy(dtype=object)
        has_gene = np.zeros(len(ids), dtype=bool)
        has_gene[self._with_gene] = True
        order = in_order(ids)
        wired, without = order[has_gene[order]], order[~has_gene[order]]
        rank = np.zeros(len(ids), dtype=np.int64)
        rank[wired] = np.arange(len(wired))
        inputs = Level("inputs", tuple(ids[wired]))
        genes = Level("genes", self.genes)
        edges = np.stack([rank[self.variant], self.gene.astype(np.int64)], axis=1)
        log = (Entry(STEP, "features", tuple(ids[without]), "without a gene, not wired"),) if len(without) else ()
        record = {"source": "gene map", "release": "", "species": "", "licence": "", "citation": "", **self.provenance}
        mask = Mask("inputs", "genes", inputs.nodes, genes.nodes, edges)
        return Topology((inputs, genes), (mask,), log=log, provenance=(record,))

    def __repr__(self) -> str:
        return (
            f"GeneMap({self.n_variants:,} of {len(self.variants):,} variants -> {len(self.genes):,} genes, "
            f"{len(self.variant):,} pairs)"
        )


def _check_rule(rule: str, within: int | None) -> None:
    choose("intergenic", rule, RULES)
    if (rule == "nearest") != (within is not None):
        raise ValueError(
            'intergenic="nearest" needs within=..., the largest distance to a gene in bases.'
            if rule == "nearest"
            else f'within={within} goes with intergenic="nearest" only; the rule is {rule!r}.'
        )
    if within is not None and within < 1:
        raise ValueError(f"within is {within}; the nearest gene is at least 1 base away.")


def _same_build(
    genotypes: Genotypes, name: str, build: str, chromosome: np.ndarray, position: np.ndarray
) -> tuple[str, tuple[str, ...]]:
    own = genotypes.variants
    mine = Placed(
        "the genotypes", genotypes.build, own["chromosome"].to_numpy(dtype=object), own["position"].to_numpy()
    )
    return agreed(mine, Placed(name, build, chromosome, position), STEP)


def _chromosomes_met(
    variants: pd.DataFrame, names: np.ndarray, codes: np.ndarray, of_place: np.ndarray, ranges: GeneRanges
) -> list[str]:
    here, there = list(names), sorted(set(plain(ranges.places["chromosome"].to_numpy())))
    common = set(here) & set(there) - {"0"}
    if not common:
        raise AlignmentError(
            f"no chromosome is both in the genotypes and in {ranges.name}. The genotypes have "
            f"{culprits(variants['chromosome'].unique(), 8)}; {ranges.name} has {culprits(there, 8)}. They are met after 'chr' is "
            "taken off and 23 to 26 are called X, Y, XY and MT: rename one side."
        )
    log = []
    if lost := [name for name in there if name not in common]:
        n = ranges.places.loc[of_place < 0, "gene"].nunique()
        log.append(
            f"{STEP}: {n:,} genes of {ranges.name} lie on chromosomes the genotypes do not have: {culprits(lost, 8)}"
        )
    if bare := [name for name in here if name not in common and name != "0"]:
        n_bare = np.isin(codes, pd.Index(names).get_indexer(bare)).sum()
        log.append(f"{STEP}: {n_bare:,} variants lie on chromosomes {ranges.name} does not have: {culprits(bare, 8)}")
    return log


def _windows_told(name: str, strand: np.ndarray, upstream: int, downstream: int, strandless: int) -> list[str]:
    blind = int((strand == "").sum())
    told = []
    if blind < len(strand):
        told.append(
            f"{upstream:,} bases upstream and {downstream:,} downstream of {len(strand) - blind:,} ranges with a strand"
        )
    if blind:
        told.append(f"{strandless:,} bases on both sides of {blind:,} ranges without a strand")
    return [f"{STEP}: {name}: windows of {'; '.join(told)}"] if told else []


def _key(chromosome: np.ndarray, position: np.ndarray) -> np.ndarray:
    return (chromosome.astype(np.int64) << BITS) | position.astype(np.int64)


def _expanded(first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All numbers of the intervals [first, last), and the interval of each."""
    counts = np.maximum(last - first, 0)
    row = np.repeat(np.arange(len(first)), counts)
    return np.arange(counts.sum()) + np.repeat(first - (np.cumsum(counts) - counts), counts), row


def _pairs(variant: np.ndarray, gene: np.ndarray, n_genes: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs sorted by variant, then gene, each once."""
    key = np.sort(variant.astype(np.int64) * max(n_genes, 1) + gene)
    key = key[np.diff(key, prepend=-1) > 0]
    return key // max(n_genes, 1), key % max(n_genes, 1)


def _nearest(
    key: np.ndarray, start: np.ndarray, end: np.ndarray, within: int
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """(variant, gene) places of the nearest ranges before and after variants that lie in none; both where they are as near."""
    by_end, by_start = np.argsort(end, kind="stable"), np.argsort(start, kind="stable")
    ends, starts = end[by_end], start[by_start]
    last = np.searchsorted(ends, key, side="left")
    first = np.searchsorted(starts, key, side="right")
    before = ends[np.maximum(last - 1, 0)]
    after = starts[np.minimum(first, len(starts) - 1)]
    far = np.iinfo(np.int64).max
    gap_before = np.where((last > 0) & (before >> BITS == key >> BITS), key - before, far)
    gap_after = np.where((first < len(starts)) & (after >> BITS == key >> BITS), after - key, far)
    least = np.minimum(gap_before, gap_after)
    takes_before = (gap_before == least) & (least <= within)
    takes_after = (gap_after == least) & (least <= within)
    tie = np.searchsorted(ends, before, side="left")
    at, row = _expanded(np.where(takes_before, tie, 0), np.where(takes_before, last, 0))
    left = row, by_end[at]
    tie = np.searchsorted(starts, after, side="right")
    at, row = _expanded(np.where(takes_after, first, 0), np.where(takes_after, tie, 0))
    return left, (row, by_start[at])


def _own_keys(variants: pd.DataFrame, annotation: Annotation) -> np.ndarray:
    if annotation.met_by == "id":
        return variants.index.to_numpy(dtype=object)
    names = ("chromosome", "position", "counted", "other")
    return keys(*(variants[name].to_numpy(dtype=object) for name in names))


def _joined(
    variants: np.ndarray, found: np.ndarray, codes: np.ndarray, gene: np.ndarray, kept: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(variant, gene) of the kept rows of a table whose variant has the code that was found for ours."""
    rows = np.flatnonzero(kept)
    rows = rows[np.argsort(codes[rows], kind="stable")]
    ordered = codes[rows]
    first, last = np.searchsorted(ordered, found, side="left"), np.searchsorted(ordered, found, side="right")
    at, which = _expanded(first, last)
    return variants[which], gene[rows[at]]


def _of_kinds(kind: pd.Series, kinds: Collection[str] | str | None, name: str) -> np.ndarray:
    if kinds is None:
        return np.ones(len(kind), dtype=bool)
    asked = {kinds} if isinstance(kinds, str) else set(kinds)
    codes, told = pd.factorize(kind)
    parts = [set(str(text).replace("&", ",").replace(";", ",").split(",")) | {str(text)} for text in told]
    if unknown := sorted(asked - set().union(*parts)):
        known = kind.value_counts()
        raise GenotypeError(
            f"{name} has no rows of kind {culprits(unknown)}; it has {culprits([f'{k} ({n:,})' for k, n in known.items()], 12)}."
        )
    return np.array([bool(some & asked) for some in parts])[codes]


def _provenance(sources: Sequence[Any], build: str, window: str, rule: str, within: int | None) -> dict[str, Any]:
    said = f"nearest gene within {within:,} bases" if rule == "nearest" else rule
    files = [dict(source) for source in sources if source]
    return {"files": files, "build": build, "window": window, "intergenic": said}


def _made(
    variants: pd.DataFrame,
    names: tuple[str, ...],
    pairs: tuple[np.ndarray, np.ndarray],
    near: tuple[np.ndarray, np.ndarray] | None,
    lone: np.ndarray,
    rule: Rule,
    within: int | None,
    places: pd.DataFrame,
    provenance: dict[str, Any],
    log: Sequence[str],
) -> GeneMap:
    told = [*log]
    n_genes = np.bincount(pairs[0], minlength=len(variants))
    told.append(
        f"{STEP}: {(n_genes > 0).sum():,} of {len(variants):,} variants have a gene, {(n_genes > 1).sum():,} of them several; "
        f"{len(lone):,} are intergenic: {_said(rule, within, lone, near)}"
    )
    extra: dict[str, np.ndarray] = {}
    if rule == "node" and len(lone):
        extra = {INTERGENIC: lone}
    elif rule == "chromosome" and len(lone):
        codes, at = pd.factorize(variants["chromosome"].to_numpy(dtype=object)[lone])
        extra = {f"{INTERGENIC} {name}": lone[codes == i] for i, name in enumerate(at)}
    if taken := sorted(extra.keys() & set(names)):
        raise GenotypeError(
            f"genes are called {culprits(taken)}, as the nodes of intergenic variants would be. Rename them."
        )
    variant, gene = [pairs[0]], [pairs[1]]
    if near is not None:
        variant.append(near[0])
        gene.append(near[1])
    for i, (_, some) in enumerate(extra.items()):
        variant.append(some)
        gene.append(np.full(len(some), len(names) + i))
    all_names = np.array([*names, *extra], dtype=object)
    v, g = _pairs(np.concatenate(variant), np.concatenate(gene), len(all_names))
    used = np.flatnonzero(np.bincount(g, minlength=len(all_names)))
    order = used[np.argsort(all_names[used].astype(str), kind="stable")] if len(used) else used
    rank = np.zeros(len(all_names), dtype=np.int64)
    rank[order] = np.arange(len(order))
    v, g = _pairs(v, rank[g], len(order))
    genes = tuple(map(str, all_names[order]))
    known = len(set(names) - {""})
    told.append(f"{STEP}: {len(genes) - len(extra):,} of {known:,} genes have variants, {len(v):,} pairs in all")
    kept = places[places["gene"].isin(genes)].reset_index(drop=True)
    return GeneMap(
        variants[["chromosome", "position"]], genes, v.astype(np.int32), g.astype(np.int32), kept,
        tuple(sorted(extra)), provenance, tuple(told),
    )  # fmt: skip


def _said(rule: Rule, within: int | None, lone: np.ndarray, near: tuple[np.ndarray, np.ndarray] | None) -> str:
    if rule == "drop":
        return "they have no gene"
    if rule == "nearest":
        n = 0 if near is None else np.isin(lone, near[0]).sum()
        return f"{n:,} have the nearest gene within {within:,} bases, {len(lone) - n:,} have no gene"
    return "a node of their own for each chromosome" if rule == "chromosome" else "one node of their own"

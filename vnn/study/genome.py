"""What a genotype study says of variants, genes and people beside what every study says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from vnn._atomic import write_csv
from vnn.chance import generator
from vnn.data import Samples
from vnn.data.genotypes import Cohort, GeneMap, Genotypes, in_regions, ld_regions, loci, pruned, r2_between
from vnn.data.genotypes.builds import plain
from vnn.data.genotypes.coding import GAP, HET, HOM
from vnn.data.genotypes.single_variants import Task, association
from vnn.interpret import NodeScores
from vnn.interpret.connections import Connections, edge_table, edge_weights
from vnn.interpret.contrast import contrasts
from vnn.interpret.grouping import Loci
from vnn.interpret.verdict import Verdict
from vnn.interpret.weights import weight_scores
from vnn.study.material import Material
from vnn.study.settings import LociSection, Study
from vnn.training import Fit
from vnn.training.streamed_ridge import null_of

GENES, GENE_NETWORKS = "genes", "gene_networks.csv"
PER_VARIANT = ["score", "share", "mean_abs", "mean_abs_share"]
BOUNDS = ["share_low", "share_high"]
SIZES = ["chromosome", "start", "end", "n_variants", "n_independent", "length", "region"]


@dataclass(frozen=True, eq=False)
class Genome:
    """The variants and genes of a genotype study.

    Parameters
    ----------
    genotypes
        The variants that are inputs, in the people of the study, in the order of its samples.
    genes
        The genes of these variants.
    variant
        The variant of each input, by name of the input; a coding may make several inputs of one.
    sizes
        By gene: chromosome, start and end, n_variants, n_independent (that stay when those in linkage are thinned), length in
        bases, and the region of long-range linkage disequilibrium it lies in, "" for none.
    words
        How some of this was found, a sentence each.
    """

    genotypes: Genotypes
    genes: GeneMap
    variant: pd.Series
    sizes: pd.DataFrame
    words: tuple[str, ...]

    def loci(self, asked: LociSection, level: str = GENES) -> Loci:
        """How genes are found to speak of one signal."""
        return Loci(level, partial(self._found, asked))

    def _found(self, asked: LociSection, genes: Sequence[str]) -> pd.DataFrame:
        known = [gene for gene in genes if gene in self.sizes.index and gene not in self.genes.intergenic]
        pairs = self.genes.pairs
        pairs = pairs[pairs["gene"].isin(known)]
        members = {gene: own["variant"].tolist() for gene, own in pairs.groupby("gene")}
        some = some_people(self.genotypes, asked.people)
        near = r2_between(some, {gene: members[gene] for gene in known}) if len(known) > 1 else pd.DataFrame()
        regions = self._regions if asked.regions == "one locus" else None
        table = loci(self.genes, known, distance=asked.distance, r2=near, least_r2=asked.r2, regions=regions)
        said: dict[str, list[str]] = {gene: [] for gene in known}
        for pair in near.to_dict("records"):
            a, b = pair["gene_a"], pair["gene_b"]
            close = pair["shared"] or pair["r2"] > asked.r2 or pair["distance"] < asked.distance
            if close and table.loc[a, "locus"] == table.loc[b, "locus"]:
                text = _in_common(pair)
                said[a].append(f"{b} ({text})")
                said[b].append(f"{a} ({text})")
        for gene, own in table.groupby("locus").groups.items():
            for other in own:
                if not said[other] and len(own) > 1:
                    said[other].append(f"{gene} (the same region)")
        return table.assign(in_ld_with=["; ".join(said[gene]) for gene in table.index])

    @property
    def _regions(self) -> pd.DataFrame | None:
        return ld_regions(self.genotypes.build) if self.genotypes.build else None


@dataclass(frozen=True, eq=False)
class GenomeTables:
    """What is written and shown of variants, genes and pathways.

    Parameters
    ----------
    variants
        By contrast and variant: contrast, variant, chromosome, position, counted, other, genes, relative_importance,
        importance_sd, score, share, share_low, share_high, mean_abs, mean_abs_share, z, p.
    genes
        By contrast and gene: contrast, gene, name, `SIZES`, relative_importance, importance_sd, effect, effect_low,
        effect_high, the columns of attribution, best_variant and best_p; with a verdict also verdict, locus, in_ld_with.
    pathways
        The same of all other nodes: contrast, level, node, name, n_variants, ...
    people
        By person: what networks that held the person out say; see `scores_per_person`.
    words
        How some of this was found, a sentence each.
    networks
        Every gene by a network of its own; see `vnn.study.gene_networks.gene_network_table`.
    """

    variants: pd.DataFrame
    genes: pd.DataFrame
    pathways: pd.DataFrame
    people: pd.DataFrame
    words: tuple[str, ...] = field(default=())
    networks: pd.DataFrame = field(default_factory=pd.DataFrame)


def read_genome(study: Study, material: Material) -> Genome:
    """The variants and genes of a study that was read; genotypes stay in their files."""
    genotypes, genes = material.genotypes, material.genes
    assert genotypes is not None
    assert genes is not None
    inputs = material.topology.inputs
    variant = pd.Series(variant_of(inputs, genotypes.variants.index), index=inputs)
    genotypes = genotypes.select(variants=dict.fromkeys(variant))
    words = (
        []
        if genotypes.build
        else ["The genome build is not declared, so regions of long-range linkage are not marked."]
    )
    words.append(
        f"Independent variants of a gene are those that stay when its own are thinned at r2 0.2 in "
        f"{min(genotypes.n_people, study.loci.people):,} people."
    )
    return Genome(genotypes, genes, variant, _sizes(genotypes, genes, study), tuple(words))


def variant_of(inputs: Sequence[str], known: pd.Index) -> list[str]:
    """The variant each input is made of."""
    own = set(known)
    return [name if name in own else name.removesuffix(HET).removesuffix(HOM).removesuffix(GAP) for name in inputs]


def some_people(genotypes: Genotypes, most: int) -> Genotypes:
    """As many of the people, drawn by their number alone, in their order."""
    if genotypes.n_people <= most:
        return genotypes
    at = np.sort(generator(0, "people of linkage", genotypes.n_people).choice(genotypes.n_people, most, replace=False))
    return genotypes.select(ids=[genotypes.ids[i] for i in at])


def _sizes(genotypes: Genotypes, genes: GeneMap, study: Study) -> pd.DataFrame:
    place = loci(genes)[["chromosome", "start", "end"]]
    sizes = genes.sizes().join(place)
    used = genes.pairs
    at = genotypes.variants.index.get_indexer(used["variant"])
    used, at = used[at >= 0], at[at >= 0]
    sizes["n_variants"] = used.groupby("gene").size().reindex(sizes.index, fill_value=0)
    free = independent(some_people(genotypes, study.loci.people), used["gene"].to_numpy(), at)
    sizes["n_independent"] = pd.Series(free, dtype=np.int64).reindex(sizes.index, fill_value=0)
    sizes["region"] = ""
    if genotypes.build:
        regions = ld_regions(genotypes.build)
        chromosome = plain(sizes["chromosome"].fillna("").to_numpy(dtype=object))
        for name, where, start, end in regions.itertuples(index=False):
            inside = (chromosome == where) & (sizes["start"] <= end) & (sizes["end"] >= start)
            sizes.loc[inside & (sizes["region"] == ""), "region"] = name
    return sizes[SIZES]


def independent(genotypes: Genotypes, gene: np.ndarray, at: np.ndarray) -> pd.Series:
    """How many variants of each gene stay when its own are thinned, by gene.

    Parameters
    ----------
    gene, at
        Pairs of a gene and the place of one of its variants among those of the genotypes.
    """
    order = np.argsort(gene.astype(str), kind="stable")
    gene, at = gene[order], at[order]
    apart = genotypes.variants.iloc[at].assign(chromosome=gene).set_axis([str(i) for i in range(len(at))])
    kept = pruned(replace(genotypes, row=genotypes.row[at], variants=apart))
    return pd.Series(gene[[int(name) for name in kept]]).value_counts()


def with_sizes(ruled: Verdict, genome: Genome) -> Verdict:
    """The verdict with the size covariates of genes beside it."""
    table = ruled.table
    own = genome.sizes.reindex(table["node"]).set_axis(table.index)
    is_gene = table["level"] == GENES
    return replace(ruled, table=table.assign(**{name: own[name].where(is_gene) for name in SIZES}))


def associations(genome: Genome, trained: Fit, samples: Samples | Cohort) -> pd.DataFrame:
    """Every variant by itself for every contrast, given the covariates, in all people: contrast, variant, z, p."""
    target = trained.target
    order = {name: i for i, name in enumerate(trained.ids)}
    at = np.array([order[name] for name in samples.ids])
    n = len(at)
    covariates = np.empty((n, 0)) if trained.coding is None else trained.coding.encode(samples.covariates).T
    parts = []
    for contrast in contrasts(target):
        task: Task = "binary" if target.classes else "regression" if target.events is None else "cox"
        truth = (
            (target.values == target.classes.index(contrast.label)).astype(float) if target.classes else target.truth
        )
        null = null_of(task, truth[at], covariates, np.ones(n, dtype=bool))
        found = association(genome.genotypes, null).rename(columns={"statistic": "z"})[["z", "p"]]
        parts.append(found.rename_axis("variant").reset_index().assign(contrast=contrast.name))
    return pd.concat(parts, ignore_index=True)


def genome_tables(
    genome: Genome,
    trained: Fit,
    samples: Samples | Cohort,
    scores: NodeScores,
    pathways: pd.DataFrame,
    ruled: Verdict | None,
) -> GenomeTables:
    """Relative importance, attribution and association of variants, genes and pathways, and the scores of people.

    Relative importance is what GenNet has: the sum over all paths to the prediction of the absolute products of the weights, as a
    share of the level, the mean over networks. Attribution is of held-out people.
    """
    inputs = trained.topology.levels[0].name
    weights = weight_scores(trained)
    total = weights.groupby(["level", "contrast"])["product"].transform("sum").abs()
    weights = weights.assign(
        relative_importance=weights["share"], importance_sd=weights["spread"] / total.where(total > 0, 1.0)
    )[["level", "node", "contrast", "relative_importance", "importance_sd"]]
    variants = _variants(
        genome, weights[weights["level"] == inputs], scores.table, associations(genome, trained, samples)
    )
    upper = pathways.merge(weights, on=["level", "node", "contrast"], how="left", validate="one_to_one")
    upper = upper.rename(columns={"n_inputs": "n_variants"})
    if ruled is not None:
        columns = ["level", "node", "contrast", "verdict", "group", "locus", "in_ld_with"]
        told = ruled.table[[name for name in columns if name in ruled.table]]
        upper = upper.merge(told, on=["level", "node", "contrast"], how="left", validate="one_to_one")
    is_gene = upper["level"] == GENES
    best = _best(genome, variants)
    own = upper[is_gene].drop(columns=["level", "n_variants"]).rename(columns={"node": "gene"})
    own = own.join(genome.sizes, on="gene").merge(best, on=["gene", "contrast"], how="left")
    first = ["contrast", "gene", "name", *SIZES, "relative_importance", "importance_sd"]
    own = own[[*first, *[name for name in own if name not in first]]]
    terms = upper[~is_gene]
    first = ["contrast", "level", "node", "name", "n_variants", "relative_importance", "importance_sd"]
    terms = terms[[*first, *[name for name in terms if name not in first]]]
    return GenomeTables(
        variants,
        own.reset_index(drop=True),
        terms.reset_index(drop=True),
        scores_per_person(trained, samples),
        genome.words,
    )


def _variants(genome: Genome, weights: pd.DataFrame, scores: pd.DataFrame, tested: pd.DataFrame) -> pd.DataFrame:
    """One row per contrast and variant; the inputs a coding makes of a variant are summed."""
    own = weights.merge(scores, on=["level", "node", "contrast"], how="left", validate="one_to_one")
    own = own.assign(variant=genome.variant.loc[own["node"]].to_numpy())
    if genome.variant.is_unique:
        held = own
    else:
        summed = own.groupby(["contrast", "variant"], sort=False)[["relative_importance", *PER_VARIANT]].sum()
        held = summed.reset_index().assign(**dict.fromkeys(["importance_sd", *BOUNDS], np.nan))
    table = genome.genotypes.variants[["chromosome", "position", "counted", "other"]]
    owners = genome.genes.features()
    found = held.join(table, on="variant").assign(genes=[";".join(owners[name]) for name in held["variant"]])
    found = found.merge(tested, on=["contrast", "variant"], how="left", validate="one_to_one")
    columns = ["contrast", "variant", "chromosome", "position", "counted", "other", "genes", "relative_importance",
               "importance_sd", "score", "share", "share_low", "share_high", "mean_abs", "mean_abs_share", "z", "p"]  # fmt: skip
    return found[columns].reset_index(drop=True)


def _best(genome: Genome, variants: pd.DataFrame) -> pd.DataFrame:
    """The variant of each gene with the smallest p."""
    held = variants[["contrast", "variant", "p"]].merge(genome.genes.pairs, on="variant")
    held = held.dropna(subset="p").sort_values("p", kind="stable").drop_duplicates(["contrast", "gene"])
    return held.rename(columns={"variant": "best_variant", "p": "best_p"})


def scores_per_person(trained: Fit, samples: Samples | Cohort) -> pd.DataFrame:
    """What the networks that held a person out say of the person: means and standard deviations over them.

    Columns: the outcome under the name of the target; `logit` (for several classes one for each, for a quantity or survival
    `predicted`) with its sd; the calibrated probability of each class with its sd; and `n_networks`. People whom no network held
    out have missing values.
    """
    found = trained.predict(samples)
    held = np.where(found.held_out[:, :, None], found.logits, np.nan)
    number = found.held_out.sum(1)
    columns: dict[str, np.ndarray] = {}
    order = {name: i for i, name in enumerate(trained.ids)}
    values = trained.target.values[[order[name] for name in samples.ids]]
    classes = trained.target.classes
    columns[trained.target.name] = np.array(classes, dtype=object)[values] if classes else values
    for i in range(held.shape[2]):
        name = "predicted" if not classes else "logit" if held.shape[2] == 1 else f"logit of {classes[i]}"
        columns[name], columns[f"{name} sd"] = _moments(held[:, :, i])
    table = pd.DataFrame(columns, index=pd.Index(samples.ids, name="person"))
    if classes:
        told = found.table(held_out=True).drop(columns="n_replicates")
        table = table.join(told.add_prefix("probability of "))
    return table.assign(n_networks=number)


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    known = np.isfinite(values)
    n = known.sum(1)
    mean = np.divide(np.where(known, values, 0).sum(1), n, where=n > 0, out=np.full(len(values), np.nan))
    squares = np.where(known, (values - mean[:, None]) ** 2, 0).sum(1)
    return mean, np.sqrt(np.divide(squares, n - 1, where=n > 1, out=np.full(len(values), np.nan)))


def write_genome(folder: Path, genome: Genome, trained: Fit, tables: GenomeTables) -> tuple[str, ...]:
    """Write connection weights, importances and scores; what should be said of the files, a sentence each."""
    edges = edge_weights(trained)
    places = genome.genotypes.variants.loc[genome.variant].set_axis(genome.variant.index)
    connections = Connections(trained, edges, places)
    connections.write(folder / "connection_weights.csv")
    write_csv(folder / "edge_weights.csv", edge_table(trained, edges), index=False)
    for name in ("variants", GENES, "pathways"):
        table = getattr(tables, name)
        if len(table):
            write_csv(folder / f"importance_{name}.csv", table, index=False)
    write_csv(folder / "scores_per_person.csv", tables.people)
    if len(tables.networks):
        write_csv(folder / GENE_NETWORKS, tables.networks)
    else:
        (folder / GENE_NETWORKS).unlink(missing_ok=True)
    if connections.whole:
        return ()
    return (
        f"There are {connections.n_paths:,} paths from variants to the prediction: connection_weights.csv has a row per edge "
        "out of a variant, with all that lies above summed up; edge_weights.csv has the weights above.",
    )


def _in_common(pair: dict[str, object]) -> str:
    shared, r2, distance = int(str(pair["shared"])), float(str(pair["r2"])), float(str(pair["distance"]))
    said = [f"r2 {r2:.2f}"] if np.isfinite(r2) else []
    if shared:
        said.append(f"{shared} variant{'' if shared == 1 else 's'} shared")
    elif distance:
        said.append(f"{distance / 1000:,.0f} kb away" if distance >= 1000 else f"{distance:.0f} bases away")
    return ", ".join(said) or "overlapping"


def regions_of(genome: Genome) -> pd.Series:
    """The region of long-range linkage each variant lies in, "" for none; all "" where the build is not declared."""
    variants = genome.genotypes.variants
    if not genome.genotypes.build:
        return pd.Series("", index=variants.index, name="region")
    return in_regions(variants, ld_regions(genome.genotypes.build))

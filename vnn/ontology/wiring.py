"""From an ontology and the names of measured features to the levels and masks of a network."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from vnn._errors import OntologyError, choose, culprits
from vnn.ontology import dag
from vnn.ontology.log import Entry
from vnn.ontology.ontology import MEMBERSHIP, REGULATION, Ontology, positions
from vnn.ontology.spelling import apart
from vnn.ontology.topology import Topology

LEVELS = ("longest path", "depth", "hybrid")
FEW_MEET = 0.1  # share of the smaller side below which the names are most likely of two kinds
RESIDUAL, FREE = "residual", "free {}"

Features = Sequence[str] | Mapping[str, Sequence[str]]


def wire(
    ontology: Ontology,
    features: Features,
    *,
    min_genes: int,
    max_genes: int | None,
    collapse: bool,
    skips: Literal["edges", "copies"],
    gene_level: bool,
    depth: int | None,
    relations: Sequence[str],
    jaccard: float | None,
    levels: str,
    residual: bool,
    free: int,
) -> Topology:
    """What `Ontology.topology` returns; its docstring tells the parameters."""
    choose("skips", skips, ("edges", "copies"))
    choose("levels", levels, LEVELS)
    for kind in relations:
        choose("a relation that becomes an edge", kind, (*MEMBERSHIP, *REGULATION))
    genes_of = _genes_of(features)
    measured = {gene for genes in genes_of.values() for gene in genes}
    if measured.isdisjoint(ontology.genes):
        raise _nothing_meets(ontology, genes_of)
    met = len(measured.intersection(ontology.genes))
    if few := met < FEW_MEET * min(len(measured), len(ontology.genes)):
        warnings.warn(
            f"only {met:,} of {len(measured):,} measured genes are in the ontology. {_apart(ontology, genes_of)[1]}",
            stacklevel=3,
        )

    pruned = _typed(ontology, relations).restrict(measured)
    if max_genes is not None:
        pruned = pruned.max_genes(max_genes)
    pruned = pruned.min_genes(max(min_genes, 1))
    if collapse:
        pruned = pruned.collapse_identical()
    if jaccard is not None:
        pruned = pruned.collapse_similar(jaccard)
    if depth is not None:
        pruned = pruned.depth(depth)
    pruned = pruned.most_specific()
    if not len(pruned.annotations):
        most = "" if max_genes is None else f" and at most {max_genes:,}"
        raise OntologyError(
            f"no term is left: {len(measured & set(ontology.genes)):,} of the {len(measured):,} measured genes are in "
            f"the ontology, and none of its {len(ontology.terms):,} terms has at least {min_genes:,}{most} of them. "
            + (_apart(ontology, genes_of)[1] if few else "Lower min_genes, raise max_genes, or give more features.")
        )

    names, edges = _edges(pruned, genes_of, gene_level=gene_level, levels=levels)
    added, log = _beside(pruned, genes_of, edges, level=2 if gene_level else 1, residual=residual, free=free)
    edges = pd.concat([edges, *added], ignore_index=True)
    copies = _no_edges()
    if skips == "copies":
        edges, copies = _through_copies(edges)
    labels = pruned.terms["name"]
    level = np.array(names, dtype=object)
    return Topology.from_edges(
        _nodes(names, edges),
        edges.assign(source_level=level[edges["source_level"]], target_level=level[edges["target_level"]]),
        copies={names[at]: copies["target"][copies["target_level"] == at] for at in copies["target_level"].unique()},
        names={term: name for term, name in zip(labels.index, labels, strict=True) if name != term},
        log=(*pruned.log, *_feature_log(ontology, pruned, genes_of, residual=residual), *log),
        provenance=ontology.provenance,
    )


def unaccounted(ontology: Ontology, features: Features, topology: Topology) -> tuple[str, ...]:
    """The genes, terms and features that are neither in the topology nor named in its log.

    An empty tuple is the promise of `Ontology.topology`; anything else is a defect of this package.
    """
    genes_of = _genes_of(features)
    named: dict[str, set[str]] = {"genes": set(), "terms": set(), "features": set()}
    for entry in topology.log[len(ontology.log) :]:
        if entry.kind in named and not entry.reason.startswith("kept"):
            named[entry.kind].update(name.split(" -> ")[0] for name in entry.names)
    inputs = set(topology.inputs)
    nodes = {node for level in topology.levels[1:] for node in level.nodes}
    wired = {gene for feature in inputs for gene in genes_of[feature]}
    return (
        *(f"gene {gene}" for gene in ontology.genes if gene not in wired and gene not in named["genes"]),
        *(f"term {term}" for term in ontology.terms.index if term not in nodes and term not in named["terms"]),
        *(f"feature {name}" for name in genes_of if name not in inputs and name not in named["features"]),
    )


def _genes_of(features: Features) -> dict[str, tuple[str, ...]]:
    if isinstance(features, Mapping):
        return {name: tuple(genes) for name, genes in features.items()}
    if isinstance(features, str):
        raise TypeError(f"features is the text {features!r}; a sequence of feature names is needed.")
    names = list(features)
    if twice := sorted(name for name, n in Counter(names).items() if n > 1):
        raise OntologyError(f"{len(twice):,} features are there twice: {culprits(twice)}. Merge or rename them first.")
    return {name: (name,) for name in names}


def _nothing_meets(ontology: Ontology, genes_of: Mapping[str, tuple[str, ...]]) -> OntologyError:
    if not ontology.genes:
        return OntologyError(
            f"the ontology annotates no gene to any of its {len(ontology.terms):,} terms, so nothing can be wired. "
            + _unread(ontology)
        )
    genes, told = _apart(ontology, genes_of)
    folded = {gene.casefold() for gene in ontology.genes}
    alike = [gene for gene in genes if gene.casefold() in folded]
    mouse = ""
    if alike:
        mouse = (
            f" {len(alike):,} of them would meet if case did not matter ({culprits(alike)}), as symbols of mouse or rat "
            "do, whose genes are others: translate them by orthologs."
        )
    return OntologyError(f"none of the features meets a gene of the ontology. {told}{mouse}")


def _unread(ontology: Ontology) -> str:
    """Why an ontology may have no annotations, and what to do."""
    lost = [
        entry for entry in ontology.log if entry.kind == "annotations" and "a term that is not there" in entry.reason
    ]
    if not lost:
        return "Read it together with its gene sets or annotations."
    return (
        f"{sum(entry.count for entry in lost):,} annotations name terms it does not have ({culprits(lost[0].names, 3)}): hierarchy "
        "and annotations are of different ontologies or releases."
    )


def _apart(ontology: Ontology, genes_of: Mapping[str, tuple[str, ...]]) -> tuple[list[str], str]:
    """The genes of the features, and a sentence on what they and those of the ontology look like."""
    genes = list(dict.fromkeys(gene for genes in genes_of.values() for gene in genes))
    called = "features" if genes == list(genes_of) else "genes, to which the features are mapped,"
    told = apart(genes, ontology.genes, called=called)
    return genes, told[0].upper() + told[1:]


def _typed(ontology: Ontology, relations: Sequence[str]) -> Ontology:
    """Only the chosen types of relation; the others are logged."""
    away = ~ontology.relations["type"].isin(relations).to_numpy()
    if not away.any():
        return ontology
    pairs = {f"{row.child} -> {row.parent}" for row in ontology.relations[away].itertuples()}
    entry = Entry.of("relations", "relations", pairs, f"not wired: their type is not among {', '.join(relations)}")
    return ontology._rows(relations=~away, entries=[entry])


def _edges(
    pruned: Ontology, genes_of: Mapping[str, tuple[str, ...]], *, gene_level: bool, levels: str
) -> tuple[list[str], pd.DataFrame]:
    """Names of the levels, and the edges between nodes with the numbers of their levels."""
    first = 2 if gene_level else 1
    index = pruned.terms.index
    at = pd.Series(_heights(pruned, levels) + first, index=index)
    own = pruned.annotations[["gene", "term"]].drop_duplicates()
    measured = pd.DataFrame([(feature, gene) for feature, genes in genes_of.items() for gene in genes])
    measured.columns = pd.Index(["feature", "gene"])
    measured = measured[measured["gene"].isin(own["gene"])].drop_duplicates()
    related = pruned.relations
    parts = [_table(at[related["child"]], related["child"], at[related["parent"]], related["parent"])]
    if gene_level:
        parts.append(_table(0, measured["feature"], 1, measured["gene"]))
        parts.append(_table(1, own["gene"], at[own["term"]], own["term"]))
    else:
        joined = measured.merge(own, on="gene")
        parts.append(_table(0, joined["feature"], at[joined["term"]], joined["term"]))
    names = ["inputs", *(["genes"] if gene_level else []), *(f"level {k}" for k in range(1, at.max() - first + 2))]
    return names, pd.concat(parts, ignore_index=True).drop_duplicates()


def _heights(pruned: Ontology, levels: str) -> np.ndarray:
    """Level of each term, the lowest being 0."""
    n = len(pruned.terms)
    child, parent = (positions(pruned.terms.index, pruned.relations[end]) for end in ("child", "parent"))
    lowest = dag.heights(n, child, parent)
    if levels == "longest path":
        return lowest
    highest = lowest.max(initial=0) - dag.heights(n, parent, child)
    return highest if levels == "depth" else (lowest + highest) // 2


def _beside(
    pruned: Ontology,
    genes_of: Mapping[str, tuple[str, ...]],
    edges: pd.DataFrame,
    *,
    level: int,
    residual: bool,
    free: int,
) -> tuple[list[pd.DataFrame], list[Entry]]:
    """Edges into nodes that stand for no term: one for the features no term has, and free ones over all that is wired."""
    made = {FREE.format(number) for number in range(1, free + 1)} | ({RESIDUAL} if residual else set())
    if clash := sorted(made & {*genes_of, *pruned.terms.index, *pruned.genes}):
        raise OntologyError(
            f"{culprits(clash)} is to be a node beside the terms and is also a term, gene or feature; rename the latter."
        )
    wired = set(edges["source"][edges["source_level"] == 0])
    rest = sorted(set(genes_of) - wired) if residual else []
    seen = {name: rest if name == RESIDUAL else sorted(wired.union(rest)) for name in sorted(made)}
    parts = [_table(0, pd.Series(inputs), level, pd.Series(name, range(len(inputs)))) for name, inputs in seen.items()]
    log = [Entry.of("residual", "features", rest, "wired to the residual node: no term has them")] if rest else []
    return parts, log


def _table(source_level: object, source: pd.Series, target_level: object, target: pd.Series) -> pd.DataFrame:
    columns = {"source_level": source_level, "source": source, "target_level": target_level, "target": target}
    return pd.DataFrame({name: np.broadcast_to(np.asarray(column), len(source)) for name, column in columns.items()})


def _no_edges() -> pd.DataFrame:
    return pd.DataFrame({"source_level": [], "source": [], "target_level": [], "target": []})


def _through_copies(edges: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Edges between neighbouring levels only, and those of them that lead into copies.

    A node is copied as far up as an edge of its own needs it, and no further.
    """
    top = edges.groupby(["source_level", "source"], sort=True)["target_level"].max().reset_index()
    steps = (top["target_level"] - top["source_level"] - 1).to_numpy()
    longer = top.loc[np.repeat(top.index, steps)]
    nth = np.arange(len(longer)) - np.repeat(np.cumsum(steps) - steps, steps)
    below = longer["source_level"].to_numpy() + nth
    copies = _table(below, longer["source"], below + 1, longer["source"])
    real = pd.MultiIndex.from_frame(edges[["target_level", "target"]])
    clash = pd.MultiIndex.from_frame(copies[["target_level", "target"]]).isin(real)
    if clash.any():
        raise OntologyError(
            f"{copies[clash]['target'].nunique():,} names belong to a node and to the copy of another node in the same "
            f"level: {culprits(sorted(copies[clash]['target'].unique()))}. Rename the features, or use "
            'skips="edges".'
        )
    direct = edges.assign(source_level=edges["target_level"] - 1)
    return pd.concat([direct, copies], ignore_index=True), copies


def _nodes(names: Sequence[str], edges: pd.DataFrame) -> dict[str, Iterable[str]]:
    nodes: dict[str, Iterable[str]] = {}
    for at, name in enumerate(names):
        ends = (edges[end][edges[f"{end}_level"] == at] for end in ("source", "target"))
        nodes[name] = pd.unique(pd.concat(ends))
    return nodes


def _feature_log(
    ontology: Ontology, pruned: Ontology, genes_of: Mapping[str, tuple[str, ...]], *, residual: bool
) -> list[Entry]:
    known, wired = set(ontology.genes), set(pruned.genes)
    shared = Counter(gene for genes in genes_of.values() for gene in set(genes) & wired)
    found: dict[str, list[str]] = {}
    for name, genes in genes_of.items():
        if residual and wired.isdisjoint(genes):
            continue
        if not genes:
            found.setdefault("dropped: they name no gene", []).append(name)
        elif known.isdisjoint(genes):
            found.setdefault("dropped: the ontology does not know their genes", []).append(name)
        elif wired.isdisjoint(genes):
            found.setdefault("dropped: their genes left with the terms they were annotated to", []).append(name)
        else:
            if len(wired.intersection(genes)) > 1:
                found.setdefault("kept: they stand for several genes each", []).append(name)
            if any(shared[gene] > 1 for gene in genes):
                found.setdefault("kept: they share a gene with another feature", []).append(name)
    return [Entry.of("features", "features", names, reason) for reason, names in sorted(found.items())]

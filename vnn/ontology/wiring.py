"""From an ontology and the names of measured features to the levels and masks of a network."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import chain
from typing import Literal

import numpy as np
import pandas as pd

from vnn._errors import OntologyError, choose, culprits
from vnn.ontology import dag
from vnn.ontology.log import Entry
from vnn.ontology.measured import Features, Measured
from vnn.ontology.ontology import MEMBERSHIP, REGULATION, Ontology, positions
from vnn.ontology.order import in_order
from vnn.ontology.spelling import apart
from vnn.ontology.topology import Topology

LEVELS = ("longest path", "depth", "hybrid")
FEW_MEET = 0.1  # share of the smaller side below which the names are most likely of two kinds
RESIDUAL, FREE = "residual", "free {}"


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
    measured = Measured.of(features)
    n_genes = len(measured.genes)
    met = int(_among(measured, ontology).sum())
    if not met:
        raise _nothing_meets(ontology, measured)
    if few := met < FEW_MEET * min(n_genes, len(ontology.genes)):
        warnings.warn(
            f"only {met:,} of {n_genes:,} measured genes are in the ontology. {_apart(ontology, measured)}",
            stacklevel=3,
        )

    pruned = _typed(ontology, relations).restrict(measured.genes)
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
            f"no term is left: {met:,} of the {n_genes:,} measured genes are in "
            f"the ontology, and none of its {len(ontology.terms):,} terms has at least {min_genes:,}{most} of them. "
            + (_apart(ontology, measured) if few else "Lower min_genes, raise max_genes, or give more features.")
        )

    titles, edges = _edges(pruned, measured, gene_level=gene_level, levels=levels)
    made = [*([RESIDUAL] if residual else []), *(FREE.format(number) for number in range(1, free + 1))]
    kinds = (measured.names, pruned.genes, pruned.terms.index, made)
    ids = np.concatenate([np.asarray(names, dtype=object) for names in kinds])
    added, log = _beside(pruned, measured, edges, made, level=2 if gene_level else 1)
    edges = pd.concat([edges, *added], ignore_index=True)
    copies = edges[:0]
    if skips == "copies":
        edges, copies = _through_copies(edges, ids)
    labels = pruned.terms["name"]
    return Topology._numbered(
        _nodes(titles, edges, ids, n_sorted=[len(names) for names in kinds]),
        ids,
        edges,
        copies={titles[at]: ids[own["target"]] for at, own in copies.groupby("target_level")},
        names={term: name for term, name in zip(labels.index, labels, strict=True) if name != term},
        log=(*pruned.log, *_feature_log(ontology, pruned, measured, residual=residual), *log),
        provenance=ontology.provenance,
    )


def unaccounted(ontology: Ontology, features: Features, topology: Topology) -> tuple[str, ...]:
    """The genes, terms and features that are neither in the topology nor named in its log.

    An empty tuple is the promise of `Ontology.topology`; anything else is a defect of this package.
    """
    measured = Measured.of(features)
    named: dict[str, set[str]] = {"genes": set(), "terms": set(), "features": set()}
    for entry in topology.log[len(ontology.log) :]:
        if entry.kind in named and not entry.reason.startswith("kept"):
            named[entry.kind].update(name.split(" -> ")[0] for name in entry.names)
    inputs = set(topology.inputs)
    nodes = {node for level in topology.levels[1:] for node in level.nodes}
    entered = np.array([name in inputs for name in measured.names], dtype=bool)
    wired = set(measured.genes[measured.gene[entered[measured.feature]]])
    return (
        *(f"gene {gene}" for gene in ontology.genes if gene not in wired and gene not in named["genes"]),
        *(f"term {term}" for term in ontology.terms.index if term not in nodes and term not in named["terms"]),
        *(f"feature {name}" for name in measured.names[~entered] if name not in named["features"]),
    )


def _among(measured: Measured, ontology: Ontology) -> np.ndarray:
    """Which of the measured genes the ontology annotates."""
    return positions(pd.Index(ontology.genes, dtype=object), measured.genes) >= 0


def _nothing_meets(ontology: Ontology, measured: Measured) -> OntologyError:
    if not ontology.genes:
        return OntologyError(
            f"the ontology annotates no gene to any of its {len(ontology.terms):,} terms, so nothing can be wired. "
            + _unread(ontology)
        )
    folded = {gene.casefold() for gene in ontology.genes}
    alike = [gene for gene in measured.genes if gene.casefold() in folded]
    mouse = ""
    if alike:
        mouse = (
            f" {len(alike):,} of them would meet if case did not matter ({culprits(alike)}), as symbols of mouse or rat "
            "do, whose genes are others: translate them by orthologs."
        )
    return OntologyError(f"none of the features meets a gene of the ontology. {_apart(ontology, measured)}{mouse}")


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


def _apart(ontology: Ontology, measured: Measured) -> str:
    """A sentence on what the genes of the features and those of the ontology look like."""
    genes = measured.genes.tolist()
    called = "features" if sorted(genes) == measured.names.tolist() else "genes, to which the features are mapped,"
    told = apart(genes, ontology.genes, called=called)
    return told[0].upper() + told[1:]


def _typed(ontology: Ontology, relations: Sequence[str]) -> Ontology:
    """Only the chosen types of relation; the others are logged."""
    away = ~ontology.relations["type"].isin(relations).to_numpy()
    if not away.any():
        return ontology
    pairs = {f"{row.child} -> {row.parent}" for row in ontology.relations[away].itertuples()}
    entry = Entry.of("relations", "relations", pairs, f"not wired: their type is not among {', '.join(relations)}")
    return ontology._rows(relations=~away, entries=[entry])


def _edges(pruned: Ontology, measured: Measured, *, gene_level: bool, levels: str) -> tuple[list[str], pd.DataFrame]:
    """Names of the levels, and the edges between the numbers of nodes with those of their levels.

    Features are numbered first, then the genes, then the terms of the ontology.
    """
    first = 2 if gene_level else 1
    n_features, n_genes = len(measured.names), len(pruned.genes)
    at = _heights(pruned, levels) + first
    term, related = n_features + n_genes, (pruned._child, pruned._parent)
    own = pd.DataFrame({"gene": pruned._gene, "term": pruned._term}).drop_duplicates()
    gene = positions(pd.Index(pruned.genes, dtype=object), measured.genes)[measured.gene]
    met = pd.DataFrame({"feature": measured.feature, "gene": gene})[gene >= 0]
    parts = [_table(at[related[0]], term + related[0], at[related[1]], term + related[1])]
    if gene_level:
        parts.append(_table(0, met["feature"], 1, n_features + met["gene"]))
        parts.append(_table(1, n_features + own["gene"], at[own["term"]], term + own["term"]))
    else:
        joined = met.merge(own, on="gene")
        parts.append(_table(0, joined["feature"], at[joined["term"]], term + joined["term"]))
    titles = ["inputs", *(["genes"] if gene_level else []), *(f"level {k}" for k in range(1, at.max() - first + 2))]
    return titles, pd.concat(parts, ignore_index=True)


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
    pruned: Ontology, measured: Measured, edges: pd.DataFrame, made: Sequence[str], *, level: int
) -> tuple[list[pd.DataFrame], list[Entry]]:
    """Edges into nodes that stand for no term: one for the features no term has, and free ones over all that is wired."""
    if not made:
        return [], []
    taken = (measured.names, pruned.terms.index, pruned.genes)
    if clash := sorted(set(made).intersection(chain.from_iterable(taken))):
        raise OntologyError(
            f"{culprits(clash)} is to be a node beside the terms and is also a term, gene or feature; rename the latter."
        )
    wired = np.zeros(len(measured.names), dtype=bool)
    wired[edges["source"][edges["source_level"] == 0]] = True
    rest = ~wired if RESIDUAL in made else np.zeros_like(wired)
    first = len(measured.names) + len(pruned.genes) + len(pruned.terms)
    parts = []
    for number, name in enumerate(made, first):
        seen = np.flatnonzero(rest if name == RESIDUAL else wired | rest)
        parts.append(_table(0, seen, level, np.full(len(seen), number)))
    left = measured.names[rest]
    log = [Entry.of("residual", "features", left, "wired to the residual node: no term has them")] if len(left) else []
    return parts, log


def _table(
    source_level: int | np.ndarray,
    source: np.ndarray | pd.Series,
    target_level: int | np.ndarray,
    target: np.ndarray | pd.Series,
) -> pd.DataFrame:
    columns = {"source_level": source_level, "source": source, "target_level": target_level, "target": target}
    return pd.DataFrame(
        {name: np.broadcast_to(np.asarray(column, dtype=np.int32), len(source)) for name, column in columns.items()}
    )


def _through_copies(edges: pd.DataFrame, ids: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Edges between neighbouring levels only, and those of them that lead into copies.

    A node is copied as far up as an edge of its own needs it, and no further.
    """
    top = edges.groupby(["source_level", "source"], sort=True)["target_level"].max().reset_index()
    steps = (top["target_level"] - top["source_level"] - 1).to_numpy()
    longer = top.loc[np.repeat(top.index, steps)].reset_index(drop=True)
    nth = np.arange(len(longer)) - np.repeat(np.cumsum(steps) - steps, steps)
    below = longer["source_level"].to_numpy() + nth
    copies = _table(below, longer["source"], below + 1, longer["source"])
    real = edges[["target_level", "target"]].drop_duplicates()
    real_names, copied_names = (
        pd.MultiIndex.from_arrays([table["target_level"], ids[table["target"]]]) for table in (real, copies)
    )
    clash = copied_names.isin(real_names)
    if clash.any():
        names = sorted(set(ids[copies["target"][clash]]))
        raise OntologyError(
            f"{len(names):,} names belong to a node and to the copy of another node in the same level: {culprits(names)}. "
            'Rename the features, or use skips="edges".'
        )
    direct = edges.assign(source_level=edges["target_level"] - 1)
    return pd.concat([direct, copies], ignore_index=True), copies


def _nodes(
    titles: Sequence[str], edges: pd.DataFrame, ids: np.ndarray, *, n_sorted: Sequence[int]
) -> dict[str, np.ndarray]:
    """The numbers of the nodes of each level in the order of their ids, which are sorted within parts of these lengths."""
    nodes, ends = {}, np.cumsum(n_sorted)
    for at, title in enumerate(titles):
        is_here = np.zeros(len(ids), dtype=bool)
        for end in ("source", "target"):
            is_here[edges[end].to_numpy()[edges[f"{end}_level"] == at]] = True
        own = np.flatnonzero(is_here)
        part = np.searchsorted(ends, own, side="right")
        nodes[title] = own if (part == part[:1]).all() else own[in_order(ids[own])]
    return nodes


def _feature_log(ontology: Ontology, pruned: Ontology, measured: Measured, *, residual: bool) -> list[Entry]:
    known, wired = (_among(measured, one) for one in (ontology, pruned))
    shared = wired & (np.bincount(measured.gene, minlength=len(wired)) > 1)
    n_genes, n_known, n_wired, n_shared = (
        measured.n_genes(among) for among in (np.ones_like(wired), known, wired, shared)
    )
    found = {
        "dropped: they name no gene": n_genes == 0,
        "dropped: the ontology does not know their genes": (n_genes > 0) & (n_known == 0),
        "dropped: their genes left with the terms they were annotated to": (n_known > 0) & (n_wired == 0),
        "kept: they stand for several genes each": n_wired > 1,
        "kept: they share a gene with another feature": n_shared > 0,
    }
    told = (n_wired > 0) | (not residual)
    return [
        Entry("features", "features", tuple(measured.names[those & told]), reason)
        for reason, those in sorted(found.items())
        if (those & told).any()
    ]

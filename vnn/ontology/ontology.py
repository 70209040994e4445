"""Ontology: terms, their relations and the genes annotated to them, with a log of every change."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any, Literal

import networkx as nx
import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype
from scipy import sparse

from vnn._errors import OntologyError, choose, culprits
from vnn.ontology import dag, evidence
from vnn.ontology.log import Entry
from vnn.ontology.order import each_once
from vnn.ontology.similar import redundant
from vnn.ontology.topology import Topology

MEMBERSHIP = ("is_a", "part_of")
REGULATION = ("negatively_regulates", "positively_regulates", "regulates")

KINDS = np.array(sorted((*MEMBERSHIP, *REGULATION)))

TERMS = ["name", "namespace"]
RELATIONS = ["child", "parent", "type"]
ANNOTATIONS = ["gene", "term", "evidence", "qualifier"]


@dataclass(frozen=True, eq=False, repr=False)
class Ontology:
    """Terms, child -> parent relations and gene -> term annotations.

    Immutable: every operation returns a new ontology and appends what it dropped or changed to the
    log. Genes travel up `is_a` and `part_of` only; relations of regulation may become edges of a
    network but never carry membership.

    Parameters
    ----------
    terms
        Index: term ids. Columns `name` (an id that has none is its own name) and `namespace`.
    relations
        Columns `child`, `parent`, `type`, each row once; types are those of `MEMBERSHIP` and `REGULATION`.
    annotations
        Columns `gene`, `term`, and optionally `evidence` and `qualifier`; each row once.
    provenance
        A record per source: source, release, species, licence, citation, files with SHA-256.
    log
        What was dropped, merged or changed so far.

    Raises
    ------
    OntologyError
        If a relation or annotation names an unknown term, a term is its own parent, a row is there
        twice, a relation has an unknown type, or the relations close a cycle, which is then shown.
        `Ontology.assemble` counts and drops what can be dropped instead.
    """

    terms: pd.DataFrame
    relations: pd.DataFrame
    annotations: pd.DataFrame
    provenance: tuple[Mapping[str, Any], ...] = ()
    log: tuple[Entry, ...] = ()

    def __post_init__(self) -> None:
        terms = _columns(self.terms, TERMS, "terms").sort_index()
        terms.index.name = "term"
        unnamed = terms["name"] == ""
        terms.loc[unnamed, "name"] = terms.index[unnamed]
        if not terms.index.is_unique:
            raise OntologyError(f"terms are there twice: {culprits(_twice(terms.index))}. Give each id once.")
        object.__setattr__(self, "terms", terms)
        object.__setattr__(self, "relations", _ordered(self.relations, RELATIONS, "relations"))
        object.__setattr__(self, "annotations", _ordered(self.annotations, ANNOTATIONS, "annotations"))
        object.__setattr__(self, "provenance", tuple(self.provenance))
        object.__setattr__(self, "log", tuple(self.log))
        self._check()

    def _check(self) -> None:
        if "" in self.terms.index or (self.annotations["gene"] == "").any():
            raise OntologyError("a term or a gene has an empty name; leave it out or name it.")
        child, parent = self._child, self._parent
        for column, at in (("child", child), ("parent", parent)):
            if (at < 0).any():
                names = self.relations[column][at < 0].unique()
                raise OntologyError(
                    f"{len(names):,} terms named as {column} are not among the {len(self.terms):,} terms: "
                    f"{culprits(names)}. Add them, or let Ontology.assemble drop and count such relations."
                )
        if (self._term < 0).any():
            names = self.annotations["term"][self._term < 0].unique()
            raise OntologyError(
                f"{len(names):,} annotated terms are not among the {len(self.terms):,} terms: {culprits(names)}. "
                "Add them, or let Ontology.assemble drop and count such annotations."
            )
        if (child == parent).any():
            own = self.terms.index[child[child == parent]]
            raise OntologyError(f"terms are their own parent: {culprits(own)}. Ontology.assemble drops such relations.")
        for kind in self.relations["type"].unique():
            choose("the type of a relation", kind, (*MEMBERSHIP, *REGULATION))
        if nodes := dag.cycle(len(self.terms), child, parent):
            shown = " -> ".join(self.terms.index[[*nodes, nodes[0]]])
            raise OntologyError(
                f"the relations close a cycle of {len(nodes):,} terms: {shown}. A network needs an order from "
                "children to parents: remove one of these relations, or read fewer types of relation."
            )

    @classmethod
    def assemble(
        cls,
        terms: pd.DataFrame,
        relations: pd.DataFrame,
        annotations: pd.DataFrame,
        *,
        step: str,
        provenance: Sequence[Mapping[str, Any]] = (),
        log: Sequence[Entry] = (),
    ) -> Ontology:
        """An ontology from raw tables; what contradicts itself is dropped, counted and named in the log.

        Self-references, relations and annotations of unknown terms, and repeated rows leave. What
        cannot be decided, such as a cycle, is still an error.

        Parameters
        ----------
        step
            Name of the reader, for the log.
        """
        relations = _columns(relations, RELATIONS, "relations")
        annotations = _columns(annotations, ANNOTATIONS, "annotations")
        notes = list(log)

        def leave(table: pd.DataFrame, gone: pd.Series, kind: str, reason: str) -> pd.DataFrame:
            if gone.any():
                source, target = (table.loc[gone, name] for name in table.columns[:2])
                sign = " -> " if kind == "relations" else " @ "
                notes.append(Entry.of(step, kind, set(source + sign + target), f"{reason} ({gone.sum():,} rows)"))
            return table[~gone]

        own = relations["child"] == relations["parent"]
        relations = leave(relations, own, "relations", "dropped: a term cannot be its own parent")
        known = relations["child"].isin(terms.index) & relations["parent"].isin(terms.index)
        relations = leave(relations, ~known, "relations", "dropped: they name a term that is not there")
        again = relations.duplicated()
        relations = leave(relations, again, "relations", "repeated and kept once")
        known = annotations["term"].isin(terms.index)
        annotations = leave(annotations, ~known, "annotations", "dropped: they name a term that is not there")
        again = annotations.duplicated()
        annotations = leave(annotations, again, "annotations", "repeated and kept once")
        try:
            return cls(terms, relations, annotations, tuple(provenance), tuple(notes))
        except OntologyError as error:
            if files := [file["name"] for record in provenance for file in record["files"]]:
                error.add_note(f"reading {', '.join(files)}")
            raise

    def __repr__(self) -> str:
        return (
            f"Ontology({len(self.terms):,} terms, {len(self.relations):,} relations, {len(self.genes):,} genes, "
            f"{len(self.annotations):,} annotations)"
        )

    @cached_property
    def genes(self) -> tuple[str, ...]:
        """The annotated genes, sorted."""
        return tuple(sorted(self.annotations["gene"].unique()))

    @cached_property
    def graph(self) -> nx.DiGraph:
        """The ontology in signal direction: gene -> term -> parent.

        Nodes are ("gene", id) and ("term", id), so that a gene and a term of the same id stay apart;
        terms carry `name` and `namespace`, edges `type`.
        """
        graph: nx.DiGraph = nx.DiGraph()
        for term, row in zip(self.terms.index, self.terms.itertuples(index=False), strict=True):
            graph.add_node(("term", term), name=row.name, namespace=row.namespace)
        graph.add_nodes_from((("gene", gene), {"name": gene}) for gene in self.genes)
        for gene, term in zip(self.annotations["gene"], self.annotations["term"], strict=True):
            graph.add_edge(("gene", gene), ("term", term), type="annotation")
        types: dict[tuple[str, str], list[str]] = defaultdict(list)
        for child, parent, kind in zip(*(self.relations[name] for name in RELATIONS), strict=True):
            types[child, parent].append(kind)
        for (child, parent), kinds in types.items():
            graph.add_edge(("term", child), ("term", parent), type=", ".join(kinds))
        return graph

    def of_origin(self, *records: Mapping[str, Any]) -> Ontology:
        """The same ontology with other records of where it came from."""
        made = object.__new__(Ontology)
        made.__dict__.update(self.__dict__, provenance=records)
        return made

    def gene_sets(self, *, propagated: bool = True) -> dict[str, frozenset[str]]:
        """The genes of every term, with those of its descendants unless `propagated` is false."""
        matrix = self._carried if propagated else self._own
        genes = np.array(self.genes, dtype=object)
        bounds = zip(self.terms.index, matrix.indptr, matrix.indptr[1:], strict=False)
        return {term: frozenset(genes[matrix.indices[start:stop]]) for term, start, stop in bounds}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over term ids, relations with their types, and which gene is in which term.

        Order of lines, names, namespaces, evidence and the format that was read make no difference.
        """
        digest = hashlib.sha256()
        pairs = self.annotations[["gene", "term"]].drop_duplicates()
        for table in (self.terms.index.to_frame(), self.relations, pairs):
            digest.update(json.dumps(table.to_numpy().tolist()).encode())
        return digest.hexdigest()

    def find(self, name: str) -> str:
        """The id of the term with this id or name.

        Raises
        ------
        OntologyError
            If no term, or more than one, has the name.
        """
        if name in self.terms.index:
            return name
        found = self.terms.index[self.terms["name"] == name]
        if len(found) == 1:
            return str(found[0])
        if len(found):
            raise OntologyError(f"{len(found):,} terms are called {name!r}: {culprits(found)}. Give the id instead.")
        near = get_close_matches(name, self.terms["name"].unique(), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else f" There are {culprits(self.terms['name'])}."
        raise OntologyError(f"none of the {len(self.terms):,} terms has the id or name {name!r}.{hint}")

    def restrict(self, genes: Iterable[str]) -> Ontology:
        """Keep the annotations of `genes`, the measured ones; all terms stay."""
        measured = set(genes)
        known = np.array([gene in measured for gene in self.genes], dtype=bool)
        unmeasured = [gene for gene in self.genes if gene not in measured]
        return self._rows(
            annotations=known[self._gene],
            entries=[Entry.of("restrict", "genes", unmeasured, "dropped: they are not measured")],
        )

    def with_evidence(self, *keep: str) -> Ontology:
        """Keep the annotations whose evidence is one of `keep`.

        Parameters
        ----------
        keep
            Evidence codes ("IDA") and the names of sets: "experimental", "high-throughput", "phylogenetic",
            "computational", "author", "curator", "electronic".
        """
        codes = evidence.codes(keep)
        if len(self.annotations) and not (self.annotations["evidence"] != "").any():
            raise OntologyError(
                f"none of the {len(self.annotations):,} annotations carries evidence, so none can be chosen by it. "
                "Gene sets have none; read a GAF file, or leave the choice of evidence out."
            )
        kept = self.annotations["evidence"].isin(codes)
        reason = f"dropped: their evidence is not among {', '.join(sorted(codes))}"
        return self._without_rows(~kept.to_numpy(), "with evidence", reason)

    def propagate(self, relations: Sequence[str] = MEMBERSHIP) -> Ontology:
        """Annotate every gene to the ancestors of its terms too, along `is_a` and `part_of`.

        A propagated row keeps the evidence and qualifier of the row it came from.
        """
        for kind in relations:
            choose("a relation that carries membership", kind, MEMBERSHIP)
        kept = self.relations["type"].isin(relations).to_numpy()
        reach = self._reach if set(relations) == set(MEMBERSHIP) else self._closure(kept)
        claim = self._claims.of_row
        claimed = dag.incidence((len(self.terms), len(self._claims.row)), self._term, claim)
        carried = sparse.coo_array(reach @ claimed)
        n_own, n_carried = (np.bincount(term, minlength=len(self.terms)) for term in (self._term, carried.row))
        reason = f"gained {carried.nnz - len(claim):,} annotations from their descendants along {', '.join(relations)}"
        return self._recoded(
            annotations=(carried.col, carried.row),
            entries=[Entry.of("propagate", "terms", self.terms.index[n_carried > n_own], reason)],
        )

    def most_specific(self) -> Ontology:
        """Drop each gene from the terms that have it through a descendant already."""
        inherited = _sorted(sparse.csr_array(self._below @ self._own))
        again = dag.holds(inherited, self._term, self._gene)
        return self._without_rows(again, "most specific", "dropped: a descendant of the term has the gene")

    def min_genes(self, n: int) -> Ontology:
        """Remove the terms with fewer than `n` genes, counted with those of their descendants.

        A removed term hands its children and its own genes to its parents.
        """
        gone = self.sizes.to_numpy() < n
        few = "no gene, not even" if n <= 1 else f"fewer than {n:,} genes, counted with those"
        return self._hand_over(gone, "min genes", f"removed: {few} of their descendants")

    def max_genes(self, n: int) -> Ontology:
        """Remove the terms with more than `n` genes, counted with those of their descendants.

        A removed term hands its children and its own genes to its parents; genes that have no parent
        left are logged.
        """
        gone = self.sizes.to_numpy() > n
        return self._hand_over(
            gone, "max genes", f"removed: more than {n:,} genes, counted with those of their descendants"
        )

    def depth(self, most: int) -> Ontology:
        """Keep at most `most` levels of terms, counted down from the roots.

        A root has depth 1, any other term one more than the deepest of its parents. A deeper term hands
        its genes to its nearest ancestors that stay, so that none is lost.
        """
        if most < 1:
            raise ValueError(f"depth is {most}; at least 1 level of terms is needed.")
        deep = dag.heights(len(self.terms), self._parent, self._child) >= most
        return self._hand_over(deep, "depth", f"removed: more than {most:,} levels below a root")

    def collapse_identical(self) -> Ontology:
        """Make one term of those with the same genes, counted with those of their descendants.

        The term that stays is the highest of its group in the hierarchy, and among several highest the one
        whose id sorts first; it takes over the children, parents and annotations of the others. Whatever
        lies between two terms of a group has the same genes and belongs to it, so no cycle can arise along
        `is_a` and `part_of`; a relation of regulation that would close one is dropped and logged. Terms
        without genes are left alone. The log keeps every id as "gone -> kept".
        """
        carried = self._carried
        groups: dict[bytes, int] = {}
        group = np.arange(len(self.terms))
        for i, (start, stop) in enumerate(zip(carried.indptr, carried.indptr[1:], strict=False)):
            if stop > start:
                group[i] = groups.setdefault(carried.indices[start:stop].tobytes(), i)
        within = self._carries & (group[self._child] == group[self._parent])
        highest = np.ones(len(group), dtype=bool)
        highest[self._child[within]] = False
        survivor = np.full(len(group), len(group))
        np.minimum.at(survivor, group[highest], np.flatnonzero(highest))
        kept = survivor[group]
        gone = kept != np.arange(len(group))
        ids = self.terms.index.to_numpy()
        entries = [
            Entry.of(
                "collapse identical",
                "terms",
                (f"{a} -> {b}" for a, b in zip(ids[gone], ids[kept[gone]], strict=True)),
                "merged: they have the same genes",
            )
        ]
        child, parent = kept[self._child], kept[self._parent]
        apart = child != parent
        child, parent, kind = child[apart], parent[apart], self._kind[apart]
        knot = dag.knots(len(ids), child, parent)
        regulates = np.isin(KINDS[kind], REGULATION)
        closing = (knot[child] >= 0) & (knot[child] == knot[parent]) & regulates
        entries.append(
            Entry.of(
                "collapse identical",
                "relations",
                {f"{a} -> {b}" for a, b in zip(ids[child[closing]], ids[parent[closing]], strict=True)},
                "dropped: regulation that would close a cycle among merged terms",
            )
        )
        return self._recoded(
            stay=~gone,
            relations=(child[~closing], parent[~closing], kind[~closing]),
            annotations=(self._claims.of_row, kept[self._term]),
            entries=entries,
        )

    def collapse_similar(self, jaccard: float) -> Ontology:
        """Remove the terms whose genes are nearly those of another term, counted with those of their descendants.

        Terms are looked at from the one with the most genes down, the higher in the hierarchy first among equals: a term is
        removed if its Jaccard index with one that stays is at least `jaccard`. A removed term hands its children and its own genes
        to its parents, so no cycle can arise and no term gains a gene it did not have. Roots stay. The log keeps every
        id as "gone -> stays".

        Parameters
        ----------
        jaccard
            Smallest share of the genes of both that the two have in common, above 0 and at most 1; at 1 equal sets remain one,
            as with `collapse_identical`, which merges them.
        """
        if not 0 < jaccard <= 1:
            raise ValueError(f"jaccard is {jaccard}; it is a share above 0 and at most 1, such as 0.9.")
        height = dag.heights(len(self.terms), self._child, self._parent)
        order = np.lexsort((np.arange(len(height)), -height, -self.sizes.to_numpy()))
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        stands = redundant(self._carried, rank, jaccard)
        places = np.arange(len(stands))
        gone = (stands != places) & np.isin(places, self._child[self._carries])
        ids = self.terms.index.to_numpy()
        reason = f"removed: a term that stays has nearly the same genes (Jaccard index at least {jaccard:g})"
        return self._hand_over(gone, "collapse similar", reason, instead=ids[stands])

    def without_branch(self, name: str) -> Ontology:
        """Leave out a term and everything that lies only under it.

        A term that is also reached from a root by a way around the branch stays. Genes that are annotated
        nowhere else are logged.

        Parameters
        ----------
        name
            Id or name of the term.
        """
        branch = self.terms.index.get_loc(self.find(name))
        carries = self._carries
        around = carries & (self._parent != branch) & (self._child != branch)
        roots = np.ones(len(self.terms), dtype=bool)
        roots[self._child[carries]] = False
        roots[branch] = False
        stays = self._under(roots, around)
        label = self.terms["name"].iloc[branch]
        return self._cut(~stays, "without branch", f"left out: they lie only under {label!r}")

    def roots(self, *names: str) -> Ontology:
        """Keep the given terms and what lies under them; genes annotated nowhere else are logged.

        Parameters
        ----------
        names
            Ids or names of the terms that become the roots.
        """
        if not names:
            raise ValueError("roots() needs the id or name of at least one term to keep.")
        tops = np.zeros(len(self.terms), dtype=bool)
        tops[positions(self.terms.index, [self.find(name) for name in names])] = True
        stays = self._under(tops, self._carries)
        return self._cut(~stays, "roots", f"left out: they do not lie under {culprits(names)}")

    @cached_property
    def sizes(self) -> pd.Series:
        """Number of genes of each term, counted with those of its descendants."""
        return pd.Series(np.diff(self._inherited.indptr), index=self.terms.index, name="genes")

    def topology(
        self,
        features: Sequence[str] | Mapping[str, Sequence[str]],
        *,
        min_genes: int = 5,
        max_genes: int | None = None,
        collapse: bool = True,
        skips: Literal["edges", "copies"] = "edges",
        gene_level: bool = False,
        depth: int | None = None,
        relations: Sequence[str] = MEMBERSHIP,
        jaccard: float | None = None,
        levels: Literal["longest path", "depth", "hybrid"] = "longest path",
        residual: bool = False,
        free: int = 0,
    ) -> Topology:
        """The wiring of a network over measured features.

        Genes attach to their most specific terms; terms with too few measured genes hand theirs to their
        parents; terms with equal measured genes become one.
        Every gene, term and feature is in the topology or named in its log.

        Parameters
        ----------
        features
            Names of the measured features that are gene names of this ontology, or a mapping from feature
            names to their genes, such as `Resolution.genes`.
        min_genes, max_genes
            Smallest and largest number of measured genes of a term, counted with its descendants'.
        collapse
            Whether terms with equal measured genes become one.
        skips
            How an edge passes over levels: as a true skip edge, or through identity copies of its source.
        gene_level
            Whether genes are nodes between features and terms.
        depth
            Most levels of terms to keep, counted from the roots; all by default.
        relations
            Types of relation that become edges. Membership is counted along those of them that are `is_a` or
            `part_of`; the others only carry signal between terms.
        jaccard
            From which overlap of measured genes a term is left out beside one that stays; see `collapse_similar`.
        levels
            Where a term stands: "longest path", as low as what leads to it allows; "depth", as high as its own way to a root
            allows, so that roots are the top level; "hybrid", midway, which halves the longest skips. Every
            relation leads upwards in all of them.
        residual
            Whether the features that no term has lead to a node "residual" of the first level, rather than being left out.
        free
            Number of nodes "free 1", "free 2", ... of the first level that see every feature: what is not in the ontology can
            be learnt there.

        Raises
        ------
        OntologyError
            If no feature meets a gene of the ontology (the message says what each side looks like), or no
            term is left.
        """
        from vnn.ontology.wiring import wire

        return wire(
            self,
            features,
            min_genes=min_genes,
            max_genes=max_genes,
            collapse=collapse,
            skips=skips,
            gene_level=gene_level,
            depth=depth,
            relations=relations,
            jaccard=jaccard,
            levels=levels,
            residual=residual,
            free=free,
        )

    @cached_property
    def _child(self) -> np.ndarray:
        return positions(self.terms.index, self.relations["child"])

    @cached_property
    def _parent(self) -> np.ndarray:
        return positions(self.terms.index, self.relations["parent"])

    @cached_property
    def _term(self) -> np.ndarray:
        return positions(self.terms.index, self.annotations["term"])

    @cached_property
    def _gene(self) -> np.ndarray:
        return positions(pd.Index(self.genes, dtype=object), self.annotations["gene"])

    @cached_property
    def _carries(self) -> np.ndarray:
        return self.relations["type"].isin(MEMBERSHIP).to_numpy()

    @cached_property
    def _kind(self) -> np.ndarray:
        return np.searchsorted(KINDS, self.relations["type"].to_numpy(dtype=str))

    @cached_property
    def _claims(self) -> Claims:
        return Claims.of(self._gene, self.annotations)

    @cached_property
    def _own(self) -> sparse.csr_array:
        return _sorted(dag.incidence((len(self.terms), len(self.genes)), self._term, self._gene))

    def _closure(self, relation: np.ndarray) -> sparse.csr_array:
        return dag.closure(dag.adjacency(len(self.terms), self._parent[relation], self._child[relation]))

    @cached_property
    def _reach(self) -> sparse.csr_array:
        return self._closure(self._carries)

    @cached_property
    def _below(self) -> sparse.csr_array:
        carries = self._carries
        children = dag.adjacency(len(self.terms), self._parent[carries], self._child[carries])
        return sparse.csr_array(children @ self._reach)

    @cached_property
    def _inherited(self) -> sparse.csr_array:
        return sparse.csr_array(self._reach @ self._own)

    @cached_property
    def _carried(self) -> sparse.csr_array:
        return _sorted(self._inherited)

    def _under(self, tops: np.ndarray, relation: np.ndarray) -> np.ndarray:
        """Which terms are `tops` or lie under one of them along the chosen relations."""
        n = len(self.terms)
        down = dag.adjacency(n, self._parent[relation], self._child[relation])
        reached = front = tops
        while front.any():
            front = (front @ down) & ~reached
            reached = reached | front
        return reached

    def _rows(
        self,
        *,
        terms: np.ndarray | None = None,
        relations: np.ndarray | None = None,
        annotations: np.ndarray | None = None,
        entries: Iterable[Entry] = (),
    ) -> Ontology:
        """Only the rows these masks choose; tables in order that were checked stay so."""
        child, parent, term = self._child, self._parent, self._term
        same = {name: self.__dict__[name] for name in ("_reach", "_below") if name in self.__dict__}
        if terms is not None:
            place = np.cumsum(terms) - 1
            child, parent, term = place[child], place[parent], place[term]
        known = {"_child": child if relations is None else child[relations],
                 "_parent": parent if relations is None else parent[relations],
                 "_term": term if annotations is None else term[annotations]}  # fmt: skip
        return self._made(
            self.terms if terms is None else self.terms[terms],
            self.relations if relations is None else self.relations[relations].reset_index(drop=True),
            self.annotations if annotations is None else self.annotations[annotations].reset_index(drop=True),
            entries,
            known | (same if terms is None and relations is None else {}),
        )

    def _recoded(
        self,
        *,
        stay: np.ndarray | None = None,
        relations: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
        annotations: tuple[np.ndarray, np.ndarray],
        entries: Iterable[Entry] = (),
        known: Mapping[str, Any] | None = None,
    ) -> Ontology:
        """The terms that `stay` with other relations (child, parent, kind) and annotations (claim, term), repeats once.

        All are given by their numbers in this ontology and name terms that stay. They are put in order by number, which is
        that of the names.
        """
        terms = self.terms if stay is None else self.terms[stay]
        place = np.arange(len(self.terms)) if stay is None else np.cumsum(stay) - 1
        ids, n = terms.index.to_numpy(), len(terms)
        related, child, parent = self.relations, self._child, self._parent
        if relations is not None:
            below, above, kind = relations
            key = each_once((place[below] * n + place[above]) * len(KINDS) + kind)
            child, parent = key // len(KINDS) // n, key // len(KINDS) % n
            columns = (ids[child], ids[parent], KINDS[key % len(KINDS)].astype(object))
            related = pd.DataFrame(dict(zip(RELATIONS, columns, strict=True)), dtype=object)
        claim, term = annotations
        row, term = self._claims.in_order(claim, place[term], n)
        held = {name: self.annotations[name].to_numpy()[row] for name in ANNOTATIONS}
        annotated = pd.DataFrame(held | {"term": ids[term]}, columns=ANNOTATIONS, dtype=object)
        codes = {"_child": child, "_parent": parent, "_term": term}
        return self._made(terms, related, annotated, entries, codes | dict(known or {}))

    def _made(
        self,
        terms: pd.DataFrame,
        relations: pd.DataFrame,
        annotations: pd.DataFrame,
        entries: Iterable[Entry],
        known: Mapping[str, Any],
    ) -> Ontology:
        """An ontology of tables in order that need no check, and what is known of it already."""
        made = object.__new__(Ontology)
        log = (*self.log, *(entry for entry in entries if entry.names))
        made.__dict__.update(
            terms=terms, relations=relations, annotations=annotations, provenance=self.provenance, log=log, **known
        )
        return made

    def _without_rows(self, gone: np.ndarray, step: str, reason: str) -> Ontology:
        """Without these annotations; genes that have none left are logged beside them."""
        lost = self.annotations[gone]
        pairs = {f"{gene} @ {term}" for gene, term in zip(lost["gene"], lost["term"], strict=True)}
        return self._rows(
            annotations=~gone,
            entries=[
                Entry.of(step, "annotations", pairs, reason),
                Entry.of(step, "genes", self._orphans(~gone), "dropped: they have no annotation left"),
            ],
        )

    def _orphans(self, kept: np.ndarray) -> Iterable[str]:
        """The genes none of whose annotations is among those kept."""
        left = np.zeros(len(self.genes), dtype=bool)
        left[self._gene[kept]] = True
        return (self.genes[i] for i in np.flatnonzero(~left))

    def _cut(self, gone: np.ndarray, step: str, reason: str) -> Ontology:
        """Without these terms, their relations and their annotations."""
        kept = ~gone[self._term]
        return self._rows(
            terms=~gone,
            relations=~(gone[self._child] | gone[self._parent]),
            annotations=kept,
            entries=[
                Entry.of(step, "terms", self.terms.index[gone], reason),
                Entry.of(step, "genes", self._orphans(kept), "dropped: they have no annotation left"),
            ],
        )

    def _hand_over(self, gone: np.ndarray, step: str, reason: str, instead: np.ndarray | None = None) -> Ontology:
        """Without these terms; their children and own genes go to their nearest ancestors that stay.

        A path of `is_a` alone stays `is_a`, one with a `part_of` is `part_of`, one with a single relation of
        regulation is that regulation; two regulations in a row make none. The log names what stands `instead` of a term, if given.
        """
        if not gone.any():
            return self
        n, stay = len(self.terms), ~gone
        through = dag.adjacency(n, np.flatnonzero(gone), np.flatnonzero(gone))

        def direct(types: Sequence[str]) -> sparse.csr_array:
            chosen = np.isin(KINDS[self._kind], types)
            return dag.adjacency(n, self._child[chosen], self._parent[chosen])

        def inner(edges: sparse.csr_array) -> sparse.csr_array:
            return dag.closure(sparse.csr_array(through @ edges @ through))

        def paths(edges: sparse.csr_array) -> sparse.csr_array:
            return sparse.csr_array(edges + edges @ through @ inner(edges) @ through @ edges)

        member = direct(MEMBERSHIP)
        passing = inner(member)
        down = sparse.csr_array(member @ through @ passing @ through)
        up = sparse.csr_array(through @ passing @ through @ member)
        is_a, joined = paths(direct(["is_a"])), paths(member)
        bridges = {
            "is_a": is_a,
            "part_of": (joined.astype(np.int8) - is_a.astype(np.int8)).astype(bool) + direct(["part_of"]),
        }
        for kind in REGULATION:
            regulation = direct([kind])
            bridges[kind] = regulation + regulation @ up + down @ regulation + down @ regulation @ up
        parts = []
        for kind, matrix in bridges.items():
            coo = sparse.coo_array(matrix)
            kept = stay[coo.row] & stay[coo.col]
            at = np.searchsorted(KINDS, kind)
            parts.append(np.stack([coo.row[kept], coo.col[kept], np.full(kept.sum(), at)]).astype(np.int64))

        claim = self._claims.of_row
        away = gone[self._term]
        lost = dag.incidence((len(self._claims.row), n), claim[away], self._term[away])
        moved = sparse.coo_array(lost @ up)
        kept = stay[moved.col]
        claims = np.concatenate([claim[~away], moved.row[kept]])
        terms = np.concatenate([self._term[~away], moved.col[kept]])
        left = np.zeros(len(self.genes), dtype=bool)
        left[self._gene[self._claims.row[claims]]] = True
        orphans = (self.genes[i] for i in np.flatnonzero(~left))
        ids = self.terms.index.to_numpy()
        names = ids[gone] if instead is None else [f"{a} -> {b}" for a, b in zip(ids[gone], instead[gone], strict=True)]
        return self._recoded(
            stay=stay,
            relations=tuple(np.concatenate(parts, axis=1)),
            annotations=(claims, terms),
            entries=[
                Entry.of(step, "terms", names, reason),
                Entry.of(step, "genes", orphans, "dropped: they have no parent left"),
            ],
            known={"_reach": _sorted(sparse.csr_array(self._reach[stay][:, stay]))},
        )


@dataclass(frozen=True, eq=False)
class Claims:
    """The different (gene, evidence, qualifier) of a table of annotations, numbered in their order.

    Parameters
    ----------
    of_row
        The claim of each annotation.
    row
        An annotation that makes each claim.
    gene
        The gene of each claim.
    first
        The first claim of each gene.
    """

    of_row: np.ndarray
    row: np.ndarray
    gene: np.ndarray
    first: np.ndarray

    @classmethod
    def of(cls, gene: np.ndarray, annotations: pd.DataFrame) -> Claims:
        """The claims of annotations in order, whose genes have these numbers."""
        key = gene.astype(np.int64)
        for name in ("evidence", "qualifier"):
            code, values = pd.factorize(annotations[name], sort=True)
            key = key * max(len(values), 1) + code
        _, row, of_row = np.unique(key, return_index=True, return_inverse=True)
        own = gene[row]
        return cls(of_row, row, own, np.searchsorted(own, np.arange(gene.max(initial=-1) + 1)))

    def in_order(self, claim: np.ndarray, term: np.ndarray, n_terms: int) -> tuple[np.ndarray, np.ndarray]:
        """For pairs of claim and term, each once and sorted by gene, term and claim: a row that makes the claim, and the term."""
        gene = self.gene[claim]
        most = max(int(np.diff(np.append(self.first, len(self.row))).max(initial=1)), 1)
        key = each_once((gene.astype(np.int64) * n_terms + term) * most + (claim - self.first[gene]))
        term = key // most % n_terms
        return self.row[self.first[key // most // n_terms] + key % most], term


def positions(index: pd.Index, names: Iterable[str]) -> np.ndarray:
    """Where each of `names` stands in `index`; -1 for those that do not."""
    return index.get_indexer(pd.Index(names, dtype=object))


def _columns(table: pd.DataFrame, names: list[str], what: str) -> pd.DataFrame:
    """A copy of `table` with exactly these columns, as text; optional ones are filled with ""."""
    optional = {"name", "namespace", "evidence", "qualifier"}
    if missing := [name for name in names if name not in table and name not in optional]:
        raise OntologyError(
            f"the table of {what} lacks the columns {culprits(missing)}; it has {culprits(table.columns)}."
        )
    table = table.reindex(columns=names, fill_value="").astype(object)
    if table.isna().to_numpy().any():
        raise OntologyError(f"the table of {what} has missing values; write an empty text where nothing is known.")
    for values in (table.index if what == "terms" else table[names[0]], *(table[name] for name in names)):
        if infer_dtype(values) not in ("string", "empty"):
            other = [value for value in values if not isinstance(value, str)]
            raise OntologyError(
                f"the table of {what} holds values that are no text: {culprits(other)}. Identifiers are text, "
                "numbers among them too: convert them with .astype(str)."
            )
    return table


def _ordered(table: pd.DataFrame, names: list[str], what: str) -> pd.DataFrame:
    table = _columns(table, names, what)
    if not len(table):
        return table.reset_index(drop=True)
    codes = np.stack([pd.factorize(table[name], sort=True)[0] for name in reversed(names)])
    order = np.lexsort(codes)
    codes = codes[:, order]
    same = (codes[:, 1:] == codes[:, :-1]).all(axis=0)
    table = table.iloc[order].reset_index(drop=True)
    if same.any():
        rows = (" / ".join(row) for row in table[1:][same].itertuples(index=False))
        raise OntologyError(
            f"{same.sum():,} {what} are there twice: {culprits(rows)}. Give each row once, or let "
            "Ontology.assemble count them."
        )
    return table


def _sorted(matrix: sparse.csr_array) -> sparse.csr_array:
    matrix.sum_duplicates()
    matrix.sort_indices()
    return matrix


def _twice(index: pd.Index) -> list[str]:
    return sorted(set(index[index.duplicated()]))

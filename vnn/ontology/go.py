"""The Gene Ontology: its terms joined to the annotations of one species."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from vnn.ontology import dag
from vnn.ontology.annotations import annotate
from vnn.ontology.gaf import parse_gaf
from vnn.ontology.gene2go import is_gene2go, parse_gene2go
from vnn.ontology.log import Entry
from vnn.ontology.obographs import parse_hierarchy
from vnn.ontology.ontology import MEMBERSHIP, REGULATION, Ontology, positions
from vnn.ontology.source import Source, provenance


def read_go(
    obo: Path | str,
    gaf: Path | str,
    *,
    taxon: int | None = None,
    gene: Literal["symbol", "id"] = "symbol",
    relations: Sequence[str] = (*MEMBERSHIP, *REGULATION),
    cross_namespace: bool = False,
    without_qualifiers: Collection[str] = (),
    objects: Collection[str] | None = None,
) -> Ontology:
    """GO terms with the genes annotated to them, from a hierarchy (OBO, obographs) and annotations (GAF, gene2go).

    Annotations to alternative ids, and to obsolete ids with one replacement, follow to the term that stands
    for them; those to other obsolete or unknown ids leave. A row whose term or an ancestor of it says NOT
    for the same gene is listed and stays. Genes are not propagated; `Ontology.propagate` does.

    Parameters
    ----------
    obo, gaf
        go-basic.obo or go-basic.json and, for example, goa_human.gaf.gz or gene2go.gz.
    taxon, gene, without_qualifiers, objects
        As in `read_gaf`; gene2go knows genes by their id only and has no `objects`.
    relations, cross_namespace
        As in `read_obo`.
    """
    obo_file, gaf_file = Source.read(obo, "obo"), Source.read(gaf, "gaf")
    hierarchy = parse_hierarchy(obo_file, relations=relations, cross_namespace=cross_namespace)
    if is_gene2go(gaf_file):
        if objects is not None:
            raise ValueError("gene2go tells no types of object; leave `objects` out.")
        rows = parse_gene2go(gaf_file, taxon=taxon, gene=gene, without_qualifiers=without_qualifiers)
    else:
        rows = parse_gaf(gaf_file, taxon=taxon, gene=gene, without_qualifiers=without_qualifiers, objects=objects)
    joined = annotate(
        hierarchy,
        rows,
        step="read go",
        provenance=[
            provenance(
                "Gene Ontology",
                obo_file,
                gaf_file,
                release=str(hierarchy.ontology.provenance[0]["release"]),
                species="" if taxon is None else f"taxon:{taxon}",
            )
        ],
    )
    negated = {(name, hierarchy.moved.get(term, term)) for name, term in rows.negated}
    return joined._rows(entries=[_contradicted(joined, negated)])


def _contradicted(ontology: Ontology, negated: Collection[tuple[str, str]]) -> Entry:
    """The annotations whose term, or an ancestor of it, says NOT for the same gene."""
    step, reason = "read go", "kept although NOT stands at the term or an ancestor for the same gene"
    said = pd.DataFrame(sorted(negated), columns=["gene", "above"])
    said = said[said["above"].isin(ontology.terms.index)]
    if not len(said):
        return Entry.of(step, "annotations", (), reason)
    rows = ontology.annotations[["gene", "term"]].drop_duplicates().merge(said, on="gene")
    index = ontology.terms.index
    hit = dag.holds(ontology._reach, positions(index, rows["above"]), positions(index, rows["term"]))
    return Entry.of(step, "annotations", set(rows["gene"][hit] + " @ " + rows["term"][hit]), reason)

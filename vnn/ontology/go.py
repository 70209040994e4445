"""The Gene Ontology: its terms joined to the annotations of one species."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from scipy import sparse

from vnn.ontology.gaf import parse_gaf
from vnn.ontology.log import Entry
from vnn.ontology.obo import parse_obo
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
    """GO terms with the genes annotated to them, from an OBO and a GAF file.

    Annotations to alternative ids, and to obsolete ids with one replacement, follow to the term that stands
    for them; those to other obsolete or unknown ids leave. A row whose term or an ancestor of it says NOT
    for the same gene is listed and stays. Genes are not propagated; `Ontology.propagate` does.

    Parameters
    ----------
    obo, gaf
        go-basic.obo and, for example, goa_human.gaf.gz.
    taxon, gene, without_qualifiers, objects
        As in `read_gaf`.
    relations, cross_namespace
        As in `read_obo`.
    """
    obo_file, gaf_file = Source.read(obo, "obo"), Source.read(gaf, "gaf")
    hierarchy = parse_obo(obo_file, relations=relations, cross_namespace=cross_namespace)
    rows = parse_gaf(gaf_file, taxon=taxon, gene=gene, without_qualifiers=without_qualifiers, objects=objects)

    bare = hierarchy.ontology
    annotations = rows.annotations.assign(
        term=rows.annotations["term"].map(lambda term: hierarchy.moved.get(term, term))
    )
    followed = (annotations["term"] != rows.annotations["term"]).to_numpy()
    obsolete = annotations["term"].isin(hierarchy.obsolete).to_numpy()
    pairs = (rows.annotations["gene"] + " @ " + rows.annotations["term"]).to_numpy(dtype=object)
    log = [
        *bare.log,
        *rows.log,
        Entry.of(
            "read go",
            "annotations",
            set(pairs[followed]),
            "followed to the term that stands for their alternative or obsolete id",
        ),
        Entry.of(
            "read go", "annotations", set(pairs[obsolete]), "dropped: their term is obsolete without one replacement"
        ),
    ]
    joined = Ontology.assemble(
        bare.terms,
        bare.relations,
        annotations[~obsolete],
        step="read go",
        provenance=[
            provenance(
                "Gene Ontology",
                obo_file,
                gaf_file,
                release=str(bare.provenance[0]["release"]),
                species="" if taxon is None else f"taxon:{taxon}",
            )
        ],
        log=[entry for entry in log if entry.names],
    )
    negated = {(name, hierarchy.moved.get(term, term)) for name, term in rows.negated}
    return joined._with(entries=[_contradicted(joined, negated)])


def _contradicted(ontology: Ontology, negated: Collection[tuple[str, str]]) -> Entry:
    """The annotations whose term, or an ancestor of it, says NOT for the same gene."""
    step, reason = "read go", "kept although NOT stands at the term or an ancestor for the same gene"
    said = pd.DataFrame(sorted(negated), columns=["gene", "above"])
    said = said[said["above"].isin(ontology.terms.index)]
    if not len(said):
        return Entry.of(step, "annotations", (), reason)
    rows = ontology.annotations[["gene", "term"]].drop_duplicates().merge(said, on="gene")
    index = ontology.terms.index
    reach = sparse.coo_array(ontology._reach)
    wanted = positions(index, rows["above"]) * len(index) + positions(index, rows["term"])
    hit = np.isin(wanted, reach.row.astype(np.int64) * len(index) + reach.col)
    return Entry.of(step, "annotations", set(rows["gene"][hit] + " @ " + rows["term"][hit]), reason)

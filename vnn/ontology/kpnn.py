"""Edge lists of KPNN and kpnn2 (doi:10.1186/s13059-020-02100-5; github.com/epigen/KPNN)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from vnn._errors import culprits
from vnn.ontology.edges import edge_table, from_table
from vnn.ontology.log import Entry
from vnn.ontology.ontology import Ontology
from vnn.ontology.source import Source, provenance

SUFFIX = "_gene"


def read_kpnn(path: Path | str) -> Ontology:
    """An ontology from KPNN's `parent,child` or kpnn2's `source,target`; the header tells which.

    KPNN runs from outputs to inputs and marks the rows of the data with the suffix `_gene`, which is taken off: the
    gene TERT and the node TERT are two things. A leaf without the suffix is no input; it stays as a term without genes
    and is counted. kpnn2 runs with the signal and has no mark; what nothing leads to is a gene. All relations are read
    as `part_of`, so that a node stands for the genes below it.

    Raises
    ------
    OntologyError
        If the header is another, or an input has children.
    """
    source = Source.read(path, "edges")
    table, unread = edge_table(source, None)
    marked = table["child"].str.endswith(SUFFIX)
    upper = set(table["parent"])
    leaf = ~table["child"].isin(upper)
    log = [Entry.of("read kpnn", "columns", unread, "not read")]
    first = next(line for _, line in source.lines() if not line.startswith("#")).lower()
    if "parent" in first:
        if above := sorted(name for name in upper if name.endswith(SUFFIX)):
            raise source.error(f"inputs have children: {culprits(above)}. The suffix {SUFFIX} is for rows of the data.")
        if not marked.any():
            raise source.error(
                f"no child ends in {SUFFIX}, so the network has no input (children are {culprits(table['child'].unique())}). "
                "If its leaves are the genes, use read_edges."
            )
        bare = set(table["child"][leaf & ~marked])
        log.append(Entry.of("read kpnn", "terms", bare, f"kept without genes: leaves without the suffix {SUFFIX}"))
        table = table.assign(child=table["child"].where(~marked, table["child"].str.removesuffix(SUFFIX)))
        leaf = marked
    return from_table(
        table.assign(type=""),
        pd.Series(leaf),
        step="read kpnn",
        log=[entry for entry in log if entry.names],
        provenance=[provenance("KPNN edge list", source)],
    )

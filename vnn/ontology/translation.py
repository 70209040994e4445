"""Names by a table of one's own, and whole ontologies by the names of their genes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from vnn._errors import OntologyError, choose, culprits
from vnn.ontology.identifiers import Identifiers
from vnn.ontology.log import Entry
from vnn.ontology.ontology import Ontology
from vnn.ontology.source import Source
from vnn.ontology.spelling import EMPTY, GROUP, IdentifierType


def read_translation(path: Path | str, *, columns: tuple[str, str] | None = None) -> dict[str, tuple[str, ...]]:
    """The names each name of a table leads to: probe -> symbols, mouse symbol -> id of MGI.

    A table with tabs or commas, plain or gzip. Lines that begin with #, ! or ^ are comments, as Affymetrix and GEO
    write them. Several targets in a cell stand with `;`, `,` or `///` between; cells that say nothing (`---`, NA) give
    no target. A name that is there several times leads to all its targets. Names without a target are in the result
    with none.

    Parameters
    ----------
    columns
        Names of the columns of the names and of their targets, ("Probe Set ID", "Gene Symbol"). Where it is left out
        the table has two columns, and a header is read as one more pair.

    Raises
    ------
    OntologyError
        If a row has too few cells, or the table has more than two columns and `columns` is left out.
    """
    source = Source.read(path, "translation")
    rows = list(source.rows(comments="#!^"))
    if not rows:
        raise source.error("the table has comments and no row.")
    header, start = rows[0][1], 0
    if columns is not None:
        at = [header.index(choose("a column of the table of translations", name, header)) for name in columns]
        start = 1
    elif len(header) == 2:
        at = [0, 1]
    else:
        raise source.error(
            f"the table has {len(header)} columns ({culprits(header)}); say which two are meant, for example "
            'columns=("Probe Set ID", "Gene Symbol").',
            rows[0][0],
        )
    found: dict[str, tuple[str, ...]] = {}
    for number, row in rows[start:]:
        if len(row) <= max(at):
            raise source.error(f"{len(row)} cells where the first row has {len(header)}.", number)
        name, cell = (row[i] for i in at)
        targets = [target for target in GROUP.split(cell) if target.casefold() not in EMPTY]
        found[name] = tuple(dict.fromkeys((*found.get(name, ()), *targets)))
    return found


def translated(
    ontology: Ontology,
    identifiers: Identifiers,
    *,
    type: IdentifierType | None = None,
    through: Mapping[str, Sequence[str]] | None = None,
) -> Ontology:
    """The ontology with approved symbols for genes.

    For ontologies of Entrez, Ensembl, UniProt, MGI or RGD ids, and for gene sets with symbols of their day: an
    ontology keeps a gene that was renamed since only if it is renamed with the data. Genes that lead to no
    symbol leave, a gene that stands for several is annotated as each of them, and rows that become equal are kept
    once; all of it is logged. Spelling is not repaired, as `repair` of `Identifiers.resolve` explains. Terms and
    relations stay.

    Parameters
    ----------
    type, through
        As `Identifiers.resolve` takes them, for the genes of the ontology.

    Raises
    ------
    AlignmentError
        As `Identifiers.resolve` does.
    OntologyError
        If no gene of the ontology leads to a symbol.
    """
    resolved = identifiers.resolve(ontology.genes, type, through=through, repair=False)
    genes = pd.Series({gene: list(found) for gene, found in resolved.genes.items()}, dtype=object)
    annotations = ontology.annotations.assign(gene=ontology.annotations["gene"].map(genes)).explode("gene")
    annotations = annotations[annotations["gene"].notna()]
    if len(ontology.genes) and not len(annotations):
        raise OntologyError(
            f"none of the ontology's {len(ontology.genes):,} genes ({culprits(ontology.genes)}) leads to a symbol of "
            "HGNC. Check the species and the type of the identifiers."
        )
    again = annotations.duplicated()
    pairs = {f"{gene} @ {term}" for gene, term in annotations.loc[again, ["gene", "term"]].itertuples(index=False)}
    gone = [gene for gene, found in resolved.genes.items() if not found]
    entries = [
        *(Entry("translate", "genes", entry.names, entry.reason) for entry in resolved.log),
        Entry.of("translate", "annotations", pairs, "became equal and are kept once"),
        Entry.of("translate", "genes", gone, "dropped: they lead to no symbol"),
    ]
    return Ontology(
        ontology.terms,
        ontology.relations,
        annotations[~again],
        (*ontology.provenance, identifiers.provenance),
        (*ontology.log, *(entry for entry in entries if entry.names)),
    )

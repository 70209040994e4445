"""DrugCell's ontology text, which NeST and G2PT share (doi:10.1016/j.ccell.2020.09.014; github.com/idekerlab/DrugCell)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from vnn._errors import OntologyError, culprits
from vnn.ontology import writing
from vnn.ontology.edges import GENE, from_table
from vnn.ontology.log import Entry
from vnn.ontology.ontology import REGULATION, Ontology
from vnn.ontology.source import Source, provenance


def read_drugcell(path: Path | str, genes: Path | str | None = None) -> Ontology:
    """An ontology from `parent ⇥ child ⇥ type` and `term ⇥ gene ⇥ gene`, tabs only and no header.

    The type between terms is `default` in DrugCell and NeST and any word in G2PT; the names of relations (`is_a`,
    `regulates`) are kept, all other words are read as `part_of` and counted. Each gene stands at the terms the
    file gives.

    Parameters
    ----------
    path
        Plain or gzip.
    genes
        The list of the model's genes (gene2ind.txt: `index ⇥ name`, from 0). Genes that are not in it leave, as
        they do in DrugCell, and are counted; so are its genes without any term.

    Raises
    ------
    OntologyError
        If a line has not three fields, or the relations close a cycle.
    """
    source = Source.read(path, "edges")
    rows = []
    for number, line in source.lines():
        fields = [part.strip() for part in line.split("\t")]
        if len(fields) != 3 or not all(fields):
            raise source.error(
                "a line needs parent, child and type, or term, gene and the word 'gene', separated by tabs; "
                f"this one has {len(fields)} fields: {culprits(fields)}.",
                number,
            )
        rows.append(fields)
    table = pd.DataFrame(rows, columns=["parent", "child", "type"], dtype=object)
    files = [source] if genes is None else [source, Source.read(genes, "genes")]
    ontology = from_table(
        table,
        table["type"] == GENE,
        step="read drugcell",
        log=[],
        provenance=[provenance("DrugCell ontology", *files)],
    )
    if genes is None:
        return ontology
    listed, known = set(_indexed(files[1])), set(ontology.genes)
    log = [
        Entry.of("read drugcell", "genes", known - listed, f"dropped: they are not in {files[1].name}"),
        Entry.of("read drugcell", "genes", listed - known, f"in {files[1].name}, but in no term"),
    ]
    return replace(
        ontology,
        annotations=ontology.annotations[ontology.annotations["gene"].isin(listed)],
        log=(*ontology.log, *(entry for entry in log if entry.names)),
    )


def read_index(path: Path | str) -> tuple[str, ...]:
    """The names of `index ⇥ name` lists (gene2ind.txt, cell2ind.txt, drug2ind.txt), in the order of their indices.

    Raises
    ------
    OntologyError
        If the indices are not 0, 1, 2, ... in any order, or a name is there twice.
    """
    return _indexed(Source.read(path, "index"))


def write_drugcell(ontology: Ontology, path: Path | str, *, types: bool = False) -> tuple[Entry, ...]:
    """Write `parent ⇥ child ⇥ default` and `term ⇥ gene ⇥ gene`.

    Parameters
    ----------
    types
        Whether the types of relations are written in place of `default`, as G2PT allows. DrugCell and NeST take
        any other word than `default` for a gene.

    Returns
    -------
    What the file does not hold: names, namespaces, evidence, lone terms, and types unless `types` is true.

    Raises
    ------
    OntologyError
        If there is regulation and `types` is false: read as `default` it would carry membership.
    """
    relations, annotations = ontology.relations, ontology.annotations
    regulation = relations[relations["type"].isin(REGULATION)]
    if len(regulation) and not types:
        raise OntologyError(
            f"{len(regulation):,} relations are regulation, which the word 'default' would turn into membership: "
            f"{culprits(regulation['child'] + ' -> ' + regulation['parent'])}. Write with types=True (for G2PT), or read "
            "the ontology without them."
        )
    upper = relations[["parent", "child", "type"]]
    if not types:
        upper = upper.assign(type="default")
    lower = annotations.assign(type=GENE)[["term", "gene", "type"]].set_axis(upper.columns, axis=1)
    table = pd.concat([upper, lower]).drop_duplicates()
    if table.empty:
        raise OntologyError("the ontology has neither relations nor annotations; there is nothing to write.")
    for column in table.columns:
        writing.refuse(table[column].unique())
    writing.put(path, "".join(f"{parent}\t{child}\t{kind}\n" for parent, child, kind in table.to_numpy()))
    return writing.left_out(ontology, "write drugcell", ("relations", *(["types"] if types else [])))


def _indexed(source: Source) -> tuple[str, ...]:
    names: dict[int, str] = {}
    for number, line in source.lines():
        fields = [part.strip() for part in line.split("\t")]
        if len(fields) != 2 or not (fields[0].isdecimal() and fields[1]):
            raise source.error(
                f"a line needs an index and a name, separated by a tab; this one is {line[:80]!r}.", number
            )
        if int(fields[0]) in names:
            raise source.error(f"the index {fields[0]} is there twice.", number)
        names[int(fields[0])] = fields[1]
    if missing := set(range(len(names))) - names.keys():
        raise source.error(
            f"{len(names):,} names need the indices 0 to {len(names) - 1:,}; {min(missing):,} is missing."
        )
    ordered = tuple(names[i] for i in range(len(names)))
    if len(set(ordered)) < len(ordered):
        again = pd.Index(ordered)
        raise source.error(f"names are there twice: {culprits(sorted(set(again[again.duplicated()])))}.")
    return ordered

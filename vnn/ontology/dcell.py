"""DCell's topology: a block of three lines per term (doi:10.1038/nmeth.4627; github.com/idekerlab/DCell)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from vnn.ontology.log import Entry
from vnn.ontology.ontology import ANNOTATIONS, RELATIONS, Ontology
from vnn.ontology.source import Source, provenance

FIELDS = ("ROOT:", "GENES:", "TERMS:")


def read_dcell(path: Path | str) -> Ontology:
    """An ontology from blocks of `ROOT: term n`, `GENES: direct genes`, `TERMS: children`.

    Relations are read as `part_of`; the file does not tell their type. The number n of a block counts the genes
    of the term with those of its descendants; where it does not agree with the file itself, the log names the term.

    Raises
    ------
    OntologyError
        If a block is broken, or two blocks describe one term.
    """
    source = Source.read(path, "topology")
    stated: dict[str, int] = {}
    relations: list[tuple[str, str]] = []
    annotations: list[tuple[str, str]] = []
    term = ""
    for at, (number, line) in enumerate(source.lines()):
        wanted = FIELDS[at % 3]
        word, *values = line.split()
        if word != wanted:
            raise source.error(
                f"a block has the lines {', '.join(FIELDS)} in this order; {wanted} is needed here, not {word!r}.",
                number,
            )
        if word == "GENES:":
            annotations += [(gene, term) for gene in values]
        elif word == "TERMS:":
            relations += [(child, term) for child in values]
        else:
            if len(values) != 2 or not values[1].isdecimal():
                raise source.error(f"ROOT: needs a term and its number of genes; this line is {line[:80]!r}.", number)
            term = values[0]
            if term in stated:
                raise source.error(f"a second block describes {term!r}.", number)
            stated[term] = int(values[1])
    if (at + 1) % 3:
        raise source.error(f"the last block has no line {FIELDS[(at + 1) % 3]}; the file may be cut short.", number)
    ontology = Ontology.assemble(
        pd.DataFrame({"name": ""}, index=pd.Index(list(stated), dtype=object)),
        pd.DataFrame(relations, columns=RELATIONS[:2], dtype=object).assign(type="part_of"),
        pd.DataFrame(annotations, columns=ANNOTATIONS[:2], dtype=object),
        step="read dcell",
        provenance=[provenance("DCell topology", source)],
    )
    other = [
        f"{term}: {n:,} stated, {ontology.sizes[term]:,} found"
        for term, n in stated.items()
        if ontology.sizes[term] != n
    ]
    entry = Entry.of("read dcell", "terms", other, "kept: their stated number of genes is not the one in the file")
    return replace(ontology, log=(*ontology.log, entry)) if other else ontology

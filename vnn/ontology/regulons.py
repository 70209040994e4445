"""Regulons: transcription factors and their targets with signs, as in CollecTRI (doi:10.1093/nar/gkad841)."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from vnn._errors import culprits
from vnn.ontology.log import Entry
from vnn.ontology.ontology import ANNOTATIONS, RELATIONS, Ontology
from vnn.ontology.source import Source, provenance


def read_regulons(
    path: Path | str, *, source: str = "source", target: str = "target", weight: str | None = "weight"
) -> Ontology:
    """A gene set per transcription factor: its targets, with the sign of each in the qualifier.

    A term is a factor, its genes are its targets, `+` marks activation and `-` repression; the network reads a factor
    from the genes it regulates. Regulons have no hierarchy.

    Parameters
    ----------
    path
        Commas or tabs, plain or gzip, with a header.
    source, target, weight
        Names of the columns of factors, of genes and of weights; `weight=None` where there are no signs.

    Returns
    -------
    An ontology. Weights other than 1 and -1, of which only the sign is kept, weights of 0, and targets with both signs
    are counted in its log.
    """
    file = Source.read(path, "regulons")
    lines = file.rows()
    number, header = next(lines)
    wanted = [source, target, *([] if weight is None else [weight])]
    if missing := [name for name in wanted if name not in header]:
        raise file.error(f"the header lacks {culprits(missing)}; it has {culprits(header, 20)}.", number)
    at = [header.index(name) for name in wanted]
    rows: list[tuple[str, str, str]] = []
    other: set[str] = set()
    unsigned: set[str] = set()
    for number, fields in lines:
        if len(fields) != len(header) or not all(fields[i] for i in at):
            raise file.error(f"a line needs {culprits(header, 20)}; this one has {culprits(fields)}.", number)
        factor, gene, *given = (fields[i] for i in at)
        value = _number(given[0], file, number) if given else math.nan
        pair = f"{gene} @ {factor}"
        if given and value == 0:
            unsigned.add(pair)
        elif given and abs(value) != 1:
            other.add(pair)
        rows.append((gene, factor, "+" if value > 0 else "-" if value < 0 else ""))
    table = pd.DataFrame(rows, columns=["gene", "term", "qualifier"], dtype=object)
    if table.empty:
        raise file.error("the file has a header and no line below it.")
    signs = table.drop_duplicates().value_counts(["gene", "term"])
    both = {f"{gene} @ {factor}" for gene, factor in signs.index[signs > 1]}
    log = [
        Entry.of("read regulons", "columns", set(header) - {*wanted, ""}, "not read"),
        Entry.of("read regulons", "annotations", other, "kept with the sign of their weight and not its size"),
        Entry.of("read regulons", "annotations", unsigned, "kept without a sign: their weight is 0"),
        Entry.of("read regulons", "annotations", both, "kept with several signs"),
    ]
    return Ontology.assemble(
        pd.DataFrame({"name": ""}, index=pd.Index(table["term"].unique(), dtype=object)),
        pd.DataFrame(columns=RELATIONS),
        table.reindex(columns=ANNOTATIONS, fill_value=""),
        step="read regulons",
        provenance=[provenance("regulons", file)],
        log=[entry for entry in log if entry.names],
    )


def _number(text: str, file: Source, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise file.error(f"the weight {text!r} is no number.", line)
    return value

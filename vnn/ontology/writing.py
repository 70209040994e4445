"""What all writers share: files written whole, names a format can hold, and a list of what it cannot."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Collection, Iterable
from pathlib import Path

import pandas as pd

from vnn._atomic import replacing
from vnn._errors import OntologyError, culprits
from vnn.ontology.log import Entry
from vnn.ontology.ontology import Ontology

UNWRITABLE = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029\ufeff\ud800-\udfff]|^\\s|\\s$")
SPACE = re.compile(UNWRITABLE.pattern + r"|\s")
SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}


def put(path: Path | str, text: str) -> None:
    """Put `text` at `path`, whole or not at all; gzipped, and the same bytes every time, if the name ends in .gz."""
    content = text.encode()
    if str(path).endswith(".gz"):
        content = gzip.compress(content, mtime=0)
    with replacing(path) as part:
        part.write_bytes(content)


def put_table(path: Path | str, table: pd.DataFrame, *, header: bool = True) -> None:
    """Put a table of text at `path`, as it is, separated as the ending of its name tells."""
    for name in table.columns:
        refuse(table[name].unique())
    if comments := [value for value in table.iloc[:, 0].unique() if value.startswith("#")]:
        raise OntologyError(
            f"a line that begins with # is a comment, and {len(comments):,} names begin so: {culprits(comments)}. "
            "Rename them."
        )
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator(path), lineterminator="\n")
    if header:
        writer.writerow(table.columns)
    writer.writerows(table.itertuples(index=False, name=None))
    put(path, text.getvalue())


def separator(path: Path | str) -> str:
    """The sign between columns that the ending of a name tells."""
    ending = Path(str(path).removesuffix(".gz")).suffix
    if ending not in SEPARATORS:
        raise ValueError(f"{Path(path).name} does not tell its separator; name it .csv (commas) or .tsv (tabs).")
    return SEPARATORS[ending]


def refuse(names: Iterable[str], pattern: re.Pattern[str] = UNWRITABLE, why: str = "") -> None:
    """An error if a name would not come back as it is."""
    if unfit := [name for name in names if pattern.search(name)]:
        raise OntologyError(
            f"{len(unfit):,} names {why or 'begin or end with a space, or hold a tab, a line break or a control sign'}, "
            f"which the format cannot hold: {culprits(map(ascii, unfit))}. Rename them, or use another format."
        )


def left_out(ontology: Ontology, step: str, holds: Collection[str]) -> tuple[Entry, ...]:
    """What a file does not hold of an ontology.

    Parameters
    ----------
    holds
        What it does hold: "names", "namespaces", "types" (of relations), "relations", "evidence" (and qualifiers)
        and "lone" terms, those without any relation or gene.
    """
    terms, relations, annotations = ontology.terms, ontology.relations, ontology.annotations
    used = {*relations["child"], *relations["parent"], *annotations["term"]}
    pairs = relations["child"] + " -> " + relations["parent"]
    rows = annotations["gene"] + " @ " + annotations["term"]
    found: dict[str, tuple[str, Iterable[str], str]] = {
        "names": ("terms", terms.index[terms["name"] != terms.index], "written without their names"),
        "namespaces": ("terms", terms.index[terms["namespace"] != ""], "written without their namespaces"),
        "relations": ("relations", pairs, "not written: the format has no hierarchy"),
        "types": ("relations", pairs[relations["type"] != "part_of"], "written without their types, as part_of"),
        "evidence": (
            "annotations",
            rows[(annotations["evidence"] != "") | (annotations["qualifier"] != "")],
            "written without their evidence and qualifiers",
        ),
        "lone": ("terms", set(terms.index) - used, "not written: they have no relation and no gene"),
    }
    entries = [
        Entry.of(step, kind, set(names), reason) for what, (kind, names, reason) in found.items() if what not in holds
    ]
    return tuple(entry for entry in entries if entry.names)

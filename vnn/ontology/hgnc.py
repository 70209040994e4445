"""The table of HGNC (genenames.org/download): the human genes and every name they are known by."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from vnn._atomic import replacing, sha256
from vnn._errors import culprits
from vnn.ontology.download import cache_folder
from vnn.ontology.log import Entry
from vnn.ontology.source import Source, provenance

NEEDED = ("symbol", "prev_symbol", "alias_symbol", "entrez_id", "ensembl_gene_id", "uniprot_ids")
WELCOME = ("hgnc_id", "mgd_id", "rgd_id", "locus_group", "status")
FORMAT = "vnn hgnc 1"
WORTH_KEEPING = 5000  # genes; smaller tables are read in a moment


@dataclass(frozen=True, eq=False, repr=False)
class HgncTable:
    """Columns of HGNC's complete set.

    Parameters
    ----------
    columns
        Cells of each column by its name in the file, in the order of the rows. A cell with several names holds them
        as the file does, with `|` between.
    provenance
        Name and hash of the file.
    log
        Rows that were left out.
    """

    columns: Mapping[str, tuple[str, ...]]
    provenance: Mapping[str, Any]
    log: tuple[Entry, ...] = ()

    def genes_by(self, column: str) -> dict[str, tuple[str, ...]]:
        """The approved symbols that each name in a column leads to, sorted; none where the file has no such column."""
        found: dict[str, tuple[str, ...]] = {}
        for symbol, cell in zip(self.columns["symbol"], self.columns.get(column, ()), strict=False):
            if cell:
                for name in cell.split("|"):
                    found[name] = (*found[name], symbol) if name in found else (symbol,)
        found.pop("", None)
        return {name: genes if len(genes) == 1 else tuple(sorted(set(genes))) for name, genes in found.items()}


def read_hgnc(path: Path | str) -> HgncTable:
    """Read hgnc_complete_set.txt of genenames.org, plain or gzip.

    The columns of a large table are kept in the user's cache (`VNN_CACHE`, or `vnn` in the folder for caches) under
    the hash of the file, with a hash of their own; what does not match it is read again from the file.
    Genes whose status is not "Approved" leave and are logged: their symbols may have been given to other genes.

    Raises
    ------
    OntologyError
        If a column is missing, a row has more or fewer cells than the header, or a symbol is empty or there twice.

    References
    ----------
    https://www.genenames.org/help/download/
    """
    path = Path(path)
    content = sha256(path)
    kept = cache_folder() / "hgnc" / f"{content}.npz"
    if (table := _recall(kept, path.name, content)) is not None:
        return table
    table = _parse(Source.read(path, "hgnc"))
    if len(table.columns["symbol"]) >= WORTH_KEEPING:
        with suppress(OSError):  # a full or read-only disk costs the next process a moment, nothing else
            _keep(kept, table)
    return table


def _parse(source: Source) -> HgncTable:
    lines = source.lines()
    header = next(lines)[1].split("\t")
    if missing := [name for name in NEEDED if name not in header]:
        raise source.error(
            f"the table lacks the columns {culprits(missing, 6)}; hgnc_complete_set.txt of genenames.org has them.", 1
        )
    names = [*NEEDED, *(name for name in WELCOME if name in header)]
    chosen = itemgetter(*(header.index(name) for name in names))
    rows = []
    for number, line in lines:
        cells = line.split("\t")
        if len(cells) != len(header):
            raise source.error(f"{len(cells)} cells where the header has {len(header)}: {line[:80]!r}.", number)
        rows.append(chosen(cells))
    status = names.index("status") if "status" in names else None
    approved = [row for row in rows if status is None or row[status] == "Approved"]
    gone = [row[0] for row in rows if status is not None and row[status] != "Approved"]
    if not approved:
        raise source.error("the table has a header and no approved gene; download it again.")
    repeated = [symbol for symbol, n in Counter(row[0] for row in approved).items() if n > 1 or not symbol]
    if repeated:
        raise source.error(f"approved symbols are empty or there twice: {culprits(sorted(repeated))}.")
    cells_of = zip(names, zip(*approved, strict=True), strict=True)
    columns = {name: tuple(cell.strip('"') for cell in cells) for name, cells in cells_of}
    record = provenance("HGNC", source, species="Homo sapiens", licence="CC0-1.0")
    log = (Entry.of("hgnc", "genes", gone, "left out: their status is not Approved"),) if gone else ()
    return HgncTable(columns, record, log)


def _keep(kept: Path, table: HgncTable) -> None:
    header = {"format": FORMAT, "provenance": table.provenance, "log": [entry.to_json() for entry in table.log]}
    columns = (name + "\n" + "\n".join(cells) for name, cells in table.columns.items())
    text = "\t".join([json.dumps(header), *columns]).encode()
    with replacing(kept) as part, part.open("wb") as file:
        np.savez(file, text=np.frombuffer(text, np.uint8), sha256=np.array(hashlib.sha256(text).hexdigest()))


def _recall(kept: Path, name: str, sha256: str) -> HgncTable | None:
    """What was kept, if it is whole and of this file."""
    try:
        with kept.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            text, seal = file["text"].tobytes(), str(file["sha256"])
        if hashlib.sha256(text).hexdigest() != seal:
            return None
        first, *rest = text.decode().split("\t")
        header = json.loads(first)
        (origin,) = header["provenance"]["files"]
        if header["format"] != FORMAT or origin["sha256"] != sha256:
            return None
    except Exception:  # whatever a damaged file makes numpy or json say, the table itself is at hand
        return None
    parts = (part.split("\n") for part in rest)
    columns = {column: tuple(cells) for column, *cells in parts}
    record = {**header["provenance"], "files": [{**origin, "name": name}]}
    log = tuple(Entry(**{**entry, "names": tuple(entry["names"])}) for entry in header["log"])
    return HgncTable(columns, record, log)

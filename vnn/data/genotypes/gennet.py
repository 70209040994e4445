"""GenNet's folder as it is: genotype.h5, subjects.csv, topology.csv (github.com/ArnovanHilten/GenNet)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from vnn._errors import AlignmentError, GenotypeError, choose, culprits
from vnn.data.genotypes.calls import CODE_OF, THRESHOLD, UNCALLED
from vnn.data.genotypes.dosages import Dosages
from vnn.data.genotypes.genotypes import Genotypes
from vnn.data.genotypes.plink import read_bim
from vnn.data.genotypes.streams import (
    CELLS,
    UNKNOWN,
    Block,
    Build,
    Stream,
    kept,
    packed,
    people_called,
    record,
    table_of,
    there,
)
from vnn.data.splits import Split
from vnn.ontology.gennet import read_gennet
from vnn.ontology.topology import Topology

NEEDED = ("patient_id", "labels", "genotype_row", "set")
PARTS = {1: "train", 2: "validation", 3: "test"}
PLACE = re.compile(r"(?:chr)?([0-9]{1,2}|X|Y|XY|MT?)[:_]([0-9]+)", re.IGNORECASE)
OUTSIDE = ("error", "missing", "keep")
READ = 1 << 28  # bytes of the .h5 read at once where its chunks are as wide as the table


@dataclass(frozen=True, eq=False)
class GennetFolder:
    """A study of GenNet's.

    Parameters
    ----------
    genotypes
        With `labels` among the targets, and the further columns of subjects.csv among the covariates.
    split
        Of the people with `set` 1, 2 and 3.
    topology
        Of topology.csv.
    """

    genotypes: Genotypes | Dosages
    split: Split
    topology: Topology


def read_gennet_folder(
    folder: Path | str,
    *,
    bim: Path | str | None = None,
    outside: Literal["error", "missing", "keep"] = "error",
    to: Path | str | None = None,
    threshold: float = THRESHOLD,
    build: Build = "",
    hashed: bool = True,
) -> GennetFolder:
    """Genotypes, split and topology of a folder with genotype.h5, subjects.csv and topology.csv.

    The .h5 counts copies of allele 2 of the PLINK fileset it was made of; its rows are people, found by the column
    `genotype_row` of subjects.csv, and its columns are the inputs of the topology, by number. Variants are called as the
    topology calls them. Their alleles are in none of the three files: give the .bim, or they are unknown (".").

    Parameters
    ----------
    folder
        The folder; other .h5 files in it are left alone.
    bim
        The .bim of the fileset that the .h5 was made of, variant for variant.
    outside
        Values outside 0..2 are an "error" that counts them; become "missing"; or all values are kept as they are, as
        `Dosages` ("keep").
    to
        Prefix of a PLINK fileset (of the files of `open_dosages` for "keep") to write block by block and map; in memory unless
        given.
    threshold
        How far a fractional value may be from the number of copies it is called.
    build
        Genome build of the positions.
    hashed
        Whether the .h5 is hashed for provenance, which reads it once.

    Raises
    ------
    ImportError
        If h5py is not installed.
    GenotypeError
        If a file is not what it must be, or values lie outside 0..2 and outside="error".
    AlignmentError
        If people or variants are repeated, or rows of subjects.csv are not in the .h5.
    """
    folder = Path(folder)
    stream = open_gennet(folder, bim=bim, outside=outside, hashed=hashed)
    found: Genotypes | Dosages = (
        kept([stream], to=to, build=build)
        if outside == "keep"
        else packed([stream], to=to, threshold=threshold, build=build)
    )
    subjects = read_subjects(folder / "subjects.csv")
    parts = {
        name: tuple(sorted(subjects.index[(subjects["set"] == number).to_numpy()])) for number, name in PARTS.items()
    }
    strangers = int((~subjects["set"].isin(list(PARTS))).sum())
    if strangers:
        found = found.told(
            f"read gennet: {strangers:,} people of subjects.csv are in no set from 1 to 3, and in no part"
        )
    further = [name for name in subjects if name not in NEEDED]
    found = found.joined(targets=subjects[["labels"]], covariates=subjects[further])
    return GennetFolder(found, Split("subjects.csv", **parts), read_gennet(folder / "topology.csv"))


def open_gennet(
    folder: Path | str,
    *,
    bim: Path | str | None = None,
    outside: Literal["error", "missing", "keep"] = "error",
    hashed: bool = True,
) -> Stream:
    """The genotypes of GenNet's folder as a stream; parameters as for `read_gennet_folder`."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f"reading {folder} needs h5py: pip install 'vnn[h5]'") from error
    choose("outside", outside, OUTSIDE)
    folder = Path(folder)
    whole = "a folder of GenNet's holds genotype.h5, subjects.csv and topology.csv."
    path, subjects, topology = (there(folder / name, whole) for name in ("genotype.h5", "subjects.csv", "topology.csv"))
    table = read_subjects(subjects)
    rows = table["genotype_row"].to_numpy(dtype=np.int64)
    tally: Counter[str] = Counter()
    with _opened(h5py, path) as data:
        n_rows, n_variants = data.shape
    if strangers := [name for name, row in zip(table.index, rows, strict=True) if not 0 <= row < n_rows]:
        raise AlignmentError(
            f"{len(strangers):,} people of subjects.csv have a genotype_row that {path.name} lacks: {culprits(strangers)}. It has "
            f"{n_rows:,} rows, numbered from 0."
        )
    fixed = Counter({"rows without a person in subjects.csv, left out,": n_rows - len(rows)})
    variants = _variants(topology, n_variants, None if bim is None else there(bim), fixed)
    tally.update(fixed)
    sources = [record(path, "genotype", hashed), record(subjects, "subjects"), record(topology, "topology")]
    if bim is not None:
        sources.append(record(Path(bim), "bim"))

    def blocks() -> Iterator[Block]:
        tally.clear()
        tally.update(fixed)
        wrong: Counter[float] = Counter()
        with _opened(h5py, path) as data:
            for at, columns in _columns(data):
                if infinite := int((~np.isfinite(columns) & ~np.isnan(columns)).sum()):
                    raise GenotypeError(f"{path.name} holds {infinite:,} infinite values. Write it again.")
                values = np.ascontiguousarray(columns[rows].T)
                out = (values < 0) | (values > 2)
                if outside == "keep":
                    yield Block(variants.iloc[at], values.astype(np.float32))
                    continue
                if out.any():
                    beyond = values[out]
                    found, n = np.unique(np.where(beyond < 0, np.floor(beyond), np.ceil(beyond)), return_counts=True)
                    wrong.update(dict(zip(found.tolist(), n.tolist(), strict=True)))
                if not (wrong and outside == "error"):
                    yield Block(variants.iloc[at], _coded(values, out))
        if wrong and outside == "error":
            shown = ", ".join(f"{value:g} ({n:,} times)" for value, n in sorted(wrong.items())[:8])
            raise GenotypeError(
                f"{wrong.total():,} of the {len(rows) * n_variants:,} values of {path.name} lie outside 0..2: {shown}"
                f"{', ...' if len(wrong) > 8 else ''}. Copies of one allele are 0, 1 or 2. Give "
                'outside="missing" to make them missing, or outside="keep" to keep all values as numbers (slower).'
            )
        tally["values outside 0..2, now missing,"] += wrong.total()

    return Stream(
        "read gennet", path.name, people_called(list(table.index), "patient ids"), blocks, tally, tuple(sources)
    )


def read_subjects(path: Path | str) -> pd.DataFrame:
    """The people of a subjects.csv, by patient id: labels, genotype_row, set, and further columns; padding is taken off.

    Raises
    ------
    GenotypeError
        If a column is missing, or rows or sets are no whole numbers.
    AlignmentError
        If a patient or a row of the .h5 occurs twice.
    """
    path = there(path)
    table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    table.columns = pd.Index([str(name).strip() for name in table.columns])
    unnamed = [name for name in table.columns if not name or name.startswith("Unnamed:")]
    table = table.drop(columns=unnamed).apply(lambda column: column.str.strip())
    if lacking := [name for name in NEEDED if name not in table]:
        raise GenotypeError(f"{path.name} lacks the columns {culprits(lacking)}; it has {culprits(table.columns, 20)}.")
    for name in ("genotype_row", "set"):
        numbers = pd.to_numeric(table[name], errors="coerce")
        if (bad := numbers.isna() | (numbers % 1 != 0)).any():
            raise GenotypeError(
                f"{path.name} has {bad.sum():,} values of `{name}` that are no whole numbers: {culprits(table[name][bad])}."
            )
        table[name] = numbers.astype(np.int64)
    for name, what in (("patient_id", "patients"), ("genotype_row", "rows of the genotypes")):
        if (again := table[name].duplicated()).any():
            raise AlignmentError(f"{again.sum():,} {what} of {path.name} occur again: {culprits(table[name][again])}.")
    table = table.set_index(pd.Index(table["patient_id"], dtype=object, name="person"))
    for name in table.columns.difference(["patient_id", "genotype_row", "set"]):
        numbers = pd.to_numeric(table[name].replace("", np.nan), errors="coerce")
        if numbers.notna().sum() == (table[name] != "").sum():
            table[name] = numbers
    return table


def _variants(topology: Path, n: int, bim: Path | None, tally: Counter[str]) -> pd.DataFrame:
    """Names and places of the columns of the .h5, from the paths of the topology, and alleles from the .bim."""
    paths = pd.read_csv(topology, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    paths.columns = pd.Index([str(name).strip() for name in paths.columns])
    if lacking := [name for name in ("layer0_node", "layer0_name") if name not in paths]:
        raise GenotypeError(
            f"{topology.name} lacks the columns {culprits(lacking)}; it has {culprits(paths.columns, 20)}."
        )
    inputs = paths.drop_duplicates("layer0_node")
    node = pd.to_numeric(inputs["layer0_node"], errors="coerce")
    if (bad := node.isna() | (node < 0) | (node >= n)).any():
        raise AlignmentError(
            f"{bad.sum():,} inputs of {topology.name} are no column of the .h5, which has {n:,} numbered from 0: "
            f"{culprits(inputs['layer0_node'][bad])}."
        )
    at = node.astype(np.int64).to_numpy()
    ids = np.array([f"column {k}" for k in range(n)], dtype=object)
    ids[at] = inputs["layer0_name"].str.strip()
    tally["variants in no path of the topology, called 'column ...',"] = n - len(at)
    chromosome, position = np.full(n, "0", dtype=object), np.zeros(n, dtype=np.int64)
    if "chr" in inputs:
        chromosome[at] = inputs["chr"].str.strip()
    for k, found in enumerate(map(PLACE.match, ids)):
        if found:
            chromosome[k], position[k] = found[1].upper(), int(found[2])
    if bim is None:
        tally["variants whose alleles are not known (give bim=)"] = n
        return table_of(chromosome, position, ids, [UNKNOWN] * n, [UNKNOWN] * n)
    known, _ = read_bim(bim)
    if len(known) != n:
        raise AlignmentError(
            f"{bim.name} has {len(known):,} variants and the .h5 {n:,}; the fileset it was made of is needed."
        )
    apart = (position > 0) & (position != known["position"].to_numpy())
    if apart.any():
        raise AlignmentError(
            f"{apart.sum():,} variants of {topology.name} have another position in the same line of {bim.name}: "
            f"{culprits(ids[apart])}. The .bim of the fileset that the .h5 was made of is needed."
        )
    return table_of(known["chromosome"], known["position"], ids, known["other"], known["counted"])


def _coded(values: np.ndarray, out: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "f":
        return np.where(out, np.nan, values).astype(np.float32)
    return CODE_OF[np.where(out, UNCALLED, values)]


def _columns(data: Any) -> Iterator[tuple[slice, np.ndarray]]:
    """Columns of the table, some at a time, (people, columns); chunks are read whole, and many at once where they are wide."""
    n_rows, n_variants = data.shape
    step = max(CELLS // max(n_rows, 1), 1)
    chunk = data.chunks[1] if data.chunks else 1
    most = step if chunk <= step else max(READ // max(n_rows * data.dtype.itemsize, 1), 1)
    width = most // chunk * chunk or most
    for start in range(0, n_variants, width):
        read = data[:, start : start + width]
        for first in range(0, read.shape[1], step):
            yield slice(start + first, start + min(first + step, read.shape[1])), read[:, first : first + step]


@contextmanager
def _opened(h5py: Any, path: Path) -> Iterator[Any]:
    """The one table of a .h5, (people, variants)."""
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise GenotypeError(f"{path.name} is no whole HDF5 file: {error}. Write it again.") from error
    with file:
        data = file.get("data")
        if data is None or getattr(data, "ndim", 0) != 2 or data.dtype.kind not in "iuf":
            held = culprits(file.keys())
            raise GenotypeError(
                f"{path.name} has no numbers of people x variants called 'data'; it holds {held or 'nothing'}."
            )
        yield data

"""PLINK 2 filesets: .pgen, .pvar and .psam, through pgenlib (github.com/chrchang/plink-ng, pgen_spec)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from vnn._errors import GenotypeError, choose, culprits
from vnn.data.genotypes.calls import CODE_OF, THRESHOLD, UNCALLED
from vnn.data.genotypes.genotypes import PEOPLE, Genotypes
from vnn.data.genotypes.plink import PHENOTYPE
from vnn.data.genotypes.streams import (
    CELLS,
    SEVERAL,
    UNKNOWN,
    Block,
    Build,
    Stream,
    alleles_to_count,
    packed,
    record,
    refused,
    split_name,
    table_of,
    there,
)
from vnn.data.samples import unique

MAGIC = b"\x6c\x1b"
HARD_CALLS_ONLY = (0x01, 0x02)  # storage modes: a .bed, and fixed-width hard calls
VARIABLE = 0x10
PARENTS = {"PAT": "father", "MAT": "mother"}
SEX = {"1": "male", "m": "male", "2": "female", "f": "female"}
SUFFIXES = r"\.(pgen|pvar|pvar\.zst|psam)$"


def read_pgen(
    *paths: Path | str,
    to: Path | str | None = None,
    several: Literal["error", "split", "drop"] = "error",
    threshold: float = THRESHOLD,
    ids: Literal["file", "position"] = "file",
    build: Build = "",
    hashed: bool = True,
) -> Genotypes:
    """Genotypes of one PLINK 2 fileset, or of several of the same people.

    The counted allele is ALT. Phase is accepted and not kept. Where the file may hold dosages, these are hard-called; the hard
    calls that plink2 made of them are not read. People are called as by `read_plink`.

    Parameters
    ----------
    paths
        "cohort" or "cohort.pgen" for cohort.pgen, cohort.pvar (or .pvar.zst) and cohort.psam.
    to
        Prefix of a PLINK fileset to write block by block and map; in memory unless given.
    several
        What becomes of variants with several ALT alleles: "error", "split" (each is counted against all others, and is called
        `id:allele`), or "drop".
    threshold
        How far a dosage may be from the number of copies it is called; beyond, it is missing.
    ids
        "file", or "position" to call all variants `chromosome:position:other:counted`.
    build
        Genome build of the positions.
    hashed
        Whether the .pgen is hashed for provenance, which reads it once.

    Raises
    ------
    ImportError
        If pgenlib is not installed.
    GenotypeError
        If the three files do not fit each other or one is cut, or variants have several ALT alleles and several="error".
    AlignmentError
        If ids are repeated, or filesets hold different people.
    """
    streams = [open_pgen(path, several=several, hashed=hashed) for path in paths]
    return packed(streams, to=to, threshold=threshold, ids=ids, build=build)


def open_pgen(path: Path | str, *, several: Literal["error", "split", "drop"] = "error", hashed: bool = True) -> Stream:
    """A PLINK 2 fileset as a stream; parameters as for `read_pgen`."""
    try:
        import pgenlib
    except ImportError as error:
        raise ImportError(f"reading {path} needs pgenlib: pip install 'vnn[geno]'") from error
    choose("several", several, SEVERAL)
    beside = re.sub(SUFFIXES, "", str(path))
    whole = "a PLINK 2 fileset is a .pgen, a .pvar and a .psam of the same name."
    pgen, psam = (there(f"{beside}.{role}", whole) for role in ("pgen", "psam"))
    pvar = there(
        next((p for p in (f"{beside}.pvar", f"{beside}.pvar.zst") if Path(p).exists()), f"{beside}.pvar"), whole
    )
    people = read_psam(psam)
    with pgen.open("rb") as file:
        head = file.read(12)
    if head[:2] != MAGIC:
        raise GenotypeError(
            f"{pgen.name} begins with the bytes {head[:2].hex(' ')}; a .pgen begins with {MAGIC.hex(' ')}."
        )
    calls_only = head[2] in HARD_CALLS_ONLY or (head[2] == VARIABLE and head[11:] and head[11] & 15 < 4)
    tally: Counter[str] = Counter()
    try:
        names = pgenlib.PvarReader(bytes(pvar))
    except (RuntimeError, OSError) as error:
        raise GenotypeError(f"{pvar.name} is no .pvar that pgenlib can read: {_words(error)}") from error
    n = names.get_variant_ct()
    rows = _rows(names, n, several, tally, pvar.name)
    try:
        reader = pgenlib.PgenReader(bytes(pgen), raw_sample_ct=len(people), pvar=names)
    except RuntimeError as error:
        raise GenotypeError(
            f"{pgen.name} does not fit {pvar.name} ({n:,} variants) and {psam.name} ({len(people):,} people), or is cut: "
            f"{_words(error)}"
        ) from error
    n_made = np.bincount(rows[:, 0], minlength=n)
    kind = np.int8 if calls_only else np.float32

    def blocks() -> Iterator[Block]:
        size = max(CELLS // max(len(people), 1), 1)
        for start in range(0, len(rows), size):
            asked = rows[start : start + size]
            values = np.empty((len(asked), len(people)), dtype=kind)
            try:
                _fill(reader, asked, values)
            except RuntimeError as error:
                raise GenotypeError(f"{pgen.name} is cut or damaged: {_words(error)}. Write it again.") from error
            yield Block(
                _table(names, asked, n_made), _called(values) if calls_only else np.where(values < 0, np.nan, values)
            )

    sources = (record(pgen, "pgen", hashed), record(pvar, "pvar"), record(psam, "psam"))
    return Stream("read pgen", pgen.name, people, blocks, tally, sources)


def read_psam(path: Path | str) -> pd.DataFrame:
    """The people of a .psam: index ids; family, individual, father, mother, sex, and phenotypes as they stand.

    A single phenotype is called "phenotype". Without a header the columns are those of a .fam.
    """
    path = there(path)
    lines = [line.split() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    lines = [line for line in lines if not line[0].startswith("##")]
    head = ["FID", "IID", "PAT", "MAT", "SEX", "PHENO1"]
    if lines and lines[0][0] in ("#FID", "#IID"):
        head = [lines[0][0][1:], *lines[0][1:]]
        lines = lines[1:]
    if "IID" not in head:
        raise GenotypeError(
            f"{path.name} has the columns {culprits(head)}; IID is needed: plink2 --make-just-psam writes it."
        )
    for number, line in enumerate(lines, start=1):
        if len(line) != len(head):
            raise GenotypeError(
                f"person {number:,} of {path.name} has {len(line)} fields; the {len(head)} of the header are needed."
            )
    table = pd.DataFrame(lines, columns=head, dtype=object)
    made = pd.DataFrame("", index=table.index, columns=PEOPLE, dtype=object)
    own = table["IID"]
    if "FID" in table:
        made["family"] = table["FID"].where(table["FID"] != "0", "")
    for column, name in PARENTS.items():
        if column in table:
            made[name] = table[column].where(table[column] != "0", "")
    if "SEX" in table:
        made["sex"] = table["SEX"].str.lower().map(SEX).fillna("")
    made["individual"] = own
    phenotypes = [name for name in head if name not in ("FID", "IID", "SID", "PAT", "MAT", "SEX")]
    made[[PHENOTYPE] if len(phenotypes) == 1 else phenotypes] = table[phenotypes]
    called = own if own.is_unique or "FID" not in table else table["FID"] + ":" + own
    unique(called, f"people of {path.name} (family and individual id)")
    made.index = pd.Index(called, dtype=object, name="person")
    return made


def _rows(names: Any, n: int, several: str, tally: Counter[str], file: str) -> np.ndarray:
    """Variant of the file and allele of every variant made, int64 (n_made, 2)."""
    made: list[tuple[int, int]] = []
    wrong = []
    for at in range(n):
        alternatives = [names.get_allele_code(at, k).decode() for k in range(1, names.get_allele_ct(at))]
        found = alleles_to_count(alternatives, several, tally)
        if len(found) > 1 and several == "error":
            wrong.append(names.get_variant_id(at).decode())
        made += [(at, k) for k in found]
    if wrong:
        raise refused(len(wrong), n, wrong, file)
    return np.array(made, dtype=np.int64).reshape(-1, 2)


def _fill(reader: Any, asked: np.ndarray, values: np.ndarray) -> None:
    variant, allele = asked.T
    whole, one = (
        (reader.read_range, reader.read)
        if values.dtype == np.int8
        else (reader.read_dosages_range, reader.read_dosages)
    )
    if (allele == 1).all() and (np.diff(variant) == 1).all():
        whole(int(variant[0]), int(variant[-1]) + 1, values)
    else:
        for row, (at, k) in zip(values, asked.tolist(), strict=True):
            one(at, row, allele_idx=k)


def _called(copies: np.ndarray) -> np.ndarray:
    return CODE_OF[np.where(copies < 0, UNCALLED, copies)]


def _table(names: Any, asked: np.ndarray, n_made: np.ndarray) -> pd.DataFrame:
    variant, allele = asked.T.tolist()
    counted = [names.get_allele_code(at, k).decode() for at, k in zip(variant, allele, strict=True)]
    own = (names.get_variant_id(at).decode() or UNKNOWN for at in variant)
    return table_of(
        [names.get_variant_chrom(at).decode() for at in variant],
        [names.get_variant_pos(at) for at in variant],
        [split_name(name, one, n_made[at]) for name, one, at in zip(own, counted, variant, strict=True)],
        counted,
        [names.get_allele_code(at, 0).decode() for at in variant],
    )


def _words(error: Exception) -> str:
    told = error.args[0] if error.args else error
    return (told.decode() if isinstance(told, bytes) else str(told)).strip()

"""BGEN 1.2 and 1.3, decoded by cbgen (chg.ox.ac.uk/~gav/bgen_format)."""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct, error, unpack_from
from typing import Any, Literal

import numpy as np

from vnn._errors import GenotypeError, choose, culprits
from vnn.data.genotypes.calls import THRESHOLD
from vnn.data.genotypes.genotypes import Genotypes
from vnn.data.genotypes.streams import (
    CELLS,
    SEVERAL,
    UNKNOWN,
    Block,
    Build,
    Stream,
    alleles_to_count,
    packed,
    people_called,
    record,
    refused,
    split_name,
    table_of,
    there,
)

MAGIC = (b"bgen", b"\0\0\0\0")
LAYOUT_2 = 2
HEAD = Struct("<IIII4s")
SHORT, LONG = Struct("<H"), Struct("<I")
OTHERS = ("first", "last")


def read_bgen(
    *paths: Path | str,
    to: Path | str | None = None,
    samples: Path | str | None = None,
    other: Literal["first", "last"] = "first",
    several: Literal["error", "split", "drop"] = "error",
    threshold: float = THRESHOLD,
    ids: Literal["file", "position"] = "file",
    build: Build = "",
    hashed: bool = True,
) -> Genotypes:
    """Genotypes of a BGEN, or of several of the same people, hard-called from their probabilities.

    BGEN does not say which allele is REF: most files (UK Biobank's) have it first, plink2 writes it last unless told
    "ref-first". The counted allele is the other one. Phase is accepted and not kept; a haploid person has two copies or none,
    and is counted. A variant is called by its rsid, or by its id where that is empty or `.`.

    Parameters
    ----------
    paths
        .bgen of layout 2 (versions 1.2 and 1.3), compressed by zlib, zstd or not.
    to
        Prefix of a PLINK fileset to write block by block and map; in memory unless given.
    samples
        The .sample file with the ids of people whom the .bgen does not name; the one of the same name unless given.
    other
        Where REF stands among the alleles, "first" or "last".
    several
        What becomes of variants of more than two alleles: "error", "split" (each but REF is counted against all others, and is
        called `id:allele`), or "drop".
    threshold
        How far a dosage may be from the number of copies it is called; beyond, it is missing.
    ids
        "file", or "position" to call all variants `chromosome:position:other:counted`.
    build
        Genome build of the positions.
    hashed
        Whether the .bgen is hashed for provenance, which reads it once.

    Raises
    ------
    ImportError
        If cbgen is not installed.
    GenotypeError
        If a file is no BGEN of layout 2, is cut, names no people, or has variants of more than two alleles and several="error".
    AlignmentError
        If ids are repeated, or files hold different people.
    """
    streams = [open_bgen(path, samples=samples, other=other, several=several, hashed=hashed) for path in paths]
    return packed(streams, to=to, threshold=threshold, ids=ids, build=build)


def open_bgen(
    path: Path | str,
    *,
    samples: Path | str | None = None,
    other: Literal["first", "last"] = "first",
    several: Literal["error", "split", "drop"] = "error",
    hashed: bool = True,
) -> Stream:
    """A BGEN as a stream; parameters as for `read_bgen`."""
    try:
        import cbgen
    except ImportError as problem:
        raise ImportError(f"reading {path} needs cbgen: pip install 'vnn[geno]'") from problem
    choose("other", other, OTHERS)
    choose("several", several, SEVERAL)
    path = there(path)
    called, listed = _walked(path)
    sources = [record(path, "bgen", hashed)]
    if samples is not None or called is None:
        beside = there(
            samples or path.with_suffix(".sample"), f"{path.name} names no people: give samples= a .sample file."
        )
        own = read_sample(beside)
        sources.append(record(beside, "sample"))
        if called is not None and own != called:
            raise GenotypeError(
                f"{beside.name} and {path.name} name people differently: {culprits(set(own) ^ set(called))}."
            )
        if len(own) != listed.n_people:
            raise GenotypeError(
                f"{beside.name} lists {len(own):,} people and {path.name} holds {listed.n_people:,}; take its own .sample."
            )
        called = own
    assert called is not None
    people = people_called(called, f"people of {path.name}")
    tally: Counter[str] = Counter()
    rows: list[tuple[int, int]] = []
    wrong = []
    for at, alleles in enumerate(listed.alleles):
        reference = 0 if other == "first" else len(alleles) - 1
        places = [k for k in range(len(alleles)) if k != reference]
        found = [places[k - 1] for k in alleles_to_count([alleles[k] for k in places], several, tally)]
        if len(found) > 1 and several == "error":
            wrong.append(listed.ids[at])
        rows += [(at, k) for k in found]
    if wrong:
        raise refused(len(wrong), len(listed.alleles), wrong, path.name)
    n_made = Counter(at for at, _ in rows)
    fixed = dict(tally)

    def blocks() -> Iterator[Block]:
        tally.clear()
        tally.update(fixed)
        size = max(CELLS // max(len(people), 1), 1)
        last, found = -1, None
        with cbgen.bgen_file(path) as file:
            for start in range(0, len(rows), size):
                asked = rows[start : start + size]
                values = np.empty((len(asked), len(people)), dtype=np.float32)
                for row, (at, k) in zip(values, asked, strict=True):
                    if at != last:
                        last, found = at, _decoded(file, listed, at, path)
                        tally["haploid genotypes, coded as two copies or none,"] += int(
                            ((found.ploidy == 1) & ~found.missing).sum()
                        )
                    row[:] = _dosage(found, k, len(listed.alleles[at]))
                refs = [listed.alleles[at][0 if other == "first" else -1] for at, _ in asked]
                counted = [listed.alleles[at][k] for at, k in asked]
                table = table_of(
                    [listed.chromosomes[at] for at, _ in asked],
                    [listed.positions[at] for at, _ in asked],
                    [split_name(listed.ids[at], listed.alleles[at][k], n_made[at]) for at, k in asked],
                    counted,
                    refs,
                )
                yield Block(table, values)

    return Stream("read bgen", path.name, people, blocks, tally, tuple(sources))


def read_sample(path: Path | str) -> list[str]:
    """The people of an Oxford .sample file: ID_2, or ID_1 where the second column is another."""
    path = there(path)
    lines = [line.split() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    if len(lines) < 2 or lines[0][0].upper() not in ("ID_1", "ID") or lines[1][0] != "0":
        raise GenotypeError(
            f"{path.name} is no .sample file: its first line must begin with ID_1 and its second, of types, with 0."
        )
    at = 1 if len(lines[0]) > 1 and lines[0][1].upper() == "ID_2" else 0
    if ragged := [number for number, line in enumerate(lines[2:], start=3) if len(line) != len(lines[0])]:
        raise GenotypeError(
            f"{path.name} has lines that are longer or shorter than its first: lines {culprits(ragged)}."
        )
    return [line[at] for line in lines[2:]]


@dataclass(frozen=True, eq=False)
class _Listed:
    """What a walk through the headers of the variants finds."""

    n_people: int
    chromosomes: list[str]
    positions: list[int]
    ids: list[str]
    alleles: list[tuple[str, ...]]
    offsets: list[int]


def _walked(path: Path) -> tuple[list[str] | None, _Listed]:
    """People and variants of the file, from one header to the next; its length is checked to the byte."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if len(data) < 24 or data[16:20] not in MAGIC:
            raise GenotypeError(
                f"{path.name} is no BGEN: its bytes 17 to 20 are {data[16:20].hex(' ') or 'missing'}, not 'bgen'."
            )
        first, length, n_variants, n_people, _ = HEAD.unpack_from(data)
        if length + 4 > len(data):
            raise GenotypeError(f"{path.name} is cut within its head. Copy or write it again.")
        flags = LONG.unpack_from(data, length)[0]
        if (layout := flags >> 2 & 15) != LAYOUT_2:
            raise GenotypeError(
                f"{path.name} has layout {layout} (BGEN 1.1 or older); layout 2 is needed: "
                "plink2 --bgen FILE ref-first --export bgen-1.2 writes it."
            )
        at = 4 + length
        listed = _Listed(n_people, [], [], [], [], [])
        try:
            called = None
            if flags >> 31:
                called, end = [], at + 8
                for _ in range(LONG.unpack_from(data, at + 4)[0]):
                    name, end = _text(data, end, SHORT)
                    called.append(name)
                if len(called) != n_people:
                    raise GenotypeError(
                        f"{path.name} names {len(called):,} people and says that it holds {n_people:,}."
                    )
            at = first + 4
            for _ in range(n_variants):
                at = _variant(data, at, listed)
        except (error, UnicodeDecodeError):
            raise GenotypeError(
                f"{path.name} is cut or damaged in variant {len(listed.offsets) + 1:,} of {n_variants:,}. Copy or write it again."
            ) from None
        if at != len(data):
            raise GenotypeError(
                f"{path.name} has {len(data):,} bytes and its {n_variants:,} variants end at {at:,}: it is cut or damaged. "
                "Copy or write it again."
            )
    return called, listed


def _variant(data: mmap.mmap, at: int, listed: _Listed) -> int:
    """One variant; where the next one begins."""
    own, at = _text(data, at, SHORT)
    rsid, at = _text(data, at, SHORT)
    chromosome, at = _text(data, at, SHORT)
    position, n = unpack_from("<IH", data, at)
    at += 6
    alleles = []
    for _ in range(n):
        allele, at = _text(data, at, LONG)
        alleles.append(allele)
    listed.chromosomes.append(chromosome)
    listed.positions.append(position)
    listed.ids.append(next((name for name in (rsid, own) if name not in ("", UNKNOWN)), UNKNOWN))
    listed.alleles.append(tuple(alleles))
    listed.offsets.append(at)
    return at + 4 + LONG.unpack_from(data, at)[0]


def _text(data: mmap.mmap, at: int, length: Struct) -> tuple[str, int]:
    n = length.unpack_from(data, at)[0]
    at += length.size
    if at + n > len(data):
        raise error("beyond the end")
    return data[at : at + n].decode(), at + n


def _decoded(file: Any, listed: _Listed, at: int, path: Path) -> Any:
    try:
        found = file.read_genotype(listed.offsets[at], 32)
    except RuntimeError as problem:
        raise GenotypeError(
            f"the genotypes of variant {at + 1:,} ({listed.ids[at]}) of {path.name} are damaged: {problem}"
        ) from None
    if (most := found.ploidy.max(initial=0)) > 2:
        raise GenotypeError(
            f"variant {at + 1:,} ({listed.ids[at]}) of {path.name} has people of ploidy {most}; 1 and 2 are understood."
        )
    return found


def _dosage(found: Any, k: int, n_alleles: int) -> np.ndarray:
    """Expected copies of allele `k`; a haploid person's one copy counts twice."""
    share = found.probability
    single = found.ploidy == 1
    if found.phased:
        made = np.where(single, 2 * share[:, k], share[:, k] + share[:, min(n_alleles + k, share.shape[1] - 1)])
    else:
        copies = [(a == k) + (b == k) for b in range(n_alleles) for a in range(b + 1)]
        both = share @ np.array(copies[: share.shape[1]], dtype=share.dtype)
        made = np.where(single, 2 * share[:, k], both)
    made[found.missing] = np.nan
    return np.clip(made, 0, 2)

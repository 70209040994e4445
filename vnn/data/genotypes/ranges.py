"""Gene ranges: where genes lie, from GTF, GFF3, BED, gene lists and tables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import numpy as np
import pandas as pd

from vnn._atomic import sha256
from vnn._errors import GenotypeError, choose, culprits
from vnn.data.genotypes.lines import numbered, wrong_line
from vnn.data.genotypes.named import BUILDS
from vnn.data.genotypes.plink import chromosome_names

PLACE = ["gene", "chromosome", "start", "end", "strand"]
GENES = ("gene", "ncRNA_gene", "pseudogene")
NAMES = ("gene_name", "Name", "gene")
IDS = ("gene_id", "ID", "locus_tag")
BIOTYPES = ("gene_type", "gene_biotype", "biotype")
STRANDS = {"+": "+", "-": "-", "1": "+", "-1": "-", "+1": "+", ".": "", "": "", "?": "", "0": ""}
COLUMNS = {
    "gene": ("gene_name", "gene_symbol", "hgnc_symbol", "external_gene_name", "gene name", "symbol", "gene", "name", "gene_id",
             "geneid", "gene stable id"),
    "chromosome": ("chromosome", "chrom", "chr", "#chr", "#chrom", "chromosome_name", "chromosome/scaffold name", "seqname"),
    "start": ("start", "gene_start", "start_position", "gene start (bp)", "chromstart", "txstart"),
    "end": ("end", "stop", "gene_end", "end_position", "gene end (bp)", "chromend", "txend"),
    "strand": ("strand",),
}  # fmt: skip
ZERO_BASED = ("chromstart", "txstart")  # UCSC's tables
GTF_ATTRIBUTE = re.compile(r'(\S+)\s+(?:"([^"]*)"|([^";\s]+))\s*(?:;|$)')
ACCESSION = re.compile(r"NC_0000(\d\d)\.\d+")
BUILD_IN_HEADER = re.compile(r"\b(GRCh3[78]|hg19|hg38)\b", re.IGNORECASE)
SAME_BUILD = {"grch37": "GRCh37", "hg19": "GRCh37", "grch38": "GRCh38", "hg38": "GRCh38"}

Build = Literal["", "GRCh37", "GRCh38"]


@dataclass(frozen=True, eq=False)
class GeneRanges:
    """Where genes lie.

    Parameters
    ----------
    places
        Columns `gene`, `chromosome` (as in `Genotypes`), `start`, `end` (1-based, both included) and `strand` ("+", "-", ""
        where it is unknown). A gene has a row for each place; places of a gene on the same strand do not overlap.
    build
        "GRCh37", "GRCh38", or "" where it is not declared.
    source
        Name, sha256 and role of the file.
    log
        What was counted, left out or joined.

    Raises
    ------
    GenotypeError
        If there is no place, one ends before it starts or starts before base 1, or a gene has no name.
    """

    places: pd.DataFrame
    build: Build = ""
    source: Mapping[str, str] | None = None
    log: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        choose("build", self.build, ("", *BUILDS))
        places = self.places
        if not len(places):
            raise GenotypeError(f"{self.name} holds no gene range.")
        wrong = (places["start"] < 1) | (places["end"] < places["start"]) | (places["gene"] == "")
        if wrong.any():
            shown = [f"{g} {c}:{a}-{b}" for g, c, a, b in places.loc[wrong, PLACE[:4]].itertuples(index=False)]
            raise GenotypeError(
                f"{wrong.sum():,} of {len(places):,} ranges of {self.name} are none: {culprits(shown)}. A range has a named "
                "gene, starts at base 1 or later (1-based) and ends at its start or later."
            )

    @classmethod
    def of(
        cls,
        places: pd.DataFrame,
        *,
        build: Build = "",
        source: Mapping[str, str] | None = None,
        log: Sequence[str] = (),
    ) -> GeneRanges:
        """Ranges from rows in any order, 1-based with both ends: overlapping places of a gene become one, and are counted."""
        step = f"gene ranges: {(source or {}).get('name', 'the table')}"
        rows = cls(places.loc[:, PLACE], build, source).places
        named = _chromosomes(rows["chromosome"])
        told = [*log]
        if changed := sorted({f"{a} -> {b}" for a, b in zip(rows["chromosome"], named, strict=True) if a != b}):
            told.append(f"{step}: chromosomes are called {culprits(changed)}")
        rows = rows.assign(chromosome=named).sort_values(["gene", "chromosome", "strand", "start", "end"])
        keys = [rows[name] for name in ("gene", "chromosome", "strand")]
        reach = rows["end"].groupby(keys, sort=False).cummax().groupby(keys, sort=False).shift()
        apart = (rows["start"] > reach.fillna(-1)).cumsum()
        joined = rows.groupby(apart.to_numpy()).agg(
            {"gene": "first", "chromosome": "first", "start": "first", "end": "max", "strand": "first"}
        )
        if len(joined) < len(rows):
            told.append(
                f"{step}: {len(rows):,} ranges; those of a gene that overlap are one place: {len(joined):,} places"
            )
        n_places = joined.groupby("gene")["chromosome"].agg(["size", "nunique"])
        several = n_places[n_places["size"] > 1]
        if len(several):
            told.append(
                f"{step}: {len(several):,} of {len(n_places):,} genes lie at several places, "
                f"{(several['nunique'] > 1).sum():,} of them on several chromosomes; all are used: {culprits(several.index)}"
            )
        return cls(joined.reset_index(drop=True), build, source, tuple(told))

    @property
    def name(self) -> str:
        """What messages call these ranges: the name of their file."""
        return (self.source or {}).get("name", "the gene ranges")

    def __repr__(self) -> str:
        n = self.places["gene"].nunique()
        return f"GeneRanges({n:,} genes at {len(self.places):,} places{f', {self.build}' if self.build else ''})"


def read_gene_ranges(path: Path | str, *, build: Build = "") -> GeneRanges:
    """Gene ranges of a file; the reader follows from its name.

    `.gtf`, `.gff` and `.gff3` are read by `read_gtf`, `.bed` by `read_gene_bed`, all also gzipped; of any other file
    the first line tells whether it is a gene list (`read_gene_list`) or a table with a header (`read_gene_table`).
    """
    words = Path(path).name.lower().removesuffix(".gz").removesuffix(".bgz").split(".")
    if words[-1] in ("gtf", "gff", "gff3"):
        return read_gtf(path, build=build)
    if words[-1] == "bed":
        return read_gene_bed(path, build=build)
    first = next(numbered(path))[1].split()
    is_list = len(first) >= 4 and first[1].isdecimal() and first[2].isdecimal()
    return (read_gene_list if is_list else read_gene_table)(path, build=build)


def read_gtf(
    path: Path | str,
    *,
    name: str | None = None,
    biotypes: Collection[str] | str | None = None,
    features: Collection[str] = GENES,
    build: Build = "",
) -> GeneRanges:
    """Genes of a GTF or GFF3 file (1-based, both ends included), plain or gzip, read line by line.

    Parameters
    ----------
    name
        Attribute that names the gene; the first of gene_name, Name and gene that a record has unless given. Records without it go
        by their id (gene_id, ID without "gene:"), which is counted.
    biotypes
        Which biotypes to keep (attribute gene_type, gene_biotype or biotype), "protein_coding"; all unless given.
    features
        Which types of record (column 3) are genes. With "transcript", places of a gene that overlap become one.
    build
        Genome build; what the header says of it must not contradict.

    Raises
    ------
    GenotypeError
        If a line is broken, no record is of these types, none has the attribute or biotype, or the header tells another build.
    """
    asked = {biotypes} if isinstance(biotypes, str) else None if biotypes is None else set(biotypes)
    kinds: Counter[str] = Counter()
    found: Counter[str] = Counter()
    attributes_seen: set[str] = set()
    rows: list[tuple[str, str, str, str, str]] = []
    told_build = ""
    nameless = 0
    style: str | None = None
    for number, line in numbered(path):
        if line[0] == "#":
            match = BUILD_IN_HEADER.search(line) if number <= 100 else None
            told_build = told_build or (SAME_BUILD[match[1].lower()] if match else "")
            continue
        fields = line.split("\t", 8)
        if len(fields) != 9:
            raise wrong_line(path, number, f"{len(fields)} fields separated by tabs; GTF and GFF3 have 9.")
        kinds[fields[2]] += 1
        if fields[2] not in features:
            continue
        style = style or ("gff3" if "=" in fields[8].split('"')[0].split(";")[0] else "gtf")
        attributes = _gff3_attributes(fields[8]) if style == "gff3" else _gtf_attributes(fields[8])
        biotype = next((attributes[key] for key in BIOTYPES if key in attributes), "")
        found[biotype] += 1
        attributes_seen.update(attributes)
        if asked is not None and biotype not in asked:
            continue
        called = (
            attributes.get(name, "") if name else next((attributes[key] for key in NAMES if attributes.get(key)), "")
        )
        if not called:
            nameless += 1
            called = (
                next((attributes[key] for key in IDS if attributes.get(key)), "")
                .removeprefix("gene:")
                .removeprefix("gene-")
            )
        rows.append((called, fields[0], fields[3], fields[4], fields[6]))
    file = Path(path).name
    if not found:
        shown = ", ".join(f"{kind} {n:,}" for kind, n in kinds.most_common(8))
        raise GenotypeError(
            f"{file} has no record of type {culprits(features)}; it has {shown or 'none at all'}. Name the type that makes a gene, "
            'such as features=["transcript"]; overlapping transcripts of a gene become one place.'
        )
    if asked is not None and not rows:
        shown = ", ".join(f"{kind or 'no biotype'} {n:,}" for kind, n in found.most_common(8))
        raise GenotypeError(f"{file} has no gene of biotype {culprits(sorted(asked))}; it has {shown}.")
    if name and nameless == len(rows):
        raise GenotypeError(
            f"no gene of {file} has the attribute {name!r}; they have {culprits(sorted(attributes_seen), 20)}."
        )
    log = []
    if len(found) > 1 or "" not in found:
        shown = ", ".join(f"{kind or 'none'} {n:,}" for kind, n in found.most_common(6))
        log.append(
            f"gene ranges: {file}: {found.total():,} genes by biotype: {shown}{', ...' if len(found) > 6 else ''}"
        )
    if left := found.total() - len(rows):
        log.append(
            f"gene ranges: {file}: {left:,} genes of other biotypes than {culprits(sorted(asked or ()))} left out"
        )
    if nameless:
        log.append(f"gene ranges: {file}: {nameless:,} genes have no {name or 'name'} and go by their id")
    if told_build and build and told_build != build:
        raise GenotypeError(
            f"the header of {file} says {told_build}, and build={build!r} was declared. Correct one of them."
        )
    if told_build and not build:
        log.append(f"gene ranges: {file}: the header says {told_build}")
    return _ranges(path, rows, build=told_build or build, log=log)  # type: ignore[arg-type]


def read_gene_bed(path: Path | str, *, build: Build = "") -> GeneRanges:
    """Genes of a BED file (chromosome, start, end, name, score, strand): 0-based, the end not included."""
    rows = []
    for number, line in numbered(path):
        if line.startswith(("#", "track", "browser")):
            continue
        fields = line.split("\t") if "\t" in line else line.split()
        if len(fields) < 4:
            raise wrong_line(
                path, number, f"{len(fields)} fields; a BED of genes has at least 4: chromosome, start, end, name."
            )
        rows.append((fields[3], fields[0], fields[1], fields[2], fields[5] if len(fields) > 5 else ""))
    return _ranges(path, rows, build=build, zero_based=True)


def read_gene_list(path: Path | str, *, build: Build = "") -> GeneRanges:
    """Genes of a list without header: chromosome, start, end, name and perhaps strand (PLINK's glist): 1-based, both ends."""
    rows = []
    for number, line in numbered(path):
        fields = line.split()
        if len(fields) not in (4, 5):
            raise wrong_line(
                path,
                number,
                f"{len(fields)} fields; a gene list has 4 or 5: chromosome, start, end, name and perhaps strand.",
            )
        rows.append((fields[3], fields[0], fields[1], fields[2], fields[4] if len(fields) > 4 else ""))
    return _ranges(path, rows, build=build)


def read_gene_table(path: Path | str, *, columns: Mapping[str, str] | None = None, build: Build = "") -> GeneRanges:
    """Genes of a table with a header, separated by tabs, commas or blanks: 1-based, both ends included.

    Columns chromStart and txStart are those of UCSC's tables, which are 0-based with the end not included, and are read so.

    Parameters
    ----------
    columns
        Names of the columns for "gene", "chromosome", "start", "end" and "strand"; those usually so called unless given.

    Raises
    ------
    GenotypeError
        If a column is not there.
    """
    lines = numbered(path)
    number, header = next(lines)
    mark = next((mark for mark in "\t," if mark in header), None)
    titles = [title.strip().strip('"') for title in header.split(mark)]
    at = {}
    for role, usual in COLUMNS.items():
        known = (columns or {}).get(role)
        words = [title if known else title.lower() for title in titles]
        options = (known,) if known else usual
        hit = next((words.index(option) for option in options if option in words), None)
        if hit is None and (role != "strand" or known):
            raise GenotypeError(
                f"{Path(path).name} has no column for the {role}{f' called {known!r}' if known else ''}; its header is "
                f"{culprits(titles, 20)}. Name it: columns={{{role!r}: ...}}."
            )
        if hit is not None:
            at[role] = hit
    rows = []
    for number, line in lines:
        fields = [field.strip().strip('"') for field in line.split(mark)]
        if len(fields) < len(titles):
            raise wrong_line(path, number, f"{len(fields)} fields; the header has {len(titles)}.")
        rows.append(tuple(fields[at[role]] if role in at else "" for role in PLACE))
    zero_based = titles[at["start"]].lower() in ZERO_BASED
    log = [f"gene ranges: {Path(path).name}: {titles[at['start']]} is read as 0-based"] if zero_based else []
    return _ranges(path, rows, build=build, zero_based=zero_based, log=log)  # type: ignore[arg-type]


def _ranges(
    path: Path | str,
    rows: Sequence[tuple[str, str, str, str, str]],
    *,
    build: Build,
    zero_based: bool = False,
    log: Sequence[str] = (),
) -> GeneRanges:
    file = Path(path).name
    table = pd.DataFrame(rows, columns=PLACE, dtype=object)
    if not len(table):
        raise GenotypeError(f"{file} holds no gene range.")
    for end in ("start", "end"):
        numbers = pd.to_numeric(table[end], errors="coerce")
        if numbers.isna().any() or (numbers % 1 != 0).any():
            wrong = table.loc[numbers.isna() | (numbers % 1 != 0), end]
            raise GenotypeError(
                f"{file} has a {end} that is no whole number in {len(wrong):,} rows: {culprits(wrong)}."
            )
        table[end] = numbers.astype(np.int64)
    if zero_based:
        table["start"] += 1
    if unknown := sorted(set(table["strand"]) - STRANDS.keys()):
        raise GenotypeError(f"{file} has strands {culprits(unknown)}; known are +, -, 1, -1 and . for none.")
    table["strand"] = table["strand"].map(STRANDS)
    source = {"name": file, "sha256": sha256(path), "role": "gene ranges"}
    return GeneRanges.of(table, build=build, source=source, log=log)


def _chromosomes(names: pd.Series) -> pd.Series:
    accessions = {name: match[1] for name in names.unique() if (match := ACCESSION.fullmatch(str(name)))}
    plain = names.replace({name: str(int(number)) for name, number in accessions.items()} | {"NC_012920.1": "MT"})
    return chromosome_names(plain)


def _gtf_attributes(text: str) -> dict[str, str]:
    return {key: quoted or bare for key, quoted, bare in GTF_ATTRIBUTE.findall(text)}


def _gff3_attributes(text: str) -> dict[str, str]:
    parts: Iterable[str] = (part for part in text.split(";") if "=" in part)
    return {key.strip(): unquote(value.strip()) for key, value in (part.split("=", 1) for part in parts)}

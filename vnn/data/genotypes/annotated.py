"""Annotation: tables that name a variant and its gene, from ANNOVAR, VEP, regenie, GenNet and others."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from vnn._atomic import sha256
from vnn._errors import GenotypeError, choose, culprits
from vnn.data.genotypes.builds import plain
from vnn.data.genotypes.lines import numbered, wrong_line
from vnn.data.genotypes.named import BUILDS
from vnn.data.genotypes.ranges import Build

ROW = ["variant", "gene", "kind", "distance", "near"]
NO_GENE = {"", ".", "-", "NA", "NONE", "None", "nan"}
GENE_AND_NOTE = re.compile(r"([^(),;]+)(?:\(([^()]*(?:\([^()]*\)[^()]*)*)\))?")
EXONIC = re.compile(r"line\d+")
PLACE_IN_ID = re.compile(r"^(?:chr)?([0-9A-Za-z]+)[:_](\d+)(?:[:_]([A-Za-z*\-]+)[:_/]([A-Za-z*\-]+))?$", re.IGNORECASE)
VARIANT_WORDS = (
    "variant",
    "variant_id",
    "snp",
    "snpid",
    "snp_id",
    "rsid",
    "rs",
    "id",
    "marker",
    "markername",
    "layer0_name",
)
GENE_WORDS = ("gene", "genes", "gene_name", "gene_symbol", "symbol", "gene_id", "geneid", "set", "layer1_name")
INTERGENIC = "intergenic"

Met = Literal["id", "position"]


@dataclass(frozen=True, eq=False)
class Annotation:
    """Which genes a table names for which variants.

    Parameters
    ----------
    rows
        A row for each variant and gene: `variant` (its id; or its key, see `keys`), `gene` ("" where the table says that there is
        none), `kind` (region, consequence or category, "" where there is none), `distance` (bases to the gene where the
        table tells, else NaN) and `near` (whether the gene is only the nearest one of an intergenic variant).
    met_by
        What `variant` is: "id", or "position" for chromosome, position and, where known, alleles.
    build, sources, log
        As in `GeneRanges`; a source for each file.
    """

    rows: pd.DataFrame
    met_by: Met = "id"
    build: Build = ""
    sources: tuple[dict[str, str], ...] = ()
    log: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        choose("build", self.build, ("", *BUILDS))
        choose("met_by", self.met_by, ("id", "position"))
        if not len(self.rows):
            raise GenotypeError(f"{self.name} names no variant.")

    @property
    def name(self) -> str:
        """What messages call this table: the name of its file."""
        return self.sources[0]["name"] if self.sources else "the annotation"

    def __repr__(self) -> str:
        genes = self.rows["gene"].nunique() - int((self.rows["gene"] == "").any())
        return f"Annotation({self.rows['variant'].nunique():,} variants, {genes:,} genes, met by {self.met_by})"


def read_annovar(path: Path | str, *, id_column: int | None = None, build: Build = "") -> Annotation:
    """ANNOVAR's `*.variant_function` or `*.exonic_variant_function`.

    All genes of a row count, whether separated by `,` or `;`. What stands in parentheses is the distance (`dist=346`), or
    transcripts, which are not read. Rows whose region is `intergenic` name the nearest genes only.

    Parameters
    ----------
    id_column
        Column with the variant's id, counted from 1, where one was passed through. Otherwise variants are met by chromosome,
        position and both alleles. (GenNet's last column is a row number, and no id.)

    Raises
    ------
    GenotypeError
        If a line is broken or a column missing.
    """
    genes: list[str] = []
    distances: list[float] = []
    counts: list[int] = []
    kinds: list[str] = []
    ids: list[str] = []
    chromosomes, starts, one, two = [], [], [], []  # columns: millions of tuples would keep the garbage collector busy
    for number, line in numbered(path):
        fields = line.split("\t")
        exonic = EXONIC.fullmatch(fields[0]) is not None
        first = 3 if exonic else 2
        if len(fields) < first + 5 or not fields[first + 1].isdecimal():
            raise wrong_line(
                path, number,
                f"{len(fields)} fields; annotate_variation.pl --geneanno writes region, gene, chromosome, start, end, reference "
                "and alternative allele, separated by tabs, after the line's name in an exonic_variant_function.",
            )  # fmt: skip
        if id_column is None:
            chromosomes.append(fields[first])
            starts.append(int(fields[first + 1]) + (fields[first + 3] == "-"))
            one.append(fields[first + 3].strip("-"))
            two.append(fields[first + 4].strip("-"))
        elif 1 <= id_column <= len(fields):
            ids.append(fields[id_column - 1])
        else:
            raise wrong_line(path, number, f"{len(fields)} columns; there is no column {id_column} with ids.")
        kinds.append(fields[1] if exonic else fields[0])
        named = _exonic_genes(fields[2]) if exonic else _annovar_genes(fields[1])
        counts.append(len(named))
        for gene, distance in named:
            genes.append(gene)
            distances.append(distance)
    columns = (np.array(column, dtype=object) for column in (chromosomes, starts, one, two))
    called = np.array(ids, dtype=object) if id_column is not None else keys(*columns)
    kind = np.repeat(np.array(kinds, dtype=object), counts)
    table = pd.DataFrame(
        {
            "variant": np.repeat(called, counts),
            "gene": np.array(genes, dtype=object),
            "kind": kind,
            "distance": np.array(distances, dtype=np.float64),
            "near": kind == INTERGENIC,
        }
    )
    by: Met = "position" if id_column is None else "id"
    return _annotation(table, by, build, [(path, "ANNOVAR")], [_kinds(path, table)])


def read_vep(
    path: Path | str, *, gene: Literal["SYMBOL", "Gene"] = "SYMBOL", met_by: Met = "id", build: Build = ""
) -> Annotation:
    """Ensembl VEP's tab-delimited output, default or `--tab`: all genes of all transcripts of a variant.

    A variant that no row gives a gene is intergenic, also if it lies in a regulatory region.

    Parameters
    ----------
    gene
        "SYMBOL" (needs VEP's `--symbol`) or "Gene", the stable id. Rows without a symbol go by their stable id, counted.
    met_by
        "id" for `#Uploaded_variation`, or "position" for `Location`, whatever the alleles; of a deletion (allele `-`) VEP gives the
        first base that is lost, and PLINK and VCF the base before it, by which they meet.

    Raises
    ------
    GenotypeError
        If this is another form of output (VCF, JSON), a line is broken, or no row has a symbol.
    """
    lines = numbered(path)
    at: dict[str, int] = {}
    for number, line in lines:
        if line.startswith("#Uploaded_variation"):
            at = {title: i for i, title in enumerate(line.lstrip("#").split("\t"))}
            break
        if line.startswith("##fileformat=VCF") or line[0] in "{[" or not line.startswith("#"):
            raise wrong_line(
                path,
                number,
                "VEP's tab-delimited output is needed, whose header begins with #Uploaded_variation (vep --tab).",
            )
    if lost := {"Uploaded_variation", "Location", "Allele", "Gene", "Consequence"} - at.keys():
        raise GenotypeError(
            f"{Path(path).name} has no column {culprits(sorted(lost))}; VEP's tab-delimited output has."
        )
    titles = ("Uploaded_variation", "Location", "Allele", "Gene", "Consequence")
    id_at, place_at, allele_at, gene_at, kind_at = (at[title] for title in titles)
    symbol_at, extra_at = at.get("SYMBOL"), at.get("Extra")
    rows = []
    unnamed = symbols = 0
    for number, line in lines:
        fields = line.split("\t")
        if len(fields) < len(at):
            raise wrong_line(path, number, f"{len(fields)} fields; the header has {len(at)}.")
        called = fields[gene_at] if fields[gene_at] not in NO_GENE else ""
        if gene == "SYMBOL" and called:
            symbol = fields[symbol_at] if symbol_at is not None else ""
            if symbol_at is None and extra_at is not None and "SYMBOL=" in fields[extra_at]:
                symbol = fields[extra_at].rsplit("SYMBOL=", 1)[1].split(";", 1)[0]
            if symbol in NO_GENE:
                unnamed += 1
            else:
                called, symbols = symbol, symbols + 1
        variant = fields[id_at] if met_by == "id" else _vep_place(fields[place_at], fields[allele_at])
        rows.append((variant, called, fields[kind_at], np.nan, False))
    if gene == "SYMBOL" and unnamed and not symbols:
        raise GenotypeError(
            f'{Path(path).name} has no gene symbol in any of its {len(rows):,} rows. Run VEP with --symbol, or pass gene="Gene".'
        )
    table = pd.DataFrame(rows, columns=ROW)
    if met_by == "position":
        table["variant"] = _places_of(path, table["variant"])
    log = [_kinds(path, table)]
    if unnamed:
        log.append(f"annotation: {Path(path).name}: {unnamed:,} rows have no gene symbol and go by their stable id")
    return _annotation(table, met_by, build, [(path, "VEP")], log)


def read_regenie(
    annotations: Path | str, set_list: Path | str | None = None, *, met_by: Met = "id", build: Build = ""
) -> Annotation:
    """regenie's annotation file, and its set list where there is one.

    The annotation file has variant, set (gene) and category, or variant, set, domain and category, separated by blanks. With
    a set list (set, chromosome, position, variants separated by commas) that alone says which variants a set has, as in
    regenie: annotated ones that are not in their set leave, members that are not annotated have category "NULL"; both counted.

    Raises
    ------
    GenotypeError
        If a line is broken, or the two files have no variant of a set in common.
    """
    rows = []
    for number, line in numbered(annotations):
        fields = line.split()
        if len(fields) not in (3, 4):
            raise wrong_line(
                annotations,
                number,
                f"{len(fields)} fields; variant, set and category are needed (or domain before it).",
            )
        rows.append((fields[0], fields[1], fields[-1], np.nan, False))
    table = pd.DataFrame(rows, columns=ROW)
    log = [_kinds(annotations, table)]
    files: list[tuple[Path | str, str]] = [(annotations, "regenie annotations")]
    if set_list is not None:
        members = []
        for number, line in numbered(set_list):
            fields = line.split()
            if len(fields) != 4:
                raise wrong_line(
                    set_list, number, f"{len(fields)} fields; set, chromosome, position and variants are needed."
                )
            members += [(variant, fields[0]) for variant in fields[3].split(",") if variant]
        listed = pd.DataFrame(members, columns=["variant", "gene"]).drop_duplicates()
        joined = listed.merge(table[["variant", "gene", "kind"]].drop_duplicates(), on=["variant", "gene"], how="left")
        plain = joined["kind"].isna()
        if plain.all():
            one, two = (side["variant"] + " in " + side["gene"] for side in (table, listed))
            raise GenotypeError(
                f"no variant of {Path(annotations).name} is in its set of {Path(set_list).name}. Rows look like this: "
                f"{culprits(one[:2])}; and {culprits(two[:2])}. Take files of the same sets."
            )
        left = len(table[["variant", "gene"]].drop_duplicates()) - len(
            joined.loc[~plain, ["variant", "gene"]].drop_duplicates()
        )
        log.append(
            f"annotation: {Path(set_list).name}: {listed['gene'].nunique():,} sets with {len(listed):,} members, {plain.sum():,} "
            f"of them without an annotation (NULL); {left:,} annotated variants are not in their set and leave"
        )
        table = joined.assign(kind=joined["kind"].fillna("NULL"), distance=np.nan, near=False)[ROW]
        files.append((set_list, "regenie set list"))
    if met_by == "position":
        table["variant"] = _places_of(annotations, table["variant"])
    return _annotation(table, met_by, build, files, log)


def read_variant_genes(
    path: Path | str,
    *,
    variant: str | None = None,
    gene: str | None = None,
    met_by: Met = "id",
    build: Build = "",
) -> Annotation:
    """A table of variants and genes with or without a header, separated by tabs, commas or blanks; also GenNet's topology.csv.

    Without a header it has two columns, variant and gene. With one, the columns are those usually so called (variant, snp, rsid,
    ...; gene, symbol, ...; layer0_name and layer1_name of GenNet) unless named. Several genes of a cell are separated by
    `;`, or by `,` where commas do not separate columns. An empty cell, `.`, `-` or `NA` says that there is no gene.

    Parameters
    ----------
    variant, gene
        Names of the two columns.
    met_by
        "id", or "position" where ids are of the form `chr16:6068679`, with alleles (`16:6068679:C:A`, `16:6068679_C_A`) or without.

    Raises
    ------
    GenotypeError
        If columns are missing or cannot be told, a line is short, or ids name no position although `met_by` says so.
    """
    lines = numbered(path)
    number, first = next(lines)
    mark = next((mark for mark in "\t," if mark in first), None)
    titles = [title.strip().strip('"') for title in first.split(mark)]
    low = [title.lower() for title in titles]
    at = []
    for role, told, words in (("variant", variant, VARIANT_WORDS), ("gene", gene, GENE_WORDS)):
        hit = (
            titles.index(told)
            if told in titles
            else next((low.index(w) for w in words if w in low), None)
            if not told
            else None
        )
        if hit is None and told:
            raise GenotypeError(
                f"{Path(path).name} has no column {told!r} for the {role}; its header is {culprits(titles, 20)}."
            )
        at.append(hit)
    rows: list[tuple[str, str, str, float, bool]] = []
    if None in at:
        if len(titles) != 2 or at != [None, None]:
            raise GenotypeError(
                f"{Path(path).name} begins with {culprits(titles, 20)}: which columns hold variant and gene cannot be told. A "
                "table without a header has these two; otherwise name them: variant=..., gene=...."
            )
        at = [0, 1]
        lines = numbered(path)
    v, g = (place for place in at if place is not None)
    for number, line in lines:
        fields = line.split(mark)
        if len(fields) < len(titles):
            raise wrong_line(path, number, f"{len(fields)} fields; the first line has {len(titles)}.")
        name, cell = fields[v].strip().strip('"'), fields[g].strip().strip('"')
        for called in cell.split(";") if mark == "," else cell.replace(",", ";").split(";"):
            called = called.strip()
            rows.append((name, "" if called in NO_GENE else called, "", np.nan, False))
    table = pd.DataFrame(rows, columns=ROW)
    if met_by == "position" and len(table):
        table["variant"] = _places_of(path, table["variant"])
    return _annotation(table, met_by, build, [(path, "variants and genes")], [])


def keys(chromosome: np.ndarray, position: np.ndarray, one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Keys of variants by which files meet that write alleles in other order or insertions in another way, as text.

    What both alleles begin with, then what both end with, is taken off and the position moved; alleles are sorted. Without
    alleles ("" for both) the key is chromosome and position. XY is X.
    """
    where = plain(chromosome)
    at = np.array(position, dtype=np.int64)
    one, two = (np.array([str(a).upper() for a in side], dtype=object) for side in (one, two))
    bare = (one == "") & (two == "")
    longer = np.fromiter((len(a) != 1 or len(b) != 1 for a, b in zip(one, two, strict=True)), bool, len(one)) & ~bare
    for i in np.flatnonzero(longer):
        one[i], two[i], moved = _trimmed(one[i], two[i])
        at[i] += moved
    swap = one > two
    least, most = np.where(swap, two, one), np.where(swap, one, two)
    made = where + ":" + at.astype(str).astype(object)
    return np.where(bare, made, made + ":" + least + ":" + most)


def _trimmed(one: str, two: str) -> tuple[str, str, int]:
    start, most = 0, min(len(one), len(two))
    while start < most and one[start] == two[start]:
        start += 1
    end = 0
    while end < most - start and one[-1 - end] == two[-1 - end]:
        end += 1
    return one[start : len(one) - end], two[start : len(two) - end], start


def _places_of(path: Path | str, ids: pd.Series) -> np.ndarray:
    parts = ids.str.extract(PLACE_IN_ID)
    if (wrong := parts[0].isna()).any():
        raise GenotypeError(
            f"{wrong.sum():,} of {len(ids):,} rows of {Path(path).name} name no position: {culprits(ids[wrong].unique())}. "
            'met_by="position" needs ids such as chr16:6068679 or 16:6068679:C:A; otherwise meet variants by id.'
        )
    alleles = [parts[i].fillna("").str.replace("-", "").to_numpy() for i in (2, 3)]
    return keys(parts[0].to_numpy(), parts[1].to_numpy(), *alleles)


def _vep_place(location: str, allele: str) -> str:
    chromosome, _, ends = location.rpartition(":")
    start = ends.split("-", 1)[0]
    return f"{chromosome}:{int(start) - 1}" if allele == "-" and start.isdecimal() else f"{chromosome}:{start}"


def _annovar_genes(text: str) -> list[tuple[str, float]]:
    if text.isalnum() and text not in NO_GENE:
        return [(text, np.nan)]
    found = []
    for name, note in GENE_AND_NOTE.findall(text):
        gene = name.strip()
        distance = note.removeprefix("dist=")
        found.append(("" if gene in NO_GENE else gene, float(distance) if distance.isdecimal() else np.nan))
    return found or [("", np.nan)]


def _exonic_genes(text: str) -> list[tuple[str, float]]:
    genes = dict.fromkeys(part.split(":", 1)[0].strip() for part in text.split(",") if part.strip())
    return [(gene, np.nan) for gene in genes if gene not in NO_GENE | {"UNKNOWN"}] or [("", np.nan)]


def _kinds(path: Path | str, table: pd.DataFrame) -> str:
    counts = Counter(table["kind"])
    shown = ", ".join(f"{kind or 'none'} {n:,}" for kind, n in counts.most_common(8))
    more = ", ..." if len(counts) > 8 else ""
    return f"annotation: {Path(path).name}: {len(table):,} rows of a variant and a gene: {shown}{more}"


def _annotation(
    table: pd.DataFrame, met_by: Met, build: Build, files: Sequence[tuple[Path | str, str]], log: Sequence[str]
) -> Annotation:
    sources = tuple({"name": Path(path).name, "sha256": sha256(path), "role": role} for path, role in files)
    return Annotation(table, met_by, build, sources, tuple(log))

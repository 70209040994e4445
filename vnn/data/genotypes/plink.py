"""PLINK 1 filesets: .bed by memory map, .bim and .fam (cog-genomics.org/plink/1.9/formats)."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from vnn._atomic import replacing, sha256
from vnn._errors import AlignmentError, GenotypeError, culprits
from vnn.data.genotypes.genotypes import PEOPLE, Genotypes, Part
from vnn.data.genotypes.named import named_once

MAGIC = b"\x6c\x1b"
VARIANT_MAJOR = 1
BED_HEAD = MAGIC + bytes([VARIANT_MAJOR])
CHROMOSOMES = {"23": "X", "24": "Y", "25": "XY", "26": "MT", "M": "MT", "PAR1": "XY", "PAR2": "XY"}
SEX = {"1": "male", "2": "female"}
PHENOTYPE = "phenotype"


def read_plink(*prefixes: Path | str, build: Literal["", "GRCh37", "GRCh38"] = "", hashed: bool = True) -> Genotypes:
    """Genotypes of one PLINK fileset, or of several of the same people (one per chromosome).

    The .bed is mapped, never read whole. The counted allele is allele 1 of the .bim (A1, mostly the rarer one). People are
    called by their individual id (column 2), or by `family:individual` where the former is not unique in the file; variants by
    their id, or by `chromosome:position:other:counted` where it is `.`. Of several filesets people are matched by id. The
    phenotype of the .fam is kept as it stands in the column "phenotype" of `people`; `fam_phenotype` reads it.

    Parameters
    ----------
    prefixes
        "cohort" or "cohort.bed" for cohort.bed, cohort.bim and cohort.fam.
    build
        Genome build of the positions.
    hashed
        Whether the .bed files are hashed for provenance, which reads them once.

    Raises
    ------
    GenotypeError
        If a .bed is no variant-major .bed or its length does not fit .bim and .fam, or a line of these has too few fields.
    AlignmentError
        If ids are repeated, or filesets hold different people.
    """
    if not prefixes:
        raise ValueError("read_plink() needs at least one fileset.")
    parts: list[Part] = []
    tables: list[pd.DataFrame] = []
    log: list[str] = []
    sources: list[dict[str, str]] = []
    people: pd.DataFrame | None = None
    with ThreadPoolExecutor(1) as meanwhile:
        for prefix in prefixes:
            files = {role: _beside(prefix, role) for role in ("bed", "bim", "fam")}
            of_bed = meanwhile.submit(sha256, files["bed"]) if hashed else None
            own = read_fam(files["fam"])
            table, told = read_bim(files["bim"])
            log += told
            rows = mapped_bed(files["bed"], len(table), len(own))
            if people is None:
                people, columns = own, np.arange(len(own))
            else:
                columns = own.index.get_indexer(people.index)
                if (columns < 0).any() or len(own) != len(people):
                    lost = [*people.index[columns < 0], *own.index.difference(people.index)]
                    raise AlignmentError(
                        f"{files['fam'].name} and the filesets before it hold different people: {len(lost):,} are in one of them "
                        f"only: {culprits(lost)}. Keep the same people in all with plink --keep."
                    )
            parts.append(Part(rows, columns.astype(np.int64)))
            tables.append(table)
            hashes = {role: sha256(path) for role, path in files.items() if role != "bed"}
            hashes["bed"] = "" if of_bed is None else of_bed.result()
            sources += [{"name": path.name, "sha256": hashes[role], "role": role} for role, path in files.items()]
    assert people is not None
    variants = pd.concat(tables) if len(tables) > 1 else tables[0]
    named_once(variants.index, "variant ids")
    return Genotypes.of(parts, variants, people, build=build, sources=sources, log=log)


def write_plink(genotypes: Genotypes, prefix: Path | str) -> None:
    """Write a fileset: prefix.bed, prefix.bim and prefix.fam, the .bed a block at a time.

    Nothing half-written ever has the final name. The phenotype of the .fam is that of `people`, or -9 (missing) where there is
    none.
    """
    rows = (block for _, block in genotypes.packed())
    put_fileset(prefix, ".bed", BED_HEAD, rows, genotypes.people, lambda: genotypes.variants)


def put_fileset(
    prefix: Path | str,
    suffix: str,
    head: bytes,
    rows: Iterable[np.ndarray],
    people: pd.DataFrame,
    variants: Callable[[], pd.DataFrame],
) -> Path:
    """Write rows of variants as they come, then the names; what was there before stays until all is written.

    Parameters
    ----------
    prefix, suffix
        The rows stand in prefix + suffix, beside prefix.bim and prefix.fam; the prefix may come with the suffix.
    head
        What stands before the rows.
    rows
        Blocks of rows, (variants of the block, bytes or values of a variant).
    people
        As in `Genotypes`.
    variants
        Called when all rows are written; as in `Genotypes`.

    Returns
    -------
    The path of the rows.

    Raises
    ------
    GenotypeError
        If a name holds white space, which separates the fields of these files.
    """
    beside = str(prefix).removesuffix(suffix)
    final = Path(f"{beside}{suffix}")
    with replacing(final) as body, replacing(f"{beside}.bim") as below, replacing(f"{beside}.fam") as side:
        _put_fam(side, people)
        with body.open("wb") as file:
            file.write(head)
            for block in rows:
                file.write(np.ascontiguousarray(block).data)
        _put_bim(below, variants())
        final.unlink(missing_ok=True)  # a kill between the three names leaves no rows rather than those of other names
    return final


def _put_bim(path: Path, variants: pd.DataFrame) -> None:
    """Write the lines of a .bim."""
    for name, column in {"ids": variants.index, "alleles": [*variants["counted"], *variants["other"]]}.items():
        _one_word(name, column)
    bim = zip(
        variants["chromosome"],
        variants.index,
        variants["position"],
        variants["counted"],
        variants["other"],
        strict=True,
    )
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{c}\t{name}\t0\t{at}\t{one}\t{two}\n" for c, name, at, one, two in bim)


def _put_fam(path: Path, people: pd.DataFrame) -> None:
    sex = people["sex"].map({"male": "1", "female": "2"}).fillna("0")
    phenotype = people[PHENOTYPE] if PHENOTYPE in people else pd.Series("-9", index=people.index)
    individual = people["individual"] if "individual" in people else pd.Series(people.index, index=people.index)
    family = people["family"].where(people["family"] != "", "0")
    parents = [people[name].where(people[name] != "", "0") for name in ("father", "mother")]
    for name, column in {"families": family, "people": individual}.items():
        _one_word(name, column)
    fam = zip(family, individual, *parents, sex, phenotype, strict=True)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(" ".join(map(str, row)) + "\n" for row in fam)


def _one_word(what: str, names: Iterable[str]) -> None:
    if wrong := [name for name in names if len(str(name).split()) != 1]:
        raise GenotypeError(
            f"{len(wrong):,} {what} are empty or hold white space, which separates the fields of a fileset: {culprits(wrong)}. "
            "Rename them first."
        )


def read_fam(path: Path | str) -> pd.DataFrame:
    """The people of a .fam: index ids; family, individual, father, mother, sex, phenotype."""
    columns = ["family", "individual", "father", "mother", "sex", PHENOTYPE]
    table = _fields(Path(path), columns, "family, individual, father, mother, sex and phenotype")
    own = table["individual"]
    ids = own if own.is_unique else table["family"] + ":" + own
    index = pd.Index(ids, dtype=object, name="person")
    table.index = named_once(index, f"people of {Path(path).name} (family and individual id)")
    for name in ("family", "father", "mother"):
        table[name] = table[name].where(table[name] != "0", "")
    table["sex"] = table["sex"].map(SEX).fillna("")
    return table[[*PEOPLE, "individual", PHENOTYPE]]


def read_bim(path: Path | str) -> tuple[pd.DataFrame, list[str]]:
    """The variants of a .bim, and what was changed in their names."""
    path = Path(path)
    columns = ["chromosome", "id", "cm", "position", "counted", "other"]
    what = "chromosome, id, centimorgans, position, allele 1 and allele 2"
    few = dict.fromkeys(("chromosome", "cm", "counted", "other"), "category")  # values that are met again and again
    try:
        table = _fields(path, columns, what, {**few, "id": object, "position": np.int64})
    except ValueError:
        table = _fields(path, columns, what)
        wrong = [value for value in table["position"] if not value.lstrip("-").isdecimal()]
        raise GenotypeError(f"{path.name} has positions that are no whole numbers: {culprits(wrong)}.") from None
    log = []
    known, which = table["chromosome"].cat.categories, table["chromosome"].cat.codes
    names = chromosome_names(pd.Series(known, dtype=object))
    if changed := sorted(f"{a} -> {b}" for a, b in zip(known, names, strict=True) if a != b):
        log.append(f"read plink: chromosomes of {path.name} are called {culprits(changed, 30)}")
    table = table.assign(
        chromosome=names.to_numpy()[which], counted=table["counted"].astype(object), other=table["other"].astype(object)
    )
    named = table["chromosome"]
    nameless = table["id"] == "."
    ids = table["id"]
    if nameless.any():
        bare = table[nameless]
        made = named[nameless] + ":" + bare["position"].astype(str) + ":" + bare["other"] + ":" + bare["counted"]
        ids = ids.where(~nameless, made.reindex(table.index))
        log.append(
            f"read plink: {nameless.sum():,} variants of {path.name} have no id and are called like {made.iloc[0]!r}"
        )
    index = named_once(pd.Index(ids, dtype=object, name="variant"), f"variant ids of {path.name}")
    found = {"chromosome": named.to_numpy(), "position": table["position"].to_numpy(), "counted": table["counted"].to_numpy(),
             "other": table["other"].to_numpy()}  # fmt: skip
    return pd.DataFrame(found, index=index), log


def chromosome_names(names: pd.Series) -> pd.Series:
    """Names of chromosomes as this package has them: without "chr", X, Y, XY and MT for 23 to 26."""
    known = {str(name): str(name) for name in names.unique()}
    bare = {name: name.removeprefix("chr").removeprefix("Chr").removeprefix("CHR") for name in known}
    return names.map({name: CHROMOSOMES.get(short.upper(), short.upper()) for name, short in bare.items()})


def fam_phenotype(people: pd.DataFrame, coding: Literal["0/1", "1/2", "quantitative"] | None = None) -> pd.Series:
    """The phenotype of a .fam, people without one left out.

    PLINK reads 1 as control, 2 as case, 0 and -9 as missing; many files hold 0 for controls and 1 for cases, which PLINK
    would take for "missing" and "control". A column that can be read both ways is an error that shows both.

    Parameters
    ----------
    coding
        "1/2" (PLINK's), "0/1", or "quantitative", where -9 and NA are missing; found from the values where they leave no choice.

    Returns
    -------
    "control" and "case", or numbers, by person.
    """
    told = people[PHENOTYPE]
    values = set(told)
    if coding is None:
        known = values - {"-9", "NA", "nan"}
        if known <= {"0", "1", "2"} and "2" in known:
            coding = "1/2"
        elif known <= {"0", "1"}:
            shown = ", ".join(f"{value}: {n:,} people" for value, n in told.value_counts().items())
            raise GenotypeError(
                f"the phenotype of the .fam holds {shown}. By PLINK's coding (1 control, 2 case, 0 missing) these are "
                f"{(told == '1').sum():,} controls and {(told == '2').sum():,} cases; as 0 control and 1 case they are "
                f'{(told == "0").sum():,} controls and {(told == "1").sum():,} cases. Say which: coding="1/2" or coding="0/1".'
            )
        else:
            coding = "quantitative"
    missing = told.isin(["-9", "NA", "nan"] + (["0"] if coding == "1/2" else []))
    kept = told[~missing]
    if coding == "quantitative":
        try:
            return kept.astype(float).rename(PHENOTYPE)
        except ValueError:
            raise GenotypeError(
                f"the phenotype of the .fam is not numeric: {culprits(sorted(word for word in set(kept) if not _is_number(word)))}."
            ) from None
    words = {"1": "control", "2": "case"} if coding == "1/2" else {"0": "control", "1": "case"}
    if wrong := sorted(set(kept) - words.keys()):
        raise GenotypeError(f"the phenotype of the .fam is coded {coding} and holds {culprits(wrong)}.")
    return kept.map(words).rename(PHENOTYPE)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _beside(prefix: Path | str, suffix: str) -> Path:
    bare = re.sub(r"\.(bed|bim|fam)$", "", str(prefix))
    path = Path(f"{bare}.{suffix}")
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there; a fileset is a .bed, a .bim and a .fam of the same name.")
    return path


def mapped_bed(path: Path, n_variants: int, n_people: int) -> np.ndarray:
    """The packed rows of a .bed by memory map, its head and length checked."""
    n_bytes, size = -(-n_people // 4), path.stat().st_size
    with path.open("rb") as file:
        head = file.read(3)
    if head[:2] != MAGIC:
        raise GenotypeError(
            f"{path.name} begins with the bytes {head[:2].hex(' ')}; a .bed begins with {MAGIC.hex(' ')}."
        )
    if len(head) < 3 or head[2] != VARIANT_MAJOR:
        raise GenotypeError(
            f"{path.name} is a person-major .bed (third byte {head[2:3].hex() or 'missing'}); a variant-major one is needed: "
            "plink --bfile ... --make-bed writes it."
        )
    if size != 3 + n_variants * n_bytes:
        raise GenotypeError(
            f"{path.name} has {size:,} bytes; {n_variants:,} variants of the .bim and {n_people:,} people of the .fam need "
            f"{3 + n_variants * n_bytes:,}. The three files are not of one fileset, or the .bed is cut."
        )
    if not n_variants or not n_people:
        return np.zeros((n_variants, n_bytes), dtype=np.uint8)
    return np.memmap(path, dtype=np.uint8, mode="r", offset=3, shape=(n_variants, n_bytes))


def _fields(path: Path, names: Sequence[str], what: str, types: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """A table without header whose fields are separated by blanks or tabs; text unless `types` says otherwise."""
    dtype = dict(enumerate(object if types is None else types[name] for name in names))
    try:
        table = pd.read_csv(
            path,
            sep=r"\s+",
            header=None,
            dtype=dtype,
            keep_default_na=False,
            quoting=csv.QUOTE_NONE,
            encoding="utf-8-sig",
        )
    except pd.errors.EmptyDataError:
        return pd.DataFrame({name: pd.Series(dtype=dtype[i]) for i, name in enumerate(names)})
    except pd.errors.ParserError:
        table = pd.DataFrame()
    if table.shape[1] == len(names) and not table.iloc[:, -1].isna().any():
        return table.set_axis(list(names), axis=1)
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if (n := len(line.split())) not in (0, len(names)):
                raise GenotypeError(f"{path.name}, line {number:,}, has {n} fields; {len(names)} are needed: {what}.")
    raise GenotypeError(f"{path.name} is no table of {len(names)} columns: {what}.")

"""VCF and BCF, through cyvcf2 (samtools.github.io/hts-specs/VCFv4.3.pdf)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vnn._errors import GenotypeError, choose
from vnn.data.genotypes.calls import CODE_OF, THRESHOLD, UNCALLED
from vnn.data.genotypes.genotypes import COPIES, MISSING, Genotypes
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

FIELDS = ("GT", "DS", "GP")
HALF = ("missing", "reference", "haploid", "error")
GZIP = b"\x1f\x8b"
END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")  # the last block of every BGZF file
ABSENT, NO_SECOND = -1, -2  # cyvcf2's alleles of "." and of what a haploid call lacks
SLACK = 1e-3  # by which rounded probabilities may leave 0..1, and dosages 0..2


def read_vcf(
    *paths: Path | str,
    to: Path | str | None = None,
    field: Literal["GT", "DS", "GP"] = "GT",
    several: Literal["error", "split", "drop"] = "error",
    half_calls: Literal["missing", "reference", "haploid", "error"] = "missing",
    threshold: float = THRESHOLD,
    ids: Literal["file", "position"] = "file",
    build: Build = "",
    hashed: bool = True,
) -> Genotypes:
    """Genotypes of a VCF or BCF, or of several of the same people (one per chromosome).

    The counted allele is ALT. Phase is accepted and not kept. A haploid call (males on X and Y, MT) is coded as two copies or
    none, and counted by chromosome. Nothing is filtered; records whose FILTER is neither PASS nor `.` are counted.

    Parameters
    ----------
    paths
        .vcf, .vcf.gz, .vcf.bgz or .bcf.
    to
        Prefix of a PLINK fileset to write block by block and map; in memory unless given.
    field
        "GT": the calls. "DS" (dosage) and "GP" (probabilities) are hard-called; where they are missing the call is taken,
        as plink2 does.
    several
        What becomes of records with several ALT alleles: "error", "split" (each is counted against all others, and is called
        `id:allele`), or "drop".
    half_calls
        What `./1` is: "missing", "reference" (`0/1`), "haploid" (`1/1`), or an "error".
    threshold
        How far a dosage may be from the number of copies it is called; beyond, it is missing.
    ids
        "file", or "position" to call all variants `chromosome:position:other:counted`.
    build
        Genome build of the positions.
    hashed
        Whether the file is hashed for provenance, which reads it once.

    Raises
    ------
    ImportError
        If cyvcf2 is not installed.
    GenotypeError
        If a file is no VCF, is cut, lacks the field, has calls of more than two alleles per person, or has records with several
        ALT alleles and several="error".
    AlignmentError
        If ids are repeated, or files hold different people.
    """
    streams = [open_vcf(path, field=field, several=several, half_calls=half_calls, hashed=hashed) for path in paths]
    return packed(streams, to=to, threshold=threshold, ids=ids, build=build)


def open_vcf(
    path: Path | str,
    *,
    field: Literal["GT", "DS", "GP"] = "GT",
    several: Literal["error", "split", "drop"] = "error",
    half_calls: Literal["missing", "reference", "haploid", "error"] = "missing",
    hashed: bool = True,
) -> Stream:
    """A VCF or BCF as a stream; parameters as for `read_vcf`."""
    try:
        import cyvcf2
    except ImportError as error:
        raise ImportError(f"reading {path} needs cyvcf2: pip install 'vnn[geno]'") from error
    choose("field", field, FIELDS)
    choose("several", several, SEVERAL)
    choose("half_calls", half_calls, HALF)
    path = there(path)
    _ended(path)
    try:
        people = people_called(cyvcf2.VCF(str(path)).samples, f"samples of {path.name}")
    except OSError as error:
        raise GenotypeError(f"{path.name} is no VCF or BCF: its header cannot be read.") from error
    except Exception as error:
        if type(error) is not Exception:
            raise
        raise GenotypeError(f"{path.name} has a header that htslib cannot read: {error}.") from error
    if not len(people):
        raise GenotypeError(f"{path.name} has no samples: it lists sites only. A file with genotypes is needed.")
    tally: Counter[str] = Counter()

    def blocks() -> Iterator[Block]:
        tally.clear()
        read = _Records(path, len(people), field, half_calls, tally)
        size = max(CELLS // (2 * len(people)), 1)
        wrong: list[str] = []
        n = 0
        for one in _records(cyvcf2, path):
            n += 1
            tally["records whose FILTER is neither PASS nor '.', kept,"] += one.FILTER is not None
            found = alleles_to_count(one.ALT, several, tally)
            if len(found) > 1 and several == "error":
                wrong.append(_place(one))
            if found and not wrong:
                read.add(one, found)
                if len(read) >= size:
                    yield read.block()
        if wrong:
            raise refused(len(wrong), n, wrong, path.name)
        if len(read):
            yield read.block()

    return Stream("read vcf", path.name, people, blocks, tally, (record(path, "vcf", hashed),))


class _Records:
    """Records of a block, read one by one and turned into values together."""

    def __init__(self, path: Path, n_people: int, field: str, half_calls: str, tally: Counter[str]) -> None:
        self.path, self.n_people, self.field, self.half_calls, self.tally = path, n_people, field, half_calls, tally
        self.alleles: list[np.ndarray] = []
        self.dosages: list[np.ndarray] = []
        self.of: list[int] = []
        self.counted: list[int] = []
        self.rows: list[tuple[str, int, str, str, str]] = []

    def __len__(self) -> int:
        return len(self.of)

    def add(self, one: Any, found: list[int]) -> None:
        named = one.FORMAT
        there_is_gt = "GT" in named
        if not there_is_gt and (self.field == "GT" or self.field not in named):
            other = next((name for name in FIELDS[1:] if name in named), None)
            advice = f'give field="{other}"' if other else "a VCF with genotypes (GT, DS or GP) is needed"
            raise GenotypeError(
                f"{_place(one)} of {self.path.name} has no {self.field} (its FORMAT is {':'.join(named)}): {advice}."
            )
        if there_is_gt:
            calls = one.genotype.array()[:, :-1]
            if calls.shape[1] == 1:
                calls = np.concatenate([calls, np.full_like(calls, NO_SECOND)], axis=1)
            if calls.shape[1] > 2 and (calls[:, 2:] != NO_SECOND).any():
                raise GenotypeError(
                    f"{_place(one)} of {self.path.name} has calls of {calls.shape[1]} alleles per person; at most two are "
                    "understood. Leave such records out (bcftools view)."
                )
            if calls.max(initial=0) > len(one.ALT):
                raise GenotypeError(
                    f"{_place(one)} of {self.path.name} has a call of allele {calls.max()} and {len(one.ALT)} ALT alleles. "
                    "The file is damaged."
                )
            calls = calls[:, :2]
        else:
            calls = np.full((self.n_people, 2), ABSENT, dtype=np.int16)
        at = len(self.alleles)
        self.alleles.append(calls)
        values = one.format(self.field) if self.field != "GT" and self.field in named else None
        for k in found:
            self.of.append(at)
            self.counted.append(k)
            alternative = one.ALT[k - 1] if one.ALT else UNKNOWN
            name = split_name(one.ID or UNKNOWN, alternative, len(found))
            self.rows.append((one.CHROM, one.POS, name, alternative, one.REF))
            if self.field != "GT":
                self.dosages.append(self._dosage(one, values, k, calls[:, 1] == NO_SECOND))

    def _dosage(self, one: Any, values: np.ndarray | None, k: int, haploid: np.ndarray) -> np.ndarray:
        if values is None:
            return np.full(self.n_people, np.nan, dtype=np.float32)
        single = haploid & ~np.isnan(values[:, 0])
        if self.field == "DS":
            dosage = (
                np.where(single, 2 * values[:, k - 1], values[:, k - 1])
                if k <= values.shape[1]
                else values[:, 0] * np.nan
            )
        else:
            dosage = self._expected(one, values, k)
        self._possible(one, dosage, 2, "dosages are 0..2, of a haploid call 0..1")
        return np.clip(dosage, 0, 2)

    def _expected(self, one: Any, values: np.ndarray, k: int) -> np.ndarray:
        self._possible(one, values, 1, "probabilities, not Phred scores, are needed")
        n = len(one.ALT) + 1
        copies = np.array([(a == k) + (b == k) for b in range(n) for a in range(b + 1)], dtype=np.float32)
        dosage = np.full(self.n_people, np.nan, dtype=np.float32)
        whole = ~np.isnan(values).any(1)
        if values.shape[1] == len(copies):
            dosage[whole] = values[whole] @ copies
        single = ~np.isnan(values[:, :n]).any(1) & (~whole if values.shape[1] > n else whole)
        if values.shape[1] >= n:
            dosage[single] = 2 * values[single, k]
        return dosage

    def _possible(self, one: Any, values: np.ndarray, most: int, needed: str) -> None:
        if ((values < -SLACK) | (values > most + SLACK)).any():
            raise GenotypeError(
                f"{_place(one)} of {self.path.name} has {self.field} that give {np.nanmin(values):g} to "
                f"{np.nanmax(values):g}: {needed}."
            )

    def block(self) -> Block:
        """The variants so far, which are forgotten then."""
        table = table_of(*zip(*self.rows, strict=True))
        values = self._codes(np.stack(self.alleles))
        if self.dosages:
            dosages = np.stack(self.dosages)
            lacking = np.isnan(dosages) & (values != MISSING)
            self.tally[f"genotypes without {self.field}, taken from GT,"] += int(lacking.sum())
            values = np.where(lacking, COPIES.astype(np.float32)[values], dosages)
        self.alleles, self.dosages, self.of, self.counted, self.rows = [], [], [], [], []
        return Block(table, values)

    def _codes(self, calls: np.ndarray) -> np.ndarray:
        """PLINK's codes, uint8 (n variants, n people), of the alleles of records (n records, n people, 2)."""
        haploid = (calls[..., 1] == NO_SECOND) & (calls[..., 0] != ABSENT)
        half = (calls[..., 0] == ABSENT) != (calls[..., 1] == ABSENT)
        half &= calls[..., 1] != NO_SECOND
        if half.any():
            self.tally[f"half-calls such as ./1, read as {self.half_calls},"] += int(half.sum())
            if self.half_calls == "error":
                where = self.rows[self.of.index(int(np.argwhere(half)[0][0]))]
                raise GenotypeError(
                    f"{half.sum():,} half-calls such as ./1 are in a block of {self.path.name}, first at {where[0]}:{where[1]}: "
                    'give half_calls="missing", "reference" or "haploid".'
                )
        chromosomes = {at: row[0] for at, row in zip(self.of, self.rows, strict=True)}
        for at in np.flatnonzero(haploid.any(1)).tolist():
            what = f"haploid calls on chromosome {chromosomes[at]}, coded as two copies or none,"
            self.tally[what] += int(haploid[at].sum())
        same = calls[self.of] == np.array(self.counted, dtype=calls.dtype)[:, None, None]
        copies = same.sum(2)
        one = haploid | half if self.half_calls == "haploid" else haploid
        copies = np.where(one[self.of], 2 * copies, copies)
        first, second = calls[..., 0], calls[..., 1]
        half_lacks = (first == ABSENT) | (second == ABSENT)
        absent = half_lacks if self.half_calls == "missing" else (first < 0) & (second < 0)
        return CODE_OF[np.where(absent[self.of], UNCALLED, copies)]


def _records(cyvcf2: Any, path: Path) -> Iterator[Any]:
    """The records of a file; what htslib cannot read is an error with its place."""
    last = "the header"
    records = iter(cyvcf2.VCF(str(path)))
    while True:
        try:
            one = next(records)
        except StopIteration:
            return
        except Exception as error:
            raise GenotypeError(
                f"{path.name} is cut or damaged after {last}: htslib says {error}. Write it again, or look with bcftools view."
            ) from error
        last = _place(one)
        yield one


def _place(one: Any) -> str:
    return f"{one.CHROM}:{one.POS}" + (f" ({one.ID})" if one.ID else "")


def _ended(path: Path) -> None:
    """An error for a file that is cut where a reader would not notice."""
    with path.open("rb") as file:
        head = file.read(14)
        zipped = head[:2] == GZIP
        blocked = zipped and head[12:] == b"BC"
        if (zipped and not blocked) or head[:3] == b"BCF":
            return
        file.seek(-min(len(END) if blocked else 1, path.stat().st_size), 2)
        last = file.read()
    if blocked and last != END:
        raise GenotypeError(
            f"{path.name} lacks the block that ends every BGZF file: it is cut. Copy or write it again."
        )
    if not blocked and last != b"\n":
        raise GenotypeError(
            f"{path.name} ends within a line: it is cut. Copy or write it again; if it is whole, add the missing end of line."
        )

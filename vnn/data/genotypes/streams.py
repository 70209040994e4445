"""Streams: what a file of genotypes says, a block of variants at a time, and where it goes: packed rows or float16."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from vnn._atomic import sha256
from vnn._errors import AlignmentError, GenotypeError, choose, culprits
from vnn.data.genotypes.calls import THRESHOLD, explained, hard_called, packed_codes
from vnn.data.genotypes.dosages import SUFFIX, Dosages, mapped_dosages
from vnn.data.genotypes.genotypes import COPIES, MISSING, PEOPLE, VARIANTS, Genotypes, Part
from vnn.data.genotypes.plink import BED_HEAD, chromosome_names, mapped_bed, put_fileset
from vnn.data.samples import unique

Build = Literal["", "GRCh37", "GRCh38"]
CELLS = 1 << 22  # genotypes of a block, unless one variant has more
UNKNOWN = "."
PLACEHOLDERS = {"*", "<*>", "<NON_REF>", "<X>"}  # alleles that say "something else" and are no variant themselves
SEVERAL = ("error", "split", "drop")


@dataclass(frozen=True, eq=False)
class Block:
    """Some variants of a file, in its order.

    Parameters
    ----------
    variants
        Columns `chromosome`, `position`, `counted` and `other` as the file has them, and `id` ("." for none).
    values
        (n_variants, n_people): PLINK's codes as uint8, or copies of the counted allele as float32, NaN where missing.
    """

    variants: pd.DataFrame
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Stream:
    """A file of genotypes, opened.

    Parameters
    ----------
    step
        "read vcf": how its lines in the log begin.
    name
        The file.
    people
        As in `Genotypes`.
    blocks
        Gives the variants from the first on, each time it is called.
    tally
        What was met on the way and how often; complete when the blocks are read.
    sources
        As in `Genotypes`.
    """

    step: str
    name: str
    people: pd.DataFrame
    blocks: Callable[[], Iterator[Block]]
    tally: Counter[str] = field(default_factory=Counter)
    sources: tuple[dict[str, str], ...] = ()

    def lines(self) -> list[str]:
        """The tally in words."""
        return [f"{self.step}: {n:,} {what} in {self.name}" for what, n in self.tally.items() if n]


def packed(
    streams: Sequence[Stream],
    *,
    to: Path | str | None = None,
    threshold: float = THRESHOLD,
    ids: Literal["file", "position"] = "file",
    build: Build = "",
) -> Genotypes:
    """Genotypes of one file, or of several of the same people, hard-called where they are dosages.

    Parameters
    ----------
    to
        Prefix of a PLINK fileset to write and map, block by block; kept in memory unless given.
    threshold
        How far a dosage may be from the number of copies it is called.
    ids
        "file", or "position" to call all variants `chromosome:position:other:counted`.

    Raises
    ------
    AlignmentError
        If ids are repeated, or the files hold different people.
    GenotypeError
        If a file is not what its reader needs, or dosages lie outside 0..2.
    """
    names = _Names(choose("ids", ids, ("file", "position")))
    certain: dict[int, _Certainty] = {}
    people, orders = _same_people(streams)

    def rows() -> Iterator[np.ndarray]:
        for at, (stream, order) in enumerate(zip(streams, orders, strict=True)):
            for block in stream.blocks():
                names.add(block.variants, stream)
                values = block.values if order is None else block.values[:, order]
                if values.dtype != np.uint8:
                    codes = hard_called(values, threshold)
                    certain.setdefault(at, _Certainty()).add(values, codes)
                    values = codes
                yield packed_codes(values)

    n_bytes = -(-len(people) // 4)
    if to is None:
        data = np.concatenate([np.zeros((0, n_bytes), dtype=np.uint8), *rows()])
    else:
        bed = put_fileset(to, ".bed", BED_HEAD, rows(), people, names.table)
        data = mapped_bed(bed, len(names.table()), len(people))
    log = []
    for at, stream in enumerate(streams):
        log += [*stream.lines(), *(certain[at].lines(stream, threshold) if at in certain else [])]
    part = Part(data, np.arange(len(people)))
    sources = [record for stream in streams for record in stream.sources]
    return Genotypes.of([part], names.table(), people, build=build, sources=sources, log=[*log, *names.lines()])


def kept(
    streams: Sequence[Stream],
    *,
    to: Path | str | None = None,
    ids: Literal["file", "position"] = "file",
    build: Build = "",
) -> Dosages:
    """Dosages of one file, or of several of the same people, as float16; parameters as for `packed`.

    `to` is the prefix of the three files that `open_dosages` opens.
    """
    names = _Names(choose("ids", ids, ("file", "position")))
    people, orders = _same_people(streams)

    def rows() -> Iterator[np.ndarray]:
        for stream, order in zip(streams, orders, strict=True):
            for block in stream.blocks():
                names.add(block.variants, stream)
                values = block.values if order is None else block.values[:, order]
                yield _halved(COPIES[values] if values.dtype == np.uint8 else values, stream.name)

    if to is None:
        data = np.concatenate([np.zeros((0, len(people)), dtype="<f2"), *rows()])
    else:
        path = put_fileset(to, SUFFIX, b"", rows(), people, names.table)
        data = mapped_dosages(path, len(names.table()), len(people))
    log = [line for stream in streams for line in stream.lines()]
    sources = [record for stream in streams for record in stream.sources]
    return Dosages.of(data, names.table(), people, build=build, sources=sources, log=[*log, *names.lines()])


class _Certainty:
    """How many dosages were called, and how much of their variance the calls hold."""

    def __init__(self) -> None:
        self.n = self.uncertain = self.n_fractional = self.n_varying = self.n_lost = 0
        self.r2 = 0.0

    def add(self, dosages: np.ndarray, codes: np.ndarray) -> None:
        known = ~np.isnan(dosages)
        self.n += int(known.sum())
        self.uncertain += int((codes[known] == MISSING).sum())
        fractions = np.mod(dosages, 1) > 0
        self.n_fractional += int(fractions.sum())
        some = fractions.any(1)
        r2 = explained(dosages[some], codes[some])
        there = r2[~np.isnan(r2)]
        whole = [((codes[~some] == code).any(1)) for code in (0, 2, 3)]
        n_whole = int((np.sum(whole, axis=0) > 1).sum())  # calls of whole numbers are the dosages
        self.r2 += float(there.sum()) + n_whole
        self.n_varying += len(there) + n_whole
        self.n_lost += int((there == 0).sum())

    def lines(self, stream: Stream, threshold: float) -> list[str]:
        if not self.n_fractional:
            return []
        share = self.uncertain / max(self.n, 1)
        loss = 1 - self.r2 / max(self.n_varying, 1) if self.n_varying else 0.0
        return [
            f"{stream.step}: dosages of {stream.name} are hard-called within {threshold:g} of a whole number of copies: "
            f"{self.uncertain:,} of {self.n:,} ({share:.2%}) are further away and missing; mean r2 loss {loss:.4f} over the "
            f"{self.n_varying:,} variants whose dosages vary ({self.n_lost:,} of them have one call only and lose all)"
        ]


class _Names:
    """The variants so far, called by our names; a repeated id ends the reading where it is met."""

    def __init__(self, ids: str) -> None:
        self.by_position = ids == "position"
        self.tables: list[pd.DataFrame] = []
        self.seen: set[str] = set()
        self.renamed: dict[str, Stream] = {}
        self.nameless: Counter[Stream] = Counter()
        self.like: dict[Stream, str] = {}

    def add(self, found: pd.DataFrame, stream: Stream) -> None:
        chromosome = chromosome_names(found["chromosome"])
        changed = (chromosome != found["chromosome"]).to_numpy()
        pairs = set(zip(found["chromosome"][changed], chromosome[changed], strict=True))
        self.renamed |= {f"{a} -> {b}": stream for a, b in pairs}
        position = found["position"].astype(np.int64)
        made = chromosome + ":" + position.astype(str) + ":" + found["other"] + ":" + found["counted"]
        bare = (found["id"] == UNKNOWN).to_numpy() | self.by_position
        if bare.any():
            self.nameless[stream] += int(bare.sum())
            self.like.setdefault(stream, made[bare].iloc[0])
        index = pd.Index(found["id"].where(~bare, made), dtype=object, name="variant")
        repeated = [*index[index.duplicated()], *(name for name in index if name in self.seen)]
        if repeated:
            advice = (
                "These are records of the same position and alleles: keep one of each (bcftools norm -d exact)."
                if self.by_position
                else 'Give ids="position" to call variants by chromosome, position and alleles.'
            )
            raise AlignmentError(
                f"{len(repeated):,} variants of {stream.name} have the id of another: {culprits(repeated)}; ids must be "
                f"unique. {advice}"
            )
        self.seen.update(index)
        table = pd.DataFrame({"chromosome": chromosome, "position": position})
        table[["counted", "other"]] = found[["counted", "other"]]
        self.tables.append(table[VARIANTS].set_axis(index))

    def table(self) -> pd.DataFrame:
        if len(self.tables) != 1:
            empty = pd.DataFrame(columns=VARIANTS, index=pd.Index([], dtype=object, name="variant"))
            self.tables = [pd.concat(self.tables) if self.tables else empty.astype({"position": np.int64})]
        return self.tables[0]

    def lines(self) -> list[str]:
        told = []
        for stream in dict.fromkeys(self.renamed.values()):
            changed = sorted(pair for pair, of in self.renamed.items() if of is stream)
            told.append(f"{stream.step}: chromosomes of {stream.name} are called {culprits(changed, 30)}")
        why = "are called by position" if self.by_position else "have no id and are called"
        for stream, n in self.nameless.items():
            told.append(f"{stream.step}: {n:,} variants of {stream.name} {why} like {self.like[stream]!r}")
        return told


def table_of(
    chromosome: Iterable[str], position: Iterable[int], ids: Iterable[str], counted: Iterable[str], other: Iterable[str]
) -> pd.DataFrame:
    """The variants of a block."""
    columns = {"chromosome": chromosome, "position": position, "id": ids, "counted": counted, "other": other}
    return pd.DataFrame({name: pd.Series(list(held), dtype=object) for name, held in columns.items()})


def alleles_to_count(alternatives: Sequence[str], several: str, tally: Counter[str]) -> list[int]:
    """Which alleles of a record make a variant each, numbered as in the file (0 is REF); what is left out is counted.

    `*`, `<*>` and `<NON_REF>` stand for something else and make none. A record without an alternative allele makes one of the
    unknown allele ".", of which nobody has a copy. Raises nothing: a record that makes several under several="error" is the
    caller's to refuse, since only it can count them all.
    """
    if len(alternatives) == 1 and alternatives[0].isalpha():
        return [1]
    if not alternatives or list(alternatives) == [UNKNOWN]:
        tally["records without an alternative allele, kept as variants nobody has a copy of,"] += 1
        return [1]
    found = [k for k, allele in enumerate(alternatives, start=1) if allele not in PLACEHOLDERS]
    if len(found) < len(alternatives):
        tally["records with an allele *, <*> or <NON_REF>, which counts with the others only,"] += 1
    if not found:
        tally["records left out: no allele but REF, *, <*> and <NON_REF>"] += 1
    elif len(alternatives) > 1 and several == "drop":
        tally["records left out: several alternative alleles"] += 1
        return []
    elif len(found) > 1:
        tally["records with several alternative alleles, each counted against all others,"] += 1
    tally["variants with a symbolic allele such as <DEL> or a breakend"] += sum(
        any(sign in alternatives[k - 1] for sign in "<[]") for k in found
    )
    return found


def refused(n: int, of: int, names: Iterable[str], file: str) -> GenotypeError:
    """The error for records with several alternative alleles."""
    return GenotypeError(
        f"{n:,} of the {of:,} records of {file} have several alternative alleles: {culprits(names)}. A variant counts the copies "
        'of one: give several="split" to count each against all others, or several="drop" to leave these records out.'
    )


def split_name(name: str, allele: str, n: int) -> str:
    """The id of one of `n` variants of a record."""
    return name if n == 1 or name == UNKNOWN else f"{name}:{allele}"


def people_called(ids: Sequence[str], what: str) -> pd.DataFrame:
    """People of whom only ids are known."""
    index = pd.Index(unique([str(name) for name in ids], what), dtype=object, name="person")
    return pd.DataFrame("", index=index, columns=PEOPLE, dtype=object)


def record(path: Path, role: str, hashed: bool = True) -> dict[str, str]:
    """What `sources` keeps of a file."""
    return {"name": path.name, "sha256": sha256(path) if hashed else "", "role": role}


def there(path: Path | str, beside: str = "") -> Path:
    """The path, if there is a file that is not empty."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there{f'; {beside}' if beside else '.'}")
    if path.is_file() and not path.stat().st_size:
        raise GenotypeError(f"{path.name} is empty. Write it again.")
    return path


def _halved(values: np.ndarray, name: str) -> np.ndarray:
    beyond = np.abs(values) > np.finfo(np.float16).max
    if beyond.any():
        raise GenotypeError(
            f"{beyond.sum():,} values of {name} are beyond 65,504, which a float16 cannot hold. Scale them."
        )
    return values.astype("<f2")


def _same_people(streams: Sequence[Stream]) -> tuple[pd.DataFrame, list[np.ndarray | None]]:
    """The people of the first stream, and where they stand in each."""
    if not streams:
        raise ValueError("at least one file of genotypes is needed.")
    people = streams[0].people
    orders: list[np.ndarray | None] = [None]
    for stream in streams[1:]:
        order = stream.people.index.get_indexer(people.index)
        if (order < 0).any() or len(order) != len(stream.people):
            lost = [*people.index[order < 0], *stream.people.index.difference(people.index)]
            raise AlignmentError(
                f"{stream.name} and {streams[0].name} hold different people: {len(lost):,} are in one of them only: "
                f"{culprits(lost)}. Keep the same people in all files."
            )
        orders.append(None if (order == np.arange(len(order))).all() else order)
    return people, orders

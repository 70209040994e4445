"""The packed store: panels of 64 people on disk, from which networks learn without unpacking anything."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from vnn._atomic import alone, replacing, write_text
from vnn._errors import GenotypeError, culprits
from vnn.chance import generator
from vnn.data.genotypes.genotypes import Genotypes
from vnn.kernels.packed import BYTES, PANEL
from vnn.kernels.panels import code_counts, panels_of, person_counts, transposed
from vnn.kernels.people import mapped

FORMAT = "vnn panels 1"
ROWS = "people.bin"
PANELS, UNFINISHED, MANIFEST, PROGRESS = "panels.bin", "panels.part", "panels.json", "progress.json"
BLOCK = 1 << 27  # bytes of packed rows dealt at once
MARK_SECONDS = 5.0

Tell = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Store:
    """Panels of 64 people as they lie on disk.

    Parameters
    ----------
    folder
        Where they lie.
    codes
        uint8 (n_panels, n_variants, 16), a memory map; the layout of `vnn.kernels.Packed`.
    ids
        The people in the order of the panels; "" where the last panel of a part is not full.
    parts
        First panel of each part, and the number of panels at the end.
    identity
        Of everything that decides the content.
    repeats
        SHA-256 of how often each variant has its row; "" where each has one.
    """

    folder: Path
    codes: np.ndarray
    ids: tuple[str, ...]
    parts: tuple[int, ...]
    identity: str
    repeats: str = ""

    @property
    def file(self) -> Path:
        """Of the panels."""
        return self.folder / PANELS

    @property
    def panels(self) -> Tensor:
        """The codes as kernels take them, mapped from the file."""
        return mapped(self.file, self.codes.shape)

    def rows(self) -> tuple[Tensor, Path]:
        """A row of each place of the panels, uint8 (64 n_panels, n_variants / 4), and its file, written the first time."""
        file, size = self.folder / ROWS, -(-self.codes.shape[1] // 4)
        shape = (PANEL * self.n_panels, size)
        with alone(self.folder / ".lock", lambda: None):
            if not file.exists():
                with replacing(file) as part:
                    made = (
                        np.memmap(part, dtype=np.uint8, mode="w+", shape=shape)
                        if all(shape)
                        else np.zeros(shape, np.uint8)
                    )
                    for i, panel in enumerate(self.codes):
                        transposed(panel, PANEL, out=made[PANEL * i : PANEL * (i + 1)])
                    if isinstance(made, np.memmap):
                        made.flush()
                    else:
                        part.touch()
        return mapped(file, shape), file

    @property
    def n_panels(self) -> int:
        """Panels, full or not."""
        return len(self.codes)

    def repeated(self, repeats: np.ndarray) -> bool:
        """Whether each variant has its row so many times."""
        return _digest(repeats) == self.repeats and self.codes.shape[1] == repeats.sum()

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: at for at, name in enumerate(self.ids) if name}

    def index(self, ids: Iterable[str]) -> np.ndarray:
        """Where the people called `ids` stand: panel times 64, plus the place in it.

        Raises
        ------
        GenotypeError
            If a person is not in the store.
        """
        asked = list(ids)
        if absent := [name for name in asked if name not in self._places]:
            raise GenotypeError(f"the store {self.folder} lacks {len(absent):,} people: {culprits(absent)}.")
        return np.array([self._places[name] for name in asked], dtype=np.int64)


def write_store(
    genotypes: Genotypes,
    folder: Path | str,
    *,
    parts: Sequence[Sequence[str]] | None = None,
    repeats: np.ndarray | None = None,
    seed: int = 0,
    tell: Tell | None = None,
) -> Store:
    """Deal people into panels of 64 and write them, a block of variants at a time.

    The same size as the .bed, one pass over it, memory bounded by a block. A run that was killed goes on where it was;
    what is there already is opened. The name of the finished file appears when every genotype count per variant and per
    person equals that of the source.

    Parameters
    ----------
    genotypes
        All their variants, in their order.
    folder
        Holds `panels.bin` and `panels.json` in the end.
    parts
        People who share panels with each other only, such as the test parts of the folds, or those who train, validate and
        test: then no panel is read for people who have no say. All together unless given.
    repeats
        Rows of each variant, int64 (n_variants,), for codings with several columns of a variant: `Coding.repeats`. One unless
        given.
    seed
        Of the study; people are dealt at random within their part.
    tell
        Called with the variants done and all.

    Raises
    ------
    GenotypeError
        If the folder holds the panels of others, a person is in two parts, or the source changes while it is read.
    OSError
        If the disk has not room for the whole file, before anything is written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    order, starts = _dealt(genotypes, parts, seed)
    each = np.ones(genotypes.n_variants, dtype=np.int64) if repeats is None else np.asarray(repeats, dtype=np.int64)
    if len(each) != genotypes.n_variants or (each < 1).any():
        raise GenotypeError(
            f"`repeats` has {len(each):,} numbers from {each.min(initial=0):,} on for {genotypes.n_variants:,} variants; each "
            "variant needs one of 1 or more. Take Coding.repeats of a coding of these genotypes."
        )
    identity = _identity(genotypes, order, _digest(each))
    with alone(folder / ".lock", lambda: None):
        if not (folder / MANIFEST).exists():
            _write(genotypes, folder, order, starts, each, identity, seed, tell)
    return open_store(folder, genotypes, identity=identity)


def _write(
    genotypes: Genotypes,
    folder: Path,
    order: np.ndarray,
    starts: list[int],
    repeats: np.ndarray,
    identity: str,
    seed: int,
    tell: Tell | None,
) -> None:
    first = np.concatenate([[0], np.cumsum(repeats)])
    shape = (len(order) // PANEL, int(first[-1]), BYTES)
    done = _begun(folder, identity, shape)
    before = _stamps(genotypes)
    codes = mapped(folder / UNFINISHED, shape).numpy()
    size = max(BLOCK // max(-(-genotypes.n_people // 4) * int(repeats.max(initial=1)), 1), 1)
    room = np.empty(shape[0] * min(size * int(repeats.max(initial=1)), shape[1]) * BYTES, dtype=np.uint8)
    marked = time.monotonic()
    with (folder / UNFINISHED).open("r+b") as file, ThreadPoolExecutor(1) as meanwhile:
        synced = meanwhile.submit(
            os.fsync, file.fileno()
        )  # what is written goes to the disk while the next block is dealt
        for at, rows, columns in genotypes.runs(size):
            if at.stop <= done:
                continue
            own, held = slice(int(first[at.start]), int(first[at.stop])), repeated(rows, repeats[at])
            dealt = room[: shape[0] * len(held) * BYTES].reshape(shape[0], len(held), BYTES)
            _deal(held, columns, order, dealt)
            for i, panel in enumerate(dealt):
                file.seek((i * shape[1] + own.start) * BYTES)
                file.write(panel.data)
            file.flush()
            _compare(np.repeat(genotypes.variants.index[at], repeats[at]), held, columns, codes[:, own], order)
            done = at.stop
            if tell is not None:
                tell(done, genotypes.n_variants)
            synced.result()
            synced = meanwhile.submit(os.fsync, file.fileno())
            if time.monotonic() - marked > MARK_SECONDS:
                synced.result()
                write_text(folder / PROGRESS, json.dumps({"identity": identity, "variants": done}))
                marked = time.monotonic()
        if _stamps(genotypes) != before:
            (folder / UNFINISHED).unlink()
            raise GenotypeError(
                f"the genotype files changed while {folder} was written from them. Nothing was kept; run it again when they rest."
            )
        _compare_people(genotypes, codes, order, repeats)
        synced.result()
    ids = ["" if at < 0 else genotypes.people.index[at] for at in order]
    manifest = {
        "format": FORMAT, "identity": identity, "seed": seed, "sources": list(genotypes.sources), "ids": ids, "parts": starts,
        "n_variants": genotypes.n_variants, "n_rows": shape[1], "repeats": _digest(repeats),
    }  # fmt: skip
    os.replace(folder / UNFINISHED, folder / PANELS)
    write_text(folder / MANIFEST, json.dumps(manifest))
    (folder / PROGRESS).unlink(missing_ok=True)


def open_store(folder: Path | str, genotypes: Genotypes | None = None, *, identity: str | None = None) -> Store:
    """The panels in a folder.

    Parameters
    ----------
    genotypes
        Those the panels must have been dealt from: by hash of their files, people and variants.
    identity
        What the panels must be, where their people are dealt in a known way.

    Raises
    ------
    GenotypeError
        If the folder holds no finished panels, they are cut, or they are those of other genotypes.
    """
    folder = Path(folder)
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    except FileNotFoundError:
        raise GenotypeError(
            f"{folder} holds no {MANIFEST}: no panels were finished there. Write them with write_store."
        ) from None
    if manifest.get("format") != FORMAT:
        raise GenotypeError(f"{folder / MANIFEST} has format {manifest.get('format')!r}; this vnn reads {FORMAT!r}.")
    ids = tuple(manifest["ids"])
    if genotypes is not None:
        order = genotypes.people.index.get_indexer(list(ids))
        own = _identity(genotypes, order, manifest.get("repeats", "")) if identity is None else identity
        if own != manifest["identity"]:
            raise GenotypeError(
                f"{folder} holds panels of other genotypes, people or variants, or dealt in another way, than asked for. Name "
                "another folder, or remove this one to have them written anew."
            )
    shape = (len(ids) // PANEL, manifest.get("n_rows", manifest["n_variants"]), BYTES)
    file = folder / PANELS
    there = file.stat().st_size if file.exists() else 0
    if there != int(np.prod(shape)):
        raise GenotypeError(
            f"{file} has {there:,} bytes; {shape[0]:,} panels of {shape[1]:,} rows of variants need {int(np.prod(shape)):,}. "
            "Remove the folder to have them written anew."
        )
    codes = np.memmap(file, dtype=np.uint8, mode="r", shape=shape) if there else np.zeros(shape, dtype=np.uint8)
    return Store(folder, codes, ids, tuple(manifest["parts"]), manifest["identity"], manifest.get("repeats", ""))


def _dealt(genotypes: Genotypes, parts: Sequence[Sequence[str]] | None, seed: int) -> tuple[np.ndarray, list[int]]:
    """Who has each place of the panels, -1 where nobody has, and the first panel of each part."""
    groups = [genotypes.ids] if parts is None else parts
    seen: set[str] = set()
    places, starts = [], [0]
    for number, group in enumerate(groups):
        if twice := seen & {*group}:
            raise GenotypeError(f"{len(twice):,} people are in two parts: {culprits(sorted(twice))}. Name each once.")
        seen |= {*group}
        who = genotypes.index(sorted(group))
        who = who[generator(seed, "panels", number).permutation(len(who))]
        places.append(np.concatenate([who, np.full(-len(who) % PANEL, -1, dtype=np.int64)]))
        starts.append(starts[-1] + len(places[-1]) // PANEL)
    return np.concatenate(places), starts


def repeated(codes: np.ndarray, repeats: np.ndarray, axis: int = 0) -> np.ndarray:
    """The row of each variant so many times, behind each other; the codes themselves where that is once."""
    return codes if (repeats == 1).all() else np.repeat(codes, repeats, axis=axis)


def _digest(repeats: np.ndarray) -> str:
    return "" if (repeats == 1).all() else hashlib.sha256(repeats.astype("<i8").tobytes()).hexdigest()


def _identity(genotypes: Genotypes, order: np.ndarray, repeats: str) -> str:
    """SHA-256 over the files, the variants with their alleles and rows and the people in their places."""
    digest = hashlib.sha256(json.dumps([FORMAT, [source["sha256"] for source in genotypes.sources]]).encode())
    table = genotypes.variants
    for column in (table.index, table["counted"], table["other"]):
        digest.update("\n".join(column).encode() + b"\0")
    ids = genotypes.people.index
    digest.update("\n".join("" if at < 0 else ids[at] for at in order).encode())
    digest.update(repeats.encode())
    return digest.hexdigest()


def _begun(folder: Path, identity: str, shape: tuple[int, int, int]) -> int:
    """The variants that an earlier run has written; the file is made where there is none of the kind."""
    part, size = folder / UNFINISHED, int(np.prod(shape))
    try:
        progress = json.loads((folder / PROGRESS).read_text())
        if progress["identity"] == identity and part.stat().st_size == size:
            return int(progress["variants"])
    except (FileNotFoundError, ValueError, KeyError):
        pass
    part.unlink(missing_ok=True)
    (folder / PROGRESS).unlink(missing_ok=True)
    try:
        with part.open("wb") as file:
            if size:
                os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        part.unlink(missing_ok=True)
        error.add_note(
            f"{folder} needs {size:,} bytes for the panels. Make room or name another folder; nothing was written."
        )
        raise
    return 0


def _stamps(genotypes: Genotypes) -> list[tuple[str, int, int]]:
    files = [str(part.rows.filename) for part in genotypes.parts if isinstance(part.rows, np.memmap)]
    try:
        return [(name, os.stat(name).st_size, os.stat(name).st_mtime_ns) for name in files]
    except FileNotFoundError as error:
        error.add_note("The genotype files vanished while panels were written from them.")
        raise


def _deal(rows: np.ndarray, columns: np.ndarray, order: np.ndarray, out: np.ndarray) -> None:
    """Fill panels with the people of each place; a place without anybody gets the code for missing."""
    held = np.ascontiguousarray(rows)
    empty = order < 0
    panels_of(held, np.where(empty, columns[0], columns[order]), out=out)
    for panel in np.unique(np.flatnonzero(empty) // PANEL):
        n = int((~empty[panel * PANEL : (panel + 1) * PANEL]).sum())
        tail = out[panel]
        tail[:, n // 4 + (n % 4 > 0) :] = 0b01010101
        if n % 4:
            keep = (1 << 2 * (n % 4)) - 1
            tail[:, n // 4] = (tail[:, n // 4] & keep) | (0b01010101 & ~keep & 0xFF)


def _compare(ids: np.ndarray, rows: np.ndarray, columns: np.ndarray, panels: np.ndarray, order: np.ndarray) -> None:
    """Every variant must have the same genotypes as often as in the source."""
    there = np.zeros(4 * rows.shape[1], dtype=bool)
    there[columns[order[order >= 0]]] = True
    wanted = code_counts(rows, len(there), keep=there).numpy()
    found = code_counts(panels, len(order), keep=order >= 0).numpy()
    if (wrong := (wanted != found).any(1)).any():
        names = list(dict.fromkeys(ids[wrong]))
        raise GenotypeError(f"panels of {len(names):,} variants do not hold what the source holds: {culprits(names)}.")


def _compare_people(genotypes: Genotypes, codes: np.ndarray, order: np.ndarray, repeats: np.ndarray) -> None:
    """Every person must have the same genotypes as often as in the source."""
    wanted, found = np.zeros((genotypes.n_people, 4), dtype=np.int64), person_counts(codes, len(order)).numpy()
    for at, rows, columns in genotypes.runs():
        held = repeated(rows, repeats[at])
        wanted += person_counts(held, int(columns.max(initial=-1)) + 1).numpy()[columns]
    held = order >= 0
    if (wrong := (wanted[order[held]] != found[held]).any(1)).any():
        names = genotypes.people.index[order[held][wrong]]
        raise GenotypeError(f"panels of {wrong.sum():,} people do not hold what the source holds: {culprits(names)}.")

"""Downloads: one file from an address into a folder, whole, checked and once, with a record of what came."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, Literal
from urllib.error import HTTPError, URLError
from urllib.request import Request, build_opener

from vnn._atomic import alone, write_text
from vnn._atomic import sha256 as hash_of
from vnn._errors import OntologyError, culprits
from vnn.ontology.source import Source

PIECE = 1 << 16
LEAST = 100  # bytes a second; slower than this over the whole of `patience` is as good as cut
PASSING = {408, 425, 429, 500, 502, 503, 504}
PAUSES = (1.0, 3.0, 9.0)
DESK = "unchecked"
PREVIOUS = "previous"
ZIP = b"PK\x03\x04"

Tell = Callable[[str, int, int | None], None]


class UnreachableError(OntologyError):
    """An address from which nothing, or not all, could be had."""


class _CutError(Exception):
    """A connection that broke, stalled, or was refused for the moment."""


@dataclass(frozen=True)
class Origin:
    """Where a file came from and what came.

    Parameters
    ----------
    address
        What was asked; empty for a file that was put in place by hand.
    sha256, content_sha256
        Hash of the bytes on disk, and of the bytes after decompression.
    size
        Bytes on disk.
    retrieved
        Day and time (UTC) of the download, or of the first look at a file put in place by hand.
    last_modified, etag
        What the server said of its file, where it said it.
    archive_sha256
        Hash of the zip archive the file was taken from.
    """

    address: str
    sha256: str
    content_sha256: str
    size: int
    retrieved: str
    last_modified: str = ""
    etag: str = ""
    archive_sha256: str = ""

    def record(self) -> dict[str, str]:
        """What provenance keeps beside the hashes."""
        kept = ("address", "retrieved", "last_modified", "etag")
        return {name: value for name in kept if (value := getattr(self, name))}


@dataclass(frozen=True)
class Fetched:
    """A file that is in its place now.

    Parameters
    ----------
    path
        Where it lies.
    origin
        Where it came from.
    state
        "fetched"; "there" if it had been fetched before; "unchanged" if the server was asked again and has the
        same; "by hand" if somebody put it there.
    """

    path: Path
    origin: Origin
    state: Literal["fetched", "there", "unchanged", "by hand"]


def cache_folder() -> Path:
    """The folder for downloads: `VNN_CACHE`, or `vnn` in the user's folder for caches."""
    if named := os.environ.get("VNN_CACHE"):
        return Path(named).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "vnn"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "vnn" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vnn"


def silent(what: str, done: int, total: int | None) -> None:
    """Says nothing."""


def fetch(
    address: str,
    path: Path,
    *,
    role: str,
    sha256: str | None = None,
    refresh: bool = False,
    patience: float = 30.0,
    pauses: Sequence[float] = PAUSES,
    tell: Tell = silent,
) -> Fetched:
    """The file of `address` at `path`, fetched unless it is there already.

    What arrives lies in the folder `unchecked` until it is whole and checked; only then does it get its name. What
    came of a download that was cut stays there and is gone on with, unless the server has another file by now. Two
    processes that want the same file fetch it once. Proxies are those of the environment (HTTP_PROXY, HTTPS_PROXY,
    NO_PROXY). A zip archive is unpacked: the member called like `path`, or its only member.

    Parameters
    ----------
    address
        http or https.
    path
        Final name; a file of this name, or of the same name with or without .gz, that somebody put there is taken.
    role
        What the file is for, as in `Source.read`, which refuses error pages, Git-LFS pointers and damaged files.
    sha256
        Hash the file must have, before or after decompression.
    refresh
        Ask again for a file without a fixed hash. If the server has another one, the old file is kept in the folder
        `previous`, under the first characters of its hash.
    patience
        Seconds without an answer, or with next to nothing arriving, after which a connection counts as cut.
    pauses
        Seconds to wait before each new attempt in a row that brings nothing.
    tell
        Called with what happens, the bytes so far and, where known, the bytes in all.

    Raises
    ------
    OntologyError
        If what came cannot be what was asked for: refused by the server, another hash, not text. It is set aside in
        `unchecked` and never used.
    UnreachableError
        If the address cannot be reached, or the connection was cut too often; what came is kept.
    """
    desk = path.parent / DESK
    desk.mkdir(parents=True, exist_ok=True)
    with alone(
        desk / f"{path.name}.lock", lambda: tell(f"waiting for another process that fetches {path.name}", 0, None)
    ):
        held = _held(path, role, sha256)
        if held is not None and not (refresh and sha256 is None):
            return held
        if not address.startswith(("http://", "https://")):
            raise OntologyError(f"{path.name} is to come from {address!r}, which is no http or https address.")
        part, told = desk / f"{path.name}.part", desk / f"{path.name}.part.json"
        heard = _arrive(address, part, told, held, patience, pauses, tell)
        if heard is None:
            assert held is not None
            return Fetched(held.path, held.origin, "unchanged")
        told.unlink(missing_ok=True)
        found, archive = _unpacked(part, desk / path.name)
        source = _checked(found, role, sha256, f"from {address}")
        origin = Origin(
            address,
            source.sha256,
            source.content_sha256,
            found.stat().st_size,
            datetime.now(UTC).isoformat(timespec="seconds"),
            heard.get("Last-Modified", ""),
            heard.get("ETag", ""),
            archive,
        )
        if held is not None and held.origin.sha256 == origin.sha256:
            found.unlink()
            _write_down(held.path, origin)
            return Fetched(held.path, origin, "unchanged")
        if held is not None:
            kept = path.parent / PREVIOUS / held.origin.sha256[:12] / held.path.name
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(held.path, kept)
        with found.open("rb+") as file:
            os.fsync(file.fileno())
        _write_down(path, origin)
        os.replace(found, path)
        if held is not None and held.path != path:
            held.path.unlink()
        return Fetched(path, origin, "fetched")


def origin_of(path: Path, sha256: str) -> Origin | None:
    """Where the file of this hash came from, if that was written down beside it.

    Raises
    ------
    OntologyError
        If only other hashes were written down: the file was changed after it came.
    """
    written = _written_down(path)
    for origin in reversed(written):
        if origin.sha256 == sha256:
            return origin
    if written:
        raise OntologyError(
            f"{path} was changed after it came: its SHA-256 is {sha256}, it came on {written[-1].retrieved} with "
            f"{written[-1].sha256}. Remove it and fetch it again; to use it as it is, also remove {_record(path).name} beside it."
        )
    return None


def present(path: Path, *others: str) -> Path | None:
    """The file at `path`, or of the `others`' names beside it, plain or with .gz."""
    for name in (path.name, *others):
        plain = name.removesuffix(".gz")
        for candidate in (name, plain, f"{plain}.gz"):
            if (path.parent / candidate).is_file():
                return path.parent / candidate
    return None


def _held(path: Path, role: str, wanted: str | None) -> Fetched | None:
    """What lies at `path`, looked at; a file that cannot be used is set aside."""
    there = present(path)
    if there is None:
        return None
    origin = origin_of(there, hash_of(there))
    if origin is not None and (wanted is None or wanted in (origin.sha256, origin.content_sha256)):
        return Fetched(there, origin, "there")
    try:
        source = _checked(there, role, wanted, "by hand")
    except OntologyError:
        os.replace(there, there.parent / DESK / there.name)
        raise
    now = datetime.now(UTC).isoformat(timespec="seconds")
    origin = Origin("", source.sha256, source.content_sha256, there.stat().st_size, now)
    _write_down(there, origin)
    return Fetched(there, origin, "by hand")


def _checked(path: Path, role: str, wanted: str | None, giver: str) -> Source:
    """The file's text and hashes, if it is what it should be."""
    aside = f"It is set aside in the folder {DESK!r} and not used."
    try:
        source = Source.read(path, role)
    except OntologyError as error:
        error.add_note(f"it came {giver}. {aside}")
        raise
    if wanted is not None and wanted not in (source.sha256, source.content_sha256):
        raise OntologyError(
            f"{path.name}, which came {giver}, is another file than the recipe's: its SHA-256 is {source.sha256}, the recipe says "
            f"{wanted}. {aside} Fetch it again; if the hash stays, the release was changed or the recipe is wrong."
        )
    return source


def _unpacked(part: Path, path: Path) -> tuple[Path, str]:
    """What arrived, under its name, and the hash of its archive if it came in one."""
    with part.open("rb") as file:
        packed = file.read(len(ZIP)) == ZIP
    if not packed:
        os.replace(part, path)
        return path, ""
    try:
        with zipfile.ZipFile(part) as archive:
            members = [member for member in archive.namelist() if not member.endswith("/")]
            chosen = [member for member in members if Path(member).name == path.name] or members
            if len(chosen) != 1:
                raise OntologyError(
                    f"the archive with {path.name} has {len(members):,} members, {culprits(members)}; it needs one of that name, "
                    "or no other."
                )
            with archive.open(chosen[0]) as inside, path.open("wb") as file:
                shutil.copyfileobj(inside, file)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise OntologyError(f"{path.name} came in a damaged zip archive ({error}). Fetch it again.") from error
    archive_hash = hash_of(part)
    part.unlink()
    return path, archive_hash


def _arrive(
    address: str, part: Path, told: Path, held: Fetched | None, patience: float, pauses: Sequence[float], tell: Tell
) -> Mapping[str, str] | None:
    """Bring the whole file to `part`; what the server said of it, or None if it has the one that is held."""
    waits = iter(pauses)
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            return _attempt(address, part, told, held, patience, tell)
        except _CutError as cut:
            came = part.stat().st_size if part.exists() else 0
            if came > before:
                waits = iter(pauses)
            wait = next(waits, None)
            if wait is None:
                kept = f" {came:,} bytes are kept; the same command goes on from there." if came else ""
                raise UnreachableError(f"{address}: {cut}.{kept}") from cut
            tell(f"{part.name.removesuffix('.part')}: {cut}; again in {wait:g} s", came, None)
            time.sleep(wait)


def _attempt(
    address: str, part: Path, told: Path, held: Fetched | None, patience: float, tell: Tell
) -> Mapping[str, str] | None:
    name = part.name.removesuffix(".part")
    start, heard = _begun(address, part, told)
    if start and str(start) == heard.get("total"):
        return heard
    headers = {"User-Agent": "vnn", "Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": heard["validator"]}
    elif held is not None and held.origin.address == address:
        known = {"If-None-Match": held.origin.etag, "If-Modified-Since": held.origin.last_modified}
        headers |= {header: value for header, value in known.items() if value}
    try:
        response = build_opener().open(Request(address, headers=headers), timeout=patience)
    except HTTPError as error:
        error.close()
        if error.code == 304 and held is not None:
            return None
        if error.code == 416:
            part.unlink(missing_ok=True)
            raise _CutError("the server no longer has the file that was begun") from None
        if error.code in PASSING:
            raise _CutError(f"the server answered {error.code} {error.reason}") from None
        raise OntologyError(
            f"{address} answered {error.code} {error.reason}. Look in a browser where the file is now; a recipe of your own can "
            "name another address, or put the file in place by hand."
        ) from None
    except URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _CutError(f"no answer in {patience:g} s") from error
        raise UnreachableError(f"{address} cannot be reached: {error.reason}.") from error
    except TimeoutError:
        raise _CutError(f"no answer in {patience:g} s") from None
    except (OSError, HTTPException) as error:
        raise _CutError(f"the connection broke ({error or type(error).__name__})") from error
    with response:
        resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if response.status == 206 and not resumed:
            part.unlink(missing_ok=True)
            raise _CutError("the server sent another part of the file than was asked for")
        done = start if resumed else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length and length.isdecimal() else None
        try:
            with part.open("ab" if resumed else "wb") as file:
                if not resumed:
                    heard = _validators(address, response.headers, total)
                    write_text(told, json.dumps(heard))
                for piece in _pieces(response, patience):
                    file.write(piece)
                    done += len(piece)
                    tell(name, done, total)
        except OSError as error:
            error.add_note(f"writing {name}; what was written is kept. Make room; the same command goes on from there.")
            raise
        if total is not None and done < total:
            raise _CutError(f"the connection was cut after {done:,} of {total:,} bytes")
    return heard


def _pieces(response: HTTPResponse, patience: float) -> Iterator[bytes]:
    """What arrives, as it arrives; too little of it over a whole `patience` is a cut."""
    due, came = time.monotonic() + patience, 0
    while True:
        try:
            piece = response.read1(PIECE)
        except TimeoutError:
            raise _CutError(f"nothing came for {patience:g} s") from None
        except (OSError, HTTPException) as error:
            raise _CutError(f"the connection broke ({error or type(error).__name__})") from error
        if not piece:
            return
        yield piece
        came += len(piece)
        if time.monotonic() > due:
            if came < LEAST * patience:
                raise _CutError(f"only {came:,} bytes came in {patience:g} s")
            due, came = time.monotonic() + patience, 0


def _begun(address: str, part: Path, told: Path) -> tuple[int, dict[str, str]]:
    """How much of the file lies here from an earlier attempt, and what the server said of it then.

    Without a validator of the server nobody could tell that its file is still the same, so nothing is gone on with.
    """
    try:
        heard: dict[str, str] = json.loads(told.read_text())
        if heard["address"] == address and heard["validator"]:
            return part.stat().st_size, heard
    except (FileNotFoundError, json.JSONDecodeError, KeyError):
        pass
    return 0, {}


def _validators(address: str, headers: Any, total: int | None) -> dict[str, str]:
    etag, modified = headers.get("ETag", ""), headers.get("Last-Modified", "")
    strong = etag if not etag.startswith("W/") else ""
    return {
        "address": address,
        "ETag": etag,
        "Last-Modified": modified,
        "validator": strong or modified,
        "total": "" if total is None else str(total),
    }


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.origin.json")


def _written_down(path: Path) -> list[Origin]:
    try:
        return [Origin(**record) for record in json.loads(_record(path).read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []
    except (json.JSONDecodeError, TypeError) as error:
        raise OntologyError(f"{_record(path)} is no record of where a file came from ({error}); remove it.") from error


def _write_down(path: Path, origin: Origin) -> None:
    """Add `origin` to the record beside `path`, which keeps every file that ever had this name."""
    others = [known for known in _written_down(path) if known.sha256 != origin.sha256]
    write_text(_record(path), json.dumps([asdict(known) for known in (*others, origin)], indent=1) + "\n")

"""Source: one text file of knowledge, read whole, with its hash and the place of every line."""

from __future__ import annotations

import csv
import gzip
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from vnn._errors import OntologyError


@dataclass(frozen=True)
class Source:
    """The text of a file, plain or gzip, with LF or CRLF, with or without a byte order mark.

    Parameters
    ----------
    name
        Name of the file, without its folder.
    role
        What the file is for: "gmt", "relations", "names", "obo", "gaf", "edges".
    text
        Its content, with plain newlines.
    sha256
        Hash of the bytes on disk.
    content_sha256
        Hash of the bytes after decompression; the same as `sha256` for a plain file.
    """

    name: str
    role: str
    text: str = field(repr=False)
    sha256: str
    content_sha256: str

    @classmethod
    def read(cls, path: Path | str, role: str) -> Source:
        """Read `path`.

        Raises
        ------
        OntologyError
            If the file is empty, a truncated gzip, an archive, an HTML page, a Git-LFS pointer or not UTF-8 text.
        """
        path = Path(path)
        raw = path.read_bytes()
        content = raw
        if raw.startswith(b"\x1f\x8b"):
            try:
                content = gzip.decompress(raw)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise _unusable(path, role, f"is a truncated or damaged gzip file ({error})") from error
        if flaw := _flaw(content):
            raise _unusable(path, role, flaw)
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            raise _unusable(path, role, f"is not UTF-8 text (byte 0x{content[error.start]:02x})", line) from error
        return cls(
            path.name,
            role,
            text.replace("\r\n", "\n").replace("\r", "\n"),
            hashlib.sha256(raw).hexdigest(),
            hashlib.sha256(content).hexdigest(),
        )

    def lines(self) -> Iterator[tuple[int, str]]:
        """Number, from 1, and text of every line that is not blank."""
        for number, line in enumerate(self.text.split("\n"), start=1):
            if line and not line.isspace():
                yield number, line

    def rows(self, comments: str = "") -> Iterator[tuple[int, list[str]]]:
        """Number and fields of every line that is no comment, without the blanks around them.

        Fields are separated by tabs, by commas or by blanks, whichever of them, in this order, the first line has.

        Parameters
        ----------
        comments
            What comments begin with, each character on its own.
        """
        lines = ((number, line) for number, line in self.lines() if not comments or line[0] not in comments)
        first = next(lines, None)
        if first is None:
            return
        mark = next((mark for mark in "\t," if mark in first[1]), None)
        for number, line in chain([first], lines):
            quoted = mark is not None and '"' in line
            fields = next(csv.reader([line], delimiter=mark)) if mark and quoted else line.split(mark)
            yield number, [part.strip() for part in fields]

    def record(self) -> dict[str, str]:
        """What provenance keeps of the file."""
        record = {"name": self.name, "role": self.role, "sha256": self.sha256}
        return record if self.sha256 == self.content_sha256 else {**record, "content_sha256": self.content_sha256}

    def error(self, message: str, line: int | None = None) -> OntologyError:
        """An error with a note that names the file and the line."""
        return _noted(OntologyError(message), self.name, line)


def provenance(
    name: str,
    *files: Source,
    release: str = "",
    species: str = "",
    licence: str = "",
    citation: str = "",
) -> dict[str, Any]:
    """A record of where knowledge came from."""
    return {
        "source": name,
        "release": release,
        "species": species,
        "licence": licence,
        "citation": citation,
        "files": [file.record() for file in files],
    }


def _flaw(content: bytes) -> str:
    start = content[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not start:
        return "is empty"
    if start.startswith((b"<!doctype html", b"<html")):
        return "is an HTML page, most likely an error page saved under this name"
    if start.startswith(b"version https://git-lfs.github.com/spec/"):
        return "is a Git-LFS pointer, not the file it points to"
    if start.startswith(b"pk\x03\x04"):
        return "is a zip archive; unpack it first"
    if b"\x00" in content[:4096]:
        return "is a binary file"
    return ""


def _unusable(path: Path, role: str, flaw: str, line: int | None = None) -> OntologyError:
    error = OntologyError(f"{path} {flaw}; a text file with the {role} is needed. Download the file again.")
    return _noted(error, path.name, line)


def _noted(error: OntologyError, name: str, line: int | None) -> OntologyError:
    error.add_note(f"reading {name}" + (f", line {line:,}" if line else ""))
    return error

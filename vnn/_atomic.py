"""Files that are written whole or not at all."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


FORMULA = re.compile(r"\s*[=+\-@]|[\t\r]")
NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends without an error.

    A kill or a full disk leaves the old file as it was. The new content is on the disk before the
    name changes.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.chmod(0o666 & ~_umask())
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def alone(lock: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Held by one process at a time; a process that ends, however it ends, lets go."""
    import fcntl  # here, so that a system without it can do the rest

    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_text(path: Path | str, text: str) -> None:
    """Put `text` at `path`, whole or not at all."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_csv(path: Path | str, table: pd.DataFrame, *, index: bool = True) -> None:
    """Put a table at `path`, whole or not at all; gzipped, and the same bytes every time, if the name ends in .gz.

    Text that a spreadsheet would run as a formula gets an apostrophe before it.
    """
    text = harmless_table(table).to_csv(index=index).encode()
    with replacing(path) as part, part.open("wb") as file:
        if str(path).endswith(".gz"):
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
                packed.write(text)
        else:
            file.write(text)


def harmless(value: object) -> object:
    """Text a spreadsheet would run as a formula, with an apostrophe before it; numbers and other text as they are."""
    if not isinstance(value, str) or not FORMULA.match(value) or NUMBER.fullmatch(value):
        return value
    return f"'{value}"


def harmless_table(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose texts, names of rows and names of columns are harmless."""
    words = [name for name, kind in table.dtypes.items() if getattr(kind, "kind", "O") not in "biufcmM"]
    safe = table.assign(**{str(name): table[name].astype(object).map(harmless) for name in words})
    return safe.rename(index=harmless, columns=harmless)


def sha256(path: Path | str) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

"""Lines of text files of any size, plain or gzip, with their numbers."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from vnn._errors import GenotypeError


def numbered(path: Path | str) -> Iterator[tuple[int, str]]:
    """Number, from 1, and text of every line that is not blank, read one after the other.

    Raises
    ------
    GenotypeError
        If the file is a damaged gzip, is no UTF-8 text, or holds nothing.
    """
    path = Path(path)
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    number = 0
    any_line = False
    try:
        with gzip.open(path, "rt", encoding="utf-8-sig") if packed else path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if not line.isspace():
                    any_line = True
                    yield number, line.rstrip("\r\n")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise GenotypeError(
            f"{path.name} is a truncated or damaged gzip file ({error}); it ends after line {number:,}. Fetch it again."
        ) from error
    except UnicodeDecodeError as error:
        raise GenotypeError(f"{path.name} is no UTF-8 text, after line {number:,}: {error.reason}.") from error
    if not any_line:
        raise GenotypeError(f"{path.name} holds no line of text.")


def wrong_line(path: Path | str, number: int, message: str) -> GenotypeError:
    """An error that names the file and the line."""
    return GenotypeError(f"{Path(path).name}, line {number:,}: {message}")

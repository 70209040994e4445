"""Every way a file can be wrong says so, with the file's name and the line."""

from __future__ import annotations

import gzip
import hashlib

import pytest

from vnn._errors import OntologyError
from vnn.ontology.source import Source


@pytest.mark.parametrize(
    "write", [lambda b: b, gzip.compress, lambda b: b"\xef\xbb\xbf" + b, lambda b: b.replace(b"\n", b"\r\n")]
)
def test_plain_gzip_bom_and_crlf_give_the_same_lines(tmp_path, write):
    path = tmp_path / "file"
    path.write_bytes(write("a\tβ\n\n b\n".encode()))
    assert list(Source.read(path, "gmt").lines()) == [(1, "a\tβ"), (3, " b")]


def test_the_hash_is_of_the_bytes_and_of_the_content(tmp_path):
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(b"a\tb\n", mtime=0))
    record = Source.read(path, "gmt").record()
    assert record == {
        "name": "file.gz",
        "role": "gmt",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "content_sha256": hashlib.sha256(b"a\tb\n").hexdigest(),
    }


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (gzip.compress(b"TP53\n" * 1000, mtime=0)[:-20], "truncated or damaged gzip"),
        (b"\x1f\x8bnonsense", "truncated or damaged gzip"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "HTML page"),
        (b"\n  <html lang='en'>", "HTML page"),
        (gzip.compress(b"<html>", mtime=0), "HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "Git-LFS pointer"),
        (b"PK\x03\x04rest", "zip archive"),
        (b"a\x00b", "binary"),
        (b"", "empty"),
        (b" \n", "empty"),
    ],
)
def test_what_is_no_text_file_is_named(tmp_path, content, says):
    path = tmp_path / "wrong.gmt"
    path.write_bytes(content)
    with pytest.raises(OntologyError, match=says) as caught:
        Source.read(path, "gmt")
    assert caught.value.__notes__ == ["reading wrong.gmt"]


def test_bytes_that_are_not_utf8_are_located(tmp_path):
    path = tmp_path / "latin.gmt"
    path.write_bytes(b"a\tb\nna\xefve\tc\n")
    with pytest.raises(OntologyError, match="0xef") as caught:
        Source.read(path, "gmt")
    assert caught.value.__notes__ == ["reading latin.gmt, line 2"]


def test_a_missing_file_stays_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        Source.read(tmp_path / "none", "gmt")

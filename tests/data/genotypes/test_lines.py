"""Lines of text files with their numbers, plain and gzip."""

from __future__ import annotations

import bz2
import gzip

import pytest

from vnn._errors import GenotypeError
from vnn.data.genotypes.lines import numbered, wrong_line

TEXT = "\ufeffone\n\n  \ntwo\t\r\nthree"


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_blank_lines_count_and_are_left_out(tmp_path, pack):
    path = tmp_path / "text"
    path.write_bytes(pack(TEXT.encode()))
    assert list(numbered(path)) == [(1, "one"), (4, "two\t"), (5, "three")]


def test_files_that_cannot_be_read(tmp_path):
    path = tmp_path / "text.gz"
    path.write_bytes(gzip.compress(b"one\n" * 100_000)[:-30])
    with pytest.raises(GenotypeError, match=r"text\.gz is a truncated or damaged gzip file .* Fetch it again"):
        list(numbered(path))
    path.write_bytes(bz2.compress(b"one\n"))
    with pytest.raises(GenotypeError, match="is no UTF-8 text"):
        list(numbered(path))
    path.write_bytes(b"")
    with pytest.raises(GenotypeError, match="holds no line of text"):
        list(numbered(path))
    assert str(wrong_line(path, 1_234, "too short.")) == "text.gz, line 1,234: too short."

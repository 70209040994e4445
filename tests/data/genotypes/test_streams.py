"""Streams: blocks of variants become packed rows or float16, in memory or on the disk, whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vnn._errors import AlignmentError, GenotypeError
from vnn.data.genotypes import open_dosages, read_plink
from vnn.data.genotypes.streams import Block, Stream, kept, packed, people_called, table_of


def stream(values: np.ndarray, size: int = 4, name: str = "made", ids=None, people=None, start: int = 0) -> Stream:
    """Values (n_variants, n_people) in blocks of some variants."""
    n_variants, n_people = values.shape
    names = ids or [f"rs{start + i}" for i in range(n_variants)]

    def blocks():
        for at in range(0, n_variants, size):
            n = len(values[at : at + size])
            positions = list(range(start + at + 1, start + at + n + 1))
            yield Block(
                table_of(["chr1"] * n, positions, names[at : at + n], ["A"] * n, ["G"] * n), values[at : at + size]
            )

    return Stream("read made", name, people_called(people or [f"p{i}" for i in range(n_people)], "people"), blocks)


@pytest.fixture
def dosages():
    rng = np.random.default_rng(5)
    made = np.round(rng.uniform(0, 2, (11, 13)), 2).astype(np.float32)
    made[rng.random(made.shape) < 0.6] = 1
    made[rng.random(made.shape) < 0.1] = np.nan
    return made


def test_in_memory_and_on_the_disk_are_the_same(tmp_path, dosages):
    here = packed([stream(dosages)])
    there = packed([stream(dosages, 3)], to=tmp_path / "a" / "calls")
    assert isinstance(there.parts[0].rows, np.memmap)
    again = read_plink(tmp_path / "a" / "calls")
    for other in (there, again):
        np.testing.assert_array_equal(other.dosages(), here.dosages())
        pd.testing.assert_frame_equal(other.variants, here.variants)
        assert other.ids == here.ids
    assert here.log == there.log
    near = np.abs(dosages - np.rint(dosages)) <= 0.1 + 1e-5
    np.testing.assert_array_equal(here.dosages(), np.where(near, np.rint(dosages), np.nan))
    n = (~np.isnan(dosages)).sum()
    uncertain = n - near.sum()
    assert (
        f"within 0.1 of a whole number of copies: {uncertain} of {n} ({uncertain / n:.2%}) are further away"
        in here.log[0]
    )
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["calls.bed", "calls.bim", "calls.fam"]


def test_the_mean_loss_is_that_of_the_calls(dosages):
    dosages[3], dosages[4] = np.rint(dosages[3]), 1  # one of whole numbers, one that does not vary
    genotypes = packed([stream(dosages)])
    calls = genotypes.dosages("float64")
    lost = []
    for row, call in zip(dosages.astype(float), calls, strict=True):
        there = ~np.isnan(row)
        if row[there].std() == 0:
            continue
        filled = np.where(np.isnan(call), np.nanmean(call), call)[there]
        lost.append(1 - (np.corrcoef(row[there], filled)[0, 1] ** 2 if filled.std() else 0))
    assert f"mean r2 loss {np.mean(lost):.4f} over the 10 variants whose dosages vary" in genotypes.log[0]


def test_dosages_are_kept_as_they_are(tmp_path, dosages):
    here, there = kept([stream(dosages)]), kept([stream(dosages)], to=tmp_path / "imputed.chr1")
    assert isinstance(there.values, np.memmap)
    again = open_dosages(tmp_path / "imputed.chr1.f16")
    for found in (here, there, again):
        np.testing.assert_array_equal(found.dosages("float16"), dosages.astype(np.float16))
        pd.testing.assert_frame_equal(found.variants, here.variants)
    np.testing.assert_allclose(here.dosages(), dosages, atol=0.0005)
    with pytest.raises(GenotypeError, match="1 values of made are beyond 65,504"):
        kept([stream(np.array([[1, 70_000]], dtype=np.float32))])
    codes = np.array([[0, 1, 2, 3]], dtype=np.uint8)
    np.testing.assert_array_equal(kept([stream(codes)]).dosages(), [[2, np.nan, 1, 0]])


def test_files_of_the_same_people_follow_each_other(dosages):
    order = np.random.default_rng(1).permutation(13)
    second = stream(dosages[6:, order], name="two", people=[f"p{i}" for i in order], start=6)
    for gather in (packed, kept):
        whole, joint = gather([stream(dosages)]), gather([stream(dosages[:6], name="one"), second])
        np.testing.assert_array_equal(joint.dosages(), whole.dosages())
        pd.testing.assert_frame_equal(joint.variants, whole.variants)
    strangers = stream(dosages[6:], name="three", people=["q", *(f"p{i}" for i in range(1, 13))], start=6)
    with pytest.raises(
        AlignmentError, match="three and made hold different people: 2 are in one of them only: 'p0', 'q'"
    ):
        packed([stream(dosages[:6]), strangers])
    with pytest.raises(ValueError, match="at least one file"):
        packed([])


def test_names(dosages):
    found = packed([stream(dosages, ids=[".", "x", *"abcdefghi"])])
    assert list(found.variants.index[:3]) == ["1:1:G:A", "x", "a"]
    assert found.log[1:] == (
        "read made: chromosomes of made are called 'chr1 -> 1'",
        "read made: 1 variants of made have no id and are called like '1:1:G:A'",
    )
    by_place = packed([stream(dosages, ids=["x"] * 11)], ids="position")
    assert list(by_place.variants.index) == [f"1:{i}:G:A" for i in range(1, 12)]
    for ids in (list("aabcdefghij"), list("abcdefghija")):  # within a block, and blocks apart
        with pytest.raises(AlignmentError, match=r"1 variants of made have the id of another: 'a'.*ids=\"position\""):
            packed([stream(dosages, ids=ids)])
    with pytest.raises(AlignmentError, match="same position and alleles"):
        packed([stream(dosages[:2]), stream(dosages[:1], name="again")], ids="position")


def test_nothing_at_all(tmp_path):
    for found in (packed([stream(np.zeros((0, 3), np.uint8))]), kept([stream(np.zeros((0, 3), np.float32))])):
        assert (found.n_variants, found.n_people) == (0, 3)
        assert found.dosages().shape == (0, 3)


def test_an_error_on_the_way_leaves_what_was_there(tmp_path, dosages):
    prefix = tmp_path / "calls"
    packed([stream(dosages)], to=prefix)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    dosages[10, 0] = 7
    with pytest.raises(GenotypeError, match="1 dosages lie outside"):
        packed([stream(dosages)], to=prefix)
    with pytest.raises(GenotypeError, match=r"2 people are empty or hold white space.*'a b'"):
        packed([stream(dosages[:3, :3], people=["a b", "c d", "e"])], to=prefix)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_end_between_the_names_leaves_no_rows_of_other_names(tmp_path, dosages, monkeypatch):
    prefix = tmp_path / "calls"
    packed([stream(dosages)], to=prefix)
    put, calls = os.replace, []

    def once(source, target):
        calls.append(target)
        if len(calls) > 1:
            raise OSError("no space left")
        put(source, target)

    monkeypatch.setattr("vnn._atomic.os.replace", once)
    with pytest.raises(OSError, match="no space left"):
        packed([stream(dosages[:5, :5])], to=prefix)
    with pytest.raises(FileNotFoundError, match=r"calls\.bed is not there"):
        read_plink(prefix)


KILLED = """
import os, sys
import numpy as np
from vnn.data.genotypes.streams import Block, Stream, packed, people_called, table_of
def blocks():
    yield Block(table_of(["1"], [1], ["a"], ["A"], ["G"]), np.zeros((1, 8), np.float32))
    os.kill(os.getpid(), 9)
packed([Stream("read made", "made", people_called(list("abcdefgh"), "people"), blocks)], to=sys.argv[1])
"""


def test_a_kill_leaves_nothing_under_the_final_names(tmp_path):
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "x")], cwd=root, check=False)
    assert done.returncode == -9
    assert not [path.name for path in tmp_path.iterdir() if not path.name.endswith(".part")]

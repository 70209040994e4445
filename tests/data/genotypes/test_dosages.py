"""Dosages: names, parts and joined tables as genotypes have them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vnn._errors import AlignmentError, GenotypeError
from vnn.data.genotypes import Dosages, open_dosages
from vnn.data.genotypes.streams import people_called


@pytest.fixture
def dosages():
    values = np.random.default_rng(0).uniform(0, 2, (8, 6)).astype(np.float16)
    index = pd.Index([f"v{i}" for i in range(8)], dtype=object)
    variants = pd.DataFrame({"chromosome": "1", "position": range(8), "counted": "A", "other": "G"}, index=index)
    return Dosages.of(values, variants, people_called(list("abcdef"), "people"), build="GRCh38")


def test_any_part(dosages):
    part = dosages.select([f"v{i}" for i in (5, 6, 7, 1)], ["f", "a", "c"])
    wanted = dosages.values[np.ix_([5, 6, 7, 1], [5, 0, 2])]
    np.testing.assert_array_equal(part.dosages("float16"), wanted)
    again = part.select(["v1", "v7"], ["c", "f"])
    np.testing.assert_array_equal(again.dosages("float16"), wanted[np.ix_([3, 2], [2, 0])])
    for size in (1, 3):
        np.testing.assert_array_equal(np.concatenate([block for _, block in part.blocks(size)]), wanted)
    assert (part.n_variants, part.n_people, part.ids) == (4, 3, ("f", "a", "c"))
    assert repr(dosages) == "Dosages(8 variants in 6 people, GRCh38)"
    assert np.shares_memory(next(dosages.blocks())[1], dosages.values)
    with pytest.raises(AlignmentError, match="lack 1 of the 2 variants asked for: 'v9'"):
        dosages.select(["v1", "v9"])


def test_tables_are_joined_by_id(dosages):
    traits = pd.DataFrame({"bmi": [3.0, 1.0]}, index=["c", "b"])
    with pytest.raises(AlignmentError, match="'a', 'd'"):
        dosages.joined(targets=traits)
    found = dosages.joined(targets=traits, unmatched="drop")
    assert found.targets["bmi"].to_dict() == {"b": 1.0, "c": 3.0}
    np.testing.assert_array_equal(found.dosages("float16"), dosages.values[:, [1, 2]])
    assert len(found.told("more").log) == 2


def test_files_that_do_not_fit(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"x.f16 is not there; write it with `read_dosages"):
        open_dosages(tmp_path / "x")
    (tmp_path / "x.f16").write_bytes(bytes(11))
    (tmp_path / "x.bim").write_text("1 a 0 1 A G\n1 b 0 2 A G\n")
    (tmp_path / "x.fam").write_text("0 p 0 0 0 -9\n0 q 0 0 0 -9\n0 r 0 0 0 -9\n")
    with pytest.raises(GenotypeError, match=r"has 11 bytes; 2 variants of the .bim and 3 people of the .fam need 12"):
        open_dosages(tmp_path / "x")
    (tmp_path / "x.f16").write_bytes(bytes(12))
    np.testing.assert_array_equal(open_dosages(tmp_path / "x").dosages(), np.zeros((2, 3)))

"""Orientation: the same cells counting other alleles, by a rule for every pair of names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vnn._errors import AlignmentError, GenotypeError
from vnn.data.genotypes import Dosages, Genotypes, oriented, read_plink
from vnn.data.genotypes.calls import CODE_OF, packed_codes
from vnn.data.genotypes.genotypes import Part
from vnn.data.genotypes.streams import people_called


def made(copies: np.ndarray, pairs: list[str], ids: list[str] | None = None) -> Genotypes:
    """Genotypes of copies (n_variants, n_people), NaN for missing; pairs like "A/G", the counted allele first."""
    n_variants, n_people = copies.shape
    rows = packed_codes(CODE_OF[np.where(np.isnan(copies), 3, copies).astype(int)])
    index = pd.Index(ids or [f"v{i}" for i in range(n_variants)], dtype=object, name="variant")
    variants = pd.DataFrame({"chromosome": "1", "position": np.arange(n_variants) + 1}, index=index)
    variants[["counted", "other"]] = [pair.split("/") for pair in pairs]
    people = people_called([f"p{i}" for i in range(n_people)], "people")
    return Genotypes.of([Part(rows, np.arange(n_people))], variants, people)


def as_dosages(genotypes: Genotypes) -> Dosages:
    return Dosages.of(genotypes.dosages("float16"), genotypes.variants, genotypes.people)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 30), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_any_cells(tmp_path, n_variants, n_people, seed):
    rng = np.random.default_rng(seed)
    copies = rng.choice([0, 1, 2, np.nan], (n_variants, n_people))
    genotypes = made(copies, ["A/G"] * n_variants)
    genotypes = genotypes.select(ids=[f"p{i}" for i in rng.permutation(n_people)[: rng.integers(1, n_people + 1)]])
    swap = rng.random(n_variants) < 0.5
    asked = pd.Series(np.where(swap, "G", "A"), genotypes.variants.index).sample(frac=1, random_state=seed % 1000)
    wanted = np.where(swap[:, None], 2 - genotypes.dosages(), genotypes.dosages())
    for found in (
        oriented(genotypes, asked),
        oriented(genotypes, asked, to=tmp_path / "turned"),
        oriented(as_dosages(genotypes), asked),
        oriented(as_dosages(genotypes), asked, to=tmp_path / "kept"),
    ):
        np.testing.assert_array_equal(found.dosages(), wanted)
        assert list(found.variants["counted"]) == list(asked[found.variants.index])
        assert list(found.variants["other"]) == ["A" if s else "G" for s in swap]
        assert found.ids == genotypes.ids
    turned = read_plink(tmp_path / "turned")
    np.testing.assert_array_equal(turned.dosages(), wanted)
    spare = turned.parts[0].rows[:, -1] >> 2 * ((turned.n_people - 1) % 4 + 1) if turned.n_people % 4 else 0
    assert not np.any(spare)
    back = oriented(oriented(genotypes, asked), genotypes)
    np.testing.assert_array_equal(back.dosages(), genotypes.dosages())
    pd.testing.assert_frame_equal(back.variants, genotypes.variants)


COPIES = np.array([[0, 1, 2, np.nan, 2]])
TURNED = 2 - COPIES

PAIRS = [
    # ours, theirs, strand, swapped, counted and other then
    ("A/G", "A/G", "same", False, "A/G"),
    ("A/G", "G/A", "same", True, "G/A"),
    ("a/g", "G/A", "same", True, "G/A"),
    ("A/G", "C/T", "either", True, "C/T"),
    ("A/G", "T/C", "either", False, "T/C"),
    ("AC/A", "A/AC", "same", True, "A/AC"),
    ("AC/A", "TG/T", "either", None, ""),  # only single bases have another strand
    ("A/T", "T/A", "same", True, "T/A"),
    ("A/T", "T/A", "either", True, "T/A"),  # taken as named, not turned
    ("0/G", "A/G", "same", False, "A/G"),
    ("0/G", "G/A", "same", True, "G/A"),
    ("./C", "A/G", "either", False, "A/G"),
    ("A/G", "./G", "same", False, "A/G"),
    ("A/G", "./A", "same", True, "G/A"),
    ("A/G", "A/C", "same", None, ""),
    ("A/G", "T/C", "same", None, ""),
    ("A/G", "C/A", "either", None, ""),
    ("./.", "A/G", "same", None, ""),
]


@pytest.mark.parametrize(("ours", "theirs", "strand", "swap", "then"), PAIRS)
def test_pairs(ours, theirs, strand, swap, then):
    genotypes, others = made(COPIES, [ours]), made(COPIES, [theirs])
    if swap is None:
        a, b = ours.split("/")
        with pytest.raises(
            GenotypeError, match=f"the alleles of 1 of the 1 variants do not fit: 'v0 has {a} and {b}, asked"
        ):
            oriented(genotypes, others, strand=strand)
        return
    found = oriented(genotypes, others, strand=strand)
    np.testing.assert_array_equal(found.dosages(), TURNED if swap else COPIES)
    assert "/".join(found.variants.loc["v0", ["counted", "other"]]) == then


def test_one_allele_asked_for():
    genotypes = made(np.repeat(COPIES, 4, 0), ["A/G", "A/G", "0/G", "C/G"])
    asked = pd.Series({"v0": "A", "v1": "G", "v2": "A", "v3": "G", "elsewhere": "T"})
    found = oriented(genotypes, asked)
    np.testing.assert_array_equal(found.dosages(), np.concatenate([COPIES, TURNED, COPIES, TURNED]))
    assert (found.variants["counted"] + "/" + found.variants["other"]).tolist() == ["A/G", "G/A", "A/G", "G/C"]
    assert found.log == (
        "orient: 2 of 4 variants counted the other allele and were swapped",
        "orient: 1 of 4 variants had an allele without a name, which is taken for the one asked for",
        "orient: 1 of 4 variants are A/T or C/G, the same on both strands: taken as named",
    )
    fewer = oriented(genotypes, asked, ambiguous="drop")
    assert list(fewer.variants.index) == ["v0", "v1", "v2"]
    np.testing.assert_array_equal(fewer.dosages(), np.concatenate([COPIES, TURNED, COPIES]))
    assert fewer.log[-1].endswith("dropped")


def test_nothing_to_swap_copies_nothing():
    genotypes = made(COPIES, ["A/G"])
    assert oriented(genotypes, genotypes).parts is genotypes.parts


def test_errors():
    genotypes = made(np.repeat(COPIES, 3, 0), ["A/G"] * 3)
    with pytest.raises(AlignmentError, match="`counted` lacks 2 of the 3 variants: 'v1', 'v2'"):
        oriented(genotypes, pd.Series({"v0": "A"}))
    with pytest.raises(AlignmentError, match="names variants twice: 'v0'"):
        oriented(genotypes, pd.Series(["A", "A", "A", "A"], ["v0", "v0", "v1", "v2"]))
    with pytest.raises(
        GenotypeError, match=r"2 of the 3 variants do not fit: 'v1 has A and G, asked for is T'.*strand=\"either\""
    ):
        oriented(genotypes, pd.Series({"v0": "A", "v1": "T", "v2": "C"}))
    with pytest.raises(ValueError, match="strand is 'both'"):
        oriented(genotypes, genotypes, strand="both")


@pytest.mark.data
@pytest.mark.parametrize("cells", [None, 3_000])
def test_formats_agree(real, tmp_path, monkeypatch, cells):
    from vnn.data.genotypes import read_genotypes

    pytest.importorskip("pgenlib"), pytest.importorskip("cbgen")
    if cells:  # blocks of a few variants
        for module in ("pgen", "bgen"):
            monkeypatch.setattr(f"vnn.data.genotypes.{module}.CELLS", cells)
    prefix: Path = real("genotype/regenie/example.bed").with_suffix("")
    bed, pgen, bgen = (read_genotypes(f"{prefix}.{kind}") for kind in ("bed", "pgen", "bgen"))
    assert list(bgen.variants["counted"]) == list(bed.variants["other"])
    for other in (
        oriented(pgen, bed),
        oriented(bgen, bed),
        oriented(bgen, pgen.variants["counted"], to=tmp_path / "x"),
    ):
        np.testing.assert_array_equal(other.dosages(), bed.dosages())

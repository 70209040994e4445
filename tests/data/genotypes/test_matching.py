"""Matching: the same variants by other names, alleles, strands and orders are the same inputs, and what is lost is counted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vnn._errors import AlignmentError, GenotypeError
from vnn.data.genotypes import Genotypes, Part, fit_coding
from vnn.data.genotypes.matching import match_variants, matched

OTHER = {"A": "T", "C": "G", "G": "C", "T": "A", ".": "."}


def table(rows: list[tuple[str, str, int, str, str]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["id", "chromosome", "position", "counted", "other"])
    return frame.set_index("id")


def genotypes(dosages: np.ndarray, variants: pd.DataFrame, build: str = "") -> Genotypes:
    """Packed by hand: two bits a genotype, two copies 00, missing 01, one 10, none 11."""
    n_variants, n_people = dosages.shape
    codes = np.select([np.isnan(dosages), dosages == 2, dosages == 1], [1, 0, 2], 3).astype(np.uint8)
    padded = np.zeros((n_variants, -(-n_people // 4) * 4), dtype=np.uint8)
    padded[:, :n_people] = codes
    rows = (padded.reshape(n_variants, -1, 4) << np.array([0, 2, 4, 6], dtype=np.uint8)).sum(2).astype(np.uint8)
    people = pd.DataFrame(
        {"family": "", "father": "", "mother": "", "sex": ""}, index=[f"p{i}" for i in range(n_people)]
    )
    return Genotypes.of([Part(rows, np.arange(n_people))], variants, people, build=build)  # type: ignore[arg-type]


WANTED = table(
    [("a", "1", 10, "A", "G"), ("b", "1", 20, "C", "T"), ("c", "X", 30, "AT", "A"), ("d", "2", 40, "A", "T")]
)


@pytest.mark.parametrize(
    ("here", "expected"),
    [
        (("x", "chr1", 10, "A", "G"), "same"),
        (("x", "01", 10, "A", "G"), "absent"),
        (("x", "1", 10, "G", "A"), "swapped"),
        (("x", "1", 10, "g", "a"), "swapped"),
        (("x", "1", 10, "T", "C"), "other strand"),
        (("x", "1", 10, "C", "T"), "other strand, swapped"),
        (("x", "1", 10, "0", "G"), "same"),
        (("x", "1", 10, ".", "A"), "swapped"),
        (("x", "1", 10, "0", "C"), "other strand"),
        (("x", "1", 10, "A", "C"), "other alleles"),
        (("x", "1", 10, "A", "T"), "other alleles"),
        (("x", "1", 10, ".", "."), "other alleles"),
        (("x", "1", 11, "A", "G"), "absent"),
        (("x", "2", 10, "A", "G"), "absent"),
    ],
)
def test_one_variant(here, expected):
    how, at = match_variants(WANTED.iloc[:1], table([here]))
    assert how.tolist() == [expected]
    assert at.tolist() == [-1 if expected in ("absent", "other alleles") else 0]


def test_names_of_chromosomes_insertions_and_the_same_pair_on_both_strands():
    here = table([("1", "23", 30, "A", "AT"), ("2", "chr2", 40, "T", "A"), ("3", "1", 20, "A", "G")])
    how, at = match_variants(WANTED, here)
    assert how.tolist() == ["absent", "other strand, swapped", "swapped", "swapped"]
    assert at.tolist() == [-1, 2, 0, 1]


def test_of_several_at_a_place_the_one_that_fits_best():
    here = table(
        [("m1", "1", 10, "A", "C"), ("m2", "1", 10, "C", "T"), ("m3", "1", 10, "G", "A"), ("m4", "1", 10, ".", "A")]
    )
    how, at = match_variants(WANTED.iloc[:1], here)
    assert (how[0], at[0]) == ("swapped", 2)
    twice = table([("m3", "1", 10, "G", "A"), ("a", "1", 10, "A", "G"), ("m5", "1", 10, "A", "G")])
    how, at = match_variants(WANTED.iloc[:1], twice)
    assert (how[0], at[0]) == ("same", 1)
    how, at = match_variants(WANTED.iloc[:1], twice.rename(index={"a": "other"}))
    assert (how[0], at[0]) == ("several", -1)


def test_a_study_without_places_or_alleles_matches_nothing():
    bare = table([("a", "0", 0, "A", "G"), ("b", "1", 20, ".", ".")])
    how, at = match_variants(bare, table([("a", "0", 0, "A", "G"), ("b", "1", 20, ".", ".")]))
    assert how.tolist() == ["no place", "no place"]
    assert at.tolist() == [-1, -1]
    with pytest.raises(AlignmentError, match=r"as one of GenNet's folder without genotypes\.bim"):
        matched(genotypes(np.zeros((2, 3)), bare), bare)


@st.composite
def recoded(draw):
    """Dosages, unambiguous variants, and the same people and variants with other ids, order, counted alleles and strands."""
    n_variants, n_people = draw(st.integers(1, 12)), draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dosages = rng.choice([0.0, 1.0, 2.0, np.nan], (n_variants, n_people), p=[0.4, 0.3, 0.2, 0.1])
    pairs = rng.choice(["AC", "AG", "TC", "TG"], n_variants)
    rows = [(f"v{k}", str(1 + k % 3), 100 + k, pair[0], pair[1]) for k, pair in enumerate(pairs)]
    swap, turn, order = rng.random(n_variants) < 0.5, rng.random(n_variants) < 0.5, rng.permutation(n_variants)
    there, values = [], []
    for k in order:
        _, chromosome, position, one, two = rows[k]
        if swap[k]:
            one, two = two, one
        if turn[k]:
            one, two = OTHER[one], OTHER[two]
        there.append((f"new{k}", f"chr{chromosome}", position, one, two))
        values.append(2 - dosages[k] if swap[k] else dosages[k])
    return genotypes(dosages, table(rows)), genotypes(np.array(values), table(there)), swap, turn


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(recoded(), st.sampled_from(["additive", "dominant", "recessive", "genotype", "standardised"]))
def test_recoding_changes_no_input(made, name):
    study, new, swap, turn = made
    coding = fit_coding(study, name, missing="nan")
    found = matched(new, study.variants)
    assert set(found.table["match"]) <= {"same", "swapped", "other strand", "other strand, swapped"}
    np.testing.assert_array_equal(found.swapped, swap)
    assert found.table["match"].str.startswith("other").tolist() == turn.tolist()
    expected, got = coding.apply(study), found.coded(coding)
    assert got.features == expected.features
    np.testing.assert_array_equal(got.values, expected.values)
    some = list(new.ids[::2])
    np.testing.assert_array_equal(found.coded(coding, some).values, expected.select(ids=some).values)


def cohort(n_variants: int = 60, n_people: int = 40) -> tuple[np.ndarray, pd.DataFrame]:
    rng = np.random.default_rng(4)
    frequency = rng.uniform(0.05, 0.3, n_variants)
    dosages = rng.binomial(2, frequency[:, None], (n_variants, n_people)).astype(float)
    pairs = ["AG", "CT", "AT", "CG"]
    rows = [(f"v{k}", "7", 1000 * k + 1, *pairs[k % 4]) for k in range(n_variants)]
    return dosages, table(rows).assign(frequency=dosages.mean(1) / 2)


def test_pairs_alike_on_both_strands_follow_the_rule():
    dosages, wanted = cohort()
    same = genotypes(dosages, wanted[["chromosome", "position", "counted", "other"]])
    kept = matched(same, wanted)
    assert (kept.table["match"] == "same").all()
    assert any(
        "30 variants are A/T or C/G" in line and "no other variant is on the other strand" in line for line in kept.log
    )
    turned = wanted.copy()
    turned.loc["v0", ["counted", "other"]] = ["T", "C"]
    new = genotypes(dosages, turned[["chromosome", "position", "counted", "other"]])
    with pytest.raises(AlignmentError, match=r"30 of the 60 variants .*30 are A/T or C/G, of unknown strand.*\"keep\""):
        matched(new, wanted)
    left = matched(new, wanted, least=0.5)
    assert (left.table["match"] == "strand unknown").sum() == 30
    assert left.genotypes.n_variants == 30
    assert any("left out, since 1 others are on the other strand" in line for line in left.log)
    assert (matched(new, wanted, ambiguous="keep").table["match"] == "strand unknown").sum() == 0
    assert (matched(same, wanted, ambiguous="drop", least=0.5).table["match"] == "strand unknown").sum() == 30


def test_what_is_absent_is_counted_and_too_little_is_an_error():
    dosages, wanted = cohort()
    some = wanted[["chromosome", "position", "counted", "other"]].iloc[:50]
    found = matched(genotypes(dosages[:50], some), wanted)
    assert (found.table["match"] == "absent").sum() == 10
    assert any("10 variants are not there and become missing: 'v50'" in line for line in found.log)
    assert found.coded(fit_coding(genotypes(dosages, wanted), missing="nan")).features == tuple(some.index)
    with pytest.raises(AlignmentError, match=r"40 of the 60 variants of the study \(67%\).*at least 80%"):
        matched(genotypes(dosages[:40], some[:40]), wanted)
    moved = some.assign(position=some["position"] + 7)
    with pytest.raises(
        AlignmentError, match=r"50 of the 50 variants with the same id are at another position.*another genome build"
    ):
        matched(genotypes(dosages[:50], moved), wanted)
    with pytest.raises(AlignmentError, match="no variant is on '7'"):
        matched(genotypes(dosages[:50], some.assign(chromosome="8")), wanted)
    nameless = some.assign(counted=".", other=".")
    with pytest.raises(AlignmentError, match="name no alleles"):
        matched(genotypes(dosages[:50], nameless), wanted)


def test_builds_must_agree_and_exchanged_names_are_noticed():
    dosages, wanted = cohort()
    plain = wanted[["chromosome", "position", "counted", "other"]]
    with pytest.raises(GenotypeError, match="GRCh37 and the new genotypes on GRCh38"):
        matched(genotypes(dosages, plain, "GRCh38"), wanted, build="GRCh37")
    exchanged = plain.rename(columns={"counted": "other", "other": "counted"})[list(plain.columns)]
    assert matched(genotypes(2 - dosages, exchanged), wanted).swapped.all()
    with pytest.raises(GenotypeError, match="names of the alleles seem to be exchanged"):
        matched(genotypes(dosages, exchanged), wanted)
    found = matched(genotypes(dosages, plain), wanted)
    np.testing.assert_allclose(found.table["frequency here"], wanted["frequency"])

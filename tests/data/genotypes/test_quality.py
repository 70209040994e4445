"""Quality of variants and people: loops over dosages, and PLINK."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.data.genotypes.cohorts import genotypes, missing, plink, table
from vnn._errors import AlignmentError, GenotypeError
from vnn.data.genotypes import read_plink
from vnn.data.genotypes.hardy import hardy_weinberg
from vnn.data.genotypes.quality import (
    AUTOSOMES,
    haploid_calls_missing,
    part_of,
    person_quality,
    sex_check,
    variant_quality,
)


@pytest.fixture(scope="module")
def mixed():
    """Autosomes, X, Y and MT of 90 people, with missing calls, a few heterozygous males and impossible calls."""
    rng = np.random.default_rng(4)
    chromosome = np.array(["1"] * 150 + ["2"] * 50 + ["X"] * 130 + ["Y"] * 8 + ["XY"] * 5 + ["MT"] * 7)
    sex = rng.choice(["male", "female"], 90)
    frequency = rng.uniform(0.05, 0.5, len(chromosome))[:, None]
    dosages = rng.binomial(2, frequency, (len(chromosome), 90)).astype(float)
    one = 2.0 * rng.binomial(1, frequency, dosages.shape)
    dosages[chromosome == "X"] = np.where(sex == "male", one, dosages)[chromosome == "X"]
    dosages[np.isin(chromosome, ["Y", "MT"])] = one[np.isin(chromosome, ["Y", "MT"])]
    dosages = missing(rng, dosages, 0.03)
    men, women = np.flatnonzero(sex == "male"), np.flatnonzero(sex == "female")
    dosages[chromosome == "Y"] = np.where(sex == "female", np.nan, dosages)[chromosome == "Y"]
    dosages[200, men[:4]] = dosages[332, men[1]] = dosages[345, women[0]] = 1
    dosages[333, women[2]] = 2
    dosages[7], dosages[9] = 0, np.nan
    return genotypes(dosages, chromosome=chromosome, sex=sex), dosages


def autosomal(cohort):
    return part_of(cohort, cohort.variants["chromosome"].isin(AUTOSOMES).to_numpy())


def test_by_loop(mixed):
    cohort, dosages = mixed
    found = variant_quality(cohort)
    sex = cohort.people["sex"].to_numpy()
    judges = {"X": sex == "female", "Y": sex == "male"}
    for at, (name, row) in enumerate(found.iterrows()):
        chromosome = cohort.variants.loc[name, "chromosome"]
        seen = dosages[at, judges.get(chromosome, np.ones(90, bool))]
        called = seen[~np.isnan(seen)]
        assert (row["people"], row["missing"]) == (len(seen), len(seen) - len(called))
        assert [row["two"], row["one"], row["none"]] == [(called == copies).sum() for copies in (2, 1, 0)]
        assert row["call_rate"] == len(called) / len(seen)
        if len(called):
            np.testing.assert_allclose([row["frequency"], row["maf"]], [p := called.mean() / 2, min(p, 1 - p)])
        tested = chromosome not in ("Y", "MT") and len(called) > 0
        assert np.isnan(row["hardy_p"]) == (not tested)
        assert row["tested"] == (len(called) if chromosome not in ("Y", "MT") else 0)


def test_plink2(mixed, tmp_path):
    cohort, _ = mixed
    found = variant_quality(cohort)
    prefix = plink("plink2", cohort, tmp_path, "--freq", "--missing", "--hardy", "midp")
    plain = [
        name for name in autosomal(cohort).variants.index if name != "v9"
    ]  # nobody is called in v9: plink2 says p = 0.5
    np.testing.assert_allclose(
        found.loc[plain, "hardy_p"], table(f"{prefix}.hardy", "ID").loc[plain, "MIDP"], rtol=1e-5
    )
    np.testing.assert_allclose(
        found.loc[plain, "frequency"], table(f"{prefix}.afreq", "ID").loc[plain, "ALT_FREQS"], rtol=1e-5
    )
    np.testing.assert_allclose(
        1 - found.loc[plain, "call_rate"], table(f"{prefix}.vmiss", "ID").loc[plain, "F_MISS"], rtol=1e-5
    )
    on_x = cohort.variants.index[cohort.variants["chromosome"] == "X"]
    women = plink("plink2", cohort, tmp_path, "--keep-females", "--hardy", "midp")
    np.testing.assert_allclose(found.loc[on_x, "hardy_p"], table(f"{women}.hardy.x", "ID").loc[on_x, "MIDP"], rtol=1e-5)


def test_plink_het_and_sex(mixed, tmp_path):
    cohort, _ = mixed
    het = table(f"{plink('plink1.9', cohort, tmp_path, '--autosome', '--het')}.het", "IID")
    own = person_quality(autosomal(cohort))
    np.testing.assert_allclose(own["f"], het["F"].loc[list(cohort.ids)], atol=6e-5)
    prefix = plink("plink1.9", cohort, tmp_path, "--check-sex")
    found, told = sex_check(cohort), table(f"{prefix}.sexcheck", "IID").loc[list(cohort.ids)]
    np.testing.assert_allclose(found["f"], told["F"], atol=6e-5)
    assert found["found"].map({"": 0, "male": 1, "female": 2}).tolist() == told["SNPSEX"].tolist()


def test_people_by_loop(mixed):
    cohort, dosages = mixed
    here = dosages[:200]
    own = person_quality(autosomal(cohort))
    with np.errstate(invalid="ignore"):
        p = np.array([row[~np.isnan(row)].mean() / 2 if (~np.isnan(row)).any() else np.nan for row in here])
    for person in range(0, 90, 9):
        called = ~np.isnan(here[:, person])
        expected = (2 * p * (1 - p))[called].sum()
        seen = (here[called, person] == 1).sum()
        row = own.iloc[person]
        assert row["missing"] == 200 - called.sum()
        np.testing.assert_allclose([row["heterozygosity"], row["f"]], [seen / called.sum(), 1 - seen / expected])


def test_frequencies_of_others_change_f(mixed):
    cohort, _ = mixed
    here = autosomal(cohort)
    np.testing.assert_allclose(
        person_quality(here, frequency=variant_quality(here)["frequency"].to_numpy())["f"], person_quality(here)["f"]
    )
    half = person_quality(here, frequency=np.full(200, 0.5))
    np.testing.assert_allclose(half["f"], 1 - 2 * half["heterozygosity"])


def test_hardy_in_controls_who_are_unrelated(mixed):
    cohort, dosages = mixed
    controls, unrelated = cohort.ids[:60], cohort.ids[20:]
    found = variant_quality(cohort, controls=controls, unrelated=unrelated)
    counts = np.stack([(dosages[:200, 20:60] == copies).sum(1) for copies in (2, 1, 0)], 1)
    np.testing.assert_array_equal(found["hardy_p"].iloc[:200], hardy_weinberg(counts))
    assert found["tested"].iloc[0] == counts[0].sum()
    np.testing.assert_array_equal(found["frequency"], variant_quality(cohort)["frequency"])


def test_frequencies_of_training_people(mixed):
    cohort, _ = mixed
    training = cohort.ids[:45]
    found = variant_quality(cohort, training=training)
    np.testing.assert_array_equal(found["maf"], variant_quality(cohort.select(ids=training))["maf"])
    np.testing.assert_array_equal(found["call_rate"], variant_quality(cohort)["call_rate"])


def test_a_variant_in_proportion_in_each_population_but_not_in_both():
    rng = np.random.default_rng(2)
    dosages = np.concatenate([rng.binomial(2, 0.1, (3, 300)), rng.binomial(2, 0.9, (3, 300))], 1).astype(float)
    cohort = genotypes(dosages)
    population = pd.Series(["north"] * 300 + ["south"] * 300, index=cohort.ids)[::-1]
    assert (variant_quality(cohort)["hardy_p"] < 1e-20).all()
    assert (variant_quality(cohort, populations=population)["hardy_p"] > 0.001).all()
    with pytest.raises(AlignmentError, match="1 of the 600 people have no population: 'p7'"):
        variant_quality(cohort, populations=population.drop("p7"))


def test_impossible_calls_are_set_missing_as_plink_does(mixed, tmp_path):
    cohort, dosages = mixed
    made, lost = haploid_calls_missing(cohort)
    sex = cohort.people["sex"].to_numpy()
    wanted = dosages.copy()
    men, women = np.flatnonzero(sex == "male"), np.flatnonzero(sex == "female")
    wanted[200, men[:4]] = wanted[332, men[1]] = wanted[345, women[0]] = wanted[333, women[2]] = np.nan
    np.testing.assert_array_equal(made.dosages(), wanted)
    assert lost.to_dict() | {} == {
        name: int(n) for name, n in zip(cohort.ids, np.isnan(wanted).sum(0) - np.isnan(dosages).sum(0), strict=True)
    }
    assert lost.sum() == 7
    np.testing.assert_array_equal(cohort.dosages(), dosages)
    again, none = haploid_calls_missing(made)
    assert none.sum() == 0
    assert again is made
    prefix = plink("plink1.9", cohort, tmp_path, "--set-hh-missing", "--make-bed", "--keep-allele-order")
    theirs = read_plink(f"{prefix}.bed", hashed=False).dosages()
    differs = np.argwhere(~((theirs == wanted) | (np.isnan(theirs) & np.isnan(wanted))))
    assert differs.tolist() == [[345, women[0]]]  # MT is left to --set-mixed-mt-missing


def test_part_of_people_and_variants_in_other_orders(mixed):
    cohort, _ = mixed
    rng = np.random.default_rng(1)
    variants, people = rng.permutation(350)[:210], rng.permutation(90)[:61]
    part = cohort.select([f"v{at}" for at in variants], [f"p{at}" for at in people])
    made, _ = haploid_calls_missing(part)
    whole, _ = haploid_calls_missing(cohort)
    np.testing.assert_array_equal(made.dosages(), whole.dosages()[np.ix_(variants, people)])


class TestErrors:
    def test_nobody_is_female(self):
        cohort = genotypes(np.ones((2, 3)), chromosome=["1", "X"])
        with pytest.raises(
            GenotypeError, match=r"1 variants are on X, which is judged by females, and none of the 3 people"
        ):
            variant_quality(cohort)

    def test_no_x(self):
        with pytest.raises(GenotypeError, match=r"none of the 2 variants is on X .*; there are '1'"):
            sex_check(genotypes(np.ones((2, 3))))

    def test_no_control(self):
        cohort = genotypes(np.ones((2, 3)))
        with pytest.raises(GenotypeError, match=r"none of the 3 people is among the 2 controls given: .* 'q1'"):
            variant_quality(cohort, controls=["q1", "q2"])
        with pytest.raises(GenotypeError, match="none of the controls is among the unrelated"):
            variant_quality(cohort, controls=["p0"], unrelated=["p1"])

    def test_one_person_and_no_variant(self):
        cohort = genotypes(np.array([[1.0], [2.0], [np.nan]]))
        assert variant_quality(cohort)["call_rate"].tolist() == [1, 1, 0]
        assert person_quality(cohort)["call_rate"].tolist() == [2 / 3]
        empty = cohort.select(variants=[])
        assert len(variant_quality(empty)) == 0
        assert np.isnan(person_quality(empty)["call_rate"]).all()

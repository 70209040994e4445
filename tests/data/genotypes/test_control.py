"""Quality control: planted faults are found in the step they belong to, and everything is accounted for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.data.genotypes.cohorts import genotypes, with_relatives
from vnn._errors import AlignmentError, GenotypeError
from vnn.data.genotypes import fam_phenotype, read_plink
from vnn.data.genotypes.control import Thresholds, quality_control
from vnn.data.splits import k_fold

STEPS = [
    "not on autosomes", "called in nobody", "called in less than 98 %", "less than 98 % called", "sex of X is not the one told",
    "heterozygosity beyond 3 standard deviations", "duplicates (kinship 0.354 or more)", "the same in everybody",
    "minor allele rarer than 1 %",
]  # fmt: skip


@pytest.fixture(scope="module")
def faulty():
    """2,000 autosomal variants and 200 of X in 150 people, with one fault of each kind."""
    rng = np.random.default_rng(12)
    dosages = with_relatives(rng, 2200, 150)
    sex = np.array(["male", "female"] * 75)
    one = 2.0 * rng.binomial(1, 0.4, (200, 150))
    dosages[2000:] = np.where(sex == "male", one, dosages[2000:])
    dosages[:, 60] = np.where(
        rng.random(2200) < 0.9, 1, dosages[:, 60]
    )  # p60 is told to be male: X says female as well
    dosages[:, 62] = np.where(rng.random(2200) < 0.5, dosages[:, 62], 1)
    dosages[2000:, 62] = 2.0 * rng.binomial(1, 0.4, 200)
    dosages[2000, :2] = 1  # p0 is male: an impossible call
    dosages[0] = np.nan
    dosages[1, :6] = np.nan
    dosages[2] = 0
    dosages[3] = 0
    dosages[3, 100] = 1
    dosages[4] = np.repeat([0.0, 2.0, 0.0], 50)
    dosages[10:90, 50] = np.nan
    sex[71] = "male"
    chromosome = ["1"] * 1000 + ["2"] * 1000 + ["X"] * 200
    return genotypes(dosages, chromosome=chromosome, sex=sex), dosages


def test_each_fault_goes_in_its_step(faulty):
    cohort, _ = faulty
    found = quality_control(cohort)
    removed = found.variants["removed"]
    assert (removed.iloc[2000:] == "not on autosomes").all()
    assert removed.iloc[:5].tolist() == [
        "called in nobody", "called in less than 98 %", "the same in everybody", "minor allele rarer than 1 %",
        removed.iloc[4],
    ]  # fmt: skip
    assert removed.iloc[4].startswith("Hardy-Weinberg p below 1e-06 in 1")
    assert (removed.iloc[5:2000] == "").all()
    gone = found.people["removed"]
    assert gone[gone != ""].to_dict() == {
        "p50": "less than 98 % called", "p60": "sex of X is not the one told", "p71": "sex of X is not the one told",
        "p62": "heterozygosity beyond 3 standard deviations", "p7": "duplicates (kinship 0.354 or more)",
    }  # fmt: skip
    assert found.steps["step"].tolist()[:-1] == STEPS
    assert found.genotypes.n_variants == 1995
    assert found.genotypes.n_people == 145
    assert found.people["family"].loc[["p0", "p1", "p2", "p3", "p4", "p5", "p6", "p50"]].tolist() == ["p0"] * 6 + [
        "p6",
        "",
    ]
    assert found.people["relatives"].iloc[:7].tolist() == [3, 3, 4, 4, 5, 1, 0]


def test_everything_is_accounted_for(faulty):
    cohort, dosages = faulty
    found = quality_control(cohort)
    for unit, table in (("variants", found.variants), ("people", found.people)):
        steps = found.steps[found.steps["unit"] == unit]
        assert (steps["kept"] + steps["removed"]).tolist() == [len(table), *steps["kept"].iloc[:-1]]
        counted = table["removed"].value_counts()
        assert steps.set_index("step")["removed"].to_dict() == {step: counted.get(step, 0) for step in steps["step"]}
        for step, examples in zip(steps["step"], steps["examples"], strict=True):
            assert examples == ", ".join(table.index[table["removed"] == step][:3])
    kept = found.genotypes
    assert list(kept.variants.index) == list(found.variants.index[found.variants["removed"] == ""])
    assert list(kept.ids) == list(found.people.index[found.people["removed"] == ""])
    rows = [int(name[1:]) for name in kept.variants.index]
    np.testing.assert_array_equal(kept.dosages(), dosages[np.ix_(rows, [int(name[1:]) for name in kept.ids])])
    told = [line for line in kept.log if " removed" in line]
    assert len(told) == len(found.steps)
    assert "quality control: called in less than 98 %: 1 of 1,999 variants removed: 'v1'" in told
    assert str(found).count("\n") == len(found.steps)


def test_the_report_in_the_docs_is_what_comes_out(faulty):
    cohort, _ = faulty
    found = quality_control(cohort, controls=[f"p{at}" for at in range(100)])
    text = (Path(__file__).parents[3] / "docs" / "quality.md").read_text()
    assert str(found) in text
    for line in found.genotypes.log:
        if any(word in line for word in ("sex by X", "families", "kinship is computed")):
            assert line in text


def test_families_stay_on_one_side_of_each_split(faulty):
    cohort, _ = faulty
    kept = quality_control(cohort).genotypes
    family = kept.groups["family"]
    for split in k_fold(kept.ids, k=3, seed=1, groups=family):
        sides = [set(family[list(part)]) for part in (split.train, split.test)]
        assert not sides[0] & sides[1]


def test_hardy_in_one_control_of_each_family(faulty):
    cohort, _ = faulty
    controls = [f"p{at}" for at in range(100)]
    found = quality_control(cohort, controls=controls)
    assert found.steps["step"].iloc[-1] == "Hardy-Weinberg p below 1e-06 in 92 unrelated controls"
    assert found.variants.loc["v5", "tested"] == 92
    everybody = quality_control(cohort, Thresholds(kinship=None, duplicates=None))
    assert everybody.steps["step"].iloc[-1] == "Hardy-Weinberg p below 1e-06 in 146 unrelated people"
    assert everybody.people["family"].loc["p1"] == "p1"


def test_frequencies_of_training_people_decide(faulty):
    cohort, _ = faulty
    training = [f"p{at}" for at in range(90)]
    found = quality_control(cohort, training=training)
    assert found.variants.loc["v3", "removed"] == "the same in everybody"
    here = [name for name in found.genotypes.ids if name in training] + ["p7"]
    assert found.genotypes.n_people == 145
    expected = cohort.select(["v8"], [name for name in here if name != "p7"]).dosages()
    assert found.variants.loc["v8", "frequency"] == pytest.approx(np.nanmean(expected) / 2)


def test_x_is_kept_on_request_and_judged_by_females(faulty):
    cohort, dosages = faulty
    found = quality_control(cohort, Thresholds(chromosomes=("1", "X"), hardy=None))
    assert found.people.loc["p0", "haploid"] == 1
    lost = found.people["haploid"]
    assert f"{lost.sum():,} calls of {(lost > 0).sum():,} people that cannot be" in " ".join(found.genotypes.log)
    assert np.isnan(found.genotypes.select(["v2000"], ["p0"]).dosages()[0, 0])
    women = [int(name[1:]) for name in found.genotypes.ids if cohort.people.loc[name, "sex"] == "female"]
    assert found.variants.loc["v2001", "frequency"] == pytest.approx(np.nanmean(dosages[2001, women]) / 2)


def test_steps_can_be_left_out(faulty):
    cohort, _ = faulty
    none = Thresholds(
        variant_call_rate=None, person_call_rate=None, sex=False, heterozygosity=None, duplicates=None, kinship=None, maf=None,
        hardy=None,
    )  # fmt: skip
    found = quality_control(cohort, none)
    assert found.steps["step"].tolist() == ["not on autosomes"]
    assert found.genotypes.n_people == 150


def test_pairs_that_are_known(faulty):
    cohort, _ = faulty
    pairs = pd.DataFrame({"first": ["p10", "p12"], "second": ["p11", "p13"], "kinship": [0.2, 0.4]})
    found = quality_control(cohort, pairs=pairs)
    gone = found.people["removed"]
    assert gone["p13"] == "duplicates (kinship 0.354 or more)"
    assert gone["p7"] == ""
    assert found.genotypes.groups["family"].loc[["p10", "p11", "p1"]].tolist() == ["p10", "p10", "p1"]


def test_heterozygosity_within_populations():
    rng = np.random.default_rng(3)
    rare, common = rng.binomial(2, 0.1, (1500, 20)), rng.binomial(2, 0.5, (1500, 180))
    cohort = genotypes(np.concatenate([rare, common], 1).astype(float))
    population = pd.Series(["a"] * 20 + ["b"] * 180, index=cohort.ids)
    asked = Thresholds(maf=None, hardy=None, kinship=None, duplicates=None, heterozygosity=2.9)
    assert (quality_control(cohort, asked).people["removed"].iloc[:20] != "").any()
    assert (quality_control(cohort, asked, populations=population).people["removed"] != "").sum() <= 3


class TestErrors:
    def test_nothing_left(self, faulty):
        cohort, _ = faulty
        with pytest.raises(GenotypeError, match=r"no variants are left after the step 'not on Y', which removed 2,200"):
            quality_control(cohort, Thresholds(chromosomes=("Y",)))
        with pytest.raises(
            GenotypeError, match=r"no people are left .* So far: not on autosomes: 2 variants left; called in nobody"
        ):
            quality_control(genotypes(np.array([[1, np.nan], [np.nan, 0]])), Thresholds(variant_call_rate=0.4))

    def test_settings(self):
        with pytest.raises(GenotypeError, match="maf is 2; a share between 0 and 1"):
            Thresholds(maf=2)
        with pytest.raises(GenotypeError, match="kinship is -1; a number above 0"):
            Thresholds(kinship=-1)

    def test_no_control_and_no_population(self, faulty):
        cohort, _ = faulty
        with pytest.raises(GenotypeError, match="none of the 145 people is among the 1 controls"):
            quality_control(cohort, controls=["somebody"])
        with pytest.raises(AlignmentError, match="149 of the 150 people have no population"):
            quality_control(cohort, populations=pd.Series({"p0": "x"}))

    def test_a_family_column_that_is_there(self, faulty):
        cohort, _ = faulty
        with pytest.raises(GenotypeError, match="have a column 'family' already"):
            quality_control(cohort.joined(groups=pd.DataFrame({"family": "f"}, index=cohort.ids)))

    def test_one_person(self):
        cohort = genotypes(np.array([[1.0], [2.0], [1.0]]))
        found = quality_control(cohort, Thresholds(hardy=None, maf=None))
        assert found.genotypes.n_people == 1
        with pytest.raises(GenotypeError, match="kinship needs autosomal variants"):
            quality_control(
                genotypes(np.ones((2, 3)), chromosome="MT"),
                Thresholds(chromosomes=("MT",), variant_call_rate=None, person_call_rate=None),
            )

    def test_sex_of_nobody_is_told(self, faulty):
        _, dosages = faulty
        cohort = genotypes(dosages, chromosome=["1"] * 2000 + ["X"] * 200)
        found = quality_control(cohort)
        assert found.steps.set_index("step").loc["sex of X is not the one told", "removed"] == 0
        assert any("none is told of 149" in line for line in found.genotypes.log)


@pytest.mark.data
def test_a_given_file(real):
    cohort = read_plink(real("genotype/gennet_a_to_z/plink/GenNet_simulation.bed"))
    controls = fam_phenotype(cohort.people, "0/1").loc[lambda told: told == "control"].index
    found = quality_control(cohort, Thresholds(kinship=None, duplicates=None, heterozygosity=None), controls=controls)
    assert found.steps["removed"].sum() + found.genotypes.n_variants == 100
    assert found.genotypes.n_people == 14_000

"""Quality control and components of a study: learnt from training parts, families in one part, and new people placed alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vnn._errors import GenotypeError, StudyError
from vnn.cli.cohort import predicted
from vnn.data.genotypes import hardy_weinberg, oriented, read_plink, relatives, simulate_genotypes, write_plink
from vnn.study import Study, plan, read_material, run_study
from vnn.study.kept import COMPONENTS, read_kept
from vnn.study.newcomers import newcomers
from vnn.study.nulls import halves_of

FILE = """
name = "cohort"
seed = 5
[data]
values = "cohort/cohort.bed"
labels = "cohort/phenotypes.csv"
target = "phenotype"
classes = ["control", "case"]
[genotypes]
genes = "cohort/genes.txt"
build = "GRCh38"
upstream = 0
downstream = 0
components = 3
[genotypes.quality]
heterozygosity = 2.0
maf = 0.05
hardy = 0.05
[ontology]
name = "genes"
[splits]
k = 3
[network]
dropout = 0.0
input_dropout = 0.0
[training]
epochs = 3
impute = "mean"
[compare]
models = []
[attribution]
crosscheck = 0
[report]
figures = false
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """300 people of two populations, 20 families among them, 4,000 variants of which some are missing."""
    folder = tmp_path_factory.mktemp("quality")
    simulate_genotypes(
        folder / "cohort", people=300, variants=4000, genes=60, pathways=4, populations=2, fst=0.1,
        families=20, missing=0.004, founders=4000, seed=3,
    )  # fmt: skip
    (folder / "study.toml").write_text(FILE)
    return folder


@pytest.fixture(scope="module")
def material(folder):
    return read_material(Study.read(folder / "study.toml"))


def test_families_stay_in_one_part_of_splits_and_halves(folder, material):
    pairs = relatives(read_plink(folder / "cohort" / "cohort"))
    assert len(pairs) > 50
    study = Study.read(folder / "study.toml")
    halved = study.model_copy(update={"nulls": study.nulls.model_copy(update={"half_samples": 3})})
    for split in (*material.splits, *halves_of(halved, material.samples)):
        part = {name: kind for kind in ("train", "validation", "test") for name in getattr(split, kind)}
        here = pairs[pairs["first"].isin(part) & pairs["second"].isin(part)]
        assert (here["first"].map(part) == here["second"].map(part)).all()
        assert len(here) > 50


def test_frequency_and_hardy_weinberg_are_judged_in_every_training_part(folder, material):
    genotypes = read_plink(folder / "cohort" / "cohort")
    dosages = pd.DataFrame(genotypes.dosages(), index=genotypes.variants.index, columns=list(genotypes.ids))
    labels = pd.read_csv(folder / "cohort" / "phenotypes.csv", index_col=0)["phenotype"]
    account = read_kept_quality(material)
    came = account.index[account["removed"].str.contains("training part") | (account["removed"] == "")]
    pairs = relatives(genotypes)
    rare, odd = pd.Series(False, index=came), pd.Series(False, index=came)
    for split in material.splits:
        own = dosages.loc[came, list(split.train)]
        frequency = own.mean(axis=1) / 2
        rare |= np.minimum(frequency, 1 - frequency) < 0.05
        controls = [name for name in split.train if labels[name] == "control"]
        near = pairs[pairs["first"].isin(controls) & pairs["second"].isin(controls)]
        while len(near):  # who has most relatives goes, the later one of equals
            count = pd.concat([near["first"], near["second"]]).value_counts()
            most = count[count == count.max()].index
            gone = max(most, key=controls.index)
            controls.remove(gone)
            near = near[(near["first"] != gone) & (near["second"] != gone)]
        tested = dosages.loc[came, controls].to_numpy()
        counts = np.stack([(tested == copies).sum(1) for copies in (2, 1, 0)], axis=1)
        odd |= hardy_weinberg(counts) < 0.05
    removed = account.loc[came, "removed"]
    assert (removed.str.contains("rarer than 5 %") == rare).all()
    assert (removed.str.contains("Hardy-Weinberg p below 0.05 in unrelated controls") == (odd & ~rare)).all()
    assert rare.any()
    assert (odd & ~rare).any()
    assert set(material.samples.features) <= set(came[~rare & ~odd])
    steps = material.kept["quality.csv"]
    assert steps["removed"].tail(2).tolist() == [rare.sum(), (odd & ~rare).sum()]
    for step, n in zip(steps["step"], steps["removed"], strict=True):
        assert any(step in line and f"{n:,} of" in line for line in material.samples.log)


def read_kept_quality(material) -> pd.DataFrame:
    return material.kept["quality_variants.tsv.gz"]


def test_families_join_the_groups_of_splits_or_are_told_to_be_torn(folder, tmp_path):
    labels = pd.read_csv(folder / "cohort" / "phenotypes.csv", index_col=0)[["phenotype"]]
    labels["site"] = [f"site {k % 40}" for k in range(len(labels))]
    labels["side"] = ["left", "right", "front"] * (len(labels) // 3)
    labels.to_csv(tmp_path / "people.csv")
    text = FILE.replace('"cohort/phenotypes.csv"', '"people.csv"\ngroups = ["site", "side"]').replace(
        '"cohort/', f'"{folder}/cohort/'
    )
    (tmp_path / "study.toml").write_text(text.replace("k = 3", 'kind = "hold-out"\ngroup = "site"'))
    (split,) = (found := read_material(Study.read(tmp_path / "study.toml"))).splits
    part = {name: kind for kind in ("train", "validation", "test") for name in getattr(split, kind)}
    groups = found.samples.groups
    for column in ("site", "family"):
        assert (pd.Series(part).groupby(groups[column]).nunique() == 1).all()
    (tmp_path / "study.toml").write_text(text.replace("k = 3", 'kind = "leave-one-group-out"\ngroup = "side"'))
    found = read_material(Study.read(tmp_path / "study.toml"))
    n = (found.samples.groups.groupby("family")["side"].nunique() > 1).sum()
    assert (
        f"splits: {n:,} families have members in several groups 'side', which are held out whole" in found.samples.log
    )
    assert n > 10


def test_controls_are_the_class_that_is_called_so(folder, tmp_path):
    labels = pd.read_csv(folder / "cohort" / "phenotypes.csv", index_col=0)["phenotype"]
    n = (labels == "control").sum()
    text = FILE.replace('"cohort/', f'"{folder}/cohort/')
    for old, new, expected in (
        ("", "", f"the {n:,} of class 'control'"),
        ('classes = ["control", "case"]', "", f"the {n:,} of class 'control'"),
        ('["control", "case"]', '["case", "control"]', f"the {n:,} of class 'control'"),
        (f'"{folder}/cohort/phenotypes.csv"', '"renamed.csv"', f"the {n:,} of class 'A'"),
    ):
        renamed = labels.map({"control": "A", "case": "B"}).to_frame()
        renamed.to_csv(tmp_path / "renamed.csv")
        changed = text.replace(old, new)
        if "renamed" in new:
            changed = changed.replace('["control", "case"]', '["A", "B"]')
        (tmp_path / "study.toml").write_text(changed)
        log = read_material(Study.read(tmp_path / "study.toml")).samples.log
        assert f"quality control: controls are {expected}" in log


def test_components_are_of_unlinked_variants_of_unrelated_people_and_place_the_others(folder, material):
    """By an oracle: the singular vectors of the standardised genotypes of those who were learnt from."""
    scores, table = material.samples.covariates, material.kept[COMPONENTS]
    assert list(scores) == ["PC1", "PC2", "PC3"]
    genotypes = read_plink(folder / "cohort" / "cohort").select(variants=list(table.index), ids=scores.index)
    z = (genotypes.dosages("float64") - table[["mean"]].to_numpy()) / table[["scale"]].to_numpy()
    np.testing.assert_allclose(
        scores.to_numpy(), np.nan_to_num(z).T @ table[["PC1", "PC2", "PC3"]].to_numpy(), atol=2e-4
    )
    line = next(one for one in material.samples.log if one.startswith("components: 3 of"))
    n_learnt = int(line.split("learnt from ")[1].split()[0])
    assert n_learnt + int(line.split("; ")[1].split()[0]) == material.samples.n_samples
    assert n_learnt < material.samples.n_samples - 15
    labels = pd.read_csv(folder / "cohort" / "phenotypes.csv", index_col=0)
    population = labels.loc[list(scores.index), "population"].astype(str)
    first = [scores.loc[population == name, "PC1"] for name in sorted(set(population))]
    assert max(first[0].max() < first[1].min(), first[1].max() < first[0].min())


def test_one_split_keeps_the_held_out_from_the_components(folder, tmp_path):
    text = FILE.replace("k = 3", 'kind = "hold-out"').replace('"cohort/', f'"{folder}/cohort/')
    (tmp_path / "study.toml").write_text(text)
    one = read_material(Study.read(tmp_path / "study.toml"))
    changed = read_plink(folder / "cohort" / "cohort")
    held = set(one.splits[0].test)
    table = one.kept[COMPONENTS]
    dosages = changed.select(
        variants=list(table.index), ids=[i for i in changed.ids if i in set(one.splits[0].train)]
    ).dosages()
    frequency = np.nanmean(dosages, axis=1) / 2
    assert np.abs(frequency - table["mean"] / 2).max() < 0.12  # those of unrelated people of the training part
    learnt = int(
        next(line for line in one.samples.log if line.startswith("components: 3")).split("learnt from ")[1].split()[0]
    )
    assert learnt <= len(one.splits[0].train)
    assert not held & set(one.splits[0].train)


def test_new_people_are_placed_and_predicted_alike_under_other_alleles(folder, tmp_path):
    results = run_study(folder / "study.toml")
    out = results.folder
    page = (out / "page.html").read_text()
    assert "rarer than 5 % in the training part of a split" in page
    people = pd.read_csv(out / "quality_people.csv.gz", index_col=0)
    gone = people.index[people["removed"].notna()]
    assert len(gone)
    assert not any(name in page for name in gone)
    steps = pd.read_csv(out / "quality.csv")
    assert (steps["unit"] == "people").sum() >= 2
    genotypes = read_plink(folder / "cohort" / "cohort")
    rng = np.random.default_rng(0)
    counted = genotypes.variants["counted"].where(rng.random(genotypes.n_variants) < 0.5, genotypes.variants["other"])
    swapped = oriented(genotypes, counted)
    some = swapped.select(ids=rng.permutation(np.array(genotypes.ids, dtype=object))[:40])
    write_plink(some, tmp_path / "other")
    own = results.samples.covariates
    for bed in (folder / "cohort" / "cohort.bed", tmp_path / "other.bed"):
        met = newcomers(out, bed, ["PC1", "PC2", "PC3"])
        ids = [name for name in met.ids if name in own.index]
        assert len(ids) > 30
        np.testing.assert_allclose(met.covariates.loc[ids], own.loc[ids], atol=2e-4)
    plain, other = (predicted(out, [str(bed)]) for bed in (folder / "cohort" / "cohort.bed", tmp_path / "other.bed"))
    rows = list(other.predictions.index)
    np.testing.assert_allclose(plain.predictions.loc[rows, "case"], other.predictions["case"], atol=1e-4)
    assert "people are placed among 3 components of the study" in plain.text
    assert read_kept(out / COMPONENTS).shape[0] > 100


def test_zero_leaves_a_step_out_and_the_plan_tells_all(folder, tmp_path):
    nothing = (
        "variant_call_rate = 0\nperson_call_rate = 0\nsex = false\nheterozygosity = 0\nduplicates = 0\nkinship = 0\n"
    )
    text = FILE.replace("heterozygosity = 2.0\nmaf = 0.05\nhardy = 0.05\n", f"maf = 0\nhardy = 0\n{nothing}").replace(
        '"cohort/', f'"{folder}/cohort/'
    )
    text = text.replace("components = 3", "components = 2")
    (tmp_path / "study.toml").write_text(text)
    study = Study.read(tmp_path / "study.toml")
    found = read_material(study)
    assert found.samples.n_samples == 300
    assert found.kept["quality.csv"]["step"].tolist() == ["not on autosomes"]
    assert "family" not in found.samples.groups
    told = plan(study)
    assert "components: 2 of" in told
    line = next(one.strip() for one in told.splitlines() if "components: 2 of" in one)
    assert " people; " in line
    assert "unrelated" not in line


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("maf = 0.05", "maf = 0.7", "maf is 0.7"),
        ("maf = 0.05", "maff = 0.05", "maff is not known; known here are .*maf.*Did you mean 'maf'"),
        ("maf = 0.05", 'populations = "population"', "data.groups are empty"),
        ("components = 3", "components = 400", "400 components of"),
        ("maf = 0.05", 'chromosomes = ["X"]', "no variants are left after the step 'not on X'"),
        ("k = 3", 'kind = "given"\ngroup = "site"', "cannot keep families in one part"),
        ("upstream = 0", 'bim = "cohort/cohort.bim"', "names the alleles of a folder of GenNet's"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told(folder, tmp_path, old, new, words):
    assert old in FILE
    text = FILE.replace(old, new, 1).replace('"cohort/', f'"{folder}/cohort/')
    (tmp_path / "study.toml").write_text(text)
    with pytest.raises((StudyError, GenotypeError), match=words):
        read_material(Study.read(tmp_path / "study.toml"))


def test_a_column_called_as_a_component_is_refused(folder, tmp_path):
    labels = pd.read_csv(folder / "cohort" / "phenotypes.csv", index_col=0)
    labels.assign(PC1=1.5 * np.arange(len(labels))).to_csv(tmp_path / "people.csv")
    text = FILE.replace('"cohort/phenotypes.csv"', '"people.csv"\ncovariates = ["PC1"]').replace(
        '"cohort/', f'"{folder}/cohort/'
    )
    (tmp_path / "study.toml").write_text(text)
    with pytest.raises(StudyError, match=r"data\.covariates name 'PC1'"):
        read_material(Study.read(tmp_path / "study.toml"))

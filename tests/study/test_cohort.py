"""Studies of genotypes: a PLINK fileset, the genes of its variants, and a page that shows nobody."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from tests.data.genotypes.test_plink import made
from vnn._atomic import sha256
from vnn._errors import AlignmentError, GenotypeError, StudyError
from vnn.data import Split
from vnn.data.genotypes import GeneMap, fit_coding, read_annovar, read_plink
from vnn.models import Recipe
from vnn.study import Study, read_material, run_study
from vnn.study.cohort import gene_wiring
from vnn.study.newcomers import newcomers
from vnn.study.nulls import null_fits
from vnn.training import Training, fit

N, VARIANTS = 240, 24
FILE = """
name = "cohort"
seed = 3

[data]
values = "cohort.bed"
labels = "people.csv"
target = "case"
classes = ["control", "case"]

[genotypes]
genes = "genes.txt"
upstream = 0
downstream = 0

[ontology]
name = "genes"

[splits]
kind = "hold-out"

[network]
dropout = 0.0
input_dropout = 0.0

[training]
epochs = 30
impute = "mean"

[compare]
models = ["logistic regression"]
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_study(tmp_path)


def write_study(folder: Path) -> Path:
    """24 variants, six in each of three genes and six outside; cases follow the first gene."""
    rng = np.random.default_rng(1)
    dosages = rng.binomial(2, 0.4, (VARIANTS, N)).astype(np.float32)
    risk = dosages[:6].sum(0) + 0.5 * rng.standard_normal(N)
    dosages[3, ::10] = np.nan
    made(folder, dosages, "cohort")
    ids = rng.permutation(N)
    cases = np.where(risk > np.median(risk), "case", "control")
    people = pd.DataFrame({"case": cases[ids], "age": rng.normal(50, 9, N)[ids]}, index=[f"p{i}" for i in ids])
    people.to_csv(folder / "people.csv", index_label="person")
    (folder / "genes.txt").write_text("1 1 6 FIRST\n1 7 12 SECOND\n1 13 18 THIRD\n")
    (folder / "study.toml").write_text(FILE)
    return folder / "study.toml"


def change(study: Path, old: str, new: str) -> Path:
    text = study.read_text()
    assert old in text
    study.write_text(text.replace(old, new, 1))
    return study


def test_variants_are_wired_to_their_genes_and_people_joined_by_id(study):
    material = read_material(Study.read(study))
    assert material.topology.levels[1].nodes == ("FIRST", "SECOND", "THIRD")
    assert len(material.topology.inputs) == 18
    (mask,) = material.topology.masks
    assert {(mask.sources[s], mask.targets[t]) for s, t in mask.edges} >= {("rs0", "FIRST"), ("rs17", "THIRD")}
    assert any("6 are intergenic" in line for line in material.samples.log)
    people = pd.read_csv(study.parent / "people.csv", index_col=0)
    assert (material.samples.targets["case"] == people["case"].loc[list(material.samples.ids)]).all()
    assert np.isnan(material.samples.values).sum() == N // 10


def test_variants_are_shifted_along_their_own_chromosomes(study):
    change(study, "[training]", "[nulls]\nshifted = 3\n[training]")
    asked = Study.read(study)
    folder = run_study(asked).folder
    material = read_material(asked)
    (mask,) = material.topology.masks
    ((_, made),) = null_fits(folder, material)
    assert set(made.replicates["kind"]) == {"shifted"}
    (sources,) = made.networks.wirings.values()
    n, (real, gene) = len(material.topology.inputs), mask.edges.T
    shifts = []
    for column in sources.T:
        own = {g: set(column[gene == g].tolist()) for g in range(3)}
        fits = [k for k in range(n) if all(own[g] == set(((real[gene == g] + k) % n).tolist()) for g in range(3))]
        assert len(fits) == 1
        shifts += fits
    assert 0 not in shifts
    assert len(set(shifts)) > 1


def test_a_study_names_the_gene_and_shows_nobody(study):
    results = run_study(study)
    table = results.pathways.set_index("name")
    assert table["effect"].abs().idxmax() == "FIRST"
    assert results.study.report.individuals == "none"
    page = (study.parent / "results" / "page.html").read_text()
    assert '"p17"' not in page
    assert "from 18 inputs through 3 genes" in page
    assert sha256(study.parent / "genes.txt") in page


@pytest.mark.parametrize("coding", ["genotype", "dominant"])
def test_other_codings(study, coding):
    change(study, "upstream = 0\n", f'upstream = 0\ncoding = "{coding}"\n')
    topology = read_material(Study.read(study)).topology
    assert len(topology.inputs) == (36 if coding == "genotype" else 18)
    if coding == "genotype":
        (mask,) = topology.masks
        assert ("rs0:het", "FIRST") in {(mask.sources[s], mask.targets[t]) for s, t in mask.edges}


def test_pathways_above_genes_and_a_table_of_variants(study):
    (study.parent / "sets.gmt").write_text("low\tx\tFIRST\tSECOND\nhigh\tx\tSECOND\tTHIRD\n")
    (study.parent / "genes.txt").write_text(
        "".join(f"rs{i}\t{g}\n" for i, g in ((0, "FIRST"), (1, "SECOND"), (20, "THIRD")))
    )
    change(study, "upstream = 0\ndownstream = 0\n", 'read_as = "variants"\n')
    change(study, 'name = "genes"', 'name = "sets.gmt"\ngene_level = true\nmin_genes = 1')
    topology = read_material(Study.read(study)).topology
    assert [len(level) for level in topology.levels] == [3, 3, 2]
    assert [record["source"] for record in topology.provenance] == ["genes of variants", "GMT"]


def test_the_phenotype_of_the_fam(study):
    folder = study.parent
    fam = [line.split() for line in (folder / "cohort.fam").read_text().splitlines()]
    case = pd.read_csv(folder / "people.csv", index_col=0)["case"] == "case"
    (folder / "cohort.fam").write_text("".join(" ".join([*row[:5], str(int(case[row[1]]))]) + "\n" for row in fam))
    change(study, 'labels = "people.csv"\ntarget = "case"', 'target = "phenotype"')
    with pytest.raises(ValueError, match=r"coding=\"1/2\" or coding=\"0/1\""):
        read_material(Study.read(study))
    change(study, "upstream = 0\n", 'upstream = 0\nphenotype = "0/1"\n')
    found = read_material(Study.read(study)).samples
    assert (found.targets["phenotype"] == "case").sum() == case.sum()


def test_what_does_not_fit_is_refused(study):
    change(study, 'labels = "people.csv"\n', "")
    with pytest.raises(StudyError, match=r"the target is 'case', and a \.fam holds 'phenotype' only"):
        read_material(Study.read(study))
    text = study.read_text()
    study.write_text(text.replace('[genotypes]\ngenes = "genes.txt"\nupstream = 0\ndownstream = 0\n', ""))
    with pytest.raises(StudyError, match=r"a section \[genotypes\] must say which genes"):
        Study.read(study)
    study.write_text(text.replace('values = "cohort.bed"', 'values = "people.csv"'))
    with pytest.raises(StudyError, match="is for genotypes of one study"):
        Study.read(study)


def test_people_of_the_labels_only(study):
    people = pd.read_csv(study.parent / "people.csv", index_col=0)
    people.iloc[:-10].to_csv(study.parent / "people.csv")
    with pytest.raises(AlignmentError, match="10 samples of the genotypes are not in targets"):
        read_material(Study.read(study))
    change(study, 'target = "case"', 'target = "case"\nunmatched = "drop"\ncovariates = ["age"]')
    assert read_material(Study.read(study)).samples.n_samples == N - 10


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("seed", range(5))
def test_gennets_simulation_is_solved_in_ten_seconds(real, seed):
    folder = real("genotype/gennet_a_to_z/plink/GenNet_simulation.bed").parents[1]
    genotypes = read_plink(folder / "plink" / "GenNet_simulation")
    table = read_annovar(folder / "processed_data" / "GenNet_simulation_RefGene.variant_function")
    genes = GeneMap.from_annotation(genotypes, table).features()
    known = pd.read_csv(folder / "run_folder" / "subjects.csv", index_col="patient_id")
    targets = known["labels"].map({0: "control", 1: "case"}).to_frame("case")
    samples = fit_coding(genotypes.joined(targets=targets)).apply(genotypes.joined(targets=targets))
    split = Split("given", *(tuple(known.index[known["set"] == part]) for part in (1, 2, 3)))
    settings = Training(epochs=100, batch_size=256, lr=0.01, weight_decay=0.0, start="random")
    began = time.monotonic()
    made = fit(
        gene_wiring({name: genes[name] for name in samples.features}), samples, target="case", splits=[split], seed=seed,
        classes=["control", "case"], recipe=Recipe(dropout=0.0, input_dropout=0.0), training=settings,
    )  # fmt: skip
    took = time.monotonic() - began
    test = samples.select(ids=split.test)
    found = made.predict(test).values[:, 0, 1]
    auc = roc_auc_score(test.targets["case"] == "case", found)
    print(f"seed {seed}: test AUC {auc:.4f} in {took:.1f} s")
    assert auc >= 0.999
    assert took <= 10


GENNET = """
seed = 1
[data]
values = "FOLDER"
target = "labels"
classes = ["0", "1"]
groups = ["set"]
[genotypes]
[ontology]
name = "FOLDER/topology.csv"
[splits]
kind = "given"
group = "set"
[training]
epochs = 2
"""


def test_the_minor_allele_is_that_of_those_who_learn(tmp_path):
    """The counted allele is the rarer one in the training part, and the commoner one in everybody."""
    study = change(write_study(tmp_path), "[genotypes]", '[genotypes]\ncoding = "dominant"')
    change(study, 'kind = "hold-out"', 'kind = "given"\ngroup = "part"')
    change(study, 'target = "case"', 'target = "case"\ngroups = ["part"]')
    people = pd.read_csv(tmp_path / "people.csv", index_col=0)
    people["part"] = np.where(np.arange(N) % 3 < 2, "test", "train")
    people.to_csv(tmp_path / "people.csv")
    dosages = np.random.default_rng(0).binomial(2, 0.4, (VARIANTS, N)).astype(np.float32)
    learns = np.array([people.loc[f"p{i}", "part"] == "train" for i in range(N)])
    dosages[0] = np.where(learns, np.arange(N) % 5 == 0, 2)
    made(tmp_path, dosages, "cohort")
    material = read_material(Study.read(study))
    at = material.samples.features.index("rs0")
    own = np.array([dosages[0, int(name[1:])] for name in material.samples.ids])
    np.testing.assert_array_equal(material.samples.values[at], own >= 1)
    table = material.kept["variants.tsv.gz"]
    assert table.loc["rs0", "minor"] == table.loc["rs0", "counted"]
    assert table.loc["rs0", "frequency"] > 0.5


@pytest.mark.parametrize("batches", ["numbers", "panels"])
@pytest.mark.parametrize("missing", ["mode", "own"])
def test_missing_genotypes_have_a_number_of_those_who_learn(tmp_path, missing, batches):
    study = change(write_study(tmp_path), "[genotypes]", f'[genotypes]\nmissing = "{missing}"\nbatches = "{batches}"')
    change(study, 'impute = "mean"', "")
    change(study, "epochs = 30", "epochs = 2")
    (tmp_path / "study.toml").write_text(study.read_text() + "\n[report]\nfigures = false\n")
    results = run_study(study)
    assert not results.samples.missing.any()
    (split,) = results.fit.splits
    held = results.samples.numbers(split.train)[results.samples.features.index("rs3")]
    gone = np.array([int(name[1:]) % 10 == 0 for name in split.train])
    values, counts = np.unique(held[~gone], return_counts=True)
    expected = values[counts.argmax()] if missing == "mode" else held[~gone].mean()
    np.testing.assert_allclose(held[gone], expected, rtol=1e-6)
    if missing == "own":
        at = results.samples.features.index("rs3:missing")
        np.testing.assert_array_equal(results.samples.numbers(split.train)[at], gone)
        assert len(results.topology.inputs) == 19
    met = newcomers(results.folder, tmp_path / "cohort.bed", [])
    theirs, ours = met.samples(split.test), results.samples.numbers(split.test)
    assert theirs.features == results.samples.features
    np.testing.assert_array_equal(theirs.values, ours)


@pytest.mark.data
def test_a_folder_of_gennets_is_a_study_as_it_is(real, tmp_path):
    pytest.importorskip("h5py")
    folder = real("genotype/gennet_a_to_z/run_folder/subjects.csv").parent
    (tmp_path / "study.toml").write_text(GENNET.replace("FOLDER", str(folder)))
    study = Study.read(tmp_path / "study.toml")
    material = read_material(study)
    assert (material.samples.n_samples, material.samples.n_features) == (14_000, 100)
    assert [len(level) for level in material.topology.levels] == [100, 10]
    (split,) = material.splits
    assert (len(split.train), len(split.validation), len(split.test)) == (10_000, 2_000, 2_000)
    given = pd.read_csv(folder / "subjects.csv", dtype=str).set_index("patient_id")
    assert set(split.test) == set(given.index[given["set"].str.strip() == "3"])
    bed = read_plink(folder.parent / "plink" / "GenNet_simulation")
    rows = given["genotype_row"].astype(int).loc[list(material.samples.ids)]
    np.testing.assert_array_equal(material.samples.values, 2 - bed.dosages()[:, rows])
    assert len(study.identity) == 64
    change(tmp_path / "study.toml", "[genotypes]", f'[genotypes]\nbim = "{folder.parent}/plink/GenNet_simulation.bim"')
    table = read_material(Study.read(tmp_path / "study.toml")).kept["variants.tsv.gz"]
    assert (table["counted"].to_numpy() == bed.variants["other"].to_numpy()).all()


@pytest.mark.data
@pytest.mark.parametrize(("suffix", "module"), [("bed", "bed_reader"), ("pgen", "pgenlib"), ("bgen", "cbgen")])
def test_formats_of_one_cohort_are_one_study(real, tmp_path, suffix, module):
    pytest.importorskip(module)
    file = real(f"genotype/regenie/example.{suffix}")
    ids = read_plink(file.with_suffix(".bed"))
    if suffix == "bgen":
        told = pd.DataFrame({"y": np.arange(500) % 2 + 1.0}, index=[f"{i}_{i}" for i in ids.ids])
    else:
        told = pd.DataFrame({"y": np.arange(500) % 2 + 1.0}, index=list(ids.ids))
    told.to_csv(tmp_path / "people.csv", index_label="person")
    (tmp_path / "genes.tsv").write_text(
        "".join(f"{name}\tG{k % 5}\n" for k, name in enumerate(ids.variants.index[:40]))
    )
    (tmp_path / "study.toml").write_text(
        f'[data]\nvalues = "{file}"\nlabels = "people.csv"\ntarget = "y"\n[genotypes]\ngenes = "genes.tsv"\n'
        'read_as = "variants"\n[ontology]\nname = "genes"\n[training]\nimpute = "mean"\n'
    )
    study = Study.read(tmp_path / "study.toml")
    material = read_material(study)
    expected = ids.select(list(ids.variants.index[:40])).dosages()
    counted = material.kept["variants.tsv.gz"]["counted"] == ids.variants["counted"].iloc[:40].to_numpy()
    got = np.where(counted.to_numpy()[:, None], material.samples.values, 2 - material.samples.values)
    np.testing.assert_array_equal(got, expected)
    assert {record["role"] for record in material.samples.sources} >= {"labels"}
    assert len(study.identity) == 64


def test_given_parts(study):
    people = pd.read_csv(study.parent / "people.csv", index_col=0)
    people["part"] = ["1", "2", "3"] * (len(people) // 3)
    people.to_csv(study.parent / "people.csv")
    change(study, 'target = "case"', 'target = "case"\ngroups = ["part"]')
    change(study, 'kind = "hold-out"', 'kind = "given"\ngroup = "part"')
    (split,) = read_material(Study.read(study)).splits
    assert set(split.validation) == set(people.index[people["part"] == "2"])
    people.loc[people.index[:4], "part"] = ["test", "4", "4", "later"]
    people.to_csv(study.parent / "people.csv")
    with pytest.raises(StudyError, match=r"3 samples have neither train.*'4', 'later'"):
        read_material(Study.read(study))
    people["part"] = "train"
    people.to_csv(study.parent / "people.csv")
    with pytest.raises(StudyError, match="no sample is in the part 'test'"):
        read_material(Study.read(study))


def test_a_topology_that_names_variants_the_file_lacks(study):
    rows = [f"0,{k},{name},0,G" for k, name in enumerate(["rs0", "rs1", "rs99"])]
    header = "chr,layer0_node,layer0_name,layer1_node,layer1_name"
    (study.parent / "topology.csv").write_text("\n".join([header, *rows]) + "\n")
    change(study, 'name = "genes"', 'name = "topology.csv"')
    with pytest.raises(StudyError, match="both tell the genes"):
        Study.read(study)
    change(study, 'genes = "genes.txt"\n', "")
    with pytest.raises(AlignmentError, match="names 1 of its 3 inputs that are no variant of the genotypes: 'rs99'"):
        read_material(Study.read(study))
    (study.parent / "topology.csv").write_text("\n".join([header, *rows[:2]]) + "\n")
    material = read_material(Study.read(study))
    assert material.topology.inputs == ("rs0", "rs1")
    assert any("22 of 24 variants are in no gene and left out" in line for line in material.samples.log)
    change(study, "upstream = 0\n", 'upstream = 0\ncoding = "genotype"\n')
    with pytest.raises(StudyError, match="makes two inputs of a variant"):
        Study.read(study)


def test_quality_control_takes_variants_out_of_the_topology(study):
    rows = [f"0,{k},rs{k},{k // 2},G{k // 2},{k // 4},P{k // 4}" for k in range(8)]
    header = "chr,layer0_node,layer0_name,layer1_node,layer1_name,layer2_node,layer2_name"
    (study.parent / "topology.csv").write_text("\n".join([header, *rows]) + "\n")
    change(study, 'name = "genes"', 'name = "topology.csv"')
    off = "person_call_rate = 0\nduplicates = 0\nkinship = 0\nmaf = 0\nhardy = 0\nheterozygosity = 0\n"
    change(study, 'genes = "genes.txt"\n', f"[genotypes.quality]\nvariant_call_rate = 0.95\n{off}[unused]\n")
    study.write_text(study.read_text().replace("[unused]\nupstream = 0\ndownstream = 0\n", ""))
    dosages = read_plink(study.parent / "cohort").dosages()
    dosages[[0, 1], ::3] = np.nan
    made(study.parent, dosages, "cohort")
    material = read_material(Study.read(study))
    assert material.topology.inputs == ("rs2", "rs4", "rs5", "rs6", "rs7")
    assert [level.nodes for level in material.topology.levels[1:]] == [("G1", "G2", "G3"), ("P0", "P1")]
    assert any("without an input that is left" in str(entry) for entry in material.topology.log)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('genes = "genes.txt"', "", "genotypes.genes is needed"),
        ('values = "cohort.bed"', 'values = "absent.bed"', r"absent\.bed"),
        ('values = "cohort.bed"', 'values = "genes.txt"', "is for genotypes of one study"),
        ('genes = "genes.txt"', 'genes = "absent.txt"', r"absent\.txt"),
    ],
)
def test_files_that_are_not_there(study, old, new, words):
    change(study, old, new)
    with pytest.raises((StudyError, FileNotFoundError), match=words):
        read_material(Study.read(study))


@pytest.mark.data
def test_values_that_are_no_copies_need_a_word(real, tmp_path):
    pytest.importorskip("h5py")
    folder = real("genotype/gennet_regression/subjects.csv").parent
    text = GENNET.replace("FOLDER", str(folder)).replace('classes = ["0", "1"]\n', "")
    (tmp_path / "study.toml").write_text(text)
    with pytest.raises(GenotypeError, match=r"lie outside 0\.\.2"):
        read_material(Study.read(tmp_path / "study.toml"))
    text = text.replace("[genotypes]", '[genotypes]\noutside = "missing"').replace(
        "epochs = 2", 'epochs = 2\nimpute = "mean"'
    )
    (tmp_path / "study.toml").write_text(text)
    material = read_material(Study.read(tmp_path / "study.toml"))
    assert material.target.task == "regression"
    assert material.topology.masks[1].edges.shape == (10, 2)
    assert np.isnan(material.samples.values).any()


@pytest.mark.parametrize("how", ["changes", "vanishes"])
def test_a_file_that_does_not_stay_as_it_was_is_noticed(study, monkeypatch, how):
    from vnn.study import material

    read = material.read_people

    def meanwhile(*arguments):
        found = read(*arguments)
        bim = study.parent / "cohort.bim"
        bim.unlink() if how == "vanishes" else bim.write_text(bim.read_text().replace("A", "T", 1) + "\n")
        return found

    monkeypatch.setattr(material, "read_people", meanwhile)
    with pytest.raises(StudyError, match=r"'cohort\.bim' changed or vanished while it was read"):
        read_material(Study.read(study))


@pytest.mark.parametrize("what", ["length", "magic", "person-major", "fam", "bim"])
def test_a_damaged_fileset_is_an_error_and_leaves_nothing(study, what):
    folder = study.parent
    bed = (folder / "cohort.bed").read_bytes()
    if what == "length":
        (folder / "cohort.bed").write_bytes(bed + b"\0")
    elif what == "magic":
        (folder / "cohort.bed").write_bytes(b"\0" + bed[1:])
    elif what == "person-major":
        (folder / "cohort.bed").write_bytes(bed[:2] + b"\0" + bed[3:])
    else:
        lines = (folder / f"cohort.{what}").read_text().splitlines(keepends=True)
        (folder / f"cohort.{what}").write_text("".join([lines[1], *lines[1:]]))
    words = {"length": "need", "magic": "begins with", "person-major": "person-major", "fam": "occur", "bim": "occur"}
    with pytest.raises((GenotypeError, AlignmentError), match=words[what]):
        run_study(study)
    assert not (folder / "results" / "study.json").exists()

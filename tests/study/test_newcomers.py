"""A second cohort of a genotype study: whatever its file calls variants and alleles, the predictions are the same."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from tests.data.genotypes.test_plink import made
from vnn._errors import AlignmentError, GenotypeError, StudyError
from vnn.cli.cohort import predicted
from vnn.cli.main import app
from vnn.data.genotypes import read_plink
from vnn.study import run_study

N, VARIANTS = 160, 24
OTHER = str.maketrans("ACGT", "TGCA")
ALLELES = [("A", "G"), ("C", "A"), ("T", "C"), ("G", "T")]
FILE = """
name = "cohort"
seed = 3
[data]
values = "cohort.bed"
labels = "people.csv"
target = "case"
classes = ["control", "case"]
covariates = ["age"]
[genotypes]
genes = "genes.txt"
upstream = 0
downstream = 0
coding = "{coding}"
[ontology]
name = "genes"
[splits]
kind = "hold-out"
[network]
dropout = 0.0
input_dropout = 0.0
[training]
epochs = 6
impute = "mean"
[compare]
models = []
[attribution]
crosscheck = 0
[report]
figures = false
"""


def vnn(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def fileset(folder: Path, dosages: np.ndarray, name: str, variants: pd.DataFrame, ids: list[str]) -> Path:
    made(
        folder, np.ascontiguousarray(dosages), name, iid=ids, sid=list(variants.index), chromosome=list(variants["chromosome"]),
        bp_position=list(variants["position"]), allele_1=list(variants["counted"]), allele_2=list(variants["other"]),
    )  # fmt: skip
    return folder / f"{name}.bed"


@pytest.fixture(scope="module")
def truth() -> tuple[np.ndarray, pd.DataFrame, np.ndarray, pd.DataFrame]:
    """Dosages of a study (common and rare counted alleles, some missing), its variants, and 20 other people with their labels."""
    rng = np.random.default_rng(8)
    frequency = rng.choice([0.15, 0.3, 0.75, 0.9], VARIANTS)
    whole = rng.binomial(2, frequency[:, None], (VARIANTS, N + 20)).astype(np.float32)
    whole[3, ::7] = np.nan
    pairs = [ALLELES[k % 4] for k in range(VARIANTS)]
    variants = pd.DataFrame(
        {"chromosome": ["1"] * 12 + ["2"] * 12, "position": 100 + np.arange(VARIANTS), "counted": [a for a, _ in pairs],
         "other": [b for _, b in pairs]}, index=[f"rs{k}" for k in range(VARIANTS)],
    )  # fmt: skip
    new = pd.DataFrame({"age": rng.normal(50, 9, 20)}, index=[f"n{i}" for i in range(20)])
    return whole[:, :N], variants, whole[:, N:], new


@pytest.fixture(scope="module", params=["additive", "dominant", "recessive", "genotype"])
def study(request, truth, tmp_path_factory) -> Path:
    """A finished study, and `new.bed`, the others as its own file would have them."""
    folder = tmp_path_factory.mktemp(request.param)
    dosages, variants, others, new = truth
    fileset(folder, dosages, "cohort", variants, [f"p{i}" for i in range(N)])
    fileset(folder, others, "new", variants, list(new.index))
    risk = np.nansum(dosages[:6], axis=0)
    people = pd.DataFrame(
        {"case": np.where(risk > np.median(risk), "case", "control"), "age": np.arange(N) % 50 + 20.0},
        index=[f"p{i}" for i in range(N)],
    )
    people.to_csv(folder / "people.csv", index_label="person")
    new.to_csv(folder / "new.csv", index_label="person")
    (folder / "genes.txt").write_text("1 100 105 FIRST\n1 106 111 SECOND\n2 112 123 THIRD\n")
    (folder / "study.toml").write_text(FILE.format(coding=request.param))
    run_study(folder / "study.toml")
    return folder / "results"


def recoded(truth, folder: Path, seed: int, *, lost: int = 0, extra: int = 3) -> Path:
    """The others again: other ids and names of chromosomes, shuffled, alleles exchanged and on the other strand at random."""
    _, variants, others, new = truth
    rng = np.random.default_rng(seed)
    dosages, table = others.copy(), variants.copy()
    swap, turn = rng.random(VARIANTS) < 0.5, rng.random(VARIANTS) < 0.5
    dosages[swap] = 2 - dosages[swap]
    table.loc[swap, ["counted", "other"]] = table.loc[swap, ["other", "counted"]].to_numpy()
    for name in ("counted", "other"):
        table[name] = [a.translate(OTHER) if turn[k] else a for k, a in enumerate(table[name])]
    table["chromosome"] = [f"chr{c}" for c in table["chromosome"]]
    table.index = pd.Index([f"{c}:{p}" for c, p in zip(table["chromosome"], table["position"], strict=True)])
    more = pd.DataFrame({"chromosome": "3", "position": range(1, extra + 1), "counted": "A", "other": "C"},
                        index=[f"extra{k}" for k in range(extra)])  # fmt: skip
    table = pd.concat([table, more])
    dosages = np.concatenate([dosages, rng.binomial(2, 0.5, (extra, 20)).astype(np.float32)])
    order, who = rng.permutation(len(table))[lost:], rng.permutation(20)
    ids = [str(new.index[i]) for i in who]
    return fileset(folder, dosages[order][:, who], f"recoded{seed}", table.iloc[order], ids)


def test_recoding_shuffling_and_renaming_change_no_prediction(study, truth, tmp_path):
    folder = study.parent
    plain = predicted(study, [str(folder / "new.bed")], labels=folder / "new.csv")
    assert (plain.variants["match"] == "same").all()
    for seed in (1, 2):
        again = predicted(study, [str(recoded(truth, tmp_path, seed))], labels=folder / "new.csv")
        assert set(again.variants["match"]) == {"same", "swapped", "other strand", "other strand, swapped"}
        ids = list(plain.predictions.index)
        pd.testing.assert_frame_equal(again.predictions.loc[ids], plain.predictions, rtol=0, atol=1e-6)
        pd.testing.assert_frame_equal(again.activities.loc[ids], plain.activities, rtol=0, atol=1e-5)
        assert "3 of 27 variants of the new genotypes are not of the study and not used" in again.text
        assert "24 of 24 variants of the study are there" in again.text


@pytest.mark.parametrize("study", ["recessive", "genotype"], indirect=True)
def test_people_of_the_study_are_predicted_as_the_study_did(study):
    folder = study.parent
    record = pd.read_csv(study / "predictions.csv", index_col=0).dropna()
    again = predicted(study, [str(folder / "cohort.bed")], labels=folder / "people.csv")
    np.testing.assert_allclose(again.predictions.loc[record.index, "case"], record["case"], rtol=0, atol=1e-6)
    assert "Some networks learnt from" in again.text


@pytest.mark.parametrize("study", ["additive"], indirect=True)
def test_what_a_study_keeps_is_what_its_file_says(study, truth):
    dosages, variants, _, _ = truth
    text = gzip.decompress((study / "variants.tsv.gz").read_bytes()).decode().splitlines()
    assert text[0].split("\t") == [
        "input", "variant", "chromosome", "position", "counted", "other", "minor", "frequency", "two", "one", "none",
        "missing",
    ]  # fmt: skip
    assert len(text) == VARIANTS + 1
    frequency = np.nanmean(dosages, axis=1) / 2
    for k, line in enumerate(text[1:]):
        fields = line.split("\t")
        assert fields[:2] == [f"rs{k}", f"rs{k}"]
        assert fields[6] == variants[["counted", "other"]].iloc[k, int(frequency[k] > 0.5)]
        assert float(fields[7]) == pytest.approx(frequency[k])
        assert fields[8:] == ["2.0", "1.0", "0.0", ""]


@pytest.mark.parametrize("study", ["additive"], indirect=True)
def test_the_command_writes_what_it_found_beside_the_prediction(study, truth, tmp_path):
    folder, bed = study.parent, recoded(truth, tmp_path, 5, lost=2)
    out = tmp_path / "out.csv"
    found = vnn("predict", study, bed, "--labels", folder / "new.csv", "--output", out)
    assert found.exit_code == 0, found.output
    assert pd.read_csv(out, index_col=0).shape[0] == 20
    told = (tmp_path / "out.report.txt").read_text()
    assert "variants are not there and become missing" in told
    assert told.strip() in found.output
    table = pd.read_csv(tmp_path / "out.variants.csv", index_col=0)
    assert len(table) == VARIANTS
    assert 0 < (table["match"] == "absent").sum() <= 2
    again = vnn("predict", study, bed, "--labels", folder / "new.csv", "--output", out)
    assert "exists already" in str(again.exception)


@pytest.mark.parametrize("study", ["additive"], indirect=True)
def test_bad_input_is_told(study, truth, tmp_path):
    folder = study.parent
    _, variants, others, new = truth
    with pytest.raises(StudyError, match=r"need the covariates 'age', and .*new\.bed has no 'age'"):
        predicted(study, [str(folder / "new.bed")])
    new.iloc[:15].to_csv(tmp_path / "few.csv", index_label="person")
    with pytest.raises(AlignmentError, match=r"5 of the 20 people have no row in .*few\.csv"):
        predicted(study, [str(folder / "new.bed")], labels=tmp_path / "few.csv")
    with pytest.raises(AlignmentError, match=r"at least 80% are needed"):
        predicted(study, [str(recoded(truth, tmp_path, 9, lost=10))], labels=folder / "new.csv")
    moved = variants.assign(position=variants["position"] + 1000)
    bed = fileset(tmp_path, others, "moved", moved, list(new.index))
    with pytest.raises(AlignmentError, match="another genome build"):
        predicted(study, [str(bed)], labels=folder / "new.csv")
    exchanged = variants.rename(columns={"counted": "other", "other": "counted"})
    bed = fileset(tmp_path, others, "exchanged", exchanged, list(new.index))
    with pytest.raises(GenotypeError, match="names of the alleles seem to be exchanged"):
        predicted(study, [str(bed)], labels=folder / "new.csv")
    cut = tmp_path / "cut.bed"
    for ending in (".bim", ".fam"):
        cut.with_suffix(ending).write_bytes((folder / f"new{ending}").read_bytes())
    cut.write_bytes((folder / "new.bed").read_bytes()[:-1])
    with pytest.raises(GenotypeError, match=r"The three files are not of one fileset, or the .bed is cut"):
        predicted(study, [str(cut)], labels=folder / "new.csv")
    nobody = fileset(tmp_path, others[:, :1], "nobody", variants, ["n0"])
    nobody.with_suffix(".fam").write_text("")
    nobody.write_bytes(nobody.read_bytes()[:3])
    with pytest.raises(GenotypeError, match=r"nobody\.fam is empty"):
        predicted(study, [str(nobody)], labels=folder / "new.csv")
    with pytest.raises(FileNotFoundError):
        predicted(study, [str(tmp_path / "nothing.bed")], labels=folder / "new.csv")
    with pytest.raises(GenotypeError, match="is no file that a reader knows"):
        predicted(study, [str(folder / "people.csv")], labels=folder / "new.csv")
    kept = (study / "variants.tsv.gz").read_bytes()
    (study / "variants.tsv.gz").unlink()
    with pytest.raises(StudyError, match=r"holds no variants\.tsv\.gz.*Run it again"):
        predicted(study, [str(folder / "new.bed")], labels=folder / "new.csv")
    (study / "variants.tsv.gz").write_bytes(kept)


@pytest.mark.parametrize("study", ["dominant"], indirect=True)
def test_variants_that_nobody_has_or_that_nobody_is_called_in(study, truth, tmp_path):
    """A .bim that has no name for an allele nobody has, and genotypes that are missing throughout, in the other cohort."""
    folder = study.parent
    _, variants, others, new = truth
    bare, dosages = variants.copy(), others.copy()
    dosages[[0, 4]] = 0
    plain = fileset(tmp_path, dosages, "plain", variants, list(new.index))
    bare.loc[["rs0", "rs4"], "counted"] = ["0", "."]
    unnamed = fileset(tmp_path, dosages, "unnamed", bare, list(new.index))
    one, two = (predicted(study, [str(bed)], labels=folder / "new.csv") for bed in (plain, unnamed))
    pd.testing.assert_frame_equal(one.predictions, two.predictions)
    dosages[[7, 8]] = np.nan
    empty = fileset(tmp_path, dosages, "empty", variants, list(new.index))
    lacking = fileset(
        tmp_path, np.delete(dosages, [7, 8], axis=0), "lacking", variants.drop(index=["rs7", "rs8"]), list(new.index)
    )
    one, two = (predicted(study, [str(bed)], labels=folder / "new.csv") for bed in (empty, lacking))
    pd.testing.assert_frame_equal(one.predictions, two.predictions)
    assert one.variants["frequency here"].isna().sum() == 2


@pytest.mark.parametrize("study", ["genotype"], indirect=True)
def test_a_new_person_is_explained_and_one_of_the_study_is_not(study, truth, tmp_path):
    folder = study.parent
    plain, other = (
        vnn("explain", study, bed, "--sample", "n3", "--labels", folder / "new.csv", "--level", "genes", "--json")
        for bed in (folder / "new.bed", recoded(truth, tmp_path, 1))
    )
    assert plain.exit_code == 0, plain.output
    one, two = (
        {node["node"]: node["contribution"] for node in json.loads(found.stdout)["nodes"] if node["level"] == "genes"}
        for found in (plain, other)
    )
    assert one.keys() == two.keys() == {"FIRST", "SECOND", "THIRD"}
    np.testing.assert_allclose(list(one.values()), list(two.values()), atol=1e-6)
    refused = vnn("explain", study, folder / "cohort.bed", "--sample", "p3", "--labels", folder / "people.csv")
    assert "shows no single people" in str(refused.exception)
    unknown = vnn("explain", study, folder / "new.bed", "--sample", "n33", "--labels", folder / "new.csv")
    assert "Did you mean" in str(unknown.exception)


@pytest.mark.parametrize("study", ["genotype"], indirect=True)
def test_a_vcf_is_predicted_as_the_fileset(study, truth, tmp_path):
    pytest.importorskip("cyvcf2")
    folder, genotypes = study.parent, read_plink(study.parent / "new")
    lines = [
        "##fileformat=VCFv4.2",
        "##contig=<ID=1>",
        "##contig=<ID=2>",
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="G">',
    ]
    lines.append("\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *genotypes.ids]))
    calls = {0.0: "0/0", 1.0: "0/1", 2.0: "1/1"}
    for (name, row), copies in zip(genotypes.variants.iterrows(), genotypes.dosages(), strict=True):
        told = [calls.get(float(value), "./.") for value in copies]
        alleles = [row["other"], row["counted"]]
        lines.append(
            "\t".join([str(row["chromosome"]), str(row["position"]), f"v{name}", *alleles, ".", ".", ".", "GT", *told])
        )
    (tmp_path / "new.vcf").write_text("\n".join(lines) + "\n")
    one, two = (
        predicted(study, [str(path)], labels=folder / "new.csv") for path in (folder / "new.bed", tmp_path / "new.vcf")
    )
    pd.testing.assert_frame_equal(one.predictions, two.predictions, rtol=0, atol=1e-6)

"""PLINK 2 filesets: the cells of the .bed they were made with, and an error for what cannot be read."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from vnn._errors import AlignmentError, GenotypeError
from vnn.data.genotypes import read_dosages, read_pgen, read_plink

pgenlib = pytest.importorskip("pgenlib")
plink2 = pytest.mark.skipif(shutil.which("plink2") is None, reason="needs plink2")


def written(
    folder: Path, alleles: np.ndarray, names: list[list[str]], head: str = "#IID\tSEX", name: str = "made"
) -> Path:
    """A fileset of allele pairs (n_variants, n_people, 2), -9 for missing, that pgenlib writes; `names`: [REF, ALT, ...]."""
    n_variants, n_people, _ = alleles.shape
    most = max(map(len, names))
    with pgenlib.PgenWriter(
        bytes(folder / f"{name}.pgen"), n_people, n_variants, nonref_flags=False, allele_ct_limit=max(most, 2)
    ) as writer:
        for row, listed in zip(alleles, names, strict=True):
            writer.append_alleles(np.ascontiguousarray(row.ravel(), dtype=np.int32), allele_ct=max(len(listed), 2))
    lines = [f"1\t{10 * i + 10}\trs{i}\t{listed[0]}\t{','.join(listed[1:]) or '.'}" for i, listed in enumerate(names)]
    (folder / f"{name}.pvar").write_text("\n".join(["#CHROM\tPOS\tID\tREF\tALT", *lines]) + "\n")
    fields = head.count("\t")
    people = [f"p{i}" + "\t1" * fields for i in range(n_people)]
    (folder / f"{name}.psam").write_text("\n".join([head, *people]) + "\n")
    return folder / name


@pytest.fixture
def some(tmp_path):
    rng = np.random.default_rng(2)
    names = [["A", "G"], ["C", "T", "G"], ["AT", "A"], ["G", "A"], ["T", "C", "A", "G"], ["A", "C"]]
    alleles = np.stack([rng.integers(0, len(listed), (9, 2)) for listed in names])
    alleles[rng.random((6, 9)) < 0.2] = -9
    return written(tmp_path, np.sort(alleles, axis=2), names), np.sort(alleles, axis=2), names


def copies(alleles: np.ndarray, k: int) -> np.ndarray:
    return np.where((alleles < 0).any(-1), np.nan, (alleles == k).sum(-1))


@pytest.mark.data
def test_the_given_file_has_the_cells_of_its_bed(real, tmp_path):
    prefix = real("genotype/regenie/example.pgen").with_suffix("")
    bed = read_plink(prefix)
    for found in (read_pgen(prefix), read_pgen(f"{prefix}.pgen", to=tmp_path / "calls")):
        np.testing.assert_array_equal(found.dosages(), bed.dosages())
        assert list(found.variants["counted"]) == ["1"] * 1000  # ALT is A1 of the .bed here
        assert list(found.variants["other"]) == ["2"] * 1000
        assert found.ids == bed.ids
        assert found.counts().sum(0).tolist() == [12_381, 0, 124_950, 362_669]
    np.testing.assert_array_equal(read_plink(tmp_path / "calls").dosages(), bed.dosages())
    numbers = found.people["phenotype"].astype(float)
    np.testing.assert_allclose(numbers, bed.people["phenotype"].astype(float), atol=1e-5)


@pytest.mark.parametrize("cells", [10, 30, 10_000])
def test_several_alleles(some, monkeypatch, cells):
    monkeypatch.setattr("vnn.data.genotypes.pgen.CELLS", cells)
    prefix, alleles, names = some
    with pytest.raises(
        GenotypeError, match=r"2 of the 6 records of made.pvar have several alternative alleles: 'rs1', 'rs4'"
    ):
        read_pgen(prefix)
    split = read_pgen(prefix, several="split", threshold=0.0)
    pairs = [(i, k) for i, listed in enumerate(names) for k in range(1, len(listed))]
    np.testing.assert_array_equal(split.dosages(), np.stack([copies(alleles[i], k) for i, k in pairs]))
    assert list(split.variants.index) == [
        "rs0", "rs1:T", "rs1:G", "rs2", "rs3", "rs4:C", "rs4:A", "rs4:G", "rs5",
    ]  # fmt: skip
    assert list(split.variants["counted"]) == [names[i][k] for i, k in pairs]
    assert list(split.variants["other"]) == [names[i][0] for i, _ in pairs]
    assert (
        "read pgen: 2 records with several alternative alleles, each counted against all others, in made.pgen"
        in split.log
    )
    dropped = read_pgen(prefix, several="drop")
    assert list(dropped.variants.index) == ["rs0", "rs2", "rs3", "rs5"]
    np.testing.assert_array_equal(dropped.dosages(), copies(alleles[[0, 2, 3, 5]], 1))
    assert "read pgen: 2 records left out: several alternative alleles in made.pgen" in dropped.log


@plink2
def test_imputed_dosages_are_called_as_plink2_calls_them(tmp_path):
    rng = np.random.default_rng(8)
    dosages = np.round(rng.uniform(0, 2, (40, 25)), 2)
    dosages[rng.random(dosages.shape) < 0.5] = 0
    rows = [
        "\t".join(["1", str(i + 1), f"rs{i}", "A", "G", ".", ".", ".", "DS", *(f"{x:g}" for x in row)])
        for i, row in enumerate(dosages)
    ]
    head = '##fileformat=VCFv4.2\n##contig=<ID=1>\n##FORMAT=<ID=DS,Number=A,Type=Float,Description="d">\n'
    people = "\t".join(f"p{j}" for j in range(25))
    columns = f"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t{people}\n"
    (tmp_path / "in.vcf").write_text(head + columns + "\n".join(rows) + "\n")
    for kind in ("--make-pgen", "--make-bed"):
        subprocess.run(
            ["plink2", "--vcf", "in.vcf", "dosage=DS", kind, "--out", kind[7:], "--threads", "1"],
            cwd=tmp_path, check=True, capture_output=True,
        )  # fmt: skip
    found = read_pgen(tmp_path / "pgen")
    bed = read_plink(tmp_path / "bed")
    np.testing.assert_array_equal(
        found.dosages(), np.where(bed.variants["counted"].to_numpy()[:, None] == "G", bed.dosages(), 2 - bed.dosages())
    )
    assert "are further away and missing; mean r2 loss 0." in found.log[0]
    zipped = ["plink2", "--pfile", "pgen", "--make-pgen", "vzs", "--out", "zipped", "--threads", "1"]
    subprocess.run(zipped, cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_array_equal(read_pgen(tmp_path / "zipped.pvar.zst").dosages(), found.dosages())
    whole = read_dosages(tmp_path / "pgen.pgen")
    np.testing.assert_allclose(whole.dosages(), dosages, atol=0.001)


def test_people(tmp_path):
    genotypes = np.zeros((1, 3, 2), dtype=int)
    prefix = written(tmp_path, genotypes, [["A", "G"]])
    psam = prefix.with_suffix(".psam")
    psam.write_text("##note\n#FID IID PAT MAT SEX bmi case\nf 1 0 0 2 22.5 1\nf 2 0 0 M 20 2\ng 1 2 0 NA NA NA\n")
    people = read_pgen(prefix).people
    assert list(people.index) == ["f:1", "f:2", "g:1"]
    assert people["sex"].tolist() == ["female", "male", ""]
    assert people["father"].tolist() == ["", "", "2"]
    assert people["bmi"].tolist() == ["22.5", "20", "NA"]
    psam.write_text("1 a 0 0 1 5\n1 b 0 0 2 6\n1 c 0 0 0 7\n")  # as a .fam
    people = read_pgen(prefix).people
    assert list(people.index) == ["a", "b", "c"]
    assert people["phenotype"].tolist() == ["5", "6", "7"]
    for text, says in (
        ("#IID SEX\na 1\nb\nc 1\n", "person 2 of made.psam has 1 fields; the 2 of the header"),
        ("#IID\na\nb\n", r"made.pgen does not fit made.pvar \(1 variants\) and made.psam \(2 people\)"),
        ("", "made.psam is empty"),
    ):
        psam.write_text(text)
        with pytest.raises(GenotypeError, match=says):
            read_pgen(prefix)
    psam.write_text("#IID\na\na\nb\n")
    with pytest.raises(AlignmentError, match="'a'"):
        read_pgen(prefix)


class TestBroken:
    @pytest.fixture
    def prefix(self, tmp_path):
        rng = np.random.default_rng(1)
        return written(tmp_path, rng.integers(0, 2, (300, 40, 2)), [["A", "G"]] * 300)

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (lambda raw: b"", "made.pgen is empty"),
            (lambda raw: b"xx" + raw[2:], "begins with the bytes 78 78; a .pgen begins with 6c 1b"),
            (lambda raw: raw[:8], "is cut"),
            (lambda raw: raw[:200], "is cut"),
            (lambda raw: raw[:-1], "is cut"),
        ],
    )
    def test_pgen(self, prefix, tmp_path, change, says):
        pgen = prefix.with_suffix(".pgen")
        pgen.write_bytes(change(pgen.read_bytes()))
        with pytest.raises(GenotypeError, match=says):
            read_pgen(prefix, to=tmp_path / "calls")
        assert not list(tmp_path.glob("calls*"))

    def test_another_pvar(self, prefix):
        pvar = prefix.with_suffix(".pvar")
        pvar.write_text("".join(pvar.read_text().splitlines(keepends=True)[:-2]))
        with pytest.raises(GenotypeError, match=r"does not fit made.pvar \(298 variants\)"):
            read_pgen(prefix)
        pvar.write_text("no table\n")
        with pytest.raises(GenotypeError, match=r"made\.pvar is no \.pvar"):
            read_pgen(prefix)

    def test_lacking(self, prefix):
        prefix.with_suffix(".psam").unlink()
        with pytest.raises(FileNotFoundError, match=r"made.psam is not there; a PLINK 2 fileset"):
            read_pgen(prefix)

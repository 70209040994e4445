"""VCF and BCF: what a parser of a few lines reads, every rule counted, and an error for what cannot be read."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from vnn._errors import AlignmentError, GenotypeError
from vnn.data.genotypes import read_dosages, read_plink, read_vcf

cyvcf2 = pytest.importorskip("cyvcf2")
plink2 = pytest.mark.skipif(shutil.which("plink2") is None, reason="needs plink2")
LARGE = "genotype/plink_missing/1kg_target_chr20_38_imputed_chr20_1000.vcf"
SMALL = "genotype/plink_missing/sample.vcf.gz"


def oracle(path: Path) -> tuple[list[tuple], np.ndarray, np.ndarray]:
    """Chromosome, position, ID, REF and ALT of every alternative allele; copies by GT, and DS."""
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    names, called, dosed = [], [], []
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        chromosome, position, name, ref, alt, _, _, _, form, *people = line.split("\t")
        for k, one in enumerate(alt.split(","), start=1):
            names.append((chromosome, int(position), name, ref, one))
            copies, doses = [], []
            for person in people:
                values = dict(zip(form.split(":"), person.split(":"), strict=False))
                alleles = values["GT"].replace("|", "/").split("/")
                n = np.nan if "." in alleles else float(sum(allele == str(k) for allele in alleles))
                copies.append(2 * n if len(alleles) == 1 else n)
                doses.append(
                    float(values.get("DS", "nan").split(",")[min(k, len(values.get("DS", "nan").split(","))) - 1])
                )
            called.append(copies)
            dosed.append(doses)
    return names, np.array(called), np.array(dosed)


@pytest.mark.data
def test_a_given_file_as_a_plain_parser_reads_it(real, tmp_path):
    path = real(LARGE)
    names, called, dosed = oracle(path)
    found = read_vcf(path, to=tmp_path / "calls", build="GRCh37")
    np.testing.assert_array_equal(found.dosages(), called)
    assert [*zip(found.variants["position"], found.variants["other"], found.variants["counted"], strict=True)] == [
        (position, ref, alt) for _, position, _, ref, alt in names
    ]
    assert set(found.variants["chromosome"]) == {"20"}
    assert found.variants.index[0] == "20:60137:T:C"
    assert found.ids[:2] == ("HG01258", "HG00408")
    assert read_plink(tmp_path / "calls").ids == found.ids
    kept = read_dosages(path)
    np.testing.assert_allclose(kept.dosages(), dosed, atol=0.0005)
    near = np.abs(dosed - np.rint(dosed)) < 0.1001
    calls = read_vcf(path, field="DS")
    np.testing.assert_array_equal(calls.dosages(), np.where(near, np.rint(dosed), np.nan))
    assert "284 of 13,818 (2.06%) are further away and missing" in calls.log[0]


@pytest.mark.data
@pytest.mark.parametrize("cells", [1, 20, 10_000])
def test_a_given_file_with_everything(real, monkeypatch, cells):
    monkeypatch.setattr("vnn.data.genotypes.vcf.CELLS", cells)
    path = real(SMALL)
    names, called, _ = oracle(path)
    with pytest.raises(
        GenotypeError, match=r"3 of the 9 records .*: '20:1110696 \(rs6040355\)', '20:1234567 \(microsat1\)'"
    ):
        read_vcf(path)
    found = read_vcf(path, several="split")
    np.testing.assert_array_equal(found.dosages(), called)
    assert list(found.variants["counted"]) == [name[4] for name in names]
    assert [name for name in found.variants.index if ":" not in name] == ["rs6054257"]
    assert [name for name in found.variants.index if name.startswith("rsTest")] == [
        "rsTest:A",
        "rsTest:ATG",
        "rsTest:C",
    ]
    for line in (
        "1 records whose FILTER is neither PASS nor '.', kept,",
        "3 records with several alternative alleles, each counted against all others,",
        "2 records without an alternative allele, kept as variants nobody has a copy of,",
        "1 haploid calls on chromosome X, coded as two copies or none,",
    ):
        assert f"read vcf: {line} in sample.vcf.gz" in found.log
    dropped = read_vcf(path, several="drop")
    assert dropped.n_variants == 6
    assert "read vcf: 3 records left out: several alternative alleles in sample.vcf.gz" in dropped.log


def written(folder: Path, *records: str, people: str = "a b c", name: str = "made.vcf") -> Path:
    """A VCF; the fields of a record are parted by spaces, the last of them the people's."""
    head = ["##fileformat=VCFv4.2", "##contig=<ID=1>", "##contig=<ID=X>", '##FILTER=<ID=q,Description="q">']
    for field, number in (("GT", "1"), ("DS", "A"), ("GP", "G")):
        kind = "String" if field == "GT" else "Float"
        head.append(f'##FORMAT=<ID={field},Number={number},Type={kind},Description="{field}">')
    lines = ["\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *people.split()])]
    for record in records:
        chromosome, position, called, ref, alt, form, *calls = record.split()
        lines.append("\t".join([chromosome, position, called, ref, alt, ".", ".", ".", form, *calls]))
    path = folder / name
    path.write_text("\n".join([*head, *lines]) + "\n")
    return path


def test_half_calls(tmp_path):
    path = written(tmp_path, "1 1 r A G GT ./1 0/. .", "1 2 s A G GT 1|. ./. 0|1", "X 3 t A G GT 1 0 .")
    wanted = {
        "missing": [[np.nan, np.nan, np.nan], [np.nan, np.nan, 1], [2, 0, np.nan]],
        "reference": [[1, 0, np.nan], [1, np.nan, 1], [2, 0, np.nan]],
        "haploid": [[2, 0, np.nan], [2, np.nan, 1], [2, 0, np.nan]],
    }
    for rule, copies in wanted.items():
        found = read_vcf(path, half_calls=rule)
        np.testing.assert_array_equal(found.dosages(), copies)
        assert f"read vcf: 3 half-calls such as ./1, read as {rule}, in made.vcf" in found.log
        assert "read vcf: 2 haploid calls on chromosome X, coded as two copies or none, in made.vcf" in found.log
    with pytest.raises(GenotypeError, match=r"3 half-calls such as ./1 .* first at 1:1"):
        read_vcf(path, half_calls="error")


def test_alleles_without_a_sequence(tmp_path):
    path = written(
        tmp_path, "1 1 r A G,* GT 0/1 1/2 2/2", "1 2 s A <NON_REF> GT 0/0 0/1 0/0", "1 3 t A <DEL> GT 0/1 1/1 0/0",
        "1 4 u A . GT 0/0 0/0 ./.", "1 5 v A A[1:9[ GT 0|0 1|0 0|0",
    )  # fmt: skip
    found = read_vcf(path)  # none of these has several alleles of its own
    assert list(found.variants.index) == ["r", "t", "u", "v"]
    np.testing.assert_array_equal(found.dosages(), [[1, 1, 0], [1, 2, 0], [0, 0, np.nan], [0, 1, 0]])
    for line in (
        "2 records with an allele *, <*> or <NON_REF>, which counts with the others only,",
        "1 records left out: no allele but REF, *, <*> and <NON_REF>",
        "2 variants with a symbolic allele such as <DEL> or a breakend",
        "1 records without an alternative allele, kept as variants nobody has a copy of,",
    ):
        assert f"read vcf: {line} in made.vcf" in found.log


def test_dosages_and_probabilities(tmp_path):
    path = written(
        tmp_path,
        "1 1 r A G GT:DS:GP 0/1:0.93:0.1,0.87,0.03 0/0:.:1,0,0 1/1:1.5:0,0.5,0.5",
        "1 2 s A G DS:GP 0.1:0.9,0.1,0 .:. 2:0,0,1",
        "X 3 t A G GT:DS:GP 1:0.98:0.02,0.98 0/1:1:0,1,0 .:.:.",
    )
    np.testing.assert_allclose(
        read_dosages(path).dosages(), [[0.93, 0, 1.5], [0.1, np.nan, 2], [1.96, 1, np.nan]], atol=0.001
    )
    np.testing.assert_allclose(
        read_dosages(path, field="GP").dosages(), [[0.93, 0, 1.5], [0.1, np.nan, 2], [1.96, 1, np.nan]], atol=0.001
    )
    found = read_vcf(path, field="DS")
    np.testing.assert_array_equal(found.dosages(), [[1, 0, np.nan], [0, np.nan, 2], [2, 1, np.nan]])
    assert "read vcf: 1 genotypes without DS, taken from GT, in made.vcf" in found.log
    with pytest.raises(
        GenotypeError, match=r'1:2 \(s\) of made.vcf has no GT \(its FORMAT is DS:GP\): give field="DS"'
    ):
        read_vcf(path)
    several = written(
        tmp_path, "1 1 r A G,T GT:DS:GP 1/2:0.8,1.1:0,0,0.1,0.1,0.7,0.1 0/0:0,0:1,0,0,0,0,0", people="a b"
    )
    for field in ("DS", "GP"):  # GP in the order AA, AG, GG, AT, GT, TT
        found = read_dosages(several, field=field, several="split").dosages()
        np.testing.assert_allclose(
            found, [[0.8 if field == "DS" else 0.9, 0], [1.1 if field == "DS" else 1.0, 0]], atol=0.001
        )
    for wrong in ("1 1 r A G DS 2.5 0 0", "1 1 r A G GT:DS 1:1.5 0:0 0:0", "1 1 r A G GP 0,3,30 1,0,0 1,0,0"):
        with pytest.raises(
            GenotypeError, match=r"1:1 \(r\) of made.vcf has .*: (dosages are 0..2|probabilities, not Phred)"
        ):
            read_dosages(written(tmp_path, wrong), field="GP" if "GP" in wrong else "DS")


@plink2
def test_calls_of_dosages_are_those_of_plink2(tmp_path):
    rng = np.random.default_rng(4)
    records = []
    for i in range(60):
        people = [
            f"{rng.choice(['0/0', '0/1', '1/1', './.'])}:{rng.choice([f'{rng.integers(0, 201) / 100:g}', '.'], p=[0.9, 0.1])}"
            for _ in range(21)
        ]
        records.append(f"1 {i + 1} rs{i} A G GT:DS {' '.join(people)}")
    path = written(tmp_path, *records, people=" ".join(f"p{j}" for j in range(21)))
    command = ["plink2", "--vcf", path.name, "dosage=DS", "--make-bed", "--out", "theirs", "--threads", "1"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    theirs = read_plink(tmp_path / "theirs")
    counted = theirs.variants["counted"].to_numpy()[:, None] == "G"
    wanted = np.where(counted, theirs.dosages(), 2 - theirs.dosages())
    np.testing.assert_array_equal(read_vcf(path, field="DS").dosages(), wanted)


def test_files_of_chromosomes_and_other_containers(tmp_path):
    one = written(tmp_path, "1 1 r A G GT 0/1 1/1 0/0", name="one.vcf")
    two = written(tmp_path, "X 1 s A G GT 1 0/1 0", people="c a b", name="two.vcf")
    found = read_vcf(one, two)
    np.testing.assert_array_equal(found.dosages(), [[1, 2, 0], [1, 0, 2]])
    reader = cyvcf2.VCF(str(one))
    for name, mode in (("one.bcf", "wb"), ("plain.bcf", "wbu"), ("one.vcf.gz", "wz")):
        writer = cyvcf2.Writer(str(tmp_path / name), reader, mode=mode)
        for record in cyvcf2.VCF(str(one)):
            writer.write_record(record)
        writer.close()
        np.testing.assert_array_equal(read_vcf(tmp_path / name).dosages(), [[1, 2, 0]])
    (tmp_path / "simple.vcf.gz").write_bytes(gzip.compress(one.read_bytes()))
    np.testing.assert_array_equal(read_vcf(tmp_path / "simple.vcf.gz").dosages(), [[1, 2, 0]])


def test_repeated_ids(tmp_path):
    path = written(tmp_path, "1 1 r A G GT 0/1 1/1 0/0", "1 1 r A T GT 0/0 0/0 0/1")
    with pytest.raises(AlignmentError, match=r"1 variants of made.vcf have the id of another: 'r'"):
        read_vcf(path)
    assert list(read_vcf(path, ids="position").variants.index) == ["1:1:A:G", "1:1:A:T"]


class TestBroken:
    @pytest.mark.data
    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (lambda raw: b"", "is empty"),
            (lambda raw: raw[:-28], "lacks the block that ends every BGZF file: it is cut"),
            (lambda raw: raw[:600], "it is cut"),
            (lambda raw: raw[:300] + b"\x00" * 40 + raw[340:], "cannot read|cannot be read|damaged"),
            (lambda raw: gzip.compress(gzip.decompress(raw))[:-60], "cannot read|cut or damaged"),
        ],
    )
    def test_zipped(self, real, tmp_path, change, says):
        path = tmp_path / "made.vcf.gz"
        path.write_bytes(change(real(SMALL).read_bytes()))
        with pytest.raises(GenotypeError, match=says):
            read_vcf(path, several="split", to=tmp_path / "calls")
        assert not list(tmp_path.glob("calls*"))

    @pytest.mark.data
    def test_text(self, real, tmp_path):
        raw = real(LARGE).read_bytes()
        path = tmp_path / "made.vcf"
        for change, says in (
            (raw[:20_000], "ends within a line: it is cut"),
            (raw[:20_000].rsplit(b"\t", 1)[0] + b"\n", "made.vcf is cut or damaged after 20:65818|after chr20:65818"),
            (b"id,value\na,1\n", "is no VCF or BCF"),
        ):
            path.write_bytes(change)
            with pytest.raises(GenotypeError, match=says):
                read_vcf(path)

    @pytest.mark.parametrize(
        ("record", "says"),
        [
            ("1 1 r A G GT 0/0/1 0/0/0 0/0/1", r"1:1 \(r\) of made.vcf has calls of 3 alleles per person"),
            ("1 1 r A G GT 0/2 0/0 0/0", "has a call of allele 2 and 1 ALT alleles"),
        ],
    )
    def test_calls(self, tmp_path, record, says):
        with pytest.raises(GenotypeError, match=says):
            read_vcf(written(tmp_path, record))

    def test_nobody(self, tmp_path):
        path = written(tmp_path, people="")
        path.write_text(path.read_text().replace("\tFORMAT", ""))
        with pytest.raises(GenotypeError, match="has no samples: it lists sites only"):
            read_vcf(path)
        with pytest.raises(FileNotFoundError, match=r"absent.vcf is not there"):
            read_vcf(tmp_path / "absent.vcf")

    def test_options(self, tmp_path):
        with pytest.raises(ValueError, match="field is 'HDS'; known are 'GT', 'DS', 'GP'"):
            read_vcf(written(tmp_path), field="HDS")

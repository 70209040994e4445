"""PLINK filesets: bit by bit what bed-reader reads, any subset, and an error for what cannot be read."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bed_reader import open_bed, to_bed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vnn._errors import AlignmentError, GenotypeError
from vnn.data.genotypes import Genotypes, fam_phenotype, read_plink, write_plink


def oracle(prefix: Path) -> np.ndarray:
    """Copies of allele 1, (n_variants, n_people), by bed-reader."""
    with open_bed(f"{prefix}.bed", count_A1=True) as bed:
        return bed.read(dtype="float32").T


@pytest.fixture
def toy500(real, tmp_path):
    bed = real("genotype/toy500/toydata.5chrom.bed.gz")
    (tmp_path / "toy.bed").write_bytes(gzip.decompress(bed.read_bytes()))
    for suffix in ("bim", "fam"):
        (tmp_path / f"toy.{suffix}").write_bytes(real(f"genotype/toy500/toydata.5chrom.{suffix}").read_bytes())
    return tmp_path / "toy"


GIVEN = {
    "gennet_a_to_z/plink/GenNet_simulation": [125_414, 0, 588_526, 686_060],
    "regenie/example": [12_381, 0, 124_950, 362_669],
    "regenie/example_3chr": [10_424, 0, 76_699, 162_877],
    "plink_missing/plink_sim_10s_100v_10pmiss": [329, 111, 297, 263],
}


@pytest.mark.data
@pytest.mark.parametrize("name", GIVEN)
def test_given_files_are_read_as_bed_reader_reads_them(real, name):
    prefix = real(f"genotype/{name}.bed").with_suffix("")
    genotypes = read_plink(prefix)
    np.testing.assert_array_equal(genotypes.dosages(), oracle(prefix))
    assert genotypes.counts().sum(0).tolist() == GIVEN[name]
    assert genotypes.person_counts().sum(0).tolist() == GIVEN[name]


@pytest.mark.data
def test_a_larger_given_file(toy500):
    genotypes = read_plink(toy500)
    np.testing.assert_array_equal(genotypes.dosages(), oracle(toy500))
    assert genotypes.counts().sum(0).tolist() == [464_841, 0, 1_831_030, 2_704_129]
    assert (genotypes.n_variants, genotypes.n_people) == (10_000, 500)


def made(folder: Path, dosages: np.ndarray, name: str = "made", **properties: list[str]) -> Path:
    """A fileset that bed-reader writes, of copies of allele 1 (n_variants, n_people)."""
    n_variants, n_people = dosages.shape
    known = {
        "iid": [f"p{i}" for i in range(n_people)], "sid": [f"rs{i}" for i in range(n_variants)],
        "chromosome": ["1"] * n_variants, "bp_position": list(range(1, n_variants + 1)),
        "allele_1": ["A"] * n_variants, "allele_2": ["G"] * n_variants,
    }  # fmt: skip
    to_bed(folder / f"{name}.bed", dosages.T, properties=known | properties, count_A1=True)
    return folder / name


TABLES = st.tuples(st.integers(1, 40), st.integers(1, 140), st.integers(0, 2**32 - 1))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TABLES)
def test_any_part_of_any_file(tmp_path, drawn):
    n_variants, n_people, seed = drawn
    rng = np.random.default_rng(seed)
    dosages = rng.choice([0.0, 1.0, 2.0, np.nan], (n_variants, n_people), p=[0.4, 0.3, 0.2, 0.1]).astype(np.float32)
    prefix = made(tmp_path, dosages)
    genotypes = read_plink(prefix)
    np.testing.assert_array_equal(genotypes.dosages(), dosages)
    variants = rng.permutation(n_variants)[: rng.integers(1, n_variants + 1)]
    people = rng.permutation(n_people)[: rng.integers(1, n_people + 1)]
    part = genotypes.select([f"rs{i}" for i in variants], [f"p{i}" for i in people])
    wanted = dosages[np.ix_(variants, people)]
    np.testing.assert_array_equal(part.dosages(), wanted)
    codes = [(wanted == 2), np.isnan(wanted), (wanted == 1), (wanted == 0)]
    np.testing.assert_array_equal(part.counts(), np.stack([code.sum(1) for code in codes], 1))
    np.testing.assert_array_equal(part.person_counts(), np.stack([code.sum(0) for code in codes], 1))
    keep = rng.random(len(people)) < 0.5
    np.testing.assert_array_equal(part.counts(keep), np.stack([code[:, keep].sum(1) for code in codes], 1))
    for size in (1, 3):
        blocks = [rows for _, rows in part.packed(size)]
        np.testing.assert_array_equal(np.concatenate(blocks), np.concatenate([rows for _, rows in part.packed()]))
    write_plink(part, tmp_path / "again")
    np.testing.assert_array_equal(oracle(tmp_path / "again"), wanted)
    again = read_plink(tmp_path / "again")
    pd.testing.assert_frame_equal(again.variants, part.variants)
    assert again.ids == part.ids


def test_chromosomes_in_files_of_their_own_with_people_in_other_orders(tmp_path):
    rng = np.random.default_rng(1)
    dosages = rng.integers(0, 3, (9, 70)).astype(np.float32)
    order = rng.permutation(70)
    first = made(tmp_path, dosages[:4], "one")
    second = made(
        tmp_path, dosages[4:, order], "two", iid=[f"p{i}" for i in order], sid=[f"rs{i}" for i in range(4, 9)],
        chromosome=["2"] * 5,
    )  # fmt: skip
    genotypes = read_plink(first, second)
    np.testing.assert_array_equal(genotypes.dosages(), dosages)
    some = genotypes.select(["rs7", "rs2", "rs3", "rs4"], ["p9", "p1"])
    np.testing.assert_array_equal(some.dosages(), dosages[np.ix_([7, 2, 3, 4], [9, 1])])
    strangers = made(tmp_path, dosages[4:], "three", iid=["q0", *(f"p{i}" for i in range(1, 70))], sid=list("abcde"))
    with pytest.raises(AlignmentError, match=r"2 are in one of them only: 'p0', 'q0'"):
        read_plink(first, strangers)
    with pytest.raises(AlignmentError, match="variant ids"):
        read_plink(first, first)


def test_names_are_put_in_order_and_said(tmp_path):
    prefix = made(
        tmp_path, np.ones((4, 3), np.float32), sid=[".", "rs1", ".", "x"], chromosome=["chr1", "23", "chrX", "26"]
    )
    genotypes = read_plink(prefix, build="GRCh38")
    assert list(genotypes.variants.index) == ["1:1:G:A", "rs1", "X:3:G:A", "x"]
    assert list(genotypes.variants["chromosome"]) == ["1", "X", "X", "MT"]
    assert genotypes.log == (
        "read plink: chromosomes of made.bim are called '23 -> X', '26 -> MT', 'chr1 -> 1', 'chrX -> X'",
        "read plink: 2 variants of made.bim have no id and are called like '1:1:G:A'",
    )
    assert repr(genotypes) == "Genotypes(4 variants in 3 people, GRCh38)"


def test_people_of_the_same_individual_id_are_called_by_both(tmp_path):
    prefix = made(tmp_path, np.ones((2, 3), np.float32), iid=["1", "1", "2"], fid=["a", "b", "a"])
    assert read_plink(prefix).ids == ("a:1", "b:1", "a:2")


class TestBroken:
    @pytest.fixture
    def prefix(self, tmp_path):
        return made(tmp_path, np.ones((5, 7), np.float32))

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (lambda raw: raw[:-1], r"has 12 bytes; 5 variants of the .bim and 7 people of the .fam need 13"),
            (lambda raw: raw + b"\0", r"has 14 bytes"),
            (lambda raw: b"\x6c\x1c" + raw[2:], r"begins with the bytes 6c 1c; a .bed begins with 6c 1b"),
            (lambda raw: raw[:2] + b"\0" + raw[3:], r"person-major .bed \(third byte 00\)"),
            (lambda raw: raw[:2], r"third byte missing"),
            (lambda raw: b"", "begins with the bytes"),
        ],
    )
    def test_bed(self, prefix, change, says):
        bed = prefix.with_suffix(".bed")
        bed.write_bytes(change(bed.read_bytes()))
        with pytest.raises(GenotypeError, match=says):
            read_plink(prefix)

    def test_another_bim(self, prefix):
        bim = prefix.with_suffix(".bim")
        bim.write_text("".join(bim.read_text().splitlines(keepends=True)[:4]))
        with pytest.raises(GenotypeError, match=r"4 variants of the .bim and 7 people of the .fam need 11"):
            read_plink(prefix)

    def test_short_line(self, prefix):
        fam = prefix.with_suffix(".fam")
        fam.write_text("0 p0 0 0 0\n" + fam.read_text())
        with pytest.raises(GenotypeError, match=r"made.fam, line 1, has 5 fields; 6 are needed"):
            read_plink(prefix)

    def test_repeated_ids(self, prefix):
        bim, fam = prefix.with_suffix(".bim"), prefix.with_suffix(".fam")
        kept = bim.read_text()
        bim.write_text(kept.replace("rs3", "rs1"))
        with pytest.raises(AlignmentError, match="rs1"):
            read_plink(prefix)
        bim.write_text(kept)
        fam.write_text(fam.read_text().replace("p3", "p1"))
        with pytest.raises(AlignmentError, match="0:p1"):
            read_plink(prefix)

    def test_lacking_file(self, prefix):
        prefix.with_suffix(".fam").unlink()
        with pytest.raises(FileNotFoundError, match=r"made\.fam is not there"):
            read_plink(prefix)

    def test_names_that_are_not_there(self, prefix):
        genotypes = read_plink(prefix)
        with pytest.raises(AlignmentError, match=r"lack 1 of the 2 variants asked for: 'rs9'"):
            genotypes.select(["rs1", "rs9"])
        with pytest.raises(AlignmentError, match="people asked for"):
            genotypes.select(ids=["p1", "p1"])


def people(*values: str) -> pd.DataFrame:
    return pd.DataFrame({"phenotype": list(values)}, index=[f"p{i}" for i in range(len(values))], dtype=object)


class TestPhenotype:
    @pytest.mark.data
    def test_the_given_file_is_ambiguous(self, real):
        prefix = real("genotype/gennet_a_to_z/plink/GenNet_simulation.bed").with_suffix("")
        table = read_plink(prefix).people
        with pytest.raises(
            GenotypeError, match=r"By PLINK's coding .* these are 2,7\d\d controls and 0 cases; as 0 control"
        ):
            fam_phenotype(table)
        assert fam_phenotype(table, "0/1").value_counts(normalize=True)["case"] == pytest.approx(0.195, abs=0.005)

    def test_codings(self):
        assert fam_phenotype(people("1", "2", "-9", "2")).to_dict() == {"p0": "control", "p1": "case", "p3": "case"}
        assert fam_phenotype(people("1", "2", "0")).to_dict() == {"p0": "control", "p1": "case"}
        assert fam_phenotype(people("1.5", "NA", "-3")).to_dict() == {"p0": 1.5, "p2": -3.0}
        with pytest.raises(GenotypeError, match="coded 0/1 and holds '2'"):
            fam_phenotype(people("0", "2"), "0/1")
        with pytest.raises(GenotypeError, match="not numeric: 'high'"):
            fam_phenotype(people("1.5", "high"))


def test_tables_are_joined_by_id(tmp_path):
    dosages = np.arange(12).reshape(2, 6) % 3
    genotypes = read_plink(made(tmp_path, dosages.astype(np.float32)))
    traits = pd.DataFrame({"bmi": [3.0, 1.0, 2.0]}, index=["p3", "p1", "x"])
    with pytest.raises(AlignmentError, match="p0"):
        genotypes.joined(targets=traits)
    kept = genotypes.joined(targets=traits, unmatched="drop")
    assert isinstance(kept, Genotypes)
    assert kept.ids == ("p1", "p3")
    assert kept.targets["bmi"].tolist() == [1.0, 3.0]
    np.testing.assert_array_equal(kept.dosages(), dosages[:, [1, 3]])
    assert len(kept.log) == 2

"""GenNet's folder: the cells of the .bed it was made of, rows by subjects.csv, and values that are no genotypes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vnn._errors import AlignmentError, GenotypeError
from vnn.data.genotypes import Dosages, oriented, read_gennet_folder, read_plink
from vnn.data.genotypes.gennet import open_gennet
from vnn.data.genotypes.streams import packed

h5py = pytest.importorskip("h5py")


@pytest.mark.data
def test_a_to_z_has_the_cells_of_its_bed(real, tmp_path):
    folder = real("genotype/gennet_a_to_z/run_folder/genotype.h5").parent
    prefix = folder.parent / "plink" / "GenNet_simulation"
    study = read_gennet_folder(folder, bim=f"{prefix}.bim", to=tmp_path / "calls")
    found = study.genotypes
    with h5py.File(folder / "genotype.h5") as file:
        raw = file["data"][:]
    bed = read_plink(prefix)
    turned = oriented(bed, bed.variants["other"])  # the .h5 counts allele 2
    np.testing.assert_array_equal(turned.dosages(), raw.T)
    np.testing.assert_array_equal(found.dosages(), turned.select(ids=found.ids).dosages())
    assert found.counts().sum(0).tolist() == [686_060, 0, 588_526, 125_414]
    assert list(found.variants["counted"]) == list(bed.variants["other"])
    assert (len(study.split.train), len(study.split.validation), len(study.split.test)) == (10_000, 2_000, 2_000)
    assert set(study.topology.inputs) == set(found.variants.index)
    assert found.targets["labels"].mean() == pytest.approx(0.195, abs=0.005)
    assert found.targets["labels"].loc["sample_1"] == 1


@pytest.mark.data
def test_the_regression_has_values_that_are_no_genotypes(real):
    folder = real("genotype/gennet_regression/genotype.h5").parent
    with h5py.File(folder / "genotype.h5") as file:
        raw = file["data"][:]
    with pytest.raises(
        GenotypeError,
        match=r"156,955 of the 1,000,000 values .* -1 \(152,972 times\).*outside=\"missing\" .* outside=\"keep\"",
    ):
        read_gennet_folder(folder)
    kept = read_gennet_folder(folder, outside="keep")
    assert isinstance(kept.genotypes, Dosages)
    np.testing.assert_array_equal(kept.genotypes.dosages(), raw.T)
    assert [len(mask) for mask in kept.topology.masks] == [100, 10]  # ten edges of genes to pathways, not a hundred
    calls = read_gennet_folder(folder, outside="missing").genotypes
    np.testing.assert_array_equal(calls.dosages(), np.where((raw < 0) | (raw > 2), np.nan, raw).T)
    assert "read gennet: 156,955 values outside 0..2, now missing, in genotype.h5" in calls.log
    assert calls.targets["labels"].iloc[0] == pytest.approx(0.5319656429)


SUBJECTS = """ ,patient_id , labels,genotype_row,set,cov_1
0,b ,1.5,0,1,3
1,a ,0,3,2,4
2,c ,1,1,3,5
3,d ,1,4,0,6
"""
TOPOLOGY = """,chr,layer0_node,layer0_name,layer1_node,layer1_name
0,1,2,chr1:30 ,0,G
1,1,0,rs7,0,G
2,1,2,chr1:30 ,1,H
"""


def written(folder: Path, values: np.ndarray, **options: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "subjects.csv").write_text(SUBJECTS)
    (folder / "topology.csv").write_text(TOPOLOGY)
    with h5py.File(folder / "genotype.h5", "w") as file:
        file.create_dataset("data", data=values, **options)
    return folder


@pytest.fixture
def values():
    return np.random.default_rng(3).integers(0, 3, (6, 4)).astype(np.int8)


@pytest.mark.parametrize("options", [{}, {"chunks": (2, 1)}, {"chunks": (2, 3)}, {"chunks": (1, 4)}])
@pytest.mark.parametrize(("cells", "read"), [(7, 1), (7, 20), (7, 99), (13, 99), (99, 99)])
def test_rows_follow_the_subjects_and_columns_the_topology(tmp_path, values, options, monkeypatch, cells, read):
    monkeypatch.setattr("vnn.data.genotypes.gennet.CELLS", cells)
    monkeypatch.setattr("vnn.data.genotypes.gennet.READ", read)
    study = read_gennet_folder(written(tmp_path / "made", values, **options))
    found = study.genotypes
    assert found.ids == ("b", "a", "c", "d")
    np.testing.assert_array_equal(found.dosages(), values[[0, 3, 1, 4]].T)
    assert list(found.variants.index) == ["rs7", "column 1", "chr1:30", "column 3"]
    assert found.variants.loc["chr1:30", ["chromosome", "position"]].tolist() == ["1", 30]
    assert (study.split.train, study.split.validation, study.split.test) == (("b",), ("a",), ("c",))
    assert found.covariates["cov_1"].tolist() == [3, 4, 5, 6]
    assert found.targets["labels"].tolist() == [1.5, 0, 1, 1]
    assert found.log == (
        "read gennet: 2 rows without a person in subjects.csv, left out, in genotype.h5",
        "read gennet: 2 variants in no path of the topology, called 'column ...', in genotype.h5",
        "read gennet: 4 variants whose alleles are not known (give bim=) in genotype.h5",
        "read gennet: 1 people of subjects.csv are in no set from 1 to 3, and in no part",
    )


def test_fractions_are_called(tmp_path, values):
    fractions = values + np.where(values < 2, 0.05, 0).astype(np.float32)
    fractions[0, 0], fractions[3, 1] = 0.5, np.nan
    found = packed([open_gennet(written(tmp_path / "made", fractions))]).dosages()
    wanted = values.astype(float)
    wanted[0, 0] = wanted[3, 1] = np.nan
    np.testing.assert_array_equal(found, wanted[[0, 3, 1, 4]].T)


def test_alleles_of_a_bim(tmp_path, values):
    folder = written(tmp_path / "made", values)
    bim = tmp_path / "x.bim"
    bim.write_text("1 a 0 10 A G\n1 b 0 20 C T\n1 c 0 30 G A\n1 d 0 40 T C\n")
    variants = read_gennet_folder(folder, bim=bim).genotypes.variants
    assert list(variants["counted"]) == ["G", "T", "A", "C"]
    assert list(variants["position"]) == [10, 20, 30, 40]
    bim.write_text("1 a 0 10 A G\n1 b 0 20 C T\n1 c 0 31 G A\n1 d 0 40 T C\n")
    with pytest.raises(AlignmentError, match=r"1 variants of topology.csv have another position .*'chr1:30'"):
        read_gennet_folder(folder, bim=bim)
    bim.write_text("1 a 0 10 A G\n")
    with pytest.raises(AlignmentError, match=r"x.bim has 1 variants and the .h5 4"):
        read_gennet_folder(folder, bim=bim)


class TestBroken:
    @pytest.mark.parametrize(
        ("name", "change", "error", "says"),
        [
            ("subjects.csv", (",set", ",sets"), GenotypeError, "lacks the columns 'set'"),
            ("subjects.csv", ("0,b ,1.5,0,", "0,b ,1.5,3,"), AlignmentError,
             "1 rows of the genotypes of subjects.csv occur again: '3'"),
            ("subjects.csv", ("0,b ,", "0,a ,"), AlignmentError, "1 patients of subjects.csv occur again: 'a'"),
            ("subjects.csv", ("0,b ,1.5,0,", "0,b ,1.5,x,"), GenotypeError,
             "1 values of `genotype_row` that are no whole numbers: 'x'"),
            ("subjects.csv", ("0,b ,1.5,0,", "0,b ,1.5,6,"), AlignmentError,
             "genotype_row that genotype.h5 lacks: 'b'. It has 6 rows"),
            ("topology.csv", ("0,1,2,chr1:30", "0,1,4,chr1:30"), AlignmentError, "1 inputs of topology.csv are no column"),
            ("topology.csv", ("layer0_name", "name"), GenotypeError, "lacks the columns 'layer0_name'"),
        ],
    )  # fmt: skip
    def test_tables(self, tmp_path, values, name, change, error, says):
        folder = written(tmp_path / "made", values)
        path = folder / name
        assert change[0] in path.read_text()
        path.write_text(path.read_text().replace(*change))
        with pytest.raises(error, match=says):
            read_gennet_folder(folder)

    def test_numbers(self, tmp_path, values):
        folder = written(tmp_path / "made", np.where(values > 1, 2.2, values))
        with pytest.raises(GenotypeError, match=rf"{(values[[0, 3, 1, 4]] > 1).sum()} of the 16 values .* 3 \("):
            read_gennet_folder(folder)
        folder = written(tmp_path / "made", np.where(values > 1, np.inf, values))
        with pytest.raises(GenotypeError, match="infinite values"):
            read_gennet_folder(folder, outside="keep")

    def test_h5(self, tmp_path, values):
        folder = written(tmp_path / "made", values)
        path = folder / "genotype.h5"
        raw = path.read_bytes()
        for change, says in (
            (b"", "is empty"),
            (raw[: len(raw) // 2], "is no whole HDF5"),
            (b"x" * 99, "is no whole HDF5"),
        ):
            path.write_bytes(change)
            with pytest.raises(GenotypeError, match=says):
                read_gennet_folder(folder)
        with h5py.File(path, "w") as file:
            file["other"] = values
        with pytest.raises(GenotypeError, match="called 'data'; it holds 'other'"):
            read_gennet_folder(folder)
        path.unlink()
        with pytest.raises(FileNotFoundError, match=r"genotype.h5 is not there; a folder of GenNet's holds"):
            read_gennet_folder(folder)

"""Which reader a name calls for, and what is said where none does."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from vnn._errors import GenotypeError
from vnn.data.genotypes import read_dosages, read_genotypes, read_plink

VCF = """##fileformat=VCFv4.2
##contig=<ID=1>
##FORMAT=<ID=GT,Number=1,Type=String,Description="calls">
##FORMAT=<ID=DS,Number=A,Type=Float,Description="dosages">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb
1\t{at}\tr{at}\tA\tG\t.\tPASS\t.\tGT:DS\t0/1:0.7\t1/1:2
"""


@pytest.fixture
def vcf(tmp_path):
    pytest.importorskip("cyvcf2")
    for at in (1, 2):
        (tmp_path / f"chr{at}.vcf").write_text(VCF.format(at=at))
    return tmp_path / "chr1.vcf"


def test_a_fileset_by_every_name_it_has(vcf, tmp_path):
    read_genotypes(vcf, to=tmp_path / "cohort.v2")
    for name in ("cohort.v2", "cohort.v2.bed", "cohort.v2.bim", "cohort.v2.fam"):
        np.testing.assert_array_equal(read_genotypes(tmp_path / name).dosages(), [[1, 2]])
    assert read_plink(tmp_path / "cohort.v2.fam").ids == ("a", "b")
    with pytest.raises(GenotypeError, match="holds calls, no dosages"):
        read_dosages(tmp_path / "cohort.v2")


def test_several_files_and_options(vcf, tmp_path):
    both = read_genotypes(vcf, tmp_path / "chr2.vcf", build="GRCh38")
    assert list(both.variants.index) == ["r1", "r2"]
    assert both.build == "GRCh38"
    dosages = read_dosages(vcf, tmp_path / "chr2", to=tmp_path / "kept", hashed=False)
    np.testing.assert_allclose(dosages.dosages(), [[0.7, 2]] * 2, atol=0.001)
    for name in ("kept", "kept.f16"):
        np.testing.assert_array_equal(read_dosages(tmp_path / name).dosages(), dosages.dosages())
    with pytest.raises(GenotypeError, match="holds dosages; read them with `read_dosages`"):
        read_genotypes(tmp_path / "kept.f16")
    with pytest.raises(
        TypeError, match=r"an option of the reader of vcf is 'fields'; known are 'to', 'field'.* Did you mean 'field'"
    ):
        read_genotypes(vcf, fields="DS")
    with pytest.raises(TypeError, match="an option of the reader of vcf is 'threshold'"):
        read_dosages(vcf, threshold=0.2)


@pytest.mark.data
def test_folders_of_gennet(real):
    pytest.importorskip("h5py")
    path = real("genotype/gennet_regression/genotype.h5")
    assert read_genotypes(path.parent, outside="missing").n_variants == 100
    assert read_dosages(path).dosages().min() == -1
    with pytest.raises(GenotypeError, match="keeps all values as numbers: read them with `read_dosages`"):
        read_genotypes(path, outside="keep")
    with pytest.raises(GenotypeError, match="2 folders of GenNet's were given"):
        read_genotypes(path, path)


def test_names_that_no_reader_knows(vcf, tmp_path):
    with pytest.raises(GenotypeError, match=r"table.csv is no file that a reader knows: .*'.bed', '.pgen', '.vcf'"):
        read_genotypes(tmp_path / "table.csv")
    shutil.copy(vcf, tmp_path / "chr1.bgen")
    with pytest.raises(GenotypeError, match=r"chr1 is a prefix of several files: '.vcf', '.bgen'"):
        read_genotypes(tmp_path / "chr1")
    with pytest.raises(GenotypeError, match="the files are of 2 formats, 'bgen', 'vcf'"):
        read_genotypes(vcf, tmp_path / "chr1.bgen")
    with pytest.raises(ValueError, match="at least one file"):
        read_genotypes()


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [("a.pgen", "pgenlib", "geno"), ("a.vcf", "cyvcf2", "geno"), ("a.bgen", "cbgen", "geno"), ("", "h5py", "h5")],
)
def test_a_lacking_extra_is_named(tmp_path, monkeypatch, name, module, extra):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(ImportError, match=rf"needs {module}: pip install 'vnn\[{extra}\]'"):
        read_genotypes(tmp_path / name)

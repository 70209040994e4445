"""BGEN: probabilities that a few lines wrote here, the given file, and an error for what cannot be read."""

from __future__ import annotations

import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest

from vnn._errors import GenotypeError
from vnn.data.genotypes import read_bgen, read_dosages, read_plink

cbgen = pytest.importorskip("cbgen")
plink2 = pytest.mark.skipif(shutil.which("plink2") is None, reason="needs plink2")


def text(word: str, size: str = "<H") -> bytes:
    return struct.pack(size, len(word)) + word.encode()


def variant(
    people: list[list[float] | None], alleles: list[str], *, haploid: set[int] = frozenset(), phased: bool = False,
    names: tuple[str, str] = ("", "rs"), at: int = 1,
) -> bytes:  # fmt: skip
    """One variant of layout 2 in 16 bits; `people`: all probabilities but the last one (of each haplotype), None if missing."""
    ploidies = [1 if i in haploid else 2 for i in range(len(people))]
    body = struct.pack("<IHBB", len(people), len(alleles), min(ploidies), max(ploidies))
    body += bytes(ploidy + (0 if known else 128) for ploidy, known in zip(ploidies, people, strict=True))
    body += bytes([phased, 16])
    k = len(alleles)
    for ploidy, known in zip(ploidies, people, strict=True):
        n = ploidy * (k - 1) if phased else (k if ploidy == 1 else k * (k + 1) // 2) - 1
        assert known is None or len(known) == n
        body += b"".join(struct.pack("<H", round(65535 * p)) for p in known or [0.0] * n)
    packed = zlib.compress(body)
    head = text(names[0]) + text(names[1]) + text("1") + struct.pack("<IH", at, k)
    return head + b"".join(text(a, "<I") for a in alleles) + struct.pack("<II", len(packed) + 4, len(body)) + packed


def written(folder: Path, variants: list[bytes], people: list[str], *, named: bool = True, layout: int = 2) -> Path:
    listed = struct.pack("<I", len(people)) + b"".join(map(text, people))
    listed = struct.pack("<I", len(listed) + 4) + listed if named else b""
    head = struct.pack("<III4sI", 20, len(variants), len(people), b"bgen", 1 | layout << 2 | named << 31)
    path = folder / "made.bgen"
    path.write_bytes(struct.pack("<I", len(head) + len(listed)) + head + listed + b"".join(variants))
    return path


@pytest.mark.data
def test_the_given_file_has_the_cells_of_its_bed(real, tmp_path):
    path = real("genotype/regenie/example.bgen")
    bed = read_plink(path.with_suffix(""))
    found = read_bgen(path, other="last", to=tmp_path / "calls")  # plink2 wrote it, REF last
    np.testing.assert_array_equal(found.dosages(), bed.dosages())
    assert found.variants[["position", "counted", "other"]].equals(bed.variants[["position", "counted", "other"]])
    assert [name.split("_")[0] for name in found.ids] == list(bed.ids)
    first = read_bgen(path)
    np.testing.assert_array_equal(first.dosages(), 2 - bed.dosages())
    assert list(first.variants["counted"]) == ["2"] * 1000


@pytest.mark.data
def test_the_walk_finds_what_cbgen_indexes(real, tmp_path):
    path = real("genotype/regenie/example.bgen")
    with cbgen.bgen_file(path) as file:
        file.create_metafile(tmp_path / "index")
    with cbgen.bgen_metafile(tmp_path / "index") as index:
        parts = [index.read_partition(i).variants for i in range(index.npartitions)]
    found = read_bgen(path).variants
    assert list(found.index) == [name.decode() for part in parts for name in part.rsid]
    assert list(found["position"]) == [int(at) for part in parts for at in part.position]
    assert list(found["other"] + "," + found["counted"]) == [
        pair.decode() for part in parts for pair in part.allele_ids
    ]


def test_probabilities_become_copies(tmp_path):
    people = ["a", "b", "c", "d"]
    path = written(
        tmp_path,
        [
            variant([[0.05, 0.9], [0, 0.2], None, [1, 0]], ["A", "G"], names=("x", "r1")),
            variant([[0.9, 0.1], [1, 1], None, [0, 0.5]], ["A", "G"], phased=True, names=("r2", ".")),
            variant([[0.05, 0.9], [0.02], [0.5], None], ["A", "G"], haploid={1, 2, 3}, names=("", "")),
            variant([[0.05], [0.98], None, [0.6]], ["A", "G"], haploid={0, 1, 2, 3}, phased=True, names=("", "r4")),
        ],
        people,
    )
    wanted = [[1, 1.8, np.nan, 0], [1, 0, np.nan, 1.5], [1, 1.96, 1, np.nan], [1.9, 0.04, np.nan, 0.8]]
    kept = read_dosages(path)
    np.testing.assert_allclose(kept.dosages(), wanted, atol=0.001)
    assert list(kept.variants.index) == ["r1", "r2", "1:1:A:G", "r4"]
    assert "read bgen: 5 haploid genotypes, coded as two copies or none, in made.bgen" in kept.log
    calls = read_bgen(path, threshold=0.15)
    near = np.abs(np.array(wanted) - np.rint(wanted)) <= 0.15
    np.testing.assert_array_equal(calls.dosages(), np.where(near, np.rint(wanted), np.nan))
    np.testing.assert_allclose(read_dosages(path, other="last").dosages(), 2 - np.array(wanted), atol=0.001)


@pytest.mark.parametrize("cells", [1, 6, 10_000])
def test_several_alleles(tmp_path, monkeypatch, cells):
    monkeypatch.setattr("vnn.data.genotypes.bgen.CELLS", cells)
    # of A, G, T the genotypes are AA, AG, GG, AT, GT, TT
    whole = variant([[0, 0, 0, 0, 1], [0.5, 0, 0, 0, 0.25], None], ["A", "G", "T"], names=("", "r1"))
    phased = variant([[0, 1, 0, 0], [0.5, 0.5, 1, 0], [0, 0, 0, 1]], ["A", "G", "T"], phased=True, names=("", "r2"))
    plain = variant([[1, 0], [0, 1], [0, 0]], ["C", "T"], names=("", "r3"))
    single = variant([[0.5, 0.5], [0, 1], [0, 0]], ["C", "T", "G"], haploid={0, 1, 2}, phased=True, names=("", "r4"))
    path = written(tmp_path, [whole, phased, plain, single], ["a", "b", "c"])
    with pytest.raises(
        GenotypeError, match=r"3 of the 4 records of made.bgen have several alternative alleles: 'r1', 'r2', 'r4'"
    ):
        read_bgen(path)
    split = read_dosages(path, several="split")
    assert list(split.variants.index) == ["r1:G", "r1:T", "r2:G", "r2:T", "r3", "r4:T", "r4:G"]
    assert "read bgen: 3 haploid genotypes, coded as two copies or none, in made.bgen" in split.log
    np.testing.assert_allclose(
        split.dosages(),
        [[1, 0.25, np.nan], [1, 0.75, np.nan], [1, 0.5, 1], [1, 0, 1], [0, 1, 2], [1, 2, 0], [0, 0, 2]],
        atol=0.001,
    )
    assert list(read_bgen(path, several="drop").variants.index) == ["r3"]


def test_names_of_people_in_a_file_of_their_own(tmp_path):
    path = written(tmp_path, [variant([[1, 0], [0, 1]], ["A", "G"])], ["a", "b"], named=False)
    with pytest.raises(FileNotFoundError, match=r"made.sample is not there; made.bgen names no people: give samples="):
        read_bgen(path)
    own = tmp_path / "made.sample"
    own.write_text("ID_1 ID_2 missing sex\n0 0 0 D\nf x 0 1\nf y 0 2\n")
    assert read_bgen(path).ids == ("x", "y")
    for lines, says in (
        ("ID_1 ID_2 missing\n0 0 0\nf x 0\n", "lists 1 people and made.bgen holds 2"),
        ("f x\nf y\n", "is no .sample file"),
        ("ID_1 ID_2 missing\n0 0 0\nf x 0\nf y\n", "longer or shorter than its first: lines '4'"),
    ):
        own.write_text(lines)
        with pytest.raises(GenotypeError, match=says):
            read_bgen(path, samples=own)
    named = written(tmp_path, [variant([[1, 0], [0, 1]], ["A", "G"])], ["a", "b"])
    own.write_text("ID_1 ID_2 missing\n0 0 0\nf a 0\nf c 0\n")
    with pytest.raises(GenotypeError, match="name people differently: "):
        read_bgen(named, samples=own)


@plink2
def test_calls_are_those_of_plink2(tmp_path):
    rng = np.random.default_rng(9)
    variants = []
    for i in range(30):
        people = [None if rng.random() < 0.1 else list(rng.dirichlet([0.3, 0.2, 0.2])[:2]) for _ in range(19)]
        variants.append(variant(people, ["A", "G"], names=("", f"rs{i}"), at=i + 1))
    path = written(tmp_path, variants, [f"p{j}" for j in range(19)])
    command = ["plink2", "--bgen", path.name, "ref-first", "--make-bed", "--out", "theirs", "--threads", "1"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    theirs = read_plink(tmp_path / "theirs")
    counted = theirs.variants["counted"].to_numpy()[:, None] == "G"
    ours = read_bgen(path).dosages()
    np.testing.assert_array_equal(ours, np.where(counted, theirs.dosages(), 2 - theirs.dosages()))
    assert 0.2 < np.isnan(ours).mean() < 0.8


class TestBroken:
    @pytest.fixture
    def path(self, tmp_path):
        variants = [variant([[1, 0], [0, 1], None], ["A", "G"], names=("", f"r{i}")) for i in range(5)]
        return written(tmp_path, variants, ["a", "b", "c"])

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (lambda raw: b"", "is empty"),
            (lambda raw: raw[:10], "is no BGEN"),
            (lambda raw: raw[:22], "is no BGEN"),
            (lambda raw: raw[:16] + b"cgen" + raw[20:], "is no BGEN: its bytes 17 to 20 are 63 67 65 6e"),
            (lambda raw: raw[:30], "cut or damaged in variant 1 of 5"),
            (lambda raw: raw[:-60], "cut or damaged in variant 5 of 5|end at"),
            (lambda raw: raw[:-1], "variants end at"),
            (lambda raw: raw + b"x", "variants end at"),
            (lambda raw: raw[:-20] + b"\xff" * 20, r"genotypes of variant 5 \(r4\) of made.bgen are damaged"),
        ],
    )
    def test_bytes(self, path, tmp_path, change, says):
        path.write_bytes(change(path.read_bytes()))
        with pytest.raises(GenotypeError, match=says):
            read_bgen(path, to=tmp_path / "calls")
        assert not list(tmp_path.glob("calls*"))

    def test_older_layout(self, tmp_path):
        path = written(tmp_path, [], ["a"], layout=1)
        with pytest.raises(GenotypeError, match=r"has layout 1 \(BGEN 1.1 or older\); layout 2 is needed"):
            read_bgen(path)

"""Small cohorts with LD, relatives and populations, and the PLINK programs to compare with."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vnn.data.genotypes import Genotypes, Part, write_plink


def genotypes(
    dosages: np.ndarray,
    *,
    chromosome: str | Sequence[str] = "1",
    position: Sequence[int] | None = None,
    sex: str | Sequence[str] = "",
    names: Sequence[str] | None = None,
) -> Genotypes:
    """Genotypes of these copies of allele 1, (n_variants, n_people), NaN where missing: v0, v1, ... in p0, p1, ..."""
    n_variants, n_people = dosages.shape
    codes = np.where(np.isnan(dosages), 1, np.where(dosages == 2, 0, np.where(dosages == 1, 2, 3))).astype(np.uint8)
    padded = np.pad(codes, ((0, 0), (0, -n_people % 4))).reshape(n_variants, -1, 4)
    rows = padded @ np.array([1, 4, 16, 64], dtype=np.uint8)
    variants = pd.DataFrame(
        {"chromosome": chromosome, "position": np.arange(1, n_variants + 1) * 1000 if position is None else position,
         "counted": "A", "other": "G"}, index=pd.Index([f"v{i}" for i in range(n_variants)], dtype=object, name="variant"),
    )  # fmt: skip
    ids = pd.Index(names or [f"p{i}" for i in range(n_people)], dtype=object, name="person")
    people = pd.DataFrame({"family": ids, "father": "", "mother": "", "sex": sex, "individual": ids}, index=ids)
    return Genotypes.of([Part(rows, np.arange(n_people))], variants, people)


def plink(program: str, cohort: Genotypes, folder: Path, *arguments: str) -> Path:
    """Run plink1.9 or plink2 on a cohort, and say what its result files begin with."""
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}: apt-get install {program}")
    prefix = folder / "cohort"
    write_plink(cohort, prefix)
    quiet = ["--allow-no-sex"] if program == "plink1.9" else []
    command = [program, "--bfile", str(prefix), "--threads", "1", "--out", str(prefix), *quiet, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return prefix


def table(path: Path | str, index: str | None = None) -> pd.DataFrame:
    """A table that PLINK wrote."""
    read = pd.read_csv(path, sep=r"\s+")
    return read if index is None else read.set_index(index)


def missing(rng: np.random.Generator, dosages: np.ndarray, share: float) -> np.ndarray:
    """The same with a share of genotypes missing at random."""
    return np.where(rng.random(dosages.shape) < share, np.nan, dosages)


def in_ld(rng: np.random.Generator, n_variants: int, n_people: int, *, switch: float = 0.05) -> np.ndarray:
    """Copies in people whose haplotypes are mosaics of twelve founders'."""
    founders = rng.random((n_variants, 12)) < rng.uniform(0.1, 0.6, n_variants)[:, None]
    current = rng.integers(0, 12, 2 * n_people)
    haplotypes = np.empty((n_variants, 2 * n_people))
    for variant in range(n_variants):
        jumps = rng.random(2 * n_people) < switch
        current[jumps] = rng.integers(0, 12, jumps.sum())
        haplotypes[variant] = founders[variant, current]
    return haplotypes[:, ::2] + haplotypes[:, 1::2]


def with_relatives(rng: np.random.Generator, n_variants: int, n_people: int) -> np.ndarray:
    """Copies in people of whom p2 is the child of p0 and p1, p3 another, p4 the child of p2 and p5, and p6 is p7."""
    frequency = rng.uniform(0.1, 0.5, n_variants)[:, None]
    haplotypes = (rng.random((n_variants, n_people, 2)) < frequency[:, :, None]).astype(float)
    for child, mother, father in ((2, 0, 1), (3, 0, 1), (4, 2, 5)):
        for side, parent in enumerate((mother, father)):
            given = rng.integers(0, 2, n_variants)
            haplotypes[:, child, side] = haplotypes[np.arange(n_variants), parent, given]
    haplotypes[:, 6] = haplotypes[:, 7]
    return haplotypes.sum(2)

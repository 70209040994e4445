"""What a study keeps for other people comes back to the bit, whatever variants and alleles are called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.data.genotypes.test_matching import genotypes
from vnn._errors import StudyError
from vnn.data.genotypes import fit_coding, principal_components
from vnn.data.genotypes.matching import matched
from vnn.study.cohort import coding_of, input_table
from vnn.study.kept import component_table, projected, read_kept, write_kept

NAMES = ["=1+1", "'a", "NA", "1:2:-:A", "rs1", "nan", "@x", "0"]
ALLELES = [("-", "A"), ("A", "NA"), ("ACGT" * 9, "A"), ("A", "-"), ("C", "T"), ("G", "T"), ("A", "C"), ("T", "C")]


def cohort(n_people: int = 30) -> tuple[np.ndarray, pd.DataFrame]:
    rng = np.random.default_rng(2)
    dosages = rng.binomial(2, rng.uniform(0.2, 0.8, (8, 1)), (8, n_people)).astype(float)
    dosages[2, 3] = np.nan
    variants = pd.DataFrame(
        {"chromosome": "1", "position": 10 + np.arange(8), "counted": [a for a, _ in ALLELES], "other": [b for _, b in ALLELES]},
        index=NAMES,
    )  # fmt: skip
    return dosages, variants


@pytest.mark.parametrize("name", ["additive", "recessive", "genotype", "standardised"])
def test_a_coding_comes_back_to_the_bit(tmp_path: Path, name: str) -> None:
    dosages, variants = cohort()
    here = genotypes(dosages, variants)
    coding = fit_coding(here, name, missing="nan")  # type: ignore[arg-type]
    write_kept(tmp_path / "variants.tsv.gz", input_table(here, coding))
    table, again = coding_of(read_kept(tmp_path / "variants.tsv.gz"))
    assert again.names == coding.names
    np.testing.assert_array_equal(again.row, coding.row)
    np.testing.assert_array_equal(again.values, coding.values)
    np.testing.assert_array_equal(again.minor_counted, coding.minor_counted)
    pd.testing.assert_frame_equal(table[list(variants)], variants, check_names=False)
    np.testing.assert_array_equal(again.apply(here).values, coding.apply(here).values)


def test_people_are_placed_by_turned_loadings(tmp_path: Path) -> None:
    dosages, variants = cohort()
    here = genotypes(dosages, variants)
    found = principal_components(here, 2)
    write_kept(tmp_path / "components.tsv.gz", component_table(here, found))
    table = read_kept(tmp_path / "components.tsv.gz")
    turned = variants.rename(columns={"counted": "other", "other": "counted"})[list(variants)]
    new = genotypes(2 - dosages, turned)
    scores = projected(matched(new, table), table)
    np.testing.assert_allclose(scores, found.scores, atol=1e-6)


def test_a_study_that_kept_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"holds no variants\.tsv\.gz"):
        read_kept(tmp_path / "variants.tsv.gz")

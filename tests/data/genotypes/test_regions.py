"""The MHC and other regions of long-range linkage disequilibrium."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.data.genotypes.placed import variants_at
from vnn.data.genotypes import in_regions, ld_regions
from vnn.data.genotypes.builds import LENGTHS, beyond

GENES = {  # start of genes that name a region: GRCh37, GRCh38 (Ensembl)
    "HLA-A": ("6", 29_910_247, 29_942_470, "MHC"),
    "HLA-DRB1": ("6", 32_546_546, 32_578_775, "MHC"),
    "LCT": ("2", 136_545_410, 135_787_840, "2q21, LCT"),
    "GATA4": ("8", 11_534_468, 11_676_959, "8p23 inversion"),
    "APOE": ("19", 45_409_011, 44_905_791, ""),
}


@pytest.mark.parametrize("build", LENGTHS)
def test_genes_of_the_regions_lie_in_them(build):
    at = 1 + list(LENGTHS).index(build)
    genotypes = variants_at(*(f"{gene[0]}:{gene[at]}" for gene in GENES.values()))
    assert in_regions(genotypes.variants, ld_regions(build)).tolist() == [gene[3] for gene in GENES.values()]


@pytest.mark.parametrize("build", LENGTHS)
def test_regions_are_on_their_chromosomes_and_apart(build):
    regions = ld_regions(build).sort_values(["chromosome", "start"])
    assert len(regions) == 24
    assert regions["region"].is_unique
    assert (regions["end"] > regions["start"]).all()
    assert not beyond(regions["chromosome"].to_numpy(), regions["end"].to_numpy(), build).any()
    same = regions["chromosome"] == regions["chromosome"].shift()
    assert (regions["start"] > regions["end"].shift())[same].all()


def test_both_builds_have_the_same_regions_of_about_the_same_length():
    old, new = ld_regions("GRCh37"), ld_regions("GRCh38")
    assert (old[["region", "chromosome"]] == new[["region", "chromosome"]]).all(axis=None)
    ratio = (new["end"] - new["start"]) / (old["end"] - old["start"])
    assert ratio.between(0.75, 1.25).all()


def test_both_ends_are_in_and_the_first_region_counts():
    regions = pd.DataFrame(
        [("a", "1", 10, 20), ("b", "1", 15, 30), ("c", "X", 5, 6)], columns=["region", "chromosome", "start", "end"]
    )
    genotypes = variants_at("1:9", "1:10", "1:20", "1:21", "1:30", "1:31", "2:15", "XY:5")
    assert in_regions(genotypes.variants, regions).tolist() == ["", "a", "a", "b", "b", "", "", "c"]
    with pytest.raises(ValueError, match="build is 'hg18'"):
        ld_regions("hg18")

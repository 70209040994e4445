"""Genome builds: ends of chromosomes, and two sides that must agree."""

from __future__ import annotations

import numpy as np
import pytest

from vnn._errors import GenotypeError
from vnn.data.genotypes.builds import LENGTHS, Placed, agreed, beyond


def side(what: str, build: str, *places: tuple[str, int]) -> Placed:
    names, positions = zip(*places, strict=True) if places else ((), ())
    return Placed(what, build, np.array(names, dtype=object), np.array(positions, dtype=np.int64))


def test_lengths_add_up_to_the_published_genomes():
    totals = {build: sum(n for name, n in ends.items() if name != "MT") for build, ends in LENGTHS.items()}
    assert totals == {"GRCh37": 3_095_677_412, "GRCh38": 3_088_269_832}


@pytest.mark.parametrize("build", LENGTHS)
def test_the_last_base_is_inside_and_the_next_is_not(build):
    names = np.array([*LENGTHS[build], "XY", "GL000192.1"], dtype=object)
    last = np.array([*LENGTHS[build].values(), LENGTHS[build]["X"], 10**9])
    assert not beyond(names, last, build).any()
    assert beyond(names, last + 1, build).tolist() == [True] * 26 + [False]


def test_builds_that_agree():
    here, there = side("the genotypes", "GRCh38", ("1", 5)), side("genes", "GRCh38", ("1", 9))
    assert agreed(here, there, "step") == ("GRCh38", ())
    silent = side("genes", "", ("1", 9))
    assert agreed(here, silent, "step") == ("GRCh38", ("step: the build of genes is not declared; taken to be GRCh38",))
    build, log = agreed(side("the genotypes", "", ("1", 5)), silent, "step")
    assert build == ""
    assert "no genome build is declared on either side" in log[0]


def test_declared_builds_that_differ():
    with pytest.raises(GenotypeError, match=r"the genotypes are on GRCh37 and genes on GRCh38.*lift"):
        agreed(side("the genotypes", "GRCh37", ("1", 5)), side("genes", "GRCh38", ("1", 5)), "step")
    with pytest.raises(ValueError, match="the build of genes is 'hg19'; known are"):
        agreed(side("the genotypes", "GRCh37"), side("genes", "hg19"), "step")


def test_positions_tell_another_build_than_declared():
    only37, only38 = ("1", 249_000_000), ("17", 83_000_000)
    with pytest.raises(
        GenotypeError, match=r"1 of 2 positions of the genotypes .* in GRCh38: '1:249000000'. All positions fit GRCh37"
    ):
        agreed(side("the genotypes", "GRCh38", ("2", 7), only37), side("genes", ""), "step")
    with pytest.raises(
        GenotypeError, match=r"genes lie beyond .* in GRCh37; the build of the genotypes was taken for theirs"
    ):
        agreed(side("the genotypes", "GRCh37", ("2", 7)), side("genes", "", only38), "step")
    with pytest.raises(GenotypeError, match="fit neither build"):
        agreed(side("the genotypes", "GRCh37", only37, only38), side("genes", ""), "step")
    with pytest.raises(GenotypeError, match="unless the genotypes GRCh37 and genes GRCh38 is meant"):
        agreed(side("the genotypes", "", only37), side("genes", "", only38), "step")


def test_another_species_is_not_refused_where_no_build_is_declared():
    assert agreed(side("the genotypes", "", ("1", 10**9)), side("genes", "", ("1", 5)), "step")[0] == ""

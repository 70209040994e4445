"""Result files of PLINK and KING are joined by id, whatever their order and form."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.data.genotypes.cohorts import genotypes, plink, with_relatives
from vnn._errors import AlignmentError, GenotypeError
from vnn.data.genotypes.disequilibrium import pruned
from vnn.data.genotypes.kinship import relatives, unrelated
from vnn.data.genotypes.plink_results import read_eigenvec, read_kinship, read_people_list, read_variant_list
from vnn.data.genotypes.structure import principal_components


@pytest.fixture(scope="module")
def cohort():
    made = genotypes(with_relatives(np.random.default_rng(3), 3000, 60))
    return made.select(ids=np.random.default_rng(1).permutation(made.ids))


@pytest.fixture
def written(tmp_path):
    def write(name: str, text: str):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_files_of_plink2(cohort, tmp_path):
    prefix = plink("plink2", cohort, tmp_path, "--make-king-table", "--king-cutoff", "0.0884")
    told = read_kinship(f"{prefix}.kin0", cohort)
    related = told[told["kinship"] >= 0.0884]
    ours = relatives(cohort)
    pairs = [
        {frozenset(pair) for pair in zip(table["first"], table["second"], strict=True)} for table in (related, ours)
    ]
    assert pairs[0] == pairs[1]
    out = read_people_list(f"{prefix}.king.cutoff.out.id", cohort)
    stay = unrelated(cohort.ids, told)
    assert len(out) == cohort.n_people - len(stay)
    assert not len(relatives(cohort.select(ids=[name for name in cohort.ids if name not in out])))
    prefix = plink("plink2", cohort, tmp_path, "--pca", "3")
    scores = read_eigenvec(f"{prefix}.eigenvec", cohort).loc[list(cohort.ids)]
    found = principal_components(cohort, 3).scores
    np.testing.assert_allclose(np.abs((scores * found).sum()), 1, atol=1e-3)


def test_files_of_plink1(cohort, tmp_path):
    prefix = plink("plink1.9", cohort, tmp_path, "--pca", "2", "--indep-pairwise", "50", "5", "0.01")
    assert read_variant_list(f"{prefix}.prune.in", cohort) == pruned(cohort, r2=0.01)
    assert read_eigenvec(f"{prefix}.eigenvec", cohort).columns.tolist() == ["PC1", "PC2"]


def test_counts_are_made_shares(cohort, tmp_path):
    shares = read_kinship(f"{plink('plink2', cohort, tmp_path, '--make-king-table')}.kin0", cohort)
    counts = read_kinship(f"{plink('plink2', cohort, tmp_path, '--make-king-table', 'counts')}.kin0", cohort)
    pd.testing.assert_frame_equal(shares, counts, atol=1e-6)


def test_files_of_king(cohort, written):
    between = written(
        "king.kin0",
        "FID1\tID1\tFID2\tID2\tN_SNP\tHetHet\tIBS0\tKinship\np3\tp3\tp0\tp0\t3000\t0.2\t0.01\t0.2512\n",
    )
    assert read_kinship(between, cohort).iloc[0].to_dict() == {
        "first": "p3", "second": "p0", "variants": 3000, "het_het": 0.2, "ibs0": 0.01, "kinship": 0.2512,
    }  # fmt: skip
    own = cohort.people.assign(family="F1")
    one_family = type(cohort)(
        cohort.parts, cohort.row, cohort.variants, own, cohort.targets, cohort.covariates, cohort.groups
    )
    within = written(
        "king.kin",
        "FID\tID1\tID2\tN_SNP\tZ0\tPhi\tHetHet\tIBS0\tKinship\tError\nF1\tp1\tp2\t2990\t0\t0.25\t0.21\t0\t0.2471\t0\n",
    )
    assert read_kinship(within, one_family)[["first", "second", "kinship"]].iloc[0].tolist() == ["p1", "p2", 0.2471]


def test_forms_of_ids(cohort, written):
    assert read_people_list(written("a.id", "#IID\np5\np1\n"), cohort) == tuple(
        n for n in cohort.ids if n in ("p1", "p5")
    )
    assert read_people_list(written("b.id", "p5 p5\np1 p1\n"), cohort) == read_people_list(
        written("a.id", "p1\np5\n"), cohort
    )
    table = read_eigenvec(written("c.eigenvec", "#IID PC1 PC2\np3 0.1 -0.2\np0 0.3 0.4\n"), cohort)
    assert table.index.tolist() == ["p3", "p0"]
    assert table.to_numpy().tolist() == [[0.1, -0.2], [0.3, 0.4]]
    twins = cohort.select(ids=["p0", "p1"])
    twins = type(twins)(
        twins.parts, twins.row, twins.variants,
        twins.people.assign(individual="1", family=["a", "b"]).set_axis(["a:1", "b:1"]),
        *[table.set_axis(["a:1", "b:1"]) for table in (twins.targets, twins.covariates, twins.groups)],
    )  # fmt: skip
    assert read_people_list(written("d.id", "#FID IID\nb 1\n"), twins) == ("b:1",)
    with pytest.raises(AlignmentError, match="'1' is the id of several people"):
        read_people_list(written("e.id", "#IID\n1\n"), twins)


def test_who_is_not_there(cohort, written):
    ids = written("out.id", "#FID IID\nq1 q1\np2 p2\n")
    with pytest.raises(
        AlignmentError, match=r"1 of the 2 people of out.id are not in the genotypes: 'q1'.*unmatched=\"drop\""
    ):
        read_people_list(ids, cohort)
    assert read_people_list(ids, cohort, unmatched="drop") == ("p2",)
    with pytest.raises(AlignmentError, match="1 of the 1 people"):
        read_people_list(written("none.id", "#IID\nq1\n"), cohort, unmatched="drop")
    variants = written("x.prune.in", "v7\nv3\nw1\n")
    with pytest.raises(AlignmentError, match=r"1 of the 3 variants of x.prune.in"):
        read_variant_list(variants, cohort)
    assert read_variant_list(variants, cohort, unmatched="drop") == ("v3", "v7")
    pairs = written("x.kin0", "#IID1 IID2 KINSHIP\np1 q1 0.2\np1 p2 0.3\n")
    with pytest.raises(AlignmentError, match="'q1'"):
        read_kinship(pairs, cohort)
    kept = read_kinship(pairs, cohort, unmatched="drop")
    assert kept[["first", "second"]].to_numpy().tolist() == [["p1", "p2"]]
    assert kept["variants"].isna().all()


def test_files_that_are_something_else(cohort, written):
    with pytest.raises(GenotypeError, match=r"x.kin0 lacks 'IID1', 'IID2', 'KINSHIP'; it has 'a', 'b'"):
        read_kinship(written("x.kin0", "a b\n1 2\n"), cohort)
    with pytest.raises(GenotypeError, match=r"y.eigenvec is empty"):
        read_eigenvec(written("y.eigenvec", ""), cohort)
    with pytest.raises(GenotypeError, match=r"z.eigenvec has no columns PC1"):
        read_eigenvec(written("z.eigenvec", "#IID x\np1 2\n"), cohort)
    with pytest.raises(GenotypeError, match=r"w.eigenvec has a value that is no number"):
        read_eigenvec(written("w.eigenvec", "#IID PC1\np1 high\n"), cohort)
    with pytest.raises(AlignmentError, match=r"people of v.eigenvec"):
        read_eigenvec(written("v.eigenvec", "#IID PC1\np1 1\np1 2\n"), cohort)

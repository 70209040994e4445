"""Several omics: joined by sample, every gene with a feature for each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vnn._errors import AlignmentError
from vnn.data.omics import join_omics
from vnn.data.read import read_samples
from vnn.data.samples import Samples
from vnn.ontology import read_gmt


def table(ids: str, genes: str, start: float = 0, dtype: str = "float32", **known: pd.DataFrame) -> Samples:
    values = np.arange(len(ids) * len(genes), dtype=float).reshape(len(ids), len(genes)) + start
    return Samples.from_frame(pd.DataFrame(values, index=list(ids), columns=list(genes)), dtype=dtype, **known)


def column(ids: str, name: str, values: list[object]) -> pd.DataFrame:
    return pd.DataFrame({name: values}, index=list(ids))


def test_every_value_is_found_under_its_omics_gene_and_sample() -> None:
    rna, cna = table("abc", "XYZ"), table("cab", "ZX", start=100)
    joined = join_omics({"rna": rna, "cna": cna})
    assert joined.samples.features == ("rna:X", "rna:Y", "rna:Z", "cna:Z", "cna:X")
    assert joined.samples.ids == ("a", "b", "c")
    assert joined.genes == {"rna:X": ("X",), "rna:Y": ("Y",), "rna:Z": ("Z",), "cna:Z": ("Z",), "cna:X": ("X",)}
    frame = joined.samples.to_frame()
    for omics, given in {"rna": rna, "cna": cna}.items():
        for sample in "abc":
            for gene in given.features:
                assert frame.loc[sample, f"{omics}:{gene}"] == given.to_frame().loc[sample, gene]
    assert joined.samples.log == (
        "join_omics: 1 of 3 genes are not in 'cna' and have the features of the other tables only: 'Y'",
    )


def test_samples_of_one_table_are_an_error_or_dropped() -> None:
    tables = {"rna": table("abcd", "X"), "cna": table("ecb", "X"), "mut": table("bcae", "X")}
    with pytest.raises(AlignmentError, match=r"2 of 4 samples of 'rna' are not in all 3 tables: 'a', 'd'.*'cna'.*'e'"):
        join_omics(tables)
    joined = join_omics(tables, unmatched="drop")
    assert joined.samples.ids == ("b", "c")
    assert [line.split(":")[0] for line in joined.samples.log] == ["join_omics"] * 3
    assert joined.samples.log[2] == "join_omics: 2 of 4 samples of 'mut' are not in all 3 tables: 'a', 'e'; dropped"


def test_targets_covariates_and_groups_come_from_any_table() -> None:
    rna = table("ab", "X", targets=column("ab", "sick", ["no", "yes"]), covariates=column("ab", "age", [40.0, None]))
    cna = table("ba", "X", groups=column("ba", "site", ["u", "v"]), covariates=column("ba", "age", [None, 40.0]))
    samples = join_omics({"rna": rna, "cna": cna}).samples
    assert samples.targets["sick"].to_dict() == {"a": "no", "b": "yes"}
    assert samples.groups["site"].to_dict() == {"a": "v", "b": "u"}
    assert samples.covariates["age"]["a"] == 40
    assert list(samples.covariates.columns) == ["age"]


def test_columns_that_contradict_each_other_are_refused() -> None:
    rna = table("ab", "X", targets=column("ab", "sick", ["no", "yes"]))
    cna = table("ab", "X", targets=column("ab", "sick", ["yes", "yes"]))
    with pytest.raises(
        ValueError, match=r"'sick' differs between 'rna' and 'cna' in 1 of 2 samples: 'no and yes in a'"
    ):
        join_omics({"rna": rna, "cna": cna})
    late = table("ab", "X", covariates=column("ab", "sick", ["no", "yes"]))
    with pytest.raises(ValueError, match="'sick' is a target in one table and a covariate in another"):
        join_omics({"rna": rna, "cna": late})


def test_one_table_one_sample_and_one_feature_are_joined_too() -> None:
    joined = join_omics({"rna": table("a", "X", start=7)})
    assert joined.samples.to_frame().to_dict() == {"rna:X": {"a": 7.0}}


def test_precision_is_that_of_the_finest_table() -> None:
    joined = join_omics({"rna": table("a", "X"), "cna": table("a", "X", dtype="float64")})
    assert joined.samples.values.dtype == np.float64


def test_sources_are_listed_once(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("id,X\na,1\n")
    (tmp_path / "l.csv").write_text("id,sick\na,no\n")
    one = read_samples(tmp_path / "v.csv", labels=tmp_path / "l.csv", targets=["sick"])
    samples = join_omics({"rna": one, "cna": one}).samples
    assert [record["name"] for record in samples.sources] == ["v.csv", "l.csv"]


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({}, "no table was given"),
        ({"": table("a", "X")}, "empty"),
        ({"r:na": table("a", "X")}, "'r:na' has a colon"),
        ({"rna": table("a", "X"), "cna": table("b", "X")}, "no sample is in all 2 tables.*'rna' 'a'; 'cna' 'b'"),
    ],
)
def test_what_cannot_be_joined_is_refused(tables: dict[str, Samples], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        join_omics(tables, unmatched="drop")
    with pytest.raises(ValueError, match=r"unmatched is 'keep'"):
        join_omics(tables, unmatched="keep")


def test_a_gene_is_one_node_over_its_omics(tmp_path: Path) -> None:
    (tmp_path / "sets.gmt").write_text("one\t\tX\tY\ntwo\t\tY\tZ\n")
    joined = join_omics({"rna": table("ab", "XYZ"), "cna": table("ab", "XY")})
    topology = read_gmt(tmp_path / "sets.gmt").topology(joined.genes, min_genes=1, gene_level=True)
    wired = {
        (source, target)
        for mask in topology.masks
        for source, target in (
            (topology.levels[0].nodes[edge[0]], topology.levels[1].nodes[edge[1]]) for edge in np.asarray(mask.edges)
        )
        if (mask.source_level, mask.target_level) == (topology.levels[0].name, topology.levels[1].name)
    }
    assert wired == {("rna:X", "X"), ("cna:X", "X"), ("rna:Y", "Y"), ("cna:Y", "Y"), ("rna:Z", "Z")}


@pytest.mark.data
def test_melanoma_joins_as_the_authors_count(real: Callable[[str], Path]) -> None:
    folder = real("architectures/pnet_join/rna.csv").parent
    add = pd.read_csv(folder / "add.csv", index_col=0)
    labels = pd.read_csv(folder / "y.csv", index_col=0)
    rna, cna = (pd.read_csv(folder / f"{name}.csv", index_col=0) for name in ("rna", "cna"))
    tables = {
        "rna": Samples.from_frame(rna, targets=labels, unmatched="drop"),
        "cna": Samples.from_frame(cna, covariates=add, unmatched="drop"),
    }
    with pytest.raises(
        AlignmentError, match=r"of 24 samples of 'rna' are not in all 2 tables.* of 23 samples of 'cna'"
    ):
        join_omics({"rna": Samples.from_frame(rna), "cna": Samples.from_frame(cna)})
    joined = join_omics(tables, unmatched="drop")
    common = set(rna.index) & set(cna.index) & set(add.index) & set(labels.index)
    assert len(common) == 20
    assert set(joined.samples.ids) == common
    assert joined.samples.n_features == rna.shape[1] + cna.shape[1]
    for sample in common:
        assert joined.samples.to_frame().loc[sample, "cna:TP53"] == cna.loc[sample, "TP53"]
        assert joined.samples.covariates.loc[sample, "Purity"] == add.loc[sample, "Purity"]
        assert joined.samples.targets.loc[sample, "Heterogeneity"] == labels.loc[sample, "Heterogeneity"]
    sets = real("reactome/ReactomePathways.gmt")
    known = {gene for line in sets.read_text().splitlines() for gene in line.split("\t")[2:]}
    in_rna, in_cna = set(rna.columns) & known, set(cna.columns) & known
    assert (len(in_rna), len(in_cna), len(in_rna | in_cna)) == (525, 522, 527)
    assert len([line for line in joined.samples.log if ": 5 of 659 genes are not in" in line]) == 2
    topology = read_gmt(sets).topology(joined.genes, min_genes=1, gene_level=True)
    assert set(topology.inputs) == {f"rna:{gene}" for gene in in_rna} | {f"cna:{gene}" for gene in in_cna}
    assert (in_rna | in_cna) <= set(topology.levels[1].nodes)

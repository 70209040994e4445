"""A simulated study as files: what is written, what reads it, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from vnn._errors import StudyError
from vnn.data.genotypes import SimulatedGenotypes, Trait, read_plink, simulate_genotypes

FILES = {
    "cohort.bed", "cohort.bim", "cohort.fam", "phenotypes.csv", "genes.txt", "variant_genes.tsv", "pathways.gmt",
    "relations.tsv", "truth.json", "true_values.csv",
}  # fmt: skip


def simulated(folder: Path, **changes: Any) -> SimulatedGenotypes:
    asked: dict[str, Any] = {
        "people": 203, "variants": 1003, "genes": 61, "pathways": 5, "chromosomes": 3, "x": True, "families": 5,
        "missing": 0.02, "populations": 2, "seed": 3,
        "traits": [Trait("a", genes=4), Trait("b", scenario="within", kind="quantitative", genes=4)],
    }  # fmt: skip
    return simulate_genotypes(folder, **asked | changes)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("study"))


def test_files_are_what_is_returned(study):
    assert {path.name for path in study.folder.iterdir()} == FILES
    read = read_plink(study.folder / "cohort", build="GRCh38")
    pd.testing.assert_frame_equal(read.variants, study.genotypes.variants)
    pd.testing.assert_frame_equal(read.people, study.genotypes.people)
    assert read.sources == study.genotypes.sources
    assert read.log == ()
    np.testing.assert_array_equal(read.dosages(), study.genotypes.dosages())
    table = pd.read_csv(study.folder / "phenotypes.csv", index_col="person")
    assert list(table) == ["a", "b", "age", "sex", "pc1", "population", "family"]
    parts = [study.genotypes.targets, study.genotypes.covariates, study.genotypes.groups]
    pd.testing.assert_frame_equal(table, pd.concat(parts, axis=1), check_names=False)
    values = pd.read_csv(study.folder / "true_values.csv", index_col="person")
    pd.testing.assert_frame_equal(values, study.truth.values, check_names=False)
    assert table["population"].value_counts().to_dict() == study.truth.populations


def test_genes_hold_the_variants_between_their_ends(study):
    written = pd.read_csv(
        study.folder / "genes.txt", sep=" ", header=None, names=["chromosome", "start", "end", "gene", "strand"], dtype={0: str}
    ).set_index("gene")  # fmt: skip
    written["chromosome"] = written["chromosome"].astype(str)
    pd.testing.assert_frame_equal(
        written.astype({"chromosome": object, "strand": object}), study.genes, check_names=False
    )
    inside = []
    for gene, row in study.genes.iterrows():
        variants = study.genotypes.variants
        here = (variants["chromosome"] == row["chromosome"]) & variants["position"].between(row["start"], row["end"])
        inside += [(variant, gene) for variant in variants.index[here]]
    pairs = pd.read_csv(study.folder / "variant_genes.tsv", sep="\t")
    assert list(pairs.itertuples(index=False, name=None)) == inside
    sizes = pairs.groupby("gene").size()
    assert set(sizes.index) == set(study.genes.index)
    assert sizes.min() >= 3
    assert sizes.std() > 4
    assert set(study.genes["strand"]) == {"+", "-"}
    for _, own in study.genotypes.variants.groupby("chromosome"):
        assert (np.diff(own["position"]) > 0).all()


def test_pathways_are_an_ontology_of_two_levels(study):
    ontology = study.ontology()
    systems = set(ontology.terms.index) - set(study.pathways)
    assert set(ontology.relations["parent"]) == systems
    own = {name: set(genes) for name, genes in ontology.gene_sets(propagated=False).items() if genes}
    assert own == {name: set(genes) for name, genes in study.pathways.items()}
    whole = ontology.gene_sets()
    assert set().union(*(whole[name] for name in systems)) == set(study.genes.index)
    assert set(ontology.genes) == set(study.genes.index)
    assert len({len(genes) for genes in study.pathways.values()}) > 1


def test_the_truth_is_told(study):
    told = json.loads((study.folder / "truth.json").read_text())
    truth = study.truth
    assert told == json.loads(json.dumps(truth.to_json()))
    assert told["settings"]["seed"] == 3
    assert told["traits"]["a"]["oracle"]["auc"] == truth.oracle["a"]["auc"]
    assert pd.DataFrame(told["causes"]).equals(truth.causes)
    assert len(told["relatives"]["data"]) == 5 * 5
    held = study.variant_genes.groupby("variant")["gene"].agg(list)
    for name in ("a", "b"):
        assert len(truth.genes(name)) == 4
        assert len(truth.pathways(name)) == 2
        for cause in truth.causes[truth.causes["trait"] == name].itertuples():
            assert held[cause.variant] == [cause.gene]
            assert cause.gene in study.pathways[cause.pathway]
    counts = study.genotypes.select(truth.causes["variant"].unique()).counts()
    found = (2 * counts[:, 0] + counts[:, 2]) / (2 * counts[:, [0, 2, 3]].sum(1))
    asked = truth.causes.drop_duplicates("variant")["frequency"]
    np.testing.assert_allclose(found, asked, atol=0.13)
    with pytest.raises(ValueError, match="trait is 'c'; known are 'a', 'b'"):
        truth.genes("c")


@pytest.mark.skipif(shutil.which("plink2") is None, reason="needs plink2 (Debian package)")
def test_plink2_reads_the_fileset(study, tmp_path):
    done = subprocess.run(
        ["plink2", "--bfile", study.folder / "cohort", "--freq", "counts", "--nonfounders", "--out", tmp_path / "f"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "203 samples" in done.stdout
    table = pd.read_csv(tmp_path / "f.acount", sep="\t").set_index("ID")
    autosomal = study.genotypes.variants.index[study.genotypes.variants["chromosome"] != "X"]
    counts = study.genotypes.select(autosomal).counts()
    np.testing.assert_array_equal(table.loc[autosomal, "OBS_CT"], 2 * counts[:, [0, 2, 3]].sum(1))
    np.testing.assert_array_equal(table.loc[autosomal, "ALT_CTS"], 2 * counts[:, 0] + counts[:, 2])


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(StudyError, match="is not an empty folder; name a new one"):
        simulated(tmp_path)
    with pytest.raises(StudyError, match="is not an empty folder"):
        simulated(tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"people": 0}, "people is 0; at least 1"),
        ({"people": 19}, "5 families of 4 are 20 people, more than the 19"),
        ({"variants": 100}, "100 variants are too few for 61 genes.*Ask for 183"),
        ({"chromosomes": 23}, "chromosomes is 23; there are 22 autosomes"),
        ({"founders": 20}, "founders is 20; at least 100"),
        ({"fst": 0.0}, "fst is 0 with 2 populations"),
        ({"missing": 1.0}, "missing is 1"),
        ({"frequencies": "rare"}, "frequencies is 'rare'; known are 'realistic', 'uniform'"),
        ({"traits": []}, "traits is empty"),
        ({"traits": [Trait(), Trait()]}, "1 names of traits are repeated: 'phenotype'"),
        ({"traits": [Trait(scenario="confounder")], "populations": 1}, "ask for 2 or more populations"),
        (
            {"traits": [Trait(genes=60)]},
            r"needs 2 pathways with 30 genes that have 2 .* the richest pathway has \d+ such",
        ),
        ({"traits": [Trait(scenario="locus")], "genes": 8}, "no autosome has three genes of their own"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_what_cannot_be_simulated(tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        simulated(tmp_path / "new", **changes)
    assert not (tmp_path / "new").exists()

"""Gene networks of a study: its table, its place among the rivals, and what the page says."""

from __future__ import annotations

from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control, norm

from tests.study.test_cohort import change
from tests.study.test_cohort import study as study
from vnn._errors import StudyError
from vnn.data.genotypes import SimulatedGenotypes, Trait, simulate_genotypes
from vnn.study import Results, Study, read_material, run_study
from vnn.study.gene_networks import in_words
from vnn.training.genotype_baselines import BURDEN, GENE_NETWORKS

FILE = """
name = "interactions"
seed = 1

[data]
values = "cohort/cohort.bed"
labels = "people.csv"
target = "y"
covariates = ["age", "sex"]

[genotypes]
genes = "cohort/variant_genes.tsv"
read_as = "variants"
build = "GRCh38"

[ontology]
name = "cohort/pathways.gmt"
gene_level = true
min_genes = 1

[splits]
k = 2

[network]
dropout = 0.0
input_dropout = 0.0

[training]
epochs = 3
impute = "mean"

[attribution]
crosscheck = 4

[report]
figures = false

[compare]
models = ["gene burden", "gene networks"]
"""


def simulated(folder: Path) -> SimulatedGenotypes:
    """Four genes of two pathways in which pairs of variants matter that do nothing alone."""
    found = simulate_genotypes(
        folder / "cohort", people=1600, variants=1800, genes=120, pathways=6, chromosomes=4, founders=400, seed=1,
        traits=[Trait("y", "within", "quantitative", genes=4, pathways=2)],
    )  # fmt: skip
    pd.concat([found.genotypes.targets, found.genotypes.covariates], axis=1).to_csv(folder / "people.csv")
    (folder / "study.toml").write_text(FILE)
    return found


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> tuple[SimulatedGenotypes, Results]:
    folder = tmp_path_factory.mktemp("interactions")
    return simulated(folder), run_study(folder / "study.toml")


def test_genes_whose_variants_matter_only_together_are_found_and_no_usual_test_finds_them(held) -> None:
    found, results = held
    table = pd.read_csv(results.folder / "gene_networks.csv", index_col="gene", keep_default_na=False)
    causal = set(found.truth.genes("y"))
    assert set(table.index[:4]) == causal
    assert (table["q"][:4].astype(float) < 0.05).all()
    assert (table["locus"][:4] != "").all()
    assert len(set(table.index[table["usual_tests"] == ""]) & causal) >= 3
    tests = pd.read_csv(results.folder / "gene_tests.csv")
    assert len(set(tests["gene"][:4]) & causal) <= 1


def test_they_predict_what_sums_of_alleles_do_not(held) -> None:
    _, results = held
    told = results.comparison.set_index(["model", "metric"])["mean"]
    assert told[GENE_NETWORKS, "R2"] > 0.1
    assert told[GENE_NETWORKS, "R2"] > max(told[BURDEN, "R2"], told["visible network", "R2"]) + 0.1


def test_the_page_says_what_they_see_beyond_the_usual_tests(held) -> None:
    found, results = held
    page = (results.folder / "page.html").read_text(encoding="utf-8")
    assert "Genes by networks of their own" in page
    first, second, _ = in_words(results.genome_tables.networks)
    assert escape(first) in page
    assert escape(second) in page
    assert any(name in second for name in found.truth.genes("y"))


def test_the_table_of_a_study_is_the_mean_over_splits_of_learners(held) -> None:
    _, results = held
    by_split = pd.read_csv(results.folder / "gene_networks_by_split.csv")
    assert by_split["split"].unique().tolist() == [split.name for split in results.fit.splits]
    mean = by_split.groupby("gene")["z"].mean()
    table = results.genome_tables.networks
    np.testing.assert_allclose(table["z"], mean.loc[table.index])
    np.testing.assert_allclose(table["q"], false_discovery_control(norm.sf(table["z"])))
    single = pd.read_csv(results.folder / "association.csv.gz", index_col="variant")
    owners = results.genome.genes.pairs
    for gene in table.index[:3]:
        p = single.loc[owners.loc[owners["gene"] == gene, "variant"], "p"].dropna()
        assert table.loc[gene, "best_variant"] == p.idxmin()
        assert table.loc[gene, "best_variant_p"] == pytest.approx(min(len(p) * p.min(), 1))


@pytest.mark.slow
def test_a_study_that_goes_on_says_the_same_and_one_without_them_says_nothing(held) -> None:
    _, results = held
    folder = results.folder
    before = {name: (folder / name).read_bytes() for name in ("gene_networks.csv", "gene_networks_by_split.csv")}
    again = run_study(results.study)
    assert {name: (folder / name).read_bytes() for name in before} == before
    pd.testing.assert_frame_equal(again.genome_tables.networks, results.genome_tables.networks)
    fewer = results.study.model_copy(update={"compare": results.study.compare.model_copy(update={"models": (BURDEN,)})})
    without = run_study(fewer)
    assert not len(without.genome_tables.networks)
    assert not any((folder / name).exists() for name in before)
    assert "Genes by networks of their own" not in (folder / "page.html").read_text(encoding="utf-8")
    for name, held_before in before.items():
        (folder / name).write_bytes(held_before)


def test_permuted_labels_call_no_gene(held, tmp_path: Path) -> None:
    _, results = held
    folder = results.folder.parent
    people = pd.read_csv(folder / "people.csv", index_col=0)
    people["y"] = np.random.default_rng(4).permutation(people["y"])
    people.to_csv(tmp_path / "people.csv")
    (tmp_path / "cohort").symlink_to(folder / "cohort")
    text = FILE.replace('"gene burden", ', "").replace("epochs = 3", "epochs = 1").replace("k = 2", 'kind = "hold-out"')
    (tmp_path / "study.toml").write_text(text)
    table = run_study(tmp_path / "study.toml").genome_tables.networks
    assert not (table["q"] < 0.05).any()
    assert (table["locus"] == "").all()
    (said,) = in_words(table)
    assert said.startswith("None of the 120 genes has q < 0.05; the smallest is")


def test_words_count_calls_loci_and_what_usual_tests_see() -> None:
    table = pd.DataFrame(
        {"q": [0.001, 0.01, 0.02, 0.5], "locus": ["A", "A", "C", ""], "usual_tests": ["burden", "", "mean chi2", ""]},
        index=list("ABCD"),
    )
    first, second, _ = in_words(table)
    assert first == "3 genes of 4 have q < 0.05, 2 loci."
    assert second == (
        "1 gene of these is called by none of the usual tests of all people (best variant, burden, mean chi2; q < 0.05): B."
    )
    assert in_words(table.assign(usual_tests="burden"))[1].startswith("Each is called by one of the usual tests")
    assert in_words(table.iloc[:0]) == ()


def test_several_classes_have_no_gene_networks(study) -> None:
    people = pd.read_csv(study.parent / "people.csv")
    people["case"] = np.resize(["a", "b", "c"], len(people))
    people.to_csv(study.parent / "people.csv", index=False)
    change(study, '\nclasses = ["control", "case"]', "")
    change(study, 'models = ["logistic regression"]', 'models = ["gene networks"]')
    with pytest.raises(StudyError, match=r"'gene networks', which learn two classes, .* here are 3 classes"):
        read_material(Study.read(study))

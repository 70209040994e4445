"""Null networks and verdict of genotype studies: which wirings are drawn, and what is called in cohorts whose truth is known."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.data.genotypes.test_plink import made
from tests.study.test_cohort import FILE, change, write_study
from vnn._errors import StudyError
from vnn.data.genotypes.simulated import SimulatedGenotypes, simulate_genotypes
from vnn.data.genotypes.traits import Trait
from vnn.interpret.verdict import CHANCE, LINKED, NOT_INFORMATIVE, ROBUST
from vnn.study import Results, Study, plan, read_material, run_study
from vnn.study.nulls import missing_chunks, wiring_null

DESIGN = '[nulls]\ndesign = "screening"\nat_once = 40\n'
GENES, LONG = 12, 5


def study_of(folder: Path, nulls: str = DESIGN, chromosomes: int = 2, **columns: list[object]) -> Study:
    """A study of 12 genes of five variants, evenly on some chromosomes."""
    n = GENES * LONG
    rng = np.random.default_rng(0)
    place = [1 + i % (n // chromosomes) for i in range(n)]
    where = [str(1 + i // (n // chromosomes)) for i in range(n)]
    made(
        folder, rng.binomial(2, 0.4, (n, 80)).astype(np.float32), "cohort",
        **{"chromosome": where, "bp_position": place} | columns,
    )  # fmt: skip
    people = pd.DataFrame(
        {"case": ["control", "case"] * 40}, index=pd.Index([f"p{i}" for i in range(80)], name="person")
    )
    people.to_csv(folder / "people.csv")
    rows = [(f"rs{i}", f"GENE{i // LONG}") for i in range(n)]
    pd.DataFrame(rows, columns=["variant", "gene"]).to_csv(folder / "genes.tsv", sep="\t", index=False)
    text = FILE.replace('genes = "genes.txt"', 'genes = "genes.tsv"\nread_as = "variants"')
    (folder / "study.toml").write_text(
        text.replace("name =", "n_seeds = 2\nname =", 1).replace("[training]", nulls + "[training]")
    )
    return Study.read(folder / "study.toml")


def drawn(study: Study) -> dict[str, int]:
    """How many draws of which kind a study is going to train."""
    found: Counter[str] = Counter()
    for chunk in missing_chunks(study, read_material(study), study.output):
        found[chunk.kind] += len(chunk.draws)
    return dict(found)


def test_a_design_shifts_the_variants_of_a_genotype_study(tmp_path: Path) -> None:
    asked = study_of(tmp_path)
    assert drawn(asked) == {"labels": 20, "shifted": 20, "half_samples": 10}
    assert wiring_null(asked, read_material(asked)).instead == ""
    full = asked.model_copy(update={"nulls": asked.nulls.model_copy(update={"design": "full"})})
    assert drawn(full)["shifted"] == 40


@pytest.mark.parametrize(
    ("nulls", "expected"),
    [
        ("rewired = 19", {"rewired": 19}),
        ("shifted = 30", {"shifted": 30}),
        ("shifted = 3\nrewired = 2", {"shifted": 3, "rewired": 2}),
        ("shifted = 0", {}),
    ],
)
def test_numbers_beside_a_design_count(tmp_path: Path, nulls: str, expected: dict[str, int]) -> None:
    assert drawn(study_of(tmp_path, f"{DESIGN}{nulls}\n")) == {"labels": 20, "half_samples": 10} | expected


def test_without_a_design_only_what_is_stated_is_drawn(tmp_path: Path) -> None:
    assert drawn(study_of(tmp_path, "[nulls]\nlabels = 3\n")) == {"labels": 3}


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"chromosome": ["0"] * 10 + ["1"] * 50}, "10 of 60 inputs have no place on the genome"),
        ({"bp_position": [0] * 60}, "60 of 60 inputs have no place on the genome"),
        ({"chromosomes": 12}, "a shift can leave genes much as they are (draw 0 changes 0 of 60 connections)"),
    ],
)
def test_variants_that_cannot_be_shifted_are_rewired_and_it_is_said(
    tmp_path: Path, how: dict[str, Any], why: str
) -> None:
    asked = study_of(tmp_path, **how)
    assert drawn(asked) == {"labels": 20, "rewired": 20, "half_samples": 10}
    said = f"Connections are rewired, as variants could not be shifted along their chromosomes: {why}."
    assert wiring_null(asked, read_material(asked)).instead == said
    assert said in plan(asked)
    stated = asked.model_copy(update={"nulls": asked.nulls.model_copy(update={"shifted": 20})})
    with pytest.raises(StudyError, match=re.escape(f"{why}. Ask for nulls.rewired = 20 instead.")):
        run_study(stated)
    assert not (stated.output / "fit").exists()


def test_few_variants_have_few_shifts_and_the_page_says_so(tmp_path: Path) -> None:
    path = change(write_study(tmp_path), "[training]", DESIGN + "[training]")
    change(path, 'name = "cohort"', 'name = "cohort"\nn_seeds = 2')
    change(path, "epochs = 30", "epochs = 2")
    with path.open("a") as file:
        file.write("\n[report]\nfigures = false\n")
    told: list[str] = []
    results = run_study(path, tell=told.append)
    why = "18 variants allow 15 different shifts, and 20 draws are asked for"
    assert any(why in line for line in told)
    assert results.verdict is not None
    assert results.verdict.wiring == "rewired"
    assert any(why in line for line in results.verdict.left_out)
    assert why in (results.folder / "page.html").read_text()


SIMULATED = """
name = "simulated"
n_seeds = 2
[data]
values = "cohort.bed"
labels = "phenotypes.csv"
target = "phenotype"
classes = ["control", "case"]
covariates = ["age", "sex"]
[genotypes]
genes = "genes.txt"
build = "GRCh38"
upstream = 0
downstream = 0
components = {components}
[ontology]
name = "genes"
[splits]
k = 3
[training]
epochs = 60
impute = "mean"
[compare]
models = ["logistic regression"]
[nulls]
design = "screening"
[report]
figures = false
"""


def simulated(folder: Path, trait: Trait, components: int, seed: int) -> tuple[SimulatedGenotypes, Results]:
    """A cohort and its study, with as many components declared."""
    cohort = simulate_genotypes(
        folder, people=800, variants=300, genes=60, pathways=6, traits=[trait], fst=0.05, seed=seed
    )
    (folder / "study.toml").write_text(SIMULATED.format(components=components))
    return cohort, run_study(folder / "study.toml")


@pytest.mark.slow
@pytest.mark.parametrize("components", [1, 0])
def test_a_declared_population_makes_no_gene_robust(tmp_path: Path, components: int) -> None:
    """No gene matters, the trait differs by population; undeclared, permuted labels stop hardly any gene."""
    _, results = simulated(tmp_path / "s", Trait(scenario="confounder"), components, seed=1)
    assert results.verdict is not None
    table = results.verdict.table
    beyond = ~table["verdict"].isin([NOT_INFORMATIVE, CHANCE])
    if components:
        assert not len(results.verdict.robust)
        assert beyond.mean() <= 0.05
    else:
        assert beyond.mean() > 0.5


@pytest.mark.slow
def test_causal_genes_are_robust_and_no_gene_without_linkage_to_them(tmp_path: Path) -> None:
    cohort, results = simulated(tmp_path / "s", Trait(genes=4, pathways=2), 0, seed=1)
    assert results.verdict is not None
    assert results.verdict.wiring == "shifted"
    assert results.verdict.places
    genotypes, causes = cohort.genotypes, list(cohort.truth.variants("phenotype"))
    values = genotypes.dosages()
    r2 = np.corrcoef(values)[:, genotypes.variants.index.get_indexer(causes)] ** 2
    strongest = pd.Series(r2.max(1), genotypes.variants.index)
    linked = cohort.variant_genes.groupby("gene")["variant"].agg(lambda own: strongest.loc[list(own)].max())
    robust = set(results.verdict.robust["node"])
    assert len(robust & set(cohort.truth.genes("phenotype"))) >= 2
    assert not [gene for gene in robust if linked[gene] < 0.1]
    table = results.verdict.table.set_index("node")
    assert (table.loc[list(robust), "reached_wiring"] <= 0.05).all()
    assert "Places that reach it" in (results.folder / "page.html").read_text()


@pytest.mark.slow
def test_one_causal_variant_in_linkage_over_three_genes_is_one_locus(tmp_path: Path) -> None:
    cohort, results = simulated(tmp_path / "s", Trait(scenario="locus", h2=0.1), 0, seed=1)
    assert results.verdict is not None
    table = results.verdict.table.set_index("node")
    called = table["verdict"].isin([ROBUST, LINKED])
    assert (table["verdict"] == ROBUST).sum() == 1
    assert table.loc[called, "group"].nunique() == 1
    assert set(cohort.truth.loci["phenotype"]) & set(table.index[called])

"""Genotype studies: importances, loci, scores of people, files and page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from tests.data.genotypes.test_plink import made
from tests.study.test_cohort import VARIANTS, N, change, write_study
from vnn.data.genotypes import GeneMap, pruned, read_gene_ranges, read_plink
from vnn.data.genotypes.simulated import simulate_genotypes
from vnn.data.genotypes.traits import Trait
from vnn.interpret.grouping import Relations, grouped
from vnn.interpret.verdict import LINKED, ROBUST, Thresholds, Verdict
from vnn.interpret.weights import weight_scores
from vnn.report.page import page
from vnn.study import Results, Study, read_material, run_study
from vnn.study.cohort import gene_wiring
from vnn.study.contents import content_of, fewer_flows
from vnn.study.genome import Genome, independent, read_genome, variant_of
from vnn.study.settings import LociSection, ReportSection


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    study = write_study(tmp_path_factory.mktemp("genome"))
    change(study, 'name = "genes"', 'name = "sets.gmt"\ngene_level = true\nmin_genes = 1')
    (study.parent / "sets.gmt").write_text("low\tx\tFIRST\tSECOND\nhigh\tx\tSECOND\tTHIRD\n")
    change(study, 'target = "case"', 'target = "case"\ncovariates = ["age"]')
    return run_study(study)


def test_files_hold_importance_attribution_and_scores_by_name(results) -> None:
    folder, tables = results.folder, results.genome_tables
    variants = pd.read_csv(folder / "importance_variants.csv")
    assert list(variants) == list(tables.variants)
    products = weight_scores(results.fit)
    own = products[products["level"] == "inputs"].set_index("node")["share"]
    assert np.allclose(variants["relative_importance"], own.loc[variants["variant"]], rtol=1e-5)
    inputs = results.scores.table[results.scores.table["level"] == "inputs"].set_index("node")
    assert np.allclose(variants["score"], inputs["score"].loc[variants["variant"]], rtol=1e-5, atol=1e-9)
    assert variants["genes"].tolist() == [
        ("FIRST", "SECOND", "THIRD")[int(name[2:]) // 6] for name in variants["variant"]
    ]
    assert set(variants.nsmallest(6, "p")["genes"]) == {"FIRST"}
    assert np.allclose(variants["p"], 2 * norm.sf(variants["z"].abs()))
    genes = pd.read_csv(folder / "importance_genes.csv").set_index("gene")
    assert genes["n_variants"].tolist() == [6, 6, 6]
    assert genes["relative_importance"].idxmax() == "FIRST"
    assert genes.loc["FIRST", ["chromosome", "start", "end", "length"]].tolist() == [1, 1, 6, 6]
    assert genes.loc["FIRST", "best_p"] == variants.loc[variants["genes"] == "FIRST", "p"].min()
    pathways = pd.read_csv(folder / "importance_pathways.csv").set_index("node")
    assert pathways["n_variants"].to_dict() == {"low": 12, "high": 12}
    weights = pd.read_csv(folder / "connection_weights.csv")
    assert set(weights["layer1_name"].dropna()) == {"FIRST", "SECOND", "THIRD"}
    total = weights.groupby("layer0_name")["relative_importance"].sum()
    assert np.allclose(total.loc[variants["variant"]], variants["relative_importance"], rtol=1e-3)
    assert set(pd.read_csv(folder / "edge_weights.csv")["target"]) == {"low", "high"}
    assert not (folder / "activities.csv.gz").exists()


def test_scores_of_people_are_held_out_and_in_the_table_only(results) -> None:
    table = pd.read_csv(results.folder / "scores_per_person.csv", index_col="person")
    (split,) = results.fit.splits
    assert set(table.index) == set(results.samples.ids)
    assert set(table.index[table["logit"].notna()]) == set(split.test)
    found = results.fit.predict(results.samples)
    at = [found.ids.index(name) for name in split.test]
    assert np.allclose(table.loc[list(split.test), "logit"], found.logits[at].mean((1, 2)), rtol=1e-5)
    assert np.allclose(table.loc[list(split.test), "probability of case"], found.values[at][:, :, 1].mean(1), rtol=1e-5)
    assert (table["case"] == results.samples.targets["case"].loc[table.index]).all()
    page = (results.folder / "page.html").read_text(encoding="utf-8")
    assert not [name for name in results.samples.ids if f'"{name}"' in page or f">{name}<" in page]


def test_ids_are_never_on_the_page_not_even_where_all_is_asked_for(results) -> None:
    asked = results.study.model_copy(update={"report": ReportSection(individuals="full")})
    made = page(content_of(replace(results, study=asked)))
    assert not [name for name in results.samples.ids if f'"{name}"' in made or f">{name}<" in made]
    assert "person 12" in made


def test_the_page_draws_the_genome(results) -> None:
    said = (results.folder / "page.html").read_text(encoding="utf-8")
    assert "Along the genome" in said
    assert "λ (genomic control)" in said
    assert "of 18 measured variants" in said
    names = {path.name for path in (results.folder / "figures").iterdir()}
    assert names >= {f"{what}.{kind}" for what in ("manhattan-variants", "manhattan-genes", "manhattan-pathways", "quantiles")
                     for kind in ("png", "svg")}  # fmt: skip


def test_columns_of_a_variant_are_summed(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    change(study, "upstream = 0\n", 'upstream = 0\ncoding = "genotype"\n')
    with study.open("a") as file:
        file.write("\n[report]\nactivities = true\nfigures = false\n")
    results = run_study(study)
    assert (results.folder / "activities.csv.gz").exists()
    table = results.genome_tables.variants.set_index("variant")
    inputs = results.scores.table[results.scores.table["level"] == "inputs"].set_index("node")["share"]
    assert table.loc["rs3", "share"] == pytest.approx(inputs["rs3:het"] + inputs["rs3:hom"])
    assert variant_of(["rs0:het", "rs0:hom", "rs1"], pd.Index(["rs0", "rs1"])) == ["rs0", "rs0", "rs1"]
    assert len(table) == 18


def genome(folder: Path, dosages: np.ndarray, genes: str) -> Genome:
    made(folder, dosages.astype(np.float32), "cohort")
    genotypes = read_plink(folder / "cohort")
    (folder / "genes.txt").write_text(genes)
    found = GeneMap.from_ranges(genotypes, read_gene_ranges(folder / "genes.txt"), upstream=0, downstream=0)
    names = list(found.features())
    sizes = found.sizes().assign(chromosome="1", start=0, end=0, n_independent=0, region="")
    return Genome(genotypes.select(names), found, pd.Series(names, names), sizes, ())


def judged(scores: dict[tuple[str, str], float]) -> Verdict:
    table = pd.DataFrame(list(scores), columns=["level", "node"]).assign(
        contrast="c", score=list(scores.values()), verdict=ROBUST, decided_by="passed every question"
    )
    return Verdict(table.assign(name=table["node"]), Thresholds(), {}, "rewired", ("propagation",))


def test_one_causal_variant_in_linkage_with_three_genes_is_one_locus(tmp_path: Path) -> None:
    """Genes far apart in bases (distance 0 asked): only linkage makes A, B and C one locus; D and E stand alone."""
    rng = np.random.default_rng(7)
    haplotypes = rng.random((2, N)) < 0.4
    dosages = rng.binomial(2, 0.3, (VARIANTS, N))
    for at in (1, 5, 9):
        flips = rng.random((2, N)) < 0.03
        dosages[at] = (haplotypes ^ flips).sum(0)
    rows = [(1, 4, "A"), (5, 8, "B"), (9, 12, "C"), (13, 16, "D"), (17, 20, "E")]
    found = genome(tmp_path, dosages, "".join(f"1 {a} {b} {name}\n" for a, b, name in rows))
    asked = LociSection(distance=0)
    table = found.loci(asked).find(["B", "D", "A", "C", "E"])
    assert table["locus"].to_dict() == {"B": "B", "D": "D", "A": "B", "C": "B", "E": "E"}
    expected = np.corrcoef(dosages[1], dosages[5])[0, 1] ** 2
    assert f"B (r2 {expected:.2f}" in table.loc["A", "in_ld_with"]
    assert table.loc["D", "in_ld_with"] == ""
    owners = {name: (gene,) for a, b, gene in rows for name in (f"rs{i - 1}" for i in range(a, b + 1))}
    topology = gene_wiring(owners)
    verdict = judged({("genes", gene): score for gene, score in zip("BDACE", (5, 4, 3, 2, 1), strict=True)})
    silenced = []

    def left(inputs: tuple[str, ...]) -> np.ndarray:
        silenced.append(set(inputs))
        return verdict.table["score"].to_numpy()

    ruled = grouped(verdict, Relations(topology), left, found.loci(asked)).table.set_index("node")
    assert ruled.loc[["B", "D", "E"], "verdict"].tolist() == [ROBUST] * 3
    assert ruled.loc[["A", "C"], "verdict"].tolist() == [LINKED] * 2
    assert ruled.loc[["A", "B", "C"], "group"].nunique() == 1
    assert ruled["group"].nunique() == 3
    assert silenced[0] == {name for name, (gene,) in owners.items() if gene in "ABC"}
    assert "locus of B" in ruled.loc["A", "decided_by"]
    near = grouped(verdict, Relations(topology), left, found.loci(LociSection())).table
    assert (near["verdict"] == ROBUST).sum() == 1, "all of them lie within 500 kb"
    plain = grouped(verdict, Relations(topology), left).table
    assert (plain["verdict"] == ROBUST).all()
    assert "locus" not in plain


def test_a_pathway_of_a_linked_gene_belongs_to_the_locus(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    dosages = rng.binomial(2, 0.3, (VARIANTS, N))
    dosages[5] = dosages[1]
    found = genome(tmp_path, dosages, "1 1 4 A\n1 5 8 B\n1 9 12 C\n")
    edges = [
        ("inputs", f"rs{i}", "genes", gene)
        for gene, first in (("A", 0), ("B", 4), ("C", 8))
        for i in range(first, first + 4)
    ]
    edges += [("genes", "B", "level 1", "of B"), ("genes", "C", "level 1", "of C")]
    levels = {"inputs": [f"rs{i}" for i in range(12)], "genes": list("ABC"), "level 1": ["of B", "of C"]}
    table = pd.DataFrame(edges, columns=["source_level", "source", "target_level", "target"])
    topology = type(gene_wiring({"rs0": ("A",)})).from_edges(levels, table)
    verdict = judged({("genes", "A"): 3, ("genes", "B"): 2, ("level 1", "of B"): 1, ("level 1", "of C"): 0.5})
    ruled = grouped(
        verdict, Relations(topology), lambda _: verdict.table["score"].to_numpy(), found.loci(LociSection(distance=0))
    ).table.set_index("node")
    assert ruled.loc["of B", "group"] == ruled.loc["A", "group"] == ruled.loc["B", "group"]
    assert ruled.loc["of C", "group"] != ruled.loc["A", "group"]


def test_regions_of_long_range_linkage_are_marked_and_can_be_one_locus(tmp_path: Path) -> None:
    simulated = simulate_genotypes(
        tmp_path / "sim", people=60, variants=400, genes=30, pathways=3, traits=[Trait(scenario="null")], chromosomes=6, seed=2,
        founders=100,
    )  # fmt: skip
    assert simulated.genotypes.build == "GRCh38"
    (tmp_path / "sim" / "study.toml").write_text(
        '[data]\nvalues = "cohort.bed"\nlabels = "phenotypes.csv"\ntarget = "phenotype"\n[genotypes]\ngenes = "genes.txt"\n'
        'build = "GRCh38"\n[ontology]\nname = "genes"\n[training]\nimpute = "mean"\n'
    )
    asked = Study.read(tmp_path / "sim" / "study.toml")
    found = read_genome(asked, read_material(asked))
    genes = found.sizes.index[found.sizes["chromosome"] == "1"][:3].tolist()
    assert (found.sizes["n_independent"] <= found.sizes["n_variants"]).all()
    assert (found.sizes["n_variants"] > 0).all()
    assert (found.sizes["region"] == "").all(), "simulated genes lie before the first region"
    sizes = found.sizes.loc[genes]
    region = pd.DataFrame({"region": ["made up"], "chromosome": ["1"], "start": [int(sizes["start"].min())],
                           "end": [int(sizes["end"].max())]})  # fmt: skip
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("vnn.study.genome.ld_regions", lambda build: region)
        marked = read_genome(asked, read_material(asked))
        assert (marked.sizes.loc[genes, "region"] == "made up").all()
        strict = {"distance": 0, "r2": 1.0}
        apart = found.loci(LociSection(**strict)).find(genes)
        one = found.loci(LociSection(**strict, regions="one locus")).find(genes)
    assert apart["locus"].nunique() > 1 or (apart["shared"] > 0).any()
    assert one["locus"].nunique() == 1


def test_weak_flows_are_summed_by_target() -> None:
    rng = np.random.default_rng(1)
    flows = pd.DataFrame(
        {"contrast": "c", "source_level": "inputs", "source": [f"v{i}" for i in range(100)], "target_level": "genes",
         "target": [f"G{i % 5}" for i in range(100)], "flow": rng.standard_normal(100)}
    )  # fmt: skip
    above = flows.head(5).assign(
        source_level="genes", source=flows["target"].head(5), target_level="prediction", target="prediction"
    )
    found = fewer_flows(pd.concat([flows, above]), "inputs", most=10)
    own = found[found["source_level"] == "inputs"]
    assert len(own) == 10 + 5
    assert np.allclose(own.groupby("target")["flow"].sum(), flows.groupby("target")["flow"].sum())
    assert set(own.loc[own["source"] != "", "source"]) == set(
        flows.loc[flows["flow"].abs().nlargest(10).index, "source"]
    )
    assert (found["source_level"] == "genes").sum() == 5


def test_independent_variants_are_those_of_each_gene_by_itself(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    dosages = rng.binomial(2, 0.4, (VARIANTS, N))
    dosages[1:4] = dosages[0]
    dosages[8] = dosages[9]
    made(tmp_path, dosages.astype(np.float32), "cohort")
    genotypes = read_plink(tmp_path / "cohort")
    owners = {"B": range(6), "A": range(4, 10), "C": (3, 9)}
    gene = np.array([name for name, own in owners.items() for _ in own], dtype=object)
    at = np.array([i for own in owners.values() for i in own])
    found = independent(genotypes, gene, at)
    ids = np.array(genotypes.variants.index)
    expected = {name: len(pruned(genotypes.select(variants=ids[list(own)]))) for name, own in owners.items()}
    assert found.to_dict() == expected == {"B": 3, "A": 5, "C": 2}

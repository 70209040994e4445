"""All genes of every variant: windows and strands by brute force, rules for intergenic variants, builds, wirings."""

from __future__ import annotations

import shutil
import subprocess
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.genotypes.cohorts import genotypes
from tests.data.genotypes.placed import variants_at
from vnn._errors import AlignmentError, GenotypeError
from vnn.data.genotypes import (
    GeneMap,
    GeneRanges,
    Genotypes,
    fit_coding,
    loci,
    read_annovar,
    read_plink,
    read_variant_genes,
)
from vnn.ontology.gmt import read_gmt

FIELDS = ["gene", "chromosome", "start", "end", "strand"]


def ranges_of(*rows: tuple, build: str = "") -> GeneRanges:
    return GeneRanges.of(
        pd.DataFrame(rows, columns=FIELDS), build=build, source={"name": "genes.bed", "sha256": "", "role": ""}
    )


def pairs(gene_map: GeneMap) -> set[tuple[str, str]]:
    return set(gene_map.pairs.itertuples(index=False, name=None))


def window(start: int, end: int, strand: str, up: int, down: int, blind: int) -> tuple[int, int]:
    before, after = {"+": (up, down), "-": (down, up), "": (blind, blind)}[strand]
    return start - before, end + after


def brute(genotypes: Genotypes, rows: list[tuple], up: int, down: int, blind: int, within: int | None) -> set:
    """Every variant beside every gene."""
    made = set()
    for name, chromosome, position in genotypes.variants[["chromosome", "position"]].itertuples(name=None):
        if position < 1:
            continue
        held, gaps = set(), {}
        for gene, where, start, end, strand in rows:
            if where != chromosome:
                continue
            low, high = window(start, end, strand, up, down, blind)
            if low <= position <= high:
                held.add(gene)
            gap = max(start - position, position - end, 0)
            gaps[gene] = min(gap, gaps.get(gene, gap))
        if not held and within is not None and gaps and min(gaps.values()) <= within:
            held = {gene for gene, gap in gaps.items() if gap == min(gaps.values())}
        made |= {(name, gene) for gene in held}
    return made


GENES = st.lists(
    st.tuples(
        st.sampled_from("ABCDEF"), st.sampled_from(["1", "2"]), st.integers(1, 60), st.integers(0, 15),
        st.sampled_from(["+", "-", ""]),
    ),
    min_size=1, max_size=9,
)  # fmt: skip
VARIANTS = st.lists(st.tuples(st.sampled_from(["1", "2", "3"]), st.integers(-2, 90)), min_size=1, max_size=25)
WINDOWS = st.tuples(st.integers(0, 12), st.integers(0, 12), st.none() | st.integers(0, 12))


@settings(max_examples=60, deadline=None)
@given(GENES, VARIANTS, WINDOWS, st.none() | st.integers(1, 40))
def test_windows_and_nearest_genes_by_brute_force(genes, variants, windows, within):
    rows = [(gene, where, start, start + length, strand) for gene, where, start, length, strand in genes]
    genotypes = variants_at("1:50", "2:50", *(f"{where}:{at}" for where, at in variants))
    up, down, blind = windows
    rule = {} if within is None else {"intergenic": "nearest", "within": within}
    found = GeneMap.from_ranges(genotypes, ranges_of(*rows), upstream=up, downstream=down, strandless=blind, **rule)
    wanted = brute(genotypes, rows, up, down, min(up, down) if blind is None else blind, within)
    assert pairs(found) == wanted
    assert len(found.variant) == len(wanted)
    assert found.genes == tuple(sorted({gene for _, gene in wanted}))
    own: dict[str, set[str]] = {}
    for variant, gene in wanted:
        own.setdefault(variant, set()).add(gene)
    assert found.features() == {variant: tuple(sorted(held)) for variant, held in own.items()}
    assert list(found.features()) == [name for name in genotypes.variants.index if name in own]
    assert found.n_variants == len(own)
    assert found.sizes()["n_variants"].to_dict() == {g: sum(gene == g for _, gene in wanted) for g in found.genes}
    covered = {(gene, where, at, strand) for gene, where, start, end, strand in rows for at in range(start, end + 1)}
    for gene, length in found.sizes()["length"].items():
        assert length == sum(name == gene for name, *_ in covered)


# Start and end on the strand that ANNOVAR's distances tell (upstream 346 of RBFOX1 ...); the other ends beyond all variants.
REFGENE = [
    ("RBFOX1", "16", 6_069_025, 7_763_340, "+"), ("WWOX", "16", 78_133_000, 79_246_000, "+"),
    ("PTPRD", "9", 8_314_246, 10_612_723, "-"), ("FHIT", "3", 59_734_000, 61_237_133, "-"),
    ("LRMDA", "10", 77_191_382, 78_319_925, "+"), ("DPP10", "2", 115_200_000, 116_602_326, "+"),
    ("TENM4", "11", 78_363_874, 79_151_695, "-"), ("LINC01098", "4", 178_649_911, 178_911_904, "+"),
    ("LRP1B", "2", 140_988_996, 142_889_270, "-"), ("MACROD2", "20", 13_976_000, 16_033_842, "+"),
]  # fmt: skip


@pytest.mark.data
def test_windows_agree_with_annovar_on_the_given_variants(real):
    genotypes = read_plink(real("genotype/gennet_a_to_z/plink/GenNet_simulation.bed").with_suffix(""), build="GRCh37")
    table = read_annovar(real("genotype/gennet_a_to_z/processed_data/GenNet_simulation_RefGene.variant_function"))
    annotated = GeneMap.from_annotation(genotypes, table)
    both = GeneMap.from_ranges(genotypes, ranges_of(*REFGENE, build="GRCh37"), upstream=1_000, downstream=1_000)
    assert pairs(both) == pairs(annotated)
    for kind, windows in (("upstream", (0, 1_000)), ("downstream", (1_000, 0))):
        one_side = GeneMap.from_ranges(genotypes, ranges_of(*REFGENE), upstream=windows[0], downstream=windows[1])
        assert pairs(annotated) - pairs(one_side) == pairs(GeneMap.from_annotation(genotypes, table, kinds=kind)), kind
    default = GeneMap.from_ranges(genotypes, ranges_of(*REFGENE))
    assert pairs(default) == pairs(annotated)


@pytest.mark.data
@pytest.mark.skipif(shutil.which("plink2") is None, reason="needs plink2 (Debian package)")
def test_windows_hold_the_variants_that_plink2_extracts(real, tmp_path):
    genotypes = read_plink(real("genotype/plink_missing/plink_sim_10s_100v_10pmiss.bed").with_suffix(""))
    assert genotypes.n_variants == 100
    rng = np.random.Generator(np.random.Philox(3))
    variants = genotypes.variants
    at = rng.permutation(100)[:20]
    chromosomes = variants["chromosome"].to_numpy()[at]
    start = variants["position"].to_numpy()[at] + rng.integers(0, 20, 20)
    rows = list(
        zip((f"G{i}" for i in range(20)), chromosomes, start, start + rng.integers(0, 20, 20), "+-" * 10, strict=True)
    )
    found = GeneMap.from_ranges(genotypes, ranges_of(*rows), upstream=7, downstream=7)
    listed = tmp_path / "ranges.txt"
    listed.write_text("".join(f"{c}\t{a}\t{b}\t{g}\n" for g, c, a, b, _ in rows))
    prefix = real("genotype/plink_missing/plink_sim_10s_100v_10pmiss.bed").with_suffix("")
    command = ["plink2", "--bfile", prefix, "--extract", "bed1", listed, "--bed-border-bp", "7", "--write-snplist"]
    subprocess.run([*command, "--out", tmp_path / "kept"], check=True, capture_output=True)
    assert set(found.features()) == set((tmp_path / "kept.snplist").read_text().split())
    assert 5 < found.n_variants < 95


def test_overlapping_genes_all_count_and_the_log_says_how_many():
    ranges = ranges_of(
        ("A", "1", 100, 200, "+"), ("B", "1", 150, 300, "-"), ("C", "1", 150, 160, ""), ("D", "7", 1, 5, "+"),
        ("E", "1", 900, 901, "+"),
    )  # fmt: skip
    genotypes = variants_at("chr1:155", "1:99", "1:310", "2:5", "1:0", "0:155")
    found = GeneMap.from_ranges(genotypes, ranges, upstream=10, downstream=5)
    assert found.features() == {"rs0": ("A", "B", "C"), "rs1": ("A",), "rs2": ("B",)}
    assert found.log[-6:] == (
        "gene map: 1 genes of genes.bed lie on chromosomes the genotypes do not have: '7'",
        "gene map: 1 variants lie on chromosomes genes.bed does not have: '2'",
        "gene map: 2 variants have no position (chromosome 0 or position below 1) and no gene",
        "gene map: genes.bed: windows of 10 bases upstream and 5 downstream of 3 ranges with a strand; 5 bases on both sides of 1 "
        "ranges without a strand",
        "gene map: 3 of 6 variants have a gene, 1 of them several; 1 are intergenic: they have no gene",
        "gene map: 3 of 4 genes have variants, 5 pairs in all",
    )
    assert repr(found) == "GeneMap(3 of 6 variants -> 3 genes, 5 pairs)"
    assert found.provenance["files"] == [{"name": "genes.bed", "sha256": "", "role": ""}]
    assert found.provenance["window"].startswith("10 bases upstream, 5 downstream, 5 on both sides")


def test_all_places_of_a_gene_count_and_the_pseudo_autosomal_regions_lie_on_x():
    ranges = ranges_of(
        ("A", "1", 100, 109, "+"), ("A", "5", 100, 119, "-"), ("P", "X", 50, 60, "+"), ("P", "Y", 50, 60, "+"),
        ("P", "XY", 50, 60, "+"),
    )  # fmt: skip
    genotypes = variants_at("1:105", "5:105", "XY:55", "X:60", "Y:50", "MT:55")
    found = GeneMap.from_ranges(genotypes, ranges, upstream=0, downstream=0)
    assert pairs(found) == {("rs0", "A"), ("rs1", "A"), ("rs2", "P"), ("rs3", "P"), ("rs4", "P")}
    assert "2 of 2 genes lie at several places, 2 of them on several chromosomes; all are used" in found.log[0]
    assert found.sizes().loc["A"].tolist() == [2, 30]


@pytest.mark.parametrize(
    ("rule", "names"),
    [("node", ["intergenic"] * 3), ("chromosome", ["intergenic 1", "intergenic 1", "intergenic 2"])],
)
def test_intergenic_variants_get_nodes(rule, names):
    genotypes = variants_at("1:5", "1:500", "1:900", "2:7", "0:3")
    found = GeneMap.from_ranges(genotypes, ranges_of(("A", "1", 4, 6, "+")), upstream=0, downstream=0, intergenic=rule)
    assert pairs(found) == {("rs0", "A"), *zip(["rs1", "rs2", "rs3"], names, strict=True)}
    assert found.intergenic == tuple(sorted(set(names)))
    assert found.sizes()["length"].notna().tolist() == [True] + [False] * len(set(names))
    assert "1 of 1 genes have variants, 4 pairs" in found.log[-1]
    named = ranges_of(("A", "1", 4, 6, "+"), *((name, "1", 4, 6, "+") for name in set(names)))
    with pytest.raises(GenotypeError, match="genes are called 'intergenic"):
        GeneMap.from_ranges(genotypes, named, upstream=0, downstream=0, intergenic=rule)


def test_columns_have_the_genes_of_their_variants():
    dosages = np.array([[0, 1, 2, 1], [0, np.nan, 1, 0], [2, 1, 1, 0], [0, 0, 1, 1]])
    held = genotypes(dosages)
    gene_map = GeneMap.of(held, {"v0": ["A", "B"], "v1": ["B"], "v3": ["C"]})
    some = held.select(["v2", "v1", "v0"])
    coding = fit_coding(some, "genotype", missing="own")
    found = gene_map.columns(some, coding)
    wanted = {f"v1:{what}": ("B",) for what in ("het", "hom", "missing")}
    wanted |= {f"v0:{what}": ("A", "B") for what in ("het", "hom")}
    assert found.features() == wanted
    assert list(found.features()) == [name for name in coding.names if name in wanted]
    assert found.genes == ("A", "B")
    assert found.log[-1] == "gene map: 1 genes have no variant among those coded and are left out"
    topology = found.topology()
    assert set(topology.inputs) == set(wanted)
    assert "v2:het" in topology.log[0].names
    plain = gene_map.columns(held, fit_coding(held))
    assert plain.features() == gene_map.features()
    with pytest.raises(AlignmentError):
        GeneMap.of(some, {"v0": ["A"]}).columns(held, fit_coding(held))


def test_all_genes_that_are_equally_near_count():
    rows = [
        ("L1", "2", 10, 50, "+"), ("L2", "2", 40, 50, "-"), ("L3", "2", 1, 49, "+"), ("R1", "2", 70, 90, "+"),
        ("R2", "2", 70, 71, "-"), ("R3", "2", 71, 72, "+"), ("A", "1", 55, 66, "+"), ("Z", "3", 55, 66, "+"),
    ]  # fmt: skip
    genotypes = variants_at("2:60", "2:59", "2:61", "2:100", "2:101", "1:1", "3:77")
    found = GeneMap.from_ranges(genotypes, ranges_of(*rows), upstream=0, downstream=0, intergenic="nearest", within=10)
    assert found.features() == {
        "rs0": ("L1", "L2", "R1", "R2"), "rs1": ("L1", "L2"), "rs2": ("R1", "R2"), "rs3": ("R1",),
    }  # fmt: skip
    assert "7 are intergenic: 4 have the nearest gene within 10 bases, 3 have no gene" in found.log[-2]


class TestRefused:
    GENES = ("A", "1", 100, 200, "+")

    def test_rules_and_windows(self):
        genotypes, ranges = variants_at("1:5"), ranges_of(self.GENES)
        with pytest.raises(ValueError, match=r'intergenic="nearest" needs within'):
            GeneMap.from_ranges(genotypes, ranges, intergenic="nearest")
        with pytest.raises(ValueError, match="the rule is 'drop'"):
            GeneMap.from_ranges(genotypes, ranges, within=5)
        with pytest.raises(ValueError, match="within is 0"):
            GeneMap.from_ranges(genotypes, ranges, intergenic="nearest", within=0)
        with pytest.raises(ValueError, match="intergenic is 'keep'; known are"):
            GeneMap.from_ranges(genotypes, ranges, intergenic="keep")
        with pytest.raises(ValueError, match="none may be negative"):
            GeneMap.from_ranges(genotypes, ranges, upstream=-1)

    def test_chromosomes_that_do_not_meet(self):
        with pytest.raises(
            AlignmentError, match=r"in genes.bed. The genotypes have 'chromosome1', '3'; genes.bed has '1'.*rename"
        ):
            GeneMap.from_ranges(variants_at("chromosome1:5", "3:5"), ranges_of(self.GENES))

    def test_builds(self):
        with pytest.raises(GenotypeError, match=r"the genotypes are on GRCh37 and genes\.bed on GRCh38"):
            GeneMap.from_ranges(variants_at("1:5", build="GRCh37"), ranges_of(self.GENES, build="GRCh38"))
        with pytest.raises(GenotypeError, match=r"positions of genes\.bed lie beyond the end"):
            GeneMap.from_ranges(
                variants_at("1:5", build="GRCh38"), ranges_of(("A", "1", 249_000_000, 249_000_001, "+"))
            )
        found = GeneMap.from_ranges(variants_at("1:150", build="GRCh38"), ranges_of(self.GENES))
        assert found.provenance["build"] == "GRCh38"
        assert "gene map: the build of genes.bed is not declared; taken to be GRCh38" in found.log

    def test_nothing_to_wire(self):
        found = GeneMap.from_ranges(variants_at("1:999999"), ranges_of(self.GENES))
        assert found.features() == {}
        assert len(found.sizes()) == 0
        with pytest.raises(GenotypeError, match=r"no variant has a gene.*1 are intergenic"):
            found.topology()

    def test_builds_of_a_table(self, tmp_path):
        path = tmp_path / "t.txt"
        path.write_text("rs0\tA\n")
        with pytest.raises(GenotypeError, match=r"on GRCh37 and t\.txt on GRCh38"):
            GeneMap.from_annotation(variants_at("1:5", build="GRCh37"), read_variant_genes(path, build="GRCh38"))


def test_a_table_takes_places_from_ranges(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("rs0\tA\nrs1\tB\n")
    found = GeneMap.from_annotation(
        variants_at("1:5", "1:900"),
        read_variant_genes(path),
        ranges=ranges_of(("A", "1", 100, 200, "+"), ("Z", "1", 1, 2, "")),
    )
    assert pairs(found) == {("rs0", "A"), ("rs1", "B")}
    assert found.sizes()["length"].tolist()[0] == 101
    assert np.isnan(found.sizes()["length"]["B"])
    assert any("1 genes of t.txt have no place in genes.bed: 'B'" in line for line in found.log)
    assert [file["name"] for file in found.provenance["files"]] == ["t.txt", "genes.bed"]
    assert found.provenance["window"] == "as the table has it, kinds: all"


def test_wirings_with_and_without_an_ontology(tmp_path):
    genotypes = variants_at("1:10", "1:20", "1:30", "1:40", ids=["d", "c", "b", "a"])
    ranges = ranges_of(("G2", "1", 5, 25, "+"), ("G1", "1", 15, 35, "+"), ("G9", "1", 30, 30, "-"))
    found = GeneMap.from_ranges(genotypes, ranges, upstream=0, downstream=0)
    topology = found.topology()
    assert topology.inputs == ("b", "c", "d")
    edges = topology.to_edges()
    assert set(zip(edges["source"], edges["target"], strict=True)) == pairs(found)
    assert topology.outputs == (("genes", "G1"), ("genes", "G2"), ("genes", "G9"))
    assert [str(entry) for entry in topology.log] == ["gene map: 1 features without a gene, not wired: 'a'"]
    assert topology.provenance[0]["intergenic"] == "drop"

    gmt = tmp_path / "sets.gmt"
    gmt.write_text("T1\tx\tG1\tG2\nT2\tx\tG2\tG9\n")
    ontology = read_gmt(gmt)
    wired = ontology.topology(found.features(), gene_level=True, min_genes=1)
    lowest = wired.to_edges().query("source_level == 'inputs'")
    assert set(zip(lowest["source"], lowest["target"], strict=True)) == pairs(found)
    assert "T2" in wired.levels[2].nodes


def test_a_saved_topology_comes_back(tmp_path):
    found = GeneMap.from_ranges(variants_at("1:10"), ranges_of(("A", "1", 5, 25, "+"))).topology()
    found.save(tmp_path / "t.npz")
    again = type(found).load(tmp_path / "t.npz")
    assert again.fingerprint == found.fingerprint
    assert again.provenance[0]["window"] == found.provenance[0]["window"]


def test_time_grows_with_pairs_and_not_with_variants_times_genes():
    n, n_genes = 200_000, 20_000
    rng = np.random.Generator(np.random.Philox(1))
    position = np.sort(rng.integers(1, 240_000_000, n))
    start = rng.integers(1, 239_000_000, n_genes)
    table = pd.DataFrame(
        {
            "gene": [f"G{i}" for i in range(n_genes)],
            "chromosome": "1",
            "start": start,
            "end": start + 20_000,
            "strand": "+",
        }
    )
    genotypes = variants_at("1:1")
    variants = pd.DataFrame(
        {"chromosome": "1", "position": position, "counted": "A", "other": "C"}, index=[f"rs{i}" for i in range(n)]
    )
    many = Genotypes.of(genotypes.parts, variants, genotypes.people)
    ranges = GeneRanges.of(table)
    before = time.process_time()
    found = GeneMap.from_ranges(many, ranges)
    assert time.process_time() - before < 10
    low, high = start - 35_000, start + 20_000 + 10_000
    counts = np.searchsorted(position, high, "right") - np.searchsorted(position, low, "left")
    np.testing.assert_array_equal(found.sizes()["n_variants"].reindex(table["gene"]).fillna(0), counts)


def test_genes_that_a_topology_tells_make_loci_by_their_variants():
    held = genotypes(np.zeros((6, 4)), position=[1, 2, 3, 900_000, 900_100, 5_000_000])
    told = GeneMap.of(held, {"v0": ("A",), "v1": ("A", "B"), "v3": ("C",), "v4": ("D",), "v5": ("E",)})
    assert told.features() == {"v0": ("A",), "v1": ("A", "B"), "v3": ("C",), "v4": ("D",), "v5": ("E",)}
    assert told.log == ("gene map: 1 of 6 variants are in no gene and left out",)
    assert told.sizes()["n_variants"].to_dict() == {"A": 2, "B": 1, "C": 1, "D": 1, "E": 1}
    assert told.sizes()["length"].isna().all()
    together = loci(told).groupby("locus").groups.values()
    assert sorted(sorted(own) for own in together) == [["A", "B"], ["C", "D"], ["E"]]
    with pytest.raises(AlignmentError, match="lack 1 of the 1 variants asked for: 'v9'"):
        GeneMap.of(held, {"v9": ("A",)})

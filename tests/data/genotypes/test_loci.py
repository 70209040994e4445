"""Loci: genes that share variants, lie close together, are in linkage disequilibrium or in one region."""

from __future__ import annotations

import networkx as nx
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.genotypes.placed import variants_at
from vnn._errors import AlignmentError
from vnn.data.genotypes import GeneMap, GeneRanges, ld_regions, loci, read_variant_genes

FIELDS = ["gene", "chromosome", "start", "end", "strand"]


def mapped(*rows: tuple, at: tuple[str, ...] = (), **options) -> GeneMap:
    places = [f"{chromosome}:{start}" for _, chromosome, start, _, _ in rows]
    ranges = GeneRanges.of(pd.DataFrame(rows, columns=FIELDS))
    return GeneMap.from_ranges(variants_at(*places, *at), ranges, upstream=0, downstream=0, **options)


def groups(table: pd.DataFrame) -> set[frozenset[str]]:
    return {frozenset(names) for names in table.groupby("locus").groups.values()}


ROWS = st.lists(
    st.tuples(st.sampled_from(["1", "2"]), st.integers(1, 300), st.integers(0, 30)), min_size=1, max_size=12
)


@settings(max_examples=30, deadline=None)
@given(ROWS, st.integers(0, 60), st.data())
def test_components_by_brute_force(rows, distance, data):
    names = [f"G{i:02}" for i in range(len(rows))]
    genes = [
        (name, where, start, start + length, "+") for name, (where, start, length) in zip(names, rows, strict=True)
    ]
    found = mapped(*genes)
    asked = data.draw(st.permutations(names).map(lambda order: order[: 1 + len(order) // 2]))
    held: dict[str, set[str]] = {name: set() for name in names}
    for variant, gene in found.pairs.itertuples(index=False):
        held[gene].add(variant)
    r2 = pd.DataFrame(
        data.draw(
            st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names), st.sampled_from([0.1, 0.2])), max_size=3)
        ),
        columns=["gene_a", "gene_b", "r2"],
    )
    graph = nx.Graph()
    graph.add_nodes_from(asked)
    at = {gene[0]: gene[1:4] for gene in genes}
    for a in asked:
        for b in asked:
            gap = max(at[a][1] - at[b][2], at[b][1] - at[a][2], 0)
            if a != b and (held[a] & held[b] or (at[a][0] == at[b][0] and gap < distance)):
                graph.add_edge(a, b)
    graph.add_edges_from(
        (a, b) for a, b, value in r2.itertuples(index=False) if value > 0.1 and a in asked and b in asked
    )
    table = loci(found, asked, distance=distance, r2=r2)
    assert groups(table) == {frozenset(part) for part in nx.connected_components(graph)}
    assert list(table.index) == asked
    for gene, row in table.iterrows():
        lead = row["locus"]
        assert lead == next(name for name in asked if table["locus"][name] == lead)
        assert row["shared"] == len(held[gene] & held[lead])
        if at[gene][0] == at[lead][0]:
            assert row["gap"] == max(at[gene][1] - at[lead][2], at[lead][1] - at[gene][2], 0)
        else:
            assert pd.isna(row["gap"])


def test_genes_of_one_signal_are_one_locus_led_by_the_first():
    found = mapped(
        ("A", "1", 1_000, 2_000, "+"), ("B", "1", 501_999, 502_500, "-"), ("C", "1", 1_002_500, 1_003_000, "+"),
        ("D", "2", 1_500, 1_600, "+"),
    )  # fmt: skip
    table = loci(found, ["C", "B", "A", "D"])
    assert table["locus"].to_dict() == {
        "C": "C",
        "B": "B",
        "A": "B",
        "D": "D",
    }  # C is 500,000 bases from B: just too far
    assert table["gap"].to_dict() == {"C": 0, "B": 0, "A": 499_999, "D": 0}
    linked = pd.DataFrame({"gene_a": ["D", "B"], "gene_b": ["A", "C"], "r2": [0.4, 0.05]})
    table = loci(found, ["C", "B", "A", "D"], r2=linked)
    assert table["locus"].to_dict() == {"C": "C", "B": "B", "A": "B", "D": "B"}
    assert loci(found, ["A", "D"], r2=linked)["r2"].tolist()[1] == 0.4


def test_a_gene_between_two_joins_them_only_where_it_is_asked_for():
    found = mapped(
        ("A", "1", 100, 200, "+"), ("B", "1", 150, 400, "+"), ("C", "1", 300, 500, "+"), at=("1:180", "1:350")
    )
    assert groups(loci(found, distance=0)) == {frozenset("ABC")}
    assert groups(loci(found, ["A", "C"], distance=0)) == {frozenset("A"), frozenset("C")}
    assert loci(found, distance=0)["shared"].to_dict() == {"A": 3, "B": 2, "C": 0}


def test_the_mhc_as_one_locus():
    rows = [("HFE", "6", 26_087_441, 26_098_571, "+"), ("HLA-A", "6", 29_942_532, 29_945_870, "+"),
            ("HLA-DRB1", "6", 32_578_775, 32_589_848, "-"), ("APOE", "19", 44_905_791, 44_909_393, "+")]  # fmt: skip
    found = mapped(*rows)
    assert len(groups(loci(found))) == 4
    mhc = ld_regions("GRCh38").query("region == 'MHC'")
    table = loci(found, ["HLA-A", "HFE", "HLA-DRB1", "APOE"], regions=mhc)
    assert table["locus"].tolist() == ["HLA-A", "HLA-A", "HLA-A", "APOE"]


def test_genes_without_a_place_reach_from_their_first_to_their_last_variant(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("rs0\tA\nrs1\tA\nrs2\tB\nrs3\tC\n")
    found = GeneMap.from_annotation(variants_at("1:100", "1:400", "1:450", "2:100"), read_variant_genes(path))
    table = loci(found, distance=51)
    assert table[["locus", "chromosome", "start", "end", "gap"]].to_numpy().tolist() == [
        ["A", "1", 100, 400, 0.0], ["A", "1", 450, 450, 50.0], ["C", "2", 100, 100, 0.0],
    ]  # fmt: skip
    assert groups(loci(found, distance=50)) == {frozenset("A"), frozenset("B"), frozenset("C")}


def test_names_that_are_no_genes_of_the_map():
    found = mapped(("A", "1", 1, 2, "+"), at=("1:9",), intergenic="node")
    assert list(loci(found).index) == ["A"]
    with pytest.raises(AlignmentError, match="lacks 1 of the 2 genes asked for: 'Z'"):
        loci(found, ["A", "Z"])
    with pytest.raises(AlignmentError, match="genes asked for occur more than once"):
        loci(found, ["A", "A"])
    with pytest.raises(AlignmentError, match="'intergenic' stand for intergenic variants"):
        loci(found, ["intergenic"])
    with pytest.raises(AlignmentError, match="none of the 2 genes of r2 is in the gene map: 'X', 'Y'"):
        loci(found, r2=pd.DataFrame({"gene_a": ["X"], "gene_b": ["Y"], "r2": [0.5]}))

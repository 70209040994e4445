"""Annotation tables: columns by name or order, joined to a hierarchy; counts by loops of the test."""

from __future__ import annotations

import gzip
import io
import random
from collections import defaultdict

import networkx as nx
import obonet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vnn._errors import OntologyError
from vnn.ontology import read_edges
from vnn.ontology.annotations import read_annotations

OBO = """format-version: 1.2
data-version: releases/2026-01-01
default-namespace: phenotype
[Term]
id: HP:1
name: all
alt_id: HP:10
[Term]
id: HP:2
name: part
is_a: HP:1
[Term]
id: HP:8
is_obsolete: true
replaced_by: HP:2
[Term]
id: HP:9
is_obsolete: true
"""


@pytest.fixture
def table(tmp_path):
    def write(text, name="table.tsv"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def pairs(ontology):
    return {f"{row.gene} {row.term}" for row in ontology.annotations.itertuples()}


HPO = "ncbi_gene_id\tgene_symbol\thpo_id\thpo_name\tfrequency\tdisease_id\n"
HPO += "8192\tCLPP\tHP:2\tpart\t-\tOMIM:614129\n8192\tCLPP\tHP:2\tpart\t3/10\tOMIM:1\n1\tA1BG\tHP:10\tall\t-\tOMIM:1\n"
OLD_HPO = "#Format: HPO-id<tab>HPO label<tab>entrez-gene-id<tab>entrez-gene-symbol\nHP:2\tpart\t8192\tCLPP\n"
OLD_HPO += "HP:10\tall\t1\tA1BG\n"
MGI = "Clpp<tm1>/Clpp<tm1>\tClpp<tm1>\tMGI:5\tinvolves\tHP:2\t123\tCLPP|A1BG\nx\ty\tz\tb\tHP:10\t5\tA1BG\n"
HMD = "CLPP\t8192\tClpp\tMGI:1\tHP:2, HP:10\t\nA1BG\t1\tA1bg\tMGI:2\t\t\n"


@pytest.mark.parametrize(
    ("text", "columns", "several", "wanted"),
    [
        (HPO, {"gene": "gene_symbol", "term": "hpo_id", "name": "hpo_name"}, "", {"CLPP HP:2", "A1BG HP:1"}),
        (HPO, {"gene": "ncbi_gene_id", "term": "hpo_id"}, "", {"8192 HP:2", "1 HP:1"}),
        (HPO.replace("ncbi", "#ncbi"), {"gene": "ncbi_gene_id", "term": "hpo_id"}, "", {"8192 HP:2", "1 HP:1"}),
        (HPO.replace("\t", ","), {"gene": "gene_symbol", "term": "hpo_id"}, "", {"CLPP HP:2", "A1BG HP:1"}),
        (OLD_HPO, ["term", "", "", "gene"], "", {"CLPP HP:2", "A1BG HP:1"}),
        (MGI, ["", "", "", "", "term", "", "gene"], "|", {"CLPP HP:2", "A1BG HP:2", "A1BG HP:1"}),
        (HMD, ["gene", "", "", "", "term"], ",", {"CLPP HP:2", "CLPP HP:1"}),
        ("HP:2\tCLPP,A1BG\nHP:8\t NEW \n", ["term", "gene"], ",", {"CLPP HP:2", "A1BG HP:2", "NEW HP:2"}),
    ],
)
def test_the_tables_of_hpo_mgi_and_terms_with_lists(table, text, columns, several, wanted):
    ontology = read_annotations(table(text), columns, several=several, hierarchy=table(OBO, "hp.obo"))
    assert pairs(ontology) == wanted
    assert ontology.relations.values.tolist() == [["HP:2", "HP:1", "is_a"]]
    (record,) = ontology.provenance
    assert (record["source"], record["release"]) == ("OBO and annotations", "releases/2026-01-01")


def test_every_reason_to_leave_is_in_the_log(table):
    text = "g\tt\te\tq\no\nA\tHP:10\tIDA\t\nA\tHP:2\tIDA\tNOT|x\nB\tHP:2\tND\t\n\tHP:2\tIDA\t\nC\tHP:9\tIDA\t\n"
    text = text.replace("\no\n", "\n") + "D\tHP:404\tIDA\t\nA\tHP:1\tIDA\t\n"
    columns = {"gene": "g", "term": "t", "evidence": "e", "qualifier": "q"}
    ontology = read_annotations(table(text), columns, hierarchy=table(OBO, "hp.obo"))
    assert ontology.annotations.values.tolist() == [["A", "HP:1", "IDA", ""]]
    assert [str(entry) for entry in ontology.log if entry.step == "read annotations"] == [
        "read annotations: 1 annotations removed: no data (ND) (1 rows): 'B @ HP:2'",
        "read annotations: 1 annotations removed: they say NOT (1 rows): 'A @ HP:2'",
        "read annotations: 1 lines skipped: no gene or no term: 'table.tsv, line 5:  | HP:2 | IDA | '",
        "read annotations: 1 annotations followed to the term that stands for their alternative or obsolete id: "
        "'A @ HP:10'",
        "read annotations: 1 annotations dropped: their term is obsolete without one replacement: 'C @ HP:9'",
        "read annotations: 1 annotations dropped: they name a term that is not there (1 rows): 'D @ HP:404'",
        "read annotations: 1 annotations repeated and kept once (1 rows): 'A @ HP:1'",
    ]


def test_without_a_hierarchy_the_table_names_its_terms(table):
    text = "id\tname\tspace\tgenes\nT:1\tone\ts\tA|B\nT:2\ttwo\ts\tB\nT:2\tother\ts\tC\n"
    columns = {"term": "id", "name": "name", "namespace": "space", "gene": "genes"}
    ontology = read_annotations(table(text), columns, several="|")
    assert ontology.terms.values.tolist() == [["one", "s"], ["other", "s"]]
    assert [str(e) for e in ontology.log] == [
        "read annotations: 1 terms with more than one name: the first is kept: 'T:2 (other, two)'"
    ]


def test_taxa_are_told_apart(table):
    path = table("9606\tA\tT:1\n10090\tB\tT:1\n")
    columns = ["taxon", "gene", "term"]
    assert pairs(read_annotations(path, columns, taxon=9606)) == {"A T:1"}
    with pytest.raises(OntologyError, match="mixes 2 taxa"):
        read_annotations(path, columns)
    with pytest.raises(ValueError, match="by their taxon if `columns` tells"):
        read_annotations(path, ["", "gene", "term"], taxon=9606)


@pytest.mark.parametrize(
    ("columns", "error", "says"),
    [
        ("gene term", TypeError, "is the text 'gene term'; a list of roles"),
        (["gene"], ValueError, r"is \['gene'\]; it needs 'gene' and 'term'"),
        (["gene", "gene", "term"], ValueError, "each role at most once"),
        (["gene", "terms"], ValueError, "Did you mean 'term'"),
        ({"gene": "gene_symbo", "term": "hpo_id"}, OntologyError, "Did you mean 'gene_symbol'"),
        (["gene", "", "", "", "", "", "", "term"], OntologyError, "needs 8 fields.*this one has 6"),
    ],
)
def test_columns_that_do_not_fit_are_named(table, columns, error, says):
    with pytest.raises(error, match=says):
        read_annotations(table(HPO), columns)


def test_a_short_line_is_located(table):
    with pytest.raises(OntologyError, match="needs 2 fields") as caught:
        read_annotations(table("A\tT:1\nB\n"), ["gene", "term"])
    assert caught.value.__notes__ == ["reading table.tsv, line 2"]


names = st.text("ABCD", min_size=1, max_size=2)


@settings(deadline=None, max_examples=25)
@given(rows=st.lists(st.tuples(names, names), min_size=1, max_size=20), seed=st.integers(0, 99))
def test_order_of_lines_and_layout_never_matter(tmp_path_factory, rows, seed):
    folder = tmp_path_factory.mktemp("tables")
    (folder / "long.tsv").write_text("".join(f"{gene}\tT:{term}\n" for gene, term in rows))
    sets = defaultdict(list)
    for gene, term in rows:
        sets[term].append(gene)
    lines = [f"T:{term}\t{','.join(genes)}\n" for term, genes in sets.items()]
    random.Random(seed).shuffle(lines)
    (folder / "wide.tsv").write_text("".join(lines))
    long = read_annotations(folder / "long.tsv", ["gene", "term"])
    wide = read_annotations(folder / "wide.tsv", ["term", "gene"], several=",")
    assert {tuple(row) for row in long.annotations[["gene", "term"]].values} == {(g, f"T:{t}") for g, t in rows}
    assert long.annotations.equals(wide.annotations)
    assert [str(entry) for entry in long.log] == [str(entry) for entry in wide.log]


@pytest.mark.data
def test_the_pathway_ontology_and_its_genes(real):
    ontology = read_annotations(
        real("phenotype/gene_term_mapping.txt"), ["gene", "term"], hierarchy=real("phenotype/pw.obo.gz")
    )
    graph = obonet.read_obo(io.StringIO(gzip.decompress(real("phenotype/pw.obo.gz").read_bytes()).decode()))
    known = {node for node, data in graph.nodes(data=True) if data}
    up = nx.DiGraph(graph.edges())
    wanted = defaultdict(set)
    for line in real("phenotype/gene_term_mapping.txt").read_text().split("\n"):
        gene, _, term = line.partition("\t")
        if term in known:
            for above in {term} | (nx.descendants(up, term) if term in up else set()):
                wanted[above].add(gene)
    assert {term: genes for term, genes in ontology.gene_sets().items() if genes} == dict(wanted)
    alone = read_annotations(real("phenotype/gene_term_mapping.txt"), ["gene", "term"])
    assert (len(alone.genes), len(alone.terms)) == (5_955, 995)


EXPERIMENTAL = {"term": "go_id", "gene": "gene_symbols", "name": "go_name", "namespace": "go_domain", "taxon": "tax_id"}
EVERY = {"term": "go_id", "gene": "genes", "name": "go_term", "namespace": "go_domain"}


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "columns", "n_rows", "n_genes", "domains"),
    [
        # data/README.md gives the counts of two other tables of that repository; these were counted in the files.
        ("direct-expev", EXPERIMENTAL, 95_411, 13_997, (7_273, 2_886, 1_186)),
        ("direct-expev", {**EXPERIMENTAL, "gene": "gene_ids"}, 95_411, 13_997, (7_273, 2_886, 1_186)),
        ("unprop-symbol-coding", EVERY, 240_039, 18_189, (10_372, 3_703, 1_353)),
    ],
)
def test_the_human_tables_of_gene2go(real, name, columns, n_rows, n_genes, domains):
    ontology = read_annotations(real(f"go/GO_annotations-9606-{name}.tsv.gz"), columns, several="|")
    assert (len(ontology.annotations), len(ontology.genes)) == (n_rows, n_genes)
    found = ontology.terms["namespace"].value_counts()
    assert tuple(found[f"{space}"] for space in ("biological_process", "molecular_function", "cellular_component")) == (
        domains
    )
    assert ontology.log == ()


@pytest.mark.data
def test_human_annotations_on_the_whole_gene_ontology(real):
    hierarchy = read_edges(real("go/G2PT_GO_BP_MF_CC_full.txt.gz"), direction="parent-child")
    path = real("go/GO_annotations-9606-direct-expev.tsv.gz")
    ontology = read_annotations(path, EXPERIMENTAL, several="|", hierarchy=hierarchy)
    assert (len(ontology.terms), len(ontology.relations)) == (40_120, 77_921)
    edges, wanted = [], defaultdict(set)
    for line in gzip.decompress(real("go/G2PT_GO_BP_MF_CC_full.txt.gz").read_bytes()).decode().split("\n"):
        parent, child, kind = line.split("\t") if line else ("", "", "gene")
        edges += [(child, parent)] if kind != "gene" else []
    above: dict[str, set[str]] = {}
    up = nx.DiGraph(edges)
    for term in reversed(list(nx.topological_sort(up))):
        above[term] = {term}.union(*(above[parent] for parent in up.successors(term)))
    n_dropped = 0
    for line in gzip.decompress(path.read_bytes()).decode().split("\n")[1:-1]:
        fields = line.split("\t")
        genes = fields[7].split("|")
        n_dropped += len(genes) if fields[0] not in up else 0
        for term in above.get(fields[0], ()):
            wanted[term].update(genes)
    assert {term: len(genes) for term, genes in wanted.items()} == ontology.sizes[ontology.sizes > 0].to_dict()
    reasons = [entry.reason for entry in ontology.log if entry.step == "read annotations"]
    assert reasons == [
        "left out: of the hierarchy, not of the table",
        f"dropped: they name a term that is not there ({n_dropped:,} rows)",
    ]
    assert [record["source"] for record in ontology.provenance] == ["edge list", "annotations"]

"""GO: joining terms and annotations, against a traversal that shares no code."""

from __future__ import annotations

import gzip
import io
import re
from collections import Counter, defaultdict

import networkx as nx
import obonet
import pytest
from goatools.godag.go_tasks import get_go2ancestors
from goatools.obo_parser import GODag

from vnn.ontology import read_go

OBO = """format-version: 1.2
[Term]
id: GO:1
name: top
alt_id: GO:10
[Term]
id: GO:2
is_a: GO:1
[Term]
id: GO:3
is_a: GO:2
[Term]
id: GO:8
is_obsolete: true
replaced_by: GO:2
[Term]
id: GO:9
is_obsolete: true
"""


def test_annotations_follow_ids_and_contradictions_are_listed(tmp_path):
    (tmp_path / "go.obo").write_text(OBO)
    rows = [
        ("A", "GO:10", ""),
        ("B", "GO:8", ""),
        ("C", "GO:9", ""),
        ("D", "GO:404", ""),
        ("E", "GO:3", ""),
        ("E", "GO:1", "NOT"),
        ("E", "GO:10", ""),
    ]
    lines = [
        "\t".join(["DB", gene, gene, q, term, "r", "IDA", "", "P", "", "", "protein", "taxon:1", "d", "DB"])
        for gene, term, q in rows
    ]
    (tmp_path / "some.gaf").write_text("!gaf-version: 2.1\n" + "\n".join(lines))
    ontology = read_go(tmp_path / "go.obo", tmp_path / "some.gaf", taxon=1)
    assert {term: set(genes) for term, genes in ontology.gene_sets(propagated=False).items()} == {
        "GO:1": {"A", "E"},
        "GO:2": {"B"},
        "GO:3": {"E"},
    }
    assert [str(entry) for entry in ontology.log] == [
        "read obo: 2 terms left out: obsolete: 'GO:8', 'GO:9'",
        "read obo: 3 terms kept without a namespace: neither they nor the header give one: 'GO:1', 'GO:2', 'GO:3'",
        "read gaf: 1 annotations removed: they say NOT (1 rows): 'E @ GO:1'",
        "read go: 3 annotations followed to the term that stands for their alternative or obsolete id: "
        "'A @ GO:10', 'B @ GO:8', 'E @ GO:10'",
        "read go: 1 annotations dropped: their term is obsolete without one replacement: 'C @ GO:9'",
        "read go: 1 annotations dropped: they name a term that is not there (1 rows): 'D @ GO:404'",
        "read go: 2 annotations kept although NOT stands at the term or an ancestor for the same gene: "
        "'E @ GO:1', 'E @ GO:3'",
    ]
    assert [record["role"] for record in ontology.provenance[0]["files"]] == ["obo", "gaf"]


PAIRS = [
    ("mgi-exttest-go-subset.obo.gz", "mgi-exttest.gaf", None),
    ("go-mgi-signaling-test.obo", "mgi-signaling.gaf", None),
    ("go-iron-transport-subset.obo", "pombase-test.gaf", None),
    ("test_go_for_mgi_gaf.obo", "test_gene_association_mgi.gaf", 10090),
]


def rows(gaf, taxon):
    """Gene and term of the rows that say yes, of one taxon."""
    for line in gaf.read_text().splitlines():
        fields = line.split("\t")
        if line.startswith("!") or "NOT" in fields[3].split("|") or fields[6] == "ND":
            continue
        if not taxon or fields[12] == f"taxon:{taxon}":
            yield fields[2], fields[4]


@pytest.mark.data
@pytest.mark.parametrize(("obo", "gaf", "taxon"), PAIRS)
def test_propagated_sets_agree_with_ten_lines_of_networkx(real, obo, gaf, taxon):
    raw = real(f"go/{obo}").read_bytes()
    graph = obonet.read_obo(io.StringIO((gzip.decompress(raw) if obo.endswith("gz") else raw).decode()))
    known = {node for node, data in graph.nodes(data=True) if data}
    moved = {other: node for node in known for other in graph.nodes[node].get("alt_id", [])}
    kept = [(a, b) for a, b, kind in graph.edges(keys=True) if kind in ("is_a", "part_of")]
    up = nx.DiGraph(kept)
    wanted = defaultdict(set)
    for gene, given in rows(real(f"go/{gaf}"), taxon):
        term = given if given in known else moved.get(given)
        for above in {term} | (nx.descendants(up, term) if term in up else set()):
            wanted[above].add(gene)
    ontology = read_go(real(f"go/{obo}"), real(f"go/{gaf}"), taxon=taxon, cross_namespace=True)
    found = {term: genes for term, genes in ontology.gene_sets().items() if genes}
    assert found == {term: frozenset(genes) for term, genes in wanted.items() if term in known}
    assert ontology.propagate().gene_sets(propagated=False) == ontology.gene_sets()


@pytest.mark.data
@pytest.mark.parametrize(("obo", "gaf", "taxon"), PAIRS)
def test_propagated_counts_agree_with_goatools(real, tmp_path, obo, gaf, taxon):
    raw = real(f"go/{obo}").read_bytes()
    text = (gzip.decompress(raw) if obo.endswith("gz") else raw).decode()
    known = set(re.findall(r"^(?:id|alt_id): (\S+)", text, re.MULTILINE))
    parent = re.compile(r"(?:is_a:|relationship: \S+) (\S+)")
    lines = [line for line in text.split("\n") if not (found := parent.match(line)) or found[1] in known]
    lines = [line.partition(" ! ")[0] if line.startswith("id: ") else line for line in lines]
    (tmp_path / "whole.obo").write_text("\n".join(lines))  # goatools stops at comments of ids and at parents not there
    graph = GODag(str(tmp_path / "whole.obo"), optional_attrs={"relationship"}, prt=None)
    above = get_go2ancestors(set(graph.values()), {"part_of"})
    pairs = {(gene, graph[term].id) for gene, term in rows(real(f"go/{gaf}"), taxon) if term in graph}
    wanted = Counter(term for _, term in pairs | {(gene, up) for gene, term in pairs for up in above.get(term, ())})
    ontology = read_go(real(f"go/{obo}"), real(f"go/{gaf}"), taxon=taxon, cross_namespace=True)
    found = ontology.sizes[ontology.sizes > 0].to_dict()
    assert found == dict(wanted)
    assert ontology.propagate().annotations.drop_duplicates(["gene", "term"])["term"].value_counts().to_dict() == found

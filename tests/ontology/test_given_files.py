"""The counts of data/README.md that other tests do not have: what a reader keeps and what it names as gone add up."""

from __future__ import annotations

import gzip
from collections import Counter

import pytest

from vnn.ontology import read_edges, read_obo, read_reactome
from vnn.ontology.annotations import read_annotations
from vnn.ontology.gaf import parse_gaf
from vnn.ontology.reactome import read_reactome_mapping
from vnn.ontology.source import Source

pytestmark = pytest.mark.data

BP, CC, MF = "biological_process", "cellular_component", "molecular_function"


def left_out(ontology):
    """Rows of each type of relation that the log says were left out."""
    marked = [entry.reason for entry in ontology.log if "of type" in entry.reason]
    return {reason.split()[4]: int(reason.split("(")[1].split()[0].replace(",", "")) for reason in marked}


@pytest.mark.parametrize(
    ("name", "n_terms", "is_a", "others", "spaces"),
    [
        ("go-iron-transport-subset.obo", 59, 71, {"part_of": 10, "has_part": 2}, {}),
        ("go-mgi-signaling-test.obo", 2_756, 4_461, 1_711, {}),
        ("go-module.obo", 477, 724, 346, {}),
        ("go-subset-t1.obo", 709, 1_067, 259, {}),
        (
            "goslim_generic.obo",
            149,
            148,
            {"part_of": 68, "has_part": 6, "occurs_in": 4, "regulates": 1},
            {BP: 71, CC: 35, MF: 43},
        ),
        ("heartjogging.obo", 33, 37, {"part_of": 22}, {}),
        ("smell.obo", 14, 14, {"part_of": 4}, {}),
        ("secretory.obo", 25, 33, {"part_of": 10}, {}),
        ("viral_gene_silence.obo", 51, 71, 17, {}),
        ("mini_obo.obo", 10, 12, {}, {}),
        (
            "mgi-exttest-go-subset.obo.gz",
            5_342,  # two of them without a namespace
            8_571,
            {"part_of": 1_253, "regulates": 657, "positively_regulates": 425, "negatively_regulates": 354},
            {BP: 4_501, MF: 412, CC: 427},
        ),
        ("test_go_for_mgi_gaf.obo", 372, 521, 104, {BP: 231, MF: 82, CC: 59}),
    ],
)
def test_hierarchies(real, name, n_terms, is_a, others, spaces):
    ontology = read_obo(real(f"go/{name}"), cross_namespace=True)
    found = Counter(ontology.relations["type"])
    found.update(left_out(ontology))
    dangling = sum("not there" in entry.reason for entry in ontology.log)
    assert (len(ontology.terms), dangling) == (n_terms, 0)
    assert found.pop("is_a") == is_a
    assert (sum(found.values()) if isinstance(others, int) else dict(found)) == others
    assert {space: (ontology.terms["namespace"] == space).sum() for space in spaces} == spaces
    assert not [entry for entry in ontology.log if "obsolete" in entry.reason]


def test_the_pathway_ontology_shares_names_and_has_obsolete_terms(real):
    ontology = read_obo(real("phenotype/pw.obo.gz"))
    entries = {entry.reason: entry for entry in ontology.log}
    assert entries["left out: obsolete"].count == 24
    shared = entries["kept although another term has the same name"]
    assert "PW:0002303 (indometacin drug pathway)" in shared.names
    assert shared.count == (ontology.terms["name"].value_counts()[lambda n: n > 1]).sum()


def test_the_whole_gene_ontology_by_branch(real):
    ontology = read_edges(real("go/G2PT_GO_BP_MF_CC_full.txt.gz"), direction="parent-child")
    branches = {e.reason.rsplit(" ", 1)[1]: e.count for e in ontology.log if "read as part_of" in e.reason}
    assert branches == {"'BP'": 58_347, "'MF'": 12_985, "'CC'": 6_589}
    names = dict(line.split("\t") for _, line in Source.read(real("go/G2PT_goID_2_name.tab.gz"), "names").lines())
    assert (len(names), len(set(ontology.terms.index) - names.keys())) == (40_122, 0)


@pytest.mark.parametrize(
    ("name", "n_rows", "evidence", "aspects", "n_ids", "n_terms"),
    [
        (
            "mgi-exttest.gaf",
            2_003,
            {"IMP": 971, "IDA": 746, "IGI": 267, "IPI": 15, "ISA": 4},
            {"P": 1_357, "C": 555, "F": 91},
            427,
            841,
        ),
        (
            "mgi-signaling.gaf",
            2_422,
            {"IMP": 580, "ISO": 524, "IDA": 468, "IGI": 277, "IBA": 252, "IEA": 145, "IPI": 114, "TAS": 43},
            {},
            31,
            894,
        ),
        ("pombase-test.gaf", 1_717, {"ND": 1_515, "ISO": 148}, {}, 1_583, 129),
        (
            "gene_association.goa_chicken.gz",
            63_578,
            {"IEA": 56_163, "ISS": 3_799, "IBA": 1_591, "TAS": 865, "IDA": 481},
            {"P": 26_634, "F": 21_116, "C": 15_828},
            13_106,
            8_689,
        ),
    ],
)
def test_annotations(real, name, n_rows, evidence, aspects, n_ids, n_terms):
    path = real(f"go/{name}")
    rows = parse_gaf(Source.read(path, "gaf"), taxon=None, gene="id", without_qualifiers=(), objects=None)
    text = (gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()).decode()
    fields = [line.split("\t") for line in text.split("\n") if line and not line.startswith("!")]
    assert len(fields) == n_rows
    assert {code: sum(row[6] == code for row in fields) for code in evidence} == evidence
    assert {aspect: sum(row[8] == aspect for row in fields) for aspect in aspects} == aspects
    stay = [row for row in fields if "NOT" not in row[3].split("|") and row[6] != "ND"]
    assert Counter(rows.annotations["evidence"]) == Counter(row[6] for row in stay)
    named = {tuple(pair.split(" @ ")) for entry in rows.log if "removed" in entry.reason for pair in entry.names}
    kept = set(zip(rows.annotations["gene"], rows.annotations["term"], strict=True))
    assert len({gene for gene, _ in kept | named}) == n_ids
    assert len({term for _, term in kept | named}) == n_terms


def test_the_slices_of_mgi_add_up(real):
    counts = [
        sum(
            not line.startswith("!")
            for line in real(f"go/test_gene_association_mgi{part}.gaf").read_text().split("\n")[:-1]
        )
        for part in ("", "-IEA", "-noIEA")
    ]
    assert counts == [970, 152, 818]
    path = real("go/test_gene_association_mgi-IEA.gaf")
    rows = parse_gaf(Source.read(path, "gaf"), taxon=10090, gene="id", without_qualifiers=(), objects=None)
    assert (len(rows.annotations), set(rows.annotations["evidence"])) == (152, {"IEA"})
    assert [str(entry) for entry in rows.log] == [
        "read gaf: 1 files without gaf-version: read as GAF 2: 'test_gene_association_mgi-IEA.gaf'"
    ]


def test_human_pathways_that_share_a_name(files):
    (shared,) = (entry for entry in read_reactome(*files).log if "same name" in entry.reason)
    lines = [line.split("\t") for _, line in Source.read(files[2], "names").lines()]
    times = Counter(name for _, name, species in lines if species == "Homo sapiens")
    wanted = {f"{term} ({name})" for term, name, of in lines if of == "Homo sapiens" and times[name] > 1}
    assert set(shared.names) == wanted


def test_mapping_tables_of_reactome(real):
    mirbase = real("reactome/mirbase_2_reactome_2025_01_16.txt")
    alone = read_reactome_mapping(mirbase)
    assert (len(alone.terms), len(alone.genes)) == (23, 58)
    lines = [line.split("\t") for line in mirbase.read_text().split("\n") if line]
    assert set(zip(alone.annotations["gene"], alone.annotations["term"], strict=True)) == {(r[0], r[1]) for r in lines}
    assert len(alone.with_evidence("IEA").annotations) == len({(r[0], r[1]) for r in lines if r[4] == "IEA"}) == 3
    placed = read_reactome_mapping(
        mirbase, real("reactome/ReactomePathwaysRelation.txt"), real("reactome/ReactomePathways.txt.gz")
    )
    # 5 pathways of January 2025 are not in the older relations; they are terms without a parent.
    lone = set(placed.annotations["term"]) - set(placed.relations["child"])
    assert (len(placed.terms), len(lone)) == (2_516 + 5, 5)
    assert placed.terms.loc["R-HSA-9708530", "name"] == "Regulation of BACH1 activity"

    uniprot = read_annotations(
        real("reactome/translation_uniprot2reactome.tsv.gz"), {"gene": "input", "term": "translation"}
    )
    assert (len(uniprot.genes), len(uniprot.terms)) == (11_613, 2_093)


@pytest.fixture
def files(real):
    return [real(f"reactome/Reactome{name}") for name in ("Pathways.gmt", "PathwaysRelation.txt", "Pathways.txt.gz")]


# P-NET (doi:10.1038/s41586-021-03922-4): 27,687 inputs, 9,229 genes, then pathways.
PUBLISHED = [1_387, 1_066, 447, 147, 26]


class TestPnet:
    """P-NET's sizes on the release at hand (2,516 human pathways; SHA-256 in the recipe `reactome`, release `pnet`).

    P-NET hangs all top pathways under one root, gives a pathway the level of its *shortest* way from there, keeps five
    levels, and fills up a branch that ends earlier with copies of its last pathway. The release it used is not at hand,
    nor are the 9,229 genes measured in its cohort in all three omics (27,687 = 3 x 9,229).
    """

    def test_five_levels_counted_down_from_the_root(self, files):
        ontology = read_reactome(*files)
        children: dict[str, list[str]] = {}
        for row in ontology.relations.itertuples():
            children.setdefault(row.parent, []).append(row.child)
        level = sorted(set(ontology.terms.index) - set(ontology.relations["child"]))
        seen, sizes, copies = set(level), [], []
        while level:
            ended = [term for term in seen - set(level) if term not in children]
            sizes.append(len(level))
            copies.append(len(ended))
            level = sorted({child for term in level for child in children.get(term, ())} - seen)
            seen |= set(level)
        assert sizes == [28, 159, 449, 845, 734, 230, 61, 8, 2]
        assert sum(sizes[5:]) == 301  # cut off by five levels
        padded = [own + copied for own, copied in zip(sizes, copies, strict=True)][:5][::-1]
        assert padded == [1_613, 1_107, 488, 159, 28]
        # The release at hand has 4 to 16 % more on every level than the one P-NET used.
        ratios = [new / old for new, old in zip(padded, PUBLISHED, strict=True)]
        assert all(1.03 < ratio < 1.17 for ratio in ratios)

    def test_genes_are_those_measured(self, files, real):
        ontology = read_reactome(*files)
        table = gzip.decompress(real("geneid/hgnc_complete_set.txt.gz").read_bytes()).decode().split("\n")
        header = table[0].split("\t")
        symbol, group = header.index("symbol"), header.index("locus_group")
        rows = [line.split("\t") for line in table[1:] if line]
        coding = {row[symbol] for row in rows if row[group] == "protein-coding gene"}
        # 9,229 of at most 10,728 protein-coding genes: P-NET has those that its cohort measured.
        assert (len(ontology.genes), len(coding & set(ontology.genes))) == (11_375, 10_728)
        assert 27_687 == 3 * 9_229

    def test_no_first_gene_is_lost_in_either_form(self, files, tmp_path):
        gmt, relations, names = files
        lines = [line.split("\t") for line in gmt.read_text().split("\n") if line]
        old, cut = tmp_path / "old.gmt", tmp_path / "cut.gmt"
        old.write_text("".join("\t".join([*f[:2], "Reactome Pathway", *f[2:]]) + "\n" for f in lines))
        cut.write_text("".join("\t".join([*f[:2], *f[3:]]) + "\n" for f in lines))
        whole = read_reactome(gmt, relations, names)
        assert read_reactome(old, relations, names).annotations.equals(whole.annotations)
        # What P-NET's reader, made for the old form, loses in the new one: a gene of every set, 248 sets wholly.
        poorer = read_reactome(cut, relations, names)
        assert len(whole.annotations) - len(poorer.annotations) == len(lines) == 2_484
        assert len(set(whole.annotations["term"]) - set(poorer.annotations["term"])) == 248
        assert len(whole.genes) - len(poorer.genes) == 6

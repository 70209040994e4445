"""KEGG's formats on made-up pathways: KEGG's own files may not be distributed."""

from __future__ import annotations

import json

import pytest

from vnn._errors import OntologyError
from vnn.ontology.kegg import read_brite, read_kegg, read_kgml

LINK = "xyz:1\tpath:xyz00010\nxyz:2\tpath:xyz00010\nxyz:2\tpath:xyz00020\nxyz:b0003\tpath:xyz00020\n"
LIST = "xyz00010\tSugar making - Imaginary being (toy)\nxyz00020\tSalt - sea water - Imaginary being (toy)\n"
LIST += "xyz00030\tNothing - Imaginary being (toy)\n"
GENES = "xyz:1\tCDS\t1:10..20\tSUGA, SUG1; sugar maker\nxyz:2\tCDS\t2:1..5\tSALT; salt maker\nxyz:b0003\tCDS\t3\tuncharacterised\n"

CODES = """+D\tGENES\tKO
#<h2><a href="/kegg/kegg2.html"><img src="/Fig/x.gif" border=0></a>&nbsp; Imaginary genes</h2>
!
A09100 Making
B
B  09101 Making sweet things
C    00010 Sugar making [PATH:xyz00010]
D      1 SUGA, SUG1; sugar maker\tK00001 SUG; sugar maker [EC:1.1.1.1]
D      2 SALT; salt maker
B  09102 Making other things
C    00020 Salt [PATH:xyz00020]
D      2 SALT; salt maker
D      b0003 uncharacterised
!
#Last updated: today
"""
TAGS = """+C\tMap number
#<h2>Maps</h2>
!
A<b>Making</b>
B
B  <b>Making sweet things</b>
C    00010  Sugar making
B  <b>Making other &amp; better things</b>
C    00020  Salt &lt;NaCl&gt;
!
"""


def tree(text):
    """The JSON of an htext file, built from its letters."""
    root = {"name": "xyz00001", "children": []}
    path = [root]
    for line in text.split("\n"):
        if line[:1].isalpha() and line[1:].strip():
            node = {"name": line[1:].strip()}
            depth = ord(line[0]) - ord("A") + 1
            path[depth:] = [node]
            path[depth - 1].setdefault("children", []).append(node)
    return json.dumps(root)


@pytest.fixture
def kegg(tmp_path):
    def write(text, name="kegg.txt"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def sets(ontology):
    return {term: set(genes) for term, genes in ontology.gene_sets(propagated=False).items() if genes}


def edges(ontology):
    return {f"{row.child} < {row.parent}" for row in ontology.relations.itertuples()}


WANTED = {"xyz00010": {"1", "2"}, "xyz00020": {"2", "b0003"}}


@pytest.mark.parametrize(
    "text", [LINK, "".join("\t".join(reversed(line.split("\t"))) + "\n" for line in LINK.split("\n") if line)]
)
def test_links_in_either_order(kegg, text):
    ontology = read_kegg(kegg(text))
    assert sets(ontology) == WANTED
    assert ontology.log == ()
    assert ontology.provenance[0]["species"] == "xyz"


@pytest.mark.parametrize("names", [LIST, "".join(f"path:{line}\r\n" for line in LIST.split("\n") if line)])
def test_names_symbols_and_the_hierarchy(kegg, names):
    ontology = read_kegg(kegg(LINK), kegg(names, "list"), kegg(GENES, "genes"), kegg(TAGS, "br08901.keg"))
    assert ontology.terms["name"].to_dict() == {
        "xyz00010": "Sugar making",
        "xyz00020": "Salt - sea water",
        "xyz00030": "Nothing",
        "Making": "Making",
        "Making other & better things": "Making other & better things",
        "Making sweet things": "Making sweet things",
    }
    assert sets(ontology) == {"xyz00010": {"SUGA", "SALT"}, "xyz00020": {"SALT", "b0003"}}
    assert edges(ontology) == {
        "xyz00010 < Making sweet things",
        "xyz00020 < Making other & better things",
        "Making sweet things < Making",
        "Making other & better things < Making",
    }
    assert [str(entry) for entry in ontology.log] == [
        "read kegg: 1 genes called by their id: the list of genes has no symbol for them: 'b0003'",
        "read kegg: 1 terms kept without genes: no link leads to them: 'xyz00030'",
    ]
    assert [file["role"] for file in ontology.provenance[0]["files"]] == ["links", "pathways", "genes", "hierarchy"]


def test_organisms_are_told_apart(kegg):
    path = kegg("ko:K00001\tpath:map00010\nko:K00001\tpath:ko00010\nko:K00002\tpath:ko00010\n")
    with pytest.raises(OntologyError, match=r"ko \(2 links\), map \(1 links\). Choose one with organism="):
        read_kegg(path)
    ontology = read_kegg(path, organism="ko")
    assert sets(ontology) == {"ko00010": {"K00001", "K00002"}}
    assert str(ontology.log[0]) == "read kegg: 1 annotations left out: not of ko (1 rows): 'K00001 @ map00010'"
    with pytest.raises(OntologyError, match="no link leads to a pathway of 'hsa'; there are 'ko', 'map'"):
        read_kegg(path, organism="hsa")


def test_htext_with_codes_and_json_are_one_ontology(kegg):
    for symbols in (False, True):
        text = read_brite(kegg(CODES, "some.keg"), symbols=symbols)
        document = read_brite(kegg(tree(CODES), "some.json"), symbols=symbols)
        assert text.terms.equals(document.terms)
        assert text.relations.equals(document.relations)
        assert text.annotations.equals(document.annotations)
        assert text.log == document.log
    assert sets(text) == {"xyz00010": {"SUGA", "SALT"}, "xyz00020": {"SALT", "b0003"}}
    assert [str(entry) for entry in text.log] == [
        "read brite: 1 genes called by their id: they have no symbol: 'b0003'"
    ]
    assert text.terms.loc["09101", "name"] == "Making sweet things"
    assert edges(text) == {"xyz00010 < 09101", "xyz00020 < 09102", "09101 < 09100", "09102 < 09100"}


def test_numbers_of_maps_take_the_organism(kegg):
    assert {term for term in read_brite(kegg(TAGS)).terms.index if term[-1].isdigit()} == {"map00010", "map00020"}
    ontology = read_brite(kegg(TAGS), organism="hsa")
    assert ontology.terms.loc["hsa00020", "name"] == "Salt <NaCl>"
    assert not len(ontology.annotations)


KGML = """<?xml version="1.0"?>
<!DOCTYPE pathway SYSTEM "https://www.kegg.jp/kegg/xml/KGML_v0.7.2_.dtd">
<pathway name="path:xyz00010" org="xyz" number="00010" title="Sugar making" link="https://example.org">
  <entry id="1" name="xyz:1 xyz:b0003" type="gene" link="x"><graphics name="SUGA..." fgcolor="#000000"/></entry>
  <entry id="2" name="cpd:C00031" type="compound"/>
  <entry id="3" name="path:xyz00020" type="map"/>
  <entry id="4" name="undefined" type="group"><component id="1"/></entry>
  <entry id="5" name="xyz:1" type="gene"/>
  <relation entry1="1" entry2="5" type="PPrel"><subtype name="activation" value="--&gt;"/></relation>
  <reaction id="6" name="rn:R1" type="reversible"><substrate id="2" name="cpd:C00031"/></reaction>
</pathway>
"""


def test_kgml(kegg):
    second = KGML.replace("00010", "00020").replace("Sugar making", "Salt")
    ontology = read_kgml(kegg(KGML, "a.xml"), kegg(second, "b.xml"), genes=kegg(GENES, "genes"))
    assert sets(ontology) == {"xyz00010": {"SUGA", "b0003"}, "xyz00020": {"SUGA", "b0003"}}
    assert ontology.terms["name"].tolist() == ["Sugar making", "Salt"]
    assert [str(entry) for entry in ontology.log][:5] == [
        "read kgml: 1 entries left out: of type compound: 'cpd:C00031 @ xyz00010'",
        "read kgml: 1 entries left out: of type group: 'undefined @ xyz00010'",
        "read kgml: 1 entries left out: of type map: 'path:xyz00020 @ xyz00010'",
        "read kgml: 1 diagrams read without their 1 elements reaction: 'xyz00010'",
        "read kgml: 1 diagrams read without their 1 elements relation: 'xyz00010'",
    ]
    assert str(ontology.log[-1]).startswith("read kgml: 1 genes called by their id: the list of genes has no symbol")


BOMB = '<!DOCTYPE pathway [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>\n<pathway name="path:xyz00010" title="&b;"/>'


@pytest.mark.parametrize(
    ("reader", "text", "says", "line"),
    [
        (read_kgml, BOMB, "defines entities", 1),
        (read_kgml, KGML.replace("</pathway>", ""), "not well-formed XML: no element found", 12),
        (read_kgml, "<graph/>", "needs an element `pathway`", None),
        (read_brite, "A09100 x\nnonsense\n", "begins with the letter of its level; this one is 'nonsense'", 2),
        (read_brite, "!\n#x\n", "has no entries", None),
        (read_brite, '{"name": "x"}', "needs `name` and `children`", None),
        (read_brite, '{"children": [{}]}', "needs a name; this one is '{}'", None),
        (read_brite, '{"children": [\n', "this is not JSON", 2),
        (read_kegg, "xyz:1\txyz:2\n", "a link needs a gene and a pathway", 1),
        (read_kegg, LINK + "xyz:1\n", "this line is 'xyz:1'", 5),
    ],
)
def test_flaws_are_located(kegg, reader, text, says, line):
    with pytest.raises(OntologyError, match=says) as caught:
        reader(kegg(text))
    assert caught.value.__notes__ == ["reading kegg.txt" + (f", line {line}" if line else "")]


def test_lists_that_do_not_fit_and_pathways_given_twice(kegg):
    with pytest.raises(OntologyError, match="a list of pathways needs an id and a name"):
        read_kegg(kegg(LINK), kegg("Sugar making\n", "list"))
    with pytest.raises(OntologyError, match="a list of genes needs an id such as 'hsa:3101'"):
        read_kegg(kegg(LINK), genes=kegg("SUGA\tx\n", "genes"))
    with pytest.raises(OntologyError, match="'xyz00010' is in two of the 2 files"):
        read_kgml(kegg(KGML, "a.xml"), kegg(KGML, "b.xml"))
    with pytest.raises(OntologyError, match="mix 2 organisms: 'abc', 'xyz'"):
        read_kgml(kegg(KGML, "a.xml"), kegg(KGML.replace("xyz", "abc"), "b.xml"))
    with pytest.raises(ValueError, match="at least one"):
        read_kgml()

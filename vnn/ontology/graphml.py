"""Ontologies in GraphML (graphml.graphdrawing.org), for Cytoscape, Gephi, yEd, igraph and networkx."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pandas as pd

from vnn._errors import culprits
from vnn.ontology import writing
from vnn.ontology.edges import GENE
from vnn.ontology.log import Entry
from vnn.ontology.ontology import ANNOTATIONS, RELATIONS, Ontology
from vnn.ontology.source import Source, provenance

NAMESPACE = "http://graphml.graphdrawing.org/xmlns"
NODE = ("kind", "id", "name", "namespace")
EDGE = ("type", "evidence", "qualifier")


def write_graphml(ontology: Ontology, path: Path | str) -> tuple[Entry, ...]:
    """Write the graph in signal direction, gene -> term -> parent.

    Nodes carry `kind` ("gene" or "term"), `id`, `name` and `namespace`; edges `type` ("gene" for an annotation),
    `evidence` and `qualifier`. Two relations between the same terms are two edges.

    Returns
    -------
    What the file does not hold: nothing of the terms, relations and annotations.
    """
    terms = ontology.terms
    for names in (terms.index, terms["name"].unique(), terms["namespace"].unique(), ontology.genes):
        writing.refuse(names)
    at = {(GENE, gene): f"g{i}" for i, gene in enumerate(ontology.genes)}
    at |= {("term", term): f"t{i}" for i, term in enumerate(terms.index)}
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f'<graphml xmlns="{NAMESPACE}">']
    lines += [
        f'<key id="{name}" for="{kind}" attr.name="{name}" attr.type="string"/>'
        for kind, known in (("node", NODE), ("edge", EDGE))
        for name in known
    ]
    lines.append('<graph edgedefault="directed">')
    lines += [_element(f'node id="{at[GENE, gene]}"', NODE, (GENE, gene, gene, "")) for gene in ontology.genes]
    lines += [
        _element(f'node id="{at["term", term]}"', NODE, ("term", term, name, namespace))
        for term, name, namespace in zip(terms.index, terms["name"], terms["namespace"], strict=True)
    ]
    lines += [
        _element(f'edge source="{at["term", child]}" target="{at["term", parent]}"', EDGE, (kind, "", ""))
        for child, parent, kind in ontology.relations.itertuples(index=False, name=None)
    ]
    lines += [
        _element(f'edge source="{at[GENE, gene]}" target="{at["term", term]}"', EDGE, (GENE, evidence, qualifier))
        for gene, term, evidence, qualifier in ontology.annotations.itertuples(index=False, name=None)
    ]
    writing.put(path, "\n".join([*lines, "</graph>", "</graphml>", ""]))
    return ()


def read_graphml(path: Path | str) -> Ontology:
    """Read an ontology from GraphML with the attributes that `write_graphml` writes.

    Parameters
    ----------
    path
        Plain or gzip. A node without `id` goes by the id of its element; `name`, `namespace`, `evidence` and
        `qualifier` are optional.

    Raises
    ------
    OntologyError
        If the file is no GraphML, is not directed, or does not tell which nodes are genes.
    """
    source = Source.read(path, "graphml")
    try:
        root = ElementTree.fromstring(source.text)
    except ElementTree.ParseError as error:
        raise source.error(f"the file is no XML, or it is cut short: {error}.") from error
    graphs = root.findall("{*}graph")
    if len(graphs) != 1:
        raise source.error(f"a GraphML file with one graph is needed; this one, a {root.tag!r}, has {len(graphs)}.")
    if graphs[0].get("edgedefault") != "directed":
        raise source.error("the graph is not directed; edges must run gene -> term -> parent.")
    nodes = {node.get("id", ""): values for node, values in _attributes(root, "node")}
    kinds = {node: values.get("kind", "") for node, values in nodes.items()}
    if unknown := [node for node, kind in kinds.items() if kind not in (GENE, "term")]:
        raise source.error(
            f"{len(unknown):,} nodes have no attribute kind that says 'gene' or 'term': {culprits(unknown)}."
        )
    ids = {node: values.get("id", node) for node, values in nodes.items()}
    terms = [node for node, kind in kinds.items() if kind == "term"]
    relations, annotations = [], []
    for edge, values in _attributes(root, "edge"):
        low, high = edge.get("source", ""), edge.get("target", "")
        if missing := [end for end in (low, high) if end not in ids]:
            raise source.error(f"an edge names {culprits(missing)}, which is no node.")
        if kinds[high] == GENE:
            raise source.error(f"an edge leads to the gene {ids[high]!r}; edges must run gene -> term -> parent.")
        if kinds[low] == GENE:
            annotations.append((ids[low], ids[high], values.get("evidence", ""), values.get("qualifier", "")))
        else:
            relations.append((ids[low], ids[high], values.get("type", "part_of")))
    return Ontology.assemble(
        pd.DataFrame(
            {what: [nodes[term].get(what, "") for term in terms] for what in ("name", "namespace")},
            index=pd.Index([ids[term] for term in terms], dtype=object),
        ),
        pd.DataFrame(relations, columns=RELATIONS, dtype=object),
        pd.DataFrame(annotations, columns=ANNOTATIONS, dtype=object),
        step="read graphml",
        provenance=[provenance("GraphML", source)],
    )


def _element(opening: str, names: Sequence[str], values: Sequence[str]) -> str:
    known = (f'<data key="{name}">{escape(value)}</data>' for name, value in zip(names, values, strict=True) if value)
    return f"<{opening}>{''.join(known)}</{opening.partition(' ')[0]}>"


def _attributes(root: ElementTree.Element, kind: str) -> Iterator[tuple[ElementTree.Element, dict[str, str]]]:
    """Every node, or every edge, with its attributes by their names; defaults where it has none."""
    keys = {key.get("id"): key for key in root.findall("{*}key") if key.get("for", "all") in (kind, "all")}
    names = {at: key.get("attr.name", "") for at, key in keys.items()}
    defaults = {
        names[at]: found.text or "" for at, key in keys.items() if (found := key.find("{*}default")) is not None
    }
    for element in root.iterfind(f"{{*}}graph/{{*}}{kind}"):
        yield (
            element,
            defaults | {names[data.get("key")]: data.text or "" for data in element if data.get("key") in names},
        )

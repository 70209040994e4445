"""Ontologies in the obographs JSON format (github.com/geneontology/obographs), which GO, HPO, MP and others publish."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vnn.ontology.log import Entry
from vnn.ontology.obo import Obo, Stanza, parse_obo, resolve
from vnn.ontology.ontology import MEMBERSHIP, REGULATION, Ontology
from vnn.ontology.source import Source, provenance

PREDICATES = {
    "rdfs:subClassOf": "is_a",
    "BFO:0000050": "part_of",
    "BFO:0000051": "has_part",
    "BFO:0000066": "occurs_in",
    "RO:0002211": "regulates",
    "RO:0002212": "negatively_regulates",
    "RO:0002213": "positively_regulates",
}
BETWEEN_PROPERTIES = ("subPropertyOf", "inverseOf")
COMPACT = re.compile(r"([A-Za-z][A-Za-z0-9]*)_([A-Za-z0-9-]+)")


def read_obographs(
    path: Path | str,
    *,
    relations: Sequence[str] = (*MEMBERSHIP, *REGULATION),
    cross_namespace: bool = False,
) -> Ontology:
    """An ontology without genes, from obographs JSON: the one `read_obo` gives for its OBO file.

    Addresses become the ids of OBO (`http://purl.obolibrary.org/obo/GO_0008150` is GO:0008150), predicates its types
    of relation (BFO:0000050 is part_of; others are called by their label). Nodes without type and label, which are
    only named by an edge, and individuals are no terms; they are counted.

    Parameters
    ----------
    path
        Plain or gzip; the terms of several graphs in one file are joined.
    relations, cross_namespace
        As in `read_obo`.

    Raises
    ------
    OntologyError
        If the file is not JSON (with the line), has no graphs, a node without an id or twice, an edge without one of
        its three fields, or the relations close a cycle.
    """
    source = Source.read(path, "obographs")
    return parse_obographs(source, relations=relations, cross_namespace=cross_namespace).ontology


def parse_hierarchy(source: Source, *, relations: Sequence[str], cross_namespace: bool) -> Obo:
    """The hierarchy of an OBO or obographs file, whichever it is."""
    parse = parse_obographs if source.text.lstrip().startswith("{") else parse_obo
    return parse(source, relations=relations, cross_namespace=cross_namespace)


def parse_obographs(source: Source, *, relations: Sequence[str], cross_namespace: bool) -> Obo:
    """The ontology of an obographs file and its alternative and obsolete ids."""
    graphs = _graphs(source)
    stanzas: dict[str, Stanza] = {}
    labels = dict(PREDICATES)
    mentioned: list[str] = []
    individuals: list[str] = []
    for graph in graphs:
        default = next((value for tag, value in _values(graph) if tag == "default-namespace"), "")
        for node in graph.get("nodes") or ():
            if not isinstance(node, dict) or not node.get("id"):
                raise source.error(f"a node needs an id; this one is {str(node)[:80]!r}.")
            term, kind = _compact(node["id"]), node.get("type", "")
            if kind == "PROPERTY":
                labels.setdefault(term, (node.get("lbl") or term).replace(" ", "_"))
            elif kind == "INDIVIDUAL":
                individuals.append(term)
            elif not kind and not node.get("lbl"):
                mentioned.append(term)
            elif term in stanzas:
                raise source.error(f"the term {term!r} is there twice; keep one.")
            else:
                stanzas[term] = _stanza(term, node, default)
    foreign: list[str] = []
    for edge in (edge for graph in graphs for edge in graph.get("edges") or ()):
        try:
            child, kind, parent = (_compact(edge[end]) for end in ("sub", "pred", "obj"))
        except (KeyError, TypeError):
            raise source.error(f"an edge needs sub, pred and obj; this one is {str(edge)[:120]}.") from None
        if child in stanzas:
            stanzas[child].relations.append((labels.get(kind, kind), parent))
        elif child not in labels and kind not in BETWEEN_PROPERTIES:
            foreign.append(f"{child} -> {parent}")
    merged = {other for stanza in stanzas.values() if not stanza.obsolete for other in stanza.alternatives}
    return resolve(
        [stanza for stanza in stanzas.values() if not (stanza.obsolete and stanza.id in merged)],
        source,
        step="read obographs",
        relations=relations,
        cross_namespace=cross_namespace,
        provenance=provenance("obographs", source, release=_release(graphs)),
        log=[
            Entry.of("read obographs", "terms", set(mentioned) - stanzas.keys(), "left out: neither type nor label"),
            Entry.of("read obographs", "individuals", individuals, "left out: they are no terms"),
            Entry.of("read obographs", "relations", set(foreign), "left out: their child is no term"),
        ],
    )


def _graphs(source: Source) -> list[dict[str, Any]]:
    try:
        document = json.loads(source.text)
    except json.JSONDecodeError as error:
        raise source.error(f"this is not JSON: {error.msg}. Download the file again.", error.lineno) from error
    graphs = document.get("graphs") if isinstance(document, dict) else None
    if not isinstance(graphs, list) or not any(isinstance(graph, dict) and graph.get("nodes") for graph in graphs):
        held = ", ".join(map(repr, list(document)[:5])) if isinstance(document, dict) else type(document).__name__
        raise source.error(f"obographs JSON needs `graphs` with nodes; this file holds {held}.")
    return graphs


def _stanza(term: str, node: dict[str, Any], default: str) -> Stanza:
    told = Stanza(0, term, node.get("lbl") or "", obsolete=bool((node.get("meta") or {}).get("deprecated")))
    for tag, value in _values(node):
        match tag:
            case "hasOBONamespace":
                told.namespace = value
            case "hasAlternativeId":
                told.alternatives.append(_compact(value))
            case "IAO:0100001":
                told.replaced_by.append(_compact(value))
    told.namespace = told.namespace or default
    return told


def _values(owner: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Tag and value of the basic properties of a node or a graph."""
    for entry in (owner.get("meta") or {}).get("basicPropertyValues") or ():
        yield _compact(str(entry.get("pred", ""))), str(entry.get("val", ""))


def _compact(name: str) -> str:
    """The id of OBO for an address: `obo/GO_0008150` is GO:0008150, `obo/pw#part_of` part_of; others stay whole."""
    if "://" not in name:
        return name
    if "#" in name:
        return name.rpartition("#")[2]
    parts = COMPACT.fullmatch(name.rpartition("/")[2])
    return f"{parts[1]}:{parts[2]}" if parts else name


def _release(graphs: list[dict[str, Any]]) -> str:
    version = str((graphs[0].get("meta") or {}).get("version") or "")
    dated = re.search(r"releases/[^/]+", version)
    return dated[0] if dated else version

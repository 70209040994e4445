"""Hierarchies in CX2, as cellmaps_vnn and NDEx write them (cytoscape.org/cx/cx2/specification)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from vnn._errors import culprits
from vnn.ontology import writing
from vnn.ontology.edges import known_relations
from vnn.ontology.log import Entry
from vnn.ontology.ontology import ANNOTATIONS, Ontology
from vnn.ontology.source import Source, provenance

MEMBERS = "CD_MemberList"


def read_cx2(path: Path | str, *, members: str = MEMBERS) -> Ontology:
    """An ontology from a CX2 hierarchy: edges run from parent to child, a node attribute lists the genes.

    The lists hold the genes of the descendants too and are taken as the file gives them; use `Ontology.most_specific`
    to undo it. A term's id is what its node represents, where every node tells it, otherwise its name. An interaction
    that names a relation (`is_a`, `regulates`) is kept, any other word is read as `part_of` and counted.

    Parameters
    ----------
    path
        Plain or gzip.
    members
        The node attribute with the genes: text separated by spaces, or a list of texts.

    Raises
    ------
    OntologyError
        If the file is no CX2, announces other numbers of nodes or edges than it has, names an unknown node, repeats
        an id, or no node has the attribute.
    """
    source = Source.read(path, "cx2")
    aspects = _aspects(source)
    nodes, edges = (_attributes(aspects, what) for what in ("nodes", "edges"))
    if not nodes:
        raise source.error("the file has no nodes.")
    if not any(members in values for values in nodes.values()):
        offered = dict.fromkeys(name for values in nodes.values() for name in values)
        raise source.error(
            f"no node has the attribute {members!r}; they have {culprits(offered, 20)}. Give members=..."
        )
    called = "represents" if all(values.get("represents") for values in nodes.values()) else "name"
    ids = {node: str(values.get(called, "")).strip() for node, values in nodes.items()}
    if unnamed := [node for node, term in ids.items() if not term]:
        raise source.error(f"{len(unnamed):,} nodes have no name: {culprits(unnamed)}.")
    if again := [term for term, n in Counter(ids.values()).items() if n > 1]:
        raise source.error(f"{len(again):,} ids stand for several nodes each: {culprits(again)}.")
    ends = [(edge["s"], edge["t"]) for edge in aspects.get("edges", [])]
    if unknown := {end for pair in ends for end in pair} - ids.keys():
        raise source.error(f"edges name nodes that are not there: {culprits(sorted(unknown))}.")
    kinds = [str(values.get("interaction", "")) for values in edges.values()]
    related = [(ids[s], ids[t], kind) for (s, t), kind in zip(ends, kinds, strict=True)]
    genes = {ids[node]: _genes(values.get(members)) for node, values in nodes.items()}
    bare = [term for term, listed in genes.items() if not listed]
    log = [Entry.of("read cx2", "terms", bare, "kept without genes: their list is empty")] if bare else []
    terms = pd.DataFrame(
        {
            "name": [str(values.get("name", "")) for values in nodes.values()],
            "namespace": [str(values.get("namespace", "")) for values in nodes.values()],
        },
        index=pd.Index(list(ids.values()), dtype=object),
    )
    table = pd.DataFrame(related, columns=["parent", "child", "type"], dtype=object)
    relations, read_as = known_relations(table, step="read cx2", called="interaction")
    return Ontology.assemble(
        terms,
        relations,
        pd.DataFrame(
            [(gene, term) for term, listed in genes.items() for gene in listed], columns=ANNOTATIONS[:2], dtype=object
        ),
        step="read cx2",
        provenance=[provenance("CX2 hierarchy", source)],
        log=[*log, *read_as],
    )


def write_cx2(ontology: Ontology, path: Path | str, *, name: str = "hierarchy") -> tuple[Entry, ...]:
    """Write a CX2 hierarchy for cellmaps_vnn, Cytoscape or NDEx; gene lists include those of the descendants.

    Parameters
    ----------
    name
        Name of the network in the file.

    Returns
    -------
    What the file does not hold: evidence, and which genes a term has of its own.
    """
    terms, relations = ontology.terms, ontology.relations
    for column in (terms.index, terms["name"], terms["namespace"]):
        writing.refuse(column.unique())
    writing.refuse(ontology.genes, writing.SPACE, "hold a space")
    sets = ontology.gene_sets()
    at = {term: i for i, term in enumerate(terms.index)}
    lower = set(relations["child"])
    namespaces = bool((terms["namespace"] != "").any())
    nodes = [
        {
            "id": at[term],
            "v": {
                "n": label,
                "r": term,
                MEMBERS: " ".join(sorted(sets[term])),
                "HCX::isRoot": term not in lower,
                **({"namespace": space} if namespaces else {}),
            },
        }
        for term, label, space in zip(terms.index, terms["name"], terms["namespace"], strict=True)
    ]
    edges = [
        {"id": i, "s": at[parent], "t": at[child], "v": {"i": kind}}
        for i, (child, parent, kind) in enumerate(relations.itertuples(index=False, name=None))
    ]
    declared = {
        "networkAttributes": {"name": {"d": "string"}},
        "nodes": {
            "name": {"a": "n", "d": "string"},
            "represents": {"a": "r", "d": "string"},
            MEMBERS: {"d": "string"},
            "HCX::isRoot": {"d": "boolean"},
            **({"namespace": {"d": "string"}} if namespaces else {}),
        },
        "edges": {"interaction": {"a": "i", "d": "string"}},
    }
    aspects: dict[str, list[Any]] = {
        "attributeDeclarations": [declared],
        "networkAttributes": [{"name": name}],
        "nodes": nodes,
        "edges": edges,
    }
    document = [
        {"CXVersion": "2.0", "hasFragments": False},
        {"metaData": [{"name": what, "elementCount": len(items)} for what, items in aspects.items()]},
        *({what: items} for what, items in aspects.items()),
        {"status": [{"success": True, "error": ""}]},
    ]
    writing.put(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    own = set(zip(ontology.annotations["term"], ontology.annotations["gene"], strict=True))
    gained = [f"{gene} @ {term}" for term, genes in sets.items() for gene in genes if (term, gene) not in own]
    entry = Entry.of("write cx2", "annotations", gained, "added: lists include the genes of descendants")
    rest = writing.left_out(ontology, "write cx2", ("names", "namespaces", "types", "relations", "lone"))
    return (entry, *rest) if gained else rest


def _aspects(source: Source) -> dict[str, list[Any]]:
    """The elements of each aspect, its fragments joined."""
    try:
        document = json.loads(source.text)
    except json.JSONDecodeError as error:
        raise source.error(f"the file is no JSON, or it is cut short: {error.msg}.", error.lineno) from error
    version = (
        document[0].get("CXVersion")
        if isinstance(document, list) and document and isinstance(document[0], dict)
        else None
    )
    if not str(version).startswith("2."):
        raise source.error(
            "a CX2 file is a JSON list that begins with {'CXVersion': '2.0'}; "
            + ("this one has no such beginning." if version is None else f"this is version {version!r}.")
        )
    aspects: dict[str, list[Any]] = {}
    for block in document[1:]:
        for what, items in block.items():
            aspects.setdefault(what, []).extend(items)
    for what, needed in (("nodes", {"id"}), ("edges", {"s", "t"})):
        if broken := [item for item in aspects.get(what, []) if not needed <= item.keys()]:
            raise source.error(f"{len(broken):,} {what} lack {culprits(sorted(needed))}: {culprits(broken)}.")
    for status in aspects.get("status", []):
        if not status.get("success", True):
            raise source.error(f"the file says that writing it failed: {status.get('error')}.")
    for announced in aspects.get("metaData", []):
        what, n = announced.get("name"), announced.get("elementCount")
        if what in ("nodes", "edges") and n is not None and n != len(aspects.get(what, [])):
            raise source.error(
                f"the file announces {n:,} {what} and has {len(aspects.get(what, [])):,}; it may be cut short."
            )
    return aspects


def _attributes(aspects: Mapping[str, list[Any]], what: str) -> dict[Any, dict[str, Any]]:
    """The attributes of each node or edge by their full names, declared defaults included."""
    declared: dict[str, dict[str, Any]] = {}
    for block in aspects.get("attributeDeclarations", []):
        declared |= block.get(what, {})
    full = {known["a"]: name for name, known in declared.items() if known.get("a")}
    defaults = {name: known["v"] for name, known in declared.items() if "v" in known}
    return {
        item.get("id", i): defaults | {full.get(name, name): value for name, value in item.get("v", {}).items()}
        for i, item in enumerate(aspects.get(what, []))
    }


def _genes(listed: Any) -> list[str]:
    if listed is None:
        return []
    return listed.split() if isinstance(listed, str) else [str(gene).strip() for gene in listed]

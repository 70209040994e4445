"""Gene sets in GMT, the format of MSigDB and Reactome (docs.gsea-msigdb.org, "GSEA Data Formats")."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from vnn._errors import choose, culprits
from vnn.ontology import writing
from vnn.ontology.edges import parse_edges
from vnn.ontology.log import Entry
from vnn.ontology.ontology import ANNOTATIONS, RELATIONS, Ontology
from vnn.ontology.source import Source, provenance

IDENTIFIER = re.compile(r"R-[A-Z]{3}-\d+|REACT_\d+|[A-Z][A-Za-z]*:\d+|[a-z]{3}\d{5}|WP\d+|M\d+")
LITERAL = "Reactome Pathway"
WIKIPATHWAYS = re.compile(r"(?P<name>.*)%WikiPathways_(?P<release>[^%]*)%(?P<id>WP\d+)%(?P<species>[^%]+)")


@dataclass(frozen=True)
class GeneSets:
    """The sets of a GMT file: names and genes per id, where they came from, and what reading them dropped."""

    names: dict[str, str]
    genes: dict[str, list[str]]
    log: tuple[Entry, ...]
    title: str = "GMT"
    release: str = ""
    species: str = ""

    def annotations(self) -> pd.DataFrame:
        """One row per gene and set."""
        pairs = [(gene, term) for term, genes in self.genes.items() for gene in genes]
        return pd.DataFrame(pairs, columns=ANNOTATIONS[:2])


def read_gmt(
    path: Path | str,
    *,
    ids: Literal["auto", "name", "description"] = "auto",
    form: Literal["auto", "described", "bare", "spaced"] = "auto",
    species: str | None = None,
    relations: Path | str | None = None,
) -> Ontology:
    """Gene sets from a GMT file, with a hierarchy where one is given.

    A line is `name ⇥ description ⇥ gene ⇥ gene ...`. The description may be empty, a URL or the stable id
    of the set (Reactome); older Reactome releases carry a further field "Reactome Pathway". Both are
    recognised from the whole file, never assumed. So are the names of WikiPathways,
    `name%WikiPathways_release%id%species`.

    Parameters
    ----------
    path
        Plain or gzip.
    ids
        Which field becomes the term id. By default the description where it is an identifier of a known form
        (R-HSA-, GO:, hsa, WP, M) in every line and unique, the WikiPathways id where every name has one, otherwise
        the name.
    form
        "described" as above; "bare" without the field of the description; "spaced" the same, separated by any white
        space (expiMap). By default described, with a look at the descriptions: where they are genes of other sets
        that is an error if all are, and in the log if some are.
    species
        Species to keep, such as "Homo sapiens", where the names tell one (WikiPathways). May be left out only where
        the file has one.
    relations
        An edge list of two columns, parent and child, that names sets by their ids and may name further terms.

    Returns
    -------
    An ontology. Sets without genes stay as terms; empty sets, repeated sets and repeated genes are counted in its
    log.
    """
    sources = [Source.read(path, "gmt")]
    sets = parse_gmt(sources[0], ids=ids, form=form, species=species)
    names = dict(sets.names)
    table = pd.DataFrame(columns=RELATIONS)
    if relations is not None:
        sources.append(Source.read(relations, "relations"))
        rows = parse_edges(sources[1], "parent-child")
        table = pd.DataFrame(rows, columns=["parent", "child", "type"]).assign(type="part_of")
        names = {term: "" for row in rows for term in row[:2]} | names
    return Ontology.assemble(
        pd.DataFrame({"name": names}),
        table,
        sets.annotations(),
        step="read gmt",
        provenance=[provenance(sets.title, *sources, release=sets.release, species=sets.species)],
        log=sets.log,
    )


def write_gmt(ontology: Ontology, path: Path | str, *, propagated: bool = True) -> tuple[Entry, ...]:
    """Write a line per term: `id ⇥ na ⇥ genes`, or `name ⇥ id ⇥ genes`, as Reactome does, where terms have names.

    Parameters
    ----------
    propagated
        Whether a set holds the genes of the term's descendants too, as other programs expect of gene sets.

    Returns
    -------
    What the file does not hold: relations, namespaces, evidence, and which genes a term has of its own.
    """
    sets = ontology.gene_sets(propagated=propagated)
    names = ontology.terms["name"]
    named = bool((names != names.index).any())
    for texts in (names.index, names.unique(), ontology.genes):
        writing.refuse(texts)
    writing.put(
        path,
        "".join(
            "\t".join([*((names[term], term) if named else (term, "na")), *sorted(genes)]) + "\n"
            for term, genes in sets.items()
        ),
    )
    own = set(zip(ontology.annotations["term"], ontology.annotations["gene"], strict=True))
    gained = [f"{gene} @ {term}" for term, genes in sets.items() for gene in genes if (term, gene) not in own]
    entry = Entry.of("write gmt", "annotations", gained, "added: sets hold the genes of descendants")
    rest = writing.left_out(ontology, "write gmt", ("names", "types", "lone"))
    return (entry, *rest) if gained else rest


def parse_gmt(
    source: Source,
    *,
    ids: Literal["auto", "name", "description"] = "auto",
    form: Literal["auto", "described", "bare", "spaced"] = "auto",
    species: str | None = None,
) -> GeneSets:
    """The sets of a GMT file, before they become an ontology."""
    choose("ids", ids, ("auto", "name", "description"))
    choose("form", form, ("auto", "described", "bare", "spaced"))
    rows = list(_rows(source, form))
    log = _missing_descriptions(source, rows) if form == "auto" else []
    titles = [WIKIPATHWAYS.fullmatch(fields[0]) for _, fields in rows]
    wiki = [title for title in titles if title] if ids != "name" and all(titles) else []
    told = {title["species"] for title in wiki}
    if species is not None and not wiki:
        raise source.error(f"`species` is {species!r}, but the names of the sets tell none; leave it out.")
    if wiki:
        if len(told) > 1 and species is None:
            raise source.error(
                f"the sets mix {len(told):,} species: {culprits(sorted(told))}. Choose one with species=."
            )
        if species is not None:
            choose("species", species, sorted(told))
            foreign = [title["id"] for title in wiki if title["species"] != species]
            log.append(Entry.of("read gmt", "terms", foreign, f"left out: they are not of {species}"))
            rows = [row for row, title in zip(rows, wiki, strict=True) if title["species"] == species]
            wiki = [title for title in wiki if title["species"] == species]
    described = [fields[1] for _, fields in rows]
    if ids == "auto" and not wiki:
        unique = len(set(described)) == len(described)
        ids = "description" if unique and all(map(IDENTIFIER.fullmatch, described)) else "name"
    names: dict[str, str] = {}
    genes: dict[str, list[str]] = {}
    again: list[str] = []
    for i, (number, (name, description, *members)) in enumerate(rows):
        term = description if ids == "description" else wiki[i]["id"] if wiki else name
        if not term:
            raise source.error(f"a gene set has no {ids}; every line needs one to name its set.", number)
        if term in genes:
            again.append(term)
        names.setdefault(term, wiki[i]["name"] if wiki else name)
        genes.setdefault(term, []).extend(members)
    repeated = {
        f"{gene} @ {term}"
        for term, members in genes.items()
        if len(set(members)) < len(members)
        for gene, n in Counter(members).items()
        if n > 1
    }
    empty = [term for term, members in genes.items() if not members]
    entries = (
        *log,
        Entry.of("read gmt", "terms", again, "occur in several lines; their genes were joined"),
        Entry.of("read gmt", "annotations", repeated, "repeated in their set and kept once"),
        Entry.of("read gmt", "terms", empty, "kept without genes: their set is empty"),
    )
    distinct = {term: list(dict.fromkeys(members)) for term, members in genes.items()}
    return GeneSets(
        names,
        distinct,
        tuple(entry for entry in entries if entry.names),
        "WikiPathways" if wiki else "GMT",
        ", ".join(sorted({title["release"] for title in wiki})),
        ", ".join(sorted({title["species"] for title in wiki})),
    )


def _rows(source: Source, form: str) -> Iterator[tuple[int, list[str]]]:
    """Number and fields of each line: name, description, genes; the literal field of old Reactome files is gone."""
    for number, line in source.lines():
        fields = line.split() if form == "spaced" else [part.strip() for part in line.split("\t")]
        if form in ("bare", "spaced"):
            fields.insert(1, "")
        if len(fields) < 2:
            raise source.error(
                f"a GMT line needs a name, a description and genes, separated by tabs; this one is {culprits(fields)}. "
                "If the file is separated by spaces and has no descriptions, say form='spaced'.",
                number,
            )
        if len(fields) > 2 and fields[2] == LITERAL:
            del fields[2]
        yield number, [*fields[:2], *filter(None, fields[2:])]


def _missing_descriptions(source: Source, rows: list[tuple[int, list[str]]]) -> list[Entry]:
    """The lines whose description is a gene of another line, as it is where the description was left out."""
    genes = {gene for _, fields in rows for gene in fields[2:]}
    found = [
        f"{source.name}, line {number}: {fields[0]} ({fields[1]})" for number, fields in rows if fields[1] in genes
    ]
    if len(found) > 1 and len(found) == len(rows):
        raise source.error(
            f"the second field of all {len(rows):,} lines is a gene of some set, the first {rows[0][1][1]!r}: the "
            "descriptions seem to be missing. Say form='bare' to read the second field as a gene, or "
            "form='described' if it is a description all the same."
        )
    reason = "whose description is a gene of some set: if it is missing there, that gene is lost"
    return [Entry.of("read gmt", "lines", found, reason)]

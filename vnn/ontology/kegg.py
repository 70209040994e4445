"""KEGG: pathways and their genes (REST `list` and `link`), their hierarchy (BRITE) and their diagrams (KGML).

KEGG's licence forbids redistribution and bulk use without a subscription outside academia; nothing of KEGG comes with
`vnn`, and nothing is downloaded. Formats: kegg.jp/kegg/rest/keggapi.html, kegg.jp/kegg/rest/brite.html,
kegg.jp/kegg/xml/docs.
"""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from xml.parsers import expat

import pandas as pd

from vnn._errors import culprits
from vnn.ontology.log import Entry
from vnn.ontology.ontology import ANNOTATIONS, RELATIONS, TERMS, Ontology
from vnn.ontology.source import Source, provenance

PATHWAY = re.compile(r"(?:path:)?([a-z]{2,5})(\d{5})")
TAG = re.compile(r"</?(?:a|b|i|h\d|img|font|su[bp])\b[^>]*>")
ENTRY = re.compile(r"(?:(?P<code>\d{5})(?:\s+|$))?(?P<name>.*?)(?:\s*\[(?:PATH|BR):(?P<id>[a-z]+\d{5})\])?")
CATEGORIES = "09000"  # codes from here on are headings of BRITE, below it numbers of maps


def read_kegg(
    link: Path | str,
    pathways: Path | str | None = None,
    genes: Path | str | None = None,
    brite: Path | str | None = None,
    *,
    organism: str | None = None,
) -> Ontology:
    """KEGG pathways of one organism, from the text of its REST interface.

    Parameters
    ----------
    link
        Answer of `link/pathway/hsa` or `link/hsa/pathway`: `hsa:3101 ⇥ path:hsa00010` in either order.
    pathways
        Answer of `list/pathway/hsa`, for names: `hsa00010 ⇥ Glycolysis / Gluconeogenesis - Homo sapiens (human)`, with or
        without `path:`. An ending that all names share after " - " is the organism's name and leaves.
    genes
        Answer of `list/hsa`, for symbols: the last column is `HK3, HKIII; hexokinase 3`. Without it genes are KEGG's
        ids without the organism, which for human, mouse and rat are Entrez ids.
    brite
        The hierarchy of pathways, br08901 or an organism's own such as hsa00001, as in `read_brite`; its genes are
        not read.
    organism
        KEGG's code of the organism, such as "hsa"; needed where the links have several, as those of `ko` have.

    Raises
    ------
    OntologyError
        If a line does not link a gene to a pathway (with its number), or the links mix organisms and none is chosen.
    """
    source = Source.read(link, "links")
    pairs, organism, log = _links(source, organism)
    files = [source]
    label: dict[str, str] = {}
    if pathways is not None:
        files.append(Source.read(pathways, "pathways"))
        label = _names(files[-1])
    rows = list(pairs)
    if genes is not None:
        files.append(Source.read(genes, "genes"))
        rows, unnamed = _called(rows, _symbols(files[-1]), "read kegg")
        log.append(unnamed)
    relations: list[tuple[str, str, str]] = []
    if brite is not None:
        files.append(Source.read(brite, "hierarchy"))
        tree = _Brite(files[-1], organism)
        relations = tree.relations
        label = {**tree.names, **label}
    foreign = [term for term in label if (found := PATHWAY.fullmatch(term)) and found[1] != organism]
    log.append(Entry.of("read kegg", "terms", foreign, f"left out: they are not of {organism}"))
    label = {term: name for term, name in label.items() if term not in set(foreign)}
    unnamed_terms = {term for _, term in rows} - label.keys()
    if pathways is not None:
        log.append(Entry.of("read kegg", "terms", unnamed_terms, "called by their id: the list does not name them"))
    empty = {term for term in label if PATHWAY.fullmatch(term)} - {term for _, term in rows}
    log.append(Entry.of("read kegg", "terms", empty, "kept without genes: no link leads to them"))
    return _assemble("read kegg", dict.fromkeys(unnamed_terms, "") | label, relations, rows, files, organism, log)


def read_brite(path: Path | str, *, organism: str | None = None, symbols: bool = False) -> Ontology:
    """A BRITE hierarchy of pathways, from htext (.keg, with HTML tags or with codes) or JSON.

    A pathway is an entry with `[PATH:hsa00010]` or a number of five digits below 09000; headings are called by their
    code, where they have one, or by their text. What lies below a pathway, or has a description after a semicolon, is
    a gene.

    Parameters
    ----------
    path
        Plain or gzip: br08901 (pathways without genes), hsa00001 or ko00001 (with them).
    organism
        KEGG's code for pathways of which the file tells only the number, such as those of br08901; "map" unless
        the file tells another.
    symbols
        Whether genes are called by their symbol (`3101 HK3; hexokinase 3`) rather than their id. Entries of KEGG
        Orthology have only their id.

    Raises
    ------
    OntologyError
        If the file is neither htext nor BRITE JSON (with the line), or the hierarchy closes a cycle.
    """
    source = Source.read(path, "hierarchy")
    tree = _Brite(source, organism)
    rows = [(symbol if symbols and symbol else gene, term) for gene, symbol, term in tree.genes]
    log = []
    if symbols:
        unnamed = {gene for gene, symbol, _ in tree.genes if not symbol}
        log.append(Entry.of("read brite", "genes", unnamed, "called by their id: they have no symbol"))
    return _assemble("read brite", tree.names, tree.relations, rows, [source], tree.organism, log)


def read_kgml(*paths: Path | str, genes: Path | str | None = None) -> Ontology:
    """KEGG pathways without a hierarchy, from KGML files, one a pathway.

    Entries of type gene become the genes of the pathway, all names of an entry; other entries and the relations and
    reactions between entries are left out and counted. A document type is allowed, an entity is not.

    Parameters
    ----------
    paths
        Plain or gzip.
    genes
        As in `read_kegg`, for symbols.

    Raises
    ------
    OntologyError
        If a file is not well-formed XML or no KGML, defines an entity, or a pathway is there twice.
    """
    names: dict[str, str] = {}
    rows: list[tuple[str, str]] = []
    files: list[Source] = []
    log: list[Entry] = []
    organisms: set[str] = set()
    for path in paths:
        source = Source.read(path, "kgml")
        diagram = _Kgml(source)
        if diagram.id in names:
            raise source.error(f"the pathway {diagram.id!r} is in two of the {len(paths):,} files; give it once.")
        files.append(source)
        names[diagram.id] = diagram.title
        organisms.add(diagram.organism)
        rows += [(gene, diagram.id) for gene in diagram.genes]
        for kind, found in sorted(diagram.others.items()):
            pairs = {f"{name} @ {diagram.id}" for name in found}
            log.append(Entry.of("read kgml", "entries", pairs, f"left out: of type {kind}"))
        for kind, n in sorted(diagram.between.items()):
            log.append(Entry.of("read kgml", "diagrams", [diagram.id], f"read without their {n:,} elements {kind}"))
    if len(organisms) > 1:
        raise files[0].error(f"the files mix {len(organisms):,} organisms: {culprits(sorted(organisms))}; read one.")
    if not names:
        raise ValueError("read_kgml needs at least one KGML file.")
    if genes is not None:
        files.append(Source.read(genes, "genes"))
        rows, unnamed = _called(rows, _symbols(files[-1]), "read kgml")
        log.append(unnamed)
    return _assemble("read kgml", names, [], rows, files, organisms.pop(), log)


def _assemble(
    step: str,
    names: dict[str, str],
    relations: list[tuple[str, str, str]],
    rows: list[tuple[str, str]],
    files: list[Source],
    organism: str,
    log: list[Entry],
) -> Ontology:
    return Ontology.assemble(
        pd.DataFrame({"name": names}, columns=TERMS[:1], dtype=object),
        pd.DataFrame(relations, columns=RELATIONS, dtype=object),
        pd.DataFrame(rows, columns=ANNOTATIONS[:2], dtype=object),
        step=step,
        provenance=[provenance("KEGG", *files, species=organism)],
        log=[entry for entry in log if entry.names],
    )


def _links(source: Source, organism: str | None) -> tuple[list[tuple[str, str]], str, list[Entry]]:
    """(gene, pathway) of one organism, its code, and what was left out."""
    pairs: dict[str, list[tuple[str, str]]] = {}
    for number, line in source.lines():
        fields = [field.strip() for field in line.split("\t")]
        found = [PATHWAY.fullmatch(field) for field in fields]
        if len(fields) != 2 or sum(match is not None for match in found) != 1 or not all(fields):
            raise source.error(
                f"a link needs a gene and a pathway, separated by a tab, such as 'hsa:3101' and 'path:hsa00010'; this "
                f"line is {line[:80]!r}.",
                number,
            )
        match, gene = (found[0], fields[1]) if found[0] else (found[1], fields[0])
        if match is not None:
            pairs.setdefault(match[1], []).append((gene.rpartition(":")[2], match[1] + match[2]))
    if organism is None:
        if len(pairs) > 1:
            counts = ", ".join(f"{code} ({len(rows):,} links)" for code, rows in sorted(pairs.items()))
            raise source.error(f"the links lead to pathways of several organisms: {counts}. Choose one with organism=.")
        organism = next(iter(pairs))
    if organism not in pairs:
        raise source.error(f"no link leads to a pathway of {organism!r}; there are {culprits(sorted(pairs))}.")
    foreign = [f"{gene} @ {term}" for code, rows in pairs.items() if code != organism for gene, term in rows]
    entry = Entry.of("read kegg", "annotations", set(foreign), f"left out: not of {organism} ({len(foreign):,} rows)")
    return pairs[organism], organism, [entry]


def _names(source: Source) -> dict[str, str]:
    names: dict[str, str] = {}
    for number, line in source.lines():
        fields = [field.strip() for field in line.split("\t")]
        found = PATHWAY.fullmatch(fields[0])
        if len(fields) != 2 or not found:
            raise source.error(
                f"a list of pathways needs an id and a name, separated by a tab; this line is {line[:80]!r}.", number
            )
        names[found[1] + found[2]] = fields[1]
    endings = {name.rpartition(" - ")[2] if " - " in name else "" for name in names.values()}
    if len(names) > 1 and len(endings) == 1 and "" not in endings:
        return {term: name.rpartition(" - ")[0] for term, name in names.items()}
    return names


def _symbols(source: Source) -> dict[str, str]:
    """The symbol of each gene id, "" where it has only a description."""
    symbols: dict[str, str] = {}
    for number, line in source.lines():
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) < 2 or ":" not in fields[0]:
            raise source.error(
                f"a list of genes needs an id such as 'hsa:3101' and columns after it, separated by tabs; this line "
                f"is {line[:80]!r}.",
                number,
            )
        symbols[fields[0].rpartition(":")[2]] = _symbol(fields[-1])
    return symbols


def _symbol(text: str) -> str:
    names, semicolon, _ = text.partition(";")
    return names.split(",")[0].strip() if semicolon else ""


def _called(rows: list[tuple[str, str]], symbols: dict[str, str], step: str) -> tuple[list[tuple[str, str]], Entry]:
    """The rows with symbols instead of ids, and the ids that have none."""
    without = {gene for gene, _ in rows if not symbols.get(gene)}
    entry = Entry.of(step, "genes", without, "called by their id: the list of genes has no symbol for them")
    return [(symbols.get(gene) or gene, term) for gene, term in rows], entry


class _Brite:
    """Names, relations and genes of a BRITE hierarchy."""

    def __init__(self, source: Source, organism: str | None) -> None:
        entries = list(_json(source) if source.text.lstrip().startswith("{") else _htext(source))
        told = Counter(
            found[1] for _, text, _ in entries for found in re.finditer(r"\[(?:PATH|BR):([a-z]+)\d{5}\]", text)
        )
        self.organism = organism or (told.most_common(1)[0][0] if told else "map")
        self.names: dict[str, str] = {}
        self.relations: list[tuple[str, str, str]] = []
        self.genes: list[tuple[str, str, str]] = []
        above: list[tuple[int, str, bool]] = []
        for depth, text, leaf in entries:
            while above and above[-1][0] >= depth:
                above.pop()
            parent, within = above[-1][1:] if above else ("", False)
            if parent and leaf and (within or ";" in text):
                gene, _, rest = text.split("\t")[0].partition(" ")
                self.genes.append((gene, "" if re.fullmatch(r"K\d{5}", gene) else _symbol(rest), parent))
                continue
            term, name, pathway = self._entry(text)
            self.names.setdefault(term, name)
            if parent:
                self.relations.append((term, parent, "part_of"))
            above.append((depth, term, pathway))
        if not self.names:
            raise source.error("this BRITE file has no entries.")

    def _entry(self, text: str) -> tuple[str, str, bool]:
        """Id and name of a heading or a pathway, and whether it is a pathway."""
        found = ENTRY.fullmatch(text.split("\t")[0])
        code, name, told = (found["code"], found["name"], found["id"]) if found else (None, text, None)
        if told:
            return told, name, True
        if code and code < CATEGORIES:
            return self.organism + code, name, True
        return code or name, name or str(code), False


def _htext(source: Source) -> Iterator[tuple[int, str, bool]]:
    """Depth, text and whether nothing lies below it, of every entry of an htext file."""
    entries: list[tuple[int, str]] = []
    for number, line in source.lines():
        if line[0] in "#!+%":
            continue
        if not "A" <= line[0] <= "Z":
            raise source.error(
                f"a line of BRITE htext begins with the letter of its level; this one is {line[:80]!r}.", number
            )
        text = html.unescape(TAG.sub("", line[1:])).replace("\xa0", " ").strip()
        if text:
            entries.append((ord(line[0]) - ord("A"), text))
    depths = [depth for depth, _ in entries[1:]] + [0]
    for (depth, text), following in zip(entries, depths, strict=False):
        yield depth, text, following <= depth


def _json(source: Source) -> Iterator[tuple[int, str, bool]]:
    """The same of BRITE JSON, whose root only names the file."""
    try:
        document = json.loads(source.text)
    except json.JSONDecodeError as error:
        raise source.error(f"this is not JSON: {error.msg}. Download the file again.", error.lineno) from error
    if not isinstance(document, dict) or "children" not in document:
        raise source.error("BRITE JSON needs `name` and `children`; this file has not got them.")
    waiting: list[tuple[int, Any]] = [(0, child) for child in reversed(document["children"])]
    while waiting:
        depth, node = waiting.pop()
        if not isinstance(node, dict) or not str(node.get("name", "")).strip():
            raise source.error(f"an entry of BRITE JSON needs a name; this one is {str(node)[:80]!r}.")
        below = node.get("children") or []
        yield depth, node["name"].strip(), not below
        waiting += [(depth + 1, child) for child in reversed(below)]


class _Kgml:
    """The pathway of one KGML file and its genes."""

    def __init__(self, source: Source) -> None:
        self.id = self.title = self.organism = ""
        self.genes: dict[str, None] = {}
        self.others: dict[str, dict[str, None]] = {}
        self.between: Counter[str] = Counter()
        parser = expat.ParserCreate("utf-8")

        def refuse(*_: object) -> None:
            raise source.error(
                "this XML defines entities, which no KGML file does and which can be an attack; do not use it.",
                parser.CurrentLineNumber,
            )

        parser.StartDoctypeDeclHandler = lambda name, system, public, internal: refuse() if internal else None
        parser.EntityDeclHandler = refuse
        parser.StartElementHandler = self._take
        try:
            parser.Parse(source.text.encode(), True)
        except expat.ExpatError as error:
            raise source.error(
                f"this is not well-formed XML: {expat.ErrorString(error.code)}.", error.lineno
            ) from error
        if not PATHWAY.fullmatch(self.id):
            raise source.error(
                f"KGML needs an element `pathway` with a name such as 'path:hsa04110'; this file has {self.id!r}."
            )
        self.id = self.id.removeprefix("path:")

    def _take(self, element: str, given: dict[str, str]) -> None:
        if element == "pathway":
            self.id, self.title, self.organism = (given.get(key, "") for key in ("name", "title", "org"))
        elif element == "entry":
            names = given.get("name", "").split()
            if given.get("type") == "gene":
                self.genes |= dict.fromkeys(_bare(names))
            else:
                self.others.setdefault(given.get("type", "unknown"), {}).update(dict.fromkeys(names))
        elif element in ("relation", "reaction"):
            self.between[element] += 1


def _bare(names: Iterable[str]) -> Iterator[str]:
    return (name.rpartition(":")[2] for name in names)

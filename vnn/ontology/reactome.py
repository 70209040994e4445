"""Reactome: pathways, their hierarchy and their genes (reactome.org/download-data)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from vnn._errors import choose, culprits
from vnn.ontology.gmt import parse_gmt
from vnn.ontology.log import Entry
from vnn.ontology.ontology import Ontology
from vnn.ontology.source import Source, provenance

SPECIES = {
    "Bos taurus": "BTA",
    "Caenorhabditis elegans": "CEL",
    "Canis familiaris": "CFA",
    "Danio rerio": "DRE",
    "Dictyostelium discoideum": "DDI",
    "Drosophila melanogaster": "DME",
    "Gallus gallus": "GGA",
    "Homo sapiens": "HSA",
    "Mus musculus": "MMU",
    "Mycobacterium tuberculosis": "MTU",
    "Plasmodium falciparum": "PFA",
    "Rattus norvegicus": "RNO",
    "Saccharomyces cerevisiae": "SCE",
    "Schizosaccharomyces pombe": "SPO",
    "Sus scrofa": "SSC",
    "Xenopus tropicalis": "XTR",
}


def read_reactome(
    gmt: Path | str,
    relations: Path | str,
    names: Path | str | None = None,
    *,
    species: str = "Homo sapiens",
) -> Ontology:
    """Reactome from ReactomePathways.gmt, ReactomePathwaysRelation.txt and ReactomePathways.txt.

    Memberships are taken as the file gives them, that is, already propagated to the ancestors; use
    `Ontology.most_specific` to undo it. Some members are no human genes (`gag-pol`, "18S rRNA"); they
    leave with `restrict`. The Disease branch is there; `load_ontology("reactome")` leaves it out.

    Parameters
    ----------
    gmt
        `name ⇥ stable id ⇥ genes`, old or new form.
    relations
        `parent ⇥ child`, all species in one file.
    names
        `id ⇥ name ⇥ species`; without it names are those of the GMT file, and pathways without a gene set
        keep their id.
    species
        Latin name; pathways of other species are left out and counted.

    Returns
    -------
    An ontology with every pathway of the species, those without a gene set included and listed in the log.
    """
    prefix = _prefix(species)
    gmt_file, relation_file = Source.read(gmt, "gmt"), Source.read(relations, "relations")
    sets = parse_gmt(gmt_file, ids="auto")
    files = [gmt_file, relation_file]
    label = dict(sets.names)
    if names is not None:
        files.append(Source.read(names, "names"))
        label |= {term: name for term, name, *_ in _fields(files[-1], 3, "id, name and species")}
    pairs = _fields(relation_file, 2, "parent and child")
    return _assembled(
        label, pairs, sets.annotations(), prefix, species=species, step="read reactome", files=files, log=sets.log
    )


def read_reactome_mapping(
    mapping: Path | str,
    relations: Path | str | None = None,
    names: Path | str | None = None,
    *,
    species: str = "Homo sapiens",
) -> Ontology:
    """Reactome from a mapping table such as UniProt2Reactome.txt, Ensembl2Reactome, NCBI2Reactome, miRBase2Reactome.

    The six columns are `id ⇥ pathway ⇥ URL ⇥ name ⇥ evidence ⇥ species`. The plain table attaches ids to the lowest
    pathways of their reactions; the form `_All_Levels` to all ancestors as well, which `Ontology.most_specific`
    undoes. Evidence (TAS, IEA) stays with each row, for `Ontology.with_evidence`.

    Parameters
    ----------
    mapping
        Plain or gzip; all species in one file.
    relations, names
        ReactomePathwaysRelation.txt and ReactomePathways.txt, as in `read_reactome`; without relations there is no
        hierarchy.
    species
        Latin name, as in the last column; rows and pathways of other species are left out and counted.

    Raises
    ------
    OntologyError
        If a line has not six fields (with its number), or no row is of the species.

    References
    ----------
    reactome.org/download-data, "Identifier mapping files".
    """
    prefix = _prefix(species)
    mapping_file = Source.read(mapping, "mapping")
    rows = _fields(mapping_file, 6, "id, pathway, URL, name, evidence and species")
    files, pairs = [mapping_file], []
    label = {pathway: name for _, pathway, _, name, *_ in rows}
    if relations is not None:
        files.append(Source.read(relations, "relations"))
        pairs = _fields(files[-1], 2, "parent and child")
    if names is not None:
        files.append(Source.read(names, "names"))
        label |= {term: name for term, name, *_ in _fields(files[-1], 3, "id, name and species")}
    table = pd.DataFrame([(row[0], row[1], row[4], row[5]) for row in rows], columns=["gene", "term", "evidence", "of"])
    foreign = table[table["of"] != species]
    if len(foreign) == len(table):
        raise mapping_file.error(
            f"none of the {len(table):,} rows is of {species}; they are of {culprits(sorted(set(table['of'])))}."
        )
    reason = f"left out: they are not of {species} ({len(foreign):,} rows)"
    return _assembled(
        label,
        pairs,
        table[table["of"] == species][["gene", "term", "evidence"]],
        prefix,
        species=species,
        step="read reactome mapping",
        files=files,
        log=[Entry.of("read reactome mapping", "annotations", set(foreign["gene"] + " @ " + foreign["term"]), reason)],
    )


def _assembled(
    label: dict[str, str],
    pairs: list[list[str]],
    annotations: pd.DataFrame,
    prefix: str,
    *,
    species: str,
    step: str,
    files: list[Source],
    log: Sequence[Entry],
) -> Ontology:
    """The pathways of one species among all that the files name."""
    every = dict.fromkeys([*(term for pair in pairs for term in pair), *label])
    terms = pd.DataFrame({"name": {term: label.get(term, "") for term in every if term.startswith(prefix)}})
    if not len(terms):
        raise files[0].error(
            f"no pathway of {species} is in the files: none of {len(every):,} ids starts with {prefix!r} "
            f"({culprits(every)}). Give the files' species."
        )
    foreign = [term for term in every if not term.startswith(prefix)]
    shared = terms["name"][terms["name"].duplicated(keep=False) & (terms["name"] != "")]
    own = pd.DataFrame(pairs, columns=["parent", "child"], dtype=object)
    own = own[own["parent"].str.startswith(prefix) | own["child"].str.startswith(prefix)].assign(type="part_of")
    annotations = annotations[annotations["term"].str.startswith(prefix)]
    notes = [
        *log,
        Entry.of(step, "terms", foreign, f"left out: they are not of {species}"),
        Entry.of(
            step,
            "terms",
            (f"{term} ({name})" for term, name in shared.items()),
            "kept although another term has the same name",
        ),
        Entry.of(step, "terms", set(terms.index) - set(annotations["term"]), "kept without a gene set of their own"),
    ]
    return Ontology.assemble(
        terms,
        own,
        annotations,
        step=step,
        provenance=[provenance("Reactome", *files, species=species)],
        log=[entry for entry in notes if entry.names],
    )


def _prefix(species: str) -> str:
    return f"R-{SPECIES[choose('species', species, SPECIES)]}-"


def _fields(source: Source, n: int, what: str) -> list[list[str]]:
    rows = []
    for number, line in source.lines():
        fields = [part.strip() for part in line.split("\t")]
        if len(fields) != n or not all(fields):
            raise source.error(f"a line needs {what}, separated by tabs; this one is {line[:80]!r}.", number)
        rows.append(fields)
    return rows

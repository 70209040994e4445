"""Reactome: pathways, their hierarchy and their genes (reactome.org/download-data)."""

from __future__ import annotations

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
    prefix = f"R-{SPECIES[choose('species', species, SPECIES)]}-"
    gmt_file, relation_file = Source.read(gmt, "gmt"), Source.read(relations, "relations")
    files = [gmt_file, relation_file]
    sets = parse_gmt(gmt_file, ids="auto")
    pairs = _fields(relation_file, 2, "parent and child")
    label = dict(sets.names)
    if names is not None:
        name_file = Source.read(names, "names")
        files.append(name_file)
        label |= {term: name for term, name, *_ in _fields(name_file, 3, "id, name and species")}
    every = dict.fromkeys([*(term for pair in pairs for term in pair), *label])
    terms = pd.DataFrame({"name": {term: label.get(term, "") for term in every if term.startswith(prefix)}})
    if not len(terms):
        raise gmt_file.error(
            f"no pathway of {species} is in the files: none of {len(every):,} ids starts with {prefix!r} "
            f"({culprits(every)}). Give the files' species."
        )
    foreign = [term for term in every if not term.startswith(prefix)]
    own = pd.DataFrame(pairs, columns=["parent", "child"])
    own = own[own["parent"].str.startswith(prefix) | own["child"].str.startswith(prefix)].assign(type="part_of")
    annotations = sets.annotations()
    log = [
        *sets.log,
        Entry.of("read reactome", "terms", foreign, f"left out: they are not of {species}"),
        Entry.of("read reactome", "terms", set(terms.index) - set(sets.genes), "kept without a gene set of their own"),
    ]
    return Ontology.assemble(
        terms,
        own,
        annotations[annotations["term"].str.startswith(prefix)],
        step="read reactome",
        provenance=[provenance("Reactome", *files, species=species)],
        log=[entry for entry in log if entry.names],
    )


def _fields(source: Source, n: int, what: str) -> list[list[str]]:
    rows = []
    for number, line in source.lines():
        fields = [part.strip() for part in line.split("\t")]
        if len(fields) != n or not all(fields):
            raise source.error(f"a line needs {what}, separated by tabs; this one is {line[:80]!r}.", number)
        rows.append(fields)
    return rows

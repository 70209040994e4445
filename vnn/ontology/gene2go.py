"""NCBI's gene2go: GO annotations of Entrez genes (ftp.ncbi.nlm.nih.gov/gene/DATA/README, section gene2go)."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal

from vnn._errors import choose, culprits
from vnn.ontology.annotations import Rows, Sieve
from vnn.ontology.ontology import Ontology
from vnn.ontology.source import Source, provenance

COLUMNS = ["tax_id", "GeneID", "GO_ID", "Evidence", "Qualifier", "GO_term", "PubMed", "Category"]
NAMESPACES = {
    "Process": "biological_process",
    "Function": "molecular_function",
    "Component": "cellular_component",
}


def read_gene2go(path: Path | str, *, taxon: int | None = None, without_qualifiers: Collection[str] = ()) -> Ontology:
    """Annotations without a hierarchy, from gene2go; `read_go` joins the same file to one.

    Genes are Entrez ids. Rows with NOT and rows without data (ND) always leave and are counted, and so are rows of
    other taxa. The file of all species is read whole and needs several GB; cut out the lines of one taxon, and the
    header, beforehand.

    Parameters
    ----------
    path
        Plain or gzip.
    taxon
        NCBI taxon to keep, such as 9606. May be left out only where the file has one.
    without_qualifiers
        As in `read_gaf`.

    Raises
    ------
    OntologyError
        If the header is not that of gene2go, a line has not eight fields (with its number), or the file mixes taxa
        and none is chosen.
    """
    source = Source.read(path, "gene2go")
    rows = parse_gene2go(source, taxon=taxon, gene="id", without_qualifiers=without_qualifiers)
    species = "" if taxon is None else f"taxon:{taxon}"
    return rows.alone(step="read gene2go", provenance=provenance("gene2go", source, species=species))


def is_gene2go(source: Source) -> bool:
    """Whether the file begins with the header of gene2go."""
    return source.text.startswith("#tax_id\tGeneID")


def parse_gene2go(
    source: Source, *, taxon: int | None, gene: Literal["symbol", "id"], without_qualifiers: Collection[str]
) -> Rows:
    """The rows of gene2go, before they become an ontology."""
    if choose("gene", gene, ("symbol", "id")) == "symbol":
        raise source.error(
            "gene2go knows genes by their Entrez id, not by symbol: give gene='id', and Entrez ids as features."
        )
    sieve = Sieve(source, "read gene2go", taxon, without_qualifiers)
    lines = source.lines()
    number, header = next(lines)
    if header.removeprefix("#").split("\t") != COLUMNS:
        raise source.error(
            f"the header of gene2go is #{' '.join(COLUMNS)}, separated by tabs; this file begins with {header[:80]!r}.",
            number,
        )
    for number, line in lines:
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) != len(COLUMNS) or not all(fields[:4]):
            raise source.error(
                f"a line of gene2go needs {len(COLUMNS)} fields, the first four not empty; this one has "
                f"{len(fields)}: {culprits(fields)}.",
                number,
            )
        organism, name, term, evidence, qualifier, label, _, category = fields
        sieve.take(
            name,
            term,
            evidence=evidence,
            qualifiers=qualifier.replace("|", " ").split() if qualifier != "-" else (),
            taxon=organism,
            name=label,
            namespace=NAMESPACES.get(category, ""),
        )
    return sieve.rows()

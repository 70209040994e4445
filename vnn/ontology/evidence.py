"""Evidence codes of the Gene Ontology and the sets they come in (geneontology.org/docs/guide-go-evidence-codes)."""

from __future__ import annotations

from collections.abc import Iterable

from vnn._errors import choose

SETS = {
    "experimental": ("EXP", "IDA", "IPI", "IMP", "IGI", "IEP"),
    "high-throughput": ("HTP", "HDA", "HMP", "HGI", "HEP"),
    "phylogenetic": ("IBA", "IBD", "IKR", "IRD"),
    "computational": ("ISS", "ISO", "ISA", "ISM", "IGC", "RCA"),
    "author": ("TAS", "NAS"),
    "curator": ("IC",),
    "electronic": ("IEA",),
}

NO_DATA = "ND"


def codes(names: Iterable[str]) -> frozenset[str]:
    """The evidence codes that `names`, codes or names of sets, stand for."""
    every = [code for members in SETS.values() for code in members]
    chosen: set[str] = set()
    for name in names:
        chosen.update(SETS.get(name) or (choose("the evidence", name, [*SETS, *every]),))
    if not chosen:
        raise ValueError(f"no evidence is given; known sets are {', '.join(SETS)}.")
    return frozenset(chosen)

"""Several ontologies as one."""

from __future__ import annotations

import pandas as pd

from vnn._errors import OntologyError
from vnn.ontology.log import Entry
from vnn.ontology.ontology import Ontology

STEP = "union"


def union(*ontologies: Ontology) -> Ontology:
    """The terms, relations and annotations of several ontologies together.

    A term id that several have is one term, with the relations and genes it has in each, and the name it has in the first;
    rows that several have are kept once; all of it is counted in the log. Provenance and logs are those of all, in the order given.
    Gene names are taken as they are: translate first what uses other identifiers.

    Raises
    ------
    OntologyError
        If the relations of all together close a cycle.

    Examples
    --------
    >>> from vnn.ontology import load_ontology, union
    >>> small = load_ontology("human-small")
    >>> union(small, small).fingerprint == small.fingerprint
    True
    """
    if not ontologies:
        raise ValueError("union() needs at least one ontology.")
    first, *others = ontologies
    terms, log = first.terms, list(first.log)
    genes = set(first.genes)
    for other in others:
        shared = terms.index.intersection(other.terms.index)
        renamed = shared[terms.loc[shared, "name"].to_numpy() != other.terms.loc[shared, "name"].to_numpy()]
        log += [
            *other.log,
            Entry.of(STEP, "terms", shared, "are in several ontologies and one term here"),
            Entry.of(STEP, "terms", renamed, "have other names in a later ontology; the first name stays"),
        ]
        if genes.isdisjoint(other.genes) and genes and other.genes:
            log.append(Entry.of(STEP, "genes", other.genes, "kept, though none is in the ontologies before"))
        terms = pd.concat([terms, other.terms.drop(index=shared)])
        genes |= set(other.genes)
    relations, annotations = (
        pd.concat([getattr(one, name) for one in ontologies], ignore_index=True)
        for name in ("relations", "annotations")
    )
    for name, table, sign in (("relations", relations, " -> "), ("annotations", annotations, " @ ")):
        again = table[table.duplicated()]
        pairs = set(again.iloc[:, 0] + sign + again.iloc[:, 1])
        log.append(Entry.of(STEP, name, pairs, "are in several ontologies and kept once"))
    provenance = [record for one in ontologies for record in one.provenance]
    try:
        return Ontology(
            terms,
            relations.drop_duplicates(),
            annotations.drop_duplicates(),
            tuple(provenance),
            tuple(entry for entry in log if entry.names),
        )
    except OntologyError as error:
        error.add_note(f"joining {', '.join(str(record.get('source')) for record in provenance)}")
        raise

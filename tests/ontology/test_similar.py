"""Terms with nearly the same genes, against every pair by a loop."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from tests.ontology.test_wiring import ontologies
from vnn.ontology import Ontology
from vnn.ontology.similar import redundant


def by_pairs(sets: list[frozenset[int]], rank: list[int], least: float) -> list[int]:
    stands = list(range(len(sets)))
    for late in sorted(range(len(sets)), key=rank.__getitem__):
        for early in sorted(range(len(sets)), key=rank.__getitem__):
            if rank[early] >= rank[late] or stands[early] != early or not sets[late]:
                continue
            if len(sets[early] & sets[late]) / len(sets[early] | sets[late]) >= least - 1e-9:
                stands[late] = early
                break
    return stands


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.frozensets(st.integers(0, 11)), min_size=1, max_size=9),
    st.sampled_from([0.1, 1 / 3, 0.5, 0.75, 0.9, 1.0]),
    st.randoms(use_true_random=False),
)
def test_the_first_that_is_alike_and_stays_stands_for_a_set(sets, least, random):
    rank = list(range(len(sets)))
    random.shuffle(rank)
    dense = np.array([[member in one for member in range(12)] for one in sets])
    found = redundant(sparse.csr_array(dense), np.array(rank), least)
    assert found.tolist() == by_pairs(sets, rank, least)


@settings(deadline=None, max_examples=100)
@given(ontologies(), st.sampled_from([0.3, 0.6, 0.9, 1.0]))
def test_what_leaves_has_a_like_that_stays_and_nobody_gains_a_gene(ontology, jaccard):
    made = ontology.collapse_similar(jaccard)
    before, after = ontology.gene_sets(), made.gene_sets()
    for term, genes in after.items():
        assert genes == before[term]
    assert set(made.genes) == set(ontology.genes)
    carried = ontology.relations[ontology.relations["type"].isin(["is_a", "part_of"])]
    gone = dict(name.split(" -> ") for entry in made.log for name in entry.names if entry.step == "collapse similar")
    assert set(gone) == set(before) - set(after)
    for term, stays in gone.items():
        assert term in set(carried["child"]), "roots stay"
        assert len(before[term] & before[stays]) / len(before[term] | before[stays]) >= jaccard - 1e-9
    assert made.collapse_similar(jaccard).terms.index.equals(made.terms.index)


def test_a_chain_of_likes_is_not_one_term():
    """a ~ b and b ~ c, but a and c are not alike: b leaves beside a, and c stays."""
    genes = {"a": range(10), "b": range(1, 10), "c": range(2, 9), "top": range(40)}
    ontology = Ontology(
        pd.DataFrame({"name": dict.fromkeys(genes, "")}),
        pd.DataFrame([(term, "top", "is_a") for term in "abc"], columns=["child", "parent", "type"]),
        pd.DataFrame([(f"G{gene}", term) for term, own in genes.items() for gene in own], columns=["gene", "term"]),
    )
    assert list(ontology.collapse_similar(0.75).terms.index) == ["a", "c", "top"]
    with pytest.raises(ValueError, match=r"jaccard is 1\.5; it is a share above 0"):
        ontology.collapse_similar(1.5)

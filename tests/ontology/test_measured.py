"""Measured features by number: loops as oracle, the wirings of before, and growth with the size of a genome."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.genome import layered, variants
from vnn._errors import OntologyError
from vnn.models import VisibleNetwork
from vnn.ontology import load_ontology
from vnn.ontology.measured import Measured

GENES = st.lists(st.sampled_from("ABCD"), max_size=4)


@given(st.dictionaries(st.text("xyzé", min_size=1, max_size=3), GENES, max_size=8))
def test_pairs_are_those_of_the_mapping_each_once(features):
    measured = Measured.of(features)
    pairs = list(zip(measured.names[measured.feature], measured.genes[measured.gene], strict=True))
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == {(name, gene) for name, genes in features.items() for gene in genes}
    assert measured.names.tolist() == sorted(features)
    assert measured.genes.tolist() == list(dict.fromkeys(gene for genes in features.values() for gene in genes))
    among = np.array([gene in "AC" for gene in measured.genes], dtype=bool)
    wanted = [len(set(features[name]) & set("AC")) for name in measured.names]
    assert measured.n_genes(among).tolist() == wanted


def test_listed_features_are_their_own_genes():
    measured = Measured.of(["b", "a"])
    assert measured.names.tolist() == ["a", "b"]
    assert measured.genes[measured.gene].tolist() == ["a", "b"]
    with pytest.raises(OntologyError, match="1 features are there twice: 'a'"):
        Measured.of(["a", "b", "a"])


WIRINGS = {
    "gene level": ({"gene_level": True}, "398df49645b220e7", "39351cfe99f5d890"),
    "straight to terms": ({}, "b1f384cb205d0264", "39351cfe99f5d890"),
    "copies": ({"skips": "copies"}, "0a411586bcafdc6c", "39351cfe99f5d890"),
    "residual and free": (
        {"gene_level": True, "residual": True, "free": 1, "skips": "copies"},
        "24db20a15d175652",
        "5a3cbab0186e90e3",
    ),
}


@pytest.mark.parametrize("name", WIRINGS)
def test_wirings_and_logs_are_those_made_by_loops_over_names(name):
    """Pinned to what the loops made that came before, on variants in genes of which some are unknown or in no term."""
    ontology = load_ontology("human-small")
    features = variants(900, [*ontology.genes[::2], *(f"unknown {i}" for i in range(30))]) | {"bare": ()}
    options, fingerprint, log = WIRINGS[name]
    topology = ontology.topology(features, **options)
    assert topology.fingerprint[:16] == fingerprint
    told = json.dumps([entry.to_json() for entry in topology.log]).encode()
    assert hashlib.sha256(told).hexdigest()[:16] == log


def fastest(call: Callable[[], object], rounds: int = 3) -> float:
    times = []
    for _ in range(rounds):
        started = time.process_time()
        call()
        times.append(time.process_time() - started)
    return min(times)


@pytest.mark.slow
def test_a_genome_is_wired_in_linear_time():
    """A quarter, half and all of 1,000,000 variants in 20,000 genes: wiring and network. Quadratic time would grow by 2."""
    ontology = layered(20_000, 900)
    found = []
    for n in (250_000, 500_000, 1_000_000):
        features = variants(n, list(ontology.genes))
        topology = ontology.topology(features, gene_level=True)
        assert [len(level) for level in topology.levels] == [n, 20_000, 300, 7], "the middle level is that below"
        found.append(
            [
                fastest(lambda features=features: ontology.topology(features, gene_level=True)),
                fastest(lambda topology=topology: VisibleNetwork(topology)),
            ]
        )
    growth = np.array(found[1:]) / np.array(found[:-1]) / 2
    assert (growth <= 1.7).all(), f"time over size, from a quarter to half and from half to all: {growth.round(2)}"

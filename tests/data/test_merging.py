"""Several features of a gene: brought together by a rule, every one of them accounted for."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vnn._errors import AlignmentError
from vnn.data.merging import merge_features
from vnn.data.samples import Samples

NAN = math.nan
PROBES = {
    "p1": [1.0, 2.0, NAN],
    "p2": [3.0, NAN, NAN],
    "p3": [5.0, 6.0, 9.0],
    "p4": [0.5, 0.25, 0.125],
    "p5": [7.0, 8.0, 8.0],
}
GENES = {"p1": ("A",), "p2": ("A",), "p3": ("B", "A"), "p4": (), "p5": ("C", "C"), "p9": ("D",)}


@pytest.fixture
def samples() -> Samples:
    return Samples.from_frame(pd.DataFrame(PROBES, index=list("abc")), dtype="float64")


def by_hand(genes: dict[str, tuple[str, ...]], rule: str) -> dict[str, list[float]]:
    """Merged values from plain loops over lists."""
    expected: dict[str, list[float]] = {}
    for name in PROBES:
        for gene in genes.get(name) or (name,):
            members = [other for other in PROBES if gene in (genes.get(other) or (other,))]
            if rule == "max-variance":

                def spread(member: str) -> float:
                    there = [value for value in PROBES[member] if not math.isnan(value)]
                    return statistics.pvariance(there) if there else -1

                expected[gene] = PROBES[max(sorted(members), key=spread)]
                continue
            expected[gene] = []
            for sample in range(3):
                there = [PROBES[m][sample] for m in members if not math.isnan(PROBES[m][sample])]
                total = sum(there) if there else NAN
                expected[gene].append(total / max(len(there), 1) if rule == "mean" else total)
    return expected


@pytest.mark.parametrize("rule", ["mean", "sum", "max-variance"])
def test_values_are_those_by_hand(samples: Samples, rule: str) -> None:
    merged = merge_features(samples, GENES, rule)
    assert merged.samples.features == ("A", "B", "p4", "C")
    assert merged.genes == {"A": ("A",), "B": ("B",), "p4": (), "C": ("C",)}
    expected = by_hand(GENES, rule)
    for name, row in zip(merged.samples.features, merged.samples.values, strict=True):
        np.testing.assert_allclose(row, expected[name], rtol=1e-15)


@given(
    genes=st.dictionaries(
        st.sampled_from(list(PROBES)), st.lists(st.sampled_from("ABCD"), max_size=3, unique=True).map(tuple), min_size=1
    ).filter(lambda genes: any(genes.values())),
    rule=st.sampled_from(["mean", "sum", "max-variance"]),
)
@settings(max_examples=60, deadline=None)
def test_any_mapping_gives_the_values_by_hand(genes: dict[str, tuple[str, ...]], rule: str) -> None:
    given_samples = Samples.from_frame(pd.DataFrame(PROBES, index=list("abc")), dtype="float64")
    merged = merge_features(given_samples, genes, rule)
    expected = by_hand(genes, rule)
    assert set(merged.samples.features) == set(expected)
    for name, row in zip(merged.samples.features, merged.samples.values, strict=True):
        np.testing.assert_allclose(row, expected[name], rtol=1e-12)


def test_separate_leaves_the_features_as_they_are(samples: Samples) -> None:
    merged = merge_features(samples, GENES, "separate")
    np.testing.assert_array_equal(merged.samples.values, samples.values)
    assert merged.samples.features == samples.features
    assert merged.genes == {"p1": ("A",), "p2": ("A",), "p3": ("B", "A"), "p4": (), "p5": ("C",)}


def test_everything_is_counted_and_named(samples: Samples) -> None:
    log = merge_features(samples, GENES, "max-variance").samples.log
    assert log == (
        "merge_features: 5 features became 4 by 'max-variance'",
        "merge_features: 1 genes are measured by several features: 'A (3)'",
        "merge_features: 1 features stand for several genes and contribute to each: 'p3 (B, A)'",
        "merge_features: 1 features stand for no gene and stay as they are: 'p4'",
        "merge_features: 1 names in `genes` are no feature of these samples: 'p9'",
        "merge_features: 2 features vary less, over all samples and held-out ones among them, than another one of each of "
        "their genes; left out: 'p1', 'p2'",
    )
    assert samples.log == ()


def test_a_gene_of_one_feature_keeps_its_bits() -> None:
    values = np.random.default_rng(0).normal(size=(4, 50)).astype(np.float32)
    frame = pd.DataFrame(values, index=list("abcd")).rename(columns=str)
    one = Samples.from_frame(frame)
    for rule in ("mean", "sum", "max-variance"):
        merged = merge_features(one, {name: (f"G{name}",) for name in one.features}, rule)
        np.testing.assert_array_equal(merged.samples.values, one.values)
        assert merged.samples.values.dtype == np.float32


def test_equal_variance_takes_the_first_by_name() -> None:
    for order in (["q", "p"], ["p", "q"]):
        frame = pd.DataFrame({"q": [0.0, 1.0], "p": [3.0, 2.0]}, index=["a", "b"])[order]
        merged = merge_features(Samples.from_frame(frame), {"p": ("A",), "q": ("A",)}, "max-variance")
        assert merged.samples.values.tolist() == [[3.0, 2.0]]


def test_one_sample_and_one_feature() -> None:
    one = Samples.from_frame(pd.DataFrame({"p": [2.0]}, index=["a"]))
    for rule in ("mean", "sum", "max-variance", "separate"):
        assert merge_features(one, {"p": ("A",)}, rule).samples.values.tolist() == [[2.0]]


def test_what_cannot_be_merged_is_refused(samples: Samples) -> None:
    with pytest.raises(AlignmentError, match=r"none of the 5 features has a gene: they look like 'p1', 'p2', 'p3'"):
        merge_features(samples, {}, "mean")
    with pytest.raises(AlignmentError, match="none of the 5 features"):
        merge_features(samples, {"x": ("A",)}, "mean")
    with pytest.raises(TypeError, match=r"single text: 'p1'.*\['TP53'\]"):
        merge_features(samples, {"p1": "TP53"}, "mean")
    with pytest.raises(AlignmentError, match=r"1 features of no gene have the name of a gene.*'p2'"):
        merge_features(samples, {"p1": ("p2",)}, "mean")
    with pytest.raises(ValueError, match=r"rule is 'means'; known are .*Did you mean 'mean'"):
        merge_features(samples, GENES, "means")

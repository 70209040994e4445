"""Samples: found by name, refused where names or numbers are wrong."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vnn._errors import AlignmentError
from vnn.data.samples import Samples


def table(ids: str, **columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame(columns, index=list(ids))


@pytest.fixture
def samples() -> Samples:
    frame = pd.DataFrame({"TP53": [1.0, 2.0, 3.0], "EGFR": [4.0, np.nan, 6.0]}, index=list("abc"))
    return Samples.from_frame(
        frame, targets=table("cba", sick=["no", "yes", "no"]), covariates=table("abc", age=[1, 2, 3])
    )


def test_values_are_feature_major_and_read_only(samples: Samples) -> None:
    assert samples.values.dtype == np.float32
    assert samples.values.flags.c_contiguous
    np.testing.assert_array_equal(samples.values, np.float32([[1, 2, 3], [4, np.nan, 6]]))
    with pytest.raises(ValueError, match="read-only"):
        samples.values[0, 0] = 9


def test_tables_are_joined_by_name(samples: Samples) -> None:
    assert samples.targets["sick"].to_dict() == {"a": "no", "b": "yes", "c": "no"}
    assert list(samples.targets.index) == list(samples.groups.index) == ["a", "b", "c"]
    assert samples.groups.shape == (3, 0)


def test_samples_in_columns_are_the_same_samples(samples: Samples) -> None:
    turned = Samples.from_frame(samples.to_frame().T, samples_in="columns")
    np.testing.assert_array_equal(turned.values, samples.values)
    assert (turned.features, turned.ids) == (samples.features, samples.ids)


def test_frame_and_array_of_the_user_stay_as_they_were() -> None:
    frame = pd.DataFrame({"g": [1.0, 2.0]}, index=["a", "b"])
    Samples.from_frame(frame, dtype="float64")
    frame.loc["a", "g"] = 5.0
    values = np.zeros((1, 2))
    empty = pd.DataFrame(index=["a", "b"])
    samples = Samples(values, ("g",), ("a", "b"), empty, empty, empty)
    values[0, 0] = 7
    assert samples.values[0, 0] == 0


def test_select_returns_the_order_asked_for(samples: Samples) -> None:
    chosen = samples.select(features=["EGFR", "TP53"], ids=["c", "a"])
    np.testing.assert_array_equal(chosen.values, np.float32([[6, 4], [3, 1]]))
    assert chosen.features == ("EGFR", "TP53")
    assert list(chosen.covariates["age"]) == [3, 1]
    assert chosen.log == ()


def test_select_adds_missing_features_as_nan_and_says_so(samples: Samples) -> None:
    chosen = samples.select(features=["MYC", "TP53"], missing="nan")
    assert np.isnan(chosen.values[0]).all()
    np.testing.assert_array_equal(chosen.values[1], samples.values[0])
    assert chosen.log == ("select: 1 of 2 features are not measured and became missing values: 'MYC'",)


def test_select_names_absent_features_and_both_kinds_of_identifier(samples: Samples) -> None:
    with pytest.raises(
        AlignmentError, match=r"lacks 1 of the 2 features asked for: 'ENSG1'.*here they look like 'TP53'"
    ):
        samples.select(features=["ENSG1", "TP53"])


def test_absent_samples_are_always_an_error(samples: Samples) -> None:
    with pytest.raises(AlignmentError, match=r"lacks 1 of the 2 samples asked for: 'z'"):
        samples.select(ids=["a", "z"], missing="nan")
    with pytest.raises(ValueError, match="known are 'error', 'nan'"):
        samples.select(missing="mean")


def test_one_text_is_not_a_list_of_names(samples: Samples) -> None:
    with pytest.raises(TypeError, match=r"single text 'TP53'"):
        samples.select(features="TP53")


def test_index(samples: Samples) -> None:
    np.testing.assert_array_equal(samples.index(["c", "a"]), [2, 0])


names = st.lists(st.text("abcdefgh", min_size=1, max_size=3), min_size=1, max_size=8, unique=True)


@given(features=names, ids=names, data=st.data())
def test_select_is_indexing_by_name(features: list[str], ids: list[str], data: st.DataObject) -> None:
    frame = pd.DataFrame(np.arange(len(ids) * len(features), dtype=float).reshape(len(ids), -1), ids, features)
    wanted = data.draw(st.permutations(features)), data.draw(st.permutations(ids))
    chosen = Samples.from_frame(frame).select(*wanted)
    np.testing.assert_array_equal(chosen.to_frame(), frame.loc[list(wanted[1]), list(wanted[0])])


def test_repeated_names_are_refused_and_named() -> None:
    frame = pd.DataFrame(np.zeros((8, 1)), index=list("aabbccdd"), columns=["g"])
    with pytest.raises(AlignmentError, match=r"4 of the sample ids occur more than once: 'a', 'b', 'c', 'd'"):
        Samples.from_frame(frame)
    with pytest.raises(AlignmentError, match=r"1 of the features occur more than once: 'g'"):
        Samples.from_frame(pd.DataFrame(np.zeros((1, 2)), index=["a"], columns=["g", "g"]))


def test_infinite_values_are_refused_and_named() -> None:
    frame = pd.DataFrame({"TP53": [1.0, np.inf], "EGFR": [1e300, 2.0]}, index=["a", "b"])
    with pytest.raises(ValueError, match=r"2 values are infinite or beyond.*float32: 'TP53 in b', 'EGFR in a'"):
        Samples.from_frame(frame)


def test_cells_that_are_no_numbers_are_named() -> None:
    frame = pd.DataFrame({"TP53": ["1.5", "high", None]}, index=list("abc"))
    with pytest.raises(ValueError, match=r"1 cells are not numbers: 'high' \(row 'b', column 'TP53'\)"):
        Samples.from_frame(frame)


def test_unmatched_samples_are_counted_on_each_side_and_may_be_dropped() -> None:
    frame = pd.DataFrame({"g": np.arange(7.0)}, index=list("abcdefg"))
    targets = table("fgxa", y=[1, 2, 3, 4])
    with pytest.raises(AlignmentError) as caught:
        Samples.from_frame(frame, targets=targets)
    message = str(caught.value)
    assert "4 samples of the values are not in targets: 'b', 'c', 'd', 'e'" in message
    assert "1 samples of targets are not in the values: 'x'" in message
    assert 'unmatched="drop"' in message

    samples = Samples.from_frame(frame, targets=targets, unmatched="drop")
    assert samples.ids == ("a", "f", "g")
    np.testing.assert_array_equal(samples.values, [[0, 5, 6]])
    assert list(samples.targets["y"]) == [4, 1, 2]
    assert len(samples.log) == 2


def test_tables_without_a_common_sample_are_an_error_even_when_dropping() -> None:
    frame = pd.DataFrame({"g": [0.0]}, index=["TCGA-02-0001-01A"])
    with pytest.raises(AlignmentError, match=r"no sample is in all tables.*'TCGA-02-0001-01A'; targets 'TCGA-02-0001'"):
        Samples.from_frame(frame, targets=pd.DataFrame({"y": [1]}, index=["TCGA-02-0001"]), unmatched="drop")


def test_shape_and_type_of_values_are_checked() -> None:
    empty = pd.DataFrame(index=["a"])
    with pytest.raises(ValueError, match="feature-major"):
        Samples(np.zeros((1, 2)), ("g", "h"), ("a",), empty, empty, empty)
    with pytest.raises(TypeError, match="int64"):
        Samples(np.zeros((1, 1), dtype=np.int64), ("g",), ("a",), empty, empty, empty)


def test_repr_counts(samples: Samples) -> None:
    assert repr(samples) == "Samples(2 features in 3 samples; targets: sick, covariates: age)"

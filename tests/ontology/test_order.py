"""Names in order as Python sorts them, whichever way they are compared."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vnn.ontology.order import LONGEST, each_once, in_order, ranks

TEXT = st.one_of(
    st.text("ab1\0", max_size=5), st.text(max_size=4), st.text("ab", min_size=LONGEST - 1, max_size=LONGEST + 1)
)


@given(st.lists(TEXT, max_size=30))
def test_order_and_ranks_are_those_of_sorted(names):
    order = in_order(names)
    assert [names[i] for i in order] == sorted(names)
    assert order.tolist() == sorted(range(len(names)), key=names.__getitem__), "equal names stay as they stand"
    assert ranks(names).tolist() == [sorted(set(names)).index(name) for name in names]


@pytest.mark.parametrize(
    "ids", [["rs10", "rs9", "rs1"], ["1:9:A:G", "1:10:A:G", "X:1:A:G"], ["é", "e", "z"], [3, 1, 20]]
)
def test_an_array_of_names_is_sorted_too(ids):
    assert [ids[i] for i in in_order(np.array(ids, dtype=object))] == sorted(ids)


@given(st.lists(st.integers(-3, 3)))
def test_numbers_each_once(numbers):
    assert each_once(np.array(numbers, dtype=np.int64)).tolist() == pd.unique(pd.Series(sorted(numbers))).tolist()

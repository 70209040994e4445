from __future__ import annotations

from vnn.ontology import Entry


def test_an_entry_sorts_counts_and_comes_back_from_json():
    entry = Entry.of("restrict", "genes", ["B", "A"], "dropped: they are not measured")
    assert (entry.names, entry.count) == (("A", "B"), 2)
    record = entry.to_json()
    assert Entry(**{**record, "names": tuple(record["names"])}) == entry
    assert str(entry) == "restrict: 2 genes dropped: they are not measured: 'A', 'B'"

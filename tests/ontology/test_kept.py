"""Wirings kept in the cache: the same as made anew, never stale, never needed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import vnn.ontology.kept as kept
from vnn.ontology import load_ontology, load_topology

SETS = "a\tx\tTP53\tEGFR\tBAX\nb\tx\tBAX\tEGFR\n"
GENES = ["BAX", "EGFR", "TP53", "nowhere"]


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VNN_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "sets.gmt"
    path.write_text(SETS)
    return path


def held(sets: Path) -> list[Path]:
    return sorted((sets.parent / "cache" / "topologies").glob("*.npz"))


def never(*_: object, **__: object) -> None:
    raise AssertionError("the ontology was read again")


def test_the_second_time_nothing_is_read_and_everything_is_the_same(sets, monkeypatch):
    made = load_topology(sets, GENES, min_genes=1)
    monkeypatch.setattr(sys.modules["vnn.ontology.catalogue"], "read_gmt", never)
    again = load_topology(sets, GENES, min_genes=1)
    assert len(held(sets)) == 1
    assert again.fingerprint == made.fingerprint
    assert again.log == made.log
    assert again.names == made.names
    assert [dict(record) for record in again.provenance] == [dict(record) for record in made.provenance]


def test_it_is_what_the_ontology_wires(sets):
    for options in ({"min_genes": 1}, {"min_genes": 1, "gene_level": True}, {"min_genes": 1, "free": 2}):
        for _ in range(2):
            found = load_topology(sets, GENES, **options)
            assert found.fingerprint == load_ontology(sets).topology(GENES, **options).fingerprint
    assert len(held(sets)) == 3


def test_whatever_decides_it_makes_another(sets):
    load_topology(sets, GENES, min_genes=1)
    load_topology(sets, GENES[::-1], min_genes=1)
    load_topology(sets, {"probe": ("BAX",), "other": ("EGFR", "TP53")}, min_genes=1)
    load_topology(sets, GENES, min_genes=2)
    assert len(held(sets)) == 4
    sets.write_text(SETS + "c\tx\tBAX\tTP53\n")
    assert "c" in load_topology(sets, GENES, min_genes=1).level("level 1").nodes
    assert len(held(sets)) == 5


def test_a_damaged_file_is_made_anew(sets):
    made = load_topology(sets, GENES, min_genes=1)
    (file,) = held(sets)
    file.write_bytes(file.read_bytes()[:200])
    assert load_topology(sets, GENES, min_genes=1).fingerprint == made.fingerprint
    assert load_topology(sets, GENES, min_genes=1).fingerprint == made.fingerprint


def test_a_disk_that_takes_nothing_costs_time_only(sets):
    (sets.parent / "cache").write_text("a file where the folder should be")
    assert load_topology(sets, GENES, min_genes=1).inputs == ("BAX", "EGFR", "TP53")


def test_a_warning_is_said_every_time(sets):
    sets.write_text("many\tx\t" + "\t".join(["TP53", *(f"G{i}" for i in range(30))]) + "\n")
    strangers = ["TP53", *(f"ENSG{i:011d}" for i in range(20))]
    for _ in range(2):
        with pytest.warns(UserWarning, match="only 1 of 21 measured genes"):
            load_topology(sets, strangers, min_genes=1)
    assert not held(sets)


def test_the_ones_used_longest_ago_leave(sets, monkeypatch):
    monkeypatch.setattr(kept, "MOST", 2)
    for at, n in enumerate((1, 2)):
        load_topology(sets, GENES, min_genes=n)
        for file in held(sets):
            if file.stat().st_mtime > 1000:
                os.utime(file, (at, at))
    first = min(held(sets), key=lambda path: path.stat().st_mtime)
    load_topology(sets, GENES, min_genes=1)  # used again, so it is not the oldest any more
    load_topology(sets, GENES, min_genes=1, free=1)
    assert len(held(sets)) == 2
    assert first in held(sets)

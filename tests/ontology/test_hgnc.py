"""HGNC's table: its numbers by the csv module, its flaws, and the copy kept in the user's cache."""

from __future__ import annotations

import csv
import gzip
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from vnn._errors import OntologyError
from vnn.ontology import hgnc
from vnn.ontology.hgnc import read_hgnc

HEADER = "symbol\tprev_symbol\talias_symbol\tentrez_id\tensembl_gene_id\tuniprot_ids\tstatus"
ROWS = ['B\t"OLD|SHARED"\t\t2\tENSG00000000002\tP22222|P11111\tApproved', "A\tSHARED\tnick\t1\t\tP11111\tApproved"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("VNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hgnc, "WORTH_KEEPING", 1)
    return tmp_path / "cache" / "hgnc"


def written(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "hgnc.txt"
    path.write_text("\n".join([header, *rows, ""]))
    return path


def test_names_lead_to_the_sorted_genes_that_have_them(tmp_path):
    table = read_hgnc(written(tmp_path, *ROWS))
    assert table.genes_by("prev_symbol") == {"OLD": ("B",), "SHARED": ("A", "B")}
    assert table.genes_by("uniprot_ids") == {"P22222": ("B",), "P11111": ("A", "B")}
    assert table.genes_by("ensembl_gene_id") == {"ENSG00000000002": ("B",)}
    assert table.genes_by("mgd_id") == {}
    assert table.log == ()


def test_genes_that_are_not_approved_leave_and_are_named(tmp_path):
    table = read_hgnc(written(tmp_path, *ROWS, "A\tGONE\t\t9\t\t\tEntry Withdrawn"))
    assert table.columns["symbol"] == ("B", "A")
    assert [str(entry) for entry in table.log] == ["hgnc: 1 genes left out: their status is not Approved: 'A'"]


@pytest.mark.parametrize(
    ("rows", "header", "what", "place"),
    [
        (ROWS, HEADER.replace("symbol\tprev", "name\tprev"), "lacks the columns 'symbol'; hgnc_complete_set.txt", "1"),
        ([*ROWS, "C\tx"], HEADER, "2 cells where the header has 7: 'C", "4"),
        ([*ROWS, ROWS[0]], HEADER, "empty or there twice: 'B'", ""),
        ([ROWS[0][1:]], HEADER, "empty or there twice: ''", ""),
        ([], HEADER, "a header and no approved gene", ""),
    ],
)
def test_a_flawed_table_is_refused_with_its_place(tmp_path, rows, header, what, place):
    with pytest.raises(OntologyError, match=what) as caught:
        read_hgnc(written(tmp_path, *rows, header=header))
    assert caught.value.__notes__ == ["reading hgnc.txt" + (f", line {place}" if place else "")]


def test_a_page_saved_as_the_table_is_refused(tmp_path):
    with pytest.raises(OntologyError, match="is an HTML page"):
        read_hgnc(written(tmp_path, header="<!DOCTYPE html><html>not found</html>"))


def same(table, other) -> bool:
    return (table.columns, table.provenance, table.log) == (other.columns, other.provenance, other.log)


def test_the_second_reading_comes_from_the_cache(tmp_path, cache, monkeypatch):
    path = written(tmp_path, *ROWS, "Z\t\t\t9\t\t\tEntry Withdrawn")
    first = read_hgnc(path)
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(hgnc, "_parse", None)
    assert same(read_hgnc(path), first)
    other = path.rename(tmp_path / "other.txt")
    assert read_hgnc(other).provenance["files"][0]["name"] == "other.txt"


def test_a_changed_file_is_another_table(tmp_path):
    assert read_hgnc(written(tmp_path, *ROWS)).columns["symbol"] == ("B", "A")
    assert read_hgnc(written(tmp_path, ROWS[0])).columns["symbol"] == ("B",)


def damages(whole: bytes) -> dict[str, bytes]:
    at = whole.index(b"SHARED")
    return {
        "one letter": whole[:at] + b"Q" + whole[at + 1 :],
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"not an archive",
    }


@pytest.mark.parametrize("damage", ["one letter", "cut", "empty", "text"])
def test_a_damaged_copy_is_made_anew(tmp_path, cache, damage):
    path = written(tmp_path, *ROWS)
    first = read_hgnc(path)
    (kept,) = cache.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(damages(whole)[damage])
    assert same(read_hgnc(path), first)
    assert same(hgnc._recall(kept, path.name, kept.stem), first)


def test_a_copy_of_another_file_or_without_a_true_seal_is_not_believed(tmp_path, cache):
    path = written(tmp_path, *ROWS)
    read_hgnc(path)
    (kept,) = cache.iterdir()
    assert hgnc._recall(kept, path.name, "0" * 64) is None
    with np.load(kept, allow_pickle=False) as file:
        text = file["text"].tobytes().replace(b"SHARED", b"SHAMED")
    np.savez(kept, text=np.frombuffer(text, np.uint8), sha256=np.array("0" * 64))
    assert hgnc._recall(kept, path.name, kept.stem) is None
    assert read_hgnc(path).columns["prev_symbol"] == ("OLD|SHARED", "SHARED")


def test_a_cache_that_cannot_be_written_costs_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VNN_CACHE", str(tmp_path / "file"))
    assert read_hgnc(written(tmp_path, *ROWS)).columns["symbol"] == ("B", "A")


def test_small_tables_are_not_kept(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(hgnc, "WORTH_KEEPING", 3)
    read_hgnc(written(tmp_path, *ROWS))
    assert not cache.exists()


@pytest.mark.slow
def test_two_processes_at_once_keep_one_whole_copy(tmp_path, cache):
    path = written(tmp_path, *(f"G{i}\tOLD{i}\t\t{i}\t\t\tApproved" for i in range(20_000)))
    code = "import sys; from vnn.ontology.hgnc import read_hgnc; print(len(read_hgnc(sys.argv[1]).columns['symbol']))"
    runs = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    assert [run.communicate()[0].strip() for run in runs] == ["20000", "20000"]
    (kept,) = cache.iterdir()
    assert hgnc._recall(kept, path.name, kept.stem) is not None


@pytest.mark.data
def test_the_real_table_is_that_of_the_csv_module_with_the_counts_of_the_data_sheet(real):
    path = real("geneid/hgnc_complete_set.txt.gz")
    columns = read_hgnc(path).columns
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) == 43_882
    for name, cells in columns.items():
        assert cells == tuple(row[name] for row in rows)
    groups = {"protein-coding gene": 19_290, "pseudogene": 14_471, "non-coding RNA": 9_120, "other": 1_001}
    assert Counter(columns["locus_group"]) == groups
    assert set(columns["status"]) == {"Approved"}
    filled = {name: sum(map(bool, columns[name])) for name in ("entrez_id", "ensembl_gene_id", "uniprot_ids")}
    assert filled == {"entrez_id": 43_813, "ensembl_gene_id": 41_244, "uniprot_ids": 20_299}

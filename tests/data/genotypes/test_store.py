"""The packed store: what the source holds, in panels, whole or not there."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vnn.data.genotypes.store as stores
from tests.data.genotypes.test_plink import made
from vnn._errors import GenotypeError
from vnn.data.genotypes import open_store, read_plink, write_store
from vnn.kernels import Packed


def cohort(folder: Path, n_variants: int, n_people: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    dosages = rng.choice([0.0, 1.0, 2.0, np.nan], (n_variants, n_people), p=[0.4, 0.3, 0.2, 0.1]).astype(np.float32)
    return dosages, read_plink(made(folder, dosages))


def dosages_of(store, n_variants: int) -> dict[str, np.ndarray]:
    """The genotypes of every person of a store, by the plain form of `Packed`; and nothing but missing elsewhere."""
    book = torch.tensor([2.0, torch.nan, 1.0, 0.0]).expand(n_variants, 4)
    n = len(store.ids)
    packed = Packed(torch.from_numpy(np.array(store.codes)), torch.arange(store.n_panels), book, n)
    values = packed.values()[:, 0].numpy()
    assert np.isnan(values[:, [not name for name in store.ids]]).all()
    return {name: values[:, at] for at, name in enumerate(store.ids) if name}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 30), st.integers(2, 200), st.integers(0, 2**32 - 1))
def test_every_person_keeps_every_genotype(tmp_path_factory, n_variants, n_people, seed):
    folder = tmp_path_factory.mktemp("store")
    dosages, genotypes = cohort(folder, n_variants, n_people, seed)
    rng = np.random.default_rng(seed)
    ids = rng.permutation(genotypes.ids)
    cut = int(rng.integers(1, n_people))
    for parts in (None, [ids[:cut], ids[cut:]], [ids[:cut]]):
        store = write_store(genotypes, folder / f"store {parts is None} {len(parts or ())}", parts=parts, seed=seed)
        found = dosages_of(store, n_variants)
        assert set(found) == set(genotypes.ids if parts is None else np.concatenate(parts))
        for name, values in found.items():
            np.testing.assert_array_equal(values, dosages[:, genotypes.ids.index(name)])
        for number, part in enumerate(parts or [genotypes.ids]):
            places = store.index(part) // 64
            assert set(places) == set(range(store.parts[number], store.parts[number + 1]))


def test_people_are_dealt_at_random_by_the_seed_alone(tmp_path):
    _, genotypes = cohort(tmp_path, 3, 300)
    first = write_store(genotypes, tmp_path / "a", seed=1)
    again = write_store(genotypes, tmp_path / "b", seed=1)
    other = write_store(genotypes, tmp_path / "c", seed=2)
    assert first.ids == again.ids != other.ids
    assert (tmp_path / "a" / "panels.bin").read_bytes() == (tmp_path / "b" / "panels.bin").read_bytes()
    assert list(first.ids[:64]) != sorted(first.ids[:64])


def test_what_is_there_is_opened_and_what_is_of_others_refused(tmp_path, monkeypatch):
    _, genotypes = cohort(tmp_path, 5, 70)
    write_store(genotypes, tmp_path / "store")
    monkeypatch.setattr(stores, "_deal", lambda *_: pytest.fail("dealt again"))
    assert write_store(genotypes, tmp_path / "store").n_panels == 2
    assert open_store(tmp_path / "store", genotypes).n_panels == 2
    for other in (genotypes.select(genotypes.variants.index[:4]), genotypes.select(ids=genotypes.ids[:65])):
        with pytest.raises(GenotypeError, match="panels of other genotypes"):
            write_store(other, tmp_path / "store")
        with pytest.raises(GenotypeError, match="panels of other genotypes"):
            open_store(tmp_path / "store", other)
    with pytest.raises(GenotypeError, match="dealt in another way"):
        write_store(genotypes, tmp_path / "store", seed=1)
    with pytest.raises(GenotypeError, match=r"holds no panels\.json"):
        open_store(tmp_path)
    with pytest.raises(GenotypeError, match="lacks 1 people: 'nobody'"):
        open_store(tmp_path / "store").index(["p1", "nobody"])


def test_rows_are_repeated_as_often_as_asked(tmp_path, monkeypatch):
    dosages, genotypes = cohort(tmp_path, 31, 75)
    repeats = np.random.default_rng(1).integers(1, 4, 31)
    monkeypatch.setattr(stores, "BLOCK", 100)
    parts = [genotypes.ids[:50], genotypes.ids[50:]]
    store = write_store(genotypes, tmp_path / "store", repeats=repeats, parts=parts, seed=1)
    found = dosages_of(store, int(repeats.sum()))
    for name, values in found.items():
        np.testing.assert_array_equal(values, np.repeat(dosages[:, genotypes.ids.index(name)], repeats))
    again = open_store(tmp_path / "store", genotypes)
    assert again.repeated(repeats)
    assert not again.repeated(repeats[::-1])
    assert not again.repeated(np.ones(31, dtype=int))
    rows, _ = again.rows()
    assert rows.shape == (64 * store.n_panels, -(-int(repeats.sum()) // 4))
    with pytest.raises(GenotypeError, match="dealt in another way"):
        write_store(genotypes, tmp_path / "store", parts=parts, seed=1)
    once = write_store(genotypes, tmp_path / "once", repeats=np.ones(31, dtype=int), seed=1)
    assert once.identity == write_store(genotypes, tmp_path / "plain", seed=1).identity
    with pytest.raises(GenotypeError, match="31 numbers from 0 on for 31 variants"):
        write_store(genotypes, tmp_path / "none", repeats=repeats - 1)


def test_a_person_in_two_parts_is_refused(tmp_path):
    _, genotypes = cohort(tmp_path, 2, 10)
    with pytest.raises(GenotypeError, match=r"1 people are in two parts: 'p3'"):
        write_store(genotypes, tmp_path / "store", parts=[["p1", "p3"], ["p3"]])


def killed_after(n: int, prefix: Path, folder: Path) -> None:
    def stop(done: int, _: int) -> None:
        if done >= n:
            os._exit(9)

    stores.MARK_SECONDS, stores.BLOCK = 0.0, 40
    write_store(read_plink(prefix), folder, tell=lambda done, total: stop(done - 2, total))


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(tmp_path, monkeypatch):
    _, genotypes = cohort(tmp_path, 31, 75)
    whole = write_store(genotypes, tmp_path / "whole")
    folder = tmp_path / "killed"
    process = multiprocessing.get_context("spawn").Process(target=killed_after, args=(10, tmp_path / "made", folder))
    process.start()
    process.join()
    assert process.exitcode == 9
    assert not (folder / "panels.bin").exists()
    done = json.loads((folder / "progress.json").read_text())["variants"]
    assert 10 <= done < 31
    monkeypatch.setattr(stores, "BLOCK", 40)
    told = []
    again = write_store(genotypes, folder, tell=lambda done, _: told.append(done))
    assert min(told) > done
    np.testing.assert_array_equal(again.codes, whole.codes)
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "panels.bin", "panels.json"]


def test_a_begun_store_of_others_is_begun_anew(tmp_path):
    _, genotypes = cohort(tmp_path, 9, 75)
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "panels.part").write_bytes(b"\xff" * (2 * 9 * 16))
    (folder / "progress.json").write_text(json.dumps({"identity": "another", "variants": 9}))
    store = write_store(genotypes, folder)
    np.testing.assert_array_equal(store.codes, write_store(genotypes, tmp_path / "fresh").codes)


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    _, genotypes = cohort(tmp_path, 9, 75)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space") as caught:
        write_store(genotypes, tmp_path / "store")
    assert "needs 288 bytes for the panels" in caught.value.__notes__[0]
    assert [path.name for path in (tmp_path / "store").iterdir()] == [".lock"]


def test_a_source_that_changes_is_an_error(tmp_path):
    _, genotypes = cohort(tmp_path, 9, 75)
    with pytest.raises(GenotypeError, match="changed while"):
        write_store(genotypes, tmp_path / "store", tell=lambda *_: os.utime(tmp_path / "made.bed", ns=(1, 1)))
    assert [path.name for path in (tmp_path / "store").iterdir()] == [".lock"]
    with pytest.raises(FileNotFoundError) as caught:
        write_store(genotypes, tmp_path / "store", tell=lambda *_: (tmp_path / "made.bed").unlink())
    assert "vanished" in caught.value.__notes__[0]


def test_wrong_panels_are_noticed(tmp_path, monkeypatch):
    _, genotypes = cohort(tmp_path, 9, 75)
    right = stores._deal

    def one_wrong(rows, columns, order, out):
        right(rows, columns, order, out)
        out[0, 4, 3] ^= 0b11

    monkeypatch.setattr(stores, "_deal", one_wrong)
    with pytest.raises(GenotypeError, match=r"panels of 1 variants do not hold what the source holds: 'rs4'"):
        write_store(genotypes, tmp_path / "store")

    def two_people_exchanged(rows, columns, order, out):
        exchanged = order.copy()
        exchanged[[0, 1]] = exchanged[[1, 0]]
        right(rows, columns, exchanged, out)

    monkeypatch.setattr(stores, "_deal", two_people_exchanged)
    with pytest.raises(GenotypeError, match=r"panels of 2 people do not hold"):
        write_store(genotypes, tmp_path / "other")


def test_a_cut_store_is_noticed(tmp_path):
    _, genotypes = cohort(tmp_path, 9, 75)
    write_store(genotypes, tmp_path / "store")
    file = tmp_path / "store" / "panels.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(GenotypeError, match="has 287 bytes; 2 panels of 9 rows of variants need 288"):
        open_store(tmp_path / "store")

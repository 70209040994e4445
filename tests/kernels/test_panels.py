"""Packed genotypes against codes taken apart one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vnn._errors import KernelError
from vnn.kernels import backend, cpu
from vnn.kernels.panels import code_counts, gather_panels, panels_of, person_counts, transposed

BACKENDS = ["reference", pytest.param("cpu", marks=pytest.mark.compiler)]
SIZES = st.one_of(st.sampled_from([0, 1, 3, 4, 63, 64, 65, 127, 129, 1023, 1025, 4097]), st.integers(0, 700))


@pytest.fixture(params=BACKENDS, autouse=True)
def each_backend(request: pytest.FixtureRequest) -> Iterator[None]:
    with backend(request.param):
        yield


def code(array: np.ndarray, index: tuple[np.ndarray, ...]) -> np.ndarray:
    """Codes by their definition; the last of `index` counts codes."""
    *before, j = np.broadcast_arrays(*index)
    return (array[(*before, j // 4)] >> (2 * (j % 4)).astype(np.uint8)) & 3


def codes_of(rows: np.ndarray, n: int) -> np.ndarray:
    return code(rows, (np.arange(len(rows))[:, None], np.arange(n)[None]))


def codes_of_panels(panels: np.ndarray) -> np.ndarray:
    """(n_variants, 64 * n_panels)"""
    person = np.arange(64 * len(panels))[None]
    return code(panels, (person // 64, np.arange(panels.shape[1])[:, None], person % 64))


def counts(codes: np.ndarray, axis: int) -> np.ndarray:
    return np.stack([np.count_nonzero(codes == each, axis=axis) for each in range(4)], axis=1)


def random_rows(n_rows: int, n: int, seed: int, apart: int = 0, turned: bool = False) -> np.ndarray:
    """Packed rows with chance in every bit, also after the last code; `apart` bytes lie between them."""
    n_bytes = -(-n // 4)
    rows = np.random.default_rng(seed).integers(0, 256, (n_rows, n_bytes + apart), dtype=np.uint8)
    rows = rows[:, : n_bytes + apart // 2]
    return rows[::-1] if turned else rows


def as_given(rows: np.ndarray, tensor: bool) -> Any:
    return torch.from_numpy(rows.copy()) if tensor else rows


arrangements = st.fixed_dictionaries({"seed": st.integers(0, 99), "apart": st.integers(0, 40), "turned": st.booleans()})


@settings(deadline=None, max_examples=60)
@given(SIZES, SIZES, arrangements, st.booleans())
def test_a_transpose_moves_every_code(n_rows: int, n: int, arranged: dict[str, Any], tensor: bool) -> None:
    rows = random_rows(n_rows, n, **arranged)
    turned = transposed(as_given(rows, tensor), n)
    assert turned.shape == (n, -(-n_rows // 4))
    assert np.array_equal(codes_of(turned.numpy(), n_rows), codes_of(rows, n).T)
    assert not codes_of(turned.numpy(), 4 * turned.shape[1])[:, n_rows:].any()
    assert np.array_equal(codes_of(transposed(turned, n_rows).numpy(), n), codes_of(rows, n))


@settings(deadline=None, max_examples=60)
@given(SIZES, SIZES, SIZES, arrangements, st.booleans(), st.booleans())
def test_panels_are_the_people_asked_for(
    n_variants: int, n: int, n_asked: int, arranged: dict[str, Any], near: bool, tensor: bool
) -> None:
    rows = random_rows(n_variants, n, **arranged)
    asked = np.random.default_rng(arranged["seed"]).integers(0, max(1, n // 10 if near else n), n_asked if n else 0)
    truth = codes_of(rows, n)[:, asked]
    person_rows = random_rows(n, 0, 0, apart=2 * -(-n_variants // 4) + 2)
    transposed(rows, n, out=person_rows)
    for panels in (
        panels_of(as_given(rows, tensor), as_given(asked, tensor)),
        gather_panels(as_given(person_rows, tensor), as_given(asked, tensor), n_variants),
    ):
        assert panels.shape == (-(-len(asked) // 64), n_variants, 16)
        assert panels.dtype == torch.uint8
        codes = codes_of_panels(panels.numpy())
        assert np.array_equal(codes[:, : len(asked)], truth)
        assert not codes[:, len(asked) :].any()


@settings(deadline=None, max_examples=60)
@given(SIZES, SIZES, arrangements, st.sampled_from([None, 0.0, 0.5, 1.0]), st.booleans())
def test_counts_of_rows(n_rows: int, n: int, arranged: dict[str, Any], share: float | None, tensor: bool) -> None:
    rows = random_rows(n_rows, n, **arranged)
    keep = None if share is None else np.random.default_rng(1).random(n) < share
    truth = codes_of(rows, n)
    kept = truth if keep is None else truth[:, keep]
    found = code_counts(as_given(rows, tensor), n, keep=None if keep is None else as_given(keep, tensor))
    assert found.dtype == torch.int64
    assert np.array_equal(found.numpy(), counts(kept, 1))
    assert np.array_equal(person_counts(as_given(rows, tensor), n).numpy(), counts(truth, 0))


@settings(deadline=None, max_examples=60)
@given(SIZES, SIZES, arrangements, st.sampled_from(["panels", "rows", "gaps", "turned"]), st.booleans())
def test_counts_of_panels(n_variants: int, n: int, arranged: dict[str, Any], layout: str, masked: bool) -> None:
    n_panels = -(-n // 64)
    rows = random_rows(n_variants, 64 * n_panels, arranged["seed"])
    panels = rows.reshape(n_variants, n_panels, 16).transpose(1, 0, 2)
    if layout != "rows":
        panels = panels.copy()
    if layout == "gaps":
        held = np.zeros((n_panels, n_variants + 3, 24), dtype=np.uint8)
        held[:, 1 : n_variants + 1, 3:19] = panels
        panels = held[:, 1 : n_variants + 1, 3:19]
    if layout == "turned":
        panels = panels[::-1, ::-1]
    keep = np.random.default_rng(1).random(n) < 0.5 if masked else None
    codes = codes_of_panels(panels)[:, :n]
    found = code_counts(panels, n, keep=keep)
    assert np.array_equal(found.numpy(), counts(codes if keep is None else codes[:, keep], 1))
    assert np.array_equal(person_counts(panels, n).numpy(), counts(codes, 0))


def test_counts_that_fill_every_counter() -> None:
    for byte in (0x00, 0x55, 0xAA, 0xFF):
        rows = np.full((3000, 1100), byte, dtype=np.uint8)
        panels = np.full((200, 130, 16), byte, dtype=np.uint8)
        few = np.full((1, 70000, 16), byte, dtype=np.uint8)
        expected = np.eye(4, dtype=np.int64)[byte & 3]
        assert np.array_equal(code_counts(rows, 4400).numpy(), np.tile(4400 * expected, (3000, 1)))
        assert np.array_equal(person_counts(rows, 4400).numpy(), np.tile(3000 * expected, (4400, 1)))
        assert np.array_equal(code_counts(panels, 12800).numpy(), np.tile(12800 * expected, (130, 1)))
        assert np.array_equal(person_counts(panels, 12800).numpy(), np.tile(130 * expected, (12800, 1)))
        assert np.array_equal(person_counts(few, 64).numpy(), np.tile(70000 * expected, (64, 1)))


def test_every_person_of_a_large_block() -> None:
    rng = np.random.default_rng(2)
    rows = random_rows(530, 70_001, seed=3)
    everyone = rng.permutation(70_001)
    assert np.array_equal(
        codes_of_panels(panels_of(rows, everyone).numpy())[:, :70_001], codes_of(rows, 70_001)[:, everyone]
    )
    people = transposed(rows, 70_001)
    assert np.array_equal(gather_panels(people, everyone, 530).numpy(), panels_of(rows, everyone).numpy())


def test_a_store_is_written_block_by_block(tmp_path: Path) -> None:
    rows = random_rows(600, 301, seed=4)
    np.save(tmp_path / "rows.npy", rows)
    bed = np.load(tmp_path / "rows.npy", mmap_mode="r")
    store = np.lib.format.open_memmap(tmp_path / "store.npy", mode="w+", dtype=np.uint8, shape=(301, 160))
    for a in range(0, 600, 200):
        out = store[:, a // 4 : (a + 200) // 4]
        assert transposed(bed[a : a + 200], 301, out=out) is out
    assert np.array_equal(codes_of(store, 600), codes_of(rows, 301).T)
    assert not store[:, 150:].any()
    asked = np.arange(300, -1, -3)
    panels = np.full((3, 601, 16), 9, dtype=np.uint8)
    half = panels[:2, 1:]
    assert gather_panels(store, asked, 600, out=half) is half
    assert np.array_equal(half, panels_of(bed, asked).numpy())
    assert (panels[2] == 9).all()
    assert (panels[:, 0] == 9).all()
    tensor = torch.zeros(600, 2, 16, dtype=torch.uint8).transpose(0, 1)
    assert panels_of(bed, torch.from_numpy(asked.copy()), out=tensor) is tensor
    assert np.array_equal(tensor.numpy(), half)


@pytest.mark.compiler
def test_threads_and_instruction_sets_change_no_bit() -> None:
    rows = random_rows(1301, 2600, seed=5)
    asked = np.random.default_rng(5).integers(0, 2600, 300)
    keep = np.random.default_rng(6).random(2600) < 0.4

    def everything() -> list[torch.Tensor]:
        people, panels = transposed(rows, 2600), panels_of(rows, np.arange(2600))
        return [
            people, panels, panels_of(rows, asked), gather_panels(people, asked, 1301), code_counts(rows, 2600, keep=keep),
            code_counts(panels, 2600, keep=keep), person_counts(rows, 2600), person_counts(panels, 2600),
        ]  # fmt: skip

    before, threads = cpu.simd(), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        first = everything()
        for simd in ("portable", "emulated", "avx2", "avx512"):
            try:
                cpu.choose_simd(simd)
            except KernelError:
                continue
            for n in (1, 2, 3, 7):
                torch.set_num_threads(n)
                assert all(torch.equal(a, b) for a, b in zip(first, everything(), strict=True)), (simd, n)
    finally:
        cpu.choose_simd(before)
        torch.set_num_threads(threads)


ROWS = np.zeros((8, 4), dtype=np.uint8)
PANELS = np.zeros((2, 8, 16), dtype=np.uint8)
NOBODY = np.zeros(0, dtype=np.int64)
READ_ONLY = np.zeros((16, 2), dtype=np.uint8)
READ_ONLY.flags.writeable = False
WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: transposed(ROWS.astype(np.int8), 16), "`rows` is int8"),
    (lambda: transposed(torch.zeros(8, 4, dtype=torch.bfloat16), 16), "`rows` is torch.bfloat16"),
    (lambda: transposed(torch.zeros(8, 4, dtype=torch.uint8, device="meta"), 16), "meta"),
    (lambda: transposed(torch.zeros(8, 4, dtype=torch.uint8).to_sparse(), 16), "sparse"),
    (lambda: transposed([[0]], 1), "`rows` is a list"),  # type: ignore[call-overload]
    (lambda: transposed(PANELS, 16), "shape"),
    (lambda: transposed(ROWS.T, 16), "contiguous"),
    (lambda: transposed(ROWS, 17), "hold 0 to 16"),
    (lambda: transposed(ROWS, -1), "-1"),
    (lambda: transposed(ROWS, 2.5), "whole number"),  # type: ignore[call-overload]
    (lambda: transposed(ROWS, 16, out=np.zeros((15, 2), np.uint8)), "16 rows of at least 2 bytes"),
    (lambda: transposed(ROWS, 16, out=np.zeros((16, 1), np.uint8)), "16 rows of at least 2 bytes"),
    (lambda: transposed(ROWS, 16, out=READ_ONLY), "read-only"),
    (lambda: transposed(ROWS, 16, out=torch.zeros(1, 2, dtype=torch.uint8).expand(16, 2)), "share memory"),
    (lambda: transposed(ROWS, 2, out=ROWS[:2]), "overlaps"),
    (lambda: panels_of(ROWS, np.array([0, 16])), r"reach from 0 to 16; `rows` of 4 bytes hold 16"),
    (lambda: panels_of(ROWS, np.array([-1])), "reach from -1"),
    (lambda: panels_of(ROWS, np.array([0], dtype=np.int32)), "`people` is int32"),
    (lambda: panels_of(ROWS, NOBODY.reshape(0, 1)), "shape"),
    (lambda: panels_of(ROWS, np.array([0]), out=PANELS), r"\(1, 8, 16\) is needed"),
    (lambda: panels_of(ROWS[:, :0], np.array([0])), "hold 0"),
    (lambda: gather_panels(ROWS, np.array([8]), 16), "reach from 8 to 8"),
    (lambda: gather_panels(ROWS, np.array([2**62]), 16), "reach from"),
    (lambda: gather_panels(ROWS, NOBODY, 17), "`n_variants` is 17"),
    (lambda: code_counts(ROWS, 17), "`n` is 17"),
    (lambda: code_counts(PANELS, 64), "1 panels"),
    (lambda: code_counts(PANELS, 129), "2 panels hold"),
    (lambda: code_counts(PANELS[:, :, :12], 128), "16 bytes"),
    (lambda: code_counts(ROWS, 16, keep=np.ones(15, bool)), "`keep` has 15"),
    (lambda: code_counts(ROWS, 16, keep=np.ones(16, np.uint8)), "`keep` is uint8"),
    (lambda: code_counts(None, 16), "NoneType"),  # type: ignore[arg-type]
    (lambda: person_counts(ROWS, 17), "`n` is 17"),
    (lambda: person_counts(PANELS.transpose(0, 2, 1), 128), "contiguous"),
]


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_what_cannot_be_taken_is_refused(case: int) -> None:
    call, said = WRONG[case]
    with pytest.raises(KernelError, match=said):
        call()


def test_an_older_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with backend("reference"):
        assert len(transposed(ROWS, 3)) == 3
    monkeypatch.setattr(cpu, "library", lambda: object())
    with backend("cpu"), pytest.raises(KernelError, match="lack `vnn_transpose`"):
        transposed(ROWS, 3)

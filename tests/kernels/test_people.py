"""Packed people: any columns of panels or of rows are the numbers of these people."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from vnn._errors import KernelError
from vnn.kernels import PackedPeople
from vnn.kernels.panels import transposed
from vnn.kernels.people import mapped

N_VARIANTS, N_PANELS = 37, 4
BOOK = torch.tensor([2.0, torch.nan, 1.0, 0.0]).expand(N_VARIANTS, 4).contiguous()


@pytest.fixture(params=["panels", "rows"])
def people(request) -> tuple[PackedPeople, np.ndarray]:
    """People at places of their own, and their numbers."""
    rng = np.random.default_rng(1)
    codes = torch.from_numpy(rng.integers(0, 256, (N_PANELS, N_VARIANTS, 16), dtype=np.uint8))
    bits = np.unpackbits(codes.numpy(), axis=2, bitorder="little").reshape(N_PANELS, N_VARIANTS, 64, 2)
    numbers = (
        np.array([2.0, np.nan, 1.0, 0.0])[bits[..., 0] + 2 * bits[..., 1]].transpose(1, 0, 2).reshape(N_VARIANTS, -1)
    )
    place = rng.permutation(64 * N_PANELS)[:150]
    if request.param == "rows":
        codes = torch.cat([transposed(panel, 64) for panel in codes])
    return PackedPeople(codes, BOOK, place, "made up"), numbers[:, place]


def test_columns_are_those_of_the_people_asked_for(people) -> None:
    held, numbers = people
    assert held.shape == numbers.shape
    for at in (slice(None), np.array([5]), torch.tensor([149, 0, 77, 3]), np.arange(64)):
        np.testing.assert_array_equal(
            held[:, at].values()[:, 0].numpy(), numbers[:, np.asarray(at) if not isinstance(at, slice) else at]
        )
    with pytest.raises(KernelError, match="batches hold all of them"):
        held[:5, np.array([1])]


def test_a_sweep_meets_everybody_once(people) -> None:
    held, numbers = people
    seen = np.zeros(numbers.shape[1], dtype=int)
    for batch, columns, at in held.sweep(100):
        np.testing.assert_array_equal(batch.values()[:, 0].numpy()[:, columns], numbers[:, at])
        seen[at] += 1
    assert (seen == 1).all()


def test_whole_panels_are_read_where_they_lie() -> None:
    codes = torch.zeros(N_PANELS, N_VARIANTS, 16, dtype=torch.uint8)
    held = PackedPeople(codes, BOOK, np.arange(64 * N_PANELS), "made up")
    batch = held[:, np.concatenate([np.arange(128, 192), np.arange(0, 64)])]
    assert batch.codes is codes
    assert batch.panels.tolist() == [2, 0]
    assert held[:, np.arange(1, 65)].codes is not codes
    assert held[:, np.arange(64, 100)].codes is codes


def test_gaps_are_told_apart_from_values(people) -> None:
    held, _ = people
    book, gaps = held.books
    assert gaps is not None
    assert torch.equal(gaps[0], torch.tensor([0.0, 1.0, 0.0, 0.0]))
    assert not torch.isnan(book).any()
    whole = held.coded(torch.nan_to_num(BOOK))
    assert whole.books[1] is None


def test_another_process_opens_the_file_itself(tmp_path: Path) -> None:
    codes = np.random.default_rng(2).integers(0, 256, (64, N_VARIANTS, 16), dtype=np.uint8)
    codes.tofile(tmp_path / "panels")
    held = PackedPeople(mapped(tmp_path / "panels", codes.shape), BOOK, np.arange(256), "a file", tmp_path / "panels")
    told = pickle.dumps(held)
    assert len(told) < codes.nbytes / 4, "the codes went along"
    again = pickle.loads(told)
    assert torch.equal(again.codes, held.codes)
    again.expect(np.arange(64))
    with pytest.raises(KernelError, match="do not fit a codebook"):
        PackedPeople(held.codes, BOOK[:5], np.arange(4), "cut")

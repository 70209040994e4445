"""Chance by name: the same numbers whatever was drawn before, in any process."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from vnn.chance import generator, word

DRAW = "from vnn.chance import generator; print(generator(3, 'weights', 'fold 1', 2).standard_normal(4).tolist())"


def test_a_draw_depends_on_its_names_and_nothing_else() -> None:
    first = generator(3, "weights", "fold 1", 2).standard_normal(4)
    generator(3, "weights", "fold 2", 2).standard_normal(100)
    np.random.default_rng(0).random(10)
    assert np.array_equal(first, generator(3, "weights", "fold 1", 2).standard_normal(4))


def test_two_processes_with_other_hash_seeds_draw_the_same() -> None:
    drawn = {
        subprocess.run(
            [sys.executable, "-c", DRAW], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(drawn) == 1


@pytest.mark.parametrize(
    "other",
    [(4, "weights", "fold 1", 2), (3, "split", "fold 1", 2), (3, "weights", "fold 2", 2), (3, "weights", 2, "fold 1")],
)
def test_every_name_counts(other: tuple[int, str, int | str, int | str]) -> None:
    first = generator(3, "weights", "fold 1", 2).standard_normal(4)
    assert not np.array_equal(first, generator(*other).standard_normal(4))


def test_streams_are_unrelated() -> None:
    draws = np.array([generator(0, "weights", f"replicate {i}").standard_normal(2000) for i in range(40)])
    correlation = np.corrcoef(draws)[np.triu_indices(40, 1)]
    assert np.abs(correlation).max() < 0.12
    assert abs(correlation.std() - 1 / np.sqrt(2000)) < 0.003


def test_a_negative_name_is_refused() -> None:
    with pytest.raises(ValueError, match=">= 0"):
        word(-1)

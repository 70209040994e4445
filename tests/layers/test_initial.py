"""Initial weights: the variance of true fan-in, drawn by name."""

from __future__ import annotations

import numpy as np

from vnn.layers import initial_weights

TARGETS = ("p", "q")
UNITS = np.array([1, 2])
GENES = (tuple("abc"), np.array([1, 1, 1]), np.array([[0, 0], [1, 0], [1, 1], [2, 1]]))
TERMS = (("x", "y"), np.array([3, 1]), np.array([[0, 0], [1, 1]]))


def draw(sources: dict, *, targets: tuple[str, ...] = TARGETS, replicates: tuple[str, ...] = ("r", "s")) -> dict:
    return initial_weights("top", targets, UNITS, sources, gain=2.0, seed=1, replicates=replicates)


def test_variance_is_gain_over_incoming_units_of_all_levels() -> None:
    many = tuple(str(i) for i in range(400))
    weights = draw({"genes": GENES, "terms": TERMS}, replicates=many)
    assert weights["genes"].shape == (2 * 1 + 2 * 2, 400)
    assert weights["terms"].shape == (3 + 2, 400)
    into_p = np.concatenate([weights["genes"][:2].ravel(), weights["terms"][:3].ravel()])
    into_q = np.concatenate([weights["genes"][2:].ravel(), weights["terms"][3:].ravel()])
    assert abs(into_p.var() - 4 / 5) < 0.08
    assert abs(into_q.var() - 4 / 3) < 0.12
    assert abs(np.concatenate([into_p, into_q]).mean()) < 0.06


def test_a_replicate_and_a_name_decide_not_the_order() -> None:
    both = draw({"genes": GENES, "terms": TERMS})
    alone = draw({"terms": TERMS, "genes": GENES}, replicates=("s",))
    for level in both:
        assert np.array_equal(both[level][:, [1]], alone[level])
    turned = (tuple("cba"), GENES[1], np.array([[1, 0], [2, 0], [0, 1], [1, 1]]))
    again = draw({"genes": turned, "terms": TERMS})["genes"]
    by_name = {"pb": 0, "pa": 1, "qc": slice(2, 4), "qb": slice(4, 6)}
    mine = {"pa": 0, "pb": 1, "qb": slice(2, 4), "qc": slice(4, 6)}
    for name, at in mine.items():
        assert np.array_equal(both["genes"][at], again[by_name[name]])


def test_replicates_are_unrelated() -> None:
    weights = draw(
        {"genes": (tuple(f"g{i:03}" for i in range(500)), np.ones(500, int), np.array([[i, 0] for i in range(500)]))}
    )
    assert abs(np.corrcoef(weights["genes"].T)[0, 1]) < 0.15

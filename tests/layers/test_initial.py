"""Initial weights: the variance of true fan-in, drawn by name."""

from __future__ import annotations

import numpy as np

from vnn.chance import generator
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


def test_weights_are_drawn_edge_by_edge_in_the_order_of_names() -> None:
    """A loop over edges sorted by name takes the draws one block after the other."""
    rng = np.random.default_rng(0)
    targets = tuple(str(i) for i in range(12))  # "10" comes before "2"
    sizes = {"low": 30, "mid": 11}
    units, sources = rng.integers(1, 4, len(targets)), {}
    for level, n in sizes.items():
        chosen = np.flatnonzero(rng.random(n * len(targets)) < 0.3)
        names = tuple(f"{i}" for i in rng.permutation(40)[:n])  # names of one level come again in the other
        sources[level] = (names, rng.integers(1, 3, n), np.stack([chosen % n, chosen // n], axis=1))
    found = initial_weights("top", targets, units, sources, gain=2.0, seed=1, replicates=("r", "s"))
    blocks = [
        (targets[t], names[s], level, i, int(units[t] * own[s]))
        for level, (names, own, edges) in sources.items()
        for i, (s, t) in enumerate(edges.tolist())
    ]
    fan_in = dict.fromkeys(targets, 0)
    for _, own, edges in sources.values():
        for s, t in edges.tolist():
            fan_in[targets[t]] += int(own[s])
    for r, name in enumerate("rs"):
        normal = generator(1, "weights", name, "top").standard_normal(sum(block[-1] for block in blocks))
        made: dict[tuple[str, int], np.ndarray] = {}
        at = 0
        for target, _, level, i, size in sorted(blocks):
            made[level, i] = normal[at : at + size] * (2.0 / np.sqrt(fan_in[target]))
            at += size
        for level, (_, _, edges) in sources.items():
            assert np.array_equal(found[level][:, r], np.concatenate([made[level, i] for i in range(len(edges))]))

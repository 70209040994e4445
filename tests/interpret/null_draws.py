"""Studies without any effect, and with some: rows of draws with known dependence and tails, for the tests of tests.

`python -m tests.interpret.null_draws 400` measures the tables of docs/stability.md.
"""

from __future__ import annotations

import sys

import numpy as np
from scipy.stats import false_discovery_control

from vnn.chance import generator
from vnn.interpret.significance import any_p, max_t, own_p, pooled_p

SHAPES = (
    "normal",
    "t with 3 df",
    "t with 2 df",
    "half of the nodes t with 2.5 df",
    "log-normal",
    "draws of unlike scale",
)
TIES = ("independent", "blocks of 10", "one factor", "nearly one node")


def rows(seed: int, shape: str, tie: str, n_rows: int, n_nodes: int) -> np.ndarray:
    """Rows that are independent and alike, so that any of them may be the real one."""
    rng = generator(seed, "null draws", shape, tie, n_rows, n_nodes)

    def noise(columns: int) -> np.ndarray:
        size = (n_rows, columns)
        if shape.startswith("t with"):
            return rng.standard_t(float(shape.split()[2]), size)
        if shape == "log-normal":
            return rng.lognormal(0, 1, size) - np.exp(0.5)
        z = rng.standard_normal(size)
        if shape.startswith("half"):
            z[:, : columns // 2] = rng.standard_t(2.5, (n_rows, columns // 2))
        return z

    own = noise(n_nodes)
    if tie == "independent":
        made = own
    elif tie == "blocks of 10":
        made = 0.95 * noise(-(-n_nodes // 10)).repeat(10, axis=1)[:, :n_nodes] + 0.31 * own
    elif tie == "one factor":
        made = 0.7 * noise(1) + 0.7 * own
    else:
        made = 0.99 * noise(1) + 0.14 * own
    return made * np.exp(0.5 * rng.standard_normal((n_rows, 1))) if shape == "draws of unlike scale" else made


def with_itself(real: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Pooled p when every draw is standardised with itself among the draws: what not to do."""
    mean, deviation = null.mean(0), null.std(0, ddof=1)
    pool = np.sort(np.abs((null - mean) / deviation).ravel())
    return (1 + len(pool) - np.searchsorted(pool, np.abs((real - mean) / deviation))) / (1 + len(pool))


def sizes(n_studies: int, shape: str, tie: str, n_draws: int, n_nodes: int) -> dict[str, np.ndarray]:
    """Per way to a p: share of nodes with p <= 0.05, 0.01, 0.001, and of studies with any q <= 0.05."""
    found: dict[str, list[list[float]]] = {}
    for seed in range(n_studies):
        drawn = rows(seed, shape, tie, n_draws + 1, n_nodes)
        real, null = drawn[0], drawn[1:]
        overall = any_p(real, null)
        pooled = pooled_p(real, null)
        adjusted = max_t(real, null)
        ways = {
            "with itself": (p := with_itself(real, null), false_discovery_control(p)),
            "pooled": (pooled, false_discovery_control(pooled)),
            "pooled and any": (pooled, np.maximum(false_discovery_control(pooled), overall)),
            "whole row": (p := pooled_p(real, null, whole_row=True), false_discovery_control(p)),
            "own": (p := own_p(real, null), false_discovery_control(p)),
            "maxT": (adjusted, adjusted),
        }
        for way, (p, q) in ways.items():
            at = [float((p <= a + 1e-12).mean()) for a in (0.05, 0.01, 0.001)]
            found.setdefault(way, []).append([*at, float((q <= 0.05).any())])
    return {way: np.mean(values, axis=0) for way, values in found.items()}


def powers(
    n_studies: int, shape: str, tie: str, n_draws: int, n_nodes: int, *, share: float, shift: float
) -> dict[str, np.ndarray]:
    """Per way to a q <= 0.05: share of shifted nodes called, and mean share of calls that are false."""
    found: dict[str, list[list[float]]] = {}
    shifted = max(round(share * n_nodes), 1)
    for seed in range(n_studies):
        drawn = rows(10_000 + seed, shape, tie, n_draws + 1, n_nodes)
        signs = generator(seed, "signs of shifts").choice([-1, 1], shifted)
        real, null = drawn[0].copy(), drawn[1:]
        real[:shifted] += shift * signs * null.std()
        pooled = false_discovery_control(pooled_p(real, null))
        ways = {
            "pooled": pooled,
            "pooled and any": np.maximum(pooled, any_p(real, null)),
            "whole row": false_discovery_control(pooled_p(real, null, whole_row=True)),
            "own": false_discovery_control(own_p(real, null)),
            "maxT": max_t(real, null),
        }
        for way, q in ways.items():
            called = q <= 0.05 + 1e-12
            found.setdefault(way, []).append([called[:shifted].mean(), called[shifted:].sum() / max(called.sum(), 1)])
    return {way: np.mean(values, axis=0) for way, values in found.items()}


def main(n_studies: int) -> None:
    """Print the tables."""
    for shape, tie in (
        ("normal", "independent"),
        ("normal", "blocks of 10"),
        ("normal", "one factor"),
        ("normal", "nearly one node"),
        ("t with 3 df", "blocks of 10"),
        ("t with 2 df", "blocks of 10"),
        ("half of the nodes t with 2.5 df", "blocks of 10"),
        ("log-normal", "one factor"),
        ("draws of unlike scale", "blocks of 10"),
    ):
        for n_draws in (19, 20, 40, 100):
            n_here = max(n_studies * 20 // max(n_draws, 20), 100)
            for way, values in sizes(n_here, shape, tie, n_draws, 300).items():
                print("size", shape, tie, n_draws, n_here, way, *(f"{v:.4f}" for v in values), sep=" | ", flush=True)
    for shape in ("normal", "half of the nodes t with 2.5 df"):
        for share in (0.01, 0.05, 0.3):
            for n_draws in (20, 40, 100):
                made = powers(n_studies // 4, shape, "blocks of 10", n_draws, 300, share=share, shift=5.0)
                for way, (power, false) in made.items():
                    print("power", shape, share, n_draws, way, f"{power:.3f}", f"{false:.3f}", sep=" | ", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))

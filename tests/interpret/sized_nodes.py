"""Nodes whose scores follow their size and degree, some of them with more: for the tests of the band.

`python -m tests.interpret.sized_nodes 200` measures the table of docs/stability.md.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

from vnn.chance import generator
from vnn.interpret.trivial import structure_band

NOISE = ("normal", "Laplace", "t with 3 df", "log-normal")


def sized(
    seed: int, n_nodes: int, noise: str = "normal", *, n_planted: int = 0, times: float = 8.0
) -> tuple[np.ndarray, pd.DataFrame, np.ndarray]:
    """Signed scores of which size, degrees and level set the scale; structure; and which nodes were planted."""
    rng = generator(seed, "sized nodes", noise, n_nodes)
    n_inputs = np.exp(rng.normal(3, 1, n_nodes)).round() + 1
    out, depth = rng.integers(1, 6, n_nodes), rng.integers(1, 5, n_nodes)
    index = pd.MultiIndex.from_arrays([[f"level {d}" for d in depth], [f"n{i:04}" for i in range(n_nodes)]])
    known = {"n_inputs": n_inputs, "in_degree": np.minimum(n_inputs, rng.integers(1, 40, n_nodes)), "out_degree": out,
             "depth": depth, "mean_value": rng.normal(8, 1, n_nodes)}  # fmt: skip
    table = pd.DataFrame(known, index=index.set_names(["level", "node"]))
    scale = n_inputs**0.6 * out**0.3 * 2.0**depth * np.exp(0.2 * known["mean_value"])
    draws = {"normal": rng.standard_normal, "Laplace": rng.laplace}
    if noise in draws:
        z = draws[noise](size=n_nodes)
    elif noise == "t with 3 df":
        z = rng.standard_t(3, n_nodes)
    else:
        z = rng.lognormal(0, 0.5, n_nodes)
    planted = np.zeros(n_nodes, dtype=bool)
    planted[rng.choice(n_nodes, n_planted, replace=False)] = True
    z = np.where(planted, times * np.median(np.abs(z)) * np.sign(z), z)
    return z * scale, table, planted


def above(n_cohorts: int, n_nodes: int, noise: str, tail: str, *, share: float, times: float = 8.0) -> np.ndarray:
    """Shares above the band: of ordinary nodes, of planted ones; and of ordinary nodes outside it on either side."""
    found = []
    for seed in range(n_cohorts):
        score, table, planted = sized(seed, n_nodes, noise, n_planted=round(share * n_nodes), times=times)
        levels, nodes = table.index.get_level_values(0).tolist(), table.index.get_level_values(1).tolist()
        band = structure_band(score, table, levels, nodes, tail=tail)
        over = band["above"].to_numpy()
        outside = over | (band["size"] < band["lower"]).to_numpy()
        found.append(
            [over[~planted].mean(), over[planted].mean() if planted.any() else np.nan, outside[~planted].mean()]
        )
    return np.mean(found, axis=0)


def main(n_cohorts: int) -> None:
    """Print the table."""
    for noise in NOISE:
        for share in (0.0, 0.02, 0.1, 0.3):
            for tail in ("empirical", "robust"):
                values = above(n_cohorts, 300, noise, tail, share=share)
                print("band", noise, share, tail, *(f"{v:.3f}" for v in values), sep=" | ", flush=True)
    for n_nodes in (40, 60, 100):
        for tail in ("empirical", "robust"):
            values = above(n_cohorts, n_nodes, "normal", tail, share=0.0)
            print("band", "normal", n_nodes, tail, *(f"{v:.3f}" for v in values), sep=" | ", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""Null studies: cheap learners on overlapping splits that are equally good by construction, for the tests of tests."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from vnn.chance import generator
from vnn.data import k_fold

N, N_GENES, N_TERMS, N_GRAPHS = 100, 60, 30, 39


def auc(truth: np.ndarray, values: np.ndarray) -> float:
    """Share of pairs of both classes that are in the right order."""
    cases = int(truth.sum())
    return (rankdata(values)[truth == 1].sum() - cases * (cases + 1) / 2) / (cases * (len(truth) - cases))


def held_out_auc(x: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    """AUC of a ridge regression of the class on standardised inputs."""
    centre, scale = x[train].mean(0), x[train].std(0)
    z = (x - centre) / scale
    weight = np.linalg.solve(z[train].T @ z[train] + 10 * np.eye(x.shape[1]), z[train].T @ (y[train] - y[train].mean()))
    return auc(y[test], z[test] @ weight)


def folds(y: np.ndarray, seed: int, repeats: int) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Five stratified folds, dealt several times: name, rows to learn from, rows to test."""
    ids = [f"s{i:04d}" for i in range(len(y))]
    made = k_fold(ids, k=5, repeats=repeats, validation=0, seed=seed, stratify=dict(zip(ids, y.tolist(), strict=True)))
    return [(s.name, np.array([int(i[1:]) for i in s.train]), np.array([int(i[1:]) for i in s.test])) for s in made]


def labels(signal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Half of the samples are cases: those with the largest signal, blurred by noise."""
    blurred = signal + rng.standard_normal(len(signal))
    return (blurred > np.median(blurred)).astype(int)


def two_equal_models(seed: int, *, signal: float = 1.0, repeats: int = 10) -> pd.DataFrame:
    """Two models that each see one half of the inputs; both halves know equally much of the classes."""
    rng = generator(seed, "null study", "models")
    x = rng.standard_normal((N, 20))
    y = labels(signal * (x[:, 0] + x[:, 10]), rng)
    rows = [
        {"model": model, "split": name, "seed": 0, "score": held_out_auc(x[:, inputs], y, train, test)}
        for name, train, test in folds(y, seed, repeats)
        for model, inputs in (("one", slice(0, 10)), ("other", slice(10, 20)))
    ]
    return pd.DataFrame(rows)


def wirings_that_do_not_matter(seed: int, *, signal: float = 0.5, repeats: int = 1) -> pd.DataFrame:
    """A model over the means of 30 terms, and 39 with the genes of the terms exchanged; the classes depend on single genes.

    Exchanging genes keeps how many terms each place has and how many genes each term.
    """
    rng = generator(seed, "null study", "wirings")
    x = rng.standard_normal((N, N_GENES))
    y = labels(signal * x[:, :8].sum(1), rng)
    member = rng.random((N_GENES, N_TERMS)) < 0.1
    member[np.arange(N_GENES), np.arange(N_GENES) % N_TERMS] = True
    size = member.sum(0)
    rows = []
    splits = folds(y, seed, repeats)
    for draw in range(-1, N_GRAPHS):
        genes = rng.permutation(N_GENES)
        terms = x @ member[genes] / size
        rows += [
            {"model": "real", "draw": np.nan} | shared if draw < 0 else {"model": "rewired", "draw": draw} | shared
            for name, train, test in splits
            for shared in [{"split": name, "seed": 0, "score": held_out_auc(terms, y, train, test)}]
        ]
    return pd.DataFrame(rows)

"""Null studies: cheap learners on overlapping splits that are equally good by construction, for the tests of tests.

`python -m tests.training.null_studies 300` measures the figures of docs/comparison.md.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
from scipy.stats import binomtest, rankdata

from vnn.chance import generator
from vnn.data import k_fold
from vnn.training.paired import corrected_t, paired_comparison

N, N_GENES, N_TERMS, N_GRAPHS = 100, 60, 30, 39
KINDS = ("halves", "hidden layers", "copies")


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


def two_models(
    seed: int, kind: str = "halves", *, n: int = N, signal: float = 1.0, repeats: int = 10, share: float = 1.0
) -> pd.DataFrame:
    """Two models that know equally much of the classes.

    "halves": each sees 10 inputs of its own, one of which matters, that of the other model `share` as much. "hidden layers": both
    see 60 inputs through random features of their own. "copies": both see the same 10 inputs, each with its own errors.
    """
    rng = generator(seed, "null study", kind, n)
    if kind == "halves":
        seen = rng.standard_normal((2, n, 10))
        y = labels(signal * (seen[0, :, 0] + share * seen[1, :, 0]), rng)
    elif kind == "hidden layers":
        x = rng.standard_normal((n, 60))
        y = labels(signal * x[:, :8].sum(1) / 2, rng)
        seen = np.tanh(x @ rng.standard_normal((2, 60, 30)) / np.sqrt(60))
    else:
        x = rng.standard_normal((n, 10))
        y = labels(signal * x[:, :2].sum(1), rng)
        seen = x + 0.3 * rng.standard_normal((2, n, 10))
    rows = [
        {"model": model, "split": name, "seed": 0, "score": held_out_auc(inputs, y, train, test)}
        for name, train, test in folds(y, seed, repeats)
        for model, inputs in zip(("one", "other"), seen, strict=True)
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


def tests_of(table: pd.DataFrame) -> dict[str, float]:
    """P values of the t tests of two models over ten repeats of five folds."""
    by_split = table.pivot(index="split", columns="model", values="score").loc[list(dict.fromkeys(table["split"]))]
    differences = (by_split["one"] - by_split["other"]).to_numpy()
    return {
        "uncorrected": corrected_t(differences, 0.0),
        "corrected": corrected_t(differences, 0.25),
        "repeats count once": corrected_t(differences, 0.25, repeats=10),
        "first repeat alone": corrected_t(differences[:5], 0.25),
    }


def main(n_studies: int) -> None:
    """Print how often every test rejects, with the exact binomial interval."""

    def said(rejections: float) -> str:
        ends = binomtest(int(rejections), n_studies).proportion_ci()
        return f"{rejections / n_studies:.3f} ({ends.low:.3f}-{ends.high:.3f})"

    settings = [(kind, n, signal, 1.0) for kind in KINDS for n in (60, 100, 300) for signal in (0.0, 1.0)]
    for kind, n, signal, share in [*settings, ("halves", 100, 1.5, 0.5), ("halves", 100, 1.5, 0.0)]:
        studies = (two_models(seed, kind, n=n, signal=signal, share=share) for seed in range(n_studies))
        rejections = pd.DataFrame([tests_of(table) for table in studies]).le(0.05).sum()
        print(f"{kind}, n {n}, signal {signal:g}, share {share:g}:", rejections.map(said).to_dict(), flush=True)
    for signal in (0.0, 0.5):
        found = [
            paired_comparison(
                wirings_that_do_not_matter(seed, signal=signal), reference="real", ratio=0.25, rewired=["rewired"]
            ).differences[0]
            for seed in range(n_studies)
        ]
        missed = sum(not d.lower <= 0 <= d.upper for d in found)
        print(
            f"rank, signal {signal:g}:",
            said(sum(d.p <= 0.05 for d in found)),
            "interval misses 0:",
            said(missed),
            flush=True,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]))

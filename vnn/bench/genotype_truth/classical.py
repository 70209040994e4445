"""Rivals on the same people: tests of variants and genes, clumping and thresholding, and a ridge of all variants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import chi2
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from vnn.bench.genotype_truth.cohorts import Planted
from vnn.bench.genotype_truth.evaluation import Ranked
from vnn.data.genotypes import clumped
from vnn.training.gene_networks import book_of, codes_of, columns_of, looked_up, members

HERITABLE = 0.3  # what the ridge expects all variants to explain
ROUNDS = 5
THRESHOLDS = (5e-8, 1e-6, 1e-4, 1e-3, 1e-2, 0.1)
CLUMP_R2, CLUMP_KB = 0.1, 250
AT_ONCE = 500  # variants


def rivals(planted: Planted) -> list[Ranked]:
    """Rankings of genes by tests, and predictions by scores; all see the learners alone."""
    tests = _tests(planted)
    held = _Held.of(planted)
    found = [
        Ranked(name, label, pd.Series(own[label], index=list(planted.gene_map.genes)), None)
        for name, own in tests.items()
        for label in range(planted.residuals.shape[1])
    ]
    predicted = {"PRS (C+T)": _clumped_and_thresholded(planted, held), "ridge of all variants": _ridge(planted, held)}
    predicted["covariates only"] = np.zeros(len(planted.others))
    return found + [
        Ranked(name, 0, None, None, planted.offset[planted.others] + own) for name, own in predicted.items()
    ]


def _tests(planted: Planted) -> dict[str, np.ndarray]:
    """Strength of every gene by each test, (n_labels, n_genes)."""
    r = planted.residuals / planted.residuals.std(0)
    n, n_labels = r.shape
    genes, places = members(planted.genotypes, planted.gene_map)
    names = ("best variant", "best genotype (2 df)", "mean chi2", "burden", "best pair")
    found = {name: np.zeros((n_labels, len(genes))) for name in names}
    labels = r.T.astype(np.float32)
    minor = _minor_signs(planted)
    n_variants = np.array([len(own) for own in places])
    for number, (copies, het) in columns_of(planted.genotypes, places, planted.learners, n):
        m = len(copies)
        alone = (copies @ labels.T) ** 2 / n
        either = alone + (het @ labels.T) ** 2 / n
        load = (minor[places[number]][:, None] * copies).sum(0)
        found["best variant"][:, number] = alone.max(0)
        found["best genotype (2 df)"][:, number] = either.max(0)
        found["mean chi2"][:, number] = alone.mean(0)
        found["burden"][:, number] = (labels @ load) ** 2 / max(float(load @ load), 1e-9)
        if m < 2:
            continue
        one, two = np.triu_indices(m, 1)
        products = copies @ copies.T / n
        spread = (copies**2) @ (copies**2).T / n - products**2
        for label in range(n_labels):
            with_label = (copies * labels[label]) @ copies.T
            z2 = with_label**2 / np.maximum(n * spread, 1e-9)
            found["best pair"][label, number] = z2[one, two].max()
    n_pairs = np.maximum(n_variants * (n_variants - 1) / 2, 1)
    for name, df, n_tests in (
        ("best variant", 1, n_variants),
        ("best genotype (2 df)", 2, n_variants),
        ("best pair", 1, n_pairs),
    ):
        found[name] = -chi2.logsf(found[name], df) - np.log(n_tests)
    return found


def _minor_signs(planted: Planted) -> np.ndarray:
    """Standard deviations of copies of the minor allele among the learners, negative where the other allele is counted."""
    who = np.zeros(planted.genotypes.n_people, dtype=bool)
    who[planted.learners] = True
    counts = planted.genotypes.counts(who)
    called = np.maximum(counts[:, [0, 2, 3]].sum(1), 1)
    mean = (2 * counts[:, 0] + counts[:, 2]) / called
    sd = np.sqrt((4 * counts[:, 0] + counts[:, 2]) / called - mean**2)
    return np.where(mean <= 1, sd, -sd)


@dataclass(frozen=True, eq=False)
class _Held:
    """Codes of all variants, uint8 (n_variants, n_people), learners first, and their standardised copies by code."""

    codes: np.ndarray
    book: np.ndarray

    @classmethod
    def of(cls, planted: Planted) -> _Held:
        people, n = np.concatenate([planted.learners, planted.others]), len(planted.learners)
        codes = np.empty((planted.genotypes.n_variants, len(people)), dtype=np.uint8)
        book = np.empty((len(codes), 4), dtype=np.float32)
        for at, rows in planted.genotypes.packed(AT_ONCE):
            codes[at] = codes_of(rows, planted.genotypes.n_people)[:, people]
            book[at] = book_of(codes[at], n)
        return cls(codes, book)

    def blocks(self, variants: np.ndarray | None = None) -> Iterator[tuple[slice, np.ndarray]]:
        """Standardised copies, a block of these variants at a time."""
        asked = np.arange(len(self.codes)) if variants is None else variants
        for first in range(0, len(asked), AT_ONCE):
            at = slice(first, first + AT_ONCE)
            yield at, looked_up(self.codes[asked[at]], self.book[asked[at]])


def _associations(planted: Planted, held: _Held) -> np.ndarray:
    """Correlation of every variant with the true label, and with that of learners who do not choose thresholds."""
    r = planted.residuals[:, 0] / planted.residuals[:, 0].std()
    few = np.where(planted.folds > 0, r, 0.0)
    both = np.stack([r, few], axis=1).astype(np.float32)
    n = len(r)
    found = np.empty((planted.genotypes.n_variants, 2))
    for at, x in held.blocks():
        found[at] = x[:, :n] @ both
    return found / np.array([n, (planted.folds > 0).sum()])


def _clumped_and_thresholded(planted: Planted, held: _Held) -> np.ndarray:
    """A polygenic score: clumps, weights and the threshold of p from the learners.

    The threshold is the one whose score predicts the learners of one fold best when weights come from the other folds.
    """
    n = len(planted.learners)
    judges = planted.folds == 0
    weights = _associations(planted, held)
    ids = planted.genotypes.variants.index
    best = (0.0, 0, 0.0)
    learners = planted.people(planted.learners)
    for use, size in ((1, int((~judges).sum())), (0, n)):
        p = pd.Series(chi2.sf(weights[:, use] ** 2 * size, 1), index=ids)
        low = p[p <= THRESHOLDS[-1]]
        clumps = clumped(learners, low, leads=THRESHOLDS[-1], listed=THRESHOLDS[-1], r2=CLUMP_R2, kb=CLUMP_KB)
        leads = clumps["leader"].unique()
        at = ids.get_indexer(pd.Index(leads))
        under = np.stack([(p.to_numpy()[at] <= threshold) * weights[at, use] for threshold in THRESHOLDS], axis=1)
        total = np.zeros((held.codes.shape[1], len(THRESHOLDS)))
        for block, x in held.blocks(at):
            total += x.T @ under[block].astype(np.float32)
        if use:
            case, offset = planted.case[planted.learners][judges], planted.offset[planted.learners][judges]
            for i, own in enumerate(total[:n][judges].T):
                columns = np.stack([offset, own / max(own.std(), 1e-9)], axis=1)
                slope = float(LogisticRegression().fit(columns, case).coef_[0, 1]) / max(float(own.std()), 1e-9)
                best = max(best, (float(roc_auc_score(case, offset + slope * own)), i, slope))
    return best[2] * total[n:, best[1]]


def _ridge(planted: Planted, held: _Held) -> np.ndarray:
    """Ridge regression of the label on all variants, which are expected to explain 0.3, by conjugate gradients."""
    n, p = len(planted.learners), planted.genotypes.n_variants
    penalty = p * (1 - HERITABLE) / HERITABLE
    r = planted.residuals[:, 0] / planted.residuals[:, 0].std()

    def kernel(w: np.ndarray) -> np.ndarray:
        total = np.zeros(held.codes.shape[1])
        for _, x in held.blocks():
            total += (x[:, :n] @ w.astype(np.float32)) @ x
        return total

    dual, left, score = np.zeros(n), r.copy(), np.zeros(held.codes.shape[1])
    step = left.copy()
    for _ in range(ROUNDS):
        turned = kernel(step)
        image = turned[:n] + penalty * step
        size = (left @ left) / (step @ image)
        dual += size * step
        score += size * turned
        after = left - size * image
        step = after + (after @ after) / (left @ left) * step
        left = after
    return 2 * score[n:]

"""Gene networks: a small network for every gene with a head of its own, each judged on people it did not learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.lapack import dtrtri
from scipy.stats import false_discovery_control, norm

from vnn.data.genotypes import GeneMap, Genotypes
from vnn.data.genotypes.burden import Genes, pairs_of
from vnn.data.genotypes.quality import part_of
from vnn.data.genotypes.unpacked import unpacked

CODES, MISSING = (0, 1, 2, 3), 1
COPIES, HET = np.array([2.0, 0, 1, 0]), np.array([0.0, 0, 1, 0])  # by code
SHARE = 0.01  # of the variance of the label that a gene is expected to explain at first
FLOOR = 0.3  # added to the variance of directions before these are made equal
REWEIGHTED = 3  # times the expected size of each slope is learnt from the slope itself
PAIRS = 2  # of units that follow the strongest products of variants
REACH = 0.3  # standard deviations of a unit before its activation
BEND = float(np.arctanh(1 / np.sqrt(3)))  # where tanh is bent most
CURVATURE = 2 * np.tanh(BEND) / np.cosh(BEND) ** 2
AT_ONCE = 1 << 25  # genotypes of neighbouring variants held as bytes
FLAT = 1e-6
MOST_VARIANTS, LINKAGE_PEOPLE = 150, 2_000  # that a gene looks at, and people in whom these are chosen


@dataclass(frozen=True, eq=False)
class GeneNetworks:
    """What the networks of all genes say, in standard deviations of the label that covariates leave.

    Parameters
    ----------
    genes
        Their names.
    held_out
        Of the learners, each by networks that learnt from other folds, float32 (n_labels, n_kept, n_learners).
    others
        Of other people, mean of the networks of all folds, float32 (n_labels, n_kept, n_others).
    kept
        Places among `genes` of those whose outputs these are, ascending.
    z
        Held-out score test of each gene, (n_labels, n_genes); see `held_out_z`.
    n_variants
        Of each gene.
    """

    genes: tuple[str, ...]
    held_out: np.ndarray
    others: np.ndarray
    kept: np.ndarray
    z: np.ndarray
    n_variants: np.ndarray

    def table(self, label: int = 0) -> pd.DataFrame:
        """By gene, the strongest first: `n_variants`, `z`, one-sided `p`, and `q` (Benjamini and Hochberg)."""
        p = norm.sf(self.z[label])
        columns = {"n_variants": self.n_variants, "z": self.z[label], "p": p, "q": false_discovery_control(p)}
        made = pd.DataFrame(columns, index=pd.Index(self.genes, dtype=object, name="gene"))
        return made.sort_values("z", ascending=False, kind="stable")


def gene_networks(
    genotypes: Genotypes,
    genes: Genes,
    residuals: np.ndarray,
    folds: np.ndarray,
    *,
    learners: np.ndarray,
    others: np.ndarray | None = None,
    heard: float = 1.0,
    pairs: int = PAIRS,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> GeneNetworks:
    """Learn a network of a linear and 2 `pairs` tanh units for every gene and fold, in one pass over the genotypes.

    Every gene learns the label alone, by a head of its own, so that what it knows is not explained away by others. Its inputs
    are the genotypes of its variants in two columns each (copies, and heterozygotes less what copies say of them). The weights
    are found in closed form, without gradients, from moments of the people of the other folds:

    - one unit follows a ridge regression of the label on all columns, b = (C + 1 / (n v))^-1 g, with g the covariances with the
      label, C those of the columns, and v the variance expected of each slope: at first 0.01 / columns, then three times the
      square of the slope found (automatic relevance), which leaves few columns;
    - two units each, tanh(t + c) and tanh(c - t), whose sum bends like -t^2, follow the `pairs` strongest directions of
      M = W E[r x x'] W, r the label and W = (C + 0.3)^-1/2 of copies: effects that two variants have only together are
      eigenvalues of opposite sign there, and show in no variant alone;
    - what a unit says is shrunk by what chance would give, 1 - df / Q for the regression (Q its test, df its degrees of freedom),
      1 - R^2 / v^2 for an eigenvalue v, R the edge of Wigner's semicircle; where that is negative the unit is silent.

    A gene of more than 150 variants is seen through 150 that stand for the others, see `standing`. Memory is bounded by blocks of
    neighbouring genes beside the outputs. Labels are learnt side by side: permuted ones cost little more.

    Parameters
    ----------
    genes
        A `GeneMap`, whose nodes for intergenic variants are passed over, or the genes of each variant.
    residuals
        Labels less what is known of them without genes, (n_learners, n_labels).
    folds
        Fold of each learner, int (n_learners,), from 0.
    learners, others
        Places of people in the genotypes.
    heard
        Outputs are kept of genes whose held-out test has at most this p for some label; all unless given.
    tell
        Told how many genes are done, and of how many.

    Raises
    ------
    ValueError
        If shapes do not fit or there are fewer than two folds.
    """
    n, n_folds = len(learners), int(folds.max(initial=-1)) + 1
    if residuals.ndim != 2 or len(residuals) != n or len(folds) != n:
        raise ValueError(
            f"there are {n:,} learners, residuals of shape {residuals.shape} and {len(folds):,} folds; residuals need shape "
            "(n_learners, n_labels), and every learner a fold."
        )
    sizes = np.bincount(folds, minlength=max(n_folds, 2))
    if n_folds < 2 or not sizes.all():
        raise ValueError(f"folds hold {sizes.tolist()} learners; at least two folds, numbered from 0, need some each.")
    order = np.argsort(folds, kind="stable")
    rest = np.empty(0, dtype=np.int64) if others is None else others
    who = np.concatenate([learners[order], rest])
    borders = np.concatenate([[0], np.cumsum(sizes)])
    labels = np.ascontiguousarray(residuals[order].T, dtype=np.float32)
    labels /= np.maximum(labels.std(1, keepdims=True), FLAT)
    names, places = members(genotypes, genes)
    z = np.zeros((len(labels), len(names)))
    outputs: dict[int, np.ndarray] = {}
    learning = _Learning(labels, borders, n, pairs)
    for done, (number, columns) in enumerate(columns_of(genotypes, places, who, n, MOST_VARIANTS), 1):
        said = learning.gene(*columns)
        z[:, number] = [
            held_out_z(own[None], r, folds[order])[0] for own, r in zip(said[:, :n], residuals[order].T, strict=True)
        ]
        if norm.sf(z[:, number]).min() <= heard:
            outputs[number] = said
        tell(done, len(names))
    kept = np.array(sorted(outputs), dtype=np.int64)
    held_out = np.empty((len(labels), len(kept), n), dtype=np.float32)
    beyond = np.empty((len(labels), len(kept), len(rest)), dtype=np.float32)
    for row, number in enumerate(kept):
        said = outputs.pop(int(number))
        held_out[:, row, order], beyond[:, row] = said[:, :n], said[:, n:]
    return GeneNetworks(names, held_out, beyond, kept, z, np.array([len(own) for own in places]))


def members(genotypes: Genotypes, genes: Genes) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Names of the genes, sorted, and the places of the variants of each; nodes that stand for intergenic variants are left out.

    Raises
    ------
    AlignmentError
        If a variant is not in the genotypes, or none has a gene.
    """
    place, code, named = pairs_of(genotypes, genes)
    intergenic = set(genes.intergenic) if isinstance(genes, GeneMap) else set()
    by_gene = np.lexsort([place, code])
    places = np.split(place[by_gene], np.cumsum(np.bincount(code))[:-1])
    found = {str(name): np.unique(own) for name, own in zip(named, places, strict=True) if name not in intergenic}
    names = tuple(sorted(found))
    return names, [found[name] for name in names]


def held_out_z(outputs: np.ndarray, residual: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Score test of outputs that were learnt in other folds, (n_nodes,).

    In every fold outputs are standardised and multiplied with the label; the sum over folds, in standard deviations, is divided by
    sqrt(2): each two folds meet twice, one as learners and one as judges, which doubles the variance of chance at most.

    Parameters
    ----------
    outputs
        (n_nodes, n_people); where an output does not vary in a fold it says nothing there.
    residual
        Label less what is known of it without genes, (n_people,).
    folds
        Of the people, from 0.
    """
    total = np.zeros(len(outputs))
    for fold in range(int(folds.max()) + 1):
        here = folds == fold
        own = outputs[:, here].astype(np.float64)
        own -= own.mean(1, keepdims=True)
        size = np.sqrt((own**2).mean(1))
        total += np.divide(
            own @ (residual[here] - residual[here].mean()), size, where=size > FLAT, out=np.zeros(len(own))
        )
    return total / np.sqrt(2 * (residual**2).sum())


@dataclass(frozen=True, eq=False)
class _Learning:
    """Labels of the learners, fold after fold, (n_labels, n_learners), and where folds begin."""

    labels: np.ndarray
    borders: np.ndarray
    n: int
    pairs: int

    def gene(self, copies: np.ndarray, het: np.ndarray) -> np.ndarray:
        """What the networks of a gene say, (n_labels, n_people): of learners those of other folds, of others their mean."""
        both = np.concatenate([copies, het])
        seen = slice(0, self.n)
        covariance = both[:, seen] @ both[:, seen].T / self.n
        said = np.zeros((len(self.labels), both.shape[1]), dtype=np.float32)
        bounds = list(zip(self.borders[:-1], self.borders[1:], strict=True))
        g = np.stack([both[:, a:b] @ self.labels[:, a:b].T for a, b in bounds]).astype(np.float64)
        m = np.stack([[(copies[:, a:b] * r[a:b]) @ copies[:, a:b].T for a, b in bounds] for r in self.labels]).astype(
            np.float64
        )
        line, bent = _Line.of(covariance), _Bent.of(covariance[: len(copies), : len(copies)])
        for fold, (a, b) in enumerate(bounds):
            n_own = self.n - (b - a)
            slope = line.learnt((g.sum(0) - g[fold]) / n_own, n_own)
            for label in range(len(self.labels)):
                directions, heads = bent.learnt((m[label].sum(0) - m[label][fold]) / n_own, n_own, self.pairs)
                for at, weight in ((slice(a, b), 1.0), (slice(self.n, None), 1 / len(bounds))):
                    said[label, at] += weight * _output(both[:, at], copies[:, at], slope[:, label], directions, heads)
        return said


@dataclass(frozen=True, eq=False)
class _Line:
    """Ridge regression on all columns of a gene."""

    covariance: np.ndarray

    @classmethod
    def of(cls, covariance: np.ndarray) -> _Line:
        return cls(covariance.astype(np.float64))

    def learnt(self, g: np.ndarray, n: int) -> np.ndarray:
        """Shrunk slopes (n_columns, n_labels) from covariances with labels of variance 1."""
        slope = np.empty_like(g)
        for label, own in enumerate(g.T):
            slope[:, label] = self._one(own, n)
        return slope

    def _one(self, g: np.ndarray, n: int) -> np.ndarray:
        expected = np.full(len(g), SHARE / len(g))
        for _ in range(1 + REWEIGHTED):
            root = np.sqrt(expected)
            inner = self.covariance * root[:, None] * root
            factor = cho_factor(inner + np.eye(len(g)) / n, lower=True, check_finite=False)
            slope = root * cho_solve(factor, root * g, check_finite=False)
            expected = slope**2 + 1e-7
        inverse, _ = dtrtri(factor[0], lower=1)
        df = len(g) - float((np.tril(inverse) ** 2).sum()) / n
        q = n * float(g @ slope)
        return slope * max(1 - df / max(q, FLAT), 0)


@dataclass(frozen=True, eq=False)
class _Bent:
    """Strongest directions of products of two variants, once all directions vary alike."""

    root: np.ndarray
    trace: float

    @classmethod
    def of(cls, covariance: np.ndarray) -> _Bent:
        values, vectors = np.linalg.eigh(covariance.astype(np.float64))
        values = np.maximum(values, 0)
        root = (vectors / np.sqrt(values + FLOOR)) @ vectors.T
        return cls(root, float(((values / (values + FLOOR)) ** 2).sum()))

    def learnt(self, moments: np.ndarray, n: int, pairs: int) -> tuple[np.ndarray, np.ndarray]:
        """Directions (n_pairs, n_variants) and what the label gains by the square of each; none that chance may give."""
        values, vectors = np.linalg.eigh(self.root @ moments @ self.root)
        top = np.argsort(-np.abs(values), kind="stable")[:pairs]
        edge = 4 * self.trace / n
        top = top[values[top] ** 2 > edge]
        heads = values[top] * (1 - edge / values[top] ** 2)
        return (self.root @ vectors[:, top]).T, heads


def _output(
    both: np.ndarray, copies: np.ndarray, slope: np.ndarray, directions: np.ndarray, heads: np.ndarray
) -> np.ndarray:
    """A linear unit that follows the slopes, and two tanh units for each direction."""
    said = np.zeros(both.shape[1], dtype=np.float32)
    if slope.any():
        said += slope.astype(np.float32) @ both
    if len(directions):
        t = REACH * (directions.astype(np.float32) @ copies)
        bent = 2 * np.tanh(np.float32(BEND)) - np.tanh(BEND + t) - np.tanh(BEND - t)
        said += (heads / (2 * CURVATURE * REACH**2)).astype(np.float32) @ bent
    return said


def columns_of(
    genotypes: Genotypes, places: Sequence[np.ndarray], who: np.ndarray, n: int, most: int | None = None
) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray]]]:
    """Number of each gene with copies, and heterozygotes less what copies say of them, each (n_variants, n_people), float32.

    Both have mean 0 and variance 1 among the first `n` of the people at the places `who`; missing genotypes are 0, and so are
    columns without variance. Blocks of neighbouring genes are unpacked at a time.

    Parameters
    ----------
    places
        Of the variants of each gene in the genotypes, ascending.
    most
        Of the variants of a gene; `standing` chooses them among at most 2,000 of the first `n` people.
    """
    along = sorted(range(len(places)), key=lambda number: places[number][0])
    room = max(AT_ONCE // max(len(who), 1), 1)
    for block in _blocks(along, places, room):
        wanted = np.unique(np.concatenate([places[number] for number in block]))
        held = part_of(genotypes, wanted)
        codes = np.concatenate([codes_of(rows, held.n_people)[:, who] for _, rows in held.packed()])
        for number in block:
            own = codes[np.searchsorted(wanted, places[number])]
            if most is not None and len(own) > most:
                few = own[:, : n : -(-n // LINKAGE_PEOPLE)]
                copies = looked_up(few, book_of(few, few.shape[1]))
                own = own[standing(copies @ copies.T / few.shape[1], most)]
            yield number, _standardised(own, n)


def standing(covariance: np.ndarray, most: int) -> np.ndarray:
    """Places of the columns that stand best for all, ascending: each in turn explains the most of what those before it leave."""
    whole = covariance.astype(np.float64)
    size, alone = np.diag(whole).copy(), np.diag(whole)
    squares = (whole**2).sum(0)  # of what is left of each column
    taken = np.empty((len(whole), 0))
    chosen: list[int] = []
    for _ in range(most):
        free = size > FLAT * np.maximum(alone, FLAT)
        free[chosen] = False
        if not free.any():
            break
        chosen.append(int(np.argmax(np.divide(squares, size, where=free, out=np.full(len(size), -1.0)))))
        column = (whole[:, chosen[-1]] - taken @ taken[chosen[-1]]) / np.sqrt(size[chosen[-1]])
        squares += column * (column * (column @ column) - 2 * (whole @ column - taken @ (taken.T @ column)))
        size -= column**2
        taken = np.column_stack([taken, column])
    return np.sort(np.array(chosen, dtype=np.int64))


def _blocks(along: Sequence[int], places: Sequence[np.ndarray], most: int) -> Iterator[list[int]]:
    block: list[int] = []
    size = 0
    for number in along:
        if block and size + len(places[number]) > most:
            yield block
            block, size = [], 0
        block.append(number)
        size += len(places[number])
    if block:
        yield block


def codes_of(rows: np.ndarray, n_people: int) -> np.ndarray:
    """The codes of packed rows, uint8 (n_rows, n_people)."""
    return unpacked(rows, CODES, n_people).view(np.uint8)


def book_of(codes: np.ndarray, n: int) -> np.ndarray:
    """Copies by code, with mean 0 and variance 1 among the first n people, (n_rows, 4); missing is 0."""
    return _scaled(np.tile(COPIES, (len(codes), 1)), _shares(codes, n))


def _standardised(codes: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    share = _shares(codes, n)
    copies, het = (_scaled(np.tile(values, (len(codes), 1)), share) for values in (COPIES, HET))
    het = _scaled(het - copies * (share * copies * het).sum(1, keepdims=True), share)
    return looked_up(codes, copies), looked_up(codes, het)


def _shares(codes: np.ndarray, n: int) -> np.ndarray:
    """Of the first n people, how many of those called have each code, (n_rows, 4)."""
    counts = np.stack([(codes[:, :n] == code).sum(1) for code in CODES], axis=1).astype(np.float64)
    counts[:, MISSING] = 0
    return counts / np.maximum(counts.sum(1, keepdims=True), 1)


def looked_up(codes: np.ndarray, book: np.ndarray) -> np.ndarray:
    """What the book of each row says of its codes, float32 as the codes."""
    made = np.empty(codes.shape, dtype=np.float32)
    for row, of, own in zip(made, codes, book.astype(np.float32), strict=True):
        np.take(own, of, out=row, mode="clip")
    return made


def _scaled(book: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Values of codes with mean 0 and variance 1, by the share of people with each."""
    book = book - (book * share).sum(1, keepdims=True)
    sd = np.sqrt((book**2 * share).sum(1, keepdims=True))
    book = np.divide(book, sd, where=sd > FLAT, out=np.zeros_like(book))
    book[:, MISSING] = 0
    return book

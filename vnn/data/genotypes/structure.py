"""Structure: principal components of genotypes, of some people, in which others are placed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vnn._errors import AlignmentError, GenotypeError, choose, culprits
from vnn.chance import generator
from vnn.data.genotypes.genotypes import Genotypes
from vnn.data.genotypes.quality import among, part_of
from vnn.data.genotypes.regions import in_regions
from vnn.data.genotypes.unpacked import standardised

_VALUES = 1 << 25  # standardised genotypes held at once
_EXACT = 5000  # people up to whom the matrix of all pairs is made
_MORE, _ROUNDS = 10, 8  # directions beyond those asked for, and passes, of the randomised method


@dataclass(frozen=True, eq=False)
class Components:
    """Principal components of genotypes.

    Parameters
    ----------
    scores
        One row per person of the genotypes they were computed on, columns PC1, PC2, ...; those of training people have length 1.
    eigenvalues
        Of the relationship matrix Z' Z / variants of the training people, float64 (n,), the greatest first.
    loadings
        One row per variant: `counted`, `mean` and `scale` of its copies in the training people, and its weight in each component:
        score = sum of (copies - mean) / scale * weight, a missing genotype adding nothing.
    training
        Ids of the people who were learnt from.
    log
        What was left out.
    """

    scores: pd.DataFrame
    eigenvalues: np.ndarray
    loadings: pd.DataFrame
    training: tuple[str, ...]
    log: tuple[str, ...] = ()

    def of(self, genotypes: Genotypes) -> pd.DataFrame:
        """Scores of the people of other genotypes of the same variants, in any order.

        People who were not learnt from come out somewhat nearer to zero than they would among those who were, the more so the
        fewer people were learnt from.

        Raises
        ------
        AlignmentError
            If a variant is lacking or counts another allele.
        """
        here = genotypes.select(self.loadings.index)
        differs = (here.variants["counted"] != self.loadings["counted"]).to_numpy()
        if differs.any():
            raise AlignmentError(
                f"{int(differs.sum()):,} of the {len(differs):,} variants count another allele than those the components were "
                f"computed on: {culprits(here.variants.index[differs])}. Orient them to the same allele first."
            )
        weights = self.loadings[list(self.scores.columns)].to_numpy()
        found = np.zeros((genotypes.n_people, weights.shape[1]))
        for at, values in _standardised(here, self.loadings["mean"].to_numpy(), self.loadings["scale"].to_numpy()):
            found += values.T @ weights[at].astype(np.float32)
        return pd.DataFrame(found, index=genotypes.people.index, columns=self.scores.columns)


def principal_components(
    genotypes: Genotypes,
    n: int = 10,
    *,
    training: Collection[str] | None = None,
    without: pd.DataFrame | None = None,
    method: str | None = None,
    seed: int = 0,
) -> Components:
    """Principal components of standardised genotypes, learnt from some people; the others are projected.

    Z = (copies - 2 p) / sqrt(2 p (1 - p)) by the frequencies of the training people, 0 where missing, as plink2 --pca with
    `meanimpute`. Give it common autosomal variants that are not in LD (`pruned`), and unrelated training people.

    Parameters
    ----------
    n
        Components.
    training
        Ids of the people to learn from; everybody unless given.
    without
        Regions to leave out, such as those of long-range LD: `ld_regions(build)`, or another table of `region`, `chromosome`,
        `start` and `end`, both ends included.
    method
        "exact": the eigenvectors of the relationships of all pairs; "randomised" (a few passes over the genotypes, the first
        components to about 1e-3 and better). Exact up to 5,000 training people unless given.
    seed
        Of the directions the randomised method starts from.

    Returns
    -------
    `Components`. The greatest loading of each is positive.

    Raises
    ------
    GenotypeError
        If there are fewer training people or variants than components, or variants of sex chromosomes.

    References
    ----------
    Patterson, Price & Reich 2006, doi:10.1371/journal.pgen.0020190; randomised: Halko, Martinsson & Tropp 2011,
    doi:10.1137/090771806
    """
    other = genotypes.variants["chromosome"].isin(["X", "Y", "MT"]).to_numpy()
    if other.any():
        raise GenotypeError(
            f"components are of autosomes; {int(other.sum()):,} of the {genotypes.n_variants:,} variants are on X, Y or MT: "
            f"{culprits(genotypes.variants.index[other])}. Select the others first."
        )
    log: list[str] = []
    who = among(genotypes, training, "training people")
    keep = np.ones(genotypes.n_variants, dtype=bool)
    if without is not None:
        inside = (in_regions(genotypes.variants, without) != "").to_numpy()
        keep &= ~inside
        log.append(f"components: {int(inside.sum()):,} variants in {len(without):,} regions are left out")
    counts = genotypes.counts(None if who.all() else who)
    called = counts[:, [0, 2, 3]].sum(1)
    p = np.divide(2 * counts[:, 0] + counts[:, 2], 2 * called, where=called > 0, out=np.zeros(len(called)))
    varies = (p > 0) & (p < 1)
    if (still := keep & ~varies).any():
        log.append(f"components: {int(still.sum()):,} variants do not vary in the training people and are left out")
    keep &= varies
    if n < 1 or n >= who.sum() or n > keep.sum():
        raise GenotypeError(
            f"{n} components of {int(who.sum()):,} training people and {int(keep.sum()):,} variants that vary were asked for; at "
            "least one, and fewer than people and variants, can be found."
        )
    here = part_of(genotypes, keep)
    learnt = part_of(here, None, who)
    mean, scale = 2 * p[keep], np.sqrt(2 * p[keep] * (1 - p[keep]))
    chosen = choose(
        "method", method or ("exact" if learnt.n_people <= _EXACT else "randomised"), ("exact", "randomised")
    )
    find = _exact if chosen == "exact" else _randomised
    values, vectors = find(learnt, mean, scale, n, seed)
    eigenvalues = values / here.n_variants
    weights = np.empty((here.n_variants, n))
    for at, block in _standardised(learnt, mean, scale):
        weights[at] = block @ vectors.astype(np.float32)
    weights /= values
    turn = np.sign(np.take_along_axis(weights, np.abs(weights).argmax(0)[None], 0))
    weights, vectors = weights * turn, vectors * turn
    names = [f"PC{number}" for number in range(1, n + 1)]
    loadings = pd.DataFrame(weights, index=here.variants.index, columns=names)
    loadings = pd.concat(
        [here.variants[["counted"]], pd.DataFrame({"mean": mean, "scale": scale}, index=loadings.index), loadings],
        axis=1,
    )
    scores = pd.DataFrame(np.empty((genotypes.n_people, n)), index=genotypes.people.index, columns=names)
    made = Components(scores, eigenvalues, loadings, learnt.ids, tuple(log))
    scores.loc[who] = vectors
    if not who.all():
        scores.loc[~who] = made.of(part_of(here, None, ~who)).to_numpy()
    return made


def _standardised(genotypes: Genotypes, mean: np.ndarray, scale: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    for at, rows in genotypes.packed(max(_VALUES // max(genotypes.n_people, 1), 1)):
        yield at, standardised(rows, mean[at], scale[at], genotypes.n_people)


def _exact(
    genotypes: Genotypes, mean: np.ndarray, scale: np.ndarray, n: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The greatest n eigenvalues of Z' Z and their eigenvectors, (n,) and (n_people, n)."""
    pairs = np.zeros((genotypes.n_people, genotypes.n_people))
    for _, block in _standardised(genotypes, mean, scale):
        pairs += block.T @ block
    values, vectors = np.linalg.eigh(pairs)
    return values[::-1][:n], vectors[:, ::-1][:, :n]


def _randomised(
    genotypes: Genotypes, mean: np.ndarray, scale: np.ndarray, n: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The same, within the space that Z' Z turns random directions into; every round keeps its directions."""
    width = min(n + _MORE, genotypes.n_people)
    rounds = max(1, min(_ROUNDS, genotypes.n_people // width))
    start = generator(seed, "principal components").standard_normal((genotypes.n_people, width))
    directions = [np.linalg.qr(start)[0]]
    turned: list[np.ndarray] = []
    for _ in range(rounds):
        image = _turned(genotypes, mean, scale, directions[-1])
        turned.append(image)
        known = np.concatenate(directions, axis=1)
        fresh = image - known @ (known.T @ image)
        fresh = np.linalg.qr(fresh)[0]
        fresh -= known @ (known.T @ fresh)
        directions.append(np.linalg.qr(fresh)[0])
    space = np.concatenate(directions[:-1], axis=1)
    small = space.T @ np.concatenate(turned, axis=1)
    values, within_space = np.linalg.eigh((small + small.T) / 2)
    return values[::-1][:n], space @ within_space[:, ::-1][:, :n]


def _turned(genotypes: Genotypes, mean: np.ndarray, scale: np.ndarray, directions: np.ndarray) -> np.ndarray:
    made = np.zeros_like(directions)
    small = directions.astype(np.float32)
    for _, block in _standardised(genotypes, mean, scale):
        made += block.T @ (block @ small)
    return made

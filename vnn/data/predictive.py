"""Inputs that are all equally predictive: what a network makes of its wiring when no gene is better than another."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from vnn import chance
from vnn.data.samples import Samples
from vnn.data.targets import Target, martingale_residuals

R2 = 0.1


def equally_predictive(
    samples: Samples,
    target: Target,
    *,
    seed: int,
    draw: int = 0,
    r2: float = R2,
    down: float = 0.5,
    learn: Iterable[str] | None = None,
) -> np.ndarray:
    """Simulated values of the same features and samples, in which every feature tells as much of the label.

    With a score u of the label (mean 0, variance 1 over the samples) and independent standard normal noise e, the
    value of a feature is

        x = mean + deviation * (sign * sqrt(r2) * u + sqrt(1 - r2) * e),

    mean and deviation being those of the real feature. The label, its class sizes, the splits and the scale of the inputs
    stay; which feature knows the label, and how features go together, are gone. A node that a network trained on
    these values holds important is so by its wiring (inputs below it, paths above it), so its score here is what its
    real score has to be compared with. It is no null of the label: such a network predicts well, perfectly with many
    features, since their noise is independent.

    The score u is the code of a class (0 and 1; 0, 1, 2 ... in the order of the classes), the quantity, or for "cox" the
    martingale residual without features. More than two classes are told apart along one line, the same one for
    every feature; otherwise classes of different sizes would give features different information.

    KPNN draws binomial counts with a two-fold change up or down in every gene, in two classes of equal size; Esser-Skala
    and Fortelny set every gene to the label, which is `r2=1, down=0`. Here classes keep their sizes, and any
    label and scale will do.

    Parameters
    ----------
    samples
        The real samples, for names, means and deviations; a feature without spread or without values gets deviation 1.
        Missing values are not kept, as what is missing may tell the label.
    target
        The label of each of them.
    seed
        Seed of the study.
    draw
        Number of the draw. A draw is the same whatever the order of features and samples.
    r2
        Share of the variance of every feature that the label explains, above 0 and at most 1.
    down
        Share of the features that go down as u goes up, drawn feature by feature.
    learn
        Ids of the samples of which means, deviations and the scale of the label are taken, so that their values depend on
        no other sample; all unless given.

    Returns
    -------
    Values of shape (n_features, n_samples), of the dtype of `samples.values`.

    Raises
    ------
    ValueError
        If the label is constant, is of other samples, or `r2` or `down` is no such share.

    References
    ----------
    Fortelny & Bock (2020), doi:10.1186/s13059-020-02100-5; Esser-Skala & Fortelny (2023), doi:10.1038/s41540-023-00310-8

    Examples
    --------
    >>> from vnn.data.simulate import simulate_expression
    >>> samples = simulate_expression({"A": ["g1", "g2"]}, causal="A", n_samples=6, seed=1).samples
    >>> target = Target("phenotype", "binary", [0, 1, 0, 1, 1, 0], ("control", "case"))
    >>> equally_predictive(samples, target, seed=1).shape
    (2, 6)
    """
    if not 0 < r2 <= 1 or not 0 <= down <= 1:
        raise ValueError(f"r2 is {r2:g} and down is {down:g}; r2 must be above 0 and at most 1, down from 0 to 1.")
    if len(target.values) != samples.n_samples:
        raise ValueError(
            f"the target has {len(target.values):,} labels for {samples.n_samples:,} samples; give one for each."
        )
    rows, columns = np.argsort(np.array(samples.features)), np.argsort(np.array(samples.ids))
    known = columns if learn is None else columns[np.isin(columns, samples.index(learn))]
    score = label_score(target, known)
    rng = chance.generator(seed, "equally predictive", draw)
    signs = np.empty(samples.n_features)
    signs[rows] = np.where(rng.random(samples.n_features) < down, -1.0, 1.0)
    made = np.empty(samples.values.shape, dtype=samples.values.dtype)
    for row in rows:
        real = samples.values[row, known].astype(np.float64)
        real = real[~np.isnan(real)]
        mean, deviation = (real.mean(), real.std()) if len(real) else (0.0, 0.0)
        noise = np.empty(samples.n_samples)
        noise[columns] = rng.standard_normal(samples.n_samples)
        made[row] = mean + (deviation or 1.0) * (signs[row] * np.sqrt(r2) * score + np.sqrt(1 - r2) * noise)
    return made


def label_score(target: Target, learn: np.ndarray) -> np.ndarray:
    """A label as one number for each sample, with mean 0 and variance 1 over the samples at positions `learn`.

    Raises
    ------
    ValueError
        If all of these have the same label.
    """
    score = target.values.astype(np.float64)
    if target.events is not None:
        score = martingale_residuals(target.values, target.events, learn)
    known = score[learn]
    if not len(known) or not known.std() > 0:
        raise ValueError(
            f"the label {target.name!r} is the same in all {len(known):,} samples; no feature can tell it."
        )
    return (score - known.mean()) / known.std()

"""Baselines: what an input that is absent looks like, for every replicate."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from vnn._errors import AlignmentError, choose, culprits
from vnn.chance import generator
from vnn.data.genotypes import Cohort
from vnn.data.samples import Samples
from vnn.training import Fit

KINDS = ("mean", "zero", "normal", "universal", "specific", "samples")
DRAWN = ("normal", "universal", "specific")
TEXT = {
    "mean": "the mean of each input over the training samples of its network",
    "zero": "0 in every input",
    "normal": "{n} draws per split, each input normal with its mean and standard deviation in training",
    "universal": "{n} draws per split, every input normal with the sigma of all training values, truncated to [0, sigma]",
    "specific": "{n} draws per split, each input normal with its own standard deviation in training, truncated to [0, sigma]",
    "samples": "{n} training samples of each split, drawn at random",
}


@dataclass(frozen=True, eq=False)
class Baseline:
    """Reference inputs of the networks of a fit that did not diverge.

    Parameters
    ----------
    text
        What they are, in words.
    values
        Raw units, (n_draws, n_in, R); attributions are averaged over the draws.
    covariates
        Coded columns at their training mean, (n_columns, R), or None.
    """

    text: str
    values: np.ndarray
    covariates: np.ndarray | None

    def of(self, replicates: Sequence[int]) -> Baseline:
        """The baseline of some of the replicates, by position."""
        covariates = None if self.covariates is None else self.covariates[:, replicates]
        return Baseline(self.text, self.values[:, :, replicates], covariates)


def baseline_of(
    fit: Fit,
    kind: str | np.ndarray | pd.Series = "mean",
    *,
    background: Samples | Cohort | None = None,
    group: tuple[str, str] | None = None,
    n_draws: int = 10,
) -> Baseline:
    """The baseline called `kind`, in the raw units of the inputs.

    Parameters
    ----------
    fit
        Its splits say what each network was trained on.
    kind
        "mean", the default: the training mean of each input. "zero": 0, right for mutations and copy numbers. "normal",
        "universal", "specific": random references as Zhao et al. compare them, averaged over `n_draws`; the first
        around each input's mean, the others between 0 and one standard deviation, of all inputs or of each. "samples":
        `n_draws` people of the training part, covariates at their mean: a background. Or values of your own, one per input: a
        Series by name, or an array in the order of `fit.topology.inputs`.
    background
        Samples of the fit; needed where the fit itself does not hold what the baseline is made of.
    group
        (column, value): the mean over the training samples of this class or group instead, such as
        ("tissue", "normal"). The column is a target, covariate or group of `background`.
    n_draws
        Random references per split; of "samples" at most as many as the smallest training part has.

    Raises
    ------
    ValueError
        If values of your own have the wrong shape, are not finite, or lie outside the data.
    AlignmentError
        If a named input, the group, or the training samples of the fit are missing.

    References
    ----------
    Zhao, Shao & Asmann (2022), doi:10.1016/j.gpb.2022.07.003, for the four kinds of reference; the draws are our reading.
    """
    splits = [str(name) for name in fit.replicates["split"].to_numpy()[fit.sound]]
    inputs = fit.topology.inputs
    known = None if background is None else fit.align(background)
    if group is not None:
        values, text = _of_group(fit, known, group, splits)
        return Baseline(text, values[None], _late(fit))
    if not isinstance(kind, str):
        values = _own(inputs, kind, known)
        return Baseline("values given by the user", np.tile(values[None, :, None], (1, 1, len(splits))), _late(fit))
    choose("the baseline", kind, KINDS)
    if kind == "zero":
        _warn_of_zero(inputs, known)
        return Baseline(TEXT[kind], np.zeros((1, len(inputs), len(splits))), _late(fit))
    if kind == "samples":
        values = _people(fit, known, splits, n_draws)
        return Baseline(TEXT[kind].format(n=len(values)), values, _late(fit))
    moments = {name: _moments(fit, known, name) for name in dict.fromkeys(splits)}
    if kind == "mean":
        return Baseline(TEXT[kind], np.stack([moments[name][0] for name in splits], axis=1)[None], _late(fit))
    drawn = {name: _draws(kind, *moments[name], fit.networks.seed, name, n_draws) for name in moments}
    return Baseline(TEXT[kind].format(n=n_draws), np.stack([drawn[name] for name in splits], axis=2), _late(fit))


def _moments(fit: Fit, known: Samples | Cohort | None, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each input over the training samples of a split."""
    train = next(s.train for s in fit.splits if s.name == split)
    if known is not None and set(train) <= set(known.ids):
        return known.moments(known.index(train))[1:]
    if fit.training.scaling != "standard":
        raise AlignmentError(
            f"this baseline is made from the training samples of {split!r}, and they are not among the samples given. "
            "Pass background=, the samples the fit was made from."
        )
    scaling = fit.networks.scaling
    at = int(np.flatnonzero(fit.replicates["split"] == split)[0])
    scale, shift = (t[:, at].double().numpy() for t in (scaling.scale, scaling.shift))
    return -shift / scale, 1 / scale


def _draws(kind: str, mean: np.ndarray, sd: np.ndarray, seed: int, split: str, n: int) -> np.ndarray:
    rng = generator(seed, "baseline", kind, split)
    if kind == "normal":
        return mean + sd * rng.standard_normal((n, len(mean)))
    sigma = np.full(len(mean), np.sqrt((sd**2 + (mean - mean.mean()) ** 2).mean())) if kind == "universal" else sd
    uniform = rng.random((n, len(mean)))
    return sigma * stats.norm.ppf(0.5 + uniform * (stats.norm.cdf(1) - 0.5))


def _people(fit: Fit, known: Samples | Cohort | None, splits: Sequence[str], n: int) -> np.ndarray:
    """Values of training samples, (n_draws, n_in, R) in float32; what is missing is filled as the network fills it."""
    train = {split.name: split.train for split in fit.splits if split.name in splits}
    absent = {i for ids in train.values() for i in ids} - set(() if known is None else known.ids)
    if known is None or absent:
        raise AlignmentError(
            f"a background is drawn from the training samples of the fit, and {len(absent):,} of them are not among the "
            "samples given. Pass background=, the samples the fit was made from."
        )
    if n < 1:
        raise ValueError(f"`n_draws` is {n}; a background needs at least 1 sample.")
    n = min(n, *(len(ids) for ids in train.values()))
    drawn = {
        name: generator(fit.networks.seed, "background", name).choice(sorted(ids), n, replace=False).tolist()
        for name, ids in train.items()
    }
    columns = {name: known.numbers(ids).astype(np.float32) for name, ids in drawn.items()}
    values = np.stack([columns[name] for name in splits], axis=2).transpose(1, 0, 2)
    fill = fit.networks.scaling.fill.numpy()[:, fit.sound].astype(np.float32)
    return np.where(np.isnan(values), fill[None], values)


def _of_group(
    fit: Fit, known: Samples | Cohort | None, group: tuple[str, str], splits: Sequence[str]
) -> tuple[np.ndarray, str]:
    column, value = group
    if known is None:
        raise AlignmentError("a reference group is looked up in the samples of the fit; pass them as background=.")
    tables = [table for table in (known.targets, known.groups, known.covariates) if column in table.columns]
    if not tables:
        columns = [str(c) for t in (known.targets, known.groups, known.covariates) for c in t.columns]
        choose("the column of the reference group", column, columns)
    members = set(tables[0].index[tables[0][column].astype(str) == str(value)])
    means = {}
    for name in dict.fromkeys(splits):
        train = next(s.train for s in fit.splits if s.name == name)
        ids = [i for i in train if i in members]
        if not ids:
            found = sorted(set(tables[0][column].astype(str)))
            raise AlignmentError(
                f"no training sample of {name!r} has {column} = {str(value)!r}; the column holds {culprits(found)}."
            )
        count, mean, _ = known.moments(known.index(ids))
        means[name] = np.where(count > 0, mean, _moments(fit, known, name)[0])
    text = f"the mean over training samples with {column} = {value}; over all of them where none of these has a value"
    return np.stack([means[name] for name in splits], axis=1), text


def _own(inputs: tuple[str, ...], given: np.ndarray | pd.Series, known: Samples | Cohort | None) -> np.ndarray:
    if isinstance(given, pd.Series):
        if missing := [name for name in inputs if name not in given.index]:
            raise AlignmentError(
                f"the baseline lacks {len(missing):,} of the {len(inputs):,} inputs: {culprits(missing)}. "
                "Give a value for each, or an array in the order of `fit.topology.inputs`."
            )
        given = given.loc[list(inputs)].to_numpy()
    values = np.asarray(given, dtype=np.float64)
    if values.shape != (len(inputs),):
        raise ValueError(
            f"the baseline has shape {values.shape}; one value for each of the {len(inputs):,} inputs is needed."
        )
    if not np.isfinite(values).all():
        wrong = [inputs[i] for i in np.flatnonzero(~np.isfinite(values)).tolist()]
        raise ValueError(f"the baseline of {len(wrong):,} inputs is not finite: {culprits(wrong)}.")
    if known is not None:
        low, high = known.ends
        wrong = [inputs[i] for i in np.flatnonzero((values < low) | (values > high)).tolist()]
        if wrong:
            raise ValueError(
                f"the baseline of {len(wrong):,} of {len(inputs):,} inputs lies outside the data: {culprits(wrong)}. A network "
                'says nothing sensible there; check the units (log or not), or use baseline="mean".'
            )
    return values


def _warn_of_zero(inputs: tuple[str, ...], known: Samples | Cohort | None) -> None:
    if known is None:
        return
    low, high = known.ends
    outside = [inputs[i] for i in np.flatnonzero((low > 0) | (high < 0)).tolist()]
    if outside:
        warnings.warn(
            f"0 lies outside the data of {len(outside):,} of {len(inputs):,} inputs ({culprits(outside)}); networks were never "
            'there. baseline="mean" is right for expression and genotypes, "zero" for mutations and copy numbers.',
            stacklevel=3,
        )


def _late(fit: Fit) -> np.ndarray | None:
    if fit.coding is None:
        return None
    scaling = fit.networks.covariate_scaling
    return (-scaling.shift / scaling.scale).double().numpy()[:, fit.sound]

"""Attributions: what each node contributed to the prediction of each sample, compared with a baseline."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vnn._errors import choose
from vnn.data.genotypes import Cohort
from vnn.data.samples import Samples
from vnn.interpret.activity import into_anndata, long, wide
from vnn.interpret.axis import by_sample, node_names, per_node
from vnn.interpret.baseline import Baseline, baseline_of
from vnn.interpret.batch import batches_of
from vnn.interpret.contrast import contrasts
from vnn.interpret.deeplift import Comparison, DeepLift, Explained
from vnn.interpret.methods import Completeness, Method, method_of
from vnn.kernels import PackedPeople
from vnn.models.network import COVARIATES
from vnn.training import Fit

if TYPE_CHECKING:
    from anndata import AnnData

ROUNDED = 1e3
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
COARSE = 0.05


@dataclass(frozen=True, eq=False)
class Attributions:
    """Contributions to one contrast of the logits, shape (n_samples, R, n_nodes) per level.

    Of a complete method the sum over a level, plus `passing` (all that jumps over it: skips, and heads below it), plus the
    covariates, is the difference between the logits of the sample and of the baseline; `missed` is by how much it is not. For
    other methods the sum means nothing, and both are empty.

    Parameters
    ----------
    ids, replicates
        Names along the first two axes.
    contrast, baseline
        What is explained, and against what, in words.
    levels
        Contributions by level, the inputs and "covariates" among them; the last axis is `nodes[level]`. Copies are merged
        with their original, units of a node are summed.
    nodes
        Node ids by level.
    names
        Readable names by node id.
    held_out
        Shape (n_samples, R): whether the replicate never saw the sample in training.
    passing, missed
        By level, (n_samples, R).
    difference
        Contrast of the logits, sample minus baseline, (n_samples, R).
    method
        Its name in `vnn.interpret.methods.METHODS`.
    complete
        How far the method promises that cuts sum to the difference; see `Method`.
    standard_error
        Of the sum over a cut for methods that sample, (n_samples, R).
    """

    ids: tuple[str, ...]
    replicates: tuple[str, ...]
    contrast: str
    baseline: str
    levels: dict[str, np.ndarray]
    nodes: dict[str, tuple[str, ...]]
    names: dict[str, str]
    held_out: np.ndarray
    passing: dict[str, np.ndarray]
    missed: dict[str, np.ndarray]
    difference: np.ndarray
    method: str = "deeplift"
    complete: Completeness = "exact"
    standard_error: np.ndarray | None = None

    def table(self, *, held_out: bool = True) -> pd.DataFrame:
        """One row per sample, one column "level/node", averaged over replicates.

        Parameters
        ----------
        held_out
            Let only replicates count that held the sample out; a sample nobody held out gets missing values.
        """
        counts = self.held_out if held_out else np.ones_like(self.held_out)
        return wide(self.levels, self.nodes, self.ids, counts)

    def to_pandas(self) -> pd.DataFrame:
        """Every value in long form: sample, replicate, level, node, attribution, held_out."""
        return long("attribution", self.levels, self.nodes, self.ids, self.replicates, self.held_out)

    def to_anndata(self, adata: AnnData | None = None, *, held_out: bool = True) -> AnnData:
        """The table in `.obsm["attribution_vnn"]` of an AnnData; see `Activities.to_anndata`."""
        table = self.table(held_out=held_out)
        adata = into_anndata(adata, "attribution_vnn", table, self.ids)
        adata.uns["vnn_attribution"] = {"contrast": self.contrast, "baseline": self.baseline, "method": self.method}
        return adata

    def completeness(self) -> pd.DataFrame:
        """Per level the largest gap between the sum over its cut and the difference of the logits.

        Columns level, largest_error, scale (the largest difference of logits), complete. Where completeness is not defined the
        largest error is missing.
        """
        scale = float(np.abs(self.difference).max(initial=0.0))
        rows = [
            (level, float(np.abs(self.missed[level]).max(initial=0.0)) if level in self.missed else np.nan, scale)
            for level in (self.missed or self.levels)
        ]
        return pd.DataFrame(rows, columns=["level", "largest_error", "scale"]).assign(complete=self.complete)


def attributions(
    fit: Fit,
    samples: Samples | Cohort,
    *,
    method: str | Method = "deeplift",
    baseline: str | np.ndarray | pd.Series | None = None,
    background: Samples | Cohort | None = None,
    group: tuple[str, str] | None = None,
    label: str | None = None,
    levels: Sequence[str] | None = None,
    n_draws: int | None = None,
) -> Attributions:
    """What every node contributes to the deployed logits, for every sample and replicate, by a method of your choice.

    DeepLIFT unless told: what moved this prediction away from that of the baseline. Signs are those of the logit, activities
    and attributions are not turned. Completeness is checked in every batch where the method has it.

    Parameters
    ----------
    fit
        Trained networks; those that diverged are left out.
    samples
        Whom to explain; features join by name.
    method
        A name of `vnn.interpret.methods.METHODS`, or a `Method` with settings of your own.
    baseline, background, group, n_draws
        See `baseline_of`; the background is `samples` unless given. The baseline is "mean" unless given, and for methods over
        a background "samples" with as many draws as the method says.
    label
        The class that is explained; for two classes the second, for more it must be given.
    levels
        Levels to keep, "inputs" and "covariates" among them; all unless given. A study of 1,000 samples, 20 networks and
        10,000 inputs needs 800 MB for the inputs alone.

    Raises
    ------
    ValueError
        If a class must be chosen, or a level is unknown.
    RuntimeError
        If contributions do not sum to the difference of the logits.

    Warns
    -----
    UserWarning
        If a method has too few steps: its gap is beyond 5 % of the largest difference.
    """
    how = method_of(method)
    asked = contrasts(fit.target, label)
    if len(asked) > 1:
        raise ValueError(
            f"there are {len(asked)} classes; say which one is explained: label={fit.target.classes[0]!r}, ..."
        )
    kind, n = how.baseline(baseline, n_draws)
    reference = baseline_of(fit, kind, background=background or samples, group=group, n_draws=n)
    values, covariates, networks = fit.columns(samples)
    machine = DeepLift(networks)
    every = [*machine.order, *([COVARIATES] if networks.n_covariates else [])]
    kept = every if levels is None else [choose("the level", level, every) for level in levels]
    found: dict[str, list[np.ndarray]] = {level: [] for level in kept}
    passing: dict[str, list[np.ndarray]] = {}
    missed: dict[str, list[np.ndarray]] = {}
    difference, errors, whose = [], [], []
    contrast = torch.from_numpy(asked[0].logits)
    for batch in batches_of(machine, values, covariates, reference):
        one = how.explain(batch, contrast)
        check_completeness([one], how.completeness)
        n_samples = batch.n_samples
        whose.append(batch.at)
        for level in kept:
            found[level].append(by_sample(per_node(networks, level, one.levels[level])[:, :, :n_samples]))
        for into, parts in ((passing, one.passing), (missed, one.missed())):
            for level, part in parts.items():
                into.setdefault(level, []).append(part[:, :n_samples].T.numpy())
        difference.append(one.difference[:, :n_samples].T.numpy())
        if one.standard_error is not None:
            errors.append(one.standard_error[:, :n_samples].T.numpy())
    order = np.argsort(np.concatenate(whose))

    def joined(parts: list[np.ndarray]) -> np.ndarray:
        """In the order of the samples."""
        return np.concatenate(parts)[order]

    made = Attributions(
        samples.ids,
        tuple(fit.replicates["id"].to_numpy()[fit.sound]),
        asked[0].name,
        reference.text,
        {level: joined(parts) for level, parts in found.items()},
        {level: node_names(fit, networks, level) for level in kept},
        dict(fit.topology.names),
        fit.held_out(samples.ids)[:, fit.sound],
        {level: joined(parts) for level, parts in passing.items()},
        {level: joined(parts) for level, parts in missed.items()},
        joined(difference),
        how.name,
        how.completeness,
        joined(errors) if errors else None,
    )
    _warn_of_steps(made)
    return made


def batches(
    machine: DeepLift, values: Tensor | PackedPeople, covariates: Tensor | None, reference: Baseline
) -> Iterator[tuple[list[Comparison], np.ndarray]]:
    """The samples in batches that fit the cache, each compared with every draw of the baseline, and which they are.

    Parameters
    ----------
    values
        Raw inputs (n_in, n_samples), NaN where missing.
    covariates
        Coded columns (n_samples, n_columns), or None.
    reference
        For the replicates of the machine's network.
    """
    for batch in batches_of(machine, values, covariates, reference):
        yield [batch.comparison(d) for d in range(batch.n_draws)], batch.at


def check_completeness(explained: Sequence[Explained], completeness: Completeness = "exact") -> None:
    """Stop where contributions do not sum to the difference of the logits: the numbers would mean nothing.

    Parameters
    ----------
    completeness
        What the method promises. Cuts of one that samples must miss by the same at every level, since it is the places that
        are drawn and not the levels. Of one that takes steps or absorbs the gap is reported and not looked at here.
    """
    if completeness not in ("exact", "sampled"):
        return
    for one in explained:
        tolerance = TOLERANCE[one.difference.dtype]
        missed = one.missed()
        drawn = next(iter(missed.values())) if completeness == "sampled" else 0.0
        for level, gap in missed.items():
            room = tolerance * (1 + one.difference.abs() + one.levels[level].abs().sum(0)) + ROUNDED * one.rounding
            if not ((gap - drawn).abs() <= room).all():
                raise RuntimeError(
                    f"attributions at {level!r} miss the difference of the logits by up to {float(gap.abs().max()):.3g}. "
                    "Either values are so large that they overflow, or this is a fault of vnn: please report it."
                )


def _warn_of_steps(made: Attributions) -> None:
    """Say when a path was cut into too few steps."""
    if made.complete != "up to steps":
        return
    table = made.completeness()
    gap, scale = table["largest_error"].max(), table["scale"].max()
    if gap > COARSE * scale:
        warnings.warn(
            f"{made.method} misses differences of the logits by up to {gap:.2g}, {gap / scale:.0%} of the largest. Take more "
            "steps: vnn.interpret.methods.METHODS[...].with_settings(n_steps=64).",
            stacklevel=3,
        )

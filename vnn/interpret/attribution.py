"""Attributions: what each node contributed to the prediction of each sample, compared with a baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vnn._errors import choose
from vnn.data.samples import Samples
from vnn.interpret.activity import into_anndata, long, wide
from vnn.interpret.baseline import Baseline, baseline_of
from vnn.interpret.contrast import contrasts
from vnn.interpret.deeplift import Comparison, DeepLift, Explained
from vnn.layers import Signal
from vnn.models import VisibleNetwork
from vnn.models.network import COVARIATES
from vnn.training import Fit

if TYPE_CHECKING:
    from anndata import AnnData

VALUES_AT_ONCE, MOST_AT_ONCE, LANES = 2**23, 256, 16
ROUNDED = 1e3
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}


@dataclass(frozen=True, eq=False)
class Attributions:
    """Contributions to one contrast of the logits, shape (n_samples, R, n_nodes) per level.

    The sum over a level, plus `passing` (all that jumps over it: skips, and heads below it), plus the covariates, is the
    difference between the logits of the sample and of the baseline; `missed` is by how much it is not.

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
        adata.uns["vnn_attribution"] = {"contrast": self.contrast, "baseline": self.baseline}
        return adata

    def completeness(self) -> pd.DataFrame:
        """Per level the largest gap between the sum over its cut and the difference of the logits.

        Columns level, largest_error, scale (the largest difference of logits).
        """
        scale = float(np.abs(self.difference).max(initial=0.0))
        rows = [(level, float(np.abs(gap).max(initial=0.0)), scale) for level, gap in self.missed.items()]
        return pd.DataFrame(rows, columns=["level", "largest_error", "scale"])


def attributions(
    fit: Fit,
    samples: Samples,
    *,
    baseline: str | np.ndarray | pd.Series = "mean",
    background: Samples | None = None,
    group: tuple[str, str] | None = None,
    label: str | None = None,
    levels: Sequence[str] | None = None,
    n_draws: int = 10,
) -> Attributions:
    """DeepLIFT (rescale) contributions of every node to the deployed logits, for every sample and replicate.

    They answer what moved this prediction away from that of the baseline; signs are those of the logit, activities and
    attributions are not turned. Completeness is checked in every batch.

    Parameters
    ----------
    fit
        Trained networks; those that diverged are left out.
    samples
        Whom to explain; features join by name.
    baseline, background, group, n_draws
        See `baseline_of`; the background is `samples` unless given.
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
    """
    asked = contrasts(fit.target, label)
    if len(asked) > 1:
        raise ValueError(
            f"there are {len(asked)} classes; say which one is explained: label={fit.target.classes[0]!r}, ..."
        )
    reference = baseline_of(fit, baseline, background=background or samples, group=group, n_draws=n_draws)
    values, covariates, networks = fit.columns(samples)
    machine = DeepLift(networks)
    every = [*machine.order, *([COVARIATES] if networks.n_covariates else [])]
    kept = every if levels is None else [choose("the level", level, every) for level in levels]
    found: dict[str, list[np.ndarray]] = {level: [] for level in kept}
    passing: dict[str, list[np.ndarray]] = {level: [] for level in machine.order}
    missed: dict[str, list[np.ndarray]] = {level: [] for level in machine.order}
    difference = []
    contrast = torch.from_numpy(asked[0].logits)
    for batch in batches(machine, values, covariates, reference):
        explained = [machine.explain(comparison, contrast) for comparison in batch]
        check_completeness(explained)
        n = batch[0].n_samples
        for level in kept:
            found[level].append(by_sample(per_node(machine.network, level, mean_of(explained, level))[:, :, :n]))
        gaps = [one.missed() for one in explained]
        for level in machine.order:
            over = torch.stack([one.passing[level] for one in explained]).mean(0)
            passing[level].append(over[:, :n].T.numpy())
            missed[level].append(torch.stack([gap[level] for gap in gaps]).mean(0)[:, :n].T.numpy())
        difference.append(torch.stack([one.difference for one in explained]).mean(0)[:, :n].T.numpy())
    return Attributions(
        samples.ids,
        tuple(fit.replicates["id"].to_numpy()[fit.sound]),
        asked[0].name,
        reference.text,
        {level: np.concatenate(parts) for level, parts in found.items()},
        {level: node_names(fit, networks, level) for level in kept},
        dict(fit.topology.names),
        fit.held_out(samples.ids)[:, fit.sound],
        {level: np.concatenate(parts) for level, parts in passing.items()},
        {level: np.concatenate(parts) for level, parts in missed.items()},
        np.concatenate(difference),
    )


def batches(
    machine: DeepLift, values: Tensor, covariates: Tensor | None, reference: Baseline
) -> Iterator[list[Comparison]]:
    """The samples in batches that fit the cache, each compared with every draw of the baseline.

    Parameters
    ----------
    values
        Raw inputs (n_in, n_samples), NaN where missing.
    covariates
        Coded columns (n_samples, n_columns), or None.
    reference
        For the replicates of the machine's network.
    """
    network = machine.network
    drawn = [reference_signal(network, draw) for draw in reference.values]
    late = None if reference.covariates is None else torch.from_numpy(reference.covariates)
    at_once = VALUES_AT_ONCE // (len(values) * network.n_replicates)
    at_once = min(max(at_once // LANES, 1) * LANES, MOST_AT_ONCE)
    for at in torch.arange(values.shape[1]).split(at_once):
        signal = network.signal(values[:, at])
        columns = None if covariates is None else covariates[at]
        yield [machine.compare(signal, draw, columns, late) for draw in drawn]


def reference_signal(network: VisibleNetwork, values: np.ndarray) -> Signal:
    """Raw reference inputs (n_in, R) as the network takes them."""
    columns = torch.from_numpy(np.ascontiguousarray(values)).to(network.output_scale.dtype)
    return Signal(columns[:, :, None].repeat(1, 1, LANES), None, 1)


def mean_of(explained: Sequence[Explained], level: str) -> Tensor:
    """Contributions of a level averaged over the draws of the baseline, (n_units, R, batch)."""
    if len(explained) == 1:
        return explained[0].levels[level]
    return torch.stack([one.levels[level] for one in explained]).mean(0)


def per_node(network: VisibleNetwork, level: str, values: Tensor) -> Tensor:
    """Units of a node summed, (n_nodes, R, batch)."""
    units = network.own_units(level)
    if (units == 1).all():
        return values
    node = torch.from_numpy(np.repeat(np.arange(len(units)), units))
    return values.new_zeros(len(units), *values.shape[1:]).index_add_(0, node, values)


def by_sample(values: Tensor) -> np.ndarray:
    """(n_nodes, R, batch) as float32 (batch, R, n_nodes)."""
    return values.permute(2, 1, 0).float().contiguous().numpy()


def node_names(fit: Fit, network: VisibleNetwork, level: str) -> tuple[str, ...]:
    """Ids along the last axis of a level."""
    if level == COVARIATES:
        assert fit.coding is not None
        return fit.coding.names
    return network.own_nodes(level)


def check_completeness(explained: Sequence[Explained]) -> None:
    """Stop where contributions do not sum to the difference of the logits: the numbers would mean nothing."""
    for one in explained:
        tolerance = TOLERANCE[one.difference.dtype]
        for level, gap in one.missed().items():
            room = tolerance * (1 + one.difference.abs() + one.levels[level].abs().sum(0)) + ROUNDED * one.rounding
            if not (gap.abs() <= room).all():
                raise RuntimeError(
                    f"attributions at {level!r} miss the difference of the logits by up to {float(gap.abs().max()):.3g}. "
                    "Either values are so large that they overflow, or this is a fault of vnn: please report it."
                )

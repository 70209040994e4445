"""The networks of a fit, explained on their own samples for the protocol of Zhao."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from vnn._errors import AlignmentError, choose
from vnn.data.samples import Samples
from vnn.interpret.attribution import Attributions, attributions
from vnn.interpret.baseline import TEXT
from vnn.interpret.contrast import contrasts, part_of
from vnn.interpret.explained import ExplainedModels, Scored, Variant, drawn_samples, moments_of
from vnn.interpret.thinned import drops, thinned
from vnn.training import Fit

EXPLAINED_AT_ONCE = 256


@dataclass(frozen=True)
class FitExplainer:
    """One way to explain the networks of a fit.

    Parameters
    ----------
    attribute
        With the arguments of `attributions`.
    compares
        Whether it compares with a baseline.
    by_size
        Whether a node is scored by the mean of its absolute values, and not by a difference between classes.
    """

    attribute: Callable[..., Attributions]
    compares: bool = True
    by_size: bool = False


OURS: dict[str, FitExplainer] = {"DeepLIFT": FitExplainer(attributions)}


class OfFit(ExplainedModels):
    """The networks of a fit, explained on their own samples."""

    def __init__(
        self,
        fit: Fit,
        samples: Samples,
        as_published: bool,
        levels: Sequence[str] | None,
        n_draws: int,
        most_samples: int,
        seed: int,
    ) -> None:
        if sorted(samples.ids) != list(fit.ids):
            raise AlignmentError("the protocol needs the samples the fit was made from; these are others.")
        self.fit, self.samples, self.as_published, self.n_draws, self.seed = fit, samples, as_published, n_draws, seed
        known = [level.name for level in fit.topology.levels]
        self.levels = tuple(known if levels is None else [choose("the level", level, known) for level in levels])
        self.nodes = {level: fit.networks.own_nodes(level) for level in self.levels}
        self.names = dict(fit.topology.names)
        self.explainers = {name: one.compares for name, one in OURS.items()}
        self.asked = contrasts(fit.target)
        self.left_out: list[str] = []
        at = {name: i for i, name in enumerate(fit.ids)}
        if as_published:
            self.weights: dict[str, np.ndarray] = {}
            kept = np.arange(len(fit.sound))
            self.groups = drawn_samples(fit.target, fit.ids, most_samples, seed)
        else:
            self.weights, kept = self._sides(at)
            self.groups = {}
        self.kept = kept
        self.models = tuple(fit.replicates["id"].to_numpy()[fit.sound][kept])
        self.rankings = (
            tuple(name for name, ids in self.groups.items() for _ in ids)
            if as_published
            else tuple(c.name for c in self.asked)
        )
        self.n_explained = sum(map(len, self.groups.values())) if as_published else samples.n_samples

    def _sides(self, at: Mapping[str, int]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """By contrast the weight of each sample in each network, (n_samples, R), and the networks that have both sides."""
        fit = self.fit
        splits = {split.name: split for split in fit.splits}
        owners = fit.replicates["split"].to_numpy()[fit.sound]
        position = {name: i for i, name in enumerate(self.samples.ids)}
        weights = {c.name: np.zeros((self.samples.n_samples, len(owners))) for c in self.asked}
        whole = np.ones(len(owners), dtype=bool)
        for name in dict.fromkeys(owners):
            test = splits[name].test
            truth = part_of(fit.target, np.array([at[i] for i in test], dtype=int))
            for contrast in self.asked:
                u = contrast.sample_weights(truth) if test else None
                if u is None:
                    whole[owners == name] = False
                else:
                    rows = np.array([position[i] for i in test])
                    weights[contrast.name][np.ix_(rows, np.flatnonzero(owners == name))] = u[:, None]
        if not whole.any():
            raise ValueError(
                "no test part holds samples of both sides of every contrast, so scores are not defined; use stratified splits."
            )
        if not whole.all():
            self.left_out.append(f"{(~whole).sum():,} networks whose test part lacks one side of a contrast.")
        return weights, np.flatnonzero(whole)

    @property
    def settings(self) -> tuple[str, ...]:
        """What was explained, in words."""
        if self.as_published:
            return (
                "Every sample is explained for its own class (against the mean of the others) by every network, also by "
                "those that learnt from it.",
            )
        return ("Scores are differences between classes of held-out attributions, as shares of their level.",)

    @cached_property
    def trivial(self) -> dict[str, dict[str, np.ndarray]]:
        """Trivial rankings of the nodes of every level."""
        topology = self.fit.topology
        table = topology.table()
        aligned = self.fit.align(self.samples)
        mean, variance = moments_of(aligned.values)
        known = ~np.isnan(mean)
        found = {}
        for level in self.levels:
            own = topology.level(level).own
            rows = table[table["level"] == level][own]
            reach = topology.members[level][np.flatnonzero(own)].astype(float)
            count = np.maximum(reach @ known.astype(float), 1)
            found[level] = {
                "number of genes": rows["n_inputs"].to_numpy(float),
                "in-degree": rows["fan_in"].to_numpy(float),
                "out-degree": rows["fan_out"].to_numpy(float),
                "mean expression": reach @ np.nan_to_num(mean) / count,
                "variance": reach @ np.nan_to_num(variance) / count,
            }
        return found

    def scored(self, variant: Variant) -> Scored | str:
        """Scores of every network, or why there are none."""
        if variant.repeats and not drops(self.fit.networks):
            return "the networks were trained without dropout, so there is none to leave on"
        fits = [replace(self.fit, networks=thinned(self.fit.networks, self.seed, i)) for i in range(variant.repeats)]
        parts = [
            self._of_samples(fit, variant) if self.as_published else self._of_classes(fit, variant)
            for fit in fits or [self.fit]
        ]
        values = {level: np.mean([part.values[level] for part in parts], axis=0) for level in self.levels}
        return Scored(values, max(part.missed for part in parts), max(part.scale for part in parts))

    def reference_text(self, kind: str) -> str:
        """What a reference is, in words."""
        return TEXT[kind].format(n=self.n_draws)

    def _explain(self, fit: Fit, variant: Variant, ids: Sequence[str], label: str | None) -> Attributions:
        explainer = OURS[variant.explainer]
        chosen = (
            {"baseline": variant.reference, "n_draws": self.n_draws, "background": self.samples}
            if explainer.compares
            else {}
        )
        return explainer.attribute(fit, self.samples.select(ids=ids), label=label, levels=self.levels, **chosen)

    def _of_samples(self, fit: Fit, variant: Variant) -> Scored:
        found: dict[str, list[np.ndarray]] = {level: [] for level in self.levels}
        gaps: list[tuple[float, float]] = []
        for name, ids in self.groups.items():
            explained = self._explain(fit, variant, ids, name if fit.target.classes else None)
            for level in self.levels:
                found[level].append(explained.levels[level].transpose(1, 0, 2))
            gaps.append(_gap(explained))
        values = {level: np.concatenate(parts, axis=1) for level, parts in found.items()}
        return Scored(values, *(float(np.nanmax(one)) for one in zip(*gaps, strict=True)))

    def _of_classes(self, fit: Fit, variant: Variant) -> Scored:
        values = {level: np.zeros((len(self.kept), len(self.asked), len(self.nodes[level]))) for level in self.levels}
        by_size, ids = OURS[variant.explainer].by_size, self.samples.ids
        gaps: list[tuple[float, float]] = []
        for c, contrast in enumerate(self.asked):
            weights = self.weights[contrast.name]
            if by_size:
                weights = (weights != 0) / np.maximum((weights != 0).sum(0), 1)
            for start in range(0, len(ids), EXPLAINED_AT_ONCE):
                part = slice(start, start + EXPLAINED_AT_ONCE)
                explained = self._explain(fit, variant, ids[part], contrast.label or None)
                for level in self.levels:
                    raw = np.abs(explained.levels[level]) if by_size else explained.levels[level]
                    scores = np.einsum("sr,srn->rn", weights[part], raw.astype(np.float64))
                    values[level][:, c] += scores[self.kept]
                gaps.append(_gap(explained))
        return Scored(values, *(float(np.nanmax(one)) for one in zip(*gaps, strict=True)))


def _gap(explained: Attributions) -> tuple[float, float]:
    table = explained.completeness()
    return (float(table["largest_error"].max()), float(table["scale"].max())) if len(table) else (np.nan, np.nan)

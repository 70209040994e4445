"""The protocol of Zhao, Shao & Asmann: explain many models, average them, and see how far the rankings agree.

Zhao, Shao & Asmann (2022), Genomics Proteomics Bioinformatics 20:899, doi:10.1016/j.gpb.2022.07.003. One call does it for
our fits and for plain torch models, either as it was published or in a form that does not flatter; `docs/protocol.md` says
what each number means, what was reproduced and what was not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import nn

from vnn._errors import AlignmentError, choose, culprits
from vnn.chance import generator
from vnn.data.samples import Samples
from vnn.data.targets import Target, encode_target
from vnn.interpret.agreement import (
    MOST_PAIRS,
    agreement_of_disjoint,
    agreement_of_overlapping,
    disjoint_pairs,
    members,
    overlapping_sets,
    sizes_up_to,
    standardised_ranks,
)
from vnn.interpret.attribution import Attributions, attributions
from vnn.interpret.baseline import KINDS, TEXT, _draws
from vnn.interpret.contrast import Contrast, contrasts, part_of
from vnn.interpret.plain import PLAIN, check_plain, dropout_masks, explain_plain, outputs
from vnn.interpret.thinned import drops, thinned
from vnn.training import Fit

TOP_SHARE, TOP_PUBLISHED = 0.05, 100
FEWEST_NODES, VALUES_COMPARED, FEWEST_PAIRS = 3, 2**25, 20
EXPLAINED_AT_ONCE = 256
OF_PLAIN = {
    "mean": "the mean of each gene over the background",
    "zero": "0 in every gene",
    "normal": "{n} draws per model, each gene normal with its mean and standard deviation in the background",
    "universal": "{n} draws per model, every gene normal with the sigma of all background values, truncated to [0, sigma]",
    "specific": "{n} draws per model, each gene normal with its own standard deviation in the background, truncated to [0, sigma]",
}
OVERLAPPING, DISJOINT = "overlapping", "disjoint"
CURVES = ["explainer", "level", "models", "n", "overlap", "overlap_low", "overlap_high", "spearman", "spearman_low",
          "spearman_high", "n_sets", "n_pairs", "shared", "top", "chance"]  # fmt: skip
MATRIX = [
    "level",
    "explainer",
    "other",
    "overlap",
    "spearman",
    "overlap_disjoint",
    "spearman_disjoint",
    "top",
    "chance",
]
TRIVIAL = ["explainer", "level", "ranking", "spearman", "overlap", "top", "chance"]
LISTS = ["explainer", "contrast", "list", "n_measured", "top", "found", "expected", "ratio"]
IMPORTANCE = ["explainer", "contrast", "level", "node", "name", "score", "sd", "rank"]
COMPLETENESS = ["explainer", "largest_error", "scale"]


class Variant(NamedTuple):
    """An explainer with what it compares with ("" for nothing) and how many dropout repeats it is averaged over."""

    explainer: str
    reference: str
    repeats: int

    @property
    def name(self) -> str:
        """In words: "DeepLIFT (mean)", "saliency, dropout on"."""
        against = f" ({self.reference})" if self.reference else ""
        return f"{self.explainer}{against}{', dropout on' if self.repeats else ''}"


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


@dataclass(frozen=True, eq=False)
class Scored:
    """What one explainer says in every model.

    Parameters
    ----------
    values
        By level the scores (n_models, n_rankings, n_nodes).
    missed, scale
        Largest completeness error and largest difference of logits; missing where not defined.
    """

    values: dict[str, np.ndarray]
    missed: float
    scale: float


@dataclass(frozen=True, eq=False)
class Protocol:
    """How far explanations of models that differ in chance agree, and what they name.

    Parameters
    ----------
    as_published
        Which form this is.
    models
        Names of the models.
    n_explained
        Samples that were explained.
    importance
        A row per explainer, contrast and node: explainer, contrast, level, node, name, score (mean over models), sd (over models),
        rank (1 for the largest |score| of its level).
    curves
        A row per explainer, level, way to draw sets of models ("disjoint", "overlapping") and number n of models averaged: overlap
        (share of the top nodes two sets agree on) and spearman (of |score|) with jackknife intervals, n_sets, n_pairs, shared
        (share of models two sets have in common), top, chance (overlap of random rankings).
    matrix
        A row per level and pair of explainers: overlap and spearman of both on the same models, and "_disjoint" between one half
        of the models and the other; there the pair of an explainer with itself is its own reproducibility.
    trivial
        A row per explainer, level and trivial ranking (size, degree, mean and variance of expression): its correlation with
        |score| and the overlap of the tops.
    lists
        A row per explainer, contrast and list of genes: how many of the top genes are in it, how many are expected of
        random ones, and their ratio.
    completeness
        Per explainer the largest gap between a sum of attributions and the difference of the logits, and the largest such difference.
        Missing where completeness is not defined.
    settings
        What was done, in words.
    left_out
        What could not be computed, and why.
    """

    as_published: bool
    models: tuple[str, ...]
    n_explained: int
    importance: pd.DataFrame
    curves: pd.DataFrame
    matrix: pd.DataFrame
    trivial: pd.DataFrame
    lists: pd.DataFrame
    completeness: pd.DataFrame
    settings: tuple[str, ...]
    left_out: tuple[str, ...]

    def tables(self) -> dict[str, pd.DataFrame]:
        """Every table by its name."""
        names = ("importance", "curves", "matrix", "trivial", "lists", "completeness")
        return {name: getattr(self, name) for name in names}

    def words(self) -> str:
        """What was done and what came out, for a person."""
        form = "as published" if self.as_published else "default form"
        lines = [
            f"Zhao protocol, {form}: {len(self.models):,} models, {self.n_explained:,} samples explained.",
            *self.settings,
        ]
        for (explainer, level), part in self.curves.groupby(["explainer", "level"], sort=False):
            lines += _told(str(explainer), str(level), part)
        for row in self.trivial.to_dict("records"):
            if abs(row["spearman"]) >= 0.5:
                lines.append(
                    f"{row['explainer']}, {row['level']}: the ranking goes with {row['ranking']} (Spearman {row['spearman']:+.2f})."
                )
        lines += [f"Left out: {reason}" for reason in self.left_out]
        return "\n".join(lines)


def protocol(
    models: Fit | Sequence[nn.Module],
    samples: Samples | pd.DataFrame,
    *,
    as_published: bool = False,
    labels: str | pd.Series | Sequence[object] | None = None,
    classes: Sequence[str] | None = None,
    explainers: Sequence[str] | None = None,
    references: Sequence[str] | None = None,
    background: Samples | pd.DataFrame | None = None,
    levels: Sequence[str] | None = None,
    top: float | None = None,
    n_draws: int = 10,
    dropout_repeats: int = 0,
    lists: Mapping[str, Iterable[str]] | None = None,
    most_samples: int = 50,
    seed: int = 0,
) -> Protocol:
    """The protocol of Zhao, Shao & Asmann on the networks of a fit, or on plain torch models.

    Models that differ in chance alone are explained, the explanations of n of them are averaged, and rankings of two such
    averages are compared, for growing n. The default form scores a node by the difference between classes of its mean
    signed attribution as a share of its level, takes 5 % of the nodes as the top, and compares sets of models that have none
    in common. With `as_published` a ranking is that of one sample for its own class, the top are 100 nodes, and references
    are universal. In both forms curves are drawn both over disjoint and over overlapping sets, K = max(60 / n, 4) of them.

    Networks of one cohort share their people: agreement over seeds says how much chance of training is left, not what another
    cohort would give.

    Parameters
    ----------
    models
        A `Fit`, whose every sound network is a model; or modules from (batch, genes) to logits (batch, classes). Modules are left as
        they are: mode, device, hooks, gradients.
    samples
        Of a fit: its samples. For modules: values as the modules take them, complete, genes in their order, best of people they
        did not learn from; a frame has samples in rows.
    as_published
        The form.
    labels, classes
        For modules: the class of every sample, as a position among the logits, or as one of `classes`, which are named in the
        order of the logits; a text is a column of `samples.targets`. Unless given, the class the mean of the models predicts.
    explainers
        Keys of `OURS` for a fit, of `PLAIN` for modules; all unless given.
    references
        What they compare with, of `vnn.interpret.baseline.KINDS`; ("mean",), as published ("universal",).
    background
        Samples the references are made of; `samples` unless given. For a fit they are those of its training parts.
    levels
        For a fit: levels to rank, all unless given.
    top
        Nodes that count as the top: a number, or below 1 a share of the level.
    n_draws
        Random references per model.
    dropout_repeats
        How many thinned networks explanations are averaged over, beside those with dropout off. Each keeps one mask for samples and
        references.
    lists
        Genes by the name of their list ("housekeeping", "liver-specific"): how many of the top genes are in it. The most
        expressed genes are always a list.
    most_samples
        As published: most samples that are explained, equally many of each class where there are enough.
    seed
        Of all draws.

    Raises
    ------
    TypeError
        If the models are something else.
    ValueError
        If an option is unknown, models cannot be explained, or nothing can be ranked.
    AlignmentError
        If labels and samples do not meet.

    References
    ----------
    Zhao, Shao & Asmann (2022), doi:10.1016/j.gpb.2022.07.003

    Examples
    --------
    >>> models = [nn.Sequential(nn.Linear(40, 4), nn.ReLU(), nn.Linear(4, 2)) for _ in range(4)]
    >>> frame = pd.DataFrame(np.random.default_rng(0).normal(size=(12, 40)), columns=[f"g{i}" for i in range(40)])
    >>> found = protocol(models, frame, labels=[0, 1] * 6, explainers=["gradient x input"])
    >>> found.curves["n"].tolist()
    [1, 1, 2, 2, 3]
    """
    _check_options(top, n_draws, dropout_repeats, most_samples)
    if isinstance(models, Fit):
        if labels is not None or classes is not None:
            raise ValueError("a fit knows its labels and classes; leave out `labels` and `classes`.")
        if not isinstance(samples, Samples):
            raise TypeError(f"the samples are a {type(samples).__name__}; a fit needs the `Samples` it was made from.")
        if background is not None:
            raise ValueError("a fit takes its references from its training parts; leave out `background`.")
        subject: _OfFit | _OfPlain = _OfFit(models, samples, as_published, levels, n_draws, most_samples, seed)
    else:
        if isinstance(models, nn.Module) or not isinstance(models, Sequence):
            raise TypeError(f"the models are a {type(models).__name__}; give a `Fit`, or a list of nn.Module.")
        if levels is not None:
            raise ValueError("plain models have no named levels, only their inputs; leave out `levels`.")
        subject = _OfPlain(models, samples, as_published, labels, classes, background, n_draws, most_samples, seed)
    gathered = _Gathered(subject, as_published, top, seed)
    gathered.listed(lists or {})
    for variant in _variants(
        subject.explainers, explainers, references, as_published, dropout_repeats, gathered.left_out
    ):
        if isinstance(found := subject.scored(variant), str):
            gathered.left_out.append(f"{variant.name}: {found}.")
        else:
            gathered.add(variant, found)
    return gathered.result(subject.settings)


def _check_options(top: float | None, n_draws: int, repeats: int, most_samples: int) -> None:
    if top is not None and not (0 < top < 1 or (top >= 1 and float(top).is_integer())):
        raise ValueError(f"`top` is {top}; it must be a whole number of nodes, or a share between 0 and 1.")
    for name, value, least in (
        ("n_draws", n_draws, 1),
        ("dropout_repeats", repeats, 0),
        ("most_samples", most_samples, 2),
    ):
        if value < least:
            raise ValueError(f"`{name}` is {value}; at least {least} is needed.")


def _variants(
    known: Mapping[str, bool],
    explainers: Sequence[str] | None,
    references: Sequence[str] | None,
    as_published: bool,
    repeats: int,
    left_out: list[str],
) -> list[Variant]:
    """Every explainer with every reference, dropout off and on."""
    if isinstance(explainers, str) or isinstance(references, str):
        raise TypeError("`explainers` and `references` are lists of names; put a single name in a list.")
    asked = [choose("the explainer", name, known) for name in (known if explainers is None else explainers)]
    kinds = [
        choose("the reference", name, KINDS) for name in references or (["universal"] if as_published else ["mean"])
    ]
    if not asked:
        raise ValueError(f"no explainer is asked for; known are {', '.join(map(repr, known))}.")
    found = [Variant(name, kind, 0) for name in asked for kind in (kinds if known[name] else [""])]
    return list(dict.fromkeys([*found, *(one._replace(repeats=repeats) for one in found if repeats)]))


class _OfFit:
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
            self.groups = _drawn_samples(fit.target, fit.ids, most_samples, seed)
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
        """By contrast the weight of each sample in the score of each network, (n_samples, R), and which networks have both sides."""
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
                "Every sample is explained for its own class (against the mean of the others) by every network, also by those "
                "that learnt from it.",
            )
        return ("Scores are differences between classes of held-out attributions, as shares of their level.",)

    @cached_property
    def trivial(self) -> dict[str, dict[str, np.ndarray]]:
        """Trivial rankings of the nodes of every level."""
        topology = self.fit.topology
        table = topology.table()
        aligned = self.fit.align(self.samples)
        mean, variance = _moments_of(aligned.values)
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


class _OfPlain:
    """Plain modules, explained through Captum."""

    levels = ("inputs",)

    def __init__(
        self,
        models: Sequence[nn.Module],
        samples: Samples | pd.DataFrame,
        as_published: bool,
        labels: str | pd.Series | Sequence[object] | None,
        classes: Sequence[str] | None,
        background: Samples | pd.DataFrame | None,
        n_draws: int,
        most_samples: int,
        seed: int,
    ) -> None:
        self.networks, self.as_published, self.n_draws, self.seed = list(models), as_published, n_draws, seed
        self.x, genes, ids, targets = _values(samples, "samples")
        self.nodes, self.names = {"inputs": genes}, dict.fromkeys(())
        self.models = tuple(f"model {i}" for i in range(len(models)))
        n_outputs = check_plain(self.networks, self.x)
        self.n_outputs = n_outputs
        self.explainers = {name: one.compares for name, one in PLAIN.items()}
        self.left_out: list[str] = []
        known = _class_names(classes, n_outputs)
        self.predicted = labels is None
        if labels is None:
            mean = np.mean([outputs(model, self.x) for model in self.networks], axis=0)
            codes = mean.argmax(1) if n_outputs > 1 else (mean[:, 0] > 0).astype(int)
        else:
            codes = _codes(labels, known, classes is not None, ids, targets)
        self.target = Target("class", "multiclass" if len(known) > 2 else "binary", codes, known)
        self.reference_x = self.x
        if background is not None:
            self.reference_x, others, _, _ = _values(background, "background")
            if others != genes:
                raise AlignmentError(
                    f"the background has {len(others):,} genes and the samples {len(genes):,}; they must be the same in the same order."
                )
        if as_published:
            groups = _drawn_samples(self.target, ids, most_samples, seed)
            position = {name: i for i, name in enumerate(ids)}
            self.groups = {name: np.array([position[i] for i in chosen]) for name, chosen in groups.items()}
            self.rankings = tuple(name for name, rows in self.groups.items() for _ in rows)
            self.n_explained = len(self.rankings)
        else:
            self.asked = self._contrasts()
            self.rankings = tuple(contrast.name for contrast in self.asked)
            self.n_explained = len(self.x)

    def _contrasts(self) -> tuple[Contrast, ...]:
        found = []
        for contrast in contrasts(self.target):
            if contrast.sample_weights(self.target) is None:
                self.left_out.append(f"the contrast {contrast.name!r}: all samples are on one side of it.")
            elif self.n_outputs == 2:
                found.append(replace(contrast, logits=np.array([-1.0, 1.0])))
            else:
                found.append(contrast)
        if not found:
            labelled = "are predicted to be" if self.predicted else "are"
            raise ValueError(
                f"all {len(self.x):,} samples {labelled} of one class, so there is no difference between classes to score; give samples "
                "of at least two classes, with their labels."
            )
        return tuple(found)

    @property
    def settings(self) -> tuple[str, ...]:
        """What was explained, in words."""
        of = "the class the models predict" if self.predicted else "its class"
        if self.as_published:
            return (f"Every sample is explained for the logit of {of}.",)
        return (
            f"Scores are differences between classes of attributions, as shares of all genes; a sample counts for {of}.",
        )

    @cached_property
    def trivial(self) -> dict[str, dict[str, np.ndarray]]:
        """Trivial rankings of the genes."""
        mean, variance = _moments_of(self.x.T)
        return {"inputs": {"mean expression": mean, "variance": variance}}

    def reference_text(self, kind: str) -> str:
        """What a reference is, in words; the background stands for the training samples."""
        return OF_PLAIN[kind].format(n=self.n_draws)

    def _points(self, kind: str, model: int) -> np.ndarray:
        x = self.reference_x
        if not kind or kind == "zero":
            return np.zeros((1, x.shape[1]))
        if kind == "mean":
            return x.mean(0, keepdims=True)
        return _draws(kind, x.mean(0), x.std(0), self.seed, f"model {model}", self.n_draws)

    def scored(self, variant: Variant) -> Scored | str:
        """Scores of every model, or why there are none."""
        values, missed, scale = [], [], []
        for i, model in enumerate(self.networks):
            points = self._points(variant.reference, i)
            try:
                masks = dropout_masks(model, variant.repeats, self.seed, i)
                if variant.repeats and not masks:
                    return f"model {i} has no dropout module that drops anything, so there is none to leave on"
                rows, gaps, scales = [], [], []
                for u, x, contrast in self._questions():
                    found = explain_plain(model, variant.explainer, x, points, contrast, masks=masks)
                    if u is None:
                        rows.append(found.values)
                    elif PLAIN[variant.explainer].by_size:
                        rows.append(np.abs(found.values).mean(0, keepdims=True))
                    else:
                        rows.append(u[None] @ found.values)
                    gaps.append(found.missed)
                    scales.append(found.scale)
            except (NotImplementedError, RuntimeError, AssertionError) as error:
                return f"model {i}: {error}"
            values.append(np.concatenate(rows))
            missed.append(max(gaps))
            scale.append(max(scales))
        return Scored({"inputs": np.stack(values)}, max(missed), max(scale))

    def _questions(self) -> Iterable[tuple[np.ndarray | None, np.ndarray, np.ndarray]]:
        """Weights of the samples (None where each is a ranking), the samples, and the contrast that is explained."""
        if not self.as_published:
            for contrast in self.asked:
                yield contrast.sample_weights(self.target), self.x, contrast.logits
            return
        for name, rows in self.groups.items():
            at = self.target.classes.index(name)
            logits = np.eye(self.n_outputs)[at] if self.n_outputs > 1 else np.array([1.0 if at else -1.0])
            yield None, self.x[rows], logits


class _Gathered:
    """The tables, filled one explainer after the other; of each only means over models are kept."""

    def __init__(self, subject: _OfFit | _OfPlain, as_published: bool, top: float | None, seed: int) -> None:
        self.subject, self.as_published, self.seed = subject, as_published, seed
        self.left_out = subject.left_out
        self.rows: dict[str, list[dict[str, object]]] = {
            name: [] for name in ("curves", "trivial", "lists", "completeness", "importance")
        }
        asked = top if top is not None else (TOP_PUBLISHED if as_published else TOP_SHARE)
        self.top: dict[str, int] = {}
        for level in subject.levels:
            n = len(subject.nodes[level])
            k = max(1, round(asked * n)) if asked < 1 else int(asked)
            if n < FEWEST_NODES:
                self.left_out.append(f"{level}: it has {n} nodes; a ranking needs at least {FEWEST_NODES}.")
            elif 2 * k > n:
                self.left_out.append(
                    f"{level}: the top {k:,} of {n:,} nodes are more than half, which agree by chance; lower `top`."
                )
            else:
                self.top[level] = k
        if not self.top:
            raise ValueError("nothing can be ranked: " + " ".join(self.left_out))
        self.n = len(subject.models)
        if self.n < 2:
            self.left_out.append(
                "curves: there is one model; agreement needs at least two, trained with different seeds."
            )
        order = generator(seed, "halves of models", self.n).permutation(self.n)
        self.halves = (np.sort(order[: self.n // 2]), np.sort(order[self.n // 2 : 2 * (self.n // 2)]))
        self.means: dict[str, dict[str, tuple[np.ndarray, ...]]] = {}
        self.genes: dict[str, frozenset[str]] = {}

    def listed(self, lists: Mapping[str, Iterable[str]]) -> None:
        """Take the lists of genes, and make that of the most expressed."""
        level = self.subject.levels[0]
        if level not in self.top or "mean expression" not in self.subject.trivial[level]:
            if lists:
                self.left_out.append("lists of genes: the inputs are not ranked.")
            return
        inputs, mean = self.subject.nodes[level], self.subject.trivial[level]["mean expression"]
        found = np.argsort(-np.nan_to_num(mean, nan=-np.inf), kind="stable")[: self.top[level]]
        self.genes["most expressed"] = frozenset(inputs[i] for i in found)
        for name, genes in lists.items():
            if isinstance(genes, str):
                raise TypeError(f"the list {name!r} is a text; give its genes as a list.")
            asked = set(genes)
            if kept := asked & set(inputs):
                self.genes[name] = frozenset(kept)
            else:
                self.left_out.append(
                    f"the list {name!r}: none of its {len(asked):,} genes is among the {len(inputs):,} inputs."
                )

    def add(self, variant: Variant, scored: Scored) -> None:
        """Fill the tables with one explainer."""
        self.rows["completeness"].append(
            {"explainer": variant.name, "largest_error": scored.missed, "scale": scored.scale}
        )
        means = self.means[variant.name] = {}
        for level, k in self.top.items():
            raw = scored.values[level]
            if not np.isfinite(raw).all():
                self.left_out.append(f"{variant.name}, {level}: scores are not finite; a model diverged.")
                continue
            if not np.any(raw):
                self.left_out.append(f"{variant.name}, {level}: every score is 0.")
                continue
            values = raw if self.as_published else _shares(raw)
            whole = values.mean(0)
            halves = tuple(values[half].mean(0) for half in self.halves if len(half))
            means[level] = (whole, *halves)
            self._curves(variant, level, values, k)
            self._trivial(variant, level, whole, k)
            self._importance(variant, level, values, k)

    def _curves(self, variant: Variant, level: str, values: np.ndarray, k: int) -> None:
        most = int(np.clip(VALUES_COMPARED // values[0].size, FEWEST_PAIRS, MOST_PAIRS))
        common = {"explainer": variant.name, "level": level, "top": k, "chance": k / values.shape[2]}
        for n in sizes_up_to(self.n - 1):
            if 2 * n <= self.n:
                pairs = disjoint_pairs(self.n, n, self.seed, most=most)
                found = agreement_of_disjoint(values, pairs, k)
                self.rows["curves"].append(common | {"models": DISJOINT, "n": n} | vars(found))
            found = agreement_of_overlapping(values, overlapping_sets(self.n, n, self.seed), k)
            self.rows["curves"].append(common | {"models": OVERLAPPING, "n": n} | vars(found))

    def _trivial(self, variant: Variant, level: str, whole: np.ndarray, k: int) -> None:
        inside, ranks = members(whole, k), standardised_ranks(whole)
        for name, ranking in self.subject.trivial[level].items():
            if not np.isfinite(ranking).all() or np.ptp(ranking) == 0:
                continue
            shifted = ranking - ranking.min() + 1
            same = inside & members(shifted, k)
            spearman = (ranks * standardised_ranks(shifted)).sum(-1)
            self.rows["trivial"].append(
                {"explainer": variant.name, "level": level, "ranking": name, "spearman": float(np.nanmean(spearman)),
                 "overlap": float(same.sum(-1).mean() / k), "top": k, "chance": k / len(ranking)}
            )  # fmt: skip

    def _importance(self, variant: Variant, level: str, values: np.ndarray, k: int) -> None:
        nodes, rankings = self.subject.nodes[level], np.array(self.subject.rankings)
        for contrast in dict.fromkeys(self.subject.rankings):
            by_model = values[:, rankings == contrast].mean(1)
            score = by_model.mean(0)
            spread = by_model.std(0, ddof=1) if len(by_model) > 1 else np.full(len(score), np.nan)
            rank = stats.rankdata(-np.abs(score), method="min")
            columns = zip(nodes, score.tolist(), spread.tolist(), rank.astype(int).tolist(), strict=True)
            self.rows["importance"] += [
                {"explainer": variant.name, "contrast": contrast, "level": level, "node": node,
                 "name": self.subject.names.get(node, node), "score": value, "sd": sd, "rank": place}
                for node, value, sd, place in columns
            ]  # fmt: skip
            if level == self.subject.levels[0]:
                self._lists(variant, contrast, nodes, score, k)

    def _lists(self, variant: Variant, contrast: str, nodes: Sequence[str], score: np.ndarray, k: int) -> None:
        chosen = {nodes[i] for i in np.flatnonzero(members(score, k))}
        for name, genes in self.genes.items():
            expected = len(chosen) * len(genes) / len(nodes)
            found = len(chosen & genes)
            self.rows["lists"].append(
                {"explainer": variant.name, "contrast": contrast, "list": name, "n_measured": len(genes), "top": len(chosen),
                 "found": found, "expected": expected, "ratio": found / expected if expected else np.nan}
            )  # fmt: skip

    def _matrix(self) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = []
        for level, k in self.top.items():
            known = [name for name, means in self.means.items() if level in means]
            for one in known:
                for other in known:
                    a, b = self.means[one][level], self.means[other][level]
                    row: dict[str, object] = {"level": level, "explainer": one, "other": other, "top": k}
                    row |= {"chance": k / a[0].shape[1]}
                    row |= dict(zip(("overlap", "spearman"), _compared(a[0], b[0], k), strict=True))
                    if len(a) == 3:
                        apart = np.mean([_compared(a[1], b[2], k), _compared(a[2], b[1], k)], axis=0).tolist()
                        row |= dict(zip(("overlap_disjoint", "spearman_disjoint"), apart, strict=True))
                    rows.append(row)
        return rows

    def result(self, settings: tuple[str, ...]) -> Protocol:
        """All tables."""
        if not any(self.means.values()):
            raise ValueError("no explainer could be used: " + " ".join(self.left_out))
        frames = {name: pd.DataFrame(rows) for name, rows in self.rows.items()} | {
            "matrix": pd.DataFrame(self._matrix())
        }
        used = [name for name in self.means if self.means[name]]
        told = [f"Reference {kind!r}: {self.subject.reference_text(kind)}." for kind in _kinds(used)]
        return Protocol(
            self.as_published,
            self.subject.models,
            self.subject.n_explained,
            frames["importance"].reindex(columns=IMPORTANCE),
            frames["curves"].reindex(columns=CURVES),
            frames["matrix"].reindex(columns=MATRIX),
            frames["trivial"].reindex(columns=TRIVIAL),
            frames["lists"].reindex(columns=LISTS),
            frames["completeness"].reindex(columns=COMPLETENESS),
            (*settings, *told),
            tuple(self.left_out),
        )


def _compared(a: np.ndarray, b: np.ndarray, top: int) -> tuple[float, float]:
    """Overlap of the tops and Spearman correlation of two sets of rankings, mean over rankings."""
    spearman = (standardised_ranks(a) * standardised_ranks(b)).sum(-1)
    overlap = float((members(a, top) & members(b, top)).sum(-1).mean() / top)
    return overlap, float(np.nanmean(spearman)) if np.isfinite(spearman).any() else float("nan")


def _drawn_samples(target: Target, ids: Sequence[str], most: int, seed: int) -> dict[str, tuple[str, ...]]:
    """At most `most` samples by class (all as one group for quantities), as even as classes allow, drawn by name."""
    groups = {
        name: [i for i, code in zip(ids, target.values, strict=True) if code == at]
        for at, name in enumerate(target.classes)
    } or {target.name: list(ids)}
    groups = {name: sorted(members) for name, members in groups.items() if members}
    counts = dict.fromkeys(groups, 0)
    while sum(counts.values()) < most and (open_ := [name for name in groups if counts[name] < len(groups[name])]):
        counts[min(open_, key=lambda name: counts[name])] += 1
    return {
        name: tuple(sorted(generator(seed, "samples explained", name).permutation(members)[: counts[name]].tolist()))
        for name, members in groups.items()
        if counts[name]
    }


def _shares(values: np.ndarray) -> np.ndarray:
    """Each ranking of each model over the sum of its absolute scores; 0 where all are 0."""
    total = np.abs(values).sum(-1, keepdims=True)
    return values / np.where(total > 0, total, 1.0)


def _gap(explained: Attributions) -> tuple[float, float]:
    table = explained.completeness()
    return (float(table["largest_error"].max()), float(table["scale"].max())) if len(table) else (np.nan, np.nan)


def _moments_of(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each row over what is not missing; missing where nothing is there."""
    there = ~np.isnan(values)
    count = there.sum(1).astype(float)
    count[count == 0] = np.nan
    mean = np.where(there, values, 0.0).sum(1, dtype=np.float64) / count
    return mean, np.where(there, (values - mean[:, None]) ** 2, 0.0).sum(1, dtype=np.float64) / count


def _values(
    samples: Samples | pd.DataFrame, what: str
) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...], pd.DataFrame]:
    """Values (n_samples, n_genes) with their names, complete."""
    if isinstance(samples, Samples):
        x, genes, ids, targets = samples.values.T, samples.features, samples.ids, samples.targets
    elif isinstance(samples, pd.DataFrame):
        try:
            x = samples.to_numpy(dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"the {what} hold what is not a number: {error}. Keep only columns of genes.") from error
        genes, ids = tuple(map(str, samples.columns)), tuple(map(str, samples.index))
        targets = pd.DataFrame(index=list(ids))
        for axis, names in (("columns", genes), ("rows", ids)):
            if len(set(names)) < len(names):
                raise AlignmentError(f"the {what} have {axis} of the same name; names must be unique.")
    else:
        raise TypeError(f"the {what} are a {type(samples).__name__}; give `Samples`, or a frame with samples in rows.")
    if len(x) < 2:
        raise ValueError(f"there are {len(x)} {what}; at least 2 are needed.")
    x = np.asarray(x, dtype=np.float64)
    if not np.isfinite(x).all():
        wrong = [genes[j] for j in np.flatnonzero(~np.isfinite(x).all(0)).tolist()]
        raise ValueError(
            f"values of {len(wrong):,} of {len(genes):,} genes are missing or infinite: {culprits(wrong)}. Plain models cannot take "
            "them: fill them as they were filled in training."
        )
    return x, genes, ids, targets


def _class_names(classes: Sequence[str] | None, n_outputs: int) -> tuple[str, ...]:
    n = max(n_outputs, 2)
    if classes is None:
        return tuple(f"class {i}" for i in range(n))
    names = tuple(map(str, classes))
    if len(names) != n or len(set(names)) < n:
        raise ValueError(
            f"there are {len(names):,} classes, {culprits(names)}, and the models tell {n:,} apart; name each once, in the order of the "
            "logits."
        )
    return names


def _codes(
    labels: str | pd.Series | Sequence[object],
    known: tuple[str, ...],
    named: bool,
    ids: tuple[str, ...],
    targets: pd.DataFrame,
) -> np.ndarray:
    """The position of the class of every sample among the logits."""
    if isinstance(labels, str):
        column = targets[choose("the column of labels", labels, map(str, targets.columns))]
    elif isinstance(labels, pd.Series):
        labels = labels.rename(index=str)
        if missing := [i for i in ids if i not in labels.index]:
            raise AlignmentError(f"`labels` lacks {len(missing):,} of {len(ids):,} samples: {culprits(missing)}.")
        column = labels.loc[list(ids)]
    else:
        if len(labels) != len(ids):
            raise AlignmentError(f"there are {len(labels):,} labels for {len(ids):,} samples; each needs one.")
        column = pd.Series(list(labels), index=list(ids), dtype=object)
    if column.isna().any():
        raise ValueError(f"{int(column.isna().sum()):,} of {len(ids):,} samples have no label; leave them out.")
    if named and column.map(lambda value: isinstance(value, str)).all():
        return encode_target(column.rename("class"), "multiclass" if len(known) > 2 else "binary", known).values
    codes = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    wrong = [str(value) for value, code in zip(column, codes, strict=True) if code not in range(len(known))]
    if wrong:
        raise ValueError(
            f"{len(wrong):,} labels are not positions among the {len(known):,} logits: {culprits(dict.fromkeys(wrong))}. For names "
            "give classes=, in the order of the logits."
        )
    return codes.astype(np.int64)


def _kinds(names: Iterable[str]) -> list[str]:
    return [kind for kind in KINDS if any(f"({kind})" in name for name in names)]


def _told(explainer: str, level: str, part: pd.DataFrame) -> list[str]:
    """One line on a curve: a single model, the largest disjoint sets, and what sharing models adds."""
    apart = part[part["models"] == DISJOINT].set_index("n")
    if apart.empty:
        return []
    first, last = apart.loc[apart.index.min()], apart.loc[apart.index.max()]
    line = f"{explainer}, {level}: two models agree on {first['overlap']:.0%} of their top {int(first['top']):,} (chance {first['chance']:.0%})"
    if apart.index.max() > 1:
        line += f", two disjoint sets of {apart.index.max()} on {last['overlap']:.0%}"
    shared = part[part["models"] == OVERLAPPING].set_index("n")
    if apart.index.max() in shared.index:
        sharing = shared.loc[apart.index.max()]
        line += (
            f"; sets of {apart.index.max()} that may share models on {sharing['overlap']:.0%}, having {sharing['shared']:.0%} of them "
            "in common"
        )
    return [line + "."]

"""The protocol of Zhao, Shao & Asmann: explain many models, average them, and see how far the rankings agree.

Zhao, Shao & Asmann (2022), Genomics Proteomics Bioinformatics 20:899, doi:10.1016/j.gpb.2022.07.003. One call does it for
our fits and for plain torch models, either as it was published or in a form that does not flatter; `docs/protocol.md` says
what each number means, what was reproduced and what was not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from torch import nn

from vnn._errors import choose
from vnn.chance import generator
from vnn.data.samples import Samples
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
from vnn.interpret.baseline import KINDS
from vnn.interpret.explained import ExplainedModels, Scored, Variant
from vnn.interpret.explained_fit import OfFit
from vnn.interpret.explained_plain import OfPlain
from vnn.training import Fit

TOP_SHARE, TOP_PUBLISHED = 0.05, 100
FEWEST_NODES, VALUES_COMPARED, FEWEST_PAIRS = 3, 2**25, 20
EXPLAINED_AT_ONCE = 256
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
        Per explainer the largest gap between a sum of attributions and the difference of the logits, and the largest such
        difference. Missing where completeness is not defined.
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
        A `Fit`, whose every sound network is a model; or modules from (batch, genes) to logits (batch, classes). Modules are
        left as they are: mode, device, hooks, gradients.
    samples
        Of a fit: its samples. For modules: values as the modules take them, complete, genes in their order, best of people they
        did not learn from; a frame has samples in rows.
    as_published
        The form.
    labels, classes
        For modules: the class of every sample, as a position among the logits, or as one of `classes`, which are named in the
        order of the logits; a text is a column of `samples.targets`. Unless given, the class the mean of the models predicts.
    explainers
        Keys of `vnn.interpret.explained_fit.OURS` for a fit, of `vnn.interpret.plain.PLAIN` for modules; all unless given.
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
    >>> import torch
    >>> from vnn.chance import generator
    >>> def model(seed: int) -> nn.Module:
    ...     weight = torch.from_numpy(generator(seed, "example").standard_normal((2, 40))).float()
    ...     made = torch.nn.utils.skip_init(nn.Linear, 40, 2)
    ...     made.weight.data.copy_(weight)
    ...     made.bias.data.zero_()
    ...     return nn.Sequential(made)
    >>> models = [model(seed) for seed in range(4)]
    >>> frame = pd.DataFrame(generator(0, "people").normal(size=(12, 40)), columns=[f"g{i}" for i in range(40)])
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
        subject: ExplainedModels = OfFit(models, samples, as_published, levels, n_draws, most_samples, seed)
    else:
        if isinstance(models, nn.Module) or not isinstance(models, Sequence):
            raise TypeError(f"the models are a {type(models).__name__}; give a `Fit`, or a list of nn.Module.")
        if levels is not None:
            raise ValueError("plain models have no named levels, only their inputs; leave out `levels`.")
        subject = OfPlain(models, samples, as_published, labels, classes, background, n_draws, most_samples, seed)
    gathered = _Gathered(subject, as_published, top, seed)
    gathered.listed(lists or {})
    for variant in _variants(subject.explainers, explainers, references, as_published, dropout_repeats):
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


class _Gathered:
    """The tables, filled one explainer after the other; of each only means over models are kept."""

    def __init__(self, subject: ExplainedModels, as_published: bool, top: float | None, seed: int) -> None:
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
        self.genes["most expressed"] = frozenset(inputs[i] for i in found.tolist())
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
        chosen = {nodes[i] for i in np.flatnonzero(members(score, k)).tolist()}
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


def _shares(values: np.ndarray) -> np.ndarray:
    """Each ranking of each model over the sum of its absolute scores; 0 where all are 0."""
    total = np.abs(values).sum(-1, keepdims=True)
    return values / np.where(total > 0, total, 1.0)


def _kinds(names: Iterable[str]) -> list[str]:
    return [kind for kind in KINDS if any(f"({kind})" in name for name in names)]


def _told(explainer: str, level: str, part: pd.DataFrame) -> list[str]:
    """One line on a curve: a single model, the largest disjoint sets, and what sharing models adds."""
    apart = part[part["models"] == DISJOINT].set_index("n")
    if apart.empty:
        return []
    first, last = apart.loc[apart.index.min()], apart.loc[apart.index.max()]
    most = apart.index.max()
    line = f"{explainer}, {level}: two models agree on {first['overlap']:.0%} of their top {int(first['top']):,}"
    line += f" (chance {first['chance']:.0%})"
    if most > 1:
        line += f", two disjoint sets of {most} on {last['overlap']:.0%}"
    shared = part[part["models"] == OVERLAPPING].set_index("n")
    if most in shared.index:
        together, common = shared.loc[most, "overlap"], shared.loc[most, "shared"]
        line += f"; sets of {most} that may share models on {together:.0%}, having {common:.0%} of them in common"
    return [line + "."]

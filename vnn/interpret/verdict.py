"""Verdict: which nodes matter, how sure that is, and which question decided it."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from vnn.interpret.methods import METHODS, Method, method_of
from vnn.interpret.scored import Scored, mean
from vnn.interpret.significance import least_draws, pooled_p, significance
from vnn.interpret.stability import Stability, stability
from vnn.training.interval import interval

NOT_INFORMATIVE, NOT_RESOLVABLE, CHANCE = "model not informative", "not resolvable", "not beyond chance"
STRUCTURE, METHOD, UNSTABLE, ROBUST = "explained by structure", "method-dependent", "unstable", "robust"
LINKED = "in linkage with a robust gene"  # said by `vnn.interpret.grouping`, of genotype studies
VERDICTS = (NOT_INFORMATIVE, NOT_RESOLVABLE, CHANCE, STRUCTURE, METHOD, UNSTABLE, LINKED, ROBUST)
FEW_FAMILIES = "families of explainers were asked, which is too few"
PROPAGATION, ABLATION, RELEVANCE = "deeplift", "ablation", "lrp-gamma"
LABELS, SHIFTED = "labels", "shifted"
WIRINGS = {  # the first of which there are draws is asked
    SHIFTED: "networks whose variants were shifted along the genome",
    "rewired": "rewired networks",
    "reassigned": "networks whose genes changed places",
}
LEAST_PAIRS = 3


class Thresholds(BaseModel):
    """When a node is called what; the defaults are those of `docs/verdict.md`.

    Parameters
    ----------
    informative
        Largest p of the networks' held-out performance among networks of permuted labels, and beside covariates alone.
    chance, structure
        Largest q against permuted labels, and against rewired networks; where inputs are variants, the largest share of places in
        these that reach the node's score.
    band
        Whether a node must also lie above the prediction band of its size, degrees, level and expression.
    families
        Of the families of methods, how many must find the node at the same q.
    signs
        Smallest share of half-samples of the people in which the node pushes the same way.
    top, top_share
        The node must be among the largest `top` of its level in this share of half-samples.
    jaccard
        From which overlap of measured genes two robust nodes are one group.
    driven
        A member of which less than this share is left without the genes of its leader is driven by it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    informative: Annotated[float, Field(gt=0, lt=1)] = 0.05
    chance: Annotated[float, Field(gt=0, lt=1)] = 0.05
    structure: Annotated[float, Field(gt=0, lt=1)] = 0.05
    band: bool = True
    families: Annotated[int, Field(ge=1, le=3)] = 2
    signs: Annotated[float, Field(ge=0, le=1)] = 0.9
    top: Annotated[float, Field(gt=0, le=1)] = 0.1
    top_share: Annotated[float, Field(ge=0, le=1)] = 0.7
    jaccard: Annotated[float, Field(gt=0, le=1)] = 0.5
    driven: Annotated[float, Field(ge=0, le=1)] = 0.5

    def table(self) -> pd.DataFrame:
        """name, value and meaning of each, for the page."""
        rows = [
            ("informative", self.informative, "largest p of held-out performance, against permuted labels and covariates alone"),
            ("chance", self.chance, "largest q of a node against permuted labels"),
            ("structure", self.structure, "largest q of a node against rewired networks; for variants, share of places"),
            ("band", self.band, "whether a node must score more than nodes of its size, degrees, level and expression do"),
            ("families", self.families, "families of explainers, of three, that must find it at the same q"),
            ("signs", self.signs, "smallest share of half-samples of the people in which it pushes the same way"),
            ("top", self.top, "share of its level among which it must be in half-samples"),
            ("top_share", self.top_share, "smallest share of half-samples in which it is"),
            ("jaccard", self.jaccard, "overlap of measured genes from which robust nodes are one group"),
            ("driven", self.driven, "a member is driven by its leader if less than this share is left without the leader's genes"),
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=["name", "value", "meaning"])


@dataclass(frozen=True, eq=False)
class Informative:
    """Whether the networks predict at all.

    Parameters
    ----------
    p_labels
        Of their held-out performance among networks of permuted labels; missing without such networks.
    p_covariates
        Of their gain over covariates alone; missing without covariates.
    smallest
        Smallest p that as many networks of permuted labels can give.
    """

    p_labels: float = np.nan
    p_covariates: float = np.nan
    smallest: float = 0.0

    def why_not(self, most: float) -> str:
        """A sentence where they do not, nothing where they do."""
        if self.p_labels > max(most, self.smallest):
            return f"networks of permuted labels predict as well (p = {self.p_labels:.2g})"
        if self.p_covariates > most:
            return f"covariates alone predict as well (p = {self.p_covariates:.2g})"
        return ""


@dataclass(frozen=True, eq=False)
class Verdict:
    """What is said of every node, and the figures it rests on.

    Parameters
    ----------
    table
        A row per contrast and node: contrast, level, node, name, score (in standard deviations of the logit), low, high (95 % over
        splits), correlation (of what the node adds with the labels), p_labels, q_labels, maxt_labels, z_labels (of the
        correlation), the same of the wiring null (of the score), reached_wiring (see `reached`), by family whether it was asked and
        passes ("asked ablation", "passes ablation"), families (that pass), seeds_agree, halves_sign, halves_top, band_low,
        band_high, verdict, decided_by, draws_needed; once grouped n_genes, group, leader, driven_by,
        left, and for genotype studies locus and in_ld_with.
    thresholds
        What was asked.
    stability
        By contrast.
    wiring
        Which null of the wiring was used; empty without one.
    families
        Of methods, that were asked.
    left_out
        What could not be computed and why, a sentence each.
    places
        Whether nodes were held to reached_wiring and not to q_wiring.
    """

    table: pd.DataFrame
    thresholds: Thresholds
    stability: dict[str, Stability]
    wiring: str
    families: tuple[str, ...]
    left_out: tuple[str, ...] = field(default=())
    places: bool = False

    @property
    def robust(self) -> pd.DataFrame:
        """The robust nodes, largest score first."""
        return self.table[self.table["verdict"] == ROBUST].sort_values("score", ascending=False, kind="stable")


def verdict(
    scores: Scored,
    *,
    informative: Informative | None = None,
    thresholds: Thresholds | None = None,
    structure: pd.DataFrame | None = None,
    ratio: float = 0.0,
    seed: int = 0,
    variants: bool = False,
) -> Verdict:
    """Judge every node by an ordered rule: the first question it fails is its verdict.

    Do the networks predict? Are there draws enough? Is the node beyond permuted labels, beyond rewired networks and more than its
    size explains? Do two families of explainers find it? Is it found in halves of the people? What passes all is robust.

    Both must be positive to count: on people the network never saw, the node pushes towards the class they have. Permuted labels
    are asked whether what a node adds goes with the label at all (its correlation with the label, however little it adds); rewired
    networks whether it adds as much only in its place (its score). Both have a unit that all nodes share, so they are
    pooled over nodes and draws as they are; q is never below the p of the whole study, so that a study of nothing calls
    any node in at most 5 % of cases.

    Other wirings of variants are asked differently (`reached`): they carry every cause to another gene, so that each draw has as
    many nodes that matter as the study itself, and no q against them could be small. What is asked is whether at most 5 % of
    the places of the level reach the node's score.

    Parameters
    ----------
    scores
        Of the real networks, of the draws of both nulls, and of half-samples. The first method is the score that is reported.
    informative
        Whether the networks predict; not asked unless given.
    thresholds
        The defaults unless given.
    structure
        Of every node, as `vnn.interpret.trivial.structure` makes it; without it the band is not asked.
    ratio
        Test part over training part of a split, for the intervals; see `vnn.training.interval`.
    seed
        Of the sets of networks in `stability`.
    variants
        Whether inputs are variants of genotypes. Where variants were shifted they are, unasked.
    """
    asked = thresholds or Thresholds()
    evidence = _evidence(scores, informative or Informative(), asked, structure, ratio, seed, variants)
    return _decided(evidence, scores)


def judge(
    score: Callable[[Method], Scored],
    *,
    informative: Informative | None = None,
    thresholds: Thresholds | None = None,
    structure: pd.DataFrame | None = None,
    ratio: float = 0.0,
    seed: int = 0,
    variants: bool = False,
) -> tuple[Verdict, Scored]:
    """The verdict, asking for no more than it needs: explainers of other families only where DeepLIFT found something.

    Ablation is asked of the nodes that are beyond both nulls, LRP-gamma where DeepLIFT and ablation disagree.

    Parameters
    ----------
    score
        Scores of all networks by a method; those of half-samples are needed by the first only.
    informative, thresholds, structure, ratio, seed, variants
        As for `verdict`.
    """
    scores, asked = score(method_of(PROPAGATION)), thresholds or Thresholds()
    evidence = _evidence(scores, informative or Informative(), asked, structure, ratio, seed, variants)
    found = _decided(evidence, scores)
    if only := _undecided(found, scores):
        scores = scores.beside(score(method_of(ABLATION).with_settings(only=only)))
        found = _decided(evidence, scores)
    if (found.table["verdict"] == METHOD).any():
        scores = scores.beside(score(method_of(RELEVANCE)))
        found = _decided(evidence, scores)
    return found, scores


@dataclass(frozen=True, eq=False)
class _Evidence:
    """What the first method says of every node, before other families of methods are asked."""

    table: pd.DataFrame
    thresholds: Thresholds
    informative: Informative
    stability: dict[str, Stability]
    wiring: str
    places: bool
    short: tuple[str, ...]
    has_band: bool
    left_out: tuple[str, ...]


def _evidence(
    scores: Scored,
    informative: Informative,
    asked: Thresholds,
    structure: pd.DataFrame | None,
    ratio: float,
    seed: int,
    variants: bool,
) -> _Evidence:
    main = next(iter(scores.values))
    n_contrasts, left_out = len(scores.contrasts), list[str]()
    real = _real(scores, main, "wiring")
    table = pd.concat([scores.nodes.assign(contrast=name) for name in scores.contrasts], ignore_index=True)
    table = table[["contrast", "level", "node", "name"]].assign(score=real)
    table["low"], table["high"] = _intervals(scores, main, ratio)
    table["correlation"] = _real(scores, main, "labels")
    wiring = next((kind for kind in WIRINGS if (scores.networks["kind"] == kind).any()), "")
    short = list[str]()
    for what, kind, threshold in _nulls(wiring, asked):
        null = _draws(scores, kind, main, what)
        table = table.join(_against(null, _real(scores, main, what), table, what, threshold))
        if what == "wiring":
            table["reached_wiring"] = _reached(null, real, table)
        if len(null) >= least_draws(threshold):
            continue
        short.append(f"too few draws of the null of the {what}")
        if not len(null):
            left_out.append(f"There are no draws of the null of the {what}, so nothing is said against it.")
        else:
            left_out.append(
                f"{len(null)} draws of the null of the {what} cannot reach q = {threshold:g}; "
                f"{least_draws(threshold)} are needed."
            )
    told = {}
    for c, name in enumerate(scores.contrasts):
        told[name] = stability(scores.by_network(c, main), structure=structure, top=asked.top, seed=seed)
        left_out += [f"{name}: {line}" for line in told[name].left_out] if n_contrasts > 1 else told[name].left_out
    held = pd.concat([one.nodes for one in told.values()], ignore_index=True)
    table["seeds_agree"] = _same_sign(scores, main)
    table["halves_sign"], table["halves_top"] = held["sign_agreement"], held["top_decile"]
    has_band = bool("above" in held and held["upper"].notna().any())
    for column, own in (("band_low", "lower"), ("band_high", "upper")):
        table[column] = held[own] if has_band else np.nan
    if (int(held["n_halves"].max()) if len(held) else 0) < 2 * LEAST_PAIRS:
        short.append(f"fewer than {LEAST_PAIRS} pairs of half-samples")
    places = variants or wiring == SHIFTED
    return _Evidence(table, asked, informative, told, wiring, places, tuple(short), has_band, tuple(left_out))


def _decided(evidence: _Evidence, scores: Scored) -> Verdict:
    """The verdict, with the families of methods that have scores."""
    asked, table = evidence.thresholds, evidence.table.copy()
    families = _families(scores, table, evidence)
    for name, (passes, known) in families.items():
        table[f"passes {name}"], table[f"asked {name}"] = passes, known
    table["families"] = table[[f"passes {name}" for name in families]].sum(axis=1)
    decided = [_judge(row, evidence, len(families)) for row in table.to_dict("records")]
    table["verdict"], table["decided_by"] = zip(*decided, strict=True) if decided else ([], [])
    open_ = table["verdict"].isin([CHANCE, STRUCTURE])
    more = np.nan if evidence.places else table["more_wiring"]
    needed = np.where(table["verdict"] == STRUCTURE, more, table["more_labels"])
    table["draws_needed"] = np.where(open_, needed, np.nan)
    table = table.drop(columns=["more_labels", "more_wiring"])
    how = evidence.left_out, evidence.places
    return Verdict(table, asked, evidence.stability, evidence.wiring, tuple(families), *how)


def _undecided(found: Verdict, scores: Scored) -> dict[str, list[int]]:
    """By level the positions of the nodes of which other families must be asked."""
    asked = found.table[found.table["decided_by"].str.endswith(FEW_FAMILIES)]
    wanted = set(zip(asked["level"], asked["node"], strict=True))
    return {
        str(level): places
        for level, nodes in scores.nodes.groupby("level", sort=False)["node"]
        if (places := [i for i, node in enumerate(nodes) if (level, node) in wanted])
    }


def _judge(row: Mapping[Hashable, Any], evidence: _Evidence, n_families: int) -> tuple[str, str]:
    """The verdict of a node, and the sentence that says what decided."""
    asked = evidence.thresholds
    if why_not := evidence.informative.why_not(asked.informative):
        return NOT_INFORMATIVE, why_not
    if not np.isfinite(row["score"]) or evidence.short:
        return NOT_RESOLVABLE, ", ".join(evidence.short) or "no score"
    if not row["q_labels"] <= asked.chance:
        return CHANCE, f"q = {row['q_labels']:.2g} against permuted labels"
    if not row[_held_to(evidence)] <= asked.structure:
        reached = f"{row['reached_wiring']:.2g} of the places of its level reach its score in"
        said = reached if evidence.places else f"q = {row['q_wiring']:.2g} against"
        return STRUCTURE, f"{said} {WIRINGS[evidence.wiring]}"
    if asked.band and evidence.has_band and not abs(row["score"]) > row["band_high"]:
        return STRUCTURE, f"score {row['score']:.2g}, and nodes of its size and place reach {row['band_high']:.2g}"
    if n_families < asked.families:
        return NOT_RESOLVABLE, f"{n_families} {FEW_FAMILIES}"
    if row["families"] < asked.families:
        return METHOD, f"{row['families']} of {n_families} families of explainers find it"
    if not row["halves_sign"] >= asked.signs:
        return UNSTABLE, f"the same sign in {row['halves_sign']:.0%} of half-samples"
    if not row["halves_top"] >= asked.top_share:
        return UNSTABLE, f"among the largest {asked.top:.0%} of its level in {row['halves_top']:.0%} of half-samples"
    return ROBUST, "passed every question"


def _flat(values: np.ndarray) -> np.ndarray:
    """All contrasts side by side, (n_draws, n_contrasts * n_nodes)."""
    return values.reshape(len(values), math.prod(values.shape[1:]))


def _nulls(wiring: str, asked: Thresholds) -> tuple[tuple[str, str, float], ...]:
    """What is asked, the kind of network that answers, and the largest q."""
    return ("labels", LABELS, asked.chance), ("wiring", wiring, asked.structure)


def _real(scores: Scored, method: str, what: str) -> np.ndarray:
    """Of the real networks, (n_contrasts * n_nodes): correlations against permuted labels, scores against other wirings."""
    found: np.ndarray = _flat(scores.draws("real", method, correlations=what == "labels"))[0]
    return found


def _draws(scores: Scored, kind: str, method: str, what: str) -> np.ndarray:
    """The same of the draws of a null that have scores, (n_draws, n_contrasts * n_nodes)."""
    held = _flat(scores.draws(kind, method, correlations=what == "labels"))
    return held[np.isfinite(held).any(1)]


def _against(null: np.ndarray, real: np.ndarray, table: pd.DataFrame, what: str, threshold: float) -> pd.DataFrame:
    """p, q, step-down p, z and further draws of every node against a null; missing with fewer than 3 draws."""
    names = [f"{column}_{what}" for column in ("p", "q", "maxt", "z", "more")]
    alive = np.isfinite(real)
    if len(null) < 3 or not alive.any():
        return pd.DataFrame(np.nan, index=table.index, columns=names)
    found = significance(
        real[alive], null[:, alive], nodes=list(zip(table["contrast"], table["level"], table["node"], strict=True))
        if alive.all() else np.flatnonzero(alive).tolist(),
        levels=list(zip(table.loc[alive, "contrast"], table.loc[alive, "level"], strict=True)),
        sides="upper", scale="shared", alpha=threshold,
    )  # fmt: skip
    columns = found[["p", "q", "p_max_t", "z", "more_draws"]].set_axis(names, axis=1)
    return columns.set_index(np.flatnonzero(alive)).reindex(table.index)


def reached(real: np.ndarray, null: np.ndarray, levels: Sequence[Hashable]) -> np.ndarray:
    """Share of the places of a level, in all draws, that reach the score of a node: (1 + number) / (1 + places x draws).

    It says how rare so large a score is along the genome, and controls no rate over nodes; that is what permuted labels do.
    Nodes of a level are places for each other, as 20 draws at one place would make 1/21 of a single neighbour.

    Parameters
    ----------
    real, null
        Scores, (n_nodes,) and (n_draws, n_nodes); at least 3 draws.
    levels
        Of the nodes, (n_nodes,).
    """
    found = np.full(len(real), np.nan)
    names = pd.Series(list(levels), dtype=object)
    for nodes in names.groupby(names, sort=False).indices.values():
        found[nodes] = pooled_p(real[nodes], null[:, nodes], sides="upper", scale="shared")
    return found


def _reached(null: np.ndarray, real: np.ndarray, table: pd.DataFrame) -> np.ndarray:
    """`reached` within contrast and level; missing where `_against` is."""
    found, alive = np.full(len(real), np.nan), np.isfinite(real)
    if len(null) >= 3 and alive.any():
        levels = list(zip(table.loc[alive, "contrast"], table.loc[alive, "level"], strict=True))
        found[alive] = reached(real[alive], null[:, alive], levels)
    return found


def _held_to(evidence: _Evidence) -> str:
    """The column that is held against the threshold of structure."""
    return "reached_wiring" if evidence.places else "q_wiring"


def _families(scores: Scored, table: pd.DataFrame, evidence: _Evidence) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By family of methods whether a node passes both nulls with its first method, and whether it was asked.

    What the first method of all says is in the table.
    """
    asked, wiring = evidence.thresholds, evidence.wiring
    methods: dict[str, str] = {}
    for name in scores.values:
        methods.setdefault(METHODS[name].family, name)
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for family, method in methods.items():
        against = table
        if found:
            against = pd.concat(
                [
                    _against(_draws(scores, kind, method, what), _real(scores, method, what), table, what, threshold)
                    for what, kind, threshold in _nulls(wiring, asked)
                ],
                axis=1,
            )
            null = _draws(scores, wiring, method, "wiring")
            against["reached_wiring"] = _reached(null, _real(scores, method, "wiring"), table)
        passes = (against["q_labels"] <= asked.chance) & (against[_held_to(evidence)] <= asked.structure)
        found[family] = passes.to_numpy(), np.isfinite(_real(scores, method, "wiring"))
    return found


def _intervals(scores: Scored, method: str, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """95 % intervals over splits, seeds averaged within; missing with one split."""
    held = scores.of("real")
    by_split = [mean(held.values[method][:, part.index], 1).ravel() for _, part in held.networks.groupby("split")]
    _, low, high = interval(np.stack(by_split), ratio)
    return low, high


def _same_sign(scores: Scored, method: str) -> np.ndarray:
    """Share of the real networks in which a node has the sign of its score."""
    held = scores.of("real").values[method]
    sign = np.sign(mean(held, 1))[:, None]
    found: np.ndarray = (np.sign(held) == sign).mean(1).ravel()
    return found


def agreement(scores: Scored) -> pd.DataFrame:
    """How far methods rank the nodes alike: method_a, method_b, correlation (Spearman), overlap (of the largest tenth).

    A correlation is missing where a method says the same of all nodes.
    """
    held = {name: _flat(scores.draws("real", name))[0] for name in scores.values}
    rows = []
    for a, first in held.items():
        for b, second in held.items():
            there = np.isfinite(first) & np.isfinite(second)
            k = max(round(0.1 * there.sum()), 1)
            top = [set(np.argsort(-values[there], kind="stable")[:k].tolist()) for values in (first, second)]
            vary = there.any() and min(np.ptp(first[there]), np.ptp(second[there])) > 0
            ranks = pd.Series(first[there]).corr(pd.Series(second[there]), method="spearman") if vary else np.nan
            rows.append((a, b, ranks, len(top[0] & top[1]) / k))
    return pd.DataFrame(rows, columns=["method_a", "method_b", "correlation", "overlap"])

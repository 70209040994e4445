"""Interactions: which pairs of inputs or nodes do together what neither does alone, beside networks of permuted labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from vnn._errors import FitError, choose, culprits
from vnn.chance import generator
from vnn.data.samples import Samples
from vnn.data.shift import adjusted
from vnn.data.splits import Split
from vnn.interpret.baseline import baseline_of
from vnn.interpret.batch import reference_signal
from vnn.interpret.contrast import contrasts
from vnn.interpret.deeplift import preflight
from vnn.kernels import sparse_product, transposed_product
from vnn.layers import BatchNorm, Signal
from vnn.layers.normalisation import EPSILON
from vnn.models import VisibleNetwork
from vnn.training import Fit
from vnn.training.interval import interval, ratio_of, repeats_of

METHODS = {
    "nid": "weights that lead two nodes to where their paths first meet (neural interaction detection)",
    "dfim": "change of one node's DeepLIFT contribution when the other is put to its baseline (deep feature interaction maps)",
    "hessian": "mixed second derivative, integrated from random training samples to the sample (expected Hessian)",
}
CHOSEN = (
    "the {n} nodes of {level!r} with the largest mean absolute DeepLIFT contribution in held-out samples, as share of the network, "
    "which looks neither at labels nor at pairs; the choice is repeated in every draw, and a pair is compared with the pair of "
    "the same two ranks"
)
GIVEN = "pairs given by the user; a pair is compared with itself"
SMOOTH = "; relu, whose second derivative is 0, was replaced by softplus with beta {beta:g} as Janizek et al. do"
BETA = 10.0
N_POINTS, N_POINTS_OF_RELU = 6, 24
TINY = {torch.float32: 1e-6, torch.float64: 1e-10}
FEWEST_DRAWS = 3
SHOWN = 3

Activate = Callable[[int, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Interactions:
    """Strength of pairs by every method, and what networks of permuted labels gave.

    Parameters
    ----------
    table
        One row per method and pair: method, level, first, second, first_name, second_name, meets_at (the nodes at which the
        paths of both first meet), strength, share, low, high, p, p_max, q; the strongest first.
    candidates
        One row per node that takes part: node, name, rank, score.
    null
        One row per method, draw and pair: method, draw, pair (its position in the order of the pairs), first, second, share.
    words
        How pairs were chosen and what p and q say, a sentence each.
    """

    table: pd.DataFrame
    candidates: pd.DataFrame
    null: pd.DataFrame
    words: tuple[str, ...]


def interactions(
    fit: Fit,
    samples: Samples,
    *,
    nulls: Iterable[Fit] = (),
    level: str | None = None,
    pairs: Sequence[tuple[str, str]] | None = None,
    n_candidates: int = 10,
    methods: Sequence[str] = tuple(METHODS),
    label: str | None = None,
    baseline: str = "mean",
    n_samples: int = 64,
    n_draws: int = 1,
) -> Interactions:
    """Pairs of inputs, or of nodes of one level, whose joint effect on the logit is not the sum of two single effects.

    Every network is read on the test part of its split. Three measures of a pair (g, h):

    - "nid": sum over the nodes i at which paths from g and h first meet of z_i min(a_i(g), a_i(h)), with a_i the sum over
      paths to i, and z_i that from i to the logit, of products of absolute weights. Tsang et al. read the first hidden level
      of a dense network; in a visible one two genes may meet higher up, or nowhere, and then the value is 0.
    - "dfim": mean over samples of |C_g(x) - C_g(x with h at its baseline)|, the mean of both directions; C are DeepLIFT
      (rescale) contributions.
    - "hessian": mean over samples x of the absolute value of (x_g - x'_g)(x_h - x'_h) times the integral over a and b in (0, 1)
      of ab d2f/dg dh at x' + ab (x - x'), x' drawn from the training samples of the split.

    Shares are strengths over the sum over all pairs of that network, averaged over seeds, then splits, so that
    networks with large logits count like others. The null draws repeat everything, the choice of pairs included. Effects
    that merely add up and then saturate in a node or in the logit are interactions of the *network*, on its scale.

    Parameters
    ----------
    fit
        Trained networks; those that diverged are left out.
    samples
        The samples of the fit.
    nulls
        Fits of kind "labels" with the splits and seeds of `fit`, one after the other: `vnn.training.fit(kind="labels",
        draws=...)`, or the fits that `vnn.study.nulls.null_fits` gives. Without them there is no p.
    level
        Level whose nodes are paired; the inputs unless given. Of lower levels that jump over it the values stay as they are.
    pairs
        Pairs of node ids of the level. Unless given, all pairs of `n_candidates` nodes, chosen by mean absolute contribution.
    n_candidates
        How many nodes are paired.
    methods
        Some of "nid", "dfim" and "hessian".
    label
        The class that is explained, as for `attributions`.
    baseline
        See `baseline_of`; for "dfim", and for the choice of pairs.
    n_samples
        Most samples of a test part that are looked at, drawn by the seed of the study.
    n_draws
        Training samples each sample is compared with in "hessian".

    Returns
    -------
    `Interactions`. Their p is (1 + #{draws with at least this share}) / (P + 1); p_max compares with the largest share of
    any pair in each draw, and so holds for all pairs at once; q is Benjamini-Hochberg over the pairs of a method, of p from the
    shares standardised by each pair's own null mean and standard deviation and then pooled over pairs (a null draw
    is standardised by the other draws), and is missing with fewer than 3 draws. The interval of the share is the corrected
    resampled t interval over splits.

    Raises
    ------
    ValueError
        If a level, node, method or class is unknown, fewer than two nodes can be paired, or no split has a test part.
    FitError
        If a null is of another study, kind or design.

    References
    ----------
    Tsang, Cheng & Liu (2018), arXiv:1705.04977; Greenside et al. (2018), doi:10.1093/bioinformatics/bty575; Janizek, Sturmfels &
    Lee (2021), arXiv:2002.04138.
    """
    known = [choose("the method", method, METHODS) for method in methods]
    if sorted(samples.ids) != list(fit.ids):
        raise ValueError("interactions need the samples the fit was made from; these are others.")
    for name, given in (("n_candidates", n_candidates - 1), ("n_samples", n_samples), ("n_draws", n_draws)):
        if given < 1:
            raise ValueError(f"`{name}` is too small; interactions need at least 2 candidates, 1 sample and 1 draw.")
    asked = contrasts(fit.target, label)
    if len(asked) > 1:
        raise ValueError(
            f"there are {len(asked)} classes; say which one is explained: label={fit.target.classes[0]!r}, ..."
        )
    inputs = fit.topology.levels[0].name
    where = inputs if level is None else choose("the level", level, [inputs, *_stages(fit)])
    nodes = fit.networks.own_nodes(where)
    fixed = None if pairs is None else _positions(pairs, nodes, where)
    if fixed is None and len(nodes) < 2:
        raise ValueError(f"the level {where!r} has {len(nodes)} node; two are needed for a pair.")
    look = _Look(samples, where, torch.from_numpy(asked[0].logits), baseline, n_samples, n_draws)
    real = look.at(fit, np.flatnonzero(fit.sound >= 0), fixed, n_candidates, known)
    drawn = {}
    for null in nulls:
        _check_null(fit, null)
        for draw, replicates in _draws(fit, null):
            if draw in drawn:
                raise FitError(f"draw {draw} comes twice in the nulls; give every draw once.")
            drawn[draw] = look.at(null, replicates, fixed, n_candidates, known)
    return _result(fit, where, nodes, real, drawn, known, chosen=fixed is None)


def chances(real: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """p, p_max and q of statistics beside the same statistics in null draws; see `interactions`.

    Parameters
    ----------
    real
        Shape (n_pairs,).
    drawn
        Shape (n_draws, n_pairs); all missing values come back with no draws.
    """
    n_draws = len(drawn)
    missing = np.full(len(real), np.nan)
    if not n_draws:
        return missing, missing, missing
    p = (1 + (drawn >= real).sum(0)) / (n_draws + 1)
    p_max = (1 + (drawn.max(1)[:, None] >= real).sum(0)) / (n_draws + 1)
    if n_draws < FEWEST_DRAWS:
        return p, p_max, missing
    others = [np.delete(drawn, draw, axis=0) for draw in range(n_draws)]
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (real - drawn.mean(0)) / drawn.std(0, ddof=1)
        null = np.stack([(one - rest.mean(0)) / rest.std(0, ddof=1) for one, rest in zip(drawn, others, strict=True)])
    varies = np.isfinite(z) & np.isfinite(null).all(0)
    pool = np.sort(null[:, varies].ravel())
    reached = len(pool) - np.searchsorted(pool, z[varies], side="left")
    pooled = p.copy()
    pooled[varies] = (1 + reached) / (len(pool) + 1)
    return p, p_max, adjusted(pooled)


@dataclass(frozen=True, eq=False)
class _Found:
    """What the networks of one label vector gave: pairs, and by method strengths and shares (n_splits, n_pairs)."""

    pairs: np.ndarray
    scores: np.ndarray
    strengths: dict[str, np.ndarray]
    shares: dict[str, np.ndarray]
    meets: list[tuple[str, ...]]
    smoothed: bool


@dataclass(frozen=True, eq=False)
class _Look:
    """How networks are looked at, the same way for real ones and nulls."""

    samples: Samples
    level: str
    contrast: Tensor
    baseline: str
    n_samples: int
    n_draws: int

    def at(
        self, fit: Fit, replicates: np.ndarray, fixed: np.ndarray | None, n_candidates: int, methods: Sequence[str]
    ) -> _Found:
        """The pairs of some of the sound replicates of a fit, chosen from them unless fixed."""
        views = list(self._views(fit, replicates))
        if not views:
            raise ValueError(
                "no split with networks has a test part, so nothing was held out; make splits with one, such as `k_fold`."
            )
        size = np.mean([view.sizes() for view in views], axis=0)
        if fixed is None:
            chosen = np.argsort(-size, kind="stable")[:n_candidates]
            fixed = np.array(list(combinations(range(len(chosen)), 2)))
            fixed = chosen[fixed]
        strengths: dict[str, list[np.ndarray]] = {method: [] for method in methods}
        shares: dict[str, list[np.ndarray]] = {method: [] for method in methods}
        for view in views:
            for method in methods:
                found = view.strengths(method, fixed)
                total = found.sum(1, keepdims=True)
                strengths[method].append(found.mean(0))
                shares[method].append((found / np.where(total > 0, total, 1.0)).mean(0))
        return _Found(
            fixed,
            size,
            {method: np.stack(found) for method, found in strengths.items()},
            {method: np.stack(found) for method, found in shares.items()},
            views[0].meets(fixed),
            views[0].smoothed and "hessian" in methods,
        )

    def _views(self, fit: Fit, replicates: np.ndarray) -> Iterator[_View]:
        reference = baseline_of(fit, self.baseline, background=self.samples)
        split_of = fit.replicates["split"].to_numpy()[fit.sound]
        for split in fit.splits:
            own = [int(r) for r in replicates if split_of[r] == split.name]
            if not own or not split.test:
                continue
            ids = self._some(split.test, fit.networks.seed, "samples", split.name)
            values, _, networks = fit.columns(self.samples.select(ids=ids), own)
            view = _View(networks, self.level, self.contrast)
            view.look_at(networks.signal(values), [reference_signal(networks, one) for one in reference.of(own).values])
            view.compare_with(list(self._background(fit, split, len(ids), own)))
            yield view

    def _background(self, fit: Fit, split: Split, n: int, own: list[int]) -> Iterator[Signal]:
        for draw in range(self.n_draws):
            chance = generator(fit.networks.seed, "interactions", "background", split.name, draw)
            at = chance.integers(len(split.train), size=n)
            ids = list(dict.fromkeys(split.train[i] for i in at))
            column = {name: i for i, name in enumerate(ids)}
            values, _, networks = fit.columns(self.samples.select(ids=ids), own)
            yield networks.signal(values[:, torch.tensor([column[split.train[i]] for i in at])])

    def _some(self, ids: Sequence[str], seed: int, *names: str) -> list[str]:
        if len(ids) <= self.n_samples:
            return list(ids)
        order = generator(seed, "interactions", *names).permutation(len(ids))[: self.n_samples]
        return [ids[i] for i in np.sort(order)]


class _View:
    """Networks of one split as a function of the values of one level, what lies below it held as it is in each sample."""

    def __init__(self, network: VisibleNetwork, level: str, contrast: Tensor) -> None:
        preflight(network)
        if network.early:
            raise ValueError(
                "the first level of these networks reads covariates, and interactions are looked for between nodes only. Train "
                'with Recipe(covariates="late").'
            )
        self.network = network.eval().requires_grad_(False)
        self.level, self.contrast = level, contrast.to(network.output_scale)
        self.inputs = network.topology.levels[0].name
        names = [stage.level for stage, _ in network.layers]
        self.first = 0 if level == self.inputs else names.index(level) + 1
        self.units = network.own_units(level)
        self.node = torch.from_numpy(np.repeat(np.arange(len(self.units)), self.units))
        self.smoothed = any(isinstance(one, nn.ReLU) for one in network.activations)

    def look_at(self, signal: Signal, references: list[Signal]) -> None:
        """The samples that are explained, and the baselines of their contributions."""
        self.held = self._read(signal)
        self.point = self.held[self.level]
        self.references = [self._read(one)[self.level][:, :, :1] for one in references]

    def compare_with(self, signals: list[Signal]) -> None:
        """A training sample beside each sample, for every draw."""
        self.others = [self._read(signal)[self.level] for signal in signals]

    @torch.no_grad()
    def _read(self, signal: Signal) -> dict[str, Tensor]:
        """Values of every level, (n_units, R, n_samples), inputs scaled."""
        n = signal.n_samples
        found = {self.inputs: self.network.scaling.apply_to(signal)} | self.network.trace(signal)["activation"]
        return {level: values[:, :, :n].contiguous() for level, values in found.items()}

    def sizes(self) -> np.ndarray:
        """Mean absolute contribution of every node as share of its network, averaged over networks, (n_nodes,)."""
        found = torch.stack([self._per_node(self._contributions(self.point, one)) for one in self.references]).mean(0)
        size = found.abs().mean(2)
        return (size / size.sum(0).clamp_min(torch.finfo(size.dtype).tiny)).double().mean(1).numpy()

    def strengths(self, method: str, pairs: np.ndarray) -> np.ndarray:
        """Of every network and pair, (R, n_pairs)."""
        members, places = np.unique(pairs, return_inverse=True)
        at = torch.from_numpy(places.reshape(pairs.shape))
        units = [torch.nonzero(self.node == int(i))[:, 0] for i in members]
        of = {"nid": self._nid, "dfim": self._dfim, "hessian": self._hessian}[method]
        return of(units, at).double().numpy()

    # What the level above makes of values of the level.

    def _forward(self, values: dict[str, Tensor], own: Tensor, activate: Activate) -> tuple[Tensor, list[Tensor]]:
        """Contrast of the logits, (R, batch), and what enters every activation above the level."""
        network, entering = self.network, []
        values = values | {self.level: own}
        for i, (stage, linear) in enumerate(network.layers):
            if i < self.first:
                continue
            h = linear(values, {})
            if len(network.norms):
                h = network.norms[i](h, None)
            entering.append(h)
            values[stage.level] = activate(i, h)
        logits = sum(linear(values, {}) for linear in network.head_layers) / len(network.head_layers)
        return torch.einsum("t,tr,trb->rb", self.contrast, network.output_scale, logits), entering

    def _contributions(self, point: Tensor, reference: Tensor) -> Tensor:
        """DeepLIFT (rescale) contributions of the units of the level, (n_units, R, batch), the samples once or several times."""
        network = self.network
        held = self._repeated(point.shape[2] // self.point.shape[2])
        act: Activate = lambda i, h: network.activations[i](h)  # noqa: E731
        with torch.no_grad():
            here = self._forward(held, point, act)[1]
            there = self._forward(held, reference.expand_as(point).contiguous(), act)[1]
        modules = network.activations[self.first :]
        slopes = [_secant(module, h, h0) for module, h, h0 in zip(modules, here, there, strict=True)]
        variable = point.clone().requires_grad_()
        out, _ = self._forward(held, variable, lambda i, h: slopes[i - self.first] * h)
        return _gradient(out.sum(), variable) * (point - reference)

    def _repeated(self, times: int) -> dict[str, Tensor]:
        below = list(self.held)[: self.first]
        return {level: self.held[level].repeat(1, 1, times) for level in below}

    def _per_node(self, values: Tensor) -> Tensor:
        return values.new_zeros(len(self.units), *values.shape[1:]).index_add_(0, self.node, values)

    # The three measures.

    @torch.no_grad()
    def _nid(self, units: list[Tensor], at: Tensor) -> Tensor:
        network, spread = self.network, self.point.std(2, unbiased=False)
        influence = self.point.new_zeros(*spread.shape, len(units))
        for j, rows in enumerate(units):
            influence[rows, :, j] = spread[rows]
        onward, reached = self._onward(), {self.level: influence}
        first_meeting = self._first_meetings(units, at)
        total = self.point.new_zeros(network.n_replicates, len(at))
        for i, (stage, linear) in enumerate(network.layers):
            parts = [
                sparse_product(reached[s], weight.abs(), graph) for s, graph, weight in linear.parts() if s in reached
            ]
            if i < self.first or not parts:
                continue
            here = torch.stack(parts).sum(0) * self._factor(i)
            reached[stage.level] = here
            weaker = torch.minimum(here[:, :, at[:, 0]], here[:, :, at[:, 1]])
            total += (onward[stage.level] * weaker * first_meeting[stage.level]).sum(0)
        return total

    def _onward(self) -> dict[str, Tensor]:
        """By level the sum over paths from each unit to the contrast of products of absolute weights, (n_units, R, 1)."""
        network, found = self.network, dict[str, Tensor]()
        upstream = (self.contrast[:, None] * network.output_scale / len(network.head_layers))[:, :, None]
        for linear in network.head_layers:
            for source, graph, weight in linear.parts():
                own = transposed_product(upstream, weight, graph).abs()
                found[source] = found[source] + own if source in found else own
        for i, (stage, linear) in reversed(list(enumerate(network.layers))):
            if stage.level in found:
                for source, graph, weight in linear.parts():
                    own = transposed_product(found[stage.level] * self._factor(i), weight.abs(), graph)
                    found[source] = found[source] + own if source in found else own
        return {
            stage.level: found.get(stage.level, network.output_scale.new_zeros(1, 1, 1)) for stage, _ in network.layers
        }

    @torch.no_grad()
    def _first_meetings(self, units: list[Tensor], at: Tensor) -> dict[str, Tensor]:
        """By level above whether a unit is reached by both of a pair and nothing below it is, (n_units, 1, n_pairs)."""
        start = self.point.new_zeros(len(self.node), 1, len(units))
        for j, rows in enumerate(units):
            start[rows, 0, j] = 1
        reached, joined, found = {self.level: start}, dict[str, Tensor](), dict[str, Tensor]()
        for i, (stage, linear) in enumerate(self.network.layers):
            if i < self.first:
                continue
            parts = [
                (source, graph, weight.new_ones(len(weight), 1))
                for source, graph, weight in linear.parts()
                if source in reached
            ]
            if not parts:
                continue
            here = torch.stack([sparse_product(reached[s], ones, graph) for s, graph, ones in parts]).sum(0).sign()
            both = here[:, :, at[:, 0]] * here[:, :, at[:, 1]]
            below = [sparse_product(joined[s], ones, graph) for s, graph, ones in parts if s in joined]
            before = torch.stack(below).sum(0).sign() if below else torch.zeros_like(both)
            reached[stage.level], joined[stage.level] = here, both
            found[stage.level] = both * (1 - before)
        return found

    def meets(self, pairs: np.ndarray) -> list[tuple[str, ...]]:
        """The nodes at which the paths of each pair first meet."""
        members, at = np.unique(pairs, return_inverse=True)
        units = [torch.nonzero(self.node == int(i))[:, 0] for i in members]
        names: list[list[str]] = [[] for _ in pairs]
        for level, met in self._first_meetings(units, torch.from_numpy(at.reshape(pairs.shape))).items():
            first = np.cumsum(self.network.own_units(level)) - self.network.own_units(level)
            nodes = self.network.own_nodes(level)
            for node, pair in zip(*np.nonzero(met[torch.from_numpy(first), 0].numpy()), strict=True):
                names[pair].append(nodes[node])
        return [tuple(own) for own in names]

    def _factor(self, i: int) -> Tensor | float:
        if not len(self.network.norms):
            return 1.0
        norm = self.network.norms[i]
        assert isinstance(norm, BatchNorm)
        return (norm.gain * torch.rsqrt(norm.variance + EPSILON)).abs()[:, :, None]

    def _dfim(self, units: list[Tensor], at: Tensor) -> Tensor:
        total = self.point.new_zeros(self.network.n_replicates, len(at))
        for reference in self.references:
            points = [self.point]
            for rows in units:
                without = self.point.clone()
                without[rows] = reference[rows]
                points.append(without)
            found = self._of(self._contributions(torch.cat(points, dim=2), reference), units)
            whole, *changed = found.chunk(len(points), dim=2)
            moved = torch.stack([(whole - one).abs().mean(2) for one in changed])
            total += (moved[at[:, 0], at[:, 1]] + moved[at[:, 1], at[:, 0]]).T / 2
        return total / len(self.references)

    def _hessian(self, units: list[Tensor], at: Tensor) -> Tensor:
        n = N_POINTS_OF_RELU if self.smoothed else N_POINTS
        points, weights = product_rule(n)
        smooth = nn.Softplus(beta=BETA)

        def act(i: int, h: Tensor) -> Tensor:
            module = self.network.activations[i]
            return smooth(h) if isinstance(module, nn.ReLU) else module(h)

        held = self._repeated(n)
        weight = torch.from_numpy(np.repeat(weights, self.point.shape[2])).to(self.point)
        total = self.point.new_zeros(self.network.n_replicates, len(at))
        for other in self.others:
            moved = self.point - other
            variable = torch.cat([other + t * moved for t in points.tolist()], dim=2).requires_grad_()
            moved = moved.repeat(1, 1, n)
            out, _ = self._forward(held, variable, act)
            slope = _gradient(out.sum(), variable, again=True)
            rows = []
            for own in units:
                along = (slope[own] * moved[own]).sum()
                curved = _gradient(along, variable, keep=True) * moved * weight
                rows.append(self._of(curved, units).unflatten(-1, (n, -1)).sum(-2))
            found = torch.stack(rows).detach()
            total += found[at[:, 0], at[:, 1]].abs().mean(-1).T
        return total / len(self.others)

    @staticmethod
    def _of(values: Tensor, units: list[Tensor]) -> Tensor:
        """Units of each node summed, (n_nodes, R, batch)."""
        return torch.stack([values[rows].sum(0) for rows in units])


@cache
def product_rule(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights of the integral of ab g(ab) over a and b in (0, 1), exact where g has degree below 2 n.

    It is the integral of -t ln(t) g(t) over t in (0, 1), so the rule is Gauss' for that weight; the weights sum to 1/4.
    """
    fine, mass = np.polynomial.legendre.leggauss(200)
    fine = (fine + 1) / 2
    mass = -mass / 2 * fine * np.log(fine)
    total = mass.sum()
    vectors = [np.sqrt(mass / total)]
    diagonal, beside = [], []
    for _ in range(n):
        own = fine * vectors[-1]
        diagonal.append(float(own @ vectors[-1]))
        for held in vectors:
            own = own - (own @ held) * held
        beside.append(float(np.linalg.norm(own)))
        vectors.append(own / beside[-1])
    points, found = np.linalg.eigh(np.diag(diagonal) + np.diag(beside[:-1], 1) + np.diag(beside[:-1], -1))
    return points, total * found[0] ** 2


def _gradient(of: Tensor, by: Tensor, *, again: bool = False, keep: bool = False) -> Tensor:
    """The gradient, 0 where nothing depends on it; `again` where it is differentiated itself, `keep` where others follow."""
    if not of.requires_grad:
        return torch.zeros_like(by)
    (found,) = torch.autograd.grad(of, by, create_graph=again, retain_graph=again or keep, allow_unused=True)
    return torch.zeros_like(by) if found is None else found


def _secant(activation: nn.Module, h: Tensor, h0: Tensor) -> Tensor:
    """Difference of activations over difference of what enters them, the derivative where that is 0."""
    moved = h - h0
    small = moved.abs() <= TINY[h.dtype]
    middle = ((h + h0) / 2).requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(activation(middle).sum(), middle)
    return torch.where(small, slope, (activation(h) - activation(h0)) / torch.where(small, 1.0, moved)).detach()


def _stages(fit: Fit) -> list[str]:
    return [stage.level for stage, _ in fit.networks.layers]


def _positions(pairs: Sequence[tuple[str, str]], nodes: tuple[str, ...], level: str) -> np.ndarray:
    at = {node: i for i, node in enumerate(nodes)}
    if unknown := sorted({str(node) for pair in pairs for node in pair} - set(at)):
        raise ValueError(
            f"`pairs` names {len(unknown)} nodes that {level!r} does not compute: {culprits(unknown)}. "
            f"Its nodes look like {culprits(nodes[:3])}."
        )
    found = [tuple(sorted((at[first], at[second]))) for first, second in pairs]
    if not found or len(set(found)) < len(found) or any(first == second for first, second in found):
        raise ValueError(
            f"`pairs` holds {len(found)} pairs; at least one is needed, each of two different nodes and none twice, in any order."
        )
    return np.array(found)


def _check_null(fit: Fit, null: Fit) -> None:
    kinds = sorted(set(null.replicates["kind"]))
    if kinds != ["labels"]:
        raise FitError(
            f"a null is of kind {culprits(kinds)}; interactions are compared with networks of permuted labels, "
            'made by `fit(kind="labels", draws=...)`.'
        )
    same = (
        null.topology.fingerprint == fit.topology.fingerprint,
        null.ids == fit.ids,
        set(null.splits) == set(fit.splits),
        null.networks.seed == fit.networks.seed,
    )
    if not all(same):
        what = [name for name, held in zip(("wiring", "samples", "splits", "seed"), same, strict=True) if not held]
        raise FitError(
            f"a null has another {' and another '.join(what)} than the fit; a null differs in its labels only. "
            "Train it with the arguments of the fit and kind='labels'."
        )


def _draws(fit: Fit, null: Fit) -> Iterator[tuple[int, np.ndarray]]:
    """Every draw with the positions of its sound networks."""
    design = sorted(zip(fit.replicates["split"], fit.replicates["seed"], strict=True))
    rows = null.replicates.reset_index(drop=True)
    draw_of = rows["draw"].to_numpy()[null.sound]
    for draw in sorted({int(one) for one in rows["draw"]}):
        own = rows[rows["draw"] == draw]
        if sorted(zip(own["split"], own["seed"], strict=True)) != design:
            raise FitError(
                f"draw {draw} has {len(own)} networks where the fit has {len(design)}, or other splits and seeds; the "
                "statistic of a draw must be the same mean. Train nulls with the splits and `n_seeds` of the fit."
            )
        if len(replicates := np.flatnonzero(draw_of == draw)):
            yield draw, replicates


def _result(
    fit: Fit,
    level: str,
    nodes: tuple[str, ...],
    real: _Found,
    drawn: dict[int, _Found],
    methods: Sequence[str],
    *,
    chosen: bool,
) -> Interactions:
    names, ratio, repeats = fit.topology.names, ratio_of(fit.splits), repeats_of(fit.splits)
    tables, nulls = [], []
    for method in methods:
        share, low, high = interval(real.shares[method], ratio, repeats=repeats)
        null = np.array([one.shares[method].mean(0) for one in drawn.values()]).reshape(len(drawn), len(share))
        p, p_max, q = chances(share, null)
        first, second = ([nodes[i] for i in column] for column in real.pairs.T)
        columns = {
            "method": method, "level": level, "first": first, "second": second,
            "first_name": [names.get(i, i) for i in first], "second_name": [names.get(i, i) for i in second],
            "meets_at": [_shown([names.get(i, i) for i in met]) for met in real.meets],
            "strength": real.strengths[method].mean(0), "share": share, "low": low, "high": high,
            "p": p, "p_max": p_max, "q": q,
        }  # fmt: skip
        tables.append(pd.DataFrame(columns).sort_values("share", ascending=False, kind="stable"))
        for draw, one in drawn.items():
            rows = {
                "method": method, "draw": draw, "pair": np.arange(len(share)),
                "first": [nodes[i] for i in one.pairs[:, 0]], "second": [nodes[i] for i in one.pairs[:, 1]],
                "share": one.shares[method].mean(0),
            }  # fmt: skip
            nulls.append(pd.DataFrame(rows))
    empty = pd.DataFrame(columns=["method", "draw", "pair", "first", "second", "share"])
    return Interactions(
        pd.concat(tables, ignore_index=True),
        _candidates(fit, nodes, real),
        pd.concat(nulls, ignore_index=True) if nulls else empty,
        _words(level, real, len(drawn), methods, chosen),
    )


def _candidates(fit: Fit, nodes: tuple[str, ...], real: _Found) -> pd.DataFrame:
    members = np.unique(real.pairs)
    rank = np.argsort(np.argsort(-real.scores, kind="stable"))
    columns = {
        "node": [nodes[i] for i in members], "name": [fit.topology.names.get(nodes[i], nodes[i]) for i in members],
        "rank": rank[members] + 1, "score": real.scores[members],
    }  # fmt: skip
    return pd.DataFrame(columns).sort_values("rank", ignore_index=True)


def _words(level: str, real: _Found, n_draws: int, methods: Sequence[str], chosen: bool) -> tuple[str, ...]:
    n_pairs = len(real.pairs)
    how = CHOSEN.format(n=len(np.unique(real.pairs)), level=level) if chosen else GIVEN
    words = [f"{n_pairs} pairs: {how}."]
    if n_draws:
        least = 1 / (n_draws + 1)
        words.append(f"{n_draws} draws of permuted labels: the smallest p they can give is {least:.2g}.")
        if n_draws >= FEWEST_DRAWS:
            words.append(f"The smallest q of a single pair is {n_pairs / (n_pairs * n_draws + 1):.2g}.")
        else:
            words.append(f"q needs at least {FEWEST_DRAWS} draws.")
    else:
        words.append("No null was given, so no pair can be told from chance.")
    words += [f"{method}: {METHODS[method]}{_note(method, real.smoothed)}." for method in methods]
    return tuple(words)


def _note(method: str, smoothed: bool) -> str:
    return SMOOTH.format(beta=BETA) if method == "hessian" and smoothed else ""


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more

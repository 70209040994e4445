"""Faithfulness: whether attributions say what the network does, measured on samples it never saw.

Infidelity compares, for random sets of nodes set to the baseline, the sum of their attributions with what the prediction
really loses. Deletion and insertion curves follow the prediction while nodes are set to the baseline, or brought
back from it, in the order of their attributions. Sensitivity is how much attributions move when the sample hardly
does. None of them says that a node matters in biology.

Yeh et al. (2019), arXiv:1901.09392; Petsiuk et al. (2018), arXiv:1806.07421; Samek et al. (2017), doi:10.1109/TNNLS.2016.2599820.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import pad

from vnn._errors import AlignmentError, choose
from vnn.chance import generator
from vnn.data.samples import Samples
from vnn.interpret.ablation import SAMPLES_AT_ONCE, Values, batches_of_values, change
from vnn.interpret.attribution import Attributions
from vnn.interpret.axis import per_node
from vnn.interpret.baseline import Baseline, baseline_of
from vnn.interpret.batch import among, reference_signal
from vnn.interpret.contrast import Contrast, contrasts
from vnn.interpret.deeplift import DeepLift, Explained
from vnn.kernels import transposed_product
from vnn.layers import BatchNorm, Signal
from vnn.layers.normalisation import EPSILON
from vnn.models import VisibleNetwork
from vnn.models.network import COVARIATES
from vnn.training import Fit
from vnn.training.interval import interval, ratio_of

GIVEN, RANDOM, WEIGHT = "attribution", "random", "weight"
DELETION, INSERTION = "deletion", "insertion"
ERRORS = {"infidelity": ("error", "n"), "relative": ("error", "square"), "scaled": ("scaled", "square")}
Explain = Callable[[VisibleNetwork, Signal, Signal, Tensor | None, Tensor | None, Tensor], Explained]


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """How well attributions of one level foretell what the networks do.

    Parameters
    ----------
    level, contrast, baseline
        Of which nodes, of which prediction, and to what values nodes are set, in words.
    curves
        One row per order ("attribution", "random", "weight") and share of the nodes: order, share, deletion, insertion: what is
        left of, and what is brought back of, the difference between prediction and baseline, in units of its mean size.
    areas
        One row per order: order, the areas under both curves, deletion (lower is better) and insertion (higher is better), each
        with low and high (95 % interval over splits; missing with one split), and n_splits.
    infidelity
        One row per order, random left out: order, infidelity (mean squared error, lower is better), relative (over the mean
        squared change, so that 1 is what attributions of 0 would have), scaled (relative, after the best factor for each
        sample, so that only proportions count: all that can be asked of "weight").
    """

    level: str
    contrast: str
    baseline: str
    curves: pd.DataFrame
    areas: pd.DataFrame
    infidelity: pd.DataFrame


def faithfulness(
    fit: Fit,
    samples: Samples,
    found: Attributions,
    *,
    level: str = "inputs",
    baseline: str | np.ndarray | pd.Series = "mean",
    background: Samples | None = None,
    group: tuple[str, str] | None = None,
    n_draws: int = 10,
    n_steps: int = 10,
    n_random: int = 5,
    n_sets: int = 50,
    seed: int = 0,
) -> Faithfulness:
    """Deletion and insertion curves and infidelity of attributions, beside a random order and the order of |weight|.

    Each sample counts with the networks that held it out. Nodes are taken in the order of what they push towards the
    sample's own side of the baseline, strongest first. "weight" is, for every node, the sum over all paths to the logits of
    the product of |weights|: it looks at no sample and gives all of them one order. Attributions that do no better than
    it say nothing about samples.

    Parameters
    ----------
    fit
        Trained networks; those that diverged are left out.
    samples
        The samples of `found`.
    found
        Of any method, in the shape of `Attributions`.
    level
        Which of its levels; any but the covariates.
    baseline, background, group, n_draws
        What nodes are set to, as for `attributions`; the same as `found` was made with.
    n_steps
        Points of the curves behind the first.
    n_random
        Random orders; the curve of "random" is their mean.
    n_sets
        Random sets of nodes for infidelity, of sizes from one node to all of them.
    seed
        Seed of orders and sets.

    Raises
    ------
    ValueError
        If the level is not among those of `found`, samples, replicates or contrast are others, or no sample was held out.

    References
    ----------
    arXiv:1901.09392, arXiv:1806.07421
    """
    contrast = torch.from_numpy(_contrast_of(fit, samples, found).logits)
    choose("the level", level, [name for name in found.levels if name != COVARIATES])
    for name, n in (("n_steps", n_steps), ("n_random", n_random), ("n_sets", n_sets)):
        if n < 1:
            raise ValueError(f"`{name}` is {n}; it must be at least 1.")
    reference = baseline_of(fit, baseline, background=background or samples, group=group, n_draws=n_draws)
    shares = np.linspace(0, 1, n_steps + 1)
    sets = _sets(seed, level, found.levels[level].shape[2], n_sets)
    orders = _orders(seed, level, found.levels[level].shape[2], n_random)
    tally: dict[str, list[dict[str, np.ndarray]]] = {}
    for replicates, held in _held_out(fit, found.held_out):
        part = samples.select(ids=[samples.ids[i] for i in held])
        columns, covariates, networks = fit.columns(part, replicates)
        machine = DeepLift(networks)
        given = torch.from_numpy(found.levels[level][np.ix_(held, replicates)]).permute(2, 1, 0).double()
        weight = path_weights(networks, contrast)[level].double()[:, :, None].expand_as(given)
        measured: dict[str, list[dict[str, np.ndarray]]] = {}
        start = 0
        for batch in batches_of_values(machine, columns, covariates, reference.of(replicates)):
            n = batch[0].n_samples
            scores = {GIVEN: given[:, :, start : start + n], WEIGHT: weight[:, :, start : start + n]}
            start += n
            for one in batch:
                judge = _Judge(networks, one, contrast, level)
                for order, score in scores.items():
                    signed = score * judge.side if order == GIVEN else score
                    row = judge.curves(signed, shares)
                    row |= judge.infidelity(score, sets)
                    measured.setdefault(order, []).append(row)
                for shuffled in orders:
                    measured.setdefault(RANDOM, []).append(judge.curves(shuffled, shares))
        for order, rows in measured.items():
            tally.setdefault(order, []).append({what: np.sum([row[what] for row in rows], axis=0) for what in rows[0]})
    return _result(fit, tally, shares, level, found.contrast, reference.text)


def path_weights(network: VisibleNetwork, contrast: Tensor) -> dict[str, Tensor]:
    """For every node the sum over all paths to the contrast of the product of |weights|, (n_nodes, R) by level.

    Batch normalisation counts as a part of the weights, inputs as scaled. No data are looked at.
    """
    order = [network.topology.levels[0].name, *(stage.level for stage, _ in network.layers)]
    upstream = (contrast.to(network.output_scale)[:, None] * network.output_scale).abs()[:, :, None]
    found: dict[str, Tensor] = {}

    def hand(source: str, given: Tensor) -> None:
        found[source] = found[source] + given if source in found else given

    with torch.no_grad():
        for linear in network.head_layers:
            for source, graph, weight in linear.parts():
                hand(source, transposed_product(upstream / len(network.head_layers), weight.abs(), graph))
        for i, (stage, linear) in reversed(list(enumerate(network.layers))):
            reach = found.get(stage.level)
            if reach is None:
                continue
            if network.norms:
                norm = network.norms[i]
                assert isinstance(norm, BatchNorm)
                reach = reach * (norm.gain * torch.rsqrt(norm.variance + EPSILON)).abs()[:, :, None]
            for source, graph, weight in linear.parts():
                hand(source, transposed_product(reach, weight.abs(), graph))
    sizes = {level: network.own_units(level) for level in order}
    nothing = network.output_scale.new_zeros(1, network.n_replicates, 1)
    return {
        level: per_node(network, level, found.get(level, nothing.expand(int(units.sum()), -1, -1)))[:, :, 0]
        for level, units in sizes.items()
    }


class _Judge:
    """One batch, one draw of the baseline: what its predictions do when nodes of a level are set."""

    def __init__(self, network: VisibleNetwork, values: Values, contrast: Tensor, level: str) -> None:
        self.network, self.values, self.level = network, values, level
        self.contrast = contrast.to(network.output_scale)
        self.units = torch.from_numpy(network.own_units(level))
        self.n = values.n_samples
        whole = torch.einsum("t,trb->rb", self.contrast, values.logits)[:, : self.n].double()
        self.side = torch.where(whole < 0, -1.0, 1.0).to(whole)
        self.size = whole.abs()

    def lost(self, nodes: Tensor) -> Tensor:
        """What the contrast loses when these nodes, bool (n_nodes, R, n), are set, (R, n)."""
        spread = nodes.repeat_interleave(self.units, dim=0)
        if spread.shape[2] == self.n:
            spread = pad(spread, (0, self.values.logits.shape[2] - self.n))
        changed = change(self.network, self.values, {self.level: spread})
        return -torch.einsum("t,trb->rb", self.contrast, changed)[:, : self.n].double()

    def curves(self, score: Tensor, shares: np.ndarray) -> dict[str, np.ndarray]:
        """Sums over samples, per replicate, of what is left and what is brought back at each share, and of the sizes."""
        rank = torch.argsort(torch.argsort(score, dim=0, descending=True, stable=True), dim=0)
        left, back = [], []
        for share in shares:
            first = rank < round(share * len(rank))
            left.append((self.size - self.lost(first) * self.side).sum(1))
            back.append((self.size - self.lost(~first) * self.side).sum(1))
        return {
            DELETION: torch.stack(left, 1).numpy(),
            INSERTION: torch.stack(back, 1).numpy(),
            "size": self.size.sum(1, keepdim=True).numpy(),
        }

    def infidelity(self, score: Tensor, sets: Tensor) -> dict[str, np.ndarray]:
        """Sums over samples, per replicate, of the mean over sets of squared errors and of squared changes."""
        said = torch.stack([(score * one).sum(0) for one in sets])
        done = torch.stack([self.lost(one) for one in sets])
        square = (said**2).mean(0)
        factor = torch.where(square > 0, (said * done).mean(0) / torch.where(square > 0, square, 1.0), 0.0)
        return {
            "error": ((said - done) ** 2).mean(0).sum(1).numpy(),
            "scaled": ((factor * said - done) ** 2).mean(0).sum(1).numpy(),
            "square": (done**2).mean(0).sum(1).numpy(),
            "n": np.full(len(self.size), float(self.n)),
        }


def sensitivity(
    fit: Fit,
    samples: Samples,
    explain: Explain,
    *,
    level: str = "inputs",
    radius: float = 0.05,
    n_nearby: int = 10,
    baseline: str | np.ndarray | pd.Series = "mean",
    background: Samples | None = None,
    group: tuple[str, str] | None = None,
    label: str | None = None,
    n_draws: int = 10,
    seed: int = 0,
) -> pd.DataFrame:
    """How far the attributions of a sample move when the sample hardly does (max-sensitivity).

    The largest of `|phi(x') - phi(x)| / |phi(x)|` over random x' near x, Euclidean over the nodes of the level. A small value is
    no merit by itself: attributions that ignore the sample have 0.

    Parameters
    ----------
    fit, samples, baseline, background, group, label, n_draws
        As for `attributions`.
    explain
        A method: (network, signal, reference, covariates, reference covariates, contrast) to `Explained`.
    level
        Whose attributions.
    radius
        Inputs move by up to this many training standard deviations, each by its own uniform draw.
    n_nearby
        Draws of x'.
    seed
        Seed of the draws.

    Returns
    -------
    A row per sample: sensitivity (mean over the replicates that held it out; missing where none did, or where all
    attributions are 0), n_replicates.

    Raises
    ------
    ValueError
        If the radius is not positive, a class must be chosen, or the level is unknown.

    References
    ----------
    arXiv:1901.09392
    """
    if not radius > 0 or n_nearby < 1:
        raise ValueError(f"`radius` is {radius} and `n_nearby` {n_nearby}; both must be above 0.")
    asked = contrasts(fit.target, label)
    if len(asked) > 1:
        raise ValueError(
            f"there are {len(asked)} classes; say which one is explained: label={fit.target.classes[0]!r}, ..."
        )
    contrast = torch.from_numpy(asked[0].logits)
    reference = baseline_of(fit, baseline, background=background or samples, group=group, n_draws=n_draws)
    held_out = fit.held_out(samples.ids)[:, fit.sound]
    values = np.full(held_out.shape, np.nan)
    for replicates, held in _held_out(fit, held_out):
        columns, covariates, networks = fit.columns(samples.select(ids=[samples.ids[i] for i in held]), replicates)
        choose("the level", level, DeepLift(networks).order)
        asker = partial(_contributions, explain, networks, reference.of(replicates), contrast, level)
        deviation = (1 / networks.scaling.scale[:, :1]).to(columns)
        for at in torch.arange(len(held)).split(SAMPLES_AT_ONCE):
            rows = [held[i] for i in at.tolist()]
            late = None if covariates is None else covariates[at]
            here = asker(columns[:, at], late)
            largest = torch.zeros(here.shape[1:], dtype=torch.float64)
            for i in range(n_nearby):
                draws = [
                    generator(seed, "nearby", samples.ids[j], i).uniform(-radius, radius, len(columns)) for j in rows
                ]
                moved = columns[:, at] + torch.from_numpy(np.stack(draws, axis=1)).to(columns) * deviation
                largest = torch.maximum(largest, (asker(moved, late) - here).norm(dim=0))
            size = here.norm(dim=0)
            values[np.ix_(rows, replicates)] = torch.where(size > 0, largest / size, torch.nan).T.numpy()
    n = held_out.sum(1)
    there = ~np.isnan(values)
    mean = np.where(there.any(1), np.nansum(values, axis=1) / np.maximum(there.sum(1), 1), np.nan)
    return pd.DataFrame({"sensitivity": mean, "n_replicates": n}, index=pd.Index(samples.ids, name="sample"))


def _contributions(
    explain: Explain,
    network: VisibleNetwork,
    reference: Baseline,
    contrast: Tensor,
    level: str,
    columns: Tensor,
    covariates: Tensor | None,
) -> Tensor:
    """What the nodes of a level contribute, averaged over the draws of the baseline, (n_nodes, R, n)."""
    late = None if reference.covariates is None else torch.from_numpy(reference.covariates)
    signal = network.beside(network.signal(columns), covariates)
    found = [
        explain(network, signal, among(signal, reference_signal(network, draw)), covariates, late, contrast).levels[
            level
        ]
        for draw in reference.values
    ]
    return per_node(network, level, torch.stack(found).mean(0))[:, :, : columns.shape[1]].double()


def _contrast_of(fit: Fit, samples: Samples, found: Attributions) -> Contrast:
    """The contrast that was explained, once the attributions are found to be of these samples and networks."""
    if found.ids != samples.ids:
        raise AlignmentError(
            "the attributions are of other samples, or in another order; pass those they were made from."
        )
    replicates = tuple(fit.replicates["id"].to_numpy()[fit.sound])
    if found.replicates != replicates:
        raise AlignmentError(
            f"the attributions are of {len(found.replicates)} replicates, the fit has {len(replicates)} others; pass its own."
        )
    labels = fit.target.classes or (None,)
    known = {one.name: one for label in labels for one in contrasts(fit.target, label)}
    return known[choose("the contrast of the attributions", found.contrast, known)]


def _held_out(fit: Fit, held_out: np.ndarray) -> Iterator[tuple[list[int], list[int]]]:
    """By split the positions of its replicates among those that did not diverge, and of the samples they never saw."""
    names = fit.replicates["split"].to_numpy()[fit.sound]
    groups = []
    for name in dict.fromkeys(names):
        replicates = np.flatnonzero(names == name).tolist()
        if held := np.flatnonzero(held_out[:, replicates].all(1)).tolist():
            groups.append((replicates, held))
    if not groups:
        raise ValueError("no network held any of these samples out, so faithfulness cannot be measured; pass others.")
    yield from groups


def _sets(seed: int, level: str, n_nodes: int, n_sets: int) -> Tensor:
    """Random sets of nodes, bool (n_sets, n_nodes, 1, 1), of sizes uniform from one to all."""
    made = []
    for i in range(n_sets):
        rng = generator(seed, "set of nodes", level, i)
        made.append(rng.permutation(n_nodes) < rng.integers(1, n_nodes + 1))
    return torch.from_numpy(np.stack(made))[:, :, None, None]


def _orders(seed: int, level: str, n_nodes: int, n_random: int) -> list[Tensor]:
    """Random scores of nodes, (n_nodes, 1, 1)."""
    return [
        torch.from_numpy(generator(seed, "order of nodes", level, i).permutation(n_nodes))[:, None, None]
        for i in range(n_random)
    ]


def _result(
    fit: Fit,
    tally: dict[str, list[dict[str, np.ndarray]]],
    shares: np.ndarray,
    level: str,
    contrast: str,
    text: str,
) -> Faithfulness:
    ratio = ratio_of(fit.splits)
    curves, areas, errors = [], [], []
    for order in (GIVEN, WEIGHT, RANDOM):
        by_split = {
            what: np.stack([(split[what] / split["size"]).mean(0) for split in tally[order]])
            for what in (DELETION, INSERTION)
        }
        curves.append(pd.DataFrame({"order": order, "share": shares} | {k: v.mean(0) for k, v in by_split.items()}))
        row: dict[str, object] = {"order": order}
        for what, held in by_split.items():
            area = ((held[:, 1:] + held[:, :-1]) / 2 * np.diff(shares)).sum(1)
            row[what], row[f"{what}_low"], row[f"{what}_high"] = (float(v[0]) for v in interval(area[:, None], ratio))
        areas.append(row | {"n_splits": len(tally[order])})
        if order == RANDOM:
            continue
        error: dict[str, object] = {"order": order}
        for name, (above, below) in ERRORS.items():
            told = order == GIVEN or name == "scaled"
            error[name] = float(np.mean([(one[above] / one[below]).mean() for one in tally[order]])) if told else np.nan
        errors.append(error)
    return Faithfulness(
        level, contrast, text, pd.concat(curves, ignore_index=True), pd.DataFrame(areas), pd.DataFrame(errors)
    )

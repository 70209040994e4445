"""DeepLIFT (rescale rule) for inputs, every level and every replicate, in one sweep against the signal.

A sample is compared with a reference. What the difference of the logits owes to a node is its
multiplier times the difference of its value; multipliers run from the logits back along every edge, and
an activation passes them on times (difference of its values) / (difference of its inputs). With all
linear parts exact, the contributions over any cut of the network sum to the difference of the logits.

Shrikumar, Greenside & Kundaje (2017), arXiv:1704.02685. Here one forward pass serves every contrast,
and one backward sweep gives the inputs, all levels and what jumps over each of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vnn.interpret.sweep import ELEMENTWISE, KNOWN, PREDICTION, Sweep, Trace, derivative, preflight
from vnn.kernels import edge_product
from vnn.layers import Signal
from vnn.models import VisibleNetwork
from vnn.models.network import COVARIATES

__all__ = ["ELEMENTWISE", "KNOWN", "PREDICTION", "Comparison", "DeepLift", "Explained", "preflight"]
TINY = {torch.float32: 1e-6, torch.float64: 1e-10}


@dataclass(frozen=True, eq=False)
class Comparison:
    """Samples beside their reference, before any contrast is chosen; batches carry the network's padding.

    Parameters
    ----------
    delta
        By level the difference of values, (n_units, R, batch); the inputs in scaled units, covariates too where there are any.
    slope
        By level above the inputs, difference of activations over difference of products.
    logits
        Difference of the deployed logits, (n_targets, R, batch).
    n_samples
        Samples of the batch.
    rounding
        Largest scaled input before it is centred, times the precision of its type: what the forward pass cannot resolve.
    """

    delta: dict[str, Tensor]
    slope: dict[str, Tensor]
    logits: Tensor
    n_samples: int
    rounding: float


@dataclass(frozen=True, eq=False)
class Explained:
    """Contributions to one contrast of the logits.

    Parameters
    ----------
    levels
        By level the contribution of every unit, (n_units, R, batch); the inputs and covariates included.
    passing
        By level the sum over all edges that jump over it, (R, batch): skips, and heads attached below it. Empty where a method
        does not make the sum over a cut mean anything.
    difference
        Contrast of the logits, sample minus reference, (R, batch).
    multipliers
        By level above the inputs, of its product; what edges carry is computed from them. Empty for methods without.
    direct
        By level the multiplier of what the heads read there, (n_units, R, 1). Empty for methods without.
    rounding
        As in the comparison.
    standard_error
        Of the sum over a cut where a method samples, (R, batch).
    """

    levels: dict[str, Tensor]
    passing: dict[str, Tensor]
    difference: Tensor
    multipliers: dict[str, Tensor]
    direct: dict[str, Tensor]
    rounding: float
    standard_error: Tensor | None = None

    def missed(self) -> dict[str, Tensor]:
        """By level how far the sum over its cut is from the difference, (R, batch); empty where `passing` is."""
        late = self.levels[COVARIATES].sum(0) if COVARIATES in self.levels else 0.0
        return {
            level: self.levels[level].sum(0) + over + late - self.difference for level, over in self.passing.items()
        }


class DeepLift:
    """One network ready to be explained.

    Parameters
    ----------
    network
        Any number of replicates; read in evaluation mode, its own mode is restored.
    above
        Explain the levels above the inputs only, where nothing jumps from the inputs over the first of them: no value of an
        input is looked at then, so that genotypes stay packed.

    Raises
    ------
    TypeError
        If `preflight` refuses it.
    """

    def __init__(self, network: VisibleNetwork, *, above: bool = False) -> None:
        self.sweep, self.network = Sweep(network), network
        self.inputs, self.order = self.sweep.inputs, self.sweep.order
        leaving = {source for source, _ in self.sweep.jumps}
        leaving |= {source for linear in network.head_layers for source in linear.sources}
        self.above = above and self.inputs not in leaving

    @torch.no_grad()
    def compare(
        self,
        signal: Signal,
        reference: Signal,
        covariates: Tensor | None = None,
        reference_covariates: Tensor | None = None,
    ) -> Comparison:
        """The differences between samples and reference at every level.

        Parameters
        ----------
        signal
            The samples, one copy for all replicates.
        reference
            Of one column, or one for each sample; of one replicate, or one for each. Nothing may be missing in it.
        covariates, reference_covariates
            Coded columns, (n_samples, n_columns) and (n_columns, R).
        """
        there = self.sweep.trace(reference)
        return self.between(
            self.sweep.trace(signal),
            there.narrow(slice(0, 1)) if reference.n_samples == 1 else there,
            covariates,
            reference_covariates,
        )

    @torch.no_grad()
    def between(
        self,
        here: Trace,
        there: Trace,
        covariates: Tensor | None = None,
        reference_covariates: Tensor | None = None,
    ) -> Comparison:
        """`compare` for batches that were traced before; the reference has one column, or one for each sample."""
        sweep, network = self.sweep, self.network
        delta = {} if self.above else {self.inputs: sweep.moved(here.signal, there.signal.numbers)}
        slope = {}
        for stage, _, activation in sweep.above(self.inputs):
            level = stage.level
            delta[level] = here.state.values[level] - there.state.values[level]
            h, h0 = here.state.inner[level], there.state.inner[level]
            slope[level] = sweep.gained(level, _slope(activation, h, h0, delta[level]))
        logits = here.logits - there.logits
        if network.n_covariates:
            assert covariates is not None
            assert reference_covariates is not None
            delta[COVARIATES] = sweep.late_moved(covariates, reference_covariates, logits)
            weight = network.covariate_linear.weights[0].view(network.n_targets, network.n_covariates, -1)
            late = torch.einsum("tcr,crb->trb", weight, delta[COVARIATES])
            logits = logits + late * network.output_scale[:, :, None]
        return Comparison(delta, slope, logits, here.signal.n_samples, here.rounding)

    @torch.no_grad()
    def explain(self, comparison: Comparison, contrast: Tensor) -> Explained:
        """What every unit contributes to a contrast of the logits.

        Parameters
        ----------
        comparison
            Of `compare`.
        contrast
            Weight of each logit, (n_targets,).
        """
        sweep, delta = self.sweep, comparison.delta
        upstream = sweep.upstream(contrast)
        direct = sweep.direct(upstream)
        found = sweep.back(direct, lambda level, values: values * comparison.slope[level], self.inputs)
        values = dict(found.values)
        if not self.above:
            values[self.inputs] = sweep.against(self.inputs, direct, found.products)
        levels = {level: values[level] * delta[level] for level in self.order if level in values}
        passing = {level: comparison.logits.new_zeros(comparison.logits.shape[1:]) for level in levels}
        for source, target in sweep.jumps:
            carried = found.products[target] * sweep.over(source, target, delta[source])
            sweep.spread(passing, source, target, carried.sum(0))
        for source, multiplier in direct.items():
            sweep.spread(passing, source, PREDICTION, (multiplier * delta[source]).sum(0))
        if self.network.n_covariates:
            levels[COVARIATES] = sweep.late(upstream)[:, :, None] * delta[COVARIATES]
        difference = torch.einsum("t,trb->rb", contrast.to(comparison.logits), comparison.logits)
        return Explained(levels, passing, difference, found.products, direct, comparison.rounding)

    @torch.no_grad()
    def flows(self, comparison: Comparison, explained: Explained, weights: Tensor) -> dict[tuple[str, str], Tensor]:
        """What every edge between two levels carries, summed over the batch with these weights.

        Parameters
        ----------
        weights
            Weight of each sample, (n_samples,).

        Returns
        -------
        By (source level, target level) shape (n_weights, R), in the order of the layer's weights, and by (level,
        "prediction") what the heads read from its units, (n_units, R). What flows into a node equals what flows out of it.
        """
        padded = nn.functional.pad(weights.to(comparison.logits), (0, comparison.logits.shape[2] - len(weights)))
        found = {}
        for stage, linear in self.network.layers:
            g = explained.multipliers[stage.level] * padded
            for source, graph, weight in linear.parts():
                found[source, stage.level] = weight * edge_product(g, comparison.delta[source], graph)
        for source, multiplier in explained.direct.items():
            found[source, PREDICTION] = multiplier[:, :, 0] * (comparison.delta[source] * padded).sum(-1)
        return found


def _slope(activation: nn.Module, h: Tensor, h0: Tensor, difference: Tensor) -> Tensor:
    """The rescale rule: difference of activations over difference of their inputs, the derivative where that is 0."""
    if isinstance(activation, nn.Identity):
        return torch.ones_like(difference)
    moved = h - h0
    small = moved.abs() <= TINY[h.dtype]
    if not small.any():
        return difference / moved
    slope = difference / torch.where(small, 1.0, moved)
    at = ((h + h0) / 2)[small]
    slope[small] = derivative(activation, at, activation(at))
    return slope

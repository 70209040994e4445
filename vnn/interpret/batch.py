"""A batch of samples beside its references, each gone through once for all methods and contrasts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vnn.interpret.baseline import Baseline
from vnn.interpret.deeplift import Comparison, DeepLift, Explained
from vnn.interpret.sweep import Multipliers, Trace
from vnn.kernels import PackedPeople
from vnn.kernels.packed import PANEL
from vnn.layers import Signal
from vnn.models import VisibleNetwork
from vnn.models.network import COVARIATES

VALUES_AT_ONCE, MOST_AT_ONCE, LANES = 2**23, 256, 16
HELD = 4


class References:
    """The draws of a baseline as one batch, traced once.

    Parameters
    ----------
    machine
        Of the network that is explained.
    baseline
        For the replicates of this network.

    Attributes
    ----------
    prepared
        What a method has made of the network once for all batches, by name.
    """

    def __init__(self, machine: DeepLift, baseline: Baseline) -> None:
        self.machine, self.n_draws = machine, len(baseline.values)
        self._values = baseline.values
        self.prepared: dict[str, Any] = {}
        self.covariates = None if baseline.covariates is None else torch.from_numpy(baseline.covariates)

    @cached_property
    def trace(self) -> Trace:
        """All draws side by side, padded to whole lanes."""
        like = self.machine.network.output_scale
        columns = torch.from_numpy(self._values.transpose(1, 2, 0)).to(like.dtype)
        columns = torch.nn.functional.pad(columns, (0, -self.n_draws % LANES))
        with torch.no_grad():
            return self.machine.sweep.trace(Signal(columns.contiguous(), None, self.n_draws))

    def draw(self, d: int) -> Trace:
        """One of them."""
        return self.trace.narrow(slice(d, d + 1))

    def signal(self, d: int) -> Signal:
        """One of them as raw inputs of one sample, padded to whole lanes."""
        return reference_signal(self.machine.network, self._values[d])


class Batch:
    """Samples beside their references: what every method needs, made when it is first asked for.

    Parameters
    ----------
    machine
        Of the network that is explained.
    signal
        The samples, one copy for all replicates.
    covariates
        Coded columns (n_samples, n_columns), or None.
    references
        What they are compared with.
    at
        Which of all samples they are, int64 (n_samples,); all in their order unless given.
    """

    def __init__(
        self,
        machine: DeepLift,
        signal: Signal,
        covariates: Tensor | None,
        references: References,
        at: np.ndarray | None = None,
    ) -> None:
        self.machine, self.sweep, self.network = machine, machine.sweep, machine.network
        self.signal, self.covariates, self.references = signal, covariates, references
        self.at = np.arange(signal.n_samples) if at is None else at
        self.n_samples, self.n_draws = signal.n_samples, references.n_draws
        self._comparisons: dict[int, Comparison] = {}

    @cached_property
    @torch.no_grad()
    def here(self) -> Trace:
        """The samples, gone through once."""
        return self.sweep.trace(self.signal)

    @cached_property
    @torch.no_grad()
    def slopes(self) -> dict[str, Tensor]:
        """By level the derivative of its values for its product, at the samples."""
        return self.sweep.slopes(self.here.state)

    def reference(self, d: int) -> Signal:
        """One draw as raw inputs: of one sample, or beside the covariates of each where nodes read these."""
        return among(self.signal, self.references.signal(d))

    @torch.no_grad()
    def draw(self, d: int) -> Trace:
        """One draw, gone through."""
        return self.sweep.trace(self.reference(d)) if self.network.early else self.references.draw(d)

    @cached_property
    @torch.no_grad()
    def mean_reference(self) -> dict[str, Tensor]:
        """By level the mean over the draws, (n_units, R, 1 or batch); raw values for the inputs."""
        if self.network.early:
            total: dict[str, Tensor] = {}
            for d in range(self.n_draws):
                one = self.draw(d)
                for level, values in {self.sweep.inputs: one.signal.numbers, **one.state.values}.items():
                    total[level] = total[level] + values if level in total else values
            return {level: values / self.n_draws for level, values in total.items()}
        there = self.references.trace
        every = {self.sweep.inputs: there.signal.numbers, **there.state.values}
        return {level: values[:, :, : self.n_draws].mean(2, keepdim=True) for level, values in every.items()}

    @cached_property
    @torch.no_grad()
    def moved(self) -> dict[str, Tensor]:
        """By level the difference from the mean over the draws, (n_units, R, batch); scaled for the inputs."""
        mean = self.mean_reference
        found = {self.sweep.inputs: self.sweep.moved(self.here.signal, mean[self.sweep.inputs])}
        return found | {level: values - mean[level] for level, values in self.here.state.values.items()}

    @cached_property
    @torch.no_grad()
    def moved_late(self) -> Tensor | None:
        """Scaled difference of the covariates, (n_columns, R, batch)."""
        if not self.network.n_covariates:
            return None
        assert self.covariates is not None
        assert self.references.covariates is not None
        return self.sweep.late_moved(self.covariates, self.references.covariates, self.here.logits)

    def comparison(self, d: int) -> Comparison:
        """The samples beside one draw; kept for other contrasts when there are few draws."""
        if d in self._comparisons:
            return self._comparisons[d]
        made = self.machine.between(self.here, self.draw(d), self.covariates, self.references.covariates)
        if self.n_draws <= HELD:
            self._comparisons[d] = made
        return made

    @torch.no_grad()
    def difference(self, contrast: Tensor, draws: slice | None = None) -> Tensor:
        """Contrast of the logits, samples minus the mean over the draws, (R, batch)."""
        if self.network.early:
            some = range(self.n_draws)[draws or slice(None)]
            there = torch.stack([self.draw(d).logits for d in some]).mean(0)
        else:
            logits = self.references.trace.logits[:, :, : self.n_draws]
            there = logits[:, :, draws or slice(None)].mean(2, keepdim=True)
        total = torch.einsum("t,trb->rb", contrast.to(there), self.here.logits - there)
        if self.moved_late is None:
            return total
        return total + self.late(contrast).sum(0)

    @torch.no_grad()
    def late(self, contrast: Tensor) -> Tensor:
        """What covariates contribute to a contrast, (n_columns, R, batch); they enter the logits linearly."""
        assert self.moved_late is not None
        return self.sweep.late(self.sweep.upstream(contrast))[:, :, None] * self.moved_late

    @torch.no_grad()
    def gradient(self, contrast: Tensor) -> Multipliers:
        """The gradient of a contrast by the values of every level at the samples, the inputs in scaled units."""
        sweep = self.sweep
        direct = sweep.direct(sweep.upstream(contrast))
        found = sweep.back(direct, lambda level, values: values * self.slopes[level], sweep.inputs)
        found.values[sweep.inputs] = sweep.against(sweep.inputs, direct, found.products)
        return found

    def full(self, values: Tensor) -> Tensor:
        """Values that are alike in all samples, repeated for each, (n_units, R, batch)."""
        rows = values.shape[0]
        return values.expand(rows, self.network.n_replicates, self.here.logits.shape[2])

    def explained(
        self,
        levels: dict[str, Tensor],
        late: Tensor | None,
        contrast: Tensor,
        *,
        passing: dict[str, Tensor] | None = None,
    ) -> Explained:
        """The result of a method, its levels in the order of the network and its covariates last.

        Parameters
        ----------
        late
            Of the covariates, (n_columns, R, batch), or None where there are none.
        passing
            Where cuts sum to something.
        """
        ordered = {level: levels[level] for level in self.sweep.order}
        if late is not None:
            ordered[COVARIATES] = late
        return Explained(ordered, passing or {}, self.difference(contrast), {}, {}, self.here.rounding)


def batches_of(
    machine: DeepLift, values: Tensor | PackedPeople, covariates: Tensor | None, baseline: Baseline
) -> Iterator[Batch]:
    """The samples in batches that fit the cache, those of genotypes panel by panel.

    Parameters
    ----------
    values
        Raw inputs (n_in, n_samples), NaN where missing.
    covariates
        Coded columns (n_samples, n_columns), or None.
    baseline
        For the replicates of the machine's network.
    """
    references = References(machine, baseline)
    for signal, at in _signals(machine, values):
        own = None if covariates is None else covariates[at]
        yield Batch(machine, machine.network.beside(signal, own), own, references, at)


def _signals(machine: DeepLift, values: Tensor | PackedPeople) -> Iterator[tuple[Signal, np.ndarray]]:
    """The samples as a network takes them, and which they are.

    Genotypes come a panel at a time as numbers; they stay packed where the inputs are not explained.
    """
    network = machine.network
    widest = max(len(stage.nodes) for stage, _ in network.layers) if machine.above else len(values)
    at_once = VALUES_AT_ONCE // max(widest * network.n_replicates, len(values))
    at_once = min(max(at_once // LANES, 1) * LANES, MOST_AT_ONCE)
    if isinstance(values, PackedPeople) and machine.above:
        for packed, columns, at in values.sweep(MOST_AT_ONCE):
            first = np.array_equal(columns, np.arange(len(at)))
            yield network.signal(packed._replace(batch=len(at)) if first else values[:, at]), at
        return
    for numbers, whose in _numbers(values):
        held = numbers.to(network.output_scale.dtype).contiguous()
        for some in torch.arange(len(whose)).split(at_once):
            yield network.signal(held, some), whose[some.numpy()]


def _numbers(values: Tensor | PackedPeople) -> Iterator[tuple[Tensor, np.ndarray]]:
    """The samples as numbers, and which they are; of genotypes a panel at a time."""
    if isinstance(values, PackedPeople):
        for packed, columns, at in values.sweep(PANEL):
            yield packed.values()[:, 0, columns], at
    else:
        yield values, np.arange(values.shape[1])


class Mean:
    """Contributions averaged one after another, so that only two are held."""

    def __init__(self) -> None:
        self.n = 0
        self.held: Explained | None = None

    def add(self, one: Explained) -> None:
        """One more of equal weight; its tensors may be written to."""
        self.n += 1
        if self.held is None:
            self.held = one
            return
        for mine, other in (
            (self.held.levels, one.levels),
            (self.held.passing, one.passing),
            (_lost(self.held), _lost(one)),
        ):
            for level, values in other.items():
                mine[level] += values
        self.held.difference.add_(one.difference)

    def result(self) -> Explained:
        """The mean."""
        assert self.held is not None
        held, n = self.held, self.n
        if n == 1:
            return held
        means = [
            {level: values / n for level, values in part.items()} for part in (held.levels, held.passing, _lost(held))
        ]
        mean = replace(
            held, levels=means[0], passing=means[1], difference=held.difference / n, multipliers={}, direct={}
        )
        return replace(mean, absorbed=means[2]) if means[2] else mean  # type: ignore[call-arg]


def _lost(one: Explained) -> dict[str, Tensor]:
    """What did not arrive, by level, for methods that absorb."""
    found: dict[str, Tensor] = getattr(one, "absorbed", {})
    return found


def mean_of(explained: Sequence[Explained], level: str) -> Tensor:
    """Contributions of a level averaged over the draws of the baseline, (n_units, R, batch)."""
    if len(explained) == 1:
        return explained[0].levels[level]
    return torch.stack([one.levels[level] for one in explained]).mean(0)


def reference_signal(network: VisibleNetwork, values: np.ndarray) -> Signal:
    """Raw reference inputs (n_in, R) as the network takes them, one sample wide."""
    columns = torch.from_numpy(np.ascontiguousarray(values)).to(network.output_scale.dtype)
    return Signal(columns[:, :, None].repeat(1, 1, LANES), None, 1)


def among(signal: Signal, reference: Signal) -> Signal:
    """A reference as samples meet it: as it is, or once for each beside its covariates, where nodes read these.

    What genes contribute is then told of a person whose covariates are what they are.
    """
    if signal.covariates is None:
        return reference
    return Signal(reference.numbers[:, :, :1].contiguous(), None, signal.n_samples, covariates=signal.covariates)

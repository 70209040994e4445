"""Methods that follow differences and gradients: inputs, every level and every replicate in one sweep per point.

All take a `Batch` and a contrast of the logits. What they differ in is where they look (at the sample, around it, on the
way from the reference to it) and what they multiply with. Inputs and covariates are in the units the network sees, one
standard deviation of training unless the fit does not scale; contributions do not depend on these units.

The inputs enter linearly. So a point on the way from reference to sample costs the hidden levels only, and the one
product over the edges of the inputs is made for the mean over all points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from vnn.chance import generator
from vnn.interpret.batch import Batch, Mean
from vnn.interpret.deeplift import Explained
from vnn.interpret.sweep import PREDICTION
from vnn.kernels import sparse_product
from vnn.models.network import COVARIATES


@torch.no_grad()
def deeplift(batch: Batch, contrast: Tensor) -> Explained:
    """DeepLIFT (rescale) against every draw of the reference, averaged; over a background it is DeepLIFT-SHAP."""
    mean = Mean()
    for d in range(batch.n_draws):
        mean.add(batch.machine.explain(batch.comparison(d), contrast))
    return mean.result()


@torch.no_grad()
def gradient_x_difference(batch: Batch, contrast: Tensor) -> Explained:
    """The gradient at the sample times the difference from the reference."""
    gradient = batch.gradient(contrast).values
    levels = {level: gradient[level] * moved for level, moved in batch.moved.items()}
    return batch.explained(levels, None if batch.moved_late is None else batch.late(contrast), contrast)


@torch.no_grad()
def saliency(batch: Batch, contrast: Tensor) -> Explained:
    """The absolute gradient at the sample."""
    levels = {level: batch.full(values.abs()) for level, values in batch.gradient(contrast).values.items()}
    late = _late_gradient(batch, contrast)
    return batch.explained(levels, None if late is None else late.abs(), contrast)


@torch.no_grad()
def guided_backpropagation(batch: Batch, contrast: Tensor) -> Explained:
    """The gradient at the sample where every ReLU lets only what is positive back through.

    Raises
    ------
    ValueError
        If an activation is not a ReLU: the rule is not defined for others.
    """
    sweep = batch.sweep
    others = sorted({type(one).__name__ for one in batch.network.activations if not isinstance(one, nn.ReLU)})
    if others:
        raise ValueError(
            f"guided backpropagation is a rule for ReLU; this network has {', '.join(others)}. "
            'Use "saliency", or train with activation = "relu".'
        )
    direct = sweep.direct(sweep.upstream(contrast))

    def passed(level: str, values: Tensor) -> Tensor:
        return sweep.gained(level, values.clamp(min=0) * (batch.here.state.inner[level] > 0))

    found = sweep.back(direct, passed, sweep.inputs)
    values = found.values | {sweep.inputs: sweep.against(sweep.inputs, direct, found.products)}
    levels = {level: batch.full(one) for level, one in values.items()}
    return batch.explained(levels, _late_gradient(batch, contrast), contrast)


@torch.no_grad()
def smooth_gradient(batch: Batch, contrast: Tensor, *, n_points: int = 25, noise: float = 0.5) -> Explained:
    """SmoothGrad: the gradient averaged over noise on the inputs, the same draws for every sample and replicate.

    Parameters
    ----------
    n_points
        Draws of the noise.
    noise
        Its standard deviation, in units of the scaled inputs.
    """
    sweep = batch.sweep
    _at_least_one("n_points", n_points)
    direct = sweep.direct(sweep.upstream(contrast))
    shifts = _noise(batch, n_points)
    levels: dict[str, Tensor] = {}
    products: dict[str, Tensor] = {}
    for i in range(n_points):
        entering = {
            level: values + noise * shifts[level][:, :, i : i + 1] if level in shifts else values
            for level, values in batch.here.entering.items()
        }
        slopes = sweep.slopes(sweep.run(entering, sweep.inputs))
        found = sweep.back(direct, _times(slopes), sweep.inputs)
        for into, values in ((levels, found.values), (products, {level: found.products[level] for level in shifts})):
            for level, one in values.items():
                _add(into, level, one, 1 / n_points)
    levels[sweep.inputs] = sweep.against(sweep.inputs, direct, products)
    levels = {level: batch.full(values) for level, values in levels.items()}
    return batch.explained(levels, _late_gradient(batch, contrast), contrast)


@torch.no_grad()
def integrated_gradients(batch: Batch, contrast: Tensor, *, n_steps: int = 16) -> Explained:
    """The gradient integrated along the straight line from the reference inputs to the sample.

    A hidden node gets its conductance: its share of the change of the logits while the inputs move. The integral is taken at
    `n_steps` Gauss-Legendre points; at each of them all cuts sum to the same, so that one gap per sample tells how good it is.
    """
    nodes, weights = legendre(n_steps)
    mean = Mean()
    for d in range(batch.n_draws):
        mean.add(_along(batch, contrast, d, nodes, weights)[0])
    return mean.result()


@torch.no_grad()
def internal_gradients(batch: Batch, contrast: Tensor, *, n_steps: int = 16) -> Explained:
    """For every level the gradient integrated along the straight line between the values of that level.

    All that jumps over the level moves on a straight line with it, so that the cut is complete. The inputs get integrated
    gradients.
    """
    nodes, weights = legendre(n_steps)
    mean = Mean()
    for d in range(batch.n_draws):
        mean.add(_across(batch, contrast, d, nodes, weights))
    return mean.result()


@torch.no_grad()
def expected_gradients(batch: Batch, contrast: Tensor, *, n_points: int = 4) -> Explained:
    """Integrated gradients over a background, the place on every line drawn at random.

    The places are stratified along every line and over all lines, and the same for every sample and replicate. The standard
    error is that of the sum over a cut, as if places were drawn without strata: it is rather too large.

    Parameters
    ----------
    n_points
        Places on the line from each draw of the background.
    """
    _at_least_one("n_points", n_points)
    shape = (batch.n_draws, n_points)
    rng = generator(batch.network.seed, "expected gradients")
    order = rng.random(shape).argsort(axis=0)
    places = (np.arange(n_points) + (order + rng.random(shape)) / batch.n_draws) / n_points
    mean, squares = Mean(), torch.zeros_like(batch.difference(contrast))
    for d in range(batch.n_draws):
        found, rates = _along(batch, contrast, d, places[d].tolist(), [1 / n_points] * n_points)
        for rate in rates:
            squares += (rate - found.difference).square()
        mean.add(found)
    held = mean.result()
    return Explained(
        held.levels, held.passing, held.difference, {}, {}, held.rounding, standard_error=squares.sqrt() / places.size
    )


def legendre(n_steps: int) -> tuple[list[float], list[float]]:
    """Places in (0, 1) and weights of Gauss-Legendre quadrature."""
    _at_least_one("n_steps", n_steps)
    nodes, weights = np.polynomial.legendre.leggauss(n_steps)
    return ((nodes + 1) / 2).tolist(), (weights / 2).tolist()


def _along(
    batch: Batch, contrast: Tensor, d: int, places: Sequence[float], weights: Sequence[float]
) -> tuple[Explained, list[Tensor]]:
    """Gradient times rate at places on the line from one draw to the samples, and how fast the contrast moves at each."""
    sweep, here, there = batch.sweep, batch.here, batch.draw(d)
    inputs = sweep.inputs
    direct = sweep.direct(sweep.upstream(contrast))
    moved = {level: values - there.entering[level] for level, values in here.entering.items()}
    late = None if batch.moved_late is None else batch.late(contrast)
    levels: dict[str, Tensor] = {}
    passing: dict[str, Tensor] = {}
    products: dict[str, Tensor] = {}
    speeds = []
    for place, weight in zip(places, weights, strict=True):
        entering = {level: torch.add(there.entering[level], by, alpha=place) for level, by in moved.items()}
        slopes = sweep.slopes(sweep.run(entering, inputs))
        found = sweep.back(direct, _times(slopes), inputs)
        rates, carried = sweep.rates(moved, slopes)
        for level, rate in rates.items():
            _add(levels, level, found.values[level] * rate, weight)
        for (source, target), part in carried.items():
            sweep.spread(passing, source, target, weight * (found.products[target] * part).sum(0))
        for source, multiplier in direct.items():
            sweep.spread(passing, source, PREDICTION, weight * (multiplier * rates[source]).sum(0))
        speed = torch.zeros_like(here.logits[0])
        for target in sweep.out[inputs].weights:
            _add(products, target, found.products[target], weight)
            speed = speed + (found.products[target] * moved[target]).sum(0)
        speeds.append(speed if late is None else speed + late.sum(0))
    levels[inputs] = sweep.against(inputs, {}, products) * sweep.moved(here.signal, there.signal.numbers)
    for source, target in sweep.jumps:
        if source == inputs:
            sweep.spread(passing, source, target, (products[target] * moved[target]).sum(0))
    return _complete(batch, contrast, d, levels, passing, late), speeds


def _across(batch: Batch, contrast: Tensor, d: int, places: Sequence[float], weights: Sequence[float]) -> Explained:
    """Of every level the gradient along the line between its values and those of one draw, what jumps over it included."""
    sweep, here, there = batch.sweep, batch.here, batch.draw(d)
    direct = sweep.direct(sweep.upstream(contrast))
    delta = {sweep.inputs: sweep.moved(here.signal, there.signal.numbers)}
    delta |= {level: values - there.state.values[level] for level, values in here.state.values.items()}
    start = dict(there.entering)
    carried = {
        (sweep.inputs, level): here.entering[level] - there.entering[level] for level in sweep.out[sweep.inputs].weights
    }
    moved = {level: carried.get((sweep.inputs, level), torch.zeros_like(values)) for level, values in start.items()}
    levels: dict[str, Tensor] = {}
    passing: dict[str, Tensor] = {}
    for cut in sweep.order:
        if cut in there.state.values:
            for target in sweep.out[cut].weights if cut in sweep.out else ():
                start[target] = start[target] + sweep.over(cut, target, there.state.values[cut].contiguous())
                carried[cut, target] = sweep.over(cut, target, delta[cut])
                moved[target] = moved[target] + carried[cut, target]
        products: dict[str, Tensor] = {}
        for place, weight in zip(places, weights, strict=True):
            entering = {
                stage.level: start[stage.level] + place * moved[stage.level] for stage, _, _ in sweep.above(cut)
            }
            found = sweep.back(direct, _times(sweep.slopes(sweep.run(entering, cut))), cut)
            for target, values in found.products.items():
                _add(products, target, values, weight)
        levels[cut] = sweep.against(cut, direct, products) * delta[cut]
        over = torch.zeros_like(here.logits[0])
        for (source, target), part in carried.items():
            if cut in sweep.between(source, target):
                over = over + (products[target] * part).sum(0)
        for source, multiplier in direct.items():
            if cut in sweep.between(source, PREDICTION):
                over = over + (multiplier * delta[source]).sum(0)
        passing[cut] = over
    return _complete(batch, contrast, d, levels, passing, None if batch.moved_late is None else batch.late(contrast))


def _complete(
    batch: Batch, contrast: Tensor, d: int, levels: dict[str, Tensor], passing: dict[str, Tensor], late: Tensor | None
) -> Explained:
    nothing = torch.zeros_like(batch.here.logits[0])
    ordered = {level: levels[level] for level in batch.sweep.order}
    if late is not None:
        ordered[COVARIATES] = late
    difference = batch.difference(contrast, slice(d, d + 1))
    over = {level: passing.get(level, nothing).clone() for level in batch.sweep.order}
    return Explained(ordered, over, difference, {}, {}, batch.here.rounding)


def _noise(batch: Batch, n_points: int) -> dict[str, Tensor]:
    """What standard normal noise on the scaled inputs adds to the product of every level, (n_units, R, n_points)."""
    sweep = batch.sweep
    draws = [
        generator(batch.network.seed, "smoothgrad", i).standard_normal(len(batch.network.topology.inputs))
        for i in range(n_points)
    ]
    columns = torch.from_numpy(np.stack(draws, axis=1)).to(batch.here.logits)
    columns = nn.functional.pad(columns, (0, -n_points % 16))[:, None, :]
    return {
        stage.level: sparse_product(columns, weight, graph)
        for stage, linear, _ in sweep.above(sweep.inputs)
        for source, graph, weight in linear.parts()
        if source == sweep.inputs
    }


def _late_gradient(batch: Batch, contrast: Tensor) -> Tensor | None:
    if not batch.network.n_covariates:
        return None
    return batch.full(batch.sweep.late(batch.sweep.upstream(contrast))[:, :, None])


def _times(slopes: dict[str, Tensor]) -> Callable[[str, Tensor], Tensor]:
    return lambda level, values: values * slopes[level]


def _add(into: dict[str, Tensor], key: str, values: Tensor, weight: float) -> None:
    if key in into and into[key].shape == values.shape:
        into[key].add_(values, alpha=weight)
    else:
        into[key] = into[key] + weight * values if key in into else weight * values


def _at_least_one(name: str, given: int) -> None:
    if not isinstance(given, int) or given < 1:
        raise ValueError(f"`{name}` is {given!r}; it needs a whole number of at least 1.")

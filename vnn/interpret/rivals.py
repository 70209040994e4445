"""Crosscheck: our attributions beside independent implementations, on the same networks and samples."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from vnn._errors import choose
from vnn.chance import generator
from vnn.data.genotypes import Cohort
from vnn.data.samples import Samples
from vnn.interpret.baseline import Baseline, baseline_of
from vnn.interpret.batch import batches_of
from vnn.interpret.contrast import contrasts
from vnn.interpret.deeplift import DeepLift
from vnn.interpret.methods import METHODS, Method
from vnn.interpret.sweep import ELEMENTWISE
from vnn.layers import SparseLinear, activation
from vnn.models import DenseNetwork, VisibleNetwork
from vnn.models.dense import DenseLevel
from vnn.training import Fit

AGREE, STEPPED, ERRORS = 1e-5, 0.02, 6.0
STEPS, CONDUCTANCE_STEPS, REPEATS, DRAWS, PLACES = 64, 200, 8, 4, 40
MOST_DENSE = 2**27
CAPTUM_RULES = (nn.Tanh, nn.ReLU, nn.Sigmoid, nn.ELU, nn.LeakyReLU, nn.Softplus, nn.Identity)
COLUMNS = ["method", "implementation", "where", "level", "largest_difference", "scale", "tolerance", "agrees", "note"]


class BatchFirst(nn.Module):
    """A visible network of one replicate over our own layers, batch first and with a module for every activation.

    Captum pairs samples and references along the first axis and hooks the activation modules, so that neither our
    inner layout nor its padding may be between them.

    Parameters
    ----------
    network
        One replicate.
    """

    def __init__(self, network: VisibleNetwork) -> None:
        super().__init__()
        self.network = network
        self.points = nn.ModuleList(activation(network.recipe.activation) for _ in network.layers)
        self.entry = nn.Identity()
        self.eval()

    def forward(self, x: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Logits (batch, n_targets) for raw inputs (batch, n_in) without missing values."""
        network = self.network
        inputs = network.topology.levels[0].name
        scaled = self.entry(x) * network.scaling.scale[:, 0] + network.scaling.shift[:, 0]
        values = {inputs: _inner(scaled)}
        columns = None
        if covariates is not None:
            scaling = network.covariate_scaling
            columns = _inner(covariates * scaling.scale[:, 0] + scaling.shift[:, 0])
        for i, (stage, linear) in enumerate(network.layers):
            h = linear(values, {})
            if i == 0 and network.early:
                h = h + _of(network.early_linear, columns)
            if len(network.norms):
                h = network.norms[i](h, None)
            values[stage.level] = _inner(self.points[i](h[:, 0].T))
        logits = torch.stack([linear(values, {})[:, 0].T for linear in network.head_layers]).mean(0)
        if columns is not None:
            logits = logits + _of(network.covariate_linear, columns)[:, 0].T
        return logits * network.output_scale[:, 0] + network.output_shift[:, 0]


def crosscheck(
    fit: Fit,
    samples: Samples | Cohort,
    *,
    methods: Sequence[str] = ("deeplift",),
    baseline: str = "mean",
    group: tuple[str, str] | None = None,
    n_samples: int = 8,
    n_replicates: int = 2,
) -> pd.DataFrame:
    """Our attributions beside Captum's on our layers and on the dense twin, and beside tangermeme and shap where installed.

    Every level that the other implementation knows of the first `n_replicates` networks, for the first `n_samples` samples by
    id, in float64 and with the first draw of the baseline (four people for methods over a background), so that what is left is a
    difference of method and not of rounding.

    Parameters
    ----------
    fit, samples, baseline, group
        As for `node_scores`.
    methods
        Names of methods; `COMPARED` are those that others have too.
    n_samples, n_replicates
        How many take part; none for 0 samples.

    Returns
    -------
    One row per method, implementation, network form and level: method, implementation, where, level, largest_difference, scale
    (largest absolute attribution), tolerance, agrees, note. The tolerance is 1e-5 of the scale; 2 % for conductance, where
    Captum takes differences along the path; six standard errors where it draws at random. What could not be compared has a
    note instead.
    """
    for name in methods:
        choose("the method", name, COMPARED)
    part = samples.select(ids=sorted(samples.ids)[:n_samples])
    part = part.samples() if isinstance(part, Cohort) else part
    values, covariates, networks = fit.columns(part)
    worst: dict[tuple[str, str, str, str], dict[str, object]] = {}
    contrast = torch.from_numpy(contrasts(fit.target)[-1].logits)
    for method in [_finer(METHODS[name]) for name in methods] if n_samples else []:
        people = method.n_background > 0
        reference = baseline_of(
            fit, "samples" if people else baseline, background=samples, group=None if people else group,
            n_draws=DRAWS if people else 1,
        )  # fmt: skip
        for r in range(min(n_replicates, networks.n_replicates)):
            one = networks.replicates([r]).double()
            ours = _ours(one, values, covariates, reference.of([r]), contrast, method)
            filled = torch.where(torch.isnan(values), one.scaling.fill.double(), values.double()).T
            points = torch.from_numpy(reference.values[:, :, r]).double()
            late = None
            if covariates is not None and reference.covariates is not None:
                late = covariates.double(), torch.from_numpy(reference.covariates[:, r])[None]
            for where, rival in _rivals(one):
                asked = Asked(rival, filled, points, late, contrast, one.seed)
                for implementation, explain, levels in _implementations(where, asked, method.name, list(ours)):
                    known = {level: ours[level] for level in levels}
                    for row in _compared(method.name, implementation, where, explain, known):
                        key = (method.name, implementation, where, str(row["level"]))
                        held = worst.setdefault(key, row)
                        if _excess(row) > _excess(held):
                            worst[key] = row
    return pd.DataFrame(list(worst.values()), columns=COLUMNS)


def _finer(method: Method) -> Method:
    """With so many steps and places that what is left is the other implementation's error."""
    finer = {"up to steps": {"n_steps": STEPS}, "sampled": {"n_points": PLACES}}.get(method.completeness, {})
    return method.with_settings(**finer)


@dataclass(frozen=True, eq=False)
class Asked:
    """What another implementation is asked.

    Parameters
    ----------
    model
        A `BatchFirst` or a `DenseNetwork`, in evaluation mode.
    x, points
        Samples (batch, n_in) and references (n_draws, n_in), raw.
    late
        Covariates of both, (batch, n_columns) and (1, n_columns), or None.
    contrast
        Weight of each logit.
    seed
        Of the network, by which noise is drawn.
    """

    model: nn.Module
    x: Tensor
    points: Tensor
    late: tuple[Tensor, Tensor] | None
    contrast: Tensor
    seed: int = 0

    @property
    def network(self) -> nn.Module:
        """The contrast of the logits."""
        return Contrasted(self.model, self.contrast)

    @property
    def extra(self) -> tuple[Tensor, ...] | None:
        """Covariates of the samples, as arguments that are not explained."""
        return None if self.late is None else (self.late[0],)

    @property
    def point(self) -> Tensor:
        """The first reference, repeated for every sample."""
        return self.points[:1].expand(len(self.x), -1).contiguous()


def _ours(
    network: VisibleNetwork,
    values: Tensor,
    covariates: Tensor | None,
    reference: Baseline,
    contrast: Tensor,
    method: Method,
) -> dict[str, Tensor]:
    """By level (batch, n_units); sensitivities to inputs in raw units."""
    machine = DeepLift(network)
    found: dict[str, list[Tensor]] = {}
    for batch in batches_of(machine, values.double(), None if covariates is None else covariates.double(), reference):
        explained = method.explain(batch, contrast)
        for level in machine.order:
            one = explained.levels[level][:, 0, : batch.n_samples].T
            if level == machine.inputs and method.unit == "sensitivity":
                one = one * network.scaling.scale[:, 0]
            found.setdefault(level, []).append(one)
    return {level: torch.cat(parts) for level, parts in found.items()}


def _rivals(network: VisibleNetwork) -> Iterator[tuple[str, nn.Module]]:
    yield "our layers", BatchFirst(network)
    widths = [int(network.units(level.name).sum()) for level in network.topology.levels]
    weights = sum(widths[i] * sum(widths[:i]) for i in range(1, len(widths)))
    if weights <= MOST_DENSE:
        yield "dense twin", network.dense().eval()


Explain = Callable[[str], "Tensor | tuple[Tensor, float]"]


def _implementations(
    where: str, asked: Asked, method: str, levels: list[str]
) -> Iterator[tuple[str, Explain, list[str]]]:
    """Who else has the method, how it is asked for a level, and of which levels it knows."""
    ask, hidden = CAPTUM[method]
    yield "Captum", lambda level: ask(asked, level), levels if hidden else levels[:1]
    if where == "dense twin" and asked.late is None and method in ("deeplift", "deeplift-shap"):
        if importlib.util.find_spec("tangermeme") is not None:
            yield "tangermeme", lambda _: _tangermeme(asked), levels[:1]
        if importlib.util.find_spec("shap") is not None:
            yield "shap", lambda _: _shap(asked), levels[:1]


def captum_deeplift(
    model: nn.Module,
    level: str,
    x: Tensor,
    point: Tensor,
    late: tuple[Tensor, Tensor] | None,
    contrast: Tensor,
) -> Tensor:
    """Captum's attributions for one level of a `BatchFirst` or a `DenseNetwork`, (batch, n_units); copies left out.

    Parameters
    ----------
    model
        In evaluation mode.
    level
        Name of the level; for the inputs `DeepLift`, above them `LayerDeepLift` at the output of the activation.
    x, point
        Samples (batch, n_in) and reference (1, n_in), raw.
    late
        Covariates of both, or None.
    contrast
        Weight of each logit.
    """
    from captum.attr import DeepLift as CaptumDeepLift
    from captum.attr import LayerDeepLift

    _known_rules(model)
    with quiet():
        network = Contrasted(model, contrast)
        point = point.expand(len(x), -1).contiguous()
        own_covariates = None if late is None else (late[0],)
        layer, own = _layer(model, level)
        if layer is None:
            return _first(CaptumDeepLift(network).attribute(x, point, additional_forward_args=own_covariates))
        found = LayerDeepLift(network, layer).attribute(x, point, additional_forward_args=own_covariates)
        found = found[0] if isinstance(found, tuple) else found
        return found.detach()[:, own]


def _known_rules(model: nn.Module) -> None:
    if unknown := sorted(
        {type(m).__name__ for m in model.modules() if type(m) in set(ELEMENTWISE) - set(CAPTUM_RULES)}
    ):
        raise NotImplementedError(f"Captum has no rule for {', '.join(unknown)} and would be silently wrong")


def _deeplift(asked: Asked, level: str) -> Tensor:
    return captum_deeplift(asked.model, level, asked.x, asked.points[:1], asked.late, asked.contrast)


def _deeplift_shap(asked: Asked, level: str) -> Tensor:
    from captum.attr import DeepLiftShap, LayerDeepLiftShap

    _known_rules(asked.model)
    layer, own = _layer(asked.model, level)
    with quiet():
        if layer is None:
            machine = DeepLiftShap(asked.network)
            return _first(machine.attribute(asked.x, asked.points, additional_forward_args=asked.extra))
        layered = LayerDeepLiftShap(asked.network, layer)
        return _first(layered.attribute(asked.x, asked.points, additional_forward_args=asked.extra))[:, own]


def _integrated(asked: Asked, level: str) -> Tensor | tuple[Tensor, float]:
    from captum.attr import IntegratedGradients, LayerConductance

    layer, own = _layer(asked.model, level)
    if layer is None:
        machine = IntegratedGradients(asked.network)
        return machine.attribute(asked.x, asked.point, additional_forward_args=asked.extra, n_steps=STEPS).detach()
    found = LayerConductance(asked.network, layer).attribute(
        asked.x, asked.point, additional_forward_args=asked.extra, n_steps=CONDUCTANCE_STEPS, method="riemann_middle"
    )
    found = _first(found)[:, own]
    return found, STEPPED * float(found.abs().max())


def _internal(asked: Asked, level: str) -> Tensor:
    from captum.attr import LayerIntegratedGradients

    if _layer(asked.model, level)[0] is None:
        inputs = _integrated(asked, level)
        assert isinstance(inputs, Tensor)
        return inputs
    with quiet():
        found = LayerIntegratedGradients(asked.network, _cut(asked.model, level)).attribute(
            asked.x, asked.point, additional_forward_args=asked.extra, n_steps=STEPS
        )
    return _first(found[-1])


def _expected(asked: Asked, level: str) -> tuple[Tensor, float]:
    from captum.attr import GradientShap

    rng = generator(0, "crosscheck", "GradientShap")
    before, parts = np.random.get_state(), []  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]):
            for _ in range(REPEATS):
                np.random.seed(int(rng.integers(2**32)))  # noqa: NPY002
                torch.manual_seed(int(rng.integers(2**32)))
                machine = GradientShap(asked.network)
                parts.append(
                    _first(machine.attribute(asked.x, asked.points, n_samples=100, additional_forward_args=asked.extra))
                )
    finally:
        np.random.set_state(before)  # noqa: NPY002
    every = torch.stack(parts)
    return every.mean(0), ERRORS * float(every.std(0).max()) / REPEATS**0.5


def _gradient_x_difference(asked: Asked, level: str) -> Tensor:
    from captum.attr import InputXGradient, LayerActivation

    layer, own = _layer(asked.model, level)
    if layer is None:
        moved = Contrasted(_Shifted(asked.model, asked.points[0]), asked.contrast)
        one = (asked.x - asked.points[0]).requires_grad_()
        return InputXGradient(moved).attribute(one, additional_forward_args=asked.extra).detach()
    activation = LayerActivation(asked.network, layer)
    here, there = (
        _first(activation.attribute(at, additional_forward_args=asked.extra)) for at in (asked.x, asked.point)
    )
    return _layer_gradient(asked, layer)[:, own] * (here - there)[:, own]


def _saliency(asked: Asked, level: str) -> Tensor:
    from captum.attr import Saliency

    layer, own = _layer(asked.model, level)
    if layer is not None:
        return _layer_gradient(asked, layer)[:, own].abs()
    return Saliency(asked.network).attribute(_leaf(asked.x), additional_forward_args=asked.extra).detach()


def _smoothgrad(asked: Asked, level: str) -> Tensor:
    """Captum's gradients at the noise that we draw: its own NoiseTunnel draws from torch's global generator."""
    from captum.attr import Saliency

    held = METHODS["smoothgrad"].settings
    n_points, noise = int(str(held["n_points"])), float(str(held["noise"]))
    layer, own = _layer(asked.model, level)
    model = asked.model.network if isinstance(asked.model, BatchFirst) else asked.model
    assert isinstance(model, VisibleNetwork | DenseNetwork)
    scale = model.scaling.scale[:, 0] if isinstance(model, VisibleNetwork) else model.affine.scale
    total = torch.zeros(())
    for i in range(n_points):
        z = torch.from_numpy(generator(asked.seed, "smoothgrad", i).standard_normal(asked.x.shape[1]))
        at = Asked(asked.model, asked.x + noise * z / scale, asked.points, asked.late, asked.contrast)
        if layer is None:
            one = Saliency(at.network).attribute(_leaf(at.x), abs=False, additional_forward_args=at.extra).detach()
        else:
            one = _layer_gradient(at, layer)[:, own]
        total = total + one / n_points
    return total


def _guided(asked: Asked, level: str) -> Tensor:
    from captum.attr import GuidedBackprop

    with quiet():
        machine = GuidedBackprop(asked.network)
        return machine.attribute(_leaf(asked.x), additional_forward_args=asked.extra).detach()


CAPTUM: dict[str, tuple[Callable[[Asked, str], Tensor | tuple[Tensor, float]], bool]] = {
    "deeplift": (_deeplift, True),
    "deeplift-shap": (_deeplift_shap, True),
    "integrated gradients": (_integrated, True),
    "internal gradients": (_internal, True),
    "expected gradients": (_expected, False),
    "gradient x difference": (_gradient_x_difference, True),
    "saliency": (_saliency, True),
    "smoothgrad": (_smoothgrad, True),
    "guided backpropagation": (_guided, False),
}
COMPARED = tuple(CAPTUM)


def _layer_gradient(asked: Asked, layer: nn.Module) -> Tensor:
    from captum.attr import LayerGradientXActivation

    machine = LayerGradientXActivation(asked.network, layer, multiply_by_inputs=False)
    return _first(machine.attribute(asked.x, additional_forward_args=asked.extra))


def _leaf(x: Tensor) -> Tensor:
    return x.clone().requires_grad_()


def _first(found: Tensor | tuple[Tensor, ...]) -> Tensor:
    return (found[0] if isinstance(found, tuple) else found).detach()


def _cut(model: nn.Module, level: str) -> list[nn.Module]:
    """The modules of everything at or below a level that is read above it, the level last."""
    if isinstance(model, BatchFirst):
        network = model.network
        names = [stage.level for stage, _ in network.layers]
        at = names.index(level)
        read = {source for stage, _ in network.layers[at + 1 :] for source in stage.edges}
        read |= {source for linear in network.head_layers for source in linear.sources} | {level}
        entry = [model.entry] if network.topology.levels[0].name in read else []
        return entry + [model.points[i] for i, name in enumerate(names[: at + 1]) if name in read]
    assert isinstance(model, DenseNetwork)
    at = [own.name for own in model.topology.levels].index(level)
    computed = [one for one in model.levels[:at] if isinstance(one, DenseLevel) and one.sources]
    return [model.affine, *(one.act for one in computed)]


class _Shifted(nn.Module):
    """A network as a function of the difference from a reference."""

    def __init__(self, model: nn.Module, point: Tensor) -> None:
        super().__init__()
        self.model, self.point = model, point

    def forward(self, moved: Tensor, *late: Tensor) -> Tensor:
        return self.model(moved + self.point, *late)


class Contrasted(nn.Module):
    """A combination of the logits of a network, (batch,).

    Parameters
    ----------
    network, contrast
        What is combined, and how.
    """

    contrast: Tensor

    def __init__(self, network: nn.Module, contrast: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("contrast", contrast)

    def forward(self, *inputs: Tensor) -> Tensor:
        """The contrast of each sample."""
        return self.network(*inputs) @ self.contrast.to(inputs[0].dtype)


def _layer(model: nn.Module, level: str) -> tuple[nn.Module | None, slice | Tensor]:
    if isinstance(model, BatchFirst):
        names = [stage.level for stage, _ in model.network.layers]
        return (model.points[names.index(level)] if level in names else None), slice(None)
    assert isinstance(model, DenseNetwork)
    names = [own.name for own in model.topology.levels]
    if level == names[0]:
        return None, slice(None)
    module = model.levels[names.index(level) - 1]
    assert isinstance(module, DenseLevel)
    return module, module.own


def _compared(
    method: str, implementation: str, where: str, explain: Explain, ours: dict[str, Tensor]
) -> Iterator[dict[str, object]]:
    for level, mine in ours.items():
        row: dict[str, object] = {"method": method, "implementation": implementation, "where": where, "level": level}
        try:
            found = explain(level)
        except (NotImplementedError, RuntimeError, AssertionError, ValueError) as error:
            yield row | {"agrees": None, "note": f"not compared: {error}"}
            continue
        theirs, own = found if isinstance(found, tuple) else (found, 0.0)
        scale, difference = float(mine.abs().max()), float((mine - theirs).abs().max())
        tolerance = max(AGREE * max(scale, 1e-12), own)
        row |= {"largest_difference": difference, "scale": scale, "tolerance": tolerance}
        yield row | {"agrees": difference <= tolerance, "note": ""}


def _excess(row: dict[str, object]) -> float:
    return float(row["largest_difference"]) / float(row["tolerance"]) if "tolerance" in row else float("inf")  # type: ignore[arg-type]


class _Column(nn.Module):
    """The contrast as a column, (batch, 1), for inputs of any shape with one value per input."""

    def __init__(self, model: nn.Module, contrast: Tensor) -> None:
        super().__init__()
        self.network = Contrasted(model, contrast)
        self.eval()

    def forward(self, one: Tensor) -> Tensor:
        return self.network(one.flatten(1))[:, None]


def _tangermeme(asked: Asked) -> Tensor:
    total = torch.zeros(())
    with quiet():
        from tangermeme.deep_lift_shap import deep_lift_shap

        for point in asked.points:
            references = point[None, None, :, None].expand(len(asked.x), 1, -1, 1).contiguous()
            multipliers = deep_lift_shap(
                _Column(asked.model, asked.contrast), asked.x[:, :, None], references=references, n_shuffles=1,
                device="cpu", raw_outputs=True, only_warn=True, dtype=torch.float64,
            )  # fmt: skip
            total = total + multipliers[:, 0, :, 0] * (asked.x - point) / len(asked.points)
    return total


def _shap(asked: Asked) -> Tensor:
    with quiet():
        import shap

        machine = shap.DeepExplainer(_Column(asked.model, asked.contrast), asked.points)
        found = machine.shap_values(asked.x, check_additivity=False)
    return torch.as_tensor(np.asarray(found)).reshape(asked.x.shape)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the libraries' warnings about the hooks they set."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _of(linear: nn.Module, columns: Tensor | None) -> Tensor:
    """A product of scaled covariates."""
    assert isinstance(linear, SparseLinear)
    assert columns is not None
    made: Tensor = linear(dict.fromkeys(linear.sources, columns), {})
    return made


def _inner(x: Tensor) -> Tensor:
    return x.T[:, None, :].contiguous()

"""Crosscheck: our attributions beside independent implementations, on the same networks and samples."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from vnn.data.samples import Samples
from vnn.interpret.attribution import batches, mean_of
from vnn.interpret.baseline import Baseline, baseline_of
from vnn.interpret.contrast import contrasts
from vnn.interpret.deeplift import ELEMENTWISE, DeepLift
from vnn.layers import SparseLinear, activation
from vnn.models import DenseNetwork, VisibleNetwork
from vnn.models.dense import DenseLevel
from vnn.training import Fit

AGREE = 1e-5
MOST_DENSE = 2**27
CAPTUM_RULES = (nn.Tanh, nn.ReLU, nn.Sigmoid, nn.ELU, nn.LeakyReLU, nn.Softplus, nn.Identity)
COLUMNS = ["implementation", "where", "level", "largest_difference", "scale", "tolerance", "agrees", "note"]


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
        for i, (stage, linear) in enumerate(network.layers):
            h = linear(values, {})
            if len(network.norms):
                h = network.norms[i](h, None)
            values[stage.level] = _inner(self.points[i](h[:, 0].T))
        logits = torch.stack([linear(values, {})[:, 0].T for linear in network.head_layers]).mean(0)
        if covariates is not None:
            scaling = network.covariate_scaling
            columns = _inner(covariates * scaling.scale[:, 0] + scaling.shift[:, 0])
            late = network.covariate_linear
            assert isinstance(late, SparseLinear)
            logits = logits + late(dict.fromkeys(late.sources, columns), {})[:, 0].T
        return logits * network.output_scale[:, 0] + network.output_shift[:, 0]


def crosscheck(
    fit: Fit,
    samples: Samples,
    *,
    baseline: str = "mean",
    group: tuple[str, str] | None = None,
    n_samples: int = 8,
    n_replicates: int = 2,
) -> pd.DataFrame:
    """Our DeepLIFT beside Captum's on our layers and on the dense twin, and beside tangermeme and shap where installed.

    Every level of the first `n_replicates` networks, for the first `n_samples` samples by id, in float64 and with the first draw
    of the baseline, so that what is left is a difference of method and not of rounding.

    Parameters
    ----------
    fit, samples, baseline, group
        As for `node_scores`.
    n_samples, n_replicates
        How many take part; none for 0 samples.

    Returns
    -------
    One row per implementation, network form and level: implementation, where, level, largest_difference, scale (largest absolute
    attribution), tolerance (1e-5 of the scale), agrees, note. What could not be compared has a note instead.
    """
    reference = baseline_of(fit, baseline, background=samples, group=group, n_draws=1)
    part = samples.select(ids=sorted(samples.ids)[:n_samples])
    values, covariates, networks = fit.columns(part)
    worst: dict[tuple[str, str, str], dict[str, object]] = {}
    contrast = torch.from_numpy(contrasts(fit.target)[-1].logits)
    for r in range(min(n_replicates, networks.n_replicates) if n_samples else 0):
        one = networks.replicates([r]).double()
        ours = _ours(one, values, covariates, reference.of([r]), contrast)
        filled = torch.where(torch.isnan(values), one.scaling.fill.double(), values.double()).T
        point = torch.from_numpy(reference.values[0, :, r])[None]
        late = None
        if covariates is not None and reference.covariates is not None:
            late = covariates.double(), torch.from_numpy(reference.covariates[:, r])[None]
        for where, rival in _rivals(one):
            for implementation, explain, levels in _implementations(
                where, rival, filled, point, late, contrast, list(ours)
            ):
                for row in _compared(implementation, where, explain, {level: ours[level] for level in levels}):
                    held = worst.setdefault((implementation, where, str(row["level"])), row)
                    if _excess(row) > _excess(held):
                        worst[implementation, where, str(row["level"])] = row
    return pd.DataFrame(list(worst.values()), columns=COLUMNS)


def _ours(
    network: VisibleNetwork, values: Tensor, covariates: Tensor | None, reference: Baseline, contrast: Tensor
) -> dict[str, Tensor]:
    machine = DeepLift(network)
    found: dict[str, list[Tensor]] = {}
    for batch in batches(machine, values.double(), None if covariates is None else covariates.double(), reference):
        explained = [machine.explain(comparison, contrast) for comparison in batch]
        for level in machine.order:
            found.setdefault(level, []).append(mean_of(explained, level)[:, 0, : batch[0].n_samples].T)
    return {level: torch.cat(parts) for level, parts in found.items()}


def _rivals(network: VisibleNetwork) -> Iterator[tuple[str, nn.Module]]:
    yield "our layers", BatchFirst(network)
    widths = [int(network.units(level.name).sum()) for level in network.topology.levels]
    weights = sum(widths[i] * sum(widths[:i]) for i in range(1, len(widths)))
    if weights <= MOST_DENSE:
        yield "dense twin", network.dense().eval()


Explain = Callable[[str], Tensor]


def _implementations(
    where: str,
    rival: nn.Module,
    x: Tensor,
    point: Tensor,
    late: tuple[Tensor, Tensor] | None,
    contrast: Tensor,
    levels: list[str],
) -> Iterator[tuple[str, Explain, list[str]]]:
    yield "Captum", lambda level: captum_deeplift(rival, level, x, point, late, contrast), levels
    if where == "dense twin" and late is None:
        if importlib.util.find_spec("tangermeme") is not None:
            yield "tangermeme", lambda _: _tangermeme(rival, x, point, contrast), levels[:1]
        if importlib.util.find_spec("shap") is not None:
            yield "shap", lambda _: _shap(rival, x, point, contrast), levels[:1]


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

    if unknown := sorted(
        {type(m).__name__ for m in model.modules() if type(m) in set(ELEMENTWISE) - set(CAPTUM_RULES)}
    ):
        raise NotImplementedError(f"Captum has no rule for {', '.join(unknown)} and would be silently wrong")
    with quiet():
        network = Contrasted(model, contrast)
        point = point.expand(len(x), -1).contiguous()
        inputs = (x,) if late is None else (x, late[0])
        points = (point,) if late is None else (point, late[1].expand(len(x), -1).contiguous())
        layer, own = _layer(model, level)
        if layer is None:
            return CaptumDeepLift(network).attribute(inputs, points)[0].detach()
        found = LayerDeepLift(network, layer).attribute(inputs, points)
        found = found[0] if isinstance(found, tuple) else found
        return found.detach()[:, own]


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
    implementation: str, where: str, explain: Explain, ours: dict[str, Tensor]
) -> Iterator[dict[str, object]]:
    for level, mine in ours.items():
        row: dict[str, object] = {"implementation": implementation, "where": where, "level": level}
        try:
            theirs = explain(level)
        except (NotImplementedError, RuntimeError, AssertionError, ValueError) as error:
            yield row | {"agrees": None, "note": f"not compared: {error}"}
            continue
        scale, difference = float(mine.abs().max()), float((mine - theirs).abs().max())
        tolerance = AGREE * max(scale, 1e-12)
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


def _tangermeme(model: nn.Module, x: Tensor, point: Tensor, contrast: Tensor) -> Tensor:
    with quiet():
        from tangermeme.deep_lift_shap import deep_lift_shap

        references = point[:, None, :, None].expand(len(x), 1, -1, 1).contiguous()
        multipliers = deep_lift_shap(
            _Column(model, contrast), x[:, :, None], references=references, n_shuffles=1, device="cpu",
            raw_outputs=True, only_warn=True, dtype=torch.float64,
        )  # fmt: skip
    return multipliers[:, 0, :, 0] * (x - point)


def _shap(model: nn.Module, x: Tensor, point: Tensor, contrast: Tensor) -> Tensor:
    with quiet():
        import shap

        found = shap.DeepExplainer(_Column(model, contrast), point).shap_values(x, check_additivity=False)
    return torch.as_tensor(np.asarray(found)).reshape(x.shape)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the libraries' warnings about the hooks they set."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _inner(x: Tensor) -> Tensor:
    return x.T[:, None, :].contiguous()

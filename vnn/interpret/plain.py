"""Plain torch models explained: what Captum says of each input of any module from genes to logits.

The user's models are read and never changed: mode, hooks and whatever explainers leave on a module are put back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vnn._errors import culprits
from vnn.chance import generator
from vnn.interpret.deeplift import ELEMENTWISE
from vnn.interpret.rivals import CAPTUM_RULES, Contrasted, quiet

STEPS = 50
VALUES_AT_ONCE, MOST_AT_ONCE = 2**24, 256
SUMS_TO_ONE = 1e-4
RELU_ONLY = (nn.ReLU,)


class Thinning(NamedTuple):
    """What a dropout module does in one repeat: its rate, and the seed of which units stay."""

    rate: float
    seed: int


Attribute = Callable[[nn.Module, Tensor, Tensor | None], Tensor]


def _deeplift(model: nn.Module, x: Tensor, point: Tensor | None) -> Tensor:
    from captum.attr import DeepLift

    if unknown := sorted(
        {type(m).__name__ for m in model.modules() if type(m) in set(ELEMENTWISE) - set(CAPTUM_RULES)}
    ):
        raise NotImplementedError(f"Captum has no rule for {', '.join(unknown)} and would be silently wrong")
    found: Tensor = DeepLift(model).attribute(x, point)
    return found


def _integrated_gradients(model: nn.Module, x: Tensor, point: Tensor | None) -> Tensor:
    from captum.attr import IntegratedGradients

    found: Tensor = IntegratedGradients(model).attribute(x, point, n_steps=STEPS)
    return found


def _gradient_times_input(model: nn.Module, x: Tensor, _: Tensor | None) -> Tensor:
    from captum.attr import InputXGradient

    found: Tensor = InputXGradient(model).attribute(x)
    return found


def _saliency(model: nn.Module, x: Tensor, _: Tensor | None) -> Tensor:
    from captum.attr import Saliency

    found: Tensor = Saliency(model).attribute(x, abs=True)
    return found


def _guided(model: nn.Module, x: Tensor, _: Tensor | None) -> Tensor:
    from captum.attr import GuidedBackprop

    kinds = {type(m) for m in model.modules() if type(m) in ELEMENTWISE and type(m) is not nn.Identity}
    if kinds != set(RELU_ONLY):
        others = ", ".join(sorted(kind.__name__ for kind in kinds)) or "no activation module"
        raise NotImplementedError(f"it is defined for nn.ReLU modules only, and the model has {others}")
    found: Tensor = GuidedBackprop(model).attribute(x)
    return found


@dataclass(frozen=True)
class PlainExplainer:
    """One way to explain a plain module.

    Parameters
    ----------
    attribute
        From a module with one output per sample, samples (batch, n_in) and a reference (batch, n_in) to attributions (batch, n_in).
    compares
        Whether it compares with a reference.
    complete
        How far a sum of attributions may be from the difference of logits, as a share of the largest difference plus the
        largest sum of absolute attributions; None where completeness is not defined.
    by_size
        Whether it measures sensitivity, so that a node is scored by the mean of its absolute values, and not by a difference
        between classes.
    """

    attribute: Attribute
    compares: bool
    complete: float | None
    by_size: bool


PLAIN: Mapping[str, PlainExplainer] = {
    "DeepLIFT": PlainExplainer(_deeplift, True, 1e-3, False),
    "integrated gradients": PlainExplainer(_integrated_gradients, True, 5e-2, False),
    "gradient x input": PlainExplainer(_gradient_times_input, False, None, False),
    "saliency": PlainExplainer(_saliency, False, None, True),
    "guided backpropagation": PlainExplainer(_guided, False, None, True),
}


@dataclass(frozen=True, eq=False)
class PlainExplained:
    """Attributions of one model.

    Parameters
    ----------
    values
        Shape (n_samples, n_in), averaged over references and thinned networks.
    missed, scale
        Largest gap between a sum of attributions and the difference of the output, and the largest such difference; missing
        where completeness is not defined.
    """

    values: np.ndarray
    missed: float
    scale: float


def check_plain(models: Sequence[nn.Module], x: np.ndarray) -> int:
    """Refuse what is not a list of modules from (batch, n_in) to logits (batch, n_classes); the number of logits.

    Raises
    ------
    TypeError
        If something is not a module.
    ValueError
        If there is no model, one cannot take the samples, or outputs differ, are not finite or are probabilities.
    """
    if not models:
        raise ValueError("there are no models; give at least two, trained alike with different seeds.")
    for i, model in enumerate(models):
        if not isinstance(model, nn.Module):
            raise TypeError(
                f"model {i} is a {type(model).__name__}; give a `Fit`, or a list of nn.Module that map (batch, genes) to "
                "(batch, classes)."
            )
    if twice := [i for i, model in enumerate(models) if any(model is other for other in models[:i])]:
        raise ValueError(
            f"{len(twice):,} of {len(models):,} models are the same object as an earlier one: {culprits(twice)}. "
            "Give each model once; copies of one model agree by construction."
        )
    widths = {}
    for i, model in enumerate(models):
        try:
            logits = outputs(model, x[:2])
        except RuntimeError as error:
            raise ValueError(
                f"model {i} cannot take values of shape (2, {x.shape[1]:,}): {error}. Genes must be those it was trained "
                "on, in the same order."
            ) from error
        if logits.ndim != 2 or len(logits) != len(x[:2]):
            raise ValueError(f"model {i} returns shape {logits.shape} for 2 samples; (2, n_classes) is needed.")
        if not np.isfinite(logits).all():
            raise ValueError(
                f"model {i} returns values that are not finite; it diverged, or the inputs are not scaled."
            )
        widths[i] = logits.shape[1]
        if widths[i] > 1 and (logits >= 0).all() and (np.abs(logits.sum(1) - 1) < SUMS_TO_ONE).all():
            raise ValueError(
                f"model {i} returns probabilities; explainers need logits, because a softmax mixes the classes. Give the "
                "model without its last softmax."
            )
    if len(set(widths.values())) > 1:
        raise ValueError(
            f"models return different numbers of classes: {sorted(set(widths.values()))}; they must agree."
        )
    return widths[0]


@torch.no_grad()
def outputs(model: nn.Module, x: np.ndarray) -> np.ndarray:
    """What a model returns in evaluation mode for samples (n_samples, n_in)."""
    with undisturbed(model):
        parts = [model(part).double().cpu().numpy() for part in _as_input(model, x).split(MOST_AT_ONCE)]
    return np.concatenate(parts)


def explain_plain(
    model: nn.Module,
    name: str,
    x: np.ndarray,
    points: np.ndarray,
    contrast: np.ndarray,
    *,
    masks: Sequence[Mapping[str, Thinning]] = (),
) -> PlainExplained:
    """Attributions of one model for a combination of its logits.

    Parameters
    ----------
    model
        From (batch, n_in) to (batch, n_classes).
    name
        Key of `PLAIN`.
    x
        Samples, (n_samples, n_in).
    points
        References, (n_draws, n_in); attributions are averaged over them. Not looked at by those that compare with none.
    contrast
        Weight of each logit.
    masks
        Of `dropout_masks`: attributions are averaged over these thinned networks. Each is one network for samples and
        reference alike, so that completeness holds in it. Empty for dropout off.

    Raises
    ------
    NotImplementedError
        If the explainer is not defined for the modules of this model.
    RuntimeError
        If attributions do not sum to the difference of the output where they must.
    """
    explainer = PLAIN[name]
    dtype, device = _place(model)
    network = Contrasted(model, torch.from_numpy(np.asarray(contrast, dtype=np.float64)).to(device, dtype))
    rows, references = _as_input(model, x), _as_input(model, points)
    references = references if explainer.compares else references[:1]
    at_once = max(1, min(MOST_AT_ONCE, VALUES_AT_ONCE // (x.shape[1] * (STEPS if explainer.compares else 1))))
    total, missed, scale, size = np.zeros(x.shape), 0.0, 0.0, 0.0
    thinned: Sequence[Mapping[str, Thinning]] = masks or [{}]
    for mask in thinned:
        with undisturbed(model, mask), quiet():
            for point in references:
                start = 0
                for part in rows.split(at_once):
                    reference = point.expand_as(part).contiguous()
                    found = explainer.attribute(network, part.clone(), reference if explainer.compares else None)
                    found = found.detach()
                    if explainer.complete is not None:
                        with torch.no_grad():
                            difference = network(part) - network(reference)
                        missed = max(missed, float((found.sum(1) - difference).abs().max()))
                        scale = max(scale, float(difference.abs().max()))
                        size = max(size, float(found.abs().sum(1).max()))
                    total[start : start + len(part)] += found.double().cpu().numpy()
                    start += len(part)
    if explainer.complete is None:
        missed = scale = float("nan")
    elif missed > explainer.complete * (scale + size) + 1e-6:
        raise RuntimeError(
            f"its attributions miss the difference of the logits by up to {missed:.3g}, and the largest difference is {scale:.3g}: "
            "the model uses a function Captum does not see, such as torch.tanh in place of nn.Tanh, or one module twice"
        )
    return PlainExplained(total / (len(thinned) * len(references)), missed, scale)


def dropout_masks(model: nn.Module, n: int, seed: int, *names: int | str) -> list[dict[str, Thinning]]:
    """For each of `n` repeats what every dropout module of the model does, by its name; empty where it has none.

    Which units stay is drawn once per repeat, for all samples and references alike; those that stay are scaled up as dropout
    scales them.

    Raises
    ------
    NotImplementedError
        If the model drops out by anything but nn.Dropout.
    """
    own = {
        name: module.p
        for name, module in model.named_modules()
        if isinstance(module, nn.Dropout | nn.AlphaDropout | nn.FeatureAlphaDropout | nn.Dropout1d | nn.Dropout2d)
    }
    if other := [name for name in own if type(model.get_submodule(name)) is not nn.Dropout]:
        raise NotImplementedError(
            f"dropout stays on only for nn.Dropout, and {culprits(other)} are of another kind; use dropout_repeats=0"
        )
    drops = {name: p for name, p in own.items() if p > 0}
    return [
        {
            name: Thinning(p, int(generator(seed, "dropout repeat", *names, name, repeat).integers(2**32)))
            for name, p in drops.items()
        }
        for repeat in range(n if drops else 0)
    ]


@contextmanager
def undisturbed(model: nn.Module, masks: Mapping[str, Thinning] | None = None) -> Iterator[None]:
    """The model in evaluation mode, its dropout modules multiplying by `masks`; afterwards all is as it was.

    Modes, gradients and hooks are put back, and what explainers hang on modules is taken away.
    """
    modules = list(model.modules())
    modes, held = [m.training for m in modules], [set(vars(m)) for m in modules]
    kinds = [m._is_full_backward_hook for m in modules]
    gradients = [p.grad for p in model.parameters()]
    handles: list[RemovableHandle] = []
    try:
        model.eval()
        for name, thinning in (masks or {}).items():
            handles.append(model.get_submodule(name).register_forward_hook(_dropping(thinning)))
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module, mode, names, kind in zip(modules, modes, held, kinds, strict=True):
            module.training, module._is_full_backward_hook = mode, kind
            for left in set(vars(module)) - names:
                delattr(module, left)
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient


def _dropping(thinning: Thinning) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        stays = generator(thinning.seed, "units that stay").random(output.shape[1:]) >= thinning.rate
        return output * torch.from_numpy(stays / max(1 - thinning.rate, 1e-12)).to(output)

    return hook


def _place(model: nn.Module) -> tuple[torch.dtype, torch.device]:
    for parameter in model.parameters():
        if parameter.is_floating_point():
            return parameter.dtype, parameter.device
    return torch.float32, torch.device("cpu")


def _as_input(model: nn.Module, x: np.ndarray) -> Tensor:
    dtype, device = _place(model)
    return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float64)).to(device, dtype)

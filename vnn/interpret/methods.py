"""The methods by name: what each asks of a network, whether its contributions sum to anything, and who proposed it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from inspect import Parameter, signature
from typing import Literal

import numpy as np
import pandas as pd
from torch import Tensor

from vnn._errors import choose
from vnn.interpret.ablation import Ablation
from vnn.interpret.batch import Batch, Mean
from vnn.interpret.deeplift import Explained
from vnn.interpret.gradients import (
    deeplift,
    expected_gradients,
    gradient_x_difference,
    guided_backpropagation,
    integrated_gradients,
    internal_gradients,
    saliency,
    smooth_gradient,
)
from vnn.interpret.relevance import relevance_epsilon, relevance_gamma
from vnn.interpret.weights import products_for_samples
from vnn.layers import Signal
from vnn.models import VisibleNetwork

Family = Literal["propagation", "ablation", "relevance", "weights"]
Completeness = Literal["exact", "up to steps", "sampled", "up to absorption", "not defined"]
Explain = Callable[[Batch, Tensor], Explained]
Single = Callable[[VisibleNetwork, Signal, Signal, Tensor | None, Tensor | None, Tensor], Explained]


@dataclass(frozen=True, eq=False)
class Method:
    """One way to say what every node contributes to a contrast of the logits.

    Parameters
    ----------
    name
        In `METHODS`.
    family
        Methods of one family fail in the same places; the verdict asks for two families that agree.
    completeness
        Whether the sum over a cut is the difference of the logits: "exact", "up to steps" of a path, "sampled" up to its
        standard error, "up to absorption", or "not defined".
    unit
        What a value is: a "contribution" in logits, a "sensitivity" in logits per unit of the node, or a "weight".
    question
        What it answers, in words.
    reference
        Who proposed it: a doi or an arXiv number.
    function
        From a `Batch` and the weight of each logit to an `Explained`.
    n_background
        Training samples it averages over where no baseline is asked for; 0 for methods that compare with one reference.
    """

    name: str
    family: Family
    completeness: Completeness
    unit: Literal["contribution", "sensitivity", "weight"]
    question: str
    reference: str
    function: Explain
    n_background: int = 0

    @property
    def complete(self) -> bool:
        """Whether the sum over a cut is the difference of the logits, exactly or up to an error that is reported."""
        return self.completeness != "not defined"

    @property
    def settings(self) -> dict[str, object]:
        """The settings of the method and their values."""
        held = signature(self.function).parameters.values()
        return {one.name: one.default for one in held if one.kind is Parameter.KEYWORD_ONLY}

    def explain(self, batch: Batch, contrast: Tensor) -> Explained:
        """What every unit contributes to a contrast of the logits.

        Parameters
        ----------
        batch
            Samples beside their references; use one batch for all methods and contrasts, and the way up is gone once.
        contrast
            Weight of each logit, (n_targets,).
        """
        return self.function(batch, contrast)

    def with_settings(self, **settings: object) -> Method:
        """The same method with other settings, such as `n_steps=64`.

        Raises
        ------
        ValueError
            If it has no such setting.
        """
        for name in settings:
            choose(f"the setting of {self.name}", name, self.settings)
        return replace(self, function=partial(self.function, **settings))

    def baseline(
        self, kind: str | np.ndarray | pd.Series | None, n_draws: int | None
    ) -> tuple[str | np.ndarray | pd.Series, int]:
        """Kind and number of draws of the baseline, as asked for or as the method needs them; see `baseline_of`."""
        background = self.n_background if kind is None or (isinstance(kind, str) and kind == "samples") else 0
        kind = ("samples" if self.n_background else "mean") if kind is None else kind
        return kind, (background or 10) if n_draws is None else n_draws


def averaged(function: Single) -> Explain:
    """A method that knows one reference at a time, averaged over the draws of the baseline.

    Parameters
    ----------
    function
        From network, samples, reference, covariates, reference covariates and contrast to an `Explained`, whose tensors are
        not used afterwards.
    """

    def explain(batch: Batch, contrast: Tensor) -> Explained:
        mean, late = Mean(), batch.references.covariates
        for d in range(batch.n_draws):
            reference = batch.reference(d)
            mean.add(function(batch.network, batch.signal, reference, batch.covariates, late, contrast))
        return mean.result()

    return explain


def ablated(batch: Batch, contrast: Tensor, *, only: Mapping[str, Sequence[int]] | None = None) -> Explained:
    """Ablation of every node, or `only` of some, averaged over the draws of the baseline."""
    mean, late, prepared = Mean(), batch.references.covariates, batch.references.prepared
    if "ablation" not in prepared:
        prepared["ablation"] = Ablation(batch.network)
    machine: Ablation = prepared["ablation"]
    for d in range(batch.n_draws):
        reference = batch.reference(d)
        mean.add(machine.explain(machine.values(batch.signal, reference, batch.covariates, late), contrast, only=only))
    return mean.result()


def method_of(given: str | Method) -> Method:
    """The method called so, or the one given.

    Raises
    ------
    ValueError
        If there is none of this name; the message lists the known and the nearest.
    """
    return given if isinstance(given, Method) else METHODS[choose("the method", given, METHODS)]


METHODS: dict[str, Method] = {
    one.name: one
    for one in (
        Method(
            "deeplift", "propagation", "exact", "contribution",
            "What of the difference from the reference went through this node?",
            "arXiv:1704.02685", deeplift,
        ),
        Method(
            "deeplift-shap", "propagation", "exact", "contribution",
            "The same, on average over people as references.",
            "arXiv:1705.07874", deeplift, 20,
        ),
        Method(
            "integrated gradients", "propagation", "up to steps", "contribution",
            "How much did this node add while the inputs moved from the reference to the sample (conductance)?",
            "arXiv:1703.01365, arXiv:1805.12233", integrated_gradients,
        ),
        Method(
            "internal gradients", "propagation", "up to steps", "contribution",
            "How much did this node add while its level moved from the reference to the sample?",
            "arXiv:1703.01365", internal_gradients,
        ),
        Method(
            "expected gradients", "propagation", "sampled", "contribution",
            "Integrated gradients on average over people as references.",
            "doi:10.1038/s42256-021-00343-w", expected_gradients, 20,
        ),
        Method(
            "gradient x difference", "propagation", "not defined", "contribution",
            "If the network were linear around this sample, what would the difference of this node add?",
            "arXiv:1605.01713", gradient_x_difference,
        ),
        Method(
            "saliency", "propagation", "not defined", "sensitivity",
            "How strongly would the logit react to a small change of this node?",
            "arXiv:1312.6034", saliency,
        ),
        Method(
            "smoothgrad", "propagation", "not defined", "sensitivity",
            "How would the logit react to a small change of this node, on average around this sample?",
            "arXiv:1706.03825", smooth_gradient,
        ),
        Method(
            "guided backpropagation", "propagation", "not defined", "sensitivity",
            "Which nodes push the logit up along paths of active nodes only?",
            "arXiv:1412.6806", guided_backpropagation,
        ),
        Method(
            "lrp-epsilon", "relevance", "up to absorption", "contribution",
            "What reached this node when relevance is shared in proportion to contributions?",
            "doi:10.1371/journal.pone.0130140", averaged(relevance_epsilon),
        ),
        Method(
            "lrp-gamma", "relevance", "exact", "contribution",
            "The same, where contributions that agree with their node count more?",
            "doi:10.1007/978-3-030-28954-6_10", averaged(relevance_gamma),
        ),
        Method(
            "ablation", "ablation", "not defined", "contribution",
            "What would the logit lose if this node alone stood as it does on the reference?",
            "doi:10.1007/978-3-319-10590-1_53", ablated,
        ),
        Method(
            "weight products", "weights", "not defined", "weight",
            "How much weight lies on the paths from this node to the output?",
            "doi:10.1038/s42003-021-02622-z", products_for_samples,
        ),
    )
}  # fmt: skip

"""Contrasts: which combination of logits is explained, and how samples are weighed to score a node."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vnn._errors import choose
from vnn.data.targets import Target, martingale_residuals


@dataclass(frozen=True, eq=False)
class Contrast:
    """One question asked of the logits.

    Parameters
    ----------
    name
        In words: "AML minus ALL", "B cell minus the rest", "correlation with age".
    label
        The class it speaks of; empty for a quantity or survival.
    logits
        Weight of each logit, (n_targets,): the logit itself, or one class minus the mean of the others.
    """

    name: str
    label: str
    logits: np.ndarray

    def sample_weights(self, target: Target) -> np.ndarray | None:
        """Weights u of the samples of `target`, so that `sum(u * value)` is the score of a value.

        Classes: mean in the class minus mean outside it. Quantities: slope of the value on the quantity. Survival: slope
        on the martingale residual (events minus expected events). None where one side is absent or nothing varies.
        """
        if target.classes:
            inside = target.values == target.classes.index(self.label)
            if inside.all() or not inside.any():
                return None
            return np.where(inside, 1 / inside.sum(), -1 / (~inside).sum())
        outcome = residuals(target)
        spread = ((outcome - outcome.mean()) ** 2).sum() if len(outcome) else 0.0
        return None if spread <= 0 else (outcome - outcome.mean()) / spread


def contrasts(target: Target, label: str | None = None) -> tuple[Contrast, ...]:
    """The contrasts of a target: one for two classes, a quantity or survival, one per class otherwise.

    Parameters
    ----------
    label
        Only the contrast of this class.
    """
    classes = target.classes
    if not classes:
        what = target.name if target.events is None else f"risk ({target.event})"
        return (Contrast(f"correlation with {what}", "", np.ones(1)),)
    if label is not None:
        choose("the class", label, classes)
    if len(classes) == 2:
        at = 1 if label is None else classes.index(label)
        return (Contrast(f"{classes[at]} minus {classes[1 - at]}", classes[at], np.array([1.0 if at else -1.0])),)
    rest = -1 / (len(classes) - 1)
    return tuple(
        Contrast(f"{name} minus the rest", name, np.where(np.arange(len(classes)) == i, 1.0, rest))
        for i, name in enumerate(classes)
        if label in (None, name)
    )


def part_of(target: Target, at: np.ndarray) -> Target:
    """The target of some samples, by position."""
    return replace(target, values=target.values[at], events=None if target.events is None else target.events[at])


def residuals(target: Target) -> np.ndarray:
    """What a score is regressed on: the quantity itself, or for survival the martingale residual of these samples."""
    if target.events is None:
        return np.asarray(target.values, dtype=np.float64)
    return martingale_residuals(target.values, target.events)

"""Contrasts and residuals against scipy, lifelines and loops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from vnn.chance import generator
from vnn.data.targets import Target
from vnn.interpret.contrast import contrasts, residuals


def test_two_classes_ask_for_the_logit_of_the_second() -> None:
    target = Target("y", "binary", np.array([0, 1, 1, 0, 1]), ("ALL", "AML"))
    (one,) = contrasts(target)
    assert (one.name, one.label, one.logits.tolist()) == ("AML minus ALL", "AML", [1.0])
    value = generator(0, "test").standard_normal(5)
    u = one.sample_weights(target)
    assert u is not None
    assert u @ value == pytest.approx(value[[1, 2, 4]].mean() - value[[0, 3]].mean())


def test_the_first_of_two_classes_turns_everything() -> None:
    target = Target("y", "binary", np.array([0, 1, 1]), ("ALL", "AML"))
    (one,) = contrasts(target, "ALL")
    assert (one.name, one.logits.tolist()) == ("ALL minus AML", [-1.0])
    u = one.sample_weights(target)
    assert u is not None
    assert u.tolist() == [1.0, -0.5, -0.5]


def test_more_classes_are_each_asked_against_the_mean_of_the_others() -> None:
    target = Target("y", "multiclass", np.array([0, 1, 2, 1]), ("a", "b", "c"))
    asked = contrasts(target)
    assert [c.name for c in asked] == ["a minus the rest", "b minus the rest", "c minus the rest"]
    assert asked[1].logits.tolist() == [-0.5, 1.0, -0.5]
    assert [c.label for c in contrasts(target, "c")] == ["c"]
    with pytest.raises(ValueError, match="known are 'a', 'b', 'c'"):
        contrasts(target, "d")


def test_an_absent_class_has_no_weights() -> None:
    target = Target("y", "multiclass", np.array([0, 1, 1]), ("a", "b", "c"))
    assert contrasts(target)[2].sample_weights(target) is None


def test_a_quantity_is_scored_by_the_slope() -> None:
    rng = generator(1, "test")
    target = Target("age", "regression", rng.standard_normal(20))
    value = rng.standard_normal(20)
    (one,) = contrasts(target)
    u = one.sample_weights(target)
    assert u is not None
    assert u @ value == pytest.approx(stats.linregress(target.values, value).slope)
    assert one.sample_weights(Target("age", "regression", np.ones(5))) is None


def test_survival_is_scored_on_martingale_residuals() -> None:
    rng = generator(2, "test")
    time = np.round(rng.exponential(10, 30)) + 1
    event = rng.random(30) < 0.7
    target = Target("OS.time", "cox", time, events=event, event="OS")
    hazard = [
        sum(((time == t) & event).sum() / (time >= t).sum() for t in np.unique(time[event]) if t <= own) for own in time
    ]
    assert residuals(target) == pytest.approx(event - np.array(hazard))
    assert contrasts(target)[0].name == "correlation with risk (OS)"

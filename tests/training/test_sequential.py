"""Sequential search: what a trial suggests is judged by the search, and optuna proposes."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest

from tests.planted import cohort, folds, wiring
from tests.training.test_fitting import trained
from tests.training.test_search import DROPPING, QUICK
from vnn.training.search import Space
from vnn.training.sequential import objective, sequential_search
from vnn.training.settings import Setting

HOW: dict[str, Any] = {"target": "phenotype", "split": folds()[0], "training": QUICK, "seed": 7}
SPACE = Space(lr=(1e-3, 3e-2), weight_decay="fixed")


class Stated:
    """A trial that suggests what it was told, and notes how it was asked."""

    def __init__(self, **values: float) -> None:
        self.values, self.asked = values, {}

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        self.asked[name] = (low, high, log)
        return self.values[name]


def test_a_trial_has_the_loss_of_a_fit_with_its_setting() -> None:
    trial = Stated(lr=4e-3, dropout=0.3, input_dropout=0.1)
    loss = objective(wiring(), cohort(), space=SPACE, recipes=DROPPING, **HOW)(trial)
    made = trained(
        splits=(folds()[0],), training=QUICK, recipe=DROPPING, settings=Setting(lr=4e-3, dropout=0.3, input_dropout=0.1)
    )  # fmt: skip
    assert loss == made.history["validation"].min()
    assert trial.asked == {"lr": (1e-3, 3e-2, True), "dropout": (0, 0.5, False), "input_dropout": (0, 0.8, False)}


def test_a_trial_that_diverges_is_infinitely_bad() -> None:
    trial = Stated(lr=1e30, dropout=0.3, input_dropout=0.1)
    assert objective(wiring(), cohort(), space=SPACE, **HOW)(trial) == np.inf


def test_without_optuna_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def absent(name: str, *arguments: Any, **more: Any) -> Any:
        if name == "optuna":
            raise ImportError(name)
        return found(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ImportError, match=r"pip install 'vnn\[optuna\]'"):
        sequential_search(wiring(), cohort(), **HOW)


def test_optuna_finds_no_worse_than_what_the_study_states() -> None:
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found = [sequential_search(wiring(), cohort(), space=SPACE, n=6, recipe=DROPPING, **HOW) for _ in range(2)]
    (setting, study), (again, _) = found
    assert setting == again
    assert study.trials[0].params == {"lr": 1e-2, "dropout": 0.2, "input_dropout": 0.3}
    assert len(study.trials) == 6
    assert study.best_value <= study.trials[0].value
    assert (setting.weight_decay, setting.lr) == (QUICK.weight_decay, study.best_params["lr"])

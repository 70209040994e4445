"""A training step as a program against the same step by modules and autograd, and against itself in other arrangements."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from tests.wirings import toy_topology
from vnn.bench.memory import peak_bytes
from vnn.bench.wirings import pnet_sized
from vnn.kernels import backend
from vnn.models import Recipe, VisibleNetwork
from vnn.ontology import Topology
from vnn.training import Training, tile
from vnn.training.loop import Trainer
from vnn.training.problem import Problem
from vnn.training.program import Workspace

pytestmark = pytest.mark.compiler
SETTINGS = Training(batch_size=40, epochs=3, lr=1e-2, clip=0.5, dtype="float64", patience=2)


def problem(
    n_in: int,
    n: int = 3,
    *,
    task: str = "binary",
    n_classes: int = 2,
    missing: bool = False,
    covariates: int = 0,
    n_samples: int = 90,
) -> Problem:
    rng = np.random.default_rng(0)
    inputs = torch.from_numpy(rng.standard_normal((n_in, n_samples)))
    if missing:
        inputs[torch.from_numpy(rng.random(inputs.shape) < 0.1)] = torch.nan
    target = {
        "regression": lambda: torch.from_numpy(rng.standard_normal((n, n_samples))),
        "cox": lambda: torch.from_numpy(np.stack([rng.integers(0, 30, n_samples), rng.integers(0, 2, n_samples)])),
    }.get(task, lambda: torch.from_numpy(rng.integers(0, n_classes, n_samples)))()
    weight = torch.from_numpy(rng.random((n, n_samples)) * (rng.random((n, n_samples)) < 0.7))
    held = (weight == 0).double()
    columns = torch.from_numpy(rng.standard_normal((covariates, n_samples))) if covariates else None
    return Problem(inputs, columns, target, task, weight, held, np.arange(n_samples))


def network(topology: Topology, recipe: Recipe, posed: Problem, n_targets: int = 1) -> VisibleNetwork:
    n = len(posed.train_weight)
    n_covariates = 0 if posed.covariates is None else len(posed.covariates)
    made = VisibleNetwork(
        topology, recipe, replicates=[str(i) for i in range(n)], n_targets=n_targets, n_covariates=n_covariates
    ).double()
    rng = np.random.default_rng(1)
    for scaling in (made.scaling, *((made.covariate_scaling,) if n_covariates else ())):
        for buffer in (scaling.scale, scaling.shift, scaling.fill):
            buffer.copy_(torch.from_numpy(rng.random(tuple(buffer.shape)) + 0.5))
    made.imputes = bool(torch.isnan(posed.inputs).any())
    return made


def trained(
    posed: Problem, made: VisibleNetwork, settings: Training = SETTINGS
) -> tuple[dict[str, torch.Tensor], Trainer]:
    trainer = Trainer(made, posed, settings, seed=0)
    return trainer.run().state_dict(), trainer


def assert_close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    for key, values in one.items():
        torch.testing.assert_close(values, other[key], rtol=1e-9, atol=1e-9, msg=lambda text, key=key: f"{key}: {text}")


RECIPES = {
    "default": Recipe(),
    "sigmoid, no normalisation": Recipe(normalisation="none", activation="sigmoid"),
    "softsign, all inputs": Recipe(activation="softsign", input_dropout=0.0),
    "relu, units": Recipe(activation="relu", units={"p": 3, "y": 2}, dropout=0.0),
    "linear, one head": Recipe(activation="linear", heads="outputs"),
    "nothing": Recipe(normalisation="none", dropout=0.0, input_dropout=0.0, head_weight=0.0),
}
PROBLEMS: dict[str, dict[str, Any]] = {
    "binary": {},
    "multiclass": {"task": "multiclass", "n_classes": 3},
    "regression, missing": {"task": "regression", "missing": True},
    "cox, covariates": {"task": "cox", "covariates": 2},
    "binary, missing, covariates": {"missing": True, "covariates": 3},
}


@pytest.mark.parametrize("optimiser", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("posed", PROBLEMS)
def test_programs_train_what_modules_train(posed: str, recipe: str, optimiser: str) -> None:
    given = problem(4, **PROBLEMS[posed])
    settings = SETTINGS.model_copy(update={"optimiser": optimiser})
    found = []
    for name in ("cpu", "reference"):
        with backend(name):
            made = network(toy_topology("edges"), RECIPES[recipe], given, PROBLEMS[posed].get("n_classes", 1))
            found.append(trained(given, made, settings))
    assert_close(found[0][0], found[1][0])
    assert found[0][1].record.state == found[1][1].record.state
    for mine, theirs in zip(found[0][1].record.history, found[1][1].record.history, strict=True):
        for part in mine:
            np.testing.assert_allclose(mine[part], theirs[part], rtol=1e-9)


@contextmanager
def cut(monkeypatch: pytest.MonkeyPatch, size: int) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr("vnn.training.loop.tile_size", lambda *_: size)
        yield


@pytest.mark.parametrize("posed", ["binary", "cox, covariates"])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_tiles_change_no_bit(size: int, posed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = problem(4, 5, **PROBLEMS[posed])
    found = []
    for each in (5, size):
        with cut(monkeypatch, each):
            found.append(trained(given, network(toy_topology("edges"), Recipe(), given)))
    for key, values in found[0][0].items():
        assert torch.equal(values, found[1][0][key]), key
    assert len(found[1][1].record.history) == len(found[0][1].record.history)


def test_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    given, found = problem(4, 6), []
    try:
        for n_threads, size in ((1, 6), (2, 6), (2, 3), (2, 1), (3, 2)):
            torch.set_num_threads(n_threads)
            with cut(monkeypatch, size):
                found.append(trained(given, network(toy_topology("edges"), Recipe(), given))[0])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(values, other[key]) for key, values in found[0].items())


def test_memory_left_from_before_is_never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    given = problem(4, missing=True, covariates=2)
    clean = trained(given, network(toy_topology("edges"), Recipe(), given))[0]
    take = Workspace.take

    def poisoned(self: Workspace, *shape: int) -> torch.Tensor:
        return take(self, *shape).fill_(torch.nan)

    monkeypatch.setattr(Workspace, "take", poisoned)
    found = trained(given, network(toy_topology("edges"), Recipe(), given))[0]
    assert all(torch.equal(values, found[key]) for key, values in clean.items())


def test_stopped_replicates_are_let_go_without_changing_a_bit_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    given = problem(4, 6)
    settings = SETTINGS.model_copy(update={"epochs": 40, "patience": 2, "lr": 0.05})
    found = []
    for idle in (0.0, 0.25, 1.0):
        monkeypatch.setattr("vnn.training.loop.IDLE", idle)
        found.append(trained(given, network(toy_topology("edges"), Recipe(), given), settings))
    assert len(set(found[0][1].record.best_epoch)) > 1
    for state, trainer in found[1:]:
        assert all(torch.equal(values, state[key]) for key, values in found[0][0].items())
        assert str(trainer.record.history) == str(found[0][1].record.history)


def test_a_step_takes_no_new_memory() -> None:
    topology = pnet_sized((2000, 300, 100), 6000)
    given = problem(2000, 4)
    trainer = Trainer(network(topology, Recipe(), given), given, SETTINGS, seed=0)
    batch = np.arange(40)
    trainer._step(batch)
    took = peak_bytes(lambda: trainer._step(batch))
    assert took is None or took < 2**20


def test_tiles_fit_the_cache_and_share_the_threads() -> None:
    made = VisibleNetwork(pnet_sized((2000, 300, 100), 6000))
    for n in (1, 2, 7, 60):
        size = tile.tile_size(made, 64, n)
        assert 1 <= size <= n
    assert tile.tile_size(made, 64, 10**4) * (4 * 400 + 2000) * 64 * 4 <= tile.CACHE_BYTES

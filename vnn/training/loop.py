"""The loop that trains all replicates of a chunk at once and can be killed at any moment."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from vnn._atomic import replacing
from vnn._errors import FitError
from vnn.chance import generator
from vnn.layers import Draw, Signal
from vnn.models import VisibleNetwork
from vnn.training.losses import informative, losses
from vnn.training.optimiser import Optimiser
from vnn.training.settings import Training

EVALUATED_AT_ONCE = 1024
CHECKPOINT_SECONDS, CHECKPOINT_SHARE = 2.0, 0.05


@dataclass(frozen=True, eq=False)
class Problem:
    """What is learnt, samples in the order of their sorted ids.

    Parameters
    ----------
    inputs
        Raw values (n_in, n_samples).
    covariates
        Raw columns (n_covariates, n_samples), or None.
    target
        Class codes (n_samples,), for a regression values (R, n_samples) in the units of each replicate, for cox
        the ranks of the times and the events (2, n_samples).
    task
        "binary", "multiclass", "regression" or "cox".
    train_weight, validation_weight
        Weight of each sample in each replicate, (R, n_samples).
    universe
        Positions of all samples that some replicate of the *study* learns from; batches are cut from
        them, so that they are the same however the replicates are chunked.
    """

    inputs: Tensor
    covariates: Tensor | None
    target: Tensor
    task: str
    train_weight: Tensor
    validation_weight: Tensor
    universe: np.ndarray

    def keep(self, positions: Sequence[int]) -> Problem:
        """The problem of the replicates at `positions`."""
        at = torch.as_tensor(positions)
        target = self.target[at] if self.task == "regression" else self.target
        weights = self.train_weight[at], self.validation_weight[at]
        return Problem(self.inputs, self.covariates, target, self.task, *weights, self.universe)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything in it."""
        digest = hashlib.sha256(self.task.encode())
        for values in (self.inputs, self.covariates, self.target, self.train_weight, self.validation_weight):
            digest.update(b"-" if values is None else np.ascontiguousarray(values.numpy()).tobytes())
        digest.update(self.universe.astype("<i8").tobytes())
        return digest.hexdigest()


@dataclass
class Progress:
    """What a listener is told after every epoch.

    Parameters
    ----------
    epoch, epochs
        Passes done, and the most there will be.
    living, replicates
        Replicates still training, and all of them.
    train_loss, validation_loss
        Means over the living replicates; NaN where there is no validation part.
    seconds
        Since training began or was resumed.
    """

    epoch: int
    epochs: int
    living: int
    replicates: int
    train_loss: float
    validation_loss: float
    seconds: float


Listener = Callable[[Progress], None]


@dataclass
class Record:
    """What is known of every replicate of the chunk, living or not, in their order."""

    names: tuple[str, ...]
    state: list[str]
    best_epoch: list[int]
    best_loss: list[float]
    waited: list[int]
    history: list[dict[str, list[float]]] = field(default_factory=list)


class Trainer:
    """Trains the replicates of one network until each has stopped.

    Parameters
    ----------
    network
        With initial weights and fitted scalings; it is left as it is.
    problem
        What is learnt.
    settings
        How.
    seed
        Seed of the study.
    checkpoint
        File to which the state is written now and then, and from which an interrupted run goes on to the same bits.
    """

    def __init__(
        self,
        network: VisibleNetwork,
        problem: Problem,
        settings: Training,
        *,
        seed: int,
        checkpoint: Path | None = None,
    ) -> None:
        self.full, self.problem, self.settings, self.seed = network, problem, settings, seed
        self.checkpoint, self.epoch, self.step = checkpoint, 0, 0
        names = network.replicate_names
        n = len(names)
        self.record = Record(names, ["training"] * n, [0] * n, [float("inf")] * n, [0] * n)
        self.best = {name: values.clone() for name, values in network.state_dict().items()}
        self.living = list(range(n))
        self.network = network.replicates(list(range(n)))
        rates = torch.full((n,), settings.lr, dtype=torch.float64)
        decay = torch.full((n,), settings.weight_decay, dtype=torch.float64)
        self.optimiser = Optimiser(list(self.network.parameters()), settings.optimiser, rates, decay)
        self.lr_factor = np.ones(n)
        self._own = problem

    def run(self, listener: Listener | None = None) -> VisibleNetwork:
        """Train to the end and return the network with the best weights of every replicate."""
        if self.checkpoint is not None and self.checkpoint.exists():
            self._resume()
        began = saved = time.monotonic()
        cost = 0.0
        while self.living and self.epoch < self.settings.epochs:
            learnt = self._epoch()
            validation = self._validate()
            self._judge(learnt, validation)
            if listener is not None:
                told = validation[~np.isnan(validation)]
                train, stopping = float(np.mean(learnt)), float(np.mean(told)) if len(told) else float("nan")
                n, seconds = len(self.record.names), time.monotonic() - began
                listener(Progress(self.epoch, self.settings.epochs, len(self.living), n, train, stopping, seconds))
            if self.checkpoint is not None and time.monotonic() - saved > max(
                CHECKPOINT_SECONDS, cost / CHECKPOINT_SHARE
            ):
                asked = time.monotonic()
                self._save()
                saved = time.monotonic()
                cost = saved - asked
        for i in self.living:
            self.record.state[i] = "finished"
        trained = self.full.replicates(list(range(len(self.record.names))))
        trained.load_state_dict(self.best)
        return trained.eval()

    def _epoch(self) -> np.ndarray:
        """One pass; the mean loss of each living replicate over its batches."""
        self.network.train()
        self._set_rates()
        universe = self._own.universe
        order = universe[generator(self.seed, "batch order", self.epoch).permutation(len(universe))]
        total = np.zeros(len(self.living))
        counted = np.zeros(len(self.living))
        for start in range(0, len(order), self.settings.batch_size):
            loss, weight = self._step(order[start : start + self.settings.batch_size])
            total += np.where(weight > 0, loss * weight, 0.0)
            counted += weight
        self.epoch += 1
        return total / np.maximum(counted, 1e-300)

    def _step(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at = torch.from_numpy(batch)
        target, weights = self._own.target[..., at], self._own.train_weight[:, at]
        counted = informative(self._own.task, target, weights)
        weights = weights * (counted > 0)[:, None]
        draw = Draw(self.step, at)
        heads = self.network.heads(*self._columns(at), weights=weights, draw=draw)
        loss = self._loss(heads, target, weights)
        self.optimiser.zero_grad()
        loss.backward(torch.ones_like(loss))
        if self._own.task == "cox":
            self._without_intercept()
        self.step += 1
        norms = self.optimiser.norms()
        sound = torch.isfinite(loss) & torch.isfinite(norms)
        alive = torch.tensor([self.record.state[i] == "training" for i in self.living])
        acting = sound & (counted > 0) & alive
        for i in torch.nonzero(~sound & alive & (counted > 0))[:, 0].tolist():
            self.record.state[self.living[i]] = "diverged"
        if self.settings.clip:
            self.optimiser.clip(norms, self.settings.clip)
        self.optimiser.step(acting)
        return loss.detach().double().numpy(), counted.double().numpy()

    def _without_intercept(self) -> None:
        """Forget the gradients of the heads' biases: no hazard ratio depends on them, so they are rounding noise."""
        for linear in self.network.head_linears:
            assert isinstance(linear.bias, Tensor)
            linear.bias.grad = torch.zeros_like(linear.bias)

    def _columns(self, at: Tensor) -> tuple[Signal, Tensor | None]:
        covariates = None if self._own.covariates is None else self._own.covariates[:, at].T
        return self.network.signal(self._own.inputs, at), covariates

    def _loss(self, heads: dict[str, Tensor], target: Tensor, weights: Tensor) -> Tensor:
        task, logits = self._own.task, torch.stack(list(heads.values()))
        loss = losses(task, logits.mean(0), target, weights)
        share = self.network.recipe.head_weight
        if len(heads) > 1 and share:
            for one in logits:
                loss = loss + share / len(heads) * losses(task, one, target, weights)
        return loss

    @torch.no_grad()
    def _validate(self) -> np.ndarray:
        """Validation loss of each living replicate; NaN for those without a validation part."""
        weights = self._own.validation_weight
        columns = torch.nonzero((weights > 0).any(0))[:, 0]
        if not len(columns):
            return np.full(len(self.living), np.nan)
        self.network.eval()
        logits = []
        for at in columns.split(EVALUATED_AT_ONCE):
            heads = self.network.heads(*self._columns(at))
            logits.append(torch.stack(list(heads.values())).mean(0))
        found = losses(self._own.task, torch.cat(logits), self._own.target[..., columns], weights[:, columns])
        return np.where((weights > 0).any(1).numpy(), found.double().numpy(), np.nan)

    def _set_rates(self) -> None:
        base = self.settings.lr * self.lr_factor[self.living]
        if self.settings.schedule == "cosine":
            base = base * 0.5 * (1 + np.cos(np.pi * self.epoch / self.settings.epochs))
        self.optimiser.lr.copy_(torch.from_numpy(base))

    def _judge(self, learnt: np.ndarray, validation: np.ndarray) -> None:
        """Keep the best weights, stop who no longer gains, and go on with the rest alone."""
        record, settings = self.record, self.settings
        n = len(record.names)
        stops = (self._own.validation_weight > 0).any(1).tolist()
        row = {"train": [float("nan")] * n, "validation": [float("nan")] * n}
        better = []
        for j, i in enumerate(self.living):
            row["train"][i] = float(learnt[j])
            if record.state[i] == "diverged":
                continue
            if not stops[j]:
                better.append(j)
                record.best_epoch[i], record.best_loss[i] = self.epoch, float(learnt[j])
                continue
            row["validation"][i] = float(validation[j])
            if not np.isfinite(validation[j]):
                record.state[i] = "diverged"
            elif validation[j] < record.best_loss[i] - settings.min_gain:
                better.append(j)
                record.best_epoch[i], record.best_loss[i], record.waited[i] = self.epoch, float(validation[j]), 0
            else:
                record.waited[i] += 1
                if record.waited[i] >= settings.patience:
                    record.state[i] = "stopped"
                elif settings.schedule == "plateau" and record.waited[i] % max(settings.patience // 3, 1) == 0:
                    self.lr_factor[i] *= 0.5
        record.history.append(row)
        if better:
            into = [self.living[j] for j in better]
            for name, values in self.network.state_dict().items():
                self.best[name][..., into] = values[..., better]
        self._keep([j for j, i in enumerate(self.living) if record.state[i] == "training"])

    def _keep(self, positions: list[int]) -> None:
        if len(positions) == len(self.living):
            return
        self.living = [self.living[j] for j in positions]
        if positions:
            self.network = self.network.replicates(positions)
            self.optimiser = self.optimiser.keep(positions, list(self.network.parameters()))
            self._own = self._own.keep(positions)

    # Interruption.

    def _identity(self) -> str:
        parts = [self.problem.fingerprint, self.settings.model_dump_json(), self.full.recipe.model_dump_json()]
        parts += [self.full.topology.fingerprint, str(self.seed), *self.record.names]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def _save(self) -> None:
        assert self.checkpoint is not None
        tensors = {f"network/{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"best/{k}": v for k, v in self.best.items()}
        tensors |= {f"optimiser/{k}": v for k, v in self.optimiser.state().items()}
        header = {
            "identity": self._identity(),
            "epoch": self.epoch,
            "step": self.step,
            "living": self.living,
            "lr_factor": self.lr_factor.tolist(),
            "record": vars(self.record),
        }
        with replacing(self.checkpoint) as part:
            save_file({k: v.contiguous() for k, v in tensors.items()}, part, metadata={"vnn": json.dumps(header)})

    def _resume(self) -> None:
        assert self.checkpoint is not None
        with safe_open(self.checkpoint, framework="pt") as file:
            header = json.loads(file.metadata()["vnn"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if header["identity"] != self._identity():
            raise FitError(
                f"{self.checkpoint} belongs to another study: data, topology, settings or replicates differ. "
                "Finish that study as it was, or delete the file to start anew."
            )
        self.epoch, self.step = header["epoch"], header["step"]
        self.lr_factor = np.array(header["lr_factor"])
        self.record = Record(**header["record"])
        self.record.names = tuple(self.record.names)
        self._keep([self.living.index(i) for i in header["living"]])
        pick = lambda prefix: {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}  # noqa: E731
        self.best = pick("best/")
        if self.living:
            self.network.load_state_dict(pick("network/"))
            self.optimiser.load(pick("optimiser/"))

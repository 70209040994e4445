"""The loop that trains all replicates of a chunk at once and can be killed at any moment."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from vnn._atomic import replacing
from vnn._errors import FitError
from vnn.kernels import PackedPeople
from vnn.layers import Draw, Signal
from vnn.models import VisibleNetwork
from vnn.training.losses import informative, losses
from vnn.training.optimiser import Optimiser
from vnn.training.problem import Problem
from vnn.training.program import edge_weights
from vnn.training.settings import Setting, Training
from vnn.training.tile import Programs, Tile, combined, joined, prepared_here, tile_size

EVALUATED_AT_ONCE = 1024
IDLE = 0.25
DECODED_FOR = 10  # replicates that share the decoding of packed genotypes, whether or not a cache holds what they write
CHECKPOINT_SECONDS, CHECKPOINT_SHARE = 2.0, 0.05


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
    own
        What each replicate has of its own. Its dropout is that of `network`, and its resample that of `problem`.
    """

    def __init__(
        self,
        network: VisibleNetwork,
        problem: Problem,
        settings: Training,
        *,
        seed: int,
        checkpoint: Path | None = None,
        own: Sequence[Setting] | None = None,
    ) -> None:
        problem = problem.scaled_for(network.scaling)
        self.full, self.problem, self.settings, self.seed = network, problem, settings, seed
        self.checkpoint, self.epoch, self.step = checkpoint, 0, 0
        names = network.replicate_names
        n = len(names)
        self.record = Record(names, ["training"] * n, [0] * n, [float("inf")] * n, [0] * n)
        self.lr_factor = np.ones(n)
        each = own or [Setting()] * n
        self.own = [setting.beside(settings, network.recipe) for setting in each]
        self._lr = np.array([setting.lr for setting in self.own])
        self.tiles = self._cut(network)
        self._done: dict[int, dict[str, Tensor]] = {}
        self._settled: set[int] = set()
        self._programs: Programs | None = None
        self._own = problem

    @property
    def prepared(self) -> bool:
        """Whether steps run as programs of the kernels."""
        return prepared_here(self.problem)

    @property
    def living(self) -> list[int]:
        """Positions of the replicates that the tiles hold; some may have stopped."""
        return [i for tile in self.tiles for i in tile.positions]

    @property
    def network(self) -> VisibleNetwork:
        """The network of a chunk that is one tile."""
        (tile,) = self.tiles
        return tile.network

    @property
    def training(self) -> list[bool]:
        """Which of the living are still trained."""
        return [self.record.state[i] == "training" for i in self.living]

    def _cut(self, network: VisibleNetwork) -> list[Tile]:
        tiles = []
        for at in self._shares(range(network.n_replicates)):
            own = network.replicates(at)
            lr = torch.tensor([self.own[i].lr for i in at], dtype=torch.float64)
            decay = torch.tensor([self.own[i].weight_decay for i in at], dtype=torch.float64)
            tiles.append(Tile(own, Optimiser(list(own.parameters()), self.settings.optimiser, lr, decay), at))
        return tiles

    def _shares(self, positions: Sequence[int]) -> list[list[int]]:
        """The positions of each tile, where these are trained."""
        n = len(positions)
        size = tile_size(self.full, self.settings.batch_size, n) if self.prepared else max(n, 1)
        if n and isinstance(self.problem.inputs, PackedPeople):
            size = max(size, -(-n // -(-n // DECODED_FOR)))
        return [list(positions[first : first + size]) for first in range(0, n, size)]

    def run(self, listener: Listener | None = None) -> VisibleNetwork:
        """Train to the end and return the network with the best weights of every replicate."""
        self.resume()
        self.train(listener=listener)
        self.record.state = ["finished" if state == "training" else state for state in self.record.state]
        trained = self.full.replicates(list(range(len(self.record.names))))
        trained.load_state_dict(self._best())
        return trained.eval()

    def resume(self) -> None:
        """Go on from the checkpoint, where there is one."""
        if (held := self._held()) is not None:
            self._resume(*held)

    def train(self, until: int | None = None, listener: Listener | None = None) -> None:
        """Train until every replicate has stopped, but not beyond the epoch `until`."""
        last = self.settings.epochs if until is None else min(until, self.settings.epochs)
        began = saved = time.monotonic()
        cost = 0.0
        if self.epoch == 0 and self.settings.start == "associations":
            self._begin()
        while any(self.training) and self.epoch < last:
            learnt = self._epoch()
            validation = self._validate()
            ran = [j for j, i in enumerate(self.living) if i not in self._settled]
            self._judge(learnt, validation)
            if listener is not None:
                told = validation[ran][~np.isnan(validation[ran])]
                train, stopping = float(np.mean(learnt[ran])), float(np.mean(told)) if len(told) else float("nan")
                n, seconds = len(self.record.names), time.monotonic() - began
                listener(Progress(self.epoch, self.settings.epochs, sum(self.training), n, train, stopping, seconds))
            if self.checkpoint is not None and time.monotonic() - saved > max(
                CHECKPOINT_SECONDS, cost / CHECKPOINT_SHARE
            ):
                asked = time.monotonic()
                self.save()
                saved = time.monotonic()
                cost = saved - asked

    def _begin(self) -> None:
        """Weights that already know something must be beaten."""
        for i, loss in zip(self.living, self._validate(), strict=True):
            if np.isfinite(loss):
                self.record.best_loss[i] = float(loss)

    def drop(self, positions: Sequence[int]) -> None:
        """Stop replicates for good; they and all that have stopped are let go of, and the others move together."""
        for i in positions:
            if self.record.state[i] == "training":
                self.record.state[i] = "dropped"
        stopped = {i for i in self.living if self.record.state[i] != "training"}
        if not stopped:
            return
        self._settled = stopped
        self._compact(idle=0.0)
        if self.tiles:
            network, optimiser = self._present()
            best = joined([tile.best for tile in self.tiles])
            self._settle(self._laid(self._shares(self.living), network, optimiser, best))

    def _best(self) -> dict[str, Tensor]:
        """The best state of every replicate of the chunk."""
        best = {name: values.clone() for name, values in self.full.state_dict().items()}
        for tile in self.tiles:
            for name, values in tile.best.items():
                best[name][..., tile.positions] = values
        for i, state in self._done.items():
            for name, values in state.items():
                best[name][..., i] = values
        return best

    def _epoch(self) -> np.ndarray:
        """One pass; the mean loss of each living replicate over its batches."""
        self._set_rates()
        batches = self._own.batches(self.settings.batch_size, seed=self.seed, epoch=self.epoch)
        total = np.zeros(len(self.living))
        counted = np.zeros(len(self.living))
        for batch, following in zip(batches, [*batches[1:], None], strict=True):
            if following is not None and isinstance(self._own.inputs, PackedPeople):
                self._own.inputs.expect(following)
            loss, weight = self._step(batch)
            total += np.where(weight > 0, loss * weight, 0.0)
            counted += weight
        self.epoch += 1
        return total / np.maximum(counted, 1e-300)

    def _step(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One step of every replicate still trained; the loss of each living one and the weight it is a mean over."""
        take = self._step_prepared if self.prepared else self._step_by_autograd
        loss, counted, sound = take(batch)
        self.step += 1
        for i, fine, weight in zip(self.living, sound.tolist(), counted.tolist(), strict=True):
            if not fine and weight > 0 and self.record.state[i] == "training":
                self.record.state[i] = "diverged"
        return loss, counted

    def _step_prepared(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        programs = self._prepare()
        programs.alive.numpy()[:] = self.training
        programs.lr.copy_(torch.cat([tile.optimiser.lr for tile in self.tiles]))
        programs.decay.copy_(torch.cat([tile.optimiser.weight_decay for tile in self.tiles]))
        return programs.step(batch, self.step)

    def _prepare(self) -> Programs:
        if self._programs is None:
            self._programs = Programs(self.tiles, self._own, self.settings)
        return self._programs

    def _step_by_autograd(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The plain form of a step: the modules of the network, autograd, and an optimiser behind them."""
        at, network, optimiser = torch.from_numpy(batch), self.network, self.tiles[0].optimiser
        network.train()
        target, weights = self._own.target[..., at], self._own.train_weight[:, at]
        counted = informative(self._own.task, target, weights)
        weights = weights * (counted > 0)[:, None]
        logits, cost = self._learnt(network, at, weights)
        loss = combined(self._own.task, logits, target, weights, network.recipe.head_weight)
        optimiser.zero_grad()
        (loss + self.settings.l1_activities * cost).backward(torch.ones_like(loss))
        if self._own.task == "cox":
            _without_intercept(network)
        self._complete(optimiser)
        norms = optimiser.norms()
        sound = torch.isfinite(loss) & torch.isfinite(norms)
        if self.settings.clip:
            optimiser.clip(norms, self.settings.clip)
        acting = sound & (counted > 0) & torch.tensor(self.training)
        optimiser.step(acting)
        if self.settings.l1_weights:
            optimiser.shrink(edge_weights(network), self.settings.l1_weights, acting)
        return loss.detach().double().numpy(), counted.double().numpy(), sound.numpy()

    def _learnt(self, network: VisibleNetwork, at: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of every head in training, (n_heads, batch, R, n_targets), and the mean absolute activities, summed over nodes."""
        heads, values = network.outcome(*self._columns(network, at), weights=weights, draw=Draw(self.step, at))
        total = weights.sum(1)
        share = weights / torch.where(total > 0, total, 1.0)[:, None]
        cost = torch.stack([(held[:, :, : len(at)].abs() * share).sum((0, 2)) for held in values.values()]).sum(0)
        return torch.stack(list(heads.values())), cost

    def _complete(self, optimiser: Optimiser) -> None:
        """The gradients are whole where one process has all samples."""

    def _columns(self, network: VisibleNetwork, at: Tensor) -> tuple[Signal, Tensor | None]:
        covariates = None if self._own.covariates is None else self._own.covariates[:, at].T
        return network.signal(self._own.inputs, at), covariates

    def _validate(self) -> np.ndarray:
        """Validation loss of each living replicate; NaN for those without a validation part."""
        if self.prepared:
            return self._prepare().validate()
        return self._validate_by_modules()

    @torch.no_grad()
    def _validate_by_modules(self) -> np.ndarray:
        weights = self._own.validation_weight
        columns = self._own.seen_by(weights)
        if not len(columns):
            return np.full(len(self.living), np.nan)
        logits = self._evaluated(self.network.eval(), columns)
        found = losses(self._own.task, logits, self._own.target[..., columns], weights[:, columns])
        return np.where((weights > 0).any(1).numpy(), found.double().numpy(), np.nan)

    def _evaluated(self, network: VisibleNetwork, columns: Tensor) -> Tensor:
        """The mean of the heads in evaluation, (n_columns, R, n_targets)."""
        logits = []
        for at in columns.split(EVALUATED_AT_ONCE):
            heads = network.heads(*self._columns(network, at))
            logits.append(torch.stack(list(heads.values())).mean(0))
        return torch.cat(logits)

    def _set_rates(self) -> None:
        base = self._lr * self.lr_factor
        if self.settings.schedule == "cosine":
            base = base * 0.5 * (1 + np.cos(np.pi * self.epoch / self.settings.epochs))
        for tile in self.tiles:
            tile.optimiser.lr.copy_(torch.from_numpy(base[tile.positions]))

    def _judge(self, learnt: np.ndarray, validation: np.ndarray) -> None:
        """Keep the best weights, stop who no longer gains, and go on with the rest alone."""
        record, settings = self.record, self.settings
        n = len(record.names)
        stops = (self._own.validation_weight > 0).any(1).tolist()
        row = {"train": [float("nan")] * n, "validation": [float("nan")] * n}
        better = []
        for j, i in enumerate(self.living):
            if i in self._settled:
                continue
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
        self._remember(better)
        self._settled = {i for i in self.living if record.state[i] != "training"}
        self._compact()

    def _remember(self, better: Sequence[int]) -> None:
        first = 0
        for tile in self.tiles:
            last = first + len(tile.positions)
            if mine := [j - first for j in better if first <= j < last]:
                tile.remember(mine)
            first = last

    def _compact(self, idle: float = IDLE) -> None:
        """Let go of replicates that have stopped, where they are at least a share `idle` of their tile, and of any."""
        tiles = []
        for tile in self.tiles:
            kept = [j for j, i in enumerate(tile.positions) if self.record.state[i] == "training"]
            if len(kept) > (1 - idle) * len(tile.positions) or len(kept) == len(tile.positions):
                tiles.append(tile)
                continue
            for j, i in enumerate(tile.positions):
                if j not in kept:
                    self._done[i] = {name: values[..., j].clone() for name, values in tile.best.items()}
            if kept:
                tiles.append(tile.keep(kept))
        self._settle(tiles)

    def _settle(self, tiles: list[Tile]) -> None:
        """Go on with these tiles."""
        if tiles == self.tiles:
            return
        self.tiles, self._programs = tiles, None
        self._own = self.problem.keep(self.living)

    # Interruption.

    def _identity(self) -> str:
        parts = [self.problem.fingerprint, self.settings.model_dump_json(), self.full.recipe.model_dump_json()]
        parts += [self.full.topology.fingerprint, str(self.seed), *self.record.names]
        parts += [setting.model_dump_json() for setting in self.own]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def save(self) -> None:
        """Write the checkpoint."""
        assert self.checkpoint is not None
        tensors = {f"best/{k}": v for k, v in self._best().items()}
        if self.tiles:
            network, optimiser = self._present()
            tensors |= {f"network/{k}": v for k, v in network.items()}
            tensors |= {f"optimiser/{k}": v for k, v in optimiser.items()}
        header = {
            "identity": self._identity(),
            "epoch": self.epoch,
            "step": self.step,
            "tiles": [tile.positions for tile in self.tiles],
            "lr_factor": self.lr_factor.tolist(),
            "record": vars(self.record),
        }
        with replacing(self.checkpoint) as part:
            save_file({k: v.contiguous() for k, v in tensors.items()}, part, metadata={"vnn": json.dumps(header)})

    def _present(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What the networks of all tiles and their optimisers hold, replicate behind replicate."""
        network = joined([tile.network.state_dict() for tile in self.tiles])
        return network, joined([tile.optimiser.state() for tile in self.tiles])

    def _laid(
        self,
        shares: Sequence[list[int]],
        network: dict[str, Tensor],
        optimiser: dict[str, Tensor],
        best: dict[str, Tensor],
    ) -> list[Tile]:
        """New tiles of the living, whose `network`, `optimiser` and `best` state lie in the order of `shares`."""
        tiles, first = [], 0
        for positions in shares:
            mine = slice(first, first := first + len(positions))
            own = self.full.replicates(positions)
            own.load_state_dict({name: values[..., mine] for name, values in network.items()})
            held = Optimiser(
                list(own.parameters()), self.settings.optimiser, optimiser["lr"][mine], optimiser["weight_decay"][mine]
            )
            held.load({name: values[..., mine] for name, values in optimiser.items()})
            tiles.append(Tile(own, held, positions, {name: values[..., mine] for name, values in best.items()}))
        return tiles

    def _held(self) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """What the checkpoint holds, if there is one."""
        if self.checkpoint is None or not self.checkpoint.exists():
            return None
        with safe_open(self.checkpoint, framework="pt") as file:
            header = json.loads(file.metadata()["vnn"])
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

    def _resume(self, header: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        if header["identity"] != self._identity():
            raise FitError(
                f"{self.checkpoint} belongs to another study: data, topology, settings or replicates differ. "
                "Finish that study as it was, or delete the file to start anew."
            )
        self.epoch, self.step = header["epoch"], header["step"]
        self.lr_factor = np.array(header["lr_factor"])
        self.record = Record(**header["record"])
        self.record.names = tuple(self.record.names)
        pick = lambda prefix: {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}  # noqa: E731
        best, network, optimiser = pick("best/"), pick("network/"), pick("optimiser/")
        living = [i for positions in header["tiles"] for i in positions]
        shares = header["tiles"] if self.prepared else [living] * bool(living)
        tiles = self._laid(shares, network, optimiser, {name: values[..., living] for name, values in best.items()})
        gone = set(range(len(self.record.names))) - set(living)
        self._done = {i: {name: values[..., i] for name, values in best.items()} for i in gone}
        self._settled = {i for i in living if self.record.state[i] != "training"}
        self._settle(tiles)


def _without_intercept(network: VisibleNetwork) -> None:
    """Forget the gradients of the heads' biases: no hazard ratio depends on them, so they are rounding noise."""
    for linear in network.head_layers:
        assert isinstance(linear.bias, Tensor)
        linear.bias.grad = torch.zeros_like(linear.bias)

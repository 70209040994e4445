"""Tiles: the replicates of a chunk, in groups small enough for the processor's cache."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vnn.kernels import Packed, PackedPeople, cpu
from vnn.kernels.backend import active
from vnn.kernels.cpu import calls
from vnn.kernels.cpu.calls import Call
from vnn.kernels.cpu.program import Program, SideBySide
from vnn.kernels.packed import BYTES, PANEL
from vnn.kernels.panels import gather_panels
from vnn.kernels.reference import GOLDEN
from vnn.layers import BatchNorm
from vnn.models import VisibleNetwork
from vnn.models.network import LANES
from vnn.training.losses import losses
from vnn.training.optimiser import Optimiser
from vnn.training.problem import Problem
from vnn.training.program import Entering, Forward, Outcome, Raw, Step, Workspace
from vnn.training.settings import Training

CACHE_BYTES = 6 << 20
READ_AT_ONCE = 256


class Tile:
    """Some replicates of a chunk, side by side in one network.

    Parameters
    ----------
    network
        Theirs; it is trained in place.
    optimiser
        Of its parameters.
    positions
        Which replicates of the chunk they are.
    best
        Their best state so far; their present one unless given.
    """

    def __init__(
        self,
        network: VisibleNetwork,
        optimiser: Optimiser,
        positions: Sequence[int],
        best: dict[str, Tensor] | None = None,
    ) -> None:
        self.network, self.optimiser, self.positions = network, optimiser, list(positions)
        best = best or network.state_dict()
        names = [name for name, _ in network.named_parameters()]
        held = torch.cat([best[name] for name in names])
        self.best = {name: values.clone() for name, values in best.items() if name not in names}
        self.best |= zip(names, held.split([len(best[name]) for name in names]), strict=True)
        self._changing = [(held, optimiser.held)]
        for name, module in network.named_modules():
            if isinstance(module, BatchNorm):
                self._changing += [(self.best[f"{name}.{key}"], values) for key, values in module.named_buffers()]

    def keep(self, at: Sequence[int]) -> Tile:
        """The replicates `at` these positions of the tile, copied."""
        network = self.network.replicates(at)
        best = {name: values[..., at] for name, values in self.best.items()}
        optimiser = self.optimiser.keep(at, list(network.parameters()))
        return Tile(network, optimiser, [self.positions[j] for j in at], best)

    def remember(self, at: Sequence[int]) -> None:
        """The present state of the replicates `at` is their best."""
        everyone = len(at) == len(self.positions)
        for best, present in self._changing:
            if everyone:
                best.copy_(present)
            else:
                best[:, at] = present[:, at]


def joined(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The states of tiles as one, replicate behind replicate."""
    return {name: torch.cat([state[name] for state in states], -1) for name in states[0]}


def tile_size(network: VisibleNetwork, batch: int, n_replicates: int) -> int:
    """Replicates of a tile: as many as keep what a step writes in the cache, spread evenly over the threads.

    Parameters
    ----------
    network
        Of any number of replicates.
    batch
        Samples per step.
    n_replicates
        All there are.
    """
    units = sum(int(network.own_units(stage.level).sum()) for stage, _ in network.layers)
    entering = len(network.topology.inputs) if network.drops_inputs else 0
    each = (4 * units + entering) * batch * network.output_scale.element_size()
    fitting = max(1, min(n_replicates, CACHE_BYTES // max(each, 1)))
    n_threads = cpu.threads_for(cpu.WORTH_THREADS)
    n_tiles = -(-n_replicates // fitting)
    if n_tiles > 1:
        n_tiles = -(-n_tiles // n_threads) * n_threads
    return -(-n_replicates // n_tiles)


def prepared_here(problem: Problem) -> bool:
    """Whether steps of this problem can run as programs: on the CPU with its compiled kernels."""
    return active(problem.inputs.device) is cpu and problem.inputs.dtype in (torch.float32, torch.float64)


class Programs:
    """The steps of all tiles of a chunk, and their validation, as programs.

    Parameters
    ----------
    tiles
        Trained in place.
    problem
        Of all their replicates, in their order.
    settings
        How they are trained.
    """

    def __init__(self, tiles: Sequence[Tile], problem: Problem, settings: Training) -> None:
        self.tiles, self.problem, self.settings = list(tiles), problem, settings
        dtype, n = problem.inputs.dtype, sum(len(tile.positions) for tile in tiles)
        n_threads = cpu.threads_for(cpu.WORTH_THREADS)
        self.n_lists = n_threads if len(tiles) >= n_threads and problem.task != "cox" else 1
        self._spaces = [Workspace(dtype) for _ in range(self.n_lists)]
        self._reading = [Workspace(dtype) for _ in range(self.n_lists)]
        self.weight = problem.train_weight.numpy()
        self.target = problem.target.numpy()
        self.outcome = Outcome(torch.zeros(n, dtype=dtype), torch.ones(n, dtype=torch.uint8))
        self.counted = torch.zeros(n, dtype=torch.float64)
        self.alive = torch.ones(n, dtype=torch.uint8)
        self.lr, self.decay = torch.zeros(n, dtype=dtype), torch.zeros(n, dtype=dtype)
        self.bases = np.concatenate([_bases(tile.network) for tile in tiles], axis=1)
        self.imputes = tiles[0].network.imputes
        self._batches: dict[int, _Batch] = {}
        self._evaluation: Evaluation | None = None
        ends = np.cumsum([len(tile.positions) for tile in tiles]).tolist()
        self.spans = list(zip([0, *ends[:-1]], ends, strict=True))

    def step(self, at: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Train every living replicate on the samples `at`.

        Parameters
        ----------
        at
            Positions of the samples.
        number
            Of the step, since training began.

        Returns
        -------
        Loss of every replicate, the weight it is a mean over, and whether it and the gradient were finite.
        """
        batch = self._batches.get(len(at))
        if batch is None:
            batch = self._batches[len(at)] = _Batch(self, len(at))
        batch.run(at, number)
        return self.outcome.loss.double().numpy(), self.counted.numpy(), self.outcome.sound.numpy() > 0

    def validate(self) -> np.ndarray:
        """Validation loss of every replicate; NaN without a validation part."""
        if self._evaluation is None:
            self._evaluation = Evaluation(self)
        return self._evaluation.run()


def _bases(network: VisibleNetwork) -> np.ndarray:
    return np.stack([one.base.numpy() for one in (network.input_dropout, *network.dropouts)]).astype(np.uint32)


def _mixed(h: np.ndarray) -> np.ndarray:
    """The finaliser of MurmurHash3 on uint32; see `vnn.kernels.reference.mix`."""
    h = h ^ (h >> 16)
    h = h * np.uint32(0x85EBCA6B)
    h = h ^ (h >> 13)
    h = h * np.uint32(0xC2B2AE35)
    return h ^ (h >> 16)


class _Batch:
    """The steps for one number of samples."""

    def __init__(self, programs: Programs, n_samples: int) -> None:
        self.all, self.n = programs, n_samples
        problem, dtype = programs.problem, programs.problem.inputs.dtype
        n, width = len(programs.counted), _width(problem, n_samples)
        self.samples = torch.zeros(width, dtype=torch.int64)
        self.share, self.target = torch.zeros(n, width, dtype=dtype), torch.zeros(n, width, dtype=dtype)
        self.keys = torch.zeros(programs.bases.shape, dtype=torch.uint32)
        self.at = self.samples[:n_samples]
        self._reader, raw, reading = _raw(problem, self.at, width, programs.imputes, Workspace(dtype))
        self._weights = np.zeros((n, n_samples), self.share.numpy().dtype)
        self._read = Program(reading, raw)
        lists: list[list[Call]] = [[] for _ in range(programs.n_lists)]
        self.steps = []
        for i, (tile, (first, last)) in enumerate(zip(programs.tiles, programs.spans, strict=True)):
            mine = slice(first, last)
            entering = Entering(
                self.samples, self.keys[:, mine], self.share[mine], programs.counted[mine], self.target[mine],
                programs.alive[mine], programs.lr[mine], programs.decay[mine],
            )  # fmt: skip
            outcome = Outcome(programs.outcome.loss[mine], programs.outcome.sound[mine])
            step = Step(
                tile.network, tile.optimiser, raw, entering, outcome, task=problem.task, clip=programs.settings.clip,
                workspace=programs._spaces[i % programs.n_lists],
            )  # fmt: skip
            self.steps.append(step)
            lists[i % programs.n_lists] += step.calls
        if problem.task == "cox":
            self._halves = [(Program(s.forward), Program([*s.backward, *s.update])) for s in self.steps]
        elif programs.n_lists == 1:
            self._run = Program(lists[0], self.steps).run
        else:
            self._run = SideBySide(lists, self.steps).run

    def run(self, at: np.ndarray, number: int) -> None:
        programs = self.all
        self.at.numpy()[:] = at
        weights = np.take(programs.weight, at, axis=1, out=self._weights, mode="clip")
        if programs.problem.task == "cox":
            events = programs.target[..., 1, at] > 0
            counted = (weights * events).sum(1)
            weights *= (counted > 0)[:, None]
        else:
            self.target.numpy()[:, : self.n] = programs.target[..., at]
            counted = weights.sum(1)
        programs.counted.numpy()[:] = counted
        total = weights.sum(1)
        np.divide(weights, np.where(total > 0, total, 1)[:, None], out=self.share.numpy()[:, : self.n])
        word = np.uint32(number * GOLDEN & 0xFFFFFFFF)
        self.keys.numpy()[:] = _mixed(programs.bases ^ word)
        if self._reader is not None:
            self._reader.read(at)
        self._read.run()
        if programs.problem.task == "cox":
            self._run_in_halves(torch.from_numpy(weights), programs.problem)
        else:
            self._run()

    def _run_in_halves(self, weights: Tensor, problem: Problem) -> None:
        """Steps whose loss is worked out by autograd from the logits."""
        for step, (first, last), (forward, rest) in zip(self.steps, self.all.spans, self._halves, strict=True):
            forward.run()
            logits = step.logits.detach().requires_grad_()
            heads = logits[..., : self.n].permute(0, 3, 2, 1)
            target = problem.target_of(slice(first, last))[..., self.at]
            loss = combined(problem.task, heads, target, weights[first:last], step.network.recipe.head_weight)
            step.slopes.copy_(torch.autograd.grad(loss, logits, torch.ones_like(loss))[0])
            if step.total is not None:
                torch.sum(step.slopes, 0, out=step.total)
            step.outcome.loss.copy_(loss.detach())
            rest.run()


def combined(task: str, heads: Tensor, target: Tensor, weights: Tensor, head_weight: float) -> Tensor:
    """The loss of the mean of all heads and, times `head_weight`, the mean of their own losses, (R,).

    Parameters
    ----------
    heads
        Logits (n_heads, batch, R, n_targets).
    task, target, weights
        As for `vnn.training.losses.losses`.
    """
    loss = losses(task, heads.mean(0), target, weights)
    if len(heads) > 1 and head_weight:
        for one in heads:
            loss = loss + head_weight / len(heads) * losses(task, one, target, weights)
    return loss


class _Reader:
    """The packed genotypes of a batch, at addresses that stay while the people change."""

    def __init__(self, people: PackedPeople, width: int) -> None:
        self._people, n = people, width // PANEL
        if people.panelled:
            self._codes, self._panels = people.codes, torch.zeros(n, dtype=torch.int64)
        else:
            self._codes, self._panels = torch.zeros(n, len(people), BYTES, dtype=torch.uint8), torch.arange(n)
        self.packed = Packed(self._codes, self._panels, people.codebook, width, people.scaled)

    def read(self, at: np.ndarray) -> None:
        """The people `at` from now on."""
        place = self._people.place[at]
        if self._people.panelled:
            self._panels.numpy()[:] = place[::PANEL] // PANEL
        else:
            gather_panels(self._people.codes, place, len(self._people), out=self._codes[: -(-len(at) // PANEL)])


def _width(problem: Problem, n_samples: int) -> int:
    """Columns of a batch of so many samples."""
    return n_samples + -n_samples % (PANEL if isinstance(problem.inputs, PackedPeople) else LANES)


def _raw(
    problem: Problem, at: Tensor, width: int, imputes: bool, space: Workspace
) -> tuple[_Reader | None, Raw, list[Call]]:
    """The samples `at` as they enter, and what brings them: a reader of genotypes, or calls."""
    reader, reading = None, []
    x: Tensor | Packed
    missing: Tensor | Packed | None = None
    if isinstance(problem.inputs, PackedPeople):
        reader = _Reader(problem.inputs, width)
        book, gaps = problem.inputs.books
        x = reader.packed._replace(codebook=book)
        missing = None if gaps is None else reader.packed._replace(codebook=gaps)
    else:
        x = space.take(len(problem.inputs), 1, width)
        missing = space.take(*x.shape) if imputes else None
        reading.append(calls.columns(problem.inputs, at, x, missing))
    covariates = None
    if problem.covariates is not None:
        covariates = space.take(len(problem.covariates), 1, width)
        reading.append(calls.columns(problem.covariates, at, covariates, None))
    return reader, Raw(x, missing, covariates), reading


class Evaluation:
    """The validation losses of all replicates of a chunk.

    Parameters
    ----------
    programs
        Of the chunk.
    """

    def __init__(self, programs: Programs) -> None:
        lists: list[list[Call]] = [[] for _ in range(programs.n_lists)]
        self.tiles = []
        for i, (tile, (first, last)) in enumerate(zip(programs.tiles, programs.spans, strict=True)):
            made = _Validation(tile, programs.problem, slice(first, last), programs._reading[i % programs.n_lists])
            lists[i % programs.n_lists] += made.calls
            self.tiles.append(made)
        self._run = (Program(lists[0]) if programs.n_lists == 1 else SideBySide(lists)).run

    def run(self) -> np.ndarray:
        """One loss per replicate; NaN for those without a validation part."""
        self._run()
        return np.concatenate([tile.loss() for tile in self.tiles])


class _Validation:
    """The validation loss of the replicates of a tile, over the samples that some of them are stopped by."""

    def __init__(self, tile: Tile, problem: Problem, mine: slice, space: Workspace) -> None:
        weight = problem.validation_weight[mine]
        columns = problem.seen_by(weight)
        self.task, self.weight = problem.task, weight[:, columns].contiguous()
        self.target = problem.target_of(mine)[..., columns]
        self.calls: list[Call] = []
        self._parts: list[tuple[int, Forward]] = []
        self._kept: list[object] = []
        for at in columns.split(READ_AT_ONCE) if len(columns) else ():
            space.begin()
            own = at.clone()
            reader, raw, reading = _raw(problem, own, _width(problem, len(at)), tile.network.imputes, space)
            if reader is not None:
                reader.read(at.numpy())
            forward = Forward(tile.network, raw, space)
            self.calls += [*reading, *forward.forward]
            self._parts.append((len(at), forward))
            self._kept.append((own, raw))

    @torch.no_grad()
    def loss(self) -> np.ndarray:
        """After the calls were run."""
        n, counted = len(self.weight), (self.weight > 0).any(1).numpy()
        if not self._parts:
            return np.full(n, np.nan)
        logits = torch.cat([forward.logits.mean(0)[..., :width] for width, forward in self._parts], -1)
        if self.task == "cox":
            found = losses(self.task, logits.permute(2, 1, 0), self.target, self.weight)
        else:
            found = logits.new_empty(n)
            total = self.weight.sum(1, keepdim=True)
            share = self.weight / torch.where(total > 0, total, 1.0)
            target = self.target.to(logits.dtype).expand(n, -1).contiguous()
            Program([calls.loss(self.task, logits[None], target, share, None, None, found, head_weight=0.0)]).run()
        return np.where(counted, found.double().numpy(), np.nan)

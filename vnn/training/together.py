"""Data-parallel training: processes that hold a share of every batch each and take every step together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function

from vnn._errors import FitError
from vnn.layers import BatchNorm
from vnn.layers.normalisation import EPSILON, MOMENTUM
from vnn.models import VisibleNetwork
from vnn.training.loop import Listener, Record, Trainer
from vnn.training.optimiser import Optimiser
from vnn.training.problem import Problem
from vnn.training.settings import Setting, Training


class Together(Trainer):
    """A `Trainer` in each of several processes, which have the same network and problem and share every batch.

    Each computes the logits of its samples. These are gathered, so that every process works out the loss of the whole batch,
    for cox with the risk sets of the whole batch; the sums of batch normalisation, forward and backward, and the
    gradients are added up. In float64 that is what one process does, up to rounding. Steps go through autograd. What the
    first process decides holds for all, and it alone writes the checkpoint.

    Parameters
    ----------
    network, problem, settings, seed, checkpoint, own
        As for a `Trainer`, the same in every process.

    Raises
    ------
    RuntimeError
        If `torch.distributed` has no process group, or one that cannot add up tensors of the CPU.
    FitError
        If the processes were given different data, wirings, settings or replicates.
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
        _group_of_the_cpu()
        self.rank, self.plain = dist.get_rank(), network
        super().__init__(_with_shared_norms(network), problem, settings, seed=seed, checkpoint=checkpoint, own=own)
        every: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(every, self._identity())
        if others := [rank for rank, identity in enumerate(every) if identity != every[0]]:
            raise FitError(
                f"processes {', '.join(map(str, others[:5]))} of {len(every)} were given other data, wiring, settings, seed or "
                "replicates than process 0; all must train the same. Give each the same arguments and files."
            )

    @property
    def prepared(self) -> bool:
        """The programs of the kernels know of one process only."""
        return False

    def run(self, listener: Listener | None = None) -> VisibleNetwork:
        """Train to the end and return the network with the best weights of every replicate, the same in all processes."""
        state = super().run(listener).state_dict()
        for values in state.values():
            dist.broadcast(values, 0)
        trained = self.plain.replicates(list(range(self.plain.n_replicates)))
        trained.load_state_dict(state)
        self.record = Record(**_from_first(vars(self.record)))
        return trained.eval()

    def _learnt(self, network: VisibleNetwork, at: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        first, last = self._mine(len(at))
        own = weights[:, first:last]
        total = weights.sum(1)
        portion = own.sum(1) / torch.where(total > 0, total, 1.0)
        for norm in network.norms:
            assert isinstance(norm, SharedNorm)
            norm.portion = portion
        if first == last:  # without a sample it still takes part in all sums
            local, cost = super()._learnt(network, at[:1], torch.zeros_like(weights[:, :1]))
            idle = 0 * local.sum()
            local = local[:, :0]
        else:
            local, cost = super()._learnt(network, at[first:last], own)
            idle = local.new_zeros(())
        whole = local.new_zeros(local.shape[0], len(at), *local.shape[2:])
        whole[:, first:last] = local.detach()
        dist.all_reduce(whole)
        return torch.cat([whole[:, :first], local, whole[:, last:]], 1) + idle, cost * portion

    def _complete(self, optimiser: Optimiser) -> None:
        gradients = [p.grad for p in optimiser.parameters if p.grad is not None]
        total = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(total)
        for gradient, own in zip(gradients, total.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(own.view_as(gradient))

    def _evaluated(self, network: VisibleNetwork, columns: Tensor) -> Tensor:
        first, last = self._mine(len(columns))
        whole = network.output_scale.new_zeros(len(columns), network.n_replicates, network.n_targets)
        if first < last:
            whole[first:last] = super()._evaluated(network, columns[first:last])
        dist.all_reduce(whole)
        return whole

    def _mine(self, n: int) -> tuple[int, int]:
        """The share of this process in n samples, from the first to before the last."""
        world = dist.get_world_size()
        return n * self.rank // world, n * (self.rank + 1) // world

    def _judge(self, learnt: np.ndarray, validation: np.ndarray) -> None:
        super()._judge(*_from_first((learnt, validation)))

    def _held(self) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        held: tuple[dict[str, Any], dict[str, Tensor]] | None = _from_first(super()._held() if self.rank == 0 else None)
        return held

    def save(self) -> None:
        """Write the checkpoint, in the first process."""
        if self.rank == 0:
            super().save()


def n_processes() -> int:
    """Processes that train together."""
    return dist.get_world_size()


def _group_of_the_cpu() -> None:
    if not (dist.is_available() and dist.is_initialized()):
        raise RuntimeError(
            "training together needs the process group of torch.distributed, and there is none. Start the processes with "
            'torchrun and call torch.distributed.init_process_group("gloo") first, or leave `together` out.'
        )
    if "gloo" not in (given := dist.get_backend()):
        raise RuntimeError(
            f'the process group is {given!r}; networks train on the CPU, whose tensors "gloo" adds up: '
            'torch.distributed.init_process_group("gloo").'
        )


def _from_first(held: Any) -> Any:
    """What the first process has, in all."""
    box = [held]
    dist.broadcast_object_list(box, 0)
    return box[0]


def _with_shared_norms(network: VisibleNetwork) -> VisibleNetwork:
    """A copy whose batch statistics are those of all processes."""
    made = network.replicates(list(range(network.n_replicates)))
    made.norms = nn.ModuleList(SharedNorm.of(norm) for norm in made.norms)
    return made


class SharedNorm(BatchNorm):
    """Batch normalisation over the samples of all processes.

    Attributes
    ----------
    portion
        What the samples of this process weigh of all in a step, (R,); set before every step.
    """

    portion: Tensor

    @classmethod
    def of(cls, norm: nn.Module) -> SharedNorm:
        """The same parameters and running statistics."""
        made = cls(*norm.get_parameter("gain").shape).to(norm.get_parameter("gain").dtype)
        made.load_state_dict(norm.state_dict())
        return made

    def forward(self, x: Tensor, share: Tensor | None) -> Tensor:
        """The standardised values; `share` is that of each sample among those of this process."""
        if not self.training or share is None:
            return super().forward(x, share)
        own = share * self.portion[:, None]
        return _Normalise.apply(x, own, self.gain, self.bias, self.mean, self.variance)


class _Normalise(Function):
    """`vnn.kernels.reference.normalise` and its gradient, every sum over samples taken over all processes."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, share: Tensor, gain: Tensor, bias: Tensor, mean: Tensor, variance: Tensor
    ) -> Tensor:
        sums = torch.cat([(x * share).sum(-1), share.sum(-1)[None], share.square().sum(-1)[None]])
        dist.all_reduce(sums)
        now_mean, weighed, squared = sums[:-2], sums[-2], sums[-1]
        centred = x - now_mean[:, :, None]
        now_variance = (centred.square() * share).sum(-1)
        dist.all_reduce(now_variance)
        spread = 1 - squared
        counted = (weighed > 0) & (spread > 1e-6)
        unbiased = now_variance / torch.where(counted, spread, 1.0)
        mean.copy_(torch.where(counted, mean.lerp(now_mean, MOMENTUM), mean))
        variance.copy_(torch.where(counted, variance.lerp(unbiased, MOMENTUM), variance))
        scale = torch.rsqrt(now_variance + EPSILON)
        standard = centred * scale[:, :, None]
        ctx.save_for_backward(standard, share, gain, scale)
        return standard * gain[:, :, None] + bias[:, :, None]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        standard, share, gain, scale = ctx.saved_tensors
        own = torch.stack([g.sum(-1), (g * standard).sum(-1)])
        total = own.clone()
        dist.all_reduce(total)
        dx = g - share * (total[0, :, :, None] + standard * total[1, :, :, None])
        return (gain * scale)[:, :, None] * dx, None, own[1], own[0], None, None

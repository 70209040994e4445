"""Adam, AdamW and SGD over the replicate axis: every replicate takes its own steps, or none."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vnn._errors import choose
from vnn.kernels import reference
from vnn.kernels.backend import active

BETA1, BETA2, EPS, MOMENTUM = 0.9, 0.999, 1e-8, 0.9


class Optimiser:
    """Steps of parameters whose last axis is the replicate.

    At one replicate the same numbers as `torch.optim` (Adam, AdamW, SGD with momentum 0.9).

    Parameters
    ----------
    parameters
        Updated in place; they are moved into one piece of memory.
    kind
        "adamw", "adam" or "sgd".
    lr, weight_decay
        Shape (R,), float64.
    """

    def __init__(self, parameters: Sequence[Tensor], kind: str, lr: Tensor, weight_decay: Tensor) -> None:
        self.kind = choose("the optimiser", kind, ("adamw", "adam", "sgd"))
        self.parameters = list(parameters)
        self.lr, self.weight_decay = lr.double(), weight_decay.double()
        self.steps = torch.zeros(len(lr), dtype=torch.int64)
        rows = [len(p) for p in self.parameters]
        self.held = torch.cat([p.detach() for p in self.parameters])
        self.means = torch.zeros_like(self.held)
        self.squares = torch.zeros_like(self.held) if kind != "sgd" else self.held[:0]
        for parameter, place in zip(self.parameters, self.held.split(rows), strict=True):
            parameter.data = place
        self.mean = list(self.means.split(rows))
        self.square = list(self.squares.split(rows)) if kind != "sgd" else []

    def step(self, acting: Tensor) -> None:
        """One step of the `acting` replicates (bool, shape (R,)); the others change no state."""
        self.steps += acting
        taken = self.steps.clamp(min=1).double()
        dtype = self.parameters[0].dtype
        lr, decay = self.lr.to(dtype), self.weight_decay.to(dtype)
        correction1, correction2 = (1 - BETA1**taken).to(dtype), (1 - BETA2**taken).to(dtype)
        for i, parameter in enumerate(self.parameters):
            grad = parameter.grad
            assert grad is not None
            with torch.no_grad():
                if self.kind == "sgd":
                    self._descend(parameter, grad, self.mean[i], acting)
                else:
                    active(parameter.device).adam(
                        parameter, grad, self.mean[i], self.square[i],
                        lr=lr, decay=decay, correction1=correction1, correction2=correction2, active=acting,
                        beta1=BETA1, beta2=BETA2, eps=EPS, decoupled=self.kind == "adamw",
                    )  # fmt: skip

    def _descend(self, parameter: Tensor, grad: Tensor, buffer: Tensor, acting: Tensor) -> None:
        lr, decay = self.lr.to(grad.dtype), self.weight_decay.to(grad.dtype)
        moved = MOMENTUM * buffer + (grad + decay * parameter)
        buffer.copy_(torch.where(acting, moved, buffer))
        parameter.copy_(torch.where(acting, parameter - lr * moved, parameter))

    @torch.no_grad()
    def shrink(self, weights: Sequence[Tensor], rate: float, acting: Tensor) -> None:
        """Bring weights (n, R) of the `acting` replicates nearer to 0 by lr * rate, and not beyond."""
        by = torch.where(acting, self.lr * rate, 0.0).to(self.held.dtype)
        for weight in weights:
            weight.copy_(weight.sign() * (weight.abs() - by).clamp(min=0))

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def norms(self) -> Tensor:
        """Norm of each replicate's gradient, shape (R,); not finite where any gradient is not."""
        module = active(self.parameters[0].device)
        sums = getattr(module, "squares", reference.squares)
        return sums([p.grad for p in self.parameters if p.grad is not None]).sqrt()

    def clip(self, norms: Tensor, most: float) -> None:
        """Shrink the gradients of replicates whose norm exceeds `most`."""
        factor = (most / norms.clamp(min=most)).to(self.parameters[0].dtype)
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.grad *= factor

    def state(self) -> dict[str, Tensor]:
        """Everything a resumed run needs, the replicate last."""
        held = {"lr": self.lr, "weight_decay": self.weight_decay, "steps": self.steps}
        held |= {f"mean {i}": values for i, values in enumerate(self.mean)}
        return held | {f"square {i}": values for i, values in enumerate(self.square)}

    def load(self, state: dict[str, Tensor]) -> None:
        """Take over what `state` returned."""
        for name, held in self.state().items():
            held.copy_(state[name])

    def keep(self, positions: Sequence[int], parameters: Sequence[Tensor]) -> Optimiser:
        """The optimiser of the replicates at `positions`, whose `parameters` were copied out of these."""
        at = torch.as_tensor(positions)
        kept = Optimiser(parameters, self.kind, self.lr[at], self.weight_decay[at])
        kept.load({name: values[..., at] for name, values in self.state().items()})
        return kept

"""The parts of a training step, each as a call of its own: where the time of a step goes."""

from __future__ import annotations

import numpy as np

from vnn.bench.rounds import Call
from vnn.kernels.cpu.program import Program
from vnn.training.loop import Trainer
from vnn.training.tile import prepared_here


def parts(trainer: Trainer, batch: int) -> dict[str, Call]:
    """The kernel calls of a step, gathered by kernel, where a step is a program of them; else nothing.

    Parameters
    ----------
    trainer
        Of a chunk that is one tile; its weights move.
    batch
        Samples per step.
    """
    if not prepared_here(trainer.problem):
        return {}
    trainer._step(np.arange(batch))
    made = trainer._prepare()._batches[batch]
    (step,) = made.steps
    kernels = dict.fromkeys(call.kernel for call in step.calls)
    found: dict[str, Call] = {"columns": made._read.run}
    for kernel in kernels:
        found[kernel] = Program([call for call in step.calls if call.kernel == kernel], step).run
    return found

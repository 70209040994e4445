"""Networks of a study, trained by this process, or by all that torchrun started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed as dist

from vnn._errors import StudyError
from vnn.study.material import Material, read_material
from vnn.study.settings import Study
from vnn.training import Fit, fit
from vnn.training.loop import Listener

PATIENCE = timedelta(days=2)


def train(
    study: Study,
    material: Material,
    *,
    checkpoint: Path | None = None,
    listener: Listener | None = None,
    together: bool = False,
    **which: Any,
) -> Fit:
    """The networks of a study, the real ones unless `which` asks `fit` for others.

    Parameters
    ----------
    together
        Other processes follow the study: they are called to take part.
    """
    if together:
        _tell(which)
    return _fit(study, material, checkpoint=checkpoint, listener=listener, together=together, **which)


def _fit(study: Study, material: Material, **which: Any) -> Fit:
    data = study.data
    return fit(
        material.topology, material.samples, target=data.target, event=data.event, recipe=study.network,
        training=study.training, task=data.task, classes=data.classes, seed=study.seed, n_seeds=study.n_seeds,
        **({"splits": material.splits} | which),
    )  # fmt: skip


def dismiss() -> None:
    """Tell the processes that follow the study that all is trained."""
    _tell(None)


def follow(study: Study) -> None:
    """Take part in every training of a study that the first process runs with `together`, until it is done with them."""
    material = read_material(study)
    while (which := _tell(None)) is not None:
        _fit(study, material, together=True, **which)


def _tell(which: dict[str, Any] | None) -> dict[str, Any] | None:
    """What the first process says, in all."""
    box = [which]
    dist.broadcast_object_list(box, 0)
    return box[0]


@contextmanager
def company(study: Study) -> Iterator[int | None]:
    """The number of this process among those torchrun started, which belong together meanwhile; None where it runs alone.

    Raises
    ------
    StudyError
        If the study asks for workers as well.
    """
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        yield None
        return
    if study.nulls.workers > 1:
        raise StudyError(
            f"torchrun started several processes, and nulls.workers asks for {study.nulls.workers} more from each. Leave workers "
            "out, or run the command without torchrun: null networks need no exchange between processes."
        )
    dist.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield dist.get_rank()
    finally:
        dist.destroy_process_group()

"""What `test_together` trains, in one process and in several: `python -m tests.training.together_cases RANK WORLD FOLDER`."""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch.distributed as dist

from tests.planted import cohort, folds, wiring
from vnn.data import Samples
from vnn.models import Recipe
from vnn.training import Fit, Training, fit, loop

SETTINGS = Training(start="random", epochs=8, batch_size=48, patience=2, lr=0.1, dtype="float64")
PLAIN = Recipe(normalisation="none", dropout=0.0, input_dropout=0.0)
CASES: dict[str, dict[str, Any]] = {
    "binary": {},
    "three classes, some missing, clipped": {
        "target": "thirds", "training": SETTINGS.model_copy(update={"impute": "mean", "clip": 0.5}),
    },
    "quantity, sgd, no normalisation": {
        "target": "quantity", "recipe": PLAIN,
        "training": SETTINGS.model_copy(update={"optimiser": "sgd", "lr": 1e-3, "schedule": "plateau"}),
    },
    "survival": {"target": "days", "event": "died"},
    "permuted labels": {"kind": "labels", "draws": (0, 3), "splits": folds()[:1]},
    "batches of fewer samples than processes": {
        "splits": folds()[:1], "training": SETTINGS.model_copy(update={"batch_size": 59, "epochs": 3}),
    },
    "covariates": {"splits": folds()[:2]},
}  # fmt: skip


def people(case: str) -> Samples:
    samples = cohort()
    values, covariates, targets = samples.values.copy(), samples.covariates, samples.targets
    if "missing" in case:
        values[np.random.default_rng(0).random(values.shape) < 0.05] = np.nan
    if case == "covariates":
        covariates = targets[["quantity"]].rename(columns={"quantity": "age"})
    if case == "survival":
        rng = np.random.default_rng(3)
        hazard = np.exp(targets["quantity"] - 10)
        targets = targets.assign(
            days=np.ceil(rng.exponential(300 / hazard)), died=(rng.random(len(targets)) < 0.7).astype(int)
        )
    return Samples(values, samples.features, samples.ids, targets, covariates, samples.groups)


def trained(case: str, **more: Any) -> Fit:
    arguments = {"target": "phenotype", "splits": folds(), "training": SETTINGS, "seed": 7} | CASES[case] | more
    return fit(wiring(), people(case), **arguments)  # type: ignore[arg-type]


def refusals(rank: int) -> dict[str, str]:
    """What the processes are told when they do not agree."""
    try:
        trained("binary", seed=rank, together=True)
    except ValueError as error:
        return {"other seeds": str(error)}
    return {}


def main(rank: int, world: int, folder: Path) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group(
        "gloo", f"file://{folder}/store", rank=rank, world_size=world, timeout=timedelta(seconds=120)
    )
    for case in CASES:
        trained(case, together=True).save(folder / str(rank) / case)
    (folder / str(rank) / "refusals.json").write_text(json.dumps(refusals(rank)))
    loop.CHECKPOINT_SECONDS = loop.CHECKPOINT_SHARE = 1e-9
    own = folder / f"checkpoint of {rank}"  # the second process has none of its own, as on another machine
    _stop_after(2, own)
    trained("binary", together=True, checkpoint=own).save(folder / str(rank) / "resumed")
    dist.destroy_process_group()


def _stop_after(epochs: int, checkpoint: Path) -> None:
    def listen(progress: loop.Progress) -> None:
        if progress.epoch > epochs:
            raise InterruptedError

    try:
        trained("binary", together=True, checkpoint=checkpoint, listener=listen)
    except InterruptedError:
        return
    raise AssertionError("it was not interrupted")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))

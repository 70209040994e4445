"""The search of a study: settings are chosen once, before its networks and their nulls are trained, and kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from vnn._atomic import write_csv, write_text
from vnn.study.folder import CHOSEN
from vnn.study.material import Material
from vnn.study.nulls import at_once
from vnn.study.settings import Study
from vnn.training.loop import Listener
from vnn.training.search import search
from vnn.training.spread import forget

TABLE, CHECKPOINT = "search.csv", "search.checkpoint"


def fix_settings(
    study: Study, material: Material, folder: Path, listener: Listener | None, tell: Callable[[str], None]
) -> None:
    """Search, where the study asks for it and the folder does not hold what was chosen; an interrupted search goes on."""
    asked, data = study.search, study.data
    if asked.n and not (folder / CHOSEN).exists():
        tell(f"searching {asked.n} settings")
        found = search(
            material.topology, material.samples, target=data.target, event=data.event, splits=material.splits,
            space=asked.space, n=asked.n, recipes=study.network, training=study.training, task=data.task,
            classes=data.classes, n_seeds=asked.n_seeds, eta=asked.eta, first=asked.first, seed=study.seed,
            at_once=at_once(study, material), checkpoint=folder / CHECKPOINT, listener=listener,
        )  # fmt: skip
        write_csv(folder / TABLE, found.table, index=False)
        chosen = {name: setting.model_dump() for name, setting in found.settings.items()}
        common = found.common.setting.model_dump()
        write_text(folder / CHOSEN, json.dumps({"splits": chosen, "common": common}, indent=1))
    forget(folder / CHECKPOINT)

"""The output folder of a study: held by one process, bound to one study, each file replaced whole or not at all."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vnn._atomic import write_text
from vnn._errors import StudyError
from vnn.ontology import Topology
from vnn.study.settings import Study
from vnn.training.settings import Setting

RECORD = "study.json"
CHECKPOINT = "training.checkpoint"
CHOSEN = "search.json"


@contextmanager
def claimed(study: Study, identity: str) -> Iterator[Path]:
    """The output folder, held by this process alone and free for, or already bound to, this study.

    Files that a kill left half written are removed.

    Raises
    ------
    StudyError
        If the folder holds another study or something else, or another process is at work in it.
    """
    folder = study.output
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / RECORD
    if not record.exists() and (others := [p.name for p in folder.iterdir() if not p.name.startswith(".")]):
        raise StudyError(
            f"the output folder {folder} holds files of something else ({', '.join(sorted(others)[:5])}); choose an empty one."
        )
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StudyError(
                f"another process is running a study in {folder}; wait for it or choose another folder."
            ) from None
        held: dict[str, Any] = json.loads(record.read_text()) if record.exists() else {}
        if held and held["identity"] != identity:
            differ = differences(held["study"], study.model_dump(mode="json")) or ["the content of a file"]
            raise StudyError(
                f"the output folder {folder} holds another study ({held['name']!r}, {held['identity'][:12]}); this one is "
                f"{study.name!r}, {identity[:12]}: data or settings differ, namely {', '.join(differ[:5])}. "
                "Choose another `output`, or remove the folder."
            )
        for torn in (*folder.rglob(".*.part"), *folder.rglob(".tmp*")):
            torn.unlink()
        yield folder


def bind(study: Study, identity: str) -> None:
    """Write down which study the folder belongs to, once its data and ontology are known to be sound."""
    stated = {"name": study.name, "identity": identity, "study": study.model_dump(mode="json")}
    write_text(study.output / RECORD, json.dumps(stated, indent=1))


def same_wiring(path: Path, topology: Topology) -> None:
    """Refuse a topology other than the one saved at `path`."""
    if path.exists() and (held := Topology.load(path)).fingerprint != topology.fingerprint:
        raise StudyError(
            f"{path.parent} was made with topology {held.fingerprint[:12]} ({held!r}); the ontology's files now give "
            f"{topology.fingerprint[:12]} ({topology!r}). Choose another `output`, or bring the old files back."
        )


def differences(one: Mapping[str, Any], other: Mapping[str, Any], at: str = "") -> list[str]:
    """Keys at which two settings differ, in full ("training.lr")."""
    found: list[str] = []
    keys: list[str] = sorted({*one, *other})
    for key in keys:
        mine, theirs = one.get(key), other.get(key)
        if isinstance(mine, dict) and isinstance(theirs, dict):
            found += differences(mine, theirs, f"{at}{key}.")
        elif mine != theirs:
            found.append(f"{at}{key}")
    return found


def chosen_settings(folder: Path) -> Mapping[str, Setting] | None:
    """What the search of a study chose for each split; None where nothing was searched."""
    if not (folder / CHOSEN).exists():
        return None
    return {name: Setting(**held) for name, held in json.loads((folder / CHOSEN).read_text())["splits"].items()}


def common_setting(folder: Path) -> Setting | None:
    """What it chose for most splits."""
    if not (folder / CHOSEN).exists():
        return None
    return Setting(**json.loads((folder / CHOSEN).read_text())["common"])

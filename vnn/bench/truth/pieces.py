"""The benchmark in pieces that a kill cannot tear: one file for each arm, seed and method."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vnn._atomic import write_text
from vnn._errors import StudyError, choose
from vnn.bench.truth.cohorts import ARMS, Cohort, Setting, cohort
from vnn.bench.truth.evaluation import evaluate
from vnn.bench.truth.methods import METHODS, Method

DESIGN = 1


def run(
    where: Setting,
    folder: Path | str,
    *,
    arms: Sequence[str] = tuple(ARMS),
    seeds: Sequence[int] = range(1, 21),
    methods: Sequence[str] | None = None,
    known: Mapping[str, Method] = METHODS,
    limit: float | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Run the methods on the cohorts, leaving out what the folder has; several processes may share the folder.

    Parameters
    ----------
    where
        Ontology and size of the cohorts.
    folder
        Holds one file of one JSON line for each arm, seed and method, written whole or not at all.
    arms, seeds
        Which cohorts; all seeds of an arm before the next arm.
    methods
        Names among `known`; all of them unless given.
    known
        Methods by name.
    limit
        Seconds after which nothing new is begun.
    tell
        Told of every piece that was made.

    Returns
    -------
    The records of all pieces asked for that are in the folder now, in the order asked for: arm, seed, method, setting, identity,
    causal, n_genes, seconds, and what `evaluate` returns.

    Raises
    ------
    StudyError
        If the folder holds pieces of another setting or design.
    ValueError
        If an arm or a method is unknown, or an arm needs what the setting does not have.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    for arm in arms:
        choose("the arm", arm, ARMS)
    asked = [choose("the method", name, known) for name in (known if methods is None else methods)]
    began = time.perf_counter()
    for arm in arms:
        for seed in seeds:
            todo = [name for name in asked if _read(_path(place, arm, seed, name), where) is None]
            planted: Cohort | None = None
            for name in todo:
                if limit is not None and time.perf_counter() - began > limit:
                    return _records(place, where, arms, seeds, asked)
                path = _path(place, arm, seed, name)
                with _claimed(path) as mine:
                    if not mine or path.exists():
                        continue
                    planted = planted or cohort(where, arm, seed)
                    record = piece(planted, name, known[name])
                    write_text(path, json.dumps(record) + "\n")
                    tell(f"{arm}, seed {seed}, {name}: {record['seconds']:.1f} s")
    return _records(place, where, arms, seeds, asked)


def piece(planted: Cohort, name: str, method: Method) -> dict[str, Any]:
    """The record of one method on one cohort."""
    began = time.perf_counter()
    found = method(planted)
    seconds = time.perf_counter() - began
    causes = planted.truth.causes
    return {
        "arm": planted.arm,
        "seed": planted.seed,
        "method": name,
        "setting": planted.setting.name,
        "identity": _identity(planted.setting),
        "causal": sorted(causes),
        "n_genes": [len(planted.setting.sets[cause]) for cause in sorted(causes)],
        "seconds": seconds,
    } | evaluate(planted, found)


def _identity(where: Setting) -> str:
    return f"{DESIGN}-{where.identity}"


def _path(folder: Path, arm: str, seed: int, method: str) -> Path:
    return folder / f"{arm} {seed:05d} {method}.json"


def _read(path: Path, where: Setting) -> dict[str, Any] | None:
    if not path.exists():
        return None
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if record["identity"] != _identity(where):
        raise StudyError(
            f"{path} is a piece of another benchmark ({record['setting']!r}, {record['identity']}); this one is {where.name!r}, "
            f"{_identity(where)}. Name another folder, or remove this one."
        )
    return record


def _records(
    folder: Path, where: Setting, arms: Sequence[str], seeds: Sequence[int], methods: Sequence[str]
) -> list[dict[str, Any]]:
    paths = [_path(folder, arm, seed, name) for arm in arms for seed in seeds for name in methods]
    return [record for path in paths if (record := _read(path, where)) is not None]


@contextmanager
def _claimed(path: Path) -> Iterator[bool]:
    """Whether this process alone may make the piece; a claim ends with its process."""
    claim = path.with_name(f".{path.name}.lock")
    with claim.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True

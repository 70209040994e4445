"""What a study would do: read and checked, nothing trained, nothing written."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from vnn.data import CovariateCoding
from vnn.data.genotypes import Cohort
from vnn.models import VisibleNetwork
from vnn.study.folder import CHECKPOINT, CHOSEN, RECORD, differences
from vnn.study.material import Material, checks_of, read_material
from vnn.study.nulls import duration, missing_chunks, per_draw, wiring_null
from vnn.study.rivals import rivals_of
from vnn.study.settings import Study
from vnn.training import fit
from vnn.training.design import NULLS, replicates_of
from vnn.training.search import rungs

STATES, TIMED = 3, 8


def plan(study: Study) -> str:
    """What `run_study` would read, train and write, as text; whatever is wrong is the error the run would give."""
    with TemporaryDirectory() as panels:
        return _plan(study, read_material(study, Path(panels)))


def _plan(study: Study, material: Material) -> str:
    samples, topology, target = material.samples, material.topology, material.target
    lines = [f"{study.name}: {samples!r}", f"  {topology!r}", *(f"  {line}" for line in samples.log)]
    lines += [f"  {entry}" for entry in topology.log]
    lines += ["", f"Target {target.name!r}, {_target(material)}", *_splits(material)]
    lines += ["", *_search(study, material), *_networks(study, material), *_nulls(study, material)]
    lines += ["", "Compared with: " + (", ".join(rivals_of(study, material)) or "nothing")]
    lines += ["", "Data checks:"]
    for check in checks_of(study, material):
        lines.append(f"  {check.state:<8} {check.name}: {check.text}")
    return "\n".join([*lines, "", _folder(study)])


def _target(material: Material) -> str:
    target = material.target
    if target.classes:
        counts = Counter(target.values.tolist())
        return "classes " + ", ".join(f"{name} ({counts[k]:,})" for k, name in enumerate(target.classes))
    if target.events is not None:
        return f"survival, {int(target.events.sum()):,} events in {len(target.events):,} samples"
    return f"a quantity from {target.values.min():g} to {target.values.max():g}"


def _splits(material: Material) -> list[str]:
    sizes = Counter((len(s.train), len(s.validation), len(s.test)) for s in material.splits)
    return [
        f"  {n} splits of {train:,} samples for training, {validation:,} for stopping, {test:,} held out"
        for (train, validation, test), n in sizes.items()
    ]


def _networks(study: Study, material: Material) -> list[str]:
    n = len(material.splits) * study.n_seeds
    one = VisibleNetwork(
        material.topology, study.network, n_targets=material.target.n_outputs,
        n_covariates=len(CovariateCoding.fit(material.samples.covariates).names),
    )  # fmt: skip
    weights = sum(parameter.numel() for parameter in one.parameters())
    width = np.dtype(study.training.dtype).itemsize
    units = sum(int(one.units(level.name).sum()) for level in material.topology.levels)
    batch = min(study.training.batch_size, material.samples.n_samples)
    bytes_needed = _size(material) + width * (n * (weights * (STATES + 1) + 2 * STATES * units * batch))
    return [
        f"{n} networks ({len(material.splits)} splits x {study.n_seeds} seeds) of {weights:,} weights each, trained side by side",
        f"  at most {study.training.epochs} epochs in batches of {batch}, about {bytes_needed / 2**20:,.0f} MB of memory",
    ]


def _size(material: Material) -> int:
    """Bytes of the inputs of everybody."""
    samples = material.samples
    return samples.people.codes.numel() if isinstance(samples, Cohort) else samples.values.nbytes


def _search(study: Study, material: Material) -> list[str]:
    """The search that is still to be done."""
    asked = study.search
    if not asked.n or (_own(study) and (study.output / CHOSEN).exists()):
        return []
    stages = rungs(asked.n, study.training.epochs, eta=asked.eta, first=asked.first)
    steps = ", ".join(f"{stage.n} until epoch {stage.epochs}" for stage in stages)
    return [
        f"Search: {asked.n} settings x {len(material.splits)} splits x {asked.n_seeds} seeds, {steps}; each split chooses one by",
        "  its validation part, before its networks and their nulls are trained",
    ]


def _searched(study: Study, material: Material) -> float:
    """How many networks trained to the end take as long as the search."""
    if not _search(study, material):
        return 0.0
    epochs, before = 0, 0
    for stage in rungs(study.search.n, study.training.epochs, eta=study.search.eta, first=study.search.first):
        epochs, before = epochs + stage.n * (stage.epochs - before), stage.epochs
    return epochs / study.training.epochs * len(material.splits) * study.search.n_seeds


def _nulls(study: Study, material: Material) -> list[str]:
    """The null networks still to be trained, and how long all networks would take at most."""
    chunks = missing_chunks(study, material, study.output if _own(study) else study.output / "nothing of this study")
    lines, total = [], len(material.splits) * study.n_seeds
    for kind in dict.fromkeys(chunk.kind for chunk in chunks):
        own = [chunk for chunk in chunks if chunk.kind == kind]
        n_draws = sum(len(chunk.draws) for chunk in own)
        each = per_draw(study, material, kind)
        total += n_draws * each
        what = NULLS.get(kind, "pairs of complementary halves of the samples")
        lines.append(f"  {n_draws * each:,} networks of {n_draws} draws, {what}; in {len(own)} chunks")
    if lines:
        lines.insert(0, "Null networks:")
        lines += [f"  {instead}"] if (instead := wiring_null(study, material).instead) else []
    searched = _searched(study, material)
    seconds = _pace(study, material) * study.training.epochs * (total + searched)
    everything = f"all {total:,} networks" + (" and the search" if searched else "")
    return [
        *lines,
        f"  {everything} take at most about {duration(seconds)} on this machine, less where they stop early",
    ]


def _pace(study: Study, material: Material) -> float:
    """Seconds that a network takes for an epoch among others, from three epochs of a few that are thrown away."""
    ends: list[float] = []
    names = [r.id for r in replicates_of(material.splits, study.n_seeds)][:TIMED]
    fit(
        material.topology, material.samples, target=study.data.target, event=study.data.event, splits=material.splits,
        n_seeds=study.n_seeds, recipe=study.network, training=study.training.model_copy(update={"epochs": 3}),
        task=study.data.task, classes=study.data.classes, seed=study.seed, only=names,
        listener=lambda told: ends.append(told.seconds),
    )  # fmt: skip
    return (ends[-1] - ends[0]) / max(len(ends) - 1, 1) / len(names)


def _own(study: Study) -> bool:
    """Whether the output folder holds this study or nothing."""
    record = study.output / RECORD
    return not record.exists() or json.loads(record.read_text())["identity"] == study.identity


def _folder(study: Study) -> str:
    folder = study.output
    record = folder / RECORD
    if not record.exists():
        return f"Nothing was written. `vnn run` would write to {folder}."
    held = json.loads(record.read_text())
    if held["identity"] != study.identity:
        differ = differences(held["study"], study.model_dump(mode="json")) or ["the content of a file"]
        return f"{folder} holds another study, which differs in {', '.join(differ[:5])}; `vnn run` would refuse it."
    if (folder / "fit" / "fit.json").exists():
        return f"{folder} holds the trained networks of this study; `vnn run` would use them."
    begun = "an interrupted training of it, which would go on" if (folder / CHECKPOINT).exists() else "no training yet"
    return f"{folder} is of this study and holds {begun}."

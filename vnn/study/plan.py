"""What a study would do: read and checked, nothing trained, nothing written."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np

from vnn.data import CovariateCoding, data_checks
from vnn.models import VisibleNetwork
from vnn.study.folder import CHECKPOINT, RECORD, differences
from vnn.study.material import Material, read_material
from vnn.study.settings import Study
from vnn.training.baselines import applicable

STATES = 3


def plan(study: Study) -> str:
    """What `run_study` would read, train and write, as text; whatever is wrong is the error the run would give."""
    material = read_material(study)
    samples, topology, target = material.samples, material.topology, material.target
    lines = [f"{study.name}: {samples!r}", f"  {topology!r}", *(f"  {line}" for line in samples.log)]
    lines += [f"  {entry}" for entry in topology.log]
    lines += ["", f"Target {target.name!r}, {_target(material)}", *_splits(material)]
    lines += ["", *_networks(study, material)]
    lines += ["", "Compared with: " + (", ".join(_rivals(study, material)) or "nothing")]
    lines += ["", "Data checks:"]
    for check in data_checks(samples, target, splits=material.splits, seed=study.seed):
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
    bytes_needed = width * (material.samples.values.size + n * (weights * (STATES + 1) + 2 * STATES * units * batch))
    return [
        f"{n} networks ({len(material.splits)} splits x {study.n_seeds} seeds) of {weights:,} weights each, trained side by side",
        f"  at most {study.training.epochs} epochs in batches of {batch}, about {bytes_needed / 2**20:,.0f} MB of memory",
    ]


def _rivals(study: Study, material: Material) -> tuple[str, ...]:
    if study.compare.models is not None:
        return study.compare.models
    return applicable(material.target.task, material.samples, material.topology.inputs)


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

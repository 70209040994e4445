"""A whole study: one TOML file in, a folder with networks, activities, pathways and performance out."""

from __future__ import annotations

import fcntl
import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vnn._atomic import sha256, write_csv, write_text
from vnn._errors import StudyError
from vnn.data import Samples, Split, encode_target, hold_out, k_fold, leave_one_group_out, read_samples
from vnn.interpret import Activities, activities, activity_effects
from vnn.models import Recipe
from vnn.ontology import Identifiers, Ontology, Resolution, Topology, load_ontology, read_gmt
from vnn.training import Fit, Training, fit
from vnn.training.loop import Listener
from vnn.training.performance import performance

RECORD = "study.json"
CHECKPOINT = "training.checkpoint"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataSection(_Section):
    """Which files hold the samples; paths are relative to the study file.

    Parameters
    ----------
    values
        Table, GCT or .h5ad of the measured values.
    labels
        Table or CLS of what is known of each sample; not needed where the values file holds it.
    target
        Column to predict.
    task
        "binary", "multiclass" or "regression"; from the column unless given.
    classes
        Order of the classes, the positive one last.
    covariates, groups
        Columns that enter late, and columns that splits respect.
    samples_in
        Whether the samples are the "rows" or "columns" of the values; found from the labels unless given.
    sample_column, layer
        Column of the ids in the labels; layer of an .h5ad ("raw" for `.raw`).
    unmatched
        What happens to samples without a partner in the other table: "error" or "drop".
    identifiers
        HGNC table through which features become gene symbols.
    """

    values: Path
    labels: Path | None = None
    target: str
    task: Literal["binary", "multiclass", "regression"] | None = None
    classes: tuple[str, ...] | None = None
    covariates: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    samples_in: Literal["rows", "columns"] | None = None
    sample_column: str | None = None
    layer: str | None = None
    unmatched: Literal["error", "drop"] = "error"
    identifiers: Path | None = None


class OntologySection(_Section):
    """Which knowledge becomes the wiring.

    Parameters
    ----------
    name
        Name in the catalogue, path of a recipe (.toml), or path of a gene-set file (.gmt).
    folder
        Where the files of the recipe lie.
    release
        Release they must be, checked by hash.
    choices
        Instead of the recipe's own choices, such as `evidence` or `without_branch`.
    min_genes, max_genes, collapse, skips, gene_level, depth
        See `Ontology.topology`.
    """

    name: str
    folder: Path | None = None
    release: str | None = None
    choices: Mapping[str, Any] = Field(default_factory=dict)
    min_genes: Annotated[int, Field(ge=1)] = 5
    max_genes: Annotated[int, Field(ge=1)] | None = None
    collapse: bool = True
    skips: Literal["edges", "copies"] = "edges"
    gene_level: bool = False
    depth: Annotated[int, Field(ge=1)] | None = None


class SplitSection(_Section):
    """How samples are held out.

    Parameters
    ----------
    kind
        "k-fold", "hold-out" or "leave-one-group-out".
    k, repeats
        Folds, and how often they are dealt anew.
    test
        Share of the samples held out, for "hold-out".
    validation
        Share of the remaining samples that decides when to stop; 0 trains for all epochs.
    stratify
        Whether every part has the classes in the same proportion.
    group
        Group column whose members stay together, or that is left out one by one.
    """

    kind: Literal["k-fold", "hold-out", "leave-one-group-out"] = "k-fold"
    k: Annotated[int, Field(ge=2)] = 5
    repeats: Annotated[int, Field(ge=1)] = 1
    test: Annotated[float, Field(gt=0, lt=1)] = 0.2
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.2
    stratify: bool = True
    group: str | None = None


class Study(_Section):
    """A study as its TOML file states it.

    Parameters
    ----------
    name, seed, n_seeds, output
        Name of the study, seed of all its chance, networks per split, and the folder for its results
        (relative to the study file).
    data, ontology, splits, network, training
        The stations; `network` is a `Recipe`, `training` a `Training`.
    """

    name: str = "study"
    seed: Annotated[int, Field(ge=0)] = 0
    n_seeds: Annotated[int, Field(ge=1)] = 1
    output: Path = Path("results")
    data: DataSection
    ontology: OntologySection
    splits: SplitSection = SplitSection()
    network: Recipe = Recipe()
    training: Training = Training()

    @classmethod
    def read(cls, path: Path | str) -> Study:
        """The study a TOML file states, its paths made absolute.

        Raises
        ------
        StudyError
            If the file is no TOML or a key or value is not known; the message names key, known keys and the nearest.
        """
        file = Path(path)
        try:
            stated = tomllib.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise StudyError(f"there is no study file {file}.") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise StudyError(f"{file} is not valid TOML: {error}.") from error
        try:
            return cls(**stated)._at(file.resolve().parent)
        except ValidationError as error:
            raise StudyError(_explained(cls, file, error)) from None

    def _at(self, folder: Path) -> Study:
        def absolute(path: Path | None) -> Path | None:
            return None if path is None else folder / path

        name = self.ontology.name
        if _is_file(name):
            name = str(folder / name)
        data = self.data.model_copy(
            update={key: absolute(getattr(self.data, key)) for key in ("values", "labels", "identifiers")}
        )
        ontology = self.ontology.model_copy(update={"name": name, "folder": absolute(self.ontology.folder)})
        return self.model_copy(update={"data": data, "ontology": ontology, "output": folder / self.output})

    @property
    def identity(self) -> str:
        """SHA-256 of everything that decides the result: settings and the content of the files."""
        stated = self.model_dump(mode="json", exclude={"name", "output"})
        for key in ("values", "labels", "identifiers"):
            if (path := getattr(self.data, key)) is not None:
                stated["data"][key] = sha256(path)
        stated["ontology"].pop("folder")
        if _is_file(self.ontology.name):
            stated["ontology"]["name"] = sha256(self.ontology.name)
        return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Results:
    """What a study found, and where it lies.

    Parameters
    ----------
    study, samples, topology, fit
        What went in, and the trained networks.
    activities
        Oriented activities of every node.
    pathways
        Activity effect of every node on held-out samples, largest first.
    performance
        Held-out performance per split beside the baseline.
    folder
        Where all of it was written.
    """

    study: Study
    samples: Samples
    topology: Topology
    fit: Fit
    activities: Activities
    pathways: pd.DataFrame
    performance: pd.DataFrame
    folder: Path


def run_study(study: Study | Path | str, *, listener: Listener | None = None) -> Results:
    """Run a study from files to named pathway activities; a study that was interrupted goes on.

    Written to its folder: `study.json`, `topology.npz`, `ontology-log.csv`, `fit/`, `activities.csv.gz`,
    `predictions.csv`, `pathways.csv`, `performance.csv`. Each file is replaced whole or not at all.

    Parameters
    ----------
    study
        A `Study`, or the path of its TOML file.
    listener
        Told after every epoch.

    Raises
    ------
    StudyError
        If the output folder holds another study, or another process is running this one.
    """
    if not isinstance(study, Study):
        study = Study.read(study)
    folder = study.output
    with _claimed(folder, study):
        samples, resolved = _samples(study)
        topology = _topology(study, samples, resolved)
        _same_wiring(folder / "topology.npz", topology)
        splits = splits_of(study, samples)
        _claim(folder, study)
        topology.save(folder / "topology.npz")
        write_csv(folder / "ontology-log.csv", _log_table(topology))
        trained = _trained(study, samples, topology, splits, folder, listener)
        found = activities(trained, samples)
        pathways = activity_effects(trained, found)
        scores = performance(trained, samples)
        write_csv(folder / "activities.csv.gz", found.table())
        write_csv(folder / "predictions.csv", trained.predict(samples).table(held_out=True))
        write_csv(folder / "pathways.csv", pathways, index=False)
        write_csv(folder / "performance.csv", scores, index=False)
    return Results(study, samples, topology, trained, found, pathways, scores, folder)


def _samples(study: Study) -> tuple[Samples, Resolution | None]:
    data = study.data
    samples = read_samples(
        data.values, labels=data.labels, targets=(data.target,), covariates=data.covariates, groups=data.groups,
        samples_in=data.samples_in, sample_column=data.sample_column, layer=data.layer, unmatched=data.unmatched,
        dtype=study.training.dtype,
    )  # fmt: skip
    if data.identifiers is None:
        return samples, None
    return samples, Identifiers.read(data.identifiers).resolve(samples.features)


def _topology(study: Study, samples: Samples, resolved: Resolution | None) -> Topology:
    asked = study.ontology
    options = asked.model_dump(include={"min_genes", "max_genes", "collapse", "skips", "gene_level", "depth"})
    if resolved is None:
        return ontology_of(asked).topology(samples.features, **options)
    topology = ontology_of(asked).topology(resolved.genes, **options)
    return replace(topology, log=(*resolved.log, *topology.log))


def ontology_of(asked: OntologySection) -> Ontology:
    """The ontology a study asks for: from the catalogue, a recipe, or a gene-set file."""
    if _is_file(asked.name) and not asked.name.endswith(".toml"):
        if extra := [key for key in ("folder", "release", "choices") if getattr(asked, key)]:
            raise StudyError(
                f"ontology.{extra[0]} is for recipes; {Path(asked.name).name} is a gene-set file. Leave it out."
            )
        return read_gmt(asked.name)
    return load_ontology(asked.name, folder=asked.folder, release=asked.release, **asked.choices)


def splits_of(study: Study, samples: Samples) -> tuple[Split, ...]:
    """The splits a study asks for."""
    asked = study.splits
    column = samples.targets[study.data.target]
    classes = encode_target(column, study.data.task, study.data.classes).task != "regression"
    stratify = column.astype(str) if asked.stratify and classes else None
    if asked.group is not None and asked.group not in samples.groups.columns:
        raise StudyError(
            f"splits.group is {asked.group!r}; name it among data.groups as well, which holds {list(samples.groups.columns)}."
        )
    groups = None if asked.group is None else samples.groups[asked.group]
    common: dict[str, Any] = {"validation": asked.validation, "seed": study.seed, "stratify": stratify}
    if asked.kind == "hold-out":
        return (hold_out(samples.ids, test=asked.test, groups=groups, **common),)
    if asked.kind == "k-fold":
        return k_fold(samples.ids, k=asked.k, repeats=asked.repeats, groups=groups, **common)
    if groups is None:
        raise StudyError('splits.kind is "leave-one-group-out"; say which group column in splits.group.')
    return leave_one_group_out(samples.ids, groups, **common)


def _trained(
    study: Study,
    samples: Samples,
    topology: Topology,
    splits: Sequence[Split],
    folder: Path,
    listener: Listener | None,
) -> Fit:
    if (folder / "fit" / "fit.json").exists():
        return Fit.load(folder / "fit", topology)
    trained = fit(
        topology, samples, target=study.data.target, splits=splits, n_seeds=study.n_seeds,
        recipe=study.network, training=study.training, task=study.data.task, classes=study.data.classes,
        seed=study.seed, checkpoint=folder / CHECKPOINT, listener=listener,
    )  # fmt: skip
    trained.save(folder / "fit")
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return trained


def _same_wiring(path: Path, topology: Topology) -> None:
    if path.exists() and (held := Topology.load(path)).fingerprint != topology.fingerprint:
        raise StudyError(
            f"{path.parent} was made with topology {held.fingerprint[:12]} ({held!r}); the ontology's files now give "
            f"{topology.fingerprint[:12]} ({topology!r}). Choose another `output`, or bring the old files back."
        )


def _log_table(topology: Topology) -> pd.DataFrame:
    rows = [(e.step, e.kind, e.reason, name) for e in topology.log for name in e.names]
    return pd.DataFrame(rows, columns=["step", "kind", "reason", "name"])


@contextmanager
def _claimed(folder: Path, study: Study) -> Iterator[None]:
    """The output folder, held by this process alone and bound to this study."""
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
        if held and held["identity"] != study.identity:
            differ = _differences(held["study"], study.model_dump(mode="json")) or ["the content of a file"]
            raise StudyError(
                f"the output folder {folder} holds another study ({held['name']!r}, {held['identity'][:12]}); this one is "
                f"{study.name!r}, {study.identity[:12]}: data or settings differ, namely {', '.join(differ[:5])}. "
                "Choose another `output`, or remove the folder."
            )
        yield


def _claim(folder: Path, study: Study) -> None:
    """Bind the folder to the study, once its data and ontology are known to be sound."""
    stated = {"name": study.name, "identity": study.identity, "study": study.model_dump(mode="json")}
    if not (folder / RECORD).exists():
        write_text(folder / RECORD, json.dumps(stated, indent=1))


def _differences(one: Mapping[str, Any], other: Mapping[str, Any], at: str = "") -> list[str]:
    found: list[str] = []
    keys: list[str] = sorted({*one, *other})
    for key in keys:
        mine, theirs = one.get(key), other.get(key)
        if isinstance(mine, dict) and isinstance(theirs, dict):
            found += _differences(mine, theirs, f"{at}{key}.")
        elif mine != theirs:
            found.append(f"{at}{key}")
    return found


def _explained(model: type[BaseModel], file: Path, error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        where = [str(part) for part in problem["loc"]]
        if problem["type"] == "extra_forbidden":
            known = _keys(model, where[:-1])
            near = get_close_matches(where[-1], known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            lines.append(f"{'.'.join(where)} is not known; known here are {', '.join(known)}.{hint}")
        elif problem["type"] == "missing":
            lines.append(f"{'.'.join(where)} is needed.")
        else:
            lines.append(f"{'.'.join(where)} is {problem['input']!r}: {problem['msg']}.")
    return f"the study file {file} cannot be run:\n  " + "\n  ".join(lines)


def _is_file(ontology: str) -> bool:
    return ontology.endswith((".toml", ".gmt", ".gmt.gz"))


def _keys(model: type[BaseModel], path: list[str]) -> list[str]:
    for part in path:
        annotation = model.model_fields[part].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)

"""Fit: the trained replicates of a study with everything that predicting on new data needs."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, overload

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from vnn._atomic import replacing, write_text
from vnn._errors import AlignmentError, FitError, choose, culprits
from vnn.data.covariates import CovariateCoding
from vnn.data.genotypes.cohort import Cohort
from vnn.data.samples import Samples
from vnn.data.scaling import Scaling, fit_scaling
from vnn.data.splits import Split
from vnn.data.targets import Target, encode_survival, encode_target
from vnn.kernels import Packed, PackedPeople, active_name
from vnn.kernels.packed import PANEL
from vnn.models import Recipe, VisibleNetwork
from vnn.models.network import After
from vnn.ontology.topology import Topology
from vnn.training.calibration import DIVERGED, Temperature, temperatures, validated
from vnn.training.design import Replicate, class_weights, drawn, having, replicates_of, resample
from vnn.training.ensemble import Ensemble, ensemble, log_probabilities
from vnn.training.loop import Listener, Record, Trainer
from vnn.training.null import Equalised, Null, equalised, equalised_words, null_of
from vnn.training.orientation import Reading, orient
from vnn.training.priming import prime
from vnn.training.problem import Problem
from vnn.training.settings import Setting, Training
from vnn.training.spread import ChunkTrainer, check_workers, forget
from vnn.training.together import Together, n_processes

FORMAT = "vnn fit 1"
MANIFEST = "fit.json"
READING = ("loading", "centre", "mean", "sd")
DROPOUTS = ("dropout", "input_dropout")
PREDICTED_AT_ONCE, READ_AT_ONCE = 512, 256
UNCALIBRATED = "the fit was saved before temperatures were kept; train again to have them"
LARGEST = {"float32": 1e9, "float64": 1e100}


@dataclass(frozen=True, eq=False)
class Prediction:
    """What every replicate says of every sample.

    Parameters
    ----------
    ids
        Sample ids.
    replicates
        Replicate ids.
    logits
        Shape (n_samples, R, n_targets): log-odds of the second class, class logits, the quantity itself, or the log
        hazard ratio against the mean of the training samples. As the networks give them, not yet at their temperatures.
    target
        Name, task and classes of what is predicted.
    held_out
        Shape (n_samples, R): whether the replicate had the sample in the test part of its split. Samples
        no split knows are held out from all.
    splits
        Name of the split of each replicate.
    temperatures
        By what the logits of each replicate are divided before they become probabilities, shape (R,). None for
        quantities, and where all are 1.
    """

    ids: tuple[str, ...]
    replicates: tuple[str, ...]
    logits: np.ndarray
    target: Target
    held_out: np.ndarray
    splits: tuple[str, ...]
    temperatures: np.ndarray | None = None

    @property
    def values(self) -> np.ndarray:
        """Calibrated probabilities, shape (n_samples, R, n_classes), or the quantity or log hazard ratio, (n_samples, R, 1)."""
        return np.exp(self.log_values) if self.target.classes else self.logits

    @property
    def log_values(self) -> np.ndarray:
        """Logarithm of the calibrated probabilities per class, shape (n_samples, R, n_classes)."""
        return log_probabilities(self.target.task, self.logits, self.temperatures)

    def ensemble(self, *, held_out: bool = False) -> Ensemble:
        """The mean of the calibrated networks, with their spread, for every sample.

        A network whose prediction of a sample is not finite does not count for it.

        Parameters
        ----------
        held_out
            Count only replicates that held the sample out; a sample nobody held out gets missing values.
        """
        counts = np.isfinite(self.logits).all(axis=2) & (self.held_out | (not held_out))
        return ensemble(self.target.task, self.logits, counts, temperatures=self.temperatures, splits=self.splits)

    @property
    def columns(self) -> tuple[str, ...]:
        """What the last axis of `values` holds."""
        return self.target.classes or (self.target.name,)

    def table(self, *, held_out: bool = False) -> pd.DataFrame:
        """Mean and spread over replicates, and how many of them count, a row per sample; see `ensemble`.

        Parameters
        ----------
        held_out
            As for `ensemble`.
        """
        found, columns = self.ensemble(held_out=held_out), {}
        for i, name in enumerate(self.columns):
            columns[name], columns[f"{name} sd"] = found.mean[:, i], found.spread[:, i]
        return pd.DataFrame(columns | {"n_replicates": found.n_replicates}, index=pd.Index(self.ids, name="sample"))


@dataclass(frozen=True, eq=False)
class Fit:
    """Trained networks, who they are, what they learnt from, and how new data become their inputs.

    Parameters
    ----------
    topology
        The wiring all of them share.
    networks
        All replicates side by side, with their best weights.
    replicates
        One row per replicate: id, kind, partner, seed, split, state ("stopped", "finished", "diverged"), best_epoch; and where
        any has a `Setting` of its own, the lr, weight_decay, dropout, input_dropout and bootstrap of each.
    splits
        Which samples each replicate learnt from, was stopped by, and never saw.
    ids
        All samples of the study, sorted.
    target
        What is predicted, with the values of these samples.
    coding
        How covariates become columns; None without covariates.
    readings
        How each level's units are read as oriented activities.
    history
        Loss per epoch and replicate: columns epoch, replicate, train, validation.
    training
        The settings.
    about
        Versions, backend, machine, seed, sources and logs: what another person needs to do it again.
    labels
        For a null of the labels what each replicate learnt instead of the target, shape (R, n_samples), or for
        survival times and events, (R, n_samples, 2); samples in the order of `ids`. None for others.
    temperatures
        What the validation samples of each replicate say of its certainty, for classes; empty for quantities. A null
        of the labels has its own, from the labels it learnt: it is treated in all as the real network is.
    """

    topology: Topology
    networks: VisibleNetwork
    replicates: pd.DataFrame
    splits: tuple[Split, ...]
    ids: tuple[str, ...]
    target: Target
    coding: CovariateCoding | None
    readings: dict[str, Reading]
    history: pd.DataFrame
    training: Training
    about: dict[str, Any]
    labels: np.ndarray | None = None
    temperatures: tuple[Temperature, ...] = ()

    def network(self, kind: str = "real") -> VisibleNetwork:
        """The networks of one kind; "real" are those trained on the data as they are."""
        choose("the kind of network", kind, sorted(set(self.replicates["kind"])))
        return self.networks.replicates(np.flatnonzero(self.replicates["kind"] == kind).tolist())

    @property
    def sound(self) -> np.ndarray:
        """Positions of the replicates that did not diverge; only they are read and predict.

        Raises
        ------
        FitError
            If all of them diverged.
        """
        kept = np.flatnonzero(self.replicates["state"] != "diverged")
        if not len(kept):
            raise FitError(f"all {len(self.replicates)} networks diverged; lower training.lr or set training.clip.")
        return kept

    def held_out(self, ids: Sequence[str]) -> np.ndarray:
        """Whether each replicate never saw each sample while it was trained, shape (n_samples, R).

        That is the test part of its split, and every sample the split does not know.
        """
        seen = {split.name: {*split.train, *split.validation} for split in self.splits}
        found = [[i not in seen[name] for name in self.replicates["split"]] for i in ids]
        return np.array(found, dtype=bool).reshape(len(ids), len(self.replicates))

    @overload
    def align(self, samples: Samples, *, least: float = 0.8) -> Samples: ...
    @overload
    def align(self, samples: Cohort, *, least: float = 0.8) -> Cohort: ...
    @overload
    def align(self, samples: Samples | Cohort, *, least: float = 0.8) -> Samples | Cohort: ...
    def align(self, samples: Samples | Cohort, *, least: float = 0.8) -> Samples | Cohort:
        """The samples with exactly the inputs of the networks, absent ones as missing values.

        The variants of a `Cohort` must be the inputs already.

        Parameters
        ----------
        least
            Share of the inputs that must be measured.

        Raises
        ------
        AlignmentError
            If fewer are measured.
        """
        inputs = self.topology.inputs
        if isinstance(samples, Cohort):
            return samples.select(inputs)
        known = set(samples.features)
        missing = [name for name in inputs if name not in known]
        if len(missing) > (1 - least) * len(inputs):
            raise AlignmentError(
                f"`samples` has {len(inputs) - len(missing):,} of the {len(inputs):,} inputs of the fit "
                f"({1 - len(missing) / len(inputs):.0%}); at least {least:.0%} are needed. Missing are {culprits(missing)}; "
                f"the table has names like {culprits(samples.features[:3])}. Check the identifier type."
            )
        return samples.select(inputs, missing="nan")

    @overload
    def columns(
        self, samples: Samples, replicates: Sequence[int] | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None, VisibleNetwork]: ...
    @overload
    def columns(
        self, samples: Cohort, replicates: Sequence[int] | None = None
    ) -> tuple[PackedPeople, torch.Tensor | None, VisibleNetwork]: ...
    @overload
    def columns(
        self, samples: Samples | Cohort, replicates: Sequence[int] | None = None
    ) -> tuple[torch.Tensor | PackedPeople, torch.Tensor | None, VisibleNetwork]: ...
    def columns(
        self, samples: Samples | Cohort, replicates: Sequence[int] | None = None
    ) -> tuple[torch.Tensor | PackedPeople, torch.Tensor | None, VisibleNetwork]:
        """Aligned inputs (n_in, n_samples), coded covariates (n_samples, n_columns), and the networks ready for them.

        Inputs of a `Cohort` stay packed.

        Parameters
        ----------
        replicates
            Positions among the networks that did not diverge; all of these unless given.
        """
        aligned = self.align(samples)
        chosen = self.sound if replicates is None else self.sound[list(replicates)]
        networks = self.networks.replicates(chosen.tolist())
        if isinstance(aligned, Cohort):
            networks.imputes = bool(aligned.missing.any())
            if networks.imputes and self.training.impute == "none":
                raise AlignmentError(
                    f"genotypes of {aligned.missing.sum():,} variants are missing, and the fit was trained without imputation. "
                    'Train with impute="mean".'
                )
            return _open(aligned, aligned.people.codebook), self._covariates(samples), networks.eval()
        known = set(samples.features)
        absent = np.array([name not in known for name in aligned.features])
        values = torch.from_numpy(np.array(aligned.values))
        gaps = torch.isnan(values).numpy()
        if self.training.impute == "none" and gaps[~absent].any():
            where = [aligned.features[i] for i in np.flatnonzero(gaps.any(1) & ~absent)]
            raise AlignmentError(
                f"{gaps[~absent].sum():,} values of {len(where):,} features are missing: {culprits(where)}. The fit was "
                'trained without imputation; complete the table, or train with impute="mean".'
            )
        networks.imputes = bool(gaps.any())
        return values, self._covariates(samples), networks.eval()

    def _covariates(self, samples: Samples | Cohort) -> torch.Tensor | None:
        if self.coding is None:
            return None
        return torch.from_numpy(self.coding.encode(samples.covariates).T.copy())

    @torch.no_grad()
    def predict(self, samples: Samples | Cohort) -> Prediction:
        """The prediction of every replicate for every sample, features joined by name.

        Features the samples lack are filled as missing values are: with the mean of the training part unless
        the fit imputes otherwise. Fewer than 80 % of them is an error. Replicates that diverged are left out.
        Logits are as the networks give them; `Prediction.values` and all that is made of it are calibrated.

        Raises
        ------
        AlignmentError
            If too few features are measured, values are missing that the fit cannot fill, or a covariate is absent.
        """
        values, covariates, networks = self.columns(samples)
        logits = np.zeros((values.shape[1], networks.n_replicates, networks.n_targets))
        for batch, columns, at in _pieces(values, PREDICTED_AT_ONCE):
            signal = networks.signal(batch)
            own = _laid(covariates, signal.n_samples, columns, at)
            logits[at] = networks.deployed(networks.heads(signal, own))[columns].double().numpy()
        sound = self.sound
        ids, splits = (tuple(self.replicates[name].iloc[sound]) for name in ("id", "split"))
        divisors = np.array([t.value for t in self.temperatures])[sound] if self.temperatures else None
        return Prediction(samples.ids, ids, logits, self.target, self.held_out(samples.ids)[:, sound], splits, divisors)

    @torch.no_grad()
    def read(self, samples: Samples | Cohort, *, after: After = "activation") -> dict[str, np.ndarray]:
        """The oriented value of every node a level computes itself, (n_samples, R, n_nodes) by level.

        Replicates that diverged are left out. `vnn.training.orientation` says how units become one value and what its sign means.

        Parameters
        ----------
        samples
            Features join by name.
        after
            Where a node is read: "product", "normalisation" or "activation".
        """
        choose("`after`", after, ("product", "normalisation", "activation"))
        values, covariates, networks = self.columns(samples)
        found = {
            level.name: np.zeros((values.shape[1], networks.n_replicates, int(level.own.sum())), dtype=np.float32)
            for level in self.topology.levels
            if level.name in self.readings
        }
        for batch, columns, at in _pieces(values, READ_AT_ONCE):
            signal = networks.signal(batch)
            held = networks.activities(signal, _laid(covariates, signal.n_samples, columns, at), after=after)
            for level, values_of in found.items():
                reading = self.readings[level]
                mine, units = self.topology.level(level).own, networks.units(level)
                raw = held[level][columns].double().numpy()[:, :, np.repeat(mine, units)]
                oriented = (raw - reading.centre.T[self.sound]) * reading.loading.T[self.sound]
                starts = np.cumsum(units[mine]) - units[mine]
                values_of[at] = np.add.reduceat(oriented, starts, axis=2)
        return found

    def nodes(self, level: str) -> tuple[str, ...]:
        """Ids of the nodes a level computes itself, along the last axis of what is read."""
        return self.networks.own_nodes(level)

    # Files.

    def save(self, path: Path | str) -> None:
        """Write the fit to a folder: one safetensors file per replicate and `fit.json`.

        Files of replicates are named by their content and `fit.json` is replaced last, so that a kill or a
        full disk leaves the fit that was there before as it was.

        Raises
        ------
        FitError
            If the folder holds the fit of another study.
        """
        folder = Path(path)
        held = folder / MANIFEST
        if held.exists() and (other := json.loads(held.read_text())["study"]) != self.study:
            raise FitError(
                f"{folder} holds the fit of another study ({other[:12]}, this one is {self.study[:12]}). "
                "Save to another folder, or remove that one first."
            )
        folder.mkdir(parents=True, exist_ok=True)
        state, named = self.networks.state_dict(), self.networks.arrays()
        wirings = self.networks.wirings
        files = []
        for i in range(self.networks.n_replicates):
            arrays = {name: state[key][..., i].contiguous() for name, key in named.items()}
            for level, reading in self.readings.items():
                for what in READING:
                    arrays[f"{level}/{what}"] = torch.from_numpy(getattr(reading, what)[:, i].copy())
            for (source, level), sources in wirings.items():
                arrays[f"{level}/sources in {source}"] = torch.from_numpy(sources[:, i].copy())
            if self.labels is not None:
                arrays["labels"] = torch.from_numpy(self.labels[i].copy())
            files.append(_write_by_content(folder, f"replicate-{i:04d}", arrays))
        manifest = {
            "format": FORMAT,
            "study": self.study,
            "topology": self.topology.fingerprint,
            "recipe": self.networks.recipe.model_dump(),
            "training": self.training.model_dump(),
            "seed": self.networks.seed,
            "imputes": self.networks.imputes,
            "target": {"name": self.target.name, "task": self.target.task, "classes": self.target.classes}
            | (
                {}
                if self.target.events is None
                else {"event": self.target.event, "events": self.target.events.tolist()}
            ),
            "samples": dict(zip(self.ids, self.target.values.tolist(), strict=True)),
            "covariates": None if self.coding is None else self.coding.to_json(),
            "splits": [asdict(split) for split in self.splits],
            "replicates": self.replicates.to_dict(orient="records"),
            "temperatures": [asdict(t) for t in self.temperatures],
            "files": files,
            "history": {name: column.tolist() for name, column in self.history.items()},
            "about": self.about,
        }
        write_text(folder / MANIFEST, json.dumps(manifest, indent=1))
        for stale in folder.glob("replicate-*.safetensors"):
            if stale.name not in files:
                stale.unlink()

    @property
    def study(self) -> str:
        """Identity of the study: data, wiring, recipe, settings, seed, splits and replicates, whatever was learnt."""
        parts = [self.topology.fingerprint, self.networks.recipe.model_dump_json(), self.training.model_dump_json()]
        parts += [
            str(self.networks.seed),
            self.target.name,
            *([] if self.target.event is None else [self.target.event]),
            *self.target.classes,
            self.about["data"],
            *self.replicates["id"],
        ]
        parts += [json.dumps(asdict(split)) for split in self.splits]
        if "lr" in self.replicates:
            parts.append(self.replicates[list(Setting.model_fields)].to_json(orient="records", double_precision=15))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @classmethod
    def load(cls, path: Path | str, topology: Topology) -> Fit:
        """Read what `save` wrote.

        Parameters
        ----------
        path
            The folder.
        topology
            The wiring it was trained with; another one is refused.

        Raises
        ------
        FitError
            If the folder holds no fit, a file is damaged, or the topology is another one.
        """
        folder = Path(path)
        try:
            manifest = json.loads((folder / MANIFEST).read_text())
        except FileNotFoundError:
            raise FitError(f"{folder} holds no {MANIFEST}; give the folder that Fit.save or `vnn run` wrote.") from None
        except ValueError as error:
            raise FitError(f"{folder / MANIFEST} is damaged: {error}.") from error
        if manifest.get("format") != FORMAT:
            raise FitError(f"{folder / MANIFEST} has format {manifest.get('format')!r}; this vnn reads {FORMAT!r}.")
        if manifest["topology"] != topology.fingerprint:
            raise FitError(
                f"the fit in {folder} was trained with topology {manifest['topology'][:12]}; the one given is "
                f"{topology.fingerprint[:12]} ({topology!r}). Load the topology that was saved with the study."
            )
        coding = None if manifest["covariates"] is None else CovariateCoding.from_json(manifest["covariates"])
        target = Target(**manifest["target"], values=np.array(list(manifest["samples"].values())))
        training = Training(**manifest["training"])
        stored = [_read_by_content(folder / name) for name in manifest["files"]]
        wired = [name.split("/sources in ") for name in stored[0] if "/sources in " in name]
        networks = VisibleNetwork(
            topology,
            Recipe(**manifest["recipe"]),
            n_targets=target.n_outputs,
            replicates=[record["id"] for record in manifest["replicates"]],
            partners=[record["partner"] for record in manifest["replicates"]],
            seed=manifest["seed"],
            n_covariates=0 if coding is None else len(coding.names),
            wirings={
                (source, level): np.stack([arrays[f"{level}/sources in {source}"].numpy() for arrays in stored], axis=1)
                for level, source in wired
            },
            **{
                name: [record[name] for record in manifest["replicates"]]
                for name in DROPOUTS
                if "lr" in manifest["replicates"][0]
            },
        ).to(getattr(torch, training.dtype))
        state = {
            key: torch.stack([arrays[name] for arrays in stored], dim=-1) for name, key in networks.arrays().items()
        }
        networks.load_state_dict(state)
        networks.imputes = manifest["imputes"]
        levels = [name.removesuffix("/loading") for name in stored[0] if name.endswith("/loading")]
        readings = {
            level: Reading(
                *(np.stack([arrays[f"{level}/{what}"].numpy() for arrays in stored], axis=-1) for what in READING)
            )
            for level in levels
        }
        old = [asdict(replace(DIVERGED, reason=UNCALIBRATED))] * len(stored) if target.classes else []
        splits = tuple(
            Split(s["name"], tuple(s["train"]), tuple(s["validation"]), tuple(s["test"])) for s in manifest["splits"]
        )
        return cls(
            topology, networks.eval(), pd.DataFrame(manifest["replicates"]), splits, tuple(manifest["samples"]), target, coding,
            readings, pd.DataFrame(manifest["history"]), training, manifest["about"],
            np.stack([arrays["labels"].numpy() for arrays in stored]) if "labels" in stored[0] else None,
            tuple(Temperature(**t) for t in manifest.get("temperatures", old)),
        )  # fmt: skip


def fit(
    topology: Topology,
    samples: Samples | Cohort,
    *,
    target: str,
    splits: Sequence[Split],
    event: str | None = None,
    n_seeds: int = 1,
    recipe: Recipe | None = None,
    training: Training | None = None,
    task: str | None = None,
    classes: Sequence[str] | None = None,
    seed: int = 0,
    kind: str = "real",
    draws: Sequence[int] = (),
    unit: str | None = None,
    settings: Setting | Mapping[str, Setting] | None = None,
    places: pd.DataFrame | None = None,
    only: Sequence[str] | None = None,
    checkpoint: Path | None = None,
    listener: Listener | None = None,
    at_once: int | None = None,
    workers: int = 1,
    backend: str = "loky",
    together: bool = False,
) -> Fit:
    """Train one network per split and seed, all in one program that reads the data once; or their nulls.

    A null has the split, initial weights, dropout and order of its partner, the network of the same split and
    seed, and differs only in its labels (drawn by `vnn.data.label_null`, given the covariates of `samples`), its wiring
    (`vnn.ontology.rewire`, `reassign`, `circular_shift`) or its inputs (`vnn.data.equally_predictive`). Nulls have no oriented
    readings. Inputs of "equalised" differ between draws and splits (`vnn.training.null.equalised`), so these are trained one
    after the other, and `Fit.predict` needs the inputs of the draw.

    Parameters
    ----------
    topology
        The wiring; its inputs must be features of `samples`.
    samples
        All samples of the study. Their covariates, if any, enter as `Recipe.covariates` says. The variants of a `Cohort` must be
        the inputs of the wiring, in their order; their batches are panels of 64 people, of which `training.batch_size` must be
        a multiple.
    target
        Column of `samples.targets`.
    splits
        Training, validation and test samples of each fold. Without a validation part a replicate trains for all epochs.
    event
        For survival: column of `samples.targets` that says whether the time in `target` ended with the event (1, True)
        or only the follow-up did (0, False). The task is then "cox".
    n_seeds
        Networks per split that differ only in chance.
    recipe, training
        What nodes compute, and how they are trained.
    task
        "binary", "multiclass", "regression" or "cox"; from the target unless given.
    classes
        Order of the classes, the positive one last; sorted as text unless given.
    seed
        Seed of the study.
    kind, draws
        "real"; or one of `vnn.training.design.NULLS` and the numbers of the draws, every one of them for every split and
        seed.
    unit
        For labels permuted between groups: column of `samples.groups` whose members splits keep together.
    settings
        What replicates have of their own: one setting for all, or by the id of a replicate or the name of a split. A null has
        that of its partner. The bits of a replicate do not depend on the settings of others, but for one rounding: where any
        replicate of the design states an `input_dropout`, all of them drop inputs, if at a rate of 0.
    places
        For "shifted": columns chromosome and position of every input, indexed by its name.
    only
        Ids of the replicates to train here; the others of the study are left to other calls, and the
        networks are the same. Activities too weak to be oriented by their genes follow the first of these.
    checkpoint
        File from which an interrupted run goes on; with `at_once` or `workers` there is one beside it for each chunk.
    listener
        Told after every epoch; with `workers`, whenever one of them is done.
    at_once
        Networks trained side by side at most, where memory has no room for all; the others follow in chunks.
    workers, backend
        Processes that train the replicates, each some of them, to the same bits; see `vnn.training.spread`.
    together
        The processes of `torch.distributed` train every replicate together, each on its share of every batch; see
        `vnn.training.together`. All of them call this with the same arguments and get the same fit; the
        first alone writes the checkpoint.

    Raises
    ------
    AlignmentError
        If a feature or sample is missing.
    ValueError
        If values are missing and `training.impute` is "none", or a part of a split has too few events to learn from.
    """
    check_workers(workers, backend)
    if at_once is not None and at_once < 1:
        raise ValueError(f"`at_once` is {at_once}; at least one network is needed.")
    if together and workers > 1:
        raise ValueError(
            f"`together` divides the samples and `workers` = {workers} the replicates between processes; ask for one of them."
        )
    recipe, training = recipe or Recipe(), training or Training()
    planned = replicates_of(splits, n_seeds)
    if settings is not None:
        planned = having(planned, settings)
    if kind != "real":
        planned = drawn(planned, kind, draws)
    if only is not None and (unknown := set(only) - {r.id for r in planned}):
        raise ValueError(f"`only` names replicates the design does not have: {culprits(sorted(unknown))}.")
    chunk = [r for r in planned if only is None or r.id in set(only)]
    posing = partial(
        pose, topology, target=target, event=event, splits=splits, planned=planned, recipe=recipe, training=training, task=task,
        classes=classes, seed=seed, unit=unit, places=places,
    )  # fmt: skip
    posed = posing(samples, chunk=chunk)

    def train(posed: Posed, chunk: Sequence[Replicate], checkpoint: Path | None) -> Trained:
        how: dict[str, Any] = {"seed": seed, "checkpoint": checkpoint, "own": [r.setting for r in chunk]}
        trainer: Trainer | ChunkTrainer
        if together:
            trainer = Together(posed.network, posed.problem, training, **how)
        elif workers > 1 or (at_once is not None and at_once < len(chunk)):
            how |= {"at_once": at_once, "workers": workers, "backend": backend}
            trainer = ChunkTrainer(posed.network, posed.problem, training, **how)
        else:
            trainer = Trainer(posed.network, posed.problem, training, **how)
        rows = rows_of(chunk, planned, training, recipe)
        return settled(posed, trainer.run(listener), trainer.record, rows)

    if kind == "equalised":
        if isinstance(samples, Cohort):
            raise ValueError(
                'the null "equalised" draws inputs of its own, and genotypes stay as they are. Ask for another one.'
            )
        trained, words = _trained_in_blocks(posed, posing, train, samples, splits, chunk, seed, checkpoint)
    else:
        trained, words = train(posed, chunk, checkpoint), posed.null.words
    about: dict[str, Any] = {"null": words}
    if together:
        about["processes"] = n_processes()
    made = finished(posed, trained, samples, splits, training, about)
    return made if kind == "equalised" else tempered(made, samples)


def finished(
    posed: Posed,
    trained: Trained,
    samples: Samples | Cohort,
    splits: Sequence[Split],
    training: Training,
    about: Mapping[str, Any],
) -> Fit:
    """The fit of trained replicates, not yet at their temperatures.

    Parameters
    ----------
    about
        What is to be told beside the machine and the data.
    """
    topology = posed.network.topology
    told = _about(posed.network.seed) | {
        "data": trained.data,
        "sources": list(samples.sources),
        "log": list(samples.log),
        "provenance": list(topology.provenance),
    }
    permuted = set(trained.replicates["kind"]) == {"labels"}
    labels = np.stack([target.truth for target in posed.null.targets]) if permuted else None
    return Fit(
        topology, trained.networks, trained.replicates, tuple(splits), posed.ids, posed.target, posed.coding, trained.readings,
        trained.history, training, told | dict(about), labels,
    )  # fmt: skip


def tempered(made: Fit, samples: Samples | Cohort) -> Fit:
    """A fit at the temperatures that its validation samples decide, for classes."""
    if not made.target.classes:
        return made
    return replace(made, temperatures=_temperatures(made, samples.select(made.topology.inputs, made.ids)))


@dataclass(frozen=True, eq=False)
class Trained:
    """Networks, their tables and readings as in `Fit`, and the fingerprint of what they learnt from."""

    networks: VisibleNetwork
    replicates: pd.DataFrame
    readings: dict[str, Reading]
    history: pd.DataFrame
    data: str


def settled(posed: Posed, networks: VisibleNetwork, record: Record, rows: pd.DataFrame) -> Trained:
    """Networks that were trained, calibrated and read.

    Parameters
    ----------
    record
        Of these replicates, in their order.
    rows
        What is known of each replicate before it is trained.
    """
    problem = posed.problem
    if posed.target.task == "regression":
        _calibrate(networks, problem)
    elif posed.target.task == "cox":
        _centre(networks, problem)
    real = set(rows["kind"]) == {"real"}
    readings = orient(networks, problem, posed.centre, posed.scale) if real else {}
    table = rows.assign(state=record.state, best_epoch=record.best_epoch)
    n_epochs = len(record.history)
    history = pd.DataFrame(
        {
            "epoch": np.repeat(np.arange(1, n_epochs + 1), len(rows)),
            "replicate": rows["id"].tolist() * n_epochs,
            "train": [x for row in record.history for x in row["train"]],
            "validation": [x for row in record.history for x in row["validation"]],
        }
    ).dropna(subset=["train"], ignore_index=True)
    return Trained(networks, table, readings, history, problem.fingerprint)


def _trained_in_blocks(
    posed: Posed,
    posing: Callable[..., Posed],
    train: Callable[[Posed, Sequence[Replicate], Path | None], Trained],
    samples: Samples,
    splits: Sequence[Split],
    chunk: Sequence[Replicate],
    seed: int,
    checkpoint: Path | None,
) -> tuple[Trained, str]:
    """Replicates of the null "equalised", those of each draw and split on inputs of their own; and what was changed."""
    ordered = samples.select(posed.network.topology.inputs, posed.ids)
    by_name = {split.name: split for split in splits}
    parts: list[Trained] = []
    inputs: list[Equalised] = []
    for draw, name in dict.fromkeys((r.draw, r.split) for r in chunk if r.draw is not None):
        mine = [r for r in chunk if (r.draw, r.split) == (draw, name)]
        made = equalised(ordered, posed.target, by_name[name], seed=seed, draw=draw)
        own = None if checkpoint is None else checkpoint.with_name(f"{checkpoint.name}.{draw}.{len(parts)}")
        parts.append(train(posing(made.samples, chunk=mine), mine, own))
        inputs.append(replace(made, samples=ordered))
        if own is not None:
            forget(own)
    states = [part.networks.state_dict() for part in parts]
    posed.network.load_state_dict({name: torch.cat([state[name] for state in states], dim=-1) for name in states[0]})
    history = pd.concat([part.history for part in parts]).sort_values("epoch", kind="stable", ignore_index=True)
    table = pd.concat([part.replicates for part in parts], ignore_index=True)
    data = hashlib.sha256("\n".join(part.data for part in parts).encode()).hexdigest()
    return Trained(posed.network.eval(), table, {}, history, data), equalised_words(inputs)


@dataclass(frozen=True, eq=False)
class Posed:
    """Replicates before they are trained.

    Parameters
    ----------
    network, problem
        Theirs: initial weights and fitted scalings, and what each learns.
    ids
        The samples in their order.
    target
        What is predicted.
    coding
        Of the covariates; None without any.
    null
        What a null changed.
    centre, scale
        Mean and standard deviation of every input over each training part, (n_in, R).
    """

    network: VisibleNetwork
    problem: Problem
    ids: tuple[str, ...]
    target: Target
    coding: CovariateCoding | None
    null: Null
    centre: np.ndarray
    scale: np.ndarray


def pose(
    topology: Topology,
    samples: Samples | Cohort,
    *,
    target: str,
    event: str | None,
    splits: Sequence[Split],
    planned: Sequence[Replicate],
    chunk: Sequence[Replicate],
    recipe: Recipe,
    training: Training,
    task: str | None,
    classes: Sequence[str] | None,
    seed: int,
    unit: str | None = None,
    places: pd.DataFrame | None = None,
) -> Posed:
    """The networks and the problem of a chunk of replicates of one kind.

    Parameters
    ----------
    topology, samples, target, event, splits, recipe, training, task, classes, seed, unit, places
        As for `fit`.
    planned, chunk
        All replicates of the design, and those that are made here.
    """
    for what, column in (("the target", target), ("the event", event)):
        if column is not None and column not in samples.targets.columns:
            choose(what, column, map(str, samples.targets.columns))
    ordered = samples.select(topology.inputs, sorted(samples.ids))
    if isinstance(ordered, Cohort):
        fit_for_panels(ordered, recipe, training)
    wanted = _wanted(ordered, target, event, task, classes)
    coding = CovariateCoding.fit(ordered.covariates) if len(ordered.covariates.columns) else None
    columns = None if coding is None else coding.encode(ordered.covariates)
    null = null_of(planned[0].kind, topology, ordered, wanted, chunk, seed=seed, unit=unit, places=places)
    rates = {
        name: [getattr(r.setting.beside(training, recipe), name) for r in chunk]
        for name in DROPOUTS
        if any(getattr(r.setting, name) is not None for r in planned)
    }
    network = VisibleNetwork(
        topology, recipe, n_targets=wanted.n_outputs, replicates=[r.id for r in chunk], seed=seed,
        n_covariates=0 if columns is None else len(columns), partners=[r.partner for r in chunk], wirings=null.sources,
        **rates,
    ).to(getattr(torch, training.dtype))  # fmt: skip
    problem, centre, scale = _problem(network, ordered, columns, null.targets, splits, chunk, training)
    if training.start == "associations":
        prime(network, problem)
    return Posed(network, problem, ordered.ids, wanted, coding, null, centre, scale)


def rows_of(
    chunk: Sequence[Replicate], planned: Sequence[Replicate], training: Training, recipe: Recipe
) -> pd.DataFrame:
    """A row per replicate; settings in full where any of the design has one of its own."""
    table = pd.DataFrame([asdict(r) for r in chunk]).drop(columns="setting")
    if all(r.setting == Setting() for r in planned):
        return table
    return table.join(pd.DataFrame([r.setting.beside(training, recipe).model_dump() for r in chunk]))


def _temperatures(made: Fit, samples: Samples | Cohort) -> tuple[Temperature, ...]:
    """Of every replicate, from its validation samples and the labels it learnt; `samples` in the order of `made.ids`."""
    sound = np.flatnonzero(made.replicates["state"] != "diverged")
    found = [DIVERGED] * len(made.replicates)
    if len(sound):
        names = made.replicates["split"].iloc[sound]
        used = {i for split in made.splits if split.name in set(names) for i in split.validation}
        at = np.flatnonzero([i in used for i in made.ids])
        logits = made.predict(samples.select(ids=[made.ids[i] for i in at])).logits
        truth = made.target.truth[at] if made.labels is None else made.labels[np.ix_(sound, at)]
        validation = validated([made.ids[i] for i in at], made.splits, names.tolist())
        for r, one in zip(sound, temperatures(made.target.task, logits, truth, validation), strict=True):
            found[r] = one
    return tuple(found)


def _wanted(
    samples: Samples | Cohort, target: str, event: str | None, task: str | None, classes: Sequence[str] | None
) -> Target:
    if event is None:
        return encode_target(samples.targets[target], task, classes)
    if task not in (None, "cox") or classes is not None:
        raise ValueError(
            f"the event {event!r} makes {target!r} a survival time, but task is {task!r} and classes are {classes!r}. "
            'Leave `event` out for another task, or `task` and `classes` for "cox".'
        )
    return encode_survival(samples.targets[target], samples.targets[event])


def _problem(
    network: VisibleNetwork,
    samples: Samples | Cohort,
    columns: np.ndarray | None,
    targets: Sequence[Target],
    splits: Sequence[Split],
    chunk: Sequence[Replicate],
    training: Training,
) -> tuple[Problem, np.ndarray, np.ndarray]:
    """The problem of a chunk, and mean and standard deviation of every input per replicate.

    Scalings are fitted on training parts only and put into the network.
    """
    dtype = getattr(torch, training.dtype)
    by_name = {split.name: split for split in splits}
    train_at = {name: samples.index(split.train) for name, split in by_name.items()}
    impute = None if training.impute == "none" else training.impute
    missing, ends = bool(samples.missing.any()), samples.ends
    scalings, standards = {}, {}
    for name in dict.fromkeys(r.split for r in chunk):
        scalings[name] = samples.scaling(train_at[name], method=training.scaling, impute=impute)
        standards[name] = (
            scalings[name]
            if training.scaling == "standard"
            else samples.scaling(train_at[name], method="standard", impute=impute)
        )
        _within_reach(samples, ends, scalings[name], training.dtype)
    if missing and impute is None:
        samples.scaling(np.arange(samples.n_samples), method="standard", impute=None)
    network.imputes = missing
    inputs, place = inputs_of(samples, dtype)
    _put(network.scaling, [scalings[r.split] for r in chunk], [standards[r.split] for r in chunk])
    if columns is not None:
        fitted = [fit_scaling(columns[:, train_at[r.split]]) for r in chunk]
        _put(network.covariate_scaling, fitted, fitted)
    train_weight = np.zeros((len(chunk), samples.n_samples))
    validation_weight = np.zeros_like(train_weight)
    task = targets[0].task
    values = _learnt(targets)
    for own in {id(target): target for target in targets}.values():
        if own.events is not None:
            _enough_events(own.events, [by_name[name] for name in dict.fromkeys(r.split for r in chunk)], samples)
    for i, (replicate, target) in enumerate(zip(chunk, targets, strict=True)):
        at = train_at[replicate.split]
        weight = np.ones(len(at))
        if target.classes and training.class_weight == "balanced":
            weight = class_weights(target.values[at], len(target.classes))
            _undo_weights(network, i, target.values[at], weight)
        if replicate.setting.bootstrap:
            weight = weight * resample(_strata(target, at), seed=network.seed, partner=replicate.partner)
        train_weight[i, at] = weight
        validation_weight[i, samples.index(by_name[replicate.split].validation)] = 1
        if target.task == "regression":
            mean, sd = target.values[at].mean(), target.values[at].std() or 1.0
            values[i] = (values[i] - mean) / sd
            network.output_shift[:, i], network.output_scale[:, i] = mean, sd
    universe = np.unique(np.concatenate([samples.index(split.train) for split in splits]))

    def laid(values: np.ndarray) -> torch.Tensor:
        """Where the inputs have the samples."""
        if place is None:
            return torch.from_numpy(values)
        made = np.zeros((*values.shape[:-1], inputs.shape[1]), dtype=values.dtype)
        made[..., place] = values
        return torch.from_numpy(made)

    problem = Problem(
        inputs=inputs,
        covariates=None if columns is None else laid(columns).to(dtype),
        target=laid(values).to(dtype if task == "regression" else torch.int64),
        task=task,
        train_weight=laid(train_weight).to(dtype),
        validation_weight=laid(validation_weight).to(dtype),
        universe=universe if place is None else np.sort(place[universe]),
    )
    return (
        problem,
        np.stack([standards[r.split].centre for r in chunk], axis=1),
        np.stack([standards[r.split].scale for r in chunk], axis=1),
    )


def fit_for_panels(cohort: Cohort, recipe: Recipe, training: Training) -> None:
    """Refuse settings that packed genotypes cannot follow."""
    if recipe.input_dropout:
        raise ValueError(
            f"input_dropout is {recipe.input_dropout:g}, and genotypes that keep their two bits are not dropped one by one. Set "
            "network.input_dropout = 0."
        )
    if cohort.people.panelled and training.batch_size % PANEL:
        raise ValueError(
            f"batch_size is {training.batch_size}; people lie in panels of {PANEL}, of which a batch takes whole ones. Choose a "
            f"multiple of {PANEL}, such as {max(training.batch_size // PANEL, 1) * PANEL}."
        )


def inputs_of(samples: Samples | Cohort, dtype: torch.dtype) -> tuple[torch.Tensor | PackedPeople, np.ndarray | None]:
    """What batches are taken from, and where the samples stand in it; None where in their order."""
    if not isinstance(samples, Cohort):
        return torch.from_numpy(np.array(samples.values)).to(dtype), None
    return _open(samples, samples.people.codebook.to(dtype)).everywhere(), samples.people.place


def _open(cohort: Cohort, book: torch.Tensor) -> PackedPeople:
    """With gaps only where genotypes are missing, so that places nobody has are numbers too."""
    idle = torch.from_numpy(~cohort.missing)[:, None] & torch.isnan(book)
    return cohort.people.coded(book.masked_fill(idle, 0.0))


def _pieces(
    values: torch.Tensor | PackedPeople, size: int
) -> Iterator[tuple[torch.Tensor | Packed, np.ndarray, np.ndarray]]:
    """All samples, some at a time: a batch, which of its columns are samples, and which samples they are."""
    if isinstance(values, PackedPeople):
        yield from values.sweep(size)
        return
    for at in np.array_split(np.arange(values.shape[1]), range(size, values.shape[1], size)):
        if len(at):
            yield values[:, at], np.arange(len(at)), at


def _laid(covariates: torch.Tensor | None, n: int, columns: np.ndarray, at: np.ndarray) -> torch.Tensor | None:
    """The covariates of the samples `at` in those columns of a batch of n, 0 in the others."""
    if covariates is None:
        return None
    made = covariates.new_zeros(n, covariates.shape[1])
    made[columns] = covariates[at]
    return made


def _strata(target: Target, at: np.ndarray) -> np.ndarray:
    """Within what a bootstrap draws: the class, the event, or nothing."""
    if target.events is not None:
        return target.events[at].astype(int)
    return target.values[at].astype(int) if target.classes else np.zeros(len(at), dtype=int)


def _learnt(targets: Sequence[Target]) -> np.ndarray:
    """The target of a problem, with a leading axis of replicates where they learn different labels, and for quantities."""
    first = targets[0]
    shared = all(target is first for target in targets)
    if first.task == "regression":
        return np.stack([target.values for target in targets])
    own = [
        _ranked(target) if target.events is not None else target.values for target in ([first] if shared else targets)
    ]
    return np.array(own[0]) if shared else np.stack(own)


def _ranked(target: Target) -> np.ndarray:
    """Ranks of the times, and events."""
    assert target.events is not None
    return np.stack([np.unique(target.values, return_inverse=True)[1], target.events])


def _enough_events(events: np.ndarray, splits: Sequence[Split], samples: Samples | Cohort) -> None:
    for split in splits:
        for part, ids, least in (("training", split.train, 2), ("validation", split.validation, 1)):
            if ids and (found := int(events[samples.index(ids)].sum())) < least:
                raise ValueError(
                    f"the {part} part of split {split.name!r} has {found} events in {len(ids):,} samples; at least {least} "
                    f"{'is' if least == 1 else 'are'} needed. Stratify the splits by the event, or make the part larger."
                )


def _within_reach(samples: Samples | Cohort, ends: tuple[np.ndarray, np.ndarray], scaling: Scaling, dtype: str) -> None:
    """Refuse values, held out or not, so far from the training part that arithmetic on them overflows."""
    farthest = np.fmax(*(np.abs(end - scaling.centre) / scaling.scale for end in ends))
    if (beyond := farthest > LARGEST[dtype]).any():
        names = [samples.features[i] for i in np.flatnonzero(beyond)]
        raise ValueError(
            f"{len(names):,} features reach {np.nanmax(farthest):.3g} after scaling, which overflows in {dtype}: "
            f"{culprits(names)}. Take logarithms or other units, or look at these values."
        )


def _undo_weights(network: VisibleNetwork, i: int, codes: np.ndarray, weight: np.ndarray) -> None:
    """Let the deployed logits speak of classes as frequent as they are, although training weighed them equally."""
    log_weight = np.array(
        [np.log(weight[codes == k][0]) if (codes == k).any() else 0.0 for k in range(codes.max() + 1)]
    )
    undone = log_weight[:1] - log_weight[1:] if network.n_targets == 1 else -log_weight
    network.output_shift[: len(undone), i] = torch.from_numpy(undone)


@torch.no_grad()
def _calibrate(network: VisibleNetwork, problem: Problem) -> None:
    """Stretch predicted quantities so that the samples each replicate knows lie around the diagonal.

    Dropout and weight decay shrink what a network predicts in evaluation; slope and intercept are those of
    the least-squares line over validation samples, or training samples where there are fewer than 10.
    """
    raw = _raw(network, problem)
    for i in range(network.n_replicates):
        known = problem.validation_weight[i] > 0
        known = known if known.sum() >= 10 else problem.train_weight[i] > 0
        x, y = raw[i, known], problem.target[i, known].double()
        spread = (x - x.mean()).square().sum()
        slope = ((x - x.mean()) * (y - y.mean())).sum() / spread if spread > 0 else torch.ones(())
        if slope > 0:
            network.output_shift[:, i] += network.output_scale[:, i] * (y.mean() - slope * x.mean())
            network.output_scale[:, i] *= slope


@torch.no_grad()
def _centre(network: VisibleNetwork, problem: Problem) -> None:
    """Let the deployed log hazard ratio be 0 on average over the training samples of each replicate."""
    raw = _raw(network, problem)
    for i in range(network.n_replicates):
        network.output_shift[:, i] = -raw[i, problem.train_weight[i] > 0].mean()


def _raw(network: VisibleNetwork, problem: Problem) -> torch.Tensor:
    """The mean of the heads for every sample before it is shifted or stretched, (R, n_samples), float64."""
    raw = torch.zeros(network.n_replicates, problem.n_samples, dtype=torch.float64)
    for batch, columns, at in _pieces(problem.inputs, PREDICTED_AT_ONCE):
        covariates = None if problem.covariates is None else problem.covariates[:, at].T
        heads = network.heads(network.signal(batch), covariates)
        raw[:, at] = torch.stack(list(heads.values())).mean(0)[columns, :, 0].T.double()
    return raw


def _put(into: Any, scalings: Sequence[Scaling], means: Sequence[Scaling]) -> None:
    """Hand fitted scalings to a layer: scale and shift of its affine map, fill in raw units, the mean unless chosen."""
    centre = np.stack([s.centre for s in scalings], axis=1)
    scale = np.stack([s.scale for s in scalings], axis=1)
    fill = np.stack([m.centre if s.fill is None else s.fill for s, m in zip(scalings, means, strict=True)], axis=1)
    for buffer, values in ((into.scale, 1 / scale), (into.shift, -centre / scale), (into.fill, fill)):
        buffer.copy_(torch.from_numpy(values))


def _about(seed: int) -> dict[str, Any]:
    def of(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "not installed"

    return {
        "seed": seed,
        "versions": {name: of(name) for name in ("vnn", "torch", "numpy", "pandas")}
        | {"python": platform.python_version()},
        "backend": active_name(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }


def _write_by_content(folder: Path, stem: str, arrays: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + arrays[name].numpy().tobytes())
    name = f"{stem}-{digest.hexdigest()[:16]}.safetensors"
    if not (folder / name).exists():
        with replacing(folder / name) as part:
            save_file(arrays, part)
    return name


def _read_by_content(path: Path) -> dict[str, torch.Tensor]:
    try:
        arrays = load_file(path)
    except Exception as error:
        raise FitError(
            f"{os.fspath(path)} is missing or damaged: {error}. The fit cannot be used without it."
        ) from error
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + arrays[name].numpy().tobytes())
    if digest.hexdigest()[:16] not in path.name:
        raise FitError(f"{os.fspath(path)} was changed after it was written; its content does not match its name.")
    return arrays

"""Several traits of the same people, their networks side by side: the data are read once for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from vnn._errors import choose, culprits
from vnn.data.genotypes.cohort import Cohort
from vnn.data.samples import Samples
from vnn.data.splits import Split
from vnn.kernels import PackedPeople
from vnn.models import Recipe, VisibleNetwork
from vnn.ontology.topology import Topology
from vnn.training.design import Replicate, replicates_of
from vnn.training.fitting import Fit, Posed, finished, inputs_of, pose, rows_of, settled, tempered
from vnn.training.loop import Listener, Record, Trainer
from vnn.training.problem import Problem
from vnn.training.settings import Training
from vnn.training.spread import ChunkTrainer

CLASSES = ("binary", "multiclass")


def fit_traits(
    topology: Topology,
    samples: Samples | Cohort,
    *,
    targets: Sequence[str],
    splits: Sequence[Split],
    events: Mapping[str, str] | None = None,
    tasks: Mapping[str, str] | None = None,
    classes: Mapping[str, Sequence[str]] | None = None,
    n_seeds: int = 1,
    recipe: Recipe | None = None,
    training: Training | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
    listener: Listener | None = None,
    at_once: int | None = None,
) -> dict[str, Fit]:
    """The `fit` of each of several traits, trained side by side where their tasks are alike.

    Every trait has networks of its own, and each batch is read once for all. Who has no value of a trait takes no part in it, not
    in its scaling, its training or its splits, and is counted in its log. A trait of everybody gets the very networks that `fit`
    gives it alone; one that some people lack gets those of batches that are cut from all people. Nodes are not shared between
    traits.

    Parameters
    ----------
    topology, samples, n_seeds, recipe, training, seed, listener, at_once
        As for `fit`.
    targets
        Columns of `samples.targets`, with missing values where a trait is not known.
    splits
        Of all people; each trait keeps of every part those it is known of.
    events, tasks, classes
        As `event`, `task` and `classes` of `fit`, by target, for those that need them.
    checkpoint
        File from which an interrupted run goes on; there is one for each kind of task, its number behind the name.

    Returns
    -------
    By target, in the order asked for.

    Raises
    ------
    ValueError
        If a target is named twice, or options name a target that is not asked for.
    """
    if len(set(targets)) < len(targets) or not targets:
        raise ValueError(f"`targets` are {culprits(targets) or 'none'}; name at least one, and each once.")
    for option in (events, tasks, classes):
        for name in option or {}:
            choose("a target", name, tuple(targets))
    recipe, training = recipe or Recipe(), training or Training()
    planned = replicates_of(splits, n_seeds)
    ordered = samples.select(topology.inputs, sorted(samples.ids))
    inputs, _ = inputs_of(ordered, getattr(torch, training.dtype))
    alike: dict[object, list[_Trait]] = {}
    for name in targets:
        event = (events or {}).get(name)
        for column in (name, event):
            if column is not None:
                choose("a target", column, tuple(map(str, samples.targets.columns)))
        known = ordered.targets[[name] if event is None else [name, event]].notna().all(axis=1)
        own = ordered.select(ids=[i for i, there in zip(ordered.ids, known, strict=True) if there])
        kept = tuple(_kept(split, set(own.ids)) for split in splits)
        posed = pose(
            topology, own, target=name, event=event, splits=kept, planned=planned, chunk=planned, recipe=recipe,
            training=training, task=(tasks or {}).get(name), classes=(classes or {}).get(name), seed=seed,
        )  # fmt: skip
        place = None if isinstance(ordered, Cohort) else ordered.index(own.ids)
        left = ordered.n_samples - own.n_samples
        log = (f"{name}: {left:,} of {len(known):,} samples have no value and take no part in it",) if left else ()
        trait = _Trait(name, kept, log, _laid(posed, inputs, place))
        key = (posed.target.task, posed.target.n_outputs, posed.coding)
        alike.setdefault(key, []).append(trait)
    found: dict[str, Fit] = {}
    for number, traits in enumerate(alike.values()):
        file = None if checkpoint is None else checkpoint.with_name(f"{checkpoint.name}.{number}")
        network, problem = _side_by_side(traits)
        trainer: Trainer | ChunkTrainer
        if at_once is None:
            trainer = Trainer(network, problem, training, seed=seed, checkpoint=file)
        else:
            trainer = ChunkTrainer(network, problem, training, seed=seed, checkpoint=file, at_once=at_once)
        networks = trainer.run(listener)
        rows = rows_of(planned, planned, training, recipe)
        for i, trait in enumerate(traits):
            at = range(i * len(planned), (i + 1) * len(planned))
            mine = replace(trait.posed, problem=problem.keep(at))
            trained = settled(mine, _named(networks, at, planned), _part(trainer.record, at, planned), rows)
            about = {"null": "", "log": [*ordered.log, *trait.log]}
            made = finished(mine, trained, ordered, trait.splits, training, about)
            found[trait.name] = tempered(made, ordered)
    return {name: found[name] for name in targets}


@dataclass(frozen=True, eq=False)
class _Trait:
    """One of them: the splits of those who have it, how many lack it, and what is learnt of it, people in the places of all."""

    name: str
    splits: tuple[Split, ...]
    log: tuple[str, ...]
    posed: Posed


def _kept(split: Split, known: set[str]) -> Split:
    train, validation, test = (
        tuple(i for i in part if i in known) for part in (split.train, split.validation, split.test)
    )
    return Split(split.name, train, validation, test)


def _laid(posed: Posed, inputs: torch.Tensor | PackedPeople, place: np.ndarray | None) -> Posed:
    """With the inputs of everybody; people stand where they stand among all, and others weigh nothing."""
    old = posed.problem
    n = inputs.shape[1]

    def laid(values: torch.Tensor) -> torch.Tensor:
        if place is None:
            return values
        made = values.new_zeros(*values.shape[:-1], n)
        made[..., torch.from_numpy(place)] = values
        return made

    each = torch.stack([old.target_of(slice(r, r + 1)) for r in range(len(old.train_weight))])
    problem = Problem(
        inputs,
        None if old.covariates is None else laid(old.covariates),
        laid(each.reshape(len(each), *each.shape[-2 if old.task == "cox" else -1 :])),
        old.task,
        laid(old.train_weight),
        laid(old.validation_weight),
        old.universe if place is None else place[old.universe],
    )
    return replace(posed, problem=problem)


def _side_by_side(traits: Sequence[_Trait]) -> tuple[VisibleNetwork, Problem]:
    """The networks of all traits as one, and what they learn."""
    networks = [trait.posed.network for trait in traits]
    problems = [trait.posed.problem for trait in traits]
    first, names = networks[0], [f"{t.name}: {name}" for t in traits for name in t.posed.network.replicate_names]
    network = VisibleNetwork(
        first.topology, first.recipe, n_targets=first.n_targets, replicates=names, seed=first.seed,
        n_covariates=first.n_covariates, partners=[name for one in networks for name in one.replicate_names],
    ).to(first.output_scale.dtype)  # fmt: skip
    states = [one.state_dict() for one in networks]
    network.load_state_dict({name: torch.cat([state[name] for state in states], dim=-1) for name in states[0]})
    network.imputes = any(one.imputes for one in networks)
    covariates = problems[0].covariates
    for one in problems[1:]:
        if covariates is not None and one.covariates is not None:
            learns = ((one.train_weight > 0) | (one.validation_weight > 0)).any(0)
            covariates = torch.where(learns, one.covariates, covariates)
    problem = Problem(
        problems[0].inputs,
        covariates,
        torch.cat([one.target for one in problems]),
        problems[0].task,
        torch.cat([one.train_weight for one in problems]),
        torch.cat([one.validation_weight for one in problems]),
        np.unique(np.concatenate([one.universe for one in problems])),
    )
    return network, problem


def _named(networks: VisibleNetwork, at: Iterable[int], planned: Sequence[Replicate]) -> VisibleNetwork:
    """Some replicates under the names they have in the study of their trait."""
    made = networks.replicates(list(at))
    made.replicate_names = tuple(replicate.id for replicate in planned)
    return made


def _part(record: Record, at: Sequence[int], planned: Sequence[Replicate]) -> Record:
    """What is known of some replicates."""
    names = tuple(replicate.id for replicate in planned)
    history = [{what: [values[i] for i in at] for what, values in row.items()} for row in record.history]
    return Record(
        names,
        [record.state[i] for i in at],
        [record.best_epoch[i] for i in at],
        [record.best_loss[i] for i in at],
        [record.waited[i] for i in at],
        history,
    )

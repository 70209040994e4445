"""Search: settings as replicates of one program, most of which are let go early for their validation loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from vnn._errors import FitError, culprits
from vnn.chance import generator
from vnn.data.genotypes import Cohort
from vnn.data.samples import Samples
from vnn.data.splits import Split
from vnn.models import Recipe
from vnn.ontology.topology import Topology
from vnn.training.design import Replicate
from vnn.training.fitting import pose
from vnn.training.loop import Listener, Trainer
from vnn.training.settings import Setting, Training

LOGARITHMIC = ("lr", "weight_decay")
AT_ONCE = 256


def _ascending(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"the lower bound {bounds[0]:g} is above the upper bound {bounds[1]:g}")
    return bounds


Positive = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Scale = Annotated[tuple[Positive, Positive], AfterValidator(_ascending)] | Literal["fixed"]
Rates = Annotated[tuple[Rate, Rate], AfterValidator(_ascending)] | Literal["fixed"]


class Space(BaseModel):
    """Between which bounds settings are drawn; "fixed" leaves a number as the study states it.

    Parameters
    ----------
    lr, weight_decay
        Drawn evenly over their logarithms.
    dropout, input_dropout
        Drawn evenly.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lr: Scale = (3e-4, 3e-2)
    weight_decay: Scale = (0.1, 10.0)
    dropout: Rates = (0.0, 0.5)
    input_dropout: Rates = (0.0, 0.8)

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Of everything that is drawn."""
        return {name: held for name, held in self if held != "fixed"}


@dataclass(frozen=True)
class Rung:
    """A stage of successive halving.

    Parameters
    ----------
    epochs
        Until which it trains.
    n
        Candidates that train in it.
    """

    epochs: int
    n: int


@dataclass(frozen=True)
class Candidate:
    """What may be chosen.

    Parameters
    ----------
    number, program
        Of its setting, and of its recipe.
    setting
        With every number stated.
    recipe
        Dropout rates are those of `setting`.
    """

    number: int
    program: int
    setting: Setting
    recipe: Recipe


@dataclass(frozen=True, eq=False)
class Search:
    """What a search tried, and what it chose.

    Parameters
    ----------
    table
        A row per split and candidate: split, recipe, setting, lr, weight_decay, dropout, input_dropout, bootstrap; rung (the last
        it trained in), epochs, validation (lowest validation loss, the mean over seeds; missing where it diverged), state
        ("dropped", "stopped" early, "finished", "diverged"), chosen.
    chosen
        The candidate of each split. Its validation part alone decided, so no sample that the split holds out had a say.
    """

    table: pd.DataFrame
    chosen: Mapping[str, Candidate]

    @property
    def loss(self) -> float:
        """Validation loss of what was chosen, the mean over splits."""
        return float(self.table.loc[self.table["chosen"], "validation"].mean())

    @property
    def settings(self) -> dict[str, Setting]:
        """The setting of each split, as `fit` takes it."""
        return {name: candidate.setting for name, candidate in self.chosen.items()}

    @property
    def common(self) -> Candidate:
        """The candidate most splits chose; the first of several.

        With more than one split, the samples that one holds out have decided in another: performance that is measured with this
        candidate on the same splits flatters it.
        """
        counts = Counter((c.program, c.number) for c in self.chosen.values())
        most = min(counts, key=lambda key: (-counts[key], key))
        return next(c for c in self.chosen.values() if (c.program, c.number) == most)


def drawn_settings(space: Space, n: int, *, seed: int) -> tuple[Setting, ...]:
    """The first `n` settings of a space; the very first is what the study states.

    Each number depends on seed, its name and the number of its setting alone: more settings leave the first as they are.
    """
    if n < 1:
        raise ValueError(f"`n` is {n}; a search needs at least one setting.")

    def value(number: int, name: str, low: float, high: float) -> float:
        share = generator(seed, "setting", number, name).random()
        found = low * (high / low) ** share if name in LOGARITHMIC else low + share * (high - low)
        return float(np.clip(found, low, high))

    bounds = space.bounds.items()
    return tuple(Setting.model_validate({name: value(k, name, *ends) for name, ends in bounds if k}) for k in range(n))


def rungs(n: int, epochs: int, *, eta: int = 3, first: int = 5) -> tuple[Rung, ...]:
    """Stages of successive halving, each of which trains one of `eta` candidates of the last, `eta` times as long.

    The last trains at least two candidates, where there are two, for all epochs.

    Parameters
    ----------
    n
        Candidates.
    epochs
        Of the last stage.
    eta
        At least 2.
    first
        Least epochs of the first stage.

    References
    ----------
    Jamieson & Talwalkar (2016), arXiv:1502.07943

    Examples
    --------
    >>> [(rung.epochs, rung.n) for rung in rungs(27, 200)]
    [(22, 27), (66, 9), (200, 3)]
    """
    if eta < 2 or n < 1 or epochs < 1 or first < 1:
        raise ValueError(f"n is {n}, epochs {epochs}, eta {eta}, first {first}; eta must be at least 2, the others 1.")
    halvings = 0
    while n // eta ** (halvings + 1) >= 2 and epochs // eta ** (halvings + 1) >= first:
        halvings += 1
    return tuple(Rung(epochs // eta ** (halvings - i), n // eta**i) for i in range(halvings + 1))


def search(
    topology: Topology,
    samples: Samples | Cohort,
    *,
    target: str,
    splits: Sequence[Split],
    space: Space | None = None,
    n: int = 27,
    settings: Sequence[Setting] | None = None,
    recipes: Recipe | Sequence[Recipe] | None = None,
    training: Training | None = None,
    event: str | None = None,
    task: str | None = None,
    classes: Sequence[str] | None = None,
    n_seeds: int = 1,
    eta: int = 3,
    first: int = 5,
    seed: int = 0,
    at_once: int = AT_ONCE,
    checkpoint: Path | None = None,
    listener: Listener | None = None,
) -> Search:
    """Choose learning rate, weight decay and dropout for every split by its validation part.

    All settings of all splits are replicates of one program that reads the data once. They start from the same weights, see the
    same batches, and are cut back by successive halving; what is dropped costs nothing more. A split chooses for itself: a sample
    that it holds out may validate another split, so one choice for all would have seen it.

    Parameters
    ----------
    topology, samples, target, event, splits, task, classes, seed
        As for `fit`. Every split needs a validation part.
    space, n
        Where settings are drawn, and how many; the first is what `training` and the recipe say.
    settings
        These instead of drawn ones.
    recipes
        One or several; each has a program of its own, and all settings are tried in each.
    training
        How they are trained; `epochs` are those of the last rung.
    n_seeds
        Networks of each setting and split.
    eta, first
        See `rungs`.
    at_once
        Most replicates side by side; with more, splits are searched one group after the other, which changes no bit.
    checkpoint
        Path whose name begins those of the files from which an interrupted search goes on. They are left to the caller to remove.
    listener
        Told after every epoch of every program.

    Raises
    ------
    ValueError
        If a split has no validation part, or as for `fit`.
    FitError
        If all settings of a split diverged.
    """
    if without := [split.name for split in splits if not split.validation]:
        raise ValueError(
            f"{len(without)} of {len(splits)} splits have no validation part: {culprits(without)}. A search is judged by it, as "
            "held-out samples must not decide; make the splits with `validation` above 0."
        )
    training = training or Training()
    listed = (recipes or Recipe(),) if not isinstance(recipes, Sequence) else tuple(recipes)
    tried = drawn_settings(space or Space(), n, seed=seed) if settings is None else tuple(settings)
    if not tried or not listed or not splits:
        raise ValueError(
            f"there are {len(tried)} settings, {len(listed)} recipes and {len(splits)} splits; at least one of each is needed."
        )
    stages = rungs(len(tried) * len(listed), training.epochs, eta=eta, first=first)
    size = max(at_once // (len(tried) * n_seeds), 1)
    halved = []
    for begin in range(0, len(splits), size):
        group = splits[begin : begin + size]
        chunk = _replicates(group, n_seeds, tried)
        programs = []
        for i, recipe in enumerate(listed):
            posed = pose(
                topology, samples, target=target, event=event, splits=splits, planned=chunk, chunk=chunk, recipe=recipe,
                training=training, task=task, classes=classes, seed=seed,
            )  # fmt: skip
            file = None if checkpoint is None else checkpoint.with_name(f"{checkpoint.name}-{begin}-{i}")
            own = [r.setting for r in chunk]
            trainer = Trainer(posed.network, posed.problem, training, seed=seed, checkpoint=file, own=own)
            trainer.resume()
            programs.append(trainer)
        halved += [_Halving(split, programs, chunk, len(tried)) for split in group]
        _halve(halved[-len(group) :], programs, stages, listener)
    table = pd.concat([one.table(stages) for one in halved], ignore_index=True)
    return Search(table, {one.split.name: one.best() for one in halved})


def _replicates(splits: Sequence[Split], n_seeds: int, settings: Sequence[Setting]) -> tuple[Replicate, ...]:
    """Every setting for every split and seed; those of a split and seed share their chance."""
    return tuple(
        Replicate(f"{(name := f'{split.name}, seed {s}')}, setting {k}", "real", name, s, split.name, None, setting)
        for split, s, (k, setting) in product(splits, range(n_seeds), enumerate(settings))
    )


def _halve(
    halved: Sequence[_Halving], programs: Sequence[Trainer], stages: Sequence[Rung], listener: Listener | None
) -> None:
    for number, stage in enumerate(stages):
        for program in programs:
            program.train(stage.epochs, listener)
            if program.checkpoint is not None:
                program.save()
        if number + 1 < len(stages):
            gone = [one.judge(stage.epochs, stages[number + 1].n) for one in halved]
            for i, program in enumerate(programs):
                program.drop([at for own in gone for at in own[i]])


class _Halving:
    """The candidates of one split, pairs of program and setting.

    What is known of a candidate at an epoch is read from the history up to it, so that it is the same whether or
    not a program was resumed from a later one.
    """

    def __init__(self, split: Split, programs: Sequence[Trainer], chunk: Sequence[Replicate], n_settings: int) -> None:
        self.split, self.programs = split, programs
        self.candidates = [(i, k) for i in range(len(programs)) for k in range(n_settings)]
        self.rung = dict.fromkeys(self.candidates, 0)
        mine = [at for at, replicate in enumerate(chunk) if replicate.split == split.name]
        self._at = {(i, k): mine[k::n_settings] for i, k in self.candidates}
        self._living = list(self.candidates)

    def judge(self, epochs: int, n: int) -> list[list[int]]:
        """Let only the best `n` go on; by program the positions of the replicates that do not."""
        ranked = sorted(self._living, key=lambda candidate: (self.loss(candidate, epochs), candidate))
        self._living = ranked[:n]
        for candidate in self._living:
            self.rung[candidate] += 1
        gone = ranked[n:]
        return [[at for one in gone if one[0] == i for at in self._at[one]] for i in range(len(self.programs))]

    def loss(self, candidate: tuple[int, int], epochs: int) -> float:
        """Mean over seeds of the lowest validation loss until an epoch; infinite where one diverged by then."""
        record, found = self.programs[candidate[0]].record, []
        for at in self._at[candidate]:
            known = [row["validation"][at] for row in record.history[:epochs] if np.isfinite(row["validation"][at])]
            short = record.state[at] == "diverged" and len(known) < epochs
            found.append(np.inf if short or not known else min(known))
        return float(np.mean(found))

    def best(self) -> Candidate:
        """The one with the lowest loss of those in the last rung."""
        last = self.programs[0].settings.epochs
        ranked = sorted(self._living, key=lambda candidate: (self.loss(candidate, last), candidate))
        if np.isinf(self.loss(ranked[0], last)):
            raise FitError(
                f"all settings of split {self.split.name!r} diverged; lower the bounds of lr, or set training.clip."
            )
        return self._candidate(ranked[0])

    def _candidate(self, candidate: tuple[int, int]) -> Candidate:
        i, k = candidate
        program = self.programs[i]
        setting = program.own[self._at[candidate][0]]
        rates = {"dropout": setting.dropout, "input_dropout": setting.input_dropout}
        return Candidate(k, i, setting, program.full.recipe.model_copy(update=rates))

    def table(self, stages: Sequence[Rung]) -> pd.DataFrame:
        """A row per candidate."""
        best, rows = self.best(), []
        for candidate in self.candidates:
            i, k = candidate
            record, loss = self.programs[i].record, self.loss(candidate, stages[self.rung[candidate]].epochs)
            states = [record.state[at] for at in self._at[candidate]]
            state = next((s for s in ("diverged", "dropped", "training") if s in states), "stopped")
            ran = [sum(np.isfinite(row["validation"][at]) for row in record.history) for at in self._at[candidate]]
            row: dict[str, Any] = {"split": self.split.name, "recipe": i, "setting": k}
            row |= self._candidate(candidate).setting.model_dump()
            row |= {
                "rung": self.rung[candidate],
                "epochs": max(ran),
                "validation": loss if np.isfinite(loss) else np.nan,
            }
            row |= {
                "state": "finished" if state == "training" else state,
                "chosen": (i, k) == (best.program, best.number),
            }
            rows.append(row)
        return pd.DataFrame(rows)

"""The null networks of a study: trained chunk by chunk, each chunk a fit of its own in the study's folder."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vnn._errors import StudyError
from vnn.data import Samples, Split, half_samples
from vnn.data.genotypes import Cohort
from vnn.data.splits import half_of
from vnn.models import VisibleNetwork
from vnn.ontology.rewiring import why_no_shift
from vnn.study.folder import chosen_settings, common_setting
from vnn.study.material import Material, places_of, stratum_of, together_of
from vnn.study.settings import Study
from vnn.study.train import train
from vnn.training import Fit
from vnn.training.design import NULLS, replicates_of
from vnn.training.evaluation import replicate_scores
from vnn.training.fitting import MANIFEST
from vnn.training.loop import Listener
from vnn.training.metrics import METRIC
from vnn.training.null import placed
from vnn.training.paired import rank_p
from vnn.training.spread import spread

FOLDER = "nulls"
HALVES = "half_samples"
CHECKPOINT = ".checkpoint"
EQUALISED = "equalised"
STATES = 5
SHARE_OF_MEMORY = 0.25
MOST_AT_ONCE = 256


REWIRED, SHIFTED = "rewired", "shifted"
NOWHERE = ("0", "")


@dataclass(frozen=True)
class Chunk:
    """Networks that are trained side by side and kept together.

    Parameters
    ----------
    kind
        One of `NULLS`, or "half_samples".
    draws
        Numbers of its draws, or of its pairs of half-samples.
    """

    kind: str
    draws: tuple[int, ...]

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.kind}-{self.draws[0]:04d}-{self.draws[-1]:04d}"


def at_once(study: Study, material: Material) -> int:
    """How many networks a process trains side by side: those asked for, or what its part of a quarter of the free memory holds.

    Raises
    ------
    StudyError
        If the free memory does not hold one.
    """
    if study.nulls.at_once is not None:
        return study.nulls.at_once
    one = VisibleNetwork(material.topology, study.network, n_targets=material.target.n_outputs)
    weights = sum(parameter.numel() for parameter in one.parameters())
    each = STATES * weights * np.dtype(study.training.dtype).itemsize
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if each * study.nulls.workers > free:
        raise StudyError(
            f"a network of {weights:,} weights takes {each / 2**20:,.0f} MB to train, in each of {study.nulls.workers} processes, "
            f"and {free / 2**20:,.0f} MB of memory are free. Ask for fewer workers, larger ontology.min_genes or fewer inputs, "
            "or free memory; nulls.at_once = 1 tries in any case."
        )
    return int(np.clip(SHARE_OF_MEMORY * free // max(each * study.nulls.workers, 1), 1, MOST_AT_ONCE))


@dataclass(frozen=True)
class WiringNull:
    """The null of the wiring that the design of a study draws.

    Parameters
    ----------
    kind
        "shifted" for genotypes whose variants can be shifted along their chromosomes, else "rewired".
    instead
        Of a study of genotypes that rewires because they cannot be: a sentence that says why.
    """

    kind: str
    instead: str = ""


def wiring_null(study: Study, material: Material) -> WiringNull:
    """Which null of the wiring a study draws.

    Raises
    ------
    StudyError
        If the study itself asks for shifts, and there are not as many.
    """
    asked = study.nulls
    by_design = study.genotypes is not None and asked.design is not None and asked.rewired is None
    if not asked.shifted and (asked.shifted is not None or not by_design):
        return WiringNull(SHIFTED if asked.shifted == 0 and by_design else REWIRED)
    n_draws = asked.n_draws(SHIFTED, SHIFTED)
    if not (why := _no_shift(study, material, range(n_draws))):
        return WiringNull(SHIFTED)
    if asked.shifted:
        raise StudyError(f"nulls.shifted cannot be drawn: {why}. Ask for nulls.rewired = {n_draws} instead.")
    return WiringNull(
        REWIRED, f"Connections are rewired, as variants could not be shifted along their chromosomes: {why}."
    )


def _no_shift(study: Study, material: Material, draws: Sequence[int]) -> str:
    """Why variants cannot be shifted; empty where they can."""
    held = placed(material.topology, places_of(study, material))
    chromosome, position = held["chromosome"], held["position"].to_numpy(dtype=float)
    lost = chromosome.isna().to_numpy() | ~np.isfinite(position)
    if study.nulls.places is None:  # as genotypes tell that a place is not known
        lost |= chromosome.astype(str).isin(NOWHERE).to_numpy() | (position <= 0)
    if lost.any():
        return f"{int(lost.sum()):,} of {len(lost):,} inputs have no place on the genome"
    return why_no_shift(material.topology, list(chromosome), position, seed=study.seed, draws=draws)


def missing_chunks(study: Study, material: Material, folder: Path) -> list[Chunk]:
    """What is still to be trained: draws that no chunk in the folder holds, whole draws together, those begun as they were."""
    chunks: list[Chunk] = []
    room, wiring = 0, wiring_null(study, material).kind
    for kind in (*NULLS, HALVES):
        there = {draw for chunk in finished(folder) if chunk.kind == kind for draw in chunk.draws}
        draws = [draw for draw in range(study.nulls.n_draws(kind, wiring)) if draw not in there]
        for chunk in begun(folder):
            if chunk.kind == kind and set(chunk.draws) <= set(draws):
                chunks.append(chunk)
                draws = [draw for draw in draws if draw not in chunk.draws]
        if not draws:
            continue
        room = room or at_once(study, material)
        several = 1 if kind == EQUALISED else max(room // per_draw(study, material, kind), 1)
        if kind != HALVES:  # whose weak activities follow the first of their chunk
            several = min(several, max(-(-len(draws) // study.nulls.workers), 1))
        chunks += [Chunk(kind, run[i : i + several]) for run in _runs(draws) for i in range(0, len(run), several)]
    return chunks


def _runs(draws: Sequence[int]) -> list[tuple[int, ...]]:
    """Draws cut where numbers between them are missing, as the name of a chunk says its first and last only."""
    cuts = [0, *(i for i in range(1, len(draws)) if draws[i] != draws[i - 1] + 1), len(draws)]
    return [tuple(draws[first:last]) for first, last in pairwise(cuts) if first < last]


def finished(folder: Path) -> list[Chunk]:
    """The chunks whose fit was written."""
    return [_named(manifest.parent.name) for manifest in sorted((folder / FOLDER).glob(f"*/{MANIFEST}"))]


def begun(folder: Path) -> list[Chunk]:
    """The chunks whose training was interrupted."""
    return [
        _named(path.name[1:].removesuffix(CHECKPOINT)) for path in sorted((folder / FOLDER).glob(f".*{CHECKPOINT}"))
    ]


def _checkpoint(folder: Path, chunk: Chunk) -> Path:
    return folder / FOLDER / f".{chunk.name}{CHECKPOINT}"


def _named(name: str) -> Chunk:
    kind, first, last = name.rsplit("-", 2)
    return Chunk(kind, tuple(range(int(first), int(last) + 1)))


def train_nulls(
    study: Study,
    material: Material,
    folder: Path,
    listener: Listener | None,
    tell: Callable[[str], None],
    *,
    together: bool = False,
) -> None:
    """Train the chunks that are missing; each is kept as soon as it is done, and one that was interrupted goes on.

    With `nulls.workers` they are trained in as many processes, each a chunk at a time; with `together` those that follow the
    study take part in every chunk.
    """
    for chunk in {*begun(folder)} & {*finished(folder)}:  # killed after its fit was written
        _checkpoint(folder, chunk).unlink(missing_ok=True)
    chunks, asked = missing_chunks(study, material, folder), study.nulls
    if any(chunk.kind == REWIRED for chunk in chunks) and (instead := wiring_null(study, material).instead):
        tell(instead)
    if chunks:
        (folder / FOLDER).mkdir(exist_ok=True)
    if asked.workers > 1 and len(chunks) > 1:
        begin = f"training null networks in {min(asked.workers, len(chunks))} processes"
        tell(f"{begin}: 0 of {len(chunks)} chunks done")
        done = spread(
            _train_chunk, {_words(chunk): chunk for chunk in chunks}, shared=(study, material, folder), workers=asked.workers,
            backend=asked.backend,
        )  # fmt: skip
        began, sizes = time.monotonic(), _sizes(study, material, chunks)
        for number, (name, _) in enumerate(done, 1):
            left = _left(began, sizes, number) if number < len(chunks) else ""
            tell(f"{begin}: {number} of {len(chunks)} chunks done, last {name}{left}")
        return
    began, sizes = time.monotonic(), _sizes(study, material, chunks)
    for number, chunk in enumerate(chunks, 1):
        tell(
            f"training null networks: {_words(chunk)}, chunk {number} of {len(chunks)}{_left(began, sizes, number - 1)}"
        )
        _train_chunk(study, material, folder, chunk, listener, together)


def per_draw(study: Study, material: Material, kind: str) -> int:
    """Networks of a draw: one per seed and split, and of a pair of half-samples one per seed and half."""
    return study.n_seeds * (2 if kind == HALVES else len(material.splits))


def _sizes(study: Study, material: Material, chunks: Sequence[Chunk]) -> list[int]:
    return [len(chunk.draws) * per_draw(study, material, chunk.kind) for chunk in chunks]


def _left(began: float, sizes: Sequence[int], n_done: int) -> str:
    """The time left for chunks of these sizes, once some are done."""
    if not (done := sum(sizes[:n_done])):
        return ""
    return f", about {duration((time.monotonic() - began) / done * sum(sizes[n_done:]))} left"


def duration(seconds: float) -> str:
    """A time in words."""
    if seconds < 90:
        n = max(round(seconds), 1)
        return f"{n} second{'s' if n > 1 else ''}"
    return f"{round(seconds / 60)} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _words(chunk: Chunk) -> str:
    return chunk.name.replace("_", " ")


def _train_chunk(
    study: Study,
    material: Material,
    folder: Path,
    chunk: Chunk,
    listener: Listener | None = None,
    together: bool = False,
) -> None:
    checkpoint = _checkpoint(folder, chunk)
    made = train(
        study,
        material,
        checkpoint=checkpoint,
        listener=listener,
        together=together,
        **_which(study, material, folder, chunk),
    )
    made.save(folder / FOLDER / chunk.name)
    checkpoint.unlink(missing_ok=True)


def _which(study: Study, material: Material, folder: Path, chunk: Chunk) -> dict[str, Any]:
    if chunk.kind == HALVES:
        splits = halves_of(study, material.samples)
        names = {split.name for split in splits if (half := half_of(split.name)) and half[0] in chunk.draws}
        only = [r.id for r in replicates_of(splits, study.n_seeds) if r.split in names]
        return {"splits": splits, "only": only, "settings": common_setting(folder)}
    unit = study.nulls.unit or study.splits.group
    return {
        "kind": chunk.kind, "draws": chunk.draws, "unit": unit if chunk.kind == "labels" else None,
        "places": places_of(study, material) if chunk.kind == "shifted" else None,
        "settings": chosen_settings(folder),
    }  # fmt: skip


def halves_of(study: Study, samples: Samples | Cohort) -> tuple[Split, ...]:
    """The half-samples a study asks for."""
    return half_samples(
        samples.ids, pairs=study.nulls.n_draws(HALVES), validation=study.splits.validation, seed=study.seed,
        stratify=stratum_of(study, samples), groups=together_of(study, samples),
    )  # fmt: skip


def null_fits(folder: Path, material: Material) -> Iterator[tuple[Chunk, Fit]]:
    """The chunks of a study's folder one after the other, so that one is in memory at a time."""
    for chunk in finished(folder):
        yield chunk, Fit.load(folder / FOLDER / chunk.name, material.topology)


def null_table(folder: Path, material: Material, trained: Fit) -> pd.DataFrame:
    """Held-out score of every network, real and null, on the labels it learnt.

    Returns
    -------
    Columns kind ("real", one of `NULLS` or "half_samples"), draw, split, seed, state, value (the headline
    metric); `attrs` hold "headline" and "words" (by kind what was changed).
    """
    tables = [replicate_scores(trained, material.samples).assign(kind="real", draw=None)]
    words = {}
    for chunk, held in null_fits(folder, material):
        rows = replicate_scores(held, material.samples)
        if chunk.kind == HALVES:
            rows["draw"] = [half[0] for split in rows["split"] if (half := half_of(split))]
        tables.append(rows.assign(kind=chunk.kind))
        words[chunk.kind] = held.about["null"] or "complementary halves of the samples"
    table = pd.concat(tables, ignore_index=True)[["kind", "draw", "split", "seed", "state", "value"]]
    table["draw"] = table["draw"].astype("Int64")
    table.attrs = {"headline": METRIC[trained.target.task], "words": words}
    return table


def null_summary(table: pd.DataFrame) -> pd.DataFrame:
    """The real networks beside each kind of null.

    A draw counts once: its value is the mean over its seeds and splits, as that of the real networks is.

    Returns
    -------
    Columns kind, n_draws, real, mean, low, high (2.5 % and 97.5 % of the draws), p (one-sided, of at least the real value
    under the null; missing for "equalised", whose inputs are made to predict), smallest_p, n_missing (networks without a value).
    """
    real = table.loc[table["kind"] == "real", "value"].groupby(table["split"]).mean().mean()
    rows = []
    for kind in NULLS:
        own = table[table["kind"] == kind]
        if not len(own):
            continue
        draws = own.groupby(["draw", "split"])["value"].mean().groupby("draw").mean().to_numpy(dtype=float)
        low, high = np.nanquantile(draws, [0.025, 0.975])
        known = kind != EQUALISED and np.isfinite(real) and np.isfinite(draws).all()
        p = rank_p(float(real), draws) if known else np.nan
        n_missing = int(own["value"].isna().sum())
        rows.append((kind, len(draws), real, np.nanmean(draws), low, high, p, 1 / (len(draws) + 1), n_missing))
    columns = ["kind", "n_draws", "real", "mean", "low", "high", "p", "smallest_p", "n_missing"]
    return pd.DataFrame(rows, columns=columns)


def in_words(table: pd.DataFrame, summary: pd.DataFrame) -> Sequence[str]:
    """A sentence for each kind of null."""
    headline, found = table.attrs["headline"], []
    for row in summary.to_dict("records"):
        rank = f"p = {row['p']:.3g}"
        if row["kind"] == EQUALISED:
            rank = "which is no test of them: these inputs are made to predict"
        elif math.isnan(row["p"]):
            rank = f"without a p: {row['n_missing']} networks of these draws have no value"
        elif math.isclose(row["p"], row["smallest_p"]):
            rank += " (the smallest these draws can give)"
        found.append(
            f"{NULLS[row['kind']].capitalize()}, {row['n_draws']} draws: held-out {headline} {row['mean']:.3f} on average, 95 % of "
            f"draws between {row['low']:.3f} and {row['high']:.3f}; the real networks reach {row['real']:.3f}, {rank}. "
            f"{table.attrs['words'][row['kind']].splitlines()[0].capitalize()}."
        )
    return found

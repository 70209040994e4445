"""The verdict of a study: every network scored once and kept, then judged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vnn.data import Samples
from vnn.data.genotypes import Cohort
from vnn.interpret.grouping import Loci, Relations, grouped, without
from vnn.interpret.methods import Method
from vnn.interpret.scored import Scored, scored
from vnn.interpret.trivial import structure
from vnn.interpret.verdict import LABELS, PROPAGATION, WIRINGS, Informative, Verdict, judge
from vnn.study.material import Material
from vnn.study.nulls import FOLDER as NULLS
from vnn.study.nulls import HALVES, REWIRED, finished, wiring_null
from vnn.study.settings import Study
from vnn.training import Fit
from vnn.training.interval import ratio_of

FOLDER = "scores"
SCORES = "scores and correlations"
BESIDE = (
    "deeplift",
    "integrated gradients",
    "gradient x difference",
    "ablation",
    "lrp-gamma",
    "weight products",
)
COVARIATES_ONLY = "covariates only"


def judged(
    study: Study,
    material: Material,
    trained: Fit,
    folder: Path,
    compared: pd.DataFrame,
    summary: pd.DataFrame,
    tell: Callable[[str], None],
    loci: Loci | None = None,
) -> tuple[Verdict, Scored]:
    """Score all networks of a study's folder and judge every node.

    Parameters
    ----------
    study, material, trained, folder
        The study, what it read, its real networks, and where its nulls are.
    compared, summary
        Gains over baselines, and the real networks beside each null.
    tell
        Told what is scored.
    loci
        Of the genes of a genotype study.

    Returns
    -------
    The verdict with its groups, and the scores it rests on.
    """
    samples = material.samples.select(ids=sorted(trained.ids))
    found, scores = judge(
        partial(all_scored, study, material, trained, samples, folder, tell),
        informative=informative(compared, summary),
        thresholds=study.verdict,
        structure=structure(material.topology, samples),
        ratio=ratio_of(trained.splits),
        seed=study.seed,
        variants=study.genotypes is not None,
    )
    left = without(trained, samples, PROPAGATION, **_baseline(study))
    if found.wiring == REWIRED and (instead := wiring_null(study, material).instead):
        found = replace(found, left_out=(*found.left_out, instead))
    return grouped(found, Relations(material.topology), left, loci), scores


def informative(compared: pd.DataFrame, summary: pd.DataFrame) -> Informative:
    """Whether the networks predict, from what the study measured."""
    labels = summary.loc[summary["kind"] == LABELS, ["p", "smallest_p"]]
    alone = compared[compared["model"] == COVARIATES_ONLY]
    p = np.nan
    if len(alone):
        row = alone.iloc[0]
        p = row["p"] / 2 if row["gain"] > 0 else 1 - row["p"] / 2
    found, smallest = labels.iloc[0] if len(labels) else (np.nan, 0.0)
    return Informative(float(found), float(p), float(smallest))


def all_scored(
    study: Study,
    material: Material,
    trained: Fit,
    samples: Samples | Cohort,
    folder: Path,
    tell: Callable[[str], None],
    method: Method,
) -> Scored:
    """Scores of the real networks and of every chunk; those that were scored before are read."""
    kept = folder / FOLDER / f"{method.name}-{_identity(study, method)}"

    def once(name: str, fit: Callable[[], Fit]) -> Scored:
        path = kept / f"{name}.npz"
        if not path.exists():
            tell(f"scoring nodes by {method.name}: {name.replace('_', ' ')}")
            scored(fit(), samples, methods=[method], **_baseline(study)).save(path)
        return Scored.load(path)

    parts = [once("real", lambda: trained)]
    for chunk in finished(folder):
        if chunk.kind in (LABELS, *WIRINGS) or (chunk.kind == HALVES and method.name == PROPAGATION):
            parts.append(once(chunk.name, partial(Fit.load, folder / NULLS / chunk.name, material.topology)))
    return Scored.join(parts)


def beside(study: Study, trained: Fit, samples: Samples | Cohort) -> Scored:
    """The real networks by many methods, for the matrix of their agreement."""
    return scored(trained, samples, methods=BESIDE, **_baseline(study))


def _baseline(study: Study) -> dict[str, Any]:
    asked = study.attribution
    return {"baseline": asked.baseline, "group": asked.group, "n_draws": asked.draws}


def _identity(study: Study, method: Method) -> str:
    """Of all that decides a score beside the network."""
    stated = [SCORES, {name: str(value) for name, value in method.settings.items()}, _baseline(study)]
    return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()[:12]

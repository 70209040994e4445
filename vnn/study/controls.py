"""What the wiring is worth: a study's networks beside null, dense and linear networks and classical baselines."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from vnn._errors import choose
from vnn.study.material import Material, read_material
from vnn.study.nulls import EQUALISED, at_once
from vnn.study.rivals import known_rivals, measured_rivals
from vnn.study.settings import Study
from vnn.training import Fit, fit
from vnn.training.baselines import NETWORKS, control_networks
from vnn.training.design import NULLS
from vnn.training.evaluation import NETWORK, replicate_scores
from vnn.training.interval import interval, ratio_of
from vnn.training.metrics import METRIC
from vnn.training.paired import paired_comparison

Record = dict[str, Any]
DRAWS = {"rewired": 39, "reassigned": 19, "labels": 19}
COMPARED = ("difference", "lower", "upper", "p", "p_holm", "verdict", "method", "note")


def controls(
    study: Study, *, draws: Mapping[str, int] = DRAWS, tell: Callable[[str], None] = lambda _: None
) -> list[Record]:
    """Held-out performance of a study's networks beside everything that could explain it.

    All networks have the study's splits, seeds, recipe and settings; `paired_comparison` compares. Null networks are
    compared by the rank of the real ones among their draws, which is a statement about these samples only; all others by the
    corrected resampled t. Networks on inputs made equally predictive are shown and not compared: they are made to predict.

    Parameters
    ----------
    study
        Its own nulls and baselines are not looked at.
    draws
        How many of each kind of null, see `vnn.training.design.NULLS`.
    tell
        Told what is trained next.

    Returns
    -------
    A record for each model: case, study, model, metric, mean, low and high (the corrected 95 % interval of the mean over splits;
    for nulls 2.5 % and 97.5 % of the draws), sd_splits, sd_seeds, sd_draws, n_splits, n_seeds, n_draws, n_missing, and beside the
    network, positive where the network is better: difference, lower, upper, p, p_holm, verdict, method, note. `about` says
    what else is to know of the model; `seconds` how long it took to train and evaluate.

    Raises
    ------
    ValueError
        If a kind of null is not known, or a number of draws is negative.
    """
    for kind, n in draws.items():
        choose("the kind of null", kind, NULLS)
        if n < 0:
            raise ValueError(f"the number of draws of {kind!r} is {n}; give 0 for none, or more.")
    material = read_material(study)
    tables, about, seconds = [], {}, {}

    def measured(name: str, made: Callable[[], tuple[pd.DataFrame, str]]) -> None:
        tell(f"{study.name}: {name}")
        began = time.monotonic()
        table, about[name] = made()
        seconds[name] = time.monotonic() - began
        draw = table["draw"].astype(float) if "draw" in table else np.nan
        tables.append(table[["split", "seed", "value"]].assign(model=name, draw=draw))

    held: list[Fit] = []

    def real() -> tuple[pd.DataFrame, str]:
        held.append(_fit(study, material))
        n_weights = sum(p.numel() for p in held[0].networks.parameters()) // held[0].networks.n_replicates
        return replicate_scores(held[0], material.samples), f"{n_weights:,} parameters"

    measured(NETWORK, real)
    network = held[0]
    for kind, n in draws.items():
        if n:
            measured(NULLS[kind], lambda kind=kind, n=n: _drawn(study, material, kind, n))  # type: ignore[misc]
    for name in NETWORKS:

        def control(name: str = name) -> tuple[pd.DataFrame, str]:
            made, size = control_networks(name, network, material.samples)
            return replicate_scores(made, material.samples), size

        measured(name, control)
    for name in known_rivals(study, material.samples, material.target, material.topology.inputs):
        if name not in NETWORKS:
            measured(name, lambda name=name: _classical(study, network, material, name))  # type: ignore[misc]
    scores = pd.concat(tables, ignore_index=True).rename(columns={"value": "score"})
    return _records(study, material, scores, about, seconds)


def _fit(study: Study, material: Material, **changes: Any) -> Fit:
    return fit(
        material.topology, material.samples, target=study.data.target, event=study.data.event, splits=material.splits,
        n_seeds=study.n_seeds, recipe=study.network, training=study.training, task=study.data.task,
        classes=study.data.classes, seed=study.seed, **changes,
    )  # fmt: skip


def _drawn(study: Study, material: Material, kind: str, n: int) -> tuple[pd.DataFrame, str]:
    """Scores of the nulls of a kind, trained in chunks of whole draws."""
    several = max(at_once(study, material) // (len(material.splits) * study.n_seeds), 1)
    unit = (study.nulls.unit or study.splits.group) if kind == "labels" else None
    rows: list[pd.DataFrame] = []
    words: dict[str, None] = {}
    for first in range(0, n, several):
        made = _fit(study, material, kind=kind, draws=range(first, min(first + several, n)), unit=unit)
        rows.append(replicate_scores(made, material.samples))
        words[made.about["null"].splitlines()[0]] = None
    return pd.concat(rows, ignore_index=True), "; ".join(words)


def _classical(study: Study, network: Fit, material: Material, name: str) -> tuple[pd.DataFrame, str]:
    found = measured_rivals(study, material, network, [name])
    return found[found["metric"] == METRIC[network.target.task]].assign(seed=0)[["split", "seed", "value"]], ""


def _records(
    study: Study, material: Material, scores: pd.DataFrame, about: Mapping[str, str], seconds: Mapping[str, float]
) -> list[Record]:
    task, ratio = material.target.task, ratio_of(material.splits)
    repeats = study.splits.repeats if study.splits.kind == "k-fold" else 1
    drawn = {name: kind for kind, name in NULLS.items() if name in about}
    compared = [name for name in about if drawn.get(name) != EQUALISED]
    found = paired_comparison(
        scores[scores["model"].isin(compared)], reference=NETWORK, ratio=ratio, repeats=repeats, metric=METRIC[task],
        rewired=[name for name in compared if name in drawn],
    )  # fmt: skip
    beside = {row["model"]: row for row in found.records()}
    records = []
    for name in about:
        own = scores[scores["model"] == name]
        by_split = own.groupby(["split"], sort=False)["score"].mean().to_numpy(dtype=float)
        by_seed = own.groupby(["seed", "split"])["score"].mean().groupby("seed").mean().to_numpy(dtype=float)
        mean, low, high = (float(end[0]) for end in interval(by_split[:, None], ratio, repeats=repeats))
        by_draw = np.empty(0)
        if name in drawn:
            by_draw = own.groupby(["draw", "split"])["score"].mean().groupby("draw").mean().to_numpy(dtype=float)
            low, high = np.nanquantile(by_draw, [0.025, 0.975])
        records.append(
            {
                "case": f"{study.name}, {name}", "study": study.name, "seed": study.seed, "model": name, "metric": METRIC[task],
                "mean": mean, "low": _number(low), "high": _number(high), "sd_splits": _spread(by_split),
                "sd_seeds": _spread(by_seed), "sd_draws": _spread(by_draw), "n_splits": len(by_split),
                "n_seeds": len(by_seed), "n_draws": len(by_draw) or None, "n_missing": int(own["score"].isna().sum()),
                **{key: beside[name][key] if name in beside else None for key in COMPARED},
                "about": about[name], "seconds": seconds[name],
            }
        )  # fmt: skip
    return records


def _spread(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.std(ddof=1)) if len(known) > 1 else None


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


HEAD = ("model", "held out", "95 %", "sd: splits, seeds, draws", "network better by", "95 %", "p", "Holm", "verdict")


def controls_text(records: list[Record]) -> str:
    """The records of one study as a table in Markdown."""
    first = records[0]
    rows = [
        f"**{first['study']}**: {first['metric']}, {first['n_splits']} splits x {first['n_seeds']} seeds, seed {first['seed']}",
        "",
        "| " + " | ".join(HEAD) + " |",
        "| " + " | ".join(["---"] + ["---:"] * (len(HEAD) - 2) + ["---"]) + " |",
    ]
    for row in records:
        draws = f" ({row['n_draws']} draws)" if row["n_draws"] else ""
        spreads = ", ".join(_told(row[what]) for what in ("sd_splits", "sd_seeds", "sd_draws"))
        cells = [
            f"{row['model']}{draws}", _told(row["mean"]), f"{_told(row['low'])} to {_told(row['high'])}", spreads,
            _told(row["difference"], "+.3f"), f"{_told(row['lower'], '+.3f')} to {_told(row['upper'], '+.3f')}",
            _told(row["p"], ".3g"), _told(row["p_holm"], ".3g"), row["verdict"] or "-",
        ]  # fmt: skip
        rows.append("| " + " | ".join(cell.replace("- to -", "-").replace("-, -, -", "-") for cell in cells) + " |")
    return "\n".join(rows)


def _told(value: float | None, form: str = ".3f") -> str:
    return "-" if value is None else format(value, form)

"""How well networks predict samples they never saw, beside simpler models on the same splits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from vnn.data.samples import Samples
from vnn.training.baselines import COLUMNS, network_rows
from vnn.training.baselines import baselines as measured
from vnn.training.fitting import Fit, Prediction
from vnn.training.interval import interval, ratio_of
from vnn.training.metrics import CHANCE, METRIC, score
from vnn.training.null import equalised

__all__ = ["METRIC", "NETWORK", "comparison", "performance", "score"]

NETWORK = "visible network"


def performance(fit: Fit, samples: Samples, *, baselines: Sequence[str] | None = None) -> pd.DataFrame:
    """Held-out performance per split: the networks, and baselines that learnt from the same samples.

    Parameters
    ----------
    fit
        Trained networks.
    samples
        The samples of the fit.
    baselines
        Names of baselines, see `vnn.training.baselines`; all that apply unless given, none for ().

    Returns
    -------
    Columns split, n_test, model, metric, value; the value of networks is a mean over seeds. `attrs` hold "headline" (the
    metric models are compared by), "network" (the name of the visible network among the models), "ratio" (samples
    tested over samples learnt from) and "notes" (what else is to know of a model).

    Raises
    ------
    ValueError
        If no split has a test part, or a baseline is not known or does not apply.
    """
    mine = pd.DataFrame(network_rows(fit, samples, NETWORK), columns=list(COLUMNS))
    if not len(mine):
        raise ValueError(
            f"none of the {len(fit.splits)} splits has a test part, so nothing was held out; make splits with one, "
            "such as `k_fold` or `hold_out`."
        )
    rivals = measured(fit, samples, baselines)
    table = pd.concat([mine, rivals], ignore_index=True) if len(rivals) else mine
    table.attrs = {
        "headline": METRIC[fit.target.task],
        "network": NETWORK,
        "ratio": ratio_of(fit.splits),
        "notes": rivals.attrs["notes"],
    }
    return table


def replicate_scores(fit: Fit, samples: Samples) -> pd.DataFrame:
    """The headline metric of every network on the test part of its split, on the labels it learnt.

    Parameters
    ----------
    fit
        Real networks or nulls.
    samples
        The samples of the fit, real inputs also where networks learnt from other ones: those of a draw are made anew.

    Returns
    -------
    Columns id, draw, split, seed, state, value; the value is missing for a network that diverged, whose split has no test part,
    or where the metric is not defined.
    """
    table = fit.replicates[["id", "draw", "split", "seed", "state"]].reset_index(drop=True)
    place = {name: i for i, name in enumerate(fit.ids)}
    tests = {split.name: split.test for split in fit.splits}
    found = np.full(len(table), np.nan)
    for rows, prediction in _predictions(fit, samples, table):
        at = {name: i for i, name in enumerate(prediction.ids)}
        column = {name: j for j, name in enumerate(prediction.replicates)}
        values = prediction.values
        for r in rows:
            test = tests[table["split"][r]]
            if table["id"][r] in column and test:
                truth = (fit.target.truth if fit.labels is None else fit.labels[r])[[place[i] for i in test]]
                found[r] = score(fit.target.task, truth, values[[at[i] for i in test], column[table["id"][r]]])
    return table.assign(value=found)


def _predictions(fit: Fit, samples: Samples, table: pd.DataFrame) -> Iterator[tuple[list[int], Prediction]]:
    """Rows of the table of replicates with what all predict from the inputs these were trained for."""
    if set(fit.replicates["kind"]) != {"equalised"}:
        yield list(range(len(table))), fit.predict(samples)
        return
    ordered = samples.select(fit.topology.inputs, fit.ids)
    splits = {split.name: split for split in fit.splits}
    blocks: dict[tuple[int, str], list[int]] = {}
    for row, (draw, name) in enumerate(zip(table["draw"], table["split"], strict=True)):
        blocks.setdefault((int(draw), name), []).append(row)
    for (draw, name), rows in blocks.items():
        made = equalised(ordered, fit.target, splits[name], seed=fit.networks.seed, draw=draw)
        yield rows, fit.predict(made.samples)


def comparison(table: pd.DataFrame, ratio: float | None = None) -> pd.DataFrame:
    """Every model and metric over the splits, and by how much the visible network beats the model.

    Parameters
    ----------
    table
        What `performance` returned.
    ratio
        Samples tested over samples learnt from; from the `attrs` of the table unless given.

    Returns
    -------
    Columns model, metric, mean, sd, n_splits and, for the headline metric of the other models, gain, low, high: the mean
    difference over the splits both have a value for, with its corrected resampled t interval (95 %; missing with one
    split). `attrs` are those of the table, and "chance" (the headline of guessing) and "above_chance" (whether the interval
    of the network lies above it; with one split whether its value does).
    """
    headline, network = table.attrs["headline"], table.attrs["network"]
    ratio = table.attrs["ratio"] if ratio is None else ratio
    grouped = table.groupby(["model", "metric"], sort=False)["value"]
    found = grouped.agg(mean="mean", sd="std", n_splits="count").reset_index()
    by_split = table[table["metric"] == headline].pivot(index="split", columns="model", values="value")
    gains = -by_split.sub(by_split[network], axis=0).drop(columns=network)
    ends = pd.DataFrame(
        dict(zip(("gain", "low", "high"), interval(gains.to_numpy(), ratio), strict=True)),
        index=gains.columns,
    )
    compared = found.join(ends, on="model")
    compared.loc[compared["metric"] != headline, ["gain", "low", "high"]] = float("nan")
    chance = CHANCE[headline]
    own = table[(table["metric"] == headline) & (table["model"] == network)]["value"].to_numpy(dtype=float)
    mean, low, _ = (float(end[0]) for end in interval(own[:, None], ratio))
    compared.attrs = table.attrs | {"chance": chance, "above_chance": (mean if np.isnan(low) else low) > chance}
    return compared

"""How well networks predict samples they never saw, beside simpler models on the same splits, and how sure they may be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from vnn.data.genotypes import Cohort
from vnn.data.samples import Samples
from vnn.training.baselines import COLUMNS, network_rows
from vnn.training.baselines import baselines as measured
from vnn.training.calibration import Reliability, Temperature, in_words, reliability
from vnn.training.ensemble import ensemble
from vnn.training.fitting import Fit, Prediction
from vnn.training.interval import interval, ratio_of, repeats_of
from vnn.training.metrics import CHANCE, METRIC, score
from vnn.training.null import equalised
from vnn.training.paired import paired_comparison

__all__ = ["METRIC", "NETWORK", "Calibration", "calibration", "comparison", "performance", "score"]

NETWORK = "visible network"
RAW, CALIBRATED = "as trained", "calibrated"
TESTED = ["gain", "low", "high", "p", "p_holm"]


@dataclass(frozen=True, eq=False)
class Calibration:
    """How far held-out probabilities can be taken at their word, before and after the temperatures.

    Parameters
    ----------
    before, after
        Of the mean of the networks that held a sample out, at temperature 1 and at their own temperatures.
    temperatures
        Of all replicates, in their order.
    """

    before: Reliability
    after: Reliability
    temperatures: tuple[Temperature, ...]

    @property
    def table(self) -> pd.DataFrame:
        """Columns stage ("as trained", "calibrated"), n_samples, brier, error, error_by_chance, slope; see `Reliability`.

        `attrs` hold "words": the temperatures, how many samples decided them, and why some are 1.
        """
        names = ["n_samples", "brier", "error", "error_by_chance", "slope"]
        rows = [[getattr(stage, name) for name in names] for stage in (self.before, self.after)]
        table = pd.DataFrame(rows, columns=names)
        table.insert(0, "stage", [RAW, CALIBRATED])
        table.attrs = {"words": in_words(self.temperatures)}
        return table

    def temperature_table(self, names: Sequence[str]) -> pd.DataFrame:
        """A row per replicate: its name and the fields of its `Temperature`."""
        return pd.DataFrame(
            [{"replicate": name} | asdict(found) for name, found in zip(names, self.temperatures, strict=True)]
        )

    @property
    def curve(self) -> pd.DataFrame:
        """`calibration_curve` of both, with columns stage and class before the others."""
        curves = [stage.curve.assign(stage=name) for name, stage in ((RAW, self.before), (CALIBRATED, self.after))]
        table = pd.concat(curves, ignore_index=True)
        return table[["stage", "class", *(name for name in table if name not in ("stage", "class"))]]


def performance(
    fit: Fit, samples: Samples | Cohort, *, baselines: Sequence[str] | None = None, rivals: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Held-out performance per split: the networks, and baselines that learnt from the same samples.

    Parameters
    ----------
    fit
        Trained networks.
    samples
        The samples of the fit.
    baselines
        Names of baselines, see `vnn.training.baselines`; all that apply unless given, none for ().
    rivals
        Instead, other models on the same splits, already measured: what `genotype_baselines` returned.

    Returns
    -------
    Columns split, n_test, model, metric, value; the value of networks is a mean over seeds. `attrs` hold "headline" (the
    metric models are compared by), "network" (the name of the visible network among the models), "ratio" (samples
    tested over samples learnt from), "repeats" (how often the samples were dealt out anew) and "notes" (what else is to
    know of a model).

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
    rivals = measured(fit, samples, baselines) if rivals is None else rivals
    table = pd.concat([mine, rivals], ignore_index=True) if len(rivals) else mine
    table.attrs = {
        "headline": METRIC[fit.target.task],
        "network": NETWORK,
        "ratio": ratio_of(fit.splits),
        "repeats": repeats_of(fit.splits),
        "notes": rivals.attrs["notes"],
    }
    return table


def replicate_scores(fit: Fit, samples: Samples | Cohort) -> pd.DataFrame:
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


def _predictions(fit: Fit, samples: Samples | Cohort, table: pd.DataFrame) -> Iterator[tuple[list[int], Prediction]]:
    """Rows of the table of replicates with what all predict from the inputs these were trained for."""
    if set(fit.replicates["kind"]) != {"equalised"}:
        yield list(range(len(table))), fit.predict(samples)
        return
    assert isinstance(samples, Samples)
    ordered = samples.select(fit.topology.inputs, fit.ids)
    splits = {split.name: split for split in fit.splits}
    blocks: dict[tuple[int, str], list[int]] = {}
    for row, (draw, name) in enumerate(zip(table["draw"], table["split"], strict=True)):
        blocks.setdefault((int(draw), name), []).append(row)
    for (draw, name), rows in blocks.items():
        made = equalised(ordered, fit.target, splits[name], seed=fit.networks.seed, draw=draw)
        yield rows, fit.predict(made.samples)


def calibration(fit: Fit, samples: Samples | Cohort) -> Calibration | None:
    """Whether what the networks call 80 % likely happens in 80 % of the samples they held out; None for quantities.

    Nobody who is counted decided a temperature of, or trained, a network that speaks of them. A sample of the study has only
    the networks of the splits that held it out, new people have all; means of more networks are more timid.

    Parameters
    ----------
    fit
        Trained networks.
    samples
        Samples of the fit.
    """
    prediction = fit.predict(samples)
    after = prediction.ensemble(held_out=True) if fit.target.classes else None
    if after is None or not (known := after.n_replicates > 0).any():
        return None
    before = ensemble(fit.target.task, prediction.logits, prediction.held_out)
    truth = dict(zip(fit.ids, fit.target.truth.tolist(), strict=True))
    codes = np.array([truth[i] for i, counted in zip(prediction.ids, known, strict=True) if counted])
    of_both = [reliability(codes, one.mean[known], fit.target.classes) for one in (before, after)]
    return Calibration(of_both[0], of_both[1], fit.temperatures)


def comparison(table: pd.DataFrame, ratio: float | None = None) -> pd.DataFrame:
    """Every model and metric over the splits, and by how much the visible network beats the model.

    The headline metric of the network is compared with that of every other model by `paired_comparison`, on the
    splits on which both have one. Repeats of the same folds count once.

    Parameters
    ----------
    table
        What `performance` returned.
    ratio
        Samples tested over samples learnt from; from the `attrs` of the table unless given.

    Returns
    -------
    Columns model, metric, mean, sd, n_splits and, for the headline metric of the other models, gain, low, high (the mean
    difference over the splits and its corrected resampled t interval, 95 %), p, p_holm (two-sided, and adjusted for all models
    after Holm), verdict ("better": the network is, "worse", "not shown" or "not resolvable") and note. Interval and p are
    missing with one split. `attrs` are those of the table, and "chance" (the headline of guessing) and "above_chance" (whether
    the interval of the network lies above it; with one split whether its value does).
    """
    headline, network = table.attrs["headline"], table.attrs["network"]
    ratio = table.attrs["ratio"] if ratio is None else ratio
    repeats = table.attrs.get("repeats", 1)
    grouped = table.groupby(["model", "metric"], sort=False)["value"]
    found = grouped.agg(mean="mean", sd="std", n_splits="count").reset_index()
    rows = table.loc[table["metric"] == headline, ["model", "split", "value"]].rename(columns={"value": "score"})
    compared = found.assign(**dict.fromkeys(TESTED, float("nan")), verdict="", note="")
    if rows["model"].nunique() > 1 and rows["score"].notna().any():
        tested = paired_comparison(
            rows.assign(seed=0), reference=network, ratio=ratio, repeats=repeats, metric=headline, shared=True
        )
        for difference in tested.differences:
            at = (compared["model"] == difference.model) & (compared["metric"] == headline)
            compared.loc[at, TESTED] = (
                difference.difference, difference.lower, difference.upper, difference.p, difference.p_holm,
            )  # fmt: skip
            compared.loc[at, ["verdict", "note"]] = difference.verdict, difference.note
    chance = CHANCE[headline]
    own = rows.loc[rows["model"] == network, "score"].to_numpy(dtype=float)
    mean, low, _ = (float(end[0]) for end in interval(own[:, None], ratio, repeats=repeats))
    compared.attrs = table.attrs | {"chance": chance, "above_chance": (mean if np.isnan(low) else low) > chance}
    return compared

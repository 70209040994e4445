"""Paired evaluation: whether one model predicts better than others on the same splits, by more than chance explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from vnn._errors import AlignmentError, choose, culprits
from vnn.training.interval import interval, standard_error
from vnn.training.metrics import METRICS

COLUMNS = ("model", "split", "seed", "score")
LOWER = ("Brier score", "RMSE", "log loss")
HIGHER = tuple(
    dict.fromkeys(name for names in METRICS.values() for name in names if name not in (*LOWER, "calibration slope"))
)
T, RANK = "corrected resampled t", "rank among rewired"
BETTER, WORSE, NOT_SHOWN, NOT_RESOLVABLE = "better", "worse", "not shown", "not resolvable"
ALPHA = 0.05
ROUNDING = 1e-12


@dataclass(frozen=True)
class Difference:
    """How the reference compares with one other model.

    Parameters
    ----------
    model
        The other model.
    method
        "corrected resampled t" (two-sided p) or "rank among rewired" (one-sided p).
    reference_mean, mean
        Scores of the two, averaged over seeds within splits, then over splits; over draws last.
    difference
        By how much the reference is better, in units of the score: positive is better, also where a lower score is.
    lower, upper
        Its 95 % interval: of the t test; for ranks that of the difference to a single graph, from the G differences without
        the largest and smallest 2.5 % of G + 1. Missing with one split, or with fewer than 39 graphs.
    p, p_holm
        Probability of such a difference by chance, and the same adjusted for all comparisons of the table.
    n_splits, repeats, df, ratio
        Splits, how often the samples were dealt out anew, J - 1 degrees of freedom with J = n_splits / repeats (None for
        ranks), and samples tested over samples learnt from.
    n_draws, smallest_p
        Rewired graphs G and 1 / (G + 1), the smallest p they can give; None for the t test.
    n_missing
        Scores of either model that were missing and left out of its means.
    verdict
        "better" or "worse" (p_holm at most 0.05), "not shown", or "not resolvable": whatever the scores, no p of at most 0.05
        could have come out, beside the other comparisons of the table.
    note
        What else is to know, in words.
    """

    model: str
    method: str
    reference_mean: float
    mean: float
    difference: float
    lower: float
    upper: float
    p: float
    p_holm: float
    n_splits: int
    repeats: int
    df: float | None
    ratio: float
    n_draws: int | None
    smallest_p: float | None
    n_missing: int
    verdict: str
    note: str


@dataclass(frozen=True)
class PairedComparison:
    """One model against the others.

    Parameters
    ----------
    reference
        The model that is compared.
    metric
        What the scores are.
    higher_is_better
        Its direction.
    differences
        One per other model, in the order in which they came.
    left_out
        Splits in which no model has a score, because the metric is not defined there.
    """

    reference: str
    metric: str
    higher_is_better: bool
    differences: tuple[Difference, ...]
    left_out: tuple[str, ...]

    @property
    def table(self) -> pd.DataFrame:
        """A row per other model, with the fields of `Difference` as columns."""
        return pd.DataFrame([asdict(d) for d in self.differences], columns=[f.name for f in fields(Difference)])

    def records(self) -> list[dict[str, Any]]:
        """The rows for JSON: missing numbers are None."""
        return [
            {key: None if isinstance(value, float) and np.isnan(value) else value for key, value in asdict(d).items()}
            for d in self.differences
        ]


def paired_comparison(
    scores: pd.DataFrame,
    *,
    reference: str,
    ratio: float,
    repeats: int = 1,
    metric: str = "AUC",
    higher_is_better: bool | None = None,
    rewired: Sequence[str] = (),
    shared: bool = False,
) -> PairedComparison:
    """One model against all others of a table, on the same splits.

    Seeds are averaged within a split first. The mean difference over J splits is tested by Student's t with variance
    (1/J + n_test/n_train) s2 and J - 1 degrees of freedom, since splits share samples. Models that are random graphs
    are tested by rank instead: p = (1 + #{rewired >= reference}) / (G + 1) over G graphs, each averaged over the same splits and
    seeds as the reference. That test asks whether this wiring is better than others *on these people*; it says
    nothing about other people. All p of the table are adjusted after Holm.

    Parameters
    ----------
    scores
        A row per network: columns model, split, seed, score, and draw where models have draws (missing for others). A missing
        score is a network that diverged, or a split on which the metric is not defined.
    reference
        The model compared with all others.
    ratio
        Samples tested over samples learnt from, see `ratio_of`.
    repeats
        How often the same samples were dealt out anew: 10 for 10 repeats of 5 folds. J is then 5. With 1 every split counts,
        as Nadeau & Bengio have it; over repeated folds that finds too many differences (`docs/comparison.md`).
    metric
        What the scores are.
    higher_is_better
        Direction of a metric that is not one of `vnn.training.metrics`.
    rewired
        Models whose draws are random graphs. Draws of other models are averaged within splits, as seeds are.
    shared
        Whether a model without a score on some splits is compared on those on which both have one, with a note.
        Otherwise it is an error. Without rewired graphs only.

    Raises
    ------
    AlignmentError
        If a model misses a split (unless `shared`), or a rewired draw was not trained with the seeds of the reference.
    ValueError
        If columns, models or the direction are not known, or numbers make no sense.

    References
    ----------
    Nadeau & Bengio (2003), doi:10.1023/A:1024068626366; Bouckaert & Frank (2004), doi:10.1007/978-3-540-24775-3_3;
    Phipson & Smyth (2010), doi:10.2202/1544-6115.1585; Holm (1979), https://www.jstor.org/stable/4615733
    """
    sign = _direction(metric, higher_is_better)
    if not (np.isfinite(ratio) and ratio > 0):
        raise ValueError(
            f"`ratio` is {ratio}; it is the number of samples tested over those learnt from, above 0 "
            "(0.25 with 5 folds). Take it from the splits: `ratio_of(fit.splits)`."
        )
    table, left_out = _table(scores)
    n_splits = table["split"].nunique() + len(left_out)
    if repeats < 1 or (repeats > 1 and n_splits < 2 * repeats):
        raise ValueError(
            f"`repeats` is {repeats} for {n_splits:,} splits; it must be at least 1 and leave 2 splits to each repeat."
        )
    rewired = (rewired,) if isinstance(rewired, str) else rewired
    if shared and rewired:
        raise ValueError(
            "`shared` is True and `rewired` names models; ranks need every graph on every split. Give one of the two."
        )
    models = list(dict.fromkeys(table["model"]))
    choose("`reference`", reference, models)
    for name in rewired:
        choose("a name in `rewired`", name, [m for m in models if m != reference])
    if len(models) < 2:
        raise ValueError(
            f"the table holds {reference!r} alone; give the rows of at least one other model on the same splits."
        )
    splits = list(dict.fromkeys(table["split"]))
    by_draw = {name: _by_draw(table, name, splits, each=name in rewired, shared=shared) for name in models}
    n_missing = table["score"].isna().groupby(table["model"], sort=False).sum()
    ours = sign * by_draw[reference].mean(0)
    found = []
    for name in models:
        if name == reference:
            continue
        missing = int(n_missing[reference] + n_missing[name])
        if name in rewired:
            _same_seeds(table, reference, name)
            difference = _ranked(ours, sign * by_draw[name], ratio, repeats)
        else:
            difference = _tested(ours, sign * by_draw[name].mean(0), ratio, repeats)
        found.append(
            replace(
                difference,
                model=name,
                reference_mean=sign * difference.reference_mean,
                mean=sign * difference.mean,
                n_missing=missing,
            )
        )
    return PairedComparison(reference, metric, sign > 0, _judged(found), left_out)


def holm(p: np.ndarray) -> np.ndarray:
    """P values adjusted for being several, after Holm; missing ones stay missing and count as comparisons.

    References
    ----------
    Holm (1979), https://www.jstor.org/stable/4615733
    """
    filled = np.where(np.isnan(p), 1.0, p)
    order = np.argsort(filled, kind="stable")
    adjusted = np.empty(len(filled))
    adjusted[order] = np.minimum(np.maximum.accumulate(filled[order] * np.arange(len(filled), 0, -1)), 1)
    return np.where(np.isnan(p), np.nan, adjusted)


def corrected_t(differences: np.ndarray, ratio: float, *, repeats: int = 1) -> float:
    """Two-sided p of a mean difference over splits that share samples; missing with one split, or without any spread.

    Parameters
    ----------
    differences
        One per split.
    ratio
        Samples tested over samples learnt from. 0 gives the test for independent repeats, which rejects far too often.
    repeats
        As for `paired_comparison`.
    """
    mean, error, df = (float(found[0]) for found in standard_error(differences[:, None], ratio, repeats=repeats))
    if np.isnan(error):
        return float("nan")
    if error <= ROUNDING * np.nanmax(np.abs(differences)):
        return float("nan") if mean else 1.0
    return float(2 * stats.t.sf(abs(mean) / error, df))


def rank_p(real: float, drawn: np.ndarray) -> float:
    """(1 + #{drawn >= real}) / (G + 1); scores that differ by rounding only count as equal."""
    reached = drawn >= real - ROUNDING * max(abs(real), np.abs(drawn).max(initial=0.0))
    return float((1 + reached.sum()) / (len(drawn) + 1))


def _direction(metric: str, higher_is_better: bool | None) -> int:
    if higher_is_better is not None:
        if metric in (*HIGHER, *LOWER) and higher_is_better != (metric in HIGHER):
            raise ValueError(
                f"`higher_is_better` is {higher_is_better}, but {metric!r} is better when it is "
                f"{'higher' if metric in HIGHER else 'lower'}. Leave the argument out."
            )
        return 1 if higher_is_better else -1
    if metric == "calibration slope":
        raise ValueError(
            "`metric` is 'calibration slope', which is best at 1, neither high nor low. Compare the distance |slope - 1| "
            "under a name of its own, with higher_is_better=False."
        )
    if metric not in (*HIGHER, *LOWER):
        known = ", ".join(map(repr, (*HIGHER, *LOWER)))
        raise ValueError(f"`metric` is {metric!r}; known are {known}. For another one give `higher_is_better`.")
    return 1 if metric in HIGHER else -1


def _table(scores: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The rows with a column of draws and numbers as numbers, without splits on which nobody has a score; and these."""
    if absent := [name for name in COLUMNS if name not in scores]:
        raise ValueError(
            f"`scores` lacks the columns {culprits(absent)}; it has {culprits(scores.columns)}. Give one row per "
            "network with model, split, seed and score (and draw, where a model has draws)."
        )
    table = scores[list(COLUMNS)].assign(draw=scores.get("draw", np.nan))
    if table.empty:
        raise ValueError("`scores` has no rows; give one per network, with its score on the test part of its split.")
    try:
        values = table["score"].to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the scores are not numbers ({error}); give numbers, missing where undefined.") from error
    if len(wrong := table[np.isinf(values)]):
        raise ValueError(
            f"{len(wrong):,} scores are infinite: {culprits(f'{r.model}, {r.split}' for r in wrong.itertuples())}. Give a "
            "missing value for a network that diverged."
        )
    table["score"] = values
    keys = ["model", "draw", "split", "seed"]
    if table["model"].isna().any() or table["split"].isna().any():
        raise ValueError("some rows name no model or no split; every score must belong to both.")
    if (twice := table.duplicated(keys)).any():
        named = (f"{r.model}, {r.split}, seed {r.seed}" for r in table[twice].itertuples())
        raise ValueError(
            f"{twice.sum():,} rows repeat a model, split, seed and draw: {culprits(named)}. Give one row per network, and a "
            "draw to each random graph."
        )
    known = table["score"].notna().groupby(table["split"], sort=False).any()
    if not known.any():
        raise ValueError(f"all {len(table):,} scores are missing; there is nothing to compare.")
    left_out = tuple(str(name) for name in known.index[~known])
    return table[table["split"].isin(known.index[known])], left_out


def _by_draw(table: pd.DataFrame, model: str, splits: list[str], *, each: bool, shared: bool) -> np.ndarray:
    """Means over seeds, shape (n_draws, n_splits); every split must be there unless `shared`, for each draw if each is a graph."""
    rows = table[table["model"] == model]
    if each and rows["draw"].isna().any():
        raise ValueError(
            f"model {model!r} is in `rewired`, but {rows['draw'].isna().sum():,} of its {len(rows):,} rows have no draw. "
            "Name the graph of each network in the column draw."
        )
    means = rows.groupby(["draw", "split"], sort=False, dropna=False)["score"].mean().unstack("split")
    means = means.reindex(columns=splits)
    if not shared and len(
        gaps := np.argwhere(means.isna().to_numpy() if each else means.isna().to_numpy().all(0, keepdims=True))
    ):
        named = [f"{splits[j]}, draw {means.index[i]}" if each else splits[j] for i, j in gaps]
        raise AlignmentError(
            f"model {model!r} has no score in {len(gaps):,} of the splits others were tested on: {culprits(named)}. A paired "
            "comparison needs the same splits for all models: test it there too, or drop these splits for every model."
        )
    return means.to_numpy() if each else means.mean(axis=0).to_numpy()[None]


def _same_seeds(table: pd.DataFrame, reference: str, model: str) -> None:
    """Refuse graphs that were not trained with the seeds of the reference: their means would vary more, or less."""
    wanted = set(map(tuple, table.loc[table["model"] == reference, ["split", "seed"]].to_numpy().tolist()))
    rows = table[table["model"] == model]
    for draw, mine in rows.groupby("draw", sort=False):
        given = set(map(tuple, mine[["split", "seed"]].to_numpy().tolist()))
        if given != wanted:
            named = culprits(f"{split}, seed {seed}" for split, seed in sorted(given ^ wanted, key=str))
            raise AlignmentError(
                f"draw {draw} of {model!r} and {reference!r} were not trained with the same seeds; only one of them has "
                f"{named}. Train every graph with the splits and seeds of the reference, or give missing scores for "
                "networks that diverged."
            )


def _blank(method: str, reference_mean: float, mean: float, n_splits: int, ratio: float, repeats: int) -> Difference:
    nan = float("nan")
    return Difference(
        "", method, reference_mean, mean, reference_mean - mean, nan, nan, nan, nan, n_splits, repeats, None, ratio, None,
        None, 0,
        NOT_SHOWN, "",
    )  # fmt: skip


def _tested(ours: np.ndarray, theirs: np.ndarray, ratio: float, repeats: int) -> Difference:
    n_splits, both = len(ours), ~np.isnan(ours + theirs)
    ours, theirs = ours[both], theirs[both]
    if not len(ours):
        nan = float("nan")
        return replace(_blank(T, nan, nan, 0, ratio, repeats), note="no split has a score of both")
    differences = np.where(np.isclose(ours, theirs, rtol=ROUNDING, atol=0), 0.0, ours - theirs)
    blank = _blank(T, float(ours.mean()), float(theirs.mean()), len(ours), ratio, repeats)
    _, lower, upper = (float(end[0]) for end in interval(differences[:, None], ratio, 1 - ALPHA, repeats=repeats))
    p = corrected_t(differences, ratio, repeats=repeats)
    note = "" if both.all() else f"compared on {len(ours)} of {n_splits} splits"
    if len(ours) == 1:
        note = "one split gives neither an interval nor a test"
    elif len(ours) <= repeats:
        note = f"{len(ours)} splits of {repeats} repeats give neither an interval nor a test"
    elif np.isnan(p):
        lower = upper = float("nan")
        note = f"the difference is the same in all {len(ours)} splits, so its spread is unknown"
    return replace(blank, lower=lower, upper=upper, p=p, df=max(len(ours) / repeats - 1, 0), note=note)


def _ranked(ours: np.ndarray, drawn: np.ndarray, ratio: float, repeats: int) -> Difference:
    real, rest = float(ours.mean()), np.sort(drawn.mean(1))
    n = len(rest)
    cut = int(ALPHA / 2 * (n + 1) + ROUNDING)
    lower, upper = (real - rest[n - cut], real - rest[cut - 1]) if cut else (np.nan, np.nan)
    note = "" if cut else f"{n} draws give no 95 % interval; 39 do"
    blank = _blank(RANK, real, float(rest.mean()), len(ours), ratio, repeats)
    return replace(
        blank,
        lower=float(lower),
        upper=float(upper),
        p=rank_p(real, rest),
        n_draws=n,
        smallest_p=1 / (n + 1),
        note=note,
    )


def _judged(found: list[Difference]) -> tuple[Difference, ...]:
    p = np.array([d.p for d in found])
    adjusted = holm(p)
    judged = []
    for i, difference in enumerate(found):
        best = p.copy()
        best[i] = 0.0 if difference.smallest_p is None else difference.smallest_p
        reachable = float(holm(best)[i])
        note = difference.note
        if np.isnan(p[i]):
            verdict = NOT_RESOLVABLE
        elif reachable > ALPHA + ROUNDING:
            verdict = NOT_RESOLVABLE
            beside = f" beside {len(found) - 1} other comparisons" if len(found) > 1 else ""
            more = f"{difference.n_draws} draws cannot give a p below {reachable:.3g}{beside}"
            note = f"{note}; {more}" if note else more
        elif adjusted[i] > ALPHA + ROUNDING:
            verdict = NOT_SHOWN
        else:
            verdict = BETTER if difference.difference > 0 else WORSE
        if difference.n_missing:
            more = f"{difference.n_missing:,} missing scores were left out"
            note = f"{note}; {more}" if note else more
        judged.append(replace(difference, p_holm=float(adjusted[i]), verdict=verdict, note=note))
    return tuple(judged)

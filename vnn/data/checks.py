"""Data checks: what may make a study look better, or mean something else, than it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from vnn import chance
from vnn._errors import choose
from vnn.data.counts import are_counts
from vnn.data.covariates import CovariateCoding
from vnn.data.duplicates import FEWEST_FEATURES, MOST_SAMPLES, duplicates
from vnn.data.leaks import CHANCE, FOLDS, Skill, missing_pattern, skill
from vnn.data.samples import Samples
from vnn.data.shift import shifts
from vnn.data.splits import Split
from vnn.data.targets import Target, encode_target
from vnn.data.undeclared import accounted, coded, n_moved

ROWS = 1024
PREDICTED = {"AUC": 0.7, "R2": 0.1, "C-index": 0.65}
DEFINES = {"AUC": 0.98, "R2": 0.95, "C-index": 0.95}
SMALL_CLASS = 10
FEW = 40
SHIFTS = 5
SHIFT_SAMPLES = 400
TELLING = 4.0  # the spread of a cross-validated AUC is up to 1.4 times that of a single one


@dataclass(frozen=True)
class Check:
    """What one look at the data found.

    Parameters
    ----------
    name
        What was looked at, such as "missing values predict the target".
    state
        "fine", "note" (worth knowing) or "warning" (the result may mean something else).
    text
        One or two sentences for a biologist: what was found and what to do.
    figures
        Numbers behind it by name, such as {"AUC": 0.985}.
    """

    name: str
    state: Literal["fine", "note", "warning"]
    text: str
    figures: Mapping[str, Any] = field(default_factory=dict)


def data_checks(
    samples: Samples,
    target: str | Target,
    *,
    task: str | None = None,
    classes: Sequence[str] | None = None,
    splits: Sequence[Split] = (),
    others: pd.DataFrame | None = None,
    seed: int = 0,
) -> tuple[Check, ...]:
    """What should be known of the data before a result is believed.

    Each check appears only where it applies. Fewer than 40 samples are a warning. Whether the target can be predicted from
    which values are missing,
    from library size (sum over features, missing ones at their mean; its logarithm for counts; from 20 features on)
    or from a single group column is a warning from an AUC of 0.7, an R2 of 0.1 or a C-index of 0.65 on, when the 95 %
    interval leaves out chance; covariates are meant to be informative and give a note. Duplicates are a warning when
    the two are on different sides of a split or have different labels. Training (with validation) and test parts
    are compared for the first splits that share no test sample, five at most and 400 samples of each part: a note
    when 5 % of the features differ (and one beyond doubt, q < 0.001) or a classifier tells the parts apart with an AUC
    above 0.65 and four standard errors above 0.5; a warning from 25 % or 0.8 on. Splits at random pass. A column of
    `others` is a warning, a confounder nobody declared, when it predicts the target beyond chance and goes with any feature
    beyond what target and covariates explain (partial F tests, q < 0.05). Nothing
    is changed, and the order of the samples does not matter.

    Parameters
    ----------
    samples
        The samples of a study.
    target
        Name of the column to predict, or the `Target` of these samples in their order (for survival).
    task, classes
        As in `encode_target`, for a column.
    splits
        The splits of the study.
    others
        What else is known of the samples and is neither target, covariate nor group, indexed by id.
    seed
        Seed of the study.

    Returns
    -------
    The checks. No text names a sample; ids are in the figures called "pairs" only.

    Raises
    ------
    ValueError
        If the target or a covariate cannot be encoded.
    """
    if isinstance(target, Target):
        if task is not None or classes is not None:
            raise ValueError("task and classes are for a column; a Target has its own, so leave them out.")
        if len(target.values) != samples.n_samples:
            raise ValueError(
                f"the target has {len(target.values):,} values for {samples.n_samples:,} samples; it must be of these "
                "samples, in their order."
            )
        encoded = target
    else:
        choose("target", target, map(str, samples.targets.columns))
        encoded = encode_target(samples.targets[target], task, classes)
    order = np.argsort(np.array(samples.ids))
    events = None if encoded.events is None else encoded.events[order]
    encoded = replace(encoded, values=encoded.values[order], events=events)
    samples = samples.select(ids=[samples.ids[column] for column in order])
    features = _features(samples.values)
    counts = are_counts(samples.values)
    return (
        *_leaks(samples, encoded, features, counts, seed),
        *_few(samples, splits),
        *_classes(samples, encoded, splits),
        *_undeclared(samples, encoded, others, seed),
        *_duplicates(samples, encoded, splits, seed),
        *_shifts(samples, splits, seed),
        *_scale(samples.values, features, counts),
        *_constant(features),
        *_missing(features, samples.n_samples),
    )


def _features(values: np.ndarray) -> pd.DataFrame:
    """Number, mean, standard deviation, smallest and largest of the values of each feature that are there."""
    found = np.zeros((5, len(values)))
    for start in range(0, len(values), ROWS):
        block = values[start : start + ROWS].astype(np.float64)
        missing = np.isnan(block)
        present = (~missing).sum(axis=1)
        mean = np.where(missing, 0, block).sum(axis=1) / np.maximum(present, 1)
        deviation = np.where(missing, 0, block - mean[:, None])
        spread = np.sqrt((deviation**2).sum(axis=1) / np.maximum(present, 1))
        low = np.where(missing, np.inf, block).min(axis=1, initial=np.inf)
        high = np.where(missing, -np.inf, block).max(axis=1, initial=-np.inf)
        found[:, start : start + ROWS] = present, mean, spread, low, high
    return pd.DataFrame(found.T, columns=["present", "mean", "spread", "low", "high"])


def _leaks(samples: Samples, target: Target, features: pd.DataFrame, counts: bool, seed: int) -> Iterator[Check]:
    pattern = missing_pattern(samples.values, seed=seed)
    yield from _leak(
        "missing values", "which values are missing", skill(pattern, target, seed=seed), target.name,
        "A network may learn this pattern instead of biology: find out how it arose, or leave out the features with "
        "many missing values.",
    )  # fmt: skip
    if samples.n_features >= FEWEST_FEATURES:
        sizes = _library_sizes(samples.values, features["mean"].to_numpy())
        yield from _leak(
            "library size", "the sum of the values of each sample",
            skill((np.log1p(sizes) if counts else sizes)[:, None], target, seed=seed), target.name,
            "Check how the samples were processed, and bring them to a common size"
            + (" with `log_cpm`." if counts else "."),
        )  # fmt: skip
    for name in samples.groups.columns:
        told = samples.groups[name].astype(object).where(samples.groups[name].notna(), "").map(str)
        if 1 < told.nunique() <= samples.n_samples / 2:
            levels = pd.get_dummies(told)
            yield from _leak(
                f"{str(name)!r}", f"{str(name)!r}", skill(levels.to_numpy(np.float64), target, seed=seed), target.name,
                f"A network may learn to recognise it: hold out whole groups of {str(name)!r}, and see whether the result "
                "carries over.",
            )  # fmt: skip
    if len(samples.covariates.columns):
        columns = CovariateCoding.fit(samples.covariates).encode(samples.covariates).T
        yield from _leak(
            "covariates", "the covariates", skill(columns, target, seed=seed), target.name,
            "Covariates are meant to be informative; a network is worth what it adds to this.", state="note",
        )  # fmt: skip


def _undeclared(samples: Samples, target: Target, others: pd.DataFrame | None, seed: int) -> Iterator[Check]:
    if others is None or not len(others.columns):
        return
    known = accounted(target)
    if len(samples.covariates.columns):
        known = np.column_stack([known, CovariateCoding.fit(samples.covariates).encode(samples.covariates).T])
    flagged = False
    for name in others.columns:
        columns = coded(others[name].loc[list(samples.ids)])
        found = None if columns is None else skill(columns, target, seed=seed)
        if columns is None or found is None or not found.above_chance:
            continue
        if not (moved := n_moved(samples.values, columns, known)):
            continue
        flagged = True
        yield Check(
            f"undeclared {str(name)!r}", "warning",
            f"{str(name)!r} goes with {target.name!r} (cross-validated {found.metric} {found.value:.2f}) and, beyond what "
            f"{target.name!r} explains, with {moved:,} of {samples.n_features:,} features (q < 0.05), and the study does not "
            "declare it: what it moves may be taken for a finding. Name it in data.covariates, or in data.groups where it is a "
            "batch, a family or a site.",
            {found.metric: found.value, "features": moved},
        )  # fmt: skip
    if not flagged:
        yield Check(
            "undeclared columns", "fine",
            f"None of {len(others.columns):,} columns that the study does not use goes with both {target.name!r} and the values.",
        )  # fmt: skip


def _leak(
    name: str,
    source: str,
    found: Skill | None,
    target: str,
    advice: str,
    state: Literal["note", "warning"] = "warning",
) -> Iterator[Check]:
    if found is None:
        return
    figures = {found.metric: found.value, "lower end of the 95 % interval": found.lower}
    title = f"{name} {'predict' if name.endswith('s') else 'predicts'} the target"
    figure = f"cross-validated {found.metric} {found.value:.2f} (chance gives about {CHANCE[found.metric]:g})"
    if not found.above_chance:
        text = f"{target!r} is not shown to be predictable from {source} alone: {figure}."
        yield Check(title, "fine", text, figures)
    elif found.value <= PREDICTED[found.metric]:
        yield Check(title, "fine", f"{target!r} can be predicted only weakly from {source} alone: {figure}.", figures)
    else:
        if state == "note" and found.value >= DEFINES[found.metric]:
            state, advice = (
                "warning",
                f"So nearly perfect a prediction means that {source} may define the target: leave that out.",
            )
        yield Check(title, state, f"{target!r} can be predicted from {source} alone: {figure}. {advice}", figures)


def _library_sizes(values: np.ndarray, means: np.ndarray) -> np.ndarray:
    sizes = np.zeros(values.shape[1])
    for start in range(0, len(values), ROWS):
        block = values[start : start + ROWS].astype(np.float64)
        sizes += np.where(np.isnan(block), means[start : start + ROWS, None], block).sum(axis=0)
    return sizes


def _few(samples: Samples, splits: Sequence[Split]) -> Iterator[Check]:
    tests = [len(split.test) for split in splits if split.test]
    figures = {"samples": samples.n_samples} | ({"fewest in a test part": min(tests)} if tests else {})
    if samples.n_samples < FEW or (tests and min(tests) < SMALL_CLASS):
        held = f", {min(tests):,} in the smallest test part" if tests else ""
        text = (
            f"{samples.n_samples:,} samples{held}: performance and effects will vary widely by chance. Repeat the splits "
            "(splits.repeats), and take what is found as a hint at most."
        )
        yield Check("number of samples", "warning" if samples.n_samples < FEW else "note", text, figures)
    else:
        yield Check("number of samples", "fine", f"{samples.n_samples:,} samples.", figures)


def _classes(samples: Samples, target: Target, splits: Sequence[Split]) -> Iterator[Check]:
    if target.task == "regression":
        return
    if target.events is None:
        names, member = target.classes, [target.values == code for code in range(len(target.classes))]
    else:
        names, member = ("event",), [target.events]
    place = {sample: column for column, sample in enumerate(samples.ids)}
    tests = {split.name: [place[sample] for sample in split.test if sample in place] for split in splits if split.test}
    absent = [
        (test, name)
        for test, held in tests.items()
        for name, of in zip(names, member, strict=True)
        if not of[held].any()
    ]
    sizes = {name: int(of.sum()) for name, of in zip(names, member, strict=True)}
    rarest = min(sizes, key=lambda name: (sizes[name], name))
    figures: dict[str, Any] = {"samples": sizes}
    if tests:
        held_out = [int(of[held].sum()) for held in tests.values() for of in member]
        figures |= {"fewest in a test part": min(held_out), "test parts": len(tests)}
    what = f"{rarest!r}, the smallest class of {target.name!r}, has {sizes[rarest]:,} samples"
    if target.events is not None:
        what = f"{sizes[rarest]:,} of {samples.n_samples:,} samples of {target.name!r} had the event"
    if absent:
        parts = len({test for test, _ in absent})
        text = (
            f"{parts:,} of {len(tests):,} test parts have no sample of {absent[0][1]!r}, so "
            f"performance cannot be told there; {what}. Merge or drop small classes, stratify, or take fewer parts."
        )
        yield Check("class sizes", "warning", text, figures)
    elif sizes[rarest] < SMALL_CLASS:
        text = f"{what}: too few to learn or to judge much. Merge or drop small classes with `limit_classes`."
        if target.events is not None:
            text = f"{what}: too few to learn or to judge much."
        yield Check("class sizes", "note", text, figures)
    else:
        yield Check("class sizes", "fine", f"{what}{', and every test part holds some' if tests else ''}.", figures)


def _duplicates(samples: Samples, target: Target, splits: Sequence[Split], seed: int) -> Iterator[Check]:
    if samples.n_features < FEWEST_FEATURES:
        return
    pairs = duplicates(samples.values, seed=seed)
    asked = "the same" if samples.n_samples > MOST_SAMPLES else "the same or nearly the same"
    if not len(pairs):
        yield Check("duplicated samples", "fine", f"No two samples have {asked} values.", {"samples": 0})
        return
    first, second = pairs.T
    across = np.zeros(len(pairs), dtype=bool)
    for split in splits:
        test, known = set(split.test), {*split.test, *split.validation, *split.train}
        side = np.array([(sample in test) if sample in known else -1 for sample in samples.ids], dtype=np.int64)
        across |= (side[first] + side[second] == 1) & (side[first] != -1) & (side[second] != -1)
    differ = np.zeros(len(pairs), dtype=bool)
    if target.task in ("binary", "multiclass"):
        differ = target.values[first] != target.values[second]
    conflict = across | differ
    shown = pairs[np.argsort(~conflict, kind="stable")][:5]
    figures = {
        "samples": len(np.unique(pairs)),
        "pairs found": len(pairs),
        "pairs with different labels": int(differ.sum()),
        "pairs across a split": int(across.sum()),
        "pairs": tuple((samples.ids[a], samples.ids[b]) for a, b in shown),
    }
    text = f"{figures['samples']:,} of {samples.n_samples:,} samples have {asked} values as another one"
    if conflict.any():
        text += (
            f": {across.sum():,} pairs have one learned from and one held out, {differ.sum():,} have different labels. "
            "Performance looks better than it is, or labels are wrong: keep one of each, or split by donor."
        )
        yield Check("duplicated samples", "warning", text, figures)
    else:
        yield Check("duplicated samples", "note", f"{text}. Check whether they are one person twice.", figures)


def _shifts(samples: Samples, splits: Sequence[Split], seed: int) -> Iterator[Check]:
    place = {sample: column for column, sample in enumerate(samples.ids)}
    chosen: list[Split] = []
    part = np.full(samples.n_samples, -1)
    for split in splits[:SHIFTS]:
        test = [place[sample] for sample in split.test if sample in place]
        if (part[test] >= 0).any():
            break
        part[test] = len(chosen)
        chosen.append(split)
    drawn = _drawn(part, seed)
    sets = []
    for number, split in enumerate(chosen):
        known = {*split.train, *split.validation}
        test, rest = part[drawn] == number, np.array([samples.ids[column] in known for column in drawn])
        if min(test.sum(), rest.sum()) >= FOLDS:
            sets.append((test, rest))
    if not sets:
        return
    found = shifts(samples.values[:, drawn], sets, seed=seed)
    share = max(one.share for one in found)
    differing = max((one.share for one in found if one.smallest_q < 0.001), default=0.0)
    auc = max(one.auc for one in found)
    told = max((one.auc for one in found if one.auc - TELLING * one.error > 0.5), default=0.5)
    figures = {"share of features": share, "AUC": auc, "splits": len(found), "samples": len(drawn)}
    text = (
        f"At most {share:.1%} of the features differ between what is learned from and a test part, and a classifier tells "
        f"them apart with an AUC of at most {auc:.2f} (0.5 is chance), over {len(found):,} split{'s' if len(found) > 1 else ''}"
    )
    if differing >= 0.25 or told > 0.8:
        advice = "Held-out samples come from elsewhere: performance tells how the result carries over, not how it fits."
        yield Check("training and test parts differ", "warning", f"{text}. {advice}", figures)
    elif differing >= 0.05 or told > 0.65:
        advice = "The parts differ somewhat; look for a batch, site or date behind it."
        yield Check("training and test parts differ", "note", f"{text}. {advice}", figures)
    else:
        yield Check("training and test parts differ", "fine", f"{text}.", figures)


def _drawn(part: np.ndarray, seed: int) -> np.ndarray:
    """At most 400 samples of each part, in their order."""
    rng = chance.generator(seed, "data checks", "parts")
    drawn = [rng.permutation(np.flatnonzero(part == number))[:SHIFT_SAMPLES] for number in np.unique(part)]
    return np.sort(np.concatenate(drawn))


def _scale(values: np.ndarray, features: pd.DataFrame, counts: bool) -> Iterator[Check]:
    varying = features[features["high"] > features["low"]]
    if not len(varying) or values.shape[1] < SMALL_CLASS:
        return
    if counts:
        middle = float(varying["mean"].median())
        text = (
            f"All values are whole numbers, {middle:,.0f} in the mean of a typical feature, as raw counts are, and were left as "
            "they are. "
            "Consider log(1 + counts per million), `log_cpm`, which brings samples to a common size."
        )
        yield Check("raw counts", "note", text, {"mean of a typical feature": middle})
        return
    standard = float(((varying["mean"].abs() < 0.1) & ((varying["spread"] - 1).abs() < 0.15)).mean())
    bounded = float(((varying["low"].abs() < 1e-4) & ((varying["high"] - 1).abs() < 1e-4)).mean())
    between = any(
        ((block > 0) & (block < 1)).any() for block in (values[at : at + ROWS] for at in range(0, len(values), ROWS))
    )
    figures = {"share with mean 0 and deviation 1": standard, "share from 0 to 1": bounded}
    if standard >= 0.9 or (bounded >= 0.9 and between):
        how = "mean 0 and standard deviation 1" if standard >= 0.9 else "the range from 0 to 1"
        text = (
            f"{max(standard, bounded):.0%} of the features have {how} over all samples: they seem to be scaled already, "
            "with held-out samples taking part. It is a small leak; values before scaling are better."
        )
        yield Check("already scaled values", "note", text, figures)
    else:
        yield Check("already scaled values", "fine", "Values do not look scaled over all samples.", figures)


def _constant(features: pd.DataFrame) -> Iterator[Check]:
    n_constant = int((features["high"] == features["low"]).sum())
    figures = {"features": n_constant, "share": n_constant / max(len(features), 1)}
    if n_constant:
        text = f"{n_constant:,} of {len(features):,} features have one value in all samples and can tell nothing."
        yield Check("constant features", "note", text, figures)
    else:
        yield Check("constant features", "fine", "No feature has the same value in all samples.", figures)


def _missing(features: pd.DataFrame, n_samples: int) -> Iterator[Check]:
    share = 1 - features["present"].sum() / max(len(features) * n_samples, 1)
    some, empty = int((features["present"] < n_samples).sum()), int((features["present"] == 0).sum())
    figures = {"share": float(share), "features with some": some, "features without any value": empty}
    if some:
        text = f"{share:.2%} of the values are missing, in {some:,} of {len(features):,} features"
        text += f"; {empty:,} have no value at all." if empty else "."
        yield Check("missing values", "note", text, figures)
    else:
        yield Check("missing values", "fine", "No value is missing.", figures)

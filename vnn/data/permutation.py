"""Label nulls: the labels a study would have, were they linked to nothing but its covariates; drawn by name.

What may change places with what is decided once, by `label_null`; each draw is then a pure function of the study
seed, the number of the draw and the set of sample ids. All samples of the study are drawn at once, so that splits,
seeds and batches of a draw stay those of the real study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit, gammaln, log_softmax

from vnn import chance
from vnn._errors import AlignmentError, culprits
from vnn.data.covariates import CovariateCoding
from vnn.data.samples import unique
from vnn.data.splits import ByName
from vnn.data.targets import Target

FEWEST_LABELLINGS = 20
JUDGED = 20
SAME = 1e-9
SWEEPS = 64
TRIALS = 4
PENALTY = 1e-3
NOTHING_LEFT = 1e-6
CELL = 10
BIN = 5


@dataclass(frozen=True, eq=False)
class Relabelled:
    """One draw of a label null.

    Parameters
    ----------
    targets
        The new targets, in the order of the samples and targets that were given.
    draw
        Its number.
    changed
        Share of the samples whose label (for "cox" time and event, for several targets any of them) changed.
    words
        What was done.
    """

    targets: tuple[Target, ...]
    draw: int
    changed: float
    words: str

    @property
    def target(self) -> Target:
        """The new target, where there is one."""
        if len(self.targets) > 1:
            names = culprits(target.name for target in self.targets)
            raise ValueError(f"there are {len(self.targets)} targets, {names}; use `targets`.")
        return self.targets[0]


@dataclass(frozen=True, eq=False)
class LabelNull:
    """What may change places with what, and by which method; made by `label_null`.

    Parameters
    ----------
    targets
        The real targets.
    seed
        Seed of the study.
    method
        "permutation", "Freedman-Lane" or "conditional permutation".
    words
        What is done, as the page prints it: "labels 'diagnosis' permuted between 46 groups ('donor')".
    unit
        What is permuted: "samples", or the name of the groups.
    n_units, n_strata
        How many units there are, and within how many strata they change places.
    expected
        The share of units whose label is expected to change in a draw.
    """

    targets: tuple[Target, ...]
    seed: int
    method: str
    words: str
    unit: str
    n_units: int
    n_strata: int
    expected: float
    _cohort: _Cohort
    _method: _Method

    def draw(self, number: int) -> Relabelled:
        """The labels of one draw.

        Raises
        ------
        ValueError
            If far fewer labels changed than expected.
        """
        cohort, before = self._cohort, self._cohort.labels
        after = self._method.drawn(chance.generator(self.seed, "label null", number))
        moved = (np.abs(after - before) > SAME * before.std(axis=0)).any(axis=1)
        due = self.expected * self.n_units
        if due >= JUDGED and moved.sum() < due / 10:
            raise ValueError(
                f"draw {number} of the label null changed {moved.sum():,} of {self.n_units:,} {self.unit}; about {due:,.0f} "
                "were expected to change. This is a fault of vnn; please report it with the study."
            )
        columns = iter(after[cohort.unit_of][cohort.back].T)
        new = []
        for target in self.targets:
            values = next(columns)
            new.append(replace(target, values=values, events=None if target.events is None else next(columns) > 0))
        return Relabelled(tuple(new), number, float(moved[cohort.unit_of].mean()), self.words)


def label_null(
    target: Target | Sequence[Target],
    ids: Sequence[str],
    *,
    seed: int,
    covariates: pd.DataFrame | None = None,
    groups: ByName | None = None,
    strata: ByName | None = None,
    least: float = 0.1,
) -> LabelNull:
    """How the labels of a study are permuted, given what else is declared of its samples.

    This is the self-contained null: no feature tells anything of the label beyond what covariates and groups do.
    What changes places must be exchangeable under that hypothesis:

    - *Groups* (donors, families). If every group has one label, the group is the unit, and labels are permuted between
      all groups, large and small: under the null a label is linked to nothing of its group, its size included.
      Numbers of samples per class then differ between draws, numbers of groups do not. Where group size does go with the
      label by design, give size classes as `strata`. If labels differ within groups, they are permuted within groups.
    - *Nothing else declared*: labels are permuted. Several targets are permuted together, sample by sample.
    - *Covariates, regression*: residuals of y on the covariates are permuted and added back (Freedman-Lane); for several
      quantities all residuals of a sample together.
    - *Covariates, classes*: labels are drawn from their covariate-only (multinomial) logistic model given the observed
      number of samples of every class. The model makes a labelling y as likely as the product of p(y_i | z_i), so random pairs
      (i, j) trade their labels with the odds p(y_j | z_i) p(y_i | z_j) : p(y_i | z_i) p(y_j | z_j), all pairs of a random
      matching at once (the conditional permutation test). From the real labels 64 matchings lead to a hub that all draws
      share, and 64 more from the hub to each draw, which makes real and drawn labels exchangeable under the model. For two
      classes this is conditional Bernoulli sampling.
    - *Covariates, survival*: times and events are permuted together within strata: cells of equal covariates if they are all
      categories and every cell has at least 10 units, otherwise bins of five units or more that a covariate-only Cox model
      gives alike risks. What covariates tell within a bin is lost.
    - *Several targets that are not all quantities, with covariates*: give `strata`, or covariates that are categories.

    Measured on 300 studies of 100 samples, in which a covariate decides the label and a feature follows the covariate
    (correlation 0.8): the share with p <= 0.05 is 0.05 for a quantity, 0.01 to 0.02 for classes (each draw also varies
    how labels go with covariates, which makes the test careful) and 0.07 for survival; 0.98 to 1 if the covariate
    is not declared.

    With groups as units, covariates are averaged over each group; within groups, the mean of the group and the deviation
    from it are covariates of their own.

    Parameters
    ----------
    target
        The real labels of the samples, or several targets of the same samples.
    ids
        Sample ids in the order of the labels. Their order changes no draw.
    seed
        Seed of the study.
    covariates, groups
        As declared for the study, indexed by sample id; a row (an entry) for each of `ids` and possibly others. Use the
        groups that splits keep together.
    strata
        If given, labels are permuted within these strata instead of given the covariates. Constant within groups where
        groups are the units.
    least
        The expected share of units whose label changes must be at least this part of what it would be if all
        labels were permuted freely.

    Returns
    -------
    A `LabelNull`; `label_null(...).draw(0)` is its first draw.

    Raises
    ------
    AlignmentError
        If a sample is missing from `covariates`, `groups` or `strata`.
    ValueError
        If fewer than 20 different labellings are possible, covariates leave (almost) nothing of the labels to permute, or
        strata or groups are too small.

    References
    ----------
    Freedman & Lane (1983), doi:10.2307/1391660; exchangeability blocks: Winkler et al. (2014),
    doi:10.1016/j.neuroimage.2014.01.060; conditional permutation: Berrett et al. (2020), doi:10.1111/rssb.12340

    Examples
    --------
    >>> target = Target("phenotype", "binary", np.arange(12) % 2, ("control", "case"))
    >>> null = label_null(target, [f"p{i}" for i in range(12)], seed=1)
    >>> null.words
    "labels 'phenotype' permuted among 12 samples"
    >>> int(null.draw(0).target.values.sum())
    6
    """
    targets = (target,) if isinstance(target, Target) else tuple(target)
    cohort = _Cohort.of(targets, unique(ids, "sample ids"), groups, strata)
    given = None if strata is not None or covariates is None else _Given.of(covariates, cohort)
    tasks = {each.task for each in targets}
    if given is None:
        made = _permuted(targets, cohort, cohort.strata, "")
    elif tasks == {"regression"}:
        made = _freedman_lane(targets, cohort, given)
    elif tasks <= {"binary", "multiclass"} and len(targets) == 1:
        made = _conditional(targets[0], cohort, given, seed)
    else:
        cells, how = _cells(targets, cohort, given)
        made = _permuted(targets, cohort, _crossed(cohort.strata, cells), f", within {cells.max() + 1:,} {how}")
    _enough(made, cohort)
    free = _spread(_row_codes(cohort.labels), np.zeros(cohort.n_units, dtype=np.int64))
    if made.expected < least * free:
        raise ValueError(
            f"{made.words}: a draw changes the labels of about {made.expected:.1%} of {cohort.n_units:,} {cohort.unit}, where "
            f"free permutation would change {free:.1%}. So little is left to permute that the null would be the real study "
            "again: declare fewer or coarser covariates, groups or strata, or say by a lower `least` that this is meant."
        )
    return LabelNull(
        targets, seed, made.method, made.words, cohort.unit, cohort.n_units, len(np.unique(made.strata)), made.expected,
        cohort, made,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Cohort:
    """The labels of units in the order of sorted sample ids, and within which strata they may change places.

    `unit_of` is the unit of each sorted sample, `back` brings sorted samples to the order that was given.
    """

    ids: tuple[str, ...]
    labels: np.ndarray
    unit_of: np.ndarray
    back: np.ndarray
    strata: np.ndarray
    blocks: np.ndarray | None
    unit: str
    who: str

    @classmethod
    def of(
        cls, targets: Sequence[Target], ids: tuple[str, ...], groups: ByName | None, strata: ByName | None
    ) -> _Cohort:
        sizes = [len(each.values) for each in targets]
        if not targets or set(sizes) != {len(ids)}:
            raise ValueError(
                f"there are {len(ids):,} sample ids for targets of {sizes} labels; a label needs its sample."
            )
        order = np.argsort(np.array(ids, dtype=object), kind="stable")
        listed = tuple(ids[place] for place in order)
        labels = np.column_stack([each.truth for each in targets]).astype(np.float64)[order]
        unit_of, blocks, unit, who = np.arange(len(ids)), None, "samples", f"among {len(ids):,} samples"
        if groups is not None:
            codes, name = _codes(groups, listed, "groups")
            many = f"{codes.max() + 1:,} groups{name}"
            if _constant(labels, codes):
                unit_of, unit, who = codes, f"groups{name}", f"between {many}"
            else:
                blocks, who = codes, f"within {many}"
        within = np.zeros(unit_of.max() + 1, dtype=np.int64) if blocks is None else blocks
        first = np.unique(unit_of, return_index=True)[1]
        if strata is not None:
            codes, name = _codes(strata, listed, "strata")
            if not _constant(codes[:, None], unit_of):
                raise ValueError(
                    f"the strata{name} differ within {unit}, which are permuted as wholes; give strata that do not."
                )
            within = _crossed(within, codes[first])
            who += f", within {codes.max() + 1:,} strata{name}"
        return cls(listed, labels[first], unit_of, np.argsort(order), within, blocks, unit, who)

    @property
    def n_units(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class _Given:
    """The covariates of the units: standardised columns, cells of equal categories where all are such, and names."""

    columns: np.ndarray
    cells: np.ndarray | None
    names: str

    @classmethod
    def of(cls, covariates: pd.DataFrame, cohort: _Cohort) -> _Given | None:
        """None where no covariate differs between units."""
        known = covariates.rename(index=str)
        unique(known.index, "sample ids of `covariates`")
        if absent := sorted(set(cohort.ids) - set(known.index)):
            raise AlignmentError(
                f"{len(absent):,} of {len(cohort.ids):,} samples are not in `covariates`: {culprits(absent)}. "
                "Give a row for every sample, or leave these samples out."
            )
        frame = known.loc[list(cohort.ids)]
        z = _means(CovariateCoding.fit(frame).encode(frame).T, cohort.unit_of)
        if cohort.blocks is not None:
            between = _means(z, cohort.blocks)[cohort.blocks]
            z = np.hstack([z - between, between])
        spread = z.std(axis=0)
        varies = spread > 1e-12 * np.maximum(1.0, np.abs(z).max(axis=0, initial=0.0))
        if not varies.any():
            return None
        z = (z[:, varies] - z[:, varies].mean(axis=0)) / spread[varies]
        category = [not pd.api.types.is_numeric_dtype(frame[name]) or frame[name].nunique() <= 2 for name in frame]
        cells = _row_codes(np.column_stack([pd.factorize(frame[name])[0] for name in frame]))
        plain = all(category) and _constant(cells[:, None], cohort.unit_of)
        first = np.unique(cohort.unit_of, return_index=True)[1]
        return cls(z, cells[first] if plain else None, ", ".join(map(str, frame.columns)))


@dataclass(frozen=True, eq=False)
class _Method:
    """How units get new labels: by an exchange of `rows`, added to `base`, or by trades of these classes under `log_p`."""

    method: str
    words: str
    strata: np.ndarray
    codes: np.ndarray
    expected: float
    rows: np.ndarray
    base: np.ndarray | float = 0.0
    log_p: np.ndarray | None = None

    def drawn(self, rng: np.random.Generator) -> np.ndarray:
        """New labels, shape (n_units, n_columns)."""
        if self.log_p is None:
            return self.base + self.rows[exchanged(self.strata, rng)]
        classes = traded(self.rows[:, 0], self.log_p, rng, strata=self.strata)
        return classes[:, None].astype(np.float64)


def exchanged(strata: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random order of the units in which every unit is replaced by one of its stratum, all orders equally likely."""
    order = np.empty(len(strata), dtype=np.int64)
    order[np.argsort(strata, kind="stable")] = np.argsort(strata + rng.random(len(strata)))
    return order


def traded(
    classes: np.ndarray,
    log_p: np.ndarray,
    rng: np.random.Generator,
    *,
    strata: np.ndarray | None = None,
    sweeps: int = SWEEPS,
) -> np.ndarray:
    """Classes after random trades whose long-run distribution is that of independent classes given their numbers.

    Each sweep matches units at random in pairs, within strata, and every pair trades its classes with the odds of doing
    so under the model: the parallel pairwise sampler of the conditional permutation test.

    Parameters
    ----------
    classes
        Where to start: codes from 0, shape (n_units,).
    log_p
        Log probability of each class for each unit, up to a number per unit or per class, shape (n_units, n_classes).
    rng
        A named generator.
    strata
        Codes; numbers of classes are kept in every stratum. All units are one stratum unless given.
    sweeps
        How many matchings.

    References
    ----------
    Berrett, Wang, Barber & Samworth (2020), algorithm 1, doi:10.1111/rssb.12340
    """
    now = classes.copy()
    within = np.zeros(len(now), dtype=np.int64) if strata is None else strata
    held = np.sort(within)
    rank = np.arange(len(held)) - np.searchsorted(held, held)
    left = np.flatnonzero((rank[:-1] % 2 == 0) & (held[1:] == held[:-1]))
    for _ in range(sweeps):
        order = np.argsort(within + rng.random(len(now)))
        i, j = order[left], order[left + 1]
        a, b = now[i], now[j]
        odds = log_p[i, b] + log_p[j, a] - log_p[i, a] - log_p[j, b]
        trade = rng.random(len(i)) < expit(odds)
        now[i[trade]], now[j[trade]] = b[trade], a[trade]
    return now


def _permuted(targets: Sequence[Target], cohort: _Cohort, strata: np.ndarray, where: str) -> _Method:
    cox = {each.task for each in targets} == {"cox"}
    what = "times and events" if cox else "labels"
    words = f"{what} {_names(targets)} permuted {'together ' if cox or len(targets) > 1 else ''}{cohort.who}{where}"
    codes = _row_codes(cohort.labels)
    return _Method("permutation", words, strata, codes, _spread(codes, strata), cohort.labels)


def _freedman_lane(targets: Sequence[Target], cohort: _Cohort, given: _Given) -> _Method:
    design = np.column_stack([np.ones(cohort.n_units), given.columns])
    coefficients, _, rank, _ = np.linalg.lstsq(design, cohort.labels)
    fitted = design @ coefficients
    residuals = cohort.labels - fitted
    left = residuals.var(axis=0) / cohort.labels.var(axis=0)
    if cohort.n_units - rank < 2 or (left < NOTHING_LEFT).any():
        raise ValueError(
            f"the covariates {given.names} leave nothing of {_names(targets)} to permute: {rank} coefficients for "
            f"{cohort.n_units:,} {cohort.unit}, {left.min():.2g} of the variance left. Declare fewer covariates."
        )
    words = f"residuals of {_names(targets)} on {given.names} permuted {cohort.who} and added back (Freedman-Lane)"
    codes = _row_codes(residuals)
    expected = _spread(codes, cohort.strata)
    return _Method("Freedman-Lane", words, cohort.strata, codes, expected, residuals, fitted)


def _conditional(target: Target, cohort: _Cohort, given: _Given, seed: int) -> _Method:
    classes = cohort.labels[:, 0].astype(np.int64)
    log_p = _log_probabilities(given.columns, classes, len(target.classes))
    hub = traded(classes, log_p, chance.generator(seed, "label null hub"), strata=cohort.strata)
    trials = [
        (traded(hub, log_p, chance.generator(seed, "label null trial", trial), strata=cohort.strata) != classes).mean()
        for trial in range(TRIALS)
    ]
    words = f"labels {_names([target])} drawn {cohort.who} from their model given {given.names}, class sizes kept"
    expected = float(np.mean(trials))
    return _Method("conditional permutation", words, cohort.strata, classes, expected, hub[:, None], log_p=log_p)


def _cells(targets: Sequence[Target], cohort: _Cohort, given: _Given) -> tuple[np.ndarray, str]:
    """Strata in which covariates are alike, and what they are."""
    if given.cells is not None and np.bincount(given.cells).min() >= CELL:
        return given.cells, f"cells of equal {given.names}"
    if len(targets) > 1:
        raise ValueError(
            f"the targets {_names(targets)} are not all quantities and are permuted together, but the covariates "
            f"{given.names} do not make cells of at least {CELL} equal {cohort.unit}. Give `strata`, or permute each "
            "target by itself."
        )
    n_bins = cohort.n_units // BIN
    if n_bins < 2:
        raise ValueError(
            f"{cohort.n_units:,} {cohort.unit} are too few to be permuted within strata of alike {given.names}; at least "
            f"{2 * BIN} are needed. Leave out the covariates, or give `strata`."
        )
    risk = given.columns @ _hazard_slopes(given.columns, *cohort.labels.T)
    inner = np.unique(np.quantile(risk, np.arange(1, n_bins) / n_bins))
    bins = np.unique(np.searchsorted(inner, risk, side="right"), return_inverse=True)[1]
    return bins, f"bins of alike risk given {given.names}"


def _log_probabilities(columns: np.ndarray, classes: np.ndarray, n_classes: int) -> np.ndarray:
    """Log probability of every class for every unit under the multinomial logistic model of the columns."""
    design = np.column_stack([np.ones(len(columns)), columns])
    wanted = np.eye(n_classes)[classes]
    penalty = np.concatenate([[0.0], np.full(columns.shape[1], PENALTY)])[:, None]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        beta = flat.reshape(design.shape[1], n_classes)
        log_p = log_softmax(design @ beta, axis=1)
        gradient = design.T @ (np.exp(log_p) - wanted) + penalty * beta
        return float((penalty * beta**2).sum() / 2 - (wanted * log_p).sum()), gradient.ravel()

    start = np.zeros((design.shape[1], n_classes))
    start[0] = np.log(np.maximum(wanted.mean(axis=0), 1 / len(wanted)))
    found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 1000, "gtol": 1e-6})
    return log_softmax(design @ found.x.reshape(start.shape), axis=1)


def _hazard_slopes(columns: np.ndarray, times: np.ndarray, events: np.ndarray) -> np.ndarray:
    """Coefficients of Cox's model of the columns (Breslow's likelihood)."""
    order = np.argsort(-times, kind="stable")
    z, later, died = columns[order], times[order], events[order] > 0
    last = np.searchsorted(-later, -later[died], side="right") - 1

    def loss(beta: np.ndarray) -> tuple[float, np.ndarray]:
        risk = z @ beta
        hazard = np.exp(risk - risk.max())
        at_risk = np.cumsum(hazard)[last]
        centre = np.cumsum(hazard[:, None] * z, axis=0)[last] / at_risk[:, None]
        value = (np.log(at_risk) + risk.max()).sum() - risk[died].sum() + PENALTY / 2 * beta @ beta
        return float(value), centre.sum(axis=0) - z[died].sum(axis=0) + PENALTY * beta

    found: np.ndarray = minimize(loss, np.zeros(z.shape[1]), jac=True, method="L-BFGS-B").x
    return found


def _enough(made: _Method, cohort: _Cohort) -> None:
    """An error unless there are enough different labellings for a p of 0.05."""
    pairs = np.unique(np.stack([made.strata, made.codes]), axis=1, return_counts=True)[1]
    labellings = gammaln(np.bincount(made.strata) + 1).sum() - gammaln(pairs + 1).sum()
    if labellings < np.log(FEWEST_LABELLINGS - 0.5):
        raise ValueError(
            f"{made.words}: only {round(np.exp(labellings)):,} different labellings of {cohort.n_units:,} {cohort.unit} in "
            f"{len(np.unique(made.strata)):,} strata are possible; {FEWEST_LABELLINGS} are needed for a p of 0.05. "
            "More units of each label, or fewer or larger strata, are needed."
        )


def _spread(codes: np.ndarray, strata: np.ndarray) -> float:
    """The share of units whose code is expected to change when codes are permuted within strata."""
    pairs, counts = np.unique(np.stack([strata, codes]), axis=1, return_counts=True)
    return float(1 - (counts**2 / np.bincount(strata)[pairs[0]]).sum() / len(codes))


def _row_codes(rows: np.ndarray) -> np.ndarray:
    """A number for each row, the same for equal rows."""
    code = np.zeros(len(rows), dtype=np.int64)
    for column in rows.T:
        code = _crossed(code, np.unique(column, return_inverse=True)[1])
    return code


def _crossed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Codes from 0 of the pairs that two codes make."""
    return np.unique(a * (b.max() + 1) + b, return_inverse=True)[1]


def _constant(labels: np.ndarray, codes: np.ndarray) -> bool:
    """Whether all samples of each code have the same labels."""
    return bool(_row_codes(np.column_stack([codes, labels])).max() == codes.max())


def _means(columns: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """The mean of each column for each code, shape (n_codes, n_columns)."""
    sums = np.zeros((codes.max() + 1, columns.shape[1]))
    np.add.at(sums, codes, columns)
    return sums / np.bincount(codes)[:, None]


def _codes(given: ByName, ids: tuple[str, ...], what: str) -> tuple[np.ndarray, str]:
    """Codes from 0 of the names the samples have in a table, and the name of the table in brackets."""
    if not isinstance(given, Mapping | pd.Series):
        raise TypeError(f"`{what}` is a {type(given).__name__}; pass a Series indexed by sample id, or a mapping.")
    known: dict[str, Any] = {str(sample): value for sample, value in given.items()}
    if lost := [sample for sample in ids if sample not in known or pd.isna(known[sample])]:
        raise AlignmentError(
            f"{len(lost):,} of {len(ids):,} samples have no entry in `{what}`: {culprits(lost)}. "
            "Complete it, or leave these samples out."
        )
    name = getattr(given, "name", None)
    codes = np.unique(np.array([str(known[sample]) for sample in ids], dtype=object), return_inverse=True)[1]
    return codes, "" if name is None else f" ({str(name)!r})"


def _names(targets: Sequence[Target]) -> str:
    return ", ".join(repr(each.name) for each in targets)

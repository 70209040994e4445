"""Rules: a few thresholds on node activities that foretell the label, and how much is lost by so few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, groupby

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from vnn._errors import choose
from vnn.chance import generator
from vnn.data.samples import Samples
from vnn.data.targets import Target
from vnn.interpret.activity import FLAT, Activities, activities
from vnn.interpret.contrast import part_of, residuals
from vnn.training import Fit
from vnn.training.baselines import COVARIATES, applicable, baselines, network_rows
from vnn.training.interval import interval, ratio_of, repeats_of
from vnn.training.metrics import METRIC, metrics

RULES, NETWORK, MAJORITY = "rules", "visible network", "majority"
ACCURACY, BALANCED = "accuracy", "balanced accuracy"
DEEPEST = 3
LOW, HIGH = "low", "high"
N_DRAWS = 200


@dataclass(frozen=True)
class Condition:
    """One node above a threshold, or not, in standard deviations of its activity over the training samples.

    Parameters
    ----------
    node
        "level/node".
    side
        "high" (above the threshold) or "low" (at or below it).
    threshold
        Where the tree cuts.
    """

    node: str
    side: str
    threshold: float

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Whether it holds for each activity."""
        return values > self.threshold if self.side == HIGH else values <= self.threshold


@dataclass(frozen=True, eq=False)
class Rules:
    """Rules of every split, what they reach on samples they never saw, and whether other splits find them too.

    Parameters
    ----------
    table
        One row per rule, a rule being the nodes, the side of each and what they foretell, whatever the thresholds: rule (in words),
        conditions, prediction, n_conditions, n_splits (splits whose tree holds it), stability (their share), support
        (share of the held-out samples for which it holds), right (share of these that are of the class; for a quantity or
        survival their mean outcome), right_low, right_high, otherwise (the same for the held-out samples for which it does
        not hold), thresholds (median over splits). Means over the splits that hold it.
    by_split
        One row per rule and split: split, rule, text (with thresholds), prediction, n_learnt, n_test, support, right, low, high
        (exact binomial interval of right, for classes), otherwise.
    nodes
        One row per node that any tree uses: level, node, name, n_splits, stability (share of splits whose tree uses it), first
        (share of splits whose tree asks it first).
    performance
        One row per model ("rules", "visible network", "covariates only", "majority") and metric: model, metric, mean, low, high,
        n_splits.
    agreement
        Mean Jaccard index of the node sets of two splits; missing with one split.
    agreement_by_chance
        The same for as many nodes drawn at random.
    """

    table: pd.DataFrame
    by_split: pd.DataFrame
    nodes: pd.DataFrame
    performance: pd.DataFrame
    agreement: float
    agreement_by_chance: float


def rules(
    fit: Fit,
    samples: Samples,
    *,
    levels: Sequence[str] | None = None,
    depth: int = DEEPEST,
    smallest: float = 0.05,
    most_leaves: int | None = None,
) -> Rules:
    """Shallow decision trees over oriented activities, written as rules.

    In each split a tree learns the label from the activities of its networks on the training and validation part. Activities
    are standardised in each network by its training samples, then averaged over seeds. Leaves side by side that foretell the
    same are joined, and of several thresholds on one node the tightest is kept. Everything reported of a rule is
    measured on the test part. A rule describes the networks' activities; nodes that go together can stand for each other, so the
    node a tree asks is not the only one that would do, which `stability` and `agreement` show.

    Parameters
    ----------
    fit
        Trained networks of the real study; those that diverged are left out.
    samples
        The samples of the fit.
    levels
        Levels whose nodes may be asked; unless given all that have activities, but for an only output node at the top, which is
        the prediction under another name.
    depth
        Most conditions of a rule, 1 to 3.
    smallest
        Smallest leaf, as share of the samples learnt from.
    most_leaves
        Most rules of a tree.

    Returns
    -------
    `Rules`, the most stable rules first. Intervals are the corrected resampled t interval over splits, missing for rules that one
    split has. The measure is that of the task and, for classes, accuracy, which "majority" (the commonest class learnt from)
    reaches without looking at anything. Trees weigh classes equally, so balanced accuracy stands beside it.

    Raises
    ------
    ValueError
        If the samples are others, a level is unknown, the depth is not 1 to 3, or no split has a test part.

    References
    ----------
    Breiman et al. (1984), Classification and regression trees, for the trees; scikit-learn grows them.
    """
    if sorted(samples.ids) != list(fit.ids):
        raise ValueError("rules need the samples the fit was made from; these are others.")
    if depth not in range(1, DEEPEST + 1):
        raise ValueError(f"`depth` is {depth}; rules have 1 to {DEEPEST} conditions, as longer ones are no reading.")
    if not 0 < smallest <= 0.5:
        raise ValueError(f"`smallest` is {smallest:g}; the share of a leaf must be above 0 and at most 0.5.")
    if most_leaves is not None and most_leaves < 2:
        raise ValueError(f"`most_leaves` is {most_leaves}; a tree has at least 2.")
    read = activities(fit, samples)
    if not read.levels:
        raise ValueError(
            "these networks have no oriented activities, as nulls do not; rules are read from the real networks of a study."
        )
    kept = _below_the_top(fit, read) if levels is None else [choose("the level", one, read.levels) for one in levels]
    columns = [(level, node) for level in kept for node in read.nodes[level]]
    place = {name: i for i, name in enumerate(fit.ids)}
    names = fit.replicates["split"].to_numpy()[fit.sound]
    trees = []
    for split in fit.splits:
        own = np.flatnonzero(names == split.name)
        if not len(own) or not split.test:
            continue
        learn, test = [*split.train, *split.validation], list(split.test)
        values = _standardised(read, kept, own)
        truth = {
            part: part_of(fit.target, np.array([place[i] for i in ids])) for part, ids in (("l", learn), ("t", test))
        }
        trees.append(
            _Tree(
                split.name, columns, values[samples.index(learn)], truth["l"], values[samples.index(test)], truth["t"],
                seed=fit.networks.seed, depth=depth, smallest=smallest, most_leaves=most_leaves,
            )
        )  # fmt: skip
    if not trees:
        raise ValueError(
            "no split with networks has a test part, so no rule can be measured; make splits with one, such as `k_fold`."
        )
    by_split = _by_split(fit, trees)
    return Rules(
        _table(fit, by_split, trees),
        by_split.drop(columns=["conditions", "thresholds"]),
        _nodes(fit, trees),
        _performance(fit, samples, trees),
        _agreement([tree.used for tree in trees]),
        _chance_agreement(fit.networks.seed, [len(tree.used) for tree in trees], len(columns)),
    )


def _below_the_top(fit: Fit, read: Activities) -> list[str]:
    outputs = fit.topology.outputs
    top = outputs[0] if len(outputs) == 1 else ("", "")
    return [level for level in read.levels if (level, *read.nodes[level]) != top] or list(read.levels)


def simplified(conditions: Sequence[Condition]) -> tuple[Condition, ...]:
    """The same set of samples with at most one condition per node and side, by node and side."""
    tightest: dict[tuple[str, str], float] = {}
    for one in conditions:
        key = one.node, one.side
        pick = max if one.side == HIGH else min
        tightest[key] = pick(tightest.get(key, one.threshold), one.threshold)
    return tuple(Condition(node, side, tightest[node, side]) for node, side in sorted(tightest))


class _Tree:
    """A tree of one split, its rules, and what they make of the test part."""

    def __init__(
        self,
        split: str,
        columns: Sequence[tuple[str, str]],
        learn: np.ndarray,
        learnt: Target,
        test: np.ndarray,
        truth: Target,
        *,
        seed: int,
        depth: int,
        smallest: float,
        most_leaves: int | None,
    ) -> None:
        self.split, self.columns, self.learnt, self.truth = split, columns, learnt, truth
        self.outcome = (learnt.values if learnt.classes else residuals(learnt)).astype(float)
        kind = DecisionTreeClassifier if learnt.classes else DecisionTreeRegressor
        options = {"class_weight": "balanced"} if learnt.classes else {}
        tree = kind(
            max_depth=depth, min_samples_leaf=smallest, max_leaf_nodes=most_leaves,
            random_state=int(generator(seed, "rules", split).integers(2**31)), **options,
        ).fit(learn, self.outcome)  # fmt: skip
        self.nodes = tree.tree_
        self.learn, self.test = learn.astype(np.float32), test.astype(np.float32)
        if learnt.classes:
            codes = tree.classes_.astype(int)
            self.predicted = np.zeros((len(test), len(learnt.classes)))
            self.predicted[:, codes] = tree.predict_proba(test)
            self.called = codes[tree.tree_.value[:, 0].argmax(1)]
        else:
            self.predicted = tree.predict(test)[:, None]
            self.called = (tree.tree_.value[:, 0, 0] > self.outcome.mean()).astype(int)
        self.rules = self._rules(0, ())
        asked = {one.node for conditions, _ in self.rules for one in conditions}
        self.used = {column for column in columns if "/".join(column) in asked}
        self.first = columns[self.nodes.feature[0]] if asked else None

    def _rules(self, at: int, above: tuple[Condition, ...]) -> list[tuple[tuple[Condition, ...], int]]:
        """Conditions and what they foretell, for every leaf below, leaves that foretell the same joined."""
        if len(called := self._called_below(at)) == 1:
            return [(simplified(above), called.pop())]
        held = self.nodes
        node, cut = "/".join(self.columns[held.feature[at]]), float(held.threshold[at])
        low, high = Condition(node, LOW, cut), Condition(node, HIGH, cut)
        left, right = int(held.children_left[at]), int(held.children_right[at])
        return self._rules(left, (*above, low)) + self._rules(right, (*above, high))

    def _called_below(self, at: int) -> set[int]:
        left, right = int(self.nodes.children_left[at]), int(self.nodes.children_right[at])
        if left < 0:
            return {int(self.called[at])}
        return self._called_below(left) | self._called_below(right)

    def holds(self, conditions: Sequence[Condition], values: np.ndarray) -> np.ndarray:
        """Whether all conditions hold, for each sample."""
        at = {"/".join(column): i for i, column in enumerate(self.columns)}
        found = np.ones(len(values), dtype=bool)
        for one in conditions:
            found &= one.holds(values[:, at[one.node]])
        return found

    def scores(self) -> dict[str, float]:
        """Held-out performance of all rules together."""
        found = metrics(self.truth.task, self.truth.truth, self.predicted)
        if self.truth.classes:
            found[ACCURACY] = float(np.mean(self.predicted.argmax(1) == self.truth.values))
        return found

    def majority(self) -> dict[str, float]:
        """The same for always calling the class that is commonest among the samples learnt from."""
        n = len(self.learnt.classes)
        commonest = np.bincount(self.learnt.values, minlength=n).argmax()
        return {ACCURACY: float(np.mean(self.truth.values == commonest)), BALANCED: 1 / n}


def _standardised(read: Activities, levels: Sequence[str], own: np.ndarray) -> np.ndarray:
    """Activities in units of their training samples, averaged over the networks of a split, (n_samples, n_nodes)."""
    found = []
    for level in levels:
        sd = read.sd[level][own]
        z = (read.levels[level][:, own] - read.mean[level][own]) / np.where(sd > FLAT, sd, np.inf)
        found.append(z.mean(1))
    return np.concatenate(found, axis=1)


def _by_split(fit: Fit, trees: Sequence[_Tree]) -> pd.DataFrame:
    names = fit.topology.names
    label = {"/".join(column): names.get(column[1], column[1]) for column in trees[0].columns}
    rows = []
    for tree in trees:
        outcome = tree.truth.values if tree.truth.events is None else residuals(tree.truth)
        for conditions, value in tree.rules:
            inside, learnt = tree.holds(conditions, tree.test), tree.holds(conditions, tree.learn)
            right = outcome == value if tree.truth.classes else outcome
            low, high = _exact(right[inside]) if tree.truth.classes else (np.nan, np.nan)
            row = {
                "split": tree.split,
                "rule": _words(fit, conditions, value, label, thresholds=False),
                "text": _words(fit, conditions, value, label, thresholds=True),
                "conditions": tuple((one.node, one.side) for one in conditions),
                "thresholds": tuple(one.threshold for one in conditions),
                "prediction": _prediction(fit.target, value),
                "n_learnt": int(learnt.sum()),
                "n_test": int(inside.sum()),
                "support": float(inside.mean()),
                "right": _mean(right[inside]),
                "low": low,
                "high": high,
                "otherwise": _mean(right[~inside]),
            }
            rows.append(row)
    return pd.DataFrame(rows)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else np.nan


def _exact(right: np.ndarray) -> tuple[float, float]:
    """Clopper and Pearson's interval of a share."""
    if not len(right):
        return np.nan, np.nan
    found = stats.binomtest(int(right.sum()), len(right)).proportion_ci()
    return float(found.low), float(found.high)


def _prediction(target: Target, value: int) -> str:
    if target.classes:
        return target.classes[value]
    what = target.name if target.events is None else f"risk ({target.event})"
    return f"{HIGH if value else LOW} {what}"


def _words(fit: Fit, conditions: Sequence[Condition], value: int, label: dict[str, str], *, thresholds: bool) -> str:
    parts = []
    for node, both in groupby(conditions, key=lambda one: one.node):
        cuts = {one.side: one.threshold for one in both}
        if not thresholds:
            parts.append(f"{label[node]} {'between' if len(cuts) == 2 else next(iter(cuts))}")
            continue
        below = f"{cuts[HIGH]:.2f} < " if HIGH in cuts and LOW in cuts else ""
        above = f" <= {cuts[LOW]:.2f}" if LOW in cuts else f" > {cuts[HIGH]:.2f}"
        parts.append(f"{below}{label[node]}{above}")
    return f"{' and '.join(parts) or 'always'}: {_prediction(fit.target, value)}"


def _table(fit: Fit, by_split: pd.DataFrame, trees: Sequence[_Tree]) -> pd.DataFrame:
    ratio, repeats = ratio_of(fit.splits), repeats_of(fit.splits)
    rows = []
    for (rule, conditions, prediction), own in by_split.groupby(["rule", "conditions", "prediction"], sort=False):
        each = own.groupby("split", sort=False)[["support", "right", "otherwise"]].mean()
        mean, low, high = (float(end[0]) for end in interval(each[["right"]].to_numpy(), ratio, repeats=repeats))
        rows.append(
            {
                "rule": rule, "conditions": conditions, "prediction": prediction,
                "n_conditions": own["conditions"].map(len).iloc[0],
                "n_splits": len(each), "stability": len(each) / len(trees), "support": each["support"].mean(),
                "right": mean, "right_low": low, "right_high": high, "otherwise": each["otherwise"].mean(),
                "thresholds": tuple(np.median(np.array(own["thresholds"].tolist()).reshape(len(own), -1), axis=0).tolist()),
            }
        )  # fmt: skip
    table = pd.DataFrame(rows)
    order = np.lexsort((table["rule"], -table["support"], -table["n_splits"]))
    return table.iloc[order].reset_index(drop=True)


def _nodes(fit: Fit, trees: Sequence[_Tree]) -> pd.DataFrame:
    names = fit.topology.names
    rows = []
    for level, node in sorted(set().union(*(tree.used for tree in trees))):
        n = sum((level, node) in tree.used for tree in trees)
        first = np.mean([tree.first == (level, node) for tree in trees])
        rows.append((level, node, names.get(node, node), n, n / len(trees), float(first)))
    table = pd.DataFrame(rows, columns=["level", "node", "name", "n_splits", "stability", "first"])
    return table.sort_values(["n_splits", "first"], ascending=False, kind="stable", ignore_index=True)


def _performance(fit: Fit, samples: Samples, trees: Sequence[_Tree]) -> pd.DataFrame:
    rows = [(tree.split, RULES, name, value) for tree in trees for name, value in tree.scores().items()]
    tables = [pd.DataFrame(network_rows(fit, samples, NETWORK))]
    if COVARIATES in applicable(fit.target.task, samples, fit.topology.inputs):
        tables.append(baselines(fit, samples, [COVARIATES]))
    if fit.target.classes:
        rows += _accuracies(fit, samples, trees)
        rows += [(tree.split, MAJORITY, name, value) for tree in trees for name, value in tree.majority().items()]
    columns = ["split", "model", "metric", "value"]
    table = pd.concat([pd.DataFrame(rows, columns=columns), *(one[columns] for one in tables)], ignore_index=True)
    ratio, repeats = ratio_of(fit.splits), repeats_of(fit.splits)
    summary = []
    for metric in (METRIC[fit.target.task], ACCURACY, BALANCED):
        for model, own in table[table["metric"] == metric].groupby("model", sort=False):
            values = own["value"].to_numpy(dtype=float)[:, None]
            mean, low, high = (float(end[0]) for end in interval(values, ratio, repeats=repeats))
            summary.append((model, metric, mean, low, high, int((~np.isnan(values)).sum())))
    return pd.DataFrame(summary, columns=["model", "metric", "mean", "low", "high", "n_splits"])


def _accuracies(fit: Fit, samples: Samples, trees: Sequence[_Tree]) -> list[tuple[str, str, str, float]]:
    """Of the networks, seeds averaged, the most probable class called."""
    prediction = fit.predict(samples)
    values = prediction.values
    splits = {split.name: split for split in fit.splits}
    rows = []
    for tree in trees:
        at = samples.index(splits[tree.split].test)
        mine = [r for r, name in enumerate(prediction.splits) if name == tree.split]
        right = [values[at, r].argmax(1) == tree.truth.values for r in mine]
        rows.append((tree.split, NETWORK, ACCURACY, float(np.mean(right))))
    return rows


def _agreement(used: Sequence[set[tuple[str, str]]]) -> float:
    pairs = [len(a & b) / len(a | b) if a | b else 1.0 for a, b in combinations(used, 2)]
    return float(np.mean(pairs)) if pairs else np.nan


def _chance_agreement(seed: int, sizes: Sequence[int], n_nodes: int) -> float:
    if len(sizes) < 2:
        return np.nan
    chance = generator(seed, "rules", "agreement by chance")
    found = []
    for _ in range(N_DRAWS):
        drawn = [{("", str(i)) for i in chance.permutation(n_nodes)[:size]} for size in sizes]
        found.append(_agreement(drawn))
    return float(np.mean(found))

"""Was the cause found, and what else was called: one cohort, and many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import beta

from vnn._errors import AlignmentError, culprits
from vnn.bench.truth.cohorts import Cohort
from vnn.data.kin import kin

GROUPED = 0.5
COLUMNS = ("rank", "called")


@dataclass(frozen=True, eq=False)
class Found:
    """What a method says of a cohort.

    Parameters
    ----------
    table
        One row per node, indexed by term id. Columns: `rank`, 1 for the first, missing for a node that is not ranked, equal for
        nodes the method cannot tell apart; `called`, whether it is declared a finding; optionally `leader`, whether it stands
        for its group of findings. Without `leader` findings are grouped by `groups_of`.
    auc
        Of the prediction for people the method did not learn from; None for methods that do not predict.
    extras
        Anything else worth keeping, as JSON takes it.
    """

    table: pd.DataFrame
    auc: float | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)


def evaluate(planted: Cohort, found: Found) -> dict[str, Any]:
    """Compare what a method says with what was planted.

    Ranks of equal nodes count as their mean. A call is false when it is not related to a causal pathway; every call in a null
    cohort is. Groups are counted by their leader.

    Returns
    -------
    n_nodes; rank (of the causal term or a gene-identical one), family_rank, family_top5, family_top10, family_called
    (missing in null cohorts); calls, false_calls, calls_without_signal, groups, false_groups, fdp (share of groups whose
    leader is false, 0 without groups), unrelated_called; confounded_rank and confounded_called where there is a
    confounder; auc; extras.

    Raises
    ------
    AlignmentError
        If a column is missing, or a node is repeated or is no term of the cohort.
    """
    table, sets = found.table, planted.setting.sets
    if absent := [name for name in COLUMNS if name not in table]:
        raise AlignmentError(
            f"the table of findings lacks the columns {culprits(absent)}; it has {culprits(table.columns)}."
        )
    if unknown := [name for name in table.index if name not in sets]:
        raise AlignmentError(
            f"{len(unknown):,} of {len(table):,} nodes are no terms of the cohort: {culprits(unknown)}. "
            "Index the table by term id, without inputs and copies."
        )
    if not table.index.is_unique:
        raise AlignmentError(
            f"nodes are there twice: {culprits(table.index[table.index.duplicated()])}. Give each once."
        )
    truth = planted.truth
    ranks = table["rank"].rank()
    called = set(table.index[table["called"].astype(bool)])
    signal = set(truth.carriers)
    order = [name for name in ranks.sort_values(kind="stable").index if name in called]
    if "leader" in table:
        leaders = [name for name in order if table.at[name, "leader"]]
    else:
        leaders = list(groups_of(order, sets, planted.setting.relations))
    false = [name for name in leaders if name not in truth.related]
    record: dict[str, Any] = {
        "n_nodes": len(table),
        "rank": None,
        "family_rank": None,
        "family_top5": None,
        "family_top10": None,
        "family_called": None,
        "calls": len(called),
        "false_calls": len(called - truth.related),
        "calls_without_signal": sum(sets[name].isdisjoint(signal) for name in called),
        "groups": len(leaders),
        "false_groups": len(false),
        "fdp": len(false) / len(leaders) if leaders else 0.0,
        "any_call": bool(called),
    }
    if truth.causes:
        same = {name for name in truth.family if any(sets[name] == sets[cause] for cause in truth.causes)}
        family_rank = _best(ranks, truth.family)
        record |= {
            "rank": _best(ranks, same),
            "family_rank": family_rank,
            "family_top5": family_rank is not None and family_rank <= 5,
            "family_top10": family_rank is not None and family_rank <= 10,
            "family_called": not called.isdisjoint(truth.family),
        }
    if truth.confounded is not None:
        own = kin(sets, planted.setting.relations, truth.confounded).family - truth.related
        record |= {"confounded_rank": _best(ranks, own), "confounded_called": not called.isdisjoint(own)}
    return record | {"auc": found.auc} | {"extras": dict(found.extras)}


def _best(ranks: pd.Series, names: frozenset[str] | set[str]) -> float | None:
    here = ranks[ranks.index.isin(names)].dropna()
    return float(here.min()) if len(here) else None


def groups_of(
    ordered: Sequence[str], sets: Mapping[str, frozenset[str]], relations: Sequence[tuple[str, str]]
) -> dict[str, list[str]]:
    """Findings, best first, as groups by their leader.

    A finding joins the first leader that is its ancestor or descendant or overlaps with it by a Jaccard index of at
    least 0.5; otherwise it leads a group of its own.
    """
    parents: dict[str, set[str]] = {}
    for child, parent in relations:
        parents.setdefault(child, set()).add(parent)
    above: dict[str, set[str]] = {}

    def ancestors(name: str) -> set[str]:
        if name not in above:
            direct = parents.get(name, set())
            above[name] = direct.union(*(ancestors(parent) for parent in direct))
        return above[name]

    found: dict[str, list[str]] = {}
    for name in ordered:
        for leader, members in found.items():
            one, other = sets[leader], sets[name]
            alike = len(one & other) >= GROUPED * len(one | other)
            if alike or leader in ancestors(name) or name in ancestors(leader):
                members.append(name)
                break
        else:
            found[name] = [name]
    return found


def exact_interval(hits: int, of: int, *, level: float = 0.95) -> tuple[float, float]:
    """The exact binomial interval of a share.

    References
    ----------
    Clopper & Pearson (1934), doi:10.1093/biomet/26.4.404
    """
    if not 0 <= hits <= of or of < 1:
        raise ValueError(
            f"{hits} of {of} is no share; hits must lie between 0 and the number of cohorts, which is at least 1."
        )
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, of - hits + 1))
    high = 1.0 if hits == of else float(beta.ppf(1 - tail, hits + 1, of - hits))
    return low, high


def summary(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row per arm and method.

    Returns
    -------
    n (cohorts), seeds; median_rank, median_family_rank; top5, top10, called, any_call, confounded_called, each a share with its
    exact 95 % interval in columns `_low` and `_high`; mean calls, false_calls, groups, false_groups, fdp; auc; seconds (median).
    Missing where an arm has no such thing.
    """
    rows = []
    table = pd.DataFrame(list(records))
    if not len(table):
        return table
    for (arm, method), own in table.groupby(["arm", "method"], sort=False):
        row: dict[str, Any] = {"arm": arm, "method": method, "n": len(own), "seeds": _runs(own["seed"])}
        for name, column in (("median_rank", "rank"), ("median_family_rank", "family_rank")):
            row[name] = pd.to_numeric(own[column]).fillna(np.inf).median() if own[column].notna().any() else np.nan
        shares = {
            "top5": "family_top5",
            "top10": "family_top10",
            "called": "family_called",
            "any_call": "any_call",
            "confounded_called": "confounded_called",
        }
        for name, column in shares.items():
            known: list[Any] = own[column].dropna().tolist() if column in own else []
            if len(known):
                hits = int(sum(map(bool, known)))
                row[name] = hits / len(known)
                row[f"{name}_low"], row[f"{name}_high"] = exact_interval(hits, len(known))
        for name in ("calls", "false_calls", "calls_without_signal", "groups", "false_groups", "fdp", "auc"):
            row[name] = pd.to_numeric(own[name]).mean()
        row["seconds"] = own["seconds"].median()
        rows.append(row)
    return pd.DataFrame(rows)


def _runs(seeds: pd.Series) -> str:
    """Whole numbers as runs: 1-20, 25."""
    found: list[list[int]] = []
    for seed in sorted(map(int, seeds)):
        if found and seed <= found[-1][1] + 1:
            found[-1][1] = seed
        else:
            found.append([seed, seed])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in found)


def summary_text(table: pd.DataFrame) -> str:
    """The summary as a Markdown table."""
    if not len(table):
        return "No cohort has been run yet."

    def share(row: Mapping[str, Any], name: str) -> str:
        if pd.isna(row.get(name)):
            return ""
        return f"{row[name]:.2f} ({row[f'{name}_low']:.2f}-{row[f'{name}_high']:.2f})"

    def number(value: float, digits: int) -> str:
        return "" if pd.isna(value) else f"{value:.{digits}f}"

    head = (
        "arm", "method", "n", "seeds", "rank", "family in top 5", "family in top 10", "family called", "calls / false",
        "groups / false", "FDP", "any call", "confounded called", "AUC", "s",
    )  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    for held in table.to_dict("records"):
        row = {str(key): value for key, value in held.items()}
        cells = (
            row["arm"], row["method"], str(row["n"]), row["seeds"], number(row["median_rank"], 1),
            share(row, "top5"), share(row, "top10"), share(row, "called"),
            f"{row['calls']:.1f} / {row['false_calls']:.1f}", f"{row['groups']:.1f} / {row['false_groups']:.1f}",
            number(row["fdp"], 2), share(row, "any_call"), share(row, "confounded_called"), number(row["auc"], 2),
            number(row["seconds"], 1),
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)

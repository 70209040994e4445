"""What a ranking of genes and a prediction are worth where the truth is known, one cohort and many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom
from sklearn.metrics import roc_auc_score

from vnn.bench.genotype_truth.cohorts import LABELS, PHENOTYPE, Planted
from vnn.bench.truth.evaluation import exact_interval
from vnn.data.genotypes import r2_between

TOP = 10
LINKED, NEAR_KB = 0.1, 500
LOOKED_AT = 60  # genes among which loci are formed until ten lead


@dataclass(frozen=True, eq=False)
class Ranked:
    """What a method says of a cohort.

    Parameters
    ----------
    method
        Its name.
    label
        0 for the true labels, 1 for permuted ones.
    genes
        Strength of every gene, or None for a method that only predicts.
    called
        Genes that are declared findings, or None for a method that only ranks or predicts.
    predicted
        Logits of those who are predicted, or None.
    pathways
        Strength of pathways; those not named have none.
    """

    method: str
    label: int
    genes: pd.Series | None
    called: frozenset[str] | None
    predicted: np.ndarray | None = None
    pathways: pd.Series | None = None


def evaluate(planted: Planted, found: Sequence[Ranked]) -> list[dict[str, Any]]:
    """Compare what methods say with what was planted; a record of each.

    Returns
    -------
    method, labels ("true" or "permuted"); `precision`, the share of causal genes among the first ten; `loci`, the share of loci
    that hold a causal gene among the first ten; `calls`, `false_calls`, and `calls_elsewhere`, those not in linkage with a causal
    gene either; `auc` of those who are predicted, by their true labels; `pathways`, the share of the causal pathways among as
    many first ones. Missing where a method does not say.

    Genes form a locus where they share a variant or a variant of one has r2 > 0.1 with one of the other within 500 kb; each
    belongs to the strongest gene it is linked with.
    """
    causal = set(planted.study.truth.genes(PHENOTYPE))
    orders = [_order(one) for one in found]
    asked = causal.union(*(order[:LOOKED_AT] for order in orders), *(one.called or () for one in found))
    linked = _linked(planted, sorted(asked))
    return [_record(planted, one, order, causal, linked) for one, order in zip(found, orders, strict=True)]


def _order(found: Ranked) -> list[str]:
    """Genes, the strongest first."""
    return [] if found.genes is None else list(found.genes.sort_values(ascending=False, kind="stable").index)


def _record(
    planted: Planted, found: Ranked, order: list[str], causal: set[str], linked: Mapping[str, set[str]]
) -> dict[str, Any]:
    record: dict[str, Any] = {"method": found.method, "labels": LABELS[found.label]}
    if order:
        leads = list(_leads(order[:LOOKED_AT], linked).items())[:TOP]
        record |= {
            "precision": float(np.mean([name in causal for name in order[:TOP]])),
            "loci": float(np.mean([bool(causal & {lead, *members}) for lead, members in leads])),
        }
    if found.called is not None:
        near_causal = causal.union(*(linked[name] for name in causal))
        record |= {
            "calls": len(found.called),
            "false_calls": len(found.called - causal),
            "calls_elsewhere": len(found.called - near_causal),
        }
    if found.predicted is not None:
        record["auc"] = float(roc_auc_score(planted.case[planted.others], found.predicted))
    if found.pathways is not None:
        wanted = set(planted.study.truth.pathways(PHENOTYPE))
        first = found.pathways.sort_values(ascending=False, kind="stable").index[: len(wanted)]
        record["pathways"] = len(wanted & set(first)) / max(len(wanted), 1)
    return record


def _linked(planted: Planted, genes: Sequence[str]) -> dict[str, set[str]]:
    """Which of these genes share a variant or are in linkage, among those who are predicted."""
    pairs = planted.gene_map.pairs
    groups = pairs[pairs["gene"].isin(genes)].groupby("gene")["variant"].apply(list).to_dict()
    people = planted.people(planted.others)
    table = r2_between(people, groups, kb=NEAR_KB)
    table = table[(table["r2"] > LINKED) | (table["shared"] > 0)]
    found: dict[str, set[str]] = {name: set() for name in genes}
    for one, other in zip(table["gene_a"], table["gene_b"], strict=True):
        found[one].add(other)
        found[other].add(one)
    return found


def _leads(order: Sequence[str], linked: Mapping[str, set[str]]) -> dict[str, list[str]]:
    """Genes that lead a locus, the strongest first, with the others of theirs."""
    found: dict[str, list[str]] = {}
    for name in order:
        lead = next((lead for lead in found if name in linked[lead]), None)
        if lead is None:
            found[name] = []
        else:
            found[lead].append(name)
    return found


def summary(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row per scenario, method and labels: n, and mean and standard deviation of each measure over cohorts.

    For precision also the number of hits among all first tens, its exact 95 % interval (as if genes were independent), and
    `chance`, the greatest number of hits that chance gives in 97.5 % of as many draws.
    """
    table = pd.DataFrame(list(records))
    if not len(table):
        return table
    rows = []
    for keys, own in table.groupby(["scenario", "method", "labels"], sort=False):
        row: dict[str, Any] = dict(zip(("scenario", "method", "labels"), keys, strict=True)) | {"n": len(own)}
        for name in ("precision", "loci", "calls", "false_calls", "calls_elsewhere", "auc", "pathways", "seconds"):
            known = pd.to_numeric(own[name]).dropna() if name in own else pd.Series(dtype=float)
            row[name], row[f"{name}_sd"] = known.mean(), known.std()
        if "precision" in own and own["precision"].notna().all():
            draws = TOP * len(own)
            row["hits"] = round(float(own["precision"].sum()) * TOP)
            row["low"], row["high"] = exact_interval(row["hits"], draws)
            row["chance"] = float(binom.ppf(0.975, draws, float((own["causal"] / own["genes"]).mean())))
        rows.append(row)
    return pd.DataFrame(rows)


def summary_text(table: pd.DataFrame) -> str:
    """The summary as a Markdown table."""
    if not len(table):
        return "No cohort has been run yet."

    def both(row: Mapping[str, Any], name: str, digits: int = 2) -> str:
        if pd.isna(row[name]):
            return ""
        spread = "" if pd.isna(row[f"{name}_sd"]) else f" ({row[f'{name}_sd']:.{digits}f})"
        return f"{row[name]:.{digits}f}{spread}"

    head = (
        "scenario",
        "labels",
        "method",
        "n",
        "precision at 10",
        "loci at 10",
        "calls / false / elsewhere",
        "pathways",
        "AUC",
    )
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    for held in table.to_dict("records"):
        row = {str(key): value for key, value in held.items()}
        calls = (
            ""
            if pd.isna(row["calls"])
            else f"{row['calls']:.1f} / {row['false_calls']:.1f} / {row['calls_elsewhere']:.1f}"
        )
        cells = (
            row["scenario"], row["labels"], row["method"], str(row["n"]), both(row, "precision"), both(row, "loci"), calls,
            both(row, "pathways"), both(row, "auc", 3),
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)

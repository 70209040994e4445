"""What the page says of the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from vnn.interpret import attributions
from vnn.interpret.contrast import contrasts
from vnn.interpret.significance import reach
from vnn.interpret.stability import ALL
from vnn.interpret.verdict import LABELS, PROPAGATION, Verdict, agreement
from vnn.training.interval import interval

if TYPE_CHECKING:
    from vnn.study.run import Results

MOST_VALUES = 2e8
MOST_NODES = 12


def verdict_content(results: Results) -> dict[str, Any]:
    """The fields of `Content` that speak of the verdict; none without one."""
    found, scores = results.verdict, results.scored
    if found is None or scores is None or results.beside is None:
        return {}
    total = np.repeat(np.nanmean(scores.of("real").separation, axis=1), len(scores.nodes))
    total = np.where(total > 0, total, np.nan)
    table = found.table.assign(
        share=found.table["score"] / total,
        share_low=found.table["low"] / total,
        share_high=found.table["high"] / total,
        families=[
            _families({str(key): value for key, value in row.items()}, found) for row in found.table.to_dict("records")
        ],
        group=found.table["group"].astype(object).where(found.table["group"].notna(), ""),
    )
    draws = {}
    for name, kind in (("labels", LABELS), ("wiring", found.wiring)):
        held = scores.draws(kind, PROPAGATION, correlations=name == "labels")
        if len(held):
            unit = 1.0 if name == "labels" else total[:, None]
            draws[name] = np.maximum(held.reshape(len(held), -1), 0.0).T / unit
    table.attrs = {"words": _words(results, found, draws), "wiring": found.wiring, "places": found.places}
    alike = agreement(results.beside)
    overlap = alike.pivot(index="method_a", columns="method_b", values="correlation")
    order = list(results.beside.values)
    return {
        "verdict": table,
        "thresholds": found.thresholds.table(),
        "draws": draws,
        "overlap": overlap.loc[order, order].rename_axis(index=None, columns=None),
        "stability": _curves(found),
        "contributions": _contributions(results, found),
    }


def _families(row: dict[str, Any], found: Verdict) -> str:
    asked = [name for name in found.families if row[f"asked {name}"]]
    return f"{row['families']} of {len(asked)}" if len(asked) > 1 else ""


def _words(results: Results, found: Verdict, draws: dict[str, np.ndarray]) -> list[str]:
    said = []
    for name, held in draws.items():
        least = reach(held.shape[1], len(held))
        said.append(
            f"{held.shape[1]} draws of the null of the {name}: the smallest p of a node by itself is {least.own_p:.2g}, the "
            f"smallest q {least.q:.2g}."
        )
    if results.study.search.n:
        said.append(
            "Hyper-parameters were searched on the same people, in each split by its own validation part; null networks have the "
            "settings of their partners."
        )
    for name, one in found.stability.items():
        where = f"{name}: " if len(found.stability) > 1 else ""
        said += [where + line for line in one.words() if line not in one.left_out]
    return [*said, *found.left_out]


def _curves(found: Verdict) -> pd.DataFrame:
    """Reliability of means of networks, as Spearman-Brown predicts it and as disjoint sets of networks show it."""
    parts = []
    for name, one in found.stability.items():
        held = one.reliability[one.reliability["level"] == ALL]
        for curve in ("predicted", "observed"):
            own = held.dropna(subset=curve)
            if len(own):
                parts.append(
                    pd.DataFrame({"panel": name, "curve": curve, "x": own["n_networks"], "value": own[curve]}).assign(
                        low=np.nan, high=np.nan
                    )
                )
    if not parts:
        return pd.DataFrame()
    table = pd.concat(parts, ignore_index=True)
    table.attrs = {
        "axes": dict.fromkeys(found.stability, ("networks averaged", "correlation with as many others")),
        "words": ["Over seeds: how many networks to average, not whether other people would give the same."],
    }
    return table


def _contributions(results: Results, found: Verdict) -> pd.DataFrame:
    """What the leading nodes contribute to the prediction of every held-out person: mean and t interval over networks."""
    fit, samples = results.fit, results.samples
    many = len(samples.ids) * len(fit.sound) * sum(len(level) for level in fit.topology.levels[1:])
    if results.study.report.individuals == "none" or many > MOST_VALUES:
        return pd.DataFrame()
    parts = []
    for contrast in contrasts(fit.target):
        own = found.table[found.table["contrast"] == contrast.name]
        lead = own.assign(robust=own["leader"]).sort_values(["robust", "score"], ascending=False).head(MOST_NODES)
        asked = results.study.attribution
        explained = attributions(
            fit, samples, label=contrast.label or None, levels=sorted(set(lead["level"])), baseline=asked.baseline,
            group=asked.group, n_draws=asked.draws,
        )  # fmt: skip
        for row in lead.to_dict("records"):
            values = explained.levels[row["level"]][:, :, explained.nodes[row["level"]].index(row["node"])]
            held = np.where(explained.held_out, values, np.nan).T
            columns = dict(zip(("contribution", "low", "high"), interval(held, 0.0), strict=True))
            about = {name: row[name] for name in ("node", "name", "level", "contrast")}
            parts.append(pd.DataFrame({"sample": samples.ids} | about | columns))
    return pd.concat(parts, ignore_index=True).dropna(subset="contribution")

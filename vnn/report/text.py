"""Results as plain text: the ranked pathways and the held-out performance, as the command line prints them."""

from __future__ import annotations

import textwrap

import pandas as pd

from vnn.interpret.verdict import LINKED, VERDICTS, WIRINGS, Verdict
from vnn.training.evaluation import comparison
from vnn.training.paired import BETTER, WORSE

WORDS = (
    "Association, not causation; not validated for clinical use. An effect says how held-out activity goes with the "
    "target; without null networks (trained on permuted labels or rewired pathways) it is no proof that a pathway matters."
)


def performance_text(table: pd.DataFrame) -> str:
    """Mean and spread over the splits of every model, and what the visible network gains over the best of the others.

    Parameters
    ----------
    table
        What `performance` returned.
    """
    headline, network = table.attrs["headline"], table.attrs["network"]
    every = comparison(table)
    compared = every[every["metric"] == headline].set_index("model")
    n_splits = table["split"].nunique()
    several = n_splits > 1
    lines = [f"Held-out {headline}" + (f", mean over {n_splits} splits (standard deviation):" if several else ":")]
    width = max(22, *(len(name) for name in compared.index))
    for model, row in compared.iterrows():
        value = "missing" if pd.isna(row["mean"]) else f"{row['mean']:.3f}"
        spread = "" if pd.isna(row["sd"]) else f" ({row['sd']:.3f})"
        fewer = f", {row['n_splits']} of {n_splits} splits" if row["n_splits"] not in (n_splits, 0) else ""
        p = "" if pd.isna(row["p_holm"]) else f", p = {row['p_holm']:.2g}"
        lines.append(f"  {model:<{width}} {value}{spread}{fewer}{p}")
    if not every.attrs["above_chance"]:
        chance = f"{every.attrs['chance']:g}"
        lines.append(f"  The {network} is not shown to predict better than chance ({chance}): read no finding into it.")
    rivals = compared.drop(index=network)
    if rivals["mean"].notna().any() and pd.notna(rivals.loc[best := rivals["mean"].idxmax(), "gain"]):
        lines += _gain(rivals.loc[best], network)
    if rivals["p_holm"].notna().any():
        lines.append(f"  p: of the {network} against the model, adjusted for {len(rivals)} comparisons after Holm.")
    notes = table.attrs["notes"]
    return "\n".join([*lines, *(f"  {model}: {note}." for model, note in notes.items())])


def _gain(best: pd.Series, network: str) -> list[str]:
    gain, low, high = (float(best[name]) for name in ("gain", "low", "high"))
    said = f"  gain over the best baseline, {best.name}: {gain:+.3f}"
    if pd.isna(low) and best["n_splits"] == 1:
        beaten = "beats it on this one split" if gain > 0 else "does not beat it"
        return [f"{said}; the {network} {beaten}."]
    if pd.isna(low):
        return [f"{said}; {best['note']}."]
    said += f", 95 % interval {low:+.3f} to {high:+.3f}"
    if best["verdict"] == BETTER:
        return [said, f"  The {network} beats it."]
    if low > 0:
        return [
            said,
            f"  The {network} is not shown to beat it: p, adjusted for all comparisons, is {best['p_holm']:.2g}.",
        ]
    if best["verdict"] == WORSE:
        return [said, f"  The {network} does not beat it: it is worse."]
    return [said, f"  The {network} does not beat it{': the interval reaches 0' if high >= 0 else ''}."]


def ranking_text(effects: pd.DataFrame, *, most: int = 10, inputs: str = "genes") -> str:
    """The nodes with the largest activity effects, a line each; `inputs` is what inputs are called."""
    several = effects["contrast"].nunique() > 1
    what = "" if several else f" ({effects['contrast'].iloc[0]})"
    lines = [f"Pathways by held-out activity effect{what}, 95 % interval over splits:"]
    width = min(44, int(effects["name"].head(most).str.len().max()))
    for i, row in enumerate(effects.head(most).to_dict(orient="records"), 1):
        name = textwrap.shorten(row["name"], width, placeholder="…")
        interval = "" if pd.isna(row["low"]) else f"  {row['low']:+.2f} to {row['high']:+.2f}"
        against = f", {row['contrast']}" if several else ""
        lines.append(
            f"  {i:>2} {name:<{width}} {row['effect']:+.2f}{interval}  {row['n_inputs']:>4} {inputs}, {row['level']}{against}"
        )
    return "\n".join(lines)


def verdict_text(found: Verdict, *, most: int = 10, inputs: str = "genes") -> str:
    """How many nodes got which verdict, and the groups of robust nodes; where there are none, what stopped the largest scores.

    Parameters
    ----------
    found
        With its groups; see `vnn.interpret.grouping`.
    most
        How many groups, or nodes, are listed.
    inputs
        What inputs are called.
    """
    table = found.table
    counts = table["verdict"].value_counts()
    said = [f"{counts[word]} {word}" for word in reversed(VERDICTS) if word in counts]
    robust = found.robust
    if not len(robust):
        return "\n".join([f"Verdict: {', '.join(said)}.", *_nearest(table, most)])
    groups = f" in {_count(robust['group'].nunique(), 'group')}"
    lines = [f"Verdict: {', '.join([said[0] + groups, *said[1:]])}.", "Robust:"]
    for number, (_, group) in enumerate(list(robust.groupby("group", sort=False))[:most], 1):
        leader = group[group["leader"]].iloc[0]
        size = _count(leader["n_genes"], inputs.removesuffix("s"))
        lines.append(
            f"  {number:>2} {leader['name']}: score {leader['score']:.2f}, q {leader['q_labels']:.2g} against permuted labels, "
            f"{_against_wiring(leader, found)}, {size}, {leader['level']}"
        )
        linked = table[(table["group"] == leader["group"]) & (table["verdict"] == LINKED)]
        others = [
            row["name"] + (" (driven by it)" if row["driven_by"] else "")
            for row in group[~group["leader"]].to_dict("records")
        ]
        if others := [*others, *(f"{name} (in linkage)" for name in linked["name"])]:
            lines.append(
                textwrap.fill(f"with {', '.join(others)}", 120, initial_indent=" " * 5, subsequent_indent=" " * 5)
            )
    return "\n".join(lines)


def _against_wiring(row: pd.Series, found: Verdict) -> str:
    if found.places:
        return f"{row['reached_wiring']:.2g} of places reach it in {WIRINGS[found.wiring]}"
    return f"{row['q_wiring']:.2g} against {WIRINGS.get(found.wiring, 'rewired networks')}"


def _nearest(table: pd.DataFrame, most: int) -> list[str]:
    largest = table.sort_values("score", ascending=False, kind="stable").head(min(most, 3))
    return [
        f"  {row['name']}: {row['verdict']} ({row['decided_by']})"
        for row in largest.to_dict("records")
        if row["decided_by"]
    ]


def _count(n: int, word: str) -> str:
    return f"{n:,} {word}" + ("" if n == 1 else "s")

"""Results as plain text: the ranked pathways and the held-out performance, as the command line prints them."""

from __future__ import annotations

import textwrap

import pandas as pd

from vnn.training.performance import summary

WORDS = (
    "Association, not causation; not validated for clinical use. An effect is the difference in held-out activity; "
    "without null networks it is no proof that a pathway matters."
)


def performance_text(table: pd.DataFrame) -> str:
    """Mean and spread over the splits of the network and its baseline, and the difference."""
    gained = table.assign(difference=table["network"] - table["baseline"])
    names = {"network": "visible network", "baseline": table.attrs["baseline"], "difference": "difference"}
    several = len(table) > 1
    over = f", mean over {len(table)} splits (standard deviation)" if several else ""
    lines = [f"Held-out {table.attrs['metric']}{over}:"]
    for column, (mean, sd) in summary(gained, tuple(names)).items():
        value = f"{mean:+.3f}" if column == "difference" else f"{mean:.3f}"
        lines.append(f"  {names[column]:<22} {value}" + (f" ({sd:.3f})" if several else ""))
    return "\n".join(lines)


def ranking_text(effects: pd.DataFrame, *, most: int = 10) -> str:
    """The nodes with the largest activity effects, a line each."""
    several = effects["contrast"].nunique() > 1
    what = "" if several else f" ({effects['contrast'].iloc[0]})"
    lines = [f"Pathways by held-out activity effect{what}, 95 % interval over splits:"]
    width = min(44, int(effects["name"].head(most).str.len().max()))
    for i, row in enumerate(effects.head(most).to_dict(orient="records"), 1):
        name = textwrap.shorten(row["name"], width, placeholder="…")
        interval = "" if pd.isna(row["low"]) else f"  {row['low']:+.2f} to {row['high']:+.2f}"
        against = f", {row['contrast']}" if several else ""
        lines.append(
            f"  {i:>2} {name:<{width}} {row['effect']:+.2f}{interval}  {row['n_inputs']:>4} genes, {row['level']}{against}"
        )
    return "\n".join(lines)

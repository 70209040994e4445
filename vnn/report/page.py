"""The page of a study: one HTML file that needs nothing else, not even a network."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from vnn._atomic import write_text
from vnn.interpret.verdict import WIRINGS
from vnn.report import figures, skyline, verdict
from vnn.report.content import Content
from vnn.report.prose import prose
from vnn.training.paired import BETTER, WORSE

ASSETS = Path(__file__).with_name("assets")
MOST_INPUTS = 2000
GENE_LEVEL = "genes"
MOST_EXAMPLES = 50
MOST_GENES, FEW_GENES, CALLED = 20, 5, 0.05
PEOPLE = re.compile(r"sample|people|person|patient|individual|donor|subject|cell", re.IGNORECASE)
UNKNOWN_FEATURES = "the ontology does not know their genes"
ASSOCIATION = "Association, not causation"
CLINIC = "Not validated for clinical use"
PROOF = "Without null networks no node is proven to matter."
JUDGED = "Null networks judge the prediction here; no single node was compared with them, so none is proven to matter."
JUDGED_NODES = "The verdict compares every node with null networks; what is not called robust is not proven to matter."
MOST_HISTOGRAMS = 6
STATES = {"fine": ("✓", "fine"), "note": ("i", "worth knowing"), "warning": ("!", "warning")}


def write_page(path: Path, content: Content) -> None:
    """Put the page of a study at `path`, whole or not at all.

    Text from the data is never markup, neither in the page nor in its figures or its CSV. The page loads nothing:
    its content security policy allows no connection.
    """
    write_text(path, page(content))


def page(content: Content) -> str:
    """The page of a study as HTML."""
    scripts, plotting = _scripts(genome=bool(skyline.levels(content))), _plotting()
    html = template("page.html").render(
        content=content,
        policy=page_policy((*scripts, plotting[0])),
        plotting=plotting[1],
        scripts=[Markup(script) for script in scripts],
        style=Markup(_asset("page.css")),
        data=Markup(embedded(data(content))),
        findings=findings(content),
        verdict=_verdict_section(content),
        matrix=matrix(content),
        panels=figures.stability(content),
        stability_words=_lines(content.stability.attrs.get("words", ())),
        people=(people := figures.contributions(content)),
        person_contrasts=list(dict.fromkeys(name for person in people[0] for name in person.strongest)),
        words=words(content),
        glance=glance(content),
        metrics=_metrics(content),
        models=models(content),
        calibration=_records(content.calibration),
        calibration_words=content.calibration.attrs.get("words", ""),
        curves=figures.calibration(content),
        scores=figures.scores(content),
        heat=figures.heat_map(content),
        contrasts=figures.contrasts(content),
        levels=[level.name for level in content.topology.levels],
        dropped=dropped(content),
        settings={key: _written(value) for key, value in content.settings.items()},
        states=STATES,
        agreement=_records(content.agreement),
        completeness=_records(content.completeness),
        files=_records(content.files),
        alternative=alternatives(content),
        hidden_inputs=_hidden_inputs(content),
        genome=_genome_section(content),
        proof=_proof(content),
    )
    return html.encode("utf-8", "replace").decode("utf-8")


def embedded(values: Any) -> str:
    """JSON that can stand inside a script element: no markup, no line ends that JavaScript reads otherwise."""
    text = json.dumps(_rounded(values), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def data(content: Content) -> dict[str, Any]:
    """What the scripts of the page draw."""
    heat, scores = figures.heat_map(content), figures.scores(content)
    return {
        "nodes": (pool := Pool()).values,
        "table": table(content, pool),
        "verdict": verdict_table(content, pool),
        "stability": [
            {"x": panel.x, "y": panel.y, "curves": {name: curve.to_dict("list") for name, curve in panel.curves.items()}}
            for panel in figures.stability(content)
        ],
        "people": _people(content, pool),
        "performance": {
            "metrics": scores.metrics,
            "models": scores.models,
            "splits": scores.splits,
            "network": content.comparison.attrs.get("network", ""),
            "values": scores.values,
        },
        "calibration": {
            name: {stage: curve.drop(columns=["stage", "class"]).to_dict("list") for stage, curve in stages.items()}
            for name, stages in figures.calibration(content).items()
        },
        "heat": heat and {
            "labels": heat.labels,
            "levels": [level for level, _ in heat.nodes],
            "columns": heat.columns,
            "groups": heat.groups,
            "values": [[_three(value) for value in row] for row in heat.values.tolist()],
        },
        "sunburst": _sunburst(content),
        "paths": [{"contrast": name, **paths} for name in figures.contrasts(content) if (paths := _paths(content, name))],
        "curves": {name: vars(curve) for name, curve in figures.curves(content.history).items()},
        "skylines": skyline.drawn(content),
        "quantiles": {name: vars(found) for name, found in skyline.all_quantiles(content).items()},
    }  # fmt: skip


class Pool:
    """Nodes by number, so that each is written once; a name is missing where it is the id."""

    def __init__(self) -> None:
        self.values: dict[str, list[Any]] = {"levels": [], "level": [], "node": [], "name": [], "genes": []}
        self._places: dict[tuple[Any, ...], int] = {}

    def add(self, level: str, node: str, name: str, genes: float = np.nan) -> int:
        """Number of a node."""
        key = (level, node, name, None if np.isnan(genes) else int(genes))
        if key not in self._places:
            self._places[key] = len(self._places)
            if level not in self.values["levels"]:
                self.values["levels"].append(level)
            row = (self.values["levels"].index(level), node, None if name == node else name, key[3])
            for column, value in zip(("level", "node", "name", "genes"), row, strict=True):
                self.values[column].append(value)
        return self._places[key]


def table(content: Content, pool: Pool) -> dict[str, Any]:
    """The table of nodes by columns; ranks count the |effects| of a contrast."""
    nodes = content.nodes.reset_index(drop=True)
    inputs = content.topology.levels[0].name
    is_input = nodes["level"] == inputs
    strongest = nodes["share"].abs().where(is_input).groupby(nodes["contrast"]).rank(ascending=False, method="first")
    nodes = nodes[~is_input | ~(strongest > MOST_INPUTS)].reset_index(drop=True)
    rank = nodes["effect"].abs().groupby(nodes["contrast"]).rank(ascending=False, method="first")
    names, levels = list(figures.contrasts(content)), [level.name for level in content.topology.levels]
    named = zip(*(nodes[column].astype(str) for column in ("level", "node", "name")), nodes["n_inputs"], strict=True)
    columns: dict[str, Any] = {
        "rank": [None if np.isnan(value) else int(value) for value in rank],
        "at": [pool.add(*row) for row in named],
        "contrast": [names.index(str(name)) for name in nodes["contrast"]],
    }
    numbers = (
        "effect",
        "effect_low",
        "effect_high",
        "score",
        "share",
        "share_low",
        "share_high",
        "mean_abs",
        "mean_abs_share",
    )
    columns |= {name: [_digits(value, 4) for value in nodes[name].astype(float)] for name in numbers}
    return {"levels": levels, "contrasts": names, "columns": columns}


def verdict_table(content: Content, pool: Pool) -> dict[str, Any] | None:
    """The table of verdicts by columns, the most robust first, texts by number; and the draws of its nodes."""
    if content.verdict.empty:
        return None
    rows = verdict.ordered(content)
    fixed = {"contrast": list(dict.fromkeys(content.verdict["contrast"].astype(str))),
             "verdict": list(verdict.VERDICTS)}  # fmt: skip
    texts: dict[str, list[str]] = dict(fixed)
    columns: dict[str, list[Any]] = {}
    columns["at"] = [
        pool.add(*row) for row in zip(rows["level"], rows["node"], rows["name"], rows["n_genes"], strict=True)
    ]
    known = verdict.columns(content)
    for column in known:
        if column.key in ("name", "node", "n_genes", "level"):
            continue
        if column.key in verdict.TEXTS:
            texts[column.key] = fixed.get(column.key) or list(dict.fromkeys(rows[column.key]))
            number = {text: n for n, text in enumerate(texts[column.key])}
            columns[column.key] = [number[text] for text in rows[column.key]]
        elif column.kind == "flag":
            columns[column.key] = rows[column.key].astype(int).tolist()
        else:
            columns[column.key] = [_digits(value, 4) for value in rows[column.key]]
    leaders = {group.leader["at"] for group in verdict.groups(content)[:MOST_HISTOGRAMS]}
    found = verdict.draws(content)
    return {
        "n": len(rows),
        "kinds": {column.key: column.kind for column in known},
        "main": [column.key for column in known if column.main],
        "labels": {column.key: column.label for column in known},
        "levels": _judged_levels(content),
        "texts": texts,
        "columns": columns,
        "leaders": [n for n, at in enumerate(rows.index) if at in leaders],
        "draws": found and {
            "rows": None if len(found.rows) == len(rows) else found.rows, "signs": verdict.SIGNS,
            "nulls": {name: verdict.packed(values) for name, values in found.values.items()},
            "words": verdict.nulls(content), "real": verdict.COMPARED,
        },
    }  # fmt: skip


def _judged_levels(content: Content) -> list[str]:
    place = {level.name: n for n, level in enumerate(content.topology.levels)}
    return sorted(
        dict.fromkeys(content.verdict["level"].astype(str)), key=lambda name: (place.get(name, len(place)), name)
    )


def _verdict_section(content: Content) -> dict[str, Any] | None:
    if content.verdict.empty:
        return None
    found = verdict.groups(content)
    number = verdict.counts(content)
    contrasts = list(dict.fromkeys(content.verdict["contrast"].astype(str)))
    drawn = verdict.draws(content)
    return {
        "sentences": verdict.sentences(content),
        "words": content.verdict.attrs.get("words", ()),
        "counts": number,
        "most": max((n for row in number.values() for n in row.values()), default=0),
        "contrasts": contrasts,
        "levels": _judged_levels(content),
        "groups": found[: verdict.MOST_GROUPS],
        "n_groups": len(found),
        "columns": verdict.columns(content),
        "meanings": verdict.VERDICTS,
        "linked": verdict.LINKED,
        "thresholds": _records(content.thresholds),
        "wiring": WIRINGS.get(content.verdict.attrs.get("wiring", ""), "rewired networks"),
        "nulls": {name: verdict.says(content)[name] for name in drawn.values} if drawn else {},
        "n_drawn": 0 if drawn is None else len(drawn.rows),
        "n_not_drawn": 0 if drawn is None else drawn.n_left_out,
        "leaders": min(len(found), MOST_HISTOGRAMS),
        "guide": prose(content.guide) if content.guide.strip() else "",
    }


def matrix(content: Content) -> dict[str, Any] | None:
    """The agreement of explainers, row by row: value, and how strongly its cell is coloured, from -1 to 1."""
    table = content.overlap
    if table.empty:
        return None
    rows = [
        (str(name), [(float(value), float(np.clip(value, -1, 1)) if np.isfinite(value) else 0.0) for value in row])
        for name, row in zip(table.index, table.to_numpy(dtype=float), strict=True)
    ]
    return {"names": [str(name) for name in table.columns], "rows": rows, "words": table.attrs.get("words", "")}


def _people(content: Content, pool: Pool) -> list[dict[str, Any]]:
    people, _ = figures.contributions(content)
    return [
        {
            "label": person.label + (f" · {person.group}" if person.group else ""),
            "contrasts": {
                name: {
                    "at": [
                        pool.add(*row) for row in zip(own["level"], own["node"].astype(str), own["name"], strict=True)
                    ],
                    **{key: [_digits(value, 4) for value in own[key]] for key in ("contribution", "low", "high")},
                    "rest": person.rest[name],
                }
                for name, own in person.strongest.items()
            },
        }
        for person in people
    ]


def findings(content: Content) -> list[str]:
    """What the study found, a sentence each; never more than the intervals allow. What null networks say stands apart."""
    return [*_performance_finding(content), *verdict.sentences(content), *_node_finding(content), _proof(content)]


def _proof(content: Content) -> str:
    if len(content.verdict):
        return JUDGED_NODES
    return JUDGED if content.nulls else PROOF


def _performance_finding(content: Content) -> Iterator[str]:
    comparison, attrs = content.comparison, content.comparison.attrs
    if comparison.empty:
        return
    headline, network = attrs["headline"], attrs["network"]
    rows = comparison[comparison["metric"] == headline].set_index("model")
    if network not in rows.index:
        return
    own = rows.loc[network]
    spread = (
        f" (standard deviation {plain(own['sd'])} over {int(own['n_splits'])} splits)" if own["n_splits"] > 1 else ""
    )
    if not attrs.get("above_chance", True):
        yield (
            f"The {network} is not shown to predict better than chance ({headline} {attrs['chance']:g}): nothing below should be "
            "read as a finding."
        )
    rivals = rows.drop(network).dropna(subset=["gain"])
    reached = f"On held-out samples the {network} reaches a mean {headline} of {plain(own['mean'])}{spread}"
    if rivals.empty:
        yield f"{reached}. No baseline was trained, so nothing says whether the wiring helps."
        return
    best = rivals.loc[rivals["mean"].idxmax()]
    place = f"the best of {len(rivals) + 1} models" if best["gain"] > 0 else f"where {best.name} is the best model"
    yield f"{reached}, {place}."
    than = f"the best baseline, {best.name} ({plain(best['mean'])})"
    by = f"{signed(best['gain'], 3)}"
    interval = f"95 % interval {signed(best['low'], 3)} to {signed(best['high'], 3)}"
    p = f"p = {short(best['p_holm'])} adjusted for {len(rivals)} comparisons"
    if np.isnan(best["low"]) or np.isnan(best["high"]):
        yield f"Its gain over {than} is {by}; {best['note']}, so it is not known whether it beats it."
    elif best["verdict"] == BETTER:
        yield f"It beats {than}, by {by} ({interval}, {p})."
    elif best["low"] > 0:
        yield f"It is not shown to beat {than}: the gain is {by} ({interval}), but {p}."
    elif best["verdict"] == WORSE:
        yield f"It does not beat {than}: it is worse, by {by} ({interval}, {p})."
    elif best["high"] < 0:
        yield f"It does not beat {than}: the gain is {by} ({interval}); that it is worse is not shown, {p}."
    else:
        yield f"It does not beat {than}: the gain is {by}, and its {interval} includes 0 ({p})."


def _node_finding(content: Content, most: int = 3) -> Iterator[str]:
    top = content.nodes.dropna(subset=["effect"]).head(most)
    if top.empty:
        return
    several = len(figures.contrasts(content)) > 1
    said = []
    for row in top.to_dict(orient="records"):
        low, high = row["effect_low"], row["effect_high"]
        interval = "" if np.isnan(low) else f", interval {signed(low)} to {signed(high)}"
        against = f"; {row['contrast']}" if several else ""
        said.append(f"{row['name']} ({signed(row['effect'])}{interval}{against})")
    where = "" if several else f" ({top['contrast'].iloc[0]})"
    yield f"The largest held-out activity effects{where} are those of {_listed(said)}."


def words(content: Content) -> list[tuple[str, str]]:
    """What every page must say, as heading and sentence."""
    unknown = {name for entry in content.topology.log if entry.step == "features" and UNKNOWN_FEATURES in entry.reason
               for name in entry.names}  # fmt: skip
    lost = {name for entry in content.topology.log if entry.step == "features" and entry.reason.startswith("dropped")
            for name in entry.names}  # fmt: skip
    measured = len(content.topology.inputs) + len(lost - set(content.topology.inputs))
    bases = [f"{_name(base)} {base.get('release') or ''}".strip() for base in content.knowledge]
    used = f"{_listed(bases)}. " if bases else "No knowledge base is stated. "
    share = 100 * len(unknown) / max(measured, 1)
    does = "It does" if len(bases) < 2 else "They do"
    return [
        (ASSOCIATION, "Effects and attributions say what goes together in these data, not what causes what."),
        (CLINIC, "For research only. No decision about a person may rest on this page."),
        ("People in the data", _sentence(content.populations)),
        (
            "Knowledge used",
            f"{used}{does} not know {len(unknown):,} of {measured:,} measured {content.inputs_called} ({share:.3g} %).",
        ),
    ]


def glance(content: Content) -> list[tuple[str, str, str]]:
    """The numbers at the head of the page: value, what it is, and a remark."""
    found = []
    attrs = content.comparison.attrs
    rows = content.comparison[content.comparison["metric"] == attrs.get("headline")].set_index("model")
    if attrs.get("network") in rows.index:
        own = rows.loc[attrs["network"]]
        sd = f"± {plain(own['sd'])} over {int(own['n_splits'])} splits" if own["n_splits"] > 1 else "one split"
        found.append((plain(own["mean"]), f"{attrs['headline']}, held out", sd))
        gains = rows.drop(attrs["network"]).dropna(subset=["gain"]).sort_values("gain", kind="stable")
        if len(gains):
            best = gains.loc[gains["mean"].idxmax()]
            interval = (
                "no interval" if np.isnan(best["low"]) else f"{signed(best['low'], 3)} to {signed(best['high'], 3)}"
            )
            found.append((signed(best["gain"], 3), f"gain over {best.name}", interval))
    if len(content.verdict):
        n = len(verdict.groups(content))
        found.append(
            (f"{n:,}", "robust group" if n == 1 else "robust groups", f"of {len(content.verdict):,} nodes judged")
        )
    above = [level for level in content.topology.levels[1:] if level.name != GENE_LEVEL]
    what = "pathways" if above else "genes"
    above = above or list(content.topology.levels[1:])
    nodes = sum(len(level) - len(level.copies) for level in above)
    if not len(content.verdict):
        found.append((f"{nodes:,}", what, f"on {len(above)} level{'s' if len(above) > 1 else ''}"))
    found.append((f"{len(content.outcome):,}", "samples", f"{len(content.topology.inputs):,} inputs each"))
    return found


def models(content: Content) -> list[dict[str, Any]]:
    """One row per model: its metrics, and how much the visible network gains on it."""
    comparison, attrs = content.comparison, content.comparison.attrs
    headline, network = attrs.get("headline"), attrs.get("network")
    rows = []
    for model in figures.scores(content).models:
        mine = comparison[comparison["model"] == model].set_index("metric")
        compared = headline in mine.index and model != network
        gain = _numbers(mine.loc[headline], "gain", "low", "high") if compared else [np.nan]
        rows.append(
            {
                "name": model,
                "network": model == network,
                "cells": [
                    _numbers(mine.loc[metric], "mean", "sd") if metric in mine.index else None
                    for metric in _metrics(content)
                ],
                "gain": None if np.isnan(gain[0]) else gain,
                "p": _numbers(mine.loc[headline], "p_holm")[0] if compared else np.nan,
            }
        )
    return rows


def _numbers(row: Any, *names: str) -> list[float]:
    return [float(row[name]) for name in names]


def _metrics(content: Content) -> list[str]:
    headline = content.comparison.attrs.get("headline")
    return sorted(dict.fromkeys(content.comparison["metric"]), key=lambda metric: metric != headline)


def dropped(content: Content) -> list[dict[str, Any]]:
    """What was dropped, with examples; those that name people only where individuals may be shown in full."""
    ids = {str(name) for name in content.activities.index} | {str(name) for name in content.outcome.index}
    rows = []
    for row in _records(content.dropped):
        examples = row["examples"]
        several = examples.split(", ") if isinstance(examples, str) else list(examples if examples is not None else ())
        named = [str(name) for name in several if str(name)]
        private = bool(PEOPLE.search(str(row["kind"]))) or not ids.isdisjoint(named)
        withheld = private and content.individuals != "full"
        rows.append(row | {"examples": [] if withheld else named[:MOST_EXAMPLES], "withheld": withheld})
    return rows


def alternatives(content: Content) -> dict[str, str]:
    """What each figure shows, in a sentence, for those who do not see it."""
    scores, heat = figures.scores(content), figures.heat_map(content)
    top = content.nodes.dropna(subset=["effect"])
    first = (
        f"{top['name'].iloc[0]} differs most, by {signed(top['effect'].iloc[0])}"
        if len(top)
        else "no node has an effect"
    )
    score = content.nodes.assign(size=content.nodes["share"].abs())
    score = score[score["level"] != content.topology.levels[0].name].sort_values("size", ascending=False, kind="stable")
    largest = f"{score['name'].iloc[0]} has the largest share of its level" if len(score) else "no node has a score"
    found = {
        "performance": f"Dot plot of the held-out {scores.metrics[0] if scores.metrics else 'performance'} of "
        f"{len(scores.models)} models in {len(scores.splits)} splits; the table above has the numbers.",
        "calibration": "Calibration curve: how often a class was the true one among held-out samples of similar probability, "
        "before and after the temperatures; the table above sums it up.",
        "sunburst": f"Sunburst of the ontology with {content.topology.n_nodes:,} nodes coloured by attribution; {largest}.",
        "curves": "Loss by epoch on training and validation samples: "
        + ("; ".join(_fell(name, curve) for name, curve in figures.curves(content.history).items()) or "none recorded")
        + ".",
        "paths": "Diagram of the strongest paths from the inputs through pathways to the prediction.",
    }
    for name, one in list(skyline.all_quantiles(content).items())[:1]:
        found["quantiles"] = (
            f"Quantiles of the p of {one.n:,} variants in {name} against chance; lambda is {plain(one.inflation, 2)}."
        )
    if skyline.levels(content):
        shown = {level: table["name"].nunique() for level, table in content.skylines.items() if len(table)}
        held = _listed([f"{n:,} {level}" for level, n in shown.items()])
        found["skyline"] = f"Manhattan plot, at choice of {held}; the tables in the study's folder have the numbers."
    if heat:
        groups = _listed([f"{name} ({n:,})" for name, _, _, n in heat.groups])
        found["heat"] = f"Heat map of the activities of {len(heat.nodes)} nodes in {groups}; {first}."
    paths = [figures.sankey(content, name) for name in figures.contrasts(content)[:1]]
    if paths and paths[0]:
        inner = [
            stop for stop in paths[0].stops if stop.node and stop.level not in (paths[0].levels[0], figures.PREDICTION)
        ]
        if inner:
            most = max(inner, key=lambda stop: abs(stop.score))
            found["paths"] += f" Most attribution runs through {most.label}."
    return found


def _genome_section(content: Content) -> dict[str, Any] | None:
    """Of genotype studies what stands beside the Manhattan plots."""
    if not skyline.levels(content):
        return None
    found = skyline.all_quantiles(content)
    genes = content.genes
    shown = []
    for _, own in genes.groupby("contrast", sort=False) if len(genes) else ():
        by = ["rank", "relative_importance"]
        order = own.assign(rank=(own["verdict"] == verdict.ROBUST) if "verdict" in own else False)
        shown += _records(order.sort_values(by, ascending=False, kind="stable").head(MOST_GENES))
    return {
        "levels": skyline.levels(content),
        "contrasts": list(
            dict.fromkeys(name for table in content.skylines.values() for name in table["contrast"].unique())
        ),
        "quantiles": {name: (one.n, one.inflation) for name, one in found.items()},
        "words": content.genome_words,
        "genes": shown,
        "n_genes": len(genes),
        "networks": _records(_strongest(content.gene_networks).reset_index()),
        "network_words": content.gene_network_words,
        "loci": any(row.get("locus") for row in shown),
        "regions": sorted({row["region"] for row in shown if row.get("region")}),
    }


def _strongest(networks: pd.DataFrame) -> pd.DataFrame:
    """Genes that are called, at most `MOST_GENES`; the strongest few where none is."""
    if not len(networks):
        return networks
    return networks.head(min(max(int((networks["q"] < CALLED).sum()), FEW_GENES), MOST_GENES))


def _sunburst(content: Content) -> dict[str, Any] | None:
    sectors = figures.sunburst(content)
    if len(sectors) < 2:
        return None
    above = content.nodes[content.nodes["level"] != content.topology.levels[0].name]
    nodes = above.set_index(["contrast", "level", "node"])[["score", "share"]]
    by = {name: nodes.loc[name] for name in figures.contrasts(content)}
    found: dict[str, Any] = {
        "ids": [sector.id for sector in sectors],
        "parents": [sector.parent for sector in sectors],
        "labels": [sector.label for sector in sectors],
        "levels": [sector.node[0] if sector.node else "" for sector in sectors],
        "sizes": [sector.size for sector in sectors],
        "shares": {},
    }
    for name, table in by.items():
        share = table["share"].to_dict()
        found["shares"][name] = [share.get(sector.node, None) if sector.node else None for sector in sectors]
    return found


def _paths(content: Content, contrast: str) -> dict[str, Any] | None:
    diagram = figures.sankey(content, contrast)
    if diagram is None:
        return None
    boxes, bands = figures.placed(diagram)
    return {
        "levels": diagram.levels,
        "stops": [
            {"level": stop.level, "label": stop.label, "other": stop.node is None, "score": stop.score, **vars(box)}
            for stop, box in zip(diagram.stops, boxes, strict=True)
        ],
        "bands": [
            {"source": link.source, "target": link.target, "flow": link.width, "sign": link.sign, **vars(band)}
            for link, band in zip(diagram.links, bands, strict=True)
        ],
    }


def _hidden_inputs(content: Content) -> int:
    inputs = content.topology.levels[0]
    listed = set(content.nodes.loc[content.nodes["level"] == inputs.name, "node"])
    return max(len(listed & set(inputs.nodes)) - MOST_INPUTS, 0)


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign, a true minus; a dash if there is none."""
    if value is None or not np.isfinite(value):
        return "–"
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def percent(value: float) -> str:
    """A signed share in per cent."""
    return "–" if value is None or not np.isfinite(value) else f"{signed(100 * value, 2 if abs(value) < 0.01 else 1)} %"


def part(value: float) -> str:
    """A part of 1 in per cent."""
    return "–" if value is None or not np.isfinite(value) else f"{round(100 * value)} %"


def probability(value: float) -> str:
    """A p or q in two significant digits."""
    return "–" if value is None or not np.isfinite(value) else f"{value:#.2g}" if value >= 0.001 else f"{value:.0e}"


def plain(value: float, digits: int = 3) -> str:
    """A number with a true minus; a dash if there is none."""
    if value is None or not np.isfinite(value):
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}".replace("-", "\N{MINUS SIGN}")
    return f"{value:.{1 if abs(value) >= 10 else digits}f}".replace("-", "\N{MINUS SIGN}")


def short(value: Any) -> str:
    """A count as it is, another number in two significant digits, a table as a list, or the text as it is."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {short(item)}" for name, item in value.items())
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.number)):
        return str(value)
    if not np.isfinite(value):
        return "–"
    return (f"{value:,.0f}" if float(value).is_integer() else f"{value:.2g}").replace("-", "\N{MINUS SIGN}")


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_rounded(item) for item in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.5g}") if np.isfinite(value) else None
    return value


def _digits(value: float, digits: int) -> float | None:
    return float(f"{value:.{digits}g}") if np.isfinite(value) else None


def _three(value: float) -> float | None:
    return round(value, 2) if np.isfinite(value) else None


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    records = table.astype(object).where(table.notna(), None).to_dict(orient="records")
    return [{str(key): value for key, value in record.items()} for record in records]


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _sentence(text: str) -> str:
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith((".", "!", "?")) else ".")


def _name(base: Mapping[str, Any]) -> str:
    return str(base.get("name") or base.get("source") or "unnamed")


def _fell(name: str, curve: figures.Curve) -> str:
    return f"{name} from {plain(curve.median[0])} to {plain(curve.median[-1])}"


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


@cache
def _scripts(*, genome: bool) -> tuple[str, ...]:
    """The scripts of the page, in their order, as they stand between the tags."""
    names = ("list", "table", "verdict", *(["manhattan"] if genome else []), "figures", "page")
    return tuple(script_of(_asset(f"{name}.js")) for name in names)


@cache
def _plotting() -> tuple[str, str]:
    """Plotly as it runs, and as it travels: compressed, for it would be most of the page."""
    text = script_of(get_plotlyjs())
    return text, base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def script_of(text: str) -> str:
    """A script as it may stand between the tags."""
    return re.sub(r"\r\n?", "\n", text).replace("\0", "").replace("</script", r"<\/script")


@cache
def template(name: str) -> Template:
    """A template among the assets: everything is escaped, and nothing it names may be missing."""
    places = Environment(loader=FileSystemLoader(ASSETS), autoescape=True, undefined=StrictUndefined)
    places.trim_blocks = places.lstrip_blocks = True
    places.filters |= {
        "signed": signed,
        "plain": plain,
        "short": short,
        "share": percent,
        "part": part,
        "p": probability,
    }
    return places.get_template(name)


def _lines(words: str | Sequence[str]) -> Sequence[str]:
    return [words] if isinstance(words, str) else words


def page_policy(scripts: tuple[str, ...]) -> str:
    """Only these scripts run, and nothing is fetched."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )

"""Contents of plausible studies, made without training: activities follow genes, attributions are conserved."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from vnn.data.checks import Check
from vnn.ontology import Topology, load_ontology
from vnn.ontology.log import Entry
from vnn.report.content import Content, Individuals

CAUSAL = "PI3K-AKT signalling"
SCRIPT = "<script>alert(1)</script>"
FORMULA = "=cmd()"
HOSTILE = {
    "PIK3CA": SCRIPT,
    "PTEN": FORMULA,
    "MTOR": '<b>bold</b> <a href="javascript:alert(2)">$x_1$ & "quoted"</a>',
    "Glycolysis": "<img src=x onerror=alert(3)>",
    "Mismatch repair": "@SUM(A1)",
    "TCA cycle": "-2+3+cmd|' /C calc'!A0",
}


@cache
def small_topology(*, hostile: bool = False) -> Topology:
    """The shipped human pathways over all of their genes and two unknown features."""
    ontology = load_ontology("human-small")
    genes = sorted({gene for members in ontology.gene_sets().values() for gene in members})
    topology = ontology.topology([*genes[8:], "C1ORF99", "LOC100"])
    if not hostile:
        return topology
    edges = topology.to_edges().replace({"source": HOSTILE, "target": HOSTILE})
    levels = {level.name: [HOSTILE.get(node, node) for node in level.nodes] for level in topology.levels}
    return Topology.from_edges(levels, edges, log=topology.log, provenance=topology.provenance)


@cache
def large_topology(n_genes: int = 6000, sizes: tuple[int, ...] = (1500, 600, 280, 100, 20)) -> Topology:
    """2,500 made-up pathways on five levels; every fourth has two parents, and some edges skip a level."""
    rng = np.random.default_rng(8)
    names = [[f"GENE{i:05}" for i in range(n_genes)]] + [
        [f"R-{level}-{i:04}" for i in range(size)] for level, size in enumerate(sizes, 1)
    ]
    levels = ["inputs", *(f"level {i}" for i in range(1, len(names)))]
    rows = []
    for below, (sources, above) in enumerate(pairwise(names)):
        ends = rng.permutation(len(above)).tolist() + rng.integers(0, len(above), len(sources)).tolist()
        starts = rng.integers(0, len(sources), len(above)).tolist() + list(range(len(sources)))
        more = rng.choice(len(sources), len(sources) // 4, replace=False).tolist()
        starts, ends = starts + more, ends + rng.integers(0, len(above), len(more)).tolist()
        rows += [(levels[below], sources[i], levels[below + 1], above[j]) for i, j in zip(starts, ends, strict=True)]
    rows += [("level 1", f"R-1-{i:04}", "level 3", f"R-3-{i:04}") for i in range(0, 200, 10)]
    edges = pd.DataFrame(rows, columns=["source_level", "source", "target_level", "target"])
    labels = {
        name: f"Regulation of process {name[2:]} by a signal with a long name" for row in names[1:] for name in row
    }
    return Topology.from_edges(dict(zip(levels, names, strict=True)), edges, names=labels)


def content(
    topology: Topology | None = None,
    *,
    n_samples: int = 120,
    classes: tuple[str, ...] = ("control", "case"),
    individuals: Individuals = "pseudonym",
    **changes: Any,
) -> Content:
    """A study in which one pathway drives the classes."""
    wiring = topology or small_topology()
    rng = np.random.default_rng(3)
    ids = pd.Index([f"patient-{i:04}-x" for i in range(n_samples)], name="sample")
    codes = rng.integers(0, len(classes), n_samples)
    activities = _activities(wiring, codes, rng, ids)
    names = list(classes) if len(classes) > 2 else [classes[1]]
    labels = [f"{one} minus the rest" if len(classes) > 2 else f"{one} minus {classes[0]}" for one in names]
    wanted = {label: codes == classes.index(one) for label, one in zip(labels, names, strict=True)}
    flows = pd.concat([_flows(wiring, label, rng) for label in wanted], ignore_index=True)
    performance = _performance(rng)
    values: dict[str, Any] = {
        "title": "Demo: a planted pathway",
        "summary": f"Case against control in {n_samples:,} simulated people, {len(wiring.inputs):,} genes.",
        "facts": {
            "seed": "1", "networks": "10 (5 folds, 2 seeds)", "backend": "cpu (avx2)",
            "versions": "vnn 0.2.0, torch 2.13.0, numpy 2.4.6, Python 3.11.7", "topology": wiring.fingerprint,
        },
        "settings": {
            "seed": 1, "n_seeds": 2, "data.target": "phenotype", "data.classes": list(classes), "ontology.min_genes": 5,
            "splits.kind": "k-fold", "splits.k": 5, "network.activation": "tanh", "network.dropout": 0.2,
            "training.lr": 0.003, "training.epochs": 200, "training.class_weight": "balanced",
        },
        "files": pd.DataFrame(
            {
                "role": ["values", "labels"],
                "name": ["expression.csv.gz", "phenotype.csv"],
                "sha256": ["63414cc202c46ef8aec324504ea66f6f9e60dcf5a15d0cda5e00255d3e64edf4", "db3d55" + 58 * "2"],
            }
        ),
        "knowledge": [
            {"name": "Small human pathways", "release": "1", "species": "Homo sapiens", "licence": "MIT",
             "recipe": "human-small", "choices": "roots = ['Metabolism']",
             "citation": "Illustrative: written from general knowledge for vnn, not a curated resource.",
             "files": [{"name": "genes.gmt", "role": "gmt", "sha256": "db3d5521f24e33d5b7c2dbdf638b3f685db05adace4fa3a",
                        "address": "https://files.example.org/genes.gmt", "retrieved": "2026-11-20"},
                       {"name": "relations.tsv", "role": "relations", "sha256": "c549f5f2dd599087619978c5cef3c237"}]},
        ],
        "dropped": _dropped(wiring, ids),
        "checks": [
            Check("values already scaled", "fine", "The values look like logarithms of expression, not yet scaled."),
            Check("library size", "note", "The number of detected genes differs between batches.", {"F": 3.21}),
            Check("missing values predict the target", "warning",
                  "Which values are missing tells cases from controls. Ask how the samples were measured.", {"AUC": 0.985}),
        ],
        "performance": performance,
        "comparison": _comparison(performance),
        "topology": wiring,
        "nodes": _nodes(wiring, activities, wanted, flows),
        "activities": activities,
        "outcome": pd.Series(np.array(classes, dtype=object)[codes], ids, name="phenotype"),
        "history": _history(rng),
        "flows": flows,
        "agreement": pd.DataFrame(
            [
                ("captum DeepLift", "inputs", "inputs", 2.1e-6, 0.84, 1e-4, True, ""),
                ("captum LayerDeepLift", "level", "level 1", 3.0e-6, 0.51, 1e-4, True, ""),
                ("shap DeepExplainer", "inputs", "inputs", 0.031, 0.84, 1e-2, False, "treats batch norm as a constant"),
            ],
            columns=["implementation", "where", "level", "largest_difference", "scale", "tolerance", "agrees", "note"],
        ),
        "completeness": pd.DataFrame(
            {
                "level": [level.name for level in wiring.levels],
                "largest_error": [3e-6] * len(wiring.levels),
                "scale": [1.9] * len(wiring.levels),
            }
        ),
        "baseline": "An absent gene has its mean over the training people of each network.",
        "weaknesses": ["The cohort is simulated: marginals are normal and noise is independent, which real expression is not."],
        "populations": "600 simulated people of no population",
        "individuals": individuals,
    } | _calibration(classes, np.random.default_rng(4))  # fmt: skip
    return Content(**values | changes)


@cache
def large() -> Content:
    """2,500 pathways in 500 people, three contrasts."""
    return content(large_topology(), n_samples=500, classes=("healthy", "mild", "severe"), title="A large study")


FAR = (
    "not beyond chance",
    "explained by structure",
    "method-dependent",
    "driven by another node",
    "unstable",
    "robust",
)


def judged(study: Content, *, n_draws: tuple[int, int] = (100, 40), **changes: Any) -> Content:
    """The same study with a verdict: the nodes with the largest shares get furthest, the first of them lead groups of three."""
    rng = np.random.default_rng(5)
    nodes = study.nodes[study.nodes["level"] != study.topology.levels[0].name]
    table = nodes.rename(columns={"n_inputs": "n_genes"}).reset_index(drop=True)
    table = table[["contrast", "level", "node", "name", "n_genes", "score", "share", "share_low", "share_high"]]
    n = len(table)
    place = (
        table["share"].abs().groupby(table["contrast"]).rank(ascending=False, method="first").astype(int).to_numpy() - 1
    )
    steps = np.array([5, 5, 4, 5, 3, 5, 3, 2, 2, 1, 1, 1])
    table["verdict"] = [FAR[steps[at]] if at < len(steps) else FAR[0] for at in place]
    grouped = place < 9
    table["group"] = np.where(grouped, place // 3 + 1, np.nan)
    table["leader"] = grouped & (place % 3 == 0)
    first = table[table["leader"]].set_index(["contrast", "group"])["node"]
    follows = grouped & ~table["leader"]
    table["driven_by"] = None
    table.loc[follows, "driven_by"] = [
        first[key] for key in zip(table["contrast"][follows], table["group"][follows], strict=True)
    ]
    table["left"] = np.where(follows, np.where(table["verdict"] == FAR[3], 0.23, 0.71), np.nan)
    table["correlation"] = 0.8 * table["share"].abs() / table["share"].abs().max()
    table["p_labels"] = np.clip((1 + place) / (n_draws[0] + 1), None, 1.0)
    table["p_wiring"] = np.clip((1 + place) / (n_draws[1] + 1), None, 1.0)
    table["q_labels"], table["q_wiring"] = (
        np.clip(0.004 * (place + 1), None, 0.97),
        np.clip(0.006 * (place + 1), None, 0.99),
    )
    table["maxt_labels"] = np.clip(0.01 * (place + 1), None, 1.0)
    table["z_labels"], table["z_wiring"] = 9.4 - 0.7 * np.sqrt(place), 6.1 - 0.5 * np.sqrt(place)
    table["families"] = np.where(place < 7, "3 of 3", np.where(place < 9, "1 of 3", "0 of 3"))
    table["seeds_agree"], table["halves_sign"] = 0.97, np.clip(1 - 0.03 * place, 0.5, None)
    table["halves_top"] = np.clip(1 - 0.06 * place, 0.0, None)
    table["band_low"], table["band_high"] = -0.02, 0.02
    table["decided_by"] = [
        f"q = {q:.2g} against permuted labels is above 0.05"
        if word == FAR[0]
        else "every criterion is passed"
        if word == FAR[5]
        else f"{word}: see the numbers of this row"
        for word, q in zip(table["verdict"], table["q_labels"], strict=True)
    ]
    table["draws_needed"] = np.where(table["verdict"] == FAR[1], 400, np.nan)
    table.attrs["words"] = ["Labels were permuted between people.", "With 100 draws the smallest p is 0.0099."]
    names = ["DeepLIFT", "integrated gradients", "gradient x input", "removal of the node", "LRP gamma", "saliency"]
    alike = np.clip(0.55 + 0.4 * rng.random((6, 6)), None, 0.95)
    alike = np.triu(alike, 1) + np.triu(alike, 1).T + np.eye(6)
    overlap = pd.DataFrame(alike, index=names, columns=names)
    overlap.iloc[4, 5] = overlap.iloc[5, 4] = -0.31
    overlap.attrs["words"] = "Spearman correlation of the shares of all nodes."
    size = table["share"].abs().to_numpy()
    values = {
        "verdict": table,
        "thresholds": pd.DataFrame(
            [
                ("q", 0.05, "False discovery rate that both nulls must stay below."),
                ("families", "2 of 3", "Families of explainers that must pass the same threshold."),
                ("sign agreement", 0.9, "Half-samples in which the score must have the same sign."),
                ("top decile", 0.7, "Half-samples in which the node must be in the top tenth of its level."),
                ("left", 0.5, "A node is driven by another when less than this part of its score is left."),
            ],
            columns=["name", "value", "meaning"],
        ),
        "draws": {
            "labels": rng.gamma(2.0, size[:, None] * 0.12 + 0.002, (n, n_draws[0])),
            "wiring": rng.gamma(2.5, size[:, None] * 0.14 + 0.002, (n, n_draws[1])),
        },
        "overlap": overlap,
        "stability": _stability(rng),
        "contributions": _contributions(study, rng),
        "guide": "# The rule\n\nA node is *robust* only after **every** criterion.\n\n- two nulls\n- half-samples of people\n\n"
        "| null | says |\n|---|---|\n| labels | `chance` |\n\nSee [the paper](javascript:alert(9)). <img src=x onerror=alert(10)>",
    }  # fmt: skip
    return replace(study, **values | changes)


@cache
def plain() -> Content:
    """The small study without a verdict, made once."""
    return content()


@cache
def whole() -> Content:
    """The small study with a verdict, made once."""
    return judged(plain())


def _stability(rng: np.random.Generator) -> pd.DataFrame:
    parts = []
    for panel, curves in {
        "How many networks?": ["over seeds", "over half-samples"],
        "Overlap of the top nodes": ["real labels"],
    }.items():
        for i, curve in enumerate(curves):
            x = np.arange(1, 21)
            value = x * (0.5 - 0.3 * i) / (1 + (x - 1) * (0.5 - 0.3 * i)) + rng.normal(0, 0.01, 20)
            parts.append(pd.DataFrame({"panel": panel, "curve": curve, "x": x, "value": value, "low": value - 0.06,
                                       "high": value + 0.06}))  # fmt: skip
    table = pd.concat(parts, ignore_index=True)
    table.attrs = {"axes": {"How many networks?": ("networks averaged", "reliability"),
                            "Overlap of the top nodes": ("networks averaged", "overlap")},
                   "words": "Only stability over people counts for the verdict."}  # fmt: skip
    return table


def _contributions(study: Content, rng: np.random.Generator) -> pd.DataFrame:
    nodes = study.nodes[study.nodes["level"] != study.topology.levels[0].name].head(30)
    ids = study.outcome.index[:100]
    pairs = pd.MultiIndex.from_product([ids, range(len(nodes))]).to_frame(index=False, name=["sample", "at"])
    own = nodes.reset_index(drop=True).loc[pairs["at"], ["level", "node", "name", "contrast"]].reset_index(drop=True)
    value = rng.normal(0, 1, len(pairs)) * nodes["share"].abs().to_numpy()[pairs["at"]]
    return pd.concat([pairs[["sample"]], own], axis=1).assign(contribution=value, low=value - 0.05, high=value + 0.05)


def _activities(topology: Topology, codes: np.ndarray, rng: np.random.Generator, ids: pd.Index) -> pd.DataFrame:
    genes = rng.standard_normal((len(topology.inputs), len(codes)))
    top = topology.levels[1]
    causal = top.nodes.index(CAUSAL) if CAUSAL in top.nodes else 0
    rows = topology.members[top.name][[causal]].indices
    genes[rows] += 0.6 * (codes - codes.mean())
    columns = {}
    for level in topology.levels[1:]:
        values = topology.members[level.name].astype(float) @ genes
        values = (values - values.mean(1, keepdims=True)) / values.std(1, keepdims=True)
        columns |= {f"{level.name}/{node}": row for node, row in zip(level.nodes, values, strict=True)}
    return pd.DataFrame(columns, index=ids)


def _flows(topology: Topology, contrast: str, rng: np.random.Generator) -> pd.DataFrame:
    """Attribution from the prediction down: what a node holds is dealt to its incoming edges, signs mixed."""
    edges = topology.to_edges()
    outputs = list(topology.outputs)
    heads = pd.DataFrame(outputs, columns=["source_level", "source"]).assign(target_level="prediction", target="logit")
    table = pd.concat([edges, heads], ignore_index=True)
    held: dict[tuple[str, str], float] = {("prediction", "logit"): 1.9}
    flow = np.zeros(len(table))
    order = ["prediction", *(level.name for level in reversed(topology.levels[1:]))]
    causal = {CAUSAL, "Growth factor signalling", "Signal transduction"}
    groups = table.groupby(["target_level", "target"], sort=True).indices
    for level in order:
        for target in [key for key in groups if key[0] == level]:
            rows = groups[target]
            share = rng.gamma(0.6, 1.0, len(rows)) * np.where(rng.random(len(rows)) < 0.2, -0.4, 1.0)
            share += np.array([4.0 if name in causal else 0.02 for name in table["source"].iloc[rows]])
            if abs(share.sum()) < 0.2 * abs(share).sum():
                share = abs(share)
            flow[rows] = held.get(target, 0.0) * share / share.sum()
            for row in rows:
                source = table["source_level"].iat[row], table["source"].iat[row]
                held[source] = held.get(source, 0.0) + flow[row]
    return table.assign(contrast=contrast, flow=flow)


def _nodes(
    topology: Topology, activities: pd.DataFrame, wanted: dict[str, np.ndarray], flows: pd.DataFrame
) -> pd.DataFrame:
    parts = []
    shape = topology.table()
    for contrast, mask in wanted.items():
        mine = flows[flows["contrast"] == contrast]
        score = mine.groupby(["source_level", "source"])["flow"].sum()
        size = mine["flow"].abs().groupby([mine["source_level"], mine["source"]]).sum()
        keys = pd.MultiIndex.from_frame(shape[["level", "node"]])
        table = shape[["level", "node", "name", "n_inputs"]].assign(contrast=contrast)
        effect = activities[mask].mean() - activities[~mask].mean()
        table["effect"] = effect.reindex([f"{level}/{node}" for level, node in keys]).to_numpy()
        half = 1.96 * np.sqrt(1 / mask.sum() + 1 / (~mask).sum())
        table["effect_low"], table["effect_high"] = table["effect"] - half, table["effect"] + half
        table["score"] = score.reindex(keys).fillna(0.0).to_numpy()
        total = table["score"].abs().groupby(table["level"]).transform("sum")
        table["share"] = table["score"] / total
        table["share_low"], table["share_high"] = table["share"] * 0.7 - 0.004, table["share"] * 1.3 + 0.004
        table["mean_abs"] = size.reindex(keys).fillna(0.0).to_numpy() * 1.5 + 1e-4
        table["mean_abs_share"] = table["mean_abs"] / table["mean_abs"].groupby(table["level"]).transform("sum")
        parts.append(table)
    table = pd.concat(parts, ignore_index=True)
    return table.iloc[np.argsort(-table["effect"].abs().fillna(-1), kind="stable")].reset_index(drop=True)


MODELS = {
    "visible network": 0.737,
    "logistic regression": 0.671,
    "boosted trees": 0.655,
    "dense network": 0.664,
    "mean of member genes": 0.702,
    "covariates only": 0.503,
}


def _performance(rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for fold in range(5):
        luck = rng.normal(0, 0.02)
        for model, mean in MODELS.items():
            auc = mean + luck + rng.normal(0, 0.015)
            rows += [
                (f"repeat 0 fold {fold}", 120, model, "AUC", auc),
                (f"repeat 0 fold {fold}", 120, model, "AUPRC", auc - 0.02 + rng.normal(0, 0.01)),
                (f"repeat 0 fold {fold}", 120, model, "Brier score", 0.38 - 0.25 * auc),
            ]
    return pd.DataFrame(rows, columns=["split", "n_test", "model", "metric", "value"])


def _comparison(performance: pd.DataFrame) -> pd.DataFrame:
    table = performance.groupby(["model", "metric"], sort=False)["value"].agg(["mean", "std", "count"]).reset_index()
    table = table.rename(columns={"std": "sd", "count": "n_splits"})
    auc = performance[performance["metric"] == "AUC"].pivot(index="split", columns="model", values="value")
    for i, row in table.iterrows():
        if row["metric"] == "AUC" and row["model"] != "visible network":
            gain = auc["visible network"] - auc[row["model"]]
            half = 2.78 * gain.std() * np.sqrt(1 / 5 + 1 / 4)
            table.loc[i, ["gain", "low", "high"]] = gain.mean(), gain.mean() - half, gain.mean() + half
            table.loc[i, ["p", "p_holm"]] = 0.0004, 0.002
            table.loc[i, ["verdict", "note"]] = "better" if gain.mean() > half else "not shown", ""
    table.attrs |= {"headline": "AUC", "network": "visible network"}
    return table


def _calibration(classes: tuple[str, ...], rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    table = pd.DataFrame(
        {"stage": ["as trained", "calibrated"], "n_samples": 120, "brier": [0.231, 0.187], "error": [0.143, 0.061],
         "error_by_chance": [0.058, 0.055], "slope": [2.71, 1.08]}
    )  # fmt: skip
    table.attrs = {"words": "Temperatures are 0.31 to 0.42, each decided by 61 to 64 validation samples."}
    curves = []
    for stage in table["stage"]:
        for name in classes[1:] if len(classes) == 2 else classes:
            predicted = np.linspace(0.1, 0.9, 6)
            observed = np.clip(predicted + 0.05 * rng.standard_normal(6), 0, 1)
            curves.append(pd.DataFrame({"stage": stage, "class": name, "n": 20, "predicted": predicted, "observed": observed,
                                        "low": observed - 0.1, "high": observed + 0.1, "sd": 0.1}))  # fmt: skip
    return {"calibration": table, "calibration_curve": pd.concat(curves, ignore_index=True)}


def _history(rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for replicate in range(10):
        last = int(rng.integers(55, 110))
        epochs = np.arange(1, last + 1)
        train = 0.42 + 0.28 * np.exp(-epochs / 18) + rng.normal(0, 0.008, last)
        validation = 0.58 + 0.12 * np.exp(-epochs / 14) + 0.0004 * epochs + rng.normal(0, 0.012, last)
        rows.append(
            pd.DataFrame({"epoch": epochs, "replicate": f"r{replicate}", "train": train, "validation": validation})
        )
    return pd.concat(rows, ignore_index=True)


def _dropped(topology: Topology, ids: pd.Index) -> pd.DataFrame:
    entries = [*topology.log, Entry.of("read", "samples", list(ids[:3]), "dropped: they have no label")]
    rows = [(e.step, e.kind, e.count, e.reason, ", ".join(e.names[:20])) for e in entries]
    return pd.DataFrame(rows, columns=["step", "kind", "count", "reason", "examples"])

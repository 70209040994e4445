"""Null studies with trained networks: how often each test of a study calls something where there is nothing.

`python -m tests.interpret.null_studies FOLDER 1 201` measures the figures of docs/comparison.md, a file per study; a second run
makes what is missing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest, norm
from sklearn.linear_model import RidgeClassifierCV
from sklearn.metrics import roc_auc_score

from vnn.chance import generator
from vnn.data import Samples, Split, half_samples, k_fold
from vnn.interpret.interactions import interactions
from vnn.interpret.methods import Method
from vnn.interpret.rlipp import rlipp
from vnn.interpret.scored import Scored, scored
from vnn.interpret.significance import significance
from vnn.interpret.trivial import structure
from vnn.interpret.verdict import PROPAGATION, ROBUST, Informative, judge
from vnn.ontology import Topology, load_ontology
from vnn.training import Fit, Training, fit
from vnn.training.evaluation import replicate_scores
from vnn.training.interval import ratio_of
from vnn.training.paired import paired_comparison, rank_p

N, N_FOLDS, N_DRAWS, N_CAUSES, N_SLOW = 100, 5, 39, 6, 40
KINDS = ("nothing to learn", "single genes")


def cohort(seed: int, kind: str, topology: Topology) -> Samples:
    """100 people in two classes. Classes follow nothing, or the sum of 6 genes chosen without regard to the wiring."""
    rng = generator(seed, "null study of networks", kind)
    values = rng.standard_normal((len(topology.inputs), N))
    noise = rng.standard_normal(N)
    causes = values[rng.permutation(len(values))[:N_CAUSES]].sum(0) / np.sqrt(N_CAUSES)
    risk = noise if kind == "nothing to learn" else 3 * causes + noise
    ids = tuple(f"s{number:03d}" for number in range(N))
    phenotype = np.where(risk > np.median(risk), "case", "control")
    targets = pd.DataFrame({"phenotype": phenotype}, index=pd.Index(ids, dtype=object))
    return Samples.from_frame(pd.DataFrame(values.T.astype(np.float32), ids, topology.inputs), targets=targets)


def study(seed: int, kind: str, topology: Topology) -> dict[str, Any]:
    """One study: five folds, one seed, 39 permutations of the labels and 39 rewired graphs."""
    people = cohort(seed, kind, topology)
    splits = k_fold(people.ids, k=N_FOLDS, seed=seed, stratify=people.targets["phenotype"])

    def trained(splits: Sequence[Split], **null: Any) -> Fit:
        return fit(topology, people, target="phenotype", splits=splits, training=Training(epochs=60), seed=seed, **null)

    real, labels, rewired = (
        trained(splits), *(trained(splits, kind=null, draws=range(N_DRAWS)) for null in ("labels", "rewired"))
    )  # fmt: skip
    halves = trained(half_samples(people.ids, pairs=5, seed=seed, stratify=people.targets["phenotype"]))
    table = replicate_scores(real, people).assign(model="network", draw=0)
    others = replicate_scores(rewired, people).assign(model="rewired")
    scores = pd.concat([table, others, _ridge(people, real)]).rename(columns={"value": "score"})
    compared = paired_comparison(
        scores[["model", "split", "seed", "draw", "score"]], reference="network", metric="AUC",
        ratio=ratio_of(splits), rewired=["rewired"],
    ).table.set_index("model")  # fmt: skip
    of_labels = replicate_scores(labels, people).groupby("draw")["value"].mean().to_numpy(dtype=float)
    p_labels = rank_p(float(table["value"].mean()), of_labels)

    def score(method: Method) -> Scored:
        asked = [real, labels, rewired, *([halves] if method.name == PROPAGATION else [])]
        return Scored.join([scored(made, people, methods=[method]) for made in asked])

    found, nodes = judge(
        score,
        informative=Informative(p_labels),
        structure=structure(topology, people),
        ratio=ratio_of(splits),
        seed=seed,
    )
    slow = {}
    if seed <= N_SLOW:
        pairs = interactions(real, people, n_candidates=4, methods=["dfim"], nulls=[labels]).table
        gain = rlipp(real, people)["label_low"].dropna()
        slow = {"pairs_p_max": float(pairs["p_max"].min()), "pairs_q": float(pairs["q"].min()),
                "rlipp": float((gain > 0).mean())}  # fmt: skip
    return {
        "seed": seed, "kind": kind, "p_labels": p_labels,
        "p_rewired": float(compared.loc["rewired", "p"]), "p_ridge": float(compared.loc["ridge", "p"]),
        **_nodes(nodes, "labels"), **_nodes(nodes, "rewired"),
        "robust": int((found.table["verdict"] == ROBUST).sum()), "auc": float(table["value"].mean()), **slow,
    }  # fmt: skip


def _ridge(people: Samples, made: Fit) -> pd.DataFrame:
    case = (people.targets["phenotype"] == "case").to_numpy(dtype=int)
    at = {name: number for number, name in enumerate(people.ids)}
    rows = []
    for split in made.splits:
        train, test = ([at[i] for i in ids] for ids in ((*split.train, *split.validation), split.test))
        model = RidgeClassifierCV(alphas=np.logspace(0, 5, 11)).fit(people.values[:, train].T, case[train])
        auc = roc_auc_score(case[test], model.decision_function(people.values[:, test].T))
        rows.append({"model": "ridge", "split": split.name, "seed": 0, "draw": 0, "value": auc})
    return pd.DataFrame(rows)


def _nodes(scores: Scored, null: str) -> dict[str, float]:
    """Of nodes above the inputs: share with p <= 0.05, whether any q or maxT p is."""
    real, drawn = scores.draws("real", PROPAGATION)[0, 0], scores.draws(null, PROPAGATION)[:, 0]
    asked = significance(
        real,
        drawn,
        levels=scores.nodes["level"].tolist(),
        nodes=scores.nodes["node"].tolist(),
        sides="upper",
        scale="shared",
    )
    return {
        f"{null}_p": float((asked["p"] <= 0.05).mean()), f"{null}_q": float(asked["q"].min()),
        f"{null}_max": float(asked["p_max_t"].min()),
    }  # fmt: skip


def main(folder: Path, seeds: range) -> None:
    """Make what is missing, then print the table."""
    folder.mkdir(parents=True, exist_ok=True)
    topology = load_ontology("human-small").topology(load_ontology("human-small").genes)
    for seed in seeds:
        for kind in KINDS:
            path = folder / f"{kind} {seed:04d}.json"
            if not path.exists():
                record = json.dumps(study(seed, kind, topology))
                path.write_text(record)
    print("| test | " + " | ".join(KINDS) + " |")
    held = pd.DataFrame([json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))])
    for name in held.columns.drop(["seed", "kind"]):
        print(
            f"| {name} | " + " | ".join(_rejected(held.loc[held["kind"] == kind, name], name) for kind in KINDS) + " |"
        )


def _rejected(values: pd.Series, name: str) -> str:
    values = values.dropna()
    if name in ("labels_p", "rewired_p", "rlipp", "auc"):
        half = norm.ppf(0.975) * values.std() / np.sqrt(len(values))
        return f"{values.mean():.3f} ({values.mean() - half:.3f}-{values.mean() + half:.3f})"
    called = int((values > 0).sum() if name == "robust" else (values <= 0.05).sum())
    low, high = binomtest(called, len(values)).proportion_ci()
    return f"{called / len(values):.3f} ({low:.3f}-{high:.3f})"


if __name__ == "__main__":
    main(Path(sys.argv[1]), range(int(sys.argv[2]), int(sys.argv[3])))

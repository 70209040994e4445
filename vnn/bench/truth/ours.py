"""Our verdict on a planted cohort: the screening design, from fits to groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from vnn.bench.truth.cohorts import Cohort
from vnn.bench.truth.evaluation import Found
from vnn.data import half_samples, hold_out
from vnn.data.splits import Split
from vnn.interpret.grouping import Relations, grouped, without
from vnn.interpret.methods import Method
from vnn.interpret.scored import Scored, scored
from vnn.interpret.trivial import structure
from vnn.interpret.verdict import LABELS, PROPAGATION, ROBUST, Informative, Thresholds, judge
from vnn.training import Fit, Training, fit
from vnn.training.evaluation import replicate_scores
from vnn.training.paired import rank_p

SEEDS, DRAWS, PAIRS, VALIDATION = 2, 20, 10, 0.2
TRAINING = Training(start="associations", lr=1e-3, patience=5, epochs=40)


def verdict_of_networks(planted: Cohort) -> Found:
    """The verdict in the screening design: 2 seeds, 20 label draws, 20 rewired draws, 10 pairs of half-samples.

    Networks learn from the training people, a fifth of whom decide when to stop; nodes are scored on the test people. Where
    networks of permuted labels predict as well, the rule has decided for all nodes and no more is trained. Nodes are ranked
    by score.
    """
    people = planted.samples
    inner = hold_out(
        planted.split.train, test=0, validation=VALIDATION, seed=planted.seed, stratify=people.targets["phenotype"]
    )
    split = Split("planted", inner.train, inner.validation, planted.split.test)

    def trained(splits: tuple[Split, ...] = (split,), **null: Any) -> Fit:
        return fit(
            planted.setting.topology, people, target="phenotype", classes=["control", "case"], splits=splits,
            n_seeds=SEEDS, training=TRAINING, seed=planted.seed, **null,
        )  # fmt: skip

    real, permuted = trained(), trained(kind=LABELS, draws=range(DRAWS))
    informative = Informative(_rank_p(real, permuted, planted))
    fits = {"real": real, LABELS: permuted}
    if not informative.why_not(Thresholds().informative):
        fits["rewired"] = trained(kind="rewired", draws=range(DRAWS))
        fits["half_samples"] = trained(
            half_samples(
                planted.split.train,
                pairs=PAIRS,
                validation=VALIDATION,
                seed=planted.seed,
                stratify=people.targets["phenotype"],
            )
        )

    def score(method: Method) -> Scored:
        asked = [made for kind, made in fits.items() if kind != "half_samples" or method.name == PROPAGATION]
        return Scored.join([scored(made, people, methods=[method]) for made in asked])

    found, scores = judge(
        score, informative=informative, structure=structure(planted.setting.topology, people), seed=planted.seed
    )
    found = grouped(found, Relations(planted.setting.topology), without(real, people, PROPAGATION))
    table = found.table[found.table["node"].isin(list(planted.setting.sets))].set_index("node")
    ranked = pd.DataFrame(
        {
            "rank": table["score"].rank(ascending=False),
            "called": table["verdict"] == ROBUST,
            "leader": table["leader"],
        }
    )
    of_test = real.predict(planted.test).ensemble().mean[:, 1]
    truth = (planted.test.targets["phenotype"] == "case").to_numpy()
    return Found(ranked, float(roc_auc_score(truth, of_test)), _extras(scores, informative))


def _rank_p(real: Fit, permuted: Fit, planted: Cohort) -> float:
    own = replicate_scores(real, planted.samples)["value"].mean()
    draws = replicate_scores(permuted, planted.samples).groupby("draw")["value"].mean().to_numpy(dtype=float)
    return rank_p(float(own), draws)


def _extras(scores: Scored, informative: Informative) -> dict[str, float]:
    """Agreement of node scores between seeds, and between true and permuted labels at the same initial seeds."""
    real, null = scores.of("real").values[PROPAGATION][0], scores.of(LABELS).values[PROPAGATION][0]
    ranks = pd.DataFrame(np.vstack([real, null]).T).corr(method="spearman").to_numpy()
    n = len(real)
    seeds = ranks[:n, :n][np.triu_indices(n, 1)]
    partner = scores.of(LABELS).networks["seed"].to_numpy()
    labels = [
        ranks[i, n + j]
        for j, seed in enumerate(partner)
        for i in range(n)
        if scores.of("real").networks["seed"][i] == seed
    ]
    return {
        "p_labels": float(informative.p_labels),
        "seeds_spearman": float(np.mean(seeds)),
        "labels_spearman": float(np.mean(labels)),
        "labels_spearman_abs": float(np.mean(np.abs(labels))),
    }

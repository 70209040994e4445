"""The demo: a simulated cohort whose truth is known, written as files that an ordinary study reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vnn._atomic import write_csv, write_text
from vnn.data import simulate_expression
from vnn.ontology import load_ontology

CAUSAL = "PI3K-AKT signalling"
N_SAMPLES, ORACLE_AUC = 600, 0.95
STUDY = """\
# Simulated by `vnn demo`: pathway "{causal}" drives the phenotype; see truth.csv.
name = "demo"
seed = {seed}
n_seeds = 2
output = "results"

[data]
values = "expression.csv.gz"
labels = "phenotype.csv"
target = "phenotype"
classes = ["control", "case"]

[ontology]
name = "human-small"

[splits]
kind = "k-fold"
k = 5

[nulls]
design = "screening"

[report]
populations = "simulated people; nobody real"
weaknesses = ["Simulated by one linear Gaussian model: what works here need not work on real data."]
"""


@dataclass(frozen=True)
class Planted:
    """A simulated cohort on disk.

    Parameters
    ----------
    study
        Its study file.
    causal
        Name of the pathway that drives the phenotype.
    carriers
        How many of its genes carry the signal, of how many.
    """

    study: Path
    causal: str
    carriers: tuple[int, int]

    def text(self) -> str:
        """What was planted."""
        carry, genes = self.carriers
        return (
            f"Simulated {N_SAMPLES} people: the hidden factor of {self.causal!r} drives the phenotype (AUC {ORACLE_AUC} if one\n"
            f"could see it); {carry} of its {genes} genes carry it with r2 0.10 each, a quarter of those downwards."
        )

    def rank(self, pathways: pd.DataFrame) -> int:
        """Rank of the causal pathway, 1 for the first."""
        return int((pathways["name"] == self.causal).argmax()) + 1


def planted(folder: Path, seed: int, *, oracle_auc: float = ORACLE_AUC) -> Planted:
    """Simulate the cohort of the demo, or a harder one, and write its tables and study file."""
    ontology = load_ontology("human-small")
    sets = ontology.gene_sets()
    causal = ontology.find(CAUSAL)
    simulated = simulate_expression(sets, causal=causal, n_samples=N_SAMPLES, oracle_auc=oracle_auc, seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    truth = pd.DataFrame(
        {
            "gene": list(simulated.truth.carriers),
            "direction": list(simulated.truth.carriers.values()),
            "pathway": CAUSAL,
        }
    )
    for name, table in (
        ("expression.csv.gz", simulated.samples.to_frame()),
        ("phenotype.csv", simulated.samples.targets),
        ("truth.csv", truth.set_index("gene")),
    ):
        write_csv(folder / name, table)
    write_text(folder / "study.toml", STUDY.format(causal=CAUSAL, seed=seed))
    return Planted(folder / "study.toml", CAUSAL, (len(simulated.truth.carriers), len(sets[causal])))

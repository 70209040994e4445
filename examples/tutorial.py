"""From a table and gene sets to named pathways, one station of the path after the other.

Run it with:  python examples/tutorial.py [OUTPUT]

Takes half a minute and needs no data: it simulates a cohort whose causal pathway is known. The same with more words is in
tutorial.ipynb; a study of your own needs no Python at all (`vnn init`, `vnn run`).
"""

from __future__ import annotations

import sys
from pathlib import Path

import vnn
from vnn.study import CompareSection, DataSection, OntologySection, Study


def main(output: Path) -> None:
    """Walk the path and say what is seen on the way."""
    output.mkdir(parents=True, exist_ok=True)

    # 1 data: numbers with names on both sides. Here they are simulated, and written as the files an analyst would have.
    ontology = vnn.load_ontology("human-small")
    cohort = vnn.simulate_expression(
        ontology.gene_sets(), causal="Mismatch repair", n_samples=240, oracle_auc=0.95, seed=7
    )
    cohort.samples.to_frame().to_csv(output / "expression.csv")
    cohort.samples.targets.to_csv(output / "people.csv")
    samples = vnn.read_samples(output / "expression.csv", labels=output / "people.csv", targets=["phenotype"])
    print(samples)

    # 2 ontology: what is known becomes levels of named nodes and the edges between them.
    topology = ontology.topology(samples.features)
    print(topology)
    for entry in topology.log:
        print("  ", entry)

    # What may make a result look better than it is?
    splits = vnn.k_fold(samples.ids, k=3, seed=7, stratify=samples.targets["phenotype"])
    for check in vnn.data_checks(samples, "phenotype", splits=splits, seed=7):
        print(f"   {check.state:<8} {check.name}: {check.text}")

    # 3 to 6 kernels, layers, models, training: every fold and seed side by side in one program.
    fit = vnn.fit(topology, samples, target="phenotype", classes=("control", "case"), splits=splits, n_seeds=2, seed=7)
    compared = vnn.comparison(vnn.performance(fit, samples, baselines=["logistic regression", "pathway means"]))
    print(compared[compared["metric"] == "AUC"].to_string(index=False))

    # 7 interpretation: activities are values of nodes, attributions what they contributed to a prediction.
    effects = vnn.activity_effects(fit, vnn.activities(fit, samples))
    print(effects[["name", "level", "effect", "low", "high"]].head(5).to_string(index=False))
    scores = vnn.node_scores(fit, samples)
    own = scores.table[scores.table["level"] == "level 1"]
    print(own[["name", "score", "share"]].head(5).to_string(index=False))
    print(vnn.crosscheck(fit, samples)[["implementation", "where", "level", "agrees"]].to_string(index=False))

    # One person: what moved this prediction?
    person = samples.select(ids=samples.ids[:1])
    moved = vnn.attributions(fit, person, background=samples, levels=["level 1"]).table(held_out=False).iloc[0]
    print(moved.sort_values(key=abs, ascending=False).head(3))

    # 8 report: the same as a study, which goes on after a kill and ends in one page.
    results = vnn.run_study(
        Study(
            name="tutorial",
            seed=7,
            output=output / "results",
            data=DataSection(values=output / "expression.csv", labels=output / "people.csv", target="phenotype",
                             classes=("control", "case")),
            ontology=OntologySection(name="human-small"),
            compare=CompareSection(models=("logistic regression", "pathway means")),
        )
    )  # fmt: skip
    print(results.folder / "page.html")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/tutorial"))

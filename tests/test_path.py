"""The path of the data on a toy, station by station, through the public names alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

import vnn


def test_from_samples_to_named_activities(tmp_path: Path) -> None:
    ontology = vnn.load_ontology("human-small")
    cohort = vnn.simulate_expression(ontology.gene_sets(), causal="Mismatch repair", n_samples=150, r2=0.5, seed=1)
    samples = cohort.samples
    topology = ontology.topology(samples.features)
    splits = vnn.k_fold(samples.ids, k=3, seed=1, stratify=samples.targets["phenotype"])
    assert isinstance(vnn.VisibleNetwork(topology, vnn.Recipe(units=2)), torch.nn.Module)
    fit = vnn.fit(
        topology, samples, target="phenotype", classes=("control", "case"), splits=splits, n_seeds=3, seed=1,
        training=vnn.Training(epochs=40, lr=1e-2),
    )  # fmt: skip
    assert len(fit.replicates) == 9
    activities = vnn.activities(fit, samples)
    effects = vnn.activity_effects(fit, activities)
    own = set(effects["name"].head(3))
    assert own & {"Mismatch repair", "DNA repair"}
    fit.save(tmp_path / "fit")
    topology.save(tmp_path / "topology.npz")
    again = vnn.Fit.load(tmp_path / "fit", vnn.Topology.load(tmp_path / "topology.npz"))
    assert np.array_equal(again.predict(samples).logits, fit.predict(samples).logits)

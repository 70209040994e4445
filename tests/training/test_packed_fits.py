"""Networks that learn from packed genotypes: the same as from their values written out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from tests.data.genotypes.cohorts import genotypes, missing
from vnn.data import hold_out, k_fold
from vnn.data.genotypes import Cohort, fit_coding, write_store
from vnn.models import Recipe
from vnn.ontology import Topology
from vnn.training import Training, fit

N_VARIANTS, N_PEOPLE = 24, 200


def study(rng: np.random.Generator, *, gaps: float = 0.1, covariates: bool = False):
    """Six genes of four variants, the first of which matters."""
    frequency = rng.uniform(0.1, 0.5, (N_VARIANTS, 1))
    dosages = rng.binomial(2, frequency, (N_VARIANTS, N_PEOPLE)).astype(float)
    risk = dosages[0] + dosages[1] - dosages[:2].mean(1).sum()
    if gaps:
        dosages = missing(rng, dosages, gaps)
    held = genotypes(dosages, names=[f"p{i:03d}" for i in rng.permutation(N_PEOPLE)])
    table = pd.DataFrame(
        {"case": np.where(risk + rng.normal(size=N_PEOPLE) > 0, "case", "control"), "liability": risk}, index=held.ids
    )
    table["time"], table["event"] = np.exp(-risk + rng.normal(size=N_PEOPLE)), rng.random(N_PEOPLE) < 0.7
    own = {"targets": table}
    if covariates:
        own["covariates"] = pd.DataFrame({"age": rng.normal(size=N_PEOPLE)}, index=held.ids)
    held = held.joined(**own)
    edges = pd.DataFrame(
        [("inputs", f"v{i}", "genes", f"g{i // 4}") for i in range(N_VARIANTS)],
        columns=["source_level", "source", "target_level", "target"],
    )
    topology = Topology.from_edges({"inputs": list(held.variants.index), "genes": [f"g{i}" for i in range(6)]}, edges)
    return held, topology.in_order(held.variants.index)


def settings(**changed):
    return Training(
        start="random", epochs=4, batch_size=256, dtype="float64", impute="mean", weight_decay=0.1, **changed
    )


RECIPE = Recipe(dropout=0, input_dropout=0)


@pytest.mark.parametrize("start", ["random", "associations"])
@pytest.mark.parametrize("coding", ["additive", "dominant", "recessive"])
def test_one_batch_of_everybody_learns_what_numbers_teach(start, coding):
    held, topology = study(np.random.default_rng(0))
    code = fit_coding(held, coding, missing="nan")
    splits = k_fold(held.ids, k=3, validation=0.2, seed=1)
    how = {"target": "case", "splits": splits, "n_seeds": 2, "recipe": RECIPE, "seed": 3}
    training = settings().model_copy(update={"start": start})
    plain = fit(topology, code.apply(held), training=training, **how)
    packed = fit(topology, Cohort.in_memory(held, code), training=training, **how)
    for name, values in plain.networks.state_dict().items():
        tolerance = 1e-9 if start == "random" else 1e-4
        torch.testing.assert_close(packed.networks.state_dict()[name], values, rtol=tolerance, atol=tolerance)
